"""The typed facts that a rule may name: the vocabulary of conditions.

What it is: ``DECLARED``, the table of every fact with its type, its ordinary value and a sentence; ``ELEMENTS``, the same for the
elements of lists; ``LATER`` and ``LATER_FIELDS``, what an older snapshot that lacks a fact is taken to say.
Who calls it: ``rules`` and ``rule_loader`` for the names and types, ``snapshots`` fills them, ``decide`` reads LATER at release;
rules/README.md is held to these tables by a test.
Must never: declare a fact that would hold text of the message: no subject, no body, no name of a file.
Source: docs/design.md sections 5 and 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.levels import Level

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
    ("message.from_private", "bool", False, "An address of From is of a private provider."),
    ("message.from_ambiguous", "bool", False, "There is not exactly one From field with exactly one plain address: it is nobody's."),
    ("message.from_spoofed", "bool", False, "The display name of From shows an address, or a listed domain, that is not its address's."),
    ("message.from_owned", "bool", True, "From is the login's, or of an application's domains (true without login or From)."),
    ("message.from_forged", "bool", False, "From is an address of ours in a stranger's mail, and no DKIM signature of its domain holds."),
    ("message.sender_official", "bool", True, "Every address of Sender is inside government (true where there is none)."),
    ("message.reply_to_official", "bool", True, "Every address of Reply-To is inside government (true where there is none)."),
    ("message.reply_to_private", "bool", False, "An address of Reply-To is of a private provider."),
    ("message.auto_forwarded", "bool", False, "A field says that a program forwarded it: a mailbox is redirected."),
    ("message.resent", "bool", False, "Resent-* fields: somebody sent on what he had received."),
    ("message.resent_owned", "bool", True, "Resent-Sender, else Resent-From, is the login's (true without login, or if nobody resent it)."),
    ("message.is_report", "bool", False, "It is a report (multipart/report): of a delivery, or that it was read."),
    ("message.first_time_recipients", "int", 0, "Recipients that the sender never wrote to before; 0 where the level is below RESTRICTED."),
    ("message.thread_level", "level", UNMARKED, "The level of the thread that it answers or forwards, as far as it is remembered."),
    ("message.passage_level", "level", UNMARKED, "The level of a marked passage that it quotes, as far as it is remembered."),
    ("message.thread_conflict", "bool", False, "Its level, or that it has none, is below one of these two."),
    ("originator.domain", "string", "dept.gov.in", "Domain of the envelope sender; empty for the null sender."),
    ("originator.tier", "string", "government", "Tier of that domain."),
    ("originator.look_alike", "string", "", "The government domain that it only resembles."),
    ("originator.ours", "bool", True, "The domain is in originators.domains."),
    ("originator.verified", "bool", True, "Authenticated, or from a listed network with an official sender of ours or none."),
    ("originator.is_null", "bool", False, "The sender is the null sender: a report or a notice."),
    ("originator.owned", "bool", True, "The login may use the envelope sender (true without login, and for the null sender)."),
    ("originator.application", "string", "", "Name of the [[application]] of the config that sent it; empty for people."),
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
    ("recipient.resembles_sender", "bool", False, "A private or unknown mailbox that seems to be the sender's own, by its name."),
    ("recipient.first_time", "bool", False, "The sender never wrote to it before; false where the level is below RESTRICTED."),
    ("exception.active", "bool", False, "An entry of the exception register covers this sender and this recipient now."),
    ("exception.id", "string", "", "Its id."),
    ("profile.disaster", "bool", False, "The disaster profile is on."),
    ("profile.id", "string", "", "The id of that profile."),
    ("mta.protected", "bool", True, "Not by a milter; or the settings of that MTA, as gateway doctor read them, send under AES-256 only."),
    ("door", "string", "smtp", "smtp, submission, milter or imap."),
    ("config.protection_required", "string", "both", "transport, object or both."),
    ("config.sealed", "bool", True, "There is a security officer's certificate to seal to."),
    ("config.refuse_with", "string", "bounce", "bounce or reply."),
    ("leaves", "list", (), "Every kind of part that is there; see the fields of a leaf."),
    ("findings", "list", (), "Every kind of marking that was found; see the fields of a finding."),
    ("observations", "list", (), "What the text holds besides markings; see the fields of an observation."),
)  # fmt: skip

LEAF: Mapping[str, Fact] = _table(
    ("level", "level", UNMARKED, "The part's level, inherited from its container and the message."),
    ("state", "string", "inspected", "inspected, opaque, uninspectable or suspect."),
    ("protection", "string", "none", "none, weak, strong or unverifiable."),
    ("scheme", "string", "", "pdf, ooxml, zip …"),
    ("cipher", "string", "", "AES-256-CBC …"),
    ("bits", "int", 0, "Bits of the key."),
    ("password_given", "bool", False, "It is encrypted, and its password or key stands in the same message."),
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

OBSERVATION: Mapping[str, Fact] = _table(
    ("kind", "string", "topic", "aadhaar, pan, passport, bank-account, card, active, caveat, topic, link, address or file-number."),
    ("name", "string", "", "topic, caveat: its name; link: cloud, messenger or other; address: tier of its domain; active: macro …"),
    ("place", "string", "body", "subject, body, quoted, signature or attachment."),
    ("count", "int", 1, "How many different ones of this kind, name and place."),
)  # fmt: skip

ELEMENTS: Mapping[str, Mapping[str, Fact]] = {"leaves": LEAF, "findings": FINDING, "observations": OBSERVATION}
"""The fields of the elements of the lists."""

ELEMENT_NAMES: Mapping[str, tuple[str, str]] = {
    "leaves": ("l", "leaf"), "findings": ("f", "finding"), "observations": ("o", "observation"),
}  # fmt: skip
"""What a condition calls an element of each list."""

LATER: Mapping[str, object] = {
    name: DECLARED[name].ordinary
    for name in (
        # Not looked for when the message was decided. Rules of that day did not ask either, and a reviewer has seen the mail since:
        # the ordinary value lets him release it, where "not known" would hold it for ever.
        "message.from_private", "message.from_ambiguous", "message.from_spoofed", "message.from_owned", "message.from_forged",
        "message.sender_official", "message.reply_to_official", "message.reply_to_private", "message.auto_forwarded",
        "message.resent", "message.resent_owned", "message.is_report", "observations",
        # Nobody could sign in, no application was known by name, and nobody kept who had written to whom.
        "originator.owned", "originator.application", "message.first_time_recipients", "recipient.first_time",
        # Nobody remembered what threads carried.
        "message.thread_level", "message.passage_level", "message.thread_conflict",
        # Told anew from the two addresses, and from the profiles that are on at release; these are for where neither is given.
        "recipient.resembles_sender", "profile.disaster", "profile.id",
        # There was no milter door.
        "mta.protected",
    )
}  # fmt: skip
"""What a snapshot is taken to say of a fact that was declared after it was made. A fact that is missing and not in this table is
not known, and what rests on it is deferred: only where the ordinary value is the harmless one does it stand here."""

LATER_FIELDS: Mapping[str, Mapping[str, object]] = {"leaves": {"password_given": False}}
"""The same for the fields of elements."""
