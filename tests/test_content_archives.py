"""The readers of 7z, rar, tar, cab, iso and single compressed files: hostile-inputs catalogue group Z."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import py7zr
import pytest
import zstandard

from gateway.archives import libarchive
from gateway.config import Limits
from gateway.levels import Level
from gateway.protection import ProtectionState
from gateway.verdict import Inspection, LeafState
from tests import archive_octets as octets
from tests.content_mail import CORPUS, attached, inspect, leaf, mail, text, zipped

FOLDER = Path(__file__).parent / "fixtures" / "archives"
NOTE = b"CONFIDENTIAL\n\nThe order of the section officer on the matter under reference.\n" * 8
PASSWORD = "Sesame-2024"


def fixture(name: str, **more: str) -> Inspection:
    return inspect(mail((FOLDER / name).read_bytes(), more.pop("name", name), **more))


def tarred(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as file:
        for info, data in members:
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def never_clean(found: Inspection) -> None:
    """Something about the attachment is not clean."""
    assert any(one.state is not LeafState.INSPECTED for one in found.leaves if one.path.startswith("2"))


# --- what is read -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "lzma2.7z", "lzma.7z", "bzip2.7z", "ppmd.7z", "deflate.7z", "deflate64.7z", "copy.7z", "bcj.7z", "delta.7z", "plain-header.7z",
        "separate.7z", "arm.7z", "zstd.7z", "plain.cab", "mszip.cab", "plain.iso", "joliet.iso", "plain.ustar.tar", "plain.pax.tar",
        "plain.gnu.tar", "note.txt.gz", "note.txt.bz2", "note.txt.xz", "note.txt.lzma", "note.txt.zst",
        "7zip-copy.zip", "7zip-deflate.zip", "7zip-deflate64.zip", "7zip-bzip2.zip", "7zip-lzma.zip", "7zip-ppmd.zip",
    ],
)  # fmt: skip
def test_Z10_read_in_full(name: str) -> None:
    name = name.replace("plain.ustar", "plain.ustar")
    found = fixture(name)
    assert leaf(found).container
    assert [one.state for one in found.leaves] == [LeafState.INSPECTED] * len(found.leaves), [one.reason for one in found.leaves]
    assert "paragraph 11" in text(found)
    assert Level.CONFIDENTIAL in {one.level for one in found.findings}


@pytest.mark.parametrize("name", ["note.txt.Z", "note.txt.lz", "note.txt.lz4"])
@pytest.mark.skipif(not libarchive.available(), reason="libarchive is not installed")
def test_Z10_packed_files_that_libarchive_reads(name: str) -> None:
    found = fixture(name)
    assert leaf(found).state is LeafState.INSPECTED
    assert "paragraph 11" in text(found)


@pytest.mark.parametrize("name", ["plain.cpio", "plain.newc.cpio", "plain.xar", "plain.ar"])
@pytest.mark.skipif(not libarchive.available(), reason="libarchive is not installed")
def test_Z10_rare_archives_are_opened_and_stay_suspect(name: str) -> None:
    found = fixture(name)
    assert leaf(found).state is LeafState.SUSPECT
    assert "paragraph 11" in text(found)


@pytest.mark.parametrize("name", ["rar5-crc.rar", "rar5-blake.rar", "rar5-solid.rar", "rar5-solid-qo.rar", "rar3-subdirs.rar"])
@pytest.mark.skipif(not libarchive.available(), reason="libarchive is not installed")
def test_Z10_rar_archives_are_read(name: str) -> None:
    found = fixture(name)
    assert leaf(found).state is LeafState.INSPECTED
    assert len([one for one in found.leaves if one.path.count("/")]) >= 2
    assert text(found).strip()


def test_Z10_without_libarchive_what_it_reads_is_suspect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libarchive, "_ffi", None)
    assert not libarchive.available()
    for name in ("plain.cpio", "note.txt.Z", "note.txt.lz4"):
        assert leaf(fixture(name)).state is LeafState.SUSPECT
        assert "no library" in leaf(fixture(name)).reason
    assert leaf(fixture("rar5-solid.rar"), "stest1.txt").state is LeafState.SUSPECT
    assert leaf(fixture("rar5-psw.rar")).protection.state is ProtectionState.STRONG


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"`\xea" + bytes(60), "a.arj"), (bytes(7) + b"**ACE**" + bytes(60), "a.ace"), (b"EGGA" + bytes(60), "a.egg"),
        (b"ALZ\x01" + bytes(60), "a.alz"), (b"MSWIM\x00\x00\x00" + bytes(60), "a.wim"), (b"ITSF" + bytes(60), "a.chm"),
        (b"conectix" + bytes(60), "a.vhd"), (b"vhdxfile" + bytes(60), "a.vhdx"), (b"ISc(" + bytes(60), "a.cab"),
    ],
)  # fmt: skip
def test_Z10_containers_without_a_reader_are_suspect(data: bytes, name: str) -> None:
    assert leaf(attached(data, name)).state is LeafState.SUSPECT


def test_py7zr_reads_the_same() -> None:
    """A second opinion on the reader of our own."""
    for name in ("lzma2.7z", "ppmd.7z", "deflate64.7z", "zstd.7z", "delta.7z"):
        factory = py7zr.io.BytesIOFactory(1 << 20)
        with py7zr.SevenZipFile(FOLDER / name) as file:
            file.extractall(factory=factory)
        theirs = factory.products["note.txt"].read().decode()
        assert dict(fixture(name).texts)[f"2:{name}/note.txt"].strip() == theirs.strip()


# --- limits ---------------------------------------------------------------------------------------------------------------------


def bombs() -> dict[str, bytes]:
    """A hundred megabytes and more of nothing, in each format."""
    zeros = bytes(120_000_000)
    fast = {"filters": [{"id": lzma.FILTER_LZMA2, "preset": 0}]}
    raw = lzma.compress(zeros, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": 3, "lp": 0, "pb": 2}])
    properties = (b"\x03\x01\x01", b"\x5d\x00\x00\x10\x00")
    tar = tarfile.TarInfo("zeros").tobuf() + zeros[:1024]
    return {
        "zeros.gz": gzip.compress(zeros, 6),
        "zeros.bz2": bz2.compress(zeros, 9),
        "zeros.xz": lzma.compress(zeros, lzma.FORMAT_XZ, **fast),
        "zeros.lzma": lzma.compress(zeros, lzma.FORMAT_ALONE, preset=0),
        "zeros.zst": zstandard.compress(zeros, 1),
        "zeros.7z": octets.sevenzip([properties], raw, 120_000_000, crc=1),
        "tar.gz": gzip.compress(tar + bytes(60_000_000)),
    }


@pytest.mark.slow
def test_Z03_bombs_stop_at_the_limit() -> None:
    for name, data in bombs().items():
        start = time.process_time()
        found = attached(data, name)
        never_clean(found)
        assert any("limit" in one.reason for one in found.leaves), name
        assert time.process_time() - start < 10, name


def test_Z03_a_small_bomb_of_each_kind() -> None:
    limits = Limits(archive_bytes=2_000_000, archive_ratio_from=100_000)
    zeros = bytes(3_000_000)
    for name, data in {
        "a.gz": gzip.compress(zeros),
        "a.bz2": bz2.compress(zeros),
        "a.xz": lzma.compress(zeros),
        "a.lzma": lzma.compress(zeros, lzma.FORMAT_ALONE),
        "a.zst": zstandard.compress(zeros),
        "a.zip": zipped(("a", zeros), method=zipfile.ZIP_BZIP2),
        "b.zip": zipped(("a", zeros), method=zipfile.ZIP_LZMA),
    }.items():
        found = attached(data, name, limits=limits)
        assert any("limit" in one.reason for one in found.leaves), name


def test_Z01_gzip_in_gzip_and_zips_ten_by_ten() -> None:
    data = NOTE
    for _ in range(9):
        data = gzip.compress(data)
    never_clean(attached(data, "a.gz"))
    inner = zipped(("note.txt", NOTE))
    for level in range(4):
        inner = zipped(*[(f"{level}-{n}.zip", inner) for n in range(10)])
    start = time.process_time()
    found = attached(inner, "ten.zip", limits=Limits(archive_entries=800))
    never_clean(found)
    assert any("limit" in one.reason for one in found.leaves)
    assert time.process_time() - start < 10


def quine() -> bytes:
    """A gzip file that unpacks to something that begins with itself again: members of gzip inside of each other, without an end."""
    data = b"quine"
    for _ in range(40):
        data = gzip.compress(data, 0)
    return data


def test_Z01_a_quine_stops_at_the_depth() -> None:
    found = attached(quine(), "quine.gz")
    assert any("nested deeper" in one.reason for one in found.leaves)


def overlapped(count: int, *, quoted: bool = False) -> bytes:
    """Fifield's zip: all members share one kernel; *quoted*: each header is a stored block in the stream of the one before."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    kernel = engine.compress(bytes(1_000_000)) + engine.flush()
    local, entries = b"", b""
    crc = zlib.crc32(bytes(1_000_000))
    headers = []
    for number in range(count):
        name = b"%05d" % number
        headers.append(struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, crc, len(kernel), 1_000_000, len(name), 0) + name)
    body = b"".join((struct.pack("<BHH", 0, len(one), len(one) ^ 0xFFFF) if quoted and n else b"") + one for n, one in enumerate(headers))
    at = 0
    for number, header in enumerate(headers):
        name = b"%05d" % number
        at += 5 if quoted and number else 0
        packed = len(body) + len(kernel) - at - len(header)
        fields = (20, 20, 0, 8, 0, 0, crc, packed, 1_000_000, len(name), 0, 0, 0, 0, 0, at)
        entries += struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *fields) + name
        at += len(header)
    local = body + kernel
    return local + entries + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(entries), len(local), 0)


@pytest.mark.parametrize("quoted", [False, True])
def test_Z02_overlapped_members(quoted: bool) -> None:
    start = time.process_time()
    found = leaf(attached(overlapped(250, quoted=quoted), "overlap.zip"))
    assert found.state is LeafState.SUSPECT
    assert "overlap" in found.reason or "not where" in found.reason
    assert time.process_time() - start < 2


def test_Z04_counts_that_claim_millions() -> None:
    data = zipped(("a.txt", NOTE))
    end = data.rindex(b"PK\x05\x06")
    size, offset = struct.unpack_from("<LL", data, end + 12)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 10_000_000, 10_000_000, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    start = time.process_time()
    assert "more entries" in leaf(attached(data[:end] + record + locator + tail, "m.zip")).reason
    header = b"\x01\x04\x06\x00" + b"\xf0\x80\x96\x98\x00\x00"[:5]
    place = struct.pack("<QQL", 0, len(header), zlib.crc32(header))
    seven = b"7z\xbc\xaf\x27\x1c\x00\x04" + zlib.crc32(place).to_bytes(4, "little") + place + header
    assert "more entries" in leaf(attached(seven, "m.7z")).reason
    assert time.process_time() - start < 2


def test_Z04_too_many_members_of_each_kind() -> None:
    limits = Limits(archive_entries=20)
    many = tarred(*[(tarfile.TarInfo(f"m{n}"), b"x") for n in range(30)])
    assert "more entries" in leaf(attached(many, "m.tar", limits=limits)).reason
    everything = zipped(*[(f"m{n}", b"") for n in range(6000)], method=zipfile.ZIP_STORED)
    assert "more entries" in leaf(attached(everything, "m.zip")).reason


# --- tar ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_Z06_links_and_devices_in_a_tar(kind: bytes) -> None:
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"
    found = attached(tarred((info, b""), (tarfile.TarInfo("note.txt"), NOTE)), "a.tar")
    assert "link or a device" in leaf(found).reason
    assert leaf(found, "note.txt").state is LeafState.INSPECTED
    assert "/etc/passwd" in text(found) or kind not in (tarfile.SYMTYPE, tarfile.LNKTYPE)


@pytest.mark.parametrize("name", ["../../x", "/etc/cron.d/x", "C:\\x", "a/../../b"])
def test_Z06_names_that_lead_out_of_a_tar(name: str) -> None:
    assert "leads out" in leaf(attached(tarred((tarfile.TarInfo(name), NOTE)), "a.tar")).reason


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_Z07_long_and_other_names(form: int) -> None:
    names = ("n" * 300 + ".txt", "कार्यालय/आदेश.txt")
    found = attached(tarred(*[(tarfile.TarInfo(name), NOTE) for name in names], form=form), "a.tar")
    assert leaf(found).state is LeafState.INSPECTED
    assert any("आदेश" in one.name for one in found.leaves)


def header(**changes: bytes) -> bytes:
    """A tar header of one file with fields put in their places by hand."""
    block = bytearray(tarfile.TarInfo("note.txt").tobuf())
    places = {"size": 124, "kind": 156, "link": 157}
    block[124:136] = b"%011o\0" % len(NOTE)
    for name, value in changes.items():
        block[places[name] : places[name] + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "size", [b"\xff" * 12, b"\x80" + b"\x7f" * 11, b"\xff" + bytes(10) + b"\x01", b"7777777777\0 ", b"-0000000001\0"]
)  # fmt: skip
def test_Z07_sizes_that_cannot_be(size: bytes) -> None:
    data = header(size=size) + NOTE + bytes(-len(NOTE) % 512 + 1024)
    assert leaf(attached(data, "a.tar")).state is LeafState.SUSPECT


def test_Z07_sparse_members_and_unknown_kinds() -> None:
    for kind in (b"S", b"M", b"V", b"Z"):
        data = header(kind=kind) + NOTE + bytes(-len(NOTE) % 512 + 1024)
        assert leaf(attached(data, "a.tar")).state is LeafState.SUSPECT


def test_Z07_a_size_that_two_headers_state_differently() -> None:
    record = b"size=10\n"
    record = b"%d %s" % (len(record) + 3, record)
    pax = bytearray(tarfile.TarInfo("pax").tobuf())
    pax[124:136], pax[156:157] = b"%011o\0" % len(record), b"x"
    pax[148:156] = b" " * 8
    pax[148:156] = b"%06o\0 " % sum(pax)
    data = bytes(pax) + record.ljust(512, b"\0") + header() + NOTE + bytes(-len(NOTE) % 512 + 1024)
    assert leaf(attached(data, "a.tar")).state is LeafState.SUSPECT


@pytest.mark.parametrize("where", ["behind", "padding", "no-end"])
def test_Z05_data_that_no_member_of_a_tar_has(where: str) -> None:
    data = tarred((tarfile.TarInfo("note.txt"), NOTE))
    if where == "behind":
        data += b"SECRET" * 100
    elif where == "padding":
        data = data[: 512 + len(NOTE)] + b"SECRET" + data[512 + len(NOTE) + 6 :]
    else:
        data = data[: 512 + -(-len(NOTE) // 512) * 512]
    assert leaf(attached(data, "a.tar")).state is LeafState.SUSPECT


def test_Z08_every_member_of_one_name_is_read() -> None:
    data = tarred((tarfile.TarInfo("a.txt"), b"harmless"), (tarfile.TarInfo("a.txt"), b"TOP SECRET\n\nthe second one\n"))
    found = attached(data, "a.tar")
    assert Level.TOP_SECRET in {one.level for one in found.findings}


# --- hidden data, broken structure -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lzma2.7z", "plain.cab", "rar5-solid.rar", "note.txt.gz", "note.txt.bz2", "note.txt.xz", "note.txt.zst"])
def test_Z05_data_behind_the_end(name: str) -> None:
    assert leaf(attached((FOLDER / name).read_bytes() + b"SECRET hidden text", name)).state is LeafState.SUSPECT


def test_Z05_hidden_sectors_of_a_disk_image() -> None:
    data = (FOLDER / "joliet.iso").read_bytes()
    assert "hidden" in leaf(attached(data + b"SECRET".ljust(2048, b"\0"), "a.iso")).reason
    assert "before" in leaf(attached(b"SECRET".ljust(2048, b"\0") + data[2048:], "a.iso")).reason


def test_Z05_a_size_of_a_disk_image_that_is_stated_in_two_ways() -> None:
    data = bytearray((FOLDER / "plain.iso").read_bytes())
    at = data.index(b"NOTE.TXT;1") - 33
    data[at + 10] ^= 1
    assert leaf(attached(bytes(data), "a.iso")).state is LeafState.SUSPECT


def test_Z09_a_name_in_the_unicode_record_that_is_another_one() -> None:
    raw, better = b"order.pdf", b"order.exe"
    extra = struct.pack("<HHBL", 0x7075, 5 + len(better), 1, zlib.crc32(raw)) + better
    data = octets._zip(raw, NOTE, 0, 0, zlib.crc32(NOTE), len(NOTE), extra)
    found = leaf(attached(data, "a.zip"))
    assert "two different names" in found.reason


def test_Z09_a_name_in_hindi_of_an_old_archive_program() -> None:
    raw, better = b"#U0906#U0926.txt", "आदेश.txt".encode()
    extra = struct.pack("<HHBL", 0x7075, 5 + len(better), 1, zlib.crc32(raw)) + better
    found = attached(octets._zip(raw, NOTE, 0, 0, zlib.crc32(NOTE), len(NOTE), extra), "a.zip")
    assert leaf(found).state is LeafState.INSPECTED
    assert leaf(found, "आदेश.txt").state is LeafState.INSPECTED


def test_Z11_volumes() -> None:
    assert "volume" in leaf(fixture("rar5-vols.part3.rar")).reason
    whole = (FOLDER / "lzma2.7z").read_bytes()
    assert leaf(attached(whole[: len(whole) // 2], "a.7z.001")).state is LeafState.SUSPECT
    assert leaf(attached(whole[len(whole) // 2 :], "a.7z.002")).state is LeafState.SUSPECT


# --- one file that is two --------------------------------------------------------------------------------------------------------

PROGRAM = b"MZ\x90\x00" + bytes(range(256)) * 8


@pytest.mark.parametrize("before", ["program", "picture"])
@pytest.mark.parametrize("name", ["lzma2.7z", "rar5-solid.rar", "rar3-subdirs.rar", "plain.zip"])
def test_Z12_archives_behind_programs_and_pictures_are_opened(before: str, name: str) -> None:
    head = PROGRAM if before == "program" else (CORPUS / "p.png").read_bytes()
    found = attached(head + (FOLDER / name).read_bytes(), "setup.exe" if before == "program" else "p.png")
    assert leaf(found).state is LeafState.SUSPECT
    members = [one for one in found.leaves if one.path.count("/")]
    assert members
    if libarchive.available() or "rar" not in name:
        assert any(one.state is LeafState.INSPECTED for one in members)


# --- secrets ---------------------------------------------------------------------------------------------------------------------


def test_E05_the_password_stands_in_the_message() -> None:
    found = fixture("aes-lzma2.7z", body=f"The password is {PASSWORD}.")
    inner = leaf(found, "note.txt")
    assert (inner.state, inner.protection.state) == (LeafState.SUSPECT, ProtectionState.WEAK)
    assert Level.CONFIDENTIAL in {one.level for one in found.findings}
    assert leaf(found).protection.state is not ProtectionState.STRONG


def test_E05_another_password_opens_nothing() -> None:
    for name in ("aes-lzma2.7z", "aes256-deflated.zip", "rar5-psw.rar", "aes-header-copy.7z"):
        found = leaf(fixture(name, body="The secret is Sesame-2025."))
        assert (found.state, found.protection.state) == (LeafState.OPAQUE, ProtectionState.STRONG)


def test_E07_the_coders_decide_and_not_the_name() -> None:
    assert leaf(fixture("fake-7zaes-over-text.7z")).protection.state is ProtectionState.NONE
    assert leaf(fixture("aes-copy.7z")).protection.state is ProtectionState.STRONG
    found = fixture("mixed.7z")
    assert leaf(found).protection.state is ProtectionState.NONE
    assert leaf(found, "note.txt").state is LeafState.OPAQUE
    assert leaf(found, "annex.txt").state is LeafState.INSPECTED


def test_E08_a_record_that_its_flag_does_not_announce() -> None:
    found = leaf(fixture("record-without-flag.rar"))
    assert found.state is LeafState.SUSPECT
    assert "flags do not announce" in found.reason


def test_the_names_in_an_encrypted_archive_are_read() -> None:
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", password="x1y2z3") as file:
        file.writestr(NOTE, "TOP SECRET - note.txt")
    found = attached(out.getvalue(), "a.7z")
    assert leaf(found).protection.state is ProtectionState.STRONG
    assert Level.TOP_SECRET in {one.level for one in found.findings}


CLAMAV = Path("/usr/share/clamav-testfiles")


@pytest.mark.service
@pytest.mark.skipif(not CLAMAV.is_dir(), reason="clamav-testfiles is not installed")
def test_Z14_every_container_of_clamav_is_opened_or_not_inspectable() -> None:
    files = sorted(path for path in CLAMAV.iterdir() if path.is_file())
    assert len(files) >= 30
    program = hashlib.sha256((CLAMAV / "clam.exe").read_bytes()).hexdigest()
    opened = set()
    for path in files:
        found = attached(path.read_bytes(), path.name)
        never_clean(found)
        if any(one.sha256 == program for one in found.leaves):
            opened.add(path.name)
    # In each of them is the same program of 544 octets: whatever we open, we see the whole of it.
    assert opened >= {
        "clam.7z", "clam.bin-le.cpio", "clam.bz2.zip", "clam.cab", "clam.d64.zip", "clam.exe", "clam.exe.binhex", "clam.exe.bz2",
        "clam.exe.html", "clam.exe.mbox.base64", "clam.exe.rtf", "clam.mail", "clam.newc.cpio", "clam.odc.cpio", "clam.ole.doc",
        "clam.pdf", "clam.ppt", "clam.tar.gz", "clam.tnef", "clam.zip",
    }  # fmt: skip
