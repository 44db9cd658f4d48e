"""``gateway demo``: the command; what it does is in ``demonstration``.

Who calls it: ``make run``.
Must never: import what only the demonstration needs.
Source: README.md, "Try it".
"""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated

import typer


def _demo(
    folder: Annotated[str, typer.Option("--folder", help="Where its config, state and mail are.", metavar="FOLDER")] = "run-state",
    once: Annotated[bool, typer.Option("--once", help="Show the samples' table and stop.")] = False,
) -> None:
    """Start a whole gateway on loopback with a stand-in next hop, send the samples, show what was decided, keep serving."""
    import asyncio

    from gateway.cli.demonstration import Demo

    raise typer.Exit(asyncio.run(Demo(FilePath(folder).absolute()).run(once=once)))


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("demo")(_demo)
