"""What one decision comes to for each of its recipients: ours to deliver, to hold, to report, or another's to keep.

What it is: ``Plan`` and ``plan_of``: a pure function of the message, the verdict and the config.
Who calls it: ``act``, before the commit.
Must never: let a recipient fall between two lists, or stand in two; let an MTA keep what a rule refuses: in its hold queue anybody who
may work there could send it on.
Sources: docs/design.md section 4 ("Answering", "Milter", "IMAP"); hostile-inputs catalogue T10, P10, L04.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from gateway.config import Config
from gateway.envelope import Door, Transaction
from gateway.policy.header_edits import received_edit
from gateway.verdict import Disposition, RecipientVerdict, Verdict

MTA, MTA_HOLD, MAILBOX = "mta", "mta-hold", "mailbox"
"""Who has what is nothing of ours: the MTA, the MTA's hold queue, the mailbox that it was stored in."""


@dataclass(slots=True)
class Plan:
    """What one decision comes to, for each of its recipients."""

    deliver: list[RecipientVerdict] = field(default_factory=list)
    hold: list[RecipientVerdict] = field(default_factory=list)
    report: list[RecipientVerdict] = field(default_factory=list)
    """Refused, and the originator is told."""
    silent: list[RecipientVerdict] = field(default_factory=list)
    """Refused, and nobody may be told: listed for the postmaster."""
    passed: list[RecipientVerdict] = field(default_factory=list)
    """Those whose mail stays where it was, or goes on from there."""
    kept_by: str = ""
    """Who has the mail of ``passed``."""

    @property
    def refuses_all(self) -> bool:
        """Whether the whole message is refused in the session."""
        return not (self.deliver or self.hold or self.report or self.silent or self.passed)

    @property
    def going(self) -> list[RecipientVerdict]:
        """Those who get it now, by whomever."""
        return [*self.deliver, *(self.passed if self.kept_by == MTA else ())]

    @property
    def hold_there(self) -> bool:
        """Whether the MTA is to hold it."""
        return self.kept_by == MTA_HOLD

    @property
    def kept(self) -> Mapping[str, str]:
        """Who has the mail of each address that is nothing of ours."""
        return {one.address: self.kept_by for one in self.passed}


def plan_of(tx: Transaction, verdict: Verdict, config: Config) -> Plan:
    """What happens to each recipient; an empty plan when the whole message is refused in the session."""
    if tx.door is Door.IMAP:
        stored = not verdict.sealed and all(one.disposition is Disposition.DELIVER for one in verdict.recipients)
        return Plan(passed=list(verdict.recipients), kept_by=MAILBOX) if stored else Plan()
    plan = Plan()
    refused: list[RecipientVerdict] = []
    for one in verdict.recipients:
        if one.disposition is Disposition.REFUSE:
            refused.append(one)
        elif one.disposition is Disposition.DELIVER and not verdict.sealed:
            plan.deliver.append(one)
        else:
            plan.hold.append(one)  # a message that is sealed goes to nobody
    told = tx.verified_originator and not tx.envelope.sender.is_null
    if not told:
        # The policy holds what a rule refuses a stranger while others get their mail: no reviewer's work, but the postmaster's.
        plan.silent = [one for one in plan.hold if any(t.rule == one.rule and t.hit and t.then == "refuse" for t in one.trace)]
        plan.hold = [one for one in plan.hold if one not in plan.silent]
    # An MTA has the client, or the officer's own queue, still before it: what nobody may get it refuses itself.
    in_session = not told or config.relay.refuse_with == "reply" or tx.door is Door.MILTER
    if not (plan.deliver or plan.hold or plan.silent) and in_session:
        return Plan()
    notify = {one.path.text: one.notify for one in tx.envelope.recipients}
    for one in refused:
        asked = notify.get(one.address)
        (plan.report if told and (asked is None or "FAILURE" in asked) else plan.silent).append(one)
    return _with_the_mta(plan, verdict, config) if tx.door is Door.MILTER else plan


def _with_the_mta(plan: Plan, verdict: Verdict, config: Config) -> Plan:
    """*plan* where an MTA has the message: it sends on what is delivered, and holds what is held where the config says so.

    An MTA holds a message whole, so those who would have got it wait with the others. What is sealed is not left there: its hold queue
    is in the clear.
    """
    if plan.hold and config.relay.milter_hold == "mta" and not verdict.sealed:
        staying = [one for one in verdict.recipients if one in plan.deliver or one in plan.hold]
        return Plan(report=plan.report, silent=plan.silent, passed=staying, kept_by=MTA_HOLD)
    return Plan(hold=plan.hold, report=plan.report, silent=plan.silent, passed=plan.deliver, kept_by=MTA)


def traced(tx: Transaction, verdict: Verdict, hostname: str) -> Verdict:
    """*verdict* with a Received field of ours where an MTA had the message first: for what our own relay sends of it later. The MTA
    shows a milter all fields but the one that it wrote itself."""
    if tx.door is not Door.MILTER:
        return verdict
    edit = received_edit(tx, hostname, tx.received_at, tx.reference)
    return replace(verdict, recipients=tuple(replace(one, edits=(*one.edits, edit)) for one in verdict.recipients))
