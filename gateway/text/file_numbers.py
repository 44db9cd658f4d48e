"""File numbers: the references that official papers carry ("F. No. 2(22)/2013-EG-II").

What it is: ``SIGNS``, what such a reference begins with, and ``number``, which reads one.
Who calls it: ``topics`` puts the signs into its automaton; ``observing`` reads at each sign.
Must never: read further than a fixed distance; take a bare number ("No. 12345") or a date for a file number.
Sources: office memoranda and circulars in which the English forms stand; the forms in Indian languages are LIKELY. Gujarat
circular of 29 November 2018, section 4 (official records are kept; the Registry branch receives and routes).
"""

from __future__ import annotations

import re

from gateway.text.normalise import fold

SIGNS = tuple(fold(sign) for sign in (
    "f.no", "f. no", "f no.", "f.n.", "file no", "file number", "file ref", "d.o.", "d. o.", "d.o no", "do no.", "do letter", "o.m. no",
    "o.m.no", "om no.", "om no:", "o.m no", "u.o.", "uo no", "i.d. no", "i.d.no", "i.d. note", "id note", "circular no", "order no",
    "notification no", "letter no", "memo no", "g.o.", "no.", "no:", "no -", "फा.सं", "फा. सं", "फाइल सं", "मि.सं", "मि. सं", "अ.शा", "पत्र सं",
    "पत्रांक", "सं.", "क्रमांक", "प्र.क्र", "ક્રમાંક",
))  # fmt: skip
"""What a file number begins with, folded."""

_OWN = fold(
    r"(?:f\.? ?no|f\.n|file (?:no|number|ref)|d\. ?o|do (?:no|letter)|o\.?m\.? ?no|u\.o|uo no|i\.?d\.? ?(?:note|no)|g\.o|"
    r"(?:circular|order|notification|letter|memo) no|फा\. ?सं|फाइल सं|मि\. ?सं|अ\.शा|पत्र सं|पत्रांक)"
)
_BARE = fold(r"(?:no|सं|क्रमांक|प्र\.क्र|ક્રમાંક)")
_FILLER = fold(r"(?:[\s:.\-]{0,4}(?:letter|note|number|no|पत्र|सं|संख्या)(?![a-z])){0,2}[\s:.\-]{0,4}")
_REFERENCE = re.compile(rf"(?:(?P<own>{_OWN})|{_BARE}){_FILLER}(?P<value>[\w\u0900-\u0d7f][\w\u0900-\u0d7f()./&\-]{{4,60}}+)")
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)|/\d{2}-\d{2}(?!\d)")
_DATE = re.compile(r"\d{1,2}([/.\-])\d{1,2}\1(?:\d\d)?\d\d")
_REACH = 120  # characters from the sign to the end of the number


def number(text: str, place: int) -> str:
    """The file number whose sign stands at *place* of the folded *text* (Indian digits as ASCII); empty where there is none."""
    if place and (text[place - 1].isalnum() or text[place - 1] in "/@._-"):
        return ""
    match = _REFERENCE.match(text, place, place + _REACH)
    if match is None:
        return ""
    value = match["value"].rstrip(".-&(/")
    if not any(char.isdigit() for char in value) or "//" in value:
        return ""
    parts = value.count("/") + value.count("(")
    has_year = _YEAR.search(value) is not None
    if match["own"] is None:
        # "No." alone: only with several parts or a year, and no date.
        return value if (parts > 1 or (parts and has_year)) and not _DATE.fullmatch(value) else ""
    return value if parts or ("-" in value and has_year) else ""
