"""What an operator does to the queue: retry, hold, unhold, bounce.

What it is: the four actions of ``gateway queue`` on deliveries in the store, with their audit events.
Who calls it: ``service``, for ActOnQueue of the command line.
Must never: touch a delivery that is on its way (leased), or one that is final; act without a record of who did it.
Sources: docs/commands.md, ``gateway queue``; docs/design.md section 4.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from gateway.relay.jobs import Damaged, header_of
from gateway.relay.leases import open_rows
from gateway.relay.relay import Relay
from gateway.reply import Reply
from gateway.stores.base import AuditEvent, Batch, Conflict, DeliveryRow, DeliveryState, DeliveryUpdate, Store, StoreError

ACTIONS = ("retry", "bounce", "hold", "unhold")
RETURNED = Reply(554, "5.0.0", "The postmaster of the mail gateway has returned this message")

_WAITING = (DeliveryState.SCHEDULED, DeliveryState.DEFERRED)
_FROM: dict[str, tuple[DeliveryState, ...]] = {
    "retry": _WAITING,
    "hold": _WAITING,
    "unhold": (DeliveryState.ON_HOLD,),
    "bounce": (*_WAITING, DeliveryState.ON_HOLD),
}


@dataclass(frozen=True, slots=True)
class Acted:
    """How many deliveries were changed, and one plain sentence for each that was named and was not."""

    done: int
    problems: tuple[str, ...] = ()


class QueueActions:
    """The operator's hand on the queue of *relay*."""

    def __init__(self, store: Store, relay: Relay) -> None:
        self._store = store
        self._relay = relay

    async def act(self, action: str, ids: Sequence[str] = (), *, all: bool = False, user: str = "") -> Acted:
        """Does *action* to the deliveries *ids*, or to every one that it fits with *all*. Raises ValueError, StoreError."""
        if action not in ACTIONS:
            raise ValueError(f"{action} is not an action on deliveries: {', '.join(ACTIONS)} are")
        if all == bool(ids):
            raise ValueError("name deliveries, or all of them")
        done = 0
        problems: list[str] = []
        async for row in open_rows(self._store) if all else self._named(ids, problems):
            if row.state not in _FROM[action]:
                if not all:
                    problems.append(f"{row.id} is {row.state}: {action} is for what is {' or '.join(_FROM[action])}")
                continue
            try:
                await self._one(action, row, user)
            except Conflict:
                problems.append(f"{row.id} was changed by somebody else meanwhile")
            else:
                done += 1
        if action in ("retry", "unhold"):
            self._relay.retry_now()
        return Acted(done, tuple(problems))

    async def _named(self, ids: Sequence[str], problems: list[str]) -> AsyncIterator[DeliveryRow]:
        for identifier in ids:
            row = await self._store.delivery(identifier)
            if row is None:
                problems.append(f"{identifier} is not a delivery")
            else:
                yield row

    async def _one(self, action: str, row: DeliveryRow, user: str) -> None:
        now, expect = self._relay.now(), _FROM[action]
        event = _event(action, row, user, now)
        if action == "bounce":
            record = await self._relay.outcomes.returned(row, RETURNED, lambda: self._header(row), expect)
            record.audit.append(event)
            await self._relay.recorder.write_now(record)
            return
        if action == "hold":
            update = DeliveryUpdate(row.id, expect, DeliveryState.ON_HOLD, lease="")
        else:
            update = DeliveryUpdate(row.id, expect, DeliveryState.SCHEDULED, next_attempt=now, lease="")
        await self._store.write(Batch(delivery_updates=[update], audit=[event]))

    async def _header(self, row: DeliveryRow) -> bytes:
        try:
            return header_of(await self._relay.content_of(row))
        except (Damaged, StoreError):
            return b""


def _event(action: str, row: DeliveryRow, user: str, now: float) -> AuditEvent:
    document = {
        "event": {
            "kind": "event",
            "category": ["email"],
            "type": ["change"],
            "dataset": "gateway.delivery",
            "action": f"delivery-{action}",
            "outcome": "success",
        },
        "user": {"name": user},
        "email": {"local_id": row.reference, "direction": row.direction},
        "gateway": {"delivery": {"delivery": row.id, "state": row.state.value}},
    }
    return AuditEvent(now, row.reference, row.department, row.sender, row.recipient, "", action, document)
