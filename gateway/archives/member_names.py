"""What is wrong with the name of a member of a container.

What it is: ``problem`` and ``decoded``.
Who calls it: the readers of zip, tar, 7z, rar, cab, iso and what libarchive reads.
Must never: use a name as a path.
Source: hostile-inputs catalogue Z06, Z09.
"""

from __future__ import annotations

LINK = "it holds a link or a device"


def problem(name: str) -> str:
    """Why *name* makes its container ambiguous, as a plain clause; empty where it does not."""
    if "\x00" in name or not name:
        return "a member's name is empty or holds a NUL"
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        return "a member's name leads out of the folder it is unpacked to"
    return ""


def decoded(raw: bytes) -> str:
    """A name that may be UTF-8, or else of an old code page."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")
