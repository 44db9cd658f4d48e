"""CMS objects that a password opens (PasswordRecipientInfo): how to try one.

What it is: ``lock``, which gives a ``extraction.base.Lock`` where a password is one of the recipients; ``enveloped`` and ``content``, the
encrypted content and what a key makes of it.
Who calls it: ``cms``; ``cms_key_lock``, for the content.
Must never: derive a key at a cost that the object sets without a limit; take a wrong password for the right one (the check octets of
the wrapped key, and the padding or tag of the content, must fit).
Sources: RFC 5652 section 6.2.4 (PasswordRecipientInfo), RFC 3211 section 2.3 (id-alg-PWRI-KEK), RFC 8018 section 5.2 (PBKDF2), RFC 5083 and
5084 (AuthEnvelopedData with AES-GCM).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from gateway.encryption.der import CONTEXT, INTEGER, OCTETS, SEQUENCE, SET, Node
from gateway.extraction.base import Budget, Unreadable

_PASSWORD = 3
"""Tag of the choice among recipients."""
_PBKDF2 = "1.2.840.113549.1.5.12"
_PWRI_KEK = "1.2.840.113549.1.9.16.3.9"
_AES = "2.16.840.1.101.3.4.1."
_CBC: dict[str, tuple[type[CipherAlgorithm], int, int]] = {
    _AES + "2": (AES, 16, 16), _AES + "22": (AES, 24, 16), _AES + "42": (AES, 32, 16), "1.2.840.113549.3.7": (TripleDES, 24, 8),
}  # fmt: skip
_GCM = {_AES + "6": 16, _AES + "26": 24, _AES + "46": 32}
_CCM = {_AES + "7": 16, _AES + "27": 24, _AES + "47": 32}
_HMAC = "1.2.840.113549.2."
_HASHES = {_HMAC + "7": "sha1", _HMAC + "8": "sha224", _HMAC + "9": "sha256", _HMAC + "10": "sha384", _HMAC + "11": "sha512"}
_MOST_ITERATIONS = 2_000_000
_SECONDS = 0.6e-6
"""For each iteration of PBKDF2."""
_BROKEN = "a CMS object that is broken"


@dataclass(frozen=True, slots=True)
class _Recipient:
    salt: bytes
    iterations: int
    digest: str
    cipher: str
    vector: bytes
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """Encrypted content, and all that is needed beside its key."""

    cipher: str
    """Object identifier."""
    vector: bytes
    data: bytes
    tag: bytes
    associated: bytes


@dataclass(frozen=True, slots=True)
class CmsLock:
    """The lock of one object."""

    recipient: _Recipient
    sealed: Sealed
    seconds: float

    def open(self, password: str, budget: Budget) -> bytes | None:
        """The content; None for a wrong password."""
        budget.check_time()
        key = _unwrap(self.recipient, password.encode("utf-8", "replace"))
        if key is None:
            return None
        opened = content(self.sealed, key)
        if opened is not None:
            budget.spend_bytes(len(opened))
        return opened


def content(sealed: Sealed, key: bytes) -> bytes | None:
    """What *key* makes of the content; None where it does not fit."""
    data = sealed.data
    try:
        if sealed.cipher in _GCM:
            if len(key) != _GCM[sealed.cipher]:
                return None
            return AESGCM(key).decrypt(sealed.vector, data + sealed.tag, sealed.associated)
        if sealed.cipher in _CCM:
            if len(key) != _CCM[sealed.cipher]:
                return None
            return AESCCM(key, len(sealed.tag)).decrypt(sealed.vector, data + sealed.tag, sealed.associated)
        algorithm, size, block = _CBC[sealed.cipher]
        if len(key) != size or not data or len(data) % block:
            return None
        plain = Cipher(algorithm(key), CBC(sealed.vector)).decryptor().update(data)  # type: ignore[call-arg]
    except (InvalidTag, ValueError, UnsupportedAlgorithm):
        return None
    size = plain[-1]
    return plain[:-size] if 1 <= size <= block and plain[-size:] == bytes((size,)) * size else None


def lock(body: Node) -> CmsLock | None:
    """The lock of the enveloped object *body*; None where no password is among its recipients, or it is not one that is tried.

    Raises Unreadable when its structure is broken.
    """
    sealed, recipients = enveloped(body)
    found = [recipient for node in recipients if (recipient := _recipient(node)) is not None]
    return CmsLock(found[0], sealed, found[0].iterations * _SECONDS + 0.0005) if found and sealed is not None else None


def enveloped(body: Node) -> tuple[Sealed | None, tuple[Node, ...]]:
    """The encrypted content of *body*, None where its cipher is not one that we have, and its recipients. Raises Unreadable."""
    fields = list(body.children())
    at = next((number for number, node in enumerate(fields) if node.is_(SEQUENCE)), -1)
    recipients = next((node for node in fields[: max(at, 0)] if node.is_(SET)), None)
    if recipients is None:
        return None, ()
    listed = tuple(recipients.children())
    parts = list(fields[at].children())
    if len(parts) != 3 or not parts[2].is_(0, CONTEXT):
        return None, listed
    algorithm = list(parts[1].children())
    cipher = algorithm[0].oid() if algorithm else ""
    if len(algorithm) != 2 or (cipher not in _CBC and cipher not in _GCM and cipher not in _CCM):
        return None, listed
    rest = fields[at + 1 :]
    tag = next((node.octets() for node in rest if node.is_(OCTETS)), b"")
    # The authenticated attributes count as the SET that they are (RFC 5083 section 2.2).
    associated = next((b"\x31" + node.whole[1:] for node in rest if node.is_(1, CONTEXT)), b"")
    vector = _vector(algorithm[1], cipher)
    return Sealed(cipher, vector, parts[2].octets(), tag, associated) if vector else None, listed


def _vector(parameters: Node, cipher: str) -> bytes:
    if parameters.is_(OCTETS):
        vector = parameters.octets()
    else:
        first = next(parameters.children(), None) if parameters.is_(SEQUENCE) else None
        vector = first.octets() if first is not None and first.is_(OCTETS) else b""
    fits = len(vector) == _CBC[cipher][2] if cipher in _CBC else 7 <= len(vector) <= 64
    return vector if fits else b""


def _recipient(node: Node) -> _Recipient | None:
    """The password recipient *node*; None for any other. Raises Unreadable for one that is broken."""
    if not node.is_(_PASSWORD, CONTEXT):
        return None
    fields = list(node.children())
    derivation = next((field for field in fields if field.is_(0, CONTEXT)), None)
    encryption = next((field for field in fields if field.is_(SEQUENCE)), None)
    wrapped = next((field.octets() for field in fields if field.is_(OCTETS)), b"")
    if derivation is None or encryption is None:
        return None
    name, parameters = derivation.headed()
    kek, inner = encryption.headed()
    if name.oid() != _PBKDF2 or len(parameters) != 1 or kek.oid() != _PWRI_KEK or len(inner) != 1:
        return None
    numbers = [int.from_bytes(part.content, "big") for part in parameters[0].children() if part.is_(INTEGER)]
    salts = [part.octets() for part in parameters[0].children() if part.is_(OCTETS)]
    prfs = [next(part.children()).oid() for part in parameters[0].children() if part.is_(SEQUENCE) and part.content]
    cipher, vector = inner[0].headed()
    digest = _HASHES.get(prfs[0] if prfs else _HMAC + "7")
    if not numbers or not salts or digest is None or cipher.oid() not in _CBC or len(vector) != 1:
        return None
    block = _CBC[cipher.oid()][2]
    iterations = numbers[0]
    if not 0 < iterations <= _MOST_ITERATIONS or len(wrapped) < 2 * block or len(wrapped) % block or len(wrapped) > 512:
        return None
    start = vector[0].octets()
    return _Recipient(salts[0], iterations, digest, cipher.oid(), start, wrapped) if len(start) == block else None


def _unwrap(recipient: _Recipient, password: bytes) -> bytes | None:
    """The content-encryption key (RFC 3211 section 2.3.2); None where its check octets do not fit."""
    algorithm, size, block = _CBC[recipient.cipher]
    key = hashlib.pbkdf2_hmac(recipient.digest, password, recipient.salt, recipient.iterations, size)

    def decrypt(vector: bytes, octets: bytes) -> bytes:
        return Cipher(algorithm(key), CBC(vector)).decryptor().update(octets)  # type: ignore[call-arg]

    try:
        last = decrypt(recipient.wrapped[-2 * block : -block], recipient.wrapped[-block:])
        inner = decrypt(last, recipient.wrapped[:-block]) + last
        plain = decrypt(recipient.vector, inner)
    except ValueError:
        raise Unreadable(_BROKEN) from None
    length = plain[0]
    if length + 4 > len(plain) or length < 3 or any(plain[1 + at] ^ plain[4 + at] != 0xFF for at in range(3)):
        return None
    return plain[4 : 4 + length]
