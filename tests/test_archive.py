"""Journal copies in the commit and at a release: for whom, with which fields above, once."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.address import Path as Address
from gateway.config import Archive
from gateway.counting import Counts
from gateway.envelope import Door
from gateway.keeper import archiving
from gateway.keeper.access import Who
from gateway.keeper.accounts import ALL
from gateway.keeper.archive import FIELD, Journal, plain
from gateway.keeper.archiving import Filing
from gateway.levels import Level
from gateway.message import edits
from gateway.stores.base import Batch, DeliveryState, DeliveryUpdate
from gateway.stores.journal import CopyState, JournalRow
from gateway.verdict import Disposition
from tests.keeper_kit import CONTENT, NOW, Room, recipient, transaction, verdict
from tests.test_archiving import Server

YEAR = 365 * 86400.0
JOURNAL = Archive(name="journal", kind="imap", url="imaps://a.gov.in/Journal", login="j", credential="j", retain=8 * YEAR)
KEPT = Archive(name="registry", kind="store", retain=YEAR)
RULES = Archive(name="asked", kind="store", which="rules")


def made(*archives: Archive, tx: Any = None, said: Any = None, delivered: Any = None, now: float = NOW) -> list[JournalRow]:
    tx = transaction() if tx is None else tx
    said = verdict("v", recipient("desk@finance.nic.in")) if said is None else said
    return Journal(archives).make(tx, said, said.recipients if delivered is None else delivered, now).rows


def fields(row: JournalRow, content: bytes = CONTENT) -> list[str]:
    octets = edits.apply(row.edits, content)
    assert octets.endswith(content), "the message follows unchanged"
    return octets[: -len(content)].replace(b"\r\n ", b" ").decode("ascii").split("\r\n")[:-1]


def test_a_copy_says_what_when_for_whom_and_how_long() -> None:
    said = verdict(
        "v", recipient("desk@finance.nic.in"), recipient("blind@dept.gov.in"), recipient("x@gmail.com", Disposition.REFUSE),
        level=Level.CONFIDENTIAL,
    )  # fmt: skip
    tx = transaction("desk@finance.nic.in", "blind@dept.gov.in", "x@gmail.com")
    [row] = made(JOURNAL, tx=tx, said=said, delivered=said.recipients[:2])
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert fields(row) == [
        f"{FIELD}: {tx.reference}; sha256={sha256}; level=CONFIDENTIAL; class=journal; retain-until=2035-01-13T08:00:00Z",
        "X-Gateway-Accepted: 2027-01-15T08:00:00Z; door=smtp",
        "X-Gateway-Rules: sha256:rules",
        "X-Gateway-Envelope-From: <so@dept.gov.in>",
        "X-Gateway-Envelope-To: <desk@finance.nic.in>; disposition=deliver",
        "X-Gateway-Envelope-To: <blind@dept.gov.in>; disposition=deliver",
        "X-Gateway-Envelope-To: <x@gmail.com>; disposition=refuse",
    ]
    assert (row.state, row.sha256, row.size, row.level, row.name) == (CopyState.WAITING, sha256, len(CONTENT), 2, "journal")
    assert (row.retain_until, row.department, row.body_id) == (NOW + 8 * YEAR, "dept.gov.in", tx.id)


def test_a_copy_without_a_level_says_so_and_a_kept_one_is_in_its_place() -> None:
    [row] = made(KEPT)
    assert "; level=none; class=registry; " in fields(row)[0]
    assert (row.state, row.filed, row.filed_sha256, row.filed_size) == (CopyState.KEPT, NOW, row.sha256, row.size)
    result = Journal((KEPT, JOURNAL)).make(transaction(), said := verdict("v", recipient("a@nic.in")), said.recipients, NOW)
    assert [one.disposition for one in result.audit] == ["message-archived"], "what is not filed yet is not said to be"


@pytest.mark.parametrize(
    ("changes", "said", "names"),
    [
        ({}, {}, ["journal"]),
        ({"verified": False, "sender": "x@example.com"}, {}, []),
        ({"door": Door.MILTER}, {}, ["journal"]),
        ({"door": Door.IMAP}, {}, []),
        ({}, {"sealed": True}, []),
        ({}, {"session_refusal": True}, []),
        ({}, {"level": Level.SECRET}, []),
    ],
)
def test_who_gets_a_copy(changes: dict[str, Any], said: dict[str, Any], names: list[str]) -> None:
    rows = made(JOURNAL, RULES, tx=transaction(**changes), said=verdict("v", recipient("a@nic.in"), **said))
    assert [row.name for row in rows] == names


def test_rules_ask_by_name_also_for_what_is_not_official() -> None:
    said = verdict("v", recipient("a@dept.gov.in", archive=("asked", "nowhere")), recipient("b@dept.gov.in", archive=("asked",)))
    tx = transaction("a@dept.gov.in", "b@dept.gov.in", sender="x@example.com", verified=False)
    assert [row.name for row in made(JOURNAL, RULES, tx=tx, said=said)] == ["asked"]
    assert made(JOURNAL, RULES, tx=tx, said=said, delivered=()) == [], "what goes to nobody is not accepted yet"


def test_an_endless_retention_and_strange_addresses_can_be_written() -> None:
    endless = Archive(name="journal", kind="store", retain=1e15)
    tx = transaction()
    envelope = tx.envelope.__class__(Address("अधिकारी", "dept.gov.in"), tx.envelope.recipients)
    said = verdict("v", *(recipient(f"r{number}@{'x' * 60}.gov.in") for number in range(200)))
    [row] = made(endless, tx=tx.__class__(**{**{f: getattr(tx, f) for f in tx.__struct_fields__}, "envelope": envelope}), said=said)
    lines = fields(row)
    assert "retain-until=9999-12-31T23:59:59Z" in lines[0]
    assert lines[3].startswith("X-Gateway-Envelope-From: <\\x{905}\\x{927}")
    assert len(lines) == 204
    assert plain('a"b\\c d\r\n') == 'a"b\\x{5C}c\\x{20}d\\x{0D}\\x{0A}'


LINES = [b"From: a@b", b"Subject: x", b" folded", b"", b"body", b"no colon", b".", b"X-Gateway-Journal: mine"]


def test_the_octets_of_the_message_follow_unchanged() -> None:
    [row] = made(KEPT)
    for first in (b"From: a@b", b"Subject: x", b"", b"X-Gateway-Journal: mine"):
        # A header section that begins with no field: `edits.apply` says where ours goes.
        for rest in itertools.product(LINES, repeat=3):
            content = b"".join(line + b"\r\n" for line in (first, *rest))
            octets = edits.apply(row.edits, content)
            assert octets.endswith(content), content
            assert octets.startswith(b"X-Gateway-Journal: " + row.reference.encode()), content


# --- in the keeper ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path, archive=(JOURNAL, KEPT)).open()
    yield made
    await made.close()


async def copies(room: Room) -> list[JournalRow]:
    return await room.store.journal.page("", "", 100)


async def test_the_commit_makes_the_copies_and_their_body_outlives_the_delivery(room: Room) -> None:
    woken: list[bool] = []
    room.journal.wake = lambda: woken.append(True)
    tx = transaction()
    await room.commit(tx, verdict(room.version, recipient("desk@finance.nic.in")))
    assert [(row.name, row.state) for row in await copies(room)] == [("journal", CopyState.WAITING), ("registry", CopyState.KEPT)]
    assert woken == [True]
    [one] = room.relay.offered[0][0]
    await room.store.write(Batch(delivery_updates=[DeliveryUpdate(one.id, (DeliveryState.LEASED,), DeliveryState.DELIVERED)]))
    assert await room.store.body(tx.id) is not None
    acts = [line for line in await room.lines() if line["event"]["action"] == "message-archived"]
    assert [act["gateway"]["act"]["archive"] for act in acts] == ["registry"]


async def test_what_is_refused_or_held_has_no_copy_until_it_is_released(room: Room) -> None:
    tx = transaction("a@nic.in", "b@nic.in")
    held = verdict(room.version, recipient("a@nic.in", Disposition.HOLD), recipient("b@nic.in", Disposition.HOLD), recipient_facts=())
    await room.commit(tx, held)
    await room.commit(transaction("c@nic.in"), verdict(room.version, recipient("c@nic.in", Disposition.REFUSE)))
    assert await copies(room) == []
    [hold] = await room.store.holds()
    who = Who("asha", grants=ALL)
    await room.quarantine.release(hold.id, "seen", ["a@nic.in"], who)
    first = await copies(room)
    assert [row.name for row in first] == ["journal", "registry"]
    lines = fields(first[0])
    assert "X-Gateway-Envelope-To: <a@nic.in>; disposition=released" in lines
    assert "X-Gateway-Envelope-To: <b@nic.in>; disposition=hold" in lines
    await room.quarantine.release(hold.id, "seen", [], who)
    assert await copies(room) == first, "one copy a message and archive"


async def test_a_rules_wish_for_held_mail_is_kept_until_its_release(tmp_path: Path) -> None:
    room = await Room(tmp_path, archive=(RULES,)).open()
    one = recipient("a@nic.in", Disposition.HOLD, archive=("asked",))
    await room.commit(transaction("a@nic.in"), verdict(room.version, one, recipient_facts=()))
    [hold] = await room.store.holds()
    await room.quarantine.release(hold.id, "seen", [], Who("asha", grants=ALL))
    assert [row.name for row in await copies(room)] == ["asked"]
    await room.close()


async def test_a_commit_that_is_asked_again_makes_no_second_copy(room: Room) -> None:
    tx, said = transaction(), verdict(room.version, recipient("desk@finance.nic.in"))
    first, again = await room.commit(tx, said), await room.commit(tx, said)
    assert first == again
    assert len(await copies(room)) == 2


async def test_mail_that_an_mta_keeps_stays_here_until_its_copy_is_filed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours is to be delivered; the archive is the only one that needs the content."""
    monkeypatch.setattr(archiving, "_GATHER", 0.0)
    room = await Room(tmp_path, archive=(JOURNAL,)).open()
    tx = transaction("desk@finance.nic.in", door=Door.MILTER)
    await room.commit(tx, verdict(room.version, recipient("desk@finance.nic.in")))
    assert room.relay.offered == []
    assert await room.store.deliveries() == []
    [row] = await copies(room)
    assert await room.store.body(tx.id) is not None
    server = Server()
    filing = Filing(room.config, room.store, room.vault, room.journal, Moment(), Counts(), server.box)
    filing.start()
    async with asyncio.timeout(5):
        while (await copies(room))[0].state is not CopyState.FILED:
            await asyncio.sleep(0.02)
    await filing.stop()
    assert server.messages == [edits.apply(row.edits, CONTENT)]
    assert "; door=milter" in fields(row)[1]
    assert await room.store.body(tx.id) is None, "and goes then"
    await room.close()


class Moment:
    """A clock."""

    def time(self) -> float:
        return NOW + 1

    def monotonic(self) -> float:
        return NOW + 1
