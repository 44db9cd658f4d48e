"""How a part of a document that is XML is parsed: pyexpat on UTF-8, without entities and without anything from outside.

What it is: ``parse``, which calls the handlers of one reader.
Who calls it: the readers of OOXML and OpenDocument parts.
Must never: expand or load an entity; let a document type definition of the file's own pass.
Sources: XML 1.0; hostile-inputs catalogue D01, D02.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.parsers import expat

from gateway.documents.xml_charset import as_utf8
from gateway.extraction.base import Unreadable

_PIECE = 65_536
"""Octets of text that are handed on at once."""


def parse(
    data: bytes,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None] | None = None,
    comment: Callable[[str], None] | None = None,
    *,
    what: str = "part",
    public_types: bool = False,
) -> None:
    """Calls the handlers for everything in *data*; names are qualified as in the file. A handler may raise Unreadable or OverLimit.

    Raises Unreadable for broken XML, an entity or a document type definition. *what*: how the reason calls it. *public_types*: the name
    of a public document type may stand there; libraries of macros have one.
    """
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.buffer_size = _PIECE
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartDoctypeDeclHandler = _own_type if public_types else _refuse
    parser.EntityDeclHandler = parser.ExternalEntityRefHandler = parser.SkippedEntityHandler = _refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.CommentHandler = text, comment
    try:
        parser.Parse(as_utf8(data), True)
    except expat.ExpatError:
        raise Unreadable(f"a document with a broken {what}") from None


def _refuse(*_: object) -> int:
    raise Unreadable("a document with a document type definition, which no program writes")


def _own_type(_name: str, _system: str | None, _public: str | None, internal: int) -> None:
    if internal:
        _refuse()
