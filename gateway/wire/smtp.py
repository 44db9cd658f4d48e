"""The server's side of an SMTP session, without I/O: octets in, events and reply octets out.

What it is: ``Server``, one object a session. It knows the states and their order, splits pipelined commands, answers what
needs no policy, counts errors, and hands the rest out as events, one at a time: after an event nothing further is parsed
until the door has answered it, so replies keep their order.
Who calls it: ``doors.smtp``.
Must never: do I/O or know a clock; run a command that came before its time (a reply that was not given yet, another side of
STARTTLS); raise on any octets.
Sources: RFC 5321; RFC 2920 (pipelining), 1870, 6152, 6531, 2034, 3207 section 4.2 (state is forgotten), 3461. No CHUNKING.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gateway.address import AddressError
from gateway.envelope import Recipient
from gateway.reply import Reply
from gateway.wire import smtp_events as say
from gateway.wire import smtp_params
from gateway.wire.smtp_data import Scanner
from gateway.wire.smtp_events import Body, Close, Data, Error, Event, Offer, Phase, Refusal, StartTls
from gateway.wire.smtp_params import ArgumentError, Mail

_EXTENSIONS = 512  # octets that ENVID, ORCPT and the other parameters may add to a command line


class Server:
    """One session. ``receive`` octets, take events until there are none, send ``output``."""

    __slots__ = (
        "_before_text", "_buffer", "_first", "_instead", "_out", "_position", "_refused", "_scanner", "ehlo", "errors", "esmtp",
        "helo", "junk", "mail", "offer", "phase", "recipients", "tls",
    )  # fmt: skip

    def __init__(self, offer: Offer, ehlo: bytes = b"") -> None:
        self.offer = offer
        self.ehlo = ehlo or offer.ehlo(tls=False)
        self.phase = Phase.SILENT
        self.helo = ""
        self.esmtp = False
        self.tls = False
        self.mail: Mail | None = None
        """The transaction's sender, once the door has accepted it."""
        self.recipients: list[Recipient] = []
        """The recipients that the door has accepted."""
        self.errors = 0
        self.junk = 0
        self._refused = False
        self._buffer = b""
        self._position = 0
        self._out: list[bytes] = []
        self._first = True
        self._before_text = False
        self._instead: Reply | None = None
        self._scanner: Scanner | None = None

    # --- the door's side ----------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Says 220; from here on commands count."""
        self._out.append(f"220 {self.offer.hostname} ESMTP\r\n".encode("ascii"))
        self.phase = Phase.COMMAND

    def receive(self, data: bytes) -> None:
        """Takes octets off the wire; then ask for events."""
        if self.phase is not Phase.CLOSED:
            self._buffer = self._buffer[self._position :] + data if self._position < len(self._buffer) else data
            self._position = 0

    def output(self) -> bytes:
        """The replies that are not sent yet."""
        out = self._out
        if not out:
            return b""
        joined = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return joined

    @property
    def pending(self) -> int:
        """Octets received and not understood yet: a part of a command, or what follows an event that is with the door."""
        return len(self._buffer) - self._position

    @property
    def memory(self) -> int:
        """Octets of the message under way that are kept."""
        return self._scanner.memory if self._scanner is not None else 0

    @property
    def text_octets(self) -> int:
        """Octets of the message under way that have come."""
        return self._scanner.held if self._scanner is not None else 0

    def answer(self, reply: Reply, *, error: bool = False) -> None:
        """Answers the event that is out. 2xx accepts a message (and MAIL, RCPT: see below); *error* counts towards the limit."""
        if self.phase is not Phase.ASKED:
            return
        self.phase = Phase.COMMAND
        self._before_text = False
        self._out.append(reply.encode())
        if error:
            self.errors += 1

    def accept_mail(self, mail: Mail) -> None:
        """Answers the event *mail* with 250: a transaction begins."""
        if self.phase is Phase.ASKED:
            self.phase, self.mail = Phase.COMMAND, mail
            self._out.append(b"250 2.1.0 Sender ok\r\n")

    def accept_recipient(self, recipient: Recipient) -> None:
        """Answers a recipient's event with 250; *recipient* is who the message goes to, once, however often it was named."""
        if self.phase is Phase.ASKED:
            self.phase = Phase.COMMAND
            if all(recipient.path != other.path for other in self.recipients):
                self.recipients.append(recipient)
            self._out.append(b"250 2.1.5 Recipient ok\r\n")

    def refuse_recipient(self, reply: Reply, *, error: bool) -> None:
        """Answers a recipient's event with *reply*."""
        self._refused = True
        self.answer(reply, error=error)

    def start_text(self) -> None:
        """Answers ``Data`` with 354."""
        if self.phase is Phase.ASKED:
            self.phase = Phase.TEXT
            self._before_text = False
            self._scanner = Scanner(self.offer.max_size, self.offer.text_line)
            self._out.append(b"354 End data with <CR><LF>.<CR><LF>\r\n")

    def end_transaction(self, reply: Reply) -> None:
        """Answers ``Body`` or ``Refusal`` with *reply*; sender and recipients are forgotten."""
        if self.phase is Phase.ASKED:
            if reply.code < 300:
                self.errors = self.junk = 0
            self._reset()
            self.answer(reply)

    def discard_text(self, reply: Reply) -> None:
        """Keeps nothing more of the message under way; its end brings a Refusal with *reply*."""
        if self._scanner is not None:
            self._scanner.discard()
            self._instead = reply

    def tls_started(self, ehlo: bytes) -> None:
        """The handshake is done: all that was said before is forgotten."""
        self.tls, self.helo, self.esmtp, self.ehlo = True, "", False, ehlo
        self._buffer, self._position = b"", 0
        self._reset()
        self.phase = Phase.COMMAND

    def close(self, reply: Reply | None = None) -> None:
        """Ends the session from our side, with *reply* as the last word."""
        if self.phase is not Phase.CLOSED:
            if reply is not None:
                self._out.append(reply.encode())
            self._end()

    # --- events -------------------------------------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        """What the door has to decide next; None: more octets, or an answer, are needed first."""
        while True:
            phase = self.phase
            if phase is Phase.COMMAND:
                if self.errors >= self.offer.errors_hard:
                    return self._violation("too many errors", say.TOO_MANY_ERRORS)
                if self._position >= len(self._buffer):
                    return None
                end = self._buffer.find(b"\n", self._position)
                event = self._command(end) if end >= 0 else self._part_of_a_command()
                if event is not None or end < 0:
                    return event
            elif phase is Phase.TEXT:
                return self._text()
            elif not self.pending or phase is Phase.CLOSED:
                return None
            elif phase is Phase.SILENT:
                return self._violation(smtp_params.foreign(self._buffer[:512]) or "spoke before the greeting", say.TOO_EARLY)
            elif phase is Phase.TLS:
                return self._violation("spoke in clear after STARTTLS")
            elif self._before_text:
                return self._violation("text before 354", say.DATA_TOO_EARLY)
            else:
                return None

    def _part_of_a_command(self) -> Event | None:
        """Judges a line that has not ended yet."""
        part = self._buffer[self._position : self._position + 512]
        if self.pending > self.offer.command_line + _EXTENSIONS:
            return self._violation(self._first_words(part) or "command line too long", say.TOO_LONG)
        if self._first and part[:2] == b"\x16\x03":
            return self._violation("foreign protocol")
        return None

    def _command(self, end: int) -> Event | None:
        """Runs the command line that ends with the LF at *end*; None: it was answered here."""
        buffer, start = self._buffer, self._position
        limit = self.offer.command_line
        self._position = end + 1
        line = buffer[start:end]
        if end - start > limit + _EXTENSIONS:
            return self._violation(self._first_words(line[:512]) or "command line too long", say.TOO_LONG)
        if line[-1:] != b"\r":
            return self._violation(self._first_words(line) or "bare LF in a command", say.BARE)
        line = line[:-1].rstrip(b" \t")
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        known = _VERBS.get(verb)
        if self._first:
            self._first = False
            if known is None and (reason := smtp_params.foreign(line)):
                return self._violation(reason)
        if end + 1 - start > limit and verb not in (b"MAIL", b"RCPT", b"AUTH"):
            return self._violation("command line too long", say.TOO_LONG)
        if smtp_params.has_controls(line):
            return self._control_characters(verb)
        if known is None:
            return self._error(say.UNKNOWN)
        if self.helo and not self.esmtp and self._position < len(buffer) and verb != b"QUIT":
            return self._violation("pipelined after HELO", say.TOO_EARLY)
        return known(self, argument)

    def _text(self) -> Event | None:
        scanner = self._scanner
        assert scanner is not None
        if self._position >= len(self._buffer):
            return None
        data = self._buffer[self._position :] if self._position else self._buffer
        self._position += scanner.feed(data)
        if scanner.offence:
            self.phase = Phase.ASKED
            self._scanner = None
            if scanner.offence == "endless":
                return Refusal(self._too_large(), "far over the size limit", close=True)
            return Refusal(say.BARE_TEXT, scanner.offence, close=True)
        if not scanner.done:
            return None
        self.phase = Phase.ASKED
        self._scanner = None
        if not self.esmtp and self._position < len(self._buffer):
            return self._violation("pipelined after HELO", say.TOO_EARLY)
        if self._instead is not None:
            return Refusal(self._instead, "no memory", close=False)
        if scanner.too_long:
            return Refusal(say.LONG_TEXT, "line too long", close=False)
        if scanner.too_large:
            return Refusal(self._too_large(), "over the size limit", close=False)
        return Body(*scanner.content())

    def _too_large(self) -> Reply:
        return Reply(552, "5.3.4", f"The message is larger than the limit of {self.offer.max_size} octets.")

    # --- faults -------------------------------------------------------------------------------------------------------

    def _first_words(self, line: bytes) -> str:
        return smtp_params.foreign(line) if self._first else ""

    def _control_characters(self, verb: bytes) -> Event | None:
        if verb in (b"EHLO", b"HELO"):
            return self._error(Reply(501, "5.5.4", "HELO and EHLO need one domain name or address literal."))
        if verb in (b"MAIL", b"RCPT"):
            return self._violation("control character in a path", Reply(501, "5.1.3", "The address holds a control character."))
        return self._violation("control character in a command", say.BARE)

    def _violation(self, reason: str, reply: Reply | None = None) -> Close:
        if reply is not None and reason not in ("foreign protocol", "binary noise"):
            self._out.append(reply.encode())
        self._end()
        return Close(reason)

    def _end(self) -> None:
        self.phase = Phase.CLOSED
        self._buffer, self._position = b"", 0
        self._scanner = None
        self.mail = None
        self.recipients = []

    def _error(self, reply: Reply) -> Error | None:
        self.errors += 1
        if self.errors > self.offer.errors_soft:
            self.phase = Phase.ASKED
            return Error(reply)
        self._out.append(reply.encode())
        return None

    def _reset(self) -> None:
        self.mail = None
        self._refused = False
        self._scanner = None
        self._instead = None
        if self.recipients:
            self.recipients = []

    # --- commands -----------------------------------------------------------------------------------------------------

    def _hello(self, argument: bytes, *, esmtp: bool) -> Event | None:
        if self._position < len(self._buffer):
            return self._violation("pipelined after EHLO", say.TOO_EARLY)
        try:
            helo = smtp_params.helo_name(argument)
        except ArgumentError as error:
            return self._error(Reply(error.code, error.enhanced, str(error)))
        self._reset()
        self.helo, self.esmtp = helo, esmtp
        self._out.append(self.ehlo if esmtp else f"250 {self.offer.hostname}\r\n".encode("ascii"))
        return None

    def _mail(self, argument: bytes) -> Event | None:
        if not self.helo or self.mail is not None:
            return self._error(say.BAD_SEQUENCE)
        try:
            mail = smtp_params.mail(argument, esmtp=self.esmtp, max_size=self.offer.max_size, auth=self.offer.auth)
        except (ArgumentError, AddressError) as error:
            return self._error(Reply(error.code, error.enhanced, str(error)))
        self.phase = Phase.ASKED
        return mail

    def _rcpt(self, argument: bytes) -> Event | None:
        mail = self.mail
        if mail is None:
            return self._error(say.BAD_SEQUENCE)
        # A null sender is a report's, and a report has one reader.
        if len(self.recipients) >= (self.offer.recipients if mail.path.local else 1):
            self._out.append(say.TOO_MANY_RECIPIENTS.encode())
            return None
        try:
            recipient = smtp_params.recipient(argument, esmtp=self.esmtp, smtputf8=mail.smtputf8)
        except (ArgumentError, AddressError) as error:
            self._refused = True
            return self._error(Reply(error.code, error.enhanced, str(error)))
        self.phase = Phase.ASKED
        return recipient

    def _data(self, argument: bytes) -> Event | None:
        if self._position < len(self._buffer):
            return self._violation("text before 354", say.DATA_TOO_EARLY)
        if argument:
            return self._error(say.NO_ARGUMENT)
        if self.mail is None or not self.recipients:
            return self._error(Reply(554, "5.5.1", "No valid recipients.") if self._refused else say.BAD_SEQUENCE)
        self.phase = Phase.ASKED
        self._before_text = True
        return Data()

    def _rset(self, argument: bytes) -> Event | None:
        if argument:
            return self._error(say.NO_ARGUMENT)
        self._reset()
        return self._junk(b"250 2.0.0 Ok\r\n")

    def _noop(self, argument: bytes) -> Event | None:
        return self._junk(b"250 2.0.0 Ok\r\n")

    def _vrfy(self, argument: bytes) -> Event | None:
        return self._junk(b"252 2.5.0 Send the message to find out.\r\n")

    def _junk(self, reply: bytes) -> Event | None:
        self.junk += 1
        if self.junk > self.offer.junk_commands:
            self.errors += 1
        self._out.append(reply)
        return None

    def _not_offered(self, argument: bytes) -> Event | None:
        return self._error(say.NOT_OFFERED)

    def _auth(self, argument: bytes) -> Event | None:
        return self._error(Reply(503, "5.5.1", "AUTH is not offered here."))

    def _starttls(self, argument: bytes) -> Event | None:
        if self._position < len(self._buffer):
            return self._violation("commands behind STARTTLS", Reply(501, "5.5.1", "Nothing may follow STARTTLS."))
        if argument:
            return self._error(say.NO_ARGUMENT)
        if not self.offer.starttls:
            return self._error(say.NOT_OFFERED)
        if self.tls or not self.helo or self.mail is not None:
            return self._error(say.BAD_SEQUENCE)
        self._out.append(b"220 2.0.0 Ready to start TLS\r\n")
        self.phase = Phase.TLS
        return StartTls()

    def _quit(self, argument: bytes) -> Event | None:
        if argument:
            return self._error(say.NO_ARGUMENT)
        self._out.append(b"221 2.0.0 Bye\r\n")
        self._end()
        return Close()


_VERBS: dict[bytes, Callable[[Server, bytes], Event | None]] = {
    b"EHLO": partial(Server._hello, esmtp=True), b"HELO": partial(Server._hello, esmtp=False), b"MAIL": Server._mail,
    b"RCPT": Server._rcpt, b"DATA": Server._data, b"RSET": Server._rset, b"NOOP": Server._noop, b"VRFY": Server._vrfy,
    b"QUIT": Server._quit, b"STARTTLS": Server._starttls, b"EXPN": Server._not_offered, b"HELP": Server._not_offered,
    b"TURN": Server._not_offered, b"ETRN": Server._not_offered, b"AUTH": lambda server, argument: server._auth(argument),
}  # fmt: skip
