"""Sessions of people who are signed in: in the keeper's memory alone, so that a restart ends them all.

What it is: ``Sessions``, from the hash of a session's token to the session; the token itself is known to the browser only.
Who calls it: ``access`` (who is it?), ``entry`` (begins them), ``account`` and ``people`` (end them).
Must never: keep a token; give a session the token of another or of an earlier one (W04); let one live past its two ends.
Sources: hostile-inputs catalogue W04, W13, W17; OWASP session management (256 random bits, rotation at sign-in, idle and absolute end).
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

_TOGETHER = 20_000
"""Sessions of all people together; one more ends the one that was used longest ago."""
FRESH = 900.0
"""Seconds after a sign-in in which the second factor may be set up anew without more ado."""


@dataclass(frozen=True, slots=True)
class Session:
    """One session. Times are seconds of a clock that never steps."""

    name: str
    began: float
    used: float
    officer: bool = False
    senders: tuple[str, ...] = ()
    """Of an officer: the patterns of the addresses that he may send as."""
    one_time: bool = False
    """Begun by a one-time login; a password may be set without the old one until one is set."""
    oidc: bool = False
    """Begun by OpenID Connect, which counts as two factors."""


class Sessions:
    """The sessions. *idle* and *lifetime* in seconds, *each*: how many one person may have."""

    def __init__(self, idle: float, lifetime: float, each: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._idle, self._lifetime, self._each = idle, lifetime, each
        self._monotonic = monotonic
        self._open: dict[bytes, Session] = {}
        self._of: dict[tuple[str, bool], list[bytes]] = {}

    def __len__(self) -> int:
        return len(self._open)

    @property
    def now(self) -> float:
        """Of the clock of sessions."""
        return self._monotonic()

    def begin(self, name: str, *, officer: bool = False, senders: tuple[str, ...] = (), one_time: bool = False, oidc: bool = False) -> str:
        """The token of a new session of *name*: 256 random bits, never one that was there before the sign-in."""
        now = self._monotonic()
        token = secrets.token_urlsafe(32)
        mine = self._of.setdefault((name, officer), [])
        for old in [key for key in mine if self._ended(self._open[key], now)]:
            self.end(old)
        while len(mine := self._of.setdefault((name, officer), [])) >= self._each:
            self.end(mine[0])
        if len(self._open) >= _TOGETHER:
            self.end(min(self._open, key=lambda key: self._open[key].used))
        key = hash_of(token)
        self._open[key] = Session(name, now, now, officer, senders, one_time, oidc)
        self._of.setdefault((name, officer), []).append(key)
        return token

    def find(self, key: bytes, *, passive: bool = False) -> Session | None:
        """The session with the hash *key*, None where there is none or it has ended; counts as use unless *passive*."""
        # Looked up by a hash of 256 random bits: the time it takes says nothing about a token.
        found = self._open.get(key)
        if found is None:
            return None
        now = self._monotonic()
        if self._ended(found, now):
            self.end(key)
            return None
        if not passive:
            found = self._open[key] = replace(found, used=now)
        return found

    def end(self, key: bytes) -> None:
        """Ends one; nothing where there is none."""
        found = self._open.pop(key, None)
        if found is None:
            return
        mine = self._of[(found.name, found.officer)]
        mine.remove(key)
        if not mine:
            del self._of[(found.name, found.officer)]

    def end_all(self, name: str, *, officer: bool = False, keep: bytes = b"") -> int:
        """Ends all of *name* but *keep*; how many."""
        gone = [key for key in self._of.get((name, officer), []) if key != keep]
        for key in gone:
            self.end(key)
        return len(gone)

    def settled(self, key: bytes) -> None:
        """The person of a one-time login has set a password: from now on the old one is asked for."""
        if (found := self._open.get(key)) is not None:
            self._open[key] = replace(found, one_time=False)

    def _ended(self, session: Session, now: float) -> bool:
        return now - session.used >= self._idle or now - session.began >= self._lifetime


def hash_of(token: str) -> bytes:
    """What stands for a token where it is kept: opens nothing."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
