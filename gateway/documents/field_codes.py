"""Fields of Word whose instruction alone says what is shown: symbols by their number, quoted numbers of characters, equations.

What it is: ``shown``.
Who calls it: the readers of RTF and of Word documents before DOCX.
Must never: say what a field shows that stores its result beside its instruction; cost more than linear time.
Sources: ECMA-376 part 1, 17.16.5.54 (QUOTE), 17.16.5.65 (SYMBOL); Word's help on EQ fields.
"""

from __future__ import annotations

import re

_SYMBOL = re.compile(r"\s*SYMBOL\s+(?:0x([0-9a-f]{1,6})|(\d{1,7})|\"?(\S))", re.I)
_QUOTE = re.compile(r"\s*QUOTE((?:\s+(?:0x[0-9a-f]{1,6}|\d{1,7}))+)\s*(?:\\|\Z)", re.I)
_EQUATION = re.compile(r"\s*EQ\b(.*)", re.I | re.S)
_SWITCH = re.compile(r"\\\\|\\([A-Za-z]{1,3})(?:[+-]?\d{1,4})?|[(),;]")
_PRIVATE = 0xF000
"""Fonts of symbols have their first 256 characters there."""


def shown(instruction: str) -> str:
    """What a field with *instruction* shows without a stored result; empty where it shows nothing of its own."""
    if match := _SYMBOL.match(instruction):
        return match[3] or _character(int(match[1], 16) if match[1] else int(match[2]))
    if match := _QUOTE.match(instruction):
        numbers = match[1].split()
        return "".join(_character(int(one, 16) if one[:2].lower() == "0x" else int(one)) for one in numbers)
    if match := _EQUATION.match(instruction):
        return _SWITCH.sub("", match[1]).replace(" ", "") if "(" in match[1] else ""
    return ""


def _character(number: int) -> str:
    if _PRIVATE <= number < _PRIVATE + 0x100:
        number -= _PRIVATE
    if number < 0x100:
        return bytes((number,)).decode("cp1252", "replace")
    return chr(number) if number < 0xD800 or 0xE000 <= number < 0x110000 else ""
