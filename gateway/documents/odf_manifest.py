"""The manifest of an OpenDocument package: what it says of each member, encryption included.

What it is: ``read``, on expat.
Who calls it: the ODF reader and its protection.
Must never: be taken for a proof of anything; accept entities of its own making.
Sources: OpenDocument 1.3 part 2 sections 3 and 4; LibreOffice's extensions (loext: Argon2id, encrypted-package, OpenPGP keys).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field, replace

from gateway.documents.xml_parsing import parse
from gateway.extraction.base import OverLimit, Unreadable

_DEEPEST = 30
_NUMBER = 9  # digits


@dataclass(frozen=True, slots=True)
class Encryption:
    """The encryption-data of one member, as claimed. Names are lower case and without their namespace."""

    algorithm: str = ""
    vector: bytes = b""
    start_key: str = "sha1"
    start_bytes: int = 20
    derivation: str = ""
    key_bytes: int = 16
    iterations: int = 0
    memory: int = 0
    """KiB, of Argon2id."""
    lanes: int = 0
    salt: bytes = b""
    checksum_type: str = ""
    checksum: bytes = b""


@dataclass(frozen=True, slots=True)
class Member:
    """One file-entry."""

    path: str
    media_type: str = ""
    size: int = -1
    """Octets before packing; -1 where it is not said."""
    encryption: Encryption | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """All file-entries in order."""

    members: tuple[Member, ...]
    keyed: bool = False
    """The key stands in the manifest itself, wrapped for OpenPGP keys."""

    @property
    def media_type(self) -> str:
        """Of the document as a whole; empty where it is not said."""
        return next((one.media_type for one in self.members if one.path in ("/", "encrypted-package")), "")


@dataclass(slots=True)
class _State:
    members: list[Member] = field(default_factory=list)
    keyed: bool = False
    depth: int = 0


def read(data: bytes) -> Manifest:
    """The manifest in *data*. Raises Unreadable for broken XML or an entity, OverLimit for deep nesting."""
    state = _State()

    def start(name: str, attributes: dict[str, str]) -> None:
        state.depth += 1
        if state.depth > _DEEPEST:
            raise OverLimit("its manifest is nested deeper than the limit")
        _element(state, name.rpartition(":")[2].lower(), {key.rpartition(":")[2]: value for key, value in attributes.items()})

    def end(name: str) -> None:
        state.depth -= 1

    parse(data, start, end, what="manifest", public_types=True)
    return Manifest(tuple(state.members), state.keyed)


def _element(state: _State, name: str, attributes: dict[str, str]) -> None:
    if name == "file-entry":
        size = attributes.get("size", "")
        state.members.append(Member(attributes.get("full-path", ""), attributes.get("media-type", ""), _number(size) if size else -1))
        return
    if name in ("keyinfo", "encrypted-key", "pgpdata"):
        state.keyed = True
    if not state.members:
        return
    member = state.members[-1]
    was = member.encryption or Encryption()
    match name:
        case "encryption-data":
            now = replace(was, checksum_type=_short(attributes.get("checksum-type", "")), checksum=_octets(attributes.get("checksum", "")))
        case "algorithm":
            now = replace(
                was, algorithm=_short(attributes.get("algorithm-name", "")), vector=_octets(attributes.get("initialisation-vector", ""))
            )
        case "start-key-generation":
            now = replace(
                was,
                start_key=_short(attributes.get("start-key-generation-name", "")),
                start_bytes=_number(attributes.get("key-size", "20")),
            )
        case "key-derivation":
            now = replace(
                was,
                derivation=_short(attributes.get("key-derivation-name", "")),
                key_bytes=_number(attributes.get("key-size", "16")),
                iterations=_number(attributes.get("iteration-count", attributes.get("argon2-iterations", "0"))),
                memory=_number(attributes.get("argon2-memory", "0")),
                lanes=_number(attributes.get("argon2-lanes", "0")),
                salt=_octets(attributes.get("salt", "")),
            )
        case _:
            return
    state.members[-1] = replace(member, encryption=now)


def _short(name: str) -> str:
    """``http://www.w3.org/2001/04/xmlenc#aes256-cbc`` as ``aes256-cbc``; ``urn:…:argon2id`` as ``argon2id``."""
    return name.lower().rpartition("#")[2].rpartition(":")[2].strip()


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > _NUMBER:
        raise Unreadable("a document with a broken manifest")
    return int(text)


def _octets(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError):
        raise Unreadable("a document with a broken manifest") from None
