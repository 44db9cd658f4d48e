"""What the commands on keys and backups share: recording an act, telling a running keeper, reading a passphrase.

Who calls it: ``keys`` and its parts, ``backup``, ``restore``.
Must never: record a key; write to a store that a keeper has open; leave a file in state_dir that its owner cannot read.
Source: docs/design.md section 6 (the audit table is the truth).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from gateway.cli.options import Stop

if TYPE_CHECKING:
    from gateway.config import Config


def running(config: Config) -> bool:
    """Whether a keeper has the store open."""
    from gateway.processes import store_in_use

    return store_in_use(config.state_dir)


def act(config: Config, path: FilePath, action: str, key: str, reason: str = "") -> None:
    """Records *action* on the key with the id *key*: through the running keeper, else in the store itself."""
    from gateway import requests
    from gateway.cli.link import ask

    if running(config):
        ask(config, path, requests.KeyEvent(action, key, reason))
        return
    write_event(config, action, reason, key=key)


def write_event(config: Config, action: str, reason: str, **more: Any) -> None:
    """Records *action* in the store of a gateway that does not run. Ends the command when it cannot."""
    import asyncio

    from gateway import supervisor
    from gateway.audit import audit, events
    from gateway.keeper.accounts import system_name
    from gateway.stores import opening
    from gateway.stores.base import Batch, StoreError
    from gateway.vault import vault

    async def write() -> None:
        import time

        vault.load(config)  # a store without a vault key could never be used: where there is neither, both are made
        store = opening.made(config)
        await store.open(audit.load(config)[0])
        try:
            user = system_name(os.getuid())
            await store.write(Batch(audit=[events.act(action, time.time(), user, reason, **more)]))
        finally:
            await store.close()

    try:
        supervisor.prepare(config)
        asyncio.run(write())
    except (StoreError, vault.VaultError, supervisor.CannotRun) as error:
        raise Stop(str(error)) from error
    finally:
        give_to_owner(config.state_dir)


def give_to_owner(folder: FilePath) -> None:
    """Where root has made files in *folder*: they get its owner, who has to work with them."""
    if os.geteuid() != 0 or not folder.is_dir():
        return
    owner = folder.stat()
    if owner.st_uid == 0:
        return
    for place in (folder, *folder.rglob("*")):
        found = place.lstat()
        if found.st_uid == 0 and not place.is_symlink():
            os.chown(place, owner.st_uid, owner.st_gid)


def passphrase(file: str, *, twice: bool, what: str) -> bytes:
    """A passphrase from *file*, else from the terminal (asked *twice* for a new one). Ends the command when it is none."""
    if file:
        from gateway.vault import vault

        try:
            text = vault.read_secret(FilePath(file)).rstrip(b"\r\n")
        except vault.VaultError as error:
            raise Stop(str(error), 2) from error
    else:
        import getpass

        if not sys.stdin.isatty():
            raise Stop(f"no terminal to ask for {what} at; name a file with --passphrase-file", 2)
        text = getpass.getpass(f"{what}: ").encode()
        if twice and getpass.getpass(f"{what}, again: ").encode() != text:
            raise Stop("the two are not the same; nothing was done", 2)
    if twice and len(text) < 12:
        raise Stop(f"{what}: a passphrase has 12 characters or more", 2)
    if not text:
        raise Stop(f"{what}: it is empty", 2)
    return text
