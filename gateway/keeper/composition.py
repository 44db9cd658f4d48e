"""What the keeper consists of, and who is given what: the one place where its parts are put together.

What it is: ``compose``, which opens keys and store and builds every part; ``Parts``, those that the process itself speaks to.
Who calls it: ``service`` at its start.
Must never: begin to serve, to deliver or to keep house; leave a store open when it fails.
Source: docs/design.md section 2 (the trusted room).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gateway import logs
from gateway.audit import audit
from gateway.config import Config
from gateway.counting import Counts
from gateway.keeper import metrics
from gateway.keeper.accounts import Accounts
from gateway.keeper.act import Actor
from gateway.keeper.archive import Journal
from gateway.keeper.archive_check import ArchiveCheck
from gateway.keeper.archiving import Filing
from gateway.keeper.backup import Backups
from gateway.keeper.copies import Copies
from gateway.keeper.correspondents import Correspondents
from gateway.keeper.custody import Custody
from gateway.keeper.dashboard import Figures
from gateway.keeper.desk import Desk
from gateway.keeper.digests import Digests
from gateway.keeper.entrance import Entrance
from gateway.keeper.exceptions import Register
from gateway.keeper.granting import Granting
from gateway.keeper.held import HeldMail
from gateway.keeper.housekeeping import COUNT_EVERY, DIGESTS_EVERY, INDEX_EVERY, Housekeeping
from gateway.keeper.indexing import Indexing
from gateway.keeper.inspecting import InspectorLink
from gateway.keeper.logbook import Logbook
from gateway.keeper.metrics import Metrics
from gateway.keeper.notify import Notifier
from gateway.keeper.officers import Officers
from gateway.keeper.previews import Previews
from gateway.keeper.quarantine import Quarantine
from gateway.keeper.readiness import Readiness
from gateway.keeper.reception import Table
from gateway.keeper.reviews import Reviews
from gateway.keeper.rotation import Rotation
from gateway.keeper.tallies import Tallies
from gateway.keeper.threads import Threads
from gateway.policy import Policy, PolicyError, contacts
from gateway.relay.callout import Callout
from gateway.relay.notices import Notices
from gateway.relay.queue_actions import QueueActions
from gateway.relay.relay import Relay
from gateway.relay.reports import Reports
from gateway.relay.routes import RouteError
from gateway.relay.signing import Signer, SigningError
from gateway.signin.login_file import LoginFileError
from gateway.signin.login_record import LoginRecord
from gateway.signin.logins import SignIns
from gateway.signin.passwords import Checker
from gateway.stores import opening
from gateway.stores.base import Store, StoreError
from gateway.stores.opening import Made
from gateway.vault import sealing, vault

UNFIT = (PolicyError, vault.VaultError, sealing.SealingError, StoreError, SigningError, RouteError, LoginFileError, OSError)
"""Why a keeper cannot start; the text of each is one plain sentence."""
_PATIENCE = 60.0
"""Seconds that a start waits for a database that cannot be reached yet."""
_log = logs.get("keeper")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the process starts, stops, reloads and hands requests to."""

    store: Made
    chain: str
    """Name of the audit chain."""
    signer: Signer
    register: Register
    relay: Relay
    callout: Callout
    sign_ins: SignIns
    correspondents: Correspondents
    threads: Threads
    actor: Actor
    entrance: Entrance
    desk: Desk
    custody: Custody
    rotation: Rotation
    filing: Filing
    archives: ArchiveCheck
    backups: Backups
    housekeeping: Housekeeping
    readiness: Readiness
    metrics: Metrics


async def compose(
    config: Config, policy: Callable[[], Policy], health: Callable[[], Awaitable[Any]], stopping: Callable[[], bool],
    sink: logs.Sink | None = None,
) -> Parts:  # fmt: skip
    """Opens keys and store of *config* and builds all parts. *policy* is asked anew at each use, *health* and *stopping* are the
    process's answers about itself, *sink* is that of the ordinary log. Raises one of ``UNFIT``; nothing stays open then."""
    the_vault, made = vault.load(config)
    seal = sealing.load(config.sealed.certificate) if config.sealed.certificate is not None else None
    store, chain, head_signer = await _open_store(config)
    try:
        last = await store.audit_head(chain.id)  # before anything of this start is written
        counts = Counts()
        store.observe(counts.timing("gateway_store_commit_seconds"), counts.timing("gateway_store_group_batches"))
        signer = Signer(config, time.time)
        unfit = next(contacts.wrong(config, policy()), "")
        if unfit:
            raise PolicyError(unfit)
        register = Register(store, time.time)
        await register.load()
        relay = Relay(config, store, the_vault, signer, Notices(config, the_vault, lambda: policy().explanations), counts=counts)
        hops = (relay.routes, relay.resolver, relay.contexts)
        record, checker = LoginRecord(store, config.hostname, time), Checker()
        sign_ins = SignIns(config, record, the_vault.words_hash, hops, time, checker)
        entrance = Entrance(config, store, the_vault, sign_ins, record, checker, time)
    except BaseException:
        await store.close()
        raise
    if made:
        _log.warning("a vault key was made; keep a copy of state_dir/keys in a safe place")
    # the mail
    common = (config, store, the_vault, register, Reports(config, the_vault, lambda: policy().explanations), relay, policy)
    copies, correspondents = Copies(config, policy), Correspondents(store, the_vault, policy, time.time)
    threads, notifier = Threads(store, the_vault, time.time), Notifier(config, the_vault, policy, time.time)
    journal = Journal(config.archive)
    filing = Filing(config, store, the_vault, journal, time, counts)
    actor = Actor(*common, copies, correspondents, threads, notifier, seal, journal=journal)
    quarantine = Quarantine(*common, copies, correspondents, time.time, journal=journal)
    # what goes on by itself
    rotation, backups = Rotation(config, store, the_vault, time.time), Backups(config, store, time.time)
    housekeeping = Housekeeping(config, store, chain, head_signer, register, quarantine, time, notifier, relay)
    housekeeping.also("counting of decisions", COUNT_EVERY, _by_one(store, "tallies", Tallies(store).count))
    housekeeping.also("terms of held mail", INDEX_EVERY, _by_one(store, "indexing", Indexing(store, the_vault).step))
    digests = Digests(config, store, the_vault, relay, policy, time.time)
    housekeeping.also("mail to reviewers", DIGESTS_EVERY, _by_one(store, "digests", digests.send), by_clock=True)
    housekeeping.hold_clock_against(last.created if last is not None else time.time())
    _hear(store, register, relay)
    # people
    accounts, logbook = Accounts(store), Logbook(store)
    desk = Desk(
        store, register, quarantine, accounts, entrance.logins, logbook, QueueActions(store, relay), health, housekeeping.purge
    )  # fmt: skip
    officers = Officers(quarantine.mail, relay, policy, time.monotonic)
    tables: tuple[Table, ...] = (
        officers.table(), quarantine.table(), logbook.table(), Granting(config, store, register).table(),
        Reviews(config, store, the_vault, policy, time.time).table(),
        Figures(config, store, relay, policy, time.time).table(),
        Previews(HeldMail(config, store, the_vault, time.time), InspectorLink(config), policy).table(),
    )  # fmt: skip
    entrance.open(accounts, tables, officers.open())
    # what is seen of it
    readiness = Readiness(config, store, stopping)
    watched = metrics.Parts(store, chain, relay, register, housekeeping, sign_ins, backups, policy, readiness, rotation)
    return Parts(
        store=store, chain=chain.id, signer=signer, register=register, relay=relay, sign_ins=sign_ins, correspondents=correspondents,
        callout=Callout(config, *hops), threads=threads, actor=actor, entrance=entrance, desk=desk, rotation=rotation,
        filing=filing, archives=ArchiveCheck(config, store, the_vault, accounts, time.time),
        custody=Custody(store, accounts, rotation, backups, time.time), backups=backups, housekeeping=housekeeping,
        readiness=readiness, metrics=Metrics(config, counts, watched, sink),
    )  # fmt: skip


async def _open_store(config: Config) -> tuple[Made, audit.AuditChain, audit.Signer]:
    """Opens the store with its chain; a store that was put back to an earlier state gets a new chain, and an alarm."""
    chain, head_signer = audit.load(config)
    store = await _opened(config, chain)
    try:
        heads = [head for head in audit.heads_in(config.state_dir / "log" / "audit-heads.jsonl") if head.chain == chain.id]
        last = max(heads, key=lambda head: head.seq, default=None)
        rows = await store.audit_rows(chain=chain.id, after=last.seq - 1, limit=1) if last is not None else []
        if last is None or (rows and rows[0].hash == last.hash):
            return store, chain, head_signer
    except BaseException:
        await store.close()
        raise
    _log.critical(
        "the store is older than the last signed head of its decision log: an old file was put back, or rows were removed",
        **{"gateway.chain": chain.id, "gateway.seq": chain.head[0], "gateway.signed_seq": last.seq},
    )
    await store.close()
    chain = audit.new_chain(config)
    return await _opened(config, chain), chain, head_signer


async def _opened(config: Config, chain: audit.AuditChain) -> Made:
    end = time.monotonic() + (_PATIENCE if config.store.shared else 0.0)
    while True:
        store = opening.made(config)
        try:
            await store.open(chain)
        except StoreError as error:
            await store.close()
            if time.monotonic() >= end or not store.degraded:
                raise
            _log.warning("the store cannot be reached yet", **{"error.message": str(error)})
            await asyncio.sleep(1.0)
        except BaseException:
            await store.close()
            raise
        else:
            return store


def _by_one(store: Store, job: str, work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
    """*work* where no other node is at it."""

    async def once() -> None:
        async with store.alone(job) as given:
            if given:
                await work()

    return once


def _hear(store: Store, register: Register, relay: Relay) -> None:
    """What another node has changed is taken over here."""
    tasks: set[asyncio.Task[None]] = set()

    def heard(word: str) -> None:
        if word == "queue":
            relay.wake()
        elif word == "register":
            task = asyncio.get_running_loop().create_task(register.renew())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    store.listen(heard)
