"""The readers of Office documents: hostile-inputs catalogue D01-D04, E11, E12."""

from __future__ import annotations

import base64
import io
import zipfile

import pytest

from gateway.documents import ooxml_text
from gateway.levels import Level
from gateway.protection import ProtectionState
from gateway.verdict import Inspection, LeafState, Zone
from tests.content_mail import CORPUS, attached, leaf, sample, text, zipped

TYPES = b'<?xml version="1.0"?><Types><Override ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'  # noqa: E501


def document(*parts: tuple[str, bytes]) -> bytes:
    """A DOCX with *parts* beside its list of types."""
    return zipped(("[Content_Types].xml", TYPES), *parts)


def body(inner: str) -> bytes:
    """A main part with *inner* in its body."""
    return f'<?xml version="1.0"?><w:document xmlns:w="w" xmlns:v="v"><w:body>{inner}</w:body></w:document>'.encode()


def test_all_places_of_a_document() -> None:
    found = sample("note.docx")
    words = text(found)
    for word in (
        "title-word", "footer-word", "split-word", "hidden-word", "seen-together", "cell-one", "box-word", "alt-word", "watermark-word",
        "comment-word",
    ):  # fmt: skip
        assert word in words
    assert leaf(found).state is LeafState.INSPECTED
    assert leaf(found).media_type.endswith("wordprocessingml.document")
    assert any(one.level is Level.CONFIDENTIAL and one.zone is Zone.PAGE_HEADER for one in found.findings)


def test_a_workbook() -> None:
    found = sample("table.xlsx")
    assert "cell-word" in text(found)
    assert "गोपनीय" in text(found)
    assert leaf(found).media_type.endswith("spreadsheetml.sheet")


def test_a_presentation() -> None:
    found = sample("slides.pptx")
    assert "slide-word" in text(found)
    assert leaf(found).state is LeafState.INSPECTED


def test_pictures_are_leaves() -> None:
    picture = (CORPUS / "p.png").read_bytes()
    found = attached(document(("word/document.xml", body("<w:p/>")), ("word/media/image1.png", picture)), "a.docx")
    assert leaf(found, "word/media/image1.png").state is LeafState.UNINSPECTABLE


def test_sheet_headers_are_page_headers() -> None:
    part = ooxml_text.read(
        "xl/worksheets/sheet1.xml",
        b'<worksheet><headerFooter><oddHeader>&amp;C&amp;"Arial,Bold"&amp;12SECRET</oddHeader></headerFooter></worksheet>',
    )
    assert [(one.text.strip(), one.zone) for one in part.segments] == [("SECRET", Zone.PAGE_HEADER)]


def test_numbers_of_cells_are_not_text_but_strings_are() -> None:
    part = ooxml_text.read(
        "xl/worksheets/sheet1.xml",
        b'<s><row><c r="A1"><v>42</v></c><c t="str"><v>told</v></c><c t="inlineStr"><is><t>in</t></is></c></row></s>',
    )
    assert [one.text.split() for one in part.segments] == [["told", "in"]]


def test_a_text_box_does_not_split_its_paragraph() -> None:
    inner = "<w:p><w:r><w:t>CONFI</w:t></w:r><w:r><w:pict><v:textbox><w:txbxContent><w:p><w:r><w:t>box</w:t></w:r></w:p></w:txbxContent></v:textbox></w:pict></w:r><w:r><w:t>DENTIAL</w:t></w:r></w:p>"  # noqa: E501
    found = attached(document(("word/document.xml", body(inner))), "a.docx")
    assert "CONFIDENTIAL" in text(found)
    assert any(one.level is Level.CONFIDENTIAL for one in found.findings)


@pytest.mark.parametrize(
    "cut", ["<w:r><w:rPr><w:vanish/></w:rPr><w:t>xx</w:t></w:r>", "<w:del><w:r><w:delText>xx</w:delText></w:r></w:del>"]
)
def test_hidden_and_deleted_text_does_not_split_words(cut: str) -> None:
    inner = f"<w:p><w:r><w:t>SEC</w:t></w:r>{cut}<w:r><w:t>RET</w:t></w:r></w:p>"
    words = text(attached(document(("word/document.xml", body(inner))), "a.docx"))
    assert "SECRET" in words
    assert "xx" in words


def test_labels_in_custom_properties() -> None:
    custom = b'<?xml version="1.0"?><Properties xmlns:vt="vt"><property name="MSIP_Label_2096f6a2-d2f7-48be-b329-b73aaa526e5d_Name"><vt:lpwstr>Secret</vt:lpwstr></property></Properties>'  # noqa: E501
    found = attached(document(("docProps/custom.xml", custom)), "a.docx")
    assert any(one.level is Level.SECRET for one in found.findings)


def test_D01_a_document_type_definition_is_refused() -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><w:document xmlns:w="w"><w:t>&d;</w:t></w:document>'
    found = leaf(attached(document(("word/document.xml", bomb)), "dtd.docx"))
    assert found.state is LeafState.SUSPECT
    assert "type definition" in found.reason


def test_D01_deep_xml() -> None:
    found = leaf(attached(document(("word/document.xml", b"<a>" * 100_000)), "deep.docx"))
    assert found.state is LeafState.SUSPECT
    assert "deeper" in found.reason


def test_D01_too_much_xml() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("[Content_Types].xml", TYPES)
        for number in range(3):
            file.writestr(f"word/styles{number}.xml", b"<a>" + b'<b c="d"/>' * 2_500_000 + b"</a>")
    found = leaf(attached(out.getvalue(), "large.docx"))
    assert found.state is LeafState.SUSPECT


@pytest.mark.parametrize("part", [b"<w:document", b"<w:document></w:body>", b'<?xml version="1.0" encoding="x"?><a/>'])
def test_broken_xml_is_suspect(part: bytes) -> None:
    assert leaf(attached(document(("word/document.xml", part)), "broken.docx")).state is LeafState.SUSPECT


def test_D02_parts_loaded_from_outside_are_told() -> None:
    rels = b'<Relationships><Relationship Id="r" Type="http://x/attachedTemplate" Target="http://evil.example/t.dotm" TargetMode="External"/></Relationships>'  # noqa: E501
    found = leaf(attached(document(("word/_rels/settings.xml.rels", rels)), "template.docx"))
    assert "outside" in found.reason


def test_D03_macros_are_suspect() -> None:
    found = attached(document(("word/vbaProject.bin", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)), "macro.docx")
    assert leaf(found, "word/vbaProject.bin").state is LeafState.SUSPECT


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_D04_a_part_twice() -> None:
    found = leaf(attached(document(("word/document.xml", body("")), ("word/document.xml", body("<w:p/>"))), "twice.docx"))
    assert found.state is LeafState.SUSPECT
    assert "ambiguous" in found.reason


def test_text_in_a_part_that_is_named_like_styles() -> None:
    found = attached(document(("word/styles.xml", body("<w:p><w:r><w:t>TOP SECRET</w:t></w:r></w:p>"))), "styles.docx")
    assert any(one.level is Level.TOP_SECRET for one in found.findings)


@pytest.mark.parametrize(
    "data",
    [
        b"<a><b>text</b></a>", b"<a><![CDATA[text]]></a>", b"<a/>text", '<?xml version="1.0"?><a>शब्द</a>'.encode(),
        '<?xml version="1.0" encoding="utf-16"?><a>text</a>'.encode("utf-16"), b'<?xml version="1.0" encoding="cp037"?><a/>',
        b'<a><v:textpath string="SECRET"/></a>', b'<a><w:lvlText w:val="SECRET"/></a>', b"<a>\n  t\n</a>", b"<!DOCTYPE a><a/>",
    ],
)  # fmt: skip
def test_no_part_that_speaks_is_called_silent(data: bytes) -> None:
    assert not ooxml_text.is_silent(data)


def test_a_style_part_is_silent() -> None:
    with zipfile.ZipFile(CORPUS / "note.docx") as file:
        assert ooxml_text.is_silent(file.read("word/styles.xml"))
        assert not ooxml_text.is_silent(file.read("word/document.xml"))


def test_E22_aes256_is_proved() -> None:
    found = leaf(sample("office-aes256.docx"))
    assert found.state is LeafState.OPAQUE
    assert (found.protection.state, found.protection.scheme, found.protection.bits) == (ProtectionState.STRONG, "ooxml", 256)


@pytest.mark.parametrize(("name", "word"), [("office-velvet.xlsx", "cell-word"), ("office-empty.docx", "split-word")])
def test_E11_the_default_password_is_no_protection(name: str, word: str) -> None:
    found = sample(name)
    assert leaf(found).protection.state is ProtectionState.NONE
    assert leaf(found, "document").state is LeafState.INSPECTED
    assert word in text(found)


def package(data: bytes) -> tuple[int, int]:
    """Where the encrypted octets of the fixture lie: the longest stretch after the first sectors."""
    import olefile

    with olefile.OleFileIO(io.BytesIO(data)) as ole:
        payload = ole.openstream("EncryptedPackage").read()
    return data.index(payload[:512]), len(payload)


def test_E11_a_fake_package_that_is_a_zip() -> None:
    data = (CORPUS / "office-aes256.docx").read_bytes()
    at, _ = package(data)
    fake = data[: at + 8] + b"PK\x03\x04" + data[at + 12 :]
    found = leaf(attached(fake, "fake.docx"))
    assert found.state is LeafState.SUSPECT
    assert found.protection.state is ProtectionState.UNVERIFIABLE


def test_E11_a_fake_package_of_plain_text() -> None:
    data = (CORPUS / "office-aes256.docx").read_bytes()
    at, _ = package(data)
    plain = b"the words of a secret note " * 2000
    fake = data[: at + 8] + plain[: len(data) - at - 8]
    found = leaf(attached(fake[: len(data)], "fake.docx"))
    assert found.state is LeafState.SUSPECT
    assert found.protection.state is not ProtectionState.STRONG


def test_E12_keys_below_256_bits_are_weak() -> None:
    data = (CORPUS / "office-aes256.docx").read_bytes().replace(b'keyBits="256"', b'keyBits="128"')
    found = leaf(attached(data, "weak.docx"))
    assert found.state is LeafState.SUSPECT
    assert found.protection.state is ProtectionState.WEAK


def test_E12_sheet_protection_is_no_encryption() -> None:
    sheet = b'<worksheet><sheetProtection password="CC1A" sheet="1"/><sheetData><row><c t="inlineStr"><is><t>open-word</t></is></c></row></sheetData></worksheet>'  # noqa: E501
    found = attached(document(("xl/worksheets/sheet1.xml", sheet)), "protected.xlsx")
    assert leaf(found).protection.state is ProtectionState.NONE
    assert "open-word" in text(found)


def names_of_active(found: Inspection) -> set[str]:
    return {one.name for one in found.observations if one.kind == "active"}


@pytest.mark.parametrize("kind", ["attachedTemplate", "oleObject", "frame", "subDocument", "externalLinkPath", "image"])
def test_D02_what_is_loaded_from_outside_is_active(kind: str) -> None:
    rels = (
        f'<Relationships><Relationship Id="r" Type="http://x/{kind}" Target="\\\\server\\share\\t" TargetMode="External"/></Relationships>'
    )
    assert "external" in names_of_active(attached(document(("word/_rels/document.xml.rels", rels.encode())), "a.docx"))


@pytest.mark.parametrize("name", ["word/vbaProject.bin", "xl/macrosheets/sheet1.xml", "other/vbaProject.bin"])
def test_D03_macros_are_active_under_any_name_of_the_document(name: str) -> None:
    assert "macro" in names_of_active(attached(document((name, b"<a>macro</a>")), "a.docx"))


@pytest.mark.parametrize(
    "content",
    [
        '<w:p><w:r><w:instrText> DDEAUTO c:\\\\windows\\\\system32\\\\cmd.exe "/k calc.exe" </w:instrText></w:r></w:p>',
        '<w:fldSimple w:instr=" DDE excel x y"/>',
        "<x:ddeLink ddeService='cmd' ddeTopic='/c calc'/>",
    ],
)
def test_D11_dynamic_data_exchange_is_told(content: str) -> None:
    part = body(content).replace(b'xmlns:v="v"', b'xmlns:v="v" xmlns:x="x"')
    assert "dde" in names_of_active(attached(document(("word/document.xml", part)), "a.docx"))


@pytest.mark.parametrize(
    "types",
    [
        b'<Types><Override PartName="/word/document.xml" ContentType="a"/><Override PartName="/word/Document.xml" ContentType="b"/></Types>',  # noqa: E501
        b'<Types><Override PartName="/word/a.xml" ContentType="x.document.main+xml"/>'
        b'<Override PartName="/word/document.xml" ContentType="x.document.main+xml"/></Types>',
        b'<Types><Override PartName="/elsewhere.xml" ContentType="application/vnd.openxmlformats.wordprocessingml.document.main+xml"/></Types>',  # noqa: E501
    ],
)
def test_D04_a_list_of_parts_that_lies_is_ambiguous(types: bytes) -> None:
    data = zipped(("[Content_Types].xml", types), ("word/document.xml", body("")), ("word/a.xml", body("")))
    found = leaf(attached(data, "a.docx"))
    assert found.state is LeafState.SUSPECT
    assert "ambiguous" in found.reason


def test_D04_parts_that_differ_in_case_only() -> None:
    found = leaf(attached(document(("word/document.xml", body("")), ("Word/Document.xml", body(""))), "a.docx"))
    assert found.state is LeafState.SUSPECT


class TestFonts:
    GUID = "0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9"

    def font(self) -> bytes:
        words = "FontName-word".encode("utf-16-be")
        table = b"\0\0\0\1\0\x12" + bytes(12) + words + bytes(-len(words) % 4)
        return b"\0\1\0\0\0\1" + bytes(6) + b"name" + bytes(4) + (28).to_bytes(4, "big") + len(table).to_bytes(4, "big") + table

    def hidden(self, font: bytes) -> bytes:
        mask = bytes.fromhex(self.GUID.replace("-", ""))[::-1]
        return bytes(octet ^ mask[at % 16] for at, octet in enumerate(font[:32])) + font[32:]

    def read(self, font: bytes) -> Inspection:
        table = f'<w:fonts xmlns:w="w"><w:font><w:embedRegular w:fontKey="{{{self.GUID}}}"/></w:font></w:fonts>'.encode()
        return attached(document(("word/fonts/font1.odttf", font), ("word/fontTable.xml", table)), "a.docx")

    def test_a_hidden_font_is_read(self) -> None:
        found = self.read(self.hidden(self.font()))
        assert leaf(found).state is LeafState.INSPECTED, leaf(found).reason
        assert "FontName-word" in text(found)

    @pytest.mark.parametrize("data", [b"TOP SECRET " * 30, b"\0\1\0\0" + b"\xff" * 40])
    def test_what_is_no_font_is_suspect(self, data: bytes) -> None:
        assert leaf(self.read(data)).state is LeafState.SUSPECT

    def test_a_font_with_other_data_behind_it_is_suspect(self) -> None:
        assert leaf(self.read(self.hidden(self.font() + b"hidden words" * 9))).state is LeafState.SUSPECT


@pytest.mark.parametrize("branch", ["Choice", "Fallback"])
def test_both_branches_of_alternate_content_are_read(branch: str) -> None:
    inner = (
        f'<w:p><w:r><mc:AlternateContent xmlns:mc="m"><mc:{branch}><w:t>branch-word</w:t></mc:{branch}></mc:AlternateContent></w:r></w:p>'
    )
    assert "branch-word" in text(attached(document(("word/document.xml", body(inner))), "a.docx"))


@pytest.mark.parametrize(
    ("name", "part", "word"),
    [
        ("ppt/diagrams/data1.xml", "<d:dataModel xmlns:d='d' xmlns:a='a'><a:t>smart-word</a:t></d:dataModel>", "smart-word"),
        ("ppt/slideMasters/slideMaster1.xml", "<p:sldMaster xmlns:p='p' xmlns:a='a'><a:t>master-word</a:t></p:sldMaster>", "master-word"),
        ("ppt/slideLayouts/slideLayout1.xml", "<p:l xmlns:p='p' xmlns:a='a'><a:t>layout-word</a:t></p:l>", "layout-word"),
        ("ppt/notesSlides/notesSlide1.xml", "<p:n xmlns:p='p' xmlns:a='a'><a:t>notes-word</a:t></p:n>", "notes-word"),
        ("ppt/comments/comment1.xml", "<p:c xmlns:p='p'><p:cm><p:text>comment-word</p:text></p:cm></p:c>", "comment-word"),
        ("xl/charts/chart1.xml", "<c:c xmlns:c='c'><c:pt><c:v>chart-word</c:v></c:pt></c:c>", "chart-word"),
        ("xl/workbook.xml", "<workbook><sheets><sheet name='sheet-name-word' state='veryHidden'/></sheets></workbook>", "sheet-name-word"),
        ("xl/workbook.xml", "<workbook><definedNames><definedName name='x'>'defined-word'</definedName></definedNames></workbook>", "defined-word"),  # noqa: E501
        ("xl/worksheets/sheet1.xml", "<w><dataValidations><dataValidation prompt='prompt-word'/></dataValidations></w>", "prompt-word"),
        ("xl/threadedComments/t1.xml", "<T><threadedComment><text>thread-word</text></threadedComment></T>", "thread-word"),
        ("word/glossary/document.xml", "<w:d xmlns:w='w'><w:t>glossary-word</w:t></w:d>", "glossary-word"),
        ("customXml/item1.xml", "<root><mark>custom-word</mark></root>", "custom-word"),
        ("docMetadata/LabelInfo.xml", "<c:labelList xmlns:c='c'><c:label id='label-word' name='n'/></c:labelList>", "label-word"),
        ("_xmlsignatures/sig1.xml", "<S><SignatureComments>signature-word</SignatureComments></S>", "signature-word"),
        ("any/name.xml", "<a>anywhere-word</a>", "anywhere-word"),
        ("word/afchunk.mht", "MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<p>chunk-word</p>", "chunk-word"),
        ("word/embeddings/note.txt", "embedded-word", "embedded-word"),
    ],
)  # fmt: skip
def test_every_part_is_read(name: str, part: str, word: str) -> None:
    assert word in text(attached(document((name, part.encode())), "a.docx"))


SECRET_LABEL = "2096f6a2-d2f7-48be-b329-b73aaa526e5d"


def with_label(attributes: str) -> Inspection:
    """A document whose label stands in the part of its own."""
    part = (
        '<?xml version="1.0"?><clbl:labelList xmlns:clbl="http://schemas.microsoft.com/office/2020/mipLabelMetadata">'
        f'<clbl:label id="{{{SECRET_LABEL}}}" {attributes} siteId="{{cb46c030-1825-4e81-a295-151c039dbf02}}"/></clbl:labelList>'
    )
    return attached(document(("docMetadata/LabelInfo.xml", part.encode())), "a.docx")


@pytest.mark.parametrize(
    ("attributes", "levels"),
    [
        ('enabled="1" name="Secret" removed="0" method="Privileged"', {Level.SECRET}),
        ('enabled="0" name="Secret" removed="1" method="Standard"', set()),
    ],
)
def test_a_label_in_a_part_of_its_own_counts_while_it_is_enabled(attributes: str, levels: set[Level]) -> None:
    assert {one.level for one in with_label(attributes).findings if one.detector == "label"} == levels


def test_a_label_in_a_part_of_its_own_becomes_properties() -> None:
    part = f'<l:labelList xmlns:l="l"><l:label id="{{{SECRET_LABEL}}}" enabled="1" siteId="{{s}}" contentBits="1"/></l:labelList>'
    properties = ooxml_text.read("docMetadata/LabelInfo.xml", part.encode()).properties
    assert properties == {f"MSIP_Label_{SECRET_LABEL}_{name}": value for name, value in
                          (("Enabled", "1"), ("SiteId", "{s}"), ("ContentBits", "1"))}  # fmt: skip


def test_metadata_of_TITUS_in_custom_XML_is_a_label() -> None:
    metadata = base64.b64encode(b'{"props":[{"n":"Classification","vals":[{"value":"SECRET"}]}]}').decode()
    part = f'<titus xmlns="http://schemas.titus.com/TitusProperties/"><TitusMetadata xmlns="">{metadata}</TitusMetadata></titus>'
    found = attached(document(("customXml/item1.xml", part.encode())), "a.docx")
    assert any(one.level is Level.SECRET and one.detector == "label" for one in found.findings)


STRICT = "http://purl.oclc.org/ooxml"


def test_strict_documents_are_read_by_the_same_names() -> None:
    """The namespaces of ISO/IEC 29500 strict are others than those that most programs write."""
    types = TYPES.replace(b"http://schemas.openxmlformats.org", STRICT.encode())
    word = f'xmlns:w="{STRICT}/wordprocessingml/main"'
    text_of = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>"
    main = f'<w:document {word} w:conformance="strict"><w:body>{text_of.format("body-word")}</w:body></w:document>'
    data = zipped(
        ("[Content_Types].xml", types),
        ("_rels/.rels", f'<Relationships><Relationship Id="r" Type="{STRICT}/officeDocument/relationships/officeDocument" '
                        'Target="word/document.xml"/></Relationships>'.encode()),
        ("word/document.xml", main.encode()),
        ("word/header1.xml", f"<w:hdr {word}>{text_of.format('CONFIDENTIAL')}</w:hdr>".encode()),
        ("word/footer1.xml", f"<w:ftr {word}>{text_of.format('footer-word')}</w:ftr>".encode()),
        ("word/comments.xml", f"<w:comments {word}><w:comment>{text_of.format('comment-word')}</w:comment></w:comments>".encode()),
        ("word/footnotes.xml", f"<w:footnotes {word}><w:footnote>{text_of.format('note-word')}</w:footnote></w:footnotes>".encode()),
    )  # fmt: skip
    found = attached(data, "strict.docx")
    assert leaf(found).state is LeafState.INSPECTED, leaf(found).reason
    for one in ("body-word", "footer-word", "comment-word", "note-word"):
        assert one in text(found)
    assert any(one.level is Level.CONFIDENTIAL and one.zone is Zone.PAGE_HEADER for one in found.findings)


def test_strict_workbooks_are_read_by_the_same_names() -> None:
    sheet = f'xmlns="{STRICT}/spreadsheetml/main" conformance="strict"'
    edged = f"<worksheet {sheet}><headerFooter><oddHeader>&amp;CRESTRICTED</oddHeader></headerFooter></worksheet>"
    commented = f"<comments {sheet}><commentList><comment><text><t>comment-word</t></text></comment></commentList></comments>"
    data = zipped(
        ("[Content_Types].xml", b'<Types><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>'),  # noqa: E501
        ("xl/workbook.xml", f'<workbook {sheet}><sheets><sheet name="sheet-name-word" state="hidden"/></sheets></workbook>'.encode()),
        ("xl/sharedStrings.xml", f"<sst {sheet}><si><t>shared-word</t></si></sst>".encode()),
        ("xl/worksheets/sheet1.xml", edged.encode()),
        ("xl/comments1.xml", commented.encode()),
    )  # fmt: skip
    found = attached(data, "strict.xlsx")
    assert leaf(found).state is LeafState.INSPECTED, leaf(found).reason
    for one in ("sheet-name-word", "shared-word", "comment-word"):
        assert one in text(found)
    assert any(one.level is Level.RESTRICTED and one.zone is Zone.PAGE_HEADER for one in found.findings)
