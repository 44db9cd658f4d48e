"""The IMAP door on loopback against the catalogue of hostile inputs, group I, before a server that only remembers."""

from __future__ import annotations

import asyncio
import base64
import ssl
import tracemalloc
from pathlib import Path

import pytest
import structlog
import uvloop

from gateway.envelope import Door as DoorName
from gateway.reply import OUR_FAULT, Reply, ReplyError
from gateway.requests import LoggedIn, Permitted
from gateway.wire.imap import Client as WireClient
from gateway.wire.imap_events import Append, AppendSize, Limits

from .imap_door import Memory, Server, make_certificate, running, server_context
from .smtp_door import OURS

NOTE = b"Subject: a note\r\n\r\nhello\r\n"


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """The loop that the doors run on."""
    return uvloop.EventLoopPolicy()


def append(tag: bytes, *messages: bytes, plus: bytes = b"+", flags: bytes = b"") -> bytes:
    return tag + b" APPEND Drafts" + b"".join(b" %s{%d%s}\r\n" % (flags, len(one), plus) + one for one in messages) + b"\r\n"


# --- the ordinary way --------------------------------------------------------------------------------------------------


async def test_a_session_passes_through(tmp_path: Path) -> None:
    async with running(tmp_path) as door:
        client = await door.connect()
        assert await client.ask(b"a NOOP") == b"a OK NOOP done\r\n"
        await client.login()
        assert door.memory.asked == [("so", "127.0.0.1")]
        assert door.memory.told == [LoggedIn("so", "127.0.0.1", True)]
        assert (await client.ask(b'b LIST "" "*"')) == b"b OK so\r\n"
        client.write(b"c FETCH 1 BODY[]\r\n")
        lines = await client.until(b"c")
        assert b"".join(lines) == b"* 1 FETCH (UID 7 BODY[] {10000}\r\n" + b"x" * 10_000 + b")\r\nc OK done\r\n"
        client.write(b"d LOGOUT\r\n")
        assert await client.rest() == b"* BYE see you\r\nd OK bye\r\n"
    assert door.door.counters["logins"] == 1
    assert not any(name.startswith("closed: ") and name != "closed: stop" for name in door.door.counters), door.door.counters


async def test_I06_capabilities_that_cannot_be_policed_are_hidden_and_their_commands_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as door:
        client = await door.connect(greeted=False)
        greeting = await client.line()
        for hidden in (b"COMPRESS", b"CATENATE", b"URLAUTH", b"PLUS]", b"CRAM", b"-PLUS"):
            assert hidden not in greeting, greeting
        assert b"AUTH=PLAIN" in greeting
        client.write(b"a CAPABILITY\r\n")
        assert b"COMPRESS" not in b"".join(await client.until(b"a"))
        client.write(b'L LOGIN so "pw one"\r\n')
        said = b"".join(await client.until(b"L"))
        for hidden in (b"COMPRESS", b"CATENATE", b"BINARY", b"REPLACE"):
            assert hidden not in said
        for command in (b"COMPRESS DEFLATE", b"GENURLAUTH x INTERNAL", b"URLFETCH x", b"REPLACE 1 Drafts {3+}\r\nabc", b"UNAUTHENTICATE",
                        b"X-UNKNOWN", b"APPEND Drafts CATENATE (URL \"/x\")"):  # fmt: skip
            assert (await client.ask(b"h " + command))[:5] in (b"h NO ", b"h BAD"), command
        for command in (b"COPY 1 Trash", b"UID MOVE 1 Trash"):
            assert (await client.ask(b"m " + command)).startswith(b"m OK")
        assert [one for one in door.server.commands if b"URL" in one or b"COMPRESS" in one or b"REPLACE" in one] == []


# --- signing in --------------------------------------------------------------------------------------------------------


def plain(name: bytes, secret: bytes, identity: bytes = b"") -> bytes:
    return base64.b64encode(identity + b"\0" + name + b"\0" + secret)


async def test_every_way_of_signing_in(tmp_path: Path) -> None:
    async with running(tmp_path) as door:
        one = await door.connect()
        assert (await one.ask(b"a AUTHENTICATE PLAIN " + plain(b"so", b"pw one"))).startswith(b"a OK")
        three = await door.connect()
        three.write(b"a authenticate plain\r\n")
        assert (await three.line()).startswith(b"+")
        three.write(plain(b"so", b"pw one") + b"\r\n")
        assert (await three.line()).startswith(b"a OK")
        four = await door.connect()
        four.write(b"a AUTHENTICATE LOGIN\r\n")
        assert (await four.line()).startswith(b"+ VXNlcm")
        four.write(base64.b64encode(b"so") + b"\r\n")
        assert (await four.line()).startswith(b"+ UGFzc3")
        four.write(base64.b64encode(b"pw one") + b"\r\n")
        assert (await four.line()).startswith(b"a OK")
        five = await door.connect()
        five.write(b"a LOGIN {2}\r\n")
        assert (await five.line()).startswith(b"+")
        five.write(b"so {6}\r\n")
        assert (await five.line()).startswith(b"+")
        five.write(b"pw one\r\n")
        assert (await five.line()).startswith(b"a OK")
        six = await door.connect()
        six.write(b"a LOGIN {2+}\r\nso {6+}\r\npw one\r\n")
        assert (await six.line()).startswith(b"a OK")
        assert [login for login, _ in door.memory.asked] == ["so"] * 5
        assert sum(one.accepted for one in door.memory.told) == 5


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(535, "5.7.8", "The login or the password is wrong."), b"[AUTHENTICATIONFAILED]"),
        (Reply(454, "4.7.0", "Too many wrong passwords."), b"[UNAVAILABLE]"), (Reply(530, "5.7.0", "Use the VPN."), b"[CONTACTADMIN]"),
    ],
)  # fmt: skip
async def test_I12_what_the_keeper_does_not_permit_the_server_never_sees(tmp_path: Path, reply: Reply, code: bytes) -> None:
    async with running(tmp_path, memory=Memory(permitted=Permitted(reply))) as door:
        client = await door.connect()
        said = await client.ask(b'a LOGIN so "pw one"')
        assert said.startswith(b"a NO " + code + b" "), said
        assert reply.text.encode() in said
        client.write(b"b AUTHENTICATE PLAIN\r\n")
        assert (await client.line()).startswith(b"+")
        client.write(plain(b"so", b"pw one") + b"\r\n")
        assert (await client.line()).startswith(b"b NO " + code)
        assert b"pw one" not in door.server.octets
        assert plain(b"so", b"pw one") not in door.server.octets
        assert door.memory.told == []


async def test_I12_three_failures_end_the_session(tmp_path: Path) -> None:
    async with running(tmp_path) as door:
        client = await door.connect()
        for tag in (b"a", b"b"):
            assert (await client.ask(tag + b" LOGIN so wrong")).startswith(tag + b" NO [AUTHENTICATIONFAILED]")
        client.write(b"c LOGIN so wrong\r\nd NOOP\r\n")
        said = await client.rest()
        assert said.startswith(b"c NO [AUTHENTICATIONFAILED]")
        assert b"* BYE Too many failed logins" in said
        assert door.memory.told == [LoggedIn("so", "127.0.0.1", False, True)] * 3


async def test_I12_brute_force_waits_for_its_answers(tmp_path: Path) -> None:
    memory = Memory(permitted=Permitted(Reply(535, "5.7.8", "The login or the password is wrong.")))
    async with running(tmp_path, memory=memory, error_delay=0.2) as door:
        client = await door.connect()
        before = asyncio.get_running_loop().time()
        client.write(b"a LOGIN so x\r\nb LOGIN so y\r\nc LOGIN so z\r\n")
        said = await client.rest()
        assert asyncio.get_running_loop().time() - before >= 0.6
        assert [said.count(tag) for tag in (b"a NO", b"b NO", b"c NO", b"* BYE")] == [1, 1, 1, 1]
        assert door.server.commands == []


async def test_I12_nobody_switches_users_or_acts_for_another(tmp_path: Path) -> None:
    async with running(tmp_path) as door:
        client = await door.connect()
        assert (await client.ask(b"a AUTHENTICATE PLAIN " + plain(b"so", b"pw one", b"boss"))).startswith(b"a NO [AUTHENTICATIONFAILED]")
        assert (await client.ask(b"b AUTHENTICATE CRAM-MD5")).startswith(b"b NO ")
        assert (await client.ask(b"c AUTHENTICATE SCRAM-SHA-256-PLUS")).startswith(b"c NO ")
        client.write(b"d AUTHENTICATE LOGIN\r\n")
        await client.line()
        client.write(base64.b64encode(b"so\nx") + b"\r\n")
        assert (await client.line()).startswith(b"d NO ")
        await client.login()
        assert (await client.ask(f'e LOGIN us@{OURS} "pw two"'.encode()))[:5] in (b"e BAD", b"e NO ")
        assert (await client.ask(b"f UNAUTHENTICATE"))[:5] in (b"f BAD", b"f NO ")
        assert (await client.ask(b'g LIST "" "*"')) == b"g OK so\r\n"


async def test_I12_each_session_files_under_its_own_login(tmp_path: Path) -> None:
    async with running(tmp_path) as door:
        one = await (await door.connect()).login()
        two = await (await door.connect()).login(f"us@{OURS}".encode(), b"pw two")
        one.write(append(b"a", NOTE))
        two.write(append(b"b", NOTE + b"two\r\n"))
        assert (await one.until(b"a"))[-1].startswith(b"a OK")
        assert (await two.until(b"b"))[-1].startswith(b"b OK")
        found = {tx.peer.user: (tx.envelope.sender.text, content) for tx, content in door.memory.messages}
        assert found == {"so": (f"so@{OURS}", NOTE), f"us@{OURS}": (f"us@{OURS}", NOTE + b"two\r\n")}
        assert {name: len(box) for name, box in door.server.boxes.items()} == {"so": 1, f"us@{OURS}": 1}


async def test_a_server_that_cannot_check_is_not_held_against_the_login(tmp_path: Path) -> None:
    server = Server(no={b"LOGIN": b"NO [UNAVAILABLE] The directory is away."})
    async with running(tmp_path, server) as door:
        client = await door.connect()
        assert (await client.ask(b"a LOGIN so x")).startswith(b"a NO [UNAVAILABLE]")
        assert door.memory.told == [LoggedIn("so", "127.0.0.1", False, False)]


async def test_I12_who_is_not_on_the_list_is_told_so(tmp_path: Path) -> None:
    async with running(tmp_path, networks=("10.0.0.0/8",)) as door:
        client = await door.connect(greeted=False)
        said = await client.rest()
        assert said.startswith(b"* BYE [ALERT] Your computer's address 127.0.0.1 ")
        assert said.count(b"\r\n") == 1
        assert door.server.received == []
        assert door.memory.refusals[0].rule == "address-not-listed"


# --- TLS ---------------------------------------------------------------------------------------------------------------


async def test_I01_nothing_is_taken_in_clear(tmp_path: Path) -> None:
    async with running(tmp_path, starttls=True) as door:
        client = await door.connect(greeted=False)
        assert await client.line() == b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] Start TLS and sign in\r\n"
        client.write(b"a CAPABILITY\r\n")
        assert (await client.until(b"a"))[0] == b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n"
        assert (await client.ask(b'b LOGIN so "pw one"')).startswith(b"b NO [PRIVACYREQUIRED]")
        assert (await client.ask(b"c AUTHENTICATE PLAIN " + plain(b"so", b"pw one")))[:4] == b"c NO"
        assert (await client.ask(b"d SELECT INBOX")).startswith(b"d BAD")
        assert (await client.ask(b"e NOOP")).startswith(b"e OK")
        assert door.server.received == []
        assert (await client.ask(b"f STARTTLS")).startswith(b"f OK")
        await client.start_tls()
        await client.login()
        assert (await client.ask(b'b LIST "" "*"')) == b"b OK so\r\n"
        client.write(b"z LOGOUT\r\n")
        assert await client.rest() == b"* BYE see you\r\nz OK bye\r\n"


async def test_I01_what_is_injected_behind_STARTTLS_is_thrown_away(tmp_path: Path) -> None:
    async with running(tmp_path, starttls=True) as door:
        client = await door.connect()
        client.write(b'a STARTTLS\r\nx LOGIN so "pw one"\r\ny SELECT INBOX\r\n')
        assert (await client.line()).startswith(b"a OK")
        try:
            await client.start_tls()
            assert (await client.ask(b"b NOOP")) == b"b OK NOOP done\r\n"
        except (ssl.SSLError, ConnectionError):
            pass  # the injected octets came where the handshake should be
        assert b"LOGIN" not in door.server.octets
        assert door.memory.asked == []


@pytest.mark.parametrize("greeting", [b"* PREAUTH signed in\r\n", b"* BYE no\r\n", b"220 smtp\r\n", b"x" * 10_000, b"* OK"])
async def test_I01_a_greeting_that_is_not_OK_ends_the_session(tmp_path: Path, greeting: bytes) -> None:
    async with running(tmp_path, Server(greeting=greeting), relay_connect=0.3, tls_handshake=0.1) as door:
        client = await door.connect(greeted=False)
        said = await client.rest()
        assert said.startswith(b"* BYE [UNAVAILABLE] The mail server cannot be reached")
        assert door.server.octets == b""


async def test_I01_the_server_is_verified_under_STARTTLS_and_implicit_TLS(tmp_path: Path) -> None:
    (tmp_path / "behind").mkdir()
    certificate = make_certificate(tmp_path / "behind", "imap.dept.gov.in")
    context = server_context(certificate)
    for way in ("implicit", "starttls"):
        trust = {"tls": way, "tls_ca": certificate.certificate, "tls_name": "imap.dept.gov.in"}
        async with running(tmp_path, Server(context=context, starttls=way == "starttls"), imap=trust) as door:
            client = await (await door.connect()).login()
            assert (await client.ask(b"a NOOP")).startswith(b"a OK")
        for wrong in ({**trust, "tls_name": "other.gov.in"}, {"tls": way, "tls_name": "imap.dept.gov.in"}):
            async with running(tmp_path, Server(context=context, starttls=way == "starttls"), imap=wrong) as door:
                client = await door.connect(greeted=False)
                assert (await client.rest()).startswith(b"* BYE [UNAVAILABLE]")
                assert b"LOGIN" not in door.server.octets


async def test_I01_what_the_server_says_in_clear_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "behind").mkdir()
    certificate = make_certificate(tmp_path / "behind", "imap.dept.gov.in")
    trust = {"tls": "starttls", "tls_ca": certificate.certificate, "tls_name": "imap.dept.gov.in"}
    server = Server(context=server_context(certificate), starttls=True, behind_starttls=b"* 1 EXISTS\r\n")
    async with running(tmp_path, server, imap=trust) as door:
        client = await door.connect(greeted=False)
        assert (await client.rest()).startswith(b"* BYE [UNAVAILABLE]")
    refusing = Server(no={b"STARTTLS": b"NO not today"})
    async with running(tmp_path, refusing, imap=trust) as door:
        client = await door.connect(greeted=False)
        assert (await client.rest()).startswith(b"* BYE [UNAVAILABLE]")
        assert b"LOGIN" not in refusing.octets
        assert b"CAPABILITY" not in refusing.octets


# --- what is filed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plus", [b"+", b""])
async def test_I06_what_is_appended_is_judged_before_the_server_has_it(tmp_path: Path, plus: bytes) -> None:
    memory = Memory(hold=asyncio.Event())
    async with running(tmp_path, memory=memory) as door:
        client = await (await door.connect()).login()
        message = NOTE * 1000
        if plus:
            client.write(append(b"a", message, flags=b"(\\Seen \\Draft) "))
        else:
            client.write(b"a APPEND Drafts (\\Seen \\Draft) {%d}\r\n" % len(message))
            assert (await client.line()).startswith(b"+")
            client.write(message + b"\r\n")
        await memory.begun.wait()
        assert b"APPEND" not in door.server.octets
        assert door.door.budget.used == len(message)
        assert memory.hold is not None
        memory.hold.set()
        lines = await client.until(b"a")
        assert lines == [b"* 1 EXISTS\r\n", b"a OK [APPENDUID 1 1] done\r\n"]
        assert door.server.boxes["so"][0].endswith(message + b"\r\n")
        assert b"(\\Seen \\Draft)" in door.server.boxes["so"][0]
        ((tx, content),) = memory.messages
        assert content == message
        assert (tx.door, tx.verified_originator, tx.department, tx.size) == (DoorName.IMAP, True, OURS, len(message))
        assert tx.peer.user == "so"
        assert tx.peer.tls_version == "TLSv1.3"
        assert [one.path.text for one in tx.envelope.recipients] == [tx.envelope.sender.text] == [f"so@{OURS}"]
        assert door.door.budget.used == 0
        assert (await client.ask(b"b NOOP")).startswith(b"b OK")


async def test_I06_what_is_judged_and_filed_has_the_line_ends_of_mail(tmp_path: Path) -> None:
    """A marking in a field behind a bare LF was seen by the server's readers and by none of ours."""
    async with running(tmp_path) as door:
        client = await (await door.connect()).login()
        client.write(append(b"a", NOTE.replace(b"\r\n", b"\n"), NOTE))
        assert (await client.until(b"a"))[-1].startswith(b"a OK")
        assert [content for _, content in door.memory.messages] == [NOTE, NOTE]
        assert door.server.boxes["so"][0].count(b"{%d}\r\n%s" % (len(NOTE), NOTE)) == 2
        assert door.door.budget.used == 0


@pytest.mark.parametrize(
    "octets", [b"X: y\nSubject: a\r\n\r\nhello\r\n", b"X: y\rSubject: a\r\n\r\n", b"X: y\n\rhello\n", b"Subject: a\r\n\nhello\r\n"]
)
async def test_I06_lines_that_readers_end_in_different_places_are_not_filed(tmp_path: Path, octets: bytes) -> None:
    async with running(tmp_path) as door:
        client = await (await door.connect()).login()
        client.write(append(b"a", NOTE, octets))
        assert (await client.until(b"a"))[-1].startswith(b"a NO [CANNOT] The message holds a bare CR, a bare LF")
        assert (await client.ask(b"b NOOP")).startswith(b"b OK")
        assert b"APPEND" not in door.server.octets
        assert door.memory.messages == []
        assert door.memory.refusals[0].rule.startswith("message-form: bare ")
        assert door.door.budget.used == 0


async def test_I10_who_has_left_waits_for_no_server(tmp_path: Path) -> None:
    """Each client that came and went kept a connection to a silent server for a minute: descriptors without end."""
    there = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal there
        there += 1
        await reader.read()
        there -= 1
        writer.close()

    behind = await asyncio.start_server(silent, "127.0.0.1", 0)
    server = f"127.0.0.1:{behind.sockets[0].getsockname()[1]}"
    async with behind, running(tmp_path, imap={"server": server}) as door, asyncio.timeout(5):
        clients = [await door.connect(greeted=False) for _ in range(10)]
        while there < 10:
            await asyncio.sleep(0.01)
        for client in clients:
            client.writer.transport.abort()
        while there or door.door.sessions:
            await asyncio.sleep(0.01)
        assert door.door.counters.get("imap server away", 0) == 0
        assert door.door.counters.get("faults", 0) == 0


async def test_I10_what_passed_and_is_in_no_mailbox_is_in_the_log(tmp_path: Path) -> None:
    memory = Memory()
    async with running(tmp_path, memory=memory) as door:
        client = await (await door.connect()).login()
        with structlog.testing.capture_logs() as log:
            client.write(append(b"a", NOTE, NOTE + b"SECRET\r\n"))
            assert (await client.until(b"a"))[-1].startswith(b"a NO [NOPERM]")
            door.server.no[b"APPEND"] = b"NO [OVERQUOTA] full"
            client.write(append(b"b", NOTE))
            assert (await client.until(b"b"))[-1].startswith(b"b NO [OVERQUOTA]")
            door.server.no.clear()
            memory.hold = asyncio.Event()
            memory.begun.clear()
            client.write(append(b"c", NOTE))
            await memory.begun.wait()
            client.writer.transport.abort()
            while door.door.sessions:
                await asyncio.sleep(0.01)
            memory.hold.set()
            while door.door.budget.used:
                await asyncio.sleep(0.01)
        references = [tx.reference for tx, content in memory.messages if b"SECRET" not in content]
        found = [one for one in log if one["event"] == "imap.passed_not_filed"]
        assert [one["gateway.reference"] for one in found] == references
        assert [one["reason"] for one in found] == [
            "another message of the command did not pass", "the server refused", "the session ended before it was filed",
        ]  # fmt: skip


async def test_I10_a_message_that_trickles_keeps_no_memory_from_others(tmp_path: Path) -> None:
    """One octet now and then held all that was announced, for ever."""
    async with running(tmp_path, rate_grace=0.1, data_idle=5, data_min_rate=2000) as door:
        quick = await (await door.connect()).login()
        quick.write(append(b"a", NOTE * 4000)[:-2])
        trickler = await (await door.connect()).login()
        trickler.write(b"b APPEND Drafts {500000+}\r\nSubject")
        before = asyncio.get_running_loop().time()
        said = await trickler.rest()
        assert said == b"* BYE The message comes too slowly; closing the session.\r\n"
        assert asyncio.get_running_loop().time() - before < 2
        assert door.door.budget.used == 4000 * len(NOTE)
        quick.write(b"\r\n")
        assert (await quick.until(b"a"))[-1].startswith(b"a OK")


async def test_I06_of_a_multiple_append_all_or_none(tmp_path: Path) -> None:
    async with running(tmp_path) as door:
        client = await (await door.connect()).login()
        client.write(append(b"a", NOTE, NOTE + b"SECRET\r\n", NOTE))
        said = (await client.until(b"a"))[-1]
        assert said.startswith(b"a NO [NOPERM] Marked secret.")
        assert door.memory.messages[1][0].reference.encode() in said
        assert b"APPEND" not in door.server.octets
        client.write(append(b"b", NOTE, NOTE + b"2\r\n"))
        assert (await client.until(b"b"))[-1].startswith(b"b OK")
        assert door.server.boxes["so"][0].count(NOTE) == 2
        assert door.door.budget.used == 0


async def test_I13_without_inspector_nothing_is_filed_and_the_rest_goes_on(tmp_path: Path) -> None:
    for fault in (ReplyError(OUR_FAULT, "the inspector is away"), RuntimeError("a fault of ours")):
        async with running(tmp_path, memory=Memory(fault=fault)) as door:
            client = await (await door.connect()).login()
            client.write(append(b"a", NOTE) + b"b NOOP\r\n")
            said = await client.until(b"b")
            assert said[0].startswith(b"a NO [UNAVAILABLE] ")
            assert b"fault of ours" not in said[0]
            assert said[1] == b"b OK NOOP done\r\n"
            assert b"APPEND" not in door.server.octets
            client.write(b"c FETCH 1 BODY[]\r\n")
            assert len(b"".join(await client.until(b"c"))) > 10_000
            assert door.door.budget.used == 0


async def test_what_is_too_large_is_refused_without_being_read(tmp_path: Path) -> None:
    async with running(tmp_path) as door:
        client = await (await door.connect()).login()
        assert (await client.ask(b"a APPEND Drafts {1000001}"))[:6] == b"a NO ["
        client.write(append(b"b", b"x" * 1_000_001) + b"c NOOP\r\n")
        said = await client.until(b"c")
        assert said[0][:6] == b"b NO ["
        assert said[-1].startswith(b"c OK")
        assert door.memory.messages == []


async def test_a_message_waits_for_memory_and_then_gives_up(tmp_path: Path) -> None:
    async with running(tmp_path, data_idle=0.3, max_inflight=1_000_000) as door:
        client = await (await door.connect()).login()
        taken = door.door.settings.config.limits.max_inflight
        assert door.door.budget.take(taken)
        client.write(b"a APPEND Drafts {%d}\r\n" % len(NOTE))
        assert (await client.line()).startswith(b"a NO [UNAVAILABLE]")
        client.write(append(b"b", NOTE))
        await asyncio.sleep(0.05)
        door.door.budget.give(taken)
        assert (await client.until(b"b"))[-1].startswith(b"b OK")
        assert door.door.budget.used == 0


async def test_replies_stay_in_the_order_of_their_commands(tmp_path: Path) -> None:
    memory = Memory(hold=asyncio.Event())
    async with running(tmp_path, memory=memory) as door:
        client = await (await door.connect()).login()
        client.write(b"a FETCH 1 BODY[]\r\nb COMPRESS DEFLATE\r\n" + append(b"c", NOTE + b"SECRET"))
        client.write(b"d NOOP\r\ne COMPRESS DEFLATE\r\nf NOOP\r\n")
        await memory.begun.wait()
        assert memory.hold is not None
        memory.hold.set()
        said = b"".join(await client.until(b"f"))
        places = [said.index(b"\r\n" + tag + b" ") for tag in (b"a", b"b", b"c", b"d", b"e", b"f")]
        assert places == sorted(places)


# --- breaking off ------------------------------------------------------------------------------------------------------


async def test_I10_ten_thousand_pipelined_commands(tmp_path: Path) -> None:
    async with running(tmp_path) as door:
        client = await (await door.connect()).login()
        client.write(b"".join(b"t%d NOOP\r\n" % n for n in range(10_000)))
        for n in range(10_000):
            assert await client.line() == b"t%d OK NOOP done\r\n" % n


async def test_I10_a_server_that_dies_in_a_fetch_is_no_whole_message(tmp_path: Path) -> None:
    async with running(tmp_path, Server(die_after=5000)) as door:
        client = await (await door.connect()).login()
        client.write(b"a FETCH 1 BODY[]\r\n")
        said = await client.rest()
        assert said.startswith(b"* 1 FETCH (UID 7 BODY[] {10000}\r\n")
        assert len(said) < 10_000, "nothing was put in the place of what is missing"
        assert b"a OK" not in said
        assert b"BYE" not in said


async def test_I10_a_server_that_dies_between_responses_is_said_goodbye_for(tmp_path: Path) -> None:
    async with running(tmp_path) as door:
        client = await (await door.connect()).login()
        door.server.writers[0].transport.abort()
        assert (await client.rest()).startswith(b"* BYE [UNAVAILABLE] The mail server broke off")


async def test_I10_a_client_that_leaves_in_a_literal_leaves_nothing(tmp_path: Path) -> None:
    memory = Memory(hold=asyncio.Event())
    async with running(tmp_path, memory=memory) as door:
        client = await (await door.connect()).login()
        client.write(b"a APPEND Drafts {100000+}\r\n" + b"x" * 50_000)
        await client.writer.drain()
        await asyncio.sleep(0.05)
        assert door.door.budget.used == 100_000
        client.writer.transport.abort()
        await asyncio.sleep(0.05)
        assert door.door.budget.used == 0
        assert b"APPEND" not in door.server.octets
        late = await (await door.connect()).login()
        late.write(append(b"a", NOTE))
        await memory.begun.wait()
        late.writer.transport.abort()
        await asyncio.sleep(0.05)
        assert memory.hold is not None
        memory.hold.set()
        await asyncio.sleep(0.05)
        assert door.door.budget.used == 0
        assert b"APPEND" not in door.server.octets, "who left before the answer cannot know that it is there"
        assert door.door.sessions == set()


async def test_I10_a_client_that_does_not_read_holds_its_server_back(tmp_path: Path) -> None:
    async with running(tmp_path, Server(big=60_000_000)) as door:
        client = await (await door.connect()).login()
        client.writer.transport.pause_reading()
        client.write(b"a FETCH 1 BODY[]\r\n")
        await asyncio.sleep(0.5)
        (session,) = door.door.sessions
        assert session._transport.get_write_buffer_size() < 4_000_000  # type: ignore[attr-defined]
        client.writer.transport.resume_reading()
        found = 0
        while found < 60_000_000:
            found += len(await asyncio.wait_for(client.reader.read(1 << 20), 10))
        assert (await client.ask(b"b NOOP")).startswith(b"b OK")


async def test_I10_a_client_that_only_asks_does_not_fill_our_memory(tmp_path: Path) -> None:
    async with running(tmp_path, starttls=True) as door:
        client = await door.connect()
        client.writer.transport.pause_reading()
        for _ in range(40):
            client.write(b"a NOOP\r\n" * 10_000)
        await asyncio.sleep(0.5)
        (session,) = door.door.sessions
        assert session._transport.get_write_buffer_size() < 4_000_000  # type: ignore[attr-defined]
        assert session._client.pending < 1_000_000  # type: ignore[attr-defined]


def test_I10_a_message_octet_by_octet_takes_no_more_than_it_has() -> None:
    client = WireClient(Limits(1_000_000))
    client.signed_in = True
    client.receive(b"a APPEND Drafts {30000+}\r\n")
    assert isinstance(client.next_event(), AppendSize)
    client.take()
    tracemalloc.start()
    for octet in b"xy" * 15_000:
        client.receive(bytes((octet,)))
        event = client.next_event()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    client.receive(b"\r\n")
    event = client.next_event()
    assert isinstance(event, Append)
    assert event.message == b"xy" * 15_000
    assert held < 200_000


# --- time --------------------------------------------------------------------------------------------------------------


async def test_nobody_stays_without_signing_in(tmp_path: Path) -> None:
    async with running(tmp_path, imap_login=0.2, idle=0.2) as door:
        client = await door.connect()
        assert (await client.rest()).startswith(b"* BYE Nobody signed in")


async def test_idle_sessions_end_and_IDLE_has_the_same_time(tmp_path: Path) -> None:
    async with running(tmp_path, imap_idle=0.3, idle=0.2) as door:
        client = await (await door.connect()).login()
        for _ in range(4):
            await asyncio.sleep(0.15)
            assert (await client.ask(b"a NOOP")).startswith(b"a OK")
        client.write(b"b IDLE\r\n")
        assert (await client.line()).startswith(b"+ idling")
        assert (await client.line()).startswith(b"* 5 EXISTS")
        assert (await client.rest()).startswith(b"* BYE Nothing came")


async def test_idle_and_done(tmp_path: Path) -> None:
    async with running(tmp_path) as door:
        client = await (await door.connect()).login()
        client.write(b"a IDLE\r\n")
        assert (await client.line()).startswith(b"+")
        await client.line()
        client.write(b"DONE\r\nb NOOP\r\n")
        assert (await client.line()).startswith(b"a OK")
        assert (await client.line()).startswith(b"b OK")


async def test_a_stop_says_goodbye(tmp_path: Path) -> None:
    async with running(tmp_path) as door:
        client = await (await door.connect()).login()
        idle = await (await door.connect()).login()
        idle.write(b"a IDLE\r\n")
        await idle.line()
        await idle.line()
        await door.door.drain(1)
        for one in (client, idle):
            assert (await one.rest()).startswith(b"* BYE [UNAVAILABLE] The mail gateway is stopping")


async def test_the_server_is_away(tmp_path: Path) -> None:
    async with running(tmp_path, imap={"server": "127.0.0.1:1"}) as door:
        client = await door.connect(greeted=False)
        assert (await client.rest()).startswith(b"* BYE [UNAVAILABLE] The mail server cannot be reached")
        assert door.door.counters["imap server away"] == 1


async def test_too_many_sessions_are_told_so(tmp_path: Path) -> None:
    async with running(tmp_path, starttls=True, connections=1) as door:
        await door.connect()
        client = await door.connect(greeted=False)
        assert (await client.rest()).startswith(b"* BYE [UNAVAILABLE] Too many sessions")


# --- a process that another one has followed ---------------------------------------------------------------------------


async def test_a_retired_process_lets_quiet_sessions_go_and_no_message(tmp_path: Path) -> None:
    """Mail programs in IDLE kept a process, and its rules, for as long as they ran."""
    memory = Memory(hold=asyncio.Event())
    assert memory.hold is not None
    async with running(tmp_path, memory=memory, idle_stressed=0.05) as door:
        idle, filing, amid, quick = [await (await door.connect()).login() for _ in range(4)]
        idle.write(b"i IDLE\r\n")
        assert (await idle.line()).startswith(b"+")
        filing.write(append(b"a", NOTE))
        amid.write(append(b"a", NOTE)[:-4])
        await memory.begun.wait()
        since = asyncio.get_running_loop().time()
        door.door.retire(since)
        assert len(door.door.sessions) == 4, "not at once"
        await asyncio.sleep(0.1)
        assert (await quick.ask(b"q NOOP")) == b"q OK NOOP done\r\n"
        door.door.retire(since)
        assert (await idle.rest()).endswith(b"* BYE [UNAVAILABLE] The mail gateway is stopping. Please connect again.\r\n")
        while len(door.door.sessions) > 3:
            await asyncio.sleep(0.01)
        memory.hold.set()
        amid.write(NOTE[-2:] + b"\r\n")
        for one in (filing, amid):
            assert (await one.until(b"a"))[-1].startswith(b"a OK")
        await asyncio.sleep(0.1)
        door.door.retire(since)
        for one in (filing, amid, quick):
            assert (await one.rest()).startswith(b"* BYE")
