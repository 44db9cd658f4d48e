"""Mailboxes of others at the IMAP door: what the server tells of them, and what may go there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.wire.imap_namespaces import Namespaces
from tests.imap_door import Client, Memory, Running, Server, running

TOLD = b'* NAMESPACE (("" "/")) (("user/" "/")) (("Public/" "/"))\r\n'
NOTE = b"Subject: note\r\n\r\nhello\r\n"
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestDeprecationWarning")


async def filed(client: Client, mailbox: bytes) -> bytes:
    """The reply to an APPEND of a note."""
    client.write(b"f APPEND " + mailbox + b" {%d+}\r\n%s\r\n" % (len(NOTE), NOTE))
    return (await client.until(b"f"))[-1]


def shared(door: Running) -> bool:
    """Whether what was filed last was taken for mail to others."""
    return door.memory.messages[-1][0].shared


@pytest.mark.parametrize(
    ("mailbox", "others"),
    [
        (b"INBOX", False), (b"Drafts", False), (b'"user/ravi/INBOX"', True), (b"{7+}\r\nPublic/", True), (b"public/notices", True),
        (b"&AFAAdQBiAGwAaQBj-/x", True), (b"Publicity", False),
    ],
)  # fmt: skip
async def test_I06_what_is_filed_with_others_is_mail_to_others(tmp_path: Path, mailbox: bytes, others: bool) -> None:
    async with running(tmp_path, Server(namespaces=TOLD)) as door:
        client = await (await door.connect()).login()
        assert (await filed(client, mailbox)).startswith(b"f OK")
        assert shared(door) is others


async def test_I10_the_client_sees_nothing_of_our_question_and_waits_for_its_answer(tmp_path: Path) -> None:
    async with running(tmp_path, Server(namespaces=TOLD)) as door:
        client = await door.connect()
        client.write(b'a LOGIN "so" "pw one"\r\nb NAMESPACE\r\nc NOOP\r\n')
        assert (await client.until(b"a"))[-1].startswith(b"a OK")
        assert await client.until(b"c") == [TOLD, b"b OK NAMESPACE done\r\n", b"c OK NOOP done\r\n"]
        asked = [one.split(b" ")[1].strip() for one in door.server.commands]
        assert asked == [b"LOGIN", b"NAMESPACE", b"NAMESPACE", b"NOOP"]
        assert not door.server.commands[1].startswith(b"b ")


async def test_I12_a_server_without_namespaces_is_not_asked_or_has_none(tmp_path: Path) -> None:
    async with running(tmp_path, Server(inside=b"IMAP4rev1 LITERAL+", namespaces=TOLD)) as door:
        client = await (await door.connect()).login()
        assert (await filed(client, b"Public/x")).startswith(b"f OK")
        assert not shared(door)
        assert not any(b"NAMESPACE" in one for one in door.server.commands)
    async with running(tmp_path, Server(no={b"NAMESPACE": b"NO not here"})) as door:
        client = await (await door.connect()).login()
        assert (await filed(client, b"Public/x")).startswith(b"f OK")
        assert not shared(door)


async def test_I02_a_list_that_cannot_be_read_ends_the_session(tmp_path: Path) -> None:
    async with running(tmp_path, Server(namespaces=b'* NAMESPACE (("" "/") NIL NIL\r\n')) as door:
        client = await door.connect()
        client.write(b'a LOGIN "so" "pw one"\r\nb NOOP\r\n')
        said = await client.rest()
        assert said.startswith(b"a OK")
        assert b"* BYE [UNAVAILABLE]" in said
        assert b"b OK" not in said
        assert door.door.counters["closed: server protocol"] == 1


async def test_a_server_that_never_answers_our_question_is_not_waited_for_without_end(tmp_path: Path) -> None:
    async with running(tmp_path, Server(no={b"NAMESPACE": b""}), imap_login=0.5) as door:
        client = await door.connect()
        client.write(b'a LOGIN "so" "pw one"\r\nb NOOP\r\n')
        said = await client.rest()
        assert said.startswith(b"a OK")
        assert b"* BYE" in said
        assert b"b OK" not in said


MOVES = [
    b'COPY 1 "user/ravi"',
    b"UID COPY 1:5 Public/notices",
    b"MOVE 1 {13+}\r\nuser/ravi/new",
    b"uid move 1 Public",
    b"RENAME Own Public/Own",
]


@pytest.mark.parametrize("command", MOVES)
async def test_I06_what_is_copied_to_others_passes_or_not_as_the_config_says(tmp_path: Path, command: bytes) -> None:
    async with running(tmp_path, Server(namespaces=TOLD)) as door:
        client = await (await door.connect()).login()
        client.write(b"m " + command + b"\r\n")
        assert (await client.until(b"m"))[-1].startswith(b"m OK")
    async with running(tmp_path, Server(namespaces=TOLD), imap={"shared": "refuse"}) as door:
        client = await (await door.connect()).login()
        before = len(door.server.commands)
        client.write(b"m " + command + b"\r\nn NOOP\r\n")
        said = await client.until(b"n")
        assert said[0].startswith(b"m NO [NOPERM] Nothing is copied or moved into mailboxes of others here.")
        assert said[-1].startswith(b"n OK")
        assert [one.split(b" ")[1] for one in door.server.commands[before:]] == [b"NOOP\r\n"]
        (refusal,) = door.memory.refusals
        assert (refusal.rule, refusal.user, refusal.door) == ("imap-shared", "so", "imap")


OWN = [b"COPY 1 Archive", b"UID MOVE 1:5 {5+}\r\nTrash", b'RENAME "a b" c', b"MOVE 1,3 INBOX", b"COPY $ Drafts"]


@pytest.mark.parametrize("command", OWN)
async def test_what_stays_with_its_owner_goes_on_where_nothing_may_be_copied_to_others(tmp_path: Path, command: bytes) -> None:
    async with running(tmp_path, Server(namespaces=TOLD), imap={"shared": "refuse"}) as door:
        client = await (await door.connect()).login()
        client.write(b"m " + command + b"\r\nn NOOP\r\n")
        said = await client.until(b"n")
        assert (said[0][:4], said[-1][:4]) == (b"m OK", b"n OK")
        assert door.server.commands[-2] == b"m " + command.replace(b"+}", b"}") + b"\r\n"


@pytest.mark.parametrize("command", [b"COPY 1", b"MOVE 1 a b", b"RENAME a b (x)", b"COPY 1 {2000+}\r\n" + b"x" * 2000])
async def test_I03_what_cannot_be_read_is_not_copied(tmp_path: Path, command: bytes) -> None:
    async with running(tmp_path, Server(namespaces=TOLD), imap={"shared": "refuse"}) as door:
        client = await (await door.connect()).login()
        client.write(b"m " + command + b"\r\nn NOOP\r\n")
        said = await client.until(b"n")
        assert said[0].startswith((b"m BAD", b"m NO [LIMIT]"))
        assert said[-1].startswith(b"n OK")
        assert not any(one.startswith(b"m ") for one in door.server.commands)


async def test_I12_a_second_session_of_another_login_learns_anew(tmp_path: Path) -> None:
    async with running(tmp_path, Server(namespaces=TOLD), memory=Memory()) as door:
        one, two = await asyncio.gather(door.connect(), door.connect())
        await one.login()
        door.server.namespaces = b'* NAMESPACE (("" "/")) NIL NIL\r\n'
        await two.login()
        await filed(one, b"Public/x")
        assert shared(door)
        await filed(two, b"Public/x")
        assert not shared(door)
    assert not Namespaces((), ()).are_others(b"x")
