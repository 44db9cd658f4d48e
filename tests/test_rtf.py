"""RTF: text by its zone, what hides, what is packed, and what it must not cost. Ids are those of the catalogue."""

from __future__ import annotations

import struct
import time

import pytest

from gateway.config import Limits
from gateway.documents import rtf
from gateway.extraction.base import Budget, Found, Piece
from gateway.levels import Level
from gateway.verdict import Confidence, LeafState, Observation, Zone
from tests.content_mail import attached, leaf, sample, text

CFB = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
PNG = b"\x89PNG\r\n\x1a\n"


def read(body: bytes, head: bytes = rb"\ansi\ansicpg1252") -> Found:
    return rtf.extract(Piece(rb"{\rtf1" + head + b" " + body + b"}"), Budget(Limits()))


def words(found: Found, zone: Zone = Zone.BODY) -> list[str]:
    return [segment.text.strip() for segment in found.segments if segment.zone is zone]


def counted(value: bytes) -> bytes:
    return struct.pack("<I", len(value) + 1) + value + b"\x00"


def ole1(name: bytes, native: bytes, sort: int = 2) -> bytes:
    return struct.pack("<II", 0x501, sort) + counted(name) + counted(b"") + counted(b"") + struct.pack("<I", len(native)) + native


def package(name: bytes, data: bytes) -> bytes:
    head = struct.pack("<H", 2) + name + b"\x00" + b"C:\\" + name + b"\x00" + struct.pack("<HH", 0, 3) + counted(b"C:\\t\\" + name)
    return head + struct.pack("<I", len(data)) + data


def objdata(data: bytes) -> bytes:
    return rb"{\object\objemb{\*\objclass X}{\*\objdata " + data.hex().encode() + rb"}{\result shown}}"


def actives(found_in: tuple[Observation, ...]) -> set[str]:
    return {one.name for one in found_in if one.kind == "active"}


# --- text ---------------------------------------------------------------------------------------------------------------


def test_the_document_of_an_office_program_is_read_in_full() -> None:
    found = sample("note.rtf")
    assert leaf(found).state is LeafState.INSPECTED
    everything = text(found)
    for planted in ("title-word", "split-word", "hidden-word", "CONFIDENTIAL", "footer-word", "comment-word", "cell-two"):
        assert planted in everything, planted
    assert any(one.zone is Zone.PAGE_HEADER and one.level is Level.CONFIDENTIAL for one in found.findings)


@pytest.mark.parametrize(
    ("body", "zone", "expected"),
    [
        (rb"\pard plain\par", Zone.BODY, "plain"),
        (rb"{\header\pard CONFIDENTIAL\par}", Zone.PAGE_HEADER, "CONFIDENTIAL"),
        (rb"{\headerf first}{\headerl left}", Zone.PAGE_HEADER, "first"),
        (rb"{\footerr SECRET}", Zone.PAGE_FOOTER, "SECRET"),
        (rb"text{\footnote a note}", Zone.BODY, "a note"),
        (rb"text{\*\annotation a comment}", Zone.BODY, "a comment"),
        (rb"{\shp{\*\shpinst{\shptxt in a box}}}", Zone.BODY, "in a box"),
        (rb"{\header{\shp{\*\shpinst{\shptxt in a box}}}}", Zone.PAGE_HEADER, "in a box"),
        (rb"{\header{\shp{\*\shpinst{\sp{\sn gtextUNICODE}{\sv SECRET}}}}}", Zone.WATERMARK, "SECRET"),
        (rb"{\info{\title A title}{\*\company Us}}", Zone.PROPERTY, "title: A title"),
        (rb"{\shp{\*\shpinst{\sp{\sn wzDescription}{\sv said of it}}}}", Zone.PROPERTY, "said of it"),
        (rb"{\*\neverheardof all the same}", Zone.BODY, "all the same"),
        (rb"{\fldinst HYPERLINK}", Zone.PROPERTY, "HYPERLINK"),
    ],
)
def test_every_destination_is_read_where_it_stands(body: bytes, zone: Zone, expected: str) -> None:
    assert expected in words(read(body), zone)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rb"caf\'e9", "café"),
        (rb"\u2327?\u2379?", "गो"),
        (rb"\uc2\u2327??\u2379\'3f\'3fx", "गोx"),
        (rb"\uc0\u2327\u2379x", "गोx"),
        (rb"\u-10179?\u-8704?", "\U0001f600"),
        (rb"SEC\-RET \~ a\_b", "SEC\u00adRET \u00a0 a-b"),
        (rb"S{\b E}{\i C}RET", "SECRET"),
        (rb"SEC" + b"\r\n" + rb"RET", "SECRET"),
        (rb"a\line b\tab c\emdash d", "a\nb\tc\u2014d"),
        (rb"{\fonttbl{\f0\fcharset0 Arial;}{\f1\fcharset128 Gothic;}}\f1\'83\'65\'83\'58\f0 x", "テスx"),
        (rb"{\fonttbl{\f1\fcharset204 Arial;}}{\f1\'e4\'e0}", "да"),
        (rb"{\upr{??}{\*\ud{\u2327?}}}", "ग"),
        (b"a\x00b", "ab"),
        (rb"\{braces\}\\", "{braces}\\"),
    ],
)
def test_characters(body: bytes, expected: str) -> None:
    assert expected in words(read(body))


def test_hidden_and_deleted_text_is_read_with_and_without() -> None:
    found = words(read(rb"SEC{\v xx}RET{\deleted gone}"))
    assert found[:2] == ["SECRET", "SECxxRETgone"]


def test_what_readers_without_unicode_show_is_read_too() -> None:
    assert "SECRET" in " ".join(words(read(rb"\uc6\u32 SECRET")))


def test_properties_have_their_names() -> None:
    found = read(rb"{\*\userprops{\propname MSIP_Label_1a_Name}\proptype30{\staticval Secret}}{\info{\doccomm said}}")
    assert found.properties == {"MSIP_Label_1a_Name": "Secret", "comments": "said"}


def test_html_in_rtf_is_a_page() -> None:
    body = rb"{\*\htmltag64 <p>}\htmlrtf {\htmlrtf0 Hello \u2327?\htmlrtf\par}\htmlrtf0{\*\htmltag72 </p>}"
    found = read(body, rb"\ansi\fromhtml1")
    assert [(child.declared, child.data.decode()) for child in found.children] == [("text/html", "<p>Hello ग</p>")]


# --- what is packed -----------------------------------------------------------------------------------------------------


def test_pictures_are_children() -> None:
    found = read(rb"{\*\shppict{\pict{\*\picprop{\sp{\sn a}{\sv b}}}\picw1\pngblip " + PNG.hex().encode() + b"}}")
    assert [(child.name, child.data) for child in found.children] == [("picture-1.png", PNG)]
    found = read(rb"{\pict\jpegblip\bin4 " + b"\xff\xd8}{" + b"}")
    assert [(child.name, child.data) for child in found.children] == [("picture-1.jpg", b"\xff\xd8}{")]


def test_a_packed_file_is_a_child_by_its_name() -> None:
    found = attached(rb"{\rtf1 " + objdata(ole1(b"Package", package(b"note.txt", b"SECRET\r\n"))) + b"}", "a.rtf")
    assert leaf(found, "note.txt").state is LeafState.INSPECTED
    assert any(one.level is Level.SECRET for one in found.findings)
    assert actives(found.observations) == {"program"}


def test_an_embedded_document_is_a_child() -> None:
    found = read(objdata(ole1(b"Word.Document.8", CFB + bytes(600))))
    assert found.children[0].data.startswith(CFB)
    assert not found.active


def test_broken_object_data_is_a_child_as_it_stands() -> None:
    found = read(objdata(b"\x01\x05\x00\x00\x02\x00\x00\x00\xff\xff\xff\xff"))
    assert [child.data for child in found.children] == [b"\x01\x05\x00\x00\x02\x00\x00\x00\xff\xff\xff\xff"]


def test_what_stands_behind_the_end_is_read() -> None:
    found = rtf.extract(Piece(rb"{\rtf1 a}" + b"PK\x03\x04rest"), Budget(Limits()))
    assert [child.data for child in found.children] == [b"PK\x03\x04rest"]
    assert rtf.extract(Piece(rb"{\rtf1 a}" + b"\x00\r\n}"), Budget(Limits())).children == ()


# --- hostile ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (rb"{\field{\*\fldinst DDEAUTO c:\\\\x cmd}{\fldrslt y}}", "dde"),
        (rb"{\field{\*\fldinst { DDE }{excel x}}}", "dde"),
        (rb'{\field{\*\fldinst INCLUDETEXT "http://x/y.doc"}}', "external"),
        (rb'{\field{\*\fldinst INCLUDEPICTURE "http://x/y.png" \\d}}', "external"),
        (rb"{\*\template http://x/y.dot}", "external"),
        (rb"{\*\template \\\\host\\share\\y.dot}", "external"),
        (rb"{\object\objautlink\objupdate{\*\objdata 00}}", "external"),
        (rb"{\object\objocx{\*\objdata 00}}", "program"),
        (rb"{\field{\*\fldinst MACROBUTTON x y}}", "macro"),
        (objdata(ole1(b"Equation.3", CFB + bytes(600))), "program"),
        (objdata(struct.pack("<II", 0x501, 1) + counted(b"htmlfile") + counted(b"http://x/") + counted(b"")), "external"),
    ],
)
def test_D06_active_content_is_told(body: bytes, name: str) -> None:
    assert name in read(body).active


def test_a_local_template_is_nothing_active() -> None:
    assert read(rb"{\*\template C:\\Users\\x\\Normal.dotm}{\field{\*\fldinst PAGE \\* MERGEFORMAT}{\fldrslt 1}}").active == ()


HEX = ole1(b"Package", package(b"a.exe", b"MZ")).hex().encode()


@pytest.mark.parametrize(
    "data",
    [
        HEX[:20] + b"{" + HEX[20:] + b"}",
        HEX[:20] + rb"{\*\x }" + HEX[20:],
        HEX[:20] + rb"\unknown " + HEX[20:],
        HEX[:20] + rb"\'" + HEX[20:22] + HEX[22:],
        HEX[:20] + b" zz!! " + HEX[20:],
        HEX + b"0",
    ],
)
def test_D06_object_data_in_disguise_is_decoded_and_suspect(data: bytes) -> None:
    found = read(rb"{\object{\*\objdata " + data + b"}}")
    assert found.state is LeafState.SUSPECT
    assert "disguised" in found.reason
    assert found.children


def test_D06_object_data_split_over_lines_and_behind_bin() -> None:
    split = b"\r\n".join(HEX[at : at + 7] for at in range(0, len(HEX), 7))
    raw = bytes.fromhex(HEX.decode())
    for body in (split, rb"\bin%d " % len(raw) + raw):
        found = read(rb"{\object{\*\objdata " + body + b"}}")
        assert [(child.name, child.data) for child in found.children] == [("a.exe", b"MZ")]
        assert found.state is LeafState.INSPECTED


@pytest.mark.parametrize(
    "data",
    [
        b"{\\rtf1" + b"{" * 100_000 + b"SECRET" + b"}" * 100_000 + b"}",
        b"{\\rtf1" + b"{\\*\\x" * 100_000,
        b"{\\rtf1" + b"{\\footnote x}" * 60_000 + b"}",
        b"{\\rtf1" + b"\\'" * 500_000,
        b"{\\rtf1" + b"\\u-1?" * 200_000 + b"}",
        b"{\\rtf1\\bin99999999999999999999 x}",
        b"{\\rtf1\\" + b"a" * 1_000_000 + b"9" * 100_000 + b"}",
        b"{\\rtf1 " + b"{\\pict 00}" * 4000 + b"}",
        b"{\\rtf1 " + b"{\\sp{\\sn a}{\\sv b}}" * 40_000 + b"}",
    ],
)
@pytest.mark.slow
def test_D06_whatever_is_repeated_stays_cheap(data: bytes) -> None:
    start = time.process_time()
    found = attached(data, "a.rtf")
    assert time.process_time() - start < 4
    assert leaf(found).media_type == "text/rtf"


def test_D06_a_document_nested_too_deep_or_cut_off_is_suspect() -> None:
    deep = attached(b"{\\rtf1" + b"{" * 100_000 + b"SECRET" + b"}" * 100_000 + b"}", "a.rtf")
    assert leaf(deep).state is LeafState.SUSPECT
    assert "SECRET" in text(deep)
    cut = leaf(attached(b"{\\rtf1 words", "a.rtf"))
    assert (cut.state, cut.reason) == (LeafState.SUSPECT, "an RTF document that is cut off")


# --- fonts that show Hindi for Latin letters ---------------------------------------------------------------------------

KRUTI = rb"\deff0{\fonttbl{\f0\fnil Arial;}{\f1\fnil\fcharset0 Kruti Dev 010;}{\f2\fnil{\*\falt X}DevLys 010;}}"


@pytest.mark.parametrize(
    "body",
    [
        rb"Sir,\par {\f1 xksiuh;}\par the papers are enclosed.\par",
        rb"Sir,\par \f1 xksiuh;\f0\par the papers are enclosed.\par",
        rb"Sir,\par \f2 xks{\b iuh;}\plain\par the papers are enclosed.\par",
        rb"{\header\f1 xksi\'75h;\par}Sir, the papers are enclosed.\par",
    ],
)
def test_C01_text_in_a_legacy_font_is_read_as_it_is_shown(body: bytes) -> None:
    found = attached(rb"{\rtf1\ansi" + KRUTI + body + b"}", "a.rtf", "application/rtf")
    assert (Level.CONFIDENTIAL, Confidence.CERTAIN) in {(one.level, one.confidence) for one in found.findings}, found.findings
    plain = attached(rb"{\rtf1\ansi" + KRUTI.replace(b"Kruti", b"Times").replace(b"Lys", b"X") + body + b"}", "a.rtf", "application/rtf")
    assert not any(one.confidence is Confidence.CERTAIN for one in plain.findings)  # the words alone are a guess


def test_C01_the_font_of_the_document_and_words_between() -> None:
    found = read(rb'xksiuh; {\f0 and} fo"k;', head=KRUTI.replace(rb"\deff0", rb"\deff1"))
    (legacy,) = [segment for segment in found.segments if segment.font]
    assert (legacy.font, legacy.text.strip()) == ("Kruti Dev 010", 'xksiuh; \n fo"k;')
    assert words(found)[0] == 'xksiuh; and fo"k;'


def test_C01_many_fonts_cost_no_more_than_their_octets() -> None:
    table = b"".join(b"{\\f%d Kruti Dev %d;}" % (number, number) for number in range(30_000))
    start = time.process_time()
    read(b"x" + b"".join(rb"{\f%d y}" % number for number in range(4_000)), head=rb"{\fonttbl" + table + b"}")
    assert time.process_time() - start < 3


LETTERS = [f"{ord(letter)}" for letter in "SECRET"]


@pytest.mark.parametrize(
    "body",
    [
        "".join(r"{\field{\*\fldinst SYMBOL " + one + r" \\f Arial}{\fldrslt}}" for one in LETTERS),
        "".join(r"{\field{\*\fldinst SYMBOL " + hex(int(one)) + r" \\f Arial}}" for one in LETTERS),
        r"{\field{\*\fldinst QUOTE " + " ".join(LETTERS) + "}}",
        r"{\field{\*\fldinst EQ \\s(SEC)\\s(RET)}}",
        r"{\uc3\u8203\b\b\b SECRET}",
        r"SEC\uc2\u8203 RET",
    ],
)
def test_D06_words_that_stand_in_no_run_of_text(body: str) -> None:
    assert "SECRET" in "".join(words(read(body.encode()))).replace("\u200b", "")


def test_D06_noughts_before_a_length() -> None:
    assert "SECRET" in "".join(words(read(rb"x\bin00000000000006{\pict SECRET")))


def test_D06_words_where_digits_are_expected() -> None:
    assert "SECRET" in "".join(words(read(rb"{\pict\pngblip SECRET}")))
