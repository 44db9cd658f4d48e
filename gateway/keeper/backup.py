"""The keeper's part in a backup: a consistent copy of the store beside it, made while mail goes on.

What it is: ``Backups``, which copies the store to a new file in state_dir/backup-work (a folder of mode 0700) and says what is in it.
The command that asked seals the copy with keys, config and rules, and removes it; what a killed one left is removed here. A store in
PostgreSQL is not copied, since that is its own tools' work: said is only which vault keys it needs. ``mark``: that a backup was made.
Who calls it: ``custody`` on MakeBackup; ``service`` for start and stop.
Must never: write outside of its folder, or over a file; fill the disk; hold up the writer; run twice at once.
Sources: docs/design.md section 6; hostile-inputs catalogue O01, O23.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any, Protocol

from gateway import logs
from gateway.audit import events
from gateway.config import Config
from gateway.keeper.exceptions import Wrong
from gateway.stores.base import Batch
from gateway.stores.sqlite import copying

_OLD = 86400.0  # seconds after which a copy is nobody's any more
_log = logs.get("backup")


def work_folder(state_dir: FilePath) -> FilePath:
    """Where copies lie until they are sealed."""
    return state_dir / "backup-work"


def mark(state_dir: FilePath) -> FilePath:
    """A file whose time is that of the last backup: it outlives every process."""
    return state_dir / "last-backup"


def forget(state_dir: FilePath, older: float = 0.0) -> int:
    """Removes copies that were left behind, *older* than so many seconds. Returns how many."""
    count, now = 0, time.time()
    for left in work_folder(state_dir).glob("*.db*"):
        if left.stat().st_mtime <= now - older:
            left.unlink(missing_ok=True)
            count += 1
    return count


class Kept(Protocol):
    """What is needed of the store here."""

    async def write(self, batch: Batch) -> None: ...
    async def bodies_by_key(self) -> dict[str, int]: ...


class Backups:
    """Makes copies of the store of *config*, one at a time."""

    def __init__(self, config: Config, store: Kept, clock: Callable[[], float]) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._one = asyncio.Lock()
        self._pace: copying.Pace | None = None

    def start(self) -> None:
        """Removes what an earlier one left behind."""
        if count := forget(self._config.state_dir):
            _log.warning("copies that were never sealed were removed", copies=count)

    def stop(self) -> None:
        """Breaks a copy off."""
        if self._pace is not None:
            self._pace.stop.set()

    async def make(self, path: FilePath, user: str) -> dict[str, Any]:
        """Copies the store to *path*; the row says what is in it. Raises Wrong, StoreError."""
        if self._config.store.shared:
            needed = sorted(await self._store.bodies_by_key())
            await self._store.write(Batch(audit=[events.act("backup-made", self._clock(), user, "", part="keys")]))
            return {"keys_needed": needed}
        self._check(path)
        if self._one.locked():
            raise Wrong("a backup is being made already; wait for it", 1)
        async with self._one:
            pace = self._pace = copying.Pace()
            began = time.monotonic()
            try:
                await asyncio.to_thread(copying.copy, self._config.state_dir / "gateway.db", path, pace)
                row = await asyncio.to_thread(self._described, path)
                # After the copy, so that the row says what was taken; the copy ends before it.
                event = events.act("backup-made", self._clock(), user, "", sha256=row["sha256"], size=row["size"])
                await self._store.write(Batch(audit=[event]))
            except OSError as error:
                await asyncio.to_thread(path.unlink, missing_ok=True)
                raise Wrong(f"{path}: {error.strerror}", 3) from error
            except BaseException:
                await asyncio.to_thread(path.unlink, missing_ok=True)
                raise
            finally:
                self._pace = None
            await asyncio.to_thread(mark(self._config.state_dir).touch)
            row["seconds"] = round(time.monotonic() - began, 2)
            _log.info("the store was copied for a backup", **{"file.size": row["size"], "gateway.seconds": row["seconds"]})
            return row

    @property
    def last_success(self) -> float:
        """When the last backup was made (seconds since the epoch); 0 where there was none."""
        try:
            return mark(self._config.state_dir).stat().st_mtime
        except OSError:
            return 0.0

    def _check(self, path: FilePath) -> None:
        folder = work_folder(self._config.state_dir)
        if path.parent != folder or path.suffix != ".db" or path.name.startswith("."):
            raise Wrong(f"the copy for a backup is made in {folder}, with a name that ends in .db")
        folder.mkdir(mode=0o700, exist_ok=True)
        if path.exists() or path.is_symlink():
            raise Wrong(f"{path} is there already")
        size = (self._config.state_dir / "gateway.db").stat().st_size
        room = os.statvfs(folder)
        free, needed = room.f_bavail * room.f_frsize, size + self._config.limits.free_disk
        if free < needed:
            raise Wrong(
                f"{folder}: {free / 1e6:.0f} MB are free, and a copy of the store leaves less than limits.free_disk: "
                f"{needed / 1e6:.0f} MB are needed", 1,
            )  # fmt: skip

    def _described(self, path: FilePath) -> dict[str, Any]:
        return {**copying.contents(path), "size": path.stat().st_size, "sha256": copying.digest_of(path)}
