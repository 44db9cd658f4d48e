"""How long an IMAP server may take, and how much it may say, where the gateway is its client.

What it is: constants, apart from ``imap_wire``, so that who needs only these does not load IMAPClient.
Who calls it: ``imap_wire``, ``relay.mailbox``, the keeper's modules for the archive, ``cli.sweep_server``.
Must never: depend on what a server says.
Sources: RFC 9051; hostile-inputs catalogue I02; imaplib of Python 3.11, which takes no line over a million octets.
"""

from __future__ import annotations

CONNECT = 20.0
"""Seconds until the server must have answered the connection and its TLS."""
ANSWER = 120.0
"""Seconds for one command with its whole answer; a large message has more, see ``SLOWEST``."""
SLOWEST = 20_000
"""Octets in a second below which a message takes too long."""
SMALL = 4_000_000
"""Octets of an answer that holds no message: lists, numbers, sizes."""
MORE = 65_536
"""Octets of an answer around the message that it holds."""
WINDOW = 80_000
"""UIDs that one SEARCH may find: its answer is one line."""
TOP = 4_294_967_295
"""The highest UID there can be."""
