"""Lists of held mail: what each person may find, count and save (hostile-inputs catalogue W05, W12)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway import review
from gateway.keeper.access import Absent, Who
from gateway.keeper.exceptions import Wrong
from gateway.keeper.reviews import PAGE, VIEWS, Reviews
from gateway.levels import Level
from gateway.review import CountHeld, DropView, Filter, FindHeld, ListViews, SaveView
from gateway.roles import Grant
from gateway.stores.base import ApprovalRow, Batch, HoldState, HoldUpdate
from gateway.stores.sqlite import search
from gateway.verdict import Disposition
from tests.keeper_kit import NOW, Room, recipient, transaction, verdict

HOLD = Disposition.HOLD


def who(*grants: str, name: str = "asha") -> Who:
    return Who(name, grants=tuple(Grant.parse(one) for one in grants))


ALL = who("reviewer@*")


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path).open()
    yield made
    await made.close()


@pytest.fixture
def reviews(room: Room) -> Reviews:
    return Reviews(room.config, room.store, room.vault, lambda: room.policy, lambda: room.now)


async def held(room: Room, *, sender: str = "so@dept.gov.in", level: Level | None = Level.RESTRICTED, **changes: Any) -> str:
    tx = transaction("desk@finance.nic.in", "b@x.gov.in", sender=sender)
    made = verdict(
        room.version, recipient("desk@finance.nic.in", HOLD, rule=changes.pop("rule", "rule-x")), recipient("b@x.gov.in"), level=level
    )
    made = replace(made, headers=replace(made.headers, subject=changes.pop("subject", "the heron flies")), **changes)
    await room.commit(tx, made)
    found = await room.store.hold(tx.reference)
    assert found is not None
    return found.id


async def found(reviews: Reviews, person: Who = ALL, **filter: Any) -> list[str]:
    rows = (await reviews.find(FindHeld(Filter(**filter)), person)).rows
    return [row["id"] for row in rows]


async def test_a_commit_is_found_by_what_people_look_for(room: Room, reviews: Reviews) -> None:
    first = await held(room)
    second = await held(room, subject="वित्त बैठक", rule="other-rule", level=None)
    row = await room.store.hold(first)
    assert row is not None
    for words in (row.reference, "heron", "her fin", "desk@finance.nic.in heron"):
        assert await found(reviews, words=words) == [first], words
    assert await found(reviews, words="बैठक") == [second]
    assert await found(reviews, words="so@dept.gov.in") == [second, first]
    assert await found(reviews, words="eagle") == [], "bodies are not searched"
    assert await found(reviews, levels=("none",)) == await found(reviews, rules=("other-rule",)) == [second]
    assert await found(reviews, levels=(Level.RESTRICTED.text,)) == [first]


async def test_a_row_tells_tiers_approvals_and_the_rule(room: Room, reviews: Reviews) -> None:
    id = await held(room, level=Level.CONFIDENTIAL)
    row = await room.store.hold(id)
    assert row is not None
    yes = ApprovalRow("ap", id, NOW, "ravi", "ok", row.sha256, row.recipients, (), row.department)
    change = HoldUpdate(id, (HoldState.HELD,), HoldState.APPROVED, NOW + 5, assigned="asha", requested=NOW + 1)
    await room.store.write(Batch(approvals=[yes], hold_updates=[change]))
    shown = (await reviews.find(FindHeld(Filter(assigned="me")), ALL)).rows[0]
    assert shown["tiers"] == {"desk@finance.nic.in": "government"}
    assert (shown["approvals"], shown["needed"], shown["assigned"], shown["state"]) == (1, 2, "asha", "approved")
    assert (shown["subject"], shown["requested"], shown["updated"]) == ("the heron flies", NOW + 1, NOW + 5)
    assert (await reviews.find(FindHeld(Filter(assigned="me")), who("reviewer@*", name="ravi"))).rows == ()


async def test_W05_nobody_lists_finds_or_counts_another_department(room: Room, reviews: Reviews) -> None:
    mine = await held(room)
    await held(room, sender="so@home.gov.in")
    person = who("reviewer@dept.gov.in")
    for filter in ({}, {"departments": ("home.gov.in", "dept.gov.in")}, {"words": "heron"}, {"words": "desk@finance.nic.in"}):
        assert await found(reviews, person, **filter) == [mine], filter
    for filter in ({"departments": ("home.gov.in",)}, {"words": "so@home.gov.in"}):
        assert await found(reviews, person, **filter) == []
    assert (await reviews.count(CountHeld(), person)).rows[0]["departments"] == {"dept.gov.in": 1}
    assert (await reviews.count(CountHeld(), who("administrator@*"))).rows[0]["total"] == 0
    assert await found(reviews, who("administrator@*")) == []


async def test_a_subject_is_shown_and_found_by_only_where_content_may_be_seen(room: Room, reviews: Reviews) -> None:
    mine, other = await held(room), await held(room, sender="so@home.gov.in")
    mixed = who("viewer@*", "reviewer@dept.gov.in")
    rows = {row["id"]: row["subject"] for row in (await reviews.find(FindHeld(), mixed)).rows}
    assert rows == {mine: "the heron flies", other: ""}
    assert await found(reviews, mixed, words="heron") == [mine]
    assert await found(reviews, mixed, words="heron desk") == [mine]
    assert await found(reviews, who("viewer@*"), words="heron") == []
    assert await found(reviews, who("viewer@*"), words="desk") == [other, mine]
    assert (await reviews.count(CountHeld(Filter(words="heron")), mixed)).rows[0]["total"] == 1


async def test_of_sealed_mail_a_list_shows_reference_sender_rule_and_deadline(room: Room, reviews: Reviews) -> None:
    id = await held(room)
    row = await room.store.hold(id)
    assert row is not None
    sealed = replace(row, id=row.id[:-4] + "ffff", sealed=True)
    await room.store.write(Batch(holds=[sealed]))
    shown = (await reviews.find(FindHeld(Filter(sealed=True)), ALL)).rows[0]
    told = {"id", "reference", "created", "deadline", "state", "rule", "sender", "department", "sealed", "reason", "updated", "needed"}
    assert {name for name, value in shown.items() if value} <= told | {"title", "source"}


async def test_pages_go_on_from_an_id_and_changes_show_what_left(room: Room, reviews: Reviews) -> None:
    ids = [await held(room) for _ in range(5)][::-1]
    assert [row["id"] for row in (await reviews.find(FindHeld(limit=2), ALL)).rows] == ids[:2]
    assert [row["id"] for row in (await reviews.find(FindHeld(limit=2, before=ids[1]), ALL)).rows] == ids[2:4]
    await room.store.write(Batch(hold_updates=[HoldUpdate(ids[3], (HoldState.HELD,), HoldState.REFUSED, NOW + 60)]))
    changed = (await reviews.find(FindHeld(changed_since=NOW + 1), ALL)).rows
    assert [(row["id"], row["state"]) for row in changed] == [(ids[3], "refused")]
    assert len((await reviews.find(FindHeld(limit=10_000), ALL)).rows) == 4


async def test_counts_are_by_state_level_rule_and_department(room: Room, reviews: Reviews) -> None:
    await held(room)
    await held(room, level=None, rule="other")
    room.now = NOW + (room.config.relay.hold_days - 1) * 86400
    row = (await reviews.count(CountHeld(), ALL)).rows[0]
    assert (row["total"], row["states"], row["rules"]) == (2, {"held": 2}, {"rule-x": 1, "other": 1})
    assert row["levels"] == {"none": 1, Level.RESTRICTED.text: 1}
    assert (row["oldest"], row["due_soon"]) == (NOW, 2)
    assert row["next_deadline"] > NOW


async def test_of_what_most_records_have_a_part_is_counted(room: Room, reviews: Reviews, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "COMMON", 3)
    monkeypatch.setattr(search, "COUNTED", 2)
    for _ in range(3):
        await held(room, subject="heron", rule="rule-x")
    await held(room, subject="eagle")
    common = (await reviews.count(CountHeld(Filter(words="heron")), ALL)).rows[0]
    assert (common["total"], common["more"], common["rules"]) == (2, True, {"rule-x": 2})
    rare = (await reviews.count(CountHeld(Filter(words="eagle heron")), ALL)).rows[0]
    assert (rare["total"], rare["more"]) == (0, False)
    every = (await reviews.count(CountHeld(), ALL)).rows[0]
    assert (every["total"], every["more"]) == (4, False), "without words all are counted"


async def test_a_deadline_may_be_asked_for_from_now_on(room: Room, reviews: Reviews) -> None:
    id, days = await held(room), room.config.relay.hold_days * 86400
    assert await found(reviews, ALL, due=86400.0) == []
    assert await found(reviews, ALL, due=days + 1.0) == [id]
    assert await found(reviews, ALL, due=NOW + days + 1) == [id]
    room.now = NOW + days - 3600
    assert await found(reviews, ALL, due=86400.0) == [id]


# --- saved views ------------------------------------------------------------------------------------------------------


async def test_a_view_is_kept_replaced_and_dropped_by_its_own_person_only(room: Room, reviews: Reviews) -> None:
    saved = (await reviews.save(SaveView("  Due  soon ", Filter(words="heron", states=("held",))), ALL)).rows[0]
    assert saved["name"] == "Due soon"
    again = (await reviews.save(SaveView("Due soon", Filter(states=("requested",))), ALL)).rows[0]
    assert again["id"] == saved["id"]
    assert [row["filter"] for row in (await reviews.views(ListViews(), ALL)).rows] == [{"states": ["requested"]}]
    other = who("reviewer@*", name="ravi")
    assert (await reviews.views(ListViews(), other)).rows == ()
    with pytest.raises(Absent):
        await reviews.drop(DropView(saved["id"]), other)
    await reviews.drop(DropView(saved["id"]), ALL)
    assert (await reviews.views(ListViews(), ALL)).rows == ()


async def test_W12_a_persons_views_and_their_names_are_bounded(room: Room, reviews: Reviews) -> None:
    for n in range(VIEWS):
        await reviews.save(SaveView(f"v{n}", Filter()), ALL)
    await reviews.save(SaveView("v1", Filter(words="x")), ALL)
    for name in ("one more", "", " ", "x" * 61, "a\x00b", "a\u202eb", "x" * 1_000_000):
        with pytest.raises(Wrong):
            await reviews.save(SaveView(name, Filter()), ALL)
    assert len((await reviews.views(ListViews(), ALL)).rows) == VIEWS


# --- hostile filters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "filter",
    [
        Filter(words="x" * 1_000_000), Filter(words="a b c d e f g h i"), Filter(rules=("x" * 256,)), Filter(rules=("r",) * 101),
        Filter(departments=tuple(str(n) for n in range(10_000))), Filter(assigned="x" * 256), Filter(since=float("nan")),
        Filter(until=float("inf")),
    ],
)  # fmt: skip
async def test_W12_a_filter_past_its_bounds_is_refused(reviews: Reviews, filter: Filter) -> None:
    for asked, answer in ((FindHeld(filter), reviews.find), (CountHeld(filter), reviews.count)):
        with pytest.raises(Wrong):
            await answer(asked, ALL)  # type: ignore[arg-type]
    with pytest.raises(Wrong):
        await reviews.save(SaveView("v", filter), ALL)


@pytest.mark.parametrize(
    "hostile", ["' OR '1'='1", "x') UNION SELECT * FROM users --", "%", "_", "*", "id DESC; --", "\x00", "[]", "{}", '"']
)
async def test_W12_what_a_filter_says_is_a_value_and_never_sql(room: Room, reviews: Reviews, hostile: str) -> None:
    await held(room)
    for filter in (
        Filter(states=("held", hostile), rules=(hostile,)), Filter(rules=(hostile,)), Filter(departments=(hostile,)),
        Filter(assigned=hostile), Filter(levels=(hostile,)),
    ):  # fmt: skip
        assert (await reviews.find(FindHeld(filter), ALL)).rows == ()
        assert (await reviews.count(CountHeld(filter), ALL)).rows[0]["total"] == 0
    await reviews.find(FindHeld(Filter(words=hostile), before=hostile, limit=-5), ALL)
    assert len((await reviews.find(FindHeld(), ALL)).rows) == 1
    assert PAGE <= 200


def test_every_request_of_lists_needs_the_right_to_list(reviews: Reviews) -> None:
    assert {type.__name__ for type in reviews.table()} == {"FindHeld", "CountHeld", "ListViews", "SaveView", "DropView"}
    assert {act for act, _ in reviews.table().values()} == {"list"}
    assert review.FindHeld in reviews.table()
