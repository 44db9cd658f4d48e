"""Names, strings and lists of a PDF as values, whatever stands in their place.

What it is: ``spelled``, ``of_key``, and ``entries``.
Who calls it: every PDF reader that asks pikepdf what a name, string or array says.
Must never: raise for octets that are in no character set (a name may hold any; pikepdf takes all of them for UTF-8), or for an object of
another type than the standard wants there.
Sources: ISO 32000-2 sections 7.3.5 (names), 7.9.2 (text strings); hostile-inputs catalogue C01.
"""

from __future__ import annotations

import pikepdf


def spelled(value: object) -> str:
    """What a name (with its slash) or a string says; empty for anything else."""
    if isinstance(value, str):
        return value
    if not isinstance(value, pikepdf.Name | pikepdf.String):
        return ""
    try:
        return str(value)
    except UnicodeDecodeError:
        return bytes(value).removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")


def of_key(key: str) -> str:
    """The *key* of a dictionary as text that can be written: pikepdf hides octets that are no UTF-8 in halves of characters."""
    return key.removeprefix("/").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def entries(value: object, most: int) -> list[pikepdf.Object]:
    """What an array holds, *most* of it; nothing for anything else."""
    return [value[at] for at in range(min(len(value), most))] if isinstance(value, pikepdf.Array) else []
