"""Backup of a node whose store is in PostgreSQL: its keys, config and rules, sealed; restored on a new node (catalogue O22, O23)."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from gateway.audit import audit, chain_keys
from gateway.cli import check_backup, invoke
from gateway.config import Config
from gateway.keeper.backup import Backups
from gateway.options import Store
from gateway.options import Vault as VaultOptions
from gateway.stores.base import Batch
from gateway.stores.postgres.connection import Target
from gateway.stores.postgres.store import PostgresStore
from gateway.vault import sealed_file, vault
from tests.keeper_kit import CONTENT, event, message
from tests.store_databases import Databases

PHRASE = "correct horse battery staple"
AWAY = Target("postgresql://gateway@127.0.0.1:1/mail")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_file, "_ARGON", {"time": 1, "memory": 1024, "lanes": 1})


def node(folder: Path, target: Target) -> Config:
    """A node with its keys and a config file in *folder*; the vault key lies outside of the state folder."""
    folder.mkdir()
    key, state = folder / "vault.key", folder / "state"
    vault.make_key_file(key, vault.new_key_text())
    (folder / "store.password").write_text("" if target.password_file is None else target.password_file.read_text())
    (folder / "phrase").write_text(PHRASE + "\n")
    for name in ("phrase", "store.password"):
        (folder / name).chmod(0o600)
    (folder / "gateway.toml").write_text(
        f'hostname = "gw1.dept.gov.in"\nstate_dir = "{state}"\n[vault]\nkey_file = "{key}"\n[limits]\nfree_disk = 0\n'
        f'[store]\nurl = "{target.url}"\npassword_file = "{folder}/store.password"\n'
    )
    config = at(state, key, target)
    (state / "log").mkdir(parents=True)
    state.chmod(0o700)
    chain, signer = audit.load(config)
    head = signer.head(chain.id, 7, "sha256:x", 1.8e9)
    (state / "log" / "audit-heads.jsonl").write_text(json.dumps({name: getattr(head, name) for name in head.__struct_fields__}) + "\n")
    return config


def at(state: Path, key: Path, target: Target) -> Config:
    return Config(
        state_dir=state, hostname="gw1.dept.gov.in", vault=VaultOptions(key_file=key),
        store=Store(url=target.url, password_file=target.password_file),
    )  # fmt: skip


def run(folder: Path, *words: str) -> int:
    return invoke([*words] if words[0] == "restore" else [*words, "--config", str(folder / "gateway.toml")])


async def written(config: Config, target: Target, the_vault: vault.Vault) -> str:
    """A body in the database; its id."""
    store = PostgresStore(target)
    await store.open(audit.load(config)[0])
    row = message()
    await store.write(Batch(bodies=[the_vault.seal(row.body_id, CONTENT, row.sha256)], messages=[row], audit=[event()]))
    await store.close()
    return row.body_id


async def read(target: Target, id: str, the_vault: vault.Vault) -> bytes:
    store = PostgresStore(target, read_only=True)
    await store.open()
    body = await store.body(id)
    await store.close()
    assert body is not None
    return the_vault.open(body)


@pytest.mark.service
def test_O23_a_lost_node_is_made_again_from_its_backup_and_opens_what_the_database_has(
    databases: Databases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = databases.make()
    here = tmp_path / "here"
    config = node(here, target)
    body = asyncio.run(written(config, target, vault.load(config)[0]))
    (unmade,) = check_backup.findings(config)
    assert unmade.state == "warning" and "no backup was made yet of the keys of this node" in unmade.text

    file, phrase = tmp_path / "b.gwbackup", ("--passphrase-file", str(here / "phrase"))
    assert run(here, "backup", str(file), *phrase) == 0
    said = capsys.readouterr().out
    assert "without the mail, which is in postgresql://" in said and "not in it" not in said
    assert next(check_backup.findings(config)).state == "ok"
    for secret in ((here / "vault.key").read_bytes().strip(), b"BEGIN PRIVATE KEY", b"dept.gov.in"):
        assert secret not in file.read_bytes(), "nothing is in the clear"
    assert run(here, "backup", "--verify", str(file), *phrase, "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["ok"] and row["keys_needed"] == [vault.load(config)[0].current] and "deliveries" not in row

    there = tmp_path / "there"
    assert run(here, "restore", str(file), "--to", str(there), *phrase, "--resume") == 2
    assert not there.exists()
    assert run(here, "restore", str(file), "--to", str(there), *phrase) == 0
    out = capsys.readouterr().out
    assert "put it back first" in out and "is not there" not in out
    assert not (there / "gateway.db").exists()
    assert (there / "log" / "audit-heads.jsonl").read_text() == (here / "state" / "log" / "audit-heads.jsonl").read_text()
    assert (there / "restored" / "config" / "gateway.toml").read_text() == (here / "gateway.toml").read_text()
    again = at(there, there / "keys" / "vault.key", target)
    assert asyncio.run(read(target, body, vault.load(again)[0])) == CONTENT
    assert chain_keys.key_file(again).read_bytes() == chain_keys.key_file(config).read_bytes()
    assert audit.load(again)[0].id != audit.load(config)[0].id, "the node that was lost may still write on its chain"
    assert asyncio.run(written(again, target, vault.load(again)[0]))

    # A key of another node that mail needs is named, and so is a backup that cannot have a newer key.
    other = vault.Vault({"0123456789abcdef": b"\x07" * 32}, "0123456789abcdef")
    asyncio.run(written(again, target, other))
    assert run(here, "backup", str(tmp_path / "c.gwbackup"), *phrase) == 0
    assert "not in it: vault key 0123456789abcdef, which mail in the database needs: it is on another node" in capsys.readouterr().out
    later = here / "state" / "keys" / "vault-0123456789abcdef.key"
    vault.make_key_file(later, b"07" * 32)
    os.utime(later, (time.time() + 10, time.time() + 10))
    (newer,) = check_backup.findings(config)
    assert newer.state == "warning" and str(later) in newer.text
    databases.drop(target)


@pytest.mark.service
async def test_O23_the_running_keeper_says_which_keys_the_database_needs_and_records_the_backup(
    databases: Databases, tmp_path: Path
) -> None:
    target = databases.make()
    config = node(tmp_path / "here", target)
    the_vault = vault.load(config)[0]
    await written(config, target, the_vault)
    store = PostgresStore(target)
    await store.open(audit.load(config)[0])
    backups = Backups(config, store, lambda: 1.8e9)
    assert await backups.make(Path(), "root") == {"keys_needed": [the_vault.current]}
    assert backups.last_success == 0.0, "the command says that there is one, when it has read it again"
    line = json.loads((await store.audit_rows())[-1].line)
    assert (line["event"]["action"], line["user"]["name"], line["gateway"]["act"]["part"]) == ("backup-made", "root", "keys")
    await store.close()
    databases.drop(target)


def test_O23_the_keys_are_saved_also_while_the_database_is_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = tmp_path / "here"
    node(here, AWAY)
    file, phrase = tmp_path / "b.gwbackup", ("--passphrase-file", str(here / "phrase"))
    assert run(here, "backup", str(file), *phrase) == 0
    assert "could not be asked" in capsys.readouterr().out
    assert run(here, "restore", str(file), "--to", str(tmp_path / "there"), *phrase) == 0
    assert (tmp_path / "there" / "keys" / "vault.key").read_bytes() == (here / "vault.key").read_bytes()


def test_L07_a_signing_key_that_is_gone_beside_a_shared_store_begins_a_new_chain(tmp_path: Path) -> None:
    config = node(tmp_path / "here", AWAY)
    before = audit.load(config)[0].id
    assert audit.load(config)[0].id == before
    assert not chain_keys.key_lost(config)
    chain_keys.key_file(config).unlink()
    assert chain_keys.key_lost(config)
    assert audit.load(config)[0].id != before, "another key does not sign on in it"
    assert not chain_keys.key_lost(config)


def test_before_the_first_start_nothing_is_said_of_backups(tmp_path: Path) -> None:
    assert not list(check_backup.findings(Config(state_dir=tmp_path)))
