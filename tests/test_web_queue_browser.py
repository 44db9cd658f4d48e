"""The queue in a real browser: keys, marks, a batch and its end, changes while somebody reads, hostile text, accessibility."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from gateway import inquiries, requests, review
from gateway.config import Config
from gateway.web.application import application
from tests.faces import SEALED, SESSION
from tests.queue_kit import COUNTS, ROW, keeper

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not here")]
STRINGS: list[str] = json.loads((Path(__file__).parent / "fixtures" / "naughty" / "blns.json").read_text("utf-8"))
VECTORS = [
    "<img src=x onerror=alert(1)>", "<svg><script>alert(1)</script>", "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "\"><script>alert(1)</script>", "'-alert(1)-'", "javascript:alert(1)", "<a href=javascript:alert(1)>x",
    "</table><script>alert(1)</script>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>", "<template><script>alert(1)</script></template>", "{{constructor}}",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>", "hx-on::load=alert(1)", "' hx-get='/logout'",
]  # fmt: skip


class Queue:
    """Held mail that changes."""

    def __init__(self) -> None:
        now = time.time()
        self.rows = [ROW | {"id": f"id-{900 - n}", "reference": f"REF{n}", "created": now - 9, "updated": now - 9} for n in range(8)]
        self.rows.insert(3, SEALED | {"id": "id-897b", "created": now - 9, "updated": now - 9})
        self.keeper = keeper(
            FindHeld=self.find, CountHeld=lambda _: requests.Rows((COUNTS | {"total": len(self.rows)},)), RefuseHeld=self.refuse,
            ListViews=requests.Rows(({"id": "v-1", "name": "Mine", "filter": {"levels": ["SECRET"]}},)),
        )  # fmt: skip

    def find(self, request: review.FindHeld) -> Any:
        return requests.Rows(tuple(row for row in self.rows if row["updated"] > request.changed_since)[: request.limit])

    def refuse(self, request: inquiries.RefuseHeld) -> Any:
        row = next(row for row in self.rows if row["id"] == request.id)
        if row["reference"] == "REF1":
            return requests.Failed("somebody else has just decided about this message; look at it again", 1)
        row |= {"state": "refused", "updated": time.time()}
        return requests.Rows(({"id": row["id"], "message": f"refused {row['reference']}"},))


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def address(queue: Queue) -> Iterator[str]:
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application(Config(hostname="gw.dept.gov.in"), queue.keeper.ask), log_level="error"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def browser(address: str) -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def opened(browser: Any, address: str, path: str = "/", **options: Any) -> tuple[Any, list[str]]:
    """A page, and what went wrong on it: dialogs, errors, requests to elsewhere."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
    context.add_cookies([{"name": "gateway", "value": SESSION, "url": address}])
    page, wrong = context.new_page(), []  # type: ignore[var-annotated]
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(address) else wrong.append(request.url))
    page.goto(address + path)
    return page, wrong


def test_the_queue_is_worked_with_keys_alone(browser: Any, address: str, queue: Queue) -> None:
    page, wrong = opened(browser, address)
    here = "document.querySelector('#held tr.current .item').closest('tr').id"
    assert page.is_hidden("#marks")
    page.keyboard.press("j")
    assert page.evaluate(here) == "row-id-900"
    for key in ("x", "j", "x", "ArrowDown", "ArrowDown", "x", "k", "x"):
        page.keyboard.press(key)
    assert page.evaluate(here) == "row-id-898"
    assert page.evaluate("document.activeElement.className") == "item", "the focus is on a plain link"
    assert page.inner_text("#marked") == "3 messages marked", "the sealed one takes no mark"
    page.keyboard.press("/")
    page.keyboard.type("jxr?")
    assert page.input_value("#q") == "jxr?", "keys are letters where somebody writes"
    page.keyboard.press("Tab")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    assert page.evaluate("document.getElementById('keys').open")
    page.uncheck("#keys-on")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    before = page.evaluate(here)
    page.keyboard.press("j")
    assert page.evaluate(here) == before, "single keys are off (WCAG 2.1.4)"
    page.reload()
    assert not page.is_checked("#keys-on")
    page.click("#keys-open")
    page.check("#keys-on")
    page.click("#keys-close")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    with page.expect_navigation(url="**/held/id-900"):
        page.keyboard.press("Enter")
    assert wrong == []


def test_enter_on_a_mark_opens_the_message_and_sends_no_form(browser: Any, address: str, queue: Queue) -> None:
    page, _ = opened(browser, address)
    page.check("#row-id-900 input")
    page.select_option("#action", "refuse")
    page.fill("#reason", "x")
    page.focus("#row-id-900 input")
    with page.expect_navigation(url="**/held/id-900"):
        page.keyboard.press("Enter")
    assert not any(isinstance(one, inquiries.RefuseHeld) for one in queue.keeper.asked)


def test_a_batch_ends_with_what_became_of_each_and_another_page_hears_of_it(browser: Any, address: str, queue: Queue) -> None:
    reader, wrong = opened(browser, address)
    reader.keyboard.press("j")
    reader.check("#row-id-900 input")
    where = "(row => [row.id, row.getBoundingClientRect().y])(document.activeElement.closest('tr'))"
    at = reader.evaluate(where)
    page, also = opened(browser, address)
    page.check("#mark-all")
    assert page.inner_text("#marked") == "8 messages marked"
    page.select_option("#action", "refuse")
    page.fill("#reason", "not for release")
    page.click("#marks button")
    page.wait_for_selector("text=1 of 8 was not done")
    assert page.inner_text("tbody tr:first-child").split("\t")[1:] == [
        "not done", "Somebody else has just decided about this message; look at it again.",
    ]  # fmt: skip
    reader.bring_to_front()
    reader.wait_for_selector("#news >> text=7 decided", timeout=12_000)
    assert reader.evaluate(where) == at, "nothing jumps"
    assert reader.inner_text("#state-id-900 .state") == "Refused"
    assert reader.is_disabled("#row-id-900 input")
    assert not reader.is_checked("#row-id-900 input")
    queue.rows.insert(0, ROW | {"id": "id-999", "created": time.time(), "updated": time.time()})
    reader.wait_for_selector("#news >> text=1 new, 7 decided", timeout=12_000)
    reader.click("#show")
    assert reader.inner_text("#row-id-999 .new") == "new"
    assert wrong == also == []


def test_without_scripts_the_list_is_searched_marked_and_decided(browser: Any, address: str, queue: Queue) -> None:
    page, _ = opened(browser, address, java_script_enabled=False)
    page.fill("#q", "tender")
    page.select_option("#level", "SECRET")
    page.click("text=Find")
    assert page.url == f"{address}/?q=tender&level=SECRET&rule=&department=&due=&since=&until=&sealed=&assigned="
    page.check("#row-id-900 input")
    page.select_option("#action", "refuse")
    page.fill("#reason", "not for release")
    page.click("#marks button")
    page.wait_for_selector("text=All 1 done.", timeout=10_000)
    page.click("text=Back to the list")
    assert page.url == f"{address}/?level=SECRET&q=tender"


def test_W01_no_text_of_a_message_runs_or_breaks_the_page(browser: Any, address: str, queue: Queue) -> None:
    page, wrong = opened(browser, address)
    texts = [*VECTORS, *STRINGS]
    for at in range(0, len(texts), 45):
        share, now = texts[at : at + 45], time.time()
        queue.rows = [
            ROW | {"id": f"id-{900 - n}", "subject": text, "sender": text, "recipients": [text], "tiers": {text: text}, "title": text,
                   "assigned": text, "department": text, "level": text, "created": now - 9, "updated": now - 9}
            for n, text in enumerate(share)
        ]  # fmt: skip
        page.goto(f"{address}/")
        assert page.locator("#held tbody tr").count() == len(share)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1440
        assert page.evaluate("document.querySelectorAll('#held script, #held img, #held svg, #held style, #held form').length") == 0
    assert wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_at_three_widths(browser: Any, address: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page, wrong = opened(browser, address, color_scheme=scheme)
    for path in ("/", "/?level=SECRET,CONFIDENTIAL&due=5&q=x&said=no-reason"):
        page.goto(address + path)
        page.check("#row-id-900 input")
        for width in (390, 900, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert [one["id"] for one in axe.run(page).response["violations"]] == []
    assert wrong == []
