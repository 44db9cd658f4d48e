"""Not collected: the IMAP door beside the Dovecot behind it, both with TLS, in alternation; prints, asserts nothing.

usage: python -m tests.bench.imap [--rounds 3] [--fetches 20] [--noops 2000] [--idle 500] [--messages 10000] [--only fetch,noop,idle,isync]

What it measures: 10 MB FETCH in MB/s, NOOP in ms (median and 99th part of a hundred), memory of the gateway's processes for idle
sessions (before any other work, so that no freed memory is counted as theirs), and a mailbox that isync copies through the door,
compared octet by octet with the copy from Dovecot itself. One table at the end. It starts its own Dovecot and its own gateway (as root,
on loopback, high ports) and ends them. Real figures need a machine on which nothing else runs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import imaplib
import os
import re
import shutil
import ssl
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.dovecot import Dovecot
from tests.e2e.parts import free_port, port_open, running, wait_for
from tests.e2e.test_imap import ImapGateway
from tests.test_smtp_client import certificates as make_certificates

USER = "asha.verma@dept.gov.in"
SIZE = 10_000_000
_TUID = re.compile(rb"^X-TUID: [^\n]*\n", re.M)


def main() -> None:
    """Parses the options, starts both, measures what is asked for."""
    options = argparse.ArgumentParser(description=__doc__)
    for name, number in (("rounds", 3), ("fetches", 20), ("noops", 2000), ("idle", 500), ("messages", 10_000)):
        options.add_argument(f"--{name}", type=int, default=number)
    options.add_argument("--only", default="fetch,noop,idle,isync")
    asked = options.parse_args()
    only = asked.only.split(",")
    with tempfile.TemporaryDirectory(prefix="imap-bench-", ignore_cleanup_errors=True) as folder, _both(Path(folder)) as (dovecot, gateway):
        doors = {"Dovecot": dovecot.tls_port, "gateway": gateway.imap_port}
        load, rows = f"{os.getloadavg()[0]:.1f}", []
        if "idle" in only:
            rows += idle(dovecot, gateway, asked.idle)
        if "fetch" in only:
            rows += fetch(dovecot, doors, asked.rounds, asked.fetches)
        if "noop" in only:
            rows += noop(dovecot, doors, asked.rounds, asked.noops)
        if "isync" in only:
            rows += isync(dovecot, gateway, asked.messages, Path(folder))
        print(f"load {load} at the start, {os.getloadavg()[0]:.1f} at the end, {os.cpu_count()} cores")
        for row in (("", "Dovecot", "gateway", "compared", "wanted"), *rows):
            print(f"{row[0]:34} {row[1]:>22} {row[2]:>22} {row[3]:>24}  {row[4]}")


@contextlib.contextmanager
def _both(base: Path) -> Iterator[tuple[Dovecot, ImapGateway]]:
    """A Dovecot, and a gateway before it."""
    base.chmod(0o755)

    class Folders:
        """What the fixture of the tests asks for."""

        def mktemp(self, name: str) -> Path:
            made = base / name
            made.mkdir()
            return made

    certificates = make_certificates.__wrapped__(Folders())  # type: ignore[attr-defined]
    dovecot = Dovecot(base / "dovecot", certificates, {USER: "right 7"})
    gateway = ImapGateway(base / "gw", free_port())
    many = "connections = 1000\nconnections_per_ip = 2000\nconnections_per_minute = 100000\nconnections_listed = 2000\n"
    gateway.stand_before(dovecot, certificates, many)
    with running(dovecot, gateway):
        wait_for(lambda: port_open(gateway.imap_port), 120, "the IMAP door listens")
        yield dovecot, gateway


Row = tuple[str, str, str, str, str]
"""What was measured, of Dovecot, of the gateway, compared, wanted."""


def fetch(dovecot: Dovecot, doors: dict[str, int], rounds: int, count: int) -> list[Row]:
    """One message of 10 MB, again and again; the octets are counted, not kept."""
    line = b"The quick brown fox jumps over the lazy dog, and over it again.\r\n"
    dovecot.put(USER, "Large", b"Subject: large\r\n\r\n" + line * (SIZE // len(line)), create=True)
    rates: dict[str, list[float]] = {name: [] for name in doors}
    for _ in range(rounds):
        for name, port in doors.items():
            with _session(dovecot, port, "Large") as client:
                raw = client.socket()
                assert isinstance(raw, ssl.SSLSocket)
                began, got = time.perf_counter(), 0
                for number in range(count):
                    tag = f"f{number}".encode()
                    client.send(tag + b" FETCH 1 BODY.PEEK[]\r\n")
                    got += _until(raw, b"\r\n" + tag + b" OK ")
                rates[name].append(got / (time.perf_counter() - began) / 1e6)
    share = statistics.median(rates["gateway"]) / statistics.median(rates["Dovecot"])
    return [("FETCH of 10 MB, MB/s", _shown(rates["Dovecot"]), _shown(rates["gateway"]), f"{share:.0%}", "at least 75%")]


_SPACE = memoryview(bytearray(1 << 18))


def _until(raw: ssl.SSLSocket, end: bytes) -> int:
    """Reads until *end* and a line end stand in the last octets; how many octets there were."""
    got, tail = 0, b""
    while True:
        count = raw.recv_into(_SPACE)
        if not count:
            raise ConnectionError("the session has ended")
        got += count
        tail = (tail + bytes(_SPACE[max(0, count - 200) : count]))[-400:]
        if end in tail and tail.endswith(b"\r\n"):
            return got


def noop(dovecot: Dovecot, doors: dict[str, int], rounds: int, count: int) -> list[Row]:
    """NOOP, one after the other."""
    middle: dict[str, list[float]] = {name: [] for name in doors}
    late: dict[str, list[float]] = {name: [] for name in doors}
    for _ in range(rounds):
        for name, port in doors.items():
            with _session(dovecot, port, "INBOX") as client:
                raw, times = client.socket(), []
                for number in range(count):
                    began = time.perf_counter()
                    client.send(f"n{number} NOOP\r\n".encode())
                    answer = b""
                    while not answer.endswith(b"\r\n"):  # CR and LF may come apart
                        answer += raw.recv(4096)
                    times.append(1000 * (time.perf_counter() - began))
                times.sort()
                middle[name].append(times[len(times) // 2])
                late[name].append(times[int(len(times) * 0.99)])
    more = statistics.median(middle["gateway"]) - statistics.median(middle["Dovecot"])
    return [
        ("NOOP, median ms", _shown(middle["Dovecot"]), _shown(middle["gateway"]), f"{more:+.3f} ms", "at most +0.25 ms"),
        ("NOOP, 99 of 100 within ms", _shown(late["Dovecot"]), _shown(late["gateway"]), "", ""),
    ]


def idle(dovecot: Dovecot, gateway: ImapGateway, count: int) -> list[Row]:
    """What *count* sessions that wait in IDLE cost the gateway's processes."""
    before, sessions = _memory(gateway), []
    try:
        for _ in range(count):
            client = dovecot.client(USER, port=gateway.imap_port)
            client.select("INBOX", readonly=True)
            client.send(b"i IDLE\r\n")
            client.readline()
            sessions.append(client)
        time.sleep(2)
        after = _memory(gateway)
    finally:
        for client in sessions:
            client.shutdown()
    own, whole = after[0] - before[0], after[1] - before[1]
    each = f"{1024 * own / count:.0f} KiB each"
    return [
        (f"{count} sessions in IDLE, MiB", "", f"{own:.1f}", each, "at most 60 for 500"),
        ("the same with pages of files", "", f"{whole:.1f}", f"{before[1]:.0f} -> {after[1]:.0f} MiB", ""),
    ]


def _memory(gateway: ImapGateway) -> tuple[float, float]:
    """PSS of all of its processes in MiB: their own, and with their share of files, which changes when other programs come or go."""
    totals = {"Pss_Anon": 0, "Pss": 0}
    for pid in gateway.processes():
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            for name in totals:
                found = re.search(rf"^{name}:\s+(\d+)", text, re.M)
                totals[name] += int(found[1]) if found else 0
    return totals["Pss_Anon"] / 1024, totals["Pss"] / 1024


def isync(dovecot: Dovecot, gateway: ImapGateway, count: int, folder: Path) -> list[Row]:
    """A mailbox of *count* messages copied by mbsync, bare and through the door: time, and whether all octets are the same."""
    originals = _fill(dovecot.home(USER) / ".Many", count)
    found, took = {}, {}
    for name, port in {"Dovecot": dovecot.tls_port, "gateway": gateway.imap_port}.items():
        place = folder / f"copy-{name}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        # A host that is an address is compared with no name: mbsync takes the certificate because it is this one.
        (folder / "server.pem").write_text(ssl.get_server_certificate(("127.0.0.1", port)))
        config = place / "mbsyncrc"
        config.write_text(f"""IMAPAccount one
Host 127.0.0.1
Port {port}
User {USER}
Pass "{dovecot.users[USER]}"
SSLType IMAPS
CertificateFile {folder}/server.pem
SystemCertificates no
PipelineDepth 50

IMAPStore far
Account one

MaildirStore near
Path {place}/
Inbox {place}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns Many
Create Near
Sync Pull
SyncState *
""")
        began = time.perf_counter()
        done = subprocess.run(["mbsync", "-c", str(config), "all"], capture_output=True, text=True, check=False)
        took[name] = time.perf_counter() - began
        if done.returncode:
            return [("isync", "", "", f"{name}: {done.stderr[-300:]}", "")]
        # mbsync writes a field of its own into no message that it only pulls, but for X-TUID while it works.
        found[name] = _digests(place / "Many")
    same = "identical" if found["Dovecot"] == found["gateway"] == originals else "DIFFERENT"
    seconds = [f"{took[name]:.1f} s, {len(found[name])} copies" for name in ("Dovecot", "gateway")]
    return [(f"isync of {count} messages", seconds[0], seconds[1], same, "identical")]


def _fill(folder: Path, count: int) -> list[str]:
    """Writes *count* messages as a Maildir that Dovecot finds, and returns what they hold."""
    for sub in ("cur", "new", "tmp"):
        (folder / sub).mkdir(parents=True)
    for number in range(count):
        head = f"From: a@dept.gov.in\nSubject: {number}\nMessage-ID: <{number}@x>\n\n".encode()
        body = (bytes([65 + number % 26]) * 70 + b"\n") * (number % 70) + b"\xe0\xa4\xae. . {5}\n"
        (folder / "cur" / f"{1_700_000_000 + number}.M{number}P1.bench:2,S").write_bytes(head + body)
    for place in (folder, *folder.rglob("*")):
        shutil.chown(place, "nobody", "nogroup")
    return _digests(folder)


def _digests(folder: Path) -> list[str]:
    """Of the messages of a Maildir, but for the one field that mbsync adds to each of its copies."""
    files = [file for sub in ("cur", "new") for file in (folder / sub).iterdir()]
    return sorted(hashlib.sha256(_TUID.sub(b"", file.read_bytes(), count=1)).hexdigest() for file in files)


@contextlib.contextmanager
def _session(dovecot: Dovecot, port: int, mailbox: str) -> Iterator[imaplib.IMAP4_SSL]:
    client = dovecot.client(USER, port=port)
    client.select(mailbox, readonly=True)
    try:
        yield client
    finally:
        client.shutdown()


def _shown(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


if __name__ == "__main__":
    main()
