"""What may be shown to a next hop of somebody's password, and what it has said before.

What it is: ``Asking``: answers remembered as keyed hashes, one question at a time for the same credentials, and a bound on wrong
passwords for each login, whatever address they come from.
Who calls it: ``logins`` where ``submission.check = "next-hop"``.
Must never: hold a password longer than the question lasts; show the hop the same wrong password again within an hour; let strangers
use up what its owner needs to sign in.

A yes is kept for ``submission.cache`` seconds. A no is kept for an hour, then for two, four … up to a day where the same password is
wrong again: a phone with an old password in it retries for ever, and a hop that counts failures locks the account. It is not kept
longer because a hop may say no to a right password while it has the account locked. ``gateway reload`` forgets all answers.

The bound, ``limits.auth_asked_per_login`` in 15 minutes, counts what was shown and was not right. The password that was right last
time is shown in any case, so an attack from many addresses does not lock out somebody who has signed in since the keeper started;
and the last of the allowed questions is kept for addresses of ``originators.networks`` and ``submission.vpn``.
Sources: RFC 4954; hostile-inputs catalogue S37.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from gateway.config import Config
from gateway.relay.routes import NextHop
from gateway.signin import login_file
from gateway.signin.hop_auth import Answer, HopAuth
from gateway.signin.login_limits import Window

QUARTER = 900.0
NO_FIRST, NO_LONGEST = 3600.0, 86400.0
"""Seconds for which a no is kept: the first, and the longest."""
_KEPT = 20_000  # answers, and passwords that were right last time


class _Known(NamedTuple):
    until: float
    right: bool
    kept: float


class Asking:
    """Asks *hops* as seldom as can be. *now* never steps."""

    def __init__(self, config: Config, hops: HopAuth, now: Callable[[], float]) -> None:
        self._hops = hops
        self._now = now
        self._cache = config.submission.cache
        self._most = config.limits.auth_asked_per_login
        self._shown = Window(self._most, QUARTER, now)
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._last_right: OrderedDict[str, bytes] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Task[str]] = {}
        self._listed = login_file.networks_of((*config.originators.networks, *config.submission.vpn))

    def forget(self) -> None:
        """Forgets what was answered."""
        self._known.clear()

    async def stop(self) -> None:
        """Waits for the questions under way; each has its own patience."""
        for task in self._under_way.values():
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def ask(self, name: str, typed: str, secret: bytes, fingerprint: bytes, ip: str, allowed: Callable[[], bool]) -> str:
        """``yes``, ``no``, ``remembered-yes``, ``remembered-no``, ``spared`` (not asked, to spare the account), ``no-route`` or
        ``next-hop-away``. *name* is canonical, *typed* is what the hop is shown."""
        known = self._known.get(fingerprint)
        if known is not None and self._now() < known.until:
            return "remembered-yes" if known.right else "remembered-no"
        task = self._under_way.get(fingerprint)
        if task is None:
            hop = self._hops.hop_for(name)
            if hop is None:
                return "no-route"
            sure = self._last_right.get(name) == fingerprint
            if not sure:
                if not self._may_show(name, ip):
                    return "spared"
                # Counted before it is asked: a burst of guesses may not overtake the first answer.
                self._shown.note(name)
            task = asyncio.create_task(self._question(hop, name, typed, secret, fingerprint, allowed, sure))
            self._under_way[fingerprint] = task
            task.add_done_callback(lambda _: self._under_way.pop(fingerprint, None))
        # One client that hangs up must not end the question of the others.
        answered: str = await asyncio.shield(task)
        return answered

    def _may_show(self, name: str, ip: str) -> bool:
        most = self._most if login_file.contains(self._listed, ip) else max(min(1, self._most), self._most - 1)
        return self._shown.count(name) < most

    async def _question(
        self, hop: NextHop, name: str, typed: str, secret: bytes, fingerprint: bytes, allowed: Callable[[], bool], sure: bool
    ) -> str:
        answer, shown = Answer.LATER, True
        try:
            answer, shown = await self._hops.ask(hop, typed, secret, allowed)
        finally:
            wrong = shown and answer is not Answer.YES
            if sure and wrong:
                self._shown.note(name)
            elif not sure and not wrong:
                self._shown.take_back(name)
        if answer is Answer.LATER:
            return "next-hop-away"
        self._remember(name, fingerprint, answer is Answer.YES)
        return str(answer)

    def _remember(self, name: str, fingerprint: bytes, right: bool) -> None:
        before = self._known.pop(fingerprint, None)
        if right:
            kept = self._cache
            self._last_right[name] = fingerprint
            self._last_right.move_to_end(name)
        else:
            kept = min(before.kept * 2, NO_LONGEST) if before is not None and not before.right else NO_FIRST
            if self._last_right.get(name) == fingerprint:
                del self._last_right[name]
        self._known[fingerprint] = _Known(self._now() + kept, right, kept)
        for table in (self._known, self._last_right):
            while len(table) > _KEPT:
                table.popitem(last=False)
