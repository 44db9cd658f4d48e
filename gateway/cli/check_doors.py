"""What ``gateway check`` says of the milter and IMAP doors: whether an MTA can get in, and whether the IMAP server is there.

Who calls it: ``check``.
Must never: sign in at the IMAP server; say anything to it before TLS but STARTTLS; change anything.
Sources: MILTER_README; RFC 9051 sections 6.2.1, 7.1.4 and 7.2.1; unix(7).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imaplib import IMAP4
    from ssl import SSLContext

    from gateway.config import Config, Listen
    from gateway.doctor import Finding

_PATIENCE = 10.0  # seconds for each answer of the IMAP server


def findings(config: Config, *, offline: bool) -> Iterator[Finding]:
    """One line for each listener, and one for the IMAP server. *offline*: it is not asked."""
    from gateway.doctor import Finding
    from gateway.doors.limits import Networks

    for one in config.listen:
        if one.door == "milter":
            yield _milter(one)
    if any(one.door == "milter" for one in config.listen) and "127.0.0.1" not in Networks(config.originators.networks):
        text = "originators.networks lacks 127.0.0.1/32: what the MTA's own machine sends (sendmail, cron) counts as mail of strangers"
        yield Finding("milter", "warning", text)
    if any(one.door == "imap" for one in config.listen) and config.imap.server:
        yield Finding("imap", "ok", f"the server is {config.imap.server}, not asked now") if offline else _server(config)
        yield _logins(config)


def _milter(one: Listen) -> Finding:
    """Whether an MTA gets to the listener, and nobody else."""
    from gateway.doctor import Finding
    from gateway.doctor_milter import reaches_beyond

    where = f"milter on {one.address}"
    if one.address.startswith("systemd:"):
        return Finding("milter", "ok", f"{where}: the socket of that name is systemd's; gateway doctor looks at the MTA's side")
    if not one.address.startswith("unix:"):
        if not reaches_beyond(one.address):
            return Finding("milter", "ok", f"{where}: for an MTA on this machine")
        text = f"for {', '.join(one.networks) or 'anybody'}; the milter protocol has no TLS, so mail crosses the network there in clear"
        return Finding("milter", "warning", f"{where}: {text}")
    folder = FilePath(one.address[5:]).parent
    try:
        found = folder.stat()
    except OSError as error:
        lack = "is not there" if isinstance(error, FileNotFoundError) else error.strerror
        make = f"install -d -o gateway-doors -g postfix -m 2750 {folder}"
        return Finding("milter", "wrong", f"{where}: its folder {lack}; make it for the gateway's user and Postfix's group: {make}")
    if not stat.S_ISDIR(found.st_mode):
        return Finding("milter", "wrong", f"{where}: {folder} is no folder")
    if found.st_mode & stat.S_IWOTH:
        return Finding(
            "milter", "wrong", f"{where}: everybody may write in {folder}, and so put another socket there; run: chmod o-w {folder}"
        )
    if not found.st_mode & (stat.S_ISGID | stat.S_IXOTH):
        text = (
            f"{folder} does not give its group to the socket, so Postfix may not reach it; run: chgrp postfix {folder}; chmod 2750 {folder}"
        )
        return Finding("milter", "warning", f"{where}: {text}")
    return Finding("milter", "ok", where)


def _logins(config: Config) -> Finding:
    """Which ways to write a login are one login to our lists and counts."""
    from gateway.doctor import Finding

    domain = config.imap.domain or next(iter(config.originators.domains), "")
    if not domain:
        return Finding(
            "imap", "warning", "imap.domain and originators.domains are empty: a login without a domain has no mailbox and is refused"
        )
    text = f"NAME and NAME@{domain} are one login to our lists and counts, in capitals or not; NAME at any other domain is another one"
    return Finding("imap", "ok", f"{text}: let the server take no other form for the same mailbox")


def _server(config: Config) -> Finding:
    """Connects, starts TLS where the config says so, and reads the capabilities."""
    import imaplib
    import ssl

    from gateway.doctor import Finding

    wanted = config.imap
    name = f"the server {wanted.server}"
    if wanted.server.startswith("unix:"):
        return Finding("imap", "ok", f"{name}: on this machine")
    host, _, port = wanted.server.rpartition(":")
    host = host.strip("[]")
    try:
        context = None
        if wanted.tls != "none":
            context = ssl.create_default_context(cafile=str(wanted.tls_ca) if wanted.tls_ca else None)
        client = _connection(host, int(port), wanted.tls_name or host, context, implicit=wanted.tls == "implicit")
    except (OSError, imaplib.IMAP4.error, ValueError) as error:
        reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or error
        return Finding("imap", "wrong", f"{name}: {reason}: nobody can sign in to IMAP")
    with client:
        known = set(client.capabilities)
        cipher = client.sock.cipher() if isinstance(client.sock, ssl.SSLSocket) else None
        if client.state != "NONAUTH":
            return Finding(
                "imap", "wrong", f"{name}: lets everybody in without a login (PREAUTH); the gateway does not take such a session"
            )
    ways = sorted(one.removeprefix("AUTH=") for one in known if one.startswith("AUTH="))
    ways += [] if "LOGINDISABLED" in known else ["LOGIN"]
    if not ways:
        return Finding("imap", "wrong", f"{name}: offers no way to sign in (LOGINDISABLED, and no AUTH=)")
    tls = f"{cipher[1]} {cipher[0]}" if cipher else "without TLS on this machine"
    slow = "" if known & {"LITERAL+", "LITERAL-"} else "; without LITERAL+"
    return Finding("imap", "ok", f"{name}: {tls}; signs in by {', '.join(dict.fromkeys(ways))}{slow}")


def _connection(host: str, port: int, name: str, context: SSLContext | None, *, implicit: bool) -> IMAP4:
    """A connection before the login, under TLS where there is a *context*; the certificate must carry *name*."""
    import imaplib
    import socket

    class Named(imaplib.IMAP4):
        """imaplib checks the certificate against the host that it was given, which is *name*; it is connected to *host*."""

        def _create_socket(self, timeout: float | None) -> socket.socket:
            plain = socket.create_connection((host, port), timeout)
            return context.wrap_socket(plain, server_hostname=name) if implicit and context is not None else plain

    client = Named(name, port, timeout=_PATIENCE)
    if context is not None and not implicit:
        try:
            client.starttls(context)
        except BaseException:
            client.shutdown()
            raise
    return client
