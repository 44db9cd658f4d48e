"""What to look for in texts besides markings.

What it is: ``Watch``, the topics and what the domain lists say of a host; it rides along in the Scheme, so that whoever has the
one has the other.
Who calls it: the policy makes it; ``scheme`` holds it; ``observing`` uses it.
Must never: do I/O.
Source: docs/design.md section 5 (rules are data).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.text.topics import Topics


class Known(NamedTuple):
    """What the domain lists say of one host."""

    tier: str
    service: str
    """cloud, messenger or nothing."""


def nothing_known(_: str) -> Known:
    """Every domain where there are no lists."""
    return Known("other", "")


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """What to look for besides markings."""

    topics: Topics
    known: Callable[[str], Known] = nothing_known
    """What the domain lists say of a domain in lower-case A-labels."""


NOTHING = Watch(Topics.parse(""))
"""For a scheme by itself: no topics and no lists; identifiers, links and file numbers are seen all the same."""
