"""What an inspection worker, or a program beside it, gives away before it meets hostile octets.

What it is: resource limits, no_new_privs, a seccomp filter and landlock, by ctypes; ``describe`` says what this machine has.
Who calls it: ``inspector.service`` in each worker, ``inspector.confined`` for each program; ``gateway check`` calls ``describe``.
Must never: fail open silently: what the machine lacks stands in ``describe``. Everything must be imported before ``enter``.
Sources: prctl(2), seccomp(2), landlock(7), setrlimit(2); docs/design.md section 2; hostile-inputs catalogue 4.6.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import platform
import resource
import signal
import stat
import struct
from collections.abc import Mapping

from gateway.inspector import syscalls

_PDEATHSIG, _DUMPABLE, _NAME, _SECCOMP, _NO_NEW_PRIVS = 1, 4, 15, 22, 38
_MODE_FILTER = 2
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1, 2, 4, 8
WORKER, PROGRAM, POOL = range(3)
_LANDLOCK_FILES = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}
_LANDLOCK_FILES_NEWEST = 0xFFFF  # from version 5 on: IOCTL_DEV
_FILES_OPEN = 64
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_LARGE = 32 << 20  # octets from which a single piece of memory is always given back
_KEPT = 64 << 20

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
_libc.syscall.restype = ctypes.c_long


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class SandboxError(Exception):
    """A right could not be given away although the machine has the feature."""


def describe() -> tuple[str, ...]:
    """One line for each layer: ``seccomp: on`` or what is missing and what that means."""
    version = landlock_version()
    lines = ["resource limits: on", "no new privileges: on"]
    if platform.machine() in syscalls.ARCHITECTURES:
        lines.append("seccomp: on")
    else:
        lines.append(f"seccomp: no table for {platform.machine()}; workers can open sockets and start programs")
    if version > 0:
        lines.append(f"landlock: on (version {version})")
    else:
        lines.append("landlock: not in this kernel; only seccomp keeps workers from files")
    return tuple(lines)


def landlock_version() -> int:
    """The kernel's landlock version; 0 where it has none or it is switched off."""
    return max(0, int(_libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))))


def die_with(parent: int) -> None:
    """SIGKILL to this process when the process *parent*, which forked it, ends."""
    _libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def name_process(name: str) -> None:
    """The name by which ps and top show this process; 15 octets."""
    _libc.prctl(_NAME, ctypes.cast(ctypes.c_char_p(name.encode("ascii")), ctypes.c_void_p).value or 0, 0, 0, 0)


def enter(memory: int) -> None:
    """Gives away network, files, programs, tracing and more than *memory* octets above what is used now. For good.

    Raises SandboxError when a layer that the machine has cannot be put on.
    """
    gc.collect()
    used = _address_space()
    _limit(resource.RLIMIT_AS, used + memory)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _FILES_OPEN)
    _prctl(_DUMPABLE, 0)
    _prctl(_NO_NEW_PRIVS, 1)
    _landlock({})
    architecture = syscalls.ARCHITECTURES.get(platform.machine())
    if architecture is not None:
        _seccomp(program(architecture, WORKER, os.getpid()))


def enter_program(parent: int, readable: tuple[str, ...], runnable: tuple[str, ...], memory: int, seconds: float) -> None:
    """What a program gives away between fork and exec: it may run and read these files and folders, and use *memory* octets and
    *seconds* of processor time, for good. It is a session of its own and ends with *parent*, which forked it.

    Raises SandboxError when a layer that the machine has cannot be put on.
    """
    enter_fence(parent, memory, seconds)
    _limit(resource.RLIMIT_NPROC, 0)  # of use where there is no seccomp; the administrator's user is exempt
    _prctl(_NO_NEW_PRIVS, 1)
    _landlock({**dict.fromkeys(readable, _READ_FILE | _READ_FOLDER), **dict.fromkeys(runnable, _READ_FILE | _EXECUTE)})
    architecture = syscalls.ARCHITECTURES.get(platform.machine())
    if architecture is not None:
        _seccomp(program(architecture, PROGRAM, os.getpid()))


def enter_pool(readable: tuple[str, ...], runnable: tuple[str, ...]) -> None:
    """What the process that starts programs gives away: network, tracing, all files but these. For good.

    Raises SandboxError when a layer that the machine has cannot be put on.
    """
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _prctl(_DUMPABLE, 0)
    _prctl(_NO_NEW_PRIVS, 1)
    read, run = dict.fromkeys(readable, _READ_FILE | _READ_FOLDER), dict.fromkeys(runnable, _READ_FILE | _EXECUTE)
    _landlock({**read, **run, os.devnull: _READ_FILE | _WRITE_FILE})
    architecture = syscalls.ARCHITECTURES.get(platform.machine())
    if architecture is not None:
        _seccomp(program(architecture, POOL))


def enter_fence(parent: int, memory: int, seconds: float) -> None:
    """The same for a program behind bubblewrap, which needs the other rights until it has built its walls."""
    os.setsid()
    die_with(parent)
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_CPU, int(seconds) + 1)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _FILES_OPEN)


def allow_processor_time(seconds: float) -> None:
    """SIGXCPU (which ends the worker) when it uses more than *seconds* of processor time from now on."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def keep_freed_memory() -> None:
    """Memory that one message has used stays for the next one, up to ``_KEPT`` octets.

    Else the C library hands the pages of a large attachment back, and the kernel clears them again for each message.
    """
    mallopt = getattr(_libc, "mallopt", None)  # not every C library has it
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, _KEPT)


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        raise SandboxError(f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def _landlock(allowed: Mapping[str, int]) -> None:
    """Nothing on any file system can be opened, made or changed but what *allowed* names (path: rights); no TCP, no signals outwards."""
    version = landlock_version()
    if not version:
        return
    files = _LANDLOCK_FILES.get(version, _LANDLOCK_FILES_NEWEST)
    network = 3 if version >= 4 else 0
    scoped = 3 if version >= 6 else 0
    attributes = struct.pack("=QQQ", files, network, scoped)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = int(_libc.syscall(_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0)))
    if ruleset < 0:
        raise SandboxError(f"landlock: {os.strerror(ctypes.get_errno())}")
    try:
        for path, rights in allowed.items():
            _allow(ruleset, path, rights)
        if _libc.syscall(_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint(0)):
            raise SandboxError(f"landlock: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    """A path that is not there needs no right."""
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(file).st_mode):
            rights &= ~_READ_FOLDER
        rule = struct.pack("=Qi", rights, file)
        if _libc.syscall(_LANDLOCK_ADD, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint(0)):
            raise SandboxError(f"landlock: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(file)


def _seccomp(code: bytes) -> None:
    buffer = ctypes.create_string_buffer(code, len(code))
    holder = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_char_p))
    if _libc.prctl(_SECCOMP, _MODE_FILTER, ctypes.addressof(holder), 0, 0):
        raise SandboxError(f"seccomp: {os.strerror(ctypes.get_errno())}")


_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_MISSING = 0x00050000 | errno.ENOSYS
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; both machines are little-endian


def program(architecture: syscalls.Architecture, of: int = WORKER, pid: int = 0) -> bytes:
    """The filter as BPF code: other architectures and the x32 calls kill, the calls of the table fail, all others pass.

    *of*: WORKER; PROGRAM, which may be started by execve and open files; POOL, which starts processes. *pid*: the process that will
    have it, where that is known; the calls that name a process are then refused for all others.
    """
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if architecture.x32:
        code += [(_JUMP_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL)]
    for number in (architecture.refused, architecture.refused_to_programs, architecture.refused_to_the_pool)[of]:
        code += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    for number in architecture.missing:
        code += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _MISSING)]
    for call in architecture.limited if of != POOL else ():
        if call.of_itself and not pid:
            continue
        verdict, values = (_ALLOW, (0, pid)) if call.of_itself else (_REFUSE, call.refused)
        code += [(_JUMP_EQUAL, 0, 2 + 2 * len(values), call.number), (_LOAD, 0, 0, _ARGUMENTS + 8 * call.argument)]
        for value in values:
            code += [(_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, verdict)]
        code.append((_RETURN, 0, 0, _REFUSE if call.of_itself else _ALLOW))
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
