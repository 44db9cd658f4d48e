"""The commit: one decision becomes durable, in all its parts, before anybody is answered.

What it is: from a Commit request and its content to one Batch (body, message, deliveries and copies, held record, report, notices,
audit) and the reply; also the record of deferrals and of refusals before DATA.
Who calls it: ``service``, for the doors.
Must never: answer 2xx before the batch is on stable storage; store a word of certain TOP SECRET or SECRET mail; report to an
outsider or a null sender.
Sources: docs/design.md section 4; RFC 5321 section 6.1, RFC 3461 section 4.1; hostile-inputs catalogue P1, P4, P10, O01, O02.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from gateway import handover
from gateway.address import Path
from gateway.audit import events
from gateway.config import Config
from gateway.envelope import Door, Peer, Recipient, Transaction, new_id
from gateway.keeper import recorded
from gateway.keeper.archive import Journal
from gateway.keeper.copies import Asked, Copies
from gateway.keeper.correspondents import Correspondents
from gateway.keeper.exceptions import Register
from gateway.keeper.notify import Notifier, Told
from gateway.keeper.planning import MTA_HOLD, Plan, plan_of, traced
from gateway.keeper.terms import Terms
from gateway.keeper.threads import Threads
from gateway.policy import Policy, contacts
from gateway.relay.notices import Report
from gateway.relay.reports import About, Reports
from gateway.reply import OUR_FAULT, Reply
from gateway.requests import Commit, Committed, Deferred, Failed, Refused, Stale
from gateway.stores.base import (
    AuditEvent,
    Batch,
    BodyRow,
    Conflict,
    DeliveryRow,
    DeliveryState,
    HoldRow,
    HoldState,
    MessageRow,
    Store,
)
from gateway.stores.reviewed import ReviewBatch
from gateway.vault.officer_links import OfficerLinks
from gateway.vault.sealing import Seal
from gateway.vault.vault import Vault, content_hash
from gateway.verdict import Disposition, RecipientVerdict, Verdict

_DAY = 86400.0
_FULL = 4  # Failed.code of a store without room: answered 452
_DISK_EVERY = 5.0  # seconds between two looks at the free disk
POSTMASTER = "postmaster"
"""Reason of a held record that lists what nobody may be told about."""


class Deliverer(Protocol):
    """What is needed of the relay here."""

    @property
    def incarnation(self) -> str:
        """What leases name."""

    def offer(self, rows: Sequence[DeliveryRow], content: bytes) -> None:
        """Takes leased rows with their content; returns at once."""


class Actor:
    """Makes decisions durable. *policy* gives the policy now in force, for its sentences."""

    def __init__(
        self, config: Config, store: Store, vault: Vault, register: Register, reports: Reports, relay: Deliverer,
        policy: Callable[[], Policy], copies: Copies, correspondents: Correspondents, threads: Threads,
        notifier: Notifier, seal: Seal | None = None,
        clock: Callable[[], float] = time.time, journal: Journal | None = None,
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
        self._threads = threads
        self._terms = Terms(vault)
        self._links = OfficerLinks(config, vault)
        self._notifier = notifier
        self._seal = seal
        self._journal = journal or Journal()
        self._clock = clock
        self._disk_looked = -_DISK_EVERY
        self._disk_full = False

    # --- the door's three requests ------------------------------------------------------------------------------------

    async def commit(self, request: Commit, content: bytes) -> Committed | Stale | Failed:
        """The answer to a decision, after it is durable. Raises StoreError and StoreFull (answered 4xx by the caller)."""
        tx, verdict = self._placed(request.transaction), request.verdict
        if tx is not request.transaction:
            request = replace(request, transaction=tx)
        if len(content) != tx.size or content_hash(content) != tx.sha256:
            return Failed("the content is not what was inspected", 3)
        facts = handover.facts_of(request)
        if facts is None:
            return Failed("the facts of the decision are not what they should be", 3)
        current = self._register.current
        if verdict.exceptions_version != current.version:
            return Stale(current.version)
        if any(one.disposition is Disposition.DEFER for one in verdict.recipients) or not verdict.recipients:
            return await self._all_deferred(request)
        if verdict.session_refusal or (verdict.sealed and self._seal is None):
            return await self._all_refused(request, session=True)
        plan = plan_of(tx, verdict, self._config)
        if plan.refuses_all:
            return await self._all_refused(request)
        # What is stored elsewhere needs no place in the queue: drafts are saved while it is full.
        if await self._no_room(queue=tx.door is not Door.IMAP):
            return Failed("the queue or the disk is full", _FULL)
        return await self._accept(request, content, plan, facts)

    async def deferred(self, request: Deferred) -> None:
        """Records that a message was answered 4xx after DATA."""
        reply = request.reply
        log = events.deferred(
            self._placed(request.transaction), reply.code, reply.enhanced, request.cause, self._clock(), self._config.hostname
        )
        await self._store.write(Batch(audit=log))

    async def refused(self, request: Refused) -> None:
        """Records a refusal before DATA."""
        domains = (one.rpartition("@")[2].lower() for one in (request.recipient, request.sender))
        inside = next((one for one in domains if one and contacts.is_within(Path("", one), self._config)), "")
        event = events.refused(request, self._clock(), self._config.hostname)
        await self._store.write(Batch(audit=[replace(event, department=inside)]))

    def _placed(self, tx: Transaction) -> Transaction:
        """*tx* with the department that it belongs to: that of the official originator, else of the first recipient inside; none where
        nobody of ours sent it and nobody of ours gets it."""
        if tx.department and tx.verified_originator:
            return tx
        inside = (one.path for one in tx.envelope.recipients if one.path.domain and contacts.is_within(one.path, self._config))
        first = next(inside, None)
        return tx if first is None else replace(tx, department=first.domain)

    # --- what is not accepted -----------------------------------------------------------------------------------------

    async def _all_deferred(self, request: Commit) -> Committed:
        """A single recipient that we could not decide defers the whole message: SMTP has one answer after DATA, and the client
        sends it to all of them again."""
        tx = request.transaction
        codes = {one.address: OUR_FAULT.code for one in request.verdict.recipients}
        verdict = replace(
            request.verdict,
            recipients=tuple(replace(one, disposition=Disposition.DEFER, status="4.3.0") for one in request.verdict.recipients),
        )
        await self._store.write(Batch(audit=self._log(request, codes, verdict=verdict)))
        return Committed(OUR_FAULT, tx.reference)

    async def _all_refused(self, request: Commit, *, session: bool = False) -> Committed | Stale:
        """Answered 550 in the session: nothing is stored but the decision."""
        tx, verdict = request.transaction, request.verdict
        if session:
            # Whatever single rules said: nothing of it is accepted.
            refusals = tuple(
                one if one.disposition is Disposition.REFUSE else replace(one, disposition=Disposition.REFUSE, status="5.7.1")
                for one in verdict.recipients
            )
            verdict = replace(verdict, recipients=refusals, session_refusal=True)
        # The client hands it on to the originator; a stranger, who may have written anybody's name, gets no page.
        url = self._links.url(tx.reference, tx.envelope.sender.text, self._clock()) if tx.verified_originator else ""
        text = self._policy().explanations.reply_text(verdict, tx.reference, url)
        status = verdict.recipients[0].status
        reply = Reply(550, status if status.startswith("5.") else "5.7.1", text)
        codes = {one.address: reply.code for one in verdict.recipients}
        told = Told() if await self._no_room() else self._notifier.about(tx, verdict, self._relay.incarnation)
        marks = self._threads.rows(tx, verdict)
        try:
            await self._store.write(
                Batch(
                    bodies=[report.body for report in told.reports],
                    messages=[report.message for report in told.reports],
                    deliveries=[report.delivery for report in told.reports],
                    threads=marks,
                    audit=[*self._log(request, codes, verdict=verdict), *told.audit],
                    expect_exceptions_version=verdict.exceptions_version,
                )
            )
        except BaseException as error:
            self._notifier.undo(told)
            if isinstance(error, Conflict):
                return await self._stale()
            raise
        self._threads.written(marks)
        self._send(told.reports)
        return Committed(reply, tx.reference)

    async def _stale(self) -> Stale:
        await self._register.agree()  # another node may have changed it, before this one heard of it
        return Stale(self._register.current.version)

    def _send(self, reports: Sequence[Report]) -> None:
        for report in reports:
            self._relay.offer([report.delivery], report.content)

    # --- what is accepted ---------------------------------------------------------------------------------------------

    async def _accept(self, request: Commit, content: bytes, plan: Plan, facts: dict[str, Any]) -> Committed | Stale:
        tx, verdict = request.transaction, traced(request.transaction, request.verdict, self._config.hostname)
        if verdict is not request.verdict:
            request = replace(request, verdict=verdict)
        now, going = self._clock(), plan.going
        level = events.level_of(verdict)
        stored = tx.door is Door.IMAP
        asked = {one.path.text: one for one in reversed(tx.envelope.recipients)}
        rows = {one.address: self._row(tx, verdict, one, asked.get(one.address), now) for one in verdict.recipients}
        body_id = next(iter(rows.values())).body_id
        filed = self._journal.make(tx, verdict, going, now)
        copied = self._copies.make(
            [Asked(rows[one.address], one.copies, one.trace) for one in going],
            (one.address for one in (*going, *plan.hold)), now,
        )  # fmt: skip
        deliveries = [*(rows[one.address] for one in plan.deliver), *copied.deliveries]
        # Where nothing of ours needs it, the content stays with whoever has it.
        needed = bool(deliveries or plan.hold or plan.silent or filed.rows)
        bodies = [self._body(body_id, content, tx.sha256, now, sealed=verdict.sealed)] if needed else []
        message = MessageRow(
            id=tx.id, reference=tx.reference, created=now, department=tx.department, door=tx.door.value,
            sender=tx.envelope.sender.text, ret=tx.envelope.ret, envid=tx.envelope.envid, eight_bit=tx.envelope.eight_bit,
            smtputf8=tx.envelope.smtputf8, size=tx.size, sha256=tx.sha256, body_id=body_id, level=level,
            verified_originator=tx.verified_originator,
            peer=_client(tx.peer),
            verdict=recorded.keep(tx, verdict, plan.kept), facts=facts,
            subject=b"" if verdict.sealed or stored else self._vault.seal_field(tx.id, verdict.headers.subject),
            details=self._details(request, plan),
        )  # fmt: skip
        known = tx.verified_originator and [one.address for one in going]
        pairs = self._correspondents.rows(tx.envelope.sender.text, known, tx.department) if known else []
        marks = self._threads.rows(tx, verdict)
        deadline = now + self._config.relay.hold_days * _DAY
        holds = []
        if plan.hold:
            holds.append(self._hold(message, plan.hold, deadline, plan.hold[0].explain, sealed=verdict.sealed))
        if plan.silent:
            holds.append(self._hold(message, plan.silent, deadline, POSTMASTER, sealed=verdict.sealed))
        told = Told() if stored else self._notifier.about(tx, verdict, self._relay.incarnation)
        reports = [*self._write_reports(request, content, plan, rows, now, deadline), *told.reports]
        batch = Batch(
            bodies=bodies + [report.body for report in reports],
            messages=[message, *(report.message for report in reports)],
            deliveries=deliveries + [report.delivery for report in reports],
            holds=holds,
            correspondents=pairs,
            threads=marks,
            journal=filed.rows,
            review=ReviewBatch(terms=self._terms.of(holds, verdict.headers.subject)) if holds else None,
            audit=[*self._log(request, {}, kept=plan.kept), *copied.audit, *filed.audit, *told.audit],
            expect_exceptions_version=verdict.exceptions_version,
        )
        try:
            await self._store.write(batch)
        except BaseException as error:
            self._notifier.undo(told)
            if not isinstance(error, Conflict):
                raise
            stored_row = await self._store.message(tx.id)
            if stored_row is not None and stored_row.sha256 == tx.sha256:
                # The door asks again about what is durable already: its channel broke before our answer.
                return _accepted(tx, recorded.read(stored_row).kept_by)
            return await self._stale()
        self._correspondents.written(pairs)
        self._threads.written(marks)
        self._journal.written(filed)
        if deliveries:
            self._relay.offer(deliveries, content)
        self._send(reports)
        return _accepted(tx, plan.kept)

    def _row(self, tx: Transaction, verdict: Verdict, one: RecipientVerdict, asked: Recipient | None, now: float) -> DeliveryRow:
        """The delivery to *one*, *asked* for in the envelope, leased by our own relay: it is handed over right after the commit."""
        return DeliveryRow(
            id=new_id(), message_id=tx.id, reference=tx.reference, body_id=tx.id, created=now, department=tx.department,
            sender=tx.envelope.sender.text, recipient=one.address, state=DeliveryState.LEASED,
            notify=None if asked is None or asked.notify is None else tuple(sorted(asked.notify)), orcpt=asked.orcpt if asked else "",
            ret=tx.envelope.ret, envid=tx.envelope.envid, eight_bit=tx.envelope.eight_bit, smtputf8=tx.envelope.smtputf8, size=tx.size,
            sha256=tx.sha256, edits=one.edits, require_aes256=one.require_aes256, direction=one.direction.value,
            verified_originator=tx.verified_originator, level=verdict.classification.level, next_attempt=now,
            lease=self._relay.incarnation,
        )  # fmt: skip

    def _body(self, body_id: str, content: bytes, sha256: str, now: float, *, sealed: bool) -> BodyRow:
        if sealed:
            assert self._seal is not None
            return self._seal.seal(body_id, content, sha256, now)
        return self._vault.seal(body_id, content, sha256)

    def _details(self, request: Commit, plan: Plan) -> bytes:
        if plan.hold or plan.silent:
            return recorded.details(request.transaction, request.verdict, self._vault)
        return recorded.words(request.transaction, request.verdict, self._vault) if plan.report else b""

    @staticmethod
    def _hold(message: MessageRow, held: Sequence[RecipientVerdict], deadline: float, reason: str, *, sealed: bool) -> HoldRow:
        return HoldRow(
            id=new_id(), message_id=message.id, reference=message.reference, body_id=message.body_id, created=message.created,
            deadline=deadline, department=message.department, state=HoldState.HELD, sender=message.sender,
            recipients=tuple(one.address for one in held), level=message.level, rule=held[0].rule, sealed=sealed, size=message.size,
            sha256=message.sha256, reason=reason, verified_originator=message.verified_originator, updated=message.created,
        )  # fmt: skip

    def _write_reports(
        self, request: Commit, content: bytes, plan: Plan, rows: dict[str, DeliveryRow], now: float, deadline: float
    ) -> list[Report]:
        tx, verdict = request.transaction, request.verdict
        level, lease = events.level_of(verdict), self._relay.incarnation

        def about(one: RecipientVerdict) -> About:
            return About(rows[one.address], one.status, one.explain, one.rule, one.source, dict(one.facts))

        out = []
        if plan.report:
            out.append(self._reports.refused([about(one) for one in plan.report], content, now, lease, level=level))
        headers = verdict.headers
        automatic = headers.is_list or headers.auto_submitted.lower() not in ("", "no")
        automatic = automatic or headers.precedence.lower() in ("bulk", "list", "junk")
        if plan.hold and tx.verified_originator and not tx.envelope.sender.is_null and not automatic:
            told = [one for one in plan.hold if (asked := rows[one.address].notify) is None or "DELAY" in asked]
            if told:
                out.append(self._reports.held([about(one) for one in told], content, now, lease, level=level, deadline=deadline))
        return out

    def _log(
        self, request: Commit, codes: dict[str, int], verdict: Verdict | None = None, kept: Mapping[str, str] | None = None
    ) -> list[AuditEvent]:
        decided = request.verdict if verdict is None else verdict
        return events.decisions(
            request.transaction, decided, codes, self._clock(), self._vault.words_hash, self._config.hostname,
            subject=request.verdict.headers.subject, kept_by=kept or {},
        )  # fmt: skip

    # --- room ---------------------------------------------------------------------------------------------------------

    async def _no_room(self, *, queue: bool = True) -> bool:
        """Whether the *queue* is full, or the disk would not take three more messages of the largest size and keep its reserve."""
        limits = self._config.limits
        if queue and await self._store.open_delivery_count() >= limits.queue_messages:
            return True
        now = time.monotonic()
        if now - self._disk_looked >= _DISK_EVERY:
            self._disk_looked = now
            self._disk_full = free_octets(self._config) < limits.free_disk + 3 * self._config.max_message_size
        return self._disk_full


def _accepted(tx: Transaction, kept_by: Mapping[str, str]) -> Committed:
    """The answer to what is durable; *kept_by*: who has the mail of the addresses that are nothing of ours."""
    reply = Reply(250, "2.0.0", f"accepted {tx.reference}")
    return Committed(reply, tx.reference, tuple(kept_by), MTA_HOLD in kept_by.values())


def _client(peer: Peer) -> dict[str, Any]:
    """What is kept of the client."""
    kept: dict[str, Any] = {"ip": peer.ip, "helo": peer.helo, "user": peer.user, "listed": peer.listed}
    return kept | {"tls": peer.tls_version, "cipher": peer.tls_cipher, "bits": int(peer.tls_bits)} if peer.tls_version else kept


def free_octets(config: Config) -> int:
    """Octets that we may still write on the disk of state_dir."""
    found = os.statvfs(config.state_dir)
    return found.f_bavail * found.f_frsize
