"""Everything a worker may need, loaded before it loses the right to open files.

What it is: ``up``, which imports what libraries import late and has every reader read one small sample.
Who calls it: the parent of the inspection workers, once, before it forks; so the pages are shared.
Must never: read a file that a message supplied.
Source: docs/design.md section 2 (the inspector owns nothing).
"""

from __future__ import annotations

import codecs
import encodings
import importlib
import io
import pkgutil
import zipfile

import pikepdf
from PIL import Image

from gateway import content
from gateway.config import Limits
from gateway.content import libmagic
from gateway.documents import pdf_render, text_plain
from gateway.extraction.base import Budget, Unreadable
from gateway.inspector import authentication
from gateway.message import charsets
from gateway.pictures import image_pixels
from gateway.text.markings import Scheme

_LATE = (
    "msoffcrypto.format.ooxml",
    "msoffcrypto.method.ecma376_agile",
    "msoffcrypto.method.ecma376_standard",
    "msoffcrypto.method.ecma376_extensible",
    "cryptography.hazmat.backends.openssl.backend",
    "cryptography.hazmat.primitives.padding",
    "cryptography.hazmat.decrepit.ciphers.algorithms",
    "pypdf._encryption",
    "pypdf.generic",
    "encodings.idna",
    "stringprep",
    "email.parser",
    "email._header_value_parser",
    "traceback",
    "linecache",
    "lzma",
    "bz2",
    "quopri",
    "uu",
)


_KEY_NAME, _KEY = "s._domainkey.example.org", "v=DKIM1; k=rsa; p=AAAA"


def up(scheme: Scheme, limits: Limits) -> None:
    """Loads modules, codecs, tables and databases."""
    for name in _LATE:
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # another version of the library has it elsewhere, or not at all
    _codecs()
    libmagic.load()
    libmagic.vote(bytes(range(256)))
    _pictures(limits)
    for sample in _samples():
        content.unpack(sample, sha256="", limits=limits, scheme=scheme)
    signature = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s; h=from; bh=x; b=x\r\n"
    authentication.check(signature + sample, [("DKIM-Signature", signature[16:].decode("ascii"))], {_KEY_NAME: _KEY})


def _codecs() -> None:
    """Every codec there is. Our own readers ask for a few by name; Python's reader of names of files asks for what the mail declares,
    and for some of its own (raw-unicode-escape), and to ask for one that is not loaded costs a worker its life."""
    for module in pkgutil.iter_modules(encodings.__path__):
        try:
            importlib.import_module(f"encodings.{module.name}")
        except ImportError:
            continue  # of another system
    for codec in (*text_plain.codecs_in_use(), *charsets.codecs_in_use(), "raw-unicode-escape", "punycode", "idna"):
        codecs.lookup(codec)


def _pictures(limits: Limits) -> None:
    """Every decoder of pictures that is in use, and the drawing of a page."""
    Image.init()
    budget = Budget(limits)
    for kind in image_pixels.FORMATS.values():
        for mode in ("RGBA", "RGB", "L", "1"):
            out = io.BytesIO()
            try:
                Image.new(mode, (40, 30)).save(out, kind)
                image_pixels.decode(out.getvalue(), kind, 0, budget)
            except (OSError, ValueError, KeyError, Unreadable):
                continue  # not every format has every mode
    for compression in ("group4", "group3", "tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits"):
        out = io.BytesIO()
        try:
            Image.new("1" if compression.startswith("group") else "L", (40, 30)).save(out, "TIFF", compression=compression)
            image_pixels.decode(out.getvalue(), "TIFF", 0, budget)
        except (OSError, ValueError, KeyError, Unreadable):
            continue
    pdf_render.render(_pdf(None), 0, budget)


def _samples() -> list[bytes]:
    """Messages whose attachments lead through every reader."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.txt", "नमूना sample " * 20)
    office = io.BytesIO()
    with zipfile.ZipFile(office, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("[Content_Types].xml", "<Types/>")
        file.writestr(
            "word/document.xml", '<?xml version="1.0"?><w:document xmlns:w="w"><w:p><w:r><w:t>sample</w:t></w:r></w:p></w:document>'
        )
    opendocument = io.BytesIO()
    with zipfile.ZipFile(opendocument, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        file.writestr("content.xml", '<?xml version="1.0"?><o:d xmlns:o="o" xmlns:t="t"><t:p>sample</t:p></o:d>')
        file.writestr("META-INF/manifest.xml", '<m:m xmlns:m="m"><m:file-entry m:full-path="content.xml"/></m:m>')
    attachments = [
        ("a.zip", archive.getvalue()),
        ("a.odt", opendocument.getvalue()),
        ("a.docx", office.getvalue()),
        ("a.pdf", _pdf(None)),
        ("b.pdf", _pdf(pikepdf.Encryption(owner="o", user="u", R=6))),
        ("a.html", b"<html><body><p>sample <b>text</b></p></body></html>"),
        ("a.eml", b"From: a@example.org\r\nSubject: sample\r\n\r\ntext\r\n"),
        ("a.bin", bytes(range(256)) * 4),
        ("a.txt", "पाठ café".encode("utf-16")),
        ("b.txt", "très bien, déjà vu à la fenêtre".encode("cp1252")),
    ]
    return [_message(name, data) for name, data in attachments]


def _pdf(encryption: pikepdf.Encryption | None) -> bytes:
    pdf = pikepdf.new()
    page = pdf.add_blank_page()
    font = pdf.make_indirect(pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica))
    page.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
    page.Contents = pdf.make_stream(b"BT /F1 12 Tf 72 720 Td (" + b"sample text " * 100 + b") Tj ET")
    out = io.BytesIO()
    pdf.save(out, encryption=encryption if encryption is not None else False)
    return out.getvalue()


def _message(name: str, data: bytes) -> bytes:
    head = (
        "From: a@example.org\r\nTo: b@example.org\r\nSubject: =?utf-8?q?sample?=\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: application/octet-stream; name="{name}"\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\n"
    )
    return head.encode("ascii") + codecs.encode(data, "base64").replace(b"\n", b"\r\n")
