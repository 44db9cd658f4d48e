"""The server's side of a submission session, without I/O: an SMTP session in which the client signs in.

What it is: ``SubmissionServer``, the codec of ``wire.smtp`` with AUTH: who may give it when, its continuation lines, its end.
Who calls it: ``doors.submission``.
Must never: ask for or take a password before TLS; keep one after its event; run a second AUTH.
Sources: RFC 4954 sections 3 to 6 (AUTH, the codes 235, 454, 500, 501, 503, 504, 534, 538), RFC 6409 section 4.3, RFC 8314 section 3.3
(implicit TLS); hostile-inputs catalogue S36, S38.
"""

from __future__ import annotations

from gateway.reply import Reply
from gateway.wire import smtp_auth
from gateway.wire import smtp_events as say
from gateway.wire.smtp import Server
from gateway.wire.smtp_auth import AuthError, Exchange
from gateway.wire.smtp_events import Event, Offer, Phase

_NEEDS_TLS = Reply(538, "5.7.11", "Start TLS before you sign in.")
_NO_MECHANISM = Reply(504, "5.5.4", "This way to sign in is not known here; use PLAIN or LOGIN.")
_WEAK = Reply(534, "5.7.9", "This way to sign in is too weak; use PLAIN or LOGIN under TLS.")
_NO_ARGUMENT = Reply(501, "5.5.4", "AUTH needs the name of a mechanism.")
_CANCELLED = Reply(501, "5.7.0", "Sign-in was cancelled.")
_ALREADY = Reply(503, "5.5.1", "You are signed in already.")
_TOO_LONG = Reply(500, "5.5.6", "The response is too long.")


class SubmissionServer(Server):
    """One session of a submission door."""

    __slots__ = ("_exchange", "barred", "signed_in")

    def __init__(self, offer: Offer, ehlo: bytes = b"") -> None:
        super().__init__(offer, ehlo)
        self.signed_in = False
        self.barred: Reply | None = None
        """Why nobody may sign in from where this client is; the answer to AUTH."""
        self._exchange: Exchange | None = None

    def under_tls(self, ehlo: bytes) -> None:
        """Implicit TLS: the handshake was before the first octet. Call before ``greet``."""
        self.tls, self.ehlo = True, ehlo

    def accept_login(self, reply: Reply) -> None:
        """Answers ``Credentials`` with *reply*, 235: the client is who it says, for the rest of the session."""
        if self.phase is Phase.ASKED:
            self.signed_in = True
            self.answer(reply)

    def next_event(self) -> Event | None:
        """As in the base; the responses of a client that signs in are lines of their own."""
        while True:
            event = super().next_event()
            if event is not None or self.phase is not Phase.AUTH:
                return event
            before = self._position
            event = self._response()
            if event is not None or self._position == before:
                return event

    def _auth(self, argument: bytes) -> Event | None:
        """The command."""
        if not self.esmtp or self.mail is not None:
            return self._error(say.BAD_SEQUENCE)
        if not self.tls:
            return self._error(_NEEDS_TLS)
        if self.signed_in:
            return self._error(_ALREADY)
        if self.barred is not None:
            return self._error(self.barred)
        name, space, initial = argument.partition(b" ")
        mechanism = name.decode("ascii", "replace").upper()
        if mechanism not in smtp_auth.MECHANISMS:
            return self._error(_NO_ARGUMENT if not name else _WEAK if mechanism in smtp_auth.WEAK else _NO_MECHANISM)
        self._exchange = Exchange(mechanism)
        if not space:
            self._ask()
            return None
        return self._take(b"" if initial == b"=" else initial)

    def _ask(self) -> None:
        assert self._exchange is not None
        self.phase = Phase.AUTH
        self._out.append(self._exchange.challenge())

    def _response(self) -> Event | None:
        """The next response line, once it is there."""
        buffer, start = self._buffer, self._position
        end = buffer.find(b"\n", start)
        if (len(buffer) if end < 0 else end) - start > smtp_auth.LONGEST + 2:
            return self._violation("response too long", _TOO_LONG)
        if end < 0:
            return None
        self._position = end + 1
        line = buffer[start:end]
        if line[-1:] != b"\r":
            return self._violation("bare LF in a response", say.BARE)
        self.phase = Phase.COMMAND
        return self._take(line[:-1])

    def _take(self, response: bytes) -> Event | None:
        """A response, first or later, without its line end."""
        exchange = self._exchange
        assert exchange is not None
        self._exchange = None
        if response == b"*":
            return self._error(_CANCELLED)
        try:
            credentials = exchange.respond(response)
        except AuthError as error:
            return self._error(Reply(501, "5.5.2", str(error)))
        if credentials is None:
            self._exchange = exchange
            self._ask()
            return None
        # What was read is not kept for the next command: it holds the password.
        self._buffer, self._position = self._buffer[self._position :], 0
        self.phase = Phase.ASKED
        return credentials

    def _end(self) -> None:
        self._exchange = None
        super()._end()
