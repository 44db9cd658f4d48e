"""Ordinary mail through a real gateway: what the next hop gets is what was sent, octet for octet, below the fields that we add."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.parts import Gateway, Hop, running, wait_for
from tests.ordinary_mail import ADDED, Case, above, cases

pytestmark = pytest.mark.slow  # a whole gateway

INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
UNREACHABLE = "127.0.0.1:9"  # nobody is asked for keys of the senders


@pytest.fixture(scope="module")
def hop(tmp_path_factory: pytest.TempPathFactory) -> Hop:
    """The recording next hop, for mail to us and from us."""
    return Hop(tmp_path_factory.mktemp("hop"))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, hop: Hop) -> Iterator[Gateway]:
    """A gateway whose department is that of the messages, and for which only 127.0.0.1 is inside."""
    limits = "[limits]\nfree_disk = 0\nconnections_per_minute = 1000\nconnections_per_ip = 100\n"
    part = Gateway(tmp_path_factory.mktemp("gw"), hop.port, extra=limits)
    part.write_config()
    text = part.config.read_text().replace('networks = ["127.0.0.0/8"]', f'networks = ["{INSIDE}/32"]')
    text = text.replace('domains = ["dept.gov.in"]', 'domains = ["dept.gov.in", "it.gujarat.gov.in"]')
    part.config.write_text(f'resolvers = ["{UNREACHABLE}"]\n{text}')
    with running(hop, part):
        yield part


def send(gateway: Gateway, case: Case, recipients: tuple[str, ...], client: smtplib.SMTP) -> str:
    """The reference of the message."""
    options = ["BODY=8BITMIME"] + (["SMTPUTF8"] if case.name in ("smtputf8-addresses", "dsn-utf8") else [])
    assert client.mail(case.sender, options)[0] == 250, case.name
    for recipient in recipients:
        code, text = client.rcpt(recipient)
        assert code == 250, (case.name, recipient, text)
    code, text = client.data(case.content)
    assert code == 250, (case.name, text)
    return text.decode().rsplit(" ", 1)[-1]


@pytest.mark.slow
def test_what_arrives_is_what_was_sent(gateway: Gateway, hop: Hop) -> None:
    table = [case for case in cases() if case.expected(case.recipients[0])[0] == "deliver"]
    sent: dict[str, Case] = {}
    for address in (INSIDE, OUTSIDE):
        with smtplib.SMTP("127.0.0.1", gateway.port, timeout=60, source_address=(address, 0)) as client:
            client.ehlo("mail.example.org")
            for case in table:
                if case.comes_in == (address == OUTSIDE):
                    sent[send(gateway, case, case.recipients[:1], client)] = case
    assert len(sent) == len(table) > 50
    wait_for(lambda: len(hop.received()) >= len(sent), 60, "all of them reach the next hop")
    for entry in hop.received():
        out = hop.content(entry)
        reference = out.partition(b"X-Gateway-Reference: ")[2].partition(b"\r\n")[0].decode()
        case = sent.pop(reference)
        assert entry["sender"] == case.sender
        assert entry["recipients"] == [case.recipients[0]]
        assert sorted(above(out, case.content)) == sorted(ADDED), case.name
    assert not sent


class CutOff(Case):
    """A message whose attachment lost its end, so that it is held."""

    @property
    def content(self) -> bytes:
        whole = super().content
        assert b"AAAA5AQAAAAAAADoAA==" in whole
        return whole.replace(b"AAAA5AQAAAAAAADoAA==", b"")


def test_nobody_answers_a_null_sender(gateway: Gateway, hop: Hop) -> None:
    """What is held or refused of a null sender gives no report and no notice, to nobody; an officer's held mail gives one."""
    table = {case.name: case for case in cases()}
    before = len(hop.received())
    sound = table["outlook-winmail"]
    suspect = CutOff(sound.name, sound.way, sound.sender)
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=60, source_address=(INSIDE, 0)) as client:
        client.ehlo("mail.it.gujarat.gov.in")
        nobody = CutOff(suspect.name, "null-out", "")
        references = {send(gateway, nobody, suspect.recipients[:1], client), send(gateway, suspect, suspect.recipients[:1], client)}
        receipt = table["mdn-outlook"]
        assert client.mail("")[0] == 250
        code, _ = client.rcpt("petitioner@gmail.com")
        code = client.data(receipt.content)[0] if code == 250 else code
        assert code == 550, "refused in the session"
    held = {row["reference"] for row in gateway.records("quarantine", "list")}
    assert references <= held
    wait_for(lambda: len(hop.received()) > before, 60, "the notice to the officer")
    answers = hop.received()[before:]
    assert [(entry["sender"], entry["recipients"]) for entry in answers] == [("", [suspect.sender])]


def test_nothing_was_lost_or_left(gateway: Gateway) -> None:
    assert gateway.records("queue", "list") == []
    assert "ok" in gateway.cli("audit", "verify").stdout
    assert "Traceback" not in Path(gateway.folder / "gateway.log").read_text()
