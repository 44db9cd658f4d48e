"""A held record with everything that belongs to it: opened for one person, and changed in one batch.

What it is: ``Item`` and ``HeldMail``: finding and opening, the rights of whoever asks, content, the log of acts, and the write that
one of two people wins.
Who calls it: ``releasing``, ``ending``, ``remarks``, ``showing`` and ``quarantine``.
Must never: let "there is none" and "it is not yours" look different (W05); hand out content whose hash is not that of the record.
Sources: docs/design.md section 4 ("Held mail"); hostile-inputs catalogue L11, O20, W05, W07.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway import logs
from gateway.audit import events
from gateway.config import Config
from gateway.keeper import recorded
from gateway.keeper.access import Absent, Forbidden, Who, grants_of
from gateway.keeper.exceptions import Wrong
from gateway.keeper.recorded import Details, Kept, KeptRecipient
from gateway.roles import Act, may
from gateway.stores.base import AuditEvent, Batch, Conflict, HoldRow, HoldState, MessageRow, Store, UserRow
from gateway.vault.vault import Vault, VaultError, content_hash

OPEN = (HoldState.HELD, HoldState.REQUESTED, HoldState.APPROVED)
_BIG = 262_144  # octets from which opening a body is done in a thread
_ID = 64  # characters of an id or reference at most
_log = logs.get("quarantine")


@dataclass(frozen=True, slots=True)
class Item:
    """One held record with everything that belongs to it."""

    hold: HoldRow
    message: MessageRow
    kept: Kept
    details: Details
    locked: str = ""
    """Why what is sealed of it cannot be opened; empty where it can, or where nothing is sealed."""

    @property
    def waiting(self) -> tuple[str, ...]:
        """Recipients that were not released yet."""
        return tuple(one for one in self.hold.recipients if one not in self.hold.released)

    def kept_of(self, address: str) -> tuple[int, KeptRecipient]:
        """Place and decision of *address*; a stand-in for what was listed without one."""
        for place, one in enumerate(self.kept.recipients):
            if one.address == address:
                return place, one
        return -1, KeptRecipient(address, "other", "internal", "hold", "5.7.1", self.hold.rule, explain=self.hold.reason)

    def needs_open(self) -> None:
        """Raises Wrong where it is finished."""
        if self.hold.state not in OPEN:
            raise Wrong(f"this message is {self.hold.state.value} already", 1)


class HeldMail:
    """Held records. *one* lets acts of this keeper on them go one at a time; a decision that another keeper was before with meets the
    store's ``HoldUpdate.seen``."""

    def __init__(self, config: Config, store: Store, vault: Vault, clock: Callable[[], float]) -> None:
        self.config = config
        self.store = store
        self.vault = vault
        self.clock = clock
        self.one = asyncio.Lock()

    async def row(self, id: str, who: Who, act: Act = Act.LIST) -> HoldRow:
        """The record *id* (or reference) as far as *who* may see it. Raises Absent, Forbidden, StoreError."""
        hold = await self.store.hold(id) if 0 < len(id) <= _ID else None
        if hold is None or not who.may(Act.LIST, hold.department):
            raise Absent("there is no such held message")
        who.need(act, hold.department)
        return hold

    async def item(self, id: str, who: Who, act: Act = Act.LIST, *, opened: bool = True) -> Item:
        """The same with what belongs to it. Raises Absent, Forbidden, Wrong, StoreError; without *opened* what a lost key has sealed
        is left out instead: to be looked at, refused, or expired."""
        return await self.of_row(await self.row(id, who, act), opened=opened)

    async def of_row(self, hold: HoldRow, *, opened: bool = True) -> Item:
        """*hold* with what belongs to it. Raises Wrong, StoreError."""
        message = await self.store.message(hold.message_id)
        if message is None:
            raise Absent("there is no such held message")
        locked, details = "", Details()
        try:
            details = recorded.read_details(message, self.vault)
        except VaultError as error:
            if opened:
                raise Wrong(str(error), 3) from error
            locked = str(error)
        return Item(hold, message, recorded.read(message), details, locked)

    async def content(self, hold: HoldRow) -> bytes:
        """The octets that were inspected, proved by their hash. Raises Wrong, StoreError."""
        row = await self.store.body(hold.body_id)
        if row is None:
            raise Wrong("the content was destroyed when the message was finished", 1)
        if row.sha256 != hold.sha256:
            raise Wrong("the content is not that of this held message", 3)
        try:
            content = self.vault.open(row) if row.size < _BIG else await asyncio.to_thread(self.vault.open, row)
        except VaultError as error:
            _log.error("held content is damaged", reference=hold.reference, cause=str(error))
            raise Wrong(str(error), 3) from error
        if content_hash(content) != hold.sha256:  # the vault has checked it against the row; this is against the record
            raise Wrong("the content is not that of this held message", 3)
        return content

    def subject(self, message: MessageRow) -> str:
        """The subject; a plain clause where its key is not here."""
        try:
            return self.vault.open_field(message.id, message.subject).decode("utf-8", "replace")
        except VaultError:
            return "(cannot be opened)"

    async def people(self, department: str, acts: Iterable[Act]) -> list[UserRow]:
        """The active people who may do one of *acts* in *department*, by name. Raises StoreError."""
        wanted = tuple(acts)
        return [one for one in await self.store.users() if any(may(grants_of(one), act, department) for act in wanted)]

    def events(
        self, action: str, item: Item, recipients: Sequence[str], who: Who | None, reason: str, *, kind: str = "change", **more: object,
    ) -> list[AuditEvent]:  # fmt: skip
        """One event a recipient; *who* None: the clock did it. *more* goes under ``gateway.act``."""
        hold = item.hold
        if who is not None:
            # An administrator may act as any reviewer: that one person did so twice can be seen.
            origin = {"system_user": who.by, "via": who.via, "client_ip": who.client_ip}
            more |= {name: value for name, value in origin.items() if value}
        return [
            events.act(
                action, self.clock(), "" if who is None else who.name, reason, reference=hold.reference, department=hold.department,
                sender=hold.sender, recipient=address, rule=hold.rule, kind=kind, held=hold.id, sha256=hold.sha256, **more,
            )
            for address in recipients
        ]  # fmt: skip

    async def write(self, batch: Batch) -> None:
        """Raises Wrong where somebody else was first; StoreError."""
        try:
            await self.store.write(batch)
        except Conflict as error:
            raise Wrong("somebody else has just decided about this message; look at it again", 1) from error


def needed(reason: str, what: str = "a reason") -> str:
    """*reason* as one line, at most 1,000 characters. Raises Wrong where nothing is written."""
    reason = " ".join("".join(c if c.isprintable() or c.isspace() or c in "\u200c\u200d" else " " for c in reason[:8000]).split())
    if not reason:
        raise Wrong(f"write {what}; it is recorded with the decision", 2)
    return reason[:1000]


def not_the_sender(item: Item, who: Who) -> None:
    """Raises Forbidden where *who* sent or wrote the message, under whatever name the message knows him by."""
    login = str(item.message.peer.get("user", ""))
    theirs = {_mailbox(one) for one in (item.hold.sender, login, *item.details.from_addresses)} - {""}
    names = {_mailbox(one) for one in (who.email, who.name, who.system_user, *who.senders) if not one.startswith("@")} - {""}
    # A login may be the part of an address before the "@"; whom that leaves in doubt does not release it either.
    local = _mailbox(who.email).partition("@")[0]
    if names & theirs or (local and "@" not in login and _mailbox(login) == local):
        raise Forbidden("the sender of a message cannot release it")


def _mailbox(text: str) -> str:
    """*text* for comparing: without case, and an address without what follows a "+" in it."""
    local, at, domain = text.strip().casefold().rpartition("@")
    return f"{local.partition('+')[0] or local}@{domain}" if at else domain
