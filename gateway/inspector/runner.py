"""Runs programs on hostile content, a few at a time, each until its deadline.

What it is: ``Runner``: a queue of ``Job``, lanes, pipes without blocking, one ``Outcome`` for each job.
Who calls it: ``inspector.tool_pool`` for the readers of the inspector, ``inspector.tools`` for a process without a service.
Must never: look into what a program reads or writes; let one job wait for another's input; leave a program behind.
Sources: docs/design.md section 2; docs/inspection.md (what other pools leave behind).
"""

from __future__ import annotations

import collections
import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Hashable
from dataclasses import dataclass

from gateway.inspector import confined
from gateway.inspector.confined import Program

_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one program."""

    program: Program
    arguments: tuple[str, ...]
    given: bytes = b""
    """Goes to its standard input."""
    archive: bytes = b""
    """Stands in memory as the file ``{archive}`` of the arguments."""
    most: int = 10_000_000
    """Octets of output."""
    seconds: float = 10.0
    """Of wall clock, from ``begin`` on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job. *code* as of a process; None: it was ended, *late* or because its output was too *large*, or never ran."""

    code: int | None
    output: bytes = b""
    late: bool = False
    large: bool = False
    waited: float = 0.0
    """Seconds in the queue."""
    fault: bool = False
    """It could not be started: nothing that its input could cause."""


class _Run:
    """A program under way."""

    def __init__(self, key: Hashable, job: Job, process: subprocess.Popen[bytes], begun: float, end: float) -> None:
        self.key, self.job, self.process, self.begun, self.end = key, job, process, begun, end
        self.left = memoryview(job.given)
        self.output = bytearray()
        self.started = time.monotonic()


class Runner:
    """At most *lanes* programs at a time, each with *memory* octets."""

    def __init__(self, lanes: int, memory: int) -> None:
        self.lanes, self.memory = lanes, memory
        self.selector = selectors.DefaultSelector()
        self._queue: collections.deque[tuple[Hashable, Job, float]] = collections.deque()
        self._runs: dict[Hashable, _Run] = {}
        self._done: list[tuple[Hashable, Outcome]] = []

    def begin(self, key: Hashable, job: Job) -> None:
        """Queues *job*; its outcome comes with *key*."""
        self._queue.append((key, job, time.monotonic()))
        self._fill()

    def forget(self, key: Hashable) -> None:
        """Ends the job of *key*; there will be no outcome."""
        self._queue = collections.deque(one for one in self._queue if one[0] != key)
        self._done = [one for one in self._done if one[0] != key]
        if (run := self._runs.pop(key, None)) is not None:
            self._close(run)
            self._fill()

    def turn(self, timeout: float | None) -> tuple[list[tuple[Hashable, Outcome]], list[tuple[selectors.SelectorKey, int]]]:
        """Waits until something happens, at most *timeout* seconds; the outcomes, and the events of what others registered."""
        foreign = []
        now = time.monotonic()
        deadlines = [run.end for run in self._runs.values()] + [begun + job.seconds for _, job, begun in self._queue]
        waits = [max(0.0, end - now) for end in deadlines] + ([timeout] if timeout is not None else [])
        if not self._done:
            for event, mask in self.selector.select(min(waits) if waits else None):
                if not isinstance(event.data, _Run):
                    foreign.append((event, mask))
                elif event.data.key in self._runs:
                    self._move(event.data, mask)
        self._expire()
        self._fill()
        done, self._done = self._done, []
        return done, foreign

    def stop(self) -> None:
        """Ends everything."""
        self._queue.clear()
        for run in self._runs.values():
            self._close(run)
        self._runs.clear()

    def _fill(self) -> None:
        while self._queue and len(self._runs) < self.lanes:
            key, job, begun = self._queue.popleft()
            now = time.monotonic()
            left = begun + job.seconds - now
            if left <= 0:
                self._done.append((key, Outcome(None, late=True, waited=job.seconds)))
                continue
            try:
                process = confined.start(
                    job.program, job.arguments, archive=job.archive, memory=self.memory, seconds=left + 1, fence=confined.fence()
                )
            except (OSError, subprocess.SubprocessError):
                self._done.append((key, Outcome(None, fault=True)))
                continue
            run = self._runs[key] = _Run(key, job, process, begun, now + left)
            assert process.stdin is not None
            assert process.stdout is not None
            os.set_blocking(process.stdout.fileno(), False)
            self.selector.register(process.stdout, selectors.EVENT_READ, run)
            if run.left:
                os.set_blocking(process.stdin.fileno(), False)
                self.selector.register(process.stdin, selectors.EVENT_WRITE, run)
            else:
                process.stdin.close()

    def _move(self, run: _Run, mask: int) -> None:
        """Octets to or from the program."""
        assert run.process.stdin is not None
        assert run.process.stdout is not None
        if mask & selectors.EVENT_WRITE:
            try:
                run.left = run.left[os.write(run.process.stdin.fileno(), run.left[:_CHUNK]) :]
            except BlockingIOError:
                return
            except OSError:
                run.left = memoryview(b"")  # it has seen enough
            if not run.left:
                self.selector.unregister(run.process.stdin)
                with contextlib.suppress(OSError):
                    run.process.stdin.close()
            return
        try:
            data = os.read(run.process.stdout.fileno(), _CHUNK)
        except BlockingIOError:
            return
        run.output += data
        if len(run.output) > run.job.most:
            self._finish(run, Outcome(None, large=True, waited=run.started - run.begun))
        elif not data:
            self._ended(run)

    def _ended(self, run: _Run) -> None:
        """Its output is closed; a program that goes on without one is ended at once."""
        try:
            code: int | None = run.process.wait(0.5)
        except subprocess.TimeoutExpired:
            code = None
        self._finish(run, Outcome(code, bytes(run.output), waited=run.started - run.begun))

    def _expire(self) -> None:
        now = time.monotonic()
        for run in [run for run in self._runs.values() if run.end <= now]:
            self._finish(run, Outcome(None, late=True, waited=run.started - run.begun))
        for one in [one for one in self._queue if one[2] + one[1].seconds <= now]:
            self._queue.remove(one)
            self._done.append((one[0], Outcome(None, late=True, waited=one[1].seconds)))

    def _finish(self, run: _Run, outcome: Outcome) -> None:
        self._close(run)
        del self._runs[run.key]
        self._done.append((run.key, outcome))
        self._fill()

    def _close(self, run: _Run) -> None:
        for pipe in (run.process.stdin, run.process.stdout):
            if pipe is not None and not pipe.closed:
                with contextlib.suppress(KeyError, ValueError):
                    self.selector.unregister(pipe)
        confined.end(run.process)
