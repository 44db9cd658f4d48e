"""Signed mail passes unharmed and is read; what is encrypted is weighed by what it is, not by what it says."""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.config import Limits
from gateway.encryption import cms, der, pgp
from gateway.extraction.base import Budget, Piece, Unreadable
from gateway.levels import Level
from gateway.message.edits import apply
from gateway.message.prescan import canonical
from gateway.protection import ProtectionState
from gateway.verdict import Edit, Inspection, LeafState, Zone
from tests.content_mail import CORPUS, attached, inspect, leaf, mail, sample

CRYPTO = Path(__file__).parent / "fixtures" / "crypto"

SIGNED, DATA, ENVELOPED = "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.3"


def message(name: str) -> Inspection:
    return inspect(canonical((CORPUS / name).read_bytes()))


def levels(found: Inspection) -> set[Level]:
    return {one.level for one in found.findings}


def tlv(tag: int, *content: bytes) -> bytes:
    body = b"".join(content)
    if len(body) < 128:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + body


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = bytearray((40 * first + second,))
    for number in rest:
        groups = [number & 127]
        while number := number >> 7:
            groups.append(number & 127 | 128)
        out += bytes(reversed(groups))
    return tlv(6, bytes(out))


def signed_data(content: bytes | None = None, *, certificates: bytes = b"", attributes: bytes = b"", unsigned: bytes = b"") -> bytes:
    """SignedData as a hand may write it; nobody checks its signature here."""
    wrapped = tlv(0x30, oid(DATA), *((tlv(0xA0, tlv(4, content)),) if content is not None else ()))
    signer = tlv(
        0x30,
        tlv(2, b"\1"),
        tlv(0x30, tlv(0x30), tlv(2, b"\1")),
        tlv(0x30, oid("2.16.840.1.101.3.4.2.1")),
        *((tlv(0xA0, attributes),) if attributes else ()),
        tlv(0x30, oid("1.2.840.113549.1.1.1")),
        tlv(4, bytes(256)),
        *((tlv(0xA1, unsigned),) if unsigned else ()),
    )
    fields = [tlv(2, b"\1"), tlv(0x31, tlv(0x30, oid("2.16.840.1.101.3.4.2.1"))), wrapped]
    if certificates:
        fields.append(tlv(0xA0, certificates))
    return tlv(0x30, oid(SIGNED), tlv(0xA0, tlv(0x30, *fields, tlv(0x31, signer))))


def multipart_signed(signature: bytes, body: bytes = b"The papers are enclosed.", kind: str = "pkcs7-signature") -> bytes:
    name = "smime.p7s" if "pkcs7" in kind else "signature.asc"
    return canonical(
        b"From: officer@dept.gov.in\nTo: desk@finance.nic.in\nSubject: Papers\nMIME-Version: 1.0\n"
        b'Content-Type: multipart/signed; protocol="application/' + kind.encode() + b'"; micalg=sha-256; boundary=B\n\n'
        b"--B\nContent-Type: text/plain; charset=us-ascii\n\n" + body + b"\n--B\nContent-Type: application/" + kind.encode()
        + b'; name="' + name.encode() + b'"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment\n\n'
        + base64.encodebytes(signature) + b"--B--\n"
    )  # fmt: skip


class TestDetached:
    def test_M30_signed_mail_is_read_in_full(self) -> None:
        found = message("smime-detached.eml")
        assert found.ambiguity == ()
        assert [(one.path, one.state, one.reason, one.is_attachment) for one in found.leaves] == [
            ("1", LeafState.INSPECTED, "", False),
            ("2:smime.p7s", LeafState.INSPECTED, "", False),
        ]
        assert found.leaves[1].media_type == "application/pkcs7-signature"
        assert found.headers.signed
        assert found.findings == ()

    def test_a_marking_in_signed_content_is_found(self) -> None:
        found = message("smime-detached-marked.eml")
        assert [(one.level, one.path) for one in found.findings] == [(Level.CONFIDENTIAL, "1")]

    def test_M30_a_signature_that_holds_content_is_opened(self) -> None:
        found = inspect(multipart_signed(signed_data(b"Content-Type: text/plain\r\n\r\nSECRET\r\n\r\nnote\r\n")))
        assert levels(found) == {Level.SECRET}
        assert [one.path for one in found.leaves] == ["1", "2:smime.p7s", "2:smime.p7s/signed", "2:smime.p7s/signed/1"]
        assert all(one.is_attachment for one in found.leaves[1:])

    @pytest.mark.parametrize(
        ("signature", "words"),
        [
            (signed_data(certificates=tlv(0x30, bytes(20_000))), "larger or more than any"),
            (signed_data(certificates=tlv(4, b"TOP SECRET")), "larger or more than any"),
            (signed_data(unsigned=tlv(0x30, oid("1.2.3.4"), tlv(0x31, tlv(4, bytes(9000))))), "attribute that is larger"),
            (signed_data(unsigned=tlv(0x30, oid("1.2.3.4"), tlv(0x31, tlv(4, b"%PDF-1.7 x")))), "document in it"),
            (signed_data(certificates=tlv(0x30, bytes(1000)) * 250), "larger than any"),
            (signed_data() + tlv(4, b"%PDF-1.7"), "other data behind its end"),
            (signed_data() + b"%PDF-1.7", "cut off"),
            (signed_data()[:-3], "cut off"),
            (b"\x30\x80" + oid(SIGNED) + b"\xa0\x80" + b"\x30\x80" * 300_000, "deeper"),
            (b"\x30\x80" + oid(SIGNED) + b"\xa0\x80" + b"\x02\x01\x01" * 300_000, "broken"),
            (tlv(0x30, oid(SIGNED), tlv(0xA1, bytes(40))), "without content"),
        ],
        ids=lambda value: value[:20] if isinstance(value, str) else "",
    )
    def test_what_has_room_for_more_is_suspect(self, signature: bytes, words: str) -> None:
        found = inspect(multipart_signed(signature))
        last = found.leaves[1]
        assert last.state is LeafState.SUSPECT
        assert words in last.reason

    def test_other_things_called_a_signature_are_what_they_are(self) -> None:
        found = inspect(multipart_signed((CORPUS / "note.docx").read_bytes()))
        assert found.leaves[1].media_type.endswith("wordprocessingml.document")
        assert found.leaves[1].is_attachment
        assert inspect(multipart_signed(b"\x00\x01\x02\x03" * 200)).leaves[1].state is LeafState.SUSPECT

    def test_the_label_among_the_signed_attributes(self) -> None:
        label = tlv(0x31, oid("1.3.6.1.4.1.1"), tlv(2, bytes((Level.RESTRICTED.ess,))))
        attributes = tlv(0x30, oid("1.2.840.113549.1.9.16.2.2"), tlv(0x31, label))
        found = inspect(multipart_signed(signed_data(attributes=attributes)))
        assert [(one.level, one.zone) for one in found.findings] == [(Level.RESTRICTED, Zone.PROPERTY)]


class TestOpaque:
    def test_M30_the_content_is_opened(self) -> None:
        found = message("smime-opaque-marked.eml")
        assert [(one.path, one.state) for one in found.leaves] == [
            ("1:smime.p7m", LeafState.INSPECTED),
            ("1:smime.p7m/signed", LeafState.INSPECTED),
            ("1:smime.p7m/signed/1", LeafState.INSPECTED),
        ]
        assert [(one.level, one.path) for one in found.findings] == [(Level.CONFIDENTIAL, "1:smime.p7m/signed/1")]
        assert not any(one.is_attachment for one in found.leaves)  # it is the body of this message
        assert found.headers.signed

    @pytest.mark.parametrize("name", ["smime-opaque.p7m", "smime-opaque-stream.p7m", "smime-opaque.pem", "smime-data.p7m"])
    def test_E13_every_form_of_it(self, name: str) -> None:
        found = sample(name)
        assert Level.CONFIDENTIAL in levels(found)
        assert leaf(found).state is LeafState.INSPECTED
        assert leaf(found).protection.state is ProtectionState.NONE
        assert all(one.is_attachment for one in found.leaves if one.path.startswith("2"))

    def test_a_signed_document(self) -> None:
        found = sample("smime-opaque-pdf.p7m")
        assert [one.media_type for one in found.leaves][1:] == ["application/pkcs7-mime", "application/pdf"]
        assert Level.CONFIDENTIAL in levels(found)
        office = attached(signed_data((CORPUS / "note.docx").read_bytes()), "note.docx.p7m")
        assert [one.name for one in office.leaves][1:3] == ["note.docx.p7m", "note.docx"]
        assert Level.CONFIDENTIAL in levels(office)

    def test_signed_over_encrypted(self) -> None:
        found = message("smime-signed-over-enveloped.eml")
        assert [one.state for one in found.leaves] == [LeafState.INSPECTED, LeafState.INSPECTED, LeafState.OPAQUE]
        assert found.leaves[2].protection.state is ProtectionState.STRONG

    def test_layers_without_end_are_over_a_limit(self) -> None:
        data = b"Content-Type: text/plain\r\n\r\nSECRET\r\n"
        for _ in range(20):
            data = signed_data(data)
        found = attached(data, "a.p7m")
        assert any(one.state is LeafState.SUSPECT and "limit" in one.reason for one in found.leaves)


class TestEncrypted:
    @pytest.mark.parametrize(
        "name", ["smime-aes-256-cbc.p7m", "smime-aes-256-gcm.p7m", "smime-aes-256-stream.p7m", "smime-encrypted-data.p7m", "smime-ecdh.p7m"]
    )
    def test_E22_strong(self, name: str) -> None:
        found = leaf(sample(name))
        assert (found.state, found.protection.state, found.protection.bits) == (LeafState.OPAQUE, ProtectionState.STRONG, 256)

    @pytest.mark.parametrize(
        ("name", "cipher"),
        [
            ("smime-aes-128-cbc.p7m", "AES-128-CBC"), ("smime-aes-128-gcm.p7m", "AES-128-GCM"), ("smime-aes-192-cbc.p7m", "AES-192-CBC"),
            ("smime-des3.p7m", "3DES-CBC"), ("smime-rc2.p7m", "RC2-CBC"), ("smime-short-key.p7m", "AES-256-CBC"),
        ],
    )  # fmt: skip
    def test_E16_weak(self, name: str, cipher: str) -> None:
        found = leaf(sample(name))
        assert (found.state, found.protection.state, found.protection.cipher) == (LeafState.SUSPECT, ProtectionState.WEAK, cipher)

    def test_E16_the_object_decides_not_the_parameter(self) -> None:
        octets = (CORPUS / "smime-opaque.p7m").read_bytes()
        found = attached(octets, "smime.p7m", "application/pkcs7-mime; smime-type=enveloped-data")
        assert leaf(found).protection.state is ProtectionState.NONE
        assert Level.CONFIDENTIAL in levels(found)

    def test_E15_E16_what_only_claims_to_be_encrypted(self) -> None:
        def enveloped(data: bytes, *recipients: bytes) -> bytes:
            info = tlv(0x30, oid(DATA), tlv(0x30, oid("2.16.840.1.101.3.4.1.42"), tlv(4, bytes(16))), tlv(0x80, data))
            return tlv(0x30, oid(ENVELOPED), tlv(0xA0, tlv(0x30, tlv(2, b"\0"), tlv(0x31, *recipients), info)))

        key = tlv(0x30, tlv(2, b"\0"), tlv(0x30), tlv(0x30, oid("1.2.840.113549.1.1.1")), tlv(4, bytes(256)))
        noise = bytes(range(256)) * 16
        for data, recipients in (
            (noise, ()),
            (b"CONFIDENTIAL plain ", (key,)),
            (b"", (key,)),
            (b"%PDF-1.7" + noise, (key,)),
            (noise[:-1], (key,)),
        ):
            found = leaf(attached(enveloped(data, *recipients), "smime.p7m"))
            assert found.state is LeafState.SUSPECT
            assert found.protection.state is ProtectionState.UNVERIFIABLE

    def test_digested_data_is_read(self) -> None:
        found = sample("smime-digest.p7m")
        assert leaf(found).state is LeafState.INSPECTED
        assert "signed" in {one.path.rpartition("/")[2] for one in found.leaves} or len(found.leaves) > 2

    def test_compressed_data_is_opened(self) -> None:
        def compressed(packed: bytes) -> bytes:
            content = tlv(0x30, oid(DATA), tlv(0xA0, tlv(4, packed)))
            algorithm = tlv(0x30, oid("1.2.840.113549.1.9.16.3.8"))
            return tlv(0x30, oid("1.2.840.113549.1.9.16.1.9"), tlv(0xA0, tlv(0x30, tlv(2, b"\0"), algorithm, content)))

        plain = b"Content-Type: text/plain\r\n\r\nSECRET\r\n\r\nnote\r\n"
        found = attached(compressed(zlib.compress(plain)), "smime.p7m")
        assert (leaf(found).state, levels(found)) == (LeafState.INSPECTED, {Level.SECRET})
        for broken in (zlib.compress(plain)[:-5], b"x" * 40, zlib.compress(plain) + b"SECRET", b""):
            assert leaf(attached(compressed(broken), "smime.p7m")).state is LeafState.SUSPECT
        bomb = leaf(attached(compressed(zlib.compress(bytes(300_000_000))), "smime.p7m"))
        assert (bomb.state, "limit" in bomb.reason) == (LeafState.SUSPECT, True)


class TestOpenPgp:
    @pytest.mark.parametrize("name", ["pgp-detached.asc", "pgp-detached.sig"])
    def test_signed_mail_is_read_in_full(self, name: str) -> None:
        signature = (CORPUS / name).read_bytes()
        found = inspect(multipart_signed(signature, b"CONFIDENTIAL\n\nnote", "pgp-signature"))
        assert [(one.state, one.is_attachment) for one in found.leaves] == [(LeafState.INSPECTED, False)] * 2
        assert levels(found) == {Level.CONFIDENTIAL}

    def test_clear_signed_text_is_text(self) -> None:
        found = sample("pgp-clearsigned.txt")
        assert leaf(found).state is LeafState.INSPECTED
        assert Level.CONFIDENTIAL in levels(found)

    def test_E14_a_signed_message_is_no_signature(self) -> None:
        found = sample("pgp-opaque.asc")
        assert (leaf(found).state, leaf(found).protection.state) == (LeafState.INSPECTED, ProtectionState.NONE)
        assert levels(found) == {Level.CONFIDENTIAL}
        opaque = (CORPUS / "pgp-opaque.asc").read_bytes().replace(b"PGP MESSAGE", b"PGP SIGNATURE")
        assert not pgp.is_signature(opaque)
        detached = (CORPUS / "pgp-detached.sig").read_bytes()
        assert pgp.is_signature(detached)
        for other in (detached + b"x", detached[:-1], b"\xcb" + detached[1:], b"", detached * 60, b"-----BEGIN PGP SIGNATURE-----\n\n!!\n"):
            assert not pgp.is_signature(other)

    def test_words_around_an_armoured_signature_are_read(self) -> None:
        found = attached((CORPUS / "pgp-detached.asc").read_bytes() + b"\nSECRET\n", "signature.asc", "application/pgp-signature")
        assert levels(found) == {Level.SECRET}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("name", ["smime-detached.eml", "smime-opaque.eml"])
def test_fields_on_top_leave_the_signature_whole(name: str, tmp_path: Path) -> None:
    octets = canonical((CORPUS / name).read_bytes())
    added = (Edit("add", "SIO-Label", 'marking="CONFIDENTIAL"'), Edit("add", "X-Gateway-Reference", "R1"))
    edited = apply(added, octets)
    assert edited.endswith(octets)
    (tmp_path / "m.eml").write_bytes(edited)
    done = subprocess.run(
        ["openssl", "cms", "-verify", "-noverify", "-in", tmp_path / "m.eml"], capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"The papers are enclosed." in done.stdout
    (tmp_path / "m.eml").write_bytes(edited.replace(b"papers are", b"papers ore"))
    if "detached" in name:
        broken = subprocess.run(
            ["openssl", "cms", "-verify", "-noverify", "-in", tmp_path / "m.eml"], capture_output=True, timeout=20, check=False
        )
        assert broken.returncode != 0


@pytest.mark.parametrize("transfer", ["7bit", "base64"])
@pytest.mark.parametrize("name", ["cms-ecdh.p7m", "cms-aes-256-gcm.p7m", "cms-oaep.p7m"])
def test_armour_that_is_read_is_one_leaf(name: str, transfer: str) -> None:
    """Its base64 is the object itself, and not something else that hides in a text."""
    pem = armour((CRYPTO / name).read_bytes())
    letter = EmailMessage(policy=SMTP)
    letter["From"], letter["To"] = "a@mod.example", "b@mod.example"
    letter.set_content("attached\n")
    letter.add_attachment(pem, maintype="application", subtype="octet-stream", filename="note.p7m", cte=transfer)
    note = inspect(letter.as_bytes()).leaves[1:]
    assert [(one.path, one.state, one.protection.state) for one in note] == [("2:note.p7m", LeafState.OPAQUE, ProtectionState.STRONG)]


def test_armour_in_a_text_is_read_once() -> None:
    letter = EmailMessage(policy=SMTP)
    letter["From"], letter["To"] = "a@mod.example", "b@mod.example"
    letter.set_content("see below\n\n" + armour((CRYPTO / "cms-ecdh.p7m").read_bytes()).decode() + "\nregards\n")
    paths = [one.path for one in inspect(letter.as_bytes()).leaves]
    assert len(paths) == 2 and paths[1].endswith(":armour")


@pytest.mark.parametrize("around", ["{}", "see below\n\n{}\nregards\n"])
@pytest.mark.parametrize("armoured", ["{0}", "{0}=\nICAg\n{0}", "MIIBAgYJKoZIhvcNAQcD=\n\n{0}"])
def test_M26_text_that_is_armoured_as_an_object_is_found(around: str, armoured: str) -> None:
    text = (
        base64.encodebytes(b"TOP SECRET\n\nThe plans of the third brigade for the winter, in full, with all its annexes.\n")
        .decode()
        .strip()
    )
    block = f"-----BEGIN CMS-----\n{armoured.format(text)}\n-----END CMS-----\n"
    found = inspect(mail(around.format(block).encode(), "note.p7m"))
    assert any(leaf.state is LeafState.SUSPECT for leaf in found.leaves)
    assert any("third brigade" in said for _, said in found.texts)


def armour(der: bytes) -> bytes:
    """*der* as openssl writes it for ``-outform PEM``."""
    digits = base64.b64encode(der)
    lines = b"".join(digits[at : at + 64] + b"\n" for at in range(0, len(digits), 64))
    return b"-----BEGIN CMS-----\n" + lines + b"-----END CMS-----\n"


def emptied(node: der.Node) -> Iterator[bytes]:
    """The object, again and again, each time with another of its structures empty."""
    if not node.constructed:
        return
    yield tlv(node.whole[0])
    parts = list(node.children())
    for number, part in enumerate(parts):
        for other in emptied(part):
            yield tlv(node.whole[0], *(other if at == number else one.whole for at, one in enumerate(parts)))


@pytest.mark.parametrize("file", sorted(CRYPTO.glob("*.p7[ms]")), ids=lambda file: file.stem)
def test_an_empty_structure_anywhere_is_read_or_refused(file: Path) -> None:
    """Programs write none; a reader that takes the first of nothing ends with an error of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    data = file.read_bytes()
    for node in der.read(data) if data[:1] == b"\x30" and file.stem not in ("cms-cut-off", "cms-junk-behind") else ():
        for other in emptied(node):
            budget = Budget(Limits())
            with contextlib.suppress(Unreadable):
                found = cms.extract(Piece(other), budget)
                if found.key_lock is not None:
                    found.key_lock.open_with(key, budget)
