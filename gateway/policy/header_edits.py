"""What we write into the header section of mail that leaves, as recorded edits.

What it is: ``of``, the edits for one direction, and ``received_edit``.
Who calls it: ``decide``.
Must never: touch the body; write a word of the client's or the message's that could break a header field; mark the subject of
mail that somebody signed.
Sources: RFC 5321 section 4.4; RFC 8601 sections 2.7.4 and 5; contract.md, "Headers written".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from email.utils import formatdate

from gateway.config import Config
from gateway.envelope import Door, Transaction
from gateway.levels import Level
from gateway.message import labels
from gateway.text.markings import Scheme
from gateway.verdict import Classification, Direction, Edit, Headers

_UNSAFE = re.compile(r"[^A-Za-z0-9.:_\[\]-]")
_ATOM = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")


def of(
    tx: Transaction, headers: Headers, classification: Classification, direction: Direction, config: Config, scheme: Scheme,
    checked: Sequence[str] = (),
) -> tuple[Edit, ...]:  # fmt: skip
    """The edits for recipients of *direction*, in the order in which they are applied: the last one stands on top."""
    edits: list[Edit] = []
    level = classification.level
    if level is not None:
        if config.relay.subject_marking and direction is Direction.OUTBOUND and tx.verified_originator and not headers.signed:
            edits += _subject(headers.subject, level)
        edits += labels.label_edits(level, level.text, tx.envelope.sender.text, config.label_namespace, headers.labels, scheme)
    edits.append(Edit("remove", "X-Gateway-Reference"))
    edits.append(Edit("add", "X-Gateway-Reference", tx.reference))
    # Only fields that speak in our name are lies; a value limits the removal to those.
    edits.append(Edit("remove", "Authentication-Results", config.hostname))
    edits.append(Edit("add", "Authentication-Results", _results(tx, config.hostname, checked)))
    if tx.door in (Door.SMTP, Door.SUBMISSION):
        edits.append(received_edit(tx, config.hostname, tx.received_at))
    return tuple(edits)


def received_edit(tx: Transaction, hostname: str, now: float) -> Edit:
    """The Received field of this hop; *now* in seconds since the epoch."""
    peer, envelope = tx.peer, tx.envelope
    address = f"IPv6:{peer.ip}" if ":" in peer.ip else peer.ip
    protocol = "UTF8SMTP" if envelope.smtputf8 else "ESMTP" if peer.esmtp else "SMTP"
    if peer.esmtp:
        protocol += ("S" if peer.tls_version else "") + ("A" if peer.user else "")
    tls = f" (using {_safe(peer.tls_version)} with cipher {_safe(peer.tls_cipher)} ({int(peer.tls_bits)} bits))" if peer.tls_version else ""
    to = ""
    if len(envelope.recipients) == 1 and _ATOM.fullmatch(envelope.recipients[0].path.text):
        to = f" for <{envelope.recipients[0].path.text}>"  # with more, one recipient would learn of another
    return Edit(
        "add",
        "Received",
        f"from {_safe(peer.helo) or 'unknown'} ([{_safe(address)}]){tls} by {hostname} with {protocol} id {tx.reference}{to};"
        f" {formatdate(now, usegmt=False)}",
    )


def _results(tx: Transaction, hostname: str, checked: Sequence[str]) -> str:
    """What was checked here. The login itself is not named: recipients outside would read it."""
    results = []
    if tx.peer.user:
        sender = tx.envelope.sender.text
        results.append(f"auth=pass smtp.mailfrom={sender}" if _ATOM.fullmatch(sender) else "auth=pass")
    results += [re.sub(r"[^ -~]|;", "?", one) for one in checked]
    return "; ".join([hostname, *(results or ["none"])])


def _subject(subject: str, level: Level) -> list[Edit]:
    mark = f"[{level.text}]"
    if mark.lower() in subject.lower():
        return []
    return [Edit("replace", "Subject", encoded(f"{mark} {subject}".strip()))]


def encoded(text: str) -> str:
    """*text* as an unstructured header value in printable ASCII: itself, or RFC 2047 encoded-words."""
    flat = " ".join(text.split())
    if flat.isascii() and flat.isprintable() and "=?" not in flat and all(len(word) <= 70 for word in flat.split(" ")):
        return flat
    words, piece = [], ""
    for character in flat:
        if len((piece + character).encode("utf-8", "replace")) > 42:
            words.append(piece)
            piece = ""
        piece += character
    words.append(piece)
    return " ".join("=?utf-8?B?" + base64.b64encode(word.encode("utf-8", "replace")).decode() + "?=" for word in words)


def _safe(text: str) -> str:
    """*text* without anything that a header field or a log reader could stumble over, at most 255 characters."""
    return _UNSAFE.sub("?", text)[:255]
