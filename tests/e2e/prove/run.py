"""One run: a fresh gateway, a load, one kind of fault again and again, a drain, a count."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e import leash
from tests.e2e.nodes import Nodes, prove
from tests.e2e.parts import wait_for
from tests.e2e.prove.count import Count, Strike, count
from tests.e2e.prove.faults import Fault
from tests.e2e.prove.faults_hop import FAULTS
from tests.e2e.prove.faults_postgres import ManyNodes
from tests.e2e.prove.site import Site

DRAIN = 120.0  # seconds until the queue must be empty after the last fault
_KEPT = {"gateway.db", "gateway.lock", "supervisor.lock"}


@dataclass(frozen=True)
class Order:
    """One run that is to be made. *control*: the folder of a gateway that is broken on purpose."""

    fault: str
    seed: int
    messages: int
    control: str = ""
    kinds: tuple[str, ...] = ()
    """Signals: the kinds of process that are hit; empty: all."""
    gap: float = 0.0
    """Seconds between two blows, at most; 0: as the fault has it."""
    most: int = 0
    """Blows; 0: as the fault has it."""
    keep: bool = False
    """Leave the folder of a run that found something."""


@dataclass
class Result:
    """What came of it."""

    order: Order
    count: Count
    replaced: list[tuple[str, float, float]] = field(default_factory=list)
    silence: float = 0.0
    seconds: float = 0.0
    folder: str = ""
    did: list[str] = field(default_factory=list)


def run(order: Order) -> Result:
    """Makes one run in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix=f"proof-{order.fault}-"))
    leash.folder(folder)
    began = time.monotonic()
    try:
        result = make(order, folder)
    except Exception as error:  # a gateway that does not come up, or does not answer, is a finding like any other
        result = Result(order, Count(other=[f"the run broke off: {type(error).__name__}: {error}"]))
    result.seconds = time.monotonic() - began
    if result.count.good or not order.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        result.folder = str(folder)
        leash.folder(folder, keep=True)
    return result


def make(order: Order, folder: Path) -> Result:
    """The same in *folder*, which stays."""
    fault = FAULTS[order.fault]()
    fault.missing()
    if isinstance(fault, ManyNodes):
        return _many(order, folder, order.most or fault.most)
    site = Site.make(folder, order.seed, order.messages, submission=not order.control)
    if order.control:
        site.gateway.environment["PYTHONPATH"] = str(Path(__file__).parent / "controls" / order.control)
    if order.kinds:
        fault.kinds = order.kinds
    fault.gap, fault.most = order.gap or fault.gap, order.most or fault.most
    try:
        fault.equip(site)
        site.sink.start()
        site.gateway.start()
        _under_load(site, fault)
        result = _counted(site, fault)
        return Result(order, result, site.replaced, site.load.silence, did=[_line(one) for one in site.strikes])
    finally:
        site.gateway.stop()
        site.gateway.kill_all()
        site.sink.stop()
        fault.remove(site)


def _many(order: Order, folder: Path, blows: int) -> Result:
    nodes = Nodes(folder)
    try:
        nodes.start()
        found = prove(nodes, order.messages, order.seed, blows, lasting=True)
        return Result(order, found, did=[_line(one) for one in nodes.strikes])
    finally:
        nodes.stop()


def _line(strike: Strike) -> str:
    return f"{strike.begin:.3f} to {strike.end:.3f}: {strike.what}"


def _under_load(site: Site, fault: Fault) -> None:
    site.busy.set()
    trouble: list[BaseException] = []

    def work() -> None:
        try:
            _strike(site, fault)
        except BaseException as error:
            trouble.append(error)

    striking = threading.Thread(target=work)
    striking.start()
    for thread in site.load.start():
        thread.join()
    site.busy.clear()
    striking.join()
    if trouble:
        raise trouble[0]
    wait_for(site.gateway.ready, 60, "the gateway is whole again")


def _strike(site: Site, fault: Fault) -> None:
    """Blow after blow while the load is on; the last one is taken back."""
    while site.busy.is_set() and len(site.strikes) < fault.most:
        gap = site.rng.uniform(0, fault.gap)
        if site.strikes:  # the first comes at once: on a fast machine a short load would be over
            time.sleep(gap)
        _until_mail_flows(site)
        if not site.busy.is_set():
            return
        began, lasts = time.time(), site.rng.uniform(*fault.lasts)
        what = fault.begin(site)
        until = time.monotonic() + lasts
        while what and (site.busy.is_set() or fault.lasting) and time.monotonic() < until:
            time.sleep(0.02)
        fault.end(site)
        if what:
            site.strikes.append(Strike(began, time.time(), what, fault.explains))


def _until_mail_flows(site: Site) -> None:
    """Three blows in four come when mail has been taken since the last one, so that there is something to lose; the others come
    whatever state the gateway is in."""
    if site.rng.random() < 0.25:
        return
    wanted, deadline = len(site.load.accepted) + site.rng.randint(1, 12), time.monotonic() + 30
    while site.busy.is_set() and len(site.load.accepted) < wanted and time.monotonic() < deadline:
        time.sleep(0.005)


def _counted(site: Site, fault: Fault) -> Count:
    """The drain, the count, the end."""
    wait_for(lambda: site.gateway.cli("queue", "list", check=False).returncode == 0, 60, "the keeper answers")
    try:
        wait_for(lambda: site.open_deliveries() == 0, DRAIN, "the queue is empty")
        stuck = ""
    except AssertionError:
        stuck = site.gateway.cli("queue", "list", "--json", check=False).stdout
    found = count(site.load.accepted, site.sink, site.gateway, site.strikes, returns=fault.returns, expires=fault.expires)
    if stuck:
        found.other.append(f"the queue is not empty after {DRAIN:.0f} s:\n{stuck}")
    found.refused += site.load.refused
    found.other += [f"message {number} was never taken" for number in site.load.given_up]
    verified = site.gateway.cli("audit", "verify", check=False)
    if verified.returncode:
        found.other.append(f"audit verify: {verified.stdout}{verified.stderr}")
    found.other += _left(site)
    return found


def _left(site: Site) -> list[str]:
    """Ends the gateway; what is still there then and should not be."""
    site.gateway.stop()
    state = site.gateway.folder / "state"
    left = [f"a process that outlived its gateway: {words}" for words in site.gateway.processes().values()]
    for path in (*state.iterdir(), *(state / "run").iterdir()):
        if path.is_file() and path.name not in _KEPT:
            left.append(f"a file that was left: {path.name}")
    return left
