"""Compressed RTF, the form in which Outlook keeps formatted bodies.

What it is: ``unpack``.
Who calls it: ``office.mapi``.
Must never: give less than what was packed without saying so.
Source: MS-OXRTFCP 2.1.3 (header, dictionary), 2.2 (algorithm), 2.1.3.2 (CRC).
"""

from __future__ import annotations

import struct
import zlib

from gateway.extraction.base import Budget, Unreadable

_PACKED, _PLAIN = 0x75465A4C, 0x414C454D
_START = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArial"
    b"Times New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)
_BROKEN = "a message whose formatted body is broken"


def unpack(data: bytes, budget: Budget) -> bytes:
    """The RTF in *data*. Raises Unreadable when its checksum or size is wrong, OverLimit beyond the budget."""
    if len(data) < 16:
        raise Unreadable(_BROKEN)
    packed, size, kind, check = struct.unpack_from("<IIII", data)
    body = data[16 : packed + 4]
    if packed + 4 > len(data) or size > 64_000_000:
        raise Unreadable(_BROKEN)
    if kind == _PLAIN:
        if size > len(body) + 12:  # some programs count the rest of the header too
            raise Unreadable(_BROKEN)
        budget.spend_bytes(size)
        return body[:size]
    if kind != _PACKED or crc(body) != check:
        raise Unreadable(_BROKEN)
    out = bytearray(_START)
    at, end, window = 0, len(body), len(_START)
    while at < end:
        flags = body[at]
        at += 1
        for bit in range(8):
            if at >= end:
                break
            if not flags >> bit & 1:
                out.append(body[at])
                at += 1
                continue
            if at + 2 > end:
                raise Unreadable(_BROKEN)
            token = body[at] << 8 | body[at + 1]
            at += 2
            offset, length = token >> 4, (token & 15) + 2
            write = len(out) % 4096
            if offset == write:
                at = end
                break
            back = (write - offset) % 4096 or 4096
            if back > len(out):
                raise Unreadable(_BROKEN)
            start = len(out) - back
            if back >= length:
                out += out[start : start + length]
            else:
                for index in range(length):
                    out.append(out[start + index])
        if len(out) > size + window + 64:
            raise Unreadable(_BROKEN)
    if len(out) - window < size:
        raise Unreadable(_BROKEN)
    budget.spend_bytes(size)
    return bytes(out[window : window + size])


def crc(data: bytes) -> int:
    """The usual CRC-32, but begun with 0 and not turned round at the end."""
    return zlib.crc32(data, 0xFFFFFFFF) ^ 0xFFFFFFFF
