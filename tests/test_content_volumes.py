"""Headers of encrypted stores are no proof; password recipients of CMS with AES-GCM, which openssl does not write."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from gateway.levels import Level
from gateway.protection import ProtectionState
from gateway.verdict import LeafState
from tests.content_mail import attached, inspect, leaf, mail
from tests.test_content_cms import DATA, oid, tlv

NOISE = random.Random(7).randbytes(4_096)
NOTE = b"CONFIDENTIAL\n\n" + b"The note on the annual budget is put up for approval.\n" * 20


def keepass(body: bytes) -> bytes:
    fields = b"\x02\x10\x00\x00\x00" + bytes(16) + b"\x04\x20\x00\x00\x00" + bytes(32) + b"\x00\x04\x00\x00\x00\r\n\r\n"
    return b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5\x00\x00\x04\x00" + fields + bytes(64) + body


def aescrypt(body: bytes) -> bytes:
    return b"AES\x02\x00\x00\x1bCREATED_BY\x00aescrypt 3.10   \x00\x00" + body


HEADERS: dict[str, Callable[[bytes], bytes]] = {
    "keepass": keepass, "aescrypt": aescrypt,
    "bitlocker": lambda body: b"\xeb\x58\x90-FVE-FS-" + bytes(501) + body,
    "axcrypt": lambda body: b"\xc0\xb9\x07\x2e\x4f\x93\xf1\x46" + bytes(56) + body,
    "dmg": lambda body: b"encrcdsa" + bytes(56) + body,
}  # fmt: skip


@pytest.mark.parametrize("scheme", HEADERS)
def test_E21_a_header_is_no_proof(scheme: str) -> None:
    true = leaf(attached(HEADERS[scheme](NOISE), "store.bin"))
    assert (true.state, true.protection.state, true.protection.scheme) == (LeafState.SUSPECT, ProtectionState.UNVERIFIABLE, scheme)
    fake = attached(HEADERS[scheme](NOTE), "store.bin")
    assert (leaf(fake).state, leaf(fake).protection.state) == (LeafState.SUSPECT, ProtectionState.NONE)
    assert Level.CONFIDENTIAL in {one.level for one in fake.findings}


def enveloped_gcm(password: str, content: bytes) -> bytes:
    """AuthEnvelopedData (RFC 5083) to a password (RFC 3211)."""
    key, salt, vector, nonce = os.urandom(32), os.urandom(8), os.urandom(16), os.urandom(12)
    kek = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 2_048, 32)
    plain = bytes((32,)) + bytes(octet ^ 0xFF for octet in key[:3]) + key + bytes(12)
    inner = Cipher(AES(kek), CBC(vector)).encryptor().update(plain)
    wrapped = Cipher(AES(kek), CBC(inner[-16:])).encryptor().update(inner)
    prf = tlv(0x30, oid("1.2.840.113549.2.9"), tlv(5))
    derivation = tlv(0xA0, oid("1.2.840.113549.1.5.12"), tlv(0x30, tlv(4, salt), tlv(2, b"\x08\x00"), prf))
    encryption = tlv(0x30, oid("1.2.840.113549.1.9.16.3.9"), tlv(0x30, oid("2.16.840.1.101.3.4.1.42"), tlv(4, vector)))
    recipient = tlv(0xA3, tlv(2, b"\0"), derivation, encryption, tlv(4, wrapped))
    sealed = AESGCM(key).encrypt(nonce, content, None)
    algorithm = tlv(0x30, oid("2.16.840.1.101.3.4.1.46"), tlv(0x30, tlv(4, nonce), tlv(2, b"\x10")))
    info = tlv(0x30, oid(DATA), algorithm, tlv(0x80, sealed[:-16]))
    return tlv(
        0x30, oid("1.2.840.113549.1.9.16.1.23"), tlv(0xA0, tlv(0x30, tlv(2, b"\0"), tlv(0x31, recipient), info, tlv(4, sealed[-16:])))
    )


def test_E05_E22_a_password_recipient_with_gcm() -> None:
    data = enveloped_gcm("Tulip-7-Jhelum", NOTE)
    silent = leaf(attached(data, "note.p7m"))
    assert (silent.state, silent.protection.state, silent.protection.cipher) == (LeafState.OPAQUE, ProtectionState.STRONG, "AES-256-GCM")
    told = inspect(mail(data, "note.p7m", body="Password: Tulip-7-Jhelum"))
    assert (leaf(told).state, leaf(told).protection.state) == (LeafState.SUSPECT, ProtectionState.WEAK)
    assert Level.CONFIDENTIAL in {one.level for one in told.findings}


def test_an_empty_password_is_none() -> None:
    found = attached(enveloped_gcm("", NOTE), "note.p7m")
    assert leaf(found).protection.state is ProtectionState.WEAK
    assert Level.CONFIDENTIAL in {one.level for one in found.findings}
