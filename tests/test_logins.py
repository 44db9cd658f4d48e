"""Sign-ins decided by the keeper: the file, the limits, the next hop, the record (hostile-inputs catalogue S37 to S39)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import low_level
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Config
from gateway.relay.hop_tls import Contexts
from gateway.relay.routes import OwnAddresses, Resolver, Routes
from gateway.requests import Authenticate, Authenticated
from gateway.signin import login_file, login_names, passwords
from gateway.signin.login_file import LoginFileError
from gateway.signin.login_limits import Window, network_of
from gateway.signin.login_names import LoginNameError
from gateway.signin.login_record import LoginRecord
from gateway.signin.logins import SignIns
from gateway.signin.passwords import Checker, WeakHash, cost_of
from gateway.stores.base import Batch, StoreError

SECRET = "कमल-Lotus 7"


def hashed(password: str, *, memory: int = 19_456, passes: int = 2, salt: bytes = b"s" * 16, size: int = 32) -> str:
    return low_level.hash_secret(password.encode(), salt, passes, memory, 1, size, low_level.Type.ID).decode()


HASH = hashed(SECRET)


class Time:
    """Both clocks; a test moves them."""

    def __init__(self) -> None:
        self.wall, self.mono = 1_790_000_000.0, 500.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds


class Rows:
    """A store of audit events that can be away."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.away = False

    async def write(self, batch: Batch) -> None:
        if self.away:
            raise StoreError("away")
        self.rows += batch.audit

    def said(self, action: str) -> list[dict[str, Any]]:
        return [row.document for row in self.rows if row.disposition == action]


class Counted:
    """Counts verifications instead of timing them."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def verify(self, text: str, octets: bytes) -> bool:
        self.calls.append(text)
        return text == HASH and octets == SECRET.encode()


FILE = f"""
[[login]]
name = "So.Home@dept.gov.in"
password = "{HASH}"
senders = ["section@dept.gov.in", "@cell.dept.gov.in"]
department = "Home"

[[login]]
name = "eoffice"
password = "{HASH}"

[[login]]
name = "desk@dept.gov.in"
password = "{HASH}"
networks = ["10.1.0.0/16", "2001:db8::/32"]

[[mailbox]]
address = "Secretary@dept.gov.in"
logins = ["so.home@DEPT.gov.in", "desk@dept.gov.in"]
"""


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "logins.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def config_for(logins: Path | None, **more: Any) -> Config:
    submission = {"logins": logins, **more.pop("submission", {})}
    limits = {"relay_connect": 1, "relay_command": 1, "tls_handshake": 2, "relay_quit": 0.1, **more.pop("limits", {})}
    return Config(
        hostname="gw.dept.gov.in", listen=(), originators={"domains": ("dept.gov.in",), "networks": ("10.0.0.0/8",)},
        submission=submission, limits=limits,
        application=more.pop("application", ({"name": "e-Office", "logins": ("EOffice",), "senders": ("noreply@dept.gov.in", "otp.gov.in"),
                                              "networks": ("10.9.0.0/16",)},)),
        **more,
    )  # fmt: skip


class Room:
    """SignIns with everything around it in the test's hands."""

    def __init__(self, config: Config, verify: Any = None) -> None:
        self.time = Time()
        self.store = Rows()
        self.record = LoginRecord(self.store, config.hostname, self.time)
        resolver = Resolver(OwnAddresses.of(config), 1.0)
        self.counted = Counted()
        checker = Checker(verify or self.counted.verify, at_once=2, waiting=20)
        hops = (Routes(config), resolver, Contexts())
        self.sign_ins = SignIns(config, self.record, lambda text: f"keyed:{len(text)}", hops, self.time, checker)

    async def ask(self, login: str = "so.home@dept.gov.in", password: str = SECRET, ip: str = "10.1.2.3") -> Authenticated:
        return await self.sign_ins.authenticate(Authenticate(login, password, ip, "submission"))

    async def code(self, *words: str, **more: Any) -> int:
        return (await self.ask(*words, **more)).reply.code

    async def lines(self) -> list[Any]:
        await self.record._flush()
        return self.store.rows


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(config_for(write(tmp_path, FILE)))
    yield made
    await made.sign_ins.stop()


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        ("SO.Home@JK.GOV.IN", "so.home@jk.gov.in"), ("ｓｏ@dept.gov.in", "so@dept.gov.in"), ("Straße", "strasse"),
        ("अधिकारी@सरकार.भारत", "अधिकारी@xn--11b7cb3a6a.xn--h2brj9c"), ("क्‍ष", "क्‍ष"), ("eoffice", "eoffice"),
    ],
)  # fmt: skip
def test_a_login_has_one_form(typed: str, canonical: str) -> None:
    assert login_names.prepare(typed) == canonical
    assert login_names.prepare(canonical) == canonical


@pytest.mark.parametrize(
    "typed",
    ["", "a b", "a\0b", "a\u200bb", "a\u200db", "\u202ea", "a\n", "a" * 300, "@dept.gov.in", "a@", "a@localhost", "\ud800", "a\ue000",
     "a\u00a0b"],
)  # fmt: skip
def test_a_login_that_cannot_be_read_is_none(typed: str) -> None:
    with pytest.raises(LoginNameError):
        login_names.prepare(typed)


@given(st.text(max_size=40))
def test_a_login_prepared_twice_is_the_same(typed: str) -> None:
    try:
        once = login_names.prepare(typed)
    except LoginNameError:
        return
    assert login_names.prepare(once) == once


def test_passwords_are_octets_as_they_came() -> None:
    assert login_names.secret("ｐ P\u00e9") == "ｐ P\u00e9".encode()
    assert login_names.secret("") is None
    assert login_names.secret("a\0b") is None
    assert login_names.secret("x" * 1025) is None
    assert login_names.secret("\ud800") is None


# --- hashes ----------------------------------------------------------------------------------------------------------


def test_a_made_hash_is_taken_and_says_yes_to_its_password_alone() -> None:
    made = passwords.make(SECRET.encode())
    assert cost_of(made) == passwords.Cost(65_536, 3, 4, 16, 32)
    assert passwords.verify(made, SECRET.encode())
    assert not passwords.verify(made, SECRET.encode() + b" ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("secret", "no argon2id hash"), ("$6$salt$hash", "hashed in another way"), (HASH.replace("argon2id", "argon2i"), "in another way"),
        (hashed("x", memory=8192), "too weak"), (hashed("x", passes=1), "too weak"), (hashed("x", salt=b"s" * 8), "octets"),
        (hashed("x", size=16), "octets"), (HASH.replace("m=19456", "m=4000000"), "cost too much"),
        (HASH.replace("t=2", "t=99"), "too much"),
        (HASH.replace("v=19", "v=16"), "no argon2id hash"), (HASH[:-1] + "*", "no argon2id hash"), (HASH + "=", "no argon2id hash"),
        (HASH.replace("p=1", "p=16").replace("m=19456", "m=99999999"), "no argon2id"),
    ],
)  # fmt: skip
def test_S37_hashes_that_are_weak_or_dear_are_refused(text: str, said: str) -> None:
    with pytest.raises(WeakHash, match=said) as error:
        cost_of(text)
    assert text[-20:] not in str(error.value)


def test_a_dummy_costs_the_same_and_has_no_password() -> None:
    cost = cost_of(HASH)
    assert cost_of(passwords.dummy(cost)) == cost
    assert not passwords.verify(passwords.dummy(cost), b"")


# --- the file --------------------------------------------------------------------------------------------------------


def test_the_file_says_who_may_send_as_whom(tmp_path: Path) -> None:
    table = login_file.load(write(tmp_path, FILE), config_for(None))
    assert table.logins["so.home@dept.gov.in"].senders == (
        "so.home@dept.gov.in", "section@dept.gov.in", "@cell.dept.gov.in", "secretary@dept.gov.in",
    )  # fmt: skip
    assert table.logins["desk@dept.gov.in"].mailboxes == ("secretary@dept.gov.in",)
    assert table.mailboxes == {"secretary@dept.gov.in": ("so.home@dept.gov.in", "desk@dept.gov.in")}
    assert HASH not in repr(table)


LOGIN = f'[[login]]\nname = "a@dept.gov.in"\npassword = "{HASH}"\n'
WRONG_FILES = [
    ("x = 1\n", 1, "unknown key"),
    (LOGIN + "colour = 1\n", 4, "unknown key"),
    (LOGIN + LOGIN.replace("a@", "A@"), 5, "there twice"),
    (LOGIN + '[[login]]\nname = "b"\npassword = "' + HASH + '"\n', 5, "give it senders"),
    (LOGIN.replace(HASH, "secret"), 3, "no argon2id hash"),
    (LOGIN.replace(HASH, hashed("x", memory=8192)), 3, "too weak"),
    (LOGIN.replace("password", "# password"), 2, "has no password"),
    (LOGIN + 'senders = ["b"]\n', 4, "write a@b, or @b"),
    (LOGIN + 'senders = ["a b@dept.gov.in"]\n', 4, "is no address"),
    (LOGIN + 'networks = ["10.0.0.1/8"]\n', 4, "host bits"),
    (LOGIN + "senders = 5\n", 4, "valid tuple"),
    (LOGIN + '[[mailbox]]\naddress = "m@dept.gov.in"\nlogins = ["b@dept.gov.in"]\n', 6, "there is no login 'b@dept.gov.in'"),
    (LOGIN + '[[mailbox]]\naddress = "m@dept.gov.in"\nlogins = []\n', 6, "at least 1"),
    (LOGIN + '[[mailbox]]\naddress = "@dept.gov.in"\nlogins = ["a@dept.gov.in"]\n', 5, "one address"),
    (LOGIN + '[[mailbox]]\naddress = "m@dept.gov.in"\nlogins = ["a@dept.gov.in"]\n' * 2, 8, "there twice"),
    (LOGIN + '[[mailbox]]\naddress = "m@dept.gov.in"\nlogins = ["a@dept.gov.in", "A@dept.gov.in"]\n', 6, "named twice"),
    (LOGIN + "[[login]\n", 4, "Expected"),
    ('[[login]]\nname = "a\u200b@dept.gov.in"\n', 2, "cannot be seen"),
]


@pytest.mark.parametrize(("text", "line", "said"), WRONG_FILES, ids=[said for _, _, said in WRONG_FILES])
def test_a_mistake_in_the_file_names_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(LoginFileError) as error:
        login_file.load(path, config_for(path))
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert said in str(error.value)
    assert "$argon2id$v=19$m=8192" not in str(error.value)


def test_a_file_that_everybody_may_read_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, FILE, 0o644)
    with pytest.raises(LoginFileError, match="chmod o-rwx"):
        login_file.load(path, config_for(path))
    with pytest.raises(LoginFileError, match="cannot be read"):
        login_file.load(tmp_path / "nowhere", config_for(path))
    with pytest.raises(LoginFileError, match="is not a file"):
        login_file.load(tmp_path, config_for(path))
    path.write_bytes(b"\xef\xbb\xbf" + FILE.encode())
    path.chmod(0o600)
    with pytest.raises(LoginFileError, match=r"toml:1: starts with a byte-order mark; save it as UTF-8 without BOM"):
        login_file.load(path, config_for(path))
    path.write_bytes(b"\n\xff")
    path.chmod(0o600)
    with pytest.raises(LoginFileError, match=r"toml:2: is not UTF-8"):
        login_file.load(path, config_for(path))


def test_with_the_next_hops_check_the_file_holds_no_password(tmp_path: Path) -> None:
    asks = config_for(None, submission={"check": "next-hop", "next_hop": "mail.nic.in:465"})
    with pytest.raises(LoginFileError, match="toml:4: .*asks the next hop"):
        login_file.load(write(tmp_path, FILE), asks)
    table = login_file.load(write(tmp_path, '[[mailbox]]\naddress = "m@dept.gov.in"\nlogins = ["b@dept.gov.in"]\n'), asks)
    assert table.mailboxes == {"m@dept.gov.in": ("b@dept.gov.in",)}


# --- the file's sign-ins ---------------------------------------------------------------------------------------------


async def test_a_right_password_says_who_and_as_whom(room: Room) -> None:
    answer = await room.ask("SO.home@Dept.gov.in")
    assert answer.reply.code == 235
    assert answer.login == "so.home@dept.gov.in"
    assert answer.senders == ("so.home@dept.gov.in", "section@dept.gov.in", "@cell.dept.gov.in", "secretary@dept.gov.in")


async def test_S39_an_application_has_its_senders_only_from_its_addresses(room: Room) -> None:
    assert (await room.ask("EOffice", ip="10.9.0.1")).senders == ("noreply@dept.gov.in", "@otp.gov.in")
    assert (await room.ask("eoffice", ip="10.8.0.1")).senders == ()


async def test_real_hashes_are_verified(tmp_path: Path) -> None:
    room = Room(config_for(write(tmp_path, FILE)), passwords.verify)
    assert await room.code() == 235
    assert await room.code(password="wrong") == 535
    assert await room.code("nobody@dept.gov.in") == 535
    await room.sign_ins.stop()


async def test_S37_an_unknown_login_costs_and_says_what_a_wrong_password_does(room: Room) -> None:
    replies = []
    for login, password, ip in [
        ("so.home@dept.gov.in", "wrong", "10.1.0.9"), ("nobody@dept.gov.in", "wrong", "10.1.0.9"), ("a b", "wrong", "10.1.0.9"),
        ("so.home@dept.gov.in", "", "10.1.0.9"), ("so.home@dept.gov.in", "x" * 5000, "10.1.0.9"), ("desk@dept.gov.in", SECRET, "10.1.0.9"),
        ("desk@dept.gov.in", SECRET, "10.2.0.9"),
    ]:  # fmt: skip
        before = len(room.counted.calls)
        replies.append((await room.ask(login, password, ip)).reply)
        assert len(room.counted.calls) == before + 1, "one verification each"
    right = replies.pop(-2)
    assert right.code == 235
    assert {str(reply).replace("10.2.0.9", "10.1.0.9") for reply in replies} == {str(replies[0])}, "one answer"
    assert replies[0].code == 535
    assert replies[0].enhanced == "5.7.8"
    assert "10.1.0.9" in replies[0].text
    assert {cost_of(text) for text in room.counted.calls} == {cost_of(HASH)}, "of one price"


async def test_R5_a_login_is_used_only_from_its_addresses(room: Room) -> None:
    assert await room.code("desk@dept.gov.in", ip="10.1.255.1") == 235
    assert await room.code("desk@dept.gov.in", ip="2001:db8::5") == 235
    assert await room.code("desk@dept.gov.in", ip="::ffff:10.1.0.1") == 235
    for ip in ("10.2.0.1", "2001:db9::5", "unix", ""):
        answer = await room.ask("desk@dept.gov.in", ip=ip)
        assert answer.reply.code == 535
        assert answer.senders == ()
    assert [line.document["event"]["reason"] for line in await room.lines() if line.disposition == "login-refused"] == ["network"] * 4


async def test_R6_sign_in_needs_the_vpn_where_one_is_named(tmp_path: Path) -> None:
    room = Room(config_for(write(tmp_path, FILE), submission={"vpn": ("10.1.0.0/16",)}))
    answer = (await room.ask(ip="10.2.0.1")).reply
    assert (answer.code, answer.enhanced) == (530, "5.7.0")
    assert answer.text == "Connect through the government VPN and sign in before sending."
    assert room.counted.calls == [], "a password from elsewhere is not even looked at"
    assert await room.code() == 235
    await room.sign_ins.stop()


async def test_without_a_file_nobody_is_turned_away_for_good(tmp_path: Path) -> None:
    room = Room(config_for(None))
    assert await room.code() == 454
    await room.sign_ins.stop()


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_S37_wrong_passwords_of_a_login_at_one_address(room: Room) -> None:
    for number in range(10):
        assert await room.code(password=f"wrong {number}") == 535
    calls = len(room.counted.calls)
    answer = (await room.ask()).reply
    assert (answer.code, answer.enhanced) == (454, "4.7.0")
    assert len(room.counted.calls) == calls, "not even a right one is looked at"
    assert await room.code(ip="10.1.2.4") == 235, "its owner elsewhere is not locked out"
    room.time.advance(3599)
    assert await room.code() == 454
    room.time.advance(2)
    assert await room.code() == 235


ELSEWHERE = "198.51.100.7"  # the config names it nowhere


async def test_S37_a_success_forgives_the_login_but_not_the_address(room: Room) -> None:
    for turn in range(3):
        for number in range(9):
            assert await room.code(password=f"{turn} {number}", ip=ELSEWHERE) == 535
        assert await room.code(ip=ELSEWHERE) == 235
    for number in range(3):
        assert await room.code("desk@dept.gov.in", f"more {number}", ip=ELSEWHERE) == 535
    assert await room.code("desk@dept.gov.in", "yet another", ip=ELSEWHERE) == 454, "thirty in the hour"


async def test_S37_spraying_over_many_logins_from_one_address(room: Room) -> None:
    codes = [await room.code(f"user{number}@dept.gov.in", "Winter2026", ip=ELSEWHERE) for number in range(40)]
    assert codes == [535] * 30 + [454] * 10
    assert len(room.counted.calls) == 30
    assert await room.code(ip=ELSEWHERE) == 454
    assert await room.code(ip="198.51.100.8") == 235
    assert "Too many failed sign-ins from your address" in (await room.ask("user9@dept.gov.in", ip=ELSEWHERE)).reply.text


async def test_S37_who_has_signed_in_from_behind_the_same_NAT_is_not_shut_out_with_the_others(room: Room) -> None:
    assert await room.code(ip="198.51.100.99") == 235, "the same /24"
    assert await room.code(ip="2001:db8:9::1") == 235
    for number in range(40):
        for ip in (ELSEWHERE, "2001:db8:9::2"):
            await room.code(f"user{number}@dept.gov.in", "Winter2026", ip=ip)
    for ip in (ELSEWHERE, "2001:db8:9::2"):
        assert await room.code("user1@dept.gov.in", "new", ip=ip) == 454
        assert [await room.code(password=f"wrong {number}", ip=ip) for number in range(11)] == [535] * 10 + [454], "its own limit holds"
    room.time.advance(3601)
    assert await room.code(ip=ELSEWHERE) == 235
    room.time.advance(30 * 86400 + 1)
    for number in range(30):
        await room.code(f"user{number}@dept.gov.in", "Winter2026", ip=ELSEWHERE)
    assert await room.code(ip=ELSEWHERE) == 454, "it was here long ago"


async def test_S37_addresses_that_the_config_names_may_fail_ten_times_as_often(tmp_path: Path) -> None:
    vpn = {"vpn": ("10.0.0.0/8", "203.0.113.0/24")}
    room = Room(config_for(write(tmp_path, FILE), submission=vpn, limits={"auth_failures_per_ip": 4}))
    for ip in ("10.1.2.3", "203.0.113.1"):
        codes = [await room.code(f"user{number}@dept.gov.in", "Winter2026", ip=ip) for number in range(41)]
        assert codes == [535] * 40 + [454]
    await room.sign_ins.stop()


async def test_S37_one_phone_with_an_old_password_does_not_shut_its_office_out(room: Room) -> None:
    for _ in range(200):
        await room.code("desk@dept.gov.in", "last year's")
    assert await room.code("desk@dept.gov.in", SECRET) == 454
    assert await room.code() == 235


async def test_S37_a_burst_of_guesses_meets_the_limits_too(room: Room) -> None:
    burst = [room.code(password=f"guess {number}") for number in range(200)]
    codes = await asyncio.gather(*burst)
    assert len(room.counted.calls) <= 10 + 2, "at most those that are under way besides"
    assert set(codes) <= {535, 454}


async def test_S37_memory_and_waiting_are_bounded(room: Room) -> None:
    gate = asyncio.Event()
    most = here = 0
    loop = asyncio.get_running_loop()

    def slow(text: str, octets: bytes) -> bool:
        nonlocal most, here
        here += 1
        most = max(most, here)
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(5)
        here -= 1
        return False

    room.sign_ins._checker = Checker(slow, at_once=2, waiting=3)
    tasks = [asyncio.create_task(room.code(ip=f"10.1.3.{number}")) for number in range(50)]
    await asyncio.sleep(0.05)
    assert sum(task.done() for task in tasks) == 45
    gate.set()
    codes = await asyncio.gather(*tasks)
    assert codes.count(454) == 45
    assert most <= 2
    room.sign_ins._checker.close()


def test_S37_windows_forget_and_stay_small() -> None:
    time = Time()
    window = Window(3, 60, time.monotonic, keys=100)
    for number in range(100_000):
        window.note(number)
    assert len(window) == 100
    for _ in range(1000):
        window.note("one")
    assert window.count("one") == 3
    window.take_back("one")
    assert not window.full("one")
    time.advance(61)
    assert window.count("one") == 0
    window.take_back("nobody")


def test_an_address_is_one_v4_or_one_v6_network() -> None:
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("2001:db8:1:2::3") == network_of("2001:db8:1:2:ffff::9") != network_of("2001:db8:1:3::3")
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("unix:") == "unix:"


# --- the record ------------------------------------------------------------------------------------------------------


async def test_S38_every_decision_is_recorded_and_no_secret_is(room: Room, capfd: pytest.CaptureFixture[str]) -> None:
    await room.ask()
    await room.ask(password="hunter2-wrong")
    await room.ask("hunter2-wrong", "so.home@dept.gov.in")  # typed into the wrong fields
    rows = await room.lines()
    assert [row.disposition for row in rows] == ["login-accepted", "login-refused", "login-refused"]
    text = json.dumps([row.document for row in rows]) + repr(rows) + "".join(capfd.readouterr())
    assert "hunter2" not in text
    assert SECRET not in text
    assert "argon2" not in text
    first = rows[0].document
    assert first["user"]["name"] == "so.home@dept.gov.in"
    assert first["source"]["ip"] == "10.1.2.3"
    assert first["event"] | {"dataset": "gateway.login", "outcome": "success", "category": ["authentication"]} == first["event"]
    assert rows[0].department == "Home"
    assert "user" not in rows[2].document
    assert rows[2].document["gateway"]["login"]["name_hash"] == "keyed:13"
    assert "hunter2" not in repr(Authenticate("a", "hunter2", "10.0.0.1", "submission"))


async def test_S37_the_same_failure_is_summed_up_by_the_minute(room: Room) -> None:
    for _ in range(500):
        await room.ask(password="wrong")
    assert len(await room.lines()) == 2, "wrong, and then blocked"
    room.time.advance(61)
    await room.ask(password="wrong")
    rows = await room.lines()
    counts = [row.document["gateway"]["login"]["count"] for row in rows]
    assert sum(counts) == 501
    assert len(rows) == 5
    assert rows[3].document["event"]["start"] == "2026-09-21T14:13:20.000Z"


async def test_S37_many_different_failures_are_one_row(room: Room) -> None:
    for number in range(1000):
        await room.ask(f"user{number}@dept.gov.in", "wrong", f"192.0.2.{number % 250}")
    assert len(await room.lines()) == 60
    room.time.advance(61)
    await room.ask()
    rows = await room.lines()
    rest = [row for row in rows if row.document["event"]["reason"] == "many-different"]
    assert [row.document["gateway"]["login"]["count"] for row in rest] == [940]
    assert rest[0].document["gateway"]["login"]["addresses"] == 250


async def test_a_success_that_cannot_be_recorded_is_none(room: Room) -> None:
    room.store.away = True
    assert await room.code() == 454
    room.store.away = False
    assert await room.code() == 235
    assert len(room.store.said("login-accepted")) == 1
    room.store.away = True
    assert await room.code() == 235, "the same again in this minute is counted, which needs no store"


async def test_what_breaks_is_put_off_and_says_nothing(room: Room, capfd: pytest.CaptureFixture[str]) -> None:
    def broken(text: str, octets: bytes) -> bool:
        raise ValueError(octets.decode())

    room.sign_ins._checker = Checker(broken)
    assert await room.code() == 454
    assert SECRET not in "".join(capfd.readouterr())
    room.sign_ins._checker.close()


# --- reload ----------------------------------------------------------------------------------------------------------


async def test_the_file_is_taken_anew_whole_or_not_at_all(room: Room, tmp_path: Path) -> None:
    config = room.sign_ins._config
    write(tmp_path, FILE.replace("section@", "branch@"))
    assert await room.sign_ins.reload(config)
    assert "branch@dept.gov.in" in (await room.ask()).senders
    write(tmp_path, FILE.replace("section@", "third@") + "x = 1\n")
    assert not await room.sign_ins.reload(config)
    assert "branch@dept.gov.in" in (await room.ask()).senders
    write(tmp_path, LOGIN)
    assert await room.sign_ins.reload(config)
    assert await room.code() == 535, "who was taken out cannot sign in"
