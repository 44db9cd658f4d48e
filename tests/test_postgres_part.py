"""The PostgreSQL that the tests start: databases by copy, and what was committed is there after every kind of end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.postgres import Postgres, programs

pytestmark = [pytest.mark.service, pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed (.ci/run installs it)")]


@pytest.mark.slow
def test_what_was_committed_is_there_after_every_kind_of_end(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "pg")
    try:
        server.start()
        assert server.create("one") == server.url("one")
        server.ask("CREATE TABLE kept (n int)", database="one")
        for n, end in enumerate((server.stop, server.immediate, server.kill)):
            server.ask("INSERT INTO kept VALUES (%s)", (n,), database="one")
            end()
            assert server.process is not None and server.process.poll() is not None
            server.start()
            assert len(server.ask("SELECT * FROM kept", database="one")) == n + 1
        assert server.ask("SHOW fsync") == [("on",)]
        server.create("two", "one")
        assert len(server.ask("SELECT * FROM kept", database="two")) == 3
        server.drop("two")
    finally:
        server.stop()


def test_the_shared_server_gives_each_test_a_database(postgres: Postgres) -> None:
    postgres.create("mine")
    link = postgres.admin("mine")
    assert postgres.cut("mine") == 1
    link.close()
    postgres.drop("mine")
