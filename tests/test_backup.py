"""Backup while mail goes on, restore elsewhere: sealed, whole or refused, and nothing is sent twice by itself (catalogue O23)."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sqlite3
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway import requests
from gateway.audit import audit
from gateway.cli import invoke, keys_officer
from gateway.config import Archive, Config
from gateway.counting import Counts
from gateway.keeper import archiving, backup
from gateway.keeper.archive import Journal
from gateway.keeper.archiving import Filing
from gateway.keeper.exceptions import Wrong
from gateway.keeper.threads import MESSAGE, Threads
from gateway.levels import Level
from gateway.message import edits
from gateway.requests import ThreadLevels
from gateway.stores import schema
from gateway.stores.base import Batch, DeliveryState, ThreadRow
from gateway.stores.journal import CopyState, JournalRow
from gateway.stores.sqlite.store import SqliteStore
from gateway.vault import sealed_file, vault
from gateway.vault.sealed_file import Reader, SealedFileError, Writer, WrongKeyError
from tests.keeper_kit import CONTENT, delivery, event, hold, inspection, journal_copy, message, transaction, whole
from tests.test_archiving import Server
from tests.test_keeper_service import Running, Sink, rows, send

PHRASE = "correct horse battery staple"
KEY = b"\x05" * 32


# --- the sealed file --------------------------------------------------------------------------------------------------


def sealed(content: bytes, entry: dict[str, Any] | None = None, key: bytes = KEY) -> bytes:
    out = io.BytesIO()
    writer = Writer(out, key, entry or {"kind": "passphrase"})
    for start in range(0, len(content), 700_001):
        writer.write(content[start : start + 700_001])
    writer.finish()
    return out.getvalue()


def opened(data: bytes, key: bytes = KEY) -> bytes:
    return io.BufferedReader(Reader(io.BytesIO(data), lambda _: key)).read()


@pytest.mark.parametrize("size", [0, 1, sealed_file.CHUNK - 1, sealed_file.CHUNK, sealed_file.CHUNK + 1, 3 * sealed_file.CHUNK + 5])
def test_what_is_sealed_comes_back(size: int) -> None:
    content = os.urandom(size)
    data = sealed(content)
    assert opened(data) == content
    assert sealed_file.examine(io.BytesIO(data))["kind"] == "passphrase"
    assert size < 8 or content[:64] not in data


def test_O23_every_cut_and_every_change_is_seen() -> None:
    data = sealed(b"x" * (2 * sealed_file.CHUNK + 100))
    ends = [*range(0, 200, 7), sealed_file.CHUNK, len(data) // 2, *range(len(data) - 200, len(data), 7), len(data) - 1]
    for end in ends:
        with pytest.raises(SealedFileError):
            opened(data[:end])
        with pytest.raises(SealedFileError):
            sealed_file.examine(io.BytesIO(data[:end]))
    for place in [*range(0, 400, 13), sealed_file.CHUNK, len(data) // 2, *range(len(data) - 300, len(data), 13)]:
        wrong = bytearray(data)
        wrong[place] ^= 1
        with pytest.raises(SealedFileError):
            opened(bytes(wrong))
        with pytest.raises(SealedFileError):
            sealed_file.examine(io.BytesIO(bytes(wrong)))
    with pytest.raises(SealedFileError):
        opened(data + b"x")
    # Parts that are whole in themselves, in another order or with the last ones left out and a new hash at the end.
    import hashlib

    head = len(sealed_file.MAGIC) + 4 + int.from_bytes(data[10:14], "big")
    part = 4 + sealed_file.CHUNK + 16
    parts = [data[head : head + part], data[head + part : head + 2 * part], data[head + 2 * part : -36]]
    for order in ([0, 1], [1, 0, 2], [0, 0, 2], [0, 2], [2], [0, 1, 2, 2]):
        body = data[:head] + b"".join(parts[number] for number in order) + bytes(4)
        forged = body + hashlib.sha256(body).digest()
        sealed_file.examine(io.BytesIO(forged))  # without the key it looks whole
        with pytest.raises(SealedFileError):
            opened(forged)
    with pytest.raises(SealedFileError):
        opened(data, b"\x06" * 32)
    with pytest.raises(SealedFileError, match="not a backup"):
        opened(b"PK\x03\x04" + bytes(100))


def test_a_passphrase_opens_what_it_sealed_and_a_header_cannot_ask_for_endless_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_file, "_ARGON", {"time": 1, "memory": 1024, "lanes": 1})
    entry = sealed_file.to_passphrase(PHRASE.encode(), KEY)
    assert sealed_file.by_passphrase(PHRASE.encode())(entry) == KEY
    with pytest.raises(WrongKeyError, match="passphrase is not the one"):
        sealed_file.by_passphrase(b"another")(entry)
    with pytest.raises(SealedFileError, match="more work"):
        sealed_file.by_passphrase(PHRASE.encode())(entry | {"memory": 1 << 30})
    with pytest.raises(WrongKeyError, match="--passphrase-file"):
        sealed_file.by_private_key(b"", None)({"kind": "certificate"} | {"kind": "passphrase"})


# --- a gateway that is not running ------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_file, "_ARGON", {"time": 1, "memory": 1024, "lanes": 1})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "scheme.toml").write_text("# ours\n")
    (tmp_path / "dkim.pem").write_bytes(b"a signing key of the config")
    (tmp_path / "gateway.toml").write_text(
        f'hostname = "gw1.dept.gov.in"\nstate_dir = "{tmp_path}/state"\nrules_dir = "{tmp_path}/rules"\n'
        f'[limits]\nfree_disk = 0\n[[dkim]]\ndomain = "dept.gov.in"\nselector = "a"\nkey_file = "{tmp_path}/dkim.pem"\n'
    )
    (tmp_path / "phrase").write_text(PHRASE + "\n")
    (tmp_path / "phrase").chmod(0o600)
    asyncio.run(filled(tmp_path / "state"))
    return tmp_path


async def filled(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    config = Config(state_dir=folder)
    the_vault, _ = vault.load(config)
    chain, signer = audit.load(config)
    store = SqliteStore(folder / "gateway.db")
    await store.open(chain)
    for state in ("scheduled", "leased", "deferred", "on-hold"):
        batch, row, _ = whole()
        one = delivery(row, state=DeliveryState(state), lease="another keeper" if state == "leased" else "")
        await store.write(replace(batch, deliveries=[one], bodies=[the_vault.seal(row.body_id, CONTENT, row.sha256)]))
    row = message()
    row = replace(row, subject=the_vault.seal_field(row.id, "the heron"), details=b"")
    await store.write(Batch(bodies=[the_vault.seal(row.body_id, CONTENT, row.sha256)], messages=[row], holds=[hold(row)], audit=[event()]))
    await store.write(Batch(heads=[signer.head(chain.id, *chain.head, 1.8e9)]))
    await store.write(Batch(threads=[ThreadRow(the_vault.thread_hash(MESSAGE, b"root@dept.gov.in"), int(Level.SECRET), 20_000)]))
    (folder / "log").mkdir()
    later = signer.head(chain.id, chain.head[0] + 5, "sha256:later", 1.8e9)
    heads = [signer.head(chain.id, *chain.head, 1.8e9), later]
    (folder / "log" / "audit-heads.jsonl").write_bytes(
        b"\n".join(json.dumps({n: getattr(h, n) for n in h.__struct_fields__}).encode() for h in heads)
    )
    await store.close()


def run(home: Path, *words: str) -> int:
    return invoke([*words, "--config", str(home / "gateway.toml")] if words[0] != "restore" else [*words])


def states(folder: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(folder / "gateway.db")) as db:
        return dict(db.execute("SELECT state, count(*) FROM deliveries GROUP BY 1").fetchall())


def make(home: Path, *more: str) -> Path:
    file = home / "b.gwbackup"
    assert run(home, "backup", str(file), *(more or ("--passphrase-file", str(home / "phrase")))) == 0
    return file


def test_O23_a_backup_is_restored_elsewhere_with_deliveries_on_hold(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = make(home)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    said = capsys.readouterr().out
    assert "read again to its end and good" in said and "not in it" not in said, "nothing that belongs to it is missing"
    data = file.read_bytes()
    for secret in (b"SQLite format", b"dept.gov.in", b"signing key of the config", (home / "state/keys/vault.key").read_bytes().strip()):
        assert secret not in data, "nothing is in the clear"
    assert not list(backup.work_folder(home / "state").iterdir())
    assert not [path for path in home.iterdir() if path.name.endswith(".part")]
    assert run(home, "backup", str(file), "--passphrase-file", str(home / "phrase")) == 1, "nothing is written over"
    for words, text in ((("--passphrase-file", str(home / "phrase")), "good to its end"), ((), "whole, by its hash")):
        assert run(home, "backup", "--verify", str(file), *words) == 0
        assert text in capsys.readouterr().out

    there = home / "there"
    assert run(home, "restore", str(file), "--to", str(there), "--passphrase-file", str(home / "phrase")) == 0
    out = capsys.readouterr().out
    assert "3 deliveries are on hold" in out
    assert "gateway queue unhold" in out
    assert str(there / "restored" / "files") in out
    assert states(there) == {"on-hold": 4}
    assert stat.S_IMODE(there.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in there.rglob("*") if path.is_file())
    assert (there / "restored" / "config" / "gateway.toml").read_text() == (home / "gateway.toml").read_text()
    assert (there / "restored" / "rules" / "scheme.toml").read_text() == "# ours\n"
    assert b"a signing key of the config" in {path.read_bytes() for path in (there / "restored" / "files").iterdir()}
    asyncio.run(proved(there))

    assert run(home, "restore", str(file), "--to", str(there), "--passphrase-file", str(home / "phrase")) == 2
    assert "not empty" in capsys.readouterr().err
    again = home / "again"
    again.mkdir()
    assert run(home, "restore", str(file), "--to", str(again), "--passphrase-file", str(home / "phrase"), "--resume") == 0
    assert "sent twice" in capsys.readouterr().out
    assert states(again) == {"on-hold": 1, "scheduled": 3}


async def proved(there: Path) -> None:
    """The restored store: both chains verify, the lease is void, held mail opens and has its time back."""
    config = Config(state_dir=there)
    chain, signer = audit.load(config)
    the_vault, made = vault.load(config)
    assert not made
    store = SqliteStore(there / "gateway.db")
    await store.open(chain)
    assert (await store.audit_chains()) != [chain.id]
    assert len(await store.audit_chains()) == 2
    result = await audit.verify(store, [signer.public], audit.heads_in(there / "log" / "audit-heads.jsonl"))
    assert result.bad is None, result.text
    (row,) = await store.audit_rows(chain=chain.id)
    act = json.loads(row.line)
    assert (act["event"]["action"], act["gateway"]["act"]["deliveries"]) == ("store-restored", 3)
    assert await store.release_leases("new") == 0
    (held,) = await store.holds()
    body, found = await store.body(held.body_id), await store.message(held.message_id)
    assert body is not None
    assert found is not None
    assert the_vault.open(body) == CONTENT
    assert the_vault.open_field(found.id, found.subject) == b"the heron"
    assert "may have been delivered" in (await store.deliveries())[0].last_reply
    remembered = await Threads(store, the_vault, time.time).levels(ThreadLevels(("root@dept.gov.in",), ()))
    assert remembered.thread is Level.SECRET, "what was marked before is known after, by the same key"
    await store.close()


def test_O23_journal_copies_that_were_filed_since_the_backup_are_not_filed_twice(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three copies wait in the backup. The gateway that was lost has filed one of them since; and one is kept in the store."""
    monkeypatch.setattr(archiving, "_GATHER", 0.0)
    made = asyncio.run(journaled(home / "state"))
    file = make(home)
    there = home / "there"
    assert run(home, "restore", str(file), "--to", str(there), "--passphrase-file", str(home / "phrase")) == 0
    assert "3 journal copies wait; each is looked for in its archive before it is filed there." in capsys.readouterr().out
    asyncio.run(filed(there, made))


async def journaled(folder: Path) -> list[JournalRow]:
    the_vault, _ = vault.load(Config(state_dir=folder))
    store = SqliteStore(folder / "gateway.db")
    await store.open(audit.load(Config(state_dir=folder))[0])
    rows = [message() for _ in range(4)]
    copies = [journal_copy(row) for row in rows[:3]] + [journal_copy(rows[3], name="registry", state=CopyState.KEPT)]
    sealed_bodies = [the_vault.seal(row.body_id, CONTENT, row.sha256) for row in rows]
    await store.write(Batch(bodies=sealed_bodies, messages=rows, journal=copies, audit=[event()]))
    await store.close()
    return copies


async def filed(folder: Path, copies: list[JournalRow]) -> None:
    config = Config(state_dir=folder, archive=(Archive(kind="imap", url="imaps://a.gov.in/Journal", login="j", credential="j"),))
    the_vault, _ = vault.load(config)
    store = SqliteStore(folder / "gateway.db")
    await store.open(audit.load(config)[0])
    assert [row.state for row in await store.journal.page("", "", 9)] == [CopyState.FILING] * 3 + [CopyState.KEPT]
    server = Server()
    server.messages.append(edits.apply(copies[1].edits, CONTENT))
    filing = Filing(config, store, the_vault, Journal(config.archive), (clock := Later()), Counts(), server.box)
    filing.start()
    async with asyncio.timeout(10):
        while any(row.state is CopyState.FILING for row in await store.journal.page("", "", 9)):
            clock.now += 5.0
            filing.wake()
            await asyncio.sleep(0.02)
    await filing.stop()
    assert sorted(server.messages) == sorted(edits.apply(row.edits, CONTENT) for row in copies[:3]), "each once"
    (kept,) = await store.journal.page("registry", "", 9)
    body = await store.body(kept.body_id)
    assert body is not None
    assert the_vault.open(body) == CONTENT
    await store.close()


class Later:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.mark.slow
def test_O23_a_certificate_seals_and_its_private_key_opens(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("mine", "other"):
        keys_officer.make(home / f"{name}.key", home / f"{name}.pem", "Backup", PHRASE.encode())
    file = make(home, "--certificate", str(home / "mine.pem"))
    capsys.readouterr()
    phrase = ("--passphrase-file", str(home / "phrase"))
    assert run(home, "backup", "--verify", str(file), "--key", str(home / "mine.key"), *phrase) == 0
    assert run(home, "backup", "--verify", str(file), "--key", str(home / "other.key"), *phrase) == 1
    assert "not the private key of the certificate" in capsys.readouterr().err
    assert run(home, "backup", "--verify", str(file), *phrase) == 1
    assert "--key" in capsys.readouterr().err
    assert run(home, "restore", str(file), "--to", str(home / "to"), "--key", str(home / "mine.key"), *phrase) == 0
    assert states(home / "to") == {"on-hold": 4}


def test_O23_a_damaged_backup_restores_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = make(home)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    words = ("--passphrase-file", str(home / "phrase"))
    assert run(home, "restore", str(file), "--to", str(home / "to"), *words) == 1
    assert "Nothing was restored" in capsys.readouterr().err
    assert not (home / "to").exists()
    file.write_bytes(bytes(data[: len(data) // 2]))
    assert run(home, "backup", "--verify", str(file)) == 1
    (home / "empty").mkdir()
    assert run(home, "restore", str(file), "--to", str(home / "empty"), *words) == 1
    assert not list((home / "empty").iterdir())


def test_O23_L07_a_log_that_was_changed_is_not_restored_unseen(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.closing(sqlite3.connect(home / "state" / "gateway.db")) as db:
        db.execute("UPDATE audit SET line = replace(line, 'message-accepted', 'message-rejected') WHERE position = 2")
        db.commit()
    file = make(home)
    words = (str(file), "--passphrase-file", str(home / "phrase"))
    assert run(home, "restore", *words, "--to", str(home / "to")) == 1
    assert "does not verify (bad: chain" in capsys.readouterr().err
    assert not (home / "to").exists()
    assert run(home, "restore", *words, "--to", str(home / "to"), "--accept-bad-log") == 0
    assert "does not verify" in capsys.readouterr().out


def test_O23_O21_a_backup_of_an_older_format_is_restored_as_the_newest(home: Path) -> None:
    from gateway.stores.sqlite import upgrade

    upgrade.change(home / "state" / "gateway.db", 1, copy=False)
    file = make(home)
    assert run(home, "restore", str(file), "--to", str(home / "to"), "--passphrase-file", str(home / "phrase")) == 0
    with contextlib.closing(sqlite3.connect(home / "to" / "gateway.db")) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION


def test_a_backup_needs_a_seal_and_a_folder_keeps_the_newest(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "backup", str(home / "x")) == 2
    assert "a backup is sealed" in capsys.readouterr().err
    (home / "many").mkdir()
    for name in ("20240101T000000Z", "20250101T000000Z"):
        (home / "many" / f"gateway-gw1.dept.gov.in-{name}.gwbackup").write_bytes(b"old")
    (home / "many" / "notes.txt").write_text("stays")
    assert run(home, "backup", str(home / "many"), "--keep", "2", "--passphrase-file", str(home / "phrase"), "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["removed"] == ["gateway-gw1.dept.gov.in-20240101T000000Z.gwbackup"]
    assert sorted(path.name for path in (home / "many").iterdir())[-1] == "notes.txt"
    assert len(list((home / "many").iterdir())) == 3


# --- the keeper's part ------------------------------------------------------------------------------------------------


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "gateway.db")
    await made.open(audit.AuditChain("c1"))
    yield made
    await made.close()


async def test_O23_a_copy_under_writes_is_one_moment_of_the_store(store: SqliteStore, tmp_path: Path) -> None:
    """Each batch brings a message, its delivery, its body and its row of the log; the copy has all four or none."""
    made = backup.Backups(Config(state_dir=tmp_path, limits={"free_disk": 0}), store, lambda: 1.8e9)
    for _ in range(30):
        await store.write(whole()[0])
    going = True

    async def sender() -> int:
        count = 0
        while going:
            await store.write(whole()[0])
            count += 1
        return count

    senders = [asyncio.create_task(sender()) for _ in range(3)]
    path = backup.work_folder(tmp_path) / "a.db"
    made_row = await made.make(path, "root")
    written = sum(task.done() for task in senders)
    going = False
    assert written == 0
    assert sum(await asyncio.gather(*senders)) > 0
    with contextlib.closing(sqlite3.connect(path)) as db:
        numbers = [db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("messages", "deliveries", "bodies", "audit")]
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(set(numbers)) == 1
    assert numbers[0] >= 30
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made_row["rows"]["messages"] == numbers[0]
    copy = SqliteStore(path, read_only=True)
    await copy.open()
    assert (await audit.verify(copy)).bad is None
    await copy.close()


async def test_a_copy_goes_nowhere_else_and_over_nothing(store: SqliteStore, tmp_path: Path) -> None:
    made = backup.Backups(Config(state_dir=tmp_path, limits={"free_disk": 0}), store, lambda: 1.8e9)
    for path in (
        tmp_path / "x.db",
        Path("/etc/cron.d/x.db"),
        backup.work_folder(tmp_path) / "x",
        backup.work_folder(tmp_path) / ".." / "x.db",
    ):
        with pytest.raises(Wrong, match="is made in"):
            await made.make(path, "root")
    there = backup.work_folder(tmp_path) / "a.db"
    there.parent.mkdir(mode=0o700)
    there.symlink_to("/etc/passwd")
    with pytest.raises(Wrong, match="is there already"):
        await made.make(there, "root")
    full = backup.Backups(Config(state_dir=tmp_path, limits={"free_disk": 1 << 60}), store, lambda: 1.8e9)
    with pytest.raises(Wrong, match="MB are needed"):
        await full.make(there.with_name("b.db"), "root")
    there.with_name("left.db").write_bytes(b"x")
    made.start()
    assert not list(there.parent.iterdir()), "what a killed one left behind goes at the next start"


# --- a gateway that is running ----------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_O23_O22_a_running_keeper_under_load_is_backed_up_and_rotated_and_goes_on_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mail comes in all the while; the restored gateway holds what was held, keeps deliveries back, and releases."""
    (tmp_path / "here").mkdir()
    sink, phrase = Sink(), tmp_path / "phrase"
    await sink.start()
    phrase.write_text(PHRASE + "\n")
    phrase.chmod(0o600)
    here = Running(tmp_path / "here", sink.port)
    await here.start()
    there: Running | None = None
    try:
        held = transaction("desk@finance.nic.in")
        assert (await send(here, held, inspection(attached=Level.CONFIDENTIAL))).reply.code == 250
        before = (await rows(here, requests.Health()))[0]
        told = await rows(here, requests.ListHeld())
        going, answers = True, []

        async def load() -> None:
            while going:
                answers.append((await send(here, transaction("desk@finance.nic.in"))).reply.code)

        senders = [asyncio.create_task(load()) for _ in range(3)]

        async def command(*words: str) -> str:
            assert await asyncio.to_thread(invoke, [*words]) == 0, capsys.readouterr().err
            return capsys.readouterr().out

        config = ("--config", str(here.file))
        old = vault.load(Config(state_dir=tmp_path / "here" / "state"))[0].current
        assert "The running gateway uses it now" in await command("keys", "rotate-vault", *config)
        taken = len(answers)
        out = await command("backup", str(tmp_path / "b.gwbackup"), "--passphrase-file", str(phrase), *config)
        assert "read again to its end and good" in out
        assert len(answers) > taken, "mail came in while the backup was made"
        going = False
        await asyncio.gather(*senders)
        assert set(answers) == {250}
        assert not list((tmp_path / "here" / "state" / "backup-work").iterdir())
        actions = {row["event"]["action"] for row in await rows(here, requests.SearchAudit(limit=5000))}
        assert {"backup-made", "vault-key-rotated"} <= actions
        assert before["state"] == "ok"
        await here.end()

        out = await command(
            "restore", str(tmp_path / "b.gwbackup"), "--to", str(tmp_path / "there" / "state"), "--passphrase-file", str(phrase)
        )
        assert "held messages wait as before" in out
        sink.messages.clear()
        there = Running(tmp_path / "there", sink.port)
        await there.start()
        found = await rows(there, requests.ListHeld())
        assert [row["reference"] for row in found] == [row["reference"] for row in told]
        assert found[0]["subject"] == "the heron flies", "sealed before the rotation"
        assert all(row["state"] == "on-hold" for row in await rows(there, requests.ListQueue()))
        assert sink.messages == [], "nothing goes by itself"
        for name in ("asha", "bina"):
            await rows(there, requests.AddUser(name))
            await rows(there, requests.ReleaseHeld(found[0]["id"], "seen", (), name))
        ((recipients, _),) = await sink.take(1)
        assert recipients == ["desk@finance.nic.in"]
        assert old in {*(vault.load(Config(state_dir=tmp_path / "there" / "state"))[0].ids)}
        assert "ok: " in await command("audit", "verify", "--config", str(there.file))
    finally:
        for one in (here, there):
            if one is not None and one.process.poll() is None:
                await one.end()
