"""Both IMAP codecs and the order of replies, put together without sockets: what a door does, in its shortest form."""

from __future__ import annotations

from collections.abc import Callable

from gateway.wire import imap_commands
from gateway.wire.imap import Client
from gateway.wire.imap_capabilities import Offer
from gateway.wire.imap_events import (
    Append,
    AppendSize,
    Authenticate,
    AuthenticateLine,
    Bye,
    Capabilities,
    Close,
    Forward,
    Greeting,
    ImapError,
    Limits,
    Login,
    Pass,
    Plus,
    Say,
    ServerEvent,
    StartTls,
    Step,
    Tagged,
)
from gateway.wire.imap_order import Order
from gateway.wire.imap_responses import Server

LIMITS = Limits(10_000, line=2000, literal=500, errors=5)


def accepted(messages: list[Append]) -> bytes:
    """Whatever it is."""
    return b""


class Pair:
    """A client and a server with what we do between them. *judge* says why an APPEND is refused."""

    def __init__(
        self, judge: Callable[[list[Append]], bytes] = accepted, limits: Limits = LIMITS, *, signed_in: bool = True, waiting: int = 1000
    ) -> None:
        self.client = Client(limits)
        self.client.signed_in = signed_in
        self.server = Server(Offer(limits.message))
        self.order = Order(waiting)
        self.judge = judge
        self.to_server = b""
        self.to_client = b""
        self.closed = ""
        self.filed: list[Append] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self._messages: list[Append] = []
        self._steps: list[Step] = []
        self._own = b""
        self.server_says(b"* OK [CAPABILITY IMAP4rev1 IDLE] ready\r\n")
        self.to_client = b""

    def client_says(self, data: bytes) -> Pair:
        self.client.receive(data)
        self.run()
        return self

    def server_says(self, data: bytes) -> Pair:
        self.server.receive(data)
        try:
            while (event := self.server.next_event()) is not None:
                self.show(event)
        except ImapError as error:
            self.closed = str(error)
        self.run()
        return self

    def run(self) -> None:
        while not self.order.full and (event := self.client.next_event()) is not None:
            if isinstance(event, Forward):
                if event.tag:
                    self.order.sent(event.tag)
                self.to_server += event.octets
                self.pieces.append(event.octets)
            elif isinstance(event, Say):
                self.order.say(event.octets)
            elif isinstance(event, Close):
                self.order.say(event.octets)
                self.closed = event.reason
            elif isinstance(event, Login):
                self.logins.append((event.user, event.password))
                self.send(event.tag, event.steps)
            elif isinstance(event, Authenticate):
                self.order.sent(event.tag)
                self.to_server += event.octets
            elif isinstance(event, AuthenticateLine):
                self.to_server += event.octets
            elif isinstance(event, AppendSize):
                self.client.take()
            elif isinstance(event, StartTls):
                self.order.say(event.tag + b" OK Begin TLS.\r\n")
                self.client.tls_started()
            elif event.more:
                self._messages.append(event)
            else:
                self._messages.append(event)
                messages, self._messages = self._messages, []
                refusal = self.judge(messages)
                if refusal:
                    self.order.say(refusal)
                    self.client.proceed()
                else:
                    self.filed += messages
                    self.send(event.tag, imap_commands.append(messages))
        self.to_client += self.order.due(self.server.between)

    def send(self, tag: bytes, steps: list[Step]) -> None:
        self.order.sent(tag)
        self._own, self._steps = tag, list(steps)
        self.step()

    def step(self) -> None:
        self.to_server += b"".join(self._steps.pop(0))

    def show(self, event: ServerEvent) -> None:
        if isinstance(event, Tagged):
            shown = self.order.replied(event.tag)
            if event.tag == self._own:
                self._steps = []
            self.client.answered(event.tag, event.word == b"OK")
        elif isinstance(event, Plus):
            shown = False
            if self._steps:
                self.step()
            else:
                shown = self.client.go_ahead()
        else:
            assert isinstance(event, Pass | Bye | Capabilities | Greeting)
            shown = True
        if shown:
            self.to_client += event.octets
        self.to_client += self.order.due(self.server.between)
