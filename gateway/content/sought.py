"""One leaf of a message, looked for: the way to a page that is to be drawn, and to octets that somebody downloads.

What it is: ``Sought``, which the walk shows every leaf that it reads, and ``Reached``, which ends the walk.
Who calls it: ``inspector.drawing`` makes it, ``content.walk`` shows it the leaves.
Must never: open anything by itself: the walk unpacks by the same rules, limits and names as when it inspects.
Sources: docs/design.md section 2; hostile-inputs catalogue W02, W09.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.extraction.base import Child, Found
from gateway.text.markings import Segment
from gateway.verdict import Finding


class Reached(Exception):
    """What was looked for is there; nothing else of the message needs to be read."""


class Sought:
    """The leaf *path*; *opened*: as a password or key of the message opens it, if one does."""

    def __init__(self, path: str, *, opened: bool) -> None:
        self.path = path
        self._opened = opened
        self.data: bytes | None = None
        """Of the leaf; None while it was not met."""
        self.kinds: Sequence[str] = ()
        self.segments: tuple[Segment, ...] = ()
        self.findings: tuple[Finding, ...] = ()

    def meet(self, path: str, child: Child, found: Found, kinds: Sequence[str], findings: Sequence[Finding]) -> None:
        """The walk has read the leaf *path*; *findings*: those of the whole message so far. Raises Reached."""
        if path != self.path:
            return
        self.data, self.kinds = child.data, kinds
        self.segments += found.segments  # of one that is read in several goes the offsets count on
        self.findings = tuple(one for one in findings if one.path == path)
        if not self._opened or (found.lock is None and found.key_lock is None):
            raise Reached
