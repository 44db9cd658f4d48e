"""Formats that the system's libarchive reads: where it is there.

What it is: ``available``, ``members`` (all regular files of an archive in memory), ``filtered`` (a single packed file) and
``extract_by`` (the extractor of rare formats).
Who calls it: the readers of rar, cab and compressed files; ``content.walk`` through the table; ``gateway check`` asks ``available``.
Must never: be loaded for the first time in a worker (``inspector.warm`` does it); take a warning of the library for a success; let it
start a program (only built-in filters are named).
Sources: libarchive's archive_read(3), archive_read_data(3); docs/inspection.md (it sees one of many overlapping entries).
"""

from __future__ import annotations

import ctypes
import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gateway.archives import member_names
from gateway.extraction.base import Budget, Child, Extractor, Found, OverLimit, Piece, Unreadable
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

logging.getLogger("libarchive").setLevel(logging.CRITICAL + 1)  # its warnings quote names of members
_ffi: Any = None
_ArchiveError: Any = OSError
try:
    _ffi = importlib.import_module("libarchive.ffi")
    _ArchiveError = importlib.import_module("libarchive.exception").ArchiveError
except (OSError, AttributeError, TypeError, ImportError):  # without the library of the system the import fails in several ways
    _ffi = None

_OK, _EOF = 0, 1
_REGULAR, _FOLDER, _KIND = 0o100000, 0o040000, 0o170000
_STEP = 1 << 18
MISSING = "this machine has no library that reads it"
BROKEN = "it is damaged, or of a form that is not read"


def available() -> bool:
    """Whether the system has libarchive."""
    return _ffi is not None


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive: *mode* as Unix has it; *data* of regular files only."""

    name: str
    mode: int
    data: bytes
    link: str = ""
    complete: bool = True
    """Read without an error or a warning."""

    @property
    def is_folder(self) -> bool:
        """A folder."""
        return self.mode & _KIND == _FOLDER

    @property
    def is_file(self) -> bool:
        """A regular file that is no link to another one."""
        return self.mode & _KIND in (0, _REGULAR) and not self.link


@contextmanager
def _archive(data: bytes, formats: tuple[str, ...], filters: tuple[str, ...]) -> Iterator[Any]:
    if _ffi is None:
        raise Unreadable(MISSING)
    handle = _ffi.read_new()
    try:
        for name in formats:
            _ffi.get_read_format_function(name)(handle)
        for name in filters:
            _ffi.get_read_filter_function(name)(handle)
        _ffi.read_open_memory(handle, ctypes.c_char_p(data), len(data))
        yield handle
    except (_ArchiveError, ValueError):
        raise Unreadable(BROKEN) from None
    finally:
        _ffi.read_free(handle)


def members(
    data: bytes, formats: tuple[str, ...], budget: Budget, *, filters: tuple[str, ...] = ("none",), counted: bool = False
) -> Iterator[Member]:
    """Every entry of the archive *data*, which must be one of *formats*. Counts what it unpacks and stops at the limits;
    *counted*: the caller has counted the entries. Raises Unreadable or OverLimit.
    """
    with _archive(data, formats, filters) as handle:
        entry = _ffi.entry_new()
        left = budget.room(len(data))
        try:
            while True:
                code = _ffi.read_next_header2(handle, entry)
                if code == _EOF:
                    return
                if not counted:
                    budget.spend_entries()
                budget.check_time()
                mode = _ffi.entry_mode(entry)
                link = _ffi.entry_hardlink(entry) or _ffi.entry_symlink(entry) or b""
                name = member_names.decoded(_ffi.entry_pathname(entry) or b"")
                content, complete = b"", code == _OK
                if mode & _KIND in (0, _REGULAR) and not link:
                    content, complete = _content(handle, budget, left, complete)
                    left -= len(content)
                yield Member(name, mode, content, member_names.decoded(link), complete)
        finally:
            _ffi.entry_free(entry)


def _content(handle: Any, budget: Budget, room: int, complete: bool) -> tuple[bytes, bool]:
    buffer = ctypes.create_string_buffer(_STEP)
    out = bytearray()
    try:
        while count := _ffi.read_data(handle, buffer, _STEP):
            if count < 0:  # a warning
                complete = False
                break
            out += ctypes.string_at(buffer, count)
            if len(out) > room:
                raise OverLimit("it unpacks to more than the limit")
            budget.check_time()
    except _ArchiveError:
        complete = False
    finally:
        budget.spend_bytes(len(out))
    return bytes(out), complete


def filtered(data: bytes, filter_name: str, budget: Budget) -> bytes:
    """What the built-in filter *filter_name* makes of *data*. Raises Unreadable or OverLimit."""
    found = list(members(data, ("raw",), budget, filters=(filter_name,)))
    if len(found) != 1 or not found[0].complete:
        raise Unreadable(BROKEN)
    return found[0].data


def extract_by(formats: tuple[str, ...], what: str, filters: tuple[str, ...] = ("none",)) -> Extractor:
    """The extractor of *what* (a noun with its article), which is rarely sent.

    What stands in it is inspected. It is never clean itself: the library does not tell which octets it passed over.
    """

    def extract(piece: Piece, budget: Budget) -> Found:
        children: list[Child] = []
        said: list[Segment] = []
        reason = f"{what}: it was opened, but that nothing else stands in it cannot be shown"
        try:
            for member in members(piece.data, formats, budget, filters=filters):
                if member.is_file:
                    state = None if member.complete else LeafState.SUSPECT
                    children.append(Child(member.name, member.data, state=state, reason="" if member.complete else BROKEN))
                else:
                    said += [Segment(text, Zone.FILE_NAME) for text in (member.name, member.link) if text]
        except OverLimit as error:
            reason = f"over a limit: {error}"
        except Unreadable as error:
            reason = f"{what}: {error}"
        return Found(tuple(said), tuple(children), LeafState.SUSPECT, reason, container=True)

    return extract
