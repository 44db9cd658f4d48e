"""The content of a message as it comes in pieces from an MTA: header fields, then chunks of the body.

What it is: ``Text``, which keeps what fits under the size limit and counts the rest.
Who calls it: ``wire.milter``, one object a message.
Must never: keep octets of a message that is over the limit; cost more than the octets that came.
Sources: libmilter/mfdef.h (MILTER_CHUNK_SIZE); hostile-inputs catalogue T04.
"""

from __future__ import annotations

from gateway.wire.milter_events import Message

_FIELD = 160  # octets that a header field costs apart from its text: a pair and two objects of bytes
_FIELDS = 10_000  # header fields of one message that are kept at most
_PIECE = 32_768  # octets from which a chunk is worth an object of its own


class Text:
    """The content of one message under way."""

    __slots__ = ("_body", "_fields", "_size", "_tail", "lost", "memory", "octets")

    def __init__(self, size: int) -> None:
        """*size*: octets of content at most."""
        self._size = size
        self._fields: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._tail = bytearray()
        self.octets = 0
        """Octets of content so far; goes on counting when they are not kept any more."""
        self.memory = 0
        """Octets of memory that are held."""
        self.lost = ""

    def add_field(self, name: bytes, value: bytes, *, leading_space: bool) -> None:
        """Takes one header field."""
        self.octets += len(name) + len(value) + value.count(b"\n") + (3 if leading_space else 4)
        if len(self._fields) >= _FIELDS:
            self.lose("too many fields")
        elif self._fits():
            self._fields.append((name, value))
            self.memory += len(name) + len(value) + _FIELD

    def add(self, chunk: bytes) -> None:
        """Takes a piece of the body, of any size."""
        self.octets += len(chunk)
        if not self._fits():
            return
        self.memory += len(chunk)
        if len(chunk) < _PIECE:
            self._tail += chunk
            if len(self._tail) < _PIECE:
                return
            chunk = b""
        if self._tail:
            self._body.append(bytes(self._tail))
            self._tail.clear()
        if chunk:
            self._body.append(chunk)

    def lose(self, reason: str) -> None:
        """Keeps nothing from here on, for the first *reason* that there was."""
        self.lost = self.lost or reason
        self._fields, self._body, self._tail = [], [], bytearray()
        self.memory = 0

    def message(self, *, leading_space: bool) -> Message:
        """What has come; the memory counts until the message is forgotten."""
        if self._tail:
            self._body.append(bytes(self._tail))
        message = Message(tuple(self._fields), b"".join(self._body), leading_space, self.lost)
        self._fields, self._body, self._tail = [], [], bytearray()
        return message

    def _fits(self) -> bool:
        if self.octets + 2 > self._size:  # with the line between header section and body
            self.lose("too large")
        return not self.lost
