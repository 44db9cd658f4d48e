"""Key records from the DNS, for the check of DKIM signatures on strangers' mail.

What it is: bounded TXT look-ups; an answer is hostile text and is cut and cleaned.
Who calls it: the pipeline through ``doors.service``.
Must never: raise, wait longer than its time, or turn "could not ask" into "is not there".
Sources: RFC 6376 section 3.6.2.2; RFC 1035; hostile-inputs catalogue O09.
"""

from __future__ import annotations

import asyncio

import dns.asyncresolver
import dns.exception
import dns.resolver

from gateway.config import Config

_TIME = 5.0  # seconds for all look-ups of one message
_LONGEST = 4096  # octets of one record


class Resolver:
    """Asks the configured servers, or the system's."""

    def __init__(self, config: Config) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not config.resolvers)
        except dns.resolver.NoResolverConfiguration:
            self._resolver = dns.asyncresolver.Resolver(configure=False)
        if config.resolvers:
            hosts = [address.rpartition(":") if address.count(":") == 1 else (address, "", "") for address in config.resolvers]
            self._resolver.nameservers = [host for host, _, _ in hosts]
            self._resolver.nameserver_ports = {host: int(port) for host, _, port in hosts if port}
        self._resolver.lifetime = _TIME
        self._resolver.timeout = _TIME / 2

    async def keys(self, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """Name and record of each key: the record is "" where there is none, "?" where the DNS could not be asked."""
        wanted = sorted({name for name in names if name})
        return tuple(zip(wanted, await asyncio.gather(*(self._key(name) for name in wanted)), strict=True))

    async def _key(self, name: str) -> str:
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
