"""``gateway check`` on a store in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import check_store
from gateway.config import Config
from gateway.options import Store
from gateway.stores.postgres.connection import Target
from tests.store_databases import Databases


def _config(**store: object) -> Config:
    return Config.model_construct(store=Store.model_validate(store))


def test_what_is_not_kept_is_bad_and_what_is_missing_is_said() -> None:
    off = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "synchronous_standby_names": ""}
    assert [one.state for one in check_store._kept(off)] == ["wrong", "wrong", "wrong", "warning"]
    on = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "remote_apply", "synchronous_standby_names": "b"}
    assert list(check_store._kept(on)) == []
    for weak in ("local", "remote_write"):
        (found,) = check_store._kept(on | {"synchronous_commit": weak})
        assert found.state == "wrong" and "the standby need not have" in found.text
        assert [one.state for one in check_store._kept(on | {"synchronous_commit": weak, "synchronous_standby_names": ""})] == [
            "warning"
        ] * 2


def test_a_database_that_is_away_and_one_with_a_password_in_its_address_are_wrong() -> None:
    (away,) = check_store.findings(_config(url="postgresql://gateway@127.0.0.1:1/mail"))
    assert away.state == "wrong"
    (open_,) = check_store.findings(_config(url="postgresql://gateway:secret@127.0.0.1:1/mail"))
    assert open_.state == "wrong"
    assert "secret" not in open_.text
    assert "password_file" in open_.text


def test_a_credential_needs_systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = Store(url="postgresql://gateway@127.0.0.1/mail", credential="store")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "store").write_text("word\n")
    assert Target.of(store).password() == "word"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    (found,) = check_store.findings(_config(url=store.url, credential="store"))
    assert "CREDENTIALS_DIRECTORY" in found.text


@pytest.mark.service
def test_a_database_that_is_there_is_told_with_its_version_and_format(databases: Databases) -> None:
    target = databases.make()
    found = list(check_store.findings(_config(url=target.url, password_file=target.password_file)))
    assert [one.state for one in found] == ["ok", "warning"]
    assert "has format" in found[0].text
    assert "standby" in found[1].text
    databases.drop(target)
