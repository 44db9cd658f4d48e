"""Copies for the registry: one more delivery of what is delivered, in the same commit.

What it is: ``Copies``, which makes the rows and the audit events for the mailboxes that rules name with ``copy``.
Who calls it: ``act`` (the commit) and ``quarantine`` (the release).
Must never: copy what is sealed, held or refused; make two copies of one message, or a copy of a copy (a copy is a delivery, no
rule sees it); tell the officer about a copy that fails: NOTIFY=NEVER, so that it is listed for the postmaster.
Sources: rules/README.md, R32; RFC 3461 section 4.1; docs/design.md section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from gateway import logs
from gateway.audit import events
from gateway.config import Config
from gateway.envelope import new_id
from gateway.policy import Policy, contacts
from gateway.stores.base import AuditEvent, DeliveryRow
from gateway.verdict import Direction, Edit, RuleTrace

_log = logs.get("copies")


@dataclass(frozen=True, slots=True)
class Asked:
    """One recipient that gets the message now, and the copies that its rules ask for."""

    row: DeliveryRow
    copies: Sequence[str]
    trace: Sequence[RuleTrace] = ()


@dataclass(frozen=True, slots=True)
class Copied:
    """What becomes durable with the deliveries."""

    deliveries: list[DeliveryRow] = field(default_factory=list)
    audit: list[AuditEvent] = field(default_factory=list)


class Copies:
    """Makes them for the rules and contacts now in force."""

    def __init__(self, config: Config, policy: Callable[[], Policy]) -> None:
        self._config = config
        self._policy = policy
        self._said: set[str] = set()

    def make(self, asked: Sequence[Asked], present: Iterable[str], now: float) -> Copied:
        """The copies of one message. *asked*: those who get it now; *present*: all who get it anyway, or have got a copy."""
        out = Copied()
        wanting = [one for one in asked if one.copies]
        if not wanting:
            return out
        there = {address.casefold() for address in present}
        for name in dict.fromkeys(name for one in wanting for name in one.copies):
            path = contacts.mailbox(name, self._config)
            if path is None or not contacts.may_have_copies(path, self._config, self._policy()):
                self._say_once(name)
                continue
            if path.text.casefold() in there:
                continue
            there.add(path.text.casefold())
            first = next(one for one in wanting if name in one.copies)
            like = first.row
            row = replace(
                like, id=new_id(), recipient=path.text, notify=("NEVER",), orcpt="", direction=Direction.INTERNAL.value,
                edits=_internal(like.edits), require_aes256=any(one.row.require_aes256 for one in asked),
            )  # fmt: skip
            out.deliveries.append(row)
            out.audit.append(
                events.act(
                    "message-copied", now, "", "", reference=row.reference, department=row.department, sender=row.sender,
                    recipient=row.recipient, rule=self._rule(name, first), kind="info", contact=name, delivery=row.id,
                    copied_for=[one.row.recipient for one in wanting if name in one.copies][:10],
                )
            )  # fmt: skip
        return out

    def _rule(self, name: str, one: Asked) -> str:
        """The rule that asked for it."""
        hit = {trace.rule for trace in one.trace if trace.hit}
        return next((rule.id for rule in self._policy().rules.rules if name in rule.copies and rule.id in hit), "")

    def _say_once(self, name: str) -> None:
        if name not in self._said:
            self._said.add(name)
            _log.error("a rule asks for copies to a contact that cannot have any; none is made: see gateway check", contact=name)


def _internal(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """*edits* as a recipient inside gets them: the mark before the subject is for recipients outside only."""
    return tuple(edit for edit in edits if not (edit.action == "replace" and edit.header.lower() == "subject"))
