"""The SMTP door on loopback against the catalogue of hostile inputs, groups S and A, with a pipeline that only remembers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from pathlib import Path as FilePath

import pytest
import uvloop

from gateway.address import Path
from gateway.doors.relaying import Refused
from gateway.envelope import Peer
from gateway.reply import OUR_FAULT, Reply, ReplyError

from .smtp_door import OURS, Client, make_config, running

CONVERSATIONS = FilePath(__file__).parent / "conversations" / "smtp"
MESSAGE = b"Subject: x\r\n\r\nhello\r\n"


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """The loop that the doors run on."""
    return uvloop.EventLoopPolicy()


# --- conversations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted(CONVERSATIONS.glob("*.txt")), ids=lambda file: file.stem)
async def test_S08_S09_S10_S12_S14_S15_S16_S33_S40_S41_A02_conversation(file: FilePath) -> None:
    async with running() as door:
        await (await door.connect(greeted=False)).converse(file, door)


# --- the ordinary way --------------------------------------------------------------------------------------------------


async def test_a_message_comes_through_byte_for_byte() -> None:
    assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
    async with running() as door:
        client = await door.connect()
        await client.start(f"b@{OURS}", "c@gov.in", f"b@{OURS}")
        reply = await client.ask(MESSAGE + b"..dot\r\n.")
        ((tx, content),) = door.memory.messages
        assert reply == f"250 2.0.0 accepted {tx.reference}"
        assert content == MESSAGE + b".dot\r\n"
        assert [r.path.text for r in tx.envelope.recipients] == [f"b@{OURS}", "c@gov.in"]
        assert (tx.verified_originator, tx.department, tx.peer.listed, tx.peer.helo) == (True, OURS, True, "client.example")
        assert tx.size == len(content)
        assert (await client.ask("QUIT"))[:3] == "221"
        assert await client.closed()
        assert door.door.budget.used == 0


async def test_ipv6() -> None:
    async with running(host="::1") as door:
        client = await door.connect()
        await client.start()
        assert (await client.ask(b".")).startswith("250")
        assert door.memory.messages[0][0].peer.ip == "::1"


async def test_S06_empty_message() -> None:
    async with running() as door:
        client = await door.connect()
        await client.start()
        assert (await client.ask(b".")).startswith("250")
        assert door.memory.messages[0][1] == b""


@pytest.mark.parametrize(
    "text", [b"a\n.\nMAIL FROM:<x@y.in>\r\n", b"a\r.\rMAIL", b"a\r\n\0.\r\n", b"a\rb\r\n.\r\n", b"A: b\nC: d\r\n\r\nx\r\n.\r\n"]
)
async def test_S01_S02_S03_S04_S05_smuggling_is_refused_and_the_session_ends(text: bytes) -> None:
    async with running() as door:
        client = await door.connect()
        await client.start()
        client.write(text)
        assert (await client.reply()).startswith("550 5.6.0")
        assert await client.closed()
        assert door.memory.messages == []
        assert door.memory.refusals[0].rule.startswith("message-form: ")
        assert door.door.budget.used == 0


# --- before and outside the dialogue -----------------------------------------------------------------------------------


async def test_S11_S10_talking_before_the_banner() -> None:
    async with running(make_config(listed=False, limits={"greet_delay": 5})) as door:
        client = await door.connect(greeted=False)
        client.write(b"EHLO early.example\r\n")
        assert (await client.reply()).startswith("554 5.5.0")
        assert await client.closed()


async def test_strangers_wait_for_the_banner_and_listed_clients_do_not() -> None:
    async with running(make_config(listed=False, limits={"greet_delay": 0.2})) as door:
        before = asyncio.get_running_loop().time()
        await door.connect()
        assert asyncio.get_running_loop().time() - before >= 0.19
    async with running(make_config(limits={"greet_delay": 30})) as door:
        await door.connect()


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
             b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\xff\x80\x01\r\n",
             b"PROXY TCP4 10.0.0.1 10.0.0.2 1 25\r\n"]
)  # fmt: skip
@pytest.mark.parametrize("listed", [True, False])
async def test_S19_S41_other_protocols_are_dropped(data: bytes, listed: bool) -> None:
    async with running(make_config(listed=listed)) as door:
        client = await door.connect()
        client.write(data)
        assert await client.closed()


async def test_S13_names_do_not_reach_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    async with running() as door:
        client = await door.connect()
        for name in (b"\xff\xfe", b"a\x1b[31mb", b"a\0b", b"", b"a b", b"[1.2.3"):
            assert (await client.ask(b"EHLO " + name)).startswith("501")
        client.write(b"EHLO " + b"a" * 1_000_000 + b"\r\n")
        assert (await client.reply()).startswith("500")
        assert await client.closed()
    said = "".join(capfd.readouterr())
    assert "\x1b[31mb" not in said


# --- limits ------------------------------------------------------------------------------------------------------------


async def test_S17_recipients_over_the_limit() -> None:
    async with running() as door:
        client = await door.connect()
        await client.ask("EHLO client.example")
        await client.ask(f"MAIL FROM:<a@{OURS}>")
        client.write(b"".join(b"RCPT TO:<u%d@gov.in>\r\n" % n for n in range(1500)))
        replies = [await client.reply() for _ in range(1500)]
        assert all(reply.startswith("250 2.1.5") for reply in replies[:100])
        assert all(reply.startswith("452 4.5.3") for reply in replies[100:])
        assert (await client.ask("DATA")).startswith("354")
        assert (await client.ask(b".")).startswith("250")
        assert len(door.memory.messages[0][0].envelope.recipients) == 100


async def test_S18_wrong_commands() -> None:
    async with running(error_delay=0.05) as door:
        client = await door.connect()
        before = asyncio.get_running_loop().time()
        for _ in range(10):
            assert (await client.ask("WRONG")).startswith("500 5.5.2")
        quick = asyncio.get_running_loop().time() - before
        for _ in range(10):
            assert (await client.ask("WRONG")).startswith("500 5.5.2")
        slow = asyncio.get_running_loop().time() - before - quick
        assert slow >= 0.5 > quick
        assert (await client.reply()).startswith("421 4.7.0")
        assert await client.closed()


async def test_junk_commands_become_errors() -> None:
    async with running(make_config(limits={"junk_commands": 5})) as door:
        client = await door.connect()
        client.write(b"NOOP\r\n" * 40)
        replies = [await client.reply() for _ in range(26)]
        assert [reply[:3] for reply in replies] == ["250"] * 25 + ["421"]
        assert await client.closed()


async def test_S20_session_limit() -> None:
    async with running(make_config(limits={"session": 0.3})) as door:
        client = await door.connect()
        while (reply := await client.ask("NOOP")).startswith("250"):
            await asyncio.sleep(0.05)
        assert reply.startswith("421 4.4.2")
        assert await client.closed()


async def test_S21_slow_command() -> None:
    async with running(make_config(limits={"command_deadline": 0.2})) as door:
        client = await door.connect()
        answer = asyncio.ensure_future(client.reply())
        for octet in b"EHLO slow.example.of.many.labels\r\n":
            if answer.done():
                break
            client.write(bytes([octet]))
            await asyncio.sleep(0.02)
        assert (await answer).startswith("421 4.4.2")
        assert await client.closed()


async def test_idle_session_ends_and_sooner_under_stress() -> None:
    async with running(make_config(limits={"idle": 0.2})) as door:
        client = await door.connect()
        assert (await client.reply()).startswith("421 4.4.2")
    async with running(make_config(limits={"idle_stressed": 0.2, "connections": 2})) as door:
        first, second = await door.connect(), await door.connect()
        assert (await first.reply()).startswith("421 4.4.2")
        assert (await second.reply()).startswith("421 4.4.2")


async def test_S22_slow_text() -> None:
    async with running(make_config(limits={"data_min_rate": 1000})) as door:
        client = await door.connect()
        await client.start()
        answer = asyncio.ensure_future(client.reply())
        while not answer.done():
            client.write(b"x")
            await asyncio.sleep(0.02)
        assert (await answer).startswith("421 4.4.2")
        assert await client.closed()
        assert door.door.budget.used == 0
    async with running(make_config(limits={"data_idle": 0.2})) as door:
        client = await door.connect()
        await client.start()
        client.write(b"Subject: x\r\n")
        assert (await client.reply()).startswith("421 4.4.2")


async def test_S23_sessions_of_one_stranger() -> None:
    async with running(make_config(listed=False, limits={"connections_per_ip": 3})) as door:
        clients = [await door.connect() for _ in range(3)]
        for _ in range(5):
            more = await door.connect(greeted=False)
            assert (await more.reply()).startswith("421 4.7.0")
            assert await more.closed()
        assert (await clients[0].ask("NOOP")).startswith("250")
        clients[1].close()
        await asyncio.sleep(0.05)
        await door.connect()
    async with running(make_config(listed=False, limits={"connections_per_minute": 4})) as door:
        for _ in range(4):
            (await door.connect()).close()
        assert (await (await door.connect(greeted=False)).reply()).startswith("421")
    async with running(make_config(limits={"connections_per_minute": 1, "connections_per_ip": 1, "connections_listed": 4})) as door:
        clients = [await door.connect() for _ in range(4)]
        assert (await (await door.connect(greeted=False)).reply()).startswith("421")


async def test_S23_sessions_in_all() -> None:
    """The last tenth is for whoever has less than a share, and beyond that nobody comes in."""
    async with running(make_config(limits={"connections": 50})) as door:
        clients = [await door.connect() for _ in range(45)]
        assert (await (await door.connect(greeted=False)).reply()).startswith("421 4.7.0")
        clients += [await door.connect(source="127.0.0.2") for _ in range(5)]
        for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            assert (await (await door.connect(greeted=False, source=source)).reply()).startswith("421 4.7.0")
        assert (await clients[49].ask("NOOP")).startswith("250")
        assert door.door.counters == {"more than a share of the sessions": 1, "over the session cap": 3}


@pytest.mark.parametrize(("length", "closes"), [(512, False), (513, True), (2000, True), (10_000_000, True)])
async def test_S24_command_lines(length: int, closes: bool) -> None:
    async with running() as door:
        client = await door.connect()
        line = b"NOOP " + b"x" * (length - 7)
        if length < 10_000_000:
            line += b"\r\n"
        client.write(line)
        reply = await client.reply()
        assert reply.startswith("500 5.5.2" if closes else "250")
        if closes:
            assert await client.closed()


async def test_S25_S27_S28_long_lines_and_large_messages() -> None:
    async with running(make_config(max_message_size=100_000)) as door:
        client = await door.connect()
        await client.start()
        assert (await client.ask(b"a" * 998 + b"\r\n.")).startswith("250")
        await client.envelope()
        assert (await client.ask(b"a" * 999 + b"\r\n.")).startswith("550 5.6.0")
        await client.envelope()
        assert (await client.ask((b"b" * 98 + b"\r\n") * 1001 + b".")).startswith("552 5.3.4")
        assert door.door.budget.used == 0
        assert (await client.ask(f"MAIL FROM:<a@{OURS}> SIZE=10")).startswith("250")
        assert (await client.ask(f"RCPT TO:<b@{OURS}>")).startswith("250")
        assert (await client.ask("DATA")).startswith("354")
        assert (await client.ask((b"b" * 98 + b"\r\n") * 3000 + b".")).startswith("552 5.3.4")
        assert (await client.ask(f"MAIL FROM:<a@{OURS}> SIZE=100001")).startswith("552 5.3.4")
        await client.envelope()
        client.write(b"c" * 500_000)
        assert (await client.reply()).startswith("552")
        assert await client.closed()
        assert len(door.memory.messages) == 1


async def test_bodies_stay_under_the_budget() -> None:
    async with running(make_config(limits={"max_inflight": 600_000, "data_idle": 0.5, "data_min_rate": 0})) as door:
        door.memory.hold = asyncio.Event()
        first, second = await door.connect(), await door.connect()
        await first.start()
        body = (b"x" * 98 + b"\r\n") * 5000
        first.write(body + b".\r\n")
        await door.memory.begun.wait()
        assert 500_000 <= door.door.budget.used <= 600_000
        await second.start()
        second.write(body + b".\r\n")  # waits for memory, in vain
        assert (await second.reply()).startswith("452 4.3.1")
        assert door.door.budget.used <= 600_000
        await second.envelope()
        second.write(body + b".\r\n")
        await asyncio.sleep(0.1)
        door.memory.hold.set()  # now there is room
        assert (await first.reply()).startswith("250")
        assert (await second.reply()).startswith("250")
        assert [len(content) for _, content in door.memory.messages] == [500_000, 500_000]
        assert door.door.budget.used == 0


# --- ends and faults ---------------------------------------------------------------------------------------------------


async def test_S42_client_leaves_before_the_dot() -> None:
    async with running() as door:
        client = await door.connect()
        await client.start()
        client.write(MESSAGE)
        await client.writer.drain()
        client.close()
        await asyncio.sleep(0.1)
        assert door.memory.messages == []
        assert door.door.sessions == set()
        assert door.door.budget.used == 0


@pytest.mark.parametrize("reset", [False, True])
async def test_S42_S43_client_leaves_after_the_dot(reset: bool) -> None:
    async with running() as door:
        door.memory.hold = asyncio.Event()
        client = await door.connect()
        await client.start()
        client.write(MESSAGE + b".\r\n")
        await door.memory.begun.wait()
        if reset:
            sock = client.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.writer.transport.abort()
        else:
            client.close()
        await asyncio.sleep(0.05)
        door.memory.hold.set()
        await asyncio.sleep(0.05)
        assert len(door.memory.messages) == 1
        assert door.door.budget.used == 0


async def test_half_closed_client_still_gets_its_reply() -> None:
    async with running() as door:
        door.memory.hold = asyncio.Event()
        client = await door.connect()
        await client.start()
        client.write(MESSAGE + b".\r\nQUIT\r\n")
        client.writer.write_eof()
        await door.memory.begun.wait()
        await asyncio.sleep(0.05)
        door.memory.hold.set()
        assert (await client.reply()).startswith("250")
        assert (await client.reply()).startswith("221")
        assert await client.closed()


@pytest.mark.parametrize(
    ("fault", "reply"),
    [
        (OSError(28, "No space left on device", "/var/spool/secret"), str(OUR_FAULT)),
        (ReplyError(Reply(452, "4.3.1", "No room."), "/var/spool/secret"), "452 4.3.1 No room."),
        (ReplyError(Reply(554, "5.4.6", "A loop.")), "554 5.4.6 A loop."),
    ],
)
async def test_faults_are_temporary_and_say_nothing(fault: Exception, reply: str) -> None:
    async with running() as door:
        door.memory.fault = fault
        client = await door.connect()
        await client.start()
        said = await client.ask(MESSAGE + b".")
        assert said == reply
        door.memory.fault = None
        await client.envelope()
        assert (await client.ask(MESSAGE + b".")).startswith("250")


async def test_a_fault_of_the_door_itself_is_a_421() -> None:
    def broken(sender: Path, recipient: Path, peer: Peer) -> Refused | None:
        raise RuntimeError("/etc/secret")

    async with running(policy=broken) as door:
        client = await door.connect()
        await client.ask("EHLO client.example")
        await client.ask(f"MAIL FROM:<a@{OURS}>")
        said = await client.ask("RCPT TO:<b@gov.in>")
        assert said.startswith("421 4.3.0")
        assert "secret" not in said
        assert await client.closed()


async def test_S44_the_same_message_many_times() -> None:
    async with running() as door:

        async def one() -> None:
            client = await door.connect()
            await client.start()
            for _ in range(9):
                assert (await client.ask(MESSAGE + b".")).startswith("250")
                await client.envelope()
            assert (await client.ask(MESSAGE + b".")).startswith("250")
            client.close()

        await asyncio.gather(*(one() for _ in range(100)))
        assert len({tx.id for tx, _ in door.memory.messages}) == 1000
        assert len({tx.reference for tx, _ in door.memory.messages}) == 1000


@pytest.mark.slow
async def test_a_stop_lets_transactions_finish() -> None:
    async with running() as door:
        door.memory.hold = asyncio.Event()
        idle, under_way, open_one = await door.connect(), await door.connect(), await door.connect()
        await under_way.start()
        under_way.write(MESSAGE + b".\r\n")
        await open_one.start()
        await door.memory.begun.wait()
        stopping = asyncio.ensure_future(door.door.drain(5))
        assert (await idle.reply()).startswith("421 4.3.2")
        late = Client(*await asyncio.open_connection(door.host, door.port))
        assert (await late.reply()).startswith("421 4.3.2")
        door.memory.hold.set()
        assert (await under_way.reply()).startswith("250")
        assert (await under_way.reply()).startswith("421 4.3.2")
        assert (await open_one.ask(MESSAGE + b".")).startswith("250")
        assert (await open_one.reply()).startswith("421 4.3.2")
        await stopping
        assert len(door.memory.messages) == 2


async def test_a_client_that_does_not_read_is_not_served_on() -> None:
    async with running(make_config(limits={"junk_commands": 10_000_000})) as door:
        client = await door.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        wrote = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                while wrote < 60_000_000:
                    client.write(b"NOOP\r\n" * 10_000)
                    await client.writer.drain()
                    wrote += 60_000
        session = next(iter(door.door.sessions))
        assert session._codec.pending < 2_000_000  # type: ignore[attr-defined]
        assert session._transport.get_write_buffer_size() < 5_000_000  # type: ignore[attr-defined]
        client.writer.transport.abort()


async def test_a_stranger_cannot_reserve_memory_by_claiming_a_size() -> None:
    async with running(make_config(listed=False, limits={"max_inflight": 1_000_000})) as door:
        client = await door.connect()
        await client.ask("EHLO client.example")
        await client.ask("MAIL FROM:<a@gmail.com> SIZE=999999")
        await client.ask(f"RCPT TO:<b@{OURS}>")
        assert (await client.ask("DATA")).startswith("354")
        assert door.door.budget.used < 100_000


async def test_octets_during_a_wait_for_memory_end_the_session() -> None:
    async with running(make_config(limits={"max_inflight": 20_000})) as door:
        door.memory.hold = asyncio.Event()
        first, second = await door.connect(), await door.connect()
        await first.start()
        first.write(MESSAGE + b".\r\n")
        await door.memory.begun.wait()
        await second.ask("EHLO client.example")
        await second.ask(f"MAIL FROM:<a@{OURS}>")
        await second.ask(f"RCPT TO:<b@{OURS}>")
        second.write(b"DATA\r\n")
        await asyncio.sleep(0.05)
        second.write(MESSAGE)
        assert (await second.reply()).startswith("421 4.5.0")
        door.memory.hold.set()
        assert (await first.reply()).startswith("250")
        await asyncio.sleep(0.05)
        assert door.door.budget.used == 0
