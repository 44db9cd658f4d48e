"""Numbers of Indian passports in text.

What it is: ``passports``, over the folded text of one leaf.
Who calls it: ``observing``, where the word for passports stands in the text.
Must never: keep, log or return a number beyond the message that holds it; cost more than linear time.
Source: Ministry of External Affairs, form of the passport number (a letter but Q, X and Z, a digit but 0, six digits): LIKELY. There is
no checksum in it, so a number counts only where the word stands by it, or in a list under that word.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from gateway.text.identifiers import MOST, is_named
from gateway.text.normalise import fold

SIGNS = tuple(
    fold(sign) for sign in ("passport", "पासपोर्ट", "पारपत्र", "પાસપોર્ટ", "கடவுச்சீட்டு", "పాస్పోర్ట్", "ಪಾಸ್ಪೋರ್ಟ್", "পাসপোর্ট", "ਪਾਸਪੋਰਟ", "پاسپورٹ")
)
"""What a text holds that may hold such numbers, folded."""
_NUMBER = re.compile(r"(?<![\w@])(?<!\d[./\-])([a-pr-wy])[ \-]?([1-9]\d)[ ]?(\d{5})(?![\w@]|[./\-]\d)")
_WORD = re.compile("|".join(SIGNS))
_OTHER = re.compile(r"\b(?:invoice|order|ticket|pnr|flight|voucher|file|epic|licen[cs]e)\b")
_LOOKS = 10_000
_LIST = 3
"""Numbers of this form in a text with the word, from which on they are a list."""


def passports(text: str) -> Iterator[tuple[str, int]]:
    """The different passport numbers in the folded *text* (digits as ASCII), and where each stands first."""
    near: dict[str, int] = {}
    loose: dict[str, int] = {}
    for match in itertools.islice(_NUMBER.finditer(text), _LOOKS):
        number = match[1] + match[2] + match[3]
        if len(near) + len(loose) >= MOST:
            break
        start, end = match.span()
        if is_named(text, start, end, _WORD, _OTHER):
            near.setdefault(number, start)
        elif not _OTHER.search(text, max(0, start - 24), start):
            loose.setdefault(number, start)
    if len(near.keys() | loose.keys()) >= _LIST:
        near |= {number: start for number, start in loose.items() if number not in near}
    yield from near.items()
