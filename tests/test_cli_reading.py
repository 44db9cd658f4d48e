"""Commands that read a store in PostgreSQL without the keeper: the decision log verified, what needs a vault key, what waits, who works."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import config as config_file
from gateway.audit.audit import load
from gateway.cli import check_archive, check_review, keys, keys_vault, reading
from gateway.cli.options import Stop
from gateway.config import Config
from gateway.stores import moved_rows, moving
from gateway.stores.postgres import connection
from gateway.stores.postgres.connection import Target
from tests.e2e.postgres import Postgres
from tests.store_databases import Databases
from tests.store_stock import stocked

ROOT = Path(__file__).resolve().parents[1]


def test_a_store_is_named_by_file_folder_or_address(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").touch()
    assert reading.named(str(tmp_path)) == reading.named(f"sqlite://{tmp_path}/gateway.db") == tmp_path / "gateway.db"
    assert reading.named("postgresql://gateway@db/mail", "/etc/p") == Target("postgresql://gateway@db/mail", Path("/etc/p"))
    with pytest.raises(Stop, match="there are no mysql stores"):
        reading.named("mysql://x/y")


async def _move(config: Config, target: Target) -> None:
    link = await connection.connect(target)
    try:
        move = moving.Move(moved_rows.open_source(config.state_dir / "gateway.db"), link, target.name, lambda _: None)
        await move.run()
        await move.accept()
    finally:
        await link.close()


@pytest.fixture
def moved(postgres: Postgres, databases: Databases, tmp_path: Path) -> Iterator[tuple[Config, Target]]:
    """The config of a store that was moved into PostgreSQL."""
    config = asyncio.run(stocked(tmp_path, 12))
    name = f"reading_{databases.made}"
    databases.made += 1
    target = Target(postgres.create(name), postgres.password_file)
    asyncio.run(_move(config, target))
    with (tmp_path / "gateway.toml").open("a") as file:
        file.write(f'[store]\nurl = "{target.url}"\npassword_file = "{target.password_file}"\n')
    yield config_file.load(tmp_path / "gateway.toml"), target
    postgres.drop(name)


def verify(config: Config, *words: str) -> tuple[int, str]:
    home = config.state_dir.parent
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "audit", "verify", *words, "--config", str(home / "gateway.toml")],
        capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.service
def test_L06_the_log_in_postgresql_is_verified_and_a_changed_row_is_named(moved: tuple[Config, Target], postgres: Postgres) -> None:
    config, target = moved
    database = target.url.rpartition("/")[2]
    code, text = verify(config)
    assert (code, "25 rows" in text) == (0, True), text
    assert verify(config, "--store", target.url, "--password-file", str(target.password_file)) == (code, text)
    assert verify(config, "--store", target.url)[0] == 2, "without the password there is no answer"
    chain = load(config)[0].id
    postgres.ask("UPDATE audit SET recipient = 'other@x.in' WHERE seq = 7", database=database)
    code, text = verify(config)
    assert code == 1
    assert "7" in text
    assert chain in text
    postgres.ask("DELETE FROM audit WHERE seq = 7", database=database)
    code, text = verify(config)
    assert (code, "rows are missing" in text) == (1, True), text


@pytest.mark.service
def test_commands_that_ask_the_store_ask_postgresql_where_the_config_names_it(moved: tuple[Config, Target], postgres: Postgres) -> None:
    config, target = moved
    postgres.ask("UPDATE bodies SET key_id = 'k9' WHERE id = (SELECT max(id) FROM bodies)", database=target.url.rpartition("/")[2])
    assert keys_vault._needing(config, "k1")[0] == 11
    assert keys_vault._needing(config, "k9")[0] == 1
    assert keys._has_bodies(config) is True
    people = check_review._users(config)
    assert people is not None
    assert [user.name for user in people] == ["asha"]
    assert [one.name for one in check_archive._unfiled(config)] == ["archive0", "archive1"]


@pytest.mark.service
def test_the_format_of_a_shared_store_is_told_and_not_changed_by_hand(
    moved: tuple[Config, Target], capsys: pytest.CaptureFixture[str]
) -> None:
    from gateway.cli import store
    from gateway.stores import schema

    config, target = moved
    store._shared_version(config, True)
    told = json.loads(capsys.readouterr().out)
    assert told == {"store": target.name, "format": schema.VERSION, "newest": schema.VERSION, "copies": []}
    home = config.state_dir.parent / "gateway.toml"
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "store", "upgrade", "--config", str(home)], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert (done.returncode, "PostgreSQL" in done.stderr) == (1, True)


@pytest.mark.service
def test_an_empty_database_has_nothing_and_one_that_is_away_is_no_reason_to_make_a_key(
    moved: tuple[Config, Target], postgres: Postgres
) -> None:
    config, target = moved
    name = target.url.rpartition("/")[2]
    postgres.drop(name)
    with pytest.raises(Stop, match="cannot be seen"):
        keys._has_bodies(config)
    with pytest.raises(Stop):
        keys_vault._needing(config, "k1")
    postgres.create(name)
    assert keys._has_bodies(config) is False
    assert keys_vault._needing(config, "k1") == (0, 0)
    assert check_review._users(config) is None
