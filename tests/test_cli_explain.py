"""``gateway explain``: the contract's object, parallel reading, and what it does with files that kill or cannot be read."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pyzipper

from gateway.cli import explain, explain_case, invoke, samples, workers
from gateway.cli.options import Stop
from gateway.config import load
from tests.content_mail import mail

Capture = pytest.CaptureFixture[str]
OFFICER, DESK = "asha.verma@dept.gov.in", "so.budget@finance.nic.in"


def run(capsys: Capture, *words: str) -> list[dict[str, Any]]:
    code = invoke(["explain", *words, "--json"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def sample(name: str) -> str:
    (found,) = samples.folder().glob(f"*{name}*")
    return str(found)


def one(capsys: Capture, name: str, *to: str) -> dict[str, Any]:
    (record,) = run(capsys, sample(name), "--from", OFFICER, *(word for rcpt in to or (DESK,) for word in ("--to", rcpt)))
    return record


def test_the_object_has_the_contracts_fields(capsys: Capture) -> None:
    record = one(capsys, "confidential-word")
    assert set(record) == {
        "file", "message", "classification", "leaves", "observations", "recipients", "edits", "rules_version", "exceptions_version",
    }  # fmt: skip
    assert set(record["message"]) == {"sha256", "size", "subject", "ambiguous", "ambiguity"}
    assert set(record["classification"]) >= {"level", "declared", "found", "conflict", "complete", "evidence"}
    assert set(record["classification"]["evidence"][0]) == {"level", "path", "zone", "text", "language", "confidence", "detector"}
    leaf = next(leaf for leaf in record["leaves"] if leaf["name"] == "note.docx")
    assert set(leaf) == {"path", "name", "media_type", "size", "state", "reason", "level", "protection"}
    assert set(leaf["protection"]) == {"state", "scheme", "cipher", "bits", "reason"}
    recipient = record["recipients"][0]
    assert set(recipient) >= {"address", "tier", "direction", "disposition", "status", "rule", "source", "explanation", "trace"}
    assert set(recipient["explanation"]) == {"en", "hi"}
    assert set(recipient["trace"][0]) == {"rule", "hit", "mode"}
    assert set(record["edits"][0]) == {"action", "header", "value"}
    assert record["rules_version"].startswith("sha256:")
    assert record["exceptions_version"].startswith("sha256:")
    assert (record["classification"]["level"], leaf["state"], leaf["level"]) == ("CONFIDENTIAL", "inspected", "CONFIDENTIAL")


@pytest.mark.parametrize(
    ("name", "to", "wanted"),
    [
        ("ordinary-note", [DESK], ["deliver"]),
        ("to-gmail", ["r.kumar.contractor@gmail.com"], ["refuse"]),
        ("confidential-text", [DESK], ["deliver"]),
        ("confidential-word", [DESK], ["hold"]),
        ("zip-aes256", [DESK], ["deliver"]),
        ("top-secret", [DESK], ["refuse"]),
        ("hindi", [DESK], ["deliver"]),
        ("subject-lower", [DESK], ["hold"]),
        ("two-recipients", [DESK, "r.kumar@yahoo.co.in"], ["deliver", "refuse"]),
        ("look-alike", ["accounts@finance.g0v.in"], ["refuse"]),
        ("cert-in", ["incident@cert-in.org.in"], ["deliver"]),
        ("restricted-pdf", [DESK], ["hold"]),
        ("weak-zip", [DESK], ["hold"]),
    ],
)
@pytest.mark.slow
def test_the_samples_are_decided_as_they_say(capsys: Capture, name: str, to: list[str], wanted: list[str]) -> None:
    record = one(capsys, name, *to)
    assert [recipient["disposition"] for recipient in record["recipients"]] == wanted
    assert all(recipient["rule"] and recipient["source"] for recipient in record["recipients"])
    assert [edit for edit in record["edits"] if edit["header"] == "SIO-Label"] == [] or record["classification"]["level"] is not None


@pytest.mark.slow
def test_the_labels_that_would_be_written_are_shown(capsys: Capture) -> None:
    edits = {edit["header"]: edit["value"] for edit in one(capsys, "hindi")["edits"] if edit["action"] == "add"}
    assert 'marking="CONFIDENTIAL"' in edits["SIO-Label"]
    assert "SEC=CONFIDENTIAL" in edits["X-Protective-Marking"]
    assert one(capsys, "top-secret")["edits"] == [], "what is refused is not written to"


def test_text_is_added_only_when_it_is_asked_for(capsys: Capture) -> None:
    words = [sample("confidential-word"), "--from", OFFICER, "--to", DESK]
    (record,) = run(capsys, *words, "--text")
    texts = {leaf["path"]: leaf["text"] for leaf in record["leaves"]}
    assert "The recommendations are placed below for approval." in texts["2:note.docx"]
    assert "note of the committee is attached" in texts["1"]
    (record,) = run(capsys, *words)
    assert not any("text" in leaf for leaf in record["leaves"])


@pytest.mark.slow
def test_who_counts_as_ours(capsys: Capture, tmp_path: Path) -> None:
    words = [sample("ordinary-note"), "--to", DESK]
    assert run(capsys, *words, "--from", OFFICER)[0]["recipients"][0]["direction"] == "outbound"
    config = tmp_path / "gateway.toml"
    config.write_text(f'state_dir = "{tmp_path}/state"\n[originators]\ndomains = ["other.gov.in"]\nnetworks = ["10.0.0.0/8"]\n')
    words += ["--config", str(config)]
    assert run(capsys, *words, "--from", OFFICER)[0]["recipients"][0]["direction"] == "inbound"
    assert run(capsys, *words, "--from", "a@other.gov.in")[0]["recipients"][0]["direction"] == "outbound"
    assert run(capsys, *words, "--from", "a@other.gov.in", "--client-ip", "10.1.2.3")[0]["recipients"][0]["direction"] == "outbound"
    assert run(capsys, *words, "--from", "a@other.gov.in", "--client-ip", "192.0.2.7")[0]["recipients"][0]["direction"] == "inbound"
    assert run(capsys, *words, "--from", "a@other.gov.in", "--user", "a@other.gov.in")[0]["recipients"][0]["direction"] == "outbound"


HASH = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
LOGINS = f'''
[[login]]
name = "asha.verma@dept.gov.in"
password = "{HASH}"
networks = ["10.1.0.0/16"]
[[mailbox]]
address = "secretary@dept.gov.in"
logins = ["asha.verma@dept.gov.in"]
'''


def with_logins(folder: Path, *, check: str = "file", readable: bool = True) -> str:
    """The path of a config with a file of logins (none with the next hop's check)."""
    logins = folder / "logins.toml"
    logins.write_text(LOGINS)
    logins.chmod(0o600 if readable else 0o644)  # what everybody may read is not taken
    kind = f'logins = "{logins}"' if check == "file" else 'next_hop = "mail.dept.gov.in:587"'
    config = folder / "gateway.toml"
    config.write_text(
        f'state_dir = "{folder}/state"\n[originators]\ndomains = ["dept.gov.in"]\n[submission]\ncheck = "{check}"\n{kind}\n'
        '[[application]]\nname = "e-office"\nlogins = ["asha.verma@dept.gov.in"]\nsenders = ["files@dept.gov.in"]\n'
    )
    return str(config)


@pytest.mark.parametrize(
    ("check", "user", "senders"),
    [
        ("file", "Asha.Verma@DEPT.gov.in", {OFFICER, "secretary@dept.gov.in", "files@dept.gov.in"}),
        ("next-hop", "asha.verma@dept.gov.in", {OFFICER, "files@dept.gov.in"}),
        ("next-hop", "clerk@dept.gov.in", {"clerk@dept.gov.in"}),
    ],
)
def test_of_a_login_the_senders_of_the_file_count(tmp_path: Path, check: str, user: str, senders: set[str]) -> None:
    name, found, doubt = explain_case.signed_in(user, "", load(Path(with_logins(tmp_path, check=check))))
    assert (name, set(found or ()), doubt) == (user.lower(), senders, "")


def test_a_file_of_logins_that_cannot_be_read_is_said(capsys: Capture, tmp_path: Path) -> None:
    words = ["explain", sample("ordinary-note"), "--to", DESK, "--from", "minister@dept.gov.in", "--json"]
    assert invoke([*words, "--user", OFFICER, "--config", with_logins(tmp_path, readable=False)]) == 0
    out, err = capsys.readouterr()
    assert "every sender counts as the login's own" in err
    assert "logins.toml" in err
    assert json.loads(out)["recipients"][0]["rule"] != "sender-not-owned"


def test_who_cannot_sign_in_is_said(capsys: Capture, tmp_path: Path) -> None:
    config = load(Path(with_logins(tmp_path)))
    with pytest.raises(Stop, match="there is no login 'nobody@dept.gov.in'"):
        explain_case.signed_in("nobody@dept.gov.in", "", config)
    assert "may not be used from 192.0.2.7" in explain_case.signed_in(OFFICER, "192.0.2.7", config)[2]
    assert explain_case.signed_in(OFFICER, "10.1.2.3", config)[2] == ""
    words = ["explain", sample("ordinary-note"), "--to", DESK, "--config", str(tmp_path / "gateway.toml"), "--json", "--user", OFFICER]
    assert invoke([*words, "--from", "minister@dept.gov.in"]) == 0
    assert json.loads(capsys.readouterr().out)["recipients"][0]["rule"] == "sender-not-owned"


@pytest.mark.slow
def test_the_door_of_a_login_is_submission_and_the_session_of_a_file_has_tls(capsys: Capture, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(Path(__file__).parents[1] / "rules", rules)
    (rules / "policy" / "90-doors.toml").write_text("".join(
        f'''
[[rule]]
id = "{name}"
title = "t"
source = "s"
when = '{when}'
tag = "{name}"
[[rule.example]]
facts = {{ {fires} }}
expect = "deliver"
fires = true
[[rule.example]]
facts = {{ {silent} }}
expect = "deliver"
fires = false
'''
        for name, when, fires, silent in (
            ("by-submission", 'door == "submission"', 'door = "submission", "client.authenticated" = true', 'door = "smtp"'),
            ("in-clear", "!client.tls", '"client.tls" = false', '"client.tls" = true'),
        )
    ))  # fmt: skip
    config = tmp_path / "gateway.toml"
    config.write_text(f'state_dir = "{tmp_path}/state"\nrules_dir = "{rules}"\n[originators]\ndomains = ["dept.gov.in"]\n')
    words = [sample("confidential-text"), "--from", OFFICER, "--to", DESK, "--config", str(config)]
    assert run(capsys, *words, "--user", OFFICER)[0]["recipients"][0]["tags"] == ["by-submission"]
    for more in ([], ["--client-ip", "10.1.2.3"]):
        assert run(capsys, *words, *more)[0]["recipients"][0]["tags"] == []


@pytest.mark.slow
def test_folders_are_read_in_order_by_several_processes(capsys: Capture, tmp_path: Path) -> None:
    for number in range(40):
        marking = "CONFIDENTIAL" if number % 4 == 0 else "Ordinary"
        folder = tmp_path / f"d{number % 3}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number:02d}.eml").write_text(f"From: a@dept.gov.in\nSubject: {number}\n\n{marking}\n\nText of {number}.\n")
    (tmp_path / "d0" / "notes.txt").write_text("not a message")
    records = run(capsys, str(tmp_path), "--from", OFFICER, "--to", DESK)
    files = [record["file"] for record in records]
    assert files == sorted(files)
    assert len(files) == 40
    for record in records:
        assert (record["classification"]["level"] == "CONFIDENTIAL") == (int(record["message"]["subject"]) % 4 == 0)


def test_a_file_that_kills_its_reader_is_suspect_and_the_rest_go_on(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("1-good", "2-bad", "3-good", "4-good"):
        (tmp_path / f"{name}.eml").write_text(f"From: a@dept.gov.in\nSubject: {name}\n\nText.\n")
    real = explain.Case.record

    def record(self: explain.Case, file: Path, killed: str = "") -> dict[str, Any]:
        if "bad" in file.name and not killed:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, file, killed)

    monkeypatch.setattr(explain.Case, "record", record)
    records = run(capsys, str(tmp_path), "--from", OFFICER, "--to", DESK)
    assert [record["message"]["subject"] for record in records] == ["1-good", "2-bad", "3-good", "4-good"]
    assert [record["recipients"][0]["disposition"] for record in records] == ["deliver", "hold", "deliver", "deliver"]
    assert "SIGKILL" in records[1]["leaves"][0]["reason"]
    assert records[1]["classification"]["complete"] is False


@pytest.mark.slow
def test_a_file_that_takes_too_long_is_suspect(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(f'state_dir = "{tmp_path}/state"\n[limits]\ninspect_cpu = "0.3s"\n')
    real = explain.Case.record

    def record(self: explain.Case, file: Path, killed: str = "") -> dict[str, Any]:
        while not killed:
            pass
        return real(self, file, killed)

    monkeypatch.setattr(explain.Case, "record", record)
    (found,) = run(capsys, sample("ordinary-note"), "--from", OFFICER, "--to", DESK, "--config", str(config))
    assert found["leaves"][0]["state"] == "suspect"
    assert "SIGPROF" in found["leaves"][0]["reason"]


def test_a_file_that_cannot_be_read_is_named_and_the_rest_go_on(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "a.eml").symlink_to(tmp_path)
    good = tmp_path / "b.eml"
    good.write_text("Subject: b\n\nText\n")
    code = invoke(["explain", str(good), "/proc/self/mem", "--from", OFFICER, "--to", DESK, "--json"])
    out, err = capsys.readouterr()
    assert code == 2
    assert len(out.splitlines()) == 1
    assert err.startswith("gateway: /proc/self/mem: ")


def test_for_people_it_says_what_why_and_what_to_do(capsys: Capture) -> None:
    assert invoke(["explain", sample("confidential-word"), "--from", OFFICER, "--to", DESK]) == 0
    out = capsys.readouterr().out
    for text in ("HOLD", DESK, "classified-attachment-unencrypted", "J&K Circular", "CONFIDENTIAL in 2:note.docx", "AES-256"):
        assert text in out


@pytest.mark.parametrize(
    ("body", "said", "not_said"),
    [
        ("The password is Tulip-7-Jhelum", "encrypted: its password stands in the same message", "could not be read"),
        ("Please find attached", "a part is strongly encrypted", "stands in the same message"),
    ],
)
@pytest.mark.slow
def test_the_reason_why_a_level_is_in_doubt_is_the_true_one(capsys: Capture, tmp_path: Path, body: str, said: str, not_said: str) -> None:
    file, archive = tmp_path / "x.eml", io.BytesIO()
    with pyzipper.AESZipFile(archive, "w", encryption=pyzipper.WZ_AES) as out:
        out.setpassword(b"Tulip-7-Jhelum")
        out.writestr("note.txt", b"The meeting is at ten.\n" * 20)
    file.write_bytes(mail(archive.getvalue(), "note.zip", "application/zip", body=body))
    assert invoke(["explain", str(file), "--from", OFFICER, "--to", DESK]) == 0
    level = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("  level"))
    assert said in level
    assert not_said not in level
    (record,) = run(capsys, str(file), "--from", OFFICER, "--to", DESK)
    assert record["classification"]["complete"] is ("same message" in said)


@pytest.mark.slow
def test_a_message_cannot_act_on_the_terminal(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "x.eml"
    head = b"Subject: a\x1b]0;owned\x07b\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\n\x1b[31mRed\n--x\n"
    part = b'Content-Type: text/plain; name="\xe2\x80\xaegpj.\x1b[2J.txt"\nContent-Disposition: attachment\n\nx\n--x--\n'
    file.write_bytes(head + part)
    for words in (["--text"], ["--text", "--json"]):
        assert invoke(["explain", str(file), "--from", OFFICER, "--to", DESK, *words]) == 0
        out = capsys.readouterr().out
        assert not any(c in out for c in "\x1b\x07\u202e")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "not an address", "--to", DESK], "--from"),
        (["--from", OFFICER, "--to", "x@[1.2.3.4]"], "--to"),
        (["--from", OFFICER, "--to", DESK, "--client-ip", "10.0.0"], "--client-ip"),
        (["--from", OFFICER], "--to is missing"),
    ],
)
def test_a_wrong_call_names_the_option(capsys: Capture, words: list[str], said: str) -> None:
    assert invoke(["explain", sample("ordinary-note"), *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_the_null_sender_is_a_sender(capsys: Capture) -> None:
    (record,) = run(capsys, sample("ordinary-note"), "--from", "<>", "--to", DESK)
    assert record["recipients"][0]["direction"] == "inbound"


@pytest.mark.slow
def test_workers_give_results_in_order_and_name_the_dead() -> None:
    def work(item: int) -> int:
        if item == 7:
            os._exit(3)
        return item * item

    found = list(workers.results(work, range(200), 3))
    assert found[:7] == [n * n for n in range(7)]
    assert found[7] == workers.Died("exit code 3")
    assert found[8:] == [n * n for n in range(8, 200)]


def test_workers_end_when_the_reader_stops() -> None:
    results = workers.results(lambda item: os.getpid(), range(100), 2)
    pids = {next(results), next(results), next(results)}
    results.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.slow
def test_the_text_says_where_it_stands(capsys: Capture) -> None:
    (record,) = run(capsys, sample("restricted-pdf"), "--from", OFFICER, "--to", DESK, "--text")
    leaf = next(leaf for leaf in record["leaves"] if leaf["name"].endswith(".pdf"))
    assert {"zone", "page", "text"} == set(leaf["segments"][0])
    pages = {segment["page"] for segment in leaf["segments"] if segment["zone"] == "body"}
    assert 1 in pages
    assert leaf["segments"][0]["text"] in leaf["text"]
    body = record["leaves"][0]
    assert [(one["zone"], one["page"]) for one in body["segments"]] == [("body", 0)]
    assert invoke(["explain", sample("restricted-pdf"), "--from", OFFICER, "--to", DESK, "--text"]) == 0
    out = capsys.readouterr().out
    assert "             body, page 1\n" in out
    assert "             body\n             | " in out


@pytest.mark.slow
def test_a_thread_can_be_assumed(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "answer.eml"
    file.write_text(
        "From: asha.verma@dept.gov.in\nTo: a@cert-in.org.in\nSubject: Re: x\nIn-Reply-To: <0@dept.gov.in>\n\nMonday suits us.\n"
    )
    words = (str(file), "--from", OFFICER, "--to", "incident@cert-in.org.in")
    (without,) = run(capsys, *words)
    (within,) = run(capsys, *words, "--thread-level", "confidential")
    assert [one["recipients"][0]["rule"] for one in (without, within)] == ["ordinary-mail", "thread-downgraded"]
    assert within["classification"]["evidence"][0]["detector"] == "thread"
    assert invoke(["explain", *words, "--thread-level", "cosmic"]) == 2
    assert "--thread-level" in capsys.readouterr().err


def test_a_file_that_is_too_large_is_named_and_costs_the_others_nothing(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_text("Subject: a\n\nhello\n")
    with (tmp_path / "b.eml").open("wb") as huge:
        huge.truncate(3_000_000_000)  # a hole: nothing on the disk
    (tmp_path / "c.eml").write_bytes(b"\x00\xff" * 500)
    code = invoke(["explain", str(tmp_path), "/dev/zero", "--from", OFFICER, "--to", DESK, "--json"])
    out, err = capsys.readouterr()
    assert code == 2
    found = [json.loads(line) for line in out.splitlines()]
    assert [Path(one["file"]).name for one in found] == ["a.eml", "c.eml"]
    assert err.count("larger than max_message_size") == 2
    assert str(tmp_path / "b.eml") in err
    assert found[1]["recipients"][0]["disposition"] == "hold", "what is no message at all"


def test_a_fault_of_one_file_costs_that_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("of ours")
        return item

    assert list(workers.results(work, range(8), 2)) == [0, 1, 2, workers.Died("ValueError"), 4, 5, 6, 7]


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
@pytest.mark.slow
def test_a_terminal_gets_a_bar_and_a_pipe_gets_none(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number:02}.eml").write_text(f"Subject: letter {number}\n\nhello\n")
    command = [sys.executable, "-m", "gateway", "explain", str(tmp_path), "--from", OFFICER, "--to", DESK, "--json"]
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    printed = tmp_path / "printed"
    with printed.open("wb") as stdout, subprocess.Popen(command, stdout=stdout, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 4096):
                shown += piece
    os.close(ours)
    assert process.returncode == 0
    assert b"messages" in shown
    assert b"/12" in shown
    records = [json.loads(line) for line in printed.read_text("utf-8").splitlines()]
    assert [one["message"]["subject"] for one in records] == [f"letter {number}" for number in range(12)], "in order, and nothing else"
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b""


@pytest.mark.slow
def test_an_interrupt_ends_it_with_all_its_processes(tmp_path: Path) -> None:
    for number in range(400):
        shutil.copy(sample("confidential-word"), tmp_path / f"{number:03}.eml")
    command = [sys.executable, "-m", "gateway", "explain", str(tmp_path), "--from", OFFICER, "--to", DESK, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"{")
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode not in (0, None)
    assert b"Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.slow
def test_the_door_by_which_it_comes_is_told(capsys: Capture) -> None:
    def decided(*more: str) -> tuple[str, str, list[str]]:
        (record,) = run(capsys, sample("confidential-word"), "--from", OFFICER, *more)
        (found,) = record["recipients"]
        return found["disposition"], found["rule"], found["tags"]

    held = ("hold", "classified-attachment-unencrypted", [])
    assert decided("--to", DESK) == decided("--to", DESK, "--door", "smtp") == held
    assert decided("--to", DESK, "--door", "milter") == held
    assert decided("--door", "imap") == ("deliver", "classified-attachment-unencrypted", ["imap-recorded"])
    assert decided("--door", "imap", "--shared") == ("refuse", "classified-attachment-unencrypted", ["imap-shared"])
    assert invoke(["explain", sample("confidential-word"), "--from", OFFICER, "--to", DESK, "--shared"]) == 2
    assert invoke(["explain", sample("confidential-word"), "--from", OFFICER, "--door", "imap"]) == 0
    assert "storing it is only recorded" in capsys.readouterr().out
    assert invoke(["explain", sample("confidential-word"), "--from", OFFICER, "--to", DESK, "--door", "pop3"]) == 2
    assert "write one of smtp, submission, milter, imap" in capsys.readouterr().err


def test_a_milter_without_a_note_on_its_server_holds_classified_text(capsys: Capture) -> None:
    words = [sample("confidential-text"), "--from", OFFICER, "--to", DESK]
    assert run(capsys, *words)[0]["recipients"][0]["disposition"] == "deliver"
    (record,) = run(capsys, *words, "--door", "milter")
    assert record["recipients"][0]["rule"] == "classified-by-milter-unproved"
    assert "not known to encrypt" in record["recipients"][0]["explanation"]["en"]
