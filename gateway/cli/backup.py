"""``gateway backup``: a sealed, verified copy of store, keys, config and rules, while mail goes on.

A store in PostgreSQL is left to its own tools: the backup is then of what lies on this node alone.

Who calls it: administrators; the timer gateway-backup.timer.
Must never: leave a copy of the store behind; call a file a backup that was not read again to its end; write over a file.
Sources: docs/design.md section 10; hostile-inputs catalogue O23.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import custody, output
from gateway.cli.options import ConfigFile, Json, Stop, config_path, load_config

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.vault.sealed_file import Opener

_PATIENCE = 6 * 3600.0  # seconds for the keeper's copy
ENDING = ".gwbackup"
_OF_THE_STORE = ("format", "deliveries", "holds", "chains", "url", "keys_needed")
KeyFile = Annotated[str, typer.Option("--key", help="PEM private key of the certificate that it was sealed to.", metavar="FILE")]
PassphraseFile = Annotated[str, typer.Option("--passphrase-file", help="Passphrase of the backup, or of --key.", metavar="FILE")]


def _backup(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="New file; or a folder, in which it gets a name with the time.", metavar="FILE")],
    certificate: Annotated[str, typer.Option("--certificate", help="Seal to this PEM certificate.", metavar="FILE")] = "",
    passphrase_file: PassphraseFile = "",
    verify: Annotated[bool, typer.Option("--verify", help="Make nothing; check the backup FILE to its end.")] = False,
    key: KeyFile = "",
    keep: Annotated[int, typer.Option("--keep", min=0, help="In a folder: remove all but the N newest.", metavar="N")] = 0,
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Make a sealed backup while the gateway runs, and read it again to its end; or check one with --verify."""
    target = FilePath(file).absolute()
    if verify:
        row = check(target, key, passphrase_file)
    else:
        path = config_path(context, config)
        loaded = load_config(path)
        folder = target if target.is_dir() else None
        if folder is not None:
            target = folder / f"gateway-{loaded.hostname}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{ENDING}"
        row = make(loaded, path, target, certificate, passphrase_file)
        if folder is not None and keep:
            row["removed"] = _thin(folder, loaded.hostname, keep)
    if json:
        output.json_lines([row])
        return
    output.write(row["text"])
    for sentence in row.get("missing", ()):
        output.write(f"not in it: {sentence}")


def _thin(folder: FilePath, hostname: str, keep: int) -> list[str]:
    """Removes all but the *keep* newest backups of this gateway from *folder*."""
    old = sorted(folder.glob(f"gateway-{hostname}-*{ENDING}"))[:-keep]
    for file in old:
        file.unlink()
    return [file.name for file in old]


# --- making -----------------------------------------------------------------------------------------------------------


def make(config: Config, path: FilePath, target: FilePath, certificate: str, passphrase_file: str) -> dict[str, Any]:
    """Writes the backup *target* and reads it again. Ends the command when it is not good to its end."""
    from gateway.audit import audit
    from gateway.keeper import backup, backup_set
    from gateway.stores.base import StoreError
    from gateway.vault import sealed_file, vault

    if target.exists():
        raise Stop(f"{target} is there already; nothing was written")
    data_key = os.urandom(32)
    half = target.with_name(f".{target.name}.part")
    began = time.monotonic()
    try:
        entry = _seal(config, certificate, passphrase_file, data_key)
        with _ending_politely(), _copy(config, path) as (copy, store):
            taken = time.time()
            items, missing = backup_set.collect(config, path, copy, store)
            missing += _keys_missing(config, store)
            described = backup_set.manifest(config, items, missing, store, taken)
            half.unlink(missing_ok=True)
            descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    writer = sealed_file.Writer(file, data_key, entry)
                    backup_set.write(writer, described, items, audit.read_signer(config.state_dir / "keys" / "audit-signing.pem"))
                    file.flush()
                    os.fsync(file.fileno())
                # Read again from the disk, to the end, with the key that is still at hand: structure, every tag, every hash.
                again, signer = _read(half, lambda _: data_key)
                if again != described:
                    raise Stop(f"{target}: what was read again is not what was written; try another disk")
                os.link(half, target)
            finally:
                half.unlink(missing_ok=True)
            _sync_folder(target.parent)
            backup.mark(config.state_dir).touch()
            custody.give_to_owner(config.state_dir)
    except (sealed_file.SealedFileError, vault.VaultError, StoreError) as error:
        raise Stop(f"{target}: {error}") from error
    except OSError as error:
        raise Stop(f"{error.filename or target}: {error.strerror}") from error
    seconds = round(time.monotonic() - began, 2)
    return _row(target, described, signer, entry) | {
        "seconds": seconds,
        "text": f"{target}: {_counts(described)}; written in {seconds} s, read again to its end and good. Sealed {_sealed(entry)}.",
    }


def _seal(config: Config, certificate: str, passphrase_file: str, data_key: bytes) -> dict[str, Any]:
    from cryptography import x509

    from gateway.cli import keys_officer
    from gateway.vault import sealed_file

    if certificate and passphrase_file:
        raise Stop("--certificate and --passphrase-file: one of them", 2)
    if passphrase_file:
        return sealed_file.to_passphrase(custody.passphrase(passphrase_file, twice=True, what="Passphrase of the backup"), data_key)
    place = FilePath(certificate) if certificate else config.backup.certificate
    if place is None:
        raise Stop(
            "a backup is sealed: name --certificate FILE or --passphrase-file FILE, or [backup] certificate in the config"
            " (gateway keys security-officer --for backup makes one)", 2,
        )  # fmt: skip
    keys_officer.examine(place)
    return sealed_file.to_certificate(x509.load_pem_x509_certificate(place.read_bytes()), data_key)


@contextlib.contextmanager
def _copy(config: Config, path: FilePath) -> Iterator[tuple[FilePath | None, dict[str, Any]]]:
    """The store's copy and what is in it; removed at the end, whatever happens. None where the store is a database of many nodes."""
    from gateway import requests
    from gateway.cli.link import rows
    from gateway.envelope import new_id
    from gateway.keeper import backup
    from gateway.stores import locking
    from gateway.stores.sqlite import copying

    if config.store.shared:
        yield None, _elsewhere(config, path)
        return
    store = config.state_dir / "gateway.db"
    if not store.exists():
        raise Stop(f"{store}: there is no store to back up")
    copy = backup.work_folder(config.state_dir) / f"{new_id()}.db"
    try:
        if custody.running(config):
            yield copy, rows(config, path, requests.MakeBackup(str(copy)), patience=_PATIENCE)[0]
            return
        copy.parent.mkdir(mode=0o700, exist_ok=True)
        lock = locking.take_lock(store.with_suffix(".lock"))
        try:
            copying.copy(store, copy, copying.Pace(1.0))
            yield copy, {**copying.contents(copy), "size": copy.stat().st_size, "sha256": copying.digest_of(copy)}
        finally:
            os.close(lock)
    finally:
        copy.unlink(missing_ok=True)
        custody.give_to_owner(config.state_dir)


def _elsewhere(config: Config, path: FilePath) -> dict[str, Any]:
    """Which database it is that others back up, and which vault keys it needs; None for these where it cannot be asked: that it is
    away must not keep anybody from saving the keys."""
    import asyncio

    from gateway import requests
    from gateway.cli import reading
    from gateway.cli.link import rows
    from gateway.stores.base import StoreError

    async def needed() -> list[str]:
        async with reading.kept(config) as store:
            return [] if store is None else sorted(await store.bodies_by_key())

    found: dict[str, Any] = {"url": config.store.url, "keys_needed": None}
    try:
        running = custody.running(config)
        return found | (rows(config, path, requests.MakeBackup(""))[0] if running else {"keys_needed": asyncio.run(needed())})
    except (StoreError, Stop):
        return found


def _keys_missing(config: Config, store: dict[str, Any]) -> list[str]:
    """A sentence for each vault key that mail in the database needs and that is not on this node."""
    from gateway.vault import vault

    if not config.store.shared:
        return []
    if store["keys_needed"] is None:
        return ["whether all vault keys are here that the database needs: it could not be asked"]
    try:
        here = vault.load(config)[0].ids
    except vault.VaultError as error:
        return [] if config.vault.credential else [str(error)]
    return [f"vault key {key}, which mail in the database needs: it is on another node" for key in store["keys_needed"] if key not in here]


@contextlib.contextmanager
def _ending_politely() -> Iterator[None]:
    """SIGTERM and SIGHUP end this command so that it removes what it has begun."""

    def end(number: int, _: object) -> None:
        raise Stop(f"ended by {signal.Signals(number).name}; nothing was written")

    before = {}
    with contextlib.suppress(ValueError):  # not in the main thread
        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sync_folder(folder: FilePath) -> None:
    from gateway.stores.sqlite import connection

    with contextlib.suppress(OSError):
        connection.sync_folder(folder)


# --- checking ---------------------------------------------------------------------------------------------------------


def opener(key: str, passphrase_file: str) -> Opener | None:
    """What opens a backup; None where neither was named. Ends the command when a file cannot be read."""
    from gateway.vault import sealed_file, vault

    if key:
        try:
            pem = vault.read_secret(FilePath(key))
        except vault.VaultError as error:
            raise Stop(str(error), 2) from error
        phrase = None
        if b"ENCRYPTED" in pem:
            phrase = custody.passphrase(passphrase_file, twice=False, what="Passphrase of the private key")
        return sealed_file.by_private_key(pem, phrase)
    if passphrase_file:
        return sealed_file.by_passphrase(custody.passphrase(passphrase_file, twice=False, what="Passphrase of the backup"))
    return None


def _read(file: FilePath, key: Opener) -> tuple[dict[str, Any], str]:
    from gateway.keeper import backup_set
    from gateway.vault import sealed_file

    stream, reader = sealed_file.open_file(file, key)
    with stream:
        return backup_set.read(reader, lambda _: lambda __: None)


def check(file: FilePath, key: str, passphrase_file: str) -> dict[str, Any]:
    """Reads the backup *file* to its end: with its key every tag, hash and signature; without, its shape and its hash."""
    from gateway.vault import sealed_file

    opened = opener(key, passphrase_file)
    try:
        if opened is None:
            with file.open("rb") as stream:
                entry = sealed_file.examine(stream)
            text = f"{file}: whole, by its hash. Sealed {_sealed(entry)}; what is inside is checked with --key or --passphrase-file."
            return {"file": str(file), "ok": True, "opened": False, "sealed": _sealed(entry), "text": text}
        described, signer = _read(file, opened)
    except sealed_file.SealedFileError as error:
        raise Stop(f"{file}: {error}") from error
    except OSError as error:
        raise Stop(f"{file}: {error.strerror}", 2) from error
    text = f"{file}: good to its end. {_counts(described)}, taken {described['taken_utc']} on {described['hostname']}; signed by {signer}."
    return _row(file, described, signer, {}) | {"ok": True, "opened": True, "text": text}


def _row(file: FilePath, described: dict[str, Any], signer: str, entry: dict[str, Any]) -> dict[str, Any]:
    store = described["store"]
    return {
        "file": str(file), "size": file.stat().st_size, "taken": described["taken"], "hostname": described["hostname"],
        "gateway": described["gateway"], **{name: store[name] for name in _OF_THE_STORE if name in store},
        "files": len(described["files"]), "signed_by": signer, "sealed": _sealed(entry) if entry else "", "missing": described["missing"],
    }  # fmt: skip


def _counts(described: dict[str, Any]) -> str:
    store = described["store"]
    if "url" in store:
        return f"{len(described['files'])} files: keys, config and rules, without the mail, which is in {store['url']}"
    going = sum(count for state, count in store["deliveries"].items() if state in ("scheduled", "leased", "deferred", "on-hold"))
    held = sum(count for state, count in store["holds"].items() if state in ("held", "requested", "approved"))
    return f"{going} deliveries under way, {held} held, {store['rows']['audit']} rows of the log, {len(described['files'])} files"


def _sealed(entry: dict[str, Any]) -> str:
    return "with a passphrase" if entry["kind"] == "passphrase" else f"to the certificate {entry['sha256'][:16]}"


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("backup")(_backup)
