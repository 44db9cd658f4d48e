"""The list of members that lsar prints for an archive, in the order in which unar writes their content.

What it is: ``members``.
Who calls it: ``inspector.tools``.
Must never: use a name as a path; do I/O; accept a member that was not tested.
Source: lsar(1), JSON output with test.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.extraction.base import Unreadable


class _Listing(msgspec.Struct):
    contents: list[dict[str, Any]] = msgspec.field(name="lsarContents", default_factory=list)
    error: Any = msgspec.field(name="lsarError", default=None)


def members(listing: bytes) -> tuple[tuple[str, int], ...]:
    """Names and sizes of the members that have content. Raises Unreadable where one could not be unpacked, or none is listed."""
    try:
        found = msgspec.json.decode(listing.decode("utf-8", "replace"), type=_Listing)
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise Unreadable("a RAR archive that cannot be listed") from None
    if found.error is not None or not found.contents:
        raise Unreadable("a RAR archive that cannot be listed")
    out = []
    for entry in found.contents:
        name, size = entry.get("XADFileName"), entry.get("XADFileSize")
        if entry.get("XADIsDirectory") or entry.get("XADIsLink"):
            continue
        if entry.get("lsarTestResult") != "ok" or not isinstance(name, str) or not isinstance(size, int) or size < 0:
            raise Unreadable("a RAR archive with a member that cannot be unpacked")
        out.append((name, size))
    return tuple(out)
