"""Lists of held mail for those who work through it: found, searched, counted; and the views that each of them saved.

What it is: ``Reviews``, the answers to FindHeld, CountHeld, ListViews, SaveView and DropView.
Who calls it: ``reception``, by ``table``.
Must never: list a record of a department in which the person may not list; show a subject, or find by one, where he may not see
content; show more of sealed mail than reference, sender, rule and deadline.
Sources: docs/design.md section 4 ("Held mail"); hostile-inputs catalogue W05, W12.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from gateway import review
from gateway.config import Config
from gateway.envelope import new_id
from gateway.keeper import recorded, records
from gateway.keeper.access import Absent, Who
from gateway.keeper.exceptions import Wrong
from gateway.keeper.reception import Table
from gateway.keeper.terms import Terms
from gateway.levels import Level
from gateway.policy import Policy
from gateway.requests import Done, Rows
from gateway.roles import Act
from gateway.stores.base import Batch, HoldRow, Store
from gateway.stores.reviewed import Brief, ReviewBatch, Sought, ViewRow
from gateway.vault.vault import Vault, VaultError

PAGE = 200
"""Records of one answer at most."""
VIEWS = 50
"""Saved views of one person."""
_NAME = 60  # characters of a view's name
_CHOICES, _TEXT = 100, 255  # of one field of a filter


class Reviews:
    """Answers from one store. *policy* gives the rules now in force, for their titles."""

    def __init__(self, config: Config, store: Store, vault: Vault, policy: Callable[[], Policy], clock: Callable[[], float]) -> None:
        self._config = config
        self._store = store
        self._vault = vault
        self._terms = Terms(vault)
        self._policy = policy
        self._clock = clock

    def table(self) -> Table:
        """See ``reception``."""
        return {
            review.FindHeld: (Act.LIST, self.find), review.CountHeld: (Act.LIST, self.count), review.ListViews: (Act.LIST, self.views),
            review.SaveView: (Act.LIST, self.save), review.DropView: (Act.LIST, self.drop),
        }  # fmt: skip

    # --- held mail ----------------------------------------------------------------------------------------------------

    async def find(self, request: review.FindHeld, who: Who) -> Rows:
        """A page of records. Raises Wrong, StoreError."""
        sought = replace(
            self._sought(request.filter, who), limit=max(1, min(request.limit, PAGE)), before=_text(request.before, "before"),
            changed_since=_time(request.changed_since, "changed_since"),
        )  # fmt: skip
        found = await self._store.reviewing.found(sought)
        briefs = await self._store.reviewing.briefs([row.message_id for row in found if not row.sealed])
        approvals = await self._store.reviewing.approvals_of([row.id for row in found])
        rules = {rule.id: rule for rule in self._policy().rules.rules}
        out = []
        for row in found:
            brief = briefs.get(row.message_id)
            rule = rules.get(row.rule)
            told: dict[str, Any] = {
                "tiers": {} if brief is None else _tiers(row, brief), "assigned": row.assigned, "approvals": approvals.get(row.id, 0),
                "needed": self._needed(row), "requested": row.requested, "updated": row.updated,
                "title": "" if rule is None else rule.title, "source": "" if rule is None else rule.source,
            }  # fmt: skip
            shown = records.held(row, self._subject(row, brief) if who.may(Act.CONTENT, row.department) else "") | told
            if row.sealed:
                shown |= {"recipients": [], "released": [], "subject": "", "size": 0, "level": None}
            out.append(shown)
        return Rows(tuple(out))

    async def count(self, request: review.CountHeld, who: Who) -> Rows:
        """One row of numbers. Raises Wrong, StoreError."""
        soon = self._clock() + self._config.review.warn_before
        found = await self._store.reviewing.counted(replace(self._sought(request.filter, who), soon=soon))
        levels = {"none" if number == "-1" else Level(int(number)).text: count for number, count in found.levels.items()}
        return Rows(({
            "total": found.total, "states": found.states, "levels": levels, "rules": found.rules, "departments": found.departments,
            "oldest": found.oldest, "next_deadline": found.next_deadline, "due_soon": found.due_soon, "more": found.more,
        },))  # fmt: skip

    def _sought(self, asked: review.Filter, who: Who) -> Sought:
        _check(asked)
        mine = who.name if asked.assigned == "me" else asked.assigned
        departments = tuple(one.lower() for one in asked.departments)
        due = asked.due + self._clock() if 0 < asked.due < review.RELATIVE else asked.due
        return Sought(
            replace(asked, words="", assigned=mine, departments=departments, due=due), self._terms.sought(asked.words),
            who.scope(Act.LIST), who.scope(Act.CONTENT),
        )  # fmt: skip

    def _subject(self, row: HoldRow, brief: Brief | None) -> str:
        if brief is None or row.sealed:
            return ""
        try:
            return self._vault.open_field(row.message_id, brief.subject).decode("utf-8", "replace")
        except VaultError:
            return "(cannot be opened)"

    def _needed(self, row: HoldRow) -> int:
        """How many people have to say yes."""
        least = self._config.relay.two_people_from
        return 2 if least != "never" and row.level is not None and row.level >= Level[least] else 1

    # --- saved views --------------------------------------------------------------------------------------------------

    async def views(self, _: review.ListViews, who: Who) -> Rows:
        """One's own, by name."""
        found = await self._store.reviewing.views(who.name)
        return Rows(tuple({"id": row.id, "name": row.name, "filter": row.filter, "created": row.created} for row in found))

    async def save(self, request: review.SaveView, who: Who) -> Rows:
        """Keeps a view, or replaces the one of that name. Raises Wrong, StoreError."""
        name = " ".join(request.name[: 4 * _NAME].split())
        if not name or len(name) > _NAME or not name.isprintable():
            raise Wrong(f"a view has a name of 1 to {_NAME} printable characters")
        _check(request.filter)
        self._terms.sought(request.filter.words)
        there = await self._store.reviewing.views(who.name)
        same = next((row for row in there if row.name == name), None)
        if same is None and len(there) >= VIEWS:
            raise Wrong(f"you have {VIEWS} views already; remove one first", 1)
        kept: dict[str, Any] = msgspec.to_builtins(request.filter)
        row = ViewRow(new_id() if same is None else same.id, who.name, name, kept, self._clock())
        await self._store.write(Batch(review=ReviewBatch(views=[row])))
        return Rows(({"id": row.id, "name": row.name, "filter": row.filter, "created": row.created},))

    async def drop(self, request: review.DropView, who: Who) -> Done:
        """Forgets one's own view. Raises Absent, StoreError."""
        if not any(row.id == request.id for row in await self._store.reviewing.views(who.name)):
            raise Absent
        await self._store.write(Batch(review=ReviewBatch(drop_views=[request.id])))
        return Done()


def _tiers(row: HoldRow, brief: Brief) -> dict[str, str]:
    """The tier of each recipient, as it was decided."""
    kept = recorded.kept_of(brief.verdict)
    return {one.address: one.tier for one in kept.recipients if one.address in row.recipients}


def _check(asked: review.Filter) -> None:
    """Bounds, before anything is done with it: the rest is parameters of a query (W12)."""
    for name in ("states", "levels", "rules", "departments"):
        values: tuple[str, ...] = getattr(asked, name)
        if len(values) > _CHOICES:
            raise Wrong(f"{name}: at most {_CHOICES} at once")
        for value in values:
            _text(value, name)
    _text(asked.assigned, "assigned")
    for name in ("since", "until", "due"):
        _time(getattr(asked, name), name)


def _text(value: str, name: str) -> str:
    if len(value) > _TEXT:
        raise Wrong(f"{name}: at most {_TEXT} characters")
    return value


def _time(value: float, name: str) -> float:
    if not math.isfinite(value):
        raise Wrong(f"{name}: is no time")
    return value
