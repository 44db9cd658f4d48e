"""The archive's mailbox: where it is, as whom, and what its failures mean. With a real server: tests/e2e/test_archive.py."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from gateway.config import Archive
from gateway.relay import mailbox
from gateway.relay.mailbox import Mailbox, MailboxError, Place


def archive(folder: Path, url: str, **changes: object) -> Archive:
    secret = folder / "secret"
    if not secret.exists():
        secret.write_text("pass word\n")
        secret.chmod(0o600)
    return Archive.model_validate({"kind": "imap", "url": url, "login": "j", "password_file": secret} | changes)


def _line(lines: BinaryIO) -> bytes:
    with suppress(OSError):
        return lines.readline()
    return b""


@contextmanager
def server(answer: Callable[[bytes], list[bytes] | None], *, drip: float = 0.0) -> Iterator[int]:
    """A server of one session: *answer* says what follows a line; None ends the connection. With *drip*, an answer without a tag is
    said one octet after the other, with so many seconds between them."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"* OK [CAPABILITY IMAP4rev1] here\r\n")
            while line := _line(lines):
                said = answer(line)
                if said is None:
                    return
                with suppress(OSError):
                    if drip and said and said[-1].startswith(b"* "):
                        for octet in b"".join(said) * 100:
                            connection.sendall(bytes([octet]))
                            time.sleep(drip)
                    connection.sendall(b"".join(said))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join(5)


def plain(line: bytes) -> list[bytes]:
    """A well-behaved server's answers up to the mailbox."""
    tag, _, command = line.strip().partition(b" ")
    if command.startswith(b"CAPABILITY"):
        return [b"* CAPABILITY IMAP4rev1\r\n", tag + b" OK done\r\n"]
    if command.startswith((b"SELECT", b"EXAMINE")):
        return [b"* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n", tag + b" OK [READ-WRITE] x\r\n"]
    return [tag + b" OK done\r\n"]


def test_the_place_is_read_from_the_url(tmp_path: Path) -> None:
    place = Place.of(archive(tmp_path, "imaps://a.gov.in/Journal/%E0%A4%85%202027"))
    assert (place.host, place.port, place.tls, place.mailbox, place.name) == ("a.gov.in", 993, True, "Journal/अ 2027", "a.gov.in")
    place = Place.of(archive(tmp_path, "imap://127.0.0.1:1143/J", tls_name="x"))
    assert (place.host, place.port, place.tls, place.name) == ("127.0.0.1", 1143, False, "x")
    place = Place.of(archive(tmp_path, "imaps://[::1]:1993/J"))
    assert (place.host, place.port) == ("::1", 1993)
    assert place.password() == "pass word"


def test_a_password_that_others_may_read_or_nobody_can_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place.of(archive(tmp_path, "imaps://a.gov.in/J"))
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(MailboxError, match="can be read by everybody"):
        place.password()
    (tmp_path / "secret").unlink()
    with pytest.raises(MailboxError, match="No such file"):
        place.password()
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    passed = Place.of(archive(tmp_path, "imaps://a.gov.in/J", password_file=None, credential="archive"))
    with pytest.raises(MailboxError, match="was not passed"):
        passed.password()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "archive").write_text("other")
    (tmp_path / "archive").chmod(0o600)
    assert passed.password() == "other"


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(MailboxError, match="cannot be reached: Connection refused") as caught:
        Mailbox(Place.of(archive(tmp_path, f"imap://127.0.0.1:{port}/J"))).open()
    assert caught.value.away


def test_clear_text_is_not_taken_for_tls(tmp_path: Path) -> None:
    with server(plain) as port, pytest.raises(MailboxError, match="cannot be reached") as caught:
        Mailbox(Place.of(archive(tmp_path, f"imaps://127.0.0.1:{port}/J"))).open()
    assert caught.value.away


@pytest.mark.parametrize(("command", "words"), [(b"LOGIN", "does not take the login"), (b"SELECT", "has no mailbox J that may be used")])
def test_a_refused_login_or_mailbox_is_said(tmp_path: Path, command: bytes, words: str) -> None:
    def answer(line: bytes) -> list[bytes]:
        return [line.split()[0] + b" NO not you\r\n"] if command in line else plain(line)

    with server(answer) as port:
        box = Mailbox(Place.of(archive(tmp_path, f"imap://127.0.0.1:{port}/J")))
        with pytest.raises(MailboxError, match=words) as caught:
            box.open()
        box.close()
    assert caught.value.away
    assert "not you" in str(caught.value)
    assert "pass word" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "doubtful", "away"),
    [(b"%s NO [OVERQUOTA] full\r\n", False, False), (None, True, True), (b"+ go\r\n", True, True)],
    ids=["refused", "broken", "silent"],
)
def test_what_an_append_that_fails_leaves_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes | None, doubtful: bool, away: bool
) -> None:
    """A refusal leaves nothing in doubt; a connection that breaks, or a server that says nothing after the octets, does."""
    monkeypatch.setattr(mailbox, "ANSWER", 0.3)

    def answer(line: bytes) -> list[bytes] | None:
        if b"APPEND" in line:
            return None if said is None else [said % line.split()[0] if b"%s" in said else said]
        return [] if line.startswith((b"From", b"\r\n", b"x")) else plain(line)

    with server(answer) as port:
        box = Mailbox(Place.of(archive(tmp_path, f"imap://127.0.0.1:{port}/J")))
        box.open()
        assert box.uidvalidity == 7
        with pytest.raises(MailboxError) as caught:
            box.append(b"From: a@b\r\n\r\nx\r\n")
        box.close()
    assert (caught.value.doubtful, caught.value.away) == (doubtful, away)


@pytest.mark.parametrize("octets", [b"a\0b\r\n", b"a\nb\r\n", b"a\rb\r\n"])
def test_octets_that_no_server_keeps_are_not_sent(tmp_path: Path, octets: bytes) -> None:
    with pytest.raises(MailboxError, match="NUL octet or a bare line end") as caught:
        Mailbox(Place.of(archive(tmp_path, "imaps://a.gov.in/J"))).append(octets)
    assert not caught.value.doubtful
