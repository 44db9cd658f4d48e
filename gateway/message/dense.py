"""Long stretches of plain base64 lines: found, proved and decoded at once, so that nothing else has to pass over them.

What it is: ``stretches``. An attachment of megabytes is one stretch; what is left of its message is a few kilobytes.
Who calls it: ``prescan``, whose result carries them to ``mime_view`` (the boundary search, the decoding) and ``lenient``.
Must never: tell of a stretch that holds an octet outside of the base64 alphabet and CRLF, a pad, or a line of another length;
take more than linear time. What is no such stretch is read by everybody else as if this module were not there.
Sources: RFC 2045 section 6.8; RFC 5322 section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

LEAST = 8192
"""Octets below which a stretch saves nothing."""
_SHORTEST_LINE = 56
_LONGEST_LINE = 1000
_FIRST_LOOK = 65_536


@dataclass(frozen=True, slots=True)
class Stretch:
    """``content[start:end]``: lines of equal length behind an empty line, each with its CRLF."""

    start: int
    end: int
    data: bytes = field(repr=False)
    """What the stretch encodes: no octet was skipped, no group was open at its end."""


def stretches(content: bytes) -> tuple[Stretch, ...]:
    """The stretches of *content* in their order. Linear; never raises."""
    found: list[Stretch] = []
    at = content.find(b"\r\n\r\n") if len(content) >= LEAST else -1
    while at >= 0:
        following = at + 2
        end = _end(content, at + 4)
        if end:
            data = _decoded(content, at + 4, end)
            if data is not None:
                found.append(Stretch(at + 4, end, data))
            following = end - 2
        at = content.find(b"\r\n\r\n", following)
    return tuple(found)


def _end(content: bytes, start: int) -> int:
    """Where the lines as long as the one at *start* end; 0 when they are too few, or cannot be base64.

    The last of them does not count: it may hold the pad.
    """
    width = content.find(b"\r\n", start, start + _LONGEST_LINE) - start
    if width < _SHORTEST_LINE or width % 4 or len(content) - start < LEAST:
        return 0
    step = width + 2
    at, look = start, LEAST
    while True:
        stop = at + look // step * step
        returns, feeds = content[at + width : stop : step], content[at + width + 1 : stop : step]
        lines = min(len(returns) - len(returns.lstrip(b"\r")), len(feeds) - len(feeds.lstrip(b"\n")))
        at += lines * step
        if lines < look // step:
            break
        look = max(_FIRST_LOOK, look * 2)
    end = at - step
    return end if end - start >= LEAST - 2 * step else 0


def _decoded(content: bytes, start: int, end: int) -> bytes | None:
    """What the lines encode; None when they hold anything but whole groups of base64.

    msgspec refuses every foreign octet, which the reader of the standard library skips, and takes a third of its time.
    """
    width = content.find(b"\r\n", start) - start
    lines = bytearray(content[start:end])
    del lines[width :: width + 2]
    del lines[width :: width + 1]
    try:
        data = msgspec.convert(lines.decode("ascii"), bytes)
    except (UnicodeDecodeError, msgspec.ValidationError):
        return None
    return data if len(data) * 4 == len(lines) * 3 else None
