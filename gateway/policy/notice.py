"""Notices to contacts of the department: that a decision was made, without anything of the message.

What it is: two pure functions that make whole messages, ``notice`` and ``more``, and ``compose``, from which other mail of ours is made.
The same arguments give the same octets.
Who calls it: ``keeper.notify``; ``review_mail``.
Must never: carry a subject, a text or a name of a file; let a word from outside break a line or a header; ask for an answer.
Sources: RFC 3834 (sections 4 and 5: Auto-Submitted); RFC 5322; rules/README.md, R8; hostile-inputs catalogue L05.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.policy.explanations import Explanations, clean
from gateway.policy.header_edits import encoded, mail_date
from gateway.policy.report_text import india_time

_ADDRESS = 254  # characters of an address


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one decision."""

    reference: str
    rule: str
    title: str
    level: str
    """``CONFIDENTIAL`` …; empty where the message is not marked."""
    sender: str
    """Empty for the null sender."""
    delivered: int
    held: int
    refused: int


def notice(told: Told, to: str, hostname: str, now: float, explanations: Explanations, languages: Sequence[str]) -> bytes:
    """The notice about one decision, to the address *to*; *now* in seconds since the epoch."""
    words = {
        "reference": told.reference, "hostname": hostname, "time": india_time(now), "rule": told.rule, "title": told.title,
        "level": told.level, "sender": clean(told.sender, _ADDRESS) or "<>", "count": str(told.delivered + told.held + told.refused),
        "delivered": str(told.delivered), "held": str(told.held), "refused": str(told.refused),
    }  # fmt: skip
    level = "notice-level" if told.level else "notice-unmarked"
    keys = ("reference", "notice-time", "notice-rule", level, "notice-sender", "notice-done", "notice-without")
    return compose("notice", told.reference, to, hostname, now, explanations, languages, words, keys)


def more(
    rule: str, title: str, count: int, since: float, to: str, hostname: str, now: float, explanations: Explanations,
    languages: Sequence[str],
) -> bytes:  # fmt: skip
    """The one notice for *count* decisions of the hour from *since* that were not told one by one."""
    words = {"hostname": hostname, "time": india_time(since), "rule": rule, "title": title, "count": str(count)}
    return compose("notice-more", "", to, hostname, now, explanations, languages, words, ("notice-rule", "notice-without"))


def compose(
    kind: str, reference: str, to: str, hostname: str, now: float, explanations: Explanations, languages: Sequence[str],
    words: Mapping[str, str], keys: Sequence[str], lines: Sequence[tuple[str, Mapping[str, str]]] = (),
) -> bytes:  # fmt: skip
    """The message of *kind* (``subject-KIND`` and ``intro-KIND`` are phrases), with the phrases *keys*, and then *lines*, phrases with
    words of their own, in each of *languages*."""
    spoken = tuple(languages) or ("en",)
    blocks = []
    for lang in spoken:
        said = ((f"intro-{kind}", words), *((key, words) for key in keys), *lines, ("automatic", words))
        intro, *rest = (explanations.phrase(key, lang, own) for key, own in said)
        blocks.append("\r\n".join([intro, "", *rest]))
    text = ("\r\n\r\n" + "-" * 60 + "\r\n\r\n").join(blocks) + "\r\n"
    octets = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    digest = hashlib.sha256("\0".join((kind, to, *words.values())).encode("utf-8", "replace")).hexdigest()[:24]
    subject = explanations.phrase(f"subject-{kind}", spoken[0], words) + (f" ({reference})" if reference else "")
    heading = [
        f"From: Mail gateway <mailer-daemon@{hostname}>",
        f"To: <{to}>",
        f"Subject: {encoded(subject)}",
        f"Date: {mail_date(now)}",
        f"Message-ID: <{kind}.{int(now)}.{digest}@{hostname}>",
        "Auto-Submitted: auto-generated",
        *([f"X-Gateway-Reference: {reference}"] if reference else []),
        f"Content-Language: {', '.join(spoken)}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        "",
    ]
    written = [*heading, *(octets[start : start + 76] for start in range(0, len(octets), 76)), ""]
    return "\r\n".join(written).encode("utf-8")
