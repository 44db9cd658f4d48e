"""Key records from a DNS that fails, lies or floods. Hostile-inputs O09: "could not ask" is never "is not there"; all is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from gateway.config import Config
from gateway.doors import resolver
from gateway.doors.resolver import Resolver

NAME = "s1._domainkey.example.org"
Answer = Callable[[dns.message.Message], list[bytes]]


class Server(asyncio.DatagramProtocol):
    """A name server that says to each question what *answer* makes of it."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        question = dns.message.from_wire(data)
        self.asked.append(question.question[0].name.to_text())
        for octets in self.answer(question):
            self.transport.sendto(octets, addr)


@contextlib.asynccontextmanager
async def asking(answer: Answer) -> AsyncIterator[tuple[Resolver, Server]]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(lambda: Server(answer), ("127.0.0.1", 0))
    try:
        yield Resolver(Config(resolvers=("127.0.0.1:{}".format(transport.get_extra_info("sockname")[1]),))), server
    finally:
        transport.close()


async def key(answer: Answer, *names: str) -> tuple[tuple[str, str], ...]:
    async with asking(answer) as (mine, _):
        return await mine.keys(names or (NAME,))


def saying(*records: str, code: int = dns.rcode.NOERROR, name: str = "", kind: str = "TXT") -> Answer:
    def answer(question: dns.message.Message) -> list[bytes]:
        reply = dns.message.make_response(question)
        reply.set_rcode(code)
        if records:
            reply.answer.append(dns.rrset.from_text(name or question.question[0].name, 60, "IN", kind, *records))
        return [reply.to_wire(max_size=65535)]

    return answer


def text(octets: bytes) -> str:
    """A TXT record of *octets* in strings of at most 255."""
    cut = [octets[start : start + 255] for start in range(0, len(octets), 255)]
    return " ".join('"' + "".join(f"\\{octet:03d}" for octet in one) + '"' for one in cut)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_TIME", 0.5)


async def test_O09_a_key_that_is_there() -> None:
    assert await key(saying('"v=DKIM1; p=" "MIGf"')) == ((NAME, "v=DKIM1; p=MIGf"),)


@pytest.mark.parametrize(
    ("answer", "record"),
    [
        (saying(code=dns.rcode.NXDOMAIN), ""), (saying(), ""), (saying('"v=spf1 -all"'), ""),
        (saying(code=dns.rcode.SERVFAIL), "?"), (saying(code=dns.rcode.REFUSED), "?"), (lambda _: [], "?"),
        (lambda question: [b"\0" * 11], "?"), (lambda question: [question.to_wire()[:2] + b"\x84\0" + b"\xff" * 40], "?"),
    ],
    ids=["nxdomain", "no record", "no key", "servfail", "refused", "silence", "half a header", "garbage"],
)  # fmt: skip
async def test_O09_not_there_is_known_and_could_not_be_asked_is_not(answer: Answer, record: str) -> None:
    began = time.monotonic()
    assert await key(answer) == ((NAME, record),)
    assert time.monotonic() - began < 3


async def test_O09_a_spoofed_answer_is_none() -> None:
    def answer(question: dns.message.Message) -> list[bytes]:
        other = dns.message.make_response(question)
        other.id = question.id ^ 1
        other.answer.append(dns.rrset.from_text(question.question[0].name, 60, "IN", "TXT", '"p=forged"'))
        elsewhere = dns.message.make_response(dns.message.make_query("evil.example", "TXT"))
        elsewhere.id = question.id
        return [other.to_wire(), elsewhere.to_wire(), *saying('"p=true"')(question)]

    found = dict(await key(answer))[NAME]
    assert found in ("p=true", "?"), "never the forged one"


async def test_O09_a_chain_of_aliases_that_bites_its_tail() -> None:
    def answer(question: dns.message.Message) -> list[bytes]:
        reply = dns.message.make_response(question)
        for here, there in ((NAME, "b.example.org"), ("b.example.org", NAME)):
            reply.answer.append(dns.rrset.from_text(here + ".", 60, "IN", "CNAME", there + "."))
        return [reply.to_wire()]

    assert dict(await key(answer))[NAME] in ("", "?")


async def test_O09_hostile_text_is_cut_and_cleaned() -> None:
    hostile = b"v=DKIM1; p=\r\nX: \x1b[31m\0\xff" + b"A" * 6000
    record = dict(await key(saying(text(hostile))))[NAME]
    assert record == "v=DKIM1; p=X: [31m" + "A" * (4096 - len(b"v=DKIM1; p=\r\nX: \x1b[31m\0\xff"))


async def test_O09_as_many_records_as_an_answer_can_hold_hold_nobody_up() -> None:
    full = saying(*(f'"n={number}"' for number in range(3000)))(dns.message.make_query(NAME, "TXT"))[0]
    began = time.process_time()
    found = dict(await key(lambda question: [question.id.to_bytes(2, "big") + full[2:]]))[NAME]
    assert found in ("", "?")
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "name", ["a\r\nb._domainkey.x", "a b", "x" * 64 + ".org", "a..b", ".".join("x" * 60 for _ in range(6)), "\0", "ü" * 70]
)
async def test_O09_a_name_that_is_none_is_asked_by_nobody_or_bounded(name: str) -> None:
    ((asked, record),) = await key(saying(code=dns.rcode.NXDOMAIN), name)
    assert (asked, record in ("", "?")) == (name, True)


async def test_O09_a_hundred_names_wait_together_not_one_after_the_other() -> None:
    began = time.monotonic()
    found = await key(lambda _: [], *(f"s{number}.example.org" for number in range(100)))
    assert {record for _, record in found} == {"?"}
    assert time.monotonic() - began < 5
