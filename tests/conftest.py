"""What holds for every test run.

What it is: the garbage collector's rest, and the one PostgreSQL that all tests of a run share.
Source: the ten thousand cases that a collection leaves in memory; a full collection of garbage would walk them again and again.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.postgres import Postgres


def pytest_collection_finish() -> None:
    """What was collected stays until the end: the collector of garbage need not look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server for tests that do not end it; each makes a database of its own. Skipped by name where PostgreSQL is not installed."""
    from tests.e2e.postgres import Postgres, programs

    if programs() is None:
        pytest.skip("PostgreSQL is not installed (.ci/run installs it)")
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    try:
        server.start()
        yield server
    finally:
        server.stop()
