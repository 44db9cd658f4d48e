"""An inspection worker keeps the memory of one message for the next."""

from __future__ import annotations

import os
import platform
import resource

import pytest

from gateway.content import sandbox


def faults(keep: bool) -> int:
    """Page faults of a child process when it asks for 12 MB, in pieces, the second time."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        if keep:
            sandbox.keep_freed_memory()
        for _ in range(2):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            pieces = [bytes(bytearray(b"x") * 2_000_000) for _ in range(6)]
            del pieces
        os.write(writing, str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    try:
        return int(os.read(reading, 100))
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_a_second_message_takes_no_new_pages() -> None:
    assert faults(keep=True) < 500 < faults(keep=False)
