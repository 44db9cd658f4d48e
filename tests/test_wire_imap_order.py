"""The order of replies: ours never overtake, and stand between whole responses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.imap_order import Order
from tests.wire_imap_pair import Pair


def test_our_reply_waits_for_earlier_commands() -> None:
    order = Order()
    order.sent(b"a")
    order.sent(b"b")
    order.say(b"c NO\r\n")
    order.sent(b"d")
    order.say(b"e NO\r\n")
    assert order.due(True) == b""
    assert order.replied(b"b")
    assert order.due(True) == b""
    assert order.replied(b"a")
    assert order.due(False) == b""
    assert order.due(True) == b"c NO\r\n"
    assert order.outstanding == 1
    assert order.replied(b"d")
    assert order.due(True) == b"e NO\r\n"
    assert len(order) == 0


def test_a_reply_to_nothing_is_not_shown() -> None:
    order = Order()
    order.say(b"a NO\r\n")
    assert not order.replied(b"a")
    assert order.due(True) == b"a NO\r\n"


def test_our_reply_instead_of_the_servers() -> None:
    order = Order()
    order.sent(b"a")
    order.sent(b"b")
    order.instead(b"b", b"b NO [AUTHENTICATIONFAILED] no\r\n")
    assert not order.replied(b"b")
    assert order.due(True) == b""
    assert order.replied(b"a")
    assert order.due(True) == b"b NO [AUTHENTICATIONFAILED] no\r\n"


def test_full_and_the_rest() -> None:
    order = Order(2)
    order.sent(b"a")
    assert not order.full
    order.say(b"b NO\r\n")
    order.say(b"")
    assert order.full
    assert order.rest() == b"b NO\r\n"
    assert (len(order), order.outstanding, order.full) == (0, 0, False)


def test_I10_a_reply_of_ours_stands_between_whole_responses() -> None:
    pair = Pair().server_says(b"* 1 FETCH (BODY[] {10}\r\n12345").client_says(b"a X\r\n")
    assert pair.to_client == b"* 1 FETCH (BODY[] {10}\r\n12345"
    pair.server_says(b"67890 UID")
    assert b"BAD" not in pair.to_client
    pair.server_says(b" 1)\r\n* 2 EXISTS\r\n")
    assert pair.to_client == b"* 1 FETCH (BODY[] {10}\r\n1234567890 UID 1)\r\n* 2 EXISTS\r\na BAD The command is not offered here.\r\n"


def test_I10_a_server_that_dies_amid_a_response_leaves_it_open() -> None:
    pair = Pair().client_says(b"a FETCH 1 BODY[]\r\nb X\r\n").server_says(b"* 1 FETCH (BODY[] {10}\r\n12345")
    assert not pair.server.between
    assert pair.order.due(pair.server.between) == b""
    assert pair.order.outstanding == 1


@given(st.lists(st.sampled_from("sor"), max_size=60), st.randoms())
def test_what_comes_out_keeps_the_order_of_what_went_in(acts: list[str], rng: object) -> None:
    order, wanted, given_, open_ = Order(), [], [], []
    for number, act in enumerate(acts):
        tag = b"t%d" % number
        if act == "s":
            order.sent(tag)
            wanted.append(tag)
            open_.append(tag)
        elif act == "o":
            order.say(tag + b" ")
            wanted.append(tag)
        elif open_:
            first = open_.pop(0)
            assert order.replied(first)
            given_.append(first)
        given_ += order.due(True).split()
    for tag in open_:
        order.replied(tag)
        given_ += [tag, *order.due(True).split()]
    assert given_ == wanted
