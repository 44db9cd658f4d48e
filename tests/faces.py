"""A stand-in keeper over real frames, for the tests of the command line and the web page."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway import ipc, requests

HELD = {
    "id": "0198f2b0-0000-7000-8000-000000000001", "reference": "01CX5B00000G00G00000000001", "created": 1_795_000_000.0,
    "deadline": 4_000_000_000.0, "state": "held", "level": "CONFIDENTIAL", "rule": "classified-attachment-unencrypted",
    "sender": "officer@dept.gov.in", "recipients": ["a@nic.in", "b@gov.in"], "subject": "Private subject", "department": "dept.gov.in",
    "sealed": False, "size": 48211,
}  # fmt: skip
SEALED = HELD | {
    "id": "0198f2b0-0000-7000-8000-000000000002", "reference": "01CX5B00000G00G00000000002", "sealed": True, "level": "SECRET",
    "rule": "probable-secret", "recipients": ["hidden@nic.in"], "sender": "x@dept.gov.in", "state": "requested",
}  # fmt: skip
TOKEN = "one-time-token-0123456789abcdef"


class FakeKeeper:
    """Answers from *answers* (request type -> answer or callable); remembers what it was asked."""

    def __init__(self, answers: dict[type, Any]) -> None:
        self.answers = answers
        self.asked: list[Any] = []

    def answer(self, request: Any) -> Any:
        self.asked.append(request)
        found = self.answers.get(type(request), requests.Failed(f"no answer for {type(request).__name__}", 3))
        return found(request) if callable(found) else found

    async def ask(self, request: Any) -> Any:
        return self.answer(request)

    @contextlib.contextmanager
    def serving(self, *sockets: tuple[Path, Any]) -> Iterator[FakeKeeper]:
        """Serves over real sockets from a thread of its own."""
        loop = asyncio.new_event_loop()
        ready = threading.Event()

        async def handler(request: Any, _: bytes, __: ipc.Credentials) -> tuple[Any, bytes]:
            found = self.answer(request)
            return found if isinstance(found, tuple) else (found, b"")

        async def serve() -> None:
            for path, union in sockets:
                await ipc.serve(ipc.listen(path), union, handler, allow=lambda _: True, on_fault=lambda _: None)
            ready.set()

        def work() -> None:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(serve())
            loop.run_forever()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert ready.wait(5)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)


def keeper_for_web() -> FakeKeeper:
    tokens = {TOKEN}

    def login(request: requests.OneTimeLogin) -> Any:
        if request.token in tokens:
            tokens.discard(request.token)
            return requests.Rows(({"user": "reviewer"},))
        return requests.Failed("no such login", 1)

    return FakeKeeper({
        requests.GetMetrics: requests.Rows(({"text": "gateway_ready 1.0\n"},)),
        requests.Health: requests.Rows(({"state": "ok", "ready": True, "lacks": ""},)),
        requests.ListHeld: requests.Rows((HELD, SEALED)), requests.OneTimeLogin: login,
    })  # fmt: skip


def config_file(folder: Path, extra: str = "", *, address: str = "127.0.0.1:0") -> Path:
    path = folder / "gateway.toml"
    path.write_text(
        f'hostname = "gw.dept.gov.in"\nstate_dir = "{folder / "state"}"\n{extra}\n[[listen]]\ndoor = "web"\naddress = "{address}"\n'
    )
    (folder / "state" / "run").mkdir(parents=True, exist_ok=True)
    return path
