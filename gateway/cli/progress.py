"""A bar that shows how far a long command is, on a terminal only.

What it is: ``shown``, an iterator around the results of many files.
Who calls it: ``gateway explain``.
Must never: write to anything that is not a terminal; mix with what the command prints.
Source: docs/design.md section 10, ``gateway explain`` (many files in one call).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def shown(results: Iterable[T], count: int, what: str) -> Iterator[T]:
    """*results* as they come; where stderr is a terminal and there is more than one, a bar says how many of *count* are done."""
    if count < 2 or not sys.stderr.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # What is printed on the same terminal goes through the bar's console, which draws it above the bar.
    console = Console(file=sys.stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)
    with Progress(*columns, console=console, transient=True, redirect_stdout=_one_terminal(), redirect_stderr=True) as bar:
        task = bar.add_task(what, total=count)
        for result in results:
            yield result
            bar.advance(task)


def _one_terminal() -> bool:
    """Whether stdout is the terminal that stderr is."""
    try:
        return sys.stdout.isatty() and os.fstat(sys.stdout.fileno()).st_rdev == os.fstat(sys.stderr.fileno()).st_rdev
    except (OSError, ValueError):
        return False
