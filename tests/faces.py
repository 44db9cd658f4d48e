"""A stand-in keeper over real frames, for the tests of the command line and the web page."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from gateway import ipc, requests, review
from gateway.config import Config
from gateway.roles import Act, Grant, may, scope
from gateway.web.application import application
from gateway.web.door import form_token

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
SESSION = "session-of-the-reviewer-0123456789abcdef"
"""The session that the one-time login of ``keeper_for_web`` gives."""
BASE = "http://gw"
ORIGIN = {"origin": BASE}


def person(name: str = "reviewer", *grants: str, **more: Any) -> dict[str, Any]:
    """What ``WhoAmI`` says of *name* with *grants* (none: reviewer everywhere)."""
    held = tuple(Grant.parse(one) for one in grants or ("reviewer",))
    scopes = {str(act): scope(held, act) for act in Act if may(held, act)}
    return {
        "name": name, "email": f"{name}@dept.gov.in", "department": "", "language": "en", "grants": [str(one) for one in held],
        "acts": {act: None if within is None else sorted(within) for act, within in scopes.items()},
        "kind": "person", "password": True, "totp": True, "fresh": False,
    } | more  # fmt: skip


class FakeKeeper:
    """Answers from *answers* (request type -> answer, answer and body, or a callable that gives one of them).

    What comes as a person is taken out of its ``As`` and answered where the credential is one of *sessions* (credential -> what
    ``WhoAmI`` says). ``asked`` is what it was asked, but for the ``WhoAmI`` of every page; ``by`` is who asked it.
    """

    def __init__(self, answers: dict[type, Any], sessions: dict[str, dict[str, Any]] | None = None) -> None:
        self.answers = answers
        self.sessions = sessions if sessions is not None else {}
        self.asked: list[Any] = []
        self.by: list[str] = []

    def answer(self, request: Any) -> Any:
        who: dict[str, Any] = {}
        if isinstance(request, review.As):
            if request.credential not in self.sessions:
                return requests.Failed("your session has ended; please sign in again", requests.SIGNED_OUT)
            who, credential, request = self.sessions[request.credential], request.credential, request.request
            if isinstance(request, review.WhoAmI) and review.WhoAmI not in self.answers:
                return requests.Rows((who,))
            if isinstance(request, review.SignOut):
                self.sessions.pop(credential)
        self.asked.append(request)
        self.by.append(str(who.get("name", "")))
        if isinstance(request, review.SignOut):
            return self.answers.get(review.SignOut, requests.Done())
        found = self.answers.get(type(request), requests.Failed(f"no answer for {type(request).__name__}", 3))
        return found(request) if callable(found) else found

    async def ask(self, request: Any) -> tuple[Any, bytes]:
        found = self.answer(request)
        return found if isinstance(found, tuple) else (found, b"")

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
    """One reviewer, who may come in with ``TOKEN`` once, and two held items."""
    tokens = {TOKEN}

    def redeem(request: review.Redeem) -> Any:
        if request.token not in tokens:
            return requests.Failed("this login was used already, or it is too old; ask for another one", 1)
        tokens.discard(request.token)
        keeper.sessions[SESSION] = person()
        return requests.Rows(({"session": SESSION, "user": "reviewer"},))

    states = {str(HELD["state"]): 1, str(SEALED["state"]): 1}
    counts = {"total": 2, "states": states, "levels": {}, "rules": {}, "departments": {}, "oldest": HELD["created"], "due_soon": 0}
    keeper = FakeKeeper({
        requests.GetMetrics: requests.Rows(({"text": "gateway_ready 1.0\n"},)),
        requests.Health: requests.Rows(({"state": "ok", "ready": True, "lacks": ""},)),
        review.SignInWays: requests.Rows(({"password": True, "oidc": "", "officer": True, "totp": True},)),
        review.OfficerWords: requests.Rows((
            {"language": "en", "languages": [{"code": "en", "name": "English"}], "phrases": {}, "contact": "postmaster@dept.gov.in"},
        )),
        review.FindHeld: requests.Rows((HELD, SEALED)), review.CountHeld: requests.Rows((counts,)),
        review.ListViews: requests.Rows(()), review.ListTokens: requests.Rows(()), review.Redeem: redeem,
    })  # fmt: skip
    return keeper


class OneApplication:
    """The application made once, before the keeper of whichever test asks: for the tests that come by the hundred, one a route."""

    def __init__(self) -> None:
        self._keeper = keeper_for_web()
        self._app = application(Config(hostname="gw.dept.gov.in"), self._ask)

    async def _ask(self, request: Any) -> tuple[Any, bytes]:
        return await self._keeper.ask(request)

    def before(self, keeper: FakeKeeper) -> Any:
        """The application, over *keeper* from now on."""
        self._keeper = keeper
        return self._app


def web_client(keeper: FakeKeeper, config: Config | None = None, base: str = BASE, *, app: Any = None) -> httpx.AsyncClient:
    """A browser without a session, before the application over *keeper*: *app*, else one of its own."""
    app = app or application(config or Config(hostname="gw.dept.gov.in"), keeper.ask)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app, raise_app_exceptions=False), base_url=base)


def signed_in(keeper: FakeKeeper, row: dict[str, Any] | None = None, config: Config | None = None, *, app: Any = None) -> httpx.AsyncClient:
    """A browser with the session of the person *row*, which the keeper knows."""
    row = row or person()
    session = f"session-of-{row['name']}-0123456789abcdef"
    keeper.sessions[session] = row
    web = web_client(keeper, config, app=app)
    web.cookies.set("gateway", session)
    return web


def form(web: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    """The fields of a form of ours in the session of *web*, with its form token."""
    return {"form_token": form_token(web.cookies.get("gateway", "") or "")} | fields


def config_file(folder: Path, extra: str = "", *, address: str = "127.0.0.1:0") -> Path:
    path = folder / "gateway.toml"
    path.write_text(
        f'hostname = "gw.dept.gov.in"\nstate_dir = "{folder / "state"}"\n{extra}\n[[listen]]\ndoor = "web"\naddress = "{address}"\n'
    )
    (folder / "state" / "run").mkdir(parents=True, exist_ok=True)
    return path
