"""The exception register: who may write to whom beyond the rules, approved by another person, until when.

What it is: the register in memory with its version, adding and ending entries, and expiry.
Who calls it: ``service`` (doors fetch it, the command line changes it), ``act`` (version), ``housekeeping`` (expiry).
Must never: take an entry whose approver is its requester, or that has no end; show an entry after its end.
Source: design.md sections 4 and 5; india.md R13, R31 and B.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway.envelope import new_id
from gateway.keeper import events
from gateway.requests import AddException, ExceptionRow, Exceptions, ExpireException
from gateway.stores.base import Batch, Store, register_version

_LABELS = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*"
_PATTERN = re.compile(rf"\*|(?:[^\s@\x00-\x1f\x7f]{{0,64}}@|\.)?{_LABELS}", re.IGNORECASE)
_LONG = 1000
FOREVER = 10 * 366 * 86400.0
"""Seconds after which an entry has to be asked for again, whoever approves it."""


class Wrong(Exception):
    """What was asked for cannot be done; the text is one plain sentence, *code* as in requests.Failed."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class Register:
    """The register. ``load`` once; ``current`` is what doors decide by."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._current = Exceptions(register_version(()), ())
        self._first_end = float("inf")

    async def load(self) -> None:
        """Reads the register, and ends what has expired meanwhile. Raises StoreError."""
        rows = tuple(await self._store.exceptions())
        self._current = Exceptions(register_version(rows), rows)
        self._first_end = min((row.expires for row in rows), default=float("inf"))
        await self.expire()

    @property
    def current(self) -> Exceptions:
        """The active entries and their version."""
        return self._current

    @property
    def first_end(self) -> float:
        """When the next entry ends (seconds since the epoch); infinity when there is none."""
        return self._first_end

    async def expire(self) -> int:
        """Ends the entries whose time has come. Returns how many."""
        now = self._clock()
        if now < self._first_end:
            return 0
        over = [row for row in self._current.rows if row.expires <= now]
        ended = [_with_state(row, "expired", row.expires) for row in over]
        log = [
            events.act("exception-expired", now, "", row.reason, sender=row.sender, recipient=row.recipient, exception=row.id)
            for row in over
        ]
        await self._store.write(Batch(exceptions=ended, audit=log))
        await self.load()
        return len(over)

    async def add(self, request: AddException, user: str) -> ExceptionRow:
        """A new entry. Raises Wrong, StoreError."""
        now = self._clock()
        words = {
            "from": request.sender, "to": request.recipient, "reason": request.reason, "requester": request.requester,
            "approver": request.approver,
        }  # fmt: skip
        for name, value in words.items():
            if not value.strip():
                raise Wrong(f"exceptions: {name} is missing")
            if len(value) > _LONG or not value.isprintable():
                raise Wrong(f"exceptions: {name} is too long or holds characters that cannot be printed")
        for name in ("from", "to"):
            if not _PATTERN.fullmatch(words[name].strip()):
                raise Wrong(f"exceptions: {name}: write a@b, @b or b (a domain), .b (its sub-domains) or *, domains as A-labels")
        if request.sender.strip() == "*" and request.recipient.strip() == "*":
            raise Wrong("exceptions: an entry from everybody to everybody would switch the rules off; name a sender or a recipient")
        if request.requester.strip().casefold() == request.approver.strip().casefold():
            raise Wrong("the approver of an exception cannot be its requester", 1)
        if not now < request.expires <= now + FOREVER:
            raise Wrong("exceptions: the end must be in the future, at most ten years from now")
        row = ExceptionRow(
            new_id(), _folded(request.sender), _folded(request.recipient), request.reason.strip(), request.requester.strip(),
            request.approver.strip(), now, request.expires,
        )  # fmt: skip
        log = events.act(
            "exception-added", now, user, row.reason, sender=row.sender, recipient=row.recipient, exception=row.id,
            requester=row.requester, approver=row.approver, expires=int(row.expires),
        )  # fmt: skip
        await self._store.write(Batch(exceptions=[row], audit=[log]))
        await self.load()
        return row

    async def end(self, request: ExpireException, user: str) -> None:
        """Ends an entry now. Raises Wrong, StoreError."""
        now = self._clock()
        row = next((row for row in self._current.rows if row.id == request.id), None)
        if row is None:
            raise Wrong(f"there is no active exception {request.id[:64]!r}", 1)
        log = events.act("exception-ended", now, user, request.reason.strip(), sender=row.sender, recipient=row.recipient, exception=row.id)
        await self._store.write(Batch(exceptions=[_with_state(row, "expired", min(row.expires, now))], audit=[log]))
        await self.load()


def _with_state(row: ExceptionRow, state: str, expires: float) -> ExceptionRow:
    return ExceptionRow(row.id, row.sender, row.recipient, row.reason, row.requester, row.approver, row.created, expires, state)


def _folded(pattern: str) -> str:
    """The pattern with its domain in small letters."""
    local, at, domain = pattern.strip().rpartition("@")
    return f"{local}{at}{domain.lower()}"
