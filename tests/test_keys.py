"""Keys from the first to the last day: DKIM, rotation of the vault key, paper, the officer's certificate (catalogue O22)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import os
import random
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec.structs import replace

from gateway.audit.audit import AuditChain, verify
from gateway.cli import check, invoke, keys, keys_dkim, keys_vault
from gateway.config import Config
from gateway.keeper.exceptions import Wrong
from gateway.keeper.rotation import Rotation
from gateway.stores.base import Batch
from gateway.stores.sqlite.store import SqliteStore
from gateway.vault import escrow, vault
from gateway.vault.vault import Vault, VaultError
from tests.keeper_kit import CONTENT, event, hold, message

SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "gateway.toml").write_text(f'hostname = "gw1.dept.gov.in"\nstate_dir = "{tmp_path}/state"\n')
    return tmp_path


def run(home: Path, *words: str) -> int:
    return invoke([*words, "--config", str(home / "gateway.toml")])


def config(home: Path) -> Config:
    return Config(state_dir=home / "state", hostname="gw1.dept.gov.in")


# --- DKIM -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "size"), [("rsa", 2048), ("ed25519", 0)])
def test_a_dkim_key_is_made_once_and_its_record_is_what_dns_takes(
    home: Path, capsys: pytest.CaptureFixture[str], kind: str, size: int
) -> None:
    words = ("keys", "dkim", "--domain", "my-dept.gov.in", "--selector", "gw-1", "--type", kind)
    assert run(home, *words) == 0
    out = capsys.readouterr().out
    file = home / "state" / "keys" / "dkim-my-dept.gov.in_gw-1.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = load_pem_private_key(file.read_bytes(), None)
    assert getattr(key, "key_size", 0) == size
    zone = out.partition("as a zone file has it:\n")[2].partition("\n\n")[0]
    one = out.partition("or on one line:\n")[2].splitlines()[0]
    for text in (zone, one):
        assert text.startswith("gw-1._domainkey.my-dept.gov.in. IN TXT ")
        parts = text.split('"')[1::2]
        assert all(len(part) <= 255 for part in parts)
        tags = dict(tag.strip().split("=", 1) for tag in "".join(parts).split(";"))
        assert (tags["v"], tags["k"]) == ("DKIM1", kind)
        data = base64.b64decode(tags["p"], validate=True)
        assert (data in key.public_key().public_bytes_raw()) if kind == "ed25519" else len(data) > 256
    assert "[[dkim]]" in out
    before = file.read_bytes()
    assert run(home, *words) == 1
    assert "is there already; take a new selector" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert run(home, "keys", "dkim", "--domain", "my-dept.gov.in", "--selector", "g w") == 2
    assert run(home, "keys", "dkim", "--domain", "dept", "--selector", "gw2") == 2
    assert run(home, "keys", "dkim", "--domain", "dept.gov.in", "--selector", "gw2", "--type", "dsa") == 2


def test_a_selector_is_published_before_it_signs_and_the_list_says_which_is(home: Path) -> None:
    folder = home / "state" / "keys"
    files = {}
    for selector, kind in (("a", "rsa"), ("b", "ed25519"), ("c", "ed25519"), ("d", "ed25519"), ("e", "ed25519"), ("f", "ed25519")):
        files[selector] = folder / f"dkim-dept.gov.in_{selector}.pem"
        keys_dkim.make_key(files[selector], kind)
    loaded = Config(state_dir=home / "state", dkim=({"domain": "dept.gov.in", "selector": "a", "key_file": files["a"]},))
    records = {selector: keys_dkim.dns_record(file) for selector, file in files.items()}
    dns = {"a": [records["a"][:40] + " " + records["a"][40:], "spf"], "c": [records["b"]], "d": ["v=DKIM1; p="], "e": [records["e"]] * 2}

    def lookup(name: str) -> list[str]:
        selector = name.partition(".")[0]
        if selector == "f":
            raise keys_dkim.Unknown("timed out")
        return dns.get(selector, [])

    found = {row["selector"]: (row["used"], row["published"], row["type"]) for row in keys_dkim.rows(loaded, lookup)}
    assert found == {
        "a": (True, "yes", "rsa"), "b": (False, "no", "ed25519"), "c": (False, "another key", "ed25519"),
        "d": (False, "revoked (p= is empty)", "ed25519"), "e": (False, "twice: a selector has one record", "ed25519"),
        "f": (False, "unknown: timed out", "ed25519"),
    }  # fmt: skip


# --- paper ------------------------------------------------------------------------------------------------------------


def test_every_slip_of_a_pen_is_found_in_its_group() -> None:
    key = random.Random(5).randbytes(32)
    groups = escrow.groups(key)
    assert escrow.read(" ".join(groups)) == key
    assert escrow.read(" ".join(groups).lower().replace("0", "o").replace("1", "l").replace("-", "\u2013")) == key
    for key in (bytes(32), b"\xff" * 32, os.urandom(32)):
        assert escrow.read("\n".join(escrow.lines(key))) == key
    assert vault.key_id(key) not in " ".join(groups)
    for place, group in enumerate(groups):
        for at in (0, 1, 2, 3, 5, 6):
            for other in escrow.ALPHABET:
                if other != group[at]:
                    wrong = [*groups[:place], group[:at] + other + group[at + 1 :], *groups[place + 1 :]]
                    with pytest.raises(escrow.EscrowError, match=f"group {place + 1} is not as printed"):
                        escrow.read(" ".join(wrong))
        for at in range(3):
            swapped = group[:at] + group[at + 1] + group[at] + group[at + 2 :]
            if swapped != group:
                with pytest.raises(escrow.EscrowError, match=f"group {place + 1} is"):
                    escrow.read(" ".join([*groups[:place], swapped, *groups[place + 1 :]]))
    for one, two in itertools.combinations(range(13), 2):
        order = list(groups)
        order[one], order[two] = order[two], order[one]
        with pytest.raises(escrow.EscrowError, match=f"groups {one + 1}, {two + 1} are"):
            escrow.read(" ".join(order))
    with pytest.raises(escrow.EscrowError, match="13 groups"):
        escrow.read(" ".join(groups[:12]))


def test_a_key_is_printed_once_recorded_and_put_back(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(home, "keys", "init", "--escrow") == 0
    first = capsys.readouterr().out
    file = home / "state" / "keys" / "vault.key"
    key = vault.read_key(file)
    assert f"key id  {vault.key_id(key)}" in first
    assert all(group in first for group in escrow.groups(key))
    assert key.hex() not in first
    assert run(home, "keys", "escrow") == 1
    assert "was printed on" in capsys.readouterr().err
    assert run(home, "keys", "escrow", "--again") == 1, "and a reason"
    capsys.readouterr()
    assert run(home, "keys", "escrow", "--again", "--reason", "the safe burned") == 0
    capsys.readouterr()
    store = sqlite(home)
    acts = [(row["event"]["action"], row["event"]["reason"], row["gateway"]["act"]["key"]) for row in store]
    assert acts == [("key-escrow-printed", "", vault.key_id(key)), ("key-escrow-printed", "the safe burned", vault.key_id(key))]
    assert key.hex() not in json.dumps(store)

    paper = home / "paper.txt"
    paper.write_text("\n".join(line for line in first.splitlines() if ": " in line and "-" in line and line.startswith("  ")))
    file.unlink()
    wrong = paper.read_text().replace(escrow.groups(key)[3], "0000-00")
    (home / "wrong.txt").write_text(wrong)
    assert run(home, "keys", "recover", "--from", str(home / "wrong.txt")) == 1
    assert "group 4 is not as printed" in capsys.readouterr().err
    assert not file.exists()
    assert run(home, "keys", "recover", "--from", str(paper), "--id", "0" * 16) == 1
    assert run(home, "keys", "recover", "--from", str(paper), "--id", vault.key_id(key)) == 0
    assert vault.read_key(file) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [row["event"]["action"] for row in sqlite(home)][-1] == "key-recovered"


def sqlite(home: Path) -> list[dict[str, Any]]:
    async def read() -> list[dict[str, Any]]:
        store = SqliteStore(home / "state" / "gateway.db", read_only=True)
        await store.open()
        rows = [json.loads(row.line) for row in await store.audit_rows()]
        assert (await verify(store)).bad is None
        await store.close()
        return rows

    return asyncio.run(read())


# --- rotation ---------------------------------------------------------------------------------------------------------


async def filled(home: Path, count: int = 30) -> tuple[SqliteStore, Vault, list[str]]:
    """A store with bodies and sealed fields under the key of *home*, some held."""
    (home / "state").mkdir(mode=0o700, exist_ok=True)
    the_vault, _ = vault.load(config(home))
    store = SqliteStore(home / "state" / "gateway.db")
    await store.open(AuditChain("c1"))
    ids = []
    for _ in range(count):
        row = message()
        row = replace(row, subject=the_vault.seal_field(row.id, "tour"), details=the_vault.seal_field(row.id, "{}"))
        await store.write(Batch(bodies=[the_vault.seal(row.id, CONTENT, SHA)], messages=[row], holds=[hold(row)], audit=[event()]))
        ids.append(row.id)
    return store, the_vault, ids


async def test_O22_a_rotation_keeps_old_mail_readable_and_an_old_key_goes_when_nothing_needs_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gateway.keeper import rotation

    monkeypatch.setattr(rotation, "_PAGE", 7)
    monkeypatch.setattr(rotation, "_PAUSE", 0)
    monkeypatch.setattr(rotation, "_AGAIN", 0.01)
    store, the_vault, ids = await filled(home)
    old, words, pair = the_vault.current, the_vault.words_hash("SECRET"), the_vault.pair_hash("a@b.in", "c@d.in")
    thread = the_vault.thread_hash("message", b"root@dept.gov.in")
    place = home / "state" / "keys" / "vault.key"
    before, new = keys_vault._put_new(config(home), place, lost=False)
    assert before == old
    ring = Rotation(config(home), store, the_vault, lambda: 1.8e9)
    row = await ring.rotate("root")
    assert (row["key"], row["before"], row["keys"]) == (new, old, sorted((old, new)))
    assert the_vault.current == new
    assert the_vault.seal("x", CONTENT, SHA).key_id == new
    assert the_vault.words_hash("SECRET") == words, "equal words stay equal"
    assert the_vault.pair_hash("a@b.in", "c@d.in") == pair, "who wrote to whom is not forgotten"
    assert the_vault.thread_hash("message", b"root@dept.gov.in") == thread, "nor what a thread was marked"
    async with asyncio.timeout(20):
        while ring.under_way:
            body = await store.body(ids[0])
            assert body is not None
            assert the_vault.open(body) == CONTENT, "readable all the while"
            await asyncio.sleep(0)
    assert ring.resealed == 2 * len(ids)
    assert await store.needing_key(old, vault.field_prefix(old)) == (0, 0)
    assert await store.needing_key(new, vault.field_prefix(new)) == (30, 30)
    lonely = Vault({new: vault.read_key(place)}, new)
    for id in ids:
        body, found = await store.body(id), await store.message(id)
        assert body is not None
        assert found is not None
        assert lonely.open(body) == CONTENT
        assert lonely.open_field(id, found.subject) == b"tour"
    actions = [json.loads(row.line)["event"]["action"] for row in await store.audit_rows()]
    assert actions[-2:] == ["vault-key-rotated", "vault-key-rewrapped"]
    await store.close()
    assert await asyncio.to_thread(run, home, "keys", "retire", new) == 1
    assert "is the current vault key" in capsys.readouterr().err
    vault.make_key_file(home / "state" / "keys" / "audit-chain", b"c1\n")
    assert await asyncio.to_thread(run, home, "keys", "retire", old) == 0
    assert not list((home / "state" / "keys").glob("vault-*.key"))


async def test_O22_a_key_that_a_row_needs_is_not_retired(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, the_vault, _ = await filled(home, 3)
    await store.close()
    old = the_vault.current
    assert await asyncio.to_thread(run, home, "keys", "rotate-vault") == 0
    assert f"vault-{old}.key" in capsys.readouterr().out
    assert await asyncio.to_thread(run, home, "keys", "retire", old) == 1
    assert f"3 bodies and 3 sealed rows (subjects, remarks, secrets of codes) in the store need the key {old}" in capsys.readouterr().err
    assert (home / "state" / "keys" / f"vault-{old}.key").exists()
    both, _ = vault.load(config(home))
    assert both.ids == {old, both.current}
    assert both.current != old


async def test_O22_a_lost_or_broken_old_key_keeps_nobody_out_and_is_named(home: Path) -> None:
    store, the_vault, ids = await filled(home, 3)
    old = the_vault.current
    keys_vault._put_new(config(home), home / "state" / "keys" / "vault.key", lost=False)
    kept = home / "state" / "keys" / f"vault-{old}.key"
    kept.chmod(0o644)
    now, _ = vault.load(config(home))
    assert old not in now.ids
    assert "chmod 600" in now.problems[0]
    kept.unlink()
    (home / "state" / "keys" / "vault-broken.key").write_text("half a k")
    (home / "state" / "keys" / "vault-broken.key").chmod(0o600)
    now, _ = vault.load(config(home))
    assert "is not a vault key" in now.problems[0]
    body = await store.body(ids[0])
    assert body is not None
    with pytest.raises(VaultError, match=f"needs vault key {old}, which is not here; put it back with 'gateway keys recover'"):
        now.open(body)
    assert now.open(now.seal("n", CONTENT, SHA)) == CONTENT, "new mail flows"
    ring = Rotation(config(home), store, now, lambda: 1.8e9)
    assert await Rotation(config(home), store, the_vault, lambda: 1.8e9).look_for_lost() == 0
    assert await ring.look_for_lost() == 3
    wrong = [one.text for one in await asyncio.to_thread(lambda: list(check._store(config(home)))) if one.state == "wrong"]
    assert len(wrong) == 1 and f"3 bodies need vault key {old}" in wrong[0] and "gateway keys recover" in wrong[0]
    assert await ring._pass() == 0, "what cannot be opened is left as it is"
    assert ring.left == {old: 9}
    await store.close()


async def test_O22_a_key_that_another_node_seals_with_is_taken_as_soon_as_its_file_is_there(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, the_vault, ids = await filled(home, 2)
    ring = Rotation(config(home), store, the_vault, lambda: 1.8e9)
    new = vault.new_key_text()
    other = Vault({vault.key_id(bytes.fromhex(new.decode())): bytes.fromhex(new.decode())}, vault.key_id(bytes.fromhex(new.decode())))
    sealed, field = other.seal("n", CONTENT, SHA), other.seal_field("n", "tour")
    for opening in (lambda: the_vault.open(sealed), lambda: the_vault.open_field("n", field)):
        with pytest.raises(vault.KeyMissing, match=f"needs vault key {other.current}, which is not here"):
            opening()
        assert the_vault.missed == {other.current}
    passes: list[int] = []
    monkeypatch.setattr(ring, "_run", lambda: passes.append(1))
    for now in (0.0, 5.0, 10.0):
        the_vault.missed.add(other.current)
        await ring.look_again(now)
    assert ring.lacking == {other.current}
    assert not passes, "nothing new is there, so the store is not walked"
    await ring.look_again(11.0 + 1200.0)
    assert not ring.lacking, "nobody has asked for it since"
    with pytest.raises(VaultError):
        the_vault.open(sealed)
    vault.make_key_file(home / "state" / "keys" / f"vault-{other.current}.key", new)
    await ring.look_again(2000.0)
    assert not ring.lacking and passes
    assert the_vault.open(sealed) == CONTENT and the_vault.open_field("n", field) == b"tour"
    body = await store.body(ids[0])
    assert body is not None and the_vault.open(body) == CONTENT
    assert the_vault.current != other.current, "what seals here is as before"
    await store.close()


async def test_O22_a_rotation_that_would_lose_the_current_key_is_refused(home: Path) -> None:
    store, the_vault, _ = await filled(home, 1)
    (home / "state" / "keys" / "vault.key").write_bytes(vault.new_key_text())
    with pytest.raises(VaultError, match="is not among the keys that lie there"):
        await Rotation(config(home), store, the_vault, lambda: 1.8e9).rotate("root")
    assert len(the_vault.ids) == 1
    await store.close()


def test_O22_a_lost_current_key_stops_the_start_until_somebody_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(closed(home))
    (home / "state" / "keys" / "vault.key").unlink()
    with pytest.raises(VaultError, match="gateway keys rotate-vault --lost"):
        vault.load(config(home))
    assert run(home, "keys", "rotate-vault") == 1
    assert "--lost" in capsys.readouterr().err
    assert run(home, "keys", "rotate-vault", "--lost") == 0
    assert vault.load(config(home))[0].current
    assert "key-lost" in [row["event"]["action"] for row in sqlite(home)]
    assert run(home, "keys", "rotate-vault", "--lost") == 2


async def closed(home: Path) -> None:
    store, _, _ = await filled(home, 1)
    await store.close()


def test_a_credential_is_rotated_by_systemd_and_its_older_ones_are_read(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (home / "gateway.toml").open("a") as file:
        file.write('[vault]\ncredential = "vault-key"\n')
    assert run(home, "keys", "rotate-vault") == 0
    out = capsys.readouterr().out
    assert "gateway keys generate | systemd-creds encrypt --name=vault-key" in out
    assert run(home, "keys", "escrow") == 2
    (home / "creds").mkdir()
    for name, key in (("vault-key", b"\x01" * 32), ("vault-key-2026", b"\x02" * 32)):
        (home / "creds" / name).write_bytes(key)
        (home / "creds" / name).chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home / "creds"))
    found, _ = vault.load(Config(state_dir=home / "state", vault={"credential": "vault-key"}))
    assert found.ids == {vault.key_id(b"\x01" * 32), vault.key_id(b"\x02" * 32)}
    assert found.current == vault.key_id(b"\x01" * 32)


# --- the officer and the list -----------------------------------------------------------------------------------------


def test_the_officers_key_is_encrypted_and_stays_off_the_gateway(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "phrase").write_text("correct horse battery\n")
    (home / "phrase").chmod(0o600)
    files = ("--key-out", str(home / "usb.pem"), "--certificate-out", str(home / "officer.pem"), "--passphrase-file", str(home / "phrase"))
    inside = ("--key-out", str(home / "state" / "k.pem"), *files[2:])
    (home / "state").mkdir()
    assert run(home, "keys", "security-officer", *inside) == 2
    assert "must not stay on the gateway" in capsys.readouterr().err
    assert run(home, "keys", "security-officer", *files) == 0
    out = capsys.readouterr().out
    assert b"ENCRYPTED PRIVATE KEY" in (home / "usb.pem").read_bytes()
    with pytest.raises(TypeError):
        load_pem_private_key((home / "usb.pem").read_bytes(), None)
    shown = subprocess.run(
        ["openssl", "x509", "-in", home / "officer.pem", "-noout", "-fingerprint", "-sha256"], check=True, capture_output=True, text=True
    ).stdout
    assert shown.strip().rpartition("=")[2] in out
    assert [row["event"]["action"] for row in sqlite(home)][-1] == "officer-certificate-made"
    # The store that this made can be used: its vault key was made with it.
    assert run(home, "keys", "init") == 0
    capsys.readouterr()

    from gateway.vault import sealing

    sealed = sealing.load(home / "officer.pem").seal("a", CONTENT, SHA, 1.0)
    (home / "m.der").write_bytes(sealed.ciphertext)
    opened = subprocess.run(
        ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", home / "m.der", "-inkey", home / "usb.pem", "-passin",
         f"file:{home / 'phrase'}"], check=True, capture_output=True,
    )  # fmt: skip
    assert opened.stdout == CONTENT
    assert run(home, "keys", "security-officer", *files) == 1, "nothing is written over"
    (home / "phrase").write_text("short\n")
    assert run(home, "keys", "security-officer", "--key-out", str(home / "u2"), "--certificate-out", str(home / "c2"), *files[4:]) == 2


def test_a_certificate_that_cannot_be_sealed_to_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    openssl = ("openssl", "req", "-x509", "-nodes", "-keyout", str(home / "k.pem"), "-days", "2", "-subj", "/CN=x", "-newkey")
    for out, kind, extra, words in (
        ("sign.pem", "rsa:2048", ("-addext", "keyUsage=digitalSignature"), "not for encryption"),
        ("small.pem", "rsa:1024", (), "2048 or more"),
        ("ec.pem", "ec", ("-pkeyopt", "ec_paramgen_curve:P-256"), "RSA certificate is needed"),
    ):
        subprocess.run([*openssl, kind, "-out", str(home / out), *extra], check=True, capture_output=True)
        assert run(home, "keys", "security-officer", "--check", str(home / out)) == 1
        assert words in capsys.readouterr().err
    subprocess.run([*openssl, "rsa:2048", "-out", str(home / "good.pem")], check=True, capture_output=True)
    assert run(home, "keys", "security-officer", "--check", str(home / "good.pem")) == 0


def test_the_list_names_every_key_and_shows_none(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "keys", "init") == 0
    assert run(home, "keys", "rotate-vault") == 0
    assert run(home, "keys", "dkim", "--domain", "dept.gov.in", "--selector", "a", "--type", "ed25519") == 0
    capsys.readouterr()
    assert run(home, "keys", "list", "--json") == 0
    out = capsys.readouterr().out
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["key"] for row in rows] == ["vault", "vault", "evidence", "audit", "dkim"]
    assert all(row["mode"] == "0600" and row["days"] == 0 for row in rows)
    assert "not printed for escrow" in rows[0]["note"]
    assert rows[0]["id"] == vault.load(config(home))[0].current
    for file in (home / "state" / "keys").glob("*.key"):
        assert file.read_text().strip() not in out
    assert keys.listed(Config(state_dir=home / "none"))[0]["note"] == "missing"


async def test_O22_held_mail_whose_key_is_lost_says_so_and_still_ends(tmp_path: Path) -> None:
    """Shown with the reason, not released, refused with a report; what came after the loss opens as ever."""
    from gateway.ipc import Credentials
    from gateway.keeper.access import Who
    from gateway.keeper.accounts import ALL, Accounts
    from gateway.keeper.desk import Desk
    from gateway.keeper.logbook import Logbook
    from gateway.keeper.one_time import Logins
    from gateway.requests import ShowHeld
    from gateway.verdict import Disposition
    from tests import keeper_kit as kit

    room = await kit.Room(tmp_path).open()
    lost = Vault({"lost": b"\x09" * 32}, "lost")
    whole = room.vault._ring
    room.vault.adopt(lost)
    tx = kit.transaction()
    await room.commit(tx, kit.verdict(room.version, kit.recipient("desk@finance.nic.in", Disposition.HOLD)))
    room.vault._ring = whole
    after = kit.transaction()
    await room.commit(after, kit.verdict(room.version, kit.recipient("desk@finance.nic.in", Disposition.HOLD)))
    parts = (room.store, room.register, room.quarantine, Accounts(room.store), Logins(), Logbook(room.store))
    desk = Desk(*parts, *([None] * (len(Desk.__init__.__annotations__) - 1 - len(parts))))  # type: ignore[arg-type]
    shown = {}
    for one in (tx, after):
        answer, _ = await desk.answer(ShowHeld(one.reference), Credentials(1, os.geteuid(), 0))
        (shown[one.reference],) = answer.rows
    assert shown[tx.reference]["unreadable"] == "it needs vault key lost, which is not here; put it back from paper: gateway keys recover"
    assert shown[tx.reference]["subject"] == "(cannot be opened)"
    assert shown[after.reference]["unreadable"] == ""
    reviewer = Who("meera", "meera@dept.gov.in", "meera", grants=ALL)
    with pytest.raises(Wrong, match="needs vault key lost"):
        await room.quarantine.release(tx.reference, "urgent", (), reviewer)
    assert await room.quarantine.export(after.reference, "a look", reviewer) == CONTENT
    assert "refused" in await room.quarantine.refuse(tx.reference, "the key is lost", reviewer)
    await room.close()
