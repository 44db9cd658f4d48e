"""A disk after a power cut: what was synced is there, of the rest any part, in whole or torn sectors, in any order.

The model is harder than a file system with a journal: names that were made or removed since the last sync of their folder may be there
or not, lengths likewise, and of two writes to one place the earlier may be the one that stands.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.prove.trace import Call

SECTOR = 512
HOW = ("nothing", "everything", "writes", "sectors", "first", "last")
"""Which of what was not synced stays: nothing, everything, some writes, some sectors, only what came first, only what came last."""


@dataclass
class File:
    """One file: what is certainly on the disk, and what was written since."""

    content: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)
    size: int = 0
    """Its length as the process sees it."""
    there: bool = True
    """Whether its name is certainly on the disk."""

    def do(self, call: Call) -> None:
        """A write or a new length; not on the disk yet."""
        if call.name == "write":
            at = self.size if call.offset < 0 else call.offset
            call = Call("write", call.path, call.entered, call.left, call.time, call.data, at)
            self.size = max(self.size, at + len(call.data))
        else:
            self.size = call.offset
        self.pending.append(call)

    def sync(self, before: int) -> None:
        """What had ended when the sync was entered is on the disk."""
        keep = [call for call in self.pending if call.left >= before]
        for call in self.pending:
            if call.left < before:
                apply(self.content, call)
        self.pending, self.there = keep, True

    def after(self, how: str, rng: random.Random) -> bytearray:
        """What a disk may have of it when the power is cut now."""
        content = bytearray(self.content)
        half = rng.randint(0, len(self.pending))
        for number, call in enumerate(self.pending):
            stays = {"everything": True, "first": number < half, "last": number >= half, "writes": rng.random() < 0.5}
            if stays.get(how):
                apply(content, call)
            elif how == "sectors":
                apply(content, call, rng)
        return content


def apply(content: bytearray, call: Call, rng: random.Random | None = None) -> None:
    """Does *call* to *content*; with *rng* only to about half of its sectors."""
    if call.name == "truncate":
        if rng is None or rng.random() < 0.5:
            del content[call.offset :]
            content.extend(bytes(call.offset - len(content)))
        return
    start, end = call.offset, call.offset + len(call.data)
    at = start
    while at < end:
        stop = min(end, (at // SECTOR + 1) * SECTOR) if rng is not None else end
        if rng is None or rng.random() < 0.5:
            content.extend(bytes(max(0, stop - len(content))))
            content[at:stop] = call.data[at - start : stop - start]
        at = stop


class Disk:
    """The files of one folder, from *base* on; paths are relative to *folder*."""

    def __init__(self, base: Path, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, File] = {}
        self.gone: dict[str, File] = {}
        """Removed, but the folder was not synced since."""
        for path in base.rglob("*"):
            if path.is_file():
                content = bytearray(path.read_bytes())
                self.files[str(path.relative_to(base))] = File(content, size=len(content))

    def do(self, call: Call) -> None:
        """One call has ended."""
        name = call.path.removeprefix(str(self._folder)).lstrip("/")
        if name.endswith("-shm"):
            return
        if call.name == "sync" and name not in self.files:
            self._sync_folder(name)
        elif call.name == "sync":
            self.files[name].sync(call.entered)
        elif call.name == "unlink":
            if name in self.files:
                self.gone[name] = self.files.pop(name)
        elif call.name == "rename":
            if name in self.files:
                moved = self.files.pop(name)
                moved.there = False
                self.files[call.other.removeprefix(str(self._folder)).lstrip("/")] = moved
        elif call.name == "create":
            self.files.setdefault(name, File(there=False))
        else:
            self.files.setdefault(name, File(there=False)).do(call)

    def _sync_folder(self, name: str) -> None:
        for path, file in self.files.items():
            if path.rpartition("/")[0] == name:
                file.there = True
        for path in [path for path in self.gone if path.rpartition("/")[0] == name]:
            del self.gone[path]

    def cut(self, to: Path, how: str, rng: random.Random) -> None:
        """Writes to the folder *to* what may be left when the power is cut now."""
        shutil.rmtree(to, ignore_errors=True)
        for name, file in self.files.items():
            if file.there or how == "everything" or rng.random() < 0.5:
                self._write(to / name, file.after(how, rng))
        for name, file in self.gone.items():
            if name not in self.files and how != "everything" and rng.random() < 0.5:
                self._write(to / name, file.after(how, rng))

    @staticmethod
    def _write(path: Path, content: bytearray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(content)
        path.chmod(0o600)


def places(calls: Iterable[Call], count: int, rng: random.Random) -> list[int]:
    """*count* moments, in order: half of them anywhere, half right before a sync has ended, where the most is at stake."""
    ends = [call.left for call in calls]
    syncs = [call.left - 1 for call in calls if call.name == "sync"]
    chosen = [rng.choice(ends) for _ in range(count - count // 2)]
    chosen += [rng.choice(syncs or ends) for _ in range(count // 2)]
    return sorted(chosen)
