"""The quick check of a password agrees with the library's, for all digests and key sizes."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from msoffcrypto.method.ecma376_agile import ECMA376Agile

from gateway.office import agile_verifier

_BLOCKS = (bytes.fromhex("fea7d2763b4b9e79"), bytes.fromhex("d7aa0f6d3061344e"))


def verifier(name: str, bits: int, password: str, spins: int = 300) -> dict[str, Any]:
    """A verifier for *password*, made with the key derivation of the library."""
    salt = random.Random(bits).randbytes(16)
    base = ECMA376Agile._derive_iterated_hash_from_password(password, salt, name, spins).digest()
    given = random.Random(7).randbytes(16)
    proof = hashlib.new(name, given).digest()
    proof += bytes(-len(proof) % 16)
    sealed = []
    for block, plain in zip(_BLOCKS, (given, proof), strict=True):
        engine = Cipher(algorithms.AES(ECMA376Agile._derive_encryption_key(base, block, name, bits)), modes.CBC(salt)).encryptor()
        sealed.append(engine.update(plain) + engine.finalize())
    return {
        "passwordSalt": salt, "passwordHashAlgorithm": name, "spinValue": spins, "passwordKeyBits": bits,
        "encryptedVerifierHashInput": sealed[0], "encryptedVerifierHashValue": sealed[1],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["SHA256", "SHA384", "SHA512"])
@pytest.mark.parametrize("bits", [128, 192, 256])
@pytest.mark.parametrize("password", ["Tulip-7-Jhelum", "झेलम 7", "x"])
def test_as_the_library(name: str, bits: int, password: str) -> None:
    info = verifier(name, bits, password)
    for word in (password, password + " ", "", "Tulip-7-jhelum"):
        library = ECMA376Agile.verify_password(
            word, info["passwordSalt"], name, info["encryptedVerifierHashInput"], info["encryptedVerifierHashValue"],
            info["spinValue"], bits,
        )  # fmt: skip
        assert agile_verifier.fits(info, word) == library == (word == password)


def test_sha1_as_the_library() -> None:
    info = verifier("SHA1", 128, "Tulip")
    for word in ("Tulip", "tulip"):
        library = ECMA376Agile.verify_password(
            word, info["passwordSalt"], "SHA1", info["encryptedVerifierHashInput"], info["encryptedVerifierHashValue"],
            info["spinValue"], 128,
        )  # fmt: skip
        assert agile_verifier.fits(info, word) == library


def test_a_broken_verifier_is_an_error() -> None:
    info = verifier("SHA512", 256, "x") | {"encryptedVerifierHashInput": b"short"}
    with pytest.raises(ValueError, match="multiple of the block length"):
        agile_verifier.fits(info, "x")
