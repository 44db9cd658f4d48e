"""Transactions with a next hop: MAIL, RCPT, DATA, pipelined where the hop offers it.

What it is: ``Connection``, a Conversation that hands messages over and asks about recipients.
Who calls it: ``pool`` opens it; the relay sends with it; the call-out asks with it.
Must never: send content after a protocol error; call a message delivered without a 2xx reply to its final dot; change an octet.
Sources: RFC 5321 sections 3.3, 4.5.3.1.10, RFC 2920, RFC 1870, RFC 6152, RFC 6531 section 3.5, RFC 3461 section 5; hostile-inputs
catalogue O04 to O07.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from gateway.relay.hop_protocol import BLOCK, BROKEN, CLOSED, TIMED_OUT, Conversation, Fault, HopError, temporary
from gateway.reply import Reply
from gateway.wire.smtp_client import HopReply, mail_command, rcpt_command

_RCPT_OK = (250, 251, 252)
_TAKEN = Reply(250, "2.1.5", "The next server takes the recipient")


class OutgoingRecipient(msgspec.Struct, frozen=True):
    """One RCPT of an outgoing transaction."""

    address: str
    notify: tuple[str, ...] | None = None
    orcpt: str = ""


class Outgoing(msgspec.Struct, frozen=True):
    """One transaction to make. *stuffed* is the content as ``wire.smtp_client.stuff`` made it; *size* counts the octets before."""

    sender: str
    recipients: Sequence[OutgoingRecipient]
    stuffed: bytes
    size: int
    eight_bit: bool = False
    """The content holds octets above 127."""
    smtputf8: bool = False
    """An address or a header field holds characters outside ASCII."""
    ret: str = ""
    envid: str = ""


class Sent(msgspec.Struct, frozen=True):
    """What the hop said, one reply a recipient in their order; *dsn*: it took over the DSN parameters; *way*: how it was reached."""

    replies: tuple[Reply, ...]
    dsn: bool
    way: str


class Connection(Conversation):
    """A Conversation that carries mail, one transaction at a time."""

    async def send(self, mail: Outgoing) -> Sent:
        """Hands *mail* over: one reply a recipient. Raises HopError when the conversation broke; nothing is known then but
        ``possible_duplicate``."""
        self._dot = False
        offered = self.capabilities
        if (refusal := self._unfit(mail)) is not None:
            return Sent((refusal,) * len(mail.recipients), offered.dsn, self.way)
        commands = [
            mail_command(
                mail.sender, offered, size=mail.size, eight_bit=mail.eight_bit, smtputf8=mail.smtputf8, ret=mail.ret, envid=mail.envid
            )
        ]
        commands += [rcpt_command(to.address, offered, notify=to.notify, orcpt=to.orcpt) for to in mail.recipients]
        fresh = self.uses == 0
        self.uses += 1
        try:
            replies = await self._envelope(commands)
        except HopError as error:
            if not fresh and not self._dot and (not self._got or self._got[0].code == 421):
                raise HopError(Fault.STALE, error.reply) from error
            raise
        results = self._judge(replies, len(mail.recipients))
        if all(result.code >= 300 for result in results):
            self._reset = True
            return Sent(tuple(results), offered.dsn, self.way)
        final = await self._content(mail.stuffed)
        if final.code // 100 == 3:
            raise self._broken()
        self._dot = False
        said = final.as_reply()
        return Sent(tuple(said if result.code < 300 else result for result in results), offered.dsn, self.way)

    def _unfit(self, mail: Outgoing) -> Reply | None:
        """A refusal that needs no conversation: what this hop cannot take (RFC 1870, 6152, 6531)."""
        offered = self.capabilities
        if offered.size and mail.size > offered.size:
            return Reply(552, "5.3.4", "The next server does not take messages of this size")
        if mail.smtputf8 and not offered.smtputf8:
            return Reply(553, "5.6.7", "The next server does not take addresses or header fields outside ASCII")
        if mail.eight_bit and not offered.eight_bit:
            return Reply(554, "5.6.3", "The next server does not take 8-bit text, and a signed message cannot be converted")
        return None

    async def _envelope(self, commands: list[bytes]) -> list[HopReply]:
        """Replies to MAIL, each RCPT and DATA (the last one left out where no recipient was taken)."""
        limits = self._limits
        if self._reset:
            if (await self._ask(b"RSET\r\n")).code != 250:
                raise self._broken()
            self._reset = False
        if self.capabilities.pipelining:
            commands.append(b"DATA\r\n")
            replies = await self._exchange(b"".join(commands), len(commands), max(limits.relay_command, limits.relay_data_init))
            if self._early:
                raise self._broken()
            return self._checked(replies)
        replies = []
        for number, command in enumerate(commands):
            replies.append(await self._ask(command))
            if replies[-1].code == 421 or (number == 0 and replies[0].code >= 300):
                return self._checked(replies)
        if any(reply.code in _RCPT_OK for reply in replies[1:]):
            replies += await self._exchange(b"DATA\r\n", 1, limits.relay_data_init)
            if self._early:
                raise self._broken()
        return self._checked(replies)

    def _checked(self, replies: list[HopReply]) -> list[HopReply]:
        if replies[-1].code == 421:
            error = HopError(Fault.LOST, replies[-1].as_reply("4.3.2"))
            self._fail(error)
            raise error
        return replies

    def _judge(self, replies: list[HopReply], count: int) -> list[Reply]:
        """One reply a recipient before any content: 2xx only where the content may follow. Raises HopError."""
        mail, rcpts = replies[0], replies[1 : 1 + count]
        data = replies[1 + count] if len(replies) > 1 + count else None
        if mail.code // 100 in (4, 5):
            results = [mail.as_reply()] * count
        elif mail.code != 250 or any(rcpt.code // 100 == 3 for rcpt in rcpts):
            raise self._broken()
        else:
            results = [_rcpt_result(rcpt) for rcpt in rcpts]
        taken = any(result.code < 300 for result in results)
        if data is not None and data.code == 354:
            if not taken:  # it waits for a message that nobody gets: the connection is worth less than an empty message
                self._fail(HopError(Fault.LOST, BROKEN))
            return results
        if taken:
            if data is None or data.code // 100 in (2, 3):
                raise self._broken()
            refusal = data.as_reply()
            return [refusal if result.code < 300 else result for result in results]
        return results

    async def _content(self, stuffed: bytes) -> HopReply:
        """Sends the content block by block, then waits for the one reply that counts."""
        limits = self._limits
        view = memoryview(stuffed)
        last = max(0, len(stuffed) - BLOCK)
        last -= last % BLOCK
        for start in range(0, last, BLOCK):
            self.transport.write(view[start : start + BLOCK])
            if self._paused:
                await self._wait_for_room(limits.relay_data_block)
            if self._error is not None:
                raise self._error
            if self._early:  # an answer before the dot
                raise self._broken()
        self._dot = True
        tail = stuffed if not last else stuffed[last:]
        reply = (await self._exchange(tail, 1, limits.relay_data_end))[0]
        if reply.code == 421:
            self._fail(HopError(Fault.LOST, reply.as_reply("4.3.2")))
        return reply

    async def _wait_for_room(self, patience: float) -> None:
        self._room = self._loop.create_future()
        timer = self._loop.call_later(patience, self._fail, HopError(Fault.LOST, TIMED_OUT))
        try:
            await self._room
        except asyncio.CancelledError:
            self._fail(HopError(Fault.LOST, CLOSED))
            raise
        finally:
            timer.cancel()
            self._room = None

    async def probe(self, recipient: str) -> Reply:
        """What the hop says to RCPT for *recipient* with a null sender; no content follows. Raises HopError, UnsafeCommand."""
        self._dot = False
        fresh = self.uses == 0
        self.uses += 1
        commands = [mail_command("", self.capabilities, size=0, eight_bit=False, smtputf8=not recipient.isascii())]
        commands.append(rcpt_command(recipient, self.capabilities))
        try:
            if self._reset:
                await self._ask(b"RSET\r\n")
            self._reset = True
            mail = self._checked([await self._ask(commands[0])])[0]
            if mail.code != 250:
                return temporary("4.4.0", f"The next server does not let recipients be verified ({mail.code})")
            return _rcpt_result(self._checked([await self._ask(commands[1])])[0])
        except HopError as error:
            if not fresh and not self._dot and (not self._got or self._got[0].code == 421):
                raise HopError(Fault.STALE, error.reply) from error
            raise


def _rcpt_result(rcpt: HopReply) -> Reply:
    if rcpt.code in _RCPT_OK:
        return _TAKEN
    reply = rcpt.as_reply("5.1.1" if rcpt.code in (550, 553) else "")
    if rcpt.code == 552 and reply.enhanced in ("5.0.0", "5.5.3"):
        # RFC 5321 section 4.5.3.1.10: an old way to say "too many recipients".
        return Reply(452, "4.5.3", reply.text)
    if rcpt.code // 100 not in (4, 5):
        return Reply(451, "4.5.0", "The next server broke the protocol")
    return reply
