"""The warm start of the inspector: what ordinary mail needs is loaded before a worker loses the right to open files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "corpus" / "ordinary"

# An audit hook cannot be taken off again, so it lives in a process of its own.
WATCHED = """
import hashlib, json, linecache, pathlib, sys
from gateway.config import Limits
from gateway.content import unpack
from gateway.inspector import warm
from gateway.policy import watching

scheme, limits = watching.load(pathlib.Path("rules"))[0], Limits()
messages = json.load(sys.stdin)
warm.up(scheme, limits)
opened = {}
sys.addaudithook(lambda event, about: opened.setdefault(name, str(about[0])) if event in ("open", "os.listdir") else None)
for name, text in messages.items():
    octets = text.encode("latin-1")
    unpack(octets, sha256=hashlib.sha256(octets).hexdigest(), limits=limits, scheme=scheme)
name = "end"
print(json.dumps(opened))
"""
CHARSETS = (
    "iso-8859-1", "ISO-8859-2", "windows-1252", "iso-2022-jp", "iso-2022-kr", "koi8-r", "KOI8-T", "cp855", "mac-cyrillic", "johab", "big5",
    "shift_jisx0213", "gb2312", "hz-gb-2312", "euc-kr", "tis-620", "utf-7", "utf-16", "unicode_escape", "zlib", "rot13",
)  # fmt: skip
MAIL = (
    "From: a@b.example\r\nTo: c@d.example\r\nSubject: =?%s?q?=41=e4?=\r\nMIME-Version: 1.0\r\n"
    "Content-Type: multipart/mixed; boundary=B\r\n\r\n"
    "--B\r\nContent-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nHello =e4=f6=1b$B\r\n"
    "--B\r\nContent-Type: text/plain; name*=%s''a%%e4.txt\r\n"
    "Content-Disposition: attachment; filename*0*=%s''b%%e4; filename*1*=%%f6.txt\r\n\r\nx\r\n--B--\r\n"
)


@pytest.mark.slow
def test_no_ordinary_mail_makes_a_worker_open_a_file() -> None:
    """A worker that tries is refused, and its message held as one that stopped the inspection: so it was with names as Thunderbird writes
    them, with Japanese subjects and with addresses in other scripts."""
    messages = {path.name: path.read_bytes().decode("latin-1") for path in sorted(FOLDER.glob("*.eml"))}
    assert len(messages) > 50
    messages |= {charset: MAIL % ((charset,) * 4) for charset in CHARSETS}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], input=json.dumps(messages), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}
