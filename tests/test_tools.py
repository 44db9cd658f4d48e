"""Programs beside the workers: what they may do, how they end, and what they are asked."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from gateway import content
from gateway.config import Limits
from gateway.extraction.base import Budget, Look, OverLimit, Picture, ToolFault, Unreadable, Words
from gateway.inspector import confined, rar_listing, tool_pool, tool_words, tools
from gateway.inspector.confined import Program
from gateway.inspector.runner import Job, Outcome, Runner
from gateway.inspector.tools import Installed, Recognise, ToolBox
from gateway.pictures import image_pixels
from gateway.verdict import LeafState
from tests.content_mail import mail, scheme
from tests.planted import ATTEMPT

SH = Program(os.path.realpath("/bin/sh"))
CAT = Program(os.path.realpath(shutil.which("cat") or "/bin/cat"))
PYTHON = Program("/usr/bin/python3", ("/usr/lib",))
MEMORY = 512_000_000
has_python = pytest.mark.skipif(not Path(PYTHON.path).exists(), reason="there is no Python of the system")


def run(program: Program, *arguments: str, given: bytes = b"", archive: bytes = b"", most: int = 1_000_000, seconds: float = 10) -> Outcome:
    runner = Runner(1, MEMORY)
    runner.begin("one", Job(program, arguments, given, archive, most, seconds))
    try:
        while True:
            done, _ = runner.turn(None)
            if done:
                return done[0][1]
    finally:
        runner.stop()


# --- what a program may do --------------------------------------------------------------------------------------------

PLANTED = (
    ATTEMPT
    + """
import ctypes, os, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def ptrace():
    if libc.ptrace(16, os.getppid(), 0, 0):
        raise OSError(ctypes.get_errno(), "")
def thread():
    import _thread
    try:
        _thread.start_new_thread(lambda: None, ())
    except RuntimeError:
        raise OSError(1, "")
key, out = sys.argv[1:3]
print(*(attempt(what) for what in (
    lambda: open(key), lambda: open("/etc/shadow"), lambda: os.listdir("/root"), lambda: os.listdir("/"), lambda: open(out, "w"),
    lambda: open("/dev/shm/was-here", "w"), lambda: os.execv("/bin/true", ["true"]),
    lambda: os.execv("/usr/bin/env", ["env"]), fork, thread,
    lambda: socket.socket(socket.AF_INET), lambda: socket.socket(socket.AF_UNIX), lambda: os.kill(os.getppid(), 0), ptrace,
    lambda: os.unlink(out), lambda: os.mkdir(out + "x"))))
print(sorted(os.environ), os.getsid(0) == os.getpid())
"""
)


@has_python
def test_what_code_in_a_program_may_not_do(tmp_path: Path) -> None:
    """Code that took over a program may read that program's own files, and nothing else."""
    key, out = tmp_path / "vault.key", tmp_path / "out"
    key.write_text("secret")
    out.write_text("there")
    outcome = run(PYTHON, "-S", "-c", PLANTED, str(key), str(out))
    results, rest = outcome.output.decode().splitlines()
    assert len(results.split()) == 16
    assert "done" not in results
    assert set(results.split()) <= {"1", "13", "38"}
    assert rest == "['HOME', 'LC_ALL', 'LOGNAME', 'OMP_NUM_THREADS', 'OMP_THREAD_LIMIT', 'TZ'] True"
    assert out.read_text() == "there"


@has_python
def test_a_program_has_no_descriptor_but_its_pipes_and_its_archive() -> None:
    look = "import os\nfor n in range(64):\n try:\n  print(n, os.readlink(f'/proc/self/fd/{n}').split(':')[0])\n except OSError: pass"
    fds = run(Program(PYTHON.path, ("/usr/lib", "/proc")), "-S", "-c", look, archive=b"x").output.decode().splitlines()
    assert [line.split()[1] for line in fds[:3]] == ["pipe", "pipe", "/dev/null"]
    assert [line for line in fds[3:] if "memfd" not in line] == []


@has_python
def test_a_program_gets_no_more_memory() -> None:
    outcome = run(PYTHON, "-S", "-c", "bytearray(900_000_000)")
    assert outcome.code == 1
    assert run(PYTHON, "-S", "-c", "bytearray(100_000_000)").code == 0


@has_python
def test_the_fence_of_bubblewrap_shows_a_program_its_own_files_only(tmp_path: Path) -> None:
    bwrap = confined.find("bwrap")
    if bwrap is None:
        pytest.skip("bubblewrap is not installed")
    key = tmp_path / "vault.key"
    key.write_text("secret")
    code = (
        "import os, sys\nprint(os.path.exists(sys.argv[1]), os.path.exists('/etc/passwd'), os.path.exists('/root'))\n"
        "sys.stdout.flush()\nos.fork()"
    )
    process = confined.start(PYTHON, ("-S", "-c", code, str(key)), memory=MEMORY, seconds=5, fence=bwrap.path)
    out, _ = process.communicate(timeout=20)
    if not out:
        pytest.skip("bubblewrap may make no namespaces here")
    assert out.decode().splitlines() == ["False False False"]
    assert process.returncode != 0


def test_programs_are_not_looked_for_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    planted = tmp_path / "tesseract-of-nobody"
    planted.write_text("#!/bin/sh\n")
    planted.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert confined.find("tesseract-of-nobody") is None
    assert confined.find("true") is not None


# --- how they end -----------------------------------------------------------------------------------------------------


def test_a_program_that_hangs_ends_at_its_deadline() -> None:
    start = time.monotonic()
    outcome = run(SH, "-c", "while :; do :; done", seconds=0.5)
    assert outcome.late
    assert 0.4 < time.monotonic() - start < 3


def test_output_without_end_is_cut() -> None:
    outcome = run(SH, "-c", "while :; do echo xxxxxxxxxxxxxxxx; done", most=10_000, seconds=5)
    assert (outcome.large, outcome.code) == (True, None)


def test_a_program_that_reads_nothing_does_not_stop_the_runner() -> None:
    assert run(SH, "-c", "exit 3", given=bytes(5_000_000)).code == 3


def test_a_program_that_closes_its_output_and_goes_on_is_ended() -> None:
    start = time.monotonic()
    assert run(SH, "-c", "exec >&-; while :; do :; done", seconds=8).code is None
    assert time.monotonic() - start < 5


def test_a_program_that_is_not_there_is_a_fault_of_ours() -> None:
    assert run(Program("/nowhere/program")).fault


def test_lanes_and_queue() -> None:
    runner = Runner(2, MEMORY)
    for number in range(5):
        runner.begin(number, Job(CAT, (), b"%d" % number))
    found: dict[object, Outcome] = {}
    while len(found) < 5:
        done, _ = runner.turn(5)
        found.update(done)
    assert {key: outcome.output for key, outcome in found.items()} == {number: b"%d" % number for number in range(5)}
    runner.begin("a", Job(SH, ("-c", "while :; do :; done"), seconds=0.6))
    runner.begin("b", Job(SH, ("-c", "while :; do :; done"), seconds=0.6))
    runner.begin("c", Job(CAT, (), b"x", seconds=0.3))
    runner.begin("d", Job(CAT, (), b"x", seconds=9))
    runner.forget("d")
    late: dict[object, Outcome] = {}
    while len(late) < 3:
        done, _ = runner.turn(5)
        late.update(done)
    assert all(outcome.late for outcome in late.values())
    assert late["c"].waited >= 0.3
    runner.stop()


def test_programs_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom gateway.inspector import confined\n"
        "p = confined.start(confined.Program(sys.argv[1]), ('-c', 'while :; do :; done'), memory=10**9, seconds=60)\n"
        "print(p.pid, flush=True)\nimport time; time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, SH.path], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(") ")[1][:1]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- what is asked and answered ---------------------------------------------------------------------------------------

TABLE = (
    b"level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n"
    b"5\t1\t1\t1\t1\t1\t10\t5\t50\t20\t96.5\tSECRET\n"
    b"5\t1\t2\t1\t1\t1\t10\t400\t50\t20\t90\tThe\n5\t1\t2\t1\t1\t2\t70\t400\t50\t20\t88\tlist\n"
    b"5\t1\t2\t1\t2\t1\t10\t450\t50\t20\t12\txq\xff\n"
    b"5\t1\t3\t1\t1\t1\t10\t970\t50\t20\t91\tSECRET\n"
    b"4\t1\t3\t1\t1\t0\t10\t970\t50\t20\t-1\t\n5\tbroken\n5\t1\t3\t1\t1\t1\tx\ty\tz\t20\tnan?\tword\n"
)


def test_the_table_of_words() -> None:
    words = tool_words.words(TABLE, 1000)
    assert words.text == "SECRET\nThe list\nSECRET"
    assert (words.head, words.foot) == ("SECRET", "SECRET")
    assert words.doubtful == "xq\ufffd"
    assert words.count == 5
    assert 75 < words.confidence < 95
    assert tool_words.words(b"", 1000) == Words()


def test_which_side_is_up() -> None:
    report = b"Page number: 0\nOrientation in degrees: 180\nRotate: 180\nOrientation confidence: %s\nScript: Latin\n"
    assert tool_words.turn(report % b"9.2") == Words(turn=180, confidence=9.2)
    assert tool_words.turn(report % b"0.3") == Words()
    assert tool_words.turn(b"") == Words()


def test_the_list_of_members() -> None:
    listing = b'{"lsarContents":[{"XADFileName":"d","XADIsDirectory":1},{"XADFileName":"a","XADFileSize":3,"lsarTestResult":"ok"}]}'
    assert rar_listing.members(listing) == (("a", 3),)
    for broken in (b"", b"{}", b"[]", listing.replace(b'"ok"', b'"wrong_checksum"'), listing.replace(b":3", b":-3"), b'{"lsarError":1}'):
        with pytest.raises(Unreadable):
            rar_listing.members(broken)


HAS = Installed(CAT, ("eng", "hin"), True, (), SH, SH)


def test_nobody_names_a_program_or_an_argument() -> None:
    picture = tools.job(Recognise(5, 4, 2, 200, Look.PAGE), bytes(8), HAS)
    assert picture is not None
    assert picture.program is CAT
    assert picture.arguments == ("stdin", "stdout", "--dpi", "200", "--psm", "3", "-l", "eng+hin", "tsv")
    assert picture.given == b"P5\n4 2\n255\n" + bytes(8)
    assert tools.job(Recognise(5, 4, 3, 200, Look.PAGE), bytes(8), HAS) is None
    assert tools.job(Recognise(5, -4, -2, 200, Look.PAGE), bytes(8), HAS) is None
    assert tools.job(tools.ListArchive(5, "a\0b"), b"x", HAS) is None
    assert tools.job(tools.ListArchive(5, "p" * 2000), b"x", HAS) is None
    archive = tools.job(tools.ListArchive(5, "-o"), b"Rar!", HAS)
    assert archive is not None
    assert archive.arguments == ("-j", "-t", "-p", "-o", "{archive}")
    assert tools.job(tools.UnpackArchive(500, "", 10), b"Rar!", HAS).seconds == 60  # type: ignore[union-attr]


class _Served:
    """A pool in a thread, with the socket over which it gets its workers."""

    def __init__(self, has: Installed = HAS, limits: Limits | None = None) -> None:
        self.control, theirs = socket.socketpair()
        self._thread = threading.Thread(target=tool_pool.Pool(theirs, has, limits or Limits(), 1_000_000).serve)
        self._thread.start()

    def box(self) -> ToolBox:
        return ToolBox(tool_pool.PoolLink(tool_pool.hand_over(self.control)), HAS, 2)

    def end(self) -> None:
        self.control.close()
        self._thread.join(5)
        assert not self._thread.is_alive()


def test_a_pool_answers_its_workers_and_ends_after_them() -> None:
    served = _Served(Installed(Program(SH.path), ("eng",), True))
    first, second = (tool_pool.hand_over(served.control) for _ in range(2))
    box = ToolBox(tool_pool.PoolLink(first), HAS, 2)
    # A shell that is called as tesseract knows no file "stdin": the exit code is the program's own, and no statement on the picture.
    box.begin(Picture(2, 2, bytes(4)), 5)
    with pytest.raises(ToolFault, match="exit code"):
        box.next()
    second.close()
    first.close()
    served.end()


def _question(request: tools.Requests, body: bytes, number: int = 1) -> bytes:
    header = msgspec.msgpack.encode(request)
    return tool_pool._PREFIX.pack(number, len(header), len(body)) + header + body


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.0\r\n\r\n" * 4,
        tool_pool._PREFIX.pack(1, 100_000, 0),
        tool_pool._PREFIX.pack(1, 4, 0) + b"\xff\xff\xff\xff",
        tool_pool._PREFIX.pack(1, 10, 2_000_000),
        _question(Recognise(float("nan"), 2, 2, 0, Look.PAGE), bytes(4)),
    ],
)
def test_a_worker_that_asks_what_no_worker_asks_is_left_alone(octets: bytes) -> None:
    served = _Served()
    bad, good = (tool_pool.hand_over(served.control) for _ in range(2))
    bad.sendall(octets)
    bad.settimeout(5)
    try:
        assert bad.recv(100) == b""
    except ConnectionError:
        pass
    good.close()
    bad.close()
    served.end()


def test_a_worker_that_never_reads_its_answers_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_pool, "_UNREAD", 0)
    monkeypatch.setattr(tools, "job", lambda request, body, has: Job(CAT, (), given=bytes(900_000), most=10**12))
    served = _Served(limits=Limits(archive_bytes=1_000_000))
    greedy, other = (tool_pool.hand_over(served.control) for _ in range(2))
    greedy.settimeout(10)
    with pytest.raises(OSError):  # it is dropped, which is an end in the middle of an answer
        for number in range(1, 50):
            greedy.sendall(_question(Recognise(5, 2, 2, 0, Look.PAGE), bytes(4), number))
            time.sleep(0.05)
    other.settimeout(10)
    other.sendall(_question(Recognise(5, 2, 2, 0, Look.PAGE), bytes(4)))
    assert other.recv(4), "the others are served"
    other.close()
    greedy.close()
    served.end()


def test_a_pool_that_is_gone_is_a_fault_of_ours() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    box = ToolBox(tool_pool.PoolLink(ours), HAS, 2)
    with pytest.raises(ToolFault):
        box.words(Picture(2, 2, bytes(4)), 1)
    with pytest.raises(ToolFault):
        box.rar(b"Rar!", "", 10, 1)
    with pytest.raises(ToolFault):
        box.next()


# --- with the real programs -------------------------------------------------------------------------------------------

FIXTURES = Path(__file__).parent / "fixtures"
real = tools.installed(Limits())
needs_tesseract = pytest.mark.skipif("eng" not in real.languages, reason="tesseract-ocr is not installed")
needs_unar = pytest.mark.skipif(not real.unpacks_rar, reason="unar is not installed")


def _direct() -> ToolBox:
    found = tools.direct(Limits())
    assert isinstance(found, ToolBox)
    return found


def _pixels(name: str) -> Picture:
    return image_pixels.decode((FIXTURES / "scans" / name).read_bytes(), "PNG", 0, Budget(Limits()))


@pytest.mark.service
@needs_tesseract
def test_words_of_a_screen() -> None:
    words = _direct().words(_pixels("screen.png"), 10)
    assert "CONFIDENTIAL" in words.text
    assert words.confidence > 80


@pytest.mark.service
@needs_tesseract
def test_too_little_time_is_said_and_a_dropped_job_is_not_heard_of() -> None:
    box, page = _direct(), _pixels("page.png")
    with pytest.raises(OverLimit):
        box.words(page, 0.2)
    dropped = box.begin(page, 10)
    box.drop(dropped)
    kept = box.begin(_pixels("screen.png"), 10)
    assert box.next()[0] == kept
    with pytest.raises(ToolFault):
        box.next()


@pytest.mark.service
@needs_tesseract
def test_tools_made_before_a_fork_work_after_it() -> None:
    box = _direct()
    box.words(_pixels("screen.png"), 10)
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if "CONFIDENTIAL" in box.words(_pixels("screen.png"), 10).text else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.service
@needs_tesseract
def test_a_killed_tesseract_is_unreadable_and_not_our_fault() -> None:
    box = _direct()
    box.begin(_pixels("page.png"), 10)
    time.sleep(0.3)
    children = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True, text=True).stdout.split("\n")
    (pid,) = (int(line.split()[0]) for line in children if "tesseract" in line)
    os.kill(pid, signal.SIGSEGV)
    outcome = box.next()[1]
    assert isinstance(outcome, Unreadable)
    assert not isinstance(outcome, OverLimit)


RAR = "526172211a0701005d2bad1e0b0105070006010180808000"


@pytest.mark.service
@needs_unar
@pytest.mark.parametrize("data", [b"", b"Rar!\x1a\x07\x00", b"PK\x03\x04" + bytes(100), bytes.fromhex(RAR), os.urandom(3000)])
def test_what_is_no_rar_archive_is_unreadable(data: bytes) -> None:
    with pytest.raises((Unreadable, ToolFault) if not data else Unreadable):
        _direct().rar(data, "", 1_000_000, 5)


@pytest.mark.service
@needs_unar
def test_a_solid_archive_of_version_4_is_read_by_unar() -> None:
    """Its second member cannot be unpacked without the first one, which is what libarchive does not do."""
    octets = mail((FIXTURES / "archives" / "rar3-solid.rar").read_bytes(), "a.rar")
    found = content.unpack(
        octets, sha256=hashlib.sha256(octets).hexdigest(), limits=Limits(), scheme=scheme(), tools=_direct(), want_text=True
    )
    assert {leaf.state for leaf in found.leaves} == {LeafState.INSPECTED}
    assert {leaf.path.rpartition("/")[2] for leaf in found.leaves} >= {"stest1.txt", "stest2.txt"}
    texts = dict(found.texts)
    assert all(texts[leaf.path].strip() for leaf in found.leaves if leaf.path.endswith(".txt"))
