"""Locks of a message: which passwords are tried, in which order, at what cost, and what the inspection says when one fits."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway import content
from gateway.config import Limits
from gateway.content import recognition, walk
from gateway.content.recognition import Recognised
from gateway.content.unlocking import Locked, Trial
from gateway.extraction.base import Budget, Child, Extractor, Found, Picture, Piece, Scan, Unreadable
from gateway.levels import Level
from gateway.protection import PASSWORD_GIVEN, Protection, ProtectionState
from gateway.text import passwords
from gateway.text.markings import Segment
from gateway.verdict import Inspection, LeafState, Zone
from tests.content_mail import inspect, mail, scheme, zipped

CRYPTO = Path(__file__).parent / "fixtures" / "crypto"
PASSWORD = "Tulip-7-Jhelum"
STRONG = Protection(ProtectionState.STRONG, "test", "AES-256-CTR", 256)


@dataclass(slots=True)
class Door:
    """A lock that notes what was tried on it."""

    password: str
    inside: bytes | tuple[Child, ...] = b"TOP SECRET\n\nplans\n"
    seconds: float = 0.001
    tried: list[str] = field(default_factory=list)

    def open(self, password: str, budget: Budget) -> bytes | tuple[Child, ...] | None:
        self.tried.append(password)
        return self.inside if password == self.password else None


def locked(*doors: Door, place: str = "2:a.zip") -> list[Locked]:
    return [Locked(f"{place}/{number}", 1, Child(str(number)), door) for number, door in enumerate(doors)]


class TestTrial:
    def test_what_opens_one_is_tried_on_all_others_at_once(self) -> None:
        doors = [Door("w7") for _ in range(20)]
        words = [f"w{number}" for number in range(50)]
        opened = Trial(Budget(Limits())).run(locked(*doors), words, Budget(Limits()))
        assert len(opened) == 20
        assert len(doors[0].tried) == 8
        assert all(door.tried == ["w7"] for door in doors[1:])

    def test_the_cheap_and_the_likely_come_first(self) -> None:
        dear, cheap = Door("none", seconds=0.5), Door("none", seconds=0.01)
        parts = [Locked(str(number), 0, Child(""), door) for number, door in enumerate((dear, cheap), 1)]
        assert Trial(Budget(Limits())).run(parts, [f"w{number}" for number in range(100)], Budget(Limits())) == ()
        assert dear.tried == [f"w{number}" for number in range(6)]  # 3 s of 10 for one lock
        assert len(cheap.tried) == 99 or len(cheap.tried) == 100

    def test_unlikely_words_are_for_cheap_locks(self) -> None:
        def tried(seconds: float) -> int:
            door = Door("none", seconds=seconds)
            Trial(Budget(Limits())).run(locked(door), [f"w{number}" for number in range(320)], Budget(Limits()))
            return len(door.tried)

        assert tried(0.002) == 320  # a member of a zip
        assert tried(0.02) == 59  # 1.2 s of 10: RAR 5
        assert tried(0.065) == 24  # an Office document: what is likely, and no more
        assert tried(1.2) == 2  # Argon2id

    def test_the_account_is_the_same_each_time_and_for_all_rounds(self) -> None:
        def once() -> list[int]:
            doors = [Door("none", seconds=0.05) for _ in range(30)]
            trial, parts = Trial(Budget(Limits())), locked(*doors)
            for _ in range(3):
                trial.run(parts, [f"w{number}" for number in range(100)], Budget(Limits()))
            return [len(door.tried) for door in doors]

        first = once()
        assert first == once()
        assert sum(first) == 80  # 4 s of 10, each word once
        assert max(first) <= 60

    def test_nothing_is_tried_twice(self) -> None:
        door = Door("none")
        trial, parts = Trial(Budget(Limits())), locked(door)
        for _ in range(3):
            trial.run(parts, ["a1", "b2", "a1"], Budget(Limits()))
        assert door.tried == ["a1", "b2"]

    def test_a_lock_that_fails_is_open_and_unreadable(self) -> None:
        class Broken(Door):
            def open(self, password: str, budget: Budget) -> bytes | None:
                raise Unreadable("a test archive that is broken")

        (opened,) = Trial(Budget(Limits())).run(locked(Broken("x")), ["x1"], Budget(Limits()))
        assert (opened.content, opened.fault) == ((), "a test archive that is broken")


def read(message: bytes, table: Mapping[str, Extractor]) -> Inspection:
    return walk.read_message(message, "", Limits(), scheme(), {**content.TABLE, **table}, want_text=True)


def closed_zip(*doors: Door) -> dict[str, Extractor]:
    def extract(piece: Piece, budget: Budget) -> Found:
        members = [
            Child(f"{number}.txt", size=100, state=LeafState.OPAQUE, protection=STRONG, lock=door) for number, door in enumerate(doors)
        ]
        return Found(children=tuple(members), container=True)

    return {"zip": extract}


class TestWalk:
    def test_E05_members_and_their_archive_become_weak(self) -> None:
        doors = [Door(PASSWORD), Door(PASSWORD)]
        found = read(mail(zipped(("a", b"b")), "a.zip", body=f"password: {PASSWORD}"), closed_zip(*doors))
        top, *members = (one for one in found.leaves if one.path.startswith("2:"))
        assert top.protection.state is ProtectionState.WEAK
        assert [(one.protection.state, one.state, one.reason) for one in members] == [
            (ProtectionState.WEAK, LeafState.SUSPECT, PASSWORD_GIVEN)
        ] * 2
        assert {one.level for one in found.findings} == {Level.TOP_SECRET}

    def test_E05_without_the_password_all_stays_strong(self) -> None:
        found = read(mail(zipped(("a", b"b")), "a.zip"), closed_zip(Door(PASSWORD)))
        assert [one.protection.state for one in found.leaves if one.path.startswith("2:")] == [ProtectionState.STRONG] * 2

    def test_E05_an_archive_that_opens_as_a_whole(self) -> None:
        inside = (Child("note.txt", b"SECRET\n\nplans\n"), Child("next.txt", b"words\n"))

        def extract(piece: Piece, budget: Budget) -> Found:
            return Found(state=LeafState.OPAQUE, protection=STRONG, lock=Door(PASSWORD, inside))

        found = read(mail(zipped(("a", b"b")), "a.zip", subject=f"pw {PASSWORD}"), {"zip": extract})
        assert [(one.path, one.state) for one in found.leaves if one.path.startswith("2:")] == [
            ("2:a.zip", LeafState.SUSPECT), ("2:a.zip/note.txt", LeafState.INSPECTED), ("2:a.zip/next.txt", LeafState.INSPECTED),
        ]  # fmt: skip
        assert {one.level for one in found.findings} == {Level.SECRET}

    def test_E05_each_opened_file_gives_away_the_next(self) -> None:
        last = Door("Third-3")
        second = Door("Second-2", (Child("b.txt", b"password: Third-3\n"),))
        first = Door("First-1", (Child("a.txt", b"password: Second-2\n"),))
        found = read(mail(zipped(("a", b"b")), "a.zip", body="password: First-1"), closed_zip(first, second, last))
        assert {one.level for one in found.findings} == {Level.TOP_SECRET}

    def test_E05_a_password_shown_in_a_picture(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def recognise(jobs: object, budget: Budget) -> tuple[Recognised, ...]:
            return (Recognised((Segment(f"password: {PASSWORD}", Zone.BODY),), complete=True),)

        def render(budget: Budget) -> Picture:
            raise AssertionError("not asked for here")

        def extract(piece: Piece, budget: Budget) -> Found:
            shut = Child("shut.txt", size=9, state=LeafState.OPAQUE, protection=STRONG, lock=Door(PASSWORD))
            shown = Child("shown.png", size=9, state=LeafState.UNINSPECTABLE, scans=(Scan(render),))
            return Found(children=(shut, shown), container=True)

        monkeypatch.setattr(recognition, "recognise", recognise)
        found = read(mail(zipped(("a", b"b")), "a.zip"), {"zip": extract})
        states = {one.path.rpartition("/")[2]: (one.state, one.protection.state) for one in found.leaves}
        assert states["shut.txt"] == (LeafState.SUSPECT, ProtectionState.WEAK)
        assert states["shown.png"][0] is LeafState.INSPECTED

    def test_a_message_without_locks_asks_for_no_words(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def candidates(*texts: object) -> tuple[str, ...]:
            raise AssertionError("nothing is closed here")

        monkeypatch.setattr(passwords, "candidates", candidates)
        assert inspect(mail(b"words\n", "a.txt", "text/plain")).leaves

    def test_E24_an_encrypted_file_in_a_zip_in_a_mail(self) -> None:
        strong = (CRYPTO / "aes256.gpg").read_bytes()
        inner = mail(zipped(("deep/note.gpg", strong)), "papers.zip")
        found = inspect(mail(inner, "fwd.eml", "message/rfc822"))
        assert [one.path for one in found.leaves if one.protection.state is ProtectionState.STRONG][-1].endswith("papers.zip/deep/note.gpg")
        opened = inspect(mail(inner, "fwd.eml", "message/rfc822", body=f"password: {PASSWORD}"))
        assert all(one.protection.state is not ProtectionState.STRONG for one in opened.leaves)
        assert any(one.level is Level.CONFIDENTIAL for one in opened.findings)

    def test_E05_the_same_message_has_the_same_verdict(self) -> None:
        message = (CRYPTO / "gpg-long.eml").read_bytes()
        assert inspect(message) == inspect(message)

    def test_an_armoured_file_is_one_leaf(self) -> None:
        armoured = (CRYPTO / "armoured.asc").read_bytes().replace(b"\n", b"\r\n")
        head = (
            b"From: a@example.gov.in\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=a.asc\r\n"
            b"Content-Disposition: attachment; filename=a.asc\r\n"
        )
        plain = inspect(head + b"\r\n" + armoured)
        encoded = inspect(head + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(armoured).replace(b"\n", b"\r\n"))
        for found in (plain, encoded):
            assert [(one.path, one.protection.state) for one in found.leaves] == [("1:a.asc", ProtectionState.STRONG)]
