"""What ``gateway check`` says of the inspection: which layers of its sandbox hold here, and which programs it has.

Who calls it: ``check``.
Must never: call a machine unfit for what it lacks: without a program, what only it could read is held, never passed.
Source: docs/design.md sections 2, 4 and 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.doctor import Finding
    from gateway.inspector.tools import Installed


def findings(config: Config) -> Iterator[Finding]:
    """One line for each layer and each program."""
    from gateway.doctor import Finding
    from gateway.inspector import confined, sandbox, tools

    for subject, lines in (("sandbox", sandbox.describe()), ("programs", confined.describe())):
        for line in lines:
            yield Finding(subject, "ok" if line.endswith(": on") or ": on (" in line else "warning", line)
    has = tools.installed(config.limits)
    if not config.limits.ocr_seconds:
        yield Finding("tesseract", "warning", "limits.ocr_seconds is 0: words in pictures are not read, so pictures stay uninspectable")
    else:
        yield from _recognition(has)
    if has.unpacks_rar:
        yield Finding("unar", "ok", "unar and lsar unpack RAR archives")
    else:
        yield Finding("unar", "warning", "unar is not installed: RAR archives that libarchive cannot unpack count as suspect; install unar")
    if _libarchive():
        yield Finding("libarchive", "ok", "libarchive reads RAR, PPMd, LZX, lz4 and rarer archives")
    else:
        yield Finding(
            "libarchive", "warning", "libarchive is not installed: PPMd, LZX, lz4 and others count as suspect; install libarchive13"
        )
    if confined.find("bwrap") is None and not sandbox.landlock_version():
        yield Finding("bwrap", "warning", "bubblewrap is not installed, and this kernel has no landlock: programs see too many files")


def _recognition(has: Installed) -> Iterator[Finding]:
    from gateway.doctor import Finding

    if has.tesseract is None:
        text = "tesseract is not installed: words in pictures and scanned pages are not read, so these stay uninspectable"
        yield Finding("tesseract", "warning", f"{text}; install tesseract-ocr, tesseract-ocr-hin and tesseract-ocr-osd")
        return
    if has.languages:
        yield Finding("tesseract", "ok", f"words in pictures are read: {', '.join(has.languages)}")
    for name in has.missing:
        text = f"the language pack {name} is missing: words of that language in pictures are not recognised"
        yield Finding("tesseract", "warning", f"{text}; install tesseract-ocr-{name.replace('_', '-')}")
    if not has.languages:
        yield Finding("tesseract", "warning", "no language pack of limits.ocr_languages is installed: pictures stay uninspectable")
    elif not has.turns:
        text = "the pack osd is missing: pages that lie on their side are tried from all sides, which takes longer"
        yield Finding("tesseract", "warning", f"{text}; install tesseract-ocr-osd")


def _libarchive() -> bool:
    try:
        import libarchive.ffi  # type: ignore[import-untyped]
    except Exception:  # it looks for the library when it is imported, and says so in its own ways
        return False
    return bool(libarchive.ffi.version_number())
