"""What the rules in force need and the config lacks: the part of ``gateway check`` that reads both together.

Who calls it: ``check``, after the rules were loaded.
Must never: change anything; judge a rule by its name (a department's own rules are held to the same).
Source: docs/design.md section 10; rules/README.md, "Government packs".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.cli import check_archive
from gateway.policy import contacts, rule_loader
from gateway.verdict import Disposition, Tier

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.doctor import Finding
    from gateway.policy import Policy

_ASKS_FOR_TOPICS = re.compile(r"""\.kind\s*==\s*["']topic["']|["']topic["']\s*==\s*\w+\.kind""")
_NAMED = re.compile(r"""\.name\s*==\s*(["'])([^"']+)\1""")
_OTHER_NAMES = frozenset(("cloud", "messenger", *(tier.value for tier in Tier)))  # of links and addresses
_RECIPIENT = "a government address"  # of the ordinary note that is tried for each domain


def needs(config: Config, policy: Policy) -> Iterator[Finding]:
    """One finding for each thing that would keep rules from doing what they say, or stop all mail of a domain."""
    from gateway.doctor import Finding

    packs = ", ".join(config.packs) or "none: only the baseline is in force"
    yield Finding("packs", "ok", packs)
    for sentence in contacts.wrong(config, policy):
        yield Finding("contacts", "wrong", sentence)
    for sentence in contacts.missing(config, policy):
        yield Finding("contacts", "warning", sentence)
    yield from check_archive.asked(config, policy)
    yield from _topics(config, policy)
    for code in policy.explanations.unverified:
        name = policy.explanations.languages[code].name
        yield Finding("languages", "warning", f"{code} ({name}): no native reader has reviewed these sentences; have them read first")
    yield from _senders(config, policy)


def _topics(config: Config, policy: Policy) -> Iterator[Finding]:
    """Whether topics.toml has what rules in force ask for: a topic that nobody looks for is never found."""
    from gateway.doctor import Finding

    there = policy.scheme.watch.topics.names
    file = f"{config.rules_dir}/topics.toml" if config.rules_dir is not None else "the package's topics.toml"
    asking = [rule for rule in policy.rules.rules if _ASKS_FOR_TOPICS.search(rule.when)]
    if asking and not there:
        names = ", ".join(rule.id for rule in asking)
        text = f"{names}: asks for topics, and there are none in {file}: it never hits; copy that file from the package's rules"
        yield Finding("topics", "wrong", text)
        return
    for rule in asking:
        for name in sorted({found[2] for found in _NAMED.finditer(rule.when)} - _OTHER_NAMES - set(there)):
            yield Finding("topics", "wrong", f"{rule.id}: asks for the topic {name!r}, which {file} has not: there are {', '.join(there)}")


def _senders(config: Config, policy: Policy) -> Iterator[Finding]:
    """Whether an unmarked note from each domain of ours to a government address may go on."""
    from gateway.doctor import Finding

    for domain in config.originators.domains:
        info = policy.domains.tier(domain)
        found = rule_loader.ordinary({"originator.domain": domain, "originator.tier": info.tier.value})
        decision = policy.rules.evaluate(found)
        if decision.disposition is not Disposition.DELIVER:
            word = {Disposition.REFUSE: "refused", Disposition.HOLD: "held"}.get(decision.disposition, "deferred")
            pack = next((rule.pack for rule in policy.rules.rules if rule.id == decision.rule), "")
            where = f" of the pack {pack}" if pack else ""
            yield Finding("senders", "warning", f"every message from {domain} to {_RECIPIENT} is {word} by the rule {decision.rule}{where}")
