"""The relay's work in memory: which deliveries go in one transaction, their content while there is room, and the octets that leave.

What it is: ``Job`` and its grouping, the byte budget of contents, ``fetched``, which opens what the store has, and ``prepare``, which
checks, edits, signs and stuffs.
Who calls it: the relay.
Must never: let content leave whose sha256 is not the recorded one (P7), or that has gone round more often than the limit (L01).
Sources: docs/design.md section 4 ("Bytes"); RFC 5321 section 6.3; hostile-inputs catalogue P7, L01, O20.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from gateway.message import edits
from gateway.relay.routes import NextHop, Routes, domain_of
from gateway.relay.signing import Signer
from gateway.relay.smtp_client import Outgoing, OutgoingRecipient
from gateway.reply import Reply
from gateway.stores.base import BodyRow, DeliveryRow
from gateway.vault.vault import KeyMissing, VaultError, content_hash
from gateway.verdict import Direction
from gateway.wire.smtp_client import stuff

LOOP = Reply(554, "5.4.6", "The message has passed through too many servers: it is going round in circles")
BIG = 262_144
"""Octets from which work on a content is done in a thread."""
_RECIPIENTS = 100  # of one transaction, RFC 5321 section 4.5.3.1.8


class Damaged(Exception):
    """The content is not what was inspected, or may not leave. The text is ours and says why."""


class Unopened(Damaged):
    """The key that opens the content is not here now. Nothing is wrong with the content; it waits, and so do its deliveries."""


class Bodies(Protocol):
    """What is needed of the store here."""

    async def body(self, body_id: str) -> BodyRow | None: ...


class Opener(Protocol):
    """What is needed of the vault here."""

    def open(self, row: BodyRow) -> bytes: ...


class Contents:
    """The octets of message contents that are kept in memory, under one budget."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self.held = 0

    def keep(self, content: bytes, users: int) -> Share | None:
        """A share of *content* for *users* jobs; None when there is no room: they read it from the store."""
        if self.held + len(content) > self._budget:
            return None
        self.held += len(content)
        return Share(self, content, users)


class Share:
    """One content in memory until its last job has let go of it."""

    __slots__ = ("_contents", "_users", "content")

    def __init__(self, contents: Contents, content: bytes, users: int) -> None:
        self._contents = contents
        self._users = users
        self.content = content

    def drop(self) -> None:
        """One job needs it no more."""
        self._users -= 1
        if not self._users:
            self._contents.held -= len(self.content)


@dataclass(slots=True)
class Job:
    """Deliveries of one message that go to one hop in one transaction. *share*: the content, when it is in memory."""

    rows: Sequence[DeliveryRow]
    hop: NextHop | None
    share: Share | None = None

    @property
    def protected(self) -> bool:
        """Whether the hop must be an AES-256 protected path and is not one by itself."""
        return self.rows[0].require_aes256 and self.hop is not None and not self.hop.loopback


def grouped(rows: Iterable[DeliveryRow], routes: Routes) -> list[Job]:
    """The jobs that *rows* make: equal octets, equal envelope, equal hop."""
    rows = list(rows)
    if len(rows) == 1:
        return [Job(rows, routes.find(domain_of(rows[0].recipient)))]
    groups: dict[object, list[DeliveryRow]] = {}
    hops: dict[object, NextHop | None] = {}
    for row in rows:
        hop = routes.find(domain_of(row.recipient))
        key = (
            row.message_id, hop, row.require_aes256, row.edits, row.direction == Direction.OUTBOUND, row.sender, row.ret, row.envid,
            row.smtputf8,
        )  # fmt: skip
        groups.setdefault(key, []).append(row)
        hops[key] = hop
    return [
        Job(group[start : start + _RECIPIENTS], hops[key]) for key, group in groups.items() for start in range(0, len(group), _RECIPIENTS)
    ]


class Prepared(msgspec.Struct, frozen=True):
    """What is handed to the hop."""

    mail: Outgoing
    sent_sha256: str


def header_of(content: bytes) -> bytes:
    """The header section of *content* with its last CRLF."""
    end = content.find(b"\r\n\r\n")
    return content if end < 0 else content[: end + 2]


async def fetched(delivery: DeliveryRow, store: Bodies, vault: Opener) -> bytes:
    """The content of *delivery* from the store. Raises Unopened, Damaged, StoreError."""
    row = await store.body(delivery.body_id)
    if row is None:
        raise Damaged("the content is not in the store")
    try:
        return vault.open(row) if row.size < BIG else await asyncio.to_thread(vault.open, row)
    except KeyMissing as error:
        raise Unopened(str(error)) from error
    except VaultError as error:
        raise Damaged(f"the content cannot be opened: {error}") from error


def received_count(header: bytes) -> int:
    """How many Received fields *header* holds."""
    lower = header.lower()
    return lower.count(b"\r\nreceived:") + lower.startswith(b"received:")


def prepare(rows: Sequence[DeliveryRow], content: bytes, signer: Signer, max_received: int) -> Prepared | Reply:
    """What leaves for *rows*, or a refusal when the message is in a loop. Raises Damaged."""
    row = rows[0]
    if len(content) != row.size or content_hash(content) != row.sha256:
        raise Damaged("the content is not what was inspected")
    header = header_of(content)
    if received_count(header) > max_received:
        return LOOP
    try:
        final = edits.apply(row.edits, content) if row.edits else content
    except ValueError as error:
        raise Damaged("the recorded edits cannot be applied") from error
    if row.direction == Direction.OUTBOUND and signer.active and not row.is_report:
        final = signer.sign(final, row.sender)
    try:
        stuffed = stuff(final)
    except ValueError as error:
        raise Damaged("the content holds octets that may not leave") from error
    recipients = [OutgoingRecipient(r.recipient, r.notify, r.orcpt) for r in rows]
    eight_bit = not final.isascii()
    smtputf8 = not row.sender.isascii() or not all(r.recipient.isascii() for r in rows)
    if row.smtputf8 and eight_bit and not smtputf8:
        smtputf8 = not header_of(final).isascii()
    mail = Outgoing(row.sender, recipients, stuffed, len(final), eight_bit, smtputf8, row.ret, row.envid)
    return Prepared(mail, row.sha256 if final is content else content_hash(final))
