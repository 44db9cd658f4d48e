"""DKIM signing: stock dkimpy accepts what we sign, the fast body form is dkimpy's, and protected fields cannot be added."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from dkim.canonicalization import Relaxed

from gateway.config import Config
from gateway.relay.signing import Signer, SigningError, relaxed_body

NOW = 1_760_000_000.0


class _Nacl:
    """What dkimpy takes from PyNaCl for Ed25519, by cryptography (PyNaCl is not a dependency)."""

    class exceptions:
        class BadSignatureError(Exception):
            pass

    class encoding:
        Base64Encoder = object()

    class signing:
        class VerifyKey:
            def __init__(self, data: bytes, encoder: object = None) -> None:
                raw = base64.b64decode(data) if encoder is not None else bytes(data)
                self._key = ed25519.Ed25519PublicKey.from_public_bytes(raw)

            def verify(self, digest: bytes, signature: bytes) -> bytes:
                from cryptography.exceptions import InvalidSignature

                try:
                    self._key.verify(signature, digest)
                except InvalidSignature:
                    raise _Nacl.exceptions.BadSignatureError from None
                return digest


def _pem(key: object) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[bytes, bytes]]:
    folder = tmp_path_factory.mktemp("keys")
    rsa_key, ed_key = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
    (folder / "rsa.pem").write_bytes(_pem(rsa_key))
    (folder / "ed.pem").write_bytes(_pem(ed_key))
    (folder / "small.pem").write_bytes(_pem(rsa.generate_private_key(65537, 1024)))
    public = rsa_key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    raw = ed_key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    records = {
        b"r._domainkey.dept.gov.in.": b"v=DKIM1; k=rsa; p=" + base64.b64encode(public),
        b"e._domainkey.dept.gov.in.": b"v=DKIM1; k=ed25519; p=" + base64.b64encode(raw),
    }
    return folder / "rsa.pem", folder / "ed.pem", records


def _signer(*entries: tuple[str, str, Path]) -> Signer:
    return Signer(Config(dkim=tuple({"domain": d, "selector": s, "key_file": f} for d, s, f in entries)), lambda: NOW)


def _verify(message: bytes, records: dict[bytes, bytes], index: int = 0) -> bool:
    verifier = dkim.DKIM(message)
    try:
        return bool(verifier.verify(index, dnsfunc=lambda name, timeout=5: records[name]))
    except dkim.ValidationError:
        return False


MESSAGE = (
    b"Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0530\r\n"
    b"From: Section Officer <so@dept.gov.in>\r\nTo: a@nic.in,\r\n b@nic.in\r\nSubject: =?utf-8?q?Tour?= \r\n programme\r\n"
    b'SIO-Label: marking="CONFIDENTIAL"\r\nX-Protective-Marking: VER=2018.4, NS=gov.in, SEC=CONFIDENTIAL\r\n'
    b"Message-ID: <1@dept.gov.in>\r\nDate: Thu, 1 Jan 2026 00:00:00 +0530\r\n\r\n"
    b"Dear Sir, \t\r\n  two  blanks\tand a tab\r\n.leading dot\r\n\r\n\r\n"
)


def test_stock_dkimpy_verifies_rsa_and_ed25519(keys: tuple[Path, Path, dict[bytes, bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dkim, "nacl", _Nacl, raising=False)
    rsa_file, ed_file, records = keys
    signed = _signer(("dept.gov.in", "r", rsa_file), ("dept.gov.in", "e", ed_file)).sign(MESSAGE, "so@dept.gov.in")
    assert signed.endswith(MESSAGE)
    assert signed.count(b"DKIM-Signature:") == 2
    assert _verify(signed, records, 0)
    assert _verify(signed, records, 1)
    changed = signed.replace(b"Dear Sir", b"Dear Sit")
    assert not _verify(changed, records, 0)
    assert not _verify(changed, records, 1)


@pytest.mark.parametrize(
    "field", [b"From: x@evil.example", b"Subject: other", b"SIO-Label: marking=NONE", b"X-Protective-Marking: SEC=UNCLASSIFIED"]
)
@pytest.mark.parametrize("bare", [False, True])
def test_protected_fields_cannot_be_added(keys: tuple[Path, Path, dict[bytes, bytes]], field: bytes, bare: bool) -> None:
    """Oversigned also where the message has no such field."""
    rsa_file, _, records = keys
    message = b"From: so@dept.gov.in\r\n\r\nhello\r\n" if bare else MESSAGE
    signed = _signer(("dept.gov.in", "r", rsa_file)).sign(message, "so@dept.gov.in")
    assert _verify(signed, records)
    assert not _verify(field + b"\r\n" + signed, records)


def test_no_length_tag_and_no_sha1(keys: tuple[Path, Path, dict[bytes, bytes]]) -> None:
    signed = _signer(("dept.gov.in", "r", keys[0])).sign(MESSAGE, "so@dept.gov.in")
    field = signed[: signed.index(b"\r\nReceived:")].replace(b"\r\n", b"")
    tags = dict(tag.strip().split(b"=", 1) for tag in field.removeprefix(b"DKIM-Signature:").split(b";"))
    assert b"l" not in tags
    assert tags[b"a"] == b"rsa-sha256"
    assert tags[b"t"] == b"1760000000"
    assert b"received" not in tags[b"h"]


@pytest.mark.parametrize(
    ("header_from", "sender", "signed"),
    [
        (b"so@dept.gov.in", "so@dept.gov.in", True),
        (b"so@sub.dept.gov.in", "so@sub.dept.gov.in", True),  # a parent's key
        (b"so@xdept.gov.in", "so@xdept.gov.in", False),  # not on a label boundary
        (b"so@other.in", "so@dept.gov.in", True),  # From is not ours, the sender is
        (b"so@other.in", "", False),
        (b"a@dept.gov.in, b@other.in", "", False),  # two domains in From: neither is chosen
    ],
)
def test_domain_is_chosen_by_from_then_sender(
    keys: tuple[Path, Path, dict[bytes, bytes]], header_from: bytes, sender: str, signed: bool
) -> None:
    message = b"From: " + header_from + b"\r\nSubject: x\r\n\r\nhello\r\n"
    result = _signer(("dept.gov.in", "r", keys[0])).sign(message, sender)
    assert result.startswith(b"DKIM-Signature:") is signed
    if signed:
        assert _verify(result, keys[2])


def test_relaxed_body_is_dkimpys_on_thousands_of_random_bodies() -> None:
    rng = random.Random(7)
    pieces = [b" ", b"  ", b"\t", b"\r\n", b"\r\n\r\n", b"a", b"word", b" \r\n", b"\t\r\n", b".", b"\xe0\xa4", b"\r", b"\n", b""]
    for _ in range(20_000):
        body = b"".join(rng.choices(pieces, k=rng.randrange(0, 24)))
        assert relaxed_body(body) == Relaxed.canonicalize_body(body), body


@pytest.mark.parametrize(
    "message", [b" leading blank\r\n\r\nx\r\n", b"no colon here\r\n\r\nx\r\n", b"N\xc3\xa4me: x\r\nFrom: so@dept.gov.in\r\n\r\n", b"x", b""]
)
def test_unsignable_mail_goes_as_it_is(keys: tuple[Path, Path, dict[bytes, bytes]], message: bytes) -> None:
    assert _signer(("dept.gov.in", "r", keys[0])).sign(message, "so@dept.gov.in") == message


def test_a_bad_key_is_an_error_that_names_domain_and_file(keys: tuple[Path, Path, dict[bytes, bytes]], tmp_path: Path) -> None:
    with pytest.raises(SigningError, match=r"dept\.gov\.in.*missing\.pem"):
        _signer(("dept.gov.in", "r", tmp_path / "missing.pem"))
    with pytest.raises(SigningError, match="2048"):
        _signer(("dept.gov.in", "r", keys[0].parent / "small.pem"))
    (tmp_path / "junk.pem").write_bytes(b"junk")
    with pytest.raises(SigningError, match=r"junk\.pem"):
        _signer(("dept.gov.in", "r", tmp_path / "junk.pem"))
