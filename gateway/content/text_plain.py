"""Text: from octets to characters, by a list of charsets that we allow.

What it is: ``decode`` (all plausible readings of some octets) and the extractor of plain text.
Who calls it: ``content.walk`` through the table; the HTML and mail readers for their own octets.
Must never: look up a codec by a name that the message supplied; call octets text that no allowed charset can read.
Sources: RFC 2046 section 4.1; hostile-inputs catalogue C01, C02; reference/inspection.md, charsets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import charset_normalizer

from gateway.content.base import Budget, Child, Found, Piece, Unreadable
from gateway.message import rawscan
from gateway.message.prescan import canonical
from gateway.text import iscii
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_CODECS = {
    name: codec
    for codec, names in {
        "utf-8": "utf-8 utf8 unicode-1-1-utf-8",
        "ascii": "us-ascii ascii ansi_x3.4-1968 iso646-us 646 iso-ir-6",
        "utf-16": "utf-16 utf16 unicode ucs-2",
        "utf-16-le": "utf-16le",
        "utf-16-be": "utf-16be",
        "utf-32": "utf-32 utf32",
        "utf-7": "utf-7 utf7",
        "cp1252": "iso-8859-1 latin1 latin-1 iso8859-1 l1 windows-1252 cp1252 x-ansi ansi",
        "iso8859-15": "iso-8859-15 latin-9 latin9",
        "gb18030": "gb2312 gbk gb18030 cp936 euc-cn x-gbk",
        "big5hkscs": "big5 big5-hkscs cp950",
        "cp932": "shift_jis shift-jis sjis x-sjis cp932 windows-31j",
        "euc_jp": "euc-jp",
        "iso2022_jp_2": "iso-2022-jp iso-2022-jp-2",
        "cp949": "euc-kr ks_c_5601-1987 ksc5601 cp949 windows-949",
        "hz": "hz-gb-2312 hz",
        "koi8-r": "koi8-r",
        "koi8-u": "koi8-u",
        "tis-620": "tis-620 windows-874 cp874",
        "mac-roman": "macintosh x-mac-roman",
        "cp437": "cp437 ibm437",
        "cp850": "cp850 ibm850",
        **{f"iso8859-{n}": f"iso-8859-{n} iso8859-{n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 16)},
        **{f"cp125{n}": f"windows-125{n} cp125{n}" for n in (0, 1, 3, 4, 5, 6, 7, 8)},
    }.items()
    for name in names.split()
}
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_BINARY = re.compile(r"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
_BINARY_OCTETS = bytes([*range(0x07), *range(0x0E, 0x1B), *range(0x1C, 0x20)])
_HIGH = bytes(range(0x80, 0x100))


def codecs_in_use() -> tuple[str, ...]:
    """Every codec that may be asked for, to be loaded before a worker loses its files."""
    return tuple(dict.fromkeys((*_CODECS.values(), *_GUESSABLE, *(codec for _, codec in _BOMS), "latin-1", "utf-16-le", "utf-16-be")))


@dataclass(frozen=True, slots=True)
class Decoded:
    """The readings of some octets, the most likely first, and why they are not certain (empty: they are)."""

    texts: tuple[str, ...]
    doubt: str = ""


def decode(data: bytes, declared: str) -> Decoded:
    """What *data* says. Raises Unreadable when no allowed charset can read it.

    Order: byte order mark, the declared charset, strict UTF-8, the pattern of NULs, a guess. Where the declared charset and
    UTF-8 read the same octets differently, both readings are given.
    """
    for bom, codec in _BOMS:
        if data.startswith(bom) and (text := _strict(data, codec)) is not None:
            return Decoded((text,))
    name = declared.strip().strip("\"'").lower()
    codec = _CODECS.get(name, "")
    script = iscii.script_of(name)
    if data.isascii() and b"\x1b" not in data and codec in ("", "utf-8", "ascii", "cp1252"):
        return _ascii(data, unknown=bool(name) and not codec and not script)
    readings: list[str] = []
    if script or iscii.plainly(data):
        readings.append(iscii.decode(data, script))
    if codec and codec not in ("utf-8", "ascii") and (text := _strict(data, codec)) is not None and not _BINARY.search(text):
        readings.append(text)
    if (text := _strict(data, "utf-8")) is not None and not _BINARY.search(text) and text not in readings:
        readings.append(text)
    if not readings and (text := _wide(data)) is not None:
        readings.append(text)
    if readings:
        return Decoded(tuple(readings), "its charset is not known" if name and not codec and not script else "")
    return Decoded((_guess(data),), "its charset is not known" if name and not codec else "")


def _ascii(data: bytes, *, unknown: bool) -> Decoded:
    if len(data.translate(None, _BINARY_OCTETS)) != len(data):
        if (text := _wide(data)) is not None:
            return Decoded((text,))
        raise Unreadable("it is not text")
    return Decoded((data.decode("ascii"),), "its charset is not known" if unknown else "")


def _strict(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except (UnicodeDecodeError, ValueError):
        return None


def _wide(data: bytes) -> str | None:
    """UTF-16 without a byte order mark, by the pattern of its NULs or because nearly all of it is Devanagari and blanks."""
    if len(data) < 4 or len(data) % 2:
        return None
    even, odd = data[0:4096:2], data[1:4096:2]
    for high, codec in ((odd, "utf-16-le"), (even, "utf-16-be")):
        pages = high.count(0) + sum(high.count(page) for page in range(0x09, 0x0E)) + high.count(0x20)
        if pages > len(high) * 0.9 and (text := _strict(data, codec)) is not None and not _BINARY.search(text):
            return text
    return None


def _guess(data: bytes) -> str:
    if len(data.translate(None, _BINARY_OCTETS)) != len(data):
        raise Unreadable("it is not text")
    high = len(data) - len(data.translate(None, _HIGH))
    sample = data if len(data) <= 65_536 else data[:32_768] + data[-32_768:]
    best = charset_normalizer.from_bytes(sample, cp_isolation=_GUESSABLE).best() if high else None
    text = _strict(data, best.encoding) if best is not None else None
    if text is None:
        raise Unreadable("its charset could not be found out")
    return text


_GUESSABLE = ["cp1252", "cp1251", "cp1250", "iso8859-15", "gb18030", "big5", "cp932", "euc_kr", "koi8_r", "cp1256", "mac_roman", "cp437"]


def extract(piece: Piece, budget: Budget) -> Found:
    """The text as running text; every plausible reading of it."""
    decoded = decode(piece.data, piece.charset)
    children = hidden(piece, decoded.texts[0], budget)
    segments = tuple(Segment(text, Zone.BODY) for text in decoded.texts)
    return Found(segments, children, LeafState.SUSPECT if decoded.doubt else LeafState.INSPECTED, decoded.doubt)


def hidden(piece: Piece, text: str, budget: Budget) -> tuple[Child, ...]:
    """What hides in *text* as base64, uuencode, a data: address …, unless the scan of the whole message has seen to it."""
    if piece.scanned:
        return ()
    data = canonical(text.encode("utf-8", "replace"))
    if not rawscan.suspicious(data):
        return ()
    children = []
    for blob in rawscan.find(data, ""):
        budget.spend_entries()
        budget.spend_bytes(len(blob.data))
        declared = blob.media_type or ("message/rfc822" if blob.kind == "mime" else "")
        if blob.data != data:
            children.append(Child(f"{blob.kind}{blob.path}", blob.data, declared))
    return tuple(children)
