"""C10: the Big List of Naughty Strings (MIT, 485 strings as published on npm) in every field that a stranger fills. Id of the catalogue."""

from __future__ import annotations

import base64
import json
import urllib.parse
from pathlib import Path

import pytest

from gateway.verdict import Inspection
from gateway.wire.smtp import Server
from gateway.wire.smtp_events import Offer
from tests.content_mail import attached, inspect, zipped

STRINGS: list[str] = json.loads((Path(__file__).parent / "fixtures" / "naughty" / "blns.json").read_text("utf-8"))
SHARES = [STRINGS[at::6] for at in range(6)]


def whole(found: Inspection) -> None:
    """Nothing that leaves the inspection breaks a log line, a path or UTF-8."""
    for leaf in found.leaves:
        for text in (leaf.path, leaf.reason, leaf.media_type):
            text.encode("utf-8")
            assert "\n" not in text
            assert "\r" not in text
            assert "\x00" not in text
            assert "\x1b" not in text
    for value in (found.headers.subject, found.headers.from_display):
        value.encode("utf-8")
        assert not any(character < " " for character in value)


def test_C10_there_are_the_strings() -> None:
    assert len(STRINGS) == 485


@pytest.mark.parametrize("share", [SHARES[0], *(pytest.param(share, marks=pytest.mark.slow) for share in SHARES[1:])])
def test_C10_naughty_strings_in_fields_names_and_text(share: list[str]) -> None:
    for string in share:
        line = " ".join(string.splitlines())
        word = base64.b64encode(string.encode("utf-8", "replace")).decode()
        quoted = line.replace("\\", "\\\\").replace('"', '\\"')
        percent = urllib.parse.quote(string.encode("utf-8", "replace"))
        head = (
            f'From: "{quoted}" <a@example.gov.in>\r\nTo: =?utf-8?b?{word}?= <b@example.gov.in>\r\nSubject: {line}\r\n'
            f"Subject: =?utf-8?b?{word}?=\r\nX-{line[:20]}: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8;\r\n"
            f" name*=utf-8''{percent}\r\nContent-Disposition: attachment; filename=\"{quoted}\"\r\n\r\n{string}\r\n"
        )
        whole(inspect(head.encode("utf-8", "replace")))
        whole(attached(string.encode("utf-8", "replace"), quoted or "x", "text/html"))


def test_C10_naughty_strings_as_members_of_an_archive() -> None:
    members = {string[:200].replace("\x00", ""): string.encode("utf-8", "replace") for string in STRINGS if string.strip()}
    whole(attached(zipped(*members.items()), "a.zip"))


def test_C10_naughty_strings_as_HELO() -> None:
    for string in STRINGS:
        server = Server(Offer("gw.example", 10_000, recipients=3))
        server.greet()
        line = string.encode("utf-8", "replace").replace(b"\r", b"").replace(b"\n", b"")
        server.receive(b"EHLO " + line + b"\r\n")
        while server.next_event() is not None:
            pass
        said = server.output()
        assert all(32 <= octet < 127 or octet in b"\r\n" for octet in said)
