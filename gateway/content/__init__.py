"""Content inspection: which reader reads which kind, and ``unpack``, the one entry.

What it is: ``TABLE`` (a new format is one file and one row) and ``unpack`` (a whole message into an Inspection).
Who calls it: the inspector's workers; ``gateway explain`` and the rule examples in their own process.
Must never: run in a door, the keeper or the web process (third-party parsers read hostile octets here); raise for what a
message contains.
Sources: docs/design.md sections 3 and 4; docs/inspection.md; hostile-inputs catalogue 4.1.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from types import MappingProxyType

from gateway.archives import cab, compressed, iso, libarchive, rar, sevenzip, tar, zip
from gateway.config import Limits
from gateway.content import unread
from gateway.content.walk import read_message
from gateway.documents import applefile, calendar, eml, html, odf, ooxml, pdf, rtf, text_plain
from gateway.encryption import age, cms, covered, openssl_salted, pgp, secret_keys, volumes
from gateway.extraction.base import Extractor, Tools
from gateway.message import plain
from gateway.office import ole, ooxml_protection, tnef
from gateway.pictures import image
from gateway.text.markings import Scheme
from gateway.verdict import Inspection

TABLE: Mapping[str, Extractor] = MappingProxyType({
    "text": text_plain.extract,
    "calendar": calendar.extract,
    "html": html.extract,
    "xml": html.extract_xml,
    "drawing": html.extract_drawing,
    "mail": eml.extract,
    "rtf": rtf.extract,
    "pdf": pdf.extract,
    "ooxml": ooxml.extract,
    "ooxml-encrypted": ooxml_protection.extract,
    "zip": zip.extract,
    "cms": cms.extract,
    "ole2": ole.extract,
    "tnef": tnef.extract,
    "pgp-signature": pgp.extract_signature,
    "empty": unread.empty,
    "printer-settings": unread.printer_settings,
    **{media_type: image.walker_for(media_type) for media_type in image.WALKERS},
    "odf": odf.extract,
    "odf-flat": odf.extract_flat,
    # without a reader: never clean
    "document": unread.suspect("a document or data file"),
    "postscript": unread.suspect("a PostScript file"),
    "gz": compressed.gzip,
    "bz2": compressed.bzip2,
    "xz": compressed.xz,
    "lzma": compressed.lzma,
    "zstd": compressed.zstd,
    "lz4": compressed.by_libarchive("lz4"),
    "lzip": compressed.by_libarchive("lzip"),
    "compress": compressed.by_libarchive("compress"),
    "tar": tar.extract,
    "applefile": applefile.extract,
    "cpio": libarchive.extract_by(("cpio",), "a cpio archive"),
    "ar": libarchive.extract_by(("ar",), "an ar archive"),
    "lha": libarchive.extract_by(("lha",), "an LHA archive"),
    "xar": libarchive.extract_by(("xar",), "a xar archive"),
    "warc": libarchive.extract_by(("warc",), "a WARC archive"),
    "rpm": libarchive.extract_by(("cpio",), "an RPM package", ("rpm", "gzip", "bzip2", "xz", "zstd", "lzma")),
    "cab": cab.extract,
    "iso": iso.extract,
    "archive": unread.suspect("an archive of a kind that is not supported"),
    "7z": sevenzip.extract,
    "rar": rar.extract,
    "pgp": pgp.extract,
    "age": age.extract,
    "salted": openssl_salted.extract,
    "key-file": secret_keys.extract,
    "volume": volumes.extract,
    "executable": unread.suspect("a program"),
    "script": unread.script,
    "font": unread.suspect("a font"),
    "unread": unread.suspect("a picture of a special kind"),
    "prefixed": unread.suspect("a PDF with other data before it"),
    "covered": covered.extract,
    "unknown": covered.extract_unknown,
})  # fmt: skip
"""Kind (as ``sniff`` names it) to extractor."""


for _name in ("pypdf", "pikepdf", "olefile", "msoffcrypto", "charset_normalizer"):
    # What these libraries would warn about quotes the octets they read, and no text of a message may reach a log.
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)

_OTHER_TYPE = re.compile(rb"^content-type:[ \t]*(?!text/plain)[a-z]", re.I | re.M)


def unpack(
    content: bytes, *, sha256: str, limits: Limits, scheme: Scheme, want_text: bool = False, tools: Tools | None = None
) -> Inspection:
    """Everything that can be said about the message *content*, whose SHA-256 in hexadecimal is *sha256*.

    What a door can read by itself is read by the same function here, so that both agree. *tools*: programs outside of the sandbox;
    without them words in pictures are not read. Never raises for its content: what cannot be read is a suspect leaf with a reason.
    Raises ToolFault when *tools* fail: our fault, so nothing is said about the message.
    """
    # A door's own reading exists for text/plain only: for another type the look at the whole message is saved.
    if not _OTHER_TYPE.search(content, 0, content.find(b"\r\n\r\n") + 1):
        quick = plain.inspect(content, sha256, limits, scheme, want_text=want_text)
        if quick is not None:
            return quick
    return read_message(content, sha256, limits, scheme, TABLE, want_text=want_text, tools=tools)
