"""The journal: one copy of each accepted official message for each archive that wants it, in the same commit.

What it is: ``Journal``, which makes the rows of journal copies with the fields that stand above the message in them, and their audit.
Who calls it: ``act`` (the commit) and ``releasing``; ``archiving`` files what waits.
Must never: copy what is sealed, refused, SECRET or TOP SECRET, or only stored (IMAP); copy a message twice into one archive; change an
octet of the message: our fields stand above it.
Sources: Gujarat Circular of 2018, clause 2; RFC 5322 section 2.1.1; RFC 6533 section 3 (addresses that are no ASCII).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway import logs
from gateway.audit import events
from gateway.envelope import Door, Transaction, new_id
from gateway.levels import Level
from gateway.options import Archive
from gateway.stores.base import AuditEvent, HoldRow, MessageRow
from gateway.stores.journal import CopyState, JournalRow
from gateway.verdict import Edit, RecipientVerdict, Verdict

FIELD = "X-Gateway-Journal"
"""The first field of a copy; its value begins with the reference."""
_LAST = 253_402_300_799.0  # the end of the year 9999
_log = logs.get("journal")


@dataclass(frozen=True, slots=True)
class Journaled:
    """What becomes durable with the deliveries."""

    rows: list[JournalRow] = field(default_factory=list)
    audit: list[AuditEvent] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _About:
    """The message that is copied."""

    id: str
    reference: str
    body_id: str
    department: str
    door: str
    accepted: float
    level: Level | None
    sha256: str
    size: int
    sender: str
    recipients: Sequence[tuple[str, str]]
    """Address and what became of it, for all recipients."""
    rules: str


class Journal:
    """Makes the copies for *archives*, the ``[[archive]]`` of the config."""

    def __init__(self, archives: Sequence[Archive] = ()) -> None:
        self._archives = tuple(archives)
        self._names = {one.name for one in self._archives}
        self._said: set[str] = set()
        self.wake: Callable[[], None] = lambda: None
        """Called when something waits to be filed; ``archiving`` puts its own there."""

    def make(self, tx: Transaction, verdict: Verdict, delivered: Sequence[RecipientVerdict], now: float) -> Journaled:
        """The copies of a message that goes on to *delivered* now (to nobody: none)."""
        level = events.level_of(verdict)
        if not delivered or not self._archives or verdict.sealed or verdict.session_refusal or tx.door is Door.IMAP:
            return Journaled()
        wanted = self._wanted(tx.verified_originator, (name for one in delivered for name in one.archive))
        about = _About(
            tx.id, tx.reference, tx.id, tx.department, tx.door.value, tx.received_at, level, tx.sha256, tx.size, tx.envelope.sender.text,
            [(one.address, one.disposition.text) for one in verdict.recipients], verdict.rules_version,
        )  # fmt: skip
        return self._made(about, wanted, now)

    def released(
        self, message: MessageRow, hold: HoldRow, recipients: Sequence[tuple[str, str]], rules: str, names: Iterable[str], now: float
    ) -> Journaled:
        """The copies of a held message that is released now; *recipients*: all of them, each with what became of it; *names*: the
        archives that rules ask for. Those that it has already stay as they are."""
        if not self._archives or hold.sealed:
            return Journaled()
        about = _About(
            message.id, message.reference, message.body_id, message.department, message.door, message.created,
            None if hold.level is None else Level(hold.level), message.sha256, message.size, message.sender, recipients, rules,
        )  # fmt: skip
        return self._made(about, self._wanted(message.verified_originator, names), now)

    def written(self, made: Journaled) -> None:
        """After the commit of *made*."""
        if any(row.state is CopyState.WAITING for row in made.rows):
            self.wake()

    def _wanted(self, official: bool, names: Iterable[str]) -> list[Archive]:
        asked = set(names)
        for name in sorted(asked - self._names - self._said):
            self._said.add(name)
            _log.error("a rule asks for journal copies in an archive that the config does not have: see gateway check", archive=name)
        return [one for one in self._archives if one.name in asked or (official and one.which == "official")]

    def _made(self, about: _About, archives: Sequence[Archive], now: float) -> Journaled:
        out = Journaled()
        if about.level is not None and about.level >= Level.SECRET:
            return out
        for archive in archives:
            kept = archive.kind == "store"
            until = min(now + archive.retain, _LAST)
            row = JournalRow(
                id=new_id(), message_id=about.id, reference=about.reference, body_id=about.body_id, name=archive.name,
                state=CopyState.KEPT if kept else CopyState.WAITING, created=now, department=about.department, level=about.level,
                sha256=about.sha256, size=about.size, edits=_edits(about, archive.name, until), retain_until=until, next_attempt=now,
                filed=now if kept else 0.0, filed_sha256=about.sha256 if kept else "", filed_size=about.size if kept else 0,
            )  # fmt: skip
            out.rows.append(row)
            if kept:
                out.audit.append(event(row, now))
        return out


def event(row: JournalRow, now: float) -> AuditEvent:
    """What the decision log says of a copy that is in its place."""
    return events.act(
        "message-archived", now, "", "", reference=row.reference, department=row.department, kind="info", archive=row.name, copy=row.id,
        sha256=row.sha256, filed_sha256=row.filed_sha256, filed_size=row.filed_size, retain_until=int(row.retain_until),
    )  # fmt: skip


def _edits(about: _About, name: str, until: float) -> tuple[Edit, ...]:
    """The fields above the message, as edits: each is put above those before it."""
    level = "none" if about.level is None else about.level.text.replace(" ", "-")
    fields = [
        (FIELD, f"{about.reference}; sha256={about.sha256}; level={level}; class={name}; retain-until={_time(until)}"),
        ("X-Gateway-Accepted", f"{_time(about.accepted)}; door={about.door}"),
        ("X-Gateway-Rules", about.rules or "none"),
        ("X-Gateway-Envelope-From", f"<{plain(about.sender)}>"),
        *(("X-Gateway-Envelope-To", f"<{plain(address)}>; disposition={became}") for address, became in about.recipients),
    ]
    return tuple(Edit("add", header, value) for header, value in reversed(fields))


def plain(address: str) -> str:
    """*address* in printable ASCII: other characters as RFC 6533 writes them, ``\\x{E9}``."""
    return "".join(c if "!" <= c <= "~" and c != "\\" else f"\\x{{{ord(c):02X}}}" for c in address)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
