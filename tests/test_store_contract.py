"""What every store must do; the same cases on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from gateway.requests import ExceptionRow, ProfileRow
from gateway.review import Filter
from gateway.stores.base import (
    ApprovalRow,
    Batch,
    Conflict,
    CorrespondentRow,
    DeliveryState,
    DeliveryUpdate,
    HeadRow,
    HoldRow,
    HoldState,
    HoldUpdate,
    UserRow,
    register_version,
)
from gateway.stores.journal import CopyState, JournalUpdate, Waiting
from gateway.stores.postgres.store import PostgresStore
from gateway.stores.reviewed import (
    INDIA,
    Brief,
    CredentialRow,
    RemarkKind,
    RemarkRow,
    ReviewBatch,
    Sought,
    TallyRow,
    TermRow,
    TokenRow,
    ToldRow,
    ViewRow,
    Word,
)
from gateway.stores.sqlite import search
from gateway.stores.sqlite.store import SqliteStore
from tests.keeper_kit import NOW, PlainChain, body, delivery, event, hold, journal_copy, message, whole
from tests.memory_store import MemoryStore
from tests.store_databases import Databases

S, L, D = DeliveryState.SCHEDULED, DeliveryState.LEASED, DeliveryState.DELIVERED

POSTGRES = pytest.param("postgresql", marks=pytest.mark.service)
DURABLE = pytest.mark.parametrize("store", ["sqlite", POSTGRES], indirect=True)
"""Cases of atomic batches, of searching, and of writers that leave: for stores that keep mail."""


@pytest.fixture(params=["sqlite", "memory", POSTGRES])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    # The store in memory stands in for a store in other tests, so it is held to the same cases; what it does not claim is marked.
    # All are typed as the embedded one: the cases ask each for the same.
    if request.param == "postgresql":
        databases: Databases = request.getfixturevalue("databases")
        target = databases.make()
        made = cast(SqliteStore, PostgresStore(target, lock=tmp_path / "gateway.lock"))
    else:
        made = SqliteStore(tmp_path / "gateway.db") if request.param == "sqlite" else cast(SqliteStore, MemoryStore())
    await made.open(PlainChain())
    yield made
    await made.close()
    if request.param == "postgresql":
        databases.drop(target)


async def test_rows_come_back_as_they_went_in(store: SqliteStore) -> None:
    row = message()
    one = delivery(row, notify=("FAILURE", "DELAY"), orcpt="rfc822;x+2By")
    held = hold(row, "a@b.gov.in", "c@d.gov.in")
    approval = ApprovalRow("ap", held.id, NOW, "asha", "ok", row.sha256, ("a@b.gov.in",), ("r1", "r2"), "dept.gov.in")
    sealed = body(row.id)
    await store.write(Batch(bodies=[sealed], messages=[row], deliveries=[one], holds=[held], approvals=[approval], audit=[event()]))
    assert await store.body(row.id) == sealed
    assert await store.message(row.id) == row
    assert await store.message(row.reference) == row
    assert await store.delivery(one.id) == one
    assert await store.deliveries(reference=row.reference) == [one]
    assert await store.hold(held.id) == held
    assert await store.hold(held.reference) == held
    assert await store.approvals(held.id) == [approval]
    assert await store.body("nothing") is None
    assert await store.message("nothing") is None
    assert await store.hold("nothing") is None


async def test_a_user_and_a_head_replace_the_one_of_the_same_key(store: SqliteStore) -> None:
    await store.write(Batch(users=[UserRow("asha", "u1", "", "", NOW)], heads=[HeadRow("plain", 1, "h", NOW, "k", "s")]))
    await store.write(Batch(users=[UserRow("asha", "u2", "a@b", "d", NOW)], heads=[HeadRow("other", 1, "h", NOW, "k", "s")]))
    assert await store.users() == [UserRow("asha", "u2", "a@b", "d", NOW)]
    assert [head.chain for head in await store.signed_heads()] == ["other", "plain"]
    assert [head.chain for head in await store.signed_heads("plain")] == ["plain"]


@DURABLE
async def test_a_conflict_ends_its_own_batch_only(store: SqliteStore) -> None:
    first, row, one = whole()
    await store.write(first)
    good = [whole()[0] for _ in range(20)]
    late = DeliveryUpdate(one.id, (DeliveryState.ON_HOLD,), D)
    half = Batch(messages=[message()], delivery_updates=[DeliveryUpdate(one.id, (S,), L, lease="x"), late], audit=[event()])
    twin = Batch(bodies=[body(row.id)], messages=[row], audit=[event()])
    results = await asyncio.gather(*(store.write(batch) for batch in [*good[:10], half, twin, *good[10:]]), return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [Conflict, Conflict]
    assert (await store.delivery(one.id)) == one, "nothing of the half batch was written"
    assert await store.message(half.messages[0].id) is None
    assert len(await store.audit_rows()) == 21, "a batch that failed leaves no audit row, and no gap"
    assert [audit.seq for audit in await store.audit_rows()] == list(range(1, 22))


async def test_of_two_that_take_the_same_delivery_one_wins(store: SqliteStore) -> None:
    batch, _, one = whole()
    await store.write(batch)
    takes = [Batch(delivery_updates=[DeliveryUpdate(one.id, (S,), L, lease=str(n))]) for n in range(8)]
    results = await asyncio.gather(*(store.write(take) for take in takes), return_exceptions=True)
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 7


async def test_L11_of_two_releases_at_once_one_wins(store: SqliteStore) -> None:
    batch, row, _ = whole()
    held = hold(row)
    await store.write(batch)
    await store.write(Batch(holds=[held]))
    releases = [
        Batch(
            hold_updates=[HoldUpdate(held.id, (HoldState.HELD,), HoldState.RELEASED, NOW, ("x",))],
            deliveries=[delivery(row, f"r{n}@nic.in")],
        )
        for n in range(2)
    ]
    results = await asyncio.gather(*(store.write(release) for release in releases), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Conflict", "NoneType"]
    assert len(await store.deliveries(reference=row.reference)) == 2


async def test_the_register_version_guards_a_commit(store: SqliteStore) -> None:
    assert await store.exceptions() == []
    empty = register_version(())
    await store.write(Batch(expect_exceptions_version=empty, messages=[message()]))
    row = ExceptionRow("e1", "a@b", "*", "why", "r", "a", NOW, NOW + 10)
    await store.write(Batch(exceptions=[row]))
    with pytest.raises(Conflict):
        await store.write(Batch(expect_exceptions_version=empty, messages=[message()]))
    await store.write(Batch(expect_exceptions_version=register_version([row]), messages=[message()]))
    # In one group: the change first, then a commit that still expects the old register.
    over = ExceptionRow("e1", "a@b", "*", "why", "r", "a", NOW, NOW + 10, "expired")
    old = register_version([row])
    results = await asyncio.gather(
        store.write(Batch(exceptions=[over])),
        store.write(Batch(expect_exceptions_version=old, messages=[message()])),
        store.write(Batch(expect_exceptions_version=empty, messages=[message()])),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), Conflict, type(None)]
    assert await store.exceptions() == []
    assert await store.exceptions(all=True) == [over]


async def test_due_deliveries_come_oldest_first_and_only_open_ones(store: SqliteStore) -> None:
    row = message()
    times = {"c": NOW + 3, "a": NOW + 1, "b": NOW + 2}
    rows = {name: delivery(row, f"{name}@nic.in", next_attempt=at) for name, at in times.items()}
    rows["leased"] = delivery(row, state=L, next_attempt=NOW)
    await store.write(Batch(messages=[row], deliveries=list(rows.values())))
    assert [one.recipient[0] for one in await store.due_deliveries(NOW + 2.5, 10)] == ["a", "b"]
    assert [one.recipient[0] for one in await store.due_deliveries(NOW + 9, 1)] == ["a"]
    assert await store.next_due() == NOW + 1
    assert await store.open_delivery_count() == 4
    updates = [DeliveryUpdate(rows["a"].id, (S,), D, attempts=1, last_reply="250", route="nic", sent_sha256="s", lease="")]
    updates += [DeliveryUpdate(rows["b"].id, (S, L), DeliveryState.DEFERRED, next_attempt=NOW + 50, warned=True)]
    await store.write(Batch(delivery_updates=updates))
    assert await store.next_due() == NOW + 3
    assert await store.open_delivery_count() == 3
    done = await store.delivery(rows["a"].id)
    assert done is not None
    assert (done.state, done.attempts, done.last_reply, done.route, done.sent_sha256) == (D, 1, "250", "nic", "s")
    waiting = await store.delivery(rows["b"].id)
    assert waiting is not None
    assert (waiting.state, waiting.warned, waiting.attempts) == (DeliveryState.DEFERRED, True, 0)
    assert {one.recipient for one in await store.deliveries()} == {"b@nic.in", "c@nic.in", "desk@finance.nic.in"}
    assert len(await store.deliveries(all=True)) == 4
    ids = sorted(one.id for one in rows.values())
    assert [one.id for one in await store.deliveries(all=True, after=ids[1])] == ids[2:]


async def test_O15_leases_belong_to_an_incarnation_not_to_a_clock(store: SqliteStore) -> None:
    row = message()
    mine, theirs = delivery(row, state=L, lease="now"), delivery(row, state=L, lease="before")
    await store.write(Batch(messages=[row], deliveries=[mine, theirs]))
    assert await store.release_leases("now") == 1
    assert [one.id for one in await store.due_deliveries(NOW, 10)] == [theirs.id]
    assert await store.release_leases("now") == 0


async def test_a_body_goes_when_nobody_needs_it(store: SqliteStore) -> None:
    row = message()
    one, two, held = delivery(row, "a@nic.in"), delivery(row, "b@nic.in"), hold(row)
    await store.write(Batch(bodies=[body(row.id)], messages=[row], deliveries=[one, two], holds=[held]))

    async def end(of: str) -> bool:
        await store.write(Batch(delivery_updates=[DeliveryUpdate(of, (S,), D)]))
        return await store.body(row.id) is None

    assert not await end(one.id)
    assert not await end(two.id), "a held record still needs it"
    await store.write(Batch(hold_updates=[HoldUpdate(held.id, (HoldState.HELD,), HoldState.APPROVED, NOW)]))
    assert await store.body(row.id) is not None
    three = delivery(row, "c@nic.in")
    await store.write(
        Batch(hold_updates=[HoldUpdate(held.id, (HoldState.APPROVED,), HoldState.RELEASED, NOW, ("c@nic.in",))], deliveries=[three])
    )
    assert await store.body(row.id) is not None, "the release needs it"
    assert await end(three.id)
    assert await store.message(row.id) is not None, "what was decided stays"


async def test_a_body_can_be_destroyed_by_name(store: SqliteStore) -> None:
    batch, row, _ = whole()
    await store.write(batch)
    await store.write(Batch(drop_bodies=[row.body_id]))
    assert await store.body(row.body_id) is None


async def test_holds_list_by_state_and_deadline(store: SqliteStore) -> None:
    row = message()
    first, second = hold(row, deadline=NOW + 5), hold(row, deadline=NOW + 1)
    await store.write(Batch(messages=[row], holds=[first, second]))
    assert [one.id for one in await store.expired_holds(NOW + 2, 10)] == [second.id]
    assert [one.id for one in await store.expired_holds(NOW + 9, 10)] == [second.id, first.id]
    await store.write(Batch(hold_updates=[HoldUpdate(second.id, (HoldState.HELD,), HoldState.EXPIRED, NOW)]))
    assert [one.id for one in await store.holds()] == [first.id]
    assert [one.id for one in await store.holds(all=True)] == sorted([first.id, second.id])
    assert [one.id for one in await store.holds(all=True, after=min(first.id, second.id))] == [max(first.id, second.id)]
    found = await store.hold(row.reference)
    assert found is not None
    assert found.id == first.id, "the open one first"


async def test_figures_are_of_what_is_open(store: SqliteStore) -> None:
    nothing = await store.figures()
    assert (nothing.queue, nothing.oldest_due, nothing.unprotected, nothing.held, nothing.next_deadline) == ({}, 0, 0, (), 0)
    row = message()
    old = delivery(row, state=DeliveryState.DEFERRED, created=NOW - 50, require_aes256=True)
    rows = [old, delivery(row, state=DeliveryState.DEFERRED, require_aes256=False), delivery(row), delivery(row, state=L, created=NOW - 90)]
    done = delivery(row, state=D, created=NOW - 900)
    held = [hold(row, deadline=NOW + 9), hold(row, level=None, created=NOW - 5), hold(row, state=HoldState.EXPIRED, deadline=NOW + 1)]
    await store.write(Batch(bodies=[body(row.id)], messages=[row], deliveries=[*rows, done], holds=held))
    figures = await store.figures()
    assert figures.queue == {"deferred": 2, "scheduled": 1, "leased": 1}
    assert (figures.oldest_due, figures.unprotected) == (NOW - 50, 1)
    assert {(one.state, one.level, one.count) for one in figures.held} == {("held", 2, 1), ("held", None, 1)}
    assert (figures.oldest_held, figures.next_deadline) == (NOW - 5, NOW + 9)


@DURABLE
async def test_audit_is_searched_by_every_field(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    append = PlainChain.append
    monkeypatch.setattr(
        PlainChain, "append", lambda chain, event: replace(append(chain, event), line=f'{{"line": "Of {event.reference}"}}')
    )
    await store.write(
        Batch(
            audit=[
                event("R1", sender="A@x.in", recipient="b@y.in", rule="one", created=NOW),
                event("R2", sender="c@x.in", recipient="d@y.in", rule="two", created=NOW + 10),
            ]
        )
    )

    async def found(**query: object) -> list[str]:
        return [row.reference for row in await store.search_audit(**query)]  # type: ignore[arg-type]

    assert await found() == ["R1", "R2"]
    assert await found(sender="a@X.in") == ["R1"]
    assert await found(recipient="d@y.in", rule="two") == ["R2"]
    assert await found(since=NOW + 5) == ["R2"]
    assert await found(until=NOW + 5) == ["R1"]
    places = [row.position for row in await store.search_audit()]
    assert await found(after=places[0]) == ["R2"]
    assert await found(limit=1) == ["R1"]
    assert await found(before=2**62) == ["R2", "R1"]
    assert await found(before=2**62, limit=1) == ["R2"]
    assert await found(before=places[1]) == ["R1"]
    assert await found(before=2**62, sender="a@X.in") == ["R1"]
    assert await found(text="nowhere") == []
    assert await found(text="oF r1") == ["R1"], "anywhere in the line, but for case"
    assert await found(within=frozenset({"nobody.gov.in"})) == []
    assert await found(within=frozenset()) == []
    assert await found(within=frozenset({"nobody.gov.in", "dept.gov.in"}), since=NOW + 5) == ["R2"]
    assert await found(rule="one' OR 1=1 --") == []
    head = await store.audit_head("plain")
    assert head is not None
    assert head.seq == 2
    assert await store.audit_chains() == ["plain"]
    assert [row.seq for row in await store.audit_rows(chain="plain", after=1)] == [2]
    assert [row.seq for row in await store.audit_rows(reference="R1")] == [1]


@DURABLE
async def test_a_writer_that_leaves_does_not_take_its_batch_back(store: SqliteStore) -> None:
    batch, row, _ = whole()
    task = asyncio.create_task(store.write(batch))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.write(Batch())
    assert await store.message(row.id) is not None


async def test_profiles_are_part_of_the_register_version(store: SqliteStore) -> None:
    row = ProfileRow("p1", "disaster", "why", "r", "a", NOW, NOW + 10)
    entry = ExceptionRow("e1", "a@b", "*", "why", "r", "a", NOW, NOW + 10)
    empty = register_version(())
    await store.write(Batch(profiles=[row], exceptions=[entry]))
    assert await store.profiles() == [row]
    for version in (empty, register_version([entry]), register_version((), [row])):
        with pytest.raises(Conflict):
            await store.write(Batch(expect_exceptions_version=version, messages=[message()]))
    both = register_version([entry], [row])
    over = replace(row, state="ended")
    results = await asyncio.gather(
        store.write(Batch(expect_exceptions_version=both, messages=[message()])),
        store.write(Batch(profiles=[over])),
        store.write(Batch(expect_exceptions_version=both, messages=[message()])),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), type(None), Conflict]
    assert (await store.profiles(), await store.profiles(all=True)) == ([], [over])
    await store.write(Batch(expect_exceptions_version=register_version([entry]), messages=[message()]))


async def test_correspondents_are_known_by_their_hash(store: SqliteStore) -> None:
    await store.write(Batch(correspondents=[CorrespondentRow(b"a", 10), CorrespondentRow(b"b", 20)]))
    await store.write(Batch(correspondents=[CorrespondentRow(b"a", 30)]))
    assert await store.known_pairs([b"a", b"b", b"c"]) == {b"a", b"b"}
    assert await store.known_pairs([]) == set()
    assert await store.drop_correspondents(25, 10) == 1
    assert await store.known_pairs([b"a", b"b"]) == {b"a"}, "the last time counts"
    await store.write(Batch(correspondents=[CorrespondentRow(bytes([n]) * 16, 1) for n in range(5)]))
    assert [await store.drop_correspondents(2, 3) for _ in range(3)] == [3, 2, 0]


async def test_only_finished_messages_are_removed_with_all_that_is_theirs(store: SqliteStore) -> None:
    old = [message(f"0{n}", created=NOW - 100) for n in range(5)]
    new = message("09", created=NOW)
    ended = [delivery(row, state=D) for row in old[:3]]
    waiting, late = delivery(old[3]), delivery(old[4], state=D, created=NOW)
    done = hold(old[0], state=HoldState.RELEASED, updated=NOW - 50)
    recent = hold(old[1], state=HoldState.REFUSED, updated=NOW - 1)
    held = hold(old[2], updated=NOW - 50)
    approval = ApprovalRow("ap", done.id, NOW, "asha", "ok", "s", ("x",), ())
    await store.write(
        Batch(
            messages=[*old, new], deliveries=[*ended, waiting, late, delivery(new, state=D)], holds=[done, recent, held],
            approvals=[approval], bodies=[body(old[0].id), body(old[2].id)],
        )
    )  # fmt: skip
    gone, last = 0, ""
    for _ in range(9):
        count, last = await store.drop_messages(NOW - 10, last, 2)
        gone += count
        if not last:
            break
    assert gone == 1
    assert [row.id for row in [*old, new] if await store.message(row.id) is None] == ["00"]
    assert await store.hold(done.id) is None
    assert await store.approvals(done.id) == []
    assert await store.delivery(ended[0].id) is None
    assert await store.body(old[0].id) is None
    assert await store.body(old[2].id) is not None, "it is held"
    assert await store.open_delivery_count() == 1


async def test_an_ended_entry_goes_by_its_end_and_an_active_one_stays(store: SqliteStore) -> None:
    entry = ExceptionRow("e1", "a@b", "*", "why", "r", "a", NOW - 100, NOW - 50, "expired")
    profile = ProfileRow("p1", "disaster", "why", "r", "a", NOW - 100, NOW - 50, "ended")
    on = [replace(entry, id="e2", state="active"), replace(entry, id="e3", expires=NOW)]
    await store.write(Batch(exceptions=[entry, *on], profiles=[profile, replace(profile, id="p2", state="active")]))
    assert await store.drop_ended(NOW - 10, 10) == 2
    assert [row.id for row in await store.exceptions(all=True)] == ["e2", "e3"]
    assert [row.id for row in await store.profiles(all=True)] == ["p2"]


async def test_the_beginning_of_a_chain_goes_in_one_piece_with_its_closing_head(store: SqliteStore) -> None:
    for n in range(1, 7):
        await store.write(Batch(audit=[event(f"R{n}", created=NOW + n)]))
    await store.write(Batch(heads=[HeadRow("plain", seq, str(seq), NOW, "k", "s") for seq in (2, 4, 6)]))
    assert await store.audit_ages("plain", 2, 2) == [(3, NOW + 3, "3"), (4, NOW + 4, "4")]
    with pytest.raises(Conflict):
        await store.drop_audit(HeadRow("plain", 4, "another", NOW, "k", "s"), 10)
    with pytest.raises(Conflict):
        await store.drop_audit(HeadRow("plain", 4, "4", NOW, "k", "s"), 3)
    assert (len(await store.audit_rows()), await store.closings()) == (6, []), "nothing of a step that may not be stands"
    for seq in (2, 5):
        closing = HeadRow("plain", seq, str(seq), NOW, "k", "s")
        assert await store.drop_audit(closing, 3) == (2 if seq == 2 else 3)
        assert await store.closings("plain") == [closing]
    assert [row.seq for row in await store.audit_rows()] == [6]
    assert [head.seq for head in await store.signed_heads()] == [6]
    await store.write(Batch(audit=[event("R7")]))
    assert [row.seq for row in await store.audit_rows()] == [6, 7], "the chain goes on"


async def test_a_removal_that_fails_ends_nobody_elses_work(store: SqliteStore) -> None:
    batch, row, _ = whole()
    wrong = store.drop_audit(HeadRow("plain", 9, "x", NOW, "k", "s"), 10)
    results = await asyncio.gather(store.write(batch), wrong, store.write(Batch(messages=[message()])), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), Conflict, type(None)]
    assert await store.message(row.id) is not None


# --- what is read for the review pages --------------------------------------------------------------------------------


async def test_remarks_credentials_views_and_tokens_come_back_as_they_went_in(store: SqliteStore) -> None:
    asked = RemarkRow("k1", "h1", "REF", NOW, "asha", RemarkKind.QUESTION, b"sealed", "dept.gov.in")
    handed = RemarkRow("k2", "h1", "REF", NOW, "asha", RemarkKind.FORWARD, b"", "dept.gov.in", "ravi")
    proof = CredentialRow("asha", "argon", b"t", b"n", 5, "https://issuer|1", NOW)
    view = ViewRow("v1", "asha", "mine", {"words": "\u0928", "states": ["held"]}, NOW)
    token = TokenRow("t1", "asha", "ci", ("list",), b"\x01" * 32, NOW, NOW + 9, NOW + 1)
    await store.write(Batch(review=ReviewBatch(remarks=[handed, asked], credentials=[proof], views=[view], tokens=[token])))
    read = store.reviewing
    assert await read.remarks("REF") == [asked, handed]
    assert await read.remarks("other") == []
    assert await read.credentials("asha") == await read.credentials_by_subject("https://issuer|1") == proof
    assert await read.credentials("ravi") is await read.credentials_by_subject("") is None
    assert await read.views("asha") == [view]
    assert await read.views("ravi") == []
    assert await read.tokens("asha") == [token]
    assert await read.token(b"\x01" * 32) == token
    assert await read.token(b"\x02" * 32) is None
    await store.write(Batch(review=ReviewBatch(credentials=[replace(proof, counter=6)], drop_tokens=["t1"])))
    await store.write(Batch(review=ReviewBatch(views=[replace(view, id="v2")])))
    assert (await read.credentials("asha")) == replace(proof, counter=6)
    assert await read.tokens("asha") == []
    assert [one.id for one in await read.views("asha")] == ["v2"], "one of a name"
    await store.write(Batch(review=ReviewBatch(drop_views=["v2"])))
    assert await read.views("asha") == []


async def test_an_update_of_a_hold_changes_what_it_names(store: SqliteStore) -> None:
    row = message()
    one = hold(row)
    await store.write(Batch(messages=[row], holds=[one]))
    open_ = (HoldState.HELD, HoldState.REQUESTED)
    await store.write(Batch(hold_updates=[HoldUpdate(one.id, open_, HoldState.REQUESTED, NOW + 1, requested=NOW + 1)]))
    await store.write(Batch(hold_updates=[HoldUpdate(one.id, open_, HoldState.REQUESTED, NOW + 2, assigned="ravi", level=3)]))
    assert await store.hold(one.id) == replace(one, state=HoldState.REQUESTED, updated=NOW + 2, requested=NOW + 1, assigned="ravi", level=3)


async def test_of_two_who_saw_the_same_hold_one_decides(store: SqliteStore) -> None:
    row = message()
    one = hold(row)
    await store.write(Batch(messages=[row], holds=[one]))
    first = HoldUpdate(one.id, (HoldState.HELD,), HoldState.HELD, NOW + 1, released=("b@nic.in",), seen=one.updated)
    await store.write(Batch(hold_updates=[first]))
    for lost in (first, HoldUpdate(one.id, (HoldState.HELD,), HoldState.REFUSED, NOW + 2, seen=one.updated)):
        with pytest.raises(Conflict):
            await store.write(Batch(hold_updates=[lost]))
    assert await store.hold(one.id) == replace(one, updated=NOW + 1, released=("b@nic.in",))
    await store.write(Batch(hold_updates=[HoldUpdate(one.id, (HoldState.HELD,), HoldState.REFUSED, NOW + 2, seen=NOW + 1)]))


async def _stocked(store: SqliteStore) -> list[HoldRow]:
    """Five held records, oldest first: of two departments, with words ``a`` (all), ``b`` (the second) and ``s`` (in all subjects)."""
    rows = [message(department="one.gov.in" if n < 3 else "two.gov.in") for n in range(5)]
    holds = [
        hold(rows[0], created=NOW + 1, deadline=NOW + 50, level=None),
        hold(rows[1], created=NOW + 2, deadline=NOW + 40, state=HoldState.APPROVED, assigned="asha", updated=NOW + 9),
        hold(rows[2], created=NOW + 3, deadline=NOW + 30, state=HoldState.RELEASED, updated=NOW + 8),
        hold(rows[3], created=NOW + 4, deadline=NOW + 20, rule="r2", sealed=True),
        hold(rows[4], created=NOW + 5, deadline=NOW + 10, level=3),
    ]
    terms = [TermRow(b"a" * 16, one.id) for one in holds] + [TermRow(b"b" * 16, holds[1].id)]
    terms += [TermRow(b"s" * 16, one.id) for one in holds]
    await store.write(Batch(messages=rows, holds=holds, review=ReviewBatch(terms=terms)))
    return holds


A, B, S_ = Word((b"a" * 16,)), Word((b"b" * 16,)), Word((b"x" * 16,), (b"s" * 16,))
ONE, TWO = frozenset({"one.gov.in"}), frozenset({"two.gov.in"})


@pytest.mark.parametrize(
    ("sought", "expected"),
    [
        (Sought(), [4, 3, 1, 0]), (Sought(limit=2), [4, 3]), (Sought(Filter(states=("released", "held"))), [4, 3, 2, 0]),
        (Sought(Filter(states=("nonsense",))), []), (Sought(Filter(levels=("none",))), [0]),
        (Sought(Filter(levels=("none", "SECRET"))), [4, 0]), (Sought(Filter(rules=("r2", "r9"))), [3]),
        (Sought(Filter(departments=("one.gov.in",))), [1, 0]), (Sought(within=TWO), [4, 3]), (Sought(within=frozenset()), []),
        (Sought(Filter(departments=("one.gov.in",)), within=TWO), []), (Sought(Filter(sealed=True)), [3]),
        (Sought(Filter(sealed=False)), [4, 1, 0]), (Sought(Filter(assigned="asha")), [1]), (Sought(Filter(since=NOW + 2)), [4, 3, 1]),
        (Sought(Filter(until=NOW + 2)), [0]), (Sought(Filter(due=NOW + 40)), [4, 3]), (Sought(changed_since=NOW + 5), [2, 1]),
        (Sought(Filter(states=("approved",)), changed_since=NOW + 5), [1]), (Sought(words=(A,)), [4, 3, 1, 0]),
        (Sought(words=(A, B)), [1]), (Sought(words=(B,), within=TWO), []), (Sought(words=(A,), limit=1), [4]),
        (Sought(words=(S_,)), []), (Sought(words=(S_,), opened=None), [4, 3, 1, 0]), (Sought(words=(S_,), opened=ONE), [1, 0]),
        (Sought(words=(S_,), opened=TWO, within=ONE), []), (Sought(words=(S_, A), opened=ONE, within=ONE), [1, 0]),
        (Sought(words=(A,), changed_since=NOW + 5), [2, 1]), (Sought(words=(S_, B), opened=TWO), []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("few", [4000, 1])
async def test_held_mail_is_found_and_counted_alike(
    store: SqliteStore, sought: Sought, expected: list[int], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FEW", few)  # by the word's own index, and by the walk over all
    holds = await _stocked(store)
    assert [holds.index(row) for row in await store.reviewing.found(sought)] == expected
    if sought.limit == 50:
        counted = await store.reviewing.counted(replace(sought, soon=NOW + 25))
        chosen = [holds[place] for place in expected]
        assert counted.total == sum(counted.states.values()) == sum(counted.levels.values()) == len(expected)
        assert counted.oldest == min((row.created for row in chosen), default=0)
        assert counted.next_deadline == min((row.deadline for row in chosen), default=0)
        assert counted.due_soon == sum(row.deadline < NOW + 25 for row in chosen)


async def test_pages_of_held_mail_go_on_without_a_gap(store: SqliteStore) -> None:
    holds = await _stocked(store)
    for words in ((), (A,)):
        seen: list[int] = []
        before = ""
        while found := await store.reviewing.found(Sought(limit=2, before=before, words=words)):
            seen += [holds.index(row) for row in found]
            before = found[-1].id
        assert seen == [4, 3, 1, 0]


async def test_counts_are_kept_apart_by_what_they_are_of(store: SqliteStore) -> None:
    await _stocked(store)
    counted = await store.reviewing.counted(Sought())
    assert counted.states == {"held": 3, "approved": 1}
    assert counted.levels == {"-1": 1, "2": 2, "3": 1}
    assert counted.rules == {"r1": 3, "r2": 1}
    assert counted.departments == {"one.gov.in": 2, "two.gov.in": 2}


async def test_what_is_due_comes_by_deadline_and_told_once(store: SqliteStore) -> None:
    holds = await _stocked(store)
    read = store.reviewing
    assert [holds.index(row) for row in await read.due(NOW + 45, 10)] == [4, 3, 1]
    assert [holds.index(row) for row in await read.due(NOW + 45, 1)] == [4]
    assert [holds.index(row) for row in await read.due(float("inf"), 10, ONE)] == [1, 0]
    await store.write(Batch(review=ReviewBatch(told=[ToldRow(f"deadline {holds[4].id}", NOW), ToldRow("digest 1 asha", NOW)])))
    assert [holds.index(row) for row in await read.due(NOW + 45, 10, None, "deadline ")] == [3, 1]
    assert await read.told(["digest 1 asha", "digest 2 asha"]) == {"digest 1 asha"}
    assert await store.drop_reviewed(NOW + 1, 1) == 1
    assert await store.drop_reviewed(NOW, 10) == 0
    assert await store.drop_reviewed(NOW + 1, 10) == 1


async def test_records_without_terms_are_found_in_steps(store: SqliteStore) -> None:
    holds = await _stocked(store)
    bare = [hold(message()) for _ in range(3)]
    await store.write(Batch(holds=bare))
    assert await store.reviewing.unindexed("", 4) == ([], holds[3].id)
    assert await store.reviewing.unindexed(holds[3].id, 3) == (bare[:2], bare[1].id)
    assert await store.reviewing.unindexed(bare[1].id, 3) == (bare[2:], bare[2].id)
    assert await store.reviewing.unindexed(bare[2].id, 3) == ([], "")


async def test_briefs_approvals_and_the_queue_are_read_together(store: SqliteStore) -> None:
    row, other = message(subject=b"s", verdict={"a": 1}), message(department="two.gov.in")
    one = hold(row)
    yes = ApprovalRow("ap", one.id, NOW, "asha", "ok", row.sha256, ("a@b",), ())
    done = replace(delivery(row), state=D)
    parked = delivery(other, state=DeliveryState.ON_HOLD)
    batch = Batch(messages=[row, other], holds=[one], approvals=[yes, replace(yes, id="aq", user="ravi")])
    await store.write(replace(batch, deliveries=[delivery(row), done, parked]))
    read = store.reviewing
    assert await read.briefs([row.id, "none"]) == {row.id: Brief(b"s", {"a": 1})}
    assert await read.approvals_of([one.id, "none"]) == {one.id: 2}
    assert await read.queued(None) == {"scheduled": 1, "on-hold": 1}
    assert await read.queued(frozenset({"two.gov.in"})) == {"on-hold": 1}
    assert await read.queued(frozenset()) == await read.briefs([]) == await read.approvals_of([]) == {}


async def test_counts_of_decisions_are_added_and_read_by_hour(store: SqliteStore) -> None:
    one = TallyRow(10, "one.gov.in", "r", "hold", 2, 3)
    await store.write(Batch(review=ReviewBatch(tallies=[one, one, replace(one, hour=11, level=-1)], tallied_to=7)))
    await store.write(Batch(review=ReviewBatch(tallies=[replace(one, department="two.gov.in")])))
    read = store.reviewing
    assert await read.tallied_to() == 7
    assert sorted(row.count for row in await read.tallies(10, 11, None)) == [3, 6]
    assert await read.tallies(11, 12, ONE) == [replace(one, hour=11, level=-1)]
    assert await read.tallies(10, 12, frozenset()) == []


async def test_the_decision_log_is_counted_in_steps(store: SqliteStore) -> None:
    log = [event(disposition=what) for what in ("deliver", "held-released", "deliver", "refuse", "login-accepted")]
    await store.write(Batch(audit=log))
    hour = int((NOW + INDIA) // 3600)
    first, upto = await store.reviewing.untallied(0, 3)
    assert first == [TallyRow(hour, "dept.gov.in", "r1", "deliver", -1, 2)]
    second, last = await store.reviewing.untallied(upto, 3)
    assert second == [TallyRow(hour, "dept.gov.in", "r1", "refuse", -1, 1)]
    assert last > upto > 0
    assert await store.reviewing.untallied(last, 3) == ([], 0)
    assert await store.reviewing.tallied_to() == 0


async def test_the_mail_of_a_sender_that_was_stopped_is_told_newest_first(store: SqliteStore) -> None:
    old, new = message(), message()
    await store.write(Batch(messages=[old, new], holds=[hold(old), hold(new, created=NOW + 5)]))
    await store.write(Batch(audit=[event("REFUSED", disposition="refuse", created=NOW + 2), event("SENT")]))
    assert await store.reviewing.of_sender("SO@dept.gov.in", 5) == [new.reference, "REFUSED", old.reference]
    assert await store.reviewing.of_sender("SO@dept.gov.in", 1) == [new.reference]
    assert await store.reviewing.of_sender("other@dept.gov.in", 5) == []


async def test_what_is_removed_takes_its_terms_and_remarks_along(store: SqliteStore) -> None:
    holds = await _stocked(store)
    gone = holds[2]
    said = RemarkRow("k1", gone.id, gone.reference, NOW, "asha", RemarkKind.NOTE, b"x", "one.gov.in")
    kept = replace(said, id="k2", hold_id=holds[0].id, reference=holds[0].reference)
    await store.write(Batch(review=ReviewBatch(remarks=[said, kept])))
    assert (await store.drop_messages(NOW + 100, "", 100))[0] == 1
    assert await store.reviewing.remarks(gone.reference) == []
    assert await store.reviewing.remarks(holds[0].reference) == [kept]
    assert [row.id for row in await store.reviewing.found(Sought(Filter(states=("released",)), words=(A,)))] == []
    await store.write(Batch(holds=[gone]))
    assert await store.reviewing.unindexed(holds[1].id, 1) == ([gone], gone.id)


async def test_journal_copies_come_back_as_they_went_in_and_one_a_message_and_archive(store: SqliteStore) -> None:
    row = message()
    first, other = journal_copy(row), journal_copy(row, name="registry", state=CopyState.KEPT)
    await store.write(Batch(bodies=[body(row.id)], messages=[row], journal=[first, other], audit=[event()]))
    await store.write(Batch(journal=[journal_copy(row, level=4)], audit=[event()]))
    assert await store.journal.page("", "", 10) == [first, other]
    assert await store.journal.page("registry", "", 10) == [other]
    assert await store.journal.page("", first.id, 10) == [other]
    assert await store.journal.newest("", row.reference, "", 10) == [other, first]
    assert await store.journal.newest("journal", "", "", 10) == [first]
    assert await store.journal.newest("", "", other.id, 10) == [first]
    assert await store.journal.among("journal", [row.reference, "nothing"]) == {row.reference: first}
    assert (await store.journal.count(""), await store.journal.count("journal"), await store.journal.count("x")) == (2, 1, 0)
    assert await store.journal.waiting() == [Waiting("journal", 1, NOW)]
    assert (await store.figures()).unfiled == (Waiting("journal", 1, NOW),)


async def test_journal_copies_are_due_by_archive_and_time_until_they_are_filed(store: SqliteStore) -> None:
    rows = [message() for _ in range(3)]
    copies = [journal_copy(row, next_attempt=NOW + place) for place, row in enumerate(rows)]
    await store.write(Batch(messages=rows, journal=copies, audit=[event()]))
    assert await store.journal.due("journal", NOW + 1, 10) == copies[:2]
    assert await store.journal.due("other", NOW + 1, 10) == []
    assert await store.journal.next_due("journal") == NOW
    changes = [
        JournalUpdate(copies[0].id, CopyState.FILED, attempts=1, filed=NOW + 5, filed_sha256="f", filed_size=7, uidvalidity=3, uid=4),
        JournalUpdate(copies[1].id, CopyState.FILING, attempts=2, next_attempt=NOW + 9, last_reply="NO"),
        JournalUpdate("gone", CopyState.FILED),
    ]  # fmt: skip
    await store.write(Batch(journal_updates=changes, audit=[event()]))
    filed = replace(copies[0], state=CopyState.FILED, attempts=1, filed=NOW + 5, filed_sha256="f", filed_size=7, uidvalidity=3, uid=4)
    again = replace(copies[1], state=CopyState.FILING, attempts=2, next_attempt=NOW + 9, last_reply="NO")
    assert await store.journal.due("journal", NOW + 99, 10) == [copies[2], again]
    await store.write(Batch(journal_updates=[JournalUpdate(filed.id, CopyState.WAITING)], audit=[event()]))
    assert await store.journal.page("", "", 1) == [filed], "what is filed stays so"


async def test_a_copy_that_waits_keeps_its_body_and_its_message(store: SqliteStore) -> None:
    batch, row, one = whole()
    copy = journal_copy(row)
    await store.write(replace(batch, journal=[copy]))
    await store.write(Batch(delivery_updates=[DeliveryUpdate(one.id, (S,), D)], audit=[event()]))
    assert await store.body(row.body_id) is not None
    assert await store.drop_messages(NOW + 99, "", 10) == (0, "")
    assert await store.drop_journal(NOW * 2, 10) == 0, "it was never filed"
    await store.write(Batch(journal_updates=[JournalUpdate(copy.id, CopyState.FILED, filed=NOW)], audit=[event()]))
    assert await store.body(row.body_id) is None
    assert (await store.drop_messages(NOW + 99, "", 10))[0] == 1
    assert await store.journal.count("") == 1, "the row outlives the message"
    assert await store.drop_journal(copy.retain_until, 10) == 0
    assert await store.drop_journal(copy.retain_until + 1, 10) == 1
    assert await store.journal.count("") == 0


async def test_a_delivery_keeps_the_body_when_the_copy_is_filed_first(store: SqliteStore) -> None:
    batch, row, one = whole()
    copy = journal_copy(row)
    await store.write(replace(batch, journal=[copy]))
    await store.write(Batch(journal_updates=[JournalUpdate(copy.id, CopyState.FILED, filed=NOW)], audit=[event()]))
    assert await store.body(row.body_id) is not None
    await store.write(Batch(delivery_updates=[DeliveryUpdate(one.id, (S,), D)], audit=[event()]))
    assert await store.body(row.body_id) is None


async def test_a_kept_copy_lives_until_its_retention_ends_and_no_longer(store: SqliteStore) -> None:
    batch, row, one = whole()
    kept = journal_copy(row, state=CopyState.KEPT, retain_until=NOW + 1000)
    await store.write(replace(batch, journal=[kept]))
    await store.write(Batch(delivery_updates=[DeliveryUpdate(one.id, (S,), D)], audit=[event()]))
    assert (await store.drop_messages(NOW + 99, "", 10))[0] == 1
    assert await store.message(row.id) is None
    assert await store.body(row.body_id) is not None, "the journal copy outlives its message"
    assert await store.drop_journal(NOW + 999, 10) == 0
    assert await store.drop_journal(NOW + 1001, 10) == 1
    assert await store.body(row.body_id) is None


async def test_a_body_that_is_still_held_stays_when_its_kept_copy_ends(store: SqliteStore) -> None:
    row = message()
    kept = journal_copy(row, state=CopyState.KEPT, retain_until=NOW)
    await store.write(Batch(bodies=[body(row.id)], messages=[row], holds=[hold(row)], journal=[kept], audit=[event()]))
    assert await store.drop_journal(NOW + 1, 10) == 1
    assert await store.body(row.body_id) is not None
