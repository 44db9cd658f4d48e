"""What both generations of RAR have in common once their headers are read.

What it is: ``Closed`` (how something is encrypted), ``Member`` (a file or a service block) and ``Contents`` (an archive's).
Who calls it: ``archives.rar4``, ``archives.rar5`` and ``archives.rar``.
Must never: hold more than the headers say.
Sources: "RAR 5.0 archive format" (rarlab.com); technote.txt of RAR 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DAMAGED = "it is damaged: a header is broken"
HEADER_CAP = 2 << 20
"""Octets of one header; the format allows no more."""
VOLUME = "it is one volume of several"


@dataclass(frozen=True, slots=True)
class Closed:
    """Encryption of a member or of all headers. *power* and *check* are of RAR 5 only."""

    generation: int
    salt: bytes
    vector: bytes = b""
    power: int = 0
    """Rounds of the key derivation, as a power of two."""
    check: bytes = b""
    """Eight octets that depend on the password; empty where there are none."""
    tweaked: bool = False
    """Checksums depend on the password, too."""
    fault: str = ""
    """Why nothing can be said of it: an old cipher, an unknown version."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file, or one service block (*service* is its name). *header* is as it stands in the archive, decrypted."""

    name: str
    size: int
    start: int
    end: int
    header: bytes
    crc: int | None = None
    stored: bool = False
    is_folder: bool = False
    link: str = ""
    is_link: bool = False
    solid: bool = False
    service: str = ""
    closed: Closed | None = None
    blake: bytes = b""
    """BLAKE2sp of the content, where the archive has that in place of a checksum."""


@dataclass(slots=True)
class Contents:
    """All members in order. *closed* is set where the headers are encrypted and were not opened."""

    generation: int
    members: list[Member] = field(default_factory=list)
    problems: dict[str, None] = field(default_factory=dict)
    solid: bool = False
    volume: bool = False
    closed: Closed | None = None
    closed_from: int = 0
    """Where the encrypted headers begin."""
