"""A door's ends of the channels to the keeper and to the inspector.

What it is: ``KeeperLink`` (one pipelined channel that comes back by itself, with a snapshot of the exception register) and
``InspectorLink`` (a connection a request: a worker serves one at a time).
Who calls it: ``doors.service`` makes one of each a process; ``pipeline`` and the sessions use them.
Must never: pass a fault on as anything but a 4xx; take an answer that quotes another nonce or another hash.
Source: docs/design.md sections 2 and 4; hostile-inputs catalogue 4.1 rules 5 and 6.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time

from gateway import handover, logs, rights
from gateway.config import Config
from gateway.envelope import Transaction
from gateway.ipc import Channel, ChannelError
from gateway.pipeline import InspectorAway, Keys, WorkerDied
from gateway.reply import OUR_FAULT, STORE_FULL, Reply, ReplyError
from gateway.requests import (
    Authenticate,
    Authenticated,
    Committed,
    Counters,
    Deferred,
    Done,
    DoorHello,
    Exceptions,
    Failed,
    FirstTime,
    FirstTimes,
    GetExceptions,
    Inspect,
    Inspected,
    InspectorAnswer,
    KeeperAnswer,
    LoggedIn,
    MayLogIn,
    Permitted,
    Refused,
    Room,
    Stale,
    ThreadLevel,
    ThreadLevels,
    Verified,
    VerifyRecipient,
)
from gateway.verdict import Inspection, Remembered, Thread, Verdict

_RECONNECT = (0.05, 0.1, 0.2, 0.5, 1.0)  # seconds; the last one repeats
_FIRST_TRY = 5.0  # seconds that a start waits for the keeper's first answer
_RECORDS = 10_000  # refusals under way at once; more are counted, not kept
_LOGIN = 45.0  # seconds that the keeper, and the next hop behind it, get to judge a login; clients wait for 60 and more
NOT_CHECKED = Reply(454, "4.7.0", "Sign-in cannot be checked at present. Please try again later.")
_COMMIT = 30.0  # seconds in which the keeper may begin a commit; a store that is slow needs some
_SETTLE = 10.0  # seconds more for its answer: what it has begun in time is mostly finished then
_ANSWER = 30.0  # seconds for questions that wait for nobody else
_VERIFY = 75.0  # seconds for what the next hop says to a recipient; more than the keeper gives it
_REPORT = 4.0  # seconds for the answer to a report
_FULL = 4  # Failed.code of a store without room
_log = logs.get("gateway.doors")


class KeeperLink:
    """The keeper, as a door sees it. ``start`` once, ``close`` at the end."""

    def __init__(self, config: Config, rules_version: str = "") -> None:
        self._path = rights.place(config.run_dir, "keeper-doors.sock")
        self._rules_version = rules_version
        self._channel: Channel | None = None
        self._exceptions: Exceptions | None = None
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._records: set[asyncio.Task[None]] = set()
        self.lost_records = 0
        self.away_since = 0.0
        """When the keeper went away; 0 while it is there, and before it ever was: then it is starting as well."""
        self.room: tuple[Room, float] = (Room(), 0.0)
        """What it last said of its room, and when."""
        self._commits: dict[int, float] = {}
        """When each commit under way was asked for, the oldest first."""
        self._number = 0

    @property
    def oldest_commit(self) -> float:
        """When the oldest commit under way was asked for; 0: there is none."""
        return next(iter(self._commits.values()), 0.0)

    async def start(self) -> None:
        """Begins to connect, and to connect again whenever the keeper went away. Returns when the first try has ended, or after 5 s:
        a door that listens before it has the register answers its first messages with 451."""
        self._task = asyncio.get_running_loop().create_task(self._keep_connected())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._tried.wait(), _FIRST_TRY)

    async def close(self) -> None:
        """Ends the link, after the records that are under way."""
        if self._records:
            await asyncio.wait(self._records, timeout=2)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._channel is not None:
            self._channel.close()

    async def _keep_connected(self) -> None:
        tries = 0
        while True:
            if self._channel is None or not self._channel.open:
                if self._channel is not None:
                    self.away_since = self.away_since or time.monotonic()
                try:
                    await self._connect()
                    tries = 0
                except ChannelError:
                    tries += 1
                self._tried.set()
            if self._channel is not None and self._channel.open:
                await self._channel.gone.wait()
                continue
            await asyncio.sleep(_RECONNECT[min(tries, len(_RECONNECT) - 1)])

    async def _connect(self) -> None:
        """Raises ChannelError, and then there is no connection left."""
        channel = await Channel.connect(self._path, KeeperAnswer)
        try:
            await channel.call(DoorHello(self._rules_version))
            answer, _ = await channel.call(GetExceptions())
            if not isinstance(answer, Exceptions):
                raise ChannelError("no register came back")
        except BaseException:
            channel.close()
            raise
        self._exceptions = answer
        self._channel = channel
        self.away_since = 0.0

    async def _ask(self, request: object, body: bytes = b"", within: float | None = None) -> object:
        """The answer. Raises ReplyError (4xx): no keeper, its own word, or *within* seconds are over."""
        if self._channel is None or not self._channel.open:
            raise ReplyError(OUR_FAULT, "the keeper is away")
        try:
            async with asyncio.timeout(within):
                answer, _ = await self._channel.call(request, body)
        except TimeoutError as error:
            raise ReplyError(OUR_FAULT, f"the keeper did not answer within {within:.0f} s") from error
        except ChannelError as error:
            raise ReplyError(OUR_FAULT, str(error)) from error
        if isinstance(answer, Failed):
            raise ReplyError(STORE_FULL if answer.code == _FULL else OUR_FAULT, answer.message)
        return answer

    @property
    def exceptions(self) -> Exceptions:
        """The register as last fetched. Raises ReplyError (4xx) when it was never fetched."""
        if self._exceptions is None:
            raise ReplyError(OUR_FAULT, "the exception register was not fetched yet")
        return self._exceptions

    async def refresh_exceptions(self) -> None:
        """Fetches the register. Raises ReplyError (4xx)."""
        answer = await self._ask(GetExceptions(), within=_ANSWER)
        if not isinstance(answer, Exceptions):
            raise ReplyError(OUR_FAULT, "no register came back")
        self._exceptions = answer

    async def commit(self, tx: Transaction, verdict: Verdict, content: bytes) -> Committed | Stale:
        """Asks for the commit. Raises ReplyError (4xx) when it is not known to have happened.

        A keeper that stands still begins nothing when it goes on after the client was told 4xx and may have come again: what it did
        begin before is the window in which a message can be delivered twice.
        """
        self._number = number = self._number + 1
        self._commits[number] = began = time.monotonic()
        try:
            answer = await self._ask(handover.commit(tx, verdict, began + _COMMIT), content, _COMMIT + _SETTLE)
        finally:
            del self._commits[number]
        if isinstance(answer, (Committed, Stale)):
            return answer
        raise ReplyError(OUR_FAULT, "the commit was answered by something else")

    async def verify_recipient(self, address: str) -> Reply:
        """What the next hop says to *address*; 4xx when nobody could be asked."""
        try:
            answer = await self._ask(VerifyRecipient(address), within=_VERIFY)
        except ReplyError as error:
            return error.reply
        return answer.reply if isinstance(answer, Verified) else OUR_FAULT

    async def first_times(self, sender: str, recipients: tuple[str, ...]) -> frozenset[str]:
        """Those of *recipients* that *sender* never wrote to before. Raises ReplyError (4xx) when it cannot be known."""
        answer = await self._ask(FirstTimes(sender, recipients), within=_ANSWER)
        if isinstance(answer, FirstTime):
            return frozenset(answer.recipients)
        raise ReplyError(OUR_FAULT, "the question for first times was answered by something else")

    async def thread_levels(self, thread: Thread) -> Remembered:
        """What is remembered of what *thread* answers or quotes. Raises ReplyError (4xx) when it cannot be known."""
        answer = await self._ask(ThreadLevels(thread.references, thread.quotes), within=_ANSWER)
        if isinstance(answer, ThreadLevel):
            return answer.remembered
        raise ReplyError(OUR_FAULT, "the question for threads was answered by something else")

    async def authenticate(self, login: str, password: str, client_ip: str, door: str) -> Authenticated:
        """Whether *password* is that of *login*. Never raises: whatever keeps the keeper from saying so is a 454, never a yes."""
        try:
            async with asyncio.timeout(_LOGIN):
                answer = await self._ask(Authenticate(login, password, client_ip, door))
        except (ReplyError, TimeoutError) as error:
            _log.warning(
                "a login could not be checked", **{"client.ip": client_ip, "error.message": getattr(error, "private", "") or "time-out"}
            )
            return Authenticated(NOT_CHECKED)
        if not isinstance(answer, Authenticated):
            return Authenticated(NOT_CHECKED)
        reply = answer.reply
        yes = reply.code == 235 and bool(answer.login)
        return answer if yes or (400 <= reply.code < 600) else Authenticated(NOT_CHECKED)

    async def may_log_in(self, login: str, client_ip: str) -> Permitted:
        """Whether *login* may be shown to the IMAP server. Never raises: whatever keeps the keeper from saying so is a 454."""
        try:
            answer = await self._ask(MayLogIn(login, client_ip), within=_ANSWER)
        except ReplyError as error:
            _log.warning("a login could not be asked about", **{"client.ip": client_ip, "error.message": error.private})
            return Permitted(NOT_CHECKED)
        return answer if isinstance(answer, Permitted) else Permitted(NOT_CHECKED)

    def logged_in(self, said: LoggedIn) -> None:
        """Tells what the IMAP server said to a login, in the background."""
        self._record(said)

    async def deferred(self, tx: Transaction, reply: Reply, cause: str) -> None:
        """Records that a message was answered 4xx after DATA; never raises."""
        self._record(Deferred(tx, reply, cause))

    def refused(self, refusal: Refused) -> None:
        """Records a refusal before DATA, in the background; what cannot be recorded is counted in ``lost_records``."""
        self._record(refusal)

    async def report(self, counters: Counters) -> bool:
        """Hands on what was counted; says whether the keeper has it. Never raises."""
        try:
            async with asyncio.timeout(_REPORT):
                answer = await self._ask(counters)
        except (ReplyError, TimeoutError):
            return False
        if isinstance(answer, Room):
            self.room = (answer, time.monotonic())
        return isinstance(answer, (Done, Room))

    def _record(self, record: object) -> None:
        if len(self._records) >= _RECORDS:
            self.lost_records += 1
            return
        task = asyncio.get_running_loop().create_task(self._send_record(record))
        self._records.add(task)
        task.add_done_callback(self._records.discard)

    async def _send_record(self, record: object) -> None:
        try:
            await self._ask(record)
        except ReplyError as error:
            self.lost_records += 1
            _log.warning("a refusal could not be recorded", **{"error.message": error.private})


class InspectorLink:
    """The inspector, as a door sees it."""

    def __init__(self, config: Config) -> None:
        self._path = rights.place(config.run_dir, "inspector.sock")
        # More would only wait in the socket's backlog, each with its body in memory.
        self._slots = asyncio.Semaphore(config.limits.inspectors * 4)

    async def inspect(self, content: bytes, sha256: str, keys: Keys = ()) -> Inspection:
        """One request on a connection of its own. Raises InspectorAway or WorkerDied."""
        nonce = secrets.token_hex(16)
        async with self._slots:
            try:
                channel = await Channel.connect(self._path, InspectorAnswer)
            except ChannelError as error:
                raise InspectorAway(str(error)) from error
            try:
                answer, _ = await channel.call(Inspect(nonce, sha256, keys=keys), content)
            except ChannelError as error:
                raise WorkerDied(str(error)) from error
            finally:
                channel.close()
        if isinstance(answer, Failed) and answer.code == 3:
            # A tool of theirs failed, which says nothing about the message: it is to come again, and is never poison.
            raise InspectorAway(answer.message)
        if not isinstance(answer, Inspected) or answer.nonce != nonce or answer.inspection.sha256 != sha256:
            raise WorkerDied("the answer was for another question")
        return answer.inspection
