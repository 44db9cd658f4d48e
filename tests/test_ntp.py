"""The state of the clock in the decision log."""

from __future__ import annotations

import json

import pytest

from gateway.audit import ntp
from gateway.audit.audit import AuditChain
from gateway.audit.ntp import KernelClock, Watch
from tests.keeper_kit import event


@pytest.mark.parametrize(("said", "logged"), [(True, {"synced": True}), (False, {"synced": False}), (None, None)])
def test_O15_every_record_says_whether_the_clock_is_kept(said: bool | None, logged: dict[str, bool] | None) -> None:
    chain = AuditChain("c1", Watch(lambda: None if said is None else KernelClock(said, 0.01)))
    chain.resume(None)
    document = json.loads(chain.append(event()).line)
    assert document["gateway"].get("ntp") == logged
    assert document["gateway"]["seq"] == 1


def test_the_kernel_is_asked_once_a_minute() -> None:
    now, asked = 0.0, 0

    def ask() -> KernelClock:
        nonlocal asked
        asked += 1
        return KernelClock(asked > 1, 0.01)

    watch = Watch(ask, lambda: now)
    assert [watch.synced for _ in range(1000)] == [False] * 1000
    now = 59.9
    assert not watch.synced
    now = 60.0
    assert watch.synced
    assert asked == 2


def test_the_kernels_word_is_read_and_nothing_is_set() -> None:
    found = ntp.kernel_clock()
    assert found is None or isinstance(found.synced, bool)
    assert found is None or found.error >= 0
