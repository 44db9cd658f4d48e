"""DKIM results on strangers' mail: signed by dkimpy, keys by `cryptography`; the traps of the library closed."""

from __future__ import annotations

import base64

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.inspector import authentication
from gateway.message import signatures

NAME = "s1._domainkey.bank.example"
MAIL = b"From: <a@bank.example>\r\nTo: <officer@dept.gov.in>\r\nSubject: Statement\r\n\r\nSee the statement.\r\n"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())


def record(key: rsa.RSAPrivateKey) -> str:
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "v=DKIM1; k=rsa; p=" + base64.b64encode(der).decode()


def signed(key: rsa.RSAPrivateKey, mail: bytes = MAIL, **options: object) -> bytes:
    return dkim.sign(mail, b"s1", b"bank.example", pem(key), canonicalize=(b"relaxed", b"relaxed"), **options) + mail  # type: ignore[arg-type]


def headers(content: bytes) -> list[tuple[str, str]]:
    import email

    return [(name, value) for name, value in email.message_from_bytes(content).items()]


def result(content: bytes, keys: dict[str, str]) -> tuple[str, str]:
    (found,) = authentication.check(content, headers(content), keys)
    return found.result, found.domain


def test_a_good_signature_passes(key: rsa.RSAPrivateKey) -> None:
    content = signed(key)
    assert signatures.key_names(headers(content)) == (NAME,)
    assert result(content, {NAME: record(key)}) == ("pass", "bank.example")


@pytest.mark.parametrize(("added", "unsigned"), [
    (b"", ()),
    (b"Subject: SECRET\r\n", ("subject",)),
    (b"MESSAGE-ID: <root@dept.gov.in>\r\nX-Label: SECRET\r\n", ("message-id", "x-label")),
    (b"".join(b"X-%d: y\r\n" % n for n in range(101)), ("*",)),
])  # fmt: skip
def test_what_was_added_to_a_signed_message_is_named(key: rsa.RSAPrivateKey, added: bytes, unsigned: tuple[str, ...]) -> None:
    """A signature still passes when somebody who only hands the message on has put fields before it."""
    content = added + signed(key, include_headers=[b"from", b"to", b"subject"])
    (found,) = authentication.check(content, headers(content), {NAME: record(key)})
    assert (found.result, found.unsigned) == ("pass", unsigned)


def test_a_changed_body_fails(key: rsa.RSAPrivateKey) -> None:
    assert result(signed(key).replace(b"statement.", b"statement!"), {NAME: record(key)})[0] == "fail"


def test_M32_a_signature_over_part_of_the_body_gains_nothing(key: rsa.RSAPrivateKey) -> None:
    content = signed(key, length=True) + b"<b>more</b>\r\n"
    assert result(content, {NAME: record(key)})[0] == "policy"


def test_a_key_that_could_not_be_asked_for_is_temporary_and_a_missing_one_is_not(key: rsa.RSAPrivateKey) -> None:
    content = signed(key)
    assert result(content, {NAME: "?"})[0] == "temperror"
    assert result(content, {})[0] == "temperror"
    assert result(content, {NAME: ""})[0] == "permerror"
    assert result(content, {NAME: "v=DKIM1; p=AAAA"})[0] in ("permerror", "fail")


@pytest.mark.parametrize("value", ["", "d=x", "d=../..; s=a", "v=1; d=a b; s=c", "d=" + "a." * 200 + "b; s=c", "\x00"])
def test_odd_signatures_never_raise(value: str) -> None:
    content = b"DKIM-Signature: " + value.encode("ascii", "replace") + b"\r\n" + MAIL
    for found in authentication.check(content, [("DKIM-Signature", value)], {}):
        assert found.result in ("permerror", "temperror")


def test_only_five_signatures_are_looked_at() -> None:
    assert len(signatures.key_names([("DKIM-Signature", "d=a.example; s=b")] * 50)) == 5
