"""The content of a held message as its page shows it: header fields, and each part with its text in pieces or its pages as pictures.

What it is: ``content``, from the row of ``ShowContent`` to what the template shows.
Who calls it: ``item_pages``.
Must never: return markup of a message, or anything that a browser would load from elsewhere; show text that is not made readable.
Sources: hostile-inputs catalogue W01, W02; docs/design.md section 10 ("Web").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.web import told
from gateway.web.item_record import leaf_of
from gateway.web.marked import Counter, Piece, pieces

FOLDED = 4_000
"""Characters from which a text without marks is folded."""
SHOWN_PAGES = 4
"""Pages of a document that stand open besides those with marks; the others are folded."""
JUMPS = 40
"""Marks that have a link of their own at the top."""
MOST_PIECES = 20_000
"""Pieces of one page of ours; what is beyond stands in the text, unmarked."""


def content(row: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """What the page shows. *paths*: of the record's leaves, in order: a part's pages are asked for by its place in them."""
    counter = Counter()
    places = {path: place for place, path in enumerate(paths)}
    subject = str(row.get("subject") or "")
    headers = []
    for name, value in _pairs(row.get("headers") or ()):
        marks = row.get("subject_marks") or () if name.lower() == "subject" and value == subject else ()
        headers.append({"name": name, "pieces": pieces(value, marks, counter)})
    parts = [_part(leaf, places.get(str(leaf.get("path") or ""), -1), counter) for leaf in row.get("leaves") or ()]
    beside = [
        {
            "where": told.place(str(one.get("path") or "")), "zone": told.ZONES.get(str(one.get("zone")), str(one.get("zone") or "")),
            "text": str(one.get("text") or ""), "level": str(one.get("level") or ""), "confidence": str(one.get("confidence") or ""),
        }
        for one in row.get("beside") or ()
        if not (str(one.get("path")) == "header:Subject" and row.get("subject_marks"))
    ]  # fmt: skip
    return {
        "headers": headers, "parts": parts, "beside": beside, "marks": counter.count, "jumps": range(1, min(counter.count, JUMPS) + 1),
    }  # fmt: skip


def _pairs(headers: Any) -> list[tuple[str, str]]:
    found = []
    for one in headers:
        if isinstance(one, Mapping):
            found.append((str(one.get("name") or ""), str(one.get("value") or "")))
        elif len(one) == 2:
            found.append((str(one[0]), str(one[1])))
    return found


def _part(leaf: Mapping[str, Any], place: int, counter: Counter) -> dict[str, Any]:
    segments = [_segment(one, counter) for one in leaf.get("segments") or ()]
    count = int(leaf.get("pages") or 0) if place >= 0 else 0
    marked = sorted({one["page"] for one in segments if one["marks"] and 0 < one["page"] <= count})
    opened = set(marked) | set(range(1, min(count, SHOWN_PAGES) + 1))
    found = leaf_of(leaf)
    return found | {
        "place": place, "segments": segments, "pages": count, "marked_pages": marked,
        "open_pages": sorted(opened), "folded_pages": [page for page in range(1, count + 1) if page not in opened],
        "characters": sum(one["characters"] for one in segments), "marks": sum(one["marks"] for one in segments),
    }  # fmt: skip


def _segment(one: Mapping[str, Any], counter: Counter) -> dict[str, Any]:
    text, before = str(one.get("text") or ""), counter.count
    marks = list(one.get("marks") or ())
    cut = pieces(text, marks if counter.count < MOST_PIECES else (), counter)
    count, zone = counter.count - before, str(one.get("zone") or "")
    return {
        "zone": told.ZONES.get(zone, zone), "page": int(one.get("page") or 0), "pieces": cut, "characters": len(text), "marks": count,
        "folded": not count and len(text) > FOLDED, "empty": not any(_seen(piece) for piece in cut),
    }  # fmt: skip


def _seen(piece: Piece) -> bool:
    return bool(piece.text.strip())
