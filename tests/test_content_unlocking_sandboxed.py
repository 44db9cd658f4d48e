"""A worker without any rights opens what a password of the message opens: no library asks for a file that it may not have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import requests
from gateway.protection import ProtectionState
from tests.content_mail import inspect, mail
from tests.test_inspector import Service

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("inspector"))
    yield running
    running.process.terminate()
    assert running.process.wait(10) == 0


@pytest.mark.slow
def test_E05_every_lock_opens_in_a_sandboxed_worker(inspector: Service) -> None:
    # Not age: this inspector's share of time is too short for its key derivation, as it should be.
    messages = [path.read_bytes() for path in sorted((FIXTURES / "crypto").glob("*-body.eml")) if not path.name.startswith("age")]
    body = "password: Tulip-7-Jhelum"
    for folder, names in (
        ("crypto", ("cast5.gpg", "3des.gpg", "blowfish.gpg", "idea.gpg", "camellia128.gpg", "sed-aes256.gpg", "cms-password-des3.p7m")),
        ("openpgpjs", ("password-ocb.gpg", "password-gcm.gpg", "password-eax.gpg")),
    ):
        messages += [mail((FIXTURES / folder / name).read_bytes(), name, body=body) for name in names]
    messages += [
        path.read_bytes()
        for path in sorted((FIXTURES / "keys").glob("*.eml"))
        if "closed" not in path.name and path.name != "key-of-another.eml"
    ]
    for message in messages:
        answer = inspector.ask(message)
        assert isinstance(answer, requests.Inspected)
        assert answer.inspection == inspect(message)
        assert any(one.protection.state is ProtectionState.WEAK and "same message" in one.reason for one in answer.inspection.leaves)
