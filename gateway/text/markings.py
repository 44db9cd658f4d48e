"""Find classification markings in text and tell them from prose.

What it is: ``scan``: segments of one leaf in, Findings out. Texts without any term cost one pass of an automaton.
Who calls it: the door for plain messages, ``content`` for every extractor's text, ``gateway explain``.
Must never: raise, do I/O, cost more than linear time, or be surer than the term allows: a term that is not verified, and a
marking in quoted mail, is never more than probable.
Sources: J&K Circular 26-JK(GAD) of 2024 (four grades); requirements on markings: rules M1 (own line), M2 (prefix, suffix,
brackets), M3 (behind a key), M4 (page header, footer, watermark); M5 (structured labels) is ``message.labels``.
Offsets count characters as if the texts of all segments were joined by one character.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import structs

from gateway.levels import Level
from gateway.text import legacy_fonts, short_forms
from gateway.text.judgement import CERTAIN, POSSIBLE, PROBABLE, Context, Draft, alone, body_line, min_confidence, subject
from gateway.text.matcher import Hit
from gateway.text.negatives import policy_text
from gateway.text.normalise import normalise
from gateway.text.observing import Observer
from gateway.text.places import file_name, page_line, property_line
from gateway.text.scheme import Scheme
from gateway.text.zones import Layout, Line
from gateway.verdict import Confidence, Finding, Zone

__all__ = ["Scheme", "Segment", "scan"]

_EVIDENCE = 200  # characters of the original words that a Finding carries
_ALIKE = 3  # findings of one level, zone, detector and confidence that a leaf reports
_LONGEST_SUBJECT = 1000  # beyond it a subject is read as running text
_LONGEST_NAME = 1000
_REPEATS = 100  # hits of a segment that are judged even when their level is certain already
_MOST_HITS = 2000  # hits of a segment that are judged one by one
_MOST_IN_LINE = 200
_NEAR = 60  # characters between two items of a list of levels
_PAGE_ZONES = (Zone.PAGE_HEADER, Zone.PAGE_FOOTER, Zone.WATERMARK)


class Segment(msgspec.Struct, frozen=True):
    """A piece of the text of one leaf and where it stands."""

    text: str
    zone: Zone
    """BODY for running text; SUBJECT, PAGE_HEADER, PAGE_FOOTER, WATERMARK, PROPERTY or FILE_NAME."""
    page: int = 0
    """From 1; 0 where the format knows no pages, or the segment stands on every page."""
    pages: int = 0
    """Pages of the leaf; 0 where unknown."""
    font: str = ""
    """The font of all of it, where a format knows one: text for a legacy font is read by the letters that it shows."""


class _Found(msgspec.Struct, frozen=True):
    """A draft with everything a Finding needs, still to be weighed against the other pages."""

    draft: Draft
    zone: Zone
    context: Context
    base: int
    page: int = 0
    counts_pages: bool = False
    pages: int = 0


def scan(
    segments: Sequence[Segment], path: str, scheme: Scheme, observer: Observer | None = None, *, attached: bool = False
) -> tuple[Finding, ...]:
    """Every marking in *segments*, which are one leaf's texts in order; *path* is the leaf's path. Never raises.

    *observer* looks through the same folded texts; *attached* says whether the leaf is an attachment.
    """
    found: list[_Found] = []
    findings: list[Finding] = []
    base = 0
    for segment in segments:
        if segment.zone is Zone.FILE_NAME:
            normal = normalise(segment.text[-_LONGEST_NAME:])
            context = Context(normal, Layout(normal.text, scheme), scheme)
            found.extend(_Found(draft, segment.zone, context, base) for draft in file_name(context))
            if observer is not None:
                observer.look(normal, segment.zone, path, attached=attached)
        else:
            normal = normalise(segment.text)
            hits, legacy = scheme.matcher.look(normal)
            layout = Layout(normal.text, scheme) if hits else None
            if layout is not None:
                found.extend(_judge(segment, Context(normal, layout, scheme), hits, base))
            findings.extend(short_forms.find(segment.text, segment.zone, path, scheme, base))
            if observer is not None:
                observer.look(normal, segment.zone, path, attached=attached, layout=layout)
            if (legacy or segment.font) and (shown := legacy_fonts.decode(segment.text, segment.font)) is not None:
                findings.extend(_shown(segment, shown, path, scheme, observer, base, attached=attached))
        base += len(segment.text) + 1
    if found:
        findings[:0] = _findings(found, path)
    return tuple(findings)


def _shown(
    segment: Segment, shown: str, path: str, scheme: Scheme, observer: Observer | None, base: int, *, attached: bool
) -> Iterator[Finding]:
    """The markings in *shown*, which is what *segment* shows in its legacy font; their places are the lines of the segment.

    Where the font is only guessed from the words, none is more than probable.
    """
    starts = [0]
    for line in segment.text.split("\n")[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    for found in scan([structs.replace(segment, text=shown, font="")], path, scheme, observer, attached=attached):
        number = shown.count("\n", 0, found.offset)
        length = segment.text.find("\n", starts[number])
        length = (length if length >= 0 else len(segment.text)) - starts[number]
        sure = found.confidence if segment.font else min_confidence(found.confidence, PROBABLE)
        yield structs.replace(found, confidence=sure, offset=base + starts[number], length=length)


def _judge(segment: Segment, context: Context, hits: list[Hit], base: int) -> Iterator[_Found]:
    """What the hits of one segment prove.

    Two bounds keep a flood of terms linear and cheap: a level that is certain already is not proved again and again, and
    beyond a number of hits the rest is only probable as a whole, so that a person looks at it.
    """
    lists_levels = policy_text(hits)
    certain: Level | None = None
    rest: list[Hit] = []
    index = judged = 0
    while index < len(hits):
        if judged >= _REPEATS and certain is not None and hits[index].term.level <= certain:
            index += 1
            continue
        if judged >= _MOST_HITS:
            rest.extend(hits[index:])
            break
        line = context.layout.line(hits, index)
        stop = index + len(line.hits)
        if len(line.hits) > _MOST_IN_LINE:
            rest.extend(line.hits[_MOST_IN_LINE:])
            line = Line(line.start, line.end, line.text, line.hits[:_MOST_IN_LINE])
        judged += len(line.hits)
        policy = not lists_levels.isdisjoint(range(index, stop))
        stands_apart = policy and _stands_apart(hits, index, stop, line)
        for item in _of_line(segment, context, line, base, policy=policy, stands_apart=stands_apart):
            draft = item.draft
            if draft.confidence is CERTAIN and draft.hit.term.verified and (certain is None or draft.hit.term.level > certain):
                certain = draft.hit.term.level
            yield item
        index = stop
    top = _highest_shown(rest, context, certain)
    if top is not None:
        yield _Found(Draft(top, PROBABLE, "too-many"), segment.zone, context, base)


def _highest_shown(rest: list[Hit], context: Context, certain: Level | None) -> Hit | None:
    """The highest of *rest* above *certain* that is not in small letters."""
    for level in sorted({hit.term.level for hit in rest}, reverse=True):
        if certain is not None and level <= certain:
            return None
        for hit in rest:
            if hit.term.level is level and not context.normal.slice(hit.start, hit.end).islower():
                return hit
    return None


def _stands_apart(hits: list[Hit], index: int, stop: int, line: Line) -> bool:
    """Whether the line of ``hits[index:stop]`` names one level and no line near it another: no item of a list of levels."""
    levels = {hit.term.level for hit in line.hits}
    if index:
        levels |= {hits[index - 1].term.level} if line.start - hits[index - 1].end < _NEAR else set()
    if stop < len(hits):
        levels |= {hits[stop].term.level} if hits[stop].start - line.end < _NEAR else set()
    return len(levels) == 1


def _of_line(segment: Segment, context: Context, line: Line, base: int, *, policy: bool, stands_apart: bool) -> Iterator[_Found]:
    zone = segment.zone
    if zone is Zone.SUBJECT and len(line.text) <= _LONGEST_SUBJECT:
        for draft in subject(context, line):
            yield _Found(_weigh(draft, policy=policy), zone, context, base)
    elif zone is Zone.PROPERTY:
        for draft in property_line(context, line):
            yield _Found(_weigh(draft, policy=policy), zone, context, base)
    elif zone in _PAGE_ZONES:
        for draft, counts in page_line(context, line, zone):
            weighed = _weigh(draft, policy=policy)
            yield _Found(weighed, draft.zone or zone, context, base, segment.page, counts and not policy, segment.pages)
    else:
        yield from _running_text(segment, context, line, base, policy=policy, stands_apart=stands_apart)


def _running_text(segment: Segment, context: Context, line: Line, base: int, *, policy: bool, stands_apart: bool) -> Iterator[_Found]:
    layout = context.layout
    zone = layout.zone(line)
    quoted = layout.quoted(line)
    if quoted:
        line = _without_quote_marks(line)
    first = zone is Zone.BODY_FIRST and not quoted and layout.is_first(line)
    edge = layout.page_edge(line) if segment.pages > 1 and not quoted else None
    disclaimer = layout.in_disclaimer(line)
    if edge is not None and not disclaimer and not alone(line, context.scheme):
        for draft, counts in page_line(context, line, edge):
            if draft.detector == "page-zone" and counts:
                yield _Found(draft, edge, context, base, segment.page, counts and not policy, segment.pages)
    for draft in body_line(context, line, zone, first=first):
        if policy:
            likely = draft.detector == "ticked-box" or (stands_apart and (zone is Zone.BODY_FIRST or draft.zone is Zone.CONTROL_BLOCK))
            draft = _weigh(draft, policy=not likely, softly=True)
        if disclaimer and draft.detector not in ("control-block", "ticked-box"):
            draft = _weigh(draft, policy=zone is not Zone.BODY_FIRST or draft.detector != "line", softly=True)
        if quoted:
            if draft.confidence is POSSIBLE:
                continue
            draft = Draft(draft.hit, PROBABLE if draft.confidence is CERTAIN else POSSIBLE, draft.detector, Zone.QUOTED, draft.end)
        yield _Found(draft, draft.zone or zone, context, base)


def _without_quote_marks(line: Line) -> Line:
    """*line* behind its ``>`` marks, so that rule M1 sees the quoted line alone."""
    lead = len(line.text) - len(line.text.lstrip(" >\t"))
    lead = min(lead, line.hits[0].start - line.start)
    return Line(line.start + lead, line.end, line.text[lead:], line.hits)


def _weigh(draft: Draft, *, policy: bool, softly: bool = False) -> Draft:
    """*draft* with less confidence: possible in a text about levels or a disclaimer, probable where that is only likely."""
    if not policy and not softly:
        return draft
    ceiling = POSSIBLE if policy and softly else PROBABLE
    return Draft(draft.hit, min_confidence(draft.confidence, ceiling), draft.detector, draft.zone, draft.end)


def _findings(found: list[_Found], path: str) -> list[Finding]:
    """Findings of *found*: page zones weighed over the pages, alike ones reported three times at most."""
    pages: dict[tuple[Level, Zone], set[int]] = {}
    for item in found:
        if item.counts_pages:
            pages.setdefault((item.draft.hit.term.level, item.zone), set()).add(item.page)
    counted: dict[tuple[Level, Zone, str, Confidence], int] = {}
    findings: list[Finding] = []
    for item in found:
        draft, term = item.draft, item.draft.hit.term
        confidence = draft.confidence
        if item.counts_pages and (item.pages <= 1 or item.page == 0 or len(pages[term.level, item.zone]) > 1):
            confidence = CERTAIN
        if not term.verified or draft.hit.altered:
            confidence = min_confidence(confidence, PROBABLE)
        key = (term.level, item.zone, draft.detector, confidence)
        counted[key] = counted.get(key, 0) + 1
        if counted[key] > _ALIKE:
            continue
        start, end = draft.hit.start, max(draft.hit.end, draft.end)
        normal = item.context.normal
        words = normal.slice(start, min(end, start + _EVIDENCE))
        findings.append(
            Finding(
                level=term.level,
                path=path,
                zone=item.zone,
                text=words,
                language=term.language,
                confidence=confidence,
                detector=draft.detector,
                verified=term.verified and not draft.hit.altered,
                offset=item.base + normal.source(start),
                length=normal.source(end - 1) + 1 - normal.source(start),
            )
        )
    return findings
