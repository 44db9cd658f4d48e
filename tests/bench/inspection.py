"""Not collected: what inspection costs, by format.
usage: python -m tests.bench.inspection [--seconds S] [--only WORD] [--without-tools] [--json]

Each row is measured in a process of its own, forked from a warm parent as the inspection workers are: octets of the file a second,
milliseconds a message with that one attachment (by the clock, and of processor time with the programs that read pictures), and by how much
its resident size grew. The typical files (4 KB text, 96 KB DOCX, 2 MB PDF, 1 MB scan) are made here; of each other format it is the largest
file of the fixtures: where that is encrypted ("opaque"), the time goes into trying the words of the message on it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import random
import resource
import string
import time
from collections.abc import Callable
from pathlib import Path

import docx
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen import canvas

from gateway import content
from gateway.config import Limits
from gateway.extraction.base import Tools
from gateway.inspector import tools, warm
from tests.content_mail import mail, scheme

TESTS = Path(__file__).parents[1]
PROSE = """the committee of the department met on to consider proposal for allocation funds under scheme and noted that district
officers had sent their statements in time while remaining offices were requested by letter dated submit them before next meeting"""
WORDS = tuple(PROSE.split())


def prose(words: int, seed: int = 1) -> str:
    """Office prose without a marking."""
    pick = random.Random(seed)
    lines = [" ".join(pick.choices(WORDS, k=14)).capitalize() + "." for _ in range(words // 14)]
    return "\n".join(lines)


def text_4k() -> bytes:
    """A body of 4 KB."""
    return prose(700).encode()[:4096]


def seldom(words: int, seed: int) -> str:
    """Words that do not repeat, which make a packed file long."""
    pick = random.Random(seed)
    return " ".join("".join(pick.choices(string.ascii_lowercase, k=7)) for _ in range(words))


def docx_96k() -> bytes:
    """A document of about 96 KB with styles, tables and a picture-less letterhead."""
    document, seed = docx.Document(), 0
    out = io.BytesIO()
    while out.tell() < 96_000:
        for _ in range(40):
            seed += 1
            document.add_paragraph(prose(280, seed) + seldom(40, seed))
        table = document.add_table(rows=12, cols=5)
        for number, cell in enumerate(cell for row in table.rows for cell in row.cells):
            cell.text = f"{number} {prose(14, seed + number)}"
        out = io.BytesIO()
        document.save(out)
    return out.getvalue()


def pdf_2m() -> bytes:
    """A PDF of about 2 MB: pages of text and one embedded picture of noise."""
    out = io.BytesIO()
    sheet = canvas.Canvas(out, pagesize=A4)
    for page in range(60):
        for line, words in enumerate(prose(45 * 14, page).splitlines()[:45]):
            sheet.drawString(50, 790 - 16 * line, words[:95])
        sheet.showPage()
    noise = Image.frombytes("RGB", (800, 800), random.Random(1).randbytes(800 * 800 * 3))
    sheet.drawImage(ImageReader(noise), 100, 300, 300, 300)
    sheet.save()
    return out.getvalue()


def scan_1m() -> bytes:
    """One A4 page as a scanner writes it: 200 dpi, grey, with noise, about 1 MB of JPEG."""
    pick = random.Random(1)
    page = Image.new("L", (1654, 2339), 250)
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(34)
    for line, words in enumerate(prose(45 * 14).splitlines()[:42]):
        pen.text((130, 120 + 50 * line), words[:80], fill=20, font=font)
    noise = Image.frombytes("L", page.size, pick.randbytes(page.width * page.height))
    page = Image.blend(page, noise, 0.08)
    out = io.BytesIO()
    page.save(out, "JPEG", quality=75)
    return out.getvalue()


TYPICAL: dict[str, tuple[str, Callable[[], bytes]]] = {
    "text, 4 KB": ("note.txt", text_4k),
    "DOCX, 96 KB": ("note.docx", docx_96k),
    "PDF, 2 MB": ("report.pdf", pdf_2m),
    "scan, 1 MB": ("scan.jpg", scan_1m),
}


def rows() -> dict[str, tuple[str, bytes]]:
    """What is measured: label, file name and content."""
    found = {label: (name, make()) for label, (name, make) in TYPICAL.items()}
    largest: dict[str, Path] = {}
    for folder in (TESTS / "corpus" / "content", TESTS / "fixtures"):
        for path in folder.rglob("*"):
            kind = path.suffix.lower()
            if path.is_file() and kind not in (".py", ".toml", ".sh", "", ".tsv", ".txt", ".md", ".json"):
                known = largest.get(kind)
                if known is None or path.stat().st_size > known.stat().st_size:
                    largest[kind] = path
    found |= {f"{kind[1:]} of the fixtures": (path.name, path.read_bytes()) for kind, path in sorted(largest.items())}
    return found


def spent() -> float:
    """Seconds of processor time of this process and of the programs that it waited for."""
    mine, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


def measure(name: str, data: bytes, seconds: float, helpers: Tools | None, pipe: object) -> None:
    """Reads one message again and again for *seconds*; runs in its own process."""
    message = mail(data, name)
    digest = hashlib.sha256(message).hexdigest()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    end = time.perf_counter() + seconds
    used = spent()
    found = None
    while not times or time.perf_counter() < end:
        began = time.perf_counter()
        found = content.unpack(message, sha256=digest, limits=Limits(), scheme=scheme(), tools=helpers)
        times.append(time.perf_counter() - began)
    assert found is not None
    cpu = (spent() - used) / len(times)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    times.sort()
    # A signature is no attachment that somebody sends: then the last leaf is the one.
    leaf = next((one for one in found.leaves if one.is_attachment), found.leaves[-1])
    pipe.send((times[len(times) // 2], times[-1], cpu, len(times), grown / 1024, leaf.state.value))  # type: ignore[attr-defined]


def main() -> None:
    """Prints one line a row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each row is read again and again")
    parser.add_argument("--only", default="", help="only rows whose label holds this")
    parser.add_argument("--without-tools", action="store_true", help="read no words in pictures")
    parser.add_argument("--json", action="store_true")
    call = parser.parse_args()
    warm.up(scheme(), Limits())
    helpers = None if call.without_tools else tools.direct(Limits())
    context = multiprocessing.get_context("fork")
    if not call.json:
        print(f"{'file':<28} {'KB':>7} {'ms':>9} {'worst':>9} {'CPU ms':>9} {'MB/s':>8} {'runs':>6} {'memory MB':>10}  state")
    for label, (name, data) in rows().items():
        if call.only.lower() not in label.lower():
            continue
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=measure, args=(name, data, call.seconds, helpers, theirs))
        process.start()
        theirs.close()
        try:
            median, worst, cpu, runs, grown, state = mine.recv()
        except EOFError:
            print(f"{label:<28} the process ended")
            continue
        finally:
            process.join()
        if call.json:
            print(
                json.dumps(
                    {
                        "file": label,
                        "octets": len(data),
                        "ms": median * 1000,
                        "worst_ms": worst * 1000,
                        "cpu_ms": cpu * 1000,
                        "runs": runs,
                        "memory_mb": grown,
                    }
                )
            )
        else:
            rate = len(data) / median / 1e6
            kb, ms = len(data) / 1000, median * 1000
            print(
                f"{label:<28} {kb:>7.0f} {ms:>9.2f} {worst * 1000:>9.2f} {cpu * 1000:>9.2f} {rate:>8.1f} {runs:>6} {grown:>10.1f}  {state}"
            )


if __name__ == "__main__":
    main()
