"""Writes the documents that make.sh works on into the folder given as argument."""

import csv
import random
import sys
from pathlib import Path

import docx
import pypdf
from docx.oxml import parse_xml
from PIL import Image
from pypdf.annotations import FreeText
from reportlab.pdfgen import canvas

FOLDER = Path(sys.argv[1])
WORDS = [
    "ministry",
    "file",
    "note",
    "order",
    "section",
    "officer",
    "budget",
    "release",
    "approval",
    "district",
    "scheme",
    "grant",
    "letter",
    "dated",
    "reference",
]


def prose(seed: int, words: int) -> str:
    """Harmless text."""
    rng = random.Random(seed)
    return "\n".join(" ".join(rng.choice(WORDS) for _ in range(10)) for _ in range(words // 10))


def note() -> None:
    """A DOCX with a marking in each place where one may stand; each place has its own word for the tests."""
    document = docx.Document()
    document.core_properties.title = "title-word"
    section = document.sections[0]
    section.header.paragraphs[0].text = "CONFIDENTIAL"
    section.footer.paragraphs[0].text = "footer-word"
    document.add_heading("Note for the file", 1)
    split = document.add_paragraph()
    split.add_run("split")
    split.add_run("-word").bold = True
    hidden = document.add_paragraph("seen")
    run = hidden.add_run("hidden-word")
    run.font.hidden = True
    hidden.add_run("-together")
    table = document.add_table(1, 2)
    table.cell(0, 0).text = "cell-one"
    table.cell(0, 1).text = "cell-two"
    box = parse_xml(
        '<w:r xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:v="urn:schemas-microsoft-com:vml">'
        '<w:pict><v:shape alt="alt-word"><v:textbox><w:txbxContent><w:p><w:r><w:t>box-word</w:t></w:r></w:p></w:txbxContent></v:textbox>'
        '</v:shape><v:shape><v:textpath string="watermark-word"/></v:shape></w:pict></w:r>'
    )
    document.add_paragraph("around the box")._p.append(box)
    document.add_comment(document.paragraphs[0].runs[0], text="comment-word", author="A", initials="A")
    document.add_paragraph(prose(1, 600))
    document.save(FOLDER / "note.docx")


def pdfs() -> None:
    page = canvas.Canvas(str(FOLDER / "page.pdf"))
    page.drawString(250, 820, "RESTRICTED")
    page.drawString(72, 500, "page text of the first page")
    page.showPage()
    page.drawString(72, 500, "second page")
    page.drawString(250, 20, "CONFIDENTIAL")
    page.showPage()
    page.setTitle("pdf-title-word")
    page.save()
    long = canvas.Canvas(str(FOLDER / "long.pdf"))
    for number in range(5):
        text = long.beginText(50, 800)
        for line in prose(number, 400).split("\n"):
            text.textLine(line)
        long.drawText(text)
        long.showPage()
    long.save()
    writer = pypdf.PdfWriter(clone_from=str(FOLDER / "page.pdf"))
    writer.add_annotation(0, FreeText(text="annotation-word", rect=(50, 550, 200, 650)))
    writer.add_metadata({"/MSIP_Label_1234_Name": "property-word"})
    writer.write(FOLDER / "annotated.pdf")
    form = canvas.Canvas(str(FOLDER / "form.pdf"))
    form.drawString(72, 700, "form")
    form.acroForm.textfield(name="field", value="value-word", x=72, y=600)
    form.showPage()
    form.save()
    revised = pypdf.PdfWriter(str(FOLDER / "page.pdf"), incremental=True)
    other = canvas.Canvas(str(FOLDER / "other.pdf"))
    other.drawString(72, 500, "replacement")
    other.save()
    fresh = pypdf.PdfReader(str(FOLDER / "other.pdf")).pages[0]
    for number in range(2):
        revised.pages[number][pypdf.generic.NameObject("/Contents")] = revised._add_object(fresh.get_contents().clone(revised))
    revised.write(FOLDER / "revised.pdf")
    picture = canvas.Canvas(str(FOLDER / "picture.pdf"))
    picture.drawInlineImage(Image.new("RGB", (20, 20), "red"), 72, 600)
    picture.showPage()
    picture.save()


def pictures() -> None:
    rng = random.Random(2)
    image = Image.frombytes("RGB", (24, 24), rng.randbytes(24 * 24 * 3))
    for suffix in ("png", "gif", "tif", "webp", "bmp", "ico"):
        image.save(FOLDER / f"p.{suffix}")
    image.save(FOLDER / "p.jpg", comment=b"comment-word")


def texts() -> None:
    (FOLDER / "long.txt").write_text(prose(3, 3000), "utf-8")
    (FOLDER / "other.txt").write_text(prose(4, 2000), "utf-8")
    with open(FOLDER / "table.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["name", "value"], ["cell-word", "12"], ["गोपनीय", "x"]])
    (FOLDER / "slides.fodp").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
        'xmlns:svg="urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0" office:version="1.2" '
        'office:mimetype="application/vnd.oasis.opendocument.presentation"><office:body><office:presentation><draw:page draw:name="one">'
        '<draw:frame svg:width="10cm" svg:height="3cm" svg:x="2cm" svg:y="2cm"><draw:text-box><text:p>slide-word</text:p></draw:text-box>'
        "</draw:frame></draw:page></office:presentation></office:body></office:document>",
        "utf-8",
    )


note()
pdfs()
pictures()
texts()
