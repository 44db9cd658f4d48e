"""The IMAP door: between a mail program and its IMAP server. What a session decides about the commands.

What it is: ``ImapSession``. Nearly all passes as it came, both ways. What a mail program files (APPEND, MULTIAPPEND) goes through the
pipeline like mail to oneself (in a mailbox of others: like mail to a colleague) before the server gets an octet of it; what could bring
content in unseen is hidden by the codec.
Who calls it: the event loop, once a connection; ``doors.entrance`` says so.
Must never: let the server have a message before the pipeline has passed it, or a part of a command whose messages did not all pass;
change what is fetched; do anything before TLS but begin it; tell a client why something of ours failed.
Sources: RFC 9051 sections 6.1, 6.2.1 and 6.3.12, RFC 3502, RFC 5530; docs/design.md section 4 ("IMAP"); hostile-inputs catalogue, group I.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time

from gateway import address, logs
from gateway.doors.door import PLAIN, Door, Listener
from gateway.doors.imap_connection import FAULT
from gateway.doors.imap_login import words_of
from gateway.doors.imap_sharing import Sharing
from gateway.doors.relaying import Refused
from gateway.envelope import Door as DoorName
from gateway.envelope import Envelope, Peer, Recipient, Transaction, new_id
from gateway.message import prescan
from gateway.reply import OUR_FAULT, Reply, ReplyError
from gateway.shares import owner_of
from gateway.wire import imap_commands, smtp_data
from gateway.wire.imap_events import (
    Append,
    AppendSize,
    Authenticate,
    AuthenticateLine,
    ClientEvent,
    Close,
    Forward,
    Login,
    Move,
    Say,
    StartTls,
    Tagged,
)
from gateway.wire.smtp_events import BARE_TEXT

_NO_MEMORY = "The mail gateway has no room for this message at present. Please try again later."
_TOO_MUCH = "These messages are too large to be filed in one command. File them one by one."
_SLOW = "The message comes too slowly; closing the session."
_FIRST = "Start TLS first; nothing else is taken in clear."
HELD, NOT_FILED = "waits for a reviewer", "is not filed"
"""What the sentences of mail say where it is held, and what is true of it here."""
_log = logs.get("gateway.doors.imap")


class ImapSession(Sharing):
    """The decisions of one IMAP session."""

    __slots__ = ("_appended", "_appends_since", "_passed", "_waiting_tag")

    def __init__(self, door: Door, listener: Listener = PLAIN) -> None:
        super().__init__(door, listener)
        self._appended: list[Append] = []
        """Messages of the APPEND under way."""
        self._passed: list[str] = []
        """References of messages that the pipeline has passed and the server has not answered for."""
        self._appends_since = 0.0
        self._waiting_tag = b""

    # --- events -------------------------------------------------------------------------------------------------------

    def _dispatch(self, event: ClientEvent) -> None:
        kind = type(event)
        if kind is Forward:
            self._forward(event)  # type: ignore[arg-type]
        elif isinstance(event, Say):
            if event.reason:
                self._door.count("imap commands refused")
                self._forget()
            self._order.say(event.octets)
        elif isinstance(event, AppendSize):
            self._append_size(event)
        elif isinstance(event, Append):
            self._append(event)
        elif isinstance(event, Move):
            self._move(event)
        elif isinstance(event, Login):
            self._log_in(event)
        elif isinstance(event, Authenticate):
            self._authenticate(event)
        elif isinstance(event, AuthenticateLine):
            self._authenticate_line(event)
        elif isinstance(event, StartTls):
            self._start_tls(event)
        elif isinstance(event, Close):
            self._order.say(event.octets)
            self._end(event.reason, "")

    def _forward(self, event: Forward) -> None:
        if not self._client.tls:
            self._in_clear(event)
            return
        if event.tag:
            self._order.sent(event.tag)
        self._to_server.append(event.octets)

    def _in_clear(self, event: Forward) -> None:
        """Before STARTTLS there is no server: what may be said there, we say."""
        tag, settings = event.tag, self._settings.imap
        assert settings is not None
        if event.waits:
            self._end("command in clear", _FIRST)
        elif event.verb == b"CAPABILITY":
            self._order.say(b"* CAPABILITY " + settings.clear_capabilities + b"\r\n" + tag + b" OK Start TLS and sign in\r\n")
        elif event.verb == b"NOOP":
            self._order.say(tag + b" OK Start TLS and sign in\r\n")
        elif event.verb == b"LOGOUT":
            self._order.say(b"* BYE\r\n" + tag + b" OK\r\n")
            self._end("", "")
        elif tag:
            self._order.say(imap_commands.bad(tag, _FIRST))

    def _start_tls(self, event: StartTls) -> None:
        if self._settings.tls is None:
            self._order.say(imap_commands.no(event.tag, "UNAVAILABLE", "TLS is not possible at present."))
            self._client.proceed()
            return
        self._order.say(event.tag + b" OK Begin TLS\r\n")
        self._flush()
        self._pause_reading()
        self._door.spawn(self._negotiate())

    def _owner(self) -> str:
        return owner_of(self._ip, user=self._permitted.login if self._permitted is not None else "", known=self._known)

    # --- memory -------------------------------------------------------------------------------------------------------

    def _append_size(self, event: AppendSize) -> None:
        """Takes memory for a message, then lets it come."""
        budget = self._settings.config.limits.max_inflight
        if not self._appends_since:
            self._appends_since = self._loop.time()
        if event.number > 1 and self._reserved + event.size > budget // 2:
            self._refuse_append(event.tag, "LIMIT", _TOO_MUCH)
        elif (early := self._door.too_early(self._owner(), event.size, stored=False)) is not None:
            self._refuse_append(event.tag, "UNAVAILABLE", early.text)
        elif self._borrow(event.size):
            self._client.take()
        else:
            self._waiting_tag = event.tag

    def _is_over(self) -> bool:
        return self._ended

    def _lent(self, waited: float) -> None:
        self._appends_since += waited
        self._client.take()

    def _no_memory(self) -> None:
        self._refuse_append(self._waiting_tag, "UNAVAILABLE", _NO_MEMORY)

    def check(self, now: float, *, stressed: bool) -> None:
        """The same with the wait for memory, and with messages that come too slowly for what they keep from others."""
        limits = self._settings.config.limits
        if self._waiting_since and not self._ended:
            self._give_up_waiting(now)
            return
        lasted = now - self._appends_since if self._appends_since else 0.0
        if lasted > self._door.rate_grace and not self._ended:
            come = self._client.memory + sum(len(one.message) for one in self._appended)
            if come < limits.data_min_rate * lasted:
                self._end("slow message", _SLOW)
                return
        super().check(now, stressed=stressed)

    def _refuse_append(self, tag: bytes, code: str, words: str) -> None:
        self._client.refuse(imap_commands.no(tag, code, words))
        self._forget()

    def _forget(self) -> None:
        """Nothing of an APPEND is kept any more."""
        self._appended.clear()
        self._appends_since = 0.0
        self._stop_waiting()
        self._give_memory()

    def _replied(self, event: Tagged) -> None:
        if self._passed and event.tag == self._steps_tag:
            if event.word == b"OK":
                self._passed.clear()
            self._came_to_nothing("the server refused")
        if self._reserved and event.tag == self._steps_tag:
            self._forget()
        super()._replied(event)

    def _let_go(self) -> None:
        super()._let_go()
        if not self._handling:
            self._came_to_nothing("the session ended before the server answered")
            self._forget()

    # --- what is filed ------------------------------------------------------------------------------------------------

    def _append(self, event: Append) -> None:
        """Hands the messages of a whole command to the pipeline, in a task that does not end with the connection."""
        self._appended.append(event)
        if event.more:
            return
        messages, self._appended = tuple(self._appended), []
        permitted = self._permitted
        if permitted is None or not self._client.signed_in:
            self._refuse_append(event.tag, "CLIENTBUG", "Sign in before you file anything.")
            return
        peer, shared = self._person(), self._is_others(event.mailbox.name)
        wanted, messages = sum(len(one.message) for one in messages), tuple(map(_in_lines, messages))
        if offence := next(filter(None, (smtp_data.fault(one.message, len(one.message) + 1) for one in messages)), ""):
            # Where one reader sees a header field another sees a part of the one before: neither can be judged for the other.
            refused = Refused(BARE_TEXT, "message-form: " + offence)
            self._door.record(peer, permitted.mailbox, permitted.mailbox, refused, self._listener.door)
            self._refuse_append(event.tag, "CANNOT", BARE_TEXT.text)
            return
        grown = sum(len(one.message) for one in messages) - wanted
        if grown and not self._cover(self._reserved + grown):
            self._refuse_append(event.tag, "UNAVAILABLE", _NO_MEMORY)
            return
        self._door.receiving.observe(self._loop.time() - self._appends_since)
        self._appends_since = 0.0
        self._handling = True
        self._door.spawn(self._file(messages, peer, permitted.mailbox, shared=shared))

    async def _file(self, messages: tuple[Append, ...], peer: Peer, mailbox: str, *, shared: bool) -> None:
        """Files *messages* if all of them may be."""
        tag, refusal, counted = messages[0].tag, b"", "filed"
        try:
            for one in messages:
                tx = _transaction(one.message, peer, mailbox, shared=shared)
                refusal, counted = await self._judge_message(tag, tx, one.message)
                if refusal:
                    break
                self._passed.append(tx.reference)
        except Exception:
            refusal, counted = imap_commands.no(tag, "UNAVAILABLE", FAULT.partition("] ")[2]), "deferred"
            self._door.count("faults")
            _log.exception("imap.fault", **{"client.ip": self._ip})
        finally:
            self._handling = False
        self._door.count(counted)
        if self._transport is None or self._ended:
            self._came_to_nothing("the session ended before it was filed")
            self._forget()
            return
        self._last = self._loop.time()
        if refusal:
            self._came_to_nothing("another message of the command did not pass")
            self._order.say(refusal)
            self._client.answered(tag, ok=False)
            self._forget()
        else:
            self._send(tag, imap_commands.append(messages))
        del messages
        self._pump()
        if self._door.draining:
            self.drain()

    def _came_to_nothing(self, reason: str) -> None:
        """The audit log says of what passed that its owner's mailbox has it: here stands where that did not become true."""
        if self._passed:
            self._door.count("passed, not filed")
            _log.warning("imap.passed_not_filed", reason=reason, **{"client.ip": self._ip, "gateway.reference": " ".join(self._passed)})
            self._passed.clear()

    async def _judge_message(self, tag: bytes, tx: Transaction, content: bytes) -> tuple[bytes, str]:
        """The refusal of one message, empty where it passes, and what it is counted as."""
        about = {"client.ip": self._ip, "gateway.reference": tx.reference}
        try:
            outcome = await self._door.handler.outcome(tx, content)
            reply, passed = outcome.reply, bool(outcome.passed)
        except ReplyError as error:
            reply, passed = error.reply, False
            _log.warning("imap.not_filed", reply=str(reply), **about, **{"error.message": error.private})
        if reply.code < 300 and passed:
            return b"", "filed"
        if reply.code < 300:
            reply = OUR_FAULT  # a yes that names nobody is none
            self._door.count("faults")
            _log.error("imap.passed_nobody", **about)
        words = _with_reference(reply, tx.reference)
        if reply.temporary:
            return imap_commands.no(tag, "UNAVAILABLE", words), "deferred"
        return imap_commands.no(tag, "NOPERM", words), "refused"


def _in_lines(one: Append) -> Append:
    """*one*, and where it has the line ends of a file, which servers mend without a word, with those of mail: what is judged is filed."""
    content = prescan.canonical(one.message)
    return one if content is one.message else dataclasses.replace(one, message=content)


def _transaction(content: bytes, peer: Peer, mailbox: str, *, shared: bool) -> Transaction:
    """What is filed, as a message from its owner to itself; *shared*: others read it there."""
    path = address.parse(mailbox.encode("utf-8"), smtputf8=True)
    envelope = Envelope(path, (Recipient(path),), eight_bit=not content.isascii(), smtputf8=not mailbox.isascii())
    digest = hashlib.sha256(content).hexdigest()
    return Transaction(new_id(), DoorName.IMAP, peer, envelope, time.time(), len(content), digest, True, path.domain, shared=shared)


def _with_reference(reply: Reply, reference: str) -> str:
    words = words_of(reply).replace(HELD, NOT_FILED)
    return words if reference in words else f"{words} (reference {reference})"
