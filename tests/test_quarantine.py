"""Held mail: who may release, refuse and take out what, and what nobody may."""

from __future__ import annotations

import asyncio
import email
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from msgspec.structs import replace

from gateway.audit.audit import verify
from gateway.config import Relay
from gateway.keeper.exceptions import Wrong
from gateway.levels import Level
from gateway.policy import decide
from gateway.requests import AddException
from gateway.stores.base import Batch, DeliveryState, DeliveryUpdate, HoldState
from gateway.verdict import Leaf, LeafState
from tests.held_mail import DESK, HEAD, WHO, held, staffed
from tests.keeper_kit import CONTENT, Room, hold, inspection, message, transaction

ASHA, BINA, BINA_OTHER, SENDER = (WHO[name] for name in ("asha", "bina", "chand", "so"))


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await staffed(tmp_path)
    yield made
    await made.close()


async def state(room: Room, reference: str) -> HoldState:
    found = await room.store.hold(reference)
    assert found is not None
    return found.state


async def test_two_people_release_a_confidential_message(room: Room) -> None:
    reference = await held(room, DESK, HEAD)
    assert await room.quarantine.release(reference, "seen", (), ASHA) == "approved 1 of 2"
    assert await state(room, reference) is HoldState.APPROVED
    assert room.relay.offered == []
    with pytest.raises(Wrong, match="another person"):
        await room.quarantine.release(reference, "again", (), ASHA)
    assert (await room.quarantine.release(reference, "agreed", (), BINA)).startswith("released ")
    assert await state(room, reference) is HoldState.RELEASED
    ((rows, content),) = room.relay.offered
    assert content == CONTENT
    assert [(row.recipient, row.state, row.require_aes256, row.direction) for row in rows] == [
        (DESK, DeliveryState.LEASED, True, "outbound"),
        (HEAD, DeliveryState.LEASED, True, "outbound"),
    ]
    assert any(edit.header == "SIO-Label" for edit in rows[0].edits), "the recorded edits go with it"
    log = [(line["event"]["action"], line["user"]["name"]) for line in await room.lines() if "user" in line]
    assert log == [("held-approved", "asha")] * 2 + [("held-released", "bina")] * 2
    assert (await verify(room.store)).bad is None
    with pytest.raises(Wrong, match="released already"):
        await room.quarantine.release(reference, "more", (), BINA)


async def test_one_person_is_enough_below_the_level_of_two(room: Room) -> None:
    reference = await held(room, level=Level.RESTRICTED)
    assert (await room.quarantine.release(reference, "seen", (), ASHA)).startswith("released ")


async def test_two_people_can_be_switched_off(tmp_path: Path) -> None:
    room = await Room(tmp_path, relay=Relay(two_people_from="never")).open()
    reference = await held(room)
    assert (await room.quarantine.release(reference, "seen", (), ASHA)).startswith("released ")
    await room.close()


async def test_the_sender_never_releases_its_own_mail(room: Room) -> None:
    reference = await held(room, level=Level.RESTRICTED)
    with pytest.raises(Wrong, match="sender"):
        await room.quarantine.release(reference, "mine", (), SENDER)
    peer = structs.replace(transaction().peer, user="asha")
    mine = await held(room, level=Level.RESTRICTED, peer=peer)
    with pytest.raises(Wrong, match="sender"):
        await room.quarantine.release(mine, "mine", (), ASHA)


async def test_a_reason_is_needed(room: Room) -> None:
    reference = await held(room)
    for blank in ("", "  \t\n"):
        with pytest.raises(Wrong, match="reason"):
            await room.quarantine.release(reference, blank, (), ASHA)
        with pytest.raises(Wrong, match="reason"):
            await room.quarantine.refuse(reference, blank, ASHA)
        with pytest.raises(Wrong, match="reason"):
            await room.quarantine.export(reference, blank, ASHA)


async def test_an_approval_counts_for_its_recipients_only(room: Room) -> None:
    reference = await held(room, DESK, HEAD)
    await room.quarantine.release(reference, "desk only", (DESK,), ASHA)
    assert await room.quarantine.release(reference, "all of it", (), BINA) == "approved 1 of 2", "asha did not approve the other"
    assert "1 still held" in await room.quarantine.release(reference, "desk", (DESK,), BINA_OTHER)
    assert room.relay.recipients == [DESK]
    found = await room.store.hold(reference)
    assert found is not None
    assert (found.state, found.released) == (HoldState.HELD, (DESK,))
    with pytest.raises(Wrong, match="not among"):
        await room.quarantine.release(reference, "twice", (DESK,), ASHA)
    assert (await room.quarantine.release(reference, "the rest", (), ASHA)).startswith("released")
    assert room.relay.recipients == [DESK, HEAD]
    assert await state(room, reference) is HoldState.RELEASED


async def test_what_is_waived_for_one_recipient_is_not_for_another(room: Room) -> None:
    """Two recipients are held by different rules; later the facts of the second are those of the first."""
    outside = "desk@rbi.org.in"
    tx = transaction(outside, HEAD)
    read = inspection(attached=Level.UNCLASSIFIED)
    broken = Leaf("3:x.bin", "x.bin", "application/octet-stream", 9, LeafState.SUSPECT)
    leaves = (read.leaves[0], structs.replace(read.leaves[1], state=LeafState.OPAQUE), broken)
    made = decide.decide(tx, structs.replace(read, leaves=leaves), room.policy, room.register.current, room.config)
    assert "opaque-to-non-government" in made.recipients[0].hits
    assert "opaque-to-non-government" not in made.recipients[1].hits
    assert (await room.commit(tx, made)).reply.code == 250
    db = sqlite3.connect(room.config.state_dir / "gateway.db", timeout=5)
    db.execute("UPDATE messages SET facts = replace(facts, ?, 'head@cdac.in') WHERE id = ?", (HEAD, tx.id))
    db.commit()
    db.close()
    with pytest.raises(Wrong, match=f"opaque-to-non-government holds this message for {HEAD}"):
        await room.quarantine.release(tx.reference, "seen", (), ASHA)
    assert (await room.quarantine.release(tx.reference, "seen", (outside,), ASHA)).startswith("released")


async def test_what_a_rule_refuses_no_reviewer_releases(room: Room) -> None:
    """Held today; tomorrow the recipient's domain is a private provider by the facts: the rule of then refuses."""
    reference = await held(room, level=Level.RESTRICTED)
    found = await room.store.hold(reference)
    assert found is not None
    db = sqlite3.connect(room.config.state_dir / "gateway.db", timeout=5)
    db.execute("UPDATE messages SET facts = replace(facts, 'desk@finance.nic.in', 'desk@gmail.com') WHERE id = ?", (found.message_id,))
    db.commit()
    db.close()
    with pytest.raises(Wrong, match="refuses this message"):
        await room.quarantine.release(reference, "please", (), ASHA)
    assert await state(room, reference) is HoldState.HELD
    assert room.relay.offered == []


async def test_L11_a_release_allows_nothing_for_the_next_message(room: Room) -> None:
    first = await held(room, level=Level.RESTRICTED)
    before = room.version
    await room.quarantine.release(first, "seen", (), ASHA)
    assert room.version == before
    second = await held(room, level=Level.RESTRICTED)
    assert await state(room, second) is HoldState.HELD
    assert room.relay.offered == []


async def test_L11_two_at_once_release_it_once(room: Room) -> None:
    reference = await held(room, level=Level.RESTRICTED)
    results = await asyncio.gather(
        *(room.quarantine.release(reference, "seen", (), user) for user in (ASHA, BINA, BINA_OTHER)), return_exceptions=True
    )
    assert sum(isinstance(result, str) for result in results) == 1
    assert room.relay.recipients == [DESK]


async def test_a_refused_message_tells_the_officer_the_reviewers_note(room: Room) -> None:
    reference = await held(room, DESK, HEAD)
    assert "the sender is told" in await room.quarantine.refuse(reference, "send it by e-Office", ASHA)
    assert await state(room, reference) is HoldState.REFUSED
    ((rows, report),) = room.relay.offered
    assert [row.recipient for row in rows] == ["so@dept.gov.in"]
    texts = [part.get_payload(decode=True) for part in email.message_from_bytes(report).walk() if part.get_content_maintype() == "text"]
    assert any(b"send it by e-Office" in text for text in texts if isinstance(text, bytes))
    assert report.count(b"Action: failed") == 2
    assert b"eagle" not in report
    found = await room.store.hold(reference)
    assert found is not None
    assert await room.store.body(found.body_id) is None, "the content is destroyed"
    with pytest.raises(Wrong, match="refused already"):
        await room.quarantine.release(reference, "after all", (), ASHA)


async def test_P10_nobody_is_told_about_a_strangers_mail(room: Room) -> None:
    reference = await held(room, "clerk@dept.gov.in", sender="x@example.com", verified=False, suspect=True)
    assert "nobody may be told" in await room.quarantine.refuse(reference, "junk", ASHA)
    assert room.relay.offered == []


async def test_expired_mail_bounces_once(room: Room) -> None:
    reference = await held(room)
    (over,) = await room.store.expired_holds(room.now + 16 * 86400, 10)
    room.now += 16 * 86400
    await room.quarantine.expire(over)
    await room.quarantine.expire(over)
    assert await state(room, reference) is HoldState.EXPIRED
    assert room.relay.recipients == ["so@dept.gov.in"]
    assert b"Action: failed" in room.relay.offered[0][1]


async def test_export_gives_the_octets_and_records_the_access_first(room: Room) -> None:
    reference = await held(room)
    assert await room.quarantine.export(reference, "court order 5", ASHA) == CONTENT
    last = (await room.lines())[-1]
    assert (last["event"]["action"], last["event"]["reason"], last["user"]["name"]) == ("held-exported", "court order 5", "asha")
    await room.store.write(Batch(drop_bodies=[(await room.store.hold(reference)).body_id]))  # type: ignore[union-attr]
    with pytest.raises(Wrong, match="destroyed"):
        await room.quarantine.export(reference, "late", ASHA)


async def test_O20_damaged_content_is_never_released(room: Room) -> None:
    reference = await held(room, level=Level.RESTRICTED)
    db = sqlite3.connect(room.config.state_dir / "gateway.db", timeout=5)
    (sealed,) = db.execute("SELECT ciphertext FROM bodies").fetchone()
    db.execute("UPDATE bodies SET ciphertext = ?", (bytes([sealed[0] ^ 1]) + sealed[1:],))
    db.commit()
    db.close()
    with pytest.raises(Wrong, match="damaged") as caught:
        await room.quarantine.release(reference, "seen", (), ASHA)
    assert caught.value.code == 3
    assert await state(room, reference) is HoldState.HELD
    assert room.relay.offered == []
    # It can still be refused: the report then carries no header section.
    await room.quarantine.refuse(reference, "cannot be read", ASHA)
    assert room.relay.recipients == ["so@dept.gov.in"]


async def test_sealed_mail_is_not_released_here(room: Room) -> None:
    row = message()
    record = hold(row, sealed=True)
    await room.store.write(Batch(messages=[row_without_details(row)], holds=[record]))
    with pytest.raises(Wrong, match="security officer"):
        await room.quarantine.release(record.id, "please", (), ASHA)


def row_without_details(row: Any) -> Any:
    return replace(row, details=b"", verdict={}, facts={})


async def test_mail_listed_for_the_postmaster_can_be_tried_again(room: Room) -> None:
    """A stranger's message whose delivery failed for good: the relay lists it; the postmaster sends it on its way again."""
    tx = transaction("clerk@dept.gov.in", sender="x@example.com", verified=False)
    seen = inspection()
    seen = replace(seen, headers=replace(seen.headers, from_addresses=("x@example.com",)))
    made = decide.decide(tx, seen, room.policy, room.register.current, room.config)
    assert (await room.commit(tx, made)).reply.code == 250
    (row,), _ = room.relay.offered[0]
    stored = await room.store.message(tx.id)
    assert stored is not None
    listed = hold(stored, "clerk@dept.gov.in", reason="postmaster", rule="")
    update = DeliveryUpdate(row.id, (DeliveryState.LEASED,), DeliveryState.EXPIRED)
    await room.store.write(Batch(delivery_updates=[update], holds=[listed]))
    assert await room.store.body(tx.id) is not None
    await room.quarantine.release(listed.id, "the server is back", (), ASHA)
    assert room.relay.recipients == ["clerk@dept.gov.in"] * 2


async def test_unknown_records_are_said_to_be_unknown(room: Room) -> None:
    with pytest.raises(Wrong, match="no such held message"):
        await room.quarantine.release("nothing", "x", (), ASHA)


async def test_an_exception_does_not_release_what_is_classified(room: Room) -> None:
    await room.register.add(AddException("so@dept.gov.in", DESK, "why", "a", "b", room.now + 50), "root")
    reference = await held(room)
    assert await state(room, reference) is HoldState.HELD
