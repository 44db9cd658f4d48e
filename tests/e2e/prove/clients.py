"""What the load sends with: an SMTP client, one that signs in, and an MTA that asks the milter door.

Each raises OSError or SMTPException where the message was not taken, SMTPResponseException where it was told why. The MTA keeps what it
sends: what the gateway promises it is only that the decision is durable, and what of the message may go on.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from dataclasses import dataclass
from typing import Protocol

from tests.milter_mta import Mta

SENDER = "officer@dept.gov.in"
PASSWORD = "seven small boats"
PATIENCE = 20.0  # seconds a client waits for an answer
SMTP, SUBMISSION, MILTER = "smtp", "submission", "milter"


@dataclass(frozen=True)
class Taken:
    """The answer of a door that took a message."""

    reference: str
    """Empty where the door tells none: a milter that has the MTA drop a message."""
    kept: tuple[str, ...] = ()
    """The recipients that are left to the MTA."""


class Client(Protocol):
    """One connection of the load."""

    def send(self, recipients: list[str], content: bytes) -> Taken:
        """Sends one message and waits for the answer."""

    def close(self) -> None:
        """Ends the connection, whatever its state."""


class SmtpClient:
    """At the SMTP door, or, with *signs_in*, at the submission door."""

    def __init__(self, port: int, *, signs_in: bool = False) -> None:
        self._client = client = smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE)
        try:
            client.ehlo("pc7.dept.gov.in")
            if signs_in:
                client.starttls(context=ssl._create_unverified_context())
                client.ehlo("pc7.dept.gov.in")
                client.login(SENDER, PASSWORD)
        except BaseException:
            client.close()
            raise

    def send(self, recipients: list[str], content: bytes) -> Taken:
        """The reference is that of the 250."""
        code, text = self._client.mail(SENDER)
        for recipient in recipients:
            if code == 250:
                code, text = self._client.rcpt(recipient)
        if code == 250:
            code, text = self._client.data(content)
        if code != 250:
            raise smtplib.SMTPResponseException(code, text)
        return Taken(text.decode().rsplit(" ", 1)[-1])

    def close(self) -> None:
        """At once."""
        self._client.close()


class MilterClient:
    """An MTA whose client is on the same machine as ours: one connection, many messages."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.Runner()
        try:
            self._mta = self._loop.run(self._connect(port))
        except BaseException:
            self._loop.close()
            raise

    @staticmethod
    async def _connect(port: int) -> Mta:
        async with asyncio.timeout(PATIENCE):
            mta = Mta(*await asyncio.open_connection("127.0.0.1", port))
            if (await mta.negotiate())[0] != b"O":
                raise ConnectionError("no options were agreed")
            mta.client(helo="pc7.dept.gov.in")
            return mta

    def send(self, recipients: list[str], content: bytes) -> Taken:
        """What was left to the MTA is as the answer says; the reference is that of the field that it was told to write."""
        return self._loop.run(self._send(recipients, content))

    async def _send(self, recipients: list[str], content: bytes) -> Taken:
        mta, (head, _, body) = self._mta, content.partition(b"\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            _go_on(await mta.mail(SENDER))
            for recipient in recipients:
                _go_on(await mta.rcpt(recipient))
            mta.content(*head.decode("ascii").split("\r\n"), body=body)
            *changes, last = await mta.answers()
        if last == (b"d", b""):
            return Taken("")
        _go_on(last)
        gone = {data.strip(b"<>\0").decode("ascii") for command, data in changes if command == b"-"}
        fields = [data[4:].split(b"\0") for command, data in changes if command == b"i"]
        references = [value.decode("ascii").strip() for name, value, *_ in fields if name == b"X-Gateway-Reference"]
        if len(references) != 1 or gone - set(recipients):
            raise smtplib.SMTPResponseException(555, f"an answer that is none: {changes}")
        return Taken(references[0], tuple(one for one in recipients if one not in gone))

    def close(self) -> None:
        """At once."""
        self._mta.close()
        self._loop.close()


def _go_on(answer: tuple[bytes, bytes]) -> None:
    """Raises where *answer* is not that the message goes on."""
    command, text = answer
    if command == b"y":
        raise smtplib.SMTPResponseException(int(text[:3]), text)
    if command in (b"r", b"t"):
        raise smtplib.SMTPResponseException(550 if command == b"r" else 451, b"")
    if command != b"c":
        raise ConnectionError("no answer" if not command else f"an answer that is none: {command!r}")
