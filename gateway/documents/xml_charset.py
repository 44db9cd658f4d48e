"""The character set of an XML document: decoded here, so that no parser looks for a codec by itself.

What it is: ``as_utf8``. A parser that gets what it returns must be told that this is UTF-8 (``expat.ParserCreate("utf-8")``): then the
declaration counts for nothing.
Who calls it: every reader that parses XML with expat.
Must never: look up a codec by a name that the document supplied; take octets for UTF-8 that are declared to be something else.
Sources: XML 1.0 sections 2.8 and 4.3.3, appendix F; RFC 7303 section 3.3 (the byte order mark counts most); hostile-inputs
catalogue C01.
"""

from __future__ import annotations

import re

from gateway.extraction.base import Unreadable
from gateway.message import charsets

_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"<\x00\x00\x00", "utf-32-le"),
    (b"\x00\x00\x00<", "utf-32-be"),
    (b"<\x00", "utf-16-le"),
    (b"\x00<", "utf-16-be"),
)
_UTF8_MARK = b"\xef\xbb\xbf"
_BEGIN = re.compile(rb"<\?xml[ \t\r\n]")
_DECLARATION = re.compile(rb"<\?xml[ \t\r\n][^<>]{0,1000}?\?>")
_DECLARED = re.compile(rb"\sencoding[ \t\r\n]*=[ \t\r\n]*(?:\"([^\"<>]{0,100})\"|'([^'<>]{0,100})')")
_AS_TEXT = re.compile(r"<\?xml[ \t\r\n][^<>]{0,1000}?\?>")
_USUAL = tuple(
    b"<?xml version=Q1.0Q encoding=QUTF-8Q%s?>".replace(b"Q", quote) % alone.replace(b"Q", quote)
    for quote in (b'"', b"'")
    for alone in (b"", b" standalone=QyesQ", b" standalone=QnoQ")
)
"""The declarations that nearly all programs write."""
_ASCII = bytes(range(0x20, 0x7F)) + b"\t\r\n"


def as_utf8(data: bytes) -> bytes:
    """*data* in UTF-8 and without a byte order mark; twice is as once. Raises Unreadable for what is not in the character set that it
    declares, or declares one that is not known or cannot be that of its own declaration.
    """
    if data.startswith(_USUAL):
        return data
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return _decoded(data, codec)
    marked = data.startswith(_UTF8_MARK)
    data = data[len(_UTF8_MARK) :] if marked else data
    if not _BEGIN.match(data):
        return data  # a parser finds what is wrong with it
    declaration = _DECLARATION.match(data)
    if declaration is None:
        raise Unreadable("a document with a part that is broken at its beginning")
    names = [(match[1] or match[2] or b"").decode("latin-1") for match in _DECLARED.finditer(declaration[0])]
    if not names:
        return data
    codec = charsets.codec_of(names[0]) if len(names) == 1 else ""
    if not codec:
        raise Unreadable("a document with a part that declares a character set that is not known")
    if codec == "utf-8" or (data.isascii() and codec == "ascii"):
        return data
    if _text(_ASCII, codec) != _ASCII.decode("ascii"):
        raise Unreadable("a document with a part that declares a character set that it is not in")
    if marked and not data.isascii():
        raise Unreadable("a document with a part in two character sets")
    return _decoded(data, codec)


def _text(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except (UnicodeDecodeError, ValueError):
        return None


def _decoded(data: bytes, codec: str) -> bytes:
    """*data* out of *codec*, without the declaration, which would no longer be true."""
    text = _text(data, codec)
    if text is None:
        raise Unreadable("a document with a part that declares a character set that it is not in")
    text = text.removeprefix("\ufeff")
    declaration = _AS_TEXT.match(text)
    return text[declaration.end() if declaration is not None else 0 :].encode("utf-8", "replace")
