"""One act on many held messages: what becomes of each, for whom it is, and its bounds (hostile-inputs catalogue W05)."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import httpx
import pytest

from gateway import inquiries, ipc, requests, review
from gateway.web import batch
from gateway.web.door import Visitor, form_token
from gateway.web.queue_pages import SAID
from tests.faces import SESSION, person
from tests.queue_kit import OTHER, another, asked, browser, keeper, post


def marked(count: int) -> list[str]:
    return [f"id-{n} REF{n}" for n in range(count)]


async def ended(web: httpx.AsyncClient, address: str) -> str:
    for _ in range(200):
        page = (await web.get(address)).text
        if "Ended:" in page:
            return page
        await asyncio.sleep(0.01)
    raise AssertionError("the batch does not end")


async def test_a_batch_goes_on_after_failures_and_says_what_became_of_each() -> None:
    def release(request: inquiries.ReleaseHeld) -> Any:
        match request.id:
            case "id-1":
                return requests.Failed("somebody else has just decided about this message; look at it again", 1)
            case "id-2":
                return requests.Failed("/var/lib/gateway/x: disk full", 3)
            case "id-3":
                raise ipc.ChannelError("keeper-web.sock: gone")
            case "id-4":
                return requests.Failed("there is no such held message", requests.ABSENT)
        return requests.Rows(({"id": request.id, "message": "approved 1 of 2"},))

    over = keeper(ReleaseHeld=release)
    web = browser(over)
    answer = await post(web, "/batch", {"item": marked(6), "action": "release", "reason": " seen  ", "f-q": "heron", "f-level": "SECRET"})
    assert answer.status_code == 303
    assert re.fullmatch(r"/batch/[\w-]{22}\?level=SECRET&q=heron", answer.headers["location"])
    page = await ended(web, answer.headers["location"])
    assert "Ended: 2 done, 4 not done." in page
    for text in ("Approved 1 of 2.", "Somebody else has just decided", "The gateway could not do this now.", "It is not known whether",
                 "There is no such held message.", "REF5", 'href="/?level=SECRET&amp;q=heron"'):  # fmt: skip
        assert text in page, text
    assert "disk full" not in page
    assert "sock" not in page
    assert "hx-trigger" not in page
    assert 'http-equiv="refresh"' not in page
    assert [one.id for one in asked(over, inquiries.ReleaseHeld)] == [f"id-{n}" for n in range(6)], "each once, in their order"
    assert {one.reason for one in asked(over, inquiries.ReleaseHeld)} == {"seen"}


@pytest.mark.parametrize(
    ("form", "request_"),
    [
        ({"action": "refuse"}, inquiries.RefuseHeld("id-0", "why")),
        ({"action": "forward", "to": "meena"}, review.ForwardHeld("id-0", "meena", "why")),
        ({"action": "level", "level": "SECRET"}, review.ReclassifyHeld("id-0", "SECRET", "why")),
    ],
)
async def test_every_act_of_a_batch_asks_its_request(form: dict[str, str], request_: Any) -> None:
    over = keeper(**{type(request_).__name__: requests.Rows(({"id": "id-0", "message": "done"},))})
    web = browser(over)
    answer = await post(web, "/batch", {"item": marked(1), "reason": "why"} | form)
    assert "All 1 done." in await ended(web, answer.headers["location"])
    assert asked(over, type(request_)) == [request_]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "none-marked"), ({"item": ["x' OR 1=1 y", "../../x y", "id-1", "x" * 5000]}, "none-marked"),
        ({"item": marked(201)}, "too-many"),
        ({"item": marked(1)}, "no-action"), ({"item": marked(1), "action": "destroy", "reason": "x"}, "no-action"),
        ({"item": marked(1), "action": "release", "reason": "  "}, "no-reason"),
        ({"item": marked(1), "action": "forward", "reason": "x"}, "no-person"),
        ({"item": marked(1), "action": "level", "reason": "x", "level": "none"}, "no-level"),
    ],
)  # fmt: skip
async def test_a_form_that_lacks_something_does_nothing_and_says_what(form: dict[str, Any], said: str) -> None:
    over = keeper()
    web = browser(over)
    answer = await post(web, "/batch", form | {"f-q": "heron"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/?q=heron&said={said}")
    assert over.asked == []
    assert SAID[said] in (await web.get(answer.headers["location"])).text


async def test_W05_a_batch_is_for_the_session_that_began_it() -> None:
    over = keeper(RefuseHeld=requests.Rows(({"id": "x", "message": "refused"},)))
    web = browser(over)
    other = another(web, OTHER)
    address = (await post(web, "/batch", {"item": marked(1), "action": "refuse", "reason": "x"})).headers["location"]
    assert "REF0" in await ended(web, address)
    strangers = await other.get(address)
    none = [await other.get(f"/batch/{id}") for id in ("A" * 22, "1", "%00", "..%2f", "x" * 5000, "१२३")]
    assert {one.status_code for one in (strangers, *none)} == {404}
    token = form_token(OTHER)
    assert {one.text.replace(token, "") for one in (strangers, *none) if "no such batch" in one.text} == {strangers.text.replace(token, "")}
    assert "REF0" not in strangers.text
    # The same person in another session is another session.
    over.sessions["a-second-session-0123456789"] = person()
    assert (await another(web, "a-second-session-0123456789").get(address)).status_code == 404


async def test_a_running_batch_shows_its_progress_with_and_without_scripts() -> None:
    gate = asyncio.Event()
    over = keeper(RefuseHeld=requests.Rows(({"id": "x", "message": "refused"},)))
    plain = over.ask

    async def ask(request: Any) -> Any:
        if isinstance(getattr(request, "request", None), inquiries.RefuseHeld) and request.request.id == "id-1":
            await gate.wait()
        return await plain(request)

    over.ask = ask  # type: ignore[method-assign]
    web = browser(over)
    address = (await post(web, "/batch", {"item": marked(3), "action": "refuse", "reason": "x"})).headers["location"]
    await asyncio.sleep(0.05)
    page = (await web.get(address)).text
    assert "1 of 3 done" in page
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page
    assert 'hx-trigger="every 1s"' in page
    assert page.count(">waiting<") == 2
    gate.set()
    assert "All 3 done." in await ended(web, address)


class Slow:
    """A keeper that answers nobody before it is let."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked = 0
        self.answer: Any = requests.Done()

    async def __call__(self, request: Any) -> tuple[Any, bytes]:
        self.asked += 1
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer, b""


def begin(jobs: batch.Batches, ask: Any, credential: str = SESSION, count: int = 3) -> batch.Job:
    targets = [batch.Target(f"id-{n}", f"REF{n}") for n in range(count)]
    return jobs.begin(Visitor(ask, credential), "refuse", targets, lambda held: inquiries.RefuseHeld(held, "x"))


async def settle(job: batch.Job) -> None:
    for _ in range(500):
        if job.ended:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("the job does not end")


async def test_a_session_has_two_batches_at_once_and_others_are_not_kept_waiting() -> None:
    jobs, slow = batch.Batches(), Slow()
    first = [begin(jobs, slow) for _ in range(batch.RUNNING)]
    with pytest.raises(batch.Busy):
        begin(jobs, slow)
    theirs = begin(jobs, slow, OTHER)
    slow.gate.set()
    for job in (*first, theirs):
        await settle(job)
    assert begin(jobs, slow)
    for count in (0, 201):
        with pytest.raises(ValueError, match="1 to 200"):
            begin(jobs, slow, count=count)


async def test_a_session_that_ends_ends_its_batch_and_a_silent_keeper_too() -> None:
    jobs, slow = batch.Batches(), Slow()
    slow.gate.set()
    slow.answer = requests.Failed("your session has ended", requests.SIGNED_OUT)
    await settle(job := begin(jobs, slow))
    assert [one.text for one in job.outcomes] == ["Not tried: your session has ended."] * 3
    assert slow.asked == 1
    slow.answer = ipc.ChannelError("gone")
    await settle(job := begin(jobs, slow, count=10))
    assert [one.text[:6] for one in job.outcomes] == ["It is "] * 3 + ["Not tr"] * 7
    slow.answer = RuntimeError("a fault of ours")
    await settle(job := begin(jobs, slow))
    assert [one.done for one in job.outcomes] == [False] * 3


async def test_old_jobs_are_forgotten_and_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, slow = batch.Batches(), Slow()
    slow.gate.set()
    first = begin(jobs, slow)
    await settle(first)
    made = []
    for n in range(batch.KEPT + 5):
        made.append(begin(jobs, slow, f"credential-{n}"))
        await settle(made[-1])
    assert len(jobs._jobs) <= batch.KEPT
    assert jobs.find(first.id, Visitor(slow, SESSION)) is None
    now = time.monotonic() + batch.KEPT_FOR + 1
    monkeypatch.setattr(batch.time, "monotonic", lambda: now)
    assert jobs.find(made[-1].id, Visitor(slow, f"credential-{batch.KEPT + 4}")) is None
    assert jobs._jobs == {}


async def test_no_credential_stays_when_a_job_has_ended() -> None:
    jobs, slow = batch.Batches(), Slow()
    slow.gate.set()
    job = begin(jobs, slow)
    await settle(job)
    await asyncio.sleep(0)
    assert SESSION not in repr(vars(job))
    assert jobs._tasks == set()
