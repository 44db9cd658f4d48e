"""Markings placed in documents of every format: at least 99 in 100 are found.

``tests/fixtures/markings`` has the files and what stands where. Found means: a finding of that level (or above), at least probable,
so that the message is refused or held. A sample runs with every change; all of them, with the share that is asserted, are marked slow.
"""

from __future__ import annotations

import tarfile
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.levels import Level
from gateway.verdict import Confidence, Inspection
from tests import content_mail

HERE = Path(__file__).parent / "fixtures" / "markings"
CASES: list[dict[str, str]] = tomllib.loads((HERE / "cases.toml").read_text(encoding="utf-8"))["case"]
LEAST = 400
SHARE = 0.99
_TYPES = {"txt": "text/plain", "html": "text/html", "pdf": "application/pdf", "ics": "text/calendar", "rtf": "application/rtf"}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    with tarfile.open(HERE / "placed.tar.xz") as archive:
        found = {}
        for member in archive:
            data = archive.extractfile(member)
            assert data is not None
            found[member.name] = data.read()
    return found


def inspected(case: dict[str, str], data: bytes) -> Inspection:
    kind = case["file"].rpartition(".")[2]
    if kind == "eml":
        return content_mail.inspect(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    return content_mail.attached(data, case.get("sent_as") or f"note.{kind}", _TYPES.get(kind, "application/octet-stream"))


def found(case: dict[str, str], inspection: Inspection) -> bool:
    level = Level.parse(case["level"])
    return any(one.level >= level and one.confidence is not Confidence.POSSIBLE for one in inspection.findings)


def test_the_corpus_has_every_format_zone_language_and_way() -> None:
    assert len(CASES) >= LEAST
    kinds = {case["file"].rpartition(".")[2] for case in CASES}
    assert kinds >= {"txt", "html", "eml", "ics", "docx", "xlsx", "pptx", "odt", "ods", "odp", "pdf", "doc", "xls", "ppt", "rtf", "zip"}
    assert len({case["language"] for case in CASES}) == 13
    assert len({case["zone"] for case in CASES}) >= 12
    assert len({case["evasion"] for case in CASES}) >= 27


@pytest.mark.parametrize("case", CASES[::8], ids=lambda case: f"{case['file']}-{case['zone']}-{case['language']}-{case['evasion']}")
def test_a_placed_marking_is_found(case: dict[str, str], files: dict[str, bytes]) -> None:
    inspection = inspected(case, files[case["file"]])
    assert found(case, inspection), (inspection.leaves, inspection.findings)


@pytest.mark.slow
def test_nearly_all_placed_markings_are_found(files: dict[str, bytes], capsys: Any) -> None:
    missed = [case for case in CASES if not found(case, inspected(case, files[case["file"]]))]
    share = 1 - len(missed) / len(CASES)
    with capsys.disabled():
        print(f"\n{len(CASES)} placed markings: {share:.2%} found; missed by format: {dict(Counter(one['file'][-4:] for one in missed))}")
    assert share >= SHARE, missed
