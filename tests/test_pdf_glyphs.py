"""A font of a PDF that shows other letters than the text of the page says."""

from __future__ import annotations

import io
import struct

import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name

from gateway.documents import pdf_glyphs
from gateway.verdict import LeafState
from tests.content_mail import attached

_SHOWN, _SAID = "SECRTabc", "MENUSabc"


def _font(**tables: bytes) -> bytes:
    """A font program of nothing but *tables*."""
    head, body = struct.pack(">4sHHHH", b"\x00\x01\x00\x00", len(tables), 0, 0, 0), b""
    for name, table in tables.items():
        head += struct.pack(">4sIII", name.ljust(4).encode(), 0, 12 + 16 * len(tables) + len(body), len(table))
        body += table
    return head + body


def _cmap(kind: int, letters: str = _SHOWN) -> bytes:
    """Glyph 1 is the first of *letters*, and so on."""
    glyphs = sorted((ord(letter), at) for at, letter in enumerate(letters, 1))
    if kind == 12:
        body = struct.pack(">HHIII", 12, 0, 0, 0, len(glyphs)) + b"".join(struct.pack(">III", one, one, at) for one, at in glyphs)
    else:
        ranges = [*glyphs, (0xFFFF, 0)]
        columns = ([one for one, _ in ranges], [one for one, _ in ranges], [(at - one) & 0xFFFF for one, at in ranges], [0] * len(ranges))
        ends, starts, moves, offsets = (struct.pack(f">{len(ranges)}H", *column) for column in columns)
        body = struct.pack(">HHHHHHH", 4, 0, 0, 2 * len(ranges), 0, 0, 0) + ends + b"\x00\x00" + starts + moves + offsets
    return struct.pack(">HHHHI", 0, 1, 3, 10 if kind == 12 else 1, 12) + body


def _post(letters: str = _SHOWN) -> bytes:
    numbers = [0] + [ord(letter) - 29 if at % 2 else 258 + at // 2 for at, letter in enumerate(letters)]
    names = b"".join(b"\x07uni%04X" % ord(letter) for letter in letters[::2])
    return b"\x00\x02\x00\x00" + bytes(28) + struct.pack(f">H{len(numbers)}H", len(numbers), *numbers) + names


def _cff(letters: str = _SHOWN) -> bytes:
    """A font in the compact format whose charset names its glyphs."""

    def index(*items: bytes) -> bytes:
        ends = [1]
        for item in items:
            ends.append(ends[-1] + len(item))
        return struct.pack(">HB", len(items), 1) + bytes(ends) + b"".join(items) if items else b"\x00\x00"

    charset = b"\x00" + b"".join(struct.pack(">H", ord(letter) - 31) for letter in letters)
    start = b"\x01\x00\x04\x01" + index(b"F")

    def top(place: int) -> bytes:
        return index(struct.pack(">BIBBIB", 29, place, 15, 29, place + len(charset), 17)) + index() + index()

    return start + top(len(start) + len(top(0))) + charset + index(*[b"\x0e"] * (len(letters) + 1))


def _state(program: bytes, said: str, *, key: str = "FontFile2", moved: bool = False) -> set[LeafState]:
    """What is said of a page in a font with codes of its own, whose table gives out its glyphs as *said*."""
    pdf = pikepdf.new()
    pdf.add_blank_page(page_size=(595, 842))
    page = pdf.pages[0]
    shift = 5 if moved else 0
    pairs = " ".join(f"<{at + shift:04X}> <{ord(letter):04X}>" for at, letter in enumerate(said, 1))
    table = f"1 begincodespacerange <0000> <FFFF> endcodespacerange {len(said)} beginbfchar {pairs} endbfchar".encode()
    inner = Dictionary(
        Type=Name.Font, Subtype=Name.CIDFontType2, BaseFont=Name("/AAAAAA+Text"), DW=600,
        FontDescriptor=Dictionary({"/Type": Name.FontDescriptor, "/Flags": 4, "/" + key: pdf.make_stream(program)}),
    )  # fmt: skip
    if moved:
        inner.CIDToGIDMap = pdf.make_stream(bytes(10) + struct.pack(">9H", *range(9)))
    font = Dictionary(Type=Name.Font, Subtype=Name.Type0, BaseFont=Name("/AAAAAA+Text"), Encoding=Name("/Identity-H"),
                      DescendantFonts=Array([pdf.make_indirect(inner)]), ToUnicode=pdf.make_stream(table))  # fmt: skip
    page.Resources = Dictionary(Font=Dictionary(F1=pdf.make_indirect(font)))
    line = "".join(f"{at + shift:04X}" for at in range(1, len(said) + 1))
    page.Contents = pdf.make_stream(f"BT /F1 12 Tf 50 760 Td <{line}> Tj ET".encode())
    out = io.BytesIO()
    pdf.save(out)
    return {one.state for one in attached(out.getvalue(), "note.pdf").leaves if one.path.startswith("2")}


_PROGRAMS = {
    "cmap 4": (_font(cmap=_cmap(4)), "FontFile2", False),
    "cmap 12": (_font(cmap=_cmap(12)), "FontFile2", False),
    "codes of its own": (_font(cmap=_cmap(4)), "FontFile2", True),
    "names": (_font(post=_post()), "FontFile2", False),
    "charset": (_cff(), "FontFile3", False),
}


@pytest.mark.parametrize("kind", _PROGRAMS)
def test_a_font_that_shows_other_letters_than_the_text_says(kind: str) -> None:
    program, key, moved = _PROGRAMS[kind]
    assert LeafState.UNINSPECTABLE in _state(program, _SAID, key=key, moved=moved)
    assert _state(program, _SHOWN, key=key, moved=moved) == {LeafState.INSPECTED}
    assert _state(program, _SHOWN.lower(), key=key, moved=moved) == {LeafState.INSPECTED}  # small capitals


@pytest.mark.parametrize("kind", _PROGRAMS)
def test_a_damaged_font_says_nothing_and_breaks_nothing(kind: str) -> None:
    program, _, _ = _PROGRAMS[kind]
    font = Dictionary(DescendantFonts=Array([]), Encoding=Name("/Identity-H"))
    for cut in range(0, len(program), 3):
        pdf_glyphs.letters(font, Dictionary(), program[:cut])
        pdf_glyphs.letters(font, Dictionary(), program[:cut] + b"\xff\xff\xff" + program[cut + 3 :])
