"""The PROXY protocol's header: what it names, what is none, and that no octet behind it is ever wanted."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.proxy import Parser, ProxyError, Source

V2 = b"\r\n\r\n\0\r\nQUIT\n"
BEHIND = b"\x16\x03\x01EHLO client.example\r\n"


def v2(family: int, block: bytes, command: int = 0x21) -> bytes:
    return V2 + bytes([command, family]) + struct.pack(">H", len(block)) + block


def four(client: str = "203.0.113.7", port: int = 4711) -> bytes:
    return ipaddress.ip_address(client).packed + bytes([10, 0, 0, 1]) + struct.pack(">HH", port, 25)


def six(client: str, port: int = 4711) -> bytes:
    return ipaddress.ip_address(client).packed + ipaddress.ip_address("2001:db8::1").packed + struct.pack(">HH", port, 25)


def read(data: bytes, step: int = 1_000_000) -> tuple[Source | None, bytes]:
    """Source and the octets that were left, reading as much as is wanted but never more than *step* at a time."""
    parser, position = Parser(), 0
    while position < len(data):
        taken = data[position : position + min(parser.wanted, step)]
        position += len(taken)
        source = parser.feed(taken)
        if source is not None:
            assert parser.wanted == 0
            return source, data[position:]
        assert parser.wanted > 0
    return None, b""


GOOD = [
    (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 25\r\n", Source("203.0.113.7", 4711)),
    (b"PROXY TCP4 1.1.1.1 2.2.2.2 0 0\r\n", Source("1.1.1.1", 0)),
    (b"PROXY TCP6 2001:DB8::7 2001:db8::1 4711 25\r\n", Source("2001:db8::7", 4711)),
    (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 4711 25\r\n", Source("203.0.113.7", 4711)),
    (
        b"PROXY TCP6 " + b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff " * 2 + b"65535 65535\r\n",
        Source("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
    ),
    (b"PROXY UNKNOWN\r\n", Source()),
    (b"PROXY UNKNOWN ffff:: whatever the balancer thinks\r\n", Source()),
    (v2(0x11, four()), Source("203.0.113.7", 4711)),
    (v2(0x11, four() + b"\x04\0\x03abc" + b"\x20\0\x05\1\0\0\0\0"), Source("203.0.113.7", 4711)),
    (v2(0x21, six("2001:db8::7")), Source("2001:db8::7", 4711)),
    (v2(0x21, six("::ffff:203.0.113.7")), Source("203.0.113.7", 4711)),
    (v2(0x11, four(), 0x20), Source()),
    (v2(0x00, b"", 0x20), Source()),
    (v2(0x55, b"x" * 40, 0x20), Source()),
    (v2(0x00, b"\x04\0\x01x"), Source()),
    (v2(0x31, b"\0" * 216), Source()),
]
BAD = [
    b"EHLO client.example\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 and so on",
    b"proxy tcp4 1.1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n",
    b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
    b"PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP4 ::1 ::1 1 2\r\n",
    b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n",
    b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2x\r\n",
    b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
    "PROXY TCP4 १.1.1.1 2.2.2.2 1 2\r\n".encode(),
    b"PROXY " + b"x" * 200,
    b"PROXY UNKNOWN" + b" " * 200 + b"\r\n",
    b"PROXY UNKNOWN\nEHLO x\r\n",
    V2[:-1] + b"\r",
    v2(0x11, four(), 0x11),
    v2(0x11, four(), 0x22),
    v2(0x12, four()),
    v2(0x22, six("::1")),
    v2(0x41, b"x" * 300),
    v2(0x01, b""),
    v2(0x10, four()),
    v2(0x11, four()[:-1]),
    v2(0x21, four()),
    v2(0x31, b"x" * 215),
    v2(0x11, b"\0" * 5000),
]


@pytest.mark.parametrize("step", [1, 2, 7, 1_000_000])
@pytest.mark.parametrize(("header", "source"), GOOD)
def test_headers_and_what_stands_behind_them(header: bytes, source: Source, step: int) -> None:
    assert read(header + BEHIND, step) == (source, BEHIND)


@pytest.mark.parametrize("data", BAD)
def test_S41_what_is_no_header(data: bytes) -> None:
    with pytest.raises(ProxyError) as caught:
        read(data + b"\r\n" * 60)
    assert "1.1.1" not in str(caught.value)


def test_half_a_header_is_none_yet() -> None:
    for header, _ in GOOD:
        for end in range(1, len(header)):
            assert read(header[:end]) == (None, b"")


def test_more_than_was_wanted_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="wanted"):
        Parser().feed(b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 25\r\n")


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=120).map(lambda rest: b"PROXY " + rest),
        st.binary(max_size=120).map(lambda rest: b"PROXY TCP4 " + rest + b"\r\n"),
        st.binary(max_size=300).map(lambda rest: V2 + rest),
        st.builds(v2, st.integers(0, 255), st.binary(max_size=300), st.sampled_from([0x20, 0x21, 0x22, 0x31])),
        st.tuples(st.sampled_from([header for header, _ in GOOD]), st.integers(0, 60), st.binary(min_size=1, max_size=3)).map(
            lambda t: t[0][: t[1]] + t[2] + t[0][t[1] + len(t[2]) :]
        ),
    ),
    st.integers(1, 20),
)
def test_S41_any_octets_are_a_header_or_the_named_error(data: bytes, step: int) -> None:
    try:
        source, left = read(data + BEHIND, step)
    except ProxyError:
        return
    if source is not None and source.address:
        ipaddress.ip_address(source.address)
        assert 0 <= source.port <= 65535
        assert left.endswith(BEHIND)
