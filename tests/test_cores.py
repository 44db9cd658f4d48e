"""How many cores and how much memory there are, by affinity and control groups of both versions; and the numbers left to the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway import config, cores
from gateway.config import Config, ConfigError, Limits


class Machine:
    """A /proc and a /sys/fs/cgroup of our own, on eight cores with 8 GB."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, groups: str) -> None:
        self.root, self.proc = folder / "cgroup", folder / "proc"
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "self/cgroup").write_text(groups)
        (self.proc / "meminfo").write_text("MemTotal:        8000000 kB\nMemFree: 1 kB\n")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def found(self) -> tuple[int, int]:
        return cores.available(self.root, self.proc), cores.memory(self.root, self.proc)


def test_without_control_groups_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, "")
    assert machine.found() == (8, 8_192_000_000)
    (machine.proc / "self/cgroup").unlink()
    assert machine.found() == (8, 8_192_000_000)


@pytest.mark.parametrize(("said", "expected"), [("max 100000", 8), ("250000 100000", 3), ("50000 100000", 1), ("nonsense", 8), ("", 8)])
def test_version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: int) -> None:
    machine = Machine(tmp_path, monkeypatch, "0::/system.slice/gateway-doors.service\n")
    machine.write("system.slice/gateway-doors.service/cpu.max", said + "\n")
    machine.write("system.slice/gateway-doors.service/memory.max", "max\n")
    machine.write("system.slice/memory.max", "4000000000\n")  # a group above holds us as well
    assert machine.found() == (expected, 4_000_000_000)


def test_version_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, "4:memory:/box\n3:cpu,cpuacct:/box\n1:name=systemd:/\n")
    machine.write("cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n")
    machine.write("cpu,cpuacct/cpu.cfs_quota_us", "400000\n")
    machine.write("cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    machine.write("memory/box/memory.limit_in_bytes", "1000000000\n")
    assert machine.found() == (4, 1_000_000_000)


@pytest.mark.parametrize(
    ("there", "octets", "each", "expected"),
    [(1, 10**12, 1, 2), (4, 10**12, 1, 4), (64, 10**12, 1, 16), (8, 4 * 10**9, 512_000_000, 3), (8, 10**8, 512_000_000, 2)],
)
def test_the_pool_is_one_a_core_in_half_of_the_memory(
    monkeypatch: pytest.MonkeyPatch, there: int, octets: int, each: int, expected: int
) -> None:
    monkeypatch.setattr(cores, "available", lambda: there)
    monkeypatch.setattr(cores, "memory", lambda: octets)
    assert cores.inspectors(each) == expected


def test_numbers_of_the_config_that_are_left_to_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "available", lambda: 6)
    monkeypatch.setattr(cores, "memory", lambda: 10**12)
    assert (Config().workers, Limits().inspectors) == (2, 6)
    assert (Config(workers="auto").workers, Limits(inspectors="auto").inspectors) == (6, 6)  # type: ignore[arg-type]
    assert Limits(inspectors=3).inspectors == 3
    path = tmp_path / "gateway.toml"
    path.write_text('workers = "auto"\n[limits]\ninspect_memory = "200GB"\ninspectors = "auto"\n')
    loaded = config.load(path)
    assert (loaded.workers, loaded.limits.inspectors) == (6, 2)
    for wrong in ("workers = 0", 'workers = "many"', '[limits]\ninspectors = "some"', "[limits]\ninspectors = 0"):
        path.write_text(wrong + "\n")
        with pytest.raises(ConfigError, match="gateway.toml:"):
            config.load(path)
