"""libmagic's vote on content that our own signatures do not know.

What it is: ``vote``, a media type for the record. Bound to the library in the wheel pylibmagic, without importing that package
or python-magic: both search for a library of the system first, by starting programs and changing the environment.
Who calls it: ``content.walk``, for unknown content only.
Must never: make anything clean.
Source: docs/inspection.md (what libmagic gets wrong); libmagic(3).
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import lru_cache
from pathlib import Path

_SAMPLE = 1 << 20
_MIME_TYPE = 0x10
_LONGEST = 100


class _Database:
    """The library with its database loaded; an empty one where the wheel is not installed."""

    def __init__(self) -> None:
        self._cookie: int | None = None
        spec = importlib.util.find_spec("pylibmagic")
        if spec is None or not spec.submodule_search_locations:
            return
        folder = Path(spec.submodule_search_locations[0])
        self._library = ctypes.CDLL(str(folder / "libmagic.so"))
        self._library.magic_open.restype = ctypes.c_void_p
        self._library.magic_load.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library.magic_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        self._library.magic_buffer.restype = ctypes.c_char_p
        cookie = self._library.magic_open(_MIME_TYPE)
        if cookie and self._library.magic_load(cookie, str(folder / "magic.mgc").encode()) == 0:
            self._cookie = cookie

    def ask(self, data: bytes) -> bytes | None:
        """The media type of *data*, or None."""
        if self._cookie is None:
            return None
        answer: bytes | None = self._library.magic_buffer(self._cookie, data, len(data))
        return answer


@lru_cache(maxsize=1)
def _database() -> _Database:
    return _Database()


def load() -> None:
    """Reads the database, before a worker loses its right to open files. Raises OSError when the library is broken."""
    _database()


def vote(data: bytes) -> str:
    """The media type of *data* as libmagic sees it, or nothing."""
    answer = (_database().ask(data[:_SAMPLE]) or b"").decode("ascii", "replace")
    return answer if len(answer) <= _LONGEST and "/" in answer else ""
