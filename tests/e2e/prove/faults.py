"""What a fault is to the proof, and faults that are signals to processes (catalogue O12, O13)."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from tests.e2e.parts import wait_for
from tests.e2e.prove import roles
from tests.e2e.prove.site import Site


class Fault:
    """Something that is done to a site again and again while mail flows. *gap*: seconds between two blows, at most; *lasts*: how long
    one lasts, from and to; *explains*: see ``Strike``; *returns*: mail that is good may be returned, rightly; *expires*: the time of mail
    that is held may be over, rightly."""

    name = ""
    about = ""
    gap = 3.0
    most = 12
    """Blows of one run: on a machine that hardly gets a gateway up again there would be no end otherwise."""
    lasts = (0.0, 0.0)
    explains = False
    returns = False
    expires = False
    lasting = False
    """It lasts its time though the load has ended meanwhile."""
    kinds: tuple[str, ...] = ()
    """The kinds of process that are hit; empty: all."""

    def missing(self) -> str:
        """What it needs and is not here; empty: it can be done."""
        return ""

    def equip(self, site: Site) -> None:
        """Before the gateway is started."""

    def begin(self, site: Site) -> str:
        """Does it. Returns what was done; empty: nothing could be done now."""
        raise NotImplementedError

    def end(self, site: Site) -> None:
        """Takes it back."""

    def remove(self, site: Site) -> None:
        """After the gateway has ended: takes back what ``equip`` did."""


class Signal(Fault):
    """A signal to a process of a random kind. A supervisor that ends of it is started again."""

    number = signal.SIGKILL
    times = 1

    def begin(self, site: Site) -> str:
        """Sends it."""
        process = site.gateway.process
        assert process is not None
        there = roles.of(process.pid)
        wanted = sorted(set(there.values()) & set(self.kinds or roles.ROLES))
        if not wanted:
            return ""
        role = site.rng.choice(wanted)
        pid = site.rng.choice(sorted(pid for pid, name in there.items() if name == role))
        self.explains = self.loses_answers(role)
        if role != roles.SUPERVISOR:
            self.about_to_hit(site, pid, role)
        for _ in range(self.times):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, self.number)
            time.sleep(0.05 if self.times > 1 else 0)
        if role == roles.SUPERVISOR and self.number != signal.SIGHUP:
            restart(site)
        return f"SIG{self.number.name[3:]} to {role}"

    def loses_answers(self, role: str) -> bool:
        """Whether the relay may be ended between the next hop's answer and its own note of it."""
        return self.number == signal.SIGKILL and role in ("keeper", roles.SUPERVISOR)

    def about_to_hit(self, site: Site, pid: int, role: str) -> None:
        """Beside a kill it is measured how soon there is a successor."""
        if self.number == signal.SIGKILL:
            roles.watch(site, pid, role)


def restart(site: Site) -> None:
    """Waits for the end of the whole gateway and starts it again."""
    process = site.gateway.process
    assert process is not None
    with site.restarting:
        process.wait(90)
        wait_for(lambda: not site.gateway.processes(), 60, "the children end with their supervisor")
        site.gateway.start()


class Kill(Signal):
    """SIGKILL."""

    name, about = "kill", "SIGKILL to a process of any kind"


class Term(Signal):
    """SIGTERM: whoever gets it ends in order, and is started again."""

    name, about, number = "term", "SIGTERM to a process of any kind", signal.SIGTERM


class TermTwice(Signal):
    """Two SIGTERM: a supervisor that is asked twice hurries."""

    name, about, number, times = "term-twice", "SIGTERM twice to a process of any kind", signal.SIGTERM, 2

    def loses_answers(self, role: str) -> bool:
        """The supervisor kills what does not end within a second when it is asked twice."""
        return role == roles.SUPERVISOR


class HangUp(Signal):
    """SIGHUP: config and rules are read anew."""

    name, about, number, gap = "hup", "SIGHUP to a process of any kind", signal.SIGHUP, 1.5
    most = 30


class Stopped(Fault):
    """SIGSTOP, and SIGCONT a few seconds later; one process, or all of them."""

    name, about = "stop", "SIGSTOP to one process or all, SIGCONT seconds later"
    lasts = (0.5, 5.0)

    def __init__(self) -> None:
        self.pids: list[int] = []

    def begin(self, site: Site) -> str:
        """Stops one process of a random kind, or, one time in five, all."""
        process = site.gateway.process
        assert process is not None
        there = roles.of(process.pid)
        role = site.rng.choice(sorted(set(there.values())))
        self.pids = [site.rng.choice(sorted(pid for pid, name in there.items() if name == role))]
        if site.rng.random() < 0.2:
            self.pids, role = sorted(there), "all"
        self._send(signal.SIGSTOP)
        return f"SIGSTOP to {role}"

    def end(self, site: Site) -> None:
        """Lets them go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class StoppedLong(Stopped):
    """The same for minutes: longer than any timer of a client, and than the inspector lets a worker live."""

    name, about = "stop-long", "SIGSTOP to one process or all, SIGCONT two to three minutes later"
    lasts, lasting, most = (120.0, 180.0), True, 2


SIGNALS: tuple[type[Fault], ...] = (Kill, Term, TermTwice, HangUp, Stopped, StoppedLong)
