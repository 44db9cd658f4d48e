"""What ``gateway check`` says of journal copies: archives that rules ask for, that answer, and what waits for them.

Who calls it: ``check``.
Must never: change anything, in a mailbox or here; print a password.
Sources: docs/design.md section 10; Gujarat Circular of 2018, clause 2.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config import Archive, Config
    from gateway.doctor import Finding
    from gateway.policy import Policy
    from gateway.stores.journal import Waiting

_LATE = 86400.0  # seconds after which a copy that waits is a warning


def findings(config: Config, *, offline: bool) -> Iterator[Finding]:
    """One line for each archive. *offline*: none is asked."""
    from gateway.doctor import Finding

    for one in config.archive:
        name = f"{one.name} ({'official mail' if one.which == 'official' else 'what rules ask for'}, {one.retain / 86400:g} days)"
        if one.kind == "store":
            yield Finding("archive", "ok", f"{name}: copies are kept in the store, under the vault key, and destroyed then")
        elif not offline:
            yield _answers(one, name)
    yield from without_copies(config)
    yield from waiting(config, _unfiled(config), time.time())


def without_copies(config: Config) -> Iterator[Finding]:
    """Official mail that gets no journal copy although an archive wants one of all."""
    from gateway.doctor import Finding

    if config.holds_without_copies:
        text = 'relay.milter_hold = "mta": what the MTA held and lets go has no journal copy; an archive of all official mail needs "store"'
        yield Finding("archive", "wrong", text)


def _answers(archive: Archive, name: str) -> Finding:
    """Signs in and opens the mailbox for reading."""
    from gateway.doctor import Finding
    from gateway.relay.mailbox import Mailbox, MailboxError, Place

    place = Place.of(archive)
    box = Mailbox(place)
    try:
        box.open(readonly=True)
    except MailboxError as error:
        return Finding("archive", "wrong", f"{name}: {error}; mail goes on, its copies wait")
    finally:
        box.close()
    how = box.protected or "without TLS on this machine"
    return Finding("archive", "ok", f"{name}: {place.mailbox} at {place.host}:{place.port} takes the login, {how}")


def _unfiled(config: Config) -> list[Waiting]:
    """What the store holds for archives; nothing where it cannot be read (the line of the store says why)."""
    import asyncio

    from gateway.cli import reading
    from gateway.stores.base import StoreError

    async def look() -> list[Waiting]:
        async with reading.kept(config) as store:
            return [] if store is None else await store.journal.waiting()

    try:
        return asyncio.run(look())
    except StoreError:
        return []  # an older format, too: the next start changes it


def waiting(config: Config, unfiled: Iterable[Waiting], now: float) -> Iterator[Finding]:
    """What waits for an archive for too long, or for one that is no more."""
    from gateway.doctor import Finding

    mailboxes = {one.name for one in config.archive if one.kind == "imap"}
    for one in unfiled:
        copies = f"{one.count} journal cop{'y' if one.count == 1 else 'ies'}"
        if one.name not in mailboxes:
            text = f"{copies} wait for {one.name}, and the config has no mailbox of that name: they stay until it has one again"
            yield Finding("archive", "wrong", text)
        elif now - one.oldest > _LATE:
            text = f"{copies} wait for {one.name}, the oldest for {(now - one.oldest) / 86400:.1f} days; see: gateway archive list"
            yield Finding("archive", "warning", text)


def asked(config: Config, policy: Policy) -> Iterator[Finding]:
    """Whether each archive that a rule in force names is there, and each that waits for rules is named."""
    from gateway.doctor import Finding

    names = {one.name for one in config.archive}
    asking: dict[str, list[str]] = {}
    for rule in policy.rules.rules:
        if rule.mode == "enforce":
            for name in rule.archive:
                asking.setdefault(name, []).append(rule.id)
    for name, ids in sorted(asking.items()):
        if name not in names:
            rules = ", ".join(ids)
            text = f"{rules}: asks for journal copies in {name}, and no [[archive]] has that name: none is made"
            yield Finding("archive", "warning", text)
    for one in config.archive:
        if one.which == "rules" and one.name not in asking:
            yield Finding(
                "archive", "warning", f'{one.name}: which = "rules", and no rule in force has archive = "{one.name}": it stays empty'
            )
