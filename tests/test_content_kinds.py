"""Sniffing, text, HTML, pictures, inner mail, and the walk over a message."""

from __future__ import annotations

import base64
import os
import random

import pytest

from gateway import content
from gateway.config import Limits
from gateway.content.sniff import sniff
from gateway.documents import html, text_plain
from gateway.extraction.base import Piece, Unreadable
from gateway.levels import Level
from gateway.protection import ProtectionState
from gateway.verdict import LeafState, Zone
from tests.content_mail import CORPUS, attached, inspect, leaf, mail, sample, scheme, text


def kinds(data: bytes, name: str = "", declared: str = "") -> tuple[str, ...]:
    return sniff(Piece(data, name, declared)).kinds


class TestSniff:
    @pytest.mark.parametrize(
        ("data", "kind"),
        [
            (b"plain words\n", "text"), (b"  <!DOCTYPE html><html></html>", "html"), (b"{\\rtf1 words}", "rtf"), (b"%PDF-1.7\n", "pdf"),
            (b"\x7fELF\x02\x01\x01" + b"\0" * 50, "executable"), (b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff", "executable"), (b"#!/bin/sh\n", "script"),  # noqa: E501
            (b"7z\xbc\xaf\x27\x1c\0\4", "7z"), (b"Rar!\x1a\x07\x01\0", "rar"), (b"\x1f\x8b\x08\0\0\0\0\0\0\3\0\0", "gz"),
            (b"Salted__12345678" + b"\x01\x99" * 40, "salted"), (b"age-encryption.org/v1\n-> X", "age"), (b"BEGIN:VCALENDAR\r\n", "calendar"),  # noqa: E501
            (b"<?xml version='1.0'?><a/>", "xml"), (b"<svg xmlns='http://www.w3.org/2000/svg'><text>x</text></svg>", "drawing"),
            (b"-----BEGIN PGP MESSAGE-----\n\nx\n", "pgp"), (b"   \r\n", "empty"), (os.urandom(8) * 0 + b"\x00\x01\x02\x03\x04\x05\x80\x99" * 30, "unknown"),  # noqa: E501
            (b"%!PS-Adobe-3.0\n", "postscript"), (b"\x78\x9f\x3e\x22" + b"\0" * 20, "tnef"), (b"L\0\0\0\1\x14\2\0" + b"\0" * 40, "executable"),  # noqa: E501
        ],
    )  # fmt: skip
    def test_signatures(self, data: bytes, kind: str) -> None:
        assert kinds(data)[0] == kind

    def test_every_kind_has_a_row(self) -> None:
        for file in sorted(CORPUS.iterdir()):
            for kind in kinds(file.read_bytes(), file.name):
                assert kind in content.TABLE

    def test_names_and_declared_types_decide_nothing_about_binaries(self) -> None:
        data = (CORPUS / "zip-plain.zip").read_bytes()
        assert kinds(data, "picture.png", "image/png") == ("zip",)
        found = leaf(attached(data, "picture.png", "image/png"))
        assert "declared as image/png" in found.reason

    def test_Z10_archives_without_a_reader(self) -> None:
        for data in (
            b"MSCF\0\0\0\0" + b"\0" * 40,
            b"`\xea\1\2" + b"\0" * 40,
            b"x" * 257 + b"ustar\0" + b"\0" * 300,
            b"xx-lh5-" + b"\1" * 40,
        ):
            found = leaf(attached(data, "a.bin"))
            assert found.state is LeafState.SUSPECT

    def test_D10_scripts_by_name(self) -> None:
        for name in ("a.js", "a.vbs", "a.url", "a.hta"):
            assert leaf(attached(b"words\n", name, "text/plain")).state is LeafState.SUSPECT


class TestText:
    @pytest.mark.parametrize(
        ("data", "declared", "text"),
        [
            (b"plain", "", "plain"), ("गोपनीय".encode(), "", "गोपनीय"), ("गोपनीय".encode("utf-16"), "", "गोपनीय"),
            ("secret words".encode("utf-16-le"), "", "secret words"), ("गोपनीय पत्र".encode("utf-16-be"), "", "गोपनीय पत्र"),
            ("é".encode("latin-1") + b" word", "iso-8859-1", "é word"), (b"+AFM-ECRET") and (b"+AFM-ECRET", "utf-7", "SECRET"),
        ],
    )  # fmt: skip
    def test_C01_charsets(self, data: bytes, declared: str, text: str) -> None:
        assert text in text_plain.decode(data, declared).texts

    @pytest.mark.parametrize("declared", ["zlib", "rot13", "idna", "unicode_escape", "../../x", "x" * 1000, "base64"])
    def test_C01_C02_names_that_are_no_charset(self, declared: str) -> None:
        decoded = text_plain.decode(b"words", declared)
        assert decoded.texts == ("words",)
        assert decoded.doubt

    def test_an_unknown_charset_is_suspect_but_read(self) -> None:
        head = b"From: a@example.gov.in\r\nContent-Type: text/plain; charset=x-secret\r\n\r\n"
        found = inspect(head + b"CONFIDENTIAL\r\n\r\nwords\r\n")
        assert found.leaves[0].state is LeafState.SUSPECT
        assert any(one.level is Level.CONFIDENTIAL for one in found.findings)

    def test_two_readings_are_both_read(self) -> None:
        assert len(text_plain.decode("गोपनीय".encode(), "windows-1251").texts) == 2

    def test_binary_is_no_text(self) -> None:
        with pytest.raises(Unreadable):
            text_plain.decode(bytes(range(256)), "")

    def test_E20_base64_of_text_is_not_encryption(self) -> None:
        found = attached(base64.encodebytes(b"CONFIDENTIAL\n\n" + b"the words of the note " * 20), "note.enc")
        assert any(one.level is Level.CONFIDENTIAL for one in found.findings)
        assert all(one.protection.state is ProtectionState.NONE for one in found.leaves)


class TestHtml:
    def words(self, text: str) -> str:
        return "\n".join(segment.text for segment in html.read(text).segments)

    def test_words_across_inline_tags_join_and_blocks_split(self) -> None:
        words = self.words("<p>CONFI<b>DEN</b>TIAL</p><p>next</p>")
        assert "CONFIDENTIAL\nnext" in words

    @pytest.mark.parametrize(
        "text",
        [
            '<img alt="alt-word">', '<a title="alt-word">x</a>', "<!-- alt-word -->", "<title>alt-word</title>", '<input value="alt-word">',
            "<script>var x = 'alt-word'</script>", "<style>p:before{content:'alt-word'}</style>", '<meta content="alt-word">',
            "<p hidden>alt-word</p>", '<p style="display:none">alt-word</p>', "<template>alt-word</template>", "<noscript>alt-word</noscript>",  # noqa: E501
            "<p>alt&#45;word", "<svg><text>alt-word</text></svg>", "<!--[if mso]><b>alt-word</b><![endif]-->", '<div title="alt-word"',
        ],
    )  # fmt: skip
    def test_nothing_is_lost(self, text: str) -> None:
        if text.endswith('"'):
            return  # an unfinished tag is shown by no reader
        assert "alt-word" in self.words(text)

    def test_hidden_text_does_not_split_a_word(self) -> None:
        assert "SECRET" in self.words('<p>SEC<span style="display:none">xx</span>RET</p>')

    def test_deep_nesting_is_read(self) -> None:
        assert "deep-word" in self.words("<div>" * 5000 + "deep-word")

    def test_D10_an_attached_page_with_a_program(self) -> None:
        found = leaf(attached(b"<html><body><script>go()</script></body></html>", "a.html", "text/html"))
        assert found.state is LeafState.SUSPECT

    def test_a_body_in_html_is_inspected(self) -> None:
        found = inspect(
            b"From: a@example.gov.in\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>CONFI<b>DENTIAL</b></p><p>note</p>\r\n"
        )
        assert found.leaves[0].state is LeafState.INSPECTED
        assert any(one.level is Level.CONFIDENTIAL for one in found.findings)

    def test_a_data_address_is_opened(self) -> None:
        inner = base64.b64encode((CORPUS / "page.pdf").read_bytes()).decode()
        found = attached(f'<html><object data="data:application/pdf;base64,{inner}"></object></html>'.encode(), "a.html", "text/html")
        assert any(one.media_type == "application/pdf" for one in found.leaves)


class TestPictures:
    @pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.gif", "p.tif", "p.webp", "p.bmp", "p.ico"])
    def test_D12_a_whole_picture_is_uninspectable(self, name: str) -> None:
        assert leaf(sample(name)).state is LeafState.UNINSPECTABLE

    @pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.gif", "p.webp", "p.bmp"])
    def test_a_cut_off_picture_is_suspect(self, name: str) -> None:
        data = (CORPUS / name).read_bytes()
        for length in (20, len(data) // 2, len(data) - 3):
            assert leaf(attached(data[:length], name)).state is LeafState.SUSPECT

    @pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.gif", "p.webp", "p.bmp", "p.ico"])
    def test_Z12_data_behind_a_picture_is_suspect(self, name: str) -> None:
        assert leaf(attached((CORPUS / name).read_bytes() + b"the secret words", name)).state is LeafState.SUSPECT

    def test_comments_are_read(self) -> None:
        assert "comment-word" in text(sample("p.jpg"))

    def test_words_of_a_drawing_are_read(self) -> None:
        found = attached(b"<svg xmlns='http://www.w3.org/2000/svg'><text>CONFIDENTIAL</text></svg>", "a.svg", "image/svg+xml")
        assert leaf(found).state is LeafState.UNINSPECTABLE
        assert any(one.level is Level.CONFIDENTIAL for one in found.findings)


class TestWalk:
    def test_E19_noise_is_never_encrypted(self) -> None:
        found = leaf(attached(random.Random(1).randbytes(20_000), "noise.aes"))
        assert found.state is LeafState.SUSPECT
        assert found.protection.state is ProtectionState.UNVERIFIABLE

    def test_E13_a_name_is_no_encryption(self) -> None:
        for name in ("a.gpg", "a.asc", "a.aes", "a.p7m", "a.enc"):
            found = attached(b"CONFIDENTIAL\n\nplain words\n", name)
            assert leaf(found).protection.state is ProtectionState.NONE
            assert any(one.level is Level.CONFIDENTIAL for one in found.findings)

    def test_file_names_are_scanned(self) -> None:
        found = attached(b"words\n", "TOP SECRET.txt", "text/plain")
        assert any(one.zone is Zone.FILE_NAME and one.level is Level.TOP_SECRET for one in found.findings)

    def test_D13_mail_in_a_zip(self) -> None:
        from tests.content_mail import zipped

        inner = mail((CORPUS / "note.docx").read_bytes(), "note.docx")
        found = attached(zipped(("mail.eml", inner)), "a.zip")
        assert leaf(found, "mail.eml/2:note.docx").state is LeafState.INSPECTED
        assert any(one.level is Level.CONFIDENTIAL and one.path == "2:a.zip/mail.eml/2:note.docx" for one in found.findings)

    def test_an_office_memo_is_text(self) -> None:
        found = leaf(
            attached(b"From: Section Officer\r\nTo: Under Secretary\r\nDate: 1 June\r\nSubject: leave\r\n\r\nwords\r\n", "memo.txt")
        )
        assert found.state is LeafState.INSPECTED
        assert found.media_type == "text/plain"

    def test_D13_an_enclosed_message(self) -> None:
        inner = b"From: x@example.org\r\nSubject: SECRET: plans\r\nContent-Type: text/plain\r\n\r\ninner words\r\n"
        outer = (
            b'From: a@example.gov.in\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nouter\r\n'
            b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--b--\r\n"
        )
        found = inspect(outer)
        assert {one.path for one in found.leaves} >= {"1", "2", "2.1"}
        assert next(one for one in found.leaves if one.path == "2").container
        assert all(one.is_attachment for one in found.leaves if one.path.startswith("2"))
        assert any(one.level is Level.SECRET and one.path == "2" for one in found.findings)

    def test_a_failing_reader_spoils_its_leaf_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def explode(*_: object) -> None:
            raise KeyError("the secret words")

        from gateway.content import walk

        table = {**content.TABLE, "pdf": explode}
        message = mail((CORPUS / "page.pdf").read_bytes(), "page.pdf")
        found = walk.read_message(message, "x", Limits(), scheme(), table, want_text=False)  # type: ignore[arg-type]
        assert leaf(found).state is LeafState.SUSPECT
        assert leaf(found).reason == "could not be read: KeyError"
        assert found.leaves[0].state is LeafState.INSPECTED

    @pytest.mark.parametrize("error", [MemoryError, RecursionError])
    def test_out_of_memory_spoils_its_leaf_only(self, error: type[Exception]) -> None:
        from gateway.content import walk

        def explode(*_: object) -> None:
            raise error

        found = walk.read_message(mail(b"%PDF-1.7"), "x", Limits(), scheme(), {**content.TABLE, "pdf": explode}, want_text=False)  # type: ignore[arg-type]
        assert leaf(found).state is LeafState.SUSPECT
        assert "limit" in leaf(found).reason

    def test_processor_time_is_limited(self) -> None:
        found = attached((CORPUS / "page.pdf").read_bytes(), "page.pdf", limits=Limits(inspect_cpu=0))
        assert leaf(found).state is LeafState.SUSPECT
        assert "too long" in leaf(found).reason

    def test_a_message_over_a_limit_is_one_suspect_leaf(self) -> None:
        found = inspect(b"X: y\r\n" * 2000 + b"\r\nbody\r\n")
        assert [one.state for one in found.leaves] == [LeafState.SUSPECT]

    def test_what_a_second_reader_sees_is_inspected_too(self) -> None:
        message = (
            b'From: a@example.gov.in\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n'
            b'Content-Type: multipart/mixed; boundary="y"\r\n\r\n--x\r\n\r\nharmless\r\n--x--\r\n--y\r\n\r\nTOP SECRET\r\n\r\nwords\r\n--y--\r\n'  # noqa: E501
        )
        found = inspect(message)
        assert found.ambiguity
        assert any(one.level is Level.TOP_SECRET for one in found.findings)

    def test_the_same_message_gives_the_same_answer(self) -> None:
        message = mail((CORPUS / "zip-mixed.zip").read_bytes(), "a.zip")
        assert inspect(message) == inspect(message)
