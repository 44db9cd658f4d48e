"""Opening one connection to a next hop: its addresses, the greeting, and TLS that is proved before anything follows.

What it is: ``Opener``, which makes conversations of one kind with one hop.
Who calls it: ``pool`` for mail and call-outs, ``hop_auth`` for sign-ins.
Must never: return a connection in clear where the caller did not allow it; go on after a certificate that was not accepted.
Sources: docs/design.md section 4 ("The hop"); RFC 3207, RFC 8314 section 3.3 (implicit TLS); hostile-inputs catalogue O04, O08, A32.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from gateway.config import Limits
from gateway.relay.hop_protocol import Conversation, Fault, HopError, temporary
from gateway.relay.hop_tls import Contexts, Trust
from gateway.relay.routes import NextHop, Resolver, RouteError
from gateway.reply import Reply

C = TypeVar("C", bound=Conversation)


class Opener(Generic[C]):
    """Opens conversations of the kind *make* with *hop*."""

    def __init__(
        self, hop: NextHop, limits: Limits, helo: str, resolver: Resolver, contexts: Contexts, make: Callable[[Limits, str], C]
    ) -> None:
        self.hop = hop
        self._limits = limits
        self._helo = helo
        self._resolver = resolver
        self._contexts = contexts
        self._make = make
        self._loop = asyncio.get_running_loop()

    async def secured(self, trust: Trust, fault: Fault, *, or_clear: bool = False) -> C:
        """A connection after STARTTLS; clear only where *or_clear* and the hop does not offer it. Raises HopError."""
        connection = await self.greeted()
        if not connection.capabilities.starttls:
            if or_clear:
                return connection
            connection.quit()
            raise HopError(fault, temporary("4.7.4", "The next server does not offer STARTTLS, which its route requires"))
        try:
            context = self._contexts.get(self.hop.tls_ca, trust)
            tls = await connection.start_tls(context, self.hop.tls_name)
            await connection.hello()
        except HopError as error:
            connection.abort()
            raise HopError(Fault.DOWN, error.reply) from error
        except ssl.SSLCertVerificationError as error:
            connection.abort()
            raise HopError(fault, _not_accepted(error)) from error
        except (OSError, TimeoutError) as error:
            connection.abort()
            raise HopError(fault, temporary("4.7.5", "The TLS handshake with the next server failed")) from error
        connection.way = _way(tls, trust)
        return connection

    async def implicit(self) -> C:
        """A connection that spoke verified TLS from its first octet. Raises HopError with Fault.DOWN."""
        try:
            context = self._contexts.get(self.hop.tls_ca, Trust.VERIFIED)
        except OSError as error:
            raise HopError(Fault.DOWN, temporary("4.7.5", "The authorities for the next server cannot be read")) from error
        connection = await self._connected(context)
        try:
            await connection.greet()
        except BaseException:
            connection.abort()
            raise
        connection.way = _way(connection.transport.get_extra_info("ssl_object"), Trust.VERIFIED)
        return connection

    async def greeted(self) -> C:
        """A connection in clear on which EHLO was answered. Raises HopError."""
        connection = await self._connected()
        try:
            await connection.greet()
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _connected(self, context: ssl.SSLContext | None = None) -> C:
        """Tries the hop's addresses in turn; with *context*, TLS from the first octet. Raises HopError with Fault.DOWN."""
        patience = self._limits.relay_connect
        handshake = max(self._limits.tls_handshake, 0.01)
        error: BaseException | None = None
        tls: dict[str, Any] = {}
        if context is not None:  # without TLS neither name nor timer may be given
            tls = {"ssl": context, "server_hostname": self.hop.tls_name, "ssl_handshake_timeout": handshake}
            patience += handshake
        try:
            if self.hop.path:
                self._resolver.check_path(self.hop)
                async with asyncio.timeout(patience):
                    _, connection = await self._loop.create_unix_connection(self._new, self.hop.path, **tls)
                return connection
            for address in await self._resolver.addresses(self.hop):
                try:
                    async with asyncio.timeout(patience):
                        _, connection = await self._loop.create_connection(self._new, address, self.hop.port, **tls)
                    return connection
                except ssl.SSLCertVerificationError as failure:
                    raise HopError(Fault.DOWN, _not_accepted(failure)) from failure
                except (OSError, TimeoutError) as failure:
                    error = failure
        except RouteError as failure:
            raise HopError(Fault.DOWN, temporary("4.4.3", str(failure))) from failure
        except (OSError, TimeoutError) as failure:
            error = failure
        late = isinstance(error, TimeoutError)
        text = "The next server did not answer in time" if late else "The next server could not be reached"
        raise HopError(Fault.DOWN, temporary("4.4.1", text)) from error

    def _new(self) -> C:
        return self._make(self._limits, self._helo)


def _not_accepted(error: ssl.SSLCertVerificationError) -> Reply:
    return temporary("4.7.5", f"The next server's certificate was not accepted: {error.verify_message}")


def _way(tls: ssl.SSLObject, trust: Trust) -> str:
    name, _, bits = tls.cipher() or ("none", "", 0)
    return f"{tls.version()} {name} {bits} {'unverified' if trust is Trust.UNVERIFIED else 'verified'}"
