"""How long a reviewer waits for the page of one held message: ``python -m tests.bench.review_item``.

A PDF of 20 pages, a real inspector in its sandbox, the keeper's own services and the application before them, in one process: the page,
its content, and all pages as pictures, the first time and afterwards. Prints milliseconds; asserts nothing.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.bench.review_content import PAGES, _page
from tests.content_mail import ROOT, mail
from tests.item_kit import Answering, held
from tests.keeper_kit import Room
from tests.test_drawing import pdf
from tests.test_drawing_sandboxed import SERVICE


async def _timed(web: httpx.AsyncClient, path: str) -> tuple[float, httpx.Response]:
    begun = time.perf_counter()
    answer = await web.get(path)
    answer.raise_for_status()
    return 1000 * (time.perf_counter() - begun), answer


async def _measure(folder: Path) -> None:
    room = await Room(folder).open()
    row = await held(room, mail(pdf(*[_page] * PAGES), "note.pdf", "application/pdf"))
    web = await Answering(room).browser("asha", "reviewer@*")
    await web.get("/login")  # the templates are read once a process
    await web.get(f"/held/{row.id}")
    for turn in ("first time", "afterwards"):
        times = [(await _timed(web, f"/held/{row.id}"))[0] for _ in range(10)]
        print(f"{turn}: the item's page {statistics.median(times):.0f} ms")
        spent, answer = await _timed(web, f"/held/{row.id}/content")
        print(f"{turn}: its content {spent:.0f} ms, {len(answer.content):,} octets")
        sources = [one.replace("&amp;", "&") for one in re.findall(r'src="(/held/[^"]+)"', answer.text)]
        begun = time.perf_counter()
        singles = [(await _timed(web, one))[0] for one in sources]
        spent = 1000 * (time.perf_counter() - begun)
        print(f"{turn}: {len(sources)} pictures one by one {spent:.0f} ms, one {statistics.median(singles):.0f} ms")
    begun = time.perf_counter()
    _, answer = await _timed(web, f"/held/{row.id}")
    _, answer = await _timed(web, f"/held/{row.id}/content")
    await asyncio.gather(*(_timed(web, one) for one in sources))
    print(f"afterwards: page, content and all {len(sources)} pictures {1000 * (time.perf_counter() - begun):.0f} ms")
    await room.close()


def main() -> int:
    """Measures."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        process = subprocess.Popen([sys.executable, "-c", SERVICE, folder], cwd=ROOT)
        try:
            while not (state / "run" / "inspector-keeper.sock").exists():
                time.sleep(0.05)
            time.sleep(1)
            asyncio.run(_measure(state))
        finally:
            process.terminate()
            process.wait(10)
    return 0


if __name__ == "__main__":
    sys.exit(main())
