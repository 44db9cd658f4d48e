"""A store with rows of every kind in it, for tests that move or read whole stores."""

from __future__ import annotations

from pathlib import Path

from gateway.audit.audit import AuditChain, Signer, load
from gateway.config import Config, Contacts
from gateway.requests import ExceptionRow, ProfileRow
from gateway.stores.base import (
    ApprovalRow,
    Batch,
    CorrespondentRow,
    DeliveryState,
    HoldState,
    ThreadRow,
    UserRow,
)
from gateway.stores.reviewed import (
    CredentialRow,
    RemarkKind,
    RemarkRow,
    ReviewBatch,
    TallyRow,
    TermRow,
    TokenRow,
    ToldRow,
    ViewRow,
)
from gateway.stores.sqlite.store import SqliteStore
from tests.keeper_kit import NOW, body, delivery, event, hold, journal_copy, message


def config_of(folder: Path) -> Config:
    """A config whose state_dir is *folder*/state."""
    return Config(
        hostname="gw.dept.gov.in", state_dir=folder / "state", contacts=Contacts(postmaster="p@dept.gov.in", security="s@dept.gov.in")
    )


async def fill(store: SqliteStore, chain: AuditChain, signer: Signer, count: int = 60) -> None:
    """*count* messages with deliveries and held records in every state, and rows of every other table."""
    states = list(DeliveryState)
    for n in range(count):
        row = message(created=NOW + n, subject=b"\x00%d" % n, level=None if n % 3 else n % 5, sender=f"officer{n % 7}@dept.gov.in")
        deliveries = [
            delivery(
                row,
                f"r{k}@nic.in",
                state=states[(n + k) % len(states)],
                lease="gone",
                next_attempt=NOW + k,
                notify=None if k else ("NEVER",),
            )
            for k in range(2)
        ]
        held = hold(row, "क@nic.in", state=list(HoldState)[n % 6], deadline=NOW + n)
        terms = [TermRow(bytes([n % 5]) * 16, held.id), TermRow(bytes([n]) * 16, held.id)]
        remark = RemarkRow(f"k{n}", held.id, row.reference, NOW, "asha", RemarkKind.NOTE, b"sealed", "dept.gov.in")
        await store.write(
            Batch(
                bodies=[body(row.id, b"x" * (n * 997))], messages=[row], deliveries=deliveries, holds=[held],
                approvals=[ApprovalRow(f"ap{n}", held.id, NOW, "asha", "ok", row.sha256, ("a@b.in",), ())],
                journal=[journal_copy(row, name=f"archive{n % 2}")],
                correspondents=[CorrespondentRow(bytes([n]) * 16, n, "dept.gov.in")], threads=[ThreadRow(bytes([n]) * 16, n % 5, n)],
                audit=[event(row.reference, created=NOW + n), event(row.reference, created=NOW + n, disposition="refuse")],
                review=ReviewBatch(
                    terms=terms, remarks=[remark], tallies=[TallyRow(n, "dept.gov.in", "r1", "deliver", n % 4, 1)],
                    told=[ToldRow(f"t{n}", NOW)], tallied_to=n + 1,
                ),
            )
        )  # fmt: skip
    await store.write(
        Batch(
            exceptions=[ExceptionRow(f"e{n}", "a@b", "*", "why", "r", "a", NOW, NOW + 10, "active" if n else "ended") for n in range(3)],
            profiles=[ProfileRow("p1", "disaster", "why", "r", "a", NOW, NOW + 10)],
            users=[UserRow("asha", "u1", "asha@dept.gov.in", "dept.gov.in", NOW, ("reviewer:dept.gov.in",), False, "hi")],
            heads=[signer.head(chain.id, *chain.head, NOW)], audit=[event("LAST")],
            review=ReviewBatch(
                credentials=[CredentialRow("asha", "argon", b"t", b"n", 5, "https://issuer|1", NOW)],
                views=[ViewRow("v1", "asha", "mine", {"states": ["held"]}, NOW)],
                tokens=[TokenRow("t1", "asha", "ci", ("list",), b"\x01" * 32, NOW, NOW + 9)],
            ),
        )
    )  # fmt: skip


async def stocked(folder: Path, count: int = 60) -> Config:
    """A closed store in *folder*/state, and the config that names it."""
    config = config_of(folder)
    config.state_dir.mkdir(parents=True, mode=0o700)
    chain, signer = load(config)
    store = SqliteStore(config.state_dir / "gateway.db")
    await store.open(chain)
    await fill(store, chain, signer, count)
    await store.close()
    folder.joinpath("gateway.toml").write_text(
        f'hostname = "gw.dept.gov.in"\nstate_dir = "{config.state_dir}"\n[contacts]\npostmaster = "p@dept.gov.in"\n'
        'security = "s@dept.gov.in"\n'
    )
    return config
