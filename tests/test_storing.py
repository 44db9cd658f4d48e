"""What is decided about mail that is stored in one's own mailbox, which is no delivery."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from gateway import policy
from gateway.config import Config, Sealed
from gateway.doors.imap import HELD
from gateway.envelope import Door
from gateway.policy import decide, rules, storing
from gateway.verdict import Disposition, Inspection
from tests.test_decide import (
    BODY,
    BROKEN,
    CONFIDENTIAL,
    CONFIG,
    DOCX,
    IN_DOCX,
    MAYBE_SECRET,
    NONE,
    POLICY,
    SECRET,
    decided,
    inspection,
    transaction,
)

OWN = "officer@dept.gov.in"
SEALED_AND_NOT = (CONFIG, CONFIG.model_copy(update={"sealed": Sealed()}))


def door_rule(when: str, then: str) -> policy.Policy:
    """The shipped rules and one more."""
    status = "5.7.1" if then == "refuse" else "4.7.1"
    extra = rules.Rule("by-door", "t", "s", when, Disposition[then.upper()], "suspect-content", status)
    return dataclasses.replace(POLICY, rules=rules.RuleSet((*POLICY.rules.rules, extra), "x"), version="x")


@pytest.mark.parametrize(
    ("seen", "config", "would_be"),
    [
        (inspection(), CONFIG, "deliver"),
        (inspection(BODY, DOCX, found=IN_DOCX), CONFIG, "hold"),
        (inspection(BODY, BROKEN), CONFIG, "hold"),
        (inspection(ambiguity=("two readings",)), CONFIG, "hold"),
        (inspection(found=CONFIDENTIAL), CONFIG, "deliver"),
        (inspection(found=MAYBE_SECRET), SEALED_AND_NOT[0], "hold"),
        (inspection(found=MAYBE_SECRET), SEALED_AND_NOT[1], "refuse"),
        (inspection(from_addresses=("a@gmail.com",)), CONFIG, "deliver"),
    ],
)
def test_storing_in_ones_own_mailbox_is_recorded_and_never_stopped(seen: Inspection, config: Config, would_be: str) -> None:
    verdict = decided(OWN, seen=seen, config=config, door=Door.IMAP)
    (stored,) = verdict.recipients
    assert (stored.disposition, stored.status, verdict.session_refusal, verdict.sealed) == (Disposition.DELIVER, "2.0.0", False, False)
    sent = decided(OWN, seen=seen, config=config, door=Door.SMTP).recipients[0]
    assert sent.disposition.text == would_be
    assert (stored.rule, stored.trace, stored.hits) == (sent.rule, sent.trace, sent.hits)
    assert (storing.RECORDED in stored.tags) is (would_be != "deliver")
    assert (stored.edits, stored.copies, stored.archive, stored.notify) == ((), (), (), ()), "what is filed is found again as it was"
    assert (stored.require_aes256, verdict.memo) == (False, None)


def test_certain_secret_is_not_stored_either() -> None:
    verdict = decided(OWN, seen=inspection(found=SECRET), door=Door.IMAP)
    assert (verdict.session_refusal, verdict.recipients[0].disposition) == (True, Disposition.REFUSE)
    assert verdict.recipients[0].rule == "secret-on-the-internet"


@pytest.mark.parametrize(
    ("when", "then", "disposition"),
    [
        ('door == "imap"', "refuse", Disposition.REFUSE),
        ('door == "imap"', "hold", Disposition.REFUSE),
        ('message.suspect && door != "smtp"', "hold", Disposition.REFUSE),
        ('door == "smtp"', "refuse", Disposition.DELIVER),  # it does not hit
        ('originator.domain == "door" || message.suspect', "refuse", Disposition.DELIVER),  # the word alone is no fact
        ("message.suspect", "refuse", Disposition.DELIVER),
    ],
)
def test_a_rule_that_names_the_door_keeps_mail_out_of_the_mailbox(when: str, then: str, disposition: Disposition) -> None:
    rules = door_rule(when, then)
    verdict = decide.decide(transaction(OWN, door=Door.IMAP), inspection(BODY, BROKEN), rules, NONE, CONFIG)
    (stored,) = verdict.recipients
    assert stored.disposition is disposition
    if disposition is Disposition.REFUSE:
        assert (stored.rule, stored.status, verdict.session_refusal) == ("by-door", "5.7.1", True)


def test_what_is_not_known_stays_deferred_when_storing() -> None:
    unknown = rules.Decision(Disposition.DEFER, rules.NOT_KNOWN, "4.3.0", "", rules.NOT_KNOWN, (), ())
    assert storing.stored(unknown, POLICY.rules, None) is unknown


def test_a_rule_set_knows_which_of_its_rules_read_a_fact() -> None:
    assert POLICY.rules.reading("door") == {"relay-denied", "classified-by-milter-unproved"}
    assert POLICY.rules.reading("mta.protected") == {"classified-by-milter-unproved"}
    assert "classified-to-non-government" not in POLICY.rules.reading("recipient.domain")


@pytest.mark.parametrize(
    ("seen", "would_be"),
    [
        (inspection(), "deliver"),
        (inspection(BODY, DOCX, found=IN_DOCX), "hold"),
        (inspection(BODY, BROKEN), "hold"),
        (inspection(found=MAYBE_SECRET), "hold"),
        (inspection(found=SECRET), "refuse"),
    ],
)
def test_I06_where_others_read_it_filing_is_sending(seen: Inspection, would_be: str) -> None:
    """The whole decision holds; what would have waited for a reviewer is refused with the reason for it."""
    verdict = decide.decide(replace(transaction(OWN, door=Door.IMAP), shared=True), seen, POLICY, NONE, CONFIG)
    (stored,) = verdict.recipients
    (sent,) = decided(OWN, seen=seen, door=Door.SMTP).recipients
    assert sent.disposition.text == would_be
    assert stored.disposition is (Disposition.DELIVER if would_be == "deliver" else Disposition.REFUSE)
    assert (stored.rule, stored.trace, stored.hits, stored.explain) == (sent.rule, sent.trace, sent.hits, sent.explain)
    assert storing.SHARED in stored.tags
    assert storing.RECORDED not in stored.tags
    assert (stored.edits, stored.copies, stored.archive, verdict.sealed) == ((), (), (), False)
    assert verdict.session_refusal is (would_be != "deliver")


def test_what_is_not_known_stays_deferred_where_others_read_it() -> None:
    unknown = rules.Decision(Disposition.DEFER, rules.NOT_KNOWN, "4.3.0", "", rules.NOT_KNOWN, (), ())
    assert storing.stored(unknown, POLICY.rules, None, shared=True) is unknown


def test_R8_contacts_are_told_of_what_is_refused_and_not_of_what_is_recorded() -> None:
    """A draft that is refused was stopped, and R3 and R8 want to be told of that; what is only recorded is no incident."""
    extra = rules.Rule(
        "told", "t", "s", "message.level >= CONFIDENTIAL || message.suspect", None, "nodal-officer-told", "", notify=("nodal",)
    )
    told = dataclasses.replace(POLICY, rules=rules.RuleSet((*POLICY.rules.rules, extra), "x"), version="x")
    for seen, notify, disposition in (
        (inspection(found=SECRET), ("nodal",), Disposition.REFUSE),
        (inspection(BODY, BROKEN), (), Disposition.DELIVER),
        (inspection(BODY, DOCX, found=IN_DOCX), (), Disposition.DELIVER),
    ):
        (stored,) = decide.decide(transaction(OWN, door=Door.IMAP), seen, told, NONE, CONFIG).recipients
        assert (stored.notify, stored.disposition) == (notify, disposition)
        (shared,) = decide.decide(replace(transaction(OWN, door=Door.IMAP), shared=True), seen, told, NONE, CONFIG).recipients
        assert (shared.notify, shared.disposition) == (("nodal",), Disposition.REFUSE)


def test_every_sentence_of_held_mail_can_be_said_of_what_is_not_filed() -> None:
    shorts = [one.short for one in POLICY.explanations.languages["en"].sentences.values()]
    assert sum("reviewer" in one for one in shorts) > 10
    assert [one for one in shorts if "wait" in one and "review" in one and HELD not in one] == []
