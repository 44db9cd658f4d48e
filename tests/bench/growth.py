"""Not collected: how cost grows: one thing 1, 10 and 100 times as large, all else as it is; prints, asserts nothing.

usage: python -m tests.bench.growth [--only size,recipients,rules,held,waiting] [--scales 1,10,100] [--seconds 8] [--json]

    size        text of 4 KB, 40 KB, 400 KB
    recipients  1, 10, 100 in one transaction
    rules       the rules that are shipped, and 10 and 100 times as many; each message goes to a domain of its own, so that no
                decision is remembered from an earlier one
    held        1,000, 10,000, 100,000 held messages in the store, each with its search terms
    waiting     1,000, 10,000, 100,000 deliveries that wait for a hop that is away

Each cell is a gateway of its own on loopback (two door workers, keeper, inspectors, web) in front of a sink that throws away; twenty
sessions, one connection a message, marked text of 4 KB, for --seconds after a second of warming. A row: messages accepted a second, and
delivered until the sink has the last one; seconds of processor time for 1,000 messages, of each kind of process and of all (delivery and
housekeeping in it); the peak of PSS in MiB. On a terminal a table, in a pipe or with --json a line of JSON a cell; progress on stderr.
Real figures need a machine on which nothing else runs: "others" is what all else spent meanwhile, the load and the sink in it.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

from gateway.config import load as load_config
from gateway.policy import shipped_rules
from gateway.vault.vault import load as load_vault
from tests.bench import filling, processes, review, traffic
from tests.bench.printing import Rows, progress
from tests.bench.sink import Sink
from tests.e2e.parts import Gateway, running, wait_for

SESSIONS = 20
START = 600.0  # seconds that a gateway may take to start: thousands of rules are tried, each with its examples
_DRAIN = 60.0
_TEXT = 4096


@dataclass(frozen=True)
class Cell:
    """One measurement."""

    what: str
    scale: int
    octets: int = _TEXT
    recipients: int = 1
    rules: int = 0
    """How many times the shipped rules are in force; 0: as they are, with decisions remembered."""
    held: int = 0
    waiting: int = 0


CELLS: dict[str, Callable[[int], Cell]] = {
    "size": lambda scale: Cell("size", scale, octets=_TEXT * scale),
    "recipients": lambda scale: Cell("recipients", scale, recipients=scale),
    "rules": lambda scale: Cell("rules", scale, rules=scale),
    "held": lambda scale: Cell("held", scale, held=1000 * scale),
    "waiting": lambda scale: Cell("waiting", scale, waiting=1000 * scale),
}


def more_rules(folder: Path, times: int) -> Path:
    """The shipped rules and so many more, none of which hits here, that there are *times* as many; at least one more."""
    shutil.copytree(shipped_rules(), folder)
    shipped = [tomllib.loads(path.read_text()) for path in sorted((folder / "policy").glob("*.toml"))]
    inside = sum(len(file["rule"]) for file in shipped if "pack" not in file)
    for number in range(max(1, times - 1)):
        rules = [_rule(number * inside + index) for index in range(inside if times > 1 else 1)]
        (folder / "policy" / f"50-office-{number:03}.toml").write_text("\n".join(rules))
    return folder


def _rule(number: int) -> str:
    """A rule as an office would write it for one place that it does not write to."""
    place = f'"recipient.domain" = "place{number}.example"'
    return f"""[[rule]]
id = "office-{number}"
title = "Marked mail with many papers to place {number} waits for the registry"
source = "Order {number} of the office"
when = 'recipient.domain == "place{number}.example" && message.level >= RESTRICTED && message.attachments > 20'
then = "hold"
explain = "active-content"
[[rule.example]]
facts = {{ {place}, "message.level" = "RESTRICTED", "message.attachments" = 21 }}
expect = "hold"
[[rule.example]]
facts = {{ {place}, "message.attachments" = 21 }}
expect = "deliver"
"""


def prepared(cell: Cell, folder: Path, sink: Sink) -> Gateway:
    """A gateway as *cell* wants it, running."""
    rules = f'rules_dir = "{more_rules(folder / "rules", cell.rules)}"\n' if cell.rules else ""
    gateway = Gateway(folder / "gw", sink.port, extra=f"{rules}\n[limits]\nfree_disk = 0\n".lstrip())
    gateway.start(START)
    if cell.held or cell.waiting:
        gateway.stop()
        file = gateway.folder / "state" / "gateway.db"
        if cell.held:
            review.fill(file, cell.held, load_vault(load_config(gateway.config))[0], time.time() - cell.held)
        filling.embedded(file, 0, 0, cell.waiting)
        gateway.start(START)
    return gateway


def measure(cell: Cell, seconds: float) -> dict[str, object]:
    """One row."""
    with tempfile.TemporaryDirectory(prefix="bench-growth-", ignore_cleanup_errors=True) as place:
        sink, began = Sink(Path(place) / "sink"), time.perf_counter()
        with running(sink):
            gateway = None
            try:
                gateway = prepared(cell, Path(place), sink)
                ready = time.perf_counter() - began
                load(cell, gateway, sink, 1.0)
                row = load(cell, gateway, sink, seconds)
            finally:
                if gateway is not None:
                    gateway.stop()
    return {"what": cell.what, "scale": cell.scale, **row, "ready_s": round(ready, 1)}


def load(cell: Cell, gateway: Gateway, sink: Sink, seconds: float) -> dict[str, object]:
    """Sends for *seconds* and waits until all is delivered; what it took."""
    assert gateway.process is not None
    supervisor, before, others = gateway.process.pid, sink.recipients, processes.busy()
    used = {kind: processes.processor(pids) for kind, pids in processes.kinds(supervisor).items()}
    peak, ended = 0, threading.Event()

    def look() -> None:
        nonlocal peak
        while not ended.wait(1.0):
            peak = max(peak, sum(processes.pss(pids) for pids in processes.kinds(supervisor).values()))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        mails = traffic.text(cell.octets, cell.recipients, domains=bool(cell.rules))
        began = time.perf_counter()
        sent = uvloop.run(traffic.closed(gateway.port, traffic.until(mails, seconds), SESSIONS))
        expected = sent.taken * cell.recipients
        late = ""
        try:
            wait_for(lambda: sink.recipients - before >= expected, _DRAIN, "all is delivered")
        except AssertionError:
            late = f"{expected - sink.recipients + before} undelivered"
        took = time.perf_counter() - began
    finally:
        ended.set()
        looking.join()
    there = processes.kinds(supervisor)
    each = {kind: processes.processor(pids) - used[kind] for kind, pids in there.items()}
    thousand, whole = max(sent.taken, 1) / 1000, sum(each.values())
    return {
        "messages": sent.taken,
        "accepted/s": round(sent.taken / sent.seconds, 1),
        "delivered/s": round((sink.recipients - before) / cell.recipients / took, 1),
        **{f"{kind} s/1000": round(spent / thousand, 2) for kind, spent in each.items()},
        "all s/1000": round(whole / thousand, 2),
        "MiB": round(max(peak, sum(processes.pss(pids) for pids in there.values())) / 1024),
        "others s": round(processes.busy() - others - whole, 1),
        "wrong": " ".join([late, *([f"{len(sent.errors)} errors: {sent.errors[0]}"] if sent.errors else [])]).strip(),
    }


def main() -> None:
    """All cells, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CELLS), help="which of size, recipients, rules, held, waiting")
    parser.add_argument("--scales", default="1,10,100")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    names, scales = given.only.split(","), [int(one) for one in given.scales.split(",")]
    if unknown := set(names) - set(CELLS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(CELLS)}")
    rows = Rows(given.json)
    for name in names:
        for scale in scales:
            progress(f"{name} × {scale} …")
            try:
                rows.add(measure(CELLS[name](scale), given.seconds))
            except AssertionError as error:  # the gateway did not start: the last it said
                rows.add({"what": name, "scale": scale, "wrong": str(error).strip().splitlines()[-1]})
    rows.end()


if __name__ == "__main__":
    main()
