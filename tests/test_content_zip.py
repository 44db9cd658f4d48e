"""The zip reader: hostile-inputs catalogue groups Z and E."""

from __future__ import annotations

import io
import random
import struct
import time
import zipfile
import zlib

import pytest

from gateway.config import Limits
from gateway.levels import Level
from gateway.protection import ProtectionState
from gateway.verdict import LeafState
from tests.content_mail import CORPUS, attached, leaf, sample, text, zipped

NOTE = b"The order of the section officer.\n" * 60


def patched(data: bytes, at: int, value: bytes) -> bytes:
    """*data* with *value* at *at*."""
    return data[:at] + value + data[at + len(value) :]


def central(data: bytes) -> int:
    """Where the central directory starts."""
    return data.index(b"PK\x01\x02")


def test_members_are_read() -> None:
    found = sample("zip-plain.zip")
    assert leaf(found).state is LeafState.INSPECTED
    assert leaf(found).container
    assert leaf(found, "long.txt").state is LeafState.INSPECTED
    assert "ministry" in text(found)


@pytest.mark.parametrize("name", ["zip-bzip2.zip", "zip-lzma.zip", "zip-deflate64.zip"])
def test_other_methods_are_read(name: str) -> None:
    assert leaf(sample(name), "long.txt").state is LeafState.INSPECTED


def test_a_method_without_reader_is_suspect() -> None:
    data = zipped(("long.txt", NOTE))
    other = struct.pack("<H", 97)  # WavPack
    found = leaf(attached(patched(patched(data, 8, other), central(data) + 10, other), "w.zip"), "long.txt")
    assert found.state is LeafState.SUSPECT
    assert "method" in found.reason


def test_E24_nested_paths_are_reported() -> None:
    found = sample("zip-nested.zip")
    assert leaf(found, "deep2.zip/deep1.zip/annex.txt").state is LeafState.INSPECTED
    assert any(one.level is Level.CONFIDENTIAL and one.path.endswith("deep1.zip/annex.txt") for one in found.findings)


def test_Z01_too_deep() -> None:
    data = NOTE
    for number in range(9):
        data = zipped((f"level{number}.zip", data))
    found = attached(data, "deep.zip")
    assert any(one.state is LeafState.SUSPECT and "nested deeper" in one.reason for one in found.leaves)


def test_Z02_overlapping_members() -> None:
    kernel = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = kernel.compress(b"0" * 100_000) + kernel.flush()
    crc = zlib.crc32(b"0" * 100_000)
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, crc, len(packed), 100_000, 1, 0) + b"a"
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, crc, len(packed), 100_000, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 50, 50, 50 * len(entry), len(local) + len(packed), 0)
    found = leaf(attached(local + packed + entry * 50 + end, "overlap.zip"))
    assert found.state is LeafState.SUSPECT
    assert "overlap" in found.reason


def test_Z03_a_bomb_stops_at_the_ratio() -> None:
    data = zipped(("zeros", b"\0" * 120_000_000))
    start = time.process_time()
    found = attached(data, "bomb.zip")
    assert leaf(found).state is LeafState.SUSPECT
    assert "more than the limit" in leaf(found, "zeros").reason
    assert time.process_time() - start < 12


def test_Z03_the_total_is_limited() -> None:
    rng = random.Random(1)
    members = [(f"m{n}", rng.randbytes(30_000)) for n in range(10)]
    found = attached(zipped(*members), "big.zip", limits=Limits(archive_bytes=100_000))
    assert leaf(found).state is LeafState.SUSPECT
    assert "more than the limit" in leaf(found).reason


def test_Z04_too_many_entries() -> None:
    data = zipped(*[(f"m{n}.txt", b"") for n in range(60)])
    found = leaf(attached(data, "many.zip", limits=Limits(archive_entries=50)))
    assert found.state is LeafState.SUSPECT
    assert "more entries" in found.reason


def test_Z04_a_count_that_lies() -> None:
    data = zipped(("a.txt", NOTE))
    at = data.rindex(b"PK\x05\x06")
    found = leaf(attached(patched(data, at + 8, struct.pack("<HH", 9, 9)), "lie.zip"))
    assert found.state is LeafState.SUSPECT


@pytest.mark.parametrize(
    ("offset", "value"),
    [(10, struct.pack("<H", 0)), (16, b"\1\2\3\4"), (20, struct.pack("<L", 3)), (24, struct.pack("<L", 5)), (46, b"b")],
    ids=["method", "crc", "packed", "size", "name"],
)
def test_Z05_two_headers_that_disagree(offset: int, value: bytes) -> None:
    data = zipped(("a.txt", NOTE))
    found = leaf(attached(patched(data, central(data) + offset, value), "two.zip"))
    assert found.state is LeafState.SUSPECT
    assert found.reason


@pytest.mark.parametrize("where", ["before", "after", "comment"])
def test_Z05_data_around_the_archive(where: str) -> None:
    data = zipped(("a.txt", NOTE))
    inner = zipped(("b.txt", b"another"))
    if where == "before":
        data = b"prefix" * 20 + data
    elif where == "after":
        data += b"suffix" * 20
    else:
        data = data[:-2] + struct.pack("<H", len(inner)) + inner
    found = leaf(attached(data, "around.zip"))
    assert found.state is LeafState.SUSPECT


def test_Z05_a_member_that_the_directory_hides() -> None:
    whole = zipped(("a.txt", NOTE), ("hidden.txt", b"SECRET"))
    first = central(whole)
    second = whole.index(b"PK\x01\x02", first + 4)
    end = whole.rindex(b"PK\x05\x06")
    directory = whole[first:second]
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), first, 0)
    found = leaf(attached(whole[:first] + directory + tail, "hidden.zip"))
    assert end > second
    assert found.state is LeafState.SUSPECT
    assert "hidden" in found.reason


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/etc/passwd", "C:\\windows\\x", "a\\..\\..\\b"])
def test_Z06_names_that_lead_out(name: str) -> None:
    info = zipfile.ZipInfo("x" * len(name))
    data = zipped(("x" * len(name), NOTE)).replace(info.filename.encode(), name.encode())
    found = attached(data, "slip.zip")
    assert leaf(found).state is LeafState.SUSPECT
    assert "leads out" in leaf(found).reason


def test_Z06_a_link() -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    info.create_system = 3
    out = zipped(("link", b"/etc/passwd"))
    at = central(out)
    out = patched(patched(out, at + 5, b"\x03"), at + 38, struct.pack("<L", 0o120777 << 16))
    assert "link" in leaf(attached(out, "link.zip")).reason


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_Z08_two_members_of_one_name() -> None:
    found = attached(zipped(("a.txt", b"harmless"), ("a.txt", b"TOP SECRET\n\nthe second one\n")), "twice.zip")
    assert leaf(found).state is LeafState.SUSPECT
    assert leaf(found, "a.txt").state is LeafState.INSPECTED
    assert leaf(found, "a.txt~2").state is LeafState.INSPECTED
    assert any(one.level is Level.TOP_SECRET for one in found.findings)


@pytest.mark.parametrize("name", ["a\u202etxt.exe", "क" * 200, "a" * 3000, "x\ty"])
def test_Z09_odd_names(name: str) -> None:
    found = attached(zipped((name, NOTE)), "odd.zip")
    inner = found.leaves[-1]
    assert inner.state is LeafState.INSPECTED
    assert inner.path.isprintable()
    assert len(inner.name) <= 255


def test_Z11_a_volume_of_several() -> None:
    data = zipped(("a.txt", NOTE))
    at = data.rindex(b"PK\x05\x06")
    found = leaf(attached(patched(data, at + 4, struct.pack("<HH", 1, 1)), "part.z01"))
    assert found.state is LeafState.SUSPECT
    assert "volume" in found.reason


def test_Z12_an_archive_behind_a_picture() -> None:
    picture = (CORPUS / "p.png").read_bytes()
    found = attached(picture + zipped(("a.txt", NOTE)), "p.png", "image/png")
    assert leaf(found).state is LeafState.SUSPECT


def test_Z12_a_program_with_an_archive() -> None:
    found = attached(b"MZ\x90\x00" + bytes(range(256)) * 4 + zipped(("a.txt", NOTE)), "setup.exe")
    assert leaf(found).state is LeafState.SUSPECT


@pytest.mark.parametrize("name", ["zip-plain.zip", "zip-aes256.zip", "zip-crypto.zip"])
@pytest.mark.slow
def test_Z13_a_flipped_octet_never_fails_open(name: str) -> None:
    data = (CORPUS / name).read_bytes()
    rng = random.Random(name)
    headers = [at for mark in (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06") for at in range(len(data)) if data.startswith(mark, at)]
    clean = {one.path: one.sha256 for one in attached(data, "m.zip").leaves}
    for _ in range(120):
        at = rng.choice(headers) + rng.randrange(46)
        if at >= len(data):
            continue
        broken = patched(data, at, bytes([data[at] ^ 1 << rng.randrange(8)]))
        found = attached(broken, "m.zip")
        for one in found.leaves:
            if one.path.count("/") and one.state is LeafState.INSPECTED:
                # Whatever is called read is octet for octet what the archive held.
                assert one.sha256 in clean.values()


def test_Z13_truncated_at_every_length() -> None:
    data = zipped(("a.txt", NOTE), ("b.txt", NOTE[::-1]))
    for length in range(8, len(data), 7):
        assert leaf(attached(data[:length], "cut.zip")).state is LeafState.SUSPECT


# --- encryption -------------------------------------------------------------------------------------------------------


def flagged(data: bytes, *, local: bool, directory: bool) -> bytes:
    """*data* with the encryption bit set in its headers."""
    out = bytearray(data)
    if local:
        out[6] |= 1
    if directory:
        out[central(data) + 8] |= 1
    return bytes(out)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_E01_a_flag_over_plain_data(method: int) -> None:
    found = attached(flagged(zipped(("a.txt", b"CONFIDENTIAL\n\n" + NOTE), method=method), local=True, directory=True), "fake.zip")
    inner = leaf(found, "a.txt")
    assert inner.state is LeafState.SUSPECT
    assert inner.protection.state is ProtectionState.NONE
    assert "plain" in inner.reason
    assert any(one.level is Level.CONFIDENTIAL for one in found.findings)


@pytest.mark.parametrize(("local", "directory"), [(True, False), (False, True)])
def test_E02_a_flag_in_one_header_only(local: bool, directory: bool) -> None:
    found = leaf(attached(flagged(zipped(("a.txt", NOTE)), local=local, directory=directory), "one.zip"))
    assert found.state is LeafState.SUSPECT
    assert "ambiguous" in found.reason
    assert found.protection.state is not ProtectionState.STRONG


def test_E03_E23_one_plain_member() -> None:
    found = sample("zip-mixed.zip")
    assert leaf(found).protection.state is ProtectionState.NONE
    assert "2 of 3" in leaf(found).protection.reason
    assert leaf(found, "long.txt").state is LeafState.OPAQUE
    assert leaf(found, "annex.txt").state is LeafState.INSPECTED
    assert any(one.level is Level.CONFIDENTIAL for one in found.findings)


@pytest.mark.parametrize("name", ["zip-aes256.zip", "zip-aes256-stored.zip", "zip-aes256-small.zip", "zip-plain-in-aes.zip"])
def test_E22_aes256_is_proved(name: str) -> None:
    found = sample(name)
    for one in found.leaves[1:]:
        assert one.state is LeafState.OPAQUE
        assert (one.protection.state, one.protection.bits, one.protection.scheme) == (ProtectionState.STRONG, 256, "zip")


@pytest.mark.parametrize(("name", "bits"), [("zip-aes128.zip", 128), ("zip-aes192.zip", 192), ("zip-crypto.zip", 96)])
def test_E04_below_aes256_is_weak(name: str, bits: int) -> None:
    found = sample(name)
    for one in found.leaves[1:]:
        assert one.state is LeafState.SUSPECT
        assert (one.protection.state, one.protection.bits) == (ProtectionState.WEAK, bits)


def aes_member(payload: bytes, *, flag: int = 1, method: int = 99, real: int = 0, size: int | None = None, version: int = 2) -> bytes:
    """A zip whose one member has an AES-256 record over *payload*."""
    extra = struct.pack("<HHH2sBH", 0x9901, 7, version, b"AE", 3, real)
    size = len(payload) - 28 if size is None else size
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 51, flag, method, 0, 0, 0, len(payload), size, 5, len(extra)) + b"a.txt" + extra
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 51, 51, flag, method, 0, 0, 0, len(payload), size, 5, len(extra), 0, 0, 0, 0, 0)
    entry += b"a.txt" + extra
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), len(local) + len(payload), 0)
    return local + payload + entry + end


def test_E04_AE2_over_plain_text() -> None:
    found = leaf(attached(aes_member(b"s" * 16 + b"vv" + NOTE + b"m" * 10), "fake.zip"), "a.txt")
    assert found.state is LeafState.SUSPECT
    assert found.protection.state is ProtectionState.UNVERIFIABLE
    assert "readable text" in found.reason


def test_E04_AE2_over_deflated_text() -> None:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = engine.compress(random.Random(3).randbytes(3000).hex().encode()) + engine.flush()
    found = leaf(attached(aes_member(b"s" * 16 + b"vv" + packed + b"m" * 10, real=8, size=6000), "fake.zip"), "a.txt")
    assert found.protection.state is ProtectionState.UNVERIFIABLE
    assert "decompressed" in found.reason


def test_E04_an_AES_record_with_method_0() -> None:
    noise = random.Random(4).randbytes(4096)
    found = leaf(attached(aes_member(noise, method=0, flag=0, size=4096), "fake.zip"), "a.txt")
    assert found.protection.state is not ProtectionState.STRONG
    assert found.state is LeafState.SUSPECT


def test_E04_no_flag_but_method_99() -> None:
    noise = random.Random(5).randbytes(4096)
    found = leaf(attached(aes_member(noise, flag=0), "fake.zip"), "a.txt")
    assert found.protection.state is ProtectionState.UNVERIFIABLE


def test_E06_zipcrypto_around_a_plain_zip() -> None:
    found = leaf(sample("zip-plain-in-zipcrypto.zip"))
    assert found.protection.state is ProtectionState.WEAK


def test_E24_an_encrypted_archive_inside_a_plain_one() -> None:
    found = sample("zip-aes-in-plain.zip")
    assert leaf(found, "locked.zip/long.txt").state is LeafState.OPAQUE
    assert leaf(found).protection.state is ProtectionState.STRONG
    assert leaf(found).state is LeafState.INSPECTED


ODT = (
    b'<?xml version="1.0"?><office:document-content xmlns:office="o" xmlns:text="t" xmlns:style="s" xmlns:table="x">'
    b"<style:style/><table:table/><text:p>CONF<text:span>IDENT</text:span>IAL</text:p></office:document-content>"
)
MANIFEST = ("META-INF/manifest.xml", b'<?xml version="1.0"?><manifest:manifest xmlns:manifest="m"/>')
MIMETYPE = ("mimetype", b"application/vnd.oasis.opendocument.text")


@pytest.mark.parametrize("members", [(MIMETYPE, ("content.xml", ODT), MANIFEST), (("content.xml", ODT), MANIFEST)], ids=["packed", "bare"])
@pytest.mark.parametrize("name", ["note.odt", "note.zip"])
def test_an_opendocument_file_that_was_packed_anew_is_no_plain_archive(members: tuple[tuple[str, bytes], ...], name: str) -> None:
    """Office programs open it whatever program packed it; without a reader it is suspect, not an archive of clean members."""
    assert leaf(attached(zipped(*members), name)).state is LeafState.SUSPECT


def test_an_archive_that_holds_an_opendocument_file_is_read_as_an_archive() -> None:
    inner = zipped(MIMETYPE, ("content.xml", ODT), MANIFEST, method=zipfile.ZIP_STORED)
    found = attached(zipped(("note.odt", inner), ("long.txt", NOTE), method=zipfile.ZIP_STORED), "papers.zip")
    assert leaf(found).state is LeafState.INSPECTED
    assert leaf(found, "long.txt").state is LeafState.INSPECTED
    assert leaf(found, "note.odt").state is LeafState.SUSPECT


def test_a_word_in_pieces_of_office_markup_is_one_word() -> None:
    found = attached(ODT, "content.xml", "application/xml")
    assert [finding.level for finding in found.findings] == [Level.CONFIDENTIAL]


@pytest.mark.parametrize("where", ["archive", "member"])
def test_comments_of_archives_are_read(where: str) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        member = zipfile.ZipInfo("long.txt")
        if where == "archive":
            file.comment = "गोपनीय".encode()
        else:
            member.comment = "गोपनीय".encode()
        file.writestr(member, NOTE)
    found = attached(out.getvalue(), "papers.zip")
    assert [(one.level, one.path) for one in found.findings] == [(Level.CONFIDENTIAL, "2:papers.zip")]
    assert leaf(found).state is LeafState.INSPECTED
