"""The PDF reader and its protection: hostile-inputs catalogue D07-D09, E09, E10."""

from __future__ import annotations

import io
import re
import zlib

import pikepdf
import pytest

from gateway.extraction import randomness
from gateway.levels import Level
from gateway.protection import ProtectionState
from gateway.verdict import LeafState, Zone
from tests.content_mail import CORPUS, attached, leaf, sample, text, zipped


def test_pages_with_their_zones() -> None:
    found = sample("page.pdf")
    assert leaf(found).state is LeafState.INSPECTED
    assert "page text of the first page" in text(found)
    zones = {(one.level, one.zone) for one in found.findings}
    assert (Level.RESTRICTED, Zone.PAGE_HEADER) in zones
    assert (Level.CONFIDENTIAL, Zone.PAGE_FOOTER) in zones


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("annotated.pdf", ("annotation-word", "property-word", "pdf-title-word")),
        ("pdf-object-streams.pdf", ("annotation-word", "property-word", "pdf-title-word")),
        ("form.pdf", ("value-word",)),
        ("pdf-linearized.pdf", ("page text of the first page",)),
        ("pdf-attachment.pdf", ("Annex to the note",)),
    ],
)
def test_everything_that_is_no_page_text(name: str, words: tuple[str, ...]) -> None:
    found = sample(name)
    assert leaf(found).state is LeafState.INSPECTED
    for word in words:
        assert word in text(found)


def test_D07_an_embedded_file_is_a_leaf() -> None:
    found = sample("pdf-attachment.pdf")
    assert leaf(found, "annex.txt").state is LeafState.INSPECTED
    assert any(one.level is Level.CONFIDENTIAL and one.path == "2:pdf-attachment.pdf/annex.txt" for one in found.findings)


def test_D07_scripts_are_told() -> None:
    pdf = pikepdf.new()
    pdf.add_blank_page()
    pdf.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=pikepdf.String("app.alert('script-word')"))
    out = io.BytesIO()
    pdf.save(out)
    found = attached(out.getvalue(), "script.pdf")
    assert "JavaScript" in leaf(found).reason
    assert "script-word" in text(found)


def test_D08_older_revisions_are_read() -> None:
    found = sample("revised.pdf")
    assert "replacement" in text(found)
    assert "page text of the first page" in text(found)
    assert any(one.level is Level.RESTRICTED for one in found.findings)


def test_a_page_that_is_a_picture_is_not_called_read() -> None:
    found = sample("picture.pdf")
    assert leaf(found, "pictures").state is LeafState.UNINSPECTABLE


def test_D09_a_pdf_with_a_zip_tail() -> None:
    data = (CORPUS / "page.pdf").read_bytes() + zipped(("a.txt", b"SECRET"))
    found = leaf(attached(data, "both.pdf", "application/pdf"))
    assert found.state is LeafState.SUSPECT
    assert "more than one type" in found.reason


def test_D09_a_program_before_the_pdf() -> None:
    data = b"#!/bin/sh\necho x\n" + (CORPUS / "page.pdf").read_bytes()
    assert leaf(attached(data, "both.pdf")).state is LeafState.SUSPECT


def test_D07_a_broken_pdf_is_suspect() -> None:
    data = (CORPUS / "page.pdf").read_bytes()
    assert leaf(attached(b"%PDF-1.7\n" + b"\x01garbage" * 50, "broken.pdf")).state is LeafState.SUSPECT
    assert "CONFIDENTIAL" in text(attached(data, "whole.pdf"))


def form_bomb() -> bytes:
    """Forms nested ten wide and ten deep."""
    pdf = pikepdf.new()
    page = pdf.add_blank_page()
    inner = pdf.make_stream(b"BT ET")
    inner.Type, inner.Subtype, inner.BBox = pikepdf.Name.XObject, pikepdf.Name.Form, [0, 0, 10, 10]
    for _ in range(5):
        outer = pdf.make_stream(b"/F Do " * 5)
        outer.Type, outer.Subtype, outer.BBox = pikepdf.Name.XObject, pikepdf.Name.Form, [0, 0, 10, 10]
        outer.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(F=inner))
        inner = outer
    page.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(F=inner))
    page.Contents = pdf.make_stream(b"/F Do")
    out = io.BytesIO()
    pdf.save(out)
    return out.getvalue()


def test_D07_deep_forms_are_never_clean() -> None:
    found = attached(form_bomb(), "forms.pdf")
    assert any(one.state is not LeafState.INSPECTED for one in found.leaves[1:])


def test_E22_aes256_is_proved() -> None:
    found = leaf(sample("pdf-aes256.pdf"))
    assert found.state is LeafState.OPAQUE
    assert (found.protection.state, found.protection.scheme, found.protection.bits) == (ProtectionState.STRONG, "pdf", 256)


@pytest.mark.parametrize("name", ["pdf-owner-only.pdf", "pdf-empty-owner.pdf"])
def test_E09_E10_an_empty_password_is_no_protection(name: str) -> None:
    found = sample(name)
    assert leaf(found).state is LeafState.INSPECTED
    assert leaf(found).protection.state is ProtectionState.NONE
    assert "ministry" in text(found)


@pytest.mark.parametrize(("name", "cipher"), [("pdf-aes128.pdf", "AES-128-CBC"), ("pdf-rc4.pdf", "RC4")])
def test_below_aes256_is_weak(name: str, cipher: str) -> None:
    found = leaf(sample(name))
    assert found.state is LeafState.SUSPECT
    assert (found.protection.state, found.protection.cipher) == (ProtectionState.WEAK, cipher)


def test_E10_encryption_over_plain_streams() -> None:
    """A genuine /Encrypt, and streams that inflate without any password."""
    data = (CORPUS / "pdf-aes256.pdf").read_bytes()
    plain = zlib.compress(b"BT (TOP SECRET) Tj ET " * 200, 0)

    def swap(match: re.Match[bytes]) -> bytes:
        size = len(match[2])
        return match[1] + (plain + b"\0" * size)[:size] + match[3]

    fake = re.sub(rb"(stream\n)(.*?)(endstream)", swap, data, flags=re.S)
    assert len(fake) == len(data)
    assert fake != data
    found = leaf(attached(fake, "fake.pdf"))
    assert found.state is LeafState.SUSPECT
    assert found.protection.state is ProtectionState.UNVERIFIABLE


def test_E10_identity_filter() -> None:
    data = (CORPUS / "pdf-aes256.pdf").read_bytes()
    fake = data.replace(b"/StmF /StdCF", b" " * 12)  # the default is Identity
    assert fake != data
    found = leaf(attached(fake, "identity.pdf"))
    assert found.state is LeafState.SUSPECT
    assert found.protection.state is not ProtectionState.STRONG


def test_a_cut_off_encrypted_pdf_is_not_plain() -> None:
    data = (CORPUS / "pdf-aes256.pdf").read_bytes()
    found = leaf(attached(data[: len(data) * 2 // 3], "cut.pdf"))
    assert found.state is LeafState.SUSPECT


class TestRandomness:
    def test_noise_is_not_disproved(self) -> None:
        import random

        rng = random.Random(9)
        for size in (16, 40, 64, 200, 1023, 1024, 5000, 200_000):
            for _ in range(20):
                assert randomness.disproof(rng.randbytes(size)) == ""

    @pytest.mark.parametrize(
        "data",
        [
            b"The quick brown fox jumps over the lazy dog. " * 40,
            "गोपनीय पत्र ".encode() * 40,
            "secret words".encode("utf-16-le") * 20,
            bytes(range(256)) * 8,
            zlib.compress(b"The quick brown fox " * 100),
            b"PK\x03\x04" + bytes(range(256)) * 8,
            b"\0" * 4000,
        ],
    )
    def test_E19_E20_plain_data_is_disproved(self, data: bytes) -> None:
        assert randomness.disproof(data)
