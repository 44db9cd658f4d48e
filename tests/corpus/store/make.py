"""Makes format-1.tar.gz: the state folder of a gateway of the first release, with a full queue and held mail.

Run with that release's code, from its own folder: python <this file> <folder of its code> <output>. The release is commit d0ffddc.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from msgspec.structs import replace  # noqa: E402

from gateway.config import Config  # noqa: E402
from gateway.keeper import audit, vault  # noqa: E402
from gateway.stores.base import Batch, DeliveryState, DeliveryUpdate, HoldState, HoldUpdate  # noqa: E402
from gateway.stores.sqlite.store import SqliteStore  # noqa: E402
from tests.keeper_kit import delivery, event, hold, message  # noqa: E402

STATES = {"scheduled": 60, "leased": 40, "deferred": 40, "on-hold": 20, "delivered": 20, "bounced": 10, "expired": 10}
HELD = {"held": 15, "requested": 5, "approved": 5, "released": 5, "refused": 5, "expired": 5}


def mail(number: int) -> bytes:
    return b"From: so@dept.gov.in\r\nSubject: letter %d\r\n\r\nletter number %d\r\n" % (number, number)


async def fill(folder: Path) -> None:
    config = Config(state_dir=folder)
    (folder / "keys").mkdir()
    vault.make_key_file(folder / "keys" / "vault.key", b"\x07" * 32)
    (folder / "keys" / "audit-chain").write_text("chain-of-the-first-release\n")
    the_vault, _ = vault.load(config)
    store = SqliteStore(folder / "gateway.db")
    await store.open(audit.AuditChain("chain-of-the-first-release"))
    number = 0
    for kinds, held in ((STATES, False), (HELD, True)):
        for state, count in kinds.items():
            for _ in range(count):
                number += 1
                content = mail(number)
                digest = hashlib.sha256(content).hexdigest()
                row = message(size=len(content), sha256=digest, created=1_790_000_000.0 + number)
                row = replace(row, subject=the_vault.seal_field(row.id, f"letter {number}"), details=b"")
                body = the_vault.seal(row.body_id, content, digest)
                if held:
                    one = hold(row, f"desk{number}@finance.nic.in", deadline=4_000_000_000.0)
                    await store.write(Batch(bodies=[body], messages=[row], holds=[one], audit=[event(row.reference)]))
                    if state != "held":
                        await store.write(Batch(hold_updates=[HoldUpdate(one.id, (HoldState.HELD,), HoldState(state), row.created)]))
                else:
                    start = DeliveryState.LEASED if state in ("leased", "delivered", "bounced", "expired") else DeliveryState(state)
                    job = delivery(
                        row, f"desk{number}@finance.nic.in", state=start, edits=(), require_aes256=False, created=row.created,
                        next_attempt=row.created, lease="a-keeper-that-is-gone" if start is DeliveryState.LEASED else "",
                    )  # fmt: skip
                    await store.write(Batch(bodies=[body], messages=[row], deliveries=[job], audit=[event(row.reference)]))
                    if start != state:
                        change = DeliveryUpdate(job.id, (start,), DeliveryState(state), attempts=1, lease="")
                        await store.write(Batch(delivery_updates=[change], audit=[event(row.reference)]))
    await store.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(fill(folder))
        with tarfile.open(sys.argv[2], "w:gz", compresslevel=9) as tar:
            for path in ("gateway.db", "keys/vault.key", "keys/audit-chain"):
                data = (folder / path).read_bytes()
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(data), 0o600
                tar.addfile(entry, io.BytesIO(data))


main()
