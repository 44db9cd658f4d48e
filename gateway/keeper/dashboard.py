"""The figures that people see: decisions over time, what is held, the delivery queue, the next hops; and the rules in force.

What it is: ``Figures``, the answers to Dashboard and ListRules.
Who calls it: ``reception``, by ``table``.
Must never: count mail of a department whose figures the person may not see; name an address or a message.
Source: review.py, ``Dashboard`` and ``ListRules``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from gateway import review
from gateway.config import Config
from gateway.keeper.access import Who
from gateway.keeper.exceptions import Wrong
from gateway.keeper.reception import Table
from gateway.levels import Level
from gateway.policy import Policy
from gateway.policy.explanations import WORDS
from gateway.relay.relay import Relay
from gateway.requests import Rows
from gateway.review import Filter
from gateway.roles import Act
from gateway.stores.base import Store
from gateway.stores.reviewed import INDIA, Sought

HOURS = 24 * 7
"""Hours of a period up to which each hour has its own counts; in a longer one they are of days."""
LONGEST = 24 * 800
"""Hours of the longest period."""
_QUEUE = ("scheduled", "leased", "deferred", "on-hold")


class Figures:
    """Answers from one node's store and relay. *policy* gives the rules now in force."""

    def __init__(self, config: Config, store: Store, relay: Relay, policy: Callable[[], Policy], clock: Callable[[], float]) -> None:
        self._config = config
        self._store = store
        self._relay = relay
        self._policy = policy
        self._clock = clock

    def table(self) -> Table:
        """See ``reception``."""
        return {review.Dashboard: (Act.FIGURES, self.dashboard), review.ListRules: (None, self.rules)}

    async def dashboard(self, request: review.Dashboard, who: Who) -> Rows:
        """One row of figures. Raises Wrong, StoreError."""
        if not (math.isfinite(request.since) and math.isfinite(request.until)) or len(request.department) > 255:
            raise Wrong("dashboard: since and until are times")
        within = _within(who.scope(Act.FIGURES), request.department.lower())
        until = int((min(request.until, self._clock() + 3600) + INDIA) // 3600) + 1
        since = max(int((request.since + INDIA) // 3600), until - LONGEST)
        step = 1 if until - since <= HOURS else 24
        found = await self._store.reviewing.tallies(since, until, within)
        sums: dict[tuple[int, str, str, str, int], int] = defaultdict(int)
        for row in found:
            sums[row.hour - row.hour % step, row.department, row.rule, row.disposition, row.level] += row.count
        series = [
            {
                "hour": hour, "at": hour * 3600 - INDIA, "department": department, "rule": rule, "disposition": disposition,
                "level": "" if level < 0 else Level(level).text, "count": count,
            }
            for (hour, department, rule, disposition, level), count in sorted(sums.items())
        ]  # fmt: skip
        now = self._clock()
        held = await self._store.reviewing.counted(Sought(Filter(), within=within, soon=now + self._config.review.warn_before))
        queue = dict.fromkeys(_QUEUE, 0) | await self._store.reviewing.queued(within)
        return Rows(({
            "step": step, "series": series, "oldest": held.oldest, "held": held.states, "due_soon": held.due_soon,
            "next_deadline": held.next_deadline, "queue": queue, "hops": self._hops(), "now": now,
        },))  # fmt: skip

    def _hops(self) -> list[dict[str, Any]]:
        """Each next hop of the routes: whether it answers, as far as the relay has tried it."""
        out = []
        for hop in self._relay.routes.hops:
            lane = self._relay.lanes.get(hop)
            errors = [] if lane is None else [breaker.error for breaker in lane.breakers.values() if breaker.error is not None]
            state = "away" if errors else "well" if lane is not None and lane.served else "not used"
            out.append({
                "route": hop.name, "state": state, "since": 0.0 if lane is None else lane.served,
                "last_reply": str(errors[0])[:300] if errors else "" if lane is None else lane.way,
                "waiting": 0 if lane is None else sum(len(job.rows) for job in lane.jobs),
            })  # fmt: skip
        return out

    async def rules(self, request: review.ListRules, _: Who) -> Rows:
        """The rules in force, in their order."""
        policy = self._policy()
        words = dict.fromkeys(WORDS, "…")
        out = []
        for rule in policy.rules.rules:
            row: dict[str, Any] = {
                "id": rule.id, "title": rule.title, "source": rule.source, "then": rule.then_text, "mode": rule.mode, "pack": rule.pack,
                "explain": rule.explain, "owner": rule.owner, "what": "", "why": "", "next": [],
            }  # fmt: skip
            if rule.explain:
                said = policy.explanations.sentence(rule.explain, request.language[:16], words)
                row |= {"what": said.what, "why": said.why, "next": list(said.next)}
            out.append(row)
        return Rows(tuple(out))


def _within(scope: frozenset[str] | None, department: str) -> frozenset[str] | None:
    """The departments to count: *department* alone where one is asked for, and never more than *scope*."""
    if not department:
        return scope
    return frozenset({department}) if scope is None or department in scope else frozenset()
