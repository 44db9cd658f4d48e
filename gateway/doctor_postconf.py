"""Reads the settings of the Postfix on this machine, as its daemons see them.

What it is: ``run`` for read-only commands, ``settings`` of what postconf prints, ``Postfix`` (main.cf with defaults and names resolved,
the services of master.cf with their own settings), and the lines of a lookup table.
Who calls it: ``doctor_postfix``, ``doctor_milter``, ``doctor_transport``.
Must never: change a setting; start, stop or reload Postfix; read a table that is not listed by a file or by ``postmap -s``.
Sources: postconf(1) options -n, -x, -P, -M; master(5); postconf(5) for the forms of values; DATABASE_README.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath

_WAIT = 10.0
_PATH = os.defpath + ":/usr/sbin:/usr/local/sbin"
_LISTED = ("hash", "btree", "lmdb", "cdb", "dbm", "sdbm")
"""Kinds of tables whose entries ``postmap -s`` lists."""
_LONGEST = 5_000_000

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


@dataclass(frozen=True, slots=True)
class Service:
    """One line of master.cf."""

    name: str
    kind: str
    """inet, unix, pass, fifo or unix-dgram."""
    chroot: bool
    command: str
    own: Mapping[str, str]
    """Its ``-o`` settings."""

    @property
    def loopback(self) -> bool:
        """Whether it listens on this machine only."""
        return self.kind == "inet" and self.name.startswith(("127.", "[127.", "[::1]:", "::1:", "localhost:", "[localhost]:"))

    def __str__(self) -> str:
        return f"{self.name}/{self.kind}"


@dataclass(frozen=True, slots=True)
class Postfix:
    """The settings of one Postfix."""

    main: Mapping[str, str]
    """What was asked for, with defaults, names resolved."""
    set_here: frozenset[str]
    """What main.cf itself sets."""
    services: tuple[Service, ...]
    run: Run

    def __getitem__(self, name: str) -> str:
        return self.main.get(name, "")

    def of(self, service: Service, name: str) -> str:
        """The setting *name* as the daemon *service* has it."""
        return service.own.get(name, self.main.get(name, ""))

    def running(self, *commands: str) -> Iterator[Service]:
        """The services that run one of *commands*."""
        return (service for service in self.services if service.command in commands)

    def table(self, name: str) -> list[str] | None:
        """The entries of a lookup table such as ``hash:/etc/postfix/transport``; None where they cannot be listed here."""
        return entries(name, self.run)


def read(run: Run, names: tuple[str, ...]) -> Postfix | None:
    """The Postfix here with its settings *names*; None where there is none, or it cannot be read as a whole."""
    own, values, overrides, lines = (
        run(words)
        for words in (
            ["postconf", "-n"],
            ["postconf", "-x", *dict.fromkeys((*names, "compatibility_level", "queue_directory"))],
            ["postconf", "-xP"],
            ["postconf", "-M"],
        )
    )
    if own is None or values is None or overrides is None or lines is None:
        return None
    main = settings(values)
    # Before compatibility level 1 a dash meant a daemon in its cage.
    by_default = main.get("compatibility_level", "0").strip() in ("", "0")
    return Postfix(main, frozenset(settings(own)), tuple(_services(lines, settings(overrides), by_default)), run)


def _services(lines: str, overrides: dict[str, str], by_default: bool) -> Iterator[Service]:
    for line in lines.splitlines():
        words = line.split()
        if len(words) < 8 or line.startswith((" ", "\t", "#")):
            continue
        place = f"{words[0]}/{words[1]}/"
        own = {name[len(place) :]: value for name, value in overrides.items() if name.startswith(place)}
        chroot = by_default if words[4] == "-" else words[4] == "y"
        yield Service(words[0], words[1], chroot, words[7], own)


def words(value: str) -> list[str]:
    """The items of a list, which commas and blanks separate; what stands in braces is of one item."""
    found, depth = [""], 0
    for letter in value:
        depth += (letter == "{") - (letter == "}")
        if depth <= 0 and letter in ", \t\r\n":
            found.append("")
        else:
            found[-1] += letter
    return [one for one in found if one]


def seconds(value: str) -> float | None:
    """A time such as 30s or 5m."""
    found = re.fullmatch(r"(\d+)\s*([smhdw]?)", value.strip())
    return int(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[found[2]] if found else None


def entries(name: str, run: Run) -> list[str] | None:
    """``key value`` of each entry of a table; None where they cannot be listed here. A pattern's line stands as it is written."""
    kind, _, place = name.removeprefix("proxy:").partition(":")
    if kind == "static":
        return [f"* {_bare(place)}"]
    if kind == "inline":
        inside = place.strip().removeprefix("{").removesuffix("}").strip()
        pairs = re.findall(r"\{\s*([^={}]+?)\s*=\s*([^{}]*?)\s*\}|([^\s,={}]+)=([^\s,{}]*)", inside)
        return [f"{key or other} {value or plain}" for key, value, other, plain in pairs]
    if kind in _LISTED:
        listed = run(["postmap", "-s", f"{kind}:{place}"])
        return None if listed is None else listed.splitlines()
    if kind not in ("texthash", "regexp", "pcre"):
        return None
    try:
        with open(FilePath(place), encoding="utf-8", errors="replace") as file:
            text = file.read(_LONGEST + 1)
    except OSError:
        return None
    if len(text) > _LONGEST:
        return None
    whole = re.sub(r"\n(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]+(?=[^\s#])", " ", text)  # a line that begins with blanks continues the one before
    return [line.strip() for line in whole.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _bare(value: str) -> str:
    value = value.strip()
    return value[1:-1].strip() if value.startswith("{") and value.endswith("}") else value


def pair(line: str, table: str) -> tuple[str, str]:
    """Key (or pattern) and value of an entry of *table*; two empty texts where the line is none (``if``, ``endif``)."""
    kind = table.removeprefix("proxy:").partition(":")[0]
    if kind not in ("regexp", "pcre"):
        key, _, value = line.partition(" ") if " " in line.partition("\t")[0] else line.partition("\t")
        return key.strip(), value.strip()
    found = re.match(r"!?([^\w\s\\])((?:\\.|(?!\1).)*)\1\w*\s+(.*)", line, re.S)
    return (found[2], found[3].strip()) if found else ("", "")
