"""What is wrong in gateway.toml, in the words of somebody who wants to mend it.

What it is: ``sentence``, from one error of the model (or of the TOML reader) to one plain sentence with the fix in it.
Who calls it: ``config.load``.
Must never: show a value that may be a secret pasted by mistake (values of unknown keys, long texts).
Source: docs/design.md section 10 (errors in one plain sentence with the file, line or field).
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

_TOML = (
    (re.compile(r"Cannot overwrite a value"), "the same option stands twice; take one of the two out"),
    (re.compile(r"Cannot declare .* twice"), "the same [table] stands twice; join the two"),
    (re.compile(r"Invalid value"), 'not a TOML value; texts stand in quotes, as in hostname = "gw1.example.gov.in"'),
    (re.compile(r"Expected '=' after a key"), "an option is written name = value"),
    (re.compile(r"Illegal character|Unterminated"), "a text is not closed; it ends with the quote it began with, on the same line"),
    (re.compile(r"Unclosed array"), "a list is not closed; it ends with ]"),
)


def toml_sentence(message: str, text: str = "") -> tuple[str, int]:
    """The sentence for an error of the TOML reader about the file *text*, and its line (1 where it cannot be known)."""
    place = re.search(r"\(at line (\d+), column (\d+)\)", message)
    line = int(place[1]) if place else max(1, text.count("\n")) if "end of document" in message else 1
    for pattern, said in _TOML:
        if pattern.search(message):
            return said, line
    return message.partition(" (at ")[0], line


def sentence(root: type[BaseModel], location: Sequence[str | int], kind: str, message: str, value: object) -> str:
    """The sentence for one error: *kind* and *message* as pydantic gives them, *value* what was written."""
    *parents, last = location
    if kind == "extra_forbidden":
        return _unknown(root, parents, str(last))
    if kind == "missing":
        return f"is needed here and is not written: {_description(root, location)}"
    if kind in ("tuple_type", "list_type"):
        if isinstance(value, Mapping):
            return f"stands in single brackets; there may be several of it, so write [[{last}]]"
        return f'is a list; write {last} = ["{value}"]' if isinstance(value, str) and len(value) < 80 else "is a list; write it in [ ]"
    if kind == "model_type":
        return f"is a table; write [{last}] on a line of its own and its options below"
    if kind in ("float_parsing", "int_parsing", "float_type", "int_type", "int_from_float"):
        return f"is a {'whole ' if kind.startswith('int') else ''}number without quotes or unit; write for example {last} = 15"
    if kind == "string_type":
        return f'is a text in quotes; write {last} = "…"'
    if kind in ("bool_parsing", "bool_type"):
        return "is true or false, without quotes"
    if kind == "greater_than_equal":
        return f"is too small: {message.removeprefix('Input should be ')}"
    if kind == "literal_error":
        wanted = re.findall(r"'([^']+)'", message)
        return f"is one of {', '.join(wanted)}{_meant(str(value), wanted)}"
    return message.removeprefix("Value error, ")


def _meant(written: str, known: Sequence[str]) -> str:
    """`; did you mean x?` where something known is near."""
    near = difflib.get_close_matches(written.lower(), known, 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _unknown(root: type[BaseModel], parents: Sequence[str | int], name: str) -> str:
    model = _model(root, parents)
    if model is None:
        return "unknown option"
    names = list(model.model_fields)
    if near := _meant(name, names):
        return f"unknown option{near}"
    elsewhere = [place for place, holder in _tables(root) if name in holder.model_fields]
    if "" in elsewhere:
        return "belongs to the top of the file, above the first [table]"
    if elsewhere:
        return f"unknown option here; it belongs below {' or '.join(elsewhere[:3])}"
    where = f"[{parents[0]}]" if parents else "the file"
    shown = ", ".join(names) if len(names) <= 12 else "see gateway check --show"
    return f"unknown option; {where} knows {shown}"


def _tables(root: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every table with its heading; the top of the file has an empty one."""
    yield "", root
    for name, field in root.model_fields.items():
        model, many = _inner(field.annotation)
        if model is not None:
            yield (f"[[{name}]]" if many else f"[{name}]"), model


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The table that an annotation holds, and whether there may be several."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias) and issubclass(annotation, BaseModel):
        return annotation, False
    for argument in typing.get_args(annotation):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument, True
    return None, False


def _model(root: type[BaseModel], parents: Sequence[str | int]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = root
    for part in parents:
        if isinstance(part, int) or model is None:
            continue
        field = model.model_fields.get(part)
        model = _inner(field.annotation)[0] if field is not None else None
    return model


def _description(root: type[BaseModel], location: Sequence[str | int]) -> str:
    model = _model(root, location[:-1])
    field = model.model_fields.get(str(location[-1])) if model is not None else None
    return (field.description or "") if field is not None else ""
