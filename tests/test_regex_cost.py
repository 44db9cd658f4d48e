"""C09: every pattern of the pure groups and the readers, on a megabyte of what makes patterns slow. Id of the catalogue.

Each compiled pattern that a module of ``text``, ``message`` or ``content`` holds is searched in texts that repeat one thing: letters,
blanks, opening brackets, and beginnings cut from the pattern itself. What takes too long on a tenth of it is told with its name.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import pkgutil
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import gateway.content
import gateway.message
import gateway.text

SIZE = 1_000_000
MOST = 1.2
"""Seconds for a megabyte: Python's engine takes 0.1 to 0.6 where each place is looked at once, tens where it looks back again and again."""
FLOODS = (
    "a",
    " ",
    "\t",
    "\n",
    "\r\n",
    "0",
    "<",
    "(",
    "[",
    '"',
    "'",
    "=",
    "-",
    "+",
    "&",
    "\\",
    "a ",
    "a\n",
    "\n ",
    "a=",
    "<a ",
    "::",
    ", ",
    "a1",
    "==",
    "é",
    "ग",
)
WINDOWED = {
    "gateway.content.sniff._MAIL": "the first 4,096 octets only",
    "gateway.content.sniff._HTML": "the first 4,096 octets only",
    "gateway.content.signatures.SHORTCUTS": "the first 4,096 octets only",
    "gateway.documents.html._TAG": "never behind the last closing bracket",
    "gateway.text.judgement._FIELD": "one line around a hit",
    "gateway.text.links._BEFORE": "the hundred characters before a place",
}
"""Patterns that are only ever asked about a part of a text, and which."""


def modules() -> Iterator[ModuleType]:
    for package in (gateway.text, gateway.message, gateway.content):
        for found in pkgutil.iter_modules(package.__path__):
            yield importlib.import_module(f"{package.__name__}.{found.name}")


def patterns() -> dict[str, re.Pattern[str] | re.Pattern[bytes]]:
    found: dict[str, re.Pattern[str] | re.Pattern[bytes]] = {}
    seen: set[int] = set()
    for module in modules():
        for name, value in vars(module).items():
            values = value if isinstance(value, tuple | list) else value.values() if isinstance(value, dict) else (value,)
            for number, one in enumerate(values):
                for each in one if isinstance(one, tuple) else (one,):
                    if isinstance(each, re.Pattern) and id(each) not in seen:
                        seen.add(id(each))
                        found[f"{module.__name__}.{name}" + (f"[{number}]" if value is not each else "")] = each
    return found


def beginnings(pattern: str) -> list[str]:
    """Words that stand in the pattern: repeated, they make it begin again and again."""
    words = re.findall(r"[A-Za-z<!=:;(\[-]{2,20}", re.sub(r"\\.|\(\?[a-zA-Z:=!<]*|\[\^?[^\]]*\]|\{[\d,]*\}", " ", pattern))
    return list(dict.fromkeys(itertools.chain(words, (word + " " for word in words), (word + "=" for word in words))))[:12]


@functools.cache
def source(module: str) -> str:
    return Path(importlib.import_module(module).__file__ or "").read_text("utf-8")


def searches(name: str) -> bool:
    """Whether the pattern is looked for everywhere in a text, not only at one place of it."""
    module, _, variable = name.partition("[")[0].rpartition(".")
    uses = re.findall(rf"\b{variable}\.(\w+)\(", source(module))
    return not uses or not {"match", "fullmatch"}.issuperset(uses)


PATTERNS = patterns()


def slowest(pattern: re.Pattern[str] | re.Pattern[bytes], size: int, everywhere: bool) -> tuple[float, str]:
    text = pattern.pattern
    written = text if isinstance(text, str) else text.decode("latin-1")
    worst, which = 0.0, ""
    for flood in (*FLOODS, *beginnings(written)):
        data = (flood * (size // len(flood) + 1))[:size]
        subject = data.encode("utf-8")[:size] if isinstance(text, bytes) else data
        start = time.process_time()
        if everywhere:
            for count, _ in enumerate(pattern.finditer(subject)):
                if count > 20_000:
                    break
        else:
            pattern.match(subject)
            pattern.fullmatch(subject)
        took = time.process_time() - start
        if took > worst:
            worst, which = took, flood
        if took > 2:
            break
    return worst, which


def test_C09_there_are_patterns() -> None:
    assert len(PATTERNS) > 150


@pytest.mark.parametrize("name", [name for name in PATTERNS if name not in WINDOWED])
def test_C09_no_pattern_is_slow_on_a_flood(name: str) -> None:
    share = 200
    took, flood = slowest(PATTERNS[name], SIZE // share, searches(name))
    assert took < max(0.03, MOST / share), f"{took * share:.2f} s a megabyte of {flood!r}: {PATTERNS[name].pattern!r}"
