"""The gateway's main job through its doors: real processes, real SMTP, real commands; nothing inside is replaced."""

from __future__ import annotations

import email
import email.policy
import json
import smtplib
import socket
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.parts import Gateway, Hop, wait_for

OFFICER = "officer@dept.gov.in"
DESK = "desk@finance.nic.in"


def note(subject: str, text: str, to: str = DESK, sender: str = OFFICER) -> EmailMessage:
    """A plain message with CRLF endings when serialised."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Message-ID"] = f"<{abs(hash((subject, to)))}@dept.gov.in>"
    message.set_content(text)
    return message


def send(gateway: Gateway, content: bytes, recipients: list[str], sender: str = OFFICER) -> tuple[int, str]:
    """Code and text of the reply to the message (or to the first command that was refused)."""
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        client.ehlo("client.dept.gov.in")
        for code, text in (client.mail(sender), *(client.rcpt(rcpt) for rcpt in recipients)):
            if code != 250:
                return code, text.decode()
        code, text = client.data(content)
        return code, text.decode()


def arrived(hop: Hop, reference: str, recipient: str) -> tuple[dict[str, Any], bytes]:
    """The delivery of *reference* to *recipient* at the next hop."""

    def find() -> tuple[dict[str, Any], bytes] | None:
        for entry in hop.received():
            content = hop.content(entry)
            if recipient in entry["recipients"] and f"X-Gateway-Reference: {reference}".encode() in content:
                return entry, content
        return None

    found: tuple[dict[str, Any], bytes] = wait_for(find, 60, f"{reference} reaches {recipient}")
    return found


def words_of(content: bytes) -> str:
    """All the plain text of a message, decoded."""
    parts = email.message_from_bytes(content).walk()
    return "".join(part.get_payload(decode=True).decode("utf-8", "replace") for part in parts if part.get_content_type() == "text/plain")


def reference_of(reply: str) -> str:
    """The reference at the end of ``2.0.0 accepted <reference>``."""
    return reply.rsplit(" ", 1)[-1]


def test_plain_mail_arrives_with_its_octets_unchanged(gateway: Gateway, hop: Hop) -> None:
    content = note("Minutes", "The minutes are enclosed.\r\n.leading dot\r\n..two\r\n").as_bytes()
    code, reply = send(gateway, content, [DESK])
    assert code == 250, reply
    assert reply.startswith("2.0.0 accepted ")
    _, out = arrived(hop, reference_of(reply), DESK)
    assert out.endswith(content)
    added = out[: -len(content)].decode()
    assert "Received: " in added
    assert "SIO-Label" not in added, "mail without any marking gets no label"


def test_a_marked_message_is_labelled(gateway: Gateway, hop: Hop) -> None:
    code, reply = send(gateway, note("Statement", "Classification: CONFIDENTIAL\r\n\r\nPlease keep.").as_bytes(), [DESK])
    assert code == 250, reply
    _, out = arrived(hop, reference_of(reply), DESK)
    message = email.message_from_bytes(out)
    assert 'marking="CONFIDENTIAL"' in message["SIO-Label"].replace("\r\n", "")
    assert "NS=gov.in" in message["X-Protective-Marking"]
    assert "SEC=CONFIDENTIAL" in message["X-Protective-Marking"]
    assert f"ORIGIN={OFFICER}" in message["X-Protective-Marking"].replace("\r\n ", "")


def test_an_outside_label_is_evidence_and_then_replaced(gateway: Gateway, hop: Hop) -> None:
    message = note("Statement", "Please keep.")
    message["X-Protective-Marking"] = "VER=2018.4, NS=gov.au, SEC=RESTRICTED, ORIGIN=a@b.example"
    message["SIO-Label"] = 'marking="RESTRICTED"; fgcolor=black; bgcolor=teal'
    code, reply = send(gateway, message.as_bytes(), [DESK])
    assert code == 250, reply
    _, out = arrived(hop, reference_of(reply), DESK)
    labels = email.message_from_bytes(out).get_all("X-Protective-Marking")
    assert labels is not None
    assert len(labels) == 1
    assert "NS=gov.in" in labels[0]
    assert "SEC=RESTRICTED" in labels[0]
    history = " ".join(email.message_from_bytes(out).get_all("SIO-Label-History") or [])
    assert "bgcolor=teal" in history.replace('"', "")
    assert "gov.au" in history, "the other label that was replaced is recorded too"


def test_A29_the_allowed_get_it_and_the_refused_stand_in_one_bounce(gateway: Gateway, hop: Hop) -> None:
    outside = ["citizen@gmail.com", "firm@example.com"]
    code, reply = send(gateway, note("Two ways", "For your information.").as_bytes(), [DESK, *outside])
    assert code == 250, reply
    reference = reference_of(reply)
    entry, out = arrived(hop, reference, DESK)
    assert entry["recipients"] == [DESK]
    assert b"gmail.com" not in out, "no recipient learns of another"
    bounce_entry, bounce = arrived(hop, reference, OFFICER)
    assert bounce_entry["sender"] == ""
    report = email.message_from_bytes(bounce)
    assert report.get_content_type() == "multipart/report"
    status = next(part for part in report.walk() if part.get_content_type() == "message/delivery-status").get_payload()
    failed = {str(block["Final-Recipient"]).partition(";")[2].strip() for block in status if block.get("Action")}
    assert failed == set(outside)
    assert report["Auto-Submitted"].startswith("auto-")
    reports = [e for e in hop.received() if OFFICER in e["recipients"] and reference.encode() in hop.content(e)]
    assert len(reports) == 1
    assert not any(set(outside) & set(e["recipients"]) for e in hop.received())


@pytest.mark.parametrize("level", ["SECRET", "TOP SECRET"])
def test_secret_is_refused_in_session_and_never_stored(gateway: Gateway, hop: Hop, level: str) -> None:
    words = "the eagle lands on thursday " + level.replace(" ", "")
    before = len(hop.received())
    code, reply = send(gateway, note("Plan", f"{level}\r\n\r\n{words}\r\n\r\n{level}\r\n").as_bytes(), [DESK])
    assert (code, reply[:5]) == (550, "5.7.1")
    assert words not in reply
    state = gateway.folder / "state"
    for file in state.rglob("*"):
        if file.is_file():
            assert words.encode() not in file.read_bytes(), file
    rows = gateway.records("audit", "search", "--from", OFFICER, "--limit", "1000")
    assert any("refuse" in json.dumps(row) and level in json.dumps(row) for row in rows)
    assert len(hop.received()) == before


def with_document(level: str, to: str = DESK) -> bytes:
    """A message with a real DOCX whose last paragraph is the marking."""
    import io

    import docx

    document = docx.Document()
    document.add_paragraph("Note for the file.")
    document.add_paragraph(level)
    out = io.BytesIO()
    document.save(out)
    message = note(f"Papers for {to}", "Papers enclosed.", to)
    message.add_attachment(
        out.getvalue(), maintype="application", subtype="vnd.openxmlformats-officedocument.wordprocessingml.document", filename="note.docx"
    )
    return message.as_bytes()


def test_a_classified_attachment_is_held_and_released_by_two_people(gateway: Gateway, hop: Hop) -> None:
    code, reply = send(gateway, with_document("CONFIDENTIAL"), [DESK])
    assert code == 250, reply
    reference = reference_of(reply)
    held = next(row for row in gateway.records("quarantine", "list") if row["reference"] == reference)
    assert held["state"] == "held"
    assert held["level"] == "CONFIDENTIAL"
    assert held["recipients"] == [DESK]
    assert set(held) >= {
        "id",
        "reference",
        "created",
        "deadline",
        "state",
        "level",
        "rule",
        "sender",
        "recipients",
        "subject",
        "department",
    }
    # One notice to the officer, with the deadline.
    _, notice = arrived(hop, reference, OFFICER)
    assert b"Action: delayed" in notice
    assert b"Will-Retry-Until:" in notice
    for name in ("asha", "bina"):
        gateway.cli("users", "add", name, check=False)
    no_reason = gateway.cli("quarantine", "release", held["id"], "--reason", "", "--as", "asha", check=False)
    assert no_reason.returncode in (1, 2)
    first = gateway.cli("quarantine", "release", held["id"], "--reason", "seen the file", "--as", "asha")
    assert "approved 1 of 2" in first.stdout
    again = gateway.cli("quarantine", "release", held["id"], "--reason", "me again", "--as", "asha", check=False)
    assert again.returncode == 1, "one person is not two"
    gateway.cli("quarantine", "release", held["id"], "--reason", "agreed", "--as", "bina")
    _, out = arrived(hop, reference, DESK)
    assert b"note.docx" in out
    states = {row["reference"]: row["state"] for row in gateway.records("quarantine", "list", "--all")}
    assert states[reference] == "released"


def test_a_refused_item_gives_the_officer_the_note(gateway: Gateway, hop: Hop) -> None:
    code, reply = send(gateway, with_document("RESTRICTED", "desk2@finance.nic.in"), ["desk2@finance.nic.in"])
    assert code == 250, reply
    reference = reference_of(reply)
    held = next(row for row in gateway.records("quarantine", "list") if row["reference"] == reference)
    gateway.cli("users", "add", "chand", check=False)
    gateway.cli("quarantine", "refuse", held["id"], "--reason", "send it by e-Office", "--as", "chand")

    def bounced() -> bool:
        reports = [hop.content(e) for e in hop.received() if e["recipients"] == [OFFICER] and reference.encode() in hop.content(e)]
        return any(b"Action: failed" in report and "send it by e-Office" in words_of(report) for report in reports)

    wait_for(bounced, 60, "the bounce with the reviewer's note")


def test_an_exception_is_in_force_at_once_and_never_for_classified_mail(gateway: Gateway, hop: Hop) -> None:
    citizen = "petitioner@gmail.com"
    send(gateway, note("Before", "About your petition.", citizen).as_bytes(), [citizen])
    same = gateway.cli(
        "exceptions", "add", "--from", OFFICER, "--to", citizen, "--reason", "grievance",
        "--requester", "a", "--approver", "a", "--for", "1h",
        check=False,
    )  # fmt: skip
    assert same.returncode in (1, 2), "the approver is not the requester"
    gateway.cli(
        "exceptions",
        "add",
        "--from",
        OFFICER,
        "--to",
        citizen,
        "--reason",
        "grievance 12",
        "--requester",
        "a",
        "--approver",
        "b",
        "--for",
        "1h",
    )
    code, reply = send(gateway, note("After", "About your petition.", citizen).as_bytes(), [citizen])
    assert code == 250, reply
    arrived(hop, reference_of(reply), citizen)
    code, reply = send(gateway, note("Marked", "CONFIDENTIAL\r\n\r\nAbout your petition.", citizen).as_bytes(), [citizen])
    _, bounce = arrived(hop, reference_of(reply), OFFICER)
    assert b"Action: failed" in bounce
    assert not any(
        citizen in entry["recipients"] and f"X-Gateway-Reference: {reference_of(reply)}".encode() in hop.content(entry)
        for entry in hop.received()
    )


def test_postmaster_is_reachable_and_strangers_do_not_relay(gateway: Gateway) -> None:
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        client.ehlo("client.dept.gov.in")
        assert client.mail(OFFICER)[0] == 250
        assert client.rcpt("postmaster")[0] in (250, 501)  # smtplib writes <postmaster>
    code, _ = send(gateway, b"", [DESK], sender="someone@gmail.com")
    assert code == 550, "a listed network sends official mail only"


def test_every_decision_is_in_the_log_and_the_chain_holds(gateway: Gateway) -> None:
    _, reply = send(gateway, note("Logged", "Plain text.").as_bytes(), [DESK])
    reference = reference_of(reply)
    rows = gateway.records("audit", "show", reference)
    assert rows
    assert "ok" in gateway.cli("audit", "verify").stdout
    wait_for(lambda: reference in json.dumps(gateway.decisions()), 60, "the decision stands in decisions.jsonl")
    assert "Plain text." not in json.dumps(gateway.decisions())


def test_explain_says_what_the_gateway_did(gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "note.eml"
    file.write_bytes(with_document("CONFIDENTIAL"))
    rows = gateway.records("explain", str(file), "--from", OFFICER, "--to", DESK, "--to", "x@gmail.com")
    assert len(rows) == 1
    verdicts = {recipient["address"]: recipient["disposition"] for recipient in rows[0]["recipients"]}
    assert verdicts == {DESK: "hold", "x@gmail.com": "refuse"}
    assert rows[0]["classification"]["level"] == "CONFIDENTIAL"
    assert rows[0]["recipients"][0]["explanation"]["hi"]


def test_S42_a_client_that_leaves_before_the_dot_leaves_nothing(gateway: Gateway, hop: Hop) -> None:
    before = len(hop.received())
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as sock:
        stream = sock.makefile("rwb")
        stream.readline()
        for line in ("EHLO a.dept.gov.in", f"MAIL FROM:<{OFFICER}>", f"RCPT TO:<{DESK}>", "DATA"):
            stream.write(line.encode() + b"\r\n")
            stream.flush()
            while stream.readline()[3:4] == b"-":
                pass
        stream.write(b"Subject: half\r\n\r\nhalf a mess")
        stream.flush()
    _, reply = send(gateway, note("After the half", "x").as_bytes(), [DESK])
    arrived(hop, reference_of(reply), DESK)
    assert len(hop.received()) == before + 1
