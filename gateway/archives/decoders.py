"""Packed octets to octets, piece by piece: the compression methods that several formats share.

What it is: one generator for each method; it yields at most about one megabyte at a time, so that the caller can stop a bomb.
Who calls it: the readers of zip, 7z, cab and single compressed files, through ``Budget.collect``.
Must never: hold a whole result; believe a size; let data behind the end of a stream pass unnoticed where the format marks the end.
Sources: RFC 1951 (deflate), RFC 8878 (zstd), the xz file format 1.1.0, the 7-zip documents "lzma.txt" and "7zFormat.txt",
PKWARE APPNOTE 6.3.10 section 4.4.5; hostile-inputs catalogue Z03.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Generator, Iterator
from typing import Any

import inflate64
import zstandard

from gateway.extraction.base import OverLimit, Unreadable

STEP = 1 << 20
"""Octets asked for at a time."""
_FEED = 1 << 16
DICTIONARY = 128 << 20
"""The largest dictionary or model, in octets, that is given to a decoder."""
BROKEN = "it is damaged and cannot be unpacked"
MORE = "it holds data after its end"
_ERRORS = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, SystemError, zstandard.ZstdError)


def stored(packed: bytes) -> Iterator[bytes]:
    """As it is."""
    yield packed


def inflate(packed: bytes, bits: int = -15) -> Iterator[bytes]:
    """One deflate stream (*bits* as zlib has them: raw by default) that fills *packed*."""
    at = yield from inflate_at(packed, 0, bits)
    if at != len(packed):
        raise Unreadable(MORE)


def inflate_at(packed: bytes, at: int, bits: int, history: bytes = b"") -> Generator[bytes, None, int]:
    """One deflate stream that begins at *at*; returns where it ends. *history* is what came before it."""
    engine = zlib.decompressobj(bits, zdict=history) if history else zlib.decompressobj(bits)
    pending = b""
    try:
        while not engine.eof:
            if not pending:
                pending, at = packed[at : at + _FEED], at + _FEED
                if not pending:
                    raise Unreadable(BROKEN)
            out = engine.decompress(pending, STEP)
            pending = engine.unconsumed_tail
            if out:
                yield out
    except zlib.error:
        raise Unreadable(BROKEN) from None
    return min(at, len(packed)) - len(engine.unused_data)


def inflate64_stream(packed: bytes) -> Iterator[bytes]:
    """One Deflate64 stream. The library knows no end of output, so it gets little at a time."""
    engine = inflate64.Inflater()
    try:
        for at in range(0, len(packed), 1024):
            if out := engine.inflate(packed[at : at + 1024]):
                yield out
            if engine.eof and at + 1024 < len(packed):
                raise Unreadable(MORE)
    except _ERRORS:
        raise Unreadable(BROKEN) from None
    if not engine.eof:
        raise Unreadable(BROKEN)


def bzip2(packed: bytes, at: int = 0) -> Iterator[bytes]:
    """One or more bzip2 streams, one behind the other."""
    while True:
        at = yield from _stream(bz2.BZ2Decompressor(), packed, at)
        if at == len(packed):
            return
        if packed[at : at + 3] != b"BZh":
            raise Unreadable(MORE)


def xz(packed: bytes) -> Iterator[bytes]:
    """One or more xz streams, with the padding that the format allows between and after them."""
    at = 0
    while True:
        at = yield from _stream(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2 * DICTIONARY), packed, at)
        start = at
        while packed[at : at + 4] == b"\0\0\0\0":
            at += 4
        if at == len(packed):
            return
        if packed[at : at + 6] != b"\xfd7zXZ\x00" or start > at:
            raise Unreadable(MORE)


def lzma_alone(packed: bytes) -> Iterator[bytes]:
    """The old single file format of LZMA, 13 octets of header."""
    at = yield from _stream(lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=2 * DICTIONARY), packed, 0)
    if at != len(packed):
        raise Unreadable(MORE)


def lzma1(packed: bytes, properties: bytes, size: int) -> Iterator[bytes]:
    """*size* octets of a raw LZMA stream with its five octets of *properties*; its end is often not marked."""
    if len(properties) != 5 or properties[0] >= 225:
        raise Unreadable(BROKEN)
    first = properties[0]
    filters: list[dict[str, Any]] = [
        {
            "id": lzma.FILTER_LZMA1,
            "dict_size": _dictionary(int.from_bytes(properties[1:], "little"), size),
            "lc": first % 9,
            "lp": first // 9 % 5,
            "pb": first // 45,
        }
    ]
    return _exactly(filters, packed, size)


def lzma2(packed: bytes, properties: bytes, size: int) -> Iterator[bytes]:
    """*size* octets of a raw LZMA2 stream with its one octet of *properties*."""
    if len(properties) != 1 or properties[0] > 40:
        raise Unreadable(BROKEN)
    bits = properties[0]
    dictionary = 0xFFFFFFFF if bits == 40 else (2 | bits & 1) << (bits // 2 + 11)
    return _exactly([{"id": lzma.FILTER_LZMA2, "dict_size": _dictionary(dictionary, size)}], packed, size)


def zstd(packed: bytes) -> Iterator[bytes]:
    """One or more zstd frames (skippable ones hold nothing of the content and are refused by their length)."""
    at = 0
    try:
        while at < len(packed):
            if packed[at + 1 : at + 4] == b"\x2a\x4d\x18" and packed[at] & 0xF0 == 0x50:
                raise Unreadable("it holds a frame that readers skip")
            engine = zstandard.ZstdDecompressor(max_window_size=DICTIONARY).decompressobj(write_size=STEP)
            while not engine.eof:
                feed = packed[at : at + 512]
                if not feed:
                    raise Unreadable(BROKEN)
                at += len(feed)
                if out := engine.decompress(feed):
                    yield out
            at -= len(engine.unused_data)
    except zstandard.ZstdError:
        raise Unreadable(BROKEN) from None


def _dictionary(wanted: int, size: int) -> int:
    """No match reaches farther back than there are octets, so no dictionary need be larger than the output."""
    needed = max(min(wanted, size), 4096)
    if needed > DICTIONARY:
        raise OverLimit("it needs more memory to unpack than the limit")
    return needed


def _exactly(filters: list[dict[str, Any]], packed: bytes, size: int) -> Iterator[bytes]:
    at, left = 0, size
    try:
        engine = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)  # it does not take all parameters that the properties can say
        while left:
            feed = b""
            if engine.needs_input:
                feed, at = packed[at : at + _FEED], at + _FEED
            if engine.eof or (not feed and engine.needs_input):
                raise Unreadable(BROKEN)
            out = engine.decompress(feed, min(left, STEP))
            left -= len(out)
            yield out
    except _ERRORS:
        raise Unreadable(BROKEN) from None


def _stream(engine: Any, packed: bytes, at: int) -> Generator[bytes, None, int]:
    """One stream from *at* on; returns where it ends."""
    try:
        while not engine.eof:
            feed = b""
            if engine.needs_input:
                feed, at = packed[at : at + _FEED], at + _FEED
                if not feed:
                    raise Unreadable(BROKEN)
            if out := engine.decompress(feed, STEP):
                yield out
    except MemoryError:
        raise OverLimit("it needs more memory to unpack than the limit") from None
    except _ERRORS as error:
        if "memory" in str(error).lower():
            raise OverLimit("it needs more memory to unpack than the limit") from None
        raise Unreadable(BROKEN) from None
    return min(at, len(packed)) - len(engine.unused_data)
