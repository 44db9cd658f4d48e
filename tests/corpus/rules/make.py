"""Makes the example messages of the baseline rules with real tools: python-docx, reportlab, Pillow and qpdf.

Run by hand when an example changes: ``python tests/corpus/rules/make.py``. The files are committed, CI does not run this.
"""

from __future__ import annotations

import io
import random
import subprocess
import tempfile
from email.message import EmailMessage
from pathlib import Path

import docx
from PIL import Image
from reportlab.pdfgen import canvas

HERE = Path(__file__).parents[3] / "rules" / "policy" / "examples"
DOCX = "vnd.openxmlformats-officedocument.wordprocessingml.document"
LINES = ["Kindly find the statement for the month enclosed.", "The figures were checked by the section.", "Regards"]


def message(name: str, body: str, *attachments: tuple[str, str, str, bytes]) -> bytes:
    mail = EmailMessage()
    mail["From"] = "Officer <officer@dept.gov.in>"
    mail["To"] = "Desk <desk@ministry.gov.in>"
    mail["Date"] = "Sat, 21 Nov 2026 10:00:00 +0530"
    mail["Subject"] = "Monthly statement"
    mail["Message-ID"] = f"<{name}.example@dept.gov.in>"
    mail.set_content(body)
    for file_name, maintype, subtype, data in attachments:
        mail.add_attachment(data, maintype=maintype, subtype=subtype, filename=file_name)
    if attachments:
        mail.set_boundary("=_example")
    return mail.as_bytes()


def word(last: str) -> bytes:
    document = docx.Document()
    for line in LINES:
        document.add_paragraph(line)
    document.add_paragraph(last)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def pdf(last: str, pages: int = 2) -> bytes:
    """A document of *pages* pages with *last* on the last one; encryption is proved from some 10 KB, not from a few lines."""
    out = io.BytesIO()
    page = canvas.Canvas(out, pageCompression=1, invariant=1)
    numbers = random.Random(1)  # noqa: S311 - figures of a table, the same in each run
    for number in range(pages):
        for row, line in enumerate(LINES + [f"Item {row}: {numbers.random()} {numbers.random()}" for row in range(30)]):
            page.drawString(60, 780 - 20 * row, line)
        if number == pages - 1 and last:
            page.drawCentredString(300, 810, last)
        page.showPage()
    page.save()
    return out.getvalue()


def encrypted(data: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        plain, locked = Path(folder) / "plain.pdf", Path(folder) / "locked.pdf"
        plain.write_bytes(data)
        subprocess.run(["qpdf", "--encrypt", "long password", "owner password", "256", "--", plain, locked], check=True)
        return locked.read_bytes()


def picture() -> bytes:
    out = io.BytesIO()
    shown = Image.new("L", (160, 120))  # large enough that words could stand in it
    shown.putdata([(x * y // 90 + 40 * ((x // 20 + y // 15) % 2)) % 256 for y in range(120) for x in range(160)])
    shown.quantize(8).save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    text = "\n".join(LINES) + "\n"
    files = {
        "unmarked": message("unmarked", text),
        "secret-body": message("secret-body", "SECRET\n\n" + text),
        "confidential-body": message("confidential-body", "Classification: CONFIDENTIAL\n\n" + text),
        "note-confidential-docx": message("note-docx", text, ("note.docx", "application", DOCX, word("CONFIDENTIAL"))),
        "note-confidential-pdf": message("note-pdf", text, ("note.pdf", "application", "pdf", pdf("CONFIDENTIAL"))),
        "encrypted-pdf-undeclared": message("locked", text, ("note.pdf", "application", "pdf", encrypted(pdf("", 12)))),
        "encrypted-pdf-confidential": message(
            "locked-c", "Classification: CONFIDENTIAL\n\n" + text, ("note.pdf", "application", "pdf", encrypted(pdf("CONFIDENTIAL", 12)))
        ),
        "unknown-attachment": message("unknown", text, ("plan.dat", "application", "octet-stream", bytes(range(256)) * 8)),
        "picture": message("picture", text, ("photo.png", "image", "png", picture())),
    }
    double = files["unmarked"].replace(b"\nMIME-Version", b"\nContent-Type: multipart/mixed; boundary=x\nMIME-Version", 1)
    files["two-content-types"] = double
    for name, octets in files.items():
        (HERE / f"{name}.eml").write_bytes(octets.replace(b"\r\n", b"\n"))


if __name__ == "__main__":
    main()
