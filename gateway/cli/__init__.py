"""The command line: one file a noun, put together here.

What it is: the table of commands, and ``main``, which turns every error into one plain sentence and an exit code.
Who calls it: the console script ``gateway`` and ``python -m gateway``.
Must never: print a traceback; import a heavy module before a command asks for it (``gateway --help`` stays under 0.4 s).
Source: docs/design.md section 10: exit 0 done, 1 the answer is no, 2 the call or the config is wrong.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import (
    archive,
    audit,
    backup,
    check,
    demo,
    doctor,
    exceptions,
    explain,
    keys,
    logins,
    metrics,
    profiles,
    quarantine,
    queue,
    restore,
    rules,
    run,
    samples,
    setup,
    store,
    sweep,
    users,
)
from gateway.cli.options import Stop
from gateway.serving import failed, sentence


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"gateway {__version__}")
        raise typer.Exit


def application() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(name="gateway", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

    @app.callback()
    def root(
        context: typer.Context,
        config: Annotated[str, typer.Option("--config", help="The config file, for every command.", metavar="FILE")] = "",
        _: Annotated[bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)] = False,
    ) -> None:
        """A mail gateway for government departments: inspects, decides, delivers, holds, explains, records."""
        context.obj = config

    setup.register(app)
    run.register(app)
    check.register(app)
    doctor.register(app)
    explain.register(app)
    sweep.register(app)
    samples.register(app)
    demo.register(app)
    backup.register(app)
    restore.register(app)
    metrics.register(app)
    for noun in (rules, quarantine, queue, archive, audit, exceptions, profiles, users, logins, keys, store):
        app.add_typer(noun.commands())
    return app


def _forget_stdout() -> None:
    """The reader of our pipe has gone: what is left goes nowhere, and the interpreter's last flush does not complain."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def invoke(arguments: list[str]) -> int:
    """Runs the command line *arguments* (without the program's name) and returns the exit code; errors are on stderr."""
    if sys.flags.optimize:
        sentence("Python runs with -O, which takes the checks out of the code: start it without -O and PYTHONOPTIMIZE.")
        return 2
    try:
        result = application()(args=arguments, prog_name="gateway", standalone_mode=False)
    except typer.TyperException as error:
        parameter = getattr(error, "param", None)
        message = error.format_message().strip()
        name = getattr(parameter, "name", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            return 2  # the help is printed
        if name and name not in message:
            message = f"{'/'.join(parameter.opts) if parameter and parameter.opts else name}: {message}"
        sentence(f"{message.rstrip('.')}. See: gateway --help")
        return 2
    except Stop as stop:
        sentence(str(stop))
        return stop.code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        _forget_stdout()
        return 0
    except Exception as error:
        return failed(error)
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script."""
    code = invoke(sys.argv[1:])
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        _forget_stdout()
    sys.exit(code)
