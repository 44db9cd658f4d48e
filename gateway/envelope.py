"""Who sends what to whom: the frozen values of one SMTP transaction.

What it is: Peer, Recipient, Envelope and Transaction, plus the making of ids and references.
Who calls it: doors make them; the pipeline, the policy and the keeper read them.
Must never: change after it was made; hold anything parsed from the message's content.
Sources: RFC 5321 section 2.3.1, RFC 3461 section 4 (RET, ENVID, NOTIFY, ORCPT), RFC 9562 (UUIDv7).
"""

from __future__ import annotations

import enum
import functools

import msgspec
import uuid_utils

from gateway.address import Path

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _CROCKFORD for b in _CROCKFORD]
"""Two digits for each ten bits: references are asked for several times a message."""


def new_id() -> str:
    """A new UUIDv7 in its 36-character form; ids sort by time."""
    return str(uuid_utils.uuid7())


@functools.lru_cache(maxsize=1024)
def reference_of(identifier: str) -> str:
    """The reference people read and quote for the UUID *identifier*: its 128 bits in 26 Crockford base-32 characters."""
    number = int(identifier.replace("-", ""), 16)
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -10, -10)])


class Door(enum.StrEnum):
    """The door a message came in by."""

    SMTP = "smtp"
    SUBMISSION = "submission"
    MILTER = "milter"
    IMAP = "imap"


class Peer(msgspec.Struct, frozen=True):
    """The other end of a session, as far as it was proved."""

    ip: str
    port: int = 0
    helo: str = ""
    esmtp: bool = True
    tls_version: str = ""
    """``TLSv1.3`` …; empty without TLS."""
    tls_cipher: str = ""
    tls_bits: int = 0
    user: str = ""
    """The authenticated login; empty without AUTH."""
    listed: bool = False
    """The address is in ``originators.networks``."""
    through: str = ""
    """The load balancer that named *ip* by PROXY protocol; empty without one."""
    senders: tuple[str, ...] | None = None
    """Patterns (``a@b``, ``@b``) of the senders that *user* may use; None without AUTH, or where they were not asked."""


class Recipient(msgspec.Struct, frozen=True):
    """One RCPT TO, with its RFC 3461 parameters."""

    path: Path
    notify: frozenset[str] | None = None
    """NEVER, or some of SUCCESS, FAILURE, DELAY; None when the parameter was not given."""
    orcpt: str = ""
    """``addr-type;xtext`` as given, still in xtext."""


class Envelope(msgspec.Struct, frozen=True):
    """MAIL FROM with its parameters and all the recipients that were accepted."""

    sender: Path
    recipients: tuple[Recipient, ...]
    ret: str = ""
    """FULL, HDRS or empty."""
    envid: str = ""
    """As given, still in xtext."""
    eight_bit: bool = False
    smtputf8: bool = False


class Transaction(msgspec.Struct, frozen=True):
    """One message as received. Its content travels beside it as bytes; *sha256* binds the two."""

    id: str
    door: Door
    peer: Peer
    envelope: Envelope
    received_at: float
    """Seconds since the epoch, UTC."""
    size: int
    """Octets of the content."""
    sha256: str
    verified_originator: bool
    """Authenticated, or from a listed network with an official sender of ours (or a null sender from there)."""
    department: str = ""
    """The official originator's domain; for other mail the keeper puts that of the first recipient inside. On every row of the store."""
    shared: bool = False
    """IMAP: it is filed where others read it, not in the originator's own mailbox."""

    @property
    def reference(self) -> str:
        """The reference that stands in reply, header, log, bounce and page."""
        return reference_of(self.id)
