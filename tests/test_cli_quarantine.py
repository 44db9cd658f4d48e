"""``gateway quarantine`` and ``gateway audit export``, against a stand-in keeper over real frames."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import requests
from gateway.cli import invoke
from gateway.cli.audit import csv_line
from tests.faces import HELD, SEALED, FakeKeeper, config_file
from tests.keeper_kit import CONTENT

RECORD = HELD | {"sha256": hashlib.sha256(CONTENT).hexdigest()}
CMS = b"0\x82 sealed to the officer"


class Site:
    """A config, and what the stand-in keeper answers."""

    def __init__(self, folder: Path, keeper: FakeKeeper, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.keeper, self._capsys = folder, keeper, capsys

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr of one command."""
        self._capsys.readouterr()
        code = invoke([*words, "--config", str(self.folder / "gateway.toml")])
        out, err = self._capsys.readouterr()
        return code, out, err


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    config_file(tmp_path)
    keeper = FakeKeeper({
        requests.ListHeld: lambda asked: requests.Rows((RECORD, SEALED) if not asked.after else ()),
        requests.ShowHeld: lambda asked: requests.Rows(tuple(one for one in (RECORD, SEALED) if asked.id in (one["id"], one["reference"]))),
        requests.ExportHeld: lambda asked: (requests.Done(), CONTENT if asked.id == RECORD["id"] else CMS),
    })  # fmt: skip
    with keeper.serving((tmp_path / "state/run/keeper-admin.sock", requests.AdminRequest)):
        yield Site(tmp_path, keeper, capsys)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["ask", "R1", "--text", " Which file? "], requests.AskOfficer("R1", "Which file?", "asha")),
        (["level", "R1", "TOP-SECRET", "--reason", "it is"], requests.ReclassifyHeld("R1", "TOP-SECRET", "it is", "asha")),
        (["forward", "R1", "bina", "--note", "yours"], requests.ForwardHeld("R1", "bina", "yours", "asha")),
    ],
)
def test_each_act_reaches_the_keeper_and_says_what_was_done(site: Site, words: list[str], asked: Any) -> None:
    site.keeper.answers[type(asked)] = requests.Rows(({"id": "R1", "message": "done \x1b[31m"},))
    code, out, err = site.run("quarantine", *words, "--as", "asha")
    assert (code, err) == (0, "")
    assert out.startswith("done ")
    assert "\x1b" not in out
    assert site.keeper.asked == [asked]
    assert json.loads(site.run("quarantine", *words, "--json")[1])["id"] == "R1"


@pytest.mark.parametrize("words", [["ask", "R1"], ["level", "R1", "SECRET"], ["forward", "R1", "bina"], ["again", "R1", "--apply"]])
def test_every_act_needs_its_words(site: Site, words: list[str]) -> None:
    code, out, _ = site.run("quarantine", *words)
    assert (code, out, site.keeper.asked) == (2, "", [])


def test_a_decision_anew_is_a_table(site: Site) -> None:
    row = {"address": "a@nic.in", "disposition": "hold", "rule": "r1", "released": False, "explanation": {"en": "x"}}
    site.keeper.answers[requests.DecideAgain] = requests.Rows((row,))
    code, out, _ = site.run("quarantine", "again", "R1")
    assert code == 0
    assert "a@nic.in" in out
    assert json.loads(site.run("quarantine", "again", "R1", "--apply", "--reason", "x", "--json")[1]) == row
    assert site.keeper.asked == [requests.DecideAgain("R1"), requests.DecideAgain("R1", True, "x")]


def test_W14_an_export_is_a_folder_named_by_references_that_only_its_owner_reads(site: Site) -> None:
    folder = site.folder / "out"
    code, out, err = site.run("quarantine", "export", "--all", "--folder", str(folder), "--reason", "court order")
    assert (code, err) == (0, "")
    assert "2 messages" in out
    names = [f"{RECORD['reference']}.eml", f"{RECORD['reference']}.json", f"{SEALED['reference']}.cms", f"{SEALED['reference']}.json"]
    assert sorted(one.name for one in folder.iterdir()) == sorted([*names, "SHA256SUMS"])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {one.stat().st_mode & 0o777 for one in folder.iterdir()} == {0o600}
    assert (folder / names[0]).read_bytes() == CONTENT
    assert json.loads((folder / names[1]).read_text())["reference"] == RECORD["reference"]
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert [one.reason for one in site.keeper.asked if isinstance(one, requests.ExportHeld)] == ["court order"] * 2
    assert site.run("quarantine", "verify", str(folder))[:2] == (0, "ok: 4 files\n")


def spoil_content(folder: Path) -> None:
    (folder / f"{RECORD['reference']}.eml").write_bytes(CONTENT + b"x")


def spoil_sum(folder: Path) -> None:
    """Content and its sum are changed together: the record still has the right hash."""
    spoil_content(folder)
    sums = folder / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(str(RECORD["sha256"]), hashlib.sha256(CONTENT + b"x").hexdigest()))


def remove(folder: Path) -> None:
    (folder / f"{SEALED['reference']}.cms").unlink()


def link(folder: Path) -> None:
    file = folder / f"{RECORD['reference']}.eml"
    shutil.move(file, folder.parent / "elsewhere")
    file.symlink_to(folder.parent / "elsewhere")


def add(folder: Path) -> None:
    (folder / "more.eml").write_bytes(b"x")


def climb(folder: Path) -> None:
    sums = folder / "SHA256SUMS"
    sums.write_text(sums.read_text() + "0" * 64 + "  ../../etc/passwd\n")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_content, "is not what was written"), (spoil_sum, "is not the content of its record"), (remove, "is missing"),
        (link, "is missing"), (add, "was not written by the export"), (climb, "is no sum"),
    ],
)  # fmt: skip
def test_verify_names_the_first_file_that_is_not_as_it_was_written(site: Site, spoil: Any, said: str) -> None:
    folder = site.folder / "out"
    site.run("quarantine", "export", "--all", "--folder", str(folder), "--reason", "x")
    spoil(folder)
    code, out, _ = site.run("quarantine", "verify", str(folder))
    assert code == 1
    assert said in out
    assert json.loads(site.run("quarantine", "verify", str(folder), "--json")[1])["ok"] is False


def test_W14_a_reference_that_is_a_path_writes_nothing_outside(site: Site) -> None:
    for name in ("../../evil", "a/b", "", "x\x00y", "..", "short"):
        site.keeper.answers[requests.ShowHeld] = requests.Rows((RECORD | {"reference": name},))
        folder = site.folder / f"out{abs(hash(name))}"
        code, _, err = site.run("quarantine", "export", "R1", "--folder", str(folder), "--reason", "x")
        assert code == 1
        assert "not complete" in err
        assert os.listdir(folder) == []
    assert not (site.folder.parent / "evil.eml").exists()


def test_an_export_says_what_to_export_and_where(site: Site) -> None:
    (site.folder / "there").mkdir()
    for words in (
        [], ["R1", "--all", "--folder", "x"], ["--all"], ["R1", "--folder", "x", "--output", "y"],
        ["R1", "--folder", str(site.folder / "there"), "--reason", "x"],
    ):  # fmt: skip
        code, _, err = site.run("quarantine", "export", *words)
        assert (code, bool(err)) == (2, True), words
    assert not any(isinstance(one, requests.ExportHeld) for one in site.keeper.asked)


def test_what_the_gateway_holds_is_verified_page_by_page(site: Site) -> None:
    pages = {"": ({"id": "1", "reference": "R1", "problem": ""}, {"id": "2", "reference": "R2", "problem": ""}), "2": ()}
    site.keeper.answers[requests.VerifyHeld] = lambda asked: requests.Rows(pages[asked.after])
    assert site.run("quarantine", "verify")[:2] == (0, "ok: 2 held messages\n")
    pages["2"] = ({"id": "3", "reference": "R3", "problem": "its content is gone"},)
    pages["3"] = ()
    assert site.run("quarantine", "verify")[:2] == (1, "bad: R3: its content is gone\n")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "|calc", "\uff1dHYPERLINK()", "%x"])
def test_W14_no_cell_of_an_exported_log_is_a_formula(site: Site, text: str) -> None:
    row = {"gateway": {"reference": "R1"}, "event": {"reason": text, "action": 'say "x", y'}, "seq": 7, "user": {"name": "asha\nbina"}}
    site.keeper.answers[requests.SearchAudit] = lambda asked: requests.Rows((row,))
    code, out, err = site.run("audit", "export", "--format", "csv")
    assert (code, err) == (0, "")
    heading, line = csv.reader(io.StringIO(out))
    cells = dict(zip(heading, line, strict=True))
    assert cells["reason"][0] in "'\\"
    assert (cells["action"], cells["reference"]) == ('say "x", y', "R1")
    assert not any(cell[:1] in tuple("=+-@|%\t") for cell in line)
    assert csv_line(["a", None, 3]) == "a,,3"


def test_an_export_of_the_log_pages_by_its_place_in_the_table(site: Site) -> None:
    """Rows of two chains may have the same number in their chains."""
    rows = [{"gateway": {"seq": n % 5000}, "seq": n} for n in range(1, 7001)]
    site.keeper.answers[requests.SearchAudit] = lambda asked: requests.Rows(
        tuple(row for row in rows if row["seq"] > asked.after)[: asked.limit]
    )
    code, out, _ = site.run("audit", "export")
    assert code == 0
    assert [json.loads(line)["seq"] for line in out.splitlines()] == list(range(1, 7001))
    assert site.run("audit", "export", "--format", "xlsx")[0] == 2
