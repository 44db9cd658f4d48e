"""The typed facts that a rule may name, and the snapshots of them for one message and one recipient.

What it is: ``DECLARED``, the table of every fact with its type and a sentence; the functions that fill it.
Who calls it: ``decide`` for every message; ``rules`` for the declarations; rules/README.md is held to this table by a test.
Must never: hold text of the message: no subject, no body, no name of a file. Snapshots are JSON-able and are stored.
Source: design.md sections 5 and 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway import address
from gateway.address import Path
from gateway.config import Config, Route
from gateway.envelope import Door, Peer, Transaction
from gateway.levels import Level
from gateway.policy.domains import DomainInfo, Domains
from gateway.verdict import Classification, Confidence, Direction, Finding, Headers, Leaf, LeafState, Tier

UNMARKED = -1
"""The number that stands for "no level" where a fact is a level."""

LEVELS: Mapping[str, int] = {"UNMARKED": UNMARKED} | {level.name: int(level) for level in Level}
"""Names that a condition may use for levels."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One name a condition may use."""

    name: str
    type: str
    """``int``, ``string``, ``bool`` or ``list``; ``level`` is an int with the names of LEVELS."""
    sentence: str
    ordinary: object
    """Its value for an ordinary note from one official to another; examples in rule files start from these."""


def _table(*rows: tuple[str, str, object, str]) -> Mapping[str, Fact]:
    return {name: Fact(name, kind, sentence, ordinary) for name, kind, ordinary, sentence in rows}


DECLARED: Mapping[str, Fact] = _table(
    ("message.level", "level", UNMARKED, "The level: the highest of certain evidence and of what the message declares."),
    ("message.declared", "level", UNMARKED, "What labels, subject and the message's own text declare."),
    ("message.found", "level", UNMARKED, "The highest certain evidence in all parts."),
    ("message.probable", "level", UNMARKED, "The highest certain or probable evidence; above message.level a person has to look."),
    ("message.conflict", "bool", False, "A label or subject says less than the content, or labels disagree."),
    ("message.complete", "bool", True, "Every part was read in full."),
    ("message.ambiguous", "bool", False, "Mail programs may disagree about the structure."),
    ("message.suspect", "bool", False, "A part is broken, unknown, over a limit, or weakly or unverifiably encrypted."),
    ("message.opaque", "bool", False, "A part is strongly encrypted and cannot be read."),
    ("message.uninspectable", "bool", False, "A part is an image, audio, video or drawing that has no reader."),
    ("message.attachments", "int", 0, "Number of attachments, members of containers included."),
    ("message.recipients", "int", 1, "Number of recipients of the transaction."),
    ("message.size", "int", 4000, "Octets of the message."),
    ("message.labelled", "bool", False, "A label header is there (SIO-Label, X-Protective-Marking …)."),
    ("message.signed", "bool", False, "A DKIM, S/MIME or PGP signature is there."),
    ("message.is_list", "bool", False, "It came through a mailing list."),
    ("message.auto_submitted", "bool", False, "Auto-Submitted says that a program sent it."),
    ("message.from_official", "bool", True, "Every address of From is of a domain of ours (true where From has none)."),
    ("originator.domain", "string", "dept.gov.in", "Domain of the envelope sender; empty for the null sender."),
    ("originator.tier", "string", "government", "Tier of that domain."),
    ("originator.look_alike", "string", "", "The government domain that it only resembles."),
    ("originator.ours", "bool", True, "The domain is in originators.domains."),
    ("originator.verified", "bool", True, "Authenticated, or from a listed network with an official sender of ours or none."),
    ("originator.is_null", "bool", False, "The sender is the null sender: a report or a notice."),
    ("client.listed", "bool", True, "The client's address is in originators.networks."),
    ("client.authenticated", "bool", False, "The client has signed in."),
    ("client.tls", "bool", True, "The session is encrypted."),
    ("recipient.domain", "string", "ministry.gov.in", "Domain of the recipient, in A-labels."),
    ("recipient.tier", "string", "government", "government, government-external, approved, private or other."),
    ("recipient.direction", "string", "outbound", "internal, outbound or inbound."),
    ("recipient.look_alike", "string", "", "The government domain that the recipient's only resembles."),
    ("recipient.provider", "string", "", "Name of the private provider."),
    ("recipient.service", "string", "", "cloud or messenger for hosts of such services."),
    ("recipient.ours", "bool", False, "The domain is in originators.domains, or the address is postmaster without a domain."),
    ("recipient.local", "bool", False, "Ours, or a local route names the domain: strangers may write there."),
    ("recipient.desk", "bool", False, "The postmaster or the abuse desk of a domain of ours, which everybody may reach."),
    ("recipient.official", "bool", True, "Inside government: tier government, or ours and neither private nor government-external."),
    ("exception.active", "bool", False, "An entry of the exception register covers this sender and this recipient now."),
    ("exception.id", "string", "", "Its id."),
    ("door", "string", "smtp", "smtp, submission, milter or imap."),
    ("config.protection_required", "string", "both", "transport, object or both."),
    ("config.sealed", "bool", True, "There is a security officer's certificate to seal to."),
    ("config.refuse_with", "string", "bounce", "bounce or reply."),
    ("leaves", "list", (), "Every kind of part that is there; see the fields of a leaf."),
    ("findings", "list", (), "Every kind of marking that was found; see the fields of a finding."),
)  # fmt: skip

LEAF: Mapping[str, Fact] = _table(
    ("level", "level", UNMARKED, "The part's level, inherited from its container and the message."),
    ("state", "string", "inspected", "inspected, opaque, uninspectable or suspect."),
    ("protection", "string", "none", "none, weak, strong or unverifiable."),
    ("scheme", "string", "", "pdf, ooxml, zip …"),
    ("cipher", "string", "", "AES-256-CBC …"),
    ("bits", "int", 0, "Bits of the key."),
    ("is_attachment", "bool", True, "An attachment, or inside one; false for bodies."),
    ("container", "bool", False, "It holds other parts that are listed on their own."),
    ("media_type", "string", "text/plain", "What it really is."),
    ("extension", "string", "", "The end of its name, small letters, without the dot."),
)  # fmt: skip

FINDING: Mapping[str, Fact] = _table(
    ("level", "level", UNMARKED, "What the marking says."),
    ("zone", "string", "body-first", "label, subject, body-first, page-header …"),
    ("language", "string", "en", "Language of the term."),
    ("confidence", "string", "certain", "certain, probable or possible."),
    ("detector", "string", "line", "Which detector found it."),
    ("verified", "bool", True, "The term is a verified one of rules/scheme.toml."),
    ("in_attachment", "bool", False, "It stands in an attachment, not in a body or header."),
)  # fmt: skip

ELEMENTS: Mapping[str, Mapping[str, Fact]] = {"leaves": LEAF, "findings": FINDING}
"""The fields of the elements of the lists."""


def envelope_facts(sender: Path, sender_info: DomainInfo, peer: Peer, door: Door, verified: bool, config: Config) -> dict[str, object]:
    """What is known before any content: originator, client, door and config."""
    return {
        "originator.domain": sender.domain,
        "originator.tier": sender_info.tier.value,
        "originator.look_alike": sender_info.look_alike,
        "originator.ours": sender.domain in config.originators.domains,
        "originator.verified": verified,
        "originator.is_null": sender.is_null,
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
    *, domains: Domains, ambiguous: bool = False,
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
        "leaves": _unlike(_leaf(leaf) for leaf in leaves),
        "findings": _unlike(_findings(classification.evidence, leaves)),
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
