"""The submission doors on loopback: signing in, the sender's right, who may come from where, implicit TLS, certificates anew."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import smtplib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway import ipc
from gateway.address import Path as Mailbox
from gateway.cli import check
from gateway.config import ConfigError, Limits, Tls
from gateway.doors import peers, service, tls
from gateway.doors.door import Settings
from gateway.doors.peers import KeeperLink
from gateway.doors.submission import not_yours
from gateway.envelope import Door as DoorName
from gateway.envelope import Peer
from gateway.message import prescan, views
from gateway.policy.identity import owns
from gateway.reply import Reply
from gateway.requests import Authenticate, Authenticated, Done, DoorRequest, Exceptions, Failed, GetExceptions

from .smtp_door import OURS, Client, Running, make_certificate, make_config, running

CONVERSATIONS = Path(__file__).parent / "conversations" / "smtp" / "submission"
LOGIN = f"a@{OURS}"
SENDERS = (LOGIN, f"tenders@{OURS}", f"@otp.{OURS}")
MESSAGE = f"From: {LOGIN}\r\nSubject: x\r\n\r\nhello\r\n".encode()


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """The loop that the doors run on."""
    return uvloop.EventLoopPolicy()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def plain(login: str, password: str, identity: str = "") -> str:
    return "AUTH PLAIN " + base64.b64encode(f"{identity}\0{login}\0{password}".encode()).decode()


def config(door: str = "submission", *, listed: bool = False, listen: dict[str, Any] | None = None, **more: Any) -> Any:
    one = {"door": door, "address": "127.0.0.1:0", **(listen or {})}
    return make_config(listed=listed, listen=[one], **more)


class _Submission:
    """``running`` for one listener, with one login."""

    def __init__(self, certificate: Tls, **settings: Any) -> None:
        self._running = running(config(**settings), tls=tls.context(certificate), address="127.0.0.1:0")

    async def __aenter__(self) -> Running:
        door = await self._running.__aenter__()
        door.memory.logins[LOGIN] = ("right", SENDERS)
        return door

    async def __aexit__(self, *error: Any) -> None:
        await self._running.__aexit__(*error)


async def under_tls(door: Running) -> Client:
    """A client of port 587 after STARTTLS and EHLO."""
    client = await door.connect()
    assert "STARTTLS" in await client.ask("EHLO client.example")
    assert (await client.ask("STARTTLS")).startswith("220")
    await client.secure()
    await client.ask("EHLO client.example")
    return client


@pytest.mark.parametrize("file", sorted(CONVERSATIONS.glob("*.txt")), ids=lambda file: file.stem)
async def test_S36_S37_S38_S39_S41_conversation(file: Path, certificate: Tls) -> None:
    """Under implicit TLS, but for those whose name begins with ``clear``: they are on port 587 before STARTTLS."""
    clear = file.stem.startswith("clear")
    async with _Submission(certificate, door="submission" if clear else "smtps") as door:
        client = await door.connect(greeted=False, tls=not clear)
        await client.converse(file, door)


async def test_a_message_over_starttls(certificate: Tls) -> None:
    async with _Submission(certificate) as door:
        client = await under_tls(door)
        assert (await client.ask(plain(LOGIN.upper(), "right"))).startswith("235 2.7.0")
        await client.envelope("somebody@gmail.com", sender=f"tenders@{OURS}")
        assert (await client.ask(MESSAGE + b".")).startswith("250 2.0.0")
        ((tx, content),) = door.memory.messages
        assert content == MESSAGE
        assert (tx.door, tx.verified_originator, tx.department) == (DoorName.SUBMISSION, True, OURS)
        peer = tx.peer
        assert (peer.user, peer.senders, peer.tls_version, peer.listed, peer.through) == (LOGIN, SENDERS, "TLSv1.3", False, "")
        assert door.memory.sign_ins == [(LOGIN.upper(), "127.0.0.1", "submission")]
        assert door.memory.asked == []  # the next hop is asked about recipients for strangers only


async def test_a_message_over_implicit_tls_and_a_later_ehlo_keeps_the_login(certificate: Tls) -> None:
    async with _Submission(certificate, door="smtps") as door:
        client = await door.connect(tls=True)
        said = await client.ask("EHLO client.example")
        assert "AUTH PLAIN LOGIN" in said
        assert "STARTTLS" not in said
        assert (await client.ask(plain(LOGIN, "right"))).startswith("235")
        await client.start(sender=LOGIN)
        assert (await client.ask(MESSAGE + b".")).startswith("250")
        tx, _ = door.memory.messages[0]
        assert (tx.door, tx.peer.user, tx.peer.tls_version) == (DoorName.SUBMISSION, LOGIN, "TLSv1.3")
        assert (await client.ask("QUIT")).startswith("221")
        assert await client.closed()


async def test_S36_a_login_before_starttls_does_not_count_after_it(certificate: Tls) -> None:
    async with _Submission(certificate) as door:
        client = await door.connect()
        assert "AUTH" not in await client.ask("EHLO client.example")
        assert (await client.ask(plain(LOGIN, "right"))).startswith("538 5.7.11")
        assert (await client.ask("STARTTLS")).startswith("220")
        await client.secure()
        assert "AUTH PLAIN LOGIN" in await client.ask("EHLO client.example")
        assert (await client.ask(f"MAIL FROM:<{LOGIN}>")).startswith("530 5.7.0")
        assert door.memory.sign_ins == []


async def test_a_listed_network_is_no_login(certificate: Tls) -> None:
    async with _Submission(certificate, listed=True) as door:
        client = await under_tls(door)
        assert (await client.ask(f"MAIL FROM:<{LOGIN}>")).startswith("530 5.7.0")


@pytest.mark.parametrize(
    "answer",
    [
        Authenticated(Reply(454, "4.7.0", "Not now.")),
        Authenticated(Reply(235, "2.7.0", "Signed in.")),  # without a login
        Authenticated(Reply(250, "2.0.0", "Ok"), LOGIN, SENDERS),
        ConnectionError("the keeper is away"),
    ],
)
async def test_a_keeper_that_cannot_say_is_not_a_yes(certificate: Tls, answer: Authenticated | Exception) -> None:
    async with _Submission(certificate, door="smtps") as door:
        door.memory.login_answer = answer
        client = await door.connect(tls=True)
        await client.ask("EHLO client.example")
        for _ in range(5):  # no wrong password: it does not end the session
            assert (await client.ask(plain(LOGIN, "right"))).startswith("454 4.7.0")
        assert (await client.ask(f"MAIL FROM:<{LOGIN}>")).startswith("530")


async def test_S37_the_limit_is_the_configs_and_a_right_password_does_not_reset_it(certificate: Tls) -> None:
    async with _Submission(certificate, door="smtps", limits={"auth_failures": 1}) as door:
        client = await door.connect(tls=True)
        await client.ask("EHLO client.example")
        assert (await client.ask(plain(LOGIN, "wrong"))).startswith("421 4.7.0")
        assert await client.closed()
        assert door.door.counters["logins refused"] == 1


async def test_S37_who_guesses_waits_for_each_answer(certificate: Tls) -> None:
    async with _Submission(certificate, door="smtps") as door:
        door.door.error_delay = 0.3
        client = await door.connect(tls=True)
        await client.ask("EHLO client.example")
        before = asyncio.get_running_loop().time()
        assert (await client.ask(plain(LOGIN, "wrong"))).startswith("535 5.7.8")
        assert asyncio.get_running_loop().time() - before > 0.25


async def test_S38_no_secret_in_any_log(certificate: Tls, capfd: pytest.CaptureFixture[str]) -> None:
    async with _Submission(certificate, door="smtps") as door:
        client = await door.connect(tls=True)
        await client.ask("EHLO client.example")
        for line in (
            plain(LOGIN, "hunter2"),
            plain("hunter2", "wrong"),
            plain(LOGIN, "hunter2", "boss"),
            "AUTH PLAIN aHVudGVyMg==",
            "AUTH LOGIN aHVudGVyMg== x",
        ):
            await client.ask(line)
        door.memory.login_answer = ConnectionError("hunter2")  # a fault that quotes what it was given
        client = await door.connect(tls=True)
        await client.ask("EHLO client.example")
        assert (await client.ask(plain(LOGIN, "hunter2"))).startswith("454")
        door.memory.login_answer = None
        assert (await client.ask(plain(LOGIN, "right"))).startswith("235")
    logged = "".join(capfd.readouterr())
    assert "login_failed" in logged
    assert "hunter2" not in logged
    assert "aHVudGVyMg" not in logged
    assert "hunter2" not in repr(door.memory.refusals)


async def test_S39_is_recorded(certificate: Tls) -> None:
    async with _Submission(certificate, door="smtps") as door:
        client = await door.connect(tls=True)
        await client.ask("EHLO client.example")
        await client.ask(plain(LOGIN, "right"))
        assert (await client.ask(f"MAIL FROM:<minister@{OURS}>")).startswith("553 5.7.1")
        (refusal,) = door.memory.refusals
        assert (refusal.rule, refusal.user, refusal.sender, refusal.door) == ("sender-not-owned", LOGIN, f"minister@{OURS}", "submission")


def test_S39_patterns_of_senders() -> None:
    assert owns((), Mailbox("", ""))  # read receipts
    assert not owns((), Mailbox("a", OURS))
    assert owns(SENDERS, Mailbox("TENDERS", OURS))
    assert owns(SENDERS, Mailbox("x", f"otp.{OURS}"))
    assert not owns(SENDERS, Mailbox("x", f"a.otp.{OURS}"))
    assert not owns(SENDERS, Mailbox("x", OURS))
    said = not_yours("व्यक्ति" * 40, Mailbox("x" * 64, "d" * 180)).encode()
    assert said.isascii()
    assert all(len(line) <= 510 for line in said.split(b"\r\n"))
    assert said.count(b"\r\n") == 1


# --- who may come from where -------------------------------------------------------------------------------------------

R5 = "554 5.7.1 Your computer's address 127.0.0.1 is not on the list allowed to send official mail. Ask your IT cell to add it."
R6 = "530 5.7.0 Connect through the government VPN and sign in before sending."


@pytest.mark.parametrize("kind", ["smtp", "submission", "smtps"])
async def test_R5_addresses_that_are_not_listed_are_told_so_at_once(certificate: Tls, kind: str) -> None:
    async with _Submission(certificate, door=kind, listen={"networks": ["10.0.0.0/8"]}) as door:
        client = await door.connect(greeted=False, tls=kind == "smtps")
        assert await client.reply() == R5
        assert await client.closed()
        (refusal,) = door.memory.refusals
        assert (refusal.rule, refusal.client_ip, str(refusal.reply)) == ("address-not-listed", "127.0.0.1", R5)
    async with _Submission(certificate, door=kind, listen={"networks": ["127.0.0.0/8"]}) as door:
        await door.connect(tls=kind == "smtps")


async def test_R6_who_is_not_in_the_vpn_is_told_so_and_no_password_is_taken(certificate: Tls) -> None:
    async with _Submission(certificate, submission={"vpn": ["10.8.0.0/16"]}) as door:
        client = await under_tls(door)
        assert "AUTH" not in await client.ask("EHLO client.example")
        assert await client.ask("AUTH LOGIN") == R6
        assert await client.ask(plain(LOGIN, "right")) == R6
        assert await client.ask(f"MAIL FROM:<{LOGIN}>") == R6
        assert door.memory.sign_ins == []
    async with _Submission(certificate, submission={"vpn": ["127.0.0.0/8"]}) as door:
        client = await under_tls(door)
        assert (await client.ask(plain(LOGIN, "right"))).startswith("235")


@pytest.mark.parametrize(
    ("more", "lack"),
    [
        ({}, "submission on 127.0.0.1:587 needs [tls] with certificate and key"),
        ({"tls": True}, "[submission] logins"),
        ({"submission": {"check": "next-hop"}}, "needs [tls]"),
        ({"tls": True, "submission": {"check": "next-hop"}}, ""),
        ({"tls": True, "submission": {"logins": "/etc/gateway/logins.toml"}}, ""),
    ],
)
def test_doors_that_lack_what_they_need_do_not_start(certificate: Tls, more: dict[str, Any], lack: str) -> None:
    given = config(listen={"address": "127.0.0.1:587"}, **{**more, "tls": certificate if more.get("tls") else Tls()})
    if lack:
        with pytest.raises(ConfigError, match=re.escape(lack)):
            service.served(given)
    else:
        assert [one.door for one in service.served(given)] == ["submission"]
    assert [finding.state for finding in check._doors(given)][:1] == ["wrong" if lack else "ok"]


def test_a_network_that_must_sign_in_needs_a_door_to_do_so() -> None:
    given = make_config(originators={"require_auth": True}, listen=[{"door": "smtp", "address": "127.0.0.1:25"}])
    assert [finding.state for finding in check._doors(given)] == ["wrong"]
    relaying = Settings.make(given, lambda sender, recipient, peer: None, None).relaying
    refused = relaying.check(Mailbox("a", OURS), Mailbox("b", "gov.in"), Peer("127.0.0.1", listed=True))
    assert refused is not None
    assert str(refused.reply).startswith("530 5.7.0 Official mail is sent through the submission port")
    assert relaying.check(Mailbox("a", OURS), Mailbox("postmaster", OURS), Peer("127.0.0.1", listed=True)) is None


# --- TLS ----------------------------------------------------------------------------------------------------------------


async def test_S35_handshakes_on_the_implicit_port(certificate: Tls) -> None:
    async with _Submission(certificate, door="smtps", limits={"tls_handshake": 0.3}) as door:
        silent = await door.connect(greeted=False)
        assert await silent.closed()  # nothing came
        clear = await door.connect(greeted=False)
        clear.write(b"EHLO client.example\r\n" * 20)
        assert b"220" not in await asyncio.wait_for(clear.reader.read(), 5)
        await asyncio.sleep(0.05)
        assert door.door.sessions == set()
        assert door.door.counters["tls_failures"] == 2
        await door.connect(tls=True)


async def test_sessions_over_the_limit_get_no_handshake(certificate: Tls) -> None:
    async with _Submission(certificate, door="smtps", limits={"connections": 1}) as door:
        await door.connect(tls=True)
        client = await door.connect(greeted=False)
        assert await client.closed()
        assert door.door.counters["over the session cap"] == 1


@pytest.mark.parametrize("kind", ["submission", "smtps"])
async def test_a_new_certificate_reaches_new_sessions_and_breaks_no_old_one(certificate: Tls, tmp_path: Path, kind: str) -> None:
    async def shown(door: Running) -> tuple[Client, bytes | None]:
        client = await under_tls(door) if kind == "submission" else await door.connect(tls=True)
        found: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
        return client, found.getpeercert(binary_form=True)

    async with _Submission(certificate, door=kind) as door:
        old, first = await shown(door)
        now = door.door.settings
        renewed = tls.context(make_certificate(tmp_path))
        door.door.settings = Settings.make(now.config, lambda sender, recipient, peer: None, renewed)
        new, second = await shown(door)
        assert first != second
        for client in (old, new):
            await client.ask("EHLO client.example")
            assert (await client.ask(plain(LOGIN, "right"))).startswith("235")
            assert (await client.ask(f"MAIL FROM:<{LOGIN}>")).startswith("250")


async def test_a_reload_changes_who_may_come(certificate: Tls) -> None:
    async with _Submission(certificate, door="smtps") as door:
        await door.connect(tls=True)
        changed = config("smtps", listen={"networks": ["10.0.0.0/8"]})
        door.door.settings = Settings.make(changed, lambda sender, recipient, peer: None, tls.context(certificate))
        client = await door.connect(greeted=False, tls=True)
        assert await client.reply() == R5


async def test_O13_a_stop_ends_sessions_and_handshakes(certificate: Tls) -> None:
    async with _Submission(certificate, door="smtps") as door:
        idle = await door.connect(tls=True)
        asked = await door.connect(tls=True)
        await asked.ask("EHLO client.example")
        assert (await asked.ask("AUTH LOGIN")).startswith("334")
        await door.connect(greeted=False)  # in its handshake
        await door.door.drain(0.3)
        assert (await idle.reply()).startswith("421 4.3.2")
        assert (await asked.reply()).startswith("421 4.3.2")
        assert door.door.sessions == set()


@pytest.fixture
async def both(certificate: Tls) -> AsyncIterator[tuple[Running, Running]]:
    async with _Submission(certificate) as starttls, _Submission(certificate, door="smtps") as implicit:
        yield starttls, implicit


async def test_an_ordinary_client_sends_through_both_ports(certificate: Tls, both: tuple[Running, Running]) -> None:
    """Python's own client, which checks name and certificate, with PLAIN and with LOGIN."""
    trusting = ssl.create_default_context(cafile=str(certificate.certificate))

    def send(port: int, *, implicit: bool, mechanism: str) -> None:
        client = smtplib.SMTP_SSL(timeout=10, context=trusting) if implicit else smtplib.SMTP(timeout=10)
        client._host = "gw.dept.gov.in"  # type: ignore[union-attr]  # the name that the certificate must carry
        if implicit:
            client._get_socket = lambda _host, port, timeout: trusting.wrap_socket(  # type: ignore[union-attr]
                smtplib.socket.create_connection(("127.0.0.1", port), timeout), server_hostname="gw.dept.gov.in"
            )
        client.connect("127.0.0.1", port)
        client._host = "gw.dept.gov.in"  # type: ignore[union-attr]
        if not implicit:
            client.starttls(context=trusting)
        client.ehlo("client.example")
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail(LOGIN, ["b@gov.in"], MESSAGE)
        client.user, client.password = LOGIN, "right"
        client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
        client.sendmail(LOGIN, ["b@gov.in"], MESSAGE)
        client.quit()

    for door, implicit in zip(both, (False, True), strict=True):
        for mechanism in ("PLAIN", "LOGIN"):
            await asyncio.to_thread(send, door.port, implicit=implicit, mechanism=mechanism)
        assert [tx.peer.user for tx, _ in door.memory.messages] == [LOGIN, LOGIN]


# --- the keeper is asked ------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def keeper(folder: Path, answer: Callable[[Authenticate], Any]) -> AsyncIterator[KeeperLink]:
    """A link to a keeper that answers sign-ins with *answer*."""
    seen: list[Authenticate] = []

    async def handle(request: Any, _: bytes, __: ipc.Credentials) -> tuple[Any, bytes]:
        if isinstance(request, Authenticate):
            seen.append(request)
            found = answer(request)
            return (await found if asyncio.iscoroutine(found) else found), b""
        return (Exceptions("v", ()) if isinstance(request, GetExceptions) else Done()), b""

    given = make_config(state_dir=folder)
    (folder / "run").mkdir(exist_ok=True)
    sock = ipc.listen(folder / "run" / "keeper-doors.sock")
    server = await ipc.serve(sock, DoorRequest, handle, allow=lambda _: True, on_fault=lambda _: None)
    link = KeeperLink(given)
    await link.start()
    try:
        yield link
    finally:
        server.close()
        await link.close()


async def test_a_sign_in_is_asked_of_the_keeper(tmp_path: Path) -> None:
    def answer(request: Authenticate) -> Authenticated:
        assert (request.login, request.password, request.client_ip, request.door) == (LOGIN, "right", "10.1.2.3", "submission")
        return Authenticated(Reply(235, "2.7.0", "Signed in"), LOGIN, SENDERS)

    async with keeper(tmp_path, answer) as link:
        found = await link.authenticate(LOGIN, "right", "10.1.2.3", "submission")
        assert (found.reply.code, found.login, found.senders) == (235, LOGIN, SENDERS)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Authenticated(Reply(535, "5.7.8", "Wrong.")), 535),
        (Authenticated(Reply(454, "4.7.0", "Later.")), 454),
        (Authenticated(Reply(235, "2.7.0", "Yes")), 454),
        (Authenticated(Reply(250, "2.0.0", "Yes"), LOGIN, SENDERS), 454),
        (Failed("no", 3), 454),
        (Done(), 454),
        (None, 454),  # a yes that comes too late
    ],
)
async def test_only_a_plain_yes_is_a_yes(tmp_path: Path, answer: Any, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_LOGIN", 0.2)

    async def too_late() -> Authenticated:
        await asyncio.sleep(2)
        return Authenticated(Reply(235, "2.7.0", "Yes"), LOGIN, SENDERS)

    async with keeper(tmp_path, lambda _: too_late() if answer is None else answer) as link:
        found = await link.authenticate(LOGIN, "right", "10.1.2.3", "submission")
        assert (found.reply.code, found.login, found.senders) == (code, "", ())


async def test_a_keeper_that_is_away_is_a_454(tmp_path: Path) -> None:
    link = KeeperLink(make_config(state_dir=tmp_path))
    assert (await link.authenticate(LOGIN, "right", "10.1.2.3", "submission")).reply.code == 454


# --- what is added to a message -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "undated", "unnamed"),
    [
        (b"", True, True),
        (b"Date: Wed, 18 Nov 2026 11:06:40 +0000\r\n", False, True),
        (b"DATE: never\r\nmessage-id:\r\n", False, False),
        (b"X-Date: x\r\nSubject: Date: x\r\n Message-ID: <a@b>\r\n", True, True),
    ],
)
def test_what_is_absent_is_seen_and_what_is_only_wrong_is_not(fields: bytes, undated: bool, unnamed: bool) -> None:
    content = b"From: a@dept.gov.in\r\n" + fields + b"\r\nDate: in the body\r\nMessage-ID: <in@the.body>\r\n"
    limits = Limits()
    scan = prescan.prescan(content, limits)
    headers = views.summary(views.strict(content, scan, limits), scan)
    assert (headers.undated, headers.unnamed) == (undated, unnamed)
