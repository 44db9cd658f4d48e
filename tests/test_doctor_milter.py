"""The milter settings of a Postfix, as ``gateway doctor`` judges them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import doctor_milter, doctor_postfix
from gateway.cli import check_archive
from gateway.config import Archive, Config
from gateway.doctor import Finding
from gateway.doctor_postconf import Run
from tests.postfix_kit import MASTER, postconf

SOCKET = "unix:/var/spool/postfix/gateway/milter.sock"
GOOD = "smtpd_milters = unix:gateway/milter.sock\nnon_smtpd_milters = unix:gateway/milter.sock\n"
INET = "smtpd_milters = inet:127.0.0.1:8891\nnon_smtpd_milters = inet:127.0.0.1:8891\n"


def config(*addresses: str) -> Config:
    listen = [{"door": "milter", "address": address} for address in addresses or (SOCKET,)]
    route = ({"domains": ("*",), "next_hop": "127.0.0.1:10026", "tls": "none"},)
    return Config(hostname="gw1.dept.gov.in", listen=listen, route=route)


def examined(run: Run, *addresses: str) -> list[Finding]:
    setting = config(*addresses)
    postfix = doctor_postfix.reading(setting, run)
    assert postfix is not None
    return list(doctor_milter.examine(setting, postfix))


def words(findings: list[Finding], state: str) -> str:
    return "\n".join(one.text for one in findings if one.state == state)


@pytest.mark.parametrize(
    ("main", "addresses"),
    [
        (GOOD, ()),
        (GOOD, ("systemd:milter",)),
        (GOOD.replace("unix:", "unix:/"), ()),  # as a daemon in its cage sees it
        (GOOD.replace("unix:", "local:"), ()),
        (GOOD + "header_checks = static:{REPLACE Subject: x}\n", ()),  # done before a milter is asked
        (GOOD.replace("unix:gateway/milter.sock", "inet:rspamd:11332, unix:gateway/milter.sock"), ()),
        (GOOD.replace("unix:gateway/milter.sock", "{ unix:gateway/milter.sock, default_action = tempfail, content_timeout=200s }"), ()),
        (INET, ("127.0.0.1:8891",)),
        (INET, ("0.0.0.0:8891",)),
        (INET.replace("127.0.0.1", "[::1]"), ("[::1]:8891",)),
        (INET.replace("127.0.0.1", "localhost"), ("127.0.0.1:8891",)),
        (GOOD, ("127.0.0.1:8891", SOCKET)),
    ],
)
def test_a_postfix_that_asks_and_waits(main: str, addresses: tuple[str, ...]) -> None:
    found = examined(postconf(main), *addresses)
    assert [(one.subject, one.state) for one in found] == [("milter", "ok")]
    assert "passes without" not in found[0].text


@pytest.mark.parametrize(
    ("main", "own", "said"),
    [
        ("", "", "smtpd_milters is not set"),
        ("", "", "sendmail(1)"),
        (GOOD.replace("non_smtpd_milters", "#"), "", "non_smtpd_milters does not name the gateway"),
        (GOOD.replace("gateway/milter.sock", "opendkim/opendkim.sock"), "", "does not name the gateway"),
        (INET, "", "smtpd_milters = inet:127.0.0.1:8891 does not name the gateway"),
        (GOOD.replace("unix:", "unix:/var/spool/postfix/"), "", "it runs in a chroot and looks for /var/spool/postfix/var/spool/postfix/"),
        (GOOD + "milter_default_action = accept\n", "", "milter_default_action = accept"),
        (GOOD + "milter_default_action = pass\n", "", "does not know that action"),
        (GOOD.replace("unix:gateway/milter.sock", "{ unix:gateway/milter.sock, default_action=accept }"), "", "default_action = accept"),
        (GOOD, "smtp/inet/milter_default_action = accept", "master.cf: smtp/inet: -o milter_default_action = accept"),
        (GOOD, "smtp/inet/smtpd_milters =", "-o smtpd_milters= is empty"),
        (GOOD, "smtp/inet/smtpd_milters = inet:127.0.0.1:11332", "does not name the gateway"),
        (GOOD, "smtp/inet/receive_override_options = no_address_mappings,no_milters", "has no_milters"),
        (GOOD + "receive_override_options = no_milters\n", "", "has no_milters"),
        (GOOD, "pickup/unix/receive_override_options = no_milters", "pickup/unix"),
        (GOOD, "cleanup/unix/non_smtpd_milters =", "master.cf: cleanup/unix: non_smtpd_milters does not name"),
        (GOOD, "smtp/inet/smtpd_proxy_filter = 127.0.0.1:10024", "does not get to see the text"),
        (GOOD + "smtpd_milter_maps = static:DISABLE\n", "", "passes without the gateway"),
        (GOOD + "smtpd_milter_maps = ldap:/x\n", "", "cannot be listed"),
        (GOOD + "milter_protocol = 2\n", "", "milter_protocol = 2"),
        (GOOD.replace("unix:gateway/milter.sock", "{ unix:gateway/milter.sock, protocol=4 }"), "", "milter_protocol = 4"),
        (GOOD + "milter_content_timeout = 60s\n", "", "milter_content_timeout = 60s is too short"),
        (GOOD + "milter_content_timeout = soon\n", "", "is too short"),
        (GOOD, "smtp/inet/milter_content_timeout = 10", "master.cf: smtp/inet: milter_content_timeout = 10"),
        (GOOD + "milter_mail_macros = i {mail_addr}\n", "", "milter_mail_macros lacks {auth_type} {auth_authen}"),
        (GOOD + "milter_macro_defaults = auth_authen=root, v=x\n", "", "everybody would have it"),
    ],
)  # fmt: skip
def test_T07_settings_that_let_mail_pass_unseen_are_wrong(main: str, own: str, said: str) -> None:
    found = examined(postconf(main, own=own))
    assert said in words(found, "wrong"), found
    assert not [one for one in found if one.state == "ok"]


@pytest.mark.parametrize(
    ("main", "own", "said"),
    [
        (GOOD + "milter_default_action = quarantine\n", "", "postsuper -H lets it out"),
        (GOOD + "milter_default_action = reject\n", "", "refused for good"),
        (GOOD + "milter_connect_timeout = 1s\n", "", "too short"),
        (GOOD + "milter_connect_timeout = 1h\n", "", "too long"),
        (GOOD + "milter_command_timeout = 2\n", "", "too short"),
        (GOOD + "milter_content_timeout = 1d\n", "", "too long"),
        (GOOD + "milter_helo_macros = {tls_version}\n", "", "lacks {cipher} {cipher_bits}"),
        (GOOD + "milter_end_of_data_macros =\n", "", "lacks i"),
        (GOOD + "internal_mail_filter_classes = bounce\n", "", "leave it empty"),
        (GOOD + "content_filter = smtp:[127.0.0.1]:10024\n", "", "may change what the gateway has looked at"),
    ],
)  # fmt: skip
def test_settings_that_cost_something_are_warned_of(main: str, own: str, said: str) -> None:
    found = examined(postconf(main, own=own))
    assert said in words(found, "warning"), found
    assert not words(found, "wrong")


@pytest.mark.parametrize(
    ("main", "own", "said"),
    [
        (GOOD.replace("milter.sock\nnon", "milter.sock, inet:127.0.0.1:8892\nnon"), "", "inet:127.0.0.1:8892 comes after the gateway"),
        (GOOD + "always_bcc = log@dept.gov.in\n", "", "always_bcc = log@dept.gov.in: Postfix adds recipients"),
        (GOOD + "recipient_bcc_maps = hash:/b\n", "", "adds recipients"),
        (GOOD, "cleanup/unix/always_bcc = log@dept.gov.in", "master.cf: cleanup/unix"),
        (GOOD + "virtual_alias_maps = hash:/v\n", "", "adds recipients"),
        (GOOD + "smtp_generic_maps = hash:/g\n", "", "changes messages or addresses"),
        (GOOD + "canonical_maps = hash:/g\n", "", "changes messages or addresses"),
        (GOOD + "smtp_header_checks = pcre:/g\n", "", "changes messages or addresses"),
        (GOOD + "header_checks = static:{FILTER smtp:[127.0.0.1]:10024}\n", "", "may change what the gateway has looked at"),
        (GOOD + "body_checks = static:{BCC me@isp.in}\n", "", "a recipient that the gateway does not see"),
        (GOOD + "header_checks = static:{REDIRECT me@isp.in}\n", "", "a recipient that the gateway does not see"),
        (GOOD + "nested_header_checks = ldap:/x\n", "", "cannot be listed"),
    ],
)  # fmt: skip
def test_T09_what_postfix_does_after_the_gateway_is_warned_of(main: str, own: str, said: str) -> None:
    found = examined(postconf(main, own=own))
    assert said in words(found, "warning"), found
    assert not words(found, "wrong")


def test_every_server_of_master_cf_is_looked_at() -> None:
    master = MASTER + "submission inet n - n - - smtpd\n127.0.0.1:10025 inet n - n - - smtpd\n"
    found = examined(postconf(GOOD, master=master, own="submission/inet/smtpd_milters =\n127.0.0.1:10025/inet/smtpd_milters =\n"))
    assert "submission/inet" in words(found, "wrong")
    assert "127.0.0.1:10025" not in words(found, "wrong")
    assert "only a content filter" in words(found, "warning")
    # A daemon without a cage sees another path than one in it.
    caged = postconf(GOOD.replace("unix:", "unix:/"), master=master)
    assert "submission/inet takes mail without it" in words(examined(caged), "wrong")


def test_systemd_says_where_its_socket_is() -> None:
    def run(command: list[str]) -> str | None:
        if command[0] == "systemctl":
            assert command[-1] == "gateway-milter.socket"
            return "/run/gateway-milter.sock (Stream)\n127.0.0.1:8891 (Stream)\n"
        return postconf(INET)(command)

    assert not words(examined(run, "systemd:milter"), "wrong")
    assert words(examined(postconf(INET), "systemd:milter"), "wrong")


def test_a_longer_pipeline_needs_more_time() -> None:
    setting = config().model_copy(update={"limits": config().limits.model_copy(update={"pipeline": 400.0})})
    postfix = doctor_postfix.reading(setting, postconf(GOOD))
    assert postfix is not None
    assert "write 430s" in words(list(doctor_milter.examine(setting, postfix)), "wrong")


def test_the_doctor_of_postfix_asks_and_wants_no_relayhost(tmp_path: Path) -> None:
    (tmp_path / "pid").mkdir()
    (tmp_path / "pid" / "master.pid").write_text("no number")  # cannot be known: counts as running
    here = f"unix:{tmp_path}/gateway/milter.sock"
    found = list(doctor_postfix.examine(config(here), postconf(GOOD, folder=tmp_path)))
    assert [(one.subject, one.state) for one in found] == [("milter", "ok")]
    both = Config(
        hostname="gw1.dept.gov.in",
        listen=[{"door": "smtp", "address": "0.0.0.0:25"}, {"door": "milter", "address": here}],
    )  # fmt: skip
    found = list(doctor_postfix.examine(both, postconf(GOOD + "relayhost = [gw1.dept.gov.in]:25\n", folder=tmp_path)))
    assert "looked at twice" in words(found, "warning")
    (tmp_path / "pid" / "master.pid").unlink()
    off = list(doctor_postfix.examine(config(here), postconf("", folder=tmp_path)))
    assert not words(off, "wrong")
    assert "smtpd_milters" in words(off, "warning")
    broken = doctor_postfix.examine(config(here), lambda command: None if command[1] == "-M" else postconf(GOOD, folder=tmp_path)(command))
    assert "cannot be read as a whole" in words(list(broken), "warning")


def test_an_archive_of_all_official_mail_and_holding_at_the_mta_do_not_go_together() -> None:
    """Gujarat's circular wants a copy of each message; what postsuper lets go, the gateway never hears of."""
    setting = config()
    for hold, which, wrong in (("mta", "official", True), ("mta", "rules", False), ("store", "official", False)):
        both = setting.model_copy(
            update={
                "relay": setting.relay.model_copy(update={"milter_hold": hold}),
                "archive": (Archive(kind="store", name="journal", which=which, retain=86400 * 400),),
            }
        )
        postfix = doctor_postfix.reading(both, postconf(GOOD))
        assert postfix is not None
        found = words(list(doctor_milter.examine(both, postfix)), "wrong")
        assert ("do not go together" in found) is wrong
        assert any(one.state == "wrong" for one in check_archive.findings(both, offline=True)) is wrong
    assert not both.model_copy(update={"listen": ()}).holds_without_copies
