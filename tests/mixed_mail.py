"""Messages of every kind with envelopes of every kind, the same for the same seed: for tests that compare two ways of one message.

Marked and unmarked text in three languages, documents and archives in the clear and encrypted, the published shapes of broken MIME, the
stored messages of the corpus and of the rules, and each of these with some of its octets changed.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.message import prescan
from tests import mime_shapes
from tests.content_mail import CORPUS, mail

HERE = Path(__file__).parent
OFFICER, STRANGER = "officer@dept.gov.in", "citizen@example.org"
LOCAL = ("clerk@dept.gov.in", "postmaster@dept.gov.in", "head@sub.dept.gov.in")
"""Recipients whom strangers may write to."""
OTHERS = (
    "so.budget@finance.nic.in", "x@ministry.gov.in", "staff@team-external.gov.in", "incident@cert-in.org.in", "someone@gmail.com",
    "nobody@example.com", "desk@finance.g0v.in",
)  # fmt: skip
"""Government, government-external, approved, private, unknown, and what only looks like government."""
MARKS = ("", "", "", "UNCLASSIFIED", "RESTRICTED", "CONFIDENTIAL", "SECRET", "TOP SECRET", "गोपनीय", "ગોપનીય")
_TEXTS = (
    "Sir, the papers that were asked for are enclosed for information.", "The meeting stands postponed to next Tuesday, 11:30.",
    "कृपया संलग्न पत्र देखें।", "See https://drive.google.com/file/d/1abc for the file.", "Aadhaar 2345 6789 0124, PAN ABCPE1234F.",
)  # fmt: skip


@dataclass(frozen=True)
class Mixed:
    """One message with its envelope."""

    name: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def ours(self) -> bool:
        """Whether an officer hands it in (a client of a listed network), or a stranger."""
        return self.sender != STRANGER


def messages(count: int, seed: int = 6) -> Iterator[Mixed]:
    """*count* of them."""
    dice = random.Random(seed)
    for number in range(count):
        name, content = _content(dice)
        if dice.random() < 0.2:
            name, content = f"{name}, changed", _changed(dice, content)
        sender = dice.choice((OFFICER, OFFICER, OFFICER, OFFICER, "", STRANGER))
        known = LOCAL if sender == STRANGER else (*LOCAL, *OTHERS)
        recipients = tuple(dice.sample(known, dice.randint(1, min(4, len(known)))))
        yield Mixed(f"{number}: {name}", sender, recipients, content)


def _content(dice: random.Random) -> tuple[str, bytes]:
    way = dice.choice((_text, _text, _attachment, _attachment, _attachment, _shape, _stored))
    return way(dice)


def _text(dice: random.Random) -> tuple[str, bytes]:
    mark, subject_mark = dice.choice(MARKS), dice.choice(MARKS)
    head = [f"From: {OFFICER}", "To: undisclosed-recipients:;", f"Message-ID: <{dice.getrandbits(60):x}@dept.gov.in>"]
    head.append(f"Subject: {subject_mark if subject_mark.isascii() else ''} Note on item {dice.randint(1, 99)}")
    if dice.random() < 0.2:
        head.append('SIO-Label: marking="RESTRICTED"; fgcolor="black"')
    if dice.random() < 0.1:
        head += ["Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000", "Authentication-Results: gw1.dept.gov.in; dkim=pass"]
    head += ["MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"]
    body = [mark, "", dice.choice(_TEXTS), dice.choice(_TEXTS)]
    return f"text {mark or 'unmarked'}", ("\r\n".join([*head, "", *body]) + "\r\n").encode()


@functools.cache
def _files() -> tuple[Path, ...]:
    return tuple(sorted(one for one in CORPUS.iterdir() if one.suffix not in (".sh", ".py", ".eml") and one.stat().st_size < 200_000))


def _attachment(dice: random.Random) -> tuple[str, bytes]:
    file, mark = dice.choice(_files()), dice.choice(MARKS)
    name = file.name
    return f"{mark or 'unmarked'} with {name}", mail(file.read_bytes(), name, body=f"{mark}\r\n\r\n{dice.choice(_TEXTS)}")


@functools.cache
def _shapes() -> tuple[tuple[str, bytes], ...]:
    return tuple(mime_shapes.messages().items())


def _shape(dice: random.Random) -> tuple[str, bytes]:
    return dice.choice(_shapes())


@functools.cache
def _all_stored() -> tuple[Path, ...]:
    folders = (
        HERE / "corpus" / "mime",
        HERE / "corpus" / "ordinary",
        HERE.parent / "rules" / "policy" / "examples",
        HERE.parent / "samples",
    )
    return tuple(file for folder in folders for file in sorted(folder.glob("*.eml")) if file.stat().st_size < 200_000)


def _stored(dice: random.Random) -> tuple[str, bytes]:
    file = dice.choice(_all_stored())
    return file.name, prescan.canonical(file.read_bytes())


def _changed(dice: random.Random, content: bytes) -> bytes:
    """*content* with some octets changed that no protocol minds: line ends stay."""
    octets = bytearray(content)
    for _ in range(dice.randint(1, 8)):
        place = dice.randrange(len(octets))
        if octets[place] not in b"\r\n":
            octets[place] = dice.choice(b'-:;="/()<>@ \t.abcXYZ019\x7f\xe0\xff')
    return bytes(octets)
