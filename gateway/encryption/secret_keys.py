"""Private keys that stand in the same message as what is encrypted to them: PEM, DER, PKCS#12, OpenSSH, and identities of age.

What it is: ``in_text`` (the keys that a text shows), ``extract`` (the reader of key files in octets), ``is_key_file``, and ``KeyFile``, a
key as it lies there, perhaps closed by a password of its own.
Who calls it: ``sniff`` and ``content.walk``; OpenPGP keys are read by ``pgp_secret``.
Must never: keep, log or return a key beyond the message; derive a key at a cost that the file sets without a limit.
Sources: docs/design.md section 10 ("protection.state"): what opens without a secret that is elsewhere is not strong;
RFC 5958 and 7468 (PEM of private keys), RFC 7292 (PKCS#12), RFC 8018 (their passwords), C2SP age (identities, BIP 173);
hostile-inputs catalogue E05.
"""

from __future__ import annotations

import binascii
import contextlib
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_pem_private_key,
    load_ssh_private_key,
    pkcs12,
)

from gateway.encryption import der
from gateway.encryption.der import CONTEXT, INTEGER, OCTETS, SEQUENCE, Node
from gateway.extraction.base import Budget, Found, Piece, Unreadable
from gateway.verdict import LeafState

MOST = 20
"""Keys of one text."""
_LARGEST = 200_000  # octets of a key file: a long chain of certificates beside it
_DEEPEST = 24
_MOST_ITERATIONS = 2_000_000
_SECONDS = 0.6e-6  # for each iteration; PKCS#12 goes through them for a key, a vector and a checksum
_PEM = re.compile(
    r"-----BEGIN ((?:RSA |EC |ENCRYPTED |OPENSSH )?PRIVATE KEY)-----([A-Za-z0-9+/=\s:,>\-]{16,20000}?)-----END \1-----", re.ASCII
)
_HEADERS = re.compile(r"Proc-Type:[^\n]*\n\s*DEK-Info:[^\n]*\n")
_BASE64 = re.compile(r"[^A-Za-z0-9+/=]")
_AGE = re.compile(r"AGE-SECRET-KEY-1([QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58})(?![A-Z0-9])")
_ALPHABET = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
_PBKDF2 = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c"
_PKCS7_DATA = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A private key as it lies in a message. *kind*: ``pem``, ``der``, ``openssh``, ``pkcs12`` or ``age``."""

    kind: str
    data: bytes
    locked: bool = False
    seconds: float = 0.0
    """Processor time that one try of a password takes, about."""

    def open(self, password: str, budget: Budget) -> tuple[object, ...]:
        """The private keys in it; none where *password* is wrong or the key is of a kind that we do not use. Never raises for the key."""
        budget.check_time()
        secret = password.encode("utf-8", "replace") if self.locked and password else None
        try:
            match self.kind:
                case "age":
                    return (X25519PrivateKey.from_private_bytes(self.data),)
                case "openssh":
                    return (load_ssh_private_key(self.data, None),)
                case "pem":
                    return (load_pem_private_key(self.data, secret),)
                case "der":
                    return (load_der_private_key(self.data, secret),)
                case _:
                    return _from_store(self.data, password.encode("utf-8", "replace"))
        except (ValueError, TypeError, UnsupportedAlgorithm):
            return ()


def _from_store(data: bytes, password: bytes) -> tuple[object, ...]:
    """The one key of a PKCS#12 file. An empty password is written in two ways."""
    for candidate in (password,) if password else (b"", None):
        try:
            key = pkcs12.load_key_and_certificates(data, candidate)[0]
        except ValueError:
            continue
        if key is not None:
            return (key,)
    return ()


def in_text(text: str) -> Iterator[KeyFile]:
    """The keys that *text* shows, at most ``MOST``."""
    found = 0
    if "PRIVATE KEY-----" in text:
        for match in _PEM.finditer(text):
            if (key := _pem(match[1], match[2])) is not None:
                yield key
            found += 1
            if found >= MOST:
                return
    if "AGE-SECRET-KEY-1" in text:
        for match in _AGE.finditer(text):
            if (scalar := _bech32(match[1])) is not None:
                yield KeyFile("age", scalar)
            found += 1
            if found >= MOST:
                return


def _pem(label: str, body: str) -> KeyFile | None:
    """One block, as a mail may have changed it: marks of quotation, other line ends, lines run together."""
    body = re.sub(r"(?m)^[> \t]+", "", body.replace("\r", ""))
    head = _HEADERS.search(body)
    lines = _BASE64.sub("", body[head.end() :] if head is not None else body)
    wrapped = "\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    fields = f"{head[0].strip()}\n\n" if head is not None else ""
    whole = f"-----BEGIN {label}-----\n{fields}{wrapped}\n-----END {label}-----\n".encode()
    if label.startswith("OPENSSH"):
        return KeyFile("openssh", whole)
    locked = head is not None or label.startswith("ENCRYPTED")
    if not label.startswith("ENCRYPTED"):
        return KeyFile("pem", whole, locked, 0.0003 if locked else 0.0)
    try:
        seconds = _cost(binascii.a2b_base64(lines))
    except (Unreadable, binascii.Error):
        return None
    return KeyFile("pem", whole, True, seconds) if seconds else None


def _bech32(text: str) -> bytes | None:
    """The 32 octets of an identity of age (BIP 173); None where its checksum is wrong."""
    values = [_ALPHABET.index(character) for character in text]
    prefix = "age-secret-key-"
    check = 1
    for value in (*(ord(one) >> 5 for one in prefix), 0, *(ord(one) & 31 for one in prefix), *values):
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            if top >> bit & 1:
                check ^= generator
    if check != 1:
        return None
    number = 0
    for value in values[:-6]:
        number = number << 5 | value
    return (number >> 4).to_bytes(32, "big")


def is_key_file(data: bytes) -> bool:
    """Whether the octets *data* are a PKCS#12 file or a private key in DER, by their structure."""
    return data[:1] == b"\x30" and 40 <= len(data) <= _LARGEST and _kind(data) != ""


def _kind(data: bytes) -> str:
    try:
        nodes = list(der.read(data.rstrip(b"\r\n") if data[-2:] == b"\r\n" else data))
        if len(nodes) != 1 or not nodes[0].is_(SEQUENCE):
            return ""
        fields = list(nodes[0].children())
    except Unreadable:
        return ""
    if len(fields) in (2, 3) and fields[0].is_(INTEGER) and fields[0].content == b"\x03" and fields[1].is_(SEQUENCE):
        return "pkcs12" if fields[1].content.startswith(_PKCS7_DATA) else ""
    if len(fields) >= 3 and fields[0].is_(INTEGER) and fields[0].content in (b"\x00", b"\x01"):
        if fields[1].is_(SEQUENCE) and fields[2].is_(OCTETS):
            return "der"  # PKCS#8
        if len(fields) >= 9 and all(field.is_(INTEGER) for field in fields[:9]):
            return "der"  # RSA
        if fields[0].content == b"\x01" and fields[1].is_(OCTETS) and fields[2].is_(0, CONTEXT):
            return "der"  # EC
    if len(fields) == 2 and fields[0].is_(SEQUENCE) and fields[1].is_(OCTETS) and b"\x2a\x86\x48\x86\xf7\x0d\x01" in fields[0].content:
        return "der"  # PKCS#8, encrypted
    return ""


def extract(piece: Piece, budget: Budget) -> Found:
    """A file of private keys: nobody sends one by accident only, so it is suspect, and its keys are tried. Raises Unreadable."""
    data = piece.data
    budget.check_time()
    if data[:1] != b"\x30":  # text, whose keys ``in_text`` finds
        return Found(state=LeafState.SUSPECT, reason="a private key that a password closes")
    kind = _kind(data)
    if not kind:
        raise Unreadable("a file of private keys that is broken")
    locked = kind == "pkcs12" or not next(iter(next(der.read(data)).children())).is_(INTEGER)
    seconds = _cost(data) if locked else 0.0
    keys = (KeyFile(kind, data, locked, seconds),) if seconds or not locked else ()
    media_type = "application/x-pkcs12" if kind == "pkcs12" else "application/pkcs8"
    return Found(state=LeafState.SUSPECT, reason="a file of private keys", keys=keys, media_type=media_type)


def _cost(data: bytes) -> float:
    """Seconds that one password takes by the counts of iterations in *data*; 0 where they are more than are tried, or not bounded."""
    counts = list(_counts(data, 0))
    worst = max(counts, default=1)
    return worst * _SECONDS * (4 if len(counts) > 1 else 1) + 0.0005 if worst <= _MOST_ITERATIONS else 0.0


def _counts(data: bytes, depth: int) -> Iterator[int]:
    """Every number that may be a count of iterations: one behind an octet string in a sequence. Three are those of scrypt (RFC 7914):
    its cost, its size of blocks and how often. Raises Unreadable."""
    nodes = list(der.read(data))
    for at, node in enumerate(nodes):
        if node.is_(OCTETS):
            numbers = [int.from_bytes(one.content[:9], "big") for one in itertools.takewhile(_is_number, nodes[at + 1 :])]
            yield from [math.prod(numbers[:3])] if len(numbers) >= 3 else numbers[:1]
        if node.constructed and depth < _DEEPEST:
            yield from _counts(node.content, depth + 1)
        elif node.is_(OCTETS) and node.content[:1] == b"\x30" and depth < _DEEPEST:
            with contextlib.suppress(Unreadable):  # octets that are none of our structures: a salt, or what is encrypted
                yield from list(_counts(node.content, depth + 1))


def _is_number(node: Node) -> bool:
    return node.is_(INTEGER)
