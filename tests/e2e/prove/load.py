"""The clients of the proof: they send until each message was answered 250, and keep a ledger of their own.

A line stands in the ledger, synced, only after the 250 was read: it is what the gateway has to answer for, whatever happens to the
gateway. A message that was not answered 250 is sent again under another identity, since it may have been taken or not.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import smtplib
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

SENDER = "officer@dept.gov.in"
PASSWORD = "seven small boats"
INSIDE = "desk@finance.nic.in"
INSIDE_TOO = "section@home.gov.in"
OUTSIDE = "someone@gmail.com"
SENDERS = 4
PAUSE = 0.06  # seconds between two messages of a sender, on average: a run lasts long enough for several faults
TIRED = 600.0  # seconds in which a message has to be taken
PATIENCE = 20.0  # seconds a client waits for an answer

DELIVERED, REFUSED, HELD = "delivered", "refused", "held"


@dataclass(frozen=True)
class Accepted:
    """One message that was answered 250: what the ledger has."""

    identity: str
    reference: str
    recipients: dict[str, str]
    """Each with what has to become of its mail: DELIVERED, REFUSED or HELD."""
    time: float


@dataclass
class Load:
    """Senders that go on until *total* messages were tried. *submission*: a port where one of them signs in, over TLS."""

    port: int
    total: int
    rng: random.Random
    ledger: Path
    submission: int = 0
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
        threads = [threading.Thread(target=self.sender, args=(bool(self.submission) and not number,)) for number in range(SENDERS)]
        for thread in threads:
            thread.start()
        return threads

    def sender(self, signs_in: bool = False) -> None:
        """One client: a connection for as long as it lasts, a new one after any trouble."""
        client: smtplib.SMTP | None = None
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
                    client = client or self.connect(signs_in)
                    self.note(identity, self.send(client, list(recipients), content), recipients)
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

    def connect(self, signs_in: bool) -> smtplib.SMTP:
        """A new connection to the SMTP door, or one that is signed in."""
        if not signs_in:
            client = smtplib.SMTP("127.0.0.1", self.port, timeout=PATIENCE)
            client.ehlo("load.dept.gov.in")
            return client
        client = smtplib.SMTP("127.0.0.1", self.submission, timeout=PATIENCE)
        try:
            client.ehlo("pc7.dept.gov.in")
            client.starttls(context=ssl._create_unverified_context())
            client.ehlo("pc7.dept.gov.in")
            client.login(SENDER, PASSWORD)
        except BaseException:
            client.close()
            raise
        return client

    @staticmethod
    def send(client: smtplib.SMTP, recipients: list[str], content: bytes) -> str:
        """The reference of the 250; raises for anything else."""
        code, text = client.mail(SENDER)
        for recipient in recipients:
            if code == 250:
                code, text = client.rcpt(recipient)
        if code == 250:
            code, text = client.data(content)
        if code != 250:
            raise smtplib.SMTPResponseException(code, text)
        return text.decode().rsplit(" ", 1)[-1]

    def note(self, identity: str, reference: str, recipients: dict[str, str]) -> None:
        """The ledger line, on the disk before it counts."""
        entry = Accepted(identity, reference, recipients, time.time())
        with self.lock, self.ledger.open("a") as lines:
            lines.write(json.dumps({"id": identity, "reference": reference, "recipients": recipients, "time": entry.time}) + "\n")
            lines.flush()
            os.fsync(lines.fileno())
            self.accepted.append(entry)

    @property
    def silence(self) -> float:
        """The longest time between two messages that were taken, in seconds."""
        times = sorted(entry.time for entry in self.accepted)
        return max((late - early for early, late in zip(times, times[1:], strict=False)), default=0.0)
