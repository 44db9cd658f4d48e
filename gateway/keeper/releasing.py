"""Releasing held mail: one person or two, what they waive, and what the rules of now say beside it.

What it is: ``Releasing``: a release to all or some recipients with its approvals, and the decision anew under the rules of today.
Who calls it: ``quarantine``.
Must never: release what a rule refuses now; count one person twice, or the sender; deliver anything but the octets that were
approved; leave an allowance behind for the next message (L11).
Sources: docs/design.md section 4 ("Held mail"); hostile-inputs catalogue L11, W07, W08, 4.1 rule 9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from gateway.envelope import new_id
from gateway.keeper.access import Forbidden, Who, grants_of
from gateway.keeper.act import Deliverer
from gateway.keeper.archive import Journal, Journaled
from gateway.keeper.copies import Asked, Copied, Copies
from gateway.keeper.correspondents import Correspondents
from gateway.keeper.exceptions import Register, Wrong
from gateway.keeper.held import HeldMail, Item, needed, not_the_sender
from gateway.keeper.officer_answer import OfficerAnswer
from gateway.keeper.remarks import PENDING
from gateway.levels import Level
from gateway.policy import Policy, decide, relevel
from gateway.roles import Act, may
from gateway.stores.base import ApprovalRow, Batch, DeliveryRow, DeliveryState, HoldRow, HoldState, HoldUpdate
from gateway.stores.reviewed import RemarkKind
from gateway.verdict import Direction, Disposition, Edit, RecipientVerdict, RuleTrace

_SEALED = "this message is sealed to the security officer; the gateway cannot open it, so it cannot release it"


@dataclass(frozen=True, slots=True)
class Needs:
    """What the rules of now ask for one recipient of what is released."""

    require_aes256: bool
    copies: tuple[str, ...] = ()
    trace: tuple[RuleTrace, ...] = ()
    archive: tuple[str, ...] = ()


class Releasing:
    """See the module. *policy* gives the policy now in force."""

    def __init__(
        self, mail: HeldMail, register: Register, relay: Deliverer, policy: Callable[[], Policy], copies: Copies,
        correspondents: Correspondents, answer: OfficerAnswer, journal: Journal | None = None,
    ) -> None:  # fmt: skip
        self._mail = mail
        self._register = register
        self._relay = relay
        self._policy = policy
        self._copies = copies
        self._correspondents = correspondents
        self._answer = answer
        self._journal = journal or Journal()

    async def release(self, id: str, reason: str, recipients: Sequence[str], who: Who) -> str:
        """Releases to *recipients* (all that wait, when empty), or records the first of two approvals. Returns what was done as a
        plain sentence. Raises Absent, Forbidden, Wrong, StoreError."""
        reason = needed(reason)
        async with self._mail.one:
            hold = await self._mail.row(id, who)
            if not (who.may(Act.DECIDE, hold.department) or who.may(Act.APPROVE, hold.department)):
                raise Forbidden
            if hold.sealed:
                raise Wrong(_SEALED, 1)
            item = await self._mail.of_row(hold)
            chosen = _chosen(item, recipients)
            not_the_sender(item, who)
            # What was looked at and waived for one recipient is not waived for another.
            each = {address: frozenset(self.waived(item, address)) for address in chosen}
            verdicts = {address: self._needs(item, address, rules) for address, rules in each.items()}
            approval = self._approval(item, who, reason, chosen, tuple(sorted(frozenset().union(*each.values()))))
            if not self.two_needed(hold):
                who.need(Act.DECIDE, hold.department)
            elif not await self._other_approval(item, approval, who):
                if not who.may(Act.DECIDE, hold.department):
                    raise Forbidden("a reviewer has to approve first; your role gives the second yes")
                return await self._first(item, approval, who)
            elif not who.may(Act.APPROVE, hold.department):
                raise Forbidden("one reviewer has approved; the second yes needs a person with the role of second approver")
            return await self._deliver(item, approval, verdicts, who, "held-released")

    async def again(self, id: str, apply: bool, reason: str, who: Who) -> list[dict[str, Any]]:
        """What the rules of today say of each waiting recipient: rows ``address disposition rule explain words released``. With
        *apply* those whom nothing holds any more are released; nothing is waived. Raises Absent, Forbidden, Wrong, StoreError."""
        if apply:
            reason = needed(reason)
        async with self._mail.one:
            item = await self._mail.item(id, who, Act.DECIDE, opened=apply)
            item.needs_open()
            if item.hold.sealed:
                raise Wrong(_SEALED, 1)
            said = {address: self.verdict(item, address, frozenset()) for address in item.waiting}
            free = {address: verdict for address, verdict in said.items() if verdict and verdict.disposition is Disposition.DELIVER}
            if apply:
                not_the_sender(item, who)
                if not free:
                    raise Wrong("the rules of today hold this message for everybody who waits; nothing was released", 1)
                needs = {address: self._of(item, address, verdict) for address, verdict in free.items()}
                await self._deliver(item, self._approval(item, who, reason, tuple(free), ()), needs, who, "held-decided-again")
            rows = []
            for address, verdict in said.items():
                _, kept = item.kept_of(address)
                rows.append({
                    "address": address, "disposition": verdict.disposition.text if verdict else "hold",
                    "rule": verdict.rule if verdict else kept.rule, "explain": verdict.explain if verdict else kept.explain,
                    "words": dict(verdict.facts) if verdict else {}, "released": apply and address in free,
                })  # fmt: skip
            return rows

    # --- what the rules say -------------------------------------------------------------------------------------------

    def two_needed(self, hold: HoldRow) -> bool:
        """Whether a release of *hold* needs two people."""
        least = self._mail.config.relay.two_people_from
        return least != "never" and hold.level is not None and hold.level >= Level[least]

    def waived(self, item: Item, address: str) -> tuple[str, ...]:
        """The rules that a release to *address* waives: those that held it, and those that hold it for the level that a person
        found. Every other rule is asked again."""
        _, kept = item.kept_of(address)
        held = kept.hits or ((kept.rule,) if kept.rule and kept.disposition == "hold" else ())
        if not _relevelled(item):
            return held
        before, now = self._verdict(item, address, None), self.verdict(item, address, frozenset())
        if before is None or now is None:
            return held
        return tuple(dict.fromkeys((*held, *(rule for rule in now.hits if rule not in before.hits))))

    def verdict(self, item: Item, address: str, waived: frozenset[str]) -> RecipientVerdict | None:
        """The recorded facts, at the level that a person found, under the rules of now; None where no facts were recorded."""
        return self._verdict(item, address, _relevelled(item), waived)

    def _verdict(self, item: Item, address: str, level: Level | None, waived: frozenset[str] = frozenset()) -> RecipientVerdict | None:
        place, _ = item.kept_of(address)
        facts = item.message.facts
        mine = facts.get("recipients", ())
        if not 0 <= place < len(mine):
            return None
        about: Mapping[str, object] = facts["message"] if level is None else relevel.facts_at(facts["message"], level)
        return decide.again(about, mine[place], self._policy(), waived, exceptions=self._register.current, now=self._mail.clock())

    def _needs(self, item: Item, address: str, waived: frozenset[str]) -> Needs:
        """What the delivery needs, after the rules of now had their say. Raises Wrong."""
        verdict = self.verdict(item, address, waived)
        if verdict is None:
            _, kept = item.kept_of(address)
            return Needs(kept.require_aes256, kept.copies, archive=kept.archive)
        if verdict.disposition is Disposition.REFUSE:
            raise Wrong(f"the rule {verdict.rule} refuses this message for {address}; no reviewer can release it", 1)
        if verdict.disposition is not Disposition.DELIVER:
            raise Wrong(f"the rule {verdict.rule or 'no-rule-matched'} holds this message for {address} now, and cannot be waived here", 1)
        return self._of(item, address, verdict)

    @staticmethod
    def _of(item: Item, address: str, verdict: RecipientVerdict) -> Needs:
        _, kept = item.kept_of(address)
        # What a waived rule asked for besides holding is still asked for.
        copies = tuple(dict.fromkeys((*kept.copies, *verdict.copies)))
        journals = tuple(dict.fromkeys((*kept.archive, *verdict.archive)))
        return Needs(verdict.require_aes256 or kept.require_aes256, copies, verdict.trace, journals)

    # --- approvals ----------------------------------------------------------------------------------------------------

    def _approval(self, item: Item, who: Who, reason: str, recipients: Sequence[str], waived: tuple[str, ...]) -> ApprovalRow:
        hold = item.hold
        return ApprovalRow(new_id(), hold.id, self._mail.clock(), who.name, reason, hold.sha256, tuple(recipients), waived, hold.department)

    async def _other_approval(self, item: Item, mine: ApprovalRow, who: Who) -> bool:
        """Whether another person, who may still give it, has approved the same octets, at least these recipients and these rules."""
        since = await self._level_since(item)
        approvals = [one for one in await self._mail.store.approvals(item.hold.id) if one.created > since]
        people = {one.name: one for one in await self._mail.store.users()}
        email = who.email.casefold()
        same = {name for name, one in people.items() if email and one.email.casefold() == email} | {who.name}
        if any(one.user in same and covers(one, mine) for one in approvals):
            raise Wrong(f"{mine.user} has approved this already; another person has to", 1)
        return any(
            one.user not in same and one.user in people and may(grants_of(people[one.user]), Act.DECIDE, item.hold.department)
            for one in approvals
            if covers(one, mine)
        )

    async def first_yes(self, item: Item) -> str:
        """Who has approved to somebody who still waits, and may still do so; empty where nobody has. Raises StoreError."""
        since = await self._level_since(item)
        people = {one.name for one in await self._mail.people(item.hold.department, (Act.DECIDE,))}
        found = [one.user for one in await self._mail.store.approvals(item.hold.id) if one.created > since and one.user in people
                 and set(one.recipients) & set(item.waiting)]  # fmt: skip
        return found[-1] if found and item.hold.state is HoldState.APPROVED else ""

    async def _level_since(self, item: Item) -> float:
        """When a person last changed the level: a yes from before was to something else."""
        remarks = await self._mail.store.reviewing.remarks(item.hold.reference)
        levels = (one for one in remarks if one.kind is RemarkKind.LEVEL and one.hold_id == item.hold.id)
        return max((one.created for one in levels if not one.to.endswith(PENDING)), default=0.0)

    async def _first(self, item: Item, approval: ApprovalRow, who: Who) -> str:
        hold, rules = item.hold, list(approval.waived)
        log = self._mail.events("held-approved", item, approval.recipients, who, approval.reason, rules=rules)
        change = HoldUpdate(hold.id, (hold.state,), HoldState.APPROVED, approval.created, seen=hold.updated)
        await self._mail.write(Batch(approvals=[approval], hold_updates=[change], audit=log))
        return "approved 1 of 2"

    # --- delivering ---------------------------------------------------------------------------------------------------

    async def _deliver(self, item: Item, approval: ApprovalRow, needed: Mapping[str, Needs], who: Who, action: str) -> str:
        hold, now = item.hold, approval.created
        content = await self._mail.content(hold)
        rows = [self._delivery(item, address, now, needs.require_aes256, content) for address, needs in needed.items()]
        copied = await self._copied(item, [Asked(row, needed[row.recipient].copies, needed[row.recipient].trace) for row in rows], now)
        filed = self._filed(item, needed, now)
        pairs = self._correspondents.rows(hold.sender, [row.recipient for row in rows], hold.department) if hold.verified_originator else []
        released = (*hold.released, *approval.recipients)
        rest = [one for one in hold.recipients if one not in released]
        change = HoldUpdate(hold.id, (hold.state,), HoldState.HELD if rest else HoldState.RELEASED, now, released, seen=hold.updated)
        log = self._mail.events(action, item, approval.recipients, who, approval.reason, rules=list(approval.waived))
        rows += copied.deliveries
        told = self._answer.released(item, approval.recipients, len(rest), now)
        approvals = [approval] if action == "held-released" else []
        await self._mail.write(
            Batch(
                approvals=approvals, hold_updates=[change], correspondents=pairs, journal=filed.rows,
                audit=[*log, *copied.audit, *filed.audit],
                bodies=[report.body for report in told], messages=[report.message for report in told],
                deliveries=[*rows, *(report.delivery for report in told)],
            )
        )  # fmt: skip
        self._correspondents.written(pairs)
        self._journal.written(filed)
        self._relay.offer(rows, content)
        for report in told:
            self._relay.offer([report.delivery], report.content)
        count = len(approval.recipients)
        return f"released {hold.reference} to {count} recipient{'s' * (count != 1)}" + (f"; {len(rest)} still held" if rest else "")

    async def _copied(self, item: Item, asked: Sequence[Asked], now: float) -> Copied:
        """The copies that go with a release; none where the message was copied when others got it."""
        if not any(one.copies for one in asked):
            return Copied()
        earlier = [row.recipient for row in await self._mail.store.deliveries(reference=item.hold.reference)]
        return self._copies.make(asked, (*earlier, *item.hold.recipients), now)

    def _filed(self, item: Item, needed: Mapping[str, Needs], now: float) -> Journaled:
        """The journal copies of what is released for the first time."""
        became = [
            (one.address, "released" if one.address in needed or one.address in item.hold.released else one.disposition)
            for one in item.kept.recipients
        ]
        names = [name for needs in needed.values() for name in needs.archive]
        return self._journal.released(item.message, item.hold, became, item.kept.rules_version, names, now)

    def _delivery(self, item: Item, address: str, now: float, require_aes256: bool, content: bytes) -> DeliveryRow:
        row = delivery(item, address, now, require_aes256, self._relay.incarnation)
        level = _relevelled(item)
        return row if level is None else self._labelled(item, row, level, content)

    def _labelled(self, item: Item, row: DeliveryRow, level: Level, content: bytes) -> DeliveryRow:
        """*row* with the label of *level*, which a person found."""
        about, config = item.message.facts.get("message", {}), self._mail.config
        outbound = row.direction == Direction.OUTBOUND.value and item.hold.verified_originator
        edits: tuple[Edit, ...] = relevel.edits_at(
            row.edits, level, content, item.hold.sender, config, self._policy(), self._mail.clock(),
            declared=item.kept.classification.get("declared") == int(level), outbound=outbound, signed=bool(about.get("message.signed")),
            subject=self._mail.subject(item.message),
        )  # fmt: skip
        return replace(row, edits=edits, level=int(level))


def covers(one: ApprovalRow, mine: ApprovalRow) -> bool:
    """Whether *one* says yes to the same octets, and to no less than *mine*: recipients, and rules that are waived."""
    return one.sha256 == mine.sha256 and set(mine.recipients) <= set(one.recipients) and set(mine.waived) <= set(one.waived)


def delivery(item: Item, address: str, now: float, require_aes256: bool, lease: str) -> DeliveryRow:
    """The delivery of a held message to *address*, with the edits that were recorded for it; *lease* as in ``notices.make_report``."""
    message = item.message
    place, kept = item.kept_of(address)
    edits = item.details.edits[place] if 0 <= place < len(item.details.edits) else ()
    return DeliveryRow(
        id=new_id(), message_id=message.id, reference=message.reference, body_id=message.body_id, created=now,
        department=message.department, sender=message.sender, recipient=address, state=DeliveryState.LEASED, notify=kept.notify,
        orcpt=kept.orcpt, ret=message.ret, envid=message.envid, eight_bit=message.eight_bit, smtputf8=message.smtputf8,
        size=message.size, sha256=message.sha256, edits=edits, require_aes256=require_aes256, direction=kept.direction,
        verified_originator=message.verified_originator, is_report=message.is_report, level=message.level, next_attempt=now,
        lease=lease,
    )  # fmt: skip


def _chosen(item: Item, recipients: Sequence[str]) -> list[str]:
    item.needs_open()
    unknown = [one for one in recipients if one not in item.waiting]
    if unknown:
        raise Wrong(f"{unknown[0][:320]} is not among the recipients that wait", 1)
    return list(dict.fromkeys(recipients)) or list(item.waiting)


def _relevelled(item: Item) -> Level | None:
    """The level that a person found, where it is another than the one that was decided."""
    level = item.hold.level
    return Level(level) if level is not None and level != item.message.level and not item.hold.sealed else None
