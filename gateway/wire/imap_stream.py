"""Lines and literals out of octets that come in any pieces.

What it is: ``Stream``, what has come; ``Gathered``, a literal that is kept. Each octet is looked at once, however it comes.
Who calls it: ``wire.imap``.
Must never: keep more than one line and what came with it; take many times its size for a literal that comes in small pieces.
Source: RFC 9051 section 2.2 (lines end in CR LF).
"""

from __future__ import annotations

from gateway.wire.imap_events import ImapError

_PIECE = 4096
"""Octets of a piece that is kept as it came."""


class Gathered:
    """A literal as far as it has come."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: list[bytes | bytearray] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        """The next octets of it."""
        self.size += len(piece)
        if len(piece) >= _PIECE:
            self._parts.append(piece)
        elif self._parts and isinstance(self._parts[-1], bytearray):
            self._parts[-1] += piece
        else:
            self._parts.append(bytearray(piece))

    def take(self) -> bytes:
        """All of it; nothing is kept any more."""
        parts, self._parts, self.size = self._parts, [], 0
        return parts[0] if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)


class Stream:
    """What has come and is not taken."""

    __slots__ = ("_buffer", "_position", "_scanned")

    def __init__(self) -> None:
        self._buffer = b""
        self._position = 0
        self._scanned = 0  # octets behind the position that hold no LF

    def __len__(self) -> int:
        return len(self._buffer) - self._position

    def receive(self, data: bytes) -> None:
        """Takes octets off the wire."""
        self._buffer = self._buffer[self._position :] + data if self._position < len(self._buffer) else data
        self._position = 0

    def clear(self) -> None:
        """Forgets them."""
        self._buffer, self._position, self._scanned = b"", 0, 0

    def line(self, longest: int) -> bytes | None:
        """The next line, without CR LF; None: it is not whole. Raises ImapError."""
        buffer, start = self._buffer, self._position
        end = buffer.find(b"\n", start + self._scanned)
        self._scanned = len(buffer) - start
        if (len(buffer) if end < 0 else end + 1) - start > longest:
            raise ImapError("The command is too long.")
        if end < 0:
            if start == len(buffer):
                self._buffer, self._position = b"", 0  # nothing of what was taken stays
            return None
        self._scanned = 0
        self._position = end + 1
        if end == start or buffer[end - 1] != 0x0D:
            # Where readers differ about the end of a line, they differ about the begin of a command.
            raise ImapError("Commands end in CR LF.")
        return buffer[start : end - 1]

    def back(self, size: int) -> None:
        """Puts back the line of *size* octets that was taken last."""
        self._position -= size
        self._scanned = size - 1

    def piece(self, longest: int) -> bytes:
        """What is there of a literal of *longest* octets."""
        buffer, start = self._buffer, self._position
        end = min(len(buffer), start + longest)
        self._position = end
        if end == len(buffer):
            self._buffer, self._position = b"", 0
        return buffer if not start and end == len(buffer) else buffer[start:end]
