"""Keys of encrypted RAR archives.

What it is: ``Keys``, the derivations of one archive, each done once, and ``decrypt``.
Who calls it: ``archives.rar4``, ``archives.rar5`` and ``archives.rar``.
Must never: derive a key that takes longer than the limit.
Sources: "RAR 5.0 archive format", encryption header and file encryption record; rarfile 4.2, rar3_s2k (RAR 3 key derivation).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from gateway.archives.rar_blocks import Closed
from gateway.extraction.base import Budget, Unreadable

_WHOLE, _PART = 64, 0x4000
POWER = 18
"""The largest number of rounds of RAR 5, as a power of two, that is tried: about half a second. WinRAR writes 15."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a password gives: the key, for RAR 4 also the vector, for RAR 5 the key of checksums and the check value."""

    key: bytes
    vector: bytes = b""
    checksums: bytes = b""
    check: bytes = b""


@dataclass(slots=True)
class Keys:
    """The keys that were derived."""

    known: dict[tuple[str, int, bytes, int], Key] = field(default_factory=dict)

    def of(self, password: str, closed: Closed, budget: Budget) -> Key:
        """The key of *password* for *closed*. Raises Unreadable where that takes too long, OverLimit."""
        wanted = (password, closed.generation, closed.salt, closed.power)
        if wanted not in self.known:
            budget.check_time()
            self.known[wanted] = _rar5(password, closed) if closed.generation == 5 else _rar4(password, closed)
        return self.known[wanted]


def _rar5(password: str, closed: Closed) -> Key:
    if closed.power > POWER:
        raise Unreadable("its key takes too long to derive")
    secret = password.encode("utf-8", "surrogatepass")
    rounds = 1 << closed.power
    key, checksums, check = (hashlib.pbkdf2_hmac("sha256", secret, closed.salt, rounds + more) for more in (0, 16, 32))
    folded = bytes(check[at] ^ check[at + 8] ^ check[at + 16] ^ check[at + 24] for at in range(8))
    return Key(key, b"", checksums, folded)


def _rar4(password: str, closed: Closed) -> Key:
    """SHA-1 over password, salt and a counter, 262,144 times; an octet of the vector is taken at each sixteenth."""
    seed = password[:127].encode("utf-16-le", "surrogatepass") + closed.salt
    if len(seed) > _WHOLE:
        # WinRAR's own SHA-1 changes long seeds while it works: to repeat that takes seconds for each password.
        raise Unreadable("its key takes too long to derive")
    width, digest, vector = len(seed) + 3, hashlib.sha1(usedforsecurity=False), bytearray()
    buffer = bytearray((seed + bytes(3)) * _PART)
    buffer[len(seed) :: width] = bytes(range(256)) * (_PART // 256)
    for part in range(16):
        first = part * (_PART // 256)
        buffer[len(seed) + 1 :: width] = b"".join(bytes((octet & 255,)) * 256 for octet in range(first, first + _PART // 256))
        buffer[len(seed) + 2 :: width] = bytes((first >> 8,)) * _PART
        digest.update(buffer[:width])
        vector.append(digest.digest()[19])
        digest.update(memoryview(buffer)[width:])
    words = struct.unpack(">4L", digest.digest()[:16])
    return Key(struct.pack("<4L", *words), bytes(vector))


def fits(key: Key, closed: Closed) -> bool | None:
    """Whether *key* is right by the check value; None where there is none."""
    return key.check == closed.check if closed.check else None


def decrypt(packed: bytes, key: Key, vector: bytes) -> bytes:
    """AES in CBC mode over whole blocks. Raises Unreadable."""
    if len(packed) % 16:
        raise Unreadable("its size does not fit AES encryption")
    return Cipher(algorithms.AES(key.key), modes.CBC(vector or key.vector)).decryptor().update(packed)


def tweaked(crc: int, key: Key) -> int:
    """The checksum *crc* as RAR 5 stores it so that it tells nothing without the password."""
    digest = hmac.digest(key.checksums, crc.to_bytes(4, "little"), "sha256")
    out = 0
    for index, octet in enumerate(digest):
        out ^= octet << (index & 3) * 8
    return out


def blake2sp(data: bytes) -> bytes:
    """The hash that RAR 5 can have in place of a checksum: eight leaves of BLAKE2s, each with every eighth block, under one root."""
    root = hashlib.blake2s(fanout=8, depth=2, inner_size=32, node_depth=1, last_node=True)
    for leaf in range(8):
        part = b"".join(data[at : at + 64] for at in range(64 * leaf, len(data), 512))
        root.update(hashlib.blake2s(part, fanout=8, depth=2, inner_size=32, node_offset=leaf, last_node=leaf == 7).digest())
    return root.digest()


def tweaked_hash(digest: bytes, key: Key) -> bytes:
    """The hash *digest* as RAR 5 stores it so that it tells nothing without the password."""
    return hmac.digest(key.checksums, digest, "sha256")
