"""ISCII-91: the eight-bit code of the Indian scripts, for which Python has no codec.

What it is: ``decode`` (octets in a script to text), ``script_of`` (charset names) and ``plainly`` (whether undeclared octets are ISCII
and nothing else).
Who calls it: ``documents.text_plain`` for declared charsets, and for octets that no other charset explains.
Must never: raise for any octets; call text ISCII that follows no spelling of an Indian script.
Sources: IS 13194:1991 (code table, attribute codes, nukta combinations, halant rules); the charset names x-iscii-* are those of the
Windows code pages 57002 to 57011.
"""

from __future__ import annotations

import unicodedata

_DEVANAGARI = 0x0900
_BLOCKS = {
    "de": 0x0900,
    "be": 0x0980,
    "as": 0x0980,
    "pa": 0x0A00,
    "gu": 0x0A80,
    "or": 0x0B00,
    "ta": 0x0B80,
    "te": 0x0C00,
    "ka": 0x0C80,
    "ma": 0x0D00,
}
_NAMES = {
    "iscii": "de",
    "iscii-91": "de",
    "iscii91": "de",
    "x-iscii": "de",
    "is13194": "de",
    "is-13194": "de",
    "iscii-dev": "de",
    **{f"x-iscii-{script}": script for script in _BLOCKS},
    **{f"iscii-{script}": script for script in _BLOCKS},
    **{
        prefix + str(number): script
        for number, script in enumerate(("de", "be", "ta", "te", "as", "or", "ka", "ma", "gu", "pa"), 57002)
        for prefix in ("windows-", "cp", "")
    },
}
# Octets A1 to EA in Devanagari; the other scripts have their letters at the same places of their blocks.
_TABLE = (
    "\u0901\u0902\u0903\u0905\u0906\u0907\u0908\u0909\u090a\u090b\u090e\u090f\u0910\u090d\u0912\u0913\u0914\u0911"
    "\u0915\u0916\u0917\u0918\u0919\u091a\u091b\u091c\u091d\u091e\u091f\u0920\u0921\u0922\u0923\u0924\u0925\u0926\u0927\u0928\u0929"
    "\u092a\u092b\u092c\u092d\u092e\u092f\u095f\u0930\u0931\u0932\u0933\u0934\u0935\u0936\u0937\u0938\u0939\u200d"
    "\u093e\u093f\u0940\u0941\u0942\u0943\u0946\u0947\u0948\u0945\u094a\u094b\u094c\u0949\u094d\u093c\u0964"
)
_FIRST, _LAST = 0xA1, 0xEA
_NUKTA, _HALANT, _ATR, _EXT, _ZERO, _NINE = 0xE9, 0xE8, 0xEF, 0xF0, 0xF1, 0xFA
_WITH_NUKTA = {
    0xA1: "\u0950",
    0xA6: "\u090c",
    0xA7: "\u0961",
    0xAA: "\u0960",
    0xDB: "\u0962",
    0xDC: "\u0963",
    0xDF: "\u0944",
    0xEA: "\u093d",
}
_EXTENDED = {0xB8: "\u0952", 0xBF: "\u0970"}
_ATTRIBUTES = {
    0x42: "de",
    0x43: "be",
    0x44: "ta",
    0x45: "te",
    0x46: "as",
    0x47: "or",
    0x48: "ka",
    0x49: "ma",
    0x4A: "gu",
    0x4B: "pa",
}
# Letters that a script writes with another one.
_SPECIAL = {
    "be": {"\u0935": "\u09ac"},
    "as": {"\u0930": "\u09f0", "\u0935": "\u09f1"},
    "or": {"\u0935": "\u0b2c"},
}
_SHARED = frozenset("\u0964\u0965\u200d\u200c\u0952")
_LEAST = 24  # octets of an Indian script from which on undeclared text is judged


def script_of(charset: str) -> str:
    """The script that a charset name means, as two letters; empty when it is no name of ISCII."""
    return _NAMES.get(charset.strip().strip("\"'").lower(), "")


def decode(data: bytes, script: str = "de") -> str:
    """*data* as text, beginning in *script* (two letters, see ``script_of``). What stands for nothing becomes U+FFFD."""
    default = script if script in _BLOCKS else "de"
    current = default
    out: list[str] = []
    place, size = 0, len(data)
    while place < size:
        octet = data[place]
        follows = data[place + 1] if place + 1 < size else 0
        place += 1
        if octet < 0x80:
            if octet in (0x0A, 0x0D):  # a script switch holds to the end of its line
                current = default
            out.append(chr(octet))
        elif octet == _ATR:
            current = default if follows == 0x40 else _ATTRIBUTES.get(follows, current)
            place += 1 if 0x21 <= follows <= 0x7E else 0
        elif octet == _EXT:
            out.append(_EXTENDED.get(follows, "\ufffd"))
            place += 1 if follows >= _FIRST else 0
        elif _ZERO <= octet <= _NINE:
            out.append(_in(current, chr(0x0966 + octet - _ZERO)))
        elif octet == _HALANT and follows in (_HALANT, _NUKTA):
            out.append(_in(current, "\u094d") + ("\u200c" if follows == _HALANT else "\u200d"))
            place += 1
        elif follows == _NUKTA and octet in _WITH_NUKTA:
            out.append(_in(current, _WITH_NUKTA[octet]))
            place += 1
        elif _FIRST <= octet <= _LAST:
            out.append(_in(current, _TABLE[octet - _FIRST]))
        else:
            out.append("\ufffd")
    return "".join(out)


def _in(script: str, char: str) -> str:
    """The letter of *script* at the place of the Devanagari letter *char*."""
    if script == "de" or char in _SHARED:
        return char
    special = _SPECIAL.get(script, {}).get(char)
    if special is not None:
        return special
    moved = chr(ord(char) - _DEVANAGARI + _BLOCKS[script])
    return moved if unicodedata.category(moved) != "Cn" else "\ufffd"


_CONSONANTS = frozenset(range(0xB3, 0xD9))
_VOWEL_SIGNS = frozenset(range(0xDA, 0xE8))
_TELLING = frozenset((0xE1, 0xE2, 0xE5, 0xE8))
"""The signs of e, ai and o, and halant: frequent in every text, and always behind a consonant."""
_POSSIBLE = bytes((*range(0x80), *range(_FIRST, _LAST + 1), _ATR, _EXT, *range(_ZERO, _NINE + 1)))
_ASCII = bytes(range(0x80))


def plainly(data: bytes) -> bool:
    """Whether the octets above 127 of *data* are spelt as an Indian script is: signs only behind letters, and enough of them."""
    sample = data[:20_000]
    high = len(sample.translate(None, _ASCII))
    if high < _LEAST or sample.translate(None, _POSSIBLE):
        return False
    signs = wrong = telling = 0
    previous = 0
    for octet in sample:
        if octet in _VOWEL_SIGNS or octet == _HALANT:
            signs += 1
            telling += octet in _TELLING
            if previous not in _CONSONANTS and previous != _NUKTA:
                wrong += 1
        previous = octet
    return signs * 5 >= high and wrong * 50 <= signs and telling * 12 >= high
