"""Secret keys of OpenPGP that stand in a message, and what they open there.

What it is: ``keys_of`` (the secret keys among some packets, each perhaps closed by a passphrase), ``SecretKey`` (an open one) and
``PgpKeyLock`` (an encrypted message that such a key may open).
Who calls it: ``pgp``; ``content.keyring`` through ``extraction.base.StoredKey`` and ``KeyLock``.
Must never: keep, log or return a key beyond the message; derive a key at a cost that the packet sets without a limit; take a wrong
key for the right one (the session key's checksum or wrap and the integrity check of the data must fit).
Sources: RFC 9580 sections 3.7.2 (protection of secret keys), 5.1 (PKESK), 5.5.3 to 5.5.5 (secret keys), 11.4 and 11.5 (ECDH, X25519, X448);
RFC 6637; docs/design.md section 10 ("protection.state"); hostile-inputs catalogue E05.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from gateway.encryption import pgp_lock, pgp_packets
from gateway.encryption.pgp_packets import Packet
from gateway.encryption.pgp_protection import NONCES, Sealed, s2k_size
from gateway.extraction.base import Budget, Unreadable

_RSA, _ELGAMAL, _ECDH, _X25519, _X448 = (1, 2), 16, 18, 25, 26
_LARGEST_NUMBER = 1_024  # octets: RSA of 8,192 bits
_MOST_KEYS = 20
_MOST_RECIPIENTS = 20
_CV25519 = bytes.fromhex("2b060104019755010501")
_CURVES: dict[bytes, ec.EllipticCurve] = {
    bytes.fromhex("2a8648ce3d030107"): ec.SECP256R1(), bytes.fromhex("2b81040022"): ec.SECP384R1(),
    bytes.fromhex("2b81040023"): ec.SECP521R1(), bytes.fromhex("2b2403030208010107"): ec.BrainpoolP256R1(),
    bytes.fromhex("2b240303020801010b"): ec.BrainpoolP384R1(), bytes.fromhex("2b240303020801010d"): ec.BrainpoolP512R1(),
}  # fmt: skip
_NUMBERS = {1: 2, 2: 2, 3: 2, 16: 3, 17: 4}
"""Public numbers of a key by its algorithm, where it is nothing but numbers."""
_SECRETS = {1: 4, 2: 4, 3: 4, 16: 1, 17: 1, 18: 1, 19: 1, 22: 1}
_FIXED = {25: (32, 32), 26: (56, 56), 27: (32, 32), 28: (57, 57)}
"""Octets of the public and the secret part, where they have no length of their own."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """An open secret key or subkey."""

    algorithm: int
    version: int
    fingerprint: bytes
    public: bytes = field(repr=False)
    """What is specific to the algorithm, without version, time and algorithm."""
    secret: bytes = field(repr=False)

    @property
    def identifier(self) -> bytes:
        """As messages name it."""
        return self.fingerprint[-8:] if self.version == 4 else self.fingerprint[:8]


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret key as its packet stores it."""

    tag: int
    body: bytes = field(repr=False)
    locked: bool
    seconds: float

    def open(self, password: str, budget: Budget) -> tuple[object, ...]:
        """The key; none for a wrong passphrase, or for what we do not use. Never raises for the key."""
        budget.check_time()
        try:
            key = _open(self.tag, self.body, password.encode("utf-8", "replace"))
        except (Unreadable, LookupError, ValueError, InvalidTag, UnsupportedAlgorithm):
            return ()
        return (key,) if key is not None else ()


def keys_of(packets: Sequence[Packet]) -> tuple[StoredSecret, ...]:
    """The secret keys among *packets*. Never raises."""
    found: list[StoredSecret] = []
    for packet in packets:
        if packet.tag not in (pgp_packets.SECRET_KEY, pgp_packets.SECRET_SUBKEY) or len(found) >= _MOST_KEYS:
            continue
        try:
            at = _public_end(packet.body)
            usage = packet.body[at]
            seconds = _cost(packet.body, at) if usage else 0.0
        except (Unreadable, IndexError):
            continue
        found.append(StoredSecret(packet.tag, packet.body, bool(usage), seconds))
    return tuple(found)


def _number(data: bytes, at: int) -> int:
    """Where the number at *at* ends. Raises Unreadable."""
    size = (int.from_bytes(data[at : at + 2], "big") + 7) // 8
    if size > _LARGEST_NUMBER or at + 2 + size > len(data):
        raise Unreadable("an OpenPGP key that is broken")
    return at + 2 + size


def _public_end(body: bytes) -> int:
    """Where the public part of a key packet ends. Raises Unreadable or IndexError."""
    version, algorithm = body[0], body[5]
    if version not in (4, 5, 6):
        raise Unreadable("an OpenPGP key of an unknown version")
    at = 6
    if version in (5, 6):
        size = int.from_bytes(body[6:10], "big")
        if 10 + size >= len(body):
            raise Unreadable("an OpenPGP key that is broken")
        return 10 + size
    if algorithm in _FIXED:
        return at + _FIXED[algorithm][0]
    if algorithm in (18, 19, 22):
        at = _number(body, at + 1 + body[at])
        return at + 1 + body[at] if algorithm == _ECDH else at
    for _ in range(_NUMBERS.get(algorithm, 0)):
        at = _number(body, at)
    if algorithm not in _NUMBERS:
        raise Unreadable("an OpenPGP key of an unknown kind")
    return at


def _after_usage(body: bytes, at: int) -> tuple[int, int, int, bytes, int]:
    """Usage, cipher, mode, string-to-key specifier and where the vector begins. Raises Unreadable or IndexError."""
    usage, version = body[at], body[0]
    at += 1
    if version in (5, 6):
        at += 1  # how long the fields are that follow
    if usage not in (253, 254, 255):
        return usage, usage, 0, b"", at  # a cipher: the key is the MD5 of the passphrase
    cipher, mode = body[at], 0
    at += 1
    if usage == 253:
        mode = body[at]
        at += 1
    if version == 6:
        at += 1
    size = s2k_size(body[at:])
    return usage, cipher, mode, body[at : at + size], at + size


def _cost(body: bytes, at: int) -> float:
    """Seconds of one try, about. Raises Unreadable or IndexError."""
    specifier = _after_usage(body, at)[3]
    return pgp_lock.cost_of(specifier) + 0.0005 if specifier else 0.0005


def _open(tag: int, body: bytes, passphrase: bytes) -> SecretKey | None:
    """Raises Unreadable, IndexError, ValueError, InvalidTag or UnsupportedAlgorithm for what does not fit."""
    version, algorithm, end = body[0], body[5], _public_end(body)
    start = 6 if version == 4 else 10
    head = {4: b"\x99" + end.to_bytes(2, "big"), 5: b"\x9a" + end.to_bytes(4, "big"), 6: b"\x9b" + end.to_bytes(4, "big")}[version]
    digest = hashlib.sha1 if version == 4 else hashlib.sha256
    fingerprint = digest(head + body[:end], usedforsecurity=False).digest()
    usage = body[end]
    if not usage:
        secret = body[end + 1 + (4 if version == 5 else 0) :]
    else:
        secret = _decrypt(tag, body, end, passphrase)
        if not secret:
            return None
    size = _secret_size(algorithm, secret)
    return SecretKey(algorithm, version, fingerprint, body[start:end], secret[:size])


def _secret_size(algorithm: int, secret: bytes) -> int:
    if algorithm in _FIXED:
        return _FIXED[algorithm][1]
    at = 0
    for _ in range(_SECRETS.get(algorithm, 0)):
        at = _number(secret, at)
    return at


def _decrypt(tag: int, body: bytes, end: int, passphrase: bytes) -> bytes:
    """The secret part, with its checksum; empty where the passphrase is wrong."""
    usage, cipher, mode, specifier, at = _after_usage(body, end)
    size = pgp_lock.key_size(cipher)
    if not size:
        return b""
    if not specifier:
        key = hashlib.md5(passphrase, usedforsecurity=False).digest()[:size]
        if len(key) < size:
            return b""
    else:
        key = pgp_lock.derive(specifier, passphrase, size)
        if not key:
            return b""
    if usage == 253:
        return _decrypt_whole(tag, body, end, (cipher, mode, at), key)
    block = pgp_lock.block_size(cipher)
    vector, data = body[at : at + block], body[at + block + (4 if body[0] == 5 else 0) :]
    plain = Cipher(pgp_lock.algorithm(cipher)(key), CFB(vector)).decryptor().update(data)  # type: ignore[call-arg]
    if usage == 254:
        fits = hmac.compare_digest(hashlib.sha1(plain[:-20], usedforsecurity=False).digest(), plain[-20:])
    else:
        fits = sum(plain[:-2]) & 0xFFFF == int.from_bytes(plain[-2:], "big")
    return plain if fits and len(plain) > 2 else b""


def _decrypt_whole(tag: int, body: bytes, end: int, how: tuple[int, int, int], key: bytes) -> bytes:
    """The secret part that an AEAD mode closes. Raises InvalidTag where the key does not fit."""
    cipher, mode, at = how
    nonce = body[at : at + NONCES.get(mode, 0)]
    data = body[at + len(nonce) + (4 if body[0] == 5 else 0) :]
    head = bytes((0xC0 | tag, body[0], cipher, mode))
    if body[0] != 5:  # version 4 likewise (RFC 9580 section 3.7.2.1)
        key = HKDF(SHA256(), len(key), None, head).derive(key)
    return pgp_lock.aead(mode, key, nonce, data, bytes((0xC0 | tag,)) + body[:end])


@dataclass(frozen=True, slots=True)
class PgpKeyLock:
    """A message that is encrypted to public keys."""

    sealed: Sealed

    def open_with(self, key: object, budget: Budget) -> bytes | None:
        """The packets inside; None where *key* is not one of those it is encrypted to. Raises OverLimit or Unreadable."""
        if not isinstance(key, SecretKey):
            return None
        for packet in [one for one in self.sealed.keys if one.tag == pgp_packets.PKESK][:_MOST_RECIPIENTS]:
            budget.check_time()
            try:
                opened = next((plain for plain in self._with(packet.body, key) if plain is not None), None)
            except (LookupError, ValueError, InvalidTag, InvalidUnwrap, UnsupportedAlgorithm, Unreadable):
                continue
            if opened is not None:
                budget.spend_bytes(len(opened))
                return opened
        return None

    def _with(self, body: bytes, key: SecretKey) -> Iterator[bytes | None]:
        version = body[0]
        if version == 6:
            named = body[3 : 2 + body[1]] if body[1] else b""
            algorithm, fields = body[2 + body[1]], body[3 + body[1] :]
            if named and named != key.fingerprint:
                return
        else:
            algorithm, fields = body[9], body[10:]
            if body[1:9] not in (bytes(8), key.identifier):
                return
        if algorithm != key.algorithm and not (algorithm in _RSA and key.algorithm in _RSA):
            return
        for cipher, session in _session(algorithm, fields, key, version):
            yield pgp_lock.decrypt_data(self.sealed.data, cipher, session)


def _session(algorithm: int, fields: bytes, key: SecretKey, version: int) -> Iterator[tuple[int, bytes]]:
    """Cipher (0: the data says it) and session key of the wrapped *fields*."""
    if algorithm in (_X25519, _X448):
        yield _by_curve(algorithm, fields, key, version)
        return
    if algorithm in _RSA:
        wrapped = int.from_bytes(fields[2 : _number(fields, 0)], "big")
        modulus, private = _numbers(key.public, 1)[0], _numbers(key.secret, 1)[0]
        plain = _unpad(pow(wrapped, private, modulus), modulus) if modulus > 0 else b""
    elif algorithm == _ELGAMAL:
        first, second = _numbers(fields, 2)
        modulus, private = _numbers(key.public, 1)[0], _numbers(key.secret, 1)[0]
        plain = _unpad(second * pow(first, -private, modulus) % modulus, modulus) if modulus > 0 else b""
    elif algorithm == _ECDH:
        plain = _by_ecdh(fields, key)
    else:
        return
    cipher, session = (0, plain) if version == 6 else (plain[0], plain[1:])
    if len(session) > 2 and sum(session[:-2]) & 0xFFFF == int.from_bytes(session[-2:], "big"):
        yield cipher, session[:-2]


def _numbers(data: bytes, count: int) -> list[int]:
    at, found = 0, []
    for _ in range(count):
        end = _number(data, at)
        found.append(int.from_bytes(data[at + 2 : end], "big"))
        at = end
    return found


def _unpad(number: int, modulus: int) -> bytes:
    """The message in a block of PKCS#1 version 1.5. Raises ValueError."""
    size = (modulus.bit_length() + 7) // 8
    block = number.to_bytes(size, "big")
    end = block.index(b"\x00", 2)
    if block[:2] != b"\x00\x02" or end < 10:
        raise ValueError
    return block[end + 1 :]


def _by_curve(algorithm: int, fields: bytes, key: SecretKey, version: int) -> tuple[int, bytes]:
    """Raises InvalidUnwrap or ValueError where it does not fit."""
    size = 32 if algorithm == _X25519 else 56
    point, rest = fields[:size], fields[size + 1 : size + 1 + fields[size]]
    if algorithm == _X25519:
        shared = X25519PrivateKey.from_private_bytes(key.secret).exchange(X25519PublicKey.from_public_bytes(point))
        wrap = HKDF(SHA256(), 16, None, b"OpenPGP X25519").derive(point + key.public + shared)
    else:
        shared = X448PrivateKey.from_private_bytes(key.secret).exchange(X448PublicKey.from_public_bytes(point))
        wrap = HKDF(SHA512(), 32, None, b"OpenPGP X448").derive(point + key.public + shared)
    if version == 6:
        return 0, aes_key_unwrap(wrap, rest)
    return rest[0], aes_key_unwrap(wrap, rest[1:])


def _by_ecdh(fields: bytes, key: SecretKey) -> bytes:
    """The padded session key (RFC 9580 section 11.5), without its padding. Raises InvalidUnwrap, IndexError or ValueError."""
    end = _number(fields, 0)
    point, wrapped = fields[2:end], fields[end + 1 : end + 1 + fields[end]]
    curve = key.public[1 : 1 + key.public[0]]
    at = _number(key.public, 1 + key.public[0])
    parameters = key.public[at : at + 1 + key.public[at]]
    scalar = key.secret[2 : _number(key.secret, 0)]
    if curve == _CV25519:
        private = X25519PrivateKey.from_private_bytes(scalar.rjust(32, b"\x00")[::-1])
        shared = private.exchange(X25519PublicKey.from_public_bytes(point[1:]))
    elif curve in _CURVES:
        known = _CURVES[curve]
        own = ec.derive_private_key(int.from_bytes(scalar, "big"), known)
        shared = own.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(known, point))
    else:
        return b""
    digest = {8: hashlib.sha256, 9: hashlib.sha384, 10: hashlib.sha512}[parameters[2]]
    other = bytes((len(curve),)) + curve + b"\x12" + parameters + b"Anonymous Sender    " + key.fingerprint
    wrap = digest(b"\x00\x00\x00\x01" + shared + other).digest()[: pgp_lock.key_size(parameters[3])]
    padded = aes_key_unwrap(wrap, wrapped)
    return padded[: -padded[-1]] if 1 <= padded[-1] <= 40 else b""
