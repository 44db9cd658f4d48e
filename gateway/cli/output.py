"""How records are printed: tables for people, JSON Lines for programs.

Who calls it: every command that prints records.
Must never: let a control, bidirectional or lone-surrogate character of a message reach the terminal.
Sources: docs/design.md section 10 ("Records"); hostile-inputs catalogue L06.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_RISKY = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    if number > 0xFFFF:
        number -= 0x10000
        return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"
    return f"\\u{number:04x}"


def safe(value: object) -> str:
    """*value* as text that a terminal cannot misread: control and direction characters are written as escapes."""
    return _RISKY.sub(_escape, "" if value is None else str(value))


def safe_lines(text: str) -> str:
    """Like ``safe``, but line ends and tabs stay."""
    return "\n".join(safe(line.replace("\t", "    ")) for line in text.replace("\r\n", "\n").split("\n"))


def write(line: str, stream: IO[str] | None = None) -> None:
    """One line on stdout in UTF-8, whatever the locale says."""
    out = stream or sys.stdout
    try:
        out.write(line + "\n")
    except UnicodeEncodeError:
        out.write(line.encode("ascii", "backslashreplace").decode("ascii") + "\n")


def json_line(record: Any) -> str:
    """*record* as one line of JSON; characters that a terminal may act on are escaped, others stay as they are."""
    return _RISKY.sub(_escape, json.dumps(record, ensure_ascii=False, separators=(", ", ": "), default=str))


def json_lines(records: Iterable[Any]) -> None:
    """Prints JSON Lines."""
    for record in records:
        write(json_line(record))


def console() -> Console:
    """Where tables go. Without a terminal: no colour, and wide enough that nothing is cut."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    return Console(highlight=False, markup=False, emoji=False, width=240, color_system=None)


def when(seconds: object) -> str:
    """A time of the store, in the local zone with its offset."""
    if not isinstance(seconds, (int, float)) or not seconds:
        return str(seconds) if isinstance(seconds, str) else ""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")


def cell(value: object) -> str:
    """One value of a record in a table."""
    if isinstance(value, (list, tuple)):
        return "\n".join(safe(item if not isinstance(item, Mapping) else json_line(item)) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return json_line(value)
    return safe(value)


_TIMES = {"created", "deadline", "next_attempt", "expires", "updated", "time"}


def table(records: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str]], *, empty: str, title: str = "") -> None:
    """Prints *records* as a table of *columns* (field, heading); *empty* is the sentence when there are none."""
    out = console()
    if not records:
        out.print(empty)
        return
    from rich import box
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False, show_edge=False)
    for _, heading in columns:
        grid.add_column(heading, overflow="fold", no_wrap=heading == "reference")
    for record in records:
        grid.add_row(*(when(record.get(field)) if field in _TIMES else cell(record.get(field)) for field, _ in columns))
    out.print(grid)


def details(record: Mapping[str, Any], *, indent: int = 0) -> None:
    """Prints one record, a field a line, nested ones indented."""
    width = max((len(str(key)) for key in record), default=0)
    for key, value in record.items():
        label = f"{' ' * indent}{safe(key):<{width}}  "
        if isinstance(value, Mapping) and value:
            write(label.rstrip())
            details(value, indent=indent + 2)
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
            write(label.rstrip())
            for item in value:
                details(item, indent=indent + 2)
                write("")
        elif isinstance(value, (list, tuple)):
            write(label + ", ".join(safe(item) for item in value))
        else:
            write(label + (when(value) if key in _TIMES else cell(value)))


def show(records: Sequence[Mapping[str, Any]], as_json: bool, columns: Sequence[tuple[str, str]], *, empty: str, title: str = "") -> None:
    """JSON Lines or a table."""
    if as_json:
        json_lines(records)
    else:
        table(records, columns, empty=empty, title=title)


def each(records: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """JSON Lines, or every record with all its fields."""
    if as_json:
        json_lines(records)
        return
    for record in records:
        details(record)
        write("")
