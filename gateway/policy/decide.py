"""The decision about one message: one verdict a recipient.

What it is: pure functions from a transaction, its inspection and the policy to a Verdict.
Who calls it: ``pipeline`` (decide), the SMTP door (rcpt), the keeper at release (again), ``gateway explain``.
Must never: read a clock, a file or the network; let a recipient's verdict depend on another recipient.
Source: docs/design.md section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from gateway.address import Path
from gateway.config import Config
from gateway.envelope import Door, Peer, Transaction
from gateway.levels import Level, highest
from gateway.policy import Policy, classify, facts, header_edits, register, snapshots, storing, threads, words
from gateway.policy.header_edits import received_edit
from gateway.policy.rules import Decision
from gateway.requests import Exceptions
from gateway.verdict import Direction, Disposition, Edit, Inspection, RecipientVerdict, Remembered, Tier, Verdict

__all__ = ["again", "asks_first_times", "decide", "rcpt", "received_edit", "verified"]

_FIRST_TIMES = frozenset(("recipient.first_time", "message.first_time_recipients"))
_ADDRESSES = ("recipient.address", "originator.address")


def asks_first_times(tx: Transaction, inspection: Inspection, policy: Policy) -> bool:
    """Whether the rules in force need to know which recipients the sender never wrote to before: for classified mail of ours only."""
    if tx.door is Door.IMAP or not tx.verified_originator or tx.envelope.sender.is_null or _FIRST_TIMES.isdisjoint(policy.rules.reads):
        return False
    found, _ = classify.classify(inspection)
    top = highest((found.level, found.probable))
    return top is not None and top >= Level.RESTRICTED


def decide(
    tx: Transaction, inspection: Inspection, policy: Policy, exceptions: Exceptions, config: Config,
    *, first_times: frozenset[str] = frozenset(), remembered: Remembered = threads.NOTHING,
) -> Verdict:  # fmt: skip
    """The verdict about one message. A recipient with DEFER means: answer 4xx for the whole message, commit nothing.

    *first_times*: the recipients that the sender never wrote to before; none where ``asks_first_times`` says no.
    *remembered*: what the memory of threads says; nothing where ``threads.asks`` says no.
    """
    inspection = threads.with_findings(inspection, remembered)
    classification, leaves = classify.classify(inspection)
    classification = threads.weighed(classification, remembered)
    sender, headers = tx.envelope.sender, inspection.headers
    about = snapshots.message_facts(
        tx, classification, leaves, headers, config, domains=policy.domains, ambiguous=bool(inspection.ambiguity),
        observations=inspection.observations, authentication=inspection.authentication, first_times=len(first_times), remembered=remembered,
    ) | snapshots.profile_facts(exceptions, tx.received_at, tx.door)  # fmt: skip
    spoken = words.of_message(
        tx,
        classification,
        leaves,
        inspection.observations,
        names=words.names(headers, about, config, policy.domains),
        remembered=remembered.level,
    )
    stored = tx.door is Door.IMAP
    protect = not stored and _protect(about)
    edits: dict[Direction, tuple[Edit, ...]] = {}
    groups: dict[tuple[object, ...], Decision] = {}
    verdicts: list[RecipientVerdict] = []
    about_each: list[dict[str, object]] = []
    decisions: list[Decision] = []
    for recipient in tx.envelope.recipients:
        path = recipient.path
        info = policy.domains.tier(path.domain)
        covered = register.covers(exceptions, sender, path, tx.received_at)
        one = snapshots.recipient_facts(
            path, info, tx.verified_originator, covered, sender, config, headers=headers,
            first_time=path.text in first_times,
        )  # fmt: skip
        key = tuple(value for name, value in one.items() if name not in _ADDRESSES)
        decision = groups.get(key)
        if decision is None:
            decision = policy.rules.evaluate({**about, **one})
            groups[key] = decision = storing.stored(decision, policy.rules, classification.level, shared=tx.shared) if stored else decision
        direction = Direction(str(one["recipient.direction"]))
        if direction not in edits:
            # What a mail program files is found again octet for octet.
            edits[direction] = () if stored else header_edits.of(tx, inspection, classification.level, direction, config, policy)
        said = spoken.for_recipient(path, info, covered, decision.explain)
        verdicts.append(_verdict(path.text, info.tier, direction, decision, said, covered, protect, edits[direction]))
        about_each.append(one)
        decisions.append(decision)
    answered, in_session = _answer(tx, verdicts, decisions, config)
    return Verdict(
        classification, tuple(answered), leaves, inspection.ambiguity, headers, policy.version, exceptions.version,
        sealed=any(d.sealed and v.disposition is Disposition.HOLD for d, v in zip(decisions, answered, strict=True)),
        session_refusal=in_session, message_facts=about, recipient_facts=tuple(about_each),
        # A draft is no mail of a thread yet, and what strangers wrote may be filed too.
        memo=None if stored else threads.memo(tx, inspection, classification.level, remembered, config, policy.domains),
    )  # fmt: skip


def rcpt(
    sender: Path, recipient: Path, peer: Peer, policy: Policy, exceptions: Exceptions, config: Config,
    *, door: Door = Door.SMTP, now: float = 0.0,
) -> RecipientVerdict:  # fmt: skip
    """What the envelope alone decides: REFUSE where the door answers 5xx at RCPT, else DEFER ("not known yet: go on").

    REFUSE comes only when no content could change it, and never for those who get a bounce instead (verified originators
    while ``refuse_with = "bounce"``). *now*, in seconds since the epoch, is what entries of the register are held to.
    """
    checked = verified(sender, peer, config)
    info = policy.domains.tier(recipient.domain)
    covered = register.covers(exceptions, sender, recipient, now)
    found = snapshots.envelope_facts(sender, policy.domains.tier(sender.domain), peer, door, checked, config)
    found |= snapshots.recipient_facts(recipient, info, checked, covered, sender, config) | snapshots.profile_facts(exceptions, now, door)
    if not found["recipient.resembles_sender"]:
        del found["recipient.resembles_sender"]  # display names are not known yet
    del found["recipient.first_time"]
    decision = policy.rules.evaluate(found)
    bounced = checked and not sender.is_null and config.relay.refuse_with == "bounce" and sender.domain in config.originators.domains
    if decision.disposition is not Disposition.REFUSE or bounced:
        decision = replace(decision, disposition=Disposition.DEFER)
    said = words.of_envelope(sender, recipient, info, covered)
    return _verdict(recipient.text, info.tier, Direction(str(found["recipient.direction"])), decision, said, covered, False, ())


def again(
    message_facts: Mapping[str, object], recipient_facts: Mapping[str, object], policy: Policy, waived: frozenset[str] = frozenset(),
    *, exceptions: Exceptions | None = None, now: float = 0.0,
) -> RecipientVerdict:  # fmt: skip
    """The recorded facts under the rules and domain lists of now, with the *waived* rules (never those that refuse) left out.

    With *exceptions* the register and the profiles are read anew at *now*; without, what covered the message then still does. Facts
    that the snapshot is too old to have are those of ``facts.LATER`` and ``LATER_FIELDS``. The verdict has no edits: those recorded are
    applied.
    """
    found: dict[str, Any] = {**facts.LATER, **snapshots.of_now(message_facts), **recipient_facts}
    recipient, sender = _path(str(found["recipient.address"])), _path(str(found["originator.address"]))
    info = policy.domains.tier(recipient.domain)
    found |= snapshots.tier_facts(info, bool(found["recipient.ours"]))
    if "recipient.resembles_sender" not in recipient_facts:
        found["recipient.resembles_sender"] = snapshots.resembles(sender, recipient, info)
    if exceptions is not None:
        covered = register.covers(exceptions, sender, recipient, now)
        found |= {"exception.active": bool(covered), "exception.id": covered} | snapshots.profile_facts(exceptions, now, None)
    decision = policy.rules.evaluate(found, waived)
    covered = str(found["exception.id"])
    said = words.of_envelope(sender, recipient, info, covered, _level(found["message.level"]))
    return _verdict(recipient.text, info.tier, Direction(found["recipient.direction"]), decision, said, covered, _protect(found), ())


def verified(sender: Path, peer: Peer, config: Config) -> bool:
    """Whether *sender* is a verified originator: authenticated, or from a listed network with an official sender of ours or null."""
    if peer.user:
        return True
    return peer.listed and not config.originators.require_auth and (sender.is_null or sender.domain in config.originators.domains)


def _answer(
    tx: Transaction, verdicts: list[RecipientVerdict], decisions: list[Decision], config: Config
) -> tuple[list[RecipientVerdict], bool]:
    """The verdicts as they are answered, and whether the whole message is refused in the session (docs/design.md, "Answering")."""
    forced = next((verdict for verdict, decision in zip(verdicts, decisions, strict=True) if decision.session), None)
    if forced is not None:
        return [_refused_with(verdict, forced) for verdict in verdicts], True
    refused = [verdict.disposition is Disposition.REFUSE for verdict in verdicts]
    if not any(refused):
        return verdicts, False
    unreported = not tx.verified_originator or tx.envelope.sender.is_null
    if all(refused):
        return verdicts, unreported or config.relay.refuse_with == "reply" or tx.door is Door.IMAP
    if unreported:
        # Nobody may be sent a report, and one reply cannot refuse some: what is refused is kept for the postmaster.
        return [
            replace(verdict, disposition=Disposition.HOLD, status="4.7.1") if no else verdict
            for verdict, no in zip(verdicts, refused, strict=True)
        ], False
    return verdicts, False


def _refused_with(verdict: RecipientVerdict, forced: RecipientVerdict) -> RecipientVerdict:
    if verdict.disposition is Disposition.REFUSE and verdict.rule == forced.rule:
        return verdict
    return replace(
        verdict, disposition=Disposition.REFUSE, status=forced.status, rule=forced.rule, source=forced.source, explain=forced.explain,
    )  # fmt: skip


def _verdict(
    address: str, tier: Tier, direction: Direction, decision: Decision, said: tuple[tuple[str, str], ...], covered: str, protect: bool,
    edits: tuple[Edit, ...],
) -> RecipientVerdict:  # fmt: skip
    return RecipientVerdict(
        address, tier, direction, decision.disposition, decision.status, decision.rule, decision.source, decision.explain, said,
        decision.trace, decision.hits, decision.tags, covered, protect, edits, decision.archive, decision.notify, decision.copies,
    )  # fmt: skip


def _protect(found: Mapping[str, Any]) -> bool:
    """Whether the next hop must be an AES-256 protected path: what is, or probably is, RESTRICTED or higher."""
    if found["config.protection_required"] == "object":
        return False
    return max(int(found["message.level"]), int(found["message.probable"])) >= Level.RESTRICTED


def _level(number: Any) -> Level | None:
    return None if int(number) < 0 else Level(int(number))


def _path(text: str) -> Path:
    """An address of a snapshot, which was made from a Path."""
    local, _, domain = text.rpartition("@")
    return Path(local, domain) if local else Path(domain, "")
