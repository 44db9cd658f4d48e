"""Conversations of the milter protocol as text: one packet, event or answer a line.

What it is: the writing of packets that people can read, and ``play``, which holds a codec to a conversation.
Who calls it: tests of the codec and of the door.
Must never: send or take a packet that the file does not name.

    # a comment
    C: M <a@b.in>\\0SIZE=7\\0      the MTA's packet: its command, then its octets, with \\0 \\n \\r \\t \\\\ \\xNN for what is not printable
    E: Mail                       the event that is due (its fields may follow as repr: E: Mail args=(b'<a@b.in>', b'SIZE=7'))
    A: proceed                    the door's answer: proceed, refuse 550 5.7.1 text, progress, discard, end CONTINUE, end 550 5.7.1 text
    + AddHeader('X-A', 'b')       a change that the next "end" carries
    S: c                          our packet
    macro: i=4F2                  what a macro holds now; "macro: i" for nothing
    error: out of order           MilterError with these words
"""

from __future__ import annotations

import dataclasses
import re

import pytest

from gateway.reply import Reply
from gateway.wire import milter_events as say
from gateway.wire.milter import Milter
from gateway.wire.milter_events import Change, Event, Final, MilterError

_NAMED = {0: "\\0", 9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|(.))")
_PLAIN = {"0": "\0", "t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
_CHANGES = {
    kind.__name__: kind
    for kind in (say.AddHeader, say.InsertHeader, say.ChangeHeader, say.AddRecipient, say.DeleteRecipient, say.Quarantine)
}


def packet(command: bytes, data: bytes = b"") -> bytes:
    """One packet as it stands on the wire."""
    return (len(data) + 1).to_bytes(4, "big") + command + data


def packets(octets: bytes) -> list[bytes]:
    """The packets of *octets*, each without its length."""
    found = []
    while octets:
        length = int.from_bytes(octets[:4], "big")
        found.append(octets[4 : 4 + length])
        octets = octets[4 + length :]
    return found


def written(data: bytes) -> str:
    """A packet without its length as a line shows it."""
    text = "".join(_NAMED.get(octet) or (chr(octet) if 32 <= octet < 127 else f"\\x{octet:02x}") for octet in data)
    return f"{text[:1]} {text[1:]}".rstrip() if not text[1:].endswith(" ") else f"{text[:1]} {text[1:]}"


def read(line: str) -> bytes:
    """The packet without its length that a line shows."""
    text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else _PLAIN[match[2]], line[2:])
    return (line[:1] + text).encode("latin-1")


def shown(event: Event) -> str:
    """An event as a line shows it; its repr leaves the content of a message out."""
    values = ", ".join(f"{field.name}={getattr(event, field.name)!r}" for field in dataclasses.fields(event))
    return f"{type(event).__name__} {values}".rstrip()


def reply(text: str) -> Reply:
    """``550 5.7.1 words``, lines parted by ``|``."""
    code, enhanced, words = text.split(" ", 2)
    return Reply(int(code), enhanced, words.replace("|", "\n"))


def answer(codec: Milter, words: str, changes: list[Change]) -> None:
    """Gives the codec the answer *words*; "end" takes *changes*."""
    verb, _, rest = words.partition(" ")
    if verb == "proceed":
        codec.proceed()
    elif verb == "refuse":
        codec.refuse(reply(rest))
    elif verb == "progress":
        codec.progress()
    elif verb == "discard":
        codec.discard()
    elif verb == "end":
        codec.end_message(Final[rest] if rest in Final.__members__ else reply(rest), changes)
        changes.clear()
    else:
        raise AssertionError(f"not an answer: {words}")


def change(text: str) -> Change:
    """A change as its repr shows it, without names of fields."""
    made = eval(text, {"__builtins__": {}}, _CHANGES)  # our own files
    assert isinstance(made, Change)
    return made


def play(conversation: str, codec: Milter, piece: int = 0) -> None:
    """Holds *codec* to *conversation*; what the MTA says comes in pieces of *piece* octets (0: whole packets)."""
    sent: list[bytes] = []
    changes: list[Change] = []
    for number, line in enumerate(conversation.splitlines(), 1):
        mark, _, rest = line.partition(" ") if not line.startswith("error:") else ("error:", "", line[6:].strip())
        if mark in ("#", ""):
            continue
        where = f"line {number}: {line}"
        if mark == "C:":
            octets = packet(read(rest)[:1], read(rest)[1:])
            for at in range(0, len(octets), piece or len(octets)):
                assert at == 0 or codec.next_event() is None, where
                codec.feed(octets[at : at + (piece or len(octets))])
        elif mark == "E:":
            event = codec.next_event()
            assert event is not None, where
            assert rest in (type(event).__name__, shown(event)), f"{where}\n{shown(event)}"
        elif mark == "A:":
            answer(codec, rest, changes)
        elif mark == "+":
            changes.append(change(rest))
        elif mark == "macro:":
            name, equals, value = rest.partition("=")
            assert codec.macros.get(name) == (value if equals else None), where
        elif mark == "error:":
            with pytest.raises(MilterError, match=rest):
                codec.next_event()
        elif mark == "S:":
            if not sent:
                event = codec.next_event() if not codec.asked else None
                assert event is None, f"{where}\n{event}"
                sent = packets(codec.output())
            assert sent, where
            assert written(sent.pop(0)) == rest, where
        else:
            raise AssertionError(where)
    assert codec.next_event() is None
    assert not sent
    assert not codec.output()
