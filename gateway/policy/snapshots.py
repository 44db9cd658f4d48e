"""The snapshots of facts: what is true of one message and of one recipient.

What it is: ``envelope_facts``, ``message_facts``, ``recipient_facts``: the values of ``facts.DECLARED``, from typed values only.
Who calls it: ``decide`` for every message; ``tier_facts`` and ``profile_facts`` again at release.
Must never: put text of the message into a snapshot: no subject, no body, no name of a file. Snapshots are JSON-able and are stored.
Source: docs/design.md sections 5 and 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.address import Path
from gateway.config import Config
from gateway.envelope import Door, Peer, Transaction
from gateway.levels import Level
from gateway.policy import identity, register, resemblance, threads
from gateway.policy.domains import DomainInfo, Domains
from gateway.policy.facts import ELEMENTS, LATER_FIELDS, UNMARKED
from gateway.protection import GIVEN_AWAY
from gateway.requests import Exceptions
from gateway.verdict import (
    Authentication,
    Classification,
    Confidence,
    Direction,
    Finding,
    Headers,
    Leaf,
    LeafState,
    Observation,
    Remembered,
    Tier,
)

_NO_HEADERS = Headers()


def envelope_facts(sender: Path, sender_info: DomainInfo, peer: Peer, door: Door, verified: bool, config: Config) -> dict[str, object]:
    """What is known before any content: originator, client, door and config."""
    return {
        "originator.domain": sender.domain,
        "originator.tier": sender_info.tier.value,
        "originator.look_alike": sender_info.look_alike,
        "originator.ours": sender.domain in config.originators.domains,
        "originator.verified": verified,
        "originator.is_null": sender.is_null,
        "originator.owned": identity.owned(peer, sender),
        "originator.application": identity.application(peer, sender, config) if config.application else "",
        "client.listed": peer.listed,
        "client.authenticated": bool(peer.user),
        "client.tls": bool(peer.tls_version),
        "door": door.value,
        "config.protection_required": config.protection_required,
        "config.sealed": config.sealed.certificate is not None,
        "config.refuse_with": config.relay.refuse_with,
    }


def message_facts(
    tx: Transaction, classification: Classification, leaves: Sequence[Leaf], headers: Headers, config: Config,
    *, domains: Domains, ambiguous: bool = False, observations: Sequence[Observation] = (), authentication: Sequence[Authentication] = (),
    first_times: int = 0, remembered: Remembered = threads.NOTHING,
) -> dict[str, object]:  # fmt: skip
    """The snapshot of everything but the recipient and the profiles."""
    envelope = tx.envelope
    facts = envelope_facts(envelope.sender, domains.tier(envelope.sender.domain), tx.peer, tx.door, tx.verified_originator, config)
    states = {leaf.state for leaf in leaves}
    facts |= {
        "message.level": number(classification.level),
        "message.declared": number(classification.declared),
        "message.found": number(classification.found),
        "message.probable": number(classification.probable),
        "message.conflict": classification.conflict,
        "message.complete": classification.complete,
        "message.ambiguous": ambiguous,
        "message.suspect": LeafState.SUSPECT in states,
        "message.opaque": LeafState.OPAQUE in states,
        "message.uninspectable": LeafState.UNINSPECTABLE in states,
        "message.attachments": sum(1 for leaf in leaves if leaf.is_attachment),
        "message.recipients": len(envelope.recipients),
        "message.size": tx.size,
        "message.labelled": bool(headers.labels),
        "message.signed": headers.signed,
        "message.is_list": headers.is_list,
        "message.auto_submitted": headers.auto_submitted.strip().lower() not in ("", "no"),
        **identity.header_facts(headers, tx.peer, config, domains, stranger=not tx.verified_originator, authentication=authentication),
        "message.first_time_recipients": first_times,
        "message.thread_level": number(remembered.thread),
        "message.passage_level": number(remembered.passage),
        "message.thread_conflict": threads.below(classification, remembered.level),
        "leaves": _unlike(_leaf(leaf) for leaf in leaves),
        "findings": _unlike(_findings(classification.evidence, leaves)),
        "observations": _unlike(map(_observation, observations)),
    }
    return facts


def recipient_facts(
    path: Path, info: DomainInfo, verified: bool, exception: str, sender: Path, config: Config,
    *, headers: Headers = _NO_HEADERS, first_time: bool = False,
) -> dict[str, object]:  # fmt: skip
    """The snapshot of one recipient; *exception* is the id of the entry that covers it. Holds both addresses, for release."""
    ours = is_ours(path, config)
    local = ours or config.is_local(path.domain)
    direction = direction_of(verified, sender, ours, config)
    return {
        "recipient.address": path.text,
        "originator.address": sender.text,
        "recipient.domain": path.domain,
        "recipient.direction": direction.value,
        "recipient.ours": ours,
        "recipient.local": local,
        "recipient.desk": local and path.is_desk,
        "recipient.resembles_sender": resembles(sender, path, info, headers),
        "recipient.first_time": first_time,
        **tier_facts(info, ours),
        "exception.active": bool(exception),
        "exception.id": exception,
    }


def resembles(sender: Path, path: Path, info: DomainInfo, headers: Headers = _NO_HEADERS) -> bool:
    """Whether the recipient *path* is a private mailbox, or one of an unknown domain, that seems to be the sender's own."""
    if info.tier not in (Tier.PRIVATE, Tier.OTHER):
        return False
    shown = ""
    if headers.to_named:
        wanted = path.text.casefold()
        shown = next((name for mailbox, name in headers.to_named if mailbox.casefold() == wanted), "")
    return resemblance.resembles(sender, headers.from_display, path, shown)


def profile_facts(exceptions: Exceptions, at: float, door: Door | None) -> dict[str, object]:
    """Which profile is on at *at*, in seconds since the epoch, and whether whoever sends it on is known to do so protected; both are
    read anew at release. *door* None: our own relay sends it, whatever door it came by, and proves each hop itself."""
    found = register.profile(exceptions, register.DISASTER, at) if exceptions.profiles else ""
    protected = door is not Door.MILTER or bool(register.profile(exceptions, register.MTA_PATH, at))
    return {"profile.disaster": bool(found), "profile.id": found, "mta.protected": protected}


def tier_facts(info: DomainInfo, ours: bool) -> dict[str, object]:
    """What the domain lists say of a recipient; read anew at release."""
    return {
        "recipient.tier": info.tier.value,
        "recipient.look_alike": info.look_alike,
        "recipient.provider": info.provider,
        "recipient.service": info.service,
        "recipient.official": info.tier is Tier.GOVERNMENT or (ours and info.tier not in (Tier.PRIVATE, Tier.GOVERNMENT_EXTERNAL)),
    }


def direction_of(verified: bool, sender: Path, ours: bool, config: Config) -> Direction:
    """Direction of mail to a recipient that is *ours* or not (docs/design.md section 4)."""
    if verified and (sender.is_null or sender.domain in config.originators.domains):
        return Direction.INTERNAL if ours else Direction.OUTBOUND
    return Direction.INBOUND


def is_ours(path: Path, config: Config) -> bool:
    """Whether *path* is of a domain of ours; postmaster without a domain is."""
    return path.domain in config.originators.domains or (not path.domain and bool(path.local))


def number(level: Level | None) -> int:
    """*level* as a fact."""
    return UNMARKED if level is None else int(level)


def _leaf(leaf: Leaf) -> dict[str, object]:
    extension = leaf.name.rpartition(".")[2].lower() if "." in leaf.name else ""
    return {
        "level": number(leaf.level),
        "state": leaf.state.value,
        "protection": leaf.protection.state.value,
        "scheme": leaf.protection.scheme,
        "cipher": leaf.protection.cipher,
        "bits": leaf.protection.bits,
        "password_given": leaf.protection.reason in GIVEN_AWAY,
        "is_attachment": leaf.is_attachment,
        "container": leaf.container,
        "media_type": leaf.media_type,
        "extension": extension if extension.isascii() and extension.isalnum() and len(extension) <= 8 else "",
    }


def _observation(seen: Observation) -> dict[str, object]:
    return {"kind": seen.kind, "name": seen.name, "place": seen.place, "count": seen.count}


def _findings(evidence: Sequence[Finding], leaves: Sequence[Leaf]) -> Iterable[dict[str, object]]:
    attached = {leaf.path for leaf in leaves if leaf.is_attachment}
    for finding in evidence:
        yield {
            "level": int(finding.level),
            "zone": finding.zone.value,
            "language": finding.language,
            "confidence": Confidence(finding.confidence).value,
            "detector": finding.detector,
            "verified": finding.verified,
            "in_attachment": finding.path in attached,
        }


def of_now(message_facts: Mapping[str, object]) -> dict[str, object]:
    """A recorded snapshot with the fields of elements that are younger than it, in the order in which they are declared."""
    found = dict(message_facts)
    for name, later in LATER_FIELDS.items():
        elements = found.get(name)
        if isinstance(elements, list) and any(not later.keys() <= element.keys() for element in elements):
            found[name] = [{field: {**later, **element}[field] for field in ELEMENTS[name]} for element in elements]
    return found


def _unlike(elements: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    """*elements* without repetitions: a thousand equal members of an archive are one fact."""
    return list({tuple(element.values()): element for element in elements}.values())
