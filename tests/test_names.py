"""File names that lie, and files that are more than one thing. Ids are those of the catalogue."""

from __future__ import annotations

import base64
import struct

import pytest

from gateway.content import names
from gateway.verdict import Inspection, LeafState
from tests.content_mail import CORPUS, attached, inspect, leaf, mail, zipped

MZ = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff" + bytes(200)
LNK = b"L\x00\x00\x00\x01\x14\x02\x00" + bytes(80)
ONE = b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3" + bytes(100)
ELF = b"\x7fELF\x02\x01\x01" + bytes(100)
URL = b"[InternetShortcut]\r\nURL=file://203.0.113.5/x.hta\r\n"


def named(field: str, data: bytes = b"words\n", media_type: str = "application/octet-stream") -> Inspection:
    """A message whose attachment has the Content-Disposition *field*."""
    message = mail(data, "NAME", media_type)
    message = message.replace(b'; name="NAME"', b"").replace(b'attachment; filename="NAME"', field.encode("utf-8"))
    return inspect(message)


@pytest.mark.parametrize("disposition", ["attachment", "inline", "x-unknown", "", "form-data; name=x"])
def test_M29_the_disposition_of_a_program_makes_no_difference(disposition: str) -> None:
    message = mail(MZ, "a.exe", "application/octet-stream")
    line = b'Content-Disposition: attachment; filename="a.exe"\r\n'
    message = message.replace(line, f'Content-Disposition: {disposition}; filename="a.exe"\r\n'.encode() if disposition else b"")
    found = leaf(inspect(message))
    assert (found.state, found.media_type) == (LeafState.SUSPECT, "application/x-msdownload")


@pytest.mark.parametrize(
    "field",
    [
        'attachment; filename="a.txt"; filename="a.js"',
        "attachment; filename=\"a.txt\"; filename*=utf-8''a.js",
        'attachment; filename*0="a.t"; filename*1="xt"; filename="a.js"',
        'attachment; filename="a.txt\r\n.js"',
    ],
)
def test_M20_names_that_conflict_are_ambiguous(field: str) -> None:
    assert named(field).ambiguity


@pytest.mark.parametrize(
    "name",
    [
        "a.js.",
        "a.js ",
        "a.js. . ",
        "a.js::$DATA",
        "a.js:x",
        "a.JS",
        "a.j\u200bs",
        "a.txt\u202esj.js",
        "a.js\u00ad",
        ".js",
        "x" * 300 + ".js",
    ],
)
def test_M21_M22_the_ending_that_counts_is_judged(name: str) -> None:
    found = leaf(attached(b"WScript.Echo(1)\n", name))
    assert found.state is LeafState.SUSPECT
    assert "script" in found.reason


@pytest.mark.parametrize("name", ["a\x00.js", "a.js\x00.txt", "a\r\nb.txt", "a\tb.txt", "", "a\x1b[2J.txt"])
def test_M21_controls_in_a_name_are_told_or_ambiguous(name: str) -> None:
    found = attached(b"words\n", name)
    assert found.ambiguity or "control characters" in leaf(found).reason or not name
    assert all("\x00" not in one.path and "\x1b" not in one.path and "\n" not in one.path for one in found.leaves)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("invoice\u202efdp.exe", "direction"),
        ("\u2067a.pdf\u2069", "direction"),
        ("a\u200b.pdf", "not seen"),
        ("a.pdf" + " " * 60 + ".exe", "behind blanks"),
        ("x" * 10_000 + ".txt", "longer"),
        ("a.exe::$DATA", "stream"),
        ("con", "device"),
        ("NUL.txt", "device"),
        ("com1.pdf", "device"),
        ("../../etc/passwd", "path"),
        ("C:\\x.txt", "path"),
        ("/abs", "path"),
        ("\\\\host\\x", "path"),
        ("-rf", "path"),
        ("~", "path"),
    ],
)
def test_M22_M23_odd_names_are_told(name: str, reason: str) -> None:
    assert reason in names.odd(name)
    if len(name) < 300 and "\\" not in name:
        assert reason in leaf(attached(b"words\n", name)).reason


@pytest.mark.parametrize(
    "name", ["note.pdf", "टिप्पणी.pdf", "a b (1).txt", "2026-11 - minutes.docx", "a:b.txt", "folder/note.txt", "...", "résumé.doc", ""]
)
def test_ordinary_names_are_not_odd(name: str) -> None:
    assert names.odd(name) == ""


def test_M23_a_name_is_never_a_path(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr("builtins.open", lambda *a, **k: opened.append(a) or (_ for _ in ()).throw(OSError("no file may be opened")))
    found = attached(zipped(("../../x.txt", b"words")), "../../a.zip")
    assert [one.path for one in found.leaves if one.path.startswith("2")] == ["2:../../a.zip", "2:../../a.zip/../../x.txt"]
    assert opened == []


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (MZ, "application/x-msdownload"),
        (ELF, "application/x-executable"),
        (LNK, "application/x-ms-shortcut"),
        (ONE, "application/onenote"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), ""),
        (zipped(("a.exe", MZ)), "application/zip"),
        (bytes(32769) + b"CD001" + bytes(4000), "application/x-iso9660-image"),
        (b"<html><script>run()</script>", "text/html"),
        (URL, "text/x-script"),
    ],
)
def test_M24_content_wins_over_name_and_type_and_the_mismatch_is_told(data: bytes, media_type: str) -> None:
    found = attached(data, "note.txt", "text/plain")
    top = leaf(found)
    assert top.media_type == media_type or not media_type
    assert "its name ends in .txt but it is" in top.reason
    assert any(one.state is LeafState.SUSPECT for one in found.leaves if one.path.startswith("2"))


PDF = (CORPUS / "page.pdf").read_bytes()
GIF = (CORPUS / "p.gif").read_bytes()
JPG = (CORPUS / "p.jpg").read_bytes()
PNG = (CORPUS / "p.png").read_bytes()
ZIP = zipped(("note.txt", b"SECRET\r\n\r\nwords\r\n"))


@pytest.mark.parametrize(
    "data",
    [
        PDF + ZIP,
        GIF + ZIP,
        JPG + ZIP,
        PNG + ZIP,
        b"<html><body>words</body></html>\n" + ZIP,
        GIF + b"PK" + ZIP,
        JPG[:2] + b"\xff\xfe" + struct.pack(">H", len(ZIP) + 2) + ZIP + JPG[2:],
    ],
    ids=["pdf+zip", "gif+jar", "jpeg+zip", "png+zip", "html+zip", "gif+junk+zip", "zip in a jpeg comment"],
)
def test_M25_every_type_of_a_polyglot_is_inspected(data: bytes) -> None:
    found = attached(data, "a.bin")
    assert any(one.state is LeafState.SUSPECT for one in found.leaves if one.path.startswith("2"))


def test_M25_pages_in_pictures_and_pictures_in_pages() -> None:
    script = b"GIF89a/*" + GIF[8:] + b"*/=1;alert(1)//<script>alert(1)</script>"
    for data in (script, JPG + b"/*<script>alert(1)</script>*/", b"<!--" + PDF + b"--><script>x()</script>"):
        top = leaf(attached(data, "a.gif", "image/gif"))
        assert top.state is LeafState.SUSPECT, data[:10]


def test_M31_M32_what_a_header_claims_earns_no_trust() -> None:
    head = b"".join(b"Received: from x by y; Sat, 21 Nov 2026 10:00:00 +0530\r\n" for _ in range(60))
    head += b"Authentication-Results: gw1.example.gov.in; dkim=pass; spf=pass\r\n" * 40
    head += b"DKIM-Signature: v=1; a=rsa-sha256; d=gov.in; s=s; h=subject; l=10; bh=x; b=y\r\n" * 40
    found = inspect(head + mail(MZ, "a.exe"))
    assert found.ambiguity or found.headers.received == 60
    assert any(one.state is LeafState.SUSPECT for one in found.leaves)


def test_M11_the_part_that_is_not_shown_is_scanned() -> None:
    secret = base64.encodebytes(b"SECRET\r\n\r\nwords\r\n").decode()
    for subtype, kind in (("alternative", "text/plain"), ("related", "text/html"), ("related; type=text/plain", "image/png")):
        message = (
            f"From: a@example.gov.in\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/{subtype}; boundary=B\r\n\r\n"
            f"--B\r\nContent-Type: {kind}\r\nContent-ID: <c>\r\nContent-Transfer-Encoding: base64\r\n\r\n{secret}"
            "--B\r\nContent-Type: text/html\r\n\r\n<p>Papers <img src='cid:c'></p>\r\n--B--\r\n"
        )
        assert any(one.level.name == "SECRET" for one in inspect(message.encode()).findings)
