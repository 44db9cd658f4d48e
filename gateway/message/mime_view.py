"""The strict reader: a message into parts, and every reason why another reader may see other parts.

What it is: ``walk``, which splits multiparts and enclosed messages by offset, without copies.
Who calls it: ``views.strict``.
Must never: raise; recurse deeper than ``limits.mime_depth``; guess without saying so.
Sources: RFC 2046 sections 5.1 and 5.2; hostile-inputs catalogue M02-M10, M17, M18.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from gateway.config import Limits
from gateway.message.dense import Stretch
from gateway.message.entity import IDENTITY, Entity, describe
from gateway.message.headers import Fields, read
from gateway.message.parts import Part
from gateway.message.prescan import Prescan, sections
from gateway.message.transfer import decode

_LOOKS_LIKE_PART = re.compile(
    rb"\n(?:[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[A-Za-z-]{2,24}[ \t]*:|begin(?:-base64)? [0-7]{3,4} |=ybegin |--\S[^\r\n]*\r\n[A-Za-z-]+:)"
)
_COMMON_PREAMBLE = re.compile(
    rb"\s*(?:this is (?:a|an) (?:multi-?part message|s/mime signed message|openpgp/mime signed message)[^\r\n]{0,80}|"
    rb"this message is in mime format[^\r\n]{0,300}|-{0,3} ?mime-boundary ?-{0,3})\s*",
    re.I,
)

ENCLOSED = frozenset(("message/rfc822", "message/global", "message/news"))
TEXT_BODIES = frozenset(("text/plain", "text/html"))


class Walk:
    """One walk over one message; its results are ``parts`` and ``reasons``."""

    __slots__ = ("content", "dense", "ends", "limits", "parts", "reasons", "view")

    def __init__(self, content: bytes, limits: Limits) -> None:
        self.content = content
        self.view = memoryview(content)
        self.limits = limits
        self.parts: list[Part] = []
        self.reasons: dict[str, None] = {}
        self.dense: tuple[Stretch, ...] = ()
        self.ends: list[int] = []

    def root(self, scan: Prescan) -> Fields:
        """Walk the whole message; returns its header fields."""
        self.dense = scan.dense
        self.ends = [stretch.end for stretch in scan.dense]
        fields = read(self.content[: scan.header_end])
        for problem in (*scan.problems, *fields.problems):
            self.reasons[problem] = None
        if self.content.startswith(b"\r\n"):
            self.reasons["an empty line before the header section"] = None
        described = describe(fields, self.limits)
        self.entity(fields, described, scan.body_start, len(self.content), "", 0, ())
        return fields

    def say(self, number: str, problem: str) -> None:
        """Record *problem* of part *number*."""
        self.reasons[f"part {number}: {problem}" if number else problem] = None

    def entity(self, fields: Fields, described: Entity, start: int, end: int, number: str, depth: int, outer: tuple[bytes, ...]) -> None:
        """One entity with its body in ``content[start:end]``. *number* is empty for the message itself."""
        for problem in described.problems:
            self.say(number, problem)
        if len(self.parts) >= self.limits.mime_parts:
            self.reasons[f"over the limit of {self.limits.mime_parts} parts"] = None
            return
        if depth >= self.limits.mime_depth and (described.boundary or described.media_type in ENCLOSED):
            self.reasons[f"over the limit of {self.limits.mime_depth} nested parts"] = None
        elif described.media_type.startswith("multipart/"):
            if described.encoding not in IDENTITY:
                self.say(number, "a multipart with a transfer encoding")
            if described.boundary and self.multipart(described, start, end, number, depth, outer):
                return
        elif described.media_type in ENCLOSED and described.encoding in IDENTITY:
            self.enclosed(start, end, number or "1", depth, outer)
            return
        self.leaf(fields, described, start, end, number)

    def leaf(self, fields: Fields, described: Entity, start: int, end: int, number: str) -> None:
        """A part that is not split. *number* is empty for the message itself."""
        raw = self.view[start:end]
        data: bytes | None = None
        others: tuple[bytes, ...] = ()
        dense = self.stretch(start, end) if described.encoding == "base64" else None
        if described.encoding not in IDENTITY:
            decoded = decode(raw, described.encoding, dense)
            data, others = decoded.data, decoded.others
            for problem in decoded.problems:
                self.say(number, problem)
        self.parts.append(
            Part(
                number or "1",
                fields.items,
                described.media_type,
                described.charset,
                described.names,
                described.disposition,
                described.encoding,
                raw,
                is_attachment(described),
                data,
                others,
                start,
                dense.end - dense.start if dense is not None else 0,
            )
        )

    def stretch(self, start: int, end: int) -> Stretch | None:
        """The stretch of base64 lines that begins at *start* and ends within *end*."""
        index = bisect_right(self.ends, start)
        if index < len(self.dense) and self.dense[index].start == start and self.dense[index].end <= end:
            return self.dense[index]
        return None

    def find(self, delimiter: bytes, at: int, end: int) -> int:
        """Where *delimiter* (CRLF, two hyphens and a boundary) stands in ``content[at:end]`` first; -1 for nowhere.

        No stretch of base64 can hold it but from its last CRLF on, nor its beginning, which stands behind a CRLF.
        """
        index = bisect_right(self.ends, at + 2) if b"\r" not in delimiter[2:] else len(self.dense)
        while index < len(self.dense) and self.dense[index].start < end:
            stretch = self.dense[index]
            found = self.content.find(delimiter, at, stretch.start)
            if found >= 0:
                return found
            at = max(at, min(stretch.end - 2, end))
            index += 1
        return self.content.find(delimiter, at, end)

    def aside(self, start: int, end: int, number: str, where: str) -> None:
        """Text before the first boundary or after the last: shown by readers that know no MIME, so it is read as text."""
        octets = self.content[start:end]
        if not octets.strip() or _COMMON_PREAMBLE.fullmatch(octets):
            return
        if _LOOKS_LIKE_PART.search(b"\n" + octets):
            self.reasons[f"text {where} that looks like a part"] = None
        if len(self.parts) < self.limits.mime_parts:
            self.parts.append(Part(number, (), "text/plain", "", (), "inline", "8bit", self.view[start:end], False, octets, (), start))

    def enclosed(self, start: int, end: int, number: str, depth: int, outer: tuple[bytes, ...]) -> None:
        """A message within the message, in clear."""
        header_end, body_start = sections(self.content, start, end)
        fields = self.section(start, header_end, number)
        if fields is None:
            return
        if header_end == start:
            self.say(number, "an enclosed message without a header section")
        self.parts.append(
            Part(
                f"{number}.header",
                fields.items,
                "text/rfc822-headers",
                "",
                (),
                "inline",
                "8bit",
                self.view[start:header_end],
                False,
                None,
                (),
                start,
            )
        )
        described = describe(fields, self.limits)
        inner = number if described.boundary else f"{number}.1"
        self.entity(fields, described, body_start, end, inner, depth + 1, outer)

    def section(self, start: int, end: int, number: str) -> Fields | None:
        """The header section in ``content[start:end]``; None when it is over a limit."""
        if end - start > self.limits.header_bytes or self.content.count(b"\n", start, end) > self.limits.header_lines:
            self.reasons["over the limit of octets or lines of a part's header"] = None
            return None
        fields = read(self.content[start:end])
        for problem in fields.problems:
            self.say(number, problem)
        return fields

    def multipart(self, described: Entity, start: int, end: int, number: str, depth: int, outer: tuple[bytes, ...]) -> bool:
        """Split at the boundary; False when it never appears."""
        boundary = described.boundary.encode("ascii", "replace")
        if boundary in outer:
            self.say(number, "the boundary of an outer multipart again")
        spans, first, last, closed = self.split(boundary, start, end, number)
        name = number or "1"
        if not spans:
            self.say(number, "the boundary never appears" if not closed else "a multipart without parts")
            return False
        if not closed:
            self.say(number, "no closing boundary")
        self.aside(start, first, f"{name}.preamble", "before the first boundary")
        default = "message/rfc822" if described.media_type == "multipart/digest" else "text/plain"
        prefix = f"{number}." if number else ""
        for index, (part_start, part_end) in enumerate(spans, 1):
            if len(self.parts) >= self.limits.mime_parts:
                self.reasons[f"over the limit of {self.limits.mime_parts} parts"] = None
                break
            self.part(part_start, part_end, f"{prefix}{index}", depth, (*outer, boundary), default)
        if closed:
            self.aside(last, end, f"{name}.epilogue", "after the closing boundary")
        return True

    def part(self, start: int, end: int, number: str, depth: int, outer: tuple[bytes, ...], default: str) -> None:
        """One part between two boundary lines."""
        header_end, body_start = sections(self.content, start, end)
        fields = self.section(start, header_end, number)
        if fields is None:
            return
        self.entity(fields, describe(fields, self.limits, default), body_start, end, number, depth + 1, outer)

    def split(self, boundary: bytes, start: int, end: int, number: str) -> tuple[list[tuple[int, int]], int, int, bool]:
        """The spans between the boundary lines, the ends of preamble and closing line, and whether it was closed."""
        content = self.content
        delimiter = b"\r\n--" + boundary
        spans: list[tuple[int, int]] = []
        open_at = -1
        first, last, closed = end, end, False
        at = start - 2 if content.startswith(delimiter[2:], start, end) else self.find(delimiter, start, end)
        while at >= 0:
            line = at + len(delimiter)
            line_end = content.find(b"\r\n", line, end)
            if line_end < 0:
                line_end = end
            rest = content[line : min(line_end, line + 1000)]
            following = min(line_end + 2, end)
            kind = rest.rstrip(b" \t")
            if kind not in (b"", b"--"):
                self.say(number, "a line that begins like a boundary")
            elif closed:
                self.say(number, "a boundary after the closing boundary")
            else:
                if rest != kind:
                    self.say(number, "white space after a boundary")
                if open_at >= 0:
                    if at < open_at:
                        self.say(number, "two boundaries without a part between them")
                    spans.append((open_at, max(at, open_at)))
                else:
                    first = max(at, start)
                if kind:
                    closed, last, open_at = True, following, -1
                else:
                    open_at = following
                if len(spans) > self.limits.mime_parts:
                    self.reasons[f"over the limit of {self.limits.mime_parts} parts"] = None
                    return spans, first, last, closed
            at = self.find(delimiter, max(line_end, line), end)
        if open_at >= 0:
            spans.append((open_at, end))
        return spans, first, last, closed


def is_attachment(described: Entity) -> bool:
    """Anything but a plain or HTML text without a name that does not ask to be one."""
    return described.media_type not in TEXT_BODIES or described.disposition == "attachment" or bool(described.names)
