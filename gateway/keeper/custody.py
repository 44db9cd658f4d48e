"""What administrators ask about keys and backups.

What it is: ``Custody``: the answers to RotateVault, KeyEvent and MakeBackup.
Who calls it: ``service``, for the command line's socket only.
Must never: answer with a key or a part of one; record an act without the name of who did it.
Sources: docs/commands.md; hostile-inputs catalogue O22, O23.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath

from gateway import requests
from gateway.audit import events
from gateway.ipc import Credentials
from gateway.keeper.accounts import Accounts
from gateway.keeper.backup import Backups
from gateway.keeper.exceptions import Wrong
from gateway.keeper.rotation import Rotation
from gateway.requests import Done, Rows
from gateway.stores.base import Batch, Store
from gateway.vault.vault import VaultError

KEY_ACTS = frozenset({"key-escrow-printed", "key-retired", "key-recovered", "key-lost", "dkim-key-made", "officer-certificate-made"})
_LONG = 1000


class Custody:
    """Answers about keys and backups."""

    def __init__(self, store: Store, accounts: Accounts, rotation: Rotation, backups: Backups, clock: Callable[[], float]) -> None:
        self._store = store
        self._accounts = accounts
        self._rotation = rotation
        self._backups = backups
        self._clock = clock

    async def answer(self, request: requests.RotateVault | requests.KeyEvent | requests.MakeBackup, peer: Credentials) -> Rows | Done:
        """The answer. Raises Wrong, StoreError."""
        user = await self._accounts.actor(peer, request.user)
        match request:
            case requests.RotateVault():
                try:
                    row = await self._rotation.rotate(user)
                except VaultError as error:
                    raise Wrong(str(error), 3) from error
                return Rows((row | {"under_way": self._rotation.under_way},))
            case requests.MakeBackup():
                return Rows((await self._backups.make(FilePath(request.path), user),))
            case _:
                if request.action not in KEY_ACTS:
                    raise Wrong(f"keys: {request.action[:64]!r} is not an act on keys")
                event = events.act(request.action, self._clock(), user, request.reason[:_LONG], key=request.key[:_LONG])
                await self._store.write(Batch(audit=[event]))
                return Done()
