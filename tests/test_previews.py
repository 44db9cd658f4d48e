"""The content of held mail for people: who may see it, what stands in the log, what the inspector is believed. W02, W05, W09."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from gateway import ipc, showing
from gateway.config import Limits
from gateway.inspector.drawing import Reader
from gateway.keeper import content_rows, previews
from gateway.keeper.access import Absent, Forbidden, Who
from gateway.keeper.exceptions import Wrong
from gateway.keeper.held import HeldMail
from gateway.keeper.inspecting import InspectorLink
from gateway.keeper.previews import Previews
from gateway.keeper.recent import Recent
from gateway.levels import Level
from gateway.requests import ABSENT, FORBIDDEN
from gateway.review import DownloadLeaf, ShowContent, ShowPage
from gateway.roles import Act, Grant, Role
from gateway.showing import Drawn, Mark, NotDone, Passage, Show, Shown, ShowRequest
from gateway.stores.base import Batch, HoldRow, HoldState, HoldUpdate
from gateway.verdict import Disposition, Leaf, LeafState, Zone
from tests.content_mail import mail, scheme, zipped
from tests.keeper_kit import Room, recipient, transaction, verdict
from tests.test_drawing import HINDI_PDF, MARKED, PLAIN, pdf

Answer = Callable[[ShowRequest, bytes], tuple[Any, bytes]]
NOTE = pdf(PLAIN, PLAIN, MARKED)
MESSAGE = mail(NOTE, "note.pdf", "application/pdf", subject="CONFIDENTIAL: the heron flies", body="Classification: RESTRICTED\nthe eagle")


def person(role: Role = Role.REVIEWER, department: str = "dept.gov.in", **more: Any) -> Who:
    return Who("asha", "asha@dept.gov.in", grants=(Grant(role, department),), session=b"s1", client_ip="10.1.1.1", **more)


class Inspector:
    """An inspector behind a real socket, in this process: counts what it is asked, and may be told to lie."""

    def __init__(self) -> None:
        self.asked: list[ShowRequest] = []
        self.lie: Answer | None = None
        self.reader = Reader(Limits(ocr_seconds=0), scheme())

    async def handle(self, request: ShowRequest, body: bytes, _: ipc.Credentials) -> tuple[Any, bytes]:
        self.asked.append(request)
        return (self.lie or self.reader.answer)(request, body)


class Desk:
    """The keeper's parts, with one held message."""

    def __init__(self, room: Room, inspector: Inspector, hold: HoldRow) -> None:
        self.room, self.inspector, self.hold = room, inspector, hold
        self.now = 0.0
        self.mail = HeldMail(room.config, room.store, room.vault, lambda: room.now)
        self.previews = Previews(self.mail, InspectorLink(room.config), lambda: room.policy, lambda: self.now)

    async def content(self, who: Who | None = None) -> dict[str, Any]:
        answer = await self.previews.table()[ShowContent][1](ShowContent(self.hold.id), who or person())
        json.dumps(answer.rows[0])  # nothing in it that could not stand in JSON
        return answer.rows[0]  # type: ignore[no-any-return]

    async def page(self, page: int = 3, path: str = "2:note.pdf", who: Who | None = None) -> tuple[dict[str, Any], bytes]:
        rows, octets = await self.previews.table()[ShowPage][1](ShowPage(self.hold.id, path, page), who or person())
        return rows.rows[0], octets

    async def download(self, path: str = "", reason: str = "to look closer", who: Who | None = None) -> tuple[dict[str, Any], bytes]:
        rows, octets = await self.previews.table()[DownloadLeaf][1](DownloadLeaf(self.hold.id, path, reason), who or person())
        return rows.rows[0], octets

    async def log(self, *actions: str) -> list[dict[str, Any]]:
        return [line for line in await self.room.lines() if line["event"]["action"] in actions]


async def hold(room: Room, message: bytes = MESSAGE, **changes: Any) -> HoldRow:
    tx = transaction(content=message)
    await room.commit(tx, verdict(room.version, recipient("desk@finance.nic.in", Disposition.HOLD), **changes), message)
    (row,) = [one for one in await room.store.holds() if one.message_id == tx.id]
    return row


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    room = await Room(tmp_path).open()
    inspector = Inspector()
    room.config.run_dir.mkdir(parents=True, exist_ok=True)
    sock = ipc.listen(room.config.run_dir / "inspector-keeper.sock")
    server = await ipc.serve(sock, showing.ShowRequest, inspector.handle, allow=lambda _: True, on_fault=lambda _: None)
    yield Desk(room, inspector, await hold(room))
    server.close()
    await room.close()


# --- what is shown --------------------------------------------------------------------------------------------------------


async def test_content_with_marks_in_their_places(desk: Desk) -> None:
    row = await desk.content()
    assert row["subject"] == "CONFIDENTIAL: the heron flies"
    assert row["subject_marks"] == [[0, 12, "CONFIDENTIAL", "certain"]]
    assert ["From", "a@example.gov.in"] in row["headers"]
    assert {name for name, _ in row["headers"]} <= {"From", "To", "Subject"}
    body, note = row["leaves"]
    assert (body["path"], note["path"], note["name"], note["media_type"]) == ("1", "2:note.pdf", "note.pdf", "application/pdf")
    assert (body["pages"], note["pages"]) == (0, 3)
    assert (note["state"], note["protection"]["state"], note["level"], body["level"]) == ("inspected", "none", "CONFIDENTIAL", "RESTRICTED")
    words = [(one["page"], one["text"][mark[0] : mark[1]], *mark[2:]) for one in note["segments"] for mark in one["marks"]]
    assert words == [(3, "CONFIDENTIAL", "CONFIDENTIAL", "certain")]
    assert (body["cut"], note["cut"]) == ("", "")


async def test_a_page_is_a_picture_and_comes_from_memory_the_second_time(desk: Desk) -> None:
    row, octets = await desk.page()
    assert octets.startswith(showing.PNG)
    assert row == {"media_type": "image/png", "pages": 3, "width": 909, "height": 1286, "boxes": 1}
    assert (await desk.page())[1] == octets
    assert len(desk.inspector.asked) == 1
    await desk.content()
    await desk.content()
    assert len(desk.inspector.asked) == 2
    desk.now += previews.KEEP + 1
    await desk.page()
    assert len(desk.inspector.asked) == 3


async def test_other_rules_are_other_pictures(desk: Desk) -> None:
    await desk.page()
    desk.room.policy = replace(desk.room.policy, version="other")
    await desk.page()
    assert len(desk.inspector.asked) == 2


async def test_hindi_in_a_document(desk: Desk) -> None:
    desk.hold = await hold(desk.room, mail(HINDI_PDF.read_bytes(), "note.pdf"))
    note = (await desk.content())["leaves"][1]
    assert {one["text"][mark[0] : mark[1]] for one in note["segments"] for mark in one["marks"]} == {"गोपनीय"}


async def test_what_was_found_then_is_marked_though_it_is_not_found_now(desk: Desk) -> None:
    """The keyed hash of the words proves the place; a place whose words are others is not marked."""
    content = (await desk.content())["leaves"][1]["segments"]
    index = next(place for place, one in enumerate(content) if "committee met" in one["text"])
    offset = sum(len(one["text"]) + 1 for one in content[:index]) + content[index]["text"].index("committee met")
    known = {"path": "2:note.pdf", "offset": offset, "length": 13, "level": "SECRET", "confidence": "certain"}
    shown = desk.previews._recent.get(("text", desk.hold.sha256, desk.room.policy.version))
    assert shown is not None
    item = await desk.mail.item(desk.hold.id, person())
    for words, expected in (("committee met", ["committee met"]), ("committee MET", [])):
        details = structs.replace(item.details, evidence=(known | {"words": desk.room.vault.words_hash(words)},))
        row = content_rows.row(shown, MESSAGE, details, desk.room.vault.words_hash)
        marks = [one["text"][m[0] : m[1]] for one in row["leaves"][1]["segments"] for m in one["marks"] if m[2] == "SECRET"]
        assert marks == expected


async def test_a_cut_is_told_in_a_sentence(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.inspector.drawing.MOST_OF_A_LEAF", 30)
    monkeypatch.setattr("gateway.inspector.drawing.MOST_IN_ALL", 40)
    body, note = (await desk.content())["leaves"]
    assert body["cut"] == content_rows.CUT
    assert note["cut"] in (content_rows.CUT, content_rows.NOT_SHOWN)


async def test_label_fields_are_shown_decoded(desk: Desk) -> None:
    labelled = b"X-Classification: RESTRICTED\r\nReceived: from x\r\nTo: =?utf-8?b?4KSX4KWL4KSq?= <c@example.gov.in>\r\n" + MESSAGE
    desk.hold = await hold(desk.room, labelled)
    headers = [tuple(one) for one in (await desk.content())["headers"]]
    assert ("X-Classification", "RESTRICTED") in headers
    assert ("To", "गोप <c@example.gov.in>") in headers
    assert "Received" not in dict(headers)


# --- downloads ------------------------------------------------------------------------------------------------------------


async def test_W09_downloads_have_a_fixed_name_and_are_in_the_log_first(desk: Desk) -> None:
    row, octets = await desk.download()
    assert octets == MESSAGE
    assert row == {
        "name": f"{desk.hold.reference}.eml", "media_type": "application/octet-stream", "size": len(MESSAGE),
        "sha256": hashlib.sha256(MESSAGE).hexdigest(),
    }  # fmt: skip
    row, octets = await desk.download("2:note.pdf")
    assert octets == NOTE
    assert row["name"] == f"{desk.hold.reference}-part.bin"
    whole, part = await desk.log("content-downloaded")
    assert whole["event"]["reason"] == "to look closer"
    assert whole["user"]["name"] == "asha"
    assert whole["event"]["type"] == ["access"]
    assert whole["gateway"]["act"]["content_sha256"] == hashlib.sha256(MESSAGE).hexdigest()
    assert whole["gateway"]["act"]["path_hash"] == ""
    assert part["gateway"]["act"]["path_hash"] == desk.room.vault.words_hash("2:note.pdf")
    assert part["gateway"]["act"]["content_sha256"] == hashlib.sha256(NOTE).hexdigest()
    assert "note.pdf" not in json.dumps(part)


async def test_a_download_needs_a_reason_and_a_part_that_is_there(desk: Desk) -> None:
    with pytest.raises(Wrong, match="write a reason"):
        await desk.download(reason="  ")
    for path in ("9", "../x", "x" * 100_000):
        with pytest.raises(Wrong, match="no such part"):
            await desk.download(path)
    assert await desk.log("content-downloaded") == []


async def test_nothing_is_given_that_could_not_be_written_down(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_: Batch) -> None:
        raise Wrong("no", 3)

    monkeypatch.setattr(desk.mail, "write", fails)
    for asked in (desk.content(), desk.page(), desk.download()):
        with pytest.raises(Wrong, match="no"):
            await asked


# --- who may --------------------------------------------------------------------------------------------------------------


async def test_viewing_is_in_the_log_once_in_ten_minutes_for_each_session_and_item(desk: Desk) -> None:
    await desk.content()
    await desk.page()
    await desk.page(2)
    (line,) = await desk.log("content-viewed")
    assert line["event"]["type"] == ["access"]
    assert line["gateway"]["act"]["client_ip"] == "10.1.1.1"
    await desk.content(replace(person(), session=b"s2"))
    assert len(await desk.log("content-viewed")) == 2
    desk.now += previews.VIEWED
    await desk.content()
    assert len(await desk.log("content-viewed")) == 3
    assert len(desk.previews._viewed) == 1


@pytest.mark.parametrize("role", Role)
async def test_W05_only_with_the_right_in_this_department(desk: Desk, role: Role) -> None:
    permitted = role in (Role.REVIEWER, Role.APPROVER, Role.AUDITOR)
    for asked in (desk.content, desk.page, desk.download):
        here, elsewhere = person(role), person(role, "other.gov.in")
        if permitted:
            await asked(who=here)
        else:
            with pytest.raises(Forbidden if role is Role.VIEWER else Absent) as refused:
                await asked(who=here)
            assert refused.value.code in (ABSENT, FORBIDDEN)
        with pytest.raises(Absent) as absent:
            await asked(who=elsewhere)
        known = desk.hold
        desk.hold = structs.replace(known, id="0198f2b0-0000-7000-8000-00000000ffff")
        with pytest.raises(Absent) as none:
            await asked(who=elsewhere)
        assert (str(none.value), none.value.code) == (str(absent.value), absent.value.code)
        desk.hold = known
    with pytest.raises((Absent, Forbidden)):
        await desk.content(replace(person(), scopes=frozenset({Act.LIST})))


async def test_of_sealed_mail_nothing_is_shown(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = structs.replace(desk.hold, sealed=True)

    async def row(*_: Any) -> HoldRow:
        return sealed

    monkeypatch.setattr(desk.mail, "row", row)
    for asked in (desk.content(), desk.page(), desk.download(), desk.download("2:note.pdf")):
        with pytest.raises(Wrong, match="sealed to the security officer"):
            await asked
    assert desk.inspector.asked == []
    assert await desk.log("content-viewed", "content-downloaded") == []


async def test_of_a_finished_message_nothing_is_left_not_even_in_memory(desk: Desk) -> None:
    await desk.page()
    await desk.content()
    change = HoldUpdate(desk.hold.id, (HoldState.HELD,), HoldState.REFUSED, desk.room.now)
    await desk.room.store.write(Batch(hold_updates=[change]))
    for asked in (desk.page(), desk.content(), desk.download()):
        with pytest.raises(Wrong, match="destroyed"):
            await asked


async def test_content_that_is_not_the_record_s_is_not_shown(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    true_row = desk.mail.row

    async def row(id: str, who: Who, act: Act = Act.LIST) -> HoldRow:
        return structs.replace(await true_row(id, who, act), sha256="00" * 32)

    monkeypatch.setattr(desk.mail, "row", row)
    with pytest.raises(Wrong, match="not that of this held message"):
        await desk.content()
    assert desk.inspector.asked == []


# --- what the inspector is believed -----------------------------------------------------------------------------------------


async def test_an_inspector_that_is_not_there_is_our_fault(desk: Desk) -> None:
    (desk.room.config.run_dir / "inspector-keeper.sock").unlink()
    for asked in (desk.content(), desk.page(), desk.download("2:note.pdf")):
        with pytest.raises(Wrong, match="does not answer") as refused:
            await asked
        assert refused.value.code == 3
    assert (await desk.download())[1] == MESSAGE  # the whole message needs nobody


async def test_W02_answers_for_another_question_are_void(desk: Desk) -> None:
    def other(**changes: Any) -> Answer:
        def answer(request: ShowRequest, body: bytes) -> tuple[Any, bytes]:
            said, octets = desk.inspector.reader.answer(request, body)
            return structs.replace(said, **changes), octets

        return answer

    def kind(request: ShowRequest, _: bytes) -> tuple[Any, bytes]:
        return Drawn(request.nonce, request.sha256, 1, 1, 1) if isinstance(request, Show) else showing.Taken(
            request.nonce, request.sha256
        ), b""  # fmt: skip

    for lie in (other(nonce="x"), other(sha256="00" * 32), kind):
        desk.inspector.lie = lie
        for asked in (desk.content(), desk.page()):
            with pytest.raises(Wrong, match="does not answer") as refused:
                await asked
            assert refused.value.code == 3
    assert await desk.log("content-viewed") == []


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"<html><script>alert(1)</script></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a" + b"\0" * 100,
        showing.PNG,
        showing.PNG + b"\0\0\0\rIHDR" + (70_000).to_bytes(4) + (1).to_bytes(4),
        showing.PNG + b"\0\0\0\rIHDR" + (1).to_bytes(4) + (2).to_bytes(4),
        showing.PNG + b"\0\0\0\rIEND" + (1).to_bytes(4) + (1).to_bytes(4),
    ],
)
async def test_W02_only_a_picture_of_the_size_that_was_said_is_handed_on(desk: Desk, octets: bytes) -> None:
    desk.inspector.lie = lambda request, _: (Drawn(request.nonce, request.sha256, 1, 1, 1), octets)
    with pytest.raises(Wrong, match="does not answer"):
        await desk.page()


async def test_a_picture_over_the_cap_ends_the_connection(desk: Desk) -> None:
    huge = showing.PNG + b"\0\0\0\rIHDR" + (1).to_bytes(4) + (1).to_bytes(4) + bytes(showing.LARGEST_PICTURE)
    desk.inspector.lie = lambda request, _: (Drawn(request.nonce, request.sha256, 1, 1, 1), huge)
    with pytest.raises(Wrong, match="ended the process"):
        await desk.page()
    assert len(desk.inspector.asked) == 2


async def test_the_inspector_s_own_words_are_never_repeated(desk: Desk) -> None:
    desk.inspector.lie = lambda request, _: (NotDone(request.nonce, request.sha256, "<b>call this number</b>"), b"")
    with pytest.raises(Wrong) as refused:
        await desk.page()
    assert str(refused.value) == showing.REASONS["draw"]


async def test_marks_that_cannot_be_are_left_out(desk: Desk) -> None:
    marks = (
        Mark(0, 5, 3, "certain"), Mark(3, 9, 3, "certain"), Mark(-1, 2, 3, "certain"), Mark(5, 5, 3, "certain"), Mark(6, 99, 3, "certain"),
        Mark(6, 8, 77, "certain"), Mark(6, 8, 3, "<script>"),
    )  # fmt: skip

    def lie(request: ShowRequest, _: bytes) -> tuple[Any, bytes]:
        leaf = Leaf("1", "", "text/html", 10, LeafState.INSPECTED)
        passage = Passage("1", Zone.BODY, -7, "ten chars.", marks)
        return Shown(request.nonce, request.sha256, (leaf,), (passage, Passage("unknown", Zone.BODY, 0, "x")), pages=(("1", 99),)), b""

    desk.inspector.lie = lie
    (leaf,) = (await desk.content())["leaves"]
    assert leaf["segments"] == [{"zone": "body", "page": 0, "text": "ten chars.", "marks": [[0, 5, Level.SECRET.text, "certain"]]}]
    assert leaf["pages"] == 0


async def test_more_text_than_agreed_is_void(desk: Desk) -> None:
    passages = (Passage("1", Zone.BODY, 0, "x" * (showing.MOST_IN_ALL + 1)),)
    desk.inspector.lie = lambda request, _: (Shown(request.nonce, request.sha256, (), passages), b"")
    with pytest.raises(Wrong, match="does not answer"):
        await desk.content()


async def test_few_requests_are_under_way_at_once(desk: Desk) -> None:
    most = now = 0

    async def slowly(request: ShowRequest, body: bytes, peer: ipc.Credentials) -> tuple[Any, bytes]:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return desk.inspector.reader.answer(request, body)

    (desk.room.config.run_dir / "inspector-keeper.sock").unlink()
    sock = ipc.listen(desk.room.config.run_dir / "inspector-keeper.sock")
    server = await ipc.serve(sock, showing.ShowRequest, slowly, allow=lambda _: True, on_fault=lambda _: None)
    await asyncio.gather(*(desk.page(number) for number in (1, 2, 3)), desk.content(), desk.download("2:note.pdf"))
    server.close()
    assert most <= max(1, desk.room.config.limits.inspectors // 2)


async def test_pages_that_are_not_there(desk: Desk) -> None:
    for page in (0, 4, -1, 10**9):
        with pytest.raises(Wrong, match="no such page"):
            await desk.page(page)
    with pytest.raises(Wrong, match="no such part"):
        await desk.page(1, "9")
    with pytest.raises(Wrong, match="only pages of PDF"):
        await desk.page(1, "1")


async def test_a_page_in_an_archive_in_an_archive(desk: Desk) -> None:
    desk.hold = await hold(desk.room, mail(zipped(("b.zip", zipped(("note.pdf", NOTE)))), "a.zip"))
    paths = {leaf["path"]: leaf["pages"] for leaf in (await desk.content())["leaves"]}
    assert paths["2:a.zip/b.zip/note.pdf"] == 3
    row, _ = await desk.page(3, "2:a.zip/b.zip/note.pdf")
    assert row["boxes"] == 1


# --- what is kept in memory -------------------------------------------------------------------------------------------------


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    now = 0.0
    recent: Recent[str] = Recent(100, 10.0, lambda: now)
    for number in range(10):
        recent.put(number, "x", 20)
        recent.get(5)
    assert recent.octets == 100
    assert [recent.get(number) for number in (0, 5, 6, 9)] == [None, "x", "x", "x"]
    recent.put("big", "x", 26)
    assert recent.get("big") is None
    recent.put(9, "y", 10)
    assert (recent.get(9), recent.octets) == ("y", 90)
    now = 10.0
    assert recent.get(9) is None
    assert recent.octets == 0
