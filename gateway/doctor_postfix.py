"""Looks at a Postfix on this machine: settings that let mail go around the gateway, out in clear, or past a filter that is away.

What it is: ``postconf -n``, ``-P`` and the listed transport tables, read and judged. Where this Postfix is the next server behind the
gateway, where its mail goes is its own business.
Who calls it: ``gateway doctor``.
Must never: change a setting; start, stop or reload Postfix.
Sources: postconf(5): relayhost, smtp_fallback_relay, transport_maps, smtp_tls_security_level, mynetworks, milter_default_action;
master(5); india.md R22.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

from gateway.config import Config, is_loopback
from gateway.doctor import Finding

_WAIT = 10.0
_PATH = os.defpath + ":/usr/sbin:/usr/local/sbin"
_AROUND = ("fallback_relay", "smtp_fallback_relay", "sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps")
_VERIFIED = ("encrypt", "verify", "secure", "dane-only", "fingerprint")
_OUTWARD = ("smtp", "relay", "lmtp", "uucp")

Run = Callable[[list[str]], str | None]


def run(words: list[str]) -> str | None:
    """What the read-only command *words* prints; None where it is not here or fails."""
    program = shutil.which(words[0], path=f"{os.environ.get('PATH', '')}:{_PATH}")
    if program is None:
        return None
    try:
        done = subprocess.run([program, *words[1:]], capture_output=True, timeout=_WAIT, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def settings(text: str) -> dict[str, str]:
    """Name and value of each line ``name = value``."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith((" ", "\t")))
    return {name.strip(): value.strip() for name, sign, value in pairs if sign}


def examine(config: Config, run: Run = run) -> Iterator[Finding]:
    """All findings about the Postfix that is here; one line when there is none."""
    plain = run(["postconf", "-n"])
    if plain is None:
        yield Finding("postfix", "ok", "no Postfix on this machine; look at the department's own server with: postconf -n")
        return
    values = settings(plain)
    behind = any(is_loopback(route.next_hop) for route in config.route)
    found = [*_networks(values), *_milters(values)]
    if not behind:
        found += [*_way_out(config, values), *_maps(config, values, run), *_clear(values)]
    found += _services(config, settings(run(["postconf", "-P"]) or ""), behind=behind)
    if not _runs(run):
        yield Finding("postfix", "ok", "the Postfix here does not run; what follows counts once it is started")
        found = [Finding(one.subject, "warning", one.text) for one in found]
    yield from found
    if not found:
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
        if table.startswith("static:"):
            lines: list[str] | None = [f"* {table[7:]}"]
        else:
            listed = run(["postmap", "-s", table]) if table.startswith(("hash:", "btree:", "lmdb:", "cdb:")) else _text_of(table)
            lines = listed.splitlines() if listed is not None else None
        if lines is None:
            yield Finding("postfix", "warning", f"transport_maps = {table} cannot be listed here; no entry may name another way out")
            continue
        for line in lines:
            words = line.split(None, 1)
            if len(words) < 2 or words[0].startswith("#"):
                continue
            kind, _, nexthop = words[1].strip().partition(":")
            if (kind in _OUTWARD or not kind) and nexthop and not is_us(config, nexthop):
                yield _wrong(f"transport_maps ({table}): {words[0]} goes to {words[1].strip()}, around the gateway; take the entry out")


def _text_of(table: str) -> str | None:
    """The text of a table that is kept as text."""
    kind, _, path = table.partition(":")
    if kind not in ("texthash", "regexp", "pcre"):
        return None
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(5_000_000)
    except OSError:
        return None


def _clear(values: dict[str, str]) -> Iterator[Finding]:
    level = values.get("smtp_tls_security_level", "")
    relayhost = values.get("relayhost", "")
    if level not in _VERIFIED and not (relayhost and is_loopback(f"{_host(relayhost)}:25")):
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
        clear = name == "smtp_tls_security_level" and value not in _VERIFIED
        if not behind and (around or tables or clear):
            out.append(_wrong(f"master.cf: {service} has -o {name}={value}, which goes around the gateway or in clear; take it out"))
        if name == "milter_default_action" and value == "accept":
            out.append(_wrong(f"master.cf: {service} has -o {name}=accept: while a filter is away mail passes without it"))
        if name in ("smtpd_milters", "non_smtpd_milters") and not value:
            out.append(Finding("postfix", "warning", f"master.cf: {service} has -o {name}= : mail that comes in there passes no filter"))
    return out
