"""What passes between an SMTP session's codec and its door: the offer, the events, and the replies that need no policy.

What it is: values.
Who calls it: ``wire.smtp`` makes events, ``doors.smtp`` takes them.
Must never: hold more than one message.
Sources: RFC 5321 section 4.2, RFC 3463 and 5248 (enhanced codes), RFC 1869 (EHLO keywords), RFC 4954 (AUTH).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gateway.envelope import Recipient
from gateway.reply import Reply
from gateway.wire.smtp_auth import MECHANISMS, Credentials
from gateway.wire.smtp_params import Mail

BAD_SEQUENCE = Reply(503, "5.5.1", "Bad sequence of commands.")
UNKNOWN = Reply(500, "5.5.2", "The command is not known.")
NO_ARGUMENT = Reply(501, "5.5.4", "The command takes no argument.")
NOT_OFFERED = Reply(502, "5.5.1", "The command is not offered.")
TOO_LONG = Reply(500, "5.5.2", "The command line is too long.")
BARE = Reply(500, "5.5.2", "Command lines end in CR LF and hold no control characters.")
TOO_EARLY = Reply(554, "5.5.0", "The client spoke before its turn.")
DATA_TOO_EARLY = Reply(421, "4.5.0", "Message text came before the server asked for it.")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients in one transaction; send the rest in another.")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors; closing the session.")
BARE_TEXT = Reply(550, "5.6.0", "The message holds a bare CR, a bare LF or NUL; lines end in CR LF.")
LONG_TEXT = Reply(550, "5.6.0", "The message holds a line longer than 998 octets.")


@dataclass(frozen=True, slots=True)
class Offer:
    """What the server says of itself and its limits; one object for all sessions under one config."""

    hostname: str
    max_size: int
    recipients: int = 100
    command_line: int = 512
    text_line: int = 1000
    errors_soft: int = 10
    errors_hard: int = 20
    junk_commands: int = 100
    starttls: bool = False
    auth: bool = False
    """Clients sign in here, once they are under TLS."""

    def ehlo(self, *, tls: bool, auth: bool = False) -> bytes:
        """The reply to EHLO; *auth*: this client can sign in now."""
        lines = [self.hostname, "PIPELINING", f"SIZE {self.max_size}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        if self.starttls and not tls:
            lines.append("STARTTLS")
        if self.auth and tls and auth:
            lines.append("AUTH " + " ".join(MECHANISMS))
        lines.append("DSN")
        return "".join(f"250{' ' if line == 'DSN' else '-'}{line}\r\n" for line in lines).encode("ascii")


class Phase(enum.IntEnum):
    """Where a session stands."""

    SILENT = 0
    """Before the greeting."""
    COMMAND = 1
    ASKED = 2
    """An event is with the door."""
    TEXT = 3
    TLS = 4
    CLOSED = 5
    AUTH = 6
    """A client that signs in was asked for a response."""


@dataclass(slots=True)
class Data:
    """DATA came: answer with ``start_text`` or ``answer``."""


@dataclass(slots=True)
class Body:
    """A whole message came: answer it."""

    content: bytes
    sha256: str


@dataclass(slots=True)
class Refusal:
    """A message is refused for its form. Answer with *reply*; with *close* the session ends after it."""

    reply: Reply
    reason: str
    close: bool


@dataclass(slots=True)
class Error:
    """An error past the soft limit: answer *reply*, but not at once."""

    reply: Reply


@dataclass(slots=True)
class StartTls:
    """The reply is out: negotiate, then call ``tls_started``."""


@dataclass(slots=True)
class Close:
    """The session is over; replies, if any, are in ``output``. *reason* is empty for QUIT."""

    reason: str = ""


Event = Mail | Recipient | Data | Body | Refusal | Error | StartTls | Close | Credentials
