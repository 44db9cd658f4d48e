"""Mail to reviewers: once a day what waits for them, and once for each held record that its deadline is near.

What it is: ``Digests``: who gets which, and the rows of it: the mail, the note that it went out, and the audit event become durable
together.
Who calls it: ``housekeeping``.
Must never: write to an address outside the organisation; tell anybody of a department in which he does not decide; send one twice,
also after a restart.
Sources: RFC 3834; hostile-inputs catalogue L05.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway import logs, roles
from gateway.audit import events
from gateway.config import Config
from gateway.keeper.act import Deliverer
from gateway.keeper.records import level_text
from gateway.policy import Policy, contacts, digest
from gateway.policy.digest import Frame, Item
from gateway.relay.notices import Report, Sealer, make_message
from gateway.review import Filter
from gateway.roles import Act, Grant
from gateway.stores.base import AuditEvent, Batch, HoldRow, Store, UserRow
from gateway.stores.reviewed import INDIA, ReviewBatch, Sought, ToldRow

FIRST = 10
"""Records that a daily mail names."""
LISTED = 50
"""Records that a mail about deadlines names."""
AT_ONCE = 20
"""Daily mails of one step."""
_WARNED = 200  # records of one step
_DAY = 86400.0
_log = logs.get("digests")


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who decides: where mail reaches him, and the departments, None for all."""

    name: str
    email: str
    language: str
    departments: frozenset[str] | None

    def reads(self, department: str) -> bool:
        """Whether he decides about mail of *department*."""
        return self.departments is None or department in self.departments


class Digests:
    """Makes and sends them. *policy* gives the sentences now in force."""

    def __init__(
        self, config: Config, store: Store, vault: Sealer, relay: Deliverer, policy: Callable[[], Policy], clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._store = store
        self._vault = vault
        self._relay = relay
        self._policy = policy
        self._clock = clock
        self._one = asyncio.Lock()

    async def send(self) -> int:
        """Sends what is due now. Returns how many mails. Raises StoreError."""
        async with self._one:
            if not (self._config.review.digest or self._config.review.warn_before):
                return 0
            readers = [one for user in await self._store.users() if (one := self._reader(user)) is not None]
            return await self._warn(readers) + await self._daily(readers)

    def _reader(self, user: UserRow) -> Reader | None:
        """*user*, where he decides about anything and has an address inside the organisation."""
        if user.disabled or not user.email:
            return None
        grants = [Grant.parse(one) for one in user.grants]
        scopes = [roles.scope(grants, act) for act in (Act.DECIDE, Act.APPROVE)]
        departments = None if None in scopes else frozenset().union(*(one for one in scopes if one is not None))
        if departments is not None and not departments:
            return None
        path = contacts.within(user.email, self._config)
        return None if path is None else Reader(user.name, path.text, user.language, departments)

    # --- once a day ---------------------------------------------------------------------------------------------------

    async def _daily(self, readers: Sequence[Reader]) -> int:
        at, now = self._config.review.digest, self._clock()
        day, second = divmod(now + INDIA, _DAY)
        if not at or second < int(at[:2]) * 3600 + int(at[3:]) * 60:
            return 0
        keys = {f"digest {int(day)} {one.name}": one for one in readers}
        told = await self._store.reviewing.told(list(keys))
        waiting = [(key, one) for key, one in keys.items() if key not in told][:AT_ONCE]
        made: dict[frozenset[str] | None, tuple[dict[str, int], int, list[Item]]] = {}
        reports: list[Report] = []
        audit: list[AuditEvent] = []
        until = now + self._config.review.warn_before
        for _, one in waiting:
            if one.departments not in made:
                counted = await self._store.reviewing.counted(Sought(Filter(), within=one.departments, soon=until))
                first = await self._store.reviewing.due(float("inf"), FIRST, one.departments)
                made[one.departments] = counted.states, counted.due_soon, [_item(hold) for hold in first]
            states, soon, items = made[one.departments]
            if items:
                report = self._mail(one, digest.daily(self._frame(one, now), states, soon, until, items), now)
                reports.append(report)
                audit.append(
                    events.act(
                        "digest-sent", now, "", "", recipient=one.email, kind="info", notice=report.message.reference,
                        count=sum(states.values()), reviewer=one.name,
                    )
                )  # fmt: skip
        await self._write(reports, [ToldRow(key, now) for key, _ in waiting], audit)
        return len(reports)

    # --- deadlines ----------------------------------------------------------------------------------------------------

    async def _warn(self, readers: Sequence[Reader]) -> int:
        before, now = self._config.review.warn_before, self._clock()
        if not before:
            return 0
        near = await self._store.reviewing.due(now + before, _WARNED, None, _NEAR)
        listed: dict[Reader, list[HoldRow]] = defaultdict(list)
        audit: list[AuditEvent] = []
        for hold in near:
            told = [one for one in readers if one.reads(hold.department)]
            for one in told:
                listed[one].append(hold)
            if not told:
                _log.warning("a deadline is near, and nobody who decides has an address to be told at", reference=hold.reference)
            audit.append(
                events.act(
                    "deadline-warned", now, "", "", reference=hold.reference, department=hold.department, rule=hold.rule, kind="info",
                    held=hold.id, reviewers=[one.name for one in told],
                )
            )  # fmt: skip
        reports = []
        for one, holds in listed.items():
            items = [_item(hold) for hold in holds[:LISTED]]
            reports.append(self._mail(one, digest.near(self._frame(one, now), items, len(holds) - len(items)), now))
        await self._write(reports, [ToldRow(_NEAR + hold.id, now) for hold in near], audit)
        return len(reports)

    # --- the parts ----------------------------------------------------------------------------------------------------

    def _frame(self, one: Reader, now: float) -> Frame:
        policy, config = self._policy(), self._config
        languages = (one.language,) if one.language in policy.explanations.languages else config.languages
        return Frame(one.email, config.hostname, config.web.public_url, now, policy.explanations, languages)

    def _mail(self, one: Reader, content: bytes, now: float) -> Report:
        # Nothing of a message is in it, so it need not wait for an AES-256 hop.
        return make_message(
            content, one.email, self._vault, now, self._relay.incarnation, about="", department="", level=None, require_aes256=False,
            door="notice",
        )  # fmt: skip

    async def _write(self, reports: Sequence[Report], told: Sequence[ToldRow], audit: Sequence[AuditEvent]) -> None:
        if not told:
            return
        await self._store.write(
            Batch(
                bodies=[report.body for report in reports],
                messages=[report.message for report in reports],
                deliveries=[report.delivery for report in reports],
                review=ReviewBatch(told=told),
                audit=audit,
            )
        )
        for report in reports:
            self._relay.offer([report.delivery], report.content)


_NEAR = "deadline "


def _item(hold: HoldRow) -> Item:
    return Item(hold.reference, hold.rule, "" if hold.sealed else level_text(hold.level) or "", hold.deadline)
