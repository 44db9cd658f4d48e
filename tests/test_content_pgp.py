"""OpenPGP, age, openssl enc, volumes and covers: what can be read is read, what a password opens is opened, nothing crashes."""

from __future__ import annotations

import base64
import random
import tomllib
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Limits
from gateway.encryption import age, cms_lock, covered, der, openssl_salted, pgp, pgp_armour, pgp_lock, pgp_packets, pgp_protection, volumes
from gateway.encryption.cms import extract as extract_cms
from gateway.extraction.base import Budget, Lock, OverLimit, Piece, Unreadable
from gateway.levels import Level
from gateway.protection import ProtectionState
from gateway.verdict import Inspection, LeafState
from tests.content_mail import attached, inspect, leaf, mail, text

FIXTURES = Path(__file__).parent / "fixtures"
CRYPTO, JS = FIXTURES / "crypto", FIXTURES / "openpgpjs"
PASSWORD = "Tulip-7-Jhelum"
NOTE = "annual budget"


def levels(found: Inspection) -> set[Level]:
    return {one.level for one in found.findings}


def packet(tag: int, body: bytes) -> bytes:
    return bytes((0xC0 | tag, 0xFF)) + len(body).to_bytes(4, "big") + body


def literal(content: bytes, name: bytes = b"") -> bytes:
    return packet(11, b"b" + bytes((len(name),)) + name + bytes(4) + content)


def armour(data: bytes, kind: str = "MESSAGE") -> bytes:
    return f"-----BEGIN PGP {kind}-----\n\n".encode() + base64.encodebytes(data) + f"-----END PGP {kind}-----\n".encode()


def lock_of(data: bytes, extract: Any = pgp.extract) -> Lock:
    lock = extract(Piece(data), Budget(Limits())).lock
    assert lock is not None
    return lock  # type: ignore[no-any-return]


class TestLocks:
    @pytest.mark.parametrize(
        "name",
        [
            *("aes256", "aes192", "aes", "cast5", "3des", "blowfish", "idea", "camellia128", "camellia192", "camellia256"),
            *("s2k-simple", "s2k-salted", "s2k-most", "s2k-sha512", "compress-none", "compress-zip", "compress-zlib", "compress-bzip2"),
            *("partial", "sed-cast5", "sed-aes256", "to-key-and-password"),
        ],
    )
    def test_E05_the_password_opens_what_gpg_closed(self, name: str) -> None:
        lock = lock_of((CRYPTO / f"{name}.gpg").read_bytes())
        assert lock.open("Tulip-7-Jhelun", Budget(Limits())) is None
        opened = lock.open(PASSWORD, Budget(Limits()))
        assert isinstance(opened, bytes)
        found = pgp.extract(Piece(opened), Budget(Limits()))
        assert found.state is LeafState.INSPECTED
        assert len(found.children) == 1
        assert found.children[0].data.startswith(b"CONFIDENTIAL") or name == "partial"

    @pytest.mark.parametrize("name", ["ocb", "gcm", "eax", "argon2"])
    def test_E05_and_what_openpgp_js_closed(self, name: str) -> None:
        lock = lock_of((JS / f"password-{name}.gpg").read_bytes())
        assert lock.open("wrong", Budget(Limits())) is None
        opened = lock.open(PASSWORD, Budget(Limits()))
        assert isinstance(opened, bytes)
        assert pgp.extract(Piece(opened), Budget(Limits())).children[0].data.startswith(b"CONFIDENTIAL")

    @pytest.mark.parametrize("name", ["pbkdf2", "sha256", "md5", "aes128", "des3", "ctr", "base64", "one-line"])
    def test_E05_openssl_enc(self, name: str) -> None:
        lock = lock_of((CRYPTO / f"enc-{name}.enc").read_bytes(), openssl_salted.extract)
        assert all(lock.open(wrong, Budget(Limits())) is None for wrong in ("", "wrong", PASSWORD + "x", "Tulip"))
        opened = lock.open(PASSWORD, Budget(Limits()))
        assert isinstance(opened, bytes)
        assert opened.startswith(b"CONFIDENTIAL")

    @pytest.mark.parametrize("name", ["cms-password", "cms-password-des3"])
    def test_E05_cms(self, name: str) -> None:
        lock = lock_of((CRYPTO / f"{name}.p7m").read_bytes(), extract_cms)
        assert lock.open("wrong", Budget(Limits())) is None
        opened = lock.open(PASSWORD, Budget(Limits()))
        assert isinstance(opened, bytes)
        assert opened.startswith(b"CONFIDENTIAL")

    def test_a_key_that_costs_too_much_or_has_a_broken_salt_is_not_tried(self) -> None:
        salt = base64.b64encode(bytes(16)).rstrip(b"=")
        data = (
            b"age-encryption.org/v1\n-> scrypt "
            + salt
            + b" 30\n"
            + base64.b64encode(bytes(32)).rstrip(b"=")
            + b"\n--- "
            + b"A" * 43
            + b"\n"
        )
        payload, cheap = random.Random(1).randbytes(500), data.replace(b" 30\n", b" 10\n")
        assert age.extract(Piece(data + payload), Budget(Limits())).lock is None
        assert age.extract(Piece(cheap + payload), Budget(Limits())).lock is not None
        odd = cheap.replace(salt, b"-" + salt[1:], 1)  # 21 letters that count: no base64 has that length
        assert age.extract(Piece(odd + payload), Budget(Limits())).lock is None
        body = bytes((4, 9, 4)) + bytes(16) + bytes((200, 1, 31))  # Argon2 with 2 TiB
        sealed = pgp_protection.Sealed((pgp_packets.Packet(3, body, 0, 0),), pgp_packets.Packet(18, b"\x01" + bytes(100), 0, 0))
        assert pgp_lock.decrypt(sealed, b"x") is None


class TestMessages:
    @pytest.mark.parametrize(
        "name",
        [
            "stored.gpg",
            "stored.asc",
            "signed.gpg",
            "signed.asc",
            "signed-bzip2.gpg",
            "signed-plain.gpg",
            "armour-over-stored.asc",
            "clearsigned.asc",
        ],
    )
    def test_E13_E14_what_is_not_encrypted_is_read(self, name: str) -> None:
        found = attached((CRYPTO / name).read_bytes(), name)
        assert Level.CONFIDENTIAL in levels(found)
        assert NOTE in text(found)
        assert all(one.protection.state is ProtectionState.NONE for one in found.leaves)

    def test_E14_names_notes_and_photos_of_keys_are_read(self) -> None:
        assert "Clerk" in text(attached((CRYPTO / "key.pgp").read_bytes(), "key.pgp"))
        hidden = packet(6, b"\x04" + bytes(10)) + packet(13, "गोपनीय note TOP SECRET".encode()) + packet(17, b"\x12\x01" + bytes(17))
        found = attached(hidden, "key.pgp")
        assert "TOP SECRET" in text(found)
        large = packet(6, b"\x04" + bytes(30_000))
        assert leaf(attached(large, "key.pgp")).state is LeafState.SUSPECT

    def test_E14_words_hidden_among_the_numbers_of_a_signature(self) -> None:
        signature = (CRYPTO / "detached.sig").read_bytes()
        at = len(signature) - 40
        found = attached(signature[:at] + b"TOP SECRET plans" + signature[at + 16 :], "a.sig", "application/pgp-signature")
        assert "TOP SECRET" in text(found)

    @pytest.mark.parametrize("name", ["fake-plain.gpg", "fake-stored.gpg", "fake-sed.gpg", "cms-fake-plain.p7m", "fake.age"])
    def test_E15_E21_what_pretends_is_read(self, name: str) -> None:
        found = attached((CRYPTO / name).read_bytes(), name)
        assert NOTE in text(found)
        assert leaf(found).state is LeafState.SUSPECT

    def test_E15_the_data_behind_a_message_is_read(self) -> None:
        found = attached((CRYPTO / "junk-behind.gpg").read_bytes(), "a.gpg")
        assert levels(found) == {Level.TOP_SECRET}

    def test_E15_encrypted_to_nobody(self) -> None:
        found = leaf(attached((CRYPTO / "to-nobody.gpg").read_bytes(), "a.gpg"))
        assert "nobody" in found.reason

    def test_E24_blocks_between_lines_are_leaves_of_their_own(self) -> None:
        found = attached((CRYPTO / "between-lines.txt").read_bytes(), "letter.txt", "text/plain")
        assert leaf(found).protection.state is ProtectionState.NONE
        assert any(one.protection.state is ProtectionState.STRONG for one in found.leaves)
        assert levels(found) == {Level.TOP_SECRET}

    def test_E14_a_message_in_the_armour_of_a_signature_in_a_body(self) -> None:
        hidden = armour(packet(8, b"\x02" + zlib.compress(literal(b"TOP SECRET\n\nplans\n"))), "SIGNATURE")
        body = b"Dear Sir,\n\n" + hidden + b"\nregards\n"
        found = attached(body, "letter.txt", "text/plain")
        assert Level.TOP_SECRET in levels(found)

    def test_E14_a_bomb_and_a_nest_end_at_a_limit(self) -> None:
        bomb = packet(8, b"\x02" + zlib.compress(literal(bytes(40_000_000))))
        found = leaf(attached(bomb, "a.gpg"))
        assert (found.state, "limit" in found.reason) == (LeafState.SUSPECT, True)
        nest = literal(b"words")
        for _ in range(20):
            nest = packet(8, b"\x01" + _deflate(nest))
        assert leaf(attached(nest, "a.gpg")).state is LeafState.SUSPECT

    def test_E23_a_clear_file_among_encrypted_ones(self) -> None:
        strong = (CRYPTO / "aes256.gpg").read_bytes()
        head = 'Content-Type: application/octet-stream; name="{0}.gpg"\r\nContent-Disposition: attachment; filename="{0}.gpg"\r\n'
        data = "Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(strong).decode().replace("\n", "\r\n")
        parts = "".join(f"--b1\r\n{head.format(number)}{data}" for number in range(20))
        message = mail(b"TOP SECRET\n\nplans\n", "clear.txt", body="SECRET\n\ntext").replace(b"--b1--\r\n", parts.encode() + b"--b1--\r\n")
        found = inspect(message)
        states = [one.protection.state for one in found.leaves if one.is_attachment]
        assert states.count(ProtectionState.STRONG) == 20
        assert states.count(ProtectionState.NONE) == 1
        assert Level.TOP_SECRET in levels(found)


def _deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


class TestMultipart:
    def parts(self, kind: str, *parts: tuple[str, bytes]) -> bytes:
        body = b"".join(b"--b1\r\nContent-Type: " + kind_.encode() + b"\r\n\r\n" + data + b"\r\n" for kind_, data in parts)
        return (
            b"From: a@example.gov.in\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: "
            + kind.encode()
            + b"\r\n\r\n"
            + body
            + b"--b1--\r\n"
        )

    ENCRYPTED = 'multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b1'

    def test_E17_M12_plain_text_in_a_multipart_encrypted(self) -> None:
        for second in ("application/octet-stream", "text/plain", "application/pgp-encrypted"):
            message = self.parts(self.ENCRYPTED, ("application/pgp-encrypted", b"Version: 1"), (second, b"SECRET\r\n\r\nplans of the note"))
            found = inspect(message)
            assert Level.SECRET in levels(found)
            assert all(one.protection.state is ProtectionState.NONE for one in found.leaves)

    def test_E17_M12_a_protocol_that_does_not_fit_changes_nothing(self) -> None:
        message = armour((CRYPTO / "aes256.gpg").read_bytes()).replace(b"\n", b"\r\n")
        for protocol in ("application/pkcs7-mime", "x/y", "application/pgp-encrypted"):
            kind = f'multipart/encrypted; protocol="{protocol}"; boundary=b1'
            found = inspect(self.parts(kind, ("application/pgp-encrypted", b"Version: 1"), ("application/octet-stream", message)))
            assert [one.protection.state for one in found.leaves if one.path == "2"] == [ProtectionState.STRONG]
        stored = armour((CRYPTO / "stored.gpg").read_bytes()).replace(b"\n", b"\r\n")
        found = inspect(self.parts(self.ENCRYPTED, ("application/pgp-encrypted", b"Version: 1"), ("application/octet-stream", stored)))
        assert Level.CONFIDENTIAL in levels(found)

    @pytest.mark.parametrize("name", ["armoured.asc", "cms.pem"])
    def test_E18_an_encrypted_part_between_html(self, name: str) -> None:
        closed = (CRYPTO / name).read_bytes().replace(b"\n", b"\r\n")
        kind = "multipart/mixed; boundary=b1"
        begun = ("text/html", b'<html><img src="http://collector.example/')
        ended = ("text/html", b'">end</html>')
        for parts in ((begun, ("application/octet-stream", closed), ended), (begun, ("application/octet-stream", closed))):
            assert any("encrypted part" in why for why in inspect(self.parts(kind, *parts)).ambiguity)
        ordinary = (("text/html", b"<html><p>See the file.</p></html>"), ("application/octet-stream", closed))
        assert inspect(self.parts(kind, *ordinary)).ambiguity == ()
        footer = ("text/html", b"<p>This list is run by the department.</p>")
        assert inspect(self.parts(kind, *ordinary, footer)).ambiguity == ()

    def test_E18_a_block_within_a_tag(self) -> None:
        page = b'<html><img src="http://collector.example/' + (CRYPTO / "armoured.asc").read_bytes() + b'"></html>'
        found = inspect(b"From: a@example.gov.in\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n" + page.replace(b"\n", b"\r\n"))
        assert found.leaves[0].state is LeafState.SUSPECT
        assert "within a tag" in found.leaves[0].reason


class TestArmour:
    def test_quoted_blank_and_broken_lines(self) -> None:
        data = random.Random(1).randbytes(300)
        for form in (
            armour(data), armour(data).replace(b"\n", b"\r\n"), b"words\n" + armour(data), armour(data).replace(b"\n", b"\n> "),
            armour(data).replace(b"MESSAGE-----\n\n", b"MESSAGE-----\nVersion: X 1\nComment: y\n\n"),
            armour(data).replace(b"MESSAGE-----\n\n", b"MESSAGE-----\n", 1),
            armour(data).replace(b"MESSAGE-----\n\n", b"MESSAGE-----   \n \n", 1), armour(data).replace(b"-----END PGP MESSAGE-----", b""),
        ):  # fmt: skip
            blocks = pgp_armour.find(form)
            assert [block.data for block in blocks] == [data]

    def test_several_and_the_whole(self) -> None:
        two = armour(b"a" * 30) + armour(b"b" * 30, "SIGNATURE")
        assert [(block.kind, block.data[:1]) for block in pgp_armour.find(two)] == [("MESSAGE", b"a"), ("SIGNATURE", b"b")]
        assert pgp_armour.whole(two) is None
        assert pgp_armour.whole(b"\n" + armour(b"a" * 30) + b"\n\n") is not None
        assert pgp_armour.whole(armour(b"a" * 30) + b"TOP SECRET") is None

    def test_many_beginnings_are_linear(self) -> None:
        assert len(pgp_armour.find(b"-----BEGIN PGP MESSAGE-----\n" * 200_000)) == pgp_armour.MOST


class TestCovers:
    @pytest.mark.parametrize(
        "name", ["base64.enc", "hex.enc", "rot13.gpg", "reversed.aes", "inverted.p7m", "xored.crypt", "enc-over-text.enc"]
    )
    def test_E13_E20_E21_plain_content_is_found(self, name: str) -> None:
        found = attached((CRYPTO / name).read_bytes(), name)
        assert Level.CONFIDENTIAL in levels(found)
        assert all(one.protection.state is ProtectionState.NONE for one in found.leaves)

    def test_E20_short_words_are_looked_for_in_each_reading(self) -> None:
        for data in (b"GBC FRPERG\n", b"TERCES POT\n"):
            assert Level.TOP_SECRET in levels(attached(data, "a.enc"))

    def test_E19_only_noise_is_unverifiable(self) -> None:
        noise = random.Random(1).randbytes(5_000)
        assert leaf(attached(noise, "a.bin")).protection.state is ProtectionState.UNVERIFIABLE
        for plain in (bytes(5_000), bytes(range(256)) * 20, b"\x00\x01\x02\x03" * 200):
            assert leaf(attached(plain, "a.bin")).protection.state is ProtectionState.NONE

    def test_E20_hexadecimal_in_a_plain_text(self) -> None:
        words = b"CONFIDENTIAL\n\nThe note is put up for approval.\n"
        for form in (words.hex().encode(), words.hex(":").encode(), words.hex(" ").upper().encode(), b"0x" + words.hex().encode()):
            assert Level.CONFIDENTIAL in levels(attached(form, "note.txt", "text/plain"))
        for numbers in (b"9812345678\n9876543210\n" * 50, b"10:30 11:45\n" * 20, b"cafe babe dead beef\n" * 5):
            assert leaf(attached(numbers, "list.txt", "text/plain")).state is LeafState.INSPECTED

    def test_ordinary_text_has_no_cover(self) -> None:
        words = b"The note on the annual budget is put up for the approval of the Secretary. " * 5
        assert covered.extract(Piece(words, "a.enc"), Budget(Limits())).state is LeafState.INSPECTED
        assert not covered.claims(Piece(words, "a.txt"), words)
        hindi = "वार्षिक बजट पर टिप्पणी अनुमोदन हेतु प्रस्तुत है। ".encode() * 5
        assert not covered.claims(Piece(hindi, "a.txt"), hindi)


def _readers() -> list[Any]:
    return [
        pgp.extract,
        pgp.extract_signature,
        age.extract,
        openssl_salted.extract,
        volumes.extract,
        covered.extract,
        covered.extract_unknown,
        extract_cms,
    ]


SEEDS = [path.read_bytes()[:4000] for folder in (CRYPTO, JS) for path in sorted(folder.iterdir()) if path.suffix not in (".toml", ".eml")]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A file of a real tool with octets changed, cut out or put in."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        if not data:
            break
        at = draw(st.integers(0, min(len(data) - 1, 300)))
        match draw(st.integers(0, 2)):
            case 0:
                data[at] = draw(st.integers(0, 255))
            case 1:
                del data[at : at + draw(st.integers(1, 200))]
            case _:
                data[at:at] = draw(st.binary(max_size=20))
    return bytes(data)


@pytest.mark.parametrize("reader", _readers(), ids=lambda reader: f"{reader.__module__.rpartition('.')[2]}.{reader.__name__}")
@settings(max_examples=80, deadline=None)
@given(data=st.one_of(damaged(), st.binary(max_size=300)))
def test_a_reader_reads_or_raises_the_one_error(reader: Any, data: bytes) -> None:
    limits = Limits()
    try:
        found = reader(Piece(data, "a.enc"), Budget(limits))
    except (Unreadable, OverLimit):
        return
    if found.protection.state is ProtectionState.STRONG:
        assert found.state in (LeafState.OPAQUE, LeafState.SUSPECT)
    if found.lock is not None and found.lock.seconds < 0.02:
        assert found.lock.open("wrong", Budget(limits)) is None or reader is extract_cms


@settings(max_examples=200, deadline=None)
@given(data=st.one_of(damaged(), st.binary(max_size=300)))
def test_packets_armour_and_headers_are_read_or_refused(data: bytes) -> None:
    pgp.begins(data)
    pgp.is_signature(data)
    for block in pgp_armour.find(data):
        assert data[block.start : block.end]
    for read in (pgp_packets.read, age.read, lambda octets: list(pgp_packets.subpackets(octets)), lambda octets: list(der.read(octets))):
        try:
            read(data)
        except Unreadable:
            continue
    try:
        for node in der.read(data):
            cms_lock.lock(node)
    except Unreadable:
        return


def test_every_case_of_the_corpus_has_its_file() -> None:
    for folder in (CRYPTO, JS):
        cases = tomllib.loads((folder / "protection.toml").read_text("utf-8"))["case"]
        assert {case.get("file") or case["message"] for case in cases} == {
            path.name for path in folder.iterdir() if path.suffix != ".toml"
        } - ({"ecdh.key.pgp"} if folder is JS else set())
