"""Which process of a gateway is what, and how soon a dead one has a successor."""

from __future__ import annotations

import collections
import contextlib
import re
import threading
import time
from pathlib import Path

from gateway import processes
from tests.e2e.prove.site import Site

SUPERVISOR = "supervisor"
ROLES = (SUPERVISOR, "keeper", "doors", "doors worker", "inspector", "inspector worker", "inspector tools", "web")
EXPECTED = {"keeper": 1, "doors": 1, "doors worker": 2, "inspector": 1, "inspector worker": 2, "inspector tools": 1, "web": 1}
SERVING = ("keeper", "doors", "inspector", "web")
"""Those that listen: they are of use again when they do."""
PATIENCE = 40.0  # seconds until a process that has no successor is written down as such


def of(supervisor: int) -> dict[int, str]:
    """The role of each process below *supervisor*, and its own."""
    found = {supervisor: SUPERVISOR}
    for child in children(supervisor):
        words = _words(child)
        kind = re.search(r"--only (\S+)", words)
        if kind is None:
            continue  # what the supervisor asks now and then (describe)
        found[child] = kind[1]
        for worker in children(child):
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{worker}/comm").read_text().strip()
                found[worker] = f"{kind[1]} tools" if name == "gateway-tools" else f"{kind[1]} worker"
    return found


def children(pid: int) -> list[int]:
    """The processes that *pid* has started and that are still there."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _words(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def watch(site: Site, victim: int, role: str) -> threading.Thread:
    """Measures, beside what goes on, how long it takes until *victim* of *role*, killed now, has a successor."""
    process = site.gateway.process
    assert process is not None
    began, log = time.monotonic(), site.gateway.folder / "gateway.log"
    paused = log.stat().st_size

    def look() -> None:
        while time.monotonic() < began + PATIENCE and process.poll() is None and not site.restarting.locked():
            there = of(process.pid)
            counts = collections.Counter(there.values())
            if victim not in there and counts[role] >= EXPECTED[role]:
                break
            time.sleep(0.02)
        if process.poll() is not None or site.restarting.locked():
            return  # the whole was killed meanwhile
        with log.open("rb") as lines:
            lines.seek(paused)
            if b"process.crash_loop" in lines.read():
                return  # killed five times within 25 s: a pause is what it should make
        there_after = time.monotonic() - began
        while role in SERVING and time.monotonic() < began + PATIENCE and process.poll() is None and not site.restarting.locked():
            if any(name == role and processes.listens(pid) for pid, name in of(process.pid).items()):
                break
            time.sleep(0.02)
        site.replaced.append((role, there_after, time.monotonic() - began if role in SERVING else there_after))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    return thread
