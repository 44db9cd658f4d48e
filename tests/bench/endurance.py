"""Not collected: the memory of a gateway, all its processes, while very many messages go through; prints, asserts nothing.

usage: python -m tests.bench.endurance [--messages 200000] [--sessions 20] [--json]

Marked text of 4 KB, no two alike, on connections that stay open, through two door workers, keeper, inspectors and web to a sink that
throws away; each tenth is delivered before the next begins. A row for each tenth, and one before the first: PSS in MiB of each kind of
process and of all (the mean of the samples of that tenth, one every two seconds), messages a second, the size of the store. Then how
fast memory grew over the second half: the slope of a straight line through its samples, in KiB for 10,000 messages, of each kind and of
all. Flat is what stays within the noise of the tenths. On a terminal a table, in a pipe or with --json a line of JSON a row.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from tests.bench import processes, traffic
from tests.bench.printing import Rows, progress
from tests.bench.sink import Sink
from tests.e2e.parts import Gateway, running, wait_for

PARTS = 10
EVERY = 2.0
"""Seconds between two samples: reading the maps of all processes takes some 20 ms."""
_OCTETS = 4096
_DRAIN = 300.0
ALL = "all"


@dataclass
class Watch:
    """Samples of memory, each with the number of messages that were delivered by then."""

    supervisor: int
    sink: Sink
    samples: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    """Messages, and KiB of each kind and of all."""
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to look, beside what goes on."""
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> None:
        """Ends that."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """Takes one sample."""
        found = {kind: processes.pss(pids) for kind, pids in processes.kinds(self.supervisor).items()}
        self.samples.append((self.sink.messages, found | {ALL: sum(found.values())}))

    def _look(self) -> None:
        while not self._ended.wait(EVERY):
            self.look()


def slope(samples: list[tuple[int, dict[str, int]]], kind: str) -> float:
    """KiB that *kind* grew for 10,000 messages: least squares."""
    if len({messages for messages, _ in samples}) < 2:
        return 0.0
    line = statistics.linear_regression([messages for messages, _ in samples], [sizes.get(kind, 0) for _, sizes in samples])
    return float(line.slope) * 10_000


def store_size(gateway: Gateway) -> float:
    """MiB of the store with its log and index files."""
    return sum(path.stat().st_size for path in (gateway.folder / "state").glob("gateway.db*")) / 1024**2


def run(gateway: Gateway, sink: Sink, messages: int, sessions: int, rows: Rows) -> None:
    """Sends *messages* and says what memory did."""
    assert gateway.process is not None
    watch, mails, errors = Watch(gateway.process.pid, sink), traffic.text(_OCTETS), []
    watch.look()
    rows.add(_row(0, watch.samples, gateway, None))
    watch.start()
    try:
        for part in range(1, PARTS + 1):
            progress(f"{messages * (part - 1) // PARTS:,} of {messages:,} messages …")
            first, share = len(watch.samples), messages * part // PARTS - messages * (part - 1) // PARTS
            goal, began = sink.messages + share, time.perf_counter()
            sent = uvloop.run(traffic.closed(gateway.port, itertools.islice(mails, share), sessions, keep=True))
            goal -= share - sent.taken
            errors += sent.errors
            wait_for(lambda goal=goal: sink.messages >= goal, _DRAIN, "all is delivered")
            rate = sent.taken / (time.perf_counter() - began)
            watch.look()
            rows.add(_row(messages * part // PARTS, watch.samples[first:], gateway, rate))
    finally:
        watch.stop()
    half = [sample for sample in watch.samples if sample[0] >= watch.samples[0][0] + messages // 2]
    grown = {f"{kind}": round(slope(half, kind), 1) for kind in (*processes.KINDS, ALL)}
    rows.add({"after": "KiB/10,000", **grown, "errors": len(errors), "first error": errors[0] if errors else ""})


def _row(after: int, samples: list[tuple[int, dict[str, int]]], gateway: Gateway, rate: float | None) -> dict[str, object]:
    mean = {kind: statistics.fmean(sizes.get(kind, 0) for _, sizes in samples) / 1024 for kind in (*processes.KINDS, ALL)}
    return {
        "after": f"{after:,}",
        **{kind: round(size, 1) for kind, size in mean.items()},
        "messages/s": "" if rate is None else round(rate, 1),
        "store MiB": round(store_size(gateway), 1),
    }


def main() -> None:
    """Starts what is needed, measures, and ends it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = Rows(given.json)
    with tempfile.TemporaryDirectory(prefix="bench-endurance-", ignore_cleanup_errors=True) as place:
        sink = Sink(Path(place) / "sink")
        gateway = Gateway(Path(place) / "gw", sink.port, extra="[limits]\nfree_disk = 0\n")
        with running(sink, gateway):
            run(gateway, sink, given.messages, given.sessions, rows)
    rows.end()


if __name__ == "__main__":
    main()
