"""Sign-ins asked of a next hop, good and hostile (hostile-inputs catalogue S37, O08)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.wire.smtp_client import Capabilities, HopReply, UnsafeCommand, auth_login, auth_plain
from tests.hostile_hop import CLOSE, SILENT
from tests.test_logins import Room, config_for
from tests.test_smtp_client import certificates, server_context

__all__ = ["certificates"]
LOGIN, SECRET = "so.home@dept.gov.in", "right ☂ one"


@dataclass
class AuthHop:
    """A server that knows one password. *answer*: what it says to wrong credentials (bytes, CLOSE or SILENT), or to right ones too."""

    tls: ssl.SSLContext | None
    implicit: bool = False
    mechanisms: str = "AUTH PLAIN LOGIN"
    answer: Any = b"535 5.7.8 no\r\n"
    always: bool = False
    secret: str = SECRET
    asked: list[tuple[str, str]] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    in_clear: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def __aenter__(self) -> AuthHop:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls if self.implicit else None)
        self.port = self.server.sockets[0].getsockname()[1]
        self._tasks: set[Any] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        self.connections += 1
        with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, OSError):
            await self._talk(reader, writer)
        writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secure = self.implicit
        writer.write(b"220 hop ESMTP\r\n")
        while line := await reader.readline():
            (self.lines if secure else self.in_clear).append(line)
            verb = line[:4].upper()
            if verb == b"EHLO":
                offer = [self.mechanisms] if secure else ["AUTH PLAIN LOGIN", *(["STARTTLS"] if self.tls is not None else [])]
                writer.write(b"".join(f"250-{one}\r\n".encode() for one in ["hop", *offer]) + b"250 HELP\r\n")
            elif verb == b"STAR":
                writer.write(b"220 go\r\n")
                assert self.tls is not None
                await writer.start_tls(self.tls)
                secure = True
            elif verb == b"AUTH":
                words = line.split()
                if words[1].upper() == b"LOGIN":
                    writer.write(b"334 VXNlcm5hbWU6\r\n")
                    name = base64.b64decode(await reader.readline()).decode()
                    writer.write(b"334 UGFzc3dvcmQ6\r\n")
                    secret = base64.b64decode(await reader.readline()).decode()
                else:
                    if len(words) < 3:
                        writer.write(b"334 \r\n")
                        words.append(await reader.readline())
                    assert len(line) <= 512
                    _, name, secret = base64.b64decode(words[2]).decode().split("\0")
                self.asked.append((name, secret))
                right = (name.lower(), secret) == (LOGIN, self.secret)
                if right and not self.always:
                    writer.write(b"235 2.7.0 yes\r\n")
                elif self.answer is CLOSE:
                    return
                elif self.answer is SILENT:
                    await asyncio.sleep(60)
                else:
                    writer.write(self.answer)
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                return
            else:
                writer.write(b"501 5.5.2 what\r\n")


@pytest.fixture
async def hop(certificates: Path) -> AsyncIterator[AuthHop]:
    async with AuthHop(server_context(certificates, "good")) as made:
        yield made


def room_for(hop: AuthHop, certificates: Path, *, limits: Any = None, **submission: Any) -> Room:
    wanted = {
        "check": "next-hop", "next_hop": f"127.0.0.1:{hop.port}", "tls_ca": certificates / "ca.pem", "tls_name": "hop.test",
        "implicit_tls": hop.implicit, **submission,
    }  # fmt: skip
    return Room(config_for(None, submission=wanted, limits=limits or {}))


# --- the words -------------------------------------------------------------------------------------------------------


def test_auth_lines() -> None:
    assert auth_plain("a@b.in", "पास".encode()) == [b"AUTH PLAIN " + base64.b64encode(b"\0a@b.in\0" + "पास".encode()) + b"\r\n"]
    long = auth_plain("a" * 100, b"x" * 900)
    assert long[0] == b"AUTH PLAIN\r\n"
    assert len(long) == 2
    assert auth_login("a", b"b") == [b"AUTH LOGIN\r\n", b"YQ==\r\n", b"Yg==\r\n"]
    for name, secret in (("", b"x"), ("a", b""), ("a\0b", b"x"), ("a", b"x\0y")):
        with pytest.raises(UnsafeCommand):
            auth_plain(name, secret)
        with pytest.raises(UnsafeCommand):
            auth_login(name, secret)


def test_mechanisms_of_an_ehlo_reply() -> None:
    assert Capabilities.parse(HopReply(250, ("hop", "auth plain Login", "AUTH=XOAUTH2"))).auth == {"PLAIN", "LOGIN", "XOAUTH2"}
    assert Capabilities.parse(HopReply(250, ("hop", "AUTHX PLAIN"))).auth == frozenset()


# --- asking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanisms", ["AUTH PLAIN LOGIN", "AUTH LOGIN", "AUTH=PLAIN"])
async def test_the_hop_is_shown_the_same_credentials(hop: AuthHop, certificates: Path, mechanisms: str) -> None:
    hop.mechanisms = mechanisms
    room = room_for(hop, certificates)
    answer = await room.ask("So.Home@dept.gov.in", SECRET)
    assert answer.reply.code == 235
    assert answer.login == LOGIN
    assert answer.senders == (LOGIN,)
    assert hop.asked == [("So.Home@dept.gov.in", SECRET)]
    assert await room.code(LOGIN, "wrong") == 535
    assert not [line for line in hop.in_clear if line[:4] == b"AUTH"]
    await room.sign_ins.stop()


async def test_a_long_password_goes_in_a_line_of_its_own(hop: AuthHop, certificates: Path) -> None:
    hop.secret = "x" * 900
    room = room_for(hop, certificates)
    assert await room.code(LOGIN, "x" * 900) == 235
    await room.sign_ins.stop()


async def test_implicit_tls(certificates: Path) -> None:
    async with AuthHop(server_context(certificates, "good"), implicit=True) as hop:
        room = room_for(hop, certificates)
        assert await room.code(LOGIN, SECRET) == 235
        await room.sign_ins.stop()
    async with AuthHop(server_context(certificates, "self"), implicit=True) as hop:
        room = room_for(hop, certificates)
        assert await room.code(LOGIN, SECRET) == 454
        assert hop.asked == []
        await room.sign_ins.stop()


@pytest.mark.parametrize("certificate", ["self", "expired", "name", "none"])
async def test_O08_nothing_is_shown_without_verified_tls(certificates: Path, certificate: str) -> None:
    tls = None if certificate == "none" else server_context(certificates, "good" if certificate == "name" else certificate)
    async with AuthHop(tls) as hop:
        room = room_for(hop, certificates, tls_name="other.test" if certificate == "name" else "hop.test")
        answer = (await room.ask(LOGIN, SECRET)).reply
        assert (answer.code, answer.enhanced) == (454, "4.7.0")
        assert hop.asked == []
        assert not [line for line in hop.in_clear + hop.lines if line[:4] == b"AUTH"]
        await room.sign_ins.stop()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"535 5.7.8 no\r\n", 535), (b"535 no\r\n", 535), (b"525 5.7.13 disabled\r\n", 535), (b"554 5.7.8 no\r\n", 535),
        (b"454 4.7.0 later\r\n", 454), (b"421 4.3.2 bye\r\n", 454), (b"432 4.7.12 change it\r\n", 454), (b"534 5.7.9 too weak\r\n", 454),
        (b"538 5.7.11 encrypt\r\n", 454), (b"504 5.5.4 what\r\n", 454), (b"250 2.0.0 fine\r\n", 454), (b"334 more\r\n", 454),
        (b"235-2.7.0 yes\r\n535 no\r\n", 454), (b"999 x\r\n", 454), (b"235", 454), (CLOSE, 454), (SILENT, 454),
    ],
)  # fmt: skip
async def test_S37_only_235_is_a_yes(hop: AuthHop, certificates: Path, answer: Any, code: int) -> None:
    hop.answer, hop.always = answer, True
    room = room_for(hop, certificates, limits={"relay_command": 0.3})
    assert await room.code(LOGIN, SECRET) == code
    await room.sign_ins.stop()


async def test_a_hop_that_offers_no_auth_is_away(hop: AuthHop, certificates: Path) -> None:
    hop.mechanisms = "AUTH GSSAPI XOAUTH2"
    room = room_for(hop, certificates)
    assert await room.code(LOGIN, SECRET) == 454
    assert hop.asked == []
    await room.sign_ins.stop()


async def test_a_hop_that_is_down_is_left_alone_for_a_while(certificates: Path) -> None:
    async with AuthHop(server_context(certificates, "good")) as hop:
        room = room_for(hop, certificates)
    for number in range(50):
        assert await room.code(f"u{number}@dept.gov.in", SECRET, ip=f"10.1.{number}.1") == 454
    assert hop.connections == 0
    await room.sign_ins.stop()


async def test_S37_no_word_of_the_hop_and_no_password_is_logged(
    hop: AuthHop, certificates: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hop.answer, hop.always = f"454 4.7.0 {base64.b64encode(SECRET.encode()).decode()} hunter2\r\n".encode(), True
    room = room_for(hop, certificates)
    answer = await room.ask(LOGIN, "hunter2")
    assert answer.reply.code == 454
    text = repr([row.document for row in await room.lines()]) + "".join(capfd.readouterr()) + str(answer.reply)
    assert "hunter2" not in text
    assert base64.b64encode(SECRET.encode()).decode() not in text
    await room.sign_ins.stop()


# --- remembering -----------------------------------------------------------------------------------------------------


async def test_a_yes_is_remembered_for_a_while(hop: AuthHop, certificates: Path) -> None:
    room = room_for(hop, certificates, cache=300)
    for _ in range(20):
        assert await room.code(LOGIN, SECRET) == 235
    assert len(hop.asked) == 1
    assert SECRET.encode() not in repr(vars(room.sign_ins._asking)).encode()
    assert await room.code(LOGIN, SECRET + " ") == 535, "of this password alone"
    room.time.advance(301)
    assert await room.code(LOGIN, SECRET) == 235
    assert len(hop.asked) == 3
    await room.sign_ins.stop()


async def test_a_cache_of_nothing_asks_each_time(hop: AuthHop, certificates: Path) -> None:
    room = room_for(hop, certificates, cache=0)
    for _ in range(5):
        assert await room.code(LOGIN, SECRET) == 235
    assert len(hop.asked) == 5
    await room.sign_ins.stop()


async def test_the_same_at_once_is_one_question(hop: AuthHop, certificates: Path) -> None:
    room = room_for(hop, certificates)
    assert set(await asyncio.gather(*(room.code(LOGIN, SECRET) for _ in range(30)))) == {235}
    assert len(hop.asked) == 1
    await room.sign_ins.stop()


async def test_S37_the_same_wrong_password_is_shown_once(hop: AuthHop, certificates: Path) -> None:
    room = room_for(hop, certificates)
    codes = [await room.code(LOGIN, "last year's", ip=f"10.1.{number}.1") for number in range(30)]
    assert codes == [535] * 30
    assert len(hop.asked) == 1
    room.time.advance(3601)
    await room.code(LOGIN, "last year's")
    assert len(hop.asked) == 2
    room.time.advance(3601)
    await room.code(LOGIN, "last year's")
    assert len(hop.asked) == 2, "two hours the second time"
    await room.sign_ins.reload(room.sign_ins._config)
    await room.code(LOGIN, "last year's")
    assert len(hop.asked) == 3, "a reload forgets"
    await room.sign_ins.stop()


async def test_S37_the_hop_sees_few_wrong_passwords_of_a_login(hop: AuthHop, certificates: Path) -> None:
    room = room_for(hop, certificates)
    attack = [await room.code(LOGIN, f"guess {number}", ip=f"203.0.113.{number}") for number in range(20)]
    assert attack == [535] * 2 + [454] * 18, "strangers get all but the last of the questions"
    assert len(hop.asked) == 2
    assert await room.code(LOGIN, SECRET, ip="10.1.0.1") == 235, "its owner at the office has the last one"
    attack = [await room.code(LOGIN, f"another {number}", ip=f"203.0.113.{number}") for number in range(20)]
    assert set(attack) == {454}
    room.time.advance(301)
    assert await room.code(LOGIN, SECRET, ip="198.51.100.7") == 235, "what was right last time is asked in any case"
    assert await room.code("other@dept.gov.in", "x", ip="198.51.100.8") == 535, "each login for itself"
    room.time.advance(901)
    assert await room.code(LOGIN, "guess again", ip="203.0.113.9") == 535
    await room.sign_ins.stop()


async def test_S37_guesses_that_are_not_asked_count_too(hop: AuthHop, certificates: Path) -> None:
    room = room_for(hop, certificates)
    assert await room.code(LOGIN, SECRET, ip="10.1.0.1") == 235
    room.time.advance(301)
    for number in range(60):
        await room.code(LOGIN, f"guess {number}", ip="203.0.113.1")
    assert await room.code(LOGIN, SECRET, ip="203.0.113.1") == 454, "else the right one could be told from the wrong ones"
    await room.sign_ins.stop()


async def test_S37_a_burst_does_not_overtake_the_first_answer(hop: AuthHop, certificates: Path) -> None:
    room = room_for(hop, certificates)
    await asyncio.gather(*(room.code(LOGIN, f"guess {number}", ip=f"10.2.{number}.1") for number in range(60)))
    assert len(hop.asked) <= 3
    await room.sign_ins.stop()


async def test_a_hop_that_breaks_off_has_seen_the_password(hop: AuthHop, certificates: Path) -> None:
    hop.answer = CLOSE
    room = room_for(hop, certificates)
    for number in range(10):
        assert await room.code(LOGIN, f"guess {number}") == 454
    assert len(hop.asked) == 3
    await room.sign_ins.stop()


async def test_S37_what_cannot_be_right_is_not_shown(hop: AuthHop, certificates: Path, tmp_path: Path) -> None:
    path = tmp_path / "logins.toml"
    path.write_text('[[login]]\nname = "so.home@dept.gov.in"\nnetworks = ["10.1.0.0/16"]\nsenders = ["section@dept.gov.in"]\n')
    path.chmod(0o600)
    room = room_for(hop, certificates, logins=path)
    for login, secret in [(LOGIN, ""), (LOGIN, "x" * 2000), (LOGIN, "a\0b"), ("someone@other.gov.in", SECRET), ("bare", SECRET), ("", "x")]:
        assert await room.code(login, secret) == 535
    assert await room.code(LOGIN, SECRET, ip="10.2.0.1") == 535, "from an address where it may not be used"
    assert hop.connections == 0
    assert (await room.ask(LOGIN, SECRET)).senders == (LOGIN, "section@dept.gov.in")
    await room.sign_ins.stop()


async def test_without_next_hop_the_route_of_the_logins_domain_is_asked(hop: AuthHop, certificates: Path) -> None:
    route = {"domains": ("dept.gov.in",), "next_hop": f"127.0.0.1:{hop.port}", "tls": "none", "tls_ca": certificates / "ca.pem",
             "tls_name": "hop.test"}  # fmt: skip
    room = Room(config_for(None, submission={"check": "next-hop"}, route=(route,)))
    assert await room.code(LOGIN, SECRET) == 235
    assert not [line for line in hop.in_clear if line[:4] == b"AUTH"], "in TLS, whatever the route says of mail"
    await room.sign_ins.stop()
