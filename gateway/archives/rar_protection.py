"""What encryption of a RAR archive really is.

What it is: ``of_member`` and ``of_headers``.
Who calls it: ``archives.rar``.
Must never: believe the encryption record: the member must fail without a key and with the empty password, and its packed octets must
look like ciphertext.
Sources: "RAR 5.0 archive format" (AES-256 in CBC mode); technote.txt of RAR 4 (AES-128); hostile-inputs catalogue E08;
J&K Circular 26-JK(GAD) of 2024 (AES-256).
"""

from __future__ import annotations

from gateway.archives import rar_crypto
from gateway.archives.rar_archive import Archive
from gateway.archives.rar_blocks import Closed, Contents
from gateway.extraction import randomness
from gateway.extraction.base import Budget, OverLimit, Unreadable
from gateway.protection import Protection, ProtectionState

_STRONG = Protection(ProtectionState.STRONG, "rar", "AES-256-CBC", 256)
_WEAK = Protection(ProtectionState.WEAK, "rar", "AES-128-CBC", 128, "AES-128 is below AES-256")


def _unverifiable(reason: str) -> Protection:
    return Protection(ProtectionState.UNVERIFIABLE, "rar", reason=reason)


def of_member(archive: Archive, number: int, budget: Budget) -> tuple[Protection, bytes | None]:
    """The protection of the member *number*, and its octets where it opens without a secret. Raises OverLimit."""
    assert archive.contents is not None
    member = archive.contents.members[number]
    assert member.closed is not None
    try:
        content = archive.content(number, None, budget, ignore=True)
        if member.crc is not None or randomness.disproof(content):
            return Protection(reason="it claims encryption, but its data is plain"), content
    except OverLimit:
        raise
    except Unreadable:
        pass
    packed = archive.data[member.start : member.end]
    if member.closed.fault:
        if archive.generation == 4:
            return Protection(ProtectionState.WEAK, "rar", "old RAR cipher", 0, member.closed.fault), None
        return _unverifiable(member.closed.fault), None
    if not member.size and not packed:
        return Protection(), b""
    if why := _unlike(packed, member.closed):
        return _unverifiable(why), None
    if (opened := _by_nothing(archive, number, budget)) is not None:
        return Protection(reason="it opens with an empty password"), opened
    return (_STRONG if archive.generation == 5 else _WEAK), None


def of_headers(archive: Archive, contents: Contents, budget: Budget) -> tuple[Protection, Contents | None]:
    """The protection of an archive whose headers are encrypted, and its contents where it opens without a secret. Raises OverLimit.

    The data of the members is encrypted as well, always: everything behind the first header must look like ciphertext.
    """
    closed = contents.closed
    assert closed is not None
    if closed.fault:
        return _unverifiable(closed.fault), None
    try:
        archive.keys.of("", closed, budget)
        opened = archive.parse("", budget, closed)
        return Protection(reason="it opens with an empty password"), opened
    except OverLimit:
        raise
    except Unreadable:
        pass
    if closed.power > rar_crypto.POWER:
        return _unverifiable("its key takes too long to derive"), None
    rest = archive.data[contents.closed_from :]
    if archive.generation == 4:
        # Its end is marked in the clear only by writers that are rare; the salt of each header is random, too.
        rest = rest.removesuffix(b"\xc4\x3d\x7b\x00\x40\x07\x00")
    if why := randomness.disproof(rest):
        return _unverifiable(f"it claims encryption, but {why}"), None
    return (_STRONG if archive.generation == 5 else _WEAK), None


def _unlike(packed: bytes, closed: Closed) -> str:
    if len(packed) % 16:
        return "its size does not fit AES encryption"
    if why := randomness.disproof(packed):
        return f"it claims encryption, but {why}"
    if closed.power > rar_crypto.POWER:
        return "its key takes too long to derive"
    return ""


def _by_nothing(archive: Archive, number: int, budget: Budget) -> bytes | None:
    """The member's octets if the empty password opens it, whatever the check value says."""
    try:
        return archive.content(number, "", budget)
    except OverLimit:
        raise
    except Unreadable:
        return None
