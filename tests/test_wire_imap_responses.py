"""The IMAP server's side without any I/O: octets go on as they came, hidden capabilities do not, replies are known."""

from __future__ import annotations

import re
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.imap_capabilities import Offer
from gateway.wire.imap_events import Bye, Capabilities, Greeting, ImapError, Pass, Plus, ServerEvent, Tagged, Told
from gateway.wire.imap_responses import Server

GREETING = b"* OK ready\r\n"


def greeted(offer: Offer | None = None) -> Server:
    server = Server(offer or Offer(10_000))
    server.receive(GREETING)
    assert isinstance(server.next_event(), Greeting)
    return server


def events(data: bytes, size: int = 0, server: Server | None = None) -> list[ServerEvent]:
    server = server or greeted()
    found = []
    for at in range(0, len(data), size or len(data)):
        server.receive(data[at : at + (size or len(data))])
        while (event := server.next_event()) is not None:
            found.append(event)
    return found


def octets(found: list[ServerEvent]) -> bytes:
    return b"".join(one.octets for one in found)


LITERAL = b"From: a\r\n\r\n* OK [CAPABILITY X]\r\na OK\r\n+ \r\n {3}\r\n* BYE\r\n"
RESPONSES = [
    b"* 1 FETCH (FLAGS (\\Seen) UID 5)\r\n",
    b"* 1 FETCH (UID 5 BODY[] {%d}\r\n%s FLAGS ())\r\n" % (len(LITERAL), LITERAL),
    b"* 1 FETCH (BODY[HEADER.FIELDS (FROM)] {3}\r\n)\r\n BODY[TEXT]<0> {0}\r\n BINARY[1] ~{4}\r\n\0\r\n\0 RFC822.SIZE 4)\r\n",
    b'* 2 FETCH (ENVELOPE ("d" "a {5}" (("x" NIL "y" "z")) {2}\r\n"" NIL))\r\n',
    b'* 3 FETCH (BODYSTRUCTURE ("text" "plain" ("charset" "utf-8") NIL NIL "8bit" 5 1))\r\n',
    b'* LIST (\\HasNoChildren) "/" {5}\r\nINBOX\r\n', b'* LIST () "/" "a{5}"\r\n', b"* LIST () \"/\" a}\r\n",
    b"* SEARCH 1 2 3\r\n", b"* SEARCH\r\n", b"* SORT 3 2\r\n", b"* THREAD (1 2)(3)\r\n", b'* ESEARCH (TAG "a") UID ALL 1:3\r\n',
    b"* OK [UIDVALIDITY 77] changed {5}\r\n", b"* NO [ALERT] full\r\n", b"* VANISHED (EARLIER) 41,43\r\n", b"* ENABLED CONDSTORE\r\n",
    b"* STATUS x (APPENDLIMIT 5)\r\n", b"* BYEBYE\r\n", b"* OKAY {2}\r\nab\r\n", b"* 5 EXISTS\n", b"*  x\r\n", b"* \r\n",
    b"* METADATA \"\" (/shared/comment ~{2}\r\nab)\r\n",
]  # fmt: skip


@pytest.mark.parametrize("response", RESPONSES)
def test_I04_I05_I07_I08_responses_go_on_as_they_came(response: bytes) -> None:
    data = response + b"a OK done\r\n"
    for size in (0, 1, 2, 5, 17):
        server = greeted()
        found = events(data, size, server)
        assert octets(found) == data
        assert found[-1] == Tagged(b"a", b"OK", b"a OK done\r\n")
        assert all(isinstance(one, Pass) for one in found[:-1])
        assert server.between


def test_the_end_of_a_response_is_known_at_each_octet() -> None:
    data = b"".join(RESPONSES)
    ends, at = set(), 0
    for response in RESPONSES:
        at += len(response)
        ends.add(at)
    server, given_ = greeted(), 0
    for octet in range(len(data)):
        server.receive(data[octet : octet + 1])
        while (event := server.next_event()) is not None:
            given_ += len(event.octets)
        assert server.between == (given_ in ends or given_ == 0)


def test_what_is_no_data() -> None:
    data = b"* BYE bye\r\n+ go\r\nT.1 no [ALERT] x\r\nb BAD\r\n* CAPABILITY IMAP4rev1\r\n"
    assert events(data, 3) == [
        Bye(b"* BYE bye\r\n"),
        Plus(b"+ go\r\n"),
        Tagged(b"T.1", b"NO", b"T.1 no [ALERT] x\r\n"),
        Tagged(b"b", b"BAD", b"b BAD\r\n"),
        Capabilities(b"* CAPABILITY IMAP4rev1\r\n"),
    ]


REAL = (
    b"IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT THREAD=REFS MULTIAPPEND CATENATE URL-PARTIAL URLAUTH URLAUTH=BINARY BINARY "
    b"COMPRESS=DEFLATE Compress=x REPLACE STARTTLS LOGINDISABLED UNAUTHENTICATE NOTIFY QRESYNC METADATA LITERAL+ MOVE UTF8=ACCEPT "
    b"METADATA-SERVER LIST-METADATA ANNOTATE-EXPERIMENT-1 annotatemore "
    b"auth=plain AUTH=LOGIN AUTH=XOAUTH2 AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS AUTH=CRAM-MD5 AUTH=GSSAPI AUTH=EXTERNAL APPENDLIMIT"
)
LEFT = (
    b"IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT THREAD=REFS MULTIAPPEND NOTIFY QRESYNC LITERAL+ MOVE UTF8=ACCEPT "
    b"auth=plain AUTH=LOGIN AUTH=XOAUTH2 AUTH=SCRAM-SHA-256 APPENDLIMIT=10000"
)


@pytest.mark.parametrize(
    "form", [b"* CAPABILITY %s\r\n", b"* OK [CAPABILITY %s] hi\r\n", b"a OK [capability %s] hi\r\n", b"* NO [CAPABILITY %s]\r\n"]
)
def test_I06_I09_hidden_capabilities_are_told_nowhere(form: bytes) -> None:
    server = greeted()
    assert octets(events(form % REAL, 0, server)) == form % LEFT
    assert b"COMPRESS=DEFLATE" in server.capabilities
    assert octets(events(b"* OK [CAPABILITY BINARY] hi\r\n", server=Server(Offer(1)))) == b"* OK [CAPABILITY ] hi\r\n"


def test_I01_before_tls_no_way_to_sign_in_is_told() -> None:
    said = Offer(10_000, clear=True).line(b"* CAPABILITY %s\r\n" % REAL)
    assert said.endswith(b" UTF8=ACCEPT APPENDLIMIT=10000 STARTTLS LOGINDISABLED\r\n")
    assert b"SASL-IR" not in said
    assert b"AUTH=" not in said.upper()


def test_appendlimit_is_the_lower_of_both() -> None:
    offer = Offer(500)
    assert offer.keeps([b"APPENDLIMIT=400"]) == [b"APPENDLIMIT=400"]
    assert offer.keeps([b"appendlimit=600"]) == [b"APPENDLIMIT=500"]
    assert offer.keeps([b"APPENDLIMIT=x", b"APPENDLIMIT=" + b"9" * 5000]) == [b"APPENDLIMIT=500"] * 2


def test_I01_greetings() -> None:
    for word in (b"OK", b"PREAUTH", b"BYE"):
        assert events(b"* %s hello\r\n" % word, 2, Server(Offer(1))) == [Greeting(word, b"* %s hello\r\n" % word)]
    for line in (b"* NO x\r\n", b"+ x\r\n", b"a OK\r\n", b"* 1 EXISTS\r\n", b"* CAPABILITY X\r\n", b"220 smtp\r\n", b"\r\n"):
        with pytest.raises(ImapError):
            events(line, 0, Server(Offer(1)))


def test_I01_what_came_before_tls_is_known() -> None:
    server = greeted()
    events(b"a OK begin TLS\r\n* CAPAB", 0, server)
    assert server.pending == 7


@pytest.mark.parametrize(
    "data",
    [b"* 1 FETCH (BODY[] {4294967296}\r\n", b"* 1 FETCH (BODY[] {-1}\r\n", b"* 1 FETCH (BODY[] {5+}\r\n",
     b"* 1 FETCH (BODY[] {%s}\r\n" % (b"9" * 30), b"nonsense\r\n", b"\r\n", b"a\r\n", b"a YES\r\n", b"a " + b"x" * 70_000,
     b"* OK " + b"x" * 70_000,     b"+" * 70_000, b"* CAPABILITY " + b"x " * 40_000],
)  # fmt: skip
def test_I02_what_cannot_be_a_response_is_an_error(data: bytes) -> None:
    with pytest.raises(ImapError):
        events(data)
    with pytest.raises(ImapError):
        events(data, 7)


def test_I02_long_lines_and_literals_are_not_kept() -> None:
    for start in (b"* SEARCH", b"* 1 FETCH (BODY[] {4294967295}\r\n"):
        server = greeted()
        server.receive(start)
        tracemalloc.start()
        passed = 0
        for _ in range(2000):
            server.receive(b" 1234567" * 1000)
            while (event := server.next_event()) is not None:
                passed += len(event.octets)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100_000
        assert passed >= 16_000_000 - 40
        assert not server.between


def test_chunks_of_a_literal_go_on_uncopied() -> None:
    server = greeted()
    server.receive(b"* 1 FETCH (BODY[] {1000000}\r\n")
    server.next_event()
    for _ in range(9):
        chunk = bytes(100_000)
        server.receive(chunk)
        event = server.next_event()
        assert event is not None
        assert event.octets is chunk
        assert server.next_event() is None


def test_many_small_responses_go_on_at_once() -> None:
    data = b"".join(b"* %d FETCH (FLAGS (\\Seen) UID %d)\r\n" % (at, at) for at in range(1000))
    assert events(data) == [Pass(data)]
    began = time.process_time()
    data = b"".join(b"* %d FETCH (BODY[] {20}\r\n%s)\r\n" % (at, b"x" * 20) for at in range(20_000))
    assert octets(events(data, 65_536)) == data
    assert time.process_time() - began < 1


_WORDS = st.sampled_from(
    [b"* ", b"a ", b"1 FETCH (BODY[] {3}\r\n", b"OK ", b"BYE ", b"CAPABILITY ", b"[CAPABILITY BINARY X] ", b"\r\n", b"+ ", b" {2}\r\n",
     b"abc",     b")\r\n",     b" ~{1}\r\n", b" {4294967296}\r\n", b"\n", b"{0}\r\n", b"\0"]
)  # fmt: skip


def outcome(data: bytes, size: int) -> tuple[bytes, list[ServerEvent], bool, str]:
    """All octets before a fault but the last of a line that goes on as it comes, and the events that are no data."""
    server, found, fault = greeted(), [], ""
    try:
        for at in range(0, len(data), size):
            server.receive(data[at : at + size])
            while (event := server.next_event()) is not None:
                found.append(event)
    except ImapError as error:
        fault = str(error)
    return octets(found), [one for one in found if not isinstance(one, Pass)], server.between, fault


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(_WORDS, st.binary(max_size=6)), max_size=40), st.integers(1, 30))
def test_any_octets_in_any_pieces_give_the_same(pieces: list[bytes], size: int) -> None:
    data = b"".join(pieces)
    whole, split = outcome(data, len(data) or 1), outcome(data, size)
    assert (whole[1], whole[3]) == (split[1], split[3])
    if not whole[3]:
        assert whole == split or (split[0].startswith(whole[0]) or whole[0].startswith(split[0]))
        assert abs(len(whole[0]) - len(split[0])) <= 40
    if b"CAPABILITY" not in data:
        assert data.startswith(split[0])
    assert re.search(rb"(?m)^\* OK \[CAPABILITY [^\]]*BINARY", split[0]) is None or b"{" in data or b"FETCH" in data


NAMES = b'* NAMESPACE (("" "/")) NIL (({7}\r\nPublic/ "/"))\r\n'
AROUND = b'* 1 EXISTS\r\n%s* LIST () "/" {5}\r\nhello\r\n%sx OK\r\n* 2 FETCH (BODY[] {14}\r\n* NAMESPACE NIL)\r\n'


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 19])
def test_I06_the_answer_to_a_question_of_ours_is_not_the_client_s(size: int) -> None:
    server = greeted()
    server.learn(True)
    found = events(AROUND % (NAMES, b""), size, server)
    assert [one.octets for one in found if isinstance(one, Told)] == [NAMES]
    assert b"".join(one.octets for one in found if not isinstance(one, Told)) == AROUND % (b"", b"")
    server.learn(False)
    again = events(AROUND % (NAMES, NAMES), size, server)
    assert octets(again) == AROUND % (NAMES, NAMES), "what the client asks for itself is the client's"
    assert not any(isinstance(one, Told) for one in again)
