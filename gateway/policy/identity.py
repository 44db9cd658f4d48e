"""Whose mail it is: what From, Sender and Reply-To say, whether it is the login's, and which application sent it.

What it is: ``header_facts``, ``owned``, ``owns``, ``application``, ``inside``: the facts on identity, from typed values only.
Who calls it: ``snapshots``; ``owns``: ``doors.submission``.
Must never: let Sender, Reply-To, Resent-* or Return-Path make a message somebody's: the envelope and From alone decide, the other
fields are only recorded (catalogue A27), but that a login may not write in the name of another in Sender where From is missing, nor
send on what others wrote in any name but its own. An address that readers may see differently is nobody's.
Sources: RFC 5322 section 3.6.2; RFC 6376 with RFC 7489 section 3.1.1 (relaxed alignment); R14 and R17 in rules/README.md; hostile-inputs
catalogue A23-A27.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from gateway import address
from gateway.address import Path
from gateway.config import Config
from gateway.envelope import Peer
from gateway.policy import register
from gateway.policy.domains import Domains
from gateway.verdict import Authentication, Headers, Tier

_SHOWN_ADDRESS = re.compile(r"[^\s@<>()\[\]\"',;:]+@[^\s@<>()\[\]\"',;:]+")
_SHOWN_DOMAIN = re.compile(r"(?<![^\s<>()\[\]\"',;:@/|-])([^\W_](?:[\w-]*\.)+[^\W\d_]{2,})(?![\w.-])")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def header_facts(
    headers: Headers, peer: Peer, config: Config, domains: Domains, *, stranger: bool, authentication: Sequence[Authentication] = ()
) -> dict[str, object]:
    """What the header section says of who wrote, sent and wants the answer. *stranger*: the originator is not verified."""
    ours = config.originators.domains
    authors = [domain(mailbox) for mailbox in headers.from_addresses]
    seen: dict[str, object] = {
        "message.from_official": all(one in ours for one in authors),
        "message.from_private": _private(authors, domains),
        "message.from_ambiguous": len(authors) != 1,
        "message.from_spoofed": bool(headers.from_display) and _spoofed(headers, domains),
        "message.from_owned": not peer.user
        or not shown_authors(headers)
        or _all_owned(peer, shown_authors(headers), application_domains(peer, config)),
        "message.from_forged": stranger and any(one in ours and not _authenticated(one, authentication) for one in authors),
        "message.sender_official": True,
        "message.reply_to_official": True,
        "message.reply_to_private": False,
        "message.auto_forwarded": headers.auto_forwarded,
        "message.resent": headers.resent,
        "message.resent_owned": not (peer.user and headers.resent) or _all_owned(peer, headers.resent_by),
        "message.is_report": headers.is_report,
    }
    if headers.sender_addresses:
        seen["message.sender_official"] = all(inside(domain(one), config, domains) for one in headers.sender_addresses)
    if headers.reply_to_addresses:
        wanted = [domain(one) for one in headers.reply_to_addresses]
        seen["message.reply_to_official"] = all(inside(one, config, domains) for one in wanted)
        seen["message.reply_to_private"] = _private(wanted, domains)
    return seen


def shown_authors(headers: Headers) -> tuple[str, ...]:
    """Whom readers take for the author: From; without it many mail programs show Sender. An empty text is no plain address."""
    return headers.from_addresses or headers.sender_addresses


def owned(peer: Peer, sender: Path) -> bool:
    """Whether the login of *peer* may use *sender*; true without a login, where nobody asked what it may use, and for the null sender."""
    return not peer.user or peer.senders is None or owns(peer.senders, sender)


def owns(senders: Sequence[str], sender: Path) -> bool:
    """Whether *sender* is one of the patterns *senders*. The null sender is everybody's: read receipts have it (RFC 8098 section 2.1)."""
    return sender.is_null or any(register.matches(pattern, sender) for pattern in senders)


def _all_owned(peer: Peer, mailboxes: Sequence[str], domains: frozenset[str] = frozenset()) -> bool:
    """Whether there are mailboxes, and all of them are plain addresses that the login of *peer* may use, or of one of *domains*."""
    return bool(mailboxes) and all(mailbox and (domain(mailbox) in domains or owned(peer, path(mailbox))) for mailbox in mailboxes)


def application_domains(peer: Peer, config: Config) -> frozenset[str]:
    """The domains of the senders of each ``[[application]]`` whose login *peer* has: it writes for the people there; empty for people."""
    lowered = peer.user.lower()
    if not lowered:
        return frozenset()
    return frozenset(
        name
        for one in config.application
        if any(login.lower() == lowered for login in one.logins) and (not one.networks or _within(peer.ip, one.networks))
        for sender in one.senders
        if (name := domain(sender))
    )


def application(peer: Peer, sender: Path, config: Config) -> str:
    """Name of the first ``[[application]]`` of *config* that sends this; empty for people.

    It is known by its login, or by its envelope sender from a listed network; in both cases only from its networks where it names any.
    """
    for one in config.application:
        if one.networks:
            if not _within(peer.ip, one.networks):
                continue
        elif not peer.user and not peer.listed:
            continue
        if peer.user:
            lowered = peer.user.lower()
            if any(login.lower() == lowered for login in one.logins):
                return one.name
        if (one.networks or peer.listed) and owned(peer, sender) and any(register.matches(pattern, sender) for pattern in one.senders):
            return one.name
    return ""


def inside(name: str, config: Config, domains: Domains) -> bool:
    """Whether the domain *name* is inside government: of tier government, or ours and neither private nor government-external."""
    if not name:
        return False
    tier = domains.tier(name).tier
    return tier is Tier.GOVERNMENT or (name in config.originators.domains and tier not in (Tier.PRIVATE, Tier.GOVERNMENT_EXTERNAL))


def path(mailbox: str) -> Path:
    """A header address as a Path; the null path where it is none."""
    local, _, _ = mailbox.rpartition("@")
    return Path(local, domain(mailbox)) if local else address.NULL_PATH


def domain(mailbox: str) -> str:
    """The domain of a header address as A-labels; empty where it is none, so that it is nobody's."""
    name = mailbox.rpartition("@")[2]
    if name.isascii():
        return name.lower()
    try:
        return address.domain_of(name)
    except address.AddressError:
        return ""


def _private(names: Iterable[str], domains: Domains) -> bool:
    return any(name and domains.tier(name).tier is Tier.PRIVATE for name in names)


def _spoofed(headers: Headers, domains: Domains) -> bool:
    """Whether the display name of From shows an address that is not the one of From, or a domain of the lists that is not its domain.

    A domain above or below the author's own is his.
    """
    text = "".join(c for c in unicodedata.normalize("NFKC", headers.from_display) if unicodedata.category(c) != "Cf").casefold()
    if "." not in text and "@" not in text:
        return False
    author = headers.from_addresses[0].casefold() if len(headers.from_addresses) == 1 else ""
    if any(shown.rstrip(".") != author for shown in _SHOWN_ADDRESS.findall(text)):
        return True
    for shown in _SHOWN_DOMAIN.findall(text):
        name = domain("x@" + shown)
        if name and not _related(name, domain(author)):
            info = domains.tier(name)
            if info.tier is not Tier.OTHER or info.look_alike:
                return True
    return False


def _related(one: str, other: str) -> bool:
    """Whether two domains, of two labels at least, are the same or one lies below the other."""
    return "." in one and "." in other and (address.within(one, other) or address.within(other, one))


def _authenticated(author: str, results: Sequence[Authentication]) -> bool:
    """Whether a DKIM signature that was checked here and holds is of the author's domain or of one above or below it."""
    return any(one.method == "dkim" and one.result == "pass" and _related(one.domain, author) for one in results)


@lru_cache(maxsize=64)
def _networks(networks: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(one) for one in networks)


def _within(ip: str, networks: tuple[str, ...]) -> bool:
    try:
        found = ipaddress.ip_address(ip)
    except ValueError:
        return False
    return any(found in network for network in _networks(networks))
