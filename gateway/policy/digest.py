"""Mail to those who decide about held mail: what waits each day, and whose deadline is near.

What it is: pure functions that make whole messages, ``daily`` and ``near``. The same arguments give the same octets.
Who calls it: ``keeper.digests``.
Must never: carry a subject, a text, an address of a message or a name of a file; of sealed mail more than reference, rule and deadline.
Sources: RFC 3834 (section 5: Auto-Submitted); hostile-inputs catalogue L05.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.policy.explanations import Explanations
from gateway.policy.notice import compose
from gateway.policy.report_text import india_time


@dataclass(frozen=True, slots=True)
class Item:
    """One held record. *level*: empty where it is not marked, or sealed; *deadline*: seconds since the epoch."""

    reference: str
    rule: str
    level: str
    deadline: float


@dataclass(frozen=True, slots=True)
class Frame:
    """What both kinds need. *url*: of the page, empty without one; *now*: seconds since the epoch."""

    to: str
    hostname: str
    url: str
    now: float
    explanations: Explanations
    languages: tuple[str, ...]


def daily(frame: Frame, states: Mapping[str, int], soon: int, until: float, first: Sequence[Item]) -> bytes:
    """What waits: how many by state, how many whose deadline is before *until*, and those with the *first* deadlines."""
    words = {
        "hostname": frame.hostname, "count": str(sum(states.values())), "held": str(states.get("held", 0)),
        "requested": str(states.get("requested", 0)), "approved": str(states.get("approved", 0)),
        "soon": str(soon), "time": india_time(until),
    }  # fmt: skip
    return _message("digest", frame, words, ("digest-states", "digest-soon", "digest-first"), first)


def near(frame: Frame, items: Sequence[Item], more: int) -> bytes:
    """Those whose deadline is near; *more* of them are not listed."""
    words = {"hostname": frame.hostname, "count": str(len(items) + more), "more": str(more)}
    return _message("deadline", frame, words, ("deadline-more",) if more else (), items)


def _message(kind: str, frame: Frame, words: Mapping[str, str], keys: Sequence[str], items: Sequence[Item]) -> bytes:
    lines: list[tuple[str, Mapping[str, str]]] = [
        (
            "digest-item" if one.level else "digest-item-unmarked",
            {"reference": one.reference, "rule": one.rule, "level": one.level, "time": india_time(one.deadline)},
        )
        for one in items
    ]
    if frame.url:
        lines.append(("digest-link", {"url": frame.url}))
    lines.append(("digest-without", {}))
    return compose(kind, "", frame.to, frame.hostname, frame.now, frame.explanations, frame.languages, words, keys, lines)
