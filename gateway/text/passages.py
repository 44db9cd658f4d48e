"""Passages of a text as fingerprints, by which quoted text is recognised without being kept.

What it is: ``fingerprints``, which are the same however the text is wrapped, indented or marked with ``>``; ``own``, what a writer
says himself; ``is_reply``, whether a subject says that it answers or forwards something.
Who calls it: ``observing``, for messages that are marked and for those that answer or forward something.
Must never: give back words of the text; cost more than linear time; do I/O.
Sources: J&K Circular 26-JK(GAD) of 2024 (no downgrading to share; rule R7); Schleimer, Wilkerson and Aiken, "Winnowing: local
algorithms for document fingerprinting" (2003).

A fingerprint is a hash of twelve words in a row, folded and without punctuation. Of each four that follow one another one is kept,
the same one wherever the passage stands: two texts that share fifteen words in a row share a fingerprint, and less than twelve never.
A row of words that stand in every other official letter (``common`` in rules/topics.toml) is no passage, and what follows a closing,
paragraphs of disclaimers and quoted mail are not a writer's own: otherwise every letter would quote every other.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
import zlib
from hashlib import blake2b

from gateway.text.scheme import Scheme
from gateway.text.zones import Layout, Line

WORDS = 12
"""Words of one passage."""
_UNCOMMON = 5
"""Of them, those that do not stand in every other letter."""
_WINDOW = 4
MOST_KEPT = 200
"""Fingerprints of a marked message that are kept: those of some 500 words."""
MOST_ASKED = 1000
"""Fingerprints of a reply that are looked up: those of some 2,500 words."""
LONGEST = 200_000
"""Characters of one text that are looked at."""

_NONE = 1 << 32  # more than any value: a row of words that is no passage
_CLOSING_LINES = 15  # lines from the end in which a letter is closed
_LONGEST_CLOSING = 48
_PUNCTUATION = {
    code: " "
    for code in (*range(0x80), *range(0xA0, 0x100), *range(0x2000, 0x2070), 0x964, 0x965, 0x3000, 0x3001, 0x3002)
    if unicodedata.category(chr(code))[0] in "PSZC"
}
_REPLY = re.compile(
    r"\s*(?:\[[^\]]{0,40}\]\s*)*(?:re|r|fw|fwd|aw|wg|sv|vs|tr|rv|उत्तर|प्रत्युत्तर|अग्रेषित|अग्रेषण|फॉरवर्ड|જવાબ|फॉर्वर्ड|ફોરવર્ડ|பதில்|ਜਵਾਬ|جواب)"
    r"\s*(?:[\[(]\d{1,3}[\])])?\s*:"
)
_RULE = re.compile(r"\s*[_\-=*~+]{20,}\s*")
"""A line across the page: what follows it near the end is the footer of a list, or of a program."""
_QUOTE_MARK = re.compile(r"[ \t]*>")


def is_reply(subject: str) -> bool:
    """Whether the folded *subject* begins with a word that mail programs put before it when somebody answers or forwards."""
    return _REPLY.match(subject) is not None


def quotes(text: str) -> bool:
    """Whether lines of *text* are marked as quoted. Cheap."""
    return "\n>" in text or "\n >" in text or text.startswith(">")


def fingerprints(text: str, most: int, scheme: Scheme) -> tuple[bytes, ...]:
    """At most *most* fingerprints of 8 octets of the folded *text*, in its order; none where it is shorter than one passage.

    Of a longer text those with the lowest values, so that two long texts that share much still share some.
    """
    words = text[:LONGEST].translate(_PUNCTUATION).split()
    if len(words) < WORDS:
        return ()
    data = " ".join(words).encode("utf-8", "surrogatepass")
    if len(data) == sum(map(len, words)) + len(words) - 1:
        starts = [0, *itertools.accumulate(len(word) + 1 for word in words)]
    else:
        starts = [0, *itertools.accumulate(len(word.encode("utf-8", "surrogatepass")) + 1 for word in words)]
    common = scheme.watch.topics.common
    uncommon = [0, *itertools.accumulate(word not in common for word in words)]
    crc = zlib.crc32
    values = [
        crc(data[start : end - 1]) if after - before >= _UNCOMMON else _NONE
        for start, end, before, after in zip(starts, starts[WORDS:], uncommon, uncommon[WORDS:], strict=False)
    ]
    # Of each window the lowest: whoever reads the same words chooses the same one.
    lowest = map(min, *(values[offset:] for offset in range(_WINDOW))) if len(values) >= _WINDOW else (min(values),)
    kept = dict.fromkeys(lowest)
    kept.pop(_NONE, None)
    places = dict(zip(values, itertools.count(), strict=False))
    chosen = list(kept) if len(kept) <= most else sorted(kept)[:most]
    return tuple(
        blake2b(data[starts[place] : starts[place + WORDS] - 1], digest_size=8, person=b"passage").digest()
        for place in (places[value] for value in chosen)
    )


def own(text: str, scheme: Scheme) -> str:
    """What the writer of the folded body *text* says himself: without quoted mail, disclaimers and what follows the closing."""
    layout = Layout(text[:LONGEST], scheme)
    text = layout.text
    end = layout.quoted_from()
    lines: list[tuple[int, str]] = []
    place = 0
    for line in text[:end].split("\n"):
        if line.rstrip() in ("--", "-- "):
            break
        if line.strip() and not _QUOTE_MARK.match(line):
            lines.append((place, line))
        place += len(line) + 1
    closings = scheme.watch.topics.closings
    for index in range(max(0, len(lines) - _CLOSING_LINES), len(lines)):
        words = lines[index][1].strip(" ,.!:-\t\r*")
        if (words and len(words) <= _LONGEST_CLOSING and words in closings) or _RULE.fullmatch(lines[index][1]):
            lines = lines[:index]
            break
    return "\n".join(line for start, line in lines if not layout.in_disclaimer(Line(start, start + len(line), line, ())))
