"""What the recognition of words costs: ``python -m tests.bench.ocr``. It measures and prints; it asserts nothing.

Milliseconds of wall clock for decoding, drawing and recognising pages in a process of its own (two lanes), and the memory of a running
inspector with its pool (proportional set size: shared pages counted by share).
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from gateway import content
from gateway.config import Limits
from gateway.documents import pdf_render
from gateway.extraction.base import Budget, Tools
from gateway.inspector import tools
from gateway.pictures import image_pixels
from tests.content_mail import leaf, mail, scheme

SCANS = Path(__file__).parents[1] / "fixtures" / "scans"
NAMES = ("page.png", "screen.png", "dot.gif", "turned-180.png", "three-pages.tif", "photograph.jpg", "scan-only.pdf")
SERVICE = """
import sys
from gateway import policy
from gateway.config import Config
from gateway.inspector import service
service.run(Config(state_dir=sys.argv[1]), policy.scheme_of)
"""


def milliseconds(what: Callable[[], object], times: int = 3) -> float:
    """The least of *times* runs."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        what()
        best = min(best, time.perf_counter() - start)
    return best * 1000


def large_scan() -> bytes:
    """A page as a scanner in an office makes it: 300 dpi, grey, JPEG."""
    with Image.open(SCANS / "page.png") as page:
        grey = page.convert("L").resize((2480, 3508), Image.Resampling.BICUBIC)
    noise = Image.effect_noise(grey.size, 24)
    out = io.BytesIO()
    Image.blend(grey, noise, 0.12).save(out, "JPEG", quality=62)
    return out.getvalue()


def pss(pid: int) -> int:
    """Kilobytes."""
    return sum(int(line.split()[1]) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))


def main() -> None:
    """Prints the table."""
    limits = Limits()
    found = tools.direct(limits)
    scan = large_scan()
    drawn = (SCANS / "scan-only.pdf").read_bytes()
    print(f"decode {len(scan) // 1000} kB JPEG: {milliseconds(lambda: image_pixels.decode(scan, 'JPEG', 0, Budget(limits))):.0f} ms")
    print(f"draw a scanned page of a PDF: {milliseconds(lambda: pdf_render.render(drawn, 0, Budget(limits))):.0f} ms")
    files = {
        "1 MB scan": (scan, "scan.jpg"),
        **{name: ((SCANS / name).read_bytes(), name) for name in ("page.png", "screen.png", "dot.gif")},
    }
    files |= {
        name: ((SCANS / name).read_bytes(), name) for name in ("turned-180.png", "three-pages.tif", "photograph.jpg", "scan-only.pdf")
    }
    for label, (data, name) in files.items():
        message = mail(data, name)
        digest = hashlib.sha256(message).hexdigest()

        def once(tool: Tools | None, message: bytes = message, digest: str = digest) -> object:
            return content.unpack(message, sha256=digest, limits=limits, scheme=scheme(), tools=tool)

        state = leaf(content.unpack(message, sha256=digest, limits=limits, scheme=scheme(), tools=found)).state
        print(f"{label:<18} {milliseconds(lambda: once(found)):7.0f} ms ({milliseconds(lambda: once(None)):.0f} ms without), {state}")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", SERVICE, folder]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2]) as process:
            while not (Path(folder) / "run" / "inspector.sock").exists():
                time.sleep(0.1)
            time.sleep(1)
            children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout.split()
            print(f"inspector: parent {pss(process.pid)} kB, pool and workers {[pss(int(one)) for one in children]} kB")
            process.terminate()


if __name__ == "__main__":
    main()
