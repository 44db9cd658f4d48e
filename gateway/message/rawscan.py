"""Content that hides in text: base64, quoted-printable, uuencode, xxencode, yEnc, BinHex, data: addresses, armour, pasted entities.

What it is: ``suspicious``, the cheap question a door asks, and ``hidden``, which finds and decodes for the inspector.
Who calls it: ``plain`` and ``content.unpack``.
Must never: raise; take more than linear time; be the reason to believe that nothing is hidden (it is a net below the readers).
Sources: RFC 4648, RFC 2397, RFC 9580 section 6 (armour), RFC 1741 (BinHex), POSIX uuencode, yEnc 1.3; hostile-inputs 0.2, M26.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from gateway.message.armour import binhex, xxencode, yenc
from gateway.message.parts import Part, View
from gateway.message.transfer import decode, uudecode

SHORTEST = 48
"""Characters of base64 that may carry a marking; a shorter run is not looked at."""
MOST_BLOBS = 1000
GLUED = 15
"""Decoded octets that a word glued to the front of a run may spoil."""
LARGE = 2048
"""Decoded octets from which a run counts although it is neither text nor a known kind of file."""

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_CLASSES = bytes(0x41 if octet in _ALPHABET else octet if octet in b"\r\n=" else 0x20 for octet in range(256))
"""Translates the base64 alphabet to "A" and all else but line ends to a space: then runs are found at memory speed."""
_LONG = b"A" * SHORTEST
_SHORT_LINES = re.compile(rb"\n(?:A+={0,2}\r\n){3}")
_THREE_EMPTY = b"\n\r\n\r\n\r\n"
"""Three lines that hold nothing but base64 are empty when the alphabet is taken away."""
_RUN = re.compile(rb"[A-Za-z0-9+/]+={0,2}(?:[ \t]*\r\n[A-Za-z0-9+/]{2,}={0,2}(?=[ \t]*(?:\r\n|\Z)))*")
_LINES = re.compile(rb"(?:[A-Za-z0-9+/]+={0,2}(?:\r\n|\Z)){3,}")
_NEEDLES = re.compile(
    rb"\n(?:begin(?:-base64)? [0-7]{3,4} |=ybegin |[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-(?:[Tt][Yy][Pp][Ee]|"
    rb"[Tt][Rr][Aa][Nn][Ss][Ff][Ee][Rr]-[Ee][Nn][Cc][Oo][Dd][Ii][Nn][Gg])[ \t]*:|"
    rb"[> \t]{0,20}-----BEGIN (?:PGP (?!SIGNED MESSAGE)[A-Z][A-Z0-9 ,/]{1,40}|AGE ENCRYPTED FILE|PKCS7|PKCS #7 SIGNED DATA|CMS|"
    rb"ENCRYPTED PRIVATE KEY)-----|"
    rb"\(This file must be converted with BinHex)"
)
_DATA_SIGN = re.compile(rb":(?<=[Dd][Aa][Tt][Aa]:)")
"""A quick question before the exact one: a pattern that begins with one octet is searched for at memory speed."""
_DATA = re.compile(rb"[Dd][Aa][Tt][Aa]:([a-zA-Z]{2,20}/[\w.+-]{1,80})?((?:;[\w=.\"+-]{1,80})*),([\w%+/=!$&'()*,;:@.~-]*)")
_QUOTED = re.compile(rb"=[0-9A-Fa-f]{2}(?:=[0-9A-Fa-f]{2}){7}")
_BENIGN_ARMOUR = re.compile(
    rb"-----BEGIN (PGP SIGNATURE|PGP PUBLIC KEY BLOCK|CERTIFICATE|PUBLIC KEY|CERTIFICATE REQUEST)-----\r\n"
    rb"(?:(?!-----)[^\r\n]{0,200}\r\n){0,2000}-----END \1-----"
)
_NAMED = re.compile(
    rb"[> \t]{0,20}-----BEGIN PGP (?:SIGNATURE|(PUBLIC KEY BLOCK))-----[ \t]*\r?\n"
    rb"(?:[> \t]{0,20}[A-Za-z]{1,20}:[^\r\n]{0,200}\r?\n){0,10}[> \t]{0,20}\r?\n[> \t]{0,20}(?(1)(?:m|x[g-v])|(?:i|w[g-v]))"
)
"""The beginning of a signature or a public key whose first packet is one: the letters of base64 hold its kind."""
_LONGEST_HEAD = 4000
_DOCUMENT = re.compile(
    rb"%PDF|PK\x03\x04|PK\x05\x06|\xd0\xcf\x11\xe0|Rar!|7z\xbc\xaf|\x1f\x8b|BZh|\xfd7zXZ|\{\\rtf|MZ|\x7fELF|\x89PNG|\xff\xd8\xff|GIF8|"
    rb"II\*\0|MM\0\*|Salted__|\x28\xb5\x2f\xfd|\x78\x9f\x3e\x22|<[!?A-Za-z]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_MARK = re.compile(rb"%PDF-|PK\x03\x04|\xd0\xcf\x11\xe0\xa1\xb1|Rar!\x1a|7z\xbc\xaf\x27|\{\\rtf|\x89PNG\r\n|<html|<!DOCTYPE", re.I)
_TO_DECODE = re.compile(
    rb"^[ \t]*content-type[ \t]*:(?![ \t\r\n]*text/plain\b)|^[ \t]*content-encoding|base64|quoted-printable|\buu|x-uu|yenc|binhex|boundary",
    re.I | re.M,
)
_CHARSETS = re.compile(rb"charset[*0-9]*[ \t]*=[ \t\"']*([\w.:+-]*)", re.I)
_AS_ASCII = re.compile(rb"us-ascii|ascii|utf-8|iso-8859-\d{1,2}|latin1|windows-125\d|cp125\d|koi8-[ru]", re.I)
_DER = re.compile(rb"\x30[\x80-\x84]")


@dataclass(frozen=True, slots=True)
class Blob:
    """Something found in text."""

    path: str
    """The number of the part it stands in and where: ``1@120``; "-@120" for octets outside of all parts."""
    kind: str
    """base64, uuencode, xxencode, yenc, binhex, data, armour (the armoured text itself), mime (an entity with its header section) or
    quoted-printable (the whole text decoded)."""
    data: bytes
    media_type: str = ""
    """As a data: address declares it."""


def suspicious(data: bytes) -> bool:
    """Whether ``hidden`` may find anything in the text *data*. Cheap for ordinary text."""
    for match in _NEEDLES.finditer(b"\n" + data):
        if b"-----BEGIN " not in match[0] or not _as_named(data[match.start() :][:_LONGEST_HEAD]):
            return True
    if b"," in data and _DATA_SIGN.search(data) and any(_counts(match) for match in _DATA.finditer(data)):
        return True
    if b"=" in data and _QUOTED.search(data):
        return True
    classes = data.translate(_CLASSES)
    if _LONG not in classes and not _may_have_short_lines(data):
        return False
    return any(True for _ in _runs(data, classes))


def hidden(content: bytes, view: View) -> tuple[Blob, ...]:
    """Everything hidden in the text parts of *view*, and in what no part covers when readers may disagree. Linear."""
    blobs: list[Blob] = []
    for part in view.parts:
        if part.encoding == "base64" and part.data is not None and not part.media_type.startswith("text/"):
            continue
        for blob in find(part.decoded(), part.number):
            blobs.append(blob)
            if len(blobs) >= MOST_BLOBS:
                return tuple(blobs)
    if view.ambiguity:
        for start, end in _uncovered(content, view.parts):
            for blob in find(content[start:end], "-", start):
                if blob.kind == "mime" and start == 0:
                    continue  # the message's own header section
                blobs.append(blob)
                if len(blobs) >= MOST_BLOBS:
                    return tuple(blobs)
    return tuple(blobs)


def find(data: bytes, number: str, base: int = 0) -> Iterator[Blob]:
    """What hides in *data*, the text of part *number*, which starts *base* octets into what offsets count from."""
    end = 0
    pasted = False
    blocks: list[tuple[int, int]] = []
    for match in _NEEDLES.finditer(b"\n" + data):
        start = match.start()
        if start < end:
            continue
        kind = data[start : start + 6]
        octets: bytes | None
        if kind.startswith(b"begin"):
            octets, whole, end = uudecode(data, start)
            name = "uuencode"
            if not whole and (other := xxencode(data, start)):
                octets, name = other, "xxencode"
        elif kind.startswith(b"=ybegi"):
            octets, end = yenc(data, start)
            name = "yenc"
        elif kind.startswith(b"("):
            octets, end = binhex(data, start)
            name = "binhex"
        elif b"-----BEGIN " in match[0]:
            octets, end = _armour(data, start)
            octets = None if _as_named(octets[:_LONGEST_HEAD]) else octets
            name = "armour"
            if octets is not None and octets != data:
                blocks.append((start, end))
        else:
            # One is enough: it reaches to the end of the part, and whatever reads it finds the others within.
            octets = None if pasted else _entity(data, start)
            name = "mime"
            pasted = True
        if octets is not None:
            yield Blob(f"{number}@{base + start}", name, octets)
    for match in _DATA.finditer(data) if b"," in data else ():
        if _counts(match):
            media_type = (match[1] or b"text/plain").decode("ascii", "replace").lower()
            octets = unquote_to_bytes(match[3])
            if b";base64" in match[2].lower():
                octets = decode(octets, "base64").data
            yield Blob(f"{number}@{base + match.start()}", "data", octets, media_type)
    if b"=" in data and (match_quoted := _QUOTED.search(data)):
        yield Blob(f"{number}@{base + match_quoted.start()}", "quoted-printable", decode(data, "quoted-printable").data)
    for start, octets in _runs(data, data.translate(_CLASSES)):
        if _within(start, blocks):
            continue  # the block is handed out; where no reader takes all of it, it is looked into as a text of its own
        yield Blob(f"{number}@{base + start}", "base64", octets)


def _counts(match: re.Match[bytes]) -> bool:
    """A data: address, not the word "data:" before a comma in prose."""
    return (match[1] is not None or b"base64" in match[2].lower()) and len(match[3]) > 0


def _armour(data: bytes, start: int) -> tuple[bytes, int]:
    """The armoured block at *start*, with its first and last line, and where it ends."""
    end = data.find(b"\n-----END ", start)
    end = data.find(b"\n", end + 1) if end >= 0 else -1
    end = len(data) if end < 0 else end + 1
    return data[start:end], end


def _as_named(block: bytes) -> bool:
    """Whether the armoured *block* is named a signature or public key, and begins as one: it hides nothing of its own.

    Its reader, which is asked about every text that holds such a line, looks at the rest of it.
    """
    return _NAMED.match(block) is not None


def _entity(data: bytes, start: int) -> bytes | None:
    """The pasted entity whose header section holds *start*; None for a field that no body follows."""
    head = data.rfind(b"\r\n\r\n", 0, start)
    head = 0 if head < 0 else head + 4
    body = data.find(b"\r\n\r\n", start)
    if body < 0 or not data[body:].strip():
        return None
    return data[head:]


def is_plain(blob: Blob) -> bool:
    """Whether *blob* is a pasted entity with nothing to decode: text/plain throughout, in character sets in which ASCII is itself.

    So people quote the header fields of a message. Whoever reads them as an entity reads the words that stand in the text anyway.
    """
    entity = blob.data
    if blob.kind != "mime" or blob.path.startswith("-") or _TO_DECODE.search(entity) or _MARK.search(entity):
        return False
    return all(_AS_ASCII.fullmatch(match[1]) is not None for match in _CHARSETS.finditer(entity))


def _runs(data: bytes, classes: bytes) -> Iterator[tuple[int, bytes]]:
    """Offset and content of each base64 run that carries text, a known kind of file, or much of anything.

    *classes* is *data* translated by ``_CLASSES``.
    """
    benign = [match.span() for match in _BENIGN_ARMOUR.finditer(data)] if b"-----BEGIN " in data else []
    seen = 0
    at = classes.find(_LONG)
    while at >= 0:
        start = at
        if data[at - 2 : at] == b"\r\n":
            # The run may have begun in the line before, where it was too short to be seen.
            while start - 3 >= seen and classes[start - 3] == 0x41:
                start -= 1
            start = start - 2 if start < at else at
        start = max(start, seen)
        match = _RUN.match(data, start)
        if match is None or match.end() <= at:
            match = _RUN.match(data, at)
        assert match is not None, "a run of the alphabet matches"
        for reading in _readings(match[0], _within(match.start(), benign)):
            yield match.start(), reading
        seen = match.end()
        at = classes.find(_LONG, seen)
    if not _may_have_short_lines(data):
        return
    for lines in _SHORT_LINES.finditer(b"\n" + classes):
        if lines.start() < seen:
            continue
        match = _LINES.match(data, lines.start())
        if match is None:
            continue
        seen = match.end()
        if len(match[0]) >= SHORTEST and (octets := _meaning(match[0], _within(match.start(), benign))) is not None:
            yield match.start(), octets


def _may_have_short_lines(data: bytes) -> bool:
    """Whether ``_SHORT_LINES`` may match: four times as quick a question as the pattern itself."""
    return _THREE_EMPTY in b"\n" + data.translate(None, _ALPHABET + b"=")


def _within(at: int, spans: list[tuple[int, int]]) -> bool:
    index = bisect_right(spans, (at, at)) - 1
    return index >= 0 and at < spans[index][1]


def _readings(run: bytes, benign: bool) -> Iterator[bytes]:
    """The content of *run*; where its first line is short, also without that line, which may be a word that stands before it."""
    if (octets := _meaning(run, benign)) is not None:
        yield octets
    first, _, rest = run.partition(b"\r\n")
    if 0 < len(first) < len(rest.partition(b"\r\n")[0]):
        without = _meaning(rest, benign)
        if without is not None and without != octets:
            yield without


def _meaning(run: bytes, benign: bool) -> bytes | None:
    """The content of a base64 *run* when it says something; None for words, keys, hashes and other look-alikes.

    *benign*: it stands in the armour of a signature, key or certificate, whose own octets say nothing.
    """
    sample = run[:1200]
    if sample.isdigit() or len(set(sample)) < 12 or sample.islower() or sample.isupper():
        return None
    for shift in range(4):
        # Where a word stands before the run its groups of four are shifted: each of the four starts is tried.
        data = decode(sample[shift:], "base64").data
        if (
            _DOCUMENT.match(data) or _reads_as_text(data) or _MARK.search(data, 0, 64) or _reads_as_text(data[GLUED:])
            or (not benign and _DER.match(data))
        ):  # fmt: skip
            return decode(run[shift:], "base64").data
    return decode(run, "base64").data if not benign and len(run) * 3 // 4 >= LARGE else None


def _reads_as_text(data: bytes) -> bool:
    """Whether *data* begins as text that somebody wrote: valid UTF-8 or UTF-16 without control characters."""
    sample = data[:600]
    if len(sample) < 24:
        return False
    if sample.count(b"\0") > len(sample) // 3:
        sample = sample.replace(b"\0", b"")
    try:
        text = sample.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 4:
            return False
        text = sample[: error.start].decode("utf-8")
    return not _CONTROLS.search(text)


def _uncovered(content: bytes, parts: tuple[Part, ...]) -> Iterator[tuple[int, int]]:
    """The stretches of *content* that no part covers."""
    end = 0
    for start, size in sorted((part.offset, len(part.raw)) for part in parts if part.offset >= 0):
        if start > end:
            yield end, start
        end = max(end, start + size)
    if end < len(content):
        yield end, len(content)
