"""What every reader of a format has in common: what it is given, what it returns, and what it may spend.

What it is: ``Piece`` (one piece of content to be read), ``Found`` (what a reader says about it), ``Lock`` and ``KeyLock`` (what only a
secret opens), ``StoredKey`` (a private key that lies in the message), ``Scan`` (a picture that may show words), ``Tools``
(programs outside of the sandbox), ``Budget`` (the limits of one message) and the errors a reader may raise.
Who calls it: the readers of ``content`` and ``content.walk``.
Must never: know a format. A reader that fails raises; it never returns "nothing found" for what it did not read.
Sources: hostile-inputs catalogue 4.1 rules 1 and 6, 4.4 (archive limits), E05; docs/design.md section 4, leaf states.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterable, Mapping
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


class ToolFault(Exception):
    """A tool could not be asked, or did not answer: ours to fail, never a statement about the content."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A page or picture as a reader of words gets it: 8-bit grey, row by row without padding."""

    width: int
    height: int
    grey: bytes
    dpi: int = 0
    """Dots to the inch; 0 where unknown."""


BAND = 0.18
"""Of the height of a page: what is read first where there are more pages than time."""


class Look(enum.StrEnum):
    """How a picture is looked at."""

    PAGE = "page"
    """Columns, pictures and tables are told apart."""
    BANDS = "bands"
    """The top and the bottom of a page, ``BAND`` of its height each, one above the other."""
    TURN = "turn"
    """Only which side is up: ``Words.turn``."""


@dataclass(frozen=True, slots=True)
class Words:
    """What the recognition of one picture gave."""

    text: str = ""
    """In reading order, lines as lines."""
    head: str = ""
    """Of it, what stands in the top tenth of the picture."""
    foot: str = ""
    """Of it, what stands in the bottom tenth."""
    confidence: float = 0.0
    """Mean of the words' confidence, 0 to 100; 0 where no word was found."""
    count: int = 0
    """Words."""
    doubtful: str = ""
    """Lines that were recognised with so little confidence that they prove nothing; not in *text*."""
    turn: int = 0
    """Degrees, clockwise, by which the picture must be turned to stand upright."""


class Tools(Protocol):
    """Programs that run outside of the worker, in a sandbox of their own."""

    @property
    def reads_pictures(self) -> bool:
        """Whether words in pictures can be recognised here."""

    @property
    def unpacks_rar(self) -> bool:
        """Whether there is a program that unpacks RAR archives."""

    @property
    def lanes(self) -> int:
        """Pictures that are read at the same time, at most."""

    @property
    def waited(self) -> float:
        """Seconds that jobs have waited for a lane so far: the work of other messages."""

    @property
    def turns(self) -> bool:
        """Whether it can be told which side of a picture is up."""

    def begin(self, picture: Picture, seconds: float, look: Look = Look.PAGE) -> int:
        """Has *picture* read within *seconds* of wall clock; returns the number of the job. Raises ToolFault."""

    def next(self) -> tuple[int, Words | Unreadable]:
        """Number and outcome of the job that ends first, once for each ``begin``. OverLimit: the seconds were too few; Unreadable: the
        program failed on it. Raises ToolFault when it could not be asked, and when there is no job.
        """

    def drop(self, number: int) -> None:
        """The outcome of that job is not wanted any more; ``next`` will not give it. Raises ToolFault."""

    def words(self, picture: Picture, seconds: float) -> Words:
        """The words in *picture*, within *seconds* of wall clock. Raises OverLimit when that is too short, Unreadable when the
        program fails on it, ToolFault when it could not be asked.
        """

    def rar(self, archive: bytes, password: str, most: int, seconds: float) -> tuple[tuple[str, bytes], ...]:
        """Names and content of the members of a RAR archive of one volume; *password* may be empty. Raises Unreadable (also for a
        wrong password), OverLimit when they are more than *most* octets or take longer than *seconds*, ToolFault.
        """


class Lock(Protocol):
    """Something that only a secret opens, and the way to try one. Tried when everything else of the message was read."""

    @property
    def seconds(self) -> float:
        """Processor time that one try takes, about."""

    def open(self, password: str, budget: Budget) -> bytes | tuple[Child, ...] | None:
        """None when *password* is wrong; octets that take the place of the piece; or the members of the container, all of them.
        Raises Unreadable or OverLimit when it fits but the content cannot be read.
        """


class StoredKey(Protocol):
    """A private key that lies in the message."""

    @property
    def locked(self) -> bool:
        """Whether it is closed by a password of its own."""

    @property
    def seconds(self) -> float:
        """Processor time that one try of a password takes, about."""

    def open(self, password: str, budget: Budget) -> tuple[object, ...]:
        """The private keys; none where *password* is wrong. Raises OverLimit only."""


class KeyLock(Protocol):
    """Something that is encrypted to public keys, and the way to try a private one."""

    def open_with(self, key: object, budget: Budget) -> bytes | None:
        """Octets that take the place of the piece; None when it is not for *key*. Raises Unreadable or OverLimit."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A picture in which words may stand, and how to get its pixels."""

    render: Callable[[Budget], Picture]
    """Decodes it, within the sandbox. Raises Unreadable or OverLimit."""
    page: int = 0
    """From 1; 0 where the format knows no pages."""
    pages: int = 0
    pixels: int = 0
    """About how many, from the header of the picture."""


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
    lock: Lock | None = None
    """For a member that could not be unpacked without a secret."""
    scans: tuple[Scan, ...] = ()
    """Pictures that stand for this leaf; see ``Found.scans``."""


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
    lock: Lock | None = None
    """The content is closed by a secret: how to try one."""
    scans: tuple[Scan, ...] = ()
    """Pictures that words may stand in. Where all were read, a leaf whose *state* is UNINSPECTABLE becomes INSPECTED."""
    active: tuple[str, ...] = ()
    """What runs or loads when the file is opened, by the names of ``ACTIVE``."""
    keys: tuple[StoredKey, ...] = ()
    """Private keys that lie in it."""
    key_lock: KeyLock | None = None
    """The content is encrypted to public keys: how to try a private one."""


ACTIVE = ("macro", "script", "launch", "external", "program", "dde", "form", "smuggling")
"""Active content: a macro; a script in a document; an action that starts a program; a part that is loaded from elsewhere (template,
object, picture); an embedded program; a formula that asks a program; a form that sends; a page that builds a file."""


class Extractor(Protocol):
    """A reader of one format. It raises Unreadable (or anything else: that is "could not be read") when it fails."""

    def __call__(self, piece: Piece, budget: Budget) -> Found: ...


_CLOCK = 0.02
"""Seconds after which the clock of the process is looked at again."""


class Budget:
    """What one message may cost: octets and entries unpacked, nesting and processor time. One for each message."""

    __slots__ = ("_asks_at", "_bytes", "_cpu_end", "_entries", "limits", "tools")

    def __init__(self, limits: Limits, tools: Tools | None = None) -> None:
        self.limits = limits
        self.tools = tools
        self._bytes = limits.archive_bytes
        self._entries = limits.archive_entries
        self._cpu_end = time.process_time() + limits.inspect_cpu
        self._asks_at = 0.0

    def check_time(self) -> None:
        """Raises OverLimit when the message has used up its processor time (``limits.inspect_cpu`` seconds)."""
        now = time.monotonic()
        if now < self._asks_at:
            return
        # The clock of the process is a call of the system, dear in a virtual machine; no time is used up faster than it passes.
        left = self._cpu_end - time.process_time()
        if left < 0:
            raise OverLimit("it takes too long to read")
        self._asks_at = now + min(left, _CLOCK)

    @property
    def seconds_left(self) -> float:
        """Processor time that is left."""
        return self._cpu_end - time.process_time()

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

    def collect(self, chunks: Iterable[bytes], packed: int, most: int | None = None) -> bytes:
        """All of *chunks*, what *packed* octets unpack to, counted while they grow; what was unpacked in vain is spent as well.

        Stops (and returns what there is) once there are more than *most* octets: the caller compares. Raises OverLimit.
        """
        room, size, first, out = self.room(packed), 0, b"", bytearray()
        try:
            for chunk in chunks:
                size += len(chunk)
                if size > room:
                    raise OverLimit("it unpacks to more than the limit")
                self.check_time()
                if size == len(chunk):
                    first = chunk  # mostly the only one: then it is not copied
                else:
                    out += chunk if out else first + chunk
                if most is not None and size > most:
                    break
        finally:
            self._bytes -= min(size, self._bytes)
        return bytes(out) if out else bytes(first)

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
