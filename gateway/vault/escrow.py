"""A vault key on paper: groups that can be typed again, each with its own check.

What it is: ``groups`` (a key as 13 groups of four characters and two of check) and ``read`` (the way back, which names the group that
is wrong). The characters are Crockford's base 32: no I, L, O or U, and those that look alike are taken for each other. The check is
the group's number and value modulo the prime 1021: one wrong character, two that changed places, and groups in the wrong order are
always found.
Who calls it: ``gateway keys escrow`` and ``recover``.
Must never: write anything anywhere; say of a wrong group what it should be.
Source: https://www.crockford.com/base32.html; NIST SP 800-57 part 1 section 8.2.2.2 (key recovery).
"""

from __future__ import annotations

import re

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
COUNT = 13
_OCTETS = 32
_PAD = COUNT * 20 - _OCTETS * 8
_PRIME = 1021
_ALIKE = str.maketrans("OILU", "011V")
_GROUP = re.compile(r"([0-9A-Z]{4})[-\u2010-\u2015]?([0-9A-Z]{2})")
_NUMBER = re.compile(r"\d{1,2}[.:)]")


class EscrowError(Exception):
    """What was typed is not a key. The text is one plain sentence that names the group."""


def _text(value: int, length: int) -> str:
    return "".join(ALPHABET[value >> (5 * place) & 31] for place in reversed(range(length)))


def _check(number: int, value: int) -> str:
    return _text((number * (1 << 20) + value) % _PRIME, 2)


def groups(key: bytes) -> list[str]:
    """The 13 groups of the 32 octets *key*."""
    if len(key) != _OCTETS:
        raise ValueError("a vault key has 32 octets")
    number = int.from_bytes(key, "big") << _PAD
    values = [number >> (20 * place) & 0xFFFFF for place in reversed(range(COUNT))]
    return [f"{_text(value, 4)}-{_check(place, value)}" for place, value in enumerate(values, 1)]


def lines(key: bytes) -> list[str]:
    """The groups as they are printed: numbered, three on a line."""
    numbered = [f"{place:>2}: {group}" for place, group in enumerate(groups(key), 1)]
    return ["    ".join(numbered[start : start + 3]) for start in range(0, COUNT, 3)]


def read(text: str) -> bytes:
    """The key of the groups in *text*, with or without their numbers. Raises EscrowError."""
    words = [word for word in _NUMBER.sub(" ", text.upper()).split() if word]
    if len(words) != COUNT:
        raise EscrowError(f"a key has {COUNT} groups of six characters, and there are {len(words)}")
    number, wrong = 0, []
    for place, word in enumerate(words, 1):
        match = _GROUP.fullmatch(word.translate(_ALIKE))
        value = -1 if match is None else _value(match[1])
        if match is None or value < 0 or _check(place, value) != match[2]:
            wrong.append(str(place))
        number = number << 20 | max(value, 0)
    if wrong:
        what = f"group {wrong[0]} is" if len(wrong) == 1 else f"groups {', '.join(wrong)} are"
        raise EscrowError(f"{what} not as printed; look at the paper again")
    if number & ((1 << _PAD) - 1):
        raise EscrowError(f"group {COUNT} is not as printed; look at the paper again")
    return (number >> _PAD).to_bytes(_OCTETS, "big")


def _value(text: str) -> int:
    value = 0
    for character in text:
        digit = ALPHABET.find(character)
        if digit < 0:
            return -1
        value = value << 5 | digit
    return value
