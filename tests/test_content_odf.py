"""The OpenDocument reader: every place of a document, and what its encryption is worth (hostile-inputs catalogue D01, D04, D11, E22)."""

from __future__ import annotations

import functools
import io
import tomllib
import zipfile
from pathlib import Path

import pytest

from gateway.documents import odf_manifest, odf_text
from gateway.extraction.base import Unreadable
from gateway.levels import Level
from gateway.protection import ProtectionState
from gateway.verdict import Inspection, LeafState, Zone
from tests.content_mail import attached, inspect, leaf, mail, text, zipped
from tests.fixtures.makers.odf import PASSWORD

FIXTURES = Path(__file__).parent / "fixtures" / "odf"
PLANTED = tomllib.loads((FIXTURES / "planted.toml").read_text("utf-8"))
MIMETYPE = ("mimetype", b"application/vnd.oasis.opendocument.text")


def package(content: str, *parts: tuple[str, bytes]) -> bytes:
    """An ODT with *content* in its body."""
    body = f'<?xml version="1.0"?><o:d xmlns:o="o" xmlns:text="t" xmlns:draw="d" xmlns:xlink="x">{content}</o:d>'
    names = ("content.xml", *(name for name, _ in parts))
    entries = "".join(f'<manifest:file-entry manifest:full-path="{name}" manifest:media-type="text/xml"/>' for name in names)
    manifest = f'<?xml version="1.0"?><manifest:manifest xmlns:manifest="m">{entries}</manifest:manifest>'
    return zipped(MIMETYPE, ("content.xml", body.encode()), *parts, ("META-INF/manifest.xml", manifest.encode()))


@functools.cache
def planted(name: str) -> Inspection:
    return attached((FIXTURES / name).read_bytes(), name)


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_every_planted_word_is_found(name: str) -> None:
    words = text(planted(name))
    assert [word for word in PLANTED[name] if f"plant-{word}" not in words] == []
    assert leaf(planted(name)).state is LeafState.INSPECTED, leaf(planted(name)).reason


@pytest.mark.parametrize(
    ("kind", "least"),
    [("odt", 28), ("ods", 18), ("odp", 13), ("odg", 8)],
)
def test_the_planted_tables_are_not_empty(kind: str, least: int) -> None:
    assert len(PLANTED[f"planted.{kind}"]) >= least
    assert len(PLANTED[f"planted.fod{kind[2]}"]) >= least


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_the_zones_of_planted_words(name: str) -> None:
    data = (FIXTURES / name).read_bytes()
    parts = [data]
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            parts = [file.read(part) for part in ("content.xml", "styles.xml")]
    segments = [segment for part in parts for segment in odf_text.read(part).segments]
    for word, zone in PLANTED[name].items():
        if zone:
            assert any(segment.zone == Zone(zone) for segment in segments if f"plant-{word}" in segment.text), (word, zone)


@pytest.mark.parametrize(("name", "word"), [("odt", "plant-split-run"), ("odt", "plant-joined"), ("fodt", "plant-split-run")])
def test_runs_and_notes_do_not_split_words(name: str, word: str) -> None:
    assert word in text(planted(f"planted.{name}"))


def test_D11_hidden_sheets_and_rows_are_read() -> None:
    words = text(planted("planted.ods"))
    assert "plant-hidden-sheet" in words
    assert "plant-hidden-row" in words


def test_a_label_of_a_custom_property_counts() -> None:
    meta = b'<?xml version="1.0"?><office:m xmlns:office="o" xmlns:meta="m"><meta:user-defined meta:name="MSIP_Label_2096f6a2-d2f7-48be-b329-b73aaa526e5d_Name">Secret</meta:user-defined></office:m>'  # noqa: E501
    found = attached(package("<text:p>x</text:p>", ("meta.xml", meta)), "a.odt")
    assert any(one.level is Level.SECRET and one.zone is Zone.PROPERTY for one in found.findings)


def test_a_page_header_is_a_page_header() -> None:
    styles = b'<?xml version="1.0"?><o:s xmlns:o="o" xmlns:style="s" xmlns:text="t"><style:header><text:p>CONFIDENTIAL</text:p></style:header></o:s>'  # noqa: E501
    found = attached(package("<text:p>x</text:p>", ("styles.xml", styles)), "a.odt")
    assert any(one.level is Level.CONFIDENTIAL and one.zone is Zone.PAGE_HEADER for one in found.findings)


def test_text_of_a_master_page_is_read() -> None:
    styles = (
        b'<?xml version="1.0"?><o:s xmlns:o="o" xmlns:style="s" xmlns:text="t" xmlns:draw="d"><style:master-page>'
        b"<draw:frame><draw:text-box><text:p>master-word</text:p></draw:text-box></draw:frame></style:master-page></o:s>"
    )
    assert "master-word" in text(attached(package("<text:p>x</text:p>", ("styles.xml", styles)), "a.odp"))


def test_members_that_are_no_xml_are_leaves() -> None:
    found = attached(
        package("<text:p>x</text:p>", ("Pictures/a.txt", b"TOP SECRET"), ("Object 1/content.xml", b"<a>inner-word</a>")), "a.odt"
    )
    assert leaf(found, "Pictures/a.txt").state is LeafState.INSPECTED
    assert any(one.level is Level.TOP_SECRET for one in found.findings)
    assert "inner-word" in text(found)


def test_a_member_that_the_manifest_does_not_list_is_read() -> None:
    data = package("<text:p>x</text:p>")
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        parts = [(name, file.read(name)) for name in file.namelist()]
    found = attached(zipped(*parts, ("hidden/other.xml", b"<a>unlisted-word</a>")), "a.odt")
    assert "unlisted-word" in text(found)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ('<draw:image xlink:href="https://tracker.example/a.png"/>', "external"),
        ('<text:section-source xlink:href="file:////server/share/a.odt"/>', "external"),
        ('<script:event-listener xmlns:script="s" xlink:href="vnd.sun.star.script:Standard.M.Main?language=Basic"/>', "macro"),
        ('<text:dde-connection-decl office:dde-topic="a" xmlns:office="of"/>', "dde"),
        ('<draw:plugin xlink:href="a.swf"/>', "program"),
        ('<form:form xmlns:form="f" xlink:href="https://collect.example/"/>', "form"),
    ],
)
def test_D02_active_content_is_told(content: str, name: str) -> None:
    found = attached(package(content), "a.odt")
    assert any(one.kind == "active" and one.name == name for one in found.observations)


def test_D03_a_module_of_macros_is_told() -> None:
    module = (
        b'<?xml version="1.0"?><!DOCTYPE script:module PUBLIC "-//OpenOffice.org//DTD OfficeDocument 1.0//EN" "module.dtd">'
        b'<script:module xmlns:script="s" script:name="M">Sub Main\nmacro-word\nEnd Sub</script:module>'
    )
    found = attached(package("<text:p>x</text:p>", ("Basic/Standard/M.xml", module)), "a.odt")
    assert "macro-word" in text(found)
    assert any(one.kind == "active" and one.name == "macro" for one in found.observations)


@pytest.mark.parametrize(
    "part",
    [
        b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;&b;">]><a>&d;</a>',
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        b'<!DOCTYPE a SYSTEM "x.dtd"><a>&word;</a>',
        b"<a>" * 5000,
        b"<a>",
    ],
)
def test_D01_hostile_xml_is_suspect(part: bytes) -> None:
    found = leaf(attached(package("<text:p>x</text:p>", ("styles.xml", part)), "a.odt"))
    assert found.state is LeafState.SUSPECT
    found = leaf(attached(part.replace(b"<a", b'<o:document o:mimetype="application/vnd.oasis.opendocument.text"', 1), "a.fodt"))
    assert found.state is LeafState.SUSPECT


def test_D04_a_manifest_with_a_member_twice() -> None:
    entry = b'<file-entry full-path="content.xml" media-type="text/xml"/>'
    data = zipped(MIMETYPE, ("content.xml", b"<a>twice-word</a>"), ("META-INF/manifest.xml", b"<manifest>" + entry * 2 + b"</manifest>"))
    found = attached(data, "a.odt")
    assert leaf(found).state is LeafState.SUSPECT
    assert "twice" in leaf(found).reason
    assert "twice-word" in text(found)


def test_an_unknown_member_is_not_called_read() -> None:
    found = attached(package("<text:p>x</text:p>", ("layout-cache", b"\x01\x00\x01\x00not records"), ("x.bin", bytes(range(256)))), "a.odt")
    assert leaf(found).state is LeafState.SUSPECT


class TestPasswordOfTheMessage:
    @pytest.mark.parametrize(
        "name",
        ["blowfish.ods", "aes256.odt", *(pytest.param(name, marks=pytest.mark.slow) for name in ("argon2-gcm.odt", "aes256-odf12.odp"))],
    )
    def test_E05_E22_it_opens_and_is_read(self, name: str) -> None:
        found = inspect(mail((FIXTURES / name).read_bytes(), name, body=f"The password is {PASSWORD} as usual."))
        assert leaf(found).protection.state is ProtectionState.WEAK
        assert leaf(found).state is LeafState.SUSPECT
        assert "same message" in leaf(found).reason
        word = {"odt": "plant-split-run", "ods": "plant-hidden-sheet", "odp": "plant-notes"}[name.rpartition(".")[2]]
        assert word in text(found)

    @pytest.mark.parametrize("name", ["aes256.odt", pytest.param("argon2-gcm.odt", marks=pytest.mark.slow)])
    def test_E22_another_word_does_not(self, name: str) -> None:
        found = inspect(mail((FIXTURES / name).read_bytes(), name, body="The password comes by telephone."))
        assert leaf(found).protection.state is ProtectionState.STRONG
        assert leaf(found).state is LeafState.OPAQUE

    def test_E09_an_empty_password_is_no_protection_and_the_inside_is_read(self) -> None:
        found = attached((FIXTURES / "argon2-empty-password.odt").read_bytes(), "a.odt")
        assert "plant-heading" in text(found)
        assert leaf(found).protection.state is ProtectionState.NONE


@pytest.mark.parametrize("data", [b"<a", b'<a><file-entry size="x"/></a>', b'<!DOCTYPE a [<!ENTITY b "c">]><a/>', b"<a>" * 100])
def test_a_broken_manifest_is_one_named_error(data: bytes) -> None:
    with pytest.raises(Unreadable):
        odf_manifest.read(data)
