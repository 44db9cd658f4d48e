"""Rules from rules/policy/*.toml: strict reading, whole or not at all.

What it is: ``load``, which turns files into a RuleSet, and every complaint into ``file:line: field: reason``.
Who calls it: ``policy.load``.
Must never: take a rule without source, explanation and examples; skip a rule that it does not understand.
Sources: docs/design.md section 5; hostile-inputs catalogue L08.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway import address
from gateway.address import AddressError
from gateway.levels import Level
from gateway.policy import facts, rules, source
from gateway.policy.rules import Example, Rule, RuleSet
from gateway.policy.source import PolicyError, Source
from gateway.verdict import Disposition

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_RESERVED = (rules.NO_RULE, rules.NOT_KNOWN)
_DISPOSITIONS = {one.text: one for one in Disposition}
_STATUS = {Disposition.DELIVER: "2.0.0", Disposition.HOLD: "4.7.1", Disposition.REFUSE: "5.7.1", Disposition.DEFER: "4.3.0", None: ""}
_CLASS = {Disposition.DELIVER: "2", Disposition.HOLD: "4", Disposition.REFUSE: "5", Disposition.DEFER: "4"}
_MAILBOXES = {"notify": rules.NOTIFIED, "copy": rules.COPIED}
_RULE: Mapping[str, type | tuple[type, ...]] = {
    "id": str, "title": str, "source": str, "when": str, "then": str, "mode": str, "explain": str, "status": str, "tag": (str, list),
    "archive": (str, list), "notify": (str, list), "copy": (str, list), "instead_of": (str, list), "owner": str,
    "session": bool, "sealed": bool, "example": list,
}  # fmt: skip
_EXAMPLE: Mapping[str, type | tuple[type, ...]] = {
    "expect": str, "fires": bool, "message": str, "facts": dict, "from": str, "to": str, "thread": str,
}  # fmt: skip


def load(folder: Path, root: Path, packs: Sequence[str], sentences: frozenset[str], version: str) -> RuleSet:
    """The rules of every file of *folder* that is in force. Raises PolicyError; *sentences* are the explanation keys there are."""
    found: list[Rule] = []
    seen: dict[str, str] = {}
    every: list[Rule] = []
    there: set[str] = set()
    for path in source.files(folder):
        file = source.read(path, root)
        source.keys(file, file.data, {"pack": str, "title": str, "rule": list}, "")
        pack = file.data.get("pack", "")
        if pack and not _ID.fullmatch(pack):
            raise file.fail(file.line("", 0, "pack"), "pack", f"{pack!r} is not a name of small letters and hyphens")
        there.add(pack)
        before = 0
        for index, table in enumerate(file.data.get("rule", [])):
            rule = _rule(file, index, before, table, pack, sentences)
            before += len(rule.examples)
            if rule.id in seen:
                raise file.fail(file.line("rule", index, "id"), "rule.id", f"{rule.id!r} stands in {seen[rule.id]} too")
            seen[rule.id] = f"{file.name}:{rule.line}"
            every.append(rule)
            if not pack or pack in packs:
                found.append(rule)
    for pack in packs:
        if pack not in there:
            raise PolicyError(f"{folder}: the config names the pack {pack!r}, but no file has it")
    if not found:
        raise PolicyError(f"{folder}: holds no rule that is in force")
    _replaced(every)
    ruleset = RuleSet(tuple(found), version)
    _try(ruleset)
    return ruleset


def _replaced(every: Sequence[Rule]) -> None:
    """What ``instead_of`` names is a rule that decides alike, and none that is answered in the session: those explain themselves."""
    known = {rule.id: rule for rule in every}
    for rule in every:
        for name in rule.instead_of:
            other = known.get(name)
            if other is None:
                raise PolicyError(f"{rule.file}:{rule.line}: rule.instead_of: there is no rule {name!r}")
            if other.then is not rule.then or other.session:
                raise PolicyError(f"{rule.file}:{rule.line}: rule.instead_of: {name!r} has another then, or is answered in the session")


def _try(ruleset: RuleSet) -> None:
    """Every condition can be evaluated for the ordinary message: one that fails there would defer all mail."""
    for rule, hit in zip(ruleset.rules, ruleset.hits(ordinary({})), strict=True):
        if hit is None:
            raise PolicyError(f"{rule.file}:{rule.line}: rule.when: {rule.id}: cannot be evaluated for an ordinary message")


def ordinary(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of an ordinary note from one official to another, with *changes*."""
    found = {fact.name: list(fact.ordinary) if isinstance(fact.ordinary, tuple) else fact.ordinary for fact in facts.DECLARED.values()}
    return found | dict(changes)


def _rule(file: Source, index: int, before: int, table: Any, pack: str, sentences: frozenset[str]) -> Rule:
    if not isinstance(table, dict):
        raise file.fail(file.line("rule", index), "rule", "must be a table")
    source.keys(file, table, _RULE, "rule", index)

    def wrong(key: str, reason: str) -> PolicyError:
        return file.fail(file.line("rule", index, key), f"rule.{key}", reason)

    for key in ("id", "title", "source", "when"):
        if not table.get(key, "").strip():
            raise wrong(key, "is needed")
    identifier = table["id"]
    if not _ID.fullmatch(identifier) or identifier in _RESERVED:
        raise wrong("id", f"{identifier!r} is not a name of small letters, digits and hyphens, or is taken")
    effects = {key: _names(file, index, table, key) for key in ("tag", "archive", "notify", "copy")}
    then_text = table.get("then", "")
    if then_text and then_text not in _DISPOSITIONS:
        raise wrong("then", f"{then_text!r} is not deliver, refuse, hold or defer")
    then = _DISPOSITIONS.get(then_text)
    if then is None and not any(effects.values()):
        raise wrong("then", "is needed, unless the rule tags, archives, copies or notifies")
    mode = table.get("mode", "enforce")
    if mode not in ("enforce", "monitor"):
        raise wrong("mode", f"{mode!r} is not enforce or monitor")
    status = table.get("status", _STATUS[then])
    if "status" in table and (then is None or not re.fullmatch(rf"{_CLASS[then]}\.\d{{1,3}}\.\d{{1,3}}", status)):
        raise wrong("status", f"{status!r} is not an enhanced code that fits {then_text or 'a rule without then'!s}")
    explain = table.get("explain", "")
    if then is not None and then is not Disposition.DELIVER and not explain:
        raise wrong("explain", "is needed for a rule that refuses, holds or defers")
    if explain and explain not in sentences:
        raise wrong("explain", f"{explain!r} is in no file of explanations")
    instead_of = _names(file, index, table, "instead_of")
    if instead_of and not explain:
        raise wrong("instead_of", "goes with explain only")
    owner = table.get("owner", "").strip()
    if "owner" in table and owner not in rules.NOTIFIED and not _is_address(owner):
        raise wrong("owner", f"{owner!r} is neither {' nor '.join(rules.NOTIFIED)} nor an e-mail address")
    session, sealed = table.get("session", False), table.get("sealed", False)
    if session and then is not Disposition.REFUSE:
        raise wrong("session", "goes with refuse only")
    if sealed and then is not Disposition.HOLD:
        raise wrong("sealed", "goes with hold only")
    try:
        rules.check(table["when"])
    except rules.ConditionError as error:
        raise _condition(file, index, error) from None
    examples = _examples(file, index, before, table.get("example", []), then, mode)
    return Rule(
        identifier, table["title"], table["source"], table["when"], then, explain, status, mode, effects["tag"], effects["archive"],
        effects["notify"], effects["copy"], session, sealed, instead_of, pack, examples, file.name, file.line("rule", index), owner,
    )  # fmt: skip


def _is_address(text: str) -> bool:
    try:
        return bool(address.parse(text.encode("utf-8"), smtputf8=True).domain)
    except (AddressError, UnicodeEncodeError):
        return False


def _condition(file: Source, index: int, error: rules.ConditionError) -> PolicyError:
    """The error on the line of the file where the condition is wrong."""
    line = file.line("rule", index, "when")
    if re.search(r"=\s*('''|\"\"\")\s*$", (file.text.splitlines()[line - 1] if line else "")):
        line += 1  # the text of a multi-line string starts below its key
    return file.fail(line + error.line - 1, "rule.when", f"column {error.column}: {error}")


def _names(file: Source, index: int, table: dict[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    names = [value] if isinstance(value, str) else value
    for name in names:
        if not isinstance(name, str) or not _ID.fullmatch(name):
            raise file.fail(file.line("rule", index, key), f"rule.{key}", "is a name of small letters and hyphens, or a list of them")
        if key in _MAILBOXES and name not in _MAILBOXES[key]:
            raise file.fail(file.line("rule", index, key), f"rule.{key}", f"{name!r} is not {' or '.join(_MAILBOXES[key])}")
    return tuple(names)


def _examples(file: Source, index: int, before: int, tables: list[Any], then: Disposition | None, mode: str) -> tuple[Example, ...]:
    examples = []
    for place, table in enumerate(tables):
        number = before + place
        line = file.line("rule.example", number)
        if not isinstance(table, dict):
            raise file.fail(line, "rule.example", "must be a table")
        source.keys(file, table, _EXAMPLE, "rule.example", number)
        if table.get("expect") not in _DISPOSITIONS:
            raise file.fail(line, "rule.example.expect", "must be deliver, refuse, hold or defer")
        if ("message" in table) == ("facts" in table):
            raise file.fail(line, "rule.example", "needs either a message or facts")
        expect = _DISPOSITIONS[table["expect"]]
        if "fires" not in table and (then is None or mode == "monitor"):
            raise file.fail(line, "rule.example.fires", "is needed for rules that only tag, and in monitor mode")
        example = Example(
            expect, table.get("fires", expect is then), table.get("message", ""), _facts(file, line, table.get("facts", {})),
            table.get("from", rules.EXAMPLE_SENDER), table.get("to", rules.EXAMPLE_RECIPIENT), line, _thread(file, line, table),
        )  # fmt: skip
        examples.append(example)
    if {example.fires for example in examples} != {True, False}:
        raise file.fail(file.line("rule", index), "rule.example", "one example that fires and one that does not are needed")
    return tuple(examples)


def _thread(file: Source, line: int, table: dict[str, Any]) -> Level | None:
    """The level that the thread of an example's message is said to have carried."""
    if "thread" not in table:
        return None
    if "message" not in table:
        raise file.fail(line, "rule.example.thread", "goes with message only; facts name message.thread_level")
    try:
        return Level.parse(table["thread"])
    except ValueError as error:
        raise file.fail(line, "rule.example.thread", str(error)) from None


def _facts(file: Source, line: int, given: dict[str, Any]) -> dict[str, Any]:
    """Facts of an example, checked and with levels as numbers."""
    return {name: _value(file, line, facts.DECLARED.get(name), name, value) for name, value in given.items()}


def _value(file: Source, line: int, fact: facts.Fact | None, name: str, value: Any) -> Any:
    field = f"rule.example.facts.{name}"
    if fact is None:
        raise file.fail(line, field, "unknown fact")
    if fact.type == "list":
        if not isinstance(value, list) or not all(isinstance(element, dict) for element in value):
            raise file.fail(line, field, "is a list of tables")
        fields = facts.ELEMENTS[name]
        return [
            {one.name: one.ordinary for one in fields.values()}
            | {key: _value(file, line, fields.get(key), f"{name}.{key}", entry) for key, entry in element.items()}
            for element in value
        ]
    if fact.type == "level" and isinstance(value, str):
        try:
            return facts.UNMARKED if value == "UNMARKED" else int(Level.parse(value))
        except ValueError:
            raise file.fail(line, field, f"{value!r} is not a level") from None
    if type(value) is not {"int": int, "level": int, "string": str, "bool": bool}[fact.type]:
        raise file.fail(line, field, f"must be {fact.type}")
    return value
