"""Edits as an MTA makes them: what it then holds is what ``edits.apply`` makes of the same octets."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.message import edits
from gateway.message.milter_edits import Operation, operations
from gateway.verdict import Edit
from gateway.wire.milter_events import ChangeHeader, InsertHeader

Fields = list[tuple[bytes, bytes]]


def held(fields: Sequence[tuple[bytes, bytes]], wanted: Sequence[Operation], *, counts_new: bool) -> bytes:
    """The header section of an MTA after *wanted*; *counts_new*: fields that were inserted count for the index (Sendmail), or not."""
    now = [(name, value, False) for name, value in fields]
    for operation in wanted:
        if isinstance(operation, InsertHeader):
            now.insert(0, (operation.name.encode(), b" " + operation.value.encode(), True))
            continue
        name = operation.name.lower().encode()
        places = [i for i, one in enumerate(now) if one[0].lower().rstrip(b" \t") == name and (counts_new or not one[2])]
        place = places[operation.index - 1]
        if operation.value:
            now[place] = (operation.name.encode(), b" " + operation.value.encode(), now[place][2])
        else:
            del now[place]
    return octets([(name, value) for name, value, _ in now])


def octets(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join(name + b":" + value.replace(b"\n", b"\r\n") + b"\r\n" for name, value in fields)


NAMES = ("Subject", "subject", "SIO-Label", "sio-label", "X-Gateway-Reference", "Authentication-Results", "Received", "X")
VALUES = (
    b"",
    b" ",
    b" one",
    b" two;\n\tfolded",
    b"tight",
    b" gw.dept.gov.in; none",
    b" (c) gw.dept.gov.in;\n auth=pass",
    b" \xff\x80",
    b" a:b",
)
NEW = ("new", 'marking="SECRET"; fgcolor=red; bgcolor=yellow; ' + "word " * 30, "a", " padded ", "a b  c")
fields_of = st.lists(st.tuples(st.sampled_from([name.encode() for name in NAMES]), st.sampled_from(VALUES)), max_size=8)
edits_of = st.lists(
    st.one_of(
        st.builds(Edit, st.just("add"), st.sampled_from(NAMES), st.sampled_from(NEW)),
        st.builds(Edit, st.just("replace"), st.sampled_from(NAMES), st.sampled_from(NEW)),
        st.builds(Edit, st.just("remove"), st.sampled_from(NAMES), st.sampled_from(("", "", "gw.dept.gov.in", "one"))),
    ),
    max_size=8,
)


@given(fields_of, edits_of, st.booleans())
@example([(b"A", b" b")], [Edit("add", "S", "1"), Edit("remove", "S"), Edit("add", "S", "2"), Edit("replace", "S", "3")], False)
@example([(b"S", b" 1"), (b"X", b" y"), (b"s", b" 2")], [Edit("add", "S", "0"), Edit("replace", "S", "3")], True)
def test_T02_an_mta_holds_what_apply_makes(fields: Fields, wanted: list[Edit], counts_new: bool) -> None:
    content = octets(fields) + b"\r\nSubject: in the body\r\n"
    made = held(fields, operations(wanted, fields), counts_new=counts_new) + b"\r\nSubject: in the body\r\n"
    assert made == edits.apply(wanted, content)


def test_labels_as_the_policy_writes_them() -> None:
    fields = [(b"Received", b" x"), (b"SIO-Label", b" old"), (b"Subject", b" s"), (b"sio-label", b" older")]
    wanted = [
        Edit("add", "SIO-Label-History", "h"),
        Edit("remove", "SIO-Label"),
        Edit("add", "SIO-Label", "l"),
        Edit("replace", "Subject", "[R] s"),
    ]
    assert operations(wanted, fields) == (
        ChangeHeader(2, "sio-label", ""),
        ChangeHeader(1, "Subject", "[R] s"),
        ChangeHeader(1, "sio-label", ""),
        InsertHeader(0, "SIO-Label-History", "h"),
        InsertHeader(0, "SIO-Label", "l"),
    )


def test_nothing_wanted_is_nothing_done() -> None:
    assert operations((), [(b"Subject", b" s")]) == ()
    assert operations((Edit("remove", "X"),), [(b"Subject", b" s")]) == ()


@pytest.mark.parametrize(
    "edit",
    [
        Edit("add", "X", "a\nBcc: x@y.in"), Edit("add", "X", "a\r\n b"),
        Edit("add", "X", "a\0b"), Edit("add", "X\nY", "a"), Edit("add", "", "a"),
        Edit("replace", "X", "é"), Edit("add", "X", "y" * 999), Edit("replace", "X", ""), Edit("change", "X", "y"), Edit("remove", "X:"),
    ],
)  # fmt: skip
def test_T08_what_could_break_a_header_section_is_refused(edit: Edit) -> None:
    with pytest.raises(ValueError, match="."):
        operations((edit,), [(b"X", b" y")])


def test_T08_long_values_are_folded_and_no_line_is_long() -> None:
    (made,) = operations((Edit("add", "X-Long", "word " * 300),), [])
    assert isinstance(made, InsertHeader)
    assert all(line.startswith(" ") for line in made.value.split("\n")[1:])
    assert all(len(line) <= edits.FOLD_AT for line in made.value.split("\n"))


def test_a_thousand_fields_of_one_name_go_quickly() -> None:
    fields = [(b"SIO-Label", b" x")] * 1000
    made = operations((Edit("remove", "SIO-Label"), Edit("add", "SIO-Label", "y")), fields)
    assert [one.index for one in made if isinstance(one, ChangeHeader)] == list(range(1000, 0, -1))
