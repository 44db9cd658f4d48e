"""What reviewers say of held mail without ending it: a question, another level, another reviewer.

What it is: ``Remarks``: each as a sealed remark with its change of the record, its mail and its audit event, in one batch.
Who calls it: ``quarantine``.
Must never: write to anybody outside the organisation; lower a level on one person's word; keep a remark in the clear.
Sources: docs/design.md section 4; J&K Circular 26-JK(GAD) of 2024 (no downgrading to share); hostile-inputs catalogue L05, W07.

A level that somebody lowers needs a second person: the first word is a pending remark (``to`` ends in a question mark), the same word
of another person with the role of second approver puts it in force. What was said at once, in force, has the level alone in ``to``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.address import Path
from gateway.envelope import new_id
from gateway.keeper.access import Forbidden, Who
from gateway.keeper.act import Deliverer
from gateway.keeper.exceptions import Wrong
from gateway.keeper.held import HeldMail, Item, needed, not_the_sender
from gateway.keeper.threads import Threads
from gateway.levels import Level
from gateway.policy import Policy, contacts, review_mail
from gateway.relay.notices import Report, make_message
from gateway.roles import Act
from gateway.stores.base import Batch, HoldRow, HoldUpdate, UserRow
from gateway.stores.reviewed import RemarkKind, RemarkRow, ReviewBatch

PENDING = "?"
"""What the level of a remark ends in while it waits for the second person."""


class Links(Protocol):
    """Makes the signed link of the officer's page."""

    def url(self, reference: str, originator: str, now: float) -> str:
        """Where the *originator* of *reference* answers; empty where there is no page."""


class Remarks:
    """See the module. *policy* gives the policy now in force."""

    def __init__(self, mail: HeldMail, relay: Deliverer, policy: Callable[[], Policy], threads: Threads, links: Links) -> None:
        self._mail = mail
        self._relay = relay
        self._policy = policy
        self._threads = threads
        self._links = links

    async def ask(self, id: str, text: str, who: Who) -> str:
        """Asks the originator. Returns what was done. Raises Absent, Forbidden, Wrong, StoreError."""
        text = needed(text, "the question")
        async with self._mail.one:
            item = await self._mail.item(id, who, Act.DECIDE, opened=False)
            item.needs_open()
            hold, now, config = item.hold, self._mail.clock(), self._mail.config
            to = contacts.within(hold.sender, self._mail.config) if hold.verified_originator else None
            if to is None or hold.sealed:
                raise Wrong(
                    "nobody can be asked: the message is sealed" if hold.sealed
                    else "nobody can be asked: the sender is not a verified originator of this organisation", 1,
                )  # fmt: skip
            contact = config.contacts.postmaster or f"postmaster@{config.hostname}"
            content = review_mail.question(
                hold.reference, text, self._links.url(hold.reference, hold.sender, now), contact, to.text, config.hostname, now,
                self._policy().explanations, config.languages,
            )  # fmt: skip
            protect = any(one.require_aes256 for one in item.kept.recipients)
            report = self._message(item, content, to, now, protect=protect)
            remark = self._remark(item, who, RemarkKind.QUESTION, text, now)
            await self._said(item, who, "held-asked", HoldUpdate(hold.id, (hold.state,), hold.state, now), remark, [report])
        return f"asked {to.text} about {hold.reference}"

    def reaches(self, sender: str) -> bool:
        """Whether *sender* is an address to which we may write."""
        return contacts.within(sender, self._mail.config) is not None

    async def forward(self, id: str, to: str, note: str, who: Who) -> str:
        """Hands the item to the person *to*. Returns what was done. Raises Absent, Forbidden, Wrong, StoreError."""
        note = needed(note, "a note")
        async with self._mail.one:
            item = await self._mail.item(id, who, Act.DECIDE, opened=False)
            item.needs_open()
            hold, now, config = item.hold, self._mail.clock(), self._mail.config
            found = next((one for one in await self.colleagues(hold) if one.name == to), None)
            if found is None:
                raise Wrong(f"{to[:64]!r} is nobody who may decide about this message", 1)
            if found.name == hold.assigned:
                raise Wrong(f"{found.name} has this message already", 1)
            reports = []
            mailbox = contacts.within(found.email, self._mail.config)
            if mailbox is not None:
                title = next((rule.title for rule in self._policy().rules.rules if rule.id == hold.rule), "")
                url = f"{config.web.public_url.rstrip('/')}/held/{hold.id}" if config.web.public_url else ""
                level = "" if hold.level is None or hold.sealed else Level(hold.level).text
                spoken = (found.language,) if found.language else config.languages
                content = review_mail.forwarded(
                    hold.reference, who.name, hold.rule or hold.reason, title, level, hold.deadline, url, mailbox.text, config.hostname,
                    now, self._policy().explanations, spoken,
                )  # fmt: skip
                reports.append(self._message(item, content, mailbox, now, protect=False))
            change = HoldUpdate(hold.id, (hold.state,), hold.state, now, assigned=found.name)
            remark = self._remark(item, who, RemarkKind.FORWARD, note, now, to=found.name)
            await self._said(item, who, "held-forwarded", change, remark, reports, to=found.name)
        return f"handed {hold.reference} to {found.name}" + (
            "" if reports else "; no mail was sent, since no address of this organisation is known"
        )

    async def colleagues(self, hold: HoldRow) -> list[UserRow]:
        """Those to whom *hold* may be handed. Raises StoreError."""
        return await self._mail.people(hold.department, (Act.DECIDE, Act.APPROVE))

    async def relevel(self, id: str, level: str, reason: str, who: Who) -> str:
        """Gives the item another level: higher at one person's word, lower at two people's. Returns what was done. Raises Absent,
        Forbidden, Wrong, StoreError."""
        reason = needed(reason)
        try:
            wanted = Level.parse(level[:40])
        except ValueError:
            raise Wrong(f"{level[:40]!r} is no level; the levels are {', '.join(one.text for one in Level)}") from None
        async with self._mail.one:
            item = await self._mail.item(id, who)
            hold = item.hold
            if not (who.may(Act.DECIDE, hold.department) or who.may(Act.APPROVE, hold.department)):
                raise Forbidden
            item.needs_open()
            if hold.sealed:
                raise Wrong("the message is sealed to the security officer; he alone can say which level it has", 1)
            if hold.level == int(wanted):
                raise Wrong(f"the message has the level {wanted.text} already", 1)
            if hold.level is None and wanted is Level.UNCLASSIFIED:
                raise Wrong("the message has no level; nothing is labelled UNCLASSIFIED unless its originator declared it", 1)
            if hold.level is None or wanted > hold.level:
                who.need(Act.DECIDE, hold.department)
                return await self._relevelled(item, wanted, reason, who)
            not_the_sender(item, who)
            return await self._lower(item, wanted, reason, who)

    async def _lower(self, item: Item, wanted: Level, reason: str, who: Who) -> str:
        hold = item.hold
        first = await self.pending(item)
        if first is not None and first.to == f"{wanted.text}{PENDING}":
            if await self._is_one(first.author, who):
                raise Wrong(f"{who.name} has proposed this level already; another person has to agree", 1)
            if not who.may(Act.APPROVE, hold.department):
                raise Forbidden("a lower level needs a second person, with the role of second approver")
            if any(one.name == first.author for one in await self._mail.people(hold.department, (Act.DECIDE,))):
                return await self._relevelled(item, wanted, reason, who)
        who.need(Act.DECIDE, hold.department)
        now = self._mail.clock()
        remark = self._remark(item, who, RemarkKind.LEVEL, reason, now, to=f"{wanted.text}{PENDING}")
        change = HoldUpdate(hold.id, (hold.state,), hold.state, now, seen=hold.updated)
        await self._said(item, who, "held-level-proposed", change, remark, [], level=wanted.text)
        return f"level {wanted.text} 1 of 2"

    async def _relevelled(self, item: Item, wanted: Level, reason: str, who: Who) -> str:
        hold, now = item.hold, self._mail.clock()
        remark = self._remark(item, who, RemarkKind.LEVEL, reason, now, to=wanted.text)
        change = HoldUpdate(hold.id, (hold.state,), hold.state, now, level=int(wanted), seen=hold.updated)
        raised = hold.level is None or wanted > hold.level
        # An answer to this message is held to the higher of both, whoever is right.
        threads = self._threads.raised(item.details.message_id, wanted, hold.department) if raised and hold.verified_originator else []
        before = "" if hold.level is None else Level(hold.level).text
        log = self._mail.events("held-relevelled", item, item.waiting, who, reason, level=wanted.text, before=before)
        await self._mail.write(Batch(hold_updates=[change], threads=threads, review=ReviewBatch(remarks=[remark]), audit=log))
        return f"{hold.reference} is {wanted.text} now"

    async def pending(self, item: Item) -> RemarkRow | None:
        """The level that waits for a second person; None where there is none. Raises StoreError."""
        rows = [one for one in await self._mail.store.reviewing.remarks(item.hold.reference) if one.hold_id == item.hold.id]
        last = next((one for one in reversed(rows) if one.kind is RemarkKind.LEVEL), None)
        return last if last is not None and last.to.endswith(PENDING) else None

    async def _is_one(self, name: str, who: Who) -> bool:
        """Whether the person *name* is *who*, by name or by address."""
        email = next((one.email.casefold() for one in await self._mail.store.users() if one.name == name), "")
        return name == who.name or (bool(email) and email == who.email.casefold())

    # --- the parts ----------------------------------------------------------------------------------------------------

    def _remark(self, item: Item, who: Who, kind: RemarkKind, text: str, now: float, to: str = "") -> RemarkRow:
        identifier = new_id()
        sealed = self._mail.vault.seal_field(identifier, text)
        return RemarkRow(identifier, item.hold.id, item.hold.reference, now, who.name, kind, sealed, item.hold.department, to)

    def _message(self, item: Item, content: bytes, to: Path, now: float, *, protect: bool) -> Report:
        hold = item.hold
        return make_message(
            content, to.text, self._mail.vault, now, self._relay.incarnation, about=hold.reference, department=hold.department,
            level=hold.level if protect else None, require_aes256=protect, door="notice",
        )  # fmt: skip

    async def _said(
        self, item: Item, who: Who, action: str, change: HoldUpdate, remark: RemarkRow, reports: list[Report], **more: object
    ) -> None:
        # What was said is in the sealed remark: the log says that it was.
        log = self._mail.events(action, item, item.waiting, who, "", kind="change", remark=remark.id, **more)
        await self._mail.write(
            Batch(
                hold_updates=[change],
                bodies=[report.body for report in reports],
                messages=[report.message for report in reports],
                deliveries=[report.delivery for report in reports],
                review=ReviewBatch(remarks=[remark]),
                audit=log,
            )
        )
        for report in reports:
            self._relay.offer([report.delivery], report.content)
