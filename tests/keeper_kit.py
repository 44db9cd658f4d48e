"""Rows, transactions and verdicts for tests of the store and the keeper."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any

from msgspec import structs
from msgspec.structs import replace

from gateway import policy
from gateway.address import Path
from gateway.audit.audit import AuditChain
from gateway.config import Config, Contacts, Limits, Originators
from gateway.envelope import Door, Envelope, Peer, Recipient, Transaction, new_id, reference_of
from gateway.keeper.act import Actor
from gateway.keeper.archive import Journal
from gateway.keeper.copies import Copies
from gateway.keeper.correspondents import Correspondents
from gateway.keeper.exceptions import Register
from gateway.keeper.notify import Notifier
from gateway.keeper.quarantine import Quarantine
from gateway.keeper.threads import Threads
from gateway.levels import Level
from gateway.policy import Policy
from gateway.relay.reports import Reports
from gateway.requests import Commit
from gateway.stores.base import (
    AuditEvent,
    AuditRow,
    Batch,
    BodyRow,
    DeliveryRow,
    DeliveryState,
    HoldRow,
    HoldState,
    MessageRow,
)
from gateway.stores.journal import CopyState, JournalRow
from gateway.stores.sqlite.store import SqliteStore
from gateway.vault.sealing import Seal
from gateway.vault.vault import Vault
from gateway.verdict import (
    Classification,
    Confidence,
    Direction,
    Disposition,
    Edit,
    Finding,
    Headers,
    Inspection,
    Leaf,
    LeafState,
    RecipientVerdict,
    Tier,
    Verdict,
    Zone,
)

NOW = 1_800_000_000.0
CONTENT = b"From: so@dept.gov.in\r\nSubject: the heron flies\r\n\r\nthe eagle lands on thursday\r\n"


def make_vault() -> Vault:
    return Vault({"k1": b"\x07" * 32}, "k1")


class PlainChain:
    """A chain without hashes, for tests that are about rows."""

    def __init__(self) -> None:
        self.id = "plain"
        self.head = 0
        self.next = 0

    def resume(self, head: AuditRow | None) -> None:
        self.head = self.next = head.seq if head else 0

    def append(self, event: AuditEvent) -> AuditRow:
        self.next += 1
        return AuditRow("plain", self.next, event.created, event.reference, str(self.next - 1), str(self.next), "{}")

    def written(self) -> None:
        self.head = self.next

    def discarded(self) -> None:
        self.next = self.head


def body(body_id: str, content: bytes = CONTENT, vault: Vault | None = None) -> BodyRow:
    return (vault or make_vault()).seal(body_id, content, hashlib.sha256(content).hexdigest())


def message(identifier: str = "", **changes: Any) -> MessageRow:
    identifier = identifier or new_id()
    row = MessageRow(
        id=identifier, reference=reference_of(identifier), created=NOW, department="dept.gov.in", door="smtp", sender="so@dept.gov.in",
        ret="HDRS", envid="e+3Dx", eight_bit=True, smtputf8=False, size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest(),
        body_id=identifier, level=2, verified_originator=True, peer={"ip": "10.0.0.1"}, verdict={"a": [1, "é"]}, facts={"b": None},
        subject=b"\x00sealed", details=b"\x01\x02",
    )  # fmt: skip
    return replace(row, **changes)


def delivery(of: MessageRow, recipient: str = "desk@finance.nic.in", **changes: Any) -> DeliveryRow:
    row = DeliveryRow(
        id=new_id(), message_id=of.id, reference=of.reference, body_id=of.body_id, created=of.created, department=of.department,
        sender=of.sender, recipient=recipient, state=DeliveryState.SCHEDULED, notify=None, orcpt="", ret=of.ret, envid=of.envid,
        eight_bit=of.eight_bit, smtputf8=of.smtputf8, size=of.size, sha256=of.sha256, edits=(Edit("add", "SIO-Label", "x"),),
        require_aes256=True, direction="internal", verified_originator=of.verified_originator, level=of.level, next_attempt=NOW,
    )  # fmt: skip
    return replace(row, **changes)


def hold(of: MessageRow, *recipients: str, **changes: Any) -> HoldRow:
    row = HoldRow(
        id=new_id(), message_id=of.id, reference=of.reference, body_id=of.body_id, created=NOW, deadline=NOW + 100,
        department=of.department, state=HoldState.HELD, sender=of.sender, recipients=recipients or ("desk@finance.nic.in",),
        level=of.level, rule="r1", sealed=False, size=of.size, sha256=of.sha256, reason="x", verified_originator=True, updated=NOW,
    )  # fmt: skip
    return replace(row, **changes)


def journal_copy(of: MessageRow, **changes: Any) -> JournalRow:
    row = JournalRow(
        id=new_id(), message_id=of.id, reference=of.reference, body_id=of.body_id, name="journal", state=CopyState.WAITING, created=NOW,
        department=of.department, level=of.level, sha256=of.sha256, size=of.size, edits=(Edit("add", "X-Gateway-Journal", of.reference),),
        retain_until=NOW + 1000, next_attempt=NOW,
    )  # fmt: skip
    return replace(row, **changes)


def event(reference: str = "REF", **changes: Any) -> AuditEvent:
    row = AuditEvent(
        NOW, reference, "dept.gov.in", "so@dept.gov.in", "desk@finance.nic.in", "r1", "deliver",
        {"event": {"dataset": "gateway.decision", "action": "message-accepted"}, "rule": {"id": "r1"}},
    )  # fmt: skip
    return replace(row, **changes)


def whole(**changes: Any) -> tuple[Batch, MessageRow, DeliveryRow]:
    """A batch as a commit makes it: body, message, one delivery, one audit event."""
    row = message(**changes)
    one = delivery(row)
    return Batch(bodies=[body(row.body_id)], messages=[row], deliveries=[one], audit=[event(row.reference)]), row, one


def transaction(
    *recipients: str, content: bytes = CONTENT, sender: str = "so@dept.gov.in", verified: bool = True, **changes: Any
) -> Transaction:
    local, _, domain = sender.rpartition("@")
    envelope = Envelope(Path(local, domain), tuple(Recipient(Path(*one.split("@"))) for one in recipients or ("desk@finance.nic.in",)))
    row = Transaction(
        new_id(), Door.SMTP, Peer("10.0.0.1", 40000, "client.dept.gov.in", listed=verified), envelope, NOW, len(content),
        hashlib.sha256(content).hexdigest(), verified, domain,
    )  # fmt: skip
    return structs.replace(row, **changes)


def recipient(address: str, disposition: Disposition = Disposition.DELIVER, **changes: Any) -> RecipientVerdict:
    status = {Disposition.DELIVER: "2.0.0", Disposition.DEFER: "4.3.0"}.get(disposition, "5.7.1")
    row = RecipientVerdict(
        address, Tier.GOVERNMENT, Direction.INTERNAL, disposition, status, "rule-x", "J&K Circular", "refused-by-rule",
        (("recipient", address),), hits=("rule-x",), edits=(Edit("add", "X-Gateway-Reference", "R"),),
    )  # fmt: skip
    return structs.replace(row, **changes)


def verdict(version: str, *recipients: RecipientVerdict, level: Level | None = None, **changes: Any) -> Verdict:
    finding = Finding(Level.CONFIDENTIAL, "1.2:secret plan.docx", Zone.PAGE_HEADER, "CONFIDENTIAL heron", "en", Confidence.CERTAIN, "line")
    leaf = Leaf("1.2:secret plan.docx", "secret plan.docx", "application/x-docx", 100, LeafState.INSPECTED, level=level)
    row = Verdict(
        Classification(level, None, level, None, False, True, (finding,) if level else ()), recipients, (leaf,), (),
        Headers(subject="the heron flies", message_id="<a@b>", from_addresses=("so@dept.gov.in",)), "sha256:rules", version,
        message_facts={"message.level": -1}, recipient_facts=tuple({"recipient.tier": "government"} for _ in recipients),
    )  # fmt: skip
    return structs.replace(row, **changes)


def random_vault() -> Vault:
    return Vault({"r": os.urandom(32)}, "r")


class FakeRelay:
    """Takes what it is offered."""

    incarnation = "inc-1"

    def __init__(self) -> None:
        self.offered: list[tuple[list[DeliveryRow], bytes]] = []

    def offer(self, rows: Any, content: bytes) -> None:
        self.offered.append((list(rows), content))

    @property
    def recipients(self) -> list[str]:
        return [row.recipient for rows, _ in self.offered for row in rows]


class Room:
    """The keeper's parts around one store, with the shipped policy and a clock that tests move."""

    def __init__(self, folder: FilePath, **options: Any) -> None:
        self.now = NOW
        self.config = Config(
            state_dir=folder, hostname="gw1.dept.gov.in", originators=Originators(domains=("dept.gov.in",), networks=("10.0.0.0/8",)),
            contacts=Contacts(postmaster="postmaster@dept.gov.in"), limits=Limits(free_disk=0), max_message_size=1_000_000, **options,
        )  # fmt: skip
        self.store = SqliteStore(folder / "gateway.db")
        self.chain = AuditChain("c1")
        self.vault = make_vault()
        self.relay = FakeRelay()
        self.policy = shipped_policy()

    async def open(self, seal: Seal | None = None) -> Room:
        await self.store.open(self.chain)
        self.register = Register(self.store, lambda: self.now)
        await self.register.load()
        self.reports = Reports(self.config, self.vault, lambda: self.policy.explanations)
        parts = (self.config, self.store, self.vault, self.register, self.reports, self.relay, lambda: self.policy)
        self.copies = Copies(self.config, lambda: self.policy)
        self.correspondents = Correspondents(self.store, self.vault, lambda: self.policy, lambda: self.now)
        self.threads = Threads(self.store, self.vault, lambda: self.now)
        self.notifier = Notifier(self.config, self.vault, lambda: self.policy, lambda: self.now, lambda: self.now)
        self.journal = Journal(self.config.archive)
        self.actor = Actor(*parts, self.copies, self.correspondents, self.threads, self.notifier, seal, lambda: self.now, self.journal)
        self.quarantine = Quarantine(*parts, self.copies, self.correspondents, lambda: self.now, journal=self.journal)
        return self

    async def close(self) -> None:
        await self.store.close()

    async def commit(self, tx: Transaction, made: Verdict, content: bytes = CONTENT) -> Any:
        return await self.actor.commit(Commit(tx, made), content)

    @property
    def version(self) -> str:
        return self.register.current.version

    async def lines(self) -> list[dict[str, Any]]:
        return [json.loads(row.line) for row in await self.store.audit_rows()]


@lru_cache
def shipped_policy() -> Policy:
    return policy.load(None, Config())


def inspection(content: bytes = CONTENT, *, attached: Level | None = None, subject: str = "the heron flies") -> Inspection:
    """A note, with an unencrypted attachment of level *attached* when that is given."""
    leaves = [Leaf("1", "", "text/plain", 40, LeafState.INSPECTED, is_attachment=False)]
    findings = []
    if attached is not None:
        path = "2:heron plan.docx"
        leaves.append(Leaf(path, "heron plan.docx", "application/msword", 900, LeafState.INSPECTED, level=attached))
        findings.append(Finding(attached, path, Zone.PAGE_HEADER, attached.text, "en", Confidence.CERTAIN, "line"))
    headers = Headers(subject=subject, message_id="<a@b>", from_addresses=("so@dept.gov.in",))
    return Inspection(hashlib.sha256(content).hexdigest(), headers, tuple(leaves), tuple(findings))
