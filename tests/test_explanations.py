"""The sentences officers read: complete in every language, safe with hostile words (hostile-inputs catalogue L05)."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import policy
from gateway.config import Config
from gateway.policy import explanations
from gateway.policy.explanations import WORDS, Explanations, clean
from gateway.policy.report_text import Reading, RecipientReport
from gateway.policy.source import PolicyError
from gateway.text import markings
from gateway.verdict import Confidence, Direction, Disposition, RecipientVerdict, Tier, Zone

RULES = Path(__file__).parents[1] / "rules"
ALL_WORDS = {
    "recipient": "x@gmail.com", "domain": "gmail.com", "level": "CONFIDENTIAL", "declared": "RESTRICTED", "file": "note.docx",
    "protection": "ZipCrypto", "provider": "Google Gmail", "look_alike": "gov.in", "sender": "a@dept.gov.in", "count": "25",
    "exception": "1", "probable": "RESTRICTED", "from": "a@gmail.com", "reply_to": "a@gmail.com", "application": "e-office",
    "profile": "1", "host": "drive.example", "personal": "12", "new": "3", "thread": "CONFIDENTIAL",
}  # fmt: skip
OUR_KEYS = {  # named by code, not by rules
    "no-rule-matched", "not-known", "refused-by-rule", "refused-by-reviewer", "hold-expired", "next-hop-refused", "delivery-delayed",
    "delivery-expired", "hop-unprotected", "delivery-relayed",
}  # fmt: skip
PACKS = ("jammu-kashmir", "gujarat", "maharashtra", "rajasthan")
LANGUAGES = ("en", "hi", "gu", "mr")


@pytest.fixture(scope="module")
def shipped() -> Explanations:
    return explanations.load(RULES / "explanations", RULES, LANGUAGES)


def test_what_no_native_reader_has_reviewed_is_shown_only_where_the_config_names_it(shipped: Explanations) -> None:
    assert shipped.unverified == ("gu", "mr")
    assert tuple(explanations.load(RULES / "explanations", RULES, ("en", "hi")).languages) == ("en", "hi")
    named = explanations.load(RULES / "explanations", RULES, ("hi", "mr"))
    assert (tuple(named.languages), named.unverified) == (("hi", "mr", "en"), ("mr",))


def test_every_language_has_every_key_that_rules_and_code_name(shipped: Explanations) -> None:
    named = {rule.explain for rule in policy.load(RULES, Config(packs=PACKS)).rules.rules if rule.explain} | OUR_KEYS
    for code in shipped.languages:
        assert named <= shipped.keys(code), code
        assert shipped.keys(code) <= named, f"{code}: sentences that nothing names"
        assert set(shipped.languages[code].phrases) == set(shipped.languages["en"].phrases)


def test_sentences_of_all_languages_say_the_same_things(shipped: Explanations) -> None:
    """The same words stand in braces, and there are as many steps."""
    english = shipped.languages["en"]
    for language in shipped.languages.values():
        for key, said in language.sentences.items():
            other = english.sentences[key]
            assert words_of(said.what + said.why) == words_of(other.what + other.why), (language.code, key)
            assert len(said.next) == len(other.next), (language.code, key)
        for key, phrase in language.phrases.items():
            assert words_of(phrase) == words_of(english.phrases[key]), (language.code, key)


def words_of(text: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", text))


@pytest.mark.parametrize(("code", "script"), [("hi", "DEVANAGARI"), ("mr", "DEVANAGARI"), ("gu", "GUJARATI")])
def test_each_language_is_written_in_its_script(shipped: Explanations, code: str, script: str) -> None:
    for key, said in shipped.languages[code].sentences.items():
        for text in (said.what, said.why, *said.next):
            assert any(script in unicodedata.name(c, "") for c in text), (key, text)


def test_all_words_are_filled_in(shipped: Explanations) -> None:
    assert set(ALL_WORDS) == set(WORDS)
    for code in shipped.languages:
        for key in shipped.keys(code):
            said = shipped.sentence(key, code, ALL_WORDS)
            for text in (said.what, said.why, said.short, *said.next):
                assert "{" not in text
                assert text.strip()
            assert said.short.isascii()
            assert len(said.short) < 400


def test_steps_name_how_to_encrypt(shipped: Explanations) -> None:
    for code in LANGUAGES:
        steps = " ".join(shipped.sentence("attachment-unencrypted", code, ALL_WORDS).next)
        for word in ("7-Zip", "AES-256", "Word 2016", "Sandesh", "Samvad"):
            assert word in steps


def test_sandesh_and_samvad_are_never_named_for_secret(shipped: Explanations) -> None:
    for code in shipped.languages:
        for key in ("secret-on-the-internet", "probable-secret", "probable-secret-unsealed"):
            said = shipped.sentence(key, code, ALL_WORDS)
            text = " ".join((said.what, said.why, *said.next))
            assert "Sandesh" not in text
            assert "Samvad" not in text
            assert not words_of(shipped.languages[code].sentences[key].what)


HOSTILE = [
    "a\r\nBcc: victim@example.com", "x" * 5000, "\x1b[31mred\x07", "\u202egnp.exe", "{sender.__class__}", "%s %n", "a\x00b", "\u2028line",
    "<script>alert(1)</script>", "\ud800", "",
]  # fmt: skip


@pytest.mark.parametrize("word", HOSTILE)
def test_L05_hostile_words_stay_one_short_printable_line(shipped: Explanations, word: str) -> None:
    for code in shipped.languages:
        said = shipped.sentence("attachment-unencrypted", code, ALL_WORDS | {"file": word, "level": word})
        for text in (said.what, said.short):
            assert len(text) < 600
            assert all(unicodedata.category(c)[0] not in "C" or c in "\u200c\u200d" for c in text)
            assert "\n" not in text
            text.encode("utf-8")


def test_joiners_of_indic_scripts_stay() -> None:
    assert clean("क्‍ष") == "क्‍ष"


def test_our_own_reports_are_not_marked_by_what_they_advise() -> None:
    """A report goes through filters like ours: nothing it says may look like a marking of the report itself."""
    loaded = policy.load(RULES, Config(packs=PACKS, languages=LANGUAGES))
    for code in loaded.explanations.languages:
        for key in loaded.explanations.keys(code):
            one = RecipientReport("x@gmail.com", "5.7.1", key, ALL_WORDS)
            reading = Reading("held", [one], loaded.explanations, [code], {"reference": "R", "hostname": "gw1.dept.gov.in", "time": "now"})
            found = markings.scan([markings.Segment(reading.plain(), Zone.BODY)], "1", loaded.scheme)
            assert [f for f in found if f.confidence is Confidence.CERTAIN] == [], (code, key)


def test_unknown_keys_and_languages_fall_back(shipped: Explanations) -> None:
    assert shipped.sentence("nope", "en", ALL_WORDS) == shipped.sentence("refused-by-rule", "en", ALL_WORDS)
    assert shipped.sentence("nope", "hi", ALL_WORDS).what == shipped.sentence("refused-by-rule", "hi", ALL_WORDS).what
    assert shipped.sentence("relay-denied", "ta", ALL_WORDS) == shipped.sentence("relay-denied", "en", ALL_WORDS)
    assert "{" not in shipped.sentence("attachment-unencrypted", "en", {}).what


def verdict(**more: object) -> RecipientVerdict:
    given: dict[str, object] = {
        "address": "x@gmail.com", "tier": Tier.PRIVATE, "direction": Direction.OUTBOUND, "disposition": Disposition.REFUSE,
        "status": "5.7.1", "rule": "outbound-to-private-provider", "explain": "outbound-to-private-provider",
        "facts": (("domain", "gmail.com"),),
    }  # fmt: skip
    return RecipientVerdict(**(given | more))  # type: ignore[arg-type]


def test_reply_text_is_ascii_with_reference_rule_and_link(shipped: Explanations) -> None:
    text = shipped.reply_text(verdict(), "REF123", "https://gateway.example.gov.in/officer/tok")
    assert text == (
        "gmail.com is a private e-mail provider. Official mail may not go to it.\n"
        "Ref REF123 Rule outbound-to-private-provider https://gateway.example.gov.in/officer/tok"
    )
    assert shipped.reply_text(verdict(), "REF123").endswith("Ref REF123 Rule outbound-to-private-provider")


def test_reply_text_escapes_what_is_not_ascii(shipped: Explanations) -> None:
    text = shipped.reply_text(verdict(facts=(("domain", "उदाहरण.भारत\r\n250 ok"),)), "R")
    assert text.isascii()
    assert text.count("\n") == 1
    assert "\r" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace('short = "Refused by a reviewer."\n', ""), "sentences.refused-by-reviewer.short: is needed in English"),
        (lambda t: t.replace("Refused by a reviewer.", "Réfusé"), "sentences.refused-by-reviewer.short"),
        (lambda t: t.replace("{recipient} was not taken", "{recipient.local} was not taken"), "unknown word {recipient.local}"),
        (lambda t: t.replace("{recipient} was not taken", "{recipient!r} was not taken"), "unknown word {recipient}"),
        (lambda t: t.replace("{recipient} was not taken", "{body} was not taken"), "sentences.relay-denied: unknown word {body}"),
        (lambda t: t.replace("{recipient} was not taken", "{recipient was not taken"), "sentences.relay-denied: "),
        (lambda t: t.replace('"@exception"', '"@exemption"'), "there are no steps '@exemption'"),
        (lambda t: t.replace("[sentences.delivery-relayed]", "[sentences.Delivery-relayed]"), "a key is small letters and hyphens"),
        (lambda t: t.replace("[sentences.delivery-relayed]\nwhat", "[sentences.delivery-relayed]\nwhy2"), "why2: unknown key"),
        (lambda t: t.replace("[sentences.refused-by-rule]", "[sentences.refused-by-rules]"), "sentences.refused-by-rule: missing"),
        (lambda t: t.replace('name = "English"', "name = 1"), "en.toml:4: name: must be text"),
    ],
)
def test_L08_a_bad_file_names_file_and_field(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    shutil.copytree(RULES / "explanations", tmp_path / "explanations")
    path = tmp_path / "explanations" / "en.toml"
    text = path.read_text("utf-8")
    changed = change(text)
    assert changed != text
    path.write_text(changed, "utf-8")
    with pytest.raises(PolicyError) as error:
        explanations.load(tmp_path / "explanations", tmp_path, ("en", "hi"))
    assert message in str(error.value)
    assert "en.toml" in str(error.value)


def test_a_language_of_the_config_must_be_there() -> None:
    with pytest.raises(PolicyError, match=r"there is no ta\.toml"):
        explanations.load(RULES / "explanations", RULES, ("en", "ta"))


def test_a_folder_older_than_the_program_has_the_phrases_that_came_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "explanations"
    folder.mkdir()
    for code in ("en", "hi"):
        lines = (RULES / "explanations" / f"{code}.toml").read_text("utf-8").splitlines(keepends=True)
        own = [line for line in lines if not line.startswith(("officer-", "intro-held"))]
        (folder / f"{code}.toml").write_text("".join(own).replace('what = "What happened"', 'what = "What became of it"'), "utf-8")
    found = explanations.load(folder, tmp_path, ("en", "hi"), RULES / "explanations")
    shipped = explanations.load(RULES / "explanations", RULES, ("en", "hi"))
    for code in ("en", "hi"):
        assert found.languages[code].phrases.keys() == shipped.languages[code].phrases.keys()
        assert found.phrase("intro-held", code, {"time": "T"}) == shipped.phrase("intro-held", code, {"time": "T"})
    assert found.phrase("what", "en") == "What became of it", "its own phrases stay"
