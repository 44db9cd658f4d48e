"""Who may relay, at the door: the checks at RCPT and their order."""

from __future__ import annotations

import pytest

from gateway.address import Path
from gateway.config import Config
from gateway.doors.relaying import Refused, Relaying
from gateway.envelope import Peer
from gateway.reply import Reply

from .smtp_door import HOP, OURS, OUT, Client, Running, make_config, running

LISTED = Peer("127.0.0.1", listed=True)
STRANGER = Peer("198.51.100.7")


def relaying(config: Config | None = None) -> Relaying:
    return Relaying(config or make_config(), lambda sender, recipient, peer: None)


def path(text: str) -> Path:
    local, _, domain = text.partition("@")
    return Path(local, domain)


def rule(sender: str, recipient: str, peer: Peer, config: Config | None = None) -> str:
    one = relaying(config)
    refused = one.check(path(sender), one.target(path(recipient)), peer)
    assert refused is None or refused.reply.code >= 500
    return refused.rule if refused else ""


@pytest.mark.parametrize(
    ("sender", "recipient", "peer", "expected"),
    [
        (f"a@{OURS}", "x@gmail.com", LISTED, ""),
        ("", "x@gmail.com", LISTED, ""),
        ("a@gmail.com", "x@gov.in", LISTED, "sender-not-official"),
        ("a@gmail.com", f"b@{OURS}", LISTED, "sender-not-official"),
        (f"a@sub.{OURS}", "x@gov.in", LISTED, "sender-not-official"),
        ("a@gmail.com", f"postmaster@{OURS}", LISTED, ""),
        ("a@gmail.com", f"b@{OURS}", STRANGER, ""),
        ("", f"b@{OURS}", STRANGER, ""),
        ("a@gmail.com", "x@gmail.com", STRANGER, "relay-denied"),
        ("a@gmail.com", f"b@sub.{OURS}", STRANGER, "relay-denied"),
        ("a@gmail.com", "postmaster@gmail.com", STRANGER, "relay-denied"),
        ("a@gmail.com", f"Abuse@{OURS}", STRANGER, ""),
        ("a@gmail.com", "postmaster", STRANGER, ""),
        ("a@gmail.com", "PostMaster", STRANGER, ""),
        ("a@gmail.com", "b@gw.dept.gov.in", STRANGER, "own-host"),
        ("a@gmail.com", "postmaster@gw.dept.gov.in", STRANGER, ""),
        ("a@gmail.com", "Abuse@gw.dept.gov.in", LISTED, ""),
    ],
)
def test_who_may_relay(sender: str, recipient: str, peer: Peer, expected: str) -> None:
    assert rule(sender, recipient, peer) == expected


@pytest.mark.parametrize("sender", [f"a@{OURS}", f"postmaster@{OURS}"])
@pytest.mark.parametrize("recipient", [f"b@{OURS}", f"postmaster@{OURS}", "x@gmail.com"])
def test_A23_own_domain_from_outside(sender: str, recipient: str) -> None:
    assert rule(sender, recipient, STRANGER) == "own-domain-from-outside"
    assert rule(sender, recipient, LISTED) == ""


def test_A31_mail_for_the_host_itself() -> None:
    assert rule(f"a@{OURS}", "b@gw.dept.gov.in", LISTED) == "own-host"
    named = make_config(route=[{**HOP, "domains": ["gw.dept.gov.in"]}, OUT])
    assert rule(f"a@{OURS}", "b@gw.dept.gov.in", LISTED, named) == ""


def test_A16_bare_postmaster_is_ours() -> None:
    assert relaying().target(Path("postmaster", "")) == Path("postmaster", OURS)
    assert relaying().target(Path("postmaster", "gw.dept.gov.in")) == Path("postmaster", OURS)
    other = make_config(contacts={"postmaster": ""}, route=[OUT, {**HOP, "domains": ["z.gov.in"]}])
    assert relaying(other).target(Path("Postmaster", "")) == Path("Postmaster", "z.gov.in")


def test_listed_clients_that_must_sign_in() -> None:
    config = make_config(originators={"require_auth": True})
    assert rule(f"a@{OURS}", "x@gov.in", LISTED, config) == "sign-in-required"
    assert rule(f"a@{OURS}", f"postmaster@{OURS}", LISTED, config) == ""


def test_routes_are_matched_in_order_and_by_label() -> None:
    one = relaying(
        make_config(route=[{**HOP, "domains": [".gov.in"], "local": False}, {**HOP, "domains": ["x.gov.in", "सरकार.भारत"]}, OUT])
    )
    assert not one.is_local("x.gov.in")
    assert one.is_local("xn--11b7cb3a6a.xn--h2brj9c")
    assert not one.is_local("notgov.in")


def test_the_rules_are_asked_last() -> None:
    asked: list[str] = []

    def policy(sender: Path, recipient: Path, peer: Peer) -> Refused | None:
        asked.append(recipient.text)
        return Refused(Reply(550, "5.7.1", "No."), "a-rule", "REF") if recipient.domain == "gmail.com" else None

    one = Relaying(make_config(), policy)
    assert one.check(path(f"a@{OURS}"), path("x@gmail.com"), LISTED) == Refused(Reply(550, "5.7.1", "No."), "a-rule", "REF")
    assert one.check(path(f"a@{OURS}"), path("x@gov.in"), LISTED) is None
    assert one.check(path("a@gmail.com"), path("x@gmail.com"), STRANGER) is not None
    assert asked == ["x@gmail.com", "x@gov.in"]


async def greeted(door: Running, sender: str = f"a@{OURS}") -> Client:
    client = await door.connect()
    await client.ask("EHLO client.example")
    assert (await client.ask(f"MAIL FROM:<{sender}>")).startswith("250")
    return client


async def test_strangers_recipients_are_verified_and_remembered() -> None:
    async with running(make_config(listed=False)) as door:
        door.memory.unknown.add(f"nobody@{OURS}")
        client = await greeted(door, "a@gmail.com")
        assert (await client.ask(f"RCPT TO:<nobody@{OURS}>")).startswith("550 5.1.1")
        client.write(f"RCPT TO:<b@{OURS}>\r\nRCPT TO:<c@{OURS}>\r\nRCPT TO:<nobody@{OURS}>\r\nDATA\r\n".encode())
        assert [(await client.reply())[:3] for _ in range(4)] == ["250", "250", "550", "354"]
        assert (await client.ask(b".")).startswith("250")
        assert door.memory.asked == [f"nobody@{OURS}", f"b@{OURS}", f"c@{OURS}"]
        ((tx, _),) = door.memory.messages
        assert (tx.verified_originator, tx.department) == (False, "")
        assert [r.rule for r in door.memory.refusals] == ["next-hop", "next-hop"]
        door.memory.away = True
        client = await greeted(door, "a@gmail.com")
        assert (await client.ask(f"RCPT TO:<b@{OURS}>")).startswith("250")
        assert (await client.ask(f"RCPT TO:<new@{OURS}>")).startswith("451 4.4.1")
        assert (await client.ask(f"RCPT TO:<postmaster@{OURS}>")).startswith("250")
        assert (await client.ask("RCPT TO:<postmaster>")).startswith("250")


async def test_listed_clients_are_not_made_to_wait_for_the_next_hop() -> None:
    async with running() as door:
        client = await greeted(door)
        assert (await client.ask(f"RCPT TO:<b@{OURS}>")).startswith("250")
        assert door.memory.asked == []


async def test_A29_one_allowed_and_one_refused_in_reply_mode() -> None:
    def policy(sender: Path, recipient: Path, peer: Peer) -> Refused | None:
        return (
            Refused(Reply(550, "5.7.1", "Not to private providers.\nRef R1"), "no-gmail", "R1") if recipient.domain == "gmail.com" else None
        )

    async with running(policy=policy) as door:
        client = await greeted(door)
        assert (await client.ask("RCPT TO:<x@gov.in>")).startswith("250")
        assert await client.ask("RCPT TO:<x@gmail.com>") == "550-5.7.1 Not to private providers.\n550 5.7.1 Ref R1"
        assert (await client.ask("DATA")).startswith("354")
        assert (await client.ask(b".")).startswith("250")
        ((tx, _),) = door.memory.messages
        assert [r.path.text for r in tx.envelope.recipients] == ["x@gov.in"]
        (refusal,) = door.memory.refusals
        assert (refusal.recipient, refusal.sender, refusal.rule, refusal.reference, refusal.client_ip, refusal.door) == (
            "x@gmail.com", f"a@{OURS}", "no-gmail", "R1", "127.0.0.1", "smtp",
        )  # fmt: skip


async def test_A22_null_sender_has_one_recipient() -> None:
    async with running() as door:
        client = await greeted(door, "")
        assert (await client.ask(f"RCPT TO:<b@{OURS}>")).startswith("250")
        assert (await client.ask(f"RCPT TO:<c@{OURS}>")).startswith("452 4.5.3")
        assert (await client.ask("DATA")).startswith("354")
        assert (await client.ask(b".")).startswith("250")
        ((tx, _),) = door.memory.messages
        assert tx.envelope.sender.is_null
        assert tx.verified_originator


async def test_A15_controls_in_a_path_end_the_session() -> None:
    for octet in (b"\0", b"\t", b"\r", b"\x1b"):
        async with running() as door:
            client = await greeted(door)
            assert (await client.ask(b"RCPT TO:<u" + octet + b"@gov.in>")).startswith("501")
            assert await client.closed()


async def test_a_stranger_who_guesses_addresses_is_sent_away() -> None:
    async with running(make_config(listed=False)) as door:
        door.memory.unknown.update(f"u{n}@{OURS}" for n in range(50))
        client = await greeted(door, "a@gmail.com")
        client.write("".join(f"RCPT TO:<u{n}@{OURS}>\r\n" for n in range(50)).encode())
        codes = [(await client.reply())[:3] for _ in range(21)]
        assert codes == ["550"] * 20 + ["421"]
        assert await client.closed()


async def test_A28_recipients_are_those_of_the_envelope() -> None:
    async with running() as door:
        client = await greeted(door)
        assert (await client.ask("RCPT TO:<x@gmail.com>")).startswith("250")
        assert (await client.ask("DATA")).startswith("354")
        content = b"From: a@dept.gov.in\r\nTo: minister@gov.in, y@gov.in\r\nBcc: z@gov.in\r\n\r\nhello\r\n"
        assert (await client.ask(content + b".")).startswith("250")
        ((tx, kept),) = door.memory.messages
        assert [r.path.text for r in tx.envelope.recipients] == ["x@gmail.com"]
        assert kept == content
