"""text.markings: markings told from prose, on rows of tests/corpus/markings."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.levels import Level
from gateway.text.markings import Scheme, Segment, scan
from gateway.verdict import Confidence, Finding, Zone

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "tests" / "corpus" / "markings"
TEXT = (ROOT / "rules" / "scheme.toml").read_text(encoding="utf-8")
SCHEME = Scheme.parse(TEXT)
RANK = {Confidence.POSSIBLE: 1, Confidence.PROBABLE: 2, Confidence.CERTAIN: 3}


def rows(name: str) -> list[list[str]]:
    lines = (CORPUS / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


# A prefix ("CONFIDENTIAL: …") is certain on the first line only.
CERTAIN_BODY = [row for row in rows("positive.tsv") if row[1:3] == ["certain", "body"] and not row[3].startswith("CONFIDENTIAL: ")]


def opened(text: str) -> str:
    for code in ("00ad", "200b", "2060", "202e", "202c", "0336", "200d", "09af", "09bc"):
        text = text.replace(f"\\u{code}", chr(int(code, 16)))
    return text.replace("\\n", "\n").replace("\\t", "\t")


def found(text: str, zone: Zone = Zone.BODY, page: int = 0, pages: int = 0) -> tuple[Finding, ...]:
    return scan([Segment(text, zone, page, pages)], "1", SCHEME)


def best(findings: tuple[Finding, ...]) -> Finding:
    return max(findings, key=lambda finding: (RANK[finding.confidence], finding.level))


@pytest.mark.parametrize(("level", "confidence", "zone", "text"), rows("positive.tsv"))
def test_is_a_marking(level: str, confidence: str, zone: str, text: str) -> None:
    findings = found(opened(text), Zone(zone))
    assert findings, text
    top = best(findings)
    assert top.level is Level.parse(level), findings
    assert RANK[top.confidence] >= RANK[Confidence(confidence)], findings


@pytest.mark.parametrize(("level", "confidence", "zone", "text"), CERTAIN_BODY)
def test_a_marking_is_found_with_crlf_and_behind_other_text(level: str, confidence: str, zone: str, text: str) -> None:
    around = "Dear colleague,\n\nplease find the paper.\n\n" + opened(text) + "\n\nyours\n"
    top = best(found(around.replace("\n", "\r\n")))
    assert RANK[top.confidence] >= 2


@pytest.mark.parametrize(("most", "zone", "text"), rows("negative.tsv"))
def test_is_not_a_marking(most: str, zone: str, text: str) -> None:
    findings = found(opened(text), Zone(zone))
    allowed = {"nothing": 0, "possible": 1}[most]
    assert all(RANK[finding.confidence] <= allowed for finding in findings), findings


@pytest.mark.parametrize("term", SCHEME.terms, ids=lambda term: f"{term.language}-{'_'.join(term.words)}")
def test_every_term_is_found_and_unverified_is_never_certain(term) -> None:
    text = ("Classification: " if term.keyed else "") + " ".join(term.words).upper()
    top = best(found(text))
    assert top.level is term.level
    assert top.confidence is (Confidence.CERTAIN if term.verified else Confidence.PROBABLE)
    assert top.verified is term.verified


def test_the_contract_example_names_detector_and_zone() -> None:
    (finding,) = found("CONFIDENTIAL", Zone.PAGE_HEADER)
    assert (finding.detector, finding.zone, finding.text, finding.language) == ("line", Zone.PAGE_HEADER, "CONFIDENTIAL", "en")


def test_m4_a_marking_inside_a_footer_counts_on_two_pages_or_the_only_one() -> None:
    line = "NISPG - Version 5.0 Restricted Page "
    one = scan([Segment(line + "1", Zone.PAGE_FOOTER, 1, 40)], "1", SCHEME)
    two = scan([Segment(line + str(n), Zone.PAGE_FOOTER, n, 40) for n in (1, 2)], "1", SCHEME)
    assert best(one).confidence is Confidence.PROBABLE
    assert best(two).confidence is Confidence.CERTAIN
    assert best(found(line + "1", Zone.PAGE_FOOTER, 1, 1)).confidence is Confidence.CERTAIN


def test_m4_the_edge_of_a_page_of_running_text_counts_like_a_footer() -> None:
    pages = [Segment(f"para one\npara two\n\ntext\n\nNISPG - Version 5.0 Restricted Page {n}", Zone.BODY, n, 3) for n in (1, 2, 3)]
    top = best(scan(pages, "1", SCHEME))
    assert (top.confidence, top.zone) == (Confidence.CERTAIN, Zone.PAGE_FOOTER)


def test_a_last_page_that_is_only_a_marking() -> None:
    segments = [Segment("prose without end " * 50, Zone.BODY, n, 21) for n in range(1, 21)] + [Segment("CONFIDENTIAL", Zone.BODY, 21, 21)]
    top = best(scan(segments, "1.2:report.pdf", SCHEME))
    assert (top.level, top.confidence, top.path) == (Level.CONFIDENTIAL, Confidence.CERTAIN, "1.2:report.pdf")


def test_zones_of_running_text() -> None:
    filler = "\n".join(f"line {n}" for n in range(20))
    assert best(found(f"SECRET\n\n{filler}")).zone is Zone.BODY_FIRST
    assert best(found(f"{filler}\n\nSECRET\n\n{filler}")).zone is Zone.BODY
    assert best(found(f"{filler}\n\nSECRET\n")).zone is Zone.BODY_LAST
    assert best(found(f"{filler}\n\n> SECRET\n")).zone is Zone.QUOTED


def test_quoted_markings_are_never_certain() -> None:
    text = "ok\n\nFrom: A\nSent: today\nTo: B\nSubject: x\n\nTOP SECRET\n\ntext\n"
    top = best(found(text))
    assert (top.zone, top.confidence, top.level) == (Zone.QUOTED, Confidence.PROBABLE, Level.TOP_SECRET)


def test_offsets_lead_back_to_the_original() -> None:
    text = "\u200b\u00adDear Sir,\r\n\r\nﬁrst ﬂoor\r\n\r\n  ＳＥＣ\u00adＲＥＴ  \r\n"
    (finding,) = found(text)
    assert text[finding.offset : finding.offset + finding.length] == "ＳＥＣ\u00adＲＥＴ" == finding.text


def test_offsets_count_over_segments() -> None:
    segments = [Segment("first page", Zone.BODY, 1, 2), Segment("SECRET", Zone.BODY, 2, 2)]
    (finding,) = scan(segments, "1", SCHEME)
    joined = "\n".join(segment.text for segment in segments)
    assert joined[finding.offset : finding.offset + finding.length] == "SECRET"


def test_two_levels_on_one_line_are_a_choice() -> None:
    top = best(found("SECRET/CONFIDENTIAL"))
    assert (top.level, top.confidence) == (Level.SECRET, Confidence.PROBABLE)


def test_unclassified_is_found_where_it_is_declared() -> None:
    assert best(found("UNCLASSIFIED\n\ntext")).level is Level.UNCLASSIFIED
    assert best(found("Classification: Public")).level is Level.UNCLASSIFIED
    assert not found("The public library and public roads: open to the public")


def test_short_forms_are_never_more_than_probable() -> None:
    for text in ("[S]", "(TS)", "//S//", "CONFDL"):
        assert {finding.confidence for finding in found(text)} == {Confidence.PROBABLE}, text


FLOODS = {
    "secret": "SECRET " * 150_000,
    "lines": "SECRET\n" * 150_000,
    "crlf": "SECRET\r\n" * 125_000,
    "newlines": "\n" * 1_000_000,
    "asterisks": "*" * 1_000_000,
    "asterisks-secret": "*" * 1_000_000 + " SECRET",
    "blanks-secret": " " * 1_000_000 + "SECRET",
    "newlines-secret": "\n" * 1_000_000 + "SECRET",
    "keys": ", classification: secret" * 42_000,
    "spaced": "s e c " * 166_000,
    "colons": "SECRET: " * 125_000,
    "quotes": "wrote: " * 142_000 + "\nSECRET",
    "fields": "from: x\n" * 125_000 + "SECRET",
    "top": "top " * 250_000 + "secret",
    "hindi": "गोपनीय " * 55_000,
    "brackets": "(SECRET ) x " * 83_000,
}


@pytest.mark.parametrize("zone", [Zone.BODY, Zone.SUBJECT, Zone.PAGE_HEADER, Zone.PROPERTY, Zone.FILE_NAME])
@pytest.mark.parametrize("text", FLOODS.values(), ids=FLOODS)
@pytest.mark.slow
def test_C09_floods_stay_linear(text: str, zone: Zone) -> None:
    if zone is not Zone.BODY:
        text = text[-150_000:]
    start = time.process_time()
    findings = found(text, zone)
    assert time.process_time() - start < 15
    assert len(findings) < 60


def test_a_marking_behind_a_flood_is_still_for_a_person() -> None:
    top = best(found("the secret plan of SECRET things " * 5_000 + "\n\nTOP SECRET\n"))
    assert RANK[top.confidence] >= 2
    assert top.level is Level.TOP_SECRET


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["SECRET", "top", "TOP SECRET", "गोपनीय", "\n", "\r\n", " ", ":", "Classification", "> ", "[", "]", "*", "S E C R E T", "(s)"]
            + ["\u200b", "\U000e0041", "\ud800", "ﬁ", "İ", "wrote:", "page 1", "☐", "\t", "|", "-----Original Message-----", "\x00", "re:"]
        )
        | st.text(max_size=6),
        max_size=40,
    ),
    st.sampled_from(list(Zone)),
)
def test_fuzz_scan_never_raises_and_offsets_fit(parts: list[str], zone: Zone) -> None:
    text = "".join(parts)
    for finding in scan([Segment(text, zone, 1, 2)], "p", SCHEME):
        assert 0 <= finding.offset <= len(text)
        assert finding.offset + finding.length <= len(text)
        if not finding.verified:
            assert finding.confidence is not Confidence.CERTAIN


def test_scheme_errors_name_line_and_field() -> None:
    twice = '\n[[marking]]\nlanguage = "xx"\nlevel = "SECRET"\nverified = true\nterms = ["gopniya"]\n'
    line = TEXT.splitlines().index("format = 1") + 1
    cases = {
        "[[marking]\n": "line 1",
        TEXT + twice: "marking.terms: 'gopniya' is CONFIDENTIAL already",
        TEXT.replace("\nverified = true", "\nverifed = true", 1): "marking.verifed: unknown key",
        TEXT.replace('level = "SECRET"', 'level = "HUSH"', 1): "marking.level: not a classification level: 'HUSH'",
        TEXT.replace("[keys]", "[kyes]", 1): "kyes: unknown table",
        TEXT.replace("format = 1", "format = 2", 1): f"line {line}: format: format 2 is not known",
        TEXT.replace('bgcolor = "green"', 'bgcolor = "<b>"', 1): "level.bgcolor: not a colour",
        TEXT.replace("गोपनीय/CONFIDENTIAL", "गुप्त/CONFIDENTIAL", 1): "pair.text:",
    }
    for text, words in cases.items():
        with pytest.raises(ValueError) as caught:
            Scheme.parse(text)
        assert words in str(caught.value), caught.value
        assert "line " in str(caught.value)


def test_a_department_adds_terms() -> None:
    extra = '[[marking]]\nlanguage = "en"\nlevel = "RESTRICTED"\nverified = true\nterms = ["staff only"]\n'
    scheme = Scheme.parse(TEXT, additions=[extra])
    assert best(scan([Segment("STAFF ONLY", Zone.BODY)], "1", scheme)).level is Level.RESTRICTED
    assert scheme.version != SCHEME.version
    assert not found("STAFF ONLY")
