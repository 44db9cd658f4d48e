"""gateway archive list and verify, as the keeper answers them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway import requests
from gateway.cli.archive import summary
from gateway.cli.check_archive import waiting
from gateway.config import Archive, Config
from gateway.ipc import Credentials
from gateway.keeper import archive_check
from gateway.keeper.accounts import Accounts
from gateway.keeper.archive_check import ArchiveCheck
from gateway.keeper.exceptions import Wrong
from gateway.relay.mailbox import Found, MailboxError
from gateway.stores.base import Batch, MessageRow, UserRow
from gateway.stores.journal import CopyState, JournalRow, Waiting
from gateway.stores.sqlite.store import SqliteStore
from tests.keeper_kit import CONTENT, NOW, PlainChain, body, event, journal_copy, make_vault, message

JOURNAL = Archive(name="journal", kind="imap", url="imaps://a.gov.in/Journal", login="j", credential="j")
SECOND = Archive(name="second", kind="imap", url="imaps://b.gov.in/Journal", login="j", credential="j")
REGISTRY = Archive(name="registry", kind="store")
ROOT = Credentials(1, os.geteuid(), 0)


class Box:
    """A mailbox in memory: octets by UID."""

    uidvalidity = 9
    away = False

    def __init__(self) -> None:
        self.there: dict[int, bytes] = {}
        self.closed = 0
        self.searched = 0

    def open(self, *, readonly: bool = False) -> None:
        assert readonly, "nothing is changed"
        if self.away:
            raise MailboxError("the archive cannot be reached", away=True)

    def read(self, uid: int) -> Found | None:
        octets = self.there.get(uid)
        return None if octets is None else Found(uid, hashlib.sha256(octets).hexdigest(), len(octets))

    def with_field(self, field: str, value: str) -> list[int]:
        self.searched += 1
        return [uid for uid, octets in sorted(self.there.items()) if f"{field}: {value}".encode() in octets]

    def look_for(self, field: str, value: str, sha256: str) -> Found | None:
        found = (self.read(uid) for uid in self.with_field(field, value))
        return next((one for one in found if one is not None and one.sha256 == sha256), None)

    def values(self, field: str, after: int) -> tuple[list[tuple[int, str]], int]:
        uids = [uid for uid in sorted(self.there) if uid > after]
        first = {uid: self.there[uid].split(b"\r\n")[0].decode() for uid in uids}
        found = [(uid, line.partition(": ")[2] if line.startswith(field) else "") for uid, line in first.items()]
        return found[:2], found[1][0] if len(found) > 2 else 0

    def close(self) -> None:
        self.closed += 1

    def abort(self) -> None:
        pass


class World:
    """Two mailboxes and a store."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(folder / "gateway.db")
        self.boxes = {"journal": Box(), "second": Box()}
        config = Config(state_dir=folder, archive=(JOURNAL, SECOND, REGISTRY))
        make: Any = lambda archive: self.boxes[archive.name]  # noqa: E731
        self.check = ArchiveCheck(config, self.store, make_vault(), Accounts(self.store), lambda: NOW, make)

    async def filed(self, name: str = "journal", *, uid: int = 0, known: bool = True, **changes: Any) -> JournalRow:
        """One that the mailbox has."""
        box, row = self.boxes[name], message()
        octets = f"X-Gateway-Journal: {row.reference}; level=none; class={name}; retain-until=2035-01-13T08:00:00Z\r\n".encode() + CONTENT
        uid = uid or max(box.there, default=0) + 1
        box.there[uid] = octets
        copy = journal_copy(
            row, name=name, state=CopyState.FILED, filed_sha256=hashlib.sha256(octets).hexdigest(), uid=uid if known else 0,
            uidvalidity=9 if known else 0, **changes,
        )  # fmt: skip
        await self.store.write(Batch(messages=[row], journal=[copy], audit=[event()]))
        return copy

    async def kept(self) -> tuple[MessageRow, JournalRow]:
        row = message()
        copy = journal_copy(row, name="registry", state=CopyState.KEPT)
        await self.store.write(Batch(bodies=[body(row.id)], messages=[row], journal=[copy], audit=[event()]))
        return row, copy

    async def verify(self, name: str = "", limit: int = 500) -> tuple[list[tuple[str, str]], dict[str, int]]:
        """All steps: problems, and the sums."""
        after, problems, total = "", [], {"copies": 0, "good": 0, "waiting": 0, "foreign": 0}
        while True:
            *found, last = (await self.check.answer(requests.VerifyArchive(name, after, limit), ROOT)).rows
            problems += [(row["reference"], row["problem"].partition(":")[0]) for row in found]
            total = {key: count + last[key] for key, count in total.items()}
            after = last["next"]
            if not after:
                return problems, total


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.store.open(PlainChain())
    yield made
    await made.store.close()


async def test_copies_that_are_as_they_were_filed_are_good(world: World) -> None:
    for _ in range(5):
        await world.filed()
    await world.filed("second")
    await world.kept()
    row = message()
    await world.store.write(Batch(messages=[row], journal=[journal_copy(row)], audit=[event()]))
    assert await world.verify(limit=2) == ([], {"copies": 8, "good": 7, "waiting": 1, "foreign": 0})
    assert await world.verify("second") == ([], {"copies": 1, "good": 1, "waiting": 0, "foreign": 0})
    assert world.boxes["journal"].searched == 0, "the archive said where it put them"
    assert world.boxes["journal"].closed


async def test_copies_whose_place_nobody_told_are_searched(world: World) -> None:
    await world.filed(known=False)
    first = await world.filed()
    world.boxes["journal"].uidvalidity = 10
    assert await world.verify("journal") == ([], {"copies": 2, "good": 2, "waiting": 0, "foreign": 0})
    world.boxes["journal"].there[7] = world.boxes["journal"].there[first.uid]
    assert (await world.verify("journal"))[0] == [(first.reference, "extra")]


async def test_what_is_missing_changed_or_doubled_is_named(world: World) -> None:
    box = world.boxes["journal"]
    gone, changed, twice = await world.filed(), await world.filed(), await world.filed()
    del box.there[gone.uid]
    box.there[changed.uid] = box.there[changed.uid].replace(b"eagle", b"eagles")
    box.there[9] = box.there[twice.uid]
    box.there[10] = b"From: a@b\r\n\r\nnone of ours\r\n"
    box.there[11] = b"X-Gateway-Journal: FORGED; class=journal; retain-until=2035-01-13T08:00:00Z\r\n\r\n"
    box.there[12] = b"X-Gateway-Journal: PAST; class=journal; retain-until=2020-01-13T08:00:00Z\r\n\r\n"
    box.there[13] = b"X-Gateway-Journal: ELSEWHERE; class=other; retain-until=2035-01-13T08:00:00Z\r\n\r\n"
    problems, total = await world.verify()
    assert problems == [(gone.reference, "missing"), (changed.reference, "different"), (twice.reference, "extra"), ("FORGED", "extra")]
    assert total == {"copies": 3, "good": 1, "waiting": 0, "foreign": 1}


async def test_a_kept_copy_is_opened_and_hashed(world: World) -> None:
    (gone, first), (broken, second), (other, third) = [await world.kept() for _ in range(3)]
    await world.store.write(Batch(drop_bodies=[gone.id, broken.id, other.id], audit=[event()]))
    damaged = body(broken.id)
    damaged = replace(damaged, ciphertext=bytes([damaged.ciphertext[0] ^ 1]) + damaged.ciphertext[1:])
    await world.store.write(Batch(bodies=[damaged, body(other.id, b"another message")], audit=[event()]))
    problems, total = await world.verify("registry")
    assert problems == [(first.reference, "missing"), (second.reference, "different"), (third.reference, "different")]
    assert total["good"] == 0


async def test_a_step_ends_in_time_and_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        await world.filed()
    monkeypatch.setattr(archive_check, "_STEP", 0.0)
    [last] = (await world.check.answer(requests.VerifyArchive(), ROOT)).rows
    assert (last["copies"], last["of"]) == (1, 5)
    assert await world.verify() == ([], {"copies": 5, "good": 5, "waiting": 0, "foreign": 0})


async def test_an_archive_that_is_away_or_unknown_is_an_answer_in_words(world: World) -> None:
    await world.filed()
    world.boxes["journal"].away = True
    with pytest.raises(Wrong, match="cannot be reached") as caught:
        await world.verify()
    assert caught.value.code == 1
    with pytest.raises(Wrong, match="there is no archive 'nothing'; the config has: journal, second, registry"):
        await world.verify("nothing")
    for place in ("mailbox:nothing:0", "mailbox:journal:x", "mailbox:", "mailbox:journal:-1"):
        with pytest.raises(Wrong, match="no place to go on from"):
            await world.check.answer(requests.VerifyArchive("journal", place), ROOT)


async def test_a_row_of_an_archive_that_is_gone_is_not_called_good(world: World) -> None:
    copy = await world.filed()
    row = message()
    await world.store.write(Batch(messages=[row], journal=[journal_copy(row, name="gone", state=CopyState.FILED)], audit=[event()]))
    assert await world.verify("gone") == ([(row.reference, "not looked for")], {"copies": 1, "good": 0, "waiting": 0, "foreign": 0})
    assert (await world.verify("journal"))[0] == []
    assert copy.name == "journal"


async def test_the_list_is_newest_first_and_of_whom_one_may_see(world: World) -> None:
    first, second = await world.filed(), await world.filed(department="other.gov.in")
    found = (await world.check.answer(requests.ListArchived(), ROOT)).rows
    assert [row["id"] for row in found] == [second.id, first.id]
    assert (found[1]["reference"], found[1]["state"], found[1]["level"]) == (first.reference, "filed", "CONFIDENTIAL")
    assert [row["id"] for row in (await world.check.answer(requests.ListArchived(after=second.id), ROOT)).rows] == [first.id]
    assert (await world.check.answer(requests.ListArchived("second"), ROOT)).rows == ()
    auditor = UserRow("asha", "nobody", "", "", NOW, grants=("auditor@dept.gov.in",))
    await world.store.write(Batch(users=[auditor], audit=[event()]))
    nobody = Credentials(1, 65534, 65534)
    assert [row["id"] for row in (await world.check.answer(requests.ListArchived(), nobody)).rows] == [first.id]
    with pytest.raises(Wrong, match="auditor of all"):
        await world.check.answer(requests.VerifyArchive(), nobody)
    await world.store.write(Batch(users=[replace(auditor, grants=("viewer@*",))], audit=[event()]))
    with pytest.raises(Wrong, match="does not permit"):
        await world.check.answer(requests.ListArchived(), nobody)


def test_the_last_line_says_how_many() -> None:
    assert summary({"copies": 1, "good": 1, "waiting": 0, "foreign": 0}, 0) == "ok: 1 copy"
    assert summary({"copies": 9, "good": 7, "waiting": 2, "foreign": 0}, 0) == "ok: 7 copies; 2 not filed yet"
    assert summary({"copies": 9, "good": 8, "waiting": 0, "foreign": 3}, 1) == (
        "bad: 1 problem; 8 of 9 copies as filed; 3 messages in the archive are no journal copies"
    )


def test_check_says_what_has_waited_for_a_day_and_what_waits_for_nobody() -> None:
    config = Config(archive=(JOURNAL, REGISTRY))
    found = list(waiting(config, [Waiting("journal", 3, NOW - 90000), Waiting("registry", 1, NOW)], NOW))
    assert [(one.state, one.text.partition(";")[0]) for one in found] == [
        ("warning", "3 journal copies wait for journal, the oldest for 1.0 days"),
        ("wrong", "1 journal copy wait for registry, and the config has no mailbox of that name: they stay until it has one again"),
    ]
    assert list(waiting(config, [Waiting("journal", 3, NOW - 80000)], NOW)) == []
