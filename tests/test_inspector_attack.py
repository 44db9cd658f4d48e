"""Code that has taken over an inspection worker: what it can say about the mail of others, whom it can stop, and what a door believes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import ipc, requests
from gateway import policy as policies
from gateway.config import Config
from gateway.doors.peers import InspectorLink
from gateway.inspector import dispatch
from gateway.pipeline import Keys, Pipeline, WorkerDied
from gateway.verdict import Inspection
from tests.content_mail import mail
from tests.test_inspector import Service
from tests.test_ordinary import CONFIG, LISTED, STRANGER, Keeps, transaction

# The service with one worker, and a reader that runs the code that a message brings.
SERVICE = """
import ctypes, os, resource, signal, socket, struct, sys, time
from gateway import content, ipc, policy, requests
from gateway.config import Config
from gateway.extraction import base
from gateway.inspector import dispatch, service, worker

libc = ctypes.CDLL(None, use_errno=True)

def call(*arguments):
    ctypes.set_errno(0)
    return str(ctypes.get_errno()) if libc.syscall(*arguments) < 0 else "done"

def sockets():
    found = []
    for number in range(3, 64):
        try:
            if os.fstat(number).st_mode & 0o170000 == 0o140000:
                found.append(number)
        except OSError:
            pass
    return found

def connection():
    return next(n for n in sockets() if ipc.credentials(socket.socket(fileno=os.dup(n))).pid != os.getppid())

def planted(piece, budget):
    room = {**globals(), "said": "pid"}
    if piece.data.startswith(b"%!PS run"):
        try:
            exec(piece.data.partition(b"\\n")[2], room)
        except Exception as error:
            room["said"] = repr(error)
    return base.Found(reason=f"{room['said']} {os.getpid()}")

content.TABLE = {**content.TABLE, "postscript": planted}
limits = {"inspect_cpu": 1.0, "inspectors": 1, "ocr_seconds": 0, "pipeline": 15.0}
service.run(Config(state_dir=sys.argv[1], limits=limits), policy.scheme_of)
"""
OFFICER = "officer@it.gujarat.gov.in"
PLAIN = mail(b"%!PS x", "a.ps")


class Taken(Service):
    """The service of this file."""

    def __init__(self, state: Path) -> None:
        self.path, self.state = state / "run" / "inspector.sock", state
        root = Path(__file__).parents[1]
        self.process = subprocess.Popen([sys.executable, "-c", SERVICE, str(state)], cwd=root, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self.path.exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def run(self, code: str) -> str:
        """What *code* leaves in ``said``, run by a worker."""
        answer = self.ask(mail(b"%!PS run\n" + code.encode(), "a.ps"))
        assert isinstance(answer, requests.Inspected)
        return answer.inspection.leaves[1].reason.rpartition(" ")[0]

    def link(self, code: str) -> object:
        """What a door makes of the answer to *code*."""
        message = mail(b"%!PS run\n" + code.encode(), "a.ps")
        return asyncio.run(InspectorLink(Config(state_dir=self.state)).inspect(message, hashlib.sha256(message).hexdigest()))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taken]:
    running = Taken(tmp_path_factory.mktemp("taken"))
    yield running
    running.process.terminate()
    assert running.process.wait(10) == 0


def test_O11_a_worker_has_no_socket_that_requests_come_from(service: Taken) -> None:
    assert service.reason("x").startswith("pid ")
    (worker,) = service.workers()
    files = sorted(Path(f"/proc/{worker}/fd").iterdir(), key=lambda file: int(file.name))
    kinds = [os.readlink(file).partition(":")[0] for file in files if int(file.name) > 2]
    assert kinds.count("socket") <= 2, "its link to the parent, and that to the programs"
    assert set(kinds) <= {"socket", "/dev/urandom"}
    # the same from within, with the message's own connection; none of them listens
    listening = "said = ' '.join(str(socket.socket(fileno=os.dup(n)).getsockopt(1, 30)) for n in sockets())"
    assert set(service.run(listening).split()) == {"0"}


LIES = """
clean = content.unpack
def lie(self, request, body):
    inspection = clean(body, sha256=request.sha256, limits=self._limits, scheme=self._scheme)
    return requests.Inspected(request.nonce, __import__("msgspec").structs.replace(inspection, ambiguity=("a lie",)))
worker._Task._answer = lie
worker._Task.serve.__globals__["GROWTH"] = 1 << 60
signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""


@pytest.mark.slow
def test_O11_a_worker_that_lies_gets_no_more_than_its_share_of_messages(service: Taken) -> None:
    """And it is killed when it does not go by itself."""
    service.run(LIES + "os._exit = lambda code: time.sleep(1000)")
    (liar,) = service.workers()
    lies = 0
    for _ in range(3 * dispatch.TASKS):
        answer = service.ask(PLAIN)
        assert isinstance(answer, requests.Inspected)
        lies += "a lie" in answer.inspection.ambiguity
    assert 0 < lies < dispatch.TASKS
    deadline = time.monotonic() + 8
    while Path(f"/proc/{liar}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_O11_a_worker_that_stops_its_own_clocks_is_killed_all_the_same(service: Taken) -> None:
    began = time.monotonic()
    with pytest.raises(ipc.ChannelError):
        service.run(
            "signal.setitimer(signal.ITIMER_REAL, 0)\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\n"
            "resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY,) * 2)\ntime.sleep(1000)"
        )
    assert time.monotonic() - began < 10
    assert service.reason("x").startswith("pid ")


@pytest.mark.parametrize("words", [b"r", b"rr", b"s", b"rs" * 8, b"\0", b"r" * 100])
def test_O11_a_worker_that_speaks_out_of_turn_is_killed_or_gets_one_message(service: Taken, words: bytes) -> None:
    """To say that it waits before it has answered brings it a message earlier, and counts."""
    try:
        service.run(f"for n in sockets():\n try: os.write(n, {words!r})\n except OSError: pass")
    except (ipc.ChannelError, OSError, AssertionError):
        pass
    service.again()


X86 = """
parent, page = os.getppid(), ctypes.create_string_buffer(8192)
address = ctypes.c_void_p(ctypes.addressof(page))
tried = dict(
    kill=(62, parent, 0), tkill=(200, parent, 0), tgkill=(234, parent, parent, 0), sigqueue=(129, parent, 0, address),
    tgsigqueue=(297, parent, parent, 0, address), pidfd_open=(434, parent, 0), prlimit=(302, parent, 7, 0, address),
    setown=(72, sockets()[0], 8, parent), setsig=(72, sockets()[0], 10, 9), setown_ex=(72, sockets()[0], 15, address),
    tiocsti=(16, 0, 0x5412, b"x"), fiosetown=(16, sockets()[0], 0x8901, address), pdeathsig=(157, 1, 0), dumpable=(157, 4, 1),
    ptracer=(157, 0x59616d61, parent), setpriority=(141, 0, parent, 19), affinity=(203, parent, 8, address),
    scheduler=(144, parent, 0, address), ptrace=(101, 16, parent, 0, 0), readv=(310, parent, address, 1, address, 1, 0),
    writev=(311, parent, address, 1, address, 1, 0), kcmp=(312, parent, parent, 0, 0, 0), madvise=(440, 3, 0, 0, 0),
    shmget=(29, 0, 4096, 0o1600), shmat=(30, 0, 0, 0), semget=(64, 0, 1, 0o1600), msgget=(68, 0, 0o1600), memfd=(319, b"x", 0),
    io_uring=(425, 8, address), userfaultfd=(323, 0), bpf=(321, 0, address, 8), perf=(298, address, 0, -1, -1, 0),
    keyctl=(250, 0, -3, 0), accept=(43, sockets()[0], 0, 0), accept4=(288, sockets()[0], 0, 0, 0), sendmsg=(46, sockets()[0], address, 0),
    sendmmsg=(307, sockets()[0], address, 1, 0), vmsplice=(278, 1, address, 1, 0), ftruncate=(77, 2, 0), fallocate=(285, 2, 3, 0, 1),
    process=(56, 17, 0, 0, 0, 0), thread=(56, 0x3d0f00, ctypes.c_void_p(address.value + 4096), 0, 0, 0), fork=(57,),
    clone3=(435, address, 88),
    socket=(41, 1, 1, 0), socketpair=(53, 1, 1, 0, address), connect=(42, sockets()[0], address, 2), unshare=(272, 1 << 28),
    proc=(257, -100, b"/proc/self/maps", 0), proc_mem=(257, -100, b"/proc/%d/mem" % parent, 2), shm=(257, -100, b"/dev/shm/x", 0o102),
)
said = " ".join(f"{name}={call(*what)}" for name, what in tried.items())
own = [call(234, os.getpid(), os.getpid(), 0), call(302, 0, 7, 0, address), call(302, os.getpid(), 7, 0, address), call(157, 3)]
said += " own=" + ",".join(own)
"""


def test_what_a_worker_may_not_do_to_its_siblings_and_its_parent(service: Taken) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers of the calls are those of x86-64")
    *refused, own = service.run(X86).split()
    assert [one for one in refused if not one.endswith(("=1", "=38"))] == []
    assert len(refused) == 51
    assert own == "own=done,done,done,done"


UNREADABLE = {
    "a frame over the limit": "os.write(connection(), struct.pack('!QII', 1, 0xffffffff, 0) + bytes(1000))",
    "a body over the limit": "os.write(connection(), struct.pack('!QII', 1, 1, 0xffffff00) + bytes(1000))",
    "no msgpack": "os.write(connection(), struct.pack('!QII', 1, 4, 0) + bytes([255] * 4))",
    "a type of the keeper": "ipc.write_frame(socket.socket(fileno=os.dup(connection())), 1, requests.Done())",
    "the end of its connection": "socket.socket(fileno=os.dup(connection())).shutdown(2)",
    "nothing": "time.sleep(1000)",
    "its own end": "os._exit(0)",
}
FORGED = {
    "another nonce": "('x' * 32, clean(body, sha256=request.sha256, limits=self._limits, scheme=self._scheme))",
    "another hash": "(request.nonce, clean(body, sha256='00' * 32, limits=self._limits, scheme=self._scheme))",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_O11_a_door_takes_an_answer_that_is_none_for_a_death(service: Taken, name: str) -> None:
    with pytest.raises(WorkerDied):
        service.link(UNREADABLE[name])
    service.again()


@pytest.mark.parametrize("name", FORGED)
def test_O11_a_door_believes_no_answer_to_another_question(service: Taken, name: str) -> None:
    forge = f"worker._Task._answer = lambda self, request, body: requests.Inspected{FORGED[name]}"
    service.run(f"clean = content.unpack\n{forge}")
    with pytest.raises(WorkerDied):
        service.link("said = 'it is not run'")
    os.kill(service.workers()[0], signal.SIGKILL)
    service.again()


class Busy:
    """An inspector whose workers are all at work, with the messages that wait for one."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def inspect(self, content: bytes, sha256: str, keys: Keys = ()) -> Inspection:
        self.asked.append(sha256)
        await asyncio.sleep(1000)
        raise AssertionError


def test_a_flood_of_strangers_pictures_leaves_the_inspector_to_our_own() -> None:
    """Mail of plain text does not need it at all."""
    policy, busy, memory = policies.load(None, CONFIG), Busy(), Keeps()

    async def flood() -> None:
        made = Pipeline(policy, CONFIG, busy, memory)
        strangers = [mail(b"%!PS" + bytes([n]), "a.ps") for n in range(20)]
        under_way = [asyncio.create_task(made.handle(transaction(one, "x@example.org", (OFFICER,), STRANGER), one)) for one in strangers]
        await asyncio.sleep(0.05)
        assert len(busy.asked) == CONFIG.limits.inspectors
        own = transaction(PLAIN, OFFICER, (OFFICER,), LISTED)
        under_way.append(asyncio.create_task(made.handle(own, PLAIN)))
        await asyncio.sleep(0.05)
        assert busy.asked[-1] == own.sha256
        words = b"From: <x@example.org>\r\nTo: <%s>\r\nDate: Thu, 1 Jan 2026 10:00:00 +0000\r\n\r\nwords\r\n" % OFFICER.encode()
        assert (await made.handle(transaction(words, "x@example.org", (OFFICER,), STRANGER), words)).code == 250
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    asyncio.run(flood())


def test_O11_of_two_answers_the_first_counts(service: Taken) -> None:
    """The second meets no question: a door has one connection for each."""
    service.run("once = ipc.write_frame\nipc.write_frame = lambda *words: (once(*words), once(*words))")
    for _ in range(3):
        assert getattr(service.link("said = 'twice'"), "leaves", None)
    os.kill(service.workers()[0], signal.SIGKILL)
    service.again()
