"""Words of a message that may be the password of something attached to it.

What it is: ``candidates``, the likeliest first: what stands beside a word for "password", then what looks like one (letters and
figures mixed, quoted words, numbers and dates), then names of files, then all other words.
Who calls it: ``content.walk``, when something in the message is closed by a secret.
Must never: do I/O; keep or log what it found; return more than ``MOST``; give another answer for the same message.
Sources: docs/design.md section 10 ("protection.state") (*weak*: its password stands in the same message); hostile-inputs catalogue E05.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

from gateway.text import password_forms as forms

MOST = 320
"""Candidates of a message."""
_LIKELY = 160
"""Of them, what is written like a password; then come forms of other things."""
_SHORTEST, _LONGEST = 2, 100  # characters of a password
_MOST_TEXT = 2_000_000  # characters that are looked through, in all
_MOST_OF_ONE = 200_000  # of one text: its beginning, and a tenth of that at its end
_MOST_SAID = 40  # places where a password is spoken of
_MOST_DESCRIBED = 6
_MOST_CASES = 12  # words that are written in other cases as well

_KEYWORD = re.compile(
    r"(?i)(?<![a-z])(?:pass[ \t-]?(?:word|code|phrase|key)s?|passwd|pwd|pswd|pw|pin|"
    r"(?:un)?lock(?:ing)?[ \t]code|(?:access|secret|opening|file)[ \t](?:code|key|word)|key|code)(?![a-z])|"
    # search words only; they are shown to nobody
    r"पास[ \t\u200c\u200d-]?वर्ड|पास[ \t-]?कोड|कूट[ \t-]?शब्द|गुप्त[ \t]?शब्द|"
    r"પાસ[ \t-]?વર્ડ|পাস[ \t-]?ওয়ার্ড|ਪਾਸ[ \t-]?ਵਰਡ|பாஸ்வேர்ட்|கடவுச்சொல்|పాస్[\u200c]?వర్డ్|ಪಾಸ್[\u200c]?ವರ್ಡ್|പാസ്[\u200c]?വേഡ്|"
    r"پاس[ \t]?ورڈ"
)
_FILLER_WORDS = (
    "is are was be to open for the this that it its of a an and or in on with use using will as follows following below above given "
    "here file files attachment attachments attached document documents zip pdf archive word excel sheet letter please enter type "
    "same your our my case sensitive protected protection encrypted opening unlock view read both all above-mentioned shared "
    "है हैं का की के को में से यह इस फाइल फ़ाइल खोलने लिए हेतु छे છે આ ફાઇલ માટે आहे ही या साठी उघडण्यासाठी"
)
_FILLERS = frozenset(_FILLER_WORDS.split())
_JOINING_WORDS = "then followed by plus join joined with both lines part parts first second without spaces"
_JOINERS = _FILLERS.union(_JOINING_WORDS.split())
_AFTER = 14  # words behind a keyword
_BEFORE = 4
_LINE = re.compile(r"[^\r\n]{0,300}")
_TO_VALUE = re.compile(r"(?i)^[^:=\u2013\u2014-]{0,60}(?:[:=\u2013\u2014]|-+>?|\bis\b|\bare\b)[ \t:=-]*(\S.*)$")
_QUOTED = re.compile(
    r"[\"“”„]([^\"“”„\r\n]{3,64})[\"“”]|['‘’`]([^'‘’`\r\n]{4,64})['‘’`]|«([^»\r\n]{3,64})»|<([^<>\s]{3,64})>|\[([^\[\]\r\n]{3,64})\]"
)
_TOKEN = re.compile(r"\S{3,100}")
_SPLIT = re.compile(r"[,;|/\\()\[\]{}<>\"“”:=]+")
_MARKS = "\"'`.,;:!?()[]{}<>“”‘’«»*_-–—।|"
_MARKS_AROUND = "\"'`.,;:()[]{}<>“”‘’«»"
_TAIL = ".,;:!?)]}>\"'”’।"
_DIGITS = {ord(zero) + value: str(value) for zero in "०૦০੦௦౦೦൦۰٠" for value in range(10)}


def candidates(near: Iterable[str], far: Iterable[str] = (), names: Iterable[str] = (), most: int = MOST) -> tuple[str, ...]:
    """At most *most* different words, the likeliest first.

    *near*: header fields, bodies and notes; *far*: text of attachments; *names*: names of files.
    """
    texts = list(_bounded((*near, *far)))
    kept = list(dict.fromkeys(names))
    found: dict[str, None] = {}
    likely = most * _LIKELY // MOST
    for text in texts:
        _add(found, _spoken(text), likely // 2)
    for name in kept:
        _add(found, _spoken(name), likely // 2)
    said = list(found)
    # Each sort of words has its share, so that a long text cannot drive the others out.
    for text in texts:
        _add(found, _described(text), likely * 3 // 4)
    base = len(found) - min(len(found), likely // 2)
    tokens = [list(_tokens(text)) for text in texts]
    _add(found, (word for text in texts for word in _quoted(text)), base + likely * 5 // 8)
    _add(found, (word for words in tokens for word in words if _is_mixed(word)), base + likely * 6 // 8)
    _add(found, (word for name in kept for word in _of_name(name)), base + likely * 13 // 16)
    short = _beginnings(texts)
    dates = [list(forms.dates(text)) for text in short]
    _add(found, (word for some in dates for word in some[:10]), base + likely * 14 // 16)
    _add(found, (word for words in tokens for word in words if word.isdigit() and 4 <= len(word) <= 12), base + likely * 15 // 16)
    _add(found, (word for words in tokens for word in words if not word.islower()), base + likely)
    _add(found, (word for words in tokens for word in words), base + likely)
    # What is left goes to what nobody spoke of.
    left = most - len(found)
    _add(found, forms.cases(said[:_MOST_CASES]), len(found) + left // 8)
    _add(found, (word for some in dates for word in some), len(found) + left // 8)
    for sort in (forms.numbers, forms.file_numbers, forms.addresses):
        _add(found, (word for text in short for word in sort(text)), len(found) + left // 8)
    _add(found, (word for words in tokens for word in words), most)
    return tuple(found)


def _add(found: dict[str, None], words: Iterable[str], most: int) -> None:
    for word in words:
        if len(found) >= most:
            return
        if _SHORTEST <= len(word) <= _LONGEST and word.lower() not in _FILLERS:
            found.setdefault(word)
            if (other := word.translate(_DIGITS)) != word:
                found.setdefault(other)


def _bounded(texts: Iterable[str]) -> Iterator[str]:
    """*texts* once each, the beginning and the end of long ones."""
    left = _MOST_TEXT
    for text in dict.fromkeys(texts):
        part = text if len(text) <= _MOST_OF_ONE else text[:_MOST_OF_ONE] + "\n" + text[-_MOST_OF_ONE // 10 :]
        part = part[:left]
        left -= len(part)
        if part:
            yield part
            if (seen := forms.spoken_alike(part)) != part:
                yield seen


def _beginnings(texts: list[str]) -> list[str]:
    """The beginnings of *texts*, where letters have their dates and numbers."""
    kept, left = [], _MOST_TEXT // 8
    for text in texts:
        kept.append(text[: min(left, _MOST_OF_ONE // 8)])
        left -= len(kept[-1])
        if left <= 0:
            break
    return kept


def _spoken(text: str) -> Iterator[str]:
    """What may be meant where *text* speaks of a password."""
    pieces: list[str] = []
    for number, match in enumerate(_KEYWORD.finditer(text)):
        if number >= _MOST_SAID:
            break
        behind = text[match.end() : match.end() + 400]
        line = _LINE.match(behind)
        rest = line[0] if line is not None else ""
        following = behind[len(rest) :].strip().split("\n", 1)[0]
        value = _TO_VALUE.match(rest)
        if value is not None:
            yield from _readings(value[1])
        elif not rest.strip(" \t:=.-"):
            yield from _readings(following)
        words = [word for word in behind.split()[: 2 * _AFTER] if word.strip(_MARKS).lower() not in _FILLERS][:_AFTER]
        for word in words[:2]:
            yield from _forms(word)
        before = text[max(0, match.start() - 120) : match.start()].split()[-2 * _BEFORE :]
        for word in reversed([word for word in before if word.strip(_MARKS).lower() not in _FILLERS][-_BEFORE:]):
            yield from _forms(word)
        if value is None:
            yield from _readings(rest.strip(" \t:=-"))
        for word in words[2:]:
            yield from _forms(word)
        bare = [stripped for word in words if (stripped := word.strip(_MARKS + "+&")) and stripped.lower() not in _JOINERS]
        yield from forms.joined([word.strip(_MARKS_AROUND) for word in words if word.strip(_MARKS).lower() not in _JOINERS], 3)
        yield from forms.joined([word.strip(_MARKS_AROUND) for word in before], 8)
        if bare:
            pieces.append((words[0] if words[0].strip(_MARKS).lower() == bare[0].lower() else bare[0]).strip(_MARKS_AROUND))
    if 2 <= len(pieces) <= 6:
        # "first part of the password", "second part of the password"
        yield "".join(pieces)
        yield from forms.joined(pieces)


def _described(text: str) -> Iterator[str]:
    """What *text* says that the password is, without showing it as such: the date of a letter, the number of a file."""
    for number, match in enumerate(_KEYWORD.finditer(text)):
        if number >= _MOST_DESCRIBED:
            return
        yield from forms.described(text[: _MOST_OF_ONE // 8], text[max(0, match.start() - 80) : match.end() + 120])


def _readings(said: str) -> Iterator[str]:
    """A value as somebody wrote it: the first word, what is quoted, the whole line, its words without what joins them."""
    said = said.strip()
    if not said:
        return
    yield from _quoted(said)
    yield from _forms(said.split()[0])
    if " " in said or "\t" in said:
        yield said.rstrip(_TAIL).strip("\"'“”‘’")
        yield said
        joined = re.sub(r"[\s+&\"'“”‘’]+", "", said)
        yield joined.rstrip(".;,")
        sentence = re.split(r"[.;!?]\s|\s[(–—-]", said, maxsplit=1)[0]
        yield sentence
        yield re.sub(r"\s+", "", sentence)


def _forms(word: str) -> Iterator[str]:
    """A word as it stands, without marks around it, and its pieces."""
    yield word.strip("\"'“”‘’«»`").rstrip(".,;")
    yield word.strip(_MARKS)
    yield word
    yield word.rstrip(_TAIL)
    pieces = _SPLIT.split(word)
    if len(pieces) > 1:
        yield from (piece.strip(_MARKS) for piece in pieces if len(piece) > 2)


def _quoted(text: str) -> Iterator[str]:
    for match in _QUOTED.finditer(text):
        yield next(group for group in match.groups() if group is not None).strip()


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        yield from dict.fromkeys((match[0].strip(_MARKS), match[0].rstrip(_TAIL), match[0]))


def _is_mixed(word: str) -> bool:
    """Whether *word* looks like something made up: figures or marks among letters; no address and no link."""
    if len(word) < 4 or "://" in word or (word.count("@") == 1 and "." in word.partition("@")[2]):
        return False
    has_letter = any(character.isalpha() for character in word)
    has_digit = any(character.isdigit() for character in word)
    has_mark = any(character in "@#$%^&*!_+=~?" for character in word[:-1])
    humps = any(small.islower() and large.isupper() for small, large in itertools.pairwise(word))
    return has_letter and (has_digit or has_mark or humps)


def _of_name(name: str) -> Iterator[str]:
    """The name of a file without its ending, and the words of it."""
    base = name.replace("\\", "/").rpartition("/")[2]
    stem = base
    for _ in range(3):
        shorter = stem.rpartition(".")[0]
        if not shorter:
            break
        stem = shorter
        yield stem
    yield base
    for pattern in (r"[\s,()\[\]{}]+", r"[\s_.,()\[\]{}-]+"):
        for piece in re.split(pattern, stem):
            if len(piece) > 2:
                yield piece
