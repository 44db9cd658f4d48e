"""The note that the MTA before the milter door is proved by its settings: who makes it, what it does, how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.envelope import Door
from gateway.keeper.exceptions import DOCTOR, NOTE, Wrong
from gateway.levels import Level
from gateway.policy import decide, register
from gateway.requests import Commit, Committed, EndProfile, NoteMta, ProfileRow, Stale, StartProfile
from gateway.verdict import Confidence, Disposition, Finding, Inspection, Zone
from tests.keeper_kit import CONTENT, NOW, Room, inspection, recipient, transaction, verdict

DAY = 86400.0
DESK = "desk@finance.nic.in"
SETTINGS = "sha256:" + "a" * 64
SAID = "smtp_tls_security_level = verify, AES-256 only"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path).open()
    yield made
    await made.close()


def note(protected: bool = True, settings: str = SETTINGS, said: str = SAID) -> NoteMta:
    return NoteMta(protected, settings, said)


def on(room: Room, at: float) -> str:
    return register.profile(room.register.current, register.MTA_PATH, at)


def confidential() -> Inspection:
    found = Finding(Level.CONFIDENTIAL, "1", Zone.CONTROL_BLOCK, "CONFIDENTIAL", "en", Confidence.CERTAIN, "line")
    plain = inspection()
    return Inspection(plain.sha256, plain.headers, plain.leaves, (found,))


async def test_a_note_is_in_force_at_once_changes_the_version_and_is_recorded(room: Room) -> None:
    empty = room.version
    (row,) = await room.register.note(note(), "root")
    assert row == ProfileRow(row.id, "mta-tls", SAID, DOCTOR, "", NOW, NOW + 8 * DAY)
    assert room.register.current.profiles == (row,), "among the profiles"
    assert room.version != empty
    assert room.store.exceptions_version == room.version
    (line,) = await room.lines()
    assert (line["event"]["action"], line["user"]["name"], line["event"]["reason"]) == ("mta-path-proved", "root", SAID)
    assert line["gateway"]["act"] == {"expires": int(NOW + NOTE), "name": "mta-tls", "profile": row.id, "settings": SETTINGS}


async def test_a_decision_under_the_version_before_is_stale(room: Room) -> None:
    old = room.version
    await room.register.note(note(), "root")
    tx = transaction(DESK, door=Door.MILTER)
    assert await room.commit(tx, verdict(old, recipient(DESK))) == Stale(room.version)


async def test_classified_mail_by_a_milter_passes_while_the_note_holds(room: Room) -> None:
    async def decided(at: float) -> tuple[Disposition, Committed]:
        tx = transaction(DESK, door=Door.MILTER, received_at=at)
        made = decide.decide(tx, confidential(), room.policy, room.register.current, room.config)
        answer = await room.actor.commit(Commit(tx, made), CONTENT)
        assert isinstance(answer, Committed)
        return made.recipients[0].disposition, answer

    assert (await decided(NOW))[0] is Disposition.HOLD
    await room.register.note(note(), "root")
    disposition, answer = await decided(NOW)
    assert (disposition, answer.passed) == (Disposition.DELIVER, (DESK,))
    assert (await decided(NOW + 8 * DAY))[0] is Disposition.HOLD, "over by the clock, whether the keeper has said so or not"
    room.now = NOW + 8 * DAY
    await room.register.expire()
    assert room.register.current.profiles == ()
    assert (await room.lines())[-1]["event"]["action"] == "profile-expired"


async def test_a_note_is_renewed_by_the_next_and_holds_for_mail_that_came_before(room: Room) -> None:
    (first,) = await room.register.note(note(), "root")
    version = room.version
    room.now = NOW + 3 * DAY
    (second,) = await room.register.note(note(settings="b" * 64, said="other settings, proved too"), "root")
    assert (second.id, second.created, second.expires) == (first.id, NOW, NOW + 11 * DAY)
    assert second.reason == "other settings, proved too"
    assert room.version != version
    assert on(room, NOW + 3 * DAY - 1) == on(room, NOW + 10 * DAY) == first.id
    assert len(await room.store.profiles(all=True)) == 1


async def test_settings_that_prove_nothing_end_it_at_once(room: Room) -> None:
    assert await room.register.note(note(False), "root") == []
    assert (await room.lines())[-1]["event"]["action"] == "mta-path-unproved"
    await room.register.note(note(), "root")
    room.now = NOW + 60
    assert await room.register.note(note(False, said="smtp_tls_security_level is may"), "root") == []
    assert (room.register.current.profiles, on(room, NOW + 61)) == ((), "")
    line = (await room.lines())[-1]
    assert (line["event"]["action"], line["event"]["reason"]) == ("mta-path-unproved", "smtp_tls_security_level is may")
    (row,) = await room.store.profiles(all=True)
    assert (row.state, row.expires) == ("ended", NOW + 60)


async def test_no_person_starts_or_ends_it(room: Room) -> None:
    with pytest.raises(Wrong, match="there is no profile"):
        await room.register.start(StartProfile("mta-tls", "r", "asha", "bina", NOW + DAY), "root")
    (row,) = await room.register.note(note(), "root")
    for id in (row.id, row.name):
        with pytest.raises(Wrong, match="is on"):
            await room.register.finish(EndProfile(id, "r"), "root")
    await room.register.start(StartProfile("disaster", "r", "asha", "bina", NOW + DAY), "root")
    await room.register.finish(EndProfile("disaster", "r"), "root")
    assert on(room, NOW) == row.id


@pytest.mark.parametrize(
    "wrong",
    [
        note(settings=""), note(settings="a" * 63), note(settings="sha256:" + "G" * 64), note(said=" "), note(said="x" * 1001),
        note(said="a\r\nb"), note(settings="A" * 64),
    ],
)  # fmt: skip
async def test_notes_that_are_refused(room: Room, wrong: NoteMta) -> None:
    with pytest.raises(Wrong):
        await room.register.note(wrong, "root")
    assert room.register.current.profiles == ()
    assert await room.lines() == []


async def test_the_note_survives_a_restart(room: Room, tmp_path: Path) -> None:
    (row,) = await room.register.note(note(), "root")
    version = room.version
    await room.close()
    again = await Room(tmp_path).open()
    assert (again.register.current.profiles, again.version) == ((row,), version)
    await again.close()
    room.store = again.store
