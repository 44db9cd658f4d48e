"""``gateway quarantine export`` and ``verify``: held mail taken out, and the proof of what is kept and of what was taken out.

What it is: one message to a file, or several to a folder with their records and ``SHA256SUMS`` (as sha256sum(1) reads it).
Who calls it: ``quarantine``.
Must never: name a file after anything but a reference; write over a file; let others read what it writes (W14).
Sources: docs/design.md section 10; sha256sum(1); hostile-inputs catalogue W14.
"""

from __future__ import annotations

import hashlib
import json as jsonlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import output
from gateway.cli.options import AsUser, ConfigFile, Json, Stop, config_path, load_config
from gateway.cli.quarantine_acts import Reason, needed

if TYPE_CHECKING:
    from gateway.config import Config

SUMS = "SHA256SUMS"
_NAME = re.compile(r"[0-9A-Za-z]{8,64}")
_LINE = re.compile(r"([0-9a-f]{64})  ([0-9A-Za-z]{8,64}\.(?:eml|cms|json))")
_PAGE = 1000


def export(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="Id or reference of the held message; not with --all.", metavar="ID")] = "",
    reason: Reason = "",
    output_file: Annotated[str, typer.Option("--output", "-o", help="File to write; - for stdout.", metavar="FILE")] = "",
    folder: Annotated[str, typer.Option("--folder", help="A new folder for message, record and hashes.", metavar="DIR")] = "",
    every: Annotated[bool, typer.Option("--all", help="All held mail that waits, to --folder.")] = False,
    user: AsUser = "",
    config: ConfigFile = "",
) -> None:
    """Write held content to a file of mode 0600, or with its record to a folder of mode 0700; each access is recorded."""
    if every == bool(id):
        raise Stop("export: name one message, or --all", 2)
    if every and not folder:
        raise Stop("export: --all needs --folder", 2)
    if folder and output_file:
        raise Stop("export: write to --folder or to --output, not to both", 2)
    path = config_path(context, config)
    loaded = load_config(path)
    if folder:
        _to_folder(loaded, path, FilePath(folder), id, needed(reason), user)
    else:
        _to_file(loaded, path, output_file or f"{id}.eml", id, reason, user)


def _to_file(config: Config, path: FilePath, target: str, id: str, reason: str, user: str) -> None:
    if target == "-" and sys.stdout.isatty():
        raise Stop("--output -: the content of a message may hold what a terminal acts on; send it to a file", 2)
    if target != "-" and FilePath(target).exists():
        raise Stop(f"{target}: is there already; nothing was written", 2)
    body = _body(config, path, id, needed(reason), user)
    if target == "-":
        sys.stdout.buffer.write(body)
        return
    _write(FilePath(target), body)
    output.write(f"{len(body)} octets written to {output.safe(target)}")


def _to_folder(config: Config, path: FilePath, folder: FilePath, id: str, reason: str, user: str) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise Stop(f"{folder}: is there already; name a new folder", 2) from None
    except OSError as error:
        raise Stop(f"{folder}: {error.strerror}", 2) from error
    sums: list[str] = []
    count = 0
    for record in _records(config, path, id):
        name = str(record.get("reference", ""))
        if not _NAME.fullmatch(name):
            raise Stop(f"the record {output.safe(record.get('id'))} has a reference that is none; the export is not complete")
        content = _body(config, path, str(record["id"]), reason, user)
        shown = jsonlib.dumps(record, ensure_ascii=True, indent=1, default=str).encode("ascii") + b"\n"
        for ending, octets in (("cms" if record.get("sealed") else "eml", content), ("json", shown)):
            _write(folder / f"{name}.{ending}", octets)
            sums.append(f"{hashlib.sha256(octets).hexdigest()}  {name}.{ending}\n")
        count += 1
    _write(folder / SUMS, "".join(sums).encode("ascii"))
    output.write(f"{count} message{'s' * (count != 1)} written to {output.safe(folder)}")


def _records(config: Config, path: FilePath, id: str) -> Iterator[Mapping[str, Any]]:
    """The record *id* in full, or all that wait."""
    from gateway import requests
    from gateway.cli.link import rows

    after = ""
    while True:
        listed = ({"id": id},) if id else rows(config, path, requests.ListHeld(limit=_PAGE, after=after))
        for one in listed:
            found = rows(config, path, requests.ShowHeld(str(one["id"])))
            if not found:
                raise Stop(f"There is no held message {output.safe(one['id'])}.")
            yield found[0]
        if id or len(listed) < _PAGE:
            return
        after = str(listed[-1]["id"])


def _body(config: Config, path: FilePath, id: str, reason: str, user: str) -> bytes:
    from gateway import requests
    from gateway.cli.link import ask

    return ask(config, path, requests.ExportHeld(id, reason, user))[1]


def _write(path: FilePath, octets: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)


def verify(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(help="A folder of quarantine export; without it what the gateway holds.", metavar="FOLDER")] = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Prove that held mail opens, has its hash, and is what was approved; or that an export is whole. Names the first bad one."""
    count, bad = _verify_folder(FilePath(folder)) if folder else _verify_held(context, config)
    if json:
        output.json_lines([{"ok": not bad, "count": count, "bad": bad}])
    else:
        output.write(output.safe(f"bad: {bad}" if bad else f"ok: {count} {'files' if folder else 'held messages'}"))
    if bad:
        raise typer.Exit(1)


def _verify_held(context: typer.Context, config: str) -> tuple[int, str]:
    from gateway import requests
    from gateway.cli.link import rows

    path = config_path(context, config)
    loaded = load_config(path)
    count, after = 0, ""
    while page := rows(loaded, path, requests.VerifyHeld(after)):
        for row in page:
            if row["problem"]:
                return count, f"{row['reference'] or row['id']}: {row['problem']}"
            count += 1
        after = str(page[-1]["id"])
    return count, ""


def _verify_folder(folder: FilePath) -> tuple[int, str]:
    """How many files are as they were written, and what is wrong with the first that is not."""
    try:
        lines = (folder / SUMS).read_text("ascii").splitlines()
        there = {one.name for one in folder.iterdir()} - {SUMS}
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(f"{folder / SUMS}: cannot be read; is this a folder of gateway quarantine export?", 2) from error
    sums: dict[str, str] = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None or match[2] in sums:
            return 0, f"{SUMS} line {len(sums) + 1}: is no sum, or one of a file that it has already"
        sums[match[2]] = match[1]
    for count, (name, wanted) in enumerate(sums.items()):
        file = folder / name
        if file.is_symlink() or not file.is_file():
            return count, f"{name}: is missing"
        if hashlib.sha256(octets := file.read_bytes()).hexdigest() != wanted:
            return count, f"{name}: is not what was written"
        if name.endswith(".json"):
            record = jsonlib.loads(octets)
            mail = f"{file.stem}.eml"
            if not record.get("sealed") and sums.get(mail) != record.get("sha256"):
                return count, f"{mail}: is not the content of its record"
    for name in sorted(there - sums.keys()):
        return len(sums), f"{name}: was not written by the export"
    return len(sums), ""
