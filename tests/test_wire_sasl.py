"""The login in a SASL payload (hostile-inputs catalogue I12)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import sasl
from gateway.wire.sasl import SaslError, login_of


def b64(payload: bytes) -> bytes:
    return base64.b64encode(payload)


@pytest.mark.parametrize(
    ("mechanism", "payload", "login"),
    [
        ("PLAIN", b"\0so\0pw", "so"), ("PLAIN", b"so@a.in\0so@a.in\0pw", "so@a.in"), ("LOGIN", "अ".encode(), "अ"),
        ("XOAUTH2", b"user=so@a.in\1auth=Bearer t\1\1", "so@a.in"), ("OAUTHBEARER", b"n,a=so@a.in,\1host=x\1auth=Bearer t\1\1", "so@a.in"),
        ("OAUTHBEARER", b"n,a=s=2Co=3D,\1auth=Bearer t\1\1", "s,o="),
        ("SCRAM-SHA-256", b"n,,n=so,r=abc", "so"), ("SCRAM-SHA-1", b"y,a=so,n=so,r=abc", "so"),
        ("SCRAM-SHA-1", b"n,,n=s=2Co,r=a,x=1", "s,o"),
    ],
)  # fmt: skip
def test_I12_the_login_is_read(mechanism: str, payload: bytes, login: str) -> None:
    assert login_of(mechanism, b64(payload)) == login


@pytest.mark.parametrize(
    ("mechanism", "payload"),
    [
        ("PLAIN", b"boss\0so\0pw"), ("PLAIN", b"so\0pw"), ("PLAIN", b"\0so\0pw\0x"), ("PLAIN", b"\0\0pw"), ("PLAIN", b"\0s\no\0pw"),
        ("PLAIN", b"\0\xff\0pw"), ("PLAIN", b""), ("LOGIN", b""), ("LOGIN", b"a\0b"), ("LOGIN", b"x" * 256),
        ("XOAUTH2", b"auth=Bearer t\1user=so\1\1"), ("XOAUTH2", b"user=so\1user=boss\1\1"), ("XOAUTH2", b"user=so\1USER=boss\1\1"),
        ("XOAUTH2", b"user=so\1auth=Bearer t"), ("OAUTHBEARER", b"n,,\1auth=Bearer t\1\1"), ("OAUTHBEARER", b"p=tls,a=so,\1\1"),
        ("OAUTHBEARER", b"n,a=so,x\1"), ("SCRAM-SHA-1", b"p=tls-unique,,n=so,r=a"), ("SCRAM-SHA-1", b"n,,m=x,n=so,r=a"),
        ("SCRAM-SHA-1", b"n,a=boss,n=so,r=a"), ("SCRAM-SHA-1", b"n,,n=s=4fo,r=a"), ("SCRAM-SHA-1", b"n,,n=so"),
        ("SCRAM-SHA-1-PLUS", b"n,,n=so,r=a"), ("CRAM-MD5", b"so abc"), ("GSSAPI", b"x"),
    ],
)  # fmt: skip
def test_I12_what_could_be_read_in_two_ways_is_refused(mechanism: str, payload: bytes) -> None:
    with pytest.raises(SaslError) as error:
        login_of(mechanism, b64(payload))
    assert "boss" not in str(error.value)


@pytest.mark.parametrize("response", [b"AHNvAHB3=", b"AHNv AHB3", b"!", b"AHNvAHB3\n", b"A" * 70_000])
def test_I12_base64_is_exact(response: bytes) -> None:
    with pytest.raises(SaslError):
        login_of("PLAIN", response)


def test_challenges_of_LOGIN() -> None:
    assert sasl.asks_for_a_name(b64(b"Username:"))
    assert sasl.asks_for_a_name(b64(b"User Name\0"))
    assert not sasl.asks_for_a_name(b64(b"Password:"))
    assert not sasl.asks_for_a_name(b"?")


@given(st.sampled_from(sorted(sasl.READABLE)), st.binary(max_size=60))
def test_it_reads_or_raises_the_one_error(mechanism: str, payload: bytes) -> None:
    try:
        assert login_of(mechanism, b64(payload)).isprintable()
    except SaslError:
        pass
