"""Asks the next hop whether it takes a recipient, before a door says 250 to a stranger.

What it is: RCPT with a null sender, no content; answers are kept for a while.
Who calls it: ``service``, for a door's VerifyRecipient.
Must never: say yes when the hop is away (that is 4xx); repeat the hop's words to a stranger; ask about one address twice at once.
Sources: docs/design.md section 4 ("Who may relay"); RFC 5321 sections 3.3 and 4.5.5.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from gateway.config import Config
from gateway.relay.hop_protocol import TIMED_OUT, Fault, HopError
from gateway.relay.hop_tls import Contexts
from gateway.relay.lanes import Breaker
from gateway.relay.pool import Pool
from gateway.relay.routes import NextHop, Resolver, Routes, domain_of
from gateway.reply import Reply
from gateway.wire.smtp_client import UnsafeCommand

YES, NO = 3600.0, 300.0
"""Seconds for which a yes and a no are kept; a "perhaps later" is not."""
PATIENCE = 60.0
"""Seconds for one answer, the wait for a connection and all: a stranger waits at RCPT, and others wait behind it."""
_KEPT = 20_000  # answers
_CONNECTIONS = 4  # to one hop

TAKEN = Reply(250, "2.1.5", "Recipient ok")
UNKNOWN = Reply(550, "5.1.1", "The recipient's mail server does not know this address")
AWAY = Reply(450, "4.4.1", "The recipient's mail server cannot be asked at present. Please try again later.")
UNSURE = Reply(450, "4.2.1", "The recipient's mail server does not take mail for this address at present. Please try again later.")
NO_ROUTE = Reply(450, "4.4.4", "No route leads to the recipient's domain. Please try again later.")


class Callout:
    """Recipient verification over its own few connections."""

    def __init__(self, config: Config, routes: Routes, resolver: Resolver, contexts: Contexts) -> None:
        self._config = config
        self._routes = routes
        self._resolver = resolver
        self._contexts = contexts
        self._pools: dict[NextHop, tuple[Pool, Breaker]] = {}
        self._known: OrderedDict[str, tuple[float, Reply]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Reply]] = {}
        self._loop = asyncio.get_running_loop()

    async def verify(self, address: str) -> Reply:
        """250 when the hop takes *address*; 4xx when it cannot be asked now; 550 when it does not. Never raises.

        The domain is compared in lower case, the local part as it is.
        """
        if not self._config.relay.verify_recipients:
            return TAKEN
        known = self._known.get(address)
        if known is not None:
            if self._loop.time() < known[0]:
                return known[1]
            del self._known[address]
        task = self._asking.get(address)
        if task is None:
            task = self._loop.create_task(self._ask(address))
            self._asking[address] = task
            task.add_done_callback(lambda _: self._asking.pop(address, None))
        # One client that hangs up must not end the question of the others.
        return await asyncio.shield(task)

    async def _ask(self, address: str) -> Reply:
        hop = self._routes.find(domain_of(address))
        if hop is None:
            return NO_ROUTE
        try:
            async with asyncio.timeout(PATIENCE):
                reply = await self._probe(hop, address)
        except HopError:
            return AWAY
        except TimeoutError:
            self._pools[hop][1].failed(HopError(Fault.LOST, TIMED_OUT))
            return AWAY
        except UnsafeCommand:
            return UNKNOWN
        if reply.code < 300:
            answer, keep = TAKEN, YES
        elif reply.code >= 500:
            answer, keep = UNKNOWN, NO
        else:
            return UNSURE
        self._known[address] = (self._loop.time() + keep, answer)
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return answer

    async def _probe(self, hop: NextHop, address: str) -> Reply:
        """What the hop says to RCPT. Raises HopError, UnsafeCommand."""
        if hop not in self._pools:
            pool = Pool(hop, self._config, self._resolver, self._contexts, _CONNECTIONS)
            self._pools[hop] = (pool, Breaker(self._loop.time))
        pool, breaker = self._pools[hop]
        if breaker.open and breaker.error is not None:
            raise breaker.error
        for again in (False, True):
            try:
                connection = await pool.acquire(False, fresh=again)
                try:
                    reply = await connection.probe(address)
                finally:
                    pool.release(connection, False)
            except HopError as error:
                if error.fault is Fault.STALE and not again:
                    continue
                breaker.failed(error)
                raise
            breaker.worked()
            return reply
        raise AssertionError("a fresh connection is never stale")

    async def stop(self) -> None:
        """Ends the connections; questions under way are answered 4xx."""
        for pool, _ in self._pools.values():
            pool.close()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
