"""IMAPClient on a connection that has limits: so many octets and so much time for the answer to each command.

What it is: ``Client`` (IMAPClient), ``Wire`` (imaplib's connection below it) and ``FAULTS``, what either can raise.
Who calls it: ``relay.mailbox`` (an archive) and ``cli.sweep_server`` (a mailbox that is only looked at).
Must never: keep an answer that is longer than what was asked for, whatever length the server claims; wait for ever; say a word to a
server whose certificate was not accepted; write a line of a session anywhere.

imaplib gathers whatever a server says until the tagged answer, and reads a literal of whatever length it names: without these limits a
server that is hostile, or broken, fills the memory of the process that asks. A caller says with ``Wire.allow`` before each command what
its answer may take.

Sources: RFC 9051 sections 4.3 (literals), 7 (answers); hostile-inputs catalogue I01, I02; imaplib of Python 3.11, IMAPClient 4.1.
"""

from __future__ import annotations

import contextlib
import imaplib
import io
import socket
import ssl
import time
from typing import Any

import imapclient
from imapclient.exceptions import IMAPClientError

from gateway.relay.imap_limits import ANSWER, CONNECT, MORE, SMALL

FAULTS = (
    OSError, ssl.SSLError, IMAPClientError, imaplib.IMAP4.error, ValueError, AssertionError, EOFError, LookupError, AttributeError,
    TypeError, ArithmeticError, RecursionError,
)  # fmt: skip
"""What a server, a network or a hostile answer can raise here; TimeoutError is an OSError. The last seven come out of IMAPClient's
reading of what the server says."""
_PIECE = 65_536


class _Incoming(io.RawIOBase):
    """What a socket says, until a moment and up to a number of octets that each command sets anew."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.until = time.monotonic() + ANSWER
        self.left = SMALL

    def readable(self) -> bool:
        return True

    def seconds(self) -> float:
        """What is left of the time. Raises TimeoutError where nothing is."""
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the answer took too long")
        return seconds

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self.seconds())
        got = self._sock.recv_into(buffer)
        self.left -= got
        if self.left < 0:
            raise imaplib.IMAP4.abort("the answer is longer than what was asked for")
        return got


class Wire(imaplib.IMAP4):
    """imaplib's connection with a limit of octets and of time for each answer, and no copy of anything for a log."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None, name: str) -> None:
        self._where, self._context, self._name = (host, port), context, name
        super().__init__(host, port)

    def open(self, host: str = "", port: int = 0, timeout: float | None = None) -> None:
        """Connects, with TLS where there is a context; the certificate is checked before a word is said."""
        self.host, self.port = host, port
        plain = socket.create_connection(self._where, CONNECT)
        try:
            self.sock = self._context.wrap_socket(plain, server_hostname=self._name) if self._context is not None else plain
        except BaseException:
            plain.close()
            raise
        self.incoming = _Incoming(self.sock)
        self._read = io.BufferedReader(self.incoming, MORE)

    def allow(self, octets: int, seconds: float) -> None:
        """The next answer may have so many octets, and the command with its answer may take so long."""
        self.incoming.left, self.incoming.until = octets, time.monotonic() + seconds

    def send(self, data: Any) -> None:
        """In pieces, so that a server that takes one octet a minute does not have a whole time limit for each."""
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            self.sock.settimeout(self.incoming.seconds())
            self.sock.sendall(view[start : start + _PIECE])

    def read(self, size: int) -> bytes:
        """A literal. Its length is the server's word: nothing is kept ready for more than what was asked for."""
        if not 0 <= size <= self.incoming.left + MORE:
            raise imaplib.IMAP4.abort("the server speaks of more octets than were asked for")
        return self._read.read(size)

    def readline(self) -> bytes:
        """One line of at most a million octets."""
        line = self._read.readline(1_000_001)
        if len(line) > 1_000_000:
            raise imaplib.IMAP4.abort("the server sends a line without an end")
        return line

    def shutdown(self) -> None:
        """Closes the connection."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class Client(imapclient.IMAPClient):  # type: ignore[misc]
    """IMAPClient on such a connection; *name* is what the certificate must carry."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None, name: str) -> None:
        self._of = (host, port, context, name)
        super().__init__(host, port, ssl=context is not None, ssl_context=context, timeout=CONNECT)
        # IMAPClient turns imaplib's log on: that would be a text of every message's octets.
        self.wire.debug = 0
        self.normalise_times = False

    def sign_in(self, login: str, password: str) -> None:
        """With AUTH=PLAIN where the server has it: LOGIN has no words for a password beyond ASCII. Raises one of ``FAULTS``; of these
        UnicodeEncodeError where only LOGIN is there and the password is such a one."""
        self.wire.allow(SMALL, ANSWER)
        if self.has_capability("AUTH=PLAIN"):
            self.plain_login(login, password)
        else:
            self.login(login, password)

    def _create_IMAP4(self) -> Wire:  # noqa: N802 - IMAPClient's own name
        self.wire = Wire(*self._of)
        return self.wire


def refused(error: BaseException) -> bool:
    """Whether *error* is the server's own no (NO, BAD): the connection is as it was, and nothing is in doubt."""
    return isinstance(error, IMAPClientError | imaplib.IMAP4.error) and not isinstance(error, imaplib.IMAP4.abort)
