"""Ending, reloading and killing parts politely while mail flows: nothing accepted is lost (catalogue O13, short form)."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.kill import DRAIN, Load, count, one_run
from tests.e2e.parts import Gateway, Hop, wait_for


@pytest.mark.slow
def test_O13_terms_to_any_process_under_load_lose_nothing(tmp_path: Path) -> None:
    result = one_run(tmp_path, 2, 80, early=False, number=signal.SIGTERM)
    assert result.accepted
    assert result.good, (result.lost, result.twofold, result.unexplained)


@pytest.mark.slow
def test_O13_twenty_signals_to_the_whole_under_load_lose_nothing(tmp_path: Path) -> None:
    """SIGHUP goes on in the same processes; SIGTERM and SIGINT end all of them, and they are started again."""
    rng = random.Random(13)
    signals = [signal.SIGHUP] * 18 + [signal.SIGTERM, signal.SIGINT]
    rng.shuffle(signals)
    hop = Hop(tmp_path / "hop")
    gateway = Gateway(tmp_path / "gw", hop.port, extra="[limits]\nretry_first = 2\nretry_max = 4\nfree_disk = 0\n")
    hop.start()
    try:
        gateway.start()
        load = Load(gateway.port, 1_000_000, random.Random(14), tmp_path / "ledger.jsonl")
        senders = [threading.Thread(target=load.sender) for _ in range(3)]
        for thread in senders:
            thread.start()
        stops = []
        for number in signals:
            time.sleep(rng.uniform(0.05, 0.3))
            assert gateway.process is not None
            gateway.process.send_signal(number)
            if number is not signal.SIGHUP:
                stops.append((time.time(), number.name))
                assert gateway.process.wait(40) == 0
                wait_for(lambda: not gateway.processes(), 10, "no process outlives its supervisor")
                gateway.start()
        with load.lock:
            load.total = load.tried  # the messages under way are the last
        for thread in senders:
            thread.join(60)
            assert not thread.is_alive()
        wait_for(lambda: not gateway.records("queue", "list"), DRAIN, "the queue is empty")
        result = count(load, hop, gateway, stops)
        assert result.accepted > len(signals)
        assert result.good, (result.lost, result.twofold, result.unexplained)
        assert gateway.cli("audit", "verify").stdout.startswith("ok")
    finally:
        gateway.stop()
        gateway.kill_all()
        hop.stop()
