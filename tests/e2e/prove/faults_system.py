"""Faults of the operating system: calls that fail, a full disk, a store that another program holds, a clock that jumps (catalogue O01
to O03, O10, O15)."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

from tests.e2e import leash
from tests.e2e.prove import roles
from tests.e2e.prove.faults import Fault
from tests.e2e.prove.site import Site

_WRITES = "write,pwrite64,fdatasync,fsync,openat,ftruncate"
_FILES = ("", "gateway.db", "gateway.db-wal", "gateway.db-journal", "gateway.probe", "log", "log/decisions.jsonl", "../gateway.log")
"""Below state_dir: writes elsewhere are to pipes and event counters of the kernel, which no disk makes fail."""
_LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/*/faketime/libfaketime.so.1")


class Injected(Fault):
    """System calls of one process, all its threads, fail for a moment: strace answers in the kernel's place."""

    calls = _WRITES
    errors: tuple[str, ...] = ()
    kinds = ("keeper",)
    lasts, gap = (0.3, 1.5), 0.8

    def __init__(self) -> None:
        self.tracer: subprocess.Popen[bytes] | None = None

    def missing(self) -> str:
        """strace, and the right to use it."""
        return "" if shutil.which("strace") else "strace is not installed (apt install strace)"

    def begin(self, site: Site) -> str:
        """Attaches it: every such call fails, or one in a few, from some call on."""
        process = site.gateway.process
        assert process is not None
        there = roles.of(process.pid)
        role = site.rng.choice(self.kinds)
        pids = sorted(pid for pid, name in there.items() if name == role)
        if not pids:
            return ""
        pid, error = site.rng.choice(pids), site.rng.choice(self.errors)
        when = site.rng.choice(("1+", "1+2", "2+5", f"{site.rng.randint(1, 40)}", f"{site.rng.randint(1, 20)}+"))
        calls = site.rng.choice((self.calls, *self.calls.split(",")))
        words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={when}"]
        if calls != "openat" and self.calls == _WRITES:
            words += [word for name in _FILES for word in ("-P", str((site.database.parent / name).resolve()))]
        self.tracer = subprocess.Popen([*words, "-p", str(pid)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=leash.on())
        time.sleep(0.2)
        return f"{error} for {calls} ({when}) in {role}"

    def end(self, site: Site) -> None:
        """Lets the process go."""
        if self.tracer is not None:
            self.tracer.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.tracer.wait(10)
            self.tracer = None


class NoSpace(Injected):
    """ENOSPC."""

    name, about, errors = "enospc", "ENOSPC from write, sync, open in the keeper", ("ENOSPC",)


class BadDisk(Injected):
    """EIO: a failed sync is never tried again and then trusted."""

    name, about, errors = "eio", "EIO from write, sync, open in the keeper", ("EIO",)


class NoFiles(Injected):
    """EMFILE and ENOMEM where files and connections are opened."""

    name, about = "emfile", "EMFILE, ENFILE, ENOMEM from open, socket, connect, accept in the keeper, doors, inspector"
    calls, errors = "openat,socket,connect,accept4", ("EMFILE", "ENFILE", "ENOMEM")
    kinds = ("keeper", "doors", "doors worker", "inspector")


class FullDisk(Fault):
    """The gateway lives on a small disk; the rest of it is taken, and given back."""

    name, about, lasts = "disk-full", "a disk of 48 MB that is full for a moment", (0.5, 2.0)
    gap = 0.8

    def __init__(self) -> None:
        self.ballast: Path | None = None

    def missing(self) -> str:
        """Only root may mount."""
        return "" if os.getuid() == 0 else "only root may mount a small disk"

    def equip(self, site: Site) -> None:
        """Mounts it. With small messages alone the gateway takes mail until the disk is nearly full."""
        site.gateway.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(site.gateway.folder)], check=True)
        site.gateway.write_config()
        config = site.gateway.config
        config.write_text('max_message_size = "1MB"\n' + config.read_text())
        self.ballast = site.gateway.folder / "ballast"

    def begin(self, site: Site) -> str:
        """Takes all there is, sometimes all but a little."""
        assert self.ballast is not None
        spare = site.rng.choice((0, 0, 20_000, 200_000))
        with contextlib.suppress(OSError), self.ballast.open("wb", buffering=0) as out:
            while True:
                out.write(b"\0" * 65_536)
        with contextlib.suppress(OSError):
            os.truncate(self.ballast, max(0, self.ballast.stat().st_size - spare))
        return f"all but {spare} octets of the disk are taken"

    def end(self, site: Site) -> None:
        """Gives it back."""
        assert self.ballast is not None
        self.ballast.unlink(missing_ok=True)

    def remove(self, site: Site) -> None:
        """Takes the disk away."""
        subprocess.run(["umount", "-l", str(site.gateway.folder)], check=False)


class Locked(Fault):
    """Another program writes to the store for seconds, longer or shorter than the gateway's patience."""

    name, about, lasts = "db-locked", "another program holds the write lock of the store for up to 14 s", (0.5, 14.0)

    def __init__(self) -> None:
        self.db: sqlite3.Connection | None = None

    def begin(self, site: Site) -> str:
        """Takes the lock."""
        db = sqlite3.connect(site.database, timeout=5, isolation_level=None, check_same_thread=False)
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            db.close()
            return ""
        self.db = db
        return "the store is locked"

    def end(self, site: Site) -> None:
        """Gives it back."""
        if self.db is not None:
            self.db.execute("ROLLBACK")
            self.db.close()
            self.db = None


class Clock(Fault):
    """The wall clock of the whole gateway but the inspector jumps, and jumps back (the inspector's sandbox lets nobody open the file
    that says what time it is; it asks no wall clock for anything that matters)."""

    name, about, lasts = "clock", "the clock jumps by 1 h, 1 y, to 1970 or past 2038, and back", (1.5, 5.0)
    expires = True  # what was held in 1970 is past its days when the clock is back
    jumps = (3600, -3600, 365 * 86400, -365 * 86400, "1970", "2038")

    def library(self) -> Path | None:
        """libfaketime, as Debian has it."""
        return next((path for pattern in _LIBRARIES for path in Path("/").glob(pattern.lstrip("/"))), None)

    def missing(self) -> str:
        """The library."""
        return "" if self.library() else "libfaketime is not installed (apt install faketime)"

    def equip(self, site: Site) -> None:
        """Each process of the gateway starts itself once more with the library: the supervisor passes no other variable on."""
        folder = site.folder / "clock"
        folder.mkdir(parents=True)
        self.file = folder / "offset"
        self.file.write_text("+0\n")
        (folder / "sitecustomize.py").write_text(f"""import os, sys
if "gateway" in sys.orig_argv and "inspector" not in sys.orig_argv and "LD_PRELOAD" not in os.environ:
    os.environ.update(LD_PRELOAD={str(self.library())!r}, FAKETIME_TIMESTAMP_FILE={str(self.file)!r}, FAKETIME_CACHE_DURATION="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_DISABLE_SHM="1", DONT_FAKE_MONOTONIC="1", FAKETIME_DONT_RESET="1")
    os.execv(sys.executable, sys.orig_argv)
""")
        site.gateway.environment["PYTHONPATH"] = str(folder)

    def begin(self, site: Site) -> str:
        """Jumps."""
        jump = site.rng.choice(self.jumps)
        offset = {"1970": int(1000 - time.time()), "2038": int(2**31 + 1000 - time.time())}.get(str(jump)) or int(jump)
        self._set(f"{offset:+d}")
        return f"the clock jumps by {offset:+d} s"

    def end(self, site: Site) -> None:
        """Jumps back."""
        self._set("+0")

    def _set(self, offset: str) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        os.replace(new, self.file)


SYSTEM: tuple[type[Fault], ...] = (NoSpace, BadDisk, NoFiles, FullDisk, Locked, Clock)
