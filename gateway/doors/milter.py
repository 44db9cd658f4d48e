"""The milter door: an MTA asks what is to become of the message that it has.

What it is: ``MilterSession``, which turns the codec's events into decisions: the client, the envelope, memory for the content, the
pipeline, and, after the commit, the changes and the one final action. The MTA keeps the message; nothing of what goes on is ours.
Who calls it: the event loop, once a connection; ``doors.entrance`` makes it.
Must never: say CONTINUE before the commit; send part of the changes; let anything of one message reach the next; cancel the pipeline
because the MTA left; tell an MTA's client why something of ours failed.

A message whose MTA leaves before the answer is decided and recorded all the same. If the MTA has it again it is a new message, with a
reference of its own: what was held for the first one is held twice then, and nothing is lost. Where each kind of mail comes from, and
what holds for it, is said in ``doors.milter_envelope``.

Sources: libmilter of Sendmail 8.17, Postfix MILTER_README; docs/design.md section 4, "Milter"; hostile-inputs catalogue, group T.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from msgspec.structs import replace

from gateway import logs
from gateway.address import AddressError
from gateway.doors import milter_answer, milter_envelope
from gateway.doors.door import PLAIN, Door, Listener
from gateway.doors.milter_connection import MilterConnection
from gateway.doors.milter_envelope import Client, Envelope
from gateway.doors.relaying import Refused
from gateway.envelope import Envelope as Finished
from gateway.envelope import Transaction, new_id
from gateway.pipeline import Outcome
from gateway.policy import decide
from gateway.reply import OUR_FAULT, STORE_FULL, Reply, ReplyError
from gateway.shares import owner_of
from gateway.wire import smtp_data
from gateway.wire.milter_events import Abort, Change, Connect, Event, Final, Helo, Mail, Message, MilterError, NewConnection, Quit, Rcpt
from gateway.wire.smtp_events import BARE_TEXT, LONG_TEXT, TOO_MANY_RECIPIENTS
from gateway.wire.smtp_params import ArgumentError

PATIENCE = 240.0
"""Seconds after the end of a message within which the MTA has its answer, if it must be 4xx; MTAs wait 300 s and then make one up."""
_NOBODY = Reply(554, "5.5.1", "No valid recipients.")
_TOO_MANY_AT_ONCE = Reply(550, "5.5.3", "Too many recipients in one message; send it in several.")
_TOO_MANY_FIELDS = Reply(552, "5.3.4", "The header section is too large.")
_NO_HOLD = Reply(451, "4.3.5", "The mail server cannot hold mail for review. Please try again later.")
_log = logs.get("gateway.doors.milter")


@dataclass(slots=True, eq=False)
class _Work:
    """A message that is with the pipeline: what its answer needs."""

    tx: Transaction
    fields: tuple[tuple[bytes, bytes], ...]
    written: dict[str, list[bytes]]
    since: float
    told: float
    """When the MTA last heard of it."""
    memory: int
    holder: str
    """In whose name the memory was taken."""
    queue_id: str


class MilterSession(MilterConnection):
    """The decisions of one connection of an MTA."""

    patience = PATIENCE

    def __init__(self, door: Door, listener: Listener = PLAIN) -> None:
        super().__init__(door, listener)
        self._client = Client()
        self._envelope: Envelope | None = None
        self._work: _Work | None = None

    # --- events -------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Runs events until there are none, then sends all answers in one write."""
        codec = self._codec
        try:
            while not self._write_paused and not self._waiting_since:
                event = codec.next_event()
                if event is None:
                    break
                if type(event) is Quit:
                    self._close()
                    return
                self._dispatch(event)
        except MilterError as error:
            _log.warning("milter.broken", **{"client.ip": self._ip, "error.message": str(error)})
            self._close("not of the protocol")
            return
        except Exception:
            _log.exception("milter.fault", **{"client.ip": self._ip})
            self._door.count("faults")
            self._close("fault")
            return
        self._flush()
        if not codec.asked:
            if codec.in_message and codec.text_octets and not self._text_since:
                self._text_since = self._last
            self._account()
        if self._door.draining and not codec.in_message:
            self.drain()
        else:
            self._read_or_wait()

    def _dispatch(self, event: Event) -> None:
        kind = type(event)
        if kind is Rcpt:
            self._recipient(event)  # type: ignore[arg-type]
        elif kind is Mail:
            self._mail(event)  # type: ignore[arg-type]
        elif kind is Message:
            self._message(event)  # type: ignore[arg-type]
        elif isinstance(event, Connect):
            self._client = Client.of(event)
        elif isinstance(event, Helo):
            self._client.greet(event.name)
        elif isinstance(event, NewConnection):
            self._client = Client()
            self._forget()
        elif isinstance(event, Abort):
            self._forget()

    def _forget(self) -> None:
        """Nothing of the message under way, nor of what is with the pipeline, concerns this connection any more."""
        self._envelope = self._work = None
        self._begun = self._text_since = 0.0
        if not self._waiting_since:
            self._give_memory()

    # --- the envelope -------------------------------------------------------------------------------------------------

    def _mail(self, event: Mail) -> None:
        """Begins a message, under the settings of this moment: an MTA's connection outlives many a reload."""
        self._forget()
        self._settings = settings = self._door.settings
        self._begun = self._last
        codec, config, local = self._codec, settings.config, self._client.local
        if config.relay.milter_hold == "mta" and codec.negotiated is not None and not codec.negotiated.quarantine:
            _log.error("milter.no_quarantine", **{"client.ip": self._ip})
            codec.refuse(_NO_HOLD)
            return
        peer = self._client.peer(codec.macros, settings.networks)
        try:
            self._envelope = Envelope(peer, milter_envelope.mail(event.args, config.max_message_size, local=local))
        except (ArgumentError, AddressError) as error:
            refused = Refused(Reply(error.code, error.enhanced, str(error)), "address-form")
            self._door.record(peer, "", "", refused, self._listener.door)
            codec.refuse(refused.reply)
            return
        # What was made on the MTA's machine has nobody who would come again: its end is answered.
        early = None if local else self._door.too_early(self._owner(), self._envelope.mail.size)
        if early is not None:
            codec.refuse(early)
            return
        codec.proceed()

    def _recipient(self, event: Rcpt) -> None:
        envelope, codec, relaying = self._envelope, self._codec, self._settings.relaying
        if envelope is None:  # the codec asks about no recipient without a sender
            codec.refuse(OUR_FAULT)
            return
        sender, text = envelope.mail.path, ""
        try:
            recipient = milter_envelope.recipient(event.args, smtputf8=envelope.mail.smtputf8 or self._client.local)
            if not recipient.path.domain:
                recipient = replace(recipient, path=relaying.target(recipient.path))
            text = recipient.path.text
            most = self._settings.config.limits.recipients
            if envelope.full(text, event.args[0], most):
                self._refuse_recipient(Refused(_TOO_MANY_AT_ONCE if self._client.local else TOO_MANY_RECIPIENTS, "recipients"), text)
                return
            refused = relaying.check_behind(sender, recipient.path, envelope.peer, local=self._client.local)
        except (ArgumentError, AddressError) as error:
            refused = Refused(Reply(error.code, error.enhanced, str(error)), "address-form")
        except ReplyError as error:
            refused = Refused(error.reply, "")
        if refused is not None:
            self._refuse_recipient(refused, text)
            return
        envelope.add(recipient, event.args[0])
        codec.proceed()

    def _refuse_recipient(self, refused: Refused, recipient: str) -> None:
        """Answers a recipient with its refusal; where the MTA cannot pass that on it is the answer to the message."""
        envelope, codec = self._envelope, self._codec
        assert envelope is not None
        if refused.reply.permanent:
            self._door.record(envelope.peer, envelope.mail.path.text, recipient, refused, self._listener.door)
        if self._client.local:
            envelope.refused = envelope.refused or refused
            codec.proceed()
        else:
            codec.refuse(refused.reply)

    # --- the message --------------------------------------------------------------------------------------------------

    def _message(self, message: Message) -> None:
        """Hands the message to the pipeline, in a task that does not end with the connection."""
        envelope = self._envelope
        said = self._fault(message, envelope)
        content = b"" if said is not None else message.content()
        if said is None and envelope is not None:
            offence = smtp_data.fault(content, self._settings.config.limits.text_line)
            if offence:
                said = LONG_TEXT if offence == smtp_data.LONG_LINE else BARE_TEXT
                refused = Refused(said, "message-form: " + offence)
                self._door.record(envelope.peer, envelope.mail.path.text, "", refused, self._listener.door)
            elif not self._cover(len(content)):
                said = STORE_FULL
        if said is not None or envelope is None:
            self._codec.end_message(said or OUR_FAULT)
            self._forget()
            return
        if self._text_since:
            self._door.receiving.observe(self._loop.time() - self._text_since)
        now = self._loop.time()
        memory, self._reserved = self._reserved, 0
        fields = milter_answer.fields_of(message)
        queue_id = self._codec.macros.get("i", "")[:64]
        self._work = _Work(self._transaction(envelope, content), fields, envelope.written, now, now, memory, self._holder, queue_id)
        self._door.spawn(self._ask(self._work, content))

    def _owner(self) -> str:
        """The MTA's client: all mail comes through the MTA itself."""
        if self._envelope is None:
            return super()._owner()
        peer = self._envelope.peer
        return owner_of(peer.ip, user=peer.user, known=peer.listed)

    def _fault(self, message: Message, envelope: Envelope | None) -> Reply | None:
        """Why the message is not looked at, if it is not."""
        if message.lost == "too large":
            return Reply(552, "5.3.4", f"The message is larger than the limit of {self._settings.config.max_message_size} octets.")
        if message.lost:
            return STORE_FULL if message.lost == "discarded" else _TOO_MANY_FIELDS
        if envelope is None:
            return OUR_FAULT
        if envelope.refused is not None:
            return envelope.refused.reply
        return None if envelope.recipients else _NOBODY

    def _transaction(self, envelope: Envelope, content: bytes) -> Transaction:
        mail, sender, peer = envelope.mail, envelope.mail.path, envelope.peer
        recipients = tuple(envelope.recipients.values())
        utf8 = mail.smtputf8 or any(not one.path.text.isascii() for one in recipients)
        finished = Finished(sender, recipients, mail.ret, mail.envid, mail.eight_bit, utf8)
        verified = decide.verified(sender, peer, self._settings.config)
        department = sender.domain if self._settings.relaying.is_ours(sender) else ""
        sha256 = hashlib.sha256(content).hexdigest()
        return Transaction(new_id(), self._listener.door, peer, finished, time.time(), len(content), sha256, verified, department)

    async def _ask(self, work: _Work, content: bytes) -> None:
        said: Outcome | Reply
        try:
            said = await self._door.handler.outcome(work.tx, content)
        except ReplyError as error:
            said = error.reply
            _log.warning("milter.not_accepted", **_about(work), reply=str(said), **{"error.message": error.private})
        except Exception:
            said = OUR_FAULT
            self._door.count("faults")
            _log.exception("milter.fault", **_about(work))
        finally:
            del content
            self._door.budget.give(work.memory, work.holder)
        if self._work is work:
            self._answer(work, said)
        else:
            self._door.count("closed: left before the answer")
            _log.info("milter.left_before_answer", **_about(work))

    def _answer(self, work: _Work, said: Outcome | Reply) -> None:
        """Sends the changes whole and the one final action, or, where that cannot be written, defers the message."""
        final: Final | Reply
        changes: tuple[Change, ...] = ()
        try:
            if isinstance(said, Reply):
                final = said
            else:
                final, changes = milter_answer.answer(said, work.fields, work.written, work.tx.reference)
            self._codec.end_message(_sayable(final), changes)
        except ValueError as error:
            _log.error("milter.answer_not_written", **_about(work), **{"error.message": str(error)})
            self._door.count("faults")
            final = OUR_FAULT
            self._codec.end_message(OUR_FAULT)
        reply = final if isinstance(final, Reply) else None
        if final is Final.DISCARD:
            _log.info("milter.discarded", **_about(work))  # the MTA logs no reference with it
        self._door.count("accepted" if reply is None else "deferred" if reply.temporary else "refused")
        self._forget()
        self._last = self._loop.time()
        self._pump()

    def _watch(self, now: float) -> bool:
        work = self._work
        if work is None:
            return False
        if now - work.since > self.patience:
            self._door.count("deferred")
            _log.warning("milter.too_slow", **_about(work))
            # The pipeline goes on: whether its commit happened is known to nobody here, so nothing is said to have.
            self._codec.end_message(OUR_FAULT)
            self._forget()
            self._pump()
        elif now - work.told >= self._settings.config.limits.milter_progress:
            work.told = now
            self._codec.progress()
            self._flush()
        return True


def _sayable(final: Final | Reply) -> Final | Reply:
    """*final* without a 421: it would end the session of the MTA's client, which has nothing to do with it."""
    return Reply(451, final.enhanced, final.text) if isinstance(final, Reply) and final.code == 421 else final


def _about(work: _Work) -> dict[str, object]:
    return {"client.ip": work.tx.peer.ip, "gateway.reference": work.tx.reference, "gateway.queue_id": work.queue_id}
