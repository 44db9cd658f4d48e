"""argon2id hashes of passwords: which are good enough, making one, and checking many without taking all memory.

What it is: ``cost_of`` (a hash's parameters, or why it is refused), ``make``, and ``Checker``, which verifies in a few threads.
Who calls it: ``login_file`` (is this hash fit?), ``logins`` (is this password right?), ``gateway logins hash``.
Must never: log or keep a password; start one more verification than the memory was counted for; take a hash that makes guessing
cheap, or one whose cost would stop the keeper.
Sources: RFC 9106 sections 3.1 and 4 (argon2id, version 0x13); OWASP password storage (the lowest parameters that are taken).
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import argon2
from argon2 import low_level

AT_ONCE = 2
"""Verifications at once. Each takes the memory that its hash names: 64 MiB with the hashes of ``make``, 256 MiB at most."""
WAITING = 64
"""Sign-ins that may wait for one of them; the next are put off."""
_MEMORY_MAX, _TIME_MAX, _LANES_MAX = 262_144, 16, 16  # KiB, passes, lanes
_LEAST = ((19_456, 2), (47_104, 1), (12_288, 3))  # KiB and passes: any of these pairs will do
_SALT_LEAST, _DIGEST_LEAST, _OCTETS_MAX = 16, 32, 64
_FORM = re.compile(r"\$argon2id\$v=19\$m=([1-9]\d{0,6}),t=([1-9]\d{0,2}),p=([1-9]\d{0,2})\$([A-Za-z0-9+/]{1,172})\$([A-Za-z0-9+/]{1,172})")


class Cost(NamedTuple):
    """What one verification costs."""

    memory: int
    """KiB."""
    passes: int
    lanes: int
    salt: int
    """Octets."""
    digest: int
    """Octets."""


class WeakHash(ValueError):
    """Not a hash that is taken. The text is one plain sentence without the hash."""


class Busy(Exception):
    """Too many verifications wait already."""


def cost_of(text: str) -> Cost:
    """The parameters of the argon2id hash *text*. Raises WeakHash where it is none, is too weak, or costs too much."""
    found = _FORM.fullmatch(text)
    if found is None:
        if text.startswith(("$argon2i$", "$argon2d$", "$1$", "$2", "$5$", "$6$", "$y$", "{")):
            raise WeakHash("the password is hashed in another way; only argon2id is taken: make a hash with gateway logins hash")
        raise WeakHash("the password is no argon2id hash ($argon2id$v=19$...): make one with gateway logins hash")
    cost = Cost(int(found[1]), int(found[2]), int(found[3]), len(found[4]) * 3 // 4, len(found[5]) * 3 // 4)
    if not all(map(_is_base64, found.group(4, 5))):
        raise WeakHash("the password is no argon2id hash that can be read: make one with gateway logins hash")
    if not any(cost.memory >= memory and cost.passes >= passes for memory, passes in _LEAST):
        raise WeakHash(
            f"the argon2id parameters m={cost.memory},t={cost.passes} are too weak; take m=19456,t=2 or more (gateway logins hash does)"
        )
    if cost.salt < _SALT_LEAST or cost.digest < _DIGEST_LEAST:
        raise WeakHash(f"the argon2id salt has {cost.salt} octets and the digest {cost.digest}; they need 16 and 32")
    if cost.memory > _MEMORY_MAX or cost.passes > _TIME_MAX or cost.lanes > _LANES_MAX or max(cost.salt, cost.digest) > _OCTETS_MAX:
        raise WeakHash(f"the argon2id parameters cost too much; at most m={_MEMORY_MAX},t={_TIME_MAX},p={_LANES_MAX}")
    if cost.memory < 8 * cost.lanes:
        raise WeakHash("the argon2id parameters do not fit each other: m must be at least 8 times p")
    return cost


def _is_base64(text: str) -> bool:
    """Whether *text* is base64 without padding in its one canonical spelling, as the library wants it."""
    try:
        return base64.b64encode(base64.b64decode(text + "=" * (-len(text) % 4), validate=True)).rstrip(b"=") == text.encode("ascii")
    except ValueError:
        return False


def make(octets: bytes) -> str:
    """The hash of the password *octets*: argon2id, 64 MiB, 3 passes, 4 lanes (RFC 9106's second recommended set)."""
    return argon2.PasswordHasher().hash(octets)


def dummy(cost: Cost) -> str:
    """A hash that has no password, and whose verification takes as long as that of any other hash with *cost*."""
    salt, digest = (base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode("ascii") for size in (cost.salt, cost.digest))
    return f"$argon2id$v=19$m={cost.memory},t={cost.passes},p={cost.lanes}${salt}${digest}"


def verify(text: str, octets: bytes) -> bool:
    """Whether *octets* is the password of the hash *text*. Takes the time and memory that the hash names."""
    try:
        return low_level.verify_secret(text.encode("ascii"), octets, low_level.Type.ID)
    except argon2.exceptions.VerifyMismatchError:
        return False


class Checker:
    """Verifies in ``AT_ONCE`` threads; ``close`` ends them."""

    def __init__(self, verify: Callable[[str, bytes], bool] = verify, *, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._verify = verify
        self._most = at_once + waiting
        self._room = asyncio.Semaphore(at_once)
        self._threads = ThreadPoolExecutor(at_once, "password")
        self._here = 0

    async def check(self, text: str, octets: bytes, allowed: Callable[[], bool]) -> bool | None:
        """Whether *octets* is the password of *text*. Raises Busy, or argon2's error for a hash that cannot be used.

        *allowed* is asked again when it is this one's turn, so that a burst of guesses meets the limits too: None if it says no.
        """
        if self._here >= self._most:
            raise Busy
        self._here += 1
        try:
            async with self._room:
                if not allowed():
                    return None
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._verify, text, octets)
        finally:
            self._here -= 1

    def close(self) -> None:
        """Ends the threads once what they do is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)
