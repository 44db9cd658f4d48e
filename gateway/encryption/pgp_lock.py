"""OpenPGP messages that a password opens: how to try one.

What it is: ``lock`` (an ``extraction.base.Lock`` for an encrypted message, where a password is one of its keys) and the decryption behind
it.
Who calls it: ``pgp``; ``pgp_secret``, for the derivation of keys and the data that a session key opens.
Must never: take a wrong password for the right one (the integrity check, the AEAD tag or the packets inside must fit); derive a key at
a cost that the message sets without a limit.
Sources: RFC 9580 sections 3.7 (string-to-key), 5.3 (SKESK), 5.7 (SED, 13.9 its CFB with resynchronisation), 5.13 (SEIPD 1 and 2);
draft-koch-librepgp (SKESK version 5, packet 20).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers import algorithms as decrepit
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESOCB3
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.encryption import pgp_packets
from gateway.encryption.pgp_packets import Packet
from gateway.encryption.pgp_protection import NONCES, Sealed, s2k_size
from gateway.extraction.base import Budget, Unreadable

_CIPHERS: dict[int, tuple[type[CipherAlgorithm], int]] = {
    1: (decrepit.IDEA, 16), 2: (decrepit.TripleDES, 24), 3: (decrepit.CAST5, 16), 4: (decrepit.Blowfish, 16), 7: (AES, 16), 8: (AES, 24),
    9: (AES, 32), 11: (decrepit.Camellia, 16), 12: (decrepit.Camellia, 24), 13: (decrepit.Camellia, 32),
}  # fmt: skip
_HASHES = {1: "md5", 2: "sha1", 3: "ripemd160", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224", 12: "sha3_256", 14: "sha3_512"}
_MOST_KEYS = 4
_MOST_MEMORY = 17  # Argon2: 2 to the power of KiB, 128 MiB
_MOST_PASSES = 8
_CHUNK = 1 << 16
_OCTETS_A_SECOND = 300_000_000
_MOST_CHUNKS = 100_000


@dataclass(frozen=True, slots=True)
class PgpLock:
    """The lock of one message."""

    sealed: Sealed
    seconds: float

    def open(self, password: str, budget: Budget) -> bytes | None:
        """The packets inside; None for a wrong password."""
        budget.check_time()
        opened = decrypt(self.sealed, password.encode("utf-8", "replace"))
        if opened is not None:
            budget.spend_bytes(len(opened))
        return opened


def lock(sealed: Sealed) -> PgpLock | None:
    """The lock of *sealed*; None where no password is among its keys, or trying one is not bounded."""
    keys = [packet for packet in sealed.keys if packet.tag == pgp_packets.SKESK]
    if not keys or len(keys) > _MOST_KEYS:
        return None
    seconds = len(sealed.data.body) / _OCTETS_A_SECOND if sealed.data.tag == pgp_packets.SED else 0.0
    for packet in keys:
        seconds += _cost(packet.body)
    return PgpLock(sealed, seconds + 0.0003)


def decrypt(sealed: Sealed, password: bytes) -> bytes | None:
    """What *password* opens; None where it does not fit. Raises Unreadable for what is broken."""
    for packet in sealed.keys:
        if packet.tag != pgp_packets.SKESK:
            continue
        for cipher, key in _session_keys(packet.body, password):
            try:
                opened = decrypt_data(sealed.data, cipher, key)
            except (UnsupportedAlgorithm, InvalidTag, ValueError):
                continue
            if opened is not None:
                return opened
    return None


def _cost(body: bytes) -> float:
    """Seconds that it takes to derive the key of a SKESK packet, about."""
    try:
        return cost_of(_s2k(body))
    except Unreadable:
        return 0.0


def cost_of(s2k: bytes) -> float:
    """Seconds that it takes to derive a key by the string-to-key specifier *s2k*, about."""
    if s2k[:1] == b"\x03":
        return _count(s2k[10]) / _OCTETS_A_SECOND
    return 0.002 * (1 << min(s2k[19], _MOST_MEMORY)) / 1024 * s2k[17] if s2k[:1] == b"\x04" else 0.0001


def _count(coded: int) -> int:
    return (16 + (coded & 15)) << ((coded >> 4) + 6)


def _s2k(body: bytes) -> bytes:
    at = {4: 2, 5: 3, 6: 5}.get(body[0] if body else 0)
    if at is None:
        raise Unreadable("an OpenPGP message of an unknown version")
    return body[at : at + s2k_size(body[at:])]


def _session_keys(body: bytes, password: bytes) -> Iterator[tuple[int, bytes]]:
    """Cipher (0: the data says it) and session key that *password* gives with the SKESK packet *body*; none where it cannot fit."""
    s2k = _s2k(body)
    cipher = body[2] if body[0] == 6 else body[1]
    if cipher not in _CIPHERS:
        return
    derived = derive(s2k, password, _CIPHERS[cipher][1])
    if not derived:
        return
    if body[0] == 4:
        wrapped = body[2 + len(s2k) :]
        if not wrapped:
            yield cipher, derived
            return
        block = block_size(cipher)
        plain = Cipher(_CIPHERS[cipher][0](derived), CFB(bytes(block))).decryptor().update(wrapped)  # type: ignore[call-arg]
        if plain[0] in _CIPHERS and len(plain) == 1 + _CIPHERS[plain[0]][1]:
            yield plain[0], plain[1:]
        return
    mode = body[3] if body[0] == 6 else body[2]
    at = (5 if body[0] == 6 else 3) + len(s2k)
    nonce = body[at : at + NONCES.get(mode, 0)]
    head = bytes((0xC3, body[0], cipher, mode))
    if body[0] == 6:
        derived = HKDF(SHA256(), len(derived), None, head).derive(derived)
    try:
        yield (cipher if body[0] == 5 else 0), aead(mode, derived, nonce, body[at + len(nonce) :], head)
    except (InvalidTag, ValueError):
        return


def derive(s2k: bytes, password: bytes, size: int) -> bytes:
    """The key of *size* octets; empty where the specifier asks for what we do not do."""
    if s2k[0] == 4:
        passes, lanes, memory = s2k[17], s2k[18], s2k[19]
        if memory > _MOST_MEMORY or not 0 < passes <= _MOST_PASSES or not 0 < lanes <= 16 or 1 << memory < 8 * lanes:
            return b""
        return Argon2id(salt=s2k[1:17], length=size, iterations=passes, lanes=lanes, memory_cost=1 << memory).derive(password)
    name = _HASHES.get(s2k[1])
    if name is None:
        return b""
    seed = (s2k[2:10] if s2k[0] else b"") + password
    total = max(_count(s2k[10]), len(seed)) if s2k[0] == 3 else len(seed)
    repeated = seed * (_CHUNK // len(seed) + 1) if seed and total > len(seed) else seed
    out = b""
    for zeros in range(8):
        try:
            engine = hashlib.new(name, bytes(zeros), usedforsecurity=False)
        except ValueError:
            return b""
        left = total
        # Whole repetitions, so that each block goes on where the one before ended.
        step = len(repeated) - len(repeated) % len(seed) if seed else 0
        while step and left >= step:
            engine.update(repeated[:step])
            left -= step
        engine.update(repeated[:left])
        out += engine.digest()
        if len(out) >= size:
            break
    return out[:size]


def block_size(cipher: int) -> int:
    """Octets of a block of *cipher*."""
    return 8 if cipher in (1, 2, 3, 4) else 16


def key_size(cipher: int) -> int:
    """Octets of a key of *cipher*; 0 for one that we do not have."""
    return _CIPHERS[cipher][1] if cipher in _CIPHERS else 0


def algorithm(cipher: int) -> type[CipherAlgorithm]:
    """The cipher of that number; one that ``key_size`` knows."""
    return _CIPHERS[cipher][0]


def decrypt_data(packet: Packet, cipher: int, key: bytes) -> bytes | None:
    """The packets that the session *key* opens in the data of *packet*; None where it does not fit. *cipher*: 0 where the data says it.

    Raises InvalidTag, ValueError or UnsupportedAlgorithm where it cannot fit, Unreadable for what is broken.
    """
    body = packet.body
    if packet.tag == pgp_packets.AEAD:
        return _chunks(packet.body, key, body[4 : 4 + NONCES.get(body[2], 0)], body[4 + NONCES.get(body[2], 0) :], xor=True)
    if packet.tag == pgp_packets.SEIPD and body[:1] == b"\x02":
        size = _CIPHERS[body[1]][1] if body[1] in _CIPHERS else 0
        nonce = NONCES.get(body[2], 0) - 8
        if not size or nonce <= 0 or len(key) != size:
            return None
        material = HKDF(SHA256(), size + nonce, body[4:36], b"\xd2" + body[:4]).derive(key)
        return _chunks(body, material[:size], material[size:], body[36:], xor=False)
    if cipher not in _CIPHERS or len(key) != _CIPHERS[cipher][1]:
        return None
    of, block = _CIPHERS[cipher][0], block_size(cipher)
    octets = body[1:] if packet.tag == pgp_packets.SEIPD else body
    if len(octets) < block + 2:
        return None
    first = Cipher(of(key), CFB(bytes(block))).decryptor()  # type: ignore[call-arg]
    head = first.update(octets[: block + 2])
    if head[block - 2 : block] != head[block:]:
        return None
    if packet.tag == pgp_packets.SEIPD:
        plain = head + first.update(octets[block + 2 :])
        if plain[-22:-20] != b"\xd3\x14" or not hmac.compare_digest(hashlib.sha1(plain[:-20], usedforsecurity=False).digest(), plain[-20:]):
            return None
        return plain[block + 2 : -22]
    rest = Cipher(of(key), CFB(octets[2 : block + 2])).decryptor()  # type: ignore[call-arg]
    return _if_packets(rest.update(octets[block + 2 :]))


def _if_packets(plain: bytes) -> bytes | None:
    """*plain* where it is packets to its end: two octets alone prove nothing."""
    try:
        found, rest = pgp_packets.read(plain)
    except Unreadable:
        return None
    known = (pgp_packets.COMPRESSED, pgp_packets.LITERAL, pgp_packets.ONE_PASS, pgp_packets.SIGNATURE, pgp_packets.MARKER)
    return plain if found and not rest and found[0].tag in known else None


def aead(mode: int, key: bytes, nonce: bytes, data: bytes, associated: bytes) -> bytes:
    """Raises InvalidTag or ValueError where it does not fit."""
    if mode == 2:
        return AESOCB3(key).decrypt(nonce, data, associated)
    if mode == 3:
        return AESGCM(key).decrypt(nonce, data, associated)
    return _eax(key, nonce, data, associated)


def _eax(key: bytes, nonce: bytes, data: bytes, associated: bytes) -> bytes:
    """EAX (Bellare, Rogaway and Wagner, 2004), which the library does not have as a mode. Raises InvalidTag."""

    def omac(number: int, octets: bytes) -> bytes:
        engine = CMAC(AES(key))
        engine.update(bytes(15) + bytes((number,)) + octets)
        return engine.finalize()

    encrypted, tag = data[:-16], data[-16:]
    counter = omac(0, nonce)
    parts = (counter, omac(1, associated), omac(2, encrypted))
    expected = bytes(first ^ second ^ third for first, second, third in zip(*parts, strict=True))
    if len(tag) != 16 or not hmac.compare_digest(expected, tag):
        raise InvalidTag
    return Cipher(AES(key), CTR(counter)).decryptor().update(encrypted)


def _chunks(body: bytes, key: bytes, start: bytes, data: bytes, *, xor: bool) -> bytes | None:
    """Data in chunks of an AEAD mode, each with its tag, and the tag over the whole at the end."""
    cipher, mode, coded = body[1], body[2], body[3]
    if cipher not in (7, 8, 9) or mode not in NONCES or coded > 30 or len(data) < 32:
        return None
    head = bytes((0xD4 if xor else 0xD2,)) + body[:4]
    size = (1 << (coded + 6)) + 16
    encrypted, tag = data[:-16], data[-16:]
    out: list[bytes] = []
    total = index = 0
    while index * size < len(encrypted):
        if index > _MOST_CHUNKS:
            raise Unreadable("OpenPGP data in more pieces than the limit")
        counter = index.to_bytes(8, "big")
        plain = aead(
            mode, key, _nonce(start, index, xor=xor), encrypted[index * size : (index + 1) * size], head + (counter if xor else b"")
        )
        out.append(plain)
        total += len(plain)
        index += 1
    last = head + (index.to_bytes(8, "big") if xor else b"") + total.to_bytes(8, "big")
    aead(mode, key, _nonce(start, index, xor=xor), tag, last)
    return b"".join(out)


def _nonce(start: bytes, index: int, *, xor: bool) -> bytes:
    if xor:
        return start[:-8] + (int.from_bytes(start[-8:], "big") ^ index).to_bytes(8, "big")
    return start + index.to_bytes(8, "big")
