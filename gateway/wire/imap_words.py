"""Lines of IMAP commands: what each may look like, so that every reader cuts it in the same way.

What it is: ``head`` (tag and verb), ``mark`` (whether a line is well formed, and the literal that it announces), and what LOGIN,
AUTHENTICATE and APPEND hold. All of it is linear in the line.
Who calls it: ``wire.imap``.
Must never: take a line whose literal another reader would not see, or the other way round: ``{`` stands outside of quotes only where a
literal is announced, and quotes only around a whole word.
Sources: RFC 9051 section 9 (grammar), 7888 (literals), 3516 (literal8), 3502, 6855, 4469 (CATENATE).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway.wire.imap_events import ImapError, Mailbox

_QUOTED = rb'"[^"\\\r\n\0]*+(?:\\[^\r\n\0][^"\\\r\n\0]*+)*+"'
_ATOM = rb'[^\x00-\x20\x7f(){"\\]++'
_HEAD = re.compile(rb'([^\x00-\x20\x7f-\xff(){%*"\\+\]]{1,256}) ((?:UID )?[A-Z0-9-]{1,32})(?= |\Z)', re.IGNORECASE)
_TAG = re.compile(rb'([^\x00-\x20\x7f-\xff(){%*"\\+\]]{1,256}) ')
_LINE = re.compile(rb'(?:[^"{\r\n\0]++|(?<=[ (])' + _QUOTED + rb"(?=[ )\]]|\Z))*+")
_MARK = re.compile(rb"(?:(?<=[ (])|(?<=[ (]~))\{(\d{1,10})(\+?)\}\Z")
_WORD = re.compile(rb" (?:(" + _QUOTED + rb")|(" + _ATOM + rb"))(?= |\Z)")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_FLAG = rb'\\?[^\x00-\x20\x7f(){%*"\\]++'
_BEFORE = rb"(?: (\((?:" + _FLAG + rb"(?: " + _FLAG + rb')*+)?\)))?(?: ("[^"\\\r\n\0]{1,40}"))?'
_MESSAGE = re.compile(_BEFORE + rb" (UTF8 \(~|~)?\{\d{1,10}\+?\}\Z", re.IGNORECASE)
_CATENATE = re.compile(_BEFORE + rb" (?:CATENATE|URL)[ (]", re.IGNORECASE)
_MECHANISM = re.compile(rb" ([A-Z0-9_-]{1,20})(?: ([A-Z0-9+/=]*+))?\Z", re.IGNORECASE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/=]*+\Z")

DEEP = 1000
"""Parentheses of a command."""
BROKEN = "The command is not well formed."


class Mark(NamedTuple):
    """A literal that a line announces."""

    size: int
    waits: bool
    """It is synchronising: the client waits for ``+``."""


class Message(NamedTuple):
    """What APPEND says of one message before its literal."""

    flags: bytes
    date: bytes
    literal8: bool
    utf8: bool


def head(line: bytes) -> tuple[bytes, bytes, int]:
    """Tag, verb in capitals (``UID FETCH`` is one), and where the arguments begin. The tag alone, and no verb, where that is all."""
    found = _HEAD.match(line)
    if found is not None:
        return found[1], found[2].upper(), found.end()
    tag = _TAG.match(line)
    return (tag[1] if tag else b""), b"", 0


def mark(line: bytes, *, first: bool) -> Mark | None:
    """The literal that *line* (without its end) announces. *first*: it begins a command; else it follows a literal.

    Raises ImapError: the line is not well formed.
    """
    if not first and line and line[:1] not in b" )]":
        raise ImapError("After a literal comes a blank or the end.")
    if line.count(b"(") > DEEP:
        raise ImapError("The command has too many parentheses.")
    whole = _LINE.match(line)
    assert whole is not None  # it matches nothing as well
    if whole.end() == len(line):
        return None
    found = _MARK.match(line, whole.end())
    if found is None:
        raise ImapError(BROKEN)
    return Mark(int(found[1]), not found[2])


def asked(line: bytes) -> bytes:
    """*line*, which announces a literal, with its end, and so that the literal waits for ``+``."""
    return (line[:-2] + b"}" if line.endswith(b"+}") else line) + b"\r\n"


def words(line: bytes, at: int, *, open: bool) -> list[Mailbox]:
    """The words of *line* from *at* on. *open*: it announces a literal, which is no word. Raises ImapError."""
    found = []
    end = line.rindex(b"{") - 1 if open else len(line)
    if open and line[end : end + 1] != b" ":
        raise ImapError(BROKEN)
    while at < end:
        one = _WORD.match(line, at, end)
        if one is None:
            raise ImapError(BROKEN)
        at = one.end()
        found.append(Mailbox(one[2] if one[1] is None else _ESCAPED.sub(rb"\1", one[1][1:-1]), one[1] or one[2]))
    return found


def mailbox(line: bytes, at: int) -> tuple[Mailbox, int]:
    """The first word of *line* from *at* on, and where it ends. Raises ImapError."""
    one = _WORD.match(line, at)
    if one is None:
        raise ImapError(BROKEN)
    return Mailbox(one[2] if one[1] is None else _ESCAPED.sub(rb"\1", one[1][1:-1]), one[1] or one[2]), one.end()


def message(line: bytes, at: int) -> Message:
    """What stands from *at* on, before the literal of a message. Raises ImapError."""
    found = _MESSAGE.match(line, at)
    if found is None:
        raise ImapError(BROKEN)
    kind = found[3] or b""
    return Message(found[1] or b"", found[2] or b"", bool(kind), len(kind) > 1)


def put_together(line: bytes, at: int) -> bool:
    """Whether a message is to be made of parts that are elsewhere (CATENATE, URL)."""
    return _CATENATE.match(line, at) is not None


def mechanism(line: bytes, at: int) -> tuple[str, bytes | None]:
    """The mechanism of AUTHENTICATE in capitals, and its initial response. Raises ImapError."""
    found = _MECHANISM.match(line, at)
    if found is None:
        raise ImapError(BROKEN)
    return found[1].decode("ascii").upper(), found[2]


def is_base64(line: bytes) -> bool:
    """Whether *line* may be a response of AUTHENTICATE."""
    return _BASE64.match(line) is not None
