"""What encryption of an older Office document really is: XOR and RC4, which are weak at best.

What it is: ``look`` at a compound file, and ``Closed``, what it says; ``_Lock`` tries a password.
Who calls it: ``office.ole``.
Must never: call a document protected that opens with Excel's default password or that can be read as it is; call anything strong.
Sources: MS-DOC 2.2.6, MS-XLS 2.2.10 and 2.4.117 (FilePass), MS-PPT 2.3.7; hostile-inputs catalogue E11, E12.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.extraction import randomness
from gateway.extraction.base import Budget, Found, OverLimit, Unreadable
from gateway.office import doc, legacy_crypto, ppt_crypto
from gateway.office.compound import Compound, Path
from gateway.office.legacy_crypto import Key, Method
from gateway.office.ole_parts import Parts
from gateway.office.xls_text import records
from gateway.protection import Protection, ProtectionState
from gateway.verdict import LeafState

DEFAULT_PASSWORD = "VelvetSweatshop"  # noqa: S105 - known to everybody
_FILE_PASS, _EOF, _CODEPAGE, _SHEET = 0x2F, 0x0A, 0x42, 0x85
_CLEAR = frozenset((0x809, 0x2F, 0x194, 0x195, 0xE1, 0x196, 0x138))
"""Records that are never encrypted."""
_PRETENDS = "it claims encryption, but it can be read without a password"
_FIB_CLEAR = 68


@dataclass(frozen=True, slots=True)
class Closed:
    """What the file's claim of encryption comes to. Either *found*, and there is nothing to read, or *opened*."""

    protection: Protection
    found: Found | None = None
    opened: bytes = b""
    doubt: bool = False
    """It could be read, and yet claims that it cannot."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """An encrypted document: how, and how to get at it."""

    method: Method | None
    payload: bytes
    """What must look like ciphertext."""
    pretended: Mapping[Path, bytes] | None = None
    """Streams as they would be if nothing were encrypted, where they can be read so."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Lock:
    """Tries a password on the document."""

    compound: Compound
    method: Method
    seconds: float = 0.002

    def open(self, password: str, budget: Budget) -> bytes | None:
        key = self.method.key(password)
        return None if key is None else _opened(self.compound, key, self.method, budget)


def look(compound: Compound, budget: Budget) -> Closed | None:
    """None for a file that does not claim to be encrypted."""
    claim = _word(compound, budget) or _workbook(compound, budget) or _slides(compound)
    if claim is None:
        if any(path[0] == "\x09DRMContent" or path[-1] == "DRMEncryptedDataSpace" for path in compound.names()):
            return _closed(
                Protection(ProtectionState.UNVERIFIABLE, "irm", reason="its rights are managed by a server that cannot be asked")
            )
        return None
    if claim.pretended is not None:
        protection = Protection(ProtectionState.UNVERIFIABLE, "office", reason=_PRETENDS)
        return Closed(protection, opened=compound.cut(instead=claim.pretended), doubt=True)
    method = claim.method
    if method is None:
        return _closed(Protection(ProtectionState.UNVERIFIABLE, "office", reason=claim.why))
    key = method.key(DEFAULT_PASSWORD)
    if key is not None:
        opened = _opened(compound, key, method, budget)
        return Closed(Protection(scheme="office", reason="it opens with Office's default password"), opened=opened)
    if method.name != "xor" and (why := randomness.disproof(claim.payload)):
        return _closed(Protection(ProtectionState.UNVERIFIABLE, "office", reason=f"it claims {method.cipher} encryption, but {why}"))
    reason = f"{method.cipher} with {method.bits} bits is below AES-256"
    protection = Protection(ProtectionState.WEAK, "office", method.cipher, method.bits, reason)
    lock = _Lock(compound, method) if claim.why != "no way" else None
    return Closed(protection, Found(state=LeafState.SUSPECT, reason=reason, protection=protection, lock=lock, media_type=_type(compound)))


def _closed(protection: Protection) -> Closed:
    return Closed(protection, Found(state=LeafState.SUSPECT, reason=protection.reason, protection=protection))


def _type(compound: Compound) -> str:
    if "WordDocument" in compound:
        return "application/msword"
    return "application/vnd.ms-powerpoint" if "PowerPoint Document" in compound else "application/vnd.ms-excel"


def _opened(compound: Compound, key: Key, method: Method, budget: Budget) -> bytes:
    """The file as it would be without the encryption."""
    if "WordDocument" in compound:
        streams = _word_streams(compound, key, method)
    elif "PowerPoint Document" in compound:
        streams = ppt_crypto.decode(compound, key)
    else:
        name = "Workbook" if "Workbook" in compound else "Book"
        streams = {(name,): _workbook_stream(compound.get(name), key, method, budget)}
    budget.spend_bytes(sum(map(len, streams.values())))
    return compound.cut(instead=streams)


# --- Word --------------------------------------------------------------------------------------------------------------------


def _word(compound: Compound, budget: Budget) -> _Claim | None:
    main = compound.get("WordDocument")
    if len(main) < 34 or not main[11] & doc.FIB_ENCRYPTED >> 8:
        return None
    flags, key_size = struct.unpack_from("<H2xI", main, 10)
    bare: dict[Path, bytes] = {("WordDocument",): _without_flags(main)}
    parts = Parts(Compound.parse(compound.cut(instead=bare), budget))
    try:
        doc.read(parts.compound, parts, budget)
    except OverLimit:
        raise
    except Exception:  # noqa: S110 - as it should be
        pass
    else:
        return _Claim(None, b"", bare)
    if flags & doc.FIB_OBFUSCATED:
        return _Claim(Method("xor", "XOR", 16, check=key_size >> 16), b"", why="no way")
    table = compound.get("1Table" if flags & doc.FIB_TABLE else "0Table")
    try:
        method = legacy_crypto.parse(table[:key_size])
    except Unreadable as error:
        return _Claim(None, b"", why=str(error))
    return _Claim(method, main[_FIB_CLEAR:])


def _without_flags(main: bytes) -> bytes:
    flags = struct.unpack_from("<H", main, 10)[0] & ~(doc.FIB_ENCRYPTED | doc.FIB_OBFUSCATED)
    return main[:10] + struct.pack("<H", flags) + main[12:14] + bytes(4) + main[18:]


def _word_streams(compound: Compound, key: Key, method: Method) -> dict[Path, bytes]:
    main = compound.get("WordDocument")
    plain = main[:_FIB_CLEAR] + key.decode(main, 0, 512)[_FIB_CLEAR:]
    streams: dict[Path, bytes] = {("WordDocument",): _without_flags(plain)}
    for name in ("0Table", "1Table", "Data"):
        if name in compound:
            streams[(name,)] = key.decode(compound.get(name), 0, 512)
    return streams


# --- Excel -------------------------------------------------------------------------------------------------------------------


def _workbook(compound: Compound, budget: Budget) -> _Claim | None:
    name = "Workbook" if "Workbook" in compound else "Book"
    data = compound.get(name)
    if not data:
        return None
    body: bytes | None = None
    page = b""
    payload: list[bytes] = []
    for record in records(data[: 4_000_000 + len(data)], budget):
        if body is None and record.kind == _EOF:
            return None
        if record.kind == _FILE_PASS and body is None:
            body = b"".join(record.blocks)
        elif body is not None and record.kind not in _CLEAR:
            if record.kind == _CODEPAGE:
                page = record.body
            payload.extend(record.blocks)
            if sum(map(len, payload[-50:])) > randomness.SAMPLE * 2:
                break
    if body is None:
        return None
    if page in (b"\xb0\x04", b"\xe4\x04", b"\x10\x27", b"\x01\x80", b"\x00\x80"):
        return _Claim(None, b"", {(name,): _without_pass(data, budget)})
    if len(body) == 4:
        return _Claim(Method("xor", "XOR", 16, check=struct.unpack_from("<H", body, 2)[0]), b"", why="no way")
    if len(body) >= 6 and body[:2] == b"\x00\x00":
        return _Claim(Method("xor", "XOR", 16, check=struct.unpack_from("<H", body, 4)[0]), b"")
    try:
        return _Claim(legacy_crypto.parse(body[2:]), b"".join(payload))
    except Unreadable as error:
        return _Claim(None, b"", why=str(error))


def _without_pass(data: bytes, budget: Budget) -> bytes:
    out, at = [], 0
    for record in records(data, budget):
        if record.kind == _FILE_PASS:
            out += [data[at : record.at], b"\x0e\x00"]  # a record that says nothing
            at = record.at + 2
    return b"".join((*out, data[at:]))


def _workbook_stream(data: bytes, key: Key, method: Method, budget: Budget) -> bytes:
    """Each record decoded but for those that stay clear. RC4 runs through the headers of records too."""
    xor = method.name == "xor"
    whole = b"" if xor else key.decode(data, 0, 1024)
    out: list[bytes] = []
    at = 0
    while at + 4 <= len(data):
        kind, length = struct.unpack_from("<HH", data, at)
        start, end = at + 4, min(at + 4 + length, len(data))
        if kind == _FILE_PASS:
            out += [b"\x0e\x00", data[at + 2 : start], bytes(end - start)]
        elif kind in _CLEAR:
            out.append(data[at:end])
        else:
            keep = 4 if kind == _SHEET else 0
            clear, start = data[at : start + keep], start + keep
            out += [clear, key.decode(data[start:end], start + (end - start) + keep, 0) if xor else whole[start:end]]
        at = end
        budget.check_time()
    return b"".join((*out, data[at:]))


# --- PowerPoint --------------------------------------------------------------------------------------------------------------


def _slides(compound: Compound) -> _Claim | None:
    if not ppt_crypto.claimed(compound):
        return None
    try:
        header, payload = ppt_crypto.session(compound)
        return _Claim(legacy_crypto.parse(header), payload)
    except Unreadable as error:
        return _Claim(None, b"", why=str(error))
