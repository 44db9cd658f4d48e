"""Runs the targets with atheris: ``python -m tests.fuzz [--seconds N] [--target NAME]… [--seed N]``; all targets without a name.

What it is: one process a core, each target in a process of its own for so many seconds, one line a target at its end. A fault is an
error that the target may not raise, one input that takes more than 10 seconds, or more than 512 MB. Its octets stay in
``.fuzz/<target>/``; ``python -m tests.fuzz --replay FILE`` runs them again. What was learnt stays in ``.fuzz/<target>/corpus``.
Two ways: without a seed it searches, by chance and from what was learnt before; with ``--seed`` it tries the same inputs in the same
order each time and learns from none before, so that the same source gives the same answer: that is what a gate asks.
Who calls it: ``make fuzz``; ``.ci/run``.
Must never: leave a process behind; call a target that did not run right. Where there is no atheris (it has no wheel for every Python)
it says so and ends with 0: the small form in ``tests/test_fuzz.py`` runs everywhere.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import importlib.util
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tests.fuzz.targets import ROOT, TARGETS, check

FOLDER = ROOT.parent / ".fuzz"
TOO_LONG = 10.0
"""Seconds of processor time for one input."""
TOO_MUCH = 512_000_000
"""Octets of memory for one input."""
_HANGS = 60
"""Seconds after which libFuzzer itself ends an input, on a machine that does other things too."""
_MARGIN = 120
"""Seconds beyond its time after which a process is ended: the seeds, and the last input."""
_PDEATHSIG = 1
_STATUS = re.compile(r"#(\d+)\s+\w+.*?cov: (\d+) .*?corp: (\d+)/", re.ASCII)
_FAULT = re.compile(r"Test unit written to (\S+)")


class TooDear(Exception):
    """One input took more time or memory than a message may take."""


def main() -> int:
    """Runs what the arguments name; 1 where a target failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzzes our own parsers with atheris.")
    parser.add_argument("--seconds", type=int, default=120, help="for each target")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="default: all of them")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes at one time; default: one a core")
    parser.add_argument("--seed", type=int, help="the same inputs each time, from nothing learnt; default: by chance")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run the octets of one fault again; the target is that of its folder")
    parser.add_argument("--one", choices=sorted(TARGETS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.replay:
        return replay(given.replay, (given.target or [given.replay.resolve().parent.name])[0])
    if importlib.util.find_spec("atheris") is None:
        print(f"skipped: fuzzing: there is no atheris for Python {sys.version_info.major}.{sys.version_info.minor}")
        return 0
    if given.one:
        fuzz(given.one, given.seconds, given.seed)
        return 0
    return _all(list(dict.fromkeys(given.target or TARGETS)), Runs(given.seconds, given.seed), max(1, given.jobs))


def replay(file: Path, name: str) -> int:
    if name not in TARGETS:
        print(f"{file}: its folder is not named after a target; name one with --target", file=sys.stderr)
        return 2
    watched(name, file.read_bytes())
    print(f"{name}: {file} is parsed or refused")
    return 0


# --- one target, in a process of its own -----------------------------------------------------------------------------------


def watched(name: str, data: bytes) -> None:
    """The target on one input. Raises what it may not raise, and TooDear."""
    began, before = time.process_time(), _memory()
    check(name, data)
    took, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    if took > TOO_LONG:
        raise TooDear(f"{took:.1f} s for one input")
    if peak > before + TOO_MUCH and peak > _Peak.highest + TOO_MUCH // 2:
        raise TooDear(f"{(peak - before) / 1e6:.0f} MB for one input")
    _Peak.highest = max(_Peak.highest, peak)


class _Peak:
    """The peak that the process had before: the system tells the highest one only, not that of an input."""

    highest = 0


def _memory() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def fuzz(name: str, seconds: int, seed: int | None) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris

    target, folder = TARGETS[name], FOLDER / name
    seeds, learnt = folder / "seeds", folder / ("corpus" if seed is None else "seeded")
    shutil.rmtree(seeds, ignore_errors=True)
    if seed is not None:
        shutil.rmtree(learnt, ignore_errors=True)
    for one in (seeds, learnt):
        one.mkdir(parents=True, exist_ok=True)
    for data in target.seed():
        (seeds / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    words = folder / "words"
    words.write_text("".join('"' + "".join(f"\\x{octet:02x}" for octet in word) + '"\n' for word in target.words), "ascii")
    # Only our own code: the libraries are not what is tested, and instrumenting them takes long.
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("gateway."):
            _instrument(module)
    options: tuple[str, ...] = (
        f"-max_total_time={seconds}", f"-timeout={_HANGS}", f"-rss_limit_mb={3 * TOO_MUCH // 1_000_000}", f"-max_len={target.longest}",
        f"-artifact_prefix={folder}/", "-print_final_stats=1", str(learnt), str(seeds),
    )  # fmt: skip
    if seed is not None:
        options = (f"-seed={seed}", *options)
    if target.words:  # an empty dictionary is a fault to libFuzzer
        options = (f"-dict={words}", *options)
    atheris.Setup([sys.argv[0], *options], lambda data: watched(name, data))
    atheris.Fuzz()


def _instrument(module: object) -> None:
    """Counts the branches of every function and method of *module*."""
    import inspect

    import atheris

    own = getattr(module, "__name__", "")
    for holder in (module, *(one for _, one in inspect.getmembers(module, inspect.isclass) if one.__module__ == own)):
        for one in list(vars(holder).values()):
            for function in (one, getattr(one, "__func__", None), getattr(one, "fget", None), getattr(one, "__wrapped__", None)):
                if inspect.isfunction(function) and function.__module__ == own:
                    with contextlib.suppress(ValueError, AttributeError, TypeError):  # an odd table: it runs without being counted
                        atheris.instrument_func(function)


# --- all of them -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Runs:
    """The processes that are under way, so that none is left when this one ends."""

    seconds: int
    seed: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    processes: set[subprocess.Popen[bytes]] = field(default_factory=set)
    ended: bool = False

    def command(self, name: str) -> list[str]:
        """What runs one target."""
        seeded = () if self.seed is None else ("--seed", str(self.seed))
        return [sys.executable, "-P", "-m", "tests.fuzz", "--one", name, "--seconds", str(self.seconds), *seeded]

    def run(self, name: str) -> tuple[str, bool]:
        """One target to its end. Returns its line and whether it is right."""
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        log, began = folder / "log", time.monotonic()
        with log.open("wb") as out, self._started(self.command(name), out) as process:
            try:
                code = process.wait(self.seconds + _MARGIN)
            except subprocess.TimeoutExpired:
                code = None
        return line_of(name, code, log, time.monotonic() - began)

    @contextlib.contextmanager
    def _started(self, command: list[str], out: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
        with self.lock:
            if self.ended:
                raise KeyboardInterrupt
            # The order of a set is that of its hashes, and what a run learns depends on it.
            hashing = os.environ if self.seed is None else {**os.environ, "PYTHONHASHSEED": "0"}
            process = subprocess.Popen(
                command,
                cwd=ROOT.parent,
                env=hashing,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,
            )
            self.processes.add(process)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            with self.lock:
                self.processes.discard(process)

    def stop(self) -> None:
        """Ends what runs; nothing is started any more."""
        with self.lock:
            self.ended = True
            for process in self.processes:
                process.kill()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def line_of(name: str, code: int | None, log: Path, took: float) -> tuple[str, bool]:
    text = log.read_text("utf-8", "replace")
    status = list(_STATUS.finditer(text))
    runs, coverage, corpus = (int(number) for number in status[-1].groups()) if status else (0, 0, 0)
    figures = f"{name:<15} {runs:>9} runs {runs / max(took, 1):>7.0f}/s  coverage {coverage:>5}  corpus {corpus:>5}"
    if code == 0 and runs:
        return f"{figures}  ok", True
    fault = _FAULT.search(text)
    if fault is None:
        what = "did not end" if code is None else f"ended with {code}"
        return f"{figures}  FAULT: {what}; see {_short(log)}", False
    again = f'make fuzz ARGS="--replay {_short(Path(fault[1]))}"'
    return f"{figures}  FAULT: {_reason(text)}; again: {again}", False


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT.parent)) if path.is_relative_to(ROOT.parent) else str(path)


def _reason(text: str) -> str:
    _, found, rest = text.partition("=== Uncaught Python exception: ===")
    if found:
        return rest.strip().partition("\n")[0][:120]
    summary = re.search(r"SUMMARY: libFuzzer: (.+)", text)
    return summary[1] if summary else "the process ended"


def _all(names: list[str], runs: Runs, jobs: int) -> int:
    failed = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    pool = ThreadPoolExecutor(jobs)
    try:
        for name, (line, right) in zip(names, pool.map(runs.run, names), strict=True):
            print(line, flush=True)
            if not right:
                failed.append(name)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    finally:
        runs.stop()
        pool.shutdown(cancel_futures=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    summary = f"{len(names) - len(failed)} passed, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}"
    print(f"{summary}; {spent:.0f} s of processor time")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
