"""The file of logins: who may sign in, and as whom each login may send.

What it is: ``load``, which reads ``submission.logins`` whole or not at all, and ``LoginTable``, what it says.
Who calls it: the keeper at its start and at a reload; ``gateway logins``, ``gateway check`` and ``gateway explain``.
Must never: take half a file; show a hash in an error; read a file that everybody may read.
Source: the form of the file stands in docs and in ``gateway logins --help``; RFC 9106 for the hashes.

    [[login]]
    name = "so.home@dept.gov.in"
    password = "$argon2id$v=19$m=65536,t=3,p=4$..."     # absent with check = "next-hop"
    senders = ["section@dept.gov.in"]                   # besides the login itself, where that is an address; @b is a whole domain
    networks = ["10.1.0.0/16"]                          # the only addresses it may be used from
    department = "Home"

    [[mailbox]]                                         # a shared or designation mailbox
    address = "secretary@dept.gov.in"
    logins = ["so.home@dept.gov.in", "us.home@dept.gov.in"]
"""

from __future__ import annotations

import codecs
import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from pydantic import Field, ValidationError

from gateway.config import Application, Config, Section
from gateway.signin import login_names, passwords
from gateway.signin.login_names import LoginNameError

_FILE_MAX = 32_000_000  # octets
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class LoginFileError(Exception):
    """The file cannot be used. The text is one plain sentence with file and line."""


class LoginEntry(Section):
    """One ``[[login]]``."""

    name: str = Field(description="What is typed as user name; an address where it is one.")
    password: str = Field("", description="argon2id hash; absent where the next hop is asked.", repr=False)
    senders: tuple[str, ...] = Field((), description="Envelope senders besides the login itself: a@b, or @b for a domain.")
    networks: tuple[str, ...] = Field((), description="The only addresses it may be used from; absent: any.")
    department: str = Field("", max_length=200, description="For the log.")


class MailboxEntry(Section):
    """One ``[[mailbox]]``."""

    address: str = Field(description="Address of a shared or designation mailbox.")
    logins: tuple[str, ...] = Field(min_length=1, description="The logins that may send as it.")


class _File(Section):
    login: tuple[LoginEntry, ...] = ()
    mailbox: tuple[MailboxEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Login:
    """One login, ready to be compared."""

    name: str
    """Canonical."""
    password: str = field(repr=False)
    senders: tuple[str, ...]
    """Patterns: its own address, those of the file and its mailboxes; applications come on top."""
    networks: tuple[IpNetwork, ...]
    department: str
    mailboxes: tuple[str, ...]

    def may_come_from(self, ip: str) -> bool:
        """Whether the login may be used from the address *ip* at all."""
        return not self.networks or contains(self.networks, ip)


@dataclass(frozen=True, slots=True)
class LoginTable:
    """The whole file."""

    logins: Mapping[str, Login]
    mailboxes: Mapping[str, tuple[str, ...]]

    @property
    def restricted(self) -> bool:
        """Whether any login is bound to addresses."""
        return any(login.networks for login in self.logins.values())

    def senders(self, name: str, ip: str, applications: tuple[Application, ...]) -> tuple[str, ...]:
        """The patterns of the envelope senders that the canonical login *name* may use from *ip*, those of its applications included."""
        login = self.logins.get(name)
        if login is not None:
            own = login.senders
        else:  # with the next hop's check logins need no entry
            boxes = tuple(address for address, users in self.mailboxes.items() if name in users)
            own = (login_names.address_of(name), *boxes) if login_names.address_of(name) else ()
        return tuple(dict.fromkeys((*own, *application_senders(applications, name, ip))))


NO_LOGINS = LoginTable({}, {})


def contains(networks: tuple[IpNetwork, ...], ip: str) -> bool:
    """Whether *ip* lies in one of *networks*; an address that is none lies nowhere."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def networks_of(values: tuple[str, ...]) -> tuple[IpNetwork, ...]:
    """The parsed networks *values*. Raises ValueError."""
    return tuple(ipaddress.ip_network(value) for value in values)


def application_senders(applications: tuple[Application, ...], login: str, ip: str) -> tuple[str, ...]:
    """The patterns of the senders of each application that lists the canonical *login* and that *ip* belongs to."""
    out: list[str] = []
    for one in applications:
        if login in names_of(one) and (not one.networks or contains(networks_of(one.networks), ip)):
            out += [_application_pattern(sender) for sender in one.senders]
    return tuple(out)


def names_of(application: Application) -> set[str]:
    """The canonical logins of *application*; what is no login is left out."""
    return {_prepared(name) for name in application.logins} - {""}


def _prepared(name: str) -> str:
    try:
        return login_names.prepare(name)
    except LoginNameError:
        return ""


def _application_pattern(sender: str) -> str:
    text = sender if "@" in sender else f"@{sender}"
    try:
        return login_names.pattern(text)
    except LoginNameError:
        return text.lower()


# --- reading ----------------------------------------------------------------------------------------------------------


def load(path: FilePath, config: Config) -> LoginTable:
    """The table of the file *path*, under the ``submission`` and ``[[application]]`` of *config*. Raises LoginFileError."""
    text = _read(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+),", str(error))
        raise LoginFileError(f"{path}:{found[1] if found else len(text.splitlines())}: {error}") from None
    try:
        entries = _File(**data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False)[0]
        location = [part for part in first["loc"] if part not in ("tuple", "list")]
        message = "unknown key" if first["type"] == "extra_forbidden" else str(first["msg"])
        raise LoginFileError(f"{path}:{_line(text, location)}: {'.'.join(str(p) for p in location)}: {message}") from None
    return _Reader(path, text, config).table(entries)


def _read(path: FilePath) -> str:
    try:
        # O_NONBLOCK: a pipe by that name must not keep the keeper waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise LoginFileError(f"{path}:1: submission.logins is not a file")
            if found.st_mode & 0o007:
                mode = stat.S_IMODE(found.st_mode)
                raise LoginFileError(f"{path}:1: everybody may read the password hashes (mode {mode:04o}); run: chmod o-rwx {path}")
            with open(descriptor, "rb", closefd=False) as file:
                octets = file.read(_FILE_MAX + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LoginFileError(f"{path}:1: cannot be read: {error.strerror or error}") from None
    if len(octets) > _FILE_MAX:
        raise LoginFileError(f"{path}:1: is larger than {_FILE_MAX} octets")
    if octets.startswith(codecs.BOM_UTF8):
        raise LoginFileError(f"{path}:1: starts with a byte-order mark; save it as UTF-8 without BOM")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LoginFileError(f"{path}:{octets[: error.start].count(10) + 1}: is not UTF-8") from None


class _Reader:
    """Checks the entries of one file against each other and against the config."""

    def __init__(self, path: FilePath, text: str, config: Config) -> None:
        self._path = path
        self._text = text
        self._config = config
        self._file_check = config.submission.check == "file"
        self._applied = {_prepared(name) for one in config.application if one.senders for name in one.logins}

    def _wrong(self, location: list[Any], message: str) -> LoginFileError:
        return LoginFileError(f"{self._path}:{_line(self._text, location)}: {message}")

    def table(self, entries: _File) -> LoginTable:
        """The table. Raises LoginFileError."""
        names = self._names(entries)
        mailboxes = self._mailboxes(entries, set(names))
        boxes: dict[str, list[str]] = {}
        for address, users in mailboxes.items():
            for user in users:
                boxes.setdefault(user, []).append(address)
        logins = {name: self._login(number, name, entry, tuple(boxes.get(name, ()))) for number, (name, entry) in enumerate(names.items())}
        return LoginTable(logins, mailboxes)

    def _names(self, entries: _File) -> dict[str, LoginEntry]:
        names: dict[str, LoginEntry] = {}
        for number, entry in enumerate(entries.login):
            try:
                name = login_names.prepare(entry.name)
            except LoginNameError as error:
                raise self._wrong(["login", number, "name"], f"{entry.name!r}: {error}") from None
            if name in names:
                raise self._wrong(["login", number, "name"], f"the login {name} is there twice (case and form do not make two names)")
            names[name] = entry
        return names

    def _mailboxes(self, entries: _File, names: set[str]) -> dict[str, tuple[str, ...]]:
        mailboxes: dict[str, tuple[str, ...]] = {}
        for number, entry in enumerate(entries.mailbox):
            try:
                address = login_names.pattern(entry.address)
            except LoginNameError as error:
                raise self._wrong(["mailbox", number, "address"], f"mailbox: {error}") from None
            if address.startswith("@"):
                raise self._wrong(["mailbox", number, "address"], f"mailbox: {entry.address!r} is a domain; a mailbox is one address")
            if address in mailboxes:
                raise self._wrong(["mailbox", number, "address"], f"the mailbox {address} is there twice; name all its logins in one")
            users: list[str] = []
            for one in entry.logins:
                login = _prepared(one)
                # With the next hop's check, logins need no entry here: their address is enough.
                if login not in names and (self._file_check or not login_names.address_of(login)):
                    raise self._wrong(["mailbox", number, "logins"], f"mailbox {address}: there is no login {one!r}")
                if login in users:
                    raise self._wrong(["mailbox", number, "logins"], f"mailbox {address}: the login {login} is named twice")
                users.append(login)
            mailboxes[address] = tuple(users)
        return mailboxes

    def _login(self, number: int, name: str, entry: LoginEntry, boxes: tuple[str, ...]) -> Login:
        if self._file_check and not entry.password:
            raise self._wrong(["login", number, "name"], f"login {name}: has no password; make a hash with gateway logins hash")
        if entry.password and not self._file_check:
            text = f'login {name}: has a password, but submission.check = "next-hop" asks the next hop; take the line out'
            raise self._wrong(["login", number, "password"], text)
        if entry.password:
            try:
                passwords.cost_of(entry.password)
            except passwords.WeakHash as error:
                raise self._wrong(["login", number, "password"], f"login {name}: {error}") from None
        try:
            networks = networks_of(entry.networks)
        except ValueError as error:
            raise self._wrong(["login", number, "networks"], f"login {name}: {error}") from None
        own = login_names.address_of(name)
        senders = [own] if own else []
        for sender in entry.senders:
            try:
                senders.append(login_names.pattern(sender))
            except LoginNameError as error:
                raise self._wrong(["login", number, "senders"], f"login {name}: {error}") from None
        senders += boxes
        if not senders and name not in self._applied:
            text = f"login {name}: is no address and belongs to no mailbox, so it could send as nobody; give it senders"
            raise self._wrong(["login", number, "name"], text)
        return Login(name, entry.password, tuple(dict.fromkeys(senders)), networks, entry.department, boxes)


def _line(text: str, location: list[Any]) -> int:
    """The line (from 1) of the key at *location*, such as ``["login", 3, "senders"]``; of its table where the key is not written."""
    table = str(location[0])
    wanted = next((part for part in location if isinstance(part, int)), 0)
    key = next((part for part in location[1:] if isinstance(part, str)), "")
    index, inside, best = -1, False, 1
    for number, line in enumerate(text.splitlines(), 1):
        if heading := re.match(r"\s*\[\[?\s*\"?([\w.\-]+)\"?\s*\]\]?", line):
            inside = False
            if heading[1] == table:
                index += 1
                inside = index == wanted
                best = number if inside else best
        elif (found := re.match(r"\s*[\"']?([\w\-]+)[\"']?\s*=", line)) and (
            (inside and key and found[1] == key) or (index < 0 and found[1] == table)
        ):
            return number
    return best
