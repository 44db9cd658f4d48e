"""The inspector process: hostile-inputs catalogue O11, and what a worker may no longer do."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway import content, ipc, requests
from gateway.config import Limits
from gateway.inspector import sandbox, tools
from gateway.verdict import LeafState
from tests.content_mail import CORPUS, mail, scheme
from tests.planted import ATTEMPT

DECODER = msgspec.msgpack.Decoder(requests.InspectorAnswer)

# Runs the service with readers of its own beside the real ones: each misbehaves in one way when it meets its word.
SERVICE = (
    ATTEMPT
    + """
import ctypes, os, socket, sys, time
from gateway import content, policy
from gateway.config import Config
from gateway.extraction import base
from gateway.inspector import service
from gateway.verdict import LeafState

def misbehave(piece, budget):
    word = piece.data.strip()
    if word == b"%!PS hang":
        while True:
            pass
    if word == b"%!PS sleep":
        ctypes.CDLL(None).pause()
    if word == b"%!PS die":
        ctypes.string_at(0)
    if word == b"%!PS memory":
        return base.Found(reason=str(len(bytearray(3_000_000_000))))
    if word == b"%!PS native memory":
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        return base.Found(reason="refused" if libc.malloc(ctypes.c_size_t(3_000_000_000)) is None else "allowed")
    if word == b"%!PS rights":
        results = [attempt(what) for what in (
            lambda: socket.socket(socket.AF_INET), lambda: socket.socket(socket.AF_UNIX), lambda: open("/etc/passwd"),
            lambda: open("/tmp/inspector-was-here", "w"), lambda: os.execv("/bin/true", ["true"]), fork,
            lambda: os.kill(os.getppid(), 0), lambda: os.listdir("/"), lambda: os.unlink("/tmp/x"), lambda: os.mkdir("/tmp/y"))]
        libc = ctypes.CDLL(None, use_errno=True)
        results.append("done" if libc.ptrace(0, 0, 0, 0) == 0 else str(ctypes.get_errno()))
        return base.Found(reason=" ".join(results))
    return base.Found(reason=f"pid {os.getpid()}")

content.TABLE = {**content.TABLE, "postscript": misbehave}
limits = {"inspect_cpu": 2.5, "inspectors": 2, "inspect_memory": 400_000_000, "ocr_seconds": 0}
service.run(Config(state_dir=sys.argv[1], limits=limits), policy.scheme_of)
"""
)


class Service:
    """A running inspector."""

    def __init__(self, state: Path) -> None:
        self.path = state / "run" / "inspector.sock"
        self.log = state / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([sys.executable, "-c", SERVICE, str(state)], stderr=log, cwd=Path(__file__).parents[1])
        deadline = time.monotonic() + 60
        while not self.path.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(30)
        with ipc.short_path(self.path) as name:
            sock.connect(name)
        return sock

    def ask(self, body: bytes, *, sha256: str = "", nonce: str = "n1") -> requests.InspectorAnswer:
        """One request and its answer. Raises ChannelError when the worker went away."""
        with self.connect() as sock:
            digest = sha256 or hashlib.sha256(body).hexdigest()
            ipc.write_frame(sock, 7, requests.Inspect(nonce, digest, want_text=True), body)
            try:
                sequence, answer, _ = ipc.read_frame(sock, DECODER)
            except OSError as error:
                raise ipc.ChannelError(str(error)) from error
            assert sequence == 7
            assert isinstance(answer, requests.Inspected | requests.Failed)
            return answer

    def reason(self, word: str) -> str:
        """What the misbehaving reader says about the PostScript *word*."""
        answer = self.ask(mail(b"%!PS " + word.encode(), "a.ps"))
        assert isinstance(answer, requests.Inspected)
        return answer.inspection.leaves[1].reason

    def again(self) -> None:
        """An answer comes within two seconds; a dying worker may take a question with it, as a door expects."""
        deadline = time.monotonic() + 2
        while True:
            try:
                assert self.reason("x").startswith("pid ")
            except (ipc.ChannelError, OSError):
                assert time.monotonic() < deadline
            else:
                assert time.monotonic() < deadline
                return

    def workers(self) -> list[int]:
        """The pids of the workers."""
        return [pid for pid, name in self.children() if name != "gateway-tools"]

    def children(self) -> list[tuple[int, str]]:
        """The pids and names of all processes of the service."""
        listing = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return [(int(line.split()[0]), line.split()[1]) for line in listing.stdout.splitlines()]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("inspector"))
    yield running
    running.process.terminate()
    assert running.process.wait(10) == 0


NAMES = sorted(file.name for file in CORPUS.iterdir() if file.suffix not in (".py", ".sh"))


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (place % 4 > 0)) for place, name in enumerate(NAMES)])
def test_a_worker_says_what_a_free_process_says(service: Service, name: str) -> None:
    """Nothing that a reader needs was left outside of the sandbox."""
    message = mail((CORPUS / name).read_bytes(), name)
    answer = service.ask(message)
    assert isinstance(answer, requests.Inspected)
    # How many words of a picture are read depends on what else the machine does: that is for test_inspector_tools.
    limits, digest = Limits(ocr_seconds=0), hashlib.sha256(message).hexdigest()
    free = content.unpack(message, sha256=digest, limits=limits, scheme=scheme(), want_text=True, tools=tools.direct(limits))
    assert answer.inspection == free


@pytest.mark.parametrize(
    "charset", ["koi8-r", "gb2312", "big5", "shift_jis", "euc-kr", "iso-2022-jp", "utf-7", "windows-1256", "hz-gb-2312"]
)
def test_codecs_are_there_already(service: Service, charset: str) -> None:
    answer = service.ask(f"From: a@example.gov.in\r\nContent-Type: text/plain; charset={charset}\r\n\r\nwords\r\n".encode())
    assert isinstance(answer, requests.Inspected)
    assert answer.inspection.leaves[0].state is LeafState.INSPECTED


def test_the_answer_quotes_nonce_and_hash(service: Service) -> None:
    body = mail(b"words", "a.txt")
    answer = service.ask(body, nonce="other")
    assert isinstance(answer, requests.Inspected)
    assert (answer.nonce, answer.inspection.sha256) == ("other", hashlib.sha256(body).hexdigest())


def test_content_with_another_hash_is_not_inspected(service: Service) -> None:
    assert isinstance(service.ask(b"From: a@example.org\r\n\r\nx", sha256="00" * 32), requests.Failed)


def test_what_a_worker_may_not_do(service: Service) -> None:
    results = service.reason("rights").split()
    assert len(results) == 11
    assert "done" not in results
    assert set(results) <= {str(errno.EPERM), str(errno.EACCES), str(errno.ENOSYS)}
    assert not Path("/tmp/inspector-was-here").exists()


def test_O11_a_killed_worker_is_replaced(service: Service) -> None:
    for pid in service.workers():
        os.kill(pid, signal.SIGKILL)
    service.again()
    time.sleep(0.1)
    assert len(service.workers()) == 2


def test_O11_a_worker_killed_while_it_reads(service: Service) -> None:
    with service.connect() as sock:
        body = mail(b"%!PS sleep", "a.ps")
        ipc.write_frame(sock, 1, requests.Inspect("n", hashlib.sha256(body).hexdigest()), body)
        time.sleep(0.3)
        for pid in service.workers():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises((ipc.ChannelError, OSError)):
            ipc.read_frame(sock, DECODER)
    service.again()


@pytest.mark.parametrize("word", ["hang", "sleep"])
@pytest.mark.slow
def test_O11_a_hanging_reader_is_ended(service: Service, word: str) -> None:
    start = time.monotonic()
    with pytest.raises(ipc.ChannelError):
        service.reason(word)
    assert time.monotonic() - start < 30
    assert service.reason("x").startswith("pid ")


def test_O11_a_crash_in_native_code(service: Service) -> None:
    with pytest.raises(ipc.ChannelError):
        service.reason("die")
    assert service.reason("x").startswith("pid ")


def test_O11_too_much_memory_is_a_suspect_leaf(service: Service) -> None:
    assert "memory" in service.reason("memory")
    assert service.reason("native memory") == "refused"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"GET / HTTP/1.0\r\n\r\n" * 4,
        struct.pack("!QII", 1, 0xFFFFFFFF, 0xFFFFFFFF),
        struct.pack("!QII", 1, 4, 0) + b"\xff\xff\xff\xff",
        struct.pack("!QII", 1, 100, 0) + b"short",
        struct.pack("!QII", 1, 0, 0xFFFFFF00),
    ],
)
def test_O11_frames_that_are_none(service: Service, octets: bytes) -> None:
    with service.connect() as sock:
        sock.sendall(octets)
        sock.shutdown(socket.SHUT_WR)
        try:
            assert sock.recv(100) == b""
        except ConnectionError:
            pass
    assert service.reason("x").startswith("pid ")


def test_a_silent_connection_does_not_stop_the_others(service: Service) -> None:
    with service.connect():
        for _ in range(4):
            assert service.reason("x").startswith("pid ")


def test_a_reload_brings_new_workers(service: Service) -> None:
    before = set(service.workers())
    service.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 5
    while set(service.workers()) & before or len(service.workers()) != 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert service.reason("x").startswith("pid ")


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    other = Service(tmp_path)
    assert other.reason("x").startswith("pid ")
    pids = other.workers()
    assert len(pids) == 2
    other.process.kill()
    other.process.wait()
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(") ")[1][:1] for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_sandbox_describes_itself() -> None:
    lines = sandbox.describe()
    assert {line.partition(":")[0] for line in lines} == {"resource limits", "no new privileges", "seccomp", "landlock"}


def test_filter_programs_are_well_formed() -> None:
    from gateway.inspector import syscalls

    for architecture in syscalls.ARCHITECTURES.values():
        code = sandbox.program(architecture)
        assert len(code) % 8 == 0
        assert len(code) // 8 < 4096
        assert len(set(architecture.refused)) == len(architecture.refused)
        code_of_last, *_ = struct.unpack("=HBBI", code[-8:])
        assert code_of_last == 0x06
