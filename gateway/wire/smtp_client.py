"""The client half of SMTP without I/O: replies of a next hop that may be hostile, and the commands we send it.

What it is: ``ReplyParser`` (bytes in, whole replies out, memory capped), ``Capabilities`` of an EHLO reply, the command lines,
and ``stuff`` which makes the octets after DATA from a message.
Who calls it: ``keeper.smtp_client`` and ``keeper.hop_auth``.
Must never: guess. A reply outside the grammar is HopProtocolError, and whoever reads it defers. No octet of a reply reaches a
log or a report other than as printable ASCII.
Sources: RFC 5321 sections 4.2, 4.5.2 and 4.5.3.1.5; RFC 2920; RFC 3461 section 4; RFC 6152; RFC 6531; RFC 1870; RFC 3463;
RFC 4954; RFC 4616.
"""

from __future__ import annotations

import base64
import functools
import io
import re
from collections.abc import Collection
from dataclasses import dataclass

from gateway.reply import Reply

LINE_MAX = 2048
"""Octets of one reply line; RFC 5321 says 512, some servers write more."""
REPLY_MAX = 32_768
"""Octets of one multi-line reply."""
LINES_MAX = 128
"""Lines of one multi-line reply."""

_TEXT_MAX = 400  # characters of a reply that are kept for the store, the log and a report
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?:\s+|$)")
_LEADING_DOT = re.compile(rb"\.(?<=\n\.)")
_UNSAFE = re.compile(r"[\x00-\x20\x7f<>]")


class HopProtocolError(Exception):
    """The next hop broke SMTP. The text is ours, never the hop's."""


class UnsafeCommand(ValueError):
    """A value that may not stand in a command line (a control character, a blank or an angle bracket)."""


@dataclass(frozen=True, slots=True)
class HopReply:
    """One whole reply of the next hop. *lines* are printable ASCII without the code."""

    code: int
    lines: tuple[str, ...]

    def as_reply(self, default: str = "") -> Reply:
        """The reply as our own value; *default* is the enhanced code where the hop gave none of its class."""
        text = " ".join(line for line in self.lines if line)[:_TEXT_MAX]
        kind = str(self.code // 100)
        if (match := _ENHANCED.match(text)) and match[1] == kind:
            return Reply(self.code, f"{match[1]}.{int(match[2])}.{int(match[3])}", text[match.end() :])
        if not default.startswith(kind):
            default = f"{kind}.0.0"
        return Reply(self.code, default, text)


@functools.lru_cache(maxsize=512)
def _line(line: bytes) -> tuple[int, bool, str]:
    """Code, whether it is the last line, and the text. Cached: a server says the same few lines all day."""
    line = line.removesuffix(b"\r")
    if b"\0" in line or b"\r" in line:
        raise HopProtocolError("a reply with a NUL or a bare CR")
    digits = line[:3]
    if len(digits) != 3 or not digits.isdigit() or digits[0] not in b"2345" or digits[1] not in b"012345":
        raise HopProtocolError("a reply without a valid code")
    mark = line[3:4]
    if mark not in (b"", b" ", b"-"):
        raise HopProtocolError("a reply without a blank or a hyphen after its code")
    text = line[4:].decode("ascii", "replace")
    if not text.isprintable():
        text = "".join(c if " " <= c <= "~" else "?" for c in text)
    return int(digits), mark != b"-", text.replace("\ufffd", "?")


class ReplyParser:
    """Cuts what a next hop sends into replies. Keeps at most one line and one reply, whatever comes."""

    def __init__(self) -> None:
        self._rest = b""
        self._code = 0
        self._lines: list[str] = []
        self._octets = 0

    @property
    def pending(self) -> bool:
        """Whether octets of an unfinished reply are here."""
        return bool(self._rest or self._lines)

    def feed(self, data: bytes) -> list[HopReply]:
        """The replies that *data* completes. Raises HopProtocolError; the parser is of no use afterwards."""
        lines = (self._rest + data if self._rest else data).split(b"\n")
        self._rest = rest = lines.pop()
        if len(rest) > LINE_MAX:
            raise HopProtocolError("a reply line over the limit")
        replies: list[HopReply] = []
        for raw in lines:
            if len(raw) > LINE_MAX:
                raise HopProtocolError("a reply line over the limit")
            code, last, text = _line(raw)
            if self._lines:
                if code != self._code:
                    raise HopProtocolError("a multi-line reply with two codes")
                self._lines.append(text)
                self._octets += len(raw)
                if len(self._lines) > LINES_MAX or self._octets > REPLY_MAX:
                    raise HopProtocolError("a multi-line reply over the limit")
                if last:
                    replies.append(HopReply(code, tuple(self._lines)))
                    self._lines, self._octets = [], 0
            elif last:
                replies.append(HopReply(code, (text,)))
            else:
                self._code, self._lines, self._octets = code, [text], len(raw)
        return replies


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an EHLO reply offers, as far as we use it."""

    pipelining: bool = False
    starttls: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    sized: bool = False
    """SIZE was offered."""
    size: int = 0
    """Largest message in octets; 0 when it names none."""
    auth: frozenset[str] = frozenset()
    """Mechanisms of AUTH, in upper case."""

    @classmethod
    def parse(cls, reply: HopReply) -> Capabilities:
        """The capabilities of an EHLO *reply*; empty and unknown lines are skipped."""
        words: dict[str, str] = {}
        auth: set[str] = set()
        for line in reply.lines[1:]:
            name, _, rest = line.strip().partition(" ")
            if name.upper() == "AUTH" or name.upper().startswith("AUTH="):  # the second form is older than RFC 2554, and still met
                auth.update(f"{name[5:]} {rest}".upper().split())
            elif name:
                words.setdefault(name.upper(), rest.strip())
        size = words.get("SIZE", "")
        return cls(
            pipelining="PIPELINING" in words,
            starttls="STARTTLS" in words,
            eight_bit="8BITMIME" in words,
            smtputf8="SMTPUTF8" in words,
            dsn="DSN" in words,
            sized="SIZE" in words,
            size=int(size) if size.isdecimal() and size.isascii() and len(size) < 16 else 0,
            auth=frozenset(auth),
        )


def _safe(value: str) -> str:
    if _UNSAFE.search(value):
        raise UnsafeCommand("a control character, blank or angle bracket in an SMTP command")
    return value


def mail_command(
    sender: str, capabilities: Capabilities, *, size: int, eight_bit: bool, smtputf8: bool, ret: str = "", envid: str = ""
) -> bytes:
    """The MAIL line for *sender* (empty: the null path), with the parameters that the hop takes. Raises UnsafeCommand."""
    line = f"MAIL FROM:<{_safe(sender)}>"
    if capabilities.sized:
        line += f" SIZE={size}"
    if eight_bit and capabilities.eight_bit:
        line += " BODY=8BITMIME"
    if smtputf8 and capabilities.smtputf8:
        line += " SMTPUTF8"
    if capabilities.dsn:
        if ret:
            line += f" RET={_safe(ret)}"
        if envid:
            line += f" ENVID={_safe(envid)}"
    return line.encode("utf-8") + b"\r\n"


def rcpt_command(recipient: str, capabilities: Capabilities, *, notify: Collection[str] | None = None, orcpt: str = "") -> bytes:
    """The RCPT line for *recipient*; NOTIFY and ORCPT only where the hop offers DSN. Raises UnsafeCommand."""
    line = f"RCPT TO:<{_safe(recipient)}>"
    if capabilities.dsn:
        if notify is not None and notify:
            line += f" NOTIFY={_safe(','.join(sorted(notify)))}"
        if orcpt:
            line += f" ORCPT={_safe(orcpt)}"
    return line.encode("utf-8") + b"\r\n"


def auth_plain(login: str, password: bytes) -> list[bytes]:
    """The lines of AUTH PLAIN without an authorization identity: one, or two where the first would be over 512 octets.

    The second line answers a 334 (RFC 4954 section 4). Raises UnsafeCommand for a NUL, which would move the parts.
    """
    name = login.encode("utf-8")
    if b"\0" in name or b"\0" in password or not name or not password:
        raise UnsafeCommand("a login or a password that is empty or holds a NUL")
    token = base64.b64encode(b"\0" + name + b"\0" + password)
    whole = b"AUTH PLAIN " + token + b"\r\n"
    return [whole] if len(whole) <= 512 else [b"AUTH PLAIN\r\n", token + b"\r\n"]


def auth_login(login: str, password: bytes) -> list[bytes]:
    """The lines of AUTH LOGIN (draft-murchison-sasl-login), each after the first behind a 334. Raises UnsafeCommand."""
    name = login.encode("utf-8")
    if b"\0" in name or b"\0" in password or not name or not password:
        raise UnsafeCommand("a login or a password that is empty or holds a NUL")
    return [b"AUTH LOGIN\r\n", base64.b64encode(name) + b"\r\n", base64.b64encode(password) + b"\r\n"]


def stuff(content: bytes) -> bytes:
    """*content* as it goes after DATA, with the final dot.

    Raises ValueError for content that does not end in CRLF or holds a bare CR, a bare LF or a NUL: such octets could end
    the message early at another server, so they never leave.
    """
    # The decoder notes which line ends it met; one pass in C takes a third of the time of counting CR, LF and CRLF.
    ends = io.IncrementalNewlineDecoder(None, translate=False)
    ends.decode(content.decode("latin-1"), final=True)
    if not content.endswith(b"\r\n") or ends.newlines != "\r\n" or b"\0" in content:
        raise ValueError("content with a bare CR, a bare LF or a NUL, or without a final CRLF")
    # Every LF here ends a line. The pattern begins with its dot, for which the search is as fast as memory: base64 has none.
    stuffed = _LEADING_DOT.sub(b"..", content) if _LEADING_DOT.search(content) else content
    return b".%b.\r\n" % stuffed if content[0] == 0x2E else stuffed + b".\r\n"
