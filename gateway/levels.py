"""The classification ladder.

What it is: one ordered enumeration, and its spelling in the headers that name it.
Who calls it: everything that speaks of a level.
Must never: know terms, languages or rules (those are data in rules/scheme.toml).
Sources: J&K Circular 26-JK(GAD) of 2024 (four grades); PSPF Email Protective Marking Standard (X-Protective-Marking).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Level(enum.IntEnum):
    """A grade of classification. Absence of any grade is ``None``, which is not UNCLASSIFIED."""

    UNCLASSIFIED = 0
    RESTRICTED = 1
    CONFIDENTIAL = 2
    SECRET = 3
    TOP_SECRET = 4

    @property
    def text(self) -> str:
        """The level as people write it: ``TOP SECRET``."""
        return self.name.replace("_", " ")

    @property
    def epms(self) -> str:
        """The level as X-Protective-Marking writes it: ``TOP-SECRET``."""
        return self.name.replace("_", "-")

    @property
    def ess(self) -> int:
        """The RFC 2634 SecurityClassification integer (0 is "unmarked" there)."""
        return self.value + 1

    @property
    def ocsf(self) -> int:
        """OCSF confidentiality_id: 1 Not Confidential, 6 Restricted, 2 Confidential, 3 Secret, 4 Top Secret."""
        return (1, 6, 2, 3, 4)[self.value]

    @classmethod
    def parse(cls, text: str) -> Level:
        """The level named by *text* (``TOP SECRET``, ``top-secret``, ``TOP_SECRET``). Raises ValueError."""
        name = "_".join(text.replace("-", " ").replace("_", " ").split()).upper()
        try:
            return cls[name]
        except KeyError:
            raise ValueError(f"not a classification level: {text!r}") from None


def highest(levels: Iterable[Level | None]) -> Level | None:
    """The highest of *levels*; ``None`` when none of them is set."""
    top: Level | None = None
    for level in levels:
        if level is not None and (top is None or level > top):
            top = level
    return top
