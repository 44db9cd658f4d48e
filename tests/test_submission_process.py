"""The submission doors as real processes: all three ports, a balancer, and a certificate that is renewed under open sessions."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .smtp_door import any_context, make_certificate
from .test_doors_workers import Doors, wait_for


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Submission(Doors):
    """Doors with 587 and 465 beside the relay's port, the latter also behind a balancer."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.keys = folder / "tls"
        self.keys.mkdir()
        make_certificate(self.keys)
        self.starttls, self.implicit, self.balanced = free_port(), free_port(), free_port()
        with self.config.open("a") as file:
            file.write(f'''
[tls]
certificate = "{self.keys}/cert.pem"
key = "{self.keys}/key.pem"
[submission]
check = "next-hop"
next_hop = "127.0.0.1:587"
[[listen]]
door = "submission"
address = "127.0.0.1:{self.starttls}"
[[listen]]
door = "smtps"
address = "127.0.0.1:{self.implicit}"
[[listen]]
door = "smtps"
address = "127.0.0.1:{self.balanced}"
proxy_protocol = true
proxies = ["127.0.0.1/32"]
networks = ["10.0.0.0/8"]
''')


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Submission]:
    part = Submission(tmp_path)
    yield part
    part.end()


def balanced(port: int, client: str) -> bytes:
    """The greeting, as a client at *client* reads it through the balancer."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(f"PROXY TCP4 {client} 10.0.0.1 4711 465\r\n".encode())
        with any_context().wrap_socket(sock) as tunnel:
            return tunnel.recv(1000)


@pytest.mark.slow
def test_O17_a_renewed_certificate_reaches_new_sessions_and_breaks_none(doors: Submission) -> None:
    doors.start()
    doors.ready()
    assert doors.logged("doors.not_there") == []
    implicit = smtplib.SMTP_SSL("127.0.0.1", doors.implicit, timeout=10, context=any_context())
    starttls = smtplib.SMTP("127.0.0.1", doors.starttls, timeout=10)
    starttls.starttls(context=any_context())
    for client in (implicit, starttls):
        client.ehlo("client.example")
        assert client.esmtp_features["auth"].strip() == "PLAIN LOGIN"
    assert balanced(doors.balanced, "10.1.2.3").startswith(b"220 gw.dept.gov.in")
    assert balanced(doors.balanced, "203.0.113.7").startswith(b"554 5.7.1 Your computer's address 203.0.113.7")

    def shown() -> bytes:
        with socket.create_connection(("127.0.0.1", doors.implicit), 10) as sock, any_context().wrap_socket(sock) as tunnel:
            assert tunnel.recv(100).startswith(b"220 ")
            return tunnel.getpeercert(binary_form=True) or b""

    def file() -> bytes:
        return ssl.PEM_cert_to_DER_cert((doors.keys / "cert.pem").read_text())

    assert shown() == file()
    former = file()
    make_certificate(doors.keys)
    os.kill(doors.pid, signal.SIGHUP)
    while shown() == former:  # and no connection is refused or broken on the way
        time.sleep(0.05)
    assert shown() == file() != former
    wait_for(lambda: doors.logged("rules.reloaded"))
    for client in (implicit, starttls):  # the sessions of before go on; without a keeper nobody is let in
        assert client.docmd("AUTH PLAIN", "AGEAYg==")[0] == 454
        assert client.docmd("MAIL", "FROM:<a@dept.gov.in>")[0] == 530
        assert client.quit()[0] == 221
