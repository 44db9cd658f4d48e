"""The part of ``gateway check`` that asks for the last backup.

What it is: ``findings``: whether one was ever made, and whether there are keys that it cannot have.
Who calls it: ``check``.
Must never: read a key; say that a backup is good, which only ``gateway backup --verify`` can.
Source: hostile-inputs catalogue O22, O23.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from gateway.doctor import Finding

if TYPE_CHECKING:
    from gateway.config import Config

_SLACK = 1.0
"""Seconds by which the times of two files may differ that were written one after the other."""


def findings(config: Config) -> Iterator[Finding]:
    """What is to be said of the backups of *config*; nothing before the first start, when there is nothing to lose."""
    from gateway.keeper import backup

    keys = config.state_dir / "keys"
    try:
        made = {file: file.stat().st_mtime for file in sorted(keys.iterdir()) if _is_kept(file)}
        if not made:
            return
        mark = backup.mark(config.state_dir)
        last = mark.stat().st_mtime if mark.exists() else 0.0
    except FileNotFoundError:
        return
    except OSError as error:
        yield Finding("backup", "warning", f"{error.filename}: {error.strerror}: whether there is a backup cannot be seen")
        return
    what = "the keys of this node; the database is backed up by its own tools" if config.store.shared else "store and keys"
    if not last:
        yield Finding("backup", "warning", f"no backup was made yet of {what}: gateway backup FILE, or enable gateway-backup.timer")
        return
    newer = [str(file) for file, when in made.items() if when > last + _SLACK]
    if newer:
        yield Finding(
            "backup", "warning", f"no backup was made since these keys were: {', '.join(newer)}; without them mail is lost: gateway backup"
        )
        return
    yield Finding("backup", "ok", f"{what}: the last one is of {time.strftime('%Y-%m-%d %H:%MZ', time.gmtime(last))}")


def _is_kept(file: FilePath) -> bool:
    """Whether *file* is a key that a start does not make anew."""
    return file.is_file() and file.suffix in (".key", ".pem") and not file.name.startswith(".")
