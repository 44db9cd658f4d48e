"""Encrypted volumes and stores: LUKS, BitLocker, KeePass, AES Crypt and the like.

What it is: the extractor of files that begin as such a store.
Who calls it: ``content.walk`` through the table.
Must never: call one strong: how its key is made and whether the data is encrypted at all does not stand in what can be checked;
take a header for proof (plain data behind it is read).
Sources: LUKS1 On-Disk Format 1.2.3, LUKS2 On-Disk Format 1.1.2; KDBX 4; AES Crypt file format 3; hostile-inputs catalogue E21.
"""

from __future__ import annotations

import re

from gateway.extraction import randomness
from gateway.extraction.base import Budget, Child, Found, Piece
from gateway.protection import Protection, ProtectionState
from gateway.verdict import LeafState

_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"LUKS\xba\xbe", "luks", "a LUKS volume"),
    (b"\x03\xd9\xa2\x9a", "keepass", "a KeePass store"),
    (b"AES", "aescrypt", "a file of AES Crypt"),
    (b"VimCrypt~", "vim", "a text encrypted by Vim"),
    (b"encrcdsa", "dmg", "an encrypted disk image"),
    (b"\xc0\xb9\x07\x2e\x4f\x93\xf1\x46", "axcrypt", "a file of AxCrypt"),
)
_BITLOCKER = b"-FVE-FS-"
_LUKS2_OFFSET = re.compile(
    rb"\"offset\"\s*:\s*\"(\d{1,12})\"[^{}]{0,400}\"encryption\"|\"encryption\"[^{}]{0,400}\"offset\"\s*:\s*\"(\d{1,12})\""
)
_WINDOW = 65_536


def extract(piece: Piece, budget: Budget) -> Found:
    """Unverifiable; without protection where what stands behind the header is plain, which is then read."""
    data = piece.data
    scheme, what = next(((scheme, what) for mark, scheme, what in _KINDS if data.startswith(mark)), ("volume", "an encrypted store"))
    if data[3:11] == _BITLOCKER:
        scheme, what = "bitlocker", "a BitLocker volume"
    budget.check_time()
    body = data[_payload(data, scheme) :]
    if not body.strip(b"\x00"):
        return _unverifiable(scheme, f"{what}: its encryption cannot be verified, for it holds a header and no data")
    start = len(body) - len(body.lstrip(b"\x00"))
    sample = body[start : start + _WINDOW]
    if len(sample) >= randomness.SHORTEST and (why := randomness.disproof(sample)):
        reason = f"it says that it is {what}, but {why}"
        budget.spend_bytes(len(body))
        protection = Protection(scheme=scheme, reason=reason)
        return Found((), (Child("data", body),), LeafState.SUSPECT, reason, protection, container=True)
    if data.startswith(b"VimCrypt~01!"):
        protection = Protection(ProtectionState.WEAK, scheme, "ZipCrypto", 96, f"{what}: its cipher can be broken")
        return Found(state=LeafState.SUSPECT, reason=protection.reason, protection=protection)
    return _unverifiable(scheme, f"{what}: its encryption cannot be verified")


def _unverifiable(scheme: str, reason: str) -> Found:
    return Found(state=LeafState.SUSPECT, reason=reason, protection=Protection(ProtectionState.UNVERIFIABLE, scheme, reason=reason))


def _payload(data: bytes, scheme: str) -> int:
    """Where the encrypted data begins."""
    if scheme == "luks":
        if data[6:8] == b"\x00\x01":
            return max(592, int.from_bytes(data[104:108], "big") * 512)
        if data[6:8] == b"\x00\x02":
            size = int.from_bytes(data[8:16], "big")
            match = _LUKS2_OFFSET.search(data, 4096, min(len(data), max(4096, min(size, 1 << 22))))
            return int(match[1] or match[2]) if match is not None else 1 << 24
        return 592
    if scheme == "vim":
        return 12
    if scheme == "aescrypt":
        return _aescrypt(data)
    if scheme == "keepass":
        return _keepass(data)
    return 512 if scheme == "bitlocker" else 64


def _aescrypt(data: bytes) -> int:
    """Behind the extensions, which name the program in the clear."""
    at = 5
    if data[3:4] in (b"\x02", b"\x03"):
        for _ in range(100):
            size = int.from_bytes(data[at : at + 2], "big")
            at += 2 + size
            if not size:
                break
    return at


def _keepass(data: bytes) -> int:
    """Behind the fields of the header, of which each has a type and a length."""
    if data[4:8] != b"\x67\xfb\x4b\xb5":
        return 124
    wide = data[10:12] >= b"\x04"
    at = 12
    for _ in range(100):
        kind = data[at : at + 1]
        size = int.from_bytes(data[at + 1 : at + (5 if wide else 3)], "little")
        at += (5 if wide else 3) + size
        if kind in (b"\x00", b""):
            break
    return at + (64 if wide else 0)
