"""Plain content under a cover that needs no secret: hexadecimal, base64, ROT13, reversed, one octet XORed over all.

What it is: ``extract`` (text that claims to be encrypted, or is nothing but figures), ``extract_unknown`` (octets of no known type) and
``claims``, which says when the first is asked.
Who calls it: ``sniff`` and ``content.walk`` through the table.
Must never: call anything encrypted; say that a cover was the only one.
Sources: hostile-inputs catalogue E13, E19, E20; docs/inspection.md, main rule (random data is unverifiable).
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections import Counter

from gateway.extraction import randomness
from gateway.extraction.base import Budget, Child, Found, Piece
from gateway.protection import Protection, ProtectionState
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

_NAMES = (
    ".enc", ".gpg", ".pgp", ".asc", ".p7m", ".aes", ".age", ".crypt", ".crypted", ".encrypted", ".cpt", ".axx", ".kdbx", ".tc", ".hc",
    ".luks", ".vault", ".sealed", ".b64", ".hex", ".rot13", ".secret", ".locked", ".cipher", ".ctx", ".xor",
)  # fmt: skip
"""Ends of names that claim encryption, or another writing."""
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{4,}={0,2}")
_BASE32 = re.compile(rb"[A-Z2-7]{8,}={0,6}")
_COMMON = frozenset(
    b"the of and to in is for on that be by with as this are from at it or an will has have not which was been may shall all".split()
)
_WORD = re.compile(rb"[a-z]+")
_SAMPLE = 20_000
_LONGEST_HEX = 60_000_000
_LARGE = 1_024  # octets that count although they are of no known kind
_HIGH = bytes(range(0x80, 0x100))
_PRINTABLE = bytes((*range(0x20, 0x7F), 9, 10, 13))
_MAGIC = (
    b"PK\x03\x04", b"%PDF-", b"\xd0\xcf\x11\xe0", b"\x1f\x8b\x08", b"7z\xbc\xaf", b"Rar!", b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"{\\rtf",
    b"<?xml", b"<html", b"MZ\x90", b"BZh9", b"\xfd7zXZ",
)  # fmt: skip
_LEAST_READABLE = 0.97
_LEAST_GAIN = 0.03
_SHORTEST_XOR = 16


def claims(piece: Piece, data: bytes) -> bool:
    """Whether the text *data* of *piece* is to be looked at for a cover."""
    if not piece.is_attachment:
        return False
    if _claims_by_name(piece.name):
        return True
    sample = data[:4096]
    if len(data) >= 64 and not sample.translate(None, b"0123456789abcdefABCDEF \t\r\n:x\\"):
        return True
    return len(sample.translate(None, _HIGH)) * 2 < len(sample) and not _is_utf8(sample)


def _claims_by_name(name: str) -> bool:
    return name.lower().rstrip(". ").endswith(_NAMES)


def extract(piece: Piece, budget: Budget) -> Found:
    """What is under the cover as children or as text; nothing where there is none. The text as it stands is read by its own reader."""
    data = piece.data.strip()
    compact = b"".join(data.split())
    budget.check_time()
    if (child := _written(compact, claimed=_claims_by_name(piece.name))) is not None:
        budget.spend_bytes(len(child.data))
        return Found(children=(child,), container=True)
    if (child := _xored(data)) is not None or (child := _backwards(data)) is not None:
        return _simple(child, budget)
    if not data.isascii() and not _is_utf8(data):
        return Found()
    text = data.decode("utf-8", "replace")
    turned, reverse = codecs.encode(text, "rot13"), text[::-1]
    share = _share(data)
    for name, other in (("rot13", turned), ("reversed", reverse)):
        if (found := _share(other.encode("utf-8", "replace"))) >= 0.06 and found > 2 * share:
            return _simple(Child(f"{name}.txt", other.encode("utf-8", "replace"), "text/plain", "utf-8"), budget)
    # Too short to tell: markings are looked for in each reading.
    return Found((Segment(turned, Zone.BODY), Segment(reverse, Zone.BODY)) if len(text) < _SAMPLE else ())


def extract_unknown(piece: Piece, budget: Budget) -> Found:
    """Octets of no known type: suspect; unverifiable where they look random, which compressed data does too."""
    data = piece.data
    budget.check_time()
    child = _xored(data) or _backwards(data)
    if child is not None:
        return _simple(child, budget)
    if len(data) >= 64 and not randomness.disproof(data):
        reason = "data that looks random: whether it is encrypted, and how, cannot be verified"
        return Found(state=LeafState.SUSPECT, reason=reason, protection=Protection(ProtectionState.UNVERIFIABLE, reason=reason))
    return Found(state=LeafState.SUSPECT, reason="content of an unknown type: there is no reader for it")


def _simple(child: Child, budget: Budget) -> Found:
    budget.spend_bytes(len(child.data))
    reason = "plain content under a cover that needs no secret"
    return Found((), (child,), LeafState.SUSPECT, reason, Protection(reason=reason), container=True)


def _unhex(compact: bytes) -> bytes | None:
    """The octets that *compact* writes in hexadecimal; None where it does not. Numbers alone are numbers."""
    digits = compact.translate(None, b":,-")
    if b"x" in digits:
        digits = digits.replace(b"0x", b"").replace(b"\\x", b"")
    if len(digits) < 16 or len(digits) > _LONGEST_HEX or len(digits) % 2 or digits.translate(None, b"0123456789abcdefABCDEF"):
        return None
    letters = len(digits) - len(digits.translate(None, b"abcdefABCDEF"))
    return binascii.unhexlify(digits) if letters * 50 > len(digits) else None


def _means(octets: bytes) -> bool:
    """Whether *octets* are text or a known kind of file."""
    return octets.startswith(_MAGIC) or _readable(octets[:_SAMPLE]) >= _LEAST_READABLE or _is_utf8(octets[:_SAMPLE])


def _written(compact: bytes, *, claimed: bool) -> Child | None:
    """Octets written in figures: hexadecimal, and base64 and base32 where the name claims encryption: short ones are words, long ones
    the scan for hidden content finds.
    """
    if (octets := _unhex(compact)) is not None and (claimed or len(octets) >= _LARGE or _means(octets)):
        return Child("hex", octets)
    if not claimed:
        return None
    if len(compact) >= 16 and _BASE32.fullmatch(compact):
        body = compact.rstrip(b"=")
        try:
            return Child("base32", base64.b32decode(body + b"=" * (-len(body) % 8)))
        except (binascii.Error, ValueError):
            return None
    if len(compact) >= 16 and _BASE64.fullmatch(compact) and not compact.islower() and not compact.isupper():
        body = compact.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        if len(body) % 4 != 1:
            return Child("base64", binascii.a2b_base64(body + b"=" * (-len(body) % 4)))
    return None


def _xored(data: bytes) -> Child | None:
    """Text or a known kind of file over which one octet was XORed."""
    sample = data[:_SAMPLE]
    if len(sample) < _SHORTEST_XOR:
        return None
    common = [octet for octet, _ in Counter(sample).most_common(3)]
    for key in dict.fromkeys((0xFF, *(octet ^ 0x20 for octet in common), *(octet ^ 0x65 for octet in common), *common)):
        if not key:
            continue
        table = bytes(octet ^ key for octet in range(256))
        plain = sample.translate(table)
        if plain.startswith(_MAGIC):
            return Child("xor", data.translate(table))
        if b" " not in plain or (readable := _readable(plain)) < _LEAST_READABLE:
            continue
        # Other octets, or other words: text that reads no better is as it was.
        if readable > _readable(sample) + _LEAST_GAIN or _share(plain) > max(0.06, 2 * _share(sample)):
            return Child("xor", data.translate(table))
    return None


def _readable(sample: bytes) -> float:
    """Part of *sample* that is ASCII to be read."""
    return 1 - len(sample.translate(None, _PRINTABLE)) / len(sample)


def _backwards(data: bytes) -> Child | None:
    """A known kind of file written backwards."""
    return Child("reversed", data[::-1]) if data[-8:][::-1].startswith(_MAGIC) else None


def _share(data: bytes) -> float:
    """How many of the words are among the commonest of English; 0 where there are too few to tell."""
    words = _WORD.findall(data[:_SAMPLE].lower())
    if len(words) < 8:
        return 0.0
    return sum(word in _COMMON for word in words) / len(words)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(data) - 4 and len(data) > 8
    return True
