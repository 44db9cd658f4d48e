"""Two gateways that send to each other: the message stops, and its originator hears of it once (catalogue L01)."""

from __future__ import annotations

import email
import smtplib
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.parts import Gateway, Hop, free_port, running, wait_for

OFFICER = "officer@dept.gov.in"
DESK = "desk@finance.nic.in"
HOPS = 50  # Received fields with which a message is refused


@pytest.mark.slow
def test_L01_two_gateways_that_point_at_each_other(tmp_path: Path) -> None:
    # Mail to the department goes to the recording hop, so that the report can be seen; all other mail goes round.
    hop = Hop(tmp_path / "hop")
    there, back = free_port(), free_port()
    limits = "[limits]\nfree_disk = 0\nretry_first = 2\nretry_max = 4\n"
    first = Gateway(tmp_path / "first", next_hop=back, local_hop=hop.port, extra=limits, port=there)
    second = Gateway(tmp_path / "second", next_hop=there, local_hop=hop.port, extra=limits, port=back)
    with running(hop, first, second):
        with smtplib.SMTP("127.0.0.1", there, timeout=30) as client:
            client.ehlo("pc.dept.gov.in")
            text = f"From: <{OFFICER}>\r\nTo: <{DESK}>\r\nSubject: Round and round\r\n\r\nNote.\r\n"
            assert client.sendmail(OFFICER, [DESK], text) == {}

        def reports() -> list[bytes]:
            return [hop.content(entry) for entry in hop.received()]

        wait_for(reports, 60, "the originator is told of the loop")
        wait_for(lambda: not first.records("queue", "list") and not second.records("queue", "list"), 30, "nothing goes round any more")
        told = reports()
        assert len(told) == 1
        report = email.message_from_bytes(told[0])
        assert report.get_content_type() == "multipart/report"
        parts = list(report.walk())
        status: Any = next(part for part in parts if part.get_content_type() == "message/delivery-status").get_payload()
        assert [str(block["Final-Recipient"]) for block in status if block.get("Action") == "failed"] == [f"rfc822; {DESK}"]
        assert any("5.4.6" in str(block.get("Status", "")) + str(block.get("Diagnostic-Code", "")) for block in status)
        headers = next(part for part in parts if part.get_content_type() in ("text/rfc822-headers", "message/rfc822-headers"))
        assert 0 < str(headers.get_payload()).count("Received: ") <= HOPS
        delivered = [row for gateway in (first, second) for row in gateway.records("queue", "list", "--all") if row["recipient"] == DESK]
        assert 0 < len(delivered) <= HOPS + 1
        assert [row["state"] for row in delivered].count("bounced") == 1
        assert not first.records("quarantine", "list")
        assert not second.records("quarantine", "list")
