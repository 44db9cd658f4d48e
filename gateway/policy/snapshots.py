"""The snapshots of facts: what is true of one message and of one recipient.

What it is: ``envelope_facts``, ``message_facts``, ``recipient_facts``: the values of ``facts.DECLARED``, from typed values only.
Who calls it: ``decide`` for every message; ``tier_facts`` and ``profile_facts`` again at release.
Must never: put text of the message into a snapshot: no subject, no body, no name of a file. Snapshots are JSON-able and are stored.
Source: design.md sections 5 and 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway import address
from gateway.address import Path
from gateway.config import Config, Route
from gateway.envelope import Door, Peer, Transaction
from gateway.levels import Level
from gateway.policy.domains import DomainInfo, Domains
from gateway.policy.facts import UNMARKED
from gateway.verdict import Classification, Confidence, Direction, Finding, Headers, Leaf, LeafState, Observation, Tier


def envelope_facts(sender: Path, sender_info: DomainInfo, peer: Peer, door: Door, verified: bool, config: Config) -> dict[str, object]:
    """What is known before any content: originator, client, door and config."""
    return {
        "originator.domain": sender.domain,
        "originator.tier": sender_info.tier.value,
        "originator.look_alike": sender_info.look_alike,
        "originator.ours": sender.domain in config.originators.domains,
        "originator.verified": verified,
        "originator.is_null": sender.is_null,
        "originator.owned": True,
        "originator.application": "",
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
    *, domains: Domains, ambiguous: bool = False, observations: Sequence[Observation] = (),
) -> dict[str, object]:  # fmt: skip
    """The snapshot of everything but the recipient."""
    envelope = tx.envelope
    facts = envelope_facts(envelope.sender, domains.tier(envelope.sender.domain), tx.peer, tx.door, tx.verified_originator, config)
    states = {leaf.state for leaf in leaves}
    ours = config.originators.domains
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
        "message.from_official": all(_domain(mailbox) in ours for mailbox in headers.from_addresses),
        "message.from_private": False,
        "message.from_ambiguous": False,
        "message.from_spoofed": False,
        "message.from_owned": True,
        "message.from_authenticated": False,
        "message.sender_official": True,
        "message.reply_to_official": True,
        "message.reply_to_private": False,
        "message.auto_forwarded": headers.auto_forwarded,
        "message.resent": headers.resent,
        "message.is_report": headers.is_report,
        "message.first_time_recipients": 0,
        "profile.disaster": False,
        "profile.id": "",
        "leaves": _unlike(_leaf(leaf) for leaf in leaves),
        "findings": _unlike(_findings(classification.evidence, leaves)),
        "observations": _unlike(map(_observation, observations)),
    }
    return facts


def recipient_facts(recipient: Path, info: DomainInfo, verified: bool, exception: str, sender: Path, config: Config) -> dict[str, object]:
    """The snapshot of one recipient; *exception* is the id of the entry that covers it. Holds both addresses, for release."""
    ours = is_ours(recipient, config)
    local = ours or _local(recipient.domain, config.route)
    direction = direction_of(verified, sender, ours, config)
    return {
        "recipient.address": recipient.text,
        "originator.address": sender.text,
        "recipient.domain": recipient.domain,
        "recipient.direction": direction.value,
        "recipient.ours": ours,
        "recipient.local": local,
        "recipient.desk": local and recipient.is_desk,
        "recipient.resembles_sender": False,
        "recipient.first_time": False,
        **tier_facts(info, ours),
        "exception.active": bool(exception),
        "exception.id": exception,
    }


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
    """Direction of mail to a recipient that is *ours* or not (design.md section 4)."""
    if verified and (sender.is_null or sender.domain in config.originators.domains):
        return Direction.INTERNAL if ours else Direction.OUTBOUND
    return Direction.INBOUND


def is_ours(path: Path, config: Config) -> bool:
    """Whether *path* is of a domain of ours; postmaster without a domain is."""
    return path.domain in config.originators.domains or (not path.domain and bool(path.local))


def number(level: Level | None) -> int:
    """*level* as a fact."""
    return UNMARKED if level is None else int(level)


def _domain(mailbox: str) -> str:
    """The domain of a header address as A-labels; empty where it is none, so that it is nobody's."""
    domain = mailbox.rpartition("@")[2]
    if domain.isascii():
        return domain.lower()
    try:
        return address.domain_of(domain)
    except address.AddressError:
        return ""


def _local(domain: str, routes: Iterable[Route]) -> bool:
    """Whether the first route that matches *domain* is a local one."""
    for route in routes:
        for pattern in route.domains:
            if address.matches(domain, pattern):
                return route.local
    return False


def _leaf(leaf: Leaf) -> dict[str, object]:
    extension = leaf.name.rpartition(".")[2].lower() if "." in leaf.name else ""
    return {
        "level": number(leaf.level),
        "state": leaf.state.value,
        "protection": leaf.protection.state.value,
        "scheme": leaf.protection.scheme,
        "cipher": leaf.protection.cipher,
        "bits": leaf.protection.bits,
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


def _unlike(elements: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    """*elements* without repetitions: a thousand equal members of an archive are one fact."""
    return list({tuple(element.values()): element for element in elements}.values())
