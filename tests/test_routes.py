"""Routes and the addresses behind a next hop."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from gateway.config import Config
from gateway.relay.routes import OwnAddresses, Resolver, RouteError, Routes, domain_of, parse_next_hop


def config(*routes: dict[str, Any], **more: Any) -> Config:
    return Config(route=routes, **more)


def route(*domains: str, hop: str = "127.0.0.1:25", **more: Any) -> dict[str, Any]:
    return {"domains": domains, "next_hop": hop, "tls": "required", **more}


def test_the_first_match_wins() -> None:
    routes = Routes(
        config(
            route("dept.gov.in", hop="10.0.0.1:25", local=True),
            route(".gov.in", hop="10.0.0.2:25"),
            route("सरकार.भारत", hop="10.0.0.3:25"),
            route("*", hop="10.0.0.4:25"),
        )
    )
    expected = {
        "dept.gov.in": "10.0.0.1:25", "DEPT.gov.in": "10.0.0.1:25", "x.dept.gov.in": "10.0.0.2:25", "nic.gov.in": "10.0.0.2:25",
        "gov.in": "10.0.0.4:25", "xgov.in": "10.0.0.4:25", "xn--11b7cb3a6a.xn--h2brj9c": "10.0.0.3:25", "nic.in": "10.0.0.4:25",
    }  # fmt: skip
    for domain, hop in expected.items():
        found = routes.find(domain)
        assert found is not None
        assert found.name == hop, domain


@pytest.mark.parametrize("pattern", [".b.in", "*.b.in"])
def test_relay_and_door_read_a_pattern_alike(pattern: str) -> None:
    made = config(route(pattern, hop="10.0.0.1:25", local=True), route("*", hop="10.0.0.2:25"))
    for domain, local in {"x.b.in": True, "X.y.B.in": True, "b.in": False, "xb.in": False, "c.in": False}.items():
        hop = Routes(made).find(domain)
        assert hop is not None
        assert (hop.name == "10.0.0.1:25") == made.is_local(domain) == local, domain


def test_no_route_is_none_and_postmaster_goes_home() -> None:
    routes = Routes(config(route("a.in", hop="10.0.0.9:25"), route("dept.gov.in", hop="10.0.0.1:25", local=True)))
    assert routes.find("nic.in") is None
    home = routes.find("")
    assert home is not None
    assert home.name == "10.0.0.1:25"
    assert domain_of("postmaster") == ""
    assert domain_of("a@b.in") == "b.in"


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("mail.nic.in:25", "mail.nic.in", 25, ""), ("[2001:db8::1]:2525", "2001:db8::1", 2525, ""), ("10.1.2.3:587", "10.1.2.3", 587, ""),
        ("unix:/run/x.sock", "", 0, "/run/x.sock"),
    ],
)  # fmt: skip
def test_next_hops(text: str, host: str, port: int, path: str) -> None:
    hop = parse_next_hop(config(route("*", hop=text)).route[0])
    assert (hop.host, hop.port, hop.path) == (host, port, path)


@pytest.mark.parametrize(
    "text",
    ["mail.nic.in", "mail.nic.in:", "mail.nic.in:0", "mail.nic.in:65536", ":25", "a b:25", "a\r\nb:25", "2001:db8::1:25", "unix:x", "m:²"],
)
def test_O09_bad_next_hops_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="next_hop"):
        parse_next_hop(config(route("*", hop=text)).route[0])


# --- A32 -------------------------------------------------------------------------------------------------------------


def resolver(monkeypatch: pytest.MonkeyPatch, answer: Any, *listen: str, timeout: float = 0.3) -> Resolver:
    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        if isinstance(answer, BaseException):
            raise answer
        if answer is None:
            await asyncio.sleep(30)
        return [(socket.AF_INET6 if ":" in ip else socket.AF_INET, 1, 6, "", (ip, 25)) for ip in answer]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return Resolver(OwnAddresses(listen), timeout)


def hop(name: str = "mail.nic.in:25") -> Any:
    return parse_next_hop(config(route("*", hop=name)).route[0])


@pytest.mark.parametrize("answer", [["127.0.0.1"], ["::1"], ["0.0.0.0"], ["::"], ["127.9.9.9"], ["::ffff:127.0.0.1"], ["224.0.0.1"]])
async def test_A32_a_name_that_leads_here_is_not_followed(monkeypatch: pytest.MonkeyPatch, answer: list[str]) -> None:
    with pytest.raises(RouteError, match="leads back"):
        await resolver(monkeypatch, answer).addresses(hop())


async def test_A32_own_listeners_are_never_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = resolver(monkeypatch, ["192.0.2.7"], "192.0.2.7:25", "[2001:db8::7]:25", "0.0.0.0:2500")
    with pytest.raises(RouteError):
        await mine.addresses(hop())
    with pytest.raises(RouteError):
        await mine.addresses(hop("192.0.2.7:25"))
    with pytest.raises(RouteError):
        await mine.addresses(hop("[2001:db8::7]:25"))
    with pytest.raises(RouteError):  # the wildcard listens on loopback too, also where the config names loopback
        await mine.addresses(hop("127.0.0.1:2500"))
    assert await mine.addresses(hop("127.0.0.1:2501")) == ["127.0.0.1"]
    assert await mine.addresses(hop("192.0.2.8:2500")) == ["192.0.2.8"], "not an address of this machine"


async def test_A32_only_the_addresses_that_lead_here_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await resolver(monkeypatch, ["127.0.0.1", "192.0.2.9"]).addresses(hop()) == ["192.0.2.9"]


def test_A32_our_own_unix_socket(tmp_path: Any) -> None:
    path = tmp_path / "door.sock"
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(RouteError):
        Resolver(OwnAddresses([f"unix:{path}"]), 1).check_path(hop(f"unix:{tmp_path}/link"))


# --- O09 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [socket.gaierror(-3, "again"), socket.gaierror(-2, "unknown"), UnicodeError("label too long"), OSError(5, "io")]
)
async def test_O09_a_name_without_an_answer_is_a_deferral(monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    with pytest.raises(RouteError, match="not resolved"):
        await resolver(monkeypatch, fault).addresses(hop())


async def test_O09_a_resolver_that_hangs_is_left_in_time_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = resolver(monkeypatch, None, timeout=0.05)
    asked = 0
    original = asyncio.get_running_loop().getaddrinfo

    async def count(*arguments: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        return await original(*arguments, **more)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", count)
    for result in await asyncio.gather(*[mine.addresses(hop()) for _ in range(20)], return_exceptions=True):
        assert isinstance(result, RouteError)
    assert asked == 1


async def test_O09_ten_thousand_addresses_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [f"10.{i // 250}.{i % 250}.1" for i in range(10_000)]
    assert await resolver(monkeypatch, answer).addresses(hop()) == answer[:8]
