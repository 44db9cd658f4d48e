"""One gateway with what stands around it: a next hop that misbehaves on request, the load, and what was done to them."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.e2e.parts import Gateway, Hop
from tests.e2e.prove.clients import PASSWORD, SENDER
from tests.e2e.prove.count import Strike
from tests.e2e.prove.load import Load

LIMITS = "[limits]\nretry_first = 2\nretry_max = 4\nfree_disk = 0\n"
_CLI = """
[submission]
check = "file"
logins = "{folder}/logins.toml"
[tls]
certificate = "{folder}/cert.pem"
key = "{folder}/key.pem"
[[listen]]
door = "submission"
address = "127.0.0.1:{port}"
"""
_MILTER = """
[[listen]]
door = "milter"
address = "127.0.0.1:{port}"
"""
_OPEN = (
    "SELECT m.reference, m.sender FROM deliveries d JOIN messages m ON m.id = d.message_id"
    " WHERE d.state IN ('scheduled', 'deferred', 'leased', 'on-hold')"
)


def fixed_port() -> int:
    """A port of 127.0.0.1 below those that the kernel gives to outgoing connections: it is still free when its owner was killed and
    comes again, however many runs there are at one time."""
    while True:
        port = random.SystemRandom().randrange(11_000, 32_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


@dataclass
class Sink(Hop):
    """A next hop that records like ``Hop`` and can be told to misbehave; see ``sink_server``."""

    port: int = field(default_factory=fixed_port)
    program: ClassVar[str] = "tests.e2e.prove.sink_server"

    def start(self) -> None:
        """Starts it; it goes on with the same record after a restart."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.misbehave("ok")
        super().start()

    def misbehave(self, mode: str) -> None:
        """From now on, until it is told otherwise (``ok``)."""
        (self.folder / "mode.new").write_text(mode)
        os.replace(self.folder / "mode.new", self.folder / "mode")


@dataclass
class Site:
    """A gateway in *folder*, its next hop, what was done to them. ``stopping``: the load is over, faults end."""

    folder: Path
    rng: random.Random
    gateway: Gateway
    sink: Sink
    load: Load
    strikes: list[Strike] = field(default_factory=list)
    busy: threading.Event = field(default_factory=threading.Event)
    restarting: threading.Lock = field(default_factory=threading.Lock)
    """Held while the whole gateway is started again."""
    counting: Callable[[], int] | None = None
    """Counts the open deliveries where the store is no file."""
    replaced: list[tuple[str, float, float]] = field(default_factory=list)
    """For each process that was killed: its role, the seconds until it had a successor, and until that one listened."""

    @classmethod
    def make(cls, folder: Path, seed: int, messages: int, *, submission: bool = True, milter: bool = True) -> Site:
        """All of it, in *folder*, nothing started."""
        sink = Sink(folder / "hop")
        port, other = fixed_port() if submission else 0, fixed_port() if milter else 0
        extra = LIMITS + (_MILTER.format(port=other) if milter else "")
        if submission:
            folder.mkdir(parents=True, exist_ok=True)
            _credentials(folder)
            extra += _CLI.format(folder=folder, port=port)
        gateway = Gateway(folder / "gw", sink.port, extra=extra, port=fixed_port(), web_port=fixed_port())
        load = Load(gateway.port, messages, random.Random(seed + 1), folder / "ledger.jsonl", port, other)
        return cls(folder, random.Random(seed), gateway, sink, load)

    @property
    def database(self) -> Path:
        """The file of the store."""
        return self.gateway.folder / "state" / "gateway.db"

    def open_deliveries(self) -> int:
        """How many deliveries of accepted mail, and of reports, are not at their end; -1 while that cannot be read. From the file itself:
        a command costs a second. What was answered 4xx may be in the store all the same (a commit whose end failed), and may wait."""
        if self.counting is not None:
            return self.counting()
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=5)) as db:
                rows = db.execute(_OPEN).fetchall()
        except sqlite3.Error:
            return -1
        accepted = {entry.reference for entry in list(self.load.accepted)}
        return sum(not sender or reference in accepted for reference, sender in rows)


def _credentials(folder: Path) -> None:
    """A certificate and a login for the submission door."""
    from argon2 import PasswordHasher

    key, certificate = folder / "key.pem", folder / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650"]
    words += ["-subj", "/CN=gw.dept.gov.in", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    key.chmod(0o600)
    # The cheapest that the gateway takes: what a password costs is no part of this proof.
    secret = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1).hash(PASSWORD)
    (folder / "logins.toml").write_text(f'[[login]]\nname = "{SENDER}"\npassword = "{secret}"\n')
    (folder / "logins.toml").chmod(0o600)
