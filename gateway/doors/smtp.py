"""The SMTP door: what a session decides about the events of its dialogue.

What it is: ``Session``, which turns the codec's events into decisions: who may relay, memory for the body, the pipeline, the
reply. It is not built on aiosmtpd: reader, path grammar, EHLO, limits, timers, error handling and cancellation would all have to
be replaced there, and what is left costs more than it gives.
Who calls it: the event loop, once a connection; ``doors.service`` says so.
Must never: answer 2xx to a message before the pipeline did; cancel the pipeline because the client left; tell a client why
something of ours failed.
Sources: RFC 5321 section 4; RFC 3207; docs/design.md section 4; hostile-inputs catalogue, group S and section 4.4.
"""

from __future__ import annotations

import time

from msgspec.structs import replace

from gateway import logs
from gateway.doors.connection import Connection
from gateway.doors.relaying import Refused
from gateway.envelope import Envelope, Peer, Recipient, Transaction, new_id
from gateway.policy import decide
from gateway.reply import OUR_FAULT, SHUTTING_DOWN, STORE_FULL, Reply, ReplyError
from gateway.wire.smtp_events import Body, Close, Data, Error, Event, Phase, Refusal, StartTls
from gateway.wire.smtp_params import Mail

_FIRST = 16_384  # octets of memory taken at DATA, more as the message comes
_PENDING = 65_536  # octets that may wait behind a command that is being decided
_FAULT = Reply(421, "4.3.0", "The mail gateway could not go on. Please try again later.")
_log = logs.get("gateway.doors.smtp")


class Session(Connection):
    """The decisions of one SMTP session."""

    __slots__ = ()

    # --- events -------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Runs events until there are none, then sends all replies in one write."""
        codec = self._codec
        try:
            while not self._write_paused:
                event = codec.next_event()
                if event is None:
                    break
                self._dispatch(event)
                if codec.phase is Phase.CLOSED:
                    self._finish(event.reason if type(event) is Close else "closed")
                    return
        except Exception:
            _log.exception("smtp.fault", **{"client.ip": self._ip})
            self._door.count("faults")
            self._close("fault", _FAULT)
            return
        self._flush()
        if codec.phase is Phase.TEXT:
            self._keep_up(codec.memory)
        self._command_since = (self._command_since or self._last) if codec.phase is Phase.COMMAND and codec.pending else 0.0
        if codec.phase is Phase.ASKED:
            if codec.pending > _PENDING:
                self._pause_reading()
        elif self._end_of_input:
            self._finish("")
        elif self._read_paused and not self._write_paused and not self._waiting_since and codec.phase is not Phase.TLS:
            self._resume_reading()

    def _dispatch(self, event: Event) -> None:
        kind = type(event)
        if kind is Recipient:
            self._recipient(event)  # type: ignore[arg-type]
        elif kind is Mail:
            self._mail(event)  # type: ignore[arg-type]
        elif isinstance(event, Data):
            self._data()
        elif isinstance(event, Body):
            self._body(event)
        elif isinstance(event, Refusal):
            self._refused_message(event)
        elif isinstance(event, Error):
            self._later(event.reply)
        elif isinstance(event, StartTls):
            self._flush()
            self._pause_reading()
            self._door.spawn(self._negotiate())

    def _later(self, reply: Reply, *, error: bool = False) -> None:
        """Answers an error of a session that has made too many, after a while; *error*: it is not counted yet."""

        def answer() -> None:
            self._timer = None
            self._codec.answer(reply, error=error)
            self._pump()

        self._timer = self._loop.call_later(self._door.error_delay, answer)

    def _mail(self, mail: Mail) -> None:
        if self._door.draining:
            self._codec.close(SHUTTING_DOWN)
        elif self._barred is not None:
            self._codec.answer(self._barred, error=True)
        elif (early := self._door.too_early(self._owner(), mail.size)) is not None:
            self._codec.answer(early)
        else:
            self._codec.accept_mail(mail)

    def _identity(self) -> Peer:
        """The peer as this transaction knows it."""
        codec, peer = self._codec, self._peer
        if peer is None or peer.helo != codec.helo or peer.esmtp != codec.esmtp:
            peer = Peer(self._ip, self._port, codec.helo, codec.esmtp, listed=self._listed, through=self._through)
            tls = self._transport.get_extra_info("ssl_object") if codec.tls and self._transport is not None else None
            if tls is not None:
                name, _, bits = tls.cipher() or ("", "", 0)
                peer = replace(peer, tls_version=tls.version() or "", tls_cipher=name, tls_bits=bits)
            self._peer = peer
        return peer

    def _recipient(self, recipient: Recipient) -> None:
        codec, relaying = self._codec, self._settings.relaying
        mail = codec.mail
        assert mail is not None
        if not recipient.path.domain:
            recipient = replace(recipient, path=relaying.target(recipient.path))
        peer = self._identity()
        path = recipient.path
        try:
            refused = relaying.check(mail.path, path, peer)
        except ReplyError as error:
            codec.refuse_recipient(error.reply, error=False)
            return
        if refused is None and relaying.must_verify(path, verified=decide.verified(mail.path, peer, self._settings.config)):
            said = relaying.recall(path, self._last)
            if said is None:
                self._door.spawn(self._verify(recipient))
                return
            if said.code >= 300:
                refused = Refused(said, "next-hop")
        if refused is None:
            codec.accept_recipient(recipient)
        else:
            self._refuse(refused, path.text)

    async def _verify(self, recipient: Recipient) -> None:
        """Asks the next hop whether it takes *recipient*, through the keeper."""
        try:
            said = await self._door.keeper.verify_recipient(recipient.path.text)
        except Exception:
            _log.exception("smtp.verify_failed")
            said = OUR_FAULT
        self._settings.relaying.remember(recipient.path, said, self._loop.time())
        if self._transport is None:
            return
        if said.code < 300:
            self._codec.accept_recipient(recipient)
        elif said.temporary:
            self._codec.refuse_recipient(said, error=False)
        else:
            self._refuse(Refused(said, "next-hop"), recipient.path.text)
        self._pump()

    def _refuse(self, refused: Refused, recipient: str) -> None:
        """Answers a recipient with its refusal and has it recorded; strangers' refusals count as errors."""
        codec = self._codec
        sender = codec.mail.path.text if codec.mail is not None else ""
        self._door.record(self._identity(), sender, recipient, refused, self._listener.door)
        if not self._listed and codec.errors >= self._settings.offer.errors_soft:

            def answer() -> None:
                self._timer = None
                codec.refuse_recipient(refused.reply, error=True)
                self._pump()

            self._timer = self._loop.call_later(self._door.error_delay, answer)
        else:
            codec.refuse_recipient(refused.reply, error=not self._listed)

    # --- the message --------------------------------------------------------------------------------------------------

    def _data(self) -> None:
        """Takes memory, then says 354. A listed client's SIZE is believed; a stranger's would be a way to take it all."""
        mail = self._codec.mail
        if self._borrow(max(_FIRST, mail.size if mail is not None and self._listed else 0)):
            self._start_text()

    def _start_text(self) -> None:
        self._text_since = self._loop.time()
        self._codec.start_text()

    def _is_over(self) -> bool:
        return self._codec.phase is Phase.CLOSED

    def _lent(self, waited: float) -> None:
        self._text_since += waited
        if self._codec.phase is Phase.ASKED:
            self._start_text()

    def _no_memory(self) -> None:
        """452, at once or at the end of the message."""
        if self._codec.phase is Phase.ASKED:
            self._codec.end_transaction(STORE_FULL)
        else:
            self._codec.discard_text(STORE_FULL)
        self._give_memory()

    def _refused_message(self, event: Refusal) -> None:
        codec = self._codec
        sender = codec.mail.path.text if codec.mail is not None else ""
        self._give_memory()
        self._door.record(self._identity(), sender, "", Refused(event.reply, "message-form: " + event.reason), self._listener.door)
        codec.end_transaction(event.reply)
        if event.close:
            codec.close()

    def _body(self, body: Body) -> None:
        """Hands the message to the pipeline, in a task that does not end with the connection."""
        codec, config = self._codec, self._settings.config
        mail, peer = codec.mail, self._identity()
        assert mail is not None
        sender = mail.path
        envelope = Envelope(sender, tuple(codec.recipients), mail.ret, mail.envid, mail.eight_bit, mail.smtputf8)
        verified = decide.verified(sender, peer, config)
        department = sender.domain if self._settings.relaying.is_ours(sender) else ""
        tx = Transaction(
            new_id(), self._listener.door, peer, envelope, time.time(), len(body.content), body.sha256, verified, department
        )  # fmt: skip
        self._handling = True
        self._door.receiving.observe(self._loop.time() - self._text_since)
        self._door.spawn(self._handle(tx, body.content))

    async def _handle(self, tx: Transaction, content: bytes) -> None:
        close = False
        try:
            reply = await self._door.handler.handle(tx, content)
        except ReplyError as error:
            reply, close = error.reply, error.close
            _log.warning("smtp.not_accepted", **_about(tx), reply=str(reply), **{"error.message": error.private})
        except Exception:
            reply = OUR_FAULT
            self._door.count("faults")
            _log.exception("smtp.fault", **_about(tx))
        finally:
            del content
            self._handling = False
            self._give_memory()
        self._door.count("accepted" if reply.code < 300 else "deferred" if reply.temporary else "refused")
        if self._transport is None:
            if reply.code < 300:
                _log.info("smtp.client_left_before_reply", **_about(tx))
            return
        self._last = self._loop.time()
        self._codec.end_transaction(reply)
        if close or reply.code == 421:
            self._close("asked to close")
        else:
            self._pump()
            if self._door.draining:
                self.drain()


def _about(tx: Transaction) -> dict[str, object]:
    return {"client.ip": tx.peer.ip, "gateway.reference": tx.reference}
