"""An archive mailbox: what the keeper asks of an IMAP server, one call after the other, each within its time.

What it is: ``Place`` (where and as whom), ``Mailbox`` (one session: append, look for, hash) over IMAPClient, and ``MailboxError``.
Who calls it: ``keeper.archiving`` and ``keeper.archive_check``, in threads; ``gateway check``. The connection is ``imap_wire``.
Must never: speak in clear with another machine; go on with a certificate that does not verify; change or remove a message; hold a
whole message in memory to hash it, or more of an answer than was asked for.
Sources: RFC 9051 sections 6.3.12 (APPEND), 6.4.4 (SEARCH HEADER), 6.4.5 (FETCH); RFC 4315 (APPENDUID); IMAPClient 4.1.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from gateway.options import Archive
from gateway.relay.hop_tls import Contexts, Trust
from gateway.relay.imap_limits import ANSWER, MORE, SLOWEST, SMALL
from gateway.vault.vault import VaultError, read_secret

if TYPE_CHECKING:
    from gateway.relay.imap_wire import Client

_PIECE = 1 << 20
_AT_ONCE = 500
_WINDOW = 10_000  # UIDs that are searched at once in a mailbox that has more messages
_NUMBERS = 200_000  # octets of an answer with the UIDs of one window, or of one reference
_VALUE = 1000  # octets of a field that are looked at
_APPENDED = re.compile(rb"\[APPENDUID (\d{1,10}) (\d{1,10})\]", re.IGNORECASE)
_RAW = re.compile(rb"\x00|\r(?!\n)|(?<!\r)\n")


class MailboxError(Exception):
    """It did not work; the text is one plain sentence. *doubtful*: a message may be there all the same. *away*: the server cannot be
    used at all now, whatever the message."""

    def __init__(self, message: str, *, doubtful: bool = False, away: bool = False) -> None:
        super().__init__(message)
        self.doubtful = doubtful
        self.away = away


@dataclass(frozen=True, slots=True)
class Place:
    """Where an archive is, and as whom it is entered."""

    host: str
    port: int
    tls: bool
    mailbox: str
    login: str
    secret: FilePath | None
    credential: str
    authorities: FilePath | None
    name: str
    """That the certificate must carry."""

    @classmethod
    def of(cls, archive: Archive) -> Place:
        """The place that an ``[[archive]]`` of kind imap names."""
        scheme, _, rest = archive.url.partition("://")
        where, _, mailbox = rest.partition("/")
        host, colon, port = where.rpartition(":")
        if not colon or not port.isdigit():
            host, port = where, "993" if scheme == "imaps" else "143"
        host = host.strip("[]")
        return cls(
            host, int(port), scheme == "imaps", unquote(mailbox), archive.login, archive.password_file, archive.credential,
            archive.tls_ca, archive.tls_name or host,
        )  # fmt: skip

    def password(self) -> str:
        """Read anew for each session, so that a changed one is taken. Raises MailboxError."""
        path = self.secret
        if path is None:
            folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
            if not folder:
                raise MailboxError(f"the credential {self.credential} was not passed to this process; see LoadCredential=", away=True)
            path = FilePath(folder) / self.credential
        try:
            return read_secret(path).decode("utf-8").strip("\r\n")
        except (VaultError, UnicodeDecodeError) as error:
            raise MailboxError(str(error) if isinstance(error, VaultError) else f"{path}: is not UTF-8", away=True) from error


@dataclass(frozen=True, slots=True)
class Found:
    """A message of the mailbox."""

    uid: int
    sha256: str
    size: int


class Mailbox:
    """One session with an archive; blocking. ``open`` first, ``close`` in the end; ``abort`` from another thread ends any call."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._client: Client | None = None
        self._aborted = False
        self._busy = threading.Lock()
        """Held while a thread is in the connection: its descriptor is not closed under it, or it might read another's."""
        self._highest = 0
        """The highest UID at the time of ``open``; 0: not told, or a small mailbox."""
        self.uidvalidity = 0
        self.protected = ""
        """Version and cipher of TLS; empty without."""

    def open(self, *, readonly: bool = False) -> None:
        """Connects, signs in and selects the mailbox. Raises MailboxError (away)."""
        from gateway.relay.imap_wire import Client  # a library that only this process needs, where an archive is configured

        place = self._place
        password = place.password()
        with self._errors("cannot be reached", away=True):
            context = Contexts().get(place.authorities, Trust.VERIFIED) if place.tls else None
            self._client = client = Client(place.host, place.port, context, place.name)
            if self._aborted:
                raise MailboxError("the session was ended", away=True)
            sock = client.socket()
            if isinstance(sock, ssl.SSLSocket) and (suite := sock.cipher()):
                self.protected = f"{suite[1]} {suite[0]}"
        with self._errors("does not take the login", away=True):
            client.sign_in(place.login, password)
        with self._errors(f"has no mailbox {place.mailbox} that may be used", away=True):
            client.wire.allow(SMALL, ANSWER)
            said = client.select_folder(place.mailbox, readonly=readonly)
            self.uidvalidity = int(said.get(b"UIDVALIDITY", 0))
            self._highest = int(said.get(b"UIDNEXT", 0)) - 1 if int(said.get(b"EXISTS", 0)) > _WINDOW else 0

    def append(self, content: bytes) -> tuple[int, int]:
        """Files *content*; UIDVALIDITY and UID where the server says them, else 0. Raises MailboxError."""
        if _RAW.search(content):
            raise MailboxError("the message holds a NUL octet or a bare line end, which no IMAP server stores as it is")
        with self._errors("did not file the message", doubtful=True):
            said = self._allowed(SMALL, len(content)).append(self._place.mailbox, content, flags=(b"\\Seen",))
        found = _APPENDED.search(said if isinstance(said, bytes) else b"")
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def look_for(self, field: str, value: str, sha256: str) -> Found | None:
        """The first message whose header *field* holds *value* and whose octets have the hash *sha256*. Raises MailboxError."""
        for uid in self.with_field(field, value):
            found = self.read(uid)
            if found is not None and found.sha256 == sha256:
                return found
        return None

    def with_field(self, field: str, value: str) -> list[int]:
        """The UIDs of messages whose header *field* holds *value*. Raises MailboxError."""
        with self._errors("could not be searched"):
            self._allowed(SMALL).noop()  # what other sessions have filed is seen from here on
            return sorted(int(uid) for uid in self._allowed(_NUMBERS).search(["HEADER", field, value]))

    def read(self, uid: int) -> Found | None:
        """Hash and size of the message *uid*, read in pieces; None where it is not there. Raises MailboxError."""
        digest, size = hashlib.sha256(), 0
        with self._errors("could not be read"):
            while True:
                said = self._allowed(_PIECE + MORE, _PIECE).fetch([uid], [f"BODY.PEEK[]<{size}.{_PIECE}>"]).get(uid)
                piece = None if said is None else next((v for k, v in said.items() if k.startswith(b"BODY[]")), None)
                if piece is None:
                    if size:
                        raise MailboxError("a message went away while it was read")
                    return None
                digest.update(piece)
                size += len(piece)
                if len(piece) < _PIECE:
                    return Found(uid, digest.hexdigest(), size)

    def values(self, field: str, after: int) -> tuple[list[tuple[int, str]], int]:
        """The first value of *field* in each of the next messages by UID after *after* (empty where it has none), and the UID to go on
        after; 0 where there are no more. Raises MailboxError."""
        with self._errors("could not be listed"):
            uids, more = self._following(after)
            some = uids[:_AT_ONCE]
            # Only so much of it: a message that somebody else has sent may hold any number of fields of that name.
            asked = f"BODY.PEEK[HEADER.FIELDS ({field})]<0.{_VALUE}>"
            said = self._allowed(SMALL).fetch(some, [asked]) if some else {}
        found = []
        for uid in some:
            octets = next((v for k, v in said.get(uid, {}).items() if k.startswith(b"BODY[HEADER")), b"")
            lines = (octets or b"").replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").split(b"\r\n")
            found.append((uid, lines[0].partition(b":")[2].strip().decode("ascii", "replace")))
        return found, some[-1] if more or len(uids) > len(some) else 0

    def _following(self, after: int) -> tuple[list[int], bool]:
        """The next UIDs after *after*, at least one where there is one, and whether there may be more behind them. In a large mailbox
        they are searched in windows: an answer to SEARCH is one line, and no line is endless."""
        low = after + 1
        while low + _WINDOW <= self._highest:
            high = low + _WINDOW - 1
            if found := sorted(uid for uid in self._allowed(_NUMBERS).search(["UID", f"{low}:{high}"]) if low <= uid <= high):
                return found, True
            low = high + 1
        # "n:*" holds the last message even where its UID is below n.
        return sorted(int(uid) for uid in self._allowed(SMALL).search(["UID", f"{low}:*"]) if int(uid) >= low), False

    def _allowed(self, octets: int, message: int = 0) -> Client:
        """The session, for one command: *octets* of answer; *message*: octets of a message that go up or come down."""
        assert self._client is not None
        self._client.wire.allow(octets, ANSWER + message / SLOWEST)
        return self._client

    def close(self) -> None:
        """Signs out; never raises."""
        client = self._client
        if client is not None:
            if self._busy.acquire(timeout=1.0):
                with contextlib.suppress(Exception):
                    client.wire.allow(SMALL, 5.0)
                    client.logout()
                self._busy.release()
            self.abort()

    def abort(self) -> None:
        """Ends the session at once, from whatever thread; never raises. Who is in the connection meanwhile closes it."""
        self._aborted = True
        client = self._client
        if client is not None:
            with contextlib.suppress(Exception):
                client.socket().shutdown(socket.SHUT_RDWR)
            if self._busy.acquire(blocking=False):
                client.wire.shutdown()
                self._busy.release()

    @contextlib.contextmanager
    def _errors(self, what: str, *, doubtful: bool = False, away: bool = False) -> Iterator[None]:
        """One sentence for whatever goes wrong. A refusal of the server (NO, BAD) leaves nothing in doubt; a connection that breaks
        does, and cannot be used again."""
        from gateway.relay.imap_wire import FAULTS, refused

        where = f"the archive at {self._place.host}:{self._place.port} {what}"
        try:
            with self._busy:
                yield
        except FAULTS as error:
            broken = not refused(error)
            raise MailboxError(f"{where}: {_words(error)}", doubtful=doubtful and broken, away=away or broken) from error
        finally:
            if self._aborted:
                self.abort()


def _words(error: BaseException) -> str:
    """What *error* says, as one short line of printable characters."""
    if isinstance(error, TimeoutError):
        return "it took too long"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())[:200]
