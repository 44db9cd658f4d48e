"""Mail to reviewers: who gets it, once, and never outside the organisation."""

from __future__ import annotations

import email
import email.policy
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config import Review as ReviewOptions
from gateway.config import Route
from gateway.keeper.digests import AT_ONCE, Digests
from gateway.levels import Level
from gateway.stores.base import Batch, HoldState, HoldUpdate, UserRow
from gateway.stores.reviewed import INDIA
from tests.keeper_kit import NOW, Room, hold, message

DAY = 86400.0
MORNING = NOW - (NOW + INDIA) % DAY + 8.5 * 3600
"""08:30 on India's clock."""
ROUTES = (Route(domains=("dept.gov.in", "finance.nic.in"), local=True, next_hop="127.0.0.1:2525", tls="none"),)


def user(name: str, *grants: str, **changes: Any) -> UserRow:
    fields: dict[str, Any] = {"email": f"{name}@dept.gov.in", "disabled": False, "language": ""} | changes
    return UserRow(name, "", fields["email"], "", NOW, grants or ("reviewer@*",), fields["disabled"], fields["language"])


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path, route=ROUTES).open()
    made.now = MORNING
    yield made
    await made.close()


def digests(room: Room, **options: Any) -> Digests:
    config = room.config.model_copy(update={"review": ReviewOptions(**options)} if options else {})
    return Digests(config, room.store, room.vault, room.relay, lambda: room.policy, lambda: room.now)


async def put(room: Room, *, days: float = 10, **changes: Any) -> str:
    department = changes.pop("department", "dept.gov.in")
    row = message(department=department, subject=room.vault.seal_field("x", "the heron flies"))
    one = hold(row, deadline=MORNING + days * DAY, department=department, **changes)
    await room.store.write(Batch(messages=[row], holds=[one]))
    return one.reference


def mails(room: Room) -> list[EmailMessage]:
    found = [content for _, content in room.relay.offered]
    return [cast(EmailMessage, email.message_from_bytes(content, policy=email.policy.default)) for content in found]


def text(mail: EmailMessage) -> str:
    return str(mail.get_content())


async def test_each_reviewer_gets_one_mail_a_day_about_his_departments(room: Room) -> None:
    mine, other = await put(room, level=int(Level.CONFIDENTIAL)), await put(room, department="home.gov.in")
    people = [user("asha"), user("ravi", "second-approver@home.gov.in"), user("mina", "viewer@*"), user("tom", "administrator@*")]
    await room.store.write(Batch(users=[*people, user("gone", disabled=True), user("none", "reviewer@law.gov.in")]))
    assert await digests(room).send() == 2
    told = {mail["To"]: text(mail) for mail in mails(room)}
    assert set(told) == {"asha@dept.gov.in", "ravi@dept.gov.in"}
    assert mine in told["asha@dept.gov.in"]
    assert other in told["asha@dept.gov.in"]
    assert mine not in told["ravi@dept.gov.in"]
    assert f"{mine}: r1, CONFIDENTIAL, until" in told["asha@dept.gov.in"]
    assert await digests(room).send() == 0, "not again the same day, also after a restart"
    room.now += DAY
    assert await digests(room).send() == 2


async def test_it_comes_at_its_time_in_india_and_a_day_without_mail_is_over(room: Room) -> None:
    await room.store.write(Batch(users=[user("asha")]))
    room.now = MORNING - 60
    await put(room)
    assert await digests(room).send() == 0
    room.now = MORNING + 6 * 3600  # the keeper was away at half past eight
    assert await digests(room).send() == 1
    row = (await room.store.holds())[0]
    await room.store.write(Batch(hold_updates=[HoldUpdate(row.id, (HoldState.HELD,), HoldState.RELEASED, room.now)]))
    room.now = MORNING + DAY
    assert await digests(room).send() == 0, "nothing waits"
    await put(room)
    assert await digests(room).send() == 0, "what comes later waits for the next morning"
    assert await digests(room, digest="").send() == 0


async def test_a_deadline_is_told_once_to_those_who_decide_there(room: Room) -> None:
    near, far = await put(room, days=1.5), await put(room, days=5)
    sealed = await put(room, days=1, sealed=True, level=int(Level.SECRET), department="home.gov.in")
    await room.store.write(Batch(users=[user("asha"), user("ravi", "reviewer@home.gov.in")]))
    made = digests(room, digest="", warn_before="2d")
    assert await made.send() == 2
    told = {mail["To"]: text(mail) for mail in mails(room)}
    assert near in told["asha@dept.gov.in"]
    assert sealed in told["asha@dept.gov.in"]
    assert far not in told["asha@dept.gov.in"]
    assert near not in told["ravi@dept.gov.in"]
    assert Level.SECRET.text not in told["ravi@dept.gov.in"], "of sealed mail reference, rule and deadline"
    assert await made.send() == 0
    assert await digests(room, digest="", warn_before="2d").send() == 0
    room.now += 4 * DAY
    assert await made.send() == 1
    assert far in text(mails(room)[-1])


async def test_a_deadline_that_nobody_can_be_told_of_does_not_keep_others_waiting(room: Room) -> None:
    await put(room, days=1, department="orphan.gov.in")
    await room.store.write(Batch(users=[user("ravi", "reviewer@home.gov.in")]))
    assert await digests(room, digest="").send() == 0
    assert await room.store.reviewing.due(MORNING + 2 * DAY, 10, None, "deadline ") == []
    assert [line["event"]["action"] for line in await room.lines()] == ["deadline-warned"]


async def test_a_mail_is_from_nobody_by_a_machine_and_without_the_subject(room: Room) -> None:
    await put(room, days=1)
    await room.store.write(Batch(users=[user("asha", language="hi")]))
    await digests(room).send()
    assert len(mails(room)) == 2
    for rows, _ in room.relay.offered:
        assert (rows[0].sender, rows[0].is_report, rows[0].notify) == ("", True, ("NEVER",))
        assert rows[0].require_aes256 is False
    for mail in mails(room):
        assert mail["Auto-Submitted"] == "auto-generated"
        assert "heron" not in mail.as_string() + text(mail)
        assert "so@dept.gov.in" not in text(mail)
        assert mail["Content-Language"] == "hi"
        assert "निर्णय" in text(mail)
        assert " - " not in text(mail), "every word is filled in"
    assert {line["event"]["action"] for line in await room.lines()} == {"digest-sent", "deadline-warned"}


async def test_the_link_leads_to_the_page_where_there_is_one(room: Room) -> None:
    await put(room)
    await room.store.write(Batch(users=[user("asha")]))
    web = room.config.web.model_copy(update={"public_url": "https://review.dept.gov.in"})
    room.config = room.config.model_copy(update={"web": web})
    await digests(room).send()
    assert "https://review.dept.gov.in" in text(mails(room)[0])


async def test_many_reviewers_are_written_to_in_steps(room: Room) -> None:
    await put(room)
    await room.store.write(Batch(users=[user(f"p{n}") for n in range(AT_ONCE + 5)]))
    assert [await digests(room).send() for _ in range(3)] == [AT_ONCE, 5, 0]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    address=st.one_of(
        st.emails(), st.text(max_size=40), st.sampled_from((
            "a@gmail.com", "a@dept.gov.in.evil.com", "a@evil.com@dept.gov.in", "a@sub.dept.gov.in", "a@dept.gov.in\r\nBcc: x@evil.com",
            "<a@dept.gov.in>", "a@finance.nic.in", "a@DEPT.GOV.IN", "a", "", "@dept.gov.in", "\ud800@dept.gov.in",
        )),
    )
)  # fmt: skip
@pytest.mark.slow
async def test_no_mail_leaves_the_organisation(room: Room, address: str) -> None:
    room.relay.offered.clear()
    room.now += DAY
    if not await room.store.holds():
        await put(room, days=10_000)
    try:
        await room.store.write(Batch(users=[user("asha", email=address)]))
    except Exception:
        return  # what the store does not take nobody is written to
    await digests(room).send()
    for rows, content in room.relay.offered:
        assert rows[0].recipient.rpartition("@")[2] in ("dept.gov.in", "finance.nic.in")
        assert content.count(b"\r\nTo: ") == 1
        assert b"Bcc" not in content
