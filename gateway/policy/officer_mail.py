"""Mail about what officers do on their page, and the word to an officer that his message was released.

What it is: four pure functions that make whole messages. The same arguments give the same octets.
Who calls it: ``keeper.officers`` and ``keeper.officer_answer``.
Must never: carry a subject, a text or a name of a file of the message; let a word from outside break a line or a header.
Sources: RFC 3834 (sections 4 and 5: Auto-Submitted); RFC 5322; hostile-inputs catalogue L05.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.policy import notice
from gateway.policy.explanations import Explanations, clean
from gateway.policy.report_text import india_time

_PIECE = 800  # characters of one line of what somebody wrote
_ADDRESS = 254


@dataclass(frozen=True, slots=True)
class About:
    """The message that a mail is about. Times are seconds since the epoch."""

    reference: str
    sender: str
    rule: str
    title: str
    deadline: float = 0
    url: str = ""
    """The item on the review page; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Frame:
    """To whom, from where and in what languages."""

    to: str
    hostname: str
    now: float
    explanations: Explanations
    languages: Sequence[str]


def requested(about: About, frame: Frame) -> bytes:
    """To a reviewer: the originator asks for release. What he wrote stands on the page."""
    return _make("requested", about, frame, "")


def requested_refused(about: About, text: str, frame: Frame) -> bytes:
    """To the contact: the originator of refused mail, of which nothing is kept, asks for it with *text* (empty: not to be sent)."""
    return _make("requested-refused", about, frame, text)


def objected(about: About, text: str, frame: Frame) -> bytes:
    """To whoever answers for the rule: the originator says with *text* that it is a mistake."""
    return _make("objection", about, frame, text)


def answered(about: About, frame: Frame) -> bytes:
    """To the reviewer who asked: there is an answer, on the page."""
    return _make("answered", about, frame, "")


def released(reference: str, recipients: Sequence[str], waiting: int, url: str, frame: Frame) -> bytes:
    """To the originator: what he asked for was released to *recipients*; *waiting* more still wait. *url* may be empty."""
    words = {"reference": reference, "count": str(waiting), "url": url, "hostname": frame.hostname}
    lines: list[tuple[str, Mapping[str, str]]] = [("released-to", {"recipient": clean(one, _ADDRESS)}) for one in recipients]
    lines += [("released-waits", words)] if waiting else []
    lines += [("released-link", words)] if url else []
    return notice.compose(
        "released", reference, frame.to, frame.hostname, frame.now, frame.explanations, frame.languages, words, ("reference",), lines
    )


def _make(kind: str, about: About, frame: Frame, text: str) -> bytes:
    words = {
        "reference": about.reference, "sender": clean(about.sender, _ADDRESS), "rule": about.rule, "title": about.title, "url": about.url,
        "time": india_time(about.deadline) if about.deadline else "", "hostname": frame.hostname,
    }  # fmt: skip
    keys = ["reference", "notice-sender", "notice-rule"]
    keys += ["forwarded-until"] if about.deadline else []
    keys += ["forwarded-link"] if about.url else []
    pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    lines: list[tuple[str, Mapping[str, str]]] = [
        ("officer-wrote" if place == 0 else "officer-wrote-on", {"note": piece}) for place, piece in enumerate(pieces)
    ]
    return notice.compose(
        kind, about.reference, frame.to, frame.hostname, frame.now, frame.explanations, frame.languages, words, keys,
        [*lines, ("notice-without", words)],
    )  # fmt: skip
