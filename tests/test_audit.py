"""The audit chain: every kind of tampering is seen, every line is one clean line, the export follows without loss."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.audit import audit, lines
from gateway.audit.audit import FIRST, AuditChain, Signer, verify
from gateway.audit.export import Follower
from gateway.cli import audit as cli_audit
from gateway.config import Config
from gateway.stores.base import Batch
from gateway.stores.sqlite.store import SqliteStore
from tests.keeper_kit import NOW, event

Row = dict[str, Any]


async def fill(folder: Path, count: int, *, chain: str = "c1", head: bool = True) -> Signer:
    """A store with *count* rows in *chain*, and a signed head over the last."""
    signer = audit.signer(Config(state_dir=folder))
    store = SqliteStore(folder / "gateway.db")
    the_chain = AuditChain(chain)
    await store.open(the_chain)
    await store.write(Batch(audit=[event(f"R{number}", created=NOW + number) for number in range(count)]))
    if head:
        await store.write(Batch(heads=[signer.head(chain, *the_chain.head, NOW)]))
    await store.close()
    return signer


async def look(folder: Path, signer: Signer, kept: tuple[Any, ...] = ()) -> audit.Result:
    store = SqliteStore(folder / "gateway.db", read_only=True)
    await store.open()
    try:
        return await verify(store, [signer.public], kept)
    finally:
        await store.close()


def tamper(folder: Path, *statements: str) -> None:
    db = sqlite3.connect(folder / "gateway.db")
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


async def test_an_honest_chain_verifies(tmp_path: Path) -> None:
    signer = await fill(tmp_path, 30)
    result = await look(tmp_path, signer)
    assert result.text == "ok: 30 rows in 1 chain"


@pytest.mark.parametrize(
    ("name", "statements", "row", "why"),
    [
        ("edit", ["UPDATE audit SET line = replace(line, 'R9', 'R8') WHERE seq = 10"], 10, "changed"),
        ("edit of a column", ["UPDATE audit SET reference = 'R8' WHERE seq = 10"], 10, "columns"),
        ("edit of the time", ["UPDATE audit SET created = created + 60 WHERE seq = 10"], 10, "columns"),
        ("edit of a search column", ["UPDATE audit SET rule = 'other' WHERE seq = 10"], 10, "columns"),
        ("edit of the disposition", ["UPDATE audit SET disposition = 'refuse' WHERE seq = 10"], 10, "columns"),
        ("delete", ["DELETE FROM audit WHERE seq = 10"], 10, "missing"),
        ("delete the first", ["DELETE FROM audit WHERE seq = 1"], 1, "missing"),
        (
            "swap",
            [
                "UPDATE audit SET seq = 900 WHERE seq = 10",
                "UPDATE audit SET seq = 10 WHERE seq = 11",
                "UPDATE audit SET seq = 11 WHERE seq = 900",
            ],
            10,
            "follow",
        ),
        ("cut the tail", ["DELETE FROM audit WHERE seq > 25"], 26, "cut off"),
        ("cut all", ["DELETE FROM audit"], 1, "cut off"),
        ("renumber after a delete", ["DELETE FROM audit WHERE seq = 30", "UPDATE heads SET seq = 29"], 29, "signature"),
        ("another hash in a head", ["UPDATE heads SET hash = 'sha256:00'"], 30, "signature"),
    ],
)
async def test_L07_P17_tampering_is_named(tmp_path: Path, name: str, statements: list[str], row: int, why: str) -> None:
    signer = await fill(tmp_path, 30)
    tamper(tmp_path, *statements)
    result = await look(tmp_path, signer)
    assert result.bad is not None, name
    assert result.bad.seq == row, result.text
    assert why in result.bad.why
    assert result.text.startswith(f"bad: chain c1 row {row}: ")


async def test_L07_a_chain_hashed_anew_fails_at_its_signed_head(tmp_path: Path) -> None:
    """Somebody with the database and the code, without the signing key, writes row 10 anew and all rows after it."""
    signer = await fill(tmp_path, 30)
    db = sqlite3.connect(tmp_path / "gateway.db")
    before = db.execute("SELECT hash FROM audit WHERE seq = 9").fetchone()[0]
    for seq, line in db.execute("SELECT seq, line FROM audit WHERE seq >= 10 ORDER BY seq").fetchall():
        document = json.loads(line)
        document["gateway"]["prev_hash"] = before
        document["host"] = {"hostname": "forged"}
        forged = lines.canonical(document)
        digest = lines.hash_of(forged)
        db.execute("UPDATE audit SET line = ?, prev_hash = ?, hash = ? WHERE seq = ?", (forged, before, digest, seq))
        before = digest
    db.commit()
    db.close()
    result = await look(tmp_path, signer)
    assert result.bad is not None
    assert (result.bad.seq, result.bad.why) == (30, "another row was signed in this place")


async def test_L07_an_old_file_put_back_is_seen_by_the_heads_kept_elsewhere(tmp_path: Path) -> None:
    signer = await fill(tmp_path, 10)
    shutil.copy(tmp_path / "gateway.db", tmp_path / "old.db")
    store = SqliteStore(tmp_path / "gateway.db")
    chain = AuditChain("c1")
    await store.open(chain)
    await store.write(Batch(audit=[event("late")]))
    head = signer.head("c1", *chain.head, NOW)
    await store.close()
    shutil.copy(tmp_path / "old.db", tmp_path / "gateway.db")
    assert (await look(tmp_path, signer)).bad is None, "by itself an old file is whole"
    result = await look(tmp_path, signer, (head,))
    assert result.bad is not None
    assert result.bad.seq == 11
    assert "old file was put back" in result.bad.why


async def test_L07_two_chains_stay_apart(tmp_path: Path) -> None:
    signer = await fill(tmp_path, 5)
    await fill(tmp_path, 7, chain="c2")
    assert (await look(tmp_path, signer)).text == "ok: 12 rows in 2 chains"
    tamper(
        tmp_path,
        "UPDATE audit SET line = (SELECT line FROM audit WHERE chain = 'c1' AND seq = 3), hash = (SELECT hash FROM audit WHERE chain = 'c1'"
        " AND seq = 3), prev_hash = (SELECT prev_hash FROM audit WHERE chain = 'c1' AND seq = 3) WHERE chain = 'c2' AND seq = 3",
    )
    result = await look(tmp_path, signer)
    assert result.bad is not None
    assert (result.bad.chain, result.bad.seq) == ("c2", 3)


async def test_L07_two_writers_on_one_chain_are_stopped(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "gateway.db")
    await store.open(AuditChain("c1"))
    await store.write(Batch(audit=[event()]))
    tamper(
        tmp_path,
        "INSERT INTO audit SELECT 77, chain, 2, created, reference, sender, recipient, rule, disposition, prev_hash, hash, line,"
        " department, format FROM audit",
    )
    from gateway.stores.base import StoreError

    with pytest.raises(StoreError, match="did not write"):
        await store.write(Batch(audit=[event()]))
    await store.close()


async def test_P17_every_flipped_byte_of_a_row_is_seen(tmp_path: Path) -> None:
    signer = await fill(tmp_path, 12)
    rng = random.Random(11)
    db = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
    columns = ("line", "hash", "prev_hash", "reference", "department", "sender", "recipient", "rule", "disposition")
    store = SqliteStore(tmp_path / "gateway.db", read_only=True)
    await store.open()
    seen = 0
    for _ in range(150):
        column, seq = rng.choice(columns), rng.randint(1, 12)
        (value,) = db.execute(f"SELECT {column} FROM audit WHERE seq = ?", (seq,)).fetchone()
        place = rng.randrange(len(value))
        bad = value[:place] + chr((ord(value[place]) ^ (1 << rng.randrange(7))) & 0x7F) + value[place + 1 :]
        db.execute(f"UPDATE audit SET {column} = ? WHERE seq = ?", (bad, seq))
        found = (await verify(store, [signer.public])).bad
        seen += found is not None and found.seq in (seq, seq + 1)
        db.execute(f"UPDATE audit SET {column} = ? WHERE seq = ?", (value, seq))
    assert seen == 150
    assert (await verify(store, [signer.public])).bad is None
    await store.close()
    db.close()


# --- the line ---------------------------------------------------------------------------------------------------------

HOSTILE = 'a\r\nb\x1b[31m\x85\u2028\u202e\x7f\x00"\\ \udc80 शीर्षक'


def test_L06_one_event_is_one_ascii_line_with_cut_values() -> None:
    document = {"event": {"reason": HOSTILE}, "gateway": {"helo": "x" * 1_000_000, HOSTILE: [HOSTILE, {"n": 1.5, "b": b"\xff"}]}}
    row = AuditChain("c").append(event(HOSTILE, document=document))
    assert row.line.isascii()
    assert row.line.isprintable()
    assert "\n" not in row.line
    assert len(row.line) < 5000
    parsed = json.loads(row.line)
    assert parsed["event"]["reason"].replace("\\x7f", "\x7f") == HOSTILE
    assert len(parsed["gateway"]["helo"]) == 1003
    exported = audit.with_hash(row)
    assert json.loads(exported)["event"]["hash"] == row.hash


def test_the_short_way_writes_what_the_careful_one_would() -> None:
    samples = [
        {"b": 1, "a": {"z": [1, None, True], "y": "text/with \t tab"}, "é": "ü"},
        {"a": 'quote " here'},
        {"a": "\x7f"},
        {"a": "x" * 2000},
        {"a": -0.0, "b": 2**40, "c": 1.25},
    ]
    for sample in samples:
        assert lines.canonical(sample) == lines.CAREFUL.encode(lines.cleaned(sample)) or "c" in sample
        assert json.loads(lines.canonical(sample)) is not None


@given(st.lists(st.integers(0, 2100), max_size=8), st.integers(0, 3))
@example([1000, 1000, 1000], 0)
@example([1000, 1001], 0)
@example([1001], 0)
@example([0, 0, 999, 1001, 3], 1)
def test_strings_that_are_too_long_are_found_as_by_looking_at_each(lengths: list[int], around: int) -> None:
    line = b"x" * around + b'"'.join(b"a" * length for length in lengths) + b"y" * around
    assert lines._short(line) == (max(map(len, line.split(b'"'))) <= lines.CUT)


def test_a_time_is_written_with_three_digits_whatever_it_is() -> None:
    for at in (0.0, NOW, NOW + 0.9996, NOW + 0.0004, 1e-9, -1.5, 253402300799.0):
        whole = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert lines.timestamp(at) == whole
    assert lines.timestamp(1e18) == "9999-12-31T23:59:59.999Z"


def test_an_exported_line_can_be_checked_by_itself() -> None:
    chain = AuditChain("c")
    before = FIRST
    for number in range(3):
        row = chain.append(
            event(f"R{number}", document={"event": {"dataset": "gateway.decision", "id": "x", "action": "a"}, "rule": {"id": "r1"}})
        )
        document = json.loads(audit.with_hash(row))
        digest = document["event"].pop("hash")
        assert document["gateway"]["prev_hash"] == before
        assert lines.hash_of(json.dumps(document, sort_keys=True, separators=(",", ":"))) == digest
        assert document["event"]["sequence"] == document["gateway"]["seq"] == number + 1
        assert document["@timestamp"].endswith("Z")
        assert document["event"]["timezone"] == "+05:30"
        before = digest


@pytest.mark.parametrize("at", [-1e18, 0.0, 2**31 + 0.5, 4e9, 1e18, float("inf")])
def test_O15_no_clock_stops_the_log(at: float) -> None:
    chain = AuditChain("c")
    rows = [chain.append(event(created=at)), chain.append(event(created=0.0))]
    assert [row.seq for row in rows] == [1, 2], "the order is the counter's"


# --- exporting --------------------------------------------------------------------------------------------------------


def rows(count: int, start: int = 1) -> list[Any]:
    chain = AuditChain("c1")
    return [chain.append(event(f"R{number}")) for number in range(1, start + count)][start - 1 :]


def exported(folder: Path) -> list[int]:
    files = sorted(folder.glob("decisions-*.jsonl")) + [folder / "decisions.jsonl"]
    return [json.loads(line)["gateway"]["seq"] for file in files if file.exists() for line in file.read_text().splitlines()]


def test_O18_the_export_goes_on_where_it_was(tmp_path: Path) -> None:
    every = rows(50)
    Follower(tmp_path, "c1").copy(every[:20])
    follower = Follower(tmp_path, "c1")
    assert follower.start() == 20
    follower.copy(every[20:])
    assert exported(tmp_path) == list(range(1, 51))


def test_L07_a_torn_tail_of_the_export_is_repaired(tmp_path: Path) -> None:
    every = rows(30)
    Follower(tmp_path, "c1").copy(every[:10])
    with (tmp_path / "decisions.jsonl").open("a") as file:
        file.write(audit.with_hash(every[10]) + "\n" + audit.with_hash(every[11])[:40])
    follower = Follower(tmp_path, "c1")
    assert follower.start() == 10
    follower.copy(every[10:])
    assert exported(tmp_path) == list(range(1, 31))


def test_the_export_is_turned_over_by_size(tmp_path: Path) -> None:
    follower = Follower(tmp_path, "c1", rotate_at=2000)
    for row in rows(40):
        follower.copy([row])
    assert len(list(tmp_path.glob("decisions-*.jsonl"))) > 3
    assert exported(tmp_path) == list(range(1, 41))
    again = Follower(tmp_path, "c1", rotate_at=2000)
    assert again.start() == 40


def test_O18_a_sink_that_fails_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    every = rows(20)
    follower = Follower(tmp_path, "c1")
    follower.copy(every[:5])
    honest, room = os.write, [700]

    def full(descriptor: int, data: Any) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        count = honest(descriptor, bytes(data)[: room[0]])
        room[0] -= count
        return count

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError):
        follower.copy(every[5:])
    monkeypatch.setattr(os, "write", honest)
    assert follower.start() == 5
    follower.copy(every[5:])
    assert exported(tmp_path) == list(range(1, 21))


async def test_L06_a_lost_signing_key_is_an_alarm_and_begins_a_new_chain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Config(state_dir=tmp_path)
    first, signer = audit.load(config)
    assert capsys.readouterr().out == "", "the very first start makes them"
    store = SqliteStore(tmp_path / "gateway.db")
    await store.open(first)
    await store.write(Batch(audit=[event("R1", created=NOW)]))
    await store.write(Batch(heads=[signer.head(first.id, *first.head, NOW)]))
    await store.close()
    assert audit.load(config)[0].id == first.id
    assert capsys.readouterr().out == ""
    key = tmp_path / "keys" / "audit-signing.pem"
    kept = key.read_bytes()
    key.unlink()
    reader = SqliteStore(tmp_path / "gateway.db", read_only=True)
    await reader.open()
    assert (await verify(reader)).text == "ok: 1 rows in 1 chain; signatures not checked: the signing key is not there"
    second, anew = audit.load(config)
    said = capsys.readouterr().out
    assert said.count("[critical ]") == 1 and "put it back from your backup" in said
    assert second.id != first.id
    assert anew.key_id != signer.key_id
    found = await verify(reader, [anew.public])
    assert found.bad is not None and "unknown key" in found.bad.why
    key.with_name("audit-signing-old.pem").write_bytes(kept)
    key.with_name("audit-signing-old.pem").chmod(0o600)
    found = await verify(reader, cli_audit.public_keys(tmp_path / "keys"))
    assert found.text == "ok: 1 rows in 1 chain"
    await reader.close()


def test_a_new_chain_begins_a_new_count_in_the_same_file(tmp_path: Path) -> None:
    Follower(tmp_path, "c1").copy(rows(3))
    follower = Follower(tmp_path, "c2")
    assert follower.start() == 0
    follower.copy([replace(row, chain="c2") for row in rows(2)])
    assert exported(tmp_path) == [1, 2, 3, 1, 2]
