"""What an attempt means for each delivery: delivered, tried again later, returned, listed, or moved aside.

What it is: the step from a next hop's replies to rows: updates, reports, holds and audit events that become durable together.
Who calls it: the relay after each attempt; ``queue_actions`` when an operator returns mail.
Must never: lose a recipient (each row gets exactly one update); report to anyone but a verified originator; give up by the wall
clock alone.
Sources: docs/design.md section 4; RFC 5321 sections 4.5.4 and 6.1; RFC 3461; hostile-inputs catalogue O04 to O06, L03, L04, P22.

Final states: ``delivered``; ``bounced`` (refused for good, the originator was told); ``expired`` (given up after its time, the
originator was told; or undeliverable where nobody may be told: then a hold with the reason ``postmaster`` lists it).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway import logs
from gateway.config import Config
from gateway.relay.hop_protocol import Fault
from gateway.relay.notices import Notices, Report, is_automatic, may_tell, postmaster_hold
from gateway.relay.schedule import Clock, Schedules
from gateway.reply import Reply
from gateway.stores.base import AuditEvent, DeliveryRow, DeliveryState, DeliveryUpdate, HoldRow

REFUSED = "next-hop-refused"
EXPIRED = "delivery-expired"
DELAYED = "delivery-delayed"
RELAYED = "delivery-relayed"
UNPROTECTED = "hop-unprotected"
_KEY_PAUSE = (60.0, 900.0)
"""Seconds after which a delivery whose key is not here is looked at again: a quarter of its age, between these two."""

_log = logs.get("relay")

Header = Callable[[], Awaitable[bytes]]
"""Fetches the header section of the original, when a report needs it; empty when it cannot be read."""


@dataclass(slots=True)
class Record:
    """What becomes durable together after one attempt."""

    updates: list[DeliveryUpdate] = field(default_factory=list)
    audit: list[AuditEvent] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    holds: list[HoldRow] = field(default_factory=list)


class Attempt(msgspec.Struct, frozen=True):
    """How an attempt went: one reply a row. *dsn*: the hop took over the DSN parameters; *way*: how it was reached."""

    replies: Sequence[Reply]
    route: str
    way: str = ""
    dsn: bool = True
    sent_sha256: str = ""
    fault: Fault | None = None
    possible_duplicate: bool = False


class Outcomes:
    """Makes Records. *incarnation* leases the reports so that the relay can send them at once."""

    def __init__(self, config: Config, notices: Notices, clock: Clock, incarnation: str) -> None:
        self._config = config
        self._limits = config.limits
        self._notices = notices
        self._clock = clock
        self._incarnation = incarnation
        self._schedules = Schedules(config.limits)
        self._expect = (DeliveryState.LEASED,)

    async def record(self, rows: Sequence[DeliveryRow], attempt: Attempt, header: Header) -> Record:
        """The Record of *attempt*, made with leased *rows*."""
        now = self._clock.time()
        out = Record()
        failures: list[tuple[DeliveryRow, Reply, str]] = []
        delays: list[tuple[DeliveryRow, Reply, str]] = []
        told: list[tuple[DeliveryRow, Reply, str]] = []
        until = 0.0
        for row, reply in zip(rows, attempt.replies, strict=True):
            if reply.code < 300:
                out.updates.append(
                    DeliveryUpdate(
                        row.id, self._expect, DeliveryState.DELIVERED, attempts=row.attempts + 1, last_reply=_line(reply, attempt),
                        route=attempt.route, lease="", sent_sha256=attempt.sent_sha256,
                    )
                )  # fmt: skip
                out.audit.append(_event(row, reply, now, "delivered", attempt))
                if row.notify is not None and not attempt.dsn and may_tell(row, "SUCCESS"):
                    told.append((row, reply, RELAYED))
            elif reply.code >= 500:
                failures.append((row, reply, REFUSED))
            else:
                verdict = self._waited(row, reply, attempt, now)
                if isinstance(verdict, Reply):
                    failures.append((row, verdict, UNPROTECTED if attempt.fault is Fault.UNPROTECTED else EXPIRED))
                    continue
                warn, left = verdict
                if warn:
                    until = max(until, now + left)
                    delays.append((row, reply, UNPROTECTED if attempt.fault is Fault.UNPROTECTED else DELAYED))
                out.updates.append(
                    DeliveryUpdate(
                        row.id, self._expect, DeliveryState.DEFERRED, attempts=row.attempts + 1, route=attempt.route, lease="",
                        next_attempt=now + self._schedules.of(row).wait(row.attempts), last_reply=_line(reply, attempt),
                        warned=True if warn else None, holder=self._incarnation,
                    )
                )  # fmt: skip
                if attempt.possible_duplicate:
                    out.audit.append(_event(row, reply, now, "deferred", attempt))
        if failures:
            await self._failed(out, failures, attempt, header, now)
        if delays and not is_automatic(await header()):
            out.reports.append(self._notices.delayed(delays, await header(), now, until, self._incarnation))
        if told:
            out.reports.append(self._notices.relayed(told, await header(), now, self._incarnation))
        return out

    def _waited(self, row: DeliveryRow, reply: Reply, attempt: Attempt, now: float) -> Reply | tuple[bool, float]:
        """A refusal when the time of *row* is over, else whether the originator is told of the delay now, and the time left."""
        limits = self._limits
        age = self._schedules.of(row).age(row, now)
        unprotected = attempt.fault is Fault.UNPROTECTED
        lifetime = min(limits.unprotected_lifetime, limits.lifetime) if unprotected else limits.lifetime
        if age >= lifetime:
            if unprotected:
                return Reply(550, "5.7.4", f"No AES-256 protected way to the next server was found in time. Last answer: {reply}")
            return Reply(550, "5.4.7", f"The message could not be delivered in time. Last answer: {reply}")
        warning = limits.unprotected_warning if unprotected else limits.delay_warning
        return age >= warning and not row.warned and may_tell(row, "DELAY"), lifetime - age

    async def _failed(
        self, out: Record, failures: Sequence[tuple[DeliveryRow, Reply, str]], attempt: Attempt, header: Header, now: float,
        expect: tuple[DeliveryState, ...] = (),
    ) -> None:  # fmt: skip
        """Ends *failures*: told to a verified originator, else listed for the postmaster; a lost report of ours is only recorded (L03)."""
        tell = [failure for failure in failures if may_tell(failure[0], "FAILURE")]
        listed = [row for row, _, _ in failures if not row.is_report and not may_tell(row, "FAILURE")]
        silent = {row.id for row in listed}
        for row, reply, key in failures:
            final = DeliveryState.EXPIRED if row.id in silent or key in (EXPIRED, UNPROTECTED) else DeliveryState.BOUNCED
            out.updates.append(
                DeliveryUpdate(
                    row.id, expect or self._expect, final, attempts=row.attempts + 1, last_reply=_line(reply, attempt),
                    route=attempt.route, lease="", holder="" if expect else self._incarnation,
                )
            )  # fmt: skip
            what = "report-lost" if row.is_report else "listed" if row.id in silent else final.value
            out.audit.append(_event(row, reply, now, what, attempt))
            if row.is_report:
                _log.warning("a report of ours could not be delivered and was dropped", reference=row.reference, reply=str(reply))
        if tell:
            out.reports.append(self._notices.failed(tell, await header(), now, self._incarnation))
        if listed:
            out.holds.append(postmaster_hold(listed, now, self._config.relay.hold_days))

    async def returned(self, row: DeliveryRow, reply: Reply, header: Header, expect: tuple[DeliveryState, ...]) -> Record:
        """The Record of an operator's decision to give *row* up."""
        out = Record()
        await self._failed(out, [(row, reply, REFUSED)], Attempt((reply,), row.route), header, self._clock.time(), expect)
        return out

    def aside(self, rows: Sequence[DeliveryRow], why: str) -> Record:
        """*rows* put on hold because the content is not what was inspected, or may not leave (P7, O20). *why* is ours, for the log."""
        now, reply = self._clock.time(), Reply(451, "4.3.0", why)
        _log.error("delivery moved aside: " + why, reference=rows[0].reference, body=rows[0].body_id, deliveries=len(rows))
        attempt = Attempt((), rows[0].route)
        return Record(
            [
                DeliveryUpdate(row.id, self._expect, DeliveryState.ON_HOLD, last_reply=str(reply), lease="", holder=self._incarnation)
                for row in rows
            ],
            [_event(row, reply, now, "on-hold", attempt) for row in rows],
        )

    def waiting(self, rows: Sequence[DeliveryRow], why: str) -> Record:
        """*rows* given back until the vault key of their content is here, or a node that has it takes them. Our own lack: it is no
        attempt, warns nobody, and does not end by the message's lifetime (O22)."""
        now, reply = self._clock.time(), Reply(451, "4.3.0", why)
        _log.warning("a delivery waits for a vault key: " + why, reference=rows[0].reference, deliveries=len(rows))
        return Record(
            [
                DeliveryUpdate(
                    row.id, self._expect, DeliveryState.DEFERRED, last_reply=str(reply), lease="", holder=self._incarnation,
                    next_attempt=now + min(max(_KEY_PAUSE[0], (now - row.created) / 4), _KEY_PAUSE[1]),
                )
                for row in rows
            ]
        )  # fmt: skip


def _line(reply: Reply, attempt: Attempt) -> str:
    """The reply as the store keeps it: with how the hop was reached, and whether it may have the message all the same."""
    text = f"{reply} [{attempt.way}]" if attempt.way else str(reply)
    return text + " (possible duplicate)" if attempt.possible_duplicate else text


def _event(row: DeliveryRow, reply: Reply, now: float, what: str, attempt: Attempt) -> AuditEvent:
    relay: dict[str, Any] = {"delivery": row.id, "attempts": row.attempts + 1, "route": attempt.route}
    if attempt.way:
        relay["way"] = attempt.way
    if what == "delivered":
        relay["sha256"], relay["sent_sha256"] = row.sha256, attempt.sent_sha256
    if attempt.possible_duplicate:
        relay["possible_duplicate"] = True
    document = {
        "event": {
            "kind": "event",
            "category": ["email"],
            "type": ["info"],
            "dataset": "gateway.delivery",
            "action": "message-" + what,
            "outcome": "success" if what == "delivered" else "failure",
        },
        "email": {"local_id": row.reference, "direction": row.direction},
        "gateway": {
            "delivery": relay,
            "smtp": {
                "mail_from": row.sender,
                "rcpt_to": [row.recipient],
                "code": reply.code,
                "enhanced": reply.enhanced,
                "text": reply.text,
            },
        },
    }
    return AuditEvent(now, row.reference, row.department, row.sender, row.recipient, "", what, document)
