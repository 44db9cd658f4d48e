"""Lines of a text and where they stand: first, last, quoted, in a paragraph with a disclaimer.

What it is: ``Layout`` over one folded text, and ``Line``, the row of text that holds one or more hits.
Who calls it: ``markings`` and ``regions``, only for texts that hold a term, or something else that was seen, at all.
Must never: split a whole text into lines; every question costs a bounded look around one place, or is asked once a text.
Source: requirements on markings, zones: the first five and last five lines of a body, quoted blocks at reduced weight.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

import msgspec

from gateway.text.matcher import Hit
from gateway.text.scheme import Scheme
from gateway.verdict import Zone

_EDGE_LINES = 5
_PARAGRAPH = 1500  # characters to each side that count as the paragraph of a line
_QUOTE_MARK = re.compile(r"\s*(?:[a-z]{1,3})?>")
_INK = re.compile(r"\S")
_BLOCK = 400  # characters within which three sender fields make the head of quoted mail
_AT_ONCE = 16_384  # characters in which landmarks are looked for together: mail is seldom longer


class Line(msgspec.Struct, frozen=True):
    """One line with the hits in it; a hit that runs over a line break makes one Line of the lines that it touches."""

    start: int
    end: int
    text: str
    hits: tuple[Hit, ...]

    def before(self, hit: Hit) -> str:
        """What stands on the line before *hit*, at most its last 100 characters."""
        return self.text[max(0, hit.start - self.start - 100) : hit.start - self.start]

    def behind(self, hit: Hit) -> str:
        """What stands on the line behind *hit*, at most 100 characters."""
        return self.text[hit.end - self.start : hit.end - self.start + 100]

    def part(self, start: int, end: int, *, keyed: bool = True) -> Line:
        """The piece ``[start, end)`` of the text with the hits inside it; without those that need a key unless *keyed*."""
        inside = tuple(hit for hit in self.hits if start <= hit.start and hit.end <= end and (keyed or not hit.term.keyed))
        return Line(start, end, self.text[start - self.start : end - self.start], inside)

    @property
    def masked(self) -> str:
        """The line with a blank in place of each hit."""
        parts: list[str] = []
        place = self.start
        for hit in self.hits:
            parts.append(self.text[place - self.start : hit.start - self.start])
            place = hit.end
        parts.append(self.text[place - self.start :])
        return " ".join(parts)


class Layout:
    """Questions about places in one folded text."""

    def __init__(self, folded: str, scheme: Scheme) -> None:
        self._scheme = scheme
        self._read = 0
        self._searched = 0
        self._landmarks: list[tuple[int, int]] = []
        """Those in the first ``_searched`` characters."""
        self._head = self._tail = -1  # not looked for yet
        self._disclaimers: list[int] = []
        self._quoted_from = 0
        """Where quoted or forwarded mail begins that is not marked line by line, as far as was read."""
        # Same length as before, so that places stay the same; CR LF is one line end, not an empty line.
        self.text = _unbroken(folded)

    def line(self, hits: Sequence[Hit], index: int) -> Line:
        """The line that holds ``hits[index]``, with those of the *hits* behind it that it holds too."""
        text = self.text
        first = hits[index]
        start = text.rfind("\n", 0, first.start) + 1
        end = text.find("\n", first.end)
        end = len(text) if end < 0 else end
        stop = index + 1
        while stop < len(hits) and hits[stop].start < end:
            if hits[stop].end > end:
                further = text.find("\n", hits[stop].end)
                end = len(text) if further < 0 else further
            stop += 1
        return Line(start, end, text[start:end], tuple(hits[index:stop]))

    def _find_head(self) -> int:
        """Where the fifth line that is not blank ends."""
        text, place = self.text, 0
        for _ in range(_EDGE_LINES):
            seen = _INK.search(text, place)
            if seen is None:
                break
            newline = text.find("\n", seen.start())
            place = len(text) if newline < 0 else newline
        return place

    def _find_tail(self) -> int:
        """Where the last line but four that is not blank begins."""
        text = self.text
        tail = len(text)
        for _ in range(_EDGE_LINES):
            rest = len(text[max(0, tail - 2000) : tail].rstrip()) + max(0, tail - 2000)
            if rest == tail - 2000:  # more blanks than that: strip them all
                rest = len(text[:tail].rstrip())
            if not rest:
                break
            tail = text.rfind("\n", 0, rest) + 1
        return tail

    def zone(self, line: Line) -> Zone:
        """BODY_FIRST, BODY_LAST or BODY."""
        if self._head < 0:
            self._head = self._find_head()
        if line.start < self._head:
            return Zone.BODY_FIRST
        if self._tail < 0:
            self._tail = self._find_tail()
        return Zone.BODY_LAST if line.start >= self._tail else Zone.BODY

    def is_first(self, line: Line) -> bool:
        """Whether nothing but blanks stands before *line*."""
        return line.start <= 400 and not self.text[: line.start].strip()

    def page_edge(self, line: Line) -> Zone | None:
        """PAGE_HEADER or PAGE_FOOTER when *line* is one of the first or last two lines that are not blank."""
        head = self.text[max(0, line.start - 400) : line.start] if line.start <= 400 else "x\nx\nx"
        if sum(1 for part in head.split("\n") if part.strip()) < 2:
            return Zone.PAGE_HEADER
        tail = self.text[line.end : line.end + 400] if len(self.text) - line.end <= 400 else "x\nx\nx"
        if sum(1 for part in tail.split("\n") if part.strip()) < 2:
            return Zone.PAGE_FOOTER
        return None

    def previous(self, line: Line) -> str:
        """The line directly before *line* (its last 200 characters); empty when that is blank or there is none."""
        if line.start == 0:
            return ""
        start = max(self.text.rfind("\n", 0, line.start - 1) + 1, line.start - 201)
        return self.text[start : line.start - 1].strip()

    def key_before(self, line: Line) -> str:
        """The last line before *line* that is not blank, over at most one blank line."""
        previous = self.previous(line)
        if previous or line.start < 2:
            return previous
        end = self.text.rfind("\n", 0, line.start - 1)
        if end < 0:
            return ""
        start = max(self.text.rfind("\n", 0, end) + 1, end - 200)
        return self.text[start:end].strip()

    def row_above(self, line: Line) -> str:
        """The nearest line above *line* that has a word in it, over at most two without (blank, or drawn with signs)."""
        end = line.start - 1
        for _ in range(3):
            if end <= 0:
                return ""
            start = max(self.text.rfind("\n", 0, end) + 1, end - 400)
            row = self.text[start:end].strip()
            if any(char.isalnum() for char in row):
                return row
            end = start - 1
        return ""

    def following(self, line: Line) -> tuple[int, str]:
        """Where the line directly behind *line* begins and its first 200 characters; empty when it is blank."""
        start = min(line.end + 1, len(self.text))
        end = self.text.find("\n", start, start + 200)
        text = self.text[start : end if end >= 0 else start + 200]
        return start + len(text) - len(text.lstrip()), text.strip()

    def _read_to(self, place: int) -> None:
        """Look for landmarks up to *place* at least, and twice as far as before, so that all looks together are linear."""
        if place <= self._read:
            return
        limit = min(len(self.text), max(place, 2 * self._read))
        self._read = limit
        self._disclaimers = []
        self._quoted_from = limit + 1
        senders: list[int] = []
        for index, found in self._landmarks_to(limit):
            literal, kind = self._scheme.landmarks[index]
            if kind == "disclaimer":
                self._disclaimers.append(found)
            elif found < self._quoted_from and kind == "sender":
                senders = [*(other for other in senders if found - other <= _BLOCK), found]
                if len(senders) == 3:
                    self._quoted_from = senders[0] + 1
            elif found < self._quoted_from and kind == "quote":
                self._quoted_from = self._quote_header(found, literal)

    def _landmarks_to(self, limit: int) -> Iterator[tuple[int, int]]:
        """The landmarks of the first *limit* characters, as if nothing stood behind those."""
        if limit > self._searched:
            self._searched = max(limit, min(len(self.text), _AT_ONCE))
            self._landmarks = self._scheme.landmark_finder.find(self.text[: self._searched])
        landmarks = self._scheme.landmarks
        passed = 0
        for index, place in self._landmarks:
            end = place + len(landmarks[index][0])
            if end > limit:
                # It runs over the end; a shorter one at its place may not.
                if place < limit:
                    for other, behind in self._scheme.landmark_finder.find(self.text[passed:limit]):
                        yield other, passed + behind
                return
            yield index, place
            passed = end

    def _quote_header(self, place: int, header: str) -> int:
        """Where the line begins that *header* at *place* makes the head of quoted mail; as before when it does not."""
        text = self.text
        start = text.rfind("\n", max(0, place - 200), place) + 1
        end = text.find("\n", place, place + 200)
        line = text[start : end if end >= 0 else place + len(header)].strip(" \t\n-_=*>")
        heads = line.startswith(header.strip(":")) or (line.endswith(header) and len(line) < 200)
        return start if heads else self._quoted_from

    def quoted(self, line: Line) -> bool:
        """Whether *line* stands in quoted mail."""
        if _QUOTE_MARK.match(line.text):
            return True
        if line.start == 0:
            return False
        self._read_to(line.end)
        return line.start >= self._quoted_from

    def quoted_from(self) -> int:
        """Where quoted or forwarded mail begins that is not marked line by line; the end of the text where there is none."""
        self._read_to(len(self.text))
        return min(self._quoted_from, len(self.text))

    def in_disclaimer(self, line: Line) -> bool:
        """Whether the paragraph of *line* holds a phrase of a disclaimer."""
        low = max(0, line.start - _PARAGRAPH)
        high = min(len(self.text), line.end + _PARAGRAPH)
        end = self.text.find("\n\n", max(line.start, line.end - 1), high)
        start = max(low, self.text.rfind("\n\n", low, line.start + 1))
        high = high if end < 0 else end
        self._read_to(high)
        found = self._disclaimers
        index = bisect_left(found, start)
        return index < len(found) and found[index] < high


def _unbroken(folded: str) -> str:
    if "\r" in folded:
        folded = folded.replace("\r\n", " \n").replace("\r", "\n")
    if "\f" in folded:
        folded = folded.replace("\f", "\n")
    if "\v" in folded:
        folded = folded.replace("\v", "\n")
    return folded
