"""The facts that conditions read: whose mail it is, which application, which profile, whom the sender never wrote to, old snapshots."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path as FilePath
from typing import Any

import pytest
from msgspec.structs import replace

from gateway import content, policy, protection
from gateway.config import Application, Config
from gateway.envelope import Peer, Transaction
from gateway.levels import Level
from gateway.pipeline import Keys, Pipeline
from gateway.policy import decide, facts, snapshots
from gateway.policy.rules import Rule, RuleSet
from gateway.reply import OUR_FAULT, Reply, ReplyError
from gateway.requests import Committed, Exceptions, ProfileRow, Stale
from gateway.verdict import Direction, Disposition, Headers, Inspection, Observation, Remembered, Thread, Verdict
from tests.test_decide import BODY, CONFIG, LISTED, NONE, NOW, POLICY, SIGNED_IN, STRANGER, finding, inspection, path, transaction

SNAPSHOT = json.loads((FilePath(__file__).parent / "corpus" / "snapshots" / "relay.json").read_text("utf-8"))


def known(
    *to: str, headers: Headers | None = None, peer: Peer = LISTED, sender: str = "officer@dept.gov.in", config: Config = CONFIG,
    exceptions: Exceptions = NONE, seen: Inspection | None = None, first_times: frozenset[str] = frozenset(),
) -> dict[str, Any]:  # fmt: skip
    """All facts of a message to the first of *to*."""
    found = inspection() if seen is None else seen
    if headers is not None:
        found = replace(found, headers=headers)
    tx = transaction(*(to or ("desk@ministry.gov.in",)), sender=sender, peer=peer, config=config)
    verdict = decide.decide(tx, found, POLICY, exceptions, config, first_times=first_times)
    return {**verdict.message_facts, **verdict.recipient_facts[0]}


# --- applications and logins ----------------------------------------------------------------------------------------------

APPLICATIONS = (
    Application(name="e-office", logins=("eOffice",)),
    Application(name="otp", senders=("otp@dept.gov.in",), networks=("10.0.0.0/24",)),
    Application(name="portal", senders=("@dept.gov.in",), networks=("10.0.9.0/24", "2001:db8::/32")),
    Application(name="alerts", senders=("alerts@dept.gov.in",)),
)


@pytest.mark.parametrize(
    ("peer", "sender", "name"),
    [
        (replace(SIGNED_IN, user="eoffice"), "so@dept.gov.in", "e-office"),
        (replace(SIGNED_IN, user="officer"), "so@dept.gov.in", ""),
        (Peer("10.0.0.9", listed=True), "otp@dept.gov.in", "otp"),
        (Peer("10.0.0.9", listed=True), "OTP@dept.gov.in", "otp"),
        (Peer("10.0.1.9", listed=True), "otp@dept.gov.in", ""),
        (Peer("192.0.2.7"), "otp@dept.gov.in", ""),
        (Peer("10.0.9.1", listed=True), "anyone@dept.gov.in", "portal"),
        (Peer("2001:db8::5", listed=True), "anyone@dept.gov.in", "portal"),
        (Peer("10.0.9.1", listed=True), "anyone@other.gov.in", ""),
        (Peer("10.0.0.5", listed=True), "alerts@dept.gov.in", "alerts"),
        (Peer("192.0.2.7"), "alerts@dept.gov.in", ""),
        (replace(SIGNED_IN, user="officer"), "alerts@dept.gov.in", ""),
        (Peer("10.0.9.1", listed=True), "", ""),
        (Peer("not-an-address", listed=True), "otp@dept.gov.in", ""),
    ],
)
def test_an_application_is_known_by_login_or_by_sender_and_network(peer: Peer, sender: str, name: str) -> None:
    config = CONFIG.model_copy(update={"application": APPLICATIONS})
    found = snapshots.envelope_facts(path(sender), POLICY.domains.tier("dept.gov.in"), peer, transaction("a@b.in").door, True, config)
    assert found["originator.application"] == name


def test_a_login_that_may_not_use_the_sender_is_not_the_application() -> None:
    config = CONFIG.model_copy(update={"application": (Application(name="alerts", senders=("alerts@dept.gov.in",)),)})
    peer = replace(SIGNED_IN, listed=True, senders=("officer@dept.gov.in",))
    assert known(peer=peer, sender="alerts@dept.gov.in", config=config)["originator.application"] == ""


@pytest.mark.parametrize(
    ("senders", "sender", "author", "owned", "from_owned"),
    [
        (None, "officer@dept.gov.in", "minister@dept.gov.in", True, True),
        (("officer@dept.gov.in",), "officer@dept.gov.in", "officer@dept.gov.in", True, True),
        (("officer@dept.gov.in",), "Officer@dept.gov.in", "OFFICER@dept.gov.in", True, True),
        (("officer@dept.gov.in",), "minister@dept.gov.in", "officer@dept.gov.in", False, True),
        (("officer@dept.gov.in",), "officer@dept.gov.in", "minister@dept.gov.in", True, False),
        (("officer@dept.gov.in", "section@dept.gov.in"), "section@dept.gov.in", "section@dept.gov.in", True, True),
        (("@dept.gov.in",), "anyone@dept.gov.in", "anyone@sub.dept.gov.in", True, False),
        ((), "officer@dept.gov.in", "officer@dept.gov.in", False, False),
        (("officer@dept.gov.in",), "", "officer@dept.gov.in", True, True),
    ],
)
def test_R14_sender_and_From_belong_to_the_login(
    senders: tuple[str, ...] | None, sender: str, author: str, owned: bool, from_owned: bool
) -> None:
    peer = replace(SIGNED_IN, senders=senders)
    found = known(peer=peer, sender=sender, headers=Headers(from_addresses=(author,)))
    assert (found["originator.owned"], found["message.from_owned"]) == (owned, from_owned)


def test_R14_a_From_that_is_not_the_logins_is_refused() -> None:
    peer = replace(SIGNED_IN, senders=("officer@dept.gov.in",))
    seen = replace(inspection(), headers=Headers(from_addresses=("minister@dept.gov.in",)))
    tx = transaction("desk@ministry.gov.in", peer=peer)
    (one,) = decide.decide(tx, seen, POLICY, NONE, CONFIG).recipients
    assert (one.disposition, one.rule) == (Disposition.REFUSE, "from-not-owned")
    said = POLICY.explanations.sentence(one.explain, "en", dict(one.facts))
    assert "minister@dept.gov.in" in said.what
    resent = replace(seen, headers=replace(seen.headers, resent=True, resent_by=("officer@dept.gov.in",)))
    (one,) = decide.decide(tx, resent, POLICY, NONE, CONFIG).recipients
    assert (one.disposition, one.tags) == (Disposition.DELIVER, ("resent-by-login",))


@pytest.mark.parametrize(
    ("more", "author", "own"),
    [
        ({"senders": ("@dept.gov.in",)}, "minister@dept.gov.in", True),
        ({"senders": ("otp@dept.gov.in",)}, "Minister@DEPT.gov.in", True),
        ({"senders": ("dept.gov.in",)}, "minister@dept.gov.in", True),
        ({"senders": ("dept.gov.in",)}, "minister@sub.dept.gov.in", False),
        ({"senders": ("dept.gov.in",)}, "minister@ministry.gov.in", False),
        ({"senders": ("dept.gov.in",)}, "", False),
        ({}, "minister@dept.gov.in", False),
        ({"senders": ("dept.gov.in",), "networks": ("192.0.2.0/24",)}, "minister@dept.gov.in", False),
        ({"senders": ("dept.gov.in",), "logins": ("somebody-else",)}, "minister@dept.gov.in", False),
    ],
)
def test_R14_an_application_writes_for_the_domains_of_its_senders_only(more: dict[str, Any], author: str, own: bool) -> None:
    peer = replace(SIGNED_IN, senders=("officer@dept.gov.in",))
    seen = replace(inspection(), headers=Headers(from_addresses=(author,)))
    config = CONFIG.model_copy(update={"application": (Application(**{"name": "e-office", "logins": ("officer",)} | more),)})
    found = decide.decide(transaction("desk@ministry.gov.in", peer=peer), seen, POLICY, NONE, config)
    assert found.message_facts["message.from_owned"] is own
    (one,) = found.recipients
    assert (one.disposition, one.rule) == ((Disposition.DELIVER, "ordinary-mail") if own else (Disposition.REFUSE, "from-not-owned"))


# --- profiles, observations, self-forwarding ------------------------------------------------------------------------------


def profile(expires: float = NOW + 60, **more: Any) -> Exceptions:
    return Exceptions("v", (), (ProfileRow("p1", "disaster", "flood", "a", "b", NOW - 60, expires, **more),))


def test_R31_the_disaster_profile_is_a_fact_while_it_is_on() -> None:
    for exceptions, expected in (
        (profile(), (True, "p1")), (NONE, (False, "")), (profile(NOW), (False, "")), (profile(state="ended"), (False, "")),
    ):  # fmt: skip
        found = known(exceptions=exceptions)
        assert (found["profile.disaster"], found["profile.id"]) == expected


def test_R31_the_profile_is_read_anew_at_release() -> None:
    rules = RuleSet((Rule("d", "d", "s", "profile.disaster", Disposition.DELIVER, "", "2.0.0"),), "v")
    eased = policy.Policy(rules, POLICY.domains, POLICY.scheme, POLICY.explanations, "v", POLICY.folder)
    verdict = decide.decide(transaction("x@gmail.com"), inspection(), eased, profile(), CONFIG)
    given = (verdict.message_facts, verdict.recipient_facts[0], eased)
    assert verdict.recipients[0].disposition is Disposition.DELIVER
    assert decide.again(*given).disposition is Disposition.DELIVER
    assert decide.again(*given, exceptions=profile(), now=NOW).disposition is Disposition.DELIVER
    assert decide.again(*given, exceptions=profile(), now=NOW + 60).disposition is Disposition.HOLD


def test_observations_are_elements_without_values_each_kind_once() -> None:
    one = Observation("link", "cloud", "1", "body", 2, "drive.example")
    seen = replace(inspection(), observations=(one, replace(one, path="2"), Observation("aadhaar", "", "1", "quoted", 12)))
    found = known(seen=seen)
    assert found["observations"] == [
        {"kind": "link", "name": "cloud", "place": "body", "count": 2}, {"kind": "aadhaar", "name": "", "place": "quoted", "count": 12},
    ]  # fmt: skip
    assert "drive.example" not in json.dumps(found)


@pytest.mark.parametrize(
    ("to", "seems"),
    [
        ("anil.kumar72@gmail.com", True), ("kumar.anil@example.com", True), ("golfer@gmail.com", True), ("meena.patel@gmail.com", False),
        ("anil.kumar@finance.gov.in", False), ("anil.kumar@cert-in.org.in", False),
    ],
)  # fmt: skip
def test_R33_only_private_and_unknown_mailboxes_resemble_the_sender(to: str, seems: bool) -> None:
    headers = Headers(
        from_addresses=("anil.kumar@dept.gov.in",), from_display="Anil Kumar", to_named=(("Golfer@gmail.com", "Shri Anil Kumar"),)
    )
    assert known(to, headers=headers, sender="anil.kumar@dept.gov.in")["recipient.resembles_sender"] is seems


def test_R33_the_envelope_tells_at_RCPT_what_no_header_could_change() -> None:
    """With replies instead of reports a self-forwarding is refused at RCPT; where only a display name could tell, the door goes on."""
    when = 'recipient.resembles_sender && recipient.direction == "outbound"'
    rules = RuleSet(
        (Rule("self", "s", "s", when, Disposition.REFUSE, "", "5.7.1"), Rule("d", "d", "s", "true", Disposition.DELIVER, "", "2.0.0")), "v"
    )
    strict = policy.Policy(rules, POLICY.domains, POLICY.scheme, POLICY.explanations, "v", POLICY.folder)
    reply = CONFIG.model_copy(update={"relay": CONFIG.relay.model_copy(update={"refuse_with": "reply"})})
    sender = path("anil.kumar@dept.gov.in")
    assert decide.rcpt(sender, path("akumar@gmail.com"), LISTED, strict, NONE, reply).disposition is Disposition.REFUSE
    assert decide.rcpt(sender, path("golfer@gmail.com"), LISTED, strict, NONE, reply).disposition is Disposition.DEFER


# --- first times ----------------------------------------------------------------------------------------------------------

CONFIDENTIAL = inspection(found=(finding(Level.CONFIDENTIAL),))
NOTE = b"From: officer@dept.gov.in\r\nTo: a@ministry.gov.in\r\nSubject: CONFIDENTIAL\r\n\r\nCONFIDENTIAL\r\n\r\nPlease see the file.\r\n"
PLAIN = b"From: officer@dept.gov.in\r\nTo: a@ministry.gov.in\r\nSubject: Note\r\n\r\nPlease see the file.\r\n"


def with_rule(when: str) -> policy.Policy:
    extra = Rule("new", "new", "s", when, Disposition.HOLD, "classified-to-many", "4.7.1")
    return policy.Policy(RuleSet((*POLICY.rules.rules, extra), "v"), POLICY.domains, POLICY.scheme, POLICY.explanations, "v", POLICY.folder)


ASKING = with_rule("recipient.first_time && message.first_time_recipients > 0")


@pytest.mark.parametrize(
    ("rules", "seen", "sender", "peer", "asks"),
    [
        (ASKING, CONFIDENTIAL, "officer@dept.gov.in", LISTED, True),
        (ASKING, inspection(found=(finding(Level.UNCLASSIFIED),)), "officer@dept.gov.in", LISTED, False),
        (ASKING, inspection(), "officer@dept.gov.in", LISTED, False),
        (ASKING, CONFIDENTIAL, "", LISTED, False),
        (ASKING, CONFIDENTIAL, "x@example.net", STRANGER, False),
        (POLICY, CONFIDENTIAL, "officer@dept.gov.in", LISTED, False),
    ],
)
def test_R9_first_times_are_asked_for_classified_mail_of_ours_and_only_where_a_rule_reads_them(
    rules: policy.Policy, seen: Inspection, sender: str, peer: Peer, asks: bool
) -> None:
    assert decide.asks_first_times(transaction("a@ministry.gov.in", sender=sender, peer=peer), seen, rules) is asks


class Keeper:
    """What the pipeline may ask, with what it was asked."""

    def __init__(self, answer: frozenset[str] | ReplyError) -> None:
        self.exceptions = NONE
        self.answer = answer
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.put_off: list[str] = []
        self.verdicts: list[Verdict] = []

    async def refresh_exceptions(self) -> None:
        raise AssertionError("nothing is stale here")

    async def first_times(self, sender: str, recipients: tuple[str, ...]) -> frozenset[str]:
        self.asked.append((sender, recipients))
        if isinstance(self.answer, ReplyError):
            raise self.answer
        return self.answer

    async def thread_levels(self, thread: Thread) -> Remembered:
        raise AssertionError("this message answers nothing")

    async def commit(self, tx: Transaction, verdict: Verdict, content: bytes) -> Committed | Stale:
        self.verdicts.append(verdict)
        return Committed(Reply(250, "2.0.0", "accepted"), tx.reference)

    async def deferred(self, tx: Transaction, reply: Reply, cause: str) -> None:
        self.put_off.append(cause)


class NoInspector:
    async def inspect(self, content: bytes, sha256: str, keys: Keys = ()) -> Inspection:
        raise AssertionError("plain text needs no inspector")


async def handled(keeper: Keeper, content: bytes, rules: policy.Policy = ASKING) -> Verdict:
    tx = replace(transaction("a@ministry.gov.in", "b@ministry.gov.in"), sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    await Pipeline(rules, CONFIG, NoInspector(), keeper).handle(tx, content)
    return keeper.verdicts[-1]


async def test_R9_the_pipeline_asks_and_the_facts_say_who_is_new() -> None:
    keeper = Keeper(frozenset({"b@ministry.gov.in"}))
    verdict = await handled(keeper, NOTE)
    assert keeper.asked == [("officer@dept.gov.in", ("a@ministry.gov.in", "b@ministry.gov.in"))]
    assert verdict.message_facts["message.first_time_recipients"] == 1
    assert [one["recipient.first_time"] for one in verdict.recipient_facts] == [False, True]
    assert [one.disposition for one in verdict.recipients] == [Disposition.DELIVER, Disposition.HOLD]
    assert dict(verdict.recipients[1].facts)["new"] == "1"


async def test_R9_nobody_is_asked_about_ordinary_mail() -> None:
    keeper = Keeper(frozenset({"b@ministry.gov.in"}))
    verdict = await handled(keeper, PLAIN)
    assert keeper.asked == []
    assert verdict.message_facts["message.first_time_recipients"] == 0
    assert await handled(keeper, NOTE, POLICY) and keeper.asked == []


async def test_R9_what_cannot_be_known_is_deferred() -> None:
    keeper = Keeper(ReplyError(OUR_FAULT, "the keeper is away"))
    with pytest.raises(ReplyError) as error:
        await handled(keeper, NOTE)
    assert error.value.reply.code == 451
    assert keeper.verdicts == [] and len(keeper.put_off) == 1


# --- snapshots of the version before --------------------------------------------------------------------------------------


def test_every_fact_is_in_the_first_snapshot_or_in_the_table_of_later_ones() -> None:
    there = set(SNAPSHOT["message"]) | set(SNAPSHOT["recipients"][0])
    assert set(facts.DECLARED) - there == set(facts.LATER)
    assert not set(facts.LATER) & there
    for listed, fields in facts.ELEMENTS.items():
        for element in SNAPSHOT["message"].get(listed, ()):
            always = [field for field in fields if field not in facts.LATER_FIELDS.get(listed, {})]
            assert list(element) == always, "a field of an element that older snapshots lack needs a value for them"


def test_a_snapshot_of_the_version_before_is_decided_as_it_was() -> None:
    for recipient, (disposition, rule) in zip(SNAPSHOT["recipients"], SNAPSHOT["decided"], strict=True):
        again = decide.again(SNAPSHOT["message"], recipient, POLICY)
        assert (again.disposition.text, again.rule, again.hits[0]) == (disposition, rule, rule)


def test_a_field_that_older_snapshots_lack_is_taken_as_its_table_says() -> None:
    message = snapshots.of_now(SNAPSHOT["message"])
    for name, later in facts.LATER_FIELDS.items():
        assert any(later.keys() - element.keys() for element in SNAPSHOT["message"][name])
        for element in message[name]:  # type: ignore[attr-defined]
            assert list(element) == list(facts.ELEMENTS[name])
            assert {field: element[field] for field in later} == dict(later)
    assert snapshots.of_now(message) == message
    rules = RuleSet((Rule("p", "p", "s", "leaves.exists(l, l.password_given)", Disposition.REFUSE, "", "5.7.1"),), "v")
    asked = policy.Policy(rules, POLICY.domains, POLICY.scheme, POLICY.explanations, "v", POLICY.folder)
    assert decide.again(SNAPSHOT["message"], SNAPSHOT["recipients"][0], asked).rule == "no-rule-matched"
    given = [element | {"password_given": True} for element in SNAPSHOT["message"]["leaves"]]
    assert decide.again({**SNAPSHOT["message"], "leaves": given}, SNAPSHOT["recipients"][0], asked).rule == "p"


def test_the_officer_is_told_which_file_gives_its_password_away() -> None:
    octets = (POLICY.folder / "policy" / "examples" / "password-given.eml").read_bytes().replace(b"\n", b"\r\n")
    seen = content.unpack(octets, sha256="00", limits=CONFIG.limits, scheme=POLICY.scheme)
    assert any(leaf.protection.reason in protection.GIVEN_AWAY for leaf in seen.leaves)
    found = known(seen=seen)
    assert found["message.suspect"] is True
    assert any(element["password_given"] for element in found["leaves"])
    verdict = decide.decide(transaction("desk@ministry.gov.in"), seen, POLICY, NONE, CONFIG).recipients[0]
    assert (verdict.rule, dict(verdict.facts)["file"]) == ("password-given", "figures.zip")


def test_a_snapshot_of_the_version_before_can_be_released() -> None:
    held = SNAPSHOT["recipients"][0]
    again = decide.again(SNAPSHOT["message"], held, POLICY, frozenset({"classified-attachment-unencrypted"}), exceptions=NONE, now=NOW)
    assert (again.disposition, again.direction) == (Disposition.DELIVER, Direction.OUTBOUND)


def test_an_old_snapshot_is_told_anew_whose_mailbox_it_is() -> None:
    old = SNAPSHOT["recipients"][1] | {"originator.address": "anil.kumar@dept.gov.in", "recipient.address": "akumar@gmail.com"}
    rules = RuleSet((Rule("self", "s", "s", "recipient.resembles_sender", Disposition.REFUSE, "", "5.7.1"),), "v")
    strict = policy.Policy(rules, POLICY.domains, POLICY.scheme, POLICY.explanations, "v", POLICY.folder)
    assert decide.again(SNAPSHOT["message"], old, strict).disposition is Disposition.REFUSE


@pytest.mark.parametrize("name", ["message.level", "message.suspect", "recipient.official", "leaves"])
def test_a_fact_that_was_always_there_is_never_made_up(name: str) -> None:
    assert name not in facts.LATER
    found = {**facts.LATER, **SNAPSHOT["message"], **SNAPSHOT["recipients"][0]}
    del found[name]
    waived = frozenset({"classified-attachment-unencrypted"})
    assert POLICY.rules.evaluate(found, waived).disposition is not Disposition.DELIVER


def test_bodies_alone_leave_every_new_fact_at_its_ordinary_value() -> None:
    found = known(seen=inspection(BODY))
    for name in facts.LATER:
        expected = facts.DECLARED[name].ordinary
        assert found[name] == (list(expected) if isinstance(expected, tuple) else expected), name
