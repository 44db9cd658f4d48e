"""Decide what terms prove in page headers and footers, watermarks, document properties and file names.

What it is: rule M4 for one segment, and the rules for names and properties.
Who calls it: ``markings``.
Must never: take a repeated name for a marking ("Confidential Report, page 2"): a term must be set off from other words.
Source: requirements on markings, the proposed detector (rule M4, zones).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.text.judgement import (
    CERTAIN,
    POSSIBLE,
    PROBABLE,
    Context,
    Draft,
    alone,
    control_block,
    whole_line,
)
from gateway.text.matcher import Hit
from gateway.text.negatives import Shape, delimited, in_address, names_a_thing
from gateway.text.normalise import Normal, normalise
from gateway.text.scheme import tokens
from gateway.text.zones import Line
from gateway.verdict import Confidence, Zone

_WORDS = 12
_CAPITALS = re.compile(r"[A-Z]{4}")
# A capital before small letters begins their word ("SECRETPlan") or ends the one before it ("SECRETplan").
_LOWER_PARTS = (re.compile(r"[A-Z]?[a-z0-9]+|[^A-Za-z0-9]"), re.compile(r"[a-z0-9]+|[^A-Za-z0-9]"))
_HARD_JOIN = frozenset("_-()[]{}+#~,.")
_JOINS = _HARD_JOIN | {"&"}


def page_line(context: Context, line: Line, zone: Zone) -> Iterator[tuple[Draft, bool]]:
    """Drafts of one line of a page header, footer or watermark; True where the number of pages decides (M4)."""
    scheme = context.scheme
    if alone(line, scheme):
        plain = line.part(line.start, line.end, keyed=False)
        form = context.shape(line.hits[0])
        if plain.hits:
            sure = CERTAIN if form is not Shape.LOWER or zone is Zone.WATERMARK else PROBABLE
            for draft in whole_line(plain, sure):
                yield draft, False
        return
    short = len(tokens(line.masked)) <= _WORDS
    for hit in line.hits:
        keyed = control_block(context, line, hit)
        if keyed is not None:
            yield keyed, False
            continue
        form = context.shape(hit)
        if hit.term.keyed or in_address(line, hit) or names_a_thing(line, hit, scheme):
            continue
        if short and delimited(line, hit, scheme):
            yield Draft(hit, PROBABLE, "page-zone"), form is not Shape.LOWER
        elif form is Shape.CAPITALS:
            yield Draft(hit, PROBABLE, "page-zone"), False
        elif form is Shape.TITLE:
            yield Draft(hit, POSSIBLE, "page-zone"), False


def property_line(context: Context, line: Line) -> Iterator[Draft]:
    """Drafts of a document property: a value that is only the term, or a key with its value."""
    if alone(line, context.scheme):
        plain = line.part(line.start, line.end, keyed=False)
        if plain.hits:
            yield from whole_line(plain, CERTAIN if context.shape(plain.hits[0]).strong else PROBABLE, "property")
        return
    for hit in line.hits:
        keyed = control_block(context, line, hit)
        if keyed is not None:
            yield Draft(hit, keyed.confidence, "property")
        elif context.shape(hit) is Shape.CAPITALS and not hit.term.keyed and not names_a_thing(line, hit, context.scheme):
            yield Draft(hit, POSSIBLE, "property")


def file_name(context: Context) -> Iterator[Draft]:
    """Drafts of a file name (folded, joins opened): sure only for a term in capitals, set off by a hard join, naming no thing."""
    scheme = context.scheme
    text = context.normal.text
    stem_end = text.rfind(".") if 0 < len(text) - text.rfind(".") <= 12 and "." in text else len(text)
    opened = _opened(text, stem_end)
    hits = scheme.matcher.search(opened)
    if not hits and text.isascii() and len(text) == len(context.normal.original):
        yield from _run_together(context, stem_end)
        return
    line = Line(0, len(opened.text), opened.text, tuple(hits))
    for hit in hits:
        if hit.term.keyed:
            continue
        if names_a_thing(line, hit, scheme):
            continue
        form = context.shape(hit)
        yield Draft(hit, _named(context, line, hit, form, stem_end), "file-name")


def _opened(folded: str, stem_end: int) -> Normal:
    """The stem with its joins as blanks, so that words have borders; places stay the same."""
    return normalise("".join(" " if char in _JOINS else char for char in folded[:stem_end]))


def _run_together(context: Context, stem_end: int) -> Iterator[Draft]:
    """A term in capitals that only a change of case sets off from other words ("noteSECRET2.pdf"): probable at most."""
    stem = context.normal.original[:stem_end]
    if stem.isupper() or not _CAPITALS.search(stem):
        return
    for lower in _LOWER_PARTS:
        for hit in context.scheme.matcher.search(normalise(lower.sub(lambda part: " " * len(part[0]), stem))):
            if not hit.term.keyed:
                yield Draft(hit, PROBABLE, "file-name")
                return


def _named(context: Context, line: Line, hit: Hit, form: Shape, stem_end: int) -> Confidence:
    text = context.normal.text
    left, right = text[: hit.start].rstrip(" "), text[hit.end : stem_end].lstrip(" ")
    only = not tokens(line.masked)
    hard = (not left or left[-1] in _HARD_JOIN) and (not right or right[0] in _HARD_JOIN)
    letters = [char for char in context.normal.slice(0, hit.start) + context.normal.slice(hit.end, stem_end) if char.isalpha()]
    shouted = bool(letters) and all(char.isupper() for char in letters)
    if form is Shape.CAPITALS:
        return CERTAIN if hard and (only or not shouted or not left or not right) else PROBABLE
    if form is Shape.NO_CASE:
        return CERTAIN if only else PROBABLE if hard else POSSIBLE
    if form is Shape.TITLE:
        return PROBABLE if hard or only else POSSIBLE
    return POSSIBLE
