"""Private keys that stand in a message, as octets and as text: found, bounded, and never a fault of the reader."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from gateway.config import Limits
from gateway.encryption import pgp_armour, pgp_packets, pgp_secret, secret_keys
from gateway.extraction.base import Budget, Piece, Unreadable
from gateway.message.prescan import prescan
from gateway.message.views import strict
from gateway.protection import ProtectionState
from gateway.verdict import LeafState
from tests.content_mail import inspect

KEYS = Path(__file__).parent / "fixtures" / "keys"


def parts(name: str) -> list[bytes]:
    data = (KEYS / name).read_bytes()
    return [part.decoded() for part in strict(data, prescan(data, Limits()), Limits()).parts]


class TestText:
    def test_each_key_of_a_text_is_found_however_it_is_quoted(self) -> None:
        pem = parts("rsa-pem.eml")[2].decode()
        for text in (pem, pem.replace("\n", "\r\n"), "".join(f"> {line}\n" for line in pem.splitlines()), pem.replace("\n", " ")):
            (key,) = secret_keys.in_text(f"see below\n{text}\nregards")
            assert key.open("", Budget(Limits()))

    def test_an_identity_of_age_is_believed_by_its_checksum_only(self) -> None:
        text = parts("age-file.eml")[2].decode()
        (key,) = secret_keys.in_text(text)
        assert len(key.data) == 32
        changed = re.sub(r"(AGE-SECRET-KEY-1.{20})(.)", lambda match: match[1] + ("Q" if match[2] != "Q" else "P"), text)
        assert list(secret_keys.in_text(changed)) == []

    @pytest.mark.slow
    def test_a_text_of_many_keys_ends(self) -> None:
        pem = parts("ec-pem.eml")[2].decode()
        assert len(list(secret_keys.in_text(pem * 500))) == secret_keys.MOST
        assert list(secret_keys.in_text("-----BEGIN PRIVATE KEY-----" * 5_000)) == []

    def test_a_key_that_asks_for_hours_is_not_tried(self) -> None:
        salt = b"\x04\x08saltsalt"
        often = b"\x30\x10" + salt + b"\x02\x04\x7f\xff\xff\xff"
        scrypt = b"\x30\x16" + salt + b"\x02\x02\x40\x00" + b"\x02\x01\x08" + b"\x02\x03\x0f\xff\xff"
        scrypt = scrypt[:1] + bytes((len(scrypt) - 2,)) + scrypt[2:]
        assert (secret_keys._cost(often), secret_keys._cost(scrypt)) == (0.0, 0.0)
        assert secret_keys._cost(b"\x30\x0e" + salt + b"\x02\x02\x08\x00") > 0


@pytest.mark.parametrize("name", ["rsa-der.eml", "rsa-store.eml", "ec-der.eml"])
def test_a_damaged_key_file_is_read_or_refused(name: str) -> None:
    octets, rng = parts(name)[2], random.Random(5)
    assert secret_keys.is_key_file(octets)
    for _ in range(60):
        data = bytearray(octets)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(min(len(data), 120))] = rng.randrange(256)
        secret_keys.is_key_file(bytes(data))
        try:
            found = secret_keys.extract(Piece(bytes(data)), Budget(Limits()))
        except Unreadable:
            continue
        assert found.state is LeafState.SUSPECT
        for key in found.keys:
            if key.seconds < 0.01:
                key.open("", Budget(Limits()))


@pytest.mark.parametrize("name", ["pgp-rsa.eml", "pgp-ecc.eml", "pgp-closed.eml"])
def test_a_damaged_openpgp_key_is_read_or_refused(name: str) -> None:
    block = pgp_armour.whole(parts(name)[2])
    assert block is not None
    packets, _ = pgp_packets.read(block.data)
    rng = random.Random(6)
    for packet in packets:
        assert bool(pgp_secret.keys_of([packet])) == (packet.tag in (pgp_packets.SECRET_KEY, pgp_packets.SECRET_SUBKEY))
        for _ in range(40):
            data = bytearray(packet.body)
            data[rng.randrange(min(len(data), 60))] = rng.randrange(256)
            changed = pgp_packets.Packet(packet.tag, bytes(data[: rng.randrange(len(data) + 1)]), 0, 0)
            for key in pgp_secret.keys_of([changed]):
                if key.seconds < 0.01:
                    key.open("x", Budget(Limits()))


def test_E05_a_key_of_somebody_else_opens_nothing() -> None:
    found = inspect((KEYS / "key-of-another.eml").read_bytes())
    leaf = next(one for one in found.leaves if one.name == "x.p7m")
    assert (leaf.protection.state, leaf.state) == (ProtectionState.STRONG, LeafState.OPAQUE)
