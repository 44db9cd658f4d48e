"""What ``gateway doctor`` calls proved, held against a real Postfix that sends to ``openssl s_server`` on loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import smtplib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import doctor_milter, doctor_postconf, doctor_postfix, doctor_transport
from gateway.config import Config
from gateway.relay.hop_tls import is_aes_256
from tests.e2e.parts import POSTFIX_MASTER, Gateway, Postfix, free_port, running, stop, wait_for
from tests.test_doctor_transport import GOOD

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(not POSTFIX_MASTER.exists(), reason="Postfix is not installed (apt install postfix)"),
    pytest.mark.skipif(os.getuid() != 0, reason="Postfix starts as root only"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]
LOG = "smtp_tls_loglevel = 1\nsmtp_tls_wrappermode = yes\n"
ENCRYPT = GOOD.replace("= verify", "= encrypt")  # the certificate of this server is nobody's
WAYS = {
    "as the documents have it": (ENCRYPT, True),
    "own list of suites": (
        ENCRYPT.replace("smtp_tls_mandatory_exclude_ciphers", "#") + "tls_high_cipherlist = ECDHE+AESGCM+AES256:DHE+AES256\n", True,
    ),
    "Postfix's own suites": ("smtp_tls_security_level = encrypt\n", False),
    "high alone": ("smtp_tls_security_level = encrypt\nsmtp_tls_mandatory_ciphers = high\nsmtp_tls_mandatory_protocols = TLSv1.2\n", False),
}  # fmt: skip
SERVERS = {
    "prefers AES-128": ["-cipher", "ECDHE-RSA-AES128-GCM-SHA256:ALL", "-serverpref", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
    "prefers ChaCha20": ["-cipher", "ECDHE-RSA-CHACHA20-POLY1305:ALL", "-serverpref", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
    "has AES-128 only": ["-cipher", "ECDHE-RSA-AES128-GCM-SHA256", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Not below pytest's own folder, which Postfix's users may not enter."""
    with tempfile.TemporaryDirectory(prefix="tls-", ignore_cleanup_errors=True) as name:
        words = [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
            "-days",
            "2",
            "-subj",
            "/CN=hop.test",
        ]
        subprocess.run(["openssl", *words], cwd=name, check=True, capture_output=True)
        yield Path(name)


def reader(folder: Path) -> doctor_postconf.Run:
    def run(words: list[str]) -> str | None:
        return doctor_postconf.run([words[0], "-c", str(folder), *words[1:]] if words[0] in ("postconf", "postmap") else words)

    return run


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_proved_is_what_is_negotiated(folder: Path, way: str, server: str) -> None:
    main, protected = WAYS[way]
    port = free_port()
    base = folder / f"{list(WAYS).index(way)}-{list(SERVERS).index(server)}"
    front = Postfix(base, "mx.dept.gov.in", f"{LOG}{main}relayhost = [127.0.0.1]:{port}\n")
    other = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", "cert.pem", "-key", "key.pem", "-quiet", *SERVERS[server]],
        cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with running(front):
            with smtplib.SMTP("127.0.0.1", front.port, timeout=20) as client:
                client.sendmail("officer@dept.gov.in", ["desk@finance.nic.in"], b"Subject: x\r\n\r\nx\r\n")
            log = base / "mail.log"
            text = wait_for(
                lambda: log.exists() and re.search(r"TLS connection established.*|SSL_connect error.*|Cannot start TLS.*", log.read_text()),
                60, "a handshake in the log",
            )[0]  # fmt: skip
            postfix = doctor_postconf.read(reader(base), doctor_transport.NAMES)
            assert postfix is not None
            # On loopback every path is protected: it is judged as if the server were elsewhere.
            elsewhere = doctor_postconf.Postfix(
                {**postfix.main, "relayhost": "[hop.test]:25"}, postfix.set_here, postfix.services, postfix.run
            )
            proof = doctor_transport.prove(elsewhere)
            assert proof.protected == protected, proof.gaps
    finally:
        stop(other, 5)
    found = re.search(r"established to \S+ (\S+) with cipher (\S+) \((\d+)/\d+ bits\)", text)
    if protected:
        # Either AES-256, or no TLS and so no mail.
        assert found is None or is_aes_256((found[2], found[1], int(found[3]))), text
        assert (found is None) == (server == "has AES-128 only"), text
    else:
        assert found is not None, text
        assert not is_aes_256((found[2], found[1], int(found[3]))), text


def test_a_real_postfix_behind_the_documents_settings_is_well(folder: Path) -> None:
    socket = "unix:gateway/milter.sock"
    front = Postfix(folder / "well", "mx.dept.gov.in", f"smtpd_milters = {socket}\nnon_smtpd_milters = {socket}\n{GOOD}")
    listen = ({"door": "milter", "address": f"unix:{folder}/well/spool/gateway/milter.sock"},)
    config = Config(hostname="gw1.dept.gov.in", listen=listen)
    with running(front):
        found = list(doctor_postfix.examine(config, reader(front.folder)))
        assert [(one.subject, one.state) for one in found] == [("milter", "ok")], found
        proof = doctor_postfix.proof(config, reader(front.folder))
        assert proof is not None
        assert proof.protected, proof.gaps
    postfix = doctor_postfix.reading(config, reader(front.folder))
    assert postfix is not None
    assert doctor_milter.asks_us(config, postfix)
    stopped = doctor_postfix.proof(config, reader(front.folder))
    assert stopped is not None
    assert "does not run" in stopped.said


def test_the_gateway_gets_to_know_it_and_forgets_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = "unix:gateway/milter.sock"
    front = Postfix(folder / "known", "mx.dept.gov.in", f"smtpd_milters = {socket}\nnon_smtpd_milters = {socket}\n{GOOD}")
    (front.folder / "spool" / "gateway").mkdir(parents=True)
    door = f'[[listen]]\ndoor = "milter"\naddress = "unix:{front.folder}/spool/gateway/milter.sock"\n[limits]\nfree_disk = 0\n'
    gateway = Gateway(folder / "gw", free_port(), extra=door)
    monkeypatch.setenv("MAIL_CONFIG", str(front.folder))

    def doctor() -> list[tuple[str, str]]:
        done = gateway.cli("doctor", "--offline", "--json", check=False)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return [(row["state"], row["text"]) for row in rows if row["subject"] == "mta tls"]

    with running(front, gateway):
        first, told = doctor()
        assert (first[0], told[0]) == ("ok", "ok"), (first, told)
        (row,) = [row for row in gateway.records("profiles", "list") if row["name"] == "mta-tls"]
        assert 7.9 * 86400 < row["expires"] - row["created"] <= 8 * 86400
        (front.folder / "main.cf").write_text((front.folder / "main.cf").read_text().replace("TLSv1.2", ">=TLSv1.2"))
        found = doctor()
        assert "TLS 1.3 is on" in found[0][1]
        assert found[-1][0] == "ok"
        assert not [row for row in gateway.records("profiles", "list") if row["name"] == "mta-tls"]
    assert doctor()[-1][0] == "warning", "nobody is there to be told"
