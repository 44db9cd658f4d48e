"""Whether octets that are said to be text are text to every reader, and nothing else besides.

What it is: ``is_plain``, a few searches at the speed of memory.
Who calls it: ``plain``, before a door answers by itself; what is not plain goes to the inspector.
Must never: say yes to what the inspector's sniffer would call anything but text (a test holds its tables against this one); raise.
Sources: hostile-inputs catalogue C01, C02, E14, M26, Z10; RFC 9580 section 6, RFC 7468 (armour); docs/inspection.md.
"""

from __future__ import annotations

from gateway.text import iscii

_BINARY = bytes([*range(0x07), 0x08, *range(0x0E, 0x20), 0x7F])
_ANNOUNCED = b"-----BEGIN "
_HEAD = 4096
"""Octets in which the sniffer looks for the beginning of a format."""
_BLANK = b"\r\n\t "
_SPACE = b" \t\n\r\x0b\x0c"
_BEGINS = (
    b"<", b"`\xea", b"(\xb5/", b"x\x9f>", b"{\\rt", b"%!", b"%pdf", b"#!", b"!<arch", b"!bdn", b"begin:", b"pk", b"bzh", b"rar!",
    b"7z\xbc", b"mz", b"bm", b"gif8", b"riff", b"id3", b"oggs", b"flac", b"8bps", b"at&tform", b"ac10", b"ii*", b"lzip", b"mscf",
    b"isc(", b"0707", b"xar!", b"warc/", b"mswim", b"conectix", b"vhdxfile", b"kdmv", b"qfi", b"hsqs", b"egga", b"alz", b"itsf",
    b"stuffit", b"sit!", b"dex\n", b"age-encryption", b"salted__", b"u2fsdgvkx1", b"luks", b"vimcrypt", b"encrcdsa", b"sqlite", b"hwp",
    b"bplist", b"par1", b"bookmobi", b"otto", b"wof",
)  # fmt: skip
"""Beginnings of files that consist of letters, as ``content.signatures`` has them, and what opens a language of tags or commands;
in lower case."""
_LONGEST = max(map(len, _BEGINS))
_WITHIN = (
    (257, b"ustar"),
    (20, b"\xdc\xa7\xc4\xfd"),
    (2, b"-lh"),
    (2, b"-lz"),
    (7, b"**ACE**"),
    (20, b"\xdc\xa7\xc4\xfd"),
    (32769, b"CD001"),
    (34817, b"CD001"),
    (60, b"BOOKMOBI"),
    (128, b"DICM"),
    (4, b"ftyp"),
)
"""Signatures that stand further behind, and where."""
_OCTAL = frozenset(b"01234567")


def is_plain(body: bytes) -> bool:
    """Whether the octets *body* are running text and nothing else: no control characters, no beginning of a format, no armour."""
    if not body.strip(_BLANK):
        return True
    if _ANNOUNCED in body or len(body.translate(None, _BINARY)) != len(body):
        return False
    utf8 = body.isascii() or _is_utf8(body)
    if body[0] >= 0x80 and not (utf8 and 0xE0 <= body[0] <= 0xEE):
        return False  # a packet, a picture, a byte order mark; in UTF-8 the scripts of India begin with E0
    head = body[:_HEAD].lstrip(_SPACE)
    if not head or head[:_LONGEST].lower().startswith(_BEGINS) or body[:_LONGEST].lower().startswith(_BEGINS) or b"%PDF-" in body[:1024]:
        return False
    for at, octets in _WITHIN:
        if body.startswith(octets, at):
            return False
    checksum = body[148:156].strip(b" ")
    if checksum and _OCTAL.issuperset(checksum):
        return False  # where an archive of tar has its checksum
    return utf8 or not iscii.plainly(body)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
