"""What holds for every test run.

What it is: the garbage collector's rest, the profile of hypothesis, the one PostgreSQL that all
tests of a run share, and the databases in it.
Source: the ten thousand cases that a collection leaves in memory; a full collection of garbage would walk them again and again.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.e2e.postgres import Postgres
    from tests.store_databases import Databases


# The same source gives the same answer: what hypothesis tries follows from the test alone. ``--hypothesis-profile=default`` searches.
settings.register_profile("gate", derandomize=True)
settings.load_profile("gate")


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
    # In memory where there is room: what is asked of this one is not what a disk keeps, and each test copies a database.
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30
    folder = Path(tempfile.mkdtemp(prefix="gateway-postgres-", dir=memory)) if roomy else tmp_path_factory.mktemp("postgres")
    server = Postgres(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        if roomy:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def databases(postgres: Postgres) -> Databases:
    """A new store in PostgreSQL for each who asks."""
    from tests.store_databases import Databases

    return Databases(postgres)
