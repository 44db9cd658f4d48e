"""The signatures of file formats, as data.

What it is: tables of first octets and what they mean.
Who calls it: ``content.sniff``.
Must never: hold code; name a kind that the content table does not have.
Sources: the formats' own specifications; docs/inspection.md.
"""

from __future__ import annotations

import re
from collections import defaultdict

Row = tuple[bytes, str, str]

_ROWS: tuple[Row, ...] = (
    (b"%PDF-", "pdf", "application/pdf"),
    (b"PK\x03\x04", "zip", "application/zip"),
    (b"PK\x05\x06", "zip", "application/zip"),
    (b"PK\x07\x08", "archive", "application/zip"),
    (b"PK00PK\x03\x04", "archive", "application/zip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole2", "application/x-ole-storage"),
    (b"{\\rt", "rtf", "text/rtf"),
    # pictures, sound, film with a walker in image.py
    (b"\x89PNG\r\n\x1a\n", "media", "image/png"),
    (b"\xff\xd8\xff", "media", "image/jpeg"),
    (b"GIF87a", "media", "image/gif"),
    (b"GIF89a", "media", "image/gif"),
    (b"II*\x00", "media", "image/tiff"),
    (b"MM\x00*", "media", "image/tiff"),
    (b"BM", "image/bmp", "image/bmp"),
    (b"RIFF", "riff", ""),
    (b"OggS", "media", "audio/ogg"),
    (b"fLaC", "media", "audio/flac"),
    (b"ID3", "media", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", "media", "video/x-matroska"),
    # drawings; below, pictures without a walker
    (b"\xd7\xcd\xc6\x9a", "media", "image/wmf"),
    (b"\x01\x00\x09\x00\x00\x03", "media", "image/wmf"),
    (b"\x01\x00\x00\x00", "image/emf", "image/emf"),
    (b"\x00\x00\x01\x00", "image/x-icon", "image/x-icon"),
    (b"8BPS", "unread", "image/vnd.adobe.photoshop"),
    (b"AT&TFORM", "unread", "image/vnd.djvu"),
    (b"%!PS", "postscript", "application/postscript"),
    (b"\xc5\xd0\xd3\xc6", "postscript", "application/postscript"),
    (b"AC10", "unread", "image/vnd.dwg"),
    # archives
    (b"7z\xbc\xaf\x27\x1c", "7z", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "rar", "application/vnd.rar"),
    (b"\x1f\x8b", "gzip", "application/gzip"),
    (b"\x1f\x9d", "compress", "application/x-compress"),
    (b"\x1f\xa0", "archive", "application/x-compress"),
    (b"BZh", "bz2", "application/x-bzip2"),
    (b"\xfd7zXZ\x00", "xz", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "application/zstd"),
    (b"\x04\x22\x4d\x18", "lz4", "application/x-lz4"),
    (b"LZIP", "lzip", "application/x-lzip"),
    (b"]\x00\x00", "lzma", "application/x-lzma"),
    (b"MSCF", "cab", "application/vnd.ms-cab-compressed"),
    (b"ISc(", "archive", "application/x-installshield"),
    (b"`\xea", "archive", "application/x-arj"),
    (b"!<arch>\n", "ar", "application/x-archive"),
    (b"070701", "cpio", "application/x-cpio"),
    (b"070702", "cpio", "application/x-cpio"),
    (b"070707", "cpio", "application/x-cpio"),
    (b"\xc7\x71", "cpio", "application/x-cpio"),
    (b"xar!", "xar", "application/x-xar"),
    (b"WARC/1.", "warc", "application/warc"),
    (b"MSWIM\x00\x00\x00", "archive", "application/x-ms-wim"),
    (b"conectix", "archive", "application/x-virtualbox-vhd"),
    (b"vhdxfile", "archive", "application/x-vhdx"),
    (b"KDMV", "archive", "application/x-vmdk"),
    (b"QFI\xfb", "archive", "application/x-qemu-disk"),
    (b"hsqs", "archive", "application/vnd.squashfs"),
    (b"EGGA", "archive", "application/x-egg"),
    (b"ALZ\x01", "archive", "application/x-alz"),
    (b"\xed\xab\xee\xdb", "rpm", "application/x-rpm"),
    (b"ITSF", "archive", "application/vnd.ms-htmlhelp"),
    (b"\x00\x05\x16\x00", "applefile", "application/applefile"),
    (b"\x00\x05\x16\x07", "applefile", "application/applefile"),
    (b"StuffIt", "archive", "application/x-stuffit"),
    (b"SIT!", "archive", "application/x-stuffit"),
    # programs
    (b"MZ", "executable-mz", "application/x-msdownload"),
    (b"\x7fELF", "executable", "application/x-executable"),
    (b"\xfe\xed\xfa", "executable", "application/x-mach-binary"),
    (b"\xcf\xfa\xed\xfe", "executable", "application/x-mach-binary"),
    (b"\xce\xfa\xed\xfe", "executable", "application/x-mach-binary"),
    (b"\xca\xfe\xba\xbe", "executable", "application/java-vm"),
    (b"dex\n", "executable", "application/vnd.android.dex"),
    (b"\x00asm", "executable", "application/wasm"),
    (b"L\x00\x00\x00\x01\x14\x02\x00", "executable", "application/x-ms-shortcut"),
    (b"#!", "shebang", "text/x-shellscript"),
    # encrypted things
    (b"age-encryption.org/v1", "age", "application/x-age-encryption"),
    (b"Salted__", "salted", "application/x-openssl-encrypted"),
    (b"LUKS\xba\xbe", "volume", "application/x-luks"),
    (b"\x03\xd9\xa2\x9a", "volume", "application/x-keepass"),
    (b"AES\x00", "volume", "application/x-aescrypt"),
    (b"AES\x01", "volume", "application/x-aescrypt"),
    (b"AES\x02", "volume", "application/x-aescrypt"),
    (b"AES\x03", "volume", "application/x-aescrypt"),
    (b"\xeb\x58\x90-FVE-FS-", "volume", "application/x-bitlocker"),
    (b"\xeb\x52\x90-FVE-FS-", "volume", "application/x-bitlocker"),
    (b"VimCrypt~", "volume", "application/x-vim-encrypted"),
    (b"encrcdsa", "volume", "application/x-apple-encrypted-image"),
    (b"\xc0\xb9\x07\x2e\x4f\x93\xf1\x46", "volume", "application/x-axcrypt"),
    # documents and stores without a reader
    (b"\x78\x9f\x3e\x22", "tnef", "application/ms-tnef"),
    (b"!BDN", "document", "application/vnd.ms-outlook-pst"),
    (b"\x00\x01\x00\x00Standard Jet DB", "document", "application/x-msaccess"),
    (b"\x00\x01\x00\x00Standard ACE DB", "document", "application/x-msaccess"),
    (b"SQLite format 3\x00", "document", "application/vnd.sqlite3"),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", "document", "application/onenote"),
    (b"\xffWPC", "document", "application/vnd.wordperfect"),
    (b"HWP Document File", "document", "application/x-hwp"),
    (b"\xdb\xa5-\x00", "document", "application/msword"),
    (b"\x31\xbe\x00\x00", "document", "application/x-mswrite"),
    (b"\x09\x08\x10\x00", "document", "application/vnd.ms-excel"),
    (b"\x09\x04\x06\x00", "document", "application/vnd.ms-excel"),
    (b"\x09\x02\x06\x00", "document", "application/vnd.ms-excel"),
    (b"bplist", "document", "application/x-bplist"),
    (b"PAR1", "document", "application/vnd.apache.parquet"),
    (b"BOOKMOBI", "document", "application/x-mobipocket-ebook"),
    (b"\x00\x01\x00\x00\x00", "font", "font/ttf"),
    (b"OTTO", "font", "font/otf"),
    (b"wOFF", "font", "font/woff"),
    (b"wOF2", "font", "font/woff2"),
)


def _index() -> dict[bytes, tuple[Row, ...]]:
    rows: dict[bytes, list[Row]] = defaultdict(list)
    for row in sorted(_ROWS, key=lambda row: -len(row[0])):
        rows[row[0][:1]].append(row)
    return {first: tuple(found) for first, found in rows.items()}


SIGNATURES = _index()
"""Rows by first octet, the longest signature first."""

OFFSETS: tuple[tuple[int, bytes, str, str], ...] = (
    (257, b"ustar", "tar", "application/x-tar"),
    (2, b"-lh", "lha", "application/x-lzh"),
    (2, b"-lz", "lha", "application/x-lzh"),
    (7, b"**ACE**", "archive", "application/x-ace"),
    (32769, b"CD001", "iso", "application/x-iso9660-image"),
    (34817, b"CD001", "iso", "application/x-iso9660-image"),
    (20, b"\xdc\xa7\xc4\xfd", "archive", "application/x-zoo"),
    (128, b"DICM", "unread", "application/dicom"),
    (60, b"BOOKMOBI", "document", "application/x-mobipocket-ebook"),
)
"""Signatures that do not stand at the start: offset, octets, kind, media type."""

CONTAINERS = frozenset(
    (
        "zip",
        "7z",
        "rar",
        "tar",
        "gz",
        "bz2",
        "xz",
        "lzma",
        "zstd",
        "lz4",
        "lzip",
        "compress",
        "cab",
        "iso",
        "cpio",
        "ar",
        "lha",
        "xar",
        "rpm",
        "warc",
        "archive",
    )
)
"""Kinds that hold other files."""

FTYP = {
    b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heic", b"msf1": "image/heic", b"hevc": "image/heic",
    b"avif": "image/avif",
    b"avis": "image/avif", b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"qt  ": "video/quicktime",
}  # fmt: skip
"""Major brands of ISO base media; every other one is film."""

ARMOUR = (
    (b"-----BEGIN PGP MESSAGE", "pgp"),
    (b"-----BEGIN PGP SIGNATURE", "pgp"),
    (b"-----BEGIN PGP PUBLIC KEY BLOCK", "pgp"),
    (b"-----BEGIN PGP PRIVATE KEY BLOCK", "pgp"),
    (b"-----BEGIN PGP SECRET KEY BLOCK", "pgp"),
    (b"-----BEGIN PGP ARMORED FILE", "pgp"),
    (b"-----BEGIN AGE ENCRYPTED FILE-----", "age"),
    (b"-----BEGIN PKCS7-----", "cms"),
    (b"-----BEGIN PKCS #7 SIGNED DATA-----", "cms"),
    (b"-----BEGIN CMS-----", "cms"),
    (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", "key-file"),
)
"""Lines in text that announce something encrypted, and its kind."""

SCRIPT_NAMES = (
    ".js", ".jse", ".vbs", ".vbe", ".wsf", ".wsh", ".wsc", ".bat", ".cmd", ".ps1", ".psm1", ".hta", ".url", ".scf", ".lnk", ".reg", ".inf",
    ".sh", ".py", ".pl", ".rb", ".php", ".jar",
    ".applescript", ".command", ".desktop", ".library-ms", ".search-ms", ".settingcontent-ms",
    ".website", ".sct", ".xll", ".iqy", ".slk", ".job",
)  # fmt: skip
"""Ends of names of text that runs when it is opened."""

SHORTCUTS = re.compile(
    rb"\[(?:InternetShortcut|Shell|Desktop Entry|\{000214A0-0000-0000-C000-000000000046\})\]"
    rb"[\s\S]{0,2000}?^(?:URL|BaseURL|Command|IconFile|Exec)=|"
    rb"(?:<\?xml[^>]{0,200}>\s{0,20})?(?:<!--[^>]{0,500}-->\s{0,20})?"
    rb"<(?:libraryDescription|persistedQuery|PCSettings|scriptlet|hta:application|package><job|job[ >]|component|registration)\b|"
    rb"REGEDIT4|Windows Registry Editor Version|ID;P[A-Z]|WEB\r?\n[0-9]\r?\n|\[Version\]\s{0,20}Signature\s{0,5}=|@echo off\b|"
    rb"#@~\^",
    re.I | re.M,
)
"""Beginnings of text that runs, or opens something else, when it is opened; for files whose name does not say so."""
