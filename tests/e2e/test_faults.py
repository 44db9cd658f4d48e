"""Running out of what the operating system lends (catalogue O03): the answer is 4xx, and service comes back by itself."""

from __future__ import annotations

import contextlib
import os
import resource
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.parts import Gateway, Hop, running, wait_for
from tests.e2e.test_job import DESK, OFFICER, arrived, note, reference_of, send, with_document

pytestmark = pytest.mark.slow

LIMITS = 'max_message_size = "1MB"\n[limits]\nfree_disk = 0\nretry_first = 2\nretry_max = 4\n'


@contextlib.contextmanager
def no_more_files(processes: list[int]) -> Iterator[None]:
    """While it lasts, none of *processes* can open another file or socket (EMFILE)."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in processes}
    try:
        for pid, (_, hard) in before.items():
            lowest = next(number for number in range(4096) if not Path(f"/proc/{pid}/fd/{number}").is_symlink())
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, hard))
        yield
    finally:
        for pid, limits in before.items():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def of_kind(gateway: Gateway, kind: str) -> list[int]:
    return [pid for pid, command in gateway.processes().items() if f"--only {kind} " in command]


def attempt(gateway: Gateway, content: bytes) -> int:
    """The code of the answer; 421 where the connection was not served, since the client then comes again."""
    try:
        return send(gateway, content, [DESK])[0]
    except (OSError, smtplib.SMTPException):
        return 421


@pytest.mark.parametrize("kind", ["keeper", "inspector", "doors"])
def test_O03_without_file_descriptors_mail_waits(gateway: Gateway, hop: Hop, kind: str) -> None:
    before = gateway.processes()
    accepted = []
    with no_more_files(of_kind(gateway, kind)):
        for number in range(6):
            content = with_document("RESTRICTED", f"d{number}@finance.nic.in") if number % 2 else note(f"N {number}", "x").as_bytes()
            # A door that cannot take connections lets clients wait: they are given a short time only.
            try:
                with smtplib.SMTP("127.0.0.1", gateway.port, timeout=3) as client:
                    client.ehlo("client.dept.gov.in")
                    client.mail(OFFICER)
                    client.rcpt(DESK)
                    code, text = client.data(content)
            except (OSError, smtplib.SMTPException):
                continue
            assert code == 250 or 400 <= code < 500, (code, text)
            if code == 250:
                accepted.append((number, reference_of(text.decode())))
    wait_for(lambda: attempt(gateway, note("After", "x").as_bytes()) == 250, 20, "mail is taken again")
    wait_for(lambda: attempt(gateway, with_document("RESTRICTED")) == 250, 20, "documents are read again")
    for number, reference in accepted:
        arrived(hop, reference, OFFICER if number % 2 else DESK)
    if kind != "inspector":  # a worker of the inspector may end and be replaced
        assert set(of_kind(gateway, kind)) <= set(before), "nothing had to be started again"
    assert "ok" in gateway.cli("audit", "verify").stdout


def test_O03_without_inodes_or_room_mail_waits(tmp_path: Path) -> None:
    disk, hop = tmp_path / "gw", Hop(tmp_path / "hop")
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,nr_inodes=200", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this container may not mount")
    gateway = Gateway(disk, hop.port, extra=LIMITS)
    try:
        with running(hop, gateway):
            assert attempt(gateway, note("Before", "x").as_bytes()) == 250
            spent = disk / "spent"
            spent.mkdir()
            with pytest.raises(OSError, match="No space left"):
                for number in range(300):
                    (spent / str(number)).touch()
            codes = {attempt(gateway, note(f"N {number}", "x").as_bytes()) for number in range(5)}
            assert not [code for code in codes if code != 250 and not 400 <= code < 500], codes
            for file in spent.iterdir():
                file.unlink()
            with pytest.raises(OSError, match="No space left"), (spent / "ballast").open("wb", buffering=0) as ballast:
                while True:
                    ballast.write(b"\0" * 65_536)
            big = note("Big", "words of a long note\r\n" * 20_000).as_bytes()
            codes = {attempt(gateway, big) for _ in range(4)}
            assert codes <= {451, 452}, codes
            os.unlink(spent / "ballast")
            wait_for(lambda: attempt(gateway, big) == 250, 30, "mail is taken again")
            assert "ok" in gateway.cli("audit", "verify").stdout
    finally:
        gateway.kill_all()
        subprocess.run(["umount", "-l", str(disk)], check=False)
