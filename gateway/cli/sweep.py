"""``gateway sweep``: what would have been decided about the messages that lie in a mailbox, without touching it.

What it is: Sent and Drafts (or other mailboxes) of an IMAP server, read with EXAMINE and judged message by message as ``gateway
explain`` judges files.
Who calls it: administrators before they put the gateway in front, and whoever asks what has already gone out.
Must never: change anything on the server; take a password as an argument; record, store or send anything.
Sources: docs/design.md section 10; RFC 9051.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import output
from gateway.cli.options import ConfigFile, Json, Stop, config_path, has_config, load_config, needed

if TYPE_CHECKING:
    from gateway.address import Path
    from gateway.cli.sweep_case import Fetched, Sweep
    from gateway.cli.sweep_server import Mailbox, Opened, Server
    from gateway.config import Config

_PASSWORD = 4096  # octets of a file that are looked at


def _password(file: str) -> str:
    """The password from *file* (a path, or credential:NAME), else from the terminal. Ends the command where there is none."""
    from getpass import getpass

    from gateway import systemd
    from gateway.config import ConfigError
    from gateway.signin import login_names

    if not file:
        if not sys.stdin.isatty():
            raise Stop("sweep: --password-file is missing; without it the password is asked for on a terminal", 2)
        given = getpass("Password: ")
    else:
        try:
            with systemd.secret(FilePath(file)).open("rb") as stream:
                octets = stream.read(_PASSWORD)
            given = octets.split(b"\n", 1)[0].removesuffix(b"\r").decode("utf-8")
        except ConfigError as error:
            raise Stop(f"--password-file: {error}", 2) from error
        except (OSError, ValueError) as error:
            raise Stop(f"--password-file: {file}: {getattr(error, 'strerror', None) or 'is not UTF-8'}", 2) from error
    if login_names.secret(given) is None or not given.isprintable():
        raise Stop("The password is empty, longer than 1024 octets, or holds a control character.", 2)
    return given


def _since(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise Stop(f"--since: {text!r} is not a date such as 2026-01-31", 2) from error


def _after(text: str, names: Sequence[str]) -> tuple[int, int]:
    """UIDVALIDITY (0: not said) and UID of ``--after``."""
    if not text:
        return 0, 0
    validity, _, uid = text.rpartition(":")
    if not (uid.isascii() and uid.isdigit()) or not (not validity or (validity.isascii() and validity.isdigit())):
        raise Stop(f"--after: {text!r} is neither a UID nor UIDVALIDITY:UID", 2)
    if len(names) != 1:
        raise Stop("--after: UIDs are those of one mailbox: name it with --mailbox", 2)
    return int(validity or 0), int(uid)


def _chosen(server: Server, names: Sequence[str], every: bool) -> list[Mailbox]:
    """The mailboxes to read. Ends the command where one is not there."""
    there = server.mailboxes()
    if every:
        return there
    if not names:
        found = [one for one in there if one.own]
        if not found:
            shown = ", ".join(output.safe(one.name) for one in there[:20])
            raise Stop(f"There is neither a Sent nor a Drafts mailbox: name one with --mailbox (there are: {shown or 'none'})", 2)
        return found
    known = {one.name: one for one in there}
    missing = [name for name in names if name not in known]
    if missing:
        raise Stop(f"--mailbox: there is no mailbox {missing[0]!r}", 2)
    return [known[name] for name in dict.fromkeys(names)]


class Messages(Sequence["Fetched"]):
    """The messages of one opened mailbox, each fetched when it is asked for and not kept."""

    def __init__(self, server: Server, mailbox: Mailbox, opened: Opened, uids: list[int], most: int) -> None:
        self._server, self._mailbox, self._validity, self._most = server, mailbox, opened.uidvalidity, most
        self._uids = uids
        self._from, self._sizes = -1, dict[int, Any]()

    def __len__(self) -> int:
        return len(self._uids)

    def uid(self, index: int) -> int:
        """The UID of the message number *index*."""
        return self._uids[index]

    def __getitem__(self, index: Any) -> Any:
        from gateway.cli.sweep_case import Fetched

        uid = self._uids[index]
        start = index - index % _BATCH
        if start != self._from:
            self._from, self._sizes = start, self._server.sizes(self._uids[start : start + _BATCH])
        size = self._sizes.get(uid)
        when = size.date.isoformat() if size is not None and size.date is not None else ""
        octets = self._server.octets(uid, size.octets, self._most) if size is not None and size.octets <= self._most else None
        gone = size is None or (octets is None and size.octets <= self._most)
        return Fetched(
            self._mailbox.name, self._validity, uid, self._mailbox.own, when, 0 if size is None else size.octets, octets, gone=gone
        )


_BATCH = 200
"""Messages whose sizes are asked for at once."""


def _judged(sweep: Sweep, messages: Messages) -> Iterator[dict[str, Any]]:
    """The record of each message in order, from several processes."""
    from gateway.cli import workers

    for number, one in enumerate(workers.results(sweep.in_worker, messages, len(os.sched_getaffinity(0)))):
        yield sweep.record(messages[number], one.how) if isinstance(one, workers.Died) else one


def _sweep(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="The IMAP server: imaps://HOST[:PORT]; imap:// on this machine only.", metavar="URL")],
    login: Annotated[str, typer.Option("--login", help="Login at the server; OFFICER*MASTER for a master user.", metavar="NAME")] = "",
    password_file: Annotated[
        str, typer.Option("--password-file", help="File with the password, or credential:NAME; absent: asked for.", metavar="FILE")
    ] = "",
    user: Annotated[
        str, typer.Option("--user", help="Whose mailbox it is (default: the login, without what follows a *).", metavar="NAME")
    ] = "",
    mailbox: Annotated[
        list[str] | None, typer.Option("--mailbox", help="Mailbox to read; may be repeated (default: Sent and Drafts).", metavar="NAME")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Read every mailbox.")] = False,
    since: Annotated[str, typer.Option("--since", help="Only what came into the mailbox on this day or later.", metavar="DATE")] = "",
    after: Annotated[str, typer.Option("--after", help="Go on behind this message of one mailbox.", metavar="[UIDVALIDITY:]UID")] = "",
    ca: Annotated[str, typer.Option("--ca", help="PEM file of the server's authority (default: the system's).", metavar="FILE")] = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Say what would have been decided about the messages of a mailbox, without changing it, recording or sending anything.

    From, To, Cc and Bcc of a message are taken as its envelope. In Sent and Drafts the owner of the mailbox counts as the verified
    originator; elsewhere a message counts as official where its From is of originators.domains, and as a stranger's where it is not.
    What explain does not know is not known here either: earlier mail, the thread, DKIM keys, the session. Rules and the register of
    exceptions are those of today.
    """
    from gateway import content  # noqa: F401 - the workers inherit what is loaded here
    from gateway import policy as policies
    from gateway.address import NULL_PATH
    from gateway.cli import sweep_server as servers
    from gateway.cli.explain import _exceptions
    from gateway.cli.explain_case import Case
    from gateway.cli.sweep_case import Sweep
    from gateway.cli.sweep_report import Sums

    needed("sweep", {"--login": login})
    names = list(mailbox or ())
    if every and names:
        raise Stop("sweep: --all and --mailbox are not said together", 2)
    if not login.isprintable() or not all(name and name.isprintable() for name in names):
        raise Stop("sweep: --login and --mailbox hold no control characters", 2)
    day, (validity, uid) = _since(since), _after(after, names)
    owner, home = _owner(user or login.partition("*")[0])
    try:
        place = servers.parse(url)
    except servers.ServerError as error:
        raise Stop(str(error), 2) from error
    loaded = load_config(config_path(context, config)) if has_config(context, config) else _bare(home)
    try:
        policy = policies.load(loaded.rules_dir, loaded)
    except policies.PolicyError as error:
        raise Stop(str(error), 2) from error
    register = _exceptions(loaded)
    if not register.rows:
        typer.echo("gateway: sweep: no exception counts: the register is empty, or no gateway runs here", err=True)
    sweep = Sweep(
        loaded, Case(NULL_PATH, (), loaded, policy, register, client_ip="", user="", want_text=False), owner, home, _senders(owner, loaded)
    )
    secret = _password(password_file)
    sums = Sums()
    try:
        server = servers.Server(place, FilePath(ca).absolute() if ca else None)
        try:
            server.login(login, secret)
            del secret
            for one in _chosen(server, names, every):
                _read(server, one, sweep, sums, since=day, validity=validity, after=uid, json=json)
        finally:
            server.close()
    except servers.ServerError as error:
        raise Stop(str(error), 1) from error
    if not json:
        sums.show()
    if sums.undecided:
        raise typer.Exit(2)


def _read(server: Server, mailbox: Mailbox, sweep: Sweep, sums: Any, *, since: date | None, validity: int, after: int, json: bool) -> None:
    """Reads one mailbox and prints what would have been decided. Raises ServerError, which says where to go on."""
    from gateway.cli import progress, sweep_report
    from gateway.cli.sweep_server import ServerError

    opened = server.examine(mailbox.name)
    if validity and validity != opened.uidvalidity:
        raise Stop(f"--after: the UIDVALIDITY of {mailbox.name!r} is {opened.uidvalidity} now: its UIDs have changed, begin again", 2)
    uids = server.uids(opened, after, since)
    messages = Messages(server, mailbox, opened, uids, sweep.config.max_message_size)
    done = 0
    try:
        for found in progress.shown(_judged(sweep, messages), len(messages), output.safe(mailbox.name)):
            sums.add(found)
            if json:
                output.write(output.json_line(found))
            elif "error" in found:
                typer.echo(f"gateway: {output.safe(mailbox.name)} {found['uid']}: {output.safe(found['error'])}", err=True)
            else:
                sweep_report.show(found)
            done += 1
    except ServerError as error:
        last = messages.uid(done - 1) if done else after
        raise ServerError(
            f"{error} {done} of {len(messages)} messages of {mailbox.name!r} were read; go on with "
            f"--mailbox {mailbox.name!r} --after {opened.uidvalidity}:{last}"
        ) from error


def _owner(text: str) -> tuple[str, Path]:
    """The login whose mailbox it is in its canonical form, and its address where it is one."""
    from gateway.address import NULL_PATH, parse
    from gateway.signin import login_names

    try:
        owner = login_names.prepare(text)
    except login_names.LoginNameError as error:
        raise Stop(f"--user: {text!r}: {error}", 2) from error
    address = login_names.address_of(owner)
    return owner, parse(address.encode("utf-8"), smtputf8=True) if address else NULL_PATH


def _bare(home: Path) -> Config:
    """Without a config the embedded defaults hold, and the domain of the mailbox counts as ours."""
    from gateway.config import Config, Originators

    return Config(originators=Originators(domains=(home.domain,) if home.domain else ()))


def _senders(owner: str, config: Config) -> tuple[str, ...] | None:
    """As whom the file of logins lets *owner* send; None (any) where it does not say."""
    from gateway.cli.explain_case import signed_in

    try:
        _, senders, doubt = signed_in(owner, "", config)
    except Stop:
        typer.echo(f"gateway: sweep: the file of logins has no {output.safe(owner)}: every sender counts as its own", err=True)
        return None
    if doubt:
        typer.echo(f"gateway: {doubt.replace('explain:', 'sweep:')}", err=True)
    return senders


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("sweep")(_sweep)
