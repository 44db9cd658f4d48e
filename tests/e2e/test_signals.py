"""Ending, reloading and stopping parts while mail flows: nothing accepted is lost (catalogue O13; docs/proof.md has the long form)."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.parts import wait_for
from tests.e2e.prove.count import Strike, count
from tests.e2e.prove.run import DRAIN, Order, make
from tests.e2e.prove.site import Site


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["term", "term-twice", "stop"])
def test_O13_signals_to_any_process_under_load_lose_nothing(tmp_path: Path, fault: str) -> None:
    result = make(Order(fault, 2, 80), tmp_path)
    assert result.count.accepted
    assert result.count.strikes
    assert result.count.good, (result.count.wrong, result.did)


@pytest.mark.slow
def test_O13_twenty_signals_to_the_whole_under_load_lose_nothing(tmp_path: Path) -> None:
    """SIGHUP goes on in the same processes; SIGTERM and SIGINT end all of them, and they are started again."""
    rng = random.Random(13)
    signals = [signal.SIGHUP] * 18 + [signal.SIGTERM, signal.SIGINT]
    rng.shuffle(signals)
    site = Site.make(tmp_path, 13, 1_000_000, submission=False)
    gateway, load = site.gateway, site.load
    site.sink.start()
    try:
        gateway.start()
        senders = load.start()
        stops = []
        for number in signals:
            time.sleep(rng.uniform(0.05, 0.3))
            assert gateway.process is not None
            gateway.process.send_signal(number)
            if number is not signal.SIGHUP:
                stops.append(Strike(time.time(), time.time(), number.name))
                assert gateway.process.wait(40) == 0
                wait_for(lambda: not gateway.processes(), 10, "no process outlives its supervisor")
                gateway.start()
        with load.lock:
            load.total = load.tried  # the messages under way are the last
        for thread in senders:
            thread.join(60)
            assert not thread.is_alive()
        wait_for(lambda: site.open_deliveries() == 0, DRAIN, "the queue is empty")
        found = count(load.accepted, site.sink, gateway, stops)
        assert found.messages > len(signals)
        assert found.good, found.wrong
        assert not load.refused, load.refused
        assert gateway.cli("audit", "verify").stdout.startswith("ok")
    finally:
        with load.lock:
            load.total = 0
        gateway.stop()
        gateway.kill_all()
        site.sink.stop()
