"""The main job on real mail: Postfix of the department in front, Postfix as the NIC server behind, swaks as the client."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.parts import POSTFIX_MASTER, Gateway, Postfix, free_port, running, wait_for

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(not POSTFIX_MASTER.exists(), reason="Postfix is not installed (apt install postfix)"),
    pytest.mark.skipif(os.getuid() != 0, reason="Postfix starts as root only"),
    pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed (apt install swaks)"),
]


class Line(NamedTuple):
    """The department's server, the gateway, the NIC server."""

    front: Postfix
    gateway: Gateway
    nic: Postfix


def mailboxes(addresses: str, folder: Path) -> str:
    """Postfix settings that keep mail for *addresses* in Maildirs, domain/name; no other address of these domains exists."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [address.split("@") for address in addresses.split()]
    table = folder / "boxes"
    table.write_text("".join(f"{name}@{domain} {domain}/{name}/\n" for name, domain in pairs))
    return f"""virtual_mailbox_domains = {" ".join(sorted({domain for _, domain in pairs}))}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = texthash:{table}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 100
"""


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    """All three, running. Not below pytest's own folder, which every new run of pytest closes to other users, Postfix's among them."""
    with tempfile.TemporaryDirectory(prefix="line-", ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        boxes = mailboxes("desk@finance.nic.in chief@finance.nic.in section@home.gov.in", base / "nic")
        nic = Postfix(base / "nic", "mail.nic.example.nic.in", boxes)
        gateway_port = free_port()
        boxes = mailboxes("officer@dept.gov.in clerk@dept.gov.in head@dept.gov.in deputy@dept.gov.in", base / "front")
        front = Postfix(base / "front", "mail.dept.gov.in", f"{boxes}relayhost = [127.0.0.1]:{gateway_port}\n")
        gateway = Gateway(base / "gw", nic.port, local_hop=front.port, extra="[limits]\nfree_disk = 0\n", port=gateway_port)
        with running(nic, front, gateway):
            yield Line(front, gateway, nic)


def swaks(port: int, *words: str) -> str:
    """What swaks prints; it must get the mail accepted."""
    done = subprocess.run(
        ["swaks", "--server", "127.0.0.1", "--port", str(port), "--helo", "pc1.dept.gov.in", *words],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_official_mail_goes_through_all_three(line: Line) -> None:
    swaks(
        line.front.port,
        "--from",
        "officer@dept.gov.in",
        "--to",
        "desk@finance.nic.in",
        "--header",
        "Subject: Minutes",
        "--body",
        "Enclosed.",
    )
    (content,) = wait_for(lambda: line.nic.mailbox("finance.nic.in/desk"), 90, "the mail at the NIC server")
    message = email.message_from_bytes(content)
    assert message["Subject"] == "Minutes"
    assert message["X-Gateway-Reference"]
    assert "gw.dept.gov.in" in " ".join(message.get_all("Received") or [])


def test_mail_to_a_private_provider_comes_back_with_the_reason(line: Line) -> None:
    swaks(line.front.port, "--from", "clerk@dept.gov.in", "--to", "me@gmail.com", "--header", "Subject: File", "--body", "See the file.")
    (content,) = wait_for(lambda: line.front.mailbox("dept.gov.in/clerk"), 90, "the bounce in the officer's mailbox")
    report = email.message_from_bytes(content)
    assert report.get_content_type() == "multipart/report"
    text = "".join(part.get_payload(decode=True).decode() for part in report.walk() if part.get_content_type() == "text/plain")
    assert "gmail.com" in text
    assert any("ऀ" <= letter <= "ॿ" for letter in text), "the bounce is in Hindi too"


def test_a_held_document_is_released_by_hand(line: Line, tmp_path: Path) -> None:
    import docx

    document = docx.Document()
    document.add_paragraph("CONFIDENTIAL")
    document.add_paragraph("Note for the file.")
    document.save(str(tmp_path / "note.docx"))
    swaks(
        line.front.port, "--from", "head@dept.gov.in", "--to", "section@home.gov.in", "--header", "Subject: Note",
        "--body", "Enclosed.", "--attach-type", "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "--attach-name", "note.docx", "--attach", f"@{tmp_path}/note.docx",
    )  # fmt: skip
    (held,) = wait_for(
        lambda: [row for row in line.gateway.records("quarantine", "list") if row["sender"] == "head@dept.gov.in"], 90, "held"
    )
    (notice,) = wait_for(lambda: line.front.mailbox("dept.gov.in/head"), 90, "the notice")
    assert held["reference"].encode() in notice
    for name in ("first", "second"):
        line.gateway.cli("users", "add", name)
        line.gateway.cli("quarantine", "release", held["id"], "--reason", "checked with the section", "--as", name)
    (content,) = wait_for(lambda: line.nic.mailbox("home.gov.in/section"), 90, "the released mail at the NIC server")
    assert b"note.docx" in content


def test_top_secret_never_reaches_the_nic_server(line: Line) -> None:
    swaks(
        line.front.port,
        "--from",
        "deputy@dept.gov.in",
        "--to",
        "chief@finance.nic.in",
        "--header",
        "Subject: Plan",
        "--body",
        "TOP SECRET\\n\\nThe plan.\\n",
    )
    # The department's own server gets the 550 and tells its officer.
    (content,) = wait_for(lambda: line.front.mailbox("dept.gov.in/deputy"), 90, "the officer is told")
    assert b"5.7.1" in content
    assert line.nic.mailbox("finance.nic.in/chief") == []
    assert not [row for row in line.gateway.records("quarantine", "list", "--all") if row["sender"] == "deputy@dept.gov.in"]
