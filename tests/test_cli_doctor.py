"""What ``gateway doctor`` says of the way behind the milter door, and what it tells the keeper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import inquiries
from gateway.cli import doctor, link
from gateway.cli.options import Stop
from gateway.config import Config
from gateway.doctor_transport import Proof, unread


def test_what_is_proved_is_one_line_and_what_is_not_says_what_to_write() -> None:
    assert [(one.state, one.text) for one in doctor.transport(Proof(True, "Postfix sends well.", "0" * 64))] == [
        ("ok", "Postfix sends well.")
    ]
    found = list(doctor.transport(unread("there is no Postfix")))
    assert [one.state for one in found] == ["warning", "warning"]
    assert "smtp_tls_mandatory_protocols = TLSv1.2" in found[1].text
    remarked = list(doctor.transport(Proof(True, "Postfix sends well.", "0" * 64, (), ("It does not look at certificates.",))))
    assert [one.state for one in remarked] == ["ok", "warning"]


def test_the_keeper_is_told_in_words_that_it_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[inquiries.NoteMta] = []
    monkeypatch.setattr(link, "ask", lambda config, path, request: asked.append(request))
    hostile = unread("transport_maps: a\tb\x1b[31m\u202e " + "x" * 5000)
    assert "not proved" in doctor.told(Config(), tmp_path, hostile).text
    (request,) = asked
    assert not request.protected
    assert request.said.isprintable()
    assert len(request.said) == 500
    assert len(request.settings) == 64


def test_without_a_keeper_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nobody(*_: Any) -> None:
        raise Stop("The gateway is not running.")

    monkeypatch.setattr(link, "ask", nobody)
    found = doctor.told(Config(), tmp_path, unread("x"))
    assert (found.state, found.text) == ("warning", "the gateway could not be told: The gateway is not running.")
