"""One-time logins for the web page: tokens that are good once and for ten minutes.

What it is: ``Logins``.
Who calls it: ``entrance``, which makes them; ``desk`` and ``people``, which hand one out; ``entry``, which takes it.
Must never: take a token twice; outlive the process.
Source: hostile-inputs catalogue O15 (no token revival).
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable

TOKEN_SECONDS = 600.0
_TOKENS = 100


class Logins:
    """One-time logins, in memory: a restart ends them all. Ages are measured by a clock that never steps."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._open: dict[str, tuple[str, float]] = {}

    def make(self, user: str) -> str:
        """A token for *user*, good once within ten minutes; the one before it ends."""
        self._forget()
        self.forget(user)
        while len(self._open) >= _TOKENS:
            self._open.pop(next(iter(self._open)))
        token = secrets.token_urlsafe(24)
        self._open[token] = (user, self._monotonic() + TOKEN_SECONDS)
        return token

    def redeem(self, token: str) -> str:
        """The user of *token*; empty when it is none, was used, or is too old."""
        self._forget()
        for known, (user, _) in list(self._open.items()):
            if hmac.compare_digest(known.encode(), token.encode("utf-8", "replace")):
                del self._open[known]
                return user
        return ""

    def forget(self, user: str) -> None:
        """Ends those of *user*."""
        for token in [token for token, (name, _) in self._open.items() if name == user]:
            del self._open[token]

    def _forget(self) -> None:
        now = self._monotonic()
        for token in [token for token, (_, end) in self._open.items() if end <= now]:
            del self._open[token]
