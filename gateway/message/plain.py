"""The door's own reading of plainly well-formed text mail; everything else is the inspector's.

What it is: ``inspect``, which gives a whole Inspection or None, and ``root_findings``, the markings in a header section.
Who calls it: the pipeline in a door, before it would ask an inspector; ``content.unpack`` calls the same function first, so
that doors and ``gateway explain`` agree.
Must never: read a message that any reader could see differently; open a hostile format (HTML, archives, documents).
Sources: docs/design.md sections 3 and 4; RFC 5322, RFC 2045 section 5.2; hostile-inputs catalogue C01, M24.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.config import Limits
from gateway.message import labels, thread_fields
from gateway.message.charsets import escaped, utf7
from gateway.message.encoded import decode_words
from gateway.message.entity import IDENTITY, describe
from gateway.message.headers import read
from gateway.message.mime_view import is_attachment
from gateway.message.prescan import prescan, sections
from gateway.message.rawscan import suspicious
from gateway.message.text_only import is_plain
from gateway.message.transfer import decode
from gateway.message.views import summary_of
from gateway.text import markings
from gateway.text.observing import Observer
from gateway.verdict import Finding, Inspection, Leaf, LeafState, Zone

MOST = 1_000_000
"""Octets of a message that a door reads itself; a longer one would keep its other sessions waiting."""

_WESTERN = frozenset(("iso-8859-1", "latin1", "windows-1252", "cp1252"))


def inspect(content: bytes, sha256: str, limits: Limits, scheme: markings.Scheme, *, want_text: bool = False) -> Inspection | None:
    """What *content*, whose SHA-256 in hexadecimal is *sha256*, says, or None: ask the inspector.

    An answer is given only for one text/plain body in a character set that leaves no choice, in a message in which nothing is
    odd. Never raises.
    """
    header_end, _ = sections(content, 0, len(content))
    if len(content) > MOST or b"multipart/" in content[:header_end].lower():
        return None
    scan = prescan(content, limits)
    if scan.over_limit or scan.problems or scan.header_end == 0:
        return None
    fields = read(content[: scan.header_end])
    if fields.problems:
        return None
    entity = describe(fields, limits)
    if entity.problems or entity.media_type != "text/plain" or is_attachment(entity) or entity.encoding == "x-uuencode":
        return None
    body = content[scan.body_start :]
    if entity.encoding not in IDENTITY:
        decoded = decode(body, entity.encoding)
        if decoded.problems or decoded.others:
            return None  # some reader shows another text
        body = decoded.data
    text = _text(body, entity.charset)
    if text is None or not is_plain(body) or suspicious(body):
        return None
    headers = summary_of(fields, scan, scheme.label_headers)
    if not headers.from_addresses and "from" in fields.by_name:
        return None
    if headers.labels and labels.broken(fields.items, scheme):
        return None
    if not text.strip("\r\n\t "):
        text = ""  # blanks are no text
    observer = Observer(scheme)
    findings = root_findings(fields.items, scheme, observer)
    if text:
        findings += markings.scan((markings.Segment(text, Zone.BODY),), "1", scheme, observer)
    leaf = Leaf("1", "", "text/plain", len(body), LeafState.INSPECTED, is_attachment=False)
    texts = (("1", text),) if want_text else ()
    thread = observer.thread(thread_fields.references(fields.items), findings, (leaf,))
    read_of = (("1", Zone.BODY, 0, text),) if want_text and text else ()
    return Inspection(sha256, headers, (leaf,), findings, (), texts, (), observer.result(), read_of, thread)


def root_findings(headers: Sequence[tuple[str, str]], scheme: markings.Scheme, observer: Observer | None = None) -> tuple[Finding, ...]:
    """The labels and subject markings of a header section (unfolded fields); every Subject field counts.

    *observer* looks through the subjects too.
    """
    readable = headers
    if any("=?" in value for _, value in headers):
        readable = [(name, decode_words(value) if "=?" in value else value) for name, value in headers]
    found = labels.findings(readable, scheme)
    for name, value in readable:
        if len(name) == 7 and name.lower() == "subject" and value:
            found += markings.scan((markings.Segment(value, Zone.SUBJECT),), "header:Subject", scheme, observer)
    return found


def _text(body: bytes, charset: str) -> str | None:
    """*body* as text where the declared *charset* leaves no choice; None where readers may show something else."""
    try:
        if body.isascii():
            known = charset in ("", "us-ascii", "ascii", "utf-8") or charset in _WESTERN
            text = body.decode("ascii")
            return text if known and utf7(text) is None and escaped(body) is None else None
        if charset == "utf-8":
            return body.decode("utf-8")
        if charset not in _WESTERN:
            return None
        western = body.decode("cp1252")
    except UnicodeDecodeError:
        return None
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return western
    # Declared as Western text and also valid UTF-8: some readers show the one, some the other.
    return None
