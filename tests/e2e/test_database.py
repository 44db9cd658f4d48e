"""The database itself is in trouble: its disk is full, its log has no room, its machine is lost and a standby takes over (O10)."""

from __future__ import annotations

import contextlib
import random
import secrets
import shutil
import smtplib
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.e2e.nodes import DATABASE, Node, together
from tests.e2e.parts import Hop, wait_for
from tests.e2e.postgres import OWNER, Postgres, programs
from tests.e2e.prove.count import Strike, count
from tests.e2e.prove.load import INSIDE, Accepted, Load
from tests.e2e.standby import SmallDisk, Standby

pytestmark = [
    pytest.mark.service,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed (.ci/run installs it)"),
]

SENDER = "officer@dept.gov.in"


def nodes_on(folder: Path, hop: Hop, url: str, password_file: Path, many: int) -> list[Node]:
    """Gateways that share the store at *url* and a vault key."""
    key = folder / "vault.key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    store = f'[store]\nurl = "{url}"\npassword_file = "{password_file}"'
    names = [f"gw{number + 1}" for number in range(many)]
    return [Node(folder / name, hop.port, name=name, vault=key, store=store) for name in names]


def ready(node: Node) -> str:
    """Why *node* is not ready, as a balancer sees it; empty when it is."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{node.web_port}/readyz", timeout=10) as answer:
            assert answer.status == 200
            return ""
    except urllib.error.HTTPError as error:
        assert error.code == 503
        return error.read().decode() or "not ready"
    except OSError as error:
        return str(error)


def posted(node: Node, identity: str, size: int) -> tuple[int, str]:
    """The answer to a message of *size* octets."""
    text = "".join(f"{random.getrandbits(256):064x}\r\n" for _ in range(size // 66))
    with contextlib.closing(smtplib.SMTP("127.0.0.1", node.port, timeout=30)) as client:
        client.ehlo("pc.dept.gov.in")
        code, said = client.mail(SENDER)
        if code == 250:
            code, said = client.rcpt(INSIDE)
        if code == 250:
            head = (
                f"From: <{SENDER}>\r\nTo: <{INSIDE}>\r\nX-Proof: {identity}\r\nSubject: {identity}\r\nMessage-ID: <{identity}@dept.gov.in>"
            )
            code, said = client.data(f"{head}\r\n\r\n{text}".encode())
        return code, said.decode()


def opened(server: Postgres) -> int:
    """How many deliveries are not at their end; -1 while the database does not say."""
    with contextlib.suppress(psycopg.Error):
        return int(server.ask("SELECT count(*) FROM deliveries_open", database=DATABASE)[0][0])
    return -1


@pytest.fixture
def hop(tmp_path: Path) -> Iterator[Hop]:
    made = Hop(tmp_path / "hop")
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("where", ["the tables", "the log"])
def test_O10_O01_a_full_disk_of_the_database_defers_mail_and_loses_none(tmp_path: Path, hop: Hop, where: str) -> None:
    """*the tables*: PostgreSQL says so and lives. *the log*: it panics, and cannot recover before there is room."""
    tables = where == "the tables"
    disk = SmallDisk(tmp_path / "disk", (48 if tables else 96) << 20)
    if not disk.mount():
        disk.unmount()
        pytest.skip("no file system can be mounted here")
    settings = {"max_wal_size": "48MB", "min_wal_size": "32MB", "shared_buffers": "16MB"}
    server = Postgres(tmp_path / "pg", settings)
    (node,) = nodes_on(tmp_path, hop, server.url(DATABASE), server.password_file, 1)
    taken: list[Accepted] = []
    refused: list[int] = []

    def post() -> int:
        if not tables and disk.ballast.exists():
            with contextlib.suppress(psycopg.Error):
                server.ask("SELECT pg_switch_wal()")  # what lies there for use again is used up sooner
        identity = f"full-{len(taken) + len(refused)}-{secrets.token_hex(6)}"
        code, said = posted(node, identity, 250_000)
        if code == 250:
            taken.append(Accepted(identity, said.rsplit(" ", 1)[-1], {INSIDE: "delivered"}, time.time()))
        else:
            refused.append(code)
        return code

    try:
        server.start()
        if tables:
            place = disk.place / "tables"
            place.mkdir()
            shutil.chown(place, "postgres", "postgres")
            server.ask(f"CREATE TABLESPACE small OWNER {OWNER} LOCATION '{place}'")
            server.ask(f"CREATE DATABASE {DATABASE} OWNER {OWNER} TEMPLATE template0 TABLESPACE small")
        else:
            server.create(DATABASE)
            server.stop()
            subprocess.run(["cp", "-a", str(server.data / "pg_wal"), str(disk.place)], check=True)
            shutil.rmtree(server.data / "pg_wal")
            (server.data / "pg_wal").symlink_to(disk.place / "pg_wal")
            server.start()
        node.start()
        for _ in range(3):
            assert post() == 250
        wait_for(lambda: opened(server) == 0, 30, "what was sent first is delivered")
        began = time.time()
        disk.fill(3 << 20)
        wait_for(lambda: post() != 250, 30, "the disk is full")
        wait_for(lambda: "the store cannot be written" in ready(node), 20, "the node says that it is not ready")
        for _ in range(3):
            assert 400 <= post() < 500
        disk.empty()
        if not tables:  # what systemd does where it could not recover
            server.stop()
            server.start()
        wait_for(lambda: not ready(node), 40, "the node is ready again")
        wait_for(lambda: post() == 250, 20, "mail is taken again")
        wait_for(lambda: opened(server) == 0, 60, "all is delivered")
        assert all(400 <= code < 500 for code in refused), refused
        assert (b"PANIC" in (server.folder / "postgres.log").read_bytes()) == (not tables), "the server met what is meant"
        found = count(taken, hop, node, [Strike(began, time.time(), "full", explains=True)])
        assert found.good, found.wrong
        assert found.delivered == len(taken)
        assert node.cli("audit", "verify").stdout.startswith("ok: ")
    finally:
        node.stop()
        server.stop()
        disk.unmount()


def test_O10_a_synchronous_standby_takes_over_and_nothing_that_was_accepted_is_lost(tmp_path: Path, hop: Hop) -> None:
    first = Postgres(tmp_path / "one")
    second = Standby(tmp_path / "two", primary=first)
    hosts = f"127.0.0.1:{first.port},127.0.0.1:{second.port}"
    url = f"postgresql://{OWNER}@{hosts}/{DATABASE}?target_session_attrs=read-write"
    nodes = nodes_on(tmp_path, hop, url, first.password_file, 2)
    loads = [Load(node.port, 10_000, random.Random(n), tmp_path / f"ledger-{n}.jsonl") for n, node in enumerate(nodes)]
    try:
        first.start()
        first.create(DATABASE)
        second.start()
        second.is_followed()
        together(node.start for node in nodes)
        senders = [thread for load in loads for thread in load.start()]
        wait_for(lambda: all(len(load.accepted) >= 8 for load in loads), 40, "mail flows through both nodes")
        began = time.time()
        first.kill()  # and it never comes back
        before = [len(load.accepted) for load in loads]
        time.sleep(1)
        second.promote()
        wait_for(
            lambda: all(len(load.accepted) >= had + 8 for load, had in zip(loads, before, strict=True)),
            40,
            "mail flows on at the promoted server",
        )
        wait_for(lambda: not any(ready(node) for node in nodes), 20, "both nodes are ready")
        ended = time.time()
        for load in loads:
            load.total = 0
        for thread in senders:
            thread.join()
        wait_for(lambda: opened(second) == 0, 60, "all is delivered")
        accepted = [one for load in loads for one in load.accepted]
        found = count(accepted, hop, nodes[0], [Strike(began, ended, "the primary is lost", explains=True)])
        assert found.good, found.wrong
        assert not any(load.refused or load.given_up for load in loads)
        assert found.messages == len(accepted) > sum(before)
    finally:
        for load in loads:
            load.total = 0
        for node in nodes:
            node.stop()
        second.stop()
        first.stop()
