"""One held record as a person may see it: what was decided and why, what was said and done, and what this person may do now.

What it is: ``Showing``, which makes the row of ``ShowHeld``.
Who calls it: ``quarantine``.
Must never: show a subject, a name of a file, a marked word or a remark to somebody without ``Act.CONTENT``; show of sealed mail more
than reference, sender, rule, deadline and what became of it; offer an act that the keeper would refuse for his role.
Sources: docs/design.md section 10 ("Records"); hostile-inputs catalogue W05; docs/design.md section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.keeper import records
from gateway.keeper.access import Who
from gateway.keeper.exceptions import Wrong
from gateway.keeper.held import OPEN, HeldMail, Item, not_the_sender
from gateway.keeper.releasing import Releasing
from gateway.keeper.remarks import Remarks
from gateway.levels import Level
from gateway.policy import Policy
from gateway.roles import Act
from gateway.stores.base import HoldRow
from gateway.stores.reviewed import RemarkRow
from gateway.vault.vault import VaultError

_WORDS = frozenset(("recipient", "domain", "level", "declared", "protection", "provider", "look_alike", "sender", "count", "exception",
                    "probable", "application", "profile"))  # fmt: skip
"""The words of explanations that say nothing of the content."""
_FACTS = ("thread_level", "passage_level", "thread_conflict", "conflict")
_HISTORY = 1000


class Showing:
    """See the module. *policy* gives the policy now in force."""

    def __init__(self, mail: HeldMail, releasing: Releasing, remarks: Remarks, policy: Callable[[], Policy]) -> None:
        self._mail = mail
        self._releasing = releasing
        self._remarks = remarks
        self._policy = policy

    async def row(self, id: str, who: Who) -> dict[str, Any]:
        """The record *id* or reference. Raises Absent, Wrong, StoreError."""
        item = await self._mail.item(id, who, opened=False)
        hold, store = item.hold, self._mail.store
        content = who.may(Act.CONTENT, hold.department) and not hold.sealed
        approvals = await store.approvals(hold.id)
        history = await store.audit_rows(reference=hold.reference, limit=_HISTORY)
        said = [one for one in await store.reviewing.remarks(hold.reference) if one.hold_id in ("", hold.id)]
        subject = self._mail.subject(item.message) if content else ""
        row = records.held_in_full(hold, subject, item.kept, item.details, approvals, history, content=content)
        if hold.sealed:
            row = records.sealed_in_full(row)
        else:
            row |= {
                "decisions": [self._decision(one, content) for one in row["decisions"]], "thread": self._thread(item, content),
                "authentication": _authentication(item), "titles": self._titles(),
            }  # fmt: skip
        row |= await self._may(item, who)
        return row | {
            "title": self._titles().get(hold.rule, ""), "source": next((one.source for one in item.kept.recipients), ""),
            "assigned": hold.assigned, "requested": hold.requested, "two_people": self._releasing.two_needed(hold),
            "remarks": [self._remark(one, content) for one in said], "unreadable": await self.unreadable(hold),
        }  # fmt: skip

    async def unreadable(self, hold: HoldRow) -> str:
        """Why the content cannot be opened here (a vault key is lost); empty when it can, or is gone, or is the officer's alone."""
        body = await self._mail.store.body(hold.body_id)
        if body is None or body.sealed or body.key_id in self._mail.vault.ids:
            return ""
        return f"it needs vault key {body.key_id}, which is not here; put it back from paper: gateway keys recover"

    # --- the parts ----------------------------------------------------------------------------------------------------

    def _titles(self) -> dict[str, str]:
        return {rule.id: rule.title for rule in self._policy().rules.rules}

    def _decision(self, one: dict[str, Any], content: bool) -> dict[str, Any]:
        """One recipient's decision with its sentences, and the titles of the rules that hit and missed."""
        titles = self._titles()
        words = {name: value for name, value in one.pop("words", {}).items() if content or name in _WORDS}
        said = {}
        explanations = self._policy().explanations
        for language in explanations.languages if one.get("explain") else ():
            sentence = explanations.sentence(one["explain"], language, words)
            said[language] = {"what": sentence.what, "why": sentence.why, "next": list(sentence.next)}
        trace = [step | {"title": titles.get(step["rule"], "")} for step in one.get("trace", ())]
        return one | {"title": titles.get(one.get("rule", ""), ""), "explanation": said, "trace": trace}

    def _thread(self, item: Item, content: bool) -> dict[str, Any]:
        """What was remembered of the thread."""
        about = item.message.facts.get("message", {})
        found = {name: about.get(f"message.{name}") for name in _FACTS}
        for name in ("thread_level", "passage_level"):
            number = found[name]
            found[name] = Level(number).text if isinstance(number, int) and number >= 0 else None
        return {"message_id": item.details.message_id if content else ""} | found

    def _remark(self, row: RemarkRow, content: bool) -> dict[str, Any]:
        text = ""
        if content:
            try:
                text = self._mail.vault.open_field(row.id, row.text).decode("utf-8", "replace")
            except VaultError:
                text = "(cannot be opened)"
        return {"created": row.created, "kind": row.kind.value, "author": row.author, "to": row.to, "text": text}

    async def _may(self, item: Item, who: Who) -> dict[str, Any]:
        """``may``: each act and whether this person may do it now; ``why_not``: the reason, for those that he may not."""
        hold, why = item.hold, dict[str, str]()
        decide, approve = (who.may(act, hold.department) for act in (Act.DECIDE, Act.APPROVE))
        role = "your role does not permit this"

        def rule(name: str, permitted: bool, *reasons: str, wants_open: bool = True) -> None:
            closed = f"this message is {hold.state.value} already" if wants_open and hold.state not in OPEN else ""
            why[name] = closed or ("" if permitted else role) or next(filter(None, reasons), "")

        sealed = "this message is sealed to the security officer" if hold.sealed else ""
        own = _own(item, who)
        two = self._releasing.two_needed(hold)
        first = await self._releasing.first_yes(item) if two and not hold.sealed else ""
        mine = f"{who.name} has approved this already" if first and first == who.name else ""
        rule("release", decide, sealed, own, mine or ("a reviewer has approved; a second approver has to agree now" if first else ""))
        rule("approve", approve and two, sealed, own, mine or ("" if first else "a reviewer has to approve first"))
        rule("refuse", decide)
        asked = hold.verified_originator and self._remarks.reaches(hold.sender)
        rule("ask", decide, sealed, "" if asked else "the sender is not a verified originator of this organisation")
        rule("level", decide or approve, sealed)
        rule("forward", decide)
        rule("again", decide, sealed)
        rule("exception", who.may(Act.EXCEPT, hold.department), wants_open=False)
        rule("content", who.may(Act.CONTENT, hold.department), sealed, wants_open=False)
        pending = await self._remarks.pending(item)
        return {
            "may": {name: not reason for name, reason in why.items()}, "why_not": {name: reason for name, reason in why.items() if reason},
            "first_yes": first,
            "level_proposed": "" if pending is None else pending.to[:-1], "level_proposed_by": "" if pending is None else pending.author,
        }  # fmt: skip


def _own(item: Item, who: Who) -> str:
    try:
        not_the_sender(item, who)
    except Wrong as error:
        return str(error)
    return ""


def _authentication(item: Item) -> dict[str, Any]:
    """How the message came in: its client and what was checked of it, as it was kept."""
    peer = item.message.peer
    results = [
        one.value for edits in item.details.edits[:1] for one in edits if one.action == "add" and one.header == "Authentication-Results"
    ]
    return {
        "client": peer.get("ip", ""), "helo": peer.get("helo", ""), "user": peer.get("user", ""), "listed": bool(peer.get("listed")),
        "tls": peer.get("tls", ""), "cipher": peer.get("cipher", ""), "bits": peer.get("bits", 0), "results": results[0] if results else "",
        "door": item.message.door, "verified_originator": item.hold.verified_originator,
    }  # fmt: skip
