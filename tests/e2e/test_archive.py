"""Journal copies in a real archive: Dovecot with TLS, filed by a real gateway that is killed in between."""

from __future__ import annotations

import hashlib
import imaplib
import os
import smtplib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.dovecot import DOVECOT, IMAP, Dovecot, reachable_folder
from tests.e2e.parts import Gateway, Hop, running, wait_for
from tests.test_smtp_client import certificates

__all__ = ["certificates"]
pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(not DOVECOT.exists() or not IMAP.exists(), reason="Dovecot with IMAP is not here (apt install dovecot-imapd)"),
    pytest.mark.skipif(os.getuid() != 0, reason="Dovecot starts as root only"),
]
LOGIN, SECRET = "journal@archive.gov.in", "पुरालेख 7 quiet"
JOURNAL = """namespace inbox {
  mailbox Journal {
    auto = create
  }
}"""


class Archive(Dovecot):
    """A mailbox of journal copies."""

    def session(self) -> imaplib.IMAP4_SSL:
        """Of another program."""
        client: imaplib.IMAP4_SSL = wait_for(self._signed_in, 30, "Dovecot takes the login")
        client.select("Journal")
        return client

    def _signed_in(self) -> imaplib.IMAP4_SSL | None:
        client = imaplib.IMAP4_SSL("127.0.0.1", self.tls_port, ssl_context=self.context(), timeout=30)
        try:
            client.authenticate("PLAIN", lambda _: f"\0{LOGIN}\0{SECRET}".encode())
        except imaplib.IMAP4.error:  # its checker of passwords is not up yet
            client.shutdown()
            return None
        return client

    def copies(self) -> list[bytes]:
        """The octets of every message in the mailbox."""
        client = self.session()
        _, data = client.uid("search", "ALL")
        found = [client.uid("fetch", uid.decode(), "(BODY.PEEK[])")[1][0][1] for uid in data[0].split()]
        client.logout()
        return found

    def files(self) -> list[Path]:
        """The same, without asking Dovecot."""
        folder = self.home(LOGIN) / ".Journal"
        return [entry for sub in ("new", "cur") if (folder / sub).is_dir() for entry in (folder / sub).iterdir()]

    def count(self) -> int:
        """How many there are."""
        client = self.session()
        _, data = client.uid("search", "ALL")
        client.logout()
        return len(data[0].split())


@pytest.fixture
def archive(certificates: Path) -> Iterator[Archive]:
    with reachable_folder() as folder:
        yield Archive(folder, certificates, {LOGIN: SECRET}, extra=JOURNAL)


@pytest.fixture
def place(tmp_path: Path, certificates: Path, archive: Archive) -> Iterator[tuple[Archive, Gateway, Hop]]:
    secret = tmp_path / "archive.password"
    secret.write_text(SECRET + "\n", "utf-8")
    secret.chmod(0o600)
    hop = Hop(tmp_path / "hop")
    extra = f"""[[archive]]
name = "journal"
kind = "imap"
url = "imaps://127.0.0.1:{archive.tls_port}/Journal"
login = "{LOGIN}"
password_file = "{secret}"
tls_ca = "{certificates}/ca.pem"
tls_name = "hop.test"
retain = "8y"
[[archive]]
name = "registry"
kind = "store"
retain = "1y"
[limits]
retry_first = "1s"
retry_max = "2s"
"""
    gateway = Gateway(tmp_path / "gateway", hop.port, extra=extra)
    with running(archive, hop, gateway):
        yield archive, gateway, hop


def send(gateway: Gateway, number: int, *recipients: str) -> bytes:
    content = f"From: so@dept.gov.in\r\nTo: desk@finance.nic.in\r\nSubject: note {number}\r\n\r\nordinary note {number}\r\n".encode()
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        client.ehlo("client.dept.gov.in")
        client.sendmail("so@dept.gov.in", list(recipients) or ["desk@finance.nic.in"], content)
    return content


def test_copies_are_filed_verified_and_none_is_lost_or_doubled_by_a_kill(place: tuple[Archive, Gateway, Hop]) -> None:
    archive, gateway, _ = place
    original = send(gateway, 0, "desk@finance.nic.in", "blind@dept.gov.in")
    wait_for(lambda: archive.count() == 1, 60, "the first copy is filed")
    [copy] = archive.copies()
    assert copy.endswith(original)
    block = copy[: -len(original)].replace(b"\r\n ", b" ").decode().split("\r\n")
    assert block[0].startswith("X-Gateway-Journal: ")
    assert f"sha256={hashlib.sha256(original).hexdigest()}" in block[0]
    assert "X-Gateway-Envelope-From: <so@dept.gov.in>" in block
    assert "X-Gateway-Envelope-To: <blind@dept.gov.in>; disposition=deliver" in block

    accepted = [original]
    for wave in range(3):
        archive.pause()
        accepted += [send(gateway, 100 * wave + number + 1) for number in range(20)]
        there = len(archive.files())
        archive.pause(go_on=True)
        while len(archive.files()) < there + 5:  # some are in the archive, and their record is not in the store yet
            time.sleep(0.001)
        gateway.kill_all()
        assert in_doubt(archive, gateway), "the kill comes between the archive's answer and its record"
        gateway.start()
    wait_for(
        lambda: all(one["state"] in ("filed", "kept") for one in gateway.records("archive", "list", "--limit", "1000")), 90, "all are filed"
    )
    listed = gateway.records("archive", "list", "--name", "journal", "--limit", "1000")
    assert len({one["reference"] for one in listed}) == len(listed) == len(accepted) == 61
    copies = [copy.partition(b"Subject: ")[2] for copy in archive.copies()]
    assert sorted(copies) == sorted(message.partition(b"Subject: ")[2] for message in accepted), "each once: none twice, none lost"
    assert gateway.cli("archive", "verify").stdout.strip() == "ok: 122 copies"


def in_doubt(archive: Archive, gateway: Gateway) -> set[str]:
    """The references of copies that the archive has and the store calls ``filing``; nobody runs."""
    time.sleep(0.5)  # what the archive was given whole it stores
    with sqlite3.connect(gateway.folder / "state" / "gateway.db") as store:
        filing = {row[0] for row in store.execute("SELECT reference FROM journal WHERE state = 'filing'")}
    store.close()
    return filing & {copy.read_bytes().partition(b";")[0].removeprefix(b"X-Gateway-Journal: ").decode() for copy in archive.files()}


def test_an_archive_that_is_away_holds_no_mail_up_and_gets_it_later(place: tuple[Archive, Gateway, Hop]) -> None:
    archive, gateway, hop = place
    archive.stop()
    for number in range(5):
        send(gateway, number)
    wait_for(lambda: len(hop.received()) == 5, 30, "the mail has gone on")
    waiting = [one for one in gateway.records("archive", "list") if one["name"] == "journal"]
    assert {one["state"] for one in waiting} <= {"waiting", "filing"}
    assert len(waiting) == 5
    archive.start()
    wait_for(lambda: archive.count() == 5, 60, "the copies are filed")
    wait_for(lambda: gateway.cli("archive", "verify", check=False).returncode == 0, 60, "all is recorded")


def test_what_is_missing_different_or_extra_is_named(place: tuple[Archive, Gateway, Hop]) -> None:
    archive, gateway, _ = place
    for number in range(4):
        send(gateway, number)
    wait_for(lambda: archive.count() == 4, 60, "the copies are filed")
    wait_for(lambda: "not filed" not in gateway.cli("archive", "verify").stdout, 60, "all is recorded")
    client = archive.session()
    _, answer = client.uid("fetch", "2", "(BODY.PEEK[])")
    changed = answer[0][1].replace(b"ordinary", b"tampered")
    client.uid("store", "1:2", "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.append("Journal", "", "", changed)
    _, answer = client.uid("fetch", "3", "(BODY.PEEK[])")
    client.append("Journal", "", "", answer[0][1])
    client.append("Journal", "", "", b"From: a@b\r\nSubject: none of ours\r\n\r\nx\r\n")
    client.logout()
    done = gateway.cli("archive", "verify", "--name", "journal", check=False)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert sum("missing: it is not in the mailbox" in line for line in lines) == 1
    assert sum("different: its octets are not those that were filed" in line for line in lines) == 1
    assert sum("extra:" in line for line in lines) == 2, lines
    assert lines[-1].startswith("bad: 4 problems; 2 of 4 copies as filed; 1 messages in the archive are no journal copies"), lines
    assert gateway.cli("archive", "verify", "--name", "registry").stdout.strip() == "ok: 4 copies"


def test_a_certificate_of_another_name_is_not_believed(place: tuple[Archive, Gateway, Hop]) -> None:
    archive, gateway, hop = place
    gateway.stop()
    gateway.config.write_text(gateway.config.read_text().replace("tls_name = ", 'tls_name = "other.gov.in"\n#'))
    gateway.start()
    send(gateway, 1)
    wait_for(lambda: len(hop.received()) == 1, 30, "the mail has gone on")
    assert "certificate" in wait_for(
        lambda: next((line for line in (gateway.folder / "gateway.log").read_text().splitlines() if "archive cannot be used" in line), ""),
        20, "the log says why",
    )  # fmt: skip
    assert archive.count() == 0
    checked = gateway.cli("check", check=False)
    assert any("archive" in line and "WRONG" in line and "certificate" in line for line in checked.stdout.splitlines()), checked
