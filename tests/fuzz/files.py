"""Readers of file formats, of encryption and of their small parts, as functions of octets.

What it is: one function a target. A reader gets the octets as a piece, then what is behind its locks is tried with a wrong password
and its pictures are decoded, as the walk does. What a reader swallowed and calls "could not be read" with the name of an error of
Python is an error that nobody thought of, so it is one here.
Who calls it: the table of targets.
Must never: hide an error that the reader may not raise.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gateway import content
from gateway.archives import decoders, libarchive, member_names, rar4, rar5, rar_crypto, sevenzip_header, zip_directory, zip_methods
from gateway.config import Limits
from gateway.content import TABLE, libmagic, names, sniff
from gateway.documents import odf_binary, odf_manifest, odf_text, ooxml_fonts, ooxml_text, pdf_filters, text_plain
from gateway.encryption import age, cms_lock, cms_protection, der, openssl_salted, pgp_armour, pgp_packets
from gateway.extraction import randomness, strings
from gateway.extraction.base import Budget, Found, Piece, Unreadable
from gateway.inspector import rar_listing
from gateway.office import legacy_crypto, mapi, officeart, ole_objects, property_set, rtf_compressed, tnef_properties, vba
from gateway.office.compound import build
from gateway.pictures import image
from gateway.verdict import LeafState
from tests.content_mail import scheme
from tests.fuzz import mending
from tests.fuzz.cutting import split

LIMITS = Limits(inspect_cpu=5)
"""Half of what a message may take: whatever takes 10 seconds has not looked at the clock."""
_ARCHIVES = ("cpio", "ar", "lha", "xar", "warc", "rpm", "gz", "bz2", "xz", "lzma", "zstd", "lz4", "lzip", "compress", "tar", "cab", "iso")
_LETTERS = "DXPMV"
_COMPOUND = ("ole2", "ooxml-encrypted")
"""The library for compound files says by OSError that one is broken, and the walk knows it."""


def budget() -> Budget:
    """A new one for each input."""
    return Budget(LIMITS)


def read(kind: str, data: bytes, name: str = "a.bin", declared: str = "") -> Found | None:
    """What the reader of *kind* says; None when it says that it cannot read it."""
    spent = budget()
    try:
        found = TABLE[kind](Piece(data, name, declared), spent)
    except Unreadable:
        return None
    except OSError:
        if kind not in _COMPOUND:
            raise
        return None
    _judge(found, kind)
    for lock in (found.lock, *(child.lock for child in found.children[:3])):
        if lock is not None and lock.seconds < 0.05:
            quietly(lock.open, "wrong", spent)
    for scan in (*found.scans, *(scan for child in found.children[:3] for scan in child.scans))[:3]:
        quietly(scan.render, spent)
    return found


def _judge(found: Found, kind: str) -> None:
    for state, reason in ((found.state, found.reason), *((child.state, child.reason) for child in found.children)):
        if "could not be read:" in reason:
            raise AssertionError(f"{kind}: {reason}")
        if state is LeafState.SUSPECT and not reason:
            raise AssertionError(f"{kind}: suspect without a reason")


def quietly(call: Callable[..., object], *args: object, **named: object) -> None:
    """Calls what may refuse its input, to the end where it answers piece by piece."""
    try:
        answer = call(*args, **named)
        if isinstance(answer, Iterator):
            deque(answer, 0)
    except Unreadable:
        return


def kinds(*wanted: str) -> Callable[[bytes], None]:
    """The readers of several kinds on the same octets."""

    def run(data: bytes) -> None:
        for kind in wanted:
            read(kind, data)

    return run


def texts(data: bytes) -> None:
    """Plain text, formulas, a detached signature."""
    quietly(text_plain.extract, Piece(data, "a.txt"), budget())
    quietly(text_plain.extract, Piece(data, "a.csv", "text/csv", "utf-16"), budget())


def pages(data: bytes) -> None:
    """HTML, XML and SVG."""
    read("html", data, "a.html", "text/html")
    read("xml", data, "a.xml", "text/xml")
    read("drawing", data, "a.svg", "image/svg+xml")


def sniffed(data: bytes) -> None:
    """What it is, by content and by name."""
    sniff.sniff(Piece(data, "a.bin"))
    name = data.decode("utf-8", "replace")
    sniff.sniff(Piece(b"text", name[:300]))
    names.odd(name)
    names.endings(name)
    names.ending(name)
    member_names.problem(name)
    member_names.decoded(data)
    libmagic.vote(data)


def cms(data: bytes) -> None:
    """DER, and S/MIME in it."""
    quietly(_nodes, der.read(data), [2000])
    read("cms", data, "smime.p7m")
    for node in _first(data):
        for kind in ("enveloped", "encrypted", "authEnveloped"):
            quietly(cms_protection.assess, kind, node)
        quietly(cms_protection.payload, node)
        quietly(cms_lock.lock, node)


def _first(data: bytes) -> list[der.Node]:
    try:
        return list(der.read(data))[:1]
    except Unreadable:
        return []


def _nodes(nodes: Iterable[der.Node], left: list[int], depth: int = 0) -> None:
    for node in nodes:
        left[0] -= 1
        if left[0] < 0 or depth > 30:
            return
        quietly(node.oid)
        quietly(node.octets)
        quietly(_nodes, node.children(), left, depth + 1)


def pgp(data: bytes) -> None:
    """Packets, armour, messages and signatures."""
    quietly(pgp_packets.read, data)
    quietly(pgp_packets.subpackets, data)
    pgp_armour.whole(data)
    pgp_armour.find(data)
    read("pgp", data)
    read("pgp-signature", data)


def covers(data: bytes) -> None:
    """Other encrypted files and volumes, what only looks like them, and data without a form."""
    for kind in ("age", "salted", "volume", "covered", "unknown"):
        read(kind, data)
    quietly(age.read, data)
    age.armoured(data)
    openssl_salted.armoured(data)
    randomness.disproof(data)
    strings.sweep(data)


def zipped(data: bytes) -> None:
    """The directory of a zip file, every method of packing, and the archive."""
    quietly(zip_directory.read, data, budget())
    zip_directory.extra_field(data, 0x9901)
    for method in (8, 9, 12, 14, 20, 95, 98, 1):
        quietly(zip_methods.unpack, data, method, 4 * len(data), None, budget())
    read("zip", data)


def sevenzip(data: bytes) -> None:
    """A 7z archive as it is and with its checksums set right, and the header alone."""
    read("7z", data)
    read("7z", mending.sevenzip(data))
    quietly(sevenzip_header.parse, data, budget())
    quietly(decoders_of, data)


def decoders_of(data: bytes) -> None:
    """The first octet chooses a decoder for the rest."""
    streams = (decoders.inflate, decoders.inflate64_stream, decoders.bzip2, decoders.xz, decoders.zstd)
    if data:
        budget().collect(streams[data[0] % len(streams)](data[1:]), len(data))


def rar(data: bytes) -> None:
    """A RAR archive as it is and with its checksums set right, its blocks, and the listing of the program that unpacks it."""
    mended = mending.rar(data)
    for one in {data, mended}:
        read("rar", one)
    quietly(rar5.parse, mended, None, budget())
    quietly(rar4.parse, mended, None, rar_crypto.Keys(), budget())
    quietly(rar_listing.members, data)


def archives(data: bytes) -> None:
    """What the octets say they are, and each reader that does not need a signature at once."""
    for kind in _ARCHIVES:
        read(kind, data)
    quietly(libarchive.members, data, ("cpio",), budget())


def pictures(data: bytes) -> None:
    """Every walker of pictures, sounds and films; each refuses at once what is not its own."""
    for media_type in dict.fromkeys(image.WALKERS):
        read(media_type, data)


def compound(data: bytes) -> None:
    """Compound files and what they hold."""
    read("ole2", data, "a.doc")
    read("ooxml-encrypted", data, "a.docx")


def office_streams(data: bytes) -> None:
    """Streams of the older Office formats in a compound file that is whole; the first octet chooses which."""
    first, second = split(data[1:])
    letter = _LETTERS[data[0] % len(_LETTERS)] if data and chr(data[0]) not in _LETTERS else chr(data[0]) if data else "D"
    match letter:
        case "D":
            streams: dict[tuple[str, ...], bytes] = {("WordDocument",): first, ("1Table",): second, ("0Table",): second}
        case "X":
            streams = {("Workbook",): first, ("\x05SummaryInformation",): second}
        case "P":
            streams = {("PowerPoint Document",): first, ("Current User",): second}
        case "M":
            streams = {
                ("__properties_version1.0",): first,
                ("__substg1.0_1000001E",): second,
                ("__substg1.0_10090102",): mending.rtf(second),
                ("__substg1.0_10130102",): second,
                ("__attach_version1.0_#00000000", "__properties_version1.0"): first,
                ("__attach_version1.0_#00000000", "__substg1.0_37010102"): second,
            }
        case _:
            streams = {("VBA", "dir"): first, ("VBA", "Module1"): second, ("VBA", "_VBA_PROJECT"): b"\xcc\x61"}
            quietly(vba.modules, build(streams), budget())
            streams |= {("WordDocument",): bytes(2000)}
    read("ole2", build(streams), "a.doc")


def office_parts(data: bytes) -> None:
    """Small structures of Office files and of OpenDocument."""
    calls: tuple[Callable[[], Any], ...] = (
        lambda: property_set.read(data, budget()),
        lambda: vba.decompress(data, budget()),
        lambda: officeart.walk(data, budget(), officeart.Drawing(), data[len(data) // 2 :]),
        lambda: officeart.pictures_in(data, budget(), officeart.Drawing()),
        lambda: ole_objects.package(data),
        lambda: rtf_compressed.unpack(data, budget()),
        lambda: rtf_compressed.unpack(mending.rtf(data), budget()),
        lambda: legacy_crypto.parse(data),
        lambda: odf_binary.layout_cache(data),
        lambda: odf_binary.metafile(data),
        lambda: ooxml_fonts.read(data, ()),
        lambda: mapi.as_text(data, "cp1252"),
        lambda: strings.sweep(data),
    )
    for call in calls:
        quietly(call)


def winmail(data: bytes) -> None:
    """TNEF, and the rows of its tables."""
    read("tnef", data, "winmail.dat")
    quietly(tnef_properties.rows, data, 50, "cp1252", budget())


def odf(data: bytes) -> None:
    """OpenDocument: the package, the flat file, the manifest, text."""
    if data.startswith(b"PK"):
        read("odf", data, "a.odt")
        return
    read("odf-flat", data, "a.fodt")
    quietly(odf_manifest.read, data)
    for is_property in (False, True):
        quietly(odf_text.read, data, is_property=is_property)


def ooxml(data: bytes) -> None:
    """Office Open XML: the package; or a part whose name stands in the first line."""
    if data.startswith(b"PK"):
        read("ooxml", data, "a.docx")
        return
    name, _, part = data.partition(b"\n")
    ooxml_text.is_silent(part)
    quietly(ooxml_text.read, name.decode("utf-8", "replace"), part)


def pdf(data: bytes) -> None:
    """PDF, and its filters where the octets are no file of it."""
    if b"%PDF" in data[:1024]:
        read("pdf", data, "a.pdf")
        read("prefixed", data, "a.pdf")
        return
    for name in ("/FlateDecode", "/LZWDecode", "/RunLengthDecode", "/ASCII85Decode", "/ASCIIHexDecode"):
        quietly(pdf_filters.unpacked, data, (name,), 1_000_000)


def unpack(data: bytes) -> None:
    """The whole message; it never raises, and says why each leaf that it did not read is suspect."""
    found = content.unpack(data, sha256=hashlib.sha256(data).hexdigest(), limits=LIMITS, scheme=scheme(), want_text=True)
    for leaf in found.leaves:
        if leaf.state in (LeafState.SUSPECT, LeafState.UNINSPECTABLE) and not leaf.reason:
            raise AssertionError(f"a leaf that is {leaf.state} without a reason")
