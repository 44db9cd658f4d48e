"""What the keeper may ask the inspector, to show a held message to a person: its text, a page as a picture, one leaf's octets.

What it is: the requests ``Show``, ``Draw`` and ``Take`` with their answers. Each goes with the message as the frame's body; each answer
quotes the nonce and the hash of its request, anything else is void.
Who calls it: ``keeper.inspecting`` asks, ``inspector.drawing`` answers.
Must never: carry a sentence that the inspector wrote: it meets hostile content, so it says why something failed by one of ``REASONS``.
Sources: docs/design.md section 2; hostile-inputs catalogue W02.
"""

from __future__ import annotations

import msgspec

from gateway.verdict import Finding, Leaf, Zone

MOST_OF_A_LEAF = 400_000
"""Characters of one leaf that are shown."""
MOST_IN_ALL = 2_000_000
"""Characters of one message that are shown."""
MOST_MARKS = 500
"""Marked words of one segment."""
WIDEST, TALLEST = 2_000, 4_000
"""Pixels of a page's picture."""
LARGEST_PICTURE = 12_000_000
"""Octets of a page's picture."""
LARGEST_LEAF = 100_000_000
"""Octets of one leaf that are given alone."""
PNG = b"\x89PNG\r\n\x1a\n"

REASONS: dict[str, str] = {
    "hash": "the content is not what was asked for",
    "tool": "a program that reads archives failed; please try again",
    "path": "there is no such part in this message, or it could not be unpacked",
    "kind": "only pages of PDF files can be shown as pictures",
    "page": "there is no such page",
    "draw": "this page cannot be drawn",
    "late": "this page takes too long to draw",
    "large": "this part is too large to be given alone; download the whole message",
}
"""Why it was not done, by the word that the inspector says."""


class Asked(msgspec.Struct, frozen=True, tag=True):
    """The root of these requests and answers; the tag is the class name."""


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """Marked words: where they stand, in characters of the segment, with their level and how sure it is."""

    start: int
    end: int
    level: int
    confidence: str


class Passage(msgspec.Struct, frozen=True, array_like=True):
    """A piece of what was read of a leaf."""

    path: str
    zone: Zone
    page: int
    """0 where there are none."""
    text: str
    marks: tuple[Mark, ...] = ()


class Show(Asked, frozen=True):
    """What is there to read in the message."""

    nonce: str
    sha256: str


class Shown(Asked, frozen=True):
    """What was read, at most ``MOST_IN_ALL`` characters."""

    nonce: str
    sha256: str
    leaves: tuple[Leaf, ...]
    passages: tuple[Passage, ...]
    beside: tuple[Finding, ...] = ()
    """Markings that stand in no passage: in names of files, properties, header fields, and behind what was cut off."""
    pages: tuple[tuple[str, int], ...] = ()
    """Pages of each leaf that can be drawn."""
    cut: tuple[str, ...] = ()
    """Leaves of which not everything is here."""


class Draw(Asked, frozen=True):
    """One page (from 1) of the PDF leaf *path* as a PNG, its marked words in boxes: the answer's body."""

    nonce: str
    sha256: str
    path: str
    page: int


class Drawn(Asked, frozen=True):
    """The page was drawn; *pages*: of the document; *boxes*: how many were drawn."""

    nonce: str
    sha256: str
    pages: int
    width: int
    height: int
    boxes: int = 0


class Take(Asked, frozen=True):
    """The octets of the leaf *path*: the answer's body."""

    nonce: str
    sha256: str
    path: str


class Taken(Asked, frozen=True):
    """The octets are the body."""

    nonce: str
    sha256: str


class NotDone(Asked, frozen=True):
    """Why not: a word of ``REASONS``."""

    nonce: str
    sha256: str
    why: str


ShowRequest = Show | Draw | Take
ShowAnswer = Shown | Drawn | Taken | NotDone
