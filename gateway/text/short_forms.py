"""Short forms of markings: ``[TS]``, ``(C)``, ``//S//``, ``RESTD``.

What it is: ``find``, which looks at the first and last line of one text, or at the edges of a subject.
Who calls it: ``markings`` for every text.
Must never: look further than the ends of a text, or be surer than probable: one letter in brackets has many other meanings.
Source: requirements on markings, abbreviations: they count only inside of brackets or strokes, or as a whole line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.text.judgement import POSSIBLE, PROBABLE, TAGS
from gateway.text.normalise import fold
from gateway.text.scheme import Scheme
from gateway.verdict import Finding, Zone

_EDGE = 48  # characters at each end of a text in which a short form may stand
_WIDTH = 40  # of a line that holds a short form and a page number
_LONGEST = 1000  # of a subject
_FORM = r"(?:\[\s?([A-Z]{1,6})(?://[A-Z/ ]{1,20})?\s?\]|\(\s?([A-Z]{1,6})(?://[A-Z/ ]{1,20})?\s?\)|//\s?([A-Z]{1,6})\s?//)"
_WHOLE = re.compile(_FORM)
_STROKES = re.compile(r"([A-Z]{1,6})//[A-Z][A-Z/ ]{1,20}")  # with a caveat: "TS//NOFORN"
_AT_START = re.compile(rf"{_FORM}(?![\w(])\s*[:\-\u2013\u2014]?\s*")
_AT_END = re.compile(rf"(?<=\s){_FORM}\s*\Z")
_NAMED = re.compile(r"([A-Z]{2,6})\s*(?::|\s[-\u2010-\u2015]|\s?[\u2013\u2014])\s*(?=\S)")
_SIGN = re.compile(r"[\[(:]|//")
"""What every form in a subject has but those that begin with its letters, and what stands behind a reply's prefix."""
_NUMBER_NEXT = re.compile(r"\d|[A-Z][a-z]+ \d")  # "(C) 2024", "(R) Rule 7": a copyright, a number of a list


def find(text: str, zone: Zone, path: str, scheme: Scheme, base: int) -> Iterator[Finding]:
    """The short forms in *text*, whose first character stands at *base* of the leaf's text."""
    if zone is Zone.SUBJECT:
        yield from _subject(text[:_LONGEST], path, scheme, base)
        return
    head = text[:_EDGE].lstrip().partition("\n")[0].strip()
    tail = text[-_EDGE:].rstrip().rpartition("\n")[2].strip() if len(text) > _EDGE else ""
    for part in (head, tail) if tail else (head,):
        if not part or len(part) > _WIDTH:
            continue
        if "[" not in part and "(" not in part and "//" not in part and part.split(None, 1)[0] not in scheme.whole_line:
            continue
        form = _line(part, scheme)
        if form is None:
            continue
        words, single = form
        level = scheme.whole_line.get(words) or scheme.bracketed.get(_letters(words))
        if level is None:
            continue
        where = zone
        if zone is Zone.BODY:
            where = Zone.BODY_FIRST if part is head else Zone.BODY_LAST
        # "(c)" in capitals as the last line of a page is rather an item of a list than a marking.
        confidence = POSSIBLE if single and where is Zone.BODY_LAST else PROBABLE
        place = text.find(words) if part is head else text.rfind(words)
        yield Finding(level, path, where, words, "", confidence, "short-form", verified=False, offset=base + place, length=len(words))


def _letters(words: str) -> str:
    match = _WHOLE.fullmatch(words) or _STROKES.fullmatch(words)
    return next((group for group in match.groups() if group), "") if match else ""


def _line(part: str, scheme: Scheme) -> tuple[str, bool] | None:
    """The short form that *part* is, beside page numbers and caveats at most; and whether it is one letter in round brackets."""
    if part in scheme.whole_line:
        return part, False
    match = _WHOLE.search(part) or _STROKES.match(part)
    if match is None:
        for word in scheme.whole_line:
            if part.startswith(word + " ") and not scheme.rest(fold(part[len(word) :])):
                return word, False
        return None
    if scheme.rest(fold(part[: match.start()] + " " + part[match.end() :])):
        return None
    return match[0], match[0][0] == "(" and len(_letters(match[0])) == 1


def _subject(text: str, path: str, scheme: Scheme, base: int) -> Iterator[Finding]:
    """A short form that begins (behind Re: and tags of gateways and lists) or ends the subject *text*."""
    if not _SIGN.search(text) and text.strip() not in scheme.whole_line and not _NAMED.match(text.lstrip()):
        return
    folded_prefix = scheme.reply_prefix.match(text[:200].lower())
    start = folded_prefix.end() if folded_prefix else 0
    while start < len(text) and text[start].isspace():
        start += 1
    found: list[tuple[int, int, str, bool]] = []
    """Start, end, letters, whether it may well be something else."""
    while True:
        match = _AT_START.match(text, start)
        letters = _letters(match[0].rstrip(" :-\u2013\u2014")) if match else ""
        if match is not None and letters in scheme.bracketed:
            other = text[start] == "(" and len(letters) == 1 and _NUMBER_NEXT.match(text, match.end()) is not None
            found.append((start, start + len(match[0].rstrip(" :-\u2013\u2014")), letters, other))
            break
        tag = TAGS.match(text, start)
        if tag is None or tag.end() == start:
            break
        start = tag.end()
    named = _NAMED.match(text, start)
    if named is not None and named[1] in scheme.whole_line:
        found.append((start, named.end(1), named[1], True))
    if text.strip() in scheme.whole_line:
        place = text.find(text.strip())
        found.append((place, place + len(text.strip()), text.strip(), False))
    last = _AT_END.search(text, max(0, len(text) - _EDGE))
    if last is not None:
        letters = _letters(last[0].strip())
        found.append((last.start(), last.start() + len(last[0].strip()), letters, last[0][0] == "(" and len(letters) == 1))
    for begin, end, letters, doubtful in found:
        level = scheme.bracketed.get(letters) or scheme.whole_line.get(letters)
        if level is not None:
            words = text[begin:end]
            confidence = POSSIBLE if doubtful else PROBABLE
            yield Finding(
                level, path, Zone.SUBJECT, words, "", confidence, "short-form", verified=False, offset=base + begin, length=len(words)
            )
