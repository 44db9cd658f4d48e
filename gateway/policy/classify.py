"""The level of a message and of each leaf, from everything that inspection found.

What it is: ``classify``, one pure function.
Who calls it: ``decide`` and ``gateway explain``.
Must never: read content, lower a level, or make a message UNCLASSIFIED that did not declare it.
Sources: docs/design.md section 4 (levels inherit); J&K Circular 26-JK(GAD) of 2024 (a paper is not downgraded so that it can be
shared): a subject or label below the content is a conflict.

Decided here: only *certain* evidence above the outer statement makes a conflict, with one exception: a marking in quoted mail,
which is never more than probable, counts as well when its term is verified, since a reply with a lower subject over a higher
thread is exactly what that rule forbids. Other probable evidence needs a person anyway (``probable`` above ``level``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from gateway.levels import Level, highest
from gateway.protection import GIVEN_AWAY
from gateway.verdict import Classification, Confidence, Finding, Inspection, Leaf, LeafState, Zone

_ORDER = {Confidence.CERTAIN: 0, Confidence.PROBABLE: 1, Confidence.POSSIBLE: 2}
_NOT_SAID = frozenset((Zone.QUOTED, Zone.FILE_NAME, Zone.PROPERTY))
"""Zones of a body that are not the originator's own statement."""


def classify(inspection: Inspection) -> tuple[Classification, tuple[Leaf, ...]]:
    """The classification of the message, and its leaves with their levels."""
    findings = inspection.findings
    certain = [finding for finding in findings if finding.confidence is Confidence.CERTAIN]
    own = {leaf.path for leaf in inspection.leaves if not leaf.is_attachment and not leaf.container}
    outer = [finding for finding in certain if finding.path.startswith("header:")]
    said = [finding for finding in certain if finding.path in own and finding.zone not in _NOT_SAID]
    declared = highest([finding.level for finding in (*outer, *said)])
    found = highest([finding.level for finding in certain])
    level = _stated(declared, found)
    likely = highest([finding.level for finding in findings if finding.confidence is Confidence.PROBABLE])
    classification = Classification(
        level=level,
        declared=declared,
        found=found,
        probable=_stated(level, likely),
        conflict=bool(outer) and _conflict(outer, certain, findings),
        complete=not inspection.ambiguity and all(was_read(leaf) for leaf in inspection.leaves),
        evidence=findings if len(findings) < 2 else tuple(sorted(findings, key=_rank)),
    )
    return classification, _leaves(inspection.leaves, certain, declared)


def was_read(leaf: Leaf) -> bool:
    """Whether all of *leaf* was read: also where a password or key of the same message opened it, which is suspect for that alone."""
    return leaf.state is LeafState.INSPECTED or (leaf.state is LeafState.SUSPECT and leaf.reason in GIVEN_AWAY)


def _rank(finding: Finding) -> tuple[int, int]:
    """The surest first, then the highest."""
    return _ORDER[finding.confidence], -finding.level


def _stated(declared: Level | None, other: Level | None) -> Level | None:
    """The maximum of both; UNCLASSIFIED only where it was declared."""
    if declared is None and other is Level.UNCLASSIFIED:
        return None
    return highest((declared, other))


def _conflict(outer: Iterable[Finding], certain: Iterable[Finding], findings: Iterable[Finding]) -> bool:
    """Whether one outer statement is below another, or below what the message holds."""
    lowest = min((finding.level for finding in outer), default=None)
    if lowest is None:
        return False
    quoted = (f.level for f in findings if f.zone is Zone.QUOTED and f.confidence is Confidence.PROBABLE and f.verified)
    top = highest((*(finding.level for finding in certain), *quoted))
    return top is not None and top > lowest


def _leaves(leaves: tuple[Leaf, ...], certain: Iterable[Finding], declared: Level | None) -> tuple[Leaf, ...]:
    """Each leaf with the maximum of its own evidence, that of the containers around it, and what the message declares."""
    evidence: dict[str, Level] = {}
    for finding in certain:
        evidence[finding.path] = max(finding.level, evidence.get(finding.path, finding.level))
    containers = {leaf.path: leaf.path for leaf in leaves if leaf.container}
    containers |= {leaf.path.partition(":")[0]: leaf.path for leaf in leaves if leaf.container and "/" not in leaf.path}
    result = []
    for leaf in leaves:
        around = [evidence.get(path) for path in _around(leaf.path, containers)] if containers else ()
        level = highest((declared, evidence.get(leaf.path), *around))
        result.append(leaf if level is leaf.level else replace(leaf, level=level))
    return tuple(result)


def _around(path: str, containers: Mapping[str, str]) -> Iterable[str]:
    """The containers that *path* lies in: archives by ``/``, enclosed messages by their part number."""
    for place, char in enumerate(path):
        if char == "/" and path[:place] in containers:
            yield containers[path[:place]]
    number = path.partition("/")[0].partition(":")[0]
    for place, char in enumerate(number):
        if char == "." and number[:place] in containers:
            yield containers[number[:place]]
