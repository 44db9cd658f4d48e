"""Ids and references: unique across forked processes, sorted by time, and one from the other."""

from __future__ import annotations

import os

from gateway.envelope import new_id, reference_of


def ids_of_a_child(count: int) -> set[str]:
    """What a forked process makes; a random state shared with its siblings would show here."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as out:
            out.write("\n".join(new_id() for _ in range(count)))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        found = set(lines.read().split("\n"))
    os.wait()
    return found


def test_door_workers_forked_from_one_parent_make_no_id_twice() -> None:
    new_id()  # whatever state there is exists before the fork
    children = [ids_of_a_child(500) for _ in range(4)]
    assert len(set().union(*children)) == 2000
    # The random part alone, so that the clock does not tell them apart: 62 bits behind the variant.
    tails = [{identity[20:] for identity in child} for child in children]
    assert len(set().union(*tails)) == 2000


def test_ids_sort_by_time_and_a_reference_is_its_id_in_another_alphabet() -> None:
    first, second = new_id(), new_id()
    assert first[:13] <= second[:13]
    assert reference_of("00000000-0000-0000-0000-000000000000") == "0" * 26
    assert reference_of("ffffffff-ffff-ffff-ffff-ffffffffffff") == "7" + "Z" * 25
    assert len({reference_of(new_id()) for _ in range(1000)}) == 1000
