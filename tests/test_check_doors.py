"""``gateway check`` about the milter and IMAP doors."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import check_doors
from gateway.config import Config
from tests.test_smtp_client import certificates, server_context

__all__ = ["certificates"]


def said(offline: bool = True, **more: Any) -> list[tuple[str, str]]:
    config = Config(**{"originators": {"domains": ["dept.gov.in"], "networks": ["127.0.0.0/8"]}, **more})
    return [(one.state, one.text) for one in check_doors.findings(config, offline=offline)]


def milter(address: str, **more: Any) -> tuple[str, str]:
    (found,) = said(listen=({"door": "milter", "address": address, **more},))
    return found


def test_where_an_mta_gets_in_and_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    address = f"unix:{folder}/milter.sock"
    make = f"make it for the gateway's user and Postfix's group: install -d -o gateway-doors -g postfix -m 2750 {folder}"
    assert milter(address) == ("wrong", f"milter on {address}: its folder is not there; {make}")
    folder.mkdir()
    for mode, state, words in (
        (0o2750, "ok", "milter on"), (0o755, "ok", "milter on"), (0o2777, "wrong", "chmod o-w"), (0o750, "warning", "chmod 2750"),
    ):  # fmt: skip
        folder.chmod(mode)
        found = milter(address)
        assert (found[0], words in found[1]) == (state, True), (oct(mode), found)
    (tmp_path / "file").touch()
    assert milter(f"unix:{tmp_path}/file/milter.sock")[0] == "wrong"
    assert milter("systemd:milter")[0] == "ok"
    assert milter("127.0.0.1:8891")[0] == "ok"
    state, text = milter("10.0.0.5:8891", networks=("10.0.0.9/32",))
    assert (state, "for 10.0.0.9/32" in text, "in clear" in text) == ("warning", True, True)


def test_mail_of_the_mtas_own_machine() -> None:
    found = said(listen=({"door": "milter", "address": "systemd:milter"},), originators={"networks": ["10.0.0.0/8"]})
    assert [state for state, _ in found] == ["ok", "warning"]
    assert "127.0.0.1/32" in found[1][1]
    assert said(listen=({"door": "smtp", "address": "0.0.0.0:25"},)) == []


@contextlib.contextmanager
def server(greeting: bytes, capabilities: bytes, *, context: ssl.SSLContext | None = None, starttls: bool = False) -> Iterator[int]:
    """An IMAP server for one client; *starttls*: TLS begins when it is asked for."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(10)

    def serve() -> None:
        with contextlib.suppress(OSError), listening.accept()[0] as client:
            client.settimeout(10)
            sock = context.wrap_socket(client, server_side=True) if context is not None and not starttls else client
            sock.sendall(greeting + b"\r\n")
            while line := sock.recv(1000):
                tag, _, verb = line.strip().partition(b" ")
                if verb == b"CAPABILITY":
                    sock.sendall(b"* CAPABILITY IMAP4rev1 " + capabilities + b"\r\n")
                assert verb in (b"CAPABILITY", b"STARTTLS", b"LOGOUT")
                sock.sendall(tag + b" OK done\r\n")
                if verb == b"STARTTLS" and context is not None:
                    sock = context.wrap_socket(client, server_side=True)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listening.getsockname()[1]
    listening.close()
    thread.join()


def imap(port: int, **more: Any) -> tuple[str, str]:
    found, _ = said(False, listen=({"door": "imap", "address": "127.0.0.1:993"},), imap={"server": f"127.0.0.1:{port}", **more})
    return found


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_I01_the_server_behind_is_asked_under_verified_tls(certificates: Path, tls: str) -> None:
    good = server_context(certificates, "good")
    with server(b"* OK ready", b"STARTTLS AUTH=PLAIN LITERAL+", context=good, starttls=tls == "starttls") as port:
        state, text = imap(port, tls=tls, tls_ca=certificates / "ca.pem", tls_name="hop.test")
        assert state == "ok", text
        assert "signs in by PLAIN, LOGIN" in text
        assert "TLSv1.3" in text
    for name, more in (("self", {}), ("good", {"tls_name": "other.test"})):
        with server(b"* OK ready", b"STARTTLS", context=server_context(certificates, name), starttls=tls == "starttls") as port:
            assert imap(port, tls=tls, tls_ca=certificates / "ca.pem", **{"tls_name": "hop.test", **more})[0] == "wrong"


def test_servers_that_nobody_could_use() -> None:
    with server(b"* PREAUTH hello", b"") as port:
        assert "PREAUTH" in imap(port, tls="none")[1]
    with server(b"* OK ready", b"LOGINDISABLED") as port:
        assert "no way to sign in" in imap(port, tls="none")[1]
    with server(b"* OK ready", b"AUTH=PLAIN LOGINDISABLED") as port:
        assert imap(port, tls="none") == (
            "ok", f"the server 127.0.0.1:{port}: without TLS on this machine; signs in by PLAIN; without LITERAL+",
        )  # fmt: skip
    with server(b"* BYE busy", b"") as port:
        assert imap(port, tls="none")[0] == "wrong"
    with server(b"* OK ready", b"AUTH=PLAIN") as port:  # STARTTLS was taken away
        assert imap(port, tls="starttls")[0] == "wrong"
    assert imap(1, tls="none")[0] == "wrong"
    offline, _ = said(listen=({"door": "imap", "address": "127.0.0.1:993"},), imap={"server": "127.0.0.1:1", "tls": "none"})
    assert offline[0] == "ok"


def test_I12_it_is_said_which_ways_to_write_a_login_are_one_login() -> None:
    door = ({"door": "imap", "address": "127.0.0.1:993"},)
    (_, (state, text)) = said(listen=door, imap={"server": "127.0.0.1:1", "tls": "none", "domain": "mail.gov.in"})
    assert (state, text.startswith("NAME and NAME@mail.gov.in are one login to our lists")) == ("ok", True)
    (_, (state, text)) = said(listen=door, imap={"server": "127.0.0.1:1", "tls": "none"})
    assert (state, "NAME@dept.gov.in" in text) == ("ok", True)
    (_, (state, _)) = said(listen=door, imap={"server": "127.0.0.1:1", "tls": "none"}, originators={"networks": ["127.0.0.0/8"]})
    assert state == "warning"
