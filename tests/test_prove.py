"""The proof's own parts: what a disk may hold after a power cut, what strace's lines say, what explains a duplicate."""

from __future__ import annotations

import ast
import importlib
import random
from pathlib import Path

import pytest

from tests.e2e.prove import control, count, replay, trace
from tests.e2e.prove.load import Accepted
from tests.e2e.prove.run import Order, Result
from tests.e2e.prove.trace import Call


def hexed(octets: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in octets)


def write(path: str, number: int, data: bytes, offset: int) -> Call:
    return Call("write", path, number, number, float(number), data, offset)


def disk(tmp_path: Path, content: bytes = b"old") -> replay.Disk:
    base = tmp_path / "base"
    base.mkdir()
    (base / "store").write_bytes(content)
    return replay.Disk(base, Path("/s"))


def after(one: replay.Disk, tmp_path: Path, how: str, seed: int = 0) -> bytes:
    one.cut(tmp_path / "after", how, random.Random(seed))
    return (tmp_path / "after" / "store").read_bytes()


def test_O14_what_was_synced_is_on_the_disk_and_the_rest_may_be(tmp_path: Path) -> None:
    one = disk(tmp_path)
    one.do(write("/s/store", 1, b"new", 0))
    assert after(one, tmp_path, "nothing") == b"old"
    assert after(one, tmp_path, "everything") == b"new"
    one.do(Call("sync", "/s/store", 2, 3, 2.0))
    one.do(write("/s/store", 4, b"two", 3))
    assert after(one, tmp_path, "nothing") == b"new"
    assert after(one, tmp_path, "everything") == b"newtwo"
    one.do(Call("truncate", "/s/store", 5, 5, 5.0, offset=1))
    assert after(one, tmp_path, "nothing") == b"new"
    assert after(one, tmp_path, "everything") == b"n"


def test_O14_a_write_that_had_not_ended_when_the_sync_began_may_be_missing(tmp_path: Path) -> None:
    one = disk(tmp_path)
    one.do(Call("write", "/s/store", 1, 5, 1.0, b"new", 0))
    one.do(Call("sync", "/s/store", 4, 6, 4.0))
    assert after(one, tmp_path, "nothing") == b"old"


def test_O14_writes_are_torn_at_sectors_and_reordered(tmp_path: Path) -> None:
    one = disk(tmp_path, bytes(2048))
    one.do(write("/s/store", 1, b"a" * 2048, 0))
    one.do(write("/s/store", 2, b"b" * 2048, 0))
    seen = {after(one, tmp_path, "sectors", seed) for seed in range(60)}
    for content in seen:
        assert all(len(set(content[at : at + 512])) == 1 for at in range(0, 2048, 512))
    assert any(b"a" in content and b"b" in content and b"\0" in content for content in seen)
    assert b"a" * 2048 in {after(one, tmp_path, "writes", seed) for seed in range(20)}, "the later write lost, the earlier kept"


def test_O14_a_name_is_on_the_disk_when_its_file_or_folder_was_synced(tmp_path: Path) -> None:
    one = disk(tmp_path)
    one.do(Call("create", "/s/log", 1, 1, 1.0, offset=0))
    made = set()
    for seed in range(20):
        one.cut(tmp_path / "after", "nothing", random.Random(seed))
        made.add((tmp_path / "after" / "log").exists())
    assert made == {True, False}
    one.do(Call("sync", "/s", 2, 2, 2.0))
    for seed in range(20):
        one.cut(tmp_path / "after", "nothing", random.Random(seed))
        assert (tmp_path / "after" / "log").exists()


def test_O14_the_lines_of_strace_are_read(tmp_path: Path) -> None:
    name = hexed(b"/s/store")
    lines = [
        f'10 1.000001 pwrite64(5<{name}>, "{hexed(b"ab")}", 2, 4096) = 2',
        f"10 1.000002 fdatasync(5<{name}> <unfinished ...>",
        f'11 1.000003 write(2<{hexed(b"/elsewhere")}>, "{hexed(b"x")}", 1) = 1',
        "10 1.000004 <... fdatasync resumed>) = 0",
        "10 1.000005 ftruncate(5</s/store>, 512) = 0 <0.000010>",
        f'10 1.000006 pwrite64(5<{name}>, "{hexed(b"ab")}", 2, 0) = -1 ENOSPC (No space left on device)',
        f'10 1.000007 openat(AT_FDCWD</>, "{hexed(b"/s/log")}", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 7<{hexed(b"/s/log")}>',
        f'10 1.000008 unlink("{hexed(b"/s/log")}") = 0',
        "10 1.000009 +++ exited with 0 +++",
    ]
    (tmp_path / "trace").write_text("\n".join(lines) + "\n")
    assert list(trace.read(tmp_path / "trace", Path("/s"))) == [
        Call("write", "/s/store", 0, 0, 1.000001, b"ab", 4096),
        Call("sync", "/s/store", 1, 3, 1.000002),
        Call("truncate", "/s/store", 4, 4, 1.000005, offset=512),
        Call("create", "/s/log", 6, 6, 1.000007, offset=0),
        Call("unlink", "/s/log", 7, 7, 1.000008),
    ]


def test_O14_a_trace_that_cannot_be_read_proves_nothing(tmp_path: Path) -> None:
    for line in ("what is this", '10 1.0 pwrite64(5</s/store>, "ab"..., 9, 0) = 9', "10 1.0 fdatasync(5</s/store>"):
        (tmp_path / "trace").write_text(line + "\n")
        with pytest.raises(trace.UnreadableTrace):
            list(trace.read(tmp_path / "trace", Path("/s")))


def test_P2_a_duplicate_needs_a_kill_between_or_an_answer_that_was_kept_back() -> None:
    twice = [{"time": 10.0, "answered": True}, {"time": 11.0, "answered": True}]
    assert not count._explained(twice, [])
    assert not count._explained(twice, [count.Strike(10.5, 10.5, "SIGHUP to keeper")])
    assert count._explained(twice, [count.Strike(10.5, 10.5, "SIGKILL to keeper", explains=True)])
    assert not count._explained(twice, [count.Strike(20.0, 20.0, "SIGKILL to keeper", explains=True)])
    assert count._explained([{"time": 10.0, "answered": False}, twice[1]], [])
    assert not count._explained([{"time": 9.0, "answered": False}, *twice], [])


def decision(recipient: str, action: str) -> dict[str, object]:
    """What the decision log has on a recipient at the milter door."""
    said = {"door": "milter", "reference": "R1", "smtp": {"rcpt_to": [{"address": recipient}]}}
    kept = {"kept_by": "mta"} if action == "message-accepted" else {}
    return {"gateway": said | kept, "email": {"message_id": "<two@dept.gov.in>"}, "event": {"action": action}}


class Taken:
    """A next hop and a gateway of which everything is known."""

    def __init__(self, held: tuple[str, ...] = (), decided: tuple[tuple[str, str], ...] = ()) -> None:
        self.held = held
        self.decided = decided

    def received(self) -> list[dict[str, object]]:
        return [{"time": 1.0, "recipients": ["a@x"], "file": "1"}, {"time": 1.5, "recipients": ["o@d"], "file": "report"}]

    def content(self, entry: dict[str, object]) -> bytes:
        if entry["file"] == "1":
            return b"X-Proof: one\r\n\r\nx"
        lines = [
            "X-Gateway-Reference: R1",
            'Content-Type: multipart/report; boundary="b"', "", "--b", "Content-Type: message/delivery-status", "",
            "Reporting-MTA: dns; gw", "", "Final-Recipient: rfc822; b@x", "Action: failed", "Status: 5.7.1", "", "--b--", "",
        ]  # fmt: skip
        return "\r\n".join(lines).encode()

    def records(self, *words: str) -> list[dict[str, object]]:
        if words[0] == "quarantine":
            return [{"reference": "R1", "recipients": list(self.held)}]
        return [decision(*one) for one in self.decided] if words[0] == "audit" else []


@pytest.mark.parametrize(
    ("recipients", "held", "wrong"),
    [
        ({"a@x": "delivered", "b@x": "refused"}, (), []),
        ({"a@x": "delivered", "c@x": "held"}, ("c@x",), []),
        ({"a@x": "delivered", "c@x": "delivered"}, (), ["lost: smtp one c@x R1"]),
        ({"a@x": "held"}, (), ["passed: smtp one a@x R1"]),
        ({"a@x": "delivered"}, ("a@x",), ["twofold: smtp one a@x R1 ['delivered', 'held']"]),
        ({"b@x": "delivered"}, (), ["other: bounced, and had to be delivered: smtp one b@x R1"]),
    ],
)
def test_P1_every_recipient_is_in_exactly_one_state_and_in_the_right_one(
    monkeypatch: pytest.MonkeyPatch, recipients: dict[str, str], held: tuple[str, ...], wrong: list[str]
) -> None:
    monkeypatch.setattr(count.time, "sleep", lambda _: None)
    taken = Taken(held)
    found = count.count([Accepted("one", "R1", recipients, 1.0)], taken, taken, [])  # type: ignore[arg-type]
    assert found.wrong == wrong


def test_P1_what_goes_from_one_place_to_another_while_it_is_counted_is_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, asked = Taken(), []

    def come(_: float) -> None:
        taken.held = ("c@x",)

    monkeypatch.setattr(count.time, "sleep", come)
    found = count.count([Accepted("one", "R1", {"c@x": "held"}, 1.0)], taken, taken, [])  # type: ignore[arg-type]
    assert found.good
    monkeypatch.setattr(count.time, "sleep", asked.append)
    found = count.count([Accepted("one", "R1", {"d@x": "held"}, 1.0)], taken, taken, [])  # type: ignore[arg-type]
    assert (found.lost, len(asked)) == (["smtp one d@x R1"], 3)


def test_P1_held_mail_expires_only_where_the_clock_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Taken()
    monkeypatch.setattr(count.Arrived, "at", lambda _: count.Arrived({}, {("R1", "c@x"): "5.4.7"}))
    for wanted, expires, wrong in (("held", True, 0), ("held", False, 1), ("delivered", True, 1)):
        found = count.count([Accepted("one", "R1", {"c@x": wanted}, 1.0)], taken, taken, [], expires=expires)  # type: ignore[arg-type]
        assert (found.expired, len(found.other)) == (1, wrong)


ACCEPTED, HELD, BLOCKED = "message-accepted", "message-held", "message-blocked"


@pytest.mark.parametrize(
    ("wanted", "kept", "held", "decided", "wrong"),
    [
        # What is promised at the milter door: left to the MTA, held here, or returned, and the log says so of each.
        ("delivered", True, False, ACCEPTED, ""),
        ("held", False, True, HELD, ""),
        ("refused", False, False, BLOCKED, ""),
        # No word of it in the log: whatever else there is, the decision was not durable.
        ("delivered", True, False, "", "lost"),
        ("held", False, True, "", "lost"),
        # It goes nowhere: neither does the MTA have it, nor is it held.
        ("delivered", False, False, ACCEPTED, "lost"),
        ("held", False, False, HELD, "lost"),
        # The MTA has what it should not have.
        ("held", True, True, HELD, "passed"),
        ("refused", True, False, BLOCKED, "passed"),
        # The MTA has it, and so have we.
        ("delivered", True, True, ACCEPTED, "twofold"),
        ("delivered", False, True, HELD, "other"),
    ],
)
def test_P1_the_promise_of_the_milter_door_is_judged_by_its_own_measure(
    monkeypatch: pytest.MonkeyPatch, wanted: str, kept: bool, held: bool, decided: str, wrong: str
) -> None:
    who = "b@x" if wanted == "refused" else "c@x"  # b@x has its report
    taken = Taken((who,) if held else (), ((who, decided),) if decided else ())
    entry = Accepted("two", "R1", {who: wanted}, 1.0, "milter", (who,) if kept else ())
    monkeypatch.setattr(count.time, "sleep", lambda _: None)
    found = count.count([entry], taken, taken, [])  # type: ignore[arg-type]
    assert [line.partition(":")[0] for line in found.wrong] == ([wrong] if wrong else []), found.wrong
    assert found.kept == (kept and not wrong)


def test_P1_a_reference_that_the_milter_told_is_that_of_the_log_and_a_dropped_message_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count.time, "sleep", lambda _: None)
    taken = Taken(("c@x",), (("c@x", HELD),))
    for reference, lost in (("", 0), ("R1", 0), ("R2", 1)):
        found = count.count([Accepted("two", reference, {"c@x": "held"}, 1.0, "milter")], taken, taken, [])  # type: ignore[arg-type]
        assert len(found.lost) == lost


def test_P2_a_control_is_found_at_each_of_its_doors_or_not_at_all() -> None:
    early = next(one for one in control.CONTROLS if one.name == "early_reply")
    order = Order("kill", 1, 1)
    assert not early.found(Result(order, count.Count()))
    assert not early.found(Result(order, count.Count(lost=["smtp one a@x R1"])))
    assert early.found(Result(order, count.Count(lost=["smtp one a@x R1", "milter two a@x R2"])))


@pytest.mark.parametrize(
    "file", sorted((Path(control.__file__).parent / "controls").glob("*/sitecustomize.py")), ids=lambda file: file.parent.name
)
def test_what_a_control_breaks_is_there(file: Path) -> None:
    """A control that finds nothing to break leaves the gateway as it is: an honest one, which loses nothing."""
    taken = [
        node
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gateway")
    ]
    assert taken
    for node in taken:
        module = importlib.import_module(node.module or "")
        for name in node.names:
            assert hasattr(module, name.name), f"{node.module} has no {name.name}"
    if file.parent.name in ("none", "no_sync"):
        assert {"CHECKPOINT_PAGES", "connect_writer"} <= set(vars(importlib.import_module("gateway.stores.sqlite.connection")))
