"""An inspection worker keeps the memory of one message for the next."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from gateway.inspector import sandbox
if "keep" in sys.argv:
    sandbox.keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [bytes(bytearray(b"x") * 2_000_000) for _ in range(6)]
    del pieces
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*words: str) -> int:
    """Page faults of a fresh process when it asks for 12 MB, in pieces, once again."""
    return int(subprocess.run([sys.executable, "-c", FAULTS, *words], capture_output=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_a_second_message_takes_no_new_pages() -> None:
    assert faults("keep") < 500 < faults()
