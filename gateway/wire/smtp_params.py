"""Arguments of SMTP commands: HELO names, paths in their brackets, parameters of MAIL and RCPT.

What it is: parsers of the raw octets after a verb; what they return is fit for headers, logs and the next hop as it is.
Who calls it: ``wire.smtp``.
Must never: change the case or the xtext of a value; take a parameter that was not offered in the EHLO reply.
Sources: RFC 5321 sections 4.1.1.1, 4.1.2 and 4.1.3; RFC 1870, 6152, 6531; RFC 3461 section 4 (RET, ENVID, NOTIFY, ORCPT, xtext); RFC 4954
section 5 (AUTH=).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from gateway import address
from gateway.address import Path
from gateway.envelope import Recipient

_HELO = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_UTF8_XTEXT = re.compile(r"(?:[!-*,-<>-\[\]-~]|[^\x00-\x7f]|\\x\{[0-9A-F]{2,6}\}|\+[0-9A-F]{2})+")
_HEX = re.compile(r"\+([0-9A-F]{2})|\\x\{([0-9A-F]{2,6})\}")
_ADDR_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}")
_ENVID = 100  # octets, RFC 3461 section 4.4
_ORCPT = 500  # octets, RFC 3461 section 4.2
_AUTH = 500  # octets, RFC 4954 section 5
_NOTIFY = frozenset({"NEVER", "SUCCESS", "FAILURE", "DELAY"})


_CONTROLS = bytes(range(32)) + b"\x7f"
_FOREIGN = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"DELETE ", b"SSH-", b"PROXY ", b"PRI * ")


class ArgumentError(ValueError):
    """The argument is not taken: *code* and *enhanced* are the answer, the text is one plain sentence."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.enhanced = enhanced


@dataclass(slots=True)
class Mail:
    """MAIL FROM, parsed."""

    path: Path
    size: int = 0
    """As claimed by SIZE=; 0 when it was not given."""
    eight_bit: bool = False
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""


def has_controls(line: bytes) -> bool:
    """Whether *line* holds a control character."""
    return len(line.translate(None, _CONTROLS)) != len(line)


def foreign(line: bytes) -> str:
    """Why the first *line* of a session is of no SMTP client (HTTP, TLS, SSH, PROXY, noise); empty when it may be of one."""
    if line.startswith(_FOREIGN) or line[:2] == b"\x16\x03":
        return "foreign protocol"
    text = line.rstrip(b"\r\n")
    if line[:4].upper() not in (b"EHLO", b"HELO") and (not text.isascii() or has_controls(text)):
        return "binary noise"
    return ""


def helo_name(argument: bytes) -> str:
    """The domain or address literal of HELO and EHLO, safe for a Received field. Raises ArgumentError.

    Underscores and names of one label are taken: many clients inside a department have nothing better.
    """
    try:
        text = argument.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if text and len(text) <= 255:
        if text[0] == "[" and text[-1] == "]":
            if _is_literal(text[1:-1]):
                return text
        elif _HELO.fullmatch(text) and ".." not in text:
            return text
    raise ArgumentError(501, "5.5.4", "HELO and EHLO need one domain name or address literal.")


def _is_literal(inner: str) -> bool:
    try:
        if inner[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(inner[5:])
            return "%" not in inner  # a zone is no part of an address on the wire
        ipaddress.IPv4Address(inner)
    except ValueError:
        return False
    return True


def split_path(argument: bytes, keyword: bytes) -> tuple[bytes, bytes]:
    """The octets between the brackets after *keyword* (``FROM:`` or ``TO:``), and the parameters. Raises ArgumentError."""
    length = len(keyword)
    if argument[:length].upper() != keyword:
        raise ArgumentError(501, "5.5.4", f"The command needs {keyword.decode('ascii')}<address>.")
    # A blank before the bracket is wrong and common; it leaves nothing to guess.
    rest = argument[length:].lstrip(b" ")
    if rest[:1] != b"<":
        raise ArgumentError(501, "5.5.4", "The address must stand in angle brackets.")
    end = rest.find(b">") if b'"' not in rest else _closing_bracket(rest)
    if end < 0:
        raise ArgumentError(501, "5.5.4", "The address has no closing bracket.")
    parameters = rest[end + 1 :]
    if parameters and parameters[:1] != b" ":
        raise ArgumentError(501, "5.5.4", "Only parameters may follow the address.")
    return rest[1:end], parameters.strip(b" ")


def _closing_bracket(rest: bytes) -> int:
    """Where the path ends, with brackets inside a quoted local part left alone."""
    quoted = escaped = False
    for index, octet in enumerate(rest):
        if escaped:
            escaped = False
        elif quoted and octet == 0x5C:
            escaped = True
        elif octet == 0x22:
            quoted = not quoted
        elif octet == 0x3E and not quoted:
            return index
    return -1


def mail(argument: bytes, *, esmtp: bool, max_size: int, auth: bool = False) -> Mail:
    """The argument of MAIL; *auth*: AUTH= was offered. Raises ArgumentError or AddressError."""
    raw, parameters = split_path(argument, b"FROM:")
    if not parameters:
        path = address.parse(raw, smtputf8=False)
        _no_bare_postmaster(path)
        return Mail(path)
    values = _parameters(parameters, esmtp=esmtp)
    parsed = Mail(address.NULL_PATH)
    for name, value in values.items():
        if name == "SIZE":
            parsed.size = _size(value)
        elif name == "BODY":
            _body(parsed, value)
        elif name == "SMTPUTF8":
            if value is not None:
                raise ArgumentError(501, "5.5.4", "SMTPUTF8 takes no value.")
            parsed.smtputf8 = True
        elif name == "RET":
            parsed.ret = (value or "").upper()
            if parsed.ret not in ("FULL", "HDRS"):
                raise ArgumentError(501, "5.5.4", "RET is FULL or HDRS.")
        elif name == "ENVID":
            parsed.envid = value or ""
            if len(parsed.envid) > _ENVID or not _is_xtext(parsed.envid):
                raise ArgumentError(501, "5.5.4", "ENVID is not well formed.")
        elif name == "AUTH" and auth:
            _auth(value)
        else:
            raise ArgumentError(555, "5.5.4", "A parameter of MAIL is not known here.")
    parsed.path = address.parse(raw, smtputf8=parsed.smtputf8)
    _no_bare_postmaster(parsed.path)
    if parsed.size > max_size:
        raise ArgumentError(552, "5.3.4", f"The message is larger than the limit of {max_size} octets.")
    return parsed


def _no_bare_postmaster(path: Path) -> None:
    if path.local and not path.domain:
        raise ArgumentError(501, "5.1.7", "The sender has no domain.")


def _size(value: str | None) -> int:
    # 20 digits are grammar, but more octets than any file can have are not a size.
    if value is None or not (value.isascii() and value.isdigit()) or len(value) > 19:
        raise ArgumentError(501, "5.5.4", "SIZE needs a number of octets.")
    return int(value)


def _auth(value: str | None) -> None:
    """AUTH= names who first submitted a message. Nobody who submits here is trusted to say so: as RFC 4954 section 5 lets a server do,
    it is checked for its form and then counts as ``AUTH=<>``."""
    if value is None or len(value) > _AUTH or (value != "<>" and not _is_xtext(value)):
        raise ArgumentError(501, "5.5.4", "AUTH is not well formed.")


def _body(parsed: Mail, value: str | None) -> None:
    kind = (value or "").upper()
    if kind not in ("7BIT", "8BITMIME"):
        raise ArgumentError(555 if kind else 501, "5.5.4", "BODY is 7BIT or 8BITMIME.")
    parsed.eight_bit = kind == "8BITMIME"


def recipient(argument: bytes, *, esmtp: bool, smtputf8: bool) -> Recipient:
    """The argument of RCPT. Raises ArgumentError or AddressError."""
    raw, parameters = split_path(argument, b"TO:")
    path = address.parse(raw, smtputf8=smtputf8)
    if path.is_null:
        raise ArgumentError(501, "5.1.3", "The recipient is missing.")
    if not parameters:
        return Recipient(path)
    notify: frozenset[str] | None = None
    orcpt = ""
    for name, value in _parameters(parameters, esmtp=esmtp).items():
        if name == "NOTIFY":
            words = (value or "").upper().split(",")
            notify = frozenset(words)
            if len(words) != len(notify) or not notify <= _NOTIFY or ("NEVER" in notify and len(notify) > 1):
                raise ArgumentError(501, "5.5.4", "NOTIFY is NEVER, or some of SUCCESS, FAILURE and DELAY.")
        elif name == "ORCPT":
            orcpt = value or ""
            if not _is_orcpt(orcpt, smtputf8=smtputf8):
                raise ArgumentError(501, "5.5.4", "ORCPT is not well formed.")
        else:
            raise ArgumentError(555, "5.5.4", "A parameter of RCPT is not known here.")
    return Recipient(path, notify, orcpt)


def _parameters(text: bytes, *, esmtp: bool) -> dict[str, str | None]:
    if not esmtp:
        raise ArgumentError(555, "5.5.4", "Parameters need EHLO.")
    try:
        words = text.decode("utf-8").split(" ")
    except UnicodeDecodeError:
        raise ArgumentError(501, "5.5.4", "The parameters are not well formed.") from None
    values: dict[str, str | None] = {}
    for word in words:
        if not word:
            continue
        name, equals, value = word.partition("=")
        name = name.upper()
        if name in values:
            raise ArgumentError(501, "5.5.4", "A parameter is given twice.")
        values[name] = value if equals else None
    return values


def _is_xtext(value: str) -> bool:
    """Whether *value* is xtext of printable ASCII: nothing in it can break a line of a report."""
    return bool(_XTEXT.fullmatch(value)) and all(0x20 <= int(code, 16) <= 0x7E for code, _ in _HEX.findall(value))


def _is_orcpt(value: str, *, smtputf8: bool) -> bool:
    kind, semicolon, rest = value.partition(";")
    if not semicolon or len(value.encode("utf-8")) > _ORCPT or not _ADDR_TYPE.fullmatch(kind):
        return False
    if kind.lower() != "utf-8":
        return _is_xtext(rest)
    if not _UTF8_XTEXT.fullmatch(rest) or (not rest.isascii() and not smtputf8):
        return False
    decoded = [int(short or long, 16) for short, long in _HEX.findall(rest)]
    return all(0x20 <= code != 0x7F and not 0x80 <= code < 0xA0 and code < 0x110000 for code in decoded) and all(
        c < "\x80" or c.isprintable() for c in rest
    )
