"""The PROXY protocol's header, versions 1 and 2, without I/O: who the client behind a load balancer is.

What it is: ``Parser``, one object a connection. It says how many octets may be read without reading past the header's end, so that
what follows (a greeting's answer, a TLS client hello) stays in the socket for whom it is meant.
Who calls it: ``doors.proxy``.
Must never: guess. A header is exactly what the specification allows, or ProxyError; nothing behind its end is ever asked for.
Source: "The PROXY protocol, versions 1 & 2" of HAProxy, sections 2.1 and 2.2 (TLVs are passed over); hostile-inputs catalogue S41.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V1 = b"PROXY "
_LONGEST_LINE = 107  # octets of a v1 header with CRLF
_LONGEST_BLOCK = 4096  # octets of addresses and TLVs of v2; those of a client certificate take about 1,000
_HEAD = 16  # octets of v2 before the addresses
_SHORTEST = 15  # "PROXY UNKNOWN" CRLF
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_INET, _INET6, _UNIX = 1, 2, 3


class ProxyError(ValueError):
    """Not a PROXY protocol header that we take. The text says what is wrong, without any octet of it."""


@dataclass(frozen=True, slots=True)
class Source:
    """What the header says. *address* is empty where it does not name the client: a LOCAL connection of the balancer's own, or
    UNKNOWN; then the connection's own address is the only one that is known."""

    address: str = ""
    """IPv4 or IPv6 address in its shortest form; an IPv4 address that was mapped into IPv6 as itself."""
    port: int = 0


class Parser:
    """Reads one header. Give ``feed`` at most ``wanted`` octets at a time until it returns a Source."""

    __slots__ = ("_data", "wanted")

    def __init__(self) -> None:
        self._data = b""
        self.wanted = _SHORTEST
        """Octets that may be read now: there are at least so many left of any header that began like this. 0: it is read."""

    def feed(self, data: bytes) -> Source | None:
        """Takes *data*; the source once the header is whole. Raises ProxyError, and ValueError for more than was wanted."""
        if len(data) > self.wanted:
            raise ValueError("more octets than were wanted")
        whole = self._data = self._data + data
        if whole[:12] == _V2:
            need = _HEAD if len(whole) < _HEAD else _HEAD + _block(whole)
            self.wanted = need - len(whole)
            return _source(whole) if not self.wanted else None
        if _V2.startswith(whole):
            self.wanted = _HEAD - len(whole)
            return None
        if not (_V1.startswith(whole[:6]) or whole.startswith(_V1)):
            raise ProxyError("no PROXY protocol header")
        return self._line(whole)

    def _line(self, line: bytes) -> Source | None:
        """What a line of v1 says; two octets more at a time, since its end is told by its end only."""
        if len(line) < _SHORTEST:
            self.wanted = _SHORTEST - len(line)
            return None
        if b"\n" in line:
            self.wanted = 0
            if not line.endswith(b"\r\n") or line.find(b"\r") != len(line) - 2:
                raise ProxyError("a line of version 1 that does not end in CR LF")
            return _addresses(line[:-2])
        if len(line) >= _LONGEST_LINE:
            raise ProxyError("a line of version 1 that does not end")
        self.wanted = 1 if line[-1:] == b"\r" or len(line) == _LONGEST_LINE - 1 else 2
        return None


def _addresses(line: bytes) -> Source:
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        return Source()
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6") or not line.isascii():
        raise ProxyError("a line of version 1 that is not well formed")
    kind = ipaddress.IPv4Address if words[1] == b"TCP4" else ipaddress.IPv6Address
    try:
        client, _ = (kind(word.decode("ascii")) for word in words[2:4])
    except ValueError:
        raise ProxyError("an address of version 1 that is none") from None
    if any(not _PORT.fullmatch(word) or int(word) > 65535 for word in words[4:]) or b"%" in line:
        raise ProxyError("a port of version 1 that is none")
    return Source(_plain(client), int(words[4]))


def _block(head: bytes) -> int:
    """The length of what follows the 16 octets *head* of v2."""
    if head[12] >> 4 != 2 or head[12] & 15 > 1:
        raise ProxyError("a version or command that is not known")
    length = int.from_bytes(head[14:16], "big")
    if length > _LONGEST_BLOCK:
        raise ProxyError("a header of version 2 that is too long")
    family, transport = head[13] >> 4, head[13] & 15
    # A relay that speaks for a datagram, or for a family that is not known, is wrong about what this connection is.
    if family > _UNIX or transport > 1 or (transport == 0) != (family == 0):
        if head[12] & 15:
            raise ProxyError("a family or transport of version 2 that is no stream")
    elif head[12] & 15 and length < (0, 12, 36, 216)[family]:
        raise ProxyError("a header of version 2 that is too short for its addresses")
    return length


def _source(header: bytes) -> Source:
    family = header[13] >> 4
    if not header[12] & 15:
        return Source()  # LOCAL: whatever else it says is to be passed over
    if family == _INET:
        return Source(_plain(ipaddress.IPv4Address(header[16:20])), int.from_bytes(header[24:26], "big"))
    if family == _INET6:
        return Source(_plain(ipaddress.IPv6Address(header[16:32])), int.from_bytes(header[48:50], "big"))
    return Source()


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
