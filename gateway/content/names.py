"""File names as a computer would take them, and what is odd about them.

What it is: ``ending`` and ``contradicts`` (whether a name says something else than the content), ``endings`` (every
reading of a name that some system makes, in lower case) and ``odd`` (what hides its real ending).
Who calls it: ``content.sniff``.
Must never: use a name as a path; believe that a name tells what a file is.
Sources: Microsoft, Naming Files, Paths, and Namespaces; UAX 9 (bidirectional text); hostile-inputs catalogue M20-M23.
"""

from __future__ import annotations

import re

_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")
_UNSEEN = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BLANKS = re.compile(r"[\s\u2800\u3164]{4,}\S{0,20}\Z")
_STREAM = re.compile(r":[^\\/]*\Z")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])(?:\.|\Z)", re.I)
_PATH = re.compile(r"\A(?:/|~/?\Z|~/|[A-Za-z]:[\\/]|\\\\|-[A-Za-z])|(?:\A|[\\/])\.\.(?:[\\/]|\Z)")
_OFFICE = (
    "application/vnd.openxmlformats",
    "application/vnd.ms-",
    "application/vnd.oasis",
    "application/msword",
    "application/x-ole-storage",
)
_EXPECTED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("txt", "log", "csv", "tsv", "md"), ("text/", "message/", "application/xml", "application/pgp")),
    "pdf": ("application/pdf",),
    **dict.fromkeys(("jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "heic"), ("image/",)),
    **dict.fromkeys(("mp3", "wav", "mp4", "mov", "avi", "ogg"), ("audio/", "video/")),
    **dict.fromkeys(
        ("doc", "xls", "ppt", "docx", "xlsx", "pptx", "odt", "ods", "odp"), (*_OFFICE, "text/", "application/xml", "application/zip")
    ),
    "zip": ("application/zip", "application/vnd.", "application/x-zip"),
}
"""What media types a file of that ending has; endings that are not here say nothing."""


def ending(name: str) -> str:
    """The ending of *name* that this module knows about, without its dot; empty for any other."""
    last = next(iter(endings(name)), "").rpartition(".")[2]
    return last if last in _EXPECTED else ""


def contradicts(known: str, kind: str, media_type: str) -> bool:
    """Whether content of *kind* and *media_type* is something else than a name with the ending *known* says."""
    if kind in ("empty", "unknown"):
        return False
    if known in ("txt", "log", "csv", "tsv", "md") and kind in ("html", "script", "mail"):
        return True
    return not media_type.startswith(_EXPECTED[known])


def endings(name: str) -> tuple[str, ...]:
    """*name* as written, and as systems cut and clean it: without a stream, dots and blanks at its end, what is not seen, or what
    stands behind a NUL.
    """
    lower = name.lower()
    readings = {lower.rstrip(". "): None}
    seen = _UNSEEN.sub("", lower)
    for text in (seen, seen.partition("\x00")[0], _CONTROL.sub("", seen)):
        readings[_STREAM.sub("", text).rstrip(". ")] = None
        readings[text.rstrip(". ")] = None
    return tuple(readings)


def odd(name: str) -> str:
    """What is odd about *name*, as a plain clause; empty for nothing."""
    if not name:
        return ""
    if _BIDI.search(name):
        return "its name changes the direction of writing, which can hide its ending"
    if _CONTROL.search(name):
        return "its name holds control characters"
    if _UNSEEN.search(name):
        return "its name holds characters that are not seen"
    if _BLANKS.search(name):
        return "its name hides its ending behind blanks"
    if len(name) > 255:
        return "its name is longer than any system takes"
    if len(name.partition(":")[0]) > 1 and _STREAM.search(name) and "::" in name:
        return "its name is that of a stream within a file"
    last = re.split(r"[\\/]", name)[-1]
    if _DEVICE.match(last):
        return "its name is that of a device"
    if _PATH.search(name):
        return "its name is written as a path"
    return ""
