"""The text of a message as it comes off the wire: from 354 to CRLF.CRLF.

What it is: ``Scanner``, which finds the end, takes the stuffed dots away, hashes, and refuses what servers read differently:
a bare CR, a bare LF, NUL. It works on whole chunks with the search functions of bytes, never octet by octet.
Who calls it: ``wire.smtp``, one scanner a message; the milter door takes ``fault``.
Must never: end a message by anything but CRLF.CRLF; let an octet through that was not checked; keep octets of a message that
is refused already.
Sources: RFC 5321 sections 2.3.8, 4.1.1.4, 4.5.2 and 4.5.3.1.6; CVE-2023-51764, CVE-2023-51765, CVE-2023-51766 (smuggling).
"""

from __future__ import annotations

import hashlib
import re

_END = b"\r\n.\r\n"
# What is left when all octets but these are deleted tells in one pass whether anything is bare, stuffed or at its end.
_ALL_BUT_TELLING = bytes(octet for octet in range(256) if octet not in b"\r\n\0.")
_OFFENCE = re.compile(rb"\0|\r(?!\n)|(?<!\r)\n")
_NAMES = {b"\0": "NUL", b"\r": "bare CR", b"\n": "bare LF"}
_WORTH = 16  # octets of a line from which looking at line ends is quicker than counting them
LONG_LINE = "a long line"
_DRAIN = 4  # times the size limit that is read and thrown away before the session is closed


class Scanner:
    """One message under way. Feed it until ``done`` or ``offence``; then take ``content``."""

    __slots__ = ("_column", "_digest", "_line", "_parts", "_size", "_skip", "_tail", "done", "held", "offence", "too_large", "too_long")

    def __init__(self, size: int, line: int) -> None:
        """*size*: octets of the content at most; *line*: octets of one of its lines at most, with CRLF."""
        self._size = size
        self._line = line
        # The line before the first one has just ended: a dot may stand at once.
        self._tail = b"\r\n"
        self._skip = 2
        self._column = 0
        self._parts: list[bytes] = []
        self._digest = hashlib.sha256()
        self.held = 0
        """Octets of content so far; goes on counting when they are not kept any more."""
        self.done = False
        self.offence = ""
        """``bare CR``, ``bare LF`` or ``NUL``: the message ends here and now; or ``endless`` for one far over the limit."""
        self.too_large = False
        self.too_long = False

    @property
    def memory(self) -> int:
        """Octets that are kept."""
        return 0 if self.too_large or self.too_long or self.offence else self.held

    def feed(self, data: bytes) -> int:
        """Takes *data* in. Returns how many of its octets belong to the message; fewer than all only when it is ``done``."""
        tail = self._tail
        text = tail + data
        telling = text.translate(None, _ALL_BUT_TELLING)
        dot = end = -1
        if b"\r\n." in telling:
            dot = text.find(b"\r\n.")
            end = text.find(_END, dot) if dot >= 0 else -1
        if end >= 0:
            self.done = True
            taken = end + 5 - len(tail)
            piece = text[: end + 2]  # the CRLF before the dot is content
            telling = telling[:-3] if end + 5 == len(text) else piece.translate(None, _ALL_BUT_TELLING)
            if dot == end:
                dot = -1
        else:
            taken = len(data)
            hold = _held_back(text)
            self._tail = text[len(text) - hold :]
            piece, telling = (text[:-hold], telling[:-hold]) if hold else (text, telling)
        if piece:
            self._take(piece, telling, stuffed=0 <= dot < len(piece))
        return taken

    def content(self) -> tuple[bytes, str]:
        """The octets between 354 and the final dot, un-stuffed, and their SHA-256 in hex. Only for a message without any fault."""
        parts = self._parts
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        return content, self._digest.hexdigest()

    def discard(self) -> None:
        """Keeps nothing from here on: the message is refused, only its end is still looked for."""
        self.too_large = True
        self._parts = []

    def _take(self, piece: bytes, telling: bytes, stuffed: bool) -> None:
        """Checks and keeps *piece*, which never begins or ends within a CRLF or a stuffed dot."""
        if b"." in telling:
            telling = telling.translate(None, b".")
        # CR, text, LF leaves the same as CRLF: only the count of real pairs tells them apart.
        lines = len(telling) >> 1
        equal, step, after = _equal_lines(piece)
        paired = equal + piece.count(b"\r\n", after) == lines or piece.count(b"\r\n") == lines
        if not paired or telling != b"\r\n" * lines:
            offence = _OFFENCE.search(piece)
            assert offence is not None
            self.offence = _NAMES[offence[0]]
            self.done = False
            self._parts = []
            return
        if stuffed:
            piece = piece.replace(b"\r\n.", b"\r\n")
            equal = 0
        if self._skip:
            piece = piece[2:]
            after -= 2
            self._skip = 0
        if not piece:
            return
        if not self.too_long:
            self._measure(piece, equal, step, after)
        self.held += len(piece)
        if self.held > self._size:
            self.too_large = True
            if self.held > self._size * _DRAIN and not self.done:
                self.offence = "endless"
        if self.too_large or self.too_long:
            self._parts = []
        else:
            self._parts.append(piece)
            self._digest.update(piece)

    def _measure(self, piece: bytes, equal: int, step: int, after: int) -> None:
        """Looks for a line over the limit in jumps of nearly the limit: each ends at the last line end within it.

        *equal* lines end before *after*, all but the first of them of *step* octets or fewer.
        """
        limit, length = self._line, len(piece)
        start = -self._column  # of the current line
        if equal and step <= limit and after - (equal - 1) * step - start <= limit:
            start = after
        while length - start >= limit:
            newline = piece.rfind(b"\n", max(start, 0), start + limit) if start + limit > 0 else -1
            if newline < 0:
                self.too_long = True
                return
            start = newline + 1
        last = piece.rfind(b"\n", max(start, 0))
        self._column = length - max(start, last + 1) if last >= 0 else length - start


def fault(content: bytes, line: int) -> str:
    """What a ``Scanner`` would have refused *content* for: ``bare CR``, ``bare LF``, ``NUL``, ``LONG_LINE`` for one of more than *line*
    octets with CRLF; empty for none. For content that came by another way than DATA."""
    ends = content.count(b"\r\n")
    if b"\0" in content or content.count(b"\n") != ends or content.count(b"\r") != ends:
        offence = _OFFENCE.search(content)
        assert offence is not None
        return _NAMES[offence[0]]
    start = 0
    while len(content) - start >= line:
        newline = content.rfind(b"\n", start, start + line)
        if newline < 0:
            return LONG_LINE
        start = newline + 1
    return ""


def _equal_lines(piece: bytes) -> tuple[int, int, int]:
    """How many CRLF follow each other at equal distance from the first one on, that distance, and the place behind the last.

    The lines of base64 are told by a look at their ends alone. There may be more line ends between these.
    """
    first = piece.find(b"\n")
    step = piece.find(b"\n", first + 1) - first
    if first < 1 or step < _WORTH:
        return 0, 0, 0
    feeds, returns = piece[first::step], piece[first - 1 :: step]
    equal = min(len(feeds) - len(feeds.lstrip(b"\n")), len(returns) - len(returns.lstrip(b"\r")))
    return (equal, step, first + (equal - 1) * step + 1) if equal else (0, 0, 0)


def _held_back(text: bytes) -> int:
    """How many octets at the end of *text* may be the beginning of CRLF.CRLF, or of a stuffed dot."""
    if text.endswith(b"\n"):
        return 2 if text.endswith(b"\r\n") else 0
    if text.endswith(b"."):
        return 3 if text.endswith(b"\r\n.") else 0
    if text.endswith(b"\r"):
        return 4 if text.endswith(b"\r\n.\r") else 1
    return 0
