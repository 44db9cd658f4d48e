"""``gateway keys`` for the vault: rotation, retiring, escrow and recovery.

Who calls it: ``keys``.
Must never: print a key but in ``escrow`` and ``generate``; remove a key that a row needs; write over a key that is not kept first.
Sources: NIST SP 800-57 part 1; systemd-creds(1); hostile-inputs catalogue O22.
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import custody, keys_staged, output
from gateway.cli.options import ConfigFile, Json, Stop, config_path, load_config

if TYPE_CHECKING:
    from gateway.config import Config

ESCROW_RECORD = "escrow.jsonl"
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.", metavar="TEXT")]


def folder(config: Config) -> FilePath:
    """Where the keys lie that the config names no place for."""
    return config.state_dir / "keys"


def _tell(config: Config, path: FilePath) -> dict[str, Any] | None:
    """Lets a running keeper read its keys anew; its answer, None where none runs."""
    from gateway import requests
    from gateway.cli.link import rows

    if not custody.running(config):
        return None
    return rows(config, path, requests.RotateVault())[0]


# --- rotation ---------------------------------------------------------------------------------------------------------


def _rotate(
    context: typer.Context,
    lost: Annotated[bool, typer.Option("--lost", help="The current key is lost: go on without what it sealed.")] = False,
    prepare: Annotated[bool, typer.Option("--prepare", help="Many nodes, first: make a key that opens and does not seal.")] = False,
    to: Annotated[str, typer.Option("--to", help="Many nodes, then on each: seal with this key.", metavar="ID")] = "",
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Make a new vault key; old mail stays readable, and a running gateway uses the new key at once."""
    from gateway.vault import vault

    path = config_path(context, config)
    loaded = load_config(path)
    if loaded.vault.credential:
        for line in _credential_steps(loaded.vault.credential, shared=loaded.store.shared):
            output.write(line)
        return
    if sum((lost, prepare, bool(to))) > 1:
        raise Stop("--lost, --prepare and --to: one of them", 2)
    if loaded.store.shared and not (lost or prepare or to):
        raise Stop(keys_staged.WHY)
    try:
        place = vault.current_place(loaded)
        if prepare:
            new, file = keys_staged.prepare(loaded, place)
            _prepared(loaded, path, new, file, json)
            return
        before, new = (keys_staged.change(loaded, place, to), to) if to else _put_new(loaded, place, lost)
    except (vault.VaultError, OSError) as error:
        raise Stop(str(error)) from error
    if not before:
        custody.act(loaded, path, "key-lost", "", f"the key in {place} was lost; a new one was made")
    told = _tell(loaded, path)
    row = {"key": new, "before": before, "place": str(place), "running": told is not None}
    if json:
        output.json_lines([row])
        return
    output.write(f"New vault key {new} in {place}.")
    if before:
        output.write(f"The old key {before} stays readable as {folder(loaded) / f'vault-{before}.key'}.")
        output.write("Its data keys are wrapped anew in the background; when that is done: gateway keys retire " + before)
    output.write("The running gateway uses it now." if told else "The gateway does not run; it uses the key from its next start on.")
    if not to:
        output.write("Print it for the safe, once: gateway keys escrow")


def _prepared(config: Config, path: FilePath, new: str, file: FilePath, json: bool) -> None:
    told = _tell(config, path)
    if json:
        output.json_lines([{"key": new, "place": str(file), "running": told is not None, "seals": False}])
        return
    for line in keys_staged.said_of_prepared(config, new, file):
        output.write(line)


def _put_new(config: Config, place: FilePath, lost: bool) -> tuple[str, str]:
    """Puts a new key in *place*; the ids of the old one (empty: lost) and of the new one. Raises VaultError, OSError."""
    from gateway.vault import vault

    text = vault.new_key_text()
    new = vault.key_id(bytes.fromhex(text.decode("ascii")))
    if not place.exists():
        if not lost:
            raise Stop(f"{place} is missing. Put it back (gateway keys recover), or go on without what it sealed: --lost")
        vault.make_key_file(place, text)
        return "", new
    if lost:
        raise Stop(f"{place} is there; --lost is for a key that is gone", 2)
    old = vault.read_key(place)
    before = vault.key_id(old)
    # In this order: whenever it is broken off, every key that ever sealed something is there.
    vault.pin_evidence(config, old)
    with contextlib.suppress(FileExistsError):
        vault.make_key_file(folder(config) / f"vault-{before}.key", old.hex().encode() + b"\n")
    vault.replace_key_file(place, text)
    return before, new


def _credential_steps(name: str, *, shared: bool) -> list[str]:
    """What an administrator runs where the key is a systemd credential: this command can neither read nor write it."""
    store = f"/etc/credstore.encrypted/{name}"
    older = f"{name}-{time.strftime('%Y%m%d')}"
    first = [
        f"Many nodes share this store. First give the new key to each as the credential {name}-next, encrypted there, with its line",
        f"LoadCredentialEncrypted={name}-next, and restart gateway-keeper on each: all can open with it. Then, on each, the steps below",
        "with that key instead of a generated one.",
        "",
    ]
    return [
        *(first if shared else []),
        "The vault key is a systemd credential: only systemd can open it. Run as root, in this order:",
        "",
        f"  systemd-creds decrypt --name={name} {store} - | systemd-creds encrypt --name={older} - /etc/credstore.encrypted/{older}",
        f"  gateway keys generate | systemd-creds encrypt --name={name} - {store}.new",
        f"  systemd-creds decrypt --name={name} {store}.new - | gateway keys escrow --from -",
        f"  mv {store}.new {store}",
        f"  systemctl edit gateway-keeper      # add, under [Service]:  LoadCredentialEncrypted={older}",
        "  systemctl restart gateway-keeper   # other mail servers try again; nothing is lost",
        "",
        "The old key is readable by its credential's name, which begins with that of the current one and a hyphen.",
    ]


def _generate() -> None:
    """A new vault key on stdout, for a pipe into systemd-creds; never to a terminal."""
    from gateway.vault import vault

    if sys.stdout.isatty():
        raise Stop("a key is not shown on a terminal; pipe it: gateway keys generate | systemd-creds encrypt --name=vault-key - FILE", 2)
    sys.stdout.write(vault.new_key_text().decode("ascii"))


# --- retiring ---------------------------------------------------------------------------------------------------------


def _retire(
    context: typer.Context,
    id: Annotated[str, typer.Argument(help="The id of an older vault key.", metavar="ID")],
    config: ConfigFile = "",
) -> None:
    """Remove an older vault key that nothing in the store needs any more."""
    from gateway.vault import vault

    path = config_path(context, config)
    loaded = load_config(path)
    try:
        if not loaded.vault.credential and vault.key_id(vault.read_key(vault.current_place(loaded))) == id:
            raise Stop(f"{id} is the current vault key; make a new one first: gateway keys rotate-vault")
    except vault.VaultError as error:
        raise Stop(str(error)) from error
    files = [file for file in sorted(folder(loaded).glob("vault-*.key")) if _id_of(file) == id]
    if not files:
        raise Stop(f"{id} is not an older vault key in {folder(loaded)}; see: gateway keys list")
    _tell(loaded, path)  # from now on nobody seals with it, whatever was said before
    bodies, fields = _needing(loaded, id)
    if bodies or fields:
        raise Stop(
            f"{bodies} bodies and {fields} sealed rows (subjects, remarks, secrets of codes) in the store need the key {id}. The running"
            " keeper wraps their keys anew in the background; ask again in a while"
        )
    for file in files:
        file.unlink()
    _tell(loaded, path)
    custody.act(loaded, path, "key-retired", id)
    output.write(f"The key {id} is gone. Backups made before still need it: keep its paper as long as them.")


def _id_of(file: FilePath) -> str:
    from gateway.vault import vault

    try:
        return vault.key_id(vault.read_key(file))
    except vault.VaultError:
        return ""


def _needing(config: Config, id: str) -> tuple[int, int]:
    """How many bodies and how many sealed rows of messages, remarks and people cannot be opened without the key *id*."""
    import asyncio

    from gateway.cli import reading
    from gateway.stores.base import StoreError
    from gateway.vault import vault

    async def count() -> tuple[int, int]:
        async with reading.kept(config) as store:
            return (0, 0) if store is None else await store.needing_key(id, vault.field_prefix(id))

    try:
        return asyncio.run(count())
    except StoreError as error:
        raise Stop(str(error)) from error


# --- escrow and recovery ----------------------------------------------------------------------------------------------


def printed(config: Config) -> dict[str, list[dict[str, Any]]]:
    """Key id to the times at which the key was printed."""
    import json

    record = folder(config) / ESCROW_RECORD
    found: dict[str, list[dict[str, Any]]] = {}
    if record.exists():
        for line in record.read_text("utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                found.setdefault(str(row["key"]), []).append(row)
    return found


def print_escrow(config: Config, path: FilePath, key: bytes, *, again: bool = False, reason: str = "") -> None:
    """Prints *key* for paper, once; recorded before it is shown. Ends the command when it was printed before."""
    import json
    import os

    from gateway.audit import export
    from gateway.keeper.accounts import system_name
    from gateway.vault import escrow, vault

    id = vault.key_id(key)
    before = printed(config).get(id, [])
    if before and not (again and reason.strip()):
        when = output.when(before[-1].get("time"))
        raise Stop(f"the key {id} was printed on {when} by {before[-1].get('user')}; to print it again, say --again and --reason TEXT")
    custody.act(config, path, "key-escrow-printed", id, reason.strip())
    row = {"key": id, "time": round(time.time(), 3), "user": system_name(os.getuid()), "reason": reason.strip()}
    export.append_synced(folder(config) / ESCROW_RECORD, json.dumps(row).encode())
    custody.give_to_owner(folder(config))
    output.write(f"Vault key of {config.hostname}")
    output.write(f"key id  {id}")
    output.write(f"printed {output.when(row['time'])} by {row['user']}")
    output.write("")
    for line in escrow.lines(key):
        output.write("  " + line)
    output.write("")
    output.write("Who has this paper and a copy of the store can read all held and queued mail. Keep it in a safe, apart from the backups.")
    output.write("Put it back with: gateway keys recover")


def _escrow(
    context: typer.Context,
    source: Annotated[str, typer.Option("--from", help="File with the key (- for stdin), where systemd keeps it.", metavar="FILE")] = "",
    id: Annotated[str, typer.Option("--id", help="An older key instead of the current one.", metavar="ID")] = "",
    again: Annotated[bool, typer.Option("--again", help="It was printed before; needs --reason.")] = False,
    reason: Reason = "",
    config: ConfigFile = "",
) -> None:
    """Print the vault key for paper, once: groups with check characters, and the key's id."""
    from gateway.vault import vault

    path = config_path(context, config)
    loaded = load_config(path)
    try:
        if source == "-":
            key = _key_of_text(sys.stdin.read())
        elif source:
            key = vault.read_key(FilePath(source))
        elif id:
            older = [file for file in folder(loaded).glob("vault-*.key") if _id_of(file) == id]
            if not older:
                raise Stop(f"{id} is not an older vault key in {folder(loaded)}; see: gateway keys list")
            key = vault.read_key(older[0])
        elif loaded.vault.credential:
            raise Stop(
                "the vault key is a systemd credential; as root: systemd-creds decrypt --name="
                f"{loaded.vault.credential} /etc/credstore.encrypted/{loaded.vault.credential} - | gateway keys escrow --from -", 2,
            )  # fmt: skip
        else:
            key = vault.read_key(vault.current_place(loaded))
    except vault.VaultError as error:
        raise Stop(str(error)) from error
    print_escrow(loaded, path, key, again=again, reason=reason)


def _key_of_text(text: str) -> bytes:
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise Stop("stdin is not a vault key: 64 hexadecimal digits are needed", 2)
    return key


def _recover(
    context: typer.Context,
    source: Annotated[str, typer.Option("--from", help="File with the groups; default: typed on stdin.", metavar="FILE")] = "",
    id: Annotated[str, typer.Option("--id", help="The key id on the paper, to be sure.", metavar="ID")] = "",
    config: ConfigFile = "",
) -> None:
    """Put a key back that was printed for escrow: 13 groups, of which a wrong one is named."""
    from gateway.vault import escrow, vault

    path = config_path(context, config)
    loaded = load_config(path)
    if not source and sys.stdin.isatty():
        output.write("Type the 13 groups, with or without their numbers; end with an empty line.", sys.stderr)
    text = FilePath(source).read_text("utf-8", "replace") if source else _typed()
    try:
        key = escrow.read(text)
    except escrow.EscrowError as error:
        raise Stop(f"{error}. Nothing was changed.") from error
    found = vault.key_id(key)
    if id and found != id.strip().lower():
        raise Stop(f"these groups are the key {found}, not {id}. Nothing was changed.")
    data = key.hex().encode() + b"\n"
    try:
        place = folder(loaded) / f"vault-{found}.key"
        if not loaded.vault.credential and not vault.current_place(loaded).exists():
            place = vault.current_place(loaded)
        elif not loaded.vault.credential and _id_of(vault.current_place(loaded)) == found:
            raise Stop(f"the key {found} is there already, as the current one: {vault.current_place(loaded)}", 0)
        vault.make_key_file(place, data)
    except FileExistsError as error:
        raise Stop(f"the key {found} is there already: {place}", 0) from error
    except vault.VaultError as error:
        raise Stop(str(error)) from error
    _tell(loaded, path)
    custody.act(loaded, path, "key-recovered", found)
    bodies, fields = _needing(loaded, found)
    output.write(
        f"The key {found} is back as {place}; {bodies} bodies and {fields} sealed rows (subjects, remarks, secrets of codes)"
        " in the store are sealed with it."
    )


def _typed() -> str:
    lines: list[str] = []
    for line in sys.stdin:
        if not line.strip() and lines:
            break
        lines.append(line)
    return " ".join(lines)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command("rotate-vault")(_rotate)
    app.command("retire")(_retire)
    app.command("escrow")(_escrow)
    app.command("recover")(_recover)
    app.command("generate", hidden=True)(_generate)
