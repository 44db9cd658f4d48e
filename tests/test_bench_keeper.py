"""The measure of one keeper runs: a table comes out, and nothing of it stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_table_has_a_row_for_each_size_and_number_of_clients(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench.keeper", "--seconds", "0.2", "--clients", "1,3", "--sizes", "4K,96K"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    head, *rows = (line.split() for line in done.stdout.splitlines())
    assert head[:2] == ["octets", "clients"]
    assert [(int(row[0].replace(",", "")) >> 10, row[1]) for row in rows] == [(3, "1"), (3, "3"), (95, "1"), (95, "3")]
    assert list(tmp_path.iterdir()) == []
