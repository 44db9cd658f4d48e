"""Personal numbers in text: Aadhaar, its Virtual ID, and PAN.

What it is: ``Personal`` collects the different Aadhaar numbers of one text and weighs them; ``pans`` reads PANs; ``digits`` and
``candidates`` come before them.
Who calls it: ``observing``.
Must never: keep, log or return a number beyond the message that holds it; cost more than linear time.
Sources: UIDAI, statement of January 2018 as reported in the press (an Aadhaar number has 12 digits and a Virtual ID 16, the last
of each a Verhoeff checksum): LIKELY; Income Tax Department, structure of the PAN (the fourth letter is the type of holder): LIKELY.
The checksum lets one number in ten pass, so it is never enough by itself. A number counts where the word for it stands by it; and
where so many of the leaf's numbers of one form pass that chance is no explanation (the whole of one form alone, or a list).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import NamedTuple

_TIMES = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_PERMUTED = ("0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258")
# Both tables in one: the running value and the digit give the next value, for each of the eight places.
_STEPS = tuple(tuple(tuple(int(_TIMES[value][int(row[digit])]) for digit in range(10)) for value in range(10)) for row in _PERMUTED)

MOST = 3000
"""Different candidates of one text that are weighed; the counts are cut off at 1,000 long before that."""
_LOOKS = 10_000  # candidates of one text, also equal ones, that are looked at

# What stands between the groups of a number: blanks (a no-break space is folded to one before this), a dash or a point.
_GAP = r"(?: {1,3}| ?[\-.‒-―] ?)"
# More digits behind a point, a slash, a colon or a dash are of one number with these, but for a date, a year, or the next number of
# a list. Behind a comma they are another column of a table: amounts have at most three digits together behind a comma
# (12,34,56,789), never four or twelve.
# The first digit comes before the look at what stands before it: so a search skips all else at once.
_FIRST = r"[2-9](?:(?<![\w+][2-9])|(?<=aadhaar[2-9])|(?<=aadhar[2-9])|(?<=uid[2-9]))(?<!\d[:\-‒-―][2-9])"
_ENDS = (
    r"(?!\w)(?:(?![./:\-‒-―]\d)|(?=[/\-](?:\d{1,2}[/.\-]\d{1,2}[/.\-])?(?:19|20)\d\d(?!\d))"
    rf"|(?=/[2-9]\d{{3}}{_GAP}?\d{{4}}{_GAP}?\d{{4}}(?!\d)))"
)
_START = re.compile(r"\d(?:(?<![\w+]\d)|(?<=aadhaar\d)|(?<=aadhar\d)|(?<=uid\d))")
"""Where a number may begin at all; most long rows of digits in mail are parts of a name or a hash."""
_AADHAAR = re.compile(rf"({_FIRST}\d{{3}})(?:(\d{{4}})(\d{{4}})|(?P<gap>{_GAP})(\d{{4}}){_GAP}(\d{{4}})){_ENDS}")
# The same over one line end (and the marks of quoted mail): one of its two gaps is such, and the word for it stands by it.
_OVER = r"(?: {0,2}\r?\n[> ]{0,6})"
_BROKEN = re.compile(
    rf"({_FIRST}\d{{3}})(?:{_GAP}(\d{{4}}){_OVER}(\d{{4}})|{_OVER}(\d{{4}}){_GAP}(\d{{4}})|(\d{{4}}){_OVER}(\d{{4}})|{_OVER}(\d{{4}})(\d{{4}})){_ENDS}"
)
_BEHIND_DIGIT = re.compile(rf"(?:(?:^|[\s,;|(])\d{{1,4}}\.|(?:\d{{12}}|\d{{4}}{_GAP}\d{{4}}{_GAP}\d{{4}})/)\Z")
"""What may stand before a number although a digit is in it: its place in a list (``17.``), or another number and a slash."""
_VID = re.compile(rf"(?<![\w+])(?<!\d[./:\-‒-―])\d{{4}}(?P<gap>(?:{_GAP})?)\d{{4}}(?P=gap)\d{{4}}(?P=gap)\d{{4}}(?!\w)(?![./:\-‒-―]\d)")
_FOUR_BEFORE = re.compile(rf"(?<!\d)\d{{4}}{_GAP}\Z")
_FOUR_BEHIND = re.compile(rf"{_GAP}\d{{4}}(?!\d)")
_YEAR = re.compile(r"(?:19|20)\d\d")
_PAN = re.compile(r"(?<![\w/@.\-])[a-z]{3}[abcfghjlpt][a-z]\d{4}[a-z](?![\w/@\-])(?!\.\w)")
_AADHAAR_WORD = re.compile(r"(?<![^\W_])(?:a+dh?a+r|aadhaar|uidai|uid\b|आधार|આધાર|ಆಧಾರ್|ஆதார்|ఆధార్|আধার|ਆਧਾਰ)")
_VIRTUAL = re.compile(r"v(?:id|irtual)")
_VID_WORD = re.compile(r"\bvid\b|virtual[ _-]?id")
_PAN_WORD = re.compile(r"\bpan\b|permanent account|(?<![^\W_])पैन")
# Another label between the word and the number: the number is that one's.
_OTHER_WORD = re.compile(
    r"\b(?:mob(?:ile)?|ph(?:one)?|tel(?:ephone)?|fax|contact|a/c|account|acct|awb|tracking|consignment|utr|txn|transaction|invoice|order)\b"
)
_BEFORE, _BEHIND = 80, 24  # characters to each side in which the word for a number must stand

_CLASSES = bytes(0x61 if 0x61 <= octet <= 0x7A else 0x39 if 0x30 <= octet <= 0x39 else 0x20 for octet in range(256))
_SAME = bytes(0x39 if 0x30 <= octet <= 0x39 else octet for octet in range(256))
_ROOM = 40  # characters around four digits: more than a number with its gaps and what may stand at its ends
_FOUR, _SEVEN, _NINE, _TWELVE, _THIRTEEN, _FORM, _CODE = b"9" * 4, b"9" * 7, b"9" * 9, b"9" * 12, b"9" * 13, b"aaaaa9999a", b"aaaa9"
_BEHIND_FOUR = re.compile(rb"9(?<=[a-z]{4}9)")
"""A digit behind four letters: without one there is neither ``_FORM`` nor ``_CODE``."""
_BREAKS = b"\r\n>"
_WORD_SIGNS = ("adhaar", "adhar", "uid", "आधार", "આધાર")
_BROKEN_SIGNS = tuple(sign.encode() for sign in _WORD_SIGNS)
"""Words without which a number is not looked for over a line end."""
_GAPS = b" -.\xe2\x80\x92\x93\x94\x95"  # also the octets of the dashes
# The ten digits of each script in which Indian languages are written, and the Arabic ones that Urdu uses.
_ZEROS = "०০੦૦୦௦౦೦൦٠۰"
_DIGITS = {ord(zero) + value: str(value) for zero in _ZEROS for value in range(10)}
_INDIC = re.compile("[" + "".join(f"{zero}-{chr(ord(zero) + 9)}" for zero in _ZEROS) + "]")


_OTHER_DIGIT = re.compile(r"[^\W\D0-9]")
_BEYOND = re.compile("[\U00010000-\U0010ffff]")
"""Digits of other scripts are digits to the patterns above: where one may stand the whole text is looked at."""


def digits(text: str) -> str:
    """*text* with the digits of Indian scripts as ASCII digits; the length stays the same."""
    return text.translate(_DIGITS) if not text.isascii() and _INDIC.search(text) else text


class Signs(NamedTuple):
    """What may stand in a text."""

    aadhaar: bool = False
    pan: bool = False
    card: bool = False
    account: bool = False
    ifsc: bool = False
    seven: bool = False
    """Seven digits together."""


_NONE = Signs()


def candidates(folded: bytes) -> Signs:
    """What may stand in *folded* text. Cheap."""
    dense = folded.translate(_SAME, _GAPS)
    if _FOUR not in dense:
        return _NONE
    nine = _NINE in dense
    twelve = nine and _TWELVE in dense
    broken = not twelve and _TWELVE in dense.translate(None, _BREAKS) and any(sign in folded for sign in _BROKEN_SIGNS)
    classes = folded.translate(_CLASSES) if _BEHIND_FOUR.search(dense) else b""
    return Signs(
        twelve or broken, _FORM in classes, twelve and _THIRTEEN in dense, nine, nine and _CODE in classes, nine or _SEVEN in dense
    )


def checks(number: str) -> bool:
    """Whether the Verhoeff checksum of *number* holds; digits of scripts that ``digits`` does not know have none."""
    if not number.isascii():
        return False
    value = 0
    for place, digit in enumerate(reversed(number)):
        value = _STEPS[place & 7][value][ord(digit) - 48]
    return value == 0


def stretches(text: str) -> tuple[tuple[int, int], ...]:
    """The stretches of *text* that hold four digits together and may hold the beginning of a number, each with room to both sides.

    The rest needs no closer look.
    """
    if not text.isascii() and (_OTHER_DIGIT.search(text) or _BEYOND.search(text)):
        return ((0, len(text)),)
    dense = text.encode("ascii", "replace").translate(_SAME)  # an octet for each character
    found = []
    low = high = 0
    at = dense.find(_FOUR)
    while at >= 0:
        if at - _ROOM > high:
            if high:
                found.append((low, high))
            low = max(0, at - _ROOM)
        high = min(len(text), at + _ROOM)
        at = dense.find(_FOUR, at + 4)
    if high:
        found.append((low, high))
    return tuple(span for span in found if _START.search(text, *span))


class Personal:
    """The candidates of one text, until they are weighed."""

    def __init__(self) -> None:
        self._near: dict[str, int] = {}
        self._loose: tuple[dict[str, int], dict[str, int]] = ({}, {})
        """Candidates without the word by them: written in one, and in groups of four. The value is where each stands."""
        self._columns: dict[tuple[bool, int], dict[str, int]] = {}
        """The same by the column of a table that they stand in."""
        self._text = ""

    def look(self, text: str, spans: Iterable[tuple[int, int]] | None = None) -> None:
        """Takes the candidates for Aadhaar numbers from the folded *text* (digits as ASCII); *spans* are its ``stretches``."""
        self._text = text
        for low, high in stretches(text) if spans is None else spans:
            self._look_at(text, low, high)
        if "\n" in text and any(sign in text for sign in _WORD_SIGNS):
            self._over_line_ends(text)
        if _VIRTUAL.search(text):
            self._virtual(text)

    def _look_at(self, text: str, low: int, high: int) -> None:
        for match in itertools.islice(_AADHAAR.finditer(text, low, high), _LOOKS):
            if len(self._near) + len(self._loose[0]) + len(self._loose[1]) >= MOST:
                return
            start, end = match.span()
            groups = "".join(filter(None, (match[1], match[2], match[3], match[5], match[6])))
            behind_digit = start > 1 and text[start - 1] in "./" and text[start - 2].isdigit()
            if behind_digit and not (match["gap"] or text[start - 1] == "/"):
                continue  # the end of a longer number or of an amount
            if behind_digit and not _BEHIND_DIGIT.search(text, max(0, start - 24), start):
                continue
            if match["gap"] and (_FOUR_BEFORE.search(text, max(0, start - 10), start) or _FOUR_BEHIND.match(text, end)):
                continue  # a longer number, or a table of numbers of four digits
            if match["gap"] and all(_YEAR.fullmatch(groups, at, at + 4) for at in (0, 4, 8)):
                continue
            if is_named(text, start, end, _AADHAAR_WORD):
                if checks(groups):
                    self._near.setdefault(groups, start)
            elif not _OTHER_WORD.search(text, max(0, start - _BEHIND), start):
                self._loose[bool(match["gap"])].setdefault(groups, start)
                if column := _column(text, start):
                    self._columns.setdefault((bool(match["gap"]), column), {}).setdefault(groups, start)

    def _over_line_ends(self, text: str) -> None:
        for word in itertools.islice(_AADHAAR_WORD.finditer(text), _LOOKS):
            for match in _BROKEN.finditer(text, word.end(), min(len(text), word.end() + _BEFORE + _ROOM)):
                groups = "".join(group for group in match.groups() if group is not None)
                if len(self._near) < MOST and checks(groups) and not _OTHER_WORD.search(text, word.end(), match.start()):
                    self._near.setdefault(groups, match.start())

    def _virtual(self, text: str) -> None:
        for match in itertools.islice(_VID.finditer(text), _LOOKS) if _VID_WORD.search(text) else ():
            number = match[0].replace(match["gap"], "") if match["gap"] else match[0]
            if len(self._near) < MOST and is_named(text, *match.span(), _VID_WORD) and checks(number):
                self._near.setdefault(number, match.start())

    def aadhaar(self) -> Iterator[tuple[str, int]]:
        """The different numbers that count and where each stands first."""
        found = dict(self._near)
        for grouped, candidates in enumerate(self._loose):
            passing = {number: place for number, place in candidates.items() if checks(number)}
            if not passing:
                continue
            share = len(passing) / len(candidates)
            if _is_list(passing, candidates) or (share > 0.5 and (grouped or _AADHAAR_WORD.search(self._text))):
                found |= passing
                continue
            # Other numbers of twelve digits stand in the same table: each column is weighed by itself.
            for (form, _), column in self._columns.items():
                if form == bool(grouped):
                    passing = {number: place for number, place in column.items() if checks(number)}
                    if _is_list(passing, column):
                        found |= passing
        yield from found.items()


def _is_list(passing: Sized, candidates: Sized) -> bool:
    """Whether so many of *candidates* pass that chance is no explanation."""
    return len(candidates) >= 6 and len(passing) >= 0.8 * len(candidates)


def _column(text: str, start: int) -> int:
    """Which column of a table the number at *start* stands in, by the tabs, commas, semicolons or bars before it; 0: none."""
    line = text[max(text.rfind("\n", max(0, start - 400), start) + 1, start - 400) : start]
    return max(line.count(sign) for sign in "\t,;|")


def pans(text: str, shown: Callable[[int, int], str]) -> Iterator[tuple[str, int]]:
    """The different PANs in the folded *text* and where each stands: those in capitals, and those with the word by them.

    *shown* gives a piece of the text as it was written.
    """
    found: set[str] = set()
    named = _PAN_WORD.search(text) is not None
    for match in itertools.islice(_PAN.finditer(text), _LOOKS):
        start, end = match.span()
        if match[0] in found or match[0][5:9] == "0000":
            continue
        if shown(start, end).isupper() or (named and is_named(text, start, end, _PAN_WORD)):
            found.add(match[0])
            yield match[0], start
            if len(found) >= MOST:
                return


def is_named(text: str, start: int, end: int, word: re.Pattern[str], other: re.Pattern[str] = _OTHER_WORD) -> bool:
    """Whether *word* stands by ``text[start:end]``, and no *other* label between."""
    last = -1
    low = max(0, start - _BEFORE)
    for match in word.finditer(text, low, start):
        last = match.end()
    if last >= 0 and not other.search(text, last, start):
        return True
    line = text.find("\n", end, end + _BEHIND)
    return word.search(text, end, line if line >= 0 else end + _BEHIND) is not None
