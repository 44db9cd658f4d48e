"""AppleSingle and AppleDouble: what stands beside the data of a Macintosh file. Ids of the catalogue stand in the names."""

from __future__ import annotations

import struct
import time

import pytest

from gateway.levels import Level
from gateway.verdict import Inspection, LeafState
from tests.content_mail import attached, leaf, text

DOUBLE, SINGLE = 0x00051607, 0x00051600
FINDER = b"PDF CARO" + bytes(24)
NOTE = b"SECRET\r\n\r\nThe papers are enclosed.\r\n"


def applefile(*entries: tuple[int, bytes], magic: int = DOUBLE, version: int = 0x20000, gap: bytes = b"") -> bytes:
    at = 26 + 12 * len(entries) + len(gap)
    table, body = b"", b""
    for number, data in entries:
        table += struct.pack(">III", number, at, len(data))
        body += data
        at += len(data)
    return struct.pack(">II16sH", magic, version, b"Mac OS X        ", len(entries)) + table + gap + body


def resources(*found: tuple[bytes, bytes]) -> bytes:
    """A resource fork with one resource of each type."""
    data = b"".join(struct.pack(">I", len(body)) + body for _, body in found)
    types = struct.pack(">H", (len(found) - 1) & 0xFFFF)
    references, at = b"", 0
    for number, (kind, body) in enumerate(found):
        types += kind + struct.pack(">HH", 0, 2 + 8 * len(found) + 12 * number)
        references += struct.pack(">HHII", 128, 0xFFFF, at, 0)
        at += 4 + len(body)
    index = bytes(24) + struct.pack(">HH", 28, 28 + len(types) + len(references)) + types + references
    return struct.pack(">IIII", 256, 256 + len(data), len(data), len(index)) + bytes(240) + data + index


def read(data: bytes) -> Inspection:
    return attached(data, "list.pdf", "application/applefile")


def level(found: Inspection) -> Level | None:
    return max((one.level for one in found.findings), default=None)


@pytest.mark.parametrize(
    "entries",
    [
        [(9, FINDER)],
        [(9, FINDER), (2, b"")],
        [(9, FINDER), (2, resources())],
        [(3, b"list.pdf"), (4, b"for the file"), (8, bytes(16)), (9, FINDER), (2, resources((b"vers", b"1.0"), (b"STR ", b"\x05words")))],
    ],
)
def test_M30_what_holds_names_and_dates_is_read(entries: list[tuple[int, bytes]]) -> None:
    for version in (0x10000, 0x20000):
        assert leaf(read(applefile(*entries, version=version))).state is LeafState.INSPECTED


def test_M30_the_data_fork_is_inspected_as_a_file() -> None:
    found = read(applefile((3, b"note.txt"), (1, NOTE), (9, FINDER), magic=SINGLE))
    assert level(found) is Level.SECRET
    assert any(one.path.endswith("/note.txt") and one.state is LeafState.INSPECTED for one in found.leaves)
    assert leaf(found).container


@pytest.mark.parametrize(
    "entry",
    [
        (3, b"SECRET note.pdf"), (3, "गोपनीय note.pdf".encode()), (4, b"Classification: SECRET"), (4, "वर्गीकरण: गोपनीय".encode()),
        (2, resources((b"STR ", b"Classification: SECRET"))), (2, resources((b"TEXT", "वर्गीकरण: गोपनीय".encode()))),
        (2, resources((b"CODE", b"\x00\x01Classification: SECRET\x00"))), (9, FINDER + b"\x00\x00Classification: SECRET\x00"),
    ],
)  # fmt: skip
def test_M30_words_in_every_entry_are_read(entry: tuple[int, bytes]) -> None:
    found = read(applefile(entry))
    assert (level(found) or Level.UNCLASSIFIED) >= Level.CONFIDENTIAL, text(found)


@pytest.mark.parametrize(
    "data",
    [
        applefile((2, resources((b"PICT", b"x" * 200)))),
        applefile((2, resources((b"STR ", b"x"), (b"CODE", b"\x4e\x75")))),
        applefile((2, b"x" * 300)),
        applefile((9, FINDER + b"ATTR" + bytes(40))),
        applefile((77, b"something")),
        applefile((8, bytes(4000) + b"x")),
        applefile((9, FINDER), gap=b"hidden"),
        applefile((9, FINDER)) + b"%PDF-1.4 behind",
        applefile((9, FINDER))[:40],
        applefile((9, FINDER), version=0x90000),
        struct.pack(">II16sH", DOUBLE, 0x20000, bytes(16), 2) + struct.pack(">III", 9, 50, 32) + struct.pack(">III", 3, 60, 22) + bytes(40),
        struct.pack(">II16sH", DOUBLE, 0x20000, bytes(16), 1) + struct.pack(">III", 9, 4, 32) + bytes(40),
        struct.pack(">II16sH", DOUBLE, 0x20000, bytes(16), 65535) + bytes(40),
    ],
)
def test_M30_what_is_not_read_in_full_is_suspect(data: bytes) -> None:
    found = leaf(read(data))
    assert found.state is LeafState.SUSPECT
    assert found.reason


def test_M30_any_octet_changed_ends_in_a_state() -> None:
    whole = applefile((3, b"list.pdf"), (9, FINDER), (2, resources((b"STR ", b"words"))))
    start = time.process_time()
    for at in range(0, len(whole), 3):
        for octet in (0x00, 0xFF):
            changed = whole[:at] + bytes((octet,)) + whole[at + 1 :]
            assert leaf(read(changed)).state in (LeafState.INSPECTED, LeafState.SUSPECT)
    assert time.process_time() - start < 10
