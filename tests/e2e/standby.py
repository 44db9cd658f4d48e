"""A PostgreSQL that follows another one and can take over, and a disk that is small enough to be filled.

What it is: ``Standby``, made by ``pg_basebackup`` from a server of ``tests.e2e.postgres``, and ``SmallDisk``, a tmpfs of its own.
Who calls it: ``test_database.py``.
Must never: touch Debian's own cluster; leave a file system mounted.
Sources: https://www.postgresql.org/docs/15/app-pgbasebackup.html; https://www.postgresql.org/docs/15/warm-standby.html.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.parts import wait_for
from tests.e2e.postgres import PASSWORD, Postgres, as_postgres, programs

NAME = "standby1"
"""What the primary knows it as, for synchronous_standby_names."""


@dataclass
class Standby(Postgres):
    """Follows *primary*, which has to run when this one is started for the first time."""

    primary: Postgres = field(kw_only=True)

    def promote(self) -> None:
        """Makes it the one that takes writes."""
        assert self.ask("SELECT pg_promote(true, 30)") == [(True,)]

    def is_followed(self) -> None:
        """From now on a commit of the primary waits for this one."""
        self.primary.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{NAME}'")
        self.primary.ask("SELECT pg_reload_conf()")
        wait_for(
            lambda: self.primary.ask("SELECT sync_state FROM pg_stat_replication") == [("sync",)], 30, "the standby follows, synchronously"
        )

    def _create(self) -> None:
        bin = programs()
        assert bin is not None, "PostgreSQL is not installed"
        self.folder.mkdir(parents=True, exist_ok=True)
        owner = as_postgres()
        if owner:
            shutil.chown(self.folder, "postgres", "postgres")
        target = f"host=127.0.0.1 port={self.primary.port} user=postgres password={PASSWORD} application_name={NAME}"
        done = subprocess.run(
            [str(bin / "pg_basebackup"), "-D", str(self.data), "-d", target, "-R", "-X", "stream", "-c", "fast"],
            capture_output=True, text=True, timeout=120, cwd=self.folder, stdin=subprocess.DEVNULL, **owner,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with (self.data / "postgresql.conf").open("a") as config:
            config.write(f"port = {self.port}\n")


@dataclass
class SmallDisk:
    """A tmpfs of *size* octets at *place*, with *ballast* that fills it and can be taken away."""

    place: Path
    size: int

    @property
    def ballast(self) -> Path:
        """The file that takes the room."""
        return self.place / "ballast"

    def mount(self) -> bool:
        """Whether it is there: only root may, and not everywhere."""
        self.place.mkdir(parents=True)
        if os.geteuid() != 0:
            return False
        words = ["mount", "-t", "tmpfs", "-o", f"size={self.size},mode=0755", "tmpfs", str(self.place)]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def fill(self, left: int) -> None:
        """Takes the room but for *left* octets."""
        room = os.statvfs(self.place)
        with self.ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - left)

    def empty(self) -> None:
        """Gives the room back."""
        self.ballast.unlink()

    def unmount(self) -> None:
        """Ends it; what was in it is gone."""
        subprocess.run(["umount", "-l", str(self.place)], capture_output=True, check=False)
