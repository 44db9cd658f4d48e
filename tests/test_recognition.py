"""Which pictures are read in which order, and what counts as read: with tools of our own making, and with tesseract on real scans."""

from __future__ import annotations

import hashlib
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import content
from gateway.config import Limits
from gateway.content import recognition
from gateway.content.recognition import Recognised, recognise
from gateway.extraction.base import Budget, Look, OverLimit, Picture, Scan, ToolFault, Unreadable, Words
from gateway.inspector import tools
from gateway.verdict import Confidence, LeafState, Zone
from tests.content_mail import leaf, mail, scheme, text

SIDE = 1200
CLEAN = Words("SECRET\nwords", "SECRET", "", 95.0, 2)
NOTHING = Words()


def page(mark: int = 0, side: int = SIDE) -> Picture:
    """A picture with something on it; *mark* tells it from others."""
    return Picture(side, side, bytes((mark, 10, 20)) + b"\x00\xff" * ((side * side - 3) // 2) + b"\xff" * (side * side - 3 & 1), 200)


def scan(picture: Picture | Exception, number: int = 0, pages: int = 0) -> Scan:
    def render(_: Budget) -> Picture:
        if isinstance(picture, Exception):
            raise picture
        return picture

    return Scan(render, number, pages, 0 if isinstance(picture, Exception) else picture.width * picture.height)


class Fake:
    """Tools that answer by a function; time goes by as it says."""

    reads_pictures = unpacks_rar = True

    def __init__(self, say: Callable[[Picture, Look], Words | Unreadable], lanes: int = 2, turns: bool = True, waited: float = 0.0) -> None:
        self.say, self.lanes, self.turns, self.waited = say, lanes, turns, 0.0
        self._wait = waited
        self.asked: list[tuple[Picture, Look]] = []
        self.dropped: list[int] = []
        self._open: dict[int, Words | Unreadable] = {}

    def begin(self, picture: Picture, seconds: float, look: Look = Look.PAGE) -> int:
        assert len(self._open) < self.lanes
        assert seconds <= 8
        self.asked.append((picture, look))
        self.waited += self._wait
        self._open[len(self.asked)] = self.say(picture, look)
        return len(self.asked)

    def next(self) -> tuple[int, Words | Unreadable]:
        number = next(iter(self._open))
        return number, self._open.pop(number)

    def drop(self, number: int) -> None:
        self._open.pop(number, None)
        self.dropped.append(number)

    def words(self, picture: Picture, seconds: float) -> Words:
        raise NotImplementedError

    def rar(self, archive: bytes, password: str, most: int, seconds: float) -> tuple[tuple[str, bytes], ...]:
        raise NotImplementedError

    @property
    def looks(self) -> list[Look]:
        return [look for _, look in self.asked]


def one(fake: Fake | None, *scans: Scan, limits: Limits | None = None) -> Recognised:
    (found,) = recognise([scans], Budget(limits or Limits(), fake))
    return found


def test_a_page_that_is_read() -> None:
    found = one(Fake(lambda *_: CLEAN), scan(page(), 1, 1))
    assert found.complete
    assert found.reason == ""
    assert [(segment.zone, segment.text, segment.page) for segment in found.segments] == [
        (Zone.PAGE_HEADER, "SECRET", 1),
        (Zone.BODY, "SECRET\nwords", 1),
    ]


def test_without_tools_nothing_is_read_but_dots() -> None:
    assert one(None, scan(page())) == Recognised()
    assert one(None, scan(Picture(1, 1, b"\x00"))).complete
    assert one(None, scan(Picture(60, 60, b"\x80" * 3600))).complete
    assert not one(None, scan(Picture(60, 60, b"\x00\xff" * 1800))).complete


def test_what_is_even_or_tiny_asks_no_program() -> None:
    fake = Fake(lambda *_: NOTHING)
    assert one(fake, scan(Picture(900, 900, b"\xff" * 810_000)), scan(Picture(5, 300, b"\x00\xff\x00" * 500))).complete
    assert fake.asked == []


def test_a_small_picture_without_words_is_read_and_a_large_one_is_not() -> None:
    assert one(Fake(lambda *_: NOTHING), scan(page(side=300))).complete
    found = one(Fake(lambda *_: NOTHING), scan(page()))
    assert (found.complete, found.reason) == (False, recognition.NOTHING)


def test_words_that_are_not_sure_do_not_make_a_page_read() -> None:
    rubbish = Words("SECRET", "", "", 52.0, 40, doubtful="TOP SECRET")
    found = one(Fake(lambda picture, look: rubbish if look is Look.PAGE else NOTHING), scan(page()))
    assert not found.complete
    assert [segment.text for segment in found.segments] == ["SECRET"]
    assert [segment.text for segment in found.doubtful] == ["TOP SECRET"]


def test_what_is_doubtful_is_at_most_probable() -> None:
    from gateway.text import markings
    from gateway.text.markings import Segment

    certain = markings.scan((Segment("SECRET", Zone.BODY),), "1", scheme())
    assert any(finding.confidence is Confidence.CERTAIN for finding in certain)
    assert {finding.confidence for finding in recognition.doubted(certain)} == {Confidence.PROBABLE}


def test_a_page_upside_down_is_turned_and_the_next_pages_of_the_leaf_too() -> None:
    upright, second = page(1), page(2)

    def say(picture: Picture, look: Look) -> Words:
        if look is Look.TURN:
            return Words(turn=180, confidence=8.0)
        return CLEAN if picture.grey in {upright.grey, second.grey} else Words("xq", "", "", 40.0, 1)

    fake = Fake(say, lanes=1)
    found = one(fake, *(scan(recognition._turned(picture, 180), number, 2) for number, picture in enumerate((upright, second), 1)))
    assert found.complete
    assert fake.looks[:4] == [Look.PAGE, Look.PAGE, Look.TURN, Look.PAGE]


def test_a_wrong_side_is_given_up_once_the_right_one_is_known() -> None:
    right = recognition._turned(page(1), 90).grey

    class Slow(Fake):
        def next(self) -> tuple[int, Words | Unreadable]:
            number = max(self._open)
            return number, self._open.pop(number)

    def say(picture: Picture, look: Look) -> Words:
        if look is Look.TURN:
            return Words(turn=90, confidence=5.0)
        return CLEAN if picture.grey == right else Words("xq", "", "", 40.0, 1)

    fake = Slow(say)
    assert one(fake, scan(page(1))).complete
    assert fake.looks == [Look.PAGE, Look.TURN, Look.PAGE]
    assert fake.dropped == [1]


@pytest.mark.parametrize("turns", [True, False])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_short_page_is_tried_from_all_sides(degrees: int, turns: bool) -> None:
    lying = recognition._turned(page(1), 360 - degrees)
    fake = Fake(lambda picture, look: CLEAN if look is Look.PAGE and picture.grey == page(1).grey else NOTHING, turns=turns)
    assert one(fake, scan(lying)).complete


def test_turning_goes_clockwise() -> None:
    assert recognition._turned(Picture(2, 1, b"ab"), 90) == Picture(1, 2, b"ab")
    assert recognition._turned(Picture(2, 1, b"ab"), 270) == Picture(1, 2, b"ba")
    assert recognition._turned(Picture(1, 2, b"ab"), 90) == Picture(2, 1, b"ba")
    assert recognition._turned(Picture(2, 1, b"ab"), 180) == Picture(2, 1, b"ba")


def test_more_pages_than_time_the_edges_come_first() -> None:
    def say(picture: Picture, look: Look) -> Words | Unreadable:
        if look is Look.BANDS:
            assert picture.height == 2 * int(SIDE * 0.18)
            return Words("CONFIDENTIAL", "CONFIDENTIAL", "", 96.0, 1)
        return CLEAN if picture.grey[0] in (0, 1, 19) else OverLimit("no time")

    fake = Fake(say)
    found = one(fake, *(scan(page(number), number + 1, 20) for number in range(20)))
    assert fake.looks[:20] == [Look.BANDS] * 20
    assert fake.looks[20] is Look.PAGE
    assert [picture.grey[0] for picture, look in fake.asked[20:24]] == [0, 19, 1, 18]
    assert not found.complete
    assert found.reason == "words were read in 3 of 20 pages; of the others only the top and the bottom"
    heads = [(segment.page, segment.text) for segment in found.segments if segment.zone is Zone.PAGE_HEADER]
    assert heads == [(1, "SECRET"), (2, "SECRET"), *((number, "CONFIDENTIAL") for number in range(3, 20)), (20, "SECRET")]


def test_a_long_scan_does_not_keep_the_time_from_the_next_attachment() -> None:
    fake = Fake(lambda *_: OverLimit("no time"))
    long = tuple(scan(page(number), number + 1, 20) for number in range(20))
    recognise([long, (scan(page(100)),), (scan(page(101), 1, 2), scan(page(102), 2, 2))], Budget(Limits(), fake))
    assert [picture.grey[0] for picture, look in fake.asked if look is Look.BANDS][:7] == [0, 100, 101, 19, 102, 1, 18]
    assert [picture.grey[0] for picture, look in fake.asked if look is Look.PAGE][:7] == [0, 100, 101, 19, 102, 1, 18]


def test_few_pages_are_read_whole_at_once() -> None:
    fake = Fake(lambda *_: CLEAN, lanes=1)
    assert one(fake, *(scan(page(number), number + 1, 3) for number in range(3))).complete
    assert set(fake.looks) == {Look.PAGE}


def test_the_same_picture_is_read_once() -> None:
    fake = Fake(lambda *_: CLEAN, lanes=1)
    first, second = recognise([(scan(page(1)), scan(page(1))), (scan(page(1)),)], Budget(Limits(), fake))
    assert first.complete
    assert second.complete
    assert second.segments
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unreadable("a picture that cannot be decoded"), "a picture that cannot be decoded"),
        (OverLimit("a picture with more pixels than are looked at"), "a picture with more pixels than are looked at"),
        (MemoryError(), "it needs too much memory"),
        (ValueError("words of the message"), "could not be read: ValueError"),
    ],
)
def test_what_cannot_be_drawn(error: Exception, reason: str) -> None:
    fake = Fake(lambda *_: CLEAN)
    found = one(fake, scan(error))
    assert (found.complete, found.reason) == (False, reason)
    found = one(fake, scan(error), scan(page()))
    assert found.reason == f"words were read in 1 of 2 pictures; in 1: {reason}"
    assert found.segments


def test_a_program_that_fails_on_a_picture() -> None:
    found = one(Fake(lambda *_: Unreadable("the recognition of its words failed")), scan(page()))
    assert (found.complete, found.reason) == (False, "the recognition of its words failed")


def test_no_time_at_all() -> None:
    fake = Fake(lambda *_: CLEAN)
    found = one(fake, scan(page()), limits=Limits(ocr_seconds=0.1))
    assert (found.complete, found.reason, fake.asked) == (False, "there was no time to read the words in it", [])


def test_tools_that_are_busy_with_other_messages_are_our_fault() -> None:
    with pytest.raises(ToolFault):
        one(Fake(lambda *_: OverLimit("no time"), waited=3.0), scan(page()))
    assert not one(Fake(lambda *_: OverLimit("no time"), waited=0.1), scan(page())).complete


def test_a_fault_of_the_tools_is_never_about_the_content() -> None:
    def say(picture: Picture, look: Look) -> Words:
        raise ToolFault("gone")

    with pytest.raises(ToolFault):
        one(Fake(say), scan(page()))
    with pytest.raises(ToolFault):
        one(Fake(lambda *_: CLEAN), scan(ToolFault("gone")))


# --- with the real programs -------------------------------------------------------------------------------------------

FOLDER = Path(__file__).parent / "fixtures" / "scans"
CASES = tomllib.loads((FOLDER / "cases.toml").read_text("utf-8"))["case"]
real = tools.installed(Limits())
needs = pytest.mark.skipif({"eng", "hin"} - set(real.languages) != set(), reason="tesseract-ocr or its Hindi pack is not installed")


@pytest.mark.service
@needs
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["file"])
def test_real_scans(case: dict[str, Any]) -> None:
    message = mail((FOLDER / case["file"]).read_bytes(), case["file"])
    limits = Limits(ocr_seconds=120, inspect_cpu=180)  # what is tested here is what is read, on a machine that may be busy
    for patience in (5, 10, 0):
        try:
            digest = hashlib.sha256(message).hexdigest()
            found = content.unpack(message, sha256=digest, limits=limits, scheme=scheme(), want_text=True, tools=tools.direct(limits))
            break
        except ToolFault:  # other processes have the machine: ours to try again, as a door would
            if not patience:
                raise
            time.sleep(patience)
    assert leaf(found).state is LeafState(case["state"]), leaf(found).reason
    assert case.get("reason", "") in leaf(found).reason
    best = max(found.findings, key=lambda one: (one.level, one.confidence is Confidence.CERTAIN), default=None)
    assert (best.level.name if best else "", str(best.confidence) if best else "") == (case.get("level", ""), case.get("confidence", ""))


def test_without_tools_a_scan_is_never_clean() -> None:
    for name in ("page.png", "hindi-group4.tif", "photograph.jpg", "skewed-noisy.jpg"):
        message = mail((FOLDER / name).read_bytes(), name)
        found = content.unpack(message, sha256="", limits=Limits(), scheme=scheme(), want_text=True)
        assert leaf(found).state is LeafState.UNINSPECTABLE
        assert "SECRET" not in text(found)
