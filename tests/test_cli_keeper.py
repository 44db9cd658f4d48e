"""The commands that ask the running gateway, against a stand-in keeper over real frames."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import requests
from gateway.cli import invoke
from tests.faces import HELD, SEALED, FakeKeeper, config_file


class Site:
    """A config, and what the stand-in keeper answers."""

    def __init__(self, folder: Path, keeper: FakeKeeper, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.keeper, self._capsys = folder, keeper, capsys
        self.config = folder / "gateway.toml"

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr of one command."""
        self._capsys.readouterr()
        code = invoke([*words, "--config", str(self.config)])
        out, err = self._capsys.readouterr()
        return code, out, err


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    config_file(tmp_path)
    keeper = FakeKeeper({})
    with keeper.serving((tmp_path / "state/run/keeper-admin.sock", requests.AdminRequest)):
        yield Site(tmp_path, keeper, capsys)


LISTS: list[tuple[list[str], type, dict[str, Any]]] = [
    (["quarantine", "list"], requests.ListHeld, HELD),
    (["queue", "list"], requests.ListQueue, {"id": "d1", "reference": "R1", "recipient": "a@nic.in", "state": "deferred", "attempts": 2}),
    (
        ["exceptions", "list"],
        requests.ListExceptions,
        {"id": "e1", "sender": "@dept.gov.in", "recipient": "@court.example", "expires": 2e9},
    ),
    (["users", "list"], requests.ListUsers, {"name": "reviewer", "system_user": "root"}),
    (["audit", "search"], requests.SearchAudit, {"gateway": {"reference": "R1", "seq": 4}, "rule": {"id": "r"}}),
]


@pytest.mark.parametrize(("words", "request_type", "record"), LISTS, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_lists_print_tables_for_people_and_json_lines_for_programs(
    site: Site, words: list[str], request_type: type, record: dict[str, Any]
) -> None:
    site.keeper.answers[request_type] = requests.Rows((record, record))
    code, out, err = site.run(*words, "--json")
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [record, record]
    code, out, err = site.run(*words)
    assert (code, err) == (0, "")
    assert "{" not in out
    assert str(record.get("reference") or record.get("id") or record.get("name") or "R1") in out


@pytest.mark.parametrize(("words", "request_type", "record"), LISTS, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_nothing_found_is_exit_0_and_no_line(site: Site, words: list[str], request_type: type, record: dict[str, Any]) -> None:
    site.keeper.answers[request_type] = requests.Rows(())
    assert site.run(*words, "--json") == (0, "", "")
    code, out, _ = site.run(*words)
    assert code == 0
    assert out.strip()


def test_paging_and_all_reach_the_keeper(site: Site) -> None:
    site.keeper.answers.update({requests.ListHeld: requests.Rows(()), requests.ListQueue: requests.Rows(())})
    site.run("quarantine", "list", "--all", "--limit", "7", "--after", "x")
    site.run("queue", "list", "--limit", "8", "--after", "y")
    assert site.keeper.asked == [requests.ListHeld(True, 7, "x"), requests.ListQueue(False, 8, "y")]


def test_a_release_needs_a_reason_and_says_what_was_done(site: Site) -> None:
    code, out, err = site.run("quarantine", "release", "R1")
    assert (code, out) == (2, "")
    assert "--reason" in err
    assert site.keeper.asked == []
    site.keeper.answers[requests.ReleaseHeld] = requests.Rows(({"message": "approved 1 of 2"},))
    code, out, err = site.run("quarantine", "release", "R1", "--reason", "seen", "--to", "a@nic.in", "--to", "b@nic.in", "--as", "asha")
    assert (code, out, err) == (0, "approved 1 of 2\n", "")
    assert site.keeper.asked == [requests.ReleaseHeld("R1", "seen", ("a@nic.in", "b@nic.in"), "asha")]


@pytest.mark.parametrize(("code", "exit_code"), [(1, 1), (2, 2), (3, 1)])
def test_a_no_of_the_keeper_is_one_sentence_and_exit_1(site: Site, code: int, exit_code: int) -> None:
    site.keeper.answers[requests.RefuseHeld] = requests.Failed("the sender of a message cannot release it", code)
    got = site.run("quarantine", "refuse", "R1", "--reason", "x")
    assert got == (exit_code, "", "gateway: the sender of a message cannot release it\n")


def test_an_export_is_a_new_file_that_only_its_owner_reads(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.folder)
    site.keeper.answers[requests.ExportHeld] = lambda _: (requests.Done(), b"From: a\r\n\r\nx\r\n")
    code, _, err = site.run("quarantine", "export", "R1", "--reason", "court order")
    assert (code, err) == (0, "")
    file = site.folder / "R1.eml"
    assert file.read_bytes() == b"From: a\r\n\r\nx\r\n"
    assert file.stat().st_mode & 0o777 == 0o600
    asked = len(site.keeper.asked)
    code, _, err = site.run("quarantine", "export", "R1", "--reason", "again")
    assert code == 2
    assert "is there already" in err
    assert len(site.keeper.asked) == asked, "an export that cannot be written is not recorded as one"


def test_what_a_message_says_cannot_act_on_the_terminal(site: Site) -> None:
    row = HELD | {"sender": "a\x1b]0;owned\x07@x", "recipients": ["b\u202egpj@x", "c\x9b31m@x"], "rule": "line\nbreak"}
    site.keeper.answers[requests.ListHeld] = requests.Rows((row,))
    for words in (["quarantine", "list"], ["quarantine", "list", "--json"]):
        code, out, _ = site.run(*words)
        assert code == 0
        assert not any(c in out for c in "\x1b\x07\u202e\x9b")
    assert json.loads(site.run("quarantine", "list", "--json")[1]) == row
    site.keeper.answers[requests.ShowHeld] = requests.Rows((row | {"evidence": [{"path": "1:\x1bc.docx"}]},))
    assert "\x1b" not in site.run("quarantine", "show", "R1")[1]


def test_what_is_not_there_is_exit_1(site: Site) -> None:
    for request_type, words in (
        (requests.ShowHeld, ["quarantine", "show", "R9"]),
        (requests.ShowDelivery, ["queue", "show", "R9"]),
        (requests.ShowAudit, ["audit", "show", "R9"]),
    ):
        site.keeper.answers[request_type] = requests.Rows(())
        code, out, err = site.run(*words, "--json")
        assert (code, out) == (1, "")
        assert "R9" in err


def test_show_prints_every_field(site: Site) -> None:
    site.keeper.answers[requests.ShowHeld] = requests.Rows((SEALED | {"leaves": [{"path": "1", "state": "suspect"}], "trace": {"a": 1}},))
    code, out, _ = site.run("quarantine", "show", "R1")
    assert code == 0
    for text in (SEALED["reference"], "sealed", "yes", "suspect", "hidden@nic.in"):
        assert text in out


@pytest.mark.parametrize("action", ["retry", "bounce", "hold", "unhold"])
def test_acts_on_the_queue_name_deliveries_or_all(site: Site, action: str) -> None:
    assert site.run("queue", action)[0] == 2
    assert site.run("queue", action, "d1", "--all")[0] == 2
    assert site.keeper.asked == []
    site.keeper.answers[requests.ActOnQueue] = requests.Done()
    assert site.run("queue", action, "d1", "d2") == (0, f"{action}: done\n", "")
    assert site.run("queue", action, "--all", "--as", "asha")[0] == 0
    assert site.keeper.asked == [requests.ActOnQueue(action, ("d1", "d2")), requests.ActOnQueue(action, (), True, "asha")]


ADD = [
    "exceptions",
    "add",
    "--from",
    "@dept.gov.in",
    "--to",
    "a@court.example",
    "--reason",
    "hearing",
    "--requester",
    "a",
    "--approver",
    "b",
]


@pytest.mark.parametrize(
    ("end", "wrong"),
    [
        ([], "say when it ends"),
        (["--until", "2030-01-01T00:00"], "names no time zone"),
        (["--until", "tomorrow"], "is not a time such as"),
        (["--until", "2020-01-01T00:00Z"], "is past"),
        (["--for", "30"], "is not a time such as 30d"),
        (["--for", "0d"], "is not a time such as 30d"),
        (["--for", "30d", "--until", "2030-01-01T00:00Z"], "say when it ends"),
    ],
)
def test_an_exception_needs_a_clear_end(site: Site, end: list[str], wrong: str) -> None:
    code, out, err = site.run(*ADD, *end)
    assert (code, out) == (2, "")
    assert wrong in err
    assert len(err.splitlines()) == 1
    assert site.keeper.asked == []


@pytest.mark.parametrize(
    ("end", "seconds"),
    [(["--for", "30d"], 30 * 86400), (["--for", "12h"], 43200), (["--for", "90s"], 90), (["--until", "2033-05-18T09:03:20+05:30"], None)],
)
def test_an_exception_ends_when_it_was_said(site: Site, end: list[str], seconds: int | None) -> None:
    site.keeper.answers[requests.AddException] = requests.Rows(({"id": "e1"},))
    code, out, err = site.run(*ADD, *end)
    assert (code, err) == (0, "")
    assert "e1" in out
    expires = site.keeper.asked[0].expires
    assert expires == 2_000_000_000 if seconds is None else abs(expires - time.time() - seconds) < 5


@pytest.mark.parametrize("left_out", ["--from", "--to", "--reason", "--requester", "--approver"])
def test_an_exception_names_everything(site: Site, left_out: str) -> None:
    place = ADD.index(left_out)
    code, _, err = site.run(*ADD[:place], *ADD[place + 2 :], "--for", "1d")
    assert code == 2
    assert left_out in err


def test_a_one_time_login_is_printed_with_the_address_of_the_page(site: Site) -> None:
    site.config.write_text(site.config.read_text().replace("127.0.0.1:0", "127.0.0.1:8443"))
    site.keeper.answers[requests.OneTimeLogin] = requests.Rows(({"token": "tok-1"},))
    assert site.run("users", "login", "--as", "asha") == (0, "http://127.0.0.1:8443/login?token=tok-1\n", "")
    assert site.keeper.asked == [requests.OneTimeLogin(user="asha")]


def test_a_reviewer_is_mapped_to_a_user_that_this_machine_has(site: Site) -> None:
    code, _, err = site.run("users", "add", "asha", "--system-user", "no-such-user-here")
    assert code == 2
    assert "no user 'no-such-user-here'" in err
    site.keeper.answers[requests.AddUser] = requests.Done()
    assert site.run("users", "add", "asha", "--system-user", "root", "--email", "asha@dept.gov.in")[0] == 0
    assert site.keeper.asked == [requests.AddUser("asha", "root", "asha@dept.gov.in", "")]


def test_people_get_roles_and_are_disabled(site: Site) -> None:
    site.keeper.answers[requests.AddUser] = site.keeper.answers[requests.ChangeUser] = requests.Rows(({"name": "asha"},))
    roles = ["--role", "reviewer@home.gov.in", "--role", "viewer"]
    assert site.run("users", "add", "asha", *roles, "--department", "home.gov.in")[0] == 0
    assert site.run("users", "roles", "asha", "auditor", "viewer@home.gov.in")[1] == "asha has the roles auditor, viewer@home.gov.in\n"
    assert site.run("users", "disable", "asha") == (0, "asha is disabled\n", "")
    assert site.run("users", "enable", "asha") == (0, "asha is enabled\n", "")
    assert site.keeper.asked == [
        requests.AddUser("asha", "", "", "home.gov.in", ("reviewer@home.gov.in", "viewer")),
        requests.ChangeUser("asha", grants=("auditor", "viewer@home.gov.in")), requests.ChangeUser("asha", disabled=True),
        requests.ChangeUser("asha", disabled=False),
    ]  # fmt: skip


def test_the_list_of_people_shows_roles_and_whether_they_may_sign_in(site: Site) -> None:
    usual = {"system_user": "", "email": "", "department": "", "created": 1.0}
    site.keeper.answers[requests.ListUsers] = requests.Rows((
        usual | {"name": "asha", "grants": ["reviewer@home.gov.in", "auditor@*"], "disabled": False, "password": True, "totp": True},
        usual | {"name": "bina", "grants": [], "disabled": True}, usual | {"name": "chand", "grants": ["viewer@*"], "disabled": False},
    ))  # fmt: skip
    _, out, _ = site.run("users", "list")
    for text in ("reviewer@home.gov.in, auditor", "active (password, totp)", "disabled", "none", "has not signed in yet"):
        assert text in out
    assert json.loads(site.run("users", "list", "--json")[1].splitlines()[0])["grants"] == ["reviewer@home.gov.in", "auditor@*"]


def test_an_invitation_prints_its_link(site: Site) -> None:
    site.config.write_text(site.config.read_text().replace("127.0.0.1:0", "127.0.0.1:8443"))
    site.keeper.answers[requests.InviteUser] = requests.Rows(({"name": "asha", "token": "tok-2"},))
    assert site.run("users", "invite", "asha") == (0, "http://127.0.0.1:8443/login?token=tok-2\n", "")
    assert site.keeper.asked == [requests.InviteUser("asha")]


def test_the_export_of_the_log_pages_through_all_of_it(site: Site) -> None:
    def page(request: requests.SearchAudit) -> Any:
        rows = [{"gateway": {"seq": seq}} for seq in range(request.after + 1, min(request.after + request.limit, 7003) + 1)]
        return requests.Rows(tuple(rows))

    site.keeper.answers[requests.SearchAudit] = page
    code, out, _ = site.run("audit", "export", "--format", "ecs")
    assert code == 0
    assert [json.loads(line)["gateway"]["seq"] for line in out.splitlines()] == list(range(1, 7004))
    assert site.run("audit", "export", "--format", "xml")[0] == 2


def test_times_of_a_search(site: Site) -> None:
    site.keeper.answers[requests.SearchAudit] = requests.Rows(())
    site.run("audit", "search", "word", "--from", "a@b", "--to", "c@d", "--rule", "r", "--since", "2d", "--until", "2026-01-01T00:00Z")
    asked = site.keeper.asked[0]
    assert (asked.text, asked.sender, asked.recipient, asked.rule, asked.until) == ("word", "a@b", "c@d", "r", 1767225600.0)
    assert abs(asked.since - (time.time() - 2 * 86400)) < 5


def test_without_a_gateway_the_command_says_how_to_start_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_file(tmp_path)
    for words in (["quarantine", "list"], ["queue", "list"], ["users", "login"], ["exceptions", "list", "--json"]):
        code = invoke(["--config", str(config), *words])
        out, err = capsys.readouterr()
        assert (code, out) == (1, "")
        place = tmp_path / "state/run/keeper-admin.sock"
        assert err == f"gateway: The gateway is not running (no keeper at {place}). Start it with: gateway run --config {config}\n"
    assert invoke(["reload", "--config", str(config)]) == 1
    assert "supervisor.sock" in capsys.readouterr().err


START = ["profiles", "start", "disaster", "--reason", "flood", "--requester", "a", "--approver", "b"]


def test_a_profile_is_started_listed_and_ended(site: Site) -> None:
    on = {"id": "p1", "name": "disaster", "state": "active", "reason": "flood", "expires": 2e9}
    site.keeper.answers[requests.StartProfile] = requests.Rows((on,))
    code, out, err = site.run(*START, "--for", "48h")
    assert (code, err) == (0, "")
    assert "p1" in out
    assert "classified mail apply as before" in out
    sent = site.keeper.asked[0]
    assert (sent.name, sent.reason, sent.requester, sent.approver) == ("disaster", "flood", "a", "b")
    assert abs(sent.expires - time.time() - 48 * 3600) < 5
    site.keeper.answers[requests.ListProfiles] = requests.Rows((on,))
    assert "flood" in site.run("profiles", "list", "--all")[1]
    assert site.keeper.asked[-1] == requests.ListProfiles(True)
    site.keeper.answers[requests.EndProfile] = requests.Rows(({**on, "state": "ended"},))
    assert site.run("profiles", "end", "disaster", "--reason", "over") == (0, "the profile disaster (p1) has ended\n", "")
    assert site.keeper.asked[-1] == requests.EndProfile("disaster", "over", "")


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (START, "say when it ends"),
        ([*START, "--for", "2d", "--until", "2030-01-01T00:00Z"], "say when it ends"),
        ([*START[:3], *START[5:], "--for", "2d"], "--reason is missing"),
        ([*START[:5], *START[7:], "--for", "2d"], "--requester is missing"),
        ([*START[:7], "--for", "2d"], "--approver is missing"),
        ([*START, "--until", "2020-01-01T00:00Z"], "is past"),
    ],
)
def test_a_profile_needs_a_reason_two_people_and_an_end(site: Site, words: list[str], wrong: str) -> None:
    code, out, err = site.run(*words)
    assert (code, out) == (2, "")
    assert wrong in err
    assert site.keeper.asked == []


def test_a_removal_is_asked_for_once_more_and_says_how_much_went(site: Site) -> None:
    gone = {"audit": 12, "messages": 3, "correspondents": 0, "threads": 7, "entries": 1, "files": 2, "finished": False}
    site.keeper.answers[requests.Purge] = requests.Rows((gone,))
    code, out, err = site.run("audit", "purge")
    assert code != 0, "nobody is there to say yes"
    assert "decisions 365 days" in out
    assert site.keeper.asked == []
    code, out, err = site.run("audit", "purge", "--yes")
    assert (code, err) == (0, "")
    assert "12 rows of the decision log, 3 finished messages" in out
    assert "there is more" in out
    code, out, _ = site.run("audit", "purge", "--json", "--as", "asha")
    assert (code, json.loads(out)) == (0, gone)
    assert site.keeper.asked[-1] == requests.Purge("asha")
