"""How well an encrypted OpenPGP message is protected.

What it is: ``assess``: the state by the packets that carry the session key, the packet that carries the data, and the data itself.
Who calls it: ``pgp``.
Must never: guess at a cipher that only the key would show; call strong what is short, readable, addressed to nobody, or whose key is
wrapped in a weaker cipher.
Sources: RFC 9580 sections 5.1 (PKESK), 5.3 (SKESK), 5.7 (SED), 5.13 (SEIPD), 9.3 (ciphers), 9.6 (AEAD), 11.5; RFC 6637 (ECDH);
draft-koch-librepgp (packet 20, SKESK version 5); docs/design.md section 10 ("protection.state"); hostile-inputs catalogue E14, E15, E22.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.encryption import pgp_packets
from gateway.encryption.pgp_packets import Packet
from gateway.extraction import randomness
from gateway.extraction.base import Unreadable
from gateway.protection import Protection, ProtectionState

CIPHERS = {
    1: ("IDEA", 128), 2: ("3DES", 112), 3: ("CAST5", 128), 4: ("Blowfish", 128), 7: ("AES-128", 128), 8: ("AES-192", 192),
    9: ("AES-256", 256), 10: ("Twofish-256", 256), 11: ("Camellia-128", 128), 12: ("Camellia-192", 192), 13: ("Camellia-256", 256),
}  # fmt: skip
"""Number of a symmetric cipher: name and bits of its key."""
AES_256 = 9
MODES = {1: "EAX", 2: "OCB", 3: "GCM"}
NONCES = {1: 16, 2: 15, 3: 12}
_RSA, _ELGAMAL, _X25519, _X448 = (1, 2), 16, 25, 26
_SHORTEST_KEY = 2047  # bits of a number that a key of 2,048 bits wrapped: rarely one or two less
_SHORTEST_SLACK = 32
_SHORTEST = 24
"""Octets of encrypted data below which it cannot be a message."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted message: the packets with its session key, and the one with its data."""

    keys: tuple[Packet, ...]
    data: Packet


def payload(packet: Packet) -> bytes:
    """The encrypted octets of *packet*, without what stands before them in the clear."""
    body = packet.body
    if packet.tag == pgp_packets.SEIPD and body[:1] == b"\x01":
        return body[1:]
    if packet.tag == pgp_packets.SEIPD and body[:1] == b"\x02":
        return body[36:]
    if packet.tag == pgp_packets.AEAD:
        return body[4 + NONCES.get(body[2] if len(body) > 2 else 0, 16) :]
    return body


def visible_cipher(packet: Packet) -> tuple[int, str]:
    """Number of the cipher and its mode, where the packet with the data says so; 0 where it does not."""
    body = packet.body
    if packet.tag == pgp_packets.AEAD or (packet.tag == pgp_packets.SEIPD and body[:1] == b"\x02"):
        if len(body) < 20 or body[0] != (2 if packet.tag == pgp_packets.SEIPD else 1) or body[2] not in MODES or body[3] > 56:
            raise Unreadable("an OpenPGP message that is broken")
        return body[1], MODES[body[2]]
    if packet.tag == pgp_packets.SEIPD and body[:1] != b"\x01":
        raise Unreadable("an OpenPGP message of an unknown version")
    return 0, "CFB"


def assess(sealed: Sealed, *, empty_opens: bool = False, readable: bool = False) -> Protection:
    """The protection of *sealed*. *empty_opens*: its password is empty; *readable*: what it calls encrypted is packets that everybody
    can read. Raises Unreadable when its structure is broken.
    """
    number, mode = visible_cipher(sealed.data)
    number = number or _from_keys(sealed.keys)
    name, bits = CIPHERS.get(number, ("", 0))
    cipher = f"{name}-{mode}" if name else ""
    if why := "its data is readable" if readable else _doubt(sealed):
        return _of(ProtectionState.UNVERIFIABLE, cipher, bits, why)
    if empty_opens:
        return _of(ProtectionState.WEAK, cipher, bits, "its password is empty")
    if sealed.data.tag == pgp_packets.SED:
        return _of(ProtectionState.WEAK, cipher, bits, "it has no protection against changes, as only old programs write it")
    if number and bits < 256:
        return _of(ProtectionState.WEAK, cipher, bits, f"it is encrypted with {name} only" if name else "its cipher is not known")
    wraps = [_wrap(packet) for packet in sealed.keys]
    for weak in (True, False):
        for why, is_weak in wraps:
            if why and is_weak == weak:
                return _of(ProtectionState.WEAK if weak else ProtectionState.UNVERIFIABLE, cipher, bits, why)
    if not number:
        return _of(ProtectionState.UNVERIFIABLE, "", 0, "its cipher cannot be seen without the key")
    if number != AES_256:
        return _of(ProtectionState.UNVERIFIABLE, cipher, bits, f"it is encrypted with {name}, which is not AES-256")
    return Protection(ProtectionState.STRONG, "pgp", cipher, bits, f"encrypted with {cipher}")


def _of(state: ProtectionState, cipher: str, bits: int, why: str) -> Protection:
    return Protection(state, "pgp", cipher, bits, f"an OpenPGP message: {why}")


def _doubt(sealed: Sealed) -> str:
    """Why it may not be encrypted at all."""
    if not sealed.keys and sealed.data.tag != pgp_packets.SED:
        return "it is encrypted to nobody"
    octets = payload(sealed.data)
    if len(octets) < _SHORTEST:
        return "it is too short to be proved encrypted"
    if sealed.data.tag == pgp_packets.SEIPD and sealed.data.body[:1] == b"\x01" and len(octets) < 40:
        return "it is too short to be proved encrypted"
    return randomness.disproof(octets)


def _from_keys(keys: Sequence[Packet]) -> int:
    """The cipher of the data where the packets with the session key tell: it came from the password itself, or stands beside the
    wrapped key (X25519 and X448, version 3). 0 where they do not, or do not agree.
    """
    told: set[int] = set()
    for packet in keys:
        body = packet.body
        if packet.tag == pgp_packets.SKESK and body[:1] == b"\x04" and len(body) >= 4 and len(keys) == 1:
            told.add(body[1] if len(body) == 2 + s2k_size(body[2:]) else 0)
        elif packet.tag == pgp_packets.PKESK and body[:1] == b"\x03" and len(body) > 10 and body[9] in (_X25519, _X448):
            at = 10 + (32 if body[9] == _X25519 else 56) + 1
            told.add(body[at] if at < len(body) else 0)
        else:
            told.add(0)
    return told.pop() if len(told) == 1 else 0


def s2k_size(data: bytes) -> int:
    """Octets of the string-to-key specifier at the start of *data*. Raises Unreadable for an unknown one."""
    size = {0: 2, 1: 10, 3: 11, 4: 20}.get(data[0] if data else -1)
    if size is None or size > len(data):
        raise Unreadable("an OpenPGP message with a key that is derived in an unknown way")
    return size


def _wrap(packet: Packet) -> tuple[str, bool]:
    """Why the session key in *packet* is no better protected than by less than AES-256, and whether that is certain."""
    body = packet.body
    if packet.tag == pgp_packets.SKESK:
        number = body[1] if len(body) > 1 and body[0] in (4, 5) else body[2] if len(body) > 2 and body[0] == 6 else 0
        name, bits = CIPHERS.get(number, ("an unknown cipher", 0))
        if bits < 256:
            return f"its key is wrapped with {name} only", True
        return ("" if number == AES_256 else f"its key is wrapped with {name}, which is not AES-256"), False
    algorithm, material = _public(body)
    if algorithm in _RSA or algorithm == _ELGAMAL:
        # The number that RSA gives is as long as the key, now and then a few bits less.
        bits = int.from_bytes(material[:2], "big")
        if bits + _SHORTEST_SLACK < _SHORTEST_KEY:
            return "its key is wrapped by a public key of less than 2,048 bits", True
        return "", False
    if algorithm == _X25519:
        return "its key is wrapped with AES-128 only", True
    if algorithm == _X448:
        return "", False
    return "how its key is wrapped cannot be seen without the key", False


def _public(body: bytes) -> tuple[int, bytes]:
    """The algorithm of a PKESK packet and what follows it. Raises Unreadable for a broken one."""
    if body[:1] == b"\x03" and len(body) > 10:
        return body[9], body[10:]
    if body[:1] == b"\x02" and len(body) > 10:  # PGP 2
        return body[9], body[10:]
    if body[:1] == b"\x06" and len(body) > 3 and len(body) > 3 + body[1]:
        return body[2 + body[1]], body[3 + body[1] :]
    raise Unreadable("an OpenPGP message that is broken")
