"""APPEND and MULTIAPPEND as they come: the mailbox, and each message with its flags and date.

What it is: ``Filing``, one command: its lines and literals in, ``Append`` events out.
Who calls it: ``wire.imap``.
Must never: hand out a message that is made of parts elsewhere (CATENATE, URL), that holds NUL, or that is over the limit.
Sources: RFC 9051 section 6.3.12, 3502, 6855 section 4, 3516 section 4.3, 4466 section 2.2.3 (extensions: none is taken), 4469, 7889.
"""

from __future__ import annotations

from gateway.wire import imap_words
from gateway.wire.imap_commands import no
from gateway.wire.imap_events import Append, ImapError, Limits, Mailbox, Say
from gateway.wire.imap_words import Mark, Message


class Filing:
    """One command."""

    __slots__ = ("_limits", "_mailbox", "_tag", "_told", "_whole", "announced", "number")

    def __init__(self, tag: bytes, limits: Limits) -> None:
        self._tag = tag
        self._limits = limits
        self._mailbox: Mailbox | None = None
        self._told: Message | None = None
        self._whole: bytes | None = None
        self.number = 0
        """Of the message that comes or came last."""
        self.announced: Mark | None = None
        """The literal of the message that is to come; None: there is none, or the name of the mailbox is to come."""

    @property
    def held(self) -> int:
        """Octets of a message that is whole and waits for the line behind it."""
        return len(self._whole or b"")

    def line(self, line: bytes, at: int, mark: Mark | None) -> Append | Say | None:
        """A line of the command, from *at* on: the message before it, if one is whole, or a refusal. Raises ImapError."""
        if self._mailbox is None:
            if mark is not None and line.find(b" {", at, at + 2) == at and line.rindex(b"{") == at + 1:
                return None
            self._mailbox, at = imap_words.mailbox(line, at)
        event = None
        if self._whole is not None:
            assert self._told is not None
            if self._told.utf8:
                if line[at : at + 1] != b")":
                    raise ImapError(imap_words.BROKEN)
                at += 1
            flags, date, literal8, utf8 = self._told
            whole, self._whole, self.announced = self._whole, None, None
            event = Append(self._tag, self._mailbox, flags, date, whole, literal8, utf8, self.number, more=at < len(line))
            if not event.more:
                return event
        return self._next(line, at, mark) or event

    def literal(self, whole: bytes) -> str:
        """A literal is whole; returns why it is refused, or nothing."""
        if self.announced is None:
            self._mailbox = Mailbox(whole, b"")
            return ""
        if b"\0" in whole:
            return "The message holds NUL."
        self._whole = whole
        return ""

    def _next(self, line: bytes, at: int, mark: Mark | None) -> Say | None:
        """What is told of the next message; a Say refuses it."""
        if imap_words.put_together(line, at):
            return Say(no(self._tag, "CANNOT", "Messages are not put together here: send the whole message."), "CATENATE")
        self._told = imap_words.message(line, at)
        if mark is None:
            raise ImapError(imap_words.BROKEN)
        if not mark.size:
            return Say(no(self._tag, "CANNOT", "The message is empty: nothing is filed."), "empty message")
        if mark.size > self._limits.message:
            text = f"The message is larger than the limit of {self._limits.message} octets."
            return Say(no(self._tag, "TOOBIG", text), "over the size limit")
        if self.number >= self._limits.messages:
            return Say(no(self._tag, "LIMIT", "Too many messages in one command."), "too many messages")
        self.number += 1
        self.announced = mark
        return None
