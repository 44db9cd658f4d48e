"""The examples of the rules: each promises what happens to one message, or to one set of facts.

What it is: ``run``, which decides every example as live mail is decided, and says which promise is not kept.
Who calls it: ``policy.load`` (those with facts, always), ``gateway rules test``, ``gateway check`` and the supervisor before a
reload (all of them).
Must never: judge an example by other code than live mail.
Source: docs/design.md section 5.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import address
from gateway.config import Config, Contacts, Originators
from gateway.envelope import Door, Envelope, Peer, Recipient, Transaction
from gateway.policy import rule_loader, source
from gateway.policy.rules import Example, Rule, RuleSet
from gateway.policy.source import PolicyError
from gateway.requests import Exceptions
from gateway.verdict import Disposition, Remembered, RuleTrace

if TYPE_CHECKING:
    from gateway.policy import Policy

CONFIG = Config(
    hostname="gw1.dept.gov.in",
    originators=Originators(domains=("dept.gov.in", "it.gujarat.gov.in"), networks=("10.0.0.0/8",)),
    contacts=Contacts(postmaster="postmaster@dept.gov.in"),
)
"""The site that examples are decided for."""


@dataclass(frozen=True, slots=True)
class ExampleResult:
    """What became of one example."""

    rule: str
    file: str
    line: int
    name: str
    """The message's file, or the facts that were changed."""
    expect: str
    got: str
    ok: bool
    reason: str = ""
    """Why not, in one clause; empty when it is ok."""


def run(policy: Policy, root: Path, *, messages: bool = True) -> list[ExampleResult]:
    """Every example of the rules in force; without *messages* only those that state facts.

    A rule of a pack is tried beside the rules that belong to no pack and those of its own pack.
    """
    results = []
    sets: dict[str, RuleSet] = {}
    for rule in policy.rules.rules:
        if rule.pack not in sets:
            chosen = tuple(other for other in policy.rules.rules if other.pack in ("", rule.pack))
            sets[rule.pack] = RuleSet(chosen, policy.rules.version)
        for example in rule.examples:
            if example.message and not messages:
                continue
            results.append(_one(policy, sets[rule.pack], root, rule, example))
    return results


def _one(policy: Policy, ruleset: RuleSet, root: Path, rule: Rule, example: Example) -> ExampleResult:
    name = example.message or ", ".join(f"{key} = {value!r}" for key, value in example.facts.items()) or "an ordinary message"
    if example.message:
        disposition, trace = _decide_message(policy, ruleset, root, rule, example)
    else:
        decision = ruleset.evaluate(rule_loader.ordinary(example.facts))
        disposition, trace = decision.disposition, decision.trace
    fired = any(step.rule == rule.id and step.hit for step in trace)
    reasons = []
    if disposition is not example.expect:
        deciding = [step.rule for step in trace if step.hit and step.mode == "enforce" and step.then == disposition.text]
        reasons.append(f"is {disposition.text} ({', '.join(deciding) or 'no rule'}), not {example.expect.text}")
    if fired is not example.fires:
        reasons.append("the rule does not hit" if example.fires else "the rule hits")
    return ExampleResult(rule.id, rule.file, example.line, name, example.expect.text, disposition.text, not reasons, "; ".join(reasons))


def _decide_message(
    policy: Policy, ruleset: RuleSet, root: Path, rule: Rule, example: Example
) -> tuple[Disposition, tuple[RuleTrace, ...]]:
    """The verdict on a message file, by the same inspection and decision as live mail."""
    from gateway import content  # inspection is needed here only
    from gateway import policy as policies
    from gateway.policy import decide

    octets = source.read_bytes(Path(rule.file).parent / example.message, root)
    octets = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    digest = hashlib.sha256(octets).hexdigest()
    try:
        sender = address.parse(example.sender.encode(), smtputf8=True)
        recipient = address.parse(example.recipient.encode(), smtputf8=True)
    except address.AddressError as error:
        raise PolicyError(f"{rule.file}:{example.line}: rule.example: {error}") from None
    peer = Peer("10.0.0.1", listed=True)
    tx = Transaction(
        "00000000-0000-7000-8000-000000000000", Door.SMTP, peer, Envelope(sender, (Recipient(recipient),)), 0.0, len(octets), digest,
        decide.verified(sender, peer, CONFIG),
    )  # fmt: skip
    inspection = content.unpack(octets, sha256=digest, limits=CONFIG.limits, scheme=policy.scheme)
    tried = policies.Policy(ruleset, policy.domains, policy.scheme, policy.explanations, policy.version, root)
    verdict = decide.decide(tx, inspection, tried, Exceptions("", ()), CONFIG, remembered=Remembered(thread=example.thread))
    return verdict.recipients[0].disposition, verdict.recipients[0].trace
