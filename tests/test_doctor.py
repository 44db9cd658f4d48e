"""``gateway doctor``: clock, libraries, Postfix, next hops, DKIM in the DNS."""

from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from gateway import doctor_clock, doctor_dkim, doctor_hops, doctor_libraries, doctor_postfix
from gateway.audit.ntp import KernelClock
from gateway.config import Config
from gateway.doctor import Finding
from tests.hostile_hop import Hop
from tests.test_smtp_client import certificates, server_context

__all__ = ["certificates"]


def words(findings: Any, state: str) -> str:
    return "\n".join(one.text for one in findings if one.state == state)


# --- clock -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "said", "state", "text"),
    [
        (KernelClock(True, 0.004), {}, "ok", "synchronised, within 0.004 s"),
        (KernelClock(True, 0.004), {"chronyc": "A,samay1.nic.in,2,1.0\n"}, "ok", "with samay1.nic.in"),
        (KernelClock(True, 0.004), {"timedatectl": "time.example.in\n"}, "ok", "CERT-In asks for the time of NIC"),
        (KernelClock(True, 3.5), {}, "warning", "may be off by 3.5 s"),
        (KernelClock(False, 16), {}, "warning", "samay1.nic.in and samay2.nic.in"),
        (KernelClock(False, 16), {"chronyc": "A,samay1.nic.in,2\n"}, "warning", "which has not set it yet"),
        (None, {}, "warning", "cannot be known here"),
    ],
)  # fmt: skip
def test_O15_the_clock(kernel: KernelClock | None, said: dict[str, str], state: str, text: str) -> None:
    found = list(doctor_clock.examine(lambda: kernel, lambda command: said.get(command[0], "")))
    assert text in words(found, state)
    assert not [one for one in found if one.state == "wrong"]


def test_commands_that_hang_or_are_not_here_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_clock, "_WAIT", 0.1)
    assert doctor_clock.run(["no-such-command"]) == ""
    assert doctor_clock.run(["sleep", "5"]) == ""
    assert doctor_clock.run(["false"]) == ""


# --- libraries -------------------------------------------------------------------------------------------------------


def test_libraries_with_known_flaws_are_named() -> None:
    def old(name: str) -> str:
        if name == "lxml":
            raise metadata.PackageNotFoundError
        return {"jinja2": "3.1.6rc1", "cryptography": "44.0.0.post1"}.get(name, "99.0")

    (found,) = doctor_libraries.examine(old)
    assert (found.state, "cryptography 44.0.0.post1 has CVE-2024-12797" in found.text) == ("warning", True)
    (fine,) = doctor_libraries.examine(lambda _: "99.1")
    assert fine.state == "ok"
    assert doctor_libraries.numbers("10.2") > doctor_libraries.numbers("9.30.1")


def test_the_libraries_of_this_set_up_have_none() -> None:
    assert [one.text for one in doctor_libraries.examine() if one.state != "ok"] == []


# --- Postfix ---------------------------------------------------------------------------------------------------------

GOOD = """relayhost = [gw1.dept.gov.in]:25
smtp_tls_security_level = encrypt
mynetworks = 10.0.0.0/8 127.0.0.0/8 [::1]/128
smtpd_milters = unix:/run/filter.sock
"""


def examined(
    main: str, tmp_path: Path, *, services: str = "", tables: dict[str, str] | None = None, running: bool = True, route: Any = ()
) -> list[Finding]:
    (tmp_path / "pid").mkdir(parents=True, exist_ok=True)
    if running:
        (tmp_path / "pid" / "master.pid").write_text("no number")  # cannot be known: counts as running

    def run(command: list[str]) -> str | None:
        if command[:2] == ["postmap", "-s"]:
            return (tables or {}).get(command[2])
        return {"-n": main, "-P": services, "-h": f"{tmp_path}\n"}[command[1]]

    config = Config(hostname="gw1.dept.gov.in", listen=({"door": "smtp", "address": "0.0.0.0:25"},), route=route)
    return list(doctor_postfix.examine(config, run))


def test_a_postfix_in_front_that_fails_closed(tmp_path: Path) -> None:
    found = examined(GOOD + "transport_maps = hash:/etc/postfix/t\n", tmp_path, tables={"hash:/etc/postfix/t": "dept.gov.in local:\n"})
    assert [(one.state, "in front" in one.text) for one in found] == [("ok", True)]


@pytest.mark.parametrize(
    ("main", "services", "said"),
    [
        (GOOD.replace("relayhost", "#"), "", "relayhost is not set"),
        (GOOD.replace("gw1.dept", "mail.other"), "", "is not this gateway"),
        (GOOD.replace("]:25", "]:2525"), "", "is not this gateway"),
        (GOOD + "smtp_fallback_relay = [backup.isp.in]", "", "while the gateway is away mail goes around it"),
        (GOOD + "fallback_relay = [backup.isp.in]", "", "while the gateway is away mail goes around it"),
        (GOOD + "sender_dependent_relayhost_maps = hash:/x", "", "sender_dependent_relayhost_maps"),
        (GOOD + "default_transport = smtp:[mx.isp.in]", "", "default_transport"),
        (GOOD + "transport_maps = hash:/t", "", "nic.in goes to smtp:[mail.nic.in], around the gateway"),
        (GOOD + "transport_maps = hash:/u", "", "* goes to :[mail.nic.in]:25"),
        (GOOD + "transport_maps = static:relay:[mail.nic.in]", "", "around the gateway"),
        (GOOD.replace("encrypt", "may"), "", "smtp_tls_security_level = may"),
        (GOOD.replace("smtp_tls_security_level", "#"), "", "smtp_tls_security_level is not set"),
        (GOOD + "mynetworks = 0.0.0.0/0", "", "everybody may send"),
        (GOOD + "mynetworks = 10.0.0.0/8, [::]/0", "", "everybody may send"),
        (GOOD + "milter_default_action = accept", "", "milter_default_action = accept"),
        (GOOD.replace("filter.sock", "filter.sock, {inet:h:1, default_action=accept}"), "", "default_action=accept"),
        (GOOD, "smtp/unix/smtp_fallback_relay = [backup.isp.in]", "master.cf: smtp/unix"),
        (GOOD, "smtp/unix/smtp_tls_security_level = may", "goes around the gateway or in clear"),
        (GOOD, "submission/inet/milter_default_action = accept", "passes without it"),
    ],
)  # fmt: skip
def test_settings_that_fail_open_are_wrong(tmp_path: Path, main: str, services: str, said: str) -> None:
    tables = {"hash:/t": "# x\nnic.in smtp:[mail.nic.in]\nok.in smtp:[gw1.dept.gov.in]:25\n", "hash:/u": "*\t:[mail.nic.in]:25\n"}
    found = examined(main, tmp_path, services=services, tables=tables)
    assert said in words(found, "wrong")
    assert "ok.in" not in words(found, "wrong")
    assert said in words(examined(main, tmp_path / "off", services=services, tables=tables, running=False), "warning")


def test_tables_that_cannot_be_listed_and_filters_taken_away_are_warned_of(tmp_path: Path) -> None:
    found = examined(GOOD + "transport_maps = ldap:/x", tmp_path, services="pickup/unix/smtpd_milters =")
    assert "cannot be listed here" in words(found, "warning")
    assert "passes no filter" in words(found, "warning")
    assert not words(found, "wrong")


def test_a_postfix_behind_sends_where_it_wants(tmp_path: Path) -> None:
    route = ({"domains": ("*",), "next_hop": "127.0.0.1:10026", "tls": "none"},)
    main = "relayhost = [mail.nic.in]\nmynetworks = 127.0.0.0/8\n"
    assert [one.state for one in examined(main, tmp_path, route=route)] == ["ok"]
    assert "everybody" in words(examined(main + "mynetworks = 0.0.0.0/0\n", tmp_path, route=route), "wrong")


def test_no_postfix_is_no_fault() -> None:
    (found,) = doctor_postfix.examine(Config(), lambda _: None)
    assert found.state == "ok"


# --- next hops -------------------------------------------------------------------------------------------------------


async def hops(hop: Hop, folder: Path, **route: Any) -> list[Finding]:
    wanted = {"domains": ("*",), "next_hop": hop.address, "tls": "required", "tls_ca": folder / "ca.pem", "tls_name": "hop.test", **route}
    config = Config(hostname="gw.dept.gov.in", listen=(), route=(wanted,), protection_required=route.pop("protection", "both"))
    return await asyncio.to_thread(lambda: list(doctor_hops.examine(config)))


async def test_a_good_next_hop(certificates: Path) -> None:
    async with Hop(tls=server_context(certificates, "good")) as hop:
        found = await hops(hop, certificates)
        assert [one.state for one in found] == ["ok", "ok"]
        assert "TLSv1.3 TLS_AES_256_GCM_SHA384 (AES-256)" in found[0].text
        assert "expires in 29 days" in found[1].text
        assert not hop.taken
        assert not [line for line in hop.lines if line.startswith("MAIL")]


async def test_a_next_hop_without_aes_256(certificates: Path) -> None:
    weak = server_context(certificates, "good", top=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    async with Hop(tls=weak) as hop:
        (found,) = await hops(hop, certificates)
        assert (found.state, "no AES-256 when asked for" in found.text) == ("wrong", True)
    both = server_context(
        certificates, "good", top=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    )
    async with Hop(tls=both) as hop:
        assert "AES256" in (await hops(hop, certificates))[0].text


@pytest.mark.parametrize(("certificate", "said"), [("self", "not accepted"), ("expired", "not accepted"), ("", "does not offer STARTTLS")])
async def test_next_hops_that_mail_would_not_go_to(certificates: Path, certificate: str, said: str) -> None:
    async with Hop(tls=server_context(certificates, certificate) if certificate else None) as hop:
        (found,) = await hops(hop, certificates)
        assert (found.state, said in found.text) == ("wrong", True)
    (gone,) = await hops(hop, certificates)
    assert (gone.state, "could not be reached" in gone.text) == ("wrong", True)


async def test_a_certificate_that_ends_soon(certificates: Path) -> None:
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    for command in (
        ["req", *curve, "-nodes", "-keyout", "soon.key", "-out", "soon.csr", "-subj", "/CN=h"],
        ["x509", "-req", "-in", "soon.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "5", "-extfile", "ext", "-out", "soon.pem"],
    ):
        subprocess.run(["openssl", *command], cwd=certificates, check=True, capture_output=True)
    async with Hop(tls=server_context(certificates, "soon")) as hop:
        assert "expires in 4 days; without a new one" in words(await hops(hop, certificates), "warning")


async def test_a_next_hop_on_this_machine(certificates: Path) -> None:
    async with Hop() as hop:
        (found,) = await hops(hop, certificates, tls="none", tls_ca=None)
        assert (found.state, "on this machine" in found.text) == ("ok", True)


# --- DKIM ------------------------------------------------------------------------------------------------------------


def key_in(path: Path, key: Any) -> Any:
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return key.public_key()


def test_a_dkim_record_is_held_against_the_key(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    p = base64.b64encode(key_in(path, rsa.generate_private_key(65537, 2048)).public_bytes(*spki)).decode()
    other = base64.b64encode(rsa.generate_private_key(65537, 1024).public_key().public_bytes(*spki)).decode()
    for record, state, said in [
        (f"v=DKIM1; k=rsa; p={p}", "ok", "published"),
        (f"p={p[:100]} {p[100:]}", "ok", "published"),
        (f"v=DKIM1; t=s; p={p}", "ok", "published"),
        (f"v=DKIM1; t=y:s; p={p}", "warning", "t=y"),
        (f"v=DKIM1; k=rsa; p={other}", "wrong", "another key"),
        (f"v=DKIM1; k=ed25519; p={p}", "wrong", "another key"),
        ("v=DKIM1; p=", "wrong", "revoked"),
        ("v=DKIM1; p=***", "wrong", "not base64"),
        (f"v=DKIM2; p={p}", "wrong", "not DKIM1"),
        (f"v=DKIM1; h=sha1; p={p}", "wrong", "sha256"),
        ("", "wrong", "no record is published"),
        ("?", "warning", "could not be asked"),
    ]:
        got, text = doctor_dkim.judge(record, path)
        assert (got, said in text) == (state, True), (record, got, text)
    raw = key_in(path, ed25519.Ed25519PrivateKey.generate()).public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    assert doctor_dkim.judge(f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}", path)[0] == "ok"
    assert doctor_dkim.judge("", tmp_path / "nowhere")[0] == "warning"
    path.write_text("nothing")
    assert doctor_dkim.judge("", path)[0] == "wrong"


def test_the_dns_is_asked_through_the_configs_resolvers(tmp_path: Path) -> None:
    import socket
    import threading

    import dns.message
    import dns.rrset

    path = tmp_path / "k.pem"
    raw = key_in(path, ed25519.Ed25519PrivateKey.generate()).public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    server.settimeout(10)

    def answer() -> None:
        data, peer = server.recvfrom(2000)
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        record = f'"v=DKIM1; k=ed25519; " "p={base64.b64encode(raw).decode()}"'
        reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "TXT", record))
        server.sendto(reply.to_wire(), peer)

    thread = threading.Thread(target=answer)
    thread.start()
    entry = {"domain": "dept.gov.in", "selector": "gw1", "key_file": path}
    config = Config(dkim=(entry,), resolvers=(f"127.0.0.1:{server.getsockname()[1]}",))
    (found,) = doctor_dkim.examine(config)
    thread.join()
    server.close()
    assert (found.state, found.text.startswith("gw1._domainkey.dept.gov.in: published")) == ("ok", True)
    assert list(doctor_dkim.examine(Config())) == []
