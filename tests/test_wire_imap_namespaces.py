"""Which mailboxes are others', out of what IMAP servers say of their namespaces."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.imap_events import ImapError
from gateway.wire.imap_namespaces import Namespaces, end_of

DOVECOT = b'* NAMESPACE (("" "/")) (("shared/" "/")) (("Public/" "/"))\r\n'
CYRUS = b'* NAMESPACE (("INBOX." ".")) (("user." ".")) (("" "."))\r\n'
COURIER = b'* NAMESPACE (("INBOX." ".")) NIL (("#shared." ".")("shared." "."))\r\n'
UW = b'* NAMESPACE (("" "/")("#mhinbox" NIL)("#mh/" "/")) (("~" "/")) (("#shared/" "/")("#ftp/" "/")("#news." ".")("#public/" "/"))\r\n'
HINDI = '* NAMESPACE (("" "/")) NIL (("&CTgJPgkdCT4-/" "/" "TRANSLATION" ("साझा/")))\r\n'.encode()
LITERAL = b'* NAMESPACE (("" "/")) NIL (({8}\r\nPublic "/ "/"))\r\n'


@pytest.mark.parametrize(
    ("said", "name", "others"),
    [
        (DOVECOT, b"INBOX", False), (DOVECOT, b"Drafts", False), (DOVECOT, b"Public", True), (DOVECOT, b"Public/Notices", True),
        (DOVECOT, b"public/notices", True), (DOVECOT, b"PUBLIC/x", True), (DOVECOT, b"shared/ravi/INBOX", True),
        (DOVECOT, b"Publications", False), (DOVECOT, b"sharedstuff", False), (DOVECOT, b"my/shared/x", False),
        (DOVECOT, b"&AFAAdQBiAGwAaQBj-/x", True), (DOVECOT, b"P&AHUAYgBsAGkAYw-/x", True), (DOVECOT, b"&broken", False),
        (CYRUS, b"INBOX", False), (CYRUS, b"inbox.Drafts", False), (CYRUS, b"INBOX.Drafts", False), (CYRUS, b"user.ravi", True),
        (CYRUS, b"department.notices", True), (CYRUS, b"Drafts", True),
        (COURIER, b"INBOX.Sent", False), (COURIER, b"shared.x", True), (COURIER, b"#shared.x.y", True), (COURIER, b"other", False),
        (UW, b"mail/x", False), (UW, b"~ravi/x", True), (UW, b"#news.x", True), (UW, b"#mh/x", False),
        (HINDI, "साझा/x".encode(), True), (HINDI, b"&CTgJPgkdCT4-/x", True), (HINDI, "अपना".encode(), False),
        (LITERAL, b'Public "/x', True), (LITERAL, b"Public", False),
        (b"* namespace nil nil nil\r\n", b"x", False), (b'* NAMESPACE (("" "/")) NIL (("" "/"))\r\n', b"x", False),
        (b'* NAMESPACE (("" "/")) (("Other Users/" "/")) NIL\r\n', b"Other Users", True),
        (b'* NAMESPACE (("" "\\\\")) (("A\\"B\\\\" "\\\\")) NIL\r\n', b'A"B\\x', True),
    ],
)  # fmt: skip
def test_I06_whose_mailbox_it_is(said: bytes, name: bytes, others: bool) -> None:
    assert end_of(said, 0) == len(said)
    assert Namespaces.parse(said).are_others(name) is others


@pytest.mark.parametrize(
    "said",
    [
        b"* NAMESPACE\r\n", b"* NAMESPACE NIL NIL\r\n", b"* NAMESPACE NIL NIL NIL NIL\r\n", b'* NAMESPACE (("" "/") NIL NIL\r\n',
        b'* NAMESPACE "x" NIL NIL\r\n', b"* NAMESPACE (NIL) NIL NIL\r\n", b'* NAMESPACE ((NIL "/")) NIL NIL\r\n',
        b"* NAMESPACE ) ( NIL\r\n",
        b"* NAMESPACE " + b"(" * 100 + b")" * 100 + b" NIL NIL\r\n", b'* NAMESPACE (("x)) NIL NIL\r\n',
        b'* NAMESPACE (("x" ("/"))) NIL NIL\r\n',
    ],
)  # fmt: skip
def test_I02_a_list_that_cannot_be_read_is_none(said: bytes) -> None:
    with pytest.raises(ImapError):
        Namespaces.parse(said)


def test_I02_literals_of_the_list_are_short_and_waited_for() -> None:
    for cut in range(len(LITERAL)):
        assert end_of(LITERAL[:cut], 0) == -1
    assert end_of(b"* 1 EXISTS\r\n" + LITERAL + b"x OK\r\n", 12) == 12 + len(LITERAL)
    for huge in (b"{10000}", b"{4294967296}", b"{-1}", b"{1+}"):
        with pytest.raises(ImapError):
            end_of(b"* NAMESPACE ((" + huge + b"\r\n", 0)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200), st.lists(st.sampled_from([b"(", b")", b" ", b'"', b"NIL", b"/", b"{3}\r\n", b"\\", b"a"])).map(b"".join)
    )
)
def test_I02_whatever_is_said_it_is_a_list_or_the_one_error(said: bytes) -> None:
    with contextlib.suppress(ImapError):
        Namespaces.parse(b"* NAMESPACE " + said + b"\r\n").are_others(said)
