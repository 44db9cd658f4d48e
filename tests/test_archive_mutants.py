"""One octet changed anywhere in an archive: no crash, never an invented protection, never cleaner than the truth."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.archives import libarchive
from gateway.config import Limits
from gateway.content import TABLE
from gateway.content.sniff import sniff
from gateway.extraction.base import Budget, Found, OverLimit, Piece, Unreadable
from gateway.protection import ProtectionState
from gateway.verdict import LeafState

FOLDER = Path(__file__).parent / "fixtures" / "archives"
FILES = (
    "7zip-deflate.zip", "aes256-deflated.zip", "infozip-zipcrypto-9.zip", "lzma2.7z", "plain-header.7z", "aes-lzma2.7z", "ppmd.7z",
    "rar5-solid.rar", "rar5-crc.rar", "rar5-psw.rar", "rar3-subdirs.rar", "plain.gnu.tar", "plain.pax.tar", "note.txt.gz", "note.txt.bz2",
    "note.txt.xz", "note.txt.zst", "plain.cab", "mszip.cab", "plain.iso", "joliet.iso",
)  # fmt: skip
CHECKED = (".zip", ".7z", ".rar", ".gz", ".bz2", ".xz")
"""Formats with a checksum of the content: what is called read is what was packed."""
UNCHECKED = (".zst",)
"""Packed without a checksum: what is unpacked is what every program would unpack, whatever that is."""


def read(data: bytes) -> Found | None:
    """What the readers say; None where they refuse."""
    total: Found | None = None
    for kind in sniff(Piece(data)).kinds:
        try:
            total = TABLE[kind](Piece(data), Budget(Limits()))
        except (Unreadable, OverLimit, OSError):
            return None
    return total


def near(data: bytes, original: bytes) -> bool:
    """*data* is *original* but for one octet."""
    return len(data) == len(original) and sum(one != other for one, other in zip(data, original, strict=True)) <= 1


def check(name: str, original: Found, broken: bytes) -> None:
    found = read(broken)
    if found is None or found.state is LeafState.SUSPECT:
        return
    strong = original.protection.state is ProtectionState.STRONG
    assert found.protection.state is not ProtectionState.STRONG or strong, name
    plain = [child.data for child in original.children if child.state is None]
    clean = [child.data for child in found.children if child.state is None]
    assert len(found.children) >= len(original.children), name
    for data in clean:
        exact = data in plain or name.endswith(UNCHECKED)
        assert exact or (not name.endswith(CHECKED) and any(near(data, one) for one in plain)), name


def mutate(name: str, count: int, seed: int) -> None:
    data = (FOLDER / name).read_bytes()
    original = read(data)
    assert original is not None
    rng = random.Random(f"{name} {seed}")
    # Structures stand at the ends more often than in the middle.
    full = [at for at in range(len(data)) if data[at]] if name.endswith((".iso", ".tar")) else list(range(len(data)))
    for _ in range(count):
        at = rng.choice(full) if rng.random() < 0.7 else rng.randrange(len(data))
        broken = bytearray(data)
        broken[at] = rng.randrange(256) if rng.random() < 0.3 else broken[at] ^ 1 << rng.randrange(8)
        if bytes(broken) != data:
            check(name, original, bytes(broken))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.skipif(not libarchive.available(), reason="libarchive is not installed")
@pytest.mark.slow
def test_Z13_one_octet_changed(name: str) -> None:
    mutate(name, 60, 1)


@pytest.mark.long
@pytest.mark.parametrize("name", FILES)
@pytest.mark.skipif(not libarchive.available(), reason="libarchive is not installed")
def test_Z13_two_thousand_octets_changed(name: str) -> None:
    mutate(name, 2000, 2)


@pytest.mark.parametrize("name", FILES)
def test_Z13_cut_off_anywhere(name: str) -> None:
    data = (FOLDER / name).read_bytes()
    kinds = sniff(Piece(data)).kinds
    for length in range(8, len(data), max(len(data) // 25, 1)):
        if sniff(Piece(data[:length])).kinds != kinds:
            continue  # too short to be one: it is read as what it is then
        found = read(data[:length])
        # What is cut off in padding alone is whole.
        assert found is None or found.state is LeafState.SUSPECT or any(child.state for child in found.children) or not any(data[length:])
