"""Pages, texts and leaves from real workers in their sandbox, over the keeper's own socket. Hostile-inputs W02, O11, P24."""

from __future__ import annotations

import hashlib
import io
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from gateway import ipc, requests, showing
from gateway.config import Config, Limits
from gateway.inspector.drawing import Reader
from gateway.keeper.exceptions import Wrong
from gateway.keeper.inspecting import InspectorLink
from gateway.showing import Draw, Drawn, Show, Shown, Take, Taken
from tests.content_mail import ROOT, mail, scheme, zipped
from tests.test_drawing import HINDI_PDF, MARKED, PLAIN, pdf

SERVICE = """
import sys
from gateway import policy
from gateway.config import Config
from gateway.inspector import service
limits = {"inspect_cpu": 5, "inspectors": 2, "inspect_memory": 400_000_000, "ocr_seconds": 0}
service.run(Config(state_dir=sys.argv[1], limits=limits), policy.scheme_of)
"""
NOTE = pdf(PLAIN, MARKED)
ARCHIVE = zipped(("note.pdf", NOTE))
MESSAGE = mail(ARCHIVE, "a.zip")
DIGEST = hashlib.sha256(MESSAGE).hexdigest()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    state = tmp_path_factory.mktemp("inspector")
    with open(state / "log", "wb") as log:
        process = subprocess.Popen([sys.executable, "-c", SERVICE, str(state)], stderr=log, cwd=ROOT)
    deadline = time.monotonic() + 60
    while not (state / "run" / "inspector-keeper.sock").exists():
        assert process.poll() is None, (state / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield Config(state_dir=state)
    process.terminate()
    assert process.wait(10) == 0
    assert "worker.died" not in (state / "log").read_text()


def ask(path: Path, request: Any, body: bytes, answers: Any) -> Any:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        with ipc.short_path(path) as name:
            sock.connect(name)
        ipc.write_frame(sock, 1, request, body)
        return ipc.read_frame(sock, msgspec.msgpack.Decoder(answers))[1:]


async def test_a_worker_shows_what_a_free_process_shows(config: Config) -> None:
    link, free = InspectorLink(config), Reader(Limits(ocr_seconds=0), scheme())
    for message, path, page in ((MESSAGE, "2:a.zip/note.pdf", 2), (mail(HINDI_PDF.read_bytes(), "h.pdf"), "2:h.pdf", 1)):
        digest = hashlib.sha256(message).hexdigest()
        drawn, octets = await link.draw(digest, message, path, page)
        expected, pixels = free.answer(Draw(drawn.nonce, digest, path, page), message)
        assert drawn == expected
        assert drawn.boxes == 1
        assert Image.open(io.BytesIO(octets)).tobytes() == Image.open(io.BytesIO(pixels)).tobytes()
        shown = await link.show(digest, message)
        assert shown == free.answer(Show(shown.nonce, digest), message)[0]
    assert await link.take(DIGEST, MESSAGE, "2:a.zip/note.pdf") == NOTE
    with pytest.raises(Wrong, match="no such page"):
        await link.draw(DIGEST, MESSAGE, "2:a.zip/note.pdf", 3)


def test_P24_doors_and_keeper_may_ask_on_their_own_socket_only(config: Config) -> None:
    doors, keeper = config.run_dir / "inspector.sock", config.run_dir / "inspector-keeper.sock"
    inspect = requests.Inspect("n", DIGEST)
    assert isinstance(ask(doors, inspect, MESSAGE, requests.InspectorAnswer)[0], requests.Inspected)
    assert isinstance(ask(keeper, Show("n", DIGEST), MESSAGE, showing.ShowAnswer)[0], Shown)
    for path, request in (
        (keeper, inspect),
        (doors, Show("n", DIGEST)),
        (doors, Draw("n", DIGEST, "1", 1)),
        (doors, Take("n", DIGEST, "1")),
    ):
        with pytest.raises((ipc.ChannelError, OSError)):
            ask(path, request, MESSAGE, showing.ShowAnswer | requests.InspectorAnswer)


@pytest.mark.slow
def test_fonts_that_are_not_in_the_file_cost_no_worker_its_life(config: Config) -> None:
    """A font of the system cannot be opened in the sandbox; a built-in one stands for it."""
    page = b"BT /F1 20 Tf 72 700 Td (CONFIDENTIAL) Tj ET"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(page), page),
        b"<< /Type /Font /Subtype /TrueType /BaseFont /NirmalaUI-Bold /Encoding /WinAnsiEncoding >>",
    )
    octets = b"%PDF-1.7\n" + b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, one) for number, one in enumerate(objects, 1))
    message = mail(octets + b"trailer << /Root 1 0 R /Size 6 >>\nstartxref\n0\n%%EOF\n", "f.pdf")
    request = Draw("n", hashlib.sha256(message).hexdigest(), "2:f.pdf", 1)
    answer, picture = ask(config.run_dir / "inspector-keeper.sock", request, message, showing.ShowAnswer)
    assert isinstance(answer, Drawn | showing.NotDone)
    if isinstance(answer, Drawn):
        assert picture.startswith(showing.PNG)


@pytest.mark.slow
def test_a_worker_draws_many_pages_one_after_the_other(config: Config) -> None:
    for number in range(22):  # more than one worker reads
        request = Draw(f"n{number}", DIGEST, "2:a.zip/note.pdf", 1 + number % 2)
        answer, _ = ask(config.run_dir / "inspector-keeper.sock", request, MESSAGE, showing.ShowAnswer)
        assert isinstance(answer, Drawn)
        assert answer.nonce == f"n{number}"
    taken, octets = ask(config.run_dir / "inspector-keeper.sock", Take("n", DIGEST, "2:a.zip"), MESSAGE, showing.ShowAnswer)
    assert isinstance(taken, Taken)
    assert octets == ARCHIVE
