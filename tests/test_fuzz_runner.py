"""``make fuzz`` finds a fault, says how to repeat it, ends with 1, and leaves no process behind."""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz import __main__ as runner
from tests.fuzz.targets import TARGETS, Target

NEEDS_ATHERIS = pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
PLANTED = """
import sys, time
sys.argv = ["tests.fuzz"]
from pathlib import Path
from tests.fuzz import __main__ as runner, targets
def run(data):
    if {condition}: {fault}
targets.TARGETS["wire"] = targets.Target(run, words=(b"FAULT",))
runner.FOLDER = Path({folder!r})
runner.fuzz("wire", {seconds}, {seed})
"""


class Planted(runner.Runs):
    """Runs a target that has a fault, in place of the real one."""

    condition, fault = "b'FAULT' in data", "raise KeyError('planted')"

    def command(self, name: str) -> list[str]:
        code = PLANTED.format(condition=self.condition, fault=self.fault, folder=str(runner.FOLDER), seconds=self.seconds, seed=self.seed)
        return [sys.executable, "-P", "-c", code]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runner, "FOLDER", tmp_path / ".fuzz")
    return tmp_path / ".fuzz"


@NEEDS_ATHERIS
@pytest.mark.slow
def test_a_planted_fault_is_found_and_replayed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Planted(seconds=60)
    line, right = runs.run("wire")
    assert not right and "KeyError: 'planted'" in line and "--replay" in line, line
    assert not runs.processes
    (crash,) = (folder / "wire").glob("crash-*")
    assert str(crash) in line and b"FAULT" in crash.read_bytes()

    def planted(data: bytes) -> None:
        raise KeyError(data)

    monkeypatch.setitem(TARGETS, "wire", Target(planted))
    with pytest.raises(KeyError):
        runner.replay(crash, "wire")


@NEEDS_ATHERIS
@pytest.mark.slow
def test_what_is_right_is_called_so_with_its_figures(folder: Path) -> None:
    line, right = runner.Runs(seconds=2).run("labels")
    assert right and line.endswith("ok"), line
    assert int(line.split()[1]) > 10


@NEEDS_ATHERIS
@pytest.mark.slow
def test_a_seed_gives_the_same_fault_after_the_same_inputs(folder: Path) -> None:
    found = []
    for _ in range(2):
        line, right = Planted(seconds=20, seed=7).run("wire")
        assert not right, line
        (crash,) = (folder / "wire").glob("crash-*")
        found.append((crash.read_bytes(), re.findall(r"^#(\d+)\s+NEW", (folder / "wire" / "log").read_text(), re.MULTILINE)))
        crash.unlink()
    assert found[0] == found[1]


@NEEDS_ATHERIS
@pytest.mark.slow
def test_a_process_that_does_not_end_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(Planted):
        condition, fault = "True", "time.sleep(1000)"

    monkeypatch.setattr(runner, "_MARGIN", 5)
    runs, began = Endless(seconds=1), time.monotonic()
    line, right = runs.run("wire")
    assert not right and "did not end" in line and time.monotonic() - began < 30
    assert not runs.processes


def test_time_and_memory_of_one_input_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(data: bytes) -> None:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass

    monkeypatch.setattr(runner, "TOO_LONG", 0.02)
    monkeypatch.setitem(TARGETS, "wire", Target(slow))
    with pytest.raises(runner.TooDear, match="s for one input"):
        runner.watched("wire", b"")


def test_a_process_that_says_nothing_is_a_fault(folder: Path) -> None:
    log = folder / "log"
    folder.mkdir()
    log.write_text("no status line\n")
    line, right = runner.line_of("wire", 0, log, 1.0)
    assert not right and "FAULT: ended with 0" in line


def test_what_is_of_no_target_is_not_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "crash-1"
    file.write_bytes(b"x")
    assert runner.replay(file, "nothing") == 2
    assert "--target" in capsys.readouterr().err
    assert runner.replay(file, "labels") == 0
