"""The sentences that officers read, in every language, from one source.

What it is: ``Explanations``: a key of a rule and words become *what* was stopped, *why*, *what to do next* and a short ASCII
form for SMTP replies.
Who calls it: ``bounce`` for reports and notices, the doors for replies, ``gateway explain`` and the pages.
Must never: quote text of the message, or let a word that came from outside break a line or a header.
Sources: docs/officer.md (how a report reads); RFC 5321 section 4.2 (reply text is ASCII).
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from gateway.policy import source
from gateway.policy.source import PolicyError
from gateway.verdict import Disposition, RecipientVerdict, Verdict

WORD_LIMIT = 120  # characters of one inserted word: a hostile file name stays readable and short
PHRASE_LIMIT = 900  # of a word in a fixed phrase: links and the next server's answers are longer
WORDS = frozenset({
    "recipient", "domain", "level", "declared", "file", "protection", "provider", "look_alike", "sender", "count", "exception",
    "probable", "from", "reply_to", "application", "profile", "host", "personal", "new",
    "thread",
})  # fmt: skip
"""Every word that a sentence may name."""

_KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_WAITING = ("wait", "or-wait")
FALLBACK = "refused-by-rule"
"""The sentences used when a key is not known; shipped in every language."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The sentences for one decision in one language, words filled in."""

    what: str
    why: str
    next: tuple[str, ...]
    short: str
    """ASCII, one line, for SMTP replies and Diagnostic-Code."""


@dataclass(frozen=True, slots=True)
class Language:
    """One file of rules/explanations: its sentences and the fixed phrases of reports."""

    code: str
    name: str
    phrases: Mapping[str, str]
    sentences: Mapping[str, Explanation]
    waiting: frozenset[str] = frozenset()
    """The steps that tell of a reviewer who will look at the message."""
    verified: bool = True
    """False where no native reader has reviewed the file: it is shown only where the config names the language."""


@dataclass(frozen=True, slots=True)
class Explanations:
    """All languages, in the order of the config first; unverified ones only where the config names them."""

    languages: Mapping[str, Language]

    @property
    def unverified(self) -> tuple[str, ...]:
        """The languages in use whose sentences no native reader has reviewed."""
        return tuple(code for code, language in self.languages.items() if not language.verified)

    def keys(self, lang: str = "en") -> frozenset[str]:
        """The keys that *lang* has sentences for."""
        return frozenset(self.languages[lang].sentences)

    def sentence(self, key: str, lang: str, words: Mapping[str, str]) -> Explanation:
        """The explanation *key* in *lang* (English where the language or the key is missing), with *words* made safe and filled in."""
        language = self.languages.get(lang) or self.languages["en"]
        found = language.sentences.get(key) or self.languages["en"].sentences.get(key) or language.sentences[FALLBACK]
        safe = _Words({name: clean(value) for name, value in words.items()})
        ascii_words = _Words({name: to_ascii(value) for name, value in safe.items()})
        short = found.short or self.languages["en"].sentences.get(key, self.languages["en"].sentences[FALLBACK]).short
        return Explanation(
            found.what.format_map(safe),
            found.why.format_map(safe),
            tuple(step.format_map(safe) for step in found.next),
            to_ascii(short.format_map(ascii_words)),
        )

    def not_filed(self, key: str, lang: str, words: Mapping[str, str], *, sealed: bool = False) -> Explanation:
        """The same of what was refused where it was to be filed in a mailbox, though as mail it would wait for a reviewer: nothing of it is
        held, and nobody looks at it. *sealed*: as mail it would be kept for the security officer alone."""
        said = self.sentence(key, lang, words)
        what, next_ = said.what, said.next
        for code in (lang, "en"):  # where a language lacks the sentence it is the English one
            what = what.replace(self.phrase("sentence-held", code), self.phrase("sentence-not-filed", code))
            language = self.languages.get(code) or self.languages["en"]
            next_ = tuple(step for step in next_ if step not in language.waiting)
        return replace(said, what=self.phrase("sentence-not-filed-sealed", lang) if sealed else what, next=next_)

    def phrase(self, key: str, lang: str, words: Mapping[str, str] | None = None) -> str:
        """A fixed phrase of reports (``greeting``, ``rule`` …) in *lang*."""
        language = self.languages.get(lang) or self.languages["en"]
        text = language.phrases.get(key) or self.languages["en"].phrases[key]
        return text.format_map(_Words({name: clean(value, PHRASE_LIMIT) for name, value in (words or {}).items()}))

    def reply_text(self, verdict: Verdict | RecipientVerdict, reference: str, url: str = "") -> str:
        """What the SMTP reply says: one ASCII sentence, a second line with the reference, the rule and *url*, the officer's page."""
        one = worst(verdict.recipients) if isinstance(verdict, Verdict) else verdict
        text = self.sentence(one.explain or FALLBACK, "en", dict(one.facts)).short
        return f"{text}\n{to_ascii(f'Ref {reference} Rule {one.rule} {url}'.rstrip())}"


def worst(recipients: Sequence[RecipientVerdict]) -> RecipientVerdict:
    """The verdict that speaks for a whole message: the first refusal, else the first of the highest disposition."""
    refused = [one for one in recipients if one.disposition is Disposition.REFUSE]
    return refused[0] if refused else max(recipients, key=lambda one: one.disposition)


class _Words(dict[str, str]):
    """Missing words read as nothing special; load has checked that every name is a known one."""

    def __missing__(self, key: str) -> str:
        return "-"


def clean(word: str, limit: int = WORD_LIMIT) -> str:
    """*word* as one printable line: no control, format or bidirectional characters, at most *limit* characters."""
    flat = "".join(_visible(c) for c in word[: limit * 4])
    flat = " ".join(flat.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _visible(c: str) -> str:
    """*c*, a blank for white space, and a replacement character for what cannot be seen (joiners of Indic scripts stay)."""
    if c.isspace():
        return " "
    return c if unicodedata.category(c)[0] not in "CZ" or c in "\u200c\u200d" else "\ufffd"


def to_ascii(text: str) -> str:
    """*text* with every character outside printable ASCII written as ``?``."""
    return "".join(c if " " <= c <= "~" else "?" for c in text.replace("…", "..."))


def load(folder: Path, root: Path, languages: Sequence[str], shipped: Path | None = None) -> Explanations:
    """Every ``<code>.toml`` of *folder*; those that are not verified only where they are among *languages*. A phrase that a file lacks
    is that of the same file in *shipped*: a folder of rules that is older than the program has not yet those that it needs.

    Raises PolicyError: a bad file (also of a language that is not shown), English missing, a language of the config missing.
    """
    found: dict[str, Language] = {}
    for path in source.files(folder):
        language = _language(source.read(path, root), path.stem)
        if shipped is not None and folder != shipped and (ours := shipped / path.name).is_file():
            known = _language(source.read(ours, shipped.parent), path.stem).phrases
            language = replace(language, phrases=MappingProxyType({**known, **language.phrases}))
        found[language.code] = language
    for wanted in ("en", *languages):
        if wanted not in found:
            raise PolicyError(f"{folder}: there is no {wanted}.toml for the language {wanted!r} of the config")
    for language in found.values():
        if FALLBACK not in language.sentences:
            raise PolicyError(f"{folder / (language.code + '.toml')}: sentences.{FALLBACK}: missing")
    order = dict.fromkeys((*languages, *(code for code in sorted(found) if found[code].verified)))
    return Explanations(MappingProxyType({code: found[code] for code in order}))


def _language(file: source.Source, stem: str) -> Language:
    source.keys(file, file.data, {"name": str, "verified": bool, "phrases": dict, "steps": dict, "sentences": dict}, "")
    phrases, sentences, shared = file.data.get("phrases", {}), file.data.get("sentences", {}), file.data.get("steps", {})
    for key, value in shared.items():
        _texts(file, "steps", key, value)
    for key, value in phrases.items():
        if not isinstance(value, str):
            raise file.fail(file.line("phrases", 0, key), f"phrases.{key}", "must be text")
        _check_words(file, value, file.line("phrases", 0, key), f"phrases.{key}", None)
    filled: dict[str, Explanation] = {}
    for key, table in sentences.items():
        name = f"sentences.{key}"
        line = file.line(name)
        if not _KEY.fullmatch(key) or not isinstance(table, dict):
            raise file.fail(line, name, "a key is small letters and hyphens, its value a table")
        source.keys(file, table, {"what": str, "why": str, "next": list, "short": str}, name)
        if not table.get("what") or not table.get("why"):
            raise file.fail(line, name, "what and why are needed")
        steps: list[str] = []
        for step in _texts(file, name, "next", table.get("next", [])):
            if step.startswith("@") and step[1:] not in shared:
                raise file.fail(file.line(name, 0, "next"), f"{name}.next", f"there are no steps {step!r}")
            steps += shared[step[1:]] if step.startswith("@") else [step]
        short = table.get("short", "")
        if stem == "en" and (not short or to_ascii(short) != short or len(short) > 200):
            raise file.fail(line, f"{name}.short", "is needed in English: ASCII, at most 200 characters")
        for text in (table["what"], table["why"], short, *steps):
            _check_words(file, text, line, name, WORDS)
        filled[key] = Explanation(table["what"], table["why"], tuple(steps), short)
    waiting = frozenset(step for name in _WAITING for step in shared.get(name, ()))
    return Language(
        stem,
        str(file.data.get("name", stem)),
        MappingProxyType(phrases),
        MappingProxyType(filled),
        waiting,
        file.data.get("verified", True),
    )


def _texts(file: source.Source, table: str, key: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(step, str) and step for step in value):
        raise file.fail(file.line(table, 0, key), f"{table}.{key}", "must be a list of texts")
    return value


def _check_words(file: source.Source, text: str, line: int, field: str, known: frozenset[str] | None) -> None:
    """Only ``{plain}`` names of *known*: no attribute, index, conversion or format of a word."""
    try:
        for _, name, spec, conversion in string.Formatter().parse(text):
            if name is None:
                continue
            if spec or conversion or not re.fullmatch(r"[a-z_]+", name) or (known is not None and name not in known):
                raise file.fail(line, field, f"unknown word {{{name}}}")
    except ValueError as error:
        raise file.fail(line, field, f"braces: {error}") from None
