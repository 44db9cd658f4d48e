"""Officers who sign in at a real Postfix, whose passwords a real Dovecot checks: whom the milter door takes them for."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.dovecot import DOVECOT, Dovecot, reachable_folder
from tests.e2e.parts import POSTFIX_MASTER, free_port, running
from tests.e2e.test_milter import Site, made, site
from tests.test_smtp_client import certificates

__all__ = ["certificates"]
pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(not POSTFIX_MASTER.exists() or not DOVECOT.exists(), reason="Postfix or Dovecot is not here"),
    pytest.mark.skipif(os.getuid() != 0, reason="both start as root only"),
]
OFFICER, CLERK = "officer@dept.gov.in", "clerk@dept.gov.in"
SECRETS = {OFFICER: "right 7", CLERK: "right 8"}


@dataclass
class Signing:
    """The site, and what swaks says to it."""

    site: Site

    def swaks(self, login: str, secret: str, subject: str, *, sender: str = "", mechanism: str = "PLAIN") -> tuple[int, str]:
        """Sends one message as *login*: swaks' exit code and the dialogue. 0 is sent, 28 is a failed sign-in, 24 a refused recipient."""
        message = self.site.postfix.folder / f"{subject.replace(' ', '')}.eml"
        message.write_bytes(made("Enclosed.\n", subject=subject, sender=sender or login).as_bytes())
        words = ["swaks", "--server", "127.0.0.1", "--port", str(self.site.postfix.port), "--from", sender or login]
        words += ["--to", "desk@finance.nic.in", "--data", f"@{message}", "--timeout", "60"]
        if login:
            words += ["--auth", mechanism, "--auth-user", login, "--auth-password", secret]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    def row(self, subject: str) -> dict[str, object]:
        """What the decision log has on the message with *subject*."""
        (row,) = self.site.decisions(f"<{subject.replace(' ', '.')}@pc1.dept.gov.in>")
        return row


@pytest.fixture(scope="module")
def there(certificates: Path) -> Iterator[Signing]:  # noqa: F811
    """Nobody is in mynetworks but by signing in; a login writes its own address alone, by Postfix's own table."""
    port = free_port()
    auth = f"service auth {{\n  inet_listener {{\n    address = 127.0.0.1\n    port = {port}\n  }}\n}}\n"
    with tempfile.TemporaryDirectory(prefix="sasl-", ignore_cleanup_errors=True) as base, reachable_folder() as folder:
        main = (
            f"smtpd_sasl_type = dovecot\nsmtpd_sasl_path = inet:127.0.0.1:{port}\nsmtpd_sasl_auth_enable = yes\nmynetworks = 192.0.2.0/24\n"
            "smtpd_sender_login_maps = inline:{{" + f"{OFFICER}={OFFICER}" + "}, {" + f"{CLERK}={CLERK}" + "}}\n"
            "smtpd_sender_restrictions = reject_sender_login_mismatch\n"
            "smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\n"
        )
        dovecot = Dovecot(folder, certificates, SECRETS, auth)
        with running(dovecot), site(Path(base), main=main.replace("{{", "{ {").replace("}}\n", "} }\n")) as one:
            yield Signing(one)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_T03_who_signs_in_at_postfix_is_that_login_here(there: Signing, mechanism: str) -> None:
    subject = f"Signed in by {mechanism}"
    code, said = there.swaks(OFFICER, SECRETS[OFFICER], subject, mechanism=mechanism)
    assert code == 0, said
    row = there.row(subject)
    assert row["user"] == {"name": OFFICER}
    assert row["email"]["direction"] == "outbound"  # type: ignore[index]
    assert there.site.wait("desk@finance.nic.in", subject)["X-Gateway-Reference"]


def test_T03_who_does_not_is_nobody_and_a_wrong_password_no_login(there: Signing) -> None:
    code, said = there.swaks(OFFICER, "guess", "Guessed")
    assert (code, "535 5.7.8" in said) == (28, True), said
    code, said = there.swaks("", "", "Nobody", sender=OFFICER)
    assert code in (23, 24), said
    assert there.site.decisions("Guessed") == there.site.decisions("Nobody") == []


def test_T03_a_login_writes_its_own_address_by_postfix_s_table(there: Signing) -> None:
    code, said = there.swaks(CLERK, SECRETS[CLERK], "As the head", sender=OFFICER)
    assert (code, "553 5.7.1" in said) == (24, True), said
    assert there.site.decisions("As.the.head") == []
    code, said = there.swaks(CLERK, SECRETS[CLERK], "As the clerk")
    assert code == 0, said
    assert there.row("As the clerk")["user"] == {"name": CLERK}


def test_T03_two_logins_on_one_connection_of_the_mta_are_two(there: Signing) -> None:
    """Postfix keeps its connection to a milter for other clients."""
    for login in (OFFICER, CLERK, OFFICER):
        subject = f"Turn of {login.partition('@')[0]} {len(there.site.decisions('Turn.of'))}"
        assert there.swaks(login, SECRETS[login], subject)[0] == 0
        assert there.row(subject)["user"] == {"name": login}
