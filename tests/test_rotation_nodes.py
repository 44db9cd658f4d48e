"""The vault key of nodes that share a store changes: what one seals the others open, or it waits; nothing is lost (catalogue O22)."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.audit import audit
from gateway.cli import invoke
from gateway.config import Config
from gateway.keeper.rotation import Rotation
from gateway.options import Store
from gateway.options import Vault as VaultOptions
from gateway.relay import outcomes
from gateway.relay.notices import Notices
from gateway.relay.relay import Relay
from gateway.relay.signing import Signer
from gateway.stores.base import Batch, DeliveryState
from gateway.stores.postgres.connection import Target
from gateway.stores.postgres.store import PostgresStore
from gateway.vault import vault
from gateway.vault.vault import KeyMissing
from tests.hostile_hop import Hop
from tests.keeper_kit import CONTENT, whole
from tests.store_databases import Databases

AWAY = Target("postgresql://gateway@127.0.0.1:1/mail")


class Node:
    """One of many: its folder with keys and config, and its parts where it runs."""

    def __init__(self, folder: Path, target: Target, hop: str = "127.0.0.1:1") -> None:
        self.folder, self.keys = folder, folder / "state" / "keys"
        folder.mkdir()
        (folder / "gateway.toml").write_text(
            f'hostname = "{folder.name}.dept.gov.in"\nstate_dir = "{folder}/state"\n[vault]\nkey_file = "{folder}/vault.key"\n'
            f'[store]\nurl = "{target.url}"\n'
        )
        self.config = Config(
            state_dir=folder / "state", hostname=f"{folder.name}.dept.gov.in", vault=VaultOptions(key_file=folder / "vault.key"),
            store=Store(url=target.url, password_file=target.password_file), listen=(),
            route=({"domains": ("*",), "next_hop": hop, "tls": "none"},), limits={"drain": 1},
        )  # fmt: skip
        self.target = target

    def command(self, *words: str) -> int:
        return invoke(["keys", *words, "--config", str(self.folder / "gateway.toml")])

    async def start(self) -> None:
        self.vault = vault.load(self.config)[0]
        self.store = PostgresStore(self.target)
        await self.store.open(audit.load(self.config)[0])
        notices: Any = Notices(self.config, self.vault, lambda: None)  # type: ignore[arg-type, return-value]
        self.relay = Relay(self.config, self.store, self.vault, Signer(self.config, time.time), notices)
        self.rotation = Rotation(self.config, self.store, self.vault, time.time)
        await self.relay.start()

    async def stop(self) -> None:
        await self.relay.stop()
        await self.rotation.stop()
        await self.store.close()

    async def accept(self) -> tuple[str, str]:
        """A message that this node has taken and leaves to whoever delivers: its delivery's and its body's id."""
        batch, row, _ = whole()
        one = batch.deliveries[0]
        await self.store.write(
            Batch(
                bodies=[self.vault.seal(row.body_id, CONTENT, row.sha256)], messages=batch.messages, audit=batch.audit,
                deliveries=[type(one)(**{n: getattr(one, n) for n in one.__struct_fields__} | {"next_attempt": 0.0, "lease": ""})],
            )
        )  # fmt: skip
        return one.id, row.body_id

    async def until(self, id: str, wanted: Callable[[Any], bool]) -> Any:
        async with asyncio.timeout(15):
            while not wanted(row := await self.store.delivery(id)):
                self.relay.wake()  # what a notice of another node does
                await asyncio.sleep(0.02)
        return row


def together(tmp_path: Path, target: Target, hop: str = "127.0.0.1:1") -> list[Node]:
    """Three nodes with one vault key."""
    nodes = [Node(tmp_path / f"gw{number}", target, hop) for number in (1, 2, 3)]
    text = vault.new_key_text()
    for node in nodes:
        vault.make_key_file(node.folder / "vault.key", text)
    return nodes


@pytest.fixture
async def target(databases: Databases) -> AsyncIterator[Target]:
    made = databases.make()
    yield made
    databases.drop(made)


@pytest.mark.service
async def test_O22_mail_under_a_key_that_only_one_node_has_waits_for_it_and_never_bounces(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mistake: one of three is given a new key and seals with it. Then that node dies."""
    monkeypatch.setattr(outcomes, "_KEY_PAUSE", (0.2, 0.2))
    async with Hop() as hop:
        nodes = together(tmp_path, target, hop.address)
        one, two, three = nodes
        for node in (two, three):
            await node.start()
        old = two.vault.current
        vault.make_key_file(one.keys / f"vault-{old}.key", (one.folder / "vault.key").read_bytes())
        text = vault.new_key_text()
        vault.replace_key_file(one.folder / "vault.key", text)
        await one.start()
        new = one.vault.current
        one.relay._stopping = True  # it takes mail, and delivers no more
        delivery, body = await one.accept()
        await one.stop()
        await two.until(delivery, lambda row: row.state is DeliveryState.DEFERRED)
        for _ in range(20):  # some turns on both nodes
            two.relay.wake()
            three.relay.wake()
            await asyncio.sleep(0.05)
        row = await two.store.delivery(delivery)
        assert row is not None
        assert row.state in (DeliveryState.DEFERRED, DeliveryState.LEASED) and row.attempts == 0 and not row.warned
        assert f"needs vault key {new}" in row.last_reply
        assert not hop.taken
        found = await two.store.body(body)
        assert found is not None
        with pytest.raises(KeyMissing):
            two.vault.open(found)
        for node in (two, three):
            node.vault.missed.add(new)
            await node.rotation.look_again(0.0)
            assert node.rotation.lacking == {new}, "which is what the alert asks"

        vault.make_key_file(vault.next_place(two.config, new), text)
        two.vault.missed.add(new)
        await two.rotation.look_again(5.0)
        await two.until(delivery, lambda row: row.state is DeliveryState.DELIVERED)
        assert len(hop.taken) == 1
        for node in (two, three):
            await node.stop()


@pytest.mark.service
async def test_O22_a_rotation_in_two_steps_leaves_no_node_without_a_key_and_wraps_nothing_back(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gateway.keeper import rotation

    monkeypatch.setattr(rotation, "_PAUSE", 0)
    monkeypatch.setattr(rotation, "_AGAIN", 0.01)
    nodes = together(tmp_path, target)  # the next hop is away: mail stays in the store
    for node in nodes:
        await node.start()
    old = nodes[0].vault.current
    before = [await node.accept() for node in nodes]
    assert await asyncio.to_thread(nodes[0].command, "rotate-vault", "--prepare") == 0
    new = capsys.readouterr().out.split("rotate-vault --to ")[1].split()[0]
    for node in nodes[1:]:
        for name in (f"vault-next-{new}.key", vault.EVIDENCE):
            shutil.copy2(nodes[0].keys / name, node.keys / name)
    for place, node in enumerate(nodes):
        assert await asyncio.to_thread(node.command, "rotate-vault", "--to", new) == 0
        assert (await node.rotation.rotate("root"))["key"] == new
        before.append(await node.accept())
        for other in nodes[place + 1 :]:  # they read their keys anew at any moment, and seal with the old one still
            other.vault.missed.add(new)
            await other.rotation.look_again(float(place))
            assert other.vault.current == old and new in other.vault.ids
            other.rotation._run()
        async with asyncio.timeout(15):
            while any(one.rotation.under_way for one in nodes):
                await asyncio.sleep(0.02)
        assert await node.store.bodies_by_key() == {new: len(before)}, "all that was there is under the new key, and stays so"
        for _, body in before:
            for one in nodes:
                found = await one.store.body(body)
                assert found is not None and one.vault.open(found) == CONTENT
        assert len({one.vault.words_hash("SECRET") for one in nodes}) == 1, "equal words are equal on all nodes"
    for node in nodes:
        assert not list(node.keys.glob("vault-next-*")) and (node.keys / f"vault-{old}.key").exists()
        await node.stop()


async def test_O22_nodes_that_seal_with_different_keys_do_not_wrap_each_others_rows_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.keeper import rotation

    monkeypatch.setattr(rotation, "_AGAIN", 0)
    one, _, _ = together(tmp_path, AWAY)
    nowhere: Any = None
    ring, passes = Rotation(one.config, nowhere, vault.load(one.config)[0], time.time), 0

    async def each_finds_rows_of_the_other() -> int:
        nonlocal passes
        passes += 1
        return 7

    monkeypatch.setattr(ring, "_pass", each_finds_rows_of_the_other)
    async with asyncio.timeout(5):
        await ring._passes()
    assert passes == 1 + rotation._MOST


def test_O22_a_node_of_many_is_not_given_a_new_key_in_one_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, _ = together(tmp_path, AWAY)
    old = vault.load(one.config)[0].current
    assert one.command("rotate-vault") == 1
    assert "each has to have the new key before one seals with it" in capsys.readouterr().err
    assert vault.load(one.config)[0].ids == {old}
    assert one.command("rotate-vault", "--prepare", "--lost") == 2
    assert one.command("rotate-vault", "--prepare") == 0
    new = capsys.readouterr().out.split("rotate-vault --to ")[1].split()[0]
    prepared = vault.load(one.config)[0]
    assert (prepared.current, prepared.ids, prepared.ahead) == (old, frozenset((old, new)), frozenset((new,)))
    assert two.command("rotate-vault", "--to", new) == 1
    assert "copy it from the node where it was made" in capsys.readouterr().err
    place = vault.next_place(two.config, new)
    vault.make_key_file(place, vault.new_key_text())
    assert two.command("rotate-vault", "--to", new) == 1
    assert "copy it again" in capsys.readouterr().err
    assert vault.load(two.config)[0].current == old
    place.write_bytes(vault.next_place(one.config, new).read_bytes())
    for node in (one, two):
        assert node.command("rotate-vault", "--to", new) == 0
        now = vault.load(node.config)[0]
        assert (now.current, now.ids, now.ahead) == (new, frozenset((old, new)), frozenset[str]())
    assert one.command("rotate-vault", "--to", new) == 0, "it was done before"
