"""Payment cards and bank accounts in text.

What it is: ``cards`` and ``accounts``, over the folded text of one leaf.
Who calls it: ``observing``, where ``identifiers.candidates`` has seen digits enough.
Must never: keep, log or return a number beyond the message that holds it; cost more than linear time.
Sources: ISO/IEC 7812 (issuer numbers, the Luhn checksum, by python-stdnum): LIKELY; Reserve Bank of India, IFSC (four letters, a
zero, six letters or digits): LIKELY. Account numbers have no checksum and no common length, so they count only beside an IFSC, or
behind the words for them in a text about banks.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

from stdnum import luhn

from gateway.text.identifiers import MOST, checks, is_named, stretches

_LOOKS = 10_000
_GAP = r"(?: {1,2}|[\-.‒-―])"
_CARD = re.compile(
    r"\d(?<![\w+]\d)(?<!\d[./:\-‒-―]\d)(?:"  # the first digit, then what may not stand before it: so a search skips all else at once
    rf"(?P<fours>\d{{3}}(?P<gap>{_GAP})\d{{4}}(?P=gap)\d{{4}}(?P=gap)\d{{4}}(?:(?P=gap)\d{{3}})?)"
    rf"|(?P<amex>(?<=3)\d{{3}}(?P<gap2>{_GAP})\d{{6}}(?P=gap2)\d{{4,5}})"
    r"|(?P<plain>\d{12,18}))(?!\w)(?![./:\-‒-―]\d)"
)
_NOT_DIGITS = re.compile(r"\D+")
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:30[0-59]|3[689]\d)\d{11}(?:\d{2})?"  # Diners
    r"|(?:6\d\d\d|50[0-9]\d|81\d\d|82\d\d)\d{12}(?:\d{3})?"  # RuPay, Discover, UnionPay, Maestro
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
)
_CARD_WORD = re.compile(
    r"(?<![^\W_])(?:credit|debit|atm|cvv|card|cards|visa|master ?card|rupay|amex|american express|valid thru|expiry|"
    r"कार्ड|કાર્ડ|கார்டு|కార్డు|ಕಾರ್ಡ್|কার্ড)(?![^\W_])"
)
_NO_CARD = re.compile(r"\b(?:imei|meid|vid|virtual id|account|a/c|tracking|awb|utr|rrn|txn|transaction|order|invoice|consignment)\b")
_BEHIND = 24

_IFSC = re.compile(r"0(?<=[a-z]{4}0)(?<![\w@./][a-z]{4}0)[a-z0-9]{6}(?![\w@])")
"""From the zero on: there is less of them than of letters."""
_BANK_LETTERS = 4
_RUN = re.compile(
    r"(?<![\w+])(?<!\d[./:\-])(?:\d{9,18}|\d{4}[ \-]\d{4}[ \-]\d{4}(?:[ \-]\d{1,6})?|\d{3}[ \-]\d{3}[ \-]\d{3,6})(?!\w)(?![./:\-]\d)"
)
_ACCOUNT_WORD = re.compile(
    r"(?<![^\W_])(?:(?:bank |savings? |current |s\.?b\.? |c\.?a\.? )?(?:a/?c|acct|account|accnt)\.?(?: (?:no|number|num|#))?|"
    r"(?:बैंक )?खाता(?: (?:संख्या|सं|नंबर|क्रमांक))?|(?:बँक )?खाते(?: क्रमांक)?|ખાતા(?: નંબર| ક્રમાંક)?|கணக்கு(?: எண்)?|ఖాతా(?: సంఖ్య)?)[\s.:#\-=|,;()]{0,12}"
    r"(?:(?:is|no|number)\b[\s.:#\-=|]{0,6}|(?:संख्या|नंबर)[\s.:\-=|]{0,6})?\Z"
)
_BANKS = (
    "bank", "ifsc", "neft", "rtgs", "passbook", "beneficiary", "saving",
    "बैंक", "बँक", "બેંક", "வங்கி", "బ్యాంకు", "ਬੈਂਕ", "ব্যাংক", "ಬ್ಯಾಂಕ್",
)  # fmt: skip
_LABELS = ("खात", "ખાતા", "கணக்கு", "ఖాతా")
_LABEL = re.compile(r"a(?:ccount|/c|cct|ccnt|c no)")
"""What a text about bank accounts holds: one of the banks, and one of the labels in their two forms."""
_ROW = 160  # characters to each side of an IFSC in which the account stands
_PHONE = re.compile(r"[6-9]\d{9}")
_PHONE_WORD = re.compile(
    r"\b(?:mob(?:ile)?|ph(?:one)?|tel(?:ephone)?|contact|fax|whatsapp|aadhaar|aadhar|uid|आधार|मोबाइल|फोन)\b[\s.:\-=no]{0,8}\Z"
)


def cards(text: str, spans: Iterable[tuple[int, int]] | None = None) -> Iterator[tuple[str, int]]:
    """The different card numbers in the folded *text* (digits as ASCII), and where each stands first; *spans* are its ``stretches``."""
    near: dict[str, int] = {}
    loose: dict[str, int] = {}
    wrong = 0
    anywhere: bool | None = None
    matches = (match for low, high in (stretches(text) if spans is None else spans) for match in _CARD.finditer(text, low, high))
    for match in itertools.islice(matches, _LOOKS):
        number = _NOT_DIGITS.sub("", match[0])
        if number in near or number in loose or len(near) + len(loose) >= MOST:
            continue
        start, end = match.span()
        if not _ISSUERS.fullmatch(number) or len(set(number)) < 2 or not luhn.is_valid(number):
            wrong += 1
            continue
        if _is_another(text, start):
            continue
        if anywhere is None:
            anywhere = _CARD_WORD.search(text) is not None
        if anywhere and (not match["plain"] or is_named(text, start, end, _CARD_WORD, _NO_CARD)):
            near[number] = start
        else:
            loose[number] = start
    yield from near.items()
    # One number in ten passes by chance, and one in three of those has an issuer: so many that pass are a list of cards.
    if len(loose) >= 6 and len(loose) >= 4 * wrong:
        yield from loose.items()


def _is_another(text: str, start: int) -> bool:
    """Whether the last label before the number at *start* is that of something that is no card."""
    label = _NO_CARD.search(text, max(0, start - _BEHIND), start)
    return label is not None and not _CARD_WORD.search(text, label.end(), start)


def accounts(text: str, *, codes: bool = True) -> Iterator[tuple[str, int]]:
    """The different bank accounts in the folded *text* (digits as ASCII), and where each stands first. *codes*: it may hold an IFSC."""
    found: dict[str, int] = {}
    for match in itertools.islice(_IFSC.finditer(text), MOST) if codes else ():
        beside = _beside(text, match.start() - _BANK_LETTERS, match.end())
        if beside is not None:
            found.setdefault(*beside)
    if (_LABEL.search(text) or any(sign in text for sign in _LABELS)) and any(sign in text for sign in _BANKS):
        for match in itertools.islice(_RUN.finditer(text), _LOOKS):
            start = match.start()
            if len(found) < MOST and _ACCOUNT_WORD.search(text, max(0, start - 60), start):
                found.setdefault(_NOT_DIGITS.sub("", match[0]), start)
    yield from found.items()


def _beside(text: str, start: int, end: int) -> tuple[str, int] | None:
    """The account that belongs to the IFSC at ``text[start:end]``: the nearest number in its row, else in the line above or below."""
    low = text.rfind("\n", max(0, start - _ROW), start) + 1 or max(0, start - _ROW)
    high = text.find("\n", end, end + _ROW)
    high = min(len(text), end + _ROW) if high < 0 else high
    above = max(0, low - _ROW, text.rfind("\n", max(0, low - 1 - _ROW), max(0, low - 1)) + 1)
    below = text.find("\n", high + 1, high + 1 + _ROW)
    below = min(len(text), high + _ROW) if below < 0 else below
    for first, last in ((low, high), (above, below)):
        near = [
            (min(abs(match.start() - end), abs(start - match.end())), _NOT_DIGITS.sub("", match[0]), match.start())
            for match in _RUN.finditer(text, first, last)
            if _may_be_account(text, match)
        ]
        if near:
            _, number, place = min(near)
            return number, place
    return None


def _may_be_account(text: str, match: re.Match[str]) -> bool:
    """Whether the number is neither plainly a telephone's nor an Aadhaar number."""
    start = match.start()
    number = _NOT_DIGITS.sub("", match[0])
    if _PHONE_WORD.search(text, max(0, start - 24), start):
        return False
    labelled = _ACCOUNT_WORD.search(text, max(0, start - 60), start) is not None
    return labelled or not (_PHONE.fullmatch(number) or (len(number) == 12 and number[0] in "23456789" and checks(number)))
