"""SIGHUP at the keeper: what is taken anew, what waits for a restart, and that a mistake changes nothing. Hostile-inputs O17."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, Dkim, Route
from gateway.relay.routes import Routes
from gateway.relay.signing import Signer

ROOT = Path(__file__).resolve().parents[1]


def config(hop: str) -> Config:
    return Config(route=(Route(domains=("*",), next_hop=hop, tls="none"),))


def test_routes_are_replaced_for_everybody_who_holds_them() -> None:
    routes = Routes(config("127.0.0.1:25"))
    assert [hop.name for hop in routes.hops] == ["127.0.0.1:25"]
    routes.take(Routes(config("127.0.0.1:26")))
    assert [hop.name for hop in routes.hops] == ["127.0.0.1:26"]


def test_signing_keys_are_replaced(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)], check=True, capture_output=True)
    signer = Signer(Config(), time.time)
    assert not signer.active
    signer.take(Signer(Config(dkim=(Dkim(domain="dept.gov.in", selector="gw2", key_file=key),)), time.time))
    assert signer.active


@pytest.mark.slow
def test_O17_a_reload_takes_what_it_can_names_the_rest_and_survives_mistakes(tmp_path: Path) -> None:
    file, log = tmp_path / "gateway.toml", tmp_path / "log"
    text = f'state_dir = "{tmp_path}/state"\n[[route]]\ndomains = ["*"]\nnext_hop = "127.0.0.1:25"\ntls = "none"\n'
    file.write_text(text)

    def wait_for(message: str) -> dict[str, Any]:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            for line in log.read_text().splitlines():
                if line.startswith("{") and json.loads(line)["message"] == message:
                    found: dict[str, Any] = json.loads(line)
                    return found
            time.sleep(0.02)
        raise AssertionError(log.read_text())

    with log.open("wb") as stderr:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "gateway", "run", "--only", "keeper", "--parent", str(os.getpid()), "--config", str(file)],
            stderr=stderr, cwd=ROOT,
        )  # fmt: skip
    try:
        wait_for("keeper is ready")
        file.write_text(text.replace("127.0.0.1:25", "nowhere"))
        keeper.send_signal(signal.SIGHUP)
        assert "nowhere" in wait_for("config.reload_failed")["error.message"]
        more = '[contacts]\nnodal = "nodal@dept.gov.in"\n[limits]\nretry_first = 60\n[relay]\nhold_days = 3\n'
        file.write_text(text.replace("127.0.0.1:25", "127.0.0.1:26") + more)
        keeper.send_signal(signal.SIGHUP)
        wait_for("rules.reloaded")
        assert wait_for("config.needs_restart")["options"] == ["contacts", "limits", "relay"]
        assert keeper.poll() is None
    finally:
        keeper.terminate()
        assert keeper.wait(30) == 0
