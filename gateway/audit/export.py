"""The decision log as files: JSON lines that follow the audit table, and the same lines in the journal.

What it is: ``Follower``, which copies rows after its stored position to decisions.jsonl and turns the file over by size and age;
``forget`` and ``keep_heads``, which remove what is past its retention.
Who calls it: ``housekeeping`` and ``retention``, in a thread of its own; a sink that blocks or is full stops this thread, never the mail.
Must never: lose a row or write one twice; write anything that is not in the table.
Sources: docs/design.md section 6; CERT-In Directions of 28 April 2022 (180 days); hostile-inputs catalogue O18, L07.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path as FilePath

import msgspec

from gateway import logs, systemd
from gateway.audit import audit
from gateway.stores.base import AuditRow, HeadRow

IDENTIFIER = "gateway-decision"
"""SYSLOG_IDENTIFIER of the lines in the journal: journalctl -t gateway-decision."""
ROTATE_AT = 100_000_000
"""Octets at which the file is turned over."""
ROTATE_AFTER = 30 * 86400.0
"""Seconds between the first and the last row of a file: a quiet gateway's files, too, can be removed by their age."""


_log = logs.get("housekeeping")


class Position(msgspec.Struct, frozen=True):
    """Up to where the table was copied, and how long the file was then."""

    chain: str
    seq: int
    size: int
    began: float = 0.0
    """Time of the first row of the file; 0 where it is not known."""


class Follower:
    """Copies one chain to *folder*. Not for two threads at once."""

    def __init__(self, folder: FilePath, chain: str, *, rotate_at: int = ROTATE_AT) -> None:
        self._folder = folder
        self._chain = chain
        self._rotate_at = rotate_at
        self._file = folder / "decisions.jsonl"
        self._state = folder / "decisions.position"
        self._position: Position | None = None

    def start(self) -> int:
        """The sequence number after which to go on. Cuts off what a crash left behind the stored position. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            position = msgspec.json.decode(self._state.read_bytes(), type=Position)
        except (FileNotFoundError, msgspec.DecodeError, msgspec.ValidationError):
            position = Position(self._chain, 0, 0)
        if position.chain != self._chain:
            position = Position(self._chain, 0, self._size())
        elif self._size() > position.size:
            os.truncate(self._file, position.size)  # a torn tail, or whole lines that are copied again
        self._position = position
        return position.seq

    def _size(self) -> int:
        return self._file.stat().st_size if self._file.exists() else 0

    def copy(self, rows: Sequence[AuditRow]) -> int:
        """Appends *rows* and stores the position. Returns the last sequence number. Raises OSError: then ``start`` again."""
        if self._position is None:
            self.start()
        assert self._position is not None
        if not rows:
            return self._position.seq
        began = self._position.began or rows[0].created
        if self._size() >= self._rotate_at or rows[0].created - began >= ROTATE_AFTER:
            self._turn_over()
            began = rows[0].created
        lines = [audit.with_hash(row) for row in rows]
        data = "".join(line + "\n" for line in lines).encode("ascii", "backslashreplace")
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                size = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
            self._store(Position(self._chain, rows[-1].seq, size, began))
        except OSError:
            self._position = None
            raise
        # The file is the whole; the journal gets what it has room for.
        if lost := systemd.journal(lines, IDENTIFIER):
            _log.warning("decisions did not get into the journal; the file has them", rows=lost)
        return rows[-1].seq

    def _store(self, position: Position) -> None:
        half = self._state.with_suffix(".half")
        half.write_bytes(msgspec.json.encode(position))
        half.replace(self._state)
        self._position = position

    def _turn_over(self) -> None:
        assert self._position is not None
        name = datetime.now(UTC).strftime("decisions-%Y%m%dT%H%M%S.%fZ.jsonl")
        if self._file.exists():
            self._file.rename(self._folder / name)
        self._store(Position(self._chain, self._position.seq, 0))


def forget(folder: FilePath, before: float) -> int:
    """Removes the turned over files of *folder* that were last written before *before* (seconds since the epoch). Returns how many.
    Raises OSError."""
    old = [path for path in folder.glob("decisions-*.jsonl") if path.stat().st_mtime < before]
    for path in old:
        path.unlink()
    return len(old)


def keep_heads(path: FilePath, closed: Mapping[str, int]) -> int:
    """Takes out of *path* the signed heads of rows that were removed: for each chain of *closed* those up to that number. Lines that
    are no heads stay. Returns how many went. Raises OSError."""
    if not path.exists():
        return 0
    gone = 0
    half = path.with_suffix(".half")
    half.unlink(missing_ok=True)
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    # A line at a time: a year of heads is more than the keeper should hold in memory.
    with path.open("rb") as old, os.fdopen(descriptor, "wb") as new:
        for line in old:
            if _is_closed(line, closed):
                gone += 1
            else:
                new.write(line)
        new.flush()
        os.fsync(new.fileno())
    if gone:
        half.replace(path)
    else:
        half.unlink()
    return gone


def _is_closed(line: bytes, closed: Mapping[str, int]) -> bool:
    try:
        head = msgspec.json.decode(line, type=HeadRow)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return False
    return head.seq <= closed.get(head.chain, 0)


def append_synced(path: FilePath, line: bytes) -> None:
    """Appends *line* and a newline to *path* and syncs it. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, line + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
