"""The power cut (catalogue O14): a SIGKILL cannot see a missing sync, a replay of what was written can.

The keeper is traced while it takes mail. From the trace the disk is made as it may be after a power cut at any moment; the store is
opened from it with the gateway's own code; everything that was answered 250 before that moment has to be there, and its content has to
open. The same is done with a gateway that does not sync (``controls/no_sync``), in which the replay has to find lost mail.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gateway import config as config_file
from gateway.audit import audit
from gateway.stores.base import StoreError
from gateway.stores.sqlite.store import SqliteStore
from gateway.vault import vault
from tests.e2e import leash
from tests.e2e.parts import wait_for
from tests.e2e.prove import replay, roles, trace
from tests.e2e.prove.clients import SENDER
from tests.e2e.prove.load import HELD, REFUSED, Accepted
from tests.e2e.prove.site import Site

CONTROLS = Path(__file__).parent / "controls"


@dataclass
class Finding:
    """What the cuts of one traced load came to."""

    cuts: int = 0
    calls: int = 0
    syncs: int = 0
    accepted: int = 0
    checked: int = 0
    """Messages that had to be there, over all cuts."""
    lost: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Stores that did not open, or whose chain is not whole."""

    @property
    def good(self) -> bool:
        """Nothing was lost."""
        return not self.lost and not self.broken

    def __str__(self) -> str:
        parts = (
            f"{self.accepted} messages accepted", f"{self.calls} writes", f"{self.syncs} syncs", f"{self.cuts} cuts",
            f"{self.checked} messages had to be there", f"cuts that lost some {len(self.lost)}",
            f"cuts after which the store did not open or its chain was broken {len(self.broken)}",
        )  # fmt: skip
        return ", ".join(parts)


def traced(folder: Path, seed: int, messages: int, control: str = "none") -> tuple[Path, Path, list[Accepted], Path]:
    """A load on a gateway whose keeper is traced. Returns the copy of its state folder from before, the trace, the ledger, and the state
    folder."""
    site = Site.make(folder, seed, messages, submission=False, milter=False)
    site.gateway.environment["PYTHONPATH"] = str(CONTROLS / control)
    site.sink.start()
    state, before, out = site.gateway.folder / "state", folder / "before", folder / "trace"
    tracer = None
    try:
        site.gateway.start()
        assert site.gateway.process is not None
        keeper = next(pid for pid, role in roles.of(site.gateway.process.pid).items() if role == "keeper")
        tracer = trace.attach(keeper, out)
        time.sleep(1.5)  # what follows a start has been written
        for _ in range(20):
            shutil.rmtree(before, ignore_errors=True)
            began = len(out.read_bytes())
            trace.base(state, before)
            time.sleep(0.3)
            if len(out.read_bytes()) == began:
                break
        else:
            raise trace.UnreadableTrace("the keeper never was at rest")
        for thread in site.load.start():
            thread.join()
        with contextlib.suppress(AssertionError):
            wait_for(lambda: site.open_deliveries() == 0, 60, "the queue is empty")
        tracer.terminate()
        tracer.wait(20)
        return before, out, sorted(site.load.accepted, key=lambda entry: entry.time), state
    finally:
        if tracer is not None and tracer.poll() is None:
            tracer.kill()
        site.gateway.stop()
        site.gateway.kill_all()
        site.sink.stop()


def cut(folder: Path, seed: int, cuts: int, messages: int, control: str = "none") -> Finding:
    """One traced load and *cuts* power cuts in it."""
    before, out, accepted, state = traced(folder, seed, messages, control)
    rng = random.Random(seed)
    began = before.stat().st_ctime
    calls = [call for call in trace.read(out, state) if call.time >= began]
    found = Finding(calls=len(calls), syncs=sum(call.name == "sync" for call in calls), accepted=len(accepted))
    the_vault, _ = vault.load(config_file.load(folder / "gw" / "gateway.toml"))
    disk, waiting, after = replay.Disk(before, state), iter(calls), folder / "after"
    following = next(waiting, None)
    moment = 0.0
    for place in replay.places(calls, cuts, rng):
        while following is not None and following.left <= place:
            disk.do(following)
            moment, following = max(moment, following.time), next(waiting, None)
        how = rng.choice(replay.HOW)
        disk.cut(after, how, rng)
        due = [entry for entry in accepted if entry.time < moment]
        found.cuts += 1
        found.checked += len(due)
        name = f"cut {found.cuts} (seed {seed}, event {place}, {how})"
        try:
            missing = asyncio.run(_missing(after, due, the_vault))
        except (StoreError, sqlite3.Error, vault.VaultError, OSError) as error:
            found.broken.append(f"{name}: {error}")
            continue
        if missing:
            found.lost.append(f"{name}: {len(missing)} of {len(due)}: {missing[0]}")
    return found


async def _missing(folder: Path, due: Iterable[Accepted], the_vault: vault.Vault) -> list[str]:
    """Opens the store of *folder* as a keeper does; what of *due* is not there. Raises StoreError, also for a chain that is broken."""
    chain = audit.AuditChain((folder / "keys" / "audit-chain").read_text().strip())
    store = SqliteStore(folder / "gateway.db")
    await store.open(chain)
    try:
        keys = [audit.read_signer(file).public for file in (folder / "keys").glob("audit-signing*.pem")]
        verified = await audit.verify(store, keys, audit.heads_in(folder / "log" / "audit-heads.jsonl"))
        if verified.bad is not None:
            raise StoreError(verified.text)
        return await _not_there(store, folder / "gateway.db", due, the_vault)
    finally:
        await store.close()


async def _not_there(store: SqliteStore, file: Path, due: Iterable[Accepted], the_vault: vault.Vault) -> list[str]:
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        bodies = dict(db.execute("SELECT reference, body_id FROM messages WHERE door <> ''"))
        going: dict[str, set[str]] = collections.defaultdict(set)
        open_ones: set[str] = set()
        for reference, recipient, state in db.execute(
            "SELECT m.reference, d.recipient, d.state FROM deliveries d JOIN messages m ON m.id = d.message_id"
        ):
            going[reference].add(recipient)
            if state not in ("delivered", "bounced", "expired"):
                open_ones.add(reference)
        held = dict(db.execute("SELECT reference, recipients FROM holds"))
        reports = db.execute("SELECT count(*) FROM deliveries WHERE recipient = ?", (SENDER,)).fetchone()[0]
    missing = []
    for entry in due:
        for recipient, wanted in entry.recipients.items():
            if wanted == REFUSED:  # it is there as a report to its sender, which has a reference of its own
                reports -= 1
                there = reports >= 0
            else:
                there = recipient in (held.get(entry.reference, "") if wanted == HELD else going[entry.reference])
            if not there:
                missing.append(f"{entry.reference} {recipient} ({wanted})")
        if entry.reference in held or entry.reference in open_ones:
            row = await store.body(bodies.get(entry.reference, ""))
            if row is None:
                missing.append(f"{entry.reference}: its content")
            else:
                the_vault.open(row)
    return missing


def main(seed: int, cuts: int, messages: int) -> int:
    """Both, the gateway as it is and the one that does not sync; 0 when the first loses nothing and the second does."""
    if why := trace.available():
        print(f"the power cut cannot be made: {why}")
        return 2
    print(f"seed {seed}", flush=True)
    results = []
    for control in ("none", "no_sync"):
        folder = Path(tempfile.mkdtemp(prefix="proof-powercut-"))
        leash.folder(folder)
        try:
            found = cut(folder, seed, cuts, messages, control)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(f"{'synchronous=OFF, as a control' if control == 'no_sync' else 'the gateway as it is'}: {found}", flush=True)
        for line in (found.lost + found.broken)[: 3 if control == "no_sync" else 20]:
            print("   ", line, flush=True)
        results.append(found)
    honest, unsynced = results
    if not unsynced.lost:
        print("the control lost nothing: this replay proves nothing", flush=True)
        return 1
    return 0 if honest.good and honest.checked else 1
