"""Handling caveats: seen where they stand as a marking, in no other place, and never taken for a level."""

from __future__ import annotations

import functools
import time
from pathlib import Path

import pytest

from gateway.policy import watching
from gateway.text.caveats import find
from gateway.text.markings import Segment, scan
from gateway.text.normalise import normalise
from gateway.text.observing import Observer
from gateway.text.scheme import Scheme
from gateway.verdict import Zone
from tests.content_mail import inspect, mail, zipped

RULES = Path(__file__).parents[1] / "rules"
LETTER = "Sir,\n" + "The meeting of the committee is on Monday.\n" * 12
FOUO, PERSONAL = "official-use-only", "personal"


@functools.cache
def scheme() -> Scheme:
    return watching.load(RULES)[0]


def seen(text: str, zone: Zone = Zone.BODY) -> list[str]:
    return sorted({name for name, _ in find(normalise(text), zone, scheme())})


@pytest.mark.parametrize(
    ("text", "zone", "names"),
    [
        (f"FOR OFFICIAL USE ONLY\n\n{LETTER}", Zone.BODY, [FOUO]),
        (f"{LETTER}\n-- For Official Use Only --\n", Zone.BODY, [FOUO]),
        (f"*FOUO*\n{LETTER}", Zone.BODY, [FOUO]),
        (f"केवल सरकारी प्रयोग के लिए\n{LETTER}", Zone.BODY, [FOUO]),
        (f"CONFIDENTIAL / FOR OFFICIAL USE ONLY\n{LETTER}", Zone.BODY, [FOUO]),
        (f"PERSONAL (not for publication)\n{LETTER}", Zone.BODY, [PERSONAL]),
        (f"PERSONAL AND CONFIDENTIAL\n{LETTER}", Zone.BODY, [PERSONAL]),
        (f"{LETTER}Classification: For Official Use Only\n{LETTER}", Zone.BODY, [FOUO]),
        (f"ＦＯＲ ＯＦＦＩＣＩＡＬ ＵＳＥ ＯＮＬＹ\n{LETTER}", Zone.BODY, [FOUO]),
        ("FOR  OFFICIAL USE ONLY", Zone.PAGE_HEADER, [FOUO]),
        ("Ministry of Works | For official use only | page 3 of 4", Zone.PAGE_FOOTER, [FOUO]),
        ("PERSONAL", Zone.WATERMARK, [PERSONAL]),
        ("Re: [FOUO] Budget of the year", Zone.SUBJECT, [FOUO]),
        ("PERSONAL: transfer of officers", Zone.SUBJECT, [PERSONAL]),
        ("Budget - FOR OFFICIAL USE ONLY", Zone.SUBJECT, [FOUO]),
        ("For Official Use Only", Zone.PROPERTY, [FOUO]),
        ("FOR_OFFICIAL_USE_ONLY.pdf", Zone.FILE_NAME, [FOUO]),
        ("Budget (FOUO).pdf", Zone.FILE_NAME, [FOUO]),
        # no marking
        (f"This register is for official use only and must be returned.\n{LETTER}", Zone.BODY, []),
        (f"This mail is FOR OFFICIAL USE ONLY.\n{LETTER}", Zone.BODY, []),
        (f"{LETTER}FOR OFFICIAL USE ONLY\n{LETTER}", Zone.BODY, []),
        (f"for official use only\n{LETTER}", Zone.BODY, []),
        (f"Personal\n{LETTER}", Zone.BODY, []),
        (f"PERSONAL DETAILS\n{LETTER}", Zone.BODY, []),
        (f"PERSONAL SECRETARY\n{LETTER}", Zone.BODY, []),
        (f"INTERPERSONAL\n{LETTER}", Zone.BODY, []),
        ("Personal: my leave", Zone.SUBJECT, []),
        ("PERSONAL HEARING ON MONDAY", Zone.SUBJECT, []),
        ("Department of Personal and Training", Zone.PAGE_HEADER, []),
        ("PERSONAL FILE OF A B.pdf", Zone.FILE_NAME, []),
        ("personal.pdf", Zone.FILE_NAME, []),
    ],
)
def test_a_caveat_is_seen_where_it_stands_as_a_marking(text: str, zone: Zone, names: list[str]) -> None:
    assert seen(text, zone) == names


def test_a_caveat_is_an_observation_and_no_level() -> None:
    observer = Observer(scheme())
    assert scan([Segment(f"FOR OFFICIAL USE ONLY\n{LETTER}", Zone.BODY)], "1", scheme(), observer) == ()
    (one,) = observer.result()
    assert (one.kind, one.name, one.place, one.count) == ("caveat", FOUO, "body", 1)
    assert [term for term in scheme().terms if " ".join(term.words) in ("personal", "fouo")] == []
    assert not any(caveat.verified for caveat in scheme().caveats)


def test_a_caveat_in_an_attachment_and_in_quoted_mail_says_so() -> None:
    found = inspect(
        mail(zipped(("a.txt", f"FOR OFFICIAL USE ONLY\n{LETTER}".encode())), "a.zip", body=f"Sir,\nsee below\n> PERSONAL\n> {LETTER}")
    )
    assert {(one.name, one.place) for one in found.observations if one.kind == "caveat"} == {(FOUO, "attachment"), (PERSONAL, "quoted")}


def test_a_level_beside_a_caveat_still_counts() -> None:
    for line in ("CONFIDENTIAL - FOR OFFICIAL USE ONLY", "PERSONAL AND CONFIDENTIAL", "SECRET/PERSONAL"):
        (found,) = scan([Segment(f"{line}\n{LETTER}", Zone.BODY)], "1", scheme())
        assert str(found.confidence) == "certain", line


def test_many_caveats_cost_linear_time() -> None:
    began = time.process_time()
    seen("for official use only personal fouo " * 30_000)
    seen("PERSONAL x\n" * 100_000)
    seen("FOR" + " " * 1_000_000 + "OFFICIAL USE ONLY")
    assert time.process_time() - began < 3


MARKED = '[[caveat]]\nname = "n-a"\nlanguage = "en"\nverified = false\nterms = [{}]\n'


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (MARKED.format('"secret"'), "is a level already"),
        (MARKED.format('"---"'), "an empty term"),
        (MARKED.format('"fouo"'), "is official-use-only already"),
        (MARKED.replace("n-a", "N A").format('"x"'), "is not a name"),
        (MARKED.format('"x"') + "level = 'SECRET'\n", "unknown key"),
    ],
)
def test_a_mistake_in_a_caveat_names_its_line(tables: str, said: str) -> None:
    with pytest.raises(ValueError, match=rf"line \d+: .*{said}"):
        Scheme.parse((RULES / "scheme.toml").read_text() + "\n" + tables)


def test_a_departments_own_caveat_is_seen() -> None:
    own = Scheme.parse((RULES / "scheme.toml").read_text() + "\n" + MARKED.format('"cabinet eyes"'))
    assert [name for name, _ in find(normalise("CABINET EYES\n" + LETTER), Zone.BODY, own)] == ["n-a"]
