"""Not collected: what one message costs, stage by stage.
usage: python -m tests.bench.stages [PEERS_FOLDER] [--messages N] [--kinds text,docx,pdf] [--json]

4 KB of marked text, a DOCX of 96 KB and a PDF of 2 MB (of PEERS_FOLDER/corpus.py where it is named) go through the functions that doors,
inspector, keeper and relay run, in one process, stage after stage: milliseconds of processor time a message, the mean over N messages of
which no two are the same. Commits and deliveries come twenty at a time, as under load. No kernel work for sockets but in "deliver", which
sends to a sink in a process of its own. Whose they are: receive to decide and half of the frame are a door's (of all but plain text
"inspect" is the inspector's), the rest is the keeper's. Prints, asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import importlib.util
import json
import multiprocessing
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from msgspec.structs import replace

from gateway import content, policy
from gateway.address import Path as Address
from gateway.config import Config
from gateway.doors.door import Door, Settings
from gateway.doors.smtp import Session
from gateway.envelope import Door as DoorName
from gateway.envelope import Envelope, Peer, Recipient, Transaction, new_id
from gateway.inspector import warm
from gateway.message import plain, prescan
from gateway.policy import classify, decide
from gateway.relay.notices import Notices
from gateway.relay.relay import Relay
from gateway.relay.signing import Signer
from gateway.reply import Reply
from gateway.requests import Commit
from gateway.stores.base import DeliveryRow
from gateway.verdict import Inspection
from tests.bench.inspection import docx_96k, pdf_2m, text_4k
from tests.bench.relay import Store
from tests.bench.sink import taking
from tests.content_mail import mail
from tests.keeper_kit import Room
from tests.smtp_door import Memory, make_config

STAGES = ("receive", "prescan", "inspect", "classify", "decide", "frame", "commit", "sign", "deliver")
SENDER, RECIPIENT = Address("officer", "dept.gov.in"), Address("desk", "finance.nic.in")
_COUNTS = {"text": 500, "docx": 40, "pdf": 5}
_AT_ONCE = 20
_READ = 65_536  # octets of one read of a door
_SPOKEN = (
    b"EHLO load.dept.gov.in\r\n", b"MAIL FROM:<officer@dept.gov.in>\r\n", b"RCPT TO:<desk@finance.nic.in>\r\n", b"DATA\r\n",
)  # fmt: skip


def messages(folder: Path | None) -> dict[str, Callable[[int], bytes]]:
    """What makes the message of each kind with a number; each is another one."""
    if folder is not None:
        spec = importlib.util.spec_from_file_location("corpus", folder / "corpus.py")
        assert spec is not None
        assert spec.loader is not None
        corpus = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(corpus)
        parts = corpus.build()

        def made(kind: str, number: int) -> bytes:
            (head, middle, end), (field, line) = parts[kind], corpus.unique(kind, number)
            whole: bytes = head + field + middle + line + end
            return whole

        return {name: partial(made, kind) for name, kind in (("text", "a"), ("docx", "b"), ("pdf", "c"))}
    head = b"From: Officer <officer@dept.gov.in>\r\nTo: desk@finance.nic.in\r\nMessage-ID: <%d.bench@dept.gov.in>\r\n"
    text = b"Subject: Monthly statement\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    marking = b"Classification: CONFIDENTIAL\r\n\r\n"
    prose = text_4k().replace(b"\n", b"\r\n") + b"\r\n"
    papers: dict[str, bytes] = {}

    def with_papers(kind: str, number: int) -> bytes:
        if kind not in papers:
            papers[kind] = mail(docx_96k(), "note.docx") if kind == "docx" else mail(pdf_2m(), "report.pdf")
        return b"X-Number: %d\r\n" % number + papers[kind].removesuffix(b"\r\n") + b"\r\n"

    return {
        "text": lambda number: head % number + text + marking + b"Number %d.\r\n" % number + prose,
        "docx": partial(with_papers, "docx"),
        "pdf": partial(with_papers, "pdf"),
    }


class Wire(asyncio.Transport):
    """A transport without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[bytes] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 40_000) if name == "peername" else default

    def write(self, data: Any) -> None:
        self.said.append(data)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing: the session is told that it is lost."""


class Taken(Memory):
    """A pipeline that says yes."""

    async def handle(self, tx: Transaction, content: bytes) -> Reply:
        return Reply(250, "2.0.0", f"accepted {tx.reference}")


async def receive(door: Door, message: bytes) -> None:
    """A whole session of SMTP."""
    session, wire = Session(door), Wire()
    session.connection_made(wire)
    for line in _SPOKEN:
        session.data_received(line)
    octets = message + b".\r\n"
    for start in range(0, len(octets), _READ):
        session.data_received(octets[start : start + _READ])
    while len(wire.said) < 6:
        await asyncio.sleep(0)
    if not wire.said[-1].startswith(b"250"):
        raise SystemExit(f"not received: {wire.said[-1]!r}")
    session.data_received(b"QUIT\r\n")
    session.connection_lost(None)


def transaction(message: bytes) -> Transaction:
    """As a door makes it."""
    peer = Peer("127.0.0.1", 40_000, "load.dept.gov.in", listed=True)
    envelope = Envelope(SENDER, (Recipient(RECIPIENT),))
    sha256 = hashlib.sha256(message).hexdigest()
    return Transaction(new_id(), DoorName.SMTP, peer, envelope, time.time(), len(message), sha256, True, "dept.gov.in")


def sink(sock: socket.socket) -> None:
    """The next hop's process."""
    uvloop.run(taking(sock))


class Bench:
    """The parts that stages are measured with."""

    def __init__(self, folder: Path, port: int) -> None:
        self.config = make_config(
            state_dir=folder, max_message_size=40_000_000, limits={"free_disk": 0, "ocr_seconds": 0},
            route=[{"domains": ["*"], "next_hop": f"127.0.0.1:{port}", "tls": "none"}],
        )  # fmt: skip
        self.policy = policy.load(None, self.config)
        self.room = Room(folder)
        key = folder / "dkim.pem"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        dkim = ({"domain": "dept.gov.in", "selector": "bench", "key_file": key},)
        self.signer = Signer(Config(dkim=dkim), time.time)

    async def open(self) -> None:
        """Opens the store and the door, and connects the relay."""
        memory = Taken()
        self.door = Door(Settings.make(self.config, lambda sender, recipient, peer, /, *, door=None: None, None), memory, memory)
        await self.room.open()
        self.store = Store()
        notices = Notices(self.config, None, lambda: None)  # type: ignore[arg-type]  # nothing is opened, nothing is told
        self.relay = Relay(self.config, self.store, None, Signer(Config(), time.time), notices)  # type: ignore[arg-type]
        await self.relay.start()
        warm.up(self.policy.scheme, self.config.limits)

    async def close(self) -> None:
        """Ends them."""
        await self.relay.stop()
        await self.room.close()

    def inspect(self, message: bytes, sha256: str) -> Inspection:
        """By a door where it can, else by the inspector."""
        limits, scheme = self.config.limits, self.policy.scheme
        return plain.inspect(message, sha256, limits, scheme) or content.unpack(message, sha256=sha256, limits=limits, scheme=scheme)

    async def stages(self, messages: Sequence[bytes]) -> dict[str, float]:
        """Milliseconds of processor time of each stage for one of *messages*."""
        spent: dict[str, float] = {}
        limits, register = self.config.limits, self.room.register.current

        @contextlib.contextmanager
        def stage(name: str) -> Iterator[None]:
            began = time.process_time()
            yield
            spent[name] = (time.process_time() - began) / len(messages) * 1000

        with stage("receive"):
            for message in messages:
                await receive(self.door, message)
        with stage("prescan"):
            for message in messages:
                prescan.hops(message, limits)
                prescan.prescan(message, limits)
        transactions = [transaction(message) for message in messages]
        with stage("inspect"):
            inspections = [self.inspect(message, tx.sha256) for message, tx in zip(messages, transactions, strict=True)]
        with stage("classify"):
            for inspection in inspections:
                classify.classify(inspection)
        with stage("decide"):
            verdicts = [
                decide.decide(tx, inspection, self.policy, register, self.config)
                for tx, inspection in zip(transactions, inspections, strict=True)
            ]
        with stage("frame"):
            frames = [msgspec.msgpack.encode(Commit(tx, verdict, 0.0)) for tx, verdict in zip(transactions, verdicts, strict=True)]
            requests = [msgspec.msgpack.decode(frame, type=Commit) for frame in frames]
        with stage("commit"):
            for at in range(0, len(messages), _AT_ONCE):
                together = zip(requests[at : at + _AT_ONCE], messages[at : at + _AT_ONCE], strict=True)
                await asyncio.gather(*(self.room.actor.commit(request, message) for request, message in together))
        with stage("sign"):
            for message in messages:
                self.signer.sign(message, SENDER.text)
        offered, self.room.relay.offered = self.room.relay.offered, []
        if len(offered) == len(messages):
            with stage("deliver"):
                for at in range(0, len(offered), _AT_ONCE):
                    await self.deliver(offered[at : at + _AT_ONCE])
        # Inspection begins with the one, a decision with the other.
        spent["inspect"] = max(0.0, spent["inspect"] - spent["prescan"])
        spent["decide"] = max(0.0, spent["decide"] - spent["classify"])
        return spent

    async def deliver(self, offered: Sequence[tuple[Sequence[DeliveryRow], bytes]]) -> None:
        """Sends what the commits gave the relay."""
        self.store.goal = self.store.delivered + sum(len(rows) for rows, _ in offered)
        self.store.done.clear()
        for rows, octets in offered:
            self.relay.offer([replace(row, lease=self.relay.incarnation) for row in rows], octets)
        await self.store.done.wait()


async def measured(bench: Bench, kinds: Mapping[str, Callable[[int], bytes]], wanted: int) -> dict[str, dict[str, float]]:
    """Milliseconds by kind and stage."""
    await bench.open()
    table: dict[str, dict[str, float]] = {}
    try:
        for kind, make in kinds.items():
            count = wanted or _COUNTS[kind]
            await bench.stages([make(number) for number in range(min(count, 3))])  # cold
            table[kind] = await bench.stages([make(number) for number in range(3, 3 + count)])
    finally:
        await bench.close()
    return table


def main(words: list[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--messages", type=int, default=0, help="of each kind; 0: what takes some seconds")
    parser.add_argument("--kinds", default="text,docx,pdf")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(words)
    made = messages(given.folder)
    sock = socket.create_server(("127.0.0.1", 0))
    hop = multiprocessing.get_context("fork").Process(target=sink, args=(sock,), daemon=True)
    hop.start()
    try:
        with tempfile.TemporaryDirectory(prefix="stages-") as folder:
            bench = Bench(Path(folder), sock.getsockname()[1])
            table = uvloop.run(measured(bench, {kind: made[kind] for kind in given.kinds.split(",")}, given.messages))
    finally:
        hop.terminate()
        hop.join()
        sock.close()
    if given.json:
        print(json.dumps({"unit": "ms", "stages": table}))
        return
    print(f"{'ms of processor time':<22}" + "".join(f"{kind:>10}" for kind in table))
    for stage in STAGES:
        print(f"{stage:<22}" + "".join(f"{one[stage]:>10.3f}" if stage in one else f"{'-':>10}" for one in table.values()))
    print(f"{'all':<22}" + "".join(f"{sum(one.values()):>10.3f}" for one in table.values()))


if __name__ == "__main__":
    main()
