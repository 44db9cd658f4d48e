"""The ordinary messages of tests/corpus/ordinary and what becomes of each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus" / "ordinary"
OFFICER = "asha.verma@it.gujarat.gov.in"
STRANGER = "citizen@example.org"
OFFICIALS = ("desk@finance.nic.in", "desk@it.gujarat.gov.in")
APPROVED = "works@cdac.in"
ADDED = ("received", "authentication-results", "x-gateway-reference")
"""The fields that are written above a message without any marking."""


@dataclass(frozen=True)
class Case:
    """One message, its envelope, and what is expected."""

    name: str
    way: str
    sender: str
    inside: str = ""
    outside: str = ""
    tags: frozenset[str] = frozenset()
    packs: frozenset[str] = frozenset()
    application: str = ""

    @property
    def content(self) -> bytes:
        """The octets of the message."""
        return (FOLDER / f"{self.name}.eml").read_bytes()

    @property
    def comes_in(self) -> bool:
        """Whether a stranger hands it in."""
        return self.way.endswith("in")

    @property
    def recipients(self) -> tuple[str, ...]:
        """To whom it goes."""
        return (OFFICER,) if self.comes_in else (*OFFICIALS, APPROVED)

    def expected(self, recipient: str) -> tuple[str, str]:
        """Disposition and rule for *recipient*; no rule is told for what is delivered."""
        if recipient == APPROVED:
            word, _, rule = self.outside.partition(":")
            return (word, rule) if word else ("deliver", "")
        return ("hold", self.inside) if self.inside else ("deliver", "")


def cases() -> tuple[Case, ...]:
    """Every message of expect.toml."""
    table = tomllib.loads((FOLDER / "expect.toml").read_text("utf-8"))
    found = []
    for name, row in table.items():
        way = row.pop("way")
        sender = row.pop("sender", {"in": STRANGER, "out": OFFICER}.get(way, ""))
        row |= {key: frozenset(row[key]) for key in ("tags", "packs") if key in row}
        found.append(Case(name, way, sender, **row))
    return tuple(found)


def above(out: bytes, content: bytes) -> list[str]:
    """The names of the fields that stand above *content* in *out*, in small letters; AssertionError where *content* was touched."""
    assert out.endswith(content), "the message itself was changed"
    section = out[: len(out) - len(content)]
    if not content.startswith(b"\r\n"):
        assert not section or section.endswith(b"\r\n")
    return [line.partition(b":")[0].decode().lower() for line in section.split(b"\r\n") if line and line[:1] not in (b" ", b"\t")]
