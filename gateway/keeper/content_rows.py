"""What was read of a held message as the row that people and scripts get.

What it is: ``row``, a pure function from the inspector's answer and what was kept of the decision to a JSON-ready dict.
Who calls it: ``previews``.
Must never: believe the inspector a place that is not in the text, or a level that there is none of; show more than ``showing`` allows.
Sources: docs/design.md section 10 ("Web"); hostile-inputs catalogue W01, W02.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from gateway.keeper.recorded import Details
from gateway.keeper.records import level_text
from gateway.levels import Level, highest
from gateway.message.encoded import decode_words
from gateway.message.headers import read
from gateway.message.prescan import sections
from gateway.message.views import LABEL_FIELDS
from gateway.showing import Passage, Shown
from gateway.verdict import Confidence, Finding

FIELDS = frozenset(("subject", "from", "sender", "reply-to", "to", "cc", "date", "message-id", "in-reply-to"))
_MOST_FIELDS = 100
_LONGEST_FIELD = 4_000  # characters
_HEADER = 1_000_000  # octets of the header section that are looked at
_LEVELS = {int(level) for level in Level}
_SURE = {one.value for one in Confidence}
CUT = "Not everything of this part is shown here: it is longer than can be shown. Download it to see all of it."
NOT_SHOWN = "This part is not shown here: the message is longer than can be shown. Download it to see it."

WordsHash = Callable[[str], str]
Marked = list[tuple[int, int, str, str]]
"""Start, end, level and confidence."""


def row(shown: Shown, message: bytes, details: Details, words_hash: WordsHash, more_labels: Iterable[str] = ()) -> dict[str, Any]:
    """The row of ``ShowContent``. *details*: what was kept when it was decided; *more_labels*: names of label fields in small letters."""
    headers = _headers(message, LABEL_FIELDS | frozenset(more_labels))
    subject = next((value for name, value in headers if name.lower() == "subject"), "")
    levels = {leaf.path: leaf.level for leaf in details.leaves}
    pages = dict(shown.pages)
    passages: dict[str, list[Passage]] = {}
    for one in shown.passages:
        passages.setdefault(one.path, []).append(one)
    evidence: dict[str, list[dict[str, Any]]] = {}
    for known in details.evidence:
        evidence.setdefault(str(known.get("path", "")), []).append(known)
    leaves = []
    for leaf in shown.leaves:
        of_leaf = passages.pop(leaf.path, [])
        segments = _segments(of_leaf, evidence.get(leaf.path, ()), words_hash)
        found = [one.level for one in shown.beside if one.path == leaf.path]
        found += [Level.parse(mark[2]) for segment in segments for mark in segment["marks"] if mark[3] == Confidence.CERTAIN.value]
        leaves.append({
            "path": leaf.path, "name": leaf.name, "media_type": leaf.media_type, "size": leaf.size, "state": leaf.state.value,
            "reason": leaf.reason, "is_attachment": leaf.is_attachment, "container": leaf.container,
            "level": level_text(levels[leaf.path] if leaf.path in levels else highest(found)),
            "protection": msgspec.to_builtins(leaf.protection), "sha256": leaf.sha256,
            "pages": max(0, pages.get(leaf.path, 0)) if leaf.media_type == "application/pdf" else 0,
            "segments": segments, "cut": "" if leaf.path not in shown.cut else CUT if of_leaf else NOT_SHOWN,
        })  # fmt: skip
    return {
        "subject": subject, "subject_marks": _subject_marks(subject, shown.beside), "headers": [list(one) for one in headers],
        "leaves": leaves, "beside": [_beside(one) for one in shown.beside],
    }  # fmt: skip


def _headers(message: bytes, label_fields: frozenset[str]) -> list[tuple[str, str]]:
    """The fields that a person may want to see, decoded; those of labels too."""
    end, _ = sections(message, 0, len(message))
    wanted = FIELDS | label_fields
    found = [(name, value) for name, value in read(message[: min(end, _HEADER)]).items if name.lower() in wanted]
    return [(name[:100], decode_words(value)[:_LONGEST_FIELD]) for name, value in found[:_MOST_FIELDS]]


def _segments(passages: Sequence[Passage], evidence: Sequence[dict[str, Any]], words_hash: WordsHash) -> list[dict[str, Any]]:
    marks = [_marks(one) for one in passages]
    start = 0
    starts = []
    for one in passages:
        starts.append(start)
        start += len(one.text) + 1
    for known in evidence:
        _remember(known, passages, starts, marks, words_hash)
    return [
        {"zone": one.zone.value, "page": max(0, one.page), "text": one.text, "marks": [list(mark) for mark in sorted(some)]}
        for one, some in zip(passages, marks, strict=True)
    ]


def _marks(passage: Passage) -> Marked:
    """The marks of *passage* that can be: within its text, in order, of a level and a confidence that there are."""
    found: Marked = []
    end = 0
    for one in sorted(passage.marks, key=lambda mark: mark.start):
        if end <= one.start < one.end <= len(passage.text) and one.level in _LEVELS and one.confidence in _SURE:
            found.append((one.start, one.end, Level(one.level).text, one.confidence))
            end = one.end
    return found


def _remember(
    known: dict[str, Any], passages: Sequence[Passage], starts: Sequence[int], marks: Sequence[Marked], words_hash: WordsHash
) -> None:
    """Adds what was found when it was decided and is found no more, under other rules; the keyed hash proves that the words are those."""
    offset, length = int(known.get("offset", 0)), int(known.get("length", 0))
    for index in range(len(passages) - 1, -1, -1):
        if starts[index] > offset:
            continue
        start = offset - starts[index]
        end = start + length
        text = passages[index].text
        if not 0 < length <= len(text) - start or any(mark[0] < end and start < mark[1] for mark in marks[index]):
            return
        if words_hash(text[start:end]) == known.get("words"):
            marks[index].append((start, end, str(known.get("level", "")), str(known.get("confidence", ""))))
        return


def _subject_marks(subject: str, findings: Iterable[Finding]) -> list[list[Any]]:
    found = []
    end = 0
    for one in sorted((one for one in findings if one.path == "header:Subject"), key=lambda finding: finding.offset):
        if one.offset >= end and one.length > 0 and one.text and subject.startswith(one.text, one.offset):
            end = min(one.offset + one.length, len(subject))
            found.append([one.offset, end, one.level.text, one.confidence.value])
    return found


def _beside(one: Finding) -> dict[str, Any]:
    """A marking that stands in no text that is shown."""
    return {
        "path": one.path, "zone": one.zone.value, "text": one.text, "level": one.level.text, "confidence": one.confidence.value,
    }  # fmt: skip
