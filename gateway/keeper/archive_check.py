"""Journal copies as people ask about them: what there is, and whether it is still there as it was filed.

What it is: ``ArchiveCheck``: the answers to ListArchived and VerifyArchive.
Who calls it: ``service``, for the command line's socket only.
Must never: change a mailbox (it is opened for reading only) or a row; answer with a word of a message; hold a request longer than the
command line waits.

Each answer to VerifyArchive is a step. First the rows, by id: a copy in the store is opened and hashed, one in a mailbox is read and
hashed in pieces, at the place where it was filed, or else where a search for its reference finds it. Then, for each mailbox, all
messages in it by UID: what carries our field and belongs to no row, or a second time to one, is extra. What is past its retention is
no row's any more, and no fault.

Sources: Gujarat Circular of 2018, clause 2; docs/commands.md.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from gateway import requests
from gateway.config import Archive, Config
from gateway.ipc import Credentials
from gateway.keeper.access import Forbidden
from gateway.keeper.accounts import Accounts
from gateway.keeper.archive import FIELD
from gateway.keeper.archiving import Opener
from gateway.keeper.exceptions import Wrong
from gateway.levels import Level
from gateway.relay.imap_limits import ANSWER, CONNECT
from gateway.relay.mailbox import Mailbox, MailboxError, Place
from gateway.requests import Rows
from gateway.roles import Act
from gateway.stores.base import Store
from gateway.stores.journal import CopyState, JournalRow
from gateway.vault.vault import VaultError

_STEP = 20.0
"""Seconds of one answer, but for the last message in it."""
_MOST = 2000
_BOX = "mailbox:"
_UNTIL = re.compile(r"retain-until=(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
_T = TypeVar("_T")
Asked = requests.ListArchived | requests.VerifyArchive


class ArchiveCheck:
    """Answers about journal copies. *box* makes a session with an archive."""

    def __init__(
        self, config: Config, store: Store, vault: Opener, accounts: Accounts, clock: Callable[[], float],
        box: Callable[[Archive], Mailbox] = lambda archive: Mailbox(Place.of(archive)),
    ) -> None:  # fmt: skip
        self._archives = {one.name: one for one in config.archive}
        self._store = store
        self._vault = vault
        self._accounts = accounts
        self._clock = clock
        self._box = box

    async def answer(self, request: Asked, peer: Credentials) -> Rows:
        """The answer. Raises Wrong, StoreError."""
        who = await self._accounts.who(peer)
        who.need(Act.AUDIT)
        if isinstance(request, requests.ListArchived):
            limit = max(1, min(request.limit, 100_000))
            found = await self._store.journal.newest(request.name, request.reference, request.after, limit)
            return Rows(tuple(record(row) for row in found if who.may(Act.AUDIT, row.department)))
        if who.scope(Act.AUDIT) is not None:
            raise Forbidden("an archive holds the mail of all departments; this needs an auditor of all")
        if request.name and request.name not in self._archives and not await self._store.journal.count(request.name):
            known = ", ".join(self._archives) or "none"
            raise Wrong(f"archive: there is no archive {request.name[:64]!r}; the config has: {known}", 2)
        return await _Step(self._store, self._vault, self._archives, self._clock(), self._box).run(request)


class _Step:
    """One answer to VerifyArchive."""

    def __init__(self, store: Store, vault: Opener, archives: dict[str, Archive], now: float, box: Callable[[Archive], Mailbox]) -> None:
        self._store = store
        self._vault = vault
        self._archives = archives
        self._now = now
        self._make = box
        self._boxes: dict[str, Mailbox] = {}
        self._end = time.monotonic() + _STEP
        self._out: list[dict[str, Any]] = []
        self._count = {"copies": 0, "good": 0, "waiting": 0, "foreign": 0}

    async def run(self, request: requests.VerifyArchive) -> Rows:
        """The rows of the answer. Raises Wrong, StoreError."""
        try:
            if request.after.startswith(_BOX):
                following = await self._mailbox(request.name, request.after.removeprefix(_BOX))
            else:
                following = await self._rows(request.name, request.after, max(1, min(request.limit, _MOST)))
        except MailboxError as error:
            raise Wrong(str(error), 1) from error
        finally:
            await asyncio.gather(*(asyncio.to_thread(box.close) for box in self._boxes.values()))
        last = {"next": following, **self._count, "of": await self._store.journal.count(request.name)}
        return Rows((*self._out, last))

    # --- from the rows to what is there -------------------------------------------------------------------------------

    async def _rows(self, name: str, after: str, limit: int) -> str:
        found = await self._store.journal.page(name, after, limit)
        for row in found:
            self._count["copies"] += 1
            if row.state in (CopyState.WAITING, CopyState.FILING):
                self._count["waiting"] += 1
            elif problem := await (self._kept(row) if row.state is CopyState.KEPT else self._filed(row)):
                self._out.append({**record(row), "problem": problem})
            else:
                self._count["good"] += 1
            if time.monotonic() >= self._end:
                return row.id
        if len(found) == limit:
            return found[-1].id
        boxes = self._names(name)
        return f"{_BOX}{boxes[0]}:0" if boxes else ""

    def _names(self, name: str) -> list[str]:
        return [one.name for one in self._archives.values() if one.kind == "imap" and name in ("", one.name)]

    async def _kept(self, row: JournalRow) -> str:
        body = await self._store.body(row.body_id)
        if body is None:
            return "missing: its content is not in the store"
        try:
            await asyncio.to_thread(self._vault.open, body)
        except VaultError as error:
            return f"different: {error}"
        return "" if body.sha256 == row.sha256 else "different: the content is not that of the message"

    async def _filed(self, row: JournalRow) -> str:
        archive = self._archives.get(row.name)
        if archive is None or archive.kind != "imap":
            return f"not looked for: the config has no mailbox of the name {row.name}"
        box = await self._opened(archive)
        there = False
        if row.uid and row.uidvalidity == box.uidvalidity:
            found = await self._within(box, lambda: box.read(row.uid))
            if found is not None and found.sha256 == row.filed_sha256:
                return ""
            there = found is not None
        for uid in await self._within(box, lambda: box.with_field(FIELD, row.reference)):
            found = await self._within(box, lambda uid=uid: box.read(uid))  # type: ignore[misc]
            if found is not None and found.sha256 == row.filed_sha256:
                return ""
            there = there or found is not None
        return "different: its octets are not those that were filed" if there else "missing: it is not in the mailbox"

    # --- from what is there to the rows -------------------------------------------------------------------------------

    async def _mailbox(self, name: str, place: str) -> str:
        which, _, text = place.rpartition(":")
        after = int(text) if text.isdigit() and len(text) < 11 else -1
        boxes = self._names(name)
        if which not in boxes or after < 0:
            raise Wrong("archive: this is no place to go on from", 2)
        box = await self._opened(self._archives[which])
        while True:
            found, following = await self._within(box, lambda start=after: box.values(FIELD, start))  # type: ignore[misc]
            await self._compare(which, box, found)
            if not following:
                later = boxes[boxes.index(which) + 1 :]
                return f"{_BOX}{later[0]}:0" if later else ""
            after = following
            if time.monotonic() >= self._end:
                return f"{_BOX}{which}:{after}"

    async def _compare(self, name: str, box: Mailbox, found: list[tuple[int, str]]) -> None:
        rows = await self._store.journal.among(name, [value.partition(";")[0].strip() for _, value in found if value])
        for uid, value in found:
            reference, row = value.partition(";")[0].strip(), None
            if not value:
                self._count["foreign"] += 1
                continue
            row = rows.get(reference)
            if row is None:
                if f"class={name};" in value and not self._is_past(value):
                    self._extra(name, uid, reference, "extra: no copy is recorded for it")
            elif await self._is_second(box, uid, row):
                self._extra(name, uid, reference, "extra: this copy is there more than once, or was put there by somebody else")

    async def _is_second(self, box: Mailbox, uid: int, row: JournalRow) -> bool:
        if row.state is not CopyState.FILED:
            return False  # it is being filed now
        if row.uid and row.uidvalidity == box.uidvalidity:
            return uid != row.uid
        first = await self._within(box, lambda: box.look_for(FIELD, row.reference, row.filed_sha256))
        return first is not None and first.uid != uid

    def _is_past(self, value: str) -> bool:
        match = _UNTIL.search(value)
        try:
            return bool(match) and datetime.fromisoformat(match[1]).astimezone(UTC).timestamp() < self._now if match else False
        except ValueError:
            return False

    def _extra(self, name: str, uid: int, reference: str, problem: str) -> None:
        self._out.append({"name": name, "reference": reference[:64], "uid": uid, "problem": problem})

    # --- sessions -----------------------------------------------------------------------------------------------------

    async def _opened(self, archive: Archive) -> Mailbox:
        box = self._boxes.get(archive.name)
        if box is None:
            box = self._boxes[archive.name] = self._make(archive)
            await self._within(box, lambda: box.open(readonly=True), 2 * CONNECT + ANSWER)
        return box

    @staticmethod
    async def _within(box: Mailbox, work: Callable[[], _T], seconds: float = 90.0) -> _T:
        pending: Awaitable[_T] = asyncio.to_thread(work)
        try:
            async with asyncio.timeout(seconds):
                return await pending
        except TimeoutError as error:
            box.abort()
            raise MailboxError(f"the archive gave no answer within {seconds:.0f} seconds", away=True) from error


def record(row: JournalRow) -> dict[str, Any]:
    """One copy as it is printed."""
    return {
        "id": row.id, "reference": row.reference, "name": row.name, "state": row.state.value, "created": row.created, "filed": row.filed,
        "level": None if row.level is None else Level(row.level).text, "department": row.department, "sha256": row.sha256,
        "size": row.size, "filed_sha256": row.filed_sha256, "filed_size": row.filed_size, "retain_until": row.retain_until,
        "attempts": row.attempts, "next_attempt": row.next_attempt if row.state is not CopyState.FILED else 0.0, "uid": row.uid,
        "last_reply": row.last_reply,
    }  # fmt: skip
