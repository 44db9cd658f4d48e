"""The durability proof in its shortest form, a run of each part by its catalogue id; ``make prove`` is the long one (docs/proof.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.prove import powercut, trace
from tests.e2e.prove.faults_hop import FAULTS
from tests.e2e.prove.run import Order, make


def proved(fault: str, folder: Path, seed: int, messages: int = 80) -> None:
    """One run finds nothing."""
    if missing := FAULTS[fault]().missing():
        pytest.skip(missing)
    result = make(Order(fault, seed, messages), folder)
    assert result.count.messages == messages
    assert result.count.strikes
    assert result.count.good, (result.count.wrong, result.did)


@pytest.mark.slow
def test_O12_sigkill_to_any_process_under_load_loses_nothing(tmp_path: Path) -> None:
    proved("kill", tmp_path, 12, 120)


@pytest.mark.service
@pytest.mark.parametrize("fault", ["enospc", "eio", "emfile"])
def test_O01_O02_O03_calls_that_fail_under_load_lose_nothing_and_refuse_nothing(tmp_path: Path, fault: str) -> None:
    proved(fault, tmp_path, 1)


@pytest.mark.slow
def test_O01_a_full_disk_under_load_loses_nothing(tmp_path: Path) -> None:
    proved("disk-full", tmp_path, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [4, 5])
def test_O04_to_O07_a_next_hop_that_does_everything_wrong_loses_nothing(tmp_path: Path, seed: int) -> None:
    proved("hop", tmp_path, seed, 120)


@pytest.mark.slow
def test_O10_a_store_that_another_program_holds_loses_nothing(tmp_path: Path) -> None:
    proved("db-locked", tmp_path, 10)


@pytest.mark.service
def test_O14_what_was_answered_is_there_after_a_power_cut(tmp_path: Path) -> None:
    if why := trace.available():
        pytest.skip(why)
    honest = powercut.cut(tmp_path / "honest", 14, 30, 40)
    assert honest.good, (honest.lost, honest.broken)
    assert honest.checked
    assert honest.syncs
    unsynced = powercut.cut(tmp_path / "unsynced", 14, 15, 40, "no_sync")
    assert unsynced.lost, "the replay does not see a missing sync"


@pytest.mark.service
def test_O15_a_clock_that_jumps_under_load_loses_and_returns_nothing(tmp_path: Path) -> None:
    proved("clock", tmp_path, 15, 120)
