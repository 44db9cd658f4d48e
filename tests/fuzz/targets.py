"""Every parser of our own as a function of octets, and the one error that it may raise.

A new parser is one line in ``TARGETS``. Whatever the octets, a target returns or raises what its line names; anything else is a fault.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config import Limits
from gateway.content import calendar, formulas, html, names, rtf, sniff, text_plain
from gateway.content.base import Budget, Piece, Unreadable
from gateway.message import armour, charsets, encoded, headers, mailboxes, params, plain, rawscan, transfer, views
from gateway.message.prescan import canonical, prescan
from gateway.text import iscii, legacy_fonts, markings, normalise, passwords
from gateway.verdict import Zone
from tests.content_mail import scheme

ROOT = Path(__file__).parents[1]
LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Target:
    """One parser."""

    run: Callable[[bytes], object]
    error: tuple[type[Exception], ...] = ()
    seeds: tuple[str, ...] = ()
    """Patterns of files under ``tests`` to begin with."""
    words: tuple[bytes, ...] = field(default=())
    """What its format is made of, for the generator."""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _strict(data: bytes) -> object:
    view = views.strict(data, prescan(data, LIMITS), LIMITS)
    return views.summary(view, prescan(data, LIMITS)), [part.decoded() for part in view.parts], rawscan.hidden(data, view)


def _lenient(data: bytes) -> object:
    view = views.strict(data, prescan(data, LIMITS), LIMITS)
    return views.disagreements(view, views.lenient(data, view.parts))


def _door(data: bytes) -> object:
    return plain.inspect(data, "", LIMITS, scheme())


def _reader(extract: Callable[[Piece, Budget], object], name: str, declared: str = "") -> Callable[[bytes], object]:
    return functools.partial(_read, extract, name, declared)


def _read(extract: Callable[[Piece, Budget], object], name: str, declared: str, data: bytes) -> object:
    return extract(Piece(data, name, declared), Budget(LIMITS))


def _rawscan(data: bytes) -> object:
    return rawscan.suspicious(data), list(rawscan.find(data, "1"))


def _params(data: bytes) -> object:
    structured = params.parse(_text(data), "Content-Type", 50)
    return params.file_names(structured, structured)


def _transfer(data: bytes) -> object:
    return [transfer.decode(data, encoding) for encoding in ("base64", "quoted-printable", "x-uuencode", "7bit")]


def _armour(data: bytes) -> object:
    return armour.yenc(data, 0), armour.binhex(data, 0), armour.xxencode(data, 0)


def _mailboxes(data: bytes) -> object:
    values = [_text(data)]
    return mailboxes.sender(values), mailboxes.recipients(values), mailboxes.everyone(values), mailboxes.named(values, "a b")


def _charsets(data: bytes) -> object:
    return charsets.utf7(_text(data)), charsets.escaped(data), charsets.overlong(data), charsets.readable(data, "utf-7")


def _markings(data: bytes) -> object:
    text = _text(data)
    return [
        markings.scan((markings.Segment(text, zone),), "1", scheme()) for zone in (Zone.BODY, Zone.SUBJECT, Zone.FILE_NAME, Zone.WATERMARK)
    ]


def _names(data: bytes) -> object:
    name = _text(data)
    return names.odd(name), names.endings(name), names.ending(name)


MAIL = ("corpus/mime/*.eml", "corpus/ordinary/*.eml", "corpus/content/*.eml")
MIME = (
    b"\r\n", b"\r\n\r\n", b"--B", b"--B--", b"Content-Type: ", b"multipart/mixed; boundary=B", b"message/rfc822", b"text/plain",
    b"; charset=", b"Content-Transfer-Encoding: ", b"base64", b"quoted-printable", b"x-uuencode", b"=?utf-8?B?", b"?=",
    b"filename*0*=utf-8''%41", b"begin 644 x", b"=ybegin ", b"(This file must be converted with BinHex 4.0)\r\n\r\n:",
    b"data:text/html;base64,", b"U0VDUkVU", b"SECRET",
)  # fmt: skip
PAGE = (
    b"<",
    b">",
    b"</",
    b"<p>",
    b"<!--",
    b"-->",
    b"<![CDATA[",
    b"<script>",
    b"style='display:none'",
    b"href=",
    b'"',
    b"&#x",
    b";",
    b"<svg",
)
RTF = (
    b"{\\rtf1",
    b"{",
    b"}",
    b"\\'",
    b"\\u-1",
    b"\\bin9 ",
    b"{\\*\\objdata ",
    b"{\\pict",
    b"{\\fonttbl",
    b"\\f1",
    b"\\uc2",
    b"\\fromhtml1",
    b"\\v ",
    b"0105000002000000",
)
CARD = (
    b"BEGIN:VCARD\r\n",
    b"BEGIN:VEVENT\r\n",
    b"\r\n ",
    b"ATTACH;ENCODING=BASE64:",
    b"PHOTO;",
    b"QUOTED-PRINTABLE:",
    b"=\r\n",
    b'ALTREP="',
    b"data:,",
    b"\\n",
)

TARGETS: dict[str, Target] = {
    "prescan": Target(lambda data: prescan(canonical(data), LIMITS), seeds=MAIL, words=MIME),
    "headers": Target(headers.read, seeds=MAIL, words=MIME),
    "mime_view": Target(_strict, seeds=MAIL, words=MIME),
    "lenient": Target(_lenient, seeds=MAIL, words=MIME),
    "plain": Target(_door, seeds=MAIL, words=MIME),
    "rawscan": Target(_rawscan, seeds=MAIL, words=MIME),
    "armour": Target(_armour, words=MIME),
    "params": Target(_params, words=MIME),
    "transfer": Target(_transfer, words=MIME),
    "encoded": Target(lambda data: encoded.decode_words(_text(data)), words=MIME),
    "mailboxes": Target(_mailboxes, words=(b"<", b">", b"@", b"a@b.in", b'"', b"(", b")", b",", b":", b";", b"\\")),
    "charsets": Target(_charsets, words=(b"+", b"-", b"+AFM-", b"\x1b(B", b"\x1b$B", b"~{", b"~}", b"\xc1\x93")),
    "text_plain": Target(_reader(text_plain.extract, "a.txt"), (Unreadable,), words=MIME),
    "html": Target(_reader(html.extract, "a.html", "text/html"), (Unreadable,), words=PAGE),
    "calendar": Target(_reader(calendar.extract, "a.ics", "text/calendar"), (Unreadable,), words=CARD),
    "rtf": Target(_reader(rtf.extract, "a.rtf"), (Unreadable,), ("corpus/content/*.rtf", "fixtures/*/*.rtf"), RTF),
    "formulas": Target(lambda data: formulas.active(_text(data)), words=(b"=cmd|'", b"!A0", b"DDE(", b",", b"ID;P", b"NN;")),
    "sniff": Target(lambda data: sniff.sniff(Piece(data, "a.bin")), seeds=("corpus/content/*",)),
    "names": Target(_names, words=(b".js", b"\xe2\x80\xae", b"::$DATA", b"../", b"CON", b"\0")),
    "normalise": Target(lambda data: normalise.normalise(_text(data)), words=(b"S E C R E T", b"\xe2\x80\x8b", b"\xf0\x9d\x90\x92")),
    "markings": Target(_markings, words=(b"SECRET", b"TOP SECRET", b"\n", b"Classification: ", b"CONFIDENTIAL", b"//")),
    "iscii": Target(lambda data: (iscii.decode(data), iscii.plainly(data))),
    "legacy_fonts": Target(lambda data: legacy_fonts.decode(_text(data), "Kruti Dev 010")),
    "passwords": Target(lambda data: passwords.candidates([_text(data)], (), [_text(data)]), words=(b"password: ", b"pw=")),
}  # fmt: skip


def check(name: str, data: bytes) -> None:
    """Runs the target *name* on *data*; raises what it may not raise."""
    target = TARGETS[name]
    try:
        target.run(data)
    except target.error:
        return
