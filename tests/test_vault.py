"""The vault: nothing in the clear at rest, nothing opened that is not what was sealed."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from gateway.config import Config
from gateway.config import Vault as VaultConfig
from gateway.stores.base import Batch
from gateway.stores.sqlite.store import SqliteStore
from gateway.vault import sealing, vault
from gateway.vault.vault import Vault, VaultError
from tests.keeper_kit import CONTENT, PlainChain, body, make_vault, message


def test_content_comes_back(tmp_path: Path) -> None:
    for content in (b"", b"x", CONTENT, os.urandom(2_000_000)):
        row = body("id1", content)
        assert content == make_vault().open(row)
        assert len(content) < 8 or content not in row.ciphertext


def test_two_bodies_with_the_same_content_look_unlike() -> None:
    one, two = body("a"), body("b")
    assert one.ciphertext != two.ciphertext
    assert one.wrapped_key[12:] != two.wrapped_key[12:]


def test_P18_contents_of_two_rows_cannot_be_swapped() -> None:
    one, two = body("a"), body("b")
    with pytest.raises(VaultError, match="damaged"):
        make_vault().open(replace(one, ciphertext=two.ciphertext))
    with pytest.raises(VaultError, match="damaged"):
        make_vault().open(replace(two, id="a"))
    with pytest.raises(VaultError, match="damaged"):
        make_vault().open(replace(one, ciphertext=two.ciphertext, nonce=two.nonce, wrapped_key=two.wrapped_key))


def test_O20_every_flipped_bit_is_seen() -> None:
    row = body("a", CONTENT[:40])
    for name in ("ciphertext", "wrapped_key", "nonce"):
        data = getattr(row, name)
        for place in range(len(data)):
            bad = bytearray(data)
            bad[place] ^= 1 << (place % 8)
            with pytest.raises(VaultError, match="damaged"):
                make_vault().open(replace(row, **{name: bytes(bad)}))
        with pytest.raises(VaultError, match="damaged"):
            make_vault().open(replace(row, **{name: data[:-1]}))
    with pytest.raises(VaultError, match="hash"):
        make_vault().open(replace(row, sha256="0" * 64))
    with pytest.raises(VaultError, match="hash"):
        make_vault().open(replace(row, size=39))


def test_O22_an_old_key_opens_and_a_lost_one_is_named() -> None:
    old, new = b"\x01" * 32, b"\x02" * 32
    row = Vault({"old": old}, "old").seal("a", CONTENT, body("a").sha256)
    field = Vault({"old": old}, "old").seal_field("a", "text")
    both = Vault({"old": old, "new": new}, "new")
    assert both.open(row) == CONTENT
    assert both.open_field("a", field) == b"text"
    assert both.seal("b", CONTENT, row.sha256).key_id == "new"
    with pytest.raises(VaultError, match="needs vault key old"):
        Vault({"new": new}, "new").open(row)
    with pytest.raises(VaultError, match="needs vault key old"):
        Vault({"new": new}, "new").open_field("a", field)


def test_fields_are_bound_to_their_row() -> None:
    the_vault = make_vault()
    sealed = the_vault.seal_field("m1", "विषय")
    assert the_vault.open_field("m1", sealed).decode() == "विषय"
    with pytest.raises(VaultError):
        the_vault.open_field("m2", sealed)
    with pytest.raises(VaultError):
        the_vault.open_field("m1", sealed[:-1])
    with pytest.raises(VaultError):
        the_vault.open_field("m1", b"\xff")
    assert the_vault.open_field("m1", the_vault.seal_field("m1", "")) == b""
    assert the_vault.open_field("m1", the_vault.seal_field("m1", "a\udc80b")) == b"a\x80b"


def test_words_hash_is_keyed() -> None:
    one, other = make_vault(), Vault({"k1": b"\x08" * 32}, "k1")
    assert one.words_hash("CONFIDENTIAL") == one.words_hash("CONFIDENTIAL")
    assert one.words_hash("CONFIDENTIAL") != one.words_hash("SECRET")
    assert one.words_hash("CONFIDENTIAL") != other.words_hash("CONFIDENTIAL")


# --- where the key comes from -----------------------------------------------------------------------------------------


def config(folder: Path, **options: object) -> Config:
    return Config(state_dir=folder, **options)  # type: ignore[arg-type]


def test_a_key_is_made_once_and_only_for_us(tmp_path: Path) -> None:
    first, made = vault.load(config(tmp_path))
    assert made
    file = tmp_path / "keys" / "vault.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    second, made = vault.load(config(tmp_path))
    assert not made
    row = first.seal("a", CONTENT, body("a").sha256)
    assert second.open(row) == CONTENT
    assert list(file.parent.iterdir()) == [file], "nothing half-written stays"
    with pytest.raises(FileExistsError):
        vault.make_key_file(file, b"other")
    assert vault.load(config(tmp_path))[0].open(row) == CONTENT


def test_a_lost_key_is_not_replaced_beside_a_store(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_bytes(b"x")
    with pytest.raises(VaultError, match="put the key back"):
        vault.load(config(tmp_path))


def test_O17_keys_from_files_and_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "my.key"
    with pytest.raises(VaultError, match=r"my\.key"):
        vault.load(config(tmp_path, vault=VaultConfig(key_file=key)))
    key.write_bytes(b"too short")
    key.chmod(0o600)
    with pytest.raises(VaultError, match="32 octets"):
        vault.load(config(tmp_path, vault=VaultConfig(key_file=key)))
    key.write_bytes(b"\x05" * 32)
    assert vault.load(config(tmp_path, vault=VaultConfig(key_file=key)))[0].current == vault.key_id(b"\x05" * 32)
    key.chmod(0o644)
    with pytest.raises(VaultError, match="chmod 600"):
        vault.load(config(tmp_path, vault=VaultConfig(key_file=key)))
    named = config(tmp_path, vault=VaultConfig(credential="vault-key"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(VaultError, match="CREDENTIALS_DIRECTORY"):
        vault.load(named)
    (tmp_path / "creds").mkdir()
    (tmp_path / "creds" / "vault-key").write_text("06" * 32 + "\n")
    (tmp_path / "creds" / "vault-key").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "creds"))
    assert vault.load(named)[0].current == vault.key_id(b"\x06" * 32)


def test_older_keys_are_read_too(tmp_path: Path) -> None:
    first, _ = vault.load(config(tmp_path))
    row = first.seal("a", CONTENT, body("a").sha256)
    (tmp_path / "keys" / "vault.key").rename(tmp_path / "keys" / "vault-2026.key")
    second, made = vault.load(config(tmp_path))
    assert made
    assert second.current != first.current
    assert second.open(row) == CONTENT


# --- at rest ----------------------------------------------------------------------------------------------------------


async def test_P18_the_store_files_hold_no_plaintext(tmp_path: Path) -> None:
    the_vault = make_vault()
    store = SqliteStore(tmp_path / "gateway.db")
    await store.open(PlainChain())
    words = b"the heron flies at midnight"
    for _ in range(50):
        row = message()
        row = replace(row, subject=the_vault.seal_field(row.id, words), details=the_vault.seal_field(row.id, words))
        await store.write(Batch(bodies=[body(row.id, words * 300)], messages=[row]))
    for closed in (False, True):
        if closed:
            await store.close()
        files = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert sum(file.stat().st_size for file in files) > 300_000
        for file in files:
            data = file.read_bytes()
            assert b"heron" not in data, file
            assert bytes.fromhex("07" * 32) not in data


# --- sealing to the security officer ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def officer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("officer")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
         "-days", "2", "-subj", "/CN=Security Officer"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_sealed_mail_opens_with_openssl_and_the_officers_key_only(officer: Path, tmp_path: Path) -> None:
    content = CONTENT + bytes(range(256)) + b"\n.\r\nlast"
    row = sealing.load(officer / "cert.pem").seal("a", content, "0" * 64, 1.0)
    assert row.sealed
    assert row.wrapped_key == b""
    assert CONTENT[10:30] not in row.ciphertext
    (tmp_path / "m.der").write_bytes(row.ciphertext)
    shown = subprocess.run(
        ["openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", tmp_path / "m.der"], check=True, capture_output=True, text=True
    ).stdout
    assert "aes-256-cbc" in shown
    opened = subprocess.run(
        ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", tmp_path / "m.der", "-inkey", officer / "key.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    assert opened.stdout == content
    with pytest.raises(VaultError, match="security officer"):
        make_vault().open(row)


def test_certificates_that_cannot_seal_are_refused(tmp_path: Path) -> None:
    with pytest.raises(sealing.SealingError, match=r"none\.pem"):
        sealing.load(tmp_path / "none.pem")
    (tmp_path / "bad.pem").write_text("not a certificate")
    with pytest.raises(sealing.SealingError, match="not a PEM certificate"):
        sealing.load(tmp_path / "bad.pem")
    import datetime

    from cryptography.hazmat.primitives.serialization import Encoding

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / "ec.pem").write_bytes(made.public_bytes(Encoding.PEM))
    with pytest.raises(sealing.SealingError, match="RSA"):
        sealing.load(tmp_path / "ec.pem")


def test_hashes_of_a_thread_made_together_are_those_made_one_by_one() -> None:
    vault = make_vault()
    values = [b"", b"passage1", b"passage2", b"x" * 200, b"passage1"]
    for kind in ("message", "passage"):
        assert vault.thread_hashes(kind, values) == [vault.thread_hash(kind, one) for one in values]
    assert vault.thread_hashes("passage", []) == []
