"""Debian's Chromium, driven by Playwright, and a web application on a port of loopback for it.

What it is: ``chromium`` (a browser that reaches 127.0.0.1 and nothing else), ``Tab`` (a page, and everything that it did behind the
back of whoever looks at it), ``served`` (an application in a thread of its own), ``violations`` (axe-core, WCAG 2.1 A and AA).
Who calls it: the tests that need to see what a browser makes of a page; ``needs_chromium`` skips them by name where there is none.
Must never: reach another host; use a browser that a package index brought.
Sources: Playwright's documentation of ``executable_path``; axe-core's rule tags.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from tests.e2e.parts import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = (390, 900, 1440)
"""Pixels of the widths at which every page is looked at: a phone, half a screen, a whole one."""
PICTURES = Path(__file__).resolve().parents[1] / ".screenshots"
PATIENCE = 60_000
"""Milliseconds to wait for a page: the machine may be busy."""
_RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}


def _matters(text: str) -> bool:
    return not text.startswith("Failed to load resource: the server responded")  # a 404 or 409 that the page is about


def _lacks_playwright() -> bool:
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return True
    return False


needs_chromium = pytest.mark.skipif(CHROMIUM is None or _lacks_playwright(), reason="Chromium is not installed (apt install chromium)")


@dataclass
class Tab:
    """A page in a context of its own, and what it did that nobody asked for."""

    page: Page
    context: BrowserContext
    dialogs: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    """Errors and warnings; Chromium writes here what a content security policy stopped."""
    elsewhere: list[str] = field(default_factory=list)
    """Addresses of other hosts that were asked for."""

    @property
    def quiet(self) -> bool:
        """Whether nothing ran, nothing was stopped and nothing was fetched from outside."""
        return not (self.dialogs or self.console or self.elsewhere)

    def report(self) -> str:
        """What it did, for a failing test."""
        return f"dialogs {self.dialogs[:3]}, console {self.console[:3]}, other hosts {self.elsewhere[:3]}"


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    words = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-dev-shm-usage"]
    if os.getuid() == 0:
        words.append("--no-sandbox")  # Chromium's own sandbox refuses to start as root
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=words, timeout=120_000)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def tab(
    browser: Browser, base: str, *, width: int = 1440, dark: bool = False, script: bool = True, session: str = "", **more: Any
) -> Iterator[Tab]:
    """A page of a context of its own at *base* (``http://127.0.0.1:port``), signed in with *session* where one is given."""
    context = browser.new_context(
        base_url=base, viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", java_script_enabled=script,
        locale="en-IN", timezone_id="Asia/Kolkata", **more,
    )  # fmt: skip
    context.set_default_timeout(PATIENCE)
    if session:
        context.add_cookies([{"name": "gateway", "value": session, "url": base, "httpOnly": True, "sameSite": "Strict"}])
    page = context.new_page()
    seen = Tab(page, context)

    def dialog(one: Any) -> None:
        seen.dialogs.append(one.message)
        one.dismiss()

    page.on("dialog", dialog)
    page.on("console", lambda one: seen.console.append(one.text) if one.type in ("error", "warning") and _matters(one.text) else None)
    page.on("pageerror", lambda one: seen.console.append(str(one)))
    page.on("request", lambda one: None if one.url.startswith(f"{base}/") else seen.elsewhere.append(one.url))
    page.on("popup", lambda one: seen.elsewhere.append(f"popup {one.url}"))
    try:
        yield seen
    finally:
        context.close()


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """*app* on a free port of loopback; its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive() and time.monotonic() < end, "the application does not listen"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


def violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2.1 A and AA: rule and element."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options=_RULES).response["violations"]
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"][:3]]


def sticks_out(page: Page) -> list[str]:
    """What makes the page wider than the window: elements, and texts, that do not scroll within something."""
    return list(
        page.evaluate(
            """() => {
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= wide) return [];
  const range = document.createRange();
  const end = one => {
    range.selectNodeContents(one);
    return Math.max(one.getBoundingClientRect().right, range.getBoundingClientRect().right);
  };
  const all = [...document.querySelectorAll('main *, header *')];
  const found = all.filter(one => end(one) > wide + 1).map(one => one.outerHTML.slice(0, 120));
  return found.length ? found.slice(-5) : ['something'];
}"""
        )
    )
