"""What is in a backup, and how it is proved: the files, the signed manifest, the sealed stream.

What it is: ``collect`` (store copy, keys, config, rules, heads, files that the config names), ``write``, and ``read``, which checks
every octet against the manifest while it gives the files out. A backup of a node whose store is in PostgreSQL has no copy of it.
Who calls it: ``gateway backup`` and ``gateway restore``.
Must never: put a file on the disk that is not sealed (the store's copy apart, which the keeper makes and the command removes);
take a name from a backup that is not in its manifest; follow a link.
Sources: docs/design.md section 6; POSIX.1-2001 pax (tar); hostile-inputs catalogue O23.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import IO, Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway import __version__
from gateway.audit import audit
from gateway.config import Config
from gateway.stores.sqlite.copying import digest_of
from gateway.vault import vault
from gateway.vault.sealed_file import Reader, SealedFileError, Writer

FORMAT, NODE = 1, 2
"""The format of a backup with the store, and of one with all but the store, which is elsewhere."""
_MANIFEST, _SIGNATURE = "manifest.json", "manifest.sig"
_SIGNED = b"gateway backup manifest 1\n"
_CAP = 16 << 20
_NAME = re.compile(r"(?:store|keys|log|config|rules|files)/(?:[\w.@+=,%-]+/)*[\w.@+=,%-]+")
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a backup: its name there, and its octets or the file that holds them. *path*: where it came from."""

    name: str
    source: FilePath | bytes
    path: str = ""


def collect(config: Config, config_file: FilePath, copy: FilePath | None, store: dict[str, Any]) -> tuple[list[Item], list[str]]:
    """The files of a backup with the *copy* of the *store*, or without, and a sentence for each that belongs to it and is not here.
    Raises OSError, vault.VaultError."""
    keys = config.state_dir / "keys"
    items = [] if copy is None else [Item("store/gateway.db", copy)]
    items += [Item(f"keys/{file.name}", vault.read_secret(file), str(file)) for file in sorted(keys.iterdir()) if _plain(file)]
    items.append(Item("log/audit-heads.jsonl", _heads(config.state_dir / "log" / "audit-heads.jsonl", store.get("chains"))))
    items.append(Item("config/gateway.toml", config_file.read_bytes(), str(config_file)))
    if config.rules_dir is not None:
        rules = sorted(file for file in config.rules_dir.rglob("*") if _plain(file) and "__pycache__" not in file.parts)
        items += [Item(f"rules/{file.relative_to(config.rules_dir)}", file.read_bytes(), str(file)) for file in rules]
    missing: list[str] = []
    if config.vault.credential:
        missing.append(f"the vault key is the systemd credential {config.vault.credential}: without its paper nothing here can be read")
    for number, path in enumerate(_named(config)):
        text = str(path)
        if text.startswith("credential:"):
            missing.append(f"{text} is a systemd credential")
        elif not path.is_relative_to(keys):
            try:
                items.append(Item(f"files/{number:03}", path.read_bytes(), text))
            except OSError as error:
                missing.append(f"{path}: {error.strerror}")
    wrong = [item.name for item in items if not _NAME.fullmatch(item.name) or ".." in item.name]
    missing += [f"{name}: its name does not fit into a backup" for name in wrong]
    return [item for item in items if item.name not in wrong], missing


def _plain(file: FilePath) -> bool:
    return file.is_file() and not file.name.startswith(".")


def _named(config: Config) -> list[FilePath]:
    """Every file that the config names, once."""
    found: dict[FilePath, None] = {}

    def walk(value: Any) -> None:
        if isinstance(value, FilePath):
            found[value] = None
        elif isinstance(value, dict):
            for one in value.values():
                walk(one)
        elif isinstance(value, (list, tuple)):
            for one in value:
                walk(one)

    walk({name: value for name, value in config.model_dump().items() if name not in ("state_dir", "run_dir", "rules_dir")})
    return list(found)


def _heads(file: FilePath, chains: list[dict[str, Any]] | None) -> bytes:
    """The signed heads that belong to the copy; one that was signed after it would look like rows that were cut off. All of them where
    there is no copy (*chains* None): what they are held against is the database, and rows that are cut off there have to be seen."""
    if chains is None:
        return file.read_bytes() if file.exists() else b""
    ends = {one["chain"]: one["seq"] for one in chains}
    kept = [head for head in audit.heads_in(file) if head.seq <= ends.get(head.chain, 0)]
    return b"".join(msgspec.json.encode(head) + b"\n" for head in kept)


def manifest(config: Config, items: list[Item], missing: list[str], store: dict[str, Any], taken: float) -> dict[str, Any]:
    """What stands first in a backup: versions, counts, ends of the chains, and size and sha256 of every file."""
    files = []
    for item in items:
        size = len(item.source) if isinstance(item.source, bytes) else item.source.stat().st_size
        digest = hashlib.sha256(item.source).hexdigest() if isinstance(item.source, bytes) else digest_of(item.source)
        files.append({"name": item.name, "size": size, "sha256": digest, "path": item.path})
    key_file = config.vault.key_file
    return {
        "format": NODE if config.store.shared else FORMAT, "gateway": __version__, "hostname": config.hostname,
        "state_dir": str(config.state_dir), "taken": round(taken, 3),
        "taken_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(taken)), "store": store, "files": files, "missing": missing,
        "vault_key_file": "" if key_file is None else str(key_file),
    }  # fmt: skip


def write(writer: Writer, described: dict[str, Any], items: list[Item], signer: audit.Signer) -> None:
    """Puts manifest, its signature and all *items* into *writer*, and ends it. Raises OSError."""
    text = json.dumps(described, sort_keys=True).encode()
    signature = {"key": signer.key_id, "public": signer.public.public_bytes_raw().hex(), "signature": signer.sign(_SIGNED + text).hex()}
    with tarfile.open(fileobj=writer, mode="w|", bufsize=_PIECE, format=tarfile.PAX_FORMAT) as tar:
        _add(tar, _MANIFEST, text)
        _add(tar, _SIGNATURE, json.dumps(signature).encode())
        for item in items:
            _add(tar, item.name, item.source)
    writer.finish()


def _add(tar: tarfile.TarFile, name: str, source: FilePath | bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o600
    if isinstance(source, bytes):
        entry.size = len(source)
        tar.addfile(entry, io.BytesIO(source))
        return
    entry.size = source.stat().st_size
    with source.open("rb") as file:
        tar.addfile(entry, file)


Take = Callable[[str], IO[bytes] | None]
"""From the name of a file to where its octets go; None: they are only checked."""


def read(reader: Reader, take: Callable[[dict[str, Any]], Take]) -> tuple[dict[str, Any], str]:
    """Checks the whole backup; *take* is given the manifest first and says where each file goes. The manifest and the id of the key
    that signed it. Raises SealedFileError, OSError."""
    stream = io.BufferedReader(reader, _PIECE)
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_PIECE) as tar:
            members = iter(tar)
            text, signature = _small(tar, members, _MANIFEST), json.loads(_small(tar, members, _SIGNATURE))
            described = json.loads(text)
            _signed(text, signature)
            if described["format"] not in (FORMAT, NODE):
                raise SealedFileError(f"the backup has format {described['format']}, and this version knows {FORMAT} and {NODE}")
            wanted = {entry["name"]: entry for entry in described["files"]}
            if len(wanted) != len(described["files"]) or any(not _NAME.fullmatch(name) or ".." in name for name in wanted):
                raise SealedFileError("the manifest holds a name that is none of ours")
            place = take(described)
            for member in members:
                entry = wanted.pop(member.name, None)
                if entry is None or not member.isreg():
                    raise SealedFileError(f"{member.name[:100]!r} is not in the manifest")
                _one(tar, member, entry, place(member.name))
            if wanted:
                raise SealedFileError(f"{next(iter(wanted))} is in the manifest and not in the backup")
        while stream.read(_PIECE):
            pass  # what tar pads with; then the proved end
    except (tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise SealedFileError(f"the backup is not what this version writes: {error}") from error
    if not reader.whole:
        raise SealedFileError("the file is cut off: its last part is missing")
    return described, str(signature["key"])


def _small(tar: tarfile.TarFile, members: Iterator[tarfile.TarInfo], name: str) -> bytes:
    member = next(members, None)
    file = tar.extractfile(member) if member is not None and member.name == name and member.size <= _CAP else None
    if file is None:
        raise SealedFileError(f"the backup does not begin with {name}")
    return file.read()


def _signed(text: bytes, signature: dict[str, str]) -> None:
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature["public"]))
    try:
        key.verify(bytes.fromhex(signature["signature"]), _SIGNED + text)
    except InvalidSignature as error:
        raise SealedFileError("the signature of the manifest is wrong") from error
    if audit.key_id(key) != signature["key"]:
        raise SealedFileError("the manifest is signed by another key than it says")


def _one(tar: tarfile.TarFile, member: tarfile.TarInfo, entry: dict[str, Any], target: IO[bytes] | None) -> None:
    file = tar.extractfile(member)
    assert file is not None
    digest, size = hashlib.sha256(), 0
    try:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            if target is not None:
                target.write(piece)
    finally:
        if target is not None:
            target.close()
    if size != entry["size"] or digest.hexdigest() != entry["sha256"]:
        raise SealedFileError(f"{member.name} is not what the manifest says")
