"""Memory of a running gateway: flat over many messages, and small for idle sessions. Prints; asserts nothing.

usage: python -m tests.bench.memory [--messages 20000] [--sessions 500]
PSS (memory with shared pages counted in shares) of each kind of process, from /proc/PID/smaps_rollup.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import re
import socket
import tempfile
import time
from pathlib import Path

from tests.e2e.parts import Gateway, free_port, wait_for


def pss(pid: int) -> float:
    """MiB of one process."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def by_kind(gateway: Gateway) -> dict[str, float]:
    """MiB of each kind of process."""
    total: dict[str, float] = collections.defaultdict(float)
    for pid, line in gateway.processes().items():
        kind = re.search(r"--only (\w+)", line)
        total[kind[1] if kind else "supervisor"] += pss(pid)
    return {kind: round(size, 1) for kind, size in sorted(total.items())}


async def discard(port: int) -> asyncio.AbstractServer:
    """A next hop that takes everything and keeps nothing."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 discard\r\n")
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    writer.write(b"250-discard\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    writer.write(b"250 2.0.0 ok\r\n")
                else:
                    writer.write(b"250 2.0.0 ok\r\n")
        writer.close()

    return await asyncio.start_server(session, "127.0.0.1", port, limit=1 << 24)


async def send(port: int, number: int) -> None:
    """*number* messages of 4 KB on one connection after another of 100 each."""
    body = b"The committee met and noted the report of the section.\r\n" * 70
    for start in range(0, number, 100):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await reader.readline()
        writer.write(b"EHLO load.dept.gov.in\r\n")
        while (await reader.readline())[3:4] == b"-":
            pass
        for index in range(start, min(start + 100, number)):
            for command in (b"MAIL FROM:<officer@dept.gov.in>\r\n", b"RCPT TO:<desk@finance.nic.in>\r\n", b"DATA\r\n"):
                writer.write(command)
                await reader.readline()
            head = b"From: <officer@dept.gov.in>\r\nTo: <desk@finance.nic.in>\r\nSubject: Note %d\r\n\r\n" % index
            writer.write(head + body + b".\r\n")
            reply = await reader.readline()
            assert reply.startswith(b"250"), reply
        writer.close()


async def over_messages(gateway: Gateway, hop: int, total: int) -> None:
    """Memory after each fifth of *total* messages."""
    server = await discard(hop)
    async with server:
        print("before:", by_kind(gateway))
        for fifth in range(1, 6):
            began = time.monotonic()
            await asyncio.gather(*(send(gateway.port, total // 50) for _ in range(10)))
            await asyncio.sleep(2)
            print(
                f"after {total * fifth // 5} messages:",
                by_kind(gateway),
                f"({total // 5 / (time.monotonic() - began - 2):.0f}/s)",
                flush=True,
            )


def idle(gateway: Gateway, sessions: int) -> None:
    """Memory of the doors with *sessions* open sessions after EHLO."""
    before = by_kind(gateway)
    opened = []
    for _ in range(sessions):
        sock = socket.create_connection(("127.0.0.1", gateway.port), 10)
        sock.recv(512)
        sock.sendall(b"EHLO idle.dept.gov.in\r\n")
        sock.recv(1024)
        opened.append(sock)
    after = by_kind(gateway)
    print(f"{sessions} idle sessions: doors {before.get('doors')} -> {after.get('doors')} MiB")
    for sock in opened:
        sock.close()


def main() -> None:
    """Both measurements."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=20000)
    parser.add_argument("--sessions", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        hop = free_port()
        gateway = Gateway(Path(folder), hop)
        gateway.start()
        try:
            wait_for(gateway.ready, 30, "ready")
            idle(gateway, options.sessions)
            asyncio.run(over_messages(gateway, hop, options.messages))
            idle(gateway, options.sessions)
        finally:
            gateway.stop()


if __name__ == "__main__":
    main()
