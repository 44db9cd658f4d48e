"""What postconf and the tables of a Postfix say, as the doctor reads it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gateway import doctor_postconf
from gateway.doctor_postconf import entries, pair, seconds, words
from tests.postfix_kit import postconf


def test_settings_of_a_service_stand_before_those_of_main_cf() -> None:
    run = postconf("smtpd_milters = inet:127.0.0.1:1\n", own="smtp/inet/smtpd_milters = unix:x\nsmtp/unix/relayhost =\n")
    postfix = doctor_postconf.read(run, ("smtpd_milters", "relayhost"))
    assert postfix is not None
    server, client = postfix.services[0], postfix.services[3]
    assert (server.command, server.chroot, str(server)) == ("smtpd", True, "smtp/inet")
    assert postfix.of(server, "smtpd_milters") == "unix:x"
    assert postfix.of(client, "smtpd_milters") == postfix["smtpd_milters"] == "inet:127.0.0.1:1"
    assert client.own == {"relayhost": ""}
    assert postfix.set_here == {"smtpd_milters"}


def test_a_dash_is_a_cage_before_compatibility_level_1_only() -> None:
    line = "smtp inet n - - - - smtpd\n"
    for level, chroot in (("0", True), ("2", False), ("3.6", False)):
        postfix = doctor_postconf.read(postconf(f"compatibility_level = {level}\n", master=line), ())
        assert postfix is not None
        assert postfix.services[0].chroot is chroot


def test_what_cannot_be_read_as_a_whole_is_no_postfix() -> None:
    whole = postconf()
    for lacking in ("-n", "-x", "-xP", "-M"):
        assert doctor_postconf.read(lambda command, lacking=lacking: None if command[1] == lacking else whole(command), ()) is None  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("", []),
        ("inet:a:1, unix:b\tc", ["inet:a:1", "unix:b", "c"]),
        ("static:{FILTER a:b}, inline:{ {a = b}, {c=d} }", ["static:{FILTER a:b}", "inline:{ {a = b}, {c=d} }"]),
        ("inet:a:1,{ unix:b, default_action=accept },c", ["inet:a:1", "{ unix:b, default_action=accept }", "c"]),
    ],
)
def test_words(value: str, found: list[str]) -> None:
    assert words(value) == found


def test_times() -> None:
    assert [seconds(one) for one in ("30", "30s", "5m", "1h", "x", "")] == [30, 30, 300, 3600, None, None]


def test_tables_that_are_listed(tmp_path: Path) -> None:
    text = tmp_path / "t"
    text.write_text("# x\n\na.in  smtp:[b]\nc.in\n\t# y\n  relay:[d]\n")
    assert entries(f"texthash:{text}", postconf()) == ["a.in  smtp:[b]", "c.in relay:[d]"]
    assert pair("a.in  smtp:[b]", "texthash:x") == ("a.in", "smtp:[b]")
    assert pair("a.in\tsmtp:[b]", "hash:x") == ("a.in", "smtp:[b]")
    assert entries("static:may", postconf()) == ["* may"]
    assert entries("static:{may x}", postconf()) == ["* may x"]
    assert entries("inline:{a=b, {c = d e}}", postconf()) == ["a b", "c d e"]
    assert entries("proxy:hash:/t", postconf(tables={"hash:/t": "a\tb\n"})) == ["a\tb"]
    assert pair("/^a b/i REDIRECT c@d", "pcre:x") == ("^a b", "REDIRECT c@d")
    assert pair("!/a\\/b/ OK", "regexp:x") == ("a\\/b", "OK")
    assert pair("endif", "pcre:x") == ("", "")
    for unknown in ("ldap:/x", "hash:/not-there", "texthash:/not-there", "memcache:x", "unionmap:{static:a}", "tcp:127.0.0.1:1"):
        assert entries(unknown, postconf()) is None, unknown


@pytest.mark.service
@pytest.mark.skipif(shutil.which("postconf") is None, reason="Postfix is not installed (apt install postfix)")
def test_a_real_postconf_is_read(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text(
        "compatibility_level = 3.6\nours = unix:gateway/milter.sock\n"
        "smtpd_milters = inet:127.0.0.1:1,\n  { $ours, default_action=tempfail }\n"
    )
    (tmp_path / "master.cf").write_text(
        "smtp inet n - y - - smtpd\n  -o { smtpd_milters = $ours }\n  -o relayhost=\nsmtp unix - - - - - smtp\n"
    )

    def run(command: list[str]) -> str | None:
        return doctor_postconf.run([command[0], "-c", str(tmp_path), *command[1:]])

    postfix = doctor_postconf.read(run, ("smtpd_milters", "milter_default_action", "no_such_setting"))
    assert postfix is not None
    assert postfix["milter_default_action"] == "tempfail"
    assert words(postfix["smtpd_milters"])[1] == "{ unix:gateway/milter.sock, default_action=tempfail }"
    assert postfix.services[0].own == {"smtpd_milters": "unix:gateway/milter.sock", "relayhost": ""}
    assert [one.chroot for one in postfix.services] == [True, False]
    assert subprocess.run(["postconf", "-c", str(tmp_path), "-n"], capture_output=True, check=True).stdout
