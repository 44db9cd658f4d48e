"""A second reader: Python's own ``email`` package, as a client of another kind would read the message.

What it is: ``lenient``, a View made with the compat32 policy behind limits of its own.
Who calls it: the inspector only, through ``views``; never a door.
Must never: be trusted alone (it misses two thirds of the known evasions silently); meet a message over a limit: it is
quadratic in depth and recurses; let that package look up a codec by a name that the mail supplied.
Sources: hostile-inputs catalogue 0.2, C01, C02; RFC 2045, RFC 2046, RFC 2231.
"""

from __future__ import annotations

import binascii
import email
import email.message
import re
from collections.abc import Sequence
from typing import Any

from gateway.message.charsets import codec_of, readable
from gateway.message.entity import ENCODINGS
from gateway.message.headers import decode_octets
from gateway.message.parts import Part, View
from gateway.message.prescan import sections

MOST_BOUNDARY_LINES = 5000
MOST_DECLARED = 200
MOST_HEADER_LINES = 2000
MOST_FIELD_LIKE = 200_000
LONGEST_VALUE = 10_000
SHORT = 8192
"""Octets of base64 below which standing in for it is not worth it."""
TOO_MUCH = "over the limit of what the second reader may read"

_LONGEST_CHARSET = 100
"""Characters of the name of a charset that are looked at; those of the list are far shorter."""

_FIELD_LIKE = re.compile(rb"\n[!-9;-~]{1,76}:")
_FILE_NAME = re.compile(r"(?:file)?name", re.I)


class _Message(email.message.Message):
    """A message of that package that meets no codec but those of our list.

    The package asks for parameters here before it decodes anything: extended values (``charset'language'text``) of file names and
    boundaries, and the charset of a body whose octets it turns into text.
    """

    def get_param(self, param: str, failobj: Any = None, header: str = "content-type", unquote: bool = True) -> Any:
        """The parameter, decoded where it is an extended one; the charset by the codec of our list, else as ASCII."""
        value = super().get_param(param, failobj, header, unquote)
        if isinstance(value, tuple):
            charset, _, text = value
            value = readable(str(text).encode("latin-1", "replace"), str(charset or "ascii")[:_LONGEST_CHARSET])
        if param.lower() == "charset" and isinstance(value, str):
            return codec_of(value[:_LONGEST_CHARSET]) or "ascii"
        return value

    def declared_charset(self) -> str:
        """What the mail says that the charset is, in small letters: a name, never asked for."""
        value = super().get_param("charset")
        return (str(value[2]) if isinstance(value, tuple) else _text(value or "")).strip().lower()[:_LONGEST_CHARSET]


def lenient(content: bytes, known: Sequence[Part] = ()) -> View:
    """*content* as Python's ``email`` reads it.

    *known* are the parts of the strict view: long base64 of theirs that holds no line any reader could take for structure is
    replaced by one line while the parser runs, which is many times faster and changes nothing that it can see.
    """
    header_end, _ = sections(content, 0, len(content))
    skeleton, stand_ins = _skeleton(content, known)
    if (
        content.count(b"\n", 0, header_end) > MOST_HEADER_LINES
        or skeleton.count(b"\n--") > MOST_BOUNDARY_LINES
        or skeleton.lower().count(b"boundary") > MOST_DECLARED
        or (len(skeleton) > MOST_FIELD_LIKE * 3 and len(_FIELD_LIKE.findall(skeleton)) > MOST_FIELD_LIKE)
    ):
        return View((), (), (TOO_MUCH,))
    try:
        message = email.message_from_bytes(skeleton, _class=_Message)
        parts = tuple(_parts(message, stand_ins))
    except (RecursionError, ValueError, LookupError, TypeError, AttributeError, IndexError, AssertionError, binascii.Error):
        return View((), (), ("the second reader cannot read it",))
    headers = tuple((name, _text(value)) for name, value in message.raw_items())
    return View(headers, parts, ())


def _skeleton(content: bytes, known: Sequence[Part]) -> tuple[bytes, dict[bytes, Part]]:
    """*content* with each long plain base64 part as one line, and which line stands for which part."""
    pieces: list[bytes] = []
    stand_ins: dict[bytes, Part] = {}
    end = 0
    for index, part in enumerate(known):
        size = len(part.raw)
        if part.encoding != "base64" or size < SHORT or part.offset < end or part.others or part.data is None:
            continue
        if content.find(b"\r\n\r\n", part.offset + max(0, part.dense - 2), part.offset + size - 4) >= 0:
            continue
        token = b"stand-in %d %d" % (index, part.offset)
        stand_ins[token] = part
        pieces.append(content[end : part.offset])
        pieces.append(binascii.b2a_base64(token).rstrip(b"\n") + b"\r\n")
        end = part.offset + size
    pieces.append(content[end:])
    return b"".join(pieces), stand_ins


def _parts(message: _Message, stand_ins: dict[bytes, Part]) -> list[Part]:
    """The leaves of *message*, numbered in the order of a walk."""
    found: list[Part] = []
    for leaf in message.walk():
        if leaf.is_multipart():
            continue
        payload = leaf.get_payload(decode=True)
        data = payload if isinstance(payload, bytes) else b""
        if data in stand_ins:
            data = stand_ins[data].data or b""
        media_type = leaf.get_content_type()
        disposition = _text(leaf.get("content-disposition", ""))
        encoding = _text(leaf.get("content-transfer-encoding", "")).strip().lower()
        names = _names(leaf)
        found.append(
            Part(
                str(len(found) + 1),
                tuple((name, _text(value)) for name, value in leaf.raw_items()),
                media_type,
                leaf.declared_charset(),
                names,
                disposition.partition(";")[0].strip().lower(),
                ENCODINGS.get(encoding, "binary"),
                memoryview(data),
                media_type not in ("text/plain", "text/html") or bool(names) or disposition.lower().startswith("attachment"),
                data,
            )
        )
    return found


def _names(leaf: _Message) -> tuple[str, ...]:
    """The file name that this reader sees."""
    for field in ("content-disposition", "content-type"):
        value = _text(leaf.get(field, ""))
        if len(value) > LONGEST_VALUE or not _FILE_NAME.search(value):
            continue
        if name := leaf.get_filename():
            return (_text(name),)
    return ()


def _text(value: object) -> str:
    """A header value of this parser as text without surrogates."""
    return decode_octets(str(value).encode("utf-8", "surrogateescape"))
