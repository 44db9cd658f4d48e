"""What the sessions of the IMAP door share under one config.

What it is: ``ImapSettings``: the server behind, what is told to clients, what they may send.
Who calls it: ``doors.door`` makes it with its other settings; ``doors.imap_connection`` reads it.
Must never: know a session.
Source: docs/options.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.config import Config, ConfigError
from gateway.doors.imap_upstream import Upstream
from gateway.wire.imap_capabilities import Offer
from gateway.wire.imap_events import Limits


@dataclass(frozen=True, slots=True)
class ImapSettings:
    """One object for all sessions."""

    upstream: Upstream
    limits: Limits
    offer: Offer
    clear: bytes
    """The greeting of a listener with STARTTLS."""
    clear_capabilities: bytes
    """Its answer to CAPABILITY."""
    moves_refused: bool
    """Nothing is copied or moved into mailboxes of others."""

    @classmethod
    def make(cls, config: Config) -> ImapSettings | None:
        """Those of *config*; None where it has no IMAP door. Raises ConfigError."""
        if not any(one.door == "imap" for one in config.listen):
            return None
        upstream = Upstream.make(config.imap)
        if upstream is None:
            raise ConfigError('imap.server: door = "imap" needs the server behind it, such as "imap.example.gov.in:993"')
        limits = Limits(config.max_message_size, config.limits.imap_line, config.limits.imap_literal, errors=config.limits.errors_hard)
        offer = Offer(config.max_message_size)
        words = b" ".join(replace(offer, clear=True).keeps([b"IMAP4rev1"]))
        return cls(
            upstream, limits, offer, b"* OK [CAPABILITY " + words + b"] Start TLS and sign in\r\n", words, config.imap.shared == "refuse"
        )
