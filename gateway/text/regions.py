"""Whose words stand at a place of a body: the writer's own, quoted ones, or the signature.

What it is: ``Regions`` over one folded text.
Who calls it: ``observing``, only for texts in which something was seen.
Must never: cost more than linear time over all the places of one text.
Sources: RFC 3676 section 4.3 (signature separator); zones of requirements on markings; rules/topics.toml, ``signature``.

A signature is what follows the last line ``-- ``; else what follows a closing ("Yours faithfully") in the last 15 lines; else the
last 12 lines, though never more than the lower half, and only of a text of eight lines or more. Blank lines do not count, and
quoted mail below is not looked at.
"""

from __future__ import annotations

import re

from gateway.text.scheme import Scheme
from gateway.text.zones import Layout

_WINDOW = 4000  # characters before the end in which a signature begins
_SEPARATOR = re.compile(r"^--[ \t]{0,3}$", re.M)
_CLOSING_LINES, _LAST_LINES, _LONG = 15, 12, 8
_ENOUGH = 2 * _LAST_LINES  # lines of which the last ones are not more than half
_LONGEST_CLOSING = 48  # characters of a line that closes a letter
_LONGEST_LINE = 4000  # characters to each side that are looked at for the ends of a line


class Regions:
    """Questions about places in one text. Everywhere *fixed*, where that is not empty."""

    __slots__ = ("_fixed", "_found", "_layout", "_line", "_line_place", "_own_end", "_scheme", "_signature", "_text")

    def __init__(self, text: str, scheme: Scheme, fixed: str = "", layout: Layout | None = None) -> None:
        self._text = text
        self._scheme = scheme
        self._fixed = fixed
        self._layout = layout
        self._found = False
        self._line = (0, 0)
        self._line_place = ""
        self._own_end = self._signature = 0

    @property
    def fixed(self) -> str:
        """The one place that the whole text is, where it is."""
        return self._fixed

    def of(self, place: int) -> str:
        """body, quoted or signature, or the fixed name."""
        if self._fixed:
            return self._fixed
        if self._layout is None:
            self._layout = Layout(self._text, self._scheme)
        if not self._found:
            self._found = True
            self._own_end, self._signature = self._find(self._layout)
        start, end = self._line
        if not start <= place < end:
            text = self._layout.text
            low, high = max(0, place - _LONGEST_LINE), place + _LONGEST_LINE
            start = max(low, text.rfind("\n", low, place) + 1)
            end = text.find("\n", place, high)
            end = min(len(text), high) if end < 0 else end
            self._line = (start, max(end, place + 1))
            self._line_place = self._of_line(start, text[start:end])
        return self._line_place

    def _of_line(self, start: int, line: str) -> str:
        if start >= self._own_end or line.lstrip().startswith(">"):
            return "quoted"
        return "signature" if start >= self._signature else "body"

    def _find(self, layout: Layout) -> tuple[int, int]:
        """Where the writer's own text ends, and where his signature begins."""
        text = layout.text
        end = layout.quoted_from()
        if end < len(text) and _next_line(text, end).startswith(">"):
            end = len(text)  # quoted line by line: what follows the quotation may be the writer's own again
        end = _without_quoted_end(text, end)
        low = max(0, end - _WINDOW)
        separator = _last_separator(text, low, end)
        if separator >= 0:
            return end, separator
        starts = _line_starts(text, low, end)
        closings = self._scheme.watch.topics.closings
        for start in starts[-_CLOSING_LINES:]:
            words = text[start : start + _LONGEST_CLOSING].partition("\n")[0].strip(" ,.!:-\t\r*")
            if words and words in closings:
                return end, start
        if len(starts) < _LONG:
            return end, end
        return end, starts[max(len(starts) - _LAST_LINES, (len(starts) + 1) // 2)]


def _last_separator(text: str, low: int, end: int) -> int:
    """Where the last line ``-- `` of ``text[low:end]`` ends; -1 where there is none."""
    at = end
    while (at := text.rfind("--", low, at)) >= 0:
        if (match := _SEPARATOR.match(text, at, end)) is not None:
            return match.end()
    return -1


def _next_line(text: str, place: int) -> str:
    """What the first line behind the one at *place* that is not blank begins with."""
    newline = text.find("\n", place, place + _LONGEST_LINE)
    return text[newline : newline + 400].lstrip()[:8] if newline >= 0 else ""


def _without_quoted_end(text: str, end: int) -> int:
    """*end* without the quoted lines before it, and without the line that introduces them."""
    cut = end
    while cut:
        stripped = len(text[max(0, cut - 400) : cut].rstrip()) + max(0, cut - 400)
        if stripped == max(0, cut - 400):
            return cut
        start = text.rfind("\n", max(0, stripped - _LONGEST_LINE), stripped) + 1
        if not text[start : start + 8].lstrip().startswith(">"):
            return end if cut == end else stripped
        cut = start
    return cut


def _line_starts(text: str, low: int, end: int) -> list[int]:
    """Where the last lines of ``text[low:end]`` that are not blank begin: no more of them than matter."""
    starts: list[int] = []
    while end > low and len(starts) < _ENOUGH:
        at = max(low, text.rfind("\n", low, end) + 1)
        if text[at:end].strip():
            starts.append(at)
        end = at - 1
    starts.reverse()
    return starts
