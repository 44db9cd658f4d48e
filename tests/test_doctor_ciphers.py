"""Versions and suites of TLS that a Postfix may take."""

from __future__ import annotations

import pytest

from gateway import doctor_ciphers
from gateway.doctor_ciphers import NotKnown

HIGH = "aNULL:-aNULL:HIGH:@STRENGTH"


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        (">=TLSv1", "TLSv1", "TLSv1.3"),
        ("!SSLv2, !SSLv3", "TLSv1", "TLSv1.3"),
        ("!SSLv2,!SSLv3,!TLSv1,!TLSv1.1,!TLSv1.3", "TLSv1.2", "TLSv1.2"),
        ("TLSv1.2", "TLSv1.2", "TLSv1.2"),
        ("tlsv1.1 TLSv1.2", "TLSv1.1", "TLSv1.2"),
        (">=TLSv1.2, <=TLSv1.2", "TLSv1.2", "TLSv1.2"),
        (">=0303", "TLSv1.2", "TLSv1.3"),
        ("", "SSLv2", "TLSv1.3"),
    ],
)
def test_versions(value: str, first: str, last: str) -> None:
    found = doctor_ciphers.versions(value)
    assert (found[0], found[-1]) == (first, last)


def test_versions_that_contradict_each_other_or_are_unknown() -> None:
    assert doctor_ciphers.versions("TLSv1.2, !TLSv1.2") == ()
    for value in ("TLSv2", ">=QUIC", "!0x0999"):
        with pytest.raises(NotKnown):
            doctor_ciphers.versions(value)


def test_suites_without_aes_256_are_named() -> None:
    found = doctor_ciphers.weak(HIGH, "aNULL")
    assert {"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305"} <= set(found)
    assert "ECDHE-RSA-AES256-GCM-SHA384" not in found
    assert doctor_ciphers.weak(HIGH, "aNULL, AES128 CHACHA20,CAMELLIA, ARIA") == ()
    assert doctor_ciphers.weak("AES256", "") == ()
    assert doctor_ciphers.weak("AES256", "AES128, ARIA, CHACHA20") == ()
    assert doctor_ciphers.weak("eNULL:!aNULL", "")
    assert all(bits >= 256 for _, bits in doctor_ciphers.suites("AES256", ""))


@pytest.mark.parametrize(("base", "out"), [(HIGH, "ALL"), ("NO-SUCH-SUITE", ""), (HIGH, "!AES128"), (HIGH, "AES128:ARIA"), (HIGH, "+x")])
def test_no_suite_is_no_proof(base: str, out: str) -> None:
    with pytest.raises(NotKnown):
        doctor_ciphers.weak(base, out)
