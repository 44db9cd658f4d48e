"""The mail program's side of an IMAP session, without I/O: octets in, events out.

What it is: ``Client``, one object a session. It cuts what a mail program says into commands with their literals. What needs no
judgement goes on in pieces as it came; LOGIN, AUTHENTICATE, APPEND and STARTTLS are events; what is hidden is refused.
Who calls it: ``doors.imap``.
Must never: do I/O or know a clock; raise on any octets; let a server take for a command what is a literal here, or the other way round:
a line that readers could cut differently is refused, and no literal goes to a server before it has asked for it.
Sources: RFC 9051, 3501 section 9 (grammar), 7888, 3502, 6855, 2177, 4959; hostile-inputs catalogue I01, I03, I06, I09, I10.
"""

from __future__ import annotations

from gateway.wire.imap_events import ClientEvent, Limits


class Client:
    """One session. ``receive`` octets; take events, and answer each as its words ask, until there are none."""

    def __init__(self, limits: Limits) -> None:
        self.signed_in = False
        """LOGIN or AUTHENTICATE has had its OK: another one is refused (BAD)."""
        self.tls = True
        """False on a listener with STARTTLS before it: LOGIN and AUTHENTICATE are refused, STARTTLS is an event."""

    def receive(self, data: bytes) -> None:
        """Takes octets off the wire; then ask for events."""
        raise NotImplementedError

    def next_event(self) -> ClientEvent | None:
        """What is to be done next; None: more octets, an answer, or a word of the server are needed first."""
        raise NotImplementedError

    @property
    def pending(self) -> int:
        """Octets received and not taken yet: stop reading from the client while they are many."""
        raise NotImplementedError

    @property
    def memory(self) -> int:
        """Octets of the message under way that are kept."""
        raise NotImplementedError

    @property
    def idle(self) -> bool:
        """The client waits in IDLE."""
        raise NotImplementedError

    # --- answers of the door

    def proceed(self) -> None:
        """The event that is out is answered (by a reply of ours): goes on."""
        raise NotImplementedError

    def take(self) -> None:
        """Answers ``AppendSize``: there is room (the ``+``, where one is due, comes as the next event)."""
        raise NotImplementedError

    def refuse(self, octets: bytes) -> None:
        """Answers ``AppendSize`` or ``Append`` with *octets* (tagged NO), which come as the next event; the rest is skipped."""
        raise NotImplementedError

    def tls_started(self) -> None:
        """The handshake is done: what came in clear is forgotten."""
        raise NotImplementedError

    # --- what the server said

    def go_ahead(self) -> bool:
        """The server said ``+``: says whether the client is to see it. (Not while steps of Login or Append are under way: those are
        the door's.)"""
        raise NotImplementedError

    def answered(self, tag: bytes, ok: bool) -> None:
        """The server's tagged reply to *tag* is there; tell all of them."""
        raise NotImplementedError
