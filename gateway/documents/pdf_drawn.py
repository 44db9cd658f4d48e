"""What a page of a PDF shows that its text does not say: letters drawn as lines and areas, and letters that nobody sees among others.

What it is: ``Drawn``, which looks at the paths and the pieces of text of one page and says whether the page has to be looked at as a
picture.
Who calls it: ``documents.pdf_pages``.
Must never: say what is drawn; cost more than a few microseconds an object.
Sources: pdfium's fpdf_edit.h; ISO 32000-2 sections 8.5 (paths) and 9.3.6 (rendering modes of text).
"""

from __future__ import annotations

import ctypes
from typing import Any

from pypdfium2 import raw

_LOOKED_AT = 20_000
"""Paths of a page that are looked at; a page with more is a drawing."""
_LETTERS = 4
"""Shapes like letters from which a page may show a word."""
_WORD = 40
"""Segments from which one path may be a whole word."""
_LETTER = 6
"""Segments of a filled shape from which it is more than a bar, a circle or an arrow's line."""
_STROKES = 4
"""Of a drawn line."""
_DOTS = 40
"""Small squares from which they may be the dots of a letter."""
_TALLEST, _WIDEST = 150.0, 150.0  # points
_DOT = 8.0
_TINY = 1.5  # points under which nobody reads a letter
_WHITE = 250
_ASKED = 50  # pieces of white text of a page whose letters are counted
_INVISIBLE = 3


def plain(function: Any, result: Any, *arguments: Any) -> Any:
    """A function of the library with addresses for its pointers: objects for them cost more than the calls."""
    return ctypes.CFUNCTYPE(result, *arguments)(ctypes.cast(function, ctypes.c_void_p).value or 0)


_P = ctypes.c_void_p
_SEGMENTS = plain(raw.FPDFPath_CountSegments, ctypes.c_int, _P)
_MODE = plain(raw.FPDFPath_GetDrawMode, ctypes.c_int, _P, _P, _P)
_BOUNDS = plain(raw.FPDFPageObj_GetBounds, ctypes.c_int, _P, _P, _P, _P, _P)
_RENDER_MODE = plain(raw.FPDFTextObj_GetTextRenderMode, ctypes.c_int, _P)
_FILL = plain(raw.FPDFPageObj_GetFillColor, ctypes.c_int, _P, _P, _P, _P, _P)


class Drawn:
    """One look at what a page draws. ``word``: it may show words that are no text. ``unseen``: some of its letters nobody sees."""

    __slots__ = ("_asked", "_box", "_colour", "_dots", "_flags", "_left", "_letters", "_places", "_seen", "unseen", "word")

    def __init__(self) -> None:
        self.word = False
        self.unseen = False
        self._seen = False
        self._letters = self._dots = 0
        self._left = _LOOKED_AT
        self._asked = _ASKED
        self._box = (ctypes.c_float * 4)()
        self._flags = (ctypes.c_int * 2)()
        self._colour = (ctypes.c_uint * 4)()
        self._places = tuple(ctypes.addressof(self._box) + 4 * index for index in range(4))

    @property
    def mixed(self) -> bool:
        """Whether letters that nobody sees stand among those that are seen: a word is then another one than its letters say."""
        return self.unseen and self._seen

    def path(self, item: int) -> None:
        """Takes the path at the address *item*."""
        if self.word:
            return
        self._left -= 1
        count = _SEGMENTS(item)
        if count <= 3:  # lines of tables
            return
        if self._left <= 0:
            self.word = True
            return
        flags = ctypes.addressof(self._flags)
        if not _MODE(item, flags, flags + 4) or not (self._flags[0] or self._flags[1]) or not _BOUNDS(item, *self._places):
            return
        width, height = self._box[2] - self._box[0], self._box[3] - self._box[1]
        if count >= _WORD:
            self.word = True
        elif self._flags[0] and count <= 5 and width < _DOT and height < _DOT and width < 3 * height and height < 3 * width:
            self._dots += 1
        elif width < _WIDEST and height < _TALLEST and (count >= _LETTER or (not self._flags[0] and count >= _STROKES and count != 5)):
            self._letters += 1
        if self._letters >= _LETTERS or self._dots >= _DOTS:
            self.word = True

    def hides(self, item: int, size: float) -> bool:
        """Whether nobody sees the piece of text at the address *item*, which is *size* points high."""
        if self.mixed:
            return False
        if _RENDER_MODE(item) == _INVISIBLE or 0 < size < _TINY:
            return True
        self._seen = True
        return False

    def pales(self, item: int) -> bool:
        """Whether the piece of text at *item* is white, or lets everything through. Asked of so many pieces only, since what follows is
        dear.
        """
        if self.unseen or not self._asked:
            return False
        first = ctypes.addressof(self._colour)
        if not _FILL(item, first, first + 4, first + 8, first + 12):
            return False
        if min(self._colour[0], self._colour[1], self._colour[2]) < _WHITE and self._colour[3]:
            return False
        self._asked -= 1
        return True
