"""The mistakes that a newcomer makes in gateway.toml: each gives one sentence with file and line that names the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import config

GOOD = """\
hostname = "gw1.example.gov.in"
state_dir = "/var/lib/gateway"

[originators]
domains = ["example.gov.in"]
networks = ["10.0.0.0/8"]

[[route]]
domains = ["*"]
next_hop = "smtp.example.nic.in:25"
"""

MISTAKES = [
    ("a misspelt option", "hostname =", "hostnam =", 1, "did you mean hostname?"),
    ("a misspelt table", "[originators]", "[orginators]", 4, "did you mean originators?"),
    ("a misspelt option of a table", "networks =", "network =", 6, "did you mean networks?"),
    ("single brackets", "[[route]]", "[route]", 8, "write [[route]]"),
    ("a text without quotes", '"gw1.example.gov.in"', "gw1.example.gov.in", 1, "stand in quotes"),
    ("a text that is not closed", '"gw1.example.gov.in"', '"gw1.example.gov.in', 1, "not closed"),
    ("one value instead of a list", '["example.gov.in"]', '"example.gov.in"', 5, 'domains = ["example.gov.in"]'),
    ("an address instead of a domain", '["example.gov.in"]', '["@example.gov.in"]', 5, "write the domain alone: example.gov.in"),
    ("a pattern of sender domains", '["example.gov.in"]', '["*.example.gov.in"]', 5, "name each domain"),
    ("host bits in a range", "10.0.0.0/8", "10.0.0.1/8", 6, "write 10.0.0.0/8"),
    ("no port", "nic.in:25", "nic.in", 10, "write smtp.example.nic.in:25"),
    ("a port by name", "nic.in:25", "nic.in:smtp", 10, "write smtp.example.nic.in:25"),
    ("a URL as next hop", '"smtp.example.nic.in:25"', '"smtp://smtp.example.nic.in"', 10, "host:port"),
    ("no TLS to a remote server", "nic.in:25", 'nic.in:25"\ntls = "none', 8, "take it out"),
    ("a word that is none", "nic.in:25", 'nic.in:25"\ntls = "require', 11, "did you mean required?"),
    ("a certificate without its key", "[originators]", '[tls]\ncertificate = "/etc/ssl/gw.pem"\n\n[originators]', 4, "key is not written"),
    ("an unknown door", "[originators]", '[[listen]]\ndoor = "stmp"\naddress = "0.0.0.0:25"\n\n[originators]', 5, "did you mean smtp?"),
    ("a port to listen on alone", "[originators]", '[[listen]]\ndoor = "smtp"\naddress = "25"\n\n[originators]', 6, "0.0.0.0:25"),
    ("a number with a unit", "[originators]", '[relay]\nhold_days = "15d"\n\n[originators]', 5, "hold_days = 15"),
    ("a size in words", "state_dir", 'max_message_size = "25 megabytes"\nstate_dir', 2, "25MB"),
    ("a time in words", "[originators]", '[limits]\nidle = "5 minutes"\n\n[originators]', 5, "30m"),
    ("an option below the wrong table", "[originators]", '[originators]\nmax_message_size = "25MB"', 5, "above the first [table]"),
    ("an option of another table", "state_dir", "hold_days = 15\nstate_dir", 2, "below [relay]"),
    ("an option twice", "state_dir", 'hostname = "gw2.example.gov.in"\nstate_dir', 2, "twice"),
    ("too few workers", "state_dir", "workers = 0\nstate_dir", 2, "greater than or equal to 1"),
    ("an option that is needed", "[originators]", '[[dkim]]\ndomain = "a.gov.in"\nkey_file = "/k.pem"\n\n[originators]', 4, "selector"),
    ("a relative folder", '"/var/lib/gateway"', '"gateway"', 2, "absolute path"),
    ("a byte-order mark", "hostname =", "\ufeffhostname =", 1, "byte-order mark; save it as UTF-8 without BOM"),
    ("logs that go too early", "[originators]", '[retention]\naudit = "30d"\n\n[originators]', 5, "180d"),
    ("a balancer that nobody named", "[originators]",
     '[[listen]]\ndoor = "smtp"\naddress = "0.0.0.0:25"\nproxy_protocol = true\n\n[originators]', 4, "proxies ="),
]  # fmt: skip


def test_what_the_mistakes_are_made_in_is_good(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(GOOD)
    assert config.load(path).hostname == "gw1.example.gov.in"


@pytest.mark.parametrize(("name", "before", "after", "line", "says"), MISTAKES, ids=[mistake[0] for mistake in MISTAKES])
def test_a_mistake_gives_the_fix(tmp_path: Path, name: str, before: str, after: str, line: int, says: str) -> None:
    path = tmp_path / "gateway.toml"
    assert before in GOOD
    path.write_text(GOOD.replace(before, after, 1))
    with pytest.raises(config.ConfigError) as raised:
        config.load(path)
    text = str(raised.value)
    assert text.startswith(f"{path}:{line}: "), text
    assert says in text
    assert "\n" not in text
    assert "Input should be" not in text


def test_what_may_be_a_secret_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('[vault]\nkey = "5f3c0000deadbeef"\n[[dkim]]\ndomain="a.in"\nselector="s"\nkey_file="/k"\nprivate="MIIEvQ"\n')
    with pytest.raises(config.ConfigError) as raised:
        config.load(path)
    assert "deadbeef" not in str(raised.value)
    assert "MIIEvQ" not in str(raised.value)
