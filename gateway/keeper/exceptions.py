"""The exception register: who may write to whom beyond the rules, approved by another person, until when.

What it is: the register in memory with its version, adding and ending entries and profiles, the note of what an MTA's settings prove,
and expiry.
Who calls it: ``service`` (doors fetch it, the command line changes it), ``act`` (version), ``housekeeping`` (expiry).
Must never: take an entry or a profile whose approver is its requester, or that has no end; show one after its end; know a profile
that relaxes a rule on classified mail (what a profile does is the rules' to say); let a person make or end the note.
Source: docs/design.md sections 4 and 5; rules/README.md, R13 and R31.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from gateway import logs
from gateway.audit import events
from gateway.envelope import new_id
from gateway.policy.register import MTA_PATH, PROFILES
from gateway.requests import AddException, EndProfile, ExceptionRow, Exceptions, ExpireException, NoteMta, ProfileRow, StartProfile
from gateway.stores.base import Batch, Store, StoreError, register_version
from gateway.text.normalise import fold, is_word_char

_LABELS = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*"
_PATTERN = re.compile(rf"\*|(?:[^\s@\x00-\x1f\x7f]{{0,64}}@|\.)?{_LABELS}", re.IGNORECASE)
_LONG = 1000
FOREVER = 10 * 366 * 86400.0
"""Seconds after which an entry has to be asked for again, whoever approves it."""
LONGEST_PROFILE = 30 * 86400.0
"""Seconds after which a profile has to be approved anew. No option: a disaster that lasts longer needs another decision, not
another config."""
NOTE = 8 * 86400.0
"""Seconds for which a note on an MTA's settings holds: gateway doctor, run daily, may fail for a week."""
DOCTOR = "gateway doctor"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_log = logs.get("register")


class Wrong(Exception):
    """What was asked for cannot be done; the text is one plain sentence, *code* as in requests.Failed."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class Register:
    """The register. ``load`` once; ``current`` is what doors decide by."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._current = Exceptions(register_version(()), ())
        self._first_end = float("inf")

    async def load(self) -> None:
        """Reads the register, and ends what has expired meanwhile. Raises StoreError."""
        rows, profiles = tuple(await self._store.exceptions()), tuple(await self._store.profiles())
        self._current = Exceptions(register_version(rows, profiles), rows, profiles)
        self._first_end = min((*(row.expires for row in rows), *(row.expires for row in profiles)), default=float("inf"))
        await self.expire()

    async def renew(self) -> None:
        """Another node has changed the register: ``load``, and again until the store can be read."""
        while True:
            try:
                await self.load()
            except StoreError:
                await asyncio.sleep(1.0)
            else:
                return

    async def agree(self) -> None:
        """After a commit that met another version: ``load`` where the store has one. Raises StoreError."""
        if self._store.exceptions_version != self._current.version:
            await self.load()

    @property
    def current(self) -> Exceptions:
        """The active entries, the profiles that are on, and the version of both."""
        return self._current

    @property
    def first_end(self) -> float:
        """When the next entry or profile ends (seconds since the epoch); infinity when there is none."""
        return self._first_end

    async def expire(self) -> int:
        """Ends the entries and profiles whose time has come. Returns how many."""
        now = self._clock()
        if now < self._first_end:
            return 0
        over = [row for row in self._current.rows if row.expires <= now]
        off = [row for row in self._current.profiles if row.expires <= now]
        log = [
            events.act("exception-expired", now, "", row.reason, sender=row.sender, recipient=row.recipient, exception=row.id)
            for row in over
        ]
        log += [events.act("profile-expired", now, "", row.reason, profile=row.id, name=row.name) for row in off]
        await self._store.write(
            Batch(
                exceptions=[replace(row, state="expired") for row in over],
                profiles=[replace(row, state="expired") for row in off],
                audit=log,
            )
        )
        for row in off:
            _log.warning("a profile is over", **{"gateway.profile": row.name, "gateway.profile_id": row.id})
        await self.load()
        return len(over) + len(off)

    async def add(self, request: AddException, user: str) -> ExceptionRow:
        """A new entry. Raises Wrong, StoreError."""
        now = self._clock()
        words = {
            "from": request.sender, "to": request.recipient, "reason": request.reason, "requester": request.requester,
            "approver": request.approver,
        }  # fmt: skip
        _check_words("exceptions", words)
        for name in ("from", "to"):
            if not _PATTERN.fullmatch(words[name].strip()):
                raise Wrong(f"exceptions: {name}: write a@b, @b or b (a domain), .b (its sub-domains) or *, domains as A-labels")
        if request.sender.strip() == "*" and request.recipient.strip() == "*":
            raise Wrong("exceptions: an entry from everybody to everybody would switch the rules off; name a sender or a recipient")
        _check_two(request.requester, request.approver, "an exception")
        if not now < request.expires <= now + FOREVER:
            raise Wrong("exceptions: the end must be in the future, at most ten years from now")
        row = ExceptionRow(
            new_id(), _folded(request.sender), _folded(request.recipient), request.reason.strip(), request.requester.strip(),
            request.approver.strip(), now, request.expires,
        )  # fmt: skip
        log = events.act(
            "exception-added", now, user, row.reason, sender=row.sender, recipient=row.recipient, exception=row.id,
            requester=row.requester, approver=row.approver, expires=int(row.expires),
        )  # fmt: skip
        await self._store.write(Batch(exceptions=[row], audit=[log]))
        await self.load()
        return row

    async def end(self, request: ExpireException, user: str) -> None:
        """Ends an entry now. Raises Wrong, StoreError."""
        now = self._clock()
        row = next((row for row in self._current.rows if row.id == request.id), None)
        if row is None:
            raise Wrong(f"there is no active exception {request.id[:64]!r}", 1)
        log = events.act("exception-ended", now, user, request.reason.strip(), sender=row.sender, recipient=row.recipient, exception=row.id)
        await self._store.write(Batch(exceptions=[replace(row, state="expired", expires=min(row.expires, now))], audit=[log]))
        await self.load()

    # --- profiles -----------------------------------------------------------------------------------------------------

    async def start(self, request: StartProfile, user: str) -> ProfileRow:
        """Turns a profile on. Raises Wrong, StoreError."""
        now, name = self._clock(), request.name.strip().lower()
        if name not in PROFILES:
            raise Wrong(f"profiles: there is no profile {name[:64]!r}; there is: {', '.join(PROFILES)}")
        _check_words("profiles", {"reason": request.reason, "requester": request.requester, "approver": request.approver})
        _check_two(request.requester, request.approver, "a profile")
        if not now < request.expires <= now + LONGEST_PROFILE:
            raise Wrong("profiles: the end must be in the future, at most 30 days from now; start it anew when it is needed for longer")
        row = ProfileRow(new_id(), name, request.reason.strip(), request.requester.strip(), request.approver.strip(), now, request.expires)
        log = events.act(
            "profile-started", now, user, row.reason, profile=row.id, name=name, requester=row.requester, approver=row.approver,
            expires=int(row.expires),
        )  # fmt: skip
        await self._store.write(Batch(profiles=[row], audit=[log]))
        _log.warning("a profile is on", **{"gateway.profile": name, "gateway.profile_id": row.id, "gateway.until": row.expires})
        await self.load()
        return row

    async def finish(self, request: EndProfile, user: str) -> list[ProfileRow]:
        """Ends now the profile with that id, or every profile of that name that is on. Returns them. Raises Wrong, StoreError."""
        now = self._clock()
        ended = [
            replace(row, state="ended", expires=min(row.expires, now))
            for row in self._current.profiles
            if row.name in PROFILES and request.id.strip() in (row.id, row.name)
        ]
        if not ended:
            raise Wrong(f"no profile {request.id[:64]!r} is on", 1)
        log = [events.act("profile-ended", now, user, request.reason.strip()[:_LONG], profile=row.id, name=row.name) for row in ended]
        await self._store.write(Batch(profiles=ended, audit=log))
        for row in ended:
            _log.warning("a profile was ended", **{"gateway.profile": row.name, "gateway.profile_id": row.id})
        await self.load()
        return ended

    # --- the MTA before the milter door -------------------------------------------------------------------------------

    async def note(self, request: NoteMta, user: str) -> list[ProfileRow]:
        """Notes what was read in the MTA's settings: that they prove its way (in force at once, for ``NOTE``), or that they do not (the
        note is over). Returns the note, if there is one. Raises Wrong, StoreError."""
        now = self._clock()
        _check_words("mta", {"said": request.said})
        if not _SHA256.fullmatch(request.settings.removeprefix("sha256:")):
            raise Wrong("mta: settings is not a sha256")
        said = request.said.strip()
        known = [row for row in self._current.profiles if row.name == MTA_PATH]
        if request.protected:
            # Renewed, not made anew: a message that came a moment before was under the same note.
            first = known[0] if known else ProfileRow(new_id(), MTA_PATH, said, DOCTOR, "", now, now + NOTE)
            rows = [replace(first, reason=said, expires=now + NOTE)]
        else:
            rows = [replace(row, state="ended", expires=min(row.expires, now)) for row in known]
        action = "mta-path-proved" if request.protected else "mta-path-unproved"
        log = events.act(
            action, now, user, said, settings=request.settings, profile=rows[0].id if rows else "", name=MTA_PATH,
            expires=int(rows[0].expires) if rows else 0,
        )  # fmt: skip
        await self._store.write(Batch(profiles=rows, audit=[log]))
        if known and not request.protected:
            _log.warning("the mail server before the milter door is not proved any more", **{"gateway.reason": said})
        await self.load()
        return rows if request.protected else []


def _check_words(noun: str, words: Mapping[str, str]) -> None:
    for name, value in words.items():
        if not value.strip():
            raise Wrong(f"{noun}: {name} is missing")
        if len(value) > _LONG or not value.isprintable():
            raise Wrong(f"{noun}: {name} is too long or holds characters that cannot be printed")


def _check_two(requester: str, approver: str, what: str) -> None:
    if _person(requester) == _person(approver):
        raise Wrong(f"the approver of {what} cannot be its requester", 1)


def _person(name: str) -> str:
    """*name* without what keeps two spellings of one name apart: case, look-alike letters, blanks and punctuation."""
    words = "".join(char if is_word_char(char) else " " for char in fold(name)).split()
    return " ".join(words) or name.strip()


def _folded(pattern: str) -> str:
    """The pattern with its domain in small letters."""
    local, at, domain = pattern.strip().rpartition("@")
    return f"{local}{at}{domain.lower()}"
