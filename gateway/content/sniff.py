"""What kind of content some octets are: by their own signatures, never by what somebody declared.

What it is: ``sniff``. libmagic is one vote, asked only about what our own signatures do not know, and only for the name.
Who calls it: ``content.walk`` for every piece.
Must never: call a piece harmless by its name or declared type; stop at the first kind where a second one is appended.
Sources: docs/inspection.md; hostile-inputs catalogue Z10-Z12, D09, D10, E13.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from gateway.content import names, signatures
from gateway.content.signatures import ARMOUR, FTYP, SCRIPT_NAMES, SHORTCUTS, SIGNATURES
from gateway.encryption import age, cms, covered, openssl_salted, pgp, pgp_armour, secret_keys
from gateway.extraction.base import Piece, join_reasons
from gateway.extraction.needle import Needle

_BINARY = bytes([*range(0x07), *range(0x0E, 0x1B), *range(0x1C, 0x20)])
_HTML_NAMES = (".html", ".htm", ".xhtml", ".shtml")
_MAIL_NAMES = (".eml", ".mht", ".mhtml", ".mbox", ".nws")
_HTML = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|div|span|table|script|style|meta|title|iframe|center|font|h[1-6]|p|br|a\s)\b(?!:)", re.I
)
_CARD_NAMES = (".vcf", ".vcs", ".ics")
_MAIL = re.compile(rb"\A(?:From [^\r\n]{3,200}\r?\n)?(?:(?:[!-9;-~]{1,60}:[^\r\n]{0,2000}|[ \t][^\r\n]{0,2000})\r?\n){2,500}\r?\n", re.S)
_MAIL_FIELDS = re.compile(rb"^(?:Message-ID|MIME-Version|Received|Return-Path|Content-Type|Content-Transfer-Encoding)[ \t]*:", re.I | re.M)
_FLAT_ODF = re.compile(
    rb"<[\w.-]{1,40}:document\s(?:[^<>]{0,4000}\s)?[\w.-]{1,40}:mimetype\s*=\s*[\"']application/vnd\.oasis\.opendocument"
)
_CALENDAR = re.compile(rb"\s*BEGIN:(?:VCALENDAR|VCARD|VEVENT)\b", re.I)
_CMS = re.compile(
    rb"\x30(?:\x80|[\x20-\x7f]|\x81.|\x82..|\x83...|\x84....)\x06[\x09\x0b]\x2a\x86\x48\x86\xf7\x0d\x01(?:\x07|\x09\x10\x01)", re.S
)
_SIGNED_DATA = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
_BLANK = b"\r\n\t \x00"
_MACINTOSH_PRINTER = b"\x02\x00\x00\x00\x01\x00\x00\x00"
_PAGES = (0, 9, 10, 11, 12, 13)
_TAILS = ((Needle(b"Rar!\x1a\x07"), "rar"), (Needle(b"7z\xbc\xaf\x27\x1c"), "7z"))
_MEDIA = ("image/", "audio/", "video/")
_ALIKE = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png", "application/x-pdf": "application/pdf"}
_VAGUE = frozenset(
    ("", "application/octet-stream", "application/binary", "application/x-download", "application/force-download", "text/plain")
)


@dataclass(frozen=True, slots=True)
class Sniffed:
    """*kinds* are keys of the content table, the main one first; all of them are inspected."""

    kinds: tuple[str, ...]
    media_type: str
    note: str = ""
    """What does not fit, as a plain clause: declared as one thing, being another."""
    whole: bool = False
    """Text that is one armoured object and nothing else, so its reader reads all of it."""


def sniff(piece: Piece) -> Sniffed:
    """The kinds that *piece* is. Unknown content has the kind ``unknown``."""
    data = piece.data
    if not data[:1024].strip(_BLANK) and not data.strip(_BLANK):
        return Sniffed(("empty",), piece.declared or "text/plain")
    kind, media_type = _binary_kind(data)
    kinds = [kind] if kind else []
    if not kind or kind == "script":
        if _is_text(data):
            texts, media_type = _text_kinds(piece, data)
            kinds += [text for text in texts if text not in kinds]
        elif not kind:
            kinds, media_type = ["unknown"], piece.declared or "application/octet-stream"
    kinds += [other for other in _appended(data, kinds[0]) if other not in kinds]
    whole = len(kinds) == 1 and bool(_armoured(data))
    notes = [names.odd(piece.name)]
    if piece.declared and _mismatch(piece.declared, media_type, kinds[0]):
        notes.append(f"it is declared as {_shown(piece.declared)} but is {media_type}")
    elif (ending := names.ending(piece.name)) and names.contradicts(ending, kinds[0], media_type):
        notes.append(f"its name ends in .{ending} but it is {media_type}")
    return Sniffed(tuple(kinds), media_type, join_reasons(*notes), whole)


def _shown(declared: str) -> str:
    return declared if len(declared) <= 80 and declared.isascii() and declared.isprintable() else "something odd"


def _binary_kind(data: bytes) -> tuple[str, str]:
    """Kind and media type by the signature at the start (or where the format has it); empty strings for none."""
    for signature, kind, media_type in SIGNATURES.get(data[:1], ()):
        if data.startswith(signature):
            if kind == "zip":
                return _zip_kind(data)
            if kind == "ole2":
                return _ole_kind(data)
            if kind == "riff":
                return _riff_kind(data)
            if kind == "shebang":
                return ("script", "text/x-shellscript") if data[2:64].lstrip().startswith(b"/") else ("", "")
            if kind in _CONFIRM and not _CONFIRM[kind](data):
                continue
            kind = {"media": media_type, "executable-mz": "executable", "gzip": "gz"}.get(kind, kind)
            return kind, media_type
    if data[4:8] == b"ftyp":
        media_type = FTYP.get(data[8:12], "video/mp4")
        return media_type, media_type
    if data[4:12] == b"jP  \r\n\x87\n":
        return "image/jp2", "image/jp2"
    if _is_printer_settings(data):
        return "printer-settings", "application/vnd.ms-printersettings"
    if _CMS.match(data):
        return "cms", "application/pkcs7-mime"
    if secret_keys.is_key_file(data):
        return "key-file", "application/pkcs8"
    if data.find(b"%PDF-", 0, 1024) >= 0:
        return "pdf", "application/pdf"
    for offset, signature, kind, media_type in signatures.OFFSETS:
        if data[offset : offset + len(signature)] == signature:
            return kind, media_type
    if _is_tar(data):
        return "tar", "application/x-tar"
    if data[:1] == b"\xff" and len(data) > 4 and data[1] & 0xE6 == 0xE2 and data[1] & 0x18 != 0x08:
        return "audio/mpeg", "audio/mpeg"
    if data[:1] >= b"\x80" and pgp.is_signature(data):
        return "pgp-signature", "application/pgp-signature"
    if data[:1] >= b"\x80" and pgp.begins(data):
        return "pgp", "application/pgp-encrypted"
    return "", ""


def _zip_kind(data: bytes) -> tuple[str, str]:
    if b"[Content_Types].xml" in data:
        return "ooxml", "application/vnd.openxmlformats-package"
    if data[30:38] == b"mimetype" and (match := re.match(rb"application/[a-z0-9.+-]{1,100}", data[38:200])):
        media_type = match[0].decode("ascii")
        if "opendocument" in media_type:
            return "odf", media_type.split("PK")[0]
    if b"META-INF/manifest.xml" in data:  # packed anew by a plain zip program; office programs open it all the same
        return "odf", "application/zip"
    return "zip", "application/zip"


_OLE_STREAMS = (
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("__properties_version1.0", "application/vnd.ms-outlook"),
    ("VBA", "application/vnd.ms-office.vba"),
)


def _ole_kind(data: bytes) -> tuple[str, str]:
    if "EncryptedPackage".encode("utf-16-le") in data:
        return "ooxml-encrypted", "application/vnd.ms-office.encrypted"
    for name, media_type in _OLE_STREAMS:
        if name.encode("utf-16-le") in data:
            return "ole2", media_type
    return "ole2", "application/x-ole-storage"


def _riff_kind(data: bytes) -> tuple[str, str]:
    media_type = {b"WEBP": "image/webp", b"WAVE": "audio/x-wav", b"AVI ": "video/x-msvideo"}.get(data[8:12], "")
    return (media_type, media_type) if media_type else ("", "")


def _is_tar(data: bytes) -> bool:
    """By its checksum, since old archives have no signature."""
    if len(data) < 512 or not data[:1].strip(b"\x00"):
        return False
    field = data[148:156].strip(b" \x00")
    return bool(re.fullmatch(rb"[0-7]{1,7}", field)) and int(field, 8) == sum(data[:148]) + 8 * 32 + sum(data[156:512])


def _is_printer_settings(data: bytes) -> bool:
    """A DEVMODE record, as nearly every spreadsheet carries one: its two sizes fill the file exactly; or the lists of a Macintosh."""
    if data.startswith(_MACINTOSH_PRINTER) and len(data) <= 65_536:
        at = 4
        while at + 8 <= len(data) and data.startswith(b"<?xml", at + 8):
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        return at == len(data)
    if not 188 <= len(data) <= 65_536:
        return False
    version, _, size, extra = struct.unpack_from("<HHHH", data, 64)
    return version in (0x0400, 0x0401) and 150 <= size <= 260 and size + extra == len(data)


def _is_bmp(data: bytes) -> bool:
    return len(data) > 26 and struct.unpack_from("<I", data, 14)[0] in (12, 40, 52, 56, 64, 108, 124)


def _is_mz(data: bytes) -> bool:
    """Two letters are not enough where the rest is text."""
    head = data[:1024]
    return len(head.translate(None, _BINARY)) != len(head)


_CONFIRM: dict[str, Callable[[bytes], bool]] = {
    "image/emf": lambda data: data[40:44] == b" EMF",
    "image/x-icon": lambda data: len(data) > 22 and 0 < data[4] < 64 and data[5] == 0 and data[9] == 0,
    "image/bmp": _is_bmp,
    "executable-mz": _is_mz,
    "gzip": lambda data: len(data) > 10 and data[2] == 8,
}


def _appended(data: bytes, kind: str) -> list[str]:
    """Kinds that begin elsewhere than at the start: an archive behind a picture, a PDF behind a script."""
    found: list[str] = []
    if kind == "cms" and data.find(_SIGNED_DATA, 0, 40) > 0:
        return found  # a signed document: it is opened and read, and the reader lets nothing stand behind it
    # A compound file may hold packages in its streams; its reader looks for what stands outside of them.
    if kind not in ("zip", "ooxml", "odf", "ole2", "ooxml-encrypted"):
        at = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
        if at >= 0 and at + 22 <= len(data):
            length = int.from_bytes(data[at + 12 : at + 16], "little")
            if length <= at and (data[at - length : at - length + 4] == b"PK\x01\x02" or not length):
                found.append("zip")
    if kind != "pdf" and kind not in ("zip", "ooxml", "odf", "ole2", "ooxml-encrypted") and data.find(b"%PDF-", 0, 1024) >= 0:
        found.append("pdf")
    if kind == "pdf" and data.find(b"%PDF-", 0, 1024) > 0 and data[:1] not in b"\r\n \t\xef" and data[: data.find(b"%PDF-")].strip():
        found.append("prefixed")
    if kind == "pdf" or kind.startswith(_MEDIA) or kind == "executable":
        found += [other for signature, other in _TAILS if signature.within(data)]
    return found


def _is_text(data: bytes) -> bool:
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\x00\x00\xfe\xff")):
        return True
    if len(data.translate(None, _BINARY)) == len(data):
        return True
    # UTF-16 without a byte order mark: one half of its octets are nearly all 0 or, in Indian scripts, 9 to 13.
    halves = (data[0:2000:2], data[1:2000:2])
    return any(sum(half.count(page) for page in _PAGES) * 4 > len(half) for half in halves)


def _text_kinds(piece: Piece, data: bytes) -> tuple[list[str], str]:
    head = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if b"\x00" in head or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        # Wide characters: their tags are to be seen too.
        head = head.translate(None, b"\x00\xff\xfe").lstrip()
    name, declared = piece.name.lower().rstrip(". "), piece.declared
    if head[:5] == b"{\\rtf":
        return ["rtf"], "text/rtf"
    kinds: list[str] = []
    media_type = declared if declared.startswith("text/") else "text/plain"
    if b"-----BEGIN PGP SIGNATURE" in head[:64] and pgp.is_signature(data):
        return ["pgp-signature"], "application/pgp-signature"
    if kind := _armoured(data):
        return [kind], "application/octet-stream"
    kinds += dict.fromkeys(kind for mark, kind in ARMOUR if mark in data)
    if _CALENDAR.match(head) or name.endswith(_CARD_NAMES) or declared in ("text/calendar", "text/vcard", "text/x-vcard", "text/directory"):
        return [*kinds, "calendar"], declared or "text/calendar"
    if head[:2] == b"%!":
        return [*kinds, "postscript"], "application/postscript"
    if any(ending.endswith(SCRIPT_NAMES) for ending in names.endings(piece.name)) or (piece.is_attachment and SHORTCUTS.match(head)):
        return [*kinds, "script", "html" if _HTML.search(head) else "text"], "text/x-script"
    is_html = declared in ("text/html", "application/xhtml+xml") or name.endswith(_HTML_NAMES) or _HTML.match(head)
    if b"<svg" in head[:2048].lower() and (head[:1] == b"<" or declared == "image/svg+xml"):
        return [*kinds, "drawing"], "image/svg+xml"
    if declared in ("message/rfc822", "message/global", "multipart/related") or name.endswith(_MAIL_NAMES):
        return [*kinds, "mail"], "message/rfc822"
    if piece.is_attachment and _is_mail(head):
        return [*kinds, "mail", "text"], "message/rfc822"
    if not piece.is_attachment and declared == "text/html":
        return [*kinds, "html"], "text/html"
    if is_html or (piece.is_attachment and _HTML.search(head)):
        return [*kinds, *(["html"] if declared == "text/html" else ["html", "text"])], "text/html"
    if not kinds and head[:1] == b"<" and _FLAT_ODF.search(head):
        return ["odf-flat"], "application/vnd.oasis.opendocument"
    if head[:5] == b"<?xml" or (head[:1] == b"<" and re.match(rb"<[A-Za-z][\w:.-]*[\s>/]", head)):
        return [*kinds, "xml"], "application/xml"
    if covered.claims(piece, data):
        kinds.append("covered")
    return [*kinds, "text"], media_type


def _armoured(data: bytes) -> str:
    """The kind of the one armoured object that the text *data* is; empty where it is anything else, or more."""
    head = data[:64].lstrip()
    if head.startswith(b"-----BEGIN PGP "):
        return "pgp" if pgp_armour.whole(data) is not None else ""
    if head.startswith(b"-----BEGIN AGE "):
        return "age" if age.armoured(data) else ""
    if head.startswith(b"U2FsdGVkX1"):
        return "salted" if openssl_salted.armoured(data) else ""
    if head.startswith((b"-----BEGIN CMS", b"-----BEGIN PKCS")):
        return "cms" if cms.armoured(data) else ""
    return ""


def _is_mail(head: bytes) -> bool:
    """Whether text looks like a stored message; "From:", "To:" and "Date:" alone head many an office memo too."""
    match = _MAIL.match(head) or (len(head) == 4096 and re.match(rb"\A(?:From |Received:|Return-Path:)", head))
    return bool(match) and _MAIL_FIELDS.search(head) is not None


def _mismatch(declared: str, media_type: str, kind: str) -> bool:
    declared = _ALIKE.get(declared, declared)
    if declared in _VAGUE or declared == media_type:
        return False
    if kind in ("text", "calendar", "xml", "mail", "html", "script"):
        return declared.startswith(_MEDIA) or declared in ("application/pdf", "application/zip", "application/msword")
    if kind == "ooxml":
        return declared.startswith((*_MEDIA, "text/")) or declared == "application/pdf"
    if kind in ("pdf", "executable") or kind in signatures.CONTAINERS:
        return declared.startswith((*_MEDIA, "text/")) or (kind != "pdf" and declared == "application/pdf") or kind == "executable"
    return declared.partition("/")[0] != media_type.partition("/")[0] and declared.startswith((*_MEDIA, "text/"))
