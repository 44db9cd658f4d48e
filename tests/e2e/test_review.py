"""The whole of a review in a real browser: real SMTP in, real people, real Postfix behind, Debian's Chromium.

An officer's CONFIDENTIAL papers are held; a reviewer and a second approver sign in with password and code, read and release; the papers
arrive. A second message goes back: its officer asks for release on the page of his report, and is refused with a note.
"""

from __future__ import annotations

import email
import email.policy
import io
import os
import re
import smtplib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyotp
import pytest

from tests import browser
from tests.e2e.parts import POSTFIX_MASTER, Gateway, Postfix, running, wait_for
from tests.e2e.test_postfix import mailboxes
from tests.test_drawing import pdf, text

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.service,
    pytest.mark.timeout(900),
    browser.needs_chromium,
    pytest.mark.skipif(not POSTFIX_MASTER.exists(), reason="Postfix is not installed (apt install postfix)"),
    pytest.mark.skipif(os.getuid() != 0, reason="Postfix starts as root only"),
]
PASSWORD = "four quiet boats at anchor"
DOCX = "vnd.openxmlformats-officedocument.wordprocessingml.document"
FIRST, SECOND, THIRD = "Estimates of the bridge at Akhnoor", "Posting of officers in Poonch", "Papers on the canal at Ranbir"


@dataclass
class Place:
    """A running gateway with a Postfix behind it, and a browser."""

    gateway: Gateway
    postfix: Postfix
    chromium: Browser
    base: str
    codes: dict[str, str]
    """The secret of each person's device, as the page showed it."""

    def held(self, subject: str) -> dict[str, Any]:
        """The held record of the message with *subject*."""
        rows = wait_for(
            lambda: [row for row in self.gateway.records("quarantine", "list", "--all") if row["subject"] == subject], 90, "held"
        )
        return rows[0]  # type: ignore[no-any-return]

    def mail(self, box: str, word: str) -> EmailMessage:
        """The newest message of the mailbox *box* that holds *word* in one of its texts."""

        def found() -> Any:
            return [one for one in map(parsed, self.postfix.mailbox(box)) if word in readable(one)]

        return wait_for(found, 120, f"a message with {word!r} in {box}")[-1]  # type: ignore[no-any-return]


def parsed(octets: bytes) -> EmailMessage:
    return email.message_from_bytes(octets, policy=email.policy.default)  # type: ignore[return-value]


def readable(message: EmailMessage) -> str:
    """Every text of *message*."""
    return "\n".join(
        str(part.get_payload(decode=True).decode("utf-8", "replace"))  # type: ignore[union-attr]
        for part in message.walk()
        if part.get_content_maintype() == "text"
    )


def papers() -> tuple[bytes, bytes]:
    """A PDF whose third page is marked, and a marked Word document."""
    import docx

    plain = [text("Estimates of the works.", f"Sheet {number} of four.") for number in (1, 2, 4)]
    marked = text("CONFIDENTIAL", "Movement of stores to the forward depot.", y=800)
    document, out = docx.Document(), io.BytesIO()
    document.add_paragraph("CONFIDENTIAL")
    document.add_paragraph("Note for the file.")
    document.save(out)
    return pdf(plain[0], plain[1], marked, plain[2]), out.getvalue()


def send(gateway: Gateway, sender: str, recipient: str, subject: str) -> None:
    """CONFIDENTIAL papers without encryption, over SMTP."""
    message, (sheet, note) = EmailMessage(), papers()
    message["From"], message["To"], message["Subject"] = sender, recipient, subject
    message.set_content("Sir,\n\nThe papers are enclosed.\n")
    message.add_attachment(sheet, maintype="application", subtype="pdf", filename="estimates.pdf")
    message.add_attachment(note, maintype="application", subtype=DOCX, filename="note.docx")
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=60) as client:
        client.send_message(message)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """All parts, two people and three held messages."""
    with tempfile.TemporaryDirectory(prefix="review-", ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        boxes = mailboxes("section@home.gov.in head@dept.gov.in deputy@dept.gov.in clerk@dept.gov.in", base / "nic")
        postfix = Postfix(base / "nic", "mail.nic.example.nic.in", boxes)
        gateway = Gateway(base / "gw", postfix.port)
        address = f"http://127.0.0.1:{gateway.web_port}"
        gateway.extra = f'[web]\npublic_url = "{address}"\n[limits]\nfree_disk = 0\n'
        with running(postfix, gateway), browser.chromium() as chromium:
            for name, role in (("asha", "reviewer"), ("ravi", "second-approver")):
                gateway.cli("users", "add", name, "--role", f"{role}@dept.gov.in", "--email", f"{name}@dept.gov.in")
            for sender, subject in (("head", FIRST), ("deputy", SECOND), ("clerk", THIRD)):
                send(gateway, f"{sender}@dept.gov.in", "section@home.gov.in", subject)
            yield Place(gateway, postfix, chromium, address, {})


def invited(place: Place, page: Page, name: str) -> None:
    """*name* opens the one-time login, and sets password and codes."""
    link = place.gateway.cli("users", "login", "--as", name).stdout.split()[-1]
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/account")
    page.get_by_role("button", name="Set up the codes").click()
    page.get_by_text("I cannot read the picture").click()
    place.codes[name] = page.locator("code.secret").inner_text().replace(" ", "")
    page.locator("#code").fill(pyotp.TOTP(place.codes[name]).now())
    page.get_by_role("button", name="Put the codes in force").click()
    page.get_by_text("The codes of your device are set up").wait_for()
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password again").fill(PASSWORD)
    page.get_by_role("button", name="Set the password").click()
    page.get_by_text("The password is changed").wait_for()


def signed_in(place: Place, page: Page, name: str) -> None:
    """*name* signs in with password and the code that his device shows next: one that was used opens nothing again."""
    totp = pyotp.TOTP(place.codes[name])
    page.goto("/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)

    def opened() -> bool:
        page.get_by_label("Password").fill(PASSWORD)
        page.locator("#code").fill(totp.now())
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_load_state()
        return "/login" not in page.url

    if not opened():
        used = totp.now()
        wait_for(lambda: totp.now() != used, 40, "another code of the device")
        assert opened(), page.inner_text("main")


def test_two_people_release_and_the_papers_arrive(place: Place) -> None:
    with browser.tab(place.chromium, place.base) as first:
        page = first.page
        invited(place, page, "asha")
        page.get_by_role("button", name="Sign out", exact=True).click()
        page.get_by_text("You are signed out").wait_for()
        signed_in(place, page, "asha")
        page.locator("#q").fill("akhnoor")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=akhnoor*")
        rows = page.locator("table.held tbody tr")
        assert rows.count() == 1
        page.get_by_role("link", name=FIRST).click()
        assert "CONFIDENTIAL" in page.locator(".heading").inner_text()
        page.get_by_role("link", name="Show the content").click()
        page.get_by_text("This look was recorded").wait_for()
        assert page.locator("mark", has_text="CONFIDENTIAL").count() >= 1
        picture = page.locator("img[src*='page=3']").first
        picture.scroll_into_view_if_needed()
        page.wait_for_function(
            "() => { const p = document.querySelector(\"img[src*='page=3']\"); return p.complete && p.naturalWidth > 300 }"
        )
        page.get_by_text("Release", exact=True).first.click()
        page.locator("#release-reason").fill("Checked with the section; the bridge cannot wait")
        page.get_by_role("button", name="Approve, first of two").click()
        page.get_by_text("first of two", exact=False).first.wait_for()
        assert place.held(FIRST)["state"] == "approved"
        assert first.quiet, first.report()
    assert place.postfix.mailbox("home.gov.in/section") == []
    with browser.tab(place.chromium, place.base) as second:
        page = second.page
        invited(place, page, "ravi")
        page.goto("/")
        page.get_by_role("link", name=FIRST).click()
        page.locator("#release-reason").fill("Seen, agreed")
        page.get_by_role("button", name="Agree and release").click()
        page.get_by_text("The message goes on its way now").wait_for()
        assert second.quiet, second.report()
    arrived = place.mail("home.gov.in/section", "The papers are enclosed")
    assert arrived["Subject"].endswith(FIRST)
    assert {part.get_filename() for part in arrived.iter_attachments()} == {"estimates.pdf", "note.docx"}


def test_an_officer_asks_and_is_answered(place: Place) -> None:
    notice = place.mail("dept.gov.in/deputy", "/officer/")
    link = re.search(r"http://127\.0\.0\.1:\d+/officer/[\w.~-]+", readable(notice))
    assert link is not None
    with browser.tab(place.chromium, place.base) as tab:
        page = tab.page
        page.goto(link[0])
        assert "classified" in page.inner_text("main").lower()
        assert FIRST not in page.content()
        page.locator("#text-request").fill("The collector needs the posting orders before Monday.")
        page.locator("form[action$='/request'] button[type=submit]").click()
        page.wait_for_url("**said=request*")
        assert "The collector needs the posting orders" in page.inner_text("main")
        assert place.held(SECOND)["state"] == "requested"
        page.goto(f"{link[0]}?lang=hi")
        assert any("ऀ" <= letter <= "ॿ" for letter in page.inner_text("h1"))
        assert tab.quiet, tab.report()
    with browser.tab(place.chromium, place.base) as tab:
        page = tab.page
        signed_in(place, page, "asha")
        page.goto("/?state=requested")
        page.get_by_role("link", name=SECOND).click()
        assert "The collector needs the posting orders" in page.inner_text("main")
        page.locator("#acts summary", has_text="Refuse").click()
        page.locator("#refuse-reason").fill("Send it by the secure line of the home department.")
        page.locator("form[action$='/refuse'] button").click()
        page.get_by_text("The sender is told, with your note").wait_for()
    report = place.mail("dept.gov.in/deputy", "Send it by the secure line of the home department.")
    assert report.get_content_type() == "multipart/report"
    with browser.tab(place.chromium, place.base) as tab:
        tab.page.goto(link[0])
        assert "Send it by the secure line" in tab.page.inner_text("main")


def test_without_scripts_a_person_lists_reads_releases_and_refuses(place: Place) -> None:
    with browser.tab(place.chromium, place.base, script=False) as tab:
        page = tab.page
        signed_in(place, page, "asha")
        page.goto("/?q=canal")
        page.get_by_role("link", name=THIRD).click()
        page.get_by_role("link", name="Show the content").click()
        page.wait_for_url("**/content")
        assert page.locator("mark").count() >= 1
        page.get_by_role("link", name="Back to the message").click()
        page.locator("#acts summary", has_text="Release").click()
        page.locator("#release-reason").fill("Checked")
        page.get_by_role("button", name="Approve, first of two").click()
        assert "first of two" in page.inner_text("main")
        page.locator("#acts summary", has_text="Refuse").click()
        page.locator("#refuse-reason").fill("Better not")
        page.locator("form[action$='/refuse'] button").click()
        assert "Refused" in page.inner_text("main")
    assert place.held(THIRD)["state"] == "refused"
