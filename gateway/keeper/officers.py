"""What officers ask about their stopped mail: with the signed link of a report, or signed in with the login of their mailbox.

What it is: ``Officers``: the page's row, the request for release, "this is a mistake", the answer to a question, and one's own mail.
Who calls it: ``entrance`` for signed links, ``reception`` for officers who are signed in.
Must never: change anything but on a request that says so; release anything; write to anybody outside the organisation; keep what was
written in the clear; name an officer whom only a link stands for as if he had signed in.
Sources: docs/design.md section 4 ("Held mail"); hostile-inputs catalogue W05, W06, L05.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway import logs
from gateway.audit import events
from gateway.envelope import new_id
from gateway.keeper.access import Who
from gateway.keeper.act import Deliverer
from gateway.keeper.exceptions import Wrong
from gateway.keeper.held import HeldMail
from gateway.keeper.officer_case import Case, Cases
from gateway.keeper.reception import Table
from gateway.policy import Policy, contacts, officer_mail
from gateway.policy.officer_mail import About, Frame
from gateway.policy.rules import NOTIFIED
from gateway.relay.notices import Report, make_message
from gateway.requests import Rows
from gateway.review import MyMail, OfficerAnswer, OfficerAsk, OfficerItem, OfficerObject, OfficerWords
from gateway.roles import Act
from gateway.stores.base import AuditEvent, Batch, HoldState, HoldUpdate, UserRow
from gateway.stores.reviewed import RemarkKind, RemarkRow, ReviewBatch
from gateway.vault.officer_links import OfficerLinks

SHORTEST, LONGEST = 10, 2000
"""Characters of what an officer writes."""
_TELL = 20  # reviewers who are told of one request
_RATE, _PERIOD = 6, 60.0  # changes of one message in seconds
_REMEMBERED = 5000
_MINE = 200
_PREFIXES = ("officer-", "what", "why", "next", "recipients", "rule", "source", "original-subject", "reference", "note", "contact")
_log = logs.get("officers")


class Officers:
    """See the module. *policy* gives the rules and sentences now in force; *monotonic* is what the rate is measured by, in seconds."""

    def __init__(self, mail: HeldMail, relay: Deliverer, policy: Callable[[], Policy], monotonic: Callable[[], float]) -> None:
        self._mail = mail
        self._relay = relay
        self._policy = policy
        self._monotonic = monotonic
        self._links = OfficerLinks(mail.config, mail.vault)
        self._cases = Cases(mail, self._links, policy)
        self._changes: OrderedDict[str, deque[float]] = OrderedDict()
        self._one = asyncio.Lock()

    def table(self) -> Table:
        """See ``reception``."""
        return {MyMail: (None, self.mine)}

    def open(self) -> Mapping[type, Callable[[Any], Awaitable[Any]]]:
        """What needs no session: each but the words carries its signed link."""
        return {
            OfficerWords: self.words, OfficerItem: self.item, OfficerAsk: self.ask, OfficerObject: self.object, OfficerAnswer: self.answer,
        }  # fmt: skip

    # --- looking ------------------------------------------------------------------------------------------------------

    async def words(self, request: OfficerWords) -> Rows:
        """The phrases of the page in one language."""
        explanations, config = self._policy().explanations, self._mail.config
        language = self._language(request.language)
        contact = config.contacts.postmaster or f"postmaster@{config.hostname}"
        found = {**explanations.languages["en"].phrases, **explanations.languages[language].phrases}
        phrases = {key: text for key, text in found.items() if key.startswith(_PREFIXES)}
        names = [{"code": code, "name": one.name} for code, one in explanations.languages.items()]
        return Rows(({"language": language, "languages": names, "phrases": phrases, "contact": contact},))

    async def item(self, request: OfficerItem) -> Rows:
        """What was stopped. Raises Absent, Wrong, StoreError."""
        case, link = await self._cases.of_token(request.token)
        return Rows((self._cases.row(case, link, self._language(request.language)),))

    async def mine(self, request: MyMail, who: Who) -> Rows:
        """The stopped mail of an officer's own addresses, newest first. Raises StoreError."""
        # A pattern for a whole domain is an application's right to send, and no proof that its mail is this officer's.
        own = dict.fromkeys(one.casefold() for one in (who.email, *who.senders) if one and not one.startswith("@") and "@" in one)
        limit, now = max(1, min(request.limit, _MINE)), self._mail.clock()
        references: dict[str, None] = {}
        for address in own:
            references |= dict.fromkeys(await self._mail.store.reviewing.of_sender(address, limit))
        shown = []
        for reference in sorted(references, reverse=True)[:limit]:  # references are in the order of time
            case = await self._cases.of_reference(reference)
            if case is None or case.sender.casefold() not in own:
                continue
            state = case.state
            shown.append({
                "reference": reference, "created": case.created, "subject": self._cases.subject(case), "state": state,
                "token": self._links.token(reference, case.sender, now),
            })  # fmt: skip
        return Rows(tuple(shown))

    def _language(self, wanted: str) -> str:
        known = self._policy().explanations.languages
        return next((code for code in (wanted, *self._mail.config.languages) if code in known), "en")

    # --- changing -----------------------------------------------------------------------------------------------------

    async def ask(self, request: OfficerAsk) -> Rows:
        """Asks for release, once. Raises Absent, Wrong, StoreError."""
        async with self._one:
            case, _ = await self._cases.of_token(request.token)
            text = _text(request.text)
            if not case.may_ask:
                raise Wrong("release cannot be asked for (any more): it was asked for already, or the message is finished", 1)
            self._brake(case)
            remark = self._remark(case, RemarkKind.REQUEST, text, self._chosen(case, request.recipients))
            if case.hold is None:
                reports = self._refused_request(case, text)
                await self._write(case, "officer-requested", remark, reports)
                return _said("told the security team", case)
            hold = case.hold
            state = HoldState.REQUESTED if hold.state is HoldState.HELD else hold.state
            change = HoldUpdate(hold.id, (hold.state,), state, remark.created, requested=remark.created)
            reports = await self._to_reviewers(case, officer_mail.requested)
            await self._write(case, "officer-requested", remark, reports, change)
        return _said("asked for release", case)

    async def object(self, request: OfficerObject) -> Rows:
        """Says that the rule is a mistake; nothing is released by it. Raises Absent, Wrong, StoreError."""
        async with self._one:
            case, _ = await self._cases.of_token(request.token)
            text = _text(request.text)
            if not case.may_object:
                raise Wrong("this was said often enough; it is recorded", 1)
            self._brake(case)
            remark = self._remark(case, RemarkKind.OBJECTION, text)
            to = self._owner(case)
            reports = []
            if to:
                about, frame = self._about(case), self._frame(to)
                reports.append(self._message(officer_mail.objected(about, "" if case.secret else text, frame), to, case))
            await self._write(case, "officer-objected", remark, reports, touched=True)
        return _said("told whoever answers for the rule", case)

    async def answer(self, request: OfficerAnswer) -> Rows:
        """Answers the newest question. Raises Absent, Wrong, StoreError."""
        async with self._one:
            case, _ = await self._cases.of_token(request.token)
            text = _text(request.text)
            question = case.question
            if not case.may_answer or question is None:
                raise Wrong("no question waits for an answer", 1)
            self._brake(case)
            remark = self._remark(case, RemarkKind.ANSWER, text)
            asker = next((one for one in await self._mail.store.users() if one.name == question.author and not one.disabled), None)
            reports = await self._to_reviewers(case, officer_mail.answered, asker)
            await self._write(case, "officer-answered", remark, reports, touched=True)
        return _said("answered", case)

    # --- the parts ----------------------------------------------------------------------------------------------------

    def _brake(self, case: Case) -> None:
        """Raises Wrong where one message is written about faster than a person writes."""
        now, times = self._monotonic(), self._changes.setdefault(case.reference, deque(maxlen=_RATE))
        self._changes.move_to_end(case.reference)
        while len(self._changes) > _REMEMBERED:
            self._changes.popitem(last=False)
        if len(times) == _RATE and now - times[0] < _PERIOD:
            raise Wrong("too much at once; please wait a minute", 1)
        times.append(now)

    @staticmethod
    def _chosen(case: Case, recipients: Sequence[str]) -> str:
        """The recipients asked for, where they are not all that wait."""
        if case.item is None or not recipients:
            return ""
        unknown = [one for one in recipients if one not in case.item.waiting]
        if unknown:
            raise Wrong("this is not among the recipients that wait", 1)
        chosen = [one for one in case.item.waiting if one in recipients]
        return "" if len(chosen) == len(case.item.waiting) else ", ".join(chosen)

    def _remark(self, case: Case, kind: RemarkKind, text: str, to: str = "") -> RemarkRow:
        identifier, hold = new_id(), case.hold
        sealed = self._mail.vault.seal_field(identifier, text)
        return RemarkRow(
            identifier,
            hold.id if hold is not None else "",
            case.reference,
            self._mail.clock(),
            case.sender,
            kind,
            sealed,
            case.department,
            to,
        )

    def _about(self, case: Case) -> About:
        url, hold = self._mail.config.web.public_url.rstrip("/"), case.hold
        title = next((rule.title for rule in self._policy().rules.rules if rule.id == case.rule), "")
        deadline = hold.deadline if hold is not None and case.open else 0.0
        return About(case.reference, case.sender, case.rule, title, deadline, f"{url}/held/{hold.id}" if url and hold is not None else "")

    def _frame(self, to: str, language: str = "") -> Frame:
        config, explanations = self._mail.config, self._policy().explanations
        languages = (language,) if language in explanations.languages else config.languages
        return Frame(to, config.hostname, self._mail.clock(), explanations, languages)

    def _message(self, content: bytes, to: str, case: Case) -> Report:
        # What an officer writes of marked mail may be as confidential as the mail.
        protect = case.level is not None and not case.secret
        return make_message(
            content, to, self._mail.vault, self._mail.clock(), self._relay.incarnation, about=case.reference, department=case.department,
            level=int(case.level) if protect and case.level is not None else None, require_aes256=protect, door="notice",
        )  # fmt: skip

    async def _to_reviewers(self, case: Case, write: Callable[[About, Frame], bytes], asker: UserRow | None = None) -> list[Report]:
        """One mail to *asker*, else one to each who decides about mail of the department, else one to the contact."""
        people = await self._mail.people(case.department, (Act.DECIDE, Act.APPROVE))
        if asker is not None and contacts.within(asker.email, self._mail.config) is not None:
            people = [asker]
        found: dict[str, str] = {}
        for one in people:
            path = contacts.within(one.email, self._mail.config)
            if path is not None and path.text.casefold() != case.sender.casefold():
                found.setdefault(path.text, one.language)
        if not found and (contact := self._contact()):
            found[contact] = ""
        about = self._about(case)
        return [self._message(write(about, self._frame(to, spoken)), to, case) for to, spoken in list(found.items())[:_TELL]]

    def _refused_request(self, case: Case, text: str) -> list[Report]:
        to = self._contact()
        if not to:
            return []
        content = officer_mail.requested_refused(self._about(case), "" if case.secret else text, self._frame(to))
        return [self._message(content, to, case)]

    def _owner(self, case: Case) -> str:
        """The address of whoever answers for the rule; else that of the contacts."""
        owner = next((rule.owner for rule in self._policy().rules.rules if rule.id == case.rule), "")
        written = str(getattr(self._mail.config.contacts, owner, "")) if owner in NOTIFIED else owner
        path = contacts.within(written, self._mail.config)
        return path.text if path is not None else self._contact()

    def _contact(self) -> str:
        named = self._mail.config.contacts
        for written in (named.security, named.postmaster):
            path = contacts.within(written, self._mail.config)
            if path is not None:
                return path.text
        return ""

    async def _write(
        self, case: Case, action: str, remark: RemarkRow, reports: Sequence[Report], change: HoldUpdate | None = None, *,
        touched: bool = False,
    ) -> None:  # fmt: skip
        hold, now = case.hold, remark.created
        if change is None and touched and hold is not None and case.open:
            change = HoldUpdate(hold.id, (hold.state,), hold.state, now)
        if not reports:
            _log.warning("an officer wrote about stopped mail, and nobody has an address to be told at", reference=case.reference)
        batch = Batch(
            hold_updates=[change] if change is not None else [],
            bodies=[report.body for report in reports],
            messages=[report.message for report in reports],
            deliveries=[report.delivery for report in reports],
            review=ReviewBatch(remarks=[remark]),
            audit=[self._event(case, action, remark, reports)],
        )
        await self._mail.write(batch)
        for report in reports:
            self._relay.offer([report.delivery], report.content)

    def _event(self, case: Case, action: str, remark: RemarkRow, reports: Sequence[Report]) -> AuditEvent:
        # What was written is in the sealed remark. The link stands for the originator; nobody has signed in.
        held = {"held": case.hold.id} if case.hold is not None else {}
        return events.act(
            action, remark.created, "", "", reference=case.reference, department=case.department, sender=case.sender,
            rule=case.rule, remark=remark.id, via="officer-link", told=[one.delivery.recipient for one in reports], **held,
        )  # fmt: skip


def _text(text: str) -> str:
    """*text* as one line. Raises Wrong where it is too short or too long."""
    shown = "".join(c if c.isprintable() or c in "\u200c\u200d" else " " for c in text[: 4 * LONGEST + 1])
    line = " ".join(shown.split())
    if not SHORTEST <= len(line) <= LONGEST:
        raise Wrong(f"write {SHORTEST} to {LONGEST} characters", 2)
    return line


def _said(text: str, case: Case) -> Rows:
    return Rows(({"reference": case.reference, "message": text},))
