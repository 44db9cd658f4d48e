"""Every page with the rows of a busy day, in a real browser at three widths, light and dark: nothing sticks out of the window, and
axe-core finds nothing against WCAG 2.1 A and AA. The pictures are kept in ``.screenshots`` for people to look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from gateway.web.application import application
from tests import browser, items, looks_rows

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), browser.needs_chromium]
PAGES = {
    "login": ("/login", ""), "queue": ("/", "reviewer"), "queue-found": ("/?q=orders&level=CONFIDENTIAL", "reviewer"),
    "item": (f"/held/{items.ID}", "reviewer"), "content": (f"/held/{items.ID}/content", "reviewer"),
    "item-approved": ("/held/0198f2b0-0000-7000-8000-000000000007", "reviewer"),
    "item-sealed": (f"/held/{items.SEALED_ITEM['id']}", "reviewer"), "account": ("/account", "reviewer"), "people": ("/users", "reviewer"),
    "person": ("/users?name=ravi", "reviewer"), "audit": ("/audit", "reviewer"), "rules": ("/rules", "reviewer"),
    "exceptions": ("/exceptions", "reviewer"), "officer": (f"/officer/{looks_rows.LINK}", ""),
    "officer-hindi": (f"/officer/{looks_rows.LINK}?lang=hi", ""), "officer-sign": ("/officer", ""), "officer-list": ("/officer", "officer"),
    "missing": ("/held/none", "reviewer"), "dashboard": ("/dashboard", "reviewer"),
}  # fmt: skip
SESSIONS = {"": "", "reviewer": looks_rows.REVIEWER, "officer": looks_rows.OFFICER}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as one:
        yield one


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with browser.served(application(looks_rows.config(), looks_rows.keeper().ask)) as address:
        yield address


def look(page: Page, name: str, width: int, dark: bool) -> list[str]:
    """What is wrong with what is open; it is kept as a picture."""
    browser.PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=browser.PICTURES / f"{name}-{width}-{'dark' if dark else 'light'}.png", full_page=True)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    return [*browser.violations(page), *(f"sticks out at {width}: {one}" for one in browser.sticks_out(page))]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_use_every_page_at_every_width(chromium: Browser, base: str, name: str, dark: bool) -> None:
    path, who = PAGES[name]
    with browser.tab(chromium, base, dark=dark, session=SESSIONS[who]) as tab:
        answer = tab.page.goto(path)
        assert answer is not None
        assert answer.status == (404 if name == "missing" else 200)
        wrong = []
        for width in browser.WIDTHS:
            tab.page.set_viewport_size({"width": width, "height": 900})
            wrong += look(tab.page, name, width, dark)
            tab.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = false })")
        assert wrong == []
        assert tab.quiet, tab.report()


def test_a_batch_says_what_became_of_each(chromium: Browser, base: str) -> None:
    with browser.tab(chromium, base, session=looks_rows.REVIEWER) as tab:
        page = tab.page
        page.goto("/")
        boxes = page.locator("input[name=item]")
        for place in range(3):
            boxes.nth(place).check()
        page.locator("#action").select_option("release")
        page.locator("#reason").fill("Checked with the department")
        page.get_by_role("button", name="Do it").click()
        page.wait_for_url("**/batch/**")
        page.get_by_text("Ended:").wait_for()
        assert page.get_by_text("somebody else was first", exact=False).count() >= 1
        for width in browser.WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert look(page, "batch", width, False) == []


def focused(page: Page) -> str:
    """The element that has the keyboard."""
    return str(page.evaluate("document.activeElement.outerHTML.slice(0, 300)"))


def test_a_release_needs_no_mouse(chromium: Browser, base: str) -> None:
    with browser.tab(chromium, base, session=looks_rows.REVIEWER) as tab:
        page = tab.page
        page.goto("/")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/held/*")
        for _ in range(120):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.matches('#acts summary') && document.activeElement.textContent.includes('elease')"):
                break
        else:
            raise AssertionError(f"the release is not reached by the keyboard: {focused(page)}")
        if not page.evaluate("document.activeElement.parentElement.open"):
            page.keyboard.press("Enter")
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.name === 'to'"):
                page.keyboard.press("Space")
            if page.evaluate("document.activeElement.id === 'release-reason'"):
                break
        page.keyboard.type("Checked with the section")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.get_by_text("Somebody else was first").first.wait_for()
        assert page.input_value("#release-reason") == "Checked with the section", "nothing that was typed is lost"
