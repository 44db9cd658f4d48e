"""The milter codec without any I/O: whole conversations, negotiation, limits, any octets in any pieces."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.reply import Reply
from gateway.wire.milter import Milter
from gateway.wire.milter_events import (
    Abort,
    AddHeader,
    Change,
    Connect,
    Event,
    Final,
    Mail,
    Message,
    MilterError,
    Negotiated,
    Quarantine,
    Quit,
    Rcpt,
)
from gateway.wire.smtp_data import LONG_LINE, Scanner, fault
from tests.milter_lines import packet, packets, play

CONVERSATIONS = Path(__file__).parent / "conversations" / "milter"
FILES = sorted(CONVERSATIONS.glob("*.txt"))

V6 = packet(b"O", b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff")
V2 = packet(b"O", b"\0\0\0\x02\0\0\0\x3f\0\0\0\x7f")
CONNECT = packet(b"C", b"client.example\0004\0\x19192.0.2.1\0")
MAIL = packet(b"M", b"<a@b.in>\0SIZE=7\0")
RCPT = packet(b"R", b"<c@d.in>\0")
FIELDS = packet(b"L", b"Subject\0 x\0") + packet(b"L", b"X-Long\0 a\n\tb\0")
TEXT = FIELDS + packet(b"N") + packet(b"B", b"one\r\n") + packet(b"B", b"two\r\n")
END = packet(b"E")
WHOLE = MAIL + RCPT + TEXT + END


def opened(options: bytes = V6, size: int = 100_000) -> Milter:
    """A codec whose MTA has negotiated and told of a client."""
    codec = Milter(size)
    codec.feed(options + CONNECT)
    assert [type(event) for event in events(codec)] == [Negotiated, Connect]
    codec.output()
    return codec


def events(codec: Milter, changes: Sequence[Change] = (), found: list[Event] | None = None) -> list[Event]:
    """All events, as of a door that wants everything; added to those *found*."""
    found = [] if found is None else found
    while (event := codec.next_event()) is not None:
        found.append(event)
        if isinstance(event, Mail | Rcpt):
            codec.proceed()
        elif isinstance(event, Message):
            codec.end_message(Final.CONTINUE, changes)
    return found


def message(codec: Milter, octets: bytes) -> Message:
    """The one message that *octets* bring."""
    codec.feed(octets)
    (found,) = [event for event in events(codec) if isinstance(event, Message)]
    return found


# --- conversations ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [0, 1, 3])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_T02_T04_conversation(file: Path, piece: int) -> None:
    for part in file.read_text().split("# --- another connection\n"):
        play(part, Milter(1_000_000), piece)


def test_conversations_are_there_and_hold_the_codec_to_them() -> None:
    assert len([file for file in FILES if file.stem.startswith(("postfix-", "sendmail-"))]) == 7
    text = (CONVERSATIONS / "postfix-v2.txt").read_text()
    for line, other in (("S: m ", "S: h "), ("E: Helo", "E: Abort"), ("C: N", "C: E")):
        with pytest.raises((AssertionError, MilterError)):
            play(text.replace(line, other, 1), Milter(1_000_000))


# --- negotiation --------------------------------------------------------------------------------------------------------------


def test_only_what_is_offered_is_used() -> None:
    codec = Milter(1000)
    codec.feed(V2)
    assert codec.next_event() == codec.negotiated == Negotiated(2, 0x3D, 0x40, quarantine=True, leading_space=False)
    assert packets(codec.output()) == [b"O\0\0\0\x02\0\0\0\x3d\0\0\0\x40"]


def test_an_mta_without_quarantine_is_taken_and_told_nothing_of_it() -> None:
    codec = Milter(1000)
    codec.feed(packet(b"O", b"\0\0\0\x02\0\0\0\x1f\0\0\0\x7f") + CONNECT + MAIL + RCPT + END)
    while not isinstance(event := codec.next_event(), Message):
        assert event is not None
        if isinstance(event, Mail | Rcpt):
            codec.proceed()
    assert codec.negotiated is not None
    assert not codec.negotiated.quarantine
    codec.output()
    with pytest.raises(MilterError, match="quarantined"):
        codec.end_message(Final.CONTINUE, [AddHeader("X-A", "b"), Quarantine("held")])
    assert codec.output() == b""
    assert codec.asked
    codec.end_message(Final.TEMPFAIL)
    assert packets(codec.output()) == [b"t"]


@pytest.mark.parametrize("missing", [0x01, 0x08, 0x10])
def test_an_mta_that_lets_us_change_too_little_is_refused(missing: int) -> None:
    codec = Milter(1000)
    codec.feed(packet(b"O", b"\0\0\0\x06" + (0x1FF & ~missing).to_bytes(4, "big") + b"\0\x1f\xff\xff"))
    with pytest.raises(MilterError, match="header fields and delete recipients"):
        codec.next_event()
    assert codec.output() == b""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (b"\0\0\0\x01\0\0\x01\xff\0\x1f\xff\xff", "older"),
        (b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff", "cut off"),
        (b"", "cut off"),
    ],
)
def test_T01_options_that_are_none(options: bytes, words: str) -> None:
    codec = Milter(1000)
    codec.feed(packet(b"O", options))
    with pytest.raises(MilterError, match=words):
        codec.next_event()


def test_T01_unknown_versions_and_flags_are_not_taken_up() -> None:
    codec = Milter(1000)
    codec.feed(packet(b"O", b"\xff" * 12 + b"what a later version adds"))
    agreed = codec.next_event()
    assert isinstance(agreed, Negotiated)
    assert (agreed.version, agreed.actions, agreed.protocol) == (6, 0x13D, 0x1F33C0)


# --- T01: lengths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, (1 << 20) + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_T01_lengths_that_no_packet_has(length: int) -> None:
    codec = opened()
    tracemalloc.start()
    try:
        codec.feed(length.to_bytes(4, "big") + b"B")
        with pytest.raises(MilterError, match="length"):
            codec.next_event()
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    codec.feed(WHOLE)
    assert codec.next_event() is None
    assert codec.pending == 0
    assert codec.output() == b""


def test_T01_a_packet_takes_memory_as_it_comes() -> None:
    codec = opened()
    codec.feed(MAIL + RCPT)
    events(codec)
    codec.feed((1 << 20).to_bytes(4, "big") + b"B" + b"x" * 1000)
    assert codec.next_event() is None
    assert codec.pending == 1005


@pytest.mark.parametrize(
    "octets",
    [
        packet(b"X"),
        packet(b"\0"),
        packet(b"C", b"host"),
        packet(b"C", b"host\0"),
        packet(b"C", b"host\0004"),
        packet(b"C", b"host\0004\0\x19192.0.2.1"),
        packet(b"C", b"host\0004\0\x19192.0.2.1\0more\0"),
        packet(b"C", b"host\0004\0\x19192.0.2.256\0"),
        packet(b"C", b"host\0004\0\x19::1\0"),
        packet(b"C", b"host\0006\0\x19192.0.2.1\0"),
        packet(b"C", b"host\0006\0\x19\xd9\xa1::\0"),
        packet(b"C", b"host\0007\0\x19192.0.2.1\0"),
        packet(b"H", b"name"),
        packet(b"H", b"name\0other\0"),
        packet(b"M"),
        packet(b"M", b"<a@b.in>"),
        packet(b"M", b"x\0" * 65),
        packet(b"D"),
        MAIL + packet(b"R", b"<a@b.in>\0cut off"),
    ],
    ids=repr,
)
def test_T01_packets_that_are_not_of_their_form(octets: bytes) -> None:
    codec = opened()
    codec.feed(octets)
    with pytest.raises(MilterError) as caught:
        events(codec)
    assert "192" not in str(caught.value)
    assert codec.next_event() is None


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"mx.example\0006\x04\xd2IPv6:2001:DB8::0:1\0", Connect("mx.example", "6", 1234, "2001:db8::1")),
        (b"mx.example\0006\0\0::ffff:192.0.2.7\0", Connect("mx.example", "6", 0, "192.0.2.7")),
        (b"mx.example\0006\0\0fe80::1%eth0\0", Connect("mx.example", "6", 0, "fe80::1")),
        (b"a\x1bb\0L\0\0/run/mta\0", Connect("unknown", "L", 0, "/run/mta")),
        (b"\0U", Connect("unknown", "U", 0, "")),
    ],
)
def test_clients_of_every_family(data: bytes, expected: Connect) -> None:
    codec = Milter(1000)
    codec.feed(V6 + packet(b"C", data))
    assert events(codec)[1] == expected


# --- T02: nothing of a message in the next ------------------------------------------------------------------------------------


def test_T02_no_change_and_no_octet_of_a_message_comes_again_with_the_next() -> None:
    codec = opened()
    first = packet(b"D", b"Mi\x001\0{auth_authen}\0officer\0") + WHOLE
    codec.feed(first)
    assert len(events(codec, [AddHeader("X-A", "b")])) == 3
    assert [item[:1] for item in packets(codec.output())] == [b"c", b"c", b"h", b"c"]
    assert (codec.memory, codec.text_octets, codec.in_message, dict(codec.macros)) == (0, 0, False, {})
    second = message(codec, MAIL + RCPT + packet(b"N") + END)
    assert (second.fields, second.body) == ((), b"")
    assert [item[:1] for item in packets(codec.output())] == [b"c", b"c", b"c"]


@pytest.mark.parametrize("end", [packet(b"A"), packet(b"K") + CONNECT, packet(b"H", b"x\0"), MAIL], ids=["abort", "new", "helo", "mail"])
def test_T02_what_ends_a_message_early_leaves_nothing_of_it(end: bytes) -> None:
    codec = opened()
    codec.feed(packet(b"D", b"Mi\x001\0") + MAIL + RCPT + FIELDS)
    events(codec)
    assert codec.memory > 0
    codec.feed(end)
    assert isinstance(events(codec)[0], Abort)
    assert (codec.memory, dict(codec.macros)) == (0, {})
    if end == MAIL:
        codec.feed(RCPT + END)
    else:
        codec.feed(MAIL + RCPT + END)
    last = events(codec)[-1]
    assert isinstance(last, Message)
    assert last.content() == b"\r\n"


def test_T02_a_refused_sender_ends_the_message_and_a_refused_recipient_does_not() -> None:
    codec = opened()
    codec.feed(packet(b"D", b"Mi\x001\0") + MAIL)
    assert isinstance(codec.next_event(), Mail)
    codec.refuse(Reply(550, "5.7.1", "No"))
    assert not codec.in_message
    assert not codec.macros
    codec.feed(MAIL + RCPT)
    assert isinstance(codec.next_event(), Mail)
    codec.proceed()
    assert isinstance(codec.next_event(), Rcpt)
    with pytest.raises(MilterError):
        codec.refuse(Reply(250, "2.0.0", "Yes"))
    assert codec.asked
    codec.refuse(Reply(452, "4.5.3", "Later"))
    codec.feed(RCPT + TEXT + END)
    assert [type(event) for event in events(codec)] == [Rcpt, Message]
    assert packets(codec.output()) == [b"y550 5.7.1 No\0", b"c", b"y452 4.5.3 Later\0", b"c", b"c"]


def test_T02_an_answer_that_comes_too_late_or_to_nothing_says_nothing() -> None:
    codec = opened()
    for answer in (codec.proceed, codec.progress, codec.discard):
        answer()
    codec.end_message(Final.CONTINUE)
    codec.refuse(Reply(550, "5.7.1", "No"))
    codec.feed(WHOLE)
    while not isinstance(codec.next_event(), Message):
        codec.proceed()
    codec.output()
    codec.close()
    codec.end_message(Final.CONTINUE)
    codec.proceed()
    assert codec.output() == b""


def test_T02_a_sender_may_be_discarded_but_not_changed() -> None:
    codec = opened()
    codec.feed(MAIL)
    codec.next_event()
    with pytest.raises(MilterError):
        codec.end_message(Final.CONTINUE)
    with pytest.raises(MilterError):
        codec.end_message(Final.ACCEPT, [AddHeader("X-A", "b")])
    codec.end_message(Final.DISCARD)
    assert packets(codec.output()) == [b"d"]
    codec.feed(WHOLE + packet(b"Q"))
    assert isinstance(events(codec)[-1], Quit)


def test_changes_go_with_a_message_that_goes_on_only() -> None:
    codec = opened()
    codec.feed(WHOLE)
    while not isinstance(codec.next_event(), Message):
        codec.proceed()
    codec.output()
    for final in (Final.REJECT, Final.TEMPFAIL, Final.DISCARD, Reply(550, "5.7.1", "No")):
        with pytest.raises(MilterError, match="does not go on"):
            codec.end_message(final, [AddHeader("X-A", "b")])
    assert codec.output() == b""


def test_an_mta_that_says_where_its_header_section_ends_has_to_say_it() -> None:
    unsaid = packet(b"O", b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff")
    for body in (packet(b"B", b"one\r\n") + END, packet(b"E", b"one\r\n")):
        assert message(opened(unsaid), MAIL + RCPT + FIELDS + body).body == b"one\r\n"
    said = packet(b"O", b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xbf")
    for body in (packet(b"B", b"one\r\n") + END, packet(b"E", b"one\r\n")):
        codec = opened(said)
        codec.feed(MAIL + RCPT + FIELDS + body)
        found: list[Event] = []
        with pytest.raises(MilterError, match="out of order"):
            events(codec, found=found)
        assert isinstance(found[-1], Abort)
    assert message(opened(said), WHOLE).body == b"one\r\ntwo\r\n"


def test_T01_a_packet_in_very_many_pieces_is_joined_in_time_that_grows_with_its_length() -> None:
    codec = opened()
    codec.feed(MAIL + RCPT)
    events(codec)
    whole = packet(b"B", b"x" * 60_000) + END
    began = time.process_time()
    event = None
    for at in range(len(whole)):
        codec.feed(whole[at : at + 1])
        event = codec.next_event()
    assert isinstance(event, Message)
    assert event.body == b"x" * 60_000
    assert time.process_time() - began < 2


# --- T04: content -------------------------------------------------------------------------------------------------------------


def test_content_is_what_the_mta_holds() -> None:
    found = message(opened(), WHOLE)
    assert found.fields == ((b"Subject", b" x"), (b"X-Long", b" a\n\tb"))
    assert found.content() == b"Subject: x\r\nX-Long: a\r\n\tb\r\n\r\none\r\ntwo\r\n"
    old = message(opened(V2), MAIL + RCPT + packet(b"L", b"Subject\0x\0") + packet(b"N") + packet(b"B", b"b") + END)
    assert old.content() == b"Subject: x\r\n\r\nb"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Subject",
        b"Subject\0",
        b"Subject\0x",
        b"Subject\0x\0y\0",
        b"\0x\0",
        b"Sub ject\0x\0",
        b"Sub\nject\0x\0",
        b"Sub:ject\0x\0",
        b"Sub\xe9ject\0x\0",
        b"Subject\0x\nBcc: y@z.in\0",
        b"Subject\0x\n\0",
        b"Subject\0x\n\r\n y\0",
    ],
)
def test_T04_fields_that_would_be_read_as_others(data: bytes) -> None:
    codec = opened()
    codec.feed(MAIL + RCPT + packet(b"L", data))
    with pytest.raises(MilterError, match="header field|name and a value"):
        events(codec)
    assert codec.memory == 0


def test_T04_names_and_values_that_mail_of_this_world_has() -> None:
    fields = (b"Subject ", b""), (b"X-8", b" \xe0\xa4\x85"), (b"X\t", b"\n "), (b"x!", b"a\rb")
    found = message(
        opened(), MAIL + RCPT + b"".join(packet(b"L", name + b"\0" + value + b"\0") for name, value in fields) + packet(b"N") + END
    )
    assert found.fields == fields


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=40), st.sampled_from([V6, V2]))
def test_T04_any_pieces_give_the_same(cuts: list[int], options: bytes) -> None:
    octets = options + CONNECT + WHOLE + packet(b"A") + WHOLE + packet(b"Q")
    codec, whole = Milter(10_000), Milter(10_000)
    whole.feed(octets)
    expected, found, at = events(whole), [], 0
    while at < len(octets):
        step = cuts[at % len(cuts)]
        codec.feed(octets[at : at + step])
        found += events(codec)
        at += step
    assert found == expected
    assert codec.output() == whole.output()


def test_T04_a_body_that_is_split_at_every_octet() -> None:
    body = bytes(range(256)) * 4
    for size in (1, 2, 255, 256, 1023):
        pieces = b"".join(packet(b"B", body[at : at + size]) for at in range(0, len(body), size))
        assert message(opened(), MAIL + RCPT + packet(b"N") + pieces + packet(b"E", b"last")).body == body + b"last"


def test_T04_chunks_of_65535_octets_and_a_limit_that_is_crossed_at_its_octet() -> None:
    chunk = b"x" * 65_535
    octets = MAIL + RCPT + packet(b"L", b"A\0 b\0") + packet(b"N") + packet(b"B", chunk) * 3 + packet(b"B", b"tail") + END
    exact = len(b"A: b\r\n\r\n") + 3 * len(chunk) + 4
    found = message(opened(size=exact), octets)
    assert (len(found.content()), found.lost) == (exact, "")
    found = message(opened(size=exact - 1), octets)
    assert (found.fields, found.body, found.lost) == ((), b"", "too large")
    assert "xxx" not in repr(message(opened(size=exact), octets))


def test_T04_the_limit_is_the_same_where_the_space_after_the_colon_is_not_given() -> None:
    octets = MAIL + RCPT + packet(b"L", b"A\0b\n\tc\0") + packet(b"N") + packet(b"B", b"tail") + END
    exact = len(b"A: b\r\n\tc\r\n\r\ntail")
    assert len(message(opened(V2, size=exact), octets).content()) == exact
    assert message(opened(V2, size=exact - 1), octets).lost == "too large"


def test_T04_small_and_large_pieces_stay_in_order() -> None:
    pieces = [b"a", b"b" * 40_000, b"c", b"d" * 32_767, b"e" * 32_768, b"f" * 20_000, b"g" * 20_000, b"h"]
    found = message(opened(size=1 << 20), MAIL + RCPT + packet(b"N") + b"".join(packet(b"B", piece) for piece in pieces) + END)
    assert found.body == b"".join(pieces)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", ""),
        (b"a\r\n\r\nb", ""),
        (b"a\0b\r\n", "NUL"),
        (b"a\rb\r\n", "bare CR"),
        (b"a\r\r\n", "bare CR"),
        (b"\n", "bare LF"),
        (b"a\n\rb", "bare LF"),
        (b"a" * 998 + b"\r\n" + b"b" * 998 + b"\r\n", ""),
        (b"x\r\n" + b"a" * 999 + b"\r\n", LONG_LINE),
        (b"a" * 1001, LONG_LINE),
    ],
)
def test_T04_what_smtp_refuses_is_named_alike(content: bytes, name: str) -> None:
    assert fault(content, 1000) == name
    scanner = Scanner(10_000, 1000)
    scanner.feed(content + (b"\r\n.\r\n" if content[-2:] != b"\r\n" else b".\r\n"))
    whole = content if content[-2:] == b"\r\n" else content + b"\r\n"
    assert fault(whole, 1000) == (scanner.offence or (LONG_LINE if scanner.too_long else ""))


def test_the_door_sees_memory_and_the_crossed_limit_before_the_end() -> None:
    codec = opened(size=1000)
    codec.feed(MAIL + RCPT + packet(b"N") + packet(b"B", b"x" * 900))
    events(codec)
    assert (codec.memory, codec.text_octets, codec.lost) == (900, 900, "")
    codec.feed(packet(b"B", b"x" * 900))
    assert events(codec) == []
    assert (codec.memory, codec.text_octets, codec.lost) == (0, 1800, "too large")
    codec.output()
    codec.feed(END)
    (event,) = events(codec)
    assert isinstance(event, Message)
    assert event.lost == "too large"
    assert codec.lost == ""


def test_a_door_without_memory_lets_the_rest_pass_by() -> None:
    codec = opened()
    codec.feed(MAIL + RCPT + FIELDS)
    events(codec)
    codec.discard()
    assert codec.memory == 0
    found = message(codec, packet(b"N") + packet(b"B", b"x" * 900) + END)
    assert (found.fields, found.body, found.lost) == ((), b"", "discarded")
    assert message(codec, WHOLE).lost == ""


def test_an_mta_that_waits_after_each_piece_is_told_to_skip_the_rest() -> None:
    codec = opened(packet(b"O", b"\0\0\0\x06\0\0\x01\xff\0\0\x04\x7f"), size=1000)
    codec.feed(MAIL + RCPT + packet(b"N") + packet(b"B", b"x" * 900) + packet(b"B", b"x" * 900))
    events(codec)
    assert packets(codec.output()) == [b"c", b"c", b"c", b"c", b"s"]


def test_a_flood_of_small_things_costs_what_it_says() -> None:
    codec = opened(size=2_000_000)
    codec.feed(MAIL + RCPT)
    events(codec)
    tracemalloc.start()
    try:
        codec.feed(packet(b"L", b"A\0\0") * 1000)
        events(codec)
        assert codec.lost == ""
        assert tracemalloc.get_traced_memory()[0] < codec.memory * 1.5
        codec.feed(packet(b"A") + MAIL + RCPT + packet(b"N"))
        events(codec)
        before = tracemalloc.get_traced_memory()[0]
        codec.feed(packet(b"B", b"x") * 2000)
        events(codec)
        codec.feed(b"")
        assert codec.memory == 2000
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()


def test_more_fields_than_a_message_has_are_not_kept() -> None:
    codec = opened(size=2_000_000)
    codec.feed(MAIL + RCPT + packet(b"L", b"A\0\0") * 10_000)
    events(codec)
    assert codec.lost == ""
    codec.feed(packet(b"L", b"A\0\0"))
    events(codec)
    assert (codec.lost, codec.memory) == ("too many fields", 0)


def test_nothing_is_parsed_while_the_door_is_asked() -> None:
    codec = opened()
    codec.feed(WHOLE + packet(b"X"))
    assert isinstance(codec.next_event(), Mail)
    assert codec.next_event() is None
    assert codec.pending == len(WHOLE) + 5 - len(MAIL)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_T01_T02_any_packets_are_taken_or_refused_by_the_one_error(data: st.DataObject) -> None:
    words = st.sampled_from(
        [V6, V2, CONNECT, MAIL, RCPT, FIELDS, packet(b"N"), END, packet(b"A"), packet(b"K"), packet(b"T"), packet(b"Q")]
    )
    odd = st.builds(packet, st.sampled_from([bytes([c]) for c in b"ABCDEHKLMNOQRTUX"]), st.binary(max_size=30))
    octets = V6 + CONNECT + b"".join(data.draw(st.lists(st.one_of(words, odd, st.binary(max_size=6)), max_size=30)))
    seen = []
    for size in (len(octets), 5):
        codec, found, fault = Milter(500), list[Event](), ""
        try:
            for at in range(0, len(octets), size):
                codec.feed(octets[at : at + size])
                events(codec, found=found)
        except MilterError as error:
            fault = str(error)
            assert codec.next_event() is None
        seen.append((found, fault))
    assert seen[0] == seen[1]


def test_time_is_linear_in_what_comes() -> None:
    took = []
    for count in (20_000, 80_000):
        body = random.Random(1).randbytes(count)
        codec = opened(size=1 << 20)
        codec.feed(MAIL + RCPT + packet(b"N"))
        events(codec)
        whole = packet(b"B", body)
        start = time.perf_counter()
        for at in range(len(whole)):
            codec.feed(whole[at : at + 1])
            codec.next_event()
        took.append(time.perf_counter() - start)
    assert took[1] < took[0] * 10
