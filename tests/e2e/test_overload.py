"""One client's flood is slowed down and turned away; the honest one beside it is served as before. Hostile-inputs S23, O19.

Twenty connections of one address send large messages as fast as they can; one officer at another address sends a message a second that
the inspector has to read as well. By the SMTP door, and by the milter door, where all of it comes through one MTA.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.parts import Gateway, Hop, free_port, running
from tests.milter_mta import Mta

pytestmark = pytest.mark.slow  # a whole gateway under load for half a minute

FLOODERS, SECONDS = 20, 15
LIMITS = "[limits]\nfree_disk = 0\nmax_inflight = 3000000\ndata_idle = 5\nmilter_progress = 2\n"
FLOOD, HONEST = "127.0.0.66", "127.0.0.7"
OFFICER, DESK = "officer@dept.gov.in", "desk@finance.nic.in"


def content(number: int, octets: int) -> bytes:
    """A message with a table that the inspector reads."""
    rows = "".join(f"{index},{random.Random(number + index).random()}\r\n" for index in range(octets // 26))
    table = base64.encodebytes(rows.encode()).replace(b"\n", b"\r\n")
    return (
        f"From: <{OFFICER}>\r\nTo: <{DESK}>\r\nSubject: note {number}\r\nMessage-ID: <{number}.{octets}@dept.gov.in>\r\n"
        "Date: Mon, 02 Nov 2026 10:00:00 +0530\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nThe table.\r\n--b\r\nContent-Type: text/csv; name=t.csv\r\n"
        "Content-Disposition: attachment; filename=t.csv\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    ).encode() + table + b"--b--\r\n"  # fmt: skip


LARGE, SMALL = content(1, 200_000), content(2, 2_000)


class SmtpClient:
    """A session of the SMTP door that stays open."""

    def __init__(self, gateway: Gateway, ip: str) -> None:
        self.gateway, self.ip = gateway, ip

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.gateway.port, local_addr=(self.ip, 0))
        await self.reply()
        await self.say(b"EHLO pc.dept.gov.in")

    async def reply(self) -> str:
        while (line := await asyncio.wait_for(self.reader.readline(), 60))[3:4] == b"-":
            pass
        if not line:
            raise ConnectionError
        return line.decode()

    async def say(self, command: bytes) -> str:
        self.writer.write(command + b"\r\n")
        return await self.reply()

    async def send(self, message: bytes) -> str:
        """One message; the reply that ended it."""
        reply = await self.say(f"MAIL FROM:<{OFFICER}> SIZE={len(message)}".encode())
        if reply[0] == "2":
            reply = await self.say(f"RCPT TO:<{DESK}>".encode())
        if reply[0] == "2":
            reply = await self.say(b"DATA")
        if reply[0] == "3":
            self.writer.write(message + b".\r\n")
            await self.writer.drain()
            reply = await self.reply()
        return reply

    def close(self) -> None:
        self.writer.close()


class MilterClient:
    """A connection of an MTA, whose client is at *ip*."""

    def __init__(self, gateway: Gateway, ip: str, port: int) -> None:
        self.gateway, self.ip, self.port = gateway, ip, port

    async def open(self) -> None:
        self.mta = Mta(*await asyncio.open_connection("127.0.0.1", self.port))
        assert (await self.mta.negotiate())[0] == b"O"
        self.mta.client(ip=self.ip)

    async def send(self, message: bytes) -> str:
        command, data = await self.mta.mail(OFFICER, f"SIZE={len(message)}")
        if command == b"c":
            command, data = await self.mta.rcpt(DESK)
        if command == b"c":
            head, _, body = message.partition(b"\r\n\r\n")
            self.mta.content(*head.decode().split("\r\n"), body=body)
            await self.mta.writer.drain()
            command = b"p"
            while command not in (b"c", b"a", b"y", b"t", b"r", b"d", b""):
                command, data = await self.mta.packet(60)
        if not command:
            raise ConnectionError
        return data.decode("ascii", "replace") if command == b"y" else "451" if command == b"t" else "250"

    def close(self) -> None:
        self.mta.writer.close()


async def flood(client: SmtpClient | MilterClient, seen: Counter[str], until: float) -> None:
    while time.monotonic() < until:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await client.open()
            while time.monotonic() < until:
                reply = await client.send(LARGE)
                seen[reply[:3]] += 1
                if reply[0] == "4":
                    await asyncio.sleep(0.2)  # a flood, but one that hears
            client.close()


async def honest(client: SmtpClient | MilterClient, until: float) -> tuple[list[float], list[str]]:
    times, replies = [], []
    await client.open()
    while time.monotonic() < until:
        began = time.monotonic()
        replies.append(await client.send(SMALL))
        times.append(time.monotonic() - began)
        await asyncio.sleep(max(0.0, 1.0 - times[-1]))
    client.close()
    return times, replies


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, int]]:
    hop, port = Hop(tmp_path_factory.mktemp("hop")), free_port()
    part = Gateway(tmp_path_factory.mktemp("gw"), hop.port, extra=f'{LIMITS}[[listen]]\ndoor = "milter"\naddress = "127.0.0.1:{port}"\n')
    part.write_config()
    part.config.write_text(part.config.read_text().replace("workers = 2", 'workers = 1\nmax_message_size = "500kB"'))
    with running(hop, part):
        yield part, port


@pytest.mark.parametrize("door", ["smtp", "milter"])
async def test_S23_O19_a_flood_of_one_client_leaves_the_honest_one_alone(gateway: tuple[Gateway, int], door: str) -> None:
    part, port = gateway

    def client(ip: str) -> SmtpClient | MilterClient:
        return SmtpClient(part, ip) if door == "smtp" else MilterClient(part, ip, port)

    quiet, said = await honest(client(HONEST), time.monotonic() + 3)
    assert {reply[:3] for reply in said} == {"250"}
    seen: Counter[str] = Counter()
    until = time.monotonic() + SECONDS
    flooders = [asyncio.create_task(flood(client(FLOOD), seen, until)) for _ in range(FLOODERS)]
    await asyncio.sleep(1)
    times, replies = await honest(client(HONEST), until)
    await asyncio.gather(*flooders)
    worst = sorted(times)[min(len(times) - 1, int(len(times) * 0.99))]
    print(f"{door}: alone {max(quiet):.2f} s, beside the flood p99 {worst:.2f} s of {len(times)}; the flood: {dict(seen)}")
    assert {reply[:3] for reply in replies} == {"250"}, "not one 4xx"
    assert worst < 2.0
    assert seen["250"] > 0, "the flood is slowed down, not shut out"
    assert seen["452"] > 0, "and shed where it has its share"
    assert not {code for code in seen if code[0] == "5"}
