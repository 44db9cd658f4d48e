"""Sign-ins of the IMAP door: what the keeper lets its server be asked, and what it counts of the answers (catalogue I12)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.requests import LoggedIn, MayLogIn, Permitted

from .test_logins import FILE, Room, config_for, write

OUTSIDE = "203.0.113.9"
WHO = "so.home@dept.gov.in"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(config_for(write(tmp_path, FILE)))
    yield made
    await made.sign_ins.stop()


async def ask(room: Room, login: str = WHO, ip: str = OUTSIDE) -> Permitted:
    return await room.sign_ins.may_log_in(MayLogIn(login, ip))


async def tell(room: Room, login: str = WHO, ip: str = OUTSIDE, **said: Any) -> None:
    await room.sign_ins.logged_in(LoggedIn(login, ip, said.pop("accepted", False), **said))


async def wrong(room: Room, login: str = WHO, ip: str = OUTSIDE) -> int:
    code = (await ask(room, login, ip)).reply.code
    if code == 250:
        await tell(room, login, ip, refused=True)
    return code


async def test_a_login_has_its_canonical_name_and_its_mailbox(room: Room) -> None:
    assert (await ask(room, "SO.Home@DEPT.gov.in")) == Permitted((await ask(room)).reply, WHO, WHO)
    found = await ask(room, "Clerk7")
    assert (found.reply.code, found.login, found.mailbox) == (250, "clerk7", "clerk7@dept.gov.in")
    other = Room(config_for(None, imap={"server": "127.0.0.1:143", "tls": "none", "domain": "mail.gov.in"}))
    assert (await ask(other, "clerk7")).mailbox == "clerk7@mail.gov.in"
    assert (await ask(other, "a@b@c.in")).reply.code == 535, "no address"


@pytest.mark.parametrize("login", ["", "a b@dept.gov.in", "a\0@dept.gov.in", "x" * 300, "a\u202eb"])
async def test_I12_a_name_that_cannot_be_read_is_never_shown(room: Room, login: str) -> None:
    assert (await ask(room, login)).reply.code == 535


async def test_I12_the_lists_hold_for_the_IMAP_door_too(room: Room) -> None:
    assert (await ask(room, "desk@dept.gov.in", "10.1.2.3")).reply.code == 250
    refused = (await ask(room, "desk@dept.gov.in", "10.2.2.3")).reply
    assert (refused.code, "10.2.2.3" in refused.text) == (535, True)
    vpn = Room(config_for(None, submission={"vpn": ("10.8.0.0/16",)}))
    assert (await ask(vpn, ip="10.8.3.4")).reply.code == 250
    assert "VPN" in (await ask(vpn)).reply.text


@pytest.mark.parametrize("login", ["desk", "DESK", "desk@DEPT.gov.in"])
async def test_I12_a_list_holds_however_the_login_is_written(room: Room, login: str) -> None:
    """The server may take the name without its domain for the same mailbox."""
    assert (await ask(room, login, "10.2.2.3")).reply.code == 535
    found = await ask(room, login, "10.1.2.3")
    assert (found.reply.code, found.mailbox) == (250, "desk@dept.gov.in")
    assert (await ask(room, "desk@other.gov.in", "10.2.2.3")).reply.code == 250, "another mailbox"


async def test_I12_two_ways_to_write_a_login_are_not_two_counts(room: Room) -> None:
    codes = [await wrong(room, login) for _ in range(6) for login in ("so.home", WHO)]
    assert codes == [250] * 10 + [454] * 2


async def test_I12_brute_force_is_put_off_before_the_server_is_asked(room: Room) -> None:
    codes = [await wrong(room) for _ in range(12)]
    assert codes == [250] * 10 + [454] * 2
    assert (await ask(room, ip="198.51.100.7")).reply.code == 250, "its owner elsewhere is not shut out"
    room.time.advance(3601)
    assert (await ask(room)).reply.code == 250


async def test_I12_one_password_on_many_logins_is_put_off(room: Room) -> None:
    codes = [await wrong(room, f"user{number}@dept.gov.in") for number in range(32)]
    assert codes == [250] * 30 + [454] * 2


async def test_I12_a_burst_does_not_overtake_the_answers(room: Room) -> None:
    codes = [(await ask(room)).reply.code for _ in range(12)]
    assert codes == [250] * 10 + [454] * 2
    await tell(room)
    assert (await ask(room)).reply.code == 250, "an answer that says nothing of the password makes room"
    room.time.advance(61)
    assert (await ask(room)).reply.code == 250, "answers that never came do too"


async def test_who_is_at_home_opens_as_many_sessions_as_he_likes(room: Room) -> None:
    assert (await ask(room)).reply.code == 250
    await tell(room, accepted=True)
    assert [(await ask(room)).reply.code for _ in range(40)] == [250] * 40


async def test_I12_a_phone_with_an_old_password_leaves_its_neighbours_alone(room: Room) -> None:
    for _ in range(50):
        await wrong(room)
    assert (await ask(room, "other@dept.gov.in")).reply.code == 250


async def test_what_the_server_said_is_counted_and_recorded(room: Room) -> None:
    await ask(room)
    await tell(room, accepted=True)
    await wrong(room, "stranger@elsewhere.in")
    await ask(room)
    await tell(room)
    await room.lines()
    (accepted,) = room.store.said("login-accepted")
    assert accepted["user"] == {"name": WHO}
    assert accepted["gateway"]["door"] == "imap"
    (refused,) = room.store.said("login-refused")
    assert "user" not in refused, "a name that is none of ours is written as a keyed hash"
    assert refused["event"]["reason"] == "wrong-password"
    (away,) = room.store.said("login-deferred")
    assert away["event"]["reason"] == "imap-server-away"
    assert room.sign_ins.counters == {"login-accepted": 1, "login-refused": 1, "login-deferred": 1}
    assert {row.rule for row in room.store.rows} == {"imap-login"}


async def test_a_store_that_is_away_does_not_stop_what_the_server_allowed(room: Room) -> None:
    room.store.away = True
    await ask(room)
    await tell(room, accepted=True)
    room.store.away = False
    assert room.sign_ins.counters["login-accepted"] == 1
