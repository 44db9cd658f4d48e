"""Calendars and cards: what a calendar or a list of contacts shows is found, however its lines are written."""

from __future__ import annotations

import pytest

from gateway.levels import Level
from gateway.verdict import LeafState
from tests.content_mail import attached, leaf

SECRET = "गोपनीय"


def event(lines: bytes) -> bytes:
    return b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n" + lines + b"\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"


def folded(text: str) -> bytes:
    """*text* with a fold within each character."""
    return b"".join(letter[:1] + b"\r\n " + letter[1:] for letter in (one.encode() for one in text))


@pytest.mark.parametrize(
    "lines",
    [
        b"DESCRIPTION:" + folded(SECRET),
        b"SUMMARY:CONFI\r DENTIAL",
        b"SUMMARY:CONFI\n\tDENTIAL",
        b'ATTENDEE;CN="CONFIDENTIAL":mailto:a@gov.in',
        b"LOCATION;LABEL=CONFIDENTIAL:Room 4",
        b"DESCRIPTION:<p>CON<b>FIDEN</b>TIAL</p>",
        b"DESCRIPTION:<html><body>CONFI&#68;ENTIAL</body></html>",
        b"DESCRIPTION :CONFIDENTIAL",
        b"DESCRIPTION" + b";X-A=1" * 60 + b":CONFIDENTIAL",
        b"NOTE;ENCODING=QUOTED-PRINTABLE:CONFI= \r\nDENTIAL",
    ],
)
def test_M30_what_a_calendar_shows_is_found(lines: bytes) -> None:
    found = attached(event(lines), "a.ics", "text/calendar")
    assert {one.level for one in found.findings} & {Level.CONFIDENTIAL, Level.SECRET}, found.findings


def test_an_ordinary_invitation_is_read() -> None:
    lines = "SUMMARY:समीक्षा बैठक\r\nDESCRIPTION:Agenda:\\n1. Stores <draft>\\n2. Any other\r\nATTENDEE;CN=A. Rao:mailto:a@gov.in"
    found = attached(event(lines.encode()), "a.ics", "text/calendar")
    assert leaf(found).state is LeafState.INSPECTED
    assert not found.findings
