"""Says which services the service tests would need here and do not have; ``make test`` ends with it.

usage: python tests/services.py
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

NEEDED = {
    "Postfix": ("postfix", "a sending server in front, and NIC's server behind"),
    "swaks": ("swaks", "a second SMTP client"),
    "strace": ("strace", "a disk that is slow, and calls that fail, on purpose; what a power cut leaves"),
    "libfaketime": ("faketime", "a clock that jumps, in Debian's package faketime"),
    "Dovecot": ("dovecot", "the checker of passwords behind NIC's server, and the IMAP server, in Debian's package dovecot-imapd"),
    "PostgreSQL": ("initdb", "the store of many nodes"),
    "haproxy": ("haproxy", "the load balancer in front of many nodes"),
    "isync": ("mbsync", "a mail program that copies whole mailboxes"),
    "promtool": ("promtool", "Prometheus' own check of the alert rules, in Debian's package prometheus"),
    "tesseract": ("tesseract", "the words in pictures, in Debian's packages tesseract-ocr, -hin and -osd"),
    "unar": ("unar", "members of RAR archives that libarchive does not read"),
    "Chromium": ("chromium", "what a reviewer's browser makes of the pages"),
    "bubblewrap": ("bwrap", "the small file system in which unar writes"),
}


def main() -> None:
    """One line a service."""
    servers = ":".join(str(path) for path in Path("/usr/lib/postgresql").glob("*/bin"))
    search = os.environ.get("PATH", "") + f":/usr/sbin:/usr/lib/postfix/sbin:{servers}"
    missing = [name for name, (program, _) in NEEDED.items() if not shutil.which(program, path=search)]
    for name, (program, purpose) in NEEDED.items():
        if name in missing:
            print(f"service tests skipped: {name} ({purpose}): there is no program {program}; .ci/run installs it as root")
    if not missing:
        print(f"service tests: {', '.join(NEEDED)} are here; make test-service runs the tests that use them")


if __name__ == "__main__":
    main()
