"""The commands that need no running gateway: errors, check, doctor, keys, rules, start-up time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway import doctor
from gateway.cli import check, invoke, samples
from gateway.config import Config, Limits
from tests.faces import config_file

ROOT = Path(__file__).resolve().parents[1]
Capture = pytest.CaptureFixture[str]

COMMANDS = [
    "run", "check", "explain", "reload", "status", "doctor", "send-samples", "demo", "rules list", "rules test", "quarantine list",
    "quarantine show", "quarantine release", "quarantine refuse", "quarantine export", "queue list", "queue show", "queue retry",
    "queue bounce", "queue hold", "audit search", "audit show", "audit verify", "audit export", "exceptions list", "exceptions add",
    "exceptions expire", "users list", "users add", "users roles", "users disable", "users enable",
    "users login", "users invite", "quarantine ask", "quarantine level", "quarantine forward", "quarantine again", "quarantine verify",
    "keys init", "keys list", "keys dkim", "keys dkim-list", "keys rotate-vault", "keys retire", "keys escrow", "keys recover",
    "keys security-officer", "backup", "restore",
    "store version", "store upgrade", "store downgrade",
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.slow
def test_every_command_has_help_and_a_config_option(words: str, capsys: Capture) -> None:
    assert invoke([*words.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert "Usage: gateway" in text
    assert "--config" in text or words == "demo"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "No such command"),
        (["queue", "nonsense"], "No such command"),
        (["check", "--nonsense"], "--nonsense"),
        (["quarantine", "show"], "ID"),
        (["quarantine", "list", "--limit", "many"], "--limit"),
        (["run", "--only", "everything"], "--only: 'everything' is none of keeper, inspector, doors, web"),
        (["check", "--config", "/nowhere/gateway.toml"], "/nowhere/gateway.toml: cannot be read"),
        (["run", "--config", "/nowhere/gateway.toml"], "/nowhere/gateway.toml: cannot be read"),
        (["explain", "/nowhere.eml", "--from", "a@b.in", "--to", "c@d.in"], "/nowhere.eml: there is no such file"),
        (["explain", "x.eml", "--to", "c@d.in"], "--from is missing"),
        (["audit", "verify", "--store", "postgresql://x"], "name the config too (--config)"),
        (["audit", "verify", "--store", "/nowhere.db"], "/nowhere.db: there is no store"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_exit_2(words: list[str], said: str, capsys: Capture) -> None:
    assert invoke(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1
    assert err.startswith("gateway: ")


def test_a_config_error_names_file_line_and_field(tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text('hostname = "x"\nworkers = "many"\n')
    for words in (["check"], ["run"], ["quarantine", "list"], ["keys", "init"]):
        assert invoke([*words, "--config", str(config)]) == 2
        assert f"{config}:2: workers: " in capsys.readouterr().err


def test_the_config_may_stand_before_or_after_the_command(tmp_path: Path, capsys: Capture) -> None:
    config = config_file(tmp_path)
    for words in (["--config", str(config), "check", "--show", "--json"], ["check", "--show", "--json", "--config", str(config)]):
        assert invoke(words) == 0
        rows = {row["option"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
        assert rows["state_dir"]["value"] == str(tmp_path / "state")


def test_show_prints_every_option_with_value_default_and_sentence(tmp_path: Path, capsys: Capture) -> None:
    config = config_file(tmp_path, "[limits]\nrecipients = 7")
    assert invoke(["check", "--show", "--json", "--config", str(config)]) == 0
    rows = {row["option"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert (rows["limits.recipients"]["value"], rows["limits.recipients"]["default"]) == (7, 100)
    assert rows["limits.recipients"]["sentence"].startswith("Recipients of one transaction")
    assert set(rows) >= {f"limits.{name}" for name in Limits.model_fields}
    assert rows["listen[0].address"]["value"] == "127.0.0.1:0"
    assert all(row["sentence"] for row in rows.values())


@pytest.mark.slow
def test_check_says_ok_or_what_to_do(tmp_path: Path, capsys: Capture) -> None:
    extra = '[[dkim]]\ndomain = "d.in"\nselector = "s"\nkey_file = "/nowhere.pem"\n[tls]\ncertificate = "/no.pem"\nkey = "/no.key"'
    config = config_file(tmp_path, extra)
    assert invoke(["check", "--json", "--config", str(config)]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    states = {(row["subject"], row["state"]) for row in rows}
    assert {("config", "ok"), ("rules", "ok"), ("examples", "ok"), ("dkim", "wrong"), ("tls", "wrong"), ("next hop", "wrong")} <= states
    assert any("gateway keys init" in row["text"] for row in rows)


@pytest.mark.slow
def test_check_of_a_next_hop_that_is_not_there(tmp_path: Path, capsys: Capture) -> None:
    config = config_file(tmp_path, '[[route]]\ndomains = ["*"]\nnext_hop = "127.0.0.1:1"\ntls = "none"')
    assert invoke(["check", "--config", str(config)]) == 1
    out = capsys.readouterr().out
    assert "WRONG  next hop" in out
    assert "127.0.0.1:1 for *" in out


def test_keys_are_made_once_and_their_dns_record_is_printed(tmp_path: Path, capsys: Capture) -> None:
    key = tmp_path / "keys" / "dkim.pem"
    vault = tmp_path / "vault" / "key"
    extra = f'[[dkim]]\ndomain = "dept.gov.in"\nselector = "gw1"\nkey_file = "{key}"\n[vault]\nkey_file = "{vault}"'
    config = config_file(tmp_path, extra)
    assert invoke(["keys", "init", "--json", "--config", str(config)]) == 0
    rows = {row["key"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert all(row["made"] for row in rows.values())
    assert rows["dkim"]["name"] == "gw1._domainkey.dept.gov.in"
    assert rows["dkim"]["record"].startswith("v=DKIM1; k=rsa; p=MII")
    assert [path.stat().st_mode & 0o777 for path in (key, vault)] == [0o600, 0o600]
    assert load_pem_private_key(key.read_bytes(), None).key_size == 2048  # type: ignore[union-attr]
    before = {path: path.read_bytes() for path in (key, vault)}
    assert invoke(["keys", "init", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert not [line for line in out.splitlines() if line.startswith("made")]
    assert "gw1._domainkey.dept.gov.in. IN TXT (" in out
    assert {path: path.read_bytes() for path in (key, vault)} == before
    assert all(len(line.strip()) <= 257 for line in out.splitlines() if line.startswith('    "'))


def test_a_lost_vault_key_is_not_replaced(tmp_path: Path, capsys: Capture) -> None:
    config = config_file(tmp_path, f'[vault]\nkey_file = "{tmp_path}/vault.key"')
    (tmp_path / "state" / "gateway.db").write_bytes(b"")
    assert invoke(["keys", "init", "--config", str(config)]) == 1
    assert "put the key back from your backup" in capsys.readouterr().err
    assert not (tmp_path / "vault.key").exists()


@pytest.mark.slow
def test_check_says_which_key_is_lost_and_how_it_comes_back(tmp_path: Path, capsys: Capture) -> None:
    for more in ("", f'[vault]\nkey_file = "{tmp_path}/vault.key"'):
        config = config_file(tmp_path, more)
        assert invoke(["check", "--offline", "--config", str(config)]) in (0, 1)
        first = capsys.readouterr().out
        assert "gateway keys recover" not in first and "WRONG  audit" not in first, "before the first start nothing is lost"
        (tmp_path / "state" / "gateway.db").write_bytes(b"")
        assert invoke(["check", "--offline", "--config", str(config)]) == 1
        out = capsys.readouterr().out
        assert re.search(r"^WRONG  vault .*vault\.key is missing and there is a store .*gateway keys recover", out, re.M)
        assert re.search(r"^WRONG  audit .*audit-signing\.pem is missing .*put it back from your backup", out, re.M)
        assert "will be made" not in out
        (tmp_path / "state" / "gateway.db").unlink()


@pytest.mark.slow
def test_the_shipped_rules_are_listed_and_their_examples_hold(capsys: Capture) -> None:
    assert invoke(["rules", "list", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) > 5
    assert all(row["id"] and row["title"] and row["source"] for row in rows)
    assert invoke(["rules", "test"]) == 0
    assert "examples of" in capsys.readouterr().out


def test_a_rule_with_a_mistake_names_file_line_and_reason(tmp_path: Path, capsys: Capture) -> None:
    import shutil

    rules = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", rules)
    (rules / "policy" / "50-own.toml").write_text(
        '[[rule]]\nid = "own"\ntitle = "t"\nsource = "s"\nwhen = "nonsense.fact"\nthen = "hold"\n'
    )
    config = config_file(tmp_path)
    config.write_text(f'rules_dir = "{rules}"\n' + config.read_text())
    for words in (["rules", "list"], ["rules", "test"], ["describe"]):
        assert invoke([*words, "--config", str(config)]) == 2
        err = capsys.readouterr().err
        assert "50-own.toml:" in err
        assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_a_certificate_that_cannot_be_used_stops_a_start_and_a_reload(tmp_path: Path, capsys: Capture) -> None:
    config = config_file(tmp_path)
    config.write_text(config.read_text() + f'\n[tls]\ncertificate = "{tmp_path}/cert.pem"\nkey = "{tmp_path}/cert.pem"\n')
    for content in (None, "half a certif"):
        if content is not None:
            (tmp_path / "cert.pem").write_text(content)
        assert invoke(["describe", "--config", str(config)]) == 2
        err = capsys.readouterr().err
        assert "cert.pem" in err and "tls: " in err and len(err.splitlines()) == 1
    assert invoke(["describe", "--only", "keeper", "--config", str(config)]) == 0, "the keeper's user may not read the certificate's key"
    assert invoke(["describe", "--only", "inspector", "--config", str(config)]) == 2


@pytest.mark.slow
def test_the_doors_need_no_right_to_read_the_logins_for_a_reload(tmp_path: Path, capsys: Capture) -> None:
    config = config_file(tmp_path)
    config.write_text(config.read_text() + f'\n[submission]\nlogins = "{tmp_path}/not-there.toml"\n')
    assert invoke(["describe", "--only", "doors", "--config", str(config)]) == 0
    for words in ((), ("--only", "keeper")):
        assert invoke(["describe", *words, "--config", str(config)]) == 2
        assert "not-there.toml" in capsys.readouterr().err


def test_doctor_finds_what_would_bite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    (state / "keys").mkdir(parents=True, mode=0o700)
    os.chmod(state, 0o755)
    key = state / "keys" / "vault.key"
    key.write_text("x")
    os.chmod(key, 0o644)
    config = Config(state_dir=state, limits=Limits(free_disk=10**18))
    found = {(one.subject, one.state): one.text for one in doctor.examine(config)}
    assert "must stay free" in found["disk", "wrong"]
    texts = [one.text for one in doctor.permissions(config) if one.state == "wrong"]
    assert len(texts) == 2
    assert all("chmod go-rwx" in text for text in texts)
    monkeypatch.setattr(doctor.sys, "version_info", (3, 11, 2, "final", 0))
    old = next(doctor.interpreter())
    assert (old.state, "CVE-2024-6923" in old.text) == ("warning", True)


def test_doctor_is_never_a_no_for_an_old_interpreter(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_file(tmp_path, "[limits]\nfree_disk = 0")
    os.chmod(tmp_path / "state", 0o700)
    monkeypatch.setattr(doctor.sys, "version_info", (3, 11, 2, "final", 0))
    assert invoke(["doctor", "--config", str(config)]) == 0
    assert "warn   python" in capsys.readouterr().out


def test_every_sample_is_there_and_is_a_message() -> None:
    listed = samples.load()
    assert len(listed) >= 10
    assert {one.file.name for one in listed} == {path.name for path in samples.folder().glob("*.eml")}
    for one in listed:
        content = one.file.read_bytes()
        assert b"\nSubject: " in content
        assert b"\r" not in content
        assert max(map(len, content.splitlines())) <= 998


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = "import sys; from gateway.cli import invoke; invoke(['--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = done.stdout.rpartition("[")[2]
    for heavy in (
        "'pydantic",
        "'fastapi",
        "'cryptography",
        "'sqlite3",
        "'asyncio'",
        "'gateway.policy",
        "'gateway.keeper",
        "'gateway.relay",
        "'gateway.audit",
        "'gateway.vault",
        "'gateway.signin",
        "'gateway.config",
        "'cel_expr_python",
        "'structlog",
        "'msgspec",
        "'sqlalchemy",
        "'prometheus_client",
        "'lxml",
        "'smtplib",
        "'ssl'",
        "'tomllib",
        "'dns.",
    ):
        assert heavy not in loaded, heavy


def test_a_closed_pipe_ends_quietly() -> None:
    done = subprocess.run(
        f"{sys.executable} -m gateway check --show --json | head -1",
        shell=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_a_fault_is_a_sentence_too(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "load_config", lambda _: 1 / 0)
    assert invoke(["send-samples", "--config", str(config_file(tmp_path))]) == 1
    err = capsys.readouterr().err
    assert err.startswith("gateway: this should not happen: ZeroDivisionError")
    assert len(err.splitlines()) == 1


def test_check_names_what_has_no_effect_on_the_web_door() -> None:
    more = {"proxy_protocol": True, "proxies": ("10.0.0.2/32",)}
    listen = [
        {"door": "web", "address": "unix:/run/page", "networks": ("10.0.0.0/8",)},
        {"door": "web", "address": "127.0.0.1:8080", "networks": ("10.0.0.0/8",)},
        {"door": "web", "address": "127.0.0.1:8081", **more},
    ]
    found = [(one.state, one.text.partition(":")[0]) for one in check._doors(Config.model_validate({"listen": listen}))]
    assert found == [("wrong", "networks on unix"), ("warning", "proxy_protocol has no effect on the web door (127.0.0.1")]
