"""Held mail and the people around it, for the tests of what reviewers do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import structs

from gateway.keeper.access import Who
from gateway.levels import Level
from gateway.policy import decide
from gateway.stores.base import Batch, HoldRow, UserRow
from gateway.verdict import LeafState
from tests.keeper_kit import NOW, Room, inspection, transaction

DESK, HEAD = "desk@finance.nic.in", "head@home.gov.in"
GRANTS: dict[str, tuple[str, ...]] = {
    "asha": ("reviewer@*", "second-approver@*"), "bina": ("reviewer@*", "second-approver@*"), "chand": ("reviewer@*", "second-approver@*"),
    "so": ("reviewer@*", "second-approver@*"), "rev": ("reviewer@dept.gov.in",), "rev2": ("reviewer@dept.gov.in",),
    "app": ("second-approver@dept.gov.in",), "viewer": ("viewer@dept.gov.in",), "auditor": ("auditor@*",), "admin": ("administrator@*",),
    "other": ("reviewer@home.gov.in", "second-approver@home.gov.in"),
}  # fmt: skip
PEOPLE = {name: UserRow(name, "", f"{name}@dept.gov.in", "", NOW, grants=grants) for name, grants in GRANTS.items()}
WHO = {name: Who.of(row) for name, row in PEOPLE.items()}


async def staffed(folder: Path, **options: Any) -> Room:
    """A room whose store knows the people."""
    room = await Room(folder, **options).open()
    await room.store.write(Batch(users=list(PEOPLE.values())))
    return room


async def held(room: Room, *recipients: str, level: Level = Level.CONFIDENTIAL, suspect: bool = False, **changes: Any) -> str:
    """The reference of a message that the shipped rules hold for *recipients*."""
    tx = transaction(*(recipients or (DESK,)), **changes)
    read = inspection(attached=level)
    if suspect:
        read = structs.replace(read, leaves=tuple(structs.replace(leaf, state=LeafState.SUSPECT) for leaf in read.leaves))
    made = decide.decide(tx, read, room.policy, room.register.current, room.config)
    assert (await room.commit(tx, made)).reply.code == 250
    room.relay.offered.clear()
    return tx.reference


async def record(room: Room, reference: str) -> HoldRow:
    """The held record of *reference*."""
    found = await room.store.hold(reference)
    assert found is not None
    return found
