"""What every reader of a format has in common: what it is given, what it returns, and what it may spend.

What it is: ``Piece`` (one piece of content to be read), ``Found`` (what a reader says about it), ``Budget`` (the limits of one
message) and the two errors a reader may raise.
Who calls it: the readers of ``content`` and ``content.walk``.
Must never: know a format. A reader that fails raises; it never returns "nothing found" for what it did not read.
Sources: hostile-inputs catalogue 4.1 rules 1 and 6, 4.4 (archive limits); design.md section 4, leaf states.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.config import Limits
from gateway.protection import UNPROTECTED, Protection
from gateway.text.markings import Segment
from gateway.verdict import LeafState


class Unreadable(Exception):
    """The content is broken or of a form we do not read. The text is a plain clause without any text of the message."""


class OverLimit(Unreadable):
    """A limit of the message's budget was reached."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of content as a reader gets it."""

    data: bytes
    name: str = ""
    declared: str = ""
    """Media type as declared by the message or the container, in lower case; empty where none was."""
    charset: str = ""
    """Charset as declared; empty where none was."""
    is_attachment: bool = True
    scanned: bool = False
    """The message's own scan has looked for content hidden in it."""


@dataclass(frozen=True, slots=True)
class Child:
    """A piece inside a container. With *state* set it cannot be read and is recorded as it is."""

    name: str
    data: bytes = b""
    declared: str = ""
    charset: str = ""
    is_attachment: bool = True
    size: int = -1
    """Octets, where they differ from ``len(data)``: for a member that was not unpacked."""
    state: LeafState | None = None
    reason: str = ""
    protection: Protection = UNPROTECTED


@dataclass(frozen=True, slots=True)
class Found:
    """What one reader says about one piece. *reason* is a plain clause, empty when there is nothing to say."""

    segments: tuple[Segment, ...] = ()
    children: tuple[Child, ...] = ()
    state: LeafState = LeafState.INSPECTED
    reason: str = ""
    protection: Protection = UNPROTECTED
    properties: Mapping[str, str] = field(default_factory=dict)
    """Document properties by name, for structured labels."""
    container: bool = False
    media_type: str = ""
    """The type as the reader proved it; empty leaves the sniffer's."""
    links: tuple[str, ...] = ()
    """Targets of links that stand in no segment."""
    is_signature: bool = False
    """Nothing but a signature of what stands beside it: no attachment that somebody sends."""


class Extractor(Protocol):
    """A reader of one format. It raises Unreadable (or anything else: that is "could not be read") when it fails."""

    def __call__(self, piece: Piece, budget: Budget) -> Found: ...


class Budget:
    """What one message may cost: octets and entries unpacked, nesting and processor time. One for each message."""

    __slots__ = ("_bytes", "_cpu_end", "_entries", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._bytes = limits.archive_bytes
        self._entries = limits.archive_entries
        self._cpu_end = time.process_time() + limits.inspect_cpu

    def check_time(self) -> None:
        """Raises OverLimit when the message has used up its processor time (``limits.inspect_cpu`` seconds)."""
        if time.process_time() > self._cpu_end:
            raise OverLimit("it takes too long to read")

    def room(self, packed: int) -> int:
        """Octets that an entry of *packed* octets may unpack to: what is left, and not beyond the allowed ratio."""
        limits = self.limits
        return min(self._bytes, max(limits.archive_ratio_from, packed * limits.archive_ratio))

    def spend_bytes(self, count: int) -> None:
        """Takes *count* unpacked octets. Raises OverLimit when there are not so many left."""
        if count > self._bytes:
            self._bytes = 0
            raise OverLimit("it unpacks to more than the limit")
        self._bytes -= count
        self.check_time()

    def spend_entries(self, count: int = 1) -> None:
        """Takes *count* entries of a container. Raises OverLimit when there are not so many left."""
        if count > self._entries:
            self._entries = 0
            raise OverLimit("it holds more entries than the limit")
        self._entries -= count

    def check_depth(self, depth: int) -> None:
        """Raises OverLimit when containers are nested deeper than ``limits.archive_depth``."""
        if depth > self.limits.archive_depth:
            raise OverLimit("it is nested deeper than the limit")


_SEVERITY = {LeafState.INSPECTED: 0, LeafState.UNINSPECTABLE: 1, LeafState.OPAQUE: 2, LeafState.SUSPECT: 3}


def worst(first: LeafState, second: LeafState) -> LeafState:
    """The state that is farther from clean."""
    return first if _SEVERITY[first] >= _SEVERITY[second] else second


def join_reasons(*reasons: str) -> str:
    """The reasons that are not empty, once each, in one line."""
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason))
