"""Downgrading over a thread: what earlier mail says about the level of a message that answers, forwards or quotes it.

What it is: pure functions: ``asks`` (is there anything to ask the memory of threads), ``with_findings`` and ``weighed`` (what its
answer means for inspection and classification), ``memo`` (what is to be remembered of this message).
Who calls it: ``pipeline`` (asks), ``decide`` for the rest.
Must never: lower a level; let mail of strangers write into the memory, but for mail that a government domain has signed; take a
thread for more than a hint: only a person knows whether an answer repeats what was classified.
Source: J&K Circular 26-JK(GAD) of 2024 (no downgrading to share), rule R7.

Decided here: a marked passage makes its level *probable*, since the words themselves are here without their marking; the level of a
thread alone is recorded as *possible*, and is a conflict where the message declares less. An answer that declares nothing is below
its thread too (``message.thread_conflict``): the rules hold it where it leaves government, and tag it inside.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from gateway.config import Config
from gateway.envelope import Door, Transaction
from gateway.levels import Level, highest
from gateway.message import thread_fields
from gateway.policy.domains import Domains
from gateway.verdict import Authentication, Classification, Confidence, Finding, Inspection, Memo, Remembered, Tier, Zone

if TYPE_CHECKING:
    from gateway.policy import Policy

FACTS = frozenset(("message.thread_level", "message.passage_level", "message.thread_conflict", "message.conflict"))
"""The facts that rest on the memory."""
NOTHING = Remembered()
_HEADER = "header:"
_SPEAKING = frozenset(("from", "message-id", "content-type", "content-disposition"))
"""Fields that say who wrote a message, what later ones will name, and how the rest is read."""


def asks(tx: Transaction, inspection: Inspection, policy: Policy) -> bool:
    """Whether the memory has to be asked: for what our own people answer, forward or quote, where a rule reads the answer."""
    thread = inspection.thread
    if thread is None or not thread.is_reply or not (thread.references or thread.quotes):
        return False
    return tx.verified_originator and not tx.envelope.sender.is_null and not FACTS.isdisjoint(policy.rules.reads)


def with_findings(inspection: Inspection, remembered: Remembered) -> Inspection:
    """*inspection* with what is *remembered* as findings, which hold no words."""
    if remembered.level is None:
        return inspection
    return replace(inspection, findings=(*inspection.findings, *_findings(remembered)))


def _findings(remembered: Remembered) -> Iterable[Finding]:
    if remembered.passage is not None:
        yield Finding(remembered.passage, "header:References", Zone.QUOTED, "", "", Confidence.PROBABLE, "passage")
    if remembered.thread is not None:
        yield Finding(remembered.thread, "header:References", Zone.QUOTED, "", "", Confidence.POSSIBLE, "thread")


def below(classification: Classification, level: Level | None) -> bool:
    """Whether the message is below *level*; unmarked mail is below every level."""
    return level is not None and (classification.level is None or classification.level < level)


def weighed(classification: Classification, remembered: Remembered) -> Classification:
    """*classification* with a conflict where the message holds a passage above it, or declares less than its thread."""
    declares = classification.declared is not None and below(classification, remembered.thread)
    if classification.conflict or not (declares or below(classification, remembered.passage)):
        return classification
    return replace(classification, conflict=True)


def memo(
    tx: Transaction, inspection: Inspection, level: Level | None, remembered: Remembered, config: Config, domains: Domains
) -> Memo | None:
    """What is to be remembered of a message of *level*; None where nobody vouches for it, or there is nothing.

    An answer hands the level of its thread on to its own Message-ID.
    """
    kept = highest((level, remembered.thread))
    if kept is None or kept < Level.RESTRICTED or not _vouched(tx, inspection, domains):
        return None
    headers = inspection.headers
    identifier = thread_fields.identifier(headers.message_id) if headers.message_id else ""
    if headers.unnamed and tx.door is Door.SUBMISSION:
        identifier = f"{tx.reference.lower()}@{config.hostname}"  # the one that it gets here
    return Memo(kept, identifier, inspection.thread.passages if inspection.thread is not None else ())


def _vouched(tx: Transaction, inspection: Inspection, domains: Domains) -> bool:
    """Whether our own people wrote it, or a government domain that stands in its From has signed it.

    Anybody may give his mail the Message-ID of a thread of ours, or copy text of ours under a marking: what strangers send without
    such a signature would let them have every later answer held. So would a marking, or a Message-ID, that somebody put into the
    header of a signed message which he only passes on: the signature has to cover both.
    """
    if tx.verified_originator:
        return not tx.envelope.sender.is_null
    authors = inspection.headers.from_addresses
    if len(authors) != 1 or inspection.ambiguity:
        return False
    domain = authors[0].rpartition("@")[2].lower()
    speaking = _SPEAKING | {one.path[len(_HEADER) :].lower() for one in inspection.findings if one.path.startswith(_HEADER)}
    return domains.tier(domain).tier is Tier.GOVERNMENT and any(_signed(one, domain, speaking) for one in inspection.authentication)


def _signed(result: Authentication, domain: str, speaking: frozenset[str]) -> bool:
    """Whether *result* says that *domain*, or one above it, has signed the message and all its fields *speaking*."""
    signer = result.domain.lower()
    if result.method != "dkim" or result.result != "pass" or not signer or not f".{domain}".endswith(f".{signer}"):
        return False
    return speaking.isdisjoint(result.unsigned) and "*" not in result.unsigned
