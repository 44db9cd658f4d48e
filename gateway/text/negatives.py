"""What shows that a term is not a marking: names of things, negation, history, lists of all levels, letter case in prose.

What it is: small questions about one hit on its line, and the search for policy text.
Who calls it: ``markings``.
Must never: know words of a language (they are in the scheme), or look further than the line.
Source: requirements on markings, the table of false positives.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence

from gateway.text.matcher import Hit
from gateway.text.normalise import SMALL_CAPITALS
from gateway.text.scheme import Scheme, tokens
from gateway.text.zones import Line

_WINDOW = 300  # characters within which three different levels make a text about levels
_LIST_ITEM = re.compile(r"\s*(?:[-*•·▪‣◦–—o]|\(?(?:\d{1,3}|[a-z]|[ivx]{1,4})[.)])\s+\Z")
_OPEN_BOX = re.compile(r"(?:[☐□▢❏❑◻○◯⬜]|\[\s*\]|\(\s*\)|_{2,})\s*\Z")
_TICKED_BOX = re.compile(r"(?:[☑☒✓✔✗✘■●◉⊠]|\[\s*x\s*\]|\(\s*x\s*\))\s*\Z")
_ADDRESS = re.compile(r"\S*(?:://|@|www\.|\\|=)\S*")


class Shape(enum.Enum):
    """How a term is written."""

    CAPITALS = "capitals"
    TITLE = "title"
    LOWER = "lower"
    NO_CASE = "no-case"

    @property
    def strong(self) -> bool:
        """Written as a marking is written."""
        return self in (Shape.CAPITALS, Shape.NO_CASE)


def shape(words: str, language: str) -> Shape:
    """How the original *words* are written. A script without capitals, and legacy font text, has no case."""
    if "-x-" in language:
        return Shape.NO_CASE
    if words.isascii():
        return Shape.CAPITALS if words.isupper() else Shape.LOWER if words.islower() else Shape.TITLE
    cased = [char for char in words if char.isupper() or char.islower() or char in SMALL_CAPITALS]
    if not cased:
        return Shape.NO_CASE
    upper = sum(1 for char in cased if char.isupper() or char in SMALL_CAPITALS)
    if upper == len(cased):
        return Shape.CAPITALS
    return Shape.LOWER if upper == 0 else Shape.TITLE


def policy_text(hits: Sequence[Hit]) -> set[int]:
    """Indexes of the hits that stand within 300 characters of two other levels: text about levels, or a list to choose from."""
    found: set[int] = set()
    if len({hit.term.level for hit in hits}) < 3:
        return found
    counts: dict[int, int] = {}
    low = 0
    marked = 0
    for high, hit in enumerate(hits):
        counts[hit.term.level] = counts.get(hit.term.level, 0) + 1
        while hit.end - hits[low].start > _WINDOW and low < high:
            level = hits[low].term.level
            counts[level] -= 1
            if not counts[level]:
                del counts[level]
            low += 1
        if len(counts) >= 3:
            found.update(range(max(low, marked), high + 1))
            marked = high + 1
    return found


def names_a_thing(line: Line, hit: Hit, scheme: Scheme) -> bool:
    """Whether the words next to *hit* make it the name of a thing, negate it, or say that it was so once."""
    behind = line.behind(hit)
    following = tokens(behind[:60])
    if following and following[0] in scheme.after and behind.lstrip(" \t")[:1] not in (":", "|", "]", ")", "/"):
        return True
    if behind[:1] in ("-", "_", "'", "’") and behind[1:2].isalpha():
        return True
    before = line.before(hit)
    if before[-1:] in ("-", "_", ".", "/", "@", "=", "\\") and before[-2:-1].isalnum():
        return True
    words = tokens(before)[-4:]
    if not words:
        return False
    return words[-1] in scheme.before or " ".join(words[-2:]) in scheme.before or not scheme.negation.isdisjoint(words)


def in_address(line: Line, hit: Hit) -> bool:
    """Whether *hit* is part of a URL, an address, a path or an assignment."""
    left = line.before(hit).rsplit(None, 1)
    start = left[-1] if left and not line.before(hit)[-1:].isspace() else ""
    right = line.behind(hit)
    end = "" if right[:1].isspace() else (right.split(None, 1) or [""])[0]
    return _ADDRESS.fullmatch(start + "x" + end) is not None


def list_item(line: Line, hit: Hit) -> bool:
    """Whether *hit* opens an item of a list: a bullet or number before it and no closing sign behind it."""
    if _LIST_ITEM.match(line.before(hit)) is None:
        return False
    behind = line.behind(hit).strip()
    return not behind or behind[0].isalnum()


def box(line: Line, hit: Hit) -> bool | None:
    """True for a ticked box before *hit*, False for an open one, None for none."""
    before = line.before(hit)[-8:]
    if _TICKED_BOX.search(before):
        return True
    if _OPEN_BOX.search(before) is None:
        return None
    # Low lines on both sides draw a word, as long as no second one stands there to choose from.
    drawn = before.rstrip()[-1:] == "_" and line.behind(hit).lstrip()[:2] == "__" and len(line.hits) == 1
    return None if drawn else False


def enclosed(line: Line) -> bool:
    """Whether the hits of *line* have signs on both sides: brackets, asterisks, dashes, strokes."""
    left = line.text[: line.hits[0].start - line.start].strip()
    right = line.text[line.hits[-1].end - line.start :].strip()
    return bool(left) and bool(right) and not left[-1].isalnum() and not right[0].isalnum() and right[0] not in ".,;:!?।"


def delimited(line: Line, hit: Hit, scheme: Scheme) -> bool:
    """Whether *hit* is set off from other words: by the end of the line, a sign, a gap, a number or a page word."""
    return _set_off(line.before(hit), scheme, last=True) and _set_off(line.behind(hit), scheme, last=False)


def _set_off(side: str, scheme: Scheme, *, last: bool) -> bool:
    words = tokens(side)
    if not words:
        return True
    word = words[-1] if last else words[0]
    gap = side[side.rfind(word) + len(word) :] if last else side[: side.find(word)]
    return bool(gap.strip()) or len(gap) > 1 or gap == "\t" or word in scheme.paging or word[0].isdigit()
