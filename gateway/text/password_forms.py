"""How people write what they use as a password: dates, telephone and file numbers, words run together.

What it is: ``dates``, ``numbers``, ``file_numbers``, ``addresses``, ``cases``, ``joined`` (forms of what a text shows), ``described`` (what
a text says that the password is, without showing it as such) and ``spoken_alike``.
Who calls it: ``text.passwords``.
Must never: do I/O; keep or log what it found; be slower than linear.
Sources: docs/design.md section 10 ("protection.state") (*weak*: its password stands in the same message); hostile-inputs catalogue E05.
"""

from __future__ import annotations

import html
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")
_MOST_DATES, _MOST_NUMBERS, _MOST_FILES = 8, 8, 8
_FIGURES = re.compile(r"(?<!\d)(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})(?!\d)")
_MONTH = "|".join(f"{name[:3]}(?:{name[3:]})?" if name != "may" else name for name in _MONTHS) + "|sept"
_IN_WORDS = re.compile(
    rf"(?i)(?<!\d)(\d{{1,2}})(?:st|nd|rd|th)?[\s.,/-]{{0,3}}(?:of\s)?({_MONTH})\.?[\s.,/'’-]{{0,3}}(\d{{4}}|\d{{2}})(?!\d)"
)
_AMERICAN = re.compile(rf"(?i)(?<![a-z])({_MONTH})\.?\s{{0,2}}(\d{{1,2}})(?:st|nd|rd|th)?,?\s{{1,2}}(\d{{4}})(?!\d)")
_TELEPHONE = re.compile(r"(?<![\d/.])(?:\+|00)?\d(?:[ -]?\d){5,14}(?![\d/])")
_FILE = re.compile(r"(?<!\S)(?=\S{0,40}\d)[^\s,;:()<>@\"']{1,30}(?:[/-][^\s,;:()<>@\"'/]{1,30}){1,6}")
_ADDRESS = re.compile(r"([\w.+#$%&!*-]{1,64})@((?:[\w-]{1,63}\.){1,6}[\w-]{2,63})")
_INVISIBLE = dict.fromkeys((0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_DATE_WORDS = re.compile(r"(?i)date|d\.?o\.?b|birth|dd[./ -]?mm|yyyy|\bday\b|जन्म|दिनांक|तारीख|तिथि|તારીખ|tareekh|tarikh|janm")
_NUMBER_WORDS = re.compile(r"(?i)phone|mobile|\btel|\bcell|number|digits|figures|फोन|फ़ोन|मोबाइल|मोबाईल|नंबर|अंक|નંબર|નંબર|mobail")
_FILE_WORDS = re.compile(r"(?i)file|letter|\bo\.?m\b|reference|\bref\b|diary|dispatch|number|फाइल|फ़ाइल|पत्र|संख्या|क्रमांक")


def spoken_alike(text: str) -> str:
    """*text* as a reader sees it: without what is invisible, full width as plain, character references resolved."""
    seen = text.translate(_INVISIBLE)
    if not seen.isascii():
        seen = unicodedata.normalize("NFKC", seen)
    return html.unescape(seen) if "&" in seen else seen


def dates(text: str) -> Iterator[str]:
    """Dates as they stand, and as people type them: 05.08.1990 is also 05081990, 050890, 19900805, 05Aug1990 and 05-08-1990."""
    for number, match in enumerate(_FIGURES.finditer(text)):
        if number >= _MOST_DATES:
            break
        first, mark, middle, last = match[1], match[2], match[3], match[4]
        yield match[0]
        day, month, year = (last, middle, first) if len(first) == 4 else (first, middle, last)
        yield from _date(day, month, year)
        yield from (other.join((first, middle, last)) for other in "/-." if other != mark)
    found = [(one[1], one[2], one[3]) for one in itertools.islice(_IN_WORDS.finditer(text), _MOST_DATES)]
    found += [(one[2], one[1], one[3]) for one in itertools.islice(_AMERICAN.finditer(text), _MOST_DATES)]
    for day, name, year in dict.fromkeys(found):
        month = next(number for number, known in enumerate(_MONTHS, 1) if known[:3] == name[:3].lower())
        yield from _date(day, str(month), year)


def _date(day: str, month: str, year: str) -> Iterator[str]:
    day, month = day.zfill(2), month.zfill(2)
    full, short = (year, year[2:]) if len(year) == 4 else (f"20{year}", year.zfill(2))
    yield from (day + month + full, day + month + short)
    yield from (mark.join((day, month, full)) for mark in "-./")
    yield from (full + month + day, f"{full}-{month}-{day}", month + day + full)
    if 1 <= int(month) <= 12:
        name = _MONTHS[int(month) - 1]
        for shown in (name[:3].title(), name.title()):
            yield from (form for written in (shown, shown.lower(), shown.upper()) for form in (day + written + full,))
        yield f"{day}-{name[:3].title()}-{full}"
        yield day.lstrip("0") + name[:3].title() + full
    yield from (full, day + month)


def numbers(text: str) -> Iterator[str]:
    """Telephone numbers and the like, with and without what stands before and between them, and their last figures."""
    for number, match in enumerate(_TELEPHONE.finditer(text)):
        if number >= _MOST_NUMBERS:
            return
        figures = re.sub(r"\D", "", match[0])
        yield figures
        pieces = re.findall(r"\d+", match[0])
        yield from (piece for piece in pieces if len(piece) >= 4 and piece != figures)
        if len(figures) > 10:
            yield figures[-10:]
        yield from (figures[-4:], figures[-6:])


def file_numbers(text: str) -> Iterator[str]:
    """Numbers of files and letters, as they stand and as people type them."""
    for number, match in enumerate(_FILE.finditer(text)):
        if number >= _MOST_FILES:
            return
        whole = match[0].strip(".-/")
        behind = re.sub(r"^[A-Za-z]{1,3}\.(?:No\.)?", "", whole)
        for form in dict.fromkeys((whole, behind, whole.rpartition("-")[0], re.sub(r"^([A-Za-z]{1,3})\.", r"\1", whole))):
            if form:
                yield form
        yield from (re.sub(r"[^\w]+", mark, whole) for mark in ("", "-", "_"))
        yield re.sub(r"\D", "", whole)


def addresses(text: str) -> Iterator[str]:
    """Mail addresses and their parts."""
    for number, match in enumerate(_ADDRESS.finditer(text)):
        if number >= _MOST_NUMBERS:
            return
        yield from (match[0], match[1], match[2], match[2].partition(".")[0])


def cases(words: Iterable[str]) -> Iterator[str]:
    """The words in small letters, in capitals, with a capital first, and run together."""
    for word in words:
        run = re.sub(r"\s+", "", word)
        yield from (form for form in (run, run.lower(), run.upper(), run[:1].upper() + run[1:].lower()) if form != word)


def joined(words: list[str], most: int = 12) -> Iterator[str]:
    """Neighbours run together: a password that is said in two pieces."""
    for first, second in itertools.islice(itertools.pairwise(words), most):
        yield first + second


def described(text: str, around: str) -> Iterator[str]:
    """What may be meant where *around*, words beside "password", only describe it: the date of the letter, the file number."""
    if _FILE_WORDS.search(around):
        yield from itertools.islice(file_numbers(text), 16)
    if _DATE_WORDS.search(around):
        yield from itertools.islice(dates(text), 40)
    if _NUMBER_WORDS.search(around):
        yield from itertools.islice(numbers(text), 16)
