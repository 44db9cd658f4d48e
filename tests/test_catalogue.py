"""Every id of the hostile-inputs catalogue that relay, doors and inspection answer for has a test by its name, or a reason why not."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
NAMED = re.compile(r"def test_(?:[a-z_]*_)?((?:[A-Z]\d\d_)+)")

LATER = {
    "A30": "there are no aliases in the gateway: nothing expands",
}
WANTED = [
    *(f"S{n:02}" for n in range(1, 45)),
    *(f"A{n:02}" for n in range(1, 34)),
    *(f"L{n:02}" for n in range(1, 12)),
    *(f"T{n:02}" for n in range(1, 13)),
    *(f"I{n:02}" for n in range(1, 14)),
    *(f"M{n:02}" for n in range(1, 33)),
    *(f"C{n:02}" for n in range(1, 11)),
    *(f"Z{n:02}" for n in range(1, 15)),
    *(f"D{n:02}" for n in range(1, 14)),
    *(f"E{n:02}" for n in range(1, 25)),
    *(f"O{n:02}" for n in (*range(1, 9), 12, 13, 15, 16, 17, 18, 21, 22, 23, 24)),
]


def test_every_id_has_a_test_or_a_reason() -> None:
    found: set[str] = set()
    for file in TESTS.rglob("test_*.py"):
        for ids in NAMED.findall(file.read_text("utf-8")):
            found.update(part for part in ids.split("_") if part)
    missing = [identity for identity in WANTED if identity not in found and identity not in LATER]
    assert missing == []
    assert not [identity for identity in LATER if identity not in WANTED]
