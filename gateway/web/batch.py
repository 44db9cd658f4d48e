"""Batches: one act on many held messages, done one after the other while the person looks on or goes elsewhere.

What it is: ``Batches``, the jobs that run now or have ended within the hour, and ``Job``, one of them with what became of each message.
Who calls it: ``batch_pages``.
Must never: show a job to anybody but the session that began it (W05); keep a credential when the job has ended; try anything twice.
Sources: hostile-inputs catalogue W05, W07; docs/design.md section 10 ("Web").
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway import ipc, logs, requests
from gateway.review import PersonRequest
from gateway.web.door import NeedLogin, Refused, Visitor

MOST = 200
"""Messages of one batch."""
RUNNING = 2
"""Batches of one session at once."""
KEPT, KEPT_FOR = 100, 3600.0
"""Jobs in all, and seconds for which one that has ended is kept."""
_SILENT = 3  # failures of the channel in a row after which nothing more is tried
_LONGEST = 500  # characters of what is shown of one outcome


@dataclass(frozen=True, slots=True)
class Target:
    """One held message of a batch."""

    id: str
    reference: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message, in one plain sentence."""

    target: Target
    done: bool
    text: str


class Busy(Exception):
    """There is no room for another job now."""


class Job:
    """One batch. Only its own task changes it."""

    def __init__(self, owner: bytes, act: str, targets: Sequence[Target]) -> None:
        self.id = secrets.token_urlsafe(16)
        self.owner = owner
        self.act = act
        self.targets = tuple(targets)
        self.outcomes: list[Outcome] = []
        self.ended = 0.0
        """When, in seconds of the monotonic clock; 0: it still runs."""

    @property
    def failed(self) -> int:
        """How many were not done."""
        return sum(not one.done for one in self.outcomes)

    @property
    def left(self) -> tuple[Target, ...]:
        """What has not been tried yet."""
        return self.targets[len(self.outcomes) :]


class Batches:
    """The jobs of this process; a restart forgets them, and what they have not done stays undone."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = logs.get("web")

    def begin(self, visitor: Visitor, act: str, targets: Sequence[Target], request: Callable[[str], PersonRequest]) -> Job:
        """Starts a job that asks *request* of each id as *visitor*. Raises Busy; ValueError for none or more than ``MOST``."""
        if not 0 < len(targets) <= MOST:
            raise ValueError(f"a batch has 1 to {MOST} messages")
        self._clear()
        owner = _owner(visitor)
        mine = sum(1 for job in self._jobs.values() if not job.ended and hmac.compare_digest(job.owner, owner))
        if mine >= RUNNING or len(self._jobs) >= KEPT:
            raise Busy
        job = Job(owner, act, targets)
        self._jobs[job.id] = job
        task = asyncio.get_running_loop().create_task(self._run(job, visitor, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def find(self, id: str, visitor: Visitor) -> Job | None:
        """The job *id* of this session; None where there is none, or it is another's."""
        self._clear()
        job = self._jobs.get(id)
        return job if job is not None and hmac.compare_digest(job.owner, _owner(visitor)) else None

    def _clear(self) -> None:
        """Forgets what ended long ago, and the oldest that has ended where there is no room."""
        oldest = time.monotonic() - KEPT_FOR
        for id in [id for id, job in self._jobs.items() if job.ended and job.ended < oldest]:
            del self._jobs[id]
        if len(self._jobs) >= KEPT:
            ended = next((id for id, job in self._jobs.items() if job.ended), None)
            if ended is not None:
                del self._jobs[ended]

    async def _run(self, job: Job, visitor: Visitor, request: Callable[[str], PersonRequest]) -> None:
        silent = 0
        try:
            for target in job.targets:
                if silent >= _SILENT:
                    job.outcomes.append(Outcome(target, False, "Not tried: the gateway's keeper does not answer."))
                    continue
                try:
                    job.outcomes.append(Outcome(target, True, await _ask(visitor, request(target.id))))
                    silent = 0
                except Refused as error:
                    job.outcomes.append(Outcome(target, False, _plain(error.failed)))
                    silent = 0
                except NeedLogin:
                    job.outcomes += [Outcome(one, False, "Not tried: your session has ended.") for one in job.left]
                    return
                except ipc.ChannelError:
                    silent += 1
                    text = "It is not known whether this was done: the gateway's keeper did not answer. Look at the message."
                    job.outcomes.append(Outcome(target, False, text))
        except Exception as error:
            self._log.error("web.batch_fault", error=type(error).__name__)
        finally:
            text = "It is not known whether this was done. Look at the message."
            job.outcomes += [Outcome(one, False, text) for one in job.left]
            job.ended = time.monotonic()
            self._log.info("web.batch_ended", user=visitor.name, action=job.act, count=len(job.targets), failed=job.failed)


async def _ask(visitor: Visitor, request: PersonRequest) -> str:
    rows = await visitor.rows(request)
    return _sentence(str(rows[0].get("message", "")) if rows else "") or "Done."


def _plain(failed: requests.Failed) -> str:
    if failed.code in (3, 4):
        return "The gateway could not do this now."
    return _sentence(failed.message) or "This was not done."


def _sentence(text: str) -> str:
    text = text[:_LONGEST].strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}" if text else ""


def _owner(visitor: Visitor) -> bytes:
    return hashlib.sha256(b"batch " + visitor.credential.encode("utf-8", "replace")).digest()
