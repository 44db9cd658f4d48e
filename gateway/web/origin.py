"""Whether a request that may change something came from a page of ours.

What it is: ``is_ours``, and ``is_loopback``.
Who calls it: ``door``; ``hosts`` for the second.
Must never: pass a request whose browser says that another site sent it.
Sources: hostile-inputs catalogue W03; Fetch metadata (W3C); OWASP cross-site request forgery prevention.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def is_ours(headers: Mapping[str, str], public_url: str) -> bool:
    """Whether a POST came from a page of ours, as its browser says.

    Browsers send Origin with every POST; a request without it is no browser's form and is refused. ``null`` is what a
    browser sends where it hides its origin: then Sec-Fetch-Site has to say same-origin.
    """
    origin = headers.get("origin", "")
    site = headers.get("sec-fetch-site", "")
    if origin == "null":
        return site == "same-origin"
    if site and site not in ("same-origin", "none"):
        return False
    if not origin:
        return False
    got = urlsplit(origin)
    if public_url:
        wanted = urlsplit(public_url)
        if (got.scheme, got.netloc.lower()) == (wanted.scheme, wanted.netloc.lower()):
            return True
        if not is_loopback(got.hostname or ""):
            return False
    return bool(got.netloc) and got.netloc.lower() == headers.get("host", "").lower()


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine itself.

    The page may always be reached from the machine itself, also when public_url names another address.
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name that only begins like an address is somebody's name
