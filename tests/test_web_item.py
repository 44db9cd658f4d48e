"""The page of one held message: what it shows, what it asks for, and what it never lets through."""

from __future__ import annotations

import functools
import html
import re
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from gateway import requests, review
from gateway.config import Config
from gateway.web import rights
from gateway.web.application import application
from gateway.web.secured import CSP, DOWNLOAD_CSP
from gateway.web.told import SAID
from tests.faces import BASE, ORIGIN, SEALED, FakeKeeper, form, person
from tests.items import ACTS, APPROVED, CONTENT, ID, ITEM, LEAVES, REFERENCE, RULE, SEALED_ITEM, SOURCE, TITLE, keeper_of, png

OTHER = "0198f2b0-0000-7000-8000-00000000ffff"
NAUGHTY = (
    '<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "'><svg/onload=alert(1)>", "javascript:alert(1)", "{{7*7}}{% raw %}",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>", "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>", "\u202egnp.exe\u2066\u200b\x00\x1b[31m", "<base href=//evil.example>", "&lt;script&gt;", "[[1]]",
    '<a hx-get="//evil.example" hx-trigger="load">', "<link rel=stylesheet href=//evil.example/x.css>", "`${alert(1)}`", "../../etc/passwd",
    "<iframe srcdoc='<script>alert(1)</script>'>", "\ud7ff\ufeff\ufffd\U0010ffff", "A" * 3000, "Z\u0351\u036b\u0343\u036a\u0302" * 50,
)  # fmt: skip


KEEPERS: dict[str, FakeKeeper] = {}
"""By session: one application, whose templates are read once, stands before all of them."""


@functools.cache
def app() -> Any:
    async def ask(request: Any) -> tuple[Any, bytes]:
        return await KEEPERS[request.credential].ask(request)

    return application(Config(hostname="gw.dept.gov.in"), ask)


def signed_in(keeper: FakeKeeper, row: dict[str, Any] | None = None) -> httpx.AsyncClient:
    """A browser with a session that *keeper* knows as the person *row*."""
    session = f"session-{len(KEEPERS):024}"
    KEEPERS[session], keeper.sessions[session] = keeper, row or person()
    web = httpx.AsyncClient(transport=httpx.ASGITransport(app=app(), raise_app_exceptions=False), base_url=BASE)
    web.cookies.set("gateway", session)
    return web


class Page(HTMLParser):
    """What a browser makes of a page: its elements with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.seen: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.seen += [value or "" for name, value in attrs if name not in ("class", "value")]

    def handle_data(self, data: str) -> None:
        self.seen.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.elements if name == tag]


async def shown(item: dict[str, Any], path: str = f"/held/{ID}", **options: Any) -> str:
    answer = await signed_in(keeper_of(item), **options).get(path)
    assert answer.status_code == 200
    return answer.text


def words(text: str) -> str:
    """What of a page is read."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


async def post(web: httpx.AsyncClient, act: str, **fields: Any) -> httpx.Response:
    return await web.post(f"/held/{ID}/{act}", data=form(web, **fields), headers=ORIGIN)


# --- the page -----------------------------------------------------------------------------------------------------------


async def test_the_decision_stands_in_one_sentence_with_rule_and_source() -> None:
    page = words(await shown(ITEM))
    assert f"Held for all 3 recipients because of the rule “{TITLE}”, under {SOURCE}." in page
    some = [one | {"disposition": "deliver"} if one["address"] == "c@lawfirm.example" else one for one in ITEM["decisions"]]
    page = words(await shown(ITEM | {"decisions": some, "recipients": ["a@nic.in", "b@gov.in"]}))
    assert "Held for 2 of 3 recipients because" in page
    assert "1 other got it at once." in page


async def test_everything_that_the_keeper_says_of_it_is_there() -> None:
    page = words(await shown(ITEM))
    for text in (
        REFERENCE, "CONFIDENTIAL", "Posting orders", "orders.pdf (part 1.2) , the head of a page , 2 times".replace(" ,", ","), "list.xlsx",
        "strongly encrypted: ooxml, AES-256-CBC", "c@lawfirm.example", "needs an AES-256 path", "2 hit, 1 missed", "(watched only)",
        "10.0.0.7 as mail.dept.gov.in", "TLS_AES_256_GCM_SHA384, 256 bits", "It declares a lower level than the mail that it answers.",
        "The attachment is not encrypted.", "संलग्नक एन्क्रिप्ट नहीं है।", "Who asked for this?", "Asked the sender by reviewer",
        "Content looked at by reviewer", "18 Nov 2026", "IST", "<1@dept.gov.in>", "Not every part could be read.",
    ):  # fmt: skip
        assert text in page.replace(" ,", ","), text


async def test_the_content_is_not_opened_with_the_page() -> None:
    keeper = keeper_of()
    page = (await signed_in(keeper).get(f"/held/{ID}")).text
    assert not any(isinstance(asked, (review.ShowContent, review.ShowPage)) for asked in keeper.asked)
    assert f'href="/held/{ID}/content"' in page
    assert "is recorded" in page


async def test_a_reference_leads_to_the_same_page() -> None:
    assert ID in await shown(ITEM, f"/held/{REFERENCE}")


async def test_what_may_not_be_done_is_not_offered_and_says_why() -> None:
    row = ITEM | {
        "may": dict.fromkeys(ACTS, False),
        "why_not": dict.fromkeys(ACTS, "this message is released already"),
        "state": "released",
    }
    page = await shown(row)
    assert not [one for one in Page(page).all("form") if "/held/" in one["action"]]
    assert "This message is released already." in words(page)
    assert "Show the content" not in page


async def test_the_second_person_sees_who_gave_the_first_yes_and_for_whom() -> None:
    page = await shown(APPROVED, row=person("ravi", "second-approver"))
    assert "asha has approved. With your yes the message is sent." in words(page)
    ticked = [one["value"] for one in Page(page).all("input") if one.get("name") == "to" and "checked" in one]
    assert ticked == ["a@nic.in"]
    assert "Agree and release" in page


async def test_of_sealed_mail_the_page_shows_four_things_and_what_became_of_it() -> None:
    row = SEALED_ITEM | {
        "subject": "leak-1", "level": "SECRET", "recipients": ["leak-2@nic.in"], "leaves": LEAVES, "evidence": ITEM["evidence"],
        "decisions": [ITEM["decisions"][0] | {"address": "leak-3@nic.in"}], "message_id": "leak-4", "authentication": {"client": "leak-5"},
    }  # fmt: skip
    page = await shown(row, f"/held/{SEALED['id']}")
    assert "leak" not in page
    assert "orders.pdf" not in page
    for text in (SEALED["reference"], SEALED["sender"], "probable-secret", "Decide by"):
        assert text in page
    assert [one["action"].rsplit("/", 1)[1] for one in Page(page).all("form") if "/held/" in one["action"]] == ["refuse", "forward"]


async def test_a_viewer_sees_no_subject_and_no_words() -> None:
    row = ITEM | {
        "subject": "", "leaves": [leaf | {"name": "", "path": str(leaf["path"]).partition(":")[0]} for leaf in LEAVES],
        "may": dict.fromkeys(ACTS, False), "why_not": dict.fromkeys(ACTS, "your role does not permit this"),
    }  # fmt: skip
    page = words(await shown(row, row=person("v", "viewer")))
    assert "Part 1.2" in page
    assert "orders.pdf" not in page
    assert "Show the content" not in page


async def test_for_paper_nothing_is_folded_and_nothing_can_be_done() -> None:
    page = await shown(ITEM, f"/held/{ID}?print=1")
    assert all("open" in one for one in Page(page).all("details"))
    assert not [one for one in Page(page).all("form") if "/held/" in one["action"]]
    assert not Page(page).all("script")
    assert "Shown to reviewer" in words(page)


async def test_a_record_with_hardly_a_field_still_has_its_page() -> None:
    row = {"id": ID, "reference": REFERENCE, "state": "held", "deadline": 0, "created": 0}
    assert REFERENCE in await shown(row)


# --- the content ----------------------------------------------------------------------------------------------------------


async def test_the_content_shows_marks_in_their_places() -> None:
    page = await shown(ITEM, f"/held/{ID}/content")
    found = re.findall(r'<mark class="([^"]+)" id="(mark-\d+)"[^>]*>([^<]*)</mark>', page)
    assert found == [
        ("restricted unsure", "mark-1", "Posting"), ("confidential", "mark-2", "CONFIDENTIAL"), ("confidential", "mark-3", "गोपनीय"),
        ("confidential", "mark-4", "CONFIDENTIAL"),
    ]  # fmt: skip
    assert 'href="#mark-2"' in page
    assert "10,500 characters without marks" in page


async def test_the_pages_of_a_pdf_are_pictures_and_those_with_marks_stand_open() -> None:
    page = Page(await shown(ITEM, f"/held/{ID}/content"))
    pictures = [one for one in page.all("img") if "/held/" in one["src"]]
    assert [one["src"] for one in pictures[:5]] == [f"/held/{ID}/page?part=2&page={n}" for n in (1, 2, 3, 4, 14)]
    assert len(pictures) == 20
    for one in pictures:
        assert (one["loading"], bool(one["width"]), one["alt"].startswith("Page ")) == ("lazy", True, True)
        assert "orders" not in one["src"]


async def test_a_picture_is_asked_for_by_its_place_and_is_a_picture() -> None:
    keeper = keeper_of()
    web = signed_in(keeper)
    answer = await web.get(f"/held/{ID}/page?part=2&page=14")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/png", png())
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert keeper.asked[-1] == review.ShowPage(ID, "1.2", 14)
    keeper.answers[review.ShowPage] = (requests.Done(), b"<svg onload=alert(1)>")
    assert (await web.get(f"/held/{ID}/page?part=2&page=14")).status_code == 409
    for query in ("part=-1", "part=6", "page=0", "part=2&page=99999999", "part=x"):
        assert (await web.get(f"/held/{ID}/page?{query}")).status_code in (400, 404)


async def test_content_that_cannot_be_had_now_says_so_in_the_open_page() -> None:
    keeper = keeper_of()
    keeper.answers[review.ShowContent] = requests.Failed("the inspector is asleep at /run/x", 3)
    web = signed_in(keeper)
    answer = await web.get(f"/held/{ID}/content", headers={"hx-request": "true"})
    assert answer.status_code == 200
    assert "This cannot be shown now." in answer.text
    assert "/run/x" not in answer.text
    assert (await web.get(f"/held/{ID}/content")).status_code == 503


async def test_without_a_script_the_content_is_a_page_of_its_own_and_with_it_a_part() -> None:
    web = signed_in(keeper_of())
    whole, part = await web.get(f"/held/{ID}/content"), await web.get(f"/held/{ID}/content", headers={"hx-request": "true"})
    assert whole.text.startswith("<!doctype html>")
    assert "<html" not in part.text
    assert "mark-4" in part.text


# --- the acts -------------------------------------------------------------------------------------------------------------

DONE = [
    ("release", {"reason": "r", "to": ["a@nic.in", "b@gov.in"]}, requests.ReleaseHeld(ID, "r", ("a@nic.in", "b@gov.in")),
     "approved 1 of 2", "approved"),
    ("release", {"reason": "r", "to": ["a@nic.in"]}, requests.ReleaseHeld(ID, "r", ("a@nic.in",)),
     "released X to 1 recipient; 2 still held", "released-some"),
    ("release", {"reason": "r", "to": ["a@nic.in"]}, requests.ReleaseHeld(ID, "r", ("a@nic.in",)), "released X to 1 recipient", "released"),
    ("refuse", {"reason": "no"}, requests.RefuseHeld(ID, "no"), "refused X; the sender is told", "refused"),
    ("refuse", {"reason": "no"}, requests.RefuseHeld(ID, "no"), "refused X; nobody may be told", "refused-silent"),
    ("ask", {"text": "who?"}, review.AskOfficer(ID, "who?"), "asked a about X", "asked"),
    ("level", {"level": "SECRET", "reason": "r"}, review.ReclassifyHeld(ID, "SECRET", "r"), "X is SECRET now", "relevelled"),
    ("level", {"level": "RESTRICTED", "reason": "r"}, review.ReclassifyHeld(ID, "RESTRICTED", "r"), "level RESTRICTED 1 of 2",
     "level-proposed"),
    ("forward", {"to": "asha", "note": "n"}, review.ForwardHeld(ID, "asha", "n"), "handed X to asha", "forwarded"),
    ("forward", {"to": "asha", "note": "n"}, review.ForwardHeld(ID, "asha", "n"), "handed X to asha; no mail was sent, since no address",
     "forwarded-silent"),
    ("again", {"apply": "yes", "reason": "r"}, review.DecideAgain(ID, True, "r"), "", "decided-again"),
]  # fmt: skip


@pytest.mark.parametrize(("act", "fields", "asked", "message", "code"), DONE)
async def test_an_act_asks_the_keeper_once_and_leads_back(act: str, fields: Any, asked: Any, message: str, code: str) -> None:
    keeper = keeper_of()
    keeper.answers[type(asked)] = requests.Rows(({"id": ID, "message": message},))
    answer = await post(signed_in(keeper), act, **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/held/{ID}?said={code}")
    assert keeper.asked == [asked]
    assert code in SAID


async def test_a_release_to_nobody_releases_to_nobody() -> None:
    keeper = keeper_of()
    answer = await post(signed_in(keeper), "release", reason="Needed by <b>the court</b>")
    assert answer.status_code == 400
    assert "Choose at least one recipient; nothing was released." in answer.text
    assert "Needed by &lt;b&gt;the court" in answer.text
    assert not any(isinstance(asked, requests.ReleaseHeld) for asked in keeper.asked)


@pytest.mark.parametrize(
    ("code", "status"),
    [(1, 409), (2, 400), (requests.FORBIDDEN, 403), (requests.ABSENT, 404), (requests.SIGNED_OUT, 403), (3, 503)],
)
async def test_what_the_keeper_refuses_is_said_and_nothing_typed_is_lost(code: int, status: int) -> None:
    keeper = keeper_of()
    keeper.answers[requests.RefuseHeld] = requests.Failed("write a reason; it is recorded", code)
    answer = await post(signed_in(keeper), "refuse", reason="typed words")
    assert answer.status_code == status
    assert ("typed words" in answer.text) is (status in (400, 409, 403) and code != requests.SIGNED_OUT)
    assert ("Write a reason; it is recorded." in answer.text) is (code not in (requests.SIGNED_OUT, 3, 4))


async def test_W07_whoever_was_second_reads_what_the_first_did() -> None:
    keeper = keeper_of(ITEM | {
        "state": "refused", "may": dict.fromkeys(ACTS, False), "why_not": dict.fromkeys(ACTS, "this message is refused already"),
        "history": [*ITEM["history"], {"time": 1_795_002_000.0, "action": "held-refused", "user": "asha", "reason": "Never",
                                       "rule": RULE}],
    })  # fmt: skip
    keeper.answers[requests.ReleaseHeld] = requests.Failed("somebody else has just decided about this message; look at it again", 1)
    answer = await post(signed_in(keeper), "release", reason="r", to=["a@nic.in"])
    assert answer.status_code == 409
    page = words(answer.text)
    assert "Somebody else has just decided about this message; look at it again. Below is how it stands now." in page
    assert "It was refused by asha." in page
    assert "Never" in page


async def test_W08_the_page_says_which_rules_a_release_waives_and_passes_on_that_others_stand() -> None:
    keeper = keeper_of()
    web = signed_in(keeper)
    page = words((await web.get(f"/held/{ID}")).text)
    assert f"waives “{TITLE}”" in page
    assert "what a rule refuses cannot be released" in page
    keeper.answers[requests.ReleaseHeld] = requests.Failed(
        "the rule secret refuses this message for a@nic.in; no reviewer can release it", 1
    )
    answer = await post(web, "release", reason="r", to=["a@nic.in"])
    assert answer.status_code == 409
    assert "The rule secret refuses this message for a@nic.in; no reviewer can release it." in answer.text


async def test_deciding_again_is_shown_before_it_is_done() -> None:
    keeper = keeper_of()
    rows = ({"address": "a@nic.in", "disposition": "deliver", "rule": "d", "explanation": {}},
            {"address": "b@gov.in", "disposition": "hold", "rule": RULE, "explanation": {"en": "Not encrypted."}})  # fmt: skip
    keeper.answers[review.DecideAgain] = requests.Rows(rows)
    web = signed_in(keeper)
    answer = await post(web, "again")
    assert keeper.asked[0] == review.DecideAgain(ID)
    assert "Not encrypted." in answer.text
    assert 'name="apply" value="yes"' in answer.text
    keeper.answers[review.DecideAgain] = requests.Rows(rows[1:])
    assert 'name="apply"' not in (await post(web, "again")).text


async def test_an_exception_is_asked_for_in_ones_own_name_until_the_end_of_a_day_in_india() -> None:
    keeper = keeper_of()
    keeper.answers[requests.AddException] = requests.Rows(({"id": "x"},))
    fields = {
        "sender": "officer@dept.gov.in",
        "recipient": "c@lawfirm.example",
        "approver": "asha",
        "until": "2027-01-31",
        "reason": "Court",
    }
    web = signed_in(keeper)
    answer = await post(web, "exception", **fields)
    assert answer.headers["location"] == f"/held/{ID}?said=excepted"
    assert keeper.asked == [requests.AddException("officer@dept.gov.in", "c@lawfirm.example", "Court", "reviewer", "asha", 1_801_420_199.0)]
    assert (await post(web, "exception", **(fields | {"until": "soon"}))).status_code == 400


async def test_a_made_up_address_does_not_say_that_something_was_done() -> None:
    for code in ("released", "refused", "released-some", "approved", "decided-again", "<script>", "x" * 5000):
        page = await shown(ITEM, f"/held/{ID}?said={code}")
        assert 'role="status"' not in page
    assert 'role="status"' in await shown(ITEM | {"state": "released"}, f"/held/{ID}?said=released")


@pytest.mark.parametrize("path", sorted(path for method, path in rights.ROUTES if method == "POST" and path.startswith("/held/")))
async def test_W03_no_act_without_form_token_or_from_elsewhere(path: str) -> None:
    keeper = keeper_of()
    web, url = signed_in(keeper), path.replace("{id}", ID)
    data = {"reason": "r", "to": ["a@nic.in"], "text": "t"}
    assert (await web.post(url, data=data, headers=ORIGIN)).status_code == 403
    assert (await web.post(url, data=form(web, **data), headers={"origin": "http://evil.example"})).status_code == 403
    assert (await web.post(url, data=form(web, **data))).status_code == 403
    assert (await web.get(url)).status_code == 405
    assert keeper.asked == []


# --- what is hostile --------------------------------------------------------------------------------------------------------

BAD_IDS = [
    OTHER, "1", "2", ID[:-1] + "2", ID.upper(), "%2e%2e%2fheld", "..%2f..", ID + "%00", "%00", "٠١٩٨f2b0-0000-7000-8000-000000000001",
    "０１９８" + ID[4:], REFERENCE.lower(), REFERENCE + "%0a", "'%20OR%201=1--", "x" * 10_000, "01CX5B00000G00G0000000000٢",
]  # fmt: skip


@pytest.mark.parametrize("id", BAD_IDS)
async def test_W05_what_is_not_there_or_not_ones_own_is_answered_alike(id: str) -> None:
    keeper = keeper_of()
    web = signed_in(keeper)
    none = await web.get(f"/held/{OTHER}")
    answer = await web.get(f"/held/{id}")
    assert (answer.status_code, none.status_code) == (404, 404)
    if "%2f" not in id:
        assert answer.text == none.text
    for act in ("release", "refuse", "ask", "level", "forward", "again", "exception", "download"):
        fields = form(web, reason="r", to="a@nic.in", text="t", level="SECRET", until="2027-01-31")
        for request in (requests.ReleaseHeld, requests.RefuseHeld, review.AskOfficer, review.ReclassifyHeld, review.ForwardHeld,
                        review.DecideAgain, requests.AddException):  # fmt: skip
            keeper.answers[request] = requests.Failed("there is no such held message", requests.ABSENT)
        assert (await web.post(f"/held/{id}/{act}", data=fields, headers=ORIGIN)).status_code == 404
    for part in ("content", "page?part=2"):
        assert (await web.get(f"/held/{id}/{part}")).status_code == 404


async def test_W05_an_id_of_ten_megabytes_never_reaches_the_keeper() -> None:
    keeper = keeper_of()
    raw = b"0" * 10_000_000
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    web = signed_in(keeper)
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": "/held/" + raw.decode(), "raw_path": b"/held/" + raw,
        "scheme": "http", "query_string": b"", "root_path": "", "server": ("gw", 80), "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"gw"), (b"cookie", f"gateway={web.cookies['gateway']}".encode())],
    }  # fmt: skip
    await app()(scope, receive, send)
    assert said[0]["status"] == 404
    assert keeper.asked == []


async def test_W05_a_right_in_another_department_is_none_here() -> None:
    """The keeper says so; the page adds nothing and shows nothing."""
    keeper = keeper_of()
    keeper.answers[requests.ShowHeld] = requests.Failed("there is no such held message", requests.ABSENT)
    answer = await signed_in(keeper, person("p", "reviewer@other.gov.in")).get(f"/held/{ID}")
    assert answer.status_code == 404
    assert REFERENCE not in answer.text


def naughty(value: Any, text: str, keep: frozenset[str]) -> Any:
    """*value* with *text* in every text but those under the names of *keep*."""
    if isinstance(value, dict):
        return {name: one if name in keep else naughty(one, text, keep) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [naughty(one, text, keep) for one in value]
    return text if isinstance(value, str) else value


KEEP = frozenset({"id", "state", "zone", "may", "kind", "confidence", "disposition", "action"})
LOADS = {"src", "href", "action", "hx-get", "data", "srcset", "poster", "background", "formaction", "xlink:href", "hx-post"}


@pytest.mark.parametrize("text", NAUGHTY)
async def test_W01_W02_text_of_a_message_stays_text_in_every_field(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    plain, hostile = Page(await shown(ITEM)), naughty(ITEM, text, KEEP)
    shape = {tag for tag, _ in plain.elements}
    for path in ("", "?print=1"):
        page = Page(await shown(hostile, f"/held/{ID}{path}"))
        assert {tag for tag, _ in page.elements} <= shape | {"details", "summary"}
        harmless(page)
    row = naughty(CONTENT, text, KEEP | {"path"})
    for leaf in row["leaves"]:
        leaf["media_type"] = "application/pdf" if leaf["pages"] else text
    web = signed_in(keeper_of(naughty(ITEM, text, KEEP | {"path"}), row))
    for headers in ({}, {"hx-request": "true"}):
        answer = await web.get(f"/held/{ID}/content", headers=headers)
        assert answer.status_code == 200
        harmless(Page(answer.text))
        assert answer.headers["content-security-policy"] == CSP


def harmless(page: Page) -> None:
    """Nothing of the page runs, nothing is loaded or sent anywhere but to ourselves, and nothing stands there that cannot be seen."""
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e\u2066-\u2069\u200b\ufeff]", "".join(page.seen))
    for tag, attrs in page.elements:
        assert tag not in ("iframe", "object", "embed", "svg", "math", "base", "style", "audio", "video", "template")
        assert not [name for name in attrs if name.startswith("on") or name == "style"]
        for name in LOADS & attrs.keys():
            assert re.match(r"(/(?!/)|#)", attrs[name]), (tag, name, attrs[name])
        if tag == "script":
            assert attrs["src"].startswith("/static/")
        if tag == "img":
            assert re.fullmatch(rf"/static/mark\.svg|/held/{ID}/page\?part=\d+&page=\d+", attrs["src"])


async def test_W02_html_and_svg_of_a_message_are_shown_as_their_source() -> None:
    source = "<p onclick=alert(1)>CONFIDENTIAL<img src=http://evil.example/x.png></p>"
    row = CONTENT | {"leaves": [LEAVES[1] | {"media_type": "text/html", "pages": 0, "cut": "", "segments": [
        {"zone": "body", "page": 0, "text": source, "marks": [[20, 32, "CONFIDENTIAL", "certain"]]}]}]}  # fmt: skip
    answer = await signed_in(keeper_of(content=row)).get(f"/held/{ID}/content")
    assert html.escape(source[:20], quote=False) in answer.text
    assert "<p onclick" not in answer.text
    harmless(Page(answer.text))


@pytest.mark.parametrize("text", [*NAUGHTY[:12], 'a"\r\nSet-Cookie: x=1', "x.html", "x.svg"])
async def test_W09_a_download_is_octets_with_a_name_of_ours(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    leaves = [leaf | {"name": text, "media_type": "text/html"} for leaf in LEAVES]
    keeper = keeper_of(ITEM | {"leaves": leaves})
    web = signed_in(keeper)
    for part, name, path in (("", f"{REFERENCE}.eml", ""), ("2", f"{REFERENCE}-part-3.bin", "1.2")):
        answer = await post(web, "download", reason="case 7", part=part)
        assert answer.status_code == 200
        assert keeper.asked[-1] == review.DownloadLeaf(ID, path, "case 7")
        assert answer.content == b"<script>alert(1)</script>"
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert answer.headers["content-security-policy"] == DOWNLOAD_CSP
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("part", ["99", "-1", "1.2", "٢", "2;", "0x2", "999999999"])
async def test_W09_a_part_that_there_is_not_cannot_be_downloaded(part: str) -> None:
    keeper = keeper_of()
    assert (await post(signed_in(keeper), "download", reason="r", part=part)).status_code == 404
    assert not any(isinstance(asked, review.DownloadLeaf) for asked in keeper.asked)


async def test_a_download_without_a_reason_is_said_on_the_page() -> None:
    keeper = keeper_of()
    keeper.answers[review.DownloadLeaf] = requests.Failed("write a reason; it is recorded with the decision", 2)
    answer = await post(signed_in(keeper), "download", part="2")
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")
    assert "Write a reason" in answer.text


async def test_nobody_without_a_session_and_no_officer_sees_anything() -> None:
    keeper: FakeKeeper = keeper_of()
    web = signed_in(keeper, person("o@dept.gov.in") | {"kind": "officer"})
    for path in (f"/held/{ID}", f"/held/{ID}/content", f"/held/{ID}/page?part=2"):
        assert (await web.get(path)).status_code == 403
        assert (await signed_in(keeper_of(), person("a", "administrator")).get(path)).status_code == 403
    web.cookies.clear()
    assert (await web.get(f"/held/{ID}")).status_code == 303
    assert keeper.asked == []
