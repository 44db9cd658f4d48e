"""A RAR archive that is being read: its members' octets, plain or opened by a password.

What it is: ``Archive``, ``MemberLock`` and ``ArchiveLock``.
Who calls it: ``archives.rar`` and ``archives.rar_protection``; the walk tries the locks.
Must never: return octets whose size and checksum do not fit; try the same password twice.
Sources: "RAR 5.0 archive format" (rarlab.com); technote.txt of RAR 4; hostile-inputs catalogue E05.

libarchive unpacks, but knows no encryption: what a password opened is decrypted here and handed to it as an archive without any.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.archives import libarchive, rar4, rar5, rar_crypto
from gateway.archives.rar_blocks import Closed, Contents, Member
from gateway.archives.rar_crypto import Keys
from gateway.extraction import randomness
from gateway.extraction.base import Budget, Child, OverLimit, Unreadable

_WRONG = "a member is damaged: size or checksum is wrong"
_NOTHING = ""


@dataclass(slots=True)
class Archive:
    """*data* begins with the signature."""

    data: bytes
    contents: Contents | None = None
    keys: Keys = field(default_factory=Keys)
    wrong: set[tuple[int, str]] = field(default_factory=set)
    _solid: tuple[str | None, tuple[bytes, ...]] | None = None

    @property
    def generation(self) -> int:
        """4 or 5."""
        return 5 if self.data.startswith(rar5.SIGNATURE) else 4

    def parse(self, password: str | None, budget: Budget, closed: Closed | None = None) -> Contents:
        """The headers; *password* and *closed* where they are encrypted. Raises Unreadable or OverLimit."""
        if self.generation == 4:
            return rar4.parse(self.data, password, self.keys, budget)
        key = self.keys.of(password, closed, budget) if password is not None and closed is not None else None
        return rar5.parse(self.data, key, budget)

    def content(self, number: int, password: str | None, budget: Budget, *, ignore: bool = False) -> bytes:
        """The octets of the member *number*. *password* for encrypted ones; *ignore*: as if nothing were encrypted.

        Raises Unreadable or OverLimit.
        """
        assert self.contents is not None
        member = self.contents.members[number]
        if not member.size:
            return b""
        if self.contents.solid and not member.service and not ignore:
            out = self._of_solid(number, password, budget)
        else:
            packed = self._packed(member, None if ignore else password, budget)
            if member.stored:
                budget.spend_bytes(member.size)
                out = packed[: member.size] if member.closed else packed
            else:
                out = self._unpacked([(member, packed)], budget, solid=False)[0]
        self._verify(member, out, None if ignore else password, budget)
        return out

    def _of_solid(self, number: int, password: str | None, budget: Budget) -> bytes:
        """Members that were packed as one stream: all up to the last are unpacked together, once for each password."""
        assert self.contents is not None
        files = [at for at, one in enumerate(self.contents.members) if not one.service and not one.is_folder and one.size]
        if self._solid is None or self._solid[0] != password:
            packed = []
            for at in files:
                member = self.contents.members[at]
                if member.closed is not None and password is None:
                    break
                packed.append((member, self._packed(member, password, budget)))
            self._solid = (password, tuple(self._unpacked(packed, budget, solid=True, partly=True)))
        place = files.index(number)
        if place >= len(self._solid[1]):
            raise Unreadable("a member cannot be unpacked without those before it")
        return self._solid[1][place]

    def _packed(self, member: Member, password: str | None, budget: Budget) -> bytes:
        packed = self.data[member.start : member.end]
        if member.closed is None or password is None:
            return packed
        return rar_crypto.decrypt(packed, self.keys.of(password, member.closed, budget), member.closed.vector)

    def _unpacked(self, packed: list[tuple[Member, bytes]], budget: Budget, *, solid: bool, partly: bool = False) -> list[bytes]:
        if not libarchive.available():
            return self._by_tool(packed, budget, partly=partly, solid=solid)
        plain = (rar5.plain if self.generation == 5 else rar4.plain)(packed, solid)
        found: list[bytes] = []
        try:
            for one in libarchive.members(plain, ("rar5" if self.generation == 5 else "rar",), budget, counted=True):
                if not one.complete:
                    break
                found.append(one.data)
        except OverLimit:
            raise
        except Unreadable:
            if not partly:
                raise
        if len(found) < len(packed) and budget.tools is not None and budget.tools.unpacks_rar:
            found = self._by_tool(packed, budget, partly=partly, solid=solid)
        if not partly and len(found) != len(packed):
            raise Unreadable("a member cannot be unpacked")
        return found[: len(packed)]

    def _by_tool(self, packed: list[tuple[Member, bytes]], budget: Budget, *, partly: bool, solid: bool) -> list[bytes]:
        """Without libarchive: a program outside of the sandbox, where there is one."""
        if budget.tools is None or not budget.tools.unpacks_rar:
            raise Unreadable(libarchive.MISSING)
        plain = (rar5.plain if self.generation == 5 else rar4.plain)(packed, solid)
        room = budget.room(len(plain))
        found = [data for _, data in budget.tools.rar(plain, _NOTHING, room, max(budget.seconds_left, 0.1))]
        budget.spend_bytes(sum(len(data) for data in found))
        if not partly and len(found) != len(packed):
            raise Unreadable("a member cannot be unpacked")
        return found

    def _verify(self, member: Member, out: bytes, password: str | None, budget: Budget) -> None:
        if len(out) != member.size:
            raise Unreadable(_WRONG)
        key = None
        if member.closed is not None and member.closed.tweaked:
            if password is None:
                raise Unreadable(_WRONG)
            key = self.keys.of(password, member.closed, budget)
        if member.crc is not None:
            crc = zlib.crc32(out)
            if (crc if key is None else rar_crypto.tweaked(crc, key)) != member.crc:
                raise Unreadable(_WRONG)
        if member.blake:
            digest = rar_crypto.blake2sp(out)
            if (digest if key is None else rar_crypto.tweaked_hash(digest, key)) != member.blake:
                raise Unreadable(_WRONG)
        if member.crc is None and not member.blake and member.closed is not None and not randomness.disproof(out):
            raise Unreadable(_WRONG)  # without a checksum, what still looks like ciphertext was not opened

    def opened(self, number: int, password: str, budget: Budget) -> bytes | None:
        """The octets of the encrypted member *number*; None where *password* is wrong. Raises OverLimit."""
        assert self.contents is not None
        closed = self.contents.members[number].closed
        if closed is None or closed.fault or (number, password) in self.wrong:
            return None
        try:
            if rar_crypto.fits(self.keys.of(password, closed, budget), closed) is not False:
                return self.content(number, password, budget)
        except OverLimit:
            raise
        except Unreadable:
            pass
        self.wrong.add((number, password))
        return None


def _seconds(closed: Closed | None) -> float:
    if closed is None:
        return 0.0
    return 0.06 * 2.0 ** (closed.power - 15) if closed.generation == 5 else 0.05


@dataclass(frozen=True, slots=True)
class MemberLock:
    """The lock of the member *number*."""

    archive: Archive
    number: int

    @property
    def seconds(self) -> float:
        """Mostly the derivation of the key."""
        assert self.archive.contents is not None
        return _seconds(self.archive.contents.members[self.number].closed)

    def open(self, password: str, budget: Budget) -> bytes | None:
        """The member's octets, or None where *password* is wrong. Raises OverLimit."""
        return self.archive.opened(self.number, password, budget)


@dataclass(frozen=True, slots=True)
class ArchiveLock:
    """The lock of an archive whose headers are encrypted; *read* gives its members once it is open."""

    archive: Archive
    contents: Contents
    read: Callable[[Archive, str, Budget], tuple[Child, ...]]

    @property
    def seconds(self) -> float:
        """Mostly the derivation of the key."""
        return _seconds(self.contents.closed)

    def open(self, password: str, budget: Budget) -> tuple[Child, ...] | None:
        """All members, or None where *password* is wrong. Raises OverLimit, and Unreadable when it fits but they cannot be read."""
        closed = self.contents.closed
        assert closed is not None
        if closed.generation == 5 and rar_crypto.fits(self.archive.keys.of(password, closed, budget), closed) is False:
            return None
        try:
            contents = self.archive.parse(password, budget, closed)
        except OverLimit:
            raise
        except Unreadable:
            if closed.check:
                raise
            return None
        self.archive.contents = contents
        return self.read(self.archive, password, budget)
