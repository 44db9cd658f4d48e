"""The real parts that end-to-end tests are made of: a gateway, a recording next hop, Postfix. All on loopback, high ports.

Each part has its own folder, is started by the test, and is ended by its own process id; a test that is killed takes it along (``leash``).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tests.e2e import leash

ROOT = Path(__file__).resolve().parents[2]
POSTFIX_MASTER = Path("/usr/lib/postfix/sbin/master")


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(condition: Any, seconds: float, what: str) -> Any:
    """The first true value of *condition()* within *seconds*; else AssertionError that names *what*."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def port_open(port: int) -> bool:
    """Whether something listens on *port*."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


def stop(process: subprocess.Popen[Any], seconds: float = 40) -> None:
    """Ends *process* politely, then by force."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Gateway:
    """A gateway of its own in *folder*; ``next_hop`` is a port of 127.0.0.1."""

    folder: Path
    next_hop: int
    local_hop: int = 0
    """Port for mail to the department's own domain; the same as next_hop when 0."""
    extra: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    name: str = "gw"
    workers: int = 2
    port: int = field(default_factory=free_port)
    web_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        """Its gateway.toml."""
        return self.folder / "gateway.toml"

    def write_config(self) -> None:
        """Writes gateway.toml: officers of dept.gov.in on 127.0.0.0/8, everything relayed to the next hop."""
        self.folder.mkdir(parents=True, exist_ok=True)
        more = self.more()
        options, sections = ("", more) if more.lstrip().startswith("[") else (more, "")
        self.config.write_text(f"""
hostname = "{self.name}.dept.gov.in"
state_dir = "{self.folder}/state"
workers = {self.workers}
{options}
[contacts]
postmaster = "postmaster@dept.gov.in"
security = "secops@dept.gov.in"
[[listen]]
door = "smtp"
address = "127.0.0.1:{self.port}"
[[listen]]
door = "web"
address = "127.0.0.1:{self.web_port}"
[originators]
domains = ["dept.gov.in"]
networks = ["127.0.0.0/8"]
[[route]]
domains = ["dept.gov.in"]
local = true
next_hop = "127.0.0.1:{self.local_hop or self.next_hop}"
tls = "none"
[[route]]
domains = ["*"]
next_hop = "127.0.0.1:{self.next_hop}"
tls = "none"
{sections}
""")

    def more(self) -> str:
        """What stands in gateway.toml besides: sections, or else options at its top."""
        return self.extra

    def start(self, seconds: float = 120) -> None:
        """Starts it and waits until the SMTP door takes connections."""
        if not self.config.exists():
            self.write_config()
        log = (self.folder / "gateway.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "run", "--config", str(self.config)],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, cwd=ROOT,
            env={**os.environ, **self.environment}, preexec_fn=leash.on(),
        )  # fmt: skip
        wait_for(self.ready, seconds, f"the gateway answers on port {self.port}; see {self.folder}/gateway.log")

    def decisions(self) -> list[dict[str, Any]]:
        """What stands in the decision log now; its file comes with the first record, and the last line may be under way."""
        try:
            whole, _, _ = (self.folder / "state" / "log" / "decisions.jsonl").read_text().rpartition("\n")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in whole.splitlines()]

    def ready(self) -> bool:
        """Whether a transaction can be opened now."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the gateway ended: {(self.folder / 'gateway.log').read_text()[-3000:]}")
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=5) as client:
                client.ehlo("probe.dept.gov.in")
                code, _ = client.mail("officer@dept.gov.in")
                return code == 250 and client.rcpt("desk@finance.nic.in")[0] == 250
        except (OSError, smtplib.SMTPException):
            return False

    def stop(self) -> None:
        """Ends it by SIGTERM."""
        if self.process is not None:
            stop(self.process)

    def kill_all(self) -> None:
        """SIGKILL to every process of the group."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def processes(self) -> dict[int, str]:
        """Process ids of the gateway's processes with their command lines, the supervisor's too."""
        found = {}
        assert self.process is not None
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    stat = (entry / "stat").read_text()
                    if int(stat[stat.rindex(")") + 2 :].split()[2]) == self.process.pid:  # its process group
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def cli(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One ``gateway`` command with this config."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *words, "--config", str(self.config)],
            capture_output=True, text=True, timeout=120, cwd=ROOT, stdin=subprocess.DEVNULL, preexec_fn=leash.on(),
        )  # fmt: skip
        assert not check or done.returncode == 0, (words, done.returncode, done.stdout, done.stderr)
        return done

    def records(self, *words: str) -> list[dict[str, Any]]:
        """The JSON lines that a command prints."""
        return [json.loads(line) for line in self.cli(*words, "--json").stdout.splitlines() if line.strip()]


@dataclass
class Hop:
    """A next hop in a process of its own: records each message durably before it answers 250 (see hop.py)."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    program: ClassVar[str] = "tests.e2e.hop"

    def start(self) -> None:
        """Starts it; it goes on with the same record after a restart."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.program, str(self.port), str(self.folder)],
            stdin=subprocess.DEVNULL, cwd=ROOT, preexec_fn=leash.on(),
        )  # fmt: skip
        wait_for(lambda: port_open(self.port), 60, "the next hop listens")

    def stop(self) -> None:
        """Ends it."""
        if self.process is not None:
            stop(self.process)

    def received(self) -> list[dict[str, Any]]:
        """Every message in order: time, sender, recipients, file."""
        record = self.folder / "received.jsonl"
        if not record.exists():
            return []
        return [json.loads(line) for line in record.read_text().splitlines()]

    def content(self, entry: dict[str, Any]) -> bytes:
        """The octets of one received message, dots unstuffed."""
        return (self.folder / entry["file"]).read_bytes()


@dataclass
class Postfix:
    """Debian's Postfix with its own folders. *main* and *services* are added to its config."""

    folder: Path
    name: str
    main: str
    services: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Writes the config and starts ``master`` in the foreground."""
        for sub in ("", "spool", "data", "mail"):
            (self.folder / sub).mkdir(parents=True, exist_ok=True)
            os.chmod(self.folder / sub, 0o755)
        for parent in self.folder.parents:  # Postfix runs as its own user and must be able to walk here
            with contextlib.suppress(PermissionError):
                if parent.stat().st_uid == os.getuid() and parent != Path("/"):
                    os.chmod(parent, parent.stat().st_mode | 0o011)
        shutil.chown(self.folder / "data", "postfix")
        shutil.chown(self.folder / "mail", "nobody")
        (self.folder / "main.cf").write_text(f"""compatibility_level = 3.6
queue_directory = {self.folder}/spool
data_directory = {self.folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {self.folder}/mail.log
maillog_file_prefixes = {self.folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = {self.name}
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
minimal_backoff_time = 5s
queue_run_delay = 5s
{self.main}
""")
        (self.folder / "master.cf").write_text(f"""127.0.0.1:{self.port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
{self.services}
""")
        subprocess.run(["postfix", "-c", str(self.folder), "check"], capture_output=True, check=False)
        self.process = subprocess.Popen(
            [str(POSTFIX_MASTER), "-c", str(self.folder), "-d"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=leash.on(),
        )  # fmt: skip
        wait_for(lambda: port_open(self.port), 60, f"Postfix {self.name} listens")

    def stop(self) -> None:
        """Ends master and with it the rest."""
        if self.process is not None:
            stop(self.process)

    def mailbox(self, path: str) -> list[bytes]:
        """The messages of one Maildir under mail/."""
        folder = self.folder / "mail" / path / "new"
        return [entry.read_bytes() for entry in sorted(folder.iterdir())] if folder.is_dir() else []


@contextlib.contextmanager
def running(*parts: Any) -> Iterator[None]:
    """Starts *parts* in order and ends them in reverse, whatever happens."""
    started: list[Any] = []
    try:
        for part in parts:
            started.append(part)
            part.start()
        yield
    finally:
        for part in reversed(started):
            part.stop()
