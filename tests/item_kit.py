"""The item's page before the keeper's own code: real records, real texts and pictures, real rights."""

from __future__ import annotations

from typing import Any

import httpx

from gateway import content, requests
from gateway.config import Limits
from gateway.keeper.access import Who
from gateway.keeper.exceptions import Register, Wrong
from gateway.keeper.granting import Granting
from gateway.keeper.held import HeldMail
from gateway.keeper.inspecting import InspectorLink
from gateway.keeper.previews import Previews
from gateway.keeper.reception import Reception
from gateway.policy import decide
from gateway.review import As
from gateway.roles import Grant
from gateway.stores.base import Batch, HoldRow, UserRow
from tests.content_mail import scheme
from tests.faces import FakeKeeper, person, signed_in
from tests.keeper_kit import NOW, Room, transaction


class Answering(FakeKeeper):
    """What people ask about held mail is answered by the keeper's own parts, as the person whose session it is."""

    def __init__(self, room: Room) -> None:
        super().__init__({})
        self.room, self.people = room, dict[str, Who]()
        mail = HeldMail(room.config, room.store, room.vault, lambda: room.now)
        previews = Previews(mail, InspectorLink(room.config), lambda: room.policy, lambda: room.now)
        register: Register = room.register
        granting = Granting(room.config, room.store, register)
        self._reception = Reception(self, [room.quarantine.table(), previews.table(), granting.table()])

    async def who(self, credential: str, client_ip: str, *, passive: bool = False) -> Who:
        return self.people[credential]

    async def ask(self, request: Any) -> tuple[Any, bytes]:
        if isinstance(request, As) and request.credential in self.people and type(request.request) in self._reception.acts:
            self.asked.append(request.request)
            try:
                return await self._reception.answer(request)
            except Wrong as error:
                return requests.Failed(str(error), error.code), b""
        return await super().ask(request)

    async def browser(self, name: str, *grants: str) -> httpx.AsyncClient:
        """A browser in which *name* is signed in, who is a person of the store."""
        email = f"{name}@dept.gov.in"
        await self.room.store.write(Batch(users=[UserRow(name, "", email, "", NOW, grants=grants)]))
        web = signed_in(self, person(name, *grants))
        credential = web.cookies["gateway"]
        self.people[credential] = Who(name, email, grants=tuple(Grant.parse(one) for one in grants), session=credential.encode())
        return web


async def held(room: Room, message: bytes, *addresses: str) -> HoldRow:
    """The record of *message*, which was read and is held by the shipped rules."""
    tx = transaction(*addresses, content=message)
    found = content.unpack(message, sha256=tx.sha256, limits=Limits(ocr_seconds=0), scheme=scheme(), want_text=False)
    made = decide.decide(tx, found, room.policy, room.register.current, room.config)
    await room.commit(tx, made, message)
    room.relay.offered.clear()
    (row,) = [one for one in await room.store.holds() if one.message_id == tx.id]
    return row
