"""The readers of single compressed files: gzip, bzip2, xz, lzma, zstd, and by libarchive compress, lzip and lz4.

What it is: one extractor for each; what they hold is one child.
Who calls it: ``content.walk`` through the table.
Must never: stop at the first of several streams; let data behind the last one pass; unpack without counting.
Sources: RFC 1952 (gzip), RFC 8878 (zstd), the xz file format 1.1.0; hostile-inputs catalogue Z01, Z03, Z10, Z13.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from gateway.archives import decoders, libarchive
from gateway.archives.member_names import decoded
from gateway.extraction.base import Budget, Child, Extractor, Found, Piece, Unreadable
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_SUFFIXES = {
    ".tgz": ".tar", ".taz": ".tar", ".tbz": ".tar", ".tbz2": ".tar", ".txz": ".tar", ".tlz": ".tar", ".tzst": ".tar", ".svgz": ".svg",
    ".emz": ".emf", ".wmz": ".wmf",
    **dict.fromkeys((".gz", ".bz2", ".xz", ".lzma", ".zst", ".z", ".lz", ".lz4"), ""),
}  # fmt: skip
_CRC, _EXTRA, _NAME, _COMMENT, _RESERVED = 2, 4, 8, 16, 0xE0


def gzip(piece: Piece, budget: Budget) -> Found:
    """All members of a gzip file, joined as gunzip joins them; their names and comments are text."""
    said: dict[str, None] = {}
    content = budget.collect(_gzip(piece.data, said), len(piece.data))
    return _found(piece, content, tuple(Segment(text, Zone.FILE_NAME) for text in said))


def bzip2(piece: Piece, budget: Budget) -> Found:
    """All streams of a bzip2 file."""
    return _found(piece, budget.collect(decoders.bzip2(piece.data), len(piece.data)))


def xz(piece: Piece, budget: Budget) -> Found:
    """All streams of an xz file."""
    return _found(piece, budget.collect(decoders.xz(piece.data), len(piece.data)))


def lzma(piece: Piece, budget: Budget) -> Found:
    """An old .lzma file. It has no checksum."""
    return _found(piece, budget.collect(decoders.lzma_alone(piece.data), len(piece.data)))


def zstd(piece: Piece, budget: Budget) -> Found:
    """All frames of a zstd file."""
    return _found(piece, budget.collect(decoders.zstd(piece.data), len(piece.data)))


def by_libarchive(filter_name: str) -> Extractor:
    """A file that libarchive's filter *filter_name* unpacks."""

    def extract(piece: Piece, budget: Budget) -> Found:
        return _found(piece, libarchive.filtered(piece.data, filter_name, budget))

    return extract


def _found(piece: Piece, content: bytes, segments: tuple[Segment, ...] = ()) -> Found:
    child = Child(_inner(piece.name), content)
    return Found(segments, (child,), LeafState.INSPECTED, container=True)


def _inner(name: str) -> str:
    """*name* without the suffix of its packing."""
    dot = name.rfind(".")
    return name[:dot] + _SUFFIXES[name[dot:].lower()] if dot > 0 and name[dot:].lower() in _SUFFIXES else name


def _gzip(data: bytes, said: dict[str, None]) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        at = _gzip_header(data, at, said)
        crc, size, stream = 0, 0, decoders.inflate_at(data, at, -15)
        while True:
            try:
                chunk = next(stream)
            except StopIteration as end:
                at = end.value
                break
            crc, size = zlib.crc32(chunk, crc), size + len(chunk)
            yield chunk
        if data[at : at + 8] != crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little"):
            raise Unreadable("it is damaged: size or checksum is wrong")
        at += 8


def _gzip_header(data: bytes, start: int, said: dict[str, None]) -> int:
    """Where the packed data begins. Raises Unreadable."""
    if data[start : start + 2] != b"\x1f\x8b":
        raise Unreadable(decoders.MORE)
    if len(data) < start + 18 or data[start + 2] != 8 or data[start + 3] & _RESERVED:
        raise Unreadable(decoders.BROKEN)
    flags, at = data[start + 3], start + 10
    if flags & _EXTRA:
        at += 2 + int.from_bytes(data[at : at + 2], "little")
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            end = data.find(b"\x00", at)
            if end < 0:
                raise Unreadable(decoders.BROKEN)
            said.setdefault(decoded(data[at:end]))
            at = end + 1
    if flags & _CRC:
        if data[at : at + 2] != (zlib.crc32(data[start:at]) & 0xFFFF).to_bytes(2, "little"):
            raise Unreadable("it is damaged: size or checksum is wrong")
        at += 2
    return at
