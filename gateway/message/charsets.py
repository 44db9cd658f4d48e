"""The character sets that we decode, and text that hides behind escapes.

What it is: ``codec_of``, the one allow-list from declared names to Python's codecs; ``decode`` (octets in one declared set);
``utf7``, ``escaped`` and ``overlong``, second readings of octets that pass for ASCII or UTF-8.
Who calls it: ``encoded`` and ``params`` for header fields, ``plain`` in the door, ``documents.text_plain`` for text.
Must never: look up a codec by a name that a mail supplied (rot13, zlib, unicode_escape …); raise; take more than linear time.
Sources: IANA character sets; RFC 2152 (UTF-7), RFC 1843 (HZ), RFC 1468 (ISO-2022-JP), RFC 3629 section 10 (overlong forms);
hostile-inputs catalogue C01, C02, C07.
"""

from __future__ import annotations

import binascii
import re
import unicodedata

from gateway.text import iscii

_NAMES = {
    "utf-8": "utf-8 utf8 unicode-1-1-utf-8 x-utf-8 cp65001",
    "ascii": "us-ascii ascii ansi_x3.4-1968 iso646-us 646 iso-ir-6",
    "utf-16": "utf-16 utf16 unicode ucs-2 iso-10646-ucs-2 csunicode",
    "utf-16-le": "utf-16le unicodelittle",
    "utf-16-be": "utf-16be unicodebig",
    "utf-32": "utf-32 utf32 ucs-4 iso-10646-ucs-4",
    "utf-32-le": "utf-32le",
    "utf-32-be": "utf-32be",
    "utf-7": "utf-7 utf7 unicode-1-1-utf-7 x-unicode-2-0-utf-7",
    # ISO-8859-1 is read as windows-1252: that is what senders mean and what clients show.
    "cp1252": "iso-8859-1 latin1 latin-1 iso8859-1 l1 iso_8859-1 windows-1252 cp1252 x-ansi ansi",
    "iso8859-15": "iso-8859-15 iso8859-15 latin-9 latin9",
    "iso8859-11": "iso-8859-11",
    "gb18030": "gb2312 gbk gb18030 cp936 euc-cn x-gbk gb_2312-80",
    "big5hkscs": "big5 big5-hkscs cp950 x-x-big5",
    "cp932": "shift_jis shift-jis sjis x-sjis cp932 windows-31j ms_kanji",
    "euc_jp": "euc-jp x-euc-jp",
    "iso2022_jp_2": "iso-2022-jp iso-2022-jp-1 iso-2022-jp-2 csiso2022jp",
    "iso2022_jp_3": "iso-2022-jp-3",
    "iso2022_kr": "iso-2022-kr",
    "cp949": "euc-kr ks_c_5601-1987 ksc5601 cp949 windows-949 ksc_5601",
    "johab": "johab cp1361",
    "hz": "hz-gb-2312 hz",
    "koi8-r": "koi8-r koi8r",
    "koi8-u": "koi8-u koi8-ru",
    "tis-620": "tis-620",
    "cp874": "windows-874 cp874",
    "mac-roman": "macintosh x-mac-roman mac",
    "mac-cyrillic": "x-mac-cyrillic",
    **{f"cp{n}": f"cp{n} ibm{n}" for n in (437, 737, 775, 850, 852, 855, 857, 858, 860, 861, 862, 863, 865, 866, 869)},
    # EBCDIC: only where it is declared
    **{f"cp{n}": f"cp{n} ibm{n} ebcdic-cp-{n}" for n in (273, 500, 1026, 1140)},
    "cp037": "cp037 ibm037 ebcdic-cp-us ebcdic-cp-ca ebcdic-cp-nl ebcdic",
    **{f"iso8859-{n}": f"iso-8859-{n} iso8859-{n} iso_8859-{n}" for n in (2, 3, 4, 5, 7, 9, 10, 13, 14, 16)},
    **{
        f"iso8859-{n}": " ".join(f"{name}-{n}{order}" for name in ("iso-8859", "iso8859", "iso_8859") for order in ("", "-i", "-e"))
        for n in (6, 8)
    },
    **{f"cp125{n}": f"windows-125{n} cp125{n}" for n in (0, 1, 3, 4, 5, 6, 7, 8)},
}
_CODECS = {name: codec for codec, names in _NAMES.items() for name in names.split()}
UNDECLARED = frozenset(("", "unknown-8bit", "x-unknown"))
"""What mail programs write when they do not know the character set (RFC 1428)."""

_UTF7 = re.compile(r"\+([A-Za-z0-9+/]{3,}+)-?")
_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]{2}")


def codec_of(charset: str) -> str:
    """The Python codec for the declared *charset*, or nothing when it is not on the list."""
    return _CODECS.get(charset.strip().strip("\"'").lower(), "")


def codecs_in_use() -> tuple[str, ...]:
    """Every Python codec that may be asked for, to be loaded before a worker loses its files."""
    return tuple(dict.fromkeys((*_CODECS.values(), "utf-8-sig", "latin-1")))


def is_known(charset: str) -> bool:
    """Whether octets in the declared *charset* can be decoded here."""
    return bool(codec_of(charset) or iscii.script_of(charset))


def decode(octets: bytes, charset: str) -> str | None:
    """*octets* in the declared *charset*, strictly; None when they are not in it, or it is not on the list."""
    if script := iscii.script_of(charset):
        text = iscii.decode(octets, script)
        return None if "\ufffd" in text else text
    if not (codec := codec_of(charset)):
        return None
    try:
        return octets.decode(codec)
    except (UnicodeDecodeError, ValueError):
        return None


def readable(octets: bytes, charset: str) -> str:
    """*octets* in *charset* as far as they can be read; for an unknown one UTF-8, else Latin-1. For header fields."""
    if script := iscii.script_of(charset):
        return iscii.decode(octets, script)
    if codec := codec_of(charset):
        return octets.decode(codec, "replace")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def utf7(text: str) -> str | None:
    """*text*, which is ASCII, with its runs of UTF-7 decoded; None where nothing in it reads as such."""
    if "+" not in text:
        return None
    changed = False

    def run(match: re.Match[str]) -> str:
        nonlocal changed
        words = _modified_base64(match[1])
        if words is None:
            return match[0]
        changed = True
        return words

    decoded = _UTF7.sub(run, text)
    return decoded if changed else None


def _modified_base64(run: str) -> str | None:
    """What a run of UTF-7 says, where that is words; None where the run is something else that stands behind a plus sign."""
    octets = binascii.a2b_base64(run + "=" * (-len(run) % 4)) if len(run) % 4 != 1 else b""
    octets = octets[: len(octets) & ~1]
    if len(octets) < 2 or (len(run) * 6) % 16 >= 6:
        return None
    try:
        words = octets.decode("utf-16-be")
    except UnicodeDecodeError:
        return None
    letters = sum(1 for character in words[:400] if character < "\u0250" or "\u0900" <= character < "\u0e00")
    printable = all(
        character.isprintable() or character in "\r\n\t" or unicodedata.category(character) == "Cf" for character in words[:400]
    )
    return words if printable and letters * 2 > len(words[:400]) else None


def escaped(octets: bytes) -> str | None:
    """ASCII *octets* with the escapes of ISO-2022-JP or HZ in them, decoded; None where there are none."""
    for sign, codecs in ((b"\x1b", ("iso2022_jp_2", "iso2022_kr")), (b"~{", ("hz",))):
        if sign[:1] not in octets or sign not in octets:
            continue
        for codec in codecs:
            try:
                return octets.decode(codec)
            except (UnicodeDecodeError, ValueError):
                continue
    return None


def overlong(octets: bytes) -> bytes | None:
    """*octets* with the forbidden long forms of UTF-8 written short, as careless readers show them; None where there are none."""
    if not _OVERLONG.search(octets):
        return None
    return _OVERLONG.sub(_shortened, octets)


def _shortened(match: re.Match[bytes]) -> bytes:
    value = 0
    for octet in match[0]:
        value = value << 6 | octet & 0x3F
    value &= 0x7FF if len(match[0]) < 4 else 0xFFFF
    if len(match[0]) == 2:
        value &= 0x7F
    return chr(value).encode("utf-8", "replace")
