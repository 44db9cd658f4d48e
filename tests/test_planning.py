"""What a decision comes to: each recipient in one place, whatever the door, the sender and the config."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace

from gateway.address import NULL_PATH
from gateway.config import Config, Relay
from gateway.envelope import Door
from gateway.keeper.planning import MAILBOX, MTA, MTA_HOLD, plan_of, traced
from gateway.verdict import Disposition, RuleTrace
from tests.keeper_kit import recipient, transaction, verdict

DELIVER, HOLD, REFUSE = Disposition.DELIVER, Disposition.HOLD, Disposition.REFUSE
ADDRESSES = ("a@nic.in", "b@nic.in", "c@nic.in")
MIXES = list(itertools.product((DELIVER, HOLD, REFUSE), repeat=3))


@pytest.mark.parametrize("door", list(Door))
@pytest.mark.parametrize("sender", ["ours", "stranger", "null"])
@pytest.mark.parametrize("hold", ["store", "mta"])
@pytest.mark.parametrize("refuse_with", ["bounce", "reply"])
@pytest.mark.parametrize("sealed", [False, True])
def test_T10_each_recipient_is_in_exactly_one_place(door: Door, sender: str, hold: str, refuse_with: str, sealed: bool) -> None:
    config = Config(relay=Relay(milter_hold=hold, refuse_with=refuse_with))
    for mix in MIXES:
        tx = transaction(*ADDRESSES, door=door, verified=sender != "stranger")
        if sender == "null":
            tx = replace(tx, envelope=replace(tx.envelope, sender=NULL_PATH))
        made = verdict("v", *(recipient(to, one) for to, one in zip(ADDRESSES, mix, strict=True)), sealed=sealed)
        plan = plan_of(tx, made, config)
        places = [plan.deliver, plan.hold, plan.report, plan.silent, plan.passed]
        found = sorted(one.address for place in places for one in place)
        if plan.refuses_all:
            assert found == []
            assert set(mix) == {REFUSE} or door is Door.IMAP, mix
            continue
        assert found == list(ADDRESSES), mix
        refused = {one.address for one in made.recipients if one.disposition is REFUSE}
        assert not refused & {one.address for one in (*plan.going, *plan.passed, *plan.hold)}, "nobody lets go what a rule refuses"
        assert set(plan.kept) == {one.address for one in plan.passed}
        assert bool(plan.passed) <= (door in (Door.MILTER, Door.IMAP))
        assert not plan.deliver or door in (Door.SMTP, Door.SUBMISSION)
        if sealed:
            assert plan.going == [] and not plan.hold_there, "sealed mail goes to nobody, and is held here"
        if plan.hold_there:
            assert (door, hold, plan.hold, plan.going) == (Door.MILTER, "mta", [], [])
        if sender != "ours":
            assert plan.report == [], "no report to strangers or to nobody"
        if door is Door.MILTER and hold == "mta" and not sealed:
            assert plan.hold_there == (HOLD in mix)


@pytest.mark.parametrize(
    ("door", "hold", "mix", "passed", "by"),
    [
        (Door.SMTP, "store", (DELIVER, HOLD, REFUSE), "", ""),
        (Door.MILTER, "store", (DELIVER, HOLD, REFUSE), "a", MTA),
        (Door.MILTER, "store", (HOLD, HOLD, HOLD), "", MTA),
        (Door.MILTER, "mta", (DELIVER, HOLD, REFUSE), "ab", MTA_HOLD),
        (Door.MILTER, "mta", (REFUSE, DELIVER, DELIVER), "bc", MTA),
        (Door.IMAP, "mta", (DELIVER, DELIVER, DELIVER), "abc", MAILBOX),
        (Door.IMAP, "store", (DELIVER, DELIVER, HOLD), "", ""),
    ],
)
def test_who_has_what_passes(door: Door, hold: str, mix: tuple[Disposition, ...], passed: str, by: str) -> None:
    made = verdict("v", *(recipient(to, one) for to, one in zip(ADDRESSES, mix, strict=True)))
    plan = plan_of(transaction(*ADDRESSES, door=door), made, Config(relay=Relay(milter_hold=hold)))
    assert ("".join(one.address[0] for one in plan.passed), plan.kept_by) == (passed, by)


def test_what_a_rule_refuses_a_stranger_is_listed_here_and_not_left_with_the_mta() -> None:
    trace = (RuleTrace("rule-x", True, "enforce", "refuse"),)
    made = verdict("v", recipient("a@nic.in"), recipient("b@nic.in", HOLD, trace=trace), recipient("c@nic.in", HOLD))
    tx = transaction(*ADDRESSES, door=Door.MILTER, verified=False)
    plan = plan_of(tx, made, Config(relay=Relay(milter_hold="mta")))
    assert [one.address for one in plan.silent] == ["b@nic.in"]
    assert list(plan.kept) == ["a@nic.in", "c@nic.in"]


def test_only_what_an_mta_had_first_gets_a_received_field_later() -> None:
    made = verdict("v", recipient("a@nic.in"))
    assert traced(transaction("a@nic.in"), made, "gw1") is made
    (one,) = traced(transaction("a@nic.in", door=Door.MILTER), made, "gw1").recipients
    assert [edit.header for edit in one.edits] == ["X-Gateway-Reference", "Received"]
