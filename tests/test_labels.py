"""message.labels: labels as evidence, labels written, broken ones named."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Limits
from gateway.content import TABLE
from gateway.content.walk import read_message
from gateway.levels import Level, highest
from gateway.message import labels, plain
from gateway.message.edits import apply
from gateway.message.label_fields import LabelError, ess_level, parameters
from gateway.text.scheme import Scheme
from gateway.verdict import Confidence, Zone

TEXT = (Path(__file__).parents[1] / "rules" / "scheme.toml").read_text(encoding="utf-8")
SCHEME = Scheme.parse(TEXT)
HINDI = "UTF-8''%E0%A4%97%E0%A5%8B%E0%A4%AA%E0%A4%A8%E0%A5%80%E0%A4%AF"
ESS_CONFIDENTIAL = base64.b64encode(bytes.fromhex("3106060129020103")).decode()
XML_SECRET = base64.b64encode(
    b'<s:ConfidentialityLabel xmlns:s="urn:nato:stanag:4774:confidentialitymetadatalabel:1:0"><s:ConfidentialityInformation>'
    b"<s:Classification>SECRET</s:Classification></s:ConfidentialityInformation></s:ConfidentialityLabel>"
).decode()


def level(name: str, value: str) -> Level | None:
    return highest(finding.level for finding in labels.findings([(name, value)], SCHEME) if finding.confidence is Confidence.CERTAIN)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SIO-Label", 'marking="CONFIDENTIAL"; fgcolor=white; bgcolor=blue', Level.CONFIDENTIAL),
        ("sio-label", 'marking="TOP SECRET"', Level.TOP_SECRET),
        ("SIO-Label", "marking=SECRET (a comment); fgcolor=red", Level.SECRET),
        ("SIO-Label", 'marking*0="TOP "; marking*1="SECRET"', Level.TOP_SECRET),
        ("SIO-Label", f"marking*={HINDI}; bgcolor=blue", Level.CONFIDENTIAL),
        ("SIO-Label", "marking*0*=UTF-8''%E0%A4%97%E0%A5%8B%E0%A4%AA; marking*1*=%E0%A4%A8%E0%A5%80%E0%A4%AF", Level.CONFIDENTIAL),
        ("SIO-Label", f'type=":ess"; label="{ESS_CONFIDENTIAL}"', Level.CONFIDENTIAL),
        ("SIO-Label", f'type=":ess"; label*0="{ESS_CONFIDENTIAL[:4]}"; label*1="{ESS_CONFIDENTIAL[4:]}"', Level.CONFIDENTIAL),
        ("SIO-Label", f'marking="X"; type="urn:nato:stanag:4774"; label="{XML_SECRET}"', Level.SECRET),
        ("SIO-Label", 'marking="OFFICIAL:Sensitive"', None),
        ("SIO-Label", 'marking="CONFIDENTIAL - PERSONAL"', Level.CONFIDENTIAL),
        ("SIO-Label", 'marking="UNCLASSIFIED"', Level.UNCLASSIFIED),
        ("X-Protective-Marking", "VER=2018.4, NS=gov.in, SEC=CONFIDENTIAL, ORIGIN=a@dept.gov.in", Level.CONFIDENTIAL),
        ("X-Protective-Marking", "VER=2018.4, NS=gov.in, SEC=TOP-SECRET", Level.TOP_SECRET),
        ("X-Protective-Marking", "VER=2018.4, NS=gov.in, SEC=UNCLASSIFIED, SEC=SECRET, SEC=RESTRICTED", Level.SECRET),
        ("X-Protective-Marking", "VER=2018.4, NS=gov.au, SEC=OFFICIAL:Sensitive, CAVEAT=SH:NATIONAL-CABINET", None),
        ("X-Protective-Marking", "VER=2018.4, NS=gov.au, SEC=OFFICIAL-Sensitive", None),
        ("X-Protective-Marking", "VER=2018.4, NS=gov.au, SEC=PROTECTED", None),
        ("X-Protective-Marking", "VER=2018.4, NOTE=a\\, b, SEC=SECRET", Level.SECRET),
        (
            "msip_labels",
            "MSIP_Label_1-a_Enabled=true; MSIP_Label_1-a_Name=Confidential; MSIP_Label_1-a_ContentBits=3",
            Level.CONFIDENTIAL,
        ),
        ("msip_labels", "MSIP_Label_1_Enabled=true; MSIP_Label_1_Name=Highly Confidential", Level.CONFIDENTIAL),
        ("msip_labels", "MSIP_Label_1_Enabled=False; MSIP_Label_1_Name=Secret", None),
        ("msip_labels", "MSIP_Label_1_Enabled=true; MSIP_Label_1_Name=General", None),
        ("msip_labels", "MSIP_Label_1_Enabled=true; MSIP_Label_1_Name=Public", Level.UNCLASSIFIED),
        ("msip_labels", "MSIP_Label_1_Name=Public; MSIP_Label_2_Enabled=true; MSIP_Label_2_Name=Secret;", Level.SECRET),
        ("Subject", "Monthly report [SEC=PROTECTED, EXPIRES=2030-01-01]", None),
        ("Subject", "Monthly report [SEC=UNCLASSIFIED] [sec = SECRET, DOWNTO=RESTRICTED]", Level.SECRET),
        ("Sensitivity", "Company-Confidential", None),
        ("Sensitivity", "Personal", None),
        ("X-Titus-Classification", "Restricted", Level.RESTRICTED),
        ("X-Unknown-Label", "SECRET", None),
    ],
)
def test_what_a_label_says(name: str, value: str, expected: Level | None) -> None:
    assert level(name, value) is expected
    assert labels.broken([(name, value)], SCHEME) == ()


def test_findings_name_header_zone_and_detector() -> None:
    (finding,) = labels.findings([("From", "a@b"), ("SIO-Label", 'marking="SECRET"')], SCHEME)
    assert (finding.path, finding.zone, finding.detector, finding.text) == ("header:SIO-Label", Zone.LABEL, "label", "SECRET")


def test_sensitivity_is_a_hint_only() -> None:
    (finding,) = labels.findings([("Sensitivity", "Company-Confidential")], SCHEME)
    assert (finding.level, finding.confidence) == (Level.CONFIDENTIAL, Confidence.POSSIBLE)


def test_a_term_among_other_words_of_a_label_is_only_probable() -> None:
    (finding,) = labels.findings([("SIO-Label", 'marking="EXAMPLE SECRET"')], SCHEME)
    assert (finding.level, finding.confidence) == (Level.SECRET, Confidence.PROBABLE)


def test_an_unverified_word_in_a_label_is_only_probable() -> None:
    (finding,) = labels.findings([("SIO-Label", "marking*=UTF-8''%E0%AA%96%E0%AA%BE%E0%AA%A8%E0%AA%97%E0%AB%80")], SCHEME)
    assert (finding.level, finding.confidence, finding.verified) == (Level.CONFIDENTIAL, Confidence.PROBABLE, False)


def test_marking_and_binary_label_that_disagree_are_both_findings() -> None:
    found = labels.findings([("SIO-Label", f'marking="RESTRICTED"; type=":ess"; label="{ESS_CONFIDENTIAL}"')], SCHEME)
    assert {finding.level for finding in found} == {Level.RESTRICTED, Level.CONFIDENTIAL}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIO-Label", ""),
        ("SIO-Label", "SECRET"),
        ("SIO-Label", "fgcolor=red"),
        ("SIO-Label", 'marking="SECRET'),
        ("SIO-Label", 'marking="SECRET" fgcolor=red'),
        ("SIO-Label", 'marking="SECRET"; marking="RESTRICTED"'),
        ("SIO-Label", 'marking*0="SEC"; marking*2="RET"'),
        ("SIO-Label", 'marking="SECRET"; marking*0="RESTRICTED"'),
        ("SIO-Label", "marking*=nothing%41"),
        ("SIO-Label", "marking*=x-unknown''SECRET"),
        ("SIO-Label", 'type=":ess"; label="!!"'),
        ("SIO-Label", 'type=":ess"; label="MQYGASkCAQ=="'),
        ("SIO-Label", f'label="{ESS_CONFIDENTIAL}"'),
        ("SIO-Label", "marking=" + "S" * 30_000),
        ("X-Protective-Marking", "SECRET"),
        ("X-Protective-Marking", "VER=2018.4, NS=gov.in"),
        ("msip_labels", "Confidential"),
        ("msip_labels", ""),
    ],
)
def test_a_broken_label_says_nothing_and_is_named(name: str, value: str) -> None:
    assert labels.findings([(name, value)], SCHEME) == ()
    (reason,) = labels.broken([(name, value)], SCHEME)
    assert reason.startswith(f"{name}: ")
    assert "SECRET" not in reason


def test_two_labels_of_one_kind_are_named_and_the_highest_counts() -> None:
    headers = [("SIO-Label", 'marking="UNCLASSIFIED"'), ("SIO-Label", 'marking="SECRET"')]
    assert highest(finding.level for finding in labels.findings(headers, SCHEME)) is Level.SECRET
    assert labels.broken(headers, SCHEME) == ("SIO-Label: stands there more than once",)


def test_document_properties() -> None:
    properties = {
        "MSIP_Label_aa-bb_Enabled": "true",
        "MSIP_Label_aa-bb_Name": "Confidential",
        "Security Classification": "Restricted",
        "Title": "SECRET",
    }
    found = labels.property_findings(properties, "1.2:note.docx", SCHEME)
    assert {(f.level, f.confidence, f.zone, f.path) for f in found} == {
        (Level.CONFIDENTIAL, Confidence.CERTAIN, Zone.PROPERTY, "1.2:note.docx"),
        (Level.RESTRICTED, Confidence.CERTAIN, Zone.PROPERTY, "1.2:note.docx"),
    }


def test_label_edits_write_both_labels_as_the_contract_says() -> None:
    edits = labels.label_edits(Level.TOP_SECRET, "TOP SECRET", "a@dept.gov.in", "gov.in", [], SCHEME)
    assert [(edit.action, edit.header, edit.value) for edit in edits] == [
        ("remove", "SIO-Label", ""),
        ("add", "SIO-Label", 'marking="TOP SECRET"; fgcolor=black; bgcolor=#FF8C00'),
        ("remove", "X-Protective-Marking", ""),
        ("add", "X-Protective-Marking", "VER=2018.4, NS=gov.in, SEC=TOP-SECRET, ORIGIN=a@dept.gov.in"),
    ]


def test_a_replaced_label_is_recorded() -> None:
    old = [("SIO-Label", f'marking="RESTRICTED"; type=":ess"; label="{ESS_CONFIDENTIAL}"'), ("X-Protective-Marking", "SEC=OFFICIAL")]
    edits = labels.label_edits(
        Level.SECRET, "SECRET", "", "gov.in", old, SCHEME, changed_by="gw1.gov.in", changed_at="1 Jan 2026 00:00 +0530"
    )
    history = parameters(next(edit.value for edit in edits if edit.header == "SIO-Label-History"))
    assert history["marking"] == "RESTRICTED"
    assert history["label"] == ESS_CONFIDENTIAL
    assert history["new-marking"] == "SECRET"
    assert (history["change"], history["changed-by"], history["changed-at"]) == ("replace", "gw1.gov.in", "1 Jan 2026 00:00 +0530")
    assert not any(edit.action == "remove" and edit.header == "SIO-Label-History" for edit in edits)


def test_a_broken_label_is_replaced_and_its_record_says_so() -> None:
    edits = labels.label_edits(Level.SECRET, "SECRET", "", "gov.in", [("SIO-Label", "what\x00is")], SCHEME)
    history = parameters(next(edit.value for edit in edits if edit.header == "SIO-Label-History"))
    assert "could not be read" in history["changed-comment"]


@pytest.mark.parametrize("name", ["X-Classification", "x-dept-marking", "X-MS-Exchange-Organization-Classification"])
@pytest.mark.parametrize("whole", [False, True])
def test_labels_of_other_products_are_evidence_and_then_replaced(name: str, whole: bool) -> None:
    scheme = Scheme.parse(TEXT.replace('"X-TitusLabel"', '"X-TitusLabel", "X-Dept-Marking"'))
    content = (
        f"From: a@dept.gov.in\r\nTo: b@gov.in\r\nSubject: x\r\n{name}: Restricted\r\n{name.upper()}: Secret\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nDear Sir, papers are enclosed.\r\n"
    ).encode()
    seen = (
        read_message(content, "00", Limits(), scheme, TABLE, want_text=False) if whole else plain.inspect(content, "00", Limits(), scheme)
    )
    assert seen is not None
    assert {finding.level for finding in seen.findings} == {Level.RESTRICTED, Level.SECRET}
    assert [value for _, value in seen.headers.labels] == ["Restricted", "Secret"]
    edits = labels.label_edits(Level.SECRET, "SECRET", "", "gov.in", seen.headers.labels, scheme)
    fields = apply(edits, content).lower().split(b"\r\n")
    assert not any(line.startswith(name.lower().encode() + b":") for line in fields)
    assert any(line.startswith(b"sio-label:") for line in fields)
    assert [edit.header.lower() for edit in edits if edit.action == "remove"] == ["sio-label", "x-protective-marking", name.lower()]
    history = [parameters(edit.value)["changed-comment"] for edit in edits if edit.header == "SIO-Label-History"]
    assert [words.partition(" was ")[2] for words in history] == ["Restricted", "Secret"]
    again = labels.label_edits(Level.SECRET, "SECRET", "", "gov.in", [(e.header, e.value) for e in edits if e.action == "add"], scheme)
    assert again == ()


def test_our_own_labels_stay_as_they_are() -> None:
    first = labels.label_edits(Level.SECRET, "SECRET", "a@b.gov.in", "gov.in", [], SCHEME)
    old = [(edit.header, edit.value) for edit in first if edit.action == "add"]
    assert labels.label_edits(Level.SECRET, "SECRET", "a@b.gov.in", "gov.in", old, SCHEME) == ()


@pytest.mark.parametrize("words", ["गोपनीय/CONFIDENTIAL", "परम गुप्त " * 20, 'say "SECRET"\\', "SECRET " * 30])
def test_what_is_written_is_read_again(words: str) -> None:
    edits = labels.label_edits(Level.SECRET, words, "", "gov.in", [], SCHEME)
    value = next(edit.value for edit in edits if edit.header == "SIO-Label" and edit.action == "add")
    assert value.isascii()
    assert parameters(value)["marking"] == words


def test_line_breaks_never_get_into_a_label() -> None:
    for marking, originator, namespace in (("A\r\nBcc: x", "", "n"), ("A", "a\r\nb", "n"), ("A", "", "n\nx")):
        with pytest.raises(ValueError):
            labels.label_edits(Level.SECRET, marking, originator, namespace, [], SCHEME)
    edits = labels.label_edits(Level.SECRET, "SECRET", "a,b@x", "gov.in", [], SCHEME)
    assert edits[-1].value.endswith("ORIGIN=a\\,b@x")


@given(st.text(max_size=80))
def test_fuzz_label_grammars_answer_or_say_broken(value: str) -> None:
    for name in ("SIO-Label", "X-Protective-Marking", "msip_labels", "Subject", "Sensitivity"):
        labels.findings([(name, value)], SCHEME)
        labels.broken([(name, value)], SCHEME)
        labels.label_edits(Level.SECRET, "SECRET", "", "gov.in", [(name, value)], SCHEME)


@given(st.binary(max_size=20))
def test_fuzz_binary_labels(data: bytes) -> None:
    try:
        ess_level(base64.b64encode(data).decode())
    except LabelError:
        pass


TITUS = base64.b64encode(
    b'{"CategoryLabels":"","Metadata":{"ns":"http:\\/\\/www.titus.com\\/ns\\/dept","id":"39ff1a1d-0000-0000-0000-000000000000",'
    b'"props":[{"n":"DEPTClassification","vals":[{"value":"SECRET"}]},{"n":"Retention","vals":[{"value":"5 years"}]}]},"SubjectLabels":[]}'
).decode()
BJ_XML = {
    "bjDocumentLabelXML": '<?xml version="1.0" encoding="us-ascii"?><sisl sislVersion="0" policy="8f1b" origin="userSelected" xmlns="http://www.boldonj',
    "bjDocumentLabelXML-0": 'ames.com/2008/01/sie/internal/label"><element uid="id_classification_restricted" value="" /></sisl>',
    "bjLabelHistoryID": "{0D5A}",
    "docIndexRef": "1",
}


@pytest.mark.parametrize(
    ("name", "value", "expected", "sure"),
    [
        ("X-TITUS-Metadata-40", TITUS, Level.SECRET, Confidence.CERTAIN),
        ("X-TitusMetadata", "<value>Secret</value>", Level.SECRET, Confidence.PROBABLE),
        ("X-CTPClassification", "Restricted", Level.RESTRICTED, Confidence.PROBABLE),
        ("X-Dept-Classification", "TOP SECRET", Level.TOP_SECRET, Confidence.PROBABLE),
        ("X-Security-Label", "CONFIDENTIAL", Level.CONFIDENTIAL, Confidence.CERTAIN),
        ("MMHS-Handling-Instructions", "handle by day; SECRET", Level.SECRET, Confidence.PROBABLE),
        ("MMHS-Message-Instructions", "CONFIDENTIAL", Level.CONFIDENTIAL, Confidence.PROBABLE),
    ],
)
def test_header_fields_of_labelling_products(name: str, value: str, expected: Level, sure: Confidence) -> None:
    found = labels.findings([(name, value)], SCHEME)
    assert {(one.level, one.confidence) for one in found} == {(expected, sure)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-TITUS-Metadata-40", "e30="),
        ("X-TITUS-Metadata-40", "!!!"),
        ("X-TITUS-Metadata-40", base64.b64encode(b'{"Metadata":{"props":[{"n":1,"vals":7},5,{"vals":[{"value":9}]}]}}').decode()),
        ("X-TITUS-Metadata-40", base64.b64encode(b"[" * 5_000).decode()),
        ("X-Spam-Classification", "the secret newsletter of the month"),
        ("X-Declassification", "SECRET"),
        ("MMHS-Primary-Precedence", "4"),
        ("MMHS-Message-Instructions", "tell no secret to the press"),
    ],
)
def test_fields_of_products_that_say_nothing_are_no_fault(name: str, value: str) -> None:
    assert labels.findings([(name, value)], SCHEME) == ()
    assert labels.broken([(name, value)], SCHEME) == ()


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (BJ_XML, Level.RESTRICTED),
        ({"bjDocumentSecurityLabel": "CONFIDENTIAL"}, Level.CONFIDENTIAL),
        ({"bjDocumentSecurityLabel": "This item has no classification"}, None),
        ({"TitusGUID": "39ff1a1d-0000-0000-0000-000000000000"}, None),
        ({"TitusMetadata": TITUS}, Level.SECRET),
        ({"DEPTClassification": "Secret"}, Level.SECRET),
        ({"TITUSClassification": "Top Secret"}, Level.TOP_SECRET),
        ({"Classification Date": "SECRET"}, None),
    ],
)
def test_document_properties_of_labelling_products(properties: dict[str, str], expected: Level | None) -> None:
    assert highest(one.level for one in labels.property_findings(properties, "1", SCHEME)) is expected


def test_a_label_identifier_counts_where_the_scheme_names_it() -> None:
    identifier = "2096f6a2-d2f7-48be-b329-b73aaa526e5d"
    addition = f'[labels]\nnames = {{ "{identifier}" = "SECRET" }}\nheaders = ["X-Dept-Mark"]\n'
    scheme = Scheme.parse((Path(__file__).parents[1] / "rules" / "scheme.toml").read_text(encoding="utf-8"), [addition])
    properties = {f"MSIP_Label_{identifier}_Enabled": "1", f"MSIP_Label_{identifier}_SiteId": "x"}
    assert [one.level for one in labels.property_findings(properties, "1", scheme)] == [Level.SECRET]
    assert labels.property_findings({f"MSIP_Label_{identifier}_Enabled": "0"}, "1", scheme) == ()
    assert labels.property_findings(properties, "1", SCHEME) == ()
    assert [one.confidence for one in labels.findings([("X-Dept-Mark", "Secret")], scheme)] == [Confidence.CERTAIN]


def test_labels_raise_and_never_lower() -> None:
    found = labels.findings([("X-Classification", "Public"), ("X-Titus-Classification", "Secret")], SCHEME)
    assert highest(one.level for one in found) is Level.SECRET


@given(st.text(max_size=200))
def test_fuzz_metadata_of_products(text: str) -> None:
    encoded = base64.b64encode(text.encode("utf-8", "replace")).decode()
    for value in (text, encoded):
        labels.findings([("X-Titus-Metadata-1", value), ("X-A-Classification", value), ("MMHS-Message-Instructions", value)], SCHEME)
        labels.property_findings({"bjDocumentLabelXML": value, "TitusMetadata": value, "MSIP_Label_a_Name": value}, "1", SCHEME)
