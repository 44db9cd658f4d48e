"""The certificate that the doors show.

What it is: the making of a server's TLS context, and when its certificate ends.
Who calls it: ``doors.service`` at start and at reload.
Must never: offer TLS below 1.2, a cipher without forward secrecy, or renegotiation.
Sources: RFC 3207, RFC 8314, RFC 9325; hostile-inputs catalogue S35.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

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


def not_after(tls: Tls) -> float:
    """When the configured certificate ends, in seconds since the epoch; 0 without one, and where it cannot be read.

    The few octets on the way to that time are walked here: a library for certificates would cost each worker 5 MB.
    """
    if tls.certificate is None:
        return 0.0
    try:
        pem = systemd.secret(tls.certificate).read_text("ascii")
        first = pem[pem.index(ssl.PEM_HEADER) : pem.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)]
        octets = ssl.PEM_cert_to_DER_cert(first)
        inside, _ = _open(octets, _open(octets, 0)[0])  # Certificate, tbsCertificate
        if octets[inside] == 0xA0:  # version
            inside = _open(octets, inside)[1]
        for _ in range(3):  # serialNumber, signature, issuer
            inside = _open(octets, inside)[1]
        second = _open(octets, _open(octets, inside)[0])[1]  # validity, behind notBefore
        begin, end = _open(octets, second)
        text = octets[begin:end].decode("ascii")
        if octets[second] == 0x17:  # UTCTime: 50 and later are of the last century (RFC 5280 section 4.1.2.5.1)
            text = ("19" if text >= "50" else "20") + text
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except (OSError, ValueError, IndexError, ConfigError):
        return 0.0


def _open(octets: bytes, at: int) -> tuple[int, int]:
    """Where the value of the DER element at *at* begins and ends."""
    length, begin = octets[at + 1], at + 2
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(octets[at + 2 : begin], "big")
    return begin, begin + length
