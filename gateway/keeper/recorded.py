"""What is kept of a decision beside the message: enough to release, refuse, report and re-decide it later.

What it is: the JSON of ``MessageRow.verdict`` (no text of the message) and of ``MessageRow.details`` (sealed by the vault: what a
reviewer may see), with the functions that make and read them.
Who calls it: ``act`` writes it; ``quarantine`` and ``housekeeping`` read it.
Must never: put a name of a file, a subject or a marked word into the part that is not sealed; keep the marked words at all.
Source: docs/design.md section 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.audit import events
from gateway.envelope import Transaction
from gateway.stores.base import MessageRow
from gateway.vault.vault import Vault
from gateway.verdict import Edit, Leaf, RuleTrace, Verdict


class KeptRecipient(msgspec.Struct, frozen=True, omit_defaults=True):
    """One recipient's decision as kept."""

    address: str
    tier: str
    direction: str
    disposition: str
    status: str
    rule: str
    source: str = ""
    explain: str = ""
    hits: tuple[str, ...] = ()
    exception: str = ""
    require_aes256: bool = False
    notify: tuple[str, ...] | None = None
    orcpt: str = ""
    copies: tuple[str, ...] = ()
    """Mailboxes of ``[contacts]`` that get a copy when it is released."""
    archive: tuple[str, ...] = ()
    """Journal copies that rules ask for when it is released."""


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """The decision as kept in the clear."""

    recipients: tuple[KeptRecipient, ...] = ()
    rules_version: str = ""
    exceptions_version: str = ""
    classification: dict[str, Any] = {}
    sealed: bool = False
    kept_by: dict[str, str] = {}
    """Who has the mail of each address that is nothing of ours, as in ``planning``: the MTA, its hold queue, a mailbox."""


class Details(msgspec.Struct, frozen=True, omit_defaults=True):
    """The sealed part."""

    edits: tuple[tuple[Edit, ...], ...] = ()
    """For each recipient, in order."""
    words: tuple[dict[str, str], ...] = ()
    """For each recipient: the words of its explanation."""
    traces: tuple[tuple[RuleTrace, ...], ...] = ()
    leaves: tuple[Leaf, ...] = ()
    evidence: tuple[dict[str, Any], ...] = ()
    ambiguity: tuple[str, ...] = ()
    from_addresses: tuple[str, ...] = ()
    to_addresses: tuple[str, ...] = ()
    message_id: str = ""


_details = msgspec.json.Decoder(Details)


def keep(tx: Transaction, verdict: Verdict, kept_by: Mapping[str, str]) -> dict[str, Any]:
    """The clear part of *verdict*, with *kept_by* (see ``Kept``)."""
    asked = {one.path.text: one for one in tx.envelope.recipients}
    found = verdict.classification
    recipients = []
    for one in verdict.recipients:
        request = asked.get(one.address)
        notify = None if request is None or request.notify is None else tuple(sorted(request.notify))
        recipients.append(
            KeptRecipient(
                one.address, one.tier.value, one.direction.value, one.disposition.text, one.status, one.rule, one.source, one.explain,
                one.hits, one.exception, one.require_aes256, notify, request.orcpt if request is not None else "",
                one.copies, one.archive,
            )
        )  # fmt: skip
    classification = {
        "level": found.level, "declared": found.declared, "found": found.found, "probable": found.probable, "conflict": found.conflict,
        "complete": found.complete,
    }  # fmt: skip
    kept = Kept(tuple(recipients), verdict.rules_version, verdict.exceptions_version, classification, verdict.sealed, dict(kept_by))
    built: dict[str, Any] = msgspec.to_builtins(kept)
    return built


def details(tx: Transaction, verdict: Verdict, vault: Vault) -> bytes:
    """The sealed part of *verdict*; empty for mail that is sealed to the security officer, which the vault must not open."""
    if verdict.sealed:
        return b""
    headers = verdict.headers
    made = Details(
        edits=tuple(one.edits for one in verdict.recipients),
        words=tuple(dict(one.facts) for one in verdict.recipients),
        traces=tuple(one.trace for one in verdict.recipients),
        leaves=verdict.leaves,
        evidence=tuple(events.evidence_of(one, vault.words_hash) for one in verdict.classification.evidence),
        ambiguity=verdict.ambiguity,
        from_addresses=headers.from_addresses,
        to_addresses=headers.to_addresses,
        message_id=headers.message_id,
    )
    return vault.seal_field(tx.id, msgspec.json.encode(made))


def words(tx: Transaction, verdict: Verdict, vault: Vault) -> bytes:
    """No more than the words of the explanations, for mail that was refused and is not kept: its originator may look at them again."""
    return vault.seal_field(tx.id, msgspec.json.encode(Details(words=tuple(dict(one.facts) for one in verdict.recipients))))


def read(message: MessageRow) -> Kept:
    """The clear part of *message*; nothing in it for a report of ours."""
    return kept_of(message.verdict)


def kept_of(verdict: dict[str, Any]) -> Kept:
    """The same, of ``MessageRow.verdict``."""
    return msgspec.convert({key: verdict[key] for key in Kept.__struct_fields__ if key in verdict}, Kept)


def read_details(message: MessageRow, vault: Vault) -> Details:
    """The sealed part of *message*. Raises vault.VaultError."""
    return _details.decode(vault.open_field(message.id, message.details)) if message.details else Details()
