"""What a person reads in a report: the plain text and its HTML alternative, language after language.

What it is: ``Reading``, the values of one report, and its two renderings.
Who calls it: ``bounce``.
Must never: let a word of the message or of another server become markup, a second line or a header.
Sources: docs/officer.md (how a report reads); hostile-inputs catalogue L05.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

from gateway.policy.explanations import Explanation, Explanations

_INDIA = timezone(timedelta(hours=5, minutes=30))
_WIDTH = 74


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """One recipient of a report."""

    address: str
    status: str
    """RFC 3463 code: ``5.7.1`` …; its class is made to fit the report."""
    explain: str
    """Key of the sentences; for a next hop's refusal ``next-hop-refused``, for an expired delivery ``delivery-expired``."""
    words: Mapping[str, str] = field(default_factory=dict)
    rule: str = ""
    source: str = ""
    orcpt: str = ""
    """``addr-type;xtext`` as given with RCPT."""
    diagnostic: str = ""
    """The next hop's reply; empty: ours is made from the explanation."""
    remote_mta: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that stands in the readable part."""

    kind: str
    """failed, held, delayed or relayed."""
    recipients: Sequence[RecipientReport]
    explanations: Explanations
    languages: Sequence[str]
    phrases: Mapping[str, str]
    """Words of the fixed phrases: reference, hostname, time, contact, url."""
    subject: str = ""
    """Of the original, as text; empty where it is not repeated."""
    note: str = ""

    def plain(self) -> str:
        """The text, lines of at most 76 characters where there are blanks to break at, ends with LF."""
        parts = [self._plain(lang) for lang in self.languages]
        return ("\n\n" + "-" * 60 + "\n\n").join(parts) + "\n"

    def html(self) -> str:
        """The same as HTML without any reference to the outside."""
        articles = "\n<hr>\n".join(self._html(lang) for lang in self.languages)
        return (
            '<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>'
            + html.escape(self.phrase(f"subject-{self.kind}", self.languages[0]))
            + '</title></head>\n<body style="font-family:sans-serif;max-width:42em">\n'
            + articles
            + "\n</body></html>\n"
        )

    def phrase(self, key: str, lang: str, **words: str) -> str:
        """One fixed phrase with the words of this report."""
        return self.explanations.phrase(key, lang, {**self.phrases, **words})

    def _groups(self, lang: str) -> list[tuple[list[tuple[RecipientReport, Explanation]], Explanation]]:
        """Recipients that have why and next in common, in order."""
        groups: dict[tuple[str, tuple[str, ...], str, str, str], list[tuple[RecipientReport, Explanation]]] = {}
        for one in self.recipients:
            said = self.explanations.sentence(one.explain, lang, {"recipient": one.address, **one.words})
            groups.setdefault((said.why, said.next, one.rule, one.source, one.diagnostic), []).append((one, said))
        return [(members, members[0][1]) for members in groups.values()]

    def _tail(self, lang: str) -> list[str]:
        lines = [self.phrase("note", lang, note=self.note)] if self.note else []
        lines.append(self.phrase("reference", lang))
        if self.phrases.get("url"):
            lines.append(self.phrase("link", lang))
        lines += [self.phrase("contact", lang), self.phrase("recorded", lang), self.phrase("automatic", lang)]
        return lines

    def _rule(self, one: RecipientReport, lang: str) -> list[str]:
        lines = [self.phrase("rule", lang, rule=one.rule)] if one.rule else []
        if one.source:
            lines.append(self.phrase("source", lang, source=one.source))
        if one.diagnostic:
            lines.append(self.phrase("answer", lang, answer=one.diagnostic))
        return lines

    def _plain(self, lang: str) -> str:
        lines = _wrapped(self.phrase(f"intro-{self.kind}", lang))
        if self.subject:
            lines += ["", *_wrapped(f"{self.phrase('original-subject', lang)}: {self.subject}")]
        for members, said in self._groups(lang):
            lines += ["", self.phrase("recipients", lang) + ":"]
            lines += [f"  {one.address}" for one, _ in members]
            lines += ["", self.phrase("what", lang) + ":"]
            for what in dict.fromkeys(each.what for _, each in members):
                lines += _wrapped(what, "  ")
            lines += ["", self.phrase("why", lang) + ":", *_wrapped(_sentence(said.why), "  ")]
            if said.next:
                lines += ["", self.phrase("next", lang) + ":"]
                for step in said.next:
                    lines += _wrapped(step, "    ", "  - ")
            rule = self._rule(members[0][0], lang)
            lines += [""] if rule else []
            for line in rule:
                lines += _wrapped(line)
        lines.append("")
        for line in self._tail(lang):
            lines += _wrapped(line)
        return "\n".join(lines)

    def _html(self, lang: str) -> str:
        out = [f'<div lang="{html.escape(lang)}">', _p(self.phrase(f"intro-{self.kind}", lang))]
        if self.subject:
            out.append(_p(f"{self.phrase('original-subject', lang)}: {self.subject}"))
        for members, said in self._groups(lang):
            out.append(_h(self.phrase("recipients", lang)) + _list([one.address for one, _ in members]))
            out.append(_h(self.phrase("what", lang)))
            out += [_p(what) for what in dict.fromkeys(each.what for _, each in members)]
            out.append(_h(self.phrase("why", lang)) + _p(_sentence(said.why)))
            if said.next:
                out.append(_h(self.phrase("next", lang)) + _list(said.next))
            out += [_p(line) for line in self._rule(members[0][0], lang)]
        out += ["<hr>", *(_p(line) for line in self._tail(lang)), "</div>"]
        return "\n".join(out)


def india_time(seconds: float) -> str:
    """*seconds* since the epoch as officers read it: ``21 November 2026, 18:28 IST``."""
    moment = datetime.fromtimestamp(seconds, UTC).astimezone(_INDIA)
    month = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
    return f"{moment.day} {month[moment.month - 1]} {moment.year}, {moment:%H:%M} IST"


def _wrapped(text: str, indent: str = "", first: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def _sentence(clause: str) -> str:
    return clause[:1].upper() + clause[1:]


def _p(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _h(text: str) -> str:
    return f"<h4>{html.escape(text)}</h4>\n"


def _list(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in items) + "</ul>"
