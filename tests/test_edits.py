"""Edits of the header section: what they change, and that they change nothing else."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.message import edits
from gateway.verdict import Edit

MESSAGE = (
    b'Received: from a by b;\r\n\tSat, 21 Nov 2026 10:00:00 +0530\r\nFrom: a@dept.gov.in\r\nSIO-Label: marking="X";\r\n fgcolor=red\r\n'
    b"subject: Papers\r\nsio-label: second\r\nX-Raw: \xff\x80\r\n\r\nSIO-Label: in the body\r\n\r\nend\r\n"
)
BODY = MESSAGE.partition(b"\r\n\r\n")[2]


def test_add_puts_a_field_on_top_and_the_last_one_topmost() -> None:
    result = edits.apply((Edit("add", "X-One", "1"), Edit("add", "X-Two", "2")), MESSAGE)
    assert result == b"X-Two: 2\r\nX-One: 1\r\n" + MESSAGE


def test_remove_takes_every_field_of_the_name_with_its_folded_lines() -> None:
    result = edits.apply((Edit("remove", "SIO-Label"),), MESSAGE)
    assert result == MESSAGE.replace(b'SIO-Label: marking="X";\r\n fgcolor=red\r\n', b"").replace(b"sio-label: second\r\n", b"")
    assert result.endswith(b"\r\n\r\n" + BODY)


def test_add_does_not_swallow_a_first_line_of_white_space() -> None:
    assert edits.apply((Edit("add", "X", "y"),), b" odd\r\nA: b\r\n\r\n") == b" odd\r\nX: y\r\nA: b\r\n\r\n"


def test_remove_then_add_replaces_labels() -> None:
    result = edits.apply((Edit("remove", "sio-label"), Edit("add", "SIO-Label", 'marking="SECRET"')), MESSAGE)
    assert result.startswith(b'SIO-Label: marking="SECRET"\r\nReceived:')
    assert result.lower().count(b"\r\nsio-label:") == 1  # the one in the body


def test_remove_takes_a_field_with_white_space_before_its_colon() -> None:
    assert edits.apply((Edit("remove", "A"),), b"A : x\r\n y\r\nB: z\r\n\r\nbody") == b"B: z\r\n\r\nbody"


def test_replace_keeps_the_position() -> None:
    result = edits.apply((Edit("replace", "Subject", "[SECRET] Papers"),), MESSAGE)
    assert result == MESSAGE.replace(b"subject: Papers", b"Subject: [SECRET] Papers")


def test_replace_adds_what_is_not_there_and_leaves_one_of_several() -> None:
    assert edits.apply((Edit("replace", "Subject", "x"),), b"A: b\r\n\r\n") == b"Subject: x\r\nA: b\r\n\r\n"
    assert edits.apply((Edit("replace", "S", "new"),), b"S: 1\r\nA: b\r\ns: 2\r\n\r\n") == b"S: new\r\nA: b\r\n\r\n"


@pytest.mark.parametrize(
    ("content", "result"),
    [
        (b"", b"X: y\r\n"),
        (b"\r\nbody\r\n", b"X: y\r\n\r\nbody\r\n"),
        (b"A: b\r\n", b"X: y\r\nA: b\r\n"),
        (b"A: b\r\n\r\n", b"X: y\r\nA: b\r\n\r\n"),
        (b"A: b", b"X: y\r\nA: b"),
    ],
)
def test_messages_without_header_or_body(content: bytes, result: bytes) -> None:
    assert edits.apply((Edit("add", "X", "y"),), content) == result


def test_long_values_are_folded_where_they_can_be() -> None:
    value = "v=1; " + "; ".join(f"name{n}=value{n}" for n in range(30))
    written = edits.apply((Edit("add", "X-Long", value),), b"A: b\r\n\r\n").removesuffix(b"A: b\r\n\r\n")
    lines = written.removesuffix(b"\r\n").split(b"\r\n")
    assert all(len(line) <= 78 for line in lines)
    assert all(line.startswith(b" ") and line.strip() for line in lines[1:])
    assert written.replace(b"\r\n", b"") == b"X-Long: " + value.encode()


def test_a_long_word_is_not_folded_and_an_endless_one_is_refused() -> None:
    assert edits.apply((Edit("add", "X", "y" * 900),), b"\r\n").startswith(b"X: " + b"y" * 900 + b"\r\n")
    with pytest.raises(ValueError, match="cannot be folded"):
        edits.apply((Edit("add", "X", "y" * 999),), b"\r\n")


@pytest.mark.parametrize(
    "value", ["a\r\nBcc: x@evil.example", "a\nb", "a\rb", "a\0b", "नोट", "a\x85b", "a\u2028b", "\x7f", "a\x0bb", "a\r\n"]
)
def test_T08_injection_is_refused(value: str) -> None:
    for action in ("add", "replace"):
        with pytest.raises(ValueError, match="printable ASCII"):
            edits.apply((Edit(action, "X-Label", value),), MESSAGE)


@pytest.mark.parametrize("name", ["", "A B", "A:", "A\r\nB", "A\n", "नोट", "A\0", "x" * 77])
def test_T08_odd_names_are_refused(name: str) -> None:
    for action in ("add", "remove", "replace"):
        with pytest.raises(ValueError, match="field name"):
            edits.apply((Edit(action, name, "x"),), MESSAGE)


def test_unknown_actions_are_refused() -> None:
    with pytest.raises(ValueError, match="not an edit"):
        edits.apply((Edit("change", "X", "y"),), MESSAGE)


@given(st.binary(max_size=300))
def test_no_edit_is_no_change(content: bytes) -> None:
    assert edits.apply((), content) == content


LINES = st.lists(
    st.sampled_from([b"A: b", b" folded", b"X-L: c", b"x-l : d", b"no colon", b"", b"\tfolded", b"\xff: e", b": f"]), max_size=12
)


@given(LINES, st.binary(max_size=100))
def test_what_no_edit_names_stays_octet_for_octet(lines: list[bytes], body: bytes) -> None:
    content = b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body
    assert edits.apply((Edit("remove", "Not-There"),), content) == content
    added = edits.apply((Edit("add", "Not-There", "x"),), content)
    if content[:1] not in (b" ", b"\t"):
        assert added == b"Not-There: x\r\n" + content
    assert edits.apply((Edit("remove", "Not-There"),), added) == content


def test_a_removal_with_a_word_takes_only_fields_that_speak_as_it() -> None:
    content = (
        b"Authentication-Results: other.example; dkim=pass\r\n"
        b"Authentication-Results: (c) GW.dept.gov.in 1; spf=pass\r\n"
        b"Authentication-Results: gw.dept.gov.in.evil.example; spf=pass\r\n"
        b"Authentication-Results:\r\n gw.dept.gov.in;\r\n dkim=pass\r\n\r\nx\r\n"
    )
    left = edits.apply([Edit("remove", "Authentication-Results", "gw.dept.gov.in")], content)
    assert left.count(b"Authentication-Results") == 2
    assert b"other.example" in left
    assert b"evil.example" in left


NAMES = st.sampled_from(["A", "a", "X-L", "x-l", "B", "Not-There", "No", "E", "X"])
EDITS = st.lists(
    st.builds(Edit, st.sampled_from(["add", "remove", "replace"]), NAMES, st.sampled_from(["", "c", "d e", "word; more"])), max_size=6
)
BODIES = st.sampled_from([b"", b"\r\n", b"\r\nA: in the body\r\n", b"body", b"\r\n\r\n", b"A: cut off", b"\nA: x\r\n\r\n"])


@given(EDITS, LINES, BODIES)
@example([Edit("remove", "A"), Edit("add", "A", "c")], [b"B: a", b" A: folded"], b"\r\n")
def test_what_only_comes_on_top_is_the_same_by_the_long_way(some: list[Edit], lines: list[bytes], body: bytes) -> None:
    content = b"".join(line + b"\r\n" for line in lines) + body
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edits, "_only_above", lambda *_: False)
        whole = edits.apply(some, content)
    assert edits.apply(some, content) == whole


@given(
    st.lists(st.tuples(st.sampled_from("ab;:"), st.integers(1, 90), st.sampled_from([" ", " ", " ", ": ", "  ", "\t"])), max_size=12),
    st.integers(1, 76),
)
@example([("a", 2, ": "), ("b", 90, " "), ("a", 78, ": "), ("b", 3, " ")], 76)
@example([("a", 75, " "), ("b", 77, " "), ("a", 78, " "), ("a", 76, " "), ("b", 1, " ")], 1)
def test_lines_are_folded_at_the_same_places_by_the_long_way(words: list[tuple[str, int, str]], length: int) -> None:
    value = "".join(letter * count + blank for letter, count, blank in words).strip()
    whole = f"{'N' * length}: {value}"
    assert edits._folded(whole) == edits._by_words(edits._FOLD.split(whole))
