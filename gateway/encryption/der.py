"""BER and DER as a tree of plain values: no schema, so that nothing in it can be skipped or believed.

What it is: ``Node`` and ``read``.
Who calls it: ``cms`` and ``cms_protection``.
Must never: look into a primitive value; accept octets behind the end; guess at a broken length.
Sources: ITU-T X.690; RFC 5652 section 5.2 (BER of the content, in pieces or of indefinite length). A library's schemas are not
used: asn1crypto fails where a signed object wraps a whole one, and its parser copies the rest of the octets for each value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.extraction.base import Unreadable

UNIVERSAL, CONTEXT = 0, 2
INTEGER, OCTETS, OID, SEQUENCE, SET = 2, 4, 6, 16, 17
_PIECES = 100_000
_DEPTH = 8
_DEEPEST = 100  # lengths of the indefinite form in one another
_LONGEST_OID = 64  # octets


@dataclass(frozen=True, slots=True)
class Node:
    """One value."""

    kind: int
    """0 universal, 2 context-specific."""
    constructed: bool
    tag: int
    content: bytes
    whole: bytes
    """With its header."""

    def children(self) -> Iterator[Node]:
        """What it holds. Raises Unreadable when that is broken."""
        if not self.constructed:
            raise Unreadable("a CMS object that is broken")
        yield from read(self.content)

    def headed(self) -> tuple[Node, tuple[Node, ...]]:
        """What it begins with, and the rest. Raises Unreadable where it is broken or holds nothing."""
        found = tuple(self.children())
        if not found:
            raise Unreadable("a CMS object that is broken")
        return found[0], found[1:]

    def is_(self, tag: int, kind: int = UNIVERSAL) -> bool:
        """Whether it has this tag."""
        return self.tag == tag and self.kind == kind

    def oid(self) -> str:
        """An object identifier in dotted form. Raises Unreadable for anything else."""
        if not self.is_(OID) or self.constructed:
            raise Unreadable("a CMS object that is broken")
        numbers, value = [], 0
        for octet in self.content[:_LONGEST_OID]:
            value = value << 7 | octet & 127
            if not octet & 128:
                numbers.append(value)
                value = 0
        if not numbers or len(self.content) > _LONGEST_OID or self.content[-1] & 128:
            raise Unreadable("a CMS object that is broken")
        first = min(numbers[0] // 40, 2)
        return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))

    def octets(self, depth: int = 0) -> bytes:
        """The value of an octet string, also one in pieces. Raises Unreadable for anything else."""
        if not self.constructed:
            return self.content
        if depth > _DEPTH:
            raise Unreadable("a CMS object that is nested deeper than the limit")
        pieces: list[bytes] = []
        for piece in self.children():
            if not piece.is_(OCTETS) or len(pieces) > _PIECES:
                raise Unreadable("a CMS object whose content is in odd pieces")
            pieces.append(piece.octets(depth + 1))
        return b"".join(pieces)


def read(data: bytes) -> Iterator[Node]:
    """The values in *data*, one behind the other. Raises Unreadable where that is not what it is."""
    at = 0
    while at < len(data):
        head, size = _header(data, at)
        if size >= 0:
            end = stop = head + size
        else:
            if not data[at] & 0x20:
                raise Unreadable("a CMS object that is broken")
            end, stop = _end(data, head)
        yield Node(data[at] >> 6, bool(data[at] & 0x20), data[at] & 0x1F, data[head:end], data[at:stop])
        at = stop


def _header(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of the value at *at* begins, and its octets; -1 for the indefinite length."""
    if at + 2 > len(data) or data[at] & 0x1F == 0x1F:  # tags above 30 stand nowhere in CMS
        raise Unreadable("a CMS object that is broken")
    first = data[at + 1]
    if first == 0x80:
        return at + 2, -1
    width = first & 0x7F if first & 0x80 else 0
    if width > 4 or at + 2 + width > len(data):
        raise Unreadable("a CMS object that is broken")
    size = int.from_bytes(data[at + 2 : at + 2 + width], "big") if width else first
    if at + 2 + width + size > len(data):
        raise Unreadable("a CMS object that is cut off")
    return at + 2 + width, size


def _end(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of indefinite length that begins at *at* ends, without and with its end mark."""
    depth = 1
    while True:
        head, size = _header(data, at)
        if size < 0:
            depth += 1
            if depth > _DEEPEST:
                raise Unreadable("a CMS object that is nested deeper than the limit")
            at = head
        elif data[at] == 0 and size == 0:
            depth -= 1
            if not depth:
                return at, head
            at = head
        else:
            at = head + size
