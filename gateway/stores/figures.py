"""What the store holds, in a few numbers.

What it is: ``Figures``: open deliveries by state, held mail by state and level, sizes; what both stores ask for it, and how the answers
are put together.
Who calls it: ``sqlite.figures`` and ``postgres.reading``, for ``keeper.metrics``.
Must never: read a row that is not open; write.
Source: docs/design.md section 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.stores.journal import Waiting
from gateway.stores.schema import OPEN_HOLD_SQL

# Each through its partial index: the tables may hold millions of rows that are no longer open.
DUE = (
    "SELECT state, require_aes256, count(*), min(created) FROM deliveries WHERE state IN ('scheduled', 'deferred')"
    " GROUP BY state, require_aes256"
)
PARKED = "SELECT state, count(*) FROM deliveries WHERE state IN ('leased', 'on-hold') GROUP BY state"
HELD = f"SELECT state, level, count(*), min(created), min(deadline) FROM holds WHERE {OPEN_HOLD_SQL} GROUP BY state, level"  # noqa: S608


class Held(msgspec.Struct, frozen=True):
    """Open held records of one state and level."""

    state: str
    level: int | None
    count: int


class Figures(msgspec.Struct, frozen=True):
    """Times are seconds since the epoch, 0 where there is nothing."""

    queue: dict[str, int]
    """Open deliveries by state."""
    oldest_due: float
    """When the oldest delivery that is scheduled or deferred was made."""
    unprotected: int
    """Deferred deliveries that need an AES-256 hop."""
    held: tuple[Held, ...]
    oldest_held: float
    next_deadline: float
    octets: int
    """Size of the file and of its write-ahead log, or of the database."""
    unfiled: tuple[Waiting, ...] = ()
    """Journal copies that are not filed yet, by archive."""


def put_together(
    due: Sequence[tuple[Any, ...]], parked: Sequence[tuple[Any, ...]], held: Sequence[tuple[Any, ...]], octets: int,
    unfiled: tuple[Waiting, ...],
) -> Figures:  # fmt: skip
    """The figures of the rows that ``DUE``, ``PARKED`` and ``HELD`` gave."""
    queue: dict[str, int] = {str(state): int(count) for state, count in parked}
    for state, _, count, _ in due:
        queue[state] = queue.get(state, 0) + count
    return Figures(
        queue,
        min((row[3] for row in due), default=0.0),
        sum(count for state, protected, count, _ in due if protected and state == "deferred"),
        tuple(Held(str(state), level, int(count)) for state, level, count, _, _ in held),
        min((row[3] for row in held), default=0.0),
        min((row[4] for row in held), default=0.0),
        octets,
        unfiled,
    )
