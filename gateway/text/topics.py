"""Topics as data: the terms of rules/topics.toml, checked and compiled, and the search for them.

What it is: ``Topics``: one automaton over two words of each term, the signs of file numbers and links, and well-known hosts,
so that a text is passed once for all of them; ``points``, which weighs what was found.
Who calls it: the policy loads it; ``observing`` searches with it.
Must never: do I/O; accept an unknown key or a term that stands twice; raise anything but ValueError; look further than a fixed
distance around a hit.
Sources: rules/topics.toml names the circulars; docs/design.md section 5 (rules are data).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ahocorasick_rs import MATCHKIND_STANDARD, BytesAhoCorasick, Implementation

from gateway.text.file_numbers import SIGNS
from gateway.text.normalise import encode, fold, is_word_char
from gateway.text.tables import Reader, Row

NEEDED = 4
"""Points that make a topic."""
_STRONG, _UNVERIFIED, _WEAK = 4, 2, 1
_GAPS = (" ", "  ", "\n", "\r\n", "-", "\t", ". ", " \n", " \r\n", "_")
_GAP = r"[\s\-_./]{1,8}"
_LONGEST = 8  # words of one term
_TABLES = {"signature": frozenset({"closings"}), "passages": frozenset({"common"})}
_ROWS = frozenset({"topic", "terms"})
_NAME = re.compile(r"[a-z][a-z0-9-]{1,40}")
TERM, FILE, HOST, LINK = range(4)
LINK_SIGNS = ("://", "www.")
"""What shows a link."""
_REACH = 100  # characters before the two words in which the words before them must stand
_ENOUGH = 2000  # hits of one text from which on each term is taken once more


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: made once for a scheme, looked up for every hit
class Term:
    """One way to write a topic, folded. *points* is 0 for what shows that the matter is public."""

    topic: str
    words: tuple[str, ...]
    points: int


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a term is proved around the two words of it that the automaton finds."""

    before: re.Pattern[str] | None
    """Its words before those two."""
    behind: re.Pattern[str]
    """Those two and its words behind them."""

    def start(self, text: str, place: int) -> int:
        """Where the term begins whose two words stand at *place*; -1 when it does not stand there."""
        if (place and is_word_char(text[place - 1])) or not self.behind.match(text, place):
            return -1
        if self.before is None:
            return place
        match = self.before.search(text, max(0, place - _REACH), place)
        if match is None or (match.start() and is_word_char(text[match.start() - 1])):
            return -1
        return match.start()


@dataclass(frozen=True, slots=True, eq=False)
class Topics:
    """Everything to be looked for. Built by ``Topics.parse`` only. Immutable."""

    names: tuple[str, ...]
    closings: frozenset[str]
    """Words that close a letter, folded: what follows is its signature."""
    common: frozenset[bytes]
    """Words that stand in every other official letter, folded, in UTF-8."""
    _forms: tuple[tuple[int, int, tuple[Term, ...]], ...]
    """Kind, length and terms of each literal of ``_any``."""
    _ascii_forms: tuple[tuple[int, int, tuple[Term, ...]], ...]
    _ascii: BytesAhoCorasick
    _any: BytesAhoCorasick
    _shapes: dict[Term, _Shape]

    @classmethod
    def parse(cls, toml_text: str, hosts: Collection[str] = ()) -> Topics:
        """The topics in *toml_text* (empty: none), and *hosts* to be seen without a scheme. Raises ValueError with line and field."""
        reader = Reader(toml_text, "topics", tables=_TABLES, rows=_ROWS)
        names = _names(reader)
        terms = _terms(reader, names)
        closings = frozenset(fold(text) for text in reader.strings("signature", "closings"))
        common = frozenset(encode(fold(text)) for text in reader.strings("passages", "common"))
        return _compile(tuple(names), terms, closings, common, hosts)

    def search(self, text: str, data: bytes) -> list[tuple[int, int, Term | None]]:
        """Kind, place and term of each hit in the folded *text*, whose UTF-8 form is *data*; in the order of their ends, nearly."""
        return self._proved(text, self._literals(text, data))

    def look(self, text: str, data: bytes) -> tuple[list[tuple[int, int]], dict[Term, Iterator[int]]]:
        """The same, less dear: kind and place of each sign; and the terms that may stand there, each with its places in their order.

        A place is proved when it is asked for, so that nobody proves what he does not need; a term may have none.
        """
        found = self._literals(text, data)
        if not found:
            return [], {}
        signs = [(kind, place) for kind, place, _ in found if kind != TERM]
        terms: dict[Term, list[int]] = {}
        hits = len(signs)
        for _, place, those in found:
            for term in those:
                hits += 1
                if term in terms:
                    terms[term].append(place)
                else:
                    terms[term] = [place]
        if hits > _ENOUGH:
            terms = {}
            for kind, place, a_term in self._proved(text, found):
                if kind == TERM and a_term is not None:
                    terms.setdefault(a_term, []).append(place)
            return signs, {term: iter(begins) for term, begins in terms.items()}
        return signs, {term: self._begins(term, text, places) for term, places in terms.items()}

    def _literals(self, text: str, data: bytes) -> list[tuple[int, int, tuple[Term, ...]]]:
        """Kind, place and terms of each literal in *text*."""
        if len(data) == len(text):
            forms = self._ascii_forms
            literals = self._ascii.find_matches_as_indexes(data, overlapping=True)
            return [(forms[index][0], place, forms[index][2]) for index, place, _ in literals]
        found = []
        ended = passed = 0
        for index, _, end in self._any.find_matches_as_indexes(data, overlapping=True):
            kind, length, terms = self._forms[index]
            between = data[passed:end]
            ended += len(between) if between.isascii() else len(between.decode("utf-8", "surrogatepass"))
            passed = end
            found.append((kind, ended - length, terms))
        return found

    def _proved(self, text: str, found: Iterable[tuple[int, int, tuple[Term, ...]]]) -> list[tuple[int, int, Term | None]]:
        """The hits of the literals *found*."""
        hits: list[tuple[int, int, Term | None]] = []
        seen: set[Term] = set()
        for kind, place, terms in found:
            if kind != TERM:
                hits.append((kind, place, None))
                continue
            for term in terms:
                # Each term is proved often enough for every place that a text has (body, quoted, signature), not endlessly.
                if term in seen:
                    continue
                begin = self._shapes[term].start(text, place)
                if begin >= 0:
                    hits.append((TERM, begin, term))
                    if len(hits) > _ENOUGH:
                        seen.add(term)
        return hits

    def _begins(self, term: Term, text: str, places: Iterable[int]) -> Iterator[int]:
        """Where *term* begins, of the *places* of its two words."""
        start = self._shapes[term].start
        for place in places:
            if (begin := start(text, place)) >= 0:
                yield begin


def may_be_enough(terms: Iterable[Term]) -> bool:
    """Whether any topic could be there if all the different *terms* stood in one place and nothing showed it to be public."""
    totals: dict[str, int] = {}
    for term in terms:
        totals[term.topic] = totals.get(term.topic, 0) + term.points
        if totals[term.topic] >= NEEDED:
            return True
    return False


def points(terms: Iterable[Term]) -> dict[str, tuple[int, int]]:
    """Topic to points and number of the different *terms* that speak for it.

    Where a term shows that the matter is public, weak ones count nothing and the others half.
    """
    different = set(terms)
    public = {term.topic for term in different if not term.points}
    result: dict[str, tuple[int, int]] = {}
    for term in different:
        if not term.points:
            continue
        worth = term.points // 2 if term.topic in public else term.points
        total, count = result.get(term.topic, (0, 0))
        result[term.topic] = total + worth, count + 1
    return result


def _names(reader: Reader) -> dict[str, None]:
    names: dict[str, None] = {}
    for row in reader.rows("topic", {"name", "source"}, set()):
        name = row.string("name")
        if not _NAME.fullmatch(name):
            raise row.error("name", f"{name!r} is not a name (small letters, digits and hyphens)")
        if name in names:
            raise row.error("name", f"{name!r} stands here twice")
        row.string("source")
        names[name] = None
    return names


def _terms(reader: Reader, names: Collection[str]) -> list[Term]:
    seen: set[tuple[str, tuple[str, ...]]] = set()
    terms: list[Term] = []
    for row in reader.rows("terms", {"topic", "language", "verified"}, {"strong", "weak", "negative"}):
        topic, verified = row.string("topic"), row.flag("verified")
        if topic not in names:
            raise row.error("topic", f"there is no topic {topic!r}")
        row.string("language")
        for field, worth in (("strong", _STRONG if verified else _UNVERIFIED), ("weak", _WEAK), ("negative", 0)):
            terms += [_term(row, field, text, topic, worth, seen) for text in row.strings(field)]
    return terms


def _term(row: Row, field: str, text: str, topic: str, worth: int, seen: set[tuple[str, tuple[str, ...]]]) -> Term:
    words = tuple(re.split(r"[\s\-_]+", fold(text).strip()))
    if not all(words) or len(words) > _LONGEST or len("".join(words)) < 2:
        raise row.error(field, f"{text!r} is not a term of one to {_LONGEST} words")
    if (topic, words) in seen:
        raise row.error(field, f"{text!r} stands here twice for {topic}")
    seen.add((topic, words))
    return Term(topic, words, worth)


def _compile(
    names: tuple[str, ...], terms: Sequence[Term], closings: frozenset[str], common: frozenset[bytes], hosts: Collection[str],
) -> Topics:  # fmt: skip
    literals: dict[str, tuple[int, list[Term]]] = {}
    shapes: dict[Term, _Shape] = {}
    for term in terms:
        at = _rarest(term.words)
        words = [re.escape(word) for word in term.words]
        before = re.compile(_GAP.join(words[:at]) + _GAP + r"\Z") if at else None
        shapes[term] = _Shape(before, re.compile(_GAP.join(words[at:]) + r"(?![\w\u0900-\u0d7f\u0600-\u06ff])"))
        for literal in _literals(term.words[at : at + 2]):
            literals.setdefault(literal, (TERM, []))[1].append(term)
    for sign in SIGNS:
        literals.setdefault(fold(sign), (FILE, []))
    for host in hosts:
        literals.setdefault(host + "/", (HOST, []))
    for sign in LINK_SIGNS:
        literals.setdefault(sign, (LINK, []))
    forms = [(literal, (kind, len(literal), tuple(found))) for literal, (kind, found) in literals.items()]
    ascii_forms = [(literal, form) for literal, form in forms if literal.isascii()]
    return Topics(
        names, closings, common,
        tuple(form for _, form in forms), tuple(form for _, form in ascii_forms),
        _automaton([literal for literal, _ in ascii_forms], Implementation.DFA),
        _automaton([literal for literal, _ in forms], Implementation.ContiguousNFA),
        shapes,
    )  # fmt: skip


def _rarest(words: tuple[str, ...]) -> int:
    """Which of the *words* begins the pair to search for: the longest pair, since short words stand everywhere ("may be")."""
    lengths = [len(first) + len(second) for first, second in itertools.pairwise(words)]
    return lengths.index(max(lengths)) if lengths else 0


def _literals(words: tuple[str, ...]) -> Iterator[str]:
    """What the automaton looks for: both words with each usual gap between them, so that common single words cost nothing."""
    if len(words) == 1:
        yield words[0]
        return
    for gap in _GAPS:
        yield words[0] + gap + words[1]


def _automaton(literals: Sequence[str], implementation: Implementation) -> BytesAhoCorasick:
    return BytesAhoCorasick(
        [encode(literal) for literal in literals] or [b"\xff"], matchkind=MATCHKIND_STANDARD, implementation=implementation
    )
