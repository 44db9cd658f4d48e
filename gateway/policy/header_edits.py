"""What we write into the header section of mail that leaves, as recorded edits.

What it is: ``of``, the edits for one direction, and ``received_edit``.
Who calls it: ``decide``.
Must never: touch the body; write a word of the client's or the message's that could break a header field; mark the subject of
mail that somebody signed.
Sources: RFC 5321 section 4.4; RFC 6409 sections 8.2 and 8.3; RFC 8601 sections 2.7.4 and 5; docs/design.md section 10 ("Headers written").
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.config import Config
from gateway.envelope import Door, Transaction
from gateway.levels import Level
from gateway.message import labels
from gateway.message.views import LONGEST_SUBJECT
from gateway.verdict import Authentication, Direction, Edit, Headers, Inspection

if TYPE_CHECKING:
    from gateway.policy import Policy

_REMEMBERED = 2048  # sets of labels, a policy
_UNSAFE = re.compile(r"[^A-Za-z0-9.:_\[\]-]")
_LOGIN = re.compile(r"[A-Za-z0-9.!#$%&'*+^_`{|}~-]+(?:@[A-Za-z0-9.-]+)?")
_ATOM = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")


def of(
    tx: Transaction, inspection: Inspection, level: Level | None, direction: Direction, config: Config, policy: Policy
) -> tuple[Edit, ...]:
    """The edits for recipients of *direction*, in the order in which they are applied: the last one stands on top."""
    headers = inspection.headers
    reference = tx.reference
    edits = _completed(tx, headers, config.hostname) if tx.door is Door.SUBMISSION else []
    if level is not None:
        if config.relay.subject_marking and direction is Direction.OUTBOUND and tx.verified_originator and not headers.signed:
            edits += subject_edits(headers.subject, level)
        edits += _labels(tx, level, headers.labels, config, policy)
    edits.append(Edit("remove", "X-Gateway-Reference"))
    edits.append(Edit("add", "X-Gateway-Reference", reference))
    # Only fields that speak in our name are lies; a value limits the removal to those.
    edits.append(Edit("remove", "Authentication-Results", config.hostname))
    edits.append(Edit("add", "Authentication-Results", _results(tx, config.hostname, inspection.authentication, direction)))
    if tx.door in (Door.SMTP, Door.SUBMISSION):
        edits.append(received_edit(tx, config.hostname, tx.received_at, reference))
    return tuple(edits)


def _labels(tx: Transaction, level: Level, old: tuple[tuple[str, str], ...], config: Config, policy: Policy) -> tuple[Edit, ...]:
    """Our labels. Mail without any before it, which is nearly all, has the same ones for the same sender and level."""
    sender = tx.envelope.sender.text
    sender = sender if sender.isascii() else ""
    key = (level, sender, config.label_namespace)
    if not old and key in policy.labels:
        return policy.labels[key]
    edits = labels.label_edits(
        level,
        level.text,
        sender,
        config.label_namespace,
        old,
        policy.scheme,
        changed_by=config.hostname,
        changed_at=mail_date(tx.received_at),
    )
    if not old:
        if len(policy.labels) >= _REMEMBERED:
            policy.labels.clear()
        policy.labels[key] = edits
    return edits


def received_edit(tx: Transaction, hostname: str, now: float, reference: str = "") -> Edit:
    """The Received field of this hop; *now* in seconds since the epoch, *reference* spares making it anew."""
    peer, envelope = tx.peer, tx.envelope
    address = f"IPv6:{peer.ip}" if ":" in peer.ip else peer.ip
    protocol = "UTF8SMTP" if envelope.smtputf8 else "ESMTP" if peer.esmtp else "SMTP"
    if peer.esmtp:
        protocol += ("S" if peer.tls_version else "") + ("A" if peer.user else "")
    tls = f" (using {_safe(peer.tls_version)} with cipher {_safe(peer.tls_cipher)} ({int(peer.tls_bits)} bits))" if peer.tls_version else ""
    to = ""
    if len(envelope.recipients) == 1 and _ATOM.fullmatch(envelope.recipients[0].path.text):
        to = f" for <{envelope.recipients[0].path.text}>"  # with more, one recipient would learn of another
    client = f"{_safe(peer.helo) or 'unknown'} ([{_safe(address)}]){tls}"
    return Edit("add", "Received", f"from {client} by {hostname} with {protocol} id {reference or tx.reference}{to}; {mail_date(now)}")


def mail_date(seconds: float) -> str:
    """*seconds* since the epoch as an RFC 5322 date-time in UTC."""
    return _mail_date(int(seconds))


@lru_cache(maxsize=64)
def _mail_date(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


def _completed(tx: Transaction, headers: Headers, hostname: str) -> list[Edit]:
    """What a message needs and its program did not write: a submission server may add it, nobody later."""
    edits = []
    if headers.undated:
        edits.append(Edit("add", "Date", mail_date(tx.received_at)))
    if headers.unnamed:
        edits.append(Edit("add", "Message-ID", f"<{tx.reference.lower()}@{_safe(hostname)}>"))
    return edits


def _results(tx: Transaction, hostname: str, checked: tuple[Authentication, ...], direction: Direction) -> str:
    """What was checked here. The login is named to our own people only: outside it would tell who writes for a shared mailbox, and
    what to guess passwords for."""
    results = []
    if tx.peer.user:
        sender, login = tx.envelope.sender.text, tx.peer.user
        if direction is Direction.INTERNAL and _LOGIN.fullmatch(login):
            results.append(f"auth=pass smtp.auth={login}")
        else:
            results.append(f"auth=pass smtp.mailfrom={sender}" if _ATOM.fullmatch(sender) else "auth=pass")
    for one in checked:
        domain = f" header.d={_safe(one.domain)}" if one.domain else ""
        results.append(f"{_safe(one.method)}={_safe(one.result)}{domain}")
    return "; ".join([hostname, *(results or ["none"])])


def subject_edits(subject: str, level: Level) -> list[Edit]:
    """The mark of *level* before *subject*; nothing where it stands there already."""
    mark = f"[{level.text}]"
    if mark.lower() in subject.lower() or len(subject) >= LONGEST_SUBJECT:  # what was cut must not be written back
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
