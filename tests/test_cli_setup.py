"""``gateway setup``: what counts as an answer, what is written, and that nothing is ever written over."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from gateway import config
from gateway.cli import invoke, setup, setup_files
from gateway.cli.options import Stop
from gateway.cli.setup_questions import QUESTIONS, NoAnswer

ANSWERS = {
    "hostname": "gw1.dept.gov.in", "domains": "dept.gov.in", "networks": "10.0.0.0/8", "listen": "127.0.0.1:12025",
    "local_hop": "127.0.0.1:12026", "next_hop": "relay.example.nic.in:25", "postmaster": "postmaster@dept.gov.in",
}  # fmt: skip


def question(key: str):
    return next(one for one in QUESTIONS if one.key == key)


@pytest.mark.parametrize(
    ("key", "text", "answer"),
    [
        ("hostname", " GW1.Dept.Gov.IN. ", "gw1.dept.gov.in"),
        ("domains", "Dept.gov.in, @sub.dept.gov.in", "dept.gov.in, sub.dept.gov.in"),
        ("domains", "सरकार.भारत", "xn--11b7cb3a6a.xn--h2brj9c"),
        ("networks", "10.1.0.0/16 2001:db8::/32", "10.1.0.0/16, 2001:db8::/32"),
        ("next_hop", "relay.nic.in", "relay.nic.in:25"),
        ("next_hop", "[2001:db8::1]:587", "[2001:db8::1]:587"),
        ("local_hop", "localhost:10026", "localhost:10026"),
        ("postmaster", "postmaster@dept.gov.in", "postmaster@dept.gov.in"),
        ("packs", "Gujarat rajasthan", "gujarat, rajasthan"),
        ("listen", "[::]:25", "[::]:25"),
        ("submission", "Y", "yes"),
        ("public_url", "https://gw.dept.gov.in/", "https://gw.dept.gov.in"),
    ],
)
def test_an_answer_takes_its_final_form(key: str, text: str, answer: str) -> None:
    assert question(key).check(text) == answer


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("hostname", "gw1", "full host name"),
        ("hostname", "-gw.dept.gov.in", "full host name"),
        ("domains", "*.gov.in", "sub-domains one by one"),
        ("domains", "", "at least one"),
        ("networks", "10.0.0.1/8", "10.20.0.0/16"),
        ("networks", "0.0.0.0/0", "whole internet"),
        ("networks", "0.0.0.0/1, 128.0.0.0/1", "large part of the internet"),
        ("networks", "10.0.0.0/7", "none wider than /8"),
        ("networks", "2000::/3", "none wider than /19"),
        ("networks", "::ffff:10.0.0.0/104", "write it as IPv4"),
        ("domains", "dept.gov.in, Gmail.com", "gmail.com is a private mail provider"),
        ("domains", "yahoo.co.in", "private mail provider"),
        ("next_hop", "relay.nic.in:smtp", "port is a number"),
        ("next_hop", "relay", "full host name"),
        ("postmaster", "postmaster", "not an address"),
        ("packs", "punjab", "jammu-kashmir"),
        ("listen", "25", "0.0.0.0:25"),
        ("state_dir", "var/lib", "absolute path"),
        ("public_url", "http://gw.dept.gov.in", "https://"),
        ("submission", "perhaps", "yes or no"),
    ],
)
def test_a_refusal_says_what_to_write(key: str, text: str, says: str) -> None:
    with pytest.raises(NoAnswer, match=says):
        question(key).check(text)


@pytest.mark.parametrize(
    ("listen", "hop", "own"),
    [
        ("0.0.0.0:25", "127.0.0.1:25", True), ("0.0.0.0:25", "gw1.dept.gov.in:25", True), ("10.1.1.1:25", "10.1.1.1:25", True),
        ("[::]:25", "localhost:25", True), ("0.0.0.0:25", "127.0.0.1:10026", False), ("10.1.1.1:25", "127.0.0.1:25", False),
        ("0.0.0.0:25", "mail.dept.gov.in:25", False), ("0.0.0.0:25", "unix:/run/lmtp", False),
    ],
)  # fmt: skip
def test_the_next_server_is_not_the_gateway_itself(listen: str, hop: str, own: bool) -> None:
    answers = {"hostname": "gw1.dept.gov.in", "listen": listen}
    for key in ("local_hop", "next_hop"):
        if own:
            with pytest.raises(NoAnswer, match="round in a circle"):
                question(key).taken(hop, answers)
        else:
            assert question(key).taken(hop, answers) == hop


def test_a_certificate_that_is_no_PEM_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "gw.pem"
    setup.pem("certificate", str(file))  # it may come later
    file.write_bytes(b"\x30\x82\x01\x00")
    for key in ("certificate", "key"):
        with pytest.raises(NoAnswer, match="in PEM form"):
            setup.pem(key, str(file))
    file.write_text("-----BEGIN CERTIFICATE-----\nx\n-----BEGIN EC PRIVATE KEY-----\n")
    setup.pem("certificate", str(file))
    setup.pem("key", str(file))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"packs": "gujarat, rajasthan", "security": "sec@dept.gov.in", "dkim": "s1", "public_url": "https://gw.dept.gov.in"},
        {"certificate": "/etc/ssl/gw.pem", "key": "/etc/ssl/gw.key", "submission": "yes", "auth_hop": "relay.example.nic.in:465"},
        {"certificate": "/etc/ssl/gw.pem", "key": "/etc/ssl/gw.key", "submission": "yes"},
    ],
)
def test_what_is_written_loads_as_a_config(tmp_path: Path, more: dict[str, str]) -> None:
    answers = ANSWERS | {"state_dir": str(tmp_path / "state")} | more
    loaded = setup.put(tmp_path / "gateway.toml", setup_files.config(answers))
    assert loaded == config.load(tmp_path / "gateway.toml")
    assert loaded.originators.domains == ("dept.gov.in",)
    assert [route.tls for route in loaded.route] == ["none", "required"]
    doors = [one.door for one in loaded.listen]
    assert doors == (["smtp", "submission", "smtps", "web"] if more.get("submission") else ["smtp", "web"])
    if more.get("auth_hop"):
        assert loaded.submission.check == "next-hop"
        assert loaded.submission.implicit_tls


def test_with_the_units_of_systemd_low_ports_are_sockets(tmp_path: Path) -> None:
    answers = ANSWERS | {"state_dir": str(tmp_path), "listen": "0.0.0.0:25"}
    answers |= {"certificate": "/etc/ssl/gw.pem", "key": "/etc/ssl/gw.key", "submission": "yes"}
    loaded = setup.put(tmp_path / "gateway.toml", setup_files.config(answers, units=True))
    assert [one.address for one in loaded.listen] == ["systemd:smtp", "systemd:submission", "systemd:smtps", "127.0.0.1:18080"]
    assert str(loaded.run_dir) == "/run/gateway"
    high = setup_files.config(answers | {"listen": "127.0.0.1:10025", "submission": "no"}, units=True)
    assert 'address = "127.0.0.1:10025"' in high


def test_a_config_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("mine")
    with pytest.raises(Stop, match="stays as it is"):
        setup.put(path, setup_files.config(ANSWERS | {"state_dir": "/var/lib/gateway"}))
    assert path.read_text() == "mine"
    assert [one.name for one in tmp_path.iterdir()] == ["gateway.toml"]


def test_what_does_not_load_is_not_put_in_place(tmp_path: Path) -> None:
    with pytest.raises(Stop, match=r"gateway\.toml"):
        setup.put(tmp_path / "gateway.toml", "hostname = 3\n")
    assert not list(tmp_path.iterdir())


def test_a_person_is_asked_until_the_answer_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = [
        "gw1", "gw1.dept.gov.in", "", "10.0.0.0/8", "", "", "", "relay.example.nic.in", "-", "", "-", "", "-", "-", "",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(typed) + "\n"))
    shown = io.StringIO()
    answers = setup.ask(shown)
    assert answers["hostname"] == "gw1.dept.gov.in"
    assert answers["domains"] == "dept.gov.in"
    assert answers["local_hop"] == "mail.dept.gov.in:25"
    assert answers["next_hop"] == "relay.example.nic.in:25"
    assert answers["certificate"] == answers["dkim"] == answers["security"] == ""
    assert answers["state_dir"] == "/var/lib/gateway"
    assert "key" not in answers
    assert "submission" not in answers
    assert "full host name" in shown.getvalue()
    assert "An answer is needed here." in shown.getvalue()


def test_input_that_ends_early_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("gw1.dept.gov.in\n"))
    with pytest.raises(Stop, match="nothing was written"):
        setup.ask(io.StringIO())


def test_the_whole_command_from_a_file_of_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "answers.toml"
    lines = [f'{key} = "{value}"' for key, value in (ANSWERS | {"state_dir": str(tmp_path / "state"), "dkim": "gw1"}).items()]
    file.write_text("\n".join(lines))
    path = tmp_path / "etc" / "gateway.toml"
    assert invoke(["setup", "--offline", "--answers", str(file), "--config", str(path)]) == 0
    said = capsys.readouterr().out
    assert "gw1._domainkey.dept.gov.in. IN TXT (" in said
    assert "relayhost = [127.0.0.1]:12025" in said
    assert (tmp_path / "state" / "keys" / "vault.key").stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o777 == 0o644
    # main.cf has no comments behind a value: Postfix would take them for a part of it.
    settings = [line for line in said.splitlines() if " = " in line and not line.startswith("#")]
    assert not [line for line in settings if "#" in line]
    assert invoke(["setup", "--offline", "--answers", str(file), "--config", str(path)]) == 1


def test_a_wrong_key_of_the_answers_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "answers.toml"
    file.write_text('hostnam = "gw1.dept.gov.in"\n')
    assert invoke(["setup", "--answers", str(file), "--config", str(tmp_path / "gateway.toml")]) == 2
    assert "hostnam: is no question" in capsys.readouterr().err
    file.write_text('hostname = "gw1"\n')
    assert invoke(["setup", "--answers", str(file), "--config", str(tmp_path / "gateway.toml")]) == 2
    assert "hostname: 'gw1' is not a full host name" in capsys.readouterr().err
    assert not (tmp_path / "gateway.toml").exists()
