"""Reports of the relay to originators: which are due, to whom, and the rows they become.

What it is: the questions "may this be reported?" and "who is told?", and ``Report``, the rows of one report in the queue.
Who calls it: ``outcomes`` (delayed, failed, relayed); ``act`` and ``quarantine`` may use ``make_report`` for theirs.
Must never: write to an outsider, to a null sender, about a report of ours, or a second delay notice; carry the body of the original.
Sources: RFC 3461 sections 4.1 and 6.2, RFC 3464, RFC 3834; docs/design.md section 4 ("Answering"); hostile-inputs catalogue L02 to L05.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.config import Config
from gateway.envelope import new_id, reference_of
from gateway.levels import Level
from gateway.policy import bounce
from gateway.policy.bounce import RecipientReport
from gateway.policy.explanations import Explanations
from gateway.reply import Reply
from gateway.stores.base import BodyRow, DeliveryRow, DeliveryState, HoldRow, HoldState, MessageRow

_DAY = 86_400.0


class Sealer(Protocol):
    """What is needed of the vault here."""

    def seal(self, body_id: str, content: bytes, sha256: str) -> BodyRow: ...


@dataclass(frozen=True, slots=True)
class Report:
    """A report of ours as rows: they become durable with the change they tell of."""

    body: BodyRow
    message: MessageRow
    delivery: DeliveryRow
    content: bytes


def make_report(content: bytes, about: DeliveryRow, vault: Sealer, now: float, lease: str) -> Report:
    """The rows of the report *content* to the originator of *about*; leased by *lease*, or scheduled at once where that is empty.

    Null sender, NOTIFY=NEVER, never signed (it stays in the house), and with the same need of an AES-256 hop as the original,
    whose subject it may carry.
    """
    return make_message(
        content, about.sender, vault, now, lease, about=about.reference, department=about.department, level=about.level,
        require_aes256=about.require_aes256,
    )  # fmt: skip


def make_message(
    content: bytes, to: str, vault: Sealer, now: float, lease: str, *, about: str, department: str, level: int | None,
    require_aes256: bool, door: str = "report",
) -> Report:  # fmt: skip
    """The rows of *content*, a message of ours to *to*: null sender, NOTIFY=NEVER, never signed, never reported on.

    *about* is the reference of the message that it tells of; *lease* as in ``make_report``.
    """
    identifier, body_id = new_id(), new_id()
    sha256 = hashlib.sha256(content).hexdigest()
    eight_bit = not content.isascii()
    reference = reference_of(identifier)
    smtputf8 = not to.isascii()
    message = MessageRow(
        id=identifier, reference=reference, created=now, department=department, door=door, sender="", ret="", envid="",
        eight_bit=eight_bit, smtputf8=smtputf8, size=len(content), sha256=sha256, body_id=body_id, level=level,
        verified_originator=False, verdict={"about": about}, is_report=True,
    )  # fmt: skip
    delivery = DeliveryRow(
        id=new_id(), message_id=identifier, reference=reference, body_id=body_id, created=now, department=department, sender="",
        recipient=to, state=DeliveryState.LEASED if lease else DeliveryState.SCHEDULED, notify=("NEVER",), orcpt="", ret="",
        envid="", eight_bit=eight_bit, smtputf8=smtputf8, size=len(content), sha256=sha256, edits=(), require_aes256=require_aes256,
        direction="internal", verified_originator=False, is_report=True, level=level, next_attempt=now, lease=lease,
    )  # fmt: skip
    return Report(vault.seal(body_id, content, sha256), message, delivery, content)


def postmaster_hold(rows: Sequence[DeliveryRow], now: float, hold_days: float) -> HoldRow:
    """Lists undeliverable mail that may not be reported to anybody: *rows* of one message, for the postmaster to look at."""
    first = rows[0]
    return HoldRow(
        id=new_id(), message_id=first.message_id, reference=first.reference, body_id=first.body_id, created=now,
        deadline=now + hold_days * _DAY, department=first.department, state=HoldState.HELD, sender=first.sender,
        recipients=tuple(row.recipient for row in rows), level=first.level, rule="", sealed=False, size=first.size, sha256=first.sha256,
        reason="postmaster", verified_originator=False, updated=now,
    )  # fmt: skip


def may_tell(row: DeliveryRow, event: str) -> bool:
    """Whether the originator of *row* may be told of *event* (FAILURE, DELAY or SUCCESS) by us.

    Only verified originators are; nobody is told about a report; NOTIFY decides where it was given, and success is told only where
    it was asked for.
    """
    if row.is_report or not row.sender or not row.verified_originator:
        return False
    if row.notify is None:
        return event != "SUCCESS"
    return event in row.notify


def is_automatic(header: bytes) -> bool:
    """Whether the message was made by a machine or a list: such mail gets no notices of delay (RFC 3834 section 2)."""
    for line in header.lower().split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon:
            continue
        value = value.strip()
        if name == b"auto-submitted" and value != b"no":
            return True
        if name == b"precedence" and value in (b"bulk", b"list", b"junk"):
            return True
        if name in (b"list-id", b"list-post", b"list-unsubscribe"):
            return True
    return False


class Notices:
    """Writes the relay's reports. *explanations* gives the sentences now in force."""

    def __init__(self, config: Config, vault: Sealer, explanations: Callable[[], Explanations]) -> None:
        self._config = config
        self._vault = vault
        self._explanations = explanations

    def failed(self, failures: Sequence[tuple[DeliveryRow, Reply, str]], header: bytes, now: float, lease: str) -> Report:
        """One report for the recipients that will not get the message: row, the reply and the key of the explanation for each."""
        return self._report(bounce.failed, failures, header, now, lease)

    def delayed(self, delays: Sequence[tuple[DeliveryRow, Reply, str]], header: bytes, now: float, until: float, lease: str) -> Report:
        """One notice that the recipients have not got it yet, and are tried until *until* (seconds since the epoch)."""
        return self._report(lambda *a, **k: bounce.delayed(*a, until=until, **k), delays, header, now, lease)

    def relayed(self, rows: Sequence[tuple[DeliveryRow, Reply, str]], header: bytes, now: float, lease: str) -> Report:
        """One notice for recipients whose NOTIFY=SUCCESS the next hop could not take over (RFC 3461 section 6.2.7.3)."""
        return self._report(bounce.relayed, rows, header, now, lease)

    def _report(
        self, write: Callable[..., bytes], about: Sequence[tuple[DeliveryRow, Reply, str]], header: bytes, now: float, lease: str
    ) -> Report:
        config, first = self._config, about[0][0]
        level = None if first.level is None else Level(first.level)
        content = write(
            first.reference,
            config.hostname,
            now,
            header,
            first.sender,
            [
                RecipientReport(
                    address=row.recipient,
                    status=reply.enhanced,
                    explain=key,
                    words={"recipient": row.recipient, "level": "" if level is None else level.text},
                    orcpt=row.orcpt,
                    diagnostic=str(reply),
                    remote_mta=row.route,
                )
                for row, reply, key in about
            ],
            self._explanations(),
            config.languages,
            config.contacts,
            "",  # no rule stopped it, so there is nothing that the officer's page could say or ask for
            level,
            first.envid,
            first.smtputf8,
            arrival=first.created,
            header_limit=config.limits.bounce_body,
        )
        return make_report(content, first, self._vault, now, lease)
