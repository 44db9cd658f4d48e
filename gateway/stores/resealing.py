"""What is sealed under which vault key, as rows: what ``keeper.rotation`` reads and gives back, whatever the store.

What it is: frozen rows with the place where the next page goes on, and the tables that have sealed fields.
Who calls it: the ``resealing`` of each store; ``keeper.rotation``.
Must never: hold what is under the seal, or a ciphertext of a body.
Sources: docs/design.md section 6; hostile-inputs catalogue O22.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class SealedBody(msgspec.Struct, frozen=True):
    """A body's wrapped key and the id of the vault key over it."""

    place: int | str
    id: str
    key_id: str
    wrapped_key: bytes


class SealedFields(msgspec.Struct, frozen=True):
    """The sealed fields of a row, one or two; empty where there is none."""

    place: int | str
    id: str
    subject: bytes
    details: bytes
    table: str = "messages"


TABLES: dict[str, tuple[str, str, str]] = {
    "messages": ("id", "subject", "details"), "remarks": ("id", "text", ""), "credentials": ("name", "totp", "totp_next"),
}  # fmt: skip
"""Tables with sealed fields: what names a row, and the fields."""


class Resealed(msgspec.Struct, frozen=True):
    """Rows as they were and as they shall be, pair by pair."""

    bodies: Sequence[tuple[SealedBody, SealedBody]] = ()
    fields: Sequence[tuple[SealedFields, SealedFields]] = ()
