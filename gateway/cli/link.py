"""The command line's line to the running gateway: one question, one answer.

Who calls it: every command that speaks with the keeper or the supervisor.
Must never: act on the store itself; a command without a running gateway says so and ends.
Source: docs/design.md section 2 (everything goes through the keeper).
"""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from gateway.cli.options import Stop

if TYPE_CHECKING:
    from gateway.config import Config

_PATIENCE = 120.0  # seconds for one answer


async def _call(socket: FilePath, answers: Any, request: Any, patience: float) -> tuple[Any, bytes]:
    from gateway import ipc

    channel = await ipc.Channel.connect(socket, answers)
    try:
        return await asyncio.wait_for(channel.call(request), patience)
    finally:
        channel.close()


def ask(
    config: Config, path: FilePath, request: Any, *, socket: str = "keeper-admin.sock", patience: float = _PATIENCE
) -> tuple[Any, bytes]:
    """The answer of the keeper (or of the supervisor at *socket*) and its body. Ends the command when there is none, or a Failed."""
    from gateway import ipc, requests, rights

    place = rights.place(config.run_dir, socket)
    who = "keeper" if socket.startswith("keeper") else "supervisor"
    try:
        answer, body = asyncio.run(_call(place, requests.KeeperAnswer, request, patience))
    except TimeoutError as error:
        raise Stop(f"The {who} did not answer within {patience:.0f} seconds.") from error
    except ipc.ChannelError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM):
            raise Stop(f"This user may not speak with the {who} at {place}: run the command as root or as the gateway's user.") from error
        if isinstance(cause, OSError) and who == "supervisor" and _listens(rights.place(config.run_dir, "keeper-admin.sock")):
            raise Stop("The gateway runs as units of systemd; run: systemctl reload gateway-doors (or: systemctl status 'gateway-*').")
        if isinstance(cause, OSError):
            raise Stop(f"The gateway is not running (no {who} at {place}). Start it with: gateway run --config {path}") from error
        raise Stop(f"The {who} gave no answer ({error}): this user may not ask it, or it has just stopped.") from error
    if isinstance(answer, requests.Failed):
        raise Stop(answer.message, 2 if answer.code == 2 else 1)
    return answer, body


def _listens(path: FilePath) -> bool:
    """Whether somebody takes connections on the socket *path*; one that was left behind does not."""
    import socket

    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def rows(config: Config, path: FilePath, request: Any, **options: Any) -> tuple[dict[str, Any], ...]:
    """The records of the answer; none for a bare ``Done``."""
    from gateway import requests

    answer, _ = ask(config, path, request, **options)
    return answer.rows if isinstance(answer, requests.Rows) else ()
