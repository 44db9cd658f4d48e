"""Faults of the next hop (catalogue O04 to O07), and all faults in one run."""

from __future__ import annotations

from tests.e2e.prove import sink_server
from tests.e2e.prove.faults import SIGNALS, Fault, Kill, StoppedLong
from tests.e2e.prove.faults_postgres import Database, ManyNodes
from tests.e2e.prove.faults_system import SYSTEM, Clock, FullDisk
from tests.e2e.prove.site import Site


class NextHop(Fault):
    """Whatever a next hop can do wrong, one thing after the other."""

    name, about, lasts, gap = "hop", f"{len(sink_server.MODES)} faults of the next hop", (0.2, 1.0), 0.3
    most = 60
    returns = True

    def begin(self, site: Site) -> str:
        """The next fault."""
        mode = site.rng.choice(sink_server.MODES)
        site.sink.misbehave(mode)
        return f"next hop: {mode}"

    def end(self, site: Site) -> None:
        """It behaves again."""
        site.sink.misbehave("ok")


class Mixed(Fault):
    """A next hop that fails, kills, a disk that fails, a locked store: each blow another, drawn by the seed."""

    name, about, lasts, gap = "mixed", "kill, hop, enospc, eio, db-locked and the rest in turn", (0.2, 1.5), 0.5
    returns = True

    def __init__(self) -> None:
        self.all = [kind() for kind in (*SIGNALS, *SYSTEM, NextHop, Kill) if kind not in (StoppedLong, FullDisk, Clock)]
        self.now: Fault | None = None

    def missing(self) -> str:
        """What can be done is done."""
        self.all = [fault for fault in self.all if not fault.missing()]
        return ""

    def begin(self, site: Site) -> str:
        """One of them."""
        self.now = site.rng.choice(self.all)
        what = self.now.begin(site)
        self.explains = self.now.explains
        return what

    def end(self, site: Site) -> None:
        """Takes it back."""
        if self.now is not None:
            self.now.end(site)


FAULTS: dict[str, type[Fault]] = {kind.name: kind for kind in (*SIGNALS, *SYSTEM, NextHop, Mixed, Database, ManyNodes)}
"""Every fault of the proof by its name."""
