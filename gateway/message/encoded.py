"""Encoded words of RFC 2047 and the character sets that we decode.

What it is: ``decode_words`` for unstructured fields and phrases; ``codec_of``, the allow-list of character sets.
Who calls it: ``views`` and ``plain`` for subject, names and text; ``content`` for text parts.
Must never: look up a codec by a name that a mail supplied (rot13, zlib, unicode_escape …); raise; take more than linear time.
Sources: RFC 2047, RFC 2231 section 5 (language suffix); hostile-inputs catalogue C01-C03.
"""

from __future__ import annotations

import binascii
import re

_CODECS = {
    "us-ascii": "ascii", "ascii": "ascii", "ansi_x3.4-1968": "ascii", "utf-8": "utf-8", "utf8": "utf-8",
    "iso-8859-1": "cp1252", "latin1": "cp1252", "windows-1252": "cp1252", "cp1252": "cp1252",
    **{f"iso-8859-{n}": f"iso8859-{n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)},
    "iso-8859-8-i": "iso8859-8", "iso-8859-11": "iso8859-11", "tis-620": "tis-620",
    **{f"windows-125{n}": f"cp125{n}" for n in (0, 1, 3, 4, 5, 6, 7, 8)},
    "koi8-r": "koi8-r", "koi8-u": "koi8-u", "macintosh": "mac-roman", "ibm850": "cp850", "cp437": "cp437",
    "gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030", "big5": "big5", "shift_jis": "cp932", "iso-2022-jp": "iso2022_jp",
    "euc-jp": "euc_jp", "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "utf-16": "utf-16", "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be", "utf-7": "utf-7",
}  # fmt: skip

_WORD = re.compile(r"=\?([A-Za-z0-9_.:-]{1,40})(?:\*[A-Za-z0-9-]{0,20})?\?([bBqQ])\?([^?\r\n]*)\?=")
_CONTROLS = {code: " " for code in (*range(32), 127) if code != 9}


def codec_of(charset: str) -> str:
    """The Python codec for the declared *charset*, or nothing when it is not on the list.

    ISO-8859-1 is read as windows-1252: that is what senders mean and what clients show.
    """
    return _CODECS.get(charset.lower(), "")


def codecs_in_use() -> tuple[str, ...]:
    """Every Python codec that may be asked for, to be loaded before a worker loses its files."""
    return tuple(dict.fromkeys(_CODECS.values()))


def decode_words(value: str) -> str:
    """*value* with its encoded words decoded, control characters as spaces. Words that cannot be decoded stay as they are."""
    if "=?" in value:
        value = _decode(value)
    return value if value.isprintable() else value.translate(_CONTROLS)


def _decode(value: str) -> str:
    out: list[str] = []
    held: list[bytes] = []
    held_codec = ""
    end = 0
    for match in _WORD.finditer(value):
        between = value[end : match.start()]
        end = match.end()
        codec = codec_of(match[1])
        octets = _word_octets(match[2], match[3]) if codec else None
        # White space between two encoded words is not shown, and a character may be split over two of them.
        if held and (between.strip(" \t") or octets is None or codec != held_codec):
            out.append(b"".join(held).decode(held_codec, "replace"))
            held = []
            if octets is not None and not between.strip(" \t"):
                between = ""
        elif held:
            between = ""
        out.append(between)
        if octets is None:
            out.append(match[0])
        else:
            held.append(octets)
            held_codec = codec
    if held:
        out.append(b"".join(held).decode(held_codec, "replace"))
    out.append(value[end:])
    return "".join(out)


def _word_octets(encoding: str, text: str) -> bytes | None:
    """The octets of one encoded word, or None when they cannot be had."""
    raw = text.encode("utf-8", "replace")
    if encoding in "qQ":
        return binascii.a2b_qp(raw, header=True)
    try:
        return binascii.a2b_base64(raw + b"=" * (-len(raw) % 4))
    except binascii.Error:
        return None
