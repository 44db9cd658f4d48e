"""What a reload changes, and what the processes say that were told to reload.

What it is: ``differences`` between two descriptions of config and rules; and a slip of paper a process, in run_dir: the supervisor lays it
out (``ask``), the process writes on it when its reload has ended (``tell``), the supervisor takes it up (``heard``).
Who calls it: the supervisor; the doors' parent and the keeper at the end of a reload.
Must never: keep a process from its work: a slip that cannot be written is left out; write where nobody has asked.
Source: docs/design.md section 2; hostile-inputs catalogue O17.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any


def _slip(run_dir: FilePath, kind: str) -> FilePath:
    return run_dir / f"reload-{kind}"


def ask(run_dir: FilePath, kind: str) -> None:
    """Lays out a slip for the process of *kind*, before it is told to reload. Raises OSError."""
    _slip(run_dir, kind).write_bytes(b"")


def tell(run_dir: FilePath, kind: str, problem: str = "") -> None:
    """The reload of *kind* has ended: everything is taken, or *problem* says in a sentence why nothing is. Never raises."""
    slip = _slip(run_dir, kind)
    with contextlib.suppress(OSError):
        if slip.exists():
            half = slip.with_name(f".{slip.name}.{os.getpid()}")
            half.write_text(json.dumps({"problem": problem}), "utf-8")
            half.replace(slip)


async def heard(run_dir: FilePath, kind: str, seconds: float, alive: Callable[[], bool]) -> str | None:
    """What the process of *kind* said within *seconds*: its problem, or nothing (""). None when it said no word, or is not *alive*."""
    slip, deadline = _slip(run_dir, kind), time.monotonic() + seconds
    try:
        while time.monotonic() < deadline and alive():
            with contextlib.suppress(OSError, ValueError, KeyError):
                if text := slip.read_text("utf-8"):
                    return str(json.loads(text)["problem"])
            await asyncio.sleep(0.05)
        return None
    finally:
        with contextlib.suppress(OSError):
            slip.unlink()


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """What changed between two descriptions: one row each with what (config, rule, login, domains …), name and change."""
    rows: list[dict[str, Any]] = []
    for what in ("config", "rule", "login"):
        old, new = before.get(what, {}), after.get(what, {})
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) == new.get(name) and (name in old) == (name in new):
                continue
            row = {
                "what": what,
                "name": name,
                "change": "changed" if name in old and name in new else "added" if name in new else "removed",
            }
            if what == "config":
                row |= {"before": old.get(name), "after": new.get(name)}
            rows.append(row)
    if before.get("version") != after.get("version"):
        rows.append(
            {"what": "rules_version", "name": "", "change": "changed", "before": before.get("version"), "after": after.get("version")}
        )
    return rows
