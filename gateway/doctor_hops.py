"""Looks at the next servers: TLS as mail will use it, the cipher, and how long their certificates last.

What it is: a connection to each next hop through the relay's own code; EHLO, STARTTLS and QUIT, no mail.
Who calls it: ``gateway doctor``.
Must never: send mail or credentials; call a hop good that the relay would not use.
Sources: docs/design.md section 4 ("The hop"); RFC 3207, RFC 8314; docs/inspection.md, "What counts as encryption".
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator

from gateway.config import Config
from gateway.doctor import Finding
from gateway.relay.hop_open import Opener
from gateway.relay.hop_protocol import Conversation, Fault, HopError
from gateway.relay.hop_tls import Contexts, Trust, is_aes_256
from gateway.relay.routes import NextHop, OwnAddresses, Resolver, RouteError, Routes
from gateway.signin.hop_auth import named_hop

_PATIENCE = 10.0  # seconds for each step
_SOON = 21  # days


def examine(config: Config) -> Iterator[Finding]:
    """Each next hop once, and the server that is asked about passwords."""
    try:
        hops = [(hop, False) for hop in Routes(config).hops]
        asked = named_hop(config) if config.submission.check == "next-hop" else None
    except RouteError as error:
        yield Finding("next hop", "wrong", str(error))
        return
    if asked is not None:
        hops.append((asked, config.submission.implicit_tls))

    async def look() -> list[Finding]:
        found = await asyncio.gather(*(_look(hop, implicit, config) for hop, implicit in hops))
        return [finding for findings in found for finding in findings]

    yield from asyncio.run(look())


async def _look(hop: NextHop, implicit: bool, config: Config) -> list[Finding]:
    limits = config.limits.model_copy(update={"relay_connect": _PATIENCE, "relay_command": _PATIENCE, "tls_handshake": _PATIENCE})
    resolver = Resolver(OwnAddresses.of(config), _PATIENCE)
    opener = Opener(hop, limits, config.hostname, resolver, Contexts(), Conversation)
    try:
        if implicit:
            return _judged(hop, await opener.implicit())
        if hop.tls == "none" or (hop.loopback and hop.tls == "opportunistic"):
            (await opener.greeted()).quit()
            return [Finding("next hop", "ok", f"{hop.name}: answers; without TLS, since it is on this machine")]
        if hop.tls == "opportunistic":
            return await _opportunistic(hop, opener)
        connection = await opener.secured(Trust.VERIFIED, Fault.DOWN)
        if is_aes_256(_tls(connection).cipher()) or config.protection_required == "object":
            return _judged(hop, connection)
        first = connection.way
        connection.quit()
        try:
            connection = await opener.secured(Trust.AES_256, Fault.UNPROTECTED)
        except HopError:
            text = (
                f"{hop.name}: {first}, and no AES-256 when asked for: CONFIDENTIAL and RESTRICTED mail waits and is then returned; "
                "ask its administrator for ECDHE with AES256-GCM"
            )
            return [Finding("next hop", "wrong", text)]
        return _judged(hop, connection)
    except HopError as error:
        return [Finding("next hop", "wrong", f"{hop.name}: {error.reply.text}")]


async def _opportunistic(hop: NextHop, opener: Opener[Conversation]) -> list[Finding]:
    try:
        connection = await opener.secured(Trust.VERIFIED, Fault.DOWN, or_clear=True)
    except HopError as error:
        if not isinstance(error.__cause__, ssl.SSLError):
            raise
        return [Finding("next hop", "warning", f"{hop.name}: {error.reply.text}; its route is opportunistic, mail goes there all the same")]
    if connection.transport.get_extra_info("ssl_object") is None:
        connection.quit()
        text = f'{hop.name}: offers no STARTTLS, so mail goes in clear; ask for it and write tls = "required"'
        return [Finding("next hop", "warning", text)]
    return _judged(hop, connection)


def _judged(hop: NextHop, connection: Conversation) -> list[Finding]:
    """The cipher and the certificate of a connection that was verified."""
    tls = _tls(connection)
    name, _, bits = tls.cipher() or ("none", "", 0)
    certificate = tls.getpeercert() or {}
    connection.quit()
    strong = "AES-256" if is_aes_256(tls.cipher()) else f"not AES-256, {bits} bits"
    out = [Finding("next hop", "ok", f"{hop.name}: {tls.version()} {name} ({strong})")]
    until = certificate.get("notAfter")
    if isinstance(until, str):
        days = int((ssl.cert_time_to_seconds(until) - time.time()) // 86400)
        text = f"{hop.name}: its certificate expires in {days} days"
        if days < _SOON:
            out.append(Finding("next hop", "warning", f"{text}; without a new one all mail there waits: tell its administrator"))
        else:
            out.append(Finding("next hop", "ok", text))
    return out


def _tls(connection: Conversation) -> ssl.SSLObject:
    tls: ssl.SSLObject = connection.transport.get_extra_info("ssl_object")
    return tls
