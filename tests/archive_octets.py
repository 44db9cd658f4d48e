"""Archives written octet by octet, for what no tool makes: claims of encryption that are not true.

Used by the maker of the fixtures ``archives`` and by the tests of readers of archives.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import lzma
import random
import struct
import zlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SEVENZIP_AES = (b"\x06\xf1\x07\x01", b"\x53\x0f" + bytes(range(16)))
LZMA_CODER = (b"\x03\x01\x01", b"\x5d\x00\x00\x10\x00")


def noise(size: int) -> bytes:
    """Octets like ciphertext, the same each time."""
    return random.Random(size).randbytes(size)


def padded(data: bytes) -> bytes:
    """*data* filled up to whole blocks of AES."""
    return data + bytes(-len(data) % 16)


def deflated(data: bytes) -> bytes:
    """A raw deflate stream."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return engine.compress(data) + engine.flush()


def lzma1(data: bytes) -> bytes:
    """A raw LZMA stream by the properties of ``LZMA_CODER``."""
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, "lc": 3, "lp": 0, "pb": 2}]
    return lzma.compress(data, lzma.FORMAT_RAW, filters=filters)


def flagged(data: bytes, *, local: bool, directory: bool) -> bytes:
    """The zip *data* with the encryption bit set in its headers."""
    out = bytearray(data)
    if local:
        out[6] |= 1
    if directory:
        out[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(out)


def _zip(name: bytes, packed: bytes, flag: int, method: int, crc: int, size: int, extra: bytes) -> bytes:
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 51, flag, method, 0, 0, crc, len(packed), size, len(name), len(extra)) + name + extra
    entry = struct.pack(
        "<4s6H3L5H2L", b"PK\x01\x02", 51, 51, flag, method, 0, 0, crc, len(packed), size, len(name), len(extra), 0, 0, 0, 0, 0
    )
    entry += name + extra
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), len(local) + len(packed), 0)
    return local + packed + entry + end


def aes_member(
    payload: bytes, *, flag: int = 1, method: int = 99, real: int = 0, size: int = -1, strength: int = 3, bare: bool = False
) -> bytes:
    """A zip whose one member has an AES record over *payload*; *bare*: without salt, verifier and code around it."""
    extra = struct.pack("<HHH2sBH", 0x9901, 7, 2, b"AE", strength, real)
    size = len(payload) if size < 0 else size
    packed = payload if bare else noise(18) + payload + noise(10)
    crc = zlib.crc32(payload) if method != 99 else 0
    return _zip(b"a.txt", packed, flag, method, crc, size, extra)


def aes_encrypted(payload: bytes, password: bytes) -> bytes:
    """A zip whose one stored member is encrypted by AES-256 with *password*, which may be empty: no tool lets it."""
    salt, blocks = noise(16), -(-len(payload) // 16)
    keys = hashlib.pbkdf2_hmac("sha1", password, salt, 1000, 66)
    counters = b"".join(number.to_bytes(16, "little") for number in range(1, blocks + 1))
    stream = Cipher(algorithms.AES(keys[:32]), modes.ECB()).encryptor().update(counters)
    closed = bytes(one ^ other for one, other in zip(payload, stream, strict=False))
    packed = salt + keys[64:] + closed + hmac.digest(keys[32:64], closed, "sha1")[:10]
    return _zip(b"a.txt", packed, 1, 99, 0, len(payload), struct.pack("<HHH2sBH", 0x9901, 7, 2, b"AE", 3, 0))


def zipcrypto_member(payload: bytes) -> bytes:
    """A zip whose one member is flagged, with twelve odd octets before plain text."""
    return _zip(b"a.txt", noise(12) + payload, 1, 0, 7, len(payload), b"")


def joined_zip(first: bytes, second: bytes) -> bytes:
    """The members of two zip files, in one."""
    parts, entries, at = b"", b"", 0
    count = 0
    for data in (first, second):
        end = data.rindex(b"PK\x05\x06")
        size, start = struct.unpack_from("<LL", data, end + 12)
        place = start
        while place < start + size:
            name, extra, comment = struct.unpack_from("<HHH", data, place + 28)
            following = place + 46 + name + extra + comment
            entry = bytearray(data[place:following])
            struct.pack_into("<L", entry, 42, struct.unpack_from("<L", entry, 42)[0] + at)
            entries += bytes(entry)
            count += 1
            place = following
        parts += data[:start]
        at = len(parts)
    return parts + entries + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(entries), len(parts), 0)


def _number(value: int) -> bytes:
    """A number as 7z writes it."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((0x80 | value >> 8, value & 255))
    if value < 0x200000:
        return bytes((0xC0 | value >> 16, value & 255, value >> 8 & 255))
    return b"\xff" + value.to_bytes(8, "little")


def sevenzip_aes(power: int) -> tuple[bytes, bytes]:
    """The coder with 2^*power* rounds."""
    return b"\x06\xf1\x07\x01", bytes((0x40 | power, 0x0F)) + bytes(range(16))


def sevenzip(
    coders: list[tuple[bytes, bytes]], packed: bytes, size: int, *, plain: bytes = b"", crc: int = 0, name: str = "note.txt"
) -> bytes:
    """A 7z archive of one file; *coders* as 7z has them (the last one undone first)."""
    checksum = crc or zlib.crc32(plain or packed)
    folder = _number(len(coders))
    for method, properties in coders:
        folder += bytes((len(method) | (0x20 if properties else 0),)) + method
        folder += _number(len(properties)) + properties if properties else b""
    for index in range(len(coders) - 1):
        folder += _number(index) + _number(index + 1)
    sizes = b"".join(_number(len(packed) if index else size) for index in range(len(coders)))
    streams = b"\x06" + _number(0) + _number(1) + b"\x09" + _number(len(packed)) + b"\x00"
    streams += b"\x07\x0b" + _number(1) + b"\x00" + folder + b"\x0c" + sizes + b"\x0a\x01" + checksum.to_bytes(4, "little") + b"\x00"
    names = b"\x00" + (name + "\0").encode("utf-16-le")
    header = b"\x01\x04" + streams + b"\x00\x05" + _number(1) + b"\x11" + _number(len(names)) + names + b"\x00\x00"
    start = struct.pack("<QQL", len(packed), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + zlib.crc32(start).to_bytes(4, "little") + start + packed + header


def _vint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _rar5_block(body: bytes) -> bytes:
    rest = _vint(len(body)) + body
    return zlib.crc32(rest).to_bytes(4, "little") + rest


def rar5_record(version: int = 0, power: int = 15) -> bytes:
    """A file encryption record."""
    body = b"\x01" + _vint(version) + b"\x00" + bytes((power,)) + noise(16) + noise(17)[:16]
    return _vint(len(body)) + body


def rar5(name: str, data: bytes, *, record: bytes = b"", announced: bool = True, crc: int = 0) -> bytes:
    """A RAR 5 archive of one stored file with the extra area *record*."""
    raw = name.encode()
    flags = 0x2 | (0x1 if record and announced else 0)
    body = b"\x02" + _vint(flags) + (_vint(len(record)) if flags & 1 else b"") + _vint(len(data))
    body += b"\x04" + _vint(len(data)) + b"\x20" + (crc or zlib.crc32(data)).to_bytes(4, "little") + b"\x00\x01" + _vint(len(raw)) + raw
    return b"Rar!\x1a\x07\x01\x00" + _rar5_block(b"\x01\x00\x00") + _rar5_block(body + record) + data + _rar5_block(b"\x05\x00\x00")


def rar5_closed_headers(data: bytes) -> bytes:
    """A RAR 5 archive that says its headers are encrypted, and goes on with plain *data*."""
    return b"Rar!\x1a\x07\x01\x00" + _rar5_block(b"\x04\x00\x00\x00\x0f" + noise(16)) + data


def _rar4_block(kind: int, flags: int, body: bytes) -> bytes:
    rest = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
    return (zlib.crc32(rest) & 0xFFFF).to_bytes(2, "little") + rest


def rar4(name: str, data: bytes, *, closed: bool = False, crc: int = 0) -> bytes:
    """A RAR 4 archive of one stored file; *closed*: with the password flag and a salt."""
    raw = name.encode()
    fields = struct.pack("<LLBLLBBHL", len(data), len(data), 3, crc or zlib.crc32(data), 0, 29, 0x30, len(raw), 0x81A4)
    flags = 0x8000 | (0x404 if closed else 0)
    out = b"Rar!\x1a\x07\x00" + _rar4_block(0x73, 0, bytes(6))
    return out + _rar4_block(0x74, flags, fields + raw + (noise(8) if closed else b"")) + data + _rar4_block(0x7B, 0x4000, b"")


def mail(data: bytes, name: str, *, subject: str = "papers", body: str = "Papers enclosed.") -> bytes:
    """A message with the attachment *data*."""
    head = (
        f"From: a@example.gov.in\r\nTo: b@example.gov.in\r\nSubject: {subject}\r\nDate: Mon, 02 Sep 2024 10:00:00 +0530\r\n"
        'Message-ID: <1@example.gov.in>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b1"\r\n\r\n'
        f"--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n--b1\r\nContent-Type: application/octet-stream\r\n"
        f'Content-Disposition: attachment; filename="{name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    )
    return head.encode() + base64.encodebytes(data).replace(b"\n", b"\r\n") + b"--b1--\r\n"
