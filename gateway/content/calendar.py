"""Calendars and contact cards: text with folded lines.

What it is: the extractor of iCalendar and vCard; lines unfolded, escapes resolved, beside the text as written.
Who calls it: ``content.walk`` through the table.
Must never: fetch what an ATTACH names.
Sources: RFC 5545 sections 3.1 and 3.3.11; RFC 6350 section 3.2.
"""

from __future__ import annotations

import re

from gateway.content import text_plain
from gateway.content.base import Budget, Found, Piece
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_FOLD = re.compile(r"\r?\n[ \t]")
_ESCAPE = re.compile(r"\\([nN,;\\])")
_NAME = re.compile(r"^(?:[A-Za-z0-9.-]+)(?:;[^:\n]*)?:", re.M)


def extract(piece: Piece, budget: Budget) -> Found:
    """The values of all properties as text, and the text as written."""
    decoded = text_plain.decode(piece.data, piece.charset)
    segments: list[Segment] = []
    for text in decoded.texts:
        flat = _NAME.sub("", _FOLD.sub("", text))
        flat = _ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], flat)
        segments += [Segment(flat, Zone.BODY), Segment(text, Zone.BODY)]
    children = text_plain.hidden(piece, decoded.texts[0], budget)
    return Found(tuple(segments), children, LeafState.SUSPECT if decoded.doubt else LeafState.INSPECTED, decoded.doubt)
