"""Whether octets that are said to be text are text to every reader, and nothing else besides.

What it is: ``is_plain``, a few searches at the speed of memory.
Who calls it: ``plain``, before a door answers by itself; what is not plain goes to the inspector.
Must never: say yes to what the inspector's sniffer would call anything but text (a test holds its tables against this one); raise.
Sources: hostile-inputs catalogue C01, C02, E14, M26, Z10; RFC 9580 section 6, RFC 7468 (armour); reference/inspection.md section 1.
"""

from __future__ import annotations

import re

from gateway.text import iscii

_BINARY = bytes([*range(0x07), 0x08, *range(0x0E, 0x20), 0x7F])
_ANNOUNCED = b"-----BEGIN "
_HEAD = 4096
"""Octets in which the sniffer looks for the beginning of a format."""
_BLANK = b"\r\n\t "
_SPACE = b" \t\n\r\x0b\x0c"
_BEGINS = re.compile(
    rb"<|`\xea|\(\xb5/|x\x9f>|\{\\rt|%!|%PDF|#!|!<arch|!BDN|BEGIN:|PK|BZh|Rar!|7z\xbc|MZ|BM|GIF8|RIFF|ID3|OggS|fLaC|8BPS|AT&TFORM|AC10|II\*|LZIP|MSCF|ISc\(|"
    rb"0707|xar!|WARC/|MSWIM|conectix|vhdxfile|KDMV|QFI|hsqs|EGGA|ALZ|ITSF|StuffIt|SIT!|dex\n|age-encryption|Salted__|U2FsdGVkX1|LUKS|"
    rb"VimCrypt|encrcdsa|SQLite|HWP|bplist|PAR1|BOOKMOBI|OTTO|wOF",
    re.I,
)
"""Beginnings of files that consist of letters, as ``content.signatures`` has them, and what opens a language of tags or commands."""
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
    if not head or _BEGINS.match(head) or _BEGINS.match(body) or b"%PDF-" in body[:1024]:
        return False
    if any(body[at : at + len(octets)] == octets for at, octets in _WITHIN):
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
