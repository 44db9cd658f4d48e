"""``gateway sweep`` over a real Dovecot with TLS: what it says, and that the mailbox is afterwards what it was before."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from imapclient import imap_utf7

from gateway import policy
from gateway.cli import invoke, samples
from gateway.config import Config, Originators
from tests.e2e.dovecot import DOVECOT, IMAP, MASTER, MASTER_SECRET, Dovecot, reachable_folder
from tests.e2e.parts import running
from tests.test_smtp_client import certificates

__all__ = ["certificates"]
pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(not DOVECOT.exists() or not IMAP.exists(), reason="Dovecot is not here (apt install dovecot-imapd)"),
    pytest.mark.skipif(os.getuid() != 0, reason="Dovecot starts as root only"),
]
OWNER, SECRET = "asha.verma@dept.gov.in", "कमल right 7"
SAMPLES = [b"\r\n".join(one.file.read_bytes().splitlines()) + b"\r\n" for one in samples.load()]


@pytest.fixture(scope="module")
def server(certificates: Path) -> Iterator[Dovecot]:
    with reachable_folder() as folder, running(dovecot := Dovecot(folder, certificates, {OWNER: SECRET})):
        dovecot.put(OWNER, "Sent", *SAMPLES)
        dovecot.put(OWNER, "Drafts", *SAMPLES[:2], flags="(\\Draft)")
        dovecot.put(OWNER, f'"{imap_utf7.encode("भेजे गए").decode()}"', SAMPLES[0], create=True)
        yield dovecot


def state(server: Dovecot) -> dict[str, Any]:
    """Every message file of the Maildir with its flags, whether it is new to everybody, and its octets; and what IMAP says."""
    home = server.home(OWNER)
    files = {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in home.rglob("*:2,*")}
    files |= {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in home.rglob("new/*")}
    client = server.client(OWNER)
    said = {box: client.status(box, "(MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)")[1][0] for box in ("Sent", "Drafts")}
    client.logout()
    return {"files": files, "status": said}


@pytest.fixture(scope="module", autouse=True)
def loaded_once() -> Iterator[None]:
    """The shipped rules take seconds to load on a busy machine; all calls here have the same config."""
    with pytest.MonkeyPatch.context() as patch:
        load = functools.cache(lambda: LOAD(Config().rules_dir, Config(originators=Originators(domains=("dept.gov.in",)))))
        patch.setattr(policy, "load", lambda *_: load())
        yield


LOAD = policy.load


@dataclass
class Sweep:
    """The command, in this process."""

    server: Dovecot
    capsys: pytest.CaptureFixture[str]
    folder: Path

    def run(self, *words: str, login: str = OWNER, secret: str = SECRET) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        file = self.folder / "secret"
        file.write_text(secret + "\n", "utf-8")
        command = ["sweep", f"imaps://127.0.0.1:{self.server.tls_port}", "--login", login, "--password-file", str(file), *words]
        if "--ca" not in words:
            command += ["--ca", str(self.server.certificates / "ca.pem")]
        code = invoke(command)
        return code, *self.capsys.readouterr()

    def records(self, *words: str, login: str = OWNER, secret: str = SECRET) -> list[dict[str, Any]]:
        """What it prints with --json."""
        code, out, err = self.run("--json", *words, login=login, secret=secret)
        assert code == 0, (err, self.server.log[-3000:])
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def sweep(server: Dovecot, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Sweep:
    return Sweep(server, capsys, tmp_path)


def test_sent_and_drafts_are_judged_and_stay_as_they_were(server: Dovecot, sweep: Sweep) -> None:
    before, logged = state(server), len(server.log)
    found = sweep.records()
    assert state(server) == before
    assert len(before["files"]) == len(SAMPLES) + 3
    assert f"RECENT {len(SAMPLES)}".encode() in before["status"]["Sent"], "nothing is new to nobody any more"
    assert [one["mailbox"] for one in found] == ["Drafts"] * 2 + ["Sent"] * len(SAMPLES)
    assert "deleted=0 expunged=0 trashed=0" in server.log[logged:]
    dispositions = [[to["disposition"] for to in one["recipients"]] for one in found[2:]]
    assert dispositions[:6] == [["deliver"], ["refuse"], ["deliver"], ["hold"], ["deliver"], ["refuse"]]


def test_the_same_is_said_as_explain_says_of_the_file(sweep: Sweep) -> None:
    found = sweep.records("--mailbox", "Sent")
    for one, sample in list(zip(found, samples.load(), strict=True))[1:5]:
        to = [word for rcpt in one["recipients"] for word in ("--to", rcpt["address"])]
        assert invoke(["explain", str(sample.file), "--from", one["sender"], *to, "--user", OWNER, "--json"]) == 0
        said = json.loads(sweep.capsys.readouterr().out)
        for part in ("classification", "leaves", "recipients", "message"):
            assert one[part] == said[part], (sample.file, part)


def test_an_administrator_reads_an_officers_mailbox(sweep: Sweep) -> None:
    found = sweep.records("--mailbox", "Sent", login=f"{OWNER}*{MASTER}", secret=MASTER_SECRET)
    assert len(found) == len(SAMPLES)
    assert all(one["official"] for one in found)


def test_it_goes_on_behind_a_message_and_since_a_day(sweep: Sweep) -> None:
    found = sweep.records("--mailbox", "Sent", "--after", "12", "--since", "2020-01-01")
    assert [one["uid"] for one in found] == list(range(13, len(SAMPLES) + 1))
    assert sweep.records("--mailbox", "Sent", "--since", "2100-01-01") == []


def test_every_mailbox_also_one_with_a_hindi_name(sweep: Sweep) -> None:
    assert {one["mailbox"] for one in sweep.records("--all")} == {"Sent", "Drafts", "भेजे गए"}


def test_a_certificate_that_nobody_vouches_for_gets_no_password(server: Dovecot, sweep: Sweep) -> None:
    logged = len(server.log)
    code, _, err = sweep.run("--ca", str(server.certificates / "self.pem"))
    assert (code, err.count("\n")) == (1, 2), err
    assert "its certificate is not accepted" in err
    assert "method=" not in server.log[logged:]


def test_a_wrong_password_is_one_sentence(sweep: Sweep) -> None:
    code, _, err = sweep.run(secret="not this one")
    assert code == 1
    assert "does not take this login and password" in err
    assert "not this one" not in err
