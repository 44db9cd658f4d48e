"""Words that Outlook, Word, Excel and PowerPoint show from places in older files that few readers look at, and files that hide there."""

from __future__ import annotations

import functools
import io
import os
import struct
import zipfile
from pathlib import Path

import pytest

from gateway.config import Limits
from gateway.extraction.base import Budget
from gateway.office import compound
from gateway.verdict import Inspection, LeafState
from tests.content_mail import attached

FIXTURES = Path(__file__).parent / "fixtures" / "office"
WORD, HINDI = "CONFIDENTIAL", "गोपनीय"
ISCII = bytes((0xB5, 0xE5, 0xC8, 0xC6, 0xDC, 0xCD))
Streams = dict[tuple[str, ...], bytes]


def told(inspection: Inspection) -> bool:
    """Whether the marking was found in the attachment, or the attachment is not called inspected."""
    inside = [one for one in inspection.leaves if one.path.startswith("2")]
    return any(one.path.startswith("2") for one in inspection.findings) or any(one.state is not LeafState.INSPECTED for one in inside)


@functools.cache
def packed_file() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a.txt", os.urandom(1500).hex())
    return out.getvalue()


@functools.cache
def document() -> tuple[tuple[tuple[tuple[str, ...], bytes], ...], str]:
    whole = compound.Compound.parse((FIXTURES / "word.doc").read_bytes(), Budget(Limits()))
    return tuple((path, whole.get(*path)) for path in whole.names()), whole.class_id()


def in_document(streams: Streams) -> Inspection:
    """The inspection of a Word document with *streams* added or exchanged."""
    own, class_id = document()
    return attached(compound.build({**dict(own), **streams}, class_id), "a.doc")


def hidden_file(inspection: Inspection) -> bool:
    return any(one.path.endswith("a.txt") for one in inspection.leaves)


@pytest.mark.parametrize("name", ["list", "o", "ctls", "\x01CompObj", "\x03PRINT", "Equation Native", "\x05Strange", "\x03OCXDATA"])
def test_D05_a_file_in_a_stream_without_a_grammar(name: str) -> None:
    assert hidden_file(in_document({(name,): packed_file()}))


def native(body: bytes, behind: bytes = b"") -> bytes:
    inner = b"\x02\x00a.txt\x00a.txt\x00\x00\x00\x03\x00" + struct.pack("<I", 6) + b"a.txt\x00" + struct.pack("<I", len(body)) + body
    return struct.pack("<I", len(inner + behind)) + inner + behind


@pytest.mark.parametrize("body", [b"", b"roads and bridges"])
def test_D05_a_file_behind_a_package(body: bytes) -> None:
    storage = {("ObjectPool", "_1", "\x01Ole10Native"): native(body, packed_file())}
    assert any("behind-package" in one.path for one in in_document(storage).leaves)


def test_letters_of_an_equation() -> None:
    letters = b"".join(b"\x02\x83" + bytes((letter, 0)) for letter in WORD.encode())
    storage = {("ObjectPool", "_1", "Equation Native"): bytes(28) + letters, ("ObjectPool", "_1", "\x01CompObj"): b"Microsoft Equation 3.0"}
    assert told(in_document(storage))


_SETS = ("e0859ff2f94f6810ab9108002b27b3d9", "02d5cdd59c2e1b10939708002b2cf9ae", "05d5cdd59c2e1b10939708002b2cf9ae")
SUMMARY, DOCUMENT, USER = map(bytes.fromhex, _SETS)
FIRST, SECOND = "\x05SummaryInformation", "\x05DocumentSummaryInformation"


def value(text: bytes) -> bytes:
    text += b"\x00"
    return struct.pack("<II", 0x1E, len(text)) + text + bytes(-len(text) % 4)


def blob(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 4)


def page(number: int) -> tuple[int, bytes]:
    return 1, struct.pack("<II", 2, number)


PAGE = page(1252)


def names(*pairs: tuple[int, bytes]) -> tuple[int, bytes]:
    body = b"".join(struct.pack("<II", number, len(name) + 1) + name + b"\x00" for number, name in pairs)
    return 0, struct.pack("<I", len(pairs)) + body + bytes(-len(body) % 4)


def sets(*sections: tuple[bytes, list[tuple[int, bytes]]]) -> bytes:
    """A stream of property sets: class of each section, and its properties."""
    heads = bodies = b""
    for kind, properties in sections:
        table = values = b""
        for number, data in properties:
            table += struct.pack("<II", number, 8 + 8 * len(properties) + len(values))
            values += data
        heads += kind + struct.pack("<I", 28 + 20 * len(sections) + len(bodies))
        bodies += struct.pack("<II", 8 + len(table) + len(values), len(properties)) + table + values
    return struct.pack("<HHI16sI", 0xFFFE, 0, 0, bytes(16), len(sections)) + heads + bodies


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (FIRST, sets((SUMMARY, [PAGE, (2, value(WORD.encode())), (2, value(b"roads"))]))),
        (FIRST, sets((SUMMARY, [PAGE, (2, value(WORD.encode()))]), (SUMMARY, [PAGE, (2, value(b"roads"))]))),
        (
            SECOND,
            sets((DOCUMENT, [PAGE, (15, value(WORD.encode()))]), (USER, [names((2, b"Company")), PAGE, (2, value(b"roads"))])),
        ),
        (SECOND, sets((DOCUMENT, [PAGE]), (USER, [names((2, b"Classification")), PAGE, (2, value(WORD.encode()))]))),
        (FIRST, sets((SUMMARY, [PAGE, (6, value(b"roads " * 20_000 + b"\r\n" + WORD.encode()))]))),
        (FIRST, sets((SUMMARY, [page(57002), (2, value(ISCII))]))),
        (FIRST, sets((SUMMARY, [PAGE, (40, blob(0x41, WORD.encode()))]))),
        (FIRST, sets((SUMMARY, [PAGE, (17, blob(0x47, struct.pack("<iI", -1, 3) + WORD.encode()))]))),
    ],
    ids=["name twice", "set twice", "user's own Company", "label", "long", "Indian code page", "blob", "picture"],
)
def test_D05_words_in_property_sets(stream: str, data: bytes) -> None:
    assert in_document({(stream,): data}).findings


@pytest.mark.parametrize("data", [sets((SUMMARY, [PAGE, (40, blob(0x41, packed_file()))])), sets((SUMMARY, [PAGE])) + packed_file()])
def test_D05_a_file_in_a_property_set(data: bytes) -> None:
    assert hidden_file(in_document({(FIRST,): data}))


# Outlook


NAMES = "__nameid_version1.0"
PROPERTIES = "__properties_version1.0"


def stream(number: int, kind: int) -> str:
    return f"__substg1.0_{number:04X}{kind:04X}"


def item(values: dict[tuple[int, int], bytes], head: int, at: tuple[str, ...] = (), *fixed: tuple[int, int, int]) -> Streams:
    """The streams of a message (*head* 32), of one within another (24), of a recipient or attachment (8)."""
    streams = {(*at, stream(number, kind)): data for (number, kind), data in values.items()}
    rows = [(number, kind, len(data) + 2 * (kind == 0x1F)) for (number, kind), data in values.items()] + list(fixed)
    streams[*at, PROPERTIES] = bytes(head) + b"".join(struct.pack("<HHIQ", kind, number, 6, size) for number, kind, size in rows)
    return streams


def wide(text: str) -> bytes:
    return text.encode("utf-16-le")


def message(values: dict[tuple[int, int], bytes] | None = None, more: Streams | None = None, *fixed: tuple[int, int, int]) -> Inspection:
    own = {(0x37, 0x1F): wide("roads"), (0x1000, 0x1F): wide("bridges"), (0x1A, 0x1F): wide("IPM.Note"), **(values or {})}
    streams = {**item(own, 32, (), *fixed), **{(NAMES, stream(number, 0x102)): b"" for number in (2, 3, 4)}, **(more or {})}
    return attached(compound.build(streams, "{00020D0B-0000-0000-C000-000000000046}"), "a.msg")


def test_an_ordinary_item_says_nothing() -> None:
    assert not told(message())


@pytest.mark.parametrize(
    ("number", "kind", "data"),
    [
        (0x1000, 0x102, HINDI.encode()),
        (0x9001, 0x102, HINDI.encode()),
        (0x0E03, 0x1F, wide(WORD)),
        (0x0075, 0x1F, wide(WORD)),
        (0x001A, 0x1F, wide(WORD)),
        (0x9001, 0x101F, wide(WORD)),
    ],
)
def test_D13_words_in_properties_of_an_item(number: int, kind: int, data: bytes) -> None:
    assert message({(number, kind): data}).findings


def test_D13_a_subject_in_two_parts() -> None:
    assert message({(0x3D, 0x1F): wide("SEC"), (0x0E1D, 0x1F): wide("RET")}).findings


@pytest.mark.parametrize(("number", "kind", "data"), [(0x1000, 0x1E, ISCII), (0x1013, 0x102, b"<p>" + ISCII + b"</p>")])
def test_D13_a_body_in_an_indian_code_page(number: int, kind: int, data: bytes) -> None:
    assert message({(number, kind): data}, None, (0x3FFD, 3, 57002), (0x3FDE, 3, 57002)).findings


RECIPIENT, ATTACHMENT = "__recip_version1.0_#00000000", "__attach_version1.0_#00000000"


@pytest.mark.parametrize(
    "more",
    [
        {(NAMES, "x"): packed_file()},
        {(NAMES, stream(0x1001, 0x102)): packed_file()},
        {**item({(0x3001, 0x1F): wide("A")}, 8, (RECIPIENT,)), (RECIPIENT, "x"): packed_file()},
        {**item({(0x3001, 0x1F): wide("A")}, 8, (RECIPIENT,)), (RECIPIENT, stream(0x3701, 0x0D), "x"): packed_file()},
        {**item({(0x3701, 0x102): b"roads"}, 8, (ATTACHMENT,), (0x3705, 3, 1)), (ATTACHMENT, "x"): packed_file()},
        item({(0x3701, 0x102): b"roads", (0x3702, 0x102): packed_file()}, 8, (ATTACHMENT,), (0x3705, 3, 1)),
        item({(0x3701, 0x102): b"roads", (0x3709, 0x102): packed_file()}, 8, (ATTACHMENT,), (0x3705, 3, 1)),
    ],
)
def test_D13_a_file_where_an_item_has_none(more: Streams) -> None:
    assert hidden_file(message(None, more))


def test_D13_a_file_in_a_property_of_an_item() -> None:
    assert hidden_file(message({(0x9001, 0x102): packed_file()}))


# winmail.dat


def attribute(level: int, number: int, data: bytes) -> bytes:
    return struct.pack("<BHHI", level, number, 6, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def properties(*values: tuple[int, int, bytes]) -> bytes:
    out = struct.pack("<I", len(values))
    for number, kind, data in values:
        out += struct.pack("<HHII", kind, number, 1, len(data)) + data + bytes(-len(data) % 4)
    return out


def winmail(*attributes: bytes) -> Inspection:
    return attached(tnef(*attributes), "winmail.dat", "application/ms-tnef")


def tnef(*attributes: bytes) -> bytes:
    return struct.pack("<IH", 0x223E9F78, 1) + attribute(1, 0x9007, struct.pack("<II", 1252, 0)) + b"".join(attributes)


SHOWN, BODY = attribute(2, 0x9002, bytes(14)), attribute(2, 0x800F, b"roads")
INNER = tnef(attribute(1, 0x800C, WORD.encode()))
NAME = (0x3707, 0x1F, wide("a.txt"))


@pytest.mark.parametrize(
    "attributes",
    [
        (attribute(1, 0x8008, WORD.encode()),),
        (attribute(1, 0x8005, b"\x00" * 20 + WORD.encode()),),
        (SHOWN, attribute(2, 0x8010, WORD.encode() + b".txt\x00"), attribute(2, 0x8010, b"a.txt\x00"), BODY),
        (SHOWN, attribute(2, 0x8010, WORD.encode() + b".txt\x00"), BODY, attribute(2, 0x9005, properties(NAME))),
        (SHOWN, attribute(2, 0x9001, WORD.encode()), attribute(2, 0x8010, b"a.txt\x00"), BODY),
        (SHOWN, BODY, attribute(2, 0x9005, properties((0x3701, 0x0D, bytes(16) + INNER))), attribute(2, 0x9005, properties(NAME))),
        (SHOWN, attribute(2, 0x9005, properties(NAME, (0x3701, 0x0D, bytes(16) + INNER), (0x3701, 0x0D, bytes(16) + tnef())))),
    ],
)
def test_M27_words_in_winmail(attributes: tuple[bytes, ...]) -> None:
    assert winmail(*attributes).findings


@pytest.mark.parametrize(
    "attributes",
    [
        (attribute(1, 0x7777, b"7z\xbc\xaf\x27\x1c" + bytes(900)),),
        (attribute(1, 0x9003, properties((0x1000, 0x1F, wide("x"))) + b"7z\xbc\xaf\x27\x1c" + bytes(900)),),
        (SHOWN, BODY, attribute(2, 0x9005, properties((0x4444, 0x0D, bytes(16) + b"7z\xbc\xaf\x27\x1c" + bytes(900))))),
    ],
)
def test_M27_a_file_where_winmail_has_none(attributes: tuple[bytes, ...]) -> None:
    assert told(winmail(*attributes))
