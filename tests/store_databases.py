"""Empty stores in PostgreSQL, one a test: copies of one whose tables were made once."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field

from gateway.stores.postgres import connection, partitions, upgrade
from gateway.stores.postgres.connection import Target
from tests.e2e.postgres import Postgres


@dataclass
class Databases:
    """Of *server*."""

    server: Postgres
    template: str = ""
    made: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def make(self) -> Target:
        """A database with the tables of the store and nothing in them."""
        with self.lock:
            if not self.template:
                target = Target(self.server.create("empty_store"), self.server.password_file)
                thread = threading.Thread(target=lambda: asyncio.run(_tables(target)))  # a loop may run in this one
                thread.start()
                thread.join()
                self.template = "empty_store"
            self.made += 1
            return Target(self.server.create(f"store_{self.made}", self.template), self.server.password_file)

    def drop(self, target: Target) -> None:
        """Removes it, with whoever is still connected."""
        self.server.drop(name_of(target))


def name_of(target: Target) -> str:
    """The name of the database."""
    return target.url.rpartition("/")[2]


async def _tables(target: Target) -> None:
    link = await connection.connect(target)
    try:
        await upgrade.fit(link, target)
        await partitions.ahead(link, time.time())
    finally:
        await link.close()
