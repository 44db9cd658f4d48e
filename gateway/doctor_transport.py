"""Whether the Postfix before the milter door sends mail on under TLS with AES-256 only: read from its settings, never assumed.

What it is: ``prove``: every way on (services of master.cf, transports, relayhost, TLS policies) is judged, and what cannot be read is not
proved. ``Proof`` is what the keeper gets to know.
Who calls it: ``gateway doctor``.
Must never: say proved where one way is not; take a table for empty because it cannot be listed; change anything.
Sources: postconf(5): smtp_tls_security_level, smtp_tls_mandatory_ciphers, smtp_tls_policy_maps, relayhost, transport_maps and their kin;
TLS_README "Client-side TLS activation"; transport(5); docs/design.md section 4 ("The hop").
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway import doctor_ciphers
from gateway.config import is_loopback
from gateway.doctor_ciphers import NotKnown
from gateway.doctor_postconf import Postfix, Service, pair, words

WRITE = (
    "write into main.cf: smtp_tls_security_level = verify (or encrypt), smtp_tls_mandatory_protocols = TLSv1.2, "
    "smtp_tls_mandatory_ciphers = high, smtp_tls_mandatory_exclude_ciphers = aNULL, AES128, CHACHA20, CAMELLIA, ARIA"
)
"""What makes a Postfix of Debian 12 prove: TLS_README has the names, and a test negotiates with them."""
MANDATORY = ("encrypt", "verify", "secure", "fingerprint", "dane-only")
_MATCHED = ("verify", "secure", "fingerprint", "dane-only")
_STAYS = ("local", "virtual", "error", "discard", "trace", "bounce", "proxymap", "spawn")
"""Commands of services that send nothing to another machine by themselves."""
_TRANSPORTS = (
    "default_transport", "relay_transport", "local_transport", "virtual_transport", "mailbox_transport", "fallback_transport",
    "address_verify_default_transport", "address_verify_relay_transport", "content_filter",
)  # fmt: skip
_TRANSPORT_MAPS = ("transport_maps", "sender_dependent_default_transport_maps", "mailbox_transport_maps", "fallback_transport_maps")
_HOP_MAPS = ("sender_dependent_relayhost_maps",)
_CHECKS = ("header_checks", "mime_header_checks", "nested_header_checks", "body_checks", "milter_header_checks")
_RESTRICTIONS = (
    "smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_recipient_restrictions",
    "smtpd_relay_restrictions", "smtpd_data_restrictions", "smtpd_end_of_data_restrictions", "smtpd_etrn_restrictions",
)  # fmt: skip
_TLS = (
    "smtp_tls_security_level", "smtp_tls_mandatory_protocols", "smtp_tls_mandatory_ciphers", "smtp_tls_mandatory_exclude_ciphers",
    "smtp_tls_exclude_ciphers", "smtp_tls_policy_maps", "smtp_tls_per_site",
)  # fmt: skip
_TLS_HERE = (*(f"tls_{grade}_cipherlist" for grade in doctor_ciphers.GRADES), "tls_config_file")
_HOPS = ("relayhost", "smtp_fallback_relay", "fallback_relay")
NAMES = (
    *_TRANSPORTS, *_TRANSPORT_MAPS, *_HOP_MAPS, *_CHECKS, *_RESTRICTIONS, *_TLS, *_TLS_HERE, *_HOPS, "multi_instance_directories",
    *(name.replace("smtp_", "lmtp_", 1) for name in _TLS), "lmtp_fallback_relay",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Proof:
    """The result, and why. ``gaps`` has one plain sentence for each thing that keeps it from being proved."""

    protected: bool
    said: str
    settings: str
    """sha256 over all that was read."""
    gaps: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Way:
    """A way that mail may take: transport and next hop, and where that is written."""

    transport: str
    hop: str
    where: str


def prove(postfix: Postfix) -> Proof:
    """Whether every way on is under TLS with AES-256, or stays on this machine."""
    read: list[object] = [sorted(postfix.main.items()), [(str(one), one.command, sorted(one.own.items())) for one in postfix.services]]
    gaps: list[str] = []
    ways = list(_ways(postfix, gaps, read))
    clients = list(postfix.running("smtp", "lmtp"))
    if postfix["multi_instance_directories"]:
        gaps.append("multi_instance_directories is set: only the first of several Postfix here was read")
    hidden = [gap for gap in gaps if "cannot be listed" in gap]
    levels: set[str] = set()
    for service in clients:
        weak, level = _weak(postfix, service, read)
        levels.add(level)
        if weak and not _stays_here(postfix, service, ways, bool(hidden)):
            gaps += [f"{service.command} service {service.name}: {one}" if service.name != "smtp" else one for one in weak]
    by_name = {one.name: one for one in postfix.services if one.kind in ("unix", "fifo", "pass")}
    for way in ways:
        there = by_name.get(way.transport)
        # A transport that master.cf does not have sends nothing: such mail waits.
        if there is not None and there.command not in ("smtp", "lmtp", *_STAYS):
            gaps.append(f"{way.where} hands mail to the program of the transport {way.transport} ({there.command}), which was not read")
    gaps = list(dict.fromkeys(gaps))
    digest = hashlib.sha256(json.dumps(read, sort_keys=True, default=str).encode()).hexdigest()
    remarks = []
    if not gaps and "encrypt" in levels:
        remarks.append(
            "smtp_tls_security_level = encrypt does not look at the other server's certificate: with verify or secure mail "
            "goes to nobody else who stands in the way"
        )
    if gaps:
        return Proof(False, f"Not proved: {gaps[0]}" + (f" (and {len(gaps) - 1} more)" if gaps[1:] else ""), digest, tuple(gaps))
    return Proof(True, "Postfix sends mail on under TLS with AES-256 only, or to this machine.", digest, (), tuple(remarks))


def unread(why: str) -> Proof:
    """The result where no settings say anything, because *why*."""
    return Proof(False, f"Not proved: {why}.", hashlib.sha256(why.encode()).hexdigest(), (why,))


# --- ways ---------------------------------------------------------------------------------------------------------------------


def _split(value: str) -> tuple[str, str]:
    """Transport and next hop of ``transport:nexthop``."""
    name, _, hop = value.strip().partition(":")
    return name.strip(), hop.strip()


def _ways(postfix: Postfix, gaps: list[str], read: list[object]) -> Iterator[_Way]:
    """All ways that main.cf, master.cf and the tables name. Tables that cannot be listed are gaps."""
    for name, value, where in _values(postfix, _TRANSPORTS):
        if value:
            transport, hop = _split(value)
            yield _Way(transport, hop or _relayhost(postfix, name), f"{where} = {value}")
    for _, value, where in _values(postfix, _TRANSPORT_MAPS):
        for table in words(value):
            for key, found in _entries(postfix, table, where, gaps, read):
                transport, hop = _split(found)
                if found and (transport or hop):
                    # A transport without a next hop: the recipient's own server, whatever relayhost says.
                    yield _Way(transport or _split(postfix["default_transport"])[0], hop, f"{where} ({table}): {key} {found}")
    for _, value, where in _values(postfix, _HOP_MAPS):
        for table in words(value):
            for key, found in _entries(postfix, table, where, gaps, read):
                if found != "DUNNO":
                    yield _Way(_split(postfix["default_transport"])[0], found, f"{where} ({table}): {key} {found}")
    yield from _filters(postfix, gaps, read)


def _filters(postfix: Postfix, gaps: list[str], read: list[object]) -> Iterator[_Way]:
    """``FILTER transport:nexthop`` in tables of checks and restrictions."""
    for name, value, where in _values(postfix, (*_CHECKS, *_RESTRICTIONS)):
        for table in words(value):
            if not re.match(r"(proxy:)?[a-z]+:", table) or table.startswith(("inet:", "unix:")):
                continue
            listed = postfix.table(table)
            if listed is None:
                # A restriction's table mostly has OK and REJECT; one of checks is there to act on mail that was accepted.
                if name in _CHECKS:
                    gaps.append(f"{where} = {table} cannot be listed here, and may send mail another way (FILTER)")
                continue
            read.append([where, table, listed])
            for line in listed:
                found = re.search(r"(?:^|\s)FILTER\s+(\S+)", pair(line, table)[1], re.I)
                if found:
                    yield _Way(*_split(found[1]), f"{where} ({table}): FILTER {found[1]}")


def _values(postfix: Postfix, names: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Name, value and place of each setting of *names*, in main.cf and in master.cf."""
    for name in names:
        if postfix[name]:
            yield name, postfix[name], name
        for service in postfix.services:
            if service.own.get(name):
                yield name, service.own[name], f"master.cf, {service}: {name}"


def _entries(postfix: Postfix, table: str, where: str, gaps: list[str], read: list[object]) -> Iterator[tuple[str, str]]:
    listed = postfix.table(table)
    if listed is None:
        gaps.append(f"{where} = {table} cannot be listed here")
        return
    read.append([where, table, listed])
    for line in listed:
        key, value = pair(line, table)
        if key:
            yield key, value


def _relayhost(postfix: Postfix, name: str) -> str:
    """The next hop of a transport that names none; empty where it is the recipient's own server."""
    return postfix["relayhost"] if name not in ("local_transport", "virtual_transport", "mailbox_transport", "content_filter") else ""


def _here(hop: str) -> bool:
    """Whether all servers of the next hop *hop* are on this machine."""
    hops = words(hop)
    return bool(hops) and all(_one_here(one) for one in hops)


def _one_here(hop: str) -> bool:
    kind, _, rest = hop.partition(":")
    if kind == "unix":
        return True
    hop = rest if kind == "inet" else hop
    if hop.startswith("["):
        return is_loopback(f"{hop.partition(']')[0]}]:25".replace("[ipv6:", "[").replace("[IPv6:", "["))
    return is_loopback(hop if ":" in hop else f"{hop}:25")


def _stays_here(postfix: Postfix, service: Service, ways: list[_Way], hidden: bool) -> bool:
    """Whether everything that goes by the client *service* goes to this machine. Ways that could not be listed may go anywhere."""
    fallback = any(postfix.of(service, name) for name in ("smtp_fallback_relay", "fallback_relay", "lmtp_fallback_relay"))
    used = [way for way in ways if way.transport == service.name]
    if service.command == "lmtp" and not used:
        return True  # a delivery agent that nothing names; smtp is named by Postfix itself (bounces, verification)
    if hidden or fallback:
        return False
    # An empty next hop of LMTP is a mailbox server's own socket only where it is written; of SMTP it is the recipient's server.
    return bool(used) and all(_here(way.hop) for way in used)


# --- TLS ----------------------------------------------------------------------------------------------------------------------


def _weak(postfix: Postfix, service: Service, read: list[object]) -> tuple[list[str], str]:
    """Why mail of the client *service* may go without AES-256; empty where it cannot. And its level of TLS."""
    kind = "lmtp" if service.command == "lmtp" else "smtp"
    found: list[str] = []

    def of(name: str) -> str:
        return postfix.of(service, name.replace("smtp_", f"{kind}_", 1))

    level = of("smtp_tls_security_level")
    found += _judged(postfix, service, level, {}, f"{kind}_tls_security_level = {level or '(empty)'}")
    if of("smtp_tls_per_site"):
        found.append(f"{kind}_tls_per_site is set, an old table that may switch TLS off; write smtp_tls_policy_maps instead")
    for table in words(of("smtp_tls_policy_maps")):
        for key, value in _entries(postfix, table, f"{kind}_tls_policy_maps", found, read):
            first, *rest = re.split(r"[\s,]+", value)
            extra = dict(one.split("=", 1) for one in rest if "=" in one)
            found += _judged(postfix, service, first.lower(), extra, f"{kind}_tls_policy_maps ({table}): {key} {value}")
    if postfix["tls_config_file"] not in ("", "default", "none"):
        found.append(f"tls_config_file = {postfix['tls_config_file']} was not read, and may change what TLS offers")
    return found, level


def _judged(postfix: Postfix, service: Service, level: str, extra: dict[str, str], where: str) -> list[str]:
    """Why one policy (that of main.cf, or an entry of a table) is not enough."""
    kind = "lmtp" if service.command == "lmtp" else "smtp"

    def of(name: str) -> str:
        return postfix.of(service, f"{kind}_tls_{name}")

    if level not in MANDATORY:
        return [f"{where}: TLS is not demanded"]
    grade = extra.get("ciphers", of("mandatory_ciphers")).strip().lower()
    if grade not in doctor_ciphers.GRADES:
        return [f"{where}: the cipher grade {grade or '(empty)'} is not known here"]
    # What a table excludes stands in the place of what main.cf does, not beside it; there, colons separate.
    exclusions = extra.get("exclude", "").replace(":", " ") or f"{of('exclude_ciphers')} {of('mandatory_exclude_ciphers')}"
    exclusions += " aNULL" if level in _MATCHED else " eNULL"
    try:
        versions = doctor_ciphers.versions(extra.get("protocols", of("mandatory_protocols")))
        if "TLSv1.3" in versions:
            return [f"{where}: TLS 1.3 is on, whose suites Postfix cannot choose: the other server may take AES-128"]
        if not versions:
            return [f"{where}: no TLS version is left, so no mail can be sent"]
        weak = _weak_suites(postfix, postfix.of(service, f"tls_{grade}_cipherlist"), exclusions)
    except NotKnown as error:
        return [f"{where}: {error}"]
    if weak:
        more = f" and {len(weak) - 3} more" if weak[3:] else ""
        return [f"{where}: suites without AES-256 are left ({', '.join(weak[:3])}{more})"]
    return []


def _weak_suites(postfix: Postfix, base: str, exclusions: str) -> tuple[str, ...]:
    """Suites that are not AES-256, by this program's OpenSSL and by the machine's own, where they differ. Raises NotKnown."""
    found = dict.fromkeys(doctor_ciphers.weak(base, exclusions))
    out = "".join(f":!{word}" for word in re.split(r"[\s,]+", exclusions) if word)
    listed = postfix.run(["openssl", "ciphers", f"@SECLEVEL=0:{base}{out}"]) or ""
    ours = {name for name, _ in doctor_ciphers.suites(base, exclusions)}
    for name in re.split(r"[:\s]+", listed):
        if name and not name.startswith("TLS_") and name not in ours and not re.search(r"AES-?256", name):
            found[name] = None
    return tuple(found)
