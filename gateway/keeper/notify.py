"""Notices to contacts that rules name: the nodal officer, the security team, the postmaster, the registry.

What it is: ``Notifier``: which contacts are told of a decision, the rows of their notices, and the rate of them.
Who calls it: ``act`` (in the same commit as the decision) and ``housekeeping`` (the summary of what was over the rate).
Must never: write to an address that is not of the organisation; tell of mail that a program sent, which a notice of ours that
somebody forwards is: so there is no loop; write more than one notice to one address about one message.
Sources: rules/README.md, R8; RFC 3834 section 2; hostile-inputs catalogue L05.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway import logs
from gateway.audit import events
from gateway.config import Config
from gateway.envelope import Transaction
from gateway.policy import Policy, contacts, notice
from gateway.policy.rules import Rule
from gateway.relay.notices import Report, Sealer, make_message
from gateway.stores.base import AuditEvent
from gateway.verdict import Disposition, RecipientVerdict, Verdict

AN_HOUR = 20
"""Notices of one rule to one address in an hour; the others are told together when the hour is over."""
HOUR = 3600.0
_log = logs.get("notify")


@dataclass(slots=True)
class _Rate:
    """One address and one rule in the hour from *begun* (monotonic seconds) and *since* (since the epoch)."""

    begun: float
    since: float
    sent: int = 0
    over: int = 0


@dataclass(slots=True)
class Told:
    """The notices of one message: what becomes durable with the decision. ``Notifier.undo`` where it does not."""

    reports: list[Report] = field(default_factory=list)
    audit: list[AuditEvent] = field(default_factory=list)
    sent: list[tuple[str, str]] = field(default_factory=list)
    over: list[tuple[str, str]] = field(default_factory=list)


class Notifier:
    """Tells the contacts, with the rules and sentences now in force. *monotonic* is what the rate is measured by, in seconds."""

    def __init__(
        self, config: Config, vault: Sealer, policy: Callable[[], Policy], clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._config = config
        self._vault = vault
        self._policy = policy
        self._clock = clock
        self._monotonic = monotonic
        self._rates: dict[tuple[str, str], _Rate] = {}
        self._said: set[str] = set()

    def about(self, tx: Transaction, verdict: Verdict, lease: str) -> Told:
        """The notices that *verdict* asks for. *lease* as in ``notices.make_report``."""
        out = Told()
        asking = [one for one in verdict.recipients if one.notify and one.disposition is not Disposition.DEFER]
        if not asking or verdict.headers.auto_submitted.strip().lower() not in ("", "no"):
            return out
        now, done = self._clock(), Counter(one.disposition for one in verdict.recipients)
        addresses: set[str] = set()
        for name in dict.fromkeys(name for one in asking for name in one.notify):
            to = self._address(name)
            if not to or to.casefold() in addresses:
                continue
            addresses.add(to.casefold())
            rule = self._rule(name, next(one for one in asking if name in one.notify))
            title = rule.title if rule is not None else ""
            key = (to, rule.id if rule is not None else asking[0].rule)
            if not self._take(key):
                out.over.append(key)
                continue
            out.sent.append(key)
            level = events.level_of(verdict)
            told = notice.Told(
                tx.reference, key[1], title, "" if level is None else level.text, tx.envelope.sender.text,
                done[Disposition.DELIVER], done[Disposition.HOLD], done[Disposition.REFUSE],
            )  # fmt: skip
            content = notice.notice(told, to, self._config.hostname, now, self._policy().explanations, self._config.languages)
            self._add(out, name, key, content, lease, now, about=tx.reference, department=tx.department, sender=tx.envelope.sender.text)
        return out

    def undo(self, told: Told) -> None:
        """*told* did not become durable: it is not counted."""
        for keys, field_name in ((told.sent, "sent"), (told.over, "over")):
            for key in keys:
                rate = self._rates.get(key)
                if rate is not None and getattr(rate, field_name):
                    setattr(rate, field_name, getattr(rate, field_name) - 1)

    def summaries(self, lease: str, *, all: bool = False) -> Told:
        """One notice for each address and rule whose hour is over and had more decisions than notices; with *all* (at the stop)
        also where the hour is not over. Call ``forget`` when it is durable."""
        out, now, at = Told(), self._clock(), self._monotonic()
        for key, rate in list(self._rates.items()):
            if at - rate.begun < HOUR and not all:
                continue
            if not rate.over:
                del self._rates[key]
                continue
            out.sent.append(key)
            to, rule_id = key
            title = next((rule.title for rule in self._policy().rules.rules if rule.id == rule_id), "")
            content = notice.more(
                rule_id, title, rate.over, rate.since, to, self._config.hostname, now, self._policy().explanations, self._config.languages,
            )  # fmt: skip
            self._add(out, "", key, content, lease, now, about="", department="", sender="", count=rate.over)
        return out

    def forget(self, told: Told) -> None:
        """The summaries *told* are durable: their hours begin anew."""
        for key in told.sent:
            self._rates.pop(key, None)

    def _add(
        self, out: Told, name: str, key: tuple[str, str], content: bytes, lease: str, now: float, *, about: str, department: str,
        sender: str, **more: object,
    ) -> None:  # fmt: skip
        to, rule_id = key
        # Nothing of the message is in it, so it need not wait for an AES-256 hop.
        report = make_message(
            content, to, self._vault, now, lease, about=about, department=department, level=None, require_aes256=False, door="notice"
        )
        out.reports.append(report)
        if name:
            more["contact"] = name
        out.audit.append(
            events.act(
                "contact-notified", now, "", "", reference=about, department=department, sender=sender, recipient=to, rule=rule_id,
                kind="info", notice=report.message.reference, **more,
            )
        )  # fmt: skip

    def _take(self, key: tuple[str, str]) -> bool:
        """Whether one more notice may be sent; counts it either way."""
        at = self._monotonic()
        rate = self._rates.get(key)
        if rate is None or (at - rate.begun >= HOUR and not rate.over):
            rate = self._rates[key] = _Rate(at, self._clock())
        if rate.sent >= AN_HOUR:
            rate.over += 1
            return False
        rate.sent += 1
        return True

    def _address(self, name: str) -> str:
        path = contacts.mailbox(name, self._config)
        if path is not None and contacts.is_within(path, self._config):
            return path.text
        if name not in self._said:
            self._said.add(name)
            _log.error("a rule asks for notices to a contact that cannot have any; none is sent: see gateway check", contact=name)
        return ""

    def _rule(self, name: str, one: RecipientVerdict) -> Rule | None:
        """The rule that asks for it: the one that decided where it does, else the first."""
        hit = {trace.rule for trace in one.trace if trace.hit and trace.mode == "enforce"} or {one.rule}
        asking: Sequence[Rule] = [rule for rule in self._policy().rules.rules if name in rule.notify and rule.id in hit]
        return next((rule for rule in asking if rule.id == one.rule), asking[0] if asking else None)
