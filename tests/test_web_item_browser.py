"""The item's page in a real Chromium: at three widths, by keyboard, without scripts, on paper; nothing is fetched from outside (W02)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pypdfium2
import pytest

from gateway import requests
from gateway.config import Config
from gateway.web.application import application
from tests import browser
from tests.faces import SEALED, person
from tests.items import APPROVED, ID, ITEM, SEALED_ITEM, keeper_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, browser.needs_chromium]
SESSION = "session-of-the-reviewer-0123456789"
STATES: dict[str, tuple[dict[str, Any], str]] = {
    "held": (ITEM, f"/held/{ID}"), "approved": (APPROVED, f"/held/{ID}"), "sealed": (SEALED_ITEM, f"/held/{SEALED['id']}"),
    "content": (ITEM, f"/held/{ID}/content"), "paper": (ITEM, f"/held/{ID}?print=1"), "done": (ITEM, f"/held/{ID}?said=asked"),
}  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as one:
        yield one


def serve(item: dict[str, Any], **more: Any) -> Any:
    keeper = keeper_of(item)
    keeper.answers |= more.pop("answers", {})
    keeper.sessions[SESSION] = person("reviewer")
    return application(Config(hostname="gw.dept.gov.in"), keeper.ask)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", STATES)
def test_everybody_can_use_it_at_every_width(chromium: Browser, name: str, dark: bool) -> None:
    item, path = STATES[name]
    with browser.served(serve(item)) as base:
        for width in (1440,) if dark else browser.WIDTHS:
            with browser.tab(chromium, base, width=width, dark=dark, session=SESSION) as tab:
                tab.page.goto(path)
                tab.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
                assert browser.violations(tab.page) == []
                assert browser.sticks_out(tab.page) == []
                assert tab.quiet, tab.report()


def test_W02_the_content_comes_into_the_page_and_marks_are_reached_by_keys(chromium: Browser) -> None:
    with browser.served(serve(ITEM)) as base, browser.tab(chromium, base, session=SESSION) as tab:
        asked: list[str] = []
        tab.page.on("request", lambda one: asked.append(one.url.removeprefix(base)))
        tab.page.goto(f"/held/{ID}")
        assert not [one for one in asked if "/content" in one or "/page" in one]
        tab.page.click("text=Show the content")
        tab.page.wait_for_selector("#mark-4", state="attached")
        assert tab.page.url.endswith(f"/held/{ID}")
        reached = []
        for key in ("n", "n", "n", "n", "n", "p", "p"):
            tab.page.keyboard.press(key)
            reached.append(tab.page.evaluate("document.activeElement.id"))
        assert reached == ["mark-1", "mark-2", "mark-3", "mark-4", "mark-1", "mark-4", "mark-3"]
        assert tab.page.is_visible("#mark-3"), "what is folded opens"
        assert browser.violations(tab.page) == []
        assert tab.quiet, tab.report()
        ours = ("/static/", f"/held/{ID}")
        assert all(one.startswith(ours) for one in asked), asked


def test_without_scripts_everything_is_done_with_links_and_forms(chromium: Browser) -> None:
    message = "released X to 1 recipient; 2 still held"
    app = serve(ITEM | {"released": ["a@nic.in"]}, answers={requests.ReleaseHeld: requests.Rows(({"id": ID, "message": message},))})
    with browser.served(app) as base, browser.tab(chromium, base, script=False, session=SESSION) as tab:
        tab.page.goto(f"/held/{ID}")
        tab.page.click("text=Show the content")
        assert tab.page.url.endswith("/content")
        assert tab.page.is_visible("#mark-2")
        tab.page.click("text=Back to the message")
        tab.page.click("#acts summary:text-is('Release')")
        tab.page.check("input[name=to][value='b@gov.in']")
        tab.page.fill("#release-reason", "The court asks")
        tab.page.click("#acts form[action$='/release'] button")
        assert tab.page.url.endswith("said=released-some")
        assert "Released to those you chose." in tab.page.inner_text("[role=status]")


def test_on_paper_nothing_is_folded_and_no_button_stands(chromium: Browser, tmp_path: Path) -> None:
    with browser.served(serve(ITEM)) as base, browser.tab(chromium, base, session=SESSION, dark=True) as tab:
        for place, path in enumerate((f"/held/{ID}", f"/held/{ID}?print=1")):
            tab.page.goto(path)
            file = tmp_path / f"{place}.pdf"
            tab.page.pdf(path=str(file), format="A4")
            document = pypdfium2.PdfDocument(file)
            text = " ".join(page.get_textpage().get_text_bounded() for page in document)
            for words in ("The attachment is not encrypted.", "SECRET may not be sent", "Who asked for this?", "TLS_AES_256_GCM_SHA384"):
                assert words in text, words
            assert "Sign out" not in text
            assert "What can be done" not in text
            assert len(document) <= 4
