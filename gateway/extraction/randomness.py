"""Whether octets can be ciphertext: the test that can only disprove.

What it is: chi-square over octets (over half-octets for short samples), magic numbers, readable text and trial inflate.
Who calls it: the protection files of the formats, as the third proof beside structure and trial opening.
Must never: be taken as proof of encryption; compressed data looks random too.
Source: docs/inspection.md, main rule (chi-square below 400 over at least 1 KB; 255 degrees of freedom).
"""

from __future__ import annotations

import zlib
from collections import Counter

SAMPLE = 65_536
SHORTEST = 16
"""Octets below which nothing can be said."""
_MAGIC = (
    *(b"PK\x03\x04", b"PK\x05\x06", b"%PDF-", b"\xd0\xcf\x11\xe0", b"\x1f\x8b\x08", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"BZh", b"\xfd7zXZ"),
    *(b"\x28\xb5\x2f\xfd", b"MZ", b"\x7fELF", b"{\\rtf", b"<?xml", b"<html", b"RIFF", b"OggS", b"ID3"),
    *(b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*"),
)


def disproof(data: bytes) -> str:
    """Why *data* is not ciphertext, as a plain clause; empty when nothing speaks against it.

    At least 16 octets are needed; from 1,024 octets on chi-square over octets decides, below that over half-octets.
    """
    if len(data) < SHORTEST:
        return "it is too short to be proved encrypted"
    if data.startswith(_MAGIC):
        return "its data starts like a plain file"
    if _inflates(data):
        return "its data can be decompressed without a password"
    sample = data if len(data) <= SAMPLE else data[: SAMPLE // 2] + data[-SAMPLE // 2 :]
    if _is_text(sample):
        return "its data is readable text"
    counts = Counter(sample)
    if len(sample) >= 1024:
        # Below 150 the octets are spread too evenly for chance, which ciphertext never is either.
        even = 150 < _chi_square(counts, 256, len(sample)) < 400
    elif len(sample) >= 64:
        high: Counter[int] = Counter()
        low: Counter[int] = Counter()
        for octet, count in counts.items():
            high[octet >> 4] += count
            low[octet & 15] += count
        even = max(_chi_square(high, 16, len(sample)), _chi_square(low, 16, len(sample))) < 60
    else:
        even = len(counts) > len(sample) // 2
    return "" if even else "its data does not look encrypted"


def _chi_square(counts: Counter[int], bins: int, total: int) -> float:
    expected = total / bins
    return sum((counts.get(value, 0) - expected) ** 2 for value in range(bins)) / expected


def _is_text(sample: bytes) -> bool:
    if not sample.translate(None, bytes(range(32, 127)) + b"\t\r\n"):
        return True
    try:
        sample.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(sample) >= 64 and error.start > len(sample) - 4
    return True


def _inflates(data: bytes) -> bool:
    """Whether zlib, gzip or raw deflate gets on with *data*: to an end, or past 1,000 octets of input without an error.

    Raw deflate finds a meaning in some random data for a while, so it must come to its end or go on for long.
    """
    for bits in (15, 31, -15):
        engine = zlib.decompressobj(bits)
        try:
            out = engine.decompress(data[:SAMPLE], 1_000_000)
        except zlib.error:
            continue
        used = min(len(data), SAMPLE) - len(engine.unused_data) - len(engine.unconsumed_tail)
        if (engine.eof and used >= len(data) - 16 and out) or (not engine.eof and used > 1000):
            return True
        if bits != -15 and out and (engine.eof or used >= len(data)):
            return True
    return False
