"""The milter door on loopback against the catalogue of hostile inputs, group T, with a pipeline that only remembers."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path as FilePath
from typing import Any
from unittest.mock import Mock, call

import pytest
import uvloop

from gateway.address import Path
from gateway.doors.listen import lacking
from gateway.doors.milter import MilterSession
from gateway.doors.relaying import Refused
from gateway.envelope import Door, Peer, Transaction
from gateway.pipeline import Outcome
from gateway.reply import OUR_FAULT, SHUTTING_DOWN, Reply, ReplyError
from gateway.verdict import Direction, Edit

from .milter_mta import DELIVER, Packet, milter_config, passing, running, verdict
from .smtp_door import OURS


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """The loop that the doors run on."""
    return uvloop.EventLoopPolicy()


def replied(packets: list[Packet]) -> str:
    """The SMTP reply in the only packet there is."""
    ((command, data),) = packets
    assert command == b"y"
    return data.rstrip(b"\0").decode("ascii").replace("%%", "%")


def inserted(packets: list[Packet]) -> list[str]:
    """The fields that are inserted, in order."""
    return [data[4:].rstrip(b"\0").replace(b"\0", b":").decode() for command, data in packets if command == b"i"]


# --- the ordinary way --------------------------------------------------------------------------------------------------


async def test_a_message_comes_through_as_the_mta_holds_it_and_goes_on_with_our_fields() -> None:
    assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
    async with running() as door:
        mta = await door.connect()
        mta.macros(b"M", i="4XyZ")
        await mta.envelope(f"b@{OURS}", "c@gov.in", f"B@{OURS.upper()}")
        mta.content("Subject: one\n\ttwo", "X-Gateway-Reference: old", "tight:value", body=b"hello\r\n.dot\r\n")
        answers = await mta.answers()
        ((tx, content),) = door.memory.messages
        assert content == b"Subject: one\r\n\ttwo\r\nX-Gateway-Reference: old\r\ntight:value\r\n\r\nhello\r\n.dot\r\n"
        assert (tx.door, tx.size, tx.verified_originator, tx.department) == (Door.MILTER, len(content), True, OURS)
        assert tx.peer == Peer("127.0.0.1", 40_000, "pc1.dept.gov.in", listed=True)
        assert [one.path.text for one in tx.envelope.recipients] == [f"b@{OURS}", "c@gov.in", f"B@{OURS}"]
        assert answers[0] == (b"m", struct.pack(">I", 1) + b"x-gateway-reference\0\0")
        assert inserted(answers) == [f"X-Gateway-Reference: {tx.reference}", "X-For: one"]
        assert answers[-1] == (b"c", b"")
        assert door.door.budget.used == 0
        mta.send(b"Q")
        assert await mta.closed()


async def test_unix_socket(tmp_path: FilePath) -> None:
    async with running(path=tmp_path / "milter.sock") as door:
        assert (tmp_path / "milter.sock").stat().st_mode & 0o777 == 0o660
        mta = await door.connect()
        assert (await mta.message())[-1] == (b"c", b"")
        assert door.memory.messages[0][0].peer.ip == "127.0.0.1"


async def test_an_mta_that_waits_for_every_answer() -> None:
    async with running() as door:
        mta = await door.connect(negotiated=False)
        assert (await mta.negotiate(protocol=0, version=2, actions=0x3F))[0] == b"O"
        assert await mta.ask(b"C", b"pc1\x004\x9c\x40127.0.0.1\0") == (b"c", b"")
        assert await mta.ask(b"H", b"pc1\0") == (b"c", b"")
        await mta.envelope()
        assert await mta.ask(b"L", b"Subject\0x\0") == (b"c", b"")
        assert await mta.ask(b"N") == (b"c", b"")
        assert await mta.ask(b"B", b"hello\r\n") == (b"c", b"")
        mta.send(b"E")
        assert (await mta.answers())[-1] == (b"c", b"")
        assert door.memory.messages[0][1] == b"Subject: x\r\n\r\nhello\r\n"


async def test_tcp_acknowledges_at_once_and_never_gathers() -> None:
    async with running() as door:
        mta = await door.connect()
        await mta.envelope()
        (session,) = door.door.sessions
        assert isinstance(session, MilterSession)
        sock = session._socket
        assert sock is not None
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        asked = Mock()  # the kernel forgets it whenever it likes, so that nothing is to be read back
        session._socket = asked
        for number in range(3):
            assert (await mta.rcpt(f"c{number}@gov.in"))[0] == b"c"
            assert asked.setsockopt.call_args_list == [call(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)] * (number + 1)


# --- who the client is -------------------------------------------------------------------------------------------------


async def transaction(macros: dict[str, str], **client: Any) -> Transaction:
    """The transaction of a message with *macros* from *client*."""
    async with running() as door:
        mta = await door.connect(client=False)
        mta.client(**client)
        mta.macros(b"M", **macros)
        assert (await mta.mail("x@gov.in" if client.get("ip", "127")[:3] != "127" and not macros.get("auth_authen") else f"a@{OURS}"))[
            0
        ] == b"c"
        assert (await mta.rcpt())[0] == b"c"
        mta.content()
        await mta.answers()
        return door.memory.messages[0][0]


async def test_T03_macros_say_who_signed_in_and_under_what_tls() -> None:
    macros = {"auth_authen": "Officer", "tls_version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "cipher_bits": "256"}
    tx = await transaction(macros, ip="198.51.100.7", helo="[198.51.100.7]")
    assert tx.peer == Peer(
        "198.51.100.7", 40_000, "[198.51.100.7]", user="officer", tls_version="TLSv1.3", tls_cipher="TLS_AES_256_GCM_SHA384", tls_bits=256
    )
    assert tx.verified_originator


@pytest.mark.parametrize(
    "macros",
    [
        {},
        {"auth_type": "PLAIN"},
        {"auth_authen": ""},
        {"auth_authen": " "},
        {"auth_authen": "a\u200bb"},
        {"auth_authen": "x" * 400},
        {"client_addr": "127.0.0.1"},
    ],
)
async def test_T03_what_is_absent_or_no_login_is_no_trust(macros: dict[str, str]) -> None:
    async with running() as door:
        mta = await door.connect(client=False)
        mta.client(ip="198.51.100.7", helo="")
        mta.macros(b"M", **macros)
        await mta.envelope(sender="x@gov.in")
        mta.content()
        assert (await mta.answers())[-1][0] == b"c"
        tx = door.memory.messages[0][0]
        assert (tx.verified_originator, tx.peer.user, tx.peer.listed, tx.peer.ip) == (False, "", False, "198.51.100.7")


async def test_T03_two_addresses_must_both_be_listed() -> None:
    tx = await transaction({"client_addr": "198.51.100.7"}, ip="198.51.100.7")
    assert not tx.peer.listed
    async with running() as door:
        mta = await door.connect()
        mta.macros(b"M", client_addr="198.51.100.7")
        await mta.envelope(sender="x@gov.in")
        mta.content()
        await mta.answers()
        assert not door.memory.messages[0][0].peer.listed


async def test_T03_a_client_without_an_address_is_in_no_network() -> None:
    async with running() as door:
        mta = await door.connect(client=False)
        mta.send(b"C", b"unknown\0U")
        await mta.envelope(sender="x@gov.in")
        mta.content()
        assert (await mta.answers())[-1][0] == b"c"
        assert door.memory.messages[0][0].peer == Peer("")


@pytest.mark.parametrize("value", ["a\nb", "a\rb"])
async def test_T03_a_macro_with_a_line_end_ends_the_connection_or_is_nobody(value: str) -> None:
    async with running() as door:
        mta = await door.connect(client=False)
        mta.client(ip="198.51.100.7")
        mta.macros(b"M", auth_authen=value)
        command, _ = await mta.mail()
        assert command in (b"", b"c")
        assert command == b"" or not (await mta.rcpt())[1].startswith(b"c")


# --- the envelope ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "code"),
    [
        ("a", "501 5.1.3"),
        ("a@b@c", "501"),
        ("<a", "501"),
        ("@x.in:a@y.in", "553"),
        ("a%b@x.in", "553"),
        ("root@localhost", "553"),
        ("Ш@x.in", "550 5.6.7"),
    ],
)
async def test_S09_a_path_that_is_none_is_refused(sender: str, code: str) -> None:
    async with running() as door:
        mta = await door.connect()
        assert replied([await mta.mail(sender)]).startswith(code)
        assert await mta.mail() == (b"c", b"")
        assert replied([await mta.rcpt(sender)]).startswith(code)
        assert (await mta.rcpt())[0] == b"c"
        mta.content()
        assert (await mta.answers())[-1][0] == b"c"
        assert {refusal.door for refusal in door.memory.refusals} == {"milter"}


async def test_parameters_that_say_something_to_us_are_kept_and_others_are_the_mta_s() -> None:
    async with running() as door:
        mta = await door.connect()
        assert (await mta.mail(f"a@{OURS}", "SIZE=100", "RET=HDRS", "ENVID=x1", "BODY=8BITMIME", "AUTH=<>", "XVERP=-="))[0] == b"c"
        assert (await mta.rcpt(f"b@{OURS}", "NOTIFY=NEVER", "ORCPT=rfc822;b@x.in", "RRVS=now"))[0] == b"c"
        mta.content()
        await mta.answers()
        envelope = door.memory.messages[0][0].envelope
        assert (envelope.ret, envelope.envid, envelope.eight_bit) == ("HDRS", "x1", True)
        assert (envelope.recipients[0].notify, envelope.recipients[0].orcpt) == (frozenset(("NEVER",)), "rfc822;b@x.in")
        assert replied([await mta.mail(f"a@{OURS}", "SIZE=99000000")]).startswith("552 5.3.4")


async def test_relaying_is_the_mta_s_business_and_originators_are_ours() -> None:
    async with running(milter_config(originators={"networks": ["192.0.2.0/24"]})) as door:
        mta = await door.connect()
        assert (await mta.message("x@gmail.com", sender="y@gmail.com"))[-1][0] == b"c"
        assert (await mta.mail())[0] == b"c"
        assert "own servers only" in replied([await mta.rcpt("x@gmail.com")])
        mta.macros(b"M", auth_authen="officer")
        assert (await mta.mail("y@gmail.com"))[0] == b"c"
        assert "official address" in replied([await mta.rcpt("x@gmail.com")])


async def test_sign_in_is_asked_for_where_the_config_says_so() -> None:
    async with running(milter_config(originators={"require_auth": True})) as door:
        mta = await door.connect()
        assert (await mta.mail())[0] == b"c"
        assert replied([await mta.rcpt("x@gov.in")]).startswith("530 5.7.0")
        mta.macros(b"M", auth_authen="officer")
        assert (await mta.message("x@gov.in"))[-1][0] == b"c"
        assert door.memory.messages[0][0].verified_originator


async def test_the_rules_refuse_at_rcpt_under_the_name_of_this_door() -> None:
    asked: list[tuple[str, Door | None]] = []

    def policy(sender: Path, recipient: Path, peer: Peer, /, *, door: Door | None = None) -> Refused | None:
        asked.append((recipient.text, door))
        if recipient.domain == "away.in":
            raise ReplyError(OUR_FAULT, "no register yet")
        return Refused(Reply(550, "5.7.1", "Reference 7: 100% not there.\nसंदर्भ"), "rule", "7") if recipient.domain == "gmail.com" else None

    async with running(policy=policy) as door:
        mta = await door.connect()
        assert (await mta.mail())[0] == b"c"
        assert replied([await mta.rcpt("x@gmail.com")]).startswith("550-5.7.1 Reference 7: 100% not there.\r\n550 5.7.1 ")
        assert replied([await mta.rcpt("x@away.in")]).startswith("451 4.3.0")
        assert (await mta.rcpt("x@gov.in"))[0] == b"c"
        assert asked[0] == ("x@gmail.com", Door.MILTER)
        assert [refusal.recipient for refusal in door.memory.refusals] == ["x@gmail.com"]


async def test_over_the_limit_of_recipients_is_not_now() -> None:
    async with running(milter_config(limits={"recipients": 2})) as door:
        mta = await door.connect()
        await mta.envelope("a@gov.in", "b@gov.in", "a@gov.in")
        assert replied([await mta.rcpt("c@gov.in")]).startswith("452 4.5.3")


# --- T11: mail that the MTA's own machine sends -------------------------------------------------------------------------


LOCAL = {"host": "localhost", "port": 0, "helo": "localhost"}


async def test_T12_one_recipient_in_endless_spellings_is_not_kept_for_ever() -> None:
    async with running(milter_config(limits={"recipients": 3})) as door:
        mta = await door.connect()
        await mta.envelope(f"b@{OURS}")
        paths = [f"b@{OURS[:at].upper()}{OURS[at:]}" for at in range(1, 5)] + [f'"b"@{OURS}', f"B@{OURS}", f"b@{OURS}", f"b@{OURS.upper()}"]
        said = [await mta.rcpt(path) for path in paths]
        assert [one[0] for one in said] == [b"c"] * 5 + [b"c", b"c", b"y"]
        assert replied([said[-1]]).startswith("452 4.5.3")
        mta.content()
        assert (await mta.answers())[-1][0] == b"c"


async def test_T11_simulated_recipients_are_never_refused_one_by_one() -> None:
    async with running(milter_config(limits={"recipients": 3})) as door:
        mta = await door.connect(client=False)
        mta.client(**LOCAL)  # type: ignore[arg-type]
        await mta.envelope("b@gov.in", "not one", "c@gov.in")
        mta.content()
        assert replied(await mta.answers()).startswith("501 5.1.3")
        await mta.envelope("a@gov.in", "b@gov.in", "c@gov.in", "d@gov.in")
        mta.content()
        assert replied(await mta.answers()).startswith("550 5.5.3")
        assert door.memory.messages == []


@pytest.mark.parametrize(
    ("sender", "recipient", "listed", "code"),
    [
        (f"a@{OURS}", "x@gov.in", True, ""),  # an officer's program
        (f"a@{OURS}", "x@gov.in", False, "550 5.7.1"),  # a machine that is not in originators.networks
        ("root@mail.example.in", f"a@{OURS}", True, ""),  # cron to its administrator
        ("root@mail.example.in", "x@gmail.com", True, "550 5.7.1"),
        ("root@mail.example.in", "x@gmail.com", False, "550 5.7.1"),
        ("", "x@gmail.com", True, ""),  # the MTA's own report
        ("", "x@gmail.com", False, ""),
    ],
)
async def test_T11_mail_of_the_machine(sender: str, recipient: str, listed: bool, code: str) -> None:
    config = milter_config() if listed else milter_config(originators={"networks": ["192.0.2.0/24"]})
    async with running(config) as door:
        mta = await door.connect(client=False)
        mta.client(**LOCAL)  # type: ignore[arg-type]
        await mta.envelope(recipient, sender=sender)
        mta.content()
        answers = await mta.answers()
        assert replied(answers).startswith(code) if code else answers[-1][0] == b"c"
        if not code:
            tx = door.memory.messages[0][0]
            assert tx.verified_originator == (listed and sender in ("", f"a@{OURS}"))


async def test_T11_reports_of_the_machine_need_no_sign_in_and_its_mail_does() -> None:
    async with running(milter_config(originators={"require_auth": True})) as door:
        mta = await door.connect(client=False)
        mta.client(**LOCAL)  # type: ignore[arg-type]
        assert (await mta.message("x@gmail.com", sender=""))[-1][0] == b"c"
        await mta.envelope("x@gov.in")
        mta.content()
        assert replied(await mta.answers()).startswith("530")
        assert [tx.verified_originator for tx, _ in door.memory.messages] == [False]


# --- what the MTA is told ----------------------------------------------------------------------------------------------


async def test_recipients_that_do_not_pass_are_deleted_by_every_path_that_names_them() -> None:
    def decide(tx: Transaction, content: bytes) -> Outcome:
        inside, outside = (Edit("add", "X-Who", "inside"),), (Edit("add", "X-Who", "outside"),)
        told = verdict(
            (f"b@{OURS}", Direction.INTERNAL, inside), ("c@gov.in", Direction.OUTBOUND, outside), ("x@gmail.com", Direction.OUTBOUND, ())
        )
        return Outcome(DELIVER, told, (f"b@{OURS}", "c@gov.in"))

    async with running() as door:
        door.memory.decide = decide
        mta = await door.connect()
        answers = await mta.message(f"b@{OURS}", "x@gmail.com", "c@gov.in", "x@GMAIL.com")
        assert [data for command, data in answers if command == b"-"] == [b"<x@gmail.com>\0", b"<x@GMAIL.com>\0"]
        assert inserted(answers) == ["X-Who: outside"]  # one header section for all: outsiders are told less
        assert answers[-1] == (b"c", b"")


async def test_a_message_that_nobody_gets_from_the_mta_is_dropped_there() -> None:
    async with running() as door:
        door.memory.decide = lambda tx, content: Outcome(DELIVER, passing(tx, content).verdict)
        mta = await door.connect()
        assert await mta.message() == [(b"d", b"")]


async def test_T10_held_in_the_mta_s_own_queue() -> None:
    def decide(tx: Transaction, content: bytes) -> Outcome:
        return Outcome(DELIVER, passing(tx, content).verdict, (f"b@{OURS}",), hold_there=True)

    async with running(milter_config(relay={"milter_hold": "mta"})) as door:
        door.memory.decide = decide
        mta = await door.connect()
        answers = await mta.message(f"b@{OURS}", "x@gmail.com")
        assert [command for command, _ in answers] == [b"i", b"i", b"-", b"q", b"c"]
        assert door.memory.messages[0][0].reference.encode() in answers[-2][1]
        # Held for nobody would be lost.
        door.memory.decide = lambda tx, content: Outcome(DELIVER, passing(tx, content).verdict, (), hold_there=True)
        assert replied(await mta.message()).startswith("451")


async def test_T10_an_mta_that_cannot_hold_is_told_so_before_anything_is_recorded() -> None:
    async with running(milter_config(relay={"milter_hold": "mta"})) as door:
        mta = await door.connect(negotiated=False)
        await mta.negotiate(actions=0x1F)
        mta.client()
        assert replied([await mta.mail()]).startswith("451 4.3.5")
        assert door.memory.messages == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (RuntimeError("secret path /var/x"), "451 4.3.0"),
        (ReplyError(SHUTTING_DOWN, "private"), "451 4.3.2"),  # a 421 would end the session of the MTA's client
        (ReplyError(Reply(554, "5.4.6", "A loop.")), "554 5.4.6 A loop."),
    ],
)
async def test_faults_of_ours_are_not_now_and_leave_the_connection_in_order(fault: Exception, code: str) -> None:
    async with running() as door:
        door.memory.fault = fault
        mta = await door.connect()
        said = replied(await mta.message())
        assert said.startswith(code)
        assert "private" not in said
        assert "secret" not in said
        door.memory.fault = None
        assert (await mta.message())[-1][0] == b"c"
        assert door.door.budget.used == 0


async def test_a_refusal_of_the_whole_message_has_no_changes() -> None:
    async with running() as door:
        told = Reply(550, "5.7.1", "TOP SECRET may not be sent.\nReference 7.")
        door.memory.decide = lambda tx, content: Outcome(told, passing(tx, content).verdict, (f"b@{OURS}",))
        mta = await door.connect()
        assert replied(await mta.message()) == "550-5.7.1 TOP SECRET may not be sent.\r\n550 5.7.1 Reference 7."


async def test_T08_edits_that_cannot_be_written_send_nothing_but_not_now() -> None:
    async with running() as door:
        bad = (Edit("add", "X-One", "1"), Edit("add", "X-Two", "2\nBcc: x@y.in"))
        door.memory.decide = lambda tx, content: Outcome(DELIVER, verdict((f"b@{OURS}", Direction.INTERNAL, bad)), (f"b@{OURS}",))
        mta = await door.connect()
        assert replied(await mta.message()).startswith("451")
        door.memory.decide = passing
        assert inserted(await mta.message())[1] == "X-For: x"


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"a\rb\r\n", "550 5.6.0"), (b"a\0\r\n", "550 5.6.0"), (b"a\nb\r\n", "550 5.6.0"), (b"x" * 1000 + b"\r\n", "550 5.6.0")],
)
async def test_T04_what_the_smtp_door_refuses_for_its_form_is_refused_here(body: bytes, said: str) -> None:
    async with running() as door:
        mta = await door.connect()
        await mta.envelope()
        mta.content(body=body)
        assert replied(await mta.answers()).startswith(said)
        assert door.memory.refusals[0].rule.startswith("message-form: ")
        assert door.memory.messages == []


# --- one message and the next --------------------------------------------------------------------------------------------


async def test_T02_nothing_of_a_message_reaches_the_next() -> None:
    async with running() as door:
        mta = await door.connect()
        mta.macros(b"M", auth_authen="officer", i="1")
        await mta.envelope("b@gov.in", "c@gov.in")
        mta.content("Subject: first")
        first = await mta.answers()
        assert inserted(first)[1] == "X-For: first"
        await mta.envelope("d@gov.in")  # forgotten by ABORT in the middle of its content
        mta.send(b"L", b"Subject\0 second\0")
        mta.send(b"A")
        assert (await mta.mail())[0] == b"c"  # MAIL twice
        answers = await mta.message("e@gov.in", fields=("Subject: third",))
        assert inserted(answers)[1] == "X-For: third"
        assert len(inserted(answers)) == 2
        (one, _), (two, content) = door.memory.messages
        assert (one.peer.user, two.peer.user) == ("officer", "")
        assert [r.path.text for r in two.envelope.recipients] == ["e@gov.in"]
        assert content == b"Subject: third\r\n\r\nhello\r\n"


async def test_T02_the_next_client_on_the_connection_is_another() -> None:
    async with running() as door:
        mta = await door.connect()
        assert (await mta.message())[-1][0] == b"c"
        mta.send(b"K")
        mta.client(ip="198.51.100.7", helo="other.example")
        assert (await mta.message(sender="x@gov.in"))[-1][0] == b"c"
        peer = door.memory.messages[1][0].peer
        assert (peer.ip, peer.helo, peer.listed) == ("198.51.100.7", "other.example", False)


@pytest.mark.parametrize("packets", [(b"B", b"x"), (b"E", b""), (b"L", b"a\0b\0"), (b"M", b""), (b"z", b"")])
async def test_T02_out_of_order_is_the_end_and_nothing_passes(packets: Packet) -> None:
    async with running() as door:
        mta = await door.connect()
        mta.send(*packets)
        assert await mta.closed()
        assert door.memory.messages == []
        await door.until(lambda: not door.door.sessions)


@pytest.mark.parametrize("octets", [b"\0\0\0\0", b"\xff\xff\xff\xffM", b"\x80\0\0\0M", b"\x7f\xff\xff\xffB", b"\0\0\0\x02Ox"])
async def test_T01_packets_that_are_none_close_the_connection(octets: bytes) -> None:
    async with running() as door:
        mta = await door.connect(negotiated=False)
        mta.writer.write(octets)
        assert await mta.closed()
        await door.until(lambda: not door.door.sessions)
        assert door.door.budget.used == 0


async def test_T01_an_mta_that_cannot_delete_recipients_gets_no_service() -> None:
    async with running() as door:
        mta = await door.connect(negotiated=False)
        mta.send(b"O", struct.pack(">III", 6, 0x01, 0))
        assert await mta.closed()


# --- T05, T06: who leaves, what takes long -------------------------------------------------------------------------------


async def test_T05_an_mta_that_leaves_before_the_answer_leaves_no_orphan_and_one_record() -> None:
    async with running() as door:
        door.memory.hold = asyncio.Event()
        mta = await door.connect()
        await mta.envelope()
        mta.content()
        await door.memory.begun.wait()
        mta.close()
        await door.until(lambda: not door.door.sessions)
        assert door.door.budget.used > 0  # it is the pipeline's yet
        door.memory.hold.set()
        await door.until(lambda: door.door.budget.used == 0)
        assert len(door.memory.messages) == 1
        assert door.door.counters["closed: left before the answer"] == 1
        mta = await door.connect()  # again: a message of its own
        assert (await mta.message())[-1][0] == b"c"
        first, second = (tx.id for tx, _ in door.memory.messages)
        assert first != second


async def test_T06_progress_until_the_answer() -> None:
    async with running(milter_config(limits={"milter_progress": 0.05, "idle": 0.1})) as door:
        door.memory.hold = asyncio.Event()
        mta = await door.connect()
        await mta.envelope()
        mta.content()
        assert [await mta.packet() for _ in range(3)] == [(b"p", b"")] * 3
        door.memory.hold.set()
        assert (await mta.answers())[-1] == (b"c", b"")


async def test_T06_out_of_patience_is_not_now_and_the_late_answer_is_nobody_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MilterSession.patience < 250
    monkeypatch.setattr(MilterSession, "patience", 0.1)
    async with running(milter_config(limits={"idle": 0.1})) as door:
        door.memory.hold = late = asyncio.Event()
        mta = await door.connect()
        await mta.envelope()
        mta.content("Subject: slow")
        assert replied(await mta.answers()).startswith("451 4.3.0")
        door.memory.hold = None
        answers = await mta.message(fields=("Subject: quick",))
        late.set()
        assert inserted(answers)[1] == "X-For: quick"
        await door.until(lambda: len(door.memory.messages) == 2)
        with pytest.raises(TimeoutError):
            await mta.packet(0.1)
        assert door.door.budget.used == 0


async def test_silence_between_messages_is_in_order_and_in_a_message_it_is_not() -> None:
    async with running(milter_config(limits={"idle": 0.05, "data_idle": 0.2, "command_deadline": 0.2})) as door:
        mta = await door.connect()
        await asyncio.sleep(0.5)
        assert (await mta.message())[-1][0] == b"c"
        await mta.envelope()
        await asyncio.sleep(0.4)  # its client thinks
        mta.send(b"L", b"Subject\0 x\0")
        assert await mta.closed()
        assert door.door.counters["closed: idle in message"] == 1


async def test_half_a_command_is_not_waited_for() -> None:
    async with running(milter_config(limits={"command_deadline": 0.1})) as door:
        silent, halves = await door.connect(negotiated=False), await door.connect()
        halves.writer.write(b"\0\0\0\x10M<a")
        assert await silent.closed()
        assert await halves.closed()


# --- memory and numbers ---------------------------------------------------------------------------------------------------


async def test_T12_connections_over_the_cap_are_closed_and_the_others_go_on() -> None:
    async with running(milter_config(limits={"connections": 5, "connections_listed": 500})) as door:
        first = await door.connect()
        crowd = await asyncio.gather(*(door.connect(negotiated=False) for _ in range(200)))
        assert sum([await one.closed() for one in crowd[4:]]) == 196
        assert (await first.message())[-1][0] == b"c"
        assert len(door.door.sessions) == 5
        for one in crowd:
            one.close()


async def test_no_memory_is_not_now_and_keeps_nothing() -> None:
    limits = {"max_inflight": 100_000, "data_idle": 0.1}
    async with running(milter_config(limits=limits)) as door:
        mta = await door.connect()
        await mta.envelope()
        mta.content(body=b"x\r\n" * 400_000)
        assert replied(await mta.answers()).startswith("452 4.3.1")
        assert door.door.budget.used == 0
        assert (await mta.message())[-1][0] == b"c"


async def test_memory_is_waited_for() -> None:
    async with running(milter_config(limits={"max_inflight": 2_000_000})) as door:
        assert door.door.budget.take(1_900_000)
        mta = await door.connect()
        await mta.envelope()
        mta.content(body=b"x\r\n" * 200_000)
        await asyncio.sleep(0.1)
        assert door.memory.messages == []
        door.door.budget.give(1_900_000)
        assert (await mta.answers())[-1][0] == b"c"
        assert len(door.memory.messages[0][1]) > 600_000
        assert door.door.budget.used == 0


async def test_T01_a_packet_that_is_not_whole_counts_in_the_memory_of_the_door() -> None:
    async with running(milter_config(limits={"max_inflight": 4_000_000})) as door:
        idle, amid = await door.connect(), await door.connect()
        idle.writer.write(struct.pack(">I", 1_000_000) + b"D" + bytes(600_000))
        await amid.envelope()
        amid.writer.write(struct.pack(">I", 1_000_000) + b"B" + bytes(600_000))
        await door.until(lambda: door.door.budget.used >= 1_200_000)
        idle.close()
        amid.close()
        await door.until(lambda: not door.door.sessions)
        assert door.door.budget.used == 0


async def test_T01_a_packet_of_no_message_that_finds_no_memory_ends_its_connection_and_no_other() -> None:
    async with running(milter_config(limits={"max_inflight": 300_000, "data_idle": 0.1})) as door:
        other, idle, amid = [await door.connect() for _ in range(3)]
        idle.writer.write(struct.pack(">I", 1_000_000) + b"D" + bytes(900_000))
        assert await idle.closed()
        await amid.envelope()
        amid.writer.write(struct.pack(">I", 1_000_000) + b"B" + bytes(900_000))
        assert await amid.closed()
        assert door.door.counters["closed: no memory for a packet"] == door.door.counters["no_memory"] == 2
        assert (await other.message())[-1][0] == b"c"
        assert door.door.budget.used == 0


async def test_T12_packets_that_are_not_whole_share_one_budget() -> None:
    """Fifty connections with a packet each: what is kept of them all is bounded by the config, not by their number."""
    async with running(milter_config(limits={"max_inflight": 3_000_000, "data_idle": 0.5})) as door:
        many = [await door.connect() for _ in range(50)]
        for one in many:
            one.writer.write(struct.pack(">I", 1_000_000) + b"D" + bytes(900_000))
        await asyncio.sleep(0.3)
        kept = [session._codec.pending for session in door.door.sessions]  # type: ignore[attr-defined]
        assert door.door.budget.used <= 3_000_000
        assert sum(kept) <= 3_000_000 + 50 * 2 * 262_144, "what came in the one read before the wait, and an ordinary packet"
        await door.until(lambda: door.door.counters.get("no_memory", 0) > 40)  # each waits for the others, and none for ever
        for one in many:
            one.close()
        await door.until(lambda: not door.door.sessions)
        assert door.door.budget.used == 0


async def test_over_the_size_is_refused_and_the_connection_goes_on() -> None:
    async with running(milter_config(max_message_size=100_000)) as door:
        mta = await door.connect()
        await mta.envelope()
        mta.content(body=b"x\r\n" * 100_000)
        assert replied(await mta.answers()).startswith("552 5.3.4")
        assert (await mta.message())[-1][0] == b"c"
        assert door.door.budget.used == 0


async def test_an_mta_that_reads_no_answers_is_ended(tmp_path: FilePath) -> None:
    async with running(milter_config(limits={"data_idle": 0.2, "recipients": 1}), path=tmp_path / "milter.sock") as door:
        mta = await door.connect()
        await mta.envelope()
        mta.writer.write((struct.pack(">I", 12) + b"R<x@gov.in>\0") * 20_000)
        await door.until(lambda: not door.door.sessions)
        assert door.door.counters["closed: answers not read"] == 1
        assert door.door.budget.used == 0


# --- the end ----------------------------------------------------------------------------------------------------------------


async def test_drain_ends_what_is_idle_and_finishes_a_message() -> None:
    async with running() as door:
        door.memory.hold = asyncio.Event()
        idle, busy = await door.connect(), await door.connect()
        await busy.envelope()
        busy.content()
        await door.memory.begun.wait()
        draining = asyncio.ensure_future(door.door.drain(5))
        assert await idle.closed()
        assert not draining.done()
        door.memory.hold.set()
        assert (await busy.answers())[-1][0] == b"c"
        assert await busy.closed()
        await draining


async def test_only_the_addresses_on_the_list_may_ask() -> None:
    listen = [{"door": "milter", "address": "127.0.0.1:0", "networks": ["192.0.2.1/32"]}]
    async with running(milter_config(listen=listen)) as door:
        mta = await door.connect(negotiated=False)
        assert await mta.closed()
        assert door.door.counters["closed: address not listed"] == 1


@pytest.mark.parametrize(
    ("listening", "lack"),
    [
        ({"address": "unix:/var/spool/postfix/gateway/milter.sock"}, ""),
        ({"address": "127.0.0.1:8891"}, ""),
        ({"address": "[::1]:8891"}, ""),
        ({"address": "systemd:milter"}, ""),
        ({"address": "0.0.0.0:8891", "networks": ["10.0.0.25/32"]}, ""),
        ({"address": "0.0.0.0:8891"}, "name the MTA"),
        ({"address": "10.0.0.1:8891"}, "name the MTA"),
        ({"address": "127.0.0.1:8891", "proxy_protocol": True, "proxies": ["10.0.0.2/32"]}, "take proxy_protocol"),
    ],
)
def test_T03_nobody_but_the_mta_may_reach_the_door(listening: dict[str, Any], lack: str) -> None:
    found = lacking(milter_config(listen=[{"door": "milter", **listening}]))
    assert (lack in found[0] and len(found) == 1) if lack else found == []
