"""Mail of reviewers: the question to an originator, and the word to a colleague that an item was handed to him.

What it is: two pure functions that make whole messages. The same arguments give the same octets.
Who calls it: ``keeper.remarks``.
Must never: carry a subject, a text or a name of a file of the message; let a word from outside break a line or a header.
Sources: RFC 3834 (sections 4 and 5: Auto-Submitted); RFC 5322; hostile-inputs catalogue L05.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.policy import notice
from gateway.policy.explanations import Explanations
from gateway.policy.report_text import india_time


def question(
    reference: str, text: str, url: str, contact: str, to: str, hostname: str, now: float, explanations: Explanations,
    languages: Sequence[str],
) -> bytes:  # fmt: skip
    """The reviewer's question *text* to the originator *to*, who answers at *url*, or to *contact* where that is empty."""
    words = {"reference": reference, "note": text, "url": url, "contact": contact, "hostname": hostname}
    keys = ("reference", "question-text", "question-link" if url else "question-contact")
    return notice.compose("question", reference, to, hostname, now, explanations, languages, words, keys)


def forwarded(
    reference: str, author: str, rule: str, title: str, level: str, deadline: float, url: str, to: str, hostname: str, now: float,
    explanations: Explanations, languages: Sequence[str],
) -> bytes:  # fmt: skip
    """The word to the person *to* that *author* handed him a held message; *url* may be empty, times are seconds since the epoch."""
    words = {
        "reference": reference, "sender": author, "rule": rule, "title": title, "level": level, "time": india_time(deadline), "url": url,
        "hostname": hostname,
    }  # fmt: skip
    keys = ["reference", "notice-rule", "notice-level" if level else "notice-unmarked", "forwarded-until"]
    keys += ["forwarded-link", "notice-without"] if url else ["notice-without"]
    return notice.compose("forwarded", reference, to, hostname, now, explanations, languages, words, keys)
