"""IMAP commands that we write ourselves, the verbs that pass, and the words of our refusals.

What it is: tables and pure functions.
Who calls it: ``wire.imap``, ``doors.imap``.
Must never: let a verb pass that brings content in unseen, or changes who the session is; write a token that is not well formed.
Sources: RFC 9051 section 6, 3502, 6855; verbs: 2087, 2177, 2342, 2971, 3691, 4314, 4315, 4731, 5161, 5255, 5256, 5258, 5267, 5465,
6851, 7377, 9208, 9394; hidden: 3516, 4467, 4469, 4978, 5257, 5464, 8437, 8508.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.wire.imap_events import Append, Step

PASSED = frozenset(
    b"NOOP CAPABILITY ID LOGOUT ENABLE SELECT EXAMINE CREATE DELETE RENAME SUBSCRIBE UNSUBSCRIBE LIST LSUB XLIST RLIST RLSUB STATUS "
    b"CHECK CLOSE EXPUNGE UNSELECT SEARCH ESEARCH FETCH STORE COPY MOVE SORT THREAD NAMESPACE GETQUOTA GETQUOTAROOT SETQUOTA SETACL "
    b"DELETEACL GETACL LISTRIGHTS MYRIGHTS NOTIFY IDLE CANCELUPDATE LANGUAGE COMPARATOR".split()
) | frozenset(b"UID " + verb for verb in b"FETCH STORE COPY MOVE SEARCH SORT THREAD EXPUNGE".split())
"""Commands that go to the server as they are. All others are refused: what we do not know we cannot police."""

WIDE = frozenset(b"SEARCH ESEARCH SORT THREAD FETCH".split()) | frozenset(b"UID " + verb for verb in b"SEARCH SORT THREAD FETCH".split())
"""Commands whose literals may be as long as limits.imap_literal: they ask and leave nothing. In all others a literal is a name."""
_FLAGS_ONLY = re.compile(rb" [^ ]+ (?:\([^()]*\) )?[+-]?FLAGS(?:\.SILENT)? [^\"{]*\Z", re.IGNORECASE)
"""The arguments of STORE: flags, which are neither quoted nor literals, and no ANNOTATION, which is text of any size."""
MOVING = frozenset((b"COPY", b"MOVE", b"RENAME", b"UID COPY", b"UID MOVE"))
"""Commands that bring what is in one mailbox into another."""
JUDGED = frozenset((b"LOGIN", b"AUTHENTICATE", b"APPEND", b"STARTTLS"))
_BARE = frozenset(b"NOOP CAPABILITY LOGOUT CHECK CLOSE EXPUNGE UNSELECT NAMESPACE IDLE".split())
"""Commands without arguments: a server may not read what stands behind them."""
CLEAR = frozenset((b"NOOP", b"CAPABILITY", b"LOGOUT", b"STARTTLS"))
"""What may be said before TLS."""
_FOREIGN_ID = re.compile(rb'[ ("]x-|\\', re.IGNORECASE)
"""What a proxy tells of its client in ID: a client could tell the server another address (x-originating-ip) than its own."""


def unfit(verb: bytes, line: bytes, at: int, *, literal: bool) -> str:
    """Why a command of ``PASSED`` may not go on as it stands in *line*, whose arguments begin at *at*; empty where it may."""
    if verb in _BARE and line[at:].strip(b" "):
        return "The command takes no argument."
    if verb == b"ID" and (literal or _FOREIGN_ID.search(line)):
        return "Such an ID is not taken here."
    if verb.endswith(b"STORE") and _FLAGS_ONLY.match(line, at) is None:
        return "Only flags are stored here."
    return ""


def append(messages: Sequence[Append]) -> list[Step]:
    """The command that files *messages* (all of one command).

    Its literals wait for the server even where that offers LITERAL+: Dovecot answers an APPEND whose date or flags it does not like, and
    reads a literal that comes unasked as commands. A message could hold an APPEND of another one.
    """
    first = messages[0]
    steps: list[Step] = []
    chunks: Step = ()
    line = first.tag + b" APPEND " + first.mailbox.token
    if not first.mailbox.token:
        steps.append((line + b"{%d}\r\n" % len(first.mailbox.name),))
        line = first.mailbox.name
    for one in messages:
        line += b"".join(b" " + word for word in (one.flags, one.date) if word)
        line += b" UTF8 (" if one.utf8 else b" "
        line += b"%s{%d}\r\n" % (b"~" if one.literal8 else b"", len(one.message))
        steps.append((*chunks, line))
        chunks, line = (one.message,), b")" if one.utf8 else b""
    return [*steps, (*chunks, line + b"\r\n")]


def no(tag: bytes, code: str, text: str) -> bytes:
    """``tag NO [code] text``."""
    return tag + f" NO [{code}] {text}\r\n".encode("ascii")


def bad(tag: bytes, text: str) -> bytes:
    """``tag BAD text``; untagged where there is no tag."""
    return (tag or b"*") + f" BAD {text}\r\n".encode("ascii")


def bye(text: str) -> bytes:
    """``* BYE text``."""
    return f"* BYE {text}\r\n".encode("ascii")
