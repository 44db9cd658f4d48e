"""Behind a load balancer: whose PROXY header counts, what it changes, and that not an octet behind it is lost."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import ssl
import struct
from typing import Any

import pytest
import uvloop

from gateway.audit import events
from gateway.config import Tls
from gateway.doors import tls
from gateway.envelope import Peer
from gateway.policy import decide

from .smtp_door import OURS, Client, Running, any_context, make_certificate, make_config, running
from .test_decide import CONFIG, NONE, POLICY, inspection, transaction

LOGIN = f"a@{OURS}"
SIGN_IN = "AUTH PLAIN " + base64.b64encode(f"\0{LOGIN}\0right".encode()).decode()
TEN = b"PROXY TCP4 10.1.2.3 10.0.0.1 4711 25\r\n"


@pytest.fixture(params=[uvloop.EventLoopPolicy, asyncio.DefaultEventLoopPolicy], ids=["uvloop", "asyncio"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    policy: asyncio.AbstractEventLoopPolicy = request.param()
    return policy


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def v2(client: str, port: int = 4711, *, command: int = 0x21, tlvs: bytes = b"") -> bytes:
    address = ipaddress.ip_address(client)
    own = ipaddress.ip_address("10.0.0.1" if address.version == 4 else "2001:db8::1")
    block = address.packed + own.packed + struct.pack(">HH", port, 25) + tlvs
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, 0x11 if address.version == 4 else 0x21]) + struct.pack(">H", len(block)) + block


@contextlib.asynccontextmanager
async def behind(door: str = "smtp", certificate: Tls | None = None, *, listen: dict[str, Any] | None = None, **more: Any) -> Any:
    """A door behind the balancer 127.0.0.1; 10.0.0.0/8 is a listed network."""
    one = {"door": door, "address": "127.0.0.1:0", "proxy_protocol": True, "proxies": ["127.0.0.0/8", "::1/128"], **(listen or {})}
    given: dict[str, Any] = {"originators": {"networks": ["10.0.0.0/8"]}, **more}
    context = tls.context(certificate) if certificate is not None else None
    async with running(make_config(listen=[one], **given), tls=context, address="127.0.0.1:0") as run:
        run.memory.logins[LOGIN] = ("right", (LOGIN,))
        yield run


@pytest.mark.parametrize(
    ("header", "ip", "port", "listed"),
    [
        (TEN, "10.1.2.3", 4711, True),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n", "2001:db8::7", 4711, False),
        (b"PROXY TCP6 ::ffff:10.1.2.3 ::1 4711 25\r\n", "10.1.2.3", 4711, True),
        (v2("10.1.2.3"), "10.1.2.3", 4711, True),
        (v2("203.0.113.7", tlvs=b"\x02\0\x04host"), "203.0.113.7", 4711, False),
        (v2("::ffff:10.1.2.3"), "10.1.2.3", 4711, True),
    ],
)
async def test_the_clients_own_address_counts(header: bytes, ip: str, port: int, listed: bool) -> None:
    async with behind() as door:
        client = await door.connect(before=header)
        await client.start(f"b@{OURS}", sender=LOGIN if listed else "x@example.net")
        assert (await client.ask(b".")).startswith("250")
        tx, _ = door.memory.messages[0]
        assert (tx.peer.ip, tx.peer.port, tx.peer.listed, tx.peer.through) == (ip, port, listed, "127.0.0.1")
        assert tx.verified_originator is listed


@pytest.mark.parametrize("header", [v2("127.0.0.1", command=0x20), b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 10.1.2.3 10.0.0.1 1 2\r\n"])
async def test_whoever_the_balancer_does_not_name_is_not_the_balancer(header: bytes) -> None:
    """Its own address may be in a listed network; what comes through it without a name is a stranger's."""
    async with behind(originators={"networks": ["127.0.0.0/8", "10.0.0.0/8"]}) as door:
        client = await door.connect(before=header)
        await client.ask("EHLO client.example")
        assert (await client.ask("MAIL FROM:<x@example.net>")).startswith("250")
        assert (await client.ask("RCPT TO:<somebody@example.org>")).startswith("550 5.7.1 Relaying")
        refusal = door.memory.refusals[0]
        assert refusal.client_ip == "127.0.0.1"
    async with behind(listen={"networks": ["10.0.0.0/8"]}) as door:
        client = await door.connect(before=header)  # so the balancer sees that we are well
        await client.ask("EHLO client.example")
        assert (await client.ask("MAIL FROM:<x@example.net>")).startswith("554 5.7.1 Your computer's address 127.0.0.1")


@pytest.mark.parametrize("data", [TEN, v2("10.1.2.3"), b"EHLO client.example\r\n", b""])
async def test_S41_a_header_from_anybody_else_is_not_read_and_nothing_is_said(data: bytes) -> None:
    async with behind(listen={"proxies": ["192.0.2.1/32"]}) as door:
        client = await door.connect(greeted=False)
        with contextlib.suppress(ConnectionError):
            client.write(data)
        assert await client.closed()
        assert door.door.counters == {"proxy: not a load balancer": 1}
        assert door.door.sessions == set()


@pytest.mark.parametrize(
    "data",
    [
        b"EHLO client.example\r\n",
        b"PROXY TCP4 10.1.2.3 10.0.0.1 4711\r\n",
        b"PROXY TCP4 10.1.2.3 10.0.0.1 4711 25\nEHLO x\r\n",
        b"\x16\x03\x01\x02\0" + b"x" * 512,
        b"\0" * 600,
        v2("10.1.2.3", command=0x31),
        v2("10.1.2.3")[:20],
    ],
)
async def test_S41_garbage_from_the_balancer_ends_the_connection_without_a_word(data: bytes) -> None:
    async with behind(limits={"proxy_header": 0.3}) as door:
        client = await door.connect(greeted=False)
        client.write(data)
        if len(data) < 25 and data[:1] == b"\r":
            client.writer.write_eof()
        assert await client.closed()
        assert door.door.counters == {"proxy: no header": 1}


async def test_a_header_has_to_come_in_time_and_may_come_in_pieces() -> None:
    async with behind(limits={"proxy_header": 0.3}) as door:
        slow = await door.connect(greeted=False)
        slow.write(TEN[:10])
        pieces = await door.connect(greeted=False)
        for position in range(0, len(TEN), 5):
            pieces.write(TEN[position : position + 5])
            await asyncio.sleep(0.005)
        assert (await pieces.reply()).startswith("220 ")
        assert await slow.closed()


async def test_header_and_commands_in_one_packet() -> None:
    """A stranger who speaks before the greeting is still seen to; a listed client's first command is not lost."""
    async with behind() as door:
        client = await door.connect(greeted=False, before=TEN + b"EHLO client.example\r\n")
        assert (await client.reply()).startswith("220 ")
        assert (await client.reply()).startswith("250-")
    async with behind(limits={"greet_delay": 5}) as door:
        client = await door.connect(greeted=False, before=v2("203.0.113.7") + b"EHLO client.example\r\n")
        assert (await client.reply()).startswith("554 5.5.0")


async def test_only_one_header_counts() -> None:
    async with behind() as door:
        client = await door.connect(before=TEN)
        client.write(b"PROXY TCP4 10.9.9.9 10.0.0.1 1 2\r\n")
        assert await client.closed()  # a protocol that is none of an SMTP client's


async def test_the_limits_are_those_of_the_client() -> None:
    async with behind(limits={"connections_per_ip": 1}) as door:
        kept = [await door.connect(before=v2(ip)) for ip in ("203.0.113.7", "203.0.113.8")]
        client = await door.connect(greeted=False, before=v2("203.0.113.7"))
        assert (await client.reply()).startswith("421 4.7.0")
        assert len(kept) == len(door.door.sessions) == 2


def hello(context: ssl.SSLContext) -> tuple[bytes, ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A client hello, made before there is a connection."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read(), client, incoming, outgoing


async def greeting_under_tls(client: Client, parts: tuple[bytes, ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]) -> bytes:
    """The first octets of SMTP, by a handshake that is driven by hand."""
    _, tunnel, incoming, outgoing = parts
    done = False
    while True:
        try:
            if not done:
                tunnel.do_handshake()
                done = True
            said = tunnel.read(1000)
        except ssl.SSLWantReadError:
            client.write(outgoing.read())
            data = await asyncio.wait_for(client.reader.read(65536), 5)
            if not data:
                return b""
            incoming.write(data)
        else:
            return said


@pytest.mark.parametrize("header", [TEN, v2("10.1.2.3"), v2("10.1.2.3", tlvs=b"\x20\x00\x80" + b"t" * 128)])
@pytest.mark.parametrize("cut", [0, 7, 40, 60])
async def test_the_client_hello_in_the_packet_of_the_header_is_not_eaten(certificate: Tls, header: bytes, cut: int) -> None:
    async with behind("smtps", certificate) as door:
        parts = hello(any_context())
        whole = header + parts[0]
        client = await door.connect(greeted=False)
        client.write(whole[:cut])
        if cut:
            await asyncio.sleep(0.02)
        client.write(whole[cut:])
        assert (await greeting_under_tls(client, parts)).startswith(b"220 gw.dept.gov.in")


async def test_submission_behind_a_balancer(certificate: Tls) -> None:
    async with behind(
        "smtps", certificate, submission={"vpn": ["10.0.0.0/8"]}, listen={"networks": ["10.0.0.0/8", "203.0.113.0/24"]}
    ) as door:
        client = await door.connect(before=TEN, tls=True)
        await client.ask("EHLO client.example")
        assert (await client.ask(SIGN_IN)).startswith("235")
        assert door.memory.sign_ins == [(LOGIN, "10.1.2.3", "submission")]
        await client.envelope("b@gov.in", sender=LOGIN)
        assert (await client.ask(b".")).startswith("250")
        peer = door.memory.messages[0][0].peer
        assert (peer.ip, peer.user, peer.through, peer.tls_version) == ("10.1.2.3", LOGIN, "127.0.0.1", "TLSv1.3")
        client = await door.connect(before=v2("203.0.113.7"), tls=True)
        await client.ask("EHLO client.example")
        assert (await client.ask(SIGN_IN)).startswith("530 5.7.0 Connect through the government VPN")
        client = await door.connect(before=v2("192.0.2.1"), tls=True, greeted=False)
        assert (await client.reply()).startswith("554 5.7.1 Your computer's address 192.0.2.1 is not on the list")


@pytest.mark.parametrize("header", [v2("127.0.0.1", command=0x20), b"PROXY UNKNOWN\r\n"])
async def test_nobody_signs_in_from_where_the_balancer_does_not_say(certificate: Tls, header: bytes) -> None:
    async with behind("smtps", certificate) as door:
        client = await door.connect(before=header, tls=True)  # greeted: the balancer sees that we are well
        assert "AUTH" not in await client.ask("EHLO client.example")
        assert (await client.ask(SIGN_IN)).startswith("554 5.7.1 The load balancer did not say")
        assert (await client.ask(f"MAIL FROM:<{LOGIN}>")).startswith("554 5.7.1")
        assert door.memory.sign_ins == []


@pytest.mark.parametrize("more", [{"listen": {"networks": ["203.0.113.0/24"]}}, {"submission": {"vpn": ["203.0.113.0/24"]}}])
async def test_a_whole_office_behind_one_address_is_no_stranger(certificate: Tls, more: dict[str, Any]) -> None:
    async with behind("smtps", certificate, limits={"connections_per_ip": 1, "connections_per_minute": 1}, **more) as door:
        kept = [await door.connect(before=v2("203.0.113.7"), tls=True) for _ in range(3)]
        assert len(door.door.sessions) == len(kept)
        for client in kept:
            assert (await client.ask("QUIT")).startswith("221")
            assert await client.closed()
        await asyncio.sleep(0.05)
        assert (door.door.sessions, door.door._callers._sessions) == (set(), {})


async def test_starttls_behind_a_balancer(certificate: Tls) -> None:
    async with behind("submission", certificate) as door:
        client = await door.connect(before=v2("10.1.2.3"))
        await client.ask("EHLO client.example")
        assert (await client.ask("STARTTLS")).startswith("220")
        await client.secure()
        await client.ask("EHLO client.example")
        assert (await client.ask(SIGN_IN)).startswith("235")


async def test_ipv6_balancer() -> None:
    one = {"door": "smtp", "address": "127.0.0.1:0", "proxy_protocol": True, "proxies": ["::1/128"]}
    config = make_config(listen=[one])
    async with running(config, host="::1", address="127.0.0.1:0") as door:
        run: Running = door
        client = await run.connect(before=v2("2001:db8::7"))
        await client.start(sender="x@example.net")
        assert (await client.ask(b".")).startswith("250")
        assert run.memory.messages[0][0].peer.through == "::1"


async def test_O13_a_stop_while_a_header_is_awaited() -> None:
    async with behind() as door:
        client = await door.connect(greeted=False)
        client.write(TEN[:5])
        await asyncio.sleep(0.02)
        await door.door.drain(0.1)
        assert await client.closed()


def test_the_decision_log_names_client_and_balancer() -> None:
    tx = transaction("a@ministry.gov.in", peer=Peer("10.1.2.3", helo="pc", listed=True, through="10.0.0.2"))
    verdict = decide.decide(tx, inspection(), POLICY, NONE, CONFIG)
    (event,) = events.decisions(tx, verdict, {}, 0.0, lambda word: word, "gw")
    assert (event.document["source"]["ip"], event.document["gateway"]["through"]) == ("10.1.2.3", "10.0.0.2")
