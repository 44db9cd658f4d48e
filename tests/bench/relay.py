"""Not collected: a measure of the relay alone. usage: python -m tests.bench.relay PORT COUNT [SIZE] (a sink listens on PORT)."""

from __future__ import annotations

import asyncio
import cProfile
import hashlib
import os
import pstats
import sys
import time

import uvloop

from gateway.config import Config
from gateway.envelope import new_id, reference_of
from gateway.relay.notices import Notices
from gateway.relay.relay import Relay
from gateway.relay.signing import Signer
from gateway.stores.base import DeliveryRow, DeliveryState
from tests.memory_store import MemoryStore


class Store(MemoryStore):
    """Counts instead of keeping, so that the relay's own cost is seen."""

    def __init__(self) -> None:
        super().__init__()
        self.delivered = 0
        self.done = asyncio.Event()
        self.goal = 0

    async def write(self, batch):
        await asyncio.sleep(0.002)
        self.writes += 1
        self.delivered += len(batch.delivery_updates)
        if self.delivered >= self.goal:
            self.done.set()


async def main(port: int, count: int, size: int) -> None:
    config = Config(route=({"domains": ("*",), "next_hop": f"127.0.0.1:{port}", "tls": "none"},), hostname="gw.dept.gov.in")
    store = Store()
    store.goal = count
    relay = Relay(config, store, None, Signer(config, time.time), Notices(config, None, lambda: None))
    await relay.start()
    content = b"From: a@dept.gov.in\r\nSubject: x\r\n\r\n" + b"The quick brown fox jumps over the lazy dog.\r\n" * (size // 46)
    digest = hashlib.sha256(content).hexdigest()
    rows = []
    for _ in range(count):
        i = new_id()
        rows.append(
            DeliveryRow(
                id=i,
                message_id=i,
                reference=reference_of(i),
                body_id=i,
                created=time.time(),
                department="d",
                sender="a@dept.gov.in",
                recipient="b@nic.in",
                state=DeliveryState.LEASED,
                notify=None,
                orcpt="",
                ret="",
                envid="",
                eight_bit=False,
                smtputf8=False,
                size=len(content),
                sha256=digest,
                edits=(),
                require_aes256=False,
                direction="internal",
                verified_originator=True,
                lease=relay.incarnation,
            )
        )
    use, cpu, wall = os.times(), time.process_time(), time.perf_counter()
    profile = cProfile.Profile() if os.environ.get("PROFILE") else None
    if profile:
        profile.enable()
    for start in range(0, count, 20):
        while relay.queued > 200:
            await asyncio.sleep(0.001)
        for row in rows[start : start + 20]:
            relay.offer([row], content)
    await store.done.wait()
    if profile:
        profile.disable()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    now = os.times()
    print(f"user {(now.user - use.user) / count * 1e6:.0f} us, sys {(now.system - use.system) / count * 1e6:.0f} us")
    print(f"{count} messages of {len(content)}: {count / wall:.0f} msg/s, {cpu / count * 1e6:.0f} us CPU each, {store.writes} writes")
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    await relay.stop()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 4096))
