"""The mailbox that ``gateway sweep`` reads: a connection that can only look.

What it is: ``parse`` (the address of a server), ``Server`` (login, list, EXAMINE, sizes, octets) and the errors it has, in sentences.
Who calls it: ``sweep``.
Must never: open a mailbox with SELECT, set a flag, store, copy or expunge anything; show a password to a server whose certificate was
not accepted, or in clear beyond this machine; keep an answer that is longer than what was asked for.
Sources: RFC 9051 (EXAMINE, BODY.PEEK), RFC 6154 (SPECIAL-USE), RFC 8314; hostile-inputs catalogue I01, I02, I04.
"""

from __future__ import annotations

import contextlib
import imaplib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import urlsplit

import imapclient

from gateway.relay.imap_limits import ANSWER, MORE, SLOWEST, SMALL, TOP, WINDOW
from gateway.relay.imap_wire import FAULTS, Client, refused

_SENT = ("sent", "sent items", "sent messages", "sent mail", "inbox.sent", "inbox/sent")
_DRAFTS = ("drafts", "draft", "inbox.drafts", "inbox/drafts")


class ServerError(Exception):
    """The server cannot be read. The text is one plain sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'imaps' if self.tls else 'imap'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox of the list. *own*: what its owner wrote (Sent, Drafts), by its special use or else by its name."""

    name: str
    own: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """What EXAMINE said."""

    uidvalidity: int
    highest: int
    """No message has a higher UID."""
    count: int


@dataclass(frozen=True, slots=True)
class Size:
    """What is known of a message before it is fetched."""

    octets: int
    date: datetime | None
    """When it came into the mailbox, as the server says."""


def parse(url: str) -> Place:
    """The place that *url* names. Raises ServerError."""
    from gateway.options import is_loopback

    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ServerError(f"{url!r} is not an address such as imaps://mail.example.gov.in: {error}") from error
    if "@" in parts.netloc:
        raise ServerError("Take the login out of the address: write --login NAME, and the password into a file for --password-file.")
    if parts.scheme not in ("imap", "imaps") or not host:
        raise ServerError(f"{url!r} is not an address such as imaps://mail.example.gov.in")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ServerError(f"Take {url[url.index(parts.netloc) + len(parts.netloc) :]!r} out of the address: write --mailbox NAME.")
    tls = parts.scheme == "imaps"
    if not tls and not is_loopback(f"[{host}]:143" if ":" in host else f"{host}:143"):
        raise ServerError("imap:// sends the password in clear, so it is for a server on this machine only; write imaps://")
    return Place(host, port if port is not None else 993 if tls else 143, tls)


class Server:
    """One login's mailboxes, to be looked at."""

    def __init__(self, place: Place, authorities: FilePath | None = None) -> None:
        """Connects. Raises ServerError."""
        from gateway.relay.hop_tls import Contexts, Trust

        self.place = place
        try:
            context = Contexts().get(authorities, Trust.VERIFIED) if place.tls else None
        except (OSError, ssl.SSLError) as error:
            raise ServerError(f"--ca {authorities}: no authorities can be read from it: {_why(error)}") from error
        try:
            self._client = Client(place.host, place.port, context, place.host)
        except ssl.SSLCertVerificationError as error:
            raise ServerError(
                f"{place}: its certificate is not accepted ({error.verify_message}): name its authority with --ca FILE, or use the name "
                "that stands in the certificate."
            ) from error
        except FAULTS as error:
            raise ServerError(f"{place} cannot be reached ({_why(error)}): see that an IMAP server answers there.") from error
        if self._client.wire.state != "NONAUTH":
            self.close()
            raise ServerError(f"{place} says that somebody is signed in before anybody was: that is not read.")

    def login(self, login: str, password: str) -> None:
        """Signs in. Raises ServerError."""
        try:
            self._client.sign_in(login, password)
        except UnicodeEncodeError as error:
            raise ServerError(f"{self.place} takes passwords of plain letters only (it does not offer AUTH=PLAIN).") from error
        except imapclient.exceptions.LoginError as error:
            if isinstance(error.__context__, imaplib.IMAP4.abort) or "[UNAVAILABLE]" in str(error).upper():
                raise self._gone(error, "to sign in") from error
            raise ServerError(f"{self.place} does not take this login and password: see --login and --password-file.") from error
        except FAULTS as error:
            raise self._gone(error) from error

    def mailboxes(self) -> list[Mailbox]:
        """Every mailbox that can be opened, in the order of their names. Raises ServerError."""
        try:
            self._client.wire.allow(SMALL, ANSWER)
            listed = self._client.list_folders()
        except FAULTS as error:
            raise self._gone(error) from error
        found = []
        uses = {use for flags, _, _ in listed for use in map(_lower, flags)} & {b"\\sent", b"\\drafts"}
        for flags, _, name in listed:
            marks = {_lower(flag) for flag in flags}
            if marks & {b"\\noselect", b"\\nonexistent"}:
                continue
            text = name if isinstance(name, str) else str(name)
            low = text.lower()
            # Where the server says which one is Sent, another mailbox of that name is just a mailbox.
            sent = b"\\sent" in marks or (b"\\sent" not in uses and low in _SENT)
            drafts = b"\\drafts" in marks or (b"\\drafts" not in uses and low in _DRAFTS)
            found.append(Mailbox(text, sent or drafts))
        return sorted(found, key=lambda one: one.name)

    def examine(self, name: str) -> Opened:
        """Opens a mailbox for reading only. Raises ServerError."""
        try:
            self._client.wire.allow(SMALL, ANSWER)
            said = self._client.select_folder(name, readonly=True)
            validity, following, count = said.get(b"UIDVALIDITY"), said.get(b"UIDNEXT"), said.get(b"EXISTS", 0)
        except FAULTS as error:
            raise self._gone(error, f"for the mailbox {name!r}") from error
        if b"READ-ONLY" not in said:
            raise ServerError(f"{self.place} did not open the mailbox {name!r} for reading only, so it is left alone.")
        if not isinstance(validity, int) or not isinstance(count, int):
            raise ServerError(f"{self.place} says nothing by which the messages of {name!r} can be named (no UIDVALIDITY).")
        return Opened(validity, following - 1 if isinstance(following, int) and following > 0 else TOP, count)

    def uids(self, opened: Opened, after: int, since: date | None) -> list[int]:
        """The UIDs above *after* of messages that came on *since* or later, in order. Raises ServerError."""
        found: set[int] = set()
        width = WINDOW if opened.count > WINDOW else TOP
        low = after + 1
        try:
            while opened.count and low <= opened.highest:
                high = min(low + width - 1, opened.highest)
                wanted = f"UID {low}:{high}" + (f" SINCE {_imap_date(since)}" if since is not None else "")
                self._client.wire.allow(SMALL, ANSWER)
                found.update(uid for uid in self._client.search(wanted.encode("ascii")) if low <= uid <= high)
                low = high + 1
        except FAULTS as error:
            raise self._gone(error) from error
        return sorted(found)

    def sizes(self, uids: list[int]) -> dict[int, Size]:
        """What is known of each of *uids*; one that has gone is not there. Raises ServerError."""
        try:
            self._client.wire.allow(SMALL, ANSWER)
            answer = self._client.fetch(uids, [b"RFC822.SIZE", b"INTERNALDATE"])
        except FAULTS as error:
            raise self._gone(error) from error
        found = {}
        for uid in uids:
            row = answer.get(uid, {})
            octets, when = row.get(b"RFC822.SIZE"), row.get(b"INTERNALDATE")
            if isinstance(octets, int):
                found[uid] = Size(octets, when if isinstance(when, datetime) else None)
        return found

    def octets(self, uid: int, size: int, most: int) -> bytes | None:
        """The message *uid*, said to have *size* octets, as it lies there: its first *most* and one; None when it has gone.

        Raises ServerError.
        """
        try:
            self._client.wire.allow(most + MORE, ANSWER + min(size, most) / SLOWEST)
            answer = self._client.fetch([uid], [f"BODY.PEEK[]<0.{most + 1}>".encode("ascii")])
        except FAULTS as error:
            raise self._gone(error, f"for the message with UID {uid}") from error
        for name, value in answer.get(uid, {}).items():
            if name.startswith(b"BODY[]") and isinstance(value, bytes):
                return value
        return None

    def close(self) -> None:
        """Says good-bye. Nothing is expunged: CLOSE is never said."""
        with contextlib.suppress(Exception):
            self._client.wire.allow(SMALL, 5.0)
            self._client.logout()
        with contextlib.suppress(Exception):
            self._client.wire.shutdown()

    def _gone(self, error: BaseException, what: str = "") -> ServerError:
        of = f", asked {what}," if what else ""
        return ServerError(f"{self.place}{of} {'said no' if refused(error) else 'gave no answer that can be used'} ({_why(error)}).")


def batches(uids: list[int], size: int = 200) -> Iterator[list[int]]:
    """*uids* in pieces."""
    for start in range(0, len(uids), size):
        yield uids[start : start + size]


def _lower(flag: Any) -> bytes:
    return flag.lower() if isinstance(flag, bytes) else str(flag).lower().encode("utf-8", "replace")


def _imap_date(day: date) -> str:
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # whatever the locale says
    return f"{day.day:02d}-{months[day.month - 1]}-{day.year:04d}"


def _why(error: BaseException) -> str:
    """What *error* says, in a few words that a terminal cannot misread."""
    from gateway.cli.output import safe

    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, OSError) and error.strerror:
        return safe(error.strerror)[:200]
    return safe(error)[:200] or type(error).__name__
