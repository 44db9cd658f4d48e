"""Not collected: what the store costs, and what rows that lie there cost: one node on the embedded store, one and three on PostgreSQL.

usage: python -m tests.bench.nodes [--messages 3000] [--sessions 20] [--rounds 2] [--rows 1000000] [--waiting 100000] [--only NAME …]

Each set-up runs behind haproxy, on one machine, one after the other, in alternating order: 4 KB text to one official, all inspected,
recorded, delivered to a sink that throws away. The rate counts until the sink has the last message. Those called "full" start with
--rows held, finished and recorded rows and --waiting deliveries that wait for a hop that is away. Prints, asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from gateway.stores import moved_rows, schema
from tests.e2e.nodes import DATABASE, Nodes, together
from tests.e2e.parts import Hop, port_open, wait_for

SETUPS = {"sqlite 1": (1, False, False), "postgresql 1": (1, True, False), "postgresql 3": (3, True, False),
          "sqlite 1 full": (1, False, True), "postgresql 1 full": (1, True, True), "postgresql 3 full": (3, True, True)}  # fmt: skip
"""Nodes, on PostgreSQL, full."""
TEXT = "Please see the file and return it with your remarks by Friday.\r\n" * 64


class Sink(Hop):
    """A next hop that throws away and counts."""

    def start(self) -> None:
        """Starts it in a process of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "tests.bench.nodes", "--sink", str(self.port), str(self.folder / "count")]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, cwd=Path(__file__).resolve().parents[2])
        wait_for(lambda: port_open(self.port), 30, "the sink listens")

    def count(self) -> int:
        """Messages that it has taken."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.folder / "count").read_text())
        return 0


async def sink(port: int, file: Path) -> None:
    """The sink's process."""
    taken = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        writer.write(b"220 sink ESMTP\r\n")
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    writer.write(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 0\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    taken += 1
                    file.write_text(str(taken))
                    writer.write(b"250 2.0.0 taken\r\n")
                elif verb == b"QUIT":
                    writer.write(b"221 2.0.0 bye\r\n")
                    break
                else:
                    writer.write(b"250 2.0.0 ok\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=1 << 24, backlog=500)
    await server.serve_forever()


async def load(port: int, messages: int, sessions: int) -> tuple[int, int]:
    """Sends *messages*, each session on one connection; how many were taken, and how many answers were no 250."""
    numbers, taken, refused = iter(range(messages)), 0, 0

    async def session() -> None:
        nonlocal taken, refused
        while (number := next(numbers, None)) is not None:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                await reader.readline()
                await _said(reader, writer, b"EHLO load.dept.gov.in\r\n")
                while number is not None:
                    for line in (b"MAIL FROM:<officer@dept.gov.in>\r\n", b"RCPT TO:<desk@finance.nic.in>\r\n", b"DATA\r\n"):
                        code = await _said(reader, writer, line)
                    head = f"From: <officer@dept.gov.in>\r\nTo: <desk@finance.nic.in>\r\nSubject: File {number}\r\n"
                    text = f"{head}Message-ID: <{number}.{os.getpid()}.{time.time_ns()}@dept.gov.in>\r\n\r\n{TEXT}.\r\n"
                    code = await _said(reader, writer, text.encode()) if code == b"354" else code
                    taken, refused = taken + (code == b"250"), refused + (code != b"250")
                    if code != b"250":
                        break
                    number = next(numbers, None)
                writer.close()
            except (OSError, asyncio.IncompleteReadError):
                refused += 1

    await asyncio.gather(*(session() for _ in range(sessions)))
    return taken, refused


async def _said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bytes:
    writer.write(line)
    while (answer := await reader.readline())[3:4] == b"-":
        pass
    if not answer:
        raise ConnectionError
    return answer[:3]


# --- rows that lie there ------------------------------------------------------------------------------------------------


def fill_sql(table: str, count: int, dialect: str, **given: str) -> str:
    """``INSERT`` of *count* rows numbered ``n``; columns that are not *given* are empty or 0."""
    name = "deliveries" if table.startswith("deliveries") else table
    shape = next(one for one in moved_rows.tables() if one.name == name)
    empty = {"text": "''", "bigint": "0", "double precision": "0", "boolean": "false", "bytea": "''::bytea" if dialect == "pg" else "x''"}
    values = [given.get(column) or empty[kind] for column, kind in zip(shape.columns, shape.kinds, strict=True)]
    if dialect == "pg":
        return f"INSERT INTO {table} ({shape.listed}) SELECT {', '.join(values)} FROM generate_series(1, {count}) AS s (n)"
    series = f"WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})"
    return f"INSERT INTO {name} ({shape.listed}) {series} SELECT {', '.join(values)} FROM s"


def fills(rows: int, waiting: int, dialect: str) -> Iterator[str]:
    """Half of *rows* is held, half finished; as many decisions stand in a chain of their own."""
    now, pg = time.time(), dialect == "pg"

    def id_(letter: str, n: str = "n") -> str:
        return f"'{letter}' || lpad(({n})::text, 31, '0')" if pg else f"'{letter}' || printf('%031d', {n})"

    octets = "decode(repeat('ab', 700), 'hex')" if pg else "zeroblob(700)"
    json_ = {"peer": "'{}'", "verdict": "'{}'", "facts": "'{}'", "created": f"{now} - n * 0.5", "sender": "'a' || n || '@dept.gov.in'"}
    held, done = rows // 2, rows - rows // 2
    yield fill_sql("messages", held, dialect, id=id_("0"), reference=id_("R"), body_id=id_("0"), **json_)
    yield fill_sql("messages", done, dialect, id=id_("1"), reference=id_("S"), body_id=id_("1"), **json_)
    yield fill_sql("messages", waiting, dialect, id=id_("2"), reference=id_("T"), body_id=id_("2"), **json_)
    for letter, count in (("0", held), ("2", waiting)):
        yield fill_sql("bodies", count, dialect, id=id_(letter), key_id="'none'", ciphertext=octets, size="700", sealed="true")
    yield fill_sql(
        "holds", held, dialect, id=id_("0"), message_id=id_("0"), reference=id_("R"), body_id=id_("0"), created=f"{now} - n * 0.5",
        deadline=f"{now} + 8000000 + n", state="'held'", recipients="'[\"a@b.in\"]'", released="'[]'", rule="'r' || (n % 20)",
        department="'d' || (n % 50) || '.gov.in'", updated=f"{now} - n * 0.5",
    )  # fmt: skip
    way = {"recipient": "'desk@finance.nic.in'", "edits": "'[]'", "direction": "'internal'", "created": f"{now} - n * 0.5"}
    yield fill_sql("deliveries_done", done, dialect, id=id_("1"), message_id=id_("1"), state="'delivered'", notify="NULL", **way)
    yield fill_sql(
        "deliveries_open", waiting, dialect, id=id_("2"), message_id=id_("2"), state="'deferred'", notify="NULL", attempts="1",
        next_attempt=f"{now} + 36000 + n", **way,
    )  # fmt: skip
    yield fill_sql(
        "audit", rows, dialect, position="n", chain="'filled'", seq="n", reference=id_("S"), disposition="'deliver'", line="'{}'",
        created=f"{now} - n * 0.5", hash="'' || n", rule="'r1'",
    )  # fmt: skip
    if pg:
        yield f"INSERT INTO chains (chain, seq, hash) VALUES ('filled', {rows}, '{rows}')"
        yield f"UPDATE store_format SET base = {rows}"


def fill(nodes: Nodes, shared: bool, rows: int, waiting: int) -> None:
    """Fills the store of stopped nodes."""
    if shared:
        with nodes.server.admin(DATABASE) as link:
            for sql in fills(rows, waiting, "pg"):
                link.execute(sql)  # type: ignore[arg-type]
            link.execute("VACUUM ANALYZE")
        return
    with contextlib.closing(sqlite3.connect(nodes.nodes[0].folder / "state" / "gateway.db")) as db:
        for sql in fills(rows, waiting, "sqlite"):
            db.execute(sql)
        db.commit()


# --- a run --------------------------------------------------------------------------------------------------------------


def measure(name: str, messages: int, sessions: int, rows: int, waiting: int) -> dict[str, object]:
    """One set-up from nothing to its rate."""
    many, shared, full = SETUPS[name]
    folder = Path(tempfile.mkdtemp(prefix="bench-nodes-"))
    nodes = Nodes(folder, many)
    nodes.hop = Sink(folder / "hop", port=nodes.hop.port)
    for node in nodes.nodes:
        node.store = node.store if shared else ""
    began = time.monotonic()
    try:
        nodes.start()
        if full:
            together(node.stop for node in nodes.nodes)
            fill(nodes, shared, rows, waiting)
            together(node.start for node in nodes.nodes)
        filled = time.monotonic() - began
        assert isinstance(nodes.hop, Sink)
        asyncio.run(load(nodes.balancer.port, 200, sessions))
        time.sleep(2)
        before, cpu, start = nodes.hop.count(), _cpu(nodes), time.perf_counter()
        taken, refused = asyncio.run(load(nodes.balancer.port, messages, sessions))
        accepted = time.perf_counter() - start
        hop = nodes.hop
        with contextlib.suppress(AssertionError):
            wait_for(lambda: hop.count() - before >= taken, 120, "all is delivered")
        delivered = hop.count() - before
        took = time.perf_counter() - start
        return {
            "setup": name, "messages": taken, "refused": refused, "accepted_s": round(taken / accepted, 1),
            "delivered_s": round(delivered / took, 1), "undelivered": taken - delivered,
            "gateway_cpu_ms": round(1000 * (_cpu(nodes) - cpu) / max(taken, 1), 2),
            "until_filled": round(filled),
        }  # fmt: skip
    finally:
        nodes.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _cpu(nodes: Nodes) -> float:
    """Seconds of processor time of all processes of the gateways so far."""
    ticks = 0
    for node in nodes.nodes:
        for pid in node.processes():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{pid}/stat").read_text()
                ticks += sum(int(value) for value in stat[stat.rindex(")") + 2 :].split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """All set-ups, round after round, and a line of JSON for each."""
    if sys.argv[1:2] == ["--sink"]:
        asyncio.run(sink(int(sys.argv[2]), Path(sys.argv[3])))
        return
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--messages", type=int, default=3000)
    options.add_argument("--sessions", type=int, default=20)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--waiting", type=int, default=100_000)
    options.add_argument("--only", nargs="*", choices=list(SETUPS), default=list(SETUPS))
    given = options.parse_args()
    print(f"store format {schema.VERSION}, psycopg {psycopg.__version__}", flush=True)
    for number in range(given.rounds):
        for name in given.only if number % 2 == 0 else reversed(given.only):
            print(json.dumps(measure(name, given.messages, given.sessions, given.rows, given.waiting)), flush=True)


if __name__ == "__main__":
    main()
