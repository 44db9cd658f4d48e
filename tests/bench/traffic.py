"""A quick SMTP client for measuring: as many messages as go, or so many a second, whatever becomes of them.

What it is: ``Mail`` and ``text`` (no two messages are alike), ``closed`` (each session sends when it has its answer), ``steady`` (a
message is due each 1/rate seconds, and its wait is counted from then), ``Sent`` (what became of them) and ``percentile``.
Who calls it: the measuring programs of this folder.
Must never: count a message that was not answered with 250; leave out the wait of one that could not be sent when it was due.
Sources: RFC 5321; RFC 2920; "coordinated omission" (G. Tene): a client that waits for answers measures the quick ones only.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, cast

SENDER, RECIPIENT = b"officer@dept.gov.in", b"desk@finance.nic.in"
_GIVE_UP = 50  # messages that failed: what goes on is no measurement
_PATIENCE = 60.0  # seconds for one message
_AT_ONCE = 400  # connections of ``steady``; what is due beyond them waits, and its wait counts
_PROSE = (
    "ministry file note order section officer budget release approval district scheme grant letter dated reference enclosed kindly"
    " forward report review committee meeting minutes tender audit reply pending action state"
)


class Mail(NamedTuple):
    """One message; *due* is when it should be sent, on the clock of ``time.perf_counter``."""

    content: bytes
    """With the line that ends it."""
    recipients: tuple[bytes, ...] = (RECIPIENT,)
    due: float = 0.0


@dataclass
class Sent:
    """What became of the messages."""

    waits: list[float] = field(default_factory=list)
    """Seconds until the 250 of each that was taken."""
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """From the first connection to the last answer."""

    @property
    def taken(self) -> int:
        """How many were answered with 250."""
        return len(self.waits)


def text(octets: int, recipients: int = 1, domains: bool = False) -> Iterator[Mail]:
    """Messages of about *octets* without end, marked CONFIDENTIAL, to *recipients* of one domain; with *domains* to a new one each."""
    chance, words, lines, size = random.Random(7), _PROSE.split(), [], 0
    while size < octets - 500:
        lines.append(" ".join(chance.choices(words, k=9)).encode() + b"\r\n")
        size += len(lines[-1])
    body, run = b"".join(lines), f"{os.getpid()}.{time.time_ns()}"
    for number in itertools.count():
        domain = b"office%d.nic.in" % number if domains else b"finance.nic.in"
        to = tuple(b"desk%d@%b" % (index, domain) for index in range(recipients)) if recipients > 1 or domains else (RECIPIENT,)
        head = b"From: Officer <%b>\r\nTo: <%b>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0530\r\n" % (SENDER, to[0])
        head += b"Message-ID: <%d.%b@dept.gov.in>\r\nMIME-Version: 1.0\r\nSubject: Monthly statement\r\n" % (number, run.encode())
        head += b"Content-Type: text/plain; charset=utf-8\r\n\r\nClassification: CONFIDENTIAL\r\n\r\n"
        yield Mail(b"%bu%015d\r\n%b-- \r\nOfficer\r\n.\r\n" % (head, number, body), to)


class Session(asyncio.Protocol):
    """One connection: sends *mail*, then what *more* gives, without pipelining, each wait noted in *sent*."""

    def __init__(self, mail: Mail, more: Callable[[], Mail | None], sent: Sent) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._more, self._sent, self._rest = more, sent, b""
        self._mail: Mail | None = mail
        self._lines: Iterator[tuple[bytes, bytes]] = self._opening()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.set_write_buffer_limits(1 << 24)
        self._expected = b"2"

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            if line[3:4] == b"-":
                continue
            if line[:1] != self._expected:
                self._fail(line.decode(errors="replace"))
                return
            following = next(self._lines, None)
            if following is None:
                self._transport.close()
                return
            command, self._expected = following
            self._transport.write(command)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._mail is not None:
            self._fail(f"the connection was lost: {exc}")
        if not self.ended.done():
            self.ended.set_result(None)

    def abort(self) -> None:
        """Ends the connection, whatever is under way."""
        self._transport.abort()

    def _fail(self, reason: str) -> None:
        self._mail = None
        self._sent.errors.append(reason)
        self._transport.abort()

    def _opening(self) -> Iterator[tuple[bytes, bytes]]:
        """What is written after each good answer, and how the next one begins."""
        yield b"EHLO load.dept.gov.in\r\n", b"2"
        while (mail := self._mail) is not None:
            yield b"MAIL FROM:<%b>\r\n" % SENDER, b"2"
            for recipient in mail.recipients:
                yield b"RCPT TO:<%b>\r\n" % recipient, b"2"
            yield b"DATA\r\n", b"3"
            yield mail.content, b"2"
            self._sent.waits.append(time.perf_counter() - mail.due)
            self._mail = self._more()
        yield b"QUIT\r\n", b"2"


async def _send(port: int, mail: Mail, more: Callable[[], Mail | None], sent: Sent) -> None:
    try:
        async with asyncio.timeout(_PATIENCE * (1 if more is _nothing else 1000)):
            _, session = await asyncio.get_running_loop().create_connection(lambda: Session(mail, more, sent), "127.0.0.1", port)
            try:
                await session.ended
            finally:
                session.abort()
    except (OSError, TimeoutError) as error:
        sent.errors.append(repr(error))


def _nothing() -> None:
    return None


async def closed(port: int, mails: Iterator[Mail], sessions: int, keep: bool = False) -> Sent:
    """Sends all *mails* by *sessions* at a time, each as soon as it can; with *keep* a session stays on its connection."""
    sent, began = Sent(), time.perf_counter()

    def more() -> Mail | None:
        mail = next(mails, None) if len(sent.errors) < _GIVE_UP else None
        return mail and mail._replace(due=time.perf_counter())

    async def worker() -> None:
        while (mail := more()) is not None:
            await _send(port, mail, more if keep else _nothing, sent)

    await asyncio.gather(*(worker() for _ in range(sessions)))
    sent.seconds = time.perf_counter() - began
    return sent


def until(mails: Iterator[Mail], seconds: float) -> Iterator[Mail]:
    """Those of *mails* that are asked for within *seconds* from the first."""
    end = time.perf_counter() + seconds
    return itertools.takewhile(lambda mail: time.perf_counter() < end, mails)


async def steady(port: int, mails: Iterator[Mail], rate: float, seconds: float) -> Sent:
    """Sends *rate* messages a second for *seconds*, one connection each, whether or not the earlier ones were answered."""
    sent, room, sending = Sent(), asyncio.Semaphore(_AT_ONCE), []

    async def one(mail: Mail) -> None:
        async with room:
            await _send(port, mail, _nothing, sent)

    began = time.perf_counter()
    for number in range(round(rate * seconds)):
        due = began + number / rate
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        sending.append(asyncio.create_task(one(next(mails)._replace(due=due))))
    await asyncio.gather(*sending)
    sent.seconds = time.perf_counter() - began
    return sent


def percentile(waits: list[float], share: float) -> float:
    """The wait that *share* of *waits* does not pass, in milliseconds; 0 where there is none."""
    ordered = sorted(waits)
    return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
