"""Words in pictures: which pictures are read, in which order, and what came of it.

What it is: ``recognise``, one call for all pictures of a message, within what is left of its time. Where there are more pages than
time, the top and the bottom of each are read first, for markings stand there; then whole pages; each time the first and the last page of
each leaf before what lies between, so that no leaf keeps the time from the others. What may lie on its side or upside down comes last.
Who calls it: ``content.walk``, when everything else was read.
Must never: call a picture read that was not read in full; put what a tool could not do down to the content.
Sources: docs/design.md sections 2 and 4; docs/inspection.md, OCR. The thresholds are measured: see ``tool_words.SURE``.
"""

from __future__ import annotations

import collections
import hashlib
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from msgspec import structs
from PIL import Image

from gateway.extraction.base import BAND, Budget, Look, OverLimit, Picture, Scan, ToolFault, Tools, Unreadable, Words
from gateway.text.markings import Segment
from gateway.verdict import Confidence, Finding, Zone

NOTHING = "no words could be recognised in it"
CLEAR = 70.0
"""Mean confidence of the words of a picture from which it counts as read."""
_LOGO = 250_000
"""Pixels under which a picture in which nothing was found is taken to hold nothing: a page of text has more."""
_SIDE = 8
"""Pixels of a side under which a picture holds no line of text."""
_DOT = 5_000
"""Pixels of what is looked at without any program: the dots and lines that hold the pages of newsletters together."""
_EVEN = 8
"""Differences of grey that nobody sees."""
_SPECKS = 0.001
"""Share of dark pixels under which a page in which no word was found is empty: dust, punch holes, the frame of a scanner."""
_PAGE_HEIGHT = 900
"""Pixels from which a picture has a head and a foot."""
_SHORTEST = 0.4
"""Seconds under which no picture is begun."""
_UNKNOWN = 3_900_000
_SECONDS, _SECONDS_FOR_MILLION = 0.3, 0.8
"""What a picture costs, about: a page of 40 lines at 200 dpi 2.1 s, one full of Hindi and English 4.5 s."""
_ROUND = (0, 180, 90, 270)


@dataclass(frozen=True, slots=True)
class Recognised:
    """What came of the pictures of one leaf."""

    segments: tuple[Segment, ...] = ()
    complete: bool = False
    """Every picture was read, in full and with enough confidence."""
    reason: str = ""
    """Why not; a plain clause."""
    doubtful: tuple[Segment, ...] = ()
    """What was recognised with little confidence: at most probable."""


@dataclass(slots=True)
class _Leaf:
    """What the pictures of one leaf have in common."""

    degrees: int = 0
    """How the last one had to be turned: pages of one scan lie alike."""


@dataclass(slots=True, eq=False)
class _Page:
    """One picture on its way."""

    scan: Scan
    leaf: _Leaf
    read: bool = False
    edges: Words | None = None
    words: Words | None = None
    best: Words = field(default_factory=Words)
    """Of all attempts."""
    reason: str = ""
    """Why it cannot be read at all."""
    empty: bool = False
    """So few dark pixels that no word found means none there."""
    small: bool = False
    tall: bool = False
    same: _Page | None = None
    """The page that shows the same pixels."""
    tried: set[int] = field(default_factory=set)
    """Degrees at which it was read, or is."""
    up: Words | None = None
    """Which side is up, once that is known."""
    turned: bool = False
    """It has been looked at from all sides."""


@dataclass(frozen=True, slots=True)
class _Step:
    page: _Page
    look: Look = Look.PAGE
    degrees: int = -1
    """-1: as the last page of the leaf."""


def recognise(jobs: Sequence[tuple[Scan, ...]], budget: Budget) -> tuple[Recognised, ...]:
    """The words of each of *jobs* (the pictures of one leaf), in their order. Never raises but ToolFault."""
    pages = []
    for job in jobs:
        leaf = _Leaf()
        pages.append([_Page(scan, leaf) for scan in job])
    reading = _Reading(pages, budget)
    reading.run()
    return tuple(_recognised(job, reading.has_tools) for job in pages)


def doubted(findings: Iterable[Finding]) -> Iterator[Finding]:
    """*findings* in what was recognised with little confidence: none is certain, for a person has to look."""
    for one in findings:
        yield structs.replace(one, confidence=Confidence.PROBABLE) if one.confidence is Confidence.CERTAIN else one


class _Reading:
    """All pictures of one message, as far as the time goes."""

    def __init__(self, leaves: Sequence[Sequence[_Page]], budget: Budget) -> None:
        self._leaves, self._budget = leaves, budget
        self._pages = [page for leaf in leaves for page in leaf]
        tools = budget.tools
        self._tools: Tools | None = tools if tools is not None and tools.reads_pictures else None
        self.has_tools = self._tools is not None
        self._seconds = min(budget.limits.ocr_seconds, max(budget.seconds_left, 0.0))
        self._end = time.monotonic() + self._seconds
        self._seen: dict[bytes, _Page] = {}
        self._under_way: dict[int, _Step] = {}
        self._steps: collections.deque[_Step] = collections.deque()
        self._later: collections.deque[_Step] = collections.deque()

    def run(self) -> None:
        """Raises ToolFault: the tools are gone, or were so busy with other messages that this one got no time."""
        if self._tools is None:
            for page in self._pages:
                if 0 < page.scan.pixels < _DOT:
                    self._render(page)
            return
        before, cost = self._tools.waited, sum(map(_cost, self._pages))
        pages = self._pages
        if cost > self._seconds * self._tools.lanes:
            pages = list(_in_turn(self._leaves))
            self._steps.extend(_Step(page, Look.BANDS) for page in pages)
        self._steps.extend(_Step(page) for page in pages)
        while True:
            while len(self._under_way) < self._tools.lanes and self._left > _SHORTEST and (self._steps or self._later):
                self._begin((self._steps or self._later).popleft(), self._tools)
            if not self._under_way:
                break
            number, outcome = self._tools.next()
            self._ended(self._under_way.pop(number), outcome)
        unread = sum(_cost(page) for page in self._pages if not page.read and not page.reason and page.same is None)
        if unread and self._tools.waited - before > unread / 2:
            raise ToolFault("the tools are busy with other messages")

    @property
    def _left(self) -> float:
        return self._end - time.monotonic()

    def _render(self, page: _Page) -> Picture | None:
        """The pixels; None where there is nothing more to do: it is read, cannot be read, or another page shows the same."""
        try:
            picture = page.scan.render(self._budget)
        except ToolFault:
            raise
        except Unreadable as error:
            page.reason = str(error)
            return None
        except MemoryError:
            page.reason = "it needs too much memory"
            return None
        except Exception as error:
            page.reason = f"could not be read: {type(error).__name__}"
            return None
        page.small = (page.scan.pixels or picture.width * picture.height) < _LOGO
        page.tall = picture.height >= _PAGE_HEIGHT or page.scan.page > 0
        grey = Image.frombytes("L", (picture.width, picture.height), picture.grey)
        low, high = grey.getextrema()
        assert isinstance(low, int)
        assert isinstance(high, int)
        if high - low <= _EVEN or min(picture.width, picture.height) < _SIDE:
            page.read = True
            return None
        counts = grey.histogram()
        page.empty = min(sum(counts[: (low + high) // 2]), sum(counts[(low + high) // 2 :])) < _SPECKS * picture.width * picture.height
        digest = hashlib.sha256(b"%d %d " % (picture.width, picture.height) + picture.grey).digest()
        first = self._seen.setdefault(digest, page)
        if first is not page:
            page.same = first
            return None
        return picture

    def _begin(self, step: _Step, tools: Tools) -> None:
        page = step.page
        if page.read or page.reason or page.same is not None or (step.look is Look.TURN and page.up is not None):
            return
        picture = self._render(page)
        if picture is None or self._left <= _SHORTEST:
            return
        if step.look is Look.BANDS:
            picture = _bands(_turned(picture, page.leaf.degrees))
        elif step.look is Look.PAGE:
            degrees = page.leaf.degrees if step.degrees < 0 else step.degrees
            if degrees in page.tried:
                return
            if not page.tried and tools.turns and not page.small:
                self._later.append(_Step(page, Look.TURN))
            page.tried.add(degrees)
            picture, step = _turned(picture, degrees), _Step(page, Look.PAGE, degrees)
        self._under_way[tools.begin(picture, self._left, step.look)] = step

    def _ended(self, step: _Step, outcome: Words | Unreadable) -> None:
        page = step.page
        if isinstance(outcome, OverLimit):
            return
        if step.look is Look.BANDS:
            page.edges = outcome if isinstance(outcome, Words) else None
        elif step.look is Look.TURN:
            page.up = outcome if isinstance(outcome, Words) else Words()
            if page.up.confidence and page.up.turn not in page.tried:
                # What is being read at present is read from a wrong side.
                self._drop(page)
                self._steps.appendleft(_Step(page, Look.PAGE, page.up.turn))
        elif isinstance(outcome, Unreadable):
            page.reason = str(outcome)
        else:
            page.best = max(page.best, outcome, key=lambda one: one.confidence)
            if outcome.count and outcome.confidence >= CLEAR:
                page.words, page.read, page.leaf.degrees = outcome, True, step.degrees
                self._drop(page)
        if not page.read and not page.reason and step.look is not Look.BANDS:
            self._go_on(page)

    def _drop(self, page: _Page) -> None:
        """Whatever is still under way for *page*."""
        assert self._tools is not None
        for number in [number for number, one in self._under_way.items() if one.page is page]:
            self._tools.drop(number)
            del self._under_way[number]

    def _go_on(self, page: _Page) -> None:
        """The other sides of a page that was not read, or the end of it."""
        if any(one.page is page for one in (*self._steps, *self._later, *self._under_way.values())):
            return
        sure = page.up is not None and page.up.confidence > 0
        left = [] if sure else [degrees for degrees in _ROUND if degrees not in page.tried]
        self._later.extend(_Step(page, Look.PAGE, degrees) for degrees in left)
        if not left:
            page.turned = True
            page.read = page.small or (page.empty and not page.best.count)


def _in_turn(leaves: Iterable[Sequence[_Page]]) -> Iterator[_Page]:
    """One page of each of *leaves* after the other; of each the first, the last, the second, the last but one and so on."""
    inwards = [[leaf[at // 2 if at % 2 == 0 else -(at // 2) - 1] for at in range(len(leaf))] for leaf in leaves]
    for some in itertools.zip_longest(*inwards):
        yield from (page for page in some if page is not None)


def _cost(page: _Page) -> float:
    return _SECONDS + _SECONDS_FOR_MILLION * min(page.scan.pixels or _UNKNOWN, 5_000_000) / 1_000_000


def _bands(picture: Picture) -> Picture:
    rows = max(1, int(picture.height * BAND))
    grey = picture.grey[: rows * picture.width] + picture.grey[-rows * picture.width :]
    return Picture(picture.width, 2 * rows, grey, picture.dpi)


_TRANSPOSE = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}


def _turned(picture: Picture, degrees: int) -> Picture:
    """*picture*, turned clockwise."""
    if not degrees:
        return picture
    image = Image.frombytes("L", (picture.width, picture.height), picture.grey).transpose(_TRANSPOSE[degrees])
    return Picture(image.width, image.height, image.tobytes(), picture.dpi)


def _recognised(pages: list[_Page], has_tools: bool) -> Recognised:
    segments: list[Segment] = []
    doubtful: list[Segment] = []
    for page in pages:
        shown = page.same or page
        words = shown.words or (shown.best if shown.best.count else shown.edges)
        if words is None:
            continue
        place, places = page.scan.page, page.scan.pages
        if shown.tall and words.head:
            segments.append(Segment(words.head, Zone.PAGE_HEADER, place, places))
        if words.text:
            segments.append(Segment(words.text, Zone.BODY, place, places))
        if shown.tall and words.foot:
            segments.append(Segment(words.foot, Zone.PAGE_FOOTER, place, places))
        if words.doubtful:
            doubtful.append(Segment(words.doubtful, Zone.BODY, place, places))
    unread = [page for page in pages if not (page.same or page).read]
    reason = _reason(pages, [page.same or page for page in unread]) if unread and has_tools else ""
    return Recognised(tuple(segments), not unread, reason, tuple(doubtful))


def _reason(pages: list[_Page], unread: list[_Page]) -> str:
    """Why the pages *unread* of *pages* are not read."""
    own = dict.fromkeys(page.reason or (NOTHING if page.turned else "") for page in unread)
    if len(pages) == 1:
        return next(iter(own)) or "there was no time to read the words in it"
    noun = "pages" if any(page.scan.page for page in pages) else "pictures"
    clause = f"words were read in {len(pages) - len(unread)} of {len(pages)} {noun}"
    if any(page.edges is not None and not page.turned for page in unread):
        clause += "; of the others only the top and the bottom"
    return "; ".join((clause, *(f"in {sum(p.reason == one for p in unread)}: {one}" for one in own if one and one != NOTHING)))
