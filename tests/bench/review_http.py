"""How long the queue, a search and one message take at the server, with 100,000 held records: prints milliseconds.

    .venv/bin/python -P -m tests.bench.review_http [RECORDS]

A whole gateway with its own processes and keys; its store is filled past the writer while it is stopped. The message with a PDF of 20
pages comes in by SMTP, and its pages are drawn by the real inspector. Asserts nothing.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from email.message import EmailMessage
from pathlib import Path
from smtplib import SMTP

import httpx

from gateway.config import load as load_config
from gateway.vault.vault import load as load_vault
from tests.bench.review import fill
from tests.bench.review_content import PAGES, _page
from tests.e2e.parts import Gateway, Hop, running, wait_for
from tests.test_drawing import pdf

QUEUE = {
    "the queue": "/", "a level": "/?level=RESTRICTED", "a rule": "/?rule=rule-foreign-1", "a department": "/?department=law.gov.in",
    "approved": "/?state=approved", "search: a rare word": "/?q=heron", "search: a common word": "/?q=budget",
    "search: two common words": "/?q=budget+pension", "search: a domain": "/?q=gov.in", "search: a sender": "/?q=officer7@home.gov.in",
    "search: nowhere": "/?q=albatross",
}  # fmt: skip


def timed(web: httpx.Client, name: str, path: str, times: int = 11) -> httpx.Response:
    """Prints the median and the worst of *times*, after one that warms."""
    answer, taken = web.get(path).raise_for_status(), []
    for _ in range(times):
        begun = time.perf_counter()
        answer = web.get(path).raise_for_status()
        taken.append((time.perf_counter() - begun) * 1000)
    print(f"{name:44} {statistics.median(taken):8.1f} ms   worst {max(taken):8.1f} ms   {len(answer.content):9,} octets", flush=True)
    return answer


def signed_in(gateway: Gateway) -> httpx.Client:
    """A reviewer's browser."""
    gateway.cli("users", "add", "asha", "--role", "reviewer")
    token = gateway.cli("users", "login", "--as", "asha").stdout.split()[-1].rpartition("=")[2]
    base = f"http://127.0.0.1:{gateway.web_port}"
    web = httpx.Client(base_url=base, timeout=60, headers={"origin": base})
    answer = web.post("/login/one-time", data={"token": token})
    assert answer.status_code == 303, answer.text
    return web


def send(gateway: Gateway) -> None:
    """A marked PDF of 20 pages."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "officer@dept.gov.in", "desk@finance.nic.in", "Stores"
    message.set_content("Enclosed.\n")
    message.add_attachment(pdf(*[_page] * PAGES), maintype="application", subtype="pdf", filename="stores.pdf")
    with SMTP("127.0.0.1", gateway.port, timeout=60) as client:
        client.send_message(message)


def run(folder: Path, count: int) -> None:
    """Fills and asks."""
    hop = Hop(folder / "hop")
    gateway = Gateway(folder / "gw", hop.port, extra="[web]\nrequire_totp = false\n[limits]\nfree_disk = 0\n")
    with running(hop, gateway):
        gateway.stop()
        vault, _ = load_vault(load_config(gateway.config))
        begun = time.perf_counter()
        fill(folder / "gw" / "state" / "gateway.db", count, vault, time.time() - count)
        print(f"filled in {time.perf_counter() - begun:.0f} s", flush=True)
        gateway.start()
        web = signed_in(gateway)
        for name, path in QUEUE.items():
            timed(web, name, path)
        send(gateway)
        found = wait_for(lambda: re.search(r"/held/[0-9a-f-]{36}", web.get("/?q=stores").text), 120, "held")
        item = found[0]
        timed(web, "one message", item)
        begun = time.perf_counter()
        answer = web.get(f"{item}/content").raise_for_status()
        print(f"{'its content, the first time':44} {(time.perf_counter() - begun) * 1000:8.1f} ms", flush=True)
        pictures = [one.replace("&amp;", "&") for one in re.findall(r'src="(/held/[^"]+)"', answer.text)]
        begun = time.perf_counter()
        for picture in pictures:
            web.get(picture).raise_for_status()
        print(f"{f'{len(pictures)} pages, drawn one by one':44} {(time.perf_counter() - begun) * 1000:8.1f} ms", flush=True)
        timed(web, "its content, afterwards", f"{item}/content")
        timed(web, "one page, afterwards", pictures[-1])
        begun = time.perf_counter()
        for path in (item, f"{item}/content", *pictures):
            web.get(path).raise_for_status()
        print(f"{'message, content and all pages, afterwards':44} {(time.perf_counter() - begun) * 1000:8.1f} ms", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as place:
        run(Path(place), int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
