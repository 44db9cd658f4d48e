"""The reader of mail inside of attachments: .eml, .mht, a message in a zip.

What it is: the extractor of messages; its parts become children under their own numbers.
Who calls it: ``content.walk`` through the table; the message that is being judged is read by ``content.unpack``.
Must never: let the labels of an inner message stand for the outer one.
Sources: RFC 5322, RFC 2045, RFC 2557 (MHTML); hostile-inputs catalogue D13.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.extraction.base import Budget, Child, Found, OverLimit, Piece, join_reasons
from gateway.message import prescan, rawscan, views
from gateway.message.encoded import decode_words
from gateway.text.markings import Segment
from gateway.verdict import LeafState, Zone

AMBIGUOUS = "ambiguous: "
"""How the reason begins when readers may split a message differently."""


def extract(piece: Piece, budget: Budget) -> Found:
    """Header fields as segments, parts as children; a message that readers may split differently is suspect."""
    data = prescan.canonical(piece.data)
    if data.startswith(b"From "):
        data = data.partition(b"\r\n")[2]  # the separator line of a mailbox file
    scan = prescan.prescan(data, budget.limits)
    if scan.over_limit:
        raise OverLimit(scan.over_limit)
    view = views.strict(data, scan, budget.limits)
    problems = [*view.ambiguity, *views.disagreements(view, views.lenient(data, view.parts))]
    children: list[Child] = []
    segments = list(header_segments(view.headers))
    for part in view.parts:
        budget.spend_entries()
        if part.media_type == "text/rfc822-headers" and part.number.endswith(".header"):
            segments.extend(header_segments(part.headers))
            continue
        label = f"{part.number}:{part.names[0]}" if part.names else part.number
        children.append(Child(label, part.decoded(), part.media_type, part.charset, part.is_attachment or piece.is_attachment))
        children += [Child(f"{label}~{index}", other, part.media_type) for index, other in enumerate(part.others, 2)]
    for blob in rawscan.hidden(data, view):
        budget.spend_entries()
        children.append(Child(blob.path, blob.data, blob.media_type or ("message/rfc822" if blob.kind == "mime" else "")))
    reason = AMBIGUOUS + join_reasons(*problems[:5]) if problems else ""
    return Found(tuple(segments), tuple(children), LeafState.SUSPECT if reason else LeafState.INSPECTED, reason, container=True)


def header_segments(headers: Sequence[tuple[str, str]]) -> tuple[Segment, ...]:
    """The subject, and the values of all other fields, of an enclosed message."""
    subjects: list[str] = []
    others: list[str] = []
    for name, value in headers:
        (subjects if name.lower() == "subject" else others).append(decode_words(value) if "=?" in value else value)
    segments = [Segment(subject, Zone.SUBJECT) for subject in subjects]
    if others:
        segments.append(Segment("\n".join(others), Zone.PROPERTY))
    return tuple(segments)
