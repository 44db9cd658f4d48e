"""libmagic's vote on content that our own signatures do not know.

What it is: ``vote``, a media type for the record.
Who calls it: ``content.walk``, for unknown content only.
Must never: make anything clean.
Source: reference/inspection.md section 1 (what libmagic gets wrong).
"""

from __future__ import annotations

from functools import lru_cache

import magic
import pylibmagic  # noqa: F401 - finds the library and its database in the wheel

_SAMPLE = 1 << 20


@lru_cache(maxsize=1)
def _database() -> magic.Magic:
    return magic.Magic(mime=True)


def load() -> None:
    """Reads the database, before a worker loses its right to open files."""
    _database()


def vote(data: bytes) -> str:
    """The media type of *data* as libmagic sees it, or nothing."""
    try:
        media_type = str(_database().from_buffer(data[:_SAMPLE]))
    except (magic.MagicException, OSError, ValueError):
        return ""
    return media_type if len(media_type) <= 100 and "/" in media_type else ""
