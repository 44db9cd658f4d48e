"""The vault key of many nodes that share a store, changed in two steps: every node can open with the new key before one seals with it.

What it is: ``prepare``, which makes a key that opens and does not seal, and ``change``, which lets a node seal with it; the sentences
for both.
Who calls it: ``keys_vault`` for ``gateway keys rotate-vault``.
Must never: remove the last copy of a key; let a node seal with a key that is not in its place first.
Sources: NIST SP 800-57 part 1 section 5.3; hostile-inputs catalogue O22.
"""

from __future__ import annotations

import contextlib
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from gateway.cli.options import Stop

if TYPE_CHECKING:
    from gateway.config import Config

WHY = (
    "many nodes share this store, and each has to have the new key before one seals with it: gateway keys rotate-vault --prepare on one"
    " node, copy the file that it names to the others, then on each: gateway keys rotate-vault --to ID"
)


def prepare(config: Config, place: FilePath) -> tuple[str, FilePath]:
    """Makes a new key that opens only, beside the current one in *place*: its id and file. Raises VaultError, OSError."""
    from gateway.vault import vault

    # What marked words are hashed with must be the same on all nodes whichever key they seal with.
    vault.pin_evidence(config, vault.read_key(place))
    text = vault.new_key_text()
    new = vault.key_id(bytes.fromhex(text.decode("ascii")))
    file = vault.next_place(config, new)
    vault.make_key_file(file, text)
    return new, file


def change(config: Config, place: FilePath, wanted: str) -> str:
    """Puts the key *wanted*, which opens here already, into *place*; the id of the one before, which goes on to open. Raises
    VaultError, OSError."""
    from gateway.vault import vault

    folder = config.state_dir / "keys"
    old = vault.read_key(place)
    before = vault.key_id(old)
    if before == wanted:
        raise Stop(f"{wanted} is the current vault key already: {place}", 0)
    file = vault.next_place(config, wanted)
    if not file.exists():
        raise Stop(f"{file} is not here; copy it from the node where it was made with --prepare")
    key = vault.read_key(file)
    if vault.key_id(key) != wanted:
        raise Stop(f"{file} holds the key {vault.key_id(key)}, not {wanted}; copy it again")
    # In this order: whenever it is broken off, every key that ever sealed something is there.
    vault.pin_evidence(config, old)
    with contextlib.suppress(FileExistsError):
        vault.make_key_file(folder / f"vault-{before}.key", old.hex().encode() + b"\n")
    vault.replace_key_file(place, key.hex().encode() + b"\n")
    file.unlink()
    return before


def said_of_prepared(config: Config, new: str, file: FilePath) -> list[str]:
    """What is to be done with the key *new* now."""
    folder = config.state_dir / "keys"
    return [
        f"New vault key {new} in {file}. It opens and does not seal yet.",
        f"Copy it and {folder / 'evidence.key'} to every other node, into the same folder under the same names, owner and mode 0600 as"
        " the others there; 'gateway keys list' on each shows it.",
        f"When all have it, on each: gateway keys rotate-vault --to {new}",
        f"Print it for the safe, once: gateway keys escrow --id {new}",
    ]
