"""What encryption of a zip member really is.

What it is: ``assess``, from the method, the AES record (extra field 0x9901) and the octets themselves.
Who calls it: the zip reader, for each member.
Must never: believe the encryption flag, which can be set over plain data and left out over encrypted data.
Sources: WinZip AE-1/AE-2 specification (extra field 0x9901); PKWARE APPNOTE 6.3.10 section 6; hostile-inputs catalogue E01-E06;
J&K Circular 26-JK(GAD) of 2024 (AES-256).
"""

from __future__ import annotations

from gateway.archives import zip_directory, zip_methods
from gateway.archives.zip_directory import Entry
from gateway.archives.zip_lock import MAC, SALT, VERIFIER, ZIPCRYPTO_HEADER, MemberLock
from gateway.extraction import randomness
from gateway.extraction.base import Budget, Unreadable
from gateway.protection import UNPROTECTED, Protection, ProtectionState

_EMPTY = max(SALT.values()) + VERIFIER + MAC + 16
"""Octets that an encrypted empty file takes at most, packed or not."""


def claimed(entry: Entry) -> bool:
    """Whether anything about *entry* says that it is encrypted; then ``assess`` finds out what is true."""
    return entry.encrypted_flag or entry.method == zip_methods.AES or bool(entry.flags & zip_directory.STRONG_PKWARE)


def assess(data: bytes, entry: Entry, budget: Budget) -> tuple[Protection, bytes | None]:
    """The protection of *entry*, and its octets when it turns out to be readable without any password."""
    if (plain := _readable(data, entry, budget)) is not None:
        return Protection(reason="it claims encryption, but its data is plain"), plain
    if entry.flags & zip_directory.STRONG_PKWARE or entry.flags & 0x2000:
        return _unverifiable("PKWARE strong encryption, whose cipher is not read"), None
    if (plain := MemberLock(data, entry).open("", budget)) is not None:
        return Protection(reason="it opens with an empty password"), plain
    if entry.method != zip_methods.AES:
        return _zipcrypto(data, entry)
    if not entry.size and entry.packed <= _EMPTY:
        return UNPROTECTED, b""
    return _aes(data, entry)


def _readable(data: bytes, entry: Entry, budget: Budget) -> bytes | None:
    """The octets, if a reader that ignores all the claims gets something with the right size and checksum."""
    record = zip_directory.extra_field(entry.extra, 0x9901)
    real = int.from_bytes(record[5:7], "little") if record and len(record) >= 7 else entry.method
    for method in dict.fromkeys((real, zip_methods.STORED, zip_methods.DEFLATED)):
        if method == zip_methods.AES or (method == zip_methods.STORED and entry.packed != entry.size):
            continue
        try:
            return zip_directory.unpack(data, entry, budget, method=method)
        except Unreadable:
            continue
    return None


def _zipcrypto(data: bytes, entry: Entry) -> tuple[Protection, None]:
    payload = data[entry.start + ZIPCRYPTO_HEADER : entry.end]
    if entry.packed < ZIPCRYPTO_HEADER or (len(payload) >= randomness.SHORTEST and randomness.disproof(payload)):
        return _unverifiable("it claims ZipCrypto encryption, but its data does not look encrypted"), None
    return Protection(ProtectionState.WEAK, "zip", "ZipCrypto", 96, "ZipCrypto can be broken; AES-256 is required"), None


def _aes(data: bytes, entry: Entry) -> tuple[Protection, None]:
    record = zip_directory.extra_field(entry.extra, 0x9901)
    if record is None or len(record) != 7 or record[2:4] != b"AE" or record[4] not in SALT or record[:2] not in (b"\x01\x00", b"\x02\x00"):
        return _unverifiable("its AES record is missing or broken"), None
    if not entry.encrypted_flag:
        return _unverifiable("it names AES, but is not flagged as encrypted"), None
    bits = 64 + 64 * record[4]
    salt = SALT[record[4]]
    payload = data[entry.start + salt + VERIFIER : entry.end - MAC]
    if entry.packed < salt + VERIFIER + MAC:
        return _unverifiable("it is too short to hold AES encrypted data"), None
    method = int.from_bytes(record[5:7], "little")
    if method == zip_methods.STORED and len(payload) != entry.size:
        return _unverifiable("its size does not fit AES encryption"), None
    if entry.size and (why := randomness.disproof(payload)):
        return _unverifiable(f"it claims AES-{bits} encryption, but {why}"), None
    # The whole member, salt included, may be plain data in disguise as well.
    if entry.size and (why := randomness.disproof(data[entry.start : entry.end])):
        return _unverifiable(f"it claims AES-{bits} encryption, but {why}"), None
    if bits < 256:
        return Protection(ProtectionState.WEAK, "zip", f"AES-{bits}-CTR", bits, f"AES-{bits} is below AES-256"), None
    return Protection(ProtectionState.STRONG, "zip", "AES-256-CTR", 256), None


def _unverifiable(reason: str) -> Protection:
    return Protection(ProtectionState.UNVERIFIABLE, "zip", reason=reason)
