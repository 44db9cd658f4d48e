"""Whom a provider of identities names, and what can go wrong on the way.

What it is: ``Identity``, ``OidcError`` and ``Provider``, what ``keeper.entry`` needs of one.
Who calls it: ``oidc``, ``keeper.entry``; apart from ``oidc`` because that takes long to import and most gateways have no provider.
Must never: hold a token of the provider.
Source: OpenID Connect Core 1.0 sections 2 and 5.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class OidcError(Exception):
    """The sign-in failed: one plain sentence, and *cause*, a word for the log."""

    def __init__(self, cause: str, text: str = "the sign-in at the provider could not be completed; please begin again") -> None:
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the provider names."""

    subject: str
    """Issuer and subject: the provider gives it to nobody else, ever."""
    email: str = ""
    email_verified: bool = False
    username: str = ""


class Provider(Protocol):
    """Where people sign in elsewhere."""

    async def begin(self) -> tuple[str, str]:
        """Where the browser is to go, and the state that it keeps. Raises OidcError."""

    async def end(self, code: str, state: str) -> Identity:
        """Who came back with *code*; *state* is what this browser kept, and is good once. Raises OidcError."""
