"""Not collected: how long a message waits at a constant rate, for the gateway and others beside it; prints, asserts nothing.

usage: python -m tests.bench.latency [--peer NAME=COMMAND …] [--seconds 20] [--rounds 3] [--load 70] [--rate N] [--octets 4096] [--json]

COMMAND starts a mail gateway in the foreground, as the candidates of the side-by-side bench are started: {listen} is the port of 127.0.0.1
where it takes mail, {sink} the next hop's. For Postfix with rspamd in the gateway's place:

    --peer 'postfix+rspamd=tests/bench/candidate_milter.sh {listen} {sink} rspamd'

First the peak of each: twenty sessions that send when they have their answer, one connection a message, marked text of 4 KB; the rate until
the sink has the last one. Then, in alternation and round after round, messages come at --load percent of its own peak, one connection
each, whether or not earlier ones were answered; where there are several, once more with all at the same rate, that of the slowest. The wait
of a message counts from the time at which it should have been sent until the 250 after its text, so what a stalled server keeps back is
in it (to a millisecond, the clock of the client's loop). A row: p50, p95, p99 and the longest wait in milliseconds over all rounds,
messages a second that were asked for and delivered, processor seconds for 1,000 messages. On a terminal a table, in a pipe or with --json a
line of JSON a row; progress on stderr. Real figures need a machine on which nothing else runs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from tests.bench import processes, traffic
from tests.bench.printing import Rows, progress
from tests.bench.sink import Sink
from tests.e2e import leash
from tests.e2e.parts import ROOT, free_port, port_open, wait_for

GATEWAY = f"gateway={Path(__file__).parent / 'candidate.sh'} {{listen}} {{sink}}"
SESSIONS = 20
OWN, SAME = "of its own peak", "the same for all"
_START, _DRAIN, _END = 180.0, 60.0, 40.0


@dataclass
class Run:
    """All rounds of one peer at one rate."""

    rate: float
    waits: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    delivered: int = 0
    seconds: float = 0.0
    processor: float = 0.0


@dataclass
class Peer:
    """One mail gateway, started by *command*."""

    name: str
    command: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    peak: float = 0.0
    runs: dict[str, Run] = field(default_factory=dict)

    def start(self, folder: Path, sink: int) -> None:
        """Starts it and waits until it listens."""
        words = shlex.split(self.command.format(listen=self.port, sink=sink))
        with (folder / f"{self.port}.log").open("wb") as log:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=ROOT,
                env={**os.environ, "GATEWAY_BENCH_DIR": str(folder / "state")}, preexec_fn=leash.on(),
            )  # fmt: skip
        wait_for(lambda: self._listens(log.name), _START, f"{self.name} listens; see {log.name}")

    def stop(self) -> None:
        """Ends it by SIGTERM, and by force what is left of its processes."""
        if self.process is None or self.process.poll() is not None:
            return
        all_ = processes.tree(self.process.pid)
        self.process.terminate()
        try:
            self.process.wait(_END)
        except subprocess.TimeoutExpired:
            for pid in all_:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()

    def processor(self) -> float:
        """Seconds of processor time so far."""
        assert self.process is not None
        return processes.processor(processes.tree(self.process.pid))

    def _listens(self, log: str) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended: {Path(log).read_text()[-2000:]}")
        return port_open(self.port)


def drained(sink: Sink, goal: int) -> None:
    """Waits until the sink has *goal* messages; a queue that does not get there is seen in the rate that was delivered."""
    with contextlib.suppress(AssertionError):
        wait_for(lambda: sink.messages >= goal, _DRAIN, "all is delivered")


def peak(peer: Peer, sink: Sink, mails: Iterator[traffic.Mail], seconds: float) -> None:
    """Finds the rate that *peer* carries."""
    for length in (min(2.0, seconds), seconds):  # the first one warms
        before, began = sink.messages, time.perf_counter()
        sent = uvloop.run(traffic.closed(peer.port, traffic.until(mails, length), SESSIONS))
        drained(sink, before + sent.taken)
        peer.peak = (sink.messages - before) / (time.perf_counter() - began)
    if not peer.peak:
        raise SystemExit(f"{peer.name} delivered nothing: {sent.errors[:1]}")


def step(peer: Peer, name: str, sink: Sink, mails: Iterator[traffic.Mail], seconds: float) -> None:
    """One round at the rate of the run *name*."""
    run, before, used, began = peer.runs[name], sink.messages, peer.processor(), time.perf_counter()
    sent = uvloop.run(traffic.steady(peer.port, mails, run.rate, seconds))
    drained(sink, before + sent.taken)
    run.seconds += time.perf_counter() - began
    run.processor += peer.processor() - used
    run.delivered += sink.messages - before
    run.waits += sent.waits
    run.errors += sent.errors


def row(peer: Peer, name: str) -> dict[str, object]:
    """What a run says."""
    run = peer.runs[name]
    return {
        "peer": peer.name,
        "rate": name,
        "peak/s": round(peer.peak, 1),
        "asked/s": round(run.rate, 1),
        "delivered/s": round(run.delivered / run.seconds, 1),
        **{f"p{share}": round(traffic.percentile(run.waits, share / 100), 1) for share in (50, 95, 99)},
        "longest": round(1000 * max(run.waits, default=0.0), 1),
        "s/1000": round(1000 * run.processor / max(run.delivered, 1), 2),
        "messages": len(run.waits),
        "errors": len(run.errors),
        "first error": run.errors[0] if run.errors else "",
    }


def measure(peers: list[Peer], sink: Sink, given: argparse.Namespace) -> None:
    """Peaks, then all rounds."""
    mails = traffic.text(given.octets)
    for peer in peers:
        progress(f"{peer.name}: its peak …")
        peak(peer, sink, mails, given.seconds)
    slowest = min(peer.peak for peer in peers) * given.load / 100
    for peer in peers:
        peer.runs = {f"{given.rate:g}/s": Run(given.rate)} if given.rate else {f"{given.load} % {OWN}": Run(peer.peak * given.load / 100)}
        if len(peers) > 1 and not given.rate:
            peer.runs[SAME] = Run(slowest)
    for number, (place, _) in itertools.product(range(given.rounds), enumerate(peers[0].runs)):
        for peer in peers if number % 2 == 0 else reversed(peers):
            name = list(peer.runs)[place]
            progress(f"round {number + 1}: {peer.name} at {peer.runs[name].rate:.0f}/s …")
            step(peer, name, sink, mails, given.seconds)


def main() -> None:
    """Starts all, measures, and ends all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--gateway", default=GATEWAY, metavar="NAME=COMMAND", help="the gateway itself; empty: only the peers")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=int, default=70, help="percent of the peak")
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second for all instead")
    parser.add_argument("--octets", type=int, default=4096)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = Rows(given.json)
    peers = [Peer(name, command) for name, _, command in (one.partition("=") for one in (given.gateway, *given.peer) if one)]
    with tempfile.TemporaryDirectory(prefix="bench-latency-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        folder.chmod(0o755)  # Postfix and rspamd run as users of their own
        sink = Sink(folder / "sink")
        try:
            sink.start()
            for peer in peers:
                peer.start(folder, sink.port)
            measure(peers, sink, given)
        finally:
            for peer in peers:
                peer.stop()
            sink.stop()
        for place_, peer in itertools.product(range(len(peers[0].runs)), peers):
            rows.add(row(peer, list(peer.runs)[place_]))
    rows.end()


if __name__ == "__main__":
    main()
