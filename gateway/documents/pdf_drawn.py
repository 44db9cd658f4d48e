"""What a page of a PDF shows that its text does not say: letters drawn as lines and areas, and letters that nobody sees among others.

What it is: ``Drawn``, which looks at the paths and the pieces of text of one page and says whether the page has to be looked at as a
picture.
Who calls it: ``documents.pdf_pages``.
Must never: say what is drawn; cost more than a few microseconds an object.
Sources: pdfium's fpdf_edit.h; ISO 32000-2 sections 8.5 (paths) and 9.3.6 (rendering modes of text).
"""

from __future__ import annotations

import ctypes

from pypdfium2 import raw

from gateway.documents import pdf_shapes
from gateway.documents.pdf_shapes import plain

_LOOKED_AT = 20_000
"""Paths of a page that are looked at; a page with more is a drawing."""
_LETTERS = 4
"""Shapes like letters from which a page may show a word."""
_DEAR = 5
"""Segments of a shape that cost as much as a path."""
_DOTS = 40
"""Small squares from which they may be the dots of a letter."""
_DOT = 8.0
_TINY = 1.5  # points under which nobody reads a letter
_WHITE = 250
_ASKED = 50  # pieces of white text of a page whose letters are counted
_INVISIBLE = 3


_P = ctypes.c_void_p
_SEGMENTS = plain(raw.FPDFPath_CountSegments, ctypes.c_int, _P)
_MODE = plain(raw.FPDFPath_GetDrawMode, ctypes.c_int, _P, _P, _P)
_SAMPLES = plain(raw.FPDFImageObj_GetImagePixelSize, ctypes.c_int, _P, _P, _P)
_BOUNDS = plain(raw.FPDFPageObj_GetBounds, ctypes.c_int, _P, _P, _P, _P, _P)
_RENDER_MODE = plain(raw.FPDFTextObj_GetTextRenderMode, ctypes.c_int, _P)
_FILL = plain(raw.FPDFPageObj_GetFillColor, ctypes.c_int, _P, _P, _P, _P, _P)


class Drawn:
    """One look at what a page draws. ``word``: it may show words that are no text. ``unseen``: some of its letters nobody sees."""

    __slots__ = ("_allowance", "_asked", "_box", "_colour", "_dots", "_flags", "_left", "_letters", "_places", "_seen", "unseen", "word")

    def __init__(self, allowance: pdf_shapes.Allowance) -> None:
        self._allowance = allowance
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
        self._left -= count // _DEAR
        width, height = self._box[2] - self._box[0], self._box[3] - self._box[1]
        filled = bool(self._flags[0])
        if filled and count <= 5 and self._is_dot(width, height):
            self._dots += 1
        elif count > 5 or not filled:
            told = self._allowance.spend(count)
            marks = pdf_shapes.marks(item, count, max(width, height), filled=filled) if told else pdf_shapes.WORD
            small = width < pdf_shapes.SMALL and height < pdf_shapes.SMALL
            self._letters += min(marks, 1) if small else marks
        if self._letters >= _LETTERS or self._dots >= _DOTS:
            self.word = True

    def sample(self, item: int) -> bool:
        """Whether the picture at the address *item* has one sample only: some producers draw rules so. Such ones may be dots."""
        flags = ctypes.addressof(self._flags)
        if not _SAMPLES(item, flags, flags + 4) or self._flags[0] != 1 or self._flags[1] != 1 or not _BOUNDS(item, *self._places):
            return False
        if self._is_dot(self._box[2] - self._box[0], self._box[3] - self._box[1]):
            self._dots += 1
            self.word = self.word or self._dots >= _DOTS
        return True

    def _is_dot(self, width: float, height: float) -> bool:
        return width < _DOT and height < _DOT and width < 3 * height and height < 3 * width

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
