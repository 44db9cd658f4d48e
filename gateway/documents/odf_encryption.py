"""What the encryption of an OpenDocument package really is, and the way to try a password on it.

What it is: ``assess``, from the manifest and from the octets of every member, and ``Closed``, the lock.
Who calls it: the ODF reader, for a package whose manifest names encryption.
Must never: take the manifest for a proof (each member must look encrypted, and the empty password must fail on each); call Blowfish,
AES-128 or AES-192 strong; derive a key at a cost that the file alone decides.
Sources: OpenDocument 1.3 part 2 section 4; W3C XML Encryption 1.1 (aes256-cbc, aes256-gcm); RFC 9106 (Argon2id);
J&K Circular 26-JK(GAD) of 2024 (AES-256); hostile-inputs catalogue E22.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers import modes as old_modes
from cryptography.hazmat.decrepit.ciphers.algorithms import Blowfish
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from gateway.documents.odf_manifest import Encryption, Member
from gateway.extraction import randomness
from gateway.extraction.base import Budget, OverLimit, Unreadable
from gateway.protection import Protection, ProtectionState

_KEYS = {"aes256-cbc": 32, "aes192-cbc": 24, "aes128-cbc": 16, "aes256-gcm": 32, "aes192-gcm": 24, "aes128-gcm": 16}
_BLOWFISH = ("blowfish cfb", "blowfish", "blowfish-cfb8", "blowfish-cfb")
_HASHES = {"sha1": "sha1", "sha256": "sha256", "": "sha1"}
_CHECKSUMS = {"sha1/1k": "sha1", "sha1-1k": "sha1", "sha256-1k": "sha256", "sha256/1k": "sha256", "sha512-1k": "sha512"}
_ITERATIONS, _MEMORY, _PASSES, _LANES = 2_000_000, 262_144, 16, 64
_ROUND = 5e-7  # seconds that one round of PBKDF2 takes, about
_KIB_PASS = 1.5e-6  # seconds that Argon2id takes for one KiB and pass, about
_CHECKED = 1024  # octets that the checksum is of
_CLAIM = re.compile(rb"<(?:[\w.-]+:)?encryption-data\b.*?</(?:[\w.-]+:)?encryption-data\s*>", re.S)


@dataclass(frozen=True, slots=True)
class Locked:
    """A member with its octets as they stand in the package."""

    member: Member
    data: bytes


def seconds(encryption: Encryption) -> float:
    """Processor time that one key takes."""
    if encryption.derivation == "argon2id":
        return 0.01 + encryption.iterations * encryption.memory * _KIB_PASS
    return 0.001 + encryption.iterations * _ROUND * (1 + encryption.key_bytes // 21)


def assess(locked: Sequence[Locked], clear: Sequence[str], *, keyed: bool, budget: Budget) -> Protection:
    """The protection of a package whose members *locked* claim encryption and whose members *clear* do not.

    Strong only where every member is AES-256, looks encrypted, and the empty password opens none. Raises OverLimit.
    """
    claims = [one.member.encryption or Encryption() for one in locked]
    if clear:
        return _unverifiable("some of its members are not encrypted")
    for one in locked:
        if why := randomness.disproof(one.data) if len(one.data) >= 64 else "":
            return _unverifiable(f"it claims encryption, but {why.replace('its data', 'a part of its data')}")
        if why := _misfit(one):
            return _unverifiable(why)
    total = b"".join(one.data[: randomness.SAMPLE // len(locked) + 1] for one in locked)
    if len(total) < _CHECKED:
        return _unverifiable("it claims encryption, but there is too little data to prove it")
    if why := randomness.disproof(total):
        return _unverifiable(f"it claims encryption, but {why}")
    if keyed:
        return _unverifiable("its key is enclosed for OpenPGP keys, which cannot be checked")
    if any(not _derivable(claim) for claim in claims):
        return _unverifiable("its key is made in a way that is not known")
    tried: dict[tuple[object, ...], bytes] = {}
    for one in locked:
        budget.check_time()
        if _opens(one, "", tried) is not None:
            return Protection(scheme="odf", reason="it opens with an empty password")
    bits = min(8 * _key_bytes(claim) for claim in claims)
    ciphers = sorted({_cipher(claim) for claim in claims})
    cipher = ciphers[0] if len(ciphers) == 1 else next((name for name in ciphers if str(bits) in name), ciphers[0])
    if bits < 256 or cipher.startswith("Blowfish"):
        return Protection(ProtectionState.WEAK, "odf", cipher, bits, f"{cipher} is below AES-256")
    return Protection(ProtectionState.STRONG, "odf", cipher, 256)


def _unverifiable(reason: str) -> Protection:
    return Protection(ProtectionState.UNVERIFIABLE, "odf", reason=reason)


def _cipher(claim: Encryption) -> str:
    if claim.algorithm in _KEYS:
        return f"AES-{8 * _KEYS[claim.algorithm]}-{claim.algorithm[-3:].upper()}"
    return "Blowfish-CFB"


def _key_bytes(claim: Encryption) -> int:
    return _KEYS.get(claim.algorithm, claim.key_bytes)


def _misfit(one: Locked) -> str:
    """Why the octets cannot be what the manifest says; empty when they can."""
    claim = one.member.encryption or Encryption()
    if claim.algorithm.endswith("-cbc") and claim.algorithm in _KEYS:
        fits = len(claim.vector) == 16 and len(one.data) % 16 == 0 and bool(one.data)
    elif claim.algorithm in _KEYS:
        fits = len(claim.vector) == 12 and len(one.data) > 28 and one.data.startswith(claim.vector)
    elif claim.algorithm in _BLOWFISH:
        fits = len(claim.vector) == 8 and bool(one.data)
    else:
        return "its encryption is of a kind that is not known"
    return "" if fits else "it claims encryption, but its members do not have the form of it"


def _derivable(claim: Encryption) -> bool:
    if claim.start_key not in _HASHES or not 8 <= len(claim.salt) <= 256:
        return False
    if claim.key_bytes != _key_bytes(claim) or not 5 <= claim.key_bytes <= 56:
        return False
    if claim.derivation == "argon2id":
        return 0 < claim.iterations <= _PASSES and 0 < claim.lanes <= _LANES and 8 * claim.lanes <= claim.memory <= _MEMORY
    return claim.derivation == "pbkdf2" and 0 < claim.iterations <= _ITERATIONS


def _key(claim: Encryption, password: str, made: dict[tuple[object, ...], bytes]) -> bytes:
    kind = (password, claim.derivation, claim.start_key, claim.salt, claim.iterations, claim.memory, claim.lanes, claim.key_bytes)
    if kind not in made:
        start = hashlib.new(_HASHES[claim.start_key], password.encode("utf-8"), usedforsecurity=False).digest()
        if claim.derivation == "argon2id":
            engine = Argon2id(
                salt=claim.salt, length=claim.key_bytes, iterations=claim.iterations, lanes=claim.lanes, memory_cost=claim.memory
            )
            made[kind] = engine.derive(start)
        else:
            made[kind] = hashlib.pbkdf2_hmac("sha1", start, claim.salt, claim.iterations, claim.key_bytes)
    return made[kind]


def _opens(one: Locked, password: str, made: dict[tuple[object, ...], bytes]) -> bytes | None:
    """The member as it is packed (still deflated), or None when *password* does not fit."""
    claim = one.member.encryption or Encryption()
    key = _key(claim, password, made)
    try:
        if claim.algorithm.endswith("-gcm"):
            return AESGCM(key).decrypt(claim.vector, one.data[len(claim.vector) :], None)
        if claim.algorithm in _KEYS:
            plain = _decrypt(Cipher(algorithms.AES(key), modes.CBC(claim.vector)), one.data)
            padding = plain[-1] if plain else 0
            if not 1 <= padding <= 16:
                return None
            plain = plain[:-padding]
        else:
            mode = old_modes.CFB(claim.vector) if not claim.algorithm.endswith("cfb8") else old_modes.CFB8(claim.vector)
            plain = _decrypt(Cipher(Blowfish(key), mode), one.data)
    except (InvalidTag, ValueError, UnsupportedAlgorithm):
        return None
    name = _CHECKSUMS.get(claim.checksum_type)
    if name and claim.checksum:
        return plain if hashlib.new(name, plain[:_CHECKED], usedforsecurity=False).digest() == claim.checksum else None
    return plain if _inflates(plain) else None


def _decrypt(cipher: Cipher[modes.CBC] | Cipher[old_modes.CFB | old_modes.CFB8], data: bytes) -> bytes:
    engine = cipher.decryptor()
    return engine.update(data) + engine.finalize()


def _inflates(packed: bytes) -> bool:
    engine = zlib.decompressobj(-15)
    try:
        engine.decompress(packed[:65_536], 1 << 20)
    except zlib.error:
        return False
    return engine.eof or len(packed) > 1024


@dataclass(frozen=True, slots=True)
class Closed:
    """The lock of a package: a password gives the package again, with everything in the clear."""

    locked: tuple[Locked, ...]
    clear: tuple[tuple[str, bytes], ...]
    seconds: float

    def open(self, password: str, budget: Budget) -> bytes | None:
        """The package without encryption (or the package within the package); None for a wrong password."""
        made: dict[tuple[object, ...], bytes] = {}
        smallest = min(self.locked, key=lambda one: len(one.data))
        if _opens(smallest, password, made) is None:
            return None
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as package:
            for name, data in self.clear:
                plain = _CLAIM.sub(b"", data) if name == "META-INF/manifest.xml" else data
                package.writestr(zipfile.ZipInfo(name), plain)
            for one in self.locked:
                packed = _opens(one, password, made)
                if packed is None:
                    raise Unreadable("a document of which the password opens only a part")
                data = _unpacked(packed, one, budget)
                if one.member.path == "encrypted-package":
                    return data
                package.writestr(zipfile.ZipInfo(one.member.path), data)
        return out.getvalue()


def _unpacked(packed: bytes, one: Locked, budget: Budget) -> bytes:
    engine = zlib.decompressobj(-15)
    room = budget.room(len(one.data))
    try:
        data = engine.decompress(packed, room + 1)
    except zlib.error:
        # What is packed already (the package within the package, pictures) may stand as it is.
        data, engine = packed, None  # type: ignore[assignment]
    if len(data) > room:
        raise OverLimit("a member unpacks to more than the limit")
    if engine is not None and not engine.eof:
        raise Unreadable("a member is damaged and cannot be unpacked")
    budget.spend_bytes(len(data))
    return data
