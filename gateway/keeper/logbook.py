"""The decision log and the queue of the relay, as people may read them: of their departments only.

What it is: ``Logbook``: the handlers of ``SearchAudit``, ``ShowAudit`` and ``ListQueue``.
Who calls it: ``reception`` for people, ``desk`` for the command line.
Must never: show a row of a department in which the person may not read the log; change anything.
Sources: india.md F; hostile-inputs catalogue W05, W12.
"""

from __future__ import annotations

from gateway import inquiries
from gateway.keeper import records
from gateway.keeper.access import Absent, Forbidden, Who
from gateway.keeper.reception import Table
from gateway.requests import Rows
from gateway.roles import Act
from gateway.stores.base import DeliveryRow, Store

MOST = 5000
_TEXT = 320  # characters of what is searched for
_PAGES = 20  # pages of deliveries that one request looks through for those of the person's departments


class Logbook:
    """See the module."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def table(self) -> Table:
        """What people may ask."""
        return {
            inquiries.SearchAudit: (Act.AUDIT, self.search), inquiries.ShowAudit: (Act.AUDIT, self.show),
            inquiries.ListQueue: (None, self.queue),
        }  # fmt: skip

    async def search(self, request: inquiries.SearchAudit, who: Who) -> Rows:
        """Rows of the log, oldest first."""
        who.need(Act.AUDIT)
        found = await self._store.search_audit(
            text=request.text[:_TEXT], sender=request.sender[:_TEXT], recipient=request.recipient[:_TEXT], rule=request.rule[:_TEXT],
            since=request.since, until=request.until, limit=limited(request.limit), after=request.after, within=who.scope(Act.AUDIT),
        )  # fmt: skip
        return Rows(tuple(records.audit(row) for row in found))

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
