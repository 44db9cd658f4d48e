"""Find the terms of a scheme in folded text, also where they were spaced, split or written with look-alike digits.

What it is: one automaton over UTF-8 bytes for each alphabet of text (ASCII only, anything), compiled once for a scheme, and
the exact check of each place that it reports.
Who calls it: ``markings`` for every text, ``scheme`` for single values.
Must never: decide whether a term is a marking (``markings`` does), or look further than a fixed distance around a hit, so
that its cost stays linear.
Sources: the automaton finds last words only ("secret"), which keeps it small; measured 300 MB/s, 15 µs for 4 KB.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ahocorasick_rs import MATCHKIND_LEFTMOST_LONGEST, BytesAhoCorasick, Implementation

from gateway.levels import Level
from gateway.text.normalise import Normal, encode, is_word_char
from gateway.verdict import Confidence

_GAP = r"[\s\-_.*/|·•\u2010-\u2015]"
_LETTER_GAP = r"[ \t.\-_*·•|\n\r/,=~+:;^#()\[\]{}<>\u2010-\u2015]"
_BACK = 40  # characters before the last word of a term in which its first words must stand
_LOW_LINES = 64  # in a row; more are a rule drawn under or before a word
_SAME: tuple[str, ...] = (" ", "  ", "\t", ".", "-", "_", "*", "·", "•", "|", "\n", "\r\n", ". ", " - ")
_SAME += (
    "/",
    ",",
    ", ",
    "=",
    "~",
    "+",
    ":",
    "^",
    "#",
    "][",
    "] [",
    ")(",
    "><",
    "\n\n",
    "\r\n\r\n",
    " \n",
    " . ",
    " / ",
    "\u2013",
    "\u2014",
)
_BLANKS = (" ", "  ", "   ", "\t")
_BREAKS = ("-\n", "-\r\n", "\n", "\r\n")
_SPLITS = (*_BREAKS, " ", "- ")
_INDENTS = (" ", "\t", ">")
_TAIL = 3  # characters of a word behind a break or digit that the automaton looks for; the rest is compared in the text
_BROKEN_GAP = r"(?:-?\r?\n[ \t>]{0,40}| |- )"
_DIGITS = {"a": "4@", "e": "3", "i": "1l|!", "l": "1i|", "o": "0", "s": "5$", "t": "7+"}
_SIGNS = frozenset("013457@$!|+")
_TURNED = str.maketrans("nudpbq", "unpdqb")  # letters that are another letter upside down
_E_SIGNS = {"\u094b": "\u093e\u0947", "\u0acb": "\u0abe\u0ac7"}  # the sign of o, typed as the two signs that look like it
# Vowel signs that stand before their consonant: text taken from a page often has them in the order of sight.
_BEFORE = frozenset("\u093f\u09bf\u09c7\u09c8\u0a3f\u0abf\u0b47\u0bc6\u0bc7\u0bc8\u0d46\u0d47\u0d48")
_KEYED = (":", ": ", ":  ", ":\t", "- ", "= ", "=", "\t")
_PLAIN, _BROKEN, _SPACED, _DIGITAL, _REVERSED, _KEYED_KIND, _SIGN = range(7)


@dataclass(frozen=True, slots=True)
class Term:
    """One way to write a level, folded."""

    words: tuple[str, ...]
    level: Level
    language: str
    verified: bool
    keyed: bool = False
    """Counts only behind a key or in a label ("public")."""

    @property
    def cap(self) -> Confidence:
        """The most that this term can prove."""
        return Confidence.CERTAIN if self.verified else Confidence.PROBABLE


class Hit(NamedTuple):
    """A term at ``[start, end)`` of the folded text."""

    start: int
    end: int
    term: Term
    altered: bool = False
    """Written with digits or signs for letters ("C0NFIDENTIAL"), backwards or upside down."""


def _clusters(word: str) -> list[str]:
    """*word* cut before each letter that starts a written syllable (marks and joined consonants stay together)."""
    parts: list[str] = []
    for char in word:
        joined = bool(parts) and (unicodedata.category(char)[0] == "M" or unicodedata.combining(parts[-1][-1]) == 9)
        if joined:
            parts[-1] += char
        else:
            parts.append(char)
    return parts


def _digit_forms(word: str) -> Iterator[str]:
    """*word* up to a first digit for a letter and a little beyond, with any of the digits there."""
    for place, letter in enumerate(word):
        tails = [""]
        for char in word[place + 1 : place + _TAIL]:
            tails = [tail + form for tail in tails for form in char + _DIGITS.get(char, "")]
        for digit in _DIGITS.get(letter, ""):
            for tail in tails:
                yield word[:place] + digit + tail


def _visual(word: str) -> str:
    """*word* with the vowel signs that stand before their consonants written there."""
    parts = []
    for cluster in _clusters(word):
        signs = "".join(char for char in cluster if char in _BEFORE)
        parts.append(signs + "".join(char for char in cluster if char not in _BEFORE))
    return "".join(parts)


def _forms(word: str) -> Iterator[tuple[str, int]]:
    """Every literal that leads to *word*, with its kind. One that is broken or has digits is only its beginning."""
    yield word, _PLAIN
    if word.isascii() and word.isalpha() and len(word) > 3:
        for first in _SAME:
            yield word[0] + first + word[1] + first + word[2], _SPACED
        for first in _BLANKS:
            for second in _BLANKS:
                yield word[0] + first + word[1] + second + word[2], _SPACED
        if len(word) > 5:
            for place in range(1, len(word)):
                for gap in _SPLITS:
                    yield word[:place] + gap + word[place : place + _TAIL], _BROKEN
                for indent in _INDENTS if place >= _TAIL else ():
                    for line in _BREAKS:
                        yield word[:place] + line + indent, _BROKEN
            for form in _digit_forms(word):
                yield form, _DIGITAL
            yield word[::-1], _REVERSED
            yield word[::-1].translate(_TURNED), _REVERSED
    elif not word.isascii():
        parts = _clusters(word)
        if len(parts) > 1:
            for gap in (" ", "  ", "-", ".", "*", "\n", "\r\n"):
                yield gap.join(parts), _PLAIN
            for place in range(1, len(parts)):
                for gap in (*_BREAKS, " "):
                    yield "".join(parts[:place]) + gap + "".join(parts[place:]), _PLAIN
        for sign, signs in _E_SIGNS.items():
            if sign in word:
                yield word.replace(sign, signs), _PLAIN
                yield word.replace(sign, signs[::-1]), _PLAIN
        yield _visual(word), _PLAIN
        if len(word) > 3:
            yield word[::-1], _REVERSED


class Matcher:
    """The compiled terms. Immutable after construction."""

    def __init__(self, terms: Iterable[Term], signs: Iterable[str] = ()) -> None:
        """*signs*: folded literals that are no terms; ``look`` says whether a text holds any of them."""
        self._by_word: dict[str, list[tuple[Term, re.Pattern[str] | None, re.Pattern[str] | None]]] = {}
        """The terms that end with a word, the longest first; what their other words look like before it, and behind it when reversed."""
        forms: dict[str, tuple[str, int]] = {}
        self._begun: dict[str, list[re.Pattern[str]]] = {}
        """What a word whose beginning was found must look like in full, by that beginning."""
        self._whole: dict[re.Pattern[str], str] = {}
        self._keyed: dict[str, tuple[Term, int]] = {}
        for term in terms:
            if term.keyed:
                for key in _KEYED:
                    text = key + " ".join(term.words)
                    self._keyed[text] = (term, len(key))
                    forms.setdefault(text, (text, _KEYED_KIND))
                continue
            phrase = turned = None
            if len(term.words) > 1:
                before = (_GAP + "{0,6}").join(_digital(word) for word in term.words[:-1])
                spaced = (_LETTER_GAP + "{1,10}").join(
                    (_LETTER_GAP + "{1,4}").join(re.escape(char) for char in word) for word in term.words[:-1]
                )
                phrase = re.compile(f"(?:{before}{_GAP}{{0,6}}|{spaced}{_LETTER_GAP}{{1,10}})\\Z")
                after = (_GAP + "{0,6}").join(
                    f"(?:{re.escape(word[::-1])}|{re.escape(word[::-1].translate(_TURNED))})" for word in term.words[-2::-1]
                )
                turned = re.compile(f"{_GAP}{{0,6}}{after}(?!\\w)")
            self._by_word.setdefault(term.words[-1], []).append((term, phrase, turned))
        for word, found in self._by_word.items():
            found.sort(key=lambda one: -len(one[0].words))
            for literal, kind in _forms(word):
                if literal not in forms or kind == _PLAIN:
                    forms[literal] = (word, kind)
                if kind in (_BROKEN, _DIGITAL):
                    pattern = _broken_word(word) if kind == _BROKEN else _digital_word(word)
                    self._whole[pattern] = word
                    self._begun.setdefault(literal, []).append(pattern)
        for sign in signs:
            forms.setdefault(sign, (sign, _SIGN))
        self._spaced = {word: _spaced_word(word) for word in self._by_word if word.isascii() and word.isalpha()}
        self._forms = list(forms.items())
        ascii_only = [i for i, (literal, _) in enumerate(self._forms) if literal.isascii()]
        self._ascii_forms = [self._forms[i] for i in ascii_only]
        # Nearly all text is ASCII. With the Indic scripts the full table takes 5 MB in each process and saves 5 of 17 µs for 6 KB.
        self._ascii = _automaton(self._ascii_forms, Implementation.DFA)
        self._any = _automaton(self._forms, Implementation.ContiguousNFA)

    def search(self, normal: Normal) -> list[Hit]:
        """Every term in *normal*, in order, not overlapping."""
        return self.look(normal)[0]

    def look(self, normal: Normal) -> tuple[list[Hit], bool]:
        """Every term in *normal*, in order, not overlapping; and whether it holds a sign."""
        text = normal.text
        data = encode(text)
        plain = len(data) == len(text)
        found = (self._ascii if plain else self._any).find_matches_as_indexes(data)
        if not found:
            return [], False
        forms = self._ascii_forms if plain else self._forms
        hits: list[Hit] = []
        signs = False
        done = 0
        for index, place in _places(found, data, plain=plain):
            if place < done:
                continue
            literal, (word, kind) = forms[index]
            if kind == _SIGN:
                signs = True
                continue
            end = place + len(literal)
            hit = self._turned(text, place, end, word) if kind == _REVERSED else self._check(text, place, end, word, kind)
            if hit is not None:
                hits.append(hit)
                done = hit.end
        return hits, signs

    def _check(self, text: str, start: int, end: int, word: str, kind: int) -> Hit | None:
        if kind == _KEYED_KIND:
            term, skip = self._keyed[word]
            return None if _goes_on(text, end, 1) else Hit(start + skip, end, term)
        if kind == _SPACED:
            for candidate, pattern in self._spaced.items():
                match = pattern.match(text, start)
                if match is not None:
                    word, end = candidate, match.end()
                    break
            else:
                return None
        elif kind in (_BROKEN, _DIGITAL):
            for pattern in self._begun[text[start:end]]:
                match = pattern.match(text, start)
                if match is not None:
                    word, end = self._whole[pattern], match.end()
                    break
            else:
                return None
        if is_word_char(text[end - 1]) and _goes_on(text, end, 1):
            return None
        low = max(0, start - _BACK)
        for term, phrase, _ in self._by_word[word]:
            first = start
            if phrase is not None:
                match = phrase.search(text[low:start])
                if match is None:
                    continue
                first = low + match.start()
            if is_word_char(text[first]) and _goes_on(text, first - 1, -1):
                continue
            return Hit(first, end, term, altered=kind == _DIGITAL or (first < start and any(char in _SIGNS for char in text[first:start])))
        return None

    def _turned(self, text: str, start: int, end: int, word: str) -> Hit | None:
        """The term whose last word stands reversed at ``[start, end)``, with its other words behind."""
        if is_word_char(text[start]) and _goes_on(text, start - 1, -1):
            return None
        for term, _, turned in self._by_word[word]:
            last = end
            if turned is not None:
                match = turned.match(text, end, end + _BACK)
                if match is None:
                    continue
                last = match.end()
            if not _goes_on(text, last, 1):
                return Hit(start, last, term, altered=True)
        return None


def _goes_on(text: str, place: int, step: int) -> bool:
    """Whether the word goes on at *place*. Low lines join two words ("client_secret") but also underline one ("_SECRET_")."""
    for _ in range(_LOW_LINES):
        if not 0 <= place < len(text):
            return False
        if text[place] != "_":
            return is_word_char(text[place])
        place += step
    return False


class Finder:
    """Where any of some literals stands in a text; for landmarks such as the beginnings of quoted mail."""

    def __init__(self, literals: Sequence[str]) -> None:
        self._automaton = BytesAhoCorasick(
            [encode(literal) for literal in literals] or [b"\xff"], matchkind=MATCHKIND_LEFTMOST_LONGEST, implementation=Implementation.DFA
        )

    def find(self, text: str) -> list[tuple[int, int]]:
        """Index of the literal and place in *text*, in order, not overlapping."""
        data = encode(text)
        found = self._automaton.find_matches_as_indexes(data)
        return list(_places(found, data, plain=len(data) == len(text)))


def _places(found: list[tuple[int, int, int]], data: bytes, *, plain: bool) -> Iterator[tuple[int, int]]:
    """Index and place in characters of each match in the bytes *data*; *plain* when every character is one byte."""
    place = passed = 0
    for index, start, _ in found:
        if plain:
            yield index, start
            continue
        between = data[passed:start]
        place += len(between) if between.isascii() else len(between.decode("utf-8", "surrogatepass"))
        passed = start
        yield index, place


def _spaced_word(word: str) -> re.Pattern[str]:
    """*word* with a gap between all letters, not followed by one more single letter at the same gap ("s e c r e t a r y")."""
    middle = (_LETTER_GAP + "{1,4}").join(re.escape(char) for char in word[:-1])
    return re.compile(f"{middle}(?P<gap>{_LETTER_GAP}{{1,4}}){re.escape(word[-1])}(?!(?P=gap)[^\\W\\d_](?![^\\W_]))")


@lru_cache(maxsize=1024)
def _broken_word(word: str) -> re.Pattern[str]:
    """*word* with one break of a line, or one blank, in it."""
    return re.compile("|".join(re.escape(word[:place]) + _BROKEN_GAP + re.escape(word[place:]) for place in range(1, len(word))))


@lru_cache(maxsize=1024)
def _digital_word(word: str) -> re.Pattern[str]:
    """*word* with digits or signs for any of its letters."""
    return re.compile(_digital(word))


def _digital(word: str) -> str:
    """A pattern for *word* with digits or signs for any of its letters; as it is where it is short or in another script."""
    if not word.isascii() or len(word) < 3:
        return re.escape(word)
    return "".join(f"[{re.escape(char + _DIGITS.get(char, ''))}]" for char in word)


def _automaton(forms: list[tuple[str, tuple[str, int]]], implementation: Implementation) -> BytesAhoCorasick:
    literals = [encode(literal) for literal, _ in forms] or [b"\xff"]
    return BytesAhoCorasick(literals, matchkind=MATCHKIND_LEFTMOST_LONGEST, implementation=implementation)
