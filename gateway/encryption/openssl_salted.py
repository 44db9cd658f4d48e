"""Files of ``openssl enc``: eight letters, a salt, and data that says nothing about itself.

What it is: the extractor (of the octets and of their base64), ``armoured``, and the lock.
Who calls it: ``sniff`` and ``content.walk`` through the table.
Must never: call it encrypted to a strength: neither cipher nor key derivation stand in the file.
Sources: openssl-enc(1); EVP_BytesToKey(3); docs/inspection.md, main rule; hostile-inputs catalogue E20, E21.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR

from gateway.extraction import randomness
from gateway.extraction.base import Budget, Child, Found, Piece, Unreadable
from gateway.protection import Protection, ProtectionState
from gateway.verdict import LeafState

_MARK = b"Salted__"
_ARMOURED = re.compile(rb"\A\s{0,100}U2FsdGVkX1(?:[A-Za-z0-9+/]+[ \t]*(?:\r?\n)?)+={0,2}\s{0,100}\Z")
_ITERATIONS = 10_000  # what openssl takes for -pbkdf2 by itself
_SECONDS = 0.014
_PROBE = 4_096  # octets that are decrypted before the rest is
_TYPE = "application/x-openssl-encrypted"


def armoured(data: bytes) -> bool:
    """Whether the text *data* is the base64 of one such file and nothing else."""
    lines = data.split()
    return bool(lines) and lines[0].startswith(b"U2FsdGVkX1") and _is_base64(b"".join(lines))


def _is_base64(text: bytes) -> bool:
    body = text.rstrip(b"=")
    return len(text) - len(body) <= 2 and not body.translate(None, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


def extract(piece: Piece, budget: Budget) -> Found:
    """Never more than unverifiable; plain data behind the eight letters is no encryption at all, and is read."""
    data = piece.data
    if not data.startswith(_MARK):
        text = b"".join(data.split())
        if not armoured(data):
            raise Unreadable("base64 of a file of openssl enc that is broken")
        data = binascii.a2b_base64(text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4)) if len(text.rstrip(b"=")) % 4 != 1 else b""
        if not data.startswith(_MARK):
            raise Unreadable("base64 of a file of openssl enc that is broken")
        budget.spend_bytes(len(data))
    body = data[16:]
    behind = data[len(_MARK) :]
    why = randomness.disproof(body)
    if len(body) >= randomness.SHORTEST and why:
        reason = f"it says that openssl encrypted it, but {why}"
        budget.spend_bytes(len(behind))
        child = Child("data", behind)
        return Found((), (child,), LeafState.SUSPECT, reason, Protection(scheme="openssl", reason=reason), container=True, media_type=_TYPE)
    reason = "a file encrypted with openssl enc: neither its cipher nor its strength can be verified"
    protection = Protection(ProtectionState.UNVERIFIABLE, "openssl", reason=reason)
    lock = _SaltedLock(data[8:16], body, _SECONDS) if len(body) >= 8 else None
    return Found(state=LeafState.SUSPECT, reason=reason, protection=protection, media_type=_TYPE, lock=lock)


@dataclass(frozen=True, slots=True)
class _SaltedLock:
    """The lock of one file: the usual ciphers with the usual key derivations."""

    salt: bytes
    body: bytes
    seconds: float

    def open(self, password: str, budget: Budget) -> bytes | None:
        """The content; None where none of them gives anything that is plainly no ciphertext."""
        budget.check_time()
        for material in self._materials(password.encode("utf-8", "replace")):
            for algorithm, key, block in _CIPHERS:
                opened = self._with(algorithm, material[:key], material[key : key + block], block)
                if opened is not None:
                    budget.spend_bytes(len(opened))
                    return opened
        return None

    def _materials(self, password: bytes) -> Iterator[bytes]:
        """Key and initialisation vector, by each derivation."""
        for digest in ("sha256", "md5", "sha1"):
            yield _bytes_to_key(digest, password, self.salt)
        for digest in ("sha256", "sha512"):
            yield hashlib.pbkdf2_hmac(digest, password, self.salt, _ITERATIONS, 48)

    def _with(self, algorithm: type[CipherAlgorithm], key: bytes, vector: bytes, block: int) -> bytes | None:
        if len(self.body) % block == 0 and self._ends_well(algorithm, key, vector, block):
            cipher = Cipher(algorithm(key), CBC(vector))  # type: ignore[call-arg]
            if len(self.body) > _PROBE and not _is_plain(cipher.decryptor().update(self.body[:_PROBE])):
                return None
            plain = cipher.decryptor().update(self.body)
            plain = plain[: -plain[-1]]
            return plain if _is_plain(plain) else None
        if algorithm is AES:
            probe = Cipher(AES(key), CTR(vector)).decryptor().update(self.body[:_PROBE])
            if _is_plain(probe) and len(probe) >= 24:
                return Cipher(AES(key), CTR(vector)).decryptor().update(self.body)
        return None

    def _ends_well(self, algorithm: type[CipherAlgorithm], key: bytes, vector: bytes, block: int) -> bool:
        """Whether the last block is padded as it must be (RFC 5652 section 6.3)."""
        before = self.body[-2 * block : -block] if len(self.body) > block else vector
        last = Cipher(algorithm(key), CBC(before)).decryptor().update(self.body[-block:])  # type: ignore[call-arg]
        size = last[-1]
        return 1 <= size <= block and last[-size:] == bytes((size,)) * size


_CIPHERS: tuple[tuple[type[CipherAlgorithm], int, int], ...] = ((AES, 32, 16), (AES, 16, 16), (AES, 24, 16), (TripleDES, 24, 8))


def _bytes_to_key(digest: str, password: bytes, salt: bytes) -> bytes:
    out = block = b""
    while len(out) < 48:
        block = hashlib.new(digest, block + password + salt, usedforsecurity=False).digest()
        out += block
    return out


def _is_plain(data: bytes) -> bool:
    """Whether *data* is plainly no ciphertext: a wrong key passes the padding once in 256 times, but gives noise."""
    if not data:
        return False
    if len(data) < 64:
        try:
            return data.decode("utf-8").replace("\n", " ").replace("\r", " ").replace("\t", " ").isprintable()
        except UnicodeDecodeError:
            return False
    return bool(randomness.disproof(data))
