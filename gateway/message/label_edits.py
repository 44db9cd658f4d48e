"""Our own labels, as edits of the header section.

What it is: ``label_edits``: SIO-Label with its colours, X-Protective-Marking, the removal of what was there, and its record.
Who calls it: the policy (through ``labels``) for mail that has a level.
Must never: write UNCLASSIFIED on its own account (the caller gives the level), put text of the message in an unquoted place,
or let a line break through.
Sources: RFC 7444 sections 3 and 4 (SIO-Label, SIO-Label-History), RFC 2231; docs/design.md section 10 ("The SMTP face").
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.levels import Level
from gateway.message.label_fields import LONGEST, LabelError, parameters, written
from gateway.text.scheme import Scheme
from gateway.verdict import Edit

_VERSION = "2018.4"
_OURS = frozenset(("sio-label", "x-protective-marking"))
_SIO_FIELDS = ("marking", "fgcolor", "bgcolor", "type", "label")


def label_edits(
    level: Level,
    marking: str,
    originator: str,
    namespace: str,
    old: Sequence[tuple[str, str]],
    scheme: Scheme,
    *,
    changed_by: str = "",
    changed_at: str = "",
) -> tuple[Edit, ...]:
    """The edits that give a message the label *level*, shown as *marking*, in the order in which they are applied.

    *old* are the label fields that are there (name and unfolded value); *originator* is the sender's address or empty;
    *namespace* is NS; *changed_by* (a domain) and *changed_at* (a date-time) go into the record of a replaced label.
    Raises ValueError when a value holds a control character.
    """
    foreground, background = scheme.colours[level]
    ours = "; ".join((written("marking", marking), f"fgcolor={foreground}", f"bgcolor={background}"))
    protective = ", ".join(
        (
            f"VER={_VERSION}",
            f"NS={_item(namespace)}",
            f"SEC={level.epms}",
            *((f"ORIGIN={_item(originator)}",) if originator else ()),
        )
    )
    edits: list[Edit] = []
    sio = [value for name, value in old if name.lower() == "sio-label"]
    if [_same(value) for value in sio] != [_same(ours)]:
        edits += [Edit("add", "SIO-Label-History", _history(value, ours, changed_by, changed_at)) for value in sio]
        edits.append(Edit("remove", "SIO-Label"))
        edits.append(Edit("add", "SIO-Label", ours))
    marked = [value for name, value in old if name.lower() == "x-protective-marking"]
    if [" ".join(value.split()) for value in marked] != [protective]:
        # RFC 7444 has a record for SIO-Label alone; its comment keeps what the other label said.
        edits += [Edit("add", "SIO-Label-History", _comment(value, changed_by, changed_at)) for value in marked]
        edits.append(Edit("remove", "X-Protective-Marking"))
        edits.append(Edit("add", "X-Protective-Marking", protective))
    for name, values in _others(old, scheme).items():
        edits += [Edit("add", "SIO-Label-History", _comment(value, changed_by, changed_at, name)) for value in values]
        edits.append(Edit("remove", name))
    return tuple(edits)


def _others(old: Sequence[tuple[str, str]], scheme: Scheme) -> dict[str, list[str]]:
    """The fields of other products among *old*, by the name that the scheme has for them: beside our label they would say another."""
    found: dict[str, list[str]] = {}
    for name, value in old:
        if (small := name.lower()) in scheme.label_headers and small not in _OURS:
            found.setdefault("-".join(word.capitalize() for word in small.split("-")), []).append(value)
    return found


def _item(value: str) -> str:
    """A value of X-Protective-Marking; a comma or backslash in it is escaped."""
    if any(char < " " or char == "\x7f" for char in value):
        raise ValueError("a control character in a label")
    return value.replace("\\", "\\\\").replace(",", "\\,")


def _same(value: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(sorted(parameters(value).items()))
    except LabelError:
        return (("broken", value[:LONGEST]),)


def _history(value: str, ours: str, changed_by: str, changed_at: str) -> str:
    """The record of one replaced label: its fields, the new ones, who and when."""
    new = parameters(ours)
    parts: list[str] = []
    comment = ""
    try:
        fields = parameters(value)
        parts += [_kept(name, fields[name]) for name in _SIO_FIELDS if name in fields]
    except LabelError as error:
        comment = f"the label that was there could not be read: {error}"
    parts += [written(f"new-{name}", new[name]) for name in _SIO_FIELDS if name in new]
    parts.append("change=replace")
    if changed_by:
        parts.append(written("changed-by", changed_by))
    if changed_at:
        parts.append(written("changed-at", changed_at))
    if comment:
        parts.append(written("changed-comment", _clean(comment)))
    return "; ".join(parts)


def _comment(value: str, changed_by: str, changed_at: str, name: str = "X-Protective-Marking") -> str:
    """The record that the field *name* was replaced."""
    parts = ["change=replace"]
    if changed_by:
        parts.append(written("changed-by", changed_by))
    if changed_at:
        parts.append(written("changed-at", changed_at))
    parts.append(written("changed-comment", f"{name} was {_clean(value)[:500]}"))
    return "; ".join(parts)


def _kept(name: str, value: str) -> str:
    return written(name, _clean(value)[:2000])


def _clean(value: str) -> str:
    return "".join(char if char >= " " and char != "\x7f" else " " for char in value)
