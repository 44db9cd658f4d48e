"""The proof that a Postfix sends mail on under TLS with AES-256 only."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import doctor_postconf, doctor_postfix, doctor_transport
from gateway.config import Config
from gateway.doctor_transport import Proof
from tests.postfix_kit import MASTER, postconf

GOOD = """smtp_tls_security_level = verify
smtp_tls_mandatory_protocols = TLSv1.2
smtp_tls_mandatory_ciphers = high
smtp_tls_mandatory_exclude_ciphers = aNULL, AES128, CHACHA20, CAMELLIA, ARIA
"""


def prove(main: str, *, own: str = "", master: str = MASTER, tables: dict[str, str] | None = None) -> Proof:
    postfix = doctor_postconf.read(postconf(main, own=own, master=master, tables=tables), doctor_transport.NAMES)
    assert postfix is not None
    return doctor_transport.prove(postfix)


def changed(name: str, value: str) -> str:
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"{name} ")]
    return "\n".join([*lines, f"{name} = {value}"]) + "\n"


PROVED = {
    "as the documents have it": GOOD,
    "encrypt": changed("smtp_tls_security_level", "encrypt"),
    "secure": changed("smtp_tls_security_level", "secure"),
    "a relayhost under TLS": GOOD + "relayhost = [smtp.nic.in]:25\n",
    "own list of suites": changed("smtp_tls_mandatory_exclude_ciphers", "") + "tls_high_cipherlist = ECDHE+AESGCM+AES256:DHE+AES256\n",
    "old form of versions": changed("smtp_tls_mandatory_protocols", "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1, !TLSv1.3"),
    "a relayhost on this machine": "relayhost = [127.0.0.1]:10026\n",
    "a relayhost on this machine, IPv6": "relayhost = [::1]:10026\n",
    "a transport to this machine": "default_transport = smtp:[127.0.0.1]:10026\nrelay_transport = relay:[127.0.0.1]:10026\n"
    "address_verify_default_transport = smtp:[127.0.0.1]:1\naddress_verify_relay_transport = relay:[127.0.0.1]:1\n",
    "mailboxes by LMTP on a socket": GOOD + "virtual_transport = lmtp:unix:private/dovecot-lmtp\n",
    "a policy table that is as strong": GOOD + "smtp_tls_policy_maps = hash:/strong\n",
    "a policy table whose entries say all themselves": changed("smtp_tls_mandatory_protocols", "TLSv1.2")
    + "smtp_tls_policy_maps = inline:{ {nic.in = secure ciphers=high exclude=AES128:CHACHA20:CAMELLIA:ARIA match=nic.in} }\n",
    "transports that stay": GOOD + "transport_maps = hash:/stay\n",
    "a transport that is not there": GOOD + "transport_maps = static:x400:y\n",
    "a filter on this machine": GOOD + "content_filter = smtp:[127.0.0.1]:10024\n",
}
NOT_PROVED = {
    "nothing is set": ("", "TLS is not demanded"),
    "may": (changed("smtp_tls_security_level", "may"), "smtp_tls_security_level = may"),
    "dane": (changed("smtp_tls_security_level", "dane"), "smtp_tls_security_level = dane"),
    "none": (changed("smtp_tls_security_level", "none"), "none"),
    "TLS 1.3": (changed("smtp_tls_mandatory_protocols", ">=TLSv1.2"), "TLS 1.3 is on"),
    "Postfix's own versions": (changed("smtp_tls_mandatory_protocols", ">=TLSv1"), "TLS 1.3 is on"),
    "no version": (changed("smtp_tls_mandatory_protocols", "TLSv1.2, !TLSv1.2"), "no TLS version is left"),
    "unknown version": (changed("smtp_tls_mandatory_protocols", "TLSv9"), "not known here"),
    "AES-128 is left": (changed("smtp_tls_mandatory_exclude_ciphers", "aNULL, CHACHA20, CAMELLIA, ARIA"), "AES128"),
    "nothing is excluded": (changed("smtp_tls_mandatory_exclude_ciphers", ""), "suites without AES-256 are left"),
    "no suite": (changed("smtp_tls_mandatory_exclude_ciphers", "ALL"), "no cipher suite is left"),
    "NULL": (changed("smtp_tls_mandatory_ciphers", "null"), "suites without AES-256"),
    "an unknown grade": (changed("smtp_tls_mandatory_ciphers", "best"), "grade best"),
    "an openssl.cnf": (GOOD + "tls_config_file = /etc/own.cnf\n", "tls_config_file"),
    "the old table": (GOOD + "smtp_tls_per_site = hash:/x\n", "smtp_tls_per_site"),
    "a policy that weakens": (GOOD + "smtp_tls_policy_maps = hash:/may\n", "partner.in may"),
    "a policy with its own versions": (GOOD + "smtp_tls_policy_maps = hash:/versions\n", "TLS 1.3 is on"),
    "a policy with its own exclusions": (GOOD + "smtp_tls_policy_maps = hash:/exclude\n", "suites without AES-256"),
    "a policy that cannot be listed": (GOOD + "smtp_tls_policy_maps = ldap:/x\n", "cannot be listed"),
    "a relayhost here and a fallback": ("relayhost = [127.0.0.1]:26\nsmtp_fallback_relay = [mx.isp.in]\n", "TLS is not demanded"),
    "a relayhost here and a sender's own": (
        "relayhost = [127.0.0.1]:26\nsender_dependent_relayhost_maps = static:[mx.isp.in]\n", "TLS is not demanded",
    ),
    "a transport with the recipient's own server": ("relayhost = [127.0.0.1]:26\ntransport_maps = static:smtp:\n", "TLS is not demanded"),
    "a transport elsewhere": ("relayhost = [127.0.0.1]:26\ntransport_maps = hash:/way\n", "TLS is not demanded"),
    "a program": (GOOD + "transport_maps = static:maildrop:x\n", "the program of the transport maildrop"),
    "a transport table that cannot be listed": (GOOD + "transport_maps = mysql:/x\n", "cannot be listed"),
    "LMTP over the network": (GOOD + "virtual_transport = lmtp:inet:boxes.dept.gov.in:24\n", "lmtp service lmtp: lmtp_tls_security_level"),
    "several instances": (GOOD + "multi_instance_directories = /etc/postfix-out\n", "multi_instance_directories"),
    "a program as filter": (GOOD + "header_checks = static:{FILTER maildrop:x}\n", "the program of the transport maildrop"),
    "checks that cannot be listed": (GOOD + "header_checks = mysql:/x\n", "FILTER"),
}  # fmt: skip
TABLES = {
    "hash:/strong": "nic.in\tsecure\n.nic.in\tencrypt exclude=AES128:CHACHA20:CAMELLIA:ARIA\n",
    "hash:/may": "nic.in\tsecure\npartner.in\tmay\n",
    "hash:/versions": "nic.in\tencrypt protocols=>=TLSv1.2\n",
    "hash:/exclude": "nic.in\tencrypt exclude=aNULL\n",
    "hash:/stay": "a.in\tlocal:\nb.in\terror:no\nc.in\tsmtp:[127.0.0.1]:26\nd.in\t:\n",
    "hash:/way": "partner.in\tsmtp:[mx.partner.in]\n",
}


@pytest.mark.parametrize("name", PROVED)
def test_settings_that_prove(name: str) -> None:
    found = prove(PROVED[name], tables=TABLES)
    assert (found.gaps, found.protected) == ((), True)


@pytest.mark.parametrize("name", NOT_PROVED)
def test_settings_that_do_not(name: str) -> None:
    main, said = NOT_PROVED[name]
    found = prove(main, tables=TABLES)
    assert not found.protected
    assert any(said in gap for gap in found.gaps), found.gaps
    assert found.said.startswith("Not proved: ")


@pytest.mark.parametrize(
    "own",
    [
        "smtp/unix/smtp_tls_security_level = may",
        "relay/unix/smtp_tls_mandatory_protocols = >=TLSv1.2",
        "smtp/unix/smtp_tls_policy_maps = static:may",
        "smtp/unix/tls_high_cipherlist = ALL:COMPLEMENTOFALL",
        "smtp/inet/content_filter = maildrop:",
    ],
)
def test_settings_of_one_service_that_weaken(own: str) -> None:
    assert not prove(GOOD, own=own).protected


def test_a_further_client_counts_though_nothing_names_it() -> None:
    master = MASTER + "slow unix - - y - - smtp\n"
    assert prove(GOOD, master=master).protected
    assert "smtp service slow" in prove(GOOD, master=master, own="slow/unix/smtp_tls_security_level = may").gaps[0]


def test_a_filters_client_may_be_in_clear_on_this_machine() -> None:
    master, own = MASTER + "amavis unix - - y - - smtp\n", "amavis/unix/smtp_tls_security_level = none"
    assert prove(GOOD + "content_filter = amavis:[127.0.0.1]:10024\n", master=master, own=own).protected
    assert not prove(GOOD + "content_filter = amavis:[10.0.0.9]:10024\n", master=master, own=own).protected


def test_encrypt_is_remarked_on_and_the_hash_follows_every_setting() -> None:
    encrypt = prove(PROVED["encrypt"])
    assert "certificate" in encrypt.remarks[0]
    assert not prove(GOOD).remarks
    assert prove(GOOD).settings == prove(GOOD).settings != encrypt.settings
    before, after = (
        prove(PROVED["a policy table that is as strong"], tables=TABLES | {"hash:/strong": entry})
        for entry in ("a\tsecure\n", "b\tsecure\n")
    )
    assert before.settings != after.settings


def test_only_the_postfix_that_asks_us_proves_anything(tmp_path: Path) -> None:
    def said(address: str, main: str, *, running: bool = True) -> Proof:
        (tmp_path / "pid").mkdir(exist_ok=True)
        (tmp_path / "pid" / "master.pid").unlink(missing_ok=True)
        if running:
            (tmp_path / "pid" / "master.pid").write_text("no number")
        config = Config(hostname="gw1.dept.gov.in", listen=({"door": "milter", "address": address},))
        found = doctor_postfix.proof(config, postconf(main, folder=tmp_path))
        assert found is not None
        return found

    asks = GOOD + "smtpd_milters = inet:127.0.0.1:8891\n"
    assert said("127.0.0.1:8891", asks).protected
    assert "other" not in said("127.0.0.1:8891", asks).said
    assert "does not run" in said("127.0.0.1:8891", asks, running=False).said
    assert "another server" in said("127.0.0.1:8892", asks).said
    assert "listens on 0.0.0.0:8891" in said("0.0.0.0:8891", asks).said
    assert doctor_postfix.proof(Config(), postconf()) is None
    alone = doctor_postfix.proof(Config(listen=({"door": "milter", "address": "127.0.0.1:8891"},)), lambda _: None)
    assert alone is not None
    assert not alone.protected
