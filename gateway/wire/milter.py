"""The filter's side of a milter connection, without I/O: octets in, events and answers out.

What it is: ``Milter``, one object a connection of an MTA, which carries many messages and, behind SMFIC_QUIT_NC, many clients.
Who calls it: ``doors.milter``.
Must never: do I/O or know a clock; take memory because of a length that is only claimed; let anything of a message, a macro or a
client outlive it; put out half of an answer.
Sources: libmilter/engine.c of Sendmail 8.17, whose order of commands this is, with two differences: what it passes over without a
reply (the MTA waits in vain) ends the connection here, and a new client is taken at any time; Postfix src/milter/milter8.c;
hostile-inputs catalogue T01-T04, T08.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

from gateway.reply import Reply
from gateway.wire import milter_codec as codec
from gateway.wire import milter_macros
from gateway.wire.milter_events import (
    Abort,
    Change,
    Data,
    Event,
    Final,
    Helo,
    Mail,
    Message,
    MilterError,
    Negotiated,
    NewConnection,
    Quit,
    Rcpt,
    Unknown,
)
from gateway.wire.milter_macros import Macros
from gateway.wire.milter_text import Text

_LONGEST_PACKET = 1 << 20
_PIECES = 1024
"""Reads of one packet that are kept apart: each has its own few octets beside its content."""


class _Phase(enum.IntEnum):
    """Where the connection stands; what follows MAIL up to ASKED is within a message."""

    START = 0
    CLIENT = 1
    """The options are agreed, or a client has left: CONNECT is due."""
    IDLE = 2
    MAIL = 3
    RCPT = 4
    DATA = 5
    HEADER = 6
    EOH = 7
    BODY = 8
    ASKED = 9
    """An event is with the door."""
    CLOSED = 10


_P = _Phase
_ASKED, _HEADER, _IDLE = _P.ASKED, _P.HEADER, _P.IDLE
# After which phases a command of a message may come. All others end the message, and the command is tried without it.
_AFTER: dict[bytes, frozenset[_Phase]] = {
    b"H": frozenset({_P.IDLE}),
    b"M": frozenset({_P.IDLE}),
    b"R": frozenset({_P.MAIL, _P.RCPT}),
    b"T": frozenset({_P.RCPT}),
    b"L": frozenset({_P.RCPT, _P.DATA, _P.HEADER}),
    b"N": frozenset({_P.RCPT, _P.DATA, _P.HEADER}),
    b"B": frozenset({_P.RCPT, _P.EOH, _P.BODY}),
    b"E": frozenset({_P.RCPT, _P.EOH, _P.BODY}),
    b"C": frozenset({_P.CLIENT, _P.IDLE}),
    b"K": frozenset({_P.CLIENT, _P.IDLE}),
    b"Q": frozenset({_P.CLIENT, _P.IDLE}),
    b"A": frozenset({_P.CLIENT, _P.IDLE}),
}
# Where the end of the header section is not said: the body, or the end of the message, says it too.
_AFTER_UNSAID = _AFTER | {command: _AFTER[command] | {_P.DATA, _P.HEADER} for command in (b"B", b"E")}
_COMMANDS = frozenset(_AFTER) | {b"D", b"U", b"O"}
_CONTINUE = codec.packet(b"c")


class Milter:
    """One connection of an MTA. ``feed`` octets, take events until there are none, send ``output``.

    An event that needs an answer (Mail, Rcpt, Message) stops the parsing until it has one. An answer to an event that is not
    out any more (the codec was closed) does nothing.
    """

    __slots__ = (
        "_after", "_behind", "_buffer", "_leading_space", "_macros", "_out", "_phase", "_pieces", "_position", "_quiet", "_size", "_text",
        "_waiting", "negotiated",
    )  # fmt: skip

    def __init__(self, size: int) -> None:
        """*size*: octets of a message that are kept at most (limits.message_size)."""
        self._size = size
        self._phase = _Phase.START
        self._buffer = b""
        self._position = 0
        self._pieces: list[bytes] = []
        """What came since, where the buffer ends within a packet: joined once it is whole."""
        self._behind = 0
        """Octets of them."""
        self._out: list[bytes] = []
        self._after = _AFTER
        self._leading_space = False
        self._quiet: frozenset[bytes] = frozenset()
        """Commands to which no reply is due."""
        self._macros = Macros()
        self._text = Text(size)
        self._waiting = b""
        """The command that the door has to answer. Not its event: a message is kept once, by who works on it."""
        self.negotiated: Negotiated | None = None
        """What was agreed; None before."""

    # --- the door's side ------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Takes octets off the wire; then ask for events."""
        if self._phase is _Phase.CLOSED:
            return
        if self._position >= len(self._buffer) and not self._behind:
            self._buffer, self._position = data, 0
        else:
            self._pieces.append(data)
            self._behind += len(data)
            if len(self._pieces) > _PIECES:
                self._pieces = [b"".join(self._pieces)]

    def output(self) -> bytes:
        """What is to be sent and was not taken yet."""
        out = self._out
        if not out:
            return b""
        joined = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return joined

    @property
    def pending(self) -> int:
        """Octets received and not understood yet: part of a packet, or what follows an event that is with the door."""
        return len(self._buffer) - self._position + self._behind

    @property
    def memory(self) -> int:
        """Octets of memory that the message under way holds (header fields with what they cost apart from their text)."""
        return self._text.memory

    @property
    def text_octets(self) -> int:
        """Octets of content of the message under way that have come, kept or not."""
        return self._text.octets

    @property
    def lost(self) -> str:
        """Why nothing of the message under way is kept any more; empty while it is. See ``Message.lost``."""
        return self._text.lost

    @property
    def in_message(self) -> bool:
        """Whether a message is under way: from the event Mail to its end. Between messages silence is in order."""
        return _Phase.MAIL <= self._phase <= _Phase.ASKED

    @property
    def asked(self) -> bool:
        """Whether an event waits for the door's answer."""
        return self._phase is _Phase.ASKED

    @property
    def macros(self) -> Mapping[str, str]:
        """What the MTA has said of the client and the message, as it holds now: ``i``, ``{auth_authen}``, ``{client_addr}`` …

        What is absent was not said, and is no reason for trust. Text that is not UTF-8 holds U+FFFD. Macros of a message are
        forgotten at its end, Abort or refusal; those of a client at NewConnection and Connect; those of a stage that comes again
        (RCPT) with that stage.
        """
        return self._macros.known

    def proceed(self) -> None:
        """Answers Mail or Rcpt: go on."""
        if self._waiting in (b"M", b"R"):
            self._out.append(_CONTINUE)
            self._answered(_Phase.MAIL if self._waiting == b"M" else _Phase.RCPT)

    def refuse(self, reply: Reply) -> None:
        """Answers Mail (the message is over) or Rcpt (this recipient) with a 4xx or 5xx *reply*. Raises MilterError for another."""
        if self._waiting == b"R":
            self._out.append(codec.reply_code(reply))
            self._answered(_Phase.RCPT)
        elif self._waiting == b"M":
            self.end_message(reply)

    def progress(self) -> None:
        """While Message waits: the MTA is told to wait on."""
        if self._waiting == b"E":
            self._out.append(codec.packet(b"p"))

    def end_message(self, final: Final | Reply, changes: Sequence[Change] = ()) -> None:
        """Answers Message (or Mail, without *changes*): all *changes* in order, then *final*; the message is over.

        A Reply of 4xx or 5xx goes to the client in these words; it takes no *changes*. Raises MilterError for what may not be
        sent (line ends, NUL, lines over 998 octets, what was not negotiated): then nothing was put out and an answer is due yet.
        """
        agreed = self.negotiated
        if agreed is None or self._waiting not in (b"M", b"E"):
            return
        if changes and (self._waiting == b"M" or final not in (Final.CONTINUE, Final.ACCEPT)):
            raise MilterError("changes to a message that does not go on")
        if final is Final.CONTINUE and self._waiting == b"M":
            raise MilterError("a message that is to go on and to end")
        packets = [codec.change(wanted, agreed) for wanted in changes]
        packets.append(codec.packet(final.value) if isinstance(final, Final) else codec.reply_code(final))
        self._out += packets
        self._forget_message()
        self._macros.forget(milter_macros.MESSAGE)

    def discard(self) -> None:
        """Keeps nothing more of the message under way (no memory for it); its end brings a Message that is ``lost``."""
        if self.in_message and self._waiting != b"E":
            self._text.lose("discarded")

    def close(self) -> None:
        """Ends the session from our side: nothing further is parsed, nothing is kept."""
        self._phase = _Phase.CLOSED
        self._buffer, self._position = b"", 0
        self._pieces, self._behind = [], 0
        self._text = Text(self._size)
        self._waiting = b""
        self._macros = Macros()

    # --- events -----------------------------------------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        """What the door has to know or to answer next; None: more octets, or an answer, are needed first. Raises MilterError."""
        try:
            while self._phase < _ASKED:
                buffer, start = self._buffer, self._position + 4
                length = int.from_bytes(buffer[start - 4 : start], "big")
                end = start + length
                if len(buffer) < start or len(buffer) < end:
                    if len(buffer) >= start and not 1 <= length <= _LONGEST_PACKET:
                        raise MilterError("a packet of no length, or too long")
                    if not self._behind or self.pending < (4 + length if len(buffer) >= start else 4):
                        return None
                    self._join()
                    continue
                if not 1 <= length <= _LONGEST_PACKET:
                    raise MilterError("a packet of no length, or too long")
                command = buffer[start : start + 1]
                if command == b"L" and self._phase is _HEADER:  # nearly all packets
                    self._position = end
                    self._text.add_field(*codec.field(buffer[start + 1 : end]), leading_space=self._leading_space)
                    if command not in self._quiet:
                        self._out.append(_CONTINUE)
                elif (event := self._take(command, start + 1, end)) is not None:
                    return event
        except MilterError:
            self.close()
            raise
        return None

    def _join(self) -> None:
        """Puts what came since behind the rest of the buffer."""
        self._buffer = b"".join((self._buffer[self._position :], *self._pieces))
        self._position = 0
        self._pieces, self._behind = [], 0

    def _take(self, command: bytes, start: int, end: int) -> Event | None:
        """Takes the packet whose data is the buffer from *start* to *end*; None: it was answered here, or needs nothing."""
        phase = self._phase
        if phase is _Phase.START:
            if command not in (b"O", b"Q"):
                raise MilterError("a command that is none, or before the options")
        elif command == b"D":
            self._position = end
            self._macros.take(self._buffer, start, end)
            return None
        after = self._after.get(command)
        if after is None:
            if command not in _COMMANDS:
                raise MilterError("a command that is none, or before the options")
        elif phase not in after:
            if phase >= _Phase.MAIL:
                # The packet stays: it is looked at again once the door has forgotten the message.
                self._forget_message()
                self._macros.forget_message()
                if command == b"A":
                    self._position = end
                    self._macros.forget(milter_macros.MESSAGE)
                return Abort()
            if command not in (b"Q", b"A"):
                self._position = end
                raise MilterError("a command out of order")
        self._position = end
        return self._run(command, self._buffer[start:end])

    def _run(self, command: bytes, data: bytes) -> Event | None:
        """Runs one command; None: it was answered here, or needs nothing."""
        if command == b"L":
            self._phase = _HEADER
            self._text.add_field(*codec.field(data), leading_space=self._leading_space)
            if command not in self._quiet:
                self._out.append(_CONTINUE)
            return None
        self._macros.command(command)
        match command:
            case b"B":
                self._body(data)
                return None
            case b"N":
                self._phase = _Phase.EOH
                self._go_on(command)
                return None
            case b"E":
                if data:
                    self._text.add(data)
                return self._ask(command, self._text.message(leading_space=self._leading_space))
            case b"M":
                return self._ask(command, Mail(codec.arguments(data)))
            case b"R":
                return self._ask(command, Rcpt(codec.arguments(data)))
            case b"A":
                self._macros.forget(milter_macros.MESSAGE)
                return None
            case b"O":
                return self._negotiate(data)
        return self._of_the_client(command, data)

    def _of_the_client(self, command: bytes, data: bytes) -> Event:
        """Commands that say something of the client; the MTA waits for none of what we think of it."""
        match command:
            case b"Q":
                self.close()
                return Quit()
            case b"K":
                self._phase = _Phase.CLIENT
                self._macros.forget(milter_macros.CLIENT)
                return NewConnection()
            case b"C":
                event: Event = codec.connect(data)
                self._phase = _Phase.IDLE
            case b"H":
                event = Helo(codec.one(data))
            case b"T":
                event = Data()
                self._phase = _Phase.DATA
            case _:
                event = Unknown()
        self._go_on(command)
        return event

    def _body(self, data: bytes) -> None:
        self._phase = _Phase.BODY
        self._text.add(data)
        if self._text.lost and self._agreed.protocol & codec.SKIP:
            self._out.append(codec.packet(b"s"))
        else:
            self._go_on(b"B")

    def _negotiate(self, data: bytes) -> Event:
        if self._phase is not _Phase.START:
            raise MilterError("options a second time")
        agreed, answer = codec.negotiation(data)
        self.negotiated = agreed
        self._out.append(answer)
        self._phase = _Phase.CLIENT
        self._leading_space = agreed.leading_space
        self._quiet = codec.quiet(agreed.protocol)
        if agreed.protocol & codec.NOEOH:
            self._after = _AFTER_UNSAID
        return agreed

    @property
    def _agreed(self) -> Negotiated:
        assert self.negotiated is not None
        return self.negotiated

    def _go_on(self, command: bytes) -> None:
        """Says SMFIR_CONTINUE where the MTA waits for it."""
        if command not in self._quiet:
            self._out.append(_CONTINUE)

    def _ask(self, command: bytes, event: Mail | Rcpt | Message) -> Event:
        self._phase = _Phase.ASKED
        self._waiting = command
        return event

    def _answered(self, phase: _Phase) -> None:
        self._phase = phase
        self._waiting = b""

    def _forget_message(self) -> None:
        """No message is under way any more; what the MTA just said of the next one stays."""
        self._answered(_Phase.IDLE)
        self._text = Text(self._size)
