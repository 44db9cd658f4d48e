"""The store of many nodes: PostgreSQL is killed, ended, stopped and cut off, and the gateway's processes with it (catalogue O10, O12)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal

import psycopg

from gateway.vault import vault
from tests.e2e.postgres import Postgres, programs
from tests.e2e.prove import roles
from tests.e2e.prove.faults import Fault, Kill
from tests.e2e.prove.site import Site, fixed_port

DATABASE = "proof"
_CONFIG = '[store]\nurl = "{url}"\npassword_file = "{password}"\n[vault]\nkey_file = "{key}"\n'


class ManyNodes(Fault):
    """Three nodes on one PostgreSQL behind a balancer; nodes, keepers and the database are killed in turn. A site of its own: see
    ``run.make``."""

    name, about, most = "nodes", "three nodes on one PostgreSQL behind haproxy: nodes, keepers and the database are killed", 12

    def missing(self) -> str:
        """The server and the balancer."""
        balancer = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
        return Database().missing() or ("" if balancer else "haproxy is not installed (apt install haproxy)")


class Database(Fault):
    """A blow to the database, or to a process of the gateway that uses it."""

    name, about, lasts = "postgres", "PostgreSQL as the store, which is killed, ended, stopped, cut off; and kill", (0.2, 3.0)
    most = 20

    def __init__(self) -> None:
        self.server: Postgres | None = None
        self.kill = Kill()
        self.how = ""

    def missing(self) -> str:
        """The server."""
        return "" if programs() else "PostgreSQL is not installed (apt install postgresql)"

    def equip(self, site: Site) -> None:
        """Starts it and gives the gateway a database of its own."""
        self.server = Postgres(site.folder / "postgres", port=fixed_port())
        self.server.start()
        url = self.server.create(DATABASE)
        key = site.folder / "vault.key"
        vault.make_key_file(key, vault.new_key_text())
        site.gateway.extra += _CONFIG.format(url=url, password=self.server.password_file, key=key)
        site.counting = self.open_deliveries

    def open_deliveries(self) -> int:
        """How many deliveries are not at their end."""
        assert self.server is not None
        with contextlib.suppress(psycopg.Error):
            return int(self.server.ask("SELECT count(*) FROM deliveries_open", database=DATABASE)[0][0])
        return -1

    def begin(self, site: Site) -> str:
        """One of them."""
        assert self.server is not None
        self.explains, self.how = False, site.rng.choice(("kill", "immediate", "stop", "freeze", "cut", "gateway", "gateway"))
        if self.how == "gateway":
            what = self.kill.begin(site)
            self.explains = self.kill.explains
            return what
        if self.how == "cut":
            with contextlib.suppress(psycopg.Error):
                self.server.cut(DATABASE)
        elif self.how == "freeze":
            self._signal(signal.SIGSTOP)
        else:
            getattr(self.server, self.how)()
        return f"PostgreSQL: {self.how}"

    def end(self, site: Site) -> None:
        """It is there again."""
        assert self.server is not None
        if self.how == "freeze":
            self._signal(signal.SIGCONT)
        elif self.how in ("kill", "immediate", "stop"):
            self.server.start()

    def remove(self, site: Site) -> None:
        """Ends it."""
        if self.server is not None:
            self.server.stop()

    def _signal(self, number: signal.Signals) -> None:
        assert self.server is not None
        assert self.server.process is not None
        for pid in (self.server.process.pid, *roles.children(self.server.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
