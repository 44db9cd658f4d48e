"""The door's own reading: what it answers itself, and that it asks the inspector about everything else."""

from __future__ import annotations

import base64
import hashlib
import quopri
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Limits
from gateway.levels import Level
from gateway.message import plain, views
from gateway.message.prescan import canonical, prescan
from gateway.text.markings import Scheme
from gateway.verdict import Inspection, LeafState, Zone
from tests.test_view_probes import PAYLOAD, PROBES

ROOT = Path(__file__).parent.parent
SCHEME = Scheme.parse((ROOT / "rules" / "scheme.toml").read_text("utf-8"))
LIMITS = Limits()
TOP = b"From: a@dept.gov.in\r\nTo: b@finance.nic.in\r\nSubject: Papers\r\nMIME-Version: 1.0\r\n"
UTF8 = b"Content-Type: text/plain; charset=utf-8\r\n"


def door(content: bytes, *, want_text: bool = False) -> Inspection | None:
    return plain.inspect(content, hashlib.sha256(content).hexdigest(), LIMITS, SCHEME, want_text=want_text)


def test_a_plain_message_is_answered() -> None:
    content = TOP + UTF8 + b"\r\nDear Sir,\r\n\r\nThe papers are enclosed.\r\n"
    result = door(content, want_text=True)
    assert result is not None
    assert result.sha256 == hashlib.sha256(content).hexdigest()
    (leaf,) = result.leaves
    assert (leaf.path, leaf.media_type, leaf.state, leaf.is_attachment) == ("1", "text/plain", LeafState.INSPECTED, False)
    assert result.texts == (("1", "Dear Sir,\r\n\r\nThe papers are enclosed.\r\n"),)
    assert result.findings == ()
    assert result.ambiguity == ()
    assert (result.headers.subject, result.headers.from_addresses) == ("Papers", ("a@dept.gov.in",))


def test_markings_are_found_in_subject_body_and_labels() -> None:
    content = (
        TOP.replace(b"Papers", b"[SECRET] Papers")
        + b'SIO-Label: marking="RESTRICTED"\r\n'
        + UTF8
        + b"\r\nCONFIDENTIAL\r\n\r\nDear Sir,\r\n"
    )
    result = door(content)
    assert result is not None
    assert {(found.level, found.path) for found in result.findings} == {
        (Level.SECRET, "header:Subject"), (Level.RESTRICTED, "header:SIO-Label"), (Level.CONFIDENTIAL, "1"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("head", "body", "text"),
    [
        (b"", b"plain\r\n", "plain\r\n"),
        (b"Content-Type: text/plain\r\n", b"plain\r\n", "plain\r\n"),
        (UTF8 + b"Content-Transfer-Encoding: 8bit\r\n", "गोपनीय\r\n".encode(), "गोपनीय\r\n"),
        (UTF8 + b"Content-Transfer-Encoding: quoted-printable\r\n", quopri.encodestring("गोपनीय\r\n".encode()), "गोपनीय\r\n"),
        (UTF8 + b"Content-Transfer-Encoding: base64\r\n", base64.encodebytes("गोपनीय\r\n".encode()).replace(b"\n", b"\r\n"), "गोपनीय\r\n"),
        (b"Content-Type: text/plain; charset=ISO-8859-1\r\n", b"caf\xe9 \x93x\x94\r\n", "café “x”\r\n"),
        (b"Content-Type: text/plain; charset=windows-1252; format=flowed\r\nContent-Disposition: inline\r\n", b"ascii\r\n", "ascii\r\n"),
        (UTF8, b"", ""),
    ],
)
def test_what_leaves_no_choice_is_answered(head: bytes, body: bytes, text: str) -> None:
    result = door(TOP + head + b"\r\n" + body, want_text=True)
    assert result is not None
    assert result.texts == (("1", text),)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Type: text/html\r\n", b"<p>x</p>\r\n"),
        (b"Content-Type: multipart/mixed; boundary=B\r\n", b"--B\r\n\r\nx\r\n--B--\r\n"),
        (b"Content-Type: application/pdf\r\n", b"%PDF\r\n"),
        (b"Content-Type: message/rfc822\r\n", TOP + b"\r\nx\r\n"),
        (b'Content-Type: text/plain; name="a.txt"\r\n', b"x\r\n"),
        (UTF8 + b"Content-Disposition: attachment\r\n", b"x\r\n"),
        (b"Content-Type: text/plain; charset=x-unknown\r\n", b"x\r\n"),
        (b"Content-Type: text/plain; charset=utf-7\r\n", b"+U0VDUkVU-\r\n"),
        (b"Content-Type: text/plain; charset=iso-2022-jp\r\n", b"x\r\n"),
        (b"", b"\xe9\r\n"),
        (b"Content-Type: text/plain; charset=us-ascii\r\n", "गोपनीय\r\n".encode()),
        (b"Content-Type: text/plain; charset=iso-8859-1\r\n", "गोपनीय\r\n".encode()),
        (UTF8, b"caf\xe9\r\n"),
        (UTF8, b"\x1b$B\r\n"),
        (UTF8 + b"Content-Transfer-Encoding: x-uuencode\r\n", b"x\r\n"),
        (UTF8 + b"Content-Transfer-Encoding: quoted-printable\r\n", b"=ZZ\r\n"),
        (UTF8 + b"Content-Transfer-Encoding: base64\r\n", b"QUJD!\r\n"),
        (UTF8, b"<html><body>x</body></html>\r\n"),
        (UTF8, b"MZ\x90 x\r\n"),
        (UTF8, b"{\\rtf1 x}\r\n"),
        (UTF8, b"see\r\n" + base64.encodebytes(PAYLOAD).replace(b"\n", b"\r\n")),
        (UTF8, b"begin 644 x\r\n#0V%T\r\n`\r\nend\r\n"),
        (b"From: c@dept.gov.in\r\n" + UTF8, b"x\r\n"),
        (b"broken line\r\n" + UTF8, b"x\r\n"),
        (UTF8 + UTF8, b"x\r\n"),
        (UTF8, b"bare\nline\r\n"),
        (UTF8, b"x" * 998 + b"\r\n" + b"word \r\n" * 200_000),
    ],
)
def test_the_rest_is_for_the_inspector(head: bytes, body: bytes) -> None:
    assert door(TOP + head + b"\r\n" + body) is None


@pytest.mark.parametrize(
    "content", [b"", b"\r\n", b"\r\nbody\r\n", b"no header at all\r\n", b"From: x\r\n\r\nbody\r\n", TOP + b"X: y\r\n" * 2000 + b"\r\n"]
)
def test_odd_messages_are_for_the_inspector(content: bytes) -> None:
    assert door(content) is None


@pytest.mark.parametrize("shape", PROBES)
def test_M01_no_shape_of_the_probe_is_answered_by_the_door(shape: str) -> None:
    assert door(PROBES[shape]) is None or PAYLOAD in PROBES[shape]


def test_a_message_is_answered_only_when_the_strict_reader_agrees_with_it() -> None:
    for path in sorted((ROOT / "tests" / "corpus" / "mime").glob("good-*.eml")):
        content = canonical(path.read_bytes())
        result = door(content)
        if result is not None:
            scan = prescan(content, LIMITS)
            view = views.strict(content, scan, LIMITS)
            assert (view.ambiguity, [part.media_type for part in view.parts]) == ((), ["text/plain"])
            assert views.summary(view, scan) == result.headers


def test_every_subject_field_counts_and_encoded_words_are_read() -> None:
    fields = (("Subject", "Papers"), ("subject", "=?utf-8?B?W+Ckl+Cli+CkquCkqOClgOCkr10=?= Papers"))
    found = plain.root_findings(fields, SCHEME)
    assert {(one.level, one.zone) for one in found} == {(Level.CONFIDENTIAL, Zone.SUBJECT)}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                UTF8,
                b"Content-Type: text/plain\r\n",
                b"Content-Transfer-Encoding: base64\r\n",
                b"Content-Transfer-Encoding: 8bit\r\n",
                b"X: y\r\n",
                b" folded\r\n",
                b"From: d@gov.in\r\n",
                b"bad\r\n",
                b"Subject: z\r\n",
            ]
        ),
        max_size=4,
    ),
    st.one_of(st.binary(max_size=80), st.text(max_size=80).map(str.encode)),
)
def test_the_door_never_fails_and_never_answers_what_is_ambiguous(head: list[bytes], body: bytes) -> None:
    content = TOP + b"".join(head) + b"\r\n" + body
    result = door(content)
    if result is not None:
        view = views.strict(content, prescan(content, LIMITS), LIMITS)
        assert view.ambiguity == ()
        assert len(view.parts) == 1


def test_a_broken_label_is_not_for_the_door() -> None:
    content = b"From: <a@dept.gov.in>\r\nSubject: x\r\nX-Protective-Marking: VER=2018.4, NS=gov.in\r\n\r\ntext\r\n"
    assert plain.inspect(content, "0" * 64, LIMITS, SCHEME) is None
