"""Property sets: title, author, company and what label programs write into older Office documents.

What it is: ``read``, the properties of one stream: names and values in order, and what is neither text nor number.
Who calls it: the readers of compound files.
Must never: believe a count or length beyond the stream.
Sources: MS-OLEPS; MS-OSHARED 2.3.3 (the sets of documents); hostile-inputs catalogue D05.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.extraction.base import Budget, Unreadable
from gateway.text import iscii

STREAMS = ("\x05summaryinformation", "\x05documentsummaryinformation")
_SUMMARY = bytes.fromhex("e0859ff2f94f6810ab9108002b27b3d9")
_DOCUMENT = bytes.fromhex("02d5cdd59c2e1b10939708002b2cf9ae")
_NAMES = {
    _SUMMARY: {2: "title", 3: "subject", 4: "creator", 5: "keywords", 6: "description", 7: "Template", 8: "lastModifiedBy", 9: "revision"},
    _DOCUMENT: {
        2: "category",
        3: "PresentationFormat",
        14: "Manager",
        15: "Company",
        26: "contentType",
        27: "contentStatus",
        28: "language",
    },
}
_MOST = 5_000
_STRINGS, _VARIANT = (0x1E, 0x1F, 0x08), 0x0C
_FIXED = {2: "<h", 3: "<i", 16: "<b", 17: "<B", 18: "<H", 19: "<I", 22: "<i", 23: "<I", 4: "<f", 5: "<d", 20: "<q", 21: "<Q"}
_BINARIES = frozenset((0x41, 0x46, 0x47))
_KINDS = frozenset((*_FIXED, *_STRINGS, 0, 1, 0x0B, 0x40, 0x41, 0x46, 0x47, 0x48))


@dataclass(frozen=True, slots=True)
class Properties:
    """What one stream holds. Two properties may have one name."""

    texts: tuple[tuple[str, str], ...]
    """Names and values of all that are text, numbers or lists of text."""
    binaries: tuple[bytes, ...]
    """Blobs, pictures of the clipboard, and what stands behind the last set."""


def read(data: bytes, budget: Budget) -> Properties:
    """The properties in *data*. Raises Unreadable when the stream is broken."""
    binaries: list[bytes] = []
    try:
        return Properties(tuple(_sets(data, budget, binaries)), tuple(filter(None, binaries)))
    except (struct.error, IndexError):
        raise Unreadable("a document whose properties are broken") from None


def _sets(data: bytes, budget: Budget, binaries: list[bytes]) -> Iterator[tuple[str, str]]:
    if not data:
        return
    order, _, _, _, count = struct.unpack_from("<HHI16sI", data)
    if order != 0xFFFE or not count <= 10:
        raise Unreadable("a document whose properties are broken")
    end = 0
    for number in range(count):
        kind, offset = struct.unpack_from("<16sI", data, 28 + 20 * number)
        if offset + 8 > len(data):
            raise Unreadable("a document whose properties are broken")
        budget.check_time()
        end = max(end, offset + struct.unpack_from("<I", data, offset)[0])
        yield from _set(data[offset:], kind, budget, binaries)
    if data[end:].strip(b"\x00"):
        binaries.append(data[end:])


def _set(data: bytes, kind: bytes, budget: Budget, binaries: list[bytes]) -> Iterator[tuple[str, str]]:
    count = struct.unpack_from("<I", data, 4)[0]
    if count > min(_MOST, len(data) // 8):
        raise Unreadable("a document whose properties are broken")
    places = [struct.unpack_from("<II", data, 8 + 8 * number) for number in range(count)]
    page = 1252
    for number, offset in places:
        if number == 1:
            page = struct.unpack_from("<H", data, offset + 4)[0]
    codec = codec_of(page)
    names = dict(_NAMES.get(kind, {}))
    for number, offset in places:
        if number == 0:
            names.update(_dictionary(data, offset, codec))
    for number, offset in places:
        if number in (0, 1):
            continue
        values = list(_value(data, offset, codec))
        text = "\n".join(value for value in values if value)
        budget.spend_bytes(len(text))  # several properties may point to one place
        if text:
            yield names.get(number, f"property {number}"), text
        elif (octets := _binary(data, offset)) is not None:
            budget.spend_bytes(len(octets))
            binaries.append(octets)


def _binary(data: bytes, at: int) -> bytes | None:
    """A value that is octets: a blob, or a picture as the clipboard has it; None for another one."""
    kind, size = struct.unpack_from("<II", data.ljust(at + 8, b"\x00"), at)
    if kind not in _BINARIES:
        return None
    if size > len(data) - at - 8:
        raise Unreadable("a document whose properties are broken")
    return data[at + 8 : at + 8 + size]


def _dictionary(data: bytes, at: int, codec: str) -> Iterator[tuple[int, str]]:
    count = struct.unpack_from("<I", data, at)[0]
    if count > _MOST:
        raise Unreadable("a document whose properties are broken")
    at += 4
    for _ in range(count):
        number, length = struct.unpack_from("<II", data, at)
        at += 8
        octets = length * 2 if codec == "utf-16-le" else length
        if octets > len(data) - at:
            raise Unreadable("a document whose properties are broken")
        yield (
            number,
            (
                iscii.decode(data[at : at + octets], script)
                if (script := iscii.script_of(codec))
                else data[at : at + octets].decode(codec, "replace")
            ).partition("\x00")[0],
        )
        at += octets + (-octets % 4 if codec == "utf-16-le" else 0)


def _value(data: bytes, at: int, codec: str) -> Iterator[str]:
    """The texts of one typed value; nothing for pictures and other binary values."""
    kind = struct.unpack_from("<I", data, at)[0]
    at += 4
    if kind & 0x1000:
        count = struct.unpack_from("<I", data, at)[0]
        if count > _MOST:
            raise Unreadable("a document whose properties are broken")
        try:  # Office sets the strings of these lists close together, others at borders of four octets
            yield from _vector(data, at + 4, kind & 0x0FFF, count, codec, closely=True)
        except (Unreadable, struct.error):
            yield from _vector(data, at + 4, kind & 0x0FFF, count, codec, closely=False)
        return
    yield _single(data, at, kind, codec)[0]


def _vector(data: bytes, at: int, kind: int, count: int, codec: str, *, closely: bool) -> list[str]:
    """The values of a list; *closely*: without filling behind a string."""
    texts = []
    for _ in range(count):
        inner = kind
        if kind == _VARIANT:
            inner = struct.unpack_from("<I", data, at)[0]
            at += 4
            if inner not in _KINDS:
                raise Unreadable("a document whose properties are broken")
        text, end = _single(data, at, inner, codec)
        if inner in _STRINGS and closely:
            end = at + 4 + _octets(data, at, inner)
        texts.append(text)
        at = end
    return texts


def _octets(data: bytes, at: int, kind: int) -> int:
    """The length of the string at *at* without its filling."""
    length: int = struct.unpack_from("<I", data, at)[0]
    return length * 2 if kind == 0x1F else length


def _single(data: bytes, at: int, kind: int, codec: str) -> tuple[str, int]:
    if kind in _STRINGS:
        octets = _octets(data, at, kind)
        if octets > len(data) - at - 4:
            raise Unreadable("a document whose properties are broken")
        raw = data[at + 4 : at + 4 + octets]
        if kind != 0x1F and (script := iscii.script_of(codec)):
            return iscii.decode(raw, script).rstrip("\x00"), at + 4 + octets + -octets % 4
        return raw.decode("utf-16-le" if kind == 0x1F else codec, "replace").rstrip("\x00"), at + 4 + octets + -octets % 4
    if kind == 0x0B:
        return ("true" if struct.unpack_from("<h", data, at)[0] else "false"), at + 4
    if kind in _FIXED:
        value = struct.unpack_from(_FIXED[kind], data, at)[0]
        return (str(value) if kind not in (4, 5) else f"{value:g}"), at + max(4, struct.calcsize(_FIXED[kind]))
    return "", at + 8


_PAGES = {
    1200: "utf-16-le", 65001: "utf-8", 10000: "mac-roman", 20127: "ascii", 932: "cp932", 936: "gb18030", 949: "cp949", 950: "big5hkscs",
    874: "cp874", 20866: "koi8-r", 21866: "koi8-u", 28591: "latin-1", 28605: "iso8859-15", 437: "cp437", 850: "cp850", 852: "cp852",
    866: "cp866", 50220: "iso2022_jp", 51932: "euc_jp", 54936: "gb18030",
}  # fmt: skip


def codec_of(page: int) -> str:
    """Python's name of the Windows code page *page*; that of Western Europe where it is not known. For those of ISCII, which Python does
    not have, the name by which ``text.iscii`` knows them.
    """
    if 1250 <= page <= 1258 or 57002 <= page <= 57011:
        return f"cp{page}"
    return _PAGES.get(page, "cp1252")
