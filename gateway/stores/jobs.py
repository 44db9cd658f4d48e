"""What waits for a writer: one piece of work, and who is told when it is done.

What it is: ``Job``, and ``settle``, which tells those who wait for a group of them.
Who calls it: the writers of both stores and what they write with; the stores make one for each call.
Must never: be settled before what it asked for is on stable storage, or has failed.
Source: docs/design.md section 6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from gateway.stores.base import Batch

W = TypeVar("W")


class Job(Generic[W]):
    """A batch, or a function on the writing connection outside of any transaction."""

    __slots__ = ("batch", "error", "future", "result", "work")

    def __init__(self, future: asyncio.Future[object], batch: Batch | None = None, work: W | None = None) -> None:
        self.future = future
        self.batch = batch
        self.work = work
        self.result: object = None
        self.error: BaseException | None = None

    @property
    def octets(self) -> int:
        """Octets of sealed content in its batch."""
        return sum(len(body.ciphertext) for body in self.batch.bodies) if self.batch is not None else 0


def settle(jobs: Iterable[Job[Any]]) -> None:
    """Gives each its result or its error; who has gone away meanwhile is left alone."""
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
