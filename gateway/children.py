"""The processes that a process has started: which have ended, and how that is said.

What it is: ``ended`` and ``how``; ``resident``, how large one is.
Who calls it: whoever keeps workers: the doors' parent, the inspector; for the words also the supervisor and the command line.
Must never: wait.
Sources: waitpid(2).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path as FilePath


def ended() -> Iterator[tuple[int, int]]:
    """Each child that has ended since it was last asked, as process id and exit code (negative: the signal that killed it)."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def resident(pid: int) -> int:
    """Octets of memory of process *pid*, with what it shares; 0 where it is gone."""
    try:
        return int(FilePath(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def how(code: int) -> str:
    """An exit code of ``ended`` in words."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
