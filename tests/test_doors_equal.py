"""One message, two doors: what the pipeline decides about mail by SMTP it decides about the same mail by a milter."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import pytest
from msgspec.structs import replace

from gateway import content as inspection_of
from gateway.audit import events
from gateway.config import Config
from gateway.envelope import Door, Envelope, Peer, Recipient, Transaction, new_id
from gateway.pipeline import Keys, Pipeline
from gateway.policy import decide, register
from gateway.reply import Reply
from gateway.requests import Committed, Exceptions, ProfileRow, Stale
from gateway.verdict import Disposition, Inspection, Remembered, Thread, Verdict
from tests.keeper_kit import make_vault
from tests.mixed_mail import Mixed, messages
from tests.test_decide import CONFIG, NOW, POLICY, path

COUNT = 1000
NOTED = Exceptions("v", (), (ProfileRow("p1", register.MTA_PATH, "r", "gateway doctor", "", NOW - 10, NOW + 10),))


class Inspector:
    """The inspector's own reading, once a message."""

    def __init__(self, config: Config) -> None:
        self._read = functools.lru_cache(maxsize=4)(
            lambda content, sha256: inspection_of.unpack(content, sha256=sha256, limits=config.limits, scheme=POLICY.scheme)
        )

    async def inspect(self, content: bytes, sha256: str, keys: Keys = ()) -> Inspection:
        return self._read(content, sha256)


class Keeper:
    """Remembers what was decided last."""

    exceptions = NOTED
    verdict: Verdict

    async def refresh_exceptions(self) -> None:
        raise AssertionError("nothing is stale here")

    async def first_times(self, sender: str, recipients: tuple[str, ...]) -> frozenset[str]:
        return frozenset(recipients[:1])

    async def thread_levels(self, thread: Thread) -> Remembered:
        return Remembered()

    async def commit(self, tx: Transaction, verdict: Verdict, content: bytes) -> Committed | Stale:
        self.verdict = verdict
        return Committed(Reply(250, "2.0.0", "accepted"), tx.reference)

    async def deferred(self, tx: Transaction, reply: Reply, cause: str) -> None:
        raise AssertionError(cause)


def transaction(one: Mixed) -> Transaction:
    peer = Peer("10.0.0.5" if one.ours else "192.0.2.7", helo="pc.example", listed=one.ours)
    sender = path(one.sender)
    return Transaction(
        new_id(), Door.SMTP, peer, Envelope(sender, tuple(Recipient(path(to)) for to in one.recipients)), NOW, len(one.content),
        hashlib.sha256(one.content).hexdigest(), decide.verified(sender, peer, CONFIG), "dept.gov.in",
    )  # fmt: skip


def told(tx: Transaction, verdict: Verdict) -> list[dict[str, Any]]:
    """What the decision log says, but for the door."""
    found = [one.document for one in events.decisions(tx, verdict, {}, NOW, make_vault().words_hash, "gw1", subject="x")]
    for one in found:
        del one["gateway"]["door"]
    return found


def plain(verdict: Verdict) -> Verdict:
    """*verdict* without what is the door's own: its name, and the Received field, which an MTA writes itself."""
    recipients = tuple(replace(one, edits=tuple(edit for edit in one.edits if edit.header != "Received")) for one in verdict.recipients)
    return replace(verdict, recipients=recipients, message_facts=verdict.message_facts | {"door": ""})


async def both(pipeline: Pipeline, keeper: Keeper, one: Mixed) -> Verdict:
    """The verdict by SMTP, after it was held against that by a milter."""
    tx = transaction(one)
    await pipeline.outcome(tx, one.content)
    by_smtp, received = keeper.verdict, [edit for each in keeper.verdict.recipients for edit in each.edits if edit.header == "Received"]
    assert len(received) == len(one.recipients), one.name
    by_milter = replace(tx, door=Door.MILTER)
    await pipeline.outcome(by_milter, one.content)
    assert not [edit for each in keeper.verdict.recipients for edit in each.edits if edit.header == "Received"], one.name
    assert plain(keeper.verdict) == plain(by_smtp), one.name
    assert told(by_milter, keeper.verdict) == told(tx, by_smtp), one.name
    return by_smtp


@pytest.mark.slow
async def test_T04_1000_messages_are_decided_alike_by_SMTP_and_by_a_milter() -> None:
    keeper = Keeper()
    pipeline = Pipeline(POLICY, CONFIG, Inspector(CONFIG), keeper)
    seen: dict[str, int] = {}
    levels, rules = set(), set()
    for one in messages(COUNT):
        verdict = await both(pipeline, keeper, one)
        levels.add(verdict.classification.level)
        for each in verdict.recipients:
            seen[each.disposition.text] = seen.get(each.disposition.text, 0) + 1
            rules.add(each.rule)
    # The messages are of every kind, or the comparison would say little.
    assert min(seen.get(one.text, 0) for one in (Disposition.DELIVER, Disposition.HOLD, Disposition.REFUSE)) > 100, seen
    assert len(levels) == 6 and len(rules) >= 10, (levels, rules)


async def test_T04_a_few_of_them_in_every_run() -> None:
    keeper = Keeper()
    pipeline = Pipeline(POLICY, CONFIG, Inspector(CONFIG), keeper)
    for one in messages(12, seed=1):
        await both(pipeline, keeper, one)
