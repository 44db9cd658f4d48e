"""What a test starts ends with the test, however that ends: killed with SIGKILL too.

What it is: ``on``, for the ``preexec_fn`` of whatever a test starts; ``folder``, for a folder that goes with it; ``end``; and a watcher,
a small process of its own, to whom each child gives its process id between fork and exec. The watcher reads from a pipe that only the
one who started it holds (and what that one forks): when the pipe ends it kills what is left, its process group with it.
Who calls it: every part of ``tests/e2e``; the proof for its folders and its end.
Must never: end a process that did not give its name here, or another that got its id later; outlive the last one who holds the pipe.
Why not PR_SET_PDEATHSIG: that ends a child with the thread that forked it, and the faults of the proof are threads that come and go.
Sources: prctl(2), pipe(7), setsid(2), proc(5).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_PDEATHSIG = 1
_PATIENCE = 20.0
"""Seconds in which what was killed has to be gone: a process that waits for a disk ends when the disk answers."""


# --- in whoever starts something -------------------------------------------------------------------------------------------


@functools.cache
def _watcher() -> tuple[int, subprocess.Popen[bytes]]:
    """The writing end of the pipe, and the watcher. Once a process; what that one forks has the same."""
    reading, writing = os.pipe()  # neither is inherited by a program that is started
    # -I -S: it needs nothing but the standard library. A session of its own: Ctrl-C is not for it.
    process = subprocess.Popen([sys.executable, "-I", "-S", __file__], stdin=reading, stdout=subprocess.DEVNULL, start_new_session=True)
    os.close(reading)
    return writing, process


def on() -> Callable[[], None]:
    """For ``preexec_fn``: the child is on the leash before it is another program."""
    writing, _ = _watcher()

    def tie() -> None:
        os.write(writing, b"%d\n" % os.getpid())

    return tie


def folder(path: Path, *, keep: bool = False) -> None:
    """*path* is removed with the rest, and what is mounted below it; with *keep* it is not any more."""
    os.write(_watcher()[0], b"%b%b\n" % (b"-" if keep else b"", bytes(path)))


def end() -> None:
    """Ends everything, at once; nothing that is on the leash can be started after it. Returns when it is gone."""
    writing, process = _watcher()
    # The number stays taken by a file that cannot be written to: a thread that starts something now fails before the exec.
    os.dup2(os.open(os.devnull, os.O_RDONLY), writing)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2 * _PATIENCE)


def die_with(parent: int) -> None:
    """SIGKILL for this process when the thread of *parent* that forked it ends: for a worker, which holds the pipe too."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


# --- in the watcher ----------------------------------------------------------------------------------------------------------


def _stat(pid: int) -> tuple[str, int, int] | None:
    """State, process group and start time of *pid*; None: there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    words = text[text.rindex(")") + 2 :].split()
    return words[0], int(words[2]), int(words[19])


def _left(known: dict[int, int]) -> list[int]:
    """The processes of *known* (each with its start time) and of their groups that have not ended."""
    gone = {pid for pid, born in known.items() if (now := _stat(pid)) is not None and now[2] != born}  # the id is another's now
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (now := _stat(int(entry))) is not None and now[0] not in "ZX":
            pid = int(entry)
            if (pid in known and pid not in gone) or (now[1] in known and now[1] not in gone):
                found.append(pid)
    return found


def _end_all(known: dict[int, int]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while (left := _left(known)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _remove(folders: Iterable[str]) -> None:
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as lines:
        mounts = [line.split()[1] for line in lines]
    for path in folders:
        for mount in mounts:
            if mount.startswith(f"{path}/"):
                subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
        shutil.rmtree(path, ignore_errors=True)


def watch() -> None:
    """Notes who is on the leash until nobody holds the pipe any more; then ends them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    known: dict[int, int] = {}
    folders: dict[str, None] = {}
    for line in sys.stdin.buffer:
        words = line[:-1]
        if words.startswith(b"/"):
            folders[os.fsdecode(words)] = None
        elif words.startswith(b"-"):
            folders.pop(os.fsdecode(words[1:]), None)
        elif (now := _stat(int(words))) is not None:
            known[int(words)] = now[2]
    _end_all(known)
    _remove(folders)


if __name__ == "__main__":
    watch()
