"""Held mail: what a reviewer sees, releases, refuses and takes out; and what becomes of it when nobody does.

What it is: the states of held records and every step between them, each in one batch with its approval, deliveries or report and
its audit events.
Who calls it: ``service`` for reviewers, ``housekeeping`` for what has expired.
Must never: release what a rule refuses now; count one person twice, or the sender; deliver anything but the octets that were
approved; leave an allowance behind for the next message (L11).
Sources: design.md section 4 ("Held mail"); hostile-inputs catalogue L11, O20, P18, 4.1 rule 9.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway import logs
from gateway.audit import events
from gateway.config import Config
from gateway.envelope import new_id
from gateway.keeper import recorded
from gateway.keeper.act import Deliverer
from gateway.keeper.copies import Asked, Copied, Copies
from gateway.keeper.correspondents import Correspondents
from gateway.keeper.exceptions import Register, Wrong
from gateway.keeper.recorded import Details, Kept, KeptRecipient
from gateway.levels import Level
from gateway.policy import Policy, decide
from gateway.relay.notices import Report, may_tell
from gateway.relay.reports import About, Reports
from gateway.stores.base import (
    ApprovalRow,
    AuditEvent,
    Batch,
    Conflict,
    DeliveryRow,
    DeliveryState,
    HoldRow,
    HoldState,
    HoldUpdate,
    MessageRow,
    Store,
    UserRow,
)
from gateway.vault.vault import Vault, VaultError
from gateway.verdict import Disposition, RuleTrace

OPEN = (HoldState.HELD, HoldState.REQUESTED, HoldState.APPROVED)
_BIG = 262_144  # octets from which opening a body is done in a thread
_log = logs.get("quarantine")


@dataclass(frozen=True, slots=True)
class _Item:
    """One held record with everything that belongs to it."""

    hold: HoldRow
    message: MessageRow
    kept: Kept
    details: Details

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


@dataclass(frozen=True, slots=True)
class _Release:
    """What the rules of now ask for one recipient of what is released."""

    require_aes256: bool
    copies: tuple[str, ...] = ()
    trace: tuple[RuleTrace, ...] = ()


class Quarantine:
    """The acts of reviewers. One at a time: the store's states are the second guard, not the only one."""

    def __init__(
        self, config: Config, store: Store, vault: Vault, register: Register, reports: Reports, relay: Deliverer,
        policy: Callable[[], Policy], copies: Copies, correspondents: Correspondents, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._config = config
        self._store = store
        self._vault = vault
        self._register = register
        self._reports = reports
        self._relay = relay
        self._policy = policy
        self._copies = copies
        self._correspondents = correspondents
        self._clock = clock
        self._one = asyncio.Lock()

    # --- releasing ----------------------------------------------------------------------------------------------------

    async def release(self, id: str, reason: str, recipients: Sequence[str], user: UserRow, by: str = "") -> str:
        """Releases to *recipients* (all that wait, when empty), or records the first of two approvals. *by* is the system user who
        acts as *user*. Returns what was done as a plain sentence. Raises Wrong, StoreError."""
        reason = _needed(reason)
        async with self._one:
            item = await self._item(id)
            if item.hold.sealed:
                raise Wrong("this message is sealed to the security officer; the gateway cannot open it, so it cannot release it", 1)
            chosen = self._chosen(item, recipients)
            self._not_the_sender(item, user)
            # What was looked at and waived for one recipient is not waived for another.
            each = {address: frozenset(self._waived(item, address)) for address in chosen}
            verdicts = {address: self._again(item, address, rules) for address, rules in each.items()}
            waived = tuple(sorted(frozenset().union(*each.values())))
            approval = ApprovalRow(
                new_id(), item.hold.id, self._clock(), user.name, reason, item.hold.sha256, tuple(chosen), waived, item.hold.department
            )
            if self._two_needed(item.hold) and not await self._other_approval(item, approval):
                return await self._first(item, approval, by)
            return await self._second(item, approval, verdicts, by)

    def _chosen(self, item: _Item, recipients: Sequence[str]) -> list[str]:
        if item.hold.state not in OPEN:
            raise Wrong(f"this message is {item.hold.state.value} already", 1)
        unknown = [one for one in recipients if one not in item.waiting]
        if unknown:
            raise Wrong(f"{unknown[0][:320]} is not among the recipients that wait", 1)
        return list(dict.fromkeys(recipients)) or list(item.waiting)

    def _not_the_sender(self, item: _Item, user: UserRow) -> None:
        sender = item.hold.sender.casefold()
        login = str(item.message.peer.get("user", "")).casefold()
        names = {user.email.casefold(), user.name.casefold(), user.system_user.casefold()} - {""}
        if (sender and sender in names) or (login and login in names):
            raise Wrong("the sender of a message cannot release it", 1)

    def _waived(self, item: _Item, address: str) -> tuple[str, ...]:
        _, kept = item.kept_of(address)
        return kept.hits or ((kept.rule,) if kept.rule and kept.disposition == "hold" else ())

    def _again(self, item: _Item, address: str, waived: frozenset[str]) -> _Release:
        """What the delivery needs, after the rules of now had their say. Raises Wrong."""
        place, kept = item.kept_of(address)
        facts = item.message.facts
        mine = facts.get("recipients", ())
        if place < 0 or place >= len(mine):
            return _Release(kept.require_aes256, kept.copies)
        verdict = decide.again(facts["message"], mine[place], self._policy(), waived, exceptions=self._register.current, now=self._clock())
        if verdict.disposition is Disposition.REFUSE:
            raise Wrong(f"the rule {verdict.rule} refuses this message for {address}; no reviewer can release it", 1)
        if verdict.disposition is not Disposition.DELIVER:
            raise Wrong(f"the rule {verdict.rule or 'no-rule-matched'} holds this message for {address} now, and cannot be waived here", 1)
        # What a waived rule asked for besides holding is still asked for.
        copies = tuple(dict.fromkeys((*kept.copies, *verdict.copies)))
        return _Release(verdict.require_aes256 or kept.require_aes256, copies, verdict.trace)

    def _two_needed(self, hold: HoldRow) -> bool:
        least = self._config.relay.two_people_from
        return least != "never" and hold.level is not None and hold.level >= Level[least]

    async def _other_approval(self, item: _Item, mine: ApprovalRow) -> bool:
        """Whether another person has approved the same octets, at least these recipients and at least these rules."""
        approvals = await self._store.approvals(item.hold.id)
        if any(one.user == mine.user and set(mine.recipients) <= set(one.recipients) for one in approvals):
            raise Wrong(f"{mine.user} has approved this already; another person has to", 1)
        return any(
            one.sha256 == mine.sha256 and set(mine.recipients) <= set(one.recipients) and set(mine.waived) <= set(one.waived)
            for one in approvals
            if one.user != mine.user
        )

    async def _first(self, item: _Item, approval: ApprovalRow, by: str) -> str:
        hold = item.hold
        log = self._events("held-approved", item, approval.recipients, approval.user, approval.reason, rules=list(approval.waived), by=by)
        change = HoldUpdate(hold.id, (hold.state,), HoldState.APPROVED, approval.created)
        await self._write(Batch(approvals=[approval], hold_updates=[change], audit=log))
        return "approved 1 of 2"

    async def _second(self, item: _Item, approval: ApprovalRow, needed: dict[str, _Release], by: str) -> str:
        hold, now = item.hold, approval.created
        content = await self._content(item)
        rows = [self._delivery(item, address, now, needs.require_aes256) for address, needs in needed.items()]
        copied = await self._copied(item, [Asked(row, needed[row.recipient].copies, needed[row.recipient].trace) for row in rows], now)
        pairs = self._correspondents.rows(hold.sender, [row.recipient for row in rows], hold.department) if hold.verified_originator else []
        released = (*hold.released, *approval.recipients)
        rest = [one for one in hold.recipients if one not in released]
        change = HoldUpdate(hold.id, (hold.state,), HoldState.HELD if rest else HoldState.RELEASED, now, released)
        log = self._events("held-released", item, approval.recipients, approval.user, approval.reason, rules=list(approval.waived), by=by)
        rows += copied.deliveries
        await self._write(
            Batch(approvals=[approval], hold_updates=[change], deliveries=rows, correspondents=pairs, audit=[*log, *copied.audit])
        )
        self._correspondents.written(pairs)
        self._relay.offer(rows, content)
        count = len(approval.recipients)
        return f"released {hold.reference} to {count} recipient{'s' * (count != 1)}" + (f"; {len(rest)} still held" if rest else "")

    async def _copied(self, item: _Item, asked: Sequence[Asked], now: float) -> Copied:
        """The copies that go with a release; none where the message was copied when others got it."""
        if not any(one.copies for one in asked):
            return Copied()
        earlier = [row.recipient for row in await self._store.deliveries(reference=item.hold.reference)]
        return self._copies.make(asked, (*earlier, *item.hold.recipients), now)

    def _delivery(self, item: _Item, address: str, now: float, require_aes256: bool) -> DeliveryRow:
        message = item.message
        place, kept = item.kept_of(address)
        edits = item.details.edits[place] if 0 <= place < len(item.details.edits) else ()
        return DeliveryRow(
            id=new_id(), message_id=message.id, reference=message.reference, body_id=message.body_id, created=now,
            department=message.department, sender=message.sender, recipient=address, state=DeliveryState.LEASED, notify=kept.notify,
            orcpt=kept.orcpt, ret=message.ret, envid=message.envid, eight_bit=message.eight_bit, smtputf8=message.smtputf8,
            size=message.size, sha256=message.sha256, edits=edits, require_aes256=require_aes256, direction=kept.direction,
            verified_originator=message.verified_originator, is_report=message.is_report, level=message.level, next_attempt=now,
            lease=self._relay.incarnation,
        )  # fmt: skip

    # --- refusing and expiring ----------------------------------------------------------------------------------------

    async def refuse(self, id: str, reason: str, user: UserRow, by: str = "") -> str:
        """Refuses what waits; the originator gets a report with *reason*. *by* as in ``release``. Returns what was done. Raises
        Wrong, StoreError."""
        reason = _needed(reason)
        async with self._one:
            item = await self._item(id, opened=False)
            if item.hold.state not in OPEN:
                raise Wrong(f"this message is {item.hold.state.value} already", 1)
            told = await self._end(item, HoldState.REFUSED, "held-refused", "refused-by-reviewer", user.name, reason, by)
        return f"refused {item.hold.reference}" + ("; the sender is told" if told else "; nobody may be told")

    async def expire(self, hold: HoldRow) -> None:
        """Ends a record whose deadline has passed: reported to a verified originator, else recorded only. Raises StoreError."""
        async with self._one:
            item = await self._item(hold.id, opened=False)
            if item.hold.state in OPEN:
                await self._end(item, HoldState.EXPIRED, "held-expired", "hold-expired", "", "")

    async def _end(self, item: _Item, state: HoldState, action: str, explain: str, user: str, note: str, by: str = "") -> bool:
        hold, now = item.hold, self._clock()
        about = []
        for address in item.waiting:
            place, kept = item.kept_of(address)
            words = item.details.words[place] if 0 <= place < len(item.details.words) else {}
            row = self._delivery(item, address, item.message.created, kept.require_aes256)
            if may_tell(row, "FAILURE"):
                about.append(About(row, "5.7.1", explain, kept.rule, kept.source, words))
        reports: list[Report] = []
        if about:
            try:
                content = b"" if hold.sealed else await self._content(item)
            except Wrong as error:
                # The report matters more than the header section it would have carried.
                _log.error("held content cannot be read for a report", reference=hold.reference, cause=str(error))
                content = b""
            level = None if hold.level is None else Level(hold.level)
            reports.append(self._reports.refused(about, content, now, self._relay.incarnation, level=level, note=note))
        await self._write(
            Batch(
                hold_updates=[HoldUpdate(hold.id, (hold.state,), state, now)],
                bodies=[report.body for report in reports],
                messages=[report.message for report in reports],
                deliveries=[report.delivery for report in reports],
                audit=self._events(action, item, item.waiting, user, note, by=by, told=bool(reports)),
            )
        )
        for report in reports:
            self._relay.offer([report.delivery], report.content)
        return bool(reports)

    async def export(self, id: str, reason: str, user: UserRow, by: str = "") -> bytes:
        """The content (of sealed mail: the CMS structure); the access is recorded before it is given. Raises Wrong, StoreError."""
        reason = _needed(reason)
        item = await self._item(id)
        row = await self._store.body(item.hold.body_id)
        if row is None:
            raise Wrong("the content was destroyed when the message was finished", 1)
        content = row.ciphertext if row.sealed else await self._content(item)
        log = self._events("held-exported", item, item.hold.recipients, user.name, reason, kind="access", by=by)
        await self._store.write(Batch(audit=log))
        return content

    # --- the parts ----------------------------------------------------------------------------------------------------

    async def _item(self, id: str, *, opened: bool = True) -> _Item:
        """Raises Wrong; without *opened* what a lost key has sealed is left out instead: to be looked at, refused, or expired."""
        hold = await self._store.hold(id)
        message = await self._store.message(hold.message_id) if hold is not None else None
        if hold is None or message is None:
            raise Wrong(f"there is no held message {id[:64]!r}", 1)
        try:
            details = recorded.read_details(message, self._vault)
        except VaultError as error:
            if opened:
                raise Wrong(str(error), 3) from error
            details = Details()
        return _Item(hold, message, recorded.read(message), details)

    async def _content(self, item: _Item) -> bytes:
        """The octets that were inspected, proved by their hash. Raises Wrong."""
        row = await self._store.body(item.hold.body_id)
        if row is None:
            raise Wrong("the content was destroyed when the message was finished", 1)
        if row.sha256 != item.hold.sha256:
            raise Wrong("the content is not that of this held message", 3)
        try:
            return self._vault.open(row) if row.size < _BIG else await asyncio.to_thread(self._vault.open, row)
        except VaultError as error:
            _log.error("held content is damaged", reference=item.hold.reference, cause=str(error))
            raise Wrong(str(error), 3) from error

    def _events(
        self,
        action: str,
        item: _Item,
        recipients: Sequence[str],
        user: str,
        reason: str,
        *,
        kind: str = "change",
        by: str = "",
        **more: object,
    ) -> list[AuditEvent]:
        hold = item.hold
        if by:  # an administrator may act as any reviewer: that one person did so twice can be seen
            more["system_user"] = by
        return [
            events.act(
                action, self._clock(), user, reason, reference=hold.reference, department=hold.department, sender=hold.sender,
                recipient=address, rule=hold.rule, kind=kind, held=hold.id, sha256=hold.sha256, **more,
            )
            for address in recipients
        ]  # fmt: skip

    async def _write(self, batch: Batch) -> None:
        try:
            await self._store.write(batch)
        except Conflict as error:
            raise Wrong("somebody else has just decided about this message; look at it again", 1) from error

    async def read(self, id: str) -> tuple[HoldRow, MessageRow, Kept, Details]:
        """One held record with what belongs to it. Raises Wrong, StoreError."""
        item = await self._item(id, opened=False)
        details = replace_for_sealed(item.details) if item.hold.sealed else item.details
        return item.hold, item.message, item.kept, details


def replace_for_sealed(details: Details) -> Details:
    """What may be shown of sealed mail: nothing of its content."""
    return Details(traces=details.traces)


def _needed(reason: str) -> str:
    reason = " ".join(reason.split())
    if not reason:
        raise Wrong("write a reason; it is recorded with the decision", 2)
    return reason[:1000]
