"""The proof that nothing accepted is lost.

usage: python -m tests.e2e.prove [--runs 200] [--messages 200] [--each 5] [--faults kill,hop,…] [--jobs 2] [--seed N] [--short] [--keep]
       python -m tests.e2e.prove powercut [--cuts 200] [--messages 150] [--seed N]
       python -m tests.e2e.prove control [--only NAME]
       python -m tests.e2e.prove faults
exit 0: nothing wrong was found (control: everything that is wrong was found); 1: something was, or it was ended before its end; 2: it
could not be run. Whatever ends it, nothing that it has started is left: see ``leash``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.e2e import leash
from tests.e2e.prove import control, powercut, table
from tests.e2e.prove.faults_hop import FAULTS
from tests.e2e.prove.run import Order, Result, run

_LONG = ("stop-long",)


def orders(options: argparse.Namespace) -> list[Order]:
    """The runs that *options* ask for. Exit 2 for a fault that is none; what cannot be done here is left out by name."""
    names = options.faults.split(",") if options.faults else ["kill", "mixed"] if options.short else list(FAULTS)
    wanted = []
    for name in names:
        if name not in FAULTS:
            raise SystemExit(f"there is no fault {name!r}; there is: {', '.join(FAULTS)}")
        if missing := FAULTS[name]().missing():
            print(f"left out: {name}: {missing}", flush=True)
            continue
        times = options.runs if name == "kill" else 1 if name in _LONG else options.each
        if options.faults and "kill" not in names:
            times = options.runs
        wanted += [Order(name, options.seed + number, options.messages, keep=options.keep) for number in range(times)]
    return wanted


def prove(options: argparse.Namespace) -> int:
    """All runs, some at one time; the table; the exit code."""
    wanted = orders(options)
    print(f"seed {options.seed}: {len(wanted)} runs of {options.messages} messages, {options.jobs} at a time", flush=True)
    results: list[Result] = []
    leash.on()  # before there are workers, so that there is one for all
    with ProcessPoolExecutor(options.jobs, initializer=_work, initargs=(os.getpid(),)) as pool:
        for done in as_completed([pool.submit(run, order) for order in wanted]):
            results.append(done.result())
            print(table.line_of(results[-1], len(results), len(wanted)), flush=True)
    results.sort(key=lambda one: (list(FAULTS).index(one.order.fault), one.order.seed))
    print(table.table(results), flush=True)
    good = all(result.count.good for result in results) and bool(results)
    print("nothing accepted was lost" if good else "the proof has failed, see above; --faults and --seed repeat a run", flush=True)
    return 0 if good else 1


def _work(parent: int) -> None:
    """In a worker: it ends with the proof, and with the proof alone."""
    leash.die_with(parent)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for all of a terminal; to ignore it would be passed on to programs


def _end(number: int, _: object) -> None:
    """SIGTERM, Ctrl-C: ends the runs where they are. They have nothing that anybody needs."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)
    os.write(2, f"{signal.Signals(number).name}: the runs are ended; nothing is proved\n".encode())
    for worker in multiprocessing.active_children():
        worker.kill()
        worker.join()
    leash.end()
    os._exit(1)  # the threads of the controls would go on


def main(arguments: list[str] | None = None) -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.prove", description="The proof that nothing accepted is lost.")
    parser.add_argument("what", nargs="?", choices=("runs", "powercut", "control", "faults"), default="runs")
    parser.add_argument("--runs", type=int, default=0, help="runs with SIGKILL, or of the faults that are named (200; short: 6)")
    parser.add_argument("--messages", type=int, default=200, help="messages of a run")
    parser.add_argument("--each", type=int, default=0, help="runs of every other fault (5; short: 3)")
    parser.add_argument("--faults", default="", help="only these, by name, with commas between")
    parser.add_argument("--jobs", type=int, default=2, help="runs at one time")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--short", action="store_true", help="a few minutes: kill and mixed")
    parser.add_argument("--keep", action="store_true", help="leave the folders of runs that found something")
    parser.add_argument("--cuts", type=int, default=200, help="powercut: how many")
    parser.add_argument("--only", default="", help="control: one of them")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    options.runs = options.runs or (6 if options.short else 200)
    options.each = options.each or (3 if options.short else 5)
    if options.what == "faults":
        for name, kind in FAULTS.items():
            print(f"{name:12} {kind.about}{'  (not here: ' + kind().missing() + ')' if kind().missing() else ''}")
        return 0
    if options.what == "control":
        return control.main(options.seed, options.only)
    if options.what == "powercut":
        return powercut.main(options.seed, options.cuts, options.messages)
    return prove(options)


if __name__ == "__main__":
    sys.exit(main())
