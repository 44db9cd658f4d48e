"""ASCII armour: OpenPGP's blocks in text.

What it is: ``find`` (all blocks of some text), ``whole`` (the text is one block and nothing else).
Who calls it: ``pgp`` and ``sniff``.
Must never: take the checksum for a proof of anything (a wrong one is ignored by the common programs, so the octets count);
be slower than linear.
Sources: RFC 9580 section 6 (armour; 6.1 the optional checksum), RFC 4880 section 6; hostile-inputs catalogue E14.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass

_BEGIN = re.compile(
    rb"-----BEGIN PGP ((?:MESSAGE|SIGNATURE|PUBLIC KEY BLOCK|PRIVATE KEY BLOCK|SECRET KEY BLOCK|ARMORED FILE)(?:, PART [0-9/]{1,11})?)-----"
)
_END = re.compile(rb"^[> \t]{0,20}-----END PGP [A-Z0-9 ,/]{1,40}-----", re.M)
_FIELD = re.compile(rb"[A-Za-z][A-Za-z0-9-]{0,40}:(?: |$)")
_QUOTE = re.compile(rb"^[> \t]+", re.M)
_ALPHABET = re.compile(rb"[^A-Za-z0-9+/]")
_CHECKSUM = re.compile(rb"\n=([A-Za-z0-9+/]{4})[ \t]*$")
_MOST_CHECKED = 500_000  # octets whose checksum is worth its time
MOST = 100
"""Blocks of one text."""


@dataclass(frozen=True, slots=True)
class Block:
    """One armoured block."""

    kind: str
    """``MESSAGE``, ``SIGNATURE``, ``PUBLIC KEY BLOCK`` …"""
    fields: bytes
    """Its header lines, ``Comment: …``."""
    data: bytes
    start: int
    """Offsets in the text."""
    end: int
    flaw: str = ""
    """What is odd about the armour, as a plain clause."""


def find(text: bytes) -> tuple[Block, ...]:
    """The blocks of *text* in their order. One without an end line reaches to the end of the text. Never raises."""
    blocks: list[Block] = []
    begin = _BEGIN.search(text)
    while begin is not None and len(blocks) < MOST:
        # An end is looked for up to the next beginning only: linear, whatever the text.
        following = _BEGIN.search(text, begin.end())
        limit = following.start() if following is not None else len(text)
        end = _END.search(text, begin.end(), limit)
        stop, after = (end.start(), end.end()) if end is not None else (limit, limit)
        blocks.append(_block(text, begin, stop, after, "" if end is not None else "its armour has no end"))
        begin = following
    return tuple(blocks)


def _block(text: bytes, begin: re.Match[bytes], stop: int, after: int, flaw: str) -> Block:
    inner = _QUOTE.sub(b"", text[begin.end() : stop].replace(b"\r", b""))
    lines = inner.split(b"\n")
    # The header lines end at an empty line; without one, at the first line that is no field.
    place = 1 if lines and not lines[0].strip() else 0
    fields: list[bytes] = []
    while place < len(lines) and _FIELD.match(lines[place]):
        fields.append(lines[place])
        place += 1
    body = b"\n" + b"\n".join(lines[place:]).rstrip()
    checksum = _CHECKSUM.search(body)
    if checksum is not None:
        body = body[: checksum.start()]
    data, odd = _decode(body)
    if (
        checksum is not None
        and not flaw
        and len(data) <= _MOST_CHECKED
        and _crc24(data) != int.from_bytes(binascii.a2b_base64(checksum[1]), "big")
    ):
        flaw = "its checksum is wrong"
    return Block(begin[1].partition(b",")[0].decode("ascii"), b"\n".join(fields), data, begin.start(), after, flaw or odd)


def _decode(body: bytes) -> tuple[bytes, str]:
    """The octets, as a program reads them that skips what is not of the alphabet and goes on behind padding."""
    plain = _ALPHABET.sub(b"", body)
    odd = (
        ""
        if not body.translate(None, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\n \t")
        else "its armour is broken"
    )
    rest = len(plain) % 4
    if rest == 1:
        plain, odd = plain[:-1], odd or "its armour is broken"
    return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4)), odd


def whole(text: bytes) -> Block | None:
    """The one block that *text* is, but for blanks around it; None where it is anything else."""
    head = text[:200].lstrip()
    if not head.startswith(b"-----BEGIN PGP "):
        return None
    first = _BEGIN.search(text)
    if first is None or _BEGIN.search(text, first.end()) is not None:
        return None
    blocks = find(text)
    if len(blocks) != 1 or blocks[0].flaw not in ("", "its checksum is wrong"):
        return None
    block = blocks[0]
    return block if not text[: block.start].strip() and not text[block.end :].strip() else None


def _crc24(data: bytes) -> int:
    crc = 0xB704CE
    for octet in data:
        crc = (crc << 8) & 0xFFFFFF ^ _TABLE[crc >> 16 ^ octet]
    return crc


def _table() -> tuple[int, ...]:
    table = []
    for octet in range(256):
        crc = octet << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
        table.append(crc & 0xFFFFFF)
    return tuple(table)


_TABLE = _table()
