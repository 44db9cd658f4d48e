"""``gateway restore``: a backup becomes the state folder of a gateway again, elsewhere, and proved.

A backup of a node whose store is in PostgreSQL gives keys, config and rules; the database was put back, or lives, by itself.

Who calls it: administrators, after a loss; and now and then to see that the backups are good.
Must never: write into a folder that is not empty; let a delivery go that may have been made since; leave half a state behind; go on
with a log that does not verify, unless somebody said so.
Sources: docs/design.md section 10; hostile-inputs catalogue O23, O22, L07.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import IO, Annotated, Any

import typer

from gateway.cli import backup, custody, output
from gateway.cli.backup import KeyFile, PassphraseFile
from gateway.cli.options import ConfigFile, Json, Stop, config_path, load_config

_STORE, _HALF = "gateway.db", "gateway.db.restoring"
_APART = "restored"
"""Folder in the state folder for what has to be put in its place by hand: config, rules, files that the config names."""


def _restore(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="A file that gateway backup has made.", metavar="FILE")],
    to: Annotated[str, typer.Option("--to", help="The new state folder, not there or empty (default: the config's).", metavar="DIR")] = "",
    key: KeyFile = "",
    passphrase_file: PassphraseFile = "",
    resume: Annotated[bool, typer.Option("--resume", help="Let deliveries go at once: what was delivered since is sent twice.")] = False,
    accept_bad_log: Annotated[bool, typer.Option("--accept-bad-log", help="Go on where the decision log does not verify.")] = False,
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Restore a backup into an empty state folder: verified, with a new chain, and deliveries on hold."""
    from gateway.stores.base import StoreError
    from gateway.vault import sealed_file, vault

    opened = backup.opener(key, passphrase_file)
    if opened is None:
        raise Stop("--key or --passphrase-file: a backup is sealed; name what opens it", 2)
    folder = FilePath(to).absolute() if to else load_config(config_path(context, config)).state_dir
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Stop(f"{folder} is there and not empty; a backup is restored into an empty folder", 2)
    existed = folder.exists()
    try:
        stream, reader = sealed_file.open_file(FilePath(file), opened)
        with stream:
            row = _into(folder, reader, resume, accept_bad_log)
    except BaseException as error:
        _away(folder, existed)
        if isinstance(error, sealed_file.SealedFileError | StoreError | vault.VaultError):
            raise Stop(f"{file}: {error}. Nothing was restored.") from error
        if isinstance(error, OSError):
            raise Stop(f"{error.filename or file}: {error.strerror}. Nothing was restored.", 2) from error
        raise
    custody.give_to_owner(folder)
    if json:
        output.json_lines([row])
        return
    for line in _said(row):
        output.write(line)


def _away(folder: FilePath, existed: bool) -> None:
    """Removes what was restored so far; the folder was empty, or not there."""
    with contextlib.suppress(OSError):
        for place in folder.iterdir():
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink()
        if not existed:
            folder.rmdir()


def _into(folder: FilePath, reader: Any, resume: bool, accept_bad_log: bool) -> dict[str, Any]:
    from gateway.keeper import backup_set
    from gateway.stores.sqlite import copying, restoring

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    described, signer = backup_set.read(reader, lambda manifest: _places(folder, manifest))
    about = {"to": str(folder), "taken": described["taken"], "hostname": described["hostname"], "signed_by": signer}
    if described["format"] == backup_set.NODE:
        if resume:
            raise Stop("--resume is for a backup with a store; the deliveries are in the database. Nothing was restored.", 2)
        lacking, before = _keys(folder, described, described["store"]["keys_needed"] or [])
        _sync(folder)
        return about | _rest(folder, described, lacking, before) | {"url": described["store"]["url"]}
    half = folder / _HALF
    found = copying.contents(half)
    if any(found[name] != described["store"][name] for name in ("deliveries", "holds", "rows", "chains")):
        raise Stop("the store in the backup does not hold what its manifest says. Nothing was restored.")
    now = time.time()
    done = restoring.prepare(half, described["taken"], now, resume=resume)  # an older format is this code's from here on
    verdict = _verify(folder, half)
    if verdict is not None and not accept_bad_log:
        raise Stop(
            f"the decision log in the backup does not verify ({verdict}). Nothing was restored; --accept-bad-log restores it all the same"
        )
    lacking, before = _keys(folder, described, found["keys_needed"])
    _sync(folder)
    half.rename(folder / _STORE)
    custody.write_event(
        _config(folder), "store-restored", "from a backup", taken=described["taken_utc"], hostname=described["hostname"],
        chain_before=before, deliveries=done["deliveries"], resumed=resume, log="does not verify" if verdict else "verifies",
    )  # fmt: skip
    return about | done | _rest(folder, described, lacking, before) | {"log": verdict or "ok"}


def _keys(folder: FilePath, described: dict[str, Any], needed: list[str]) -> tuple[list[str], str]:
    """Makes the restored keys ready: the current one is found wherever it lay, the chain's name is put out of use, since the node that
    was lost may still write on it. Which of the *needed* vault keys are not there, and the name of the chain before."""
    from gateway.vault import vault

    _current_key(folder, described)
    try:
        the_vault, made = vault.load(_config(folder))
        lacking = sorted(set(needed) - the_vault.ids)
    except vault.VaultError:
        lacking, made = needed, False
    if made:
        (folder / "keys" / "vault.key").unlink()  # a key that nobody asked for; the right one has to come from paper
        lacking = needed
    chain = folder / "keys" / "audit-chain"
    before = chain.read_text("ascii", "replace").strip() if chain.exists() else ""
    if chain.exists():
        chain.rename(chain.with_name(f"audit-chain.{time.time_ns()}"))
    return lacking, before


def _rest(folder: FilePath, described: dict[str, Any], lacking: list[str], before: str) -> dict[str, Any]:
    """What is said of every backup that was restored."""
    places = {entry["name"]: entry["path"] for entry in described["files"] if entry["name"].startswith(("files/", "config/"))}
    return {
        "keys_lacking": lacking, "missing": described["missing"], "chain_before": before,
        "files": [{"now": str(_place(folder, name)), "before": path} for name, path in places.items() if path],
    }  # fmt: skip


def _config(folder: FilePath) -> Any:
    from gateway.config import Config

    return Config(state_dir=folder)


def _place(folder: FilePath, name: str) -> FilePath:
    """Where the file *name* of a backup goes."""
    if name == "store/gateway.db":
        return folder / _HALF
    if name.startswith(("keys/", "log/")):
        return folder / name
    return folder / _APART / name


def _places(folder: FilePath, _: dict[str, Any]) -> Callable[[str], IO[bytes]]:
    def take(name: str) -> IO[bytes]:
        path = _place(folder, name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        return os.fdopen(descriptor, "wb")

    return take


def _verify(folder: FilePath, store: FilePath) -> str | None:
    """Why the decision log does not verify; None when it does."""
    import asyncio

    from gateway.audit import audit
    from gateway.stores.sqlite.store import SqliteStore

    async def verify() -> str | None:
        reader = SqliteStore(store, read_only=True)
        await reader.open()
        try:
            key = folder / "keys" / "audit-signing.pem"
            public = [audit.read_signer(key).public] if key.exists() else []
            result = await audit.verify(reader, public, audit.heads_in(folder / "log" / "audit-heads.jsonl"))
        finally:
            await reader.close()
        return None if result.bad is None else result.text

    return asyncio.run(verify())


def _current_key(folder: FilePath, described: dict[str, Any]) -> None:
    """A vault key that lay elsewhere comes into the state folder too, so that the store can be read wherever the config points."""
    from gateway.vault import vault

    place = described["vault_key_file"]
    entry = next((one["name"] for one in described["files"] if place and one["path"] == place), "")
    if entry and not (folder / "keys" / "vault.key").exists():
        vault.make_key_file(folder / "keys" / "vault.key", _place(folder, entry).read_bytes())


def _sync(folder: FilePath) -> None:
    """Everything that was restored is on the disk before the store gets its name."""
    from gateway.stores.sqlite import connection

    for place in (*folder.rglob("*"), folder):
        if place.is_dir():
            connection.sync_folder(place)
        else:
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _said(row: dict[str, Any]) -> list[str]:
    lines = [f"{row['to']}: restored from the backup of {output.when(row['taken'])} ({row['hostname']}), signed by {row['signed_by']}."]
    if "url" in row:
        lines.append(f"The mail is in {row['url']}: where that was lost, put it back first, with the tools that have backed it up.")
    else:
        lines += _said_of_store(row)
    lines += [f"The vault key {key} is not there; put it back from paper: gateway keys recover" for key in row["keys_lacking"]]
    lines += [f"not in the backup: {sentence}" for sentence in row["missing"]]
    for file in row["files"]:
        lines.append(f"{file['before']} is now {file['now']}; put it in its place.")
    lines.append(f'Set state_dir = "{row["to"]}" in the config, give the folder to the gateway\'s user, and start.')
    return lines


def _said_of_store(row: dict[str, Any]) -> list[str]:
    lines = []
    if row["format_before"] != row["format"]:
        lines.append(f"The store went from format {row['format_before']} to {row['format']}.")
    if row["resumed"]:
        lines.append(f"{row['deliveries']} deliveries go at the next start; those that were made after the backup are sent twice.")
    elif row["deliveries"]:
        lines.append(
            f"{row['deliveries']} deliveries are on hold: they may have been made after the backup was taken. Look at the log of the"
        )
        lines.append(
            "gateway that was lost (gateway queue list, gateway queue show ID), then: gateway queue unhold ID … or --all; or bounce."
        )
    lines.append(
        f"{row['held']} held messages wait as before, with the time that has passed since given back; some may have been decided since."
    )
    if row["copies"]:
        lines.append(f"{row['copies']} journal copies wait; each is looked for in its archive before it is filed there.")
    if row["log"] != "ok":
        lines.append(f"The decision log does not verify: {row['log']}")
    return lines


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("restore")(_restore)
