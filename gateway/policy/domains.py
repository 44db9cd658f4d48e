"""What kind of domain an address has: its tier, the reason, and which government domain it only resembles.

What it is: ``Domains``, built from rules/domains/*.toml. Matching is label by label on A-labels; the longest match decides.
Who calls it: ``facts`` for originators and recipients, ``gateway explain``, the pages.
Must never: call a domain government because it looks like one. Likeness only ever gives a reason to refuse.
Sources: rules/domains names the circulars; RFC 5890 (A-labels); hostile-inputs catalogue A10-A12, A33.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from gateway.policy import source
from gateway.policy.source import PolicyError, Source
from gateway.verdict import Tier

_CACHE = 8192  # domains remembered a process
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_RANK = (Tier.GOVERNMENT_EXTERNAL, Tier.GOVERNMENT, Tier.PRIVATE, Tier.APPROVED, Tier.OTHER)
_OTHER = "is not a government domain (gov.in, nic.in, mil.in)"


@dataclass(frozen=True, slots=True)
class DomainInfo:
    """What is known of one domain."""

    tier: Tier
    reason: str
    """One clause that reads on after the domain's name: ``is a private e-mail provider`` …"""
    look_alike: str = ""
    """The government domain that this one resembles without being in it."""
    provider: str = ""
    """Name of the private provider or service; empty for others."""
    service: str = ""
    """``cloud`` or ``messenger`` for hosts of storage and messaging services."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of a file: a name (with or without what is below it) or a pattern of labels."""

    name: str
    tier: Tier
    reason: str
    provider: str = ""
    service: str = ""
    below: bool = False
    watch: str = ""


@dataclass(frozen=True, slots=True)
class _Watched:
    """A government name that others imitate."""

    name: str
    labels: tuple[str, ...]
    loose: bool


@dataclass(frozen=True, slots=True)
class Domains:
    """Every list of rules/domains, ready for look-up. Thread-safe; the same domain always has the same answer."""

    exact: Mapping[str, _Entry]
    below: Mapping[str, _Entry]
    patterns: tuple[tuple[re.Pattern[str], _Entry], ...]
    watched: tuple[_Watched, ...]
    confusables: Mapping[int, str]
    tier: Callable[[str], DomainInfo] = field(init=False, compare=False, repr=False)
    """``tier(domain)``: what is known of *domain*, which is in lower-case A-labels."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tier", lru_cache(maxsize=_CACHE)(self._tier))

    def _tier(self, domain: str) -> DomainInfo:
        labels = domain.lower().rstrip(".").split(".")
        name = ".".join(labels)
        best: tuple[int, int, _Entry] | None = None
        if name in self.exact:
            best = (-len(labels), 0, self.exact[name])
        for start in range(len(labels)):
            entry = self.below.get(".".join(labels[start:]))
            if entry is not None:
                best = _better(best, (start - len(labels), _RANK.index(entry.tier), entry))
        for pattern, entry in self.patterns:
            match = pattern.search(name)
            if match:
                best = _better(best, (-(match["name"].count(".") + 1), _RANK.index(entry.tier), entry))
        if best is not None:
            entry = best[2]
            like = self._resembles(labels) if entry.tier is Tier.PRIVATE and entry.name != name else ""  # gov.in.com is in.com's
            return DomainInfo(entry.tier, entry.reason, like, entry.provider, entry.service)
        like = self._resembles(labels)
        if like:
            return DomainInfo(Tier.OTHER, f"only resembles {like} and is not a government domain", like)
        return DomainInfo(Tier.OTHER, _OTHER)

    def _resembles(self, labels: list[str]) -> str:
        """The government name that a reader may take *labels* for; empty when there is none."""
        skeleton = ".".join(self._skeleton(label) for label in labels)
        parts = skeleton.split(".")
        pieces = skeleton.replace("-", ".").split(".")
        for watched in self.watched:
            wanted = list(watched.labels)
            count = len(wanted)
            if parts[-count:] == wanted or any(pieces[i : i + count] == wanted for i in range(len(pieces))):
                return watched.name
            if count != 2:
                continue
            first, last = wanted
            if any(a == first and c == last for a, c in zip(pieces, pieces[2:], strict=False)):  # gov.co.in, nic.org.in
                return watched.name
            if any(piece == first + last for piece in pieces):  # govin.com
                return watched.name
            if watched.loose and any(
                (a.endswith(first) or a.startswith(first)) and b == last for a, b in itertools.pairwise(pieces)
            ):  # evilgov.in, mygov-in.com
                return watched.name
            if parts[-1] == last and len(parts) >= count and re.fullmatch(rf"{first}-?(mail|email|india|gov)", parts[-2]):  # nicmail.in
                return watched.name
        return ""

    def _skeleton(self, label: str) -> str:
        """*label* as the eye reads it: decoded, without marks, look-alike letters and digits mapped to ASCII."""
        text = label
        if label.startswith("xn--"):
            try:
                text = label[4:].encode("ascii").decode("punycode")
            except (UnicodeError, ValueError):
                return label
        text = unicodedata.normalize("NFKD", text).casefold().translate(self.confusables)
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not (c > "\x7f" and unicodedata.category(c) in ("Mn", "Cf")))
        if text.isascii():
            return text.replace("rn", "m").replace("vv", "w")
        return label


def _better(one: tuple[int, int, _Entry] | None, other: tuple[int, int, _Entry]) -> tuple[int, int, _Entry]:
    """The match of more labels; among equals the stricter tier."""
    return other if one is None or other[:2] < one[:2] else one


def load(folder: Path, root: Path) -> Domains:
    """The lists of *folder*. Raises PolicyError with file, line and field; a name in two lists is an error."""
    exact: dict[str, _Entry] = {}
    below: dict[str, _Entry] = {}
    patterns: list[tuple[re.Pattern[str], _Entry]] = []
    watched: list[_Watched] = []
    confusables: dict[int, str] = {}
    for path in source.files(folder):
        file = source.read(path, root)
        source.keys(file, file.data, {"tier": str, "reason": str, "service": str, "domain": list, "confusables": dict}, "")
        for key, letters in file.data.get("confusables", {}).items():
            if len(key) != 1 or not isinstance(letters, str):
                raise file.fail(
                    file.line("confusables", 0, key), f"confusables.{key}", "is one ASCII letter and the text of its look-alikes"
                )
            confusables |= {ord(letter): key for letter in letters}
        for index, table in enumerate(file.data.get("domain", [])):
            entry, pattern = _entry(file, index, table)
            if pattern is not None:
                patterns.append((pattern, entry))
                continue
            if entry.name in exact or entry.name in below:
                raise file.fail(file.line("domain", index, "name"), "domain.name", f"{entry.name} stands in two lists")
            (below if entry.below else exact)[entry.name] = entry
            if entry.watch:
                watched.append(_Watched(entry.name, tuple(entry.name.split(".")), entry.watch == "loose"))
    if not any(entry.tier is Tier.GOVERNMENT for entry in below.values()):
        raise PolicyError(f"{folder}: no list names a government domain")
    return Domains(exact, below, tuple(patterns), tuple(watched), confusables)


def _entry(file: Source, index: int, table: Any) -> tuple[_Entry, re.Pattern[str] | None]:
    if not isinstance(table, dict):
        raise file.fail(file.line("domain", index), "domain", "must be a table")
    kinds: dict[str, type | tuple[type, ...]] = {
        "name": str, "pattern": str, "subdomains": bool, "reason": str, "provider": str, "watch": str,
    }  # fmt: skip
    source.keys(file, table, kinds, "domain", index)
    tier_name = file.data.get("tier", "")
    try:
        tier = Tier(tier_name)
    except ValueError:
        raise file.fail(file.line("", 0, "tier"), "tier", f"{tier_name!r} is not a tier") from None
    name, pattern = table.get("name", ""), table.get("pattern", "")
    key = "name" if name else "pattern"
    line = file.line("domain", index, key)
    if bool(name) == bool(pattern):
        raise file.fail(file.line("domain", index), "domain", "needs either a name or a pattern")
    if table.get("watch", "") not in ("", "strict", "loose"):
        raise file.fail(file.line("domain", index, "watch"), "domain.watch", 'must be "strict" or "loose"')
    reason = table.get("reason") or file.data.get("reason", "")
    if not reason:
        raise file.fail(line, "domain.reason", "is needed, here or at the top of the file")
    text = name or pattern
    labels = text.split(".")
    for label in labels:
        if not _LABEL.fullmatch(label.replace("*", "x") if pattern else label):
            raise file.fail(line, f"domain.{key}", f"{text!r} is not a domain in lower-case A-labels")
    entry = _Entry(
        text, tier, reason, table.get("provider", ""), file.data.get("service", ""), table.get("subdomains", False), table.get("watch", "")
    )
    return entry, _pattern(labels) if pattern else None


def _pattern(labels: list[str]) -> re.Pattern[str]:
    """``yahoo.*``: any ending of one or two labels; ``*-external.gov.in``: any beginning of that label, and what is below it."""
    last = r"[a-z0-9-]{2,}(?:\.[a-z]{2})?" if labels[-1] == "*" else re.escape(labels[-1])
    inner = [re.escape(label).replace(r"\*", "[a-z0-9-]+") for label in labels[:-1]]
    return re.compile(r"(?:^|\.)(?P<name>" + r"\.".join([*inner, last]) + r")$")
