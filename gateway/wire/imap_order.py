"""Whose turn it is: replies of ours and of the IMAP server in the order of the commands.

What it is: ``Order``, the commands of one session that the server has not answered, with the replies of ours between them. A reply of
ours goes to the client after the replies to all earlier commands, and between two whole responses of the server.
Who calls it: ``doors.imap``.
Must never: give out a reply of ours while a command before it has none; grow beyond the commands that its caller lets in.
Sources: RFC 9051 sections 2.2.1, 5.5; hostile-inputs catalogue I10.
"""

from __future__ import annotations

from collections import deque


class Order:
    """One session. Commands for the server are ``sent``, its tagged replies ``replied``; what we ``say`` comes out of ``due``."""

    __slots__ = ("_instead", "_limit", "_queue", "_waiting")

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._queue: deque[tuple[bytes, bytes]] = deque()  # (tag, nothing) for a command of the server, (nothing, octets) for ours
        self._waiting = 0
        self._instead: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        """The commands that wait for a reply."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """As many commands wait as may: take no event of the client until a reply has come."""
        return len(self._queue) >= self._limit

    @property
    def outstanding(self) -> int:
        """The commands that the server has not answered."""
        return self._waiting

    def sent(self, tag: bytes) -> None:
        """A command with *tag* begins to go to the server."""
        self._queue.append((tag, b""))
        self._waiting += 1

    def say(self, octets: bytes) -> None:
        """A reply, or ``+``, of ours to the command that came last."""
        if octets:
            self._queue.append((b"", octets))

    def instead(self, tag: bytes, octets: bytes) -> None:
        """The server's reply to *tag* is not shown; *octets* are, in its place."""
        self._instead[tag] = octets

    def replied(self, tag: bytes) -> bool:
        """The server's tagged reply is there; says whether the client gets it. Then ask for what is ``due``."""
        queue = self._queue
        if queue and queue[0][0] == tag:
            place = 0
            queue.popleft()
        else:
            place = next((at for at, one in enumerate(queue) if one[0] == tag), -1)
            if place < 0:
                return False
            del queue[place]
        self._waiting -= 1
        replacement = self._instead.pop(tag, None)
        if replacement is None:
            return True
        queue.insert(place, (b"", replacement))
        return False

    def due(self, between: bool) -> bytes:
        """Replies of ours whose turn it is. *between*: ``Server.between``, what the client got from the server ends with a response."""
        queue = self._queue
        if not between or not queue or queue[0][0]:
            return b""
        octets = []
        while queue and not queue[0][0]:
            octets.append(queue.popleft()[1])
        return b"".join(octets)

    def rest(self) -> bytes:
        """All replies of ours that wait, at the end of a session whose server is gone."""
        octets = b"".join(one[1] for one in self._queue)
        self._queue.clear()
        self._instead.clear()
        self._waiting = 0
        return octets
