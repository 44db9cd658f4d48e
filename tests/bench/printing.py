"""How the measuring programs say what they found: a table for people, a line of JSON for programs, and progress beside it.

What it is: ``Rows``, which takes rows as they come; ``progress``, a line on stderr.
Who calls it: the measuring programs of this folder.
Must never: mix progress into the results.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping


class Rows:
    """Rows of one shape. As JSON each is printed at once; as a table all together at the end."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json or not sys.stdout.isatty()
        self._rows: list[Mapping[str, object]] = []

    def add(self, row: Mapping[str, object]) -> None:
        """Takes one row."""
        self._rows.append(row)
        if self._as_json:
            print(json.dumps(row), flush=True)

    def end(self) -> None:
        """Prints the table, if that is how it is said."""
        if not self._as_json:
            print("\n".join(table(self._rows)), flush=True)


def table(rows: list[Mapping[str, object]]) -> list[str]:
    """The lines of a table: a column for every name of any row, numbers to the right."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_said(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    numbers = [any(isinstance(row.get(name), (int, float)) for row in rows) for name in names]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in cells
    ]


def _said(value: object) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def progress(line: str) -> None:
    """Says on stderr what is under way."""
    print(line, file=sys.stderr, flush=True)
