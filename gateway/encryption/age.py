"""Files encrypted with age: their header, what it says about the keys, and whether the rest can be ciphertext.

What it is: the extractor of such files (armoured too), ``armoured``, and the lock of those that a password opens.
Who calls it: ``sniff`` and ``content.walk`` through the table.
Must never: call it AES-256, which it is not; derive a key at a cost that the file sets without a limit.
Sources: the age specification, C2SP age.md (file key of 16 octets, scrypt and X25519 stanzas, STREAM payload); J&K Circular
26-JK(GAD) of 2024 (AES-256); hostile-inputs catalogue E21, E22.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.extraction import randomness
from gateway.extraction.base import Budget, Child, Found, Piece, Unreadable
from gateway.protection import Protection, ProtectionState
from gateway.verdict import LeafState

_FIRST = b"age-encryption.org/v1\n"
_ARMOUR = re.compile(
    rb"\A\s{0,100}-----BEGIN AGE ENCRYPTED FILE-----\r?\n((?:[A-Za-z0-9+/]{1,64}={0,2}[ \t]*\r?\n)+)"
    rb"-----END AGE ENCRYPTED FILE-----\s{0,100}\Z"
)
_MARK = b"-----BEGIN AGE ENCRYPTED FILE-----"
_LINE = re.compile(rb"[A-Za-z0-9+/]{0,64}")
_SALT = re.compile(rb"[A-Za-z0-9+/]{22}")
"""Sixteen octets of base64 without padding: other signs would be skipped and leave a length that no base64 has."""
_MOST_STANZAS = 1_000
_CHUNK = 65_536 + 16
_MOST_TRIED = 50  # recipients
_LARGEST_WORK = 18
"""Logarithm of scrypt's N beyond which no password is tried: 256 MiB of memory each."""
_SECONDS = 3.0e-6  # for each of N
CIPHER, BITS = "ChaCha20-Poly1305", 128
"""The cipher has 256 bits, the file key that everything is derived from 128."""


@dataclass(frozen=True, slots=True)
class _Stanza:
    arguments: tuple[bytes, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Header:
    stanzas: tuple[_Stanza, ...]
    payload: bytes


def armoured(data: bytes) -> bool:
    """Whether the text *data* is one armoured file and nothing else."""
    return _ARMOUR.match(data) is not None


def extract(piece: Piece, budget: Budget) -> Found:
    """Weak where it is what it says, for the length of its file key; unverifiable otherwise. Raises Unreadable for a broken one."""
    data = piece.data
    if not data.startswith(_FIRST[:-1]):
        return _in_text(data, piece, budget)
    header = read(data)
    budget.check_time()
    payload = header.payload
    why = _doubt(header)
    if why:
        protection = Protection(ProtectionState.UNVERIFIABLE, "age", CIPHER, BITS, f"a file of age: {why}")
        children = (Child("data", payload),) if payload and randomness.disproof(payload) else ()
        return Found((), children, LeafState.SUSPECT, protection.reason, protection, container=bool(children), media_type=_TYPE)
    reason = f"encrypted with age ({CIPHER}): its file key has {BITS} bits, and AES-256 is what is asked for"
    protection = Protection(ProtectionState.WEAK, "age", CIPHER, BITS, reason)
    return Found(
        state=LeafState.SUSPECT, reason=reason, protection=protection, media_type=_TYPE, lock=_lock(header), key_lock=_AgeKeyLock(header)
    )


_TYPE = "application/x-age-encryption"


def _in_text(data: bytes, piece: Piece, budget: Budget) -> Found:
    """An armoured file, alone or between lines of text."""
    match = _ARMOUR.match(data)
    if match is not None:
        octets = _decode(match[1])
        budget.spend_bytes(len(octets))
        if not octets.startswith(_FIRST):
            raise Unreadable("armour of age with something else in it")
        return extract(Piece(octets, piece.name), budget)
    start = data.find(_MARK)
    end = data.find(b"-----END AGE ENCRYPTED FILE-----", start)
    if start < 0 or end < 0 or data.count(_MARK) != 1:
        raise Unreadable("armour of age that is broken, or several in one text")
    octets = _decode(data[start + len(_MARK) : end])
    budget.spend_bytes(len(octets))
    return Found(children=(Child("encrypted.age", octets, is_attachment=piece.is_attachment),), container=True)


def _decode(lines: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(lines.split()), validate=True)
    except binascii.Error:
        raise Unreadable("armour of age that is broken") from None


def read(data: bytes) -> _Header:
    """The header of *data*. Raises Unreadable where it is no header of age."""
    broken = Unreadable("a file of age whose header is broken")
    if not data.startswith(_FIRST):
        raise broken
    at = len(_FIRST)
    stanzas: list[_Stanza] = []
    while True:
        end = data.find(b"\n", at, at + 20_000)
        if end < 0:
            raise broken
        line = data[at:end]
        at = end + 1
        if line.startswith(b"--- "):
            if len(line) != 47 or not stanzas:
                raise broken
            return _Header(tuple(stanzas), data[at:])
        if not line.startswith(b"-> ") or len(stanzas) >= _MOST_STANZAS:
            raise broken
        arguments = tuple(line[3:].split(b" "))
        lines: list[bytes] = []
        while True:  # the last line of a body is shorter than 64 characters
            end = data.find(b"\n", at, at + 66)
            if end < 0 or not _LINE.fullmatch(data[at:end]) or len(lines) > 1_000:
                raise broken
            lines.append(data[at:end])
            at = end + 1
            if len(lines[-1]) < 64:
                break
        text = b"".join(lines)
        if len(text) % 4 == 1:
            raise broken
        stanzas.append(_Stanza(arguments, binascii.a2b_base64(text + b"=" * (-len(text) % 4))))


def _doubt(header: _Header) -> str:
    """Why it may not be encrypted at all."""
    names = [stanza.arguments[0] for stanza in header.stanzas]
    if b"scrypt" in names and len(names) != 1:
        return "its header has a password beside other keys, which no program writes"
    if all(name.endswith(b"-grease") for name in names):
        return "it is encrypted to nobody"
    if len(header.payload) < 32 or (len(header.payload) - 16) % _CHUNK in range(1, 16):
        return "it does not have the length of whole pieces"
    return randomness.disproof(header.payload)


@dataclass(frozen=True, slots=True)
class _AgeLock:
    """The lock of a file with a password (scrypt stanza)."""

    salt: bytes
    work: int
    wrapped: bytes
    payload: bytes
    seconds: float

    def open(self, password: str, budget: Budget) -> bytes | None:
        """The content; None for a wrong password."""
        budget.check_time()
        salt = b"age-encryption.org/v1/scrypt" + self.salt
        try:
            key = hashlib.scrypt(
                password.encode("utf-8", "replace"),
                salt=salt,
                n=1 << self.work,
                r=8,
                p=1,
                maxmem=(1 << self.work) * 1_100 + 1_000_000,
                dklen=32,
            )
        except (MemoryError, ValueError):
            return None
        try:
            file_key = ChaCha20Poly1305(key).decrypt(bytes(12), self.wrapped, None)
        except InvalidTag:
            return None
        return _payload(self.payload, file_key, budget)


@dataclass(frozen=True, slots=True)
class _AgeKeyLock:
    """The lock of a file that is encrypted to identities (X25519 stanzas)."""

    header: _Header

    def open_with(self, key: object, budget: Budget) -> bytes | None:
        """The content; None where it is not for *key*. Raises Unreadable or OverLimit."""
        if not isinstance(key, X25519PrivateKey):
            return None
        own = key.public_key().public_bytes_raw()
        for stanza in self.header.stanzas[:_MOST_TRIED]:
            budget.check_time()
            if len(stanza.arguments) != 2 or stanza.arguments[0] != b"X25519" or len(stanza.body) != 32:
                continue
            try:
                share = binascii.a2b_base64(stanza.arguments[1] + b"=" * (-len(stanza.arguments[1]) % 4))
                secret = key.exchange(X25519PublicKey.from_public_bytes(share))
                wrap = HKDF(SHA256(), 32, share + own, b"age-encryption.org/v1/X25519").derive(secret)
                file_key = ChaCha20Poly1305(wrap).decrypt(bytes(12), stanza.body, None)
            except (ValueError, InvalidTag):  # binascii.Error is a ValueError
                continue
            return _payload(self.header.payload, file_key, budget)
        return None


def _lock(header: _Header) -> _AgeLock | None:
    arguments, wrapped = header.stanzas[0].arguments, header.stanzas[0].body
    if len(arguments) != 3 or arguments[0] != b"scrypt" or len(wrapped) != 32 or not re.fullmatch(rb"[1-9][0-9]?", arguments[2]):
        return None
    work = int(arguments[2])
    if work > _LARGEST_WORK or not _SALT.fullmatch(arguments[1]):
        return None
    salt = binascii.a2b_base64(arguments[1] + b"==")
    return _AgeLock(salt, work, wrapped, header.payload, _SECONDS * (1 << work) + 0.0002)


def _payload(payload: bytes, file_key: bytes, budget: Budget) -> bytes:
    """Raises Unreadable where the pieces do not fit the key."""
    cipher = ChaCha20Poly1305(HKDF(SHA256(), 32, payload[:16], b"payload").derive(file_key))
    data = payload[16:]
    budget.spend_bytes(len(data))
    out: list[bytes] = []
    for number, at in enumerate(range(0, len(data), _CHUNK)):
        last = at + _CHUNK >= len(data)
        try:
            out.append(cipher.decrypt(number.to_bytes(11, "big") + bytes((last,)), data[at : at + _CHUNK], None))
        except InvalidTag:
            raise Unreadable("a file of age that is broken") from None
    return b"".join(out)
