"""The encryption of older Office formats: keys, verifiers and the decoding of octets.

What it is: ``Method`` and its three kinds: RC4, RC4 by CryptoAPI, and XOR obfuscation; ``parse``.
Who calls it: ``office.ole_protection``.
Must never: write to a file (the library that knows these formats does); be called strong by anybody.
Sources: MS-OFFCRYPTO 2.3.5 (CryptoAPI), 2.3.6 (RC4), 2.3.7 (XOR).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher
from msoffcrypto.method.xor_obfuscation import DocumentXOR

from gateway.extraction.base import Unreadable

_RC4_ID = 0x6801
_ROTATED = bytes((octet >> 5 | octet << 3) & 0xFF for octet in range(256))


class Key(Protocol):
    """What one password makes of the octets of a stream."""

    def decode(self, data: bytes, at: int, width: int) -> bytes:
        """*data*, which stands at *at* in its stream, whose keys change each *width* octets (0: one key, number *at*)."""


@dataclass(frozen=True, slots=True)
class Method:
    """How a file says that it is encrypted. *key* is None where a password does not fit."""

    name: str
    cipher: str
    bits: int
    salt: bytes = b""
    verifier: bytes = b""
    digest: bytes = b""
    check: int = 0

    def key(self, password: str) -> Key | None:
        """The key that *password* gives, if the verifier says that it fits."""
        if not password or len(password) > 255:
            return None
        if self.name == "xor":
            return _xor_key(password, self.check)
        key = _Rc4(self._base(password), self.bits, capi=self.name == "capi")
        plain = key.decode(self.verifier + self.digest, 0, 0)
        size = len(self.verifier)
        digest = (hashlib.sha1 if self.name == "capi" else hashlib.md5)(plain[:size], usedforsecurity=False).digest()
        return key if plain[size : size + len(digest)] == digest else None

    def _base(self, password: str) -> bytes:
        words = password.encode("utf-16-le", "replace")
        if self.name == "capi":
            return hashlib.sha1(self.salt + words, usedforsecurity=False).digest()
        first = hashlib.md5(words, usedforsecurity=False).digest()[:5]
        return hashlib.md5((first + self.salt) * 16, usedforsecurity=False).digest()[:5]


@dataclass(frozen=True, slots=True)
class _Rc4:
    base: bytes
    bits: int
    capi: bool

    def _key(self, block: int) -> bytes:
        number = struct.pack("<I", block)
        if not self.capi:
            return hashlib.md5(self.base + number, usedforsecurity=False).digest()
        key = hashlib.sha1(self.base + number, usedforsecurity=False).digest()[: self.bits // 8]
        return key.ljust(16, b"\x00") if self.bits == 40 else key

    def decode(self, data: bytes, at: int, width: int) -> bytes:
        if not width:
            return Cipher(ARC4(self._key(at)), None).decryptor().update(data)
        out, done = [], 0
        while done < len(data):
            block, skip = divmod(at + done, width)
            part = data[done : done + width - skip]
            engine = Cipher(ARC4(self._key(block)), None).decryptor()
            engine.update(bytes(skip))
            out.append(engine.update(part))
            done += len(part)
        return b"".join(out)


@dataclass(frozen=True, slots=True)
class _Xor:
    array: bytes

    def decode(self, data: bytes, at: int, width: int) -> bytes:
        """*at* is where the key begins: in a workbook, place and length of the record together."""
        start = at % 16
        stream = (self.array[start:] + self.array * (len(data) // 16 + 1))[: len(data)]
        mixed = int.from_bytes(data, "little") ^ int.from_bytes(stream, "little")
        return mixed.to_bytes(len(data), "little").translate(_ROTATED)


def _xor_key(password: str, check: int) -> Key | None:
    word = password[:15]
    if not word.isascii() or not DocumentXOR.verifypw(word, check):
        return None
    return _Xor(bytes(DocumentXOR.create_xor_array_method1(word)[:16]))


def parse(data: bytes) -> Method:
    """The header of RC4 encryption, by the CryptoAPI or before it. Raises Unreadable when it is broken or of another kind."""
    try:
        major, minor = struct.unpack_from("<HH", data)
        if (major, minor) == (1, 1):
            if len(data) < 52:
                raise Unreadable("an Office document with broken encryption data")
            return Method("rc4", "RC4", 40, data[4:20], data[20:36], data[36:52])
        if minor != 2 or major not in (2, 3, 4):
            raise Unreadable("an Office document with an unknown encryption")
        size = struct.unpack_from("<I", data, 8)[0]
        algorithm, _, bits = struct.unpack_from("<III", data, 20)
        at = 12 + size
        salt_size = struct.unpack_from("<I", data, at)[0]
        salt, verifier = data[at + 4 : at + 20], data[at + 20 : at + 36]
        digest_size = struct.unpack_from("<I", data, at + 36)[0]
        digest = data[at + 40 : at + 60]
    except struct.error:
        raise Unreadable("an Office document with broken encryption data") from None
    bits = bits or 40
    if algorithm not in (_RC4_ID, 0) or salt_size != 16 or digest_size != 20 or len(digest) < 20 or bits % 8 or not 40 <= bits <= 128:
        raise Unreadable("an Office document with an unknown encryption")
    return Method("capi", "RC4-CryptoAPI", bits, salt, verifier, digest)
