"""One process of the gateway by itself: keeper, inspector, door or web, without the command line around it.

What it is: ``serve``, ``main`` for the arguments that ``processes.command`` makes, and how an error becomes a sentence.
Who calls it: ``python -m gateway`` for what the supervisor starts; ``gateway run --only``.
Must never: keep a process alive whose supervisor has gone; load the command line, which takes 3 MB in each process; import a
heavy module at the top, since the command line takes its sentences from here.
Sources: docs/design.md section 2; docs/commands.md; prctl(2) PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config import Config

KINDS = ("keeper", "inspector", "doors", "web")
_PR_SET_PDEATHSIG = 1
_SHAPE = ("run", "--only", None, "--parent", None, "--config", None)
"""The arguments that the supervisor gives, in its order; None stands for a value."""


def die_with(parent: int) -> None:
    """SIGTERM for us when the supervisor *parent* dies. Raises CannotRun when it is gone already."""
    import ctypes

    from gateway.supervisor import CannotRun

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0):
        raise CannotRun(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        raise CannotRun("the supervisor has gone")


def serve(kind: str, config: Config, path: FilePath) -> None:
    """Runs one kind of process until SIGTERM, with *config* from the file *path*. Raises CannotRun.

    Its modules are imported here only: a door never loads the store.
    """
    from gateway import rights, supervisor

    os.umask(0o077)
    if not rights.separated(kind):
        supervisor.prepare(config)
    if kind == "keeper":
        from gateway.keeper import service as keeper

        keeper.run(config, path)
    elif kind == "inspector":
        from gateway import policy
        from gateway.inspector import service as inspector

        try:
            inspector.run(config, policy.scheme_of, path)
        except policy.PolicyError as error:
            raise supervisor.CannotRun(str(error), 2) from error
    elif kind == "doors":
        from gateway.doors import workers as doors

        doors.run(config, path)
    else:
        from gateway.web import service as web

        web.run(config, path)


def sentence(text: str) -> None:
    """One line on stderr, if anybody reads it."""
    one_line = " ".join(text.split())
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"gateway: {one_line}\n")
        sys.stderr.flush()


def failed(error: Exception) -> int:
    """Says on stderr what *error*, which nobody expected, is; the exit code. Raises it again where GATEWAY_TRACEBACK is set."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        sentence(f"{where}{error.strerror or error}")
        return 2
    if os.environ.get("GATEWAY_TRACEBACK"):
        raise error
    sentence(f"this should not happen: {type(error).__name__}: {error} (GATEWAY_TRACEBACK=1 shows where)")
    return 1


def is_meant(arguments: Sequence[str]) -> bool:
    """Whether *arguments* are exactly those that the supervisor gives; all else is for the command line to understand."""
    return (
        len(arguments) == len(_SHAPE)
        and all(word is None or word == given for word, given in zip(_SHAPE, arguments, strict=True))
        and arguments[2] in KINDS
        and arguments[4].isascii()
        and arguments[4].isdigit()
        and not sys.flags.optimize
    )


def main(arguments: Sequence[str]) -> int:
    """Runs the process that *arguments* (for which ``is_meant`` said yes) name; the exit code. Errors are on stderr."""
    from gateway import config as config_file
    from gateway.config import ConfigError
    from gateway.supervisor import CannotRun

    kind, parent, path = arguments[2], int(arguments[4]), FilePath(arguments[6]).absolute()
    try:
        if parent:
            die_with(parent)
        serve(kind, config_file.load(path), path)
    except ConfigError as error:
        sentence(str(error))
        return 2
    except CannotRun as error:
        sentence(str(error))
        return error.code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return failed(error)
    return 0
