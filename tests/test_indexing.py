"""Held records that the commit gave no terms get theirs, in small steps and again after a failure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.keeper import indexing
from gateway.keeper.indexing import Indexing
from gateway.keeper.terms import Terms
from gateway.stores.base import Batch, HoldRow
from gateway.stores.reviewed import Sought
from gateway.vault.vault import Vault
from tests.keeper_kit import Room, hold, message


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = await Room(tmp_path).open()
    yield made
    await made.close()


async def put(room: Room, subject: str, vault: Vault | None = None, *, sealed: bool = False) -> HoldRow:
    row = message()
    row = replace(row, subject=(vault or room.vault).seal_field(row.id, subject))
    one = hold(row, sealed=sealed)
    await room.store.write(Batch(messages=[row], holds=[one]))
    return one


async def finds(room: Room, text: str) -> list[str]:
    return [row.id for row in await room.store.reviewing.found(Sought(words=Terms(room.vault).sought(text), opened=None))]


async def test_records_without_terms_are_found_after_a_step(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "STEP", 2)
    monkeypatch.setattr(indexing, "_PAUSE", 0.0)
    rows = [await put(room, f"heron number{n}") for n in range(5)]
    assert await finds(room, "heron") == []
    index = Indexing(room.store, room.vault)
    assert await index.step() == 5
    assert await finds(room, "heron") == [row.id for row in rows[::-1]]
    assert await finds(room, "number3") == [rows[3].id]
    assert [await index.step() for _ in range(3)] == [0, 0, 0]
    late = await put(room, "egret")
    assert await index.step() == 1
    assert await finds(room, "egret") == [late.id]
    early = replace(await put(room, "crane"), id=rows[-1].id[:-12] + "f" * 12)  # behind the last of the walk before
    await room.store.write(Batch(holds=[early]))
    assert await index.step() == 2, "an id that came to lie before the last one is not missed"


async def test_a_subject_that_cannot_be_opened_or_is_sealed_gives_no_words(room: Room) -> None:
    lost = await put(room, "heron", Vault({"lost": b"\x09" * 32}, "lost"))
    sealed = await put(room, "heron", sealed=True)
    assert await Indexing(room.store, room.vault).step() == 2
    assert await finds(room, "heron") == []
    assert await finds(room, lost.reference) == [lost.id]
    assert await finds(room, sealed.reference) == [sealed.id]
