"""OpenPGP packets: headers of both formats, lengths of all kinds, and what stands behind the last packet.

What it is: ``Packet``, ``read`` (all packets of some octets) and ``subpackets`` of a signature.
Who calls it: ``pgp``, ``pgp_protection``, ``pgp_lock`` and ``sniff``.
Must never: look into encrypted data; believe a length that goes beyond the octets; raise anything but Unreadable.
Sources: RFC 9580 sections 4.2 (packet syntax), 4.2.1.4 (partial lengths), 5.2.3.7 (subpackets); RFC 4880 section 4.2.1 (the old format
and its indeterminate length).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.extraction.base import Unreadable

PKESK, SIGNATURE, SKESK, ONE_PASS, SECRET_KEY, PUBLIC_KEY, SECRET_SUBKEY = 1, 2, 3, 4, 5, 6, 7
COMPRESSED, SED, MARKER, LITERAL, TRUST, USER_ID, PUBLIC_SUBKEY, USER_ATTRIBUTE = 8, 9, 10, 11, 12, 13, 14, 17
SEIPD, MDC, AEAD, PADDING = 18, 19, 20, 21
KNOWN = frozenset((*range(1, 15), 17, 18, 19, 20, 21))
_STREAMED = frozenset((COMPRESSED, SED, LITERAL, SEIPD, AEAD))
"""Packets that may come in pieces or without a length."""
MOST = 5_000
_MOST_PIECES = 100_000
_MOST_SUBPACKETS = 500


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet; *body* is whole also where it came in pieces."""

    tag: int
    body: bytes
    start: int
    """Of its header, in the octets it was read from."""
    end: int


def read(data: bytes) -> tuple[tuple[Packet, ...], bytes]:
    """The packets at the start of *data*, and what stands behind the last one. Raises Unreadable for a packet that is cut off."""
    found: list[Packet] = []
    at = 0
    while at < len(data):
        if len(found) >= MOST:
            raise Unreadable("OpenPGP data with more packets than the limit")
        packet = _packet(data, at)
        if packet is None:
            break
        found.append(packet)
        at = packet.end
    return tuple(found), data[at:]


def _packet(data: bytes, at: int) -> Packet | None:
    """The packet at *at*; None where none begins there. Raises Unreadable for one that is cut off."""
    first = data[at]
    if not first & 0x80:
        return None
    tag = first & 0x3F if first & 0x40 else first >> 2 & 0x0F
    if tag not in KNOWN:
        return None
    body: bytes | None
    if first & 0x40:
        body, end = _new(data, at + 1, tag)
    else:
        width = (1, 2, 4, 0)[first & 3]
        if not width:
            if tag not in _STREAMED:
                return None
            return Packet(tag, data[at + 1 :], at, len(data))
        start = at + 1 + width
        size = int.from_bytes(data[at + 1 : start], "big")
        end = start + size
        body = data[start:end] if end <= len(data) else None
    if body is None:
        raise Unreadable("OpenPGP data that is cut off")
    return Packet(tag, body, at, end)


def _new(data: bytes, at: int, tag: int) -> tuple[bytes | None, int]:
    """Body and end of a packet of the new format whose length is at *at*; None for a body that is cut off."""
    pieces: list[bytes] = []
    while True:
        size, start, partial = _length(data, at)
        if size < 0 or start + size > len(data) or len(pieces) > _MOST_PIECES:
            return None, len(data)
        if partial and (tag not in _STREAMED or (not pieces and size < 512)):
            raise Unreadable("OpenPGP data in odd pieces")
        pieces.append(data[start : start + size])
        at = start + size
        if not partial:
            return b"".join(pieces), at


def _length(data: bytes, at: int) -> tuple[int, int, bool]:
    """Size, where the octets begin, and whether more follows; size -1 where it is cut off."""
    first = data[at] if at < len(data) else -1
    if first < 0:
        return -1, at, False
    if first < 192:
        return first, at + 1, False
    if first < 224:
        return ((first - 192 << 8) + data[at + 1] + 192, at + 2, False) if at + 1 < len(data) else (-1, at, False)
    if first == 255:
        return (int.from_bytes(data[at + 1 : at + 5], "big"), at + 5, False) if at + 5 <= len(data) else (-1, at, False)
    return 1 << (first & 0x1F), at + 1, True


def subpackets(area: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each subpacket of a signature. Raises Unreadable for a broken one."""
    at = 0
    for _ in range(_MOST_SUBPACKETS):
        if at >= len(area):
            return
        size, start, _ = _length(area, at) if area[at] < 224 or area[at] == 255 else (-1, at, False)
        if size < 1 or start + size > len(area):
            raise Unreadable("an OpenPGP signature that is broken")
        yield area[start] & 0x7F, area[start + 1 : start + size]
        at = start + size
    raise Unreadable("an OpenPGP signature with more fields than the limit")
