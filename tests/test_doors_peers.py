"""The doors' link to the keeper: it waits for no answer for ever, and leaves no connection behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import ipc
from gateway.doors import peers
from gateway.doors.peers import KeeperLink
from gateway.reply import ReplyError
from gateway.requests import Done, DoorRequest, Exceptions, Failed, GetExceptions, VerifyRecipient

from .smtp_door import make_config


@contextlib.asynccontextmanager
async def keeper(folder: Path, answer: Callable[[Any], Awaitable[Any]]) -> AsyncIterator[KeeperLink]:
    """A link to a keeper that answers with *answer*."""

    async def handle(request: Any, _: bytes, __: ipc.Credentials) -> tuple[Any, bytes]:
        return await answer(request), b""

    (folder / "run").mkdir()
    sock = ipc.listen(folder / "run" / "keeper-doors.sock")
    server = await ipc.serve(sock, DoorRequest, handle, allow=lambda _: True, on_fault=lambda _: None)
    link = KeeperLink(make_config(state_dir=folder))
    try:
        await link.start()
        yield link
    finally:
        server.close()
        await link.close()


async def test_a_recipient_is_asked_about_for_a_while_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_VERIFY", 0.1)

    async def answer(request: Any) -> Any:
        if isinstance(request, VerifyRecipient):
            await asyncio.sleep(60)
        return Exceptions("v", ()) if isinstance(request, GetExceptions) else Done()

    async with keeper(tmp_path, answer) as link, asyncio.timeout(2):
        assert (await link.verify_recipient("x@dept.gov.in")).temporary


async def test_a_connection_on_which_no_register_came_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ipc.Channel] = []
    connect = ipc.Channel.connect

    async def watched(*args: Any) -> ipc.Channel:
        made.append(await connect(*args))
        return made[-1]

    monkeypatch.setattr(ipc.Channel, "connect", watched)

    async def answer(request: Any) -> Any:
        if isinstance(request, GetExceptions):
            return Exceptions("v", ()) if len(made) > 2 else Failed("not yet", 3)
        return Done()

    async with keeper(tmp_path, answer) as link, asyncio.timeout(5):
        with pytest.raises(ReplyError):
            _ = link.exceptions
        while len(made) < 3 or not made[-1].open:
            await asyncio.sleep(0.01)
        await link.refresh_exceptions()
        assert [channel.open for channel in made] == [False, False, True]
