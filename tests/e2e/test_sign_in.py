"""Sign-ins shown to a real next hop: Postfix, whose passwords Dovecot checks, over STARTTLS and over implicit TLS."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e import leash
from tests.e2e.parts import POSTFIX_MASTER, Postfix, free_port, port_open, running, stop, wait_for
from tests.test_logins import Room, config_for
from tests.test_smtp_client import certificates

__all__ = ["certificates"]
pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(not POSTFIX_MASTER.exists(), reason="Postfix is not installed (apt install postfix)"),
    pytest.mark.skipif(shutil.which("dovecot", path="/usr/sbin:/usr/bin") is None, reason="Dovecot is not here (apt install dovecot-core)"),
    pytest.mark.skipif(os.getuid() != 0, reason="Postfix and Dovecot start as root only"),
]
LOGIN, SECRET = "so.home@dept.gov.in", "कमल right 7"


@dataclass
class Dovecot:
    """Dovecot's auth service alone, for Postfix; it listens on *port*. Its growing delay for an address that fails is off, since all
    sign-ins come from one."""

    folder: Path
    users: dict[str, str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Writes the config and starts it in the foreground."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "users").write_text("".join(f"{name}:{{PLAIN}}{secret}\n" for name, secret in self.users.items()), "utf-8")
        config = self.folder / "dovecot.conf"
        config.write_text(f"""protocols =
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.folder}/dovecot.log
ssl = no
auth_mechanisms = plain login
auth_failure_delay = 1 secs
auth_verbose = yes
passdb {{
  driver = passwd-file
  args = username_format=%Lu {self.folder}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {self.port}
  }}
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
""")
        self.process = subprocess.Popen(
            ["/usr/sbin/dovecot", "-F", "-c", str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=leash.on(),
        )  # fmt: skip
        wait_for(lambda: port_open(self.port), 30, "Dovecot's auth service listens")

    def stop(self) -> None:
        """Ends it."""
        if self.process is not None:
            stop(self.process)

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def failures(self) -> int:
        """How many wrong passwords it has seen."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "dovecot.log").read_text("utf-8", "replace").lower().count("password mismatch")
        return 0


@dataclass
class Hop:
    """Both, with the ports of STARTTLS and of implicit TLS."""

    postfix: Postfix
    dovecot: Dovecot
    implicit: int
    certificates: Path

    def room(self, *, implicit: bool = False) -> Room:
        """A keeper's sign-ins that ask it."""
        port = self.implicit if implicit else self.postfix.port
        limits = {"relay_connect": 10, "relay_command": 20, "tls_handshake": 10}
        wanted = {
            "check": "next-hop", "next_hop": f"127.0.0.1:{port}", "implicit_tls": implicit, "tls_ca": self.certificates / "ca.pem",
            "tls_name": "hop.test",
        }  # fmt: skip
        return Room(config_for(None, submission=wanted, limits=limits))


@pytest.fixture(scope="module")
def hop(certificates: Path) -> Iterator[Hop]:
    with tempfile.TemporaryDirectory(prefix="sign-in-", ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        base.chmod(0o755)
        dovecot = Dovecot(base / "dovecot", {LOGIN: SECRET})
        implicit = free_port()
        main = f"""smtpd_tls_cert_file = {certificates}/good.pem
smtpd_tls_key_file = {certificates}/good.key
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{dovecot.port}
"""
        service = f"127.0.0.1:{implicit} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"
        postfix = Postfix(base / "postfix", "mail.nic.example.in", main, service)
        with running(dovecot, postfix):
            yield Hop(postfix, dovecot, implicit, certificates)


@pytest.mark.parametrize("implicit", [False, True])
async def test_S37_a_real_next_hop_says_yes_and_no(hop: Hop, implicit: bool) -> None:
    room = hop.room(implicit=implicit)
    assert str((await room.ask(LOGIN, SECRET)).reply) == "235 2.7.0 Signed in"
    before = hop.dovecot.failures()
    for _ in range(5):
        assert (await room.ask(LOGIN, "last year's")).reply.code == 535
    assert wait_for(lambda: hop.dovecot.failures() == before + 1, 5, "the wrong password in Dovecot's log"), "shown once"
    assert (await room.ask("nobody@dept.gov.in", "x")).reply.code == 535
    codes = [await room.code(LOGIN, f"guess {number}", ip="203.0.113.5") for number in range(5)]
    assert codes == [535] + [454] * 4, "one more: the account would not be locked"
    await room.sign_ins.stop()


async def test_S37_a_password_checker_that_has_died_is_no_answer(hop: Hop) -> None:
    hop.dovecot.kill()
    room = hop.room()
    assert await room.code(LOGIN, SECRET) == 454
    await room.sign_ins.stop()
