"""Handling caveats where they stand as a marking: FOR OFFICIAL USE ONLY, PERSONAL and the like. They are no levels.

What it is: ``find``, the names of the caveats in one text and where they stand.
Who calls it: ``observing``.
Must never: give a level; take a caveat in running text for a marking; look at more than a fixed number of places of a text.
Sources: rules/scheme.toml, ``[[caveat]]``; rules/README.md (a handling caveat, not one of the four grades).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.text.negatives import Shape, shape
from gateway.text.normalise import Normal, is_word_char
from gateway.text.scheme import Caveat, Scheme
from gateway.text.zones import Layout, Line
from gateway.verdict import Zone

_MOST = 200  # places of one text that are looked at for one caveat
_LONGEST_LINE = 200
_PAGE_ZONES = frozenset((Zone.PAGE_HEADER, Zone.PAGE_FOOTER, Zone.WATERMARK))
_FIELD = re.compile(r"\s*(?:[|()\[\]{}<>\t]+|//+|:(?=\s|\Z))\s*|\s+[-\u2010-\u2015*]+\s+|\s*[\u2013-\u2015]+\s*|\A\W+|\W+\Z")
# A dash between blanks, with the whole run around it; two runs side by side would look back over each other on a name of blanks.
_NAME_FIELD = re.compile(r"[()\[\]{}#~,.+]+|[-_ ][-\u2013\u2014][-_ \u2013\u2014]*[-_ ]|__+")
_NAME_JOIN = re.compile(r"[-_ ]+")


def find(normal: Normal, zone: Zone, scheme: Scheme, layout: Layout | None = None) -> Iterator[tuple[str, int]]:
    """Name and place of each caveat in *normal*, a text of *zone*, that stands there as a marking."""
    text = normal.text
    for caveat in scheme.caveats:
        if caveat.sign not in text:
            continue
        if zone is Zone.FILE_NAME:
            if _names(normal, caveat):
                yield caveat.name, 0
            continue
        for count, match in enumerate(caveat.pattern.finditer(text)):
            if count >= _MOST:
                break
            start, end = match.span()
            if (start and is_word_char(text[start - 1])) or (end < len(text) and is_word_char(text[end])):
                continue
            if not _written(normal.slice(start, end), caveat):
                continue
            layout = layout or Layout(text, scheme)
            if _stands(layout, zone, scheme, start, end):
                yield caveat.name, start
                break


def _written(words: str, caveat: Caveat) -> bool:
    """Whether *words* are written as a marking is: one word alone in capitals, more than one not in small letters."""
    form = shape(words, caveat.language)
    return form.strong or (form is Shape.TITLE and len(caveat.words) > 1)


def _stands(layout: Layout, zone: Zone, scheme: Scheme, start: int, end: int) -> bool:
    """Whether the caveat at *start* is a line of its own, a field of a short line, or the value of a key."""
    text = layout.text
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    last = len(text) if last < 0 else last
    if last - first > _LONGEST_LINE:
        return False
    line = Line(first, last, text[first:last], ())
    before = line.text[: start - first]
    if zone is Zone.BODY and not scheme.key_end.search(before):
        if layout.zone(line) is Zone.BODY or layout.in_disclaimer(line):
            return False
        # At the edges of running text nothing but the marking stands on its line; a list has it among others.
        return all(_alone(field, scheme) for field in _FIELD.split(line.text.strip(" >")))
    if scheme.key_end.search(before) or zone is Zone.PROPERTY:
        field = line.text[start - first :] if zone is not Zone.PROPERTY else line.text
        return _alone(_FIELD.split(field.strip())[0], scheme)
    reply = scheme.reply_prefix.match(line.text) if zone is Zone.SUBJECT else None
    at = reply.end() if reply else 0
    for cut in (*_FIELD.finditer(line.text, at), None):
        stop = len(line.text) if cut is None else cut.start()
        if at <= start - first and end - first <= stop:
            return _alone(line.text[at:stop], scheme)
        at = len(line.text) if cut is None else cut.end()
    return False


def _alone(field: str, scheme: Scheme) -> bool:
    """Whether *field* holds nothing but caveats, levels, numbers and what else may stand beside a marking."""
    rest = " ".join(scheme.rest(field))
    return not rest or rest in scheme.exact


def _names(normal: Normal, caveat: Caveat) -> bool:
    """Whether a field of a file name is the caveat and nothing else."""
    return any(
        _NAME_JOIN.sub(" ", field.strip("-_ ")).casefold() == " ".join(caveat.words) and _written(field, caveat)
        for field in _NAME_FIELD.split(normal.original)
    )
