"""A real Dovecot for end-to-end tests: IMAP in clear and with TLS on loopback, mailboxes in its own folder, a master user.

It is started by the test in the foreground and ended by its own process id. It starts as root only; mail belongs to nobody.
"""

from __future__ import annotations

import contextlib
import imaplib
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e import leash
from tests.e2e.parts import free_port, port_open, stop, wait_for

DOVECOT = Path("/usr/sbin/dovecot")
IMAP = Path("/usr/lib/dovecot/imap")
MASTER, MASTER_SECRET = "inspector", "master's own word"


@contextlib.contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder of its own that Dovecot's users reach: every test run closes pytest's folders of this machine to other users, and so
    those of a run beside it."""
    folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Dovecot:
    """Dovecot with IMAP. *certificates*: the folder of ``test_smtp_client.certificates``; *users*: passwords by login."""

    folder: Path
    certificates: Path
    users: dict[str, str]
    extra: str = ""
    port: int = field(default_factory=free_port)
    """In clear, and STARTTLS."""
    tls_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has logged so far."""
        path = self.folder / "dovecot.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def home(self, user: str) -> Path:
        """The folder of *user*; the Maildir is below it."""
        return self.folder / "mail" / user

    def start(self) -> None:
        """Writes the config and starts it in the foreground."""
        for sub in ("", "mail", "run", "state"):
            (self.folder / sub).mkdir(parents=True, exist_ok=True)
            os.chmod(self.folder / sub, 0o755)
        for parent in self.folder.parents:  # the mail processes run as nobody and must be able to walk here
            with contextlib.suppress(PermissionError):
                if parent.stat().st_uid == os.getuid() and parent != Path("/"):
                    os.chmod(parent, parent.stat().st_mode | 0o011)
        shutil.chown(self.folder / "mail", "nobody", "nogroup")
        (self.folder / "users").write_text("".join(f"{name}:{{PLAIN}}{secret}\n" for name, secret in self.users.items()), "utf-8")
        (self.folder / "masters").write_text(f"{MASTER}:{{PLAIN}}{MASTER_SECRET}\n")
        config = self.folder / "dovecot.conf"
        config.write_text(f"""protocols = imap
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.folder}/dovecot.log
listen = 127.0.0.1
ssl = yes
ssl_cert = <{self.certificates}/good.pem
ssl_key = <{self.certificates}/good.key
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_master_user_separator = *
auth_failure_delay = 0
auth_verbose = yes
mail_location = maildir:{self.folder}/mail/%u
mail_uid = nobody
mail_gid = nogroup
first_valid_uid = 1
mail_max_userip_connections = 2000
default_client_limit = 4000
default_process_limit = 1500
passdb {{
  driver = passwd-file
  args = {self.folder}/masters
  master = yes
  result_success = continue
}}
passdb {{
  driver = passwd-file
  args = username_format=%Lu {self.folder}/users
}}
userdb {{
  driver = static
  args = home={self.folder}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Sent {{
    special_use = \\Sent
    auto = create
  }}
  mailbox Drafts {{
    special_use = \\Drafts
    auto = create
  }}
}}
service imap-login {{
  inet_listener imap {{
    address = 127.0.0.1
    port = {self.port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {self.tls_port}
    ssl = yes
  }}
  client_limit = 2000
  process_min_avail = 1
  service_count = 0
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
{self.extra}
""")
        self.process = subprocess.Popen(
            [str(DOVECOT), "-F", "-c", str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=leash.on(),
        )  # fmt: skip
        wait_for(lambda: port_open(self.tls_port) and port_open(self.port), 30, f"Dovecot listens; see {self.folder}/dovecot.log")

    def stop(self) -> None:
        """Ends it."""
        if self.process is not None:
            stop(self.process)

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def pause(self, *, go_on: bool = False) -> None:
        """SIGSTOP to all of its processes, or SIGCONT: it takes connections and says nothing meanwhile."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT if go_on else signal.SIGSTOP)

    def context(self) -> ssl.SSLContext:
        """A client's context that trusts it."""
        return ssl.create_default_context(cafile=self.certificates / "ca.pem")

    def client(self, user: str, *, port: int = 0) -> imaplib.IMAP4_SSL:
        """A session of *user* over TLS, with Dovecot itself or with what listens on *port* before it."""
        client = imaplib.IMAP4_SSL("127.0.0.1", port or self.tls_port, ssl_context=self.context(), timeout=30)
        secret = f"\0{user}\0{self.users[user]}".encode()
        client.authenticate("PLAIN", lambda _: secret)
        return client

    def put(self, user: str, mailbox: str, *messages: bytes, flags: str = "", create: bool = False) -> None:
        """Files *messages* in *mailbox* by APPEND."""
        client = self.client(user)
        if create:
            client.create(mailbox)
        for message in messages:
            said, text = client.append(mailbox, flags, None, message)  # type: ignore[arg-type]
            assert said == "OK", text
        client.logout()
