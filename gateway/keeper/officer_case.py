"""What was stopped of one message, put together for its originator: from the held record, or from the decision log where nothing is held.

What it is: ``Cases``, which finds the ``Case`` of a signed link, and the row that ``OfficerItem`` answers.
Who calls it: ``officers``.
Must never: name a reviewer; show content, or anything that the originator did not write or was not told in his report; let a wrong, an
ended and a foreign link look different.
Sources: docs/design.md sections 4 (held mail, TOP SECRET and SECRET) and 10 ("The SMTP face"); hostile-inputs catalogue W05, W06.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway import address
from gateway.address import AddressError, Path
from gateway.envelope import Door as DoorName
from gateway.keeper import recorded
from gateway.keeper.access import Absent
from gateway.keeper.act import POSTMASTER
from gateway.keeper.held import OPEN, HeldMail, Item
from gateway.keeper.terms import Terms
from gateway.levels import Level
from gateway.policy import Policy, words
from gateway.policy.explanations import FALLBACK, WORDS
from gateway.review import Filter
from gateway.stores.base import AuditRow, HoldRow, HoldState, MessageRow
from gateway.stores.reviewed import RemarkKind, RemarkRow, Sought
from gateway.vault.officer_links import Link, OfficerLinks
from gateway.vault.vault import VaultError

OBJECTIONS, ANSWERS = 3, 20
"""Of one message."""
_STOPPED = ("hold", "refuse")
_SHOWN = {RemarkKind.QUESTION: "reviewer", RemarkKind.ANSWER: "you", RemarkKind.REQUEST: "you", RemarkKind.OBJECTION: "you"}
_ROWS = 1000  # of the decision log of one message
_UNKNOWN = "…"


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision about one recipient, as the log has it."""

    row: AuditRow
    document: dict[str, Any]

    @property
    def verified(self) -> bool:
        """Whether the originator was proved: only then a sender's address says who wrote."""
        gateway = self.document.get("gateway", {})
        return bool(gateway.get("verified_originator") or self.document.get("user", {}).get("name"))

    @property
    def filing(self) -> bool:
        """Whether it was to be filed in a mailbox: then nothing waits for anybody."""
        return bool(self.document.get("gateway", {}).get("door") == DoorName.IMAP.value)

    @property
    def level(self) -> Level | None:
        """As the message was handled."""
        text = self.document.get("gateway", {}).get("label", {}).get("level")
        return Level.parse(text) if text else None


@dataclass(frozen=True, slots=True)
class Case:
    """One stopped message."""

    reference: str
    sender: str
    department: str
    created: float
    item: Item | None
    """Of mail that is or was held."""
    message: MessageRow | None
    decided: tuple[Decided, ...]
    """Recipients that were held or refused."""
    delivered: int
    """How many others got it at once."""
    acts: tuple[AuditRow, ...]
    remarks: tuple[RemarkRow, ...]

    @property
    def hold(self) -> HoldRow | None:
        """The held record."""
        return self.item.hold if self.item is not None else None

    @property
    def rule(self) -> str:
        """The rule that speaks for the whole."""
        return self.hold.rule if self.hold is not None else next((one.row.rule for one in self.decided), "")

    @property
    def level(self) -> Level | None:
        """As it is handled now."""
        if self.hold is not None:
            return None if self.hold.level is None else Level(self.hold.level)
        return self.decided[0].level if self.decided else None

    @property
    def state(self) -> str:
        """That of the held record; else ``stopped``, or ``not-filed`` in a mailbox."""
        if self.hold is not None:
            return self.hold.state.value
        return _stopped(self.decided[0]) if self.decided else "stopped"

    @property
    def secret(self) -> bool:
        """Whether what is written about it may hold more than mail may carry."""
        sealed = self.hold is not None and self.hold.sealed
        return sealed or (self.level is not None and self.level >= Level.SECRET)

    @property
    def open(self) -> bool:
        """Whether somebody may still release it."""
        return self.hold is not None and self.hold.state in OPEN

    def said(self, kind: RemarkKind) -> tuple[RemarkRow, ...]:
        """What was said so, oldest first."""
        return tuple(one for one in self.remarks if one.kind is kind)

    @property
    def question(self) -> RemarkRow | None:
        """The newest question, where it waits for an answer."""
        last = next((one for one in reversed(self.remarks) if one.kind in (RemarkKind.QUESTION, RemarkKind.ANSWER)), None)
        return last if last is not None and last.kind is RemarkKind.QUESTION else None

    @property
    def may_ask(self) -> bool:
        """Whether release may be asked for: once."""
        asked = bool(self.said(RemarkKind.REQUEST)) or (self.hold is not None and bool(self.hold.requested))
        return not asked and (self.open or self.hold is None)

    @property
    def may_object(self) -> bool:
        """Whether one more objection is taken."""
        return len(self.said(RemarkKind.OBJECTION)) < OBJECTIONS

    @property
    def may_answer(self) -> bool:
        """Whether a question waits."""
        return self.open and self.question is not None and len(self.said(RemarkKind.ANSWER)) < ANSWERS


class Cases:
    """Finds them. *policy* gives the rules and sentences now in force."""

    def __init__(self, mail: HeldMail, links: OfficerLinks, policy: Callable[[], Policy]) -> None:
        self._mail = mail
        self._links = links
        self._policy = policy
        self._terms = Terms(mail.vault)

    async def of_token(self, token: str) -> tuple[Case, Link]:
        """The case of a signed link. Raises Absent, the same for all that is wrong; Wrong, StoreError."""
        link = self._links.read(token, self._mail.clock())
        case = await self.of_reference(link.reference) if link is not None else None
        if link is None or case is None or not self._links.is_of(link, case.sender):
            raise Absent("this link does not open a page")
        return case, link

    async def of_reference(self, reference: str) -> Case | None:
        """The case of *reference*; None where there is none that an originator may see. Raises Wrong, StoreError."""
        store = self._mail.store
        decided, acts, delivered = [], [], set()
        for row in await store.audit_rows(reference=reference, limit=_ROWS):
            document = json.loads(row.line)
            if document.get("event", {}).get("dataset") != "gateway.decision":
                acts.append(row)
            elif row.disposition in _STOPPED:
                decided.append(Decided(row, document))
            elif row.disposition == "deliver":
                delivered.add(row.recipient)
        hold = await self._hold(reference)
        if hold is not None and not hold.verified_originator:
            return None
        if hold is None and not any(one.verified for one in decided):
            return None
        item = await self._mail.of_row(hold, opened=False) if hold is not None else None
        message = item.message if item is not None else await store.message(_message_id(decided))
        remarks = tuple(one for one in await store.reviewing.remarks(reference) if one.kind in _SHOWN)
        newest = {one.row.recipient: one for one in decided}
        first = decided[0].row if decided else None
        sender, department, created = (
            (hold.sender, hold.department, hold.created) if hold is not None
            else (first.sender, first.department, first.created) if first is not None else ("", "", 0.0)
        )  # fmt: skip
        return Case(reference, sender, department, created, item, message, tuple(newest.values()), len(delivered), tuple(acts), remarks)

    async def _hold(self, reference: str) -> HoldRow | None:
        """The record that waits for reviewers; beside it there may be a list for the postmaster, of which the originator is not told."""
        found = await self._mail.store.hold(reference)
        if found is None or found.reason != POSTMASTER:
            return found
        every = Filter(states=tuple(one.value for one in HoldState))
        rows = await self._mail.store.reviewing.found(Sought(every, words=self._terms.sought(reference)))
        return next((row for row in rows if row.reference == reference and row.reason != POSTMASTER), None)

    # --- the row ------------------------------------------------------------------------------------------------------

    def row(self, case: Case, link: Link, language: str) -> dict[str, Any]:
        """What ``OfficerItem`` answers, in *language*."""
        hold = case.hold
        way, decided = self._way(case)
        return {
            "reference": case.reference, "created": case.created, "sender": case.sender, "subject": self.subject(case), "state": case.state,
            "decided": decided, "recipients": self._recipients(case, language), "delivered": case.delivered,
            "released": list(hold.released) if hold is not None else [], "remarks": self._remarks(case), "way": way,
            "may_ask": case.may_ask, "may_answer": case.may_answer, "may_object": case.may_object,
            "question": self._text(case.question) if case.may_answer and case.question is not None else "",
            "deadline": hold.deadline if hold is not None and case.open else 0.0, "language": language,
            "languages": list(self._policy().explanations.languages), "expires": link.expires,
        }  # fmt: skip

    def subject(self, case: Case) -> str:
        """What the report repeats, too: empty for what is, or may be, SECRET or higher."""
        if case.message is None or case.secret:
            return ""
        return self._mail.subject(case.message)

    def _recipients(self, case: Case, language: str) -> list[dict[str, Any]]:
        out = []
        explanations, rules = self._policy().explanations, {rule.id: rule for rule in self._policy().rules.rules}
        held = frozenset(case.hold.recipients) if case.hold is not None else frozenset()
        for one in case.decided:
            rule = rules.get(one.row.rule)
            key = one.document["event"].get("reason") or (rule.explain if rule is not None else "") or FALLBACK
            filled = self._words(case, one)
            if one.filing:
                said = explanations.not_filed(key, language, filled, sealed=rule is not None and rule.sealed)
            else:
                said = explanations.sentence(key, language, filled)
            out.append({
                "address": one.row.recipient, "disposition": one.row.disposition, "what": said.what, "why": said.why,
                "next": list(said.next), "rule": one.row.rule, "title": rule.title if rule is not None else "",
                "source": str(one.document.get("rule", {}).get("reference", "")),
                "state": self._state(case, one.row.recipient) if one.row.recipient in held else _stopped(one),
            })  # fmt: skip
        return out

    @staticmethod
    def _state(case: Case, recipient: str) -> str:
        assert case.hold is not None
        if recipient in case.hold.released:
            return "released"
        return "held" if case.open else case.hold.state.value

    def _words(self, case: Case, one: Decided) -> Mapping[str, str]:
        """The words of the sentence: as they were kept, else what the log and the domain lists give."""
        found = dict.fromkeys(WORDS, _UNKNOWN)
        try:
            path = address.parse(one.row.recipient.encode("utf-8"), smtputf8=True)
        except (AddressError, UnicodeEncodeError):
            path = Path(one.row.recipient, "")
        sender = Path(*case.sender.rpartition("@")[::2])
        known = words.of_envelope(sender, path, self._policy().domains.tier(path.domain), _UNKNOWN, one.level)
        found |= {name: value for name, value in known if value}
        label = one.document.get("gateway", {}).get("label", {})
        found |= {name: str(label[name]) for name in ("declared", "probable") if label.get(name)}
        return found | self._kept(case, one.row.recipient)

    def _kept(self, case: Case, recipient: str) -> dict[str, str]:
        if case.message is None:
            return {}
        try:
            details = case.item.details if case.item is not None else recorded.read_details(case.message, self._mail.vault)
        except VaultError:
            return {}
        kept = recorded.read(case.message).recipients
        place = next((place for place, one in enumerate(kept) if one.address == recipient), -1)
        return dict(details.words[place]) if 0 <= place < len(details.words) else {}

    def _remarks(self, case: Case) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = [
            {"created": one.created, "kind": one.kind.value, "author": _SHOWN[one.kind], "text": self._text(one)} for one in case.remarks
        ]
        for row in case.acts:
            event = json.loads(row.line).get("event", {})
            if event.get("action") == "held-refused" and not any(one["kind"] == "note" for one in shown):
                shown.append({"created": row.created, "kind": "note", "author": "reviewer", "text": str(event.get("reason", ""))})
        return sorted(shown, key=lambda one: float(one["created"]))

    def _text(self, row: RemarkRow) -> str:
        try:
            return self._mail.vault.open_field(row.id, row.text).decode("utf-8", "replace")
        except VaultError:
            return _UNKNOWN

    @staticmethod
    def _way(case: Case) -> tuple[list[dict[str, Any]], float]:
        """The steps that were made, ``step`` and ``at``, and when it was decided."""
        hold = case.hold
        steps: list[dict[str, Any]] = [{"step": "stopped", "at": case.created}]
        asked = hold.requested if hold is not None else 0.0
        asked = asked or next((one.created for one in case.said(RemarkKind.REQUEST)), 0.0)
        if asked:
            steps.append({"step": "requested", "at": asked})
        if hold is None:
            return steps, case.created
        first = next((row.created for row in case.acts if row.disposition == "held-approved"), 0.0)
        if first and (hold.state is HoldState.APPROVED or not case.open):
            steps.append({"step": "approved", "at": first})
        if case.open:
            return steps, 0.0
        steps.append({"step": hold.state.value, "at": hold.updated})
        return steps, hold.updated


def _stopped(one: Decided) -> str:
    return "not-filed" if one.filing else "stopped"


def _message_id(decided: list[Decided]) -> str:
    return next((str(one.document["event"].get("id", "")) for one in decided), "")
