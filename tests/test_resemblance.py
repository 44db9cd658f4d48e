"""Self-forwarding: which private mailboxes look like the sender's own, and which only by accident (rule R33)."""

from __future__ import annotations

import time

import pytest

from gateway import address
from gateway.policy.resemblance import resembles, same_person

MUST = [
    ("anil.kumar@dept.gov.in", "", "anil.kumar@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "Anil.Kumar@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "anilkumar@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "anil_kumar@yahoo.co.in", ""),
    ("anil.kumar@dept.gov.in", "", "anil-kumar@rediffmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "anilkumar1972@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "anil.kumar.72@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "anil.kumar+office@gmail.com", ""),
    ("anil.kumar+notes@dept.gov.in", "", "anil.kumar@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "kumar.anil@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "kumaranil@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "akumar@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "a.kumar@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "kumar.a@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "anilk123@gmail.com", ""),
    ("a.kumar@dept.gov.in", "", "akumar@gmail.com", ""),
    ("a.kumar@dept.gov.in", "", "kumar.a@gmail.com", ""),
    ("akumar@dept.gov.in", "", "a.kumar@gmail.com", ""),
    ("akumar@dept.gov.in", "", "akumar99@outlook.com", ""),
    ("anil.kumar-ias@dept.gov.in", "", "anilkumar@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "dr.anilkumar@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "anil.kumar.personal@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "anilkumar.dept@gmail.com", ""),
    ("s.k.sharma@dept.gov.in", "", "sksharma@gmail.com", ""),
    ("sunil.kumar.sharma@dept.gov.in", "", "sunil.sharma@gmail.com", ""),
    ("sunil.kumar.sharma@dept.gov.in", "", "sksharma@gmail.com", ""),
    ("a.kumar@dept.gov.in", "Anil Kumar", "anil.kumar72@gmail.com", ""),
    ("ceo.zp@dept.gov.in", "Meena Patel", "x1@gmail.com", "Meena Patel"),
    ("so.budget@dept.gov.in", "Shri Anil Kumar, IAS", "golfer@gmail.com", "ANIL KUMAR"),
    ("anil@dept.gov.in", "Kumar, Anil", "golfer@gmail.com", "Anil Kumar"),
    ("anil.kumar@dept.gov.in", "अनिल कुमार", "golfer@gmail.com", "श्री अनिल कुमार"),
    ("dc.leh@dept.gov.in", "", "dc-leh@gmail.com", ""),
    ("अनिल.कुमार@dept.gov.in", "", "अनिलकुमार@example.com", ""),
]  # fmt: skip

MUST_NOT = [
    ("info@dept.gov.in", "", "info@gmail.com", ""),
    ("office@dept.gov.in", "", "office@company.example", ""),
    ("dc@dept.gov.in", "", "dc@gmail.com", ""),
    ("sp@dept.gov.in", "", "sp@company.example", ""),
    ("collector@dept.gov.in", "", "collector@gmail.com", ""),
    ("collector.office@dept.gov.in", "", "office.collector@gmail.com", ""),
    ("dcoffice@dept.gov.in", "", "dcoffice@gmail.com", ""),
    ("helpdesk1@dept.gov.in", "", "helpdesk@company.example", ""),
    ("dc.leh@dept.gov.in", "", "leh@gmail.com", ""),
    ("dc.leh@dept.gov.in", "", "dc.kargil@gmail.com", ""),
    ("dc.srinagar@dept.gov.in", "", "srinagar@gmail.com", ""),
    ("secy.it@dept.gov.in", "Secretary", "it@gmail.com", "Secretary"),
    ("dc@dept.gov.in", "Deputy Commissioner", "dc2@gmail.com", "Deputy Commissioner"),
    ("anil.kumar@dept.gov.in", "Anil Kumar", "meena.patel@gmail.com", "Meena Patel"),
    ("anil.kumar@dept.gov.in", "", "sunil.kumar@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "kumar@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "anil@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "bkumar@gmail.com", ""),
    ("a.kumar@dept.gov.in", "", "anil.kumar@gmail.com", ""),
    ("a.kumar@dept.gov.in", "Anil Kumar", "ajay.kumar@gmail.com", "Ajay Kumar"),
    ("sk@dept.gov.in", "", "sk@gmail.com", ""),
    ("raj@dept.gov.in", "", "raj@gmail.com", ""),
    ("anil.kumar@dept.gov.in", "", "9419012345@gmail.com", ""),
    ("12345@dept.gov.in", "", "12345@gmail.com", ""),
    ("", "Anil Kumar", "anil.kumar@gmail.com", ""),
]  # fmt: skip


def path(text: str) -> address.Path:
    return address.parse(text.encode(), smtputf8=True) if text else address.NULL_PATH


def test_there_are_enough_pairs() -> None:
    assert len(MUST) + len(MUST_NOT) >= 40


@pytest.mark.parametrize(("sender", "display", "recipient", "shown"), MUST)
def test_R33_the_senders_own_mailbox_is_seen(sender: str, display: str, recipient: str, shown: str) -> None:
    assert resembles(path(sender), display, path(recipient), shown)


@pytest.mark.parametrize(("sender", "display", "recipient", "shown"), MUST_NOT)
def test_R33_desks_and_other_people_are_not_taken_for_him(sender: str, display: str, recipient: str, shown: str) -> None:
    assert not resembles(path(sender), display, path(recipient), shown)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("Anil Kumar", "anil  kumar", True), ("Dr. Anil Kumar", "Kumar, Anil", True), ("Anil Kumar (Finance)", "Anil Kumar", True),
        ("Anil Kumar", "Anil", False), ("Office", "Office", False), ("Helpdesk, Finance", "Finance Helpdesk", False), ("", "", False),
        ("anil@gov.in", "anil@gov.in", False), ("Raj", "Raj", False),
    ],
)  # fmt: skip
def test_display_names_of_one_person(first: str, second: str, same: bool) -> None:
    assert same_person(first, second) is same


def test_a_long_name_costs_little() -> None:
    sender, recipient = path("a.b.c.d.e.f.g.h.kumar@dept.gov.in"), path("anil.kumar.sharma.varma@gmail.com")
    begun = time.process_time()
    for _ in range(50):
        assert not resembles(sender, "Anil " * 30, recipient, "x" * 200)
        resembles(path("anil.kumar.sharma.varma@dept.gov.in"), "", path("someone.else@gmail.com"), "")
    assert time.process_time() - begun < 1.0
