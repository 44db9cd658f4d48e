"""What the reading of one compound file has given so far, and which of its streams were read.

What it is: ``Parts``; a stream that no reader took becomes a member of the file at the end.
Who calls it: ``office.ole`` and the readers of the formats in compound files.
Must never: lose a stream that nobody took.
Source: docs/design.md section 4, leaf states.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.extraction import strings
from gateway.extraction.base import Child
from gateway.office.compound import Compound, Path
from gateway.office.officeart import Drawing
from gateway.text.markings import Segment
from gateway.verdict import Zone


@dataclass(slots=True)
class Parts:
    """Segments, members and properties as they come."""

    compound: Compound
    segments: list[Segment] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    active: dict[str, None] = field(default_factory=dict)
    problems: dict[str, None] = field(default_factory=dict)
    """Each makes the file suspect."""
    media_type: str = ""
    container: bool = False
    taken: set[Path] = field(default_factory=set)

    def take(self, *path: str) -> bytes:
        """A stream, which counts as read from now on; empty octets when there is none."""
        self.taken.add(tuple(name.lower() for name in path))
        return self.compound.get(*path)

    def take_storage(self, *path: str) -> None:
        """Everything below a storage counts as read."""
        view = self.compound
        for name in path:
            view = view.storage(name)
        head = tuple(name.lower() for name in path)
        self.taken.update((*head, *(part.lower() for part in name)) for name in view.names())

    def loose(self, data: bytes, name: str) -> None:
        """Octets without a grammar here: their words are a property; a file in them, or what looks random, is the member *name*."""
        if words := strings.sweep(data):
            self.segments.append(Segment(words, Zone.PROPERTY))
        if inside := strings.packed(data):
            self.children.append(Child(name, inside))

    def left(self) -> list[Path]:
        """Paths of the streams that nobody took."""
        return [path for path in self.compound.names() if tuple(name.lower() for name in path) not in self.taken]

    def take_drawing(self, drawing: Drawing) -> None:
        """Words and pictures of drawings."""
        self.segments.extend(drawing.segments)
        self.children.extend(drawing.children)
        if drawing.broken:
            self.problems["a drawing in it is broken"] = None
