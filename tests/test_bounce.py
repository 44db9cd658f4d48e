"""Reports to originators: RFC 3464 on the wire, plain words for people, nothing hostile inside (L05, P11)."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Callable
from email.message import EmailMessage, Message
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Contacts
from gateway.levels import Level
from gateway.policy import bounce, explanations
from gateway.policy.bounce import RecipientReport

RULES = Path(__file__).parents[1] / "rules"
GOLDEN = Path(__file__).parent / "golden"
SENTENCES = explanations.load(RULES / "explanations", RULES, ("en", "hi"))
NOW = 1_795_000_000.0
ORIGINAL = (
    b"Received: from pc (pc [10.0.0.5])\r\n\tby gw1.dept.gov.in; Sat, 21 Nov 2026 10:00:00 +0530\r\n"
    b"From: Officer <officer@dept.gov.in>\r\nTo: Somebody <somebody@gmail.com>\r\nBcc: hidden@dept.gov.in\r\n"
    b"Subject: =?utf-8?B?4KSu4KS+4KS44KS/4KSV?= statement\r\nMessage-ID: <1@dept.gov.in>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0530\r\n\r\n"
    b"Body words that must not come back.\r\n"
)
GMAIL = RecipientReport(
    "somebody@gmail.com", "5.7.1", "outbound-to-private-provider", {"domain": "gmail.com", "provider": "Google Gmail"},
    "outbound-to-private-provider", "Rajasthan guidelines and Home Ministry paper of October 2019", "rfc822;somebody+40gmail.com",
)  # fmt: skip
NOTE = RecipientReport(
    "desk@ministry.gov.in", "4.7.1", "attachment-unencrypted", {"level": "CONFIDENTIAL", "file": "note.docx"},
    "classified-attachment-unencrypted", "J&K Circular 26-JK(GAD) of 22 November 2024; Home Ministry guidance of 2019",
)  # fmt: skip
PAGE = "https://gateway.dept.gov.in/officer/" + "abcdefgh2345" * 6
COMMON: dict[str, Any] = {
    "reference": "01M7ZZZZZZZZZZZZZZZZZZZZZZ", "hostname": "gw1.dept.gov.in", "now": NOW, "original_headers": ORIGINAL,
    "sender": "officer@dept.gov.in", "explanations": SENTENCES, "languages": ("en", "hi"),
    "contacts": Contacts(postmaster="postmaster@dept.gov.in", security="secops@dept.gov.in"),
}  # fmt: skip


def make(kind: str = "failed", **changes: Any) -> bytes:
    given = COMMON | {"recipients": [GMAIL]} | changes
    if kind == "held":
        given.setdefault("deadline", NOW + 15 * 86400)
    if kind == "delayed":
        given.setdefault("until", NOW + 5 * 86400)
    makers: dict[str, Callable[..., bytes]] = {
        "failed": bounce.failed, "held": bounce.held, "delayed": bounce.delayed, "relayed": bounce.relayed,
    }  # fmt: skip
    return makers[kind](**given)


def parsed(octets: bytes) -> EmailMessage:
    """*octets*, after everything that must hold for any report."""
    assert b"\n" not in octets.replace(b"\r\n", b"")
    assert b"\r" not in octets.replace(b"\r\n", b"")
    assert max(len(line) for line in octets.split(b"\r\n")) <= 998
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        assert part.defects == [], part.get_content_type()
    assert message.get_content_type() == "multipart/report"
    parts = list(message.iter_parts())
    assert len(parts) == 3
    assert parts[0].get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in parts[0].iter_parts()] == ["text/plain", "text/html"]
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["X-Gateway-Reference"] == COMMON["reference"]
    return message


def text_of(message: EmailMessage, subtype: str = "plain") -> str:
    part = message.get_body((subtype,))
    assert part is not None
    return str(part.get_content())


def status_of(message: EmailMessage) -> list[Message]:
    part = list(message.iter_parts())[1]
    assert part.get_content_type() in ("message/delivery-status", "message/global-delivery-status")
    return list(part.get_payload())  # type: ignore[arg-type]


def original_of(message: EmailMessage) -> str:
    octets = list(message.iter_parts())[2].get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets.decode("utf-8", "replace")


CASES: dict[str, Callable[[], bytes]] = {
    "failed-private-provider": lambda: make(
        recipients=[GMAIL, RecipientReport("x@rediffmail.com", "5.7.1", GMAIL.explain, {"domain": "rediffmail.com", "provider": "Rediff"},
                                           GMAIL.rule, GMAIL.source)],
        page_url=PAGE, envid="QQ+2B314159", arrival=NOW - 2,
    ),
    "failed-classified": lambda: make(
        recipients=[RecipientReport("x@example.com", "5.7.1", "classified-to-non-government",
                                    {"domain": "example.com", "level": "CONFIDENTIAL"}, "classified-to-non-government",
                                    "J&K Circular 26-JK(GAD) of 22 November 2024")],
        level=Level.CONFIDENTIAL,
    ),
    "failed-by-next-hop": lambda: make(
        recipients=[RecipientReport("gone@ministry.gov.in", "5.1.1", "next-hop-refused",
                                    diagnostic="550 5.1.1 <gone@ministry.gov.in> unknown",
                                    remote_mta="mail.nic.in")],
    ),
    "failed-by-reviewer": lambda: make(
        recipients=[RecipientReport("desk@ministry.gov.in", "5.7.1", "refused-by-reviewer", rule="suspect-content", source="s")],
        note="Please send the annexe as PDF.",
    ),
    "held-attachment": lambda: make("held", recipients=[NOTE], level=Level.CONFIDENTIAL, page_url=PAGE),
    "held-sealed": lambda: make(
        "held", recipients=[RecipientReport("desk@ministry.gov.in", "4.7.1", "probable-secret", {"file": "plan.docx"}, "probable-secret")],
        level=Level.SECRET,
    ),
    "delayed": lambda: make("delayed", recipients=[RecipientReport("desk@ministry.gov.in", "4.4.1", "delivery-delayed",
                                                                  diagnostic="421 4.3.2 busy", remote_mta="mail.nic.in")]),
    "relayed": lambda: make("relayed", recipients=[RecipientReport("desk@ministry.gov.in", "2.0.0", "delivery-relayed")]),
    "failed-international": lambda: make(
        recipients=[RecipientReport("उदाहरण@xn--p1b6ci4b4b3a.xn--h2brj9c", "5.7.1", "outbound-to-non-government",
                                    {"domain": "xn--p1b6ci4b4b3a.xn--h2brj9c"}, "outbound-to-non-government", "s")],
        smtputf8=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    """Octet for octet. To change one on purpose: delete it, run, read what was written, commit it."""
    octets = CASES[name]()
    parsed(octets)
    path = GOLDEN / f"report-{name}.eml"
    if not path.exists():
        path.write_bytes(octets)
        pytest.fail(f"{path.name} was missing; it is written now: read it, then commit it")
    assert octets == path.read_bytes()
    assert octets == CASES[name]()


def test_P11_status_part_of_a_refusal() -> None:
    message = parsed(CASES["failed-private-provider"]())
    about, first, second = status_of(message)
    assert about["Reporting-MTA"] == "dns; gw1.dept.gov.in"
    assert about["Original-Envelope-Id"] == "QQ+314159"
    assert about["Arrival-Date"].endswith("+0000")
    assert first["Original-Recipient"] == "rfc822; somebody@gmail.com"
    assert first["Final-Recipient"] == "rfc822; somebody@gmail.com"
    assert (first["Action"], first["Status"]) == ("failed", "5.7.1")
    diagnostic = " ".join(first["Diagnostic-Code"].split())
    assert diagnostic.startswith("smtp; 550 5.7.1 gmail.com is a private e-mail provider.")
    assert f"Ref {COMMON['reference']} Rule outbound-to-private-provider" in diagnostic
    assert first["Will-Retry-Until"] is None
    assert second["Original-Recipient"] is None
    assert second["Final-Recipient"] == "rfc822; x@rediffmail.com"


def test_held_and_delayed_say_until_when() -> None:
    for kind, days in (("held", 15), ("delayed", 5)):
        message = parsed(make(kind, recipients=[NOTE]))
        status = status_of(message)[1]
        assert (status["Action"], status["Status"]) == ("delayed", "4.7.1")
        until = email.utils.parsedate_to_datetime(status["Will-Retry-Until"])
        assert until.timestamp() == NOW + days * 86400
    assert "Without a decision it is returned to you on" in text_of(parsed(make("held", recipients=[NOTE])))


def test_the_class_of_the_status_fits_the_action() -> None:
    one = RecipientReport("a@ministry.gov.in", "4.4.7", "delivery-expired", diagnostic="451 4.4.1 no")
    assert status_of(parsed(make(recipients=[one])))[1]["Status"] == "5.4.7"
    one = RecipientReport("a@b.gov.in", "5.1.1", "delivery-relayed")
    assert status_of(parsed(make("relayed", recipients=[one])))[1]["Status"] == "2.1.1"


def test_heading_is_for_programs_and_threads() -> None:
    message = parsed(make())
    assert message["From"] == "Mail gateway <mailer-daemon@gw1.dept.gov.in>"
    assert message["To"] == "officer@dept.gov.in"
    assert message["In-Reply-To"] == message["References"] == "<1@dept.gov.in>"
    assert message["Message-ID"].endswith("@gw1.dept.gov.in>")
    assert message.get_param("report-type") == "delivery-status"
    assert COMMON["reference"] in message["Subject"]
    assert message["Content-Language"] == "en, hi"


def test_the_subject_is_folded_and_reads_back_in_hindi() -> None:
    octets = make("held", recipients=[NOTE], languages=("hi", "en"))
    assert max(len(line) for line in octets.split(b"\r\n\r\n")[0].split(b"\r\n")) <= 100
    assert parsed(octets)["Subject"] == f"समीक्षा की प्रतीक्षा में: आपका संदेश अभी नहीं भेजा गया ({COMMON['reference']})"


def test_text_says_what_why_and_next_in_both_languages_english_first() -> None:
    text = text_of(parsed(CASES["held-attachment"]()))
    for words in (
        "'note.docx' is CONFIDENTIAL but is not encrypted", "7-Zip", "Word 2016", "Sandesh",
        "Rule: classified-attachment-unencrypted", "J&K Circular 26-JK(GAD)", PAGE,
        "3 December 2026, 16:36 IST",
        "postmaster@dept.gov.in", "संलग्नक AES-256 से", "संदर्भ संख्या: 01M7",
    ):  # fmt: skip
        assert words in " ".join(text.split()), words
    assert text.index("What happened") < text.index("क्या हुआ")
    hindi_first = text_of(parsed(make("held", recipients=[NOTE], languages=("hi", "en"))))
    assert hindi_first.index("क्या हुआ") < hindi_first.index("What happened")


def test_html_says_the_same_and_reaches_nowhere() -> None:
    page = text_of(parsed(CASES["held-attachment"]()), "html")
    plain = re.sub(r"<[^>]+>", " ", page)
    assert "&#x27;note.docx&#x27; is CONFIDENTIAL but is not encrypted" in plain
    assert '<div lang="hi">' in page
    for word in ("<img", "<script", "<link", "src=", "href=", "url("):
        assert word not in page


def test_original_headers_without_body_and_blind_recipients() -> None:
    shown = original_of(parsed(make()))
    assert "Subject: =?utf-8?B?" in shown
    assert "Message-ID: <1@dept.gov.in>" in shown
    assert "\tby gw1.dept.gov.in" in shown
    assert "hidden@" not in shown
    assert b"Body words" not in make()


@pytest.mark.parametrize("level", [Level.SECRET, Level.TOP_SECRET])
@pytest.mark.parametrize("kind", ["failed", "held", "delayed", "relayed"])
def test_subject_and_names_of_secret_mail_are_not_repeated(kind: str, level: Level) -> None:
    original = ORIGINAL.replace(b"\r\n\r\n", b'\r\nThread-Topic: statement\r\nContent-Type: text/plain; name="statement.docx"\r\n\r\n')
    message = parsed(make(kind, level=level, original_headers=original))
    everything = text_of(message) + text_of(message, "html") + original_of(message) + str(message["Subject"])
    assert "statement" not in everything
    assert "मासिक" not in everything
    assert "secops@dept.gov.in" in text_of(message)
    assert "statement" in text_of(parsed(make(kind, level=Level.CONFIDENTIAL)))


HOSTILE_SUBJECTS = [
    b"x\r\n\r\n--=_0\r\nContent-Type: text/html\r\n\r\n<script>", b"\xff\xfe\x00\x07\x1b[31m", b"y" * 200_000,
    b"=?utf-8?B?" + b"QUFB" * 50_000 + b"?=",
    b"<img src=x onerror=alert(1)>", "\u202egpj.exe".encode(), b"a\rb\nc", b"=?utf-8?Q?a=0D=0ABcc:_x@example.com?=",
]  # fmt: skip


@pytest.mark.parametrize("subject", HOSTILE_SUBJECTS)
def test_L05_hostile_subjects_are_encoded_and_cut(subject: bytes) -> None:
    octets = make("held", recipients=[NOTE], original_headers=b"Subject: " + subject + b"\r\nTo: a@b\r\n\r\nbody")
    message = parsed(octets)
    assert len(octets) < 80_000
    assert list(message.keys()).count("Bcc") == 0
    assert "<script>" not in text_of(message, "html")
    assert "<img" not in text_of(message, "html")
    assert "\x1b" not in text_of(message)
    assert "\u202e" not in text_of(message)


@pytest.mark.parametrize("word", ["a\r\nBcc: x@example.com", "<b>x</b>", "\u202egpj.exe", "x" * 100_000, "{0.__class__}", "--=_x"])
def test_L05_hostile_file_names_and_replies_are_encoded_and_cut(word: str) -> None:
    one = RecipientReport(
        "desk@ministry.gov.in", "4.7.1", "attachment-unencrypted", {"file": word, "level": "CONFIDENTIAL"}, diagnostic=f"550 {word}",
        remote_mta=word, rule=word, source=word,
    )  # fmt: skip
    octets = make("held", recipients=[one], note=word, envid=word, original_headers=b"Message-ID: " + word.encode() + b"\r\n\r\n")
    message = parsed(octets)
    assert message["Bcc"] is None
    assert all(part["Bcc"] is None for part in status_of(message))
    assert len(status_of(message)) == 2
    assert "<b>" not in text_of(message, "html")
    assert len(octets) < 40_000


def test_headers_are_bounded_by_whole_fields() -> None:
    many = b"".join(b"X-Field-%d: %s\r\n" % (index, b"v" * 100) for index in range(5000))
    shown = original_of(parsed(make(original_headers=many + b"\r\n", header_limit=10_000)))
    assert 9_000 < len(shown) <= 10_200
    assert shown.rstrip().endswith("v" * 100)


def test_eight_bit_and_long_headers_stay_readable() -> None:
    header = b"Subject: " + "परीक्षा".encode() + b"\r\nX-Long: " + b"z" * 3000 + b"\r\n\r\n"
    message = parsed(make(original_headers=header))
    assert list(message.iter_parts())[2]["Content-Transfer-Encoding"] == "quoted-printable"
    assert "Subject: परीक्षा" in original_of(message)
    assert "z" * 3000 in original_of(message)


def test_international_addresses() -> None:
    octets = CASES["failed-international"]()
    message = parsed(octets)
    assert message.get_param("report-type") == "global-delivery-status"
    assert "Final-Recipient: utf-8; उदाहरण@xn--p1b6ci4b4b3a.xn--h2brj9c\r\n".encode() in octets
    narrow = make(recipients=[RecipientReport("उ@a.gov.in", "5.7.1", "refused-by-rule")], smtputf8=False)
    assert narrow.isascii()
    assert status_of(parsed(narrow))[1]["Final-Recipient"] == "utf-8; \\x{909}@a.gov.in"


def test_a_report_of_plain_ascii_is_seven_bit() -> None:
    octets = make(languages=("en",), original_headers=b"To: a@b.in\r\n\r\n")
    assert octets.isascii()
    assert b"What happened:" in octets
    assert b"base64" not in octets


def test_recipients_with_one_reason_share_its_text() -> None:
    text = text_of(parsed(CASES["failed-private-provider"]()))
    assert (text.count("What to do next"), text.count("अब क्या करें")) == (1, 1)
    assert text.count("somebody@gmail.com") == 2 * len(COMMON["languages"])
    assert "Rediff is a private e-mail provider" in " ".join(text.split())


def test_a_report_on_nobody_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="needs a recipient"):
        make(recipients=[])


def test_no_usable_message_id_makes_no_thread() -> None:
    for value in (b"", b"Message-ID: nonsense\r\n", b"Message-ID: <a b>\r\n", b"Message-ID: <" + b"x" * 400 + b">\r\n"):
        message = parsed(make(original_headers=value + b"\r\n"))
        assert message["In-Reply-To"] is None
