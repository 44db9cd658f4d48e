"""What fuzzing, and reading with its eyes, found: each input did something that it may not do, and does it no longer."""

from __future__ import annotations

import codecs
import io
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pikepdf
import pytest

from gateway.archives import decoders
from gateway.config import Limits
from gateway.content import TABLE
from gateway.documents import html, odf_manifest, odf_text, ooxml_text, pdf_protection, pdf_strings
from gateway.extraction.base import Budget, Found, OverLimit, Piece, Unreadable
from gateway.office import compound, officeart, property_set, tnef_properties, vba


def read(kind: str, data: bytes) -> Found | Unreadable:
    """What the reader of *kind* says; it has four seconds of processor time for it."""
    began = time.process_time()
    try:
        return TABLE[kind](Piece(data, "a.bin"), Budget(Limits()))
    except Unreadable as error:
        return error
    finally:
        assert time.process_time() - began < 4


def test_Z06_a_length_beyond_the_end_is_no_loop() -> None:
    assert isinstance(read("image/webp", b"RIFF\xff\xff\xff\xffWEBP" + bytes(20)), Unreadable)


def test_Z06_entries_of_a_picture_are_counted() -> None:
    directories, entries = 8, 65535
    block = struct.pack("<H", entries) + struct.pack("<HHII", 270, 2, 5, 8) * entries
    data, at = b"II*\0" + struct.pack("<I", 8), 8
    for number in range(directories):
        at += len(block) + 4
        data += block + struct.pack("<I", at if number + 1 < directories else 0)
    assert isinstance(read("image/tiff", data), OverLimit)


def test_Z01_comments_of_a_picture_are_counted_as_they_unpack() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packed = chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(1_000_000), 9))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) + packed * 5000 + chunk(b"IEND", b"")
    assert isinstance(read("image/png", data), OverLimit)


def test_fill_octets_before_a_marker_are_passed_over_at_once() -> None:
    data = b"\xff\xd8\xff\xda\x00\x02" + b"\xff\x00" * 2_000_000 + b"\xff" * 2_000_000 + b"\xff\xd9"
    assert isinstance(read("image/jpeg", data), Found)


@pytest.mark.parametrize(
    "section", ["<![CDA[SECRET]]>", "<![SECRET[ x", "<![ ![SECRET", "<![CDATA[SECRET]]>", "<![if !mso]>SECRET<![endif]>"]
)
def test_E04_sections_without_a_known_name_are_read(section: str) -> None:
    page = html.read("<p>" + "<div>" * 300 + section + "</p>")
    assert any("SECRET" in segment.text for segment in page.segments) or any("SECRET" in link for link in page.links)
    page = html.read(f"<![CDATA[a]]>{section}")
    assert any("SECRET" in segment.text for segment in page.segments)


def test_Z06_folders_of_a_cabinet_are_entries() -> None:
    count = 60_000
    data = struct.pack("<4s5L2B5H", b"MSCF", 0, 0, 0, 36 + 8 * count, 0, 3, 1, count, 1, 0, 0, 0)
    data += struct.pack("<LHH", 36, 0, 0) * count + bytes(5_000_000)
    data = data[:8] + struct.pack("<L", len(data) - 1) + data[12:]
    found = read("cab", data)
    assert isinstance(found, OverLimit)


def budgeted(call: Callable[[Budget], object], seconds: float = 4) -> object:
    """What *call* gives or refuses; it has so many seconds of processor time."""
    began = time.process_time()
    try:
        return call(Budget(Limits(inspect_cpu=0.3)))
    except Unreadable as error:
        return error
    finally:
        assert time.process_time() - began < seconds


def test_Z06_many_store_entries_for_one_place_cost_what_they_cost() -> None:
    delayed = struct.pack("<HHI", 0, 0xF00B, 12) + bytes(8_000_000)
    entry = struct.pack("<20xIII2x", len(delayed), 1, 0).ljust(36, b"\0")
    data = (struct.pack("<HHI", 2, 0xF007, len(entry)) + entry) * 20_000
    assert isinstance(budgeted(lambda budget: officeart.walk(data, budget, officeart.Drawing(), delayed)), OverLimit)


def test_Z08_a_store_entry_in_a_store_entry_is_broken() -> None:
    data = b""
    for _ in range(3):
        body = bytes(36) + data
        data = struct.pack("<HHI", 2, 0xF007, len(body)) + body
    drawing = officeart.Drawing()
    officeart.walk(data, Budget(Limits()), drawing)
    assert drawing.broken


def test_Z06_many_properties_at_one_place_are_paid_for() -> None:
    count, text = 4000, b"A" * 1_000_000
    head = struct.pack("<HHI16sI", 0xFFFE, 0, 0, bytes(16), 1) + struct.pack("<16sI", bytes.fromhex("e0859ff2f94f6810ab9108002b27b3d9"), 48)
    start = 8 + 8 * count
    places = b"".join(struct.pack("<II", 100 + number, start) for number in range(count))
    data = head + struct.pack("<II", start, count) + places + struct.pack("<II", 30, len(text)) + text
    assert isinstance(budgeted(lambda budget: property_set.read(data, budget)), OverLimit)


def test_many_values_of_one_property_are_joined_once() -> None:
    values = 20_000
    data = struct.pack("<IHHI", 1, 0x1102, 0x1234, values) + (struct.pack("<I", 1000) + bytes(1000)) * values
    (item,) = tnef_properties.rows(data, 1, "cp1252", Budget(Limits()))
    assert len(item.raw[0x1234]) == 1001 * values - 1
    budgeted(lambda budget: list(tnef_properties.rows(data, 1, "cp1252", budget)), seconds=2)


def test_Z06_modules_of_a_project_are_entries() -> None:
    name, place = struct.pack("<HI", 0x1A, 1) + b"M", struct.pack("<HII", 0x31, 4, 0)
    listing = b"".join(_chunk((name + place) * 200) for _ in range(200))
    data = compound.build({("VBA", "dir"): b"\x01" + listing, ("VBA", "M"): b"\0" + b"word " * 100_000})
    assert isinstance(budgeted(lambda budget: vba.modules(data, budget)), OverLimit)


def _chunk(plain: bytes) -> bytes:
    """Octets as a compressed chunk of [MS-OVBA] 2.4.1.3 that copies nothing."""
    packed = b"".join(b"\0" + plain[at : at + 8] for at in range(0, len(plain), 8))
    return struct.pack("<H", 0xB000 | len(packed) - 1) + packed


def test_parameters_that_the_library_does_not_take_are_refused() -> None:
    with pytest.raises(Unreadable, match="damaged"):
        list(decoders.lzma1(b"\0" * 20, bytes((8 + 9 * 4,)) + b"\0\0\1\0", 10))


FLAT = (
    '<office:document xmlns:office="o" xmlns:text="t" office:mimetype="application/vnd.oasis.opendocument.text">'
    "<office:body><text:p>{}</text:p></office:body></office:document>"
)
PART = '<w:document xmlns:w="w"><w:p><w:t>{}</w:t></w:p></w:document>'


def flat(data: bytes) -> str:
    """What the reader of flat documents finds in *data*. Raises Unreadable."""
    return "\n".join(segment.text for segment in odf_text.read(data).segments)


def part(data: bytes) -> str:
    """What the reader of Office parts finds in *data*. Raises Unreadable."""
    return "\n".join(segment.text for segment in ooxml_text.read("word/document.xml", data).segments)


def manifest(data: bytes) -> str:
    """The members that a manifest names. Raises Unreadable."""
    return "\n".join(one.path for one in odf_manifest.read(data).members)


XML = [(flat, FLAT), (part, PART), (manifest, '<manifest><file-entry full-path="{}"/></manifest>')]


@pytest.mark.parametrize(("reader", "form"), XML, ids=["odf", "ooxml", "manifest"])
class TestCharacterSetsOfXml:
    @pytest.mark.parametrize("name", ["UTF-x", "UTF-2", "rot13", "unicode_escape", "punycode", "idna", "utf-7", "utf-16", "cp037", "hz"])
    def test_C01_what_is_not_on_the_list_is_not_looked_up(self, reader: Callable[[bytes], str], form: str, name: str) -> None:
        asked: list[str] = []
        codecs.register(note := lambda codec: asked.append(codec))
        try:
            with pytest.raises(Unreadable, match="declares a character set"):
                reader(f'<?xml version="1.0" encoding="{name}"?>{form.format("SECRET")}'.encode())
        finally:
            codecs.unregister(note)
        assert asked == []

    @pytest.mark.parametrize(
        ("name", "codec"),
        [("windows-1251", "cp1251"), ("GB18030", "gb18030"), ("Shift_JIS", "cp932"), ("UTF-16", "utf-16"), ("utf-8", "utf-8-sig")],
    )
    def test_C01_what_is_on_the_list_is_read(self, reader: Callable[[bytes], str], form: str, name: str, codec: str) -> None:
        document = f'<?xml version="1.0" encoding="{name}"?>{form.format("Секретно")}'
        assert "Секретно" in reader(document.encode(codec))

    def test_C01_octets_of_no_character_set_are_refused(self, reader: Callable[[bytes], str], form: str) -> None:
        head, tail = form.split("{}")
        for name in ("us-ascii", "gb18030", "utf-8"):
            with pytest.raises(Unreadable):
                reader(f'<?xml version="1.0" encoding="{name}"?>{head}'.encode() + b"\xff\xff" + tail.encode())
        with pytest.raises(Unreadable, match="two character sets"):
            reader(b"\xef\xbb\xbf" + f'<?xml version="1.0" encoding="koi8-r"?>{form.format("Секретно")}'.encode())


def test_C01_a_declaration_in_encrypted_data_of_an_office_document() -> None:
    data = (Path(__file__).parent / "corpus" / "content" / "office-aes256.docx").read_bytes()
    assert b'encoding="UTF-8"' in data
    assert isinstance(read("ooxml-encrypted", data), Found)
    assert isinstance(read("ooxml-encrypted", data.replace(b'encoding="UTF-8"', b'encoding="UTF-x"')), Unreadable)


@pytest.mark.parametrize(
    "words",
    [
        (b"/Filter /FlateDecode", b"/Filter /Flat#9fDeco"),
        (b"/Filter /FlateDecode", b"/Filter [ /Fl#9fte ]"),
        (b"/Title (A plan of the", b"/T#9fle (\xef\xbb\xbf\x9f of the"),
    ],
)
def test_C01_names_and_strings_of_a_pdf_that_are_no_utf8(words: tuple[bytes, bytes]) -> None:
    pdf = pikepdf.new()
    pdf.add_blank_page()
    pdf.pages[0].Contents = pdf.make_stream(b"BT ET " * 50)
    pdf.docinfo["/Title"] = "A plan of the winter"
    out = io.BytesIO()
    pdf.save(out, compress_streams=True, object_stream_mode=pikepdf.ObjectStreamMode.disable)
    assert words[0] in out.getvalue()
    found = read("pdf", out.getvalue().replace(*words))
    assert isinstance(found, Found | Unreadable)


def test_C01_a_string_of_a_pdf_with_a_false_mark_is_read() -> None:
    assert "SECRET" in pdf_strings.spelled(pikepdf.Object.parse(b"(\xef\xbb\xbf\x9f SECRET)"))
    assert "SECRET" in pdf_strings.spelled(pikepdf.Object.parse(b"/#9fSECRET"))
    assert pdf_strings.spelled(pikepdf.Object.parse(b"<< /A#9f 1 >>")) == ""
    for key in pikepdf.Object.parse(b"<< /A#9f 1 >>").keys():  # noqa: SIM118
        assert pdf_strings.of_key(key).encode() == b"A\xef\xbf\xbd"


@pytest.mark.parametrize("kind", ["ooxml-encrypted", "ole2"])
def test_D13_a_sector_of_two_to_the_65535_octets_is_not_computed_with(kind: str) -> None:
    data = bytearray(compound.build({("EncryptedPackage",): b"x" * 5000, ("EncryptionInfo",): b"y" * 100}))
    data[30:32] = b"\xff\xff"
    assert isinstance(read(kind, bytes(data)), Unreadable)


def test_E05_broken_metadata_of_a_closed_pdf_are_no_fault() -> None:
    pdf = pikepdf.new()
    pdf.add_blank_page()
    pdf.Root.Metadata = pdf.make_stream(b"<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'>\xff<")
    out = io.BytesIO()
    pdf.save(out, encryption=pikepdf.Encryption(user="Sesame", owner="Other"), fix_metadata_version=False)
    assert pdf_protection.lock(out.getvalue()).open("Sesame", Budget(Limits())) is not None


def test_Z12_a_pages_tree_that_counts_wrong_is_a_broken_pdf() -> None:
    data = b"\n6 0 obj<<///Pages 3 0 R/Type/Catalog>>\n8 0 obj<<<<[]>><>/Type/Page>>\n3 0 obj<</Kids[8 0 R 1]>>j<"
    with pytest.raises(pikepdf.QpdfRuntimeError):  # the library has a second kind of error for it
        pikepdf.open(io.BytesIO(data), suppress_warnings=True)
    assert isinstance(read("pdf", data), Unreadable)
