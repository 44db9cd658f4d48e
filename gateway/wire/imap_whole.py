"""Commands that are read whole before anything of them goes on: LOGIN, and what brings messages to another mailbox.

What it is: ``Signing`` and ``Moving``, one command each: its lines and literals in, its event with the command as it came out.
Who calls it: ``wire.imap``.
Must never: put what it was given into an error or a repr; keep it after its event.
Sources: RFC 9051 sections 6.2.3, 6.3.6, 6.4.7 and 6.4.8, 7888.
"""

from __future__ import annotations

from gateway.wire import imap_words
from gateway.wire.imap_events import ImapError, Login, Move, Step
from gateway.wire.imap_words import Mark


class _Whole:
    """One command of two words."""

    __slots__ = ("_chunks", "_steps", "_tag", "_words")

    announced: Mark | None = None
    """As in ``Filing``: no message is to come."""
    _lacks = imap_words.BROKEN

    def __init__(self, tag: bytes) -> None:
        self._tag = tag
        self._words: list[bytes] = []
        self._steps: list[Step] = []
        self._chunks: Step = ()

    def line(self, line: bytes, at: int, mark: Mark | None) -> Login | Move | None:
        """A line of the command, from *at* on; None: a literal is to come. Raises ImapError."""
        self._words += [word.name for word in imap_words.words(line, at, open=mark is not None)]
        if len(self._words) > 2 or (mark is None) != (len(self._words) == 2):
            raise ImapError(self._lacks)
        if mark is not None:
            self._steps.append((*self._chunks, imap_words.asked(line)))
            return None
        return self._event([*self._steps, (*self._chunks, line + b"\r\n")])

    def literal(self, whole: bytes) -> str:
        """A literal is whole; nothing speaks against it yet."""
        self._words.append(whole)
        self._chunks = (whole,)
        return ""

    def _event(self, steps: list[Step]) -> Login | Move:
        raise NotImplementedError


class Signing(_Whole):
    """LOGIN: a login and a password."""

    __slots__ = ()
    _lacks = "LOGIN needs a login and a password."

    def _event(self, steps: list[Step]) -> Login:
        return Login(self._tag, self._words[0], self._words[1], steps)


class Moving(_Whole):
    """COPY, MOVE and RENAME: what, and where to."""

    __slots__ = ()

    def _event(self, steps: list[Step]) -> Move:
        return Move(self._tag, self._words[1], steps)
