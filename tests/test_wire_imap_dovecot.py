"""The IMAP codecs before a real Dovecot: both cut the same octets in the same way, so that nothing gets in unjudged."""

from __future__ import annotations

import imaplib
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.dovecot import DOVECOT, Dovecot
from tests.test_smtp_client import certificates  # noqa: F401 (a fixture)
from tests.wire_imap_pair import Pair

pytestmark = [pytest.mark.service, pytest.mark.skipif(not DOVECOT.exists(), reason="needs dovecot-imapd")]
USER, SECRET = "asha", "a secret"

SMUGGLED = b"b APPEND INBOX {6+}\r\nsecret\r\n"
AMONG = [
    b"XYZZY {%d+}",
    b"NOOP {%d+}",
    b"GETQUOTA {%d+}",
    b'SEARCH TEXT x"y" {%d+}',
    b"SEARCH TEXT x{%d+}",
    b"FETCH 1 BODY[{%d+}",
    b"IDLE {%d+}",
    b"SELECT INBOX {%d+}",
    b"ENABLE {%d+}",
    b"SEARCH BADKEY {%d+}",
    b'APPEND INBOX "no date" {%d+}',
    b"APPEND INBOX (\\Foo) {%d+}",
    b"APPEND INBOX (a (b)) {%d+}",
    b"APPEND Nowhere {%d+}",
    b'LIST "" {%d+}',
    b"STATUS INBOX ({%d+}",
    b'SETMETADATA "" (/private/x {%d+}',
    b"UID {%d+}",
    b"{%d+}",
    b"LOGIN a {%d+}",
    b"AUTHENTICATE PLAIN {%d+}",
    b"ID ({%d+}",
    b"CREATE {%d+}",
    b"STORE 1 FLAGS {%d+}",
]
WORDS = [
    b"a ",
    b"b ",
    b"c ",
    b"NOOP",
    b"\r\n",
    b"\r\n",
    b"SELECT INBOX\r\n",
    b"d SELECT {5+}\r\nINBOX\r\n",
    b"e FETCH 1:* (FLAGS)\r\n",
    b"SEARCH TEXT ",
    b"{3+}\r\nabc",
    b"{3}\r\nabc",
    b" {29+}\r\n" + SMUGGLED,
    b" {29}\r\n" + SMUGGLED,
    b"APPEND INBOX ",
    b"(\\Seen) ",
    b"(\\Foo) ",
    b'"x',
    b'"',
    b"\\",
    b"UID ",
    b"FETCH 1 ",
    b"BODY[",
    b"(",
    b")",
    b"{",
    b"}",
    b"IDLE\r\n",
    b"DONE\r\n",
    b"~",
    b"LIST ",
    b'"" ',
    b"XYZZY",
    b"GETACL ",
    b"]",
    b" ",
    b"+",
]


@pytest.fixture(scope="module")
def dovecot(certificates: Path) -> Iterator[Dovecot]:  # noqa: F811
    # Not below pytest's own folder: another run of pytest closes that to nobody, as whom Dovecot reads mail.
    with tempfile.TemporaryDirectory(prefix="dovecot-") as folder:
        server = Dovecot(Path(folder), certificates, {USER: SECRET})
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Through:
    """A session through both codecs."""

    def __init__(self, dovecot: Dovecot, pair: Pair) -> None:
        self.pair = pair
        self.sent = 0
        self.ended = False
        self.socket = socket.create_connection(("127.0.0.1", dovecot.port))
        self.socket.recv(4096)  # Pair has greeted by itself
        self.pair.client.signed_in = False
        assert self.say(b'l LOGIN asha "a secret"\r\n', b"l OK"), (self.pair.to_client, dovecot.log[-1500:])

    def say(self, octets: bytes, until: bytes) -> bool:
        """Says *octets*; whether *until* comes back before the session ends or nothing more is said."""
        self.pair.client_says(octets)
        while not self.ended:
            self.socket.sendall(self.pair.to_server[self.sent :])
            self.sent = len(self.pair.to_server)
            if b"\r\n" + until in b"\r\n" + self.pair.to_client or self.pair.closed:
                break
            # Nothing is on its way where the server owes no reply and has no literal to ask for.
            self.socket.settimeout(5 if self.pair.order.outstanding and not self.pair.client.idle else 0.05)
            try:
                data = self.socket.recv(65_536)
            except TimeoutError:
                return False
            self.ended = not data
            self.pair.server_says(data)
        return b"\r\n" + until in b"\r\n" + self.pair.to_client

    def close(self) -> None:
        self.socket.close()


def refuse(messages: list[object]) -> bytes:
    return messages[0].tag + b" NO [NOPERM] refused\r\n"  # type: ignore[attr-defined]


def kept(dovecot: Dovecot) -> list[bytes]:
    """What is in the mailbox."""
    with imaplib.IMAP4("127.0.0.1", dovecot.port) as box:
        box.login(USER, SECRET)
        answer = box.select("INBOX", readonly=True)
        assert answer[0] == "OK", (answer, dovecot.log[-1500:])
        return [one[1] for one in box.uid("FETCH", "1:*", "(BODY.PEEK[])")[1] if isinstance(one, tuple)]


@pytest.mark.parametrize("command", AMONG)
def test_I06_no_command_hides_in_a_literal_of_another(dovecot: Dovecot, command: bytes) -> None:
    """Many of these file the second message in a Dovecot without us."""
    through = Through(dovecot, Pair(refuse))
    try:
        assert through.say(b"a " + command % len(SMUGGLED) + b"\r\n" + SMUGGLED + b")\r\nz NOOP\r\n", b"z OK") or through.pair.closed
    finally:
        through.close()
    assert b"secret" not in b"".join(kept(dovecot))


@pytest.mark.parametrize("seed", range(8))
def test_I06_I03_whatever_is_said_nothing_gets_in(dovecot: Dovecot, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        through = Through(dovecot, Pair(refuse))
        try:
            stream = b"".join(rng.choice(WORDS) for _ in range(rng.randrange(3, 30)))
            alive = through.say(stream + b"\r\nz NOOP\r\n", b"z OK")
            for number in range(4):
                alive = alive or through.say(b"x" * 520 + b"\r\nDONE\r\ny%d NOOP\r\n" % number, b"y%d OK" % number)
            assert alive or through.pair.closed or through.ended, (
                stream,
                through.pair.to_server,
                through.pair.to_client,
                through.pair.client._phase,
                through.pair.order._queue,
            )
        finally:
            through.close()
    assert b"secret" not in b"".join(kept(dovecot))


def test_I06_what_may_be_filed_arrives_octet_for_octet(dovecot: Dovecot) -> None:
    before = len(kept(dovecot))
    through = Through(dovecot, Pair())
    messages = [b"Subject: %d\r\n\r\nb APPEND INBOX {1+}\r\nx\r\n\x80\xff %s\r\n" % (at, b"y" * at * 100) for at in range(5)]
    one, two, three, four, five = messages
    try:
        assert through.say(b"a APPEND INBOX (\\Seen) {%d+}\r\n%s\r\n" % (len(one), one), b"a OK")
        assert through.say(b'b append "INBOX" () " 5-Nov-2026 10:00:00 +0530" {%d}\r\n%s\r\n' % (len(two), two), b"b OK")
        assert through.say(b"c APPEND {5+}\r\nINBOX {%d+}\r\n%s (\\Draft) {%d}\r\n%s\r\n" % (len(three), three, len(four), four), b"c OK")
        assert through.say(b"d APPEND INBOX ~{%d+}\r\n%s\r\n" % (len(five), five), b"d OK")
        assert through.say(b"e APPEND Nowhere {3+}\r\nabc\r\nf SELECT INBOX\r\ng FETCH %d BODY[]\r\n" % (before + 5), b"g OK")
        assert b"e NO [TRYCREATE]" in through.pair.to_client
        assert five in through.pair.to_client
    finally:
        through.close()
    assert kept(dovecot)[before:] == messages


def test_I06_I09_dovecot_offers_nothing_that_we_hide(dovecot: Dovecot) -> None:
    through = Through(dovecot, Pair())
    try:
        assert through.say(b"a CAPABILITY\r\n", b"a OK")
        line = next(one for one in through.pair.to_client.split(b"\r\n") if one.startswith(b"* CAPABILITY "))
        assert {b"IMAP4rev1", b"IDLE", b"MULTIAPPEND", b"LITERAL+"} <= set(line.split())
        assert not {b"BINARY", b"CATENATE", b"URLAUTH", b"STARTTLS", b"COMPRESS=DEFLATE"} & set(line.split())
    finally:
        through.close()
