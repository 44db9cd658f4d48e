"""Several gateways that share the work: equal nodes on one PostgreSQL, behind Debian's haproxy, in front of one next hop.

What it is: ``Node`` (a gateway with its own state_dir, the shared vault key and the shared store), ``Balancer``, ``Nodes`` (all of it),
and ``prove``: a load with a ledger through the balancer while nodes, keepers and the database are killed in turn, a drain, a count.
Who calls it: ``test_nodes.py`` (seconds), the proof (minutes), ``tests/bench/nodes.py``.
Must never: end a process that it did not start; take a node's word for what arrived (the next hop and the ledger are asked).
Sources: docs/design.md section 9; https://docs.haproxy.org/2.6/configuration.html (send-proxy-v2, httpchk).

usage: python -m tests.e2e.nodes [--messages 2000] [--seed N] [--blows 40]
exit 0: nothing was lost; 1: something was, or the count does not add up.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.e2e import leash
from tests.e2e.parts import Gateway, Hop, port_open, stop, wait_for
from tests.e2e.postgres import Postgres
from tests.e2e.prove import roles
from tests.e2e.prove.count import Count, Strike, count
from tests.e2e.prove.load import Load
from tests.e2e.prove.site import fixed_port

DATABASE = "gateway"
DRAIN = 150.0
"""Seconds until the queue must be empty after the last blow: a dead keeper's leases are void after half a minute."""
BLOWS = ("node", "keeper", "database", "keeper", "cut", "node", "database killed")


@dataclass
class Node(Gateway):
    """One gateway of many. ``port`` is asked directly; the balancer comes to ``proxied``, where a PROXY header is expected."""

    workers: int = 1
    vault: Path = Path()
    store: str = ""
    port: int = field(default_factory=fixed_port)
    proxied: int = field(default_factory=fixed_port)
    web_port: int = field(default_factory=fixed_port)

    def more(self) -> str:
        """The second listener, and what the nodes share."""
        return f"""
[[listen]]
door = "smtp"
address = "127.0.0.1:{self.proxied}"
proxy_protocol = true
proxies = ["127.0.0.1/32"]
[vault]
key_file = "{self.vault}"
[limits]
retry_first = 2
retry_max = 4
free_disk = 0
{self.store}
{super().more()}
"""

    def keepers(self) -> list[int]:
        """The process ids of its keeper."""
        if self.process is None or self.process.poll() is not None:
            return []
        return [pid for pid, role in roles.of(self.process.pid).items() if role == "keeper"]


@dataclass
class Balancer:
    """Debian's haproxy in TCP mode; a node is asked over its web page whether it is ready."""

    folder: Path
    nodes: list[Node]
    port: int = field(default_factory=fixed_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Writes its config and starts it in the foreground."""
        self.folder.mkdir(parents=True, exist_ok=True)
        servers = "\n".join(
            f"    server {node.name} 127.0.0.1:{node.proxied} send-proxy-v2 check port {node.web_port}" for node in self.nodes
        )
        (self.folder / "haproxy.cfg").write_text(f"""
global
    maxconn 2000
defaults
    mode tcp
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 5s
    retries 3
    option redispatch
frontend smtp
    bind 127.0.0.1:{self.port}
    default_backend gateways
backend gateways
    balance leastconn
    option httpchk GET /readyz
    default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
""")
        log = (self.folder / "haproxy.log").open("ab")
        program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
        assert program is not None, "haproxy is not installed (.ci/run installs it)"
        self.process = subprocess.Popen(
            [program, "-db", "-f", str(self.folder / "haproxy.cfg")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=leash.on(),
        )  # fmt: skip
        wait_for(lambda: port_open(self.port), 30, f"haproxy listens; see {self.folder}/haproxy.log")

    def stop(self) -> None:
        """Ends it."""
        if self.process is not None:
            stop(self.process)


@dataclass
class Nodes:
    """*many* nodes and what stands around them, in *folder*."""

    folder: Path
    many: int = 3
    server: Postgres = field(init=False)
    hop: Hop = field(init=False)
    nodes: list[Node] = field(init=False)
    balancer: Balancer = field(init=False)
    strikes: list[Strike] = field(default_factory=list)
    down: dict[str, threading.Thread] = field(default_factory=dict)
    """Nodes that were killed and are being started again."""
    trouble: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = Postgres(self.folder / "postgres", port=fixed_port())
        self.hop = Hop(self.folder / "hop", port=fixed_port())
        self.folder.mkdir(parents=True, exist_ok=True)
        key = self.folder / "vault.key"
        key.write_text(secrets.token_hex(32))
        key.chmod(0o600)
        store = f'[store]\nurl = "{self.server.url(DATABASE)}"\npassword_file = "{self.server.password_file}"'
        names = [f"gw{number + 1}" for number in range(self.many)]
        self.nodes = [Node(self.folder / name, self.hop.port, name=name, vault=key, store=store) for name in names]
        self.balancer = Balancer(self.folder / "haproxy", self.nodes)

    def start(self) -> None:
        """Starts all; the nodes at once, so that they meet when the tables are made."""
        self.server.start()
        self.server.create(DATABASE)
        self.hop.start()
        together(node.start for node in self.nodes)
        self.balancer.start()
        wait_for(lambda: self.ready() == self.many, 60, "the balancer knows all nodes as ready")

    def stop(self) -> None:
        """Ends all."""
        self.balancer.stop()
        together(node.stop for node in self.nodes)
        for node in self.nodes:
            node.kill_all()
        self.hop.stop()
        self.server.stop()

    def ready(self) -> int:
        """How many nodes answer and have a keeper."""
        return sum(bool(node.keepers()) and port_open(node.proxied) for node in self.nodes)

    def open_deliveries(self) -> int:
        """How many deliveries are not at their end; -1 while the database does not say."""
        with contextlib.suppress(psycopg.Error):
            return int(self.server.ask("SELECT count(*) FROM deliveries_open", database=DATABASE)[0][0])
        return -1

    # --- blows ---------------------------------------------------------------------------------------------------------

    def strike(self, how: str, rng: random.Random) -> None:
        """One blow, and what makes it whole again; a node that was killed comes back by itself while the next blows fall."""
        began, what = time.time(), how
        whole = [node for node in self.nodes if node.name not in self.down and node.keepers()]
        if how in ("node", "keeper") and len(whole) < min(2, self.many):
            return
        if how == "node":
            node = rng.choice(whole)
            self.down[node.name] = threading.Thread(target=self._replace, args=(node, rng.uniform(0, 3), began))
            node.kill_all()
            self.down[node.name].start()
            return
        if how == "keeper":
            node = rng.choice(whole)
            what = f"keeper of {node.name}"
            for pid in node.keepers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_for(node.keepers, 60, f"{node.name} has a keeper again")
        elif how == "cut":
            with contextlib.suppress(psycopg.Error):
                self.server.cut(DATABASE)
        else:
            (self.server.kill if how == "database killed" else self.server.immediate)()
            time.sleep(rng.uniform(0, 3))
            self.server.start()
        # A keeper that lost its life or its database between the delivery and the record of it delivers again: SMTP leaves no choice.
        self.strikes.append(Strike(began, time.time(), what, explains=True))

    def _replace(self, node: Node, pause: float, began: float) -> None:
        time.sleep(pause)
        try:
            node.start()
        except BaseException as error:
            self.trouble.append(error)
        self.strikes.append(Strike(began, time.time(), node.name, explains=True))
        del self.down[node.name]

    def blows(self, rng: random.Random, busy: threading.Event, most: int) -> None:
        """One of each kind in turn while the load is on."""
        for number in range(most):
            time.sleep(rng.uniform(0.5, 3))
            if not busy.is_set():
                break
            self.strike(BLOWS[number % len(BLOWS)], rng)


def prove(nodes: Nodes, messages: int, seed: int, blows: int, *, lasting: bool = False) -> Count:
    """A load through the balancer of started *nodes* under blows, the drain, and where everything is. *lasting*: *messages* or more, as
    long as there are blows."""
    load = Load(nodes.balancer.port, messages, random.Random(seed + 1), nodes.folder / "ledger.jsonl")
    busy = threading.Event()
    busy.set()

    def strike() -> None:
        try:
            nodes.blows(random.Random(seed), busy, blows)
        except BaseException as error:
            nodes.trouble.append(error)

    striking = threading.Thread(target=strike)
    striking.start()
    senders = load.start()
    while lasting and (striking.is_alive() or nodes.down):
        load.total = max(messages, load.tried + 5)  # under load from the first blow to the last
        time.sleep(0.1)
    for thread in senders:
        thread.join()
    busy.clear()
    striking.join()
    for thread in list(nodes.down.values()):
        thread.join()
    if nodes.trouble:
        raise nodes.trouble[0]
    asked = nodes.nodes[seed % len(nodes.nodes)]
    wait_for(lambda: asked.cli("queue", "list", check=False).returncode == 0, 60, "the keeper answers")
    stuck = ""
    try:
        wait_for(lambda: nodes.open_deliveries() == 0, DRAIN, "the queue is empty")
    except AssertionError:
        stuck = asked.cli("queue", "list", check=False).stdout
    found = count(load.accepted, nodes.hop, asked, nodes.strikes)
    if stuck:
        found.other.append(f"the queue is not empty after {DRAIN:.0f} s:\n{stuck}")
    found.refused += load.refused
    found.other += [f"message {number} was never taken" for number in load.given_up]
    found.other += chains(nodes)
    return found


def chains(nodes: Nodes) -> list[str]:
    """What the verification of the decision log says against it: of all nodes' chains, with the keys of all nodes."""
    asked = nodes.nodes[0]
    for node in nodes.nodes[1:]:
        public = asked.folder / "state" / "keys" / f"audit-signing-{node.name}.pub"
        key = node.folder / "state" / "keys" / "audit-signing.pem"
        done = subprocess.run(["openssl", "pkey", "-in", str(key), "-pubout"], capture_output=True, check=True)
        public.write_bytes(done.stdout)
    verified = asked.cli("audit", "verify", check=False)
    return [f"audit verify: {verified.stdout}{verified.stderr}"] if verified.returncode else []


def together(calls: Iterable[Callable[[], None]]) -> None:
    """Makes all *calls* at once; raises the first trouble."""
    trouble: list[BaseException] = []

    def guarded(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            trouble.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if trouble:
        raise trouble[0]


def main() -> int:
    """The long form."""
    options = argparse.ArgumentParser(description="Nodes that share a PostgreSQL lose nothing when nodes and database are killed.")
    options.add_argument("--nodes", type=int, default=3)
    options.add_argument("--messages", type=int, default=2000)
    options.add_argument("--seed", type=int, default=secrets.randbelow(1 << 30))
    options.add_argument("--blows", type=int, default=1000)
    given = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="nodes-"))
    nodes = Nodes(folder, given.nodes)
    try:
        nodes.start()
        found = prove(nodes, given.messages, given.seed, given.blows)
    finally:
        nodes.stop()
    print(
        f"nodes {given.nodes}, seed {given.seed}: {found.messages} messages, {found.accepted} recipients: delivered {found.delivered},"
        f" bounced {found.bounced}, held {found.held}, scheduled {found.scheduled}, twice around a blow {found.duplicates},"
        f" blows {found.strikes}"
    )
    for line in found.wrong:
        print(line)
    if found.good:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"what was left: {folder}")
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
