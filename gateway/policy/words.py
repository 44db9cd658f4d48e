"""The words that fill the sentences of explanations: level, recipient, file …

What it is: ``of_message`` for decisions about content, ``of_envelope`` for those that know the envelope only.
Who calls it: ``decide``.
Must never: take words from the body or the subject, but for the host of a link to a listed service; name a file or a host of a
message that is, or may be, SECRET or higher.
Source: docs/officer.md (how a report reads).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.address import Path
from gateway.config import Config
from gateway.envelope import Transaction
from gateway.levels import Level, highest
from gateway.policy import identity
from gateway.policy.domains import DomainInfo, Domains
from gateway.protection import GIVEN_AWAY, ProtectionState
from gateway.verdict import Classification, Confidence, Headers, Leaf, LeafState, Observation

Words = tuple[tuple[str, str], ...]


def _unprotected(leaf: Leaf) -> bool:
    classified = leaf.level is not None and leaf.level >= Level.RESTRICTED
    return leaf.is_attachment and classified and leaf.protection.state is ProtectionState.NONE


_PERSONAL = ("aadhaar", "pan", "passport", "bank-account", "card")
_FROM_FACTS = (("application", "originator.application"), ("profile", "profile.id"), ("new", "message.first_time_recipients"))
_SERVICES = ("cloud", "messenger")
_TESTS: Mapping[str, Callable[[Leaf], bool]] = {
    "password": lambda leaf: leaf.protection.reason in GIVEN_AWAY,
    "weak": lambda leaf: leaf.protection.state is ProtectionState.WEAK,
    "unverifiable": lambda leaf: leaf.protection.state is ProtectionState.UNVERIFIABLE,
    "unencrypted": _unprotected,
    "suspect": lambda leaf: leaf.state is LeafState.SUSPECT,
    "opaque": lambda leaf: leaf.state is LeafState.OPAQUE,
    "uninspectable": lambda leaf: leaf.state is LeafState.UNINSPECTABLE,
}
"""Which part an explanation is about: the first test whose name stands in its key is tried before the others."""


@dataclass(frozen=True, slots=True)
class MessageWords:
    """The words of one message; each recipient adds its own."""

    sender: str
    common: Words
    leaves: Sequence[Leaf]
    marked: frozenset[str]
    """Paths of the parts that bear a marking themselves."""
    secret: bool

    def for_recipient(self, path: Path, info: DomainInfo, exception: str, explain: str) -> Words:
        """All words for one recipient and the explanation *explain*."""
        own = _envelope(self.sender, path, info, exception) + self.common
        if not explain or self.secret or not self.leaves:
            return own
        leaf = _leaf(self.leaves, self.marked, explain)
        return own if leaf is None else (*own, ("file", _name(leaf)), ("protection", _protection(leaf)))


def of_message(
    tx: Transaction, classification: Classification, leaves: Sequence[Leaf], observations: Sequence[Observation] = (),
    *, names: Words = (), remembered: Level | None = None,
) -> MessageWords:  # fmt: skip
    """The words that all recipients of *tx* share; *names* are those that the headers and the config give, *remembered* is the level
    of its thread, or of a passage that it quotes."""
    top = highest((classification.level, classification.probable))
    secret = top is not None and top >= Level.SECRET
    common = (
        ("level", _text(classification.level if classification.level is not None else classification.probable)),
        ("declared", _text(classification.declared)),
        ("probable", _text(classification.probable)),
        ("count", str(len(tx.envelope.recipients))),
        *names,
    )
    if remembered is not None:
        common += (("thread", remembered.text),)
    if observations:
        common += (("personal", str(sum(one.count for one in observations if one.kind in _PERSONAL))),)
        hosts = [one.host for one in observations if one.kind == "link" and one.name in _SERVICES and one.host]
        if hosts and not secret:
            common += (("host", hosts[0]),)
    marked = frozenset(
        one.path for one in classification.evidence if one.confidence is Confidence.CERTAIN and one.level is classification.level
    )
    return MessageWords(tx.envelope.sender.text or "<>", common, leaves, marked, secret)


def names(headers: Headers, facts: Mapping[str, object], config: Config, domains: Domains) -> Words:
    """The words that the header section and the config give: addresses of From and Reply-To, application, profile, first times."""
    authors = identity.shown_authors(headers)
    found: Words = (("from", authors[0] if len(authors) == 1 else ""),)
    outside = [one for one in headers.reply_to_addresses if not identity.inside(identity.domain(one), config, domains)]
    if outside:
        found += (("reply_to", outside[0]),)
    for word, fact in _FROM_FACTS:
        if facts[fact]:
            found += ((word, str(facts[fact])),)
    return found


def of_envelope(sender: Path, recipient: Path, info: DomainInfo, exception: str, level: Level | None = None) -> Words:
    """The words that are known without the message."""
    return (*_envelope(sender.text or "<>", recipient, info, exception), ("level", _text(level)))


def _envelope(sender: str, path: Path, info: DomainInfo, exception: str) -> Words:
    return (
        ("recipient", path.text),
        ("domain", path.domain or path.text),
        ("sender", sender),
        ("provider", info.provider or path.domain),
        ("look_alike", info.look_alike),
        ("exception", exception),
    )


def _leaf(leaves: Sequence[Leaf], marked: frozenset[str], explain: str) -> Leaf | None:
    """The part that *explain* is about, else the first that any test finds; of several, the first that bears the marking itself:
    an officer has to be told of the document, not of a picture in it."""
    order = sorted(_TESTS, key=lambda name: name not in explain)
    for name in order:
        found = [leaf for leaf in leaves if _TESTS[name](leaf)]
        if found:
            return next((leaf for leaf in found if leaf.path in marked), found[0])
    return None


def _name(leaf: Leaf) -> str:
    return leaf.name or leaf.path


def _protection(leaf: Leaf) -> str:
    found = leaf.protection
    return found.cipher or found.reason or found.scheme or found.state.value


def _text(level: Level | None) -> str:
    return level.text if level is not None else ""
