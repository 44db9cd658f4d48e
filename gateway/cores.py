"""How many cores and how much memory this process may use: of the machine, of its affinity, and of the control groups that it is in.

What it is: ``available``, ``memory``, and ``inspectors``, the size of the inspection pool that follows from them.
Who calls it: the tables of the config, for numbers that are left to the machine.
Must never: fail: what cannot be read counts as no limit.
Sources: sched_getaffinity(2); "Control Group v2" of the kernel (cpu.max, memory.max), for version 1 cpu.cfs_quota_us and
memory.limit_in_bytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path as FilePath

FEWEST, MOST = 2, 16
"""Inspection workers that the machine's size may lead to. With one alone a long message would keep all others waiting."""
_CGROUPS = FilePath("/sys/fs/cgroup")
_PROC = FilePath("/proc")


def available(root: FilePath = _CGROUPS, proc: FilePath = _PROC) -> int:
    """Cores for this process, at least 1: half a core is a core."""
    shares = [float(len(os.sched_getaffinity(0)))]
    for folder in _folders(root, proc, "cpu"):
        words = _words(folder / "cpu.max")
        if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() and int(words[1]):
            shares.append(int(words[0]) / int(words[1]))
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota > 0 and period > 0:
            shares.append(quota / period)
    return max(1, math.ceil(min(shares)))


def memory(root: FilePath = _CGROUPS, proc: FilePath = _PROC) -> int:
    """Octets of memory for this process and those beside it in its control group."""
    bounds = [_total(proc)]
    for folder in _folders(root, proc, "memory"):
        bounds += [bound for name in ("memory.max", "memory.limit_in_bytes") if (bound := _number(folder / name)) > 0]
    return min(bounds)


def inspectors(each: int) -> int:
    """Inspection workers for this machine: one a core, as many as can have *each* octets above their start in half of its memory."""
    return max(FEWEST, min(MOST, available(), memory() // 2 // max(1, each)))


def _folders(root: FilePath, proc: FilePath, controller: str) -> Iterator[FilePath]:
    """The control groups that hold us, from our own up to the top; a container sees its own as the top."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controllers if controllers else root
        folder = top / path.lstrip("/")
        while folder != top and top in folder.parents:
            yield folder
            folder = folder.parent
        yield top


def _total(proc: FilePath) -> int:
    for line in _text(proc / "meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            return int(rest.split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _text(path: FilePath) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""


def _words(path: FilePath) -> list[str]:
    return _text(path).split()


def _number(path: FilePath) -> int:
    words = _words(path)
    return int(words[0]) if words and words[0].isdecimal() else 0
