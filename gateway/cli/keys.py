"""``gateway keys``: the keys of one gateway.

Who calls it: administrators, once, before the first start.
Must never: print a private key; replace a key that is there.
Sources: contract.md, "Commands"; RFC 6376 section 3.6.1 (the DNS record), RFC 8301 (RSA-2048).
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli import output
from gateway.cli.options import ConfigFile, Json, Stop, config_path, load_config

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from gateway.config import Config


def dns_record(key_file: FilePath) -> str:
    """The TXT record that publishes the public half of the DKIM key in *key_file*. Ends the command when it is no key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise Stop(f"{key_file}: is not a PEM private key without a password", 2) from error
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        data = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return f"v=DKIM1; k=rsa; p={base64.b64encode(data).decode()}"
    if isinstance(public, ed25519.Ed25519PublicKey):
        data = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(data).decode()}"
    raise Stop(f"{key_file}: a DKIM key is RSA or Ed25519", 2)


def _make_dkim(path: FilePath) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    from gateway.keeper import vault

    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    vault.make_key_file(path, pem)


def make(config: Config) -> list[dict[str, Any]]:
    """Makes the keys that *config* names and that are not there; one row each, with DNS records for DKIM."""
    import os

    from gateway import supervisor
    from gateway.keeper import audit, vault

    supervisor.prepare(config)
    rows: list[dict[str, Any]] = []

    def note(kind: str, place: object, made: bool, **more: Any) -> None:
        rows.append({"key": kind, "place": str(place), "made": made, **more})

    file = config.vault.key_file
    if file is not None and not file.exists():
        if (config.state_dir / "gateway.db").exists():
            raise Stop(f"{file} is missing and there is a store that needs it; put the key back from your backup")
        vault.make_key_file(file, os.urandom(32).hex().encode() + b"\n")
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
        made = not entry.key_file.exists()
        if made:
            _make_dkim(entry.key_file)
        note("dkim", entry.key_file, made, name=f"{entry.selector}._domainkey.{entry.domain}", record=dns_record(entry.key_file))
    return rows


def zone_lines(name: str, record: str) -> list[str]:
    """The record as it stands in a zone file: strings of at most 255 octets."""
    parts = [record[start : start + 250] for start in range(0, len(record), 250)]
    return [f"{name}. IN TXT (", *(f'    "{part}"' for part in parts), ")"]


def _init(context: typer.Context, json: Json = False, config: ConfigFile = "") -> None:
    """Make the vault key, the keys of the decision log and the DKIM keys where they are missing; print the DNS records."""
    from gateway.keeper import vault
    from gateway.supervisor import CannotRun

    try:
        rows = make(load_config(config_path(context, config)))
    except (vault.VaultError, CannotRun) as error:
        raise Stop(str(error)) from error
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
    output.write("\nKeep a copy of the vault key apart from the store: without it no held or queued message can be read.")


def commands() -> typer.Typer:
    """The commands of this noun."""
    app = typer.Typer(name="keys", help="Keys: init.", no_args_is_help=True)
    app.command("init")(_init)

    @app.callback()
    def only() -> None:
        """The keys of this gateway."""

    return app
