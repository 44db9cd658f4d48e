"""OpenPGP signatures that stand beside what they sign.

What it is: ``is_signature``, which proves that octets are nothing but signature packets, and the extractor of such a part.
Who calls it: ``sniff`` and ``content.walk`` through the table.
Must never: take a message (signed, compressed or encrypted) for a signature; check a signature (the recipient does that).
Sources: RFC 9580 sections 4.2 (packets), 5.2 (signatures) and 6.2 (armour); RFC 3156 section 5 (application/pgp-signature).
"""

from __future__ import annotations

import binascii
import re

from gateway.content.base import Budget, Found, Piece, Unreadable

_SIGNATURE_TAG = 2
_LARGEST = 20_000
_MOST = 50
_ARMOURED = re.compile(
    rb"\A\s{0,20}-----BEGIN PGP SIGNATURE-----[ \t]*\r?\n(?:[A-Za-z][A-Za-z-]{1,30}: [^\r\n]{0,200}\r?\n)*[ \t]*\r?\n"
    rb"((?:[A-Za-z0-9+/]{1,100}={0,2}[ \t]*\r?\n)+)(?:=[A-Za-z0-9+/]{4}[ \t]*\r?\n)?-----END PGP SIGNATURE-----\s{0,20}\Z"
)


def is_signature(data: bytes) -> bool:
    """Whether *data*, armoured or not, is nothing but signature packets."""
    if len(data) > _LARGEST:
        return False
    if data[:1] < b"\x80":
        match = _ARMOURED.match(data)
        if match is None:
            return False
        try:
            data = binascii.a2b_base64(match[1])
        except binascii.Error:
            return False
    at = number = 0
    while at < len(data):
        size = _packet(data, at)
        number += 1
        if not size or number > _MOST:
            return False
        at += size
    return number > 0


def _packet(data: bytes, at: int) -> int:
    """Octets of the signature packet at *at*; 0 where there is none."""
    first = data[at]
    head = data[at + 1 : at + 6]
    if not first & 0x80 or len(head) < 5:
        return 0
    if first & 0x40:
        tag = first & 0x3F
        if head[0] < 192:
            length, width = head[0], 1
        elif head[0] < 224:
            length, width = (head[0] - 192 << 8) + head[1] + 192, 2
        elif head[0] == 255:
            length, width = int.from_bytes(head[1:5], "big"), 5
        else:
            return 0
    else:
        tag = first >> 2 & 0x0F
        width = (1, 2, 4, 0)[first & 3]
        length = int.from_bytes(head[:width], "big")
        if not width:
            return 0
    start = at + 1 + width
    if tag != _SIGNATURE_TAG or length < 10 or start + length > len(data) or data[start] not in (3, 4, 5, 6):
        return 0
    return 1 + width + length


def extract_signature(piece: Piece, budget: Budget) -> Found:
    """Nothing to read: a signature holds a few hundred octets of numbers. The armour may have fields, which are read as text."""
    if not is_signature(piece.data):
        raise Unreadable("an OpenPGP signature with other data in it")
    budget.check_time()
    return Found(media_type="application/pgp-signature", is_signature=True)
