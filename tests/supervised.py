"""A supervisor whose processes are stand-ins, for test_supervisor: real processes and signals, no mail.

usage: python tests/supervised.py CONFIG          the supervisor
       python tests/supervised.py child WORDS…    one of its processes
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from gateway import config as config_file
from gateway import ipc, processes, reloading, requests, supervisor


def note(folder: Path, *words: object) -> None:
    """One line in the record that the tests read; a single write, so that lines of several processes stay whole."""
    line = " ".join(str(word) for word in (f"{time.monotonic():.3f}", *words)) + "\n"
    descriptor = os.open(folder / "events", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def option(words: list[str], name: str, default: str = "") -> str:
    return words[words.index(name) + 1] if name in words else default


async def keeper(folder: Path) -> Any:
    async def answer(_: Any, __: bytes, ___: ipc.Credentials) -> tuple[Any, bytes]:
        return requests.Rows(({"state": "ok"},)), b""

    sock = ipc.listen(folder / "state/run/keeper-admin.sock")
    return await ipc.serve(sock, requests.AdminRequest, answer, allow=lambda _: True, on_fault=lambda _: None)


def child(words: list[str]) -> None:
    path = Path(option(words, "--config"))
    folder = path.parent
    if words[0] == "describe":
        wrong = folder / "describe-fails"
        if wrong.exists():
            sys.stderr.write(f"gateway: {wrong.read_text()}\n")
            sys.exit(2)
        sys.stdout.write((folder / "describe.json").read_text())
        return
    kind = option(words, "--only")
    note(folder, "start", kind, os.getpid())
    if (folder / f"{kind}-fails").exists():
        sys.exit(int((folder / f"{kind}-fails").read_text()))

    async def serve() -> None:
        held: Any = await keeper(folder) if kind == "keeper" else ipc.listen(folder / f"state/run/{kind}.sock")
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, lambda: note(folder, "int", kind))

        def hang_up() -> None:
            note(folder, "hup", kind)
            problem = folder / f"{kind}-takes-nothing"
            reloading.tell(folder / "state/run", kind, problem.read_text() if problem.exists() else "")

        loop.add_signal_handler(signal.SIGHUP, hang_up)
        await stop.wait()
        note(folder, "term", kind)
        slow = folder / f"{kind}-is-slow"
        await asyncio.sleep(float(slow.read_text()) if slow.exists() else 0.1)
        note(folder, "end", kind)
        if isinstance(held, socket.socket):
            held.close()

    asyncio.run(serve())


def main() -> None:
    if sys.argv[1] == "child":
        child(sys.argv[2:])
        return
    path = Path(sys.argv[1])

    def command(config: Path, *words: str) -> list[str]:
        return [sys.executable, "-P", __file__, "child", *words, "--config", str(config)]

    supervisor.command = command
    supervisor.environment = processes.environment
    try:
        supervisor.run(path, config_file.load(path))
    except supervisor.CannotRun as error:
        sys.stderr.write(f"cannot run: {error}\n")
        sys.exit(error.code)


if __name__ == "__main__":
    main()
