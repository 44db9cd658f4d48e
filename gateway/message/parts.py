"""The parts of a message and the view that one reader has of them.

What it is: ``Part`` and ``View``, the values that every reading of a message is given in.
Who calls it: ``mime_view`` and ``lenient`` make them; ``views`` offers them; ``rawscan``, ``plain`` and ``content`` read them.
Must never: copy a part before it is asked for; use a name as a path.
Sources: RFC 2045, RFC 2046; RFC 3501 section 6.4.5 (part numbers).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.message.transfer import decode


@dataclass(frozen=True, slots=True)
class Part:
    """One part that is no multipart: a body, an attachment, or text that stands between parts."""

    number: str
    """As IMAP counts: ``1``, ``1.2``. Text outside of parts is ``1.preamble`` and ``1.epilogue``; the header section of an
    enclosed message is ``2.header`` with the type text/rfc822-headers."""
    headers: tuple[tuple[str, str], ...]
    media_type: str
    """As declared, lower case."""
    charset: str
    names: tuple[str, ...]
    """Every candidate for the file name, the likeliest first: evidence, never paths."""
    disposition: str
    encoding: str
    raw: memoryview
    is_attachment: bool
    data: bytes | None = field(default=None, repr=False, compare=False)
    """The decoded content where the reading had to decode it anyway."""
    others: tuple[bytes, ...] = field(default=(), repr=False)
    """Other readings of the encoded content, where readers disagree; to be inspected beside ``decoded()``."""
    offset: int = -1
    """Octets from the start of the message to *raw*; -1 where it is no slice of it."""
    dense: int = 0
    """Octets at the start of *raw* that are proved to be nothing but lines of base64."""

    def decoded(self) -> bytes:
        """The content. Never raises."""
        return decode(self.raw, self.encoding).data if self.data is None else self.data


@dataclass(frozen=True, slots=True)
class View:
    """A message as one reader sees it."""

    headers: tuple[tuple[str, str], ...]
    """Name as written and unfolded value of each field of the message; encoded words not decoded."""
    parts: tuple[Part, ...]
    ambiguity: tuple[str, ...]
    """Each reason why readers may disagree, in plain English; not empty means ambiguous."""
    by_name: dict[str, list[str]] = field(default_factory=dict, repr=False, compare=False)
    """The values of each field by lower-case name."""
