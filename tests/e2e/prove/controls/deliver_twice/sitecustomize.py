"""A negative control: a relay that takes what is leased already. The count must find what arrives twice without any reason."""

import asyncio
import random

try:
    from gateway.relay.relay import Relay
    from gateway.stores.base import DeliveryState
except ImportError:
    Relay = None  # an interpreter that does not run the gateway

if Relay is not None:
    start = Relay.start

    async def started(self):
        """As it is, and beside it somebody who looks at the open deliveries, whoever has them."""
        await start(self)
        self._spawn(greedy(self), self._tasks)

    async def greedy(self):
        """Gives every leased delivery out once more."""
        from gateway.relay.jobs import grouped

        while True:
            await asyncio.sleep(random.random() / 20)
            rows = [row for row in await self._store.deliveries(limit=20) if row.state is DeliveryState.LEASED]
            for job in grouped(rows, self.routes):
                self._enqueue(job)

    Relay.start = started
