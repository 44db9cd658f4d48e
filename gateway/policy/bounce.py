"""Reports and notices to originators: what was stopped, why, and what to do next.

What it is: four pure functions that make whole messages: ``failed``, ``held``, ``delayed`` and ``relayed``. The same
arguments give the same octets. They are sent with the null sender, and never to anyone but a verified originator.
Who calls it: the keeper, inside the commit (refused, held) and from the relay (delayed, failed, relayed).
Must never: carry the body of the original; name a recipient who is not the originator's own; repeat the subject of TOP
SECRET or SECRET mail; let octets of the original break a line or a part.
Sources: RFC 3464, RFC 6522, RFC 3834, RFC 6533, RFC 3461 section 6; hostile-inputs catalogue L05.
"""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.config import Contacts
from gateway.levels import Level
from gateway.policy import original
from gateway.policy.explanations import Explanations, clean, to_ascii
from gateway.policy.header_edits import encoded, mail_date
from gateway.policy.report_text import Reading, RecipientReport, india_time

__all__ = ["RecipientReport", "delayed", "failed", "held", "relayed"]

_ACTIONS = {"failed": ("failed", "5"), "held": ("delayed", "4"), "delayed": ("delayed", "4"), "relayed": ("relayed", "2")}
_REPLY = {"5": "550", "4": "450", "2": "250"}
_PLAIN_LINE = 900  # octets of a line that may stand as it is
_XTEXT = re.compile(r"\+([0-9A-F]{2})")


@dataclass(frozen=True, slots=True)
class _Report:
    """The arguments of one report together."""

    kind: str
    reference: str
    hostname: str
    now: float
    sender: str
    recipients: Sequence[RecipientReport]
    envid: str
    arrival: float
    until: float
    international: bool
    """Addresses stand as UTF-8 (RFC 6533); the report then needs SMTPUTF8 on its way."""


def failed(
    reference: str, hostname: str, now: float, original_headers: bytes, sender: str, recipients: Sequence[RecipientReport],
    explanations: Explanations, languages: Sequence[str], contacts: Contacts, page_url: str = "", level: Level | None = None,
    envid: str = "", smtputf8: bool = False, note: str = "", *, arrival: float = 0, header_limit: int = 50_000,
) -> bytes:  # fmt: skip
    """The report (Action: failed) for recipients that do not get the message.

    *original_headers* is the header section (or the whole message: it is cut at the first empty line); *level* is the
    message's, for probable TS/S the probable one; *page_url* is the whole address of the officer's page for this report, empty where
    there is none; *now* and *arrival* in seconds since the epoch; *header_limit* in octets.
    """
    return _make(
        "failed", reference, hostname, now, original_headers, sender, recipients, explanations, languages, contacts, page_url,
        level, envid, smtputf8, note, 0, arrival, header_limit,
    )  # fmt: skip


def held(
    reference: str, hostname: str, now: float, original_headers: bytes, sender: str, recipients: Sequence[RecipientReport],
    explanations: Explanations, languages: Sequence[str], contacts: Contacts, page_url: str = "", level: Level | None = None,
    envid: str = "", smtputf8: bool = False, note: str = "", *, deadline: float, arrival: float = 0, header_limit: int = 50_000,
) -> bytes:  # fmt: skip
    """The notice (Action: delayed) for mail that waits for a reviewer until *deadline*."""
    return _make(
        "held", reference, hostname, now, original_headers, sender, recipients, explanations, languages, contacts, page_url,
        level, envid, smtputf8, note, deadline, arrival, header_limit,
    )  # fmt: skip


def delayed(
    reference: str, hostname: str, now: float, original_headers: bytes, sender: str, recipients: Sequence[RecipientReport],
    explanations: Explanations, languages: Sequence[str], contacts: Contacts, page_url: str = "", level: Level | None = None,
    envid: str = "", smtputf8: bool = False, note: str = "", *, until: float, arrival: float = 0, header_limit: int = 50_000,
) -> bytes:  # fmt: skip
    """The notice (Action: delayed) for mail that the next hop has not taken yet; it is tried until *until*."""
    return _make(
        "delayed", reference, hostname, now, original_headers, sender, recipients, explanations, languages, contacts, page_url,
        level, envid, smtputf8, note, until, arrival, header_limit,
    )  # fmt: skip


def relayed(
    reference: str, hostname: str, now: float, original_headers: bytes, sender: str, recipients: Sequence[RecipientReport],
    explanations: Explanations, languages: Sequence[str], contacts: Contacts, page_url: str = "", level: Level | None = None,
    envid: str = "", smtputf8: bool = False, note: str = "", *, arrival: float = 0, header_limit: int = 50_000,
) -> bytes:  # fmt: skip
    """The notice (Action: relayed) that NOTIFY=SUCCESS asked for, where the next hop sends none itself."""
    return _make(
        "relayed", reference, hostname, now, original_headers, sender, recipients, explanations, languages, contacts, page_url,
        level, envid, smtputf8, note, 0, arrival, header_limit,
    )  # fmt: skip


def _make(
    kind: str, reference: str, hostname: str, now: float, original_headers: bytes, sender: str, recipients: Sequence[RecipientReport],
    explanations: Explanations, languages: Sequence[str], contacts: Contacts, page_url: str, level: Level | None,
    envid: str, smtputf8: bool, note: str, until: float, arrival: float, header_limit: int,
) -> bytes:  # fmt: skip
    if not recipients:
        raise ValueError("a report needs a recipient")
    secret = level is not None and level >= Level.SECRET
    fields = original.fields(original_headers)
    international = smtputf8 and not all(text.isascii() for text in (sender, *(one.address for one in recipients)))
    report = _Report(kind, reference, hostname, now, sender, recipients, envid, arrival, until, international)
    reading = Reading(
        kind, recipients, explanations, tuple(languages) or ("en",),
        {
            "reference": reference, "hostname": hostname, "time": india_time(until) if until else "",
            "contact": (contacts.security if secret else "") or contacts.postmaster or f"postmaster@{hostname}",
            "url": page_url,
        },
        "" if secret else clean(original.text(fields, "subject")), note,
    )  # fmt: skip
    status = _status(report, explanations)
    headers, headers_encoding = original.part(fields, secret, header_limit, international)
    plain, page = reading.plain(), reading.html()
    outer, inner = _boundaries(report, (status, headers))
    heading = _heading(report, reading, original.message_id(fields), outer)
    lines = [
        *heading, "", "This is a report in MIME format (RFC 3464).", "", f"--{outer}",
        f'Content-Type: multipart/alternative; boundary="{inner}"', "",
        f"--{inner}", *_text("plain", plain), f"--{inner}", *_text("html", page), f"--{inner}--", "",
        f"--{outer}",
        f"Content-Type: message/{'global-delivery-status' if international else 'delivery-status'}",
        *(["Content-Transfer-Encoding: 8bit"] if international else []), "", status,
        f"--{outer}",
        f"Content-Type: {'message/global-headers' if international else 'text/rfc822-headers'}",
        *([f"Content-Transfer-Encoding: {headers_encoding}"] if headers_encoding else []), "", headers,
        f"--{outer}--", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode("utf-8" if international else "ascii")


def _heading(report: _Report, reading: Reading, message_id: str, boundary: str) -> list[str]:
    subject = f"{reading.phrase(f'subject-{report.kind}', reading.languages[0])} ({report.reference})"
    digest = hashlib.sha256("\0".join(one.address for one in report.recipients).encode()).hexdigest()[:12]
    threads = [f"In-Reply-To: {message_id}", f"References: {message_id}"] if message_id else []
    return [
        f"From: Mail gateway <mailer-daemon@{report.hostname}>",
        f"To: <{report.sender}>",
        *_field("Subject", encoded(subject)),
        f"Date: {mail_date(report.now)}",
        f"Message-ID: <{report.kind}.{report.reference}.{int(report.now)}.{digest}@{report.hostname}>",
        *threads,
        "Auto-Submitted: auto-replied",
        f"X-Gateway-Reference: {report.reference}",
        f"Content-Language: {', '.join(reading.languages)}",
        "MIME-Version: 1.0",
        f"Content-Type: multipart/report; report-type={'global-delivery-status' if report.international else 'delivery-status'};",
        f'\tboundary="{boundary}"',
    ]


def _status(report: _Report, explanations: Explanations) -> str:
    """The second part: fields for the message, then for each recipient (RFC 3464 sections 2.2 and 2.3)."""
    lines = []
    if report.envid:
        lines += _field("Original-Envelope-Id", _unxtext(report.envid))
    lines.append(f"Reporting-MTA: dns; {report.hostname}")
    if report.arrival:
        lines.append(f"Arrival-Date: {mail_date(report.arrival)}")
    lines.append(f"X-Gateway-Reference: {report.reference}")
    action, status_class = _ACTIONS[report.kind]
    for one in report.recipients:
        lines.append("")
        kind, _, value = one.orcpt.partition(";")
        if value and re.fullmatch(r"[A-Za-z0-9-]{1,20}", kind):
            lines += _field("Original-Recipient", f"{kind}; {_address(_unxtext(value), report.international)[1]}")
        lines += _field("Final-Recipient", "; ".join(_address(one.address, report.international)))
        status = f"{status_class}.{one.status.partition('.')[2] or '0.0'}"
        lines += [f"Action: {action}", f"Status: {status}"]
        if one.remote_mta:
            lines += _field("Remote-MTA", f"dns; {to_ascii(clean(one.remote_mta, 255))}")
        if report.kind != "relayed" or one.diagnostic:
            short = explanations.sentence(one.explain, "en", {"recipient": one.address, **one.words}).short
            ours = f"{_REPLY[status_class]} {status} {short} Ref {report.reference}" + (f" Rule {clean(one.rule)}" if one.rule else "")
            lines += _field("Diagnostic-Code", f"smtp; {to_ascii(clean(one.diagnostic, 900)) if one.diagnostic else ours}")
        lines.append(f"Final-Log-ID: {report.reference}")
        if report.until:
            lines.append(f"Will-Retry-Until: {mail_date(report.until)}")
    return "\r\n".join([*lines, ""])


def _address(address: str, international: bool) -> tuple[str, str]:
    """Address type and address: ``utf-8`` with its characters where the report may hold them, else escaped (RFC 6533 section 3)."""
    safe = "".join(c if c.isprintable() else "?" for c in address)
    if safe.isascii():
        return "rfc822", safe
    if international:
        return "utf-8", safe
    return "utf-8", "".join(c if " " < c <= "~" and c not in "\\+=" else f"\\x{{{ord(c):X}}}" for c in safe)


def _field(name: str, value: str) -> list[str]:
    """``name: value`` folded into lines of at most 78 characters where there are blanks."""
    return textwrap.wrap(f"{name}: {value}", 78, subsequent_indent=" ", break_long_words=False, break_on_hyphens=False)


def _unxtext(text: str) -> str:
    """*text* out of xtext (RFC 3461 section 4), printable ASCII only."""
    return to_ascii(_XTEXT.sub(lambda match: chr(int(match[1], 16)), text))[:500]


def _text(subtype: str, text: str) -> list[str]:
    """One readable part: as it is where that is ASCII with lines that any server takes, else base64."""
    lines = text.rstrip("\n").split("\n")
    if text.isascii() and all(len(line) <= _PLAIN_LINE for line in lines):
        return [f"Content-Type: text/{subtype}; charset=us-ascii", "", *lines, ""]
    octets = base64.b64encode(text.replace("\n", "\r\n").encode("utf-8")).decode("ascii")
    return [
        f"Content-Type: text/{subtype}; charset=utf-8", "Content-Transfer-Encoding: base64", "",
        *(octets[start : start + 76] for start in range(0, len(octets), 76)), "",
    ]  # fmt: skip


def _boundaries(report: _Report, texts: Sequence[str]) -> tuple[str, str]:
    """Two boundaries made from the reference, that stand nowhere in the parts that are not base64."""
    number = 0
    while True:
        seed = f"{report.kind} {report.reference} {report.now} {number}".encode()
        outer = "=_" + hashlib.sha256(seed).hexdigest()[:32]
        if not any(outer in text for text in texts):
            return outer, outer.replace("=_", "=_a")
        number += 1
