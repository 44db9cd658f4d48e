"""Looks at the machine: what would bite later, in one line each with what to do.

What it is: checks of interpreter, disk and permissions, and ``Finding``. Each returns Findings; none changes anything. The other
``doctor_*`` files look at one neighbour each.
Who calls it: ``gateway doctor`` and ``gateway check``.
Must never: refuse a start; print a secret.
Sources: hostile-inputs catalogue 4.7 (interpreter versions with known flaws), O15.
"""

from __future__ import annotations

import os
import ssl
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from gateway import rights
from gateway.config import Config


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a check. *state*: ok, warning (it runs, but …) or wrong (it will not do)."""

    subject: str
    state: str
    text: str


_FIXED = {(3, 11): 15, (3, 12): 12, (3, 13): 9, (3, 14): 0}
"""First patch release of each line without the mail and archive flaws CVE-2024-0450, CVE-2023-27043, CVE-2024-6923 and later ones."""


def interpreter() -> Iterator[Finding]:
    """Python and OpenSSL."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    first = _FIXED.get(sys.version_info[:2], 0)
    if sys.version_info[:3] < (*sys.version_info[:2], first):
        text = (
            f"Python {version} has known flaws in its mail and archive modules (CVE-2024-0450, CVE-2023-27043, CVE-2024-6923); "
            f"the gateway does not rely on them, still take {sys.version_info[0]}.{sys.version_info[1]}.{first} or newer"
        )
        yield Finding("python", "warning", text)
    else:
        yield Finding("python", "ok", f"Python {version}")
    if sys.flags.optimize:
        yield Finding("python", "wrong", "runs with -O, which takes the checks out of the code: start it without")
    old = ssl.OPENSSL_VERSION_INFO[:3] < (3, 0, 0)
    yield Finding("openssl", "warning" if old else "ok", ssl.OPENSSL_VERSION + (": support has ended, take OpenSSL 3" if old else ""))


def disk(config: Config) -> Iterator[Finding]:
    """Room for mail, and the kind of file system."""
    place = config.state_dir
    while not place.exists() and place != place.parent:
        place = place.parent
    room = os.statvfs(place)
    free = room.f_bavail * room.f_frsize
    needed = config.limits.free_disk + 3 * config.max_message_size
    if free < needed:
        text = f"{free / 1e9:.1f} GB free at {place}, {needed / 1e9:.1f} GB must stay free: new mail gets 452 until there is room"
        yield Finding("disk", "wrong", text)
    elif free < 3 * needed:
        yield Finding("disk", "warning", f"{free / 1e9:.1f} GB free at {place}; below {needed / 1e9:.1f} GB new mail gets 452")
    else:
        yield Finding("disk", "ok", f"{free / 1e9:.1f} GB free at {place}")
    if room.f_files and room.f_favail < 10_000:
        yield Finding("disk", "warning", f"only {room.f_favail} inodes are free at {place}")
    kind = _file_system(str(place))
    if kind in ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"):
        yield Finding("disk", "wrong", f"{place} is on {kind}: the store needs a local disk with working locks and fsync")
    elif kind in ("tmpfs", "ramfs"):
        yield Finding("disk", "warning", f"{place} is in memory ({kind}): mail is lost with the power")


def _file_system(place: str) -> str:
    """The kind of file system that *place* is on, from /proc/mounts; empty when it cannot be known."""
    best, kind = "", ""
    try:
        with open("/proc/mounts", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                words = line.split()
                point = words[1].replace("\\040", " ")
                inside = place == point or place.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, words[2]
    except (OSError, IndexError):
        return ""
    return kind


def permissions(config: Config) -> Iterator[Finding]:
    """Who may read the state and the keys."""
    secrets = [entry.key_file for entry in config.dkim]
    secrets += [path for path in (config.vault.key_file, config.tls.key, config.submission.logins) if path is not None]
    keys = config.state_dir / "keys"
    try:
        secrets += sorted(keys.glob("*")) if keys.is_dir() else []
    except OSError:
        pass
    bad = False
    for path, kind, forbidden in (
        (config.state_dir, "folder", 0o077),
        (keys, "folder", 0o077),
        *((file, "key", 0o007) for file in secrets),
    ):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if mode & forbidden:
            bad = True
            yield Finding("permissions", "wrong", f"{path}: this {kind} is open to others (mode {mode:04o}); run: chmod go-rwx {path}")
    rules = config.rules_dir
    if rules is not None and rules.is_dir():
        for path in (rules, *sorted(rules.rglob("*"))):
            if path.stat().st_mode & stat.S_IWOTH and not path.is_symlink():
                bad = True
                yield Finding("permissions", "wrong", f"{path}: everybody may write this rule file; run: chmod o-w {path}")
    if not bad:
        yield Finding("permissions", "ok", "state and keys are closed to others")
    if os.geteuid() == 0 and not rights.installed():
        yield Finding("permissions", "warning", "runs as root; the gateway needs a user of its own and no privilege but its ports")


def examine(config: Config) -> Iterator[Finding]:
    """What this machine is: interpreter, disk, permissions. Clock, libraries and neighbours have files of their own."""
    yield from interpreter()
    yield from disk(config)
    yield from permissions(config)
