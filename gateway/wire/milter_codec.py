"""The packets of the milter protocol: their flags, what they hold, and how ours are written.

What it is: pure functions, octets to values and values to octets.
Who calls it: ``wire.milter``.
Must never: take what is not well formed; write a line end, a NUL or a long line that came in a value.
Sources: libmilter/mfapi.h, mfdef.h, smfi.c (smfi_setmlreply, addhdr/chgheader) of Sendmail 8.17; Postfix src/milter/milter8.c;
RFC 5322 section 2.1.1; hostile-inputs catalogue T01, T04, T08.
"""

from __future__ import annotations

import re
from functools import lru_cache

from gateway.reply import Reply
from gateway.wire.milter_events import (
    AddHeader,
    AddRecipient,
    Change,
    ChangeHeader,
    Connect,
    DeleteRecipient,
    InsertHeader,
    MilterError,
    Negotiated,
    Quarantine,
)
from gateway.wire.milter_macros import WANTED, plain_address

VERSION = 6
_OLDEST = 2

# SMFIF_: what a filter may do at the end of a message.
ADDHDRS, ADDRCPT, DELRCPT, CHGHDRS, QUARANTINE, SETSYMLIST = 0x01, 0x04, 0x08, 0x10, 0x20, 0x100
_NEEDED = ADDHDRS | CHGHDRS | DELRCPT
_ACTIONS = _NEEDED | ADDRCPT | QUARANTINE | SETSYMLIST

# SMFIP_: what the MTA need not send, what it need not wait for, what it can understand.
NOEOH, NOUNKNOWN, NODATA, SKIP, LEADING_SPACE = 0x40, 0x100, 0x200, 0x400, 0x100000
NR_HEADER, NR_CONNECT, NR_HELO, NR_DATA, NR_UNKNOWN, NR_EOH, NR_BODY = 0x80, 0x1000, 0x2000, 0x10000, 0x20000, 0x40000, 0x80000
_UNREAD = NOUNKNOWN | NODATA | NOEOH  # the header section's end is where the body begins
_PROTOCOL = _UNREAD | LEADING_SPACE | NR_HEADER | NR_CONNECT | NR_HELO | NR_DATA | NR_UNKNOWN | NR_EOH | NR_BODY
NO_REPLY = {b"C": NR_CONNECT, b"H": NR_HELO, b"T": NR_DATA, b"U": NR_UNKNOWN, b"L": NR_HEADER, b"N": NR_EOH, b"B": NR_BODY}
"""The flag that takes the reply to a command away."""
_LISTS = b"".join(index.to_bytes(4, "big") + names + b"\0" for index, names in enumerate(WANTED))

_GIVEN_NAME = re.compile(rb"[!-9;-~]+[ \t]*")  # white space before the colon is in the mail of this world
_NEW_LINE = re.compile(rb"\n(?![ \t])")
_OUR_NAME = re.compile(r"[!-9;-~]{1,76}")
_OUR_LINE = re.compile(r"[\t -~]+")
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
_PRINTABLE = re.compile(r"[ -~]+")
_CLASS = re.compile(r"[45]\.[0-9]{1,3}\.[0-9]{1,3}")
_LONGEST_LINE = 998
_LONGEST_PATH = 1000
_LONGEST_PACKET = 65_535  # what MTAs take from a filter
_REPLY_LINES = 32  # MAXREPLLINES of libmilter
_ARGUMENTS = 64  # of MAIL or RCPT
_SOCKET_PATH = 4096


def packet(command: bytes, data: bytes = b"") -> bytes:
    """*data* as the packet *command*."""
    if len(data) >= _LONGEST_PACKET:
        raise MilterError("a packet that no MTA would take")
    return (len(data) + 1).to_bytes(4, "big") + command + data


# --- what the MTA says ----------------------------------------------------------------------------------------------------


def negotiation(data: bytes) -> tuple[Negotiated, bytes]:
    """What we agree on with an MTA whose SMFIC_OPTNEG is *data*, and our answer. Raises MilterError where it cannot do enough."""
    if len(data) < 12:
        raise MilterError("options that are cut off")
    version, offered, flags = (int.from_bytes(data[at : at + 4], "big") for at in (0, 4, 8))
    if version < _OLDEST:
        raise MilterError("a protocol version older than 2")
    if offered & _NEEDED != _NEEDED:
        raise MilterError("an MTA that lets no filter change header fields and delete recipients")
    actions = offered & _ACTIONS
    protocol = flags & _PROTOCOL
    if not protocol & NR_BODY:
        protocol |= flags & SKIP  # a reply that is due to each piece of a body can at least end it
    version = min(version, VERSION)
    answer = b"".join(number.to_bytes(4, "big") for number in (version, actions, protocol))
    agreed = Negotiated(version, actions, protocol, bool(actions & QUARANTINE), bool(protocol & LEADING_SPACE))
    return agreed, packet(b"O", answer + _LISTS if actions & SETSYMLIST else answer)


@lru_cache(maxsize=64)
def quiet(protocol: int) -> frozenset[bytes]:
    """The commands to which an MTA wants no reply under the flags *protocol*."""
    return frozenset(command for command, flag in NO_REPLY.items() if protocol & flag)


def connect(data: bytes) -> Connect:
    """The client that SMFIC_CONNECT tells of. Raises MilterError."""
    host, end, rest = data.partition(b"\0")
    family = rest[:1]
    if not end or family not in (b"4", b"6", b"L", b"U") or not family:
        raise MilterError("a client without a family that is known")
    name = host.decode("ascii", "replace")
    if not _PRINTABLE.fullmatch(name):
        name = "unknown"
    if family == b"U":
        return Connect(name, "U", 0, "")
    address, end, more = rest[3:].partition(b"\0")
    if len(rest) < 4 or not end or more or len(address) > _SOCKET_PATH:
        raise MilterError("a client's address that is cut off or followed by more")
    port = int.from_bytes(rest[1:3], "big")
    if family == b"L":
        return Connect(name, "L", port, address.decode("utf-8", "replace"))
    text = plain_address(address.decode("ascii", "replace"))
    if not text or (family == b"4") == (b":" in address):
        raise MilterError("a client's address that is none")
    return Connect(name, family.decode("ascii"), port, text)


def one(data: bytes) -> bytes:
    """The one string that *data* holds. Raises MilterError."""
    text, end, more = data.partition(b"\0")
    if not end or more:
        raise MilterError("not one string")
    return text


def arguments(data: bytes) -> tuple[bytes, ...]:
    """The arguments of MAIL or RCPT. Raises MilterError."""
    if not data or data[-1] or data.count(b"\0") > _ARGUMENTS:
        raise MilterError("arguments without an end, or too many")
    return tuple(data[:-1].split(b"\0"))


def field(data: bytes) -> tuple[bytes, bytes]:
    """Name and value of a header field. Raises MilterError for what could be read as another field or as the end of them."""
    pieces = data.split(b"\0", 3)
    if len(pieces) != 3 or pieces[2]:
        raise MilterError("not a name and a value")
    name, value, _ = pieces
    if not _GIVEN_NAME.fullmatch(name):
        raise MilterError("a header field without a name that is one")
    if b"\n" in value and _NEW_LINE.search(value):
        raise MilterError("a header field with a line that does not continue it")
    return name, value


# --- what we say ------------------------------------------------------------------------------------------------------------


def reply_code(reply: Reply) -> bytes:
    """SMFIR_REPLYCODE for a 4xx or 5xx *reply*, in as many lines as it needs. Raises MilterError."""
    if not 400 <= reply.code <= 599:
        raise MilterError("a reply that refuses nothing")
    enhanced = reply.enhanced or f"{reply.code // 100}.0.0"
    if not _CLASS.fullmatch(enhanced) or enhanced[0] != str(reply.code)[0]:
        raise MilterError("an enhanced code of another class than the reply")
    # Nothing is between the lines but CRLF, and none ends the last; MTAs read the text as a format, so a percent sign is two.
    lines = Reply(reply.code, enhanced, reply.text).encode()[:-2].replace(b"%", b"%%")
    if lines.count(b"\r\n") >= _REPLY_LINES:
        raise MilterError("a reply of more lines than an MTA takes")
    return packet(b"y", lines + b"\0")


def change(wanted: Change, agreed: Negotiated) -> bytes:
    """The packet for *wanted*. Raises MilterError for what may not be sent, or not to this MTA."""
    match wanted:
        case InsertHeader():
            return packet(b"i", _index(wanted.index, 0) + _pair(wanted.name, wanted.value, agreed))
        case AddHeader():
            return packet(b"h", _pair(wanted.name, wanted.value, agreed))
        case ChangeHeader():
            return packet(b"m", _index(wanted.index, 1) + _pair(wanted.name, wanted.value, agreed, delete=True))
        case AddRecipient():
            if not agreed.actions & ADDRCPT:
                raise MilterError("recipients cannot be added at this MTA")
            return packet(b"+", _path(wanted.path))
        case DeleteRecipient():
            return packet(b"-", _path(wanted.path))
        case Quarantine():
            if not agreed.quarantine:
                raise MilterError("nothing can be quarantined at this MTA")
            if not _PRINTABLE.fullmatch(wanted.reason) or len(wanted.reason) > _LONGEST_LINE:
                raise MilterError("a reason that is no line of printable characters")
            return packet(b"q", wanted.reason.encode("ascii") + b"\0")


def _pair(name: str, value: str, agreed: Negotiated, *, delete: bool = False) -> bytes:
    if not _OUR_NAME.fullmatch(name):
        raise MilterError("a header field without a name that is one")
    if not value and delete:
        return name.encode("ascii") + b"\0\0"  # with a space it would be a value
    if value and "\n" not in value and _OUR_LINE.fullmatch(value) and value[0] not in " \t" and len(name) + 2 + len(value) <= _LONGEST_LINE:
        return f"{name}\0 {value}\0".encode("ascii") if agreed.leading_space else f"{name}\0{value}\0".encode("ascii")
    first, *more = value.split("\n")
    if (first and not _OUR_LINE.fullmatch(first)) or first[:1] in (" ", "\t"):
        raise MilterError("a header field's value with a control character, 8-bit text or white space in front")
    if any(line[:1] not in (" ", "\t") or not line.strip() or not _OUR_LINE.fullmatch(line) for line in more):
        raise MilterError("a header field's value with a line that does not continue it")
    if len(name) + 2 + len(first) > _LONGEST_LINE or any(len(line) > _LONGEST_LINE for line in more):
        raise MilterError("a header field with a line of more than 998 octets")
    space = " " if agreed.leading_space else ""
    return f"{name}\0{space}{value}\0".encode("ascii")


def _index(index: int, least: int) -> bytes:
    if not least <= index < 1 << 31:
        raise MilterError("an index that is none")
    return index.to_bytes(4, "big")


def _path(path: bytes) -> bytes:
    if not path or len(path) > _LONGEST_PATH or path != path.strip() or _CONTROLS.search(path):
        raise MilterError("a recipient with a control character, or none")
    return path + b"\0"
