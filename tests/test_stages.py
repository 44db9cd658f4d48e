"""The bench of stages runs: what it prints is for people to judge."""

from __future__ import annotations

import json

import pytest

from tests.bench import stages


@pytest.mark.slow
def test_each_stage_of_a_message_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    stages.main(["--messages", "2", "--kinds", "text", "--json"])
    (text,) = json.loads(capsys.readouterr().out)["stages"].values()
    assert set(text) == set(stages.STAGES)
    assert all(spent >= 0 for spent in text.values())
    stages.main(["--messages", "1", "--kinds", "text"])
    assert capsys.readouterr().out.splitlines()[-1].startswith("all ")
