"""PPMd streams, unpacked by libarchive.

What it is: ``variant_h`` (of 7z) and ``variant_i`` (of zip); each writes the smallest archive around a stream for libarchive to read.
Who calls it: ``archives.sevenzip_coders`` and ``archives.zip_methods``.
Must never: hand a stream to pyppmd, which ends the process on some damaged ones (measured: 6 of 400 with one bit changed).
Sources: "7zFormat.txt" of the 7-Zip sources; PKWARE APPNOTE 6.3.10 section 5.10.
"""

from __future__ import annotations

import struct
import zlib

from gateway.archives import libarchive
from gateway.extraction.base import Budget, OverLimit, Unreadable

_MEMORY = 128 << 20
_BROKEN = "it is damaged and cannot be unpacked"


def variant_h(packed: bytes, properties: bytes, size: int, budget: Budget) -> bytes:
    """*size* octets of a PPMd7 stream; *properties*: order and octets of memory. Raises Unreadable or OverLimit."""
    if len(properties) != 5 or not 2 <= properties[0] <= 64 or int.from_bytes(properties[1:], "little") < 1 << 11:
        raise Unreadable(_BROKEN)
    if int.from_bytes(properties[1:], "little") > _MEMORY:
        raise OverLimit("it needs more memory to unpack than the limit")
    streams = b"\x06\x00\x01\x09" + _number(len(packed)) + b"\x00\x07\x0b\x01\x00\x01\x23\x03\x04\x01\x05" + properties
    streams += b"\x0c" + _number(size) + b"\x00\x08\x00\x00"  # libarchive wants to see substreams, empty as they are
    header = b"\x01\x04" + streams + b"\x05\x01\x11\x05\x00a\0\0\0\x00\x00"
    start = struct.pack("<QQL", len(packed), len(header), zlib.crc32(header))
    archive = b"7z\xbc\xaf\x27\x1c\x00\x04" + zlib.crc32(start).to_bytes(4, "little") + start + packed + header
    return _only(archive, "7zip", size, budget)


def variant_i(packed: bytes, size: int, crc: int, budget: Budget) -> bytes:
    """*size* octets with the checksum *crc* of a PPMd8 stream with its two octets of parameters. Raises Unreadable or OverLimit."""
    if len(packed) < 3 or packed[0] & 15 < 1:
        raise Unreadable(_BROKEN)
    if (int.from_bytes(packed[:2], "little") >> 4 & 255) + 1 > _MEMORY >> 20:
        raise OverLimit("it needs more memory to unpack than the limit")
    fields = (63, 0, 98, 0, 0x21, crc, len(packed), size, 1, 0)
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", *fields) + b"a"
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 63, *fields, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), len(local) + len(packed), 0)
    return _only(local + packed + entry + end, "zip", size, budget)


def _only(archive: bytes, kind: str, size: int, budget: Budget) -> bytes:
    found = list(libarchive.members(archive, (kind,), budget, counted=True))
    if len(found) != 1 or not found[0].complete or len(found[0].data) != size:
        raise Unreadable(_BROKEN)
    return found[0].data


def _number(value: int) -> bytes:
    """A number as 7z writes it, always in nine octets."""
    return b"\xff" + value.to_bytes(8, "little")
