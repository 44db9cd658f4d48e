"""The first look at a message: one linear pass that finds the header section and holds the limits.

What it is: ``prescan`` (offsets, counts, limits) and ``canonical`` (LF-only files become CRLF).
Who calls it: ``plain`` and ``content.unpack`` before anything else reads the message; ``gateway explain`` calls ``canonical``
on files, since only the door guarantees CRLF.
Must never: raise, recurse, or take more than linear time, whatever the octets are; change what the door received.
Sources: RFC 5322 sections 2.1 and 2.2; hostile-inputs catalogue 4.4 (limits), M14, M15, M17-M19, S01-S04.
"""

from __future__ import annotations

import re

import msgspec

from gateway.config import Limits
from gateway.message.dense import Stretch, stretches

BOUNDARY_LINES_PER_PART = 20
"""Lines that begin with "--" allowed for each allowed part: patches and signatures have many, no honest multipart has so many."""

_RECEIVED = re.compile(rb"\nreceived[ \t]*:")
_NOT_A_LINE_END = bytes(octet for octet in range(256) if octet not in b"\r\n\0")


class Prescan(msgspec.Struct, frozen=True):
    """What one pass over the octets says."""

    header_end: int
    """Octets from the start to the end of the header section: after the CRLF of its last line."""
    header_lines: int
    received: int
    """Received fields of the header section."""
    problems: tuple[str, ...]
    """Why readers may disagree about the lines themselves; each is a reason for ``ambiguity``."""
    over_limit: str
    """Empty, or the limit that was passed: then nothing else may parse the message."""
    body_start: int = 0
    """Octets from the start to the first octet of the body: after the empty line."""
    dense: tuple[Stretch, ...] = ()
    """Long stretches of plain base64, in their order: nothing but base64 and CRLF stands in them."""


def canonical(content: bytes) -> bytes:
    """*content* with CRLF line ends when it has LF line ends only (a file as it lies on a disk); else unchanged.

    A file that mixes both is left alone: readers disagree about it, and ``prescan`` says so.
    """
    if b"\r" in content or b"\n" not in content:
        return content
    return content.replace(b"\n", b"\r\n")


def sections(content: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the header section of the entity in ``content[start:end]`` ends and where its body starts.

    Without an empty line there is no body and both are *end*.
    """
    if content.startswith(b"\r\n", start, end):
        return start, start + 2
    blank = content.find(b"\r\n\r\n", start, end)
    if blank < 0:
        return end, end
    return blank + 2, blank + 4


def prescan(content: bytes, limits: Limits) -> Prescan:
    """Find the header section of *content* and hold *limits*. Linear; never raises."""
    header_end, body_start = sections(content, 0, len(content))
    dense = stretches(content)
    rest = _without(content, dense)
    over, lines, received = _header(content, header_end, rest, limits)
    return Prescan(header_end, lines, received, _line_problems(rest), over, body_start, dense)


def hops(content: bytes, limits: Limits) -> int:
    """The Received fields of the header section, as ``prescan`` counts them, without a look at the body."""
    header_end, _ = sections(content, 0, len(content))
    return _header(content, header_end, b"", limits)[2]


def _without(content: bytes, dense: tuple[Stretch, ...]) -> bytes:
    """*content* without *dense*, each of which begins and ends with a line."""
    if not dense:
        return content
    view = memoryview(content)
    starts, ends = [one.start for one in dense], [one.end for one in dense]
    return b"".join([view[start:end] for start, end in zip([0, *ends], [*starts, len(content)], strict=True)])


def _header(content: bytes, header_end: int, rest: bytes, limits: Limits) -> tuple[str, int, int]:
    """The limit that was passed or nothing, and the lines and the Received fields of the header section.

    *rest*: where lines that look like a boundary are counted.
    """
    lines = content.count(b"\n", 0, header_end)
    over = ""
    received = 0
    if header_end > limits.header_bytes:
        over = f"over the limit of {limits.header_bytes} octets of header"
    elif lines > limits.header_lines:
        over = f"over the limit of {limits.header_lines} lines of header"
    else:
        section = b"\n" + content[:header_end].lower()
        received = len(_RECEIVED.findall(section))
        if received > limits.received:
            over = f"over the limit of {limits.received} Received fields"
        elif b"boundary" in section or b"message/" in section:
            most = BOUNDARY_LINES_PER_PART * limits.mime_parts
            if rest.count(b"\n--") > most:
                over = f"over the limit of {most} lines that look like a boundary"
    return over, lines, received


def _line_problems(content: bytes) -> tuple[str, ...]:
    """What is wrong with the line ends and octets of the whole message."""
    pairs = content.count(b"\r\n")
    # What is left of the message without all other octets: when it is as long as the pairs there is no bare CR, LF or NUL.
    if len(content.translate(None, _NOT_A_LINE_END)) == 2 * pairs:
        return ()
    problems = []
    if content.count(b"\n") != pairs or content.count(b"\r") != pairs:
        problems.append("a bare CR or LF")
    if b"\0" in content:
        problems.append("a NUL octet")
    return tuple(problems)
