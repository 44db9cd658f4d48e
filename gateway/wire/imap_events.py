"""What passes between the IMAP codecs and their door: limits, the events of both sides.

What it is: values. Where a mail program's command goes on to the server, its octets are in the event as they came, but for one thing:
a non-synchronising literal ``{n+}`` goes on as ``{n}``, because a server that refuses a command reads what follows as commands.
Who calls it: ``wire.imap`` and ``wire.imap_responses`` make events, ``doors.imap`` takes them.
Must never: show a password or a message in a repr.
Sources: RFC 9051 and 3501 (commands, responses), 7888 (LITERAL+, LITERAL-), 3502 (MULTIAPPEND), 6855 (UTF8), 2177 (IDLE), 4959 (SASL-IR).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class ImapError(ValueError):
    """Octets that are no IMAP, or over a limit. The text is one plain sentence that holds nothing of them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a mail program may send; one object for all sessions under one config."""

    message: int
    """Octets of a message of APPEND."""
    line: int = 65_536
    """Octets of a command, literals aside."""
    literal: int = 1_000_000
    """Octets of a literal of another command than APPEND."""
    messages: int = 1000
    """Messages of one APPEND."""
    errors: int = 20
    """Commands in a row that are none, until the session ends."""


class Phase(enum.IntEnum):
    """Where a mail program stands."""

    LINE = 0
    """At the begin of a command."""
    REST = 1
    """In a command, behind a literal."""
    LITERAL = 2
    WAIT = 3
    """For the server's ``+``."""
    ASKED = 4
    """An event is with the door."""
    RESPONSE = 5
    """AUTHENTICATE: a line of it is to come."""
    IDLE = 6
    CLOSED = 7


class Goes(enum.IntEnum):
    """Where the octets of the command under way go."""

    ON = 0
    """To the server."""
    KEPT = 1
    """To an event."""
    NOWHERE = 2


Step = tuple[bytes, ...]
"""A part of a command that may be sent at once. Behind each step but the last the server's ``+`` is to be awaited, which the client does
not see; a tagged reply instead of it ends the command, and the steps that are left are not sent."""


# --- the mail program's side -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Forward:
    """Octets for the server, as they are."""

    octets: bytes = field(repr=False)
    tag: bytes = b""
    """At the begin of a command: its tag. Tell ``Order.sent``."""
    verb: bytes = b""
    """With *tag*: the command in capitals, such as ``UID FETCH``, ``IDLE``, ``LOGOUT``; ``DONE`` (without tag) ends IDLE."""
    waits: bool = False
    """The server has to say ``+`` before anything more is taken from the client: call ``Client.go_ahead`` then."""


@dataclass(slots=True)
class Say:
    """Octets for the client, from us: give them to ``Order.say``. *reason*: why a command was refused; empty for a ``+`` of ours."""

    octets: bytes
    reason: str = ""


@dataclass(slots=True)
class Close:
    """The session ends: *octets* are its last words (``Order.say``). What the server has of a command is not whole."""

    octets: bytes
    reason: str


@dataclass(slots=True)
class Login:
    """LOGIN: judge it, then send *steps* (tell ``Order.sent``) and call ``Client.answered`` at the server's reply, or refuse it with
    ``Order.say`` and ``Client.proceed``. Until then nothing is taken from the client."""

    tag: bytes
    user: bytes = field(repr=False)
    password: bytes = field(repr=False)
    steps: list[Step] = field(repr=False)
    """The command as it came."""


@dataclass(slots=True)
class Authenticate:
    """AUTHENTICATE: judge it as Login. Send *octets*; the server's ``+`` goes to the client and to ``Client.go_ahead``."""

    tag: bytes
    mechanism: str
    """In capitals."""
    initial: bytes | None = field(repr=False)
    """The initial response in base64 as it came (``=`` is an empty one); None: there is none."""
    octets: bytes = field(repr=False)


@dataclass(slots=True)
class AuthenticateLine:
    """A response to the server's ``+``: judge it, then send *octets*, or send ``*`` CRLF and have the reply replaced
    (``Order.instead``). Nothing is taken from the client before ``Client.go_ahead`` or ``Client.answered``."""

    tag: bytes
    response: bytes | None = field(repr=False)
    """In base64 as it came; None: the client cancels with ``*``."""
    octets: bytes = field(repr=False)


@dataclass(slots=True)
class AppendSize:
    """A message of *size* octets is to come: make room and call ``Client.take``, or ``Client.refuse``."""

    tag: bytes
    number: int
    """1 for the first message of the command."""
    size: int


@dataclass(slots=True)
class Mailbox:
    """The name of a mailbox as a command had it."""

    name: bytes
    """Its octets, modified UTF-7 or UTF-8, without quotes."""
    token: bytes
    """As it stood in the command; empty for a literal."""


@dataclass(slots=True)
class Append:
    """One message of APPEND. With *more* another follows: go on. Without, the command is whole: judge all its messages and send
    ``imap_commands.append`` of them to the server, or refuse them with ``Order.say`` and ``Client.proceed``; nothing is taken from
    the client before ``Client.answered`` or ``Client.proceed``. A ``Say`` instead of the next event: the command is refused."""

    tag: bytes
    mailbox: Mailbox
    flags: bytes
    """``(\\Seen \\Draft)`` as it came, with its parentheses; empty: none were given."""
    date: bytes
    """The date-time as it came, with its quotes; empty: none was given."""
    message: bytes = field(repr=False)
    literal8: bool
    """It came as ``~{n}``, and goes on so."""
    utf8: bool
    """It came as ``UTF8 (~{n})``."""
    number: int
    more: bool


@dataclass(slots=True)
class StartTls:
    """STARTTLS: answer with ``Order.say``, negotiate, then call ``Client.tls_started``; or ``Client.proceed``."""

    tag: bytes


@dataclass(slots=True)
class Move:
    """COPY, MOVE or RENAME, where ``Client.moves_judged``: judge *target*, then send *steps* or refuse it, as for Login."""

    tag: bytes
    target: bytes
    """The mailbox that gets something, without quotes."""
    steps: list[Step]
    """The command as it came."""


ClientEvent = Move | Forward | Say | Close | Login | Authenticate | AuthenticateLine | AppendSize | Append | StartTls


# --- the server's side -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Pass:
    """Octets for the client: untagged responses, whole or in part."""

    octets: bytes = field(repr=False)


@dataclass(slots=True)
class Greeting:
    """The server's first response, whole; capabilities that stay are in it."""

    word: bytes
    """OK, PREAUTH or BYE."""
    octets: bytes


@dataclass(slots=True)
class Tagged:
    """A tagged reply, whole: a command is done. Show *octets* if ``Order.replied`` says so."""

    tag: bytes
    word: bytes
    """OK, NO or BAD."""
    octets: bytes


@dataclass(slots=True)
class Plus:
    """A continuation request, whole: show it if ``Client.go_ahead`` says so."""

    octets: bytes


@dataclass(slots=True)
class Bye:
    """The server says BYE: it ends the session."""

    octets: bytes


@dataclass(slots=True)
class Capabilities:
    """An untagged CAPABILITY, whole, without what is hidden. (What the server really offers is in ``Server.capabilities``.)"""

    octets: bytes


@dataclass(slots=True)
class Told:
    """The server's answer to a NAMESPACE of ours, whole (``Server.learn``); the client does not see it."""

    octets: bytes


ServerEvent = Told | Pass | Greeting | Tagged | Plus | Bye | Capabilities
