"""Parsers of messages, texts and of the SMTP dialogue, as functions of octets.

What it is: one function a target; those of one kind stand together, each gets the same octets.
Who calls it: the table of targets.
Must never: hide an error that the parser may not raise.
"""

from __future__ import annotations

import hashlib

from gateway.address import AddressError
from gateway.config import Limits
from gateway.envelope import Recipient
from gateway.message import (
    armour,
    charsets,
    dense,
    encoded,
    forwarding,
    headers,
    label_fields,
    label_products,
    labels,
    mailboxes,
    params,
    plain,
    rawscan,
    report_fields,
    signatures,
    thread_fields,
    transfer,
    views,
)
from gateway.message.prescan import canonical, hops, prescan, sections
from gateway.reply import Reply
from gateway.text import file_numbers, iscii, legacy_fonts, links, markings, normalise, passages, passwords
from gateway.text.observing import Observer
from gateway.verdict import Zone
from gateway.wire import proxy, smtp_auth, smtp_client, smtp_events, smtp_params
from gateway.wire.smtp import Server
from gateway.wire.smtp_submission import SubmissionServer
from tests.content_mail import scheme

LIMITS = Limits()
_OFFER = smtp_events.Offer("gw.example", 10_000, recipients=3, starttls=True, auth=True)
_OK, _NO = Reply(250, "2.0.0", "Ok"), Reply(550, "5.7.1", "No")
_LABELS = (
    "SIO-Label", "X-Protective-Marking", "msip_labels", "Sensitivity", "Subject", "X-TITUS-Properties", "X-Classification",
    "X-Office-Classification", "Handling-Instructions", "MMHS-Message-Instructions",
)  # fmt: skip


def text(data: bytes) -> str:
    """What the octets say in UTF-8."""
    return data.decode("utf-8", "replace")


def scan_first(data: bytes) -> None:
    """The pre-scan, where sections end, hops, header fields."""
    prescan(canonical(data), LIMITS)
    hops(data, LIMITS)
    sections(data, 0, len(data))
    headers.read(data)


def mime(data: bytes) -> None:
    """The strict view, what hides beside it, and where the lenient one differs."""
    scan = prescan(data, LIMITS)
    view = views.strict(data, scan, LIMITS)
    views.summary(view, scan)
    for part in view.parts:
        part.decoded()
    rawscan.hidden(data, view)
    views.disagreements(view, views.lenient(data, view.parts))


def door(data: bytes) -> object:
    """What a door reads by itself."""
    return plain.inspect(data, "", LIMITS, scheme())


def raw(data: bytes) -> None:
    """Encoded content in octets, whatever they are."""
    rawscan.suspicious(data)
    list(rawscan.find(data, "1"))
    dense.stretches(data)
    for reader in (armour.yenc, armour.binhex):
        reader(data, 0)
    armour.xxencode(data, 0)


def fields(data: bytes) -> None:
    """Values of header fields."""
    value = text(data)
    for field in ("Content-Type", "Content-Disposition"):
        structured = params.parse(value, field, 50)
        params.file_names(structured, structured)
    encoded.decode_words(value)
    values = [value]
    mailboxes.sender(values)
    mailboxes.recipients(values)
    mailboxes.everyone(values)
    mailboxes.named(values, "a b")
    mailboxes.shown_with(value)
    thread_fields.references((("References", value), ("In-Reply-To", value)))
    thread_fields.identifier(value)
    signatures.key_names((("DKIM-Signature", value),))
    forwarding.auto_forwarded({"auto-submitted": values, "x-forwarded-for": values}, value)
    report_fields.rest("message/delivery-status", data)


def label(data: bytes) -> None:
    """Values of label fields, and the labels of other products."""
    value = text(data)
    for reader in (label_fields.parameters, label_fields.pairs, label_fields.ess_level):
        try:
            reader(value)
        except label_fields.LabelError:
            continue
    list(label_products.titus(value))
    list(label_products.boldon_james({"bjDocumentLabelXML": value, "bjDocumentLabelXML-0": value}))
    rows = tuple((name, value) for name in _LABELS)
    labels.findings(rows, scheme())
    labels.broken(rows, scheme())
    labels.property_findings(
        {"bjDocumentLabelXML": value, "MSIP_Label_1_Name": value, "Classification": value, value: "SECRET"}, "1", scheme()
    )


def decoding(data: bytes) -> None:
    """Transfer encodings and charsets."""
    for encoding in ("base64", "quoted-printable", "x-uuencode", "7bit", "nonsense"):
        transfer.decode(data, encoding)
    charsets.utf7(text(data))
    charsets.escaped(data)
    charsets.overlong(data)
    for charset in ("utf-7", "utf-16", "iso-2022-jp", "hz-gb-2312", "iso-8859-1", "us-ascii"):
        charsets.readable(data, charset)
        charsets.decode(data, charset)


def marked(data: bytes) -> None:
    """Text as the search for markings reads it."""
    value = text(data)
    normalise.normalise(value)
    for zone in (Zone.BODY, Zone.SUBJECT, Zone.FILE_NAME, Zone.WATERMARK, Zone.PAGE_HEADER, Zone.PROPERTY):
        markings.scan((markings.Segment(value, zone),), "1", scheme())


def observed(data: bytes) -> None:
    """Personal numbers, links, topics, file numbers, passages and passwords in a text."""
    value = text(data)
    observer = Observer(scheme())
    found = markings.scan((markings.Segment(value, Zone.BODY),), "1", scheme(), observer, attached=False)
    observer.look_at_links((value, *value.split()), "1", attached=True)
    observer.thread((), found, ())
    observer.result()
    for place in range(min(len(value), 50)):
        file_numbers.number(value, place)
        links.at_sign(value, place)
        links.at_host(value, place)
    links.hosts(value)
    passages.own(value, scheme())
    passages.fingerprints(value, 100, scheme())
    passages.samples(value, scheme())
    passwords.candidates([value], [value], [value[:200]])


def legacy(data: bytes) -> None:
    """Text in ISCII and in the fonts that came before Unicode."""
    for script in ("de", "bn", "ta"):
        iscii.decode(data, script)
    iscii.plainly(data)
    for value in (text(data), data.decode("latin-1")):
        legacy_fonts.recognised(value)
        for font in ("Kruti Dev 010", "DevLys 010", "Shusha", ""):
            legacy_fonts.decode(value, font)


def wire(data: bytes) -> None:
    """Each side of the SMTP dialogue, logging in, and the header of a balancer."""
    _balancer(data)
    for signed in (False, True):
        _session(data, signed)
    replies = smtp_client.ReplyParser()
    try:
        for reply in replies.feed(data):
            smtp_client.Capabilities.parse(reply)
            reply.as_reply("5.0.0").encode()
    except smtp_client.HopProtocolError:
        pass
    for mechanism in smtp_auth.MECHANISMS:
        exchange = smtp_auth.Exchange(mechanism)
        try:
            for response in data.split(b"\n", 3):
                exchange.respond(response)
        except smtp_auth.AuthError:
            continue
    for parse in (smtp_params.helo_name, _mail, _recipient):
        try:
            parse(data)
        except (smtp_params.ArgumentError, AddressError):
            continue


def _mail(data: bytes) -> object:
    return smtp_params.mail(b"FROM:" + data, esmtp=True, max_size=10_000, auth=True)


def _recipient(data: bytes) -> object:
    return smtp_params.recipient(b"TO:" + data, esmtp=True, smtputf8=True)


def _balancer(data: bytes) -> None:
    parser = proxy.Parser()
    try:
        while parser.wanted and data:
            piece, data = data[: parser.wanted], data[parser.wanted :]
            parser.feed(piece)
    except proxy.ProxyError:
        return


def _session(data: bytes, signed: bool) -> None:
    """A session, its octets all at once and in small pieces."""
    for size in (len(data) or 1, 7):
        server = SubmissionServer(_OFFER) if signed else Server(_OFFER)
        if signed:
            server.tls_started(_OFFER.ehlo(tls=True, auth=True))
        server.greet()
        for at in range(0, len(data), size):
            _answer(server, data[at : at + size])
        if any(octet > 126 or (octet < 32 and octet not in b"\r\n") for octet in server.output()):
            raise AssertionError("a reply that is not printable")


def _answer(server: Server, data: bytes) -> None:
    """Answers what *data* asks for, as a door would."""
    server.receive(data)
    while (event := server.next_event()) is not None:
        match event:
            case smtp_params.Mail():
                server.accept_mail(event)
            case smtp_events.Data():
                server.start_text()
            case smtp_events.Body():
                if hashlib.sha256(event.content).hexdigest() != event.sha256:
                    raise AssertionError("a digest that is not that of the content")
                server.end_transaction(_OK)
            case smtp_events.Refusal():
                server.end_transaction(event.reply)
            case smtp_events.StartTls():
                server.tls_started(_OFFER.ehlo(tls=True, auth=True))
            case smtp_events.Close():
                return
            case smtp_auth.Credentials():
                server.answer(_NO, error=True)
            case Recipient():
                server.accept_recipient(event)
            case smtp_events.Error():
                server.answer(event.reply)
