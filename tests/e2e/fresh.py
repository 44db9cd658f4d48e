"""A fresh Debian 12, from ``git clone`` to a relayed message, by the commands of docs/install.md as they stand there.

What it is: debootstrap into a folder, systemd booted in it by systemd-nspawn, the ``sh`` boxes of the document run in order, and a
look at what came of it: the one message at the next server (over verified TLS, with AES-256), the other back as a report. The next server
is at this end of a cable (veth) to the container; both ends are addresses of the test alone.
Who calls it: ``make prove-fresh``; needs root, debootstrap, systemd-container and the package indexes.
Must never: reach beyond this machine for mail; leave a process behind. The document's names lead to the two ends of that cable.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "install.md"
HOP, OWN = "10.77.25.1", "10.77.25.2"
"""This side and the container's side of the one cable between them."""
_MACHINE = "gwfresh"
NAMES = f"{HOP} smtp.example.nic.in\n127.0.0.1 gw1.example.gov.in mail.example.gov.in localhost\n"
_BOOT = 120.0  # seconds
_FETCHING = ("1.", "2.")
"""Steps that need the package indexes; the others run in a network that has nothing but its own loopback and that cable."""


def boxes(text: str) -> list[tuple[str, str]]:
    """Heading and commands of each ``sh`` box of the document, in order."""
    found, heading = [], ""
    for part in re.finditer(r"^## ([^\n]+)$|^```sh\n(.*?)^```$", text, re.M | re.S):
        if part[1]:
            heading = part[1]
        else:
            found.append((heading, part[2]))
    if len(found) < 8:
        raise SystemExit(f"{DOCUMENT}: only {len(found)} boxes were found")
    return found


def run(*command: str, check: bool = True, **more: object) -> subprocess.CompletedProcess[str]:
    """Runs a command; its output only shows when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    if check and done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done


class NextServer(threading.Thread):
    """The next mail server: speaks SMTP with STARTTLS at our end of the cable and keeps what it gets."""

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(daemon=True)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server((HOP, 25))
        self.messages: list[tuple[str, str, bytes]] = []
        """Cipher, envelope and content of each."""

    def run(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._session, args=(client,), daemon=True).start()

    def _session(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            client.settimeout(60)
            reader, cipher, envelope = client.makefile("rb"), "", ""
            client.sendall(b"220 smtp.example.nic.in ESMTP\r\n")
            while line := reader.readline(2000):
                word = line.strip().upper()
                if word.startswith(b"EHLO"):
                    offer = b"" if cipher else b"250-STARTTLS\r\n"
                    client.sendall(b"250-smtp.example.nic.in\r\n" + offer + b"250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 50000000\r\n")
                elif word == b"STARTTLS":
                    client.sendall(b"220 go on\r\n")
                    client = self._context.wrap_socket(client, server_side=True)
                    reader, cipher = client.makefile("rb"), "/".join(map(str, client.cipher() or ()))
                elif word == b"DATA":
                    client.sendall(b"354 go on\r\n")
                    content = b""
                    while (part := reader.readline(2000)) not in (b".\r\n", b""):
                        content += part
                    self.messages.append((cipher, envelope, content))
                    envelope = ""
                    client.sendall(b"250 2.0.0 kept\r\n")
                elif word == b"QUIT":
                    client.sendall(b"221 bye\r\n")
                    return
                else:
                    if word.startswith((b"MAIL", b"RCPT")):
                        envelope += line.decode("ascii", "replace").strip() + " "
                    client.sendall(b"250 ok\r\n")


def certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Authority, certificate and key for the next server's name."""
    authority, certificate, key = folder / "ca.pem", folder / "hop.pem", folder / "hop.key"
    quiet = {"cwd": folder}
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
        "-subj", "/CN=Test authority", **quiet)  # fmt: skip
    run(
        "openssl",
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "hop.key",
        "-out",
        "hop.csr",
        "-subj",
        "/CN=smtp.example.nic.in",
        **quiet,
    )
    (folder / "san").write_text("subjectAltName=DNS:smtp.example.nic.in\n")
    run("openssl", "x509", "-req", "-in", "hop.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
        "-extfile", "san", "-out", "hop.pem", **quiet)  # fmt: skip
    return authority, certificate, key


def base(folder: Path) -> None:
    """A minimal Debian 12 with systemd in *folder*."""
    include = "systemd,systemd-sysv,dbus,ca-certificates,procps"
    run("debootstrap", "--variant=minbase", f"--include={include}", "bookworm", str(folder), "http://deb.debian.org/debian")


def furnish(root: Path, authority: Path) -> None:
    """What the department's machine has already: names, trust, a working Postfix with a clerk's mailbox, the way to the indexes."""
    for name in ("/etc/resolv.conf", "/etc/pip.conf"):
        if Path(name).exists():
            (root / name[1:]).unlink(missing_ok=True)
            shutil.copy(name, root / name[1:])
    (root / "etc/hosts").write_text(NAMES)
    own = root / "usr/local/share/ca-certificates"
    own.mkdir(parents=True, exist_ok=True)
    shutil.copy(authority, own / "test-authority.crt")
    # Where this machine trusts authorities of its own (a mirror behind a proxy), so must the new one.
    bundle = Path("/etc/ssl/certs/ca-certificates.crt").read_text("ascii", "replace")
    for number, one in enumerate(re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", bundle, re.S)):
        (own / f"host-{number}.crt").write_text(one)
    script = """
        set -e
        export DEBIAN_FRONTEND=noninteractive
        update-ca-certificates >/dev/null 2>&1
        printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d
        apt-get update -q >/dev/null
        printf 'postfix postfix/main_mailer_type select Internet Site\\npostfix postfix/mailname string example.gov.in\\n' \
          | debconf-set-selections
        apt-get install -q -y --no-install-recommends postfix >/dev/null
        rm /usr/sbin/policy-rc.d
        postconf -e inet_interfaces=127.0.0.1 inet_protocols=ipv4 myhostname=mail.example.gov.in maillog_file=/var/log/postfix.log
        useradd -m clerk
    """
    run("chroot", str(root), "/bin/sh", "-c", script)
    (root / "etc/gitconfig").write_text('[url "file:///src"]\n\tinsteadOf = https://git.example.gov.in/gateway\n[safe]\n\tdirectory = *\n')


@contextlib.contextmanager
def booted(root: Path) -> Iterator[int]:
    """Boots *root*; gives the process id of its init, and powers it off at the end."""
    log = (root.parent / "boot.log").open("wb")
    machine = ["systemd-nspawn", "--register=no", "--keep-unit", "--quiet", "--boot", "--network-veth", f"--machine={_MACHINE}"]
    process = subprocess.Popen(
        [*machine, f"--directory={root}"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + _BOOT
        leader = 0
        while time.monotonic() < deadline and process.poll() is None:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            if children:
                leader = int(children[0])
                state = inside(leader, "systemctl is-system-running 2>/dev/null").stdout.strip()
                if state in ("running", "degraded"):
                    break
            time.sleep(0.5)
        else:
            raise SystemExit(f"the container did not come up; see {log.name}")
        yield leader
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        log.close()


def inside(leader: int, script: str) -> subprocess.CompletedProcess[str]:
    """Runs *script* in the container, as root, with nothing of this machine's environment."""
    into = ["nsenter", f"--target={leader}", "--mount", "--net", "--uts", "--ipc", "--pid", "--root", "--wdns=/root"]
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    shell = ["env", "-i", "HOME=/root", path, "DEBIAN_FRONTEND=noninteractive", "/bin/sh", "-eu", "-c", script]
    return subprocess.run([*into, *shell], capture_output=True, text=True, check=False)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="docs/install.md in a fresh Debian.")
    parser.add_argument("--base", default="", help="a debootstrapped folder to copy (made when it is not there)")
    parser.add_argument("--keep", action="store_true", help="leave the new system's folder for a look")
    options = parser.parse_args()
    for program in ("debootstrap", "systemd-nspawn", "openssl", "git", "ip"):
        if shutil.which(program) is None or os.geteuid() != 0:
            print(f"skipped: needs root and {program} (apt install debootstrap systemd-container openssl git iproute2)", file=sys.stderr)
            return 0
    folder = Path(tempfile.mkdtemp(prefix="fresh-debian-"))
    root = folder / "root"
    failed: list[str] = []
    try:
        print("making a fresh Debian 12 (not counted)", flush=True)
        if options.base:
            if not Path(options.base).exists():
                base(Path(options.base))
            run("cp", "-a", "--reflink=auto", options.base, str(root))
        else:
            base(root)
        authority, certificate, key = certificates(folder)
        furnish(root, authority)
        run("git", "clone", "--quiet", "--bare", str(ROOT), str(root / "src"))
        began = time.monotonic()
        for heading, commands in boxes(DOCUMENT.read_text("utf-8")):
            if heading.startswith(_FETCHING):
                start = time.monotonic()
                fetched(root, commands)
                print(f"{time.monotonic() - start:6.1f} s  {heading}", flush=True)
        spent = time.monotonic() - began
        with booted(root) as leader:
            run("ip", "address", "add", f"{HOP}/30", "dev", f"ve-{_MACHINE}")
            run("ip", "link", "set", f"ve-{_MACHINE}", "up")
            run("nsenter", f"--target={leader}", "--net", "ip", "address", "add", f"{OWN}/30", "dev", "host0")
            run("nsenter", f"--target={leader}", "--net", "ip", "link", "set", "host0", "up")
            server = NextServer(certificate, key)
            server.start()
            failed = walk(leader, server, spent)
    finally:
        if options.keep:
            print(f"kept: {root}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for line in failed:
        print(f"FAILED: {line}")
    return 1 if failed else 0


def fetched(root: Path, script: str) -> None:
    """Runs *script* in the folder that is not booted yet, with this machine's network."""
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    into = ["systemd-nspawn", "--register=no", "--keep-unit", "--quiet", f"--directory={root}", "--setenv=DEBIAN_FRONTEND=noninteractive"]
    run(*into, "/usr/bin/env", path, "/bin/sh", "-eu", "-c", script, stdin=subprocess.DEVNULL)


def walk(leader: int, server: NextServer, spent: float) -> list[str]:
    """Runs the document from step 3 on, after *spent* seconds; prints the time of each step and returns what is not as it must be."""
    began = time.monotonic() - spent
    for heading, commands in boxes(DOCUMENT.read_text("utf-8")):
        if heading.startswith(_FETCHING):
            continue
        start = time.monotonic()
        done = inside(leader, commands)
        print(f"{time.monotonic() - start:6.1f} s  {heading}", flush=True)
        if done.returncode:
            print(done.stdout[-3000:], done.stderr[-3000:], sep="\n")
            print(inside(leader, "journalctl --no-pager -n 60 -u 'gateway-*'").stdout[-6000:])
            return [f"{heading}: exit {done.returncode}"]
        if "--verbose" in sys.argv or heading.startswith(("3.", "6.", "7.", "9.")):
            print("\n".join("          " + line for line in done.stdout.strip().splitlines()[-25:]), flush=True)
    failed = []
    waited = time.monotonic() + 120
    while not server.messages and time.monotonic() < waited:
        time.sleep(0.5)
    print(f"{time.monotonic() - began:6.1f} s  in all, from git clone to the relayed message")
    relayed = [one for one in server.messages if "desk@ministry.gov.in" in one[1]]
    if not relayed:
        failed.append("the first message did not reach the next server")
    elif "AES_256" not in relayed[0][0] and "AES256" not in relayed[0][0]:
        failed.append(f"the first message came by {relayed[0][0]}")
    elif b"X-Gateway-Reference:" not in relayed[0][2] or b"DKIM-Signature:" not in relayed[0][2]:
        failed.append("the first message carries no reference, or no DKIM signature")
    if any("gmail.com" in one[1] for one in server.messages):
        failed.append("the second message went out")
    for _ in range(60):
        report = inside(leader, "cat /var/mail/clerk 2>/dev/null || true").stdout
        if "multipart/report" in report:
            break
        time.sleep(1)
    else:
        failed.append("the clerk got no report: " + inside(leader, "tail -n 30 /var/log/postfix.log").stdout)
    return failed


if __name__ == "__main__":
    sys.exit(main())
