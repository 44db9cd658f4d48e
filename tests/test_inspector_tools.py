"""The inspector with its programs: words in pictures through a real worker, a pool that dies, code that took over a worker, and bombs."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pikepdf
import pytest

from gateway import ipc, requests
from gateway import policy as policies
from gateway.config import Config, Limits
from gateway.doors.peers import InspectorLink
from gateway.inspector import tools
from gateway.pipeline import InspectorAway, Pipeline, WorkerDied
from gateway.verdict import Disposition, LeafState
from tests.content_mail import leaf, mail
from tests.test_image_pixels import bombs
from tests.test_inspector import Service
from tests.test_ordinary import CONFIG, LISTED, Keeps, transaction

SCANS = Path(__file__).parent / "fixtures" / "scans"
real = tools.installed(Limits())
needs = pytest.mark.skipif("eng" not in real.languages, reason="tesseract-ocr is not installed")

# The service with its usual limits, and a reader that is in the hands of the sender.
SERVICE = """
import ctypes, os, socket, struct, sys
from gateway import content, policy
from gateway.config import Config
from gateway.extraction import base
from gateway.inspector import service

def attempt(what):
    try:
        result = what()
    except OSError as error:
        return str(error.errno)
    return "done" if result is None or result >= 0 else str(ctypes.get_errno())

libc = ctypes.CDLL(None, use_errno=True)

def planted(piece, budget):
    words = piece.data.split(b"\\n")
    if words[0] == b"%!PS rights":
        key, sock, out = words[1], words[2].decode(), words[3]
        page = ctypes.create_string_buffer(4096)
        return base.Found(reason=" ".join(attempt(what) for what in (
            lambda: libc.open(key, 0), lambda: libc.syscall(257, -100, key, 0), lambda: libc.syscall(437, -100, key, page, 24),
            lambda: libc.open(out, 0o101, 0o600), lambda: libc.truncate(out, 0), lambda: libc.unlink(out),
            lambda: socket.socket(socket.AF_INET), lambda: socket.socket(socket.AF_UNIX).connect(sock),
            lambda: socket.socketpair(), lambda: libc.execve(b"/bin/true", None, None), lambda: libc.syscall(322, -100, key, 0, 0, 0),
            lambda: libc.syscall(57), lambda: libc.syscall(58), lambda: libc.syscall(56, 17, 0, 0, 0, 0),
            lambda: libc.syscall(435, page, 88),
            lambda: libc.ptrace(16, os.getppid(), 0, 0), lambda: libc.syscall(310, os.getppid(), page, 1, page, 1, 0),
            lambda: libc.kill(os.getppid(), 0), lambda: libc.syscall(425, 8, page), lambda: libc.unshare(0x10000000),
            lambda: libc.syscall(319, b"x", 0), lambda: libc.setuid(0) if os.getuid() else -1)))
    if words[0] == b"%!PS ask":
        files = []
        for number in range(3, 64):
            try:
                if os.fstat(number).st_mode & 0o170000 == 0o140000:
                    os.write(number, bytes.fromhex(words[1].decode()))
                    files.append(number)
            except OSError:
                pass
        try:
            return base.Found(reason=str(budget.tools.words(base.Picture(400, 300, bytes(60000) * 2), 5)))
        except base.ToolFault:
            raise
    if words[0] == b"%!PS die":
        ctypes.string_at(0)
    return base.Found(reason=f"pid {os.getpid()}")

content.TABLE = {**content.TABLE, "postscript": planted}
service.run(Config(state_dir=sys.argv[1]), policy.scheme_of)
"""


class Inspector(Service):
    """The service of this file; its log goes through a pipe, for the workers may make no file larger."""

    def __init__(self, state: Path) -> None:
        self.path = state / "run" / "inspector.sock"
        self.state = state
        root = Path(__file__).parents[1]
        self.process = subprocess.Popen([sys.executable, "-c", SERVICE, str(state)], cwd=root, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self.path.exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def pool(self) -> int:
        """The process that starts programs."""
        return max(pid for pid, name in self.children() if name == "gateway-tools")


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inspector]:
    running = Inspector(tmp_path_factory.mktemp("tools"))
    yield running
    running.process.terminate()
    assert running.process.wait(10) == 0


def inspected(inspector: Inspector, data: bytes, name: str) -> requests.Inspected:
    answer = inspector.ask(mail(data, name))
    assert isinstance(answer, requests.Inspected)
    return answer


@pytest.mark.service
@needs
@pytest.mark.parametrize("name", ["screen.png", "screen.bmp", "second-frame.gif", "hindi-group4.tif", "short-upside-down.png"])
def test_words_in_pictures_through_a_real_worker(inspector: Inspector, name: str) -> None:
    found = inspected(inspector, (SCANS / name).read_bytes(), name).inspection
    assert leaf(found).state is LeafState.INSPECTED, leaf(found).reason
    assert {finding.level.name for finding in found.findings} <= {"SECRET", "CONFIDENTIAL"}
    assert found.findings


@pytest.mark.service
@needs
def test_O11_a_pool_that_dies_is_replaced_and_no_picture_passes_unread(inspector: Inspector) -> None:
    data = (SCANS / "screen.png").read_bytes()
    os.kill(inspector.pool(), signal.SIGKILL)
    deadline = time.monotonic() + 20
    while True:
        try:
            answer = inspector.ask(mail(data, "screen.png"))
        except (ipc.ChannelError, OSError):
            answer = requests.Failed("", 3)
        if isinstance(answer, requests.Inspected):
            assert leaf(answer.inspection).state is LeafState.INSPECTED
            break
        assert isinstance(answer, requests.Failed)
        assert answer.code == 3
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.service
@needs
def test_O11_a_pool_that_dies_at_work_defers_the_message(inspector: Inspector) -> None:
    link = InspectorLink(Config(state_dir=inspector.state))
    message = mail((SCANS / "turned-180.png").read_bytes(), "turned-180.png")

    async def ask() -> None:
        task = asyncio.create_task(link.inspect(message, hashlib.sha256(message).hexdigest()))
        await asyncio.sleep(0.6)
        os.kill(inspector.pool(), signal.SIGKILL)
        with pytest.raises(InspectorAway):
            await task

    asyncio.run(ask())
    time.sleep(0.5)


def test_what_code_in_a_worker_may_not_do(inspector: Inspector, tmp_path: Path) -> None:
    key, out = tmp_path / "vault.key", tmp_path / "out"
    key.write_text("secret")
    out.write_text("there")
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of the calls are those of x86-64")
    code = b"\n".join((b"%!PS rights", bytes(key), bytes(inspector.path), bytes(out)))
    reason = leaf(inspected(inspector, code, "a.ps").inspection).reason
    results = reason.split()
    assert len(results) == 22
    assert "done" not in results
    assert set(results) <= {"1", "13", "38", "0"}, results
    assert out.read_text() == "there"


@pytest.mark.service
@needs
@pytest.mark.parametrize("octets", ["ff" * 64, "00000001000000040000000083a17401", "0000000100ffffff00000000"])
def test_code_in_a_worker_that_writes_to_its_pool(inspector: Inspector, octets: str) -> None:
    """It is left alone by the pool, which goes on for the others; the message is deferred."""
    try:
        answer = inspector.ask(mail(b"%!PS ask\n" + octets.encode(), "a.ps"))
    except (ipc.ChannelError, OSError):
        answer = requests.Failed("", 3)
    assert isinstance(answer, requests.Failed)
    pool = inspector.pool()
    found = inspected(inspector, (SCANS / "screen.png").read_bytes(), "screen.png").inspection
    assert leaf(found).state is LeafState.INSPECTED
    assert inspector.pool() == pool


def test_a_worker_that_dies_is_a_death_and_not_an_absence(inspector: Inspector) -> None:
    link = InspectorLink(Config(state_dir=inspector.state))
    message = mail(b"%!PS die", "a.ps")
    for _ in range(3):
        with pytest.raises(WorkerDied):
            asyncio.run(link.inspect(message, hashlib.sha256(message).hexdigest()))


# --- ten seconds and 512 MB -------------------------------------------------------------------------------------------


def _pdf(change: str) -> bytes:
    pdf = pikepdf.new()
    page = pdf.add_blank_page()
    if change == "flate bomb":
        layers = bytes(200_000_000)
        for _ in range(2):
            layers = zlib.compress(layers, 9)
        stream = pdf.make_stream(b"")
        stream.write(layers, filter=pikepdf.Array([pikepdf.Name.FlateDecode, pikepdf.Name.FlateDecode]))
        page.Contents = stream
    if change == "form bomb":
        last = pdf.make_stream(b"BT ET")
        last.Type, last.Subtype, last.BBox = pikepdf.Name.XObject, pikepdf.Name.Form, [0, 0, 9, 9]
        for _ in range(10):
            form = pdf.make_stream(b"/F Do " * 10)
            form.Type, form.Subtype, form.BBox = pikepdf.Name.XObject, pikepdf.Name.Form, [0, 0, 9, 9]
            form.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(F=last))
            last = form
        page.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(F=last))
        page.Contents = pdf.make_stream(b"/F Do")
    if change == "filters":
        stream = pdf.make_stream(b"")
        stream.write(b"00>" * 400, filter=pikepdf.Array([pikepdf.Name.ASCIIHexDecode] * 1000))
        page.Contents = stream
    if change == "page tree":
        pdf.Root.Pages.Kids.append(pdf.Root.Pages)
        pdf.Root.Pages.Count = 1_000_000
    out = io.BytesIO()
    pdf.save(out)
    data = out.getvalue()
    if change == "xref loop":
        at = data.rindex(b"trailer")
        data = data[:at] + data[at:].replace(b"<<", b"<< /Prev %d " % data.rindex(b"xref", 0, data.rindex(b"startxref")), 1)
    return data


def _zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.writestr("zeros", bytes(1_000_000_000))
    return out.getvalue()


def _bomb(name: str) -> tuple[bytes, str]:
    """An attachment and its name."""
    group, _, kind = name.partition(" ")
    if group == "D07":
        return _pdf(kind), "a.pdf"
    return (bombs()[kind][0], f"a.{kind}") if group == "D12" else (_zip_bomb(), "a.zip")


BOMBS = (
    *(f"D07 {change}" for change in ("flate bomb", "form bomb", "filters", "page tree", "xref loop")),
    *(f"D12 {kind}" for kind in ("png", "jpeg", "gif", "tiff", "bmp")),
    "Z03 zip",
)


def _peak(pids: list[int]) -> int:
    """The largest resident size that one of *pids* ever had, in MB."""
    sizes = [0]
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        sizes.append(int(status.partition("VmHWM:")[2].split()[0]) // 1000)
    return max(sizes)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_D07_D12_Z03_whatever_comes_takes_ten_seconds_and_512_MB(inspector: Inspector, name: str) -> None:
    data, file = _bomb(name)
    before = _peak(inspector.workers())
    start = time.monotonic()
    try:
        answer: object = inspector.ask(mail(data, file))
    except (ipc.ChannelError, OSError) as error:
        answer = error
    took = time.monotonic() - start
    peak = _peak(inspector.workers())
    print(f"{name}: {took:.1f} s, {peak} MB (before {before} MB), {answer if not isinstance(answer, requests.Inspected) else ''}")
    assert peak < 512 + 300  # what a worker is born with comes on top
    if isinstance(answer, requests.Inspected):
        found = leaf(answer.inspection)
        print(found.state, found.reason)
        assert took < 15  # ten seconds of processor time; other tests may run beside this one
        assert name.startswith("D07 x") or found.state is not LeafState.INSPECTED
    else:
        # Three of these are poison, and must fit into the time of the door.
        assert took < 18.5 < Limits().pipeline / 3


def test_O11_three_deaths_on_one_message_are_poison_and_it_is_held(inspector: Inspector) -> None:
    """Through a real worker each time: the message is held with its reason, and the next message is read."""
    message = mail(b"%!PS die", "a.ps")
    policy = policies.load(None, CONFIG)
    tx = transaction(message, "officer@it.gujarat.gov.in", ("clerk@it.gujarat.gov.in",), LISTED)
    memory = Keeps()
    asyncio.run(Pipeline(policy, CONFIG, InspectorLink(Config(state_dir=inspector.state)), memory).handle(tx, message))
    (verdict,) = memory.verdicts
    assert [one.disposition for one in verdict.recipients] == [Disposition.HOLD]
    assert [(one.state, one.reason) for one in verdict.leaves] == [
        (LeafState.SUSPECT, "reading this message stopped the inspection 3 times")
    ]
    assert inspector.reason("x").startswith("pid ")
