"""What a process wrote to its files, as strace saw it: writes, lengths, names, and the syncs between them.

Only what decides what is on a disk after a power cut is read; the shared-memory file of SQLite, which is made anew from the log, is no
part of it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e import leash

CALLS = "openat,write,pwrite64,pwritev,pwritev2,fsync,fdatasync,ftruncate,fallocate,rename,renameat,renameat2,unlink,unlinkat"
_LINE = re.compile(r"^(\d+) +(\d+\.\d+) (.*)$")
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)(<.*>)?(?: .*)?$")
_FD = re.compile(r"^(?:\d+|AT_FDCWD)<([^>]*)>")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2}|[^"\\])*)"(\.\.\.)?')


@dataclass(frozen=True)
class Call:
    """One call that succeeded. *entered*, *left*: its places in the order of all events; *time*: when it was entered."""

    name: str
    path: str
    entered: int
    left: int
    time: float
    data: bytes = b""
    offset: int = -1
    """-1: at the end, as ``write`` does."""
    other: str = ""
    """rename: the new name."""


class UnreadableTrace(Exception):
    """The trace says something that this reader does not know; nothing may be proved from it."""


def attach(pid: int, out: Path) -> subprocess.Popen[bytes]:
    """strace on all threads of *pid*, writing to *out*; returns when it is attached."""
    words = ["strace", "-f", "-qq", "-ttt", "-xx", "-y", "-s", "400000", "-o", str(out), "-e", f"trace={CALLS}", "-p", str(pid)]
    tracer = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=leash.on())
    deadline = time.monotonic() + 20
    while not _traced(pid, tracer.pid):
        if tracer.poll() is not None or time.monotonic() > deadline:
            raise UnreadableTrace("strace cannot attach here")
        time.sleep(0.05)
    return tracer


def _traced(pid: int, by: int) -> bool:
    tasks = [task / "status" for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(f"TracerPid:\t{by}\n" in status.read_text() for status in tasks)


def available() -> str:
    """Why this cannot be done here; empty: it can."""
    return "" if shutil.which("strace") else "strace is not installed (apt install strace)"


def read(file: Path, folder: Path) -> Iterator[Call]:
    """The calls on files of *folder*, in the order in which they ended. Raises UnreadableTrace."""
    open_calls: dict[str, tuple[int, float, str]] = {}
    with file.open(encoding="ascii", errors="strict") as lines:
        for number, text in enumerate(lines):
            line = _LINE.match(text.rstrip("\n"))
            if line is None:
                raise UnreadableTrace(f"line {number + 1}: {text[:200]!r}")
            pid, moment, rest = line[1], float(line[2]), line[3]
            if rest.startswith(("---", "+++")):
                continue
            entered = number
            if rest.endswith("<unfinished ...>"):
                open_calls[pid] = (number, moment, rest.removesuffix("<unfinished ...>"))
                continue
            if resumed := _RESUMED.match(rest):
                if pid not in open_calls:
                    continue  # it had begun before strace came
                entered, moment, begun = open_calls.pop(pid)
                rest = begun.rstrip() + resumed[2].lstrip()
            call = _CALL.match(rest)
            if call is None:
                if rest.rstrip().endswith("= ?"):
                    continue  # the process ended in it
                raise UnreadableTrace(f"line {number + 1}: {rest[:120]!r} … {rest[-80:]!r}")
            if int(call[3]) >= 0 and (made := _call(call[1], call[2], call[4] or "", entered, number, moment)) and _in(made.path, folder):
                yield made


def _in(path: str, folder: Path) -> bool:
    return path.startswith(f"{folder}/") or path == str(folder)


def _text(shown: str) -> bytes:
    """What strace shows as \\x.. throughout, or plain where nothing needs it."""
    return bytes.fromhex(shown.replace("\\x", "")) if shown.startswith("\\x") else shown.encode()


def _call(name: str, words: str, result: str, entered: int, left: int, moment: float) -> Call | None:
    if name in ("rename", "renameat", "renameat2", "unlink", "unlinkat"):
        names = [_text(found[1]).decode() for found in _STRING.finditer(words)]
        return Call(name.removesuffix("2").removesuffix("at"), names[0], entered, left, moment, other=names[-1] if len(names) > 1 else "")
    if name == "openat":
        if "O_CREAT" not in words and "O_TRUNC" not in words:
            return None
        path = _text(result.strip("<>")).decode()
        return Call("truncate" if "O_TRUNC" in words else "create", path, entered, left, moment, offset=0)
    where = _FD.match(words)
    if where is None:
        return None
    path = _text(where[1]).decode()
    if name in ("fsync", "fdatasync"):
        return Call("sync", path, entered, left, moment)
    if name == "ftruncate":
        return Call("truncate", path, entered, left, moment, offset=int(words.rsplit(",", 1)[1]))
    if name == "fallocate":
        return None
    if not path.startswith("/"):
        return None  # a pipe or a socket
    found = _STRING.findall(words)
    if any(cut for _, cut in found):
        raise UnreadableTrace(f"a write to {path} was cut short by strace")
    data = b"".join(_text(text) for text, _ in found)
    at = -1 if name == "write" else int(words.rsplit(",", 2 if name == "pwritev2" else 1)[1])
    return Call("write", path, entered, left, moment, data, at)


def base(folder: Path, to: Path) -> None:
    """A copy of *folder* as it is, but for sockets and what SQLite makes anew."""
    shutil.copytree(folder, to, ignore=lambda where, names: [n for n in names if n.endswith("-shm") or _is_socket(Path(where) / n)])


def _is_socket(path: Path) -> bool:
    return not path.is_dir() and not path.is_file() and os.path.lexists(path)
