"""Whether the Postfix on this machine asks the milter door about every message, waits for its answer, and passes nothing without it.

What it is: the milter settings of main.cf and master.cf, held against the milter listeners of the config; and what Postfix changes in a
message, or to whom it goes, after the gateway has decided.
Who calls it: ``doctor_postfix``, where the config has a milter door.
Must never: change a setting; take a daemon's own settings for those of main.cf.
Sources: MILTER_README; postconf(5): smtpd_milters and its kin, receive_override_options, smtpd_milter_maps, internal_mail_filter_classes;
cleanup(8) for the order of things; hostile-inputs catalogue T06, T07, T09.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.config import Config, is_loopback
from gateway.doctor import Finding
from gateway.doctor_postconf import Postfix, Run, Service, pair, seconds, words
from gateway.doors import listen

SOCKET = "gateway/milter.sock"
"""Where the unit gateway-milter.socket puts it, as Postfix sees it from its queue folder, in its cage or not."""
_COMMIT = 30.0
"""Seconds that an answer may take beyond limits.pipeline: the commit, and the way."""
_ADDED = ("always_bcc", "sender_bcc_maps", "recipient_bcc_maps", "virtual_alias_maps")
_CHANGED = (
    "smtp_header_checks", "smtp_mime_header_checks", "smtp_nested_header_checks", "smtp_body_checks", "smtp_generic_maps",
    "milter_header_checks", "canonical_maps", "sender_canonical_maps", "recipient_canonical_maps",
)  # fmt: skip
_ACTING = ("header_checks", "mime_header_checks", "nested_header_checks", "body_checks")
_MACROS = {
    "milter_mail_macros": (
        ("{auth_type}", "{auth_authen}"), "wrong", "who has signed in is then unknown: mail of officers counts as a stranger's",
    ),
    "milter_helo_macros": (("{tls_version}", "{cipher}", "{cipher_bits}"), "warning", "how the client's TLS was is then not in the log"),
    "milter_end_of_data_macros": (("i",), "warning", "the log then lacks Postfix's own number of the message"),
}  # fmt: skip
NAMES = (
    "smtpd_milters", "non_smtpd_milters", "smtpd_milter_maps", "milter_default_action", "milter_protocol", "milter_connect_timeout",
    "milter_command_timeout", "milter_content_timeout", *_MACROS, "milter_macro_defaults", "internal_mail_filter_classes",
    "receive_override_options", "smtpd_proxy_filter", "content_filter", "relayhost", *_ADDED, *_CHANGED, *_ACTING,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Milter:
    """One filter as Postfix names it: ``inet:host:port``, ``unix:path``, or one of these in braces with settings of its own."""

    place: str
    own: dict[str, str]


def milters(value: str) -> list[Milter]:
    """The filters of smtpd_milters or non_smtpd_milters, in order."""
    out = []
    for item in words(value):
        place, *rest = words(re.sub(r"\s*=\s*", "=", item.strip("{} ")))
        out.append(Milter(place, dict(one.split("=", 1) for one in rest if "=" in one)))
    return out


def used(config: Config) -> bool:
    """Whether there is a milter door at all."""
    return any(one.door == "milter" for one in config.listen)


def reaches_beyond(address: str) -> bool:
    """Whether servers on other machines may reach the milter listener *address*."""
    found = listen.parse(address)
    return found.kind == "tcp" and not is_loopback(address)


def asks_us(config: Config, postfix: Postfix) -> bool:
    """Whether any daemon of *postfix* asks the milter door."""
    ours = _Ours(config, postfix["queue_directory"], postfix.run)
    named = ((one, name) for one in postfix.running("smtpd", "cleanup") for name in ("smtpd_milters", "non_smtpd_milters"))
    return any(ours.is_one(milter, service.chroot) for service, name in named for milter in milters(postfix.of(service, name)))


def _wrong(text: str) -> Finding:
    return Finding("milter", "wrong", text)


def _warn(text: str) -> Finding:
    return Finding("milter", "warning", text)


class _Ours:
    """The milter listeners of the config, as a Postfix on this machine would name them."""

    def __init__(self, config: Config, queue: str, run: Run) -> None:
        self._queue = queue or "/var/spool/postfix"
        self.paths: set[str] = set()
        self.tcp: set[tuple[str, int]] = set()
        for one in config.listen:
            if one.door == "milter":
                self._add(one.address, config.hostname, run)

    def _add(self, text: str, hostname: str, run: Run) -> None:
        address = listen.parse(text)
        if address.kind == "unix":
            self.paths.add(os.path.normpath(address.name))
        elif address.kind == "tcp":
            names = {address.host.lower()}
            if address.host in ("0.0.0.0", "::", "127.0.0.1", "::1", "localhost"):  # noqa: S104
                names |= {"127.0.0.1", "::1", "localhost"}
            if address.host in ("0.0.0.0", "::"):  # noqa: S104
                names.add(hostname.lower())
            self.tcp |= {(name, address.port) for name in names}
        else:
            said = run(["systemctl", "show", "--property=Listen", "--value", f"gateway-{address.name}.socket"]) or ""
            found = [line.rpartition(" (")[0] or line for line in said.splitlines() if line.strip()]
            self.paths |= {os.path.normpath(one.strip()) for one in found if one.startswith("/")}
            for one in found:
                host, colon, port = one.strip().rpartition(":")
                if colon and port.isdigit() and not one.startswith("/"):
                    self._add(f"{host}:{port}", hostname, run)
            if not found:
                self.paths.add(os.path.join(self._queue, SOCKET))

    def __str__(self) -> str:
        path = min(self.paths, default="")
        if path:
            inside = path.removeprefix(self._queue + "/")
            return f"unix:{inside}"
        host, port = min(self.tcp, default=("127.0.0.1", 0))
        return f"inet:{'127.0.0.1' if ('127.0.0.1', port) in self.tcp else host}:{port}"

    def seen(self, place: str, chroot: bool) -> str:
        """The path that a daemon means by ``unix:place``."""
        if not place.startswith("/"):
            return os.path.normpath(os.path.join(self._queue, place))
        return os.path.normpath(self._queue + place if chroot else place)

    def is_one(self, milter: Milter, chroot: bool) -> bool:
        """Whether *milter* is the gateway for a daemon that runs in a cage (*chroot*) or not."""
        kind, _, rest = milter.place.partition(":")
        if kind in ("unix", "local"):
            return self.seen(rest, chroot) in self.paths
        host, _, port = rest.rpartition(":")
        return kind == "inet" and port.isdigit() and (host.strip("[]").lower().removeprefix("ipv6:"), int(port)) in self.tcp

    def astray(self, found: list[Milter], chroot: bool) -> str:
        """What is said of a filter that would be the gateway without the cage."""
        for one in found:
            if chroot and self.is_one(one, False):
                return f"; it runs in a chroot and looks for {self.seen(one.place.partition(':')[2], True)}: write {self}"
        return ""


def examine(config: Config, postfix: Postfix) -> Iterator[Finding]:
    """All findings about the milter settings of *postfix*."""
    ours = _Ours(config, postfix["queue_directory"], postfix.run)
    found = [
        *_asked(postfix, ours),
        *_failing(postfix),
        *_waiting(config, postfix, ours),
        *_said(postfix),
        *_after(postfix),
        *_held(config),
    ]
    yield from found
    if not any(one.state == "wrong" for one in found):
        yield Finding("milter", "ok", f"the Postfix here asks {ours} about all mail, and passes none without an answer")


def _held(config: Config) -> Iterator[Finding]:
    if config.holds_without_copies:
        yield _wrong(
            'relay.milter_hold = "mta" and an [[archive]] of official mail do not go together: what postsuper -H lets go has no copy; '
            'set relay.milter_hold = "store"'
        )


# --- who asks -------------------------------------------------------------------------------------------------------------


def _asked(postfix: Postfix, ours: _Ours) -> Iterator[Finding]:
    """Each daemon that takes mail in, and whether it asks."""
    servers = [one for one in postfix.running("smtpd") if one.kind in ("inet", "pass", "unix", "fifo")]
    for service in servers:
        yield from _server(postfix, ours, service)
    if not servers and not milters(postfix["smtpd_milters"]):
        yield _wrong(f"smtpd_milters is not set: write smtpd_milters = {ours}")
    cleanups = list(postfix.running("cleanup"))
    for service in cleanups:
        listed = milters(postfix.of(service, "non_smtpd_milters"))
        where = f"master.cf: {service}: " if "non_smtpd_milters" in service.own else ""
        if not any(ours.is_one(one, service.chroot) for one in listed):
            yield _wrong(
                f"{where}non_smtpd_milters does not name the gateway: mail that is given to sendmail(1) on this machine passes without it; "
                f"write non_smtpd_milters = {ours}{ours.astray(listed, service.chroot)}"
            )
        else:
            yield from _last(f"{where}non_smtpd_milters", listed, ours, service)
    for service in postfix.running("pickup", "qmqpd"):
        if "no_milters" in words(postfix.of(service, "receive_override_options")):
            yield _wrong(f"{service}: receive_override_options has no_milters: what comes in there passes without the gateway")


def _server(postfix: Postfix, ours: _Ours, service: Service) -> Iterator[Finding]:
    value = postfix.of(service, "smtpd_milters")
    listed = milters(value)
    own = "smtpd_milters" in service.own
    mine = any(ours.is_one(one, service.chroot) for one in listed)
    off = "no_milters" in words(postfix.of(service, "receive_override_options"))
    if off or (own and not listed):
        why = "receive_override_options has no_milters" if off else "-o smtpd_milters= is empty"
        text = f"master.cf: {service}: {why}: what comes in there passes without the gateway"
        if service.loopback:
            yield _warn(f"{text}; only a content filter that gives back what the gateway has seen may use it, and all programs here can")
        else:
            yield _wrong(f"{text}; take it out")
    elif not mine:
        where = f"master.cf: {service}: -o smtpd_milters = {value}" if own else f"smtpd_milters = {value}" if value else "smtpd_milters"
        lack = "does not name the gateway" if value else "is not set"
        yield _wrong(f"{where} {lack}: {service} takes mail without it; write smtpd_milters = {ours}{ours.astray(listed, service.chroot)}")
    else:
        yield from _last(f"master.cf: {service}: smtpd_milters" if own else "smtpd_milters", listed, ours, service)
    if mine and postfix.of(service, "smtpd_proxy_filter"):
        yield _wrong(f"{service}: smtpd_proxy_filter is set: a milter does not get to see the text of such mail; take it out")
    for table in words(postfix.of(service, "smtpd_milter_maps")):
        entries = postfix.table(table)
        if entries is None:
            yield _wrong(f"{service}: smtpd_milter_maps = {table} cannot be listed here, and may take the gateway away for some clients")
        for line in entries or ():
            key, found = pair(line, table)
            if key and not any(ours.is_one(one, service.chroot) for one in milters(found)):
                yield _wrong(f"{service}: smtpd_milter_maps ({table}): {key} has {found}: mail of that client passes without the gateway")


def _last(name: str, listed: list[Milter], ours: _Ours, service: Service) -> Iterator[Finding]:
    if not ours.is_one(listed[-1], service.chroot):
        yield _warn(
            f"{name}: {listed[-1].place} comes after the gateway: what it changes was not looked at, and the gateway's hash of the message "
            "no longer holds; put the gateway last (only a filter that signs with DKIM belongs after it)"
        )


# --- what becomes of mail when the gateway is away ------------------------------------------------------------------------


def _failing(postfix: Postfix) -> Iterator[Finding]:
    """Default actions, of all filters: who is away must not mean that mail passes."""
    places = [("milter_default_action", postfix["milter_default_action"])]
    places += [
        (f"master.cf: {one}: -o milter_default_action", one.own["milter_default_action"])
        for one in postfix.services
        if "milter_default_action" in one.own
    ]
    lists = [(name, postfix[name]) for name in ("smtpd_milters", "non_smtpd_milters")]
    lists += [
        (f"master.cf: {one}: {name}", one.own[name])
        for one in postfix.services
        for name in ("smtpd_milters", "non_smtpd_milters")
        if one.own.get(name)
    ]
    for name, value in lists:
        own = [(one.place, one.own["default_action"]) for one in milters(value) if "default_action" in one.own]
        places += [(f"{name}: {place}: default_action", action) for place, action in own]
    for name, action in dict(places).items():
        if action == "accept":
            yield _wrong(f"{name} = accept: while the filter is away mail passes without it; write tempfail")
        elif action == "quarantine":
            yield _warn(
                f"{name} = quarantine: while the gateway is away mail goes into Postfix's hold queue, where nobody is told of it, and "
                "postsuper -H lets it out without the gateway; write tempfail"
            )
        elif action == "reject":
            yield _warn(f"{name} = reject: while the gateway is restarted mail is refused for good; write tempfail")
        elif action not in ("tempfail", "shutdown"):
            yield _wrong(f"{name} = {action}: Postfix does not know that action; write tempfail")


# --- protocol and time ----------------------------------------------------------------------------------------------------


def _waiting(config: Config, postfix: Postfix, ours: _Ours) -> Iterator[Finding]:
    """The protocol's version and the times, in main.cf, for a service of master.cf and for the gateway's own entry."""
    longest = config.limits.pipeline + _COMMIT
    answer = f"the gateway may take {longest:.0f} s for its answer (limits.pipeline and the commit)"
    times = {
        "milter_content_timeout": (longest, 3600, "wrong", f"{max(300, longest):.0f}s", answer),
        "milter_connect_timeout": (5, 120, "warning", "30s", "a gateway that is being restarted or is busy needs a moment"),
        "milter_command_timeout": (10, 300, "warning", "30s", "the gateway looks at each recipient while Postfix waits"),
    }
    for where, values in _settings(postfix, ours):
        protocol = values.get("milter_protocol", "6")
        if not protocol.isdigit() or int(protocol) < 6:
            yield _wrong(f"{where}milter_protocol = {protocol}: header fields then come changed, and no progress is understood; write 6")
        for name, (least, most, state, write, why) in times.items():
            value = values.get(name, "")
            if not value:
                continue
            found = seconds(value)
            if found is None or found < least:
                yield Finding("milter", state, f"{where}{name} = {value} is too short: {why}; write {write}")
            elif found > most:
                yield _warn(f"{where}{name} = {value} is too long: clients wait for nothing while the gateway is away; write {write}")


def _settings(postfix: Postfix, ours: _Ours) -> Iterator[tuple[str, dict[str, str]]]:
    names = ("milter_protocol", "milter_connect_timeout", "milter_command_timeout", "milter_content_timeout")
    yield "", {name: postfix[name] for name in names if postfix[name]}
    for service in postfix.running("smtpd", "cleanup"):
        own = {name: service.own[name] for name in names if name in service.own}
        if own:
            yield f"master.cf: {service}: ", own
    for name in ("smtpd_milters", "non_smtpd_milters"):
        for one in milters(postfix[name]):
            if one.own and (ours.is_one(one, True) or ours.is_one(one, False)):
                yield f"{name}: {one.place}: ", {f"milter_{key}": value for key, value in one.own.items()}


def _said(postfix: Postfix) -> Iterator[Finding]:
    """Macros that Postfix must send, and what it must not make up."""
    for name, (needed, state, why) in _MACROS.items():
        missing = [one for one in needed if one not in words_of_macros(postfix[name])]
        if missing:
            yield Finding("milter", state, f"{name} lacks {' '.join(missing)}: {why}; take the setting out, the default has them")
    made_up = re.findall(r"\{?(auth_\w+|client_addr|tls_version|cipher\w*)\}?\s*=", postfix["milter_macro_defaults"])
    if made_up:
        yield _wrong(f"milter_macro_defaults gives {', '.join(made_up)} a value: everybody would have it; take it out")
    if postfix["internal_mail_filter_classes"]:
        yield _warn(
            f"internal_mail_filter_classes = {postfix['internal_mail_filter_classes']}: Postfix's own reports are asked about too, and one "
            "that is refused or held is lost to its sender; leave it empty"
        )


def words_of_macros(value: str) -> list[str]:
    """The macros of a list, each as it is written: ``i``, ``{auth_type}``."""
    return [one for one in re.split(r"[,\s]+", value) if one]


# --- after the gateway ----------------------------------------------------------------------------------------------------


def _after(postfix: Postfix) -> Iterator[Finding]:
    """What adds recipients, or changes the message, after the gateway has decided."""
    for names, what in (
        (_ADDED, "Postfix adds recipients that the gateway does not see and does not decide about"),
        (_CHANGED, "Postfix changes messages or addresses, and the gateway does not see it"),
    ):
        for name in names:
            places = [postfix[name]] if name in postfix.set_here and postfix[name] else []
            places += [f"{one.own[name]} (master.cf: {one})" for one in postfix.services if one.own.get(name)]
            yield from (_warn(f"{name} = {value}: {what}") for value in places)
    for name in _ACTING:
        for table in words(postfix[name]):
            yield from _acting(postfix, name, table)
    if postfix["content_filter"]:
        yield _warn(f"content_filter = {postfix['content_filter']}: that filter may change what the gateway has looked at")


def _acting(postfix: Postfix, name: str, table: str) -> Iterator[Finding]:
    """What a table of checks does beyond its message. What it replaces or adds in it is done before any milter is asked (cleanup(8)), so
    the gateway sees the outcome."""
    entries = postfix.table(table)
    if entries is None:
        yield _warn(f"{name} = {table} cannot be listed here: no entry may have REDIRECT, BCC or FILTER")
        return
    for line in entries:
        key, value = pair(line, table)
        found = re.match(r"(REDIRECT|BCC|FILTER)\b", value, re.I)
        if found and found[1].upper() == "FILTER":
            yield _warn(f"{name} ({table}): {key} {value}: that filter may change what the gateway has looked at")
        elif found:
            yield _warn(f"{name} ({table}): {key} {value}: Postfix sends mail to a recipient that the gateway does not see")
