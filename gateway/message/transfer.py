"""Transfer encodings: octets of a part into its content, strictly, with the other readings where readers disagree.

What it is: ``decode`` for base64, quoted-printable, uuencode and the identity encodings.
Who calls it: ``mime_view`` for each part, ``rawscan`` for what it finds, ``plain`` for the body.
Must never: raise; return fewer octets than any known reader would without saying so in a problem.
Sources: RFC 2045 sections 6.7 and 6.8; POSIX uuencode; hostile-inputs catalogue C04, C05.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass

from gateway.message.dense import Stretch

_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")
_BAD_QUOTED = re.compile(rb"=(?!\r\n|[0-9A-Fa-f]{2})(?!\Z)")
_ODD_IN_QUOTED = re.compile(rb"[^\t\r\n -~]|=[0-9A-Fa-f]{2}\t=[0-9A-Fa-f]{2}")
_NOT_IN_QUOTED = bytes({*range(9), 9, 11, 12, *range(14, 32), *range(127, 256)})
_PADDED_BREAK = re.compile(rb"=[ \t]+(?=\r\n)")
_LONGEST_UU = 100
_BEGIN = re.compile(rb"(?:\A|\n)begin(-base64)? [0-7]{3,4} [^\r\n]*\r?\n")

BROKEN_BASE64 = "base64 with other octets in it"
EARLY_PAD = "base64 that goes on after its padding"
NO_PAD = "base64 that is cut short"
BROKEN_QUOTED = "broken quoted-printable"
BROKEN_UU = "broken uuencode"


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a part holds."""

    data: bytes
    """The likeliest reading; the one that sees most where readers disagree."""
    problems: tuple[str, ...] = ()
    others: tuple[bytes, ...] = ()
    """Other readings that some reader shows, for inspection."""


def decode(raw: bytes | memoryview, encoding: str, dense: Stretch | None = None) -> Decoded:
    """The content of *raw* in the known *encoding* (a value of ``entity.ENCODINGS``). Linear; never raises.

    *dense*: the stretch that *raw* begins with, where there is one.
    """
    if encoding == "base64":
        if dense is not None:
            last = _base64(raw[dense.end - dense.start :])
            # Whole groups, then a plain end: plain altogether. Anything else is read from the beginning.
            if not last.problems and not last.others:
                return Decoded(dense.data + last.data)
        return _base64(raw)
    if encoding == "quoted-printable":
        return _quoted(bytes(raw))
    if encoding == "x-uuencode":
        data, whole, _ = uudecode(bytes(raw))
        return Decoded(data, () if whole else (BROKEN_UU,))
    return Decoded(bytes(raw))


def _base64(raw: bytes | memoryview) -> Decoded:
    """Fast where *raw* is nothing but whole base64 lines: then the decoded length says that no octet was skipped."""
    try:
        data = binascii.a2b_base64(raw)
    except binascii.Error:
        return _base64_slowly(bytes(raw))
    tail = bytes(raw[-512:])
    dense = tail.rstrip(b"\r\n")
    pads = 2 if dense.endswith(b"==") else 1 if dense.endswith(b"=") else 0
    size = len(raw) - (len(tail) - len(dense))
    if 4 * (len(data) + pads) == 3 * (size - _line_ends(raw, size)):
        return Decoded(data)
    return _base64_slowly(bytes(raw))


def _line_ends(raw: bytes | memoryview, size: int) -> int:
    """The CR and LF among the first *size* octets of *raw*; quickly where all lines are as long as the first."""
    width = bytes(raw[:1000]).find(b"\r\n")
    if width > 0:
        count = (size - 1) // (width + 2)
        if bytes(raw[width : size : width + 2]) == b"\r" * count and bytes(raw[width + 1 : size : width + 2]) == b"\n" * count:
            # Were there others, fewer octets were left for base64 than the caller expects: it would notice.
            return 2 * count
    octets = bytes(raw[:size])
    return octets.count(b"\r") + octets.count(b"\n")


def _base64_slowly(octets: bytes) -> Decoded:
    """Every reading of base64 that is not plain: stop at the padding, go on after it, another alphabet."""
    problems: list[str] = []
    dense = octets.translate(None, b" \t\r\n")
    clean = dense.translate(None, _NOT_BASE64)
    others: list[bytes] = []
    if len(clean) != len(dense):
        problems.append(BROKEN_BASE64)
        if b"-" in dense or b"_" in dense:
            others.append(_runs(dense.translate(_URL_ALPHABET).translate(None, _NOT_BASE64)))
        # A reader that stops at the first foreign octet, and one that takes the text after the data as text.
        others.append(octets)
    body = clean.rstrip(b"=")
    if b"=" in body:
        problems.append(EARLY_PAD)
        others.append(_runs(clean.partition(b"=")[0]))
    elif len(body) % 4 == 1 or (len(clean) - len(body)) != (-len(body)) % 4:
        problems.append(NO_PAD)
    return Decoded(_runs(clean), tuple(problems), tuple(others))


def _runs(clean: bytes) -> bytes:
    """All octets of concatenated base64 streams; *clean* holds the alphabet and "=" only."""
    return b"".join(_stream(run) for run in clean.split(b"=") if run)


def _stream(run: bytes) -> bytes:
    """One base64 stream without padding; a left-over of one character carries nothing."""
    if len(run) % 4 == 1:
        run = run[:-1]
    return binascii.a2b_base64(run + b"=" * (-len(run) % 4))


def _quoted(octets: bytes) -> Decoded:
    problems: tuple[str, ...] = ()
    others: tuple[bytes, ...] = ()
    data = binascii.a2b_qp(octets)
    if _BAD_QUOTED.search(octets):
        problems = (BROKEN_QUOTED,)
        mended = _PADDED_BREAK.sub(b"=", octets)
        others = (binascii.a2b_qp(mended),) if mended != octets else ()
    if _ODD_IN_QUOTED.search(octets):
        # Some readers drop what may not stand in quoted-printable.
        others = (*others, binascii.a2b_qp(octets.translate(None, _NOT_IN_QUOTED)))
    return Decoded(data, problems, others)


def uudecode(octets: bytes, at: int = 0) -> tuple[bytes, bool, int]:
    """The content of the first uuencoded block from *at* on, whether it was whole, and where it ends.

    The block ends at ``end``, at a line that is none of its own, or with the octets.
    """
    start = _BEGIN.search(octets, at) if at == 0 else _BEGIN.search(octets, at - 1)
    if start is None:
        return b"", False, len(octets)
    out: list[bytes] = []
    at = start.end()
    while at < len(octets):
        line_end = octets.find(b"\n", at)
        following = len(octets) if line_end < 0 else line_end + 1
        line = octets[at:following].rstrip(b"\r\n")
        if line in (b"end", b"===="):
            return b"".join(out), True, following
        if start[1]:
            piece: bytes | None = _runs(line.translate(None, _NOT_BASE64))
        else:
            piece = _uu_line(line)
        if piece is None:
            return b"".join(out), False, at
        out.append(piece)
        at = following
    return b"".join(out), False, at


def _uu_line(line: bytes) -> bytes | None:
    """The content of one line of uuencode; None when it is none."""
    if line in (b"`", b" ", b""):
        return b""
    try:
        return binascii.a2b_uu(line[:_LONGEST_UU])
    except binascii.Error:
        # Some writers pad a line too far: what its length octet promises is there all the same.
        need = 1 + (((line[0] - 32) & 63) + 2) // 3 * 4
    if not need <= len(line) <= need + 4:
        return None
    try:
        return binascii.a2b_uu(line[:need])
    except binascii.Error:
        return None
