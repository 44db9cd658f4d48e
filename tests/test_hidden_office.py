"""Words that an Office document shows, and that stand nowhere as one piece of its running text."""

from __future__ import annotations

import io
import zipfile

import docx
import openpyxl
import pptx
import pytest
from pptx.util import Inches

from gateway.verdict import Inspection, LeafState
from tests.content_mail import attached, leaf

_MAIN = b"<w:p><w:r><w:t>ZZZ</w:t></w:r></w:p>"
_SHEET = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_MC = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" xmlns:zz="urn:zz"'


def _document() -> bytes:
    document = docx.Document()
    for text in ("Papers about the canteen and its opening hours.", "ZZZ", "Please send the list by Friday."):
        document.add_paragraph(text)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


_DOCUMENT = _document()


def _packed(package: bytes, changed: dict[str, bytes]) -> bytes:
    """*package* with the parts *changed*, or added."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(package)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        for name in names:
            new.writestr(name, changed.get(name, old.read(name)))
        for name, data in changed.items():
            if name not in names:
                new.writestr(name, data)
    return out.getvalue()


def _part(name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(_DOCUMENT)) as file:
        return file.read(name)


def _levels(inspection: Inspection) -> set[str]:
    return {finding.level.name for finding in inspection.findings}


def _run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


_WORD = {
    "a field code inside of the word": _run("SEC") + '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText> SET x </w:instrText>'
    '</w:r><w:r><w:fldChar w:fldCharType="end"/></w:r>' + _run("RET"),
    "letters hidden by a style": _run("S") + _run("xq", '<w:rStyle w:val="Hid"/>') + _run("ECRET"),
    "hiding that is switched off": _run("SEC", '<w:vanish w:val="0"/>') + _run("RET"),
    "white letters": _run("S") + _run("xq", '<w:color w:val="FFFFFF"/>') + _run("ECRET"),
    "letters of one point": _run("S") + _run("xq", '<w:sz w:val="2"/>') + _run("ECRET"),
    "a phonetic guide": _run("SEC") + "<w:r><w:ruby><w:rubyPr/><w:rt>" + _run("x") + "</w:rt><w:rubyBase>" + _run("RET")
    + "</w:rubyBase></w:ruby></w:r>",
    "the second of two alternatives": _run("SEC") + f'<mc:AlternateContent {_MC}><mc:Choice Requires="zz">{_run("qqq")}</mc:Choice>'
    f"<mc:Fallback>{_run('RET')}</mc:Fallback></mc:AlternateContent>",
    "the first of two alternatives": _run("SEC") + f'<mc:AlternateContent {_MC}><mc:Choice Requires="zz">{_run("RET")}</mc:Choice>'
    f"<mc:Fallback>{_run('qqq')}</mc:Fallback></mc:AlternateContent>",
    "an insertion that is refused": _run("SE") + f'<w:ins w:author="a">{_run("xx")}</w:ins>' + _run("CRET"),
    "a deletion that is refused": _run("SE") + '<w:del w:author="a"><w:r><w:delText>CRE</w:delText></w:r></w:del>' + _run("T"),
    "brackets of formulas": '<m:oMath xmlns:m="m">' + "".join(f'<m:d><m:dPr><m:begChr m:val="{c}"/></m:dPr></m:d>' for c in "SECRET")
    + "</m:oMath>",
}  # fmt: skip


@pytest.mark.parametrize("trick", _WORD)
def test_words_that_word_shows(trick: str) -> None:
    styles = _part("word/styles.xml").replace(
        b"</w:styles>",
        b'<w:style w:type="character" w:styleId="Hid"><w:name w:val="Hid"/><w:rPr><w:vanish/></w:rPr></w:style></w:styles>',
    )
    text = _part("word/document.xml").replace(_MAIN, f"<w:p>{_WORD[trick]}</w:p>".encode())
    found = attached(_packed(_DOCUMENT, {"word/document.xml": text, "word/styles.xml": styles}), "note.docx")
    assert "SECRET" in _levels(found)


def test_ordinary_fields_and_changes_add_nothing() -> None:
    text = _part("word/document.xml").replace(_MAIN, f"<w:p>{_WORD['white letters'].replace('ECRET', 'taff')}</w:p>".encode())
    assert not attached(_packed(_DOCUMENT, {"word/document.xml": text}), "note.docx").findings


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("customXml/item9.xml", '<?xml version="1.0"?><a b="TOP SECRET"/>'),
        ("word/webextensions/webextension1.xml", '<?xml version="1.0"?><e><property name="t" value="&quot;TOP SECRET&quot;"/></e>'),
        ("word/charts/chart1.xml", '<?xml version="1.0"?><chart><numFmt formatCode="&quot;TOP SECRET&quot;"/></chart>'),
        ("word/comments9.xml", "<?xml version='1.0'?><c><comment initials = 'TOP SECRET'/></c>"),
    ],
)
def test_words_in_attributes_of_any_part(name: str, data: str) -> None:
    assert "TOP_SECRET" in _levels(attached(_packed(_DOCUMENT, {name: data.encode()}), "note.docx"))


@pytest.mark.parametrize("code", ['"SECRET"', "\\S\\E\\C\\R\\E\\T", '"SEC""RET"', '0;0;"SECRET"', '[Red]"SECRET"_)'])
def test_a_number_that_is_shown_as_a_word(code: str) -> None:
    book = openpyxl.Workbook()
    book.active["A1"] = 7
    book.active["A1"].number_format = code
    out = io.BytesIO()
    book.save(out)
    assert "SECRET" in _levels(attached(out.getvalue(), "list.xlsx"))


def _workbook(rows: str, strings: str = "", tail: str = "", more: dict[str, bytes] | None = None) -> bytes:
    out = io.BytesIO()
    openpyxl.Workbook().save(out)
    parts = {
        "xl/worksheets/sheet1.xml": f'<?xml version="1.0"?><worksheet {_SHEET}><sheetData>{rows}</sheetData>{tail}</worksheet>'.encode()
    }
    if strings:
        parts["xl/sharedStrings.xml"] = f'<?xml version="1.0"?><sst {_SHEET}>{strings}</sst>'.encode()
    return _packed(out.getvalue(), {**parts, **(more or {})})


_SHARED = "".join(f"<si><t>{letter}</t></si>" for letter in "SECRT")
_BOOKS = {
    "one letter to a cell": _workbook(
        '<row r="1">' + "".join(f'<c r="{"ABCDEF"[at]}1" t="s"><v>{"SECRT".index(letter)}</v></c>' for at, letter in enumerate("SECRET"))
        + "</row>", _SHARED),
    "one letter below the other": _workbook(
        "".join(f'<row r="{at + 1}"><c r="B{at + 1}" t="s"><v>{"SECRT".index(letter)}</v></c></row>' for at, letter in enumerate("SECRET")),
        _SHARED),
    "a phonetic guide": _workbook('<row r="1"><c r="A1" t="s"><v>0</v></c></row>',
                                  '<si><r><t>SEC</t></r><rPh sb="0" eb="1"><t>xx</t></rPh><r><t>RET</t></r></si>'),
    "a formula of two texts": _workbook('<row r="1"><c r="A1" t="str"><f>"SEC"&amp;"RET"</f></c></row>'),
    "a formula of numbers": _workbook(
        '<row r="1"><c r="A1"><f>' + "&amp;".join(f"CHAR({ord(letter)})" for letter in "SECRET") + "</f></c></row>"),
    "a header in two fonts": _workbook("", tail='<headerFooter><oddHeader>&amp;LSEC&amp;"Arial,Bold"&amp;12RET</oddHeader></headerFooter>'),
    "an item of a pivot table": _workbook("", more={
        "xl/pivotCache/pivotCacheDefinition1.xml": b'<?xml version="1.0"?><p><sharedItems><s v="SECRET"/></sharedItems></p>'}),
}  # fmt: skip


@pytest.mark.parametrize("trick", _BOOKS)
def test_words_that_excel_shows(trick: str) -> None:
    assert "SECRET" in _levels(attached(_BOOKS[trick], "list.xlsx"))


def _slides() -> bytes:
    slides = pptx.Presentation()
    slide = slides.slides.add_slide(slides.slide_layouts[6])
    slide.shapes.add_textbox(Inches(1), Inches(1), Inches(1), Inches(1)).text_frame.text = "menu"
    out = io.BytesIO()
    slides.save(out)
    return out.getvalue()


def test_words_that_powerpoint_shows_beside_the_slide() -> None:
    package = _slides()
    with zipfile.ZipFile(io.BytesIO(package)) as file:
        slides, slide = file.read("ppt/presentation.xml"), file.read("ppt/slides/slide1.xml")
    section = b'<p:extLst><p:ext uri="{5}"><s:section xmlns:s="s" name="TOP SECRET"/></p:ext></p:extLst></p:presentation>'
    named = _packed(package, {"ppt/presentation.xml": slides.replace(b"</p:presentation>", section)})
    assert "TOP_SECRET" in _levels(attached(named, "talk.pptx"))
    bullet = _packed(package, {"ppt/slides/slide1.xml": slide.replace(b"<a:r>", b'<a:pPr><a:buChar char="SECRET"/></a:pPr><a:r>')})
    assert "SECRET" in _levels(attached(bullet, "talk.pptx"))


def test_printer_settings_of_a_macintosh_are_read() -> None:
    found = attached(_slides(), "talk.pptx")
    assert leaf(found, "ppt/printerSettings/printerSettings1.bin").state is LeafState.INSPECTED
    assert leaf(found).state is LeafState.INSPECTED
    with zipfile.ZipFile(io.BytesIO(_slides())) as file:
        settings = file.read("ppt/printerSettings/printerSettings1.bin")
    longer = attached(_packed(_slides(), {"ppt/printerSettings/printerSettings1.bin": settings + b"\x01\x02"}), "talk.pptx")
    assert leaf(longer, "ppt/printerSettings/printerSettings1.bin").state is LeafState.SUSPECT
