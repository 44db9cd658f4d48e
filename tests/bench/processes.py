"""What processes cost: processor time and memory of a gateway by kind, or of any tree of processes.

What it is: ``kinds`` (the processes of a gateway), ``tree``, ``processor`` and ``pss``.
Who calls it: the measuring programs of this folder.
Must never: lose the time of a worker that was replaced meanwhile (its parent has it); count shared pages twice.
Source: proc(5): /proc/PID/stat fields 14 to 17, /proc/PID/smaps_rollup (Pss: shared pages in shares).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from tests.e2e.prove.roles import children

KINDS = ("supervisor", "doors", "inspector", "keeper", "web")
_TICK = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """*root* and all that it has started, and those in turn."""
    found = [root]
    for child in children(root):
        found += tree(child)
    return found


def kinds(supervisor: int) -> dict[str, list[int]]:
    """The processes of a gateway, each kind with its workers."""
    found: dict[str, list[int]] = {kind: [] for kind in KINDS}
    found["supervisor"].append(supervisor)
    for child in children(supervisor):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if kind := re.search(r"--only (\w+)", words):
                found.setdefault(kind[1], []).extend(tree(child))
    return found


def processor(pids: Iterable[int]) -> float:
    """Seconds of user and system time of *pids*, with that of their children that have ended."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / _TICK


def pss(pids: Iterable[int]) -> int:
    """KiB of memory of *pids*."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
    return total


def busy() -> float:
    """Seconds of processor time that the whole machine has spent, on all cores together."""
    fields = list(map(int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9]))
    return (sum(fields) - fields[3] - fields[4]) / _TICK
