"""Macros: what an MTA says beside its commands, how long it holds, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.milter import Milter
from gateway.wire.milter_events import Message, MilterError
from gateway.wire.milter_macros import KEPT, MESSAGE, STAGES, WANTED, Macros, plain_address
from tests.milter_lines import packet
from tests.test_wire_milter import END, MAIL, RCPT, events, opened


def macros(*packets: bytes) -> Macros:
    """Those that have taken *packets*."""
    said = Macros()
    for data in packets:
        said.take(data)
    return said


def test_T03_what_was_not_said_is_absent() -> None:
    codec = opened()
    assert dict(codec.macros) == {}
    codec.feed(packet(b"D", b"M{tls_version}\0TLSv1.3\0{auth_type}\0PLAIN\0") + MAIL)
    codec.next_event()
    assert dict(codec.macros) == {"{tls_version}": "TLSv1.3"}
    for name in ("{auth_authen}", "{client_addr}", "i"):
        assert name not in codec.macros


def test_T03_a_flood_of_macros_keeps_only_what_is_asked_for() -> None:
    flood = b"M" + b"".join(b"{x%d}\0%s\0" % (number, b"y" * 50) for number in range(15_000)) + b"i\x001\0"
    said = macros(*[flood] * 20)
    assert dict(said.known) == {"i": "1"}
    codec = opened()
    codec.feed((packet(b"D", flood) + packet(b"D", b"B" + flood[1:])) * 2)
    assert events(codec) == []
    assert codec.pending == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"M{auth_authen}",
        b"M{auth_authen}\0",
        b"M{auth_authen}\0officer",
        b"M{auth_authen}\0offi\0cer\0",
        b"M{auth_authen}\0offi\ncer\0",
        b"M{auth_authen}\0offi\rcer\0",
        b"M{auth_authen}\0\x7f\0",
        b"Mi\0\x1b[31m\0",
        b"M{cipher}\0" + b"x" * 4097 + b"\0",
        b"M{auth_authen}\0officer\0{auth_authen}\0minister\0",
    ],
    ids=repr,
)
def test_T03_macros_that_are_not_of_their_form(data: bytes) -> None:
    with pytest.raises(MilterError) as caught:
        macros(data)
    assert "officer" not in str(caught.value)
    codec = opened()
    codec.feed(packet(b"D", data) + MAIL)
    with pytest.raises(MilterError):
        codec.next_event()
    assert dict(codec.macros) == {}


def test_T03_two_values_in_one_place_of_nul_are_two_macros() -> None:
    # NUL in a value makes an even count of words: the second half is a name that nobody asks for, or has two values.
    assert dict(macros(b"M{auth_authen}\0offi\0cer\0x\0").known) == {"{auth_authen}": "offi"}
    with pytest.raises(MilterError):
        macros(b"Mi\x001\0{auth_authen}\0a\0{auth_authen}\0b\0")


def test_macros_of_commands_that_need_none_are_passed_over() -> None:
    said = macros(b"Mi\x001\0", b"Li\x002\0", b"Bi\x003", b"U", b"L\n")
    assert dict(said.known) == {"i": "1"}


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("IPv6:2001:DB8:0::1", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("IPv6:::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", ""),
        ("", ""),
        ("192.0.2.01", ""),
        ("IPv6:", ""),
        ("\u0661.2.3.4", ""),
    ],
)
def test_T03_a_client_address_is_one_or_is_absent(text: str, plain: str) -> None:
    assert plain_address(text) == plain
    known = macros(b"C{client_addr}\0" + text.encode() + b"\0").known
    assert known.get("{client_addr}", "") == plain


def test_names_of_one_letter_come_with_and_without_braces() -> None:
    assert dict(macros(b"M{i}\x004F2\0").known) == dict(macros(b"Mi\x004F2\0").known) == {"i": "4F2"}
    assert dict(macros(b"M{i}\x004F2\0", b"C{cipher}\0x\0").known) == {"{cipher}": "x"}
    assert dict(macros(b"C{cipher}\0x\0", b"M{i}\x004F2\0").known) == {"{cipher}": "x", "i": "4F2"}


def test_a_value_that_is_no_utf8_is_like_no_name_of_ours() -> None:
    assert macros(b"M{auth_authen}\0off\xe9cer\0").known["{auth_authen}"] == "off\ufffdcer"


def test_macros_of_a_stage_end_those_of_later_ones() -> None:
    said = macros(b"C{client_addr}\x00192.0.2.1\0", b"H{tls_version}\0TLSv1.3\0", b"M{auth_authen}\0officer\0", b"Ri\x001\0")
    assert len(said.known) == 4
    said.take(b"H")
    assert dict(said.known) == {"{client_addr}": "192.0.2.1"}


def test_T03_a_command_without_macros_does_not_keep_those_of_the_last_one_of_its_kind() -> None:
    codec = opened()
    codec.feed(packet(b"D", b"M{auth_authen}\0officer\0") + MAIL + packet(b"D", b"Ri\x001\0") + RCPT)
    events(codec)
    assert set(codec.macros) == {"{auth_authen}", "i"}
    codec.feed(RCPT)
    codec.next_event()
    assert set(codec.macros) == {"{auth_authen}"}


def test_T03_who_signed_in_for_one_message_has_not_for_the_next() -> None:
    codec = opened()
    codec.feed(packet(b"D", b"M{auth_authen}\0officer\0") + MAIL + RCPT + END)
    assert isinstance(events(codec)[-1], Message)
    codec.feed(MAIL)
    codec.next_event()
    assert dict(codec.macros) == {}


@pytest.mark.parametrize("again", [packet(b"K"), packet(b"C", b"other\0U")])
def test_T03_who_one_client_was_the_next_is_not(again: bytes) -> None:
    codec = Milter(100)
    codec.feed(packet(b"O", b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff") + packet(b"D", b"C{client_addr}\x00192.0.2.1\0"))
    codec.feed(packet(b"C", b"x\0U") + packet(b"D", b"H{tls_version}\0TLSv1.3\0") + packet(b"H", b"x\0"))
    events(codec)
    assert set(codec.macros) == {"{client_addr}", "{tls_version}"}
    codec.feed(again)
    events(codec)
    assert dict(codec.macros) == {}


def test_what_an_mta_is_asked_for_is_what_is_kept() -> None:
    assert {name.decode() for names in WANTED for name in names.split(b" ")} == KEPT | {"{none}"}
    assert len(WANTED) == 7
    assert STAGES[MESSAGE : MESSAGE + 1] == b"M"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from([b"M", b"C", b"i", b"\0", b"{auth_authen}\0a\0", b"{client_addr}\0", b"\n"]), st.binary(max_size=5)))
)
def test_T03_any_octets_are_macros_or_refused(pieces: list[bytes]) -> None:
    said = Macros()
    try:
        said.take(b"".join(pieces))
    except MilterError:
        assert dict(said.known) == {}
    assert set(said.known) <= KEPT
    assert all(value.isprintable() or "\ufffd" in value or not value.isascii() for value in said.known.values())
