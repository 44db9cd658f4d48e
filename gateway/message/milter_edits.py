"""Edits of a header section in the words of the milter protocol.

What it is: ``operations``, which says what an MTA is to do with the header fields that it has, so that what it then holds is what
``edits.apply`` makes of the same octets.
Who calls it: the milter door, with the verdict's edits, once a message.
Must never: count a field that we add among those that the MTA counts: all changes come before the first insertion, so that an index
means the same whether an MTA counts inserted fields (Sendmail) or not; write a line end that came in a value.
Sources: libmilter's smfi_chgheader (index from 1 among the fields of that name, an empty value deletes) and smfi_insheader; RFC 5322
section 2.2.3 (folding).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from gateway.message import edits
from gateway.verdict import Edit
from gateway.wire.milter_events import ChangeHeader, InsertHeader

_TOP = 0
"""Where our fields go: above all others, Postfix's own Received field (which it shows to no filter) among them, as RFC 8601 section 4 has
it for Authentication-Results; the last one inserted is the topmost. Seen with Postfix 3.7 (tests/e2e/test_milter.py)."""


Operation = ChangeHeader | InsertHeader


@dataclass(slots=True)
class _Field:
    """A field on its way from what it was to what it will be."""

    name: bytes
    """In small letters."""
    octets: bytes
    index: int = 0
    """Among those of its name, from 1; 0: it is new."""
    written: Edit | None = None
    """What it is to be; None: what it was."""


def operations(wanted: Sequence[Edit], fields: Sequence[tuple[bytes, bytes]]) -> tuple[Operation, ...]:
    """What an MTA that holds *fields* (name and value, top first) has to do for *wanted*, in this order.

    Raises ValueError like ``edits.apply``, and for a field that is there and is to be empty: the protocol has no word for it.
    """
    touched = {_small(edit.header) for edit in wanted}
    counts: dict[bytes, int] = {}
    before: list[_Field] = []  # of the names that matter: an index counts among the fields of one name
    for name, value in fields:
        small = name.rstrip(b" \t").lower()
        if small in touched:
            counts[small] = counts.get(small, 0) + 1
            before.append(_Field(small, name + b":" + value, counts[small]))
    after = list(before)
    for edit in wanted:
        name = _small(edit.header)
        if edit.action == "add":
            after.insert(0, _new(edit, name))
        elif edit.action == "remove":
            after = [one for one in after if one.name != name or not edits.speaks_as(one.octets, edit.value)]
        elif edit.action == "replace":
            after = _replaced(after, edit, name)
        else:
            raise ValueError(f"not an edit: {edit.action!r}")
    return (*_changes(before, after), *(InsertHeader(_TOP, *_words(one)) for one in reversed(after) if not one.index))


@lru_cache(maxsize=64)
def _small(name: str) -> bytes:
    """*name* in small letters. Raises ValueError."""
    return edits.checked_name(name).lower().encode()


def _new(edit: Edit, name: bytes) -> _Field:
    return _Field(name, edits.written(edit).removesuffix(b"\r\n"), written=edit)


def _replaced(fields: Sequence[_Field], edit: Edit, name: bytes) -> list[_Field]:
    """*fields* with the first of that name as *edit* has it, and without the others."""
    new = _new(edit, name)
    first = next((one for one in fields if one.name == name), None)
    if first is None:
        return [new, *fields]
    new.index = first.index
    return [new if one is first else one for one in fields if one is first or one.name != name]


def _changes(before: Sequence[_Field], after: Sequence[_Field]) -> list[ChangeHeader]:
    """What becomes of the fields that are there, from the last to the first: a field that goes away moves those below it only."""
    kept = {(one.name, one.index): one for one in after if one.index}
    changes: list[ChangeHeader] = []
    for one in reversed(before):
        now = kept.get((one.name, one.index))
        if now is None:
            changes.append(ChangeHeader(one.index, one.name.decode("ascii"), ""))
        elif now.written is not None:
            name, value = _words(now)
            if not value:
                raise ValueError(f"an MTA takes an empty {name} for its removal")
            changes.append(ChangeHeader(one.index, name, value))
    return changes


def _words(field: _Field) -> tuple[str, str]:
    """Name and value of a field that we write."""
    name, _, value = field.octets.decode("ascii").partition(":")
    return name, value.removeprefix(" ").replace("\r\n", "\n")
