"""Text: from octets to characters, by a list of charsets that we allow.

What it is: ``decode`` (all plausible readings of some octets) and the extractor of plain text.
Who calls it: ``content.walk`` through the table; the HTML and mail readers for their own octets.
Must never: look up a codec by a name that the message supplied; call octets text that no allowed charset can read.
Sources: RFC 2046 section 4.1; RFC 2781; hostile-inputs catalogue C01, C02; docs/inspection.md, charsets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import charset_normalizer

from gateway.documents import formulas
from gateway.extraction.base import Budget, Child, Found, Piece, Unreadable, join_reasons
from gateway.message import charsets, rawscan
from gateway.message.prescan import canonical
from gateway.text import iscii
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

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
    return tuple(dict.fromkeys((*charsets.codecs_in_use(), *_GUESSABLE)))


@dataclass(frozen=True, slots=True)
class Decoded:
    """The readings of some octets, the most likely first, and why they are not certain (empty: they are)."""

    texts: tuple[str, ...]
    doubt: str = ""


UNKNOWN = "its charset is not known"
CUT = "its last character is cut off"
FORBIDDEN = "its characters are written in a forbidden way"


def decode(data: bytes, declared: str) -> Decoded:
    """What *data* says. Raises Unreadable when no allowed charset can read it.

    Order: byte order mark, the declared charset, strict UTF-8, the pattern of NULs, a guess. Where readers may read the same octets
    differently, all readings are given: the declared charset and UTF-8, the escapes of UTF-7 and ISO-2022 and the text without them.
    """
    for bom, codec in _BOMS:
        if data.startswith(bom):
            return _marked(data, codec, len(bom))
    name = declared.strip().strip("\"'").lower()
    name = "" if name in charsets.UNDECLARED else name
    doubt = "" if not name or charsets.is_known(name) else UNKNOWN
    codec = charsets.codec_of(name)
    if data.isascii() and codec in ("", "utf-8", "ascii", "cp1252", "utf-7"):
        return _ascii(data, doubt)
    readings: dict[str, None] = {}
    if codec not in ("utf-8", "ascii") and (text := _declared(data, name, codec)) is not None and not _BINARY.search(text):
        readings[text] = None
    if (text := _strict(data, "utf-8")) is not None and not _BINARY.search(text):
        readings[text] = None
    elif readings and iscii.plainly(data):  # whatever charset it is declared to be: old offices send it as Western text
        readings[iscii.decode(data)] = None
    if not readings and (wide := _wide(data)) is not None:
        return Decoded(wide.texts, join_reasons(doubt, wide.doubt))
    if readings:
        return Decoded(tuple(readings), doubt)
    return _unsure(data, name, doubt)


def _marked(data: bytes, codec: str, mark: int) -> Decoded:
    """Text behind a byte order mark; a character that is cut off at its end is in doubt, not the rest."""
    if (text := _strict(data, codec)) is not None:
        return Decoded((text,))
    width = {"utf-32": 4, "utf-16": 2}.get(codec, 1)
    whole = data[: len(data) - (len(data) - (0 if width > 1 else mark)) % width]
    if width > 1 and (text := _strict(whole, codec)) is not None:
        return Decoded((text,), CUT)
    return Decoded((data.decode(codec, "replace"),), "it is broken")


def _declared(data: bytes, name: str, codec: str) -> str | None:
    """*data* in the declared charset. UTF-16 without a mark is big-endian by its specification and little-endian in practice."""
    if codec == "utf-16" and (wide := _wide(data)) is not None:
        return wide.texts[0]
    return charsets.decode(data, name)


def _unsure(data: bytes, name: str, doubt: str) -> Decoded:
    """Octets that are in no charset that was named: nearly UTF-8, an Indian eight-bit code, or what a guess says."""
    if (short := charsets.overlong(data)) is not None and (mended := _strict(short, "utf-8")) is not None:
        return Decoded((mended, data.decode("utf-8", "replace")), join_reasons(doubt, FORBIDDEN))
    if iscii.plainly(data) and not _BINARY.search(text := iscii.decode(data)):
        return Decoded((text, data.decode("latin-1")), doubt)
    readings: dict[str, None] = {}
    nearly = data.decode("utf-8", "replace")
    if nearly.count("\ufffd") * 20 <= sum(1 for character in nearly if character > "\x7f") and not _BINARY.search(nearly):
        readings[nearly] = None
    try:
        readings[_guess(data)] = None
    except Unreadable:
        if not readings:
            raise
    return Decoded(tuple(readings), doubt)


def _ascii(data: bytes, doubt: str) -> Decoded:
    if len(data.translate(None, _BINARY_OCTETS)) != len(data):
        if (wide := _wide(data)) is not None:
            return Decoded(wide.texts, join_reasons(doubt, wide.doubt))
        if b"\x1b" not in data or len(data.translate(None, _BINARY_OCTETS)) + data.count(b"\x0e") + data.count(b"\x0f") != len(data):
            raise Unreadable("it is not text")
    text = data.decode("ascii")
    others = (charsets.escaped(data), charsets.utf7(text))
    return Decoded((text, *(other for other in others if other is not None and other != text)), doubt)


def _strict(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except (UnicodeDecodeError, ValueError):
        return None


def _wide(data: bytes) -> Decoded | None:
    """UTF-32 or UTF-16 without a byte order mark, by the pattern of its NULs or because nearly all of it is of Indian scripts."""
    if len(data) < 4:
        return None
    for width, codecs in ((4, (("utf-32-le", 2), ("utf-32-be", 0))), (2, (("utf-16-le", 1), ("utf-16-be", 0)))):
        whole = data[: len(data) - len(data) % width]
        for codec, place in codecs:
            high = whole[place:4096:width]
            pages = high.count(0) + sum(high.count(page) for page in range(0x09, 0x0E)) + (high.count(0x20) if width == 2 else 0)
            if pages <= len(high) * 0.9 or (width == 4 and whole[place + 1 : 4096 : 4].count(0) < len(high)):
                continue
            if (text := _strict(whole, codec)) is not None and not _BINARY.search(text):
                return Decoded((text,), CUT if len(whole) != len(data) else "")
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
    signs = formulas.active(decoded.texts[0]) if piece.is_attachment else ()
    if piece.is_attachment and (words := formulas.cells(decoded.texts[0])):
        segments += (Segment(words, Zone.BODY),)
    return Found(segments, children, LeafState.SUSPECT if decoded.doubt else LeafState.INSPECTED, decoded.doubt, active=signs)


def hidden(piece: Piece, text: str, budget: Budget) -> tuple[Child, ...]:
    """What hides in *text* as base64, uuencode, a data: address …, unless the scan of the whole message has seen to it."""
    if piece.scanned:
        return ()
    data = canonical(text.encode("utf-8", "replace"))
    return _found(data, budget) if rawscan.suspicious(data) else ()


def packed(text: str, budget: Budget) -> tuple[Child, ...]:
    """What the text *text* holds in itself, such as a data: address."""
    return _found(canonical(text.encode("utf-8", "replace")), budget)


def _found(data: bytes, budget: Budget) -> tuple[Child, ...]:
    children = []
    for blob in rawscan.find(data, ""):
        budget.spend_entries()
        budget.spend_bytes(len(blob.data))
        declared = blob.media_type or ("message/rfc822" if blob.kind == "mime" else "")
        if blob.data != data:
            children.append(Child(f"{blob.kind}{blob.path}", blob.data, declared))
    return tuple(children)
