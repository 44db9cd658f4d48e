"""The filter's side of a milter connection, without I/O: octets in, events and answers out.

What it is: ``Milter``, one object a connection of an MTA, which carries many messages and, behind SMFIC_QUIT_NC, many clients.
Who calls it: ``doors.milter``.
Must never: do I/O or know a clock; take memory because of a length that is only claimed; let anything of a message, a macro or a
client outlive it; put out half of an answer.
Sources: libmilter/engine.c of Sendmail 8.17; Postfix src/milter/milter8.c; hostile-inputs catalogue T01-T04, T08.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.reply import Reply
from gateway.wire.milter_events import Change, Event, Final, Negotiated


class Milter:
    """One connection of an MTA. ``feed`` octets, take events until there are none, send ``output``.

    An event that needs an answer (Mail, Rcpt, Message) stops the parsing until it has one. An answer to an event that is not
    out any more (the codec was closed) does nothing.
    """

    def __init__(self, size: int) -> None:
        """*size*: octets of a message that are kept at most (limits.message_size)."""
        self.negotiated: Negotiated | None = None
        """What was agreed; None before."""

    # --- the door's side ------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Takes octets off the wire; then ask for events."""
        raise NotImplementedError

    def output(self) -> bytes:
        """What is to be sent and was not taken yet."""
        raise NotImplementedError

    @property
    def pending(self) -> int:
        """Octets received and not understood yet: part of a packet, or what follows an event that is with the door."""
        raise NotImplementedError

    @property
    def memory(self) -> int:
        """Octets of memory that the message under way holds (header fields with what they cost apart from their text)."""
        raise NotImplementedError

    @property
    def text_octets(self) -> int:
        """Octets of content of the message under way that have come, kept or not."""
        raise NotImplementedError

    @property
    def lost(self) -> str:
        """Why nothing of the message under way is kept any more; empty while it is. See ``Message.lost``."""
        raise NotImplementedError

    @property
    def in_message(self) -> bool:
        """Whether a message is under way: from the event Mail to its end. Between messages silence is in order."""
        raise NotImplementedError

    @property
    def asked(self) -> bool:
        """Whether an event waits for the door's answer."""
        raise NotImplementedError

    @property
    def macros(self) -> Mapping[str, str]:
        """What the MTA has said of the client and the message, as it holds now: ``i``, ``{auth_authen}``, ``{client_addr}`` …

        What is absent was not said, and is no reason for trust. Text that is not UTF-8 holds U+FFFD. Macros of a message are
        forgotten at its end, Abort or refusal; those of a client at NewConnection and Connect; those of a stage that comes again
        (RCPT) with that stage.
        """
        raise NotImplementedError

    def proceed(self) -> None:
        """Answers Mail or Rcpt: go on."""
        raise NotImplementedError

    def refuse(self, reply: Reply) -> None:
        """Answers Mail (the message is over) or Rcpt (this recipient) with a 4xx or 5xx *reply*. Raises MilterError for another."""
        raise NotImplementedError

    def progress(self) -> None:
        """While Message waits: the MTA is told to wait on."""
        raise NotImplementedError

    def end_message(self, final: Final | Reply, changes: Sequence[Change] = ()) -> None:
        """Answers Message (or Mail, without *changes*): all *changes* in order, then *final*; the message is over.

        A Reply of 4xx or 5xx goes to the client in these words; it takes no *changes*. Raises MilterError for what may not be
        sent (line ends, NUL, lines over 998 octets, what was not negotiated): then nothing was put out and an answer is due yet.
        """
        raise NotImplementedError

    def discard(self) -> None:
        """Keeps nothing more of the message under way (no memory for it); its end brings a Message that is ``lost``."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends the session from our side: nothing further is parsed, nothing is kept."""
        raise NotImplementedError

    # --- events -----------------------------------------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        """What the door has to know or to answer next; None: more octets, or an answer, are needed first. Raises MilterError."""
        raise NotImplementedError
