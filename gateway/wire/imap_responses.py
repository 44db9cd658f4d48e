"""The IMAP server's side of a session, without I/O: octets in, events out.

What it is: ``Server``, one object a connection. Responses go on to the client as they came, literals by count and unread; tagged replies,
``+``, the greeting, BYE and CAPABILITY are known, and capabilities that we do not offer are taken out.
Who calls it: ``doors.imap``.
Must never: change any other octet; keep a literal or a long line; raise anything but ImapError.
Sources: RFC 9051 section 7; hostile-inputs catalogue I02, I04, I05, I07, I08.
"""

from __future__ import annotations

from gateway.wire.imap_capabilities import Offer
from gateway.wire.imap_events import ServerEvent


class Server:
    """One connection. ``receive`` octets; take events until there are none."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        """May be exchanged, when the client is under TLS."""
        self.between = True
        """What the events so far gave to the client ends with a whole response: replies of ours may follow."""

    def receive(self, data: bytes) -> None:
        """Takes octets off the wire; then ask for events."""
        raise NotImplementedError

    def next_event(self) -> ServerEvent | None:
        """The next one; None: more octets are needed. Raises ImapError: end the session (BYE)."""
        raise NotImplementedError

    @property
    def pending(self) -> int:
        """Octets that wait for more: none may be there when TLS begins (I01)."""
        raise NotImplementedError
