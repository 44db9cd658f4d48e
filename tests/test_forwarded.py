"""The client's address behind the department's web server."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.web.forwarded import Forwarded

NAMED = ("127.0.0.1/32", "10.9.0.0/24")


async def seen(client: str, *fields: str, proxies: tuple[str, ...] = NAMED, kind: str = "http") -> Any:
    found: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope["client"])

    headers = [(b"x-forwarded-for", one.encode("latin-1")) for one in fields]
    await Forwarded(app, proxies)({"type": kind, "client": (client, 40000) if client else None, "headers": headers}, None, None)
    return found[0]


@pytest.mark.parametrize(
    ("client", "fields", "address"),
    [
        ("127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.9.0.4", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:127.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["203.0.113.1, 198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["203.0.113.1", "198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["unknown"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7, "], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7:4711"], "127.0.0.1"),
        ("198.51.100.9", ["203.0.113.1"], "198.51.100.9"),
    ],
)
async def test_S37_only_a_named_proxy_is_believed_and_only_its_own_word(client: str, fields: list[str], address: str) -> None:
    assert (await seen(client, *fields))[0] == address


async def test_without_named_proxies_nobody_is_believed() -> None:
    assert await seen("127.0.0.1", "198.51.100.7", proxies=()) == ("127.0.0.1", 40000)


async def test_a_socket_without_an_address_and_other_kinds_pass_on() -> None:
    assert await seen("", "198.51.100.7") is None
    assert await seen("127.0.0.1", "198.51.100.7", kind="lifespan") == ("127.0.0.1", 40000)
