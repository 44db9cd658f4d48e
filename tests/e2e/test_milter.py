"""The gateway as the milter of a real Postfix, on its unix socket and on inet: what is delivered, deleted, held, refused."""

from __future__ import annotations

import contextlib
import email
import json
import os
import re
import shutil
import smtplib
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage, Message
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.parts import POSTFIX_MASTER, Gateway, Hop, Postfix, free_port, port_open, running, wait_for
from tests.e2e.test_postfix import mailboxes

CANNOT, WHY_NOT = not POSTFIX_MASTER.exists() or os.getuid() != 0, "Postfix is not installed (apt install postfix), or we are not root"
pytestmark = [pytest.mark.service, pytest.mark.skipif(CANNOT, reason=WHY_NOT)]

BOXES = "officer@dept.gov.in clerk@dept.gov.in head@dept.gov.in deputy@dept.gov.in desk@finance.nic.in section@home.gov.in"
# What the gateway itself sends (reports, released mail) comes back by a listener that asks no milter, or it would be asked again.
_MORE_SERVICES = """pickup unix n - n 5 1 pickup
showq unix n - n - - showq
127.0.0.1:{back} inet n - n - - smtpd -o smtpd_milters= -o syslog_name=postfix/back
"""


@dataclass
class Site:
    """A department's Postfix, which has its people's mailboxes and NIC's, with the gateway as its milter."""

    postfix: Postfix
    gateway: Gateway
    hop: Hop
    socket: Path | None
    """Where the gateway listens; None: on inet."""

    def send(
        self, *recipients: str, sender: str = "officer@dept.gov.in", text: str = "Enclosed.\n", attach: bytes = b"", **fields: str
    ) -> str:
        """Sends one message by SMTP; its subject is *subject*. Returns its Message-ID."""
        with smtplib.SMTP("127.0.0.1", self.postfix.port, timeout=60) as client:
            message = made(text, attach=attach, sender=sender, **fields)
            client.sendmail(sender, recipients, message.as_bytes())
        return str(message["Message-ID"])

    def box(self, address: str, subject: str) -> list[Message]:
        """The messages with *subject* in a mailbox."""
        name, domain = address.split("@")
        found = map(email.message_from_bytes, self.postfix.mailbox(f"{domain}/{name}"))
        return [message for message in found if subject in str(message["Subject"])]

    def wait(self, address: str, subject: str) -> Message:
        """The message with *subject* once it is in the mailbox."""
        return wait_for(lambda: self.box(address, subject), 60, f"{subject} for {address}; see {self.postfix.folder}/mail.log")[0]

    def queue(self) -> list[dict[str, Any]]:
        """Postfix's queue."""
        done = subprocess.run(["postqueue", "-c", str(self.postfix.folder), "-j"], capture_output=True, text=True, timeout=30, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def decisions(self, sender: str) -> list[dict[str, Any]]:
        """What the audit log has on mail of *sender*."""
        return [row for row in self.gateway.records("audit", "search") if sender in json.dumps(row)]

    def log(self) -> str:
        return (self.postfix.folder / "mail.log").read_text()


def made(text: str, *, subject: str, attach: bytes = b"", sender: str = "officer@dept.gov.in", **fields: str) -> EmailMessage:
    """A message; *attach*: the octets of a Word document."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = "undisclosed-recipients:;"
    message["Subject"] = subject
    message["Message-ID"] = f"<{subject.replace(' ', '.')}@pc1.dept.gov.in>"
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    if attach:
        kind = "vnd.openxmlformats-officedocument.wordprocessingml.document"
        message.add_attachment(attach, maintype="application", subtype=kind, filename="note.docx")
    return message


def document(*paragraphs: str) -> bytes:
    """A Word document."""
    import io

    import docx

    made_of, out = docx.Document(), io.BytesIO()
    for paragraph in paragraphs:
        made_of.add_paragraph(paragraph)
    made_of.save(out)
    return out.getvalue()


@contextmanager
def site(base: Path, *, inet: bool = False, hold: str = "store", main: str = "", kind: type[Gateway] = Gateway) -> Iterator[Site]:
    """A site in *base*; *inet*: the milter's socket is TCP; *main*: more settings of Postfix, which win; *kind* of gateway."""
    base.chmod(0o755)
    folder = base / "sockets"
    folder.mkdir(mode=0o750)
    # As below /var/spool/postfix: the socket gets the folder's group, which is Postfix's.
    shutil.chown(folder, "root", "postfix")
    folder.chmod(0o2750)
    socket, port = folder / "milter.sock", free_port()
    where, there = (f"127.0.0.1:{port}", f"inet:127.0.0.1:{port}") if inet else (f"unix:{socket}", f"unix:{socket}")
    hop, back = Hop(base / "hop"), free_port()
    settings = (
        f"{mailboxes(BOXES, base / 'postfix')}relayhost = [127.0.0.1]:{hop.port}\nsmtpd_milters = {there}\nnon_smtpd_milters = {there}\n"
        "milter_default_action = tempfail\nmyorigin = dept.gov.in\nmessage_size_limit = 20000000\nmilter_connect_timeout = 5s\n"
        "internal_mail_filter_classes = bounce\nsmtpd_authorized_xclient_hosts = 127.0.0.0/8\n"
        "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n"
    )
    postfix = Postfix(base / "postfix", "mail.dept.gov.in", settings + main, _MORE_SERVICES.format(back=back))
    extra = f'[relay]\nmilter_hold = "{hold}"\n[limits]\nfree_disk = 0\n[[listen]]\ndoor = "milter"\naddress = "{where}"\n'
    gateway = kind(base / "gw", back, extra=extra)
    with running(hop, gateway):
        wait_for(lambda: port_open(port) if inet else socket.exists(), 60, "the milter door listens")
        with running(postfix):
            yield Site(postfix, gateway, hop, None if inet else socket)


@pytest.fixture(scope="module")
def there() -> Iterator[Site]:
    """A site on the unix socket. Not below pytest's own folder, which other users may not enter, Postfix's among them."""
    with tempfile.TemporaryDirectory(prefix="milter-", ignore_cleanup_errors=True) as folder, site(Path(folder)) as one:
        yield one


@pytest.fixture(scope="module")
def over_inet() -> Iterator[Site]:
    """A site on inet, where mail is held in Postfix's own queue."""
    with (
        tempfile.TemporaryDirectory(prefix="milter-", ignore_cleanup_errors=True) as folder,
        site(Path(folder), inet=True, hold="mta") as one,
    ):
        yield one


def test_mail_goes_on_from_the_mta_with_our_fields_on_top(there: Site) -> None:
    there.send("desk@finance.nic.in", "x@elsewhere.gov.in", subject="Plain", SIO_Label="marking=NOTHING", X_Gateway_Reference="forged")
    message = there.wait("desk@finance.nic.in", "Plain")
    # The last one stands on top, above Postfix's own Received field; what was there before in our name is gone.
    fields = [name for name in message if name not in ("Return-Path", "X-Original-To", "Delivered-To")]
    ours = fields[: fields.index("Received")]
    assert ours[:2] == ["Authentication-Results", "X-Gateway-Reference"]
    assert message.get_all("X-Gateway-Reference") != ["forged"]
    assert len(message.get_all("X-Gateway-Reference") or []) == 1
    (outside,) = wait_for(there.hop.received, 60, "the recipient behind the relay host")
    assert message["X-Gateway-Reference"].encode() in there.hop.content(outside)
    rows = there.decisions("<Plain@pc1.dept.gov.in>")
    assert len(rows) == 2  # one a recipient
    assert {(row["gateway"]["door"], row["gateway"]["reference"]) for row in rows} == {("milter", message["X-Gateway-Reference"])}


def test_a_recipient_is_deleted_and_our_report_comes_by_our_relay(there: Site) -> None:
    there.send("desk@finance.nic.in", "me@gmail.com", subject="Private", sender="clerk@dept.gov.in")
    message = there.wait("desk@finance.nic.in", "Private")
    (report,) = wait_for(lambda: there.postfix.mailbox("dept.gov.in/clerk"), 60, "the report in the officer's mailbox")
    assert b"gmail.com" in report
    assert message["X-Gateway-Reference"].encode() in report
    assert not any("gmail" in address for entry in there.hop.received() for address in entry["recipients"])
    assert there.log().count("postfix/back") >= 1


def test_T10_a_classified_attachment_is_held_by_us_alone_and_released_by_our_relay(there: Site) -> None:
    there.send("section@home.gov.in", subject="Note", attach=document("CONFIDENTIAL", "Note for the file."), sender="head@dept.gov.in")
    (held,) = wait_for(lambda: [r for r in there.gateway.records("quarantine", "list") if r["sender"] == "head@dept.gov.in"], 60, "held")
    assert "milter-discard" in there.log()
    assert there.queue() == []
    assert there.box("section@home.gov.in", "Note") == []
    for name in ("first", "second"):
        there.gateway.cli("users", "add", name)
        there.gateway.cli("quarantine", "release", held["id"], "--reason", "checked with the section", "--as", name)
    assert there.wait("section@home.gov.in", "Note")["X-Gateway-Reference"] == held["reference"]


def test_top_secret_is_refused_in_the_session(there: Site) -> None:
    with pytest.raises(smtplib.SMTPDataError) as refused:
        there.send("desk@finance.nic.in", subject="Plan", text="TOP SECRET\n\nThe plan.\n")
    assert refused.value.smtp_code == 550
    assert refused.value.smtp_error.startswith(b"5.7.1 ")
    assert b"\n5.7.1 Ref" in refused.value.smtp_error
    assert there.queue() == []


def test_T02_two_messages_on_one_connection_share_nothing(there: Site) -> None:
    with smtplib.SMTP("127.0.0.1", there.postfix.port, timeout=60) as client:
        for number, recipients in enumerate((["desk@finance.nic.in", "me@gmail.com"], ["desk@finance.nic.in", "section@home.gov.in"])):
            client.sendmail("deputy@dept.gov.in", recipients, made("x\n", subject=f"Row {number}", sender="deputy@dept.gov.in").as_bytes())
        client.mail("deputy@dept.gov.in")
        client.rcpt("clerk@dept.gov.in")
        client.rset()
        client.sendmail("deputy@dept.gov.in", ["section@home.gov.in"], made("x\n", subject="Row 2", sender="deputy@dept.gov.in").as_bytes())
    first, second = there.wait("desk@finance.nic.in", "Row 0"), there.wait("desk@finance.nic.in", "Row 1")
    third = there.wait("section@home.gov.in", "Row 2")
    assert len({message["X-Gateway-Reference"] for message in (first, second, third)}) == 3
    assert all(len(message.get_all("X-Gateway-Reference") or []) == 1 for message in (first, second, third))
    assert there.box("clerk@dept.gov.in", "Row 2") == []


class Wiretap:
    """Stands between Postfix and the milter's socket *target*, and keeps what Postfix says, one list of packets a connection."""

    def __init__(self, target: Path) -> None:
        self.said: list[list[bytes]] = []
        self._target = str(target)
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port = self._sock.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: the end
            while True:
                mta, _ = self._sock.accept()
                gateway = socket.socket(socket.AF_UNIX)
                gateway.connect(self._target)
                said: list[bytes] = []
                self.said.append(said)
                threading.Thread(target=self._pass, args=(mta, gateway, said), daemon=True).start()
                threading.Thread(target=self._pass, args=(gateway, mta, None), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, said: list[bytes] | None) -> None:
        whole = b""
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
                whole += data
                while said is not None and len(whole) >= 4 and len(whole) >= 4 + (length := int.from_bytes(whole[:4], "big")):
                    said.append(whole[4 : 4 + length])
                    whole = whole[4 + length :]
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._sock.close()


def test_postfix_says_nothing_that_is_not_read() -> None:
    with tempfile.TemporaryDirectory(prefix="milter-", ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        tap = Wiretap(base / "sockets" / "milter.sock")
        try:
            with site(base, main=f"smtpd_milters = inet:127.0.0.1:{tap.port}\n") as there:
                there.send("desk@finance.nic.in", "section@home.gov.in", subject="Lean", text="A line.\n" * 20_000)
                assert there.wait("desk@finance.nic.in", "Lean")["X-Gateway-Reference"]
                (said,) = [one for one in tap.said if any(packet[:1] == b"E" for packet in one)]
        finally:
            tap.close()
    # No DATA and no end of the header section; a command for each thing that is read.
    commands = b"".join(packet[:1] for packet in said if packet[:1] != b"D")
    assert re.fullmatch(rb"OCHMRRL+B+EA*Q?", commands)
    # A packet of macros comes before each of them all the same, and holds what is read there: nothing, mostly.
    named = {packet[1:2]: set(packet[2:].split(b"\0")[::2]) - {b""} for packet in said if packet[:1] == b"D"}
    assert named.pop(b"M") == {b"{client_addr}"}  # no TLS and no sign-in here
    assert named.pop(b"B") == named.pop(b"E") == {b"i"}
    assert set(named) == {b"%c" % octet for octet in b"CHRTL"}
    assert not any(named.values())


def sendmail(there: Site, *recipients: str, subject: str, text: str = "By a program.\n", sender: str = "officer@dept.gov.in") -> None:
    """Submits a message with sendmail(1)."""
    done = subprocess.run(
        ["sendmail", "-C", str(there.postfix.folder), "-i", "-f", sender, *recipients],
        input=made(text, subject=subject, sender=sender).as_bytes(), capture_output=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_T11_mail_of_the_machine_is_looked_at_and_refused_whole(there: Site) -> None:
    sendmail(there, "desk@finance.nic.in", subject="Nightly")
    assert there.wait("desk@finance.nic.in", "Nightly")["X-Gateway-Reference"]
    sendmail(there, "desk@finance.nic.in", subject="Program plan", text="TOP SECRET\n\nThe plan.\n")
    returned = there.wait("officer@dept.gov.in", "Undelivered")
    assert "TOP SECRET and SECRET information is not permitted" in returned.as_string()
    # Postfix cannot refuse one simulated recipient, and would try for ever what is deferred.
    sendmail(there, "desk@finance.nic.in", "root@localhost", subject="Half", sender="head@dept.gov.in")
    returned = there.wait("head@dept.gov.in", "Undelivered")
    assert "one label" in returned.as_string()
    assert there.box("desk@finance.nic.in", "Half") == []
    assert "can't reject recipient" not in there.log()
    assert there.queue() == []
    # Postfix's own reports were shown to us too, as reports.
    assert [row for row in there.gateway.records("audit", "search") if row.get("gateway", {}).get("smtp", {}).get("mail_from") == ""]


def test_T11_logins_and_strangers_are_told_apart(there: Site) -> None:
    def session(*attributes: str) -> smtplib.SMTP:
        client = smtplib.SMTP("127.0.0.1", there.postfix.port, timeout=60)
        assert client.docmd("XCLIENT", " ".join(("NAME=[UNAVAILABLE]", "ADDR=198.51.100.7", *attributes)))[0] == 220
        client.ehlo("pc9.example")
        client.mail("officer@dept.gov.in")
        return client

    with session() as stranger:
        code, text = stranger.rcpt("desk@finance.nic.in")
        assert (code, b"own servers only" in text) == (550, True)
    with session("LOGIN=officer") as officer:
        assert officer.rcpt("desk@finance.nic.in")[0] == 250
        code, text = officer.data(made("x\n", subject="Signed in").as_bytes())
        assert code == 250, text
    (row,) = there.decisions("<Signed.in@pc1.dept.gov.in>")
    assert row["email"]["direction"] == "outbound"


def test_T10_mail_is_held_in_the_mta_s_own_queue_where_the_config_says_so(over_inet: Site) -> None:
    over_inet.send("section@home.gov.in", subject="Note", attach=document("CONFIDENTIAL", "Note for the file."))
    (held,) = wait_for(over_inet.queue, 60, "the message in Postfix's queue")
    assert held["queue_name"] == "hold"
    assert [one["address"] for one in held["recipients"]] == ["section@home.gov.in"]
    assert over_inet.gateway.records("quarantine", "list", "--all") == []
    over_inet.send("desk@finance.nic.in", subject="Plain")
    assert over_inet.wait("desk@finance.nic.in", "Plain")["X-Gateway-Reference"]
    subprocess.run(["postsuper", "-c", str(over_inet.postfix.folder), "-H", held["queue_id"]], check=True, capture_output=True, timeout=30)
    subprocess.run(["postqueue", "-c", str(over_inet.postfix.folder), "-f"], check=True, capture_output=True, timeout=30)
    assert over_inet.wait("section@home.gov.in", "Note")["X-Gateway-Reference"]


def test_T07_without_the_gateway_nothing_passes_and_nothing_is_lost(over_inet: Site, there: Site) -> None:
    for one in (over_inet, there):
        client = smtplib.SMTP("127.0.0.1", one.postfix.port, timeout=60)
        client.ehlo("pc1.dept.gov.in")
        client.mail("officer@dept.gov.in")
        assert client.rcpt("desk@finance.nic.in")[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send(b"Subject: Cut\r\n\r\nhalf of it")
        one.gateway.kill_all()  # in the middle of the message
        client.send(b"\r\n.\r\n")
        assert 400 <= client.getreply()[0] < 500
        client.close()
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            one.send("desk@finance.nic.in", subject="Without")
        assert 400 <= refused.value.smtp_code < 500
    assert there.socket is not None
    there.socket.unlink(missing_ok=True)
    with pytest.raises(smtplib.SMTPSenderRefused) as refused:
        there.send("desk@finance.nic.in", subject="Without")
    assert 400 <= refused.value.smtp_code < 500
    sendmail(there, "desk@finance.nic.in", subject="Later")
    assert [there.box("desk@finance.nic.in", subject) for subject in ("Cut", "Without", "Later")] == [[], [], []]
    there.gateway.start()
    assert there.wait("desk@finance.nic.in", "Later")["X-Gateway-Reference"]
    there.send("desk@finance.nic.in", subject="Again")
    assert there.wait("desk@finance.nic.in", "Again")["X-Gateway-Reference"]
