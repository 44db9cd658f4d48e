"""How well a piece of content is protected, and how that was proved.

What it is: the value that an extractor returns about encryption.
Who calls it: ``content`` makes it, ``policy`` and the faces read it.
Must never: be built from a file name, a flag or entropy alone (inspection proves it from structure and data).
Sources: J&K Circular 26-JK(GAD) of 2024 (AES-256); docs/design.md section 10 ("protection.state").
"""

from __future__ import annotations

import enum

import msgspec


class ProtectionState(enum.StrEnum):
    """The four answers to "can this be read without a secret?"."""

    NONE = "none"
    """Can be read without a secret."""
    WEAK = "weak"
    """Encrypted below AES-256, or the password stands in the same message."""
    STRONG = "strong"
    """AES-256 or better, proved from structure and data."""
    UNVERIFIABLE = "unverifiable"
    """Claims encryption, and the claim cannot be proved."""


class Protection(msgspec.Struct, frozen=True):
    """State, scheme (``pdf``, ``ooxml``, ``zip`` …), cipher (``AES-256-CBC`` …), key bits and the reason in plain English."""

    state: ProtectionState = ProtectionState.NONE
    scheme: str = ""
    cipher: str = ""
    bits: int = 0
    reason: str = ""


UNPROTECTED = Protection()
PASSWORD_GIVEN = "its password stands in the same message"  # noqa: S105 - a reason
KEY_GIVEN = "its key stands in the same message"
GIVEN_AWAY = frozenset((PASSWORD_GIVEN, KEY_GIVEN))
"""The reasons of a protection that the message itself opened. The cipher may be a strong one; nothing is protected."""
