"""Whether a path of a PDF may be letters, by its outlines: what is convex, or goes in one direction only, is none.

What it is: ``marks``, which counts the outlines of one path that may be letters, ``Allowance`` (for how many of
them) and ``plain`` (a function of the library with addresses).
Who calls it: ``documents.pdf_drawn``, ``documents.pdf_pages``.
Must never: look at more segments than its limit; take a shape for harmless that it has not seen whole.
Sources: pdfium's fpdf_edit.h; ISO 32000-2 section 8.5. Bars, slices of pies, circles and boxes are convex; the line of a chart has one
height for each place; hardly any letter is like that.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Iterator
from typing import Any

from pypdfium2 import raw

WORD = 4
"""Marks from which there may be a word."""
SMALL = 12.0  # points: less than a word of letters that anybody reads
_MOST = 4_000
"""Segments of a path that are looked at; a path with more is a drawing."""
_OF_ALL = 250_000
"""Segments of a document: five microseconds each."""
_LONG = 40
"""Segments from which one outline, of letters that hang together, may be a whole word."""
_TALLEST, _WIDEST = 150.0, 150.0  # points: what is larger is no letter, unless it is long
_GRAPH = 60.0  # points from which a line in one direction is the line of a chart
_STROKES = 12  # short lines from which they may make letters, when some go up and others across
_SHORT = 30.0
_ROUGH = 1.03
"""How much longer or smaller a convex outline may be than it should: producers round."""
_MOVE = 2


def plain(function: Any, result: Any, *arguments: Any) -> Any:
    """A function of the library with addresses for its pointers: objects for them cost more than the calls."""
    return ctypes.CFUNCTYPE(result, *arguments)(ctypes.cast(function, ctypes.c_void_p).value or 0)


_P = ctypes.c_void_p
_SEGMENT = plain(raw.FPDFPath_GetPathSegment, _P, _P, ctypes.c_int)
_POINT = plain(raw.FPDFPathSegment_GetPoint, ctypes.c_int, _P, _P, _P)
_TYPE = plain(raw.FPDFPathSegment_GetType, ctypes.c_int, _P)
_CLOSE = plain(raw.FPDFPathSegment_GetClose, ctypes.c_int, _P)

Point = tuple[float, float]


class Allowance:
    """How many segments of one document are still looked at."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _OF_ALL

    def spend(self, segments: int) -> bool:
        """Whether *segments* more may be looked at."""
        self.left -= segments
        return self.left >= 0


def marks(path: int, count: int, size: float, *, filled: bool) -> int:
    """How many outlines of the path at the address *path*, with *count* segments, may be letters; ``WORD`` where it may be a word.

    *size*: of the whole path as it is shown, in points along its longer side; its own points may have another scale.
    """
    if count > _MOST:
        return WORD
    found = up = across = 0
    outlines = list(_outlines(path, count))
    whole = max(_extent([point for points, _ in outlines for point in points] or [(0.0, 0.0)]))
    scale = size / whole if whole > 0 else 1.0
    for points, closed in outlines:
        width, height = (scale * side for side in _extent(points))
        if len(points) <= 3 and not filled:
            if max(width, height) < _SHORT:
                up, across = up + (height > width), across + (width >= height)
            continue
        if (closed or filled) and _is_convex(points):
            continue
        if not filled and width >= _GRAPH and _is_one_way(points):
            continue
        if len(points) >= _LONG and max(width, height) >= SMALL:
            return WORD
        found += width < _WIDEST and height < _TALLEST
    return WORD if up and across and up + across >= _STROKES else found


def _outlines(path: int, count: int) -> Iterator[tuple[list[Point], bool]]:
    """The points of each outline, those that steer curves among them, and whether it is closed."""
    x, y = ctypes.c_float(), ctypes.c_float()
    at, up = ctypes.addressof(x), ctypes.addressof(y)
    points: list[Point] = []
    closed = False
    for index in range(count):
        segment = _SEGMENT(path, index)
        if not segment or not _POINT(segment, at, up):
            continue
        if _TYPE(segment) == _MOVE:
            if len(points) > 1:
                yield points, closed or points[0] == points[-1]
            points, closed = [], False
        points.append((x.value, y.value))
        closed = closed or _CLOSE(segment) == 1
    if len(points) > 1:
        yield points, closed or points[0] == points[-1]


def _extent(points: list[Point]) -> tuple[float, float]:
    across, up = [point[0] for point in points], [point[1] for point in points]
    return max(across) - min(across), max(up) - min(up)


def _is_convex(points: list[Point]) -> bool:
    """Whether the outline has about the area and the length of what a string around it has: so no line goes in or back."""
    hull = _hull(points)
    length, around = _length(points), _length(hull)
    inside, whole = abs(_area(points)), abs(_area(hull))
    return length <= _ROUGH * around and whole <= _ROUGH * inside and inside <= _ROUGH * whole


def _hull(points: list[Point]) -> list[Point]:
    """The corners of the smallest convex shape around *points*."""
    ordered = sorted(set(points))
    found: list[Point] = []
    for row in (ordered, ordered[::-1]):
        edge: list[Point] = []
        for x, y in row:
            while len(edge) > 1 and (edge[-1][0] - edge[-2][0]) * (y - edge[-2][1]) <= (edge[-1][1] - edge[-2][1]) * (x - edge[-2][0]):
                edge.pop()
            edge.append((x, y))
        found += edge[:-1]
    return found


def _length(points: list[Point]) -> float:
    return sum(math.dist(a, b) for a, b in zip(points, points[1:] + points[:1], strict=True))


def _area(points: list[Point]) -> float:
    return sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(points, points[1:] + points[:1], strict=True)) / 2


def _is_one_way(points: list[Point]) -> bool:
    across = [b[0] - a[0] for a, b in itertools.pairwise(points)]
    return all(step > 0 for step in across) or all(step < 0 for step in across)
