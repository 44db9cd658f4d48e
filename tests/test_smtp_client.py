"""The client against next hops that misbehave at every step (hostile-inputs catalogue O04 to O08)."""

from __future__ import annotations

import asyncio
import random
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config
from gateway.relay.hop_protocol import Fault, HopError
from gateway.relay.hop_tls import Contexts, Trust, is_aes_256
from gateway.relay.lanes import Breaker
from gateway.relay.pool import Pool
from gateway.relay.routes import OwnAddresses, Resolver, Routes
from gateway.relay.smtp_client import Outgoing, OutgoingRecipient, Sent
from gateway.wire.smtp_client import (
    LINE_MAX,
    Capabilities,
    HopProtocolError,
    HopReply,
    ReplyParser,
    UnsafeCommand,
    mail_command,
    rcpt_command,
    stuff,
)
from tests.hostile_hop import CLOSE, OFFER, SILENT, Hop, Slow, per_recipient

LIMITS = {"relay_connect": 0.5, "relay_command": 0.5, "relay_data_init": 0.5, "relay_data_block": 0.5, "relay_data_end": 0.5,
          "relay_quit": 0.2, "tls_handshake": 2}  # fmt: skip
CONTENT = b"From: a@dept.gov.in\r\nSubject: x\r\n\r\n.dot\r\n..two\r\nend\r\n"


def pool_for(hop: Hop, *, size: int = 4, tls: str = "none", limits: dict[str, float] | None = None, **route: Any) -> Pool:
    config = Config(
        hostname="gw.dept.gov.in",
        route=({"domains": ("*",), "next_hop": hop.address, "tls": tls, **route},),
        listen=(),
        limits={**LIMITS, **(limits or {})},
    )
    resolver = Resolver(OwnAddresses.of(config), config.limits.relay_connect)
    return Pool(Routes(config).hops[0], config, resolver, Contexts(), size)


def outgoing(*recipients: str, content: bytes = CONTENT, sender: str = "a@dept.gov.in", **more: Any) -> Outgoing:
    to = [OutgoingRecipient(r) for r in recipients or ("b@nic.in",)]
    return Outgoing(sender, to, stuff(content), len(content), not content.isascii(), **more)


async def once(pool: Pool, mail: Outgoing, *, protected: bool = False) -> Sent:
    connection = await pool.acquire(protected)
    try:
        return await connection.send(mail)
    finally:
        pool.release(connection, protected)


# --- the parser ------------------------------------------------------------------------------------------------------


def test_replies_are_cut_at_every_octet() -> None:
    wire = b"250-one\r\n250-two\r\n250 three\r\n354 go\r\n"
    for cut in range(len(wire)):
        parser = ReplyParser()
        assert parser.feed(wire[:cut]) + parser.feed(wire[cut:]) == [HopReply(250, ("one", "two", "three")), HopReply(354, ("go",))]
        assert not parser.pending


@pytest.mark.parametrize(
    "wire",
    [
        b"999 what\r\n", b"250\0 x\r\n", b"25 x\r\n", b"2500 x\r\n", b"abc\r\n", b"\r\n", b"\n", b"170 x\r\n", b"290 x\r\n", b"250_x\r\n",
        b"250-a\r\n251 b\r\n", b"250 " + b"a" * 5000 + b"\r\n", b"\xd9\xa2\xd9\xa5\xd9\xa0 x\r\n", b"250 a\rb\r\n",
    ],
)  # fmt: skip
def test_O07_replies_outside_the_grammar(wire: bytes) -> None:
    with pytest.raises(HopProtocolError):
        ReplyParser().feed(wire)


def test_O07_memory_is_capped() -> None:
    parser = ReplyParser()
    with pytest.raises(HopProtocolError):
        for _ in range(2000):  # a line that never ends
            parser.feed(b"2" * 512)
            assert len(parser._rest) <= LINE_MAX
    parser = ReplyParser()
    with pytest.raises(HopProtocolError):
        for _ in range(100_000):  # a reply that never ends
            parser.feed(b"250-x\r\n")
    assert len(parser._lines) < 200


def test_random_octets_parse_or_raise_the_one_error() -> None:
    rng = random.Random(3)
    pieces = [b"250", b"354", b" ", b"-", b"\r\n", b"\n", b"\r", b"ok", b"\0", b"421", b"x" * 600, b"\xff", b"5"]
    for _ in range(3000):
        parser = ReplyParser()
        try:
            for _ in range(5):
                parser.feed(b"".join(rng.choices(pieces, k=8)))
        except HopProtocolError:
            pass


def test_text_of_a_hop_leaves_as_printable_ascii() -> None:
    reply = ReplyParser().feed(b"550 5.1.1 \x1b[31mno\x07 \xe2\x80\xae such user\r\n")[0].as_reply()
    assert (reply.code, reply.enhanced) == (550, "5.1.1")
    assert reply.text.isascii()
    assert reply.text.isprintable()
    assert HopReply(550, ("2.0.0 lies",)).as_reply().enhanced == "5.0.0"


def test_capabilities_with_an_empty_keyword_line() -> None:
    offered = Capabilities.parse(HopReply(250, ("hop", "PIPELINING", "", "size 1000", " ", "DSN")))
    assert offered == Capabilities(pipelining=True, dsn=True, sized=True, size=1000)


@pytest.mark.parametrize("value", ["a\r\nRCPT TO:<x@y>", "a b", "a>", "a\0", "<a"])
def test_no_value_can_bring_a_second_command(value: str) -> None:
    everything = Capabilities(True, False, True, True, True, True, 0)
    with pytest.raises(UnsafeCommand):
        rcpt_command(value, everything)
    with pytest.raises(UnsafeCommand):
        mail_command(value, everything, size=1, eight_bit=False, smtputf8=False)
    with pytest.raises(UnsafeCommand):
        rcpt_command("a@b", everything, orcpt=value)
    with pytest.raises(UnsafeCommand):
        mail_command("a@b", everything, size=1, eight_bit=False, smtputf8=False, envid=value)


@pytest.mark.parametrize("content", [b"a\nb\r\n", b"a\rb\r\n", b"no end", b"", b"a\r\n.\n", b"a\0\r\n", b"a\r\r\n"])
def test_content_that_could_end_early_elsewhere_never_leaves(content: bytes) -> None:
    with pytest.raises(ValueError, match="bare"):
        stuff(content)


# --- a good hop ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def hop() -> AsyncIterator[Hop]:
    async with Hop() as hop:
        yield hop


async def test_content_arrives_octet_for_octet(hop: Hop) -> None:
    pool = pool_for(hop)
    for content in (CONTENT, b".\r\n", b"..\r\n.\r\n\r\n.", b"x\r\n" * 100_000 + b".y\r\n", "विषय\r\n".encode()):
        content = content if content.endswith(b"\r\n") else content + b"\r\n"
        sent = await once(pool, outgoing(content=content))
        assert sent.replies[0].code == 250
        assert hop.taken[-1].content == content
    assert hop.connections == 1, "one connection serves all"
    assert "RSET" not in hop.lines
    pool.close()


async def test_commands_are_pipelined_where_offered_and_not_where_not() -> None:
    for offer in (OFFER, ("8BITMIME",)):
        async with Hop(offer=offer) as hop:
            sent = await once(pool_for(hop), outgoing("a@nic.in", "b@nic.in", "c@nic.in"))
            assert [r.code for r in sent.replies] == [250] * 3
            assert [line.split(":")[0] for line in hop.lines][-5:] == ["MAIL FROM", "RCPT TO", "RCPT TO", "RCPT TO", "DATA"]


async def test_parameters_only_where_offered() -> None:
    to = [OutgoingRecipient("b@nic.in", ("FAILURE", "DELAY"), "rfc822;b+2Bx@nic.in")]
    mail = Outgoing("a@dept.gov.in", to, stuff("é\r\n".encode()), 4,
                    eight_bit=True, ret="HDRS", envid="QQ+2B1")  # fmt: skip
    async with Hop() as hop:
        sent = await once(pool_for(hop), mail)
        assert sent.dsn
        assert hop.taken[0].mail == "MAIL FROM:<a@dept.gov.in> SIZE=4 BODY=8BITMIME RET=HDRS ENVID=QQ+2B1"
        assert hop.taken[0].rcpts == ["RCPT TO:<b@nic.in> NOTIFY=DELAY,FAILURE ORCPT=rfc822;b+2Bx@nic.in"]
    async with Hop(offer=("8BITMIME",)) as hop:
        sent = await once(pool_for(hop), mail)
        assert not sent.dsn
        assert hop.taken[0].mail == "MAIL FROM:<a@dept.gov.in> BODY=8BITMIME"
        assert hop.taken[0].rcpts == ["RCPT TO:<b@nic.in>"]


@pytest.mark.parametrize(
    ("offer", "mail", "code"),
    [
        (("8BITMIME",), outgoing("राम@nic.in", smtputf8=True), "5.6.7"),
        (("SMTPUTF8",), outgoing(content="é\r\n".encode()), "5.6.3"),
        (("SIZE 10",), outgoing(), "5.3.4"),
    ],
)
async def test_what_the_hop_cannot_take_is_refused_without_asking(offer: tuple[str, ...], mail: Outgoing, code: str) -> None:
    async with Hop(offer=offer) as hop:
        sent = await once(pool_for(hop), mail)
        assert [r.enhanced for r in sent.replies] == [code]
        assert sent.replies[0].permanent
        assert not any(line.startswith("MAIL") for line in hop.lines)


async def test_helo_where_ehlo_is_unknown() -> None:
    async with Hop(replies={"EHLO": b"502 5.5.1 what\r\n"}) as hop:
        assert (await once(pool_for(hop), outgoing())).replies[0].code == 250
        assert "HELO gw.dept.gov.in" in hop.lines


async def test_unix_socket(tmp_path: Path) -> None:
    async with Hop(path=str(tmp_path / "lmtp.sock")) as hop:
        sent = await once(pool_for(hop), outgoing())
        assert sent.replies[0].code == 250
        assert sent.way == "loopback"


async def test_connections_are_bounded_and_idle_ones_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.relay.pool.IDLE", 0.05)
    async with Hop(replies={"DOT": Slow(b"250 2.0.0 ok\r\n", 0.001)}) as hop:
        pool = pool_for(hop, size=3)
        await asyncio.gather(*[once(pool, outgoing()) for _ in range(20)])
        assert len(hop.taken) == 20
        assert hop.most_open == 3
        await asyncio.sleep(0.3)
        assert hop.open == 0, "idle connections end with QUIT"
        assert hop.lines.count("QUIT") == 3


# --- O04 -------------------------------------------------------------------------------------------------------------


async def test_O04_refused_connection() -> None:
    hop = Hop()
    await hop.start()
    await hop.stop()
    with pytest.raises(HopError) as caught:
        await once(pool_for(hop), outgoing())
    assert caught.value.fault is Fault.DOWN
    assert caught.value.reply.temporary
    assert caught.value.reply.enhanced == "4.4.1"


@pytest.mark.parametrize(
    "reply", [b"421 4.3.2 closing\r\n", b"554 5.7.1 go away\r\n", b"450 later\r\n", CLOSE, SILENT, b"999 x\r\n", b"354 x\r\n"]
)
@pytest.mark.parametrize("step", ["BANNER", "EHLO"])
async def test_O04_no_conversation_is_a_deferral_of_the_hop(step: str, reply: Any) -> None:
    async with Hop(replies={step: reply}) as hop:
        with pytest.raises(HopError) as caught:
            await once(pool_for(hop), outgoing())
        assert caught.value.fault is Fault.DOWN
        assert caught.value.reply.temporary
        assert not caught.value.possible_duplicate


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize(("reply", "code"), [(b"451 4.3.0 later\r\n", 451), (b"550 5.7.1 no\r\n", 550)])
async def test_O04_codes_at_every_step(step: str, reply: bytes, code: int, pipelining: bool) -> None:
    offer = OFFER if pipelining else ("8BITMIME",)
    async with Hop(replies={step: reply}, offer=offer) as hop:
        pool = pool_for(hop)
        sent = await once(pool, outgoing("a@nic.in", "b@nic.in"))
        assert [r.code for r in sent.replies] == [code, code]
        assert not hop.taken
        hop.replies.clear()
        sent = await once(pool, outgoing("a@nic.in"))  # and the next message goes
        assert sent.replies[0].code == 250
        assert hop.connections == 1


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("reply", [CLOSE, SILENT, b"421 4.3.2 bye\r\n", (b"421 4.3.2 bye\r\n", CLOSE), (b"25", CLOSE)])
async def test_O04_closes_or_hangs_at_every_step(step: str, reply: Any, pipelining: bool) -> None:
    async with Hop(replies={step: reply}, offer=OFFER if pipelining else ("8BITMIME",)) as hop:
        with pytest.raises(HopError) as caught:
            await once(pool_for(hop), outgoing())
        assert caught.value.fault is Fault.LOST
        assert caught.value.reply.temporary
        assert not caught.value.possible_duplicate
        assert not hop.taken


async def test_O04_one_octet_a_time_does_not_reset_the_timer() -> None:
    async with Hop(replies={"MAIL": Slow(b"250 " + b"x" * 200 + b"\r\n", 0.05)}) as hop:
        start = asyncio.get_running_loop().time()
        with pytest.raises(HopError) as caught:
            await once(pool_for(hop), outgoing())
        assert asyncio.get_running_loop().time() - start < 2
        assert "in time" in caught.value.reply.text


async def test_O04_a_hop_that_reads_nothing_is_given_up() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readline()
        writer.write(b"250-x\r\n250 PIPELINING\r\n")
        for _ in range(3):
            await reader.readline()
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        reader._transport.pause_reading()
        await asyncio.sleep(30)

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    hop = Hop(port=server.sockets[0].getsockname()[1])
    with pytest.raises(HopError) as caught:
        await once(pool_for(hop), outgoing(content=b"x" * 70 + b"\r\n" + b"y" * 998 + b"\r\n" * 8_000_000))
    assert caught.value.fault is Fault.LOST
    assert not caught.value.possible_duplicate
    server.close()


async def test_a_kept_connection_that_died_is_seen_as_stale(hop: Hop) -> None:
    pool = pool_for(hop)
    await once(pool, outgoing())
    hop.replies["MAIL"] = CLOSE
    with pytest.raises(HopError) as caught:
        await once(pool, outgoing())
    assert caught.value.fault is Fault.STALE
    hop.replies.clear()
    connection = await pool.acquire(False, fresh=True)
    assert (await connection.send(outgoing())).replies[0].code == 250


# --- O05, O06, O07 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipelining", [True, False])
async def test_O05_each_recipient_has_its_own_reply(pipelining: bool) -> None:
    script = per_recipient({"b@nic.in": b"450 4.2.1 later\r\n", "c@nic.in": b"550 5.1.1 unknown\r\n", "d@nic.in": b"552 too many\r\n"})
    async with Hop(replies={"RCPT": script}, offer=OFFER if pipelining else ()) as hop:
        sent = await once(pool_for(hop), outgoing("a@nic.in", "b@nic.in", "c@nic.in", "d@nic.in"))
        assert [r.code for r in sent.replies] == [250, 450, 550, 452]
        assert hop.taken[0].rcpts == ["RCPT TO:<a@nic.in>"]


@pytest.mark.parametrize(
    "reply", [CLOSE, SILENT, (b"25", CLOSE), b"999 x\r\n", b"354 again\r\n", b"250 \0\r\n", b"250-" + b"x" * 1_000_000]
)
async def test_O06_after_the_dot_nothing_is_certain(reply: Any) -> None:
    async with Hop(replies={"DOT": reply}) as hop:
        with pytest.raises(HopError) as caught:
            await once(pool_for(hop), outgoing())
        assert caught.value.possible_duplicate
        assert caught.value.reply.temporary


@pytest.mark.parametrize(
    ("step", "reply"),
    [
        ("MAIL", b"250 " + b"x" * 1_000_000 + b"\r\n"),
        ("MAIL", b"250-x\r\n" * 100_000),
        ("MAIL", b"250 a\0b\r\n"),
        ("RCPT", b"999 x\r\n"),
        ("RCPT", b"250 ok\r\n250 ok\r\n"),  # one more than was asked
        ("RCPT", b"354 go\r\n"),
        ("DATA", b"354 go\r\n354 go\r\n"),
        ("DATA", b"250 already\r\n"),
        ("DATA", b"354 go\r\n250 2.0.0 queued\r\n"),
        ("DATA", b"354 go\r\n25"),
    ],
)
@pytest.mark.parametrize("pipelining", [True, False])
async def test_O07_protocol_errors_send_no_content(step: str, reply: bytes, pipelining: bool) -> None:
    async with Hop(replies={step: reply}, offer=OFFER if pipelining else ()) as hop:
        with pytest.raises(HopError) as caught:
            await once(pool_for(hop), outgoing())
        assert caught.value.fault is Fault.LOST
        assert not caught.value.possible_duplicate
        await asyncio.sleep(0.02)
        assert not hop.taken


async def test_O07_an_answer_during_a_long_content_ends_it() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readline()
        writer.write(b"250-x\r\n250 PIPELINING\r\n")
        for _ in range(3):
            await reader.readline()
        writer.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await reader.readexactly(100_000)
        writer.write(b"250 2.0.0 thank you, that is enough\r\n")
        while await reader.read(65536):
            pass

    server = await asyncio.start_server(early, "127.0.0.1", 0)
    with pytest.raises(HopError) as caught:
        await once(pool_for(Hop(port=server.sockets[0].getsockname()[1])), outgoing(content=b"line\r\n" * 3_000_000))
    assert caught.value.reply.enhanced == "4.5.0"
    assert not caught.value.possible_duplicate
    server.close()


async def test_O07_a_reply_sent_into_the_pause_ends_the_connection(hop: Hop) -> None:
    hop.replies["DOT"] = b"250 2.0.0 queued\r\n250 and for the next MAIL\r\n"
    pool = pool_for(hop)
    assert (await once(pool, outgoing())).replies[0].code == 250
    hop.replies.clear()
    assert (await once(pool, outgoing())).replies[0].code == 250
    assert hop.connections == 2


async def test_O07_354_without_a_recipient_gets_no_empty_message() -> None:
    async with Hop(replies={"RCPT": b"550 5.1.1 no\r\n", "DATA": b"354 go\r\n"}) as hop:
        pool = pool_for(hop)
        sent = await once(pool, outgoing())
        assert sent.replies[0].code == 550
        await asyncio.sleep(0.02)
        assert not hop.taken
        assert hop.open == 0


# --- O08 and the AES-256 hop -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by openssl: an authority, a good certificate for hop.test, an expired one, and one nobody vouches for."""
    folder = tmp_path_factory.mktemp("tls")

    def run(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=Test CA")
    for name, days in (("good", "30"), ("expired", "-1")):
        run("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=hop.test")
        (folder / "ext").write_text("subjectAltName=DNS:hop.test,IP:127.0.0.1\n")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days, "-extfile", "ext",
            "-out", f"{name}.pem")  # fmt: skip
    run("req", "-x509", *curve, "-keyout", "self.key", "-out", "self.pem", "-days", "30", "-subj", "/CN=hop.test", "-addext",
        "subjectAltName=DNS:hop.test")  # fmt: skip
    return folder


def server_context(folder: Path, name: str, *, top: ssl.TLSVersion | None = None, ciphers: str = "") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    if top is not None:
        context.maximum_version = top
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    if ciphers:
        context.set_ciphers(ciphers)
    return context


async def test_O08_required_tls_is_verified_and_used(certificates: Path) -> None:
    async with Hop(tls=server_context(certificates, "good")) as hop:
        pool = pool_for(hop, tls="required", tls_ca=certificates / "ca.pem", tls_name="hop.test")
        sent = await once(pool, outgoing())
        assert sent.replies[0].code == 250
        assert hop.secure == [True]
        assert sent.way.startswith("TLSv1.3 TLS_AES_256_GCM_SHA384 256 verified")
        pool.close()


async def test_large_content_arrives_over_tls(certificates: Path) -> None:
    async with Hop(tls=server_context(certificates, "good")) as hop:
        pool = pool_for(hop, tls="required", tls_ca=certificates / "ca.pem", tls_name="hop.test", limits={"relay_data_end": 10})
        content = b"".join(b".line %d\r\n" % i for i in range(150_000))
        assert (await once(pool, outgoing(content=content))).replies[0].code == 250
        assert hop.taken[0].content == content
        pool.close()


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("self", {"tls_name": "hop.test"}),  # nobody vouches for it
        ("expired", {"tls_name": "hop.test"}),
        ("good", {"tls_name": "other.test"}),  # not its name
    ],
)
async def test_O08_bad_certificates_defer_and_nothing_goes_in_clear(certificates: Path, name: str, route: dict[str, str]) -> None:
    async with Hop(tls=server_context(certificates, name)) as hop:
        with pytest.raises(HopError) as caught:
            await once(pool_for(hop, tls="required", tls_ca=certificates / "ca.pem", **route), outgoing())
        assert caught.value.fault is Fault.DOWN
        assert caught.value.reply.enhanced == "4.7.5"
        assert not any(line.startswith("MAIL") for line in hop.lines)


async def test_O08_starttls_dropped_or_refused_when_required(certificates: Path) -> None:
    route = {"tls": "required", "tls_ca": certificates / "ca.pem", "tls_name": "hop.test"}
    async with Hop() as hop:
        with pytest.raises(HopError) as caught:
            await once(pool_for(hop, **route), outgoing())
        assert caught.value.reply.enhanced == "4.7.4"
        assert not any(line.startswith("MAIL") for line in hop.lines)
    for reply in (b"454 4.7.0 not now\r\n", b"554 no\r\n", CLOSE, (b"220 go\r\n", CLOSE)):
        async with Hop(tls=server_context(certificates, "good"), replies={"STARTTLS": reply}) as hop:
            with pytest.raises(HopError) as caught:
                await once(pool_for(hop, **route), outgoing())
            assert caught.value.reply.temporary
            assert not any(line.startswith("MAIL") for line in hop.lines)


async def test_O08_below_tls_1_2_is_refused(certificates: Path) -> None:
    context = server_context(certificates, "good", top=ssl.TLSVersion.TLSv1_1, ciphers="ALL:@SECLEVEL=0")
    async with Hop(tls=context) as hop:
        with pytest.raises(HopError):
            await once(pool_for(hop, tls="required", tls_ca=certificates / "ca.pem", tls_name="hop.test"), outgoing())
        assert not hop.taken


async def test_O08_what_stands_behind_the_220_in_clear_is_dropped(certificates: Path) -> None:
    async with Hop(tls=server_context(certificates, "good"), after_starttls=b"250-injected\r\n250 DSN\r\n") as hop:
        with pytest.raises(HopError) as caught:
            await once(pool_for(hop, tls="required", tls_ca=certificates / "ca.pem", tls_name="hop.test"), outgoing())
        assert caught.value.reply.temporary
        assert not hop.taken


def force_away(hop: Pool) -> Pool:
    """As if the hop were another machine: the tests have loopback only."""
    import dataclasses

    hop.hop = dataclasses.replace(hop.hop, loopback=False)
    hop._resolver._allowed = lambda ip, hop: True  # type: ignore[method-assign]
    return hop


async def test_opportunistic_uses_tls_verified_or_not_and_clear_without(certificates: Path) -> None:
    async with Hop(tls=server_context(certificates, "self")) as hop:
        pool = force_away(pool_for(hop, tls="opportunistic", tls_ca=certificates / "ca.pem", tls_name="hop.test"))
        sent = await once(pool, outgoing())
        assert sent.way.endswith("unverified")
        assert hop.secure == [True]
        with pytest.raises(HopError):  # but not mail that needs an AES-256 hop
            await once(pool, outgoing(), protected=True)
    async with Hop() as hop:
        pool = force_away(pool_for(hop, tls="opportunistic"))
        assert (await once(pool, outgoing())).way == "clear"
        with pytest.raises(HopError) as caught:
            await once(pool, outgoing(), protected=True)
        assert caught.value.fault is Fault.UNPROTECTED


async def test_aes_256_is_asked_for_again_with_tls_1_2(certificates: Path) -> None:
    """A server that prefers AES-128 gives AES-256 to one that offers nothing else."""
    context = server_context(
        certificates, "good", top=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    )
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    async with Hop(tls=context) as hop:
        pool = force_away(pool_for(hop, tls="required", tls_ca=certificates / "ca.pem", tls_name="hop.test"))
        plain = await once(pool, outgoing())
        assert "AES128" in plain.way
        strong = await once(pool, outgoing(), protected=True)
        assert "AES256-GCM" in strong.way
        await once(pool, outgoing())
        assert hop.connections == 3, "plain, tried again, and both kept apart"


async def test_no_aes_256_is_unprotected(certificates: Path) -> None:
    for ciphers in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"):
        async with Hop(tls=server_context(certificates, "good", top=ssl.TLSVersion.TLSv1_2, ciphers=ciphers)) as hop:
            pool = force_away(pool_for(hop, tls="required", tls_ca=certificates / "ca.pem", tls_name="hop.test"))
            with pytest.raises(HopError) as caught:
                await once(pool, outgoing(), protected=True)
            assert caught.value.fault is Fault.UNPROTECTED
            assert caught.value.reply.enhanced == "4.7.5"
            assert not hop.taken
            assert (await once(pool, outgoing())).replies[0].code == 250


@pytest.mark.parametrize(
    ("cipher", "strong"),
    [
        (("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256), True), (("ECDHE-RSA-AES256-GCM-SHA384", "TLSv1.2", 256), True),
        (("TLS_CHACHA20_POLY1305_SHA256", "TLSv1.3", 256), False), (("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128), False), (None, False),
    ],
)  # fmt: skip
def test_is_aes_256(cipher: tuple[str, str, int] | None, strong: bool) -> None:
    assert is_aes_256(cipher) is strong


def test_contexts_follow_a_changed_authority_file(certificates: Path, tmp_path: Path) -> None:
    import os

    authority = tmp_path / "ca.pem"
    authority.write_bytes((certificates / "ca.pem").read_bytes())
    contexts = Contexts()
    first = contexts.get(authority, Trust.VERIFIED)
    assert contexts.get(authority, Trust.VERIFIED) is first
    os.utime(authority, (1, 1))
    assert contexts.get(authority, Trust.VERIFIED) is not first
    assert first.minimum_version == ssl.TLSVersion.TLSv1_2
    assert first.verify_mode == ssl.CERT_REQUIRED


# --- the breaker -----------------------------------------------------------------------------------------------------


def test_breaker_opens_at_once_when_down_and_late_when_broken_off() -> None:
    now = [0.0]
    breaker = Breaker(lambda: now[0])
    down = HopError(Fault.DOWN, pytest.importorskip("gateway.reply").Reply(451, "4.4.1", ""))
    lost = HopError(Fault.LOST, down.reply)
    for _ in range(4):
        breaker.failed(lost)
    assert not breaker.open
    breaker.failed(lost)
    assert breaker.open
    assert breaker.worked()
    assert not breaker.open
    waits = []
    for _ in range(6):
        breaker.failed(down)
        waits.append(breaker.left)
        now[0] += breaker.left
        assert not breaker.open
    assert waits == [5, 10, 20, 40, 60, 60]
