"""The government packs: complete, never laxer than the baseline, and held to the table R1 to R36 of rules/README.md."""

from __future__ import annotations

import itertools
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway import policy
from gateway.cli import check_rules
from gateway.config import Config
from gateway.levels import Level
from gateway.policy import rule_loader
from gateway.policy.facts import OBSERVATION
from gateway.policy.rules import Rule
from gateway.verdict import Disposition

RULES = Path(__file__).parents[1] / "rules"
PACKS = ("jammu-kashmir", "gujarat", "maharashtra", "rajasthan")
DELIVER, HOLD, REFUSE = Disposition.DELIVER, Disposition.HOLD, Disposition.REFUSE


@pytest.fixture(scope="module")
def baseline() -> policy.Policy:
    return policy.load(RULES, Config())


@pytest.fixture(scope="module")
def every() -> policy.Policy:
    return policy.load(RULES, Config(packs=PACKS))


@pytest.fixture(scope="module")
def alone() -> dict[str, policy.Policy]:
    return {pack: policy.load(RULES, Config(packs=(pack,))) for pack in PACKS}


# --- complete -----------------------------------------------------------------------------------------------------------


def test_with_no_pack_named_no_rule_of_a_pack_is_in_force(baseline: policy.Policy) -> None:
    assert {rule.pack for rule in baseline.rules.rules} == {""}


def test_packs_load_alone_and_together(baseline: policy.Policy, every: policy.Policy, alone: dict[str, policy.Policy]) -> None:
    own = {rule.id for rule in baseline.rules.rules}
    for pack, loaded in alone.items():
        assert {rule.pack for rule in loaded.rules.rules} == {"", pack}
        assert own < {rule.id for rule in loaded.rules.rules}
    assert {rule.id for rule in every.rules.rules} == own.union(*({r.id for r in one.rules.rules} for one in alone.values()))
    assert len({policy.version for policy in (baseline, every, *alone.values())}) == 2 + len(PACKS)


def test_every_rule_of_a_pack_is_complete(every: policy.Policy) -> None:
    for rule in every.rules.rules:
        if not rule.pack:
            continue
        assert rule.source, rule.id
        assert rule.explain, rule.id
        for lang in ("en", "hi"):
            assert rule.explain in every.explanations.keys(lang), (rule.id, lang)
        assert {example.fires for example in rule.examples} == {True, False}, rule.id


def test_every_example_of_every_pack_keeps_its_promise_and_every_rule_fires(every: policy.Policy) -> None:
    results = every.test(messages=True)
    assert [f"{one.rule}: {one.name}: {one.reason}" for one in results if not one.ok] == []
    assert {one.rule for one in results} == {rule.id for rule in every.rules.rules}


def test_every_message_of_the_examples_is_used_and_small(every: policy.Policy) -> None:
    used = {example.message for rule in every.rules.rules for example in rule.examples if example.message}
    there = {f"examples/{path.name}": path.stat().st_size for path in (RULES / "policy" / "examples").iterdir()}
    assert set(there) == used
    assert max(there.values()) < 100_000


def test_sources_of_packs_are_the_circulars_of_their_government(every: policy.Policy) -> None:
    wanted = {"jammu-kashmir": "J&K", "gujarat": "Gujarat", "maharashtra": "Maharashtra", "rajasthan": "Rajasthan"}
    for rule in every.rules.rules:
        assert not rule.pack or rule.source.startswith(wanted[rule.pack]), rule.id


# --- never laxer than the baseline --------------------------------------------------------------------------------------


def observation(kind: str, name: str = "", place: str = "body", count: int = 1) -> dict[str, Any]:
    return {field.name: field.ordinary for field in OBSERVATION.values()} | {"kind": kind, "name": name, "place": place, "count": count}


RECIPIENTS: tuple[dict[str, Any], ...] = (
    {},
    {"recipient.direction": "internal", "recipient.ours": True, "recipient.local": True},
    {"recipient.tier": "government-external", "recipient.official": False},
    {"recipient.tier": "approved", "recipient.official": False},
    {"recipient.tier": "private", "recipient.official": False},
    {"recipient.tier": "private", "recipient.official": False, "recipient.resembles_sender": True},
    {"recipient.tier": "other", "recipient.official": False},
    {"recipient.tier": "other", "recipient.official": False, "recipient.service": "messenger"},
    {"recipient.tier": "other", "recipient.official": False, "recipient.service": "cloud"},
    {"recipient.tier": "other", "recipient.official": False, "recipient.look_alike": "gov.in"},
    {
        "recipient.direction": "inbound", "recipient.ours": True, "recipient.local": True, "originator.ours": False,
        "originator.verified": False, "client.listed": False, "originator.domain": "example.com", "originator.tier": "other",
    },
)  # fmt: skip
LEVELS = (-1, int(Level.UNCLASSIFIED), int(Level.RESTRICTED), int(Level.CONFIDENTIAL), int(Level.SECRET), int(Level.TOP_SECRET))
SWITCHES = (
    "message.conflict", "message.ambiguous", "message.suspect", "message.opaque", "message.uninspectable", "message.is_list",
    "message.auto_submitted", "message.from_private", "message.from_spoofed", "message.reply_to_private", "message.auto_forwarded",
    "message.resent", "message.is_report", "originator.is_null", "exception.active", "config.sealed", "client.tls",
    "message.from_official", "message.sender_official",
)  # fmt: skip
OBSERVED = (
    observation("link", "cloud"), observation("link", "messenger"), observation("link", "messenger", "signature"),
    observation("topic", "tender", "subject"), observation("topic", "cabinet"), observation("aadhaar", count=12), observation("pan"),
    observation("file-number"), observation("address", "private", "signature"),
)  # fmt: skip


def cases(count: int) -> list[dict[str, Any]]:
    """Sets of facts: every recipient with all levels, the profile on and off, and as many mixtures as asked for."""
    found = []
    for recipient, level, probable, profile in itertools.product(RECIPIENTS, LEVELS, LEVELS, (False, True)):
        if probable >= level:
            changes = {"originator.domain": "it.gujarat.gov.in", "message.level": level, "message.probable": probable}
            found.append(rule_loader.ordinary(changes | recipient | on(profile)))
    picked = random.Random(36)
    for _ in range(count):
        level = picked.choice(LEVELS)
        changes = dict(picked.choice(RECIPIENTS)) | {"message.level": level, "message.probable": max(level, picked.choice(LEVELS))}
        for name in picked.sample(SWITCHES, picked.randint(0, 3)):
            changes[name] = not rule_loader.ordinary({})[name]
        if "recipient.direction" not in changes:
            changes["originator.domain"] = picked.choice(("dept.gov.in", "it.gujarat.gov.in", "dept.nic.in"))
        changes |= {"observations": picked.sample(OBSERVED, picked.randint(0, 3)), "message.first_time_recipients": picked.choice((0, 7))}
        found.append(rule_loader.ordinary(changes | on(picked.random() < 0.5)))
    return found


def on(profile: bool) -> dict[str, Any]:
    return {"profile.disaster": profile, "profile.id": "1" if profile else ""}


def classified(found: dict[str, Any]) -> bool:
    return max(int(found["message.level"]), int(found["message.probable"])) >= Level.RESTRICTED


@pytest.mark.slow
def test_a_pack_never_lowers_what_the_baseline_says(
    baseline: policy.Policy, every: policy.Policy, alone: dict[str, policy.Policy]
) -> None:  # fmt: skip
    lowered = 0
    for found in cases(900):
        plain = baseline.rules.evaluate(found)
        for name, loaded in (*alone.items(), ("all", every)):
            packed = loaded.rules.evaluate(found)
            if packed.disposition >= plain.disposition:
                continue
            lowered += 1
            assert name in ("gujarat", "all"), (name, found)
            assert (plain.disposition, plain.rule, packed.disposition) == (HOLD, "no-rule-matched", DELIVER), (name, found)
            assert found["profile.disaster"] and found["recipient.service"] == "messenger" and not classified(found), (name, found)
            assert "disaster-profile" in packed.tags, (name, found)
    assert lowered > 0


def test_the_disaster_profile_relaxes_nothing_that_is_or_may_be_classified(baseline: policy.Policy, every: policy.Policy) -> None:
    relaxed = 0
    for found in cases(900):
        for loaded in (baseline, every):
            without = loaded.rules.evaluate(found | on(False)).disposition
            within = loaded.rules.evaluate(found | on(True)).disposition
            if within < without:
                relaxed += 1
                assert not classified(found), found
                assert found["recipient.service"] == "messenger" and found["recipient.direction"] == "outbound", found
            assert within <= without, found
    assert relaxed > 0


def test_no_profile_and_no_exception_lets_classified_mail_out(every: policy.Policy) -> None:
    for found in cases(600):
        if found["message.level"] >= Level.RESTRICTED and found["recipient.direction"] == "outbound" and not found["recipient.official"]:
            changed = found | on(True) | {"exception.active": True, "exception.id": "1"}
            assert every.rules.evaluate(changed).disposition is REFUSE, found


def test_without_the_pack_mail_under_the_profile_waits_for_a_person(baseline: policy.Policy, alone: dict[str, policy.Policy]) -> None:
    bridge = rule_loader.ordinary(RECIPIENTS[7] | on(True) | {"originator.domain": "it.gujarat.gov.in"})
    assert baseline.rules.evaluate(bridge).rule == "no-rule-matched"
    assert alone["rajasthan"].rules.evaluate(bridge).disposition is HOLD
    decision = alone["gujarat"].rules.evaluate(bridge)
    assert (decision.disposition, decision.rule, decision.tags) == (DELIVER, "disaster-messaging", ("disaster-profile",))


NODAL = {
    "secret-on-the-internet", "probable-secret", "probable-secret-unsealed", "classified-to-non-government", "marking-conflict",
    "outbound-to-private-provider", "classified-attachment-unencrypted", "probable-marking-leaves-government",
    "probable-marking-in-attachment",
}  # fmt: skip


def test_R8_the_nodal_officer_is_told_of_every_stop_that_is_about_classification(alone: dict[str, policy.Policy]) -> None:
    loaded, told = alone["jammu-kashmir"], 0
    for found in cases(800):
        decision = loaded.rules.evaluate(found)
        if found["recipient.direction"] != "inbound" and NODAL & set(decision.hits):
            told += 1
            assert "nodal" in decision.notify, (decision.hits, found)
        if decision.disposition is DELIVER:
            assert "nodal" not in decision.notify, found
    assert told > 100


# --- the table of the README --------------------------------------------------------------------------------------------


def table() -> list[tuple[str, ...]]:
    """The rows of the table: number, what is asked, then the four columns."""
    lines = [line for line in (RULES / "README.md").read_text("utf-8").splitlines() if re.match(r"\| R\d+ \|", line)]
    rows = [tuple(cell.strip() for cell in line.strip().strip("|").split("|")) for line in lines]
    assert {len(row) for row in rows} == {6}
    return rows


def named(cell: str) -> list[str]:
    return re.findall(r"`([a-z0-9-]+)`", cell)


def test_the_table_has_R1_to_R36_once_each_and_something_to_say_of_each() -> None:
    rows = table()
    assert [row[0] for row in rows] == [f"R{number}" for number in range(1, 37)]
    for number, asks, *cells in rows:
        assert asks, number
        assert any(cells), number


def column(rule: Rule) -> int:
    """Where a rule stands: 2 acts on the message, 3 tags, copies or tells, 4 is in monitor mode."""
    if rule.mode == "monitor":
        return 4
    return 3 if rule.then is None else 2


def test_the_table_names_rules_that_exist_in_the_column_that_is_true_of_them(every: policy.Policy) -> None:
    rules = {rule.id: rule for rule in every.rules.rules}
    for row in table():
        for place in (2, 3, 4):
            for name in named(row[place]):
                assert name in rules, (row[0], name)
                assert column(rules[name]) == place, (row[0], name)


def test_the_table_names_every_rule_of_every_pack(every: policy.Policy) -> None:
    there = {name for row in table() for cell in row[2:5] for name in named(cell)}
    assert {rule.id for rule in every.rules.rules if rule.pack} <= there


# --- what the packs need of the config ----------------------------------------------------------------------------------


def lacking(**changes: Any) -> dict[tuple[str, str], str]:
    config = Config.model_validate({"packs": PACKS, "originators": {"domains": ("it.gujarat.gov.in",)}} | changes)
    found: dict[tuple[str, str], str] = {}
    for finding in check_rules.needs(config, policy.load(config.rules_dir or RULES, config)):
        found[finding.subject, finding.state] = found.get((finding.subject, finding.state), "") + finding.text + "\n"
    return found


def test_check_says_what_rules_in_force_need_and_the_config_lacks() -> None:
    found = lacking()
    assert found["packs", "ok"] == "jammu-kashmir, gujarat, maharashtra, rajasthan\n"
    assert "nodal-officer-told" in found["contacts", "warning"]
    assert "contacts.registry" in found["contacts", "warning"]
    assert found["archive", "warning"].startswith("official-record: asks for journal copies in journal, and no [[archive]] has that name")
    assert not {"senders", "languages"} & {subject for subject, _ in found}
    assert ("languages", "warning") not in lacking(languages=("hi",))


@pytest.mark.slow
def test_check_says_when_rules_ask_for_topics_that_nobody_looks_for(tmp_path: Path) -> None:
    own = tmp_path / "rules"
    shutil.copytree(RULES, own)
    assert not {"topics"} & {subject for subject, _ in lacking(rules_dir=own)}
    text = (own / "topics.toml").read_text()
    (own / "topics.toml").write_text(text.replace("tender", "auction"))
    found = lacking(rules_dir=own)["topics", "wrong"]
    assert "'tender'" in found
    assert "cabinet'" not in found
    assert "auction" in found
    (own / "topics.toml").unlink()
    found = lacking(rules_dir=own)["topics", "wrong"]
    assert str(own / "topics.toml") in found
    assert all(rule in found for rule in ("tender-papers", "policy-"))
    assert not {"topics"} & {subject for subject, _ in lacking(rules_dir=own, packs=["jammu-kashmir"])}, "its rules ask for none"


def test_check_is_silent_where_nothing_is_lacking() -> None:
    contacts = {"nodal": "nodal@it.gujarat.gov.in", "registry": "registry@it.gujarat.gov.in"}
    assert set(lacking(contacts=contacts)) == {("packs", "ok"), ("archive", "warning")}
    assert set(lacking(contacts=contacts, archive=({"kind": "store"},))) == {("packs", "ok")}
    assert set(lacking(packs=("rajasthan",))) == {("packs", "ok")}
    assert lacking(packs=()) == {("packs", "ok"): "none: only the baseline is in force\n"}


def test_check_warns_of_languages_that_nobody_has_reviewed() -> None:
    found = lacking(languages=("gu", "en", "mr"))
    assert found["languages", "warning"].count("no native reader has reviewed") == 2


def test_check_warns_where_a_rule_stops_all_mail_of_a_domain() -> None:
    found = lacking(originators={"domains": ("it.gujarat.gov.in", "board.gov.in")})
    assert found["senders", "warning"] == (
        "every message from board.gov.in to a government address is refused by the rule sender-not-of-gujarat of the pack gujarat\n"
    )


# --- which rule speaks --------------------------------------------------------------------------------------------------


def test_of_rules_that_decide_alike_the_more_fitting_one_speaks(alone: dict[str, policy.Policy]) -> None:
    gujarat = alone["gujarat"].rules
    own = rule_loader.ordinary(RECIPIENTS[5] | {"originator.domain": "it.gujarat.gov.in"})
    decision = gujarat.evaluate(own)
    assert (decision.rule, decision.explain) == ("self-forwarding", "self-forwarding")
    assert decision.hits == ("outbound-to-private-provider", "self-forwarding")
    assert gujarat.evaluate(own | {"recipient.resembles_sender": False}).rule == "outbound-to-private-provider"
    assert gujarat.evaluate(own | {"message.level": int(Level.CONFIDENTIAL)}).rule == "classified-to-non-government"
    secret = gujarat.evaluate(own | {"message.level": int(Level.SECRET)})
    assert (secret.rule, secret.session) == ("secret-on-the-internet", True)


@pytest.mark.parametrize("name", ["no-such-rule", "ambiguous-message", "secret-on-the-internet"])
def test_no_rule_takes_the_place_of_one_that_decides_otherwise(tmp_path: Path, name: str) -> None:
    shutil.copytree(RULES, tmp_path / "rules")
    file = tmp_path / "rules" / "policy" / "20-gujarat.toml"
    text = file.read_text("utf-8").replace('instead_of = "outbound-to-non-government"', f'instead_of = "{name}"')
    file.write_text(text, "utf-8")
    with pytest.raises(policy.PolicyError, match=r"20-gujarat.toml:\d+: rule.instead_of: .*" + name):
        policy.load(tmp_path / "rules", Config())
