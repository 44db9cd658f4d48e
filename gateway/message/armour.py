"""Old ways of putting files into text: yEnc, BinHex 4.0 and xxencode.

What it is: ``yenc``, ``binhex`` and ``xxencode``, decoders that give what can be had.
Who calls it: ``rawscan``.
Must never: raise; give more than ``MOST`` octets (BinHex repeats octets).
Sources: yEnc draft 1.3; RFC 1741 appendix A; xxencode(5).
"""

from __future__ import annotations

import binascii
import re

MOST = 64_000_000
_HQX = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_TO_BASE64 = bytes.maketrans(_HQX, _BASE64)
_NOT_HQX = bytes(octet for octet in range(256) if octet not in _HQX)
_MINUS_42 = bytes((octet - 42) & 255 for octet in range(256))
_XX = b"+-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_XX_TO_UU = bytes.maketrans(_XX, bytes(range(32, 96)))
_XX_LINE = re.compile(rb"[-+0-9A-Za-z]{1,100}")
_ESCAPED = re.compile(b"=(.)", re.S)


def yenc(octets: bytes, start: int) -> tuple[bytes, int]:
    """The content of the yEnc block that begins at *start*, and where it ends."""
    end = octets.find(b"\n=yend", start)
    end = len(octets) if end < 0 else end
    lines = octets[start:end].split(b"\n")[1:]
    body = b"".join(line.rstrip(b"\r") for line in lines if not line.startswith(b"=ypart "))
    return _ESCAPED.sub(lambda match: bytes(((match[1][0] - 64) & 255,)), body).translate(_MINUS_42), end


def xxencode(octets: bytes, start: int) -> bytes:
    """The content of the xxencoded block whose ``begin`` line is at *start*, as far as its lines are of that form."""
    out: list[bytes] = []
    at = octets.find(b"\n", start) + 1
    while 0 < at < len(octets):
        end = octets.find(b"\n", at)
        end = len(octets) if end < 0 else end
        line = octets[at:end].rstrip(b"\r")
        if line == b"end" or _XX_LINE.fullmatch(line) is None:
            break
        try:
            out.append(binascii.a2b_uu(line.translate(_XX_TO_UU)))
        except binascii.Error:
            break
        at = end + 1
    return b"".join(out)


def binhex(octets: bytes, start: int) -> tuple[bytes, int]:
    """The data fork of the BinHex file that begins at *start* (all of it when its header is broken), and where it ends."""
    first = octets.find(b"\n:", start)
    if first < 0:
        return b"", len(octets)
    end = octets.find(b":", first + 2)
    end = len(octets) if end < 0 else end
    dense = octets[first + 2 : end].translate(None, _NOT_HQX).translate(_TO_BASE64)
    if len(dense) % 4 == 1:
        dense = dense[:-1]
    flat = _expanded(binascii.a2b_base64(dense + b"=" * (-len(dense) % 4)))
    at = 1 + flat[0] + 1 + 4 + 4 + 2 if flat else 0
    size = int.from_bytes(flat[at : at + 4], "big") if len(flat) > at + 10 else -1
    return (flat[at + 10 : at + 10 + size] if 0 <= size <= len(flat) - at - 10 else flat), end


def _expanded(octets: bytes) -> bytes:
    """*octets* with runs written out: X 0x90 n is n times X, 0x90 0x00 is 0x90 itself."""
    out = bytearray()
    end = 0
    for match in re.finditer(rb"\x90", octets):
        at = match.start()
        if at < end:
            continue
        out += octets[end:at]
        count = octets[at + 1] if at + 1 < len(octets) else 0
        if count == 0:
            out.append(0x90)
        elif out:
            out += bytes((out[-1],)) * (count - 1)
        end = at + 2
        if len(out) > MOST:
            return bytes(out)
    return bytes(out + octets[end:])
