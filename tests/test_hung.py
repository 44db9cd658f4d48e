"""Processes that hang are replaced, and mail goes on. Hostile-inputs O13, O25; with shorter times than in service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.parts import ROOT, Gateway, Hop, running, wait_for
from tests.test_doors_reload import one_session
from tests.test_doors_workers import Doors
from tests.test_supervisor_real import children, send

pytestmark = pytest.mark.slow  # whole gateways

QUICK = """
import pathlib, sys
from gateway import config, supervisor, vitals
vitals.HUNG.update(keeper=3.0, inspector=3.0, doors=3.0, web=3.0)
path = pathlib.Path(sys.argv[1])
supervisor.run(path, config.load(path))
"""


class QuickGateway(Gateway):
    """A gateway whose supervisor has less patience."""

    def start(self, seconds: float = 120) -> None:
        self.write_config()
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", QUICK, str(self.config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                cwd=ROOT,
            )  # fmt: skip
        wait_for(self.ready, seconds, f"the gateway answers; see {self.folder}/gateway.log")

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = (self.folder / "gateway.log").read_text().splitlines()
        return [row for row in (json.loads(line) for line in lines if line.startswith("{")) if row["message"] == event]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuickGateway]:
    hop = Hop(tmp_path_factory.mktemp("hop"))
    part = QuickGateway(tmp_path_factory.mktemp("gw"), hop.port, extra="[limits]\nfree_disk = 0\ndrain = 3\n")
    with running(hop, part):
        yield part


@pytest.mark.parametrize("kind", ["keeper", "inspector", "doors", "web"])
def test_O25_a_process_that_hangs_is_replaced_and_mail_goes_on(gateway: QuickGateway, kind: str) -> None:
    assert gateway.process is not None
    supervisor = gateway.process.pid
    wait_for(lambda: len(children(supervisor)) == 4 and send(gateway), 30, "all four processes run")
    old = children(supervisor)
    before = len(gateway.logged("process.hung"))
    os.kill(old[kind], signal.SIGSTOP)
    wait_for(lambda: children(supervisor).get(kind, old[kind]) != old[kind], 20, f"{kind} is replaced")
    hung = gateway.logged("process.hung")[before:]
    assert [(row["kind"], row["pid"]) for row in hung] == [(kind, old[kind])]
    wait_for(lambda: send(gateway), 30, "mail is taken again")
    now = children(supervisor)
    assert {other for other in old if old[other] != now.get(other)} == {kind}, "the others stayed"


def test_O13_all_of_it_stopped_for_a_while_goes_on_as_it_was(gateway: QuickGateway) -> None:
    """As a machine that is suspended, or starved: nobody is killed for what all of them did."""
    import time

    assert gateway.process is not None
    wait_for(lambda: len(children(gateway.process.pid)) == 4 and send(gateway), 30, "all four processes run")  # type: ignore[union-attr]
    before, said = gateway.processes(), len(gateway.logged("process.hung"))
    os.killpg(gateway.process.pid, signal.SIGSTOP)
    time.sleep(8)
    os.killpg(gateway.process.pid, signal.SIGCONT)
    wait_for(lambda: send(gateway), 30, "mail is taken again")
    time.sleep(3)
    assert set(before) - set(gateway.processes()) <= set(), "everybody is still there"
    assert len(gateway.logged("process.hung")) == said


# --- the doors' workers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    part = Doors(tmp_path)
    yield part
    part.end()


async def closed_loop(port: int, seen: Counter[str], stop: asyncio.Event) -> None:
    """One client that comes again and again, and counts what happened to it."""
    while not stop.is_set():
        try:
            await one_session(port)
            seen["served"] += 1
        except ConnectionRefusedError:
            seen["refused"] += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            seen["cut"] += 1
        except AssertionError as error:
            seen["421" if "421" in str(error) else "cut" if "b''" in str(error) else str(error)[:80]] += 1


async def under_load(doors: Doors, times: int, act: Any) -> Counter[str]:
    """*times* times *act* while 8 clients come again and again."""
    seen: Counter[str] = Counter()
    stop = asyncio.Event()
    clients = [asyncio.create_task(closed_loop(doors.port, seen, stop)) for _ in range(8)]
    for number in range(times):
        await act(number)
    stop.set()
    await asyncio.gather(*clients)
    return seen


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.05)


async def test_O13_twenty_reloads_under_load_refuse_nobody(doors: Doors) -> None:
    doors.start()
    await asyncio.to_thread(doors.ready)

    async def reload(number: int) -> None:
        os.kill(doors.pid, signal.SIGHUP)
        await until(lambda: len(doors.logged("rules.reloaded")) > number)

    seen = await under_load(doors, 20, reload)
    assert seen.pop("served") > 100
    assert seen == {}, "not refused, not cut, no 421"


async def test_O12_twenty_workers_killed_under_load_refuse_no_connection(doors: Doors) -> None:
    """Only the sessions of who was killed are cut: the queue of its socket waits for the next. None of it counts as a crash loop here."""
    code = (
        "import pathlib, sys\nfrom gateway import config\nfrom gateway.doors import workers\n"
        "workers.QUICK = 0.0\npath = pathlib.Path(sys.argv[1])\nworkers.run(config.load(path), path)\n"
    )
    with (doors.folder / "log").open("wb") as log:
        doors.process = subprocess.Popen([sys.executable, "-c", code, str(doors.config)], stderr=log, cwd=ROOT)
    await asyncio.to_thread(doors.ready)

    async def kill(number: int) -> None:
        before = doors.pids()[number % 2]
        os.kill(before, signal.SIGKILL)
        await until(lambda: doors.pids()[number % 2] != before)
        await asyncio.sleep(0.2)

    seen = await under_load(doors, 20, kill)
    assert seen.pop("served") > 100
    assert seen.pop("cut", 0) <= 20 * 8, "at most those that it had"
    assert seen == {}, "no connection was refused, nobody was told 421"


async def test_O25_a_worker_that_has_grown_too_large_ends_with_its_last_session(doors: Doors) -> None:
    """A leak, as its parent sees it."""
    doors.config.write_text(doors.config.read_text().replace("[limits]", '[limits]\nworker_memory = "300MB"'))
    code = (
        "import os, pathlib, sys, threading\nfrom gateway import config\nfrom gateway.doors import service, workers\n"
        "workers.WEIGHED = 0.5\npath, run = pathlib.Path(sys.argv[1]), service.run\n"
        "def leak(config, number, *rest):\n"
        "    mark = path.with_name('leaks')\n"
        "    if number == 1 and not mark.exists():\n"
        "        mark.write_text(str(os.getpid()))\n"
        "        threading.Timer(2.0, lambda: kept.append(b'x' * 400_000_000)).start()\n"
        "    run(config, number, *rest)\n"
        "kept, service.run = [], leak\nworkers.run(config.load(path), path)\n"
    )
    with (doors.folder / "log").open("wb") as log:
        doors.process = subprocess.Popen([sys.executable, "-c", code, str(doors.config)], stderr=log, cwd=ROOT)
    before = await asyncio.to_thread(doors.ready)
    seen: Counter[str] = Counter()
    stop = asyncio.Event()
    clients = [asyncio.create_task(closed_loop(doors.port, seen, stop)) for _ in range(4)]
    await until(lambda: doors.pids()[1] != before[1])
    (heavy,) = doors.logged("worker.heavy")
    assert (heavy["worker"], heavy["pid"]) == (1, before[1])
    await until(lambda: not Path(f"/proc/{before[1]}").exists())
    stop.set()
    await asyncio.gather(*clients)
    assert doors.pids()[0] == before[0]
    assert seen.pop("served") > 10
    assert seen == {}, "nobody noticed"
