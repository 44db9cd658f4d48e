"""``gateway explain``: what would be decided about a message and why, without acting.

What it is: the same inspection, classification and decision as the running gateway's, on files.
Who calls it: administrators, rule authors, scripts.
Must never: act, store or send anything; say less than the running gateway would decide.
Source: docs/design.md section 10 ("explain --json").
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import output
from gateway.cli.explain_case import Case, signed_in
from gateway.cli.options import ConfigFile, Json, Stop, config_path, has_config, load_config

if TYPE_CHECKING:
    from gateway.address import Path
    from gateway.config import Config
    from gateway.envelope import Door
    from gateway.levels import Level
    from gateway.requests import Exceptions


def _files(names: Iterable[str]) -> list[FilePath]:
    """Every file named, and every file in every folder named, in order. Ends the command when one is not there."""
    found: list[FilePath] = []
    for name in names:
        path = FilePath(name)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            found += [p for p in inside if p.suffix.lower() == ".eml"] or inside
        elif path.exists():
            found.append(path)
        else:
            raise Stop(f"{name}: there is no such file", 2)
    return found


def _path(text: str, option: str) -> Path:
    from gateway import address

    raw = text.strip()
    raw = raw[1:-1] if raw.startswith("<") and raw.endswith(">") else raw
    if not raw and option == "--from":
        return address.NULL_PATH
    try:
        return address.parse(raw.encode("utf-8", "surrogateescape"), smtputf8=True)
    except address.AddressError as error:
        raise Stop(f"{option}: {text}: {error}", 2) from error


_ALWAYS = ("Received", "Authentication-Results", "X-Gateway-Reference")
"""Fields that every message gets; people need not be told each time."""
_MARKS = {"deliver": "DELIVER", "hold": "HOLD", "refuse": "REFUSE", "defer": "DEFER"}


_NOT_READ = {
    "suspect": "a part could not be read",
    "opaque": "a part is strongly encrypted",
    "uninspectable": "what pictures, sound or drawings show was not read",
}


def _doubts(found: dict[str, Any]) -> list[str]:
    """Why the level may not be all that there is to say, and what was opened with a secret of the message itself."""
    from gateway.protection import GIVEN_AWAY

    given = {leaf["reason"] for leaf in found["leaves"] if leaf["reason"] in GIVEN_AWAY}
    unread = {leaf["state"] for leaf in found["leaves"] if leaf["reason"] not in GIVEN_AWAY}
    said = ["mail programs may read it differently"] if found["message"]["ambiguous"] else []
    said += [sentence for state, sentence in _NOT_READ.items() if state in unread]
    return said + [f"a part was read although it is encrypted: {reason}" for reason in sorted(given)]


def _print(found: dict[str, Any], want_text: bool) -> None:
    """One record for people."""
    safe, say = output.safe, output.write
    if "error" in found:
        return
    message, classification = found["message"], found["classification"]
    say(f"{safe(found['file'])}: {safe(message['subject']) or '(no subject)'}")
    level = classification["level"] or "no marking"
    extra = [f"declared {classification['declared']}"] if classification["declared"] else []
    if classification["probable"] and classification["probable"] != classification["level"]:
        extra.append(f"probably {classification['probable']}")
    extra += ["its labels and its content disagree"] if classification["conflict"] else []
    extra += _doubts(found)
    say(f"  level      {level}" + (f" ({'; '.join(extra)})" if extra else ""))
    for reason in message["ambiguity"]:
        say(f"  ambiguous  {safe(reason)}")
    evidence: dict[str, int] = {}
    for one in classification["evidence"]:
        words = f': "{safe(one["text"])}"' if one["text"] else f": the {one['detector']}"
        line = f"{one['level']} in {safe(one['path'])}, {one['zone']}{words} ({one['confidence']})"
        evidence[line] = evidence.get(line, 0) + 1
    for line, count in list(evidence.items())[:10]:
        say(f"  evidence   {line}" + (f", {count} times" if count > 1 else ""))
    if len(evidence) > 10:
        say(f"  evidence   and {len(evidence) - 10} more; --json prints all")
    for leaf in found["leaves"]:
        protection = leaf["protection"]
        locked = (
            ""
            if protection["state"] == "none"
            else f", protection {protection['state']} {protection['scheme']} {protection['cipher']}".rstrip()
        )
        why = leaf["reason"] or protection["reason"]
        say(f"  leaf       {safe(leaf['path'])} {leaf['media_type']}: {leaf['state']}{safe(locked)}" + (f" ({safe(why)})" if why else ""))
        for segment in leaf["segments"] if want_text else ():
            page = f", page {segment['page']}" if segment["page"] else ""
            say(f"             {segment['zone']}{page}")
            for line in output.safe_lines(segment["text"]).split("\n"):
                say(f"             | {line}")
    for one in found["observations"]:
        what = f"{one['kind']} {one['name']}".rstrip()
        say(f"  observed   {safe(what)} in {safe(one['place'])}" + (f", {one['count']} different" if one["count"] > 1 else ""))
    for one in found["recipients"]:
        say("")
        say(f"  {_MARKS[one['disposition']]:<8} {safe(one['address'])}  ({one['tier']}, {one['direction']}, {one['status']})")
        say(f"    rule     {safe(one['rule'])}" + (f": {safe(one['title'])}" if one["title"] else ""))
        if one["source"]:
            say(f"    source   {safe(one['source'])}")
        if one["exception"]:
            say(f"    by       exception {safe(one['exception'])}")
        if "imap-recorded" in one["tags"]:
            say("    stored   as mail it would be stopped; storing it is only recorded")
        if "imap-shared" in one["tags"] and one["disposition"] == "refuse":
            say("    stored   not where others read it: what would wait for a reviewer is refused there")
        for text in list(one["explanation"].values())[:1]:
            say(f"    why      {safe(text)}")
        watched = [step["rule"] for step in one["trace"] if step["hit"] and step["mode"] == "monitor"]
        if watched:
            say(f"    monitor  {safe(', '.join(watched))}")
    written = [edit for edit in found["edits"] if edit["action"] == "add" and edit["header"] not in _ALWAYS]
    if written:
        say("")
    for edit in written:
        say(f"  writes   {safe(edit['header'])}: {safe(edit['value'])}")
    say("")


def _explain(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(help="Messages, or folders of messages.", metavar="FILE…")],
    sender: Annotated[str, typer.Option("--from", help="Envelope sender; <> for the null sender.", metavar="ADDRESS")] = "",
    to: Annotated[list[str] | None, typer.Option("--to", help="Envelope recipient; may be repeated.", metavar="ADDRESS")] = None,
    client_ip: Annotated[str, typer.Option("--client-ip", help="Address that the message comes from.", metavar="IP")] = "",
    user: Annotated[str, typer.Option("--user", help="Login that the message comes from.", metavar="NAME")] = "",
    text: Annotated[bool, typer.Option("--text", help="Add the text that was read from each leaf.")] = False,
    thread_level: Annotated[str, typer.Option("--thread-level", help="What the thread that it answers was marked.", metavar="LEVEL")] = "",
    door: Annotated[
        str, typer.Option("--door", help="Where it comes in: smtp, submission, milter, imap (--from stores it).", metavar="DOOR")
    ] = "",
    shared: Annotated[bool, typer.Option("--shared", help="With --door imap: it is stored in a mailbox that others read.")] = False,
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """What would be decided about each message and why, without acting.

    It asks nobody: who has written to whom before is not known here (no recipient counts as new), nor what the thread of a message was
    marked (nothing, but for --thread-level), no DKIM key is fetched (no
    signature of a stranger counts as checked), and the session counts as encrypted. The senders of a login are those of the file of
    logins; where there is none, or it cannot be read, every sender counts as the login's own.
    """
    from gateway import content  # noqa: F401 - the workers inherit what is loaded here
    from gateway import policy as policies
    from gateway.cli import progress, workers
    from gateway.config import Config, Originators

    if not sender:
        raise Stop("explain: --from is missing; write --from '<>' for the null sender", 2)
    by = _door(door) if door else None
    if shared and (by is None or by.value != "imap"):
        raise Stop("explain: --shared goes with --door imap", 2)
    to = to or ([sender] if by is not None and by.value == "imap" else [])
    if not to:
        raise Stop("explain: --to is missing", 2)
    from_path, to_paths = _path(sender, "--from"), tuple(_path(one, "--to") for one in to)
    thread = _level(thread_level) if thread_level else None
    if client_ip:
        _check_ip(client_ip)
    found = _files(files)
    path = config_path(context, config)
    if has_config(context, config):
        loaded = load_config(path)
    else:
        loaded = Config(originators=Originators(domains=(from_path.domain,) if from_path.domain else ()))
    try:
        policy = policies.load(loaded.rules_dir, loaded)
    except policies.PolicyError as error:
        raise Stop(str(error), 2) from error
    login, senders, doubt = signed_in(user, client_ip, loaded) if user else ("", None, "")
    if doubt:
        typer.echo(f"gateway: {doubt}", err=True)
    case = Case(
        from_path, to_paths, loaded, policy, _exceptions(loaded), client_ip=client_ip, user=login, senders=senders, want_text=text,
        thread=thread, door=by, shared=shared,
    )  # fmt: skip
    unread = 0
    results = workers.results(case.in_worker, found, len(os.sched_getaffinity(0)))
    for file, one in progress.shown(zip(found, results, strict=False), len(found), "messages"):
        shown = case.record(file, one.how) if isinstance(one, workers.Died) else one
        if "error" in shown:
            unread += 1
            typer.echo(f"gateway: {file}: {shown['error']}", err=True)
        elif json:
            output.write(output.json_line(shown))
        else:
            _print(shown, text)
    if unread:
        raise typer.Exit(2)


def _check_ip(text: str) -> None:
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise Stop(f"--client-ip: {text!r} is not an IP address", 2) from error


def _door(text: str) -> Door:
    from gateway.envelope import Door

    try:
        return Door(text)
    except ValueError as error:
        raise Stop(f"--door: {text!r}: write one of {', '.join(Door)}", 2) from error


def _level(text: str) -> Level:
    from gateway.levels import Level

    try:
        return Level.parse(text)
    except ValueError as error:
        raise Stop(f"--thread-level: {error}", 2) from error


def _exceptions(config: Config) -> Exceptions:
    """The register of the running gateway where there is one that we may ask; else an empty one."""
    import asyncio

    from gateway import ipc, requests, rights

    empty = _register(())

    async def fetch() -> requests.Exceptions:
        channel = await ipc.Channel.connect(rights.place(config.run_dir, "keeper-admin.sock"), requests.KeeperAnswer)
        try:
            async with asyncio.timeout(5):
                entries, _ = await channel.call(requests.ListExceptions())
                profiles, _ = await channel.call(requests.ListProfiles())
        finally:
            channel.close()
        if not isinstance(entries, requests.Rows):
            return empty
        return _register(entries.rows, profiles.rows if isinstance(profiles, requests.Rows) else ())

    try:
        return asyncio.run(fetch())
    except (ipc.ChannelError, TimeoutError):
        return empty


def _register(rows: tuple[dict[str, Any], ...], on: tuple[dict[str, Any], ...] = ()) -> Exceptions:
    from gateway import requests
    from gateway.stores.base import register_version

    names, titles = requests.ExceptionRow.__struct_fields__, requests.ProfileRow.__struct_fields__
    entries = tuple(requests.ExceptionRow(**{name: row[name] for name in names if name in row}) for row in rows)
    profiles = tuple(requests.ProfileRow(**{name: row[name] for name in titles if name in row}) for row in on)
    return requests.Exceptions(register_version(entries, profiles), entries, profiles)


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("explain")(_explain)
