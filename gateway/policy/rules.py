"""Rules: checked conditions, their evaluation and what they add up to. The only file that knows CEL.

What it is: ``Rule``, ``RuleSet.evaluate`` and ``check``, which says where a condition is wrong.
Who calls it: ``decide`` for each group of recipients with equal facts; ``rule_loader`` at load.
Must never: take a fact that is missing, or a condition that failed, for false. What is not known defers, unless a rule that
is known refuses already. Nothing that matches is HOLD.
Sources: docs/design.md section 5; the CEL language definition (errors are absorbed by && and || where the other side decides).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any

import msgspec
from cel_expr_python import cel

from gateway.levels import Level
from gateway.policy import facts
from gateway.verdict import Disposition, RuleTrace, merge

NO_RULE = "no-rule-matched"
NOT_KNOWN = "not-known"
NOTIFIED = ("nodal", "security", "postmaster", "registry")
"""Mailboxes of ``[contacts]`` that a rule may send a notice to."""
COPIED = ("registry",)
"""Mailboxes of ``[contacts]`` that a rule may send a copy to."""
EXAMPLE_SENDER = "officer@dept.gov.in"
EXAMPLE_RECIPIENT = "desk@ministry.gov.in"
_CACHED = 4096  # decisions remembered by their facts, a rule set
_MAX_TEXT = 4000
_MAX_LIST = 80_000  # characters of conditions that are compiled together: CEL takes 100,000
_TYPES = {"int": cel.Type.INT, "level": cel.Type.INT, "string": cel.Type.STRING, "bool": cel.Type.BOOL}
_LISTS = "|".join(facts.ELEMENTS)
_STRING = re.compile(r"""r?\"\"\".*?\"\"\"|r?'''.*?'''|r?"(?:\\.|[^"\\\n])*"|r?'(?:\\.|[^'\\\n])*'|//[^\n]*""", re.S)
_MACRO = re.compile(rf"\b({_LISTS})(\s*\.\s*(?:exists|all|exists_one|filter)\s*\(\s*)([A-Za-z_]\w*)(?=\s*,)")
_BARE = re.compile(rf"\b(?:{_LISTS})\b(?!\s*\.\s*(?:size\s*\(\s*\)|(?:exists|all|exists_one|filter)\s*\())")
_CHAINED = re.compile(r"\)\s*\.\s*(?:exists|all|exists_one|filter|map)\s*\(|\.\s*map\s*\(")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as loaded."""

    id: str
    title: str
    source: str
    when: str
    then: Disposition | None
    """None: the rule only tags, archives, copies or notifies."""
    explain: str
    status: str
    mode: str = "enforce"
    tags: tuple[str, ...] = ()
    archive: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    """Mailboxes of ``NOTIFIED`` that get a short notice without content."""
    copies: tuple[str, ...] = ()
    """Mailboxes of ``COPIED`` that get a copy of what is delivered."""
    session: bool = False
    """A refusal that is given in the session to all recipients, with nothing stored."""
    sealed: bool = False
    """What is held is sealed to the security officer's certificate."""
    instead_of: tuple[str, ...] = ()
    """Rules whose place it takes as the one that is named and explained, where both decide alike."""
    pack: str = ""
    examples: tuple[Example, ...] = ()
    file: str = ""
    line: int = 0
    owner: str = ""
    """Who answers for the rule: a mailbox of ``NOTIFIED``, or an address; empty: nobody was named."""

    @property
    def then_text(self) -> str:
        """``deliver`` …; empty for rules that only tag."""
        return self.then.text if self.then is not None else ""


@dataclass(frozen=True, slots=True)
class Example:
    """What a rule promises about one message, or about one set of facts."""

    expect: Disposition
    fires: bool
    message: str = ""
    """A file below the folder of the rule's file."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    sender: str = EXAMPLE_SENDER
    recipient: str = EXAMPLE_RECIPIENT
    line: int = 0
    thread: Level | None = None
    """What the message's thread is said to have carried."""


class Decision(msgspec.Struct, frozen=True):
    """What the rules add up to for one set of facts."""

    disposition: Disposition
    rule: str
    status: str
    source: str
    explain: str
    trace: tuple[RuleTrace, ...]
    hits: tuple[str, ...]
    """Enforced rules that hit with the winning disposition or below it, those that deliver left out."""
    tags: tuple[str, ...] = ()
    archive: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    session: bool = False
    sealed: bool = False
    unknown: tuple[str, ...] = ()
    """Rules that could not be known, because a fact is missing or the condition failed."""


class ConditionError(ValueError):
    """A condition is wrong; *line* and *column* count from 1 inside its text."""

    def __init__(self, line: int, column: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.column = column


class RuleSet:
    """The rules in force, in order. Immutable; the same facts always give the same decision."""

    def __init__(self, rules: tuple[Rule, ...], version: str) -> None:
        self.rules = rules
        self.version = version
        environment = _environment()
        self._each = [environment.compile(rule.when) for rule in rules]
        self._together = [environment.compile(text) for text in _grouped(rules)]
        # A checked expression carries the full name of every variable it reads, so a name that is not in it is not read.
        self._written = [expression.serialize() for expression in self._each]
        written = b"".join(self._written)
        self.reads = tuple(name for name in facts.DECLARED if name.encode() in written)
        self._scalars = tuple(name for name in self.reads if name not in facts.ELEMENTS)
        self._lists = tuple(name for name in self.reads if name in facts.ELEMENTS)
        self._key = itemgetter(*self._scalars) if len(self._scalars) > 1 else lambda found: tuple(found[name] for name in self._scalars)
        self._environment = environment
        self._decisions: dict[Any, Decision] = {}
        self._reading: dict[str, frozenset[str]] = {}

    def reading(self, fact: str) -> frozenset[str]:
        """The ids of the rules whose own condition reads the scalar *fact*."""
        known = self._reading.get(fact)
        if known is None:
            # In a checked expression a name is a field of type 1 with its length before it; a text that only holds the word is not.
            mark = b"\x0a" + bytes((len(fact),)) + fact.encode()
            known = frozenset(rule.id for rule, written in zip(self.rules, self._written, strict=True) if mark in written)
            self._reading[fact] = known
        return known

    def evaluate(self, found: Mapping[str, Any], waived: frozenset[str] = frozenset()) -> Decision:
        """What the rules add up to for the facts *found*; a fact that is not there is not known.

        *waived* rules are left out, except those that refuse or deliver: nobody can waive a refusal.
        """
        try:
            scalars = self._key(found)
        except KeyError:
            scalars = tuple(found.get(name) for name in self._scalars)  # None is no fact's value
        lists = [tuple(tuple(e.values()) for e in found[name]) if name in found else None for name in self._lists]
        key = (scalars, *lists, waived)
        decision = self._decisions.get(key)
        if decision is None:
            decision = self._decide(found, waived)
            if len(self._decisions) >= _CACHED:
                self._decisions.clear()
            self._decisions[key] = decision
        return decision

    def hits(self, found: Mapping[str, Any]) -> tuple[bool | None, ...]:
        """For each rule whether its condition holds; None where that cannot be known."""
        data = {name: found[name] for name in self.reads if name in found}
        data.update(facts.LEVELS)
        activation = self._environment.Activation(data)
        together = [expression.eval(activation=activation).plain_value() for expression in self._together]
        if all(isinstance(part, list) and all(value is True or value is False for value in part) for part in together):
            return tuple(value for part in together for value in part)
        values = (expression.eval(activation=activation).plain_value() for expression in self._each)
        return tuple(value if value is True or value is False else None for value in values)

    def _decide(self, found: Mapping[str, Any], waived: frozenset[str]) -> Decision:
        held = self.hits(found)
        enforced: list[Rule] = []
        unknown: list[Rule] = []
        trace: list[RuleTrace] = []
        for rule, hit in zip(self.rules, held, strict=True):
            skipped = rule.id in waived and rule.then in (Disposition.HOLD, Disposition.DEFER)
            trace.append(RuleTrace(rule.id, bool(hit), "waived" if skipped and hit else rule.mode, rule.then_text))
            if rule.mode != "enforce" or skipped:
                continue
            if hit:
                enforced.append(rule)
            elif hit is None:
                unknown.append(rule)
        return _add_up(enforced, unknown, tuple(trace), NO_RULE in waived)


def _grouped(rules: tuple[Rule, ...]) -> list[str]:
    """All conditions in their order, in as few list expressions as CEL takes: one evaluation costs less than one a rule."""
    lists: list[list[str]] = []
    size = _MAX_LIST
    for rule in rules:
        condition = f"(\n{rule.when}\n)"
        size += len(condition) + 1
        if size > _MAX_LIST:
            lists.append([])
            size = len(condition) + 1
        lists[-1].append(condition)
    return ["[" + ",".join(conditions) + "]" for conditions in lists]


def _add_up(enforced: list[Rule], unknown: list[Rule], trace: tuple[RuleTrace, ...], no_rule_waived: bool) -> Decision:
    """The decision that the *enforced* rules that hit and the *unknown* ones add up to."""
    deciding = [(rule, rule.then) for rule in enforced if rule.then is not None]
    doubtful = [rule for rule in unknown if rule.then is not None and rule.then > Disposition.DELIVER]
    winner = merge([(then, True) for _, then in deciding] + [(Disposition.DEFER, False) for _ in doubtful])
    hits = tuple(rule.id for rule, then in deciding if Disposition.DELIVER < then <= winner)
    first = _named([rule for rule, then in deciding if then is winner])
    tags = tuple(dict.fromkeys(tag for rule in enforced for tag in rule.tags))
    archive = tuple(dict.fromkeys(name for rule in enforced for name in rule.archive))
    notify = tuple(dict.fromkeys(name for rule in enforced for name in rule.notify))
    copies = tuple(dict.fromkeys(name for rule in enforced for name in rule.copies))
    names = tuple(rule.id for rule in unknown)
    if first is None and winner is Disposition.DEFER:
        return Decision(winner, NOT_KNOWN, "4.3.0", "", NOT_KNOWN, trace, hits, tags, archive, notify, copies, unknown=names)
    if first is None:
        if no_rule_waived and not doubtful:
            return Decision(Disposition.DELIVER, NO_RULE, "2.0.0", "", "", trace, (), tags, archive, notify, copies)
        return Decision(Disposition.HOLD, NO_RULE, "4.7.1", "", NO_RULE, trace, (NO_RULE,), tags, archive, notify, copies, unknown=names)
    return Decision(
        winner, first.id, first.status, first.source, first.explain, trace, hits, tags, archive, notify, copies,
        session=any(rule.session for rule, then in deciding if then is winner),
        sealed=any(rule.sealed for rule, then in deciding if then is winner),
        unknown=names,
    )  # fmt: skip


def _named(winners: list[Rule]) -> Rule | None:
    """The rule that speaks for the decision: the first of *winners*, or the first of them that takes that one's place."""
    first = winners[0] if winners else None
    return next((rule for rule in winners if first is not None and first.id in rule.instead_of), first)


def check(text: str) -> None:
    """Holds the condition *text* to the declared facts. Raises ConditionError at the first name or type that is wrong.

    Elements of lists have no static type in CEL. So the text is compiled a second time with the fields of ``l``/``leaf`` and the
    other names of ``ELEMENT_NAMES`` declared as variables and the macro's own variable renamed: a misspelt field is an error at load.
    """
    if len(text) > _MAX_TEXT:
        raise ConditionError(1, 1, f"is longer than {_MAX_TEXT} characters")
    blank = _STRING.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    for pattern, reason in (
        (_BARE, "lists are asked with .exists(), .all(), .exists_one(), .filter() or .size() only"),
        (_CHAINED, "lists are asked with one macro; .map() and chains are not taken"),
    ):
        if match := pattern.search(blank):
            raise ConditionError(*_position(text, match.start()), reason)
    renamed = text
    for match in reversed(list(_MACRO.finditer(blank))):
        names = facts.ELEMENT_NAMES[match[1]]
        if match[3] not in names:
            raise ConditionError(*_position(text, match.start(3)), f"call an element of {match[1]} {' or '.join(names)}")
        renamed = renamed[: match.start(3)] + "_" * len(match[3]) + renamed[match.end(3) :]
    for expression, environment in ((text, _environment()), (renamed, _checking())):
        try:
            kind = environment.compile(expression).return_type()
        except RuntimeError as error:
            raise _explained(str(error)) from None
        if kind != cel.Type.BOOL:
            raise ConditionError(1, 1, f"must be true or false, not {str(kind.name()).lower()}")


def _explained(error: str) -> ConditionError:
    found = re.search(r"<input>:(\d+):(\d+): (.*)", error)
    if not found:
        return ConditionError(1, 1, error.splitlines()[0])
    return ConditionError(int(found[1]), int(found[2]), found[3].replace(" (in container '')", ""))


def _position(text: str, index: int) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


@lru_cache(maxsize=1)
def _environment() -> Any:
    """What conditions are compiled in to be evaluated."""
    variables = dict.fromkeys(facts.LEVELS, cel.Type.INT)
    element = cel.Type.List(cel.Type.Map(cel.Type.STRING, cel.Type.DYN))
    variables |= {fact.name: _TYPES.get(fact.type, element) for fact in facts.DECLARED.values()}
    return cel.NewEnv(variables=variables)


@lru_cache(maxsize=1)
def _checking() -> Any:
    """What conditions are compiled in to be checked: the fields of elements are variables with types."""
    variables = dict.fromkeys(facts.LEVELS, cel.Type.INT)
    variables |= {fact.name: _TYPES.get(fact.type, cel.Type.List(cel.Type.INT)) for fact in facts.DECLARED.values()}
    for table, names in facts.ELEMENT_NAMES.items():
        variables |= {f"{name}.{field}": _TYPES[fact.type] for name in names for field, fact in facts.ELEMENTS[table].items()}
    return cel.NewEnv(variables=variables)
