"""The classification scheme as data, checked and compiled.

What it is: ``Scheme``: levels, terms, keys and contexts of rules/scheme.toml with the matcher for them.
Who calls it: the policy loads it; ``markings``, ``labels`` and the writers of labels read it.
Must never: do I/O; accept an unknown key, an unknown level or a term that has two levels; raise anything but ValueError.
Sources: rules/scheme.toml names the circulars; docs/design.md section 5 (rules are data, with content-addressed versions).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from gateway.levels import Level
from gateway.text import legacy_fonts
from gateway.text.matcher import Finder, Hit, Matcher, Term
from gateway.text.normalise import fold, normalise
from gateway.text.tables import Reader
from gateway.text.watch import NOTHING, Watch
from gateway.verdict import Confidence

# What is no part of a word: blanks, punctuation, lines, arrows, pictures and the bullets of symbol fonts.
_SIGNS = (
    r"\s!-/:-@\[-`{-~\u00a1-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf…\u2010-\u2027\u2030-\u205e\u2190-\u2bff\u0964\u0965\u3000-\u3003"
    r"\u3008-\u3011\ue000-\uf8ff\ufffd\U0001f000-\U0001faff"
)
_TOKEN = re.compile(f"[^{_SIGNS}]+")
_CAVEAT_NAME = re.compile(r"[a-z][a-z0-9-]{1,40}")
_FIELD = re.compile(r"[/|,;:()\[\]{}<>]+|\s[-\u2010-\u2015]+\s|[\u2013-\u2015]+")

# Around a key: the beginning of a line or cell, an item number, quotes; then a colon, dash, gap or "is".
_KEY_BEFORE = r"(?:^|[|\t;,(\[{]|\s{2})\s*(?:\(?\w{1,3}[.)]\s*)?[*_#>\"'\s]*"
_KEY_SIGN = rf"(?:[*_\"'\s]*(?:[:=|\t(\[\-\u2010-\u2015…\u2190-\u21ff]|\.{{2,}}|\s{{2,}})[{_SIGNS}]{{0,24}}|\sis\s[*_\"'\s(\[]*)\Z"


def tokens(folded: str) -> list[str]:
    """The words of *folded*: what stands between blanks and punctuation, with the vowel signs that ``\\w`` would cut off."""
    return _TOKEN.findall(folded)


def _phrase(text: str) -> str:
    return " ".join(tokens(fold(text)))


@dataclass(frozen=True, slots=True, eq=False)
class Caveat:
    """One way to write a handling caveat: what may be done with a paper, beside its level or without one."""

    name: str
    language: str
    verified: bool
    words: tuple[str, ...]
    """Folded."""
    sign: str
    """Its longest word: a text without that does not hold it."""
    pattern: re.Pattern[str]
    """Its words in a folded text, blanks between them."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a label's value says in the words of the scheme."""

    level: Level
    language: str
    verified: bool
    exact: bool
    """The value is the term and nothing else that matters."""


@dataclass(frozen=True, slots=True, eq=False)
class Scheme:
    """Everything a scanner needs to know of a scheme. Built by ``Scheme.parse`` only."""

    version: str
    """``sha256:`` of the text it was made from."""
    terms: tuple[Term, ...]
    matcher: Matcher
    exact: Mapping[str, Term]
    """Each term by its folded words."""
    colours: Mapping[Level, tuple[str, str]]
    """Foreground and background of a label, as RFC 7444 names them."""
    bracketed: Mapping[str, Level]
    whole_line: Mapping[str, Level]
    beside: re.Pattern[str]
    """Phrases that may stand beside a marking, in a space-joined row of words."""
    paging: frozenset[str]
    until: frozenset[str]
    """Words that begin the end of a marking's time ("until 1500 hrs on 12 March")."""
    dates: frozenset[str]
    """Words that may stand behind those."""
    subject_key: re.Pattern[str]
    """The beginning of a line that gives the subject of a letter."""
    key_end: re.Pattern[str]
    """A key and its colon at the end of what stands before a term."""
    key_line: re.Pattern[str]
    """A line that is only a key."""
    statements: frozenset[str]
    after: frozenset[str]
    before: frozenset[str]
    negation: frozenset[str]
    history: frozenset[str]
    landmarks: tuple[tuple[str, str], ...]
    """Literal and kind (disclaimer, quote, sender) of what shows that text is quoted or boilerplate."""
    landmark_finder: Finder
    reply_prefix: re.Pattern[str]
    label_names: Mapping[str, Level]
    sensitivity: Mapping[str, Level]
    sensitivity_confidence: Confidence
    properties: frozenset[str]
    label_headers: frozenset[str]
    """Names of header fields that hold a classification, in small letters."""
    caveats: tuple[Caveat, ...] = ()
    watch: Watch = NOTHING
    """What to look for besides markings; ``with_watch`` sets it."""

    @classmethod
    def parse(cls, toml_text: str, additions: Sequence[str] = ()) -> Scheme:
        """The scheme in *toml_text*, with the tables of *additions* (a department's own terms) appended.

        Raises ValueError with line and field.
        """
        return _parse(toml_text, tuple(additions))

    def with_watch(self, watch: Watch) -> Scheme:
        """The same scheme that watches for *watch*."""
        return replace(self, watch=watch)

    def rest(self, folded: str) -> list[str]:
        """The words of *folded* that are neither numbers nor words that may stand beside a marking."""
        words = tokens(folded)
        if not words:
            return words
        left = self.beside.sub(" ", " " + "  ".join(words) + " ").split()
        left = [word for word in left if word not in self.paging and not word[0].isdigit()]
        if self.until.isdisjoint(left):
            return left
        return [word for word in left if word not in self.until and word not in self.dates]

    def is_classification_property(self, name: str) -> bool:
        """Whether a document property of that name holds a classification."""
        return _phrase(name[:200]) in self.properties

    def label_level(self, name: str) -> Level | None:
        """The level that the table of label names gives *name*, a display name or an identifier of a label."""
        return self.label_names.get(_phrase(name[:200]))

    def sensitivity_of(self, value: str) -> Level | None:
        """The level that a Sensitivity field hints at."""
        return self.sensitivity.get(_phrase(value[:200]))

    def named(self, value: str) -> Named | None:
        """The level that the label value *value* names: as a whole, in one of its fields, or somewhere in its words."""
        return _named(self, value[:512])


@lru_cache(maxsize=256)
def _named(scheme: Scheme, value: str) -> Named | None:
    normal = normalise(value)
    best: Named | None = None
    for part in (normal.text, *_FIELD.split(normal.text)):
        words = tokens(part)
        key = " ".join(words)
        term = scheme.exact.get(key) or scheme.exact.get(" ".join(scheme.rest(part)))
        if term is not None:
            found = Named(term.level, term.language, term.verified, exact=True)
        elif key in scheme.label_names:
            found = Named(scheme.label_names[key], "", verified=True, exact=True)
        else:
            continue
        if best is None or found.level > best.level:
            best = found
    if best is not None:
        return best
    hits: list[Hit] = scheme.matcher.search(normal)
    if not hits:
        return None
    top = max(hits, key=lambda hit: hit.term.level).term
    return Named(top.level, top.language, top.verified, exact=False)


def _parse(toml_text: str, additions: tuple[str, ...]) -> Scheme:
    readers = [Reader(toml_text, "scheme"), *(Reader(text, "addition") for text in additions)]
    exact: dict[str, Term] = {}
    for reader in readers:
        for row in reader.rows("marking", {"language", "level", "verified", "terms"}, {"only"}):
            keyed = row.choice("only", ("keyed",)) is not None
            for text in row.strings("terms"):
                words = tuple(tokens(fold(text))) if text.isascii() and text.replace(" ", "").isalpha() else tuple(fold(text).split())
                if not words:
                    raise row.error("terms", "an empty term")
                term = Term(words, row.level("level"), row.string("language"), row.flag("verified"), keyed)
                known = exact.get(" ".join(words))
                if known is not None and known.level is not term.level:
                    raise row.error("terms", f"{text!r} is {known.level.text} already ({known.language}), here {term.level.text}")
                if known is None or (term.verified and not known.verified):
                    exact[" ".join(words)] = term
    if not exact:
        raise readers[0].problem("marking", "no term at all")
    colours = _colours(readers[0])
    bracketed: dict[str, Level] = {}
    whole_line: dict[str, Level] = {}
    for reader in readers:
        for row in reader.rows("abbreviation", {"level"}, {"bracketed", "whole_line"}):
            for field, table in (("bracketed", bracketed), ("whole_line", whole_line)):
                for text in row.strings(field):
                    if table.setdefault(text, row.level("level")) is not row.level("level"):
                        raise row.error(field, f"{text!r} has two levels")
    scheme = _compile(
        readers,
        exact,
        _caveats(readers, exact),
        colours,
        bracketed,
        whole_line,
        hashlib.sha256("\0".join((toml_text, *additions)).encode()).hexdigest(),
    )
    for reader in readers:
        for row in reader.rows("pair", {"level", "text"}, set()):
            levels = {hit.term.level for hit in scheme.matcher.search(normalise(row.string("text")))}
            if levels != {row.level("level")}:
                raise row.error("text", f"{row.string('text')!r} does not say {row.level('level').text} in both languages")
    for reader in readers:
        reader.finish()
    return scheme


def _caveats(readers: Sequence[Reader], exact: Mapping[str, Term]) -> tuple[Caveat, ...]:
    found: dict[tuple[str, ...], Caveat] = {}
    for reader in readers:
        for row in reader.rows("caveat", {"name", "language", "verified", "terms"}, set()):
            name = row.string("name")
            if not _CAVEAT_NAME.fullmatch(name):
                raise row.error("name", f"{name!r} is not a name (small letters, digits and hyphens)")
            for text in row.strings("terms"):
                words = tuple(tokens(fold(text)))
                if not words:
                    raise row.error("terms", "an empty term")
                if " ".join(words) in exact:
                    raise row.error("terms", f"{text!r} is a level already")
                if words in found and found[words].name != name:
                    raise row.error("terms", f"{text!r} is {found[words].name} already")
                pattern = re.compile(r"[ \t\u3000]{1,4}".join(map(re.escape, words)))
                found[words] = Caveat(name, row.string("language"), row.flag("verified"), words, max(words, key=len), pattern)
    return tuple(found.values())


def _colours(reader: Reader) -> dict[Level, tuple[str, str]]:
    colours: dict[Level, tuple[str, str]] = {}
    for row in reader.rows("level", {"name", "fgcolor", "bgcolor"}, set()):
        level = row.level("name")
        if level in colours:
            raise row.error("name", f"{level.text} stands here twice")
        for field in ("fgcolor", "bgcolor"):
            if not re.fullmatch(r"#[0-9A-Fa-f]{6}|[a-z]{3,10}", row.string(field)):
                raise row.error(field, f"not a colour: {row.string(field)!r}")
        colours[level] = (row.string("fgcolor"), row.string("bgcolor"))
    missing = [level.text for level in Level if level not in colours]
    if missing:
        raise reader.problem("level", f"no colours for {', '.join(missing)}")
    return colours


def _alternatives(phrases: Iterable[str], join: str) -> str:
    return "|".join(join.join(map(re.escape, phrase.split())) for phrase in sorted(set(phrases), key=len, reverse=True))


def _compile(
    readers: Sequence[Reader],
    exact: Mapping[str, Term],
    caveats: tuple[Caveat, ...],
    colours: Mapping[Level, tuple[str, str]],
    bracketed: Mapping[str, Level],
    whole_line: Mapping[str, Level],
    digest: str,
) -> Scheme:
    def listed(table: str, field: str) -> list[str]:
        return [_phrase(text) for reader in readers for text in reader.strings(table, field)]

    def named_levels(field: str) -> dict[str, Level]:
        return {_phrase(name): level for reader in readers for name, level in reader.levels("labels", field).items()}

    keys = _alternatives(listed("keys", "terms"), r"\s+") or "(?!)"
    handling = [" ".join(caveat.words) for caveat in caveats]
    beside = _alternatives([*handling, *listed("beside", "caveats"), *listed("beside", "urgency")], "  ")
    paging = frozenset(listed("beside", "paging"))
    subjects = _alternatives(listed("keys", "subjects"), r"\s+")
    prefixes = _alternatives(listed("quoting", "reply_prefixes"), r"\s+")
    landmarks = tuple(
        dict.fromkeys(
            [(fold(text), "disclaimer") for reader in readers for text in reader.strings("disclaimer", "phrases")]
            + [(fold(text).strip(), "quote") for reader in readers for text in reader.strings("quoting", "headers")]
            + [
                ("\n" + lead + fold(text) + ":", "sender")
                for reader in readers
                for text in reader.strings("quoting", "fields")
                for lead in ("", "*")
            ]
        )
    )
    terms = tuple(exact.values())
    return Scheme(
        version=f"sha256:{digest}",
        terms=terms,
        matcher=Matcher(terms, legacy_fonts.SIGNS),
        exact=exact,
        colours=colours,
        bracketed=bracketed,
        whole_line=whole_line,
        beside=re.compile(f" (?:{beside}) " if beside else r"(?!)"),
        paging=paging,
        until=frozenset(listed("beside", "until")),
        dates=frozenset(listed("beside", "dates")),
        subject_key=re.compile(rf"[\s*_#>]*(?:{subjects or '(?!)'})\s*(?:[:\-\u2010-\u2015]\s*){{1,3}}[*_\s]*"),
        key_end=re.compile(_KEY_BEFORE + f"(?:{keys})" + _KEY_SIGN),
        key_line=re.compile(r"[\s*_#>|\d.)(]*(?:" + keys + r")[\s*_:\-|.)\u2010-\u2015]*\Z"),
        statements=frozenset(listed("keys", "statements")),
        after=frozenset(listed("negative", "after")),
        before=frozenset(listed("negative", "before")),
        negation=frozenset(listed("negative", "negation")),
        history=frozenset(listed("negative", "history")),
        landmarks=landmarks,
        landmark_finder=Finder([literal for literal, _ in landmarks]),
        reply_prefix=re.compile(rf"\s*(?:(?:{prefixes or '(?!)'})\s*(?:\[\d{{1,3}}\])?\s*:\s*)+"),
        label_names=named_levels("names"),
        sensitivity=named_levels("sensitivity"),
        sensitivity_confidence=readers[0].confidence("labels", "sensitivity_confidence"),
        properties=frozenset(listed("labels", "properties")),
        label_headers=frozenset(name.lower() for reader in readers for name in reader.strings("labels", "headers")),
        caveats=caveats,
    )
