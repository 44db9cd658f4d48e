"""Identity and the other header facts, read strictly. Catalogue groups A and C."""

from __future__ import annotations

import time

import pytest

from gateway.message import views
from gateway.message.prescan import prescan
from tests.mime_messages import LIMITS, TOP, look

# --- A: identity --------------------------------------------------------------------------------------------------------


def identity(*lines: bytes) -> tuple[tuple[str, ...], str]:
    content = b"".join(line + b"\r\n" for line in lines) + b"Subject: x\r\n\r\nbody\r\n"
    scan = prescan(content, LIMITS)
    view = views.strict(content, scan, LIMITS)
    return views.summary(view, scan).from_addresses, " | ".join(view.ambiguity)


@pytest.mark.parametrize(
    "lines",
    [
        (b"From: a@gov.in, b@evil.example",),
        (b"From: a@gov.in", b"From: b@evil.example"),
        (b"From : a@gov.in",),
        (b" From: a@gov.in",),
        (b"From", b" : a@gov.in"),
        (b"From: =?utf-8?B?YUBnb3YuaW4=?=",),
        (b"From: Group: a@gov.in, b@gov.in;",),
        (b"From: ",),
        (b"From: <a@gov.in> <b@evil.example>",),
        (b"From: a@gov.in\x00@evil.example",),
    ],
)
def test_A24_a_doubtful_From_gives_no_identity(lines: tuple[bytes, ...]) -> None:
    addresses, said = identity(*lines)
    assert addresses == () or "colon" in said or "white space" in said
    assert said


@pytest.mark.parametrize(
    "line", [b'From: "ceo@gov.in" <x@evil.example>', b"From: ceo@gov.in <x@evil.example>", b"From: <x@evil.example>(ceo@gov.in)"]
)
def test_A25_a_display_name_is_never_the_identity(line: bytes) -> None:
    addresses, _ = identity(line)
    assert addresses in ((), ("x@evil.example",))


@pytest.mark.parametrize("line", [b"From: alice@gov.in)bob@evil.example", b"From: alice@gov.in(<bob@evil.example>"])
def test_A26_a_closing_bracket_ends_nothing(line: bytes) -> None:
    addresses, said = identity(line)
    assert addresses == ()
    assert "a From field that is not one plain address" in said


@pytest.mark.parametrize(
    ("line", "address"),
    [
        (b"From: a@Dept.Gov.IN", "a@dept.gov.in"),
        (b"From: Officer <a@dept.gov.in>", "a@dept.gov.in"),
        (b'From: "Officer, A." <a.b+c@dept.gov.in>', "a.b+c@dept.gov.in"),
        (b"From: a@dept.gov.in (An Officer)", "a@dept.gov.in"),
        (b"From: A. B. Officer <a@dept.gov.in>", "a@dept.gov.in"),
        (b"From: =?utf-8?B?4KSo4KWL4KSf?= <a@dept.gov.in>", "a@dept.gov.in"),
        ("From: नोट <अ@सरकार.भारत>".encode(), "अ@xn--11b7cb3a6a.xn--h2brj9c"),
        (b"From: a@NIC.xn--h2brj9c", "a@nic.xn--h2brj9c"),
    ],
)
def test_plain_From_fields_give_the_address(line: bytes, address: str) -> None:
    assert identity(line) == ((address,), "")


def test_A13_a_domain_that_IDNA_does_not_know_gives_no_identity() -> None:
    addresses, said = identity("From: a@gov。in.example".encode())
    assert addresses == ()
    assert said


def test_A19_members_of_groups_in_To_are_counted() -> None:
    content = TOP.replace(b"To: b@finance.nic.in", b'To: Desk: b@finance.nic.in, "x, y" <c@gov.in>;, d@gov.in') + b"\r\n"
    scan = prescan(content, LIMITS)
    assert views.summary(look(content), scan).to_addresses == ("b@finance.nic.in", "c@gov.in", "d@gov.in")


def test_header_facts() -> None:
    content = (
        b"Received: a\r\nReceived: b\r\nDKIM-Signature: v=1\r\nFrom: a@dept.gov.in\r\nTo: b@gov.in\r\nCc: c@gov.in\r\n"
        b"Subject: =?utf-8?B?4KSX4KWL4KSq4KSo4KWA4KSv?=\r\n =?utf-8?Q?_note?=\r\nMessage-ID: <1@dept.gov.in>\r\n"
        b"Auto-Submitted: auto-replied; x\r\n"
        b'Precedence: Bulk\r\nList-Id: <x>\r\nSIO-Label: marking="SECRET";\r\n fgcolor=red\r\n\r\nbody\r\n'
    )
    scan = prescan(content, LIMITS)
    headers = views.summary(look(content), scan)
    assert headers.subject == "गोपनीय note"
    assert headers.message_id == "<1@dept.gov.in>"
    assert (headers.from_addresses, headers.to_addresses) == (("a@dept.gov.in",), ("b@gov.in", "c@gov.in"))
    assert (headers.auto_submitted, headers.precedence, headers.is_list, headers.received) == ("auto-replied", "bulk", True, 2)
    assert headers.labels == (("SIO-Label", 'marking="SECRET"; fgcolor=red'),)
    assert headers.signed


def test_C03_encoded_words_split_inside_a_character_and_many_of_them() -> None:
    split = b"=?utf-8?B?4KSX4A==?= =?utf-8?B?pYs=?="
    content = TOP.replace(b"Papers", split) + b"\r\n"
    assert views.summary(look(content), prescan(content, LIMITS)).subject == "गो"
    many = TOP.replace(b"Papers", b"\r\n ".join([b"=?utf-8?q?a?="] * 900)) + b"\r\n"
    start = time.process_time()
    assert views.summary(look(many), prescan(many, LIMITS)).subject == "a" * 900
    assert time.process_time() - start < 2


def test_C07_header_octets_never_become_surrogates() -> None:
    content = TOP.replace(b"Papers", b"\xff\xed\xa0\x80 \xe0\xa4\x97 x") + b"X-Y: \x80\r\n\r\n"
    view = look(content)
    for _, value in view.headers:
        value.encode("utf-8")
    assert "ग" in views.summary(view, prescan(content, LIMITS)).subject
