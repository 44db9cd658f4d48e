"""Who is asking on the command line: the answer to "as whom may this system user act?".

What it is: ``Accounts``, and ``system_name``.
Who calls it: ``desk``, ``custody``, ``entrance``.
Must never: let one system user act as another's reviewer (root and the gateway's own user apart).
Sources: unix(7) SO_PEERCRED; hostile-inputs catalogue P20.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import replace

from gateway.ipc import Credentials
from gateway.keeper.access import Who
from gateway.keeper.exceptions import Wrong
from gateway.roles import Grant, Role
from gateway.stores.base import Store, UserRow

ALL = tuple(Grant(role) for role in Role)
"""What root and the gateway's own user may do: everything, everywhere."""


def system_name(uid: int) -> str:
    """The name of the system user *uid*; ``uid N`` when there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


class Accounts:
    """System users and the people that they are."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reviewer(self, peer: Credentials, name: str) -> UserRow:
        """The reviewer that *peer* acts as: *name*, or the one mapped to its system user. Raises Wrong, StoreError."""
        users = await self._store.users()
        system = system_name(peer.uid)
        trusted = peer.uid in (0, os.geteuid())
        if not name:
            mapped = [user for user in users if user.system_user == system and not user.disabled]
            if len(mapped) == 1:
                return mapped[0]
            if mapped:
                names = ", ".join(user.name for user in mapped)
                raise Wrong(f"the system user {system} is mapped to several reviewers ({names}); say which with --as", 1)
            raise Wrong(f"no reviewer is mapped to the system user {system}; name one with --as, or add one with: gateway users add", 1)
        found = next((user for user in users if user.name == name), None)
        if found is None:
            raise Wrong(f"there is no reviewer {name[:64]!r}; add one with: gateway users add", 1)
        if not trusted and found.system_user != system:
            raise Wrong(f"the system user {system} may not act as {found.name}", 1)
        if found.disabled:
            raise Wrong(f"{found.name} is disabled; an administrator can change that with: gateway users enable", 1)
        return found

    async def actor(self, peer: Credentials, name: str) -> str:
        """Who is recorded for an administrator's act: the reviewer, else the system user. Raises Wrong, StoreError."""
        if name:
            return (await self.reviewer(peer, name)).name
        system = system_name(peer.uid)
        mapped = [user.name for user in await self._store.users() if user.system_user == system]
        return mapped[0] if len(mapped) == 1 else system

    async def person(self, peer: Credentials, name: str) -> Who:
        """``reviewer`` with his roles, for what needs a person of the store. Raises Wrong, StoreError."""
        return Who.of(await self.reviewer(peer, name), via="cli", by=system_name(peer.uid))

    async def who(self, peer: Credentials, name: str = "") -> Who:
        """As whom *peer* acts. Root and the gateway's own user may do everything, unless they act as a named person, whose roles
        hold then; every other system user acts as the person mapped to it. Raises Wrong, StoreError."""
        if name or peer.uid not in (0, os.geteuid()):
            return await self.person(peer, name)
        system = system_name(peer.uid)
        mapped = [user for user in await self._store.users() if user.system_user == system and not user.disabled]
        if len(mapped) != 1:
            return Who(system, system_user=system, grants=ALL, via="cli", by=system, trusted=True)
        return replace(Who.of(mapped[0], via="cli", by=system, trusted=True), grants=ALL)
