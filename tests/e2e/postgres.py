"""Debian's PostgreSQL with its own folder: on loopback, a high port, passwords by SCRAM, and every commit on the disk.

What it is: ``Postgres``, one server that a test starts, ends, kills and starts again, and databases in it.
Who calls it: tests marked ``service``, by the fixture ``postgres`` of ``tests/conftest.py`` or with a folder of their own.
Must never: touch Debian's own cluster; end a process that it did not start; run with fsync off (what is shown would not hold).
Source: https://www.postgresql.org/docs/15/server-shutdown.html (SIGTERM, SIGINT, SIGQUIT, and what SIGKILL leaves behind).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from tests.e2e import leash
from tests.e2e.parts import free_port, wait_for

OWNER = "gateway"
"""The role that owns the databases: no superuser."""
PASSWORD = "Q7-loopback-only"
_SETTINGS = {
    "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "password_encryption": "scram-sha-256",
    "unix_socket_directories": "''", "shared_buffers": "64MB", "max_connections": "120", "logging_collector": "off",
    "timezone": "'UTC'", "log_line_prefix": "'%m [%p] '", "autovacuum": "on", "max_wal_size": "1GB",
}  # fmt: skip


def programs() -> Path | None:
    """The folder of the newest PostgreSQL that is installed."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if not found and (here := shutil.which("postgres")):
        found = [Path(here).resolve().parent]
    return max(found, key=lambda path: [int(part) for part in path.parent.name.split(".") if part.isdigit()], default=None)


@dataclass
class Postgres:
    """A server in *folder*; *settings* are added to its postgresql.conf."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folder / "data"

    @property
    def password_file(self) -> Path:
        """Holds the password of ``OWNER``, for ``store.password_file``."""
        return self.folder / "store.credential"

    def url(self, database: str) -> str:
        """What ``store.url`` is for *database*; the password is in ``password_file``."""
        return f"postgresql://{OWNER}@127.0.0.1:{self.port}/{database}"

    def start(self, seconds: float = 60) -> None:
        """Starts it (the first time in a new cluster) and waits until it answers, recovery included."""
        if not self.data.exists():
            self._create()
        bin = programs()
        assert bin is not None
        log = (self.folder / "postgres.log").open("ab")
        self.process = subprocess.Popen(
            [str(bin / "postgres"), "-D", str(self.data)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.folder, preexec_fn=leash.on(),
            **as_postgres(),
        )  # fmt: skip
        log.close()
        wait_for(self._answers, seconds, f"PostgreSQL answers on port {self.port}; see {self.folder}/postgres.log")

    def stop(self) -> None:
        """Ends it by SIGINT: clients are cut off, everything is written."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def immediate(self) -> None:
        """SIGQUIT: all its processes leave at once without writing; the next start recovers from the log."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)

    def kill(self) -> None:
        """SIGKILL to the postmaster and to each of its children: the machine's power, but for the page cache."""
        if self.process is None or self.process.poll() is not None:
            return
        children = _children(self.process.pid)
        self.process.kill()
        self.process.wait()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        wait_for(lambda: not any(_runs(child) for child in children), 20, "the children of the killed postmaster have ended")

    def admin(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A connection of the superuser, in autocommit."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", password=PASSWORD, dbname=database, autocommit=True, connect_timeout=5
        )

    def ask(self, query: LiteralString, values: tuple[object, ...] = (), database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows that *query* gives the superuser."""
        with self.admin(database) as link:
            found = link.execute(query, values)
            return found.fetchall() if found.description else []

    def create(self, name: str, template: str = "template0") -> str:
        """Makes the database *name* as a copy of *template* (nobody may be connected to that one); its URL."""
        with self.admin() as link:
            link.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(*(sql.Identifier(one) for one in (name, OWNER, template)))
            )
        return self.url(name)

    def drop(self, name: str) -> None:
        """Removes the database *name* with whoever is connected to it."""
        with self.admin() as link:
            link.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def cut(self, database: str) -> int:
        """Ends all connections to *database*, as a failing network would. Returns how many."""
        return len(self.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,)))

    def _create(self) -> None:
        bin = programs()
        assert bin is not None, "PostgreSQL is not installed"
        self.folder.mkdir(parents=True, exist_ok=True)
        owner = as_postgres()
        if owner:  # the server runs as another user, who must be able to walk here
            shutil.chown(self.folder, "postgres", "postgres")
            for parent in self.folder.parents:
                with contextlib.suppress(PermissionError):
                    if parent.stat().st_uid == os.getuid() and parent != Path("/"):
                        os.chmod(parent, parent.stat().st_mode | 0o011)
        self.password_file.write_text(PASSWORD + "\n")
        self.password_file.chmod(0o644)  # read here by two users; nothing but this test knows the server
        done = subprocess.run(
            [str(bin / "initdb"), "-D", str(self.data), "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={self.password_file}",
             "--encoding=UTF8", "--locale=C", "--no-instructions"],
            capture_output=True, text=True, timeout=120, cwd=self.folder, stdin=subprocess.DEVNULL, **owner,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.password_file.chmod(0o600)
        lines = {**_SETTINGS, "listen_addresses": "'127.0.0.1'", "port": str(self.port), **self.settings}
        with (self.data / "postgresql.conf").open("a") as config:
            config.write("".join(f"{name} = {value}\n" for name, value in lines.items()))

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended: {(self.folder / 'postgres.log').read_text()[-3000:]}")
        try:
            with self.admin() as link:
                known = link.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (OWNER,)).fetchone()
                if not known:
                    link.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(sql.Identifier(OWNER), sql.Literal(PASSWORD)))
            return True
        except psycopg.OperationalError:
            time.sleep(0.05)
            return False


def as_postgres() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as Debian's user postgres."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                if int(stat[stat.rindex(")") + 2 :].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def _runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat[stat.rindex(")") + 2] != "Z"
    return False
