"""What was found in a message and what was decided about it.

What it is: the values that pass from inspection to classification to decision to the commit, and ``merge``, the one pure
function that joins dispositions.
Who calls it: ``content`` and ``message`` make Findings and Leaves; ``policy`` makes Classification and Verdict; the keeper
acts on them; ``gateway explain`` prints them.
Must never: hold the content itself. ``Finding.text`` holds the marked words between the processes only; the store keeps a
keyed hash of them.
Sources: docs/design.md sections 4 and 6; docs/design.md section 10 ("explain --json").
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

from gateway.levels import Level, highest
from gateway.protection import UNPROTECTED, Protection


class Confidence(enum.StrEnum):
    """certain: policy acts; probable: held for a person; possible: recorded only."""

    CERTAIN = "certain"
    PROBABLE = "probable"
    POSSIBLE = "possible"


class Zone(enum.StrEnum):
    """Where a marking stands; the detector weighs it by this."""

    LABEL = "label"
    SUBJECT = "subject"
    BODY_FIRST = "body-first"
    BODY_LAST = "body-last"
    BODY = "body"
    QUOTED = "quoted"
    PAGE_HEADER = "page-header"
    PAGE_FOOTER = "page-footer"
    WATERMARK = "watermark"
    CONTROL_BLOCK = "control-block"
    PROPERTY = "property"
    FILE_NAME = "file-name"


class Finding(msgspec.Struct, frozen=True):
    """One marking or label: what level, where, how sure, and which detector said so."""

    level: Level
    path: str
    """Leaf path (``1.2:annexes.zip/note.docx``), or ``header:Subject`` for a header field."""
    zone: Zone
    text: str
    language: str
    confidence: Confidence
    detector: str
    verified: bool = True
    """False for a term of rules/scheme.toml that is not verified: it may hold, never refuse."""
    offset: int = 0
    """Characters from the start of the leaf's text."""
    length: int = 0


class Observation(msgspec.Struct, frozen=True):
    """Something in the text that is no marking and that a rule may ask for: a personal number, a topic, a link …"""

    kind: str
    """aadhaar, pan, passport, bank-account, card, active, caveat, topic, link, address or file-number."""
    name: str
    """topic: its name in rules/topics.toml; caveat: its name in rules/scheme.toml; link: ``cloud``, ``messenger`` or ``other``; active: a
    name of ``extraction.base.ACTIVE``; address: the tier of its domain."""
    path: str
    place: str
    """subject, body, quoted, signature (the last lines of a body) or attachment."""
    count: int = 1
    """Different ones of this kind, name and place; the values themselves are never kept."""
    host: str = ""
    """link and address: the host or domain, for the explanation; no fact holds it."""


class LeafState(enum.StrEnum):
    """Only *inspected* is clean (docs/design.md section 4)."""

    INSPECTED = "inspected"
    OPAQUE = "opaque"
    UNINSPECTABLE = "uninspectable"
    SUSPECT = "suspect"


class Leaf(msgspec.Struct, frozen=True):
    """One piece of content: a body, an attachment, a container or a member of one."""

    path: str
    name: str
    media_type: str
    size: int
    state: LeafState
    reason: str = ""
    is_attachment: bool = True
    container: bool = False
    level: Level | None = None
    """Filled by classification: the maximum of its own evidence, its container's and the message's."""
    protection: Protection = UNPROTECTED
    sha256: str = ""


class Headers(msgspec.Struct, frozen=True):
    """What a decision may know of the header section; parsed strictly, empty where it was not plainly well-formed."""

    subject: str = ""
    message_id: str = ""
    from_addresses: tuple[str, ...] = ()
    from_display: str = ""
    """The display name of From, decoded: what an officer sees instead of the address."""
    sender_addresses: tuple[str, ...] = ()
    """Of Sender; an empty text stands for one that is no plain address."""
    reply_to_addresses: tuple[str, ...] = ()
    """The same of Reply-To."""
    to_addresses: tuple[str, ...] = ()
    to_named: tuple[tuple[str, str], ...] = ()
    """Address and display name of those in To and Cc whose display name shares a word with that of From."""
    resent: bool = False
    """Resent-* fields: somebody sent on what he had received (RFC 5322 section 3.6.6)."""
    resent_by: tuple[str, ...] = ()
    """Who sent it on last, as these fields say; an empty text stands for one that is no plain address."""
    auto_forwarded: bool = False
    """A field says that a program forwarded it: a mailbox that is redirected."""
    is_report: bool = False
    """multipart/report: a delivery report or a read receipt."""
    auto_submitted: str = ""
    precedence: str = ""
    is_list: bool = False
    received: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    """Name and unfolded value of each label header that was there, in order."""
    signed: bool = False
    """A DKIM-Signature is there, or the content is S/MIME or PGP signed: subject must stay."""
    undated: bool = False
    """There is no Date field at all."""
    unnamed: bool = False
    """There is no Message-ID field at all."""


class Authentication(msgspec.Struct, frozen=True):
    """One result of a check made here, in the words of RFC 8601: ``dkim``, ``pass``, the signing domain, why."""

    method: str
    result: str
    domain: str = ""
    reason: str = ""
    unsigned: tuple[str, ...] = ()
    """Names, in small letters, of the fields of which not every one is covered by the signature that passed: whoever passes the
    message on may have added them. ``*``: too many to name."""


class Thread(msgspec.Struct, frozen=True):
    """What a message answers, forwards or quotes, and what later ones may quote of it. Hashes, never words."""

    is_reply: bool = False
    """It answers, forwards, encloses or quotes something."""
    references: tuple[str, ...] = ()
    """Message-IDs of what it answers, forwards or encloses, without brackets."""
    quotes: tuple[bytes, ...] = ()
    """Fingerprints of all its passages; of a reply only."""
    passages: tuple[tuple[Level, bytes], ...] = ()
    """Level and fingerprint of the passages that it is marked for itself, from RESTRICTED on."""


class Remembered(msgspec.Struct, frozen=True):
    """What is remembered of earlier mail that a message answers or quotes. None: nothing."""

    thread: Level | None = None
    """The highest level of the messages that it answers, forwards or encloses."""
    passage: Level | None = None
    """The highest level of the marked passages that it holds."""

    @property
    def level(self) -> Level | None:
        """The higher of the two."""
        return highest((self.thread, self.passage))


class Memo(msgspec.Struct, frozen=True):
    """What is to be remembered of a message."""

    level: Level
    """Of its Message-ID: its own level, or that of its thread."""
    message_id: str = ""
    """Without brackets."""
    passages: tuple[tuple[Level, bytes], ...] = ()
    """See ``Thread``."""


class Inspection(msgspec.Struct, frozen=True):
    """Everything inspection says about one message; *sha256* is of the bytes that were inspected."""

    sha256: str
    headers: Headers
    leaves: tuple[Leaf, ...]
    findings: tuple[Finding, ...]
    ambiguity: tuple[str, ...] = ()
    """Each reason why readers may disagree about the structure; not empty means ambiguous."""
    texts: tuple[tuple[str, str], ...] = ()
    """Leaf path and text, only where the caller asked for it (``explain --text``)."""
    authentication: tuple[Authentication, ...] = ()
    """What was checked of strangers' mail."""
    observations: tuple[Observation, ...] = ()
    """What the text holds besides markings."""
    segments: tuple[tuple[str, Zone, int, str], ...] = ()
    """Leaf path, zone, page (0 where there are none) and text of everything that was read, only where ``texts`` were asked for."""
    thread: Thread | None = None
    """None for mail that neither answers or quotes anything nor is marked."""
    pages: tuple[tuple[str, int], ...] = ()
    """How many pages each leaf has whose format knows pages, only where ``texts`` were asked for."""


class Classification(msgspec.Struct, frozen=True):
    """The level of a message and what it rests on."""

    level: Level | None
    """Maximum of certain evidence and of what the message declares."""
    declared: Level | None
    """What labels, subject and the message's own text declare."""
    found: Level | None
    """Maximum of certain evidence in all leaves."""
    probable: Level | None
    """Maximum of certain and probable evidence; above *level* it needs a person."""
    conflict: bool
    """A subject or label that is lower than what the message contains (rule R7), or labels that disagree."""
    complete: bool
    """Every leaf was read in full."""
    evidence: tuple[Finding, ...] = ()


class Disposition(enum.IntEnum):
    """In merging order: what we could not know outranks what is forbidden, and so on."""

    DELIVER = 0
    HOLD = 1
    REFUSE = 2
    DEFER = 3

    @property
    def text(self) -> str:
        """As it stands in the rules, the log and ``explain``: ``deliver`` …"""
        return self.name.lower()


class Direction(enum.StrEnum):
    """Belongs to the recipient, not to the message."""

    INTERNAL = "internal"
    OUTBOUND = "outbound"
    INBOUND = "inbound"


class Tier(enum.StrEnum):
    """What kind of domain a recipient's is; from rules/domains."""

    GOVERNMENT = "government"
    GOVERNMENT_EXTERNAL = "government-external"
    APPROVED = "approved"
    PRIVATE = "private"
    OTHER = "other"


class Edit(msgspec.Struct, frozen=True):
    """One change of the header section. ``add`` puts a field on top, ``remove`` takes every field of that name away,
    ``replace`` gives the field of that name a new value where it stands (``message.edits`` has the details)."""

    action: str
    header: str
    value: str = ""


class RuleTrace(msgspec.Struct, frozen=True):
    """One rule that was evaluated for one recipient."""

    rule: str
    hit: bool
    mode: str = "enforce"
    then: str = ""


class RecipientVerdict(msgspec.Struct, frozen=True):
    """The decision for one recipient."""

    address: str
    tier: Tier
    direction: Direction
    disposition: Disposition
    status: str
    """RFC 3463 enhanced code, ``5.7.1`` …; ``2.0.0`` for deliver."""
    rule: str
    source: str = ""
    explain: str = ""
    """Key of the sentences in rules/explanations."""
    facts: tuple[tuple[str, str], ...] = ()
    """Words for those sentences: level, recipient, file …"""
    trace: tuple[RuleTrace, ...] = ()
    hits: tuple[str, ...] = ()
    """Enforced rules that hit with the winning disposition or below it, for approval to bind to."""
    tags: tuple[str, ...] = ()
    exception: str = ""
    require_aes256: bool = False
    """The next hop must be an AES-256 protected path."""
    edits: tuple[Edit, ...] = ()
    archive: tuple[str, ...] = ()
    """Journal copies that rules ask for, by name."""
    notify: tuple[str, ...] = ()
    """Who else is to be told, by name."""
    copies: tuple[str, ...] = ()
    """Mailboxes of ``[contacts]`` that get a copy of what is delivered, by name."""


class Verdict(msgspec.Struct, frozen=True):
    """The decision about one message for all of its recipients, with everything needed to repeat it."""

    classification: Classification
    recipients: tuple[RecipientVerdict, ...]
    leaves: tuple[Leaf, ...]
    ambiguity: tuple[str, ...]
    headers: Headers
    rules_version: str
    exceptions_version: str
    sealed: bool = False
    """Held content must be sealed to the security officer's certificate."""
    session_refusal: bool = False
    """Answer 550 for all recipients and store nothing but the decision and hashes."""
    message_facts: dict[str, object] = msgspec.field(default_factory=dict)
    """The typed facts snapshot, without any text of the message."""
    recipient_facts: tuple[dict[str, object], ...] = ()
    """The same for each recipient, in order."""
    memo: Memo | None = None
    """What the memory of threads is to keep of it."""


def merge(dispositions: Iterable[tuple[Disposition, bool]]) -> Disposition:
    """The one disposition that *dispositions* add up to: DEFER > REFUSE > HOLD > DELIVER.

    Each pair is a disposition and whether it rests on known facts alone. A refusal that no unknown fact could change is
    final at once, also when something else had to be deferred. Nothing at all is HOLD: no rule hit is never a delivery.
    """
    top: Disposition | None = None
    for disposition, known in dispositions:
        if disposition is Disposition.REFUSE and known:
            return Disposition.REFUSE
        if top is None or disposition > top:
            top = disposition
    return Disposition.HOLD if top is None else top
