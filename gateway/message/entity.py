"""What the header section of one entity says about its content.

What it is: ``describe`` turns fields into media type, character set, boundary, transfer encoding and names, with every reason
why readers may disagree.
Who calls it: ``views`` for each part, ``plain`` for the message.
Must never: decide; believe a declared type (inspection sniffs the content).
Sources: RFC 2045 sections 4-6, RFC 2046 section 5.1.1, RFC 2183; hostile-inputs catalogue M02-M05, M10, M13, M16, M20, C02, C06.
"""

from __future__ import annotations

import re

import msgspec

from gateway.config import Limits
from gateway.message.headers import Fields
from gateway.message.params import NOTHING, Structured, file_names, parse

ENCODINGS = {
    "": "7bit", "7bit": "7bit", "8bit": "8bit", "binary": "binary", "base64": "base64", "quoted-printable": "quoted-printable",
    "x-uuencode": "x-uuencode", "x-uue": "x-uuencode", "uuencode": "x-uuencode", "x-uu": "x-uuencode",
}  # fmt: skip
IDENTITY = frozenset(("7bit", "8bit", "binary"))

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,200}[0-9A-Za-z'()+_,\-./:=?]")
_SLOPPY_BOUNDARY = re.compile(r"[!-~](?:[ -~]{0,200}[!-~])?")
_CHARSET = re.compile(r"[0-9A-Za-z_.:+\-]{1,40}")
_VERSION = re.compile(r"1\.0(?:[ \t]*\((?:[^()\\]|\\[ -~])*+\))?|1 ?\. ?0")


class Entity(msgspec.Struct, frozen=True):
    """One entity as its header section describes it."""

    media_type: str
    charset: str
    """Lower case as declared, or nothing."""
    boundary: str
    encoding: str
    """A value of ``ENCODINGS``: the decoding to look behind, also where the field is broken."""
    disposition: str
    names: tuple[str, ...]
    problems: tuple[str, ...]


def describe(fields: Fields, limits: Limits, default_type: str = "text/plain") -> Entity:
    """Describe the entity with *fields*. Never raises."""
    by_name = fields.by_name
    problems: list[str] = []
    content_type, media_type = _media_type(by_name.get("content-type"), default_type, limits, problems)
    encoding = "7bit" if (values := by_name.get("content-transfer-encoding")) is None else _encoding(values, problems)
    disposition = NOTHING
    if (values := by_name.get("content-disposition")) is not None:
        disposition = parse(values[0], "Content-Disposition", limits.mime_params)
        problems.extend(problem for problem in disposition.problems if not problem.startswith("an empty "))
    if (versions := by_name.get("mime-version")) is not None and not (len(versions) == 1 and versions[0] == "1.0"):
        problems.extend("a MIME-Version other than 1.0" for version in versions if not _VERSION.fullmatch(version))
    names: tuple[str, ...] = ()
    if disposition.params or any("name" in param.name for param in content_type.params):
        names, trouble = file_names(disposition, content_type)
        problems.extend(trouble)
    charset = content_type.get("charset").lower()
    if charset and not _CHARSET.fullmatch(charset):
        problems.append("a character set that is no name")
        charset = "unknown"
    boundary = ""
    if media_type.startswith("multipart/"):
        boundary = _boundary(content_type, limits, problems)
    elif content_type.params and any(param.name.startswith("boundary") for param in content_type.params):
        problems.append("a boundary on what is no multipart")
    if media_type in ("message/partial", "message/external-body"):
        problems.append(f"{media_type}: the content is not in this message")
    return Entity(
        media_type,
        charset,
        boundary,
        encoding,
        disposition.value,
        names,
        tuple(dict.fromkeys(problems)) if problems else (),
    )


def _media_type(values: list[str] | None, default: str, limits: Limits, problems: list[str]) -> tuple[Structured, str]:
    """The Content-Type to look behind, and its type. Of several the one that is a multipart wins: it holds the most."""
    if values is None:
        return NOTHING, default
    read = [parse(value, "Content-Type", limits.mime_params) for value in values[:10]]
    for structured in read:
        problems.extend(structured.problems)
    chosen = next((structured for structured in read if "multipart" in structured.value), read[0])
    if "/" in chosen.value:
        return chosen, chosen.value
    problems.append("a Content-Type without a subtype")
    return chosen, "multipart/mixed" if chosen.get("boundary") else "application/octet-stream"


def _encoding(values: list[str], problems: list[str]) -> str:
    """The decoding to look behind: of several, or of a broken one, the one that hides most."""
    known = [ENCODINGS.get(value.lower()) if value else None for value in values]
    if len(known) == 1 and known[0] is not None:
        return known[0]
    if None in known:
        problems.append("unknown transfer encoding")
    squeezed = " ".join(re.sub(r"[^0-9a-z]", "", value.lower()) for value in values)
    for word, encoding in (("base64", "base64"), ("quotedprintable", "quoted-printable"), ("uu", "x-uuencode")):
        if word in squeezed:
            return encoding
    return "binary"


def _boundary(content_type: Structured, limits: Limits, problems: list[str]) -> str:
    """The boundary to split at, or nothing."""
    given = [param for param in content_type.params if param.name.partition("*")[0] == "boundary"]
    if not given:
        problems.append("a multipart without a boundary")
        return ""
    if len(given) > 1:
        problems.append("boundary given twice")
    if any("*" in param.name for param in given):
        problems.append("a boundary in pieces or with a character set")
    plain = next((param.value for param in given if param.name == "boundary"), given[0].value)
    if "=?" in plain and "?=" in plain:
        problems.append("an encoded word as boundary")
    if len(plain) > limits.boundary:
        problems.append(f"over the limit of {limits.boundary} octets of boundary")
    if not _BOUNDARY.fullmatch(plain):
        if not _SLOPPY_BOUNDARY.fullmatch(plain):
            problems.append("an empty boundary" if not plain.strip() else "a boundary with odd octets")
            return plain if plain.strip() and plain.isascii() and plain.isprintable() and not plain.endswith(" ") else ""
        problems.append("a boundary with odd octets")
    return plain
