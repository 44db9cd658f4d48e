"""Hindi that is stored as Latin letters for a legacy font: recognised, and turned into Unicode.

What it is: ``decode`` (one text), ``recognised`` (whether a text without a font name is such Hindi) and ``is_legacy`` (font names).
Who calls it: ``markings`` for every text, once cheap signs speak for it; a reader of a format that knows the font names it in the
Segment.
Must never: be sure without the font's name; take more than linear time; call text such Hindi because a font could show it so.
Sources: the layout of Kruti Dev 010 as typed (the keyboard of mechanical Hindi typewriters, Remington) and as the published
converters of the font give it; DevLys 010 has the same layout for all that words are made of. Other legacy fonts (Chanakya, Shusha,
Shree-Lipi, AkrutiOffice) have layouts of their own, which are not read here.
"""

from __future__ import annotations

import re

_I, _R = "\ue000", "\ue001"  # the sign of i, typed before its consonants; the r above, typed behind them

# Glyphs of the font and what they write, longest first where one begins another.
_GLYPHS = {
    # Two and three keys for one letter or sign
    "vks": "ओ",
    "vkS": "औ",
    "v‚": "ऑ",
    "vk": "आ",
    "bZ": "ई",
    "b±": "ईं",
    ",s": "ऐ",
    "ks": "ो",
    "kS": "ौ",
    "[k": "ख",
    "?k": "घ",
    ".k": "ण",
    "Fk": "थ",
    "/k": "ध",
    "èk": "ध",
    "Hk": "भ",
    "'k": "श",
    "Ük": "श",
    '"k': "ष",
    "{k": "क्ष",
    "=kk": "त्रा",
    "Ùk": "त्त",
    "Dk": "क",
    "Xk": "ग",
    "Pk": "च",
    "Tk": "ज",
    "Rk": "त",
    "Uk": "न",
    "Ik": "प",
    "Ck": "ब",
    "Ek": "म",
    "Yk": "ल",
    "Ok": "व",
    "Lk": "स",
    "d+": "क़",
    "[+k": "ख़",
    "x+": "ग़",
    "t+": "ज़",
    "T+": "ज़्",
    "M+": "ड़",
    "<+": "ढ़",
    "Q+": "फ़",
    "¶+": "फ़्",
    ";+": "य़",
    "Dr": "क्त",
    "Vª": "ट्र",
    "Mª": "ड्र",
    "Vî": "ट्य",
    "Bî": "ठ्य",
    "Mî": "ड्य",
    "<î": "ढ्य",
    "Nî": "छ्य",
    # Vowels
    "v": "अ",
    "b": "इ",
    "Ã": "ई",
    "m": "उ",
    "Å": "ऊ",
    "_": "ऋ",
    ",": "ए",
    # Consonants, and their half forms
    "d": "क",
    "D": "क्",
    "[": "ख्",
    "x": "ग",
    "X": "ग्",
    "?": "घ्",
    "Ä": "घ",
    "³": "ङ",
    "p": "च",
    "P": "च्",
    "N": "छ",
    "t": "ज",
    "T": "ज्",
    ">": "झ",
    "÷": "झ्",
    "Ö": "झ्",
    "¥": "ञ",
    "V": "ट",
    "B": "ठ",
    "M": "ड",
    "<": "ढ",
    ".": "ण्",
    "r": "त",
    "R": "त्",
    "F": "थ्",
    "n": "द",
    "/": "ध्",
    "è": "ध्",
    "Ë": "ध्",
    "u": "न",
    "U": "न्",
    "i": "प",
    "I": "प्",
    "Q": "फ",
    "¶": "फ्",
    "c": "ब",
    "C": "ब्",
    "H": "भ्",
    "Ò": "भ",
    "e": "म",
    "E": "म्",
    ";": "य",
    "¸": "य्",
    "Ó": "्य",
    "j": "र",
    "y": "ल",
    "Y": "ल्",
    "G": "ळ",
    "o": "व",
    "O": "व्",
    "'": "श्",
    "Ü": "श्",
    '"': "ष्",
    "l": "स",
    "L": "स्",
    "g": "ह",
    "º": "ह्",
    # Joined letters
    "{": "क्ष्",
    "=": "त्र",
    "«": "त्र्",
    "K": "ज्ञ",
    "J": "श्र",
    "ô": "क्क",
    "Ù": "त्त्",
    "é": "न्न",
    "à": "ह्न",
    "á": "ह्य",
    "â": "हृ",
    "ã": "ह्म",
    "í": "द्द",
    "Ì": "द्द",
    "ê": "ट्ट",
    "Í": "ट्ट",
    "ë": "ट्ठ",
    "Î": "ट्ठ",
    "ì": "ड्ड",
    "Ï": "ड्ड",
    "ï": "ड्ढ",
    "Ô": "ड्ढ",
    "|": "द्य",
    "}": "द्व",
    ")": "द्ध",
    "æ": "द्र",
    "–": "दृ",
    "—": "कृ",
    "Ñ": "कृ",
    "Ø": "क्र",
    "ç": "प्र",
    "Á": "प्र",
    "Ý": "फ्र",
    "#": "रु",
    ":": "रू",
    "z": "्र",
    # Vowel signs and other signs
    "k": "ा",
    "h": "ी",
    "È": "ीं",
    "Ê": "ी" + _R,
    "q": "ु",
    "w": "ू",
    "`": "ृ",
    "s": "े",
    "S": "ै",
    "‚": "ॉ",
    "a": "ं",
    "¡": "ँ",
    "W": "ॅ",
    "~": "्",
    "+": "़",
    "f": _I,
    "f=k": _I + "त्र",
    "Ç": _I + "ं",
    "Z": _R,
    "±": _R + "ं",
    "Æ": _R + _I,
    # Numerals and punctuation
    "å": "०",
    "ƒ": "१",
    "„": "२",
    "…": "३",
    "†": "४",
    "‡": "५",
    "ˆ": "६",
    "‰": "७",
    "Š": "८",
    "‹": "९",
    "A": "।",
    "-": ".",
    "&": "-",
    "]": ",",
    "(": ";",
    "@": "/",
    "^": "‘",
    "*": "’",
    "Þ": "“",
    "ß": "”",
    "¼": "(",
    "½": ")",
    "¾": "=",
    "¿": "{",
    "À": "}",
    "Œ": "॰",
    "•": "ऽ",
}
_GLYPH = re.compile("|".join(re.escape(glyph) for glyph in sorted(_GLYPHS, key=len, reverse=True)))
_COLON = re.compile(r"%(?!\w)")  # the sign of visarga is typed for a colon too
_CLUSTER = "(?:[\u0915-\u0939]\u093c?\u094d){0,4}[\u0915-\u0939]\u093c?"
_EARLY_I = re.compile(f"{_I}(\u0902?)({_CLUSTER})")
_EARLY_R = re.compile(f"{_R}{_I}({_CLUSTER})")
_LATE_R = re.compile(f"({_CLUSTER}[\u093e-\u094c\u0901-\u0903]{{0,4}}){_R}")

_FONTS = re.compile(r"kruti\s*-?dev|krutidev|dev\s?-?lys", re.IGNORECASE)
# Words that no Hindi letter does without, as they are typed; none is a word of English.
_WORDS = (
    "ds dh esa gS gSa dks dk fd ls ij vkSj ;g og bl ml Hkh rFkk ,oa }kjk fd;k fd;s fd, x;k xbZ ugha gks Fkk Fks Fkh fy, "
    "fy;s djus djuk dj rd lkFk ckn vk| tks ;k ;fn us tkrk tkrh tk, tkus gksxk gksaxs jgk jgs jgh vuqlkj lEcU/k laca/k lHkh "
    "eq[; eq>s vki vkids vkidk Jh Jherh egksn; egksn;k fo\"k; fnukad i= la[;k ljdkj Hkkjr foHkkx ea=ky; dk;kZy; vkns'k lwpuk "
    'jkT; ftyk vf/kdkjh lfpo funs\'kd Hkonh; izs"kd izfrfyfi lanHkZ cSBd jk"Vªh; xksiuh; lsok bls bldk bldh mudk mudh muds '
    "izfr vUr vU; dqN D;k gSA gSaA gks, "
)
_COMMON = frozenset(_WORDS.split())
_WEAK = frozenset(("ds", "dh", "dk", "fd", "ls", "ij", "dj", "rd", "us", "og", "bl", "ml"))
"""Of them, those that initials, commands and units may be as well."""
SIGNS = (" esa ", " gs ", " gsa", " ds ", " dh ", " vksj ", 'fo"k;', "egksn;", "ljdkj", "fnukad", "hkkjr", "dk;kzy;", "vkns'k", "oxhzdj.k")
"""What such text nearly always holds, in small letters, for the search that every text goes through."""
_SAMPLE = 8000
_LEAST = 0.12  # of all words that must be common ones


def is_legacy(font: str) -> bool:
    """Whether *font* is the name of a font whose layout is known here."""
    return _FONTS.search(font[:100]) is not None


def decode(text: str, font: str = "") -> str | None:
    """*text* as Unicode, line by line, or None when it is no such text: judged by its *font*, or without one by its words."""
    if font:
        return _unicode(text) if is_legacy(font) else None
    return _unicode(text) if recognised(text) else None


def recognised(text: str) -> bool:
    """Whether the words of *text* are those of Hindi typed for such a font. Asked only for texts that hold one of SIGNS."""
    words = text[:_SAMPLE].split()
    if len(words) < 2:
        return False
    common = [word.strip("%]A") for word in words]
    found = [word for word in common if word in _COMMON]
    strong = {word for word in found if word not in _WEAK}
    if not strong or len(found) < _LEAST * len(words):
        return False
    return len(strong) > 1 or (len(words) <= 12 and len(found) * 4 >= len(words))


def _unicode(text: str) -> str:
    mapped = _GLYPH.sub(lambda glyph: _GLYPHS[glyph[0]], _COLON.sub("\ue002", text)).replace("%", "ः").replace("\ue002", ":")
    mapped = _EARLY_R.sub("\u0930\u094d\\1\u093f", mapped)
    mapped = _EARLY_I.sub("\\2\u093f\\1", mapped)
    mapped = _LATE_R.sub("\u0930\u094d\\1", mapped)
    return mapped.replace(_I, "ि").replace(_R, "र्")
