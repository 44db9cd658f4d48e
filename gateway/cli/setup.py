"""``gateway setup``: the first configuration, question by question.

What it is: asks (or reads a file of answers), looks at DNS and the next hops, writes gateway.toml, makes the keys, and prints
what to publish and what to set on the mail servers before and behind.
Who calls it: the mail admin, once, before the first start; scripts with ``--answers``.
Must never: write over a config or a key that is there; put a config in place that does not load; send mail.
Source: docs/design.md section 10; RFC 5321 section 5 (what a name must resolve to).
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import output
from gateway.cli.options import ConfigFile, Stop, config_path

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.doctor import Finding

_DNS = 5.0  # seconds for one look-up


def ask(out: Any = None) -> dict[str, str]:
    """The answers of a person at the terminal. Ends the command when input ends."""
    from gateway.cli.setup_questions import QUESTIONS, NoAnswer

    answers: dict[str, str] = {}
    stream = out or sys.stderr
    for number, question in enumerate(QUESTIONS, 1):
        if not question.asked(answers):
            continue
        suggested = question.suggested(answers)
        output.write(f"\n{number}/{len(QUESTIONS)}  {question.text}\n      {question.hint}", stream)
        while True:
            stream.write(f"      [{suggested}] " if suggested else "      ")
            stream.flush()
            line = sys.stdin.readline()
            if not line:
                raise Stop("the questions were not answered to the end; nothing was written", 1)
            text = line.strip() or suggested
            if text == "-" and question.optional:
                text = ""
            if not text and not question.optional:
                output.write("      An answer is needed here.", stream)
                continue
            try:
                answers[question.key] = question.taken(text, answers)
                pem(question.key, answers[question.key])
            except NoAnswer as error:
                output.write(f"      {error}", stream)
                continue
            break
    return answers


def read(path: FilePath) -> dict[str, str]:
    """The answers of a TOML file with one key a question. Ends the command with file and key when one will not do."""
    import tomllib

    from gateway.cli.setup_questions import QUESTIONS, NoAnswer

    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Stop(f"{path}: {error.strerror}", 2) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Stop(f"{path}: {error}", 2) from error
    known = {question.key for question in QUESTIONS}
    for key in given:
        if key not in known:
            raise Stop(f"{path}: {key}: is no question; the questions are {', '.join(question.key for question in QUESTIONS)}", 2)
    answers: dict[str, str] = {}
    for question in QUESTIONS:
        if not question.asked(answers):
            continue
        value = given.get(question.key, question.suggested(answers))
        text = (
            ", ".join(map(str, value)) if isinstance(value, list) else ("yes" if value else "no") if isinstance(value, bool) else str(value)
        )
        if not text.strip() and not question.optional:
            raise Stop(f"{path}: {question.key}: an answer is needed: {question.text}. {question.hint}", 2)
        try:
            answers[question.key] = question.taken(text, answers)
            pem(question.key, answers[question.key])
        except NoAnswer as error:
            raise Stop(f"{path}: {question.key}: {error}", 2) from error
    return answers


def pem(key: str, answer: str) -> None:
    """Raises NoAnswer where *answer* is a file of the question *key* that is there and is no PEM. One that comes later is for check."""
    from gateway.cli.setup_questions import NoAnswer

    wanted = {"certificate": b"-----BEGIN CERTIFICATE-----", "key": b"PRIVATE KEY-----"}.get(key)
    if wanted is None or not answer:
        return
    try:
        with open(answer, "rb") as file:
            text = file.read(1_000_000)
    except FileNotFoundError:
        return
    except OSError as error:
        raise NoAnswer(f"{answer}: cannot be read: {error.strerror}") from None
    if wanted not in text:
        what = "certificate" if key == "certificate" else "private key"
        raise NoAnswer(f"{answer} holds no {what} in PEM form (a text with -----BEGIN ...); convert it with openssl, or name another file")


def put(path: FilePath, text: str) -> Config:
    """Writes *text* as the new file *path* once it has loaded as a config. Ends the command when it is there, or does not load."""
    from gateway import config

    if path.exists():
        raise Stop(f"{path} is there already and stays as it is; move it away, or write elsewhere with --config", 1)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise Stop(f"{path}: cannot be written: {error.strerror}", 1) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o644)  # four users read it, and it holds no secret
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        loaded = config.load(half)
        os.link(half, path)
    except config.ConfigError as error:
        raise Stop(f"the answers make no config: {str(error).replace(str(half), str(path))}", 2) from error
    except FileExistsError as error:
        raise Stop(f"{path} is there already and stays as it is", 1) from error
    except OSError as error:
        raise Stop(f"{path}: cannot be written: {error.strerror}", 1) from error
    finally:
        half.unlink(missing_ok=True)
    return loaded


def hand_over(config: Config) -> None:
    """Gives the state folder with all that was made in it to the keeper's user, who alone reads it."""
    import pwd

    from gateway.rights import USERS

    keeper = pwd.getpwnam(USERS["keeper"])
    for place in [config.state_dir, *config.state_dir.rglob("*")]:
        os.chown(place, keeper.pw_uid, keeper.pw_gid, follow_symlinks=False)


def addresses(name: str) -> list[str]:
    """The addresses of the host *name*; empty when it has none, or they cannot be had within 5 seconds."""
    import dns.exception
    import dns.resolver

    found: list[str] = []
    for kind in ("A", "AAAA"):
        try:
            found += [record.to_text() for record in dns.resolver.resolve(name, kind, lifetime=_DNS)]
        except (dns.exception.DNSException, OSError):
            continue
    return found


def _mail_exchangers(domain: str) -> list[str] | None:
    """The MX hosts of *domain*; None when the DNS could not be asked."""
    import dns.exception
    import dns.resolver

    try:
        return [record.exchange.to_text(omit_final_dot=True) for record in dns.resolver.resolve(domain, "MX", lifetime=_DNS)]
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError):
        return None


def names(answers: Mapping[str, str]) -> Iterator[Finding]:
    """What the DNS says of the gateway's name and of the department's domains."""
    from gateway.cli.setup_questions import several
    from gateway.doctor import Finding

    own = addresses(answers["hostname"])
    if own:
        yield Finding("dns", "ok", f"{answers['hostname']} is {', '.join(own)}")
    else:
        yield Finding("dns", "warning", f"{answers['hostname']} has no address in the DNS; publish one before other servers are to connect")
    for domain in several(answers["domains"]):
        hosts = _mail_exchangers(domain)
        if hosts is None:
            yield Finding("dns", "warning", f"MX of {domain}: the DNS gave no answer")
        elif answers["hostname"] in hosts:
            yield Finding("dns", "ok", f"mail to {domain} comes to this gateway first (MX {', '.join(hosts)})")
        else:
            where = f"goes to {', '.join(hosts)}" if hosts else "has no MX record"
            yield Finding(
                "dns", "ok", f"mail from outside to {domain} {where}, not through this gateway; outgoing mail is what it guards then"
            )


def _heading(text: str) -> None:
    output.write(f"\n{text}\n{'-' * len(text)}")


def _setup(
    context: typer.Context,
    answers: Annotated[str, typer.Option("--answers", help="Take the answers from this TOML file instead of asking.", metavar="FILE")] = "",
    offline: Annotated[bool, typer.Option("--offline", help="Look neither at the DNS nor at the next hops.")] = False,
    no_keys: Annotated[bool, typer.Option("--no-keys", help="Make no keys now (gateway keys init does it later).")] = False,
    config: ConfigFile = "",
) -> None:
    """A guided first configuration: writes gateway.toml, makes keys, looks at DNS and next hops, prints Postfix's settings."""
    from gateway import rights
    from gateway.cli import check, keys, setup_files
    from gateway.supervisor import CannotRun
    from gateway.vault import vault

    path = config_path(context, config)
    if path.exists():
        raise Stop(f"{path} is there already and stays as it is; move it away, or write elsewhere with --config", 1)
    if not answers:
        output.write(
            f"This writes {path}. An empty answer takes what stands in brackets; - leaves an optional one empty; Ctrl-C writes nothing.",
            sys.stderr,
        )
    given = read(FilePath(answers)) if answers else ask()
    units = os.geteuid() == 0 and rights.installed()
    loaded = put(path, setup_files.config(given, units=units))
    _heading("Written")
    output.write(f"{path}")
    if not no_keys:
        try:
            rows = keys.make(loaded)
        except (vault.VaultError, CannotRun, OSError) as error:
            raise Stop(f"{path} is written, but no keys could be made: {error}; then run: gateway keys init --config {path}") from error
        if units:
            hand_over(loaded)
        for row in rows:
            output.write(f"{row['place']}   ({row['key']} key{'' if row['made'] else ', was there'})")
        published = [row for row in rows if "record" in row]
        if published:
            _heading("Publish in the DNS")
        for row in published:
            for line in keys.zone_lines(row["name"], row["record"]):
                output.write(line)
    if not offline:
        _heading("DNS and next hops")
        for finding in itertools.chain(names(given), check.hops(loaded)):
            output.write(check.line(finding))
    own = next(iter(addresses(given["hostname"])), "") if not offline else ""
    _heading("Postfix of the department (main.cf), which sends through the gateway")
    for line in setup_files.postfix_before(given):
        output.write(line)
    _heading("Postfix behind the gateway (main.cf), if the next server is yours")
    for line in setup_files.postfix_behind(own or "192.0.2.1"):
        output.write(line)
    if not own:
        output.write("# 192.0.2.1 stands for this gateway's address")
    _heading("Next")
    option = "" if str(path) == "/etc/gateway/gateway.toml" else f" --config {path}"
    output.write(f"gateway check{option}      each line ok, or what to do")
    if units:
        named = [one.address.removeprefix("systemd:") for one in loaded.listen if one.address.startswith("systemd:")]
        sockets = [f"gateway-{name}.socket" for name in named]
        output.write(f"systemctl enable --now gateway.target {' '.join(sockets)}".rstrip())
    else:
        output.write(f"gateway run{option}")
    output.write("Keep a copy of the vault key apart from this machine: without it no held or queued message can be read.")


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("setup")(_setup)
