"""Pictures, sound and film: whether the file is what it says, from its first octet to its last.

What it is: structure walkers that never decode a pixel, and the words that such files carry (comments, XMP). The words that they show
are for ``content.recognition``, by the Scans of ``pictures.image_pixels``.
Who calls it: ``content.walk`` through the table.
Must never: decode; call a file well-formed that is cut off or that something else follows.
Sources: RFC 2083 (PNG), ITU-T T.81 annex B (JPEG), GIF89a, TIFF 6.0, RIFF, ISO/IEC 14496-12 (boxes), RFC 3533 (Ogg), Matroska;
hostile-inputs catalogue D12, Z12.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

from gateway.extraction.base import Budget, Extractor, Found, OverLimit, Piece, Unreadable
from gateway.pictures import image_pixels, metadata
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_PICTURES = 100
_BLOCKS = 400_000
"""Blocks, records and entries of one file."""
_OCTETS = 8_000_000
"""Of comments and XMP in one file, unpacked."""
_PIXELS = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"fdAT", b"fcTL", b"acTL", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"hIST"))
_FRAMES = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"fmt ", b"data", b"idx1"))
_OCTET_KINDS = (1, 2, 7)
_EXIF = 34665
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The end of coded data: no stuffed zero and no restart."""


class Words(list[bytes]):
    """The words in one file, and how many of its blocks were looked at."""

    def __init__(self) -> None:
        super().__init__()
        self._octets = 0
        self._blocks = 0

    def append(self, octets: bytes) -> None:
        """Takes words. Raises OverLimit."""
        self._octets += len(octets)
        if self._octets > _OCTETS:
            raise OverLimit("it holds more comments than are read")
        super().append(octets)

    def block(self, blocks: int = 1) -> None:
        """Counts blocks. Raises OverLimit."""
        self._blocks += blocks
        if self._blocks > _BLOCKS:
            raise OverLimit("it holds more blocks than are looked at")


def png(data: bytes, words: Words) -> int:
    """The octet after IEND."""
    at, first = 8, True
    while at + 12 <= len(data):
        words.block()
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if first and (kind != b"IHDR" or length != 13):
            raise Unreadable("a picture without its header")
        first = False
        body = data[at + 8 : at + 8 + length]
        if len(body) < length:
            break
        if kind == b"zTXt" or (kind == b"iTXt" and body.partition(b"\x00")[2][:1] == b"\x01"):
            words.append(_inflated(body))
        elif kind in (b"tEXt", b"iTXt"):
            words.append(body.replace(b"\x00", b"\n"))
        elif kind not in _PIXELS:
            words.append(body)
        at += 12 + length
        if kind == b"IEND":
            return at
    raise Unreadable("a picture that is cut off")


def _inflated(body: bytes) -> bytes:
    """A compressed text and what stands before it."""
    start = next((at for at in range(len(body) - 1) if body[at] & 15 == 8 and not (body[at] << 8 | body[at + 1]) % 31), len(body))
    try:
        return body[:start] + b"\n" + zlib.decompressobj().decompress(body[start:], _OCTETS)
    except zlib.error:
        return body


def jpeg(data: bytes, words: Words) -> int:
    """The octet after EOI. Further whole pictures behind the first (phones write them) belong to the file."""
    return jpegs(data, words)[-1]


def jpegs(data: bytes, words: Words) -> list[int]:
    """The octets at which the pictures in a file begin, and the octet after the last one."""
    starts = [0, _jpeg_end(data, 0, words)]
    while data.startswith(b"\xff\xd8\xff", starts[-1]) and len(data) - starts[-1] > 4:
        if len(starts) > _PICTURES:
            raise Unreadable("a picture with too many others behind it")
        starts.append(_jpeg_end(data, starts[-1], words))
    return starts


def _jpeg_end(data: bytes, at: int, words: Words) -> int:
    at += 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise Unreadable("a picture with broken segments")
        words.block()
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xD9:
            return at + 2
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(data):
            break
        if marker == 0xFE or 0xE1 <= marker <= 0xEF:
            words.append(data[at + 4 : at + 2 + length])
        at += 2 + length
        if marker == 0xDA:
            at = _entropy_end(data, at)
    if data[at : at + 2] == b"\xff\xd9":
        return at + 2
    raise Unreadable("a picture that is cut off")


def _entropy_end(data: bytes, at: int) -> int:
    """The next real marker after coded data."""
    found = _MARKER.search(data, at)
    if found is None:
        raise Unreadable("a picture that is cut off")
    return found.end() - 2


def gif(data: bytes, words: Words) -> int:
    """The octet after the trailer."""
    if len(data) < 13:
        raise Unreadable("a picture that is cut off")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while at < len(data):
        words.block()
        block = data[at]
        if block == 0x3B:
            return at + 1
        if block == 0x2C and at + 10 <= len(data):
            packed = data[at + 9]
            at += 11 + (3 << (packed & 7) + 1 if packed & 0x80 else 0)
        elif block == 0x21 and at + 2 <= len(data):
            at += 2
        else:
            raise Unreadable("a picture with broken blocks")
        text = bytearray()
        is_comment, is_named = block == 0x21 and data[at - 1] != 0xF9, data[at - 1] == 0xFF
        while at < len(data) and (size := data[at]):
            words.block()
            if is_comment:
                text += data[at + 1 : at + 1 + size] + (b"\n" if not text and is_named else b"")
            at += 1 + size
        at += 1
        if text:
            words.append(bytes(text))
    raise Unreadable("a picture that is cut off")


def riff(data: bytes, words: Words) -> int:
    """WebP, WAV, AVI: the length is in the header."""
    if len(data) < 12:
        raise Unreadable("it is cut off")
    length = int.from_bytes(data[4:8], "little") + 8
    end = length + (length & 1)
    at = 12
    while at + 8 <= min(length, len(data)):
        words.block()
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] not in _FRAMES and (data[at : at + 4] != b"LIST" or size < 100_000):
            words.append(data[at + 8 : at + 8 + size])
        at += 8 + size + (size & 1)
    return end if end <= len(data) else length


def bmp(data: bytes, words: Words) -> int:
    """The length is in the header; some writers leave it zero."""
    size = int.from_bytes(data[2:6], "little")
    if len(data) < 26 or size < 26:
        raise Unreadable("a picture with a broken header")
    return size


def tiff(data: bytes, words: Words) -> int:
    """Every directory and strip lies inside of the file; loops of directories are broken. The end cannot be told apart."""
    order = "<" if data[:2] == b"II" else ">"
    at: int = struct.unpack_from(order + "I", data, 4)[0]
    seen: set[int] = set()
    waiting: list[int] = []
    while at or waiting:
        at = at or waiting.pop()
        if at in seen or at + 2 > len(data) or len(seen) > 1000:
            raise Unreadable("a picture with broken directories")
        seen.add(at)
        count = struct.unpack_from(order + "H", data, at)[0]
        if at + 2 + 12 * count + 4 > len(data):
            raise Unreadable("a picture that is cut off")
        words.block(count)
        for index in range(count):
            tag, kind, number, value = struct.unpack_from(order + "HHII", data, at + 2 + 12 * index)
            width = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 9: 4, 10: 8, 12: 8}.get(kind, 1)
            if number * width > 4 and value + number * width > len(data):
                raise Unreadable("a picture that is cut off")
            if kind in _OCTET_KINDS and number * width > 4:
                words.append(data[value : value + number * width])
            elif tag == _EXIF and value not in seen:
                waiting.append(value)
        at = struct.unpack_from(order + "I", data, at + 2 + 12 * count)[0]
    return len(data)


def boxes(data: bytes, words: Words) -> int:
    """ISO base media (MP4, MOV, HEIC, AVIF, JPEG 2000): boxes fill the file exactly."""
    at = 0
    while at + 8 <= len(data):
        words.block()
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1 and at + 16 <= len(data):
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        elif size == 0:
            return len(data)
        if size < 8 or at + size > len(data):
            raise Unreadable("a film or picture with broken boxes")
        at += size
    return at


def ogg(data: bytes, words: Words) -> int:
    """Pages up to the end."""
    at = 0
    while data[at : at + 4] == b"OggS" and at + 27 <= len(data):
        words.block()
        table = data[at + 27 : at + 27 + data[at + 26]]
        at += 27 + len(table) + sum(table)
    if at > len(data) or not at:
        raise Unreadable("a sound file that is cut off")
    return at


def flac(data: bytes, words: Words) -> int:
    """Metadata blocks, then a frame; frames carry no length, so the end cannot be told."""
    at = 4
    while at + 4 <= len(data):
        words.block()
        last, kind, size = data[at] & 0x80, data[at] & 0x7F, int.from_bytes(data[at + 1 : at + 4], "big")
        if kind == 4:
            words.append(data[at + 4 : at + 4 + size])
        at += 4 + size
        if last:
            break
    if at + 2 > len(data) or data[at] != 0xFF or data[at + 1] & 0xFC != 0xF8:
        raise Unreadable("a sound file that is cut off")
    return len(data)


_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_BITRATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITRATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def mp3(data: bytes, words: Words) -> int:
    """MPEG layer III frames, one after the other, behind an ID3v2 tag and before an ID3v1 tag."""
    at = 0
    if data.startswith(b"ID3") and len(data) >= 10:
        size = (data[6] & 127) << 21 | (data[7] & 127) << 14 | (data[8] & 127) << 7 | data[9] & 127
        words.append(data[10 : 10 + min(size, 100_000)])
        at = 10 + size
    frames = 0
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] & 0xE0 == 0xE0:
        words.block()
        version, layer = data[at + 1] >> 3 & 3, data[at + 1] >> 1 & 3
        rate_index, bitrate_index, padding = data[at + 2] >> 2 & 3, data[at + 2] >> 4, data[at + 2] >> 1 & 1
        if version == 1 or layer != 1 or rate_index == 3 or bitrate_index in (0, 15):
            break
        bitrate = (_BITRATES_1 if version == 3 else _BITRATES_2)[bitrate_index] * 1000
        at += (144 if version == 3 else 72) * bitrate // _RATES[version][rate_index] + padding
        frames += 1
    if frames < 3:
        raise Unreadable("a sound file whose frames are broken")
    if data[at : at + 3] == b"TAG":
        words.append(data[at : at + 128])
        at += 128
    return min(at, len(data))  # players write the last frame short


def matroska(data: bytes, words: Words) -> int:
    """EBML header and one segment that ends with the file."""
    at = 0
    while at < len(data):
        words.block()
        id_length = _ebml_length(data[at])
        if not id_length or at + id_length >= len(data):
            raise Unreadable("a film with broken elements")
        at += id_length
        size_length = _ebml_length(data[at])
        if not size_length or at + size_length > len(data):
            raise Unreadable("a film with broken elements")
        size = int.from_bytes(data[at : at + size_length], "big") & (1 << 7 * size_length) - 1
        if size == (1 << 7 * size_length) - 1:
            return len(data)
        at += size_length + size
    if at > len(data):
        raise Unreadable("a film that is cut off")
    return at


def _ebml_length(first: int) -> int:
    return 9 - first.bit_length() if first else 0


def emf(data: bytes, words: Words) -> int:
    """Records up to the end record; text records are not read, since they are drawn in pieces."""
    at = 0
    while at + 8 <= len(data):
        words.block()
        kind, size = struct.unpack_from("<II", data, at)
        if size < 8 or size % 4 or at + size > len(data):
            break
        at += int(size)
        if kind == 14:
            return at
    raise Unreadable("a drawing that is cut off")


def wmf(data: bytes, words: Words) -> int:
    """Records up to the end record, behind the placeable header where there is one."""
    at = (22 if data.startswith(b"\xd7\xcd\xc6\x9a") else 0) + 18
    while at + 6 <= len(data):
        words.block()
        size, kind = struct.unpack_from("<IH", data, at)
        if size < 3 or at + 2 * size > len(data):
            break
        at += 2 * int(size)
        if kind == 0:
            return at
    raise Unreadable("a drawing that is cut off")


def icon(data: bytes, words: Words) -> int:
    """Every picture of the directory lies inside of the file."""
    count = struct.unpack_from("<H", data, 4)[0]
    ends: list[int] = [sum(struct.unpack_from("<II", data, 6 + 16 * index + 8)) for index in range(count)]
    if not ends or max(ends) > len(data):
        raise Unreadable("a picture that is cut off")
    return max(ends)


WALKERS: dict[str, Callable[[bytes, Words], int]] = {
    "image/png": png, "image/jpeg": jpeg, "image/gif": gif, "image/webp": riff, "image/bmp": bmp, "image/tiff": tiff,
    "image/heic": boxes, "image/avif": boxes, "image/jp2": boxes, "video/mp4": boxes, "video/quicktime": boxes,
    "audio/mp4": boxes, "audio/x-wav": riff, "video/x-msvideo": riff, "audio/ogg": ogg, "audio/flac": flac,
    "audio/mpeg": mp3, "video/x-matroska": matroska,
    "image/emf": emf, "image/wmf": wmf, "image/x-icon": icon,
}  # fmt: skip


def walker_for(media_type: str) -> Extractor:
    """The extractor of the one type *media_type*."""
    walk = WALKERS[media_type]
    noun = {"image": "a picture", "audio": "a sound file", "video": "a film"}[media_type.partition("/")[0]]

    def extract(piece: Piece, budget: Budget) -> Found:
        words = Words()
        try:
            end = walk(piece.data, words)
        except (struct.error, IndexError, RecursionError):
            raise Unreadable(f"{noun} that is broken") from None
        if end > len(piece.data):
            raise Unreadable(f"{noun} that is cut off")
        if piece.data[end:].strip(b"\x00\r\n "):
            raise Unreadable(f"{noun} with other data behind its end")
        segments = tuple(Segment(text, Zone.PROPERTY) for text in map(metadata.text, words) if text)
        starts = tuple(jpegs(piece.data, Words())[:-1]) if media_type == "image/jpeg" else (0,)
        pictures = image_pixels.scans(piece.data[:end], media_type, starts)
        return Found(segments, state=LeafState.UNINSPECTABLE, reason=f"{noun}: there is no reader for it", scans=pictures)

    return extract
