"""text.markings on ordinary papers: of more than 400 texts that hold the words of markings, none may be classified SECRET or above,
and at most one in a hundred may be classified or held at all.

A row is a zone and a short document; the files are its kinds. The rows of test_markings' own negative.tsv count too.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.levels import Level
from gateway.text.markings import Scheme, Segment, scan
from gateway.verdict import Confidence, Finding, Zone

HERE = Path(__file__).parent
CORPUS = HERE / "corpus" / "markings"
SCHEME = Scheme.parse((HERE.parent / "rules" / "scheme.toml").read_text(encoding="utf-8"))
LEAST = 400
MOST_SHARE = 0.01


def rows() -> list[tuple[str, Zone, str]]:
    found = []
    for path in sorted((CORPUS / "negative").glob("*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines():
            zone, text = line.split("\t", 1)
            found.append((path.stem, Zone(zone), _opened(text)))
    for line in (CORPUS / "negative.tsv").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            _, zone, text = line.split("\t")
            found.append(("table", Zone(zone), _opened(text)))
    return found


def _opened(text: str) -> str:
    return text.replace("\\\\", "\x01").replace("\\n", "\n").replace("\\t", "\t").replace("\x01", "\\")


def classified(text: str, zone: Zone) -> tuple[Finding, ...]:
    """The findings that a policy acts on: those more than possible, and above UNCLASSIFIED."""
    found = scan([Segment(text, zone)], "1", SCHEME)
    return tuple(one for one in found if one.confidence is not Confidence.POSSIBLE and one.level > Level.UNCLASSIFIED)


def test_the_corpus_is_large_and_has_no_row_twice() -> None:
    all_rows = rows()
    assert len({(zone, text) for _, zone, text in all_rows}) == len(all_rows)
    assert len(all_rows) >= LEAST


def test_no_ordinary_paper_is_secret_and_nearly_none_is_classified() -> None:
    wrong = [(kind, zone.value, text, found) for kind, zone, text in rows() if (found := classified(text, zone))]
    secret = [row for row in wrong if any(one.level >= Level.SECRET for one in row[3])]
    share = len(wrong) / len(rows())
    print(f"\n{len(rows())} ordinary papers: {len(wrong)} classified ({share:.2%}), {len(secret)} of them SECRET or above")
    assert secret == []
    assert share <= MOST_SHARE, wrong


@pytest.mark.parametrize(
    "around",
    ["Dear all,\n\n{}\n\nRegards\nSection Officer\n", "{}\n-- \nSection Officer\nRoom 12", "> {}\n\nNoted.\n"],
    ids=["letter", "signed", "quoted"],
)
def test_nor_when_it_stands_in_a_letter(around: str) -> None:
    bodies = [text for _, zone, text in rows() if zone is Zone.BODY]
    wrong = [(text, found) for text in bodies if (found := classified(around.format(text), Zone.BODY))]
    assert [row for row in wrong if any(one.level >= Level.SECRET for one in row[1])] == []
    assert len(wrong) <= MOST_SHARE * len(bodies), wrong
