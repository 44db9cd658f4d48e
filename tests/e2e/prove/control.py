"""The negative controls: gateways that are broken on purpose, each in one way. The same count must find each, or it proves nothing.

Each is a ``sitecustomize`` of its own below ``controls/``; nothing of it is in the gateway.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.e2e.prove import table
from tests.e2e.prove.clients import MILTER, SMTP
from tests.e2e.prove.run import Order, Result, run

TRIES = 8
"""Runs of one control: faults that hit nothing that matters show nothing."""


@dataclass(frozen=True)
class Control:
    """A broken gateway: its folder, what is done to it, and the list of the count in which it must be found."""

    name: str
    about: str
    found_in: str
    fault: str = "kill"
    kinds: tuple[str, ...] = ("keeper",)
    messages: int = 200
    gap: float = 3.0
    """Seconds between two blows: one that is killed too often is given pauses by its supervisor."""
    doors: tuple[str, ...] = ()
    """The doors at each of which it must be found; empty: wherever."""

    def found(self, result: Result) -> bool:
        """Whether the count of *result* has found it; a run that broke off has not."""
        lines = getattr(result.count, self.found_in)
        return bool(lines) and all(any(line.startswith(f"{door} ") for line in lines) for door in self.doors)


CONTROLS = (
    Control("early_reply", "answers before it has committed", "lost", doors=(SMTP, MILTER)),
    Control("memory_only", "commits to memory, to the disk later", "lost"),
    Control("deliver_twice", "takes deliveries that are leased already", "unexplained", fault="hup", kinds=("web",), messages=60),
    Control("fail_open", "takes for clean what killed the inspector", "passed", kinds=("inspector", "inspector worker"), gap=2.0),
)


def main(seed: int, only: str = "") -> int:
    """All of them, or *only* one; 0 when each was found."""
    chosen = [one for one in CONTROLS if only in ("", one.name)]
    if not chosen:
        print(f"there is no control {only!r}; there is: {', '.join(one.name for one in CONTROLS)}")
        return 2
    with ThreadPoolExecutor(2) as pool:
        good = all(list(pool.map(lambda one: _shown(one, seed), chosen)))
    print("as it must be: each is found" if good else "a broken gateway was not found: the proof proves nothing", flush=True)
    return 0 if good else 1


def _shown(control: Control, seed: int) -> bool:
    for turn in range(TRIES):
        result = run(
            Order(control.fault, seed + turn, control.messages, control=control.name, kinds=control.kinds, gap=control.gap, most=4)
        )
        found = getattr(result.count, control.found_in)
        print(f"{control.name}: {table.line_of(result, turn + 1, TRIES)}", flush=True)
        if control.found(result):
            at = f", at {' and '.join(control.doors)}" if control.doors else ""
            print(f"{control.name} ({control.about}): found, {len(found)} {control.found_in}{at}", flush=True)
            return True
    print(f"{control.name} ({control.about}): NOT found", flush=True)
    return False
