"""Words in pictures and members of RAR archives, by programs beside the workers.

What it is: what may be asked of a program (``Recognise``, ``ListArchive``, ``UnpackArchive``) and what the answer is (``Ran``),
``installed`` (what this machine has), ``ToolBox`` (the Tools of ``extraction.base`` over some link) and ``direct`` (without a service).
Who calls it: ``inspector.service`` and ``inspector.tool_pool``; ``gateway explain``, rule examples and ``gateway check``.
Must never: let content choose a program, an argument or a file; hand a program a picture that a message brought (it gets the grey
pixels that a worker decoded).
Sources: docs/design.md section 2; tesseract(1), unar(1), lsar(1); netpbm's pgm(5).
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import Protocol

import msgspec

from gateway.config import Limits
from gateway.extraction.base import BAND, Look, OverLimit, Picture, ToolFault, Tools, Unreadable, Words
from gateway.inspector import confined, tool_words
from gateway.inspector.confined import Program
from gateway.inspector.rar_listing import members
from gateway.inspector.runner import Job, Outcome, Runner

_GRACE = 3.0
"""Seconds beyond its own time that an answer may take on its way."""
_LONGEST_PASSWORD = 1000
_LIST = 20_000_000  # octets of a list of members: about 600 for each
_TABLE = 20_000_000
_MODES = {Look.PAGE: "3", Look.BANDS: "3"}
_EDGES = {Look.PAGE: tool_words.EDGE, Look.BANDS: tool_words.EDGE / (2 * BAND)}


class Request(msgspec.Struct, frozen=True, tag_field="t", forbid_unknown_fields=True):
    """Something that a program is run for; the content is the body of the frame. *seconds* of wall clock."""

    seconds: float


class Recognise(Request, frozen=True, tag=1):
    """The words in a picture of grey pixels."""

    width: int
    height: int
    dpi: int
    look: Look


class ListArchive(Request, frozen=True, tag=2):
    """The members of a RAR archive, each tested."""

    password: str


class UnpackArchive(Request, frozen=True, tag=3):
    """The content of all members, one after the other; at most *most* octets."""

    password: str
    most: int


class Drop(Request, frozen=True, tag=4):
    """The question of the same number is not to be answered."""


Requests = Recognise | ListArchive | UnpackArchive | Drop


class Ran(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a run ended; its output is the body of the frame. The fields are those of ``runner.Outcome``."""

    code: int | None
    late: bool
    large: bool
    fault: bool
    waited: float


class Link(Protocol):
    """The way to the programs."""

    def ask(self, number: int, request: Requests, body: bytes) -> None:
        """Raises ToolFault."""

    def answer(self, seconds: float) -> tuple[int, Ran, bytes]:
        """The next answer, within *seconds*. Raises ToolFault."""


@dataclass(frozen=True, slots=True)
class Installed:
    """The programs of this machine."""

    tesseract: Program | None = None
    languages: tuple[str, ...] = ()
    """Of those that are wanted, the packs that are there."""
    turns: bool = False
    """The pack that tells which side is up is there."""
    missing: tuple[str, ...] = ()
    """Packs that are wanted and not there."""
    unar: Program | None = None
    lsar: Program | None = None

    @property
    def programs(self) -> tuple[Program, ...]:
        """All that are there."""
        return tuple(program for program in (self.tesseract, self.unar, self.lsar) if program is not None)

    @property
    def reads_pictures(self) -> bool:
        """Tesseract and at least one language."""
        return self.tesseract is not None and bool(self.languages)

    @property
    def unpacks_rar(self) -> bool:
        """unar, and lsar which lists."""
        return self.unar is not None and self.lsar is not None


def installed(limits: Limits) -> Installed:
    """What this machine has of what *limits* want. Starts tesseract once, with its rights given away."""
    tesseract = confined.find("tesseract") if limits.ocr_seconds > 0 else None
    packs: set[str] = set()
    if tesseract is not None:
        runner = Runner(1, limits.ocr_memory)
        runner.begin(0, Job(tesseract, ("--list-langs",)))
        packs = set(_finished(runner).output.decode("utf-8", "replace").split("\n"))
        runner.stop()
    wanted = dict.fromkeys(limits.ocr_languages)
    return Installed(
        tesseract,
        tuple(name for name in wanted if name in packs),
        "osd" in packs,
        tuple(name for name in wanted if name not in packs),
        confined.find("unar"),
        confined.find("lsar"),
    )


def _finished(runner: Runner) -> Outcome:
    while True:
        done, _ = runner.turn(None)
        if done:
            return done[0][1]


def job(request: Requests, body: bytes, has: Installed) -> Job | None:
    """The run that answers *request*; None where it may not be asked."""
    seconds = min(request.seconds, 60.0)
    if math.isnan(seconds):
        return None
    match request:
        case Recognise(width=width, height=height, dpi=dpi, look=look):
            if has.tesseract is None or width < 1 or height < 1 or len(body) != width * height:
                return None
            if look is Look.TURN and not has.turns:
                return None
            how = ("--psm", "0", "-l", "osd") if look is Look.TURN else ("--psm", _MODES[look], "-l", "+".join(has.languages), "tsv")
            resolution = ("--dpi", str(min(max(dpi, 70), 600))) if dpi else ()
            given = b"P5\n%d %d\n255\n" % (width, height) + body
            return Job(has.tesseract, ("stdin", "stdout", *resolution, *how), given=given, most=_TABLE, seconds=seconds)
        case ListArchive(password=password) | UnpackArchive(password=password):
            if has.lsar is None or has.unar is None or "\0" in password or len(password) > _LONGEST_PASSWORD or not body:
                return None
            secret = ("-p", password) if password else ()
            if isinstance(request, ListArchive):
                return Job(has.lsar, ("-j", "-t", *secret, "{archive}"), archive=body, most=_LIST, seconds=seconds)
            line = ("-q", "-o", "-", "-nr", "-k", "skip", *secret, "{archive}")
            return Job(has.unar, line, archive=body, most=max(request.most, 0), seconds=seconds)
        case Drop():
            return None


class ToolBox(Tools):
    """The programs *has* over *link*; one message at a time."""

    def __init__(self, link: Link, has: Installed, lanes: int) -> None:
        self._link, self._has, self._lanes = link, has, lanes
        self._number, self._waited = 0, 0.0
        self._dropped: set[int] = set()
        self._open: dict[int, tuple[Requests, float]] = {}
        self._done: dict[int, tuple[Ran, bytes]] = {}

    @property
    def reads_pictures(self) -> bool:
        """Whether words in pictures can be recognised here."""
        return self._has.reads_pictures

    @property
    def unpacks_rar(self) -> bool:
        """Whether there is a program that unpacks RAR archives."""
        return self._has.unpacks_rar

    @property
    def turns(self) -> bool:
        """Whether it can be told which side of a picture is up."""
        return self._has.turns

    @property
    def lanes(self) -> int:
        """Pictures that are read at the same time, at most."""
        return self._lanes

    @property
    def waited(self) -> float:
        """Seconds that jobs have waited for a lane so far."""
        return self._waited

    def begin(self, picture: Picture, seconds: float, look: Look = Look.PAGE) -> int:
        """Has *picture* read; see ``Tools``."""
        if look is Look.TURN and not self.turns:
            raise ToolFault("there is no pack that tells which side is up")
        return self._ask(Recognise(seconds, picture.width, picture.height, picture.dpi, look), picture.grey)

    def next(self) -> tuple[int, Words | Unreadable]:
        """The job that ends first; see ``Tools``."""
        number = next((number for number in self._done if isinstance(self._open[number][0], Recognise)), None)
        while number is None:
            number = self._receive()
            if not isinstance(self._open[number][0], Recognise):
                number = None
        return number, self._words(number)

    def drop(self, number: int) -> None:
        """That outcome is not wanted any more; see ``Tools``."""
        if self._open.pop(number, None) is not None and self._done.pop(number, None) is None:
            self._dropped.add(number)
            self._link.ask(number, Drop(1.0), b"")

    def words(self, picture: Picture, seconds: float) -> Words:
        """The words in one picture; see ``Tools``."""
        number = self.begin(picture, seconds)
        while number not in self._done:
            self._receive()
        found = self._words(number)
        if isinstance(found, Unreadable):
            raise found
        return found

    def rar(self, archive: bytes, password: str, most: int, seconds: float) -> tuple[tuple[str, bytes], ...]:
        """Names and content of the members; see ``Tools``. Links and folders are left out."""
        if not self.unpacks_rar:
            raise ToolFault("there is no program that unpacks RAR archives")
        if "\0" in password or len(password) > _LONGEST_PASSWORD:
            raise Unreadable("a RAR archive that this password does not open")
        began = time.monotonic()
        listing = members(self._run(ListArchive(seconds, password), archive, "a RAR archive that cannot be unpacked"))
        if sum(size for _, size in listing) > most:
            raise OverLimit("it unpacks to more than the limit")
        left = seconds - (time.monotonic() - began)
        content = self._run(UnpackArchive(left, password, most), archive, "a RAR archive that cannot be unpacked")
        if len(content) != sum(size for _, size in listing):
            raise Unreadable("a RAR archive that cannot be unpacked")
        out, at = [], 0
        for name, size in listing:
            out.append((name, content[at : at + size]))
            at += size
        return tuple(out)

    def _run(self, request: Requests, body: bytes, failed: str) -> bytes:
        number = self._ask(request, body)
        while number not in self._done:
            self._receive()
        ran, output = self._taken(number)
        if ran.late:
            raise OverLimit("it takes too long to read")
        if ran.large:
            raise OverLimit("it unpacks to more than the limit")
        if ran.code != 0:
            raise Unreadable(failed)
        return output

    def _words(self, number: int) -> Words | Unreadable:
        request = self._open[number][0]
        assert isinstance(request, Recognise)
        ran, output = self._taken(number)
        if ran.late:
            return OverLimit("there was no time to read the words in it")
        if ran.large or ran.code is None or ran.code < 0:
            return Unreadable("the recognition of its words failed")
        if request.look is Look.TURN:
            return tool_words.turn(output) if ran.code == 0 else Words()
        if ran.code != 0:
            # It had a picture of our own making: what it lacks is its own, such as a language pack that was taken away.
            raise ToolFault(f"tesseract ended with exit code {ran.code}")
        return tool_words.words(output, request.height, _EDGES[request.look])

    def _taken(self, number: int) -> tuple[Ran, bytes]:
        ran, output = self._done.pop(number)
        del self._open[number]
        self._waited += ran.waited
        if ran.fault:
            raise ToolFault("a program could not be started")
        return ran, output

    def _ask(self, request: Requests, body: bytes) -> int:
        self._number += 1
        self._open[self._number] = (request, time.monotonic() + request.seconds)
        self._link.ask(self._number, request, body)
        return self._number

    def _receive(self) -> int:
        waiting = [end for number, (_, end) in self._open.items() if number not in self._done]
        if not waiting:
            raise ToolFault("nothing was asked")
        number, ran, body = self._link.answer(max(0.0, max(waiting) - time.monotonic()) + _GRACE)
        while number in self._dropped:  # it ended before the pool heard of it
            self._dropped.discard(number)
            number, ran, body = self._link.answer(max(0.0, max(waiting) - time.monotonic()) + _GRACE)
        if number not in self._open or number in self._done:
            raise ToolFault("an answer to no question")
        self._done[number] = ran, body
        return number


class _Here(Link):
    """Programs as children of this process."""

    def __init__(self, has: Installed, lanes: int, memory: int) -> None:
        self._has, self._runner = has, Runner(lanes, memory)
        self._owner = os.getpid()
        self._outcomes: list[tuple[int, Outcome]] = []

    def ask(self, number: int, request: Requests, body: bytes) -> None:
        if self._owner != os.getpid():  # a copy in a forked process: the programs are its parent's
            self._runner, self._owner = Runner(self._runner.lanes, self._runner.memory), os.getpid()
            self._outcomes.clear()
        if isinstance(request, Drop):
            self._runner.forget(number)
            self._outcomes = [one for one in self._outcomes if one[0] != number]
            return
        asked = job(request, body, self._has)
        if asked is None:
            raise ToolFault("a question that may not be asked")
        self._runner.begin(number, asked)

    def answer(self, seconds: float) -> tuple[int, Ran, bytes]:
        end = time.monotonic() + seconds
        while not self._outcomes:
            if time.monotonic() > end:
                raise ToolFault("a program does not end")
            done, _ = self._runner.turn(end - time.monotonic())
            self._outcomes += [(int(str(number)), outcome) for number, outcome in done]
        number, outcome = self._outcomes.pop(0)
        return number, ran(outcome), outcome.output


def ran(outcome: Outcome) -> Ran:
    """*outcome* as it travels."""
    return Ran(outcome.code, outcome.late, outcome.large, outcome.fault, outcome.waited)


def direct(limits: Limits) -> Tools | None:
    """The same programs without a service, as children of the process that asks; None where this machine has none of them.

    The process that asks must have one thread. The result may be made before a fork and used after it.
    """
    has = installed(limits)
    if not has.reads_pictures and not has.unpacks_rar:
        return None
    return ToolBox(_Here(has, limits.inspectors, limits.ocr_memory), has, limits.inspectors)
