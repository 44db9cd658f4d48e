"""Rule files on disk: what is read, and what is refused before it is parsed.

What it is: ``PolicyError``, the strict reading of one TOML file, and the line on which an entry stands.
Who calls it: the loaders of domains, rules and explanations.
Must never: follow a link out of the folder, take a file that others may write, or half-load one.
Source: hostile-inputs catalogue L08.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

MAX_BYTES = 1_000_000
_HEADING = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*[\"']?([^\"'=]*?)[\"']?\s*=")


class PolicyError(Exception):
    """The rules cannot be used. The text is ``file:line: field: reason``."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file that was read: its name for messages, its text, its TOML table."""

    name: str
    text: str
    data: dict[str, Any]

    def fail(self, line: int, field: str, reason: str) -> PolicyError:
        """The error to raise for *field* on *line* (0: the file as a whole)."""
        place = f"{self.name}:{line}" if line else self.name
        return PolicyError(f"{place}: {field}: {reason}" if field else f"{place}: {reason}")

    def line(self, table: str, index: int = 0, key: str = "") -> int:
        """Line (from 1) of the *index*-th heading of *table* (``rule``, ``provider`` …), or of *key* inside it; 0 when absent."""
        count, current, found = -1, "", 0
        inside = not table
        if inside:
            found = 1
        for number, heading, name in _marks(self.text):
            if heading is not None:
                current = heading
                if inside and not (current.startswith(table + ".") if table else False):
                    return found
                if current == table:
                    count += 1
                    inside = count == index
                    found = number if inside else found
                elif not current.startswith(table + ".") and not inside:
                    inside = False
            elif inside and key and current == table and name == key:
                return number
        return found


@lru_cache(maxsize=4)
def _marks(text: str) -> tuple[tuple[int, str | None, str], ...]:
    """The lines of a TOML file that are headings, with their table, or begin with a key: asked for each entry of a file in turn."""
    marks: list[tuple[int, str | None, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if heading := _HEADING.match(line):
            marks.append((number, heading[1].replace('"', "").replace("'", ""), ""))
        elif key := _KEY.match(line):
            marks.append((number, None, key[1]))
    return tuple(marks)


def files(folder: Path) -> list[Path]:
    """Every ``*.toml`` of *folder* in name order. Raises PolicyError when it is no readable folder, or all may write to it."""
    try:
        if folder.stat().st_mode & stat.S_IWOTH:
            raise PolicyError(f"{folder}: may be written by everyone; run chmod o-w")
        return sorted(entry for entry in folder.iterdir() if entry.suffix == ".toml" and not entry.name.startswith("."))
    except OSError as error:
        raise PolicyError(f"{folder}: cannot be read: {error.strerror or error}") from error


def read(path: Path, root: Path) -> Source:
    """The TOML file *path* of the rules folder *root*.

    Raises PolicyError when it is missing, too big, a link out of *root*, writable by all, not UTF-8, not TOML, or holds a BOM or NUL.
    """
    text = read_bytes(path, root)
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"{path}:{line}: not UTF-8 text") from None
    if decoded.startswith("\ufeff"):
        raise PolicyError(f"{path}:1: starts with a byte order mark; save it as UTF-8 without one")
    if "\0" in decoded:
        raise PolicyError(f"{path}:{decoded.count(chr(10), 0, decoded.index(chr(0))) + 1}: holds a NUL character")
    try:
        data = tomllib.loads(decoded)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        place = f"{path}:{where[1]}" if where else f"{path}:{decoded.count(chr(10)) + 1}"
        raise PolicyError(f"{place}: not TOML: {error}") from None
    except RecursionError:
        raise PolicyError(f"{path}: not TOML: nested too deeply") from None
    return Source(str(path), decoded, data)


def read_bytes(path: Path, root: Path) -> bytes:
    """The octets of *path*, at most MAX_BYTES, opened once so that what was checked is what is read."""
    try:
        real, base = Path(os.path.realpath(path)), Path(os.path.realpath(root))
        if not real.is_relative_to(base):
            raise PolicyError(f"{path}: is a link that leads out of {root}")
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror or error}") from error
    with os.fdopen(descriptor, "rb") as handle:
        status = os.fstat(handle.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise PolicyError(f"{path}: is not a regular file")
        if status.st_mode & stat.S_IWOTH:
            raise PolicyError(f"{path}: may be written by everyone; run chmod o-w")
        content = handle.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise PolicyError(f"{path}: is larger than {MAX_BYTES} octets")
    return content


def keys(source: Source, table: Mapping[str, Any], allowed: Mapping[str, type | tuple[type, ...]], name: str, index: int = 0) -> None:
    """Holds *table* (the *index*-th *name*) to *allowed* keys and types. Raises PolicyError with the line of the first that is wrong."""
    for key, value in table.items():
        field = f"{name}.{key}" if name else key
        if key not in allowed:
            raise source.fail(source.line(name, index, key), field, "unknown key")
        wanted = allowed[key]
        kinds = wanted if isinstance(wanted, tuple) else (wanted,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            words = " or ".join(_WORDS.get(kind, kind.__name__) for kind in kinds)
            raise source.fail(source.line(name, index, key), field, f"must be {words}")


_WORDS: dict[type, str] = {str: "text", bool: "true or false", int: "a whole number", list: "a list", dict: "a table"}
