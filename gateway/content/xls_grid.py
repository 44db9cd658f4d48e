"""A second reading of a workbook by another program: python-calamine, where the sheets are small enough for it.

What it is: ``second_reading``, ``Extent``.
Who calls it: ``content.xls``.
Must never: hand it a sheet whose cells lie far apart, for it holds every cell between them in memory and ends the process when there is
none; rest the reading of a workbook on it alone.
Source: reference/inspection.md section 2, Legacy (calamine aborts the process on a sparse sheet).
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import python_calamine

from gateway.content.base import Budget
from gateway.content.ole_parts import Parts
from gateway.text.markings import Segment
from gateway.verdict import Zone

_MOST_CELLS = 500_000


@dataclass(slots=True)
class Extent:
    """Cells that tables from the first to the last cell of each sheet would have."""

    cells: int = 0

    def add(self, rows: int, columns: int) -> None:
        self.cells += rows * columns


def second_reading(whole: bytes, extent: Extent, parts: Parts, budget: Budget) -> None:
    """Adds the cells that the other program reads differently; that it fails changes nothing."""
    if extent.cells > _MOST_CELLS:
        return
    known = {line for segment in parts.segments for line in segment.text.split("\n")}
    other: dict[str, None] = {}
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(whole))
        for name in book.sheet_names:
            budget.check_time()
            for row in book.get_sheet_by_name(name).to_python():
                other.update((line, None) for cell in row if isinstance(cell, str) for line in cell.split("\n") if line not in known)
    except Exception:
        return
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how the library says that it has failed
            raise
        return
    if other:
        parts.segments.append(Segment("\n".join(other), Zone.BODY))
