"""Programs that read hostile content outside of the workers: which are there, and how one is started.

What it is: ``Program`` (a program with its arguments and the files that it may open), ``find`` and ``start``.
Who calls it: ``inspector.runner``, in a process with one thread; ``gateway check`` asks ``find`` and ``layers``.
Must never: start anything by the search path of the environment, or hand on a variable of the environment; give a program a
file, a socket or a terminal beside its three pipes and the archive it reads.
Sources: docs/design.md section 2 (a second pool with exec); docs/inspection.md, external tools; landlock(7), seccomp(2), bwrap(1).
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.inspector import sandbox, syscalls

_FOLDERS = ("/usr/bin", "/usr/local/bin", "/bin")
_LOADERS = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1")
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/etc/ld.so.cache")
_GNUSTEP = ("/usr/share/GNUstep", "/etc/GNUstep/GNUstep.conf", "/etc/nsswitch.conf", "/etc/passwd")  # it prints dates for a user by name
_DATA = {
    "tesseract": ("/usr/share/tesseract-ocr", "/usr/share/tessdata", "/usr/local/share/tessdata"),
    "lsar": _GNUSTEP,
    "unar": _GNUSTEP,
}
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "LOGNAME": "nobody", "HOME": "/", "TZ": "UTC", "OMP_THREAD_LIMIT": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Program:
    """One program, by its absolute path, and the folders and files that it may read beside its libraries."""

    path: str
    data: tuple[str, ...] = ()


def find(name: str) -> Program | None:
    """The program *name* where the system installs programs; None where it is not installed."""
    for folder in _FOLDERS:
        path = os.path.realpath(f"{folder}/{name}")
        if os.access(path, os.X_OK):
            return Program(path, _DATA.get(name, ()))
    return None


def start(
    program: Program, arguments: tuple[str, ...], *, archive: bytes = b"", memory: int, seconds: float, fence: str = ""
) -> subprocess.Popen[bytes]:
    """Runs *program* with pipes for input and output, its rights given away.

    ``{archive}`` in *arguments* is the file *archive*, which exists in memory only. *memory* in octets, *seconds* of processor time.
    *fence*: the path of bwrap, where there is no landlock. Raises OSError, or SubprocessError when a layer could not be put on.
    """
    files: list[int] = []
    try:
        if archive:
            files.append(_in_memory(archive))
        line = [
            program.path,
            *(argument.replace("{archive}", f"/proc/self/fd/{files[0]}") if archive else argument for argument in arguments),
        ]
        if fence:
            architecture = syscalls.ARCHITECTURES.get(platform.machine())
            if architecture is not None:
                files.append(_in_memory(sandbox.program(architecture, sandbox.PROGRAM)))
            line = [fence, *_FENCE, *_seen(program), *(("--seccomp", str(files[-1])) if architecture is not None else ()), "--", *line]
            give_away = functools.partial(sandbox.enter_fence, os.getpid(), memory, seconds)
        else:
            readable = (*_LIBRARIES, *program.data, *(("/proc/self/cmdline",) if archive else ()))
            give_away = functools.partial(sandbox.enter_program, os.getpid(), readable, (program.path, *_LOADERS), memory, seconds)
        # Only processes with one thread come here, so that code may run between fork and exec.
        return subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_ENVIRONMENT, cwd="/",
            pass_fds=files, preexec_fn=give_away, bufsize=0,
        )  # fmt: skip
    finally:
        for file in files:
            os.close(file)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends *process* and whatever it started, and waits for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        process.kill()  # before it made its own session
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


@functools.cache
def fence() -> str:
    """The path of bwrap where it is needed, is installed and works here; else empty."""
    bwrap, true = find("bwrap"), find("true")
    if sandbox.landlock_version() or bwrap is None or true is None:
        return ""
    try:
        process = start(true, (), memory=_PROBE, seconds=5, fence=bwrap.path)
    except (OSError, subprocess.SubprocessError):
        return ""
    try:
        return bwrap.path if process.wait(5) == 0 else ""
    except subprocess.TimeoutExpired:
        return ""
    finally:
        end(process)


def enter_pool(programs: Sequence[Program]) -> None:
    """Gives away what the process that starts *programs* does not need. Raises SandboxError."""
    if fence():  # bubblewrap builds its walls with rights that its parent must have
        return
    readable = (*_LIBRARIES, "/proc", *(place for program in programs for place in program.data))
    sandbox.enter_pool(readable, (*(program.path for program in programs), *_LOADERS))


def describe() -> tuple[str, ...]:
    """One line for each layer around programs: ``files: …`` or what is missing and what that means."""
    if sandbox.landlock_version():
        files = "files: on (landlock: a program opens its own files and libraries only)"
    elif fence():
        files = "files: on (bubblewrap: a program sees its own files and libraries only)"
    else:
        files = "files: neither landlock nor a working bubblewrap; a program could read what the inspector's user may read"
    if platform.machine() in syscalls.ARCHITECTURES:
        return (files, "network and further programs: on (seccomp)")
    return (files, f"network and further programs: no table for {platform.machine()}; a program could open sockets")


_PROBE = 1 << 30
_FENCE = (
    "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev",
    "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
)  # fmt: skip


def _seen(program: Program) -> tuple[str, ...]:
    places = (program.path, *program.data, "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
    return tuple(word for place in places for word in ("--ro-bind-try", place, place))


def _in_memory(data: bytes) -> int:
    file = os.memfd_create("archive", os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
    os.lseek(file, 0, os.SEEK_SET)
    return file
