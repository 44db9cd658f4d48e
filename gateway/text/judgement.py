"""Decide for one line of running text, or one subject, what its terms prove.

What it is: the rules M1 (a line of its own), M2 (prefix, suffix, brackets) and M3 (behind a key), each as one function that
returns Drafts.
Who calls it: ``markings``.
Must never: look at other segments, or raise confidence above what the term itself allows (``markings`` caps that).
Source: requirements on markings, the proposed detector (rules M1 to M3) and its table of false positives.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

import msgspec

from gateway.text.matcher import Hit
from gateway.text.negatives import Shape, box, delimited, enclosed, in_address, list_item, names_a_thing, shape
from gateway.text.normalise import Normal
from gateway.text.scheme import Scheme, tokens
from gateway.text.zones import Layout, Line
from gateway.verdict import Confidence, Zone

CERTAIN, PROBABLE, POSSIBLE = Confidence.CERTAIN, Confidence.PROBABLE, Confidence.POSSIBLE

_M1_WIDTH = 60
_SHORT = 100
_LONG = 400
_MOST_TAGS = 5
_PROSE = 40  # a line at least this long, without an end sign, goes on in the next
_FIELD = re.compile(r"\s*(?::+|\|+|//+|\t+)\s*|\s+[-\u2010-\u2015]+\s+|\s*[\u2013-\u2015]+\s*|[-\u2010-\u2015]{2,}")
_CELL_END = re.compile(r"[|\t;]|\s{3,}|\.\s")
_CELL = re.compile(r"[|\t]+")
TAGS = re.compile(r"\s*\[[^\[\]]{1,40}\]\s*")
"""A tag that gateways and mailing lists put before a subject ("[EXTERNAL]")."""
_BRACKETS = {"(": ")", "[": "]", "{": "}", "<": ">", "【": "】", "«": "»"}


class Draft(msgspec.Struct, frozen=True):
    """What one hit proves where it stands, before caps and quoting."""

    hit: Hit
    confidence: Confidence
    detector: str
    zone: Zone | None = None
    """Set when the zone follows from the finding (a control block)."""
    end: int = 0
    """Where the marking ends when it holds more than the hit."""


class Context(msgspec.Struct, frozen=True):
    """One segment's text with what is known of it."""

    normal: Normal
    layout: Layout
    scheme: Scheme

    def shape(self, hit: Hit) -> Shape:
        """How *hit* is written in the original."""
        return shape(self.normal.slice(hit.start, hit.end), hit.term.language)


def alone(line: Line, scheme: Scheme) -> bool:
    """Whether nothing but terms, numbers, signs and words that may stand beside a marking is on *line*."""
    masked = line.masked
    if len(masked) > _LONG or scheme.rest(masked):
        return False
    words = " ".join(tokens(masked))
    return len(words) + sum(len(" ".join(hit.term.words)) for hit in line.hits) <= _M1_WIDTH


def whole_line(line: Line, confidence: Confidence, detector: str = "line") -> Iterator[Draft]:
    """The drafts of a line that is only terms: one level is what it is, two levels are a choice, so the higher is probable."""
    sure = [hit for hit in line.hits if hit.term.verified and not hit.altered]
    levels = {hit.term.level for hit in sure}
    end = line.hits[-1].end
    if len(levels) > 1:
        top = max(sure, key=lambda hit: hit.term.level)
        yield Draft(top, min_confidence(confidence, PROBABLE), detector)
    elif levels:
        yield Draft(sure[0], confidence, detector, end=end if len(line.hits) == len(sure) else 0)
    rest = [hit for hit in line.hits if not (hit.term.verified and not hit.altered)]
    if rest:
        top = max(rest, key=lambda hit: hit.term.level)
        if not levels or top.term.level > max(levels):
            yield Draft(top, min_confidence(confidence, PROBABLE), detector)


def min_confidence(*values: Confidence) -> Confidence:
    """The least sure of *values*."""
    order = (POSSIBLE, PROBABLE, CERTAIN)
    return order[min(order.index(value) for value in values)]


def own_line(context: Context, line: Line, zone: Zone) -> Confidence:
    """M1: how sure a line of running text that is only a term is."""
    layout, first = context.layout, line.hits[0]
    form = context.shape(first)
    edge = zone in (Zone.BODY_FIRST, Zone.BODY_LAST)
    closed = enclosed(line)
    if not closed and list_item(line, first):
        return PROBABLE if form.strong else POSSIBLE
    previous = layout.previous(line)
    goes_on = len(previous) >= _PROSE and previous[-1:] not in ".:;!?।|*_=-" and not closed
    place, following = layout.following(line)
    if form is Shape.CAPITALS:
        inside = goes_on and context.normal.slice(place, place + 1).islower()
        return PROBABLE if inside or _heading_goes_on(context, line, place, following) else CERTAIN
    if form is Shape.NO_CASE:
        inside = goes_on or line.behind(line.hits[-1]).strip()[:1] in ("।", ".", ",")
        return PROBABLE if inside or _heading_goes_on(context, line, place, following) else CERTAIN
    if form is Shape.TITLE:
        if closed:
            return CERTAIN
        if goes_on or _heading_goes_on(context, line, place, following):
            return POSSIBLE
        return CERTAIN if edge else PROBABLE
    if closed:
        return PROBABLE
    return PROBABLE if edge and not goes_on and line.behind(line.hits[-1]).strip()[:1] not in (".", ",") else POSSIBLE


def _heading_goes_on(context: Context, line: Line, place: int, following: str) -> bool:
    """Whether the next line makes the term the first word of a name ("RESTRICTED" / "HOLIDAY LIST"), written the same way."""
    words = tokens(following)
    if not words or words[0] not in context.scheme.after or len(words) > 4 or not context.scheme.rest(following):
        return False
    start = place + following.find(words[0])
    return shape(context.normal.slice(start, start + len(words[0])), "") is context.shape(line.hits[-1])


def control_block(context: Context, line: Line, hit: Hit) -> Draft | None:
    """M3: *hit* is the value behind a key on its line, or the only thing below a line that is a key."""
    scheme = context.scheme
    before = line.before(hit)
    if not (before[-1:] == " " and before[-2:-1].isalpha() and before[-4:] != " is "):  # prose
        match = scheme.key_end.search(before)
        if match is not None:
            return Draft(hit, _value(context, line, hit, quoted='"' in match[0] or "'" in match[0]), "control-block", Zone.CONTROL_BLOCK)
    if line.hits[0] is hit and scheme.key_line.match(context.layout.key_before(line)) and alone(line, scheme):
        confidence = PROBABLE if context.shape(hit) is Shape.LOWER else CERTAIN
        return Draft(hit, confidence, "control-block", Zone.CONTROL_BLOCK)
    behind_key = line.hits[0] is hit and before[-1:] == " " and scheme.key_line.match(before) is not None
    if behind_key and context.shape(hit) is not Shape.LOWER and not scheme.rest(line.behind(hit)):
        # The cells of a table in a page that was drawn stand one blank apart.
        return Draft(hit, PROBABLE, "control-block", Zone.CONTROL_BLOCK)
    if ("\t" in line.text or "|" in line.text) and _in_column(context, line, hit):
        confidence = PROBABLE if context.shape(hit) is Shape.LOWER else CERTAIN
        return Draft(hit, confidence, "control-block", Zone.CONTROL_BLOCK)
    return None


def _in_column(context: Context, line: Line, hit: Hit) -> bool:
    """Whether *hit* fills a cell of a row of a table below a cell that is only a key."""
    if len(line.text) > _LONG:
        return False
    above = context.layout.row_above(line)
    if "\t" not in above and "|" not in above:
        return False
    place = line.start
    cells = _CELL.split(line.text.strip())
    titles = _CELL.split(above)
    if len(cells) != len(titles):
        return False
    place += len(line.text) - len(line.text.lstrip())
    number = len(_CELL.findall(line.text.lstrip()[: max(0, hit.start - place)]))
    words = " ".join(hit.term.words)
    return number < len(cells) and " ".join(tokens(cells[number])) == words and context.scheme.key_line.match(titles[number]) is not None


def _value(context: Context, line: Line, hit: Hit, *, quoted: bool) -> Confidence:
    """How sure a value behind a key is: the fewer other words, the surer."""
    index = bisect_right(line.hits, hit.start, key=lambda other: other.start)
    others = [other for other in line.hits[index : index + 10] if other.start - hit.end < 40]
    behind = line.behind(hit)
    end = _CELL_END.search(behind)
    cell = behind[: end.start()] if end else behind
    inside = [other for other in others if other.start - hit.end < len(cell)]
    if any(other.term.level is not hit.term.level and other.term.verified for other in inside):
        return PROBABLE
    for other in reversed(inside):
        cell = cell[: other.start - hit.end] + " " + cell[other.end - hit.end :]
    words = tokens(cell)
    rest = context.scheme.rest(cell)
    if not context.scheme.history.isdisjoint(tokens(behind)) or quoted:
        return PROBABLE
    if not rest and cell[:1] not in ("-", "_"):
        return CERTAIN
    if words and words[0] in context.scheme.after:
        return POSSIBLE
    return PROBABLE if len(rest) <= 3 else POSSIBLE


def prefix(context: Context, line: Line, hit: Hit, start: int) -> tuple[bool, bool, bool] | None:
    """M2: whether *hit* stands in brackets or in a field of its own on *line* from place *start* on.

    Returns (bracketed, at the beginning, at the end), or None when it does neither.
    """
    text = line.text
    base = start - line.start
    low, high = hit.start - line.start, hit.end - line.start
    left = text[base:low].rstrip(" *_#")
    right = text[high:]
    if left and left[-1] in _BRACKETS:
        close = right.find(_BRACKETS[left[-1]])
        if 0 <= close <= _M1_WIDTH:
            inner = line.part(hit.start, hit.end + close)
            if alone(inner, context.scheme):
                return True, not left[:-1].strip(" *_#"), not right[close + 1 :].strip(" .*_#")
    begin, end = base, len(text)
    for match in _FIELD.finditer(text, max(base, low - 100), min(len(text), high + 100)):
        if match.end() <= low:
            begin = match.end()
        elif match.start() >= high:
            end = match.start()
            break
    if begin == base and end == len(text):
        return None
    inner = line.part(line.start + begin, line.start + end)
    if not alone(inner, context.scheme):
        return None
    return False, begin == base, end == len(text)


def body_line(context: Context, line: Line, zone: Zone, *, first: bool) -> Iterator[Draft]:
    """All drafts of one line of running text."""
    scheme = context.scheme
    if alone(line, scheme):
        boxes = [box(line, hit) for hit in line.hits]
        if any(state is not None for state in boxes):
            yield from _ticked(line, boxes)
            return
        keyed = control_block(context, line, line.hits[0]) if len(line.hits) == 1 else None
        if keyed is not None:
            yield keyed
            return
        plain = line.part(line.start, line.end, keyed=False)
        if plain.hits:
            yield from whole_line(plain, own_line(context, plain, zone))
        return
    split = line.hits[0]
    if len(line.hits) == 1 and len(split.term.words) > 1 and "\n" in line.text:
        # A term over a line break whose lines hold other words: look at its last word alone on its own line.
        last = scheme.exact.get(split.term.words[-1])
        start = line.start + line.text.rfind("\n") + 1
        if last is not None and start < split.end:
            end = context.layout.text.find("\n", start)
            end = len(context.layout.text) if end < 0 else end
            word = Hit(split.end - len(split.term.words[-1]), split.end, last)
            if word.start >= start:
                yield from body_line(context, Line(start, end, context.layout.text[start:end], (word,)), zone, first=False)
                return
    named = scheme.subject_key.match(line.text)
    for hit in line.hits:
        draft = None
        if named is not None and len(line.text) <= _LONG and hit.start >= line.start + named.end():
            draft = _in_subject(context, line, hit, line.start + named.end(), shouted=_shouted(context, line))
            if draft is not None:
                draft = Draft(hit, min_confidence(draft.confidence, PROBABLE), draft.detector, draft.zone)
        draft = draft or _in_line(context, line, hit, first=first)
        if draft is not None:
            yield draft


def _ticked(line: Line, boxes: list[bool | None]) -> Iterator[Draft]:
    ticked = [hit for hit, state in zip(line.hits, boxes, strict=True) if state]
    if ticked:
        yield Draft(max(ticked, key=lambda hit: hit.term.level), PROBABLE, "ticked-box", Zone.CONTROL_BLOCK)


def _in_line(context: Context, line: Line, hit: Hit, *, first: bool) -> Draft | None:
    """The draft of one hit among other words."""
    scheme = context.scheme
    keyed = control_block(context, line, hit)
    if keyed is not None:
        return keyed
    if hit.term.keyed:
        return None
    form = context.shape(hit)
    if form is Shape.LOWER:
        return None
    if box(line, hit) is True:
        return Draft(hit, PROBABLE, "ticked-box", Zone.CONTROL_BLOCK)
    if box(line, hit) is False or in_address(line, hit):
        return None
    if len(line.text) <= _LONG:
        stands = prefix(context, line, hit, line.start)
        if stands is not None:
            bracketed, begins, ends = stands
            if form.strong and (begins or (ends and bracketed)) and first:
                return Draft(hit, CERTAIN, "bracket" if bracketed else "prefix")
            if (form is Shape.CAPITALS and (begins or ends)) or (form.strong and begins):
                return Draft(hit, PROBABLE, "bracket" if bracketed else "prefix")
            if bracketed and (begins or ends) and first:
                return Draft(hit, PROBABLE, "bracket")
            return Draft(hit, POSSIBLE, "bracket" if bracketed else "prefix") if form.strong else None
    if names_a_thing(line, hit, scheme):
        return None
    if _statement(context, line, hit, form):
        return Draft(hit, PROBABLE, "statement")
    if len(line.text) <= _SHORT and delimited(line, hit, scheme) and not scheme.paging.isdisjoint(tokens(line.masked)):
        return Draft(hit, PROBABLE, "page-line")
    if form is Shape.CAPITALS and not _shouted(context, line):
        return Draft(hit, POSSIBLE, "mention")
    return None


def _statement(context: Context, line: Line, hit: Hit, form: Shape) -> bool:
    """Whether the words before *hit* say that something is classified so, and *hit* is written as a marking."""
    before = line.before(hit)
    words = tokens(before[-60:])
    if not words or not (words[-1] in context.scheme.statements or " ".join(words[-2:]) in context.scheme.statements):
        return False
    behind = line.behind(hit).strip(" *_\"'")
    if behind[:1].isalnum():  # "papers marked SECRET were found": about others
        return False
    return form is Shape.CAPITALS or before.rstrip()[-1:] in "\"'“‘«"


def _shouted(context: Context, line: Line) -> bool:
    """Whether the other words of *line* near its first hit are all in capitals too, so that capitals say nothing."""
    hit = line.hits[0]
    start, end = max(line.start, hit.start - 60), min(line.end, hit.end + 60)
    around = context.normal.slice(start, hit.start) + context.normal.slice(hit.end, end)
    return around.isupper()


def subject(context: Context, line: Line) -> Iterator[Draft]:
    """M1, M2 and M3 for a subject."""
    scheme = context.scheme
    reply = scheme.reply_prefix.match(line.text)
    start = line.start + (reply.end() if reply else 0)
    for _ in range(_MOST_TAGS):
        tag = TAGS.match(line.text, start - line.start)
        if tag is None or (line.hits and line.hits[0].start < line.start + tag.end()):
            break
        again = scheme.reply_prefix.match(line.text[tag.end() :])
        start = line.start + tag.end() + (again.end() if again else 0)
    base = line.part(start, line.end, keyed=False)
    if base.hits and alone(base, scheme):
        form = context.shape(base.hits[0])
        sure = {Shape.TITLE: PROBABLE, Shape.LOWER: POSSIBLE}.get(form, CERTAIN)
        if form is Shape.TITLE and enclosed(base):
            sure = CERTAIN
        yield from whole_line(base, POSSIBLE if reply and form is Shape.TITLE and not enclosed(base) else sure)
        return
    shouted = _shouted(context, base) if base.hits else False
    for hit in line.hits:
        draft = _in_subject(context, line, hit, start, shouted=shouted)
        if draft is not None:
            yield draft


def _in_subject(context: Context, line: Line, hit: Hit, start: int, *, shouted: bool) -> Draft | None:
    keyed = control_block(context, line, hit)
    if keyed is not None:
        return Draft(hit, keyed.confidence, "control-block")
    if hit.start < start or hit.term.keyed:
        return None
    form = context.shape(hit)
    stands = prefix(context, line, hit, start)
    if stands is not None:
        bracketed, begins, ends = stands
        name = "bracket" if bracketed else "prefix" if begins or not ends else "suffix"
        if not (begins or ends):
            return Draft(hit, PROBABLE if form.strong or bracketed else POSSIBLE, name)
        if bracketed:
            return Draft(hit, PROBABLE if form is Shape.LOWER else CERTAIN, name)
        return Draft(hit, CERTAIN if form.strong else PROBABLE if form is Shape.TITLE else POSSIBLE, name)
    if form in (Shape.LOWER, Shape.TITLE) or names_a_thing(line, hit, context.scheme) or in_address(line, hit):
        return None
    at_edge = not tokens(line.text[start - line.start : hit.start - line.start]) or not tokens(line.behind(hit))
    if form is Shape.CAPITALS and not shouted:
        return Draft(hit, PROBABLE if at_edge else POSSIBLE, "mention")
    return Draft(hit, POSSIBLE, "mention") if at_edge else None
