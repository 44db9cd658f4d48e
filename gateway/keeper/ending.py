"""The end of held mail that is not released: refused by a person, or its deadline has passed.

What it is: ``Ending``: the last step of a held record, with the report to its originator.
Who calls it: ``quarantine`` for reviewers, ``housekeeping`` (through it) for what has expired.
Must never: report to an outsider or a null sender; keep a record open because its content cannot be read for the report.
Sources: docs/design.md section 4 ("Held mail"); hostile-inputs catalogue P10, O20.
"""

from __future__ import annotations

from gateway import logs
from gateway.keeper.access import Who
from gateway.keeper.act import Deliverer
from gateway.keeper.exceptions import Wrong
from gateway.keeper.held import OPEN, HeldMail, Item, needed
from gateway.keeper.releasing import delivery
from gateway.levels import Level
from gateway.relay.notices import Report, may_tell
from gateway.relay.reports import About, Reports
from gateway.roles import Act
from gateway.stores.base import Batch, HoldRow, HoldState, HoldUpdate

_log = logs.get("quarantine")


class Ending:
    """See the module."""

    def __init__(self, mail: HeldMail, reports: Reports, relay: Deliverer) -> None:
        self._mail = mail
        self._reports = reports
        self._relay = relay

    async def refuse(self, id: str, reason: str, who: Who) -> str:
        """Refuses what waits; the originator gets a report with *reason*. Returns what was done. Raises Absent, Forbidden, Wrong,
        StoreError."""
        reason = needed(reason)
        async with self._mail.one:
            item = await self._mail.item(id, who, Act.DECIDE, opened=False)
            item.needs_open()
            told = await self._end(item, HoldState.REFUSED, "held-refused", "refused-by-reviewer", who, reason)
        return f"refused {item.hold.reference}" + ("; the sender is told" if told else "; nobody may be told")

    async def expire(self, hold: HoldRow) -> None:
        """Ends a record whose deadline has passed: reported to a verified originator, else recorded only. Raises StoreError."""
        async with self._mail.one:
            now = await self._mail.store.hold(hold.id)
            if now is not None and now.state in OPEN:
                item = await self._mail.of_row(now, opened=False)
                await self._end(item, HoldState.EXPIRED, "held-expired", "hold-expired", None, "")

    async def _end(self, item: Item, state: HoldState, action: str, explain: str, who: Who | None, note: str) -> bool:
        hold, now = item.hold, self._mail.clock()
        about = []
        for address in item.waiting:
            place, kept = item.kept_of(address)
            words = item.details.words[place] if 0 <= place < len(item.details.words) else {}
            row = delivery(item, address, item.message.created, kept.require_aes256, self._relay.incarnation)
            if may_tell(row, "FAILURE"):
                about.append(About(row, "5.7.1", explain, kept.rule, kept.source, words))
        reports: list[Report] = []
        if about:
            try:
                content = b"" if hold.sealed else await self._mail.content(hold)
            except Wrong as error:
                # The report matters more than the header section it would have carried.
                _log.error("held content cannot be read for a report", reference=hold.reference, cause=str(error))
                content = b""
            level = None if hold.level is None else Level(hold.level)
            reports.append(self._reports.refused(about, content, now, self._relay.incarnation, level=level, note=note))
        await self._mail.write(
            Batch(
                hold_updates=[HoldUpdate(hold.id, (hold.state,), state, now, seen=hold.updated)],
                bodies=[report.body for report in reports],
                messages=[report.message for report in reports],
                deliveries=[report.delivery for report in reports],
                audit=self._mail.events(action, item, item.waiting, who, note, told=bool(reports)),
            )
        )
        for report in reports:
            self._relay.offer([report.delivery], report.content)
        return bool(reports)
