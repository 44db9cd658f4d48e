"""The strict reader: what it splits, and that it says so wherever readers may disagree.

Ids are those of the hostile-inputs catalogue, group M; names and transfer encodings are in test_view_parts.py.
"""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from gateway.message import views
from gateway.message.prescan import canonical
from tests.mime_messages import PAYLOAD, PDF, TEXT, TOP, look, multipart, payload_seen, reasons, single

CORPUS = Path(__file__).parent / "corpus" / "mime"


# --- what is plainly well-formed is read without a word ----------------------------------------------------------------


def test_a_plain_message_is_one_part() -> None:
    view = look(TOP + b"\r\nDear Sir,\r\n")
    assert view.ambiguity == ()
    (part,) = view.parts
    assert (part.number, part.media_type, part.decoded(), part.is_attachment) == ("1", "text/plain", b"Dear Sir,\r\n", False)


def test_parts_are_numbered_as_imap_does_and_decoded() -> None:
    inner = (
        b'Content-Type: multipart/alternative; boundary="I"\r\n\r\n--I\r\n'
        + TEXT
        + b"--I\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n--I--\r\n"
    )
    enclosed = b"Content-Type: message/rfc822\r\n\r\n" + TOP + b"\r\ninner body\r\n"
    view = look(multipart(inner, PDF, enclosed))
    assert view.ambiguity == ()
    assert [(p.number, p.media_type, p.is_attachment) for p in view.parts] == [
        ("1.1", "text/plain", False),
        ("1.2", "text/html", False),
        ("2", "application/pdf", True),
        ("3.header", "text/rfc822-headers", False),
        ("3.1", "text/plain", False),
    ]
    assert view.parts[2].decoded() == PAYLOAD
    assert view.parts[2].names == ("a.pdf",)
    assert dict(view.parts[3].headers)["Subject"] == "Papers"
    assert view.parts[4].decoded() == b"inner body"


def test_an_enclosed_multipart_counts_below_its_part() -> None:
    enclosed = b"Content-Type: message/rfc822\r\n\r\n" + multipart(TEXT, PDF, boundary=b"IN")
    assert [p.number for p in look(multipart(TEXT, enclosed)).parts] == ["1", "2.header", "2.1", "2.2"]


def test_raw_is_a_slice_of_the_message_not_a_copy() -> None:
    content = multipart(TEXT, PDF)
    part = look(content).parts[1]
    assert part.raw.obj is content
    assert content[part.offset : part.offset + len(part.raw)] == part.raw


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: text/plain; charset=utf-8;\r\nContent-Transfer-Encoding: 8BIT\r\n",
        b'Content-Type: text/plain;\r\n\tcharset="us-ascii";\r\n format=flowed\r\nContent-Disposition: inline\r\n',
        b"Content-Type: TEXT/PLAIN; CHARSET=ISO-8859-1\r\nMime-Version: 1.0\r\n".replace(b"Mime-Version: 1.0\r\n", b""),
        b"X-Odd: \x80\xff\r\nReceived: from x by y;\r\n\tSat, 21 Nov 2026 10:00:00 +0530\r\n",
    ],
)
def test_ordinary_headers_are_not_ambiguous(head: bytes) -> None:
    assert look(single(head, b"text\r\n")).ambiguity == ()


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.glob("good-*.eml")))
def test_mail_made_by_real_tools_is_not_ambiguous(name: str) -> None:
    content = canonical((CORPUS / name).read_bytes())
    view = look(content)
    assert view.ambiguity == ()
    assert view.parts
    assert views.disagreements(view, views.lenient(content, view.parts)) == ()


def test_harmless_text_around_parts_is_read_and_not_ambiguous() -> None:
    content = (
        multipart(TEXT, PDF).replace(b"\r\n\r\n--B", b"\r\n\r\nThis is a multi-part message in MIME format.\r\n--B", 1)
        + b"\r\n-- \r\nlist footer\r\n"
    )
    view = look(content)
    assert view.ambiguity == ()
    assert [(p.number, p.decoded()) for p in view.parts if "." in p.number] == [("1.epilogue", b"\r\n-- \r\nlist footer\r\n")]


# --- M: structure -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_M02_two_content_types_are_ambiguous_and_the_parts_are_seen(order: tuple[int, int]) -> None:
    heads = (b"Content-Type: text/plain\r\n", b"Content-Type: multipart/mixed; boundary=B\r\n")
    content = multipart(TEXT, PDF, head=heads[order[0]] + heads[order[1]])
    assert "two Content-Type fields" in reasons(content)
    assert payload_seen(content)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"Content-Type: multipart/mixed; boundary=A; boundary=B\r\n", "boundary given twice"),
        (b"Content-Type: multipart/mixed; boundary=B\r\nContent-Type: multipart/mixed; boundary=C\r\n", "two Content-Type fields"),
        (b'Content-Type: multipart/mixed; boundary=""\r\n', "an empty boundary"),
        (b'Content-Type: multipart/mixed; boundary="   "\r\n', "an empty boundary"),
        (b"Content-Type: multipart/mixed\r\n", "a multipart without a boundary"),
        (b"Content-Type: text/plain; boundary=B\r\n", "a boundary on what is no multipart"),
    ],
)
def test_M03_doubtful_boundaries(head: bytes, reason: str) -> None:
    assert reason in reasons(multipart(TEXT, PDF, head=head))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"Content-Type: multipart/mixed; boundary*=us-ascii''B\r\n", "a boundary in pieces or with a character set"),
        (b"Content-Type: multipart/mixed; boundary*0=B\r\n", "a boundary in pieces or with a character set"),
        (b'Content-Type: multipart/mixed; boundary*0="A"; boundary=B\r\n', "boundary given twice"),
        (b'Content-Type: multipart/mixed; boundary="=?us-ascii?Q?B?="\r\n', "an encoded word as boundary"),
    ],
)
def test_M04_boundaries_in_disguise(head: bytes, reason: str) -> None:
    assert reason in reasons(multipart(TEXT, PDF, head=head))


def test_M05_a_line_that_begins_like_a_boundary() -> None:
    content = multipart(TEXT, PDF).replace(b"--B\r\nContent-Type: application", b"--Bxyz\r\nContent-Type: application")
    assert "a line that begins like a boundary" in reasons(content)


def test_M05_white_space_after_a_boundary() -> None:
    content = multipart(TEXT, PDF).replace(b"--B\r\nContent-Type: application", b"--B \r\nContent-Type: application")
    assert "white space after a boundary" in reasons(content)
    assert payload_seen(content)


def test_M05_a_boundary_over_the_limit_or_with_odd_octets() -> None:
    assert "over the limit of 70 octets of boundary" in reasons(multipart(TEXT, PDF, boundary=b"x" * 71))
    assert "a boundary with odd octets" in reasons(multipart(TEXT, PDF, head=b'Content-Type: multipart/mixed; boundary="B\x01"\r\n'))


def test_M06_a_part_after_the_closing_boundary() -> None:
    content = multipart(TEXT) + b"--C\r\n" + PDF + b"--C--\r\n"
    assert "text after the closing boundary that looks like a part" in reasons(content)
    assert payload_seen(content)


def test_M06_a_part_before_the_first_boundary() -> None:
    content = multipart(TEXT).replace(b"\r\n\r\n--B", b"\r\n\r\n--C\r\n" + PDF + b"--C--\r\n--B", 1)
    assert "text before the first boundary that looks like a part" in reasons(content)
    assert payload_seen(content)


def test_M06_the_boundary_again_after_the_closing_one() -> None:
    content = multipart(TEXT) + b"--B\r\n" + PDF + b"--B--\r\n"
    assert "a boundary after the closing boundary" in reasons(content)


def test_M06_plain_text_outside_of_parts_is_a_part_of_the_view() -> None:
    content = multipart(TEXT) + b"SECRET\r\n"
    assert [p.decoded() for p in look(content).parts if p.number == "1.epilogue"] == [b"SECRET\r\n"]


def test_M07_no_closing_boundary() -> None:
    content = multipart(TEXT, PDF).removesuffix(b"--B--\r\n")
    assert "no closing boundary" in reasons(content)
    assert payload_seen(content)


def test_M07_the_boundary_never_appears() -> None:
    assert "the boundary never appears" in reasons(TOP + b"Content-Type: multipart/mixed; boundary=B\r\n\r\n--C\r\n" + PDF + b"--C--\r\n")


def test_M07_the_same_boundary_nested() -> None:
    inner = b"Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n" + PDF + b"--B--\r\n"
    assert "the boundary of an outer multipart again" in reasons(multipart(TEXT, inner)) or "the boundary never appears" in reasons(
        multipart(TEXT, inner)
    )


@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable"])
def test_M08_a_multipart_with_a_transfer_encoding(encoding: bytes) -> None:
    head = b"Content-Type: multipart/mixed; boundary=B\r\nContent-Transfer-Encoding: " + encoding + b"\r\n"
    body = multipart(TEXT, PDF).partition(b"\r\n\r\n")[2]
    assert "a multipart with a transfer encoding" in reasons(multipart(TEXT, PDF, head=head))
    encoded = base64.encodebytes(body).replace(b"\n", b"\r\n")
    assert "a multipart with a transfer encoding" in reasons(TOP + head + b"\r\n" + encoded)


def test_M09_an_enclosed_message_in_base64_is_left_whole_for_recursion() -> None:
    inner = base64.encodebytes(multipart(TEXT, PDF)).replace(b"\n", b"\r\n")
    view = look(multipart(TEXT, b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + inner))
    assert view.parts[1].media_type == "message/rfc822"
    assert view.parts[1].decoded() == multipart(TEXT, PDF)


@pytest.mark.parametrize("depth", [3, 200])
def test_M09_enclosed_messages_to_the_limit(depth: int) -> None:
    content = TOP + b"\r\nthe innermost\r\n"
    for _ in range(depth):
        content = TOP + b"Content-Type: message/rfc822\r\n\r\n" + content
    said = reasons(content)
    assert ("over the limit of 20 nested parts" in said) == (depth > 20)


@pytest.mark.parametrize("kind", [b"message/partial; id=x; number=1; total=2", b"message/external-body; access-type=anon-ftp"])
def test_M10_content_that_is_not_in_the_message(kind: bytes) -> None:
    assert "the content is not in this message" in reasons(single(b"Content-Type: " + kind + b"\r\n", b"x\r\n"))


def test_M11_every_alternative_is_a_part() -> None:
    assert len(look(multipart(TEXT, PDF, subtype=b"alternative")).parts) == 2


def test_M12_signed_and_encrypted_are_split_like_mixed() -> None:
    for subtype in (b"signed", b"encrypted"):
        assert [p.media_type for p in look(multipart(TEXT, PDF, subtype=subtype)).parts] == ["text/plain", "application/pdf"]


@pytest.mark.parametrize(
    "value",
    [
        b"multi\0part/mixed; boundary=B",
        b"(x)multipart/mixed; boundary=B",
        b"multipart/(x)mixed; boundary=B",
        b"MULTIPART/mixed ;;; boundary=B",
        b"multipart/mixed boundary=B",
        b"multipart; boundary=B",
        b"",
        b"multipart/mixed; boundary",
        b"multipart/mixed; boundary=B; boundary",
        b"multipart//mixed; boundary=B",
        b'"multipart/mixed"; boundary=B',
        b"multipart/mixed; (x) boundary=B",
        b"multipart/mixed; boundary=(x)B",
        b'multipart/mixed; boundary="B',
        b"multipart/mixed; boundary='B'",
        b'multipart/mixed; boundary="\\B"',
        b"multipart/mixed; boundary =B",
        b"multipart/mixed; boundary= B",
        b"=?us-ascii?q?multipart/mixed?=; boundary=B",
        b"multipart/mixed, boundary=B",
        b"multipart/mixed;\x0bboundary=B",
    ],
)
def test_M13_content_types_that_readers_take_differently(value: bytes) -> None:
    assert look(multipart(TEXT, PDF, head=b"Content-Type: " + value + b"\r\n")).ambiguity


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (b"Content-Type:", b"Content-Type :", "white space between a field name and its colon"),
        (b"Content-Type:", b"Content-Type\t:", "white space between a field name and its colon"),
        (b"Content-Type:", b"no colon here\r\nContent-Type:", "a line that is no header field"),
        (b"From:", b" From:", "a header section that begins with white space"),
        (b"From:", b"From a@dept.gov.in Sat Nov 21 10:00:00 2026\r\nFrom:", "a mailbox separator line"),
        (b"From:", b"\r\nFrom:", "an empty line before the header section"),
        (b"Content-Type:", b"Cont\xe9nt-Type: x\r\nContent-Type:", "a line that is no header field"),
        (b"Content-Type:", b": x\r\nContent-Type:", "a line that is no header field"),
        (b"Content-Type:", b'Content"-Type: x\r\nContent-Type:', "a field name with odd characters"),
    ],
)
def test_M14_lines_that_are_no_fields(before: bytes, after: bytes, reason: str) -> None:
    assert reason in reasons(multipart(TEXT, PDF).replace(before, after, 1))


def test_M15_a_header_section_split_in_odd_ways() -> None:
    content = multipart(TEXT, PDF)
    assert "a line of white space within the header section" in reasons(content.replace(b"MIME-Version", b" \r\nMIME-Version", 1))
    assert "a line of white space within the header section" in reasons(content.replace(b"\r\n\r\n", b"\r\n \r\n", 1))
    assert "a bare CR or LF" in reasons(content.replace(b"\r\n\r\n", b"\r\r\n\r\r\n", 1))
    assert "a bare CR or LF" in reasons(content.replace(b"\r\n\r\n", b"\n\n", 1))


def test_M16_odd_mime_versions() -> None:
    content = multipart(TEXT, PDF)
    assert reasons(content.replace(b"MIME-Version: 1.0\r\n", b"")) == ""
    assert "a MIME-Version other than 1.0" in reasons(content.replace(b"MIME-Version: 1.0", b"MIME-Version: 2.0"))
    assert "two MIME-Version fields" in reasons(content.replace(b"MIME-Version: 1.0", b"MIME-Version: 1.0\r\nMIME-Version: 1.0"))
    assert reasons(content.replace(b"MIME-Version: 1.0", b"MIME-Version: 1.0 (Apple Message framework v1.0)")) == ""
    assert reasons(content.replace(b"MIME-Version: 1.0", b"Mime-Version: 1.0 (Mac OS X Mail 16.0 \\(3826.200.121\\))")) == ""
    assert "a MIME-Version other than 1.0" in reasons(content.replace(b"MIME-Version: 1.0", b"MIME-Version: 1.0 (a) 2.0 (b)"))
