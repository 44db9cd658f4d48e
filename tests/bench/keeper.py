"""Not collected: what one keeper carries alone, on its real socket, without doors; prints, asserts nothing.

usage: python -m tests.bench.keeper [--seconds 3] [--clients 1,8,64] [--sizes 4K,96K,2M] [--keep] [--loop asyncio]

A keeper of its own is started on a new folder, with a next hop in a third process that takes everything and keeps nothing. Each client
sends Commit frames one after the other, as a door does, of a decision that the shipped rules made (one recipient, everybody gets it);
without --keep each message is delivered too, with it the MTA keeps what it has (the milter door). A row: commits a second, processor
time of the keeper a commit (delivery, housekeeping and the export of the log in it), how many commits shared a transaction, and the
wait of a client, half of them and 99 of 100. Real figures need a machine on which nothing else runs.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath

import uvloop
from msgspec.structs import replace

from gateway import address, handover, policy
from gateway.config import Config, load
from gateway.envelope import Door, Envelope, Peer, Recipient, Transaction, new_id
from gateway.ipc import Channel, ChannelError
from gateway.policy import decide
from gateway.requests import Committed, Exceptions, GetExceptions, Health, KeeperAnswer, Rows
from gateway.rights import place
from gateway.verdict import Headers, Inspection, Leaf, LeafState, Verdict
from tests.bench.sink import taking

SENDER, TO = b"officer@dept.gov.in", b"desk@finance.nic.in"
_PATIENCE = 120.0  # seconds for the start, and for the deliveries that are left
_CONFIG = """\
hostname = "gw.dept.gov.in"
state_dir = "{folder}/state"
[contacts]
postmaster = "postmaster@dept.gov.in"
[originators]
domains = ["dept.gov.in"]
networks = ["127.0.0.0/8"]
[[route]]
domains = ["*"]
next_hop = "127.0.0.1:{port}"
tls = "none"
[limits]
free_disk = 0
"""


def message(size: int) -> bytes:
    """About *size* octets of plain text."""
    head = b"From: %b\r\nTo: %b\r\nSubject: Monthly statement\r\nMessage-ID: <1@dept.gov.in>\r\n\r\n" % (SENDER, TO)
    line = b"order grant forward minutes note report file review budget enclosed\r\n"
    return head + line * max(1, (size - len(head)) // len(line))


def decided(content: bytes, door: Door, rules: policy.Policy, register: Exceptions, config: Config) -> tuple[Transaction, Verdict]:
    """The transaction and the verdict that all messages of one row have, but for their ids."""
    sender, to = address.parse(SENDER, smtputf8=False), address.parse(TO, smtputf8=False)
    digest = hashlib.sha256(content).hexdigest()
    peer = Peer("127.0.0.1", 40000, "mta.dept.gov.in", listed=True)
    tx = Transaction(
        new_id(), door, peer, Envelope(sender, (Recipient(to),)), time.time(), len(content), digest, True, "dept.gov.in",
    )  # fmt: skip
    leaf = Leaf("1", "", "text/plain", len(content), LeafState.INSPECTED, is_attachment=False)
    headers = Headers("Monthly statement", "<1@dept.gov.in>", from_addresses=(SENDER.decode(),), to_addresses=(TO.decode(),))
    return tx, decide.decide(tx, Inspection(digest, headers, (leaf,), ()), rules, register, config)


async def client(path: FilePath, tx: Transaction, verdict: Verdict, content: bytes, until: float, waits: list[float]) -> None:
    """Commits one message after the other until *until*, and notes how long each took."""
    channel = await Channel.connect(path, KeeperAnswer)
    try:
        while (began := time.perf_counter()) < until:
            answer, _ = await channel.call(handover.commit(replace(tx, id=new_id()), verdict), content)
            if not isinstance(answer, Committed) or answer.reply.code != 250:
                raise SystemExit(f"the keeper answered {answer}")
            waits.append(time.perf_counter() - began)
    finally:
        channel.close()


def processor(pid: int) -> float:
    """Seconds of user and system time of *pid* until now."""
    fields = FilePath(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def counters(channel: Channel) -> dict[str, int]:
    """Those of the store, from the keeper."""
    answer, _ = await channel.call(Health())
    assert isinstance(answer, Rows)
    return answer.rows[0]


async def row(path: FilePath, pid: int, made: tuple[Transaction, Verdict], content: bytes, clients: int, seconds: float) -> str:
    """One line of the table."""
    asking = await Channel.connect(path, KeeperAnswer)
    waits: list[float] = []
    before, used, began = await counters(asking), processor(pid), time.perf_counter()
    await asyncio.gather(*(client(path, *made, content, began + seconds, waits) for _ in range(clients)))
    took, mid = time.perf_counter() - began, await counters(asking)
    async with asyncio.timeout(_PATIENCE):
        while (await counters(asking))["open_deliveries"]:
            await asyncio.sleep(0.05)
    used = processor(pid) - used
    asking.close()
    waits.sort()
    shared = (mid["batches"] - before["batches"]) / max(1, mid["groups"] - before["groups"])
    half, most = (waits[min(len(waits) - 1, len(waits) * part // 100)] * 1000 for part in (50, 99))
    return (
        f"{len(content):>9,} {clients:>8} {len(waits) / took:>10,.0f} {used * 1000 / len(waits):>10.3f} {shared:>8.1f}"
        f" {half:>8.1f} {most:>8.1f}"
    )


@contextmanager
def keeper(folder: FilePath, port: int, loop: str) -> Iterator[tuple[Config, int]]:
    """A keeper of its own; ends it by its id."""
    (folder / "state").mkdir()
    (folder / "gateway.toml").write_text(_CONFIG.format(folder=folder, port=port))
    start = "from gateway.cli import main; main()"
    if loop == "asyncio":  # what the keeper would cost on the standard library's loop
        start = f"import asyncio, uvloop; uvloop.new_event_loop = asyncio.new_event_loop; {start}"
    command = [sys.executable, "-c", start, "run", "--only", "keeper", "--config", str(folder / "gateway.toml")]
    with (folder / "keeper.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield load(folder / "gateway.toml"), process.pid
    finally:
        process.terminate()
        process.wait(30)


async def ready(path: FilePath) -> Exceptions:
    """The register, as soon as the keeper answers."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            channel = await Channel.connect(path, KeeperAnswer)
            break
        except ChannelError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)
    answer, _ = await channel.call(GetExceptions())
    channel.close()
    assert isinstance(answer, Exceptions)
    return answer


async def measure(config: Config, pid: int, sizes: list[int], clients: list[int], seconds: float, door: Door) -> None:
    """Prints the table."""
    path = place(config.run_dir, "keeper-doors.sock")
    register, rules = await ready(path), policy.load(config.rules_dir, config)
    print(f"{'octets':>9} {'clients':>8} {'commits/s':>10} {'CPU ms':>10} {'a group':>8} {'p50 ms':>8} {'p99 ms':>8}")
    for size in sizes:
        content = message(size)
        made = decided(content, door, rules, register, config)
        for count in clients:
            print(await row(path, pid, made, content, count, seconds), flush=True)


def octets(text: str) -> int:
    """``4K``, ``2M`` or a number."""
    return int(text[:-1]) << {"K": 10, "M": 20}[text[-1]] if text[-1] in "KM" else int(text)


def main() -> None:
    """Starts what is needed, measures, and ends it."""
    parser = argparse.ArgumentParser(prog="tests.bench.keeper")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--sizes", default="4K,96K,2M")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    given = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    hop = os.fork()
    if hop == 0:
        uvloop.run(taking(listening))
        os._exit(0)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="keeper-bench-") as folder,
            keeper(FilePath(folder), listening.getsockname()[1], given.loop) as (config, pid),
        ):
            sizes, clients = [octets(one) for one in given.sizes.split(",")], [int(one) for one in given.clients.split(",")]
            uvloop.run(measure(config, pid, sizes, clients, given.seconds, Door.MILTER if given.keep else Door.SMTP))
    finally:
        os.kill(hop, 9)
        os.waitpid(hop, 0)


if __name__ == "__main__":
    main()
