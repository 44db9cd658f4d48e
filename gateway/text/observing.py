"""What a text holds besides markings: personal numbers, caveats, topics, links, private addresses, file numbers.

What it is: ``Observer``, which looks through the texts of one message and says what it saw.
Who calls it: ``markings.scan`` hands it each text it has folded; ``plain`` and ``content.walk`` make one for each message.
Must never: keep a value beyond the message; raise; do I/O; cost more than linear time. A text without any hit costs one pass of
an automaton and some searches in memory.
Sources: rules/README.md, R15, R17, R19, R23, R30, R32, R34; docs/design.md section 10 ("explain --json").
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from gateway import address
from gateway.levels import Level, highest
from gateway.text import caveats, file_numbers, identifiers, links, passages, passports, payments
from gateway.text.normalise import Normal, encode, normalise
from gateway.text.regions import Regions
from gateway.text.scheme import Scheme
from gateway.text.topics import FILE, LINK, NEEDED, Term, may_be_enough, points
from gateway.text.zones import Layout
from gateway.verdict import Confidence, Finding, Leaf, Observation, Thread, Zone

MOST = 50
"""Observations of one message."""
HIGHEST = 1000
"""A count goes no further."""
_MOST_ADDRESSES = 5000
_LABEL = r"[^\s@<>()\[\]{},;:\"'/\\.|=&?#!%*]{1,63}+"
_ADDRESS = re.compile(rf"(?<=[\w.+\-'\"])@(?P<domain>{_LABEL}(?:\.{_LABEL}){{1,8}}+)")
_RANK = ("aadhaar", "pan", "passport", "bank-account", "card", "active", "caveat", "topic", "link", "address", "file-number")
_FIXED = {Zone.SUBJECT: "subject", Zone.BODY: ""}
_SHORT = 10  # characters of a text that can hold nothing of interest
_MOST_ENCLOSED = 50
_MOST_MARKED = 200  # fingerprints of one marked message
_KEPT = 1_000_000  # characters of texts that are kept until it is known whether their passages matter


class Observer:
    """Looks through the texts of one message. The values live as long as it does."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._watch = scheme.watch
        self._seen: dict[tuple[str, str, str], dict[str, None]] = {}
        """Different values by kind, name and place."""
        self._first: dict[tuple[str, str, str], tuple[str, str]] = {}
        """Path and host of the first."""
        self._counted: dict[tuple[str, str, str], int] = {}
        self._subject: set[Term] = set()
        self._texts: list[tuple[str, bool, str, Layout | None]] = []
        """Path, whether it is attached, folded text and its layout where there is one, until ``thread`` is asked."""
        self._room = _KEPT
        self._answers = False
        self._enclosed: list[str] = []

    def look(self, normal: Normal, zone: Zone, path: str, *, attached: bool, layout: Layout | None = None) -> None:
        """Looks through one text of the leaf *path*; *layout* is its layout where somebody has it already."""
        text = normal.text
        if zone is Zone.SUBJECT:
            self._answers = self._answers or passages.is_reply(text)
        elif zone is Zone.BODY and len(text) <= self._room:
            self._room -= len(text)
            self._texts.append((path, attached, text, layout))
        self._caveats(normal, zone, path, attached=attached, layout=layout)
        if len(text) < _SHORT:
            return
        data = encode(text)
        flat = text if len(data) == len(text) else identifiers.digits(text)
        octets = data if flat is text else encode(flat)
        places = Regions(text, self._scheme, "attachment" if attached or zone is Zone.FILE_NAME else _FIXED.get(zone, "body"), layout)
        signs = identifiers.candidates(octets)
        spans = identifiers.stretches(flat) if signs.aadhaar or signs.card else ()
        if signs.aadhaar and spans:
            self._aadhaar(flat, spans, path, places)
        if signs.pan:
            self._pans(normal, flat, path, places)
        if signs.card and spans:
            self._numbers("card", payments.cards(flat, spans), path, places)
        if signs.account:
            self._numbers("bank-account", payments.accounts(flat, codes=signs.ifsc), path, places)
        if signs.seven and any(sign in text for sign in passports.SIGNS):
            self._numbers("passport", passports.passports(flat), path, places)
        hits, terms = self._watch.topics.look(text, data)
        if hits:
            self._hits(hits, flat, path, places)
        if terms:
            self._terms(terms, path, places)
        if "@" in text:
            self._addresses(text, path, places)

    def look_at_links(self, targets: Iterable[str], path: str, *, attached: bool) -> None:
        """Takes link targets that stand in no text (attributes of HTML, relationships of documents)."""
        place = "attachment" if attached else "body"
        for number, target in enumerate(targets):
            if number >= links.MOST:
                return
            target = target.strip()[: links.LONGEST]
            if target[:7].lower() == "mailto:":
                normal = normalise(target.partition("?")[0])
                self._addresses(normal.text, path, Regions(normal.text, self._scheme, place))
            else:
                self._link(target, path, place)

    def note(self, kind: str, name: str, path: str, *, attached: bool) -> None:
        """Something that a reader of a format saw, once each: active content."""
        self._add(kind, name, "attachment" if attached else "body", path, path)

    def enclose(self, message_id: str) -> None:
        """A message that is enclosed as such, by its Message-ID."""
        if len(self._enclosed) < _MOST_ENCLOSED:
            self._enclosed.append(message_id)

    def thread(self, references: Sequence[str], findings: Iterable[Finding], leaves: Iterable[Leaf]) -> Thread | None:
        """What the message answers or quotes, and what later ones may quote of it; None where that is nothing.

        *findings* and *leaves* are those of the whole message; *references* the Message-IDs that its own fields name.
        """
        named = tuple(dict.fromkeys((*references, *filter(None, self._enclosed))))
        is_reply = bool(named or self._answers or self._enclosed) or any(
            passages.quotes(text) or passages.repeats(text, self._scheme, layout) for _, _, text, layout in self._texts
        )
        levels = _certain(findings)
        if not is_reply and not levels:
            return None
        quotes = passages.asked((text for _, _, text, _ in self._texts), self._scheme) if is_reply else ()
        said = self._said(levels, {leaf.path for leaf in leaves if not leaf.is_attachment}) if levels else ()
        return Thread(is_reply, named, quotes, said)

    def _said(self, levels: dict[str, Level], bodies: set[str]) -> tuple[tuple[Level, bytes], ...]:
        """Level and fingerprint of the marked passages: bodies have the level of the header too, other texts their own only."""
        outer = levels.get("")
        marked: dict[bytes, Level] = {}
        for path, attached, text, layout in self._texts:
            body = not attached and path in bodies
            level = highest((outer if body else None, levels.get(path)))
            if level is not None and len(marked) < _MOST_MARKED:
                for value in passages.samples(passages.own(text, self._scheme, layout) if body else text, self._scheme):
                    marked[value] = max(level, marked.get(value, level))
        return tuple((level, value) for value, level in marked.items())

    def result(self) -> tuple[Observation, ...]:
        """Everything that was seen, the gravest kinds first."""
        totals = {key: len(values) for key, values in self._seen.items()} | self._counted
        found = []
        for (kind, name, place), count in totals.items():
            path, host = self._first[kind, name, place]
            found.append(Observation(kind, name, path, place, min(count, HIGHEST), host))
        found.sort(key=lambda one: (_RANK.index(one.kind), one.name == "other", one.name, one.place))
        return tuple(found[:MOST])

    def _add(self, kind: str, name: str, place: str, value: str, path: str, host: str = "") -> None:
        key = (kind, name, place)
        values = self._seen.get(key)
        if values is None:
            values = self._seen[key] = {}
            self._first[key] = (path, host)
        if len(values) < HIGHEST:
            values[value] = None

    def _caveats(self, normal: Normal, zone: Zone, path: str, *, attached: bool, layout: Layout | None) -> None:
        for name, at in caveats.find(normal, zone, self._scheme, layout):
            fixed = "attachment" if attached or zone is Zone.FILE_NAME else _FIXED.get(zone, "body")
            places = Regions(normal.text, self._scheme, fixed, layout)
            self._add("caveat", name, _own(places.of(at)), name, path)

    def _aadhaar(self, text: str, spans: Iterable[tuple[int, int]], path: str, places: Regions) -> None:
        personal = identifiers.Personal()
        personal.look(text, spans)
        for number, place in personal.aadhaar():
            self._add("aadhaar", "", _own(places.of(place)), number, path)

    def _numbers(self, kind: str, found: Iterable[tuple[str, int]], path: str, places: Regions) -> None:
        for number, place in found:
            self._add(kind, "", _own(places.of(place)), number, path)

    def _pans(self, normal: Normal, text: str, path: str, places: Regions) -> None:
        for number, place in identifiers.pans(text, normal.slice):
            self._add("pan", "", _own(places.of(place)), number, path)

    def _hits(self, hits: list[tuple[int, int]], text: str, path: str, places: Regions) -> None:
        followed = 0
        for kind, place in hits:
            if kind == FILE:
                if number := file_numbers.number(text, place):
                    self._add("file-number", "", _own(places.of(place)), number, path)
            elif followed < links.MOST and (link := links.at_sign(text, place) if kind == LINK else links.at_host(text, place)):
                followed += 1
                self._link(link, path, places.of(place))

    def _terms(self, terms: dict[Term, Iterator[int]], path: str, places: Regions) -> None:
        """What the *terms*, each with the places where it begins, say of topics."""
        # Where each term stands is dear to know, and most texts hold too little of any topic for it to matter.
        if places.fixed != "subject" and not may_be_enough(terms.keys() | self._subject):
            return
        first = {term: begin for term, begins in terms.items() if (begin := next(begins, None)) is not None}
        if not places.fixed and not may_be_enough(first.keys() | self._subject):
            return
        found: dict[str, set[Term]] = {}
        for term, begin in first.items():
            for place in itertools.chain((begin,), () if places.fixed else terms[term]):
                where = _own(places.of(place))
                found.setdefault(where, set()).add(term)
                if where == "body":
                    break  # what the writer says himself counts; where else the same term stands adds nothing that a rule would ask
        for where, together in found.items():
            self._topics(together, path, where)

    def _topics(self, found: set[Term], path: str, place: str) -> None:
        """The topics of one place; what the subject says counts for the body too."""
        if place == "subject":
            self._subject |= found
        elif place == "body":
            found = found | self._subject
        for topic, (total, count) in points(found).items():
            if total < NEEDED:
                continue
            key = ("topic", topic, place)
            self._first.setdefault(key, (path, ""))
            self._counted[key] = max(self._counted.get(key, 0), count)

    def _link(self, link: str, path: str, place: str) -> None:
        for host in links.hosts(link):
            service = self._watch.known(host).service
            value = link.replace("&amp;", "&").rstrip("/.,;)") if service else host
            self._add("link", service or "other", place, value, path, host)

    def _addresses(self, text: str, path: str, places: Regions) -> None:
        for number, match in enumerate(_ADDRESS.finditer(text)):
            if number >= _MOST_ADDRESSES:
                return
            try:
                domain = address.domain_of(match["domain"].rstrip("-_"))
            except address.AddressError:
                continue
            tier = self._watch.known(domain).tier
            if tier != "government":  # official mail is full of official addresses
                start = text.rfind(" ", max(0, match.start() - 64), match.start()) + 1
                self._add("address", tier, places.of(match.start()), text[max(start, match.start() - 64) : match.end()], path, domain)


def _certain(findings: Iterable[Finding]) -> dict[str, Level]:
    """The highest certain level from RESTRICTED on of each leaf; that of the header section stands under the empty path."""
    found: dict[str, Level] = {}
    for finding in findings:
        if finding.confidence is Confidence.CERTAIN and finding.level >= Level.RESTRICTED:
            path = "" if finding.path.startswith("header:") else finding.path
            found[path] = max(finding.level, found.get(path, finding.level))
    return found


def _own(place: str) -> str:
    """*place* for what means the same in a signature as in the body: there a signature is only where addresses and links stand."""
    return "body" if place == "signature" else place
