"""The item's page over the keeper's own records, texts, pictures and rights: what it asks is what they answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import ipc, showing
from gateway.config import Limits
from gateway.inspector.drawing import Reader
from tests.content_mail import mail, scheme, zipped
from tests.faces import ORIGIN, form
from tests.item_kit import Answering, held
from tests.keeper_kit import Room
from tests.test_drawing import MARKED, PLAIN, pdf

NOTE = pdf(PLAIN, PLAIN, MARKED)
MESSAGE = mail(NOTE, "note.pdf", "application/pdf", subject="CONFIDENTIAL: the heron flies", body="Classification: RESTRICTED\nthe eagle")
LOWER = mail(pdf(PLAIN), "list.pdf", "application/pdf", subject="Papers", body="Classification: RESTRICTED\nthe eagle")


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[Answering]:
    room = await Room(tmp_path).open()
    room.config.run_dir.mkdir(parents=True, exist_ok=True)
    reader = Reader(Limits(ocr_seconds=0), scheme())

    async def handle(request: Any, body: bytes, _: ipc.Credentials) -> tuple[Any, bytes]:
        return reader.answer(request, body)

    sock = ipc.listen(room.config.run_dir / "inspector-keeper.sock")
    server = await ipc.serve(sock, showing.ShowRequest, handle, allow=lambda _: True, on_fault=lambda _: None)
    yield Answering(room)
    server.close()
    await room.close()


async def post(web: httpx.AsyncClient, id: str, act: str, **fields: Any) -> httpx.Response:
    return await web.post(f"/held/{id}/{act}", data=form(web, **fields), headers=ORIGIN)


async def actions(room: Room) -> list[str]:
    return [line["event"]["action"] for line in await room.lines()]


async def test_page_content_picture_and_download_of_a_real_message(keeper: Answering) -> None:
    row = await held(keeper.room, MESSAGE)
    web = await keeper.browser("asha", "reviewer@dept.gov.in")
    page = await web.get(f"/held/{row.reference}")
    assert page.status_code == 200
    for text in ("note.pdf", "CONFIDENTIAL: the heron flies", "Your", "Show the content", "desk@finance.nic.in"):
        assert text in page.text
    assert "content-viewed" not in await actions(keeper.room)
    content = (await web.get(f"/held/{row.id}/content")).text
    marks = re.findall(r"<mark [^>]*>([^<]+)</mark>", content)
    assert {"CONFIDENTIAL", "RESTRICTED"} <= {one.strip() for one in marks} | {one.partition(": ")[2] for one in marks}
    assert "marked words on page <a" in content
    (source,) = set(re.findall(r'src="(/held/[^"]+page=3)"', content))
    picture = await web.get(source.replace("&amp;", "&"))
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    assert (await actions(keeper.room)).count("content-viewed") == 1
    part = re.search(r"part=(\d+)", source)
    assert part
    taken = await post(web, row.id, "download", reason="court", part=part[1])
    assert taken.content == NOTE
    assert taken.headers["content-disposition"] == f'attachment; filename="{row.reference}-part-{int(part[1]) + 1}.bin"'
    assert (await post(web, row.id, "download", reason="court")).content == MESSAGE
    assert (await actions(keeper.room)).count("content-downloaded") == 2
    missing = await post(web, row.id, "download", reason=" ")
    assert missing.status_code == 400
    assert "Write a reason" in missing.text


async def test_a_part_in_an_archive_has_its_pages_too(keeper: Answering) -> None:
    row = await held(keeper.room, mail(zipped(("deep/note.pdf", NOTE)), "a.zip", "application/zip"))
    web = await keeper.browser("asha", "reviewer@*")
    content = (await web.get(f"/held/{row.id}/content")).text
    sources = re.findall(r'src="(/held/[^"]+)"', content)
    assert len(sources) == 3
    assert (await web.get(sources[2].replace("&amp;", "&"))).status_code == 200


async def test_two_people_release_through_the_page(keeper: Answering) -> None:
    row = await held(keeper.room, MESSAGE, "a@finance.nic.in", "b@finance.nic.in")
    asha, ravi = await keeper.browser("asha", "reviewer@*"), await keeper.browser("ravi", "second-approver@*")
    early = await post(ravi, row.id, "release", reason="yes", to=["a@finance.nic.in"])
    assert early.status_code == 403
    assert "A reviewer has to approve first" in early.text
    first = await post(asha, row.id, "release", reason="The court asks", to=["a@finance.nic.in"])
    assert first.headers["location"].endswith("?said=approved")
    page = (await ravi.get(f"/held/{row.id}")).text
    assert "Agree and release" in page
    assert re.findall(r'value="(\S+)" checked', page) == ["a@finance.nic.in"]
    keeper.room.now += 10
    second = await post(ravi, row.id, "release", reason="I agree", to=["a@finance.nic.in"])
    assert second.headers["location"].endswith("?said=released-some")
    assert keeper.room.relay.recipients == ["a@finance.nic.in"]
    page = (await ravi.get(second.headers["location"])).text
    for text in ("1 of 2 recipients have got it", "The court asks", "I agree", 'role="status"'):
        assert text in page
    rest = await post(asha, row.id, "refuse", reason="Not for them")
    assert rest.headers["location"].endswith(("?said=refused", "?said=refused-silent"))
    after = (await asha.get(rest.headers["location"])).text
    assert "It was refused by asha. 1 recipient had got it before." in after
    assert 'role="status"' in after


async def test_W07_release_and_refusal_at_once_have_one_winner(keeper: Answering) -> None:
    asha, ravi = await keeper.browser("asha", "reviewer@*"), await keeper.browser("ravi", "reviewer@*")
    for _ in range(10):
        row = await held(keeper.room, LOWER)
        sent = len(keeper.room.relay.recipients)
        both = await asyncio.gather(
            post(asha, row.id, "release", reason="yes", to=["desk@finance.nic.in"]), post(ravi, row.id, "refuse", reason="no")
        )
        assert sorted(one.status_code for one in both) == [303, 409]
        released = both[0].status_code == 303
        assert ("desk@finance.nic.in" in keeper.room.relay.recipients[sent:]) is released
        assert "already" in both[1 if released else 0].text or "just decided" in both[1 if released else 0].text


async def test_the_other_acts_reach_the_keeper(keeper: Answering) -> None:
    row = await held(keeper.room, LOWER)
    asha = await keeper.browser("asha", "reviewer@*")
    await keeper.browser("ravi", "reviewer@*", "second-approver@*")
    steps = [
        ("ask", {"text": "Who asked for it?"}, "asked"), ("forward", {"to": "ravi", "note": "Yours"}, "forwarded"),
        ("level", {"level": "CONFIDENTIAL", "reason": "The annex"}, "relevelled"),
        ("level", {"level": "RESTRICTED", "reason": "No, it is not"}, "level-proposed"),
        ("exception", {"sender": "so@dept.gov.in", "recipient": "desk@finance.nic.in", "approver": "ravi", "until": "2027-01-31",
                       "reason": "Court"}, "excepted"),
    ]  # fmt: skip
    for act, fields, code in steps:
        keeper.room.now += 1
        answer = await post(asha, row.id, act, **fields)
        assert (answer.status_code, answer.headers.get("location")) == (303, f"/held/{row.id}?said={code}"), answer.text
    again = await post(asha, row.id, "again")
    assert again.status_code == 200
    page = (await asha.get(f"/held/{row.id}")).text
    for text in ("Who asked for it?", "The annex", "asha</bdi> proposes", "With <bdi>ravi</bdi> to decide."):
        assert text in page


async def test_W05_another_departments_record_is_none(keeper: Answering) -> None:
    row = await held(keeper.room, MESSAGE)
    other = await keeper.browser("otto", "reviewer@home.gov.in")
    none = await other.get("/held/0198f2b0-0000-7000-8000-00000000ffff")
    for path in ("", "/content", "/page?part=1&page=1"):
        answer = await other.get(f"/held/{row.id}{path}")
        assert (answer.status_code, answer.text) == (404, none.text)
    for act in ("release", "refuse", "ask", "level", "forward", "again", "download"):
        fields = {"reason": "r", "to": "desk@finance.nic.in", "text": "t", "level": "SECRET", "note": "n"}
        assert (await post(other, row.id, act, **fields)).status_code == 404
    assert keeper.room.relay.recipients == []


async def test_a_viewer_reads_no_content(keeper: Answering) -> None:
    row = await held(keeper.room, MESSAGE)
    web = await keeper.browser("vera", "viewer@dept.gov.in")
    page = (await web.get(f"/held/{row.id}")).text
    for text in ("heron", "note.pdf", "Show the content"):
        assert text not in page
    assert (await web.get(f"/held/{row.id}/content")).status_code == 403
    assert (await post(web, row.id, "download", reason="r")).status_code == 403
