"""Ordinary logs: JSON lines on stderr (readable on a terminal), ECS names, escaped and cut values.

What it is: the set-up of structlog for one process.
Who calls it: each process once at start, then ``logs.get(name)``.
Must never: carry content, subjects, passwords or AUTH lines; block the caller (a full pipe drops the line and counts it).
Sources: Elastic Common Schema; hostile-inputs catalogue L06, O18.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from typing import Any

import msgspec


@contextlib.contextmanager
def _absent(name: str) -> Iterator[None]:
    """Imports inside see no module *name*."""
    there = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # how Python itself marks what must not be imported
    try:
        yield
    finally:
        del sys.modules[name]
        if there is not None:
            sys.modules[name] = there


# structlog takes rich for tracebacks wherever it is installed: 4 MB in each process, none of which shows it to anybody.
with _absent("rich"):
    import structlog
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

_CUT = 1000  # characters of one value


class Sink:
    """A non-blocking writer of whole lines to a file descriptor that counts what it had to drop.

    The descriptor is left as it is (it may be shared with the shell), and a line is written only when poll says it can be.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.dropped = 0
        try:
            fcntl.fcntl(descriptor, fcntl.F_GETFD)
            self._open = True
        except OSError:
            self._open = False

    def write(self, line: str) -> None:
        """Writes *line* and a newline, or drops it and counts."""
        import select

        data = line.encode("ascii", "backslashreplace") + b"\n"
        try:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            ready = poll.poll(0)
            if not self._open or not ready or not ready[0][1] & select.POLLOUT:
                self.dropped += 1
                return
            # A pipe that polls writable takes at least PIPE_BUF octets without blocking; longer lines are cut to it.
            os.write(self._descriptor, data if len(data) <= 4096 else data[:4090] + b"...\n")
        except OSError:
            self.dropped += 1


def escape(value: object) -> object:
    """*value* made safe for a log: cut to 1,000 characters; control, bidi and non-ASCII characters leave as escapes."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "backslashreplace")
    if isinstance(value, str):
        cut = value if len(value) <= _CUT else value[:_CUT] + "..."
        return cut.encode("unicode_escape").decode("ascii") if not (cut.isascii() and cut.isprintable()) else cut
    if isinstance(value, dict):
        return {str(key): escape(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [escape(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return escape(str(value))


def _escape_all(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: escape(value) if key != "exc_info" else value for key, value in event.items()}


def _ecs(process: str) -> Any:
    def rename(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        out: EventDict = {"@timestamp": event.pop("timestamp", ""), "log.level": event.pop("level", "info")}
        out["message"] = event.pop("event", "")
        out["process.name"] = process
        out["process.pid"] = os.getpid()
        out.update(event)
        return out

    return rename


def _json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return msgspec.json.encode(event, order=None).decode("utf-8")


def configure(process: str, *, descriptor: int = 2) -> Sink:
    """Sets structlog up for this process (``doors``, ``keeper`` …) and returns its sink, whose ``dropped`` is a counter."""
    sink = Sink(descriptor)

    class Logger:
        """The thing structlog writes with."""

        def msg(self, message: str) -> None:
            sink.write(message)

        log = debug = info = warning = warn = error = critical = exception = fatal = msg

    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _escape_all,
    ]
    if os.isatty(descriptor) and sys.stderr is not None:
        processors.append(structlog.dev.ConsoleRenderer(colors=True))
    else:
        processors += [_ecs(process), _json]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=lambda *_: Logger(),
        cache_logger_on_first_use=True,
    )
    return sink


def get(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry ``log.logger = name``."""
    # Lazy: a module that asks at its import, before configure, still writes as configured later.
    logger: FilteringBoundLogger = structlog.get_logger(**{"log.logger": name})
    return logger
