"""The compression methods of zip members.

What it is: ``unpack``, one member's octets by its method, counted while they grow and checked against size and checksum; ``chunks``.
Who calls it: ``archives.zip_directory`` for members as they stand, ``archives.zip_lock`` for members that a password opened.
Must never: believe a size or a flag.
Source: PKWARE APPNOTE 6.3.10 sections 4.4.5 (methods), 5.8 (LZMA).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from gateway.archives import decoders, ppmd
from gateway.extraction.base import Budget, OverLimit, Unreadable

STORED, DEFLATED, DEFLATED64, BZIP2, LZMA, ZSTD_OLD, ZSTD, XZ, PPMD, AES = 0, 8, 9, 12, 14, 20, 93, 95, 98, 99
DAMAGED = "a member is damaged: size or checksum is wrong"


def unpack(packed: bytes, method: int, size: int, crc: int | None, budget: Budget) -> bytes:
    """The *size* octets that *packed* holds by *method*; *crc* None where the format has none. Raises Unreadable or OverLimit."""
    try:
        if method == STORED:
            budget.spend_bytes(len(packed))
            out = packed
        elif method == PPMD and crc is not None:
            out = ppmd.variant_i(packed, size, crc, budget)
        else:
            out = budget.collect(chunks(packed, method, size), len(packed), size)
    except OverLimit as error:
        raise OverLimit(str(error).replace("it ", "a member ", 1)) from None
    except Unreadable as error:
        raise Unreadable(str(error).replace("it ", "a member ", 1)) from None
    if len(out) != size or (crc is not None and zlib.crc32(out) != crc):
        raise Unreadable(DAMAGED)
    return out


def chunks(packed: bytes, method: int, size: int) -> Iterator[bytes]:
    """What *packed* unpacks to, piece by piece. Raises Unreadable for a method that is not read."""
    match method:
        case 0:
            return decoders.stored(packed)
        case 8:
            return decoders.inflate(packed)
        case 9:
            return decoders.inflate64_stream(packed)
        case 12:
            return decoders.bzip2(packed)
        case 14:
            return _lzma(packed, size)
        case 20 | 93:
            return decoders.zstd(packed)
        case 95:
            return decoders.xz(packed)
        case _:
            raise Unreadable("it is packed by a method that is not read")


def _lzma(packed: bytes, size: int) -> Iterator[bytes]:
    """Version of the SDK (2 octets), length of the properties (2), the properties, the stream."""
    if len(packed) < 9 or packed[2:4] != b"\x05\x00":
        raise Unreadable(decoders.BROKEN)
    return decoders.lzma1(packed[9:], packed[4:9], size)
