"""Not collected: what each additional view of a message costs. usage: python -m tests.bench.views [--rounds N]

Every view stands for a few functions, which are measured while whole messages are read: 4 KB of text, the same in Hindi, a DOCX of 96 KB, a
PDF of 2 MB, a Word file that is encrypted with AES-256 under a letter of 300 words, and a scan. Processor time in milliseconds a message,
programs included; the rows overlap where one view calls another ("observations" holds "identifiers").
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway import content
from gateway.config import Limits
from gateway.inspector import tools, warm
from tests.bench.inspection import docx_96k, pdf_2m, prose, scan_1m, spent, text_4k
from tests.content_mail import mail, scheme

VIEWS: dict[str, tuple[str, ...]] = {
    "raw scan for what hides in text": ("message.rawscan:hidden", "documents.text_plain:hidden"),
    "as lenient programs read it": ("message.views:lenient", "message.views:disagreements"),
    "other character sets": ("documents.text_plain:decode",),
    "markings, all of it": ("text.markings:scan",),
    "Kruti Dev and DevLys": ("text.legacy_fonts:decode", "documents.run_fonts:mentioned", "documents.run_fonts:names"),
    "observations, all of it": ("text.observing:Observer.look", "text.observing:Observer.thread"),
    "identifiers": ("text.identifiers:candidates", "text.identifiers:stretches", "text.observing:Observer._aadhaar"),
    "topics": ("text.topics:Topics.search", "text.observing:Observer._hits"),
    "passages of threads": ("text.observing:Observer.thread",),
    "thread fields": ("message.thread_fields:references",),
    "password trials": ("content.unlocking:Trial.run",),
    "DOCX: unpacking": ("archives.zip_directory:unpack",),
    "DOCX: the text": ("documents.ooxml_text:read",),
    "DOCX: styles hold no text": ("documents.ooxml_text:is_silent",),
    "DOCX: what is shown otherwise": ("documents.ooxml_readings:spoken", "documents.ooxml_readings:others"),
    "PDF: objects and streams": ("documents.pdf_objects:read",),
    "PDF: content is measured": ("documents.pdf_content:Contents.stream",),
    "PDF: pages": ("documents.pdf_pages:read",),
    "PDF: hidden, pale, turned text": ("documents.pdf_pages:_Look.at",),
    "pictures": ("content.recognition:recognise",),
}
FIXTURES = Path(__file__).parents[1] / "fixtures"


class Clock:
    """Time by view; a view within itself counts once."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: set[str] = set()

    def around(self, view: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """*function*, measured."""

        @functools.wraps(function)
        def measured(*args: object, **named: object) -> object:
            if view in self._open:
                return function(*args, **named)
            self._open.add(view)
            began = spent()
            try:
                return function(*args, **named)
            finally:
                self._open.discard(view)
                self.seconds[view] = self.seconds.get(view, 0.0) + spent() - began

        return measured

    def install(self) -> None:
        """Puts the measured functions in the place of the others, wherever they were imported."""
        for view, names in VIEWS.items():
            for name in names:
                module, _, path = name.partition(":")
                *holders, last = path.split(".")
                holder: Any = importlib.import_module(f"gateway.{module}")
                for one in holders:
                    holder = getattr(holder, one)
                function = getattr(holder, last)
                measured = self.around(view, function)
                setattr(holder, last, measured)
                for other in [one for key, one in sys.modules.items() if key.startswith("gateway.")] if not holders else ():
                    for key in [key for key, value in vars(other).items() if value is function]:
                        setattr(other, key, measured)


def messages() -> dict[str, bytes]:
    """What is read."""
    hindi = "संदर्भाधीन प्रस्ताव पर विभाग की समिति ने विचार किया तथा जिला अधिकारियों से विवरण मंगाया गया।\n"
    letter = prose(300) + "\nThe password has been sent separately by SMS on 12.11.2026.\n"
    locked = (FIXTURES / "office" / "agile-msoffcrypto-word.docx").read_bytes()
    return {
        "text": mail(text_4k(), "note.txt"),
        "Hindi": mail((hindi * 18).encode()[:4096].decode("utf-8", "ignore").encode(), "note.txt"),
        "DOCX": mail(docx_96k(), "note.docx"),
        "PDF": mail(pdf_2m(), "report.pdf"),
        "locked": mail(locked, "papers.docx", body=letter),
        "scan": mail(scan_1m(), "scan.jpg"),
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    limits, rules = Limits(), scheme()
    warm.up(rules, limits)
    programs = tools.direct(limits)
    table: dict[str, dict[str, float]] = {}
    clock = Clock()
    clock.install()
    kinds = messages()
    for kind, message in kinds.items():
        digest = hashlib.sha256(message).hexdigest()
        results: list[dict[str, float]] = []
        for _ in range(1 if kind in ("locked", "scan") else rounds + 1):
            clock.seconds.clear()
            began = spent()
            content.unpack(message, sha256=digest, limits=limits, scheme=rules, tools=programs if kind == "scan" else None)
            results.append({"all": spent() - began} | clock.seconds)
        results = results[1:] or results  # the first is cold
        table[kind] = {view: statistics.median(one.get(view, 0.0) for one in results) for view in (*VIEWS, "all")}
    print(f"{'ms of processor time':<32}" + "".join(f"{kind:>9}" for kind in kinds))
    for view in (*VIEWS, "all"):
        print(f"{view:<32}" + "".join(f"{table[kind][view] * 1000:>9.2f}" for kind in kinds))


if __name__ == "__main__":
    main()
