"""Which mailboxes are other people's, as the IMAP server tells it.

What it is: ``Namespaces``, read from the server's answer to NAMESPACE, and whether the name of a mailbox is in one of others or of many.
Who calls it: ``wire.imap_responses`` finds the answer, ``doors.imap_sharing`` asks about names.
Must never: take a name for one's own because it is written in another way: upper or lower case, modified UTF-7 or UTF-8.
Sources: RFC 2342 and 9051 section 6.3.10; RFC 9051 section 5.1 and appendix A.1 (names), 3501 section 5.1.3 (modified UTF-7).
"""

from __future__ import annotations

import base64
import re
import unicodedata
from dataclasses import dataclass

from gateway.wire.imap_events import ImapError

_LITERAL = re.compile(rb"\{(\d{1,4})\}\r?\n\Z")
_TOKEN = re.compile(rb'[ ]*(?:([()])|"((?:[^"\\\r\n]|\\.)*+)"|\{(\d{1,4})\}\r?\n|([^\x00-\x20(){"\\]+))', re.DOTALL)
_SHIFTED = re.compile(r"&([^&-]*)-?")
_BROKEN = "The server's list of namespaces cannot be read."
_DEEP = 8
_Value = bytes | None | list["_Value"]


def end_of(buffer: bytes, start: int) -> int:
    """Where the response that begins at *start* ends, with its literals; -1: it is not whole. Raises ImapError."""
    while (end := buffer.find(b"\n", start) + 1) > 0:
        literal = _LITERAL.search(buffer, max(start, end - 10), end)
        if literal is None:
            if buffer[max(start, end - 16) : end].rstrip(b"\r\n").endswith(b"}"):
                raise ImapError(_BROKEN)
            return end
        start = end + int(literal[1])
        if start > len(buffer):
            return -1
    return -1


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The prefixes of names, each in the form of ``_plain`` with its delimiter."""

    own: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, str], ...]
    """Those of other users, and those that are shared."""

    @classmethod
    def parse(cls, response: bytes) -> Namespaces:
        """Those of ``* NAMESPACE …``, whole. Raises ImapError."""
        values = _values(response[len(b"* NAMESPACE") :])
        if len(values) != 3:
            raise ImapError(_BROKEN)
        own, users, shared = map(_prefixes, values)
        return cls(own, users + shared)

    def are_others(self, name: bytes) -> bool:
        """Whether the mailbox *name*, as a command has it, is not (or not only) its user's own."""
        forms = {_plain(_text(name)), _plain(_shifted(_text(name)))}
        return any(self._is_others(form) for form in forms)

    def _is_others(self, name: str) -> bool:
        if name == "inbox":
            return False
        # The longer prefix tells; where a server gives the same to both, a name is looked for among one's own first.
        return _longest(name, self.others) > _longest(name, self.own)


def _longest(name: str, prefixes: tuple[tuple[str, str], ...]) -> int:
    """The length of the longest prefix that *name* has, or -1; a prefix without its delimiter is the root of its namespace."""
    found = -1
    for prefix, delimiter in prefixes:
        root = prefix.removesuffix(delimiter) if delimiter else prefix
        if name.startswith(prefix) or (root and name == root):
            found = max(found, len(prefix))
    return found


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


def _plain(name: str) -> str:
    """*name* so that two ways to write one name are the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _shifted(name: str) -> str:
    """*name* out of modified UTF-7, however badly it is written."""

    def read(found: re.Match[str]) -> str:
        if not found[1]:
            return "&"
        try:
            return base64.b64decode(found[1].replace(",", "/") + "===").decode("utf-16-be", "replace")
        except ValueError:
            return found[0]

    return _SHIFTED.sub(read, name)


def _values(text: bytes) -> list[_Value]:
    """What *text* says: strings, NIL, lists. Raises ImapError."""
    stack: list[list[_Value]] = [[]]
    at = 0
    text = text.rstrip(b"\r\n ")
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ImapError(_BROKEN)
        at = token.end()
        paren, quoted, literal, atom = token.groups()
        if paren == b"(":
            stack.append([])
        elif paren:
            done: _Value = stack.pop()
            if not stack:
                raise ImapError(_BROKEN)
            stack[-1].append(done)
        elif literal is not None:
            stack[-1].append(text[at : at + int(literal)])
            at += int(literal)
        elif quoted is not None:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", quoted, flags=re.DOTALL))
        else:
            stack[-1].append(None if atom.upper() == b"NIL" else atom)
        if len(stack) > _DEEP:
            raise ImapError(_BROKEN)
    if len(stack) != 1:
        raise ImapError(_BROKEN)
    return stack[0]


def _prefixes(value: _Value) -> tuple[tuple[str, str], ...]:
    """The namespaces of one kind. Raises ImapError."""
    if value is None:
        return ()
    found = []
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, list) or len(one) < 2 or not isinstance(one[0], bytes) or isinstance(one[1], list):
            raise ImapError(_BROKEN)
        found.append((_plain(_shifted(_text(one[0]))), _plain(_text(one[1] or b""))))
    return tuple(found)
