"""One comparable form of any text, and the way back to the original.

What it is: a fold of single characters (compatibility form, small letters, look-alikes as ASCII, invisible characters and
nukta and accent marks removed). It knows no context, so every place in the folded text has one place in the original.
Who calls it: the matcher on text that it searches, the scheme on its own terms.
Must never: do I/O, import a codec, or cost more than one pass for each distinct odd character (32 of them; beyond that
one table pass).
Sources: Unicode UAX #15 (NFKC, NFKD), UTS #39 (confusables); hostile-inputs catalogue C07, C08. Look-alikes are folded before
and after the change to small letters, since a capital and its small letter often look like different Latin letters.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from functools import cached_property, lru_cache

_KEEP_CONTROLS = frozenset(b"\t\n\v\f\r")
_CONTROL_BYTES = bytes(n for n in (*range(32), 127) if n not in _KEEP_CONTROLS)
_LOWER = bytes(range(256)).lower()
_FEW = 32  # distinct odd characters up to which one str.replace each is faster than a table pass

# Look-alikes: the Latin letter, then the characters that look like it (either case as listed; each is one code point).
_LOOKALIKES = (
    ("a", "АаΑαɑᴀꓮᎪɐ∀ⱥȺⲀⲁ₳"),
    ("b", "ВЬΒʙᏴꓐƄɃ"),
    ("c", "СсϹϲᴄꓚᏟⅽɔƆƈȼȻⲤⲥ₵"),
    ("d", "ԁᴅꓓᎠⅾđĐɗƉ"),
    ("e", "ЕеΕεᴇꓰᎬҽє℮ǝƎɇɆⲈⲉɘ"),
    ("f", "ϜꓝꜰƒϝɟℲᎰ₣"),
    ("g", "ԌɢɡցᏀꓖԍƃ⅁₲"),
    ("h", "НһнΗʜᎻꓧհɥħĦⲎ"),
    ("i", "ІіΙιɪıӀᎥⅼǀᴉꓲɨƗⲒⲓ"),
    ("j", "Јјᴊꓙɾ"),
    ("k", "КкΚκᴋᏦꓗʞⲔⲕ₭"),
    ("l", "ʟᏞꓡłŁ˥ɭ"),
    ("m", "МмΜᴍꓟᎷɯⲘⲙ"),
    ("n", "ΝɴոꓠпηƝⲚⲛɲŊŋ₦"),
    ("o", "ОоΟοᴏօᎤꓳσᎾøØɵƟⲞⲟ⊙"),
    ("p", "РрΡρᴘᏢꓑⲢⲣƤƥ"),
    ("q", "ԛգǫ"),
    ("r", "ГгʀᏒꓣᴦᖇɹɍɌᴚ"),
    ("s", "ЅѕꜱꓢᏚտʂꟅ₴"),
    ("t", "ТтΤτᴛᎢꓔʇꓕŧŦⲦⲧ⊥₮"),
    ("u", "ᴜսυꓴɄ"),
    ("v", "νѴѵᴠᏙꓦʌ"),
    ("w", "ԜԝᴡᎳꓪωʍⲰⲱ"),
    ("x", "ХхΧχꓫⲬⲭӾ"),
    ("y", "УуΥүʏꓬγʎⲨⲩɎ"),
    ("z", "ΖᴢꓜƶƵⲌ"),
)
SMALL_CAPITALS = frozenset("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘǫʀꜱᴛᴜᴠᴡʏᴢ")

# Marks that are dropped: Latin and enclosing combining marks, nukta of the Indic scripts, Arabic vowel signs.
_DROPPED_MARKS = (
    (0x0300, 0x036F),
    (0x0483, 0x0489),
    (0x064B, 0x065F),
    (0x0670, 0x0670),
    (0x06D6, 0x06ED),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0xFE20, 0xFE2F),
)
_NUKTA = frozenset((0x093C, 0x09BC, 0x0A3C, 0x0ABC, 0x0B3C, 0x0CBC))
_OTHER = {
    "\u0085": "\n",
    "\u2028": "\n",
    "\u2029": "\n",
    "\u0640": "",  # Arabic tatweel
    "\u064a": "\u06cc",  # Arabic and Persian forms of one letter
    "\u0649": "\u06cc",
    "\u0643": "\u06a9",
    "\u0647": "\u06c1",
    "\u06c3": "\u06c1",
    "\u06d5": "\u06c1",
    "\u0901": "\u0902",  # candrabindu and anusvara are written for each other
    "\u0a81": "\u0a82",
    "\u0a70": "\u0a02",  # tippi and bindi of Gurmukhi
    "\u0c00": "\u0c02",
    "\u0c01": "\u0c02",
    "\u0b5f": "\u0b2f",  # the two letters ya of Odia
    "\u09ce": "\u09a4\u09cd",  # letters that stand for a letter with virama
    "\u0d7a": "\u0d23\u0d4d",
    "\u0d7b": "\u0d28\u0d4d",
    "\u0d7c": "\u0d30\u0d4d",
    "\u0d7d": "\u0d32\u0d4d",
    "\u0d7e": "\u0d33\u0d4d",
    "\u0d7f": "\u0d15\u0d4d",
    "\u09f0": "\u09b0",  # ra of Assamese
    "\u2018": "'",
    "\u2019": "'",
    "\u201c": '"',
    "\u201d": '"',
    "\u201e": '"',
    "\u00ab": '"',
    "\u00bb": '"',
    "\u2010": "-",
    "\u2011": "-",
    "\u2212": "-",
    "\u3002": ".",
}
_MARKS = _NUKTA | {code for low, high in _DROPPED_MARKS for code in range(low, high + 1)}
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164\uffa0\u2800")
# Blocks that can hold none of our letters, left out to keep the table small: CJK, Hangul, surrogates, private use.
_BLOCKS = (
    (0x0080, 0x3400),
    (0xA000, 0xAC00),
    (0xF900, 0x10000),
    (0x10780, 0x107C0),
    (0x1D400, 0x1D800),
    (0x1F100, 0x1F1AD),
)


_OF_SYMBOLS = {0xF000 + code: chr(code) for code in range(0x20, 0x7F)}
_SYMBOLS = frozenset(map(chr, _OF_SYMBOLS))


def _fold_one(char: str, lookalikes: dict[str, str]) -> str:
    if char in _OTHER:
        return _OTHER[char]
    if char in lookalikes:  # before decomposition, which makes a sigma of the lunate sigma that looks like C
        return lookalikes[char]
    code = ord(char)
    category = unicodedata.category(char)
    if category == "Cn":
        return char
    if category == "Cf" or char in _INVISIBLE or 0xFE00 <= code <= 0xFE0F or (category == "Cc" and code not in _KEEP_CONTROLS):
        return ""
    if category == "Zs":
        return " "
    folded: list[str] = []
    for part in unicodedata.normalize("NFKD", char):
        if ord(part) in _MARKS:
            continue
        early = lookalikes.get(part)
        if early is not None:
            folded.append(early)
            continue
        folded.extend(lookalikes.get(small, _OTHER.get(small, small)) for small in part.casefold())
    return "".join(folded)


def _table() -> dict[str, str]:
    lookalikes = {char: latin for latin, chars in _LOOKALIKES for char in chars}
    table: dict[str, str] = {}
    for low, high in _BLOCKS:
        for code in range(low, high):
            char = chr(code)
            folded = _fold_one(char, lookalikes)
            if folded != char:
                table[char] = folded
    for start in (0x1F130, 0x1F150, 0x1F170, 0x1F1E6, 0x1CCD6):  # squared, negative, regional, outlined A to Z
        table.update({chr(start + i): chr(97 + i) for i in range(26)})
    table.update({chr(code): "" for code in range(0xE0000, 0xE1000)})  # tags and variation selectors
    table.update({chr(code): "" for code in _CONTROL_BYTES})
    return table


_FOLD = _table()


@lru_cache(maxsize=1)
def _fold_points() -> dict[int, str]:
    """The table as ``str.translate`` takes it: a megabyte that most processes never need."""
    return {ord(char): folded for char, folded in _FOLD.items()}


def _char_class(chars: Iterable[str]) -> str:
    """A regular-expression class of *chars*, as ranges. Only the basic plane: a class beyond it is searched very slowly."""
    codes = sorted(ord(char) for char in chars)
    parts: list[str] = []
    start = previous = codes[0]
    for code in [*codes[1:], -1]:
        if code == previous + 1:
            previous = code
            continue
        parts.append(f"\\u{start:04x}-\\u{previous:04x}" if start != previous else f"\\u{start:04x}")
        start = previous = code
    return "[" + "".join(parts) + "]"


_ODD = re.compile(_char_class((*(char for char in _FOLD if ord(char) < 0x10000), *_SYMBOLS)))
_IN_SYMBOLS = re.compile("[\uf020-\uf07e]{4,}")
"""Words in a font of symbols, whose first characters stand at U+F020; fewer of them are bullets and signs."""
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


class Normal:
    """A folded text. ``text`` is what is searched; ``source(i)`` is the place in the original of place *i* of it."""

    __slots__ = ("__dict__", "_shifting", "original", "text")

    def __init__(self, original: str, text: str, shifting: frozenset[str]) -> None:
        self.original = original
        self.text = text
        self._shifting = shifting
        """Odd characters that are there and fold to none or several characters."""

    @cached_property
    def _steps(self) -> tuple[array[int], array[int]]:
        """Folded places behind each shifting character, and how far the original is ahead from there on."""
        places, ahead = array("q"), array("q")
        total = 0
        pattern = "[" + "".join(map(re.escape, sorted(self._shifting))) + "]"
        for match in re.finditer(pattern, self.original):
            width = len(_FOLD[match[0]])
            folded_end = match.start() - total + width
            total += 1 - width
            places.append(folded_end)
            ahead.append(total)
        return places, ahead

    def source(self, place: int) -> int:
        """The place in the original of *place* in ``text``; removed characters count to what stands before them."""
        if not self._shifting:
            return place
        places, ahead = self._steps
        index = bisect_right(places, place)
        source = place + (ahead[index - 1] if index else 0)
        if index < len(places):  # inside of what the next shifting character became
            source = min(source, places[index] + ahead[index] - 1)
        return min(source, len(self.original))

    def slice(self, start: int, end: int) -> str:
        """The original words of ``text[start:end]``."""
        if end <= start:
            return ""
        return self.original[self.source(start) : self.source(end - 1) + 1]


def normalise(text: str) -> Normal:
    """Fold *text*. Never raises; lone surrogates stay as they are."""
    if text.isascii():
        data = text.encode("ascii").translate(_LOWER, _CONTROL_BYTES)
        if len(data) == len(text):
            return Normal(text, data.decode("ascii"), frozenset())
    odd = set(_ODD.findall(text))
    symbols = odd & _SYMBOLS
    odd -= symbols
    odd.update(char for char in set(_ASTRAL.findall(text)) if char in _FOLD)
    if len(odd) > _FEW:
        folded = text.translate(_fold_points())
    else:
        folded = text
        for char in odd:
            folded = folded.replace(char, _FOLD[char])
    if symbols:
        folded = _IN_SYMBOLS.sub(lambda match: match[0].translate(_OF_SYMBOLS), folded)
    return Normal(text, folded.lower(), frozenset(char for char in odd if len(_FOLD[char]) != 1))


def fold(text: str) -> str:
    """The folded form alone, for terms and short values."""
    return normalise(text).text


def encode(folded: str) -> bytes:
    """*folded* as UTF-8 for a search in bytes; lone surrogates pass."""
    return folded.encode("utf-8", "surrogatepass")


def is_word_char(char: str) -> bool:
    """Whether *char* belongs to a word: letter, mark or number, or the low line that joins identifiers.

    ``\\w`` of Python's re leaves out vowel signs, so a word border is decided by the Unicode category.
    """
    if char < "\x80":
        return char.isalnum() or char == "_"
    return unicodedata.category(char)[0] in "LMN"
