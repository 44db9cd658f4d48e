"""How long a reviewer waits for the content of a held message: ``python -m tests.bench.review_content``.

A PDF of 20 pages with a page of text each, through a real inspector in its sandbox and the keeper's own service: text with marks and
pages as pictures, cold and from memory. Prints milliseconds; asserts nothing.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from reportlab.pdfgen import canvas  # type: ignore[import-untyped]

from gateway.keeper.access import Who
from gateway.keeper.held import HeldMail
from gateway.keeper.inspecting import InspectorLink
from gateway.keeper.previews import Previews
from gateway.review import ShowContent, ShowPage
from gateway.roles import Grant, Role
from gateway.verdict import Disposition
from tests.content_mail import ROOT, mail
from tests.keeper_kit import Room, recipient, transaction, verdict
from tests.test_drawing import pdf
from tests.test_drawing_sandboxed import SERVICE

PAGES = 20
Job = Callable[[], Awaitable[Any]]


def _page(sheet: canvas.Canvas) -> None:
    sheet.drawString(72, 815, "CONFIDENTIAL")
    for row in range(55):
        sheet.drawString(
            60, 780 - 13 * row, f"{row}. The stores of the district were counted and {row * 7} of them were found to be short."
        )


async def _times(jobs: list[Job]) -> list[float]:
    times = []
    for job in jobs:
        begun = time.perf_counter()
        await job()
        times.append(1000 * (time.perf_counter() - begun))
    return times


def _say(what: str, times: list[float]) -> None:
    print(f"{what:<48} median {statistics.median(times):7.1f} ms   most {max(times):7.1f} ms   ({len(times)} times)")


async def _measure(folder: Path) -> None:
    room = await Room(folder).open()
    message = mail(pdf(*[_page] * PAGES), "note.pdf", "application/pdf")
    tx = transaction(content=message)
    await room.commit(tx, verdict(room.version, recipient("desk@finance.nic.in", Disposition.HOLD)), message)
    (hold,) = await room.store.holds()
    who = Who("asha", grants=(Grant(Role.REVIEWER),), session=b"s")

    def service() -> dict[type, Callable[[Any, Who], Awaitable[Any]]]:
        made = Previews(HeldMail(room.config, room.store, room.vault, time.time), InspectorLink(room.config), lambda: room.policy)
        return {kind: handler for kind, (_, handler) in made.table().items()}

    def content(of: dict[type, Callable[[Any, Who], Awaitable[Any]]]) -> Job:
        return lambda: of[ShowContent](ShowContent(hold.id), who)

    def page(of: dict[type, Callable[[Any, Who], Awaitable[Any]]], number: int) -> Job:
        return lambda: of[ShowPage](ShowPage(hold.id, "2:note.pdf", number), who)

    print(f"a message of {len(message):,} octets with a PDF of {PAGES} pages")
    _say("text with marks, cold", await _times([content(service()) for _ in range(10)]))
    one = service()
    await content(one)()
    _say("text with marks, from memory", await _times([content(one)] * 20))
    _say("one page, cold", await _times([page(one, number) for number in range(1, PAGES + 1)]))
    _say("one page, from memory", await _times([page(one, number) for number in range(1, PAGES + 1)]))
    begun = time.perf_counter()
    other = service()
    await asyncio.gather(content(other)(), *(page(other, number)() for number in range(1, PAGES + 1)))
    _say(f"text and all {PAGES} pages at once, cold", [1000 * (time.perf_counter() - begun)])
    begun = time.perf_counter()
    await asyncio.gather(content(other)(), *(page(other, number)() for number in range(1, PAGES + 1)))
    _say(f"text and all {PAGES} pages at once, from memory", [1000 * (time.perf_counter() - begun)])
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
