"""What a real Chromium makes of attacks in every displayed field: nothing runs, nothing is stopped by the policy because nothing was
there to stop, nothing is fetched, and the page keeps its shape. Ids of the catalogue: W01, W02."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.config import Config
from gateway.web.application import application
from tests import browser, items
from tests.hostile_pages import keeper_of, vectors

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, browser.needs_chromium]
OWN = vectors()
KNOWN: list[str] = [
    text for text in json.loads((Path(__file__).parent / "fixtures" / "naughty" / "blns.json").read_text("utf-8")) if text.strip()
]
SHARES = [OWN[at::5] for at in range(5)]
WORDS = [KNOWN[at::10] for at in range(10)]
REVIEWER, OFFICER = "session-of-the-reviewer-0123456789", "session-of-an-officer-0123456789"
PAGES = {
    "queue": "/", "queue-words": "/?q={words}", "item": f"/held/{items.ID}", "paper": f"/held/{items.ID}?print=1",
    "content": f"/held/{items.ID}/content", "account": "/account", "people": "/users", "people-words": "/users?words={words}",
    "person": "/users?name={words}", "login": "/login", "log": "/audit", "log-words": "/audit?q={words}&sender={words}&rule={words}",
    "story": f"/audit/{items.REFERENCE}", "rules": "/rules", "rules-words": "/rules?words={words}", "exceptions": "/exceptions?all=1",
    "officer": f"/officer/{'t' * 60}", "dashboard": "/dashboard?department={words}",
}  # fmt: skip
FOREIGN = """() => {
  const bad = [];
  const known = new Set((
    'html head meta title link body a header img span nav form input button main div h1 h2 h3 h4 p ul ol li dl dt dd section aside ' +
    'article details summary fieldset legend label select option textarea table caption thead tbody tr th td code bdi mark time figure ' +
    'figcaption strong em small br wbr hr script template dialog kbd output datalist meter progress svg path g rect line polyline ' +
    'polygon circle text tspan title desc abbr footer').split(' '));
  const leads = ['href', 'src', 'action', 'formaction', 'hx-get', 'hx-post', 'poster', 'xlink:href'];
  for (const one of document.querySelectorAll('*')) {
    const name = one.localName;
    if (!known.has(name)) bad.push('element ' + name);
    if (name === 'script' && !/^\\/static\\/[a-z.]+\\.js$/.test(one.getAttribute('src') || '')) bad.push('script ' + one.outerHTML);
    for (const {name: attribute, value} of one.attributes) {
      if (/^on|^hx-on|^style$|^srcdoc$/.test(attribute)) bad.push(attribute + '=' + value);
      if (leads.includes(attribute) && !/^[/#?](?!\\/)/.test(value)) bad.push(attribute + '=' + value);
    }
  }
  return bad.slice(0, 5);
}"""
"""Elements, attributes and addresses that none of our templates writes."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as one:
        yield one


def harmless(tab: browser.Tab, path: str) -> None:
    """What is open in *tab* is our page and nothing but our page."""
    found = tab.page.evaluate(FOREIGN)
    assert found == [], (path, found)
    assert tab.quiet, (path, tab.report())


def opened(tab: browser.Tab) -> None:
    """Everything folded is unfolded, and the pointer was everywhere."""
    tab.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    tab.page.mouse.move(200, 200)
    tab.page.mouse.move(800, 600)
    tab.page.keyboard.press("Tab")


def looked_at(chromium: Browser, given: list[str], names: Iterable[str]) -> None:
    """Opens the pages *names* of a keeper that says *given* everywhere."""
    words = "%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E{{7*7}}"
    with (
        browser.served(application(Config(hostname="gw.dept.gov.in"), keeper_of(given).ask)) as base,
        browser.tab(chromium, base, width=390, session=REVIEWER) as tab,
    ):
        wide = {}
        for name in names:
            answer = tab.page.goto(PAGES[name].replace("{words}", words))
            assert answer is not None
            assert answer.status == 200 or name == "person", name  # whose name no person can have
            opened(tab)
            harmless(tab, name)
            wide[name] = browser.sticks_out(tab.page)
        assert not any(wide.values()), {name: found for name, found in wide.items() if found}


@pytest.mark.parametrize("given", SHARES, ids=[f"share-{n}" for n in range(len(SHARES))])
def test_W01_nothing_of_a_message_runs_on_any_page(chromium: Browser, given: list[str]) -> None:
    looked_at(chromium, given, PAGES)


@pytest.mark.parametrize("given", WORDS, ids=[f"share-{n}" for n in range(len(WORDS))])
def test_W01_nothing_of_the_naughty_strings_runs(chromium: Browser, given: list[str]) -> None:
    looked_at(chromium, given, ("queue", "item", "content"))


def shown(tab: browser.Tab) -> str:
    """All text of the page."""
    return str(tab.page.evaluate("document.documentElement.textContent"))


def test_W01_nothing_runs_on_the_list_of_an_officer(chromium: Browser) -> None:
    for given in SHARES:
        with (
            browser.served(application(Config(hostname="gw.dept.gov.in"), keeper_of(given).ask)) as base,
            browser.tab(chromium, base, width=390, session=OFFICER) as tab,
        ):
            tab.page.goto("/officer")
            harmless(tab, "officer's list")
            assert browser.sticks_out(tab.page) == []


def test_W01_the_attack_is_shown_as_text(chromium: Browser) -> None:
    given = ["<script>alert(1)</script>", "{{7*7}}", "a\u202egpj.exe"]
    with (
        browser.served(application(Config(hostname="gw.dept.gov.in"), keeper_of(given).ask)) as base,
        browser.tab(chromium, base, session=REVIEWER) as tab,
    ):
        for name in ("queue", "item", "content", "people", "log", "rules", "exceptions", "officer"):
            tab.page.goto(PAGES[name])
            text = shown(tab)
            assert "<script>alert(1)</script>" in text, name
            assert "{{7*7}}" in text, name
            assert "\u202e" not in text, name
            assert "[U+202E]" in text, name


def test_W01_what_is_typed_comes_back_as_text(chromium: Browser) -> None:
    given = SHARES[0]
    with (
        browser.served(application(Config(hostname="gw.dept.gov.in"), keeper_of(given).ask)) as base,
        browser.tab(chromium, base, session=REVIEWER) as tab,
    ):
        for text in ('"><script>alert(1)</script>', "</textarea><img src=x onerror=alert(1)>", "{{7*7}}"):
            tab.page.goto(PAGES["item"])
            opened(tab)
            tab.page.fill("#refuse-reason", text)
            tab.page.click("#acts form[action$='/refuse'] button")
            assert tab.page.input_value("#refuse-reason") == text
            harmless(tab, "refused")


def test_W02_content_that_htmx_puts_in_is_text_too(chromium: Browser) -> None:
    for given in SHARES:
        with (
            browser.served(application(Config(hostname="gw.dept.gov.in"), keeper_of(given).ask)) as base,
            browser.tab(chromium, base, session=REVIEWER) as tab,
        ):
            tab.page.goto(PAGES["item"])
            tab.page.click("text=Show the content")
            tab.page.wait_for_selector("text=This look was recorded")
            opened(tab)
            harmless(tab, "content within the page")


def test_a_page_with_a_script_in_it_is_noticed(chromium: Browser) -> None:
    """That these tests see what they look for."""

    async def careless(scope: Any, receive: Any, send: Any) -> None:
        body = b"<title>x</title><main><img src=http://192.0.2.1/a.png><p onclick='alert(1)'>x</p><script>alert(1)</script></main>"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": body})

    with browser.served(careless) as base, browser.tab(chromium, base) as tab:
        tab.page.goto("/")
        assert tab.dialogs == ["1"]
        assert "http://192.0.2.1/a.png" in tab.elsewhere
        assert len(tab.page.evaluate(FOREIGN)) == 3
