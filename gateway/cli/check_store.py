"""The part of ``gateway check`` that looks at a store in PostgreSQL.

What it is: ``findings``: whether the database can be reached and is new enough, keeps what it says it has, and tells the same time.
Who calls it: ``check``.
Must never: change anything, make a table; print a password.
Sources: https://www.postgresql.org/docs/current/runtime-config-wal.html (fsync, synchronous_commit, full_page_writes);
https://www.postgresql.org/docs/current/libpq-ssl.html; docs/design.md section 9.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.doctor import Finding

if TYPE_CHECKING:
    from gateway.config import Config

_SKEW = 2.0
"""Seconds between the two clocks from which it is said: times of the next attempt and of expiry are compared across nodes."""
_SETTINGS = (
    "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names')"
)
_FORMAT = "SELECT version, oldest_code FROM store_format"


async def _asked(config: Config) -> list[Finding]:
    from gateway.stores import schema
    from gateway.stores.postgres import connection
    from gateway.stores.postgres.connection import Target

    target = Target.of(config.store)
    link = await connection.connect(target, read_only=True, name="gateway check")
    try:
        before = time.time()
        row = await (await link.execute("SELECT extract(epoch FROM clock_timestamp())::double precision")).fetchone()
        after = time.time()
        settings: dict[str, str] = dict(await (await link.execute(_SETTINGS)).fetchall())
        known = await (await link.execute("SELECT to_regclass('store_format') IS NOT NULL")).fetchone()
        version = await (await link.execute(_FORMAT)).fetchone() if known and known[0] else None
        version_of, safe, host = link.info.server_version, link.pgconn.ssl_in_use, link.info.host
    finally:
        await link.close()
    found = []
    if version is not None and version[1] > schema.VERSION:
        found.append(
            Finding("store", "wrong", f"{target.name} takes gateways that know format {version[1]}, and this one knows {schema.VERSION}")
        )
    else:
        state = "is empty; its tables are made at the first start" if version is None else f"has format {version[0]}"
        found.append(Finding("store", "ok", f"{target.name} (PostgreSQL {version_of // 10_000}.{version_of % 10_000}) {state}"))
    found.extend(_kept(settings))
    assert row is not None
    skew = max(0.0, row[0] - after, before - row[0])
    if skew > _SKEW:
        found.append(Finding("store", "warning", f"the clocks of this node and of {target.name} differ by {skew:.0f} s; let both ask NTP"))
    local = host.startswith("/") or host in ("127.0.0.1", "::1", "localhost", "")
    if not safe and not local:
        found.append(
            Finding(
                "store", "wrong", f"{target.name} is spoken to without TLS: add ?sslmode=verify-full&sslrootcert=/path/ca.pem to store.url"
            )
        )
    return found


def _kept(settings: dict[str, str]) -> Iterator[Finding]:
    """The settings that an answer of 250 stands on."""
    for name in ("fsync", "full_page_writes"):
        if settings.get(name) != "on":
            yield Finding(
                "store",
                "wrong",
                f"{name} is {settings.get(name)} in PostgreSQL: accepted mail can be lost when its machine fails; set it on",
            )
    commit = settings.get("synchronous_commit", "")
    standbys = settings.get("synchronous_standby_names")
    if commit == "off":
        # Ours is set for each session that writes. But who sets this means to lose commits, and a pooler that shares sessions may lose
        # our setting.
        yield Finding(
            "store", "wrong", "synchronous_commit is off in PostgreSQL: what was committed can be lost in a crash; set it on (the gateway"
            " sets it on for its own sessions)",
        )  # fmt: skip
    elif commit in ("local", "remote_write"):
        yield Finding(
            "store", "wrong" if standbys else "warning", f"synchronous_commit is {commit} in PostgreSQL: the standby need not have what was"
            " accepted; set it on (the gateway sets it on for its own sessions)",
        )  # fmt: skip
    if not standbys:
        yield Finding(
            "store",
            "warning",
            "no synchronous standby (synchronous_standby_names): mail that was accepted is lost with the database's disk",
        )


def findings(config: Config) -> Iterator[Finding]:
    """What is to be said of the store of *config*, which is in PostgreSQL."""
    from gateway.stores.base import StoreError

    try:
        yield from asyncio.run(_asked(config))
    except StoreError as error:
        yield Finding("store", "wrong", str(error))
