"""Both sides of the IMAP dialogue as functions of octets.

What it is: one function: the octets as a mail program's, as a server's, and line by line as both.
Who calls it: the table of targets.
Must never: hide an error that the codec may not raise.
"""

from __future__ import annotations

import contextlib

from gateway.wire import imap_commands
from gateway.wire.imap import Client
from gateway.wire.imap_capabilities import Offer
from gateway.wire.imap_events import Append, AppendSize, AuthenticateLine, Close, Forward, ImapError, Limits, StartTls, Tagged
from gateway.wire.imap_namespaces import Namespaces
from gateway.wire.imap_order import Order
from gateway.wire.imap_responses import Server

_LIMITS = Limits(2000, line=1000, literal=500, messages=3, errors=8)


def dialogue(data: bytes) -> None:
    """A session, its octets all at once and in small pieces, before and after signing in."""
    for size in (len(data) or 1, 7):
        for signed in (True, False):
            client = Client(_LIMITS)
            client.signed_in = client.tls = client.moves_judged = signed
            for at in range(0, len(data), size):
                client.receive(data[at : at + size])
                _answer(client)
        server = Server(Offer(2000, clear=size == 7))
        server.receive(b"* OK x\r\n")
        server.learn(size == 7)
        try:
            for at in range(0, len(data), size):
                while server.next_event() is not None:
                    pass
                server.receive(data[at : at + size])
        except ImapError:
            continue
    _both(data)
    with contextlib.suppress(ImapError):
        Namespaces.parse(b"* NAMESPACE " + data).are_others(data)


def _answer(client: Client) -> None:
    """Takes all that comes; the server wants every other literal."""
    number = 0
    while (event := client.next_event()) is not None:
        number += 1
        if isinstance(event, Forward) and event.waits:
            if number % 2:
                client.go_ahead()
            else:
                client.answered(event.tag, False)
        elif isinstance(event, AppendSize):
            client.take()
        elif isinstance(event, Append):
            assert len(event.message) <= _LIMITS.message
            if not event.more:
                imap_commands.append([event])
                client.proceed()
        elif isinstance(event, AuthenticateLine):
            client.answered(event.tag, True)
        elif isinstance(event, StartTls):
            client.tls_started()
        elif isinstance(event, Close):
            assert client.next_event() is None
            assert client.pending == 0
        elif not isinstance(event, Forward):
            client.go_ahead()
            client.proceed()


def _both(data: bytes) -> None:
    """Odd lines are the mail program's, even ones the server's."""
    client, server, order = Client(_LIMITS), Server(Offer(2000)), Order(4)
    client.signed_in = True
    server.receive(b"* OK x\r\n")
    try:
        for number, line in enumerate(data.splitlines(keepends=True)):
            if number % 2:
                server.receive(line)
            else:
                client.receive(line)
            while (said := server.next_event()) is not None:
                if isinstance(said, Tagged):
                    order.replied(said.tag)
                    client.answered(said.tag, said.word == b"OK")
                order.due(server.between)
            while not order.full and (event := client.next_event()) is not None:
                if isinstance(event, Forward) and event.tag:
                    order.sent(event.tag)
    except ImapError:
        return
