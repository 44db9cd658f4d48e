"""By what held mail is found: whole words, their beginnings, any script; never the words themselves (hostile-inputs catalogue W12)."""

from __future__ import annotations

import unicodedata

import pytest
from msgspec.structs import replace

from gateway.keeper import terms
from gateway.keeper.exceptions import Wrong
from gateway.keeper.terms import Terms
from gateway.stores.base import HoldRow
from gateway.vault.vault import Vault
from tests.keeper_kit import hold, make_vault, message

MADE = Terms(make_vault())
HELD = hold(message(), "desk.officer@finance.nic.in", "a@xn--11b7cb3a6a.xn--h2brj9c", rule="classified-attachment-unencrypted")


def finds(text: str, *, row: HoldRow = HELD, subject: str = "", opened: bool = True) -> bool:
    mine = {one.term for one in MADE.rows(row, subject)}
    return all(mine & {*word.plain, *(word.subject if opened else ())} for word in MADE.sought(text))


@pytest.mark.parametrize(
    "text",
    [
        HELD.reference, HELD.reference.lower(), HELD.reference[:10], "so@dept.gov.in", "<SO@DEPT.GOV.IN>", "dept.gov.in", "gov.in", "dept",
        "desk.officer", "officer", "offi", "finance.nic.in", "finance", "finan", "classified-attachment-unencrypted", "classified",
        "unencrypted attachment", "classified-att", "a@xn--11b7cb3a6a.xn--h2brj9c",
        "xn--11b7cb3a6a.xn--h2brj9c",
    ],
    ids=lambda text: "reference" if text.upper() in HELD.reference else text,
)  # fmt: skip
def test_the_envelope_finds(text: str) -> None:
    assert finds(text)
    assert finds(text, opened=False), "nothing of the envelope is content"


@pytest.mark.parametrize("text", ["other", "off1cer", "desk.officer@dept.gov.in", "officer budget", "of", "%", "*", '"', "' OR 1=1 --"])
def test_what_is_not_there_is_not_found(text: str) -> None:
    assert not finds(text)


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Re: Budget estimates 2026-27", "budg"), ("Re: Budget estimates 2026-27", "ESTIMATES 2026-27"),
        ("F.No. 12/3/2026-Estt", "12/3/2026"),
        ("वित्त मंत्रालय की बैठक", "मंत्रालय"), ("वित्त मंत्रालय की बैठक", "मंत्रा"), ("ગુપ્ત પત્ર", "ગુપ્ત"), ("خفیہ خط", "خفیہ"),
        ("ﬁle Ｂｕｄｇｅｔ", "file budget"), ("Straße", "STRASSE"), ("bud\u00adget\u200bs", "budgets"),
        ("क़ानून", unicodedata.normalize("NFC", "क़ानून")),
    ],
)  # fmt: skip
def test_words_of_subjects_find_in_every_script_and_only_those_who_may_read_them(subject: str, text: str) -> None:
    assert finds(text, subject=subject)
    assert not finds(text, subject=subject, opened=False)


def test_sealed_mail_is_found_by_reference_sender_and_rule_alone() -> None:
    sealed = replace(HELD, sealed=True)
    for text in (HELD.reference, "so@dept.gov.in", "dept.gov.in", "classified"):
        assert finds(text, row=sealed, subject="heron")
    for text in ("heron", "desk.officer", "finance.nic.in", "officer"):
        assert not finds(text, row=sealed, subject="heron")


def test_a_record_has_a_bounded_number_of_terms_and_its_own_come_first() -> None:
    many = replace(HELD, recipients=tuple(f"officer.number{n}@ministry-of-things{n}.gov.in" for n in range(500)))
    subject = " ".join(f"considerable{n}word" for n in range(300))
    rows = MADE.rows(many, subject)
    assert len(rows) <= terms.MOST
    assert {row.hold_id for row in rows} == {many.id}
    assert all(len(row.term) == 16 for row in rows)
    assert finds(HELD.reference, row=many, subject=subject)
    assert finds("so@dept.gov.in considerable0word considerable30word", row=many, subject=subject)
    assert len(MADE.rows(many, "x" * 1_000_000)) <= terms.MOST


def test_a_hash_needs_the_key_and_keeps_envelope_and_subject_apart() -> None:
    vault, other = make_vault(), Vault({"k2": b"\x08" * 32}, "k2")
    assert vault.term_hash("subject", "heron") == vault.term_hash("subject", "heron")
    assert vault.term_hash("subject", "heron") not in (vault.term_hash("envelope", "heron"), other.term_hash("subject", "heron"))


@pytest.mark.parametrize(
    "text", ["x" * 201, "x" * 1_000_000, "a b c d e f g h i", " ".join("abcdefghijkl"), "a.b.c.d.e.f.g.h i.j.k.l.m.n.o.p q.r.s"]
)
def test_W12_a_search_that_is_too_long_is_refused(text: str) -> None:
    with pytest.raises(Wrong):
        MADE.sought(text)


@pytest.mark.parametrize("text", ["", "  ", "\u200b"])
def test_a_search_for_nothing_asks_for_nothing(text: str) -> None:
    assert all(word.subject == () for word in MADE.sought(text))


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE holds; --", "a* OR b", "NEAR(a b)", "%_%", ".*", "(?:z+)+$", "\x00", "\ud800", "￿", "a" * 200, "॥॥", "id;DESC-"]
)
def test_W12_operators_of_any_language_are_words_like_others(text: str) -> None:
    assert len(MADE.sought(text)) <= 2 * terms.SEARCH_WORDS
    assert not finds(text, subject="identifier")
