"""What a decision becomes where a message is stored: in one's own mailbox, which is no delivery, or where others read it, which is one.

What it is: ``stored``: the rules are asked as for any message. In one's own mailbox what they say is recorded, and only what must not be
there is refused; among others' mail all is refused that would not have been delivered at once.
Who calls it: ``decide``, for mail that an IMAP client files.
Must never: hold (a mail program has nobody to wait for), defer less than the rules do, or lose what the rules said: the trace, the hits
and a tag keep it.
Source: docs/design.md section 4 ("IMAP").
"""

from __future__ import annotations

from msgspec.structs import replace

from gateway.levels import Level
from gateway.policy.rules import Decision, Rule, RuleSet
from gateway.verdict import Disposition

RECORDED = "imap-recorded"
"""Tag of what would not have been delivered as mail: rule and hits tell why."""
SHARED = "imap-shared"
"""Tag of what was filed, or was to be, where others read it."""
_STOP = (Disposition.REFUSE, Disposition.HOLD)


def stored(decision: Decision, rules: RuleSet, level: Level | None, *, shared: bool = False) -> Decision:
    """*decision* about a message that is certainly of *level*, for storing; *shared*: others read it there.

    In one's own mailbox refused is what is certainly SECRET or higher where a rule refuses that in the session, and what an enforced rule
    stops whose own condition reads the fact ``door``: whoever wrote such a rule had this door before his eyes. What could not be known
    stays deferred.
    """
    if decision.disposition is Disposition.DEFER:
        return decision
    if shared:
        return _shared(decision)
    if decision.session and level is not None and level >= Level.SECRET:
        return replace(decision, archive=(), copies=())
    named = _naming(decision, rules)
    if named is not None:
        return replace(
            decision, disposition=Disposition.REFUSE, rule=named.id, source=named.source, explain=named.explain,
            status=named.status if named.then is Disposition.REFUSE else "5.7.1", archive=(), copies=(), session=False, sealed=False,
        )  # fmt: skip
    tags = decision.tags
    if decision.disposition is not Disposition.DELIVER:
        tags = (*tags, RECORDED)
    # Nobody is told either: a draft that its writer corrects before he sends it is no incident.
    return replace(
        decision, disposition=Disposition.DELIVER, status="2.0.0", explain="", tags=tags, archive=(), notify=(), copies=(), session=False,
        sealed=False,
    )  # fmt: skip


def _shared(decision: Decision) -> Decision:
    """*decision* where it is one of delivery: what would wait for a reviewer is refused, since a mail program cannot wait."""
    tags = (*decision.tags, SHARED)
    if decision.disposition is Disposition.HOLD:
        decision = replace(decision, disposition=Disposition.REFUSE, status="5.7.1", session=False, sealed=False)
    return replace(decision, tags=tags, archive=(), copies=())


def _naming(decision: Decision, rules: RuleSet) -> Rule | None:
    """The rule that stops *decision* and names the door: a refusal before a hold, then the first."""
    asked = rules.reading("door")
    hit = {one.rule for one in decision.trace if one.hit and one.mode == "enforce" and one.rule in asked}
    found = [rule for rule in rules.rules if rule.id in hit and rule.then in _STOP]
    return max(found, key=lambda rule: rule.then is Disposition.REFUSE, default=None)
