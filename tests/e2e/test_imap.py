"""The IMAP door before a real Dovecot, with TLS on both sides: imaplib, curl and isync, each compared with Dovecot itself."""

from __future__ import annotations

import contextlib
import hashlib
import imaplib
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.cli import samples
from tests.e2e.dovecot import DOVECOT, IMAP, Dovecot
from tests.e2e.parts import Gateway, free_port, port_open, running
from tests.test_smtp_client import certificates

__all__ = ["certificates"]
pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(not DOVECOT.exists() or not IMAP.exists(), reason="Dovecot is not here (apt install dovecot-imapd)"),
    pytest.mark.skipif(os.getuid() != 0, reason="Dovecot starts as root only"),
]
OFFICER, COLLEAGUE, SHARED = "asha.verma@dept.gov.in", "ravi@dept.gov.in", "secretary@dept.gov.in"
SECRETS = {OFFICER: "right 7", COLLEAGUE: "right 8", SHARED: "right 9"}
SAMPLES = {one.file.stem: b"\r\n".join(one.file.read_bytes().splitlines()) + b"\r\n" for one in samples.load()}


@dataclass
class ImapGateway(Gateway):
    """A gateway whose IMAP door listens on *imap_port*."""

    imap_port: int = field(default_factory=free_port)

    def stand_before(self, dovecot: Dovecot, certificates: Path, limits: str = "") -> None:
        """Writes the config: the door, with TLS on both sides; *limits* are further lines of that table."""
        self.extra = f"""
[[listen]]
door = "imap"
address = "127.0.0.1:{self.imap_port}"
[tls]
certificate = "{certificates}/good.pem"
key = "{certificates}/good.key"
[imap]
server = "127.0.0.1:{dovecot.tls_port}"
tls_ca = "{certificates}/ca.pem"
tls_name = "hop.test"
[limits]
free_disk = 0
{limits}"""

    def ready(self) -> bool:
        """Whether the IMAP door takes connections."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the gateway ended: {(self.folder / 'gateway.log').read_text()[-3000:]}")
        return port_open(self.imap_port)


@dataclass
class Pair:
    """Dovecot, and the door before it."""

    dovecot: Dovecot
    gateway: ImapGateway

    def bare(self, user: str = OFFICER) -> imaplib.IMAP4_SSL:
        """A session with Dovecot itself."""
        return self.dovecot.client(user)

    def door(self, user: str = OFFICER) -> imaplib.IMAP4_SSL:
        """One through the door."""
        return self.dovecot.client(user, port=self.gateway.imap_port)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Pair]:
    dovecot = Dovecot(tmp_path_factory.mktemp("dovecot"), certificates, SECRETS)
    gateway = ImapGateway(tmp_path_factory.mktemp("gw"), free_port())
    gateway.stand_before(dovecot, certificates)
    with running(dovecot, gateway):
        dovecot.put(OFFICER, "INBOX", *SAMPLES.values())
        yield Pair(dovecot, gateway)


@dataclass
class Raw:
    """A client that keeps every octet it gets."""

    port: int
    context: ssl.SSLContext
    user: str = OFFICER
    mailbox: str = "INBOX"

    def __enter__(self) -> Raw:
        plain = socket.create_connection(("127.0.0.1", self.port), 30)
        self.sock = self.context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.until(b"* OK")
        self.ask(f'l LOGIN "{self.user}" "{SECRETS[self.user]}"'.encode(), b"l")
        self.ask(f"s SELECT {self.mailbox}".encode(), b"s")
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def until(self, start: bytes) -> bytes:
        """All up to the line that begins with *start*."""
        found = b""
        while not re.search(rb"(?:^|\r\n)" + re.escape(start) + rb"[^\r\n]*\r\n\Z", found):
            piece = self.sock.recv(1 << 18)
            if not piece:
                raise EOFError(found[-200:])
            found += piece
        return found

    def ask(self, command: bytes, tag: bytes) -> bytes:
        """Everything that comes for *command*."""
        self.sock.sendall(command + b"\r\n")
        return self.until(tag + b" ")


def both(pair: Pair, *commands: bytes) -> None:
    """The door's octets and Dovecot's are the same, but for the time that Dovecot says it took."""
    context = pair.dovecot.context()
    with Raw(pair.dovecot.tls_port, context):
        pass  # the first to look takes the flag Recent away
    said = []
    for port in (pair.dovecot.tls_port, pair.gateway.imap_port):
        with Raw(port, context) as raw:
            said.append([re.sub(rb"\(\d[^)]*secs\)", b"", raw.ask(b"x " + command, b"x")) for command in commands])
    for command, bare, door in zip(commands, *said, strict=True):
        if command.startswith(b"LIST"):  # in an order of its own each time
            assert sorted(bare.splitlines()) == sorted(door.splitlines()), command
        else:
            assert bare == door, command


def test_I04_every_form_of_fetch_is_byte_identical(pair: Pair) -> None:
    both(
        pair, b"FETCH 1:* BODY.PEEK[]", b"FETCH 1:* BODY.PEEK[HEADER]", b"FETCH 1:* BODY.PEEK[TEXT]", b"FETCH 1:* BODY.PEEK[1]",
        b"FETCH 4 BODY.PEEK[2.MIME]", b"FETCH 4 BODY.PEEK[2]", b"FETCH 1:* BODY.PEEK[]<10.50>", b"FETCH 1 BODY.PEEK[]<100000.5>",
        b"FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT X-NONE)]", b"FETCH 1:* (UID RFC822.SIZE RFC822.HEADER)", b"FETCH 4 BINARY.PEEK[2]",
        b"UID FETCH 1:* (FLAGS BODY.PEEK[])", b"FETCH 99 BODY.PEEK[]", b"FETCH 1 BODY.PEEK[",
    )  # fmt: skip


def test_I05_structure_envelope_and_size_are_those_of_the_server(pair: Pair) -> None:
    both(pair, b"FETCH 1:* BODYSTRUCTURE", b"FETCH 1:* BODY", b"FETCH 1:* ENVELOPE", b"FETCH 1:* RFC822.SIZE", b"FETCH 1:* ALL")


def test_I08_search_sort_and_thread_with_literals_and_charsets(pair: Pair) -> None:
    word = "गोपनीय".encode()
    both(
        pair, b"SEARCH ALL", b"SEARCH CHARSET UTF-8 SUBJECT {%d+}\r\n%s" % (len(word), word), b"SEARCH CHARSET UTF-8 BODY {%d+}\r\n%s" % (
            len(word), word), b"SORT (SUBJECT) UTF-8 ALL", b"THREAD REFERENCES UTF-8 ALL", b"UID SEARCH RETURN (MIN MAX COUNT) ALL",
        b"SEARCH CHARSET X-NONE SUBJECT x", b'STATUS Sent (MESSAGES UIDNEXT)', b'LIST "" "*" RETURN (STATUS (MESSAGES))',
    )  # fmt: skip
    for client in (pair.bare(), pair.door()):
        client.select("INBOX")
        client.literal = word  # type: ignore[attr-defined]
        assert client.uid("SEARCH", "CHARSET", "UTF-8", "TEXT")[0] == "OK", "with a literal that waits for +"
        client.logout()


def test_I07_a_mailbox_that_was_made_anew_is_passed_on_as_it_is(pair: Pair) -> None:
    bare, door = pair.bare(), pair.door()
    seen = []
    for text in (b"one", b"two!"):
        bare.create("Anew")
        bare.append("Anew", None, None, b"Subject: x\r\n\r\n" + text + b"\r\n")  # type: ignore[arg-type]
        door.select("Anew")
        validity = door.response("UIDVALIDITY")[1][0]
        seen.append((validity, door.uid("FETCH", "1", "(BODY.PEEK[TEXT])")[1][0][1]))  # type: ignore[index]
        door.unselect()
        bare.delete("Anew")
    assert [body for _, body in seen] == [b"one\r\n", b"two!\r\n"]
    assert seen[0][0] != seen[1][0]
    bare.logout()
    door.logout()


def test_I06_drafts_are_saved_and_what_is_top_secret_is_not(pair: Pair) -> None:
    client = pair.door()
    assert not {"COMPRESS=DEFLATE", "CATENATE", "URLAUTH", "BINARY", "STARTTLS"} & set(client.capabilities)
    taken = ("01-ordinary-note", "02-to-gmail", "03-confidential-text", "04-confidential-word-clear")
    for name in taken:
        assert client.append("Drafts", "(\\Draft)", None, SAMPLES[name])[0] == "OK", name  # type: ignore[arg-type]
    said, text = client.append("Drafts", "(\\Draft)", None, SAMPLES["06-top-secret"])  # type: ignore[arg-type]
    assert said == "NO"
    assert text[0].startswith(b"[NOPERM] "), text
    client.select("Drafts")
    _, found = client.fetch("1:*", "(BODY.PEEK[])")
    stored = [one[1] for one in found if isinstance(one, tuple)]
    assert stored[-4:] == [SAMPLES[name] for name in taken]
    assert SAMPLES["06-top-secret"] not in stored
    assert client.copy("1", "Sent")[0] == "OK"
    client.logout()
    reference = re.search(rb"[0-9A-Z]{26}", text[0])
    assert reference is not None
    (row,) = pair.gateway.records("audit", "show", reference[0].decode())
    assert "imap" in str(row)
    assert OFFICER in str(row)


def test_curl_files_and_fetches(pair: Pair, tmp_path: Path) -> None:
    note = tmp_path / "note.eml"
    note.write_bytes(SAMPLES["01-ordinary-note"])
    base = ["curl", "-sS", "--cacert", str(pair.dovecot.certificates / "ca.pem"), "-u", f"{COLLEAGUE}:{SECRETS[COLLEAGUE]}"]
    url = f"imaps://127.0.0.1:{pair.gateway.imap_port}/"
    subprocess.run([*base, "-T", str(note), url + "Drafts"], check=True, timeout=30)
    fetched = subprocess.run([*base, url + "Drafts;MAILINDEX=1"], check=True, timeout=30, capture_output=True)
    assert fetched.stdout == SAMPLES["01-ordinary-note"]
    note.write_bytes(SAMPLES["06-top-secret"])
    assert subprocess.run([*base, "-T", str(note), url + "Drafts"], check=False, timeout=30, capture_output=True).returncode != 0


@pytest.mark.skipif(shutil.which("mbsync") is None, reason="isync is not here (apt install isync)")
def test_isync_brings_a_mailbox_over_and_back_unchanged(pair: Pair, tmp_path: Path) -> None:
    messages = [
        b"Subject: %d\r\nMessage-ID: <%d@dept.gov.in>\r\n\r\n%s\r\n" % (n, n, random.Random(n).randbytes(60).hex().encode())
        for n in range(200)
    ]
    pair.dovecot.put(SHARED, "INBOX", *messages)
    local = tmp_path / "local"
    (tmp_path / "rc").write_text(f"""
IMAPAccount door
Host 127.0.0.1
Port {pair.gateway.imap_port}
User {SHARED}
Pass "{SECRETS[SHARED]}"
SSLType IMAPS
CertificateFile {pair.dovecot.certificates}/good.pem

IMAPStore far
Account door

MaildirStore near
Path {local}/
Inbox {local}/INBOX

Channel all
Far :far:
Near :near:
Patterns INBOX
Create Near
Sync All
SyncState *
""")
    local.mkdir()
    sync = ["mbsync", "-c", str(tmp_path / "rc"), "all"]
    done = subprocess.run(sync, check=False, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = [path for path in (local / "INBOX").rglob("*:2,*") if path.is_file()] + list((local / "INBOX" / "new").iterdir())
    got = sorted(re.sub(rb"X-TUID: [^\n]*\n", b"", path.read_bytes()).replace(b"\n", b"\r\n") for path in set(files))
    assert sorted(hashlib.sha256(one).hexdigest() for one in got) == sorted(hashlib.sha256(one).hexdigest() for one in messages)
    (local / "INBOX" / "cur" / "new-one:2,S").write_bytes(b"Subject: from here\nMessage-ID: <here@dept.gov.in>\n\nhello\n")
    done = subprocess.run(sync, check=False, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    client = pair.bare(SHARED)
    assert client.select("INBOX")[1] == [b"201"]
    client.logout()


class _Tracked:
    """What one client believes of a mailbox; a server that says what cannot be is written down."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.errors: list[str] = []
        found = re.findall(rb"\* (\d+) EXISTS", raw.ask(b"t SELECT Races", b"t"))
        self.count = int(found[-1])
        self.uids: dict[int, int] = {}

    def ask(self, command: bytes) -> None:
        """One command; every untagged response has to fit to what was said before."""
        for line in self.raw.ask(b"t " + command, b"t").split(b"\r\n"):
            found = re.match(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)(?:.*UID (\d+))?", line)
            if found is None:
                if line.startswith(b"t BAD"):
                    self.errors.append(line.decode())
                continue
            number, what = int(found[1]), found[2]
            if what == b"EXISTS":
                if number < self.count:
                    self.errors.append(f"EXISTS went down without EXPUNGE: {number} after {self.count}")
                self.count = number
            elif number > self.count or number < 1:
                self.errors.append(f"{what!r} of {number} of {self.count}")
            elif what == b"EXPUNGE":
                if command.split()[0] in (b"FETCH", b"STORE", b"SEARCH"):
                    self.errors.append(f"EXPUNGE during {command!r}")
                self.count -= 1
                self.uids = {at - (at > number): uid for at, uid in self.uids.items() if at != number}
            elif found[3] and self.uids.setdefault(number, int(found[3])) != int(found[3]):
                self.errors.append(f"message {number} has changed its UID")


def _race(pair: Pair, port: int, rounds: int) -> list[str]:
    """Two clients that delete what the other looks at."""
    client = pair.bare()
    with contextlib.suppress(imaplib.IMAP4.error):
        client.delete("Races")
    client.create("Races")
    client.logout()
    errors: list[str] = []

    def work(seed: int) -> None:
        dice = random.Random(seed)
        try:
            with Raw(port, pair.dovecot.context()) as raw:
                mine = _Tracked(raw)
                for number in range(rounds):
                    body = b"Subject: %d\r\n\r\nx\r\n" % number
                    one = dice.randint(1, max(1, mine.count))
                    mine.ask(dice.choice([
                        b"NOOP", b"FETCH 1:* (UID FLAGS)", b"FETCH %d (UID BODY.PEEK[])" % one, b"STORE %d +FLAGS (\\Deleted)" % one,
                        b"EXPUNGE", b"UID SEARCH ALL", b"APPEND Races {%d+}\r\n%s" % (len(body), body),
                        b"APPEND Races {%d+}\r\n%s" % (len(body), body),
                    ]))  # fmt: skip
                errors.extend(mine.errors)
        except Exception as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return errors


def test_I11_two_clients_race_as_on_the_bare_server(pair: Pair) -> None:
    baseline = _race(pair, pair.dovecot.tls_port, 150)
    through = _race(pair, pair.gateway.imap_port, 150)
    real = [one for one in through if "BAD" not in one]
    assert [one for one in baseline if "BAD" not in one] == [] == real
    assert len(through) <= len(baseline) + 10, "FETCH of a message that is gone is BAD or NO at both"


def test_I12_guesses_stop_before_the_server(pair: Pair) -> None:
    before = pair.dovecot.log.lower().count("password mismatch")
    said = []
    for _ in range(6):
        client = imaplib.IMAP4_SSL("127.0.0.1", pair.gateway.imap_port, ssl_context=pair.dovecot.context(), timeout=30)
        for _ in range(3):
            with contextlib.suppress(imaplib.IMAP4.abort, OSError):
                try:
                    client.login(SHARED + "x", "guess")
                except imaplib.IMAP4.error as error:
                    said.append(str(error))
        client.shutdown()
    assert sum("AUTHENTICATIONFAILED" in one for one in said) <= 10, said
    assert any("UNAVAILABLE" in one for one in said), said
    assert pair.dovecot.log.lower().count("password mismatch") - before <= 10
    pair.door(SHARED).logout()


def test_I12_every_login_has_its_own_mailbox(pair: Pair) -> None:
    mine, theirs = pair.door(OFFICER), pair.door(SHARED)
    assert mine.append("Drafts", None, None, b"Subject: only mine\r\n\r\nx\r\n")[0] == "OK"  # type: ignore[arg-type]
    theirs.select("Drafts")
    assert theirs.search(None, "SUBJECT", '"only mine"')[1] == [b""]
    mine.select("Drafts")
    assert mine.search(None, "SUBJECT", '"only mine"')[1] != [b""]
    mine.logout()
    theirs.logout()


def test_I10_a_server_that_is_killed_in_a_fetch_gives_no_whole_message(tmp_path: Path, certificates: Path, pair: Pair) -> None:
    pair.dovecot.put(OFFICER, "Big", b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" * 1, create=True)
    big = b"Subject: big\r\n\r\n" + (b"x" * 76 + b"\r\n") * 250_000
    pair.dovecot.put(OFFICER, "Big", big)
    with Raw(pair.gateway.imap_port, pair.dovecot.context(), mailbox="Big") as raw:
        raw.sock.sendall(b"x FETCH 2 BODY.PEEK[]\r\n")
        first = raw.sock.recv(1000)
        assert b"FETCH" in first
        pair.dovecot.kill()
        rest = b""
        with contextlib.suppress(OSError):
            while piece := raw.sock.recv(1 << 18):
                rest += piece
    assert len(first) + len(rest) < len(big)
    assert b"x OK" not in rest
    pair.dovecot.start()
    pair.door().logout()
