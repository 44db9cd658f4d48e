"""Reports are ordinary mail: their fields, the names servers give themselves, and header fields that somebody quotes."""

from __future__ import annotations

import pytest

from gateway.message import rawscan, report_fields, views
from gateway.message.mailboxes import NOT_ONE_ADDRESS
from gateway.verdict import LeafState
from tests.content_mail import inspect
from tests.mime_messages import B64, TEXT, TOP, look, multipart, reasons

STATUS = b"Reporting-MTA: dns; mx.example.org\r\nX-Queue: 1\r\n\r\nFinal-Recipient: rfc822;a@b.example\r\nAction: failed\r\n\tfolded\r\n"
READ = b"Reporting-UA: mail.example.org; Program\r\nDisposition: manual-action/MDN-sent-manually; displayed\r\n"


def report(kind: bytes, content: bytes) -> bytes:
    return multipart(TEXT, b"Content-Type: message/" + kind + b"\r\n\r\n" + content, subtype=b"report")


def differences(content: bytes) -> tuple[str, ...]:
    view = look(content)
    return (*view.ambiguity, *views.disagreements(view, views.lenient(content, view.parts)))


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"delivery-status", STATUS),
        (b"delivery-status", STATUS.replace(b"\r\nAction", b"\r\n\r\n\r\nAction")),
        (b"disposition-notification", READ),
        (b"disposition-notification", READ + b"\r\n"),
        (b"feedback-report", b"Feedback-Type: abuse\r\nVersion: 1\r\n"),
        (b"global-delivery-status", "Reporting-MTA: dns; mx\r\n\r\nFinal-Recipient: utf-8; जाँच@उदाहरण.example\r\n".encode()),
        (b"global-headers", b'Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="i"\r\n\r\n'),
        (b"delivery-status", b"Content-Type: text/plain\r\n"),
    ],
)
def test_the_fields_of_a_report_are_not_ambiguous(kind: bytes, content: bytes) -> None:
    assert differences(report(kind, content)) == ()
    found = inspect(report(kind, content))
    assert {leaf.state for leaf in found.leaves} == {LeafState.INSPECTED}


@pytest.mark.parametrize("kind", [b"delivery-status", b"disposition-notification", b"global-headers", b"feedback-report"])
@pytest.mark.parametrize(
    "content",
    [
        b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + B64,
        READ + b"Content-Transfer-Encoding: base64\r\n\r\nSubject: x\r\n",
        READ + b"\r\nMIME-Version: 1.0\r\nX: y\r\n",
    ],
)
def test_M32_what_a_report_makes_a_reader_decode_is_no_group_of_fields(kind: bytes, content: bytes) -> None:
    assert report_fields.rest("message/" + kind.decode(), content) is None


def test_M32_a_file_in_the_fields_of_a_report_is_ambiguous_and_read() -> None:
    content = report(b"disposition-notification", b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + B64)
    found = inspect(content)
    assert found.ambiguity
    assert any(leaf.media_type == "application/pdf" for leaf in found.leaves)


def test_words_among_the_fields_of_a_report_are_found() -> None:
    found = inspect(report(b"delivery-status", STATUS + b"\r\nDiagnostic-Code: x\r\nX-Text: y\r\n\r\nSECRET: z\r\n"))
    assert report_fields.rest("message/delivery-status", b"SECRET\r\n\r\nthe note\r\n") is None
    assert found.ambiguity == ()


def test_only_types_of_reports_are_excused() -> None:
    assert report_fields.rest("message/rfc822", STATUS) is None
    assert report_fields.rest("text/plain", STATUS) is None
    assert report_fields.rest("message/delivery-status", b"") == b""


@pytest.mark.parametrize(
    "author",
    ["Mail Delivery Subsystem <MAILER-DAEMON>", "MAILER-DAEMON (Mail Delivery System)", "mailer-daemon", "<MAILER-DAEMON>", "postmaster"],
)
def test_what_servers_call_themselves_is_no_doubt_and_nobody(author: str) -> None:
    content = TOP.replace(b"a@dept.gov.in", author.encode()) + b"\r\nx\r\n"
    assert reasons(content) == ""
    assert inspect(content).headers.from_addresses == ()


@pytest.mark.parametrize(
    "author",
    [
        "secretary", "<root>", "Minister <minister@dept.gov.in> <MAILER-DAEMON>", '"a@dept.gov.in" <MAILER-DAEMON>',
        "MAILER-DAEMON, a@dept.gov.in", "postmaster (a@dept.gov.in)", "=?utf-8?q?Minister?= <MAILER-DAEMON>", "x\t<MAILER-DAEMON>, x",
    ],
)  # fmt: skip
def test_A24_other_names_without_a_domain_are_nobody_in_particular(author: str) -> None:
    assert NOT_ONE_ADDRESS in reasons(TOP.replace(b"a@dept.gov.in", author.encode()) + b"\r\nx\r\n")


PASTED = (
    b"Look at these header fields:\r\n\r\nReceived: from a by b;\r\nwith SMTP id 1\r\nMessage-ID:\r\n<1@example.org>\r\n"
    b"From: x@example.org\r\n"
    b'MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n        charset="iso-8859-1"\r\n%s\r\nHi there,\r\n'
)


def test_quoted_header_fields_in_a_text_are_no_doubt() -> None:
    found = inspect(TOP + b"\r\n" + PASTED % b"Content-Transfer-Encoding: 7bit\r\n")
    assert found.ambiguity == ()
    assert {leaf.state for leaf in found.leaves} == {LeafState.INSPECTED}


@pytest.mark.parametrize(
    "more",
    [
        b"Content-Transfer-Encoding: base64\r\n", b"Content-Type: text/html\r\n", b"Content-Type: application/pdf\r\n",
        b"Content-Type: text/plain; charset=utf-7\r\n", b'Content-Type: multipart/mixed; boundary="x"\r\n',
        b"Content-Transfer-Encoding: quoted-printable\r\n", b"Content-Type: text/plain; charset*0=utf-16\r\n",
    ],
)  # fmt: skip
def test_M26_a_pasted_entity_that_must_be_decoded_stays_suspect(more: bytes) -> None:
    found = inspect(TOP + b"\r\n" + PASTED % more)
    assert LeafState.SUSPECT in {leaf.state for leaf in found.leaves}


def test_M26_what_stands_outside_of_all_parts_is_never_only_quoted() -> None:
    assert not rawscan.is_plain(rawscan.Blob("-@10", "mime", b"Content-Type: text/plain\r\n\r\nx\r\n"))
    assert not rawscan.is_plain(rawscan.Blob("1@10", "base64", b"x"))
    assert rawscan.is_plain(rawscan.Blob("1@10", "mime", b"Content-Type: text/plain\r\n\r\nx\r\n"))
