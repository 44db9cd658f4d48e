"""Filing journal copies: each once, none given up, whatever the archive does."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Archive, Config, Limits
from gateway.counting import Counts
from gateway.keeper import archiving
from gateway.keeper.archive import Journal
from gateway.keeper.archiving import Filing
from gateway.relay.mailbox import Found, MailboxError
from gateway.stores.base import Batch, MessageRow
from gateway.stores.journal import CopyState, JournalRow
from gateway.stores.sqlite.store import SqliteStore
from tests.keeper_kit import CONTENT, NOW, PlainChain, body, event, journal_copy, make_vault, message

JOURNAL = Archive(name="journal", kind="imap", url="imaps://a.gov.in/Journal", login="j", credential="j")
FILED = b"X-Gateway-Journal: {}\r\n" + CONTENT


class Server:
    """An archive in memory. *wrong* is asked before each call, and may raise."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.calls: list[str] = []
        self.wrong: Callable[[str], None] = lambda call: None
        self.after: Callable[[str], None] = lambda call: None
        self.open = 0
        self.most = 0

    def box(self, _: Archive) -> Box:
        return Box(self)


class Box:
    """One session."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.uidvalidity = 9
        self.ended = threading.Event()

    def _call(self, name: str) -> None:
        self.server.calls.append(name)
        self.server.wrong(name)

    def open(self, *, readonly: bool = False) -> None:
        self._call("open")
        self.server.open += 1
        self.server.most = max(self.server.most, self.server.open)

    def append(self, content: bytes) -> tuple[int, int]:
        self._call("append")
        self.server.messages.append(content)
        self.server.after("append")
        return 9, len(self.server.messages)

    def look_for(self, field: str, value: str, sha256: str) -> Found | None:
        self._call("look")
        for number, content in enumerate(self.server.messages):
            if f"{field}: {value}".encode() in content and hashlib.sha256(content).hexdigest() == sha256:
                return Found(number + 1, sha256, len(content))
        return None

    def close(self) -> None:
        self.server.open -= 1

    def abort(self) -> None:
        self.ended.set()


class World:
    """A store with copies, and a filing that can be killed and begun again."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(folder / "gateway.db")
        self.config = Config(state_dir=folder, archive=(JOURNAL,), limits=Limits(retry_first=0.05, retry_max=0.1))
        self.server = Server()
        self.counts = Counts()
        self.now = NOW
        self.journal = Journal(self.config.archive)
        self.filing: Filing | None = None

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def begin(self) -> None:
        self.filing = Filing(self.config, self.store, make_vault(), self.journal, self, self.counts, self.server.box)
        self.filing.start()

    async def end(self) -> None:
        if self.filing is not None:
            await self.filing.stop()
            self.filing = None

    async def add(self, count: int = 1, **changes: Any) -> list[MessageRow]:
        rows = [message() for _ in range(count)]
        copies = [journal_copy(row, **changes) for row in rows]
        await self.store.write(Batch(bodies=[body(row.id) for row in rows], messages=rows, journal=copies, audit=[event()]))
        self.journal.wake()
        return rows

    async def copies(self) -> list[JournalRow]:
        return await self.store.journal.page("", "", 1000)

    async def until(self, condition: Callable[[list[JournalRow]], bool], *, tick: float = 0.0) -> list[JournalRow]:
        """The copies when *condition* holds of them; the clock goes on by *tick* seconds meanwhile."""
        async with asyncio.timeout(10):
            while not condition(found := await self.copies()):
                self.now += tick
                self.journal.wake()
                await asyncio.sleep(0.02)
        return found


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(archiving, "_GATHER", 0.0)
    made = World(tmp_path)
    await made.store.open(PlainChain())
    yield made
    await made.end()
    await made.store.close()


def all_filed(rows: list[JournalRow]) -> bool:
    return all(row.state is CopyState.FILED for row in rows)


async def test_what_waits_is_filed_once_and_its_body_goes(world: World) -> None:
    rows = await world.add(45)
    await world.begin()
    found = await world.until(all_filed)
    assert len(world.server.messages) == len(set(world.server.messages)) == 45
    assert "look" not in world.server.calls, "nothing was in doubt"
    assert world.server.most == 1
    for copy in found:
        octets = world.server.messages[copy.uid - 1]
        assert octets == FILED.replace(b"{}", copy.reference.encode())
        assert (copy.filed_sha256, copy.filed_size, copy.uidvalidity) == (hashlib.sha256(octets).hexdigest(), len(octets), 9)
    assert [await world.store.body(row.body_id) for row in rows] == [None] * 45
    assert world.counts.counters()["gateway_archive_copies_total", "journal", "filed"] == 45
    assert len(await world.store.audit_rows(limit=1000)) == 1 + 45, "one event a copy"


async def test_a_new_copy_is_filed_at_once(world: World) -> None:
    await world.begin()
    await asyncio.sleep(0.05)
    await world.add()
    await world.until(all_filed)


async def test_an_archive_that_is_away_is_tried_again_and_no_copy_counts_it(world: World) -> None:
    def away(_: str) -> None:
        raise MailboxError("nobody there", away=True)

    world.server.wrong = away
    await world.add(3)
    await world.begin()
    await asyncio.sleep(0.4)
    assert world.server.calls.count("open") >= 2
    assert {(row.state, row.attempts) for row in await world.copies()} == {(CopyState.WAITING, 0)}
    assert world.counts.counters()["gateway_archive_copies_total", "journal", "failed"] >= 2
    world.server.wrong = lambda call: None
    await world.until(all_filed)
    assert len(world.server.messages) == 3


async def test_a_message_that_is_refused_waits_and_the_others_go_on(world: World) -> None:
    seen: list[int] = []

    def picky(call: str) -> None:
        if call == "append" and len(seen) < 2:
            seen.append(1)
            if len(seen) == 1:
                raise MailboxError("NO too odd")

    world.server.wrong = picky
    await world.add(3)
    await world.begin()
    found = await world.until(lambda rows: sum(row.state is CopyState.FILED for row in rows) == 2)
    [left] = [row for row in found if row.state is not CopyState.FILED]
    assert (left.state, left.attempts, left.last_reply) == (CopyState.WAITING, 1, "NO too odd")
    assert left.next_attempt >= NOW + archiving.SETTLE
    await world.until(all_filed, tick=5.0)
    assert len(world.server.messages) == 3
    assert "look" not in world.server.calls, "a refusal leaves nothing in doubt"


async def test_an_archive_that_refuses_everything_is_left_alone(world: World) -> None:
    def full(call: str) -> None:
        if call == "append":
            raise MailboxError("NO [OVERQUOTA]")

    world.server.wrong = full
    await world.add(20)
    await world.begin()
    await asyncio.sleep(0.05)
    await world.until(lambda rows: sum(bool(row.attempts) for row in rows) >= 5)
    assert world.server.calls.count("append") <= 10, "it pauses after a few"
    world.server.wrong = lambda call: None
    await world.until(all_filed, tick=5.0)
    assert len(world.server.messages) == 20


@pytest.mark.parametrize("stored", [True, False])
async def test_a_connection_that_breaks_in_an_append_leaves_a_doubt_and_no_double(world: World, stored: bool) -> None:
    broken: list[bool] = []

    def breaks(call: str) -> None:
        if call == "append" and not broken:
            broken.append(True)
            raise MailboxError("connection reset", doubtful=True, away=True)

    if stored:
        world.server.after = breaks
    else:
        world.server.wrong = breaks
    await world.add()
    await world.begin()
    [row] = await world.until(lambda rows: rows[0].attempts == 1)
    assert row.state is CopyState.FILING
    assert row.next_attempt >= NOW + archiving.SETTLE, "the server has time to store it"
    [row] = await world.until(all_filed, tick=5.0)
    assert len(world.server.messages) == 1
    assert world.server.calls.count("look") == 1
    assert row.uid == 1


async def test_a_keeper_that_is_killed_between_the_append_and_its_record_makes_no_double(world: World) -> None:
    """The thread has filed when everything stops: the store still says ``filing``, and the next keeper looks."""
    filed, go = threading.Event(), threading.Event()

    def stops(call: str) -> None:
        if call == "append":
            filed.set()
            go.wait(5)

    world.server.after = stops
    await world.add(3)
    await world.begin()
    await asyncio.to_thread(filed.wait, 5)
    await world.end()  # its record never comes
    go.set()
    world.server.after = lambda call: None
    states = [row.state for row in await world.copies()]
    assert states == [CopyState.FILING] * 3
    await world.begin()
    await asyncio.sleep(0.1)
    assert len(world.server.messages) == 1, "not before the archive had its time"
    await world.until(all_filed, tick=5.0)
    assert len(world.server.messages) == len(set(world.server.messages)) == 3
    assert world.server.calls.count("look") == 3


async def test_a_search_that_finds_other_octets_does_not_count_them(world: World) -> None:
    [row] = await world.add(state=CopyState.FILING)
    world.server.messages.append(b"X-Gateway-Journal: " + row.reference.encode() + b"\r\nnot what was accepted\r\n")
    await world.begin()
    [copy] = await world.until(all_filed, tick=5.0)
    assert copy.uid == 2


async def test_an_archive_that_hangs_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "ANSWER", 0.05)
    monkeypatch.setattr(archiving, "CONNECT", 0.05)
    hung = threading.Event()
    once: list[bool] = []

    def hangs(call: str) -> None:
        if call == "append" and not once:
            once.append(True)
            hung.wait(5)

    world.server.wrong = hangs
    await world.add()
    await world.begin()
    [row] = await world.until(lambda rows: rows[0].attempts == 1)
    assert row.state is CopyState.FILING
    assert "no answer" in row.last_reply
    hung.set()
    await world.until(all_filed, tick=5.0)


async def test_a_copy_whose_content_is_gone_is_said_and_does_not_stop_the_rest(world: World) -> None:
    lost = message()
    await world.store.write(Batch(messages=[lost], journal=[journal_copy(lost)], audit=[event()]))
    await world.add(2)
    await world.begin()
    found = await world.until(lambda rows: sum(row.state is CopyState.FILED for row in rows) == 2)
    [left] = [row for row in found if row.state is not CopyState.FILED]
    assert (left.state, left.last_reply) == (CopyState.WAITING, "the message's content is not in the store any more")


async def test_copies_of_an_archive_that_is_only_kept_are_nobodys_work(world: World) -> None:
    await world.add(1, name="registry", state=CopyState.KEPT)
    await world.begin()
    await asyncio.sleep(0.1)
    assert world.server.calls == []
    assert world.filing is not None
    assert world.filing.names == ("journal",)
