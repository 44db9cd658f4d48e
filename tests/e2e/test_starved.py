"""A machine that hardly gets to work (catalogue O24): one twentieth of the processor, a disk that takes 200 ms for each sync.

Nothing that was accepted may be lost; what is not accepted is answered 4xx or not at all, never 5xx. Swap that thrashes looks the
same from inside as a processor that is taken away, and is not made here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import smtplib
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import leash
from tests.e2e.parts import Gateway, Hop, running, wait_for
from tests.e2e.test_job import DESK, OFFICER, note

LIMITS = "[limits]\nfree_disk = 0\nretry_first = 2\nretry_max = 4\n"


@contextlib.contextmanager
def starved(gateway: Gateway, *, running_ms: int, stopped_ms: int) -> Iterator[None]:
    """While it lasts, every process of the gateway runs *running_ms* and is stopped *stopped_ms*, in turn."""
    assert gateway.process is not None
    group, over = gateway.process.pid, threading.Event()

    def turn() -> None:
        while not over.is_set():
            os.killpg(group, signal.SIGSTOP)
            time.sleep(stopped_ms / 1000)
            os.killpg(group, signal.SIGCONT)
            time.sleep(running_ms / 1000)

    thread = threading.Thread(target=turn, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        os.killpg(group, signal.SIGCONT)


@contextlib.contextmanager
def slow_disk(pids: list[int], seconds: float) -> Iterator[None]:
    """While it lasts, each sync of a file in *pids* takes *seconds* longer."""
    which = "fsync,fdatasync"
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={which}", "-e", f"inject={which}:delay_enter={int(seconds * 1e6)}"]
    words += [word for pid in pids for word in ("-p", str(pid))]
    tracer = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=leash.on())
    try:
        time.sleep(0.5)
        if tracer.poll() is not None:
            assert tracer.stderr is not None
            pytest.skip(f"strace cannot attach here: {tracer.stderr.read().decode()[-200:]}")
        yield
    finally:
        tracer.terminate()
        tracer.wait(10)


def load(gateway: Gateway, name: str, seconds: float) -> tuple[list[str], list[int]]:
    """Sends for *seconds* over two connections. The subjects that were accepted, and every other code."""
    accepted: list[str] = []
    others: list[int] = []
    until = time.monotonic() + seconds

    def client(number: int) -> None:
        count = 0
        while time.monotonic() < until:
            count += 1
            subject = f"{name} {number}.{count}"
            try:
                with smtplib.SMTP("127.0.0.1", gateway.port, timeout=60) as smtp:
                    smtp.sendmail(OFFICER, [DESK], note(subject, "x" * 2000).as_bytes())
                accepted.append(subject)
            except smtplib.SMTPResponseException as error:
                others.append(error.smtp_code)
            except smtplib.SMTPRecipientsRefused as error:
                others.extend(code for code, _ in error.recipients.values())
            except (OSError, smtplib.SMTPException):
                others.append(421)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return accepted, others


def subjects(hop: Hop) -> list[str]:
    found = []
    for entry in hop.received():
        lines = hop.content(entry).split(b"\r\n\r\n", 1)[0].decode("ascii", "replace").splitlines()
        found += [line.removeprefix("Subject: ") for line in lines if line.startswith("Subject: ")]
    return found


@pytest.mark.service
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_O24_a_starved_processor_and_a_slow_disk_lose_nothing(tmp_path: Path) -> None:
    hop = Hop(tmp_path / "hop")
    gateway = Gateway(tmp_path / "gw", hop.port, extra=LIMITS)
    with running(hop, gateway):
        with starved(gateway, running_ms=10, stopped_ms=190):
            slow, answers = load(gateway, "starved", 15)
        keepers = [pid for pid, command in gateway.processes().items() if "--only keeper " in command]
        assert keepers, "the keeper is a process of its own"
        with slow_disk(keepers, 0.2):
            began = time.monotonic()
            late, more = load(gateway, "slow", 8)
            assert (time.monotonic() - began) / max(1, len(late)) > 0.02, "the disk was not slow"
        assert slow, "not one message was accepted by a starved gateway"
        assert late, "not one message was accepted with a slow disk"
        assert not [code for code in answers + more if code >= 500 or code < 400], (answers, more)
        wait_for(lambda: set(slow + late) <= set(subjects(hop)), 90, "everything that was accepted arrives")
        assert gateway.cli("audit", "verify").stdout.startswith("ok: ")
        # No process was taken for dead and replaced only because it was slow.
        restarts = [row["restarts"] for row in gateway.records("status")]
        assert restarts and max(restarts) <= 1, restarts
