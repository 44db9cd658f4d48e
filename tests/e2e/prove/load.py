"""The clients of the proof: they send until each message was answered 250, and keep a ledger of their own.

A line stands in the ledger, synced, only after the 250 was read: it is what the gateway has to answer for, whatever happens to the
gateway. A message that was not answered 250 is sent again under another identity, since it may have been taken or not.
At the milter door the final action takes the place of the 250.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import smtplib
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.e2e.prove.clients import MILTER, SENDER, SMTP, SUBMISSION, Client, MilterClient, SmtpClient, Taken

INSIDE = "desk@finance.nic.in"
INSIDE_TOO = "section@home.gov.in"
OUTSIDE = "someone@gmail.com"
SENDERS = 4
PAUSE = 0.06  # seconds between two messages of a sender, on average: a run lasts long enough for several faults
TIRED = 600.0  # seconds in which a message has to be taken

DELIVERED, REFUSED, HELD = "delivered", "refused", "held"


@dataclass(frozen=True)
class Accepted:
    """One message that was answered 250: what the ledger has."""

    identity: str
    reference: str
    recipients: dict[str, str]
    """Each with what has to become of its mail: DELIVERED, REFUSED or HELD."""
    time: float
    door: str = SMTP
    kept: tuple[str, ...] = ()
    """At the milter door: the recipients that were left to the MTA."""


@dataclass
class Load:
    """Senders that go on until *total* messages were tried. *submission*: a port where one of them signs in, over TLS; *milter*: a port
    where another one is an MTA."""

    port: int
    total: int
    rng: random.Random
    ledger: Path
    submission: int = 0
    milter: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    tried: int = 0
    accepted: list[Accepted] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Every answer of 5xx: all messages are good, so there must be none."""
    given_up: list[int] = field(default_factory=list)

    def message(self, number: int, identity: str) -> tuple[dict[str, str], bytes]:
        """Message *number*: most plain, to one or two officials; of ten, one goes partly to a private address and two hold an attachment
        that has to be stopped."""
        kind = number % 10
        recipients = {INSIDE: DELIVERED} if kind < 4 else {INSIDE: DELIVERED, INSIDE_TOO: DELIVERED}
        head = (
            f"From: <{SENDER}>\r\nTo: <{INSIDE}>\r\nSubject: Note {number}\r\n"
            f"X-Proof: {identity}\r\nMessage-ID: <{identity}@dept.gov.in>\r\n"
        )
        text = f"Please see file number {number}.\r\n" * self.rng.randint(1, 60)
        if kind == 7:
            recipients = {INSIDE: DELIVERED, OUTSIDE: REFUSED}
        if kind >= 8:  # nobody can read the attachment, so the message is held: only an inspector that reads knows that
            recipients = dict.fromkeys(recipients, HELD)
            blob = base64.encodebytes(self.rng.randbytes(600)).decode().replace("\n", "\r\n")
            head += 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n'
            text = (
                f"--b\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--b\r\nContent-Type: application/octet-stream\r\n"
                f'Content-Disposition: attachment; filename="data.bin"\r\nContent-Transfer-Encoding: base64\r\n\r\n{blob}--b--\r\n'
            )
        return recipients, f"{head}\r\n{text}".encode()

    def start(self) -> list[threading.Thread]:
        """The senders, under way."""
        threads = [threading.Thread(target=self.sender, args=self.kind(number)) for number in range(SENDERS)]
        for thread in threads:
            thread.start()
        return threads

    def sender(self, door: str, connect: Callable[[], Client]) -> None:
        """One client: a connection for as long as it lasts, a new one after any trouble."""
        client: Client | None = None
        while True:
            with self.lock:
                if self.tried >= self.total:
                    break
                self.tried += 1
                number = self.tried
                pause = self.rng.uniform(0, 2 * PAUSE)
            time.sleep(pause)
            tired = time.monotonic() + TIRED
            for attempt in itertools.count():
                if time.monotonic() > tired:
                    self.given_up.append(number)
                    break
                with self.lock:
                    identity = f"{number}-{attempt}-{self.rng.getrandbits(64):016x}"
                    recipients, content = self.message(number, identity)
                try:
                    client = client or connect()
                    self.note(identity, door, client.send(list(recipients), content), recipients)
                    break
                except (OSError, smtplib.SMTPException) as error:
                    if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code >= 500:
                        self.refused.append(f"{time.time():.3f} {identity}: {error.smtp_code} {error.smtp_error!r}")
                    if client is not None:
                        client.close()
                    client = None
                    time.sleep(0.05)
        if client is not None:
            client.close()

    def kind(self, number: int) -> tuple[str, Callable[[], Client]]:
        """By which door sender *number* goes, and how it gets a connection there."""
        if number == 0 and self.submission:
            return SUBMISSION, lambda: SmtpClient(self.submission, signs_in=True)
        if number == 1 and self.milter:
            return MILTER, lambda: MilterClient(self.milter)
        return SMTP, lambda: SmtpClient(self.port)

    def note(self, identity: str, door: str, taken: Taken, recipients: dict[str, str]) -> None:
        """The ledger line, on the disk before it counts."""
        entry = Accepted(identity, taken.reference, recipients, time.time(), door, taken.kept)
        with self.lock, self.ledger.open("a") as lines:
            lines.write(json.dumps(asdict(entry)) + "\n")
            lines.flush()
            os.fsync(lines.fileno())
            self.accepted.append(entry)

    @property
    def silence(self) -> float:
        """The longest time between two messages that were taken, in seconds."""
        times = sorted(entry.time for entry in self.accepted)
        return max((late - early for early, late in zip(times, times[1:], strict=False)), default=0.0)
