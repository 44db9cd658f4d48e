"""The rows of what is remembered of earlier mail: who wrote to whom, and what threads and passages were marked.

What it is: ``CorrespondentRow`` and ``ThreadRow``: keyed hashes with a day, never an address, a Message-ID or a word.
Who calls it: ``base``, which hands them on; ``rows`` and the keeper's modules.
Must never: hold anything that could be read back.
Source: docs/design.md section 6.
"""

from __future__ import annotations

import msgspec


class CorrespondentRow(msgspec.Struct, frozen=True):
    """Somebody of ours has written to somebody: a keyed hash of both addresses, and the day (since the epoch) of the last time."""

    pair: bytes
    day: int
    department: str = ""


class ThreadRow(msgspec.Struct, frozen=True):
    """A keyed hash of a Message-ID or of a passage, the level that it carried, and the day (since the epoch) of the last time."""

    mark: bytes
    level: int
    day: int
    department: str = ""
