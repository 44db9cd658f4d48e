"""Held mail: everything that a person may ask about it, and what becomes of it when nobody does.

What it is: ``Quarantine``: the parts put together, one handler a request of people, taking out, and the proof of what is kept.
Who calls it: ``reception`` and ``desk`` for people, ``housekeeping`` for what has expired.
Must never: decide by itself who may; act on a record that the person may not see.
Sources: docs/design.md section 4 ("Held mail"); docs/design.md section 10 ("Records"); hostile-inputs catalogue L11, O20, P18, group W.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway import inquiries, review
from gateway.config import Config
from gateway.keeper.access import Absent, Who
from gateway.keeper.act import Deliverer
from gateway.keeper.archive import Journal
from gateway.keeper.copies import Copies
from gateway.keeper.correspondents import Correspondents
from gateway.keeper.ending import Ending
from gateway.keeper.exceptions import Register, Wrong
from gateway.keeper.held import OPEN, HeldMail, needed
from gateway.keeper.officer_answer import OfficerAnswer
from gateway.keeper.reception import Table
from gateway.keeper.releasing import Releasing
from gateway.keeper.remarks import Links, Remarks
from gateway.keeper.showing import Showing
from gateway.keeper.threads import Threads
from gateway.policy import Policy
from gateway.relay.reports import Reports
from gateway.requests import Done, Rows
from gateway.roles import Act
from gateway.stores.base import Batch, HoldRow, Store
from gateway.vault.officer_links import OfficerLinks
from gateway.vault.vault import Vault

__all__ = ["OPEN", "Quarantine"]

_AT_ONCE = 20  # records that one request proves


class Quarantine:
    """See the module. *links* makes the officer's link."""

    def __init__(
        self, config: Config, store: Store, vault: Vault, register: Register, reports: Reports, relay: Deliverer,
        policy: Callable[[], Policy], copies: Copies, correspondents: Correspondents, clock: Callable[[], float],
        *, links: Links | None = None, journal: Journal | None = None,
    ) -> None:  # fmt: skip
        self.mail = HeldMail(config, store, vault, clock)
        self._policy = policy
        answer = OfficerAnswer(self.mail, relay, policy)
        self._releasing = Releasing(self.mail, register, relay, policy, copies, correspondents, answer, journal)
        self._ending = Ending(self.mail, reports, relay)
        self._remarks = Remarks(self.mail, relay, policy, Threads(store, vault, clock), links or OfficerLinks(config, vault))
        self._showing = Showing(self.mail, self._releasing, self._remarks, policy)

    def table(self) -> Table:
        """What people may ask; the rights in a record's department are asked when the record is known."""
        return {
            inquiries.ShowHeld: (Act.LIST, self._show), inquiries.ReleaseHeld: (Act.LIST, self._release),
            inquiries.RefuseHeld: (Act.DECIDE, self._refuse), inquiries.ExportHeld: (Act.CONTENT, self._export),
            review.AskOfficer: (Act.DECIDE, self._ask), review.ReclassifyHeld: (Act.LIST, self._relevel),
            review.ForwardHeld: (Act.DECIDE, self._forward), review.DecideAgain: (Act.DECIDE, self._again),
            review.Colleagues: (Act.LIST, self._colleagues),
        }  # fmt: skip

    # --- the acts -----------------------------------------------------------------------------------------------------

    async def release(self, id: str, reason: str, recipients: Sequence[str], who: Who) -> str:
        """See ``Releasing.release``."""
        return await self._releasing.release(id, reason, recipients, who)

    async def refuse(self, id: str, reason: str, who: Who) -> str:
        """See ``Ending.refuse``."""
        return await self._ending.refuse(id, reason, who)

    async def expire(self, hold: HoldRow) -> None:
        """See ``Ending.expire``."""
        await self._ending.expire(hold)

    async def export(self, id: str, reason: str, who: Who) -> bytes:
        """The content (of sealed mail: the CMS structure); the access is recorded before it is given. Raises Absent, Forbidden, Wrong,
        StoreError."""
        reason = needed(reason)
        item = await self.mail.item(id, who, Act.CONTENT, opened=False)
        row = await self.mail.store.body(item.hold.body_id)
        if row is None:
            raise Wrong("the content was destroyed when the message was finished", 1)
        content = row.ciphertext if row.sealed else await self.mail.content(item.hold)
        log = self.mail.events("held-exported", item, item.hold.recipients, who, reason, kind="access")
        await self.mail.store.write(Batch(audit=log))
        return content

    async def show(self, id: str, who: Who) -> dict[str, Any]:
        """See ``Showing.row``."""
        return await self._showing.row(id, who)

    async def verify(self, after: str, who: Who) -> list[dict[str, Any]]:
        """Of the next open records by id after *after*: rows ``id reference problem``, which is empty where the content opens, has
        its hash, and every approval is one to it. Raises StoreError."""
        rows = []
        for hold in await self.mail.store.holds(limit=_AT_ONCE, after=after):
            if who.may(Act.LIST, hold.department):
                rows.append({"id": hold.id, "reference": hold.reference, "problem": await self._problem(hold)})
            else:
                rows.append({"id": hold.id, "reference": "", "problem": ""})
        return rows

    async def _problem(self, hold: HoldRow) -> str:
        body = await self.mail.store.body(hold.body_id)
        if body is None:
            return "its content is gone"
        if body.sha256 != hold.sha256:
            return "its content is not that of the record"
        if not hold.sealed:
            try:
                await self.mail.content(hold)
            except Wrong as error:
                return str(error)
        if hold.sealed != body.sealed:
            return "the record and its content do not agree whether it is sealed"
        for one in await self.mail.store.approvals(hold.id):
            if one.sha256 != hold.sha256:
                return f"the approval of {one.user} is one to other content"
            if not set(one.recipients) <= set(hold.recipients):
                return f"the approval of {one.user} names a recipient that the record has not"
        if not set(hold.released) <= set(hold.recipients):
            return "it was released to somebody who is no recipient"
        return ""

    # --- requests -----------------------------------------------------------------------------------------------------

    async def _show(self, request: inquiries.ShowHeld, who: Who) -> Rows:
        return Rows((await self.show(request.id, who),))

    async def _release(self, request: inquiries.ReleaseHeld, who: Who) -> Rows:
        return _said(await self.release(request.id, request.reason, request.recipients, who), request.id)

    async def _refuse(self, request: inquiries.RefuseHeld, who: Who) -> Rows:
        return _said(await self.refuse(request.id, request.reason, who), request.id)

    async def _export(self, request: inquiries.ExportHeld, who: Who) -> tuple[Done, bytes]:
        return Done(), await self.export(request.id, request.reason, who)

    async def _ask(self, request: review.AskOfficer, who: Who) -> Rows:
        return _said(await self._remarks.ask(request.id, request.text, who), request.id)

    async def _relevel(self, request: review.ReclassifyHeld, who: Who) -> Rows:
        return _said(await self._remarks.relevel(request.id, request.level, request.reason, who), request.id)

    async def _forward(self, request: review.ForwardHeld, who: Who) -> Rows:
        return _said(await self._remarks.forward(request.id, request.to, request.note, who), request.id)

    async def _again(self, request: review.DecideAgain, who: Who) -> Rows:
        rows, explanations = [], self._policy().explanations
        for row in await self._releasing.again(request.id, request.apply, request.reason, who):
            words, key = row.pop("words"), row.pop("explain")
            said = {lang: explanations.sentence(key, lang, words) for lang in explanations.languages} if key else {}
            rows.append(row | {"explanation": {lang: f"{one.what} {one.why}".strip() for lang, one in said.items()}})
        return Rows(tuple(rows))

    async def _colleagues(self, request: review.Colleagues, who: Who) -> Rows:
        hold = await self.mail.row(request.id, who)
        if not (who.may(Act.DECIDE, hold.department) or who.may(Act.APPROVE, hold.department)):
            raise Absent
        found = await self._remarks.colleagues(hold)
        return Rows(tuple({"name": one.name, "email": one.email} for one in found if one.name != who.name))


def _said(text: str, id: str) -> Rows:
    return Rows(({"id": id, "message": text},))
