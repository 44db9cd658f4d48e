"""What we write to an MTA: nothing that came in a value becomes a line, a field or a packet of its own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.reply import OUR_FAULT, Reply
from gateway.wire import milter_codec
from gateway.wire.milter_events import (
    AddHeader,
    AddRecipient,
    Change,
    ChangeHeader,
    DeleteRecipient,
    Final,
    InsertHeader,
    Message,
    MilterError,
    Negotiated,
    Quarantine,
)
from tests.milter_lines import packets
from tests.test_wire_milter import WHOLE, opened

AGREED = Negotiated(6, 0x13D, 0x1F3180, quarantine=True, leading_space=True)
OLD = Negotiated(2, 0x19, 0, quarantine=False, leading_space=False)
TEXTS = st.text(st.sampled_from("aé \t\n\r\0:%\x7f\u2028\x85<>"), max_size=12)


@pytest.mark.parametrize(
    ("change", "said", "old"),
    [
        (AddHeader("X-A", "b"), b"hX-A\0 b\0", b"hX-A\0b\0"),
        (AddHeader("X-A", ""), b"hX-A\0 \0", b"hX-A\0\0"),
        (InsertHeader(0, "X-A", "b\n\tc\n d"), b"i\0\0\0\0X-A\0 b\n\tc\n d\0", b"i\0\0\0\0X-A\0b\n\tc\n d\0"),
        (AddHeader("X-A", "\n b"), b"hX-A\0 \n b\0", b"hX-A\0\n b\0"),
        (InsertHeader(258, "X-A", "b"), b"i\0\0\x01\x02X-A\0 b\0", b"i\0\0\x01\x02X-A\0b\0"),
        (ChangeHeader(2, "X-A", "b"), b"m\0\0\0\x02X-A\0 b\0", b"m\0\0\0\x02X-A\0b\0"),
        (ChangeHeader(1, "X-A", ""), b"m\0\0\0\x01X-A\0\0", b"m\0\0\0\x01X-A\0\0"),
        (DeleteRecipient(b"<c@d.in>"), b"-<c@d.in>\0", b"-<c@d.in>\0"),
        (DeleteRecipient(b'"a b"@d.in'), b'-"a b"@d.in\0', b'-"a b"@d.in\0'),
    ],
)
def test_changes_as_they_stand_on_the_wire(change: Change, said: bytes, old: bytes) -> None:
    assert packets(milter_codec.change(change, AGREED)) == [said]
    assert packets(milter_codec.change(change, OLD)) == [old]


def test_what_was_not_negotiated_is_not_said() -> None:
    assert packets(milter_codec.change(AddRecipient(b"<c@d.in>"), AGREED)) == [b"+<c@d.in>\0"]
    assert packets(milter_codec.change(Quarantine("held 100%"), AGREED)) == [b"qheld 100%\0"]
    for change in (AddRecipient(b"<c@d.in>"), Quarantine("held")):
        with pytest.raises(MilterError):
            milter_codec.change(change, OLD)


LONG = "x" * 998
BAD_VALUES = (
    "a\nBcc: y@z.in", "a\r\n b", "a\rb", "a\0b", "a\n", "a\n\n b", "a\n \n b", "a\n\t", " a", "\ta", "é", "a\x7f", "a\x0bb",
    "a\x85b", "a\u2028b", LONG, "a\n " + LONG, " ",
)  # fmt: skip


@pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: repr(value[:12]))
def test_T08_values_that_would_be_lines_of_their_own(value: str) -> None:
    for change in (AddHeader("X-A", value), InsertHeader(0, "X-A", value), ChangeHeader(1, "X-A", value)):
        with pytest.raises(MilterError) as caught:
            milter_codec.change(change, AGREED)
        assert "Bcc" not in str(caught.value)


def test_T08_a_line_of_998_octets_goes_and_one_of_999_does_not() -> None:
    name = "X-A"
    value = "x" * (998 - len(name) - 2)
    milter_codec.change(AddHeader(name, value), AGREED)
    milter_codec.change(AddHeader(name, f"{value}\n {'y' * 997}"), AGREED)
    for long in (f"{value}x", f"a\n {'y' * 998}"):
        with pytest.raises(MilterError, match="998"):
            milter_codec.change(AddHeader(name, long), AGREED)
    with pytest.raises(MilterError, match="no MTA"):
        milter_codec.change(AddHeader(name, "\n ".join(["y" * 900] * 80)), AGREED)


@pytest.mark.parametrize("name", ["", "X A", "X:A", "X\nA", "X\0A", "Xé", "X-A\r\nBcc", "x" * 77])
def test_T08_names_that_are_none(name: str) -> None:
    for change in (AddHeader(name, "b"), InsertHeader(0, name, "b"), ChangeHeader(1, name, "")):
        with pytest.raises(MilterError):
            milter_codec.change(change, AGREED)


@pytest.mark.parametrize("path", [b"", b"<a@b.in>\0", b"<a@b.in>\r\n", b"<a\nb@c.in>", b" <a@b.in>", b"<" + b"a" * 1000 + b">"])
def test_T08_paths_and_reasons_that_are_none(path: bytes) -> None:
    for change in (AddRecipient(path), DeleteRecipient(path), Quarantine(path.decode().replace("<", "é"))):
        with pytest.raises(MilterError):
            milter_codec.change(change, AGREED)


@pytest.mark.parametrize("change", [InsertHeader(-1, "X-A", "b"), InsertHeader(1 << 31, "X-A", "b"), ChangeHeader(0, "X-A", "b")])
def test_an_index_counts_fields(change: Change) -> None:
    with pytest.raises(MilterError, match="index"):
        milter_codec.change(change, AGREED)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(550, "5.7.1", "No"), b"y550 5.7.1 No\0"),
        (Reply(550, "5.7.1", "a\nb"), b"y550-5.7.1 a\r\n550 5.7.1 b\0"),
        (Reply(451, "", "Later"), b"y451 4.0.0 Later\0"),
        (Reply(550, "5.7.1", "100% %s %%"), b"y550 5.7.1 100%% %%s %%%%\0"),
        (Reply(550, "5.7.1", ""), b"y550 5.7.1\0"),
        (Reply(550, "5.7.1", "a\r\nb\0\x1bé"), b"y550-5.7.1 a?\r\n550 5.7.1 b???\0"),
        (OUR_FAULT, b"y451 4.3.0 The mail gateway could not finish checking. Please try again later.\0"),
    ],
)
def test_T08_replies(reply: Reply, said: bytes) -> None:
    assert packets(milter_codec.reply_code(reply)) == [said]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(250, "2.0.0", "Ok"), Reply(354, "", "Go"), Reply(600, "6.0.0", "x"), Reply(550, "4.7.1", "x"), Reply(550, "5.7", "x"),
        Reply(550, "5.7.1 x\r\n250", "x"), Reply(550, "5.7.1", "x\n" * 40), Reply(55, "5.7.1", "x"),
    ],
    ids=str,
)  # fmt: skip
def test_T08_replies_that_are_none(reply: Reply) -> None:
    with pytest.raises(MilterError):
        milter_codec.reply_code(reply)


def test_T08_nothing_goes_out_when_one_of_the_changes_may_not() -> None:
    codec = opened()
    codec.feed(WHOLE)
    while not isinstance(codec.next_event(), Message):
        codec.proceed()
    codec.output()
    with pytest.raises(MilterError):
        codec.end_message(Final.CONTINUE, [AddHeader("X-A", "b"), DeleteRecipient(b"<c@d.in>"), AddHeader("X-A", "b\nX-B: c")])
    assert codec.output() == b""
    codec.end_message(OUR_FAULT)
    assert [item[:1] for item in packets(codec.output())] == [b"y"]


@settings(max_examples=300, deadline=None)
@given(st.integers(-2, 3), TEXTS, TEXTS, st.sampled_from([AGREED, OLD]))
def test_T08_any_text_is_one_field_or_refused(index: int, name: str, value: str, agreed: Negotiated) -> None:
    changes: list[Change] = [
        AddHeader(name, value),
        AddHeader("X-A", value),
        InsertHeader(index, "X-A", value),
        ChangeHeader(index, "X-A", value),
        DeleteRecipient(value.encode()),
        Quarantine(value),
    ]
    for change in changes:
        try:
            octets = milter_codec.change(change, agreed)
        except MilterError:
            continue
        (one,) = packets(octets)
        body = one[5:] if one[:1] in b"im" else one[1:]
        words = body.split(b"\0")
        assert words.pop() == b""
        assert len(words) == (1 if one[:1] in b"-q" else 2)
        text = words[-1]
        assert b"\r" not in text
        assert b"\n" not in text.replace(b"\n ", b"").replace(b"\n\t", b"")


@settings(max_examples=200, deadline=None)
@given(st.integers(390, 610), TEXTS, TEXTS)
def test_T08_any_reply_is_lines_of_its_code_or_refused(code: int, enhanced: str, text: str) -> None:
    for words in (enhanced, f"{code // 100}.7.1"):
        try:
            (one,) = packets(milter_codec.reply_code(Reply(code, words, text)))
        except MilterError:
            continue
        assert one[-1:] == b"\0"
        lines = one[1:-1].split(b"\r\n")
        assert all(line[:4] == b"%d-" % code for line in lines[:-1])
        assert lines[-1][:4] == b"%d " % code
        assert all(line[4:6] == b"%d." % (code // 100) for line in lines)
        assert not {0, 10, 13} & set(b"".join(lines))
        assert b"%" not in one.replace(b"%%", b"")
