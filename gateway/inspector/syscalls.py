"""The system calls that an inspection worker has no use for, by name and by number.

What it is: a table for x86-64 and for the generic numbering that aarch64 uses.
Who calls it: ``inspector.sandbox``, for workers and for the programs beside them.
Must never: name a call that glibc, Python or a parser needs after start (open files stay readable; new ones cannot be had).
Sources: Linux arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h, include/uapi/linux/audit.h;
include/uapi/linux/prctl.h, include/uapi/asm-generic/fcntl.h and ioctls.h.
"""

from __future__ import annotations

from dataclasses import dataclass

_NEW = {  # the same numbers everywhere
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_open": 434, "openat2": 437, "pidfd_getfd": 438,
    "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447, "process_mrelease": 448, "fchmodat2": 452,
}  # fmt: skip
_X86_64 = {
    "open": 2, "socket": 41, "connect": 42, "bind": 49, "listen": 50, "socketpair": 53, "fork": 57, "vfork": 58, "execve": 59, "kill": 62,
    "shmget": 29, "semget": 64, "msgget": 68, "truncate": 76, "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87,
    "symlink": 88, "chmod": 90,
    "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "ptrace": 101, "setuid": 105, "setgid": 106,
    "setpgid": 109, "setsid": 112, "setreuid": 113, "setregid": 114, "setgroups": 116, "setresuid": 117, "setresgid": 119, "capset": 126,
    "utime": 132, "mknod": 133, "personality": 135, "pivot_root": 155, "chroot": 161, "acct": 163, "mount": 165, "umount2": 166,
    "swapon": 167, "reboot": 169, "sethostname": 170, "init_module": 175, "delete_module": 176, "setxattr": 188, "lsetxattr": 189,
    "fsetxattr": 190, "removexattr": 197, "settimeofday": 164, "clock_settime": 227, "mq_open": 240, "kexec_load": 246, "add_key": 248,
    "request_key": 249, "keyctl": 250, "inotify_init": 253, "openat": 257, "mkdirat": 258, "mknodat": 259, "fchownat": 260,
    "futimesat": 261,
    "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268, "unshare": 272, "utimensat": 280,
    "signalfd": 282, "inotify_init1": 294, "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304,
    "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313,
    "renameat2": 316, "memfd_create": 319,
    "kexec_file_load": 320, "bpf": 321, "execveat": 322, "userfaultfd": 323,
    "clone": 56, "tkill": 200, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "setpriority": 141, "sched_setparam": 142,
    "sched_setscheduler": 144, "sched_setaffinity": 203, "sched_setattr": 314, "ioprio_set": 251, "migrate_pages": 256, "move_pages": 279,
    "shmat": 30, "shmctl": 31, "semop": 65, "semctl": 66, "semtimedop": 220, "msgsnd": 69, "msgrcv": 70, "msgctl": 71, "mq_unlink": 241,
    "accept": 43, "accept4": 288, "sendmsg": 46, "sendmmsg": 307, "splice": 275, "tee": 276, "vmsplice": 278, "ftruncate": 77,
    "fallocate": 285,
}  # fmt: skip
_GENERIC = {
    "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "inotify_init1": 26, "mknodat": 33, "mkdirat": 34, "unlinkat": 35,
    "symlinkat": 36, "linkat": 37, "renameat": 38, "umount2": 39, "mount": 40, "pivot_root": 41, "truncate": 45, "chroot": 51, "fchmod": 52,
    "fchmodat": 53, "fchownat": 54, "fchown": 55, "openat": 56, "signalfd4": 74, "utimensat": 88, "acct": 89, "capset": 91,
    "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105, "delete_module": 106, "clock_settime": 112, "ptrace": 117,
    "kill": 129, "reboot": 142, "setregid": 143, "setgid": 144, "setreuid": 145, "setuid": 146, "setresuid": 147, "setresgid": 149,
    "setpgid": 154, "setsid": 157, "setgroups": 159, "sethostname": 161, "settimeofday": 170, "mq_open": 180, "msgget": 186, "semget": 190,
    "shmget": 194, "socket": 198, "socketpair": 199, "bind": 200, "listen": 201, "connect": 203, "add_key": 217, "request_key": 218,
    "keyctl": 219, "execve": 221, "swapon": 224, "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264,
    "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273,
    "renameat2": 276, "memfd_create": 279, "bpf": 280, "execveat": 281, "userfaultfd": 282, "kexec_file_load": 294,
    "clone": 220, "tkill": 130, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "setpriority": 140, "sched_setparam": 118,
    "sched_setscheduler": 119, "sched_setaffinity": 122, "sched_setattr": 274, "ioprio_set": 30, "migrate_pages": 238, "move_pages": 239,
    "shmat": 196, "shmctl": 195, "semop": 193, "semctl": 191, "semtimedop": 192, "msgsnd": 189, "msgrcv": 188, "msgctl": 187,
    "mq_unlink": 181, "accept": 202, "accept4": 242, "sendmsg": 211, "sendmmsg": 269, "splice": 76, "tee": 77, "vmsplice": 75,
    "ftruncate": 46, "fallocate": 47,
}  # fmt: skip
_CLONE3 = 435
_OF_PROGRAMS = frozenset(("open", "openat", "execve"))
"""What a program needs to start and to read its own files; which files these are is landlock's to say."""
_OF_THE_POOL = _OF_PROGRAMS | {"fork", "vfork", "clone", "kill", "setsid", "memfd_create"}
"""What the process that starts programs needs."""
_PDEATHSIG, _DUMPABLE, _PTRACER = 1, 4, 0x59616D61
_SETOWN, _SETSIG, _SETOWN_EX = 8, 10, 15
_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP = 0x5412, 0x541C, 0x8901, 0x8902


@dataclass(frozen=True, slots=True)
class Limited:
    """A call of which only some uses are refused, by its argument *argument* (of 32 bits, counted from 0)."""

    number: int
    argument: int
    refused: tuple[int, ...] = ()
    """Values that are refused; all others pass."""
    of_itself: bool = False
    """The argument names a process: only the one that has the filter passes."""


def _limited(prctl: int, fcntl: int, ioctl: int, tgkill: int, prlimit64: int) -> tuple[Limited, ...]:
    """A worker outlives nobody, wakes nobody up by a signal, types on no terminal, and has limits of its own only."""
    return (
        Limited(prctl, 0, (_PDEATHSIG, _DUMPABLE, _PTRACER)),
        Limited(fcntl, 1, (_SETOWN, _SETSIG, _SETOWN_EX)),
        Limited(ioctl, 1, (_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP)),
        Limited(tgkill, 0, of_itself=True),
        Limited(prlimit64, 0, of_itself=True),
    )


@dataclass(frozen=True, slots=True)
class Architecture:
    """One machine's numbers. *missing* answer ENOSYS, so that glibc falls back to a call that the filter can look into."""

    audit: int
    x32: bool
    limited: tuple[Limited, ...]
    """Of workers and programs; the pool prepares what it starts."""
    refused: tuple[int, ...]
    missing: tuple[int, ...]
    refused_to_programs: tuple[int, ...] = ()
    """The same for a program that is started outside of the workers: it may start, and open files, and nothing else."""
    refused_to_the_pool: tuple[int, ...] = ()
    """The same for the process that starts programs."""


def _of(audit: int, x32: bool, limited: tuple[Limited, ...], table: dict[str, int]) -> Architecture:
    refused = {**table, **_NEW}
    without = [
        tuple(sorted(number for name, number in refused.items() if name not in allowed)) for allowed in ((), _OF_PROGRAMS, _OF_THE_POOL)
    ]
    return Architecture(audit, x32, limited, without[0], (_CLONE3,), without[1], without[2])


ARCHITECTURES = {
    "x86_64": _of(0xC000003E, True, _limited(157, 72, 16, 234, 302), _X86_64),
    "aarch64": _of(0xC00000B7, False, _limited(167, 25, 29, 131, 261), _GENERIC),
}
"""By ``platform.machine()``."""
