"""The formats that have no reader: what their leaf says.

What it is: extractors that read nothing and never say "clean".
Who calls it: ``content.walk`` through the table.
Must never: return *inspected*; claim that something is encrypted to a strength that was not proved.
Sources: docs/design.md sections 4 (leaf states) and 10 ("protection.state").
"""

from __future__ import annotations

import re

from gateway.extraction.base import Budget, Extractor, Found, Piece
from gateway.protection import Protection, ProtectionState
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_EMPTY_LINES = re.compile(r"\n+")


def suspect(what: str) -> Extractor:
    """A piece of the kind *what* (a noun with its article) without a reader."""

    def extract(piece: Piece, budget: Budget) -> Found:
        return Found(state=LeafState.SUSPECT, reason=f"{what}: there is no reader for it")

    return extract


def unverifiable(scheme: str, what: str) -> Extractor:
    """A piece of the kind *what* that claims encryption by *scheme*, which cannot be proved."""

    def extract(piece: Piece, budget: Budget) -> Found:
        reason = f"{what}: its encryption cannot be verified"
        return Found(state=LeafState.SUSPECT, reason=reason, protection=Protection(ProtectionState.UNVERIFIABLE, scheme, reason=reason))

    return extract


def script(piece: Piece, budget: Budget) -> Found:
    """Text that runs when it is opened."""
    return Found(state=LeafState.SUSPECT, reason="a script or shortcut, which runs when it is opened")


def empty(piece: Piece, budget: Budget) -> Found:
    """Nothing but blanks: read in full."""
    return Found()


def printer_settings(piece: Piece, budget: Budget) -> Found:
    """The DEVMODE record of a spreadsheet: names of printer, form and driver as text."""
    texts = (piece.data[: len(piece.data) & ~1].decode("utf-16-le", "replace"), piece.data.decode("latin-1"))
    readable = ("".join(c if c.isascii() and c.isprintable() else "\n" for c in text) for text in texts)
    return Found(tuple(Segment(_EMPTY_LINES.sub("\n", text), Zone.PROPERTY) for text in readable))
