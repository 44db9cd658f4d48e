"""What an IMAP server can do to its client: an archive that is hostile, or broken, ends its own session and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.relay import imap_wire, mailbox
from gateway.relay.mailbox import Mailbox, MailboxError, Place
from tests.test_mailbox import archive, plain, server

Answer = Callable[[bytes], list[bytes] | None]


def opened(folder: Path, port: int) -> Mailbox:
    box = Mailbox(Place.of(archive(folder, f"imap://127.0.0.1:{port}/J")))
    box.open()
    return box


def fetched(*said: bytes) -> Answer:
    """A server whose answer to FETCH begins with *said*."""
    return lambda line: [*said] if b"FETCH" in line else plain(line)


@pytest.mark.parametrize("literal", [b"{4294967296}", b"{99999999999999999999}", b"{2000000}"])
def test_I02_a_literal_longer_than_what_was_asked_for_is_not_waited_for(tmp_path: Path, literal: bytes) -> None:
    with server(fetched(b"* 1 FETCH (UID 1 BODY[]<0> " + literal + b"\r\nabc")) as port:
        box = opened(tmp_path, port)
        with pytest.raises(MailboxError, match="more octets than were asked for") as caught:
            box.read(1)
        box.close()
    assert caught.value.away


@pytest.mark.parametrize("said", [b"* SEARCH 1\r\n" * 20_000, b"* SEARCH " + b"1 " * 110_000])
def test_I02_an_answer_without_end_is_cut(tmp_path: Path, said: bytes) -> None:
    def floods(line: bytes) -> list[bytes] | None:
        return [said] if b"SEARCH" in line else plain(line)

    with server(floods) as port:
        box = opened(tmp_path, port)
        with pytest.raises(MailboxError, match="longer than what was asked for") as caught:
            box.with_field("X-Gateway-Journal", "R")
        box.close()
    assert caught.value.away


def test_I02_a_line_without_end_leaves_a_doubt(tmp_path: Path) -> None:
    """imaplib itself calls this a refusal, after which a copy would be filed a second time without a search."""

    def endless(line: bytes) -> list[bytes] | None:
        if b"APPEND" in line:
            return [b"+ go\r\n", b"* OK " + b"x" * 1_100_000]
        return [] if line.startswith((b"From", b"\r\n", b"x")) else plain(line)

    with server(endless) as port:
        box = opened(tmp_path, port)
        with pytest.raises(MailboxError, match="a line without an end") as caught:
            box.append(b"From: a@b\r\n\r\nx\r\n")
        box.close()
    assert (caught.value.doubtful, caught.value.away) == (True, True)


def test_a_server_that_says_one_octet_at_a_time_has_no_more_time_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "ANSWER", 0.4)
    with server(lambda line: [b"* OK still here\r\n"] if b"NOOP" in line else plain(line), drip=0.02) as port:
        box = opened(tmp_path, port)
        start = time.monotonic()
        with pytest.raises(MailboxError, match="took too long"):
            box.with_field("X-Gateway-Journal", "R")
        assert time.monotonic() - start < 5
        box.close()


def test_a_server_that_does_not_read_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "ANSWER", 0.3)
    monkeypatch.setattr(mailbox, "SLOWEST", 1e9)
    stop = threading.Event()

    def deaf(line: bytes) -> list[bytes] | None:
        if b"APPEND" in line:
            return [b"+ go\r\n"]
        if line.startswith(b"From"):
            stop.wait(5)
            return None
        return plain(line)

    with server(deaf) as port:
        box = opened(tmp_path, port)
        with pytest.raises(MailboxError) as caught:
            box.append(b"From: a@b\r\n\r\n" + b"x" * 9_000_000 + b"\r\n")
        stop.set()
        box.close()
    assert (caught.value.doubtful, caught.value.away) == (True, True)


@pytest.mark.parametrize(
    "said",
    [
        b"* 1 FETCH " + b"(" * 5000 + b"\r\n", b"* 1 FETCH (ENVELOPE (1))\r\n", b"* 1 FETCH (ENVELOPE 7)\r\n", b"* 1 FETCH (UID)\r\n",
        b"* 1 FETCH (UID x)\r\n", b"* x FETCH ()\r\n", b'* 1 FETCH (INTERNALDATE "99-Foo-0000 99:99:99 +9999")\r\n', b"* 1 FETCH\r\n",
        b"* 1 FETCH (BODY[] {3}\r\nabc\r\n", b"* 1 FETCH (UID 1 BODY[]<0> (1 2))\r\n", b"* 1 FETCH (UID 1 BODY[]<0> 7)\r\n",
        b"* 1 FETCH (UID 1 BODYSTRUCTURE ())\r\n", b"\xff\xfe\x00\r\n", b"\r\n", b"* 1 FETCH (FLAGS ((1)))\r\n",
        b'* 1 FETCH (ENVELOPE ("" "" ((1)) NIL NIL NIL NIL NIL NIL NIL))\r\n',
    ],
)  # fmt: skip
def test_I04_answers_that_cannot_be_read_are_one_sentence(tmp_path: Path, said: bytes) -> None:
    with server(lambda line: [said, line.split()[0] + b" OK done\r\n"] if b"FETCH" in line else plain(line)) as port:
        box = opened(tmp_path, port)
        try:
            assert box.read(1) is None
        except MailboxError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 400
        box.close()


def test_a_session_that_is_ended_under_a_thread_is_closed_by_that_thread(tmp_path: Path) -> None:
    """A descriptor that is closed under a reader may be another connection's by the time it reads."""
    with server(lambda line: [] if b"NOOP" in line else plain(line)) as port:
        box = opened(tmp_path, port)
        client = box._client
        assert client is not None
        failed: list[MailboxError] = []
        inside = threading.Event()
        readline = client.wire.readline

        def reads() -> bytes:
            inside.set()
            try:
                return readline()
            finally:
                inside.clear()

        client.wire.readline = reads  # type: ignore[method-assign]

        def asks() -> None:
            try:
                box.with_field("X-Gateway-Journal", "R")
            except MailboxError as error:
                failed.append(error)

        thread = threading.Thread(target=asks)
        thread.start()
        while not box._busy.locked():
            time.sleep(0.01)
        closed: list[bool] = []
        shutdown = client.wire.shutdown
        client.wire.shutdown = lambda: (closed.append(inside.is_set()), shutdown())  # type: ignore[method-assign,func-returns-value,assignment]
        box.abort()
        thread.join(5)
        assert not thread.is_alive()
        assert closed, "by whoever comes last: both may, once nobody reads"
        assert not any(closed)
        assert client.socket().fileno() == -1
        assert failed
        box.close()


def test_a_large_mailbox_is_listed_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One SEARCH of everything would be a line that no client takes, once the archive has seven years of mail."""
    monkeypatch.setattr(mailbox, "_WINDOW", 10)
    monkeypatch.setattr(mailbox, "_AT_ONCE", 4)
    there = [1, 2, 3, 4, 5, 6, 47, 48, 61, 62, 64, 65]  # 65 came after the mailbox was opened
    asked: list[bytes] = []

    def large(line: bytes) -> list[bytes] | None:
        tag, _, command = line.strip().partition(b" ")
        if command.startswith(b"SELECT"):
            return [b"* 11 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 65] x\r\n", tag + b" OK [READ-WRITE] x\r\n"]
        if b"SEARCH" in command:
            asked.append(words := command.split()[-1])
            low, high = words.split(b":")
            top = max(there) if high == b"*" else int(high)
            found = [uid for uid in there if min(int(low), top) <= uid <= top]
            return [b"* SEARCH " + b" ".join(b"%d" % uid for uid in found) + b"\r\n", tag + b" OK done\r\n"]
        if b"FETCH" in command:
            assert b"BODY.PEEK[HEADER.FIELDS (X-J)]<0.1000>" in command
            rows = (b'* 1 FETCH (UID %d BODY[HEADER.FIELDS ("X-J")]<0> {9}\r\nX-J: %s\r\n\r\n)\r\n' % (n, b"x") for n in there
                    if b"%d" % n in command.split()[2].split(b","))  # fmt: skip
            return [*(row.replace(b"{9}", b"{10}") for row in rows), tag + b" OK done\r\n"]
        return plain(line)

    seen: list[int] = []
    with server(large) as port:
        box = opened(tmp_path, port)
        after, more = 0, True
        while more:
            found, after = box.values("X-J", after)
            seen += [uid for uid, value in found if value == "x"]
            more = bool(after)
        box.close()
    assert seen == there
    assert b"1:*" not in asked
    assert asked[:3] == [b"1:10", b"5:14", b"7:16"]


def test_constants_are_those_of_both_clients() -> None:
    from gateway.cli import sweep_server

    assert sweep_server.Client is imap_wire.Client
    assert mailbox.ANSWER == sweep_server.ANSWER == 120.0
