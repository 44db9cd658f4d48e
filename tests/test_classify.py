"""policy.classify: tables of evidence and the level that follows."""

from __future__ import annotations

import pytest

from gateway.levels import Level
from gateway.policy.classify import classify
from gateway.protection import KEY_GIVEN, PASSWORD_GIVEN
from gateway.verdict import Confidence, Finding, Headers, Inspection, Leaf, LeafState, Zone

U, R, C, S, TS = Level
CERTAIN, PROBABLE, POSSIBLE = Confidence.CERTAIN, Confidence.PROBABLE, Confidence.POSSIBLE
BODY = Leaf("1", "", "text/plain", 10, LeafState.INSPECTED, is_attachment=False)
NOTE = Leaf("2:note.docx", "note.docx", "application/x", 10, LeafState.INSPECTED)
ZIP = Leaf("3:a.zip", "a.zip", "application/zip", 10, LeafState.INSPECTED, container=True)
MEMBER = Leaf("3:a.zip/x.txt", "x.txt", "text/plain", 10, LeafState.INSPECTED)
MAIL = Leaf("4", "", "message/rfc822", 10, LeafState.INSPECTED, container=True)
INNER = Leaf("4.1", "", "text/plain", 10, LeafState.INSPECTED)
LEAVES = (BODY, NOTE, ZIP, MEMBER, MAIL, INNER)


def f(level: Level, path: str = "1", zone: Zone = Zone.BODY_FIRST, confidence: Confidence = CERTAIN, verified: bool = True) -> Finding:
    return Finding(level, path, zone, "words", "en", confidence, "line", verified=verified)


def label(level: Level, name: str = "SIO-Label") -> Finding:
    return f(level, f"header:{name}", Zone.LABEL)


def subject(level: Level, confidence: Confidence = CERTAIN) -> Finding:
    return f(level, "header:Subject", Zone.SUBJECT, confidence)


def of(*findings: Finding, leaves: tuple[Leaf, ...] = LEAVES, ambiguity: tuple[str, ...] = ()) -> Inspection:
    return Inspection("00", Headers(), leaves, findings, ambiguity)


@pytest.mark.parametrize(
    ("findings", "level", "declared", "found", "probable", "conflict"),
    [
        ((), None, None, None, None, False),
        ((label(C),), C, C, C, C, False),
        ((f(C),), C, C, C, C, False),
        ((f(C, "2:note.docx"),), C, None, C, C, False),
        ((label(U),), U, U, U, U, False),
        ((f(U, "2:note.docx"),), None, None, U, None, False),
        ((label(U), f(U, "2:note.docx")), U, U, U, U, False),
        ((f(S, confidence=PROBABLE),), None, None, None, S, False),
        ((f(S, confidence=POSSIBLE),), None, None, None, None, False),
        ((label(R), f(S, confidence=PROBABLE)), R, R, R, S, False),
        ((subject(U), f(C, "2:note.docx")), C, U, C, C, True),
        ((subject(R), f(S, "3:a.zip/x.txt")), S, R, S, S, True),
        ((label(C), f(R)), C, C, C, C, False),
        ((label(C), label(R, "X-Protective-Marking")), C, C, C, C, True),
        ((label(C), label(C, "X-Protective-Marking")), C, C, C, C, False),
        ((label(C), subject(R)), C, C, C, C, True),
        ((subject(R), f(C)), C, C, C, C, True),
        ((f(R), f(S, "2:note.docx")), S, R, S, S, False),
        ((subject(R), f(S, zone=Zone.QUOTED, confidence=PROBABLE)), R, R, R, S, True),
        ((subject(R), f(S, zone=Zone.QUOTED, confidence=PROBABLE, verified=False)), R, R, R, S, False),
        ((subject(R, PROBABLE), f(C)), C, C, C, C, False),
        ((f(TS, "1", Zone.QUOTED, PROBABLE),), None, None, None, TS, False),
        ((f(C, "1", Zone.FILE_NAME),), C, None, C, C, False),
        ((f(C, "4", Zone.LABEL),), C, None, C, C, False),
        ((f(C, "4.1"),), C, None, C, C, False),
    ],
)
def test_R7_level_declared_found_probable_conflict(findings, level, declared, found, probable, conflict) -> None:
    result, _ = classify(of(*findings))
    assert (result.level, result.declared, result.found, result.probable, result.conflict) == (level, declared, found, probable, conflict)


@pytest.mark.parametrize(
    ("findings", "levels"),
    [
        ((label(R),), [R, R, R, R, R, R]),
        ((f(C, "2:note.docx"),), [None, C, None, None, None, None]),
        ((f(C, "3:a.zip", Zone.FILE_NAME),), [None, None, C, C, None, None]),
        ((f(C, "3:a.zip/x.txt"),), [None, None, None, C, None, None]),
        ((f(S, "4", Zone.LABEL),), [None, None, None, None, S, S]),
        ((label(R), f(C, "3:a.zip"), f(S, "3:a.zip/x.txt")), [R, R, C, S, R, R]),
        ((f(C, "2:note.docx", confidence=PROBABLE),), [None] * 6),
    ],
)
def test_levels_inherit_from_message_and_container(findings, levels) -> None:
    _, leaves = classify(of(*findings))
    assert [leaf.level for leaf in leaves] == levels
    assert [leaf.path for leaf in leaves] == [leaf.path for leaf in LEAVES]


def test_only_what_was_read_is_complete() -> None:
    opaque = Leaf("5", "x", "application/x", 1, LeafState.OPAQUE)
    assert classify(of())[0].complete
    assert not classify(of(leaves=(BODY, opaque)))[0].complete
    assert not classify(of(ambiguity=("two boundaries",)))[0].complete


@pytest.mark.parametrize(
    ("reason", "complete"),
    [(PASSWORD_GIVEN, True), (KEY_GIVEN, True), (f"{PASSWORD_GIVEN}; it is broken", False), ("", False), ("it is broken", False)],
)
def test_what_a_secret_of_the_message_opened_was_read(reason: str, complete: bool) -> None:
    opened = Leaf("5", "x", "application/x", 1, LeafState.SUSPECT, reason)
    assert classify(of(leaves=(BODY, opened)))[0].complete is complete
    opaque = Leaf("5", "x", "application/x", 1, LeafState.OPAQUE, reason)
    assert not classify(of(leaves=(BODY, opaque)))[0].complete


def test_evidence_begins_with_the_surest_and_highest() -> None:
    findings = (f(R, confidence=POSSIBLE), f(R), f(TS, confidence=PROBABLE), f(S))
    evidence = classify(of(*findings))[0].evidence
    assert [(e.confidence, e.level) for e in evidence] == [
        (CERTAIN, S),
        (CERTAIN, R),
        (PROBABLE, TS),
        (POSSIBLE, R),
    ]
