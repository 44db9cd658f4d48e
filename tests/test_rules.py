"""Rules as data: what is refused at load, how conditions are checked, what hits add up to (hostile-inputs catalogue L08, L09)."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import policy
from gateway.config import Config
from gateway.policy import facts, rule_loader, rules, source
from gateway.policy.rules import ConditionError, Rule, RuleSet
from gateway.policy.source import PolicyError
from gateway.verdict import Disposition

RULES = Path(__file__).parents[1] / "rules"
BASELINE = RULES / "policy" / "00-baseline.toml"


@pytest.fixture(scope="module")
def shipped() -> policy.Policy:
    return policy.load(RULES, Config())


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the shipped rules that a test may spoil."""
    folder = tmp_path / "rules"
    shutil.copytree(RULES, folder)
    return folder


def ordinary(**changes: Any) -> dict[str, Any]:
    return rule_loader.ordinary({name.replace("__", "."): value for name, value in changes.items()})


def rule(id: str, when: str, then: Disposition | None, **more: Any) -> Rule:
    return Rule(id, id, "test", when, then, "refused-by-rule", "2.0.0", **more)


# --- conditions ---------------------------------------------------------------------------------------------------------

GOOD = [
    'recipient.tier == "government" && leaves.exists(l, l.is_attachment && l.level >= RESTRICTED && l.protection != "strong")',
    "leaves.filter(leaf, leaf.level > UNMARKED).size() > 2",
    "findings.all(f, f.verified) && leaves.size() == 0",
    "leaves.exists(l, findings.exists(f, f.level > l.level))",
    'observations.exists(o, o.kind == "link" && o.name == "cloud") && message.level >= RESTRICTED',
    'observations.exists(observation, observation.kind == "aadhaar" && observation.count >= 10)',
    'recipient.tier in ["leaves", "l.levle"] // leaves[0] is only a comment',
    'recipient.domain.matches("^[a-z]+$") || message.level >= TOP_SECRET',
]


@pytest.mark.parametrize("text", GOOD)
def test_a_good_condition_is_taken(text: str) -> None:
    rules.check(text)


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ('recipient.teir == "x"', 1, 10, "undeclared reference to 'recipient.teir'"),
        ("message.level > 1 &&\n  mesage.size > 3", 2, 9, "undeclared reference to 'mesage.size'"),
        ('message.level > "a"', 1, 15, "no matching overload"),
        ("message.level", 1, 1, "must be true or false, not int"),
        ("message.level >= SECRT", 1, 18, "undeclared reference to 'SECRT'"),
        ("leaves.exists(l, l.levle > 1)", 1, 19, "undeclared reference to 'l.levle'"),
        ("true &&\nfindings.exists(f, f.zonne == 'x')", 2, 21, "undeclared reference to 'f.zonne'"),
        ('leaves.exists(l, l.level > "a")', 1, 26, "no matching overload"),
        ("leaves.exists(l, l.protection > 1)", 1, 31, "no matching overload"),
        ("leaves.exists(x, x.level > 1)", 1, 15, "call an element of leaves l or leaf"),
        ('leaves.exists(l, l["levle"] > 1)', 1, 18, "undeclared reference to 'l'"),
        ("leaves[0].level > 1", 1, 1, "lists are asked with"),
        ('observations.exists(o, o.knid == "pan")', 1, 25, "undeclared reference to 'o.knid'"),
        ('observations.exists(o, o.count >= "10")', 1, 32, "no matching overload"),
        ("observations.exists(l, l.count > 1)", 1, 21, "call an element of observations o or observation"),
        ("observations[0].count > 1", 1, 1, "lists are asked with"),
        ("leaves.map(l, l.level).size() > 1", 1, 1, "lists are asked with"),
        ("leaves.filter(l, l.level > 1).exists(x, x.foo)", 1, 29, "one macro"),
        ("leaves.exists(l, true) && l.level > 1", 1, 28, "undeclared reference to 'l.level'"),
        ("true) || (true", 1, 5, "Syntax error"),
        ("", 1, 1, "Syntax error"),
        ("true" + " || true" * 600, 1, 1, "longer than 4000"),
        ("size(message.level) > 1", 1, 5, "no matching overload"),
    ],
)
def test_a_bad_condition_says_where(text: str, line: int, column: int, reason: str) -> None:
    with pytest.raises(ConditionError) as error:
        rules.check(text)
    assert (error.value.line, error.value.column) == (line, column)
    assert reason in str(error.value)


def test_every_declared_fact_can_be_named_with_its_type() -> None:
    literal = {"int": "1", "level": "SECRET", "string": '"x"', "bool": "true"}
    for fact in facts.DECLARED.values():
        rules.check(f"{fact.name}.size() > 0" if fact.type == "list" else f"{fact.name} == {literal[fact.type]}")
    for name, fields in facts.ELEMENTS.items():
        for fact in fields.values():
            rules.check(f"{name}.exists({name[0]}, {name[0]}.{fact.name} == {literal[fact.type]})")


# --- adding up ----------------------------------------------------------------------------------------------------------


def evaluate(*given: Rule, found: dict[str, Any] | None = None, waived: frozenset[str] = frozenset()) -> rules.Decision:
    return RuleSet(given, "v").evaluate(ordinary() if found is None else found, waived)


def test_L09_no_rule_that_hits_is_a_hold() -> None:
    decision = evaluate(rule("a", "message.size < 0", Disposition.DELIVER))
    assert (decision.disposition, decision.rule, decision.hits) == (Disposition.HOLD, "no-rule-matched", ("no-rule-matched",))
    assert RuleSet((), "v").evaluate(ordinary()).disposition is Disposition.HOLD


def test_L09_a_rule_that_only_tags_delivers_nothing() -> None:
    decision = evaluate(rule("a", "true", None, tags=("seen",)))
    assert (decision.disposition, decision.tags) == (Disposition.HOLD, ("seen",))


DELIVER, HOLD, REFUSE, DEFER = Disposition.DELIVER, Disposition.HOLD, Disposition.REFUSE, Disposition.DEFER


@pytest.mark.parametrize(
    ("thens", "winner"),
    [
        ([DELIVER], DELIVER), ([DELIVER, HOLD], HOLD), ([HOLD, DELIVER], HOLD), ([HOLD, REFUSE], REFUSE), ([REFUSE, DELIVER], REFUSE),
        ([DEFER, HOLD], DEFER), ([DEFER, REFUSE], REFUSE), ([DEFER, DELIVER], DEFER),
    ],
)  # fmt: skip
def test_hits_are_merged(thens: list[Disposition], winner: Disposition) -> None:
    given = [rule(f"r{index}", "true", then) for index, then in enumerate(thens)]
    decision = evaluate(*given)
    assert decision.disposition is winner
    assert decision.rule == f"r{thens.index(winner)}"


def test_tags_archives_and_notices_add_up_and_the_first_winner_speaks() -> None:
    decision = evaluate(
        rule("a", "true", DELIVER, tags=("x", "y")), rule("b", "true", HOLD, tags=("y", "z"), archive=("journal",)),
        rule("c", "true", HOLD, notify=("security",), copies=("registry",)), rule("d", "false", REFUSE, tags=("never",)),
        rule("e", "true", None, copies=("registry",)),
    )  # fmt: skip
    assert (decision.rule, decision.hits) == ("b", ("b", "c"))
    assert (decision.tags, decision.archive, decision.notify) == (("x", "y", "z"), ("journal",), ("security",))
    assert decision.copies == ("registry",)


def test_more_rules_than_one_expression_may_hold_are_all_evaluated_in_their_order() -> None:
    many = tuple(rule(f"r{n}", f'recipient.domain == "{n}.{"x" * 1500}" || {str(n in (0, 150, 299)).lower()}', HOLD) for n in range(300))
    decision = evaluate(*many)
    assert [step.rule for step in decision.trace] == [one.id for one in many]
    assert [step.rule for step in decision.trace if step.hit] == ["r0", "r150", "r299"]


def test_monitor_mode_is_recorded_and_never_acts() -> None:
    decision = evaluate(rule("a", "true", REFUSE, mode="monitor", tags=("t",)), rule("b", "true", DELIVER))
    assert (decision.disposition, decision.tags) == (DELIVER, ())
    assert [(step.rule, step.hit, step.mode, step.then) for step in decision.trace] == [
        ("a", True, "monitor", "refuse"), ("b", True, "enforce", "deliver"),
    ]  # fmt: skip


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in ordinary().items() if name not in names}


def test_a_missing_fact_defers_what_rests_on_it() -> None:
    decision = evaluate(rule("a", "message.level >= SECRET", REFUSE), rule("b", "true", DELIVER), found=without("message.level"))
    assert (decision.disposition, decision.rule, decision.unknown) == (DEFER, "not-known", ("a",))


def test_a_missing_fact_that_cannot_change_the_answer_changes_nothing() -> None:
    decision = evaluate(
        rule("a", 'message.level >= SECRET && recipient.tier == "private"', REFUSE), rule("b", "true", DELIVER),
        found=without("message.level"),
    )  # fmt: skip
    assert decision.disposition is DELIVER


def test_a_known_refusal_is_final_whatever_is_missing() -> None:
    decision = evaluate(
        rule("a", "message.level >= RESTRICTED", HOLD), rule("b", 'recipient.tier == "government"', REFUSE), found=without("message.level")
    )
    assert (decision.disposition, decision.rule) == (REFUSE, "b")


def test_an_unknown_deliver_rule_delivers_nothing() -> None:
    decision = evaluate(rule("a", "message.level < SECRET", DELIVER), found=without("message.level"))
    assert decision.disposition is HOLD


def test_a_condition_that_fails_defers() -> None:
    decision = evaluate(rule("a", "1 / (message.size - 4000) == 1", HOLD), rule("b", "true", DELIVER))
    assert (decision.disposition, decision.unknown) == (DEFER, ("a",))


def test_waived_holds_are_left_out_refusals_are_not() -> None:
    given = (rule("h", "true", HOLD), rule("r", "message.level >= SECRET", REFUSE), rule("d", "true", DELIVER))
    assert evaluate(*given).disposition is HOLD
    released = evaluate(*given, waived=frozenset({"h", "d"}))
    assert released.disposition is DELIVER
    assert [(step.rule, step.mode) for step in released.trace if step.hit] == [("h", "waived"), ("d", "enforce")]
    assert evaluate(*given, found=ordinary(message__level=3), waived=frozenset({"h", "r"})).disposition is REFUSE


def test_an_approval_of_no_rule_matched_releases_it() -> None:
    assert evaluate(rule("a", "false", DELIVER), waived=frozenset({"no-rule-matched"})).disposition is DELIVER


def test_waiving_one_hold_leaves_the_other() -> None:
    given = (rule("h", "true", HOLD), rule("i", "true", HOLD), rule("d", "true", DELIVER))
    assert evaluate(*given, waived=frozenset({"h"})).rule == "i"


def test_decisions_are_remembered_by_the_facts_that_are_read_only() -> None:
    ruleset = RuleSet((rule("a", 'leaves.exists(l, l.state == "suspect")', HOLD), rule("d", "true", DELIVER)), "v")
    assert ruleset.reads == ("leaves",)
    clean = ruleset.evaluate(ordinary())
    assert ruleset.evaluate(ordinary(message__size=5)) is clean
    leaf = {fact.name: fact.ordinary for fact in facts.LEAF.values()}
    assert ruleset.evaluate(ordinary(leaves=[leaf])).disposition is DELIVER
    assert ruleset.evaluate(ordinary(leaves=[leaf | {"state": "suspect"}])).disposition is HOLD
    assert ruleset.evaluate(ordinary()) is clean


# --- the shipped rules --------------------------------------------------------------------------------------------------


def test_every_shipped_example_keeps_its_promise(shipped: policy.Policy) -> None:
    results = shipped.test(messages=False)
    assert len(results) > 40
    assert [result for result in results if not result.ok] == []


def test_shipped_rules_end_in_deliver_and_name_their_source(shipped: policy.Policy) -> None:
    last = shipped.rules.rules[-1]
    assert (last.id, last.then) == ("ordinary-mail", DELIVER)
    assert all(each.source and each.title for each in shipped.rules.rules)
    assert any(each.mode == "monitor" for each in shipped.rules.rules)


def test_no_exception_lets_classified_mail_out(shipped: policy.Policy) -> None:
    for tier in ("government-external", "approved", "private", "other"):
        for level in (1, 2, 3, 4):
            found = ordinary(
                message__level=level, message__probable=level, recipient__tier=tier, recipient__official=False,
                exception__active=True, exception__id="1",
            )  # fmt: skip
            assert shipped.rules.evaluate(found).disposition is REFUSE, (tier, level)


@pytest.mark.parametrize("direction", ["inbound", "outbound", "internal"])
@pytest.mark.parametrize("door", ["smtp", "submission", "milter", "imap"])
def test_certain_secret_is_refused_in_the_session_at_every_door(shipped: policy.Policy, door: str, direction: str) -> None:
    for level in (3, 4):
        decision = shipped.rules.evaluate(ordinary(message__level=level, door=door, recipient__direction=direction))
        assert (decision.disposition, decision.session, decision.status) == (REFUSE, True, "5.7.1")


def test_missing_inspection_is_never_a_delivery(shipped: policy.Policy) -> None:
    known = {name: value for name, value in ordinary().items() if not name.startswith(("message.", "leaves", "findings"))}
    assert shipped.rules.evaluate(known).disposition is DEFER
    for name in shipped.rules.reads:
        if name.startswith("message.") or name in ("leaves", "findings"):
            found = ordinary()
            del found[name]
            assert shipped.rules.evaluate(found).disposition in (DEFER, DELIVER), name
    for name in ("message.level", "message.suspect", "message.ambiguous", "message.opaque", "leaves"):
        found = ordinary()
        del found[name]
        assert shipped.rules.evaluate(found).disposition is DEFER, name


def test_readme_names_every_fact_and_every_action() -> None:
    text = (RULES / "README.md").read_text("utf-8")
    for name, fact in facts.DECLARED.items():
        assert re.search(rf"^\| `{re.escape(name)}` \| {fact.type} \| {re.escape(fact.sentence)} \|$", text, re.M), name
    for table in facts.ELEMENTS.values():
        for name, fact in table.items():
            assert re.search(rf"^\| `{re.escape(name)}` \| {fact.type} \| {re.escape(fact.sentence)} \|$", text, re.M), name
    named = set(re.findall(r"^\| `([a-z_.]+)` \|", text, re.M))
    keys = set(rule_loader._RULE) | set(rule_loader._EXAMPLE)
    known = set(facts.DECLARED) | {name for table in facts.ELEMENTS.values() for name in table} | keys | {"pack", "title"}
    known |= set(policy.explanations.WORDS) | {one.text for one in Disposition} | {"enforce", "monitor"}
    assert keys <= named
    assert named <= known, named - known


# --- loading ------------------------------------------------------------------------------------------------------------

ONE = """[[rule]]
id = "deliver-all"
title = "t"
source = "s"
when = "message.size > 0"
then = "deliver"
[[rule.example]]
facts = {}
expect = "deliver"
[[rule.example]]
facts = { "message.size" = 0 }
expect = "hold"
"""


def only(folder: Path, text: str) -> Path:
    for path in (folder / "policy").glob("*.toml"):
        path.unlink()
    (folder / "policy" / "01.toml").write_text(text, "utf-8")
    return folder


def test_a_single_rule_loads(copied: Path) -> None:
    loaded = policy.load(only(copied, ONE), Config())
    assert [each.id for each in loaded.rules.rules] == ["deliver-all"]
    assert loaded.version.startswith("sha256:")
    assert loaded.version == loaded.rules.version


@pytest.mark.parametrize("owner", ["nodal", "security", "it.cell@dept.gov.in"])
def test_a_rule_may_name_who_answers_for_it(copied: Path, owner: str) -> None:
    text = ONE.replace('then = "deliver"', f'then = "deliver"\nowner = "{owner}"')
    assert [each.owner for each in policy.load(only(copied, text), Config()).rules.rules] == [owner]
    assert [each.owner for each in policy.load(only(copied, ONE), Config()).rules.rules] == [""]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace('then = "deliver"', 'than = "deliver"'), "01.toml:6: rule.than: unknown key"),
        (lambda t: t.replace('then = "deliver"', 'then = "pass"'), "01.toml:6: rule.then: 'pass' is not deliver, refuse, hold or defer"),
        (lambda t: t.replace('then = "deliver"', 'then = 3'), "01.toml:6: rule.then: must be text"),
        (lambda t: t.replace('then = "deliver"\n', ""), "rule.then: is needed"),
        (lambda t: t.replace('source = "s"\n', ""), "01.toml:1: rule.source: is needed"),
        (lambda t: t.replace('source = "s"', 'source = " "'), "01.toml:4: rule.source: is needed"),
        (lambda t: t.replace('then = "deliver"', 'then = "hold"'), "rule.explain: is needed"),
        (lambda t: t.replace('then = "deliver"', 'then = "hold"\nexplain = "nope"'), "01.toml:7: rule.explain: 'nope' is in no file"),
        (lambda t: t.replace('then = "deliver"', 'then = "deliver"\nmode = "off"'), "01.toml:7: rule.mode"),
        (lambda t: t.replace('then = "deliver"', 'then = "deliver"\nstatus = "5.7.1"'), "01.toml:7: rule.status"),
        (lambda t: t.replace('then = "deliver"', 'then = "deliver"\nsession = true'), "rule.session: goes with refuse only"),
        (lambda t: t.replace('then = "deliver"', 'then = "deliver"\nsealed = true'), "rule.sealed: goes with hold only"),
        (lambda t: t.replace('then = "deliver"', 'then = "deliver"\ntag = "A b"'), "01.toml:7: rule.tag"),
        (lambda t: t.replace('then = "deliver"', 'then = "deliver"\nnotify = ["nodal", "boss"]'), "'boss' is not nodal"),
        (lambda t: t.replace('then = "deliver"', 'then = "deliver"\nowner = "boss"'), "rule.owner: 'boss' is neither nodal nor"),
        (lambda t: t.replace('then = "deliver"', 'then = "deliver"\nowner = ""'), "rule.owner: '' is neither"),
        (lambda t: t.replace('then = "deliver"', 'then = "deliver"\nowner = ["nodal"]'), "owner"),
        (lambda t: t.replace('then = "deliver"', 'then = "deliver"\ncopy = "security"'), "'security' is not registry"),
        (lambda t: t.replace('then = "deliver"', 'copy = ["registry"]'), "rule.example.fires: is needed"),
        (lambda t: t.replace("message.size > 0", "mesage.size > 0"), "01.toml:5: rule.when: column 7: undeclared reference"),
        (lambda t: t.replace('"message.size > 0"', "'''\ntrue\n&& mesage.size > 0'''"), "01.toml:7: rule.when: column 10"),
        (lambda t: t.replace('id = "deliver-all"', 'id = "Deliver all"'), "01.toml:2: rule.id"),
        (lambda t: t.replace('id = "deliver-all"', 'id = "no-rule-matched"'), "01.toml:2: rule.id"),
        (lambda t: t + t, "01.toml:14: rule.id: 'deliver-all' stands in"),
        (lambda t: t[: t.index("[[rule.example]]")], "01.toml:1: rule.example: one example that fires"),
        (lambda t: t.replace('expect = "hold"', 'expect = "refuse"'), "01.toml:10: rule.example: deliver-all"),
        (lambda t: t.replace('"message.size" = 0', '"message.sise" = 0'), "01.toml:10: rule.example.facts.message.sise: unknown fact"),
        (lambda t: t.replace('"message.size" = 0', '"message.size" = "0"'), "rule.example.facts.message.size: must be int"),
        (lambda t: t.replace('"message.size" = 0', '"message.level" = "SECRT"'), "rule.example.facts.message.level: 'SECRT' is"),
        (lambda t: t.replace('"message.size" = 0', 'leaves = [{ levle = 1 }]'), "rule.example.facts.leaves.levle: unknown fact"),
        (lambda t: t.replace('expect = "hold"', 'expect = "hold"\nfirse = true'), "01.toml:13: rule.example.firse: unknown key"),
        (lambda t: t.replace("[[rule]]", "[rule]"), "rule: must be a list"),
        (lambda t: t.replace("facts = {}", 'facts = {}\nmessage = "a.eml"'), "needs either a message or facts"),
        (lambda t: "rules = 1\n" + t, "01.toml:1: rules: unknown key"),
        (lambda t: t.replace('then = "deliver"', 'then = "deliver"\nthen = "hold"'), "01.toml:7: not TOML"),
        (lambda t: 'pack = "x"\n' + t, "holds no rule that is in force"),
        (lambda t: t.replace('"message.size > 0"', "'recipient.domain.matches(\"(\")'"), "cannot be evaluated for an ordinary message"),
    ],
)  # fmt: skip
def test_L08_a_bad_rule_names_file_line_and_field(copied: Path, change: Callable[[str], str], message: str) -> None:
    text = change(ONE)
    assert text != ONE
    with pytest.raises(PolicyError) as error:
        policy.load(only(copied, text), Config())
    assert message in str(error.value)
    assert "01.toml" in str(error.value) or "holds no rule" in message


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"\xef\xbb\xbf" + ONE.encode(), "01.toml:1: starts with a byte order mark"),
        (ONE.encode().replace(b"title", b"ti\0tle"), "01.toml:3: holds a NUL"),
        (ONE.encode().replace(b'"t"', b'"\xff"'), "01.toml:3: not UTF-8"),
        (b"#" + b"x" * 1_000_001, "larger than 1000000 octets"),
        (b"a = " + b"[" * 100_000, "not TOML"),
        (b"a = {" * 5000, "not TOML"),
    ],
)
def test_L08_a_bad_file_is_refused(copied: Path, octets: bytes, message: str) -> None:
    only(copied, "")
    (copied / "policy" / "01.toml").write_bytes(octets)
    with pytest.raises(PolicyError) as error:
        policy.load(copied, Config())
    assert message in str(error.value)


def test_L08_a_file_that_all_may_write_is_refused(copied: Path) -> None:
    only(copied, ONE)
    (copied / "policy" / "01.toml").chmod(0o666)
    with pytest.raises(PolicyError, match="may be written by everyone"):
        policy.load(copied, Config())


def test_L08_a_folder_that_all_may_write_is_refused(copied: Path) -> None:
    (copied / "policy").chmod(0o777)
    with pytest.raises(PolicyError, match="may be written by everyone"):
        policy.load(copied, Config())


def test_L08_a_link_out_of_the_folder_is_refused_one_inside_is_not(copied: Path, tmp_path: Path) -> None:
    only(copied, ONE)
    outside = tmp_path / "outside.toml"
    outside.write_text(ONE.replace("deliver-all", "other"))
    (copied / "policy" / "02.toml").symlink_to(outside)
    with pytest.raises(PolicyError, match="leads out of"):
        policy.load(copied, Config())
    (copied / "policy" / "02.toml").unlink()
    (copied / "policy" / "01.toml").rename(copied / "rule-file")
    (copied / "policy" / "01.toml").symlink_to(copied / "rule-file")
    assert policy.load(copied, Config()).rules.rules


def test_L08_a_pipe_does_not_hang(copied: Path) -> None:
    only(copied, ONE)
    os.mkfifo(copied / "policy" / "02.toml")
    with pytest.raises(PolicyError, match="not a regular file"):
        policy.load(copied, Config())


def test_L08_a_missing_folder_is_a_plain_sentence(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read: No such file"):
        policy.load(tmp_path / "nowhere", Config())


def test_a_pack_counts_only_where_the_config_names_it(copied: Path) -> None:
    pack = ONE.replace("deliver-all", "strict").replace('then = "deliver"', 'then = "hold"\nexplain = "refused-by-rule"')
    pack = 'pack = "punjab"\n' + pack.replace('expect = "deliver"', 'expect = "hold"\nfires = true', 1)
    pack = pack.replace('expect = "hold"\n', 'expect = "deliver"\n')
    pack = pack.replace('expect = "deliver"\nfires = true', 'expect = "hold"\nfires = true')
    (copied / "policy" / "50-punjab.toml").write_text(pack)
    plain, strict = policy.load(copied, Config()), policy.load(copied, Config(packs=("punjab",)))
    assert plain.rules.evaluate(ordinary()).disposition is DELIVER
    assert strict.rules.evaluate(ordinary()).rule == "strict"
    assert plain.version != strict.version
    with pytest.raises(PolicyError, match="the config names the pack 'kerala'"):
        policy.load(copied, Config(packs=("kerala",)))


def test_the_version_is_of_the_content(copied: Path) -> None:
    first = policy.load(copied, Config()).version
    assert policy.load(RULES, Config()).version == first
    with (copied / "policy" / "00-baseline.toml").open("a") as file:
        file.write("# changed\n")
    assert policy.load(copied, Config()).version != first


def test_lines_are_found_in_nested_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        'top = 1\n[[rule]]\nid = "a"\n[[rule.example]]\nx = 1\n[[rule]]\nid = "b"\n[[rule.example]]\nx = 2\n[[rule.example]]\nx = 3\n'
    )
    file = source.read(path, tmp_path)
    assert file.line("", 0, "top") == 1
    assert [file.line("rule", 0), file.line("rule", 0, "id"), file.line("rule", 1), file.line("rule", 1, "id")] == [2, 3, 6, 7]
    assert [file.line("rule.example", 0, "x"), file.line("rule.example", 1, "x"), file.line("rule.example", 2, "x")] == [5, 9, 11]
    assert file.line("rule", 5) == 0
