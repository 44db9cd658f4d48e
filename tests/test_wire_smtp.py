"""The SMTP codec without any I/O: commands, the text scanner, any octets in any chunks."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.envelope import Recipient
from gateway.reply import Reply
from gateway.wire.smtp import Server
from gateway.wire.smtp_data import Scanner
from gateway.wire.smtp_events import Body, Close, Data, Error, Offer, Phase, Refusal, StartTls
from gateway.wire.smtp_params import Mail

OK = Reply(250, "2.0.0", "Ok")
OFFER = Offer("gw.example", 10_000, recipients=3)


class Dialogue:
    """A server whose door accepts everything; keeps what came."""

    def __init__(self, offer: Offer = OFFER) -> None:
        self.server = Server(offer)
        self.server.greet()
        self.said = b""
        self.messages: list[tuple[str, list[str], bytes]] = []
        self.refusals: list[str] = []
        self.closed: str | None = None

    def send(self, data: bytes) -> list[int]:
        """Feeds *data*, answers all events, returns the codes of the replies."""
        server = self.server
        server.receive(data)
        while (event := server.next_event()) is not None:
            if isinstance(event, Mail):
                server.accept_mail(event)
            elif isinstance(event, Recipient):
                server.accept_recipient(event)
            elif isinstance(event, Data):
                server.start_text()
            elif isinstance(event, Body):
                assert server.mail is not None
                assert event.sha256 == hashlib.sha256(event.content).hexdigest()
                self.messages.append((server.mail.path.text, [r.path.text for r in server.recipients], event.content))
                server.end_transaction(OK)
            elif isinstance(event, Refusal):
                self.refusals.append(event.reason)
                server.end_transaction(event.reply)
                if event.close:
                    server.close()
                    self.closed = event.reason
            elif isinstance(event, Error):
                server.answer(event.reply)
            elif isinstance(event, StartTls):
                server.tls_started(b"250 tls\r\n")
            elif isinstance(event, Close):
                self.closed = event.reason
        out = server.output()
        self.said += out
        return [int(line[:3]) for line in out.split(b"\r\n") if line[3:4] == b" "]

    def open(self) -> Dialogue:
        assert self.send(b"EHLO c.example\r\n") == [220, 250]
        return self

    def text(self) -> Dialogue:
        self.open()
        assert self.send(b"MAIL FROM:<a@b.in>\r\nRCPT TO:<c@d.in>\r\nDATA\r\n") == [250, 250, 354]
        return self


def test_pipelined_transaction_is_answered_in_order() -> None:
    one = Dialogue().open()
    assert one.send(b"MAIL FROM:<a@b.in> SIZE=5\r\nRCPT TO:<c@d.in>\r\nRCPT TO:<nobody>\r\nRCPT TO:<e@d.in>\r\nDATA\r\n") == [
        250,
        250,
        501,
        250,
        354,
    ]
    assert one.send(b"hello\r\n.\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<x@d.in>\r\nDATA\r\n") == [250, 250, 250, 250, 354]
    assert one.send(b".\r\nQUIT\r\n") == [250, 221]
    assert one.messages == [("a@b.in", ["c@d.in", "e@d.in"], b"hello\r\n"), ("", ["x@d.in"], b"")]
    assert one.closed == ""


def test_ehlo_offers_what_is_there() -> None:
    said = OFFER.ehlo(tls=False).decode()
    assert said.split("\r\n")[:-1] == [
        "250-gw.example", "250-PIPELINING", "250-SIZE 10000", "250-8BITMIME", "250-SMTPUTF8", "250-ENHANCEDSTATUSCODES", "250 DSN",
    ]  # fmt: skip
    offer = Offer("gw.example", 1, starttls=True)
    assert b"STARTTLS" in offer.ehlo(tls=False)
    assert b"STARTTLS" not in offer.ehlo(tls=True)
    assert b"CHUNKING" not in offer.ehlo(tls=False)


def test_nothing_is_parsed_while_a_decision_is_awaited() -> None:
    one = Dialogue().open()
    server = one.server
    server.receive(b"MAIL FROM:<a@b.in>\r\nQUIT\r\n")
    assert isinstance(server.next_event(), Mail)
    assert server.next_event() is None
    assert server.pending == 6
    server.answer(Reply(451, "4.3.0", "Later."), error=False)
    assert isinstance(server.next_event(), Close)
    assert server.output() == b"451 4.3.0 Later.\r\n221 2.0.0 Bye\r\n"


def test_dsn_parameters_are_kept_verbatim() -> None:
    one = Dialogue().open()
    server = one.server
    server.receive(b"mail from:<a@b.in> ret=hdrs envid=Qq+2B1 body=8bitmime SIZE=12\r\n")
    mail = server.next_event()
    assert isinstance(mail, Mail)
    assert (mail.ret, mail.envid, mail.eight_bit, mail.size) == ("HDRS", "Qq+2B1", True, 12)
    server.accept_mail(mail)
    server.receive(b"RCPT TO:<c@d.in> NOTIFY=success,FAILURE ORCPT=rfc822;Al+2Bx@D.in\r\n")
    recipient = server.next_event()
    assert isinstance(recipient, Recipient)
    assert recipient.notify == frozenset({"SUCCESS", "FAILURE"})
    assert recipient.orcpt == "rfc822;Al+2Bx@D.in"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("NOTIFY=NEVER", 250), ("NOTIFY=NEVER,DELAY", 501), ("NOTIFY=", 501), ("NOTIFY=DELAY,DELAY", 501), ("NOTIFY=SOON", 501),
        ("ORCPT=rfc822", 501), ("ORCPT=rfc822;", 501), ("ORCPT=rfc822;a+zz", 501), ("ORCPT=rfc822;a+0D+0Ab", 501),
        ("ORCPT=rfc822;" + "a" * 500, 501), ("ORCPT=utf-8;a\\x{915}@b.in", 250), ("ORCPT=utf-8;a\\x{D}@b.in", 501),
        ("ORCPT=utf-8;a\\x{0A}@b.in", 501), ("ORCPT=utf-8;a\\x{110000}", 501), ("FOO=1", 555),
    ],
)  # fmt: skip
def test_recipient_parameters(parameters: str, code: int) -> None:
    one = Dialogue().open()
    assert one.send(b"MAIL FROM:<a@b.in>\r\n") == [250]
    assert one.send(b"RCPT TO:<c@d.in> " + parameters.encode() + b"\r\n") == [code]


def test_S29_chunking_is_not_there() -> None:
    one = Dialogue().open()
    assert one.send(b"MAIL FROM:<a@b.in> BODY=BINARYMIME\r\n") == [555]
    assert one.send(b"MAIL FROM:<a@b.in>\r\n") == [250]
    assert one.send(b"BDAT 5 LAST\r\n") == [500]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        (b"SIZE=10000", 250), (b"SIZE=10001", 552), (b"SIZE=-1", 501), (b"SIZE=0x10", 501), (b"SIZE=99999999999999999999", 501),
        (b"SIZE=1 SIZE=1", 501), (b"SIZE", 501), (b"SIZE=", 501), ("SIZE=\u0967".encode(), 501), (b"SIZE=9999999999999999999", 552),
    ],
)  # fmt: skip
def test_S26_sizes(parameters: bytes, code: int) -> None:
    assert Dialogue().open().send(b"MAIL FROM:<a@b.in> " + parameters + b"\r\n") == [code]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        (b"FOO=BAR", 555), (b"RET=BOTH", 501), (b"RET", 501), (b"RET=FULL RET=FULL", 501), (b"ENVID=+zz", 501), (b"ENVID=", 501),
        (b"ENVID=+0A", 501), (b"ENVID=" + b"a" * 101, 501), (b"AUTH=<>", 555), (b"AUTH=" + b"a" * 10_000, 500), (b"SMTPUTF8=1", 501),
        (b"REQUIRETLS", 555), (b"BODY", 501), (b"=x", 555),
    ],
)  # fmt: skip
def test_S31_parameters(parameters: bytes, code: int) -> None:
    assert Dialogue().open().send(b"MAIL FROM:<a@b.in> " + parameters + b"\r\n") == [code]


def test_S30_S14_order_and_smtputf8() -> None:
    one = Dialogue()
    assert one.send(b"") == [220]
    assert one.send(b"MAIL FROM:<a@b.in>\r\n") == [503]
    one = Dialogue().open()
    assert one.send("MAIL FROM:<सचिव@b.in>\r\n".encode()) == [550]
    assert b"5.6.7" in one.said
    assert one.send("MAIL FROM:<सचिव@b.in> SMTPUTF8\r\n".encode()) == [250]
    assert one.send("RCPT TO:<सचिव@सरकार.भारत>\r\n".encode()) == [250]
    assert one.send(b"EHLO again.example\r\n") == [250]
    assert one.server.mail is None
    assert one.send(b"RCPT TO:<a@b.in>\r\n") == [503]
    assert one.send(b"DATA\r\n") == [503]


@pytest.mark.parametrize(
    "name", [b"\xff.example", b"a\0b", b"a\x1b[31m", b"", b"a b", b"[1.2.3", b"[1.2.3.400]",
             b"[IPv6:zz]", b"[IPv6:fe80::1%eth0]", b"-a", b"a..b",
             b"a.", b"(a)", b"a" * 256, b"<a>", b"a;b"]
)  # fmt: skip
@pytest.mark.parametrize("verb", [b"EHLO", b"HELO"])
def test_S13_names_that_are_none(verb: bytes, name: bytes) -> None:
    one = Dialogue()
    assert one.send(verb + b" " + name + b"\r\n") == [220, 501]
    assert one.server.helo == ""
    assert b"\x1b" not in one.said


@pytest.mark.parametrize("name", [b"a.example", b"DESKTOP-1", b"MY_PC", b"[192.0.2.1]", b"[IPv6:2001:db8::1]"])
def test_S13_names_that_are_taken(name: bytes) -> None:
    one = Dialogue()
    assert one.send(b"EHLO " + name + b"\r\n") == [220, 250]
    assert one.server.helo.encode() == name


# --- the text ----------------------------------------------------------------------------------------------------------


def scan(data: bytes, sizes: list[int] | None = None, *, size: int = 10_000, line: int = 1000) -> tuple[str, bytes, int]:
    """Outcome, content and octets taken of *data* fed in chunks of *sizes* (cycled; None: in one)."""
    scanner = Scanner(size, line)
    position, turn = 0, 0
    while position < len(data) or not position:
        step = sizes[turn % len(sizes)] if sizes else len(data) or 1
        chunk = data[position : position + step]
        taken = scanner.feed(chunk)
        position += taken
        turn += 1
        if scanner.offence:
            return scanner.offence, b"", -1
        if scanner.done:
            if scanner.too_long:
                return "long", b"", position
            if scanner.too_large:
                return "large", b"", position
            content, digest = scanner.content()
            assert digest == hashlib.sha256(content).hexdigest()
            return "done", content, position
        if not chunk:
            break
    return "more", b"", position


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        (b".\r\n", b""), (b"a\r\n.\r\n", b"a\r\n"), (b"..\r\n.\r\n", b".\r\n"), (b"...\r\n.\r\n", b"..\r\n"),
        (b"a\r\n..\r\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"), (b"\r\n.\r\n", b"\r\n"), (b"a\r\n\r\n..\r\n..b\r\n.\r\n", b"a\r\n\r\n.\r\n.b\r\n"),
        (b"..\r\n..\r\n..\r\n.\r\n", b".\r\n.\r\n.\r\n"),
        (b"a.\r\nb..\r\n.\r\n", b"a.\r\nb..\r\n"),
    ],
)  # fmt: skip
def test_S06_S07_dots(sent: bytes, content: bytes) -> None:
    for sizes in (None, [1], [2], [3], [1, 4]):
        assert scan(sent + b"QUIT\r\n", sizes) == ("done", content, len(sent))


SMUGGLED = {
    "S01": [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\n\n.\r\n"],
    "S02": [b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\n"],
    "S03": [b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\0"],
}


@pytest.mark.parametrize("end", [end for ends in SMUGGLED.values() for end in ends])
def test_S01_S02_S03_no_other_end_of_data(end: bytes) -> None:
    for sizes in (None, [1], [2], [3], [7]):
        one = Dialogue().text()
        text = b"Subject: x\r\n\r\nbody" + end + b"MAIL FROM:<evil@b.in>\r\nRCPT TO:<c@d.in>\r\nDATA\r\nsmuggled\r\n.\r\n"
        codes: list[int] = []
        position = 0
        while position < len(text):
            step = sizes[0] if sizes else len(text)
            codes += one.send(text[position : position + step])
            position += step
        assert codes == [550]
        assert b"550 5.6.0" in one.said
        assert one.messages == []
        assert one.server.phase is Phase.CLOSED


def test_S04_S05_bare_line_ends() -> None:
    assert scan(b"a\r\nfoo\rbar\r\n.\r\n")[0] == "bare CR"
    assert scan(b"Subject: a\nX: b\r\n\r\ntext\r\n.\r\n")[0] == "bare LF"
    assert scan(b"a\0b\r\n.\r\n")[0] == "NUL"
    assert scan(b"\rone line as some servers read it, two as others do\n.\r\n")[0] == "bare CR"
    assert scan(b"a\r\n\rtext\nb\r\n.\r\n")[0] == "bare CR"


def test_S25_line_lengths() -> None:
    for sizes in (None, [1], [997], [1000]):
        assert scan(b"x\r\n" + b"a" * 998 + b"\r\ny\r\n.\r\n", sizes)[0] == "done"
        assert scan(b"x\r\n" + b"a" * 999 + b"\r\ny\r\n.\r\n", sizes)[0] == "long"
        assert scan(b"." + b"." + b"a" * 997 + b"\r\n.\r\n", sizes)[0] == "done"
        assert scan(b"." + b"." + b"a" * 998 + b"\r\n.\r\n", sizes)[0] == "long"
        assert scan(b"a" * 1001 + b"\r\n.\r\n", sizes)[0] == "long"
        assert scan(b"a" * 998 + b"\r\n.\r\n", sizes)[0] == "done"
        assert scan((b"b" * 998 + b"\r\n") * 5 + b".\r\n", sizes)[0] == "done"
    scanner = Scanner(10_000_000, 1000)
    for _ in range(50):
        scanner.feed(b"a" * 1_000_000)
        assert scanner.memory <= 1_000_000
    assert scanner.offence == "endless"


def test_S27_S28_one_octet_over_the_limit() -> None:
    body = (b"a" * 98 + b"\r\n") * 100
    assert scan(body + b".\r\n")[0] == "done"
    assert scan(b"b" + body + b".\r\n")[0] == "large"
    one = Dialogue().open()
    assert one.send(b"MAIL FROM:<a@b.in> SIZE=10\r\nRCPT TO:<c@d.in>\r\nDATA\r\n") == [250, 250, 354]
    assert one.send(body * 2) == []
    assert one.server.memory == 0
    assert one.send(b".\r\nNOOP\r\n") == [552, 250]
    assert b"552 5.3.4" in one.said


_text = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"\r\n.", b"a", b"bc", b"\0", b"\r\n.\r\n", b"x" * 30]), max_size=30
).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(_text, st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_the_scanner_does_not_depend_on_chunks(data: bytes, sizes: list[int]) -> None:
    whole, cut = scan(data, size=60, line=30), scan(data, sizes, size=60, line=30)
    if "endless" in (whole[0], cut[0]):
        return
    assert whole == cut


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(1, 70), min_size=1, max_size=5))
def test_what_is_stuffed_comes_back(data: bytes, sizes: list[int]) -> None:
    lines = data.replace(b"\r", b"").replace(b"\0", b"").split(b"\n")
    content = b"".join(line + b"\r\n" for line in lines)
    stuffed = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines) + b".\r\n"
    assert scan(stuffed, sizes) == ("done", content, len(stuffed))


_commands = st.sampled_from([
    b"EHLO a.b\r\n", b"HELO a\r\n", b"MAIL FROM:<a@b.in>\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<c@d.in>\r\n", b"DATA\r\n",
    b"text\r\n", b".\r\n",
    b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b"STARTTLS\r\n", b"AUTH PLAIN\r\n", b"\r\n", b"\n",
    b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"MAIL FROM:<\"a>",
    b"RCPT TO:<a@b.in> NOTIFY=NEVER\r\n", b"x" * 600, b"\0", b"VRFY a\r\n",
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(_commands, st.binary(max_size=20)), max_size=25), st.randoms(use_true_random=False))
def test_any_octets_in_any_chunks_never_raise(parts: list[bytes], chance: random.Random) -> None:
    one = Dialogue(Offer("gw.example", 500, starttls=True))
    data = b"".join(parts)
    while data:
        cut = chance.randint(1, len(data))
        one.send(data[:cut])
        data = data[cut:]
    for line in one.said.split(b"\r\n")[:-1]:
        assert line.isascii()
        assert len(line) <= 510
        assert line[:3].isdigit()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(_commands, st.binary(max_size=20)), max_size=15).map(b"".join))
def test_commands_do_not_depend_on_chunks(data: bytes) -> None:
    """Fed octet by octet and line by line: the same replies (in one piece it could be pipelining before its time)."""
    by_octet, by_line = Dialogue(), Dialogue()
    for octet in data:
        by_octet.send(bytes([octet]))
    for line in data.splitlines(keepends=True):
        by_line.send(line)
    assert by_octet.said == by_line.said
    assert by_octet.messages == by_line.messages
