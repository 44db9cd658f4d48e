"""Many files through one function in several processes, in order, surviving a file that kills its process.

What it is: ``results(function, items, count)``: forked workers with a pipe each; what a dead worker had is given back as Died.
Who calls it: ``gateway explain``, ``gateway rules test``.
Must never: lose the answer for an item; leave a process behind.
Source: docs/design.md section 10, ``gateway explain`` (parsed in parallel); hostile-inputs catalogue 4.1.6.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway import children


@dataclass(frozen=True, slots=True)
class Died:
    """The worker ended, or failed, before it answered; *how* in words."""

    how: str


def _work(function: Callable[[Any], Any], connection: multiprocessing.connection.Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    while True:
        try:
            item = connection.recv()
        except EOFError:
            os._exit(0)
        try:
            result = function(item)
        except Exception as error:  # costs this item, and no process
            result = Died(type(error).__name__)
        connection.send(result)


class _Worker:
    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(function, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.index = -1

    def end(self) -> None:
        """Closes the pipe and takes the process away."""
        self.connection.close()
        self.process.join(0.5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def cause(self) -> str:
        """Why it is dead."""
        self.process.join()
        code = self.process.exitcode or 0
        return children.how(code)


def results(function: Callable[[Any], Any], items: Sequence[Any], count: int) -> Iterator[Any]:
    """``function(item)`` of each item in order, or Died; at most *count* processes, each with at most one item."""
    done: dict[int, Any] = {}
    following, given = 0, 0
    workers = [_Worker(function) for _ in range(max(1, min(count, len(items))))]
    try:
        while following < len(items):
            for worker in workers:
                # Not too far ahead of the item that is printed next, so that memory stays flat.
                if worker.index < 0 and given < len(items) and given - following < 16 * len(workers):
                    worker.index, given = given, given + 1
                    with contextlib.suppress(BrokenPipeError, ConnectionError):
                        worker.connection.send(items[worker.index])
            busy = {worker.connection: worker for worker in workers if worker.index >= 0}
            for ready in multiprocessing.connection.wait(list(busy)):
                worker = busy[ready]  # type: ignore[index]
                try:
                    done[worker.index] = worker.connection.recv()
                    worker.index = -1
                except (EOFError, ConnectionError):
                    done[worker.index] = Died(worker.cause())
                    worker.end()
                    workers[workers.index(worker)] = _Worker(function)
            while following in done:
                yield done.pop(following)
                following += 1
    finally:
        for worker in workers:
            worker.end()
