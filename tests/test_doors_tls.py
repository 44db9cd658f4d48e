"""STARTTLS at the SMTP door, under both event loops: what was said in clear counts for nothing afterwards."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import uvloop

from gateway.config import ConfigError, Tls
from gateway.doors import tls

from .smtp_door import OURS, Client, Running, any_context, make_certificate, make_config, running


@pytest.fixture(params=[uvloop.EventLoopPolicy, asyncio.DefaultEventLoopPolicy], ids=["uvloop", "asyncio"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    policy: asyncio.AbstractEventLoopPolicy = request.param()
    return policy


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return make_certificate(tmp_path_factory.mktemp("tls"))


async def secure(client: Client, context: ssl.SSLContext | None = None) -> None:
    await client.secure(context)


async def offered(door: Running) -> Client:
    client = await door.connect()
    assert "STARTTLS" in await client.ask("EHLO client.example")
    return client


async def test_a_message_over_tls(certificate: Tls) -> None:
    async with running(make_config(), tls=tls.context(certificate)) as door:
        client = await offered(door)
        assert (await client.ask("STARTTLS")).startswith("220 2.0.0")
        await secure(client)
        assert "STARTTLS" not in await client.ask("EHLO client.example")
        await client.envelope()
        assert (await client.ask((b"x" * 98 + b"\r\n") * 20_000 + b".")).startswith("250")
        ((tx, content),) = door.memory.messages
        assert len(content) == 2_000_000
        assert (tx.peer.tls_version, tx.peer.tls_bits >= 128, tx.peer.helo) == ("TLSv1.3", True, "client.example")
        assert tx.peer.tls_cipher.startswith("TLS_")
        assert (await client.ask("QUIT")).startswith("221")
        assert await client.closed()


async def test_S32_plaintext_behind_starttls(certificate: Tls) -> None:
    async with running(make_config(), tls=tls.context(certificate)) as door:
        client = await offered(door)
        client.write(b"STARTTLS\r\nMAIL FROM:<evil@dept.gov.in>\r\nRCPT TO:<b@dept.gov.in>\r\n")
        assert (await client.reply()).startswith("501 5.5.1")
        assert await client.closed()
    async with running(make_config(), tls=tls.context(certificate)) as door:
        client = await offered(door)
        assert (await client.ask("STARTTLS")).startswith("220")
        client.write(b"MAIL FROM:<evil@dept.gov.in>\r\n")  # in clear, in a segment of its own
        assert await client.closed()
        assert door.door.counters.get("tls_failures", 0) + door.door.counters.get("closed: spoke in clear after STARTTLS", 0) == 1


async def test_S33_starttls_out_of_place(certificate: Tls) -> None:
    async with running(make_config(), tls=tls.context(certificate)) as door:
        client = await door.connect()
        assert (await client.ask("STARTTLS")).startswith("503")
        await client.ask("EHLO client.example")
        assert (await client.ask("STARTTLS now")).startswith("501")
        assert (await client.ask(f"MAIL FROM:<a@{OURS}>")).startswith("250")
        assert (await client.ask("STARTTLS")).startswith("503")
        assert (await client.ask("RSET")).startswith("250")
        assert (await client.ask("STARTTLS")).startswith("220")
        await secure(client)
        assert (await client.ask("EHLO client.example")).startswith("250")
        assert (await client.ask("STARTTLS")).startswith("503")


async def test_S34_what_was_said_before_is_forgotten(certificate: Tls) -> None:
    async with running(make_config(), tls=tls.context(certificate)) as door:
        client = await offered(door)
        assert (await client.ask("STARTTLS")).startswith("220")
        await secure(client)
        assert (await client.ask(f"MAIL FROM:<a@{OURS}>")).startswith("503")
        assert (await client.ask(f"RCPT TO:<b@{OURS}>")).startswith("503")
        assert (await client.ask("EHLO client.example")).startswith("250")
        assert (await client.ask(f"RCPT TO:<b@{OURS}>")).startswith("503")


async def test_S35_handshakes_that_do_not_end_or_are_none(certificate: Tls) -> None:
    async with running(make_config(limits={"tls_handshake": 0.3}), tls=tls.context(certificate)) as door:
        client = await offered(door)
        assert (await client.ask("STARTTLS")).startswith("220")
        assert await client.closed()  # nothing came
        client = await offered(door)
        assert (await client.ask("STARTTLS")).startswith("220")
        client.write(b"\x16\x03\x01\x00\x80\x01\x00\x00\x7c\x03\x03")
        assert await client.closed()  # half came
        assert len(door.door.sessions) == 0


async def test_S35_old_tls_and_weak_ciphers(certificate: Tls) -> None:
    async with running(make_config(), tls=tls.context(certificate)) as door:
        client = await offered(door)
        assert (await client.ask("STARTTLS")).startswith("220")
        old = any_context()
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await secure(client, old)
        client = await offered(door)
        assert (await client.ask("STARTTLS")).startswith("220")
        null = any_context()
        null.maximum_version = ssl.TLSVersion.TLSv1_2
        null.set_ciphers("eNULL:AES128-SHA:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await secure(client, null)
        client = await offered(door)
        assert (await client.ask("STARTTLS")).startswith("220")
        good = any_context()
        good.maximum_version = ssl.TLSVersion.TLSv1_2
        await secure(client, good)
        assert (await client.ask("EHLO client.example")).startswith("250")


def test_certificates_that_cannot_be_used(certificate: Tls, tmp_path: Path) -> None:
    assert tls.context(Tls()) is None
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    assert certificate.key is not None
    for pair in (Tls(certificate=broken, key=certificate.key), Tls(certificate=certificate.certificate, key=tmp_path / "absent.pem")):
        with pytest.raises(ConfigError, match="tls: "):
            tls.context(pair)
