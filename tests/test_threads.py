"""The memory of threads: what an answer below its thread means, who writes into the memory, what is kept, and what a door is told."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.doors.peers import KeeperLink
from gateway.envelope import Door, Peer
from gateway.levels import Level
from gateway.pipeline import Pipeline
from gateway.policy import decide, threads
from gateway.reply import OUR_FAULT, Reply, ReplyError
from gateway.requests import Committed, Failed, ThreadLevel, ThreadLevels
from gateway.stores.base import Batch, StoreError, ThreadRow
from gateway.verdict import Authentication, Confidence, Disposition, Finding, Headers, Inspection, Memo, Remembered, Thread, Verdict, Zone
from tests.keeper_kit import Room, recipient, transaction, verdict
from tests.test_correspondents import DAY, FakeChannel
from tests.test_decide import CONFIG, LISTED, NONE, POLICY, STRANGER, finding, inspection
from tests.test_decide import transaction as decided_transaction

R, C, S, TS = Level.RESTRICTED, Level.CONFIDENTIAL, Level.SECRET, Level.TOP_SECRET
INSIDE, OUTSIDE, CITIZEN = "desk@ministry.gov.in", "incident@cert-in.org.in", "someone@example.com"
ANSWER = Thread(True, ("root@dept.gov.in",), (b"passage1",))


def verdict_on(to: str, remembered: Remembered, *findings: Finding, **more: Any) -> Verdict:
    seen = replace(inspection(found=findings), thread=more.pop("thread", ANSWER), **more)
    tx = decided_transaction(to, sender="officer@dept.gov.in", peer=LISTED)
    return decide.decide(tx, seen, POLICY, NONE, CONFIG, remembered=remembered)


def label(level: Level) -> Finding:
    return finding(level, "header:SIO-Label", zone=Zone.LABEL)


# --- what is decided ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("to", "remembered", "findings", "disposition", "rule", "conflict"), [
    (INSIDE, Remembered(), (), "deliver", "ordinary-mail", False),
    # an answer without any marking: held where it leaves government, tagged inside
    (INSIDE, Remembered(thread=C), (), "deliver", "ordinary-mail", False),
    (OUTSIDE, Remembered(thread=C), (), "hold", "thread-downgraded", False),
    (OUTSIDE, Remembered(thread=S), (), "hold", "thread-downgraded", False),
    # an answer that declares less
    (INSIDE, Remembered(thread=C), (label(R),), "hold", "thread-downgraded", True),
    (INSIDE, Remembered(thread=C), (label(Level.UNCLASSIFIED),), "hold", "thread-downgraded", True),
    # one that says the same, or more
    (INSIDE, Remembered(thread=C), (label(C),), "deliver", "ordinary-mail", False),
    (INSIDE, Remembered(thread=R), (label(C),), "deliver", "ordinary-mail", False),
    # a marked passage without its marking is held everywhere
    (INSIDE, Remembered(passage=C), (), "hold", "thread-downgraded", True),
    (OUTSIDE, Remembered(passage=C), (), "hold", "thread-downgraded", True),
    (INSIDE, Remembered(passage=C), (label(C),), "deliver", "ordinary-mail", False),
    # what was SECRET is probably SECRET
    (INSIDE, Remembered(passage=S), (), "hold", "probable-secret", True),
    # a private provider is refused anyhow
    (CITIZEN, Remembered(thread=C), (), "refuse", "outbound-to-non-government", False),
])  # fmt: skip
def test_R7_what_an_answer_below_its_thread_comes_to(
    to: str, remembered: Remembered, findings: tuple[Finding, ...], disposition: str, rule: str, conflict: bool
) -> None:
    found = verdict_on(to, remembered, *findings)
    assert (found.recipients[0].disposition.text, found.recipients[0].rule) == (disposition, rule)
    assert found.classification.conflict is conflict


def test_inside_government_an_unmarked_answer_is_tagged() -> None:
    assert "thread-unmarked" in verdict_on(INSIDE, Remembered(thread=C)).recipients[0].tags
    assert "thread-unmarked" not in verdict_on(INSIDE, Remembered()).recipients[0].tags


def test_the_facts_and_the_evidence_hold_levels_and_no_words() -> None:
    found = verdict_on(INSIDE, Remembered(thread=S, passage=C))
    facts = found.message_facts
    assert (facts["message.thread_level"], facts["message.passage_level"], facts["message.thread_conflict"]) == (int(S), int(C), True)
    evidence = {one.detector: one for one in found.classification.evidence}
    assert (evidence["passage"].level, evidence["passage"].confidence, evidence["passage"].path) == (
        C,
        Confidence.PROBABLE,
        "header:References",
    )
    assert (evidence["thread"].level, evidence["thread"].confidence) == (S, Confidence.POSSIBLE)
    assert {one.text for one in evidence.values()} == {""}
    assert found.classification.level is None
    plain = verdict_on(INSIDE, Remembered()).message_facts
    assert (plain["message.thread_level"], plain["message.passage_level"], plain["message.thread_conflict"]) == (-1, -1, False)


def test_the_sentence_names_the_level_of_the_thread() -> None:
    one = verdict_on(OUTSIDE, Remembered(thread=C)).recipients[0]
    for language in ("en", "hi"):
        said = POLICY.explanations.sentence(one.explain, language, dict(one.facts))
        assert "CONFIDENTIAL" in said.what


def test_a_release_decides_by_what_was_remembered_then() -> None:
    found = verdict_on(OUTSIDE, Remembered(thread=C))
    again = decide.again(found.message_facts, found.recipient_facts[0], POLICY)
    assert (again.disposition, again.rule) == (Disposition.HOLD, "thread-downgraded")
    waived = decide.again(found.message_facts, found.recipient_facts[0], POLICY, frozenset(("thread-downgraded",)))
    assert waived.disposition is Disposition.DELIVER
    old = {name: value for name, value in found.message_facts.items() if "thread" not in name and "passage" not in name}
    assert decide.again(old, found.recipient_facts[0], POLICY).disposition is Disposition.DELIVER, "an older snapshot knows no thread"


# --- what is asked, and of whom -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("thread", "peer", "sender", "asks"), [
    (ANSWER, LISTED, "officer@dept.gov.in", True),
    (Thread(True, ("a@b",), ()), LISTED, "officer@dept.gov.in", True),
    (Thread(True, (), ()), LISTED, "officer@dept.gov.in", False),
    (Thread(False, (), (), ((C, b"x"),)), LISTED, "officer@dept.gov.in", False),
    (None, LISTED, "officer@dept.gov.in", False),
    (ANSWER, STRANGER, "someone@example.com", False),
    (ANSWER, LISTED, "", False),
])  # fmt: skip
def test_only_answers_of_our_own_people_ask(thread: Thread | None, peer: Peer, sender: str, asks: bool) -> None:
    tx = decided_transaction(INSIDE, sender=sender, peer=peer)
    assert threads.asks(tx, replace(inspection(), thread=thread), POLICY) is asks


class Memory:
    """The keeper as the pipeline sees it."""

    def __init__(self, answer: Remembered | ReplyError) -> None:
        self.exceptions = NONE
        self.answer = answer
        self.asked: list[Thread] = []
        self.put_off: list[str] = []
        self.verdicts: list[Verdict] = []

    async def refresh_exceptions(self) -> None:
        raise AssertionError("nothing is stale here")

    async def first_times(self, sender: str, recipients: tuple[str, ...]) -> frozenset[str]:
        return frozenset()

    async def thread_levels(self, thread: Thread) -> Remembered:
        self.asked.append(thread)
        if isinstance(self.answer, ReplyError):
            raise self.answer
        return self.answer

    async def commit(self, tx: Any, made: Verdict, content: bytes) -> Committed:
        self.verdicts.append(made)
        return Committed(Reply(250, "2.0.0", "accepted"), tx.reference)

    async def deferred(self, tx: Any, reply: Reply, cause: str) -> None:
        self.put_off.append(cause)


MAIL = b"From: officer@dept.gov.in\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <new@dept.gov.in>\r\n%s\r\nKindly send the agenda.\r\n"


def sent(subject: bytes = b"Meeting", fields: bytes = b"", to: str = OUTSIDE) -> tuple[Any, bytes]:
    content = MAIL % (to.encode(), subject, fields)
    tx = decided_transaction(to, sender="officer@dept.gov.in", peer=LISTED)
    return replace(tx, size=len(content)), content


def pipeline(memory: Memory) -> Pipeline:
    return Pipeline(POLICY, CONFIG, None, memory)  # type: ignore[arg-type]


async def test_the_pipeline_asks_for_answers_and_for_nothing_else() -> None:
    memory = Memory(Remembered(thread=C))
    await pipeline(memory).handle(*sent())
    assert memory.asked == []
    await pipeline(memory).handle(*sent(b"Re: Meeting", b"In-Reply-To: <root@dept.gov.in>\r\n"))
    assert [one.references for one in memory.asked] == [("root@dept.gov.in",)]
    assert [one.recipients[0].rule for one in memory.verdicts] == ["ordinary-mail", "thread-downgraded"]


async def test_what_cannot_be_asked_is_deferred() -> None:
    memory = Memory(ReplyError(OUR_FAULT, "away"))
    with pytest.raises(ReplyError) as caught:
        await pipeline(memory).handle(*sent(b"Re: Meeting", b"References: <root@dept.gov.in>\r\n"))
    assert caught.value.reply.temporary
    assert memory.put_off == ["what the thread was marked before could not be asked"]
    assert memory.verdicts == []


# --- who writes, and what -------------------------------------------------------------------------------------------------

MARKED = Thread(False, (), (), ((C, b"passage1"), (C, b"passage2")))


def memo(
    seen: Inspection, level: Level | None, *, sender: str = "officer@dept.gov.in", peer: Peer = LISTED,
    remembered: Remembered = threads.NOTHING, door: Door = Door.SMTP,
) -> Memo | None:  # fmt: skip
    tx = replace(decided_transaction(INSIDE, sender=sender, peer=peer), door=door)
    return threads.memo(tx, seen, level, remembered, CONFIG, POLICY.domains)


def seen(
    thread: Thread | None = MARKED, *authentication: Authentication, author: str = "officer@dept.gov.in", **headers: Any
) -> Inspection:
    return replace(
        inspection(), thread=thread, authentication=authentication,
        headers=Headers(message_id=" <One@dept.gov.in>", from_addresses=(author,), **headers),
    )  # fmt: skip


def test_marked_mail_of_ours_leaves_its_id_and_its_passages() -> None:
    assert memo(seen(), C) == Memo(C, "One@dept.gov.in", MARKED.passages)
    assert memo(seen(None), None) is None
    assert memo(seen(None), Level.UNCLASSIFIED) is None


def test_an_answer_hands_the_level_of_its_thread_on() -> None:
    assert memo(seen(ANSWER), None, remembered=Remembered(thread=C)) == Memo(C, "One@dept.gov.in", ())
    assert memo(seen(ANSWER), R, remembered=Remembered(thread=S)) == Memo(S, "One@dept.gov.in", ())
    assert memo(seen(ANSWER), None, remembered=Remembered(passage=C)) is None, "its own answers are asked for their passages again"


def test_a_message_that_gets_its_id_here_is_remembered_by_that() -> None:
    made = memo(seen(unnamed=True).__class__(**{**_fields(seen()), "headers": Headers(unnamed=True)}), C, door=Door.SUBMISSION)
    assert made is not None
    assert made.message_id.endswith("@" + CONFIG.hostname)


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


@pytest.mark.parametrize(("author", "results", "kept"), [
    ("someone@example.com", (), False),
    ("someone@example.com", (Authentication("dkim", "pass", "example.com"),), False),
    ("so@finance.nic.in", (), False),
    ("so@finance.nic.in", (Authentication("dkim", "fail", "finance.nic.in"),), False),
    ("so@finance.nic.in", (Authentication("dkim", "pass", "example.com"),), False),
    ("so@finance.nic.in", (Authentication("dkim", "pass", "ance.nic.in"),), False),
    ("so@finance.nic.in", (Authentication("dkim", "pass", "finance.nic.in"),), True),
    ("so@finance.nic.in", (Authentication("dkim", "pass", "NIC.in"),), True),
    ("so@finance.nic.in", (Authentication("dkim", "pass", "nic.in", "", ("received", "x-spam", "content-language")),), True),
    ("so@finance.nic.in", (Authentication("dkim", "pass", "nic.in", "", ("message-id",)),), False),
    ("so@finance.nic.in", (Authentication("dkim", "pass", "nic.in", "", ("content-disposition", "x-spam")),), False),
    ("so@finance.nic.in", (Authentication("dkim", "pass", "nic.in", "", ("*",)),), False),
])  # fmt: skip
def test_strangers_write_nothing_unless_a_government_domain_has_signed(
    author: str, results: tuple[Authentication, ...], kept: bool
) -> None:
    """Who knows the Message-ID of a thread of ours could otherwise have every later answer in it held."""
    found = memo(seen(MARKED, *results, author=author), TS, sender=author, peer=STRANGER)
    assert (found is not None) is kept


@pytest.mark.parametrize(("path", "kept"), [("header:Subject", False), ("header:SIO-Label", False), ("1.2", True), ("", True)])
def test_a_marking_that_was_put_into_the_header_of_signed_mail_is_not_remembered(path: str, kept: bool) -> None:
    """Whoever has a signed circular can pass it on under a marking of his own, and its text would be held wherever it is quoted."""
    result = Authentication("dkim", "pass", "nic.in", "", ("subject", "sio-label"))
    marked = replace(seen(MARKED, result, author="so@finance.nic.in"), findings=(finding(S, path),))
    assert (memo(marked, S, sender="so@finance.nic.in", peer=STRANGER) is not None) is kept


def test_the_null_sender_writes_nothing() -> None:
    assert memo(seen(), C, sender="") is None


# --- the keeper's table ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    await made.open()
    yield made
    with contextlib.suppress(StoreError):  # a test may have closed it
        await made.close()


async def table(room: Room) -> list[tuple[Any, ...]]:
    return await room.store._read(lambda db: db.execute("SELECT mark, level, last_seen, department FROM threads ORDER BY mark").fetchall())


def made(room: Room, disposition: Disposition, kept: Memo | None, **more: Any) -> Verdict:
    return replace(verdict(room.version, recipient("desk@finance.nic.in", disposition), **more), memo=kept)


KEPT = Memo(C, "root@dept.gov.in", ((C, b"passage1"), (R, b"passage2"), (Level.UNCLASSIFIED, b"passage3")))


@pytest.mark.parametrize("disposition", [Disposition.DELIVER, Disposition.HOLD, Disposition.REFUSE])
async def test_whatever_is_decided_is_remembered_and_higher_and_later_stays(room: Room, disposition: Disposition) -> None:
    await room.commit(transaction(), made(room, disposition, KEPT))
    assert await room.threads.levels(ThreadLevels(("root@dept.gov.in",), ())) == Remembered(C, None)
    assert await room.threads.levels(ThreadLevels(("x@y", "root@dept.gov.in"), (b"passage2", b"other"))) == Remembered(C, R)
    assert await room.threads.levels(ThreadLevels(("ROOT@dept.gov.in",), (b"passage3",))) == Remembered()
    assert await room.threads.levels(ThreadLevels((), ())) == Remembered()
    room.now += DAY
    await room.commit(transaction(), made(room, disposition, Memo(R, "root@dept.gov.in", ((S, b"passage2"),))))
    assert await room.threads.levels(ThreadLevels(("root@dept.gov.in",), (b"passage2",))) == Remembered(C, S), "a replay lowers nothing"


async def test_what_was_written_today_is_not_written_again_but_where_it_is_higher(room: Room) -> None:
    written: list[Any] = []
    write = room.store.write

    async def seen(batch: Any) -> None:
        written.append([(row.level, row.day) for row in batch.threads])
        await write(batch)

    room.store.write = seen  # type: ignore[method-assign]
    day = int(room.now // DAY)
    for disposition in (Disposition.DELIVER, Disposition.HOLD, Disposition.REFUSE):
        await room.commit(transaction(), made(room, disposition, KEPT))
    assert written == [[(C, day), (R, day), (C, day)], [], []]
    await room.commit(transaction(), made(room, Disposition.REFUSE, Memo(S, "root@dept.gov.in", ((R, b"passage1"),)), session_refusal=True))
    assert written.pop() == [(S, day)]
    room.now += DAY
    await room.commit(transaction(), made(room, Disposition.DELIVER, KEPT))
    assert written.pop() == [(C, day + 1), (R, day + 1), (C, day + 1)]
    assert await room.threads.levels(ThreadLevels(("root@dept.gov.in",), (b"passage1",))) == Remembered(S, C)


async def test_what_was_not_durable_is_written_by_the_next(room: Room) -> None:
    write = room.store.write

    async def broken(batch: Any) -> None:
        raise StoreError("disk")

    room.store.write = broken  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        await room.commit(transaction(), made(room, Disposition.DELIVER, KEPT))
    room.store.write = write  # type: ignore[method-assign]
    assert await table(room) == []
    await room.commit(transaction(), made(room, Disposition.DELIVER, KEPT))
    assert len(await table(room)) == 3


async def test_what_is_refused_in_the_session_leaves_hashes_and_nothing_else(room: Room) -> None:
    secret = Memo(TS, "root@dept.gov.in", ((TS, b"passage1"),))
    answer = await room.commit(transaction(), made(room, Disposition.REFUSE, secret, session_refusal=True))
    assert answer.reply.code == 550
    assert await room.threads.levels(ThreadLevels(("root@dept.gov.in",), (b"passage1",))) == Remembered(TS, TS)
    assert await room.store._read(lambda db: db.execute("SELECT count(*) FROM bodies").fetchone()[0]) == 0


async def test_a_deferral_leaves_nothing(room: Room) -> None:
    await room.commit(transaction(), made(room, Disposition.DEFER, KEPT))
    assert await table(room) == []


async def test_neither_id_nor_fingerprint_stands_in_the_table_and_another_key_gives_other_hashes(room: Room, tmp_path: Path) -> None:
    await room.commit(transaction(), made(room, Disposition.DELIVER, KEPT))
    found = await table(room)
    assert len(found) == 3
    assert {len(row[0]) for row in found} == {16}
    assert room.vault.thread_hash("message", b"x") != room.vault.thread_hash("passage", b"x")
    assert {row[3] for row in found} == {"dept.gov.in"}
    await room.store.close()
    octets = b"".join(path.read_bytes() for path in tmp_path.glob("gateway.db*"))
    for word in (b"root@dept.gov.in", b"passage1", b"passage2"):
        assert word not in octets


async def test_what_is_old_goes(room: Room) -> None:
    await room.store.write(Batch(threads=[ThreadRow(bytes([n]) * 16, 2, n) for n in range(10)]))
    assert [await room.store.drop_threads(7, 4) for _ in range(3)] == [4, 3, 0]
    assert sorted(await room.store.remembered([bytes([n]) * 16 for n in range(10)])) == [bytes([n]) * 16 for n in (7, 8, 9)]


async def test_many_marks_of_many_batches_are_written_together(room: Room) -> None:
    rows = [ThreadRow(n.to_bytes(16, "big"), 1 + n % 3, 5) for n in range(500)]
    await room.store.write(Batch(threads=rows + rows[:50]))
    found = await room.store.remembered([row.mark for row in rows] + [b"nobody"])
    assert found == {row.mark: row.level for row in rows}


async def test_a_store_that_cannot_be_read_is_no_empty_answer(room: Room) -> None:
    await room.store.close()
    with pytest.raises(StoreError):
        await room.threads.levels(ThreadLevels(("a@b",), ()))


async def test_a_door_asks_and_what_cannot_be_known_is_deferred(room: Room) -> None:
    link = KeeperLink(room.config)
    with pytest.raises(ReplyError) as away:
        await link.thread_levels(ANSWER)
    assert away.value.reply.temporary
    channel = FakeChannel(ThreadLevel(Remembered(C)))
    link._channel = channel  # type: ignore[assignment]
    assert await link.thread_levels(ANSWER) == Remembered(C)
    assert channel.asked == [ThreadLevels(ANSWER.references, ANSWER.quotes)]
    for answer in (Failed("disk", 3), object()):
        channel.answer = answer
        with pytest.raises(ReplyError) as caught:
            await link.thread_levels(ANSWER)
        assert caught.value.reply.temporary
