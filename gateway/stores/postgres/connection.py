"""Connections to a PostgreSQL that may go away at any moment, and the one translation of its errors.

What it is: ``Target`` (where, and by which password), ``Pool`` (one writing connection, a few that read, one that listens), and
``translate``.
Who calls it: ``store`` and its parts; ``gateway check`` and ``gateway store migrate`` open a ``Pool`` of their own.
Must never: hand out a connection on which something is unfinished; try a server that is away more often than its back-off says;
put a password or a row's values into an error.
Sources: https://www.psycopg.org/psycopg3/docs/advanced/async.html; https://www.postgresql.org/docs/current/errcodes-appendix.html;
hostile-inputs catalogue O10.

How to use it. A reading connection is in autocommit mode, cannot write, and each statement on it is its own snapshot; for several
statements on one snapshot open ``connection.transaction()``. The writing connection is one, and whoever has it has it alone.
What goes wrong inside of ``async with`` comes out as StoreError, StoreFull or Conflict.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path as FilePath
from typing import Any, TypeAlias

import msgspec
import psycopg
from psycopg import errors, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper

from gateway.options import Store
from gateway.stores.base import Conflict, StoreError, StoreFull

LEAST_VERSION = 140_000
CONNECT = 5
"""Seconds for a connection: well below the time that a door waits for a commit."""
STATEMENT = 30.0
"""Seconds for a statement of the mail path; the server ends it then."""
READERS = 4
_BACKOFF = (0.0, 0.1, 0.3, 1.0)
"""Seconds between two attempts at a server that is away; whoever asks in between is told at once."""

_READING = "-c timezone=UTC -c jit=off -c statement_timeout={} -c default_transaction_read_only=on -c plan_cache_mode=force_custom_plan"
_WRITING = (
    # No end for a statement: a COMMIT that waits for its standby and is broken off stands all the same, and is not safe.
    "-c timezone=UTC -c jit=off -c statement_timeout=0 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000"
    # What writes looks rows up by their keys. A plan that was made for an empty queue must not read a full one from end to end.
    " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
)
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
)

Connection: TypeAlias = psycopg.AsyncConnection[TupleRow]


class Repeat(Exception):
    """The server took the transaction back so that another could go on; the same may be done anew."""


class Unfit(StoreError):
    """A value that PostgreSQL does not take, as SQLite does: a NUL in a text, half a surrogate."""


class Target(msgspec.Struct, frozen=True):
    """Which database. *url* holds no password; it is read from *password_file* for each connection, so that it may be changed."""

    url: str
    password_file: FilePath | None = None

    @classmethod
    def of(cls, store: Store) -> Target:
        """That of the config. Raises StoreError for a credential without systemd."""
        if not store.credential:
            return cls(store.url, store.password_file)
        folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not folder:
            raise StoreError(f"store.credential is {store.credential}, but no CREDENTIALS_DIRECTORY is set; start it with systemd")
        return cls(store.url, FilePath(folder) / store.credential)

    @property
    def name(self) -> str:
        """Server and database, for people."""
        known = conninfo_to_dict(self.url)
        hosts = str(known.get("host") or "localhost").split(",")
        ports = str(known.get("port") or "").split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports  # libpq: one port is that of all hosts
        places = ",".join(f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=False))
        return f"postgresql://{places}/{known.get('dbname') or ''}"

    def problem(self) -> str:
        """Why this is no address of a database; empty when it is one."""
        try:
            known = conninfo_to_dict(self.url)
        except psycopg.Error as error:
            return f"store.url is not an address of a database: {' '.join(str(error).split())}"
        if known.get("password"):
            return "store.url holds a password; put it into a file of mode 0600 and name that in store.password_file"
        if not known.get("dbname"):
            return "store.url names no database: postgresql://user@host:5432/database"
        return ""

    def password(self) -> str:
        """The password, empty where none is named. Raises StoreError."""
        if self.password_file is None:
            return ""
        try:
            return self.password_file.read_text("utf-8").strip("\r\n")
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.password_file}: the password of the store cannot be read: {error}") from error


async def connect(target: Target, *, statement: float = STATEMENT, read_only: bool = False, name: str = "gateway") -> Connection:
    """A new connection in autocommit mode. Raises StoreError."""
    if problem := target.problem():
        raise StoreError(problem)
    options = _READING.format(int(statement * 1000)) if read_only else _WRITING
    extra: dict[str, Any] = {
        "connect_timeout": CONNECT, "application_name": name, "client_encoding": "utf8", "keepalives_idle": 5, "keepalives_interval": 3,
        "keepalives_count": 3, "tcp_user_timeout": 15_000,
    }  # fmt: skip
    known = conninfo_to_dict(target.url)
    given: dict[str, Any] = {key: value for key, value in extra.items() if key not in known}
    if read_only and known.get("target_session_attrs") == "read-write":
        # A connection that says of itself that it only reads is none of those. What is meant by it is the server that takes writes.
        given["target_session_attrs"] = "primary"
    given["options"] = f"{known.get('options') or ''} {options}".strip()
    if password := target.password():
        given["password"] = password
    try:
        link = await psycopg.AsyncConnection.connect(make_conninfo(target.url, **given), autocommit=True, prepare_threshold=2)
    except psycopg.Error as error:
        raise translate(error, target) from error
    link.prepared_max = 400
    # One width for whole numbers, so that a statement is prepared once, not once for each size of its parameters.
    link.adapters.register_dumper(int, Int8Dumper)
    link.adapters.register_dumper(int, Int8BinaryDumper)
    if not read_only:
        # Whatever the server's default is: an answer of 250 stands on this. What is stricter than "on" stays.
        await link.execute(_DURABLE)
    version = link.info.server_version
    if version < LEAST_VERSION:
        await link.close()
        raise StoreError(f"{target.name}: PostgreSQL {version // 10_000} is too old; the gateway needs {LEAST_VERSION // 10_000} or newer")
    return link


class Pool:
    """The connections of one process to one database. Made inside of the running loop."""

    def __init__(self, target: Target, *, readers: int = READERS, statement: float = STATEMENT, name: str = "gateway") -> None:
        self.target = target
        self._statement = statement
        self._name = name
        self._free: list[Connection] = []
        self._seats = asyncio.Semaphore(readers)
        self._writing = asyncio.Lock()
        self._writer: Connection | None = None
        self._failures = 0
        self._next_try = 0.0
        self._closed = False
        self.writer_number = 0
        """Rises with each new writing connection: whoever remembers what was prepared or locked on it looks here."""
        self.writer_pid = 0
        """The server's process behind it."""
        self.away = ""
        """Why the server cannot be reached now; empty when all is well."""

    async def open(self) -> None:
        """Makes sure that the server can be reached. Raises StoreError."""
        self._closed = False
        async with self.reader() as link:
            await link.execute("SELECT 1")

    async def close(self) -> None:
        """Closes what is free; what is in use is closed when it is given back."""
        self._closed = True
        async with self._writing:
            await _discard(self._writer)
            self._writer = None
        while self._free:
            await _discard(self._free.pop())

    @contextlib.asynccontextmanager
    async def reader(self) -> AsyncIterator[Connection]:
        """A connection that cannot write, in autocommit mode. Raises StoreError."""
        async with self._seats:
            link = self._taken() or await self._new(read_only=True)
            try:
                # The server ends a statement itself; what does not even do that (it stands still) is left.
                async with asyncio.timeout(self._statement + 5 if self._statement else None):
                    with self.faults(link):
                        yield link
                self.away = ""
            except TimeoutError as error:
                raise StoreError(f"{self.target.name}: the database does not answer") from error
            finally:
                if self._closed or not is_fit(link):
                    await _discard(link)
                else:
                    self._free.append(link)

    @contextlib.asynccontextmanager
    async def writer(self) -> AsyncIterator[Connection]:
        """The writing connection, alone, in autocommit mode. Raises StoreError, StoreFull, Conflict, Repeat."""
        async with self._writing:
            if self._writer is None or not is_fit(self._writer):
                await _discard(self._writer)
                self._writer = None
                self._writer = await self._new()
                self.writer_number += 1
                self.writer_pid = self._writer.info.backend_pid
            link = self._writer
            try:
                with self.faults(link):
                    yield link
            finally:
                if self._closed or not is_fit(link):
                    await _discard(link)
                    if self._writer is link:
                        self._writer = None

    async def own(self, name: str = "") -> Connection:
        """A connection that belongs to the caller, who closes it: for listening, and for locks that last. Raises StoreError."""
        return await self._new(name=name)

    def _taken(self) -> Connection | None:
        while self._free:
            link = self._free.pop()
            if is_fit(link):
                return link
        return None

    async def _new(self, *, read_only: bool = False, name: str = "") -> Connection:
        now = time.monotonic()
        if self._closed:
            raise StoreError(f"{self.target.name}: the store is not open")
        if now < self._next_try:
            raise StoreError(self.away)
        # Until this attempt has ended nobody else begins one.
        if self._failures:
            self._next_try = now + CONNECT + 1
        try:
            link = await connect(self.target, statement=self._statement, read_only=read_only, name=name or self._name)
        except StoreError as error:
            self._failures += 1
            self._next_try = time.monotonic() + _BACKOFF[min(self._failures, len(_BACKOFF) - 1)]
            self.away = str(error)
            raise
        except BaseException:
            self._next_try = 0.0
            raise
        self._failures, self._next_try, self.away = 0, 0.0, ""
        return link

    @contextlib.contextmanager
    def faults(self, link: Connection) -> Iterator[None]:
        """Translates what PostgreSQL says, and remembers when it is away."""
        try:
            yield
        except psycopg.Error as error:
            failure = translate(error, self.target)
            if link.closed:
                self.away = str(failure)
            raise failure from error
        except (ValueError, TypeError, UnicodeError) as error:
            raise Unfit(f"{self.target.name}: a row is damaged and cannot be read or written: {type(error).__name__}") from error


def is_fit(link: Connection) -> bool:
    """Whether *link* may be used for something new: open, nothing under way on it, and the server has not said goodbye meanwhile."""
    if link.closed or link.info.transaction_status != pq.TransactionStatus.IDLE or link.pgconn.pipeline_status != 0:
        return False
    # A server tells nothing unasked but that it ends the session; without a look the next one to ask would find out.
    looking = select.poll()
    looking.register(link.pgconn.socket, select.POLLIN)
    return not looking.poll(0)


async def _discard(link: Connection | None) -> None:
    if link is not None:
        with contextlib.suppress(Exception):
            await link.close()


def translate(error: psycopg.Error, target: Target) -> Exception:
    """The StoreError, StoreFull, Conflict or Repeat of *error*; its text is one plain sentence without values of rows."""
    match error:
        case errors.DiskFull() | errors.OutOfMemory():
            return StoreFull(f"{target.name}: no room: {_said(error)}")
        case errors.UniqueViolation() if (error.diag.table_name or "").startswith("audit"):
            return StoreError(f"{target.name}: the audit chain has a row that this keeper did not write")
        case errors.DataError():
            return Unfit(f"{target.name}: a value cannot be stored: {_said(error)}")
        case errors.IntegrityError():
            return Conflict(_said(error))
        case errors.DeadlockDetected() | errors.SerializationFailure() | errors.LockNotAvailable():
            return Repeat(_said(error))
        case errors.ReadOnlySqlTransaction():
            return StoreError(f"{target.name}: the database takes no writes (is it a standby?)")
        case errors.UndefinedTable() | errors.UndefinedColumn():
            return StoreError(f"{target.name}: this database is not a store of this version of the gateway: {_said(error)}")
    return StoreError(f"{target.name}: {_said(error)}")


def _said(error: psycopg.Error) -> str:
    # The primary message names constraints and tables; the detail, which holds values, stays out.
    return " ".join((error.diag.message_primary or str(error).partition("DETAIL:")[0]).split())[:300]
