"""Undoing the coders of a 7z folder, AES included.

What it is: ``unpack`` (the octets of a folder), ``key`` (the AES key of a password) and ``aes_parameters``.
Who calls it: ``archives.sevenzip``.
Must never: guess at a method it does not know; derive a key that takes longer than the limit.
Sources: "7zFormat.txt" and "Methods.txt" of the 7-Zip sources; 7zAes.cpp (key derivation); hostile-inputs catalogue Z03, E07.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from gateway.archives import decoders, ppmd
from gateway.archives.sevenzip_header import AES, Coder
from gateway.extraction.base import Budget, OverLimit, Unreadable

ROUNDS_POWER = 20
"""The largest number of rounds, as a power of two, that is tried: about half a second. 7-Zip writes 19."""
_COUNTERS = 1 << 16
_LOW, _HIGH = bytes(range(256)) * 256, bytes(octet for octet in range(256) for _ in range(256))
"""The two low octets of the counters 0 to 65,535, one behind the other."""
UNKNOWN_METHOD = "it is packed by a method that is not read"
_bcj: Any = importlib.import_module("bcj")  # its types are not exported
_BCJ: dict[bytes, Callable[[int], Any]] = {
    b"\x04": _bcj.BCJDecoder,
    b"\x05": _bcj.PPCDecoder,
    b"\x06": _bcj.IA64Decoder,
    b"\x07": _bcj.ARMDecoder,
    b"\x08": _bcj.ARMTDecoder,
    b"\x09": _bcj.SparcDecoder,
    b"\x03\x03\x01\x03": _bcj.BCJDecoder,
    b"\x03\x03\x02\x05": _bcj.PPCDecoder,
    b"\x03\x03\x04\x01": _bcj.IA64Decoder,
    b"\x03\x03\x05\x01": _bcj.ARMDecoder,
    b"\x03\x03\x07\x01": _bcj.ARMTDecoder,
    b"\x03\x03\x08\x05": _bcj.SparcDecoder,
}


def unpack(packed: bytes, coders: tuple[tuple[Coder, int], ...], key: bytes | None, budget: Budget) -> bytes:
    """What *packed* holds after *coders* are undone one by one; *key* is for AES (None: a folder with AES cannot be read).

    Raises Unreadable or OverLimit.
    """
    length = max(len(packed), 1)
    for coder, size in coders:
        if size > budget.room(length):
            raise OverLimit("it unpacks to more than the limit")
        chunks = iter((_decrypt(packed, coder, size, key),)) if coder.method == AES else _chunks(coder, packed, size, budget)
        packed = budget.collect(chunks, length, size)
        if len(packed) != size:
            raise Unreadable(decoders.BROKEN)
    return packed


def _chunks(coder: Coder, packed: bytes, size: int, budget: Budget) -> Iterator[bytes]:
    method, properties = coder.method, coder.properties
    if method in _BCJ:
        return iter((_BCJ[method](len(packed)).decode(packed),))
    match method:
        case b"\x00":
            return decoders.stored(packed)
        case b"\x03":
            return iter((_delta(packed, properties),))
        case b"\x21":
            return decoders.lzma2(packed, properties, size)
        case b"\x03\x01\x01":
            return decoders.lzma1(packed, properties, size)
        case b"\x03\x04\x01":
            return iter((ppmd.variant_h(packed, properties, size, budget),))
        case b"\x04\x01\x08":
            return decoders.inflate(packed)
        case b"\x04\x01\x09":
            return decoders.inflate64_stream(packed)
        case b"\x04\x02\x02":
            return decoders.bzip2(packed)
        case b"\x04\xf7\x11\x01":
            return decoders.zstd(packed)
        case _:
            raise Unreadable(UNKNOWN_METHOD)


def _delta(packed: bytes, properties: bytes) -> bytes:
    if len(properties) != 1:
        raise Unreadable(decoders.BROKEN)
    distance, out = properties[0] + 1, bytearray(len(packed))
    for channel in range(distance):
        out[channel::distance] = bytes(itertools.accumulate(packed[channel::distance], _add))
    return bytes(out)


def _add(one: Any, other: int) -> int:
    return int(one + other & 255)


def aes_parameters(properties: bytes) -> tuple[int, bytes, bytes]:
    """Rounds as a power of two, salt and initialisation vector. Raises Unreadable."""
    if not properties:
        raise Unreadable("its AES record is missing or broken")
    first = properties[0]
    if not first & 0xC0:
        salt, vector, used = b"", b"", 1
    else:
        if len(properties) < 2:
            raise Unreadable("its AES record is missing or broken")
        salt_size = (first >> 7 & 1) + (properties[1] >> 4)
        vector_size = (first >> 6 & 1) + (properties[1] & 15)
        used = 2 + salt_size + vector_size
        salt, vector = properties[2 : 2 + salt_size], properties[2 + salt_size : used]
    if len(properties) != used or len(vector) > 16:
        raise Unreadable("its AES record is missing or broken")
    return first & 0x3F, salt, vector.ljust(16, b"\0")


def key(password: str, properties: bytes, budget: Budget) -> bytes:
    """The AES key: SHA-256 over salt, password and a counter, as often as *properties* say. Raises Unreadable or OverLimit."""
    power, salt, _ = aes_parameters(properties)
    if power > ROUNDS_POWER:
        raise Unreadable("its key takes too long to derive")
    block = salt + password.encode("utf-16-le", "surrogatepass")
    digest, total, width = hashlib.sha256(), 1 << power, len(block) + 8
    at = min(total, _COUNTERS)
    buffer = bytearray((block + bytes(8)) * at)
    buffer[len(block) :: width] = _LOW[:at]
    buffer[len(block) + 1 :: width] = _HIGH[:at]
    for number in range(total // at):
        buffer[len(block) + 2 :: width] = bytes((number,)) * at
        digest.update(buffer)
        budget.check_time()
    return digest.digest()


def _decrypt(packed: bytes, coder: Coder, size: int, key: bytes | None) -> bytes:
    if key is None:
        raise Unreadable("it is encrypted")
    if len(packed) % 16 or not len(packed) - 16 < size <= len(packed):
        raise Unreadable(decoders.BROKEN)
    _, _, vector = aes_parameters(coder.properties)
    return Cipher(algorithms.AES(key), modes.CBC(vector)).decryptor().update(packed)[:size]
