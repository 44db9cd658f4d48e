"""The path of one message from its last octet to its reply: prescan, inspect, decide, commit.

What it is: the stages in their order under one deadline; what it may not touch itself it asks an Inspector and a Memory for.
Who calls it: every door, once a message.
Must never: parse a hostile format, open the store, or answer 2xx before the commit. What we failed to do ourselves ends in
a ReplyError with a 4xx; what cannot be inspected is decided as *suspect*.
Source: docs/design.md section 4; RFC 5321 sections 6.1 and 6.3.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from gateway import logs
from gateway.config import Config
from gateway.counting import Counts
from gateway.envelope import Transaction
from gateway.message import plain, prescan, signatures, views
from gateway.metrics import kind_of
from gateway.policy import Policy, decide, threads
from gateway.reply import OUR_FAULT, Reply, ReplyError
from gateway.requests import Committed, Exceptions, Stale
from gateway.shares import Places, owner_of
from gateway.verdict import Finding, Headers, Inspection, Leaf, LeafState, Remembered, Thread, Verdict

_LOOP = Reply(554, "5.4.6", "The message has passed too many servers; it is probably in a loop.")
_DECISIONS = 5  # times that one message is decided anew because the register changed meanwhile
_WORKER_DEATHS = 3
_OVERTIME = 1.4  # times limits.inspect_cpu after which a worker's end is put down to the time it took
_log = logs.get("gateway.pipeline")


Keys = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message: durable, and to be answered."""

    reply: Reply
    verdict: Verdict
    """What was committed; the keeper may have refused more than it says (``reply``)."""
    passed: tuple[str, ...] = ()
    """Milter and IMAP: the recipients whose mail goes on where it was."""
    hold_there: bool = False
    """Milter: the MTA is to hold it."""


class InspectorAway(Exception):
    """The inspector cannot be asked now: our fault, so the message is deferred."""


class WorkerDied(Exception):
    """The worker that had the message stopped before it answered: the message may be the reason."""


class Inspector(Protocol):
    """Reads what a door must not read."""

    async def inspect(self, content: bytes, sha256: str, keys: Keys = ()) -> Inspection:
        """Everything inspection says about *content*. Raises InspectorAway or WorkerDied."""


class KeyRecords(Protocol):
    """Fetches DKIM keys."""

    async def keys(self, names: tuple[str, ...]) -> Keys:
        """Name and record of each; never raises."""


class Memory(Protocol):
    """What the keeper knows and does, as far as a door may ask."""

    @property
    def exceptions(self) -> Exceptions:
        """The register as last fetched. Raises ReplyError (4xx) when it was never fetched."""

    async def refresh_exceptions(self) -> None:
        """Fetches the register. Raises ReplyError (4xx)."""

    async def first_times(self, sender: str, recipients: tuple[str, ...]) -> frozenset[str]:
        """Which of *recipients* has *sender* never written to before? Raises ReplyError (4xx)."""

    async def thread_levels(self, thread: Thread) -> Remembered:
        """What is remembered of the mail that *thread* answers or quotes. Raises ReplyError (4xx)."""

    async def commit(self, tx: Transaction, verdict: Verdict, content: bytes) -> Committed | Stale:
        """Makes the decision durable. Raises ReplyError (4xx) when it is not known to be."""

    async def deferred(self, tx: Transaction, reply: Reply, cause: str) -> None:
        """Records that the message was deferred; never raises."""


class Pipeline:
    """One door process' path, with the policy that is in force (replaced whole at a reload)."""

    def __init__(
        self, policy: Policy, config: Config, inspector: Inspector, memory: Memory, records: KeyRecords | None = None,
        counts: Counts | None = None,
    ) -> None:  # fmt: skip
        self.policy = policy
        self.config = config
        self._inspector = inspector
        self._memory = memory
        self._records = records
        self._counts = counts = counts or Counts()
        # One more than are read: no worker is ever idle, and where strangers have all their places our own officers still have one.
        self.places = Places(config.limits.inspectors + 1)
        """Messages that are with the inspector; the next is in turn by its owner, so that nobody waits behind somebody's hundred."""
        self._strangers = Places(config.limits.inspectors)
        """Messages of strangers that are read at one time: a flood of their pictures must not keep our own officers waiting."""
        names = ("prescan", "inspect", "decide", "commit")
        self._prescan, self._inspected, self._decide, self._commit = (counts.timing("gateway_stage_seconds", name) for name in names)

    async def handle(self, tx: Transaction, content: bytes) -> Reply:
        """The reply to *content*, after the commit. Raises ReplyError: 4xx for our faults, 5xx for a loop."""
        return (await self.outcome(tx, content)).reply

    async def outcome(self, tx: Transaction, content: bytes) -> Outcome:
        """What became of *content*, after the commit, for doors that have more to say than a reply. Raises ReplyError like ``handle``."""
        try:
            inspection = await self._inspect(tx, content)
        except TimeoutError:
            self._counts.add("gateway_inspector_failures_total", "deadline")
            await self._memory.deferred(tx, OUR_FAULT, "inspection took longer than limits.pipeline")
            raise ReplyError(OUR_FAULT, "inspection took too long") from None
        except InspectorAway as error:
            self._counts.add("gateway_inspector_failures_total", "away")
            await self._memory.deferred(tx, OUR_FAULT, "the inspector is away")
            raise ReplyError(OUR_FAULT, str(error)) from error
        for leaf in inspection.leaves:
            self._counts.add("gateway_leaves_total", kind_of(leaf.media_type), leaf.state)
        first_times = await self._first_times(tx, inspection)
        remembered = await self._remembered(tx, inspection)
        for _ in range(_DECISIONS):
            began = perf_counter()
            verdict = decide.decide(
                tx, inspection, self.policy, self._memory.exceptions, self.config, first_times=first_times, remembered=remembered
            )
            decided = perf_counter()
            self._decide.observe(decided - began)
            answer = await self._memory.commit(tx, verdict, content)
            self._commit.observe(perf_counter() - decided)
            if isinstance(answer, Committed):
                return Outcome(answer.reply, verdict, answer.passed, answer.hold_there)
            await self._memory.refresh_exceptions()
        await self._memory.deferred(tx, OUR_FAULT, "the exception register kept changing")
        raise ReplyError(OUR_FAULT, "the exception register kept changing")

    async def _first_times(self, tx: Transaction, inspection: Inspection) -> frozenset[str]:
        """The recipients that the sender never wrote to before, where a rule asks. Raises ReplyError (4xx): a guess is no answer."""
        if not decide.asks_first_times(tx, inspection, self.policy):
            return frozenset()
        addresses = tuple(recipient.path.text for recipient in tx.envelope.recipients)
        try:
            return await self._memory.first_times(tx.envelope.sender.text, addresses)
        except ReplyError as error:
            await self._memory.deferred(tx, error.reply, "who has written to whom before could not be asked")
            raise

    async def _remembered(self, tx: Transaction, inspection: Inspection) -> Remembered:
        """What earlier mail was marked that this one answers or quotes. Raises ReplyError (4xx): a guess is no answer."""
        if inspection.thread is None or not threads.asks(tx, inspection, self.policy):
            return threads.NOTHING
        try:
            return await self._memory.thread_levels(inspection.thread)
        except ReplyError as error:
            await self._memory.deferred(tx, error.reply, "what the thread was marked before could not be asked")
            raise

    async def _inspect(self, tx: Transaction, content: bytes) -> Inspection:
        """Our own reading where the message is plain text, the inspector's for all others."""
        limits, began = self.config.limits, perf_counter()
        if prescan.hops(content, limits) > limits.received:
            raise ReplyError(_LOOP, "too many Received fields")
        signed = self._is_to_be_checked(tx, content)
        # Our own reading waits for nothing: only what waits needs the deadline.
        inspection = None if signed else plain.inspect(content, tx.sha256, limits, self.policy.scheme)
        self._prescan.observe(perf_counter() - began)
        if inspection is not None:
            self._counts.add("gateway_inspections_total", "door")
        else:
            async with asyncio.timeout(limits.pipeline):
                keys = await self._keys(content) if signed else ()
                if signed and not keys:
                    inspection = plain.inspect(content, tx.sha256, limits, self.policy.scheme)
                if inspection is None:
                    inspection = await self._in_turn(tx, content, keys)
        return inspection

    async def _in_turn(self, tx: Transaction, content: bytes, keys: Keys) -> Inspection:
        """The inspector's reading, when it is this one's turn."""
        peer, began = tx.peer, perf_counter()
        owner = owner_of(peer.ip, user=peer.user, known=peer.listed)
        async with contextlib.nullcontext() if tx.verified_originator else self._strangers.of(owner), self.places.of(owner):
            inspection = await self._asked(tx, content, keys)
        self._inspected.observe(perf_counter() - began)
        return inspection

    async def _asked(self, tx: Transaction, content: bytes, keys: Keys) -> Inspection:
        """The inspector's reading; a message that stops it again and again is poison."""
        inspection = None
        deaths = 0
        while inspection is None:
            began = perf_counter()
            try:
                inspection = await self._inspector.inspect(content, tx.sha256, keys)
                self._counts.add("gateway_inspections_total", "inspector")
            except WorkerDied:
                deaths += 1
                late = perf_counter() - began >= _OVERTIME * self.config.limits.inspect_cpu
                self._counts.add("gateway_inspector_failures_total", "overtime" if late else "died")
                _log.warning("inspection worker died", **{"gateway.reference": tx.reference, "gateway.deaths": deaths})
                if deaths >= _WORKER_DEATHS:
                    self._counts.add("gateway_inspector_failures_total", "poison")
                    inspection = self._poison(tx, content, deaths)
        return inspection

    def _is_to_be_checked(self, tx: Transaction, content: bytes) -> bool:
        """Whether *content* is a stranger's and may be signed; our own officers' mail is not checked here."""
        if self._records is None or tx.verified_originator:
            return False
        return b"\ndkim-signature:" in content[: self.config.limits.header_bytes].lower()

    async def _keys(self, content: bytes) -> Keys:
        """The keys of the signatures on *content*."""
        scan = prescan.prescan(content, self.config.limits)
        if self._records is None or scan.over_limit:
            return ()
        names = signatures.key_names(views.strict(content[: scan.header_end], scan, self.config.limits).headers)
        return await self._records.keys(names)

    def _poison(self, tx: Transaction, content: bytes, deaths: int) -> Inspection:
        """A message that nobody could read and live: suspect as a whole, with what its header section says."""
        limits = self.config.limits
        scan = prescan.prescan(content, limits)
        headers = Headers()
        findings: tuple[Finding, ...] = ()
        if not scan.over_limit:
            view = views.strict(content, scan, limits)
            headers = views.summary(view, scan, self.policy.scheme.label_headers)
            findings = plain.root_findings(view.headers, self.policy.scheme)
        reason = f"reading this message stopped the inspection {deaths} times"
        leaf = Leaf("1", "", "message/rfc822", len(content), LeafState.SUSPECT, reason)
        return Inspection(tx.sha256, headers, (leaf,), findings, (reason,))
