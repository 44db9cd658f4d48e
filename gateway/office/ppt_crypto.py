"""Where an encrypted presentation keeps its key material, and which of its records are encrypted.

What it is: ``claimed``, ``session`` and ``decode``.
Who calls it: ``office.ole_protection``.
Must never: follow a chain of edits without end.
Sources: MS-PPT 2.3.2 (CurrentUserAtom), 2.3.3 (UserEditAtom), 2.3.4 (PersistDirectoryAtom), 2.3.7 (CryptSession10Container).
"""

from __future__ import annotations

import struct
from itertools import pairwise

from gateway.extraction.base import Unreadable
from gateway.office.compound import Compound, Path
from gateway.office.legacy_crypto import Key

_TOKEN, _PLAIN_TOKEN = b"\xdf\xc4\xd1\xf3", b"\x5f\xc0\x91\xe3"
_EDIT, _DIRECTORY, _SESSION = 0x0FF5, 0x1772, 0x2F14
_MOST_EDITS, _MOST_OBJECTS = 500, 100_000
_BROKEN = "an Office document with broken encryption data"


def claimed(compound: Compound) -> bool:
    """Whether the presentation says that it is encrypted."""
    if "PowerPoint Document" not in compound:
        return False
    return "EncryptedSummary" in compound or compound.get("Current User")[12:16] == _TOKEN


def _persistent(data: bytes, user: bytes) -> tuple[dict[int, int], int]:
    """Offsets of the persistent objects by number, and the number of the one with the key material."""
    try:
        at = struct.unpack_from("<I", user, 16)[0]
        places: dict[int, int] = {}
        session = 0
        seen: set[int] = set()
        while at and at not in seen and len(seen) < _MOST_EDITS:
            seen.add(at)
            kind, length = struct.unpack_from("<HI", data, at + 2)
            if kind != _EDIT:
                raise Unreadable(_BROKEN)
            before, directory = struct.unpack_from("<II", data, at + 16)
            if length >= 0x20:
                session = session or struct.unpack_from("<I", data, at + 36)[0]
            for number, place in _listed(data, directory):
                places.setdefault(number, place)
            at = before
        return places, session
    except struct.error:
        raise Unreadable(_BROKEN) from None


def _listed(data: bytes, at: int) -> list[tuple[int, int]]:
    kind, length = struct.unpack_from("<HI", data, at + 2)
    if kind != _DIRECTORY or length > len(data) - at - 8:
        raise Unreadable(_BROKEN)
    found: list[tuple[int, int]] = []
    at, end = at + 8, at + 8 + length
    while at + 4 <= end:
        head = struct.unpack_from("<I", data, at)[0]
        count = head >> 20
        found += [((head & 0xFFFFF) + index, place) for index, place in enumerate(struct.unpack_from(f"<{count}I", data, at + 4))]
        at += 4 + 4 * count
        if len(found) > _MOST_OBJECTS:
            raise Unreadable(_BROKEN)
    return found


def session(compound: Compound) -> tuple[bytes, bytes]:
    """The key material, and what must look like ciphertext. Raises Unreadable."""
    data = compound.get("PowerPoint Document")
    places, number = _persistent(data, compound.get("Current User"))
    at = places.get(number, -1)
    if at < 0 or len(data) < at + 8:
        raise Unreadable(_BROKEN)
    kind, length = struct.unpack_from("<HI", data, at + 2)
    if kind != _SESSION or length > len(data) - at - 8:
        raise Unreadable(_BROKEN)
    starts = sorted({*places.values(), len(data)})
    rest = [data[first:last] for first, last in pairwise(starts) if first != at]
    return data[at + 8 : at + 8 + length], b"".join(rest)[:400_000]


def decode(compound: Compound, key: Key) -> dict[Path, bytes]:
    """The streams without encryption; the pictures, whose parts are encrypted one by one, are left out as they are."""
    data = compound.get("PowerPoint Document")
    user = compound.get("Current User")
    places, session_number = _persistent(data, user)
    out = bytearray(data)
    for number, at in places.items():
        if number == session_number:
            continue
        head = key.decode(data[at : at + 8], number, 0)
        if len(head) < 8:
            raise Unreadable(_BROKEN)
        size = 8 + struct.unpack_from("<I", head, 4)[0]
        out[at : at + size] = key.decode(data[at : at + size], number, 0)
    at = places.get(session_number, -1)
    if at >= 0:
        out[at + 2 : at + 4] = b"\x00\x00"  # a record that says nothing
        out[at : at + 2] = b"\x00\x00"
    streams: dict[Path, bytes] = {
        ("PowerPoint Document",): bytes(out[: len(data)]),
        ("Current User",): user[:12] + _PLAIN_TOKEN + user[16:],
    }
    if "EncryptedSummary" in compound:
        streams[("EncryptedSummary",)] = b""
    return streams
