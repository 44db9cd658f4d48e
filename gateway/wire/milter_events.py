"""What passes between the milter codec and its door: events, changes of a message, final actions, the one error.

What it is: values.
Who calls it: ``wire.milter`` makes the events, ``doors.milter`` takes them; ``message.milter_edits`` makes changes.
Must never: hold more than one message; change an octet of what the MTA gave.
Sources: libmilter/mfapi.h and mfdef.h of Sendmail 8.17; Postfix src/milter/milter8.c and MILTER_README.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class MilterError(ValueError):
    """What the MTA sent, or what we were about to send, is not of the protocol. The text says what is wrong, without any octet of
    it. After one that ``next_event`` raised the connection can only be closed; the MTA then answers its client 4xx."""


class Final(enum.Enum):
    """What is to become of a message; its value is the octet on the wire."""

    CONTINUE = b"c"
    """As far as we are concerned it goes on, with the changes; other milters still see it."""
    ACCEPT = b"a"
    """It goes on, with the changes. At MAIL: we want to see nothing of this message."""
    REJECT = b"r"
    """5xx in the MTA's own words."""
    TEMPFAIL = b"t"
    """4xx in the MTA's own words."""
    DISCARD = b"d"
    """The client reads 250, the MTA delivers to nobody."""


# --- events ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The options are agreed, our answer is in ``output``. Needs no answer."""

    version: int
    actions: int
    """SMFIF_ flags that both sides have."""
    protocol: int
    """SMFIP_ flags that we asked for, of those that were offered."""
    quarantine: bool
    """Quarantine can be asked for at the end of a message; otherwise it is a MilterError."""
    leading_space: bool
    """Values of header fields come with the white space that follows the colon."""


@dataclass(frozen=True, slots=True)
class Connect:
    """A client has connected to the MTA: nothing that was said of another one holds. Needs no answer."""

    host: str
    """As the MTA calls it: a verified name, ``[192.0.2.1]``, ``unknown``, ``localhost``; of printable ASCII."""
    family: str
    """``4``, ``6``, ``L`` (a socket of the machine) or ``U`` (not known)."""
    port: int
    address: str
    """IPv4 or IPv6 in its shortest form, a mapped IPv4 address as itself; the path for ``L``; empty for ``U``."""


@dataclass(frozen=True, slots=True)
class Helo:
    """HELO or EHLO, its argument raw (``smtp_params.helo_name`` judges it). Needs no answer."""

    name: bytes


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM. Answer with ``proceed``, ``refuse`` or ``end_message``; until then nothing further is parsed."""

    args: tuple[bytes, ...]
    """Raw: the path, as a rule in brackets, then each ESMTP parameter. At least one."""


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO. Answer with ``proceed`` or ``refuse`` (this recipient only)."""

    args: tuple[bytes, ...]
    """Raw: the path as ``DeleteRecipient`` has to name it, then each ESMTP parameter. At least one."""


@dataclass(frozen=True, slots=True)
class Data:
    """The recipients are complete and content comes (not said by every MTA: content may come without it). Needs no answer."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The client sent a command that its MTA does not know. Needs no answer."""


@dataclass(frozen=True, slots=True)
class Message:
    """The end of a message: answer with ``end_message``, ``progress`` before it as often as needed."""

    fields: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    """Name and value of each header field, in order, exactly as given: a folded value holds LF (not CRLF) before white space."""
    body: bytes = field(repr=False)
    leading_space: bool
    """Values hold what follows the colon; otherwise the MTA took the space after it away."""
    lost: str = ""
    """Why nothing was kept (then there are no fields and no body): ``too large``, ``too many fields`` or ``discarded``."""

    def content(self) -> bytes:
        """The octets of the message, lines ended by CRLF, as the MTA holds them but for its own Received field.

        It may hold what SMTP refuses (Postfix gives NUL in a body): see ``smtp_data.fault``.
        """
        space = b":" if self.leading_space else b": "
        parts: list[bytes] = []
        for name, value in self.fields:
            parts += (name, space, value.replace(b"\n", b"\r\n") if b"\n" in value else value, b"\r\n")
        parts += (b"\r\n", self.body)
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Abort:
    """The message under way is not to be sent: forget it. Only while there is one. Needs no answer."""


@dataclass(frozen=True, slots=True)
class NewConnection:
    """SMFIC_QUIT_NC: the client has left, the MTA keeps this connection for the next one (``Connect`` follows). Needs no answer."""


@dataclass(frozen=True, slots=True)
class Quit:
    """The MTA is done: close the connection."""


Event = Negotiated | Connect | Helo | Mail | Rcpt | Data | Unknown | Message | Abort | NewConnection | Quit


# --- changes --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddHeader:
    """SMFIR_ADDHEADER: a field at the end of the header section. The *value* of these three has no white space in front (the
    space after the colon is put where it is due) and may be folded by LF and a space or tab; CR, NUL and any other LF raise."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class InsertHeader:
    """SMFIR_INSHEADER: a field before the one with *index*, from 0, which is the top."""

    index: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class ChangeHeader:
    """SMFIR_CHGHEADER: a new value for the field *name* with *index* among those of that name, from 1; empty deletes it."""

    index: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class AddRecipient:
    """SMFIR_ADDRCPT."""

    path: bytes


@dataclass(frozen=True, slots=True)
class DeleteRecipient:
    """SMFIR_DELRCPT; *path* as ``Rcpt.args[0]`` gave it."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Quarantine:
    """SMFIR_QUARANTINE: the whole message waits in the MTA's own hold queue."""

    reason: str


Change = AddHeader | InsertHeader | ChangeHeader | AddRecipient | DeleteRecipient | Quarantine
