"""What the comments, EXIF fields and XMP packets of a picture say.

What it is: ``text``, the readable part of such octets, whatever they are written in.
Who calls it: ``pictures.image``.
Must never: decode pixels; cost more than linear time.
Sources: CIPA DC-008 (EXIF 2.32) 4.6; Adobe, XMP Specification part 3; PNG third edition, 11.3.
"""

from __future__ import annotations

import re
from html import unescape

from gateway.extraction.strings import sweep

_TAGS = re.compile(r"<[^<>]{0,2000}+>")
_VALUES = re.compile(r"=\s*(?:\"([^\"<>]{3,2000})\"|'([^'<>]{3,2000})')")


def text(octets: bytes) -> str:
    """Printable runs in UTF-8 or Latin-1 without the tags of XMP, the values of its attributes, and what is written in UTF-16 or stands
    as UTF-8 among other octets.
    """
    octets = octets.replace(b"UNICODE\x00", bytes(8))  # of a comment of EXIF
    try:
        whole, more = octets.decode("utf-8"), ""
    except UnicodeDecodeError:
        whole, more = octets.decode("latin-1"), sweep(octets, narrow=False)
    if b"\x00" in octets and not more:
        more = sweep(octets, narrow=False)
    whole = "".join(c if c.isprintable() or c == "\n" else "\n" for c in whole.replace("\x00", ""))
    values = "\n".join(match[1] or match[2] for match in _VALUES.finditer(whole)) if "<" in whole else ""
    told = "\n".join(filter(None, (_TAGS.sub("\n", whole).strip(), values, _TAGS.sub("\n", more))))
    if "&" in told and (meant := unescape(told)) != told:
        told += "\n" + meant
    return told
