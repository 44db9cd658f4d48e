"""The mail program's side of an IMAP session, without I/O: octets in, events out.

What it is: ``Client``, one object a session. It cuts what a mail program says into commands with their literals. What needs no
judgement goes on in pieces as it came; LOGIN, AUTHENTICATE, APPEND and STARTTLS are events; what is hidden is refused.
Who calls it: ``doors.imap``.
Must never: do I/O or know a clock; raise on any octets; let a server take for a command what is a literal here, or the other way round:
a line that readers could cut differently is refused, and no literal goes to a server before it has asked for it.
Sources: RFC 9051, 3501 section 9 (grammar), 7888, 3502, 6855, 2177, 4959; hostile-inputs catalogue I01, I03, I06, I09, I10.
"""

from __future__ import annotations

from gateway.wire import imap_words
from gateway.wire.imap_append import Filing
from gateway.wire.imap_commands import CLEAR, JUDGED, MOVING, PASSED, WIDE, bad, bye, no, unfit
from gateway.wire.imap_events import (
    AppendSize,
    Authenticate,
    AuthenticateLine,
    ClientEvent,
    Close,
    Forward,
    Goes,
    ImapError,
    Limits,
    Phase,
    Say,
    StartTls,
)
from gateway.wire.imap_stream import Gathered, Stream
from gateway.wire.imap_whole import Moving, Signing
from gateway.wire.imap_words import Mark

_SHORT = 1024
"""Octets of a literal that is a login, a password or the name of a mailbox."""
_ENDLESS = 10
"""How often the size of the largest message is skipped before the session ends."""


class Client:
    """One session. ``receive`` octets; take events, and answer each as its words ask, until there are none."""

    __slots__ = (
        "_goes", "_judged", "_left", "_limits", "_next", "_open", "_opened", "_parts", "_phase", "_silent", "_stream", "_tag", "_used",
        "_verb", "errors", "moves_judged", "signed_in", "tls",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self.signed_in = False
        """LOGIN or AUTHENTICATE has had its OK: another one is refused."""
        self.tls = True
        """False on a listener with STARTTLS before it: LOGIN and AUTHENTICATE are refused, STARTTLS is an event."""
        self.errors = 0
        """Commands in a row that are none."""
        self.moves_judged = False
        """COPY, MOVE and RENAME are events."""
        self._limits = limits
        self._phase = Phase.LINE
        self._stream = Stream()
        self._open: set[bytes] = set()  # tags that the server has not answered
        self._next: ClientEvent | None = None
        # of the command under way
        self._tag = b""
        self._verb = b""
        self._used = 0  # octets of its lines
        self._opened = 0
        self._goes = Goes.ON
        self._left = 0  # of the literal
        self._silent = False  # the client does not wait for the + of this literal
        self._parts = Gathered()
        self._judged: Filing | Signing | Moving | None = None

    # --- the door's side ----------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Takes octets off the wire; then ask for events."""
        if self._phase is not Phase.CLOSED:
            self._stream.receive(data)

    @property
    def pending(self) -> int:
        """Octets received and not taken yet: stop reading from the client while they are many."""
        return len(self._stream)

    @property
    def memory(self) -> int:
        """Octets of the message under way that are kept."""
        return self._parts.size + (self._judged.held if isinstance(self._judged, Filing) else 0)

    @property
    def idle(self) -> bool:
        """The client waits in IDLE."""
        return self._phase is Phase.IDLE

    @property
    def amid(self) -> bool:
        """The client is in the middle of a command."""
        return self._phase in (Phase.REST, Phase.LITERAL, Phase.WAIT, Phase.RESPONSE) or self.pending > 0

    def proceed(self) -> None:
        """The event that is out is answered (by a reply of ours), and its tag free: goes on. Only what the server has holds its tag."""
        if self._phase is Phase.ASKED:
            self._end_command()

    def take(self) -> None:
        """Answers ``AppendSize``: there is room (the ``+``, where one is due, comes as the next event)."""
        if self._phase is Phase.ASKED and self._judged is not None and self._judged.announced is not None:
            self._keep(self._judged.announced)

    def refuse(self, octets: bytes) -> None:
        """Answers ``AppendSize`` or ``Append`` with *octets* (tagged NO), which come as the next event; the rest is skipped.

        Works as well while a message comes.
        """
        if self._judged is None or self._goes is not Goes.KEPT:
            return
        self._parts = Gathered()
        self._refuse(Say(octets, "refused"), self._judged.announced)

    def tls_started(self) -> None:
        """The handshake is done: what came in clear is forgotten."""
        self.tls = True
        self._stream.clear()
        self._end_command()

    # --- what the server said -----------------------------------------------------------------------------------------

    def go_ahead(self) -> bool:
        """The server said ``+``, and not to steps of the door's: says whether the client is to see it."""
        if self._phase is Phase.WAIT:
            if self._verb == b"IDLE":
                self._phase = Phase.IDLE
                return True
            self._phase = Phase.LITERAL
            return not self._silent
        if self._phase is Phase.ASKED and self._verb == b"AUTHENTICATE":
            self._phase = Phase.RESPONSE
            return True
        return False

    def answered(self, tag: bytes, ok: bool) -> None:
        """The server's tagged reply to *tag* is there; tell all of them."""
        self._open.discard(tag)
        if tag != self._tag or self._phase in (Phase.LINE, Phase.CLOSED):
            return
        if self._phase is Phase.WAIT and self._silent:
            # The literal is on its way, and the server does not want it: nobody gets it, nor what is left of the command.
            self._goes, self._phase = Goes.NOWHERE, Phase.LITERAL
        elif self._phase in (Phase.LITERAL, Phase.REST):
            if self._goes is Goes.ON:
                self._close("The server answered before the command was whole.", "answered too early")
        else:
            if ok and self._verb in (b"LOGIN", b"AUTHENTICATE"):
                self.signed_in = True
            self._end_command()

    # --- events -------------------------------------------------------------------------------------------------------

    def next_event(self) -> ClientEvent | None:
        """What is to be done next; None: more octets, an answer, or a word of the server are needed first."""
        event: ClientEvent | None
        while True:
            if self._next is not None:
                event, self._next = self._next, None
                return event
            phase = self._phase
            if phase in (Phase.WAIT, Phase.ASKED, Phase.CLOSED):
                return None
            if phase is Phase.LITERAL:
                event = self._literal()
                if event is not None or self._phase is Phase.LITERAL:
                    return event
                continue
            before = len(self._stream)
            try:
                line = self._stream.line(self._limits.line - self._used)
            except ImapError as error:
                self._close(str(error), "no line of a command")
                continue
            if line is None:
                return None
            self._used += len(line) + 2
            takes = {Phase.LINE: self._command, Phase.REST: self._rest, Phase.RESPONSE: self._response}.get(phase, self._done)
            event = takes(line)
            if event is not None or (len(self._stream) == before and self._next is None):
                return event  # None: the command waits for the reply to another one

    def _literal(self) -> ClientEvent | None:
        """Octets of the literal under way."""
        piece = self._stream.piece(self._left)
        if not piece and self._left:
            return None
        self._left -= len(piece)
        if not self._left:
            self._phase = Phase.REST
        if self._goes is Goes.KEPT:
            self._parts.add(piece)
            return self._kept() if not self._left else None
        return Forward(piece) if piece and self._goes is Goes.ON else None

    def _kept(self) -> ClientEvent | None:
        """A literal of a command that is read whole is there."""
        assert self._judged is not None
        whole = self._parts.take()
        if reason := self._judged.literal(whole):
            self._goes, self._judged = Goes.NOWHERE, None
            return Say(no(self._tag, "UNKNOWN-CTE", reason), "NUL in a message")
        return None

    def _keep(self, mark: Mark) -> None:
        """Reads a literal of such a command."""
        self._phase, self._left = Phase.LITERAL, mark.size
        if mark.waits:
            self._next = Say(b"+ OK\r\n")

    # --- commands -----------------------------------------------------------------------------------------------------

    def _command(self, line: bytes) -> ClientEvent | None:
        """A line that begins a command."""
        tag, verb, at = imap_words.head(line)
        if tag in self._open:
            # The server's replies to both could not be told apart: this one waits for the first.
            self._stream.back(len(line) + 2)
            self._used = 0
            return None
        self._tag, self._verb = tag, verb
        self._goes, self._opened = Goes.KEPT, 0
        try:
            mark = imap_words.mark(line, first=True)
        except ImapError as error:
            return self._error(str(error), None)
        if verb not in PASSED and verb not in JUDGED:
            return self._error("The command is not offered here." if verb else imap_words.BROKEN, mark)
        if not self.tls and verb not in CLEAR:
            if verb in (b"LOGIN", b"AUTHENTICATE"):
                return self._refuse(Say(no(tag, "PRIVACYREQUIRED", "Start TLS before you sign in."), "sign-in in clear"), mark)
            return self._error("Start TLS and sign in first.", mark)
        if verb in PASSED and not (self.moves_judged and verb in MOVING):
            if reason := unfit(verb, line, at, literal=mark is not None):
                return self._error(reason, mark)
            self._goes = Goes.ON
            return self._onward(line, mark, first=True)
        try:
            return self._to_judge(line, at, mark)
        except ImapError as error:
            return self._error(str(error), mark)

    def _to_judge(self, line: bytes, at: int, mark: Mark | None) -> ClientEvent | None:
        """A first line of what is an event. Raises ImapError."""
        verb = self._verb
        if verb == b"STARTTLS":
            if self.tls or len(line) > at:
                return self._error("TLS is there already." if self.tls else imap_words.BROKEN, mark)
            return self._ask(StartTls(self._tag))
        if verb == b"APPEND":
            if not self.signed_in:
                return self._error("Sign in first.", mark)
            self._judged = Filing(self._tag, self._limits)
            return self._part(line, at, mark)
        if verb in MOVING:
            self._judged = Moving(self._tag)
            return self._part(line, at, mark)
        if self.signed_in:
            return self._error("You are signed in already.", mark)
        if verb == b"LOGIN":
            self._judged = Signing(self._tag)
            return self._part(line, at, mark)
        if mark is not None:
            raise ImapError(imap_words.BROKEN)
        mechanism, initial = imap_words.mechanism(line, at)
        return self._ask(Authenticate(self._tag, mechanism, initial, line + b"\r\n"))

    def _rest(self, line: bytes) -> ClientEvent | None:
        """A line behind a literal."""
        try:
            mark = imap_words.mark(line, first=False)
            if self._goes is Goes.ON:
                return self._onward(line, mark, first=False)
            if self._goes is Goes.NOWHERE:
                self._skip(mark)
                return None
            try:
                return self._part(line, 0, mark)
            except ImapError as error:
                return self._error(str(error), mark)
        except ImapError as error:
            if self._goes is Goes.ON:
                return self._close(str(error), "not well formed behind a literal")
            if self._goes is Goes.KEPT:
                return self._error(str(error), None)
            self._end_command()
            return None

    def _onward(self, line: bytes, mark: Mark | None, *, first: bool) -> ClientEvent | None:
        """A line of a command that goes on."""
        tag, verb = (self._tag, self._verb) if first else (b"", b"")
        self._opened += line.count(b"(")
        if self._opened > imap_words.DEEP and not first:
            return self._close("The command has too many parentheses.", "too many parentheses")
        if mark is not None and mark.size > (self._limits.literal if self._verb in WIDE else _SHORT):
            if not first:
                return self._close("A literal is too large.", "literal too large")
            self._goes = Goes.KEPT
            return self._refuse(Say(no(tag, "LIMIT", "A literal is too large."), "literal too large"), mark)
        if first:
            self.errors = 0
            self._open.add(tag)
        if mark is not None:
            self._phase, self._left, self._silent = Phase.WAIT, mark.size, not mark.waits
            return Forward(imap_words.asked(line), tag, verb, waits=True)
        if first and verb == b"IDLE":
            self._phase, self._silent = Phase.WAIT, False
            return Forward(line + b"\r\n", tag, verb, waits=True)
        self._end_command()
        return Forward(line + b"\r\n", tag, verb)

    def _part(self, line: bytes, at: int, mark: Mark | None) -> ClientEvent | None:
        """A line of such a command. Raises ImapError."""
        judged = self._judged
        assert judged is not None
        event = judged.line(line, at, mark)
        if isinstance(event, Say):
            return self._refuse(event, mark)
        if isinstance(judged, Filing) and judged.announced is not None:
            self._next = AppendSize(self._tag, judged.number, judged.announced.size)
            self._phase = Phase.ASKED
            return event
        if event is not None:
            return self._ask(event)
        assert mark is not None  # a login, a password or the name of a mailbox is to come
        if mark.size > _SHORT:
            return self._refuse(Say(no(self._tag, "LIMIT", "A literal is too large."), "literal too large"), mark)
        self._keep(mark)
        return None

    def _response(self, line: bytes) -> ClientEvent | None:
        """A line of AUTHENTICATE. What is no base64 cancels."""
        self._phase, self._used = Phase.ASKED, 0
        if imap_words.is_base64(line):
            return AuthenticateLine(self._tag, line, line + b"\r\n")
        return AuthenticateLine(self._tag, None, b"*\r\n")

    def _done(self, line: bytes) -> ClientEvent | None:
        """The line that ends IDLE."""
        if line.upper() != b"DONE":
            return self._close("Expected DONE.", "no DONE after IDLE")
        self._end_command()
        return Forward(line + b"\r\n", verb=b"DONE")

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _ask(self, event: ClientEvent) -> ClientEvent:
        self.errors = 0
        self._phase = Phase.ASKED
        return event

    def _error(self, text: str, mark: Mark | None) -> ClientEvent | None:
        """BAD: what came is no command of ours."""
        self.errors += 1
        if self.errors >= self._limits.errors:
            return self._close("Too many errors.", "too many errors")
        return self._refuse(Say(bad(self._tag, text), text), mark)

    def _refuse(self, say: Say, mark: Mark | None) -> ClientEvent | None:
        """*say* answers the command; what is left of it, after the literal that *mark* announces, goes nowhere."""
        self._next = say
        self._judged = None
        self._goes = Goes.NOWHERE
        if self._phase is not Phase.LITERAL:
            self._skip(mark)
        return None

    def _skip(self, mark: Mark | None) -> None:
        """After a line of a command that goes nowhere."""
        if mark is None or mark.waits:
            # A client that waits for + has the tagged reply instead.
            self._end_command()
        elif mark.size > self._limits.message * _ENDLESS:
            self._close("A literal is far too large.", "endless literal")
        else:
            self._phase, self._left = Phase.LITERAL, mark.size

    def _end_command(self) -> None:
        self._phase = Phase.LINE
        self._used = self._left = 0
        self._judged = None
        if self._parts.size:
            self._parts = Gathered()

    def _close(self, text: str, reason: str) -> ClientEvent | None:
        """Ends the session; the event is the next one."""
        tag = self._tag if self._phase in (Phase.REST, Phase.LITERAL, Phase.WAIT) and self._goes is not Goes.NOWHERE else b""
        said = self._next.octets if isinstance(self._next, Say) else b""
        self._end_command()
        self._phase = Phase.CLOSED
        self._stream.clear()
        self._next = Close(said + bad(tag, text) + bye(text), reason)
        return None
