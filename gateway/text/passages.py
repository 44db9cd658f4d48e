"""Passages of a text as fingerprints, by which quoted text is recognised without being kept.

What it is: ``fingerprints``, those of every place of a text, ``asked``, those of a reply that are looked up, and ``samples``, the few
that are kept of a marked text; ``own``, what a writer says himself; ``is_reply``, ``quotes`` and ``repeats``, whether somebody
answers, forwards or quotes.
Who calls it: ``observing``, for messages that are marked and for those that answer, forward or quote something.
Must never: give back words of the text; cost more than linear time; do I/O.
Source: J&K Circular 26-JK(GAD) of 2024 (no downgrading to share; rule R7).

A fingerprint is a hash of twelve words in a row, folded and without punctuation, so that wrapping, indents and the marks of quoted
mail change nothing. Of a marked text ``KEPT`` of them are kept, at equal distances; of an answer every one is looked up, and in a long
one, from word 1,000 on, those with the smallest values: wherever in a thread of 3,000 words a whole marked letter stands, it is
recognised in 999 of 1,000 cases, in one of 8,000 in nine of ten. So what holds
a sixteenth of a marked text and eleven words more is recognised for certain (of 100 words any 17 in a row, of 500 any 43), a smaller
part by chance, and less than twelve words never. A row of words that stand in every other official letter (``common`` in
rules/topics.toml) is no passage, and what follows a closing, paragraphs of disclaimers and quoted mail are not a writer's own:
otherwise every letter would quote every other.
"""

from __future__ import annotations

import heapq
import itertools
import operator
import re
import unicodedata
from collections.abc import Iterable
from hashlib import blake2b

from gateway.text.scheme import Scheme
from gateway.text.zones import Layout, Line

WORDS = 12
"""Words of one passage."""
_ORDINARY = 7
"""Of them, those that may stand in every other letter."""
KEPT = 16
"""Fingerprints that are kept of one marked text."""
ASKED = 1000
"""Fingerprints of a reply that are looked up whatever they are: those of its first 1,000 words and more, since rows of common words have
none. Of the rest as many again."""
LOOKED = 8000
"""Fingerprints of a reply that are computed."""
LONGEST = 200_000
"""Characters of one text that are looked at."""

_CLOSING_LINES = 15  # lines from the end in which a letter is closed
_LONGEST_CLOSING = 48
_PUNCTUATION = {
    code: " "
    for code in (*range(0x80), *range(0xA0, 0x100), *range(0x2000, 0x2070), 0x964, 0x965, 0x3000, 0x3001, 0x3002)
    if unicodedata.category(chr(code))[0] in "PSZC"
}
_ASCII = bytes(ord(_PUNCTUATION.get(octet, chr(octet))) for octet in range(0x80)) + bytes(range(0x80, 0x100))
_DANDAS = ("\u0964", "\u0965")
_OTHER = "".join(chr(code) for code in _PUNCTUATION if code >= 0x80 and chr(code) not in _DANDAS) + "\x85\u1680"  # and the other blanks
_OTHERS = tuple(
    (lead, re.compile(b"|".join(re.escape(sign) for sign in map(str.encode, _OTHER) if sign.startswith(lead))))
    for lead in sorted({sign.encode()[:1] for sign in _OTHER})
)
"""Punctuation beyond ASCII and the dandas, in UTF-8, by its first octet: most texts hold none of these."""
_UNUSED = blake2b(digest_size=8)
"""A copy of it is the quickest way to a new one."""
_REPLY = re.compile(
    r"\s*(?:\[[^\]]{0,40}\]\s*)*(?:re|r|fw|fwd|aw|wg|sv|vs|tr|rv|उत्तर|प्रत्युत्तर|अग्रेषित|अग्रेषण|फॉरवर्ड|જવાબ|फॉर्वर्ड|ફોરવર્ડ|பதில்|ਜਵਾਬ|جواب)"
    r"\s*(?:[\[(]\d{1,3}[\])])?\s*:"
)
_ANNOUNCED = ("original message", "forwarded message")
_INTRODUCED = re.compile(r":(?:(?<=wrote:)|(?<=\nfrom:))")
_HINDI = ("लिखा", "प्रेषक")
"""Pieces of the heads that programs put over what they quote; what is one, ``Layout`` knows."""
_DRAWN = "_-=*~+"
_RULE = re.compile(rf"\s*[{re.escape(_DRAWN)}]{{20,}}\s*")
"""A line across the page: what follows it near the end is the footer of a list, or of a program."""


def is_reply(subject: str) -> bool:
    """Whether the folded *subject* begins with a word that mail programs put before it when somebody answers or forwards."""
    return _REPLY.match(subject) is not None


def quotes(text: str) -> bool:
    """Whether lines of *text* are marked as quoted. Cheap."""
    return ">" in text and ("\n>" in text or "\n >" in text or text.startswith(">"))


def repeats(text: str, scheme: Scheme, layout: Layout | None = None) -> bool:
    """Whether the folded *text* goes on with mail of somebody else below a head like "-----Original Message-----". Cheap where not.

    *layout* is that of *text* where somebody has it already.
    """
    if not (
        _INTRODUCED.search(text) or ("message" in text and any(head in text for head in _ANNOUNCED)) or any(head in text for head in _HINDI)
    ):
        return False
    if layout is None or len(text) > LONGEST:
        layout = Layout(text[:LONGEST], scheme)
    return layout.quoted_from() < len(layout.text)


def fingerprints(text: str, most: int, scheme: Scheme) -> tuple[bytes, ...]:
    """The fingerprints of 8 octets of every place of the folded *text*, the first *most*; none where it is shorter than a passage."""
    words = _words(text)
    ordinary = [0, *itertools.accumulate(map(scheme.watch.topics.common.__contains__, words))]
    joined = b" ".join(words)
    octets = [0, *itertools.accumulate(map(len, words))]  # before each word, without the blanks between them
    places = [place for place, many in enumerate(map(operator.sub, itertools.islice(ordinary, WORDS, None), ordinary)) if many <= _ORDINARY]
    return tuple([_hashed(joined[octets[place] + place : octets[place + WORDS] + place + WORDS - 1]) for place in places[:most]])


def asked(texts: Iterable[str], scheme: Scheme) -> tuple[bytes, ...]:
    """The fingerprints of a reply, whose folded *texts* these are, that are looked up: at most twice ``ASKED``."""
    found: dict[bytes, None] = {}
    for text in texts:
        if len(found) < LOOKED:
            found.update(dict.fromkeys(fingerprints(text, LOOKED - len(found), scheme)))
    every = list(found)
    return (*every[:ASKED], *heapq.nsmallest(ASKED, every[ASKED:]))


def samples(text: str, scheme: Scheme) -> tuple[bytes, ...]:
    """At most ``KEPT`` of the fingerprints of the folded *text*, at equal distances."""
    words = _words(text)
    places = len(words) - WORDS + 1
    step = max(1, -(-places // KEPT))
    is_common = scheme.watch.topics.common.__contains__
    found = []
    for start in range(0, places, step):
        place, end = start, min(start + step, places)
        ordinary = list(map(is_common, words[place : place + WORDS]))
        while (too_many := ordinary.count(True) - _ORDINARY) > 0:
            place += too_many  # one place further there is at most one less of them
            if place >= end:
                break
            ordinary = ordinary[too_many:] + list(map(is_common, words[place + WORDS - too_many : place + WORDS]))
        else:
            found.append(_hashed(b" ".join(words[place : place + WORDS])))
    return tuple(found)


def _words(text: str) -> list[bytes]:
    text = text[:LONGEST]
    if text.isascii():
        return text.encode("ascii").translate(_ASCII).split()
    for sign in _DANDAS:
        text = text.replace(sign, " ")
    data = text.encode("utf-8", "surrogatepass").translate(_ASCII)
    for lead, signs in _OTHERS:
        if lead in data:
            data = signs.sub(b" ", data)
    return data.split()


def _hashed(passage: bytes) -> bytes:
    value = _UNUSED.copy()
    value.update(passage)
    return value.digest()


def own(text: str, scheme: Scheme, layout: Layout | None = None) -> str:
    """What the writer of the folded body *text* says himself: without quoted mail, disclaimers and what follows the closing.

    *layout* is that of *text* where somebody has it already.
    """
    if layout is None or len(text) > LONGEST:
        layout = Layout(text[:LONGEST], scheme)
    text = layout.text
    disclaims = layout.in_disclaimer(Line(0, len(text), "", ()))  # somewhere
    text = text[: layout.quoted_from()]
    if quotes(text):
        text = "\n".join("" if line.lstrip().startswith(">") else line for line in text.split("\n")).rstrip()
        layout = Layout(text, scheme)
    ends = text.rsplit("\n", _CLOSING_LINES)
    closings = scheme.watch.topics.closings
    cut = len(text)
    place = len(ends[0])
    for line in ends[1:]:
        words = line.strip(" ,.!:-\t\r*")
        if len(words) > _LONGEST_CLOSING and words[0].isalnum():
            pass  # prose
        elif (
            (words and len(words) <= _LONGEST_CLOSING and words in closings)
            or line.rstrip() == "--"
            or (not line.strip().strip(_DRAWN) and _RULE.fullmatch(line))
        ):
            cut = place
            break
        place += 1 + len(line)
    text = text[:cut]
    if not disclaims:
        return text
    kept, place = [], 0
    for line in text.split("\n"):
        if not layout.in_disclaimer(Line(place, place + len(line), line, ())):
            kept.append(line)
        place += len(line) + 1
    return "\n".join(kept)
