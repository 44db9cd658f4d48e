"""Reports about decisions: refused at once, held, refused by a reviewer, expired.

What it is: who may be told, and the report's rows, made from what was decided.
Who calls it: ``act`` (refused, held), ``quarantine`` and ``housekeeping`` (refused, expired).
Must never: write to an outsider, to a null sender, or about a report of ours; send a notice about mail that a machine or a list
sent; carry more of the original than its header section.
Sources: RFC 3461 sections 4.1 and 6.2, RFC 3464, RFC 3834; docs/design.md section 4; hostile-inputs catalogue P10, L02 to L05.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.config import Config
from gateway.levels import Level
from gateway.policy import bounce
from gateway.policy.bounce import RecipientReport
from gateway.policy.explanations import Explanations
from gateway.relay.jobs import header_of
from gateway.relay.notices import Report, make_report
from gateway.stores.base import DeliveryRow
from gateway.vault.officer_links import OfficerLinks
from gateway.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class About:
    """One recipient of the original and why it is reported."""

    row: DeliveryRow
    """The delivery that it would have been; never stored by us here."""
    status: str
    explain: str
    rule: str = ""
    source: str = ""
    words: dict[str, str] = field(default_factory=dict)


class Reports:
    """Writes them with the sentences now in force."""

    def __init__(self, config: Config, vault: Vault, explanations: Callable[[], Explanations]) -> None:
        self._config = config
        self._vault = vault
        self._explanations = explanations
        self._links = OfficerLinks(config, vault)

    def refused(self, about: Sequence[About], content: bytes, now: float, lease: str, *, level: Level | None, note: str = "") -> Report:
        """One report for all refused recipients of a message; *note* is a reviewer's own sentence."""
        return self._report(bounce.failed, about, content, now, lease, level, note)

    def held(self, about: Sequence[About], content: bytes, now: float, lease: str, *, level: Level | None, deadline: float) -> Report:
        """One notice that a message waits for a reviewer until *deadline*."""
        return self._report(lambda *a, **k: bounce.held(*a, deadline=deadline, **k), about, content, now, lease, level, "")

    def _report(
        self, write: Callable[..., bytes], about: Sequence[About], content: bytes, now: float, lease: str, level: Level | None, note: str
    ) -> Report:
        config, first = self._config, about[0].row
        recipients = [
            RecipientReport(
                address=one.row.recipient, status=one.status, explain=one.explain, words={"recipient": one.row.recipient} | one.words,
                rule=one.rule, source=one.source, orcpt=one.row.orcpt,
            )
            for one in about
        ]  # fmt: skip
        made = write(
            first.reference, config.hostname, now, header_of(content), first.sender, recipients, self._explanations(), config.languages,
            config.contacts, self._links.url(first.reference, first.sender, now), level, first.envid, first.smtputf8, note,
            arrival=first.created, header_limit=config.limits.bounce_body,
        )  # fmt: skip
        return make_report(made, first, self._vault, now, lease)
