"""Opening an encrypted zip member with a password.

What it is: ``MemberLock``, by WinZip AES and by ZipCrypto.
Who calls it: the zip reader hands it to the walk, which tries words of the message; ``archives.zip_protection`` tries the empty one.
Must never: call a password right before size and checksum (or the authentication code) say so; keep what it opened.
Sources: WinZip AE-1/AE-2 specification; PKWARE APPNOTE 6.3.10 section 6.1; hostile-inputs catalogue E05, E06.
"""

from __future__ import annotations

import hashlib
import hmac
import zlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from gateway.archives import zip_directory, zip_methods
from gateway.archives.zip_directory import Entry
from gateway.extraction.base import Budget, OverLimit, Unreadable

SALT = {1: 8, 2: 12, 3: 16}
"""Octets of salt by the strength that the AES record names."""
VERIFIER, MAC, ZIPCRYPTO_HEADER = 2, 10, 12
_ROUNDS = 1000
_PIECE = 1 << 15
_CRC_TABLE = tuple(zlib.crc32(bytes((octet,)), 0xFFFFFFFF) ^ 0xFFFFFFFF for octet in range(256))


@dataclass(frozen=True, slots=True)
class MemberLock:
    """The lock of the encrypted member *entry* of the archive *data*."""

    data: bytes
    entry: Entry
    seconds: float = 0.002

    def open(self, password: str, budget: Budget) -> bytes | None:
        """The member's octets, or None where *password* is wrong. Raises OverLimit."""
        try:
            if self.entry.method == zip_methods.AES:
                return self._aes(password.encode("utf-8"), budget)
            return self._zipcrypto(password.encode("utf-8"), budget)
        except OverLimit:
            raise
        except Unreadable:
            return None

    def _aes(self, password: bytes, budget: Budget) -> bytes | None:
        record = zip_directory.extra_field(self.entry.extra, 0x9901)
        if record is None or len(record) != 7 or record[4] not in SALT:
            return None
        salt_size, key_size = SALT[record[4]], 8 + 8 * record[4]
        packed = self.data[self.entry.start : self.entry.end]
        if len(packed) < salt_size + VERIFIER + MAC:
            return None
        keys = hashlib.pbkdf2_hmac("sha1", password, packed[:salt_size], _ROUNDS, 2 * key_size + VERIFIER)
        if keys[-VERIFIER:] != packed[salt_size : salt_size + VERIFIER]:
            return None
        payload = packed[salt_size + VERIFIER : -MAC]
        if hmac.digest(keys[key_size : 2 * key_size], payload, "sha1")[:MAC] != packed[-MAC:]:
            return None
        clear = _ctr(keys[:key_size], payload, budget)
        crc = self.entry.crc if record[:2] == b"\x01\x00" else None
        return zip_methods.unpack(clear, int.from_bytes(record[5:7], "little"), self.entry.size, crc, budget)

    def _zipcrypto(self, password: bytes, budget: Budget) -> bytes | None:
        entry = self.entry
        packed = self.data[entry.start : entry.end]
        if len(packed) < ZIPCRYPTO_HEADER:
            return None
        keys = _ZipKeys(password)
        last = keys.decrypt(packed[:ZIPCRYPTO_HEADER])[-1]
        # The last octet repeats the checksum's highest or, where the checksum came later, that of the time of day.
        if last not in (entry.crc >> 24, entry.time >> 8):
            return None
        clear = bytearray()
        for at in range(ZIPCRYPTO_HEADER, len(packed), _PIECE):
            clear += keys.decrypt(packed[at : at + _PIECE])
            budget.check_time()
            if at == ZIPCRYPTO_HEADER and entry.method == zip_methods.DEFLATED and not _begins(bytes(clear)):
                return None
        return zip_methods.unpack(bytes(clear), entry.method, entry.size, entry.crc, budget)


def _begins(piece: bytes) -> bool:
    """Whether *piece* can be the beginning of a deflate stream: nine wrong passwords of ten that got so far end here."""
    try:
        zlib.decompressobj(-15).decompress(piece, 1 << 20)
    except zlib.error:
        return False
    return True


def _ctr(key: bytes, payload: bytes, budget: Budget) -> bytes:
    """AES in counter mode as WinZip has it: the counter begins at 1 and is little-endian."""
    engine = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - the counter mode is made of it
    out = bytearray()
    for at in range(0, len(payload), 1 << 18):
        piece = payload[at : at + (1 << 18)]
        first = at // 16 + 1
        counters = b"".join(number.to_bytes(16, "little") for number in range(first, first + (len(piece) + 15) // 16))
        stream = engine.update(counters)[: len(piece)]
        out += (int.from_bytes(piece, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(piece), "big")
        budget.check_time()
    return bytes(out)


class _ZipKeys:
    """The three keys of ZipCrypto after *password*."""

    __slots__ = ("_keys",)

    def __init__(self, password: bytes) -> None:
        self._keys = (0x12345678, 0x23456789, 0x34567890)
        first, second, third = self._keys
        for octet in password:
            first = first >> 8 ^ _CRC_TABLE[(first ^ octet) & 255]
            second = (second + (first & 255)) * 134775813 + 1 & 0xFFFFFFFF
            third = third >> 8 ^ _CRC_TABLE[(third ^ second >> 24) & 255]
        self._keys = (first, second, third)

    def decrypt(self, packed: bytes) -> bytes:
        """The next octets in the clear."""
        first, second, third = self._keys
        table, out = _CRC_TABLE, bytearray()
        for octet in packed:
            key = third | 2
            clear = octet ^ (key * (key ^ 1) >> 8 & 255)
            out.append(clear)
            first = first >> 8 ^ table[(first ^ clear) & 255]
            second = (second + (first & 255)) * 134775813 + 1 & 0xFFFFFFFF
            third = third >> 8 ^ table[(third ^ second >> 24) & 255]
        self._keys = (first, second, third)
        return bytes(out)
