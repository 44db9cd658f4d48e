"""LOGIN as it comes: a login and a password, each as a word, in quotes or as a literal.

What it is: ``Signing``, one command: its lines and literals in, a ``Login`` out.
Who calls it: ``wire.imap``.
Must never: put what it was given into an error or a repr; keep it after its event.
Sources: RFC 9051 section 6.2.3, 7888.
"""

from __future__ import annotations

from gateway.wire import imap_words
from gateway.wire.imap_events import ImapError, Login, Step
from gateway.wire.imap_words import Mark


class Signing:
    """One command."""

    __slots__ = ("_chunks", "_steps", "_tag", "_words")

    announced: Mark | None = None
    """As in ``Filing``: no message is to come."""

    def __init__(self, tag: bytes) -> None:
        self._tag = tag
        self._words: list[bytes] = []
        self._steps: list[Step] = []
        self._chunks: Step = ()

    def line(self, line: bytes, at: int, mark: Mark | None) -> Login | None:
        """A line of the command, from *at* on; None: a literal is to come. Raises ImapError."""
        self._words += [word.name for word in imap_words.words(line, at, open=mark is not None)]
        if mark is not None:
            if len(self._words) > 1:
                raise ImapError("LOGIN needs a login and a password.")
            self._steps.append((*self._chunks, imap_words.asked(line)))
            return None
        if len(self._words) != 2:
            raise ImapError("LOGIN needs a login and a password.")
        return Login(self._tag, self._words[0], self._words[1], [*self._steps, (*self._chunks, line + b"\r\n")])

    def literal(self, whole: bytes) -> str:
        """A literal is whole; nothing speaks against it yet."""
        self._words.append(whole)
        self._chunks = (whole,)
        return ""
