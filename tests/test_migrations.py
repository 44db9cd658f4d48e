"""The store from format to format: a full queue of the first release goes up, is delivered, and comes down again (catalogue O21)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from gateway.audit import audit
from gateway.cli import invoke
from gateway.config import Config
from gateway.relay.notices import Notices
from gateway.relay.queue_actions import QueueActions
from gateway.relay.relay import Relay
from gateway.relay.signing import Signer
from gateway.stores import locking, schema
from gateway.stores.base import Batch, DeliveryState, StoreError
from gateway.stores.journal import CopyState
from gateway.stores.sqlite import connection, upgrade
from gateway.stores.sqlite.store import SqliteStore
from gateway.vault import vault
from tests.keeper_kit import NOW, PlainChain, body, event, hold, journal_copy, message, whole
from tests.test_keeper_service import Sink

FIRST = Path(__file__).parent / "corpus" / "store" / "format-1.tar.gz"
"""A state folder made by the first release's code: tests/corpus/store/make.py."""
S = DeliveryState


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with tarfile.open(FIRST) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path


def shape(file: Path) -> list[tuple[str, str, str]]:
    with contextlib.closing(sqlite3.connect(file)) as db:
        rows = db.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
    return [(kind, name, " ".join((sql or "").split())) for kind, name, sql in rows]


def marks(file: Path) -> tuple[int, list[str]]:
    with contextlib.closing(sqlite3.connect(file)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'")]
        rows = [name for (name,) in db.execute("SELECT version_num FROM alembic_version")] if tables else []
        return db.execute("PRAGMA user_version").fetchone()[0], rows


def counts(file: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(file)) as db:
        return dict(db.execute("SELECT state, count(*) FROM deliveries GROUP BY 1").fetchall())


async def test_every_step_leads_to_the_store_that_is_made_new(tmp_path: Path) -> None:
    new = SqliteStore(tmp_path / "new.db")
    await new.open(PlainChain())
    await new.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "steps.db", isolation_level=None)) as db:
        upgrade.steps(db, tmp_path / "steps.db", 0, schema.VERSION)
    assert shape(tmp_path / "steps.db") == shape(tmp_path / "new.db")
    assert marks(tmp_path / "steps.db") == marks(tmp_path / "new.db") == (schema.VERSION, [schema.revision(schema.VERSION)])


def test_the_steps_are_a_line_with_a_way_back() -> None:
    found = {one.revision: one for one in upgrade.script().walk_revisions()}
    assert sorted(found) == [schema.revision(number) for number in range(1, schema.VERSION + 1)]
    for number in range(2, schema.VERSION + 1):
        assert found[schema.revision(number)].down_revision == schema.revision(number - 1)


async def test_O21_a_full_queue_of_the_first_release_goes_up_is_delivered_and_comes_down_again(old: Path) -> None:
    file = old / "gateway.db"
    before, shape_before = counts(file), shape(file)
    assert marks(file) == (1, [])
    assert (sum(before.values()), len(before)) == (200, 7)

    config = Config(
        state_dir=old, hostname="gw1.dept.gov.in", limits={"free_disk": 0, "drain": 1},
        route=({"domains": ("*",), "next_hop": f"127.0.0.1:{(sink := await started()).port}", "tls": "none"},),
    )  # fmt: skip
    the_vault, made = vault.load(config)
    assert not made
    store = SqliteStore(file)
    await store.open(audit.load(config)[0])
    assert marks(file) == (schema.VERSION, [schema.revision(schema.VERSION)])
    copies = list(old.glob("gateway.db.format-1-*"))
    assert len(copies) == 1
    assert copies[0].stat().st_mode & 0o777 == 0o600
    assert (counts(copies[0]), marks(copies[0])) == (before, (1, [])), "the copy is the store as it was"

    relay = Relay(config, store, the_vault, Signer(config, lambda: 0.0), Notices(config, the_vault, lambda: None))  # type: ignore[arg-type]
    await relay.start()
    await QueueActions(store, relay).act("unhold", all=True, user="root")
    wanted = sum(before[state] for state in ("scheduled", "leased", "deferred", "on-hold"))
    got = await sink.take(wanted)
    assert sorted(recipients[0] for recipients, _ in got) == sorted({recipients[0] for recipients, _ in got}), "none twice"
    for recipients, content in got:
        number = int("".join(c for c in recipients[0].partition("@")[0] if c.isdigit()))
        assert f"letter number {number}\r\n".encode() in content
    async with asyncio.timeout(20):
        while await store.open_delivery_count():
            await asyncio.sleep(0.05)
    await relay.stop()

    held = await store.holds()
    assert {hold.state.value for hold in held} == {"held", "requested", "approved"}
    assert len(held) == 25
    for one in held:
        found = await store.body(one.body_id)
        assert found is not None
        assert hashlib.sha256(the_vault.open(found)).hexdigest() == one.sha256
    assert len(await store.holds(all=True)) == 40
    assert (await audit.verify(store)).bad is None
    await store.close()

    assert counts(file) == {"delivered": wanted + before["delivered"], "bounced": 10, "expired": 10}
    came_from, copied = upgrade.change(file, 1)
    assert (came_from, marks(file)) == (schema.VERSION, (1, ["0001"]))
    assert [row for row in shape(file) if "alembic" not in row[1]] == shape_before, "the first release finds what it made"
    assert counts(file) == {"delivered": wanted + before["delivered"], "bounced": 10, "expired": 10}
    assert copied is not None
    assert upgrade.change(file, schema.VERSION, copy=False)[0] == 1, "and up again"
    assert [row for row in shape(file) if "alembic" not in row[1]] == [row for row in shape(copied) if "alembic" not in row[1]]


async def started() -> Sink:
    sink = Sink()
    await sink.start()
    return sink


async def test_O21_a_step_that_fails_is_taken_back_whole(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = old / "gateway.db"
    before = shape(file)
    real = upgrade.script

    def broken() -> SimpleNamespace:
        def fails() -> None:
            real().get_revision("0002").module.upgrade()
            raise ValueError("the power went")

        return SimpleNamespace(get_revision=lambda _: SimpleNamespace(module=SimpleNamespace(upgrade=fails)))

    monkeypatch.setattr(upgrade, "script", broken)
    with pytest.raises(StoreError, match="from format 1 to 2 failed and was taken back: the power went"):
        await SqliteStore(file).open(PlainChain())
    assert (shape(file), marks(file)) == (before, (1, []))
    assert not list(old.glob("gateway.db.format-*")), "a start that is tried again and again does not fill the disk"
    monkeypatch.setattr(upgrade, "script", real)
    store = SqliteStore(file)
    await store.open(audit.load(Config(state_dir=old))[0])
    await store.write(Batch(audit=[event()]))
    await store.close()


async def test_O21_a_newer_store_and_one_with_two_marks_are_refused_in_clear_words(old: Path) -> None:
    file = old / "gateway.db"
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute(f"PRAGMA user_version={schema.VERSION + 1}")
    with pytest.raises(StoreError) as caught:
        await SqliteStore(file).open(PlainChain())
    for words in (f"format {schema.VERSION + 1}", f"up to {schema.VERSION}", f"gateway store downgrade --to {schema.VERSION}"):
        assert words in str(caught.value)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA user_version=1")
        db.execute(schema.REVISION_SQL)
        db.execute(schema.STAMP_SQL.format("0009"))
    with pytest.raises(StoreError, match="format 1 in one place and 0009 in another"):
        await SqliteStore(file).open(PlainChain())


async def test_O21_O16_a_format_is_not_changed_under_a_running_keeper_nor_without_room(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = old / "gateway.db"
    lock = locking.take_lock(file.with_suffix(".lock"))
    with pytest.raises(StoreError, match="in use by another keeper"):
        upgrade.change(file, schema.VERSION)
    os.close(lock)
    monkeypatch.setattr(upgrade, "_MARGIN", 1 << 60)
    with pytest.raises(StoreError, match="no room for the copy"):
        await SqliteStore(file).open(PlainChain())
    assert marks(file) == (1, [])
    assert not list(old.glob("gateway.db.format-*"))
    assert upgrade.change(file, schema.VERSION, copy=False) == (1, None)


def test_O21_gateway_store_says_the_format_and_goes_up_and_down(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = old / "gateway.toml"
    config.write_text(f'state_dir = "{old}"\n')

    def run(*words: str) -> tuple[int, str, str]:
        code = invoke(["store", *words, "--config", str(config)])
        return code, *capsys.readouterr()

    assert run("version")[1].startswith(f"format 1; this version knows 1 to {schema.VERSION}\nThe next start brings it")
    assert f"from format 1 to {schema.VERSION}. Before that it was copied to {old}" in run("upgrade")[1]
    assert "nothing was changed" in run("upgrade")[1]
    assert run("downgrade", "--to", "1", "--no-copy")[1].strip() == f"The store went from format {schema.VERSION} to 1."
    assert run("downgrade", "--to", "9")[0] == 1
    with contextlib.closing(sqlite3.connect(old / "gateway.db")) as db:
        db.execute("PRAGMA user_version=9")
    assert f"gateway store downgrade --to {schema.VERSION}" in run("version")[1]


async def test_O21_a_store_with_journal_copies_goes_down_with_a_copy_of_it_and_up_again(tmp_path: Path) -> None:
    """Format 4 knows no journal. What only that kept goes; what mail still needs stays; the copy that was made first has it all."""
    file = tmp_path / "gateway.db"
    store = SqliteStore(file)
    await store.open(PlainChain())
    batch, going, _ = whole()
    passed, held = message(), message()
    gone = replace(passed, id="gone", body_id="gone")
    copies = [
        journal_copy(going), journal_copy(passed, state=CopyState.FILING, attempts=3, last_reply="NO"), journal_copy(held),
        journal_copy(gone, name="registry", state=CopyState.KEPT),
        journal_copy(passed, name="other", state=CopyState.FILED, filed=NOW, filed_sha256="f", filed_size=9, uid=7),
    ]  # fmt: skip
    await store.write(replace(batch, journal=[copies[0]]))
    bodies = [body(row.body_id) for row in (passed, held, gone)]
    await store.write(Batch(bodies=bodies, messages=[passed, held], holds=[hold(held)], journal=copies[1:], audit=[event()]))
    await store.close()
    before = shape(file)

    found, copied = upgrade.change(file, 4)
    assert (found, marks(file)) == (schema.VERSION, (4, ["0004"]))
    assert copied is not None
    with contextlib.closing(sqlite3.connect(file)) as db:
        assert {name for (name,) in db.execute("SELECT id FROM bodies")} == {going.body_id, passed.body_id, held.body_id}
        assert counts(file) == {"scheduled": 1}
        assert db.execute("SELECT count(*) FROM holds").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM messages").fetchone() == (3,)

    assert upgrade.change(file, schema.VERSION, copy=False)[0] == 4
    assert shape(file) == before
    again = SqliteStore(file)
    await again.open(PlainChain())
    assert await again.journal.page("", "", 10) == []
    await again.close()
    kept = SqliteStore(copied, read_only=True)
    await kept.open()
    assert sorted(await kept.journal.page("", "", 10), key=lambda row: row.id) == sorted(copies, key=lambda row: row.id)
    assert await kept.body("gone") is not None
    await kept.close()


def test_copies_go_after_a_week(tmp_path: Path) -> None:
    for name, age in (("a", 8), ("b", 6)):
        (tmp_path / f"gateway.db.format-1-{name}").write_bytes(b"x")
        os.utime(tmp_path / f"gateway.db.format-1-{name}", (1e9 - age * 86400, 1e9 - age * 86400))
    assert connection.forget_copies(tmp_path / "gateway.db", 1e9) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["gateway.db.format-1-b"]


def test_alembic_is_not_imported_where_nothing_is_to_do(tmp_path: Path) -> None:
    script = """
import asyncio, pathlib, sys
from gateway.audit.audit import AuditChain
from gateway.stores.sqlite.store import SqliteStore
async def main():
    for _ in range(2):
        store = SqliteStore(pathlib.Path(sys.argv[1]) / "gateway.db")
        await store.open(AuditChain("c"))
        await store.close()
asyncio.run(main())
print([name for name in sys.modules if name.startswith(("alembic", "sqlalchemy.orm"))])
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
