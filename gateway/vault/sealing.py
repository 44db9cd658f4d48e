"""Sealing to the security officer: content that nobody at the gateway can read again.

What it is: CMS EnvelopedData (AES-256) to one certificate, for mail that is probably TOP SECRET or SECRET.
Who calls it: ``act``.
Must never: fall back to the vault key; use a cipher below AES-256.
Sources: RFC 5652 section 6, RFC 8551; docs/design.md section 4 (TOP SECRET and SECRET).
"""

from __future__ import annotations

import hashlib
from pathlib import Path as FilePath

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7EnvelopeBuilder, PKCS7Options

from gateway.stores.base import BodyRow


class SealingError(Exception):
    """The certificate cannot be used. The text is one plain sentence."""


class Seal:
    """Seals to the RSA certificate *certificate*."""

    def __init__(self, certificate: x509.Certificate) -> None:
        if not isinstance(certificate.public_key(), RSAPublicKey):
            raise SealingError("sealed.certificate: an RSA certificate is needed")
        self._certificate = certificate
        self._name = "cms-" + hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()[:16]

    def seal(self, body_id: str, content: bytes, sha256: str, now: float) -> BodyRow:
        """The row of *content*: a DER CMS structure in ``ciphertext``, and no key of ours."""
        builder = PKCS7EnvelopeBuilder().set_data(content).add_recipient(self._certificate).set_content_encryption_algorithm(AES256)
        sealed = builder.encrypt(Encoding.DER, [PKCS7Options.Binary])
        return BodyRow(body_id, self._name, b"", b"", sealed, len(content), sha256, sealed=True, created=now)


def load(path: FilePath) -> Seal:
    """The seal of the PEM certificate *path*. Raises SealingError."""
    try:
        return Seal(x509.load_pem_x509_certificate(path.read_bytes()))
    except OSError as error:
        raise SealingError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise SealingError(f"{path} is not a PEM certificate") from error
    except SealingError as error:
        raise SealingError(f"{path}: {error}") from error
