"""Looks at the libraries that are installed: versions with flaws that are known and that touch what the gateway does.

What it is: a table of first fixed versions, held against what is here.
Who calls it: ``gateway doctor``.
Must never: refuse a start; ask the network (a list that is not here is not looked at).
Sources: hostile-inputs catalogue 4.7; the advisories named in the table (GitHub Advisory Database).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import metadata

from gateway.doctor import Finding

FIXED = (
    ("cryptography", "44.0.1", "CVE-2024-12797 (the OpenSSL inside it)"),
    ("dnspython", "2.6.1", "CVE-2023-29483 (answers of a stranger end a look-up)"),
    ("h11", "0.16.0", "CVE-2025-43859 (request smuggling)"),
    ("idna", "3.7", "CVE-2024-3651 (long names take long)"),
    ("jinja2", "3.1.6", "CVE-2025-27516 (sandbox)"),
    ("lxml", "4.9.1", "CVE-2022-2309 (crash on malformed input)"),
    ("pypdf", "6.0.0", "CVE-2025-55197 (memory of crafted streams)"),
    ("python-multipart", "0.0.18", "CVE-2024-53981 (log flood by crafted forms)"),
    ("starlette", "0.49.1", "CVE-2025-62727 (Range headers take long)"),
)
"""Distribution, first version without the flaw, the flaw."""


def numbers(version: str) -> tuple[int, ...]:
    """The release numbers of *version*, for comparing; what follows them (rc1, .post1) is left out."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def examine(version_of: Callable[[str], str] = metadata.version) -> Iterator[Finding]:
    """One warning a library that is too old."""
    looked = 0
    bad = False
    for name, fixed, flaw in FIXED:
        try:
            version = version_of(name)
        except metadata.PackageNotFoundError:
            continue
        looked += 1
        if numbers(version) < numbers(fixed):
            bad = True
            yield Finding("libraries", "warning", f"{name} {version} has {flaw}: take {fixed} or newer")
    if not bad:
        yield Finding("libraries", "ok", f"none of the {looked} libraries looked at has a version with a flaw known to this release")
