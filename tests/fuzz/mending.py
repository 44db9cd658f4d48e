"""Checksums of headers set right, so that a changed header is read and not refused for its checksum alone.

What it is: one function a format; octets that are not of the format come back as they are.
Who calls it: the targets of formats whose headers carry a checksum.
Must never: raise.
Source(s): 7zFormat.txt; the RAR 5.0 archive format; technote.txt of RAR 4; [MS-OXRTFCP] 2.1.3.1.
"""

from __future__ import annotations

import zlib

_SEVENZIP, _RAR5, _RAR4 = b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x01\x00", b"Rar!\x1a\x07\x00"
_START, _BLOCKS = 32, 200


def sevenzip(data: bytes) -> bytes:
    """A 7z archive whose start and header have the checksums that belong to them."""
    if not data.startswith(_SEVENZIP) or len(data) < _START:
        return data
    out = bytearray(data)
    offset = int.from_bytes(out[12:20], "little")
    if offset > len(out) - _START:
        offset = 0
    header = out[_START + offset :]
    out[12:32] = offset.to_bytes(8, "little") + len(header).to_bytes(8, "little") + zlib.crc32(header).to_bytes(4, "little")
    out[8:12] = zlib.crc32(out[12:_START]).to_bytes(4, "little")
    return bytes(out)


def rar(data: bytes) -> bytes:
    """A RAR archive of generation 4 or 5 whose blocks have the checksums that belong to them, as far as they are not encrypted."""
    if data.startswith(_RAR5):
        return _rar5(bytearray(data))
    return _rar4(bytearray(data)) if data.startswith(_RAR4) else data


def _number(data: bytearray, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if at >= len(data):
            break
        octet = data[at]
        at += 1
        value |= (octet & 127) << 7 * place
        if octet < 128:
            break
    return value, at


def _rar5(data: bytearray) -> bytes:
    at = len(_RAR5)
    for _ in range(_BLOCKS):
        if at + 7 > len(data):
            break
        size, begin = _number(data, at + 4)
        end = begin + size
        if end > len(data):
            break
        data[at : at + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "little")
        _, place = _number(data, begin)
        flags, place = _number(data, place)
        if flags & 1:
            _, place = _number(data, place)
        at = end + (_number(data, place)[0] if flags & 2 else 0)
    return bytes(data)


def _rar4(data: bytearray) -> bytes:
    at = len(_RAR4)
    for _ in range(_BLOCKS):
        if at + 7 > len(data):
            break
        kind, flags = data[at + 2], int.from_bytes(data[at + 3 : at + 5], "little")
        size = int.from_bytes(data[at + 5 : at + 7], "little")
        if size < 7 or at + size > len(data):
            break
        data[at : at + 2] = (zlib.crc32(data[at + 2 : at + size]) & 0xFFFF).to_bytes(2, "little")
        more = int.from_bytes(data[at + 7 : at + 11], "little") if flags & 0x8000 or kind in (0x74, 0x7A) else 0
        at += size + more
    return bytes(data)


def rtf(data: bytes) -> bytes:
    """A compressed RTF whose size and checksum are right."""
    if len(data) < 16:
        return data
    body = data[16:]
    crc = zlib.crc32(body, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return (len(body) + 12).to_bytes(4, "little") + data[4:12] + crc.to_bytes(4, "little") + body
