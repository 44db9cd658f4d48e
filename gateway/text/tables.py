"""A TOML text read strictly: every key is known, every value has its type, every error names its line and field.

What it is: ``Reader`` over one file's text, ``Row`` over one of its ``[[tables]]``.
Who calls it: ``scheme`` and ``topics``.
Must never: do I/O, or ignore a key it does not know.
Source: docs/design.md section 5 (rules are data; a misspelt name is an error at load with its line).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from gateway.levels import Level
from gateway.verdict import Confidence

_TABLES: dict[str, frozenset[str]] = {
    "beside": frozenset({"caveats", "urgency", "paging", "until", "dates"}),
    "keys": frozenset({"terms", "statements", "subjects"}),
    "negative": frozenset({"after", "before", "negation", "history"}),
    "disclaimer": frozenset({"phrases"}),
    "quoting": frozenset({"headers", "fields", "reply_prefixes"}),
    "labels": frozenset({"names", "sensitivity", "sensitivity_confidence", "properties", "headers"}),
}
_ROWS = frozenset({"level", "marking", "caveat", "abbreviation", "pair"})


class Reader:
    """One TOML text, of the *tables* with their keys and the *rows* (``[[row]]``) that its kind of file may have.

    Raises ValueError from everywhere, as ``line N: field: reason``.
    """

    def __init__(self, text: str, what: str, *, tables: Mapping[str, frozenset[str]] = _TABLES, rows: frozenset[str] = _ROWS) -> None:
        self._lines = text.splitlines()
        try:
            self._data: dict[str, Any] = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ValueError(f"{what}: {error}") from error
        for name, value in self._data.items():
            if name == "format":
                if value != 1:
                    raise self.problem("format", f"format {value!r} is not known, only 1")
            elif name in rows:
                if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
                    raise self.problem(name, f"must be written as [[{name}]]")
            elif name in tables:
                if not isinstance(value, dict):
                    raise self.problem(name, f"must be written as [{name}]")
                for field in value:
                    if field not in tables[name]:
                        raise self.problem(name, f"unknown key {field!r}", field)
            else:
                raise self.problem(name, "unknown table")

    def line_of(self, table: str, field: str = "", index: int = 0) -> int:
        """The line of *field* in the *index*-th table of that name; of its header where the field is not found; else 1."""
        header = re.compile(rf"\s*(?:\[\[?\s*{re.escape(table)}\s*\]\]?|{re.escape(table)}\s*=)")
        found = 0
        seen = -1
        for number, line in enumerate(self._lines, 1):
            if header.match(line):
                seen += 1
                if seen == index:
                    found = number
                    if not field:
                        break
            elif found and re.match(r"\s*\[", line) and not line.lstrip().startswith('["'):
                break
            elif found and re.match(rf"\s*[\"']?{re.escape(field)}[\"']?\s*=", line):
                return number
        return found or 1

    def problem(self, table: str, reason: str, field: str = "", index: int = 0) -> ValueError:
        """The error to raise about *field* of *table*."""
        name = f"{table}.{field}" if field else table
        return ValueError(f"line {self.line_of(table, field, index)}: {name}: {reason}")

    def rows(self, table: str, required: Collection[str], optional: Collection[str]) -> Iterator[Row]:
        """Each ``[[table]]``, with its keys checked."""
        for index, fields in enumerate(self._data.get(table, ())):
            row = Row(self, table, index, fields)
            for field in fields:
                if field not in required and field not in optional:
                    raise row.error(field, "unknown key")
            for field in required:
                if field not in fields:
                    raise row.error(field, "missing")
            yield row

    def strings(self, table: str, field: str) -> list[str]:
        """The list of strings ``[table] field``; empty when absent."""
        values = self._data.get(table, {}).get(field, [])
        if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
            raise self.problem(table, "must be a list of texts, none of them empty", field)
        return values

    def levels(self, table: str, field: str) -> dict[str, Level]:
        """The table of names and levels ``[table] field``."""
        values = self._data.get(table, {}).get(field, {})
        if not isinstance(values, dict):
            raise self.problem(table, "must be a table of names and levels", field)
        result: dict[str, Level] = {}
        for name, value in values.items():
            try:
                result[name] = Level.parse(value)
            except (ValueError, AttributeError):
                raise self.problem(table, f"{name!r}: not a classification level: {value!r}", field) from None
        return result

    def confidence(self, table: str, field: str) -> Confidence:
        """``[table] field`` as possible or probable (possible when absent): a hint is never certain."""
        value = self._data.get(table, {}).get(field, "possible")
        if value not in ("possible", "probable"):
            raise self.problem(table, f"must be possible or probable, not {value!r}", field)
        return Confidence(value)

    def finish(self) -> None:
        """The last check: the file says its format."""
        if "format" not in self._data and "level" in self._data:
            raise self.problem("format", "missing: format = 1")


class Row:
    """One ``[[table]]`` of a Reader."""

    def __init__(self, reader: Reader, table: str, index: int, fields: dict[str, Any]) -> None:
        self._reader = reader
        self._table = table
        self._index = index
        self._fields = fields

    def error(self, field: str, reason: str) -> ValueError:
        """The error to raise about *field* of this row."""
        return self._reader.problem(self._table, reason, field, self._index)

    def string(self, field: str) -> str:
        """A text that is not empty."""
        value = self._fields.get(field)
        if not isinstance(value, str) or not value.strip():
            raise self.error(field, "must be a text")
        return value

    def strings(self, field: str) -> list[str]:
        """A list of texts; empty when the field is absent."""
        values = self._fields.get(field, [])
        if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
            raise self.error(field, "must be a list of texts, none of them empty")
        return values

    def flag(self, field: str) -> bool:
        """true or false."""
        value = self._fields.get(field)
        if not isinstance(value, bool):
            raise self.error(field, "must be true or false")
        return value

    def level(self, field: str) -> Level:
        """A level by its name."""
        try:
            return Level.parse(self.string(field))
        except ValueError as error:
            raise self.error(field, str(error)) from None

    def choice(self, field: str, allowed: Collection[str]) -> str | None:
        """One of *allowed*, or None when the field is absent."""
        value = self._fields.get(field)
        if value is not None and value not in allowed:
            raise self.error(field, f"must be one of {', '.join(allowed)}")
        return value
