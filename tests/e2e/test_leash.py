"""Whatever ends a test or a proof, nothing of what it has started is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.parts import ROOT, wait_for


def started_in(folder: Path) -> dict[int, str]:
    """The processes that have *folder* for their temporary files: whoever was started there passes it on."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"TMPDIR={folder}\0".encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended
            continue
    return found


def begun(folder: Path, *words: str) -> subprocess.Popen[str]:
    """A Python in *folder*."""
    return subprocess.Popen(
        [sys.executable, "-m", *words] if words[0] != "-c" else [sys.executable, *words],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(folder)}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def gone(folder: Path) -> bool:
    return not started_in(folder) and not list(folder.iterdir())


# What it starts ignores every signal that can be ignored, has a group of its own with a child in it, and the thread that started it ends.
PROGRAM = """
import pathlib, subprocess, sys, tempfile, threading, time
from tests.e2e import leash
stubborn = "trap '' TERM INT HUP; sleep 100 & sleep 100"
leash.folder(pathlib.Path(tempfile.mkdtemp()))
def start():
    subprocess.Popen(["sh", "-c", stubborn], preexec_fn=leash.on(), start_new_session=True, stdout=subprocess.DEVNULL)
    subprocess.Popen(["sleep", "100"], preexec_fn=leash.on(), stdout=subprocess.DEVNULL)
thread = threading.Thread(target=start)
thread.start()
thread.join()
print("ready", flush=True)
time.sleep(100) if sys.argv[1:] else None
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "ended"])
def test_what_was_started_ends_with_whoever_started_it(tmp_path: Path, how: str) -> None:
    process = begun(tmp_path, "-c", PROGRAM, *(["wait"] if how == "killed" else []))
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        if how == "killed":
            time.sleep(0.3)
            assert len(started_in(tmp_path)) == 6  # itself, the watcher, the shell and its two, the other
            process.kill()
        process.communicate(timeout=20)
        wait_for(lambda: gone(tmp_path), 20, "all have ended")
    finally:
        process.kill()


def small(folder: Path, *faults: str) -> subprocess.Popen[str]:
    """A proof of two runs at one time, under way: both gateways have all their processes, and the faults have begun."""
    words = ["--faults", ",".join(faults), "--runs", "2", "--jobs", "2", "--messages", "100000", "--seed", "1"]
    process = begun(folder, "tests.e2e.prove", *words)

    def under_way() -> bool:
        assert process.poll() is None, process.communicate()
        words = list(started_in(folder).values())
        ledgers = list(folder.glob("*/ledger.jsonl"))
        return sum("--only doors" in one for one in words) >= 4 and len(ledgers) == 2

    wait_for(under_way, 90, "two gateways take mail")
    return process


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "faults"),
    [(signal.SIGKILL, ("clock", "enospc")), (signal.SIGTERM, ("stop-long", "kill")), (signal.SIGINT, ("disk-full", "emfile"))],
)
def test_a_proof_that_is_ended_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, faults: tuple[str, ...]) -> None:
    process = small(tmp_path, *faults)
    try:
        time.sleep(1)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        if number is not signal.SIGKILL:
            assert process.returncode == 1
            assert said.splitlines()[-1] == f"{number.name}: the runs are ended; nothing is proved"
            assert gone(tmp_path), started_in(tmp_path)  # when it says that it has ended
        wait_for(lambda: gone(tmp_path), 30, "all processes and folders are gone")
    finally:
        process.kill()
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


@pytest.mark.slow
def test_controls_that_are_ended_leave_nothing_behind(tmp_path: Path) -> None:
    """They run in threads of the proof itself."""
    process = begun(tmp_path, "tests.e2e.prove", "control", "--only", "early_reply")
    try:
        wait_for(lambda: list(tmp_path.glob("*/ledger.jsonl")), 90, "the gateway takes mail")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said.splitlines()[-1]) == (1, "SIGINT: the runs are ended; nothing is proved")
        assert gone(tmp_path), started_in(tmp_path)
    finally:
        process.kill()
