"""APPEND and MULTIAPPEND in every form, and what is sent to the server for them."""

from __future__ import annotations

import tracemalloc

import pytest

from gateway.wire import imap_commands
from gateway.wire.imap import Client
from gateway.wire.imap_events import Append, AppendSize, ClientEvent, Forward, Limits, Mailbox, Say
from tests.test_wire_imap import events, forwarded, said
from tests.wire_imap_pair import Pair


def appends(found: list[ClientEvent]) -> list[Append]:
    return [one for one in found if isinstance(one, Append)]


FORMS = [
    (b"INBOX {5}\r\nhello", Mailbox(b"INBOX", b"INBOX"), b"", b"", False, False),
    (b"INBOX {5+}\r\nhello", Mailbox(b"INBOX", b"INBOX"), b"", b"", False, False),
    (b'"a \\"b\\" {9}" () {5+}\r\nhello', Mailbox(b'a "b" {9}', b'"a \\"b\\" {9}"'), b"()", b"", False, False),
    (b"{5}\r\nDr{1} (\\Seen) {5}\r\nhello", Mailbox(b"Dr{1}", b""), b"(\\Seen)", b"", False, False),
    (b'{3+}\r\n"\\\n "01-Jan-2026 10:00:00 +0530" {5+}\r\nhello', Mailbox(b'"\\\n', b""), b"",
     b'"01-Jan-2026 10:00:00 +0530"', False, False),
    (b"&AOQ- (\\Seen $MDNSent) ~{5+}\r\nhello", Mailbox(b"&AOQ-", b"&AOQ-"), b"(\\Seen $MDNSent)", b"", True, False),
    ("ä utf8 (~{5}\r\nhello)".encode(), Mailbox("ä".encode(), "ä".encode()), b"", b"", True, True),
    (b'x (a) "d" UTF8 (~{5+}\r\nhello)', Mailbox(b"x", b"x"), b"(a)", b'"d"', True, True),
]  # fmt: skip


@pytest.mark.parametrize(("command", "mailbox", "flags", "date", "literal8", "utf8"), FORMS)
def test_I06_every_form_is_an_event(command: bytes, mailbox: Mailbox, flags: bytes, date: bytes, literal8: bool, utf8: bool) -> None:
    found = events(b"T1 aPPenD " + command + b"\r\nb NOOP\r\n")
    assert appends(found) == [Append(b"T1", mailbox, flags, date, b"hello", literal8, utf8, 1, more=False)]
    assert forwarded(found) == b"b NOOP\r\n"
    assert said(found) == b"+ OK\r\n" * command.count(b"}\r\n") * (b"+}" not in command)
    sent = b"".join(b"".join(step) for step in imap_commands.append(appends(found)))
    again = appends(events(sent))
    assert again == appends(found)
    assert b"+}" not in sent


def test_I06_each_message_of_multiappend_has_its_own_words() -> None:
    found = events(b'a APPEND x (\\Seen) "d" {2+}\r\nab (\\Draft) {2+}\r\ncd UTF8 (~{2+}\r\nef) "d" ~{2}\r\ngh\r\n')
    assert [(one.flags, one.date, one.message, one.utf8, one.literal8, one.number, one.more) for one in appends(found)] == [
        (b"(\\Seen)", b'"d"', b"ab", False, False, 1, True),
        (b"(\\Draft)", b"", b"cd", False, False, 2, True),
        (b"", b"", b"ef", True, True, 3, True),
        (b"", b'"d"', b"gh", False, True, 4, False),
    ]
    steps = imap_commands.append(appends(found))
    assert steps == [
        (b'a APPEND x (\\Seen) "d" {2}\r\n',),
        (b"ab", b" (\\Draft) {2}\r\n"),
        (b"cd", b" UTF8 (~{2}\r\n"),
        (b"ef", b') "d" ~{2}\r\n'),
        (b"gh", b"\r\n"),
    ]


REFUSED = [
    (b"x CATENATE (TEXT {2+}\r\nab URL \"/INBOX;UIDVALIDITY=1/;UID=2\")", b"NO [CANNOT]"),
    (b"x (\\Seen) \"d\" CATENATE (URL \"/INBOX\" TEXT {2+}\r\nab)", b"NO [CANNOT]"),
    (b"x {2+}\r\nab catenate (TEXT {2+}\r\ncd)", b"NO [CANNOT]"),
    (b"x URL (a)", b"NO [CANNOT]"),
    (b"x ANNOTATION (/comment (value.shared \"x\")) {2+}\r\nab", b"BAD"),
    (b"x {10001+}\r\n" + b"y" * 10_001, b"NO [TOOBIG]"),
    (b"x {2+}\r\nab {10001+}\r\n" + b"y" * 10_001 + b" {3+}\r\nabc", b"NO [TOOBIG]"),
    (b"x {0+}\r\n", b"NO [CANNOT]"),
    (b"x {2+}\r\nab {0+}\r\n", b"NO [CANNOT]"),
    (b"x {3+}\r\na\0b", b"NO [UNKNOWN-CTE]"),
    (b"x ~{3+}\r\na\0b {1+}\r\nc", b"NO [UNKNOWN-CTE]"),
    (b"x", b"BAD"),
    (b"x abc", b"BAD"),
    (b"{2+}\r\nab", b"BAD"),
    (b"{2000+}\r\n" + b"y" * 2000 + b" {3+}\r\nabc", b"NO [LIMIT]"),
    (b"x UTF8 (~{2+}\r\nab", b"BAD"),
    (b"x UTF8 (~{2+}\r\nab) x {1+}\r\na", b"BAD"),
    (b"x UTF8 ({2+}\r\nab)", b"BAD"),
    (b"x UTF8 ~{2+}\r\nab", b"BAD"),
    (b"x ({2+}\r\nab)", b"BAD"),
    (b"x (a(b)) {2+}\r\nab", b"BAD"),
    (b"x (a  b) {2+}\r\nab", b"BAD"),
    (b"x \"d\" (a) {2+}\r\nab", b"BAD"),
    (b"x y {2+}\r\nab", b"BAD"),
    (b"x  {2+}\r\nab", b"BAD"),
    (b"x {2+}\r\nab)", b"BAD"),
    (b"x {2+}\r\nab ", b"BAD"),
    (b"x {2+}\r\nabc", b"BAD"),
    (b"(x) {2+}\r\nab", b"BAD"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "word"), REFUSED)
def test_I06_what_is_no_whole_message_is_refused(command: bytes, word: bytes) -> None:
    found = events(b"a APPEND " + command + b"\r\nb NOOP\r\n")
    assert said(found).startswith(b"a " + word + b" ")
    assert said(found).count(b"\r\n") == 1
    assert not [one for one in appends(found) if not one.more]
    assert forwarded(found) == b"b NOOP\r\n"


def test_I06_a_message_that_is_too_large_is_not_asked_for() -> None:
    found = events(b"a APPEND x {10001}\r\nb NOOP\r\n")
    assert said(found) == b"a NO [TOOBIG] The message is larger than the limit of 10000 octets.\r\n"
    assert forwarded(found) == b"b NOOP\r\n"


def test_I13_no_room_for_a_message() -> None:
    for command, left in ((b"a APPEND x {5}\r\n", b"b NOOP\r\n"), (b"a APPEND x {5+}\r\n", b"hello {3+}\r\nabc\r\nb NOOP\r\n")):
        client = Client(Limits(100))
        client.signed_in = True
        client.receive(command)
        size = client.next_event()
        assert isinstance(size, AppendSize)
        assert (size.size, size.number) == (5, 1)
        assert client.next_event() is None
        client.refuse(b"a NO [UNAVAILABLE] Later.\r\n")
        client.receive(left)
        found = events(b"", client=client)
        first, then = client.next_event(), client.next_event()
        assert found == []
        assert isinstance(first, Say)
        assert first.octets == b"a NO [UNAVAILABLE] Later.\r\n"
        assert isinstance(then, Forward)
        assert then.octets == b"b NOOP\r\n"
        assert client.next_event() is None


def test_I13_refused_while_it_comes_and_between_two_messages() -> None:
    client = Client(Limits(100))
    client.signed_in = True
    client.receive(b"a APPEND x {5+}\r\nhe")
    assert isinstance(client.next_event(), AppendSize)
    client.take()
    assert client.next_event() is None
    client.refuse(b"a NO one\r\n")
    assert client.memory == 0
    client.receive(b"llo {3+}\r\nabc\r\nb APPEND x {2+}\r\nhi {3+}\r\nabc\r\nc NOOP\r\n")
    assert client.next_event() == Say(b"a NO one\r\n", "refused")
    assert isinstance(client.next_event(), AppendSize)
    client.take()
    event = client.next_event()
    assert isinstance(event, Append)
    assert event.more
    client.refuse(b"b NO two\r\n")
    assert client.next_event() == Say(b"b NO two\r\n", "refused")
    last = client.next_event()
    assert isinstance(last, Forward)
    assert last.octets == b"c NOOP\r\n"


def test_too_many_messages() -> None:
    found = events(b"a APPEND x" + b" {1+}\r\nx" * 4 + b"\r\nb NOOP\r\n", client=_signed_in(Limits(10, messages=3)))
    assert said(found).startswith(b"a NO [LIMIT]")
    assert forwarded(found) == b"b NOOP\r\n"


def _signed_in(limits: Limits) -> Client:
    client = Client(limits)
    client.signed_in = True
    return client


def test_I02_messages_are_kept_as_they_come_not_as_they_are_announced() -> None:
    client = _signed_in(Limits(4_000_000_000))
    client.receive(b"a APPEND x {3999999999+}\r\n")
    assert isinstance(client.next_event(), AppendSize)
    client.take()
    client.receive(b"abc")
    assert client.next_event() is None
    assert client.memory == 3


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_I02_a_message_in_small_pieces_takes_little_more_than_its_size(size: int) -> None:
    client = _signed_in(Limits(1_000_000))
    client.receive(b"a APPEND x {100000+}\r\n")
    client.next_event()
    client.take()
    tracemalloc.start()
    try:
        for at in range(0, 100_000, size):
            client.receive(bytes([at % 250 + 1]) * min(size, 100_000 - at))
            assert client.next_event() is None
        assert tracemalloc.get_traced_memory()[0] < 150_000
    finally:
        tracemalloc.stop()
    assert client.memory == 100_000, "it waits for the end of the line"
    client.receive(b"\r\n")
    event = client.next_event()
    assert isinstance(event, Append)
    assert type(event.message) is bytes
    assert len(event.message) == 100_000


def test_I10_what_comes_behind_an_append_waits_for_its_reply() -> None:
    pair = Pair().client_says(b"a NOOP\r\nb APPEND x {2+}\r\nhi\r\nc NOOP\r\n")
    assert pair.to_server == b"a NOOP\r\nb APPEND x {2}\r\n"
    pair.server_says(b"a OK\r\n+ \r\n")
    assert pair.to_server.endswith(b"{2}\r\nhi\r\n")
    pair.server_says(b"b OK\r\n")
    assert pair.to_server.endswith(b"hi\r\nc NOOP\r\n")
    assert pair.to_client == b"a OK\r\nb OK\r\n"
