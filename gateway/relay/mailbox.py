"""An archive mailbox: what the keeper asks of an IMAP server, one call after the other, each within its time.

What it is: ``Place`` (where and as whom), ``Mailbox`` (one session: append, look for, hash) over IMAPClient, and ``MailboxError``.
Who calls it: ``keeper.archiving`` and ``keeper.archive_check``, in threads; ``gateway check``.
Must never: speak in clear with another machine; go on with a certificate that does not verify; change or remove a message; read a
whole message into memory to hash it.
Sources: RFC 9051 sections 6.3.12 (APPEND), 6.4.4 (SEARCH HEADER), 6.4.5 (FETCH); RFC 4315 (APPENDUID); IMAPClient 4.1.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import unquote

from gateway.options import Archive
from gateway.vault.vault import VaultError, read_secret

CONNECT = 20.0
"""Seconds for the connection and its TLS handshake."""
ANSWER = 120.0
"""Seconds of silence of the server within one command."""
_PIECE = 1 << 20
_AT_ONCE = 500
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


class _Tls:
    """A context that checks certificates against *name*, whatever address was connected to."""

    def __init__(self, place: Place) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        if place.authorities is None:
            self._context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            self._context.load_verify_locations(cafile=place.authorities)
        self._name = place.name

    def wrap_socket(self, sock: socket.socket, server_hostname: str = "") -> ssl.SSLSocket:
        """As the context's own."""
        return self._context.wrap_socket(sock, server_hostname=self._name)


class Mailbox:
    """One session with an archive; blocking. ``open`` first, ``close`` in the end; ``abort`` from another thread ends any call."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._client: Any = None
        self._aborted = False
        self.uidvalidity = 0
        self.protected = ""
        """Version and cipher of TLS; empty without."""

    def open(self, *, readonly: bool = False) -> None:
        """Connects, signs in and selects the mailbox. Raises MailboxError (away)."""
        import imapclient  # a library that only this process needs, where an archive is configured

        place = self._place
        password = place.password()
        with self._errors("cannot be reached", away=True):
            self._client = client = imapclient.IMAPClient(
                place.host, place.port, ssl=place.tls, ssl_context=_Tls(place) if place.tls else None,
                timeout=imapclient.SocketTimeout(CONNECT, ANSWER),
            )  # fmt: skip
            client._imap.debug = 0  # no line of a session is written anywhere
            if self._aborted:
                raise MailboxError("the session was ended", away=True)
            sock = client.socket()
            if isinstance(sock, ssl.SSLSocket) and (suite := sock.cipher()):
                self.protected = f"{suite[1]} {suite[0]}"
        with self._errors("does not take the login", away=True):
            if client.has_capability("AUTH=PLAIN"):  # LOGIN has no words for a password beyond ASCII
                client.plain_login(place.login, password)
            else:
                client.login(place.login, password)
        with self._errors(f"has no mailbox {place.mailbox} that may be used", away=True):
            said = client.select_folder(place.mailbox, readonly=readonly)
            self.uidvalidity = int(said.get(b"UIDVALIDITY", 0))

    def append(self, content: bytes) -> tuple[int, int]:
        """Files *content*; UIDVALIDITY and UID where the server says them, else 0. Raises MailboxError."""
        if _RAW.search(content):
            raise MailboxError("the message holds a NUL octet or a bare line end, which no IMAP server stores as it is")
        with self._errors("did not file the message", doubtful=True):
            said = self._client.append(self._place.mailbox, content, flags=(b"\\Seen",))
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
            self._client.noop()  # what other sessions have filed is seen from here on
            return sorted(int(uid) for uid in self._client.search(["HEADER", field, value]))

    def read(self, uid: int) -> Found | None:
        """Hash and size of the message *uid*, read in pieces; None where it is not there. Raises MailboxError."""
        digest, size = hashlib.sha256(), 0
        with self._errors("could not be read"):
            while True:
                said = self._client.fetch([uid], [f"BODY.PEEK[]<{size}.{_PIECE}>"]).get(uid)
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
            # "n:*" holds the last message even where its UID is below n.
            uids = sorted(int(uid) for uid in self._client.search(["UID", f"{after + 1}:*"]) if int(uid) > after)
            some = uids[:_AT_ONCE]
            said = self._client.fetch(some, [f"BODY.PEEK[HEADER.FIELDS ({field})]"]) if some else {}
        found = []
        for uid in some:
            octets = next((v for k, v in said.get(uid, {}).items() if k.startswith(b"BODY[HEADER")), b"")
            lines = (octets or b"").replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").split(b"\r\n")
            found.append((uid, lines[0].partition(b":")[2].strip().decode("ascii", "replace")))
        return found, some[-1] if len(uids) > len(some) else 0

    def close(self) -> None:
        """Signs out; never raises."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.logout()
            self.abort()

    def abort(self) -> None:
        """Ends the session at once, from whatever thread; never raises."""
        self._aborted = True
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.socket().shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(Exception):
                self._client.shutdown()

    @contextlib.contextmanager
    def _errors(self, what: str, *, doubtful: bool = False, away: bool = False) -> Iterator[None]:
        """One sentence for whatever goes wrong. A refusal of the server (NO, BAD) leaves nothing in doubt; a connection that breaks
        does, and cannot be used again."""
        import imapclient.exceptions as failures

        where = f"the archive at {self._place.host}:{self._place.port} {what}"
        try:
            yield
        except MailboxError:
            raise
        except failures.IMAPClientAbortError as error:
            raise MailboxError(f"{where}: {_words(error)}", doubtful=doubtful, away=True) from error
        except failures.IMAPClientError as error:
            raise MailboxError(f"{where}: {_words(error)}", away=away) from error
        except (OSError, ValueError, EOFError, LookupError, AttributeError) as error:
            raise MailboxError(f"{where}: {_words(error)}", doubtful=doubtful, away=True) from error


def _words(error: BaseException) -> str:
    """What *error* says, as one short line of printable characters."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())[:200]
