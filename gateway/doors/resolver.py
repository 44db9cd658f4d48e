"""Key records from the DNS, for the check of DKIM signatures on strangers' mail.

What it is: bounded TXT look-ups; an answer is hostile text and is cut and cleaned.
Who calls it: the pipeline through ``doors.service``.
Must never: raise, wait longer than its time, or turn "could not ask" into "is not there".
Sources: RFC 6376 section 3.6.2.2; RFC 1035; hostile-inputs catalogue O09.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.config import Config

if TYPE_CHECKING:
    import dns.asyncresolver

_TIME = 5.0  # seconds for all look-ups of one message
_LONGEST = 4096  # octets of one record


class Resolver:
    """Asks the configured servers, or the system's."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._making = asyncio.Lock()

    async def keys(self, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """Name and record of each key: the record is "" where there is none, "?" where the DNS could not be asked."""
        wanted = sorted({name for name in names if name})
        if self._resolver is None:
            async with self._making:
                # In a thread, since the import takes a tenth of a second; a gateway without strangers' mail never needs it.
                self._resolver = self._resolver or await asyncio.to_thread(_make, self._config)
        return tuple(zip(wanted, await asyncio.gather(*(self._key(name) for name in wanted)), strict=True))

    async def _key(self, name: str) -> str:
        import dns.exception
        import dns.resolver

        assert self._resolver is not None
        try:
            answer = await self._resolver.resolve(name, "TXT", raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            return ""
        except (dns.exception.DNSException, OSError):
            return "?"
        for record in answer.rrset or ():
            text = b"".join(record.strings)[:_LONGEST]
            if b"p=" in text:
                return "".join(letter for letter in text.decode("ascii", "replace") if " " <= letter <= "~")
        return ""


def _make(config: Config) -> dns.asyncresolver.Resolver:
    """The resolver of *config*."""
    import dns.asyncresolver
    import dns.resolver

    try:
        resolver = dns.asyncresolver.Resolver(configure=not config.resolvers)
    except dns.resolver.NoResolverConfiguration:
        resolver = dns.asyncresolver.Resolver(configure=False)
    if config.resolvers:
        hosts = [address.rpartition(":") if address.count(":") == 1 else (address, "", "") for address in config.resolvers]
        resolver.nameservers = [host for host, _, _ in hosts]
        resolver.nameserver_ports = {host: int(port) for host, _, port in hosts if port}
    resolver.lifetime = _TIME
    resolver.timeout = _TIME / 2
    return resolver
