"""Words that Excel and LibreOffice show and that stand nowhere in one piece: formats of numbers, formulas, attributes."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from gateway.levels import Level
from gateway.office import compound
from gateway.verdict import Inspection
from tests.content_mail import attached, zipped

WORD, HINDI = "CONFIDENTIAL", "गोपनीय"
ESCAPED = "".join(f"\\{one}" for one in WORD)


def record(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(body)) + body


def text(words: str, width: int = 2) -> bytes:
    wide = any(ord(letter) > 255 for letter in words)
    return len(words).to_bytes(width, "little") + bytes((wide,)) + words.encode("utf-16-le" if wide else "latin-1")


def begin(kind: int) -> bytes:
    return record(0x809, struct.pack("<HHHHII", 0x600, kind, 0, 0, 0, 6))


def workbook(cells: bytes, settings: bytes = b"") -> Inspection:
    """A workbook of Excel 97 with the records *cells* in its sheet and *settings* before."""
    head = begin(5) + settings
    place = len(head) + len(record(0x85, bytes(6) + text("S", 1))) + 4
    whole = head + record(0x85, struct.pack("<IBB", place, 0, 0) + text("S", 1)) + record(0x0A) + begin(0x10) + cells + record(0x0A)
    return attached(compound.build({("Workbook",): whole}), "a.xls")


def old_workbook(cells: bytes, settings: bytes = b"") -> Inspection:
    """The same of Excel 5."""
    head = record(0x809, struct.pack("<HHHH", 0x500, 5, 0, 0)) + settings
    sheet = record(0x809, struct.pack("<HHHH", 0x500, 0x10, 0, 0))
    place = len(head) + 4 + 8 + 4
    whole = head + record(0x85, struct.pack("<IBB", place, 0, 0) + b"\x01S") + record(0x0A) + sheet + cells + record(0x0A)
    return attached(compound.build({("Book",): whole}), "a.xls")


NUMBER = record(0x203, struct.pack("<HHHd", 0, 0, 0, 1.0))


def formula(tokens: bytes) -> bytes:
    return record(0x06, bytes(6) + bytes(6) + b"\xff\xff" + struct.pack("<HI", 3, 0) + struct.pack("<H", len(tokens)) + tokens)


def letter(one: str) -> bytes:
    return b"\x1e" + struct.pack("<H", ord(one)) + b"\x41\x6f\x00"


@pytest.mark.parametrize("code", ['"CONFIDENTIAL"', ESCAPED, '0;0;"CONF""IDENTIAL"', 'General;;;"CONFIDENTIAL "@'])
def test_D03_a_number_that_is_shown_as_a_word(code: str) -> None:
    assert workbook(NUMBER, record(0x41E, b"\xa4\x00" + text(code))).findings


def test_D03_a_number_that_is_shown_as_a_word_by_excel_5() -> None:
    assert old_workbook(NUMBER, record(0x41E, b"\xa4\x00" + b'\x0e"CONFIDENTIAL"')).findings


@pytest.mark.parametrize(
    "tokens",
    [
        b"\x17" + text("CONF", 1) + b"\x17" + text("IDENTIAL", 1) + b"\x08",
        b"\x17" + text("गोप", 1) + b"\x44" + bytes(4) + b"\x17" + text("नीय", 1) + b"\x08",
        letter("C") + b"".join(letter(one) + b"\x08" for one in WORD[1:]),
    ],
)
def test_D03_words_that_a_formula_joins(tokens: bytes) -> None:
    assert workbook(formula(tokens)).findings


def test_D03_a_label_that_goes_on_in_another_record() -> None:
    body = bytes(6) + text(HINDI)
    assert workbook(record(0x204, body[:13]) + record(0x3C, b"\x01" + body[13:])).findings


def test_D03_a_header_whose_letters_have_colours() -> None:
    assert workbook(record(0x14, text("&C" + "".join(f"&K00000F{one}" for one in WORD)))).findings


@pytest.mark.parametrize("kind", [0x4D, 0x201, 0x1BA])
def test_D03_words_in_a_record_that_has_none(kind: int) -> None:
    assert workbook(record(kind, bytes(80) + WORD.encode())).findings


def test_D03_files_in_records() -> None:
    packed = zipped(("a.txt", b"roads"))
    for kind in (0x4D, 0x5FFF):
        assert any(one.path.endswith("a.txt") for one in workbook(record(kind, bytes(80) + packed)).leaves)
    theme = record(0x896, bytes(16) + packed[:60]) + record(0x812, bytes(12) + packed[60:])
    assert any(one.path.endswith("theme/a.txt") for one in workbook(NUMBER, theme).leaves)


def test_D03_the_picture_behind_a_sheet_is_a_member() -> None:
    bitmap = struct.pack("<IHHHH", 12, 8, 8, 1, 24) + bytes(8 * 24)
    found = workbook(record(0xE9, struct.pack("<HHI", 9, 1, len(bitmap)) + bitmap))
    assert [one.media_type for one in found.leaves if one.path.endswith("picture")] == ["image/bmp"]


# CSV


@pytest.mark.parametrize(
    "line",
    [
        '="CONF"&"IDENTIAL",2',
        '"=""CONF""&""IDENTIAL""",2',
        "roads," + "=" + "&".join(f"CHAR({ord(one)})" for one in WORD),
        "roads\t=" + "&".join(f"UNICHAR({ord(one)})" for one in HINDI),
        '"=CONCATENATE(""CONF"",""IDENTIAL"")";2',
    ],
)
def test_D11_words_that_a_formula_of_a_text_joins(line: str) -> None:
    assert attached(f"name,sum\r\n{line}\r\n".encode(), "a.csv", "text/csv").findings


# OpenDocument


def opened(name: str, mark: str, insert: str, namespace: str = "") -> Inspection:
    """The document *name* of the fixtures with *insert* before the first *mark* of its content."""
    out = io.BytesIO()
    with zipfile.ZipFile(Path(__file__).parent / "corpus" / "content" / name) as old, zipfile.ZipFile(out, "w") as new:
        for one in old.namelist():
            data = old.read(one)
            if one == "content.xml":
                data = data.replace(mark.encode(), insert.encode() + mark.encode(), 1)
                data = data.replace(b"<office:document-content ", f"<office:document-content {namespace} ".encode(), 1)
            new.writestr(one, data)
    return attached(out.getvalue(), name)


@pytest.mark.parametrize(
    "insert",
    [
        '<text:p>SEC<text:title text:fixed="true">RE</text:title>T</text:p>',
        '<office:forms><form:form><form:text form:value="SECRET"/></form:form></office:forms>',
        '<text:p><loext:content-control><loext:list-item loext:display-text="SECRET"/>road</loext:content-control></text:p>',
        '<text:p><text:drop-down><text:label text:value="SECRET" text:current-selected="true"/></text:drop-down></text:p>',
        '<text:list-style><text:list-level-style-number loext:num-list-format="SECRET %1%"/></text:list-style>',
        '<table:table><table:scenario table:comment="SECRET"/></table:table>',
        '<table:table-cell table:formula="of:=&quot;SEC&quot;&amp;&quot;RET&quot;"/>',
        '<table:table-cell table:formula="of:=UNICHAR(83)&amp;&quot;ECRET&quot;"/>',
        '<t:table t:name="SECRET"/>',
    ],
)
def test_D01_words_in_attributes_of_a_document(insert: str) -> None:
    names = 'xmlns:t="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
    levels = {one.level for one in opened("note.odt", "<text:p ", insert, names).findings}
    assert Level.SECRET in levels
