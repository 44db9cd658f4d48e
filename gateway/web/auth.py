"""Who is signed in: sessions in memory, and the checks that every form passes.

What it is: ``Sessions`` (opaque random tokens, kept as hashes) and ``same_origin``.
Who calls it: ``views``.
Must never: put a session's token anywhere but in its cookie; let a GET change anything.
Sources: hostile-inputs catalogue 4.5; RFC 6265bis (``__Host-`` and SameSite); OWASP session management.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

IDLE = 30 * 60.0
"""Seconds without a request after which a session ends."""
LIFETIME = 8 * 3600.0
"""Seconds after which a session ends in any case."""
_MOST = 500  # sessions; the oldest goes first


@dataclass(slots=True)
class Session:
    """One person's visit. *form_token* stands in every form of it."""

    user: str
    form_token: str
    began: float
    seen: float


class Sessions:
    """The sessions of this process; all end when it ends."""

    def __init__(self) -> None:
        self._by_hash: dict[bytes, Session] = {}

    def begin(self, user: str) -> str:
        """A new session of *user*; returns the token for the cookie (256 random bits)."""
        now = time.monotonic()
        self._drop_old(now)
        while len(self._by_hash) >= _MOST:
            del self._by_hash[min(self._by_hash, key=lambda key: self._by_hash[key].seen)]
        token = secrets.token_urlsafe(32)
        self._by_hash[_hash(token)] = Session(user, secrets.token_urlsafe(32), now, now)
        return token

    def find(self, token: str) -> Session | None:
        """The session of *token*, and marks it as seen; None when there is none or it has ended."""
        now = time.monotonic()
        session = self._by_hash.get(_hash(token)) if token else None
        if session is None or now - session.seen > IDLE or now - session.began > LIFETIME:
            return None
        session.seen = now
        return session

    def end(self, token: str) -> None:
        """Ends the session of *token*."""
        self._by_hash.pop(_hash(token), None)

    def _drop_old(self, now: float) -> None:
        for key in [key for key, item in self._by_hash.items() if now - item.seen > IDLE or now - item.began > LIFETIME]:
            del self._by_hash[key]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def form_token_is(session: Session, given: str) -> bool:
    """Whether *given* is the token of the session's forms."""
    return hmac.compare_digest(session.form_token.encode(), given.encode("utf-8", "replace"))


def same_origin(headers: Mapping[str, str], public_url: str) -> bool:
    """Whether a POST came from a page of ours, as its browser says.

    Browsers send Origin with every POST; a request without it is no browser's form and is refused. ``null`` is what a
    browser sends where it hides its origin: then Sec-Fetch-Site has to say same-origin.
    """
    origin = headers.get("origin", "")
    site = headers.get("sec-fetch-site", "")
    if origin == "null":
        return site == "same-origin"
    if site and site not in ("same-origin", "none"):
        return False
    if not origin:
        return False
    got = urlsplit(origin)
    if public_url:
        wanted = urlsplit(public_url)
        if (got.scheme, got.netloc.lower()) == (wanted.scheme, wanted.netloc.lower()):
            return True
        if not _loopback(got.hostname or ""):
            return False
    return bool(got.netloc) and got.netloc.lower() == headers.get("host", "").lower()


def _loopback(host: str) -> bool:
    """The page may always be reached from the machine itself, also when public_url names another address."""
    return host in ("localhost", "::1") or host.startswith("127.")


class Brake:
    """Slows down guessing: at most *most* failures in *period* seconds, then none is tried."""

    def __init__(self, most: int = 20, period: float = 60.0) -> None:
        self._most, self._period = most, period
        self._failures: list[float] = []

    def open(self) -> bool:
        """Whether another attempt may be made."""
        now = time.monotonic()
        self._failures = [at for at in self._failures if now - at < self._period]
        return len(self._failures) < self._most

    def failed(self) -> None:
        """Counts one failure."""
        self._failures.append(time.monotonic())
