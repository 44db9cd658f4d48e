"""Makes the sample messages beside this file, with real documents in them.

Needs python-docx, reportlab and pyzipper (requirements-dev.lock), and Info-ZIP's zip.
The messages are committed: run this only to change them.
usage: python samples/make.py
"""

# ruff: noqa: E501
from __future__ import annotations

import io
import re
import subprocess
import tempfile
import zipfile
from email.message import EmailMessage
from pathlib import Path

import docx
import pyzipper
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen import canvas

HERE = Path(__file__).parent
OFFICER = "Asha Verma <asha.verma@dept.gov.in>"
DESK = "Section Officer <so.budget@finance.nic.in>"


def message(number: int, sender: str, to: str, subject: str, body: str) -> EmailMessage:
    """A message as a mail client writes it."""
    made = EmailMessage()
    made["From"] = sender
    made["To"] = to
    made["Date"] = f"Mon, 16 Nov 2026 10:{number:02d}:00 +0530"
    made["Subject"] = subject
    made["Message-ID"] = f"<sample-{number:02d}.20261116@dept.gov.in>"
    made.set_content(body, cte="quoted-printable" if not body.isascii() else "7bit")
    return made


def word(title: str, paragraphs: list[str], marking: str = "") -> bytes:
    """A Word document, its marking in header and footer of each page."""
    document = docx.Document()
    if marking:
        for part in (document.sections[0].header, document.sections[0].footer):
            part.paragraphs[0].text = marking
    document.add_heading(title, 1)
    for text in paragraphs:
        document.add_paragraph(text)
    data = io.BytesIO()
    document.save(data)
    # The template's preview picture is not of this text; Word writes none unless it is asked to.
    out = io.BytesIO()
    with zipfile.ZipFile(data) as before, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as after:
        for entry in before.infolist():
            content = before.read(entry)
            if entry.filename == "_rels/.rels":
                content = re.sub(rb"<Relationship [^>]*thumbnail[^>]*/>", b"", content)
            if "thumbnail" not in entry.filename:
                after.writestr(entry.filename, content)
    return out.getvalue()


def pdf(title: str, lines: list[str], marking: str) -> bytes:
    """A PDF of one page, its marking at top and bottom."""
    data = io.BytesIO()
    page = canvas.Canvas(data, pagesize=A4, invariant=1)
    page.setFont("Helvetica-Bold", 12)
    page.drawCentredString(A4[0] / 2, A4[1] - 40, marking)
    page.drawCentredString(A4[0] / 2, 30, marking)
    page.drawString(72, A4[1] - 100, title)
    page.setFont("Helvetica", 11)
    for number, line in enumerate(lines):
        page.drawString(72, A4[1] - 130 - 16 * number, line)
    page.save()
    return data.getvalue()


def locked(name: str, content: bytes, password: bytes) -> bytes:
    """A zip with one AES-256 member."""
    data = io.BytesIO()
    with pyzipper.AESZipFile(data, "w", compression=pyzipper.ZIP_DEFLATED, encryption=pyzipper.WZ_AES) as archive:
        archive.setpassword(password)
        archive.setencryption(pyzipper.WZ_AES, nbits=256)
        archive.writestr(name, content)
    return data.getvalue()


def weakly_locked(name: str, content: bytes, password: str) -> bytes:
    """A zip with one ZipCrypto member, made by Info-ZIP."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        subprocess.run(["zip", "-q", "-P", password, "made.zip", name], cwd=folder, check=True)
        return (Path(folder) / "made.zip").read_bytes()


def attach(made: EmailMessage, data: bytes, kind: str, name: str) -> EmailMessage:
    """Adds an attachment."""
    maintype, subtype = kind.split("/")
    made.add_attachment(data, maintype=maintype, subtype=subtype, filename=name)
    return made


DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def save(name: str, made: EmailMessage) -> None:
    """Writes one message with LF line ends; what sends it makes them CRLF."""
    made_bytes = made.as_bytes()
    (HERE / name).write_bytes(made_bytes)


def main() -> None:
    """Writes all of them."""
    note = "Kindly find below the minutes of the review meeting held on 12 November.\n\n1. The monthly return is due on the 5th.\n2. The next review is on 10 December.\n\nAsha Verma\nUnder Secretary\n"
    save("01-ordinary-note.eml", message(1, OFFICER, DESK, "Minutes of the review meeting", note))
    save(
        "02-to-gmail.eml",
        message(
            2,
            OFFICER,
            "R. Kumar <r.kumar.contractor@gmail.com>",
            "Draft estimates for the annexe",
            "Please go through the draft estimates and send your comments.\n\nAsha Verma\n",
        ),
    )
    save(
        "03-confidential-text.eml",
        message(
            3,
            OFFICER,
            DESK,
            "Posting proposals",
            "CONFIDENTIAL\n\nThe posting proposals of the three districts are under submission. They are\nnot to be discussed outside the section before approval.\n\nAsha Verma\n\nCONFIDENTIAL\n",
        ),
    )
    paragraphs = ["The committee considered the proposals of the districts.", "The recommendations are placed below for approval."]
    made = message(4, OFFICER, DESK, "Committee note", "The note of the committee is attached.\n\nAsha Verma\n")
    save("04-confidential-word-clear.eml", attach(made, word("Note of the committee", paragraphs, "CONFIDENTIAL"), DOCX, "note.docx"))
    made = message(
        5,
        OFFICER,
        DESK,
        "[CONFIDENTIAL] Committee note",
        "The note of the committee is attached, encrypted. The password follows by telephone.\n\nAsha Verma\n",
    )
    save(
        "05-confidential-zip-aes256.eml",
        attach(
            made,
            locked("note.docx", word("Note of the committee", paragraphs, "CONFIDENTIAL"), b"Kaveri-2291-Dhanush"),
            "application/zip",
            "note.zip",
        ),
    )
    save(
        "06-top-secret.eml",
        message(
            6,
            OFFICER,
            DESK,
            "Movement plan",
            "TOP SECRET\n\nSample text without any matter. A real paper of this grade may not be sent by e-mail.\n\nTOP SECRET\n",
        ),
    )
    save(
        "07-hindi-confidential.eml",
        message(
            7,
            OFFICER,
            DESK,
            "स्थानांतरण प्रस्ताव",
            "गोपनीय\n\nतीन जिलों के स्थानांतरण प्रस्ताव विचाराधीन हैं। अनुमोदन से पहले इन पर चर्चा न करें।\n\nआशा वर्मा\nअवर सचिव\n",
        ),
    )
    made = message(8, OFFICER, DESK, "[RESTRICTED] Tender evaluation", "RESTRICTED\n\nThe evaluation is attached.\n\nAsha Verma\n")
    save(
        "08-subject-lower-than-attachment.eml",
        attach(made, pdf("Evaluation of bids", ["Bidder A: 71", "Bidder B: 64"], "CONFIDENTIAL"), "application/pdf", "evaluation.pdf"),
    )
    save(
        "09-two-recipients.eml",
        message(
            9,
            OFFICER,
            f"{DESK}, R. Kumar <r.kumar@yahoo.co.in>",
            "Agenda for Thursday",
            "The agenda for Thursday's meeting:\n\n1. Action taken report\n2. Pending audit paragraphs\n\nAsha Verma\n",
        ),
    )
    save(
        "10-from-a-citizen.eml",
        message(
            10,
            "M. Lakshmi <m.lakshmi@example.org>",
            "grievance.cell@dept.gov.in",
            "Street light not working for two weeks",
            "Respected Sir or Madam,\n\nThe street light at Ward 12, 4th Cross has not worked for two weeks.\nKindly have it repaired.\n\nM. Lakshmi\n",
        ),
    )
    save(
        "11-look-alike-domain.eml",
        message(
            11,
            OFFICER,
            "Accounts <accounts@finance.g0v.in>",
            "Bank details for the refund",
            "As asked in your mail, the details are below.\n\nAsha Verma\n",
        ),
    )
    save(
        "12-to-cert-in.eml",
        message(
            12,
            OFFICER,
            "CERT-In <incident@cert-in.org.in>",
            "Incident report: phishing mail",
            "We report a phishing mail that asked officers for their passwords.\nThe mail came on 14 November at 11:20 from an address outside government.\n\nAsha Verma\n",
        ),
    )
    made = message(13, OFFICER, DESK, "Inspection report", "The inspection report is attached.\n\nAsha Verma\n")
    save(
        "13-restricted-pdf-clear.eml",
        attach(
            made,
            pdf("Inspection report", ["The stores were inspected on 3 November.", "Two registers are incomplete."], "RESTRICTED"),
            "application/pdf",
            "inspection.pdf",
        ),
    )
    made = message(14, OFFICER, DESK, "Old files", "The old files are attached, with a password.\n\nAsha Verma\n")
    save(
        "14-weak-zip.eml",
        attach(made, weakly_locked("files.txt", b"List of old files\n" * 20, "delhi123"), "application/zip", "old-files.zip"),
    )


if __name__ == "__main__":
    main()
