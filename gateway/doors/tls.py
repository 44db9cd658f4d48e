"""The certificate that the doors show.

What it is: the making of a server's TLS context.
Who calls it: ``doors.service`` at start and at reload.
Must never: offer TLS below 1.2, a cipher without forward secrecy, or renegotiation.
Sources: RFC 3207, RFC 8314, RFC 9325; hostile-inputs catalogue S35.
"""

from __future__ import annotations

import ssl

from gateway import systemd
from gateway.config import ConfigError, Tls

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL"  # TLS 1.2; those of 1.3 are all good


def context(tls: Tls) -> ssl.SSLContext | None:
    """A context with the configured certificate, or None where none is configured. Raises ConfigError with file and reason."""
    if tls.certificate is None or tls.key is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(_CIPHERS)
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    certificate, key = systemd.secret(tls.certificate), systemd.secret(tls.key)
    for path in (certificate, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: tls: cannot be read: {error.strerror}") from error
    try:
        # No password: a prompt would stop the process.
        made.load_cert_chain(certificate, key, password=b"")
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or "not a usable PEM certificate and key"
        raise ConfigError(f"{tls.certificate}, {tls.key}: tls: certificate and key cannot be used: {reason}") from error
    return made
