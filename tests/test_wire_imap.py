"""The mail program's side of IMAP without any I/O: commands with literals, what goes on, what is refused, any octets in any pieces."""

from __future__ import annotations

import random
import re
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.imap import Client
from gateway.wire.imap_capabilities import Offer
from gateway.wire.imap_commands import PASSED, WIDE, unfit
from gateway.wire.imap_events import (
    Append,
    AppendSize,
    Authenticate,
    AuthenticateLine,
    ClientEvent,
    Close,
    Forward,
    Limits,
    Login,
    Say,
    StartTls,
)
from gateway.wire.imap_responses import Server
from tests.wire_imap_pair import LIMITS, Pair


def events(data: bytes, *, size: int = 0, client: Client | None = None) -> list[ClientEvent]:
    """All events of *data*, given in pieces of *size*, where the server takes each literal and the door each message."""
    if client is None:
        client = Client(LIMITS)
        client.signed_in = True
    found: list[ClientEvent] = []
    for at in range(0, len(data), size or len(data) or 1):
        client.receive(data[at : at + (size or len(data))])
        while (event := client.next_event()) is not None:
            found.append(event)
            if isinstance(event, Forward) and event.waits:
                client.go_ahead()
            elif isinstance(event, AppendSize):
                client.take()
            elif isinstance(event, Authenticate | AuthenticateLine):
                client.go_ahead()
            elif isinstance(event, Login | StartTls) or (isinstance(event, Append) and not event.more):
                client.proceed()
            if isinstance(event, Forward) and event.tag:
                client.answered(event.tag + b"-other", True)
    return found


def joined(found: list[ClientEvent]) -> list[ClientEvent]:
    """Pieces of a literal as one."""
    out: list[ClientEvent] = []
    for one in found:
        last = out[-1] if out else None
        if isinstance(one, Forward) and not one.tag and isinstance(last, Forward) and not last.waits and not last.tag:
            out[-1] = Forward(last.octets + one.octets, verb=one.verb, waits=one.waits)
        else:
            out.append(one)
    return out


def said(found: list[ClientEvent]) -> bytes:
    return b"".join(one.octets for one in found if isinstance(one, Say | Close))


def forwarded(found: list[ClientEvent]) -> bytes:
    return b"".join(one.octets for one in found if isinstance(one, Forward))


# --- what goes on ---------------------------------------------------------------------------------------------------------

ORDINARY = [
    b'a1 SELECT "INBOX"\r\n',
    b"a2 uid fetch 1:* (FLAGS UID BODY.PEEK[HEADER.FIELDS (FROM TO \"SUBJECT\")])\r\n",
    b'a3 SEARCH CHARSET UTF-8 OR SUBJECT "a \\"b\\" {5} \\\\" NOT (DELETED)\r\n',
    b"a4 LIST (SUBSCRIBED) \"\" (\"%\" \"a/*\") RETURN (STATUS (MESSAGES))\r\n",
    b'a5 ID ("name" "mail program" "version" NIL)\r\n',
    b"a6 FETCH 1 (BINARY[1] BINARY.SIZE[2] BODY[1.2.MIME]<0.100> RFC822)\r\n",
    b"a7 Status &AOQ-rger (MESSAGES UIDNEXT)\r\n",
    b"a8 SELECT INBOX (QRESYNC (1 2 41,43:211))\r\n",
    b"a9 NOTIFY SET (SELECTED (MessageNew (FLAGS) MessageExpunge))\r\n",
    b"a10 STORE 1 +FLAGS.SILENT (\\Deleted $Junk)\r\n",
    b"a11 UID COPY 1:5 Archive\r\n",
    b"a12 MOVE 1 Trash\r\n",
    b"a13 CREATE &broken\r\n",
    "a14 SEARCH SUBJECT \"प्रिय\"\r\n".encode(),
    b"a15 NOOP \r\n",
]  # fmt: skip


@pytest.mark.parametrize("line", ORDINARY)
def test_I08_what_needs_no_judgement_goes_on_as_it_came(line: bytes) -> None:
    found = events(line)
    assert forwarded(found) == line
    assert said(found) == b""
    first = found[0]
    assert isinstance(first, Forward)
    assert first.tag == line.split(b" ")[0]
    assert first.verb in PASSED


def test_I08_literals_anywhere_go_on_and_wait_for_the_server() -> None:
    pair = Pair().client_says(b"a SEARCH CHARSET UTF-8 SUBJECT {3}\r\n")
    assert pair.to_server == b"a SEARCH CHARSET UTF-8 SUBJECT {3}\r\n"
    pair.server_says(b"+ go\r\n")
    assert pair.to_client == b"+ go\r\n"
    pair.client_says(b"a\r\n (FROM {1+}\r\nx)\r\nb NOOP\r\n")
    assert pair.to_server.endswith(b"a\r\n (FROM {1}\r\n")
    pair.server_says(b"+ \r\n").server_says(b"* SEARCH 1\r\na OK done\r\n")
    assert pair.to_server.endswith(b" (FROM {1}\r\nx)\r\nb NOOP\r\n")
    assert pair.to_client == b"+ go\r\n* SEARCH 1\r\na OK done\r\n"


def test_I02_a_literal_that_the_server_does_not_want_reaches_nobody() -> None:
    """A server that refuses a command would read a non-synchronising literal, and what follows, as commands."""
    pair = Pair().client_says(b"a SEARCH BROKEN {29+}\r\nb APPEND INBOX {6+}\r\nsecret\r\n" + b" {2+}\r\nxx\r\nc NOOP\r\n")
    assert pair.to_server == b"a SEARCH BROKEN {29}\r\n"
    pair.server_says(b"a BAD what?\r\n")
    assert pair.to_server == b"a SEARCH BROKEN {29}\r\nc NOOP\r\n"
    assert pair.to_client == b"a BAD what?\r\n"
    assert not pair.filed


def test_a_client_that_was_refused_a_literal_goes_on() -> None:
    pair = Pair().client_says(b"a SEARCH BROKEN {3}\r\n").server_says(b"a BAD what?\r\n").client_says(b"b NOOP\r\n")
    assert pair.to_server == b"a SEARCH BROKEN {3}\r\nb NOOP\r\n"


def test_a_tag_that_is_in_use_waits_for_its_reply() -> None:
    pair = Pair().client_says(b"a NOOP\r\na SEARCH TEXT {2+}\r\nhi\r\n")
    assert pair.to_server == b"a NOOP\r\n"
    pair.server_says(b"a OK\r\n")
    assert pair.to_server == b"a NOOP\r\na SEARCH TEXT {2}\r\n"
    pair.server_says(b"+ \r\n").server_says(b"a OK\r\n")
    assert pair.to_server.endswith(b"{2}\r\nhi\r\n")
    assert not pair.closed


def test_a_tag_is_free_once_its_command_is_refused() -> None:
    client = Client(LIMITS)
    client.receive(b'a LOGIN so "pw"\r\na NOOP\r\n')
    assert isinstance(client.next_event(), Login)
    assert client.next_event() is None
    client.proceed()
    assert client.next_event() == Forward(b"a NOOP\r\n", b"a", b"NOOP")


def test_nothing_of_what_was_taken_is_kept() -> None:
    client, server = Client(LIMITS), Server(Offer(1000))
    client.receive(b"a NOOP\r\n")
    while client.next_event() is not None:
        pass
    server.receive(b"* OK hello\r\n* 1 FETCH (BODY[] {5}\r\nhello)\r\n")
    while server.next_event() is not None:
        pass
    assert not client._stream._buffer
    assert not server._buffer


def test_a_server_that_answers_amid_a_command_ends_the_session() -> None:
    pair = Pair().client_says(b"a SEARCH TEXT {2}\r\n").server_says(b"+ \r\n").client_says(b"h").server_says(b"a NO\r\n")
    assert pair.closed == "answered too early"


def test_literals_of_nothing() -> None:
    assert forwarded(events(b"a SEARCH TEXT {0}\r\n {0+}\r\n\r\nb NOOP\r\n")) == b"a SEARCH TEXT {0}\r\n {0}\r\n\r\nb NOOP\r\n"


# --- what is refused ------------------------------------------------------------------------------------------------------

HIDDEN = [
    b"COMPRESS DEFLATE", b"REPLACE 1 INBOX {3+}\r\nabc", b"UID REPLACE 1 INBOX (\\Seen) {3+}\r\nabc", b"GENURLAUTH x INTERNAL",
    b"URLFETCH x", b"RESETKEY", b"UNAUTHENTICATE", b"UID APPEND INBOX {3+}\r\nabc", b"XPROXYAUTH other", b"PROXYAUTH other",
    b"CONVERT 1", b"X", b"UID", b'SETMETADATA Shared (/shared/comment {3+}\r\nabc)', b'GETMETADATA "" /private/comment',
    b'SETANNOTATION INBOX /comment ("value.shared" "a")', b'GETANNOTATION INBOX * "value.shared"',
    b'STORE 1 ANNOTATION (/comment (value.shared "abc"))', b"UID STORE 1 ANNOTATION (/comment (value.shared {3+}\r\nabc))",
    b"STORE 1 (UNCHANGEDSINCE 5) ANNOTATION (/comment (value.shared abc))", b"STORE 1 FLAGS {3+}\r\nabc", b'UID STORE 1:* +FLAGS ("abc")',
    b"STORE 1", b"STORE 1 FLAGSX (a)", b"STORE 1 (ANNOTATION (x)) FLAGS (a)",
    b"{6+}\r\nAPPEND INBOX", b"UID {5+}\r\nFETCH", b"NOOP x", b"IDLE {3+}\r\nabc", b"(NOOP)",
]  # fmt: skip


@pytest.mark.parametrize("command", HIDDEN)
def test_I06_I09_hidden_commands_are_refused_with_their_literals(command: bytes) -> None:
    found = events(b"a " + command + b"\r\nb NOOP\r\n")
    assert said(found).startswith(b"a BAD ")
    assert said(found).count(b"\r\n") == 1
    assert forwarded(found) == b"b NOOP\r\n"


@pytest.mark.parametrize(
    "verb", sorted(PASSED - WIDE - {b"STORE", b"UID STORE", b"ID"} - {one for one in PASSED if unfit(one, b" x", 0, literal=True)})
)
def test_I06_no_command_but_a_question_holds_a_text_of_any_size(verb: bytes) -> None:
    found = events(b"a " + verb + b" x {1025+}\r\n" + b"t" * 1025 + b"\r\nb NOOP\r\n")
    assert said(found) == b"a NO [LIMIT] A literal is too large.\r\n"
    assert forwarded(found) == b"b NOOP\r\n"
    assert forwarded(events(b"a " + verb + b" x {1024+}\r\n" + b"t" * 1024 + b"\r\n")).endswith(b"t\r\n")
    later = events(b"a " + verb + b" {1+}\r\nx {1025+}\r\n" + b"t" * 1025 + b"\r\nb NOOP\r\n")
    assert b"t" not in forwarded(later)
    assert b"BYE" in said(later)


STORED = [
    b"1 FLAGS (\\Seen)", b"1:*,7 +flags.silent \\Deleted", b"$ -FLAGS (a b)", b"1 (UNCHANGEDSINCE 12121230045) +FLAGS.SILENT (\\Deleted)",
    b"1 FLAGS ()",
]  # fmt: skip


@pytest.mark.parametrize("verb", [b"STORE", b"uid store"])
@pytest.mark.parametrize("arguments", STORED)
def test_flags_are_stored_as_ever(verb: bytes, arguments: bytes) -> None:
    line = b"a " + verb + b" " + arguments + b"\r\n"
    assert forwarded(events(line)) == line


MALFORMED = [
    b'a SEARCH SUBJECT "x {5+}', b"a SEARCH SUBJECT x{5+}", b'a SEARCH SUBJECT x"y" {5+}', b'a SEARCH "x"y', b"a SEARCH {5 }",
    b"a SEARCH {-1}", b"a SEARCH {+5}", b"a SEARCH {5++}", b"a SEARCH {x}", b"a SEARCH {5} ", b"a SEARCH {99999999999+}",
    b'a SEARCH "\0"', b"a SEARCH \0", b"a SEARCH x\ry", b'a SEARCH "x\ry"', b"a  NOOP", b" a NOOP", b"", b"a", b"a\tNOOP", b"a+ NOOP",
    b"+ NOOP", b"]a NOOP", b"* NOOP", b"{1} NOOP", b'"a" NOOP', b"a SEARCH \\\"x\" {5+}", b'a SEARCH "x\\" {5+}', b"a NOOP\0",
    b"a" * 300 + b" NOOP",
]  # fmt: skip


@pytest.mark.parametrize("line", MALFORMED)
def test_I03_lines_that_readers_could_cut_differently_are_refused(line: bytes) -> None:
    found = events(line + b"\r\nb NOOP\r\n")
    assert b" BAD " in said(found)
    assert forwarded(found) == b"b NOOP\r\n"


def test_I03_a_bare_line_feed_ends_the_session() -> None:
    for line in (b"a NOOP\nb APPEND INBOX {3+}\r\nabc\r\n", b"a SEARCH TEXT {5+}\nb NOOP\r\n", b"\nx\r\n"):
        found = events(line)
        assert isinstance(found[-1], Close)
        assert forwarded(found) == b""


@pytest.mark.parametrize("line", [b"x\r\n", b' "a\r\n', b' {5\r\n', b" \0\r\n", b"{2}\r\n", b' (' * 1100 + b"\r\n"])  # fmt: skip
def test_I03_a_broken_line_behind_a_literal_ends_the_session(line: bytes) -> None:
    found = events(b"a SEARCH TEXT {2}\r\nhi" + line)
    assert isinstance(found[-1], Close)
    assert found[-1].octets.startswith(b"a BAD ")
    assert b"* BYE " in found[-1].octets
    assert forwarded(found) == b"a SEARCH TEXT {2}\r\nhi"


def measured(pieces: list[bytes], client: Client, most: int) -> list[ClientEvent]:
    """The events of *pieces*, all but those that go on; the peak of memory stays under *most*."""
    found: list[ClientEvent] = []
    tracemalloc.start()
    try:
        for piece in pieces:
            client.receive(piece)
            while (event := client.next_event()) is not None:
                if not isinstance(event, Forward):
                    found.append(event)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
    return found


@pytest.mark.parametrize("start", [b"", b"a ", b"a SEARCH ", b"a SEARCH " + b"(" * 900, b'a LOGIN "', b"a AUTHENTICATE PLAIN "])
@pytest.mark.parametrize("filler", [b"x", b"(", b'"', b"\\", b"\0", b"{", b" ", b"{1+}"])
def test_I03_endless_lines_are_cut_off_in_flat_memory(start: bytes, filler: bytes) -> None:
    client = Client(Limits(1000))
    piece = filler * (16_384 // len(filler))
    began = time.process_time()
    found = measured([start] + [piece] * 640, client, 400_000)
    assert time.process_time() - began < 1
    assert [type(one) for one in found] == [Close]
    assert client.pending == 0


def test_I03_nested_parentheses() -> None:
    for deep in (1001, 30_000):
        found = events(b"a SEARCH " + b"(" * deep + b"ALL" + b")" * deep + b"\r\n", client=Client(Limits(1000)))
        assert said(found) == b"a BAD The command has too many parentheses.\r\n"
    found = events(b"a SEARCH " + b"(" * 100_000 + b"\r\n", client=Client(Limits(1000)))
    assert isinstance(found[0], Close)


def test_I02_a_literal_over_the_limit_is_skipped_or_never_read() -> None:
    found = events(b"a SEARCH TEXT {501}\r\nb NOOP\r\n")
    assert said(found).startswith(b"a NO [LIMIT] ")
    assert forwarded(found) == b"b NOOP\r\n"
    found = events(b"a SEARCH TEXT {20000+}\r\n" + b"x" * 20_000 + b" (y)\r\nb NOOP\r\n", size=1000)
    assert said(found).startswith(b"a NO [LIMIT] ")
    assert forwarded(found) == b"b NOOP\r\n"
    assert isinstance(events(b"a SEARCH TEXT {4294967295+}\r\n")[0], Close)
    assert isinstance(events(b"a SEARCH TEXT {2}\r\nhi {501}\r\n")[-1], Close)


def test_I02_skipped_octets_are_not_kept() -> None:
    client = Client(Limits(3_000_000))
    found = measured([b"a SEARCH TEXT {30000000+}\r\n"] + [b"x" * 16_384] * 1000, client, 300_000)
    assert said(found).startswith(b"a NO [LIMIT] ")


def test_I02_large_literals_that_may_pass_are_not_kept() -> None:
    client = Client(Limits(1000, literal=30_000_000))
    client.receive(b"a SEARCH TEXT {30000000}\r\n")
    assert isinstance(client.next_event(), Forward)
    client.go_ahead()
    assert measured([b"x" * 16_384] * 1000, client, 300_000) == []


def test_too_many_errors_end_the_session() -> None:
    found = events(b"a X\r\n" * 4 + b"b NOOP\r\n" + b"a X\r\n" * 5 + b"c NOOP\r\n")
    assert [type(one) for one in found] == [Say] * 4 + [Forward] + [Say] * 4 + [Close]


# --- signing in -----------------------------------------------------------------------------------------------------------


def new() -> Client:
    return Client(LIMITS)


@pytest.mark.parametrize(
    "command",
    [b'a LOGIN "us er" "pa\\"ss"\r\n', b"a login {5}\r\nus er {5}\r\npa\"ss\r\n", b"a LOGIN {5+}\r\nus er \"pa\\\"ss\"\r\n"],
)  # fmt: skip
def test_login_in_every_form(command: bytes) -> None:
    found = events(command, client=new())
    login = found[-1]
    assert isinstance(login, Login)
    assert (login.tag, login.user, login.password) == (b"a", b"us er", b'pa"ss')
    assert b"".join(b"".join(step) for step in login.steps) == command.replace(b"+}", b"}")
    assert all(step[-1].endswith(b"}\r\n") for step in login.steps[:-1])
    assert "pa" not in repr(login)
    assert "us er" not in repr(login)


@pytest.mark.parametrize(
    "line",
    [
        b"LOGIN", b"LOGIN a", b"LOGIN a b c", b"LOGIN a (b)", b"LOGIN a  b", b'LOGIN "a""b"', b"LOGIN {1025+}\r\n" + b"x" * 1025 + b" b",
        b"LOGIN a ~{1+}\r\nb", b"LOGIN a b {1+}\r\nc", b"LOGIN a b ({1+}\r\nc)", b"AUTHENTICATE", b"AUTHENTICATE PLAIN a b",
        b"AUTHENTICATE PLAIN {3+}\r\nabc", b"AUTHENTICATE \"PLAIN\"", b"AUTHENTICATE PLAIN a!", b"APPEND INBOX {3+}\r\nabc", b"STARTTLS",
    ],
)  # fmt: skip
def test_I01_what_is_no_sign_in_is_refused(line: bytes) -> None:
    found = events(b"a " + line + b"\r\nb NOOP\r\n", client=new())
    assert [type(one) for one in found] == [Say, Forward]
    assert said(found).startswith((b"a BAD ", b"a NO [LIMIT]"))


def test_I12_one_session_is_one_user() -> None:
    for line in (b"a LOGIN other pw\r\n", b"a AUTHENTICATE PLAIN AGEAYg==\r\n", b"a UNAUTHENTICATE\r\n"):
        assert said(events(line)).startswith(b"a BAD ")
    for line in (b'a ID ("x-originating-ip" "10.0.0.1")\r\n', b'a ID ("\\x-originating-ip" "10.0.0.1")\r\n', b"a ID ({3+}\r\nx-y NIL)\r\n"):
        found = events(line)
        assert said(found).startswith(b"a BAD ")
        assert forwarded(found) == b""


def test_nothing_is_taken_until_the_server_has_answered_a_login() -> None:
    pair = Pair(signed_in=False).client_says(b"a LOGIN u p\r\nb SELECT INBOX\r\n")
    assert pair.to_server == b"a LOGIN u p\r\n"
    pair.server_says(b"a NO [AUTHENTICATIONFAILED] no\r\n")
    assert not pair.client.signed_in
    pair.client_says(b"c LOGIN {1}\r\n")
    assert b"+" not in pair.to_client  # it waits for the reply to b
    pair.server_says(b"b NO not yet\r\n")
    assert pair.to_client.endswith(b"+ OK\r\n")
    pair.client_says(b"u {1+}\r\np\r\n")
    assert pair.to_server.endswith(b"c LOGIN {1}\r\n")
    pair.server_says(b"+ \r\n")
    assert pair.to_server.endswith(b"u {1}\r\n")
    pair.server_says(b"+ \r\n").server_says(b"c OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE MOVE] in\r\n")
    assert pair.client.signed_in
    assert pair.to_client.endswith(b"c OK [CAPABILITY IMAP4rev1 MOVE] in\r\n")


def test_authenticate_with_its_lines() -> None:
    client = new()
    client.receive(b"a authenticate xoauth2 dXNlcg==\r\n")
    first = client.next_event()
    assert isinstance(first, Authenticate)
    assert (first.mechanism, first.initial, first.octets) == ("XOAUTH2", b"dXNlcg==", b"a authenticate xoauth2 dXNlcg==\r\n")
    client.receive(b"YQ==\r\n")
    assert client.next_event() is None
    assert client.go_ahead()
    line = client.next_event()
    assert isinstance(line, AuthenticateLine)
    assert (line.response, line.octets) == (b"YQ==", b"YQ==\r\n")
    client.answered(b"a", True)
    assert client.signed_in
    client.receive(b"b NOOP\r\n")
    assert isinstance(client.next_event(), Forward)


@pytest.mark.parametrize("line", [b"*\r\n", b"b APPEND INBOX {3+}\r\n", b"a\0\r\n"])
def test_what_is_no_base64_cancels_authenticate(line: bytes) -> None:
    found = events(b"a AUTHENTICATE PLAIN\r\n" + line, client=new())
    assert isinstance(found[1], AuthenticateLine)
    assert (found[1].response, found[1].octets) == (None, b"*\r\n")


def test_I01_no_secret_before_tls_and_nothing_injected_behind_starttls() -> None:
    client = new()
    client.tls = False
    found = events(
        b"a LOGIN u {6+}\r\nsecret\r\nb AUTHENTICATE PLAIN AHUAcA==\r\nc SELECT INBOX\r\nd APPEND INBOX {1+}\r\nx\r\n", client=client
    )
    assert [type(one) for one in found] == [Say] * 4
    assert said(found).count(b"NO [PRIVACYREQUIRED]") == 2
    client.receive(b"e STARTTLS\r\nf LOGIN u p\r\n")
    assert isinstance(client.next_event(), StartTls)
    assert client.next_event() is None
    assert client.pending
    client.tls_started()
    assert client.next_event() is None
    client.receive(b"g LOGIN u p\r\n")
    assert isinstance(client.next_event(), Login)


# --- IDLE -----------------------------------------------------------------------------------------------------------------


def test_I09_idle_and_its_end() -> None:
    pair = Pair().client_says(b"a IDLE\r\nDONE\r\nb NOOP\r\n")
    assert pair.to_server == b"a IDLE\r\n"
    pair.server_says(b"+ idling\r\n")
    assert pair.to_client == b"+ idling\r\n"
    assert pair.to_server == b"a IDLE\r\nDONE\r\nb NOOP\r\n"


def test_I09_a_refused_idle_and_one_that_the_server_ends() -> None:
    pair = Pair().client_says(b"a IDLE\r\n").server_says(b"a NO\r\n").client_says(b"b NOOP\r\n")
    assert pair.to_server == b"a IDLE\r\nb NOOP\r\n"
    pair.client_says(b"c IDLE\r\n").server_says(b"+ \r\n* 1 EXISTS\r\nc OK enough\r\n").client_says(b"d NOOP\r\n")
    assert pair.to_server.endswith(b"c IDLE\r\nd NOOP\r\n")


def test_I09_only_done_ends_idle() -> None:
    found = events(b"a IDLE\r\nb APPEND INBOX {3+}\r\nabc\r\n")
    assert isinstance(found[-1], Close)
    assert forwarded(found) == b"a IDLE\r\n"


def test_a_stray_plus_of_the_server_is_not_shown() -> None:
    assert Pair().server_says(b"+ OK\r\n").to_client == b""


# --- any pieces -----------------------------------------------------------------------------------------------------------

SESSION = (
    b'a LOGIN "u" x\r\nb SELECT {5}\r\nINBOX (CONDSTORE)\r\nc FETCH 1 (FLAGS)\r\nd IDLE\r\ndone\r\n'
    b'e APPEND "Sent" (\\Seen) " 5-Nov-2026 10:00:00 +0000" {6}\r\nhello\n {3+}\r\nabc\r\nf REPLACE 1 x {3+}\r\nabc\r\n'
    b"g APPEND {4+}\r\nSent UTF8 (~{2+}\r\nhi)\r\nh APPEND x CATENATE (TEXT {3+}\r\nabc URL x)\r\ni SEARCH TEXT {600+}\r\n"
    + b"x" * 600 + b"\r\nj UID SEARCH TEXT {3+}\r\nabc FROM {0+}\r\n\r\nk APPEND x {2+}\r\n\0\0 {2+}\r\nab\r\nl LOGOUT\r\n"
)  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_the_events_are_the_same_however_the_octets_come(size: int) -> None:
    assert joined(events(SESSION, size=size)) == joined(events(SESSION))


def test_the_events_are_the_same_wherever_they_are_split() -> None:
    whole = joined(events(SESSION))
    assert sum(isinstance(one, Append) for one in whole) == 3
    for at in (at for at in range(1, len(SESSION)) if SESSION[at - 1 : at + 1] != b"xx"):
        client = Client(LIMITS)
        client.signed_in = True
        assert joined(events(SESSION[:at], client=client) + events(SESSION[at:], client=client)) == whole


_WORDS = st.sampled_from(
    [b"a ", b"b ", b"NOOP", b"LOGIN ", b"u p", b"APPEND ", b"INBOX", b" (\\Seen)", b" {3+}\r\n", b" {3}\r\n", b" ~{2+}\r\n", b"abc",
     b"\r\n", b" UTF8 (~{1+}\r\n", b")", b'"', b"IDLE\r\n", b"DONE\r\n", b"SEARCH", b"UID ", b"AUTHENTICATE PLAIN", b"*", b"\n", b"\0",
     b" {501+}\r\n",     b"STARTTLS\r\n", b"CATENATE ("]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(_WORDS, st.binary(max_size=6)), max_size=40), st.integers(1, 30))
def test_I03_any_octets_in_any_pieces_give_the_same_events(pieces: list[bytes], size: int) -> None:
    data = b"".join(pieces)
    assert joined(events(data, size=size)) == joined(events(data))


def naive(octets: bytes) -> list[bytes]:
    """The commands of *octets* for a server that takes every literal that a line announces at its end, and knows nothing else."""
    found, at = [], 0
    while (end := octets.find(b"\r\n", at)) >= 0:
        found.append(octets[at:end])
        while mark := re.search(rb"\{(\d+)\+?\}\Z", octets[at:end]):
            at = end + 2 + int(mark[1])
            end = octets.find(b"\r\n", at)
            if end < 0:
                return found
        at = end + 2
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(_WORDS, st.binary(max_size=6)), max_size=40), st.booleans())
def test_I06_no_message_reaches_the_server_unjudged(pieces: list[bytes], takes: bool) -> None:
    pair = Pair(lambda messages: messages[0].tag + b" NO\r\n").client_says(b"".join(pieces) + b"\r\nq APPEND INBOX {6+}\r\nsecret\r\n")
    for _ in range(40):
        tags = [line.split(b" ")[0] for line in naive(pair.to_server)]
        pair.server_says(b"+ \r\n" if takes else b"".join(tag + b" BAD\r\n" for tag in tags[-1:]))
    for line in naive(pair.to_server if takes else re.sub(rb"\{\d+\}\r\n", b"\r\n", pair.to_server)):
        verb = line.upper().split(b" ")[1:2]
        assert line.upper() == b"DONE" or verb[0] == b"UID" or verb[0] in PASSED
        assert verb != [b"APPEND"]


def test_I10_ten_thousand_pipelined_commands() -> None:
    pair = Pair(limits=Limits(1000, errors=100), waiting=1000)
    rng = random.Random(6)
    lines = [b"t%d %s\r\n" % (at, rng.choice([b"NOOP", b"REPLACE 1 x", b"FETCH 1 FLAGS"])) for at in range(10_000)]
    began = time.process_time()
    pair.client_says(b"".join(lines))
    answered = 0
    while answered < len(pair.to_server):
        assert len(pair.order) <= 1000
        batch, answered = pair.to_server[answered:], len(pair.to_server)
        pair.server_says(b"".join(line.split(b" ")[0] + b" OK\r\n" for line in batch.split(b"\r\n")[:-1]))
    assert time.process_time() - began < 3
    tags = [line.split(b" ")[0] for line in pair.to_client.split(b"\r\n")[:-1]]
    assert tags == [b"t%d" % at for at in range(10_000)]


def test_I10_a_client_that_leaves_amid_a_literal() -> None:
    pair = Pair().client_says(b"a APPEND INBOX {10+}\r\nhalf")
    assert pair.client.amid
    assert pair.client.memory == 4
    assert pair.to_server == b""


def test_events_show_no_content() -> None:
    for event in events(SESSION):
        assert "hello" not in repr(event)


CONVERSATIONS = sorted(Path(__file__).parent.glob("conversations/imap/*.txt"))


@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: path.stem)
def test_conversation(path: Path) -> None:
    """``C:`` and ``S:`` is what the mail program and the server say; ``>`` what the server, ``<`` what the mail program is given."""
    pair = Pair(lambda messages: messages[0].tag + b" NO [NOPERM] refused\r\n" if b"SECRET" in messages[-1].message else b"")
    to_server = to_client = 0
    for line in path.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        kind, _, text = line.partition(" ")
        octets = text.encode() + b"\r\n"
        if kind == "C:":
            pair.client_says(octets)
        elif kind == "S:":
            pair.server_says(octets)
        elif kind == ">":
            assert pair.to_server[to_server : to_server + len(octets)] == octets, line
            to_server += len(octets)
        elif kind == "<":
            assert pair.to_client[to_client : to_client + len(octets)] == octets, line
            to_client += len(octets)
        else:
            assert line == "closed"
            assert pair.closed
    assert (pair.to_server[to_server:], pair.to_client[to_client:]) == (b"", b"")
