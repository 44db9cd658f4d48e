"""What a pass over an RTF document gives.

What it is: ``Reading`` and its pieces (running text by destination, packed octets, properties, fields); ``Group``, what holds while
a group of the document is open.
Who calls it: ``documents.rtf_reader`` fills it, ``documents.rtf`` reads it.
Must never: know what a destination means.
Source: Rich Text Format specification 1.9.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.verdict import Zone

_LONGEST_NUMBER = 10
_NOT_HEX = bytes(octet for octet in range(256) if octet not in b"0123456789abcdefABCDEF")


@dataclass(slots=True)
class Flow:
    """Running text of one destination."""

    name: str
    zone: Zone
    all: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    """Without what is hidden or deleted."""
    hides: bool = False
    uncut: list[str] | None = None
    """With what stands for characters beyond the code page, where that is letters."""
    legacy: dict[str, list[str]] = field(default_factory=dict)
    """What stands in fonts that show Hindi for Latin letters, by the name of the font; it stands in ``all`` too."""

    def leave_in(self, text: str) -> None:
        """Takes *text*, which programs leave out that know the character before it."""
        if self.uncut is None:
            self.uncut = list(self.all)
        self.uncut.append(text)

    def text(self) -> str:
        """Everything, hidden or not."""
        return joined(self.all)

    def visible(self) -> str:
        """What a reader of the page sees."""
        return joined(self.seen)


@dataclass(slots=True)
class Blob:
    """Octets that are packed into the document."""

    name: str
    kind: str = ""
    """The control word that names the sort of picture."""
    data: bytearray = field(default_factory=bytearray)
    odd: bool = False
    """Written in a way that programs do not write it: other things between its digits."""
    hex: list[bytes] = field(default_factory=list)

    def close(self) -> None:
        """Turns the digits that were collected into octets."""
        digits = b"".join(self.hex).translate(None, _NOT_HEX)
        self.hex.clear()
        if len(digits) % 2:
            digits = digits[:-1]
            self.odd = True
        self.data += bytes.fromhex(digits.decode("ascii"))


@dataclass(slots=True)
class Reading:
    """What the document holds."""

    flows: list[Flow] = field(default_factory=list)
    blobs: list[Blob] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    """The instructions of fields."""
    templates: list[str] = field(default_factory=list)
    shapes: list[tuple[str, str]] = field(default_factory=list)
    """Name and value of each property of a drawn shape."""
    links: list[str] = field(default_factory=list)
    objects: set[str] = field(default_factory=set)
    """The control words that say what objects are there."""
    binaries: list[bytes] = field(default_factory=list)
    """What stands behind \\bin where text is expected."""
    html: str = ""
    """The page that the document was made from, where it says that it was."""
    tail: bytes = b""
    """What stands behind the end."""
    problems: dict[str, None] = field(default_factory=dict)


class Group:
    """What holds until a closing brace."""

    __slots__ = ("blob", "codec", "flow", "font", "hidden", "home", "html_rtf", "html_tag", "name", "role", "starred", "uc")

    def __init__(self, flow: Flow) -> None:
        self.name = ""
        self.role = 0
        self.flow = flow
        self.home = flow
        self.blob: Blob | None = None
        self.codec = "cp1252"
        self.font = -1
        self.uc = 1
        self.hidden = False
        self.starred = False
        self.html_rtf = False
        self.html_tag = False

    def inner(self) -> Group:
        """A group within this one."""
        group = Group.__new__(Group)
        group.name = ""
        group.role, group.flow, group.home, group.blob = self.role, self.flow, self.home, self.blob
        group.codec, group.font, group.uc, group.hidden = self.codec, self.font, self.uc, self.hidden
        group.starred, group.html_rtf, group.html_tag = False, self.html_rtf, self.html_tag
        return group


def joined(pieces: list[str]) -> str:
    """The pieces as one text; halves of a character joined."""
    text = "".join(pieces)
    if any("\ud800" <= character <= "\udfff" for character in text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def whole_number(digits: bytes) -> int:
    """The number behind a control word; noughts before it count for nothing, as many as there are."""
    value = int(digits.lstrip(b"-0")[:_LONGEST_NUMBER] or b"0")
    return -value if digits[:1] == b"-" else value
