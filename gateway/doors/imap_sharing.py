"""Mailboxes of others at the IMAP door: which they are, and what goes there by COPY, MOVE and RENAME.

What it is: ``Sharing``, what a session knows of the server's namespaces. It asks for them itself, once, between the sign-in and the
client's first command; the client sees nothing of that.
Who calls it: ``doors.imap``, whose ``ImapSession`` it is a base of.
Must never: let a command through before the answer is there; show the client what it did not ask for.
Sources: RFC 2342, RFC 9051 section 6.3.10; docs/design.md section 4 ("IMAP"); hostile-inputs catalogue I06, I12.
"""

from __future__ import annotations

import secrets

from gateway import logs
from gateway.doors.door import PLAIN, Door, Listener
from gateway.doors.imap_login import SignIn
from gateway.doors.relaying import Refused
from gateway.reply import Reply
from gateway.wire import imap_capabilities, imap_commands
from gateway.wire.imap_events import Move, Tagged, Told
from gateway.wire.imap_namespaces import Namespaces

_SHARED = Reply(550, "5.7.1", "Nothing is copied or moved into mailboxes of others here. Send it by mail, or file it there itself.")
_log = logs.get("gateway.doors.imap")


class Sharing(SignIn):
    """What one session knows of the mailboxes of others."""

    __slots__ = ("_namespaces",)

    def __init__(self, door: Door, listener: Listener = PLAIN) -> None:
        super().__init__(door, listener)
        self._namespaces: Namespaces | None = None
        """None: the server has none that it tells of."""

    def _replied(self, event: Tagged) -> None:
        if self._learning and event.tag == self._learning:
            self._learning = b""
            self._server.learn(False)
            if self._namespaces is None:
                _log.info("imap.no_namespaces", word=event.word.decode("ascii"))
            return
        before = self._client.signed_in and not self._login_tag
        super()._replied(event)
        if not before and self._client.signed_in and not self._ended and self._offers_namespaces(event):
            self._learn()

    def _offers_namespaces(self, event: Tagged) -> bool:
        """Whether it may be asked: its OK tells its capabilities, or does not, and then the answer will tell."""
        if imap_capabilities.listed(event.octets) is None:
            return True
        return not self._server.capabilities.isdisjoint((b"NAMESPACE", b"IMAP4REV2"))

    def _learn(self) -> None:
        self._learning = tag = b"gw" + secrets.token_hex(6).encode("ascii")  # a client could have used any name that is known
        self._server.learn(True)
        self._order.sent(tag)
        self._order.instead(tag, b"")
        self._to_server.append(tag + b" NAMESPACE\r\n")

    def _told(self, event: Told) -> None:
        self._namespaces = Namespaces.parse(event.octets)
        assert self._settings.imap is not None
        self._client.moves_judged = self._settings.imap.moves_refused and bool(self._namespaces.others)

    def _is_others(self, mailbox: bytes) -> bool:
        """Whether others than the user read what is filed in *mailbox*, as far as the server tells."""
        return self._namespaces is not None and self._namespaces.are_others(mailbox)

    def _move(self, event: Move) -> None:
        if not self._is_others(event.target):
            self._send(event.tag, event.steps)
            return
        permitted = self._permitted
        mailbox = permitted.mailbox if permitted is not None else ""
        self._door.record(self._person(), mailbox, mailbox, Refused(_SHARED, "imap-shared"), self._listener.door)
        self._order.say(imap_commands.no(event.tag, "NOPERM", _SHARED.text))
        self._client.proceed()
