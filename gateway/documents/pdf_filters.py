"""The filters of PDF streams that may stand before text, unpacked under a limit.

What it is: ``named`` (the filters of a stream), and ``unpacked``, which goes through a chain of filters and never makes more octets than
it is allowed to.
Who calls it: ``documents.pdf_content``, before pdfium may unpack the same stream without any limit; ``pdf_fonts`` and ``pdf_glyphs``.
Must never: unpack beyond the limit; decode pictures (their filters end the chain: no text stands in them).
Source: ISO 32000-2 section 7.4.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence

import pikepdf

from gateway.documents.pdf_strings import entries, spelled
from gateway.extraction.base import OverLimit

LONGEST = 8
"""Filters of one stream that are followed."""
_BLANK = re.compile(rb"[\x00\t\n\f\r ]+")
_WHITE = b"\x00\t\n\f\r "
_CLEAR, _END = 256, 257


def named(stream: pikepdf.Object) -> list[str]:
    """The filters that *stream* names, one more than LONGEST at most."""
    value = stream.get("/Filter")
    return [spelled(value)] if isinstance(value, pikepdf.Name) else [spelled(name) for name in entries(value, LONGEST + 1)]


def unpacked(raw: bytes, filters: Sequence[str], most: int) -> bytes | None:
    """What *raw* unpacks to by *filters*; empty where a filter of pictures stands among them, None where it is damaged. Raises OverLimit
    for more than *most* octets, at any step.
    """
    data = raw
    for name in filters:
        step = _FILTERS.get(name)
        if step is None:
            return b""
        try:
            data = step(data, most)
        except (ValueError, zlib.error):
            return None
    return data


def _flate(data: bytes, most: int) -> bytes:
    out = zlib.decompressobj().decompress(data.lstrip(b"\r\n") if data[:1] in b"\r\n" else data, most + 1)
    return _within(out, most)


def _within(out: bytes, most: int) -> bytes:
    if len(out) > most:
        raise OverLimit("a page unpacks to more than the limit")
    return out


def _ascii85(data: bytes, most: int) -> bytes:
    """By qpdf, since Python's own takes a second for two megabytes; it grows to four times as much at most."""
    if len(data) > most:
        raise OverLimit("a page unpacks to more than the limit")
    with pikepdf.new() as scratch:
        stream = scratch.make_stream(b"")
        stream.write(data.strip(_WHITE).removeprefix(b"<~"), filter=pikepdf.Name.ASCII85Decode)
        try:
            return _within(stream.read_bytes(), most)
        except pikepdf.PikepdfError as error:
            raise ValueError("no such data") from error


def _hexadecimal(data: bytes, most: int) -> bytes:
    body = _BLANK.sub(b"", data).partition(b">")[0]
    return _within(bytes.fromhex((body + b"0" * (len(body) % 2)).decode("ascii", "replace")), most)


def _run_length(data: bytes, most: int) -> bytes:
    out, at = bytearray(), 0
    while at < len(data) and data[at] != 128:
        length = data[at]
        if length < 128:
            out += data[at + 1 : at + 2 + length]
            at += length + 2
        else:
            out += data[at + 1 : at + 2] * (257 - length)
            at += 2
        if len(out) > most:
            raise OverLimit("a page unpacks to more than the limit")
    return bytes(out)


def _lzw(data: bytes, most: int) -> bytes:
    """With codes that grow one early, as is the default."""
    table = [bytes((value,)) for value in range(256)] + [b"", b""]
    out, width, before = bytearray(), 9, b""
    bits = held = 0
    for octet in data:
        held = (held << 8 | octet) & 0xFFFFFF
        bits += 8
        if bits < width:
            continue
        bits -= width
        code = held >> bits & (1 << width) - 1
        if code == _CLEAR:
            del table[258:]
            width, before = 9, b""
            continue
        if code == _END:
            break
        if code < len(table):
            entry = table[code]
        elif code == len(table) and before:
            entry = before + before[:1]
        else:
            raise ValueError("no such code")
        out += entry
        if len(out) > most:
            raise OverLimit("a page unpacks to more than the limit")
        if before and len(table) < 4096:
            table.append(before + entry[:1])
        before = entry
        size = len(table) + 1
        width = 9 if size < 512 else 10 if size < 1024 else 11 if size < 2048 else 12
    return bytes(out)


_FILTERS: dict[str, Callable[[bytes, int], bytes]] = {
    "/FlateDecode": _flate, "/Fl": _flate, "/LZWDecode": _lzw, "/LZW": _lzw, "/RunLengthDecode": _run_length, "/RL": _run_length,
    "/ASCII85Decode": _ascii85, "/A85": _ascii85, "/ASCIIHexDecode": _hexadecimal, "/AHx": _hexadecimal,
    "/Crypt": _within,
}  # fmt: skip
