"""Where the links of a text lead: the host of each, as a browser would go there.

What it is: ``at_sign`` and ``at_host``, the link at a place of running text; ``hosts``, the hosts that one link leads to, those
behind known redirectors too.
Who calls it: ``observing``.
Must never: fetch or resolve anything; cost more than linear time; believe what stands before an ``@`` or behind a ``#``.
Sources: WHATWG URL Standard (authority, userinfo, backslash as slash, percent-encoded hosts); RFC 3986 section 3.2; RFC 5890;
Proofpoint URL Defense v1 to v3 and Microsoft Safe Links as they stand in mail (forms LIKELY).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from gateway import address
from gateway.address import AddressError

LONGEST = 2048
"""Characters of one link that are looked at."""
MOST = 5000
"""Links of one leaf that are looked at."""
_DEEPEST = 3  # redirectors behind one another
_STOP = r"\s<>\"'`|^{}"
_AUTHORITY = re.compile(rf"[^/?#\\{_STOP}]{{1,512}}+")
_TAIL = re.compile(rf"[^{_STOP}]{{0,{LONGEST}}}+")
_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]{0,15}\Z")
_BEFORE = re.compile(r"[a-z0-9.\-]{1,100}\Z")
_WEB = frozenset(("http", "https", "ftp", "ftps", "hxxp", "hxxps"))
_PROGRAMS = {
    "tg": "t.me", "whatsapp": "whatsapp.com", "viber": "viber.com", "slack": "slack.com", "skype": "skype.com", "discord": "discord.com",
}  # fmt: skip
"""Schemes that open a messenger, and a host that stands for it."""
_ENDINGS = ".,;:!?)]}*_~।"
_REDIRECT = re.compile(r"[?&](?:url|u|q|target|dest|destination|redirect|redirect_uri|to)=([^&#]{4,2000})")
_REDIRECTORS = (
    ".safelinks.protection.outlook.com", ".safelinks.protection.office365.us", "urldefense.proofpoint.com", "urldefense.com",
    "urldefense.us", "www.google.com", "google.com", "l.facebook.com", "lm.facebook.com", "l.instagram.com", "out.reddit.com",
    "slack-redir.net", ".linkprotect.cudasvc.com", "linkprotect.cudasvc.com", ".mimecastprotect.com", "secure-web.cisco.com",
    "www.linkedin.com", "t.umblr.com", "steamcommunity.com", "vk.com", "href.li", "deref-mail.com",
)  # fmt: skip
_NAMESPACES = frozenset((
    "www.w3.org", "schemas.openxmlformats.org", "schemas.microsoft.com", "purl.org", "ns.adobe.com", "purl.oclc.org", "docs.oasis-open.org",
    "openoffice.org", "www.aiim.org", "iptc.org", "schema.org", "schemas.xmlsoap.org",
))  # fmt: skip
"""Hosts that name a vocabulary in documents and are no links."""


def at_sign(text: str, place: int) -> str:
    """The link whose ``://`` or ``www.`` stands at *place*; empty where there is none."""
    if text[place] == ":":
        scheme = _SCHEME.search(text, max(0, place - 16), place)
        return text[scheme.start() : _end(text, place + 3)] if scheme is not None else ""
    if place and (text[place - 1].isalnum() or text[place - 1] in "-_.@/%"):
        return ""
    return "http://" + text[place : _end(text, place)]


def at_host(text: str, place: int) -> str:
    """The link without a scheme that begins with a host at *place*; empty where the host is the end of a longer one."""
    if place and (text[place - 1].isalnum() or text[place - 1] in "-_@/=%"):
        return ""
    start = place
    if text[place - 1 : place] == ".":  # a name below the known host
        match = _BEFORE.search(text, max(0, place - 100), place)
        start = match.start() if match is not None else place
        if start and text[start - 1] in "@/%":
            return ""
    return "http://" + text[start : _end(text, place)]


def _end(text: str, place: int) -> int:
    tail = _TAIL.match(text, place)
    return tail.end() if tail is not None else place


def hosts(link: str, depth: int = 0) -> tuple[str, ...]:
    """The hosts, as lower-case A-labels, that *link* leads to: its own, and the one behind a redirector. Empty when it is none."""
    scheme, sign, rest = link.strip().partition("://")
    if not sign:
        if link.startswith("//"):
            scheme, rest = "http", link[2:]
        else:
            return ()
    scheme = scheme.strip().lower()
    if scheme in _PROGRAMS:
        return (_PROGRAMS[scheme],)
    if scheme not in _WEB and not scheme.endswith(("http", "https")):  # "__https", "xhttps": glued to what stands before
        return ()
    host = _host(rest)
    if not host or host in _NAMESPACES:
        return ()
    if depth < _DEEPEST and (host in _REDIRECTORS or host.endswith(_BELOW)):
        return (host, *(inner for target in _behind(host, rest) for inner in hosts(target, depth + 1)))
    return (host,)


_BELOW = tuple(name for name in _REDIRECTORS if name.startswith("."))


def _host(rest: str) -> str:
    """The host at the beginning of what stands behind ``scheme://``."""
    match = _AUTHORITY.match(rest.lstrip("/\\"))
    if match is None:
        return ""
    name = match[0].rpartition("@")[2]
    if "%" in name:
        name = unquote(name).rpartition("@")[2]
    if name.startswith("["):
        return ""
    name = name.partition(":")[0].replace("[.]", ".").rstrip(_ENDINGS).lower()
    try:
        return address.domain_of(name.replace("\u3002", "."))
    except AddressError:
        return ""


def _behind(host: str, rest: str) -> Iterator[str]:
    """The targets that the link of a redirector carries."""
    if host.startswith("urldefense") and "/v3/__" in rest:
        yield rest.partition("/v3/__")[2].partition("__;")[0]
        return
    for match in _REDIRECT.finditer(rest):
        target = match[1]
        if host.startswith("urldefense") and "/v2/" in rest:
            target = target.replace("-", "%").replace("_", "/")
        yield unquote(target)
