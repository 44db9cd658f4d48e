"""Not collected: what the store costs, and what rows that lie there cost: one node on the embedded store, one and three on PostgreSQL.

usage: python -m tests.bench.nodes [--messages 3000] [--sessions 20] [--rounds 2] [--rows 1000000] [--waiting 100000]
                                   [--only NAME …] [--json]

Each set-up runs behind haproxy, on one machine, one after the other, in alternating order: marked text of 4 KB to one official, all
inspected, recorded, delivered to a sink that throws away; sessions stay on their connection. The rate counts until the sink has the last
message; that of each node is what it accepted in that time. Those called "full" start with --rows held messages, a tenth as many that were
delivered, a decision for each, and --waiting deliveries that wait for a hop that is away. At the end, where a set-up ran empty and
full: the median rates of both, of all nodes together and of each, and by how much the full store is slower (below 0 is noise).
On a terminal tables, in a pipe or with --json a line of JSON a row; progress on stderr. Asserts nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import uvloop

from gateway.stores import schema
from tests.bench import filling, processes, traffic
from tests.bench.printing import Rows, progress
from tests.bench.sink import Sink
from tests.e2e.nodes import DATABASE, Nodes, together
from tests.e2e.parts import wait_for

SETUPS = {"sqlite 1": (1, False, False), "postgresql 1": (1, True, False), "postgresql 3": (3, True, False),
          "sqlite 1 full": (1, False, True), "postgresql 1 full": (1, True, True), "postgresql 3 full": (3, True, True)}  # fmt: skip
"""Nodes, on PostgreSQL, full."""
ALL = "all"
_OCTETS = 4096


def fill(nodes: Nodes, shared: bool, rows: int, waiting: int) -> None:
    """Fills the store of stopped nodes."""
    if shared:
        with nodes.server.admin(DATABASE) as link:
            filling.shared(link, rows, rows // 10, waiting)
    else:
        filling.embedded(nodes.nodes[0].folder / "state" / "gateway.db", rows, rows // 10, waiting)


def recorded(nodes: Nodes, shared: bool) -> dict[str, int]:
    """How many rows each node has in its chain of decisions and deliveries."""
    if not shared:
        return {}
    rows = dict(nodes.server.ask("SELECT chain, seq FROM chains", database=DATABASE))
    names = {node.name: (node.folder / "state" / "keys" / "audit-chain").read_text().strip() for node in nodes.nodes}
    return {name: int(rows.get(chain, 0)) for name, chain in names.items()}


def measure(name: str, messages: int, sessions: int, rows: int, waiting: int) -> tuple[dict[str, object], dict[str, float]]:
    """One set-up from nothing to its rate: what to print, and the rate of each node and of all."""
    many, shared, full = SETUPS[name]
    folder = Path(tempfile.mkdtemp(prefix="bench-nodes-"))
    nodes = Nodes(folder, many)
    sink = nodes.hop = Sink(folder / "hop", port=nodes.hop.port)
    for node in nodes.nodes:
        node.store = node.store if shared else ""
    filled = 0.0
    try:
        nodes.start()
        if full:
            together(node.stop for node in nodes.nodes)
            began = time.perf_counter()
            fill(nodes, shared, rows, waiting)
            filled = time.perf_counter() - began
            progress(f"{name}: filled in {filled:.0f} s")
            together(node.start for node in nodes.nodes)
            wait_for(lambda: nodes.ready() == many, 60, "the nodes are ready")
        mails = traffic.text(_OCTETS)
        wait_for(lambda: warmed(name, nodes, mails, min(200, messages), sessions), 120, "a load without an error")
        before, counts, cpu, start = sink.messages, recorded(nodes, shared), _cpu(nodes), time.perf_counter()
        sent = uvloop.run(traffic.closed(nodes.balancer.port, itertools.islice(mails, messages), sessions, keep=True))
        with contextlib.suppress(AssertionError):
            wait_for(lambda: sink.messages - before >= sent.taken, 120, "all is delivered")
        took, delivered = time.perf_counter() - start, sink.messages - before
        each = {node: count - counts[node] for node, count in recorded(nodes, shared).items()}
        share = sent.taken / max(sum(each.values()), 1) / sent.seconds  # each message leaves the same number of rows
        rates = {ALL: delivered / took} | {node: count * share for node, count in each.items()}
        row: dict[str, object] = {
            "setup": name, "messages": sent.taken, "accepted/s": round(sent.taken / sent.seconds, 1),
            "delivered/s": round(delivered / took, 1), "undelivered": sent.taken - delivered,
            "s/1000": round(1000 * (_cpu(nodes) - cpu) / max(sent.taken, 1), 2), "filled in s": round(filled, 1),
            "p50": round(traffic.percentile(sent.waits, 0.5), 1), "p99": round(traffic.percentile(sent.waits, 0.99), 1),
            "errors": len(sent.errors), "first error": sent.errors[0] if sent.errors else "",
        }  # fmt: skip
        return row, rates
    finally:
        nodes.stop()
        shutil.rmtree(folder, ignore_errors=True)


def warmed(name: str, nodes: Nodes, mails: Iterator[traffic.Mail], messages: int, sessions: int) -> bool:
    """Whether *messages* were taken without an error: what is just starting answers 451."""
    sent = uvloop.run(traffic.closed(nodes.balancer.port, itertools.islice(mails, messages), sessions, keep=True))
    if sent.errors:
        progress(f"{name}: not warm yet: {sent.errors[0]}")
    time.sleep(2)
    return not sent.errors


def _cpu(nodes: Nodes) -> float:
    """Seconds of processor time of all processes of the gateways so far."""
    started = [node.process.pid for node in nodes.nodes if node.process is not None]
    return sum(processes.processor(processes.tree(pid)) for pid in started)


def drops(found: dict[str, list[dict[str, float]]]) -> list[dict[str, object]]:
    """Empty beside full, for each set-up that ran both ways: of all together, and of each node."""
    said: list[dict[str, object]] = []
    for name, empty in found.items():
        full = found.get(f"{name} full")
        if not full:
            continue
        for node in dict.fromkeys(node for rates in (*empty, *full) for node in rates):
            before, after = (_median([rates[node] for rates in runs if node in rates]) for runs in (empty, full))
            drop = f"{100 * (1 - after / before):.1f} %" if before else ""
            said.append({"setup": name, "node": node, "empty/s": round(before, 1), "full/s": round(after, 1), "drop": drop})
    return said


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0


def main() -> None:
    """All set-ups, round after round."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--messages", type=int, default=3000)
    options.add_argument("--sessions", type=int, default=20)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--waiting", type=int, default=100_000)
    options.add_argument("--only", nargs="*", choices=list(SETUPS), default=list(SETUPS))
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    progress(f"store format {schema.VERSION}, psycopg {psycopg.__version__}")
    rows, found = Rows(given.json), {name: list[dict[str, float]]() for name in SETUPS}
    for number in range(given.rounds):
        for name in given.only if number % 2 == 0 else reversed(given.only):
            progress(f"round {number + 1}: {name} …")
            row, rates = measure(name, given.messages, given.sessions, given.rows, given.waiting)
            rows.add(row)
            found[name].append(rates)
    rows.end()
    rows = Rows(given.json)
    for row in drops({name: runs for name, runs in found.items() if runs}):
        rows.add(row)
    rows.end()


if __name__ == "__main__":
    main()
