"""What a worker answers the keeper, who shows held mail to a person: the text with its marks, a page as a picture, one leaf's octets.

What it is: ``answer``, from a request of ``showing`` to its answer and body.
Who calls it: ``inspector.worker``, in the sandbox, within the limits of an inspection.
Must never: write a sentence of its own into an answer; give text without a bound; answer for content whose SHA-256 is another.
Sources: docs/design.md section 2; hostile-inputs catalogue W02, W09.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from msgspec import structs

from gateway import content
from gateway.config import Limits
from gateway.content.sought import Reached, Sought
from gateway.content.walk import read_message
from gateway.documents import pdf_picture
from gateway.extraction.base import Budget, OverLimit, ToolFault, Tools
from gateway.showing import (
    LARGEST_LEAF,
    MOST_IN_ALL,
    MOST_MARKS,
    MOST_OF_A_LEAF,
    Draw,
    Drawn,
    Mark,
    NotDone,
    Passage,
    ShowAnswer,
    Shown,
    ShowRequest,
    Take,
    Taken,
)
from gateway.text import marks
from gateway.text.markings import Scheme, Segment
from gateway.verdict import Finding, Inspection

_MOST_BESIDE = 500
_MOST_PASSAGES = 20_000


@dataclass(frozen=True, slots=True)
class Reader:
    """With what a worker reads."""

    limits: Limits
    scheme: Scheme
    tools: Tools | None = None

    def answer(self, request: ShowRequest, message: bytes) -> tuple[ShowAnswer, bytes]:
        """The answer and its body. Never raises for what *message* contains; ToolFault is answered too."""
        if hashlib.sha256(message).hexdigest() != request.sha256:
            return self._not(request, "hash")
        try:
            if isinstance(request, Draw):
                return self._draw(request, message)
            if isinstance(request, Take):
                return self._take(request, message)
            inspection = content.unpack(
                message, sha256=request.sha256, limits=self.limits, scheme=self.scheme, want_text=True, tools=self.tools
            )
        except ToolFault:
            return self._not(request, "tool")
        return shown(request.nonce, inspection), b""

    def _not(self, request: ShowRequest, why: str) -> tuple[NotDone, bytes]:
        return NotDone(request.nonce, request.sha256, why), b""

    def _find(self, path: str, message: bytes, sha256: str, *, opened: bool) -> Sought | None:
        """The leaf *path*; None where there is none that could be unpacked. Raises ToolFault."""
        sought = Sought(path, opened=opened)
        try:
            read_message(message, sha256, self.limits, self.scheme, content.TABLE, want_text=False, tools=self.tools, sought=sought)
        except Reached:
            pass
        return None if sought.data is None else sought

    def _take(self, request: Take, message: bytes) -> tuple[ShowAnswer, bytes]:
        found = self._find(request.path, message, request.sha256, opened=False)
        if found is None or found.data is None:
            return self._not(request, "path")
        if len(found.data) > LARGEST_LEAF:
            return self._not(request, "large")
        return Taken(request.nonce, request.sha256), found.data

    def _draw(self, request: Draw, message: bytes) -> tuple[ShowAnswer, bytes]:
        found = self._find(request.path, message, request.sha256, opened=True)
        if found is None or found.data is None:
            return self._not(request, "path")
        if "pdf" not in found.kinds:
            return self._not(request, "kind")
        stretches, _ = marks.place(found.segments, found.findings, MOST_MARKS)
        marked = [(segment, some) for segment, some in zip(found.segments, stretches, strict=True) if some]
        try:
            made = pdf_picture.picture(found.data, request.page, marked, self.scheme.colours, Budget(self.limits))
        except pdf_picture.NoPage:
            return self._not(request, "page")
        except OverLimit:
            return self._not(request, "late")
        except Exception:  # the libraries fail in many ways on hostile pages
            return self._not(request, "draw")
        return Drawn(request.nonce, request.sha256, made.pages, made.width, made.height, made.boxes), made.png


def shown(nonce: str, inspection: Inspection) -> Shown:
    """What is shown of *inspection*, which was made with its texts."""
    of_leaf: dict[str, list[Segment]] = {}
    for path, zone, page, text in inspection.segments:
        of_leaf.setdefault(path, []).append(Segment(text, zone, page))
    findings: dict[str, list[Finding]] = {}
    for one in inspection.findings:
        findings.setdefault(one.path, []).append(one)
    passages: list[Passage] = []
    beside: list[Finding] = []
    cut: list[str] = []
    left = MOST_IN_ALL
    for path, segments in of_leaf.items():
        stretches, elsewhere = marks.place(segments, findings.pop(path, ()), MOST_MARKS)
        beside += elsewhere
        room = min(left, MOST_OF_A_LEAF)
        for segment, some in zip(segments, stretches, strict=True):
            if (room <= 0 and segment.text) or len(passages) >= _MOST_PASSAGES:
                beside += (one.finding for one in some)
                if path not in cut:
                    cut.append(path)
                continue
            text = segment.text[:room]
            kept = tuple(Mark(one.start, one.end, int(one.finding.level), one.finding.confidence.value) for one in some if one.end <= room)
            if len(text) < len(segment.text):
                cut.append(path)
                beside += (one.finding for one in some if one.end > room)
            passages.append(Passage(path, segment.zone, segment.page, text, kept))
            room -= len(text)
            left -= len(text)
    for rest in findings.values():
        beside += rest
    return Shown(
        nonce, inspection.sha256, inspection.leaves, tuple(passages), _few(beside), inspection.pages, tuple(dict.fromkeys(cut))
    )  # fmt: skip


def _few(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """*findings* once each, the highest levels first where they are too many, with no more of their words than a line."""
    unique = {(one.path, one.zone, one.level, one.text): one for one in findings}
    ranked = sorted(unique.values(), key=lambda one: -one.level)[:_MOST_BESIDE]
    return tuple(structs.replace(one, text=one.text[:200]) for one in ranked)
