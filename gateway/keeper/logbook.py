"""The decision log and the queue of the relay, as people may read them: of their departments only.

What it is: ``Logbook``: the handlers of ``SearchAudit``, ``ShowAudit`` and ``ListQueue``.
Who calls it: ``reception`` for people, ``desk`` for the command line.
Must never: show a row of a department in which the person may not read the log; change anything; give rows out as a file that are not
recorded as taken.
Sources: docs/design.md section 10 ("Decision log"); hostile-inputs catalogue W05, W12.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from gateway import inquiries
from gateway.audit import events
from gateway.keeper import records
from gateway.keeper.access import Absent, Forbidden, Who
from gateway.keeper.exceptions import Wrong
from gateway.keeper.reception import Table
from gateway.requests import Rows
from gateway.roles import Act
from gateway.stores.base import Batch, DeliveryRow, Store

MOST = 5000
_LAST = 2**62  # beyond every row
_TEXT = 320  # characters of what is searched for
_PAGES = 20  # pages of deliveries that one request looks through for those of the person's departments


class Logbook:
    """See the module."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def table(self) -> Table:
        """What people may ask."""
        return {
            inquiries.SearchAudit: (Act.AUDIT, self.search), inquiries.ShowAudit: (Act.AUDIT, self.show),
            inquiries.ListQueue: (None, self.queue),
        }  # fmt: skip

    async def search(self, request: inquiries.SearchAudit, who: Who) -> Rows:
        """Rows of the log: the oldest first, or the newest. What is taken out as a file is recorded before it is given."""
        who.need(Act.AUDIT)
        if not (math.isfinite(request.since) and math.isfinite(request.until)):
            raise Wrong("audit: since and until are times")
        before = min(request.before, _LAST) if request.before > 0 else _LAST
        found = await self._store.search_audit(
            text=request.text[:_TEXT], sender=request.sender[:_TEXT], recipient=request.recipient[:_TEXT], rule=request.rule[:_TEXT],
            since=request.since, until=request.until, limit=limited(request.limit), after=max(0, min(request.after, _LAST)),
            before=before if request.newest else 0, within=who.scope(Act.AUDIT),
        )  # fmt: skip
        if request.taken_as:
            await self._record(request, len(found), who)
        return Rows(tuple(records.audit(row) for row in found))

    async def _record(self, request: inquiries.SearchAudit, count: int, who: Who) -> None:
        asked = {name: getattr(request, name)[:_TEXT] for name in ("sender", "recipient", "rule") if getattr(request, name)}
        # What was searched for may be anything that a person typed: only that there was something is recorded.
        log = events.act(
            "audit-exported", self._clock(), who.name, "", kind="access", format=request.taken_as[:8], rows=count, words=bool(request.text),
            since=int(request.since), until=int(request.until), via=who.via, asked=asked,
        )  # fmt: skip
        await self._store.write(Batch(audit=[log]))

    async def show(self, request: inquiries.ShowAudit, who: Who) -> Rows:
        """All rows of one reference, or of the message, held record or delivery of one id."""
        who.need(Act.AUDIT)
        reference = request.id
        if len(reference) > 64:
            raise Absent
        if "-" in reference:
            message = await self._store.message(reference)
            hold = None if message is not None else await self._store.hold(reference)
            delivery = None if message is not None or hold is not None else await self._store.delivery(reference)
            found = message or hold or delivery
            reference = found.reference if found is not None else reference
        if not reference:
            return Rows(())
        rows = await self._store.audit_rows(reference=reference, limit=MOST, within=who.scope(Act.AUDIT))
        return Rows(tuple(records.audit(row) for row in rows))

    async def queue(self, request: inquiries.ListQueue, who: Who) -> Rows:
        """Deliveries, for who may read the log or the figures."""
        if not (who.may(Act.AUDIT) or who.may(Act.FIGURES)):
            raise Forbidden
        limit, after, found = limited(request.limit), request.after, list[DeliveryRow]()
        for _ in range(_PAGES):
            page = await self._store.deliveries(all=request.all, limit=limit, after=after)
            found += [row for row in page if who.may(Act.AUDIT, row.department) or who.may(Act.FIGURES, row.department)]
            if len(page) < limit or len(found) >= limit:
                break
            after = page[-1].id
        return Rows(tuple(records.delivery(row) for row in found[:limit]))


def limited(asked: int) -> int:
    """How many rows one answer has at most."""
    return max(1, min(asked, MOST))
