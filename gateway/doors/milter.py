"""The milter door: an MTA asks what is to become of the message that it has.

Source: the milter protocol of Sendmail and Postfix (MILTER_README).
"""

from __future__ import annotations

import asyncio

from gateway.doors.door import PLAIN, Door, Listener
from gateway.reply import Reply


class MilterSession(asyncio.Protocol):
    """The decisions of one connection of an MTA."""

    def __init__(self, door: Door, listener: Listener = PLAIN) -> None:
        self._door = door
        self._listener = listener

    def enter(self, client: tuple[str, int], *, through: str = "", named: bool = True) -> Reply | None:
        """Takes note of who the client is, and returns why it may not come in."""
        raise NotImplementedError

    def leave(self) -> None:
        """Takes back ``enter``: there was no session."""
        raise NotImplementedError

    def refusal(self, reply: Reply) -> bytes:
        """*reply* as a client without a session gets it."""
        raise NotImplementedError

    def check(self, now: float, *, stressed: bool) -> None:
        """Ends itself if it is over a time."""

    def drain(self) -> None:
        """Ends itself if it has nothing to finish."""

    def end(self) -> None:
        """Ends itself."""
