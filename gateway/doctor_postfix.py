"""Looks at a Postfix on this machine: settings that let mail go around the gateway, out in clear, or past a filter that is away.

What it is: ``postconf -n``, ``-P`` and the listed transport tables, read and judged. Where this Postfix is the next server behind the
gateway, where its mail goes is its own business; where it asks the milter door, ``doctor_milter``, ``doctor_senders`` and
``doctor_transport`` look on.
Who calls it: ``gateway doctor``.
Must never: change a setting; start, stop or reload Postfix.
Sources: postconf(5): relayhost, smtp_fallback_relay, transport_maps, smtp_tls_security_level, mynetworks, milter_default_action;
master(5); rules/README.md, R22.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path as FilePath

from gateway import doctor_milter, doctor_postconf, doctor_senders, doctor_transport
from gateway.config import Config, is_loopback
from gateway.doctor import Finding
from gateway.doctor_postconf import Postfix, Run, pair, run, settings
from gateway.doctor_transport import Proof

_AROUND = ("fallback_relay", "smtp_fallback_relay", "sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps")
_OUTWARD = ("smtp", "relay", "lmtp", "uucp")


def examine(config: Config, run: Run = run) -> Iterator[Finding]:
    """All findings about the Postfix that is here; one line when there is none."""
    plain = run(["postconf", "-n"])
    if plain is None:
        yield Finding("postfix", "ok", "no Postfix on this machine; look at the department's own server with: postconf -n")
        return
    values = settings(plain)
    behind = any(is_loopback(route.next_hop) for route in config.route)
    asks = doctor_milter.used(config)
    found = [*_networks(values), *(_asking(config, values, run) if asks else _milters(values))]
    if not behind and not asks:
        found += [*_way_out(config, values), *_maps(config, values, run), *_clear(values)]
    if not asks:
        found += _services(config, settings(run(["postconf", "-P"]) or ""), behind=behind)
    if not _runs(run):
        yield Finding("postfix", "ok", "the Postfix here does not run; what follows counts once it is started")
        found = [Finding(one.subject, "warning", one.text) for one in found if one.state != "ok"]
    yield from found
    if not found and not asks:
        where = "behind the gateway (a route leads to this machine)" if behind else "in front of the gateway"
        yield Finding("postfix", "ok", f"the Postfix here is {where}; nothing of it goes around the gateway")


def _runs(run: Run) -> bool:
    """Whether its master process lives; where that cannot be known, it counts as running."""
    folder = (run(["postconf", "-h", "queue_directory"]) or "").strip()
    try:
        number = int((FilePath(folder) / "pid" / "master.pid").read_text("ascii"))
        return (FilePath("/proc") / str(number) / "comm").read_text("ascii").strip() == "master"
    except FileNotFoundError:
        return not folder
    except (OSError, ValueError):
        return True


def reading(config: Config, run: Run = run) -> Postfix | None:
    """The Postfix before the milter door, with all that is asked of it; None without such a door, or without a Postfix that can be read."""
    names = (*doctor_milter.NAMES, *doctor_senders.NAMES, *doctor_transport.NAMES)
    return doctor_postconf.read(run, names) if doctor_milter.used(config) else None


def _asking(config: Config, values: dict[str, str], run: Run) -> Iterator[Finding]:
    """A Postfix that asks the milter door, and sends by itself."""
    postfix = reading(config, run)
    if postfix is None:
        yield _wrong("the settings of Postfix cannot be read as a whole: postconf -x, -xP or -M fails")
        return
    yield from doctor_milter.examine(config, postfix)
    yield from doctor_senders.examine(postfix)
    if is_us(config, postfix["relayhost"]):
        text = f"relayhost = {values.get('relayhost')} is this gateway too: mail is looked at twice; have the milter or the relayhost"
        yield Finding("postfix", "warning", text)


def proof(config: Config, run: Run = run) -> Proof | None:
    """Whether the Postfix that asks the milter door sends on under TLS with AES-256 only; None without a milter door."""
    if not doctor_milter.used(config):
        return None
    elsewhere = [one.address for one in config.listen if one.door == "milter" and doctor_milter.reaches_beyond(one.address)]
    if elsewhere:
        return doctor_transport.unread(f"the milter door listens on {elsewhere[0]}, so servers may use it whose settings are not read here")
    postfix = reading(config, run)
    if postfix is None:
        return doctor_transport.unread("there is no Postfix on this machine whose settings can be read")
    if not doctor_milter.asks_us(config, postfix):
        return doctor_transport.unread("the Postfix on this machine does not ask the milter door, so it is another server that does")
    if not _runs(run):
        return doctor_transport.unread("the Postfix on this machine does not run")
    return doctor_transport.prove(postfix)


def is_us(config: Config, nexthop: str) -> bool:
    """Whether Postfix's *nexthop* (``[host]:port``, ``host:port``) is a door of ours."""
    found = re.fullmatch(r"\[?([^\]]*?)\]?(?::(\w+))?", nexthop.strip())
    if not found or not found[1]:
        return False
    host, port = found[1].lower().removeprefix("ipv6:"), {"smtp": "25", "submission": "587", "submissions": "465"}.get(found[2], found[2])
    for listen in config.listen:
        if listen.door in ("smtp", "submission", "smtps") and not listen.address.startswith(("unix:", "systemd:")):
            own, _, own_port = listen.address.rpartition(":")
            own = own.strip("[]").lower()
            names = {own, config.hostname.lower()}
            if own in ("0.0.0.0", "::", "", "127.0.0.1", "::1", "localhost"):  # noqa: S104
                names |= {"127.0.0.1", "::1", "localhost"}
            if host in names and (port or "25") == own_port:
                return True
    # Behind systemd's sockets the port is not in the config: the name must do.
    return any(listen.address.startswith("systemd:") for listen in config.listen) and host == config.hostname.lower()


def _wrong(text: str) -> Finding:
    return Finding("postfix", "wrong", text)


def _way_out(config: Config, values: dict[str, str]) -> Iterator[Finding]:
    relayhost = values.get("relayhost", "")
    if not relayhost:
        ours = f"relayhost = [{config.hostname}]:25"
        yield _wrong(f"relayhost is not set: mail goes straight to the recipients' servers, around the gateway; write {ours}")
    elif not is_us(config, relayhost):
        yield _wrong(f"relayhost = {relayhost} is not this gateway; mail goes around it")
    for name in _AROUND:
        if values.get(name):
            yield _wrong(f"{name} = {values[name]}: while the gateway is away mail goes around it; take the setting out")
    default = values.get("default_transport", "smtp")
    kind, _, nexthop = default.partition(":")
    if kind in _OUTWARD and nexthop and not is_us(config, nexthop):
        yield _wrong(f"default_transport = {default} is not this gateway")
    elif kind not in (*_OUTWARD, "error", "discard", "retry", "hold"):
        text = f"default_transport = {default}: mail for others takes a way of its own; make sure that it ends here"
        yield Finding("postfix", "warning", text)


def _maps(config: Config, values: dict[str, str], run: Run) -> Iterator[Finding]:
    """Entries of transport_maps whose mail leaves by another way."""
    for table in re.split(r"[,\s]+", values.get("transport_maps", "")):
        if not table:
            continue
        lines = doctor_postconf.entries(table, run)
        if lines is None:
            yield Finding("postfix", "warning", f"transport_maps = {table} cannot be listed here; no entry may name another way out")
            continue
        for line in lines:
            key, value = pair(line, table)
            kind, _, nexthop = value.partition(":")
            if (kind in _OUTWARD or not kind) and nexthop and not is_us(config, nexthop):
                yield _wrong(f"transport_maps ({table}): {key} goes to {value}, around the gateway; take the entry out")


def _clear(values: dict[str, str]) -> Iterator[Finding]:
    level = values.get("smtp_tls_security_level", "")
    relayhost = values.get("relayhost", "")
    if level not in doctor_transport.MANDATORY and not (relayhost and is_loopback(f"{_host(relayhost)}:25")):
        shown = f"smtp_tls_security_level = {level}" if level else "smtp_tls_security_level is not set"
        yield _wrong(f"{shown}: mail goes in clear where STARTTLS is not offered or is taken away; write encrypt, or verify")


def _host(nexthop: str) -> str:
    return nexthop.partition("]")[0].strip("[") if nexthop.startswith("[") else nexthop.partition(":")[0]


def _networks(values: dict[str, str]) -> Iterator[Finding]:
    for word in re.split(r"[,\s]+", values.get("mynetworks", "")):
        try:
            network = ipaddress.ip_network(word.replace("[", "").replace("]", ""), strict=False)
        except ValueError:
            continue
        if network.prefixlen == 0:
            yield _wrong(f"mynetworks has {word}: everybody may send through this server; name your own networks")
        elif not network.is_private and network.num_addresses > 65_536:
            yield Finding("postfix", "warning", f"mynetworks has {word}: {network.num_addresses} addresses may send without signing in")
    if "mynetworks" not in values and values.get("mynetworks_style") in ("class", "subnet"):
        style = values["mynetworks_style"]
        yield Finding("postfix", "warning", f"mynetworks_style = {style}: all neighbours may send without signing in; name mynetworks")


def _milters(values: dict[str, str]) -> Iterator[Finding]:
    names = [name for name in ("smtpd_milters", "non_smtpd_milters") if values.get(name)]
    if not names:
        return
    if values.get("milter_default_action") == "accept":
        yield _wrong(f"milter_default_action = accept: while a filter of {names[0]} is away mail passes without it; write tempfail")
    for name in names:
        if re.search(r"default_action\s*=\s*accept", values[name]):
            yield _wrong(f"{name} has default_action=accept: while that filter is away mail passes without it; write tempfail")


def _services(config: Config, overrides: dict[str, str], *, behind: bool) -> list[Finding]:
    """Settings of master.cf that undo those of main.cf: ``service/type/name = value``."""
    out = []
    for place, value in overrides.items():
        service, _, name = place.rpartition("/")
        around = name in ("relayhost", *_AROUND) and value and not is_us(config, value)
        tables = name == "transport_maps" and bool(value)
        clear = name == "smtp_tls_security_level" and value not in doctor_transport.MANDATORY
        if not behind and (around or tables or clear):
            out.append(_wrong(f"master.cf: {service} has -o {name}={value}, which goes around the gateway or in clear; take it out"))
        if name == "milter_default_action" and value == "accept":
            out.append(_wrong(f"master.cf: {service} has -o {name}=accept: while a filter is away mail passes without it"))
        if name in ("smtpd_milters", "non_smtpd_milters") and not value:
            out.append(Finding("postfix", "warning", f"master.cf: {service} has -o {name}= : mail that comes in there passes no filter"))
    return out
