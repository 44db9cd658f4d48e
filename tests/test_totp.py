"""Codes of a device against RFC 6238's own vectors, and that none is taken twice."""

from __future__ import annotations

import base64

import pyotp
import pytest

from gateway.signin import totp

RFC = base64.b32encode(b"12345678901234567890").decode()
NOW = 1_790_000_000


@pytest.mark.parametrize(("at", "code"), [(59, "94287082"), (1111111109, "07081804"), (1234567890, "89005924"), (20000000000, "65353130")])
def test_the_vectors_of_rfc_6238(at: int, code: str) -> None:
    assert totp.taken(RFC, code[2:], at, 0) == at // 30


@pytest.mark.parametrize(("off", "good"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_clock_may_be_wrong_by_one_step(off: int, good: bool) -> None:
    assert bool(totp.taken(RFC, pyotp.TOTP(RFC).at(NOW + off), NOW, 0)) == good


def test_no_code_is_taken_twice_nor_one_from_before() -> None:
    step = totp.taken(RFC, pyotp.TOTP(RFC).at(NOW), NOW, 0)
    assert totp.taken(RFC, pyotp.TOTP(RFC).at(NOW), NOW, step) == 0
    assert totp.taken(RFC, pyotp.TOTP(RFC).at(NOW - 30), NOW, step) == 0
    assert totp.taken(RFC, pyotp.TOTP(RFC).at(NOW + 30), NOW, step) == step + 1


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "१२३४५६", "12345\0", "-12345", "1e5", " " * 6, "0" * 10_000])
def test_what_is_no_code(code: str) -> None:
    assert totp.taken(RFC, code, NOW, 0) == 0


def test_a_code_may_be_typed_with_a_blank_in_the_middle() -> None:
    code = pyotp.TOTP(RFC).at(NOW)
    assert totp.taken(RFC, f" {code[:3]} {code[3:]} ", NOW, 0)


def test_secrets_have_160_bits_and_the_address_says_what_it_is() -> None:
    secret = totp.new_secret()
    assert len(base64.b32decode(secret)) == 20
    assert secret != totp.new_secret()
    parsed = pyotp.parse_uri(totp.uri(secret, "asha@x", "gw1.dept.gov.in"))
    assert (parsed.secret, parsed.name, parsed.issuer) == (secret, "asha@x", "gw1.dept.gov.in")
