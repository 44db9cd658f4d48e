"""Messages for the tests of the readers: a few octets of each kind, and what the strict reader makes of them."""

from __future__ import annotations

import base64

from gateway.config import Limits
from gateway.message import rawscan, views
from gateway.message.prescan import prescan
from gateway.message.views import View

LIMITS = Limits()
PAYLOAD = b"%PDF-1.4\nneutral payload: the quick brown fox jumps over the lazy dog\n%%EOF\n"
B64 = base64.encodebytes(PAYLOAD).replace(b"\n", b"\r\n")
TOP = b"From: a@dept.gov.in\r\nTo: b@finance.nic.in\r\nSubject: Papers\r\nMIME-Version: 1.0\r\n"
PDF = b'Content-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\n' + B64
TEXT = b"Content-Type: text/plain\r\n\r\nPapers enclosed.\r\n"


def look(content: bytes) -> View:
    return views.strict(content, prescan(content, LIMITS), LIMITS)


def multipart(*parts: bytes, boundary: bytes = b"B", head: bytes = b"", subtype: bytes = b"mixed") -> bytes:
    head = head or b'Content-Type: multipart/%s; boundary="%s"\r\n' % (subtype, boundary)
    body = b"".join(b"--" + boundary + b"\r\n" + part for part in parts)
    return TOP + head + b"\r\n" + body + b"--" + boundary + b"--\r\n"


def single(head: bytes, body: bytes = B64) -> bytes:
    return TOP + head + b"\r\n" + body


def reasons(content: bytes) -> str:
    return " | ".join(look(content).ambiguity)


def payload_seen(content: bytes) -> bool:
    view = look(content)
    readings = [reading for part in view.parts for reading in (part.decoded(), *part.others)]
    readings += [blob.data for blob in rawscan.hidden(content, view)]
    return any(PAYLOAD.strip() in reading.replace(b"\r\n", b"\n") for reading in readings)
