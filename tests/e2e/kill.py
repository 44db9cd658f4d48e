"""The proof that nothing accepted is lost: load, SIGKILL of random processes at random moments, then a count.

A load client writes its own fsynced ledger line only after it has read a 250. After the drain every accepted recipient must
be in exactly one of {delivered, bounced, held, scheduled}, and a message may have reached the next hop twice only across a
kill. The seed is printed, so that a run repeats.

usage: python -m tests.e2e.kill [--runs 40] [--messages 200] [--seed N] [--early-reply] [--signal KILL|TERM]
exit 0: nothing lost; 1: something was, or the count does not add up.
"""

from __future__ import annotations

import argparse
import base64
import collections
import email
import json
import os
import random
import shutil
import signal
import smtplib
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.parts import Gateway, Hop, wait_for

SENDER = "officer@dept.gov.in"
INSIDE = "desk@finance.nic.in"
INSIDE_TOO = "section@home.gov.in"
OUTSIDE = "someone@gmail.com"
DRAIN = 90.0  # seconds until the queue must be empty after the last kill
PAUSE = 0.06  # seconds between two messages of a sender, on average: a run lasts long enough for several kills
CLOCK_SLACK = 2.0  # seconds around a kill in which a duplicate is explained by it


@dataclass
class Load:
    """Senders that go on until *total* messages were tried, and the ledger of what was accepted."""

    port: int
    total: int
    rng: random.Random
    ledger: Path
    lock: threading.Lock = field(default_factory=threading.Lock)
    tried: int = 0
    accepted: dict[str, list[str]] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    given_up: list[int] = field(default_factory=list)

    def message(self, number: int, identity: str) -> tuple[list[str], bytes]:
        """Message *number*: four in five plain to one or two officials, the rest partly refused or held."""
        kind = number % 10
        recipients = [INSIDE] if kind < 5 else [INSIDE, INSIDE_TOO]
        head = (
            f"From: <{SENDER}>\r\nTo: <{INSIDE}>\r\nSubject: Note {number}\r\n"
            f"X-Proof: {identity}\r\nMessage-ID: <{identity}@dept.gov.in>\r\n"
        )
        text = f"Please see file number {number}.\r\n" * self.rng.randint(1, 60)
        if kind == 8:
            recipients = [INSIDE, OUTSIDE]
        if kind == 9:  # an attachment of unknown kind: suspect, so it is held
            blob = base64.encodebytes(self.rng.randbytes(600)).decode().replace("\n", "\r\n")
            head += 'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n'
            text = (
                f"--b\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--b\r\nContent-Type: application/octet-stream\r\n"
                f'Content-Disposition: attachment; filename="data.bin"\r\nContent-Transfer-Encoding: base64\r\n\r\n{blob}--b--\r\n'
            )
        return recipients, f"{head}\r\n{text}".encode()

    def sender(self) -> None:
        """One client: a connection for a few messages, a new one after any trouble."""
        client: smtplib.SMTP | None = None
        while True:
            with self.lock:
                if self.tried >= self.total:
                    break
                self.tried += 1
                number = self.tried
                pause = self.rng.uniform(0, 2 * PAUSE)
            time.sleep(pause)
            for attempt in range(2000):
                # A repeat is another message to the proof: what was never answered 250 may have been delivered or not.
                identity = f"{number}-{attempt}-{self.rng.getrandbits(64):016x}"
                with self.lock:
                    recipients, content = self.message(number, identity)
                try:
                    if client is None:
                        client = smtplib.SMTP("127.0.0.1", self.port, timeout=20)
                        client.ehlo("load.dept.gov.in")
                    reference = self.send(client, recipients, content)
                    self.note(identity, reference, recipients)
                    break
                except (OSError, smtplib.SMTPException):
                    if client is not None:
                        client.close()
                    client = None
                    time.sleep(0.05)
            else:
                self.given_up.append(number)
        if client is not None:
            client.close()

    @staticmethod
    def send(client: smtplib.SMTP, recipients: list[str], content: bytes) -> str:
        """The reference of the 250; raises for anything else."""
        for code, text in (client.mail(SENDER), *(client.rcpt(recipient) for recipient in recipients), client.data(content)):
            if code != 250:
                raise smtplib.SMTPResponseException(code, text)
        return text.decode().rsplit(" ", 1)[-1]

    def note(self, identity: str, reference: str, recipients: list[str]) -> None:
        """The ledger line, on the disk before it counts."""
        with self.lock, self.ledger.open("a") as lines:
            lines.write(json.dumps({"id": identity, "reference": reference, "recipients": recipients, "time": time.time()}) + "\n")
            lines.flush()
            os.fsync(lines.fileno())
            self.accepted[identity] = recipients
            self.references[identity] = reference


@dataclass
class Count:
    """What one run came to."""

    accepted: int = 0
    delivered: int = 0
    bounced: int = 0
    held: int = 0
    scheduled: int = 0
    lost: list[str] = field(default_factory=list)
    twofold: list[str] = field(default_factory=list)
    duplicates: int = 0
    unexplained: list[str] = field(default_factory=list)
    kills: int = 0

    @property
    def good(self) -> bool:
        """Nothing lost, nothing in two states, no duplicate without a kill."""
        return not (self.lost or self.twofold or self.unexplained)


def kill_some(gateway: Gateway, rng: random.Random, busy: threading.Event, kills: list[tuple[float, str]], number: signal.Signals) -> None:
    """Signals a random process at random moments while the load is on; restarts the whole when the supervisor was hit."""
    while busy.is_set():
        time.sleep(rng.uniform(0, 3))
        if not busy.is_set():
            return
        processes = gateway.processes()
        pid = rng.choice(sorted(processes))
        kills.append((time.time(), processes[pid][-60:]))
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        assert gateway.process is not None
        if pid == gateway.process.pid:
            gateway.process.wait()
            wait_for(lambda: not gateway.processes(), 40, "the children end with their supervisor")
            gateway.start()


def arrived(hop: Hop) -> tuple[dict[tuple[str, str], list[float]], dict[tuple[str, str], int]]:
    """From what the next hop took: times of delivery by (identity, recipient), and reports by (reference, recipient)."""
    delivered: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    reported: dict[tuple[str, str], int] = collections.Counter()
    for entry in hop.received():
        message = email.message_from_bytes(hop.content(entry))
        if message.get_content_type() == "multipart/report":
            for part in message.walk():
                if part.get_content_type() == "message/delivery-status":
                    for block in part.get_payload():
                        if "failed" in str(block.get("Action", "")):
                            reported[str(message["X-Gateway-Reference"]), str(block["Final-Recipient"]).partition(";")[2].strip()] += 1
            continue
        for recipient in entry["recipients"]:
            delivered[str(message["X-Proof"]), recipient].append(entry["time"])
    return delivered, reported


def count(load: Load, hop: Hop, gateway: Gateway, kills: list[tuple[float, str]]) -> Count:
    """Where every accepted recipient is."""
    result = Count(kills=len(kills))
    delivered, reported = arrived(hop)
    held: dict[str, list[str]] = {row["reference"]: row["recipients"] for row in gateway.records("quarantine", "list")}
    queued: dict[str, set[str]] = collections.defaultdict(set)
    for row in gateway.records("queue", "list"):
        queued[row["reference"]].add(row["recipient"])
    for identity, recipients in load.accepted.items():
        reference = load.references[identity]
        for recipient in recipients:
            result.accepted += 1
            states = {
                "delivered": bool(delivered[identity, recipient]),
                "bounced": reported[reference, recipient] > 0,
                "held": recipient in held.get(reference, ()),
                "scheduled": recipient in queued[reference],
            }
            true = [name for name, yes in states.items() if yes]
            if not true:
                result.lost.append(f"{identity} {recipient} {reference}")
            elif len(true) > 1:
                result.twofold.append(f"{identity} {recipient} {reference} {true}")
            else:
                setattr(result, true[0], getattr(result, true[0]) + 1)
    for (identity, recipient), times in delivered.items():
        if len(times) > 1:
            result.duplicates += 1
            if not any(times[0] - CLOCK_SLACK <= at <= times[-1] + CLOCK_SLACK for at, _ in kills):
                result.unexplained.append(f"{identity} {recipient}")
    return result


def one_run(folder: Path, seed: int, messages: int, early: bool, number: signal.Signals) -> Count:
    """One fresh gateway, one load, some kills, one count."""
    rng = random.Random(seed)
    hop = Hop(folder / "hop")
    environment = {"PYTHONPATH": str(Path(__file__).parent / "early_reply")} if early else {}
    gateway = Gateway(folder / "gw", hop.port, environment=environment, extra="[limits]\nretry_first = 2\nretry_max = 4\nfree_disk = 0\n")
    hop.start()
    try:
        gateway.start()
        load = Load(gateway.port, messages, random.Random(seed + 1), folder / "ledger.jsonl")
        busy, kills = threading.Event(), []
        busy.set()
        killer = threading.Thread(target=kill_some, args=(gateway, rng, busy, kills, number))
        senders = [threading.Thread(target=load.sender) for _ in range(4)]
        killer.start()
        for thread in senders:
            thread.start()
        for thread in senders:
            thread.join()
        busy.clear()
        killer.join()
        wait_for(gateway.ready, 40, "the gateway is whole again")

        def drained() -> bool:
            done = gateway.cli("queue", "list", "--json", check=False)
            return done.returncode == 0 and not done.stdout.strip()

        try:
            wait_for(drained, DRAIN, "the queue is empty")
        except AssertionError:
            print(gateway.cli("queue", "list", check=False).stdout, file=sys.stderr)
        bad = gateway.cli("audit", "verify", check=False)
        result = count(load, hop, gateway, kills)
        result.lost += [f"message {number} was never taken" for number in load.given_up]
        if bad.returncode:
            result.lost.append(f"audit verify: {bad.stdout}{bad.stderr}")
        return result
    finally:
        gateway.stop()
        gateway.kill_all()
        hop.stop()


def main(arguments: list[str] | None = None) -> int:
    """The whole proof; prints a line a run and a sum."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--early-reply", action="store_true", help="the negative control: must find lost mail")
    parser.add_argument("--signal", choices=("KILL", "TERM"), default="KILL")
    parser.add_argument("--keep", action="store_true", help="keep the folders of bad runs")
    options = parser.parse_args(arguments)
    total, bad = collections.Counter[str](), 0
    for run in range(options.runs):
        folder = Path(tempfile.mkdtemp(prefix="proof-"))
        result: Any = one_run(folder, options.seed + run, options.messages, options.early_reply, signal.Signals[f"SIG{options.signal}"])
        bad += not result.good
        for name in ("accepted", "delivered", "bounced", "held", "scheduled", "duplicates", "kills"):
            total[name] += getattr(result, name)
        total["lost"] += len(result.lost)
        total["in two states"] += len(result.twofold)
        total["unexplained duplicates"] += len(result.unexplained)
        parts = ", ".join(f"{getattr(result, name)} {name}" for name in ("accepted", "delivered", "bounced", "held", "scheduled"))
        print(
            f"run {run + 1}/{options.runs} seed {options.seed + run}: {parts}, lost {len(result.lost)}, in two states "
            f"{len(result.twofold)}, duplicates {result.duplicates} (unexplained {len(result.unexplained)}), kills {result.kills}",
            flush=True,
        )
        for line in (result.lost + result.twofold + result.unexplained)[:5]:
            print("   ", line, flush=True)
        if result.good or not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print("    kept:", folder, flush=True)
        if options.early_reply and result.lost:
            break  # the control has shown what it must; a run whose kills hit nothing that matters shows nothing
    print("sum:", dict(total), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
