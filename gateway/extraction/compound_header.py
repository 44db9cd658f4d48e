"""The fixed header of a compound file, looked at before any library computes with it.

What it is: ``is_sound``.
Who calls it: whoever opens a compound file: ``office.compound``, ``office.ooxml_protection``, ``documents.rtf_objects``.
Must never: read beyond the header.
Sources: [MS-CFB] 2.2; hostile-inputs catalogue D13.
"""

from __future__ import annotations

_SHORTEST = 1536
"""Octets: the header, one sector of the allocation table and one of the directory."""


def is_sound(data: bytes) -> bool:
    """Whether byte order and sector sizes are what the format permits. Others are powers of two without end."""
    if len(data) < _SHORTEST:
        return False
    order, sector, small = (int.from_bytes(data[at : at + 2], "little") for at in (28, 30, 32))
    return order == 0xFFFE and sector in (9, 12) and small == 6
