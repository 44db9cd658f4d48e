"""Three nodes, one PostgreSQL, haproxy in front: who dies loses nothing, and others do its work."""

from __future__ import annotations

import random
import shutil
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.nodes import Nodes, prove
from tests.e2e.parts import wait_for
from tests.e2e.postgres import programs
from tests.e2e.prove.load import INSIDE, SENDER

pytestmark = [
    pytest.mark.service,
    pytest.mark.slow,
    pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed (.ci/run installs it)"),
    pytest.mark.skipif(not (shutil.which("haproxy") or Path("/usr/sbin/haproxy").exists()), reason="haproxy is not installed"),
]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def post(port: int, subject: str, source: str = "127.0.0.1") -> str:
    """The reference of a message that was taken."""
    with smtplib.SMTP("127.0.0.1", port, timeout=30, source_address=(source, 0)) as client:
        client.ehlo("pc.dept.gov.in")
        assert client.mail(SENDER)[0] == 250
        assert client.rcpt(INSIDE)[0] == 250
        code, text = client.data(
            f"From: <{SENDER}>\r\nTo: <{INSIDE}>\r\nX-Proof: {subject}\r\nSubject: {subject}\r\n\r\nHello\r\n".encode()
        )
        assert code == 250, text
        return text.decode().rsplit(" ", 1)[-1]


@pytest.mark.timeout(600)
def test_O12_three_nodes_lose_nothing_when_nodes_keepers_and_the_database_die_in_turn(nodes: Nodes) -> None:
    # The client's own address comes through the balancer, and each node tells of mail that another took.
    references = [post(nodes.balancer.port, f"first-{n}", "127.0.0.9") for n in range(6)]
    for reference in references:
        records = nodes.nodes[0].records("audit", "show", reference)
        assert any(record.get("source", {}).get("ip") == "127.0.0.9" for record in records), records
    wait_for(lambda: nodes.open_deliveries() == 0, 60, "all is delivered")

    # What a dead node had taken and not delivered goes out through another.
    nodes.hop.stop()
    waiting = post(nodes.nodes[1].port, "left-behind")
    nodes.nodes[1].kill_all()
    nodes.hop.start()
    wait_for(lambda: nodes.open_deliveries() == 0, 90, "another node delivers what a dead one had taken")
    assert any(b"left-behind" in nodes.hop.content(entry) for entry in nodes.hop.received()), waiting
    nodes.nodes[1].start()

    seed = random.Random().randrange(1 << 30)
    print(f"seed {seed}")
    found = prove(nodes, 100, seed, 5, lasting=True)
    assert found.good, found.wrong
    assert found.messages >= 100
    assert found.strikes == 5
