"""``gateway keys``: the keys of one gateway.

Who calls it: administrators.
Must never: print a private key (``escrow`` prints the vault key, once, on purpose); replace a key that is there.
Sources: docs/design.md section 10; RFC 6376 section 3.6.1 (the DNS record), RFC 8301 (RSA-2048).
"""

from __future__ import annotations

import stat
import time
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import keys_dkim, keys_officer, keys_vault, output
from gateway.cli.keys_dkim import dns_record, make_key, zone_lines
from gateway.cli.options import ConfigFile, Json, Stop, config_path, load_config

if TYPE_CHECKING:
    from gateway.config import Config

__all__ = ["commands", "dns_record", "listed", "make", "zone_lines"]

COLUMNS = [
    ("key", "key"),
    ("id", "id"),
    ("purpose", "purpose"),
    ("days", "days old"),
    ("mode", "mode"),
    ("place", "place"),
    ("note", "note"),
]


def _has_bodies(config: Config) -> bool:
    """Whether there is a store that needs its vault key: any embedded one; one that many nodes share when another has used it."""
    if not config.store.shared:
        return (config.state_dir / "gateway.db").exists()
    import asyncio

    from gateway.cli import reading
    from gateway.stores.base import StoreError

    async def look() -> bool:
        async with reading.kept(config) as store:
            return store is not None and bool(await store.bodies_by_key())

    try:
        return asyncio.run(look())
    except StoreError as error:
        raise Stop(f"whether the store has mail under another vault key cannot be seen: {error}") from error


def make(config: Config) -> list[dict[str, Any]]:
    """Makes the keys that *config* names and that are not there; one row each, with DNS records for DKIM."""
    from gateway import supervisor
    from gateway.audit import audit
    from gateway.vault import vault

    supervisor.prepare(config)
    rows: list[dict[str, Any]] = []

    def note(kind: str, place: object, made: bool, **more: Any) -> None:
        rows.append({"key": kind, "place": str(place), "made": made, **more})

    file = config.vault.key_file
    if file is not None and not str(file).startswith("credential:") and not file.exists():
        if _has_bodies(config):
            raise Stop(f"{file} is missing and there is a store that needs it; put the key back from your backup")
        vault.make_key_file(file, vault.new_key_text())
        note("vault", file, True)
    elif config.vault.credential:
        note("vault", f"systemd credential {config.vault.credential}", False)
    else:
        _, made = vault.load(config)
        note("vault", file or config.state_dir / "keys" / "vault.key", made)
    chain = config.state_dir / "keys" / "audit-signing.pem"
    made = not chain.exists()
    audit.load(config)
    note("audit chain", chain, made)
    for entry in config.dkim:
        if str(entry.key_file).startswith("credential:"):
            note("dkim", entry.key_file, False)
            continue
        made = not entry.key_file.exists()
        if made:
            make_key(entry.key_file)
        note("dkim", entry.key_file, made, name=f"{entry.selector}._domainkey.{entry.domain}", record=dns_record(entry.key_file))
    return rows


def _init(
    context: typer.Context,
    escrow: Annotated[bool, typer.Option("--escrow", help="Print the vault key for paper too, once.")] = False,
    json: Json = False,
    config: ConfigFile = "",
) -> None:
    """Make the vault key, the keys of the decision log and the DKIM keys where they are missing; print the DNS records."""
    from gateway.cli import custody
    from gateway.supervisor import CannotRun
    from gateway.vault import vault

    path = config_path(context, config)
    loaded = load_config(path)
    try:
        rows = make(loaded)
    except (vault.VaultError, CannotRun) as error:
        raise Stop(str(error)) from error
    finally:
        custody.give_to_owner(loaded.state_dir)
    if json:
        output.json_lines(rows)
        return
    for row in rows:
        output.write(f"{'made' if row['made'] else 'there'}  {row['key']}: {row['place']}")
    for row in rows:
        if "record" in row:
            output.write("\nPublish in DNS:")
            for line in zone_lines(row["name"], row["record"]):
                output.write(line)
    if escrow and not loaded.vault.credential:
        output.write("")
        keys_vault.print_escrow(loaded, path, vault.read_key(vault.current_place(loaded)))
    else:
        output.write("\nKeep a copy of the vault key apart from the store: without it no held or queued message can be read.")
        output.write("For paper, once: gateway keys escrow")


# --- the list ---------------------------------------------------------------------------------------------------------


def listed(config: Config) -> list[dict[str, Any]]:
    """One row a key: kind, id, purpose, age in days, mode, place, and what is to say about it. Never the key."""
    from gateway.audit import audit
    from gateway.vault import vault

    rows: list[dict[str, Any]] = []
    printed = keys_vault.printed(config)
    folder = config.state_dir / "keys"

    def row(kind: str, place: FilePath, purpose: str, identify: Any, note: str = "") -> None:
        if str(place).startswith("credential:"):
            rows.append(
                {"key": kind, "id": "", "purpose": purpose, "days": None, "mode": "", "place": str(place), "note": "systemd keeps it"}
            )
            return
        made: dict[str, Any] = {"key": kind, "id": "", "purpose": purpose, "days": None, "mode": "", "place": str(place), "note": note}
        try:
            found = place.stat()
            made |= {"days": int((time.time() - found.st_mtime) / 86400), "mode": f"{stat.S_IMODE(found.st_mode):04o}"}
            made["id"] = identify(place)
            if kind == "vault" and made["id"] not in printed:
                made["note"] = "; ".join(filter(None, (note, "not printed for escrow")))
        except FileNotFoundError:
            made["note"] = "missing"
        except (OSError, ValueError, vault.VaultError, Stop) as error:
            made["note"] = str(getattr(error, "strerror", None) or error)
        rows.append(made)

    def vault_id(place: FilePath) -> str:
        return vault.key_id(vault.read_key(place))

    if config.vault.credential:
        row("vault", FilePath(f"credential:{config.vault.credential}"), "seals mail at rest", vault_id)
    else:
        row("vault", vault.current_place(config), "seals mail at rest", vault_id, "current")
    for place in sorted(folder.glob("vault-*.key")):
        ahead = place.name.startswith(f"vault-{vault.NEXT}-")
        row("vault", place, "opens mail of other nodes" if ahead else "opens older mail", vault_id, "next" if ahead else "older")
    if (folder / vault.EVIDENCE).exists():
        row("evidence", folder / vault.EVIDENCE, "hashes marked words and correspondents", lambda _: "")
    row("audit", folder / "audit-signing.pem", "signs the heads of the decision log", lambda place: audit.read_signer(place).key_id)
    for domain, selector, place, used in keys_dkim.keys_of(config):
        note = "" if used else "the config does not name it: it signs nothing"
        row("dkim", place, f"signs for {domain}", lambda _, selector=selector: selector, note)
    if config.tls.key is not None:
        row("tls", config.tls.key, "the doors' certificate", lambda _: "")
    for use, certificate in (("sealed", config.sealed.certificate), ("backup", config.backup.certificate)):
        if certificate is not None:
            row(use, certificate, f"certificate to which {keys_officer.USES[use]} are sealed", _certificate_id)
    return rows


def _certificate_id(place: FilePath) -> str:
    return str(keys_officer.examine(place)["sha256"][:16])


def _list(context: typer.Context, json: Json = False, config: ConfigFile = "") -> None:
    """Every key with id, purpose, age, permissions and place."""
    output.show(listed(load_config(config_path(context, config))), json, COLUMNS, empty="There is no key yet: gateway keys init")


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(
        name="keys",
        help="Keys: init, list, dkim, dkim-list, rotate-vault, retire, escrow, recover, security-officer.",
        no_args_is_help=True,
    )
    app.command("init")(_init)
    app.command("list")(_list)
    keys_dkim.register(app)
    keys_vault.register(app)
    keys_officer.register(app)
    return app
