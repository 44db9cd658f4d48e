"""The message as several readers see it, and whether they agree.

What it is: ``strict`` (our own reader), ``lenient`` (Python's), ``disagreements`` between the two, and ``summary``, the header
facts that a decision may know.
Who calls it: ``plain`` and ``content.unpack``.
Must never: raise on any octets; call a message unambiguous that two common readers would split differently.
Sources: RFC 5322, RFC 2045-2047, RFC 3834, RFC 2919; hostile-inputs catalogue 0.2 and groups A, M, C.
"""

from __future__ import annotations

from msgspec.structs import replace

from gateway.config import Limits
from gateway.message import forwarding, report_fields
from gateway.message.encoded import decode_words
from gateway.message.headers import Fields
from gateway.message.lenient import lenient
from gateway.message.mailboxes import everyone, named, recipients, sender, shown_with
from gateway.message.mime_view import Walk
from gateway.message.parts import Part, View
from gateway.message.prescan import Prescan
from gateway.verdict import Headers

__all__ = ["Part", "View", "disagreements", "lenient", "strict", "summary", "summary_of"]

LABEL_FIELDS = frozenset((
    "sio-label", "sio-label-history", "x-protective-marking", "msip_labels", "sensitivity", "x-classification", "classification",
    "x-titus-classification", "x-tituslabel", "x-bjlabel", "x-boldonjames-classification", "x-ms-exchange-organization-classification",
))  # fmt: skip
LONGEST_SUBJECT = 2000
"""Characters of the subject that are kept for people; the search for markings sees all of it."""

_LIST_FIELDS = frozenset(("list-id", "list-post", "list-unsubscribe", "list-help", "list-archive", "mailing-list", "x-mailing-list"))
_SELDOM = _LIST_FIELDS | LABEL_FIELDS | forwarding.FIELDS | {"sender", "reply-to", "auto-submitted", "precedence"}
"""Fields that most messages have none of: one look tells."""
_SIGNED_TYPES = ("multipart/signed", "application/pkcs7-mime", "application/x-pkcs7-mime", "application/pgp")


def strict(content: bytes, scan: Prescan, limits: Limits) -> View:
    """*content* as a strict reader sees it, with every reason why another may see it differently. Linear; never raises.

    A message over a limit of ``prescan`` has no parts and says which limit in ``ambiguity``.
    """
    if scan.over_limit:
        return View((), (), (scan.over_limit, *scan.problems))
    walk = Walk(content, limits)
    fields = walk.root(scan)
    _, problem = sender(fields.by_name.get("from", []))
    if problem:
        walk.reasons[problem] = None
    return View(fields.items, tuple(walk.parts), tuple(walk.reasons), fields.by_name)


def summary(view: View, scan: Prescan, more_labels: frozenset[str] = frozenset()) -> Headers:
    """The header facts of *view*; empty where the field was not plainly well-formed. *more_labels*: see ``summary_of``."""
    return summary_of(Fields(view.headers, view.by_name, ()), scan, more_labels)


def summary_of(fields: Fields, scan: Prescan, more_labels: frozenset[str] = frozenset()) -> Headers:
    """The header facts of *fields*. *more_labels*: names, in small letters, of fields that hold labels besides ``LABEL_FIELDS``."""
    by_name = fields.by_name
    authors = by_name.get("from", [])
    address, _ = sender(authors)
    to = by_name.get("to", [])
    if "cc" in by_name:
        to = to + by_name["cc"]
    display = ""
    for author in authors[:2]:
        if "<" in author or "(" in author:
            display = f"{display} {shown_with(author)}".strip()
    signed = "dkim-signature" in by_name
    report = False
    for value in by_name.get("content-type", ()):
        kind = value[:40].lower()
        signed = signed or kind.startswith(_SIGNED_TYPES)
        report = report or kind.startswith("multipart/report")
    plain = Headers(
        subject=decode_words(fields.first("subject"))[:LONGEST_SUBJECT],
        message_id=fields.first("message-id")[:998],
        from_addresses=(address,) if address else (),
        from_display=display,
        to_addresses=recipients(to) if to else (),
        to_named=named(to, display) if display and to else (),
        is_report=report,
        received=scan.received,
        signed=signed,
        undated="date" not in by_name,
        unnamed="message-id" not in by_name,
    )
    if _SELDOM.isdisjoint(by_name) and more_labels.isdisjoint(by_name):
        return plain
    return _with_seldom(plain, fields, LABEL_FIELDS | more_labels)


def _with_seldom(plain: Headers, fields: Fields, label_fields: frozenset[str]) -> Headers:
    """*plain* with what the fields say that most messages have none of."""
    by_name = fields.by_name
    labels: tuple[tuple[str, str], ...] = ()
    if not label_fields.isdisjoint(by_name):
        labels = tuple((name, value) for name, value in fields.items if name.lower() in label_fields)
    auto_submitted = fields.first("auto-submitted").partition(";")[0].strip().lower()[:80]
    return replace(
        plain,
        sender_addresses=everyone(by_name.get("sender", [])),
        reply_to_addresses=everyone(by_name.get("reply-to", [])),
        resent=forwarding.resent(by_name),
        resent_by=everyone(list(forwarding.resenders(by_name))),
        auto_forwarded=forwarding.auto_forwarded(by_name, auto_submitted),
        auto_submitted=auto_submitted,
        precedence=fields.first("precedence").strip().lower()[:80],
        is_list=not _LIST_FIELDS.isdisjoint(by_name),
        labels=labels,
    )


def disagreements(first: View, second: View) -> tuple[str, ...]:
    """What one of two readers sees and the other does not; empty when they agree. Plain English, for ``ambiguity``."""
    if second.ambiguity:
        return second.ambiguity
    told: dict[str, None] = {}
    # What both hold as one object is the same without being compared, which costs milliseconds for large attachments.
    shared = {id(part.data) for part in first.parts if part.data is not None} & {id(part.data) for part in second.parts}
    ours = {reading for part in first.parts if id(part.data) not in shared for reading in _readings(part)}
    theirs = {_essence(part.decoded()) for part in second.parts if id(part.data) not in shared}
    for part in second.parts:
        if id(part.data) in shared:
            continue
        if (essence := _essence(part.decoded())) and essence not in ours:
            told[f"another reader sees a part of type {_shown(part.media_type)} that we do not"] = None
    for part in first.parts:
        if part.number.endswith((".preamble", ".epilogue", ".header")) or id(part.data) in shared:
            continue
        if (essence := _essence(part.decoded())) and essence not in theirs and report_fields.rest(part.media_type, part.decoded()) is None:
            told[f"part {part.number}: another reader does not see it as we do"] = None
    return tuple(told)


def _readings(part: Part) -> tuple[bytes, ...]:
    readings = (part.decoded(), *part.others)
    if part.media_type in report_fields.TYPES and (behind := report_fields.rest(part.media_type, readings[0])) is not None:
        readings += (behind,)
    return tuple(map(_essence, readings))


def _essence(data: bytes) -> bytes:
    """*data* without the line ends at its end, about which readers differ without harm."""
    return data.rstrip(b"\r\n \t") if data[-1:] in (b"\r", b"\n", b" ", b"\t") else data


def _shown(media_type: str) -> str:
    return media_type if len(media_type) <= 80 and media_type.isascii() and media_type.isprintable() else "(odd type)"
