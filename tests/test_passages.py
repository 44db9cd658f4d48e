"""Passages: the same fingerprint however a text is wrapped, marked or folded; none of what every letter says."""

from __future__ import annotations

import random
import textwrap
from hashlib import blake2b

import pytest

from gateway.config import Limits
from gateway.levels import Level
from gateway.message import plain, thread_fields
from gateway.policy import shipped_rules, watching
from gateway.text import passages
from gateway.text.normalise import normalise
from gateway.verdict import Thread

SCHEME = watching.load(shipped_rules())[0]
PLAN = (
    "The second company moves from Rampur to the bridge at Sitapur in the night of the fourteenth, with eleven lorries and two guns, "
    "and relieves the picket there before the light comes. Nobody but the commander of the post knows the hour."
)
HINDI = (
    "दूसरी कंपनी चौदह तारीख की रात रामपुर से सीतापुर के पुल तक ग्यारह ट्रकों और दो तोपों के साथ जाएगी और उजाला होने से पहले वहाँ की टुकड़ी का स्थान लेगी, "
    "समय केवल चौकी के कमांडर को मालूम है।"
)
LETTER = (
    "Sir,\nI am directed to refer to your letter No. 12/2026 dated 3 May on the subject mentioned above and to say that the matter has "
    "been considered in this Ministry. The receipt of this letter may kindly be acknowledged. This issues with the approval of the "
    "competent authority. Kindly take necessary action in the matter at the earliest and send the requested information to this office.\n"
)


TYPE = ("MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit")


def marks(text: str, most: int = passages.ASKED) -> set[bytes]:
    return set(passages.fingerprints(normalise(text).text, most, SCHEME))


@pytest.mark.parametrize("text", [PLAN, HINDI])
@pytest.mark.parametrize("width", [30, 55, 72])
@pytest.mark.parametrize("mark", ["", "> ", ">> ", "  > > ", "| "])
def test_quoted_and_wrapped_anew_it_is_the_same(text: str, width: int, mark: str) -> None:
    quoted = "\r\n".join(mark + line for line in textwrap.wrap(text, width))
    every = marks(text)
    assert len(every) >= 5
    assert every <= marks(f"Please see below.\r\n\r\nOn Monday somebody wrote:\r\n{quoted}\r\n\r\nRegards")


@pytest.mark.parametrize(("before", "behind"), [(0, 17), (5, 22), (9, 26), (12, 29)])
def test_seventeen_words_in_a_row_are_recognised_and_eleven_are_not(before: int, behind: int) -> None:
    words = PLAN.split()
    part = words[before:behind]
    assert kept(PLAN) & marks("in my view " + " ".join(part[:17]) + " is what he means by it all")
    assert not marks(PLAN) & marks("in my view " + " ".join(part[:11]) + " is what he means by it all")


def test_capitals_no_break_spaces_and_invisible_characters_change_nothing() -> None:
    assert marks(PLAN) == marks(PLAN.upper()) == marks(PLAN.replace(" ", "\u00a0")) == marks(PLAN.replace("m", "m\u00ad"))


def test_what_every_letter_says_is_no_passage() -> None:
    assert marks(LETTER) == set()
    assert marks(LETTER + PLAN)


def test_another_text_shares_nothing() -> None:
    numbers = random.Random(4)
    words = PLAN.split()
    for _ in range(50):
        numbers.shuffle(words)
        assert not marks(PLAN) & marks(" ".join(words))


def kept(text: str) -> set[bytes]:
    return set(passages.samples(normalise(text).text, SCHEME))


@pytest.mark.parametrize("length", [12, 17, 60, 250, 490, 3000])
def test_of_a_marked_text_a_few_are_kept_and_a_sixteenth_of_it_is_recognised(length: int) -> None:
    numbers = random.Random(length)
    words = [f"word{numbers.randrange(50_000)}" for _ in range(length)]
    few = kept(" ".join(words))
    assert 1 <= len(few) <= passages.KEPT
    assert few <= marks(" ".join(words), 10_000)
    run = -(-(length - 11) // passages.KEPT) + passages.WORDS - 1
    for start in range(0, length - run + 1, max(1, length // 50)):
        assert few & marks("see what he writes " + " ".join(words[start : start + run]) + " and answer"), (start, run)


@pytest.mark.parametrize(("text", "expected"), [
    ("See below.\n\n-----Original Message-----\nFrom: A\nSent: Monday\nTo: B\nSubject: C\n\nwords", True),
    ("See below.\n\nFrom: A <a@dept.gov.in>\nSent: Monday\nTo: B\nSubject: C\n\nwords", True),
    ("See below.\n\nOn Monday, 5 Jan 2026 at 10:00, A <a@dept.gov.in> wrote:\n\nwords", True),
    ("He wrote: nothing. The papers came\nfrom: Rampur", False),
    ("Kindly send the agenda.", False),
    ("", False),
])  # fmt: skip
def test_what_programs_put_below_a_head_is_quoted_without_marks(text: str, expected: bool) -> None:
    assert passages.repeats(normalise(text).text, SCHEME) is expected


@pytest.mark.parametrize(("words", "place", "least"), [(900, 700, 40), (3000, 1500, 40), (3000, 2800, 40), (7500, 7000, 32)])
@pytest.mark.slow
def test_a_marked_letter_is_recognised_wherever_it_stands_in_a_long_thread(words: int, place: int, least: int) -> None:
    found = 0
    for seed in range(40):
        numbers = random.Random(seed)
        thread = [f"word{numbers.randrange(50_000)}" for _ in range(words)]
        letter = " ".join(thread[place : place + 100])
        found += bool(kept(letter) & set(passages.asked((normalise(" ".join(thread)).text,), SCHEME)))
    assert found >= least


def test_what_is_asked_is_bounded_and_each_passage_counts_once() -> None:
    text = normalise(" ".join(f"word{n}" for n in range(9000))).text
    found = passages.asked((text, text), SCHEME)
    assert len(found) == len(set(found)) == 2 * passages.ASKED
    assert found[: passages.ASKED] == passages.fingerprints(text, passages.ASKED, SCHEME)
    assert passages.asked((), SCHEME) == ()


def test_the_look_up_is_bounded() -> None:
    assert len(marks(" ".join(f"word{n}" for n in range(5000)))) == passages.ASKED
    assert marks("short text") == marks("") == kept("") == kept("short text") == kept(LETTER) == set()


def own(text: str) -> str:
    return passages.own(normalise(text).text, SCHEME)


def test_a_writers_own_words_are_without_quotations_signature_and_disclaimer() -> None:
    text = (
        "CONFIDENTIAL\n\n" + PLAN + "\n\nYours faithfully,\nA. Sharma, Deputy Secretary, Room 12, North Block\n\n"
        "On Tue, 3 March 2026, somebody wrote:\n> this was quoted by him and is not marked by this message at all\n"
    )
    assert "second company moves" in own(text)
    assert "north block" not in own(text)
    assert "quoted by him" not in own(text)
    assert "second company" in own(f"{PLAN}\n-- \nSharma, Deputy Secretary")
    assert "deputy" not in own(f"{PLAN}\n-- \nSharma, Deputy Secretary")
    disclaimer = (
        "This email and its attachments are confidential and intended solely for the use of the individual to whom it is addressed."
    )
    assert "solely" not in own(f"{PLAN}\n\n{disclaimer}\n")


@pytest.mark.parametrize("subject", [
    "Re: Raid", "RE: x", "Fwd: Raid", "FW: Raid", "re[2]: Raid", "[dept] Re: Raid", "AW: Raid", "उत्तर: छापा", "अग्रेषित: छापा", "Re : Raid",
])  # fmt: skip
def test_subjects_of_answers(subject: str) -> None:
    assert passages.is_reply(normalise(subject).text)


@pytest.mark.parametrize(
    "subject", ["Raid", "Reply of the board", "Refund: ten", "Regarding: the raid", "Rebate: 10 %", "Forward planning: 2027", ""]
)
def test_subjects_of_no_answers(subject: str) -> None:
    assert not passages.is_reply(normalise(subject).text)


# --- header fields --------------------------------------------------------------------------------------------------------


def test_references_are_read_from_every_field_and_are_bounded() -> None:
    fields = [
        ("In-Reply-To", "<c@x> (of Monday)"),
        ("REFERENCES", "<a@x>\t<b@x> <c@x>"),
        ("X-Forwarded-Message-Id", "<d@ x>"),
        ("To", "<e@x>"),
    ]
    assert thread_fields.references(fields) == ("c@x", "a@x", "b@x", "d@x")
    many = thread_fields.references([("References", " ".join(f"<{n}@x>" for n in range(500)))])
    assert (len(many), many[0], many[-1]) == (thread_fields.MOST, "0@x", "499@x")
    assert thread_fields.references([("References", "none of them"), ("In-Reply-To", "<>")]) == ()
    assert thread_fields.identifier(" <a@x> ") == "a@x"
    assert thread_fields.identifier("a@x") == "a@x"


# --- what an inspection says of it ----------------------------------------------------------------------------------------


def read(body: str, subject: str = "Raid", *fields: str) -> Thread | None:
    text = "\r\n".join(
        ("From: a@dept.gov.in", "To: b@nic.in", f"Subject: {subject}", "Message-ID: <1@dept.gov.in>", *TYPE, *fields, "", body)
    )
    found = plain.inspect(text.replace("\r\n", "\n").replace("\n", "\r\n").encode(), "00", Limits(), SCHEME)
    assert found is not None
    return found.thread


def test_ordinary_mail_has_no_thread_at_all() -> None:
    assert read(PLAN) is None


def test_a_marked_message_gives_its_passages_with_its_level() -> None:
    thread = read(f"CONFIDENTIAL\n\n{PLAN}\n")
    assert thread is not None
    assert not thread.is_reply
    assert thread.quotes == ()
    assert {level for level, _ in thread.passages} == {Level.CONFIDENTIAL}
    assert kept(PLAN) & {value for _, value in thread.passages}
    assert {value for _, value in thread.passages} <= marks(f"CONFIDENTIAL {PLAN}")


@pytest.mark.parametrize(("subject", "field", "body"), [
    ("Re: Raid", "X-A: 1", PLAN),
    ("Raid", "In-Reply-To: <0@dept.gov.in>", PLAN),
    ("Raid", "X-A: 1", f"> {PLAN}"),
])  # fmt: skip
def test_an_answer_gives_what_it_says_to_be_looked_up_and_nothing_to_keep(subject: str, field: str, body: str) -> None:
    thread = read(body, subject, field)
    assert thread is not None
    assert thread.is_reply
    assert marks(PLAN) <= set(thread.quotes)
    assert thread.passages == ()


def test_a_marked_answer_keeps_its_own_words_only() -> None:
    other = "\n".join("> " + line for line in textwrap.wrap(HINDI, 60))
    thread = read(f"CONFIDENTIAL\n\n{PLAN}\n\nसोमवार को उन्होंने लिखा:\n{other}\n", "Re: Raid")
    assert thread is not None
    said = {value for _, value in thread.passages}
    assert said
    assert said <= marks(f"CONFIDENTIAL {PLAN}")
    assert not said & marks(HINDI)
    assert marks(HINDI) <= set(thread.quotes)


def test_the_quick_reading_of_words_and_passages_is_the_plain_one() -> None:
    rng, rules = random.Random(5), SCHEME
    common = sorted(word.decode() for word in rules.watch.topics.common)
    signs = (" ", "\n", "\r\n", "\u0964", "\u0965 ", "\u00a0", "\u2014", "\u3002", "\x85", "\u1680", ", ", "\x1c", "\u00ab", "…", "-", "  ")
    for _ in range(200):
        text = "".join(
            (rng.choice(common) if rng.random() < 0.6 else rng.choice(("tender", "गोपनीय", "d\u00e9j\u00e0", "\ud800", "sonar", "reed")))
            + rng.choice(signs)
            for _ in range(rng.randrange(200))
        )
        words = [word.encode("utf-8", "surrogatepass") for word in text.translate(passages._PUNCTUATION).split()]
        assert passages._words(text) == words
        places = len(words) - passages.WORDS + 1
        hashed = [
            blake2b(b" ".join(passage), digest_size=8).digest() if sum(word in rules.watch.topics.common for word in passage) <= 7 else b""
            for passage in (words[place : place + passages.WORDS] for place in range(places))
        ]
        assert list(passages.fingerprints(text, 10_000, rules)) == [value for value in hashed if value]
        step = max(1, -(-places // passages.KEPT))
        firsts = [next((value for value in hashed[at : at + step] if value), b"") for at in range(0, max(places, 0), step)]
        assert list(passages.samples(text, rules)) == [value for value in firsts if value]
