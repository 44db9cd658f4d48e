"""The rows of the decision log, and what the store asks the chain that they stand in.

What it is: frozen rows and ``Chain``, the protocol of the keeper's audit chain.
Who calls it: ``base``, which gives them on; ``audit`` makes and checks them.
Must never: hold a word of a message.
Source: docs/design.md section 6.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class AuditEvent(msgspec.Struct, frozen=True):
    """One event before it has a place in the chain: ECS fields, without chain fields."""

    created: float
    reference: str
    department: str
    sender: str
    recipient: str
    rule: str
    disposition: str
    document: dict[str, Any]


class AuditRow(msgspec.Struct, frozen=True):
    """An event in its place. *line* is the canonical JSON that was hashed, with seq and prev_hash inside."""

    chain: str
    seq: int
    created: float
    reference: str
    prev_hash: str
    hash: str
    line: str
    department: str = ""
    sender: str = ""
    recipient: str = ""
    rule: str = ""
    disposition: str = ""
    position: int = 0
    """Of the row in the table, over all chains; what ``search_audit`` pages by."""


class HeadRow(msgspec.Struct, frozen=True):
    """A signed statement that chain *chain* ended in row *seq* with hash *hash* at *created*."""

    chain: str
    seq: int
    hash: str
    created: float
    key_id: str
    signature: str
    """Ed25519 over ``audit.head_text``, base64."""


class Chain(Protocol):
    """The keeper's audit chain, asked inside the writing transaction, in writing order."""

    @property
    def id(self) -> str:
        """The chain's name; one a keeper."""

    def resume(self, head: AuditRow | None) -> None:
        """The store was opened (or opened again after an I/O error) and *head* is the chain's last durable row."""

    def append(self, event: AuditEvent) -> AuditRow:
        """The row of *event*; the chain's head moves only when ``written`` follows."""

    def written(self) -> None:
        """All rows since the last call are durable."""

    def discarded(self) -> None:
        """None of the rows since the last ``written`` became durable: the head goes back."""
