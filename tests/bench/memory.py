"""Memory of a running gateway with idle sessions. Prints; asserts nothing. Over many messages: ``tests.bench.endurance``.

usage: python -m tests.bench.memory [--sessions 500]
PSS (memory with shared pages counted in shares) of the doors.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
from pathlib import Path

from tests.bench import processes
from tests.e2e.parts import Gateway, free_port


def doors(gateway: Gateway) -> float:
    """MiB of the doors."""
    assert gateway.process is not None
    return round(processes.pss(processes.kinds(gateway.process.pid)["doors"]) / 1024, 1)


def idle(gateway: Gateway, sessions: int) -> None:
    """Memory of the doors with *sessions* open sessions after EHLO."""
    before = doors(gateway)
    opened = []
    for _ in range(sessions):
        sock = socket.create_connection(("127.0.0.1", gateway.port), 10)
        sock.recv(512)
        sock.sendall(b"EHLO idle.dept.gov.in\r\n")
        sock.recv(1024)
        opened.append(sock)
    print(f"{sessions} idle sessions: doors {before} -> {doors(gateway)} MiB")
    for sock in opened:
        sock.close()


def main() -> None:
    """The measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(Path(folder), free_port())
        gateway.start()
        try:
            idle(gateway, options.sessions)
        finally:
            gateway.stop()


if __name__ == "__main__":
    main()
